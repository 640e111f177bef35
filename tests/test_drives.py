"""Generated drives: where the cars are, how they move, and what of the descriptors tells the place."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.datasets import _drives, make_drives, make_route


def lengths_of(path):
    return np.linalg.norm(np.diff(path, axis=0), axis=1)


def both(pairs):
    return [drive for pair in pairs for drive in (pair.reference, pair.query)]


@pytest.fixture(scope="module")
def paths():
    return [make_route(length, random_state=k) for k, length in enumerate((300.0, 850.5, 1200.0, 40.0))]


@pytest.fixture(scope="module")
def pairs(paths):
    return make_drives(paths, random_state=3)


# ---- routes


@pytest.mark.parametrize("length", [0.4, 1.0, 333.3, 2000.0])
def test_a_route_is_as_long_as_asked_for(length):
    steps = lengths_of(make_route(length, random_state=1))
    assert_allclose(steps.sum(), length)
    assert_allclose(steps, steps[0])
    assert steps[0] < 1.001


def test_routes_go_straight_between_turns_by_right_angles():
    path = make_route(3000, random_state=0)
    headings = np.unwrap(np.arctan2(*np.diff(path, axis=0).T[::-1]))
    turns = (headings - headings[0]) / (np.pi / 2)
    straight = np.abs(turns - np.rint(turns)) < 0.01
    assert straight.mean() > 0.6
    assert len(np.unique(np.rint(turns[straight]))) > 2
    assert (np.abs(np.diff(headings)) < np.pi / 2 / _drives.CORNER).all()


# ---- motion


def test_drives_go_from_one_end_to_the_other_and_never_back(paths, pairs):
    assert len(pairs) == len(paths)
    for path, pair in zip(paths, pairs, strict=True):
        assert_array_equal(pair.path, path)
        for drive in (pair.reference, pair.query):
            assert_allclose(drive.positions[[0, -1]], [0, lengths_of(path).sum()], atol=1e-9)
            assert (np.diff(drive.positions) >= 0).all()


def test_frames_come_at_the_asked_rate_from_the_start(paths):
    for rate in (0.5, 2.0, 10.0):
        for drive in both(make_drives(paths, frame_rate=rate, random_state=0)):
            assert drive.times[0] == 0
            assert_allclose(np.diff(drive.times), np.diff(drive.times)[0])
            assert abs(rate * drive.times[-1] - (len(drive.times) - 1)) <= 0.5
            assert len(drive.times) == len(drive.positions) == len(drive.descriptors)


def test_speeds_are_those_of_cars_which_stop_now_and_then():
    drives = both(make_drives([make_route(1000, random_state=k) for k in range(12)], random_state=0, frame_rate=5))
    speeds = np.concatenate([np.diff(drive.positions) / np.diff(drive.times) for drive in drives])
    assert 3 < np.median(speeds) < 14
    assert speeds.max() < 40
    assert 0.02 < (speeds == 0).mean() < 0.4
    accelerations = np.abs(np.concatenate([np.diff(drive.positions, 2) / drive.times[1] ** 2 for drive in drives]))
    assert np.quantile(accelerations, 0.99) < 4


def test_a_car_brakes_stands_and_goes_on(monkeypatch):
    monkeypatch.setattr(_drives, "STOPS", 200.0)
    monkeypatch.setattr(_drives, "STANDING", 30.0)
    times, positions = _drives._motion(1000.0, 10.0, np.random.default_rng(0))
    speeds = np.diff(positions) / np.diff(times)
    standing = speeds == 0
    begins, ends = (
        np.flatnonzero(np.diff(standing.astype(int)) == 1),
        np.flatnonzero(np.diff(standing.astype(int)) == -1),
    )
    assert len(begins) > 1
    assert len(begins) == len(ends)
    assert (speeds[begins] < 1.5).all()
    assert (speeds[ends + 1] < 1.5).all()
    assert np.diff(positions).max() < 3


def test_the_two_drives_of_a_route_have_different_speeds(pairs):
    for pair in pairs[:3]:
        shares = np.linspace(0, 1, 50)
        first, second = (np.interp(shares, d.times / d.times[-1], d.positions) for d in (pair.reference, pair.query))
        assert np.abs(first - second).max() > 10


# ---- descriptors


def test_without_change_of_appearance_the_place_alone_is_described():
    path = make_route(500, random_state=0)
    pair = make_drives([path], appearance=0, frame_rate=20, random_state=0)[0]
    back = make_drives([path, path[::-1]], appearance=0, frame_rate=20, random_state=0)[1].query
    for drive, positions in ((pair.query, pair.query.positions), (back, 500 - back.positions)):
        assert drive.descriptors.std() > 0.5
        for k in range(16):
            order = np.argsort(positions)
            seen = np.interp(pair.reference.positions, positions[order], drive.descriptors[order, k])
            assert_allclose(seen, pair.reference.descriptors[:, k], atol=0.05)


def test_the_place_is_a_linear_function_of_the_descriptors_but_for_noise_and_distortion():
    paths = [make_route(1000, random_state=k) for k in range(6)]
    clean = np.concatenate([d.descriptors for d in both(make_drives(paths, appearance=0, random_state=5))])
    seen = np.concatenate([d.descriptors for d in both(make_drives(paths, random_state=5))])
    assert_allclose(np.var(seen - clean) / np.var(clean), 1.1, atol=0.5)
    predicted = seen @ np.linalg.lstsq(seen, clean, rcond=None)[0]
    assert np.var(predicted - clean) < 0.15 * np.var(clean)


def test_appearance_is_the_weight_of_all_that_differs(paths):
    base, half, whole = (make_drives(paths, appearance=a, random_state=2) for a in (0, 0.5, 1))
    for none, some, all_ in zip(both(base), both(half), both(whole), strict=True):
        assert_array_equal(some.positions, none.positions)
        assert_allclose(some.descriptors, (none.descriptors + all_.descriptors) / 2, atol=1e-12)


# ---- chance


def test_the_same_seed_gives_the_same_drives_and_another_one_others(paths, pairs):
    for first, again in zip(both(pairs), both(make_drives(paths, random_state=3)), strict=True):
        for a, b in zip(first, again, strict=True):
            assert_array_equal(a, b)
    other = make_drives(paths, random_state=4)[0].query
    assert len(other.times) != len(pairs[0].query.times)
    assert_array_equal(make_route(50, random_state=np.random.default_rng(1)), make_route(50, random_state=1))
    assert_array_equal(make_route(50, random_state=np.random.RandomState(1)).shape, (51, 2))


def test_a_route_is_driven_and_seen_alike_whatever_the_other_routes_are(paths, pairs):
    others = [make_route(700, random_state=9), paths[1]]
    for a, b in zip(make_drives(others, random_state=3)[1].query, pairs[1].query, strict=True):
        assert_array_equal(a, b)


def test_paths_are_not_written_to_nor_shared(paths):
    path = paths[0].copy()
    path.setflags(write=False)
    pair = make_drives([path], random_state=0)[0]
    assert not np.shares_memory(pair.path, path)


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": [[[0, 0], [1, 1, 1]]]}, r"paths\[0\] is .* expected at least two different finite points \(k, 2\)"),
        ({"paths": [np.zeros((3, 2))]}, r"paths\[0\] has 3 points; expected at least two different"),
        ({"paths": [np.eye(2), np.eye(3)]}, r"paths\[1\] has shape \(3, 3\)"),
        ({"paths": [[[0, 0], [np.nan, 1]]]}, r"paths\[0\] .*finite"),
        ({"paths": 3}, "paths is 3, of type int; expected a list"),
        ({"n_channels": 0}, "n_channels is 0"),
        ({"frame_rate": 0}, "frame_rate is 0.0; expected a finite number > 0"),
        ({"appearance": -1}, "appearance is -1.0; expected a finite number >= 0"),
        ({"appearance": np.nan}, "appearance is nan"),
        ({"random_state": "x"}, "random_state is 'x'"),
    ],
)
def test_malformed_arguments_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_drives(**{"paths": [np.eye(2)], **arguments})


@pytest.mark.parametrize("length", [0, -1.0, np.inf, "long"])
def test_lengths_of_routes_are_positive(length):
    with pytest.raises((TypeError, ValueError), match=r"length is .* expected a finite number > 0"):
        make_route(length)
