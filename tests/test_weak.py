"""Strategies for weak targets equal their formulas, on cases worked out by hand and against slow twins."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit import weak
from sdtwkit.costs import cost_matrix
from sdtwkit.dp import AlignmentDP
from sdtwkit.weak import (
    AdaptiveSchedule,
    ExponentialSchedule,
    LinearSchedule,
    alignment_diagnostics,
    diagonal_prior,
    loss_scale,
    pad_repeat,
    repeat_targets,
    unfold,
    weak_targets,
)

SCHEDULES = (LinearSchedule, ExponentialSchedule)


# ---- targets


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint64, bool])
def test_weak_targets_are_the_changes(dtype):
    strong = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [1, 0]], dtype)
    targets = weak_targets(strong)
    assert_array_equal(targets, strong[[0, 2, 3, 5]])
    assert targets.dtype == dtype
    assert_array_equal(weak_targets(strong[:, 0]), strong[[0, 3, 5], 0])


def test_weak_targets_of_collections(rng):
    strong = rng.integers(0, 2, size=(3, 20, 2))
    for many in (strong, list(strong)):
        for targets, item in zip(weak_targets(many), strong, strict=True):
            expected = [item[0]] + [item[i] for i in range(1, 20) if (item[i] != item[i - 1]).any()]
            assert_array_equal(targets, expected)


def test_weak_targets_invert_unfolding(rng):
    targets = np.cumsum(rng.integers(1, 4, size=7))  # no two neighbours are equal
    for n in range(7, 40):
        assert_array_equal(weak_targets(unfold(targets, n)), targets)


def test_unfolding_is_equation_9(rng):
    for m in range(1, 12):
        y = rng.normal(size=(m, 2))
        for n in range(m, 40):
            assert_array_equal(unfold(y, n), [y[math.floor(m * i / n)] for i in range(n)])


def test_unfolding_is_exact_for_long_series():
    """i (m / n) in floating point would be one too low now and then."""
    for n, m in ((1000003, 999), (49, 49), (44, 30), (441000, 147)):
        assert_array_equal(unfold(np.arange(m), n), [m * i // n for i in range(n)])


def test_padding():
    y = np.array([5.0, 6.0, 7.0])
    assert_array_equal(pad_repeat(y, 7), [5, 5, 5, 6, 6, 7, 7])
    assert_array_equal(pad_repeat(y, 7, "last"), [5, 6, 7, 7, 7, 7, 7])
    assert_array_equal(pad_repeat(y, 3), y)
    ragged = [np.ones((2, 4)), np.zeros((5, 4))]
    assert pad_repeat(ragged, 6).shape == (2, 6, 4)
    assert pad_repeat(np.ones((3, 2, 4)), 6, "last").shape == (3, 6, 4)


def test_a_repeated_target_lasts():
    """With steps that move on by one entry a frame at most, every target lasts `times` frames or longer."""
    rng = np.random.default_rng(0)
    x, y, times = rng.normal(size=20), rng.normal(size=4), 4
    C = cost_matrix(x, repeat_targets(y, times))
    dp = AlignmentDP(0.5, steps=((1, 1), (1, 0)))
    for path in dp.sample(C, 50, random_state=0):
        assert np.bincount(path[:, 1] // times).min() >= times
    by_target = np.add.reduceat(dp.marginals(C), np.arange(0, 16, times), axis=1)
    assert_allclose(by_target.sum(axis=1), 1)
    assert (by_target.sum(axis=0) >= times - 1e-12).all()
    assert dp.value(C[:15]) == np.inf  # 4 targets of 4 frames do not fit into 15


def test_inputs_are_not_written_to():
    y = np.arange(6.0).reshape(3, 2)
    y.flags.writeable = False
    for result in (weak_targets(y), unfold(y, 3), pad_repeat(y, 3), repeat_targets(y, 1)):
        assert_array_equal(result, y)
        result[...] = 0
    assert y[2, 1] == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unfold([1, 2, 3], 2), "n is 2, y has 3 targets; expected at least as many"),
        (lambda: pad_repeat([[1, 2], [1, 2, 3]], 2), "length is 2, y has 3 targets"),
        (lambda: pad_repeat([np.ones((2, 1)), np.ones((2, 3))], 2), r"y\[1\] has targets of shape \(3,\), y\[0\] of"),
        (lambda: pad_repeat([1], 2, how="first"), "how is 'first'; expected 'uniform' or 'last'"),
        (lambda: unfold([1, 2], 2.5), "n is 2.5, of type float; expected an integer >= 1"),
        (lambda: repeat_targets([1, 2], 0), "times is 0; expected an integer >= 1"),
        (lambda: weak_targets([]), "strong is an empty collection"),
        (lambda: weak_targets(np.zeros((0, 3))), "strong is empty; expected at least one row"),
        (lambda: weak_targets([np.ones(2), np.ones(0)]), r"strong\[1\] is empty"),
        (lambda: weak_targets(["a"]), r"strong\[0\] is 'a', of type str"),
        (lambda: diagonal_prior([2, 3], [1, 1, 1]), r"n has shape \(2,\), m has \(3,\); expected integers, or arrays"),
        (lambda: diagonal_prior(0, 3), "n is 0; expected an integer >= 1"),
        (lambda: diagonal_prior(3, 3, nu=0), "nu is 0.0; expected a finite number > 0"),
        (lambda: diagonal_prior(3, 3, convention="round"), "convention is 'round'; expected 'ceil' or 'floor'"),
        (lambda: diagonal_prior([[3]], 3), r"n has shape \(1, 1\), m has \(\)"),
    ],
)
def test_wrong_targets_and_priors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


# ---- prior


def test_the_prior_by_hand():
    """n = 7, m = 3: borders ceil(7 j / 3) = 0, 3, 5, 7; floor 0, 2, 4, 7."""
    distance = np.array([[0, 3, 5], [0, 2, 4], [0, 1, 3], [0, 0, 2], [1, 0, 1], [2, 0, 0], [3, 1, 0]])
    assert_allclose(diagonal_prior(7, 3, nu=4.0), 1 - np.exp(-(distance**2) / 8), atol=1e-15)
    distance = np.array([[0, 2, 4], [0, 1, 3], [0, 0, 2], [1, 0, 1], [2, 0, 0], [3, 1, 0], [4, 2, 0]])
    assert_allclose(diagonal_prior(7, 3, nu=4.0, convention="floor"), 1 - np.exp(-(distance**2) / 8), atol=1e-15)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 9), (40, 7), (9, 9), (500, 17)])
def test_the_prior_is_zero_where_unfolding_says(n, m):
    prior = diagonal_prior(n, m)
    assert prior.shape == (n, m)
    assert (prior >= 0).all()
    assert (prior <= 1).all()
    if n >= m:
        assert not prior[np.arange(n), unfold(np.arange(m), n)].any()
    q = [math.ceil(n * j / m) for j in range(m + 1)]
    distance = np.array([[max(q[j] - i, i - q[j + 1], 0) for j in range(m)] for i in range(n)])
    assert_allclose(prior, 1 - np.exp(-(distance**2) / 2000), atol=1e-14)


def test_priors_of_a_ragged_batch(rng):
    n, m = [6, 9, 4], [2, 3, 1]
    prior = diagonal_prior(n, m, nu=3.0)
    assert prior.shape == (3, 9, 3)
    x, y = [rng.normal(size=k) for k in n], [rng.normal(size=k) for k in m]
    together = sdtwkit.soft_dtw(x, y, prior=3 * prior)
    alone = [
        sdtwkit.soft_dtw(a, b, prior=3 * diagonal_prior(len(a), len(b), nu=3.0)) for a, b in zip(x, y, strict=True)
    ]
    assert_allclose(together, alone, rtol=1e-12)


def test_the_prior_has_the_alignment_as_gradient(rng):
    """d value / d prior = H: the costs and the prior are added."""
    C, P, Z = rng.normal(size=(3, 8, 5))
    dp = AlignmentDP(0.7, step_weights=(1.0, 2.0, 0.5))
    slope = (dp.value(C + P + 1e-6 * Z) - dp.value(C + P - 1e-6 * Z)) / 2e-6
    assert_allclose((dp.value_and_grad(C + P)[1] * Z).sum(), slope, rtol=1e-7)


# ---- schedules


def test_schedules_by_hand():
    linear = LinearSchedule(10.0, 0.1, begin=750, end=1500)  # ISMIR 2023
    assert [linear(k) for k in (0, 750, 1500, 10**6)] == [10.0, 10.0, 0.1, 0.1]
    assert linear(751) == pytest.approx(10 - 9.9 / 750)
    assert linear(1000) == pytest.approx(10 - 9.9 / 3)
    exponential = ExponentialSchedule(8.0, 1.0, begin=10, end=13)
    assert [exponential(k) for k in range(9, 15)] == pytest.approx([8, 8, 4, 2, 1, 1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_monotone_and_keep_to_their_ends(schedule):
    falling = [schedule(3.0, 0.5, 5, 25)(k) for k in range(40)]
    assert falling == sorted(falling, reverse=True)
    assert (falling[5], falling[25]) == (3.0, 0.5)
    rising = [schedule(0.5, 3.0, 5, 25)(k) for k in range(40)]
    assert rising == sorted(rising)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearSchedule(1.0, 2.0, 5, 5), "begin is 5, end is 5; expected begin < end"),
        (lambda: LinearSchedule(np.inf, 2.0, 1, 5), "start_value is inf; expected a finite number"),
        (lambda: LinearSchedule("1", 2.0, 1, 5), "start_value is '1', of type str"),
        (lambda: ExponentialSchedule(1.0, 0.0, 1, 5), "stop_value is 0.0; expected a finite number > 0"),
        (lambda: LinearSchedule(1.0, 2.0, 1, 5)("x"), "update is 'x', of type str"),
        (lambda: AdaptiveSchedule(1.0, 2.0, factor=1.0), r"factor is 1.0; expected a number in \(0, 1\)"),
        (lambda: AdaptiveSchedule(-1.0, 2.0), "start_value is -1.0; expected a finite number > 0"),
        (lambda: AdaptiveSchedule(1.0, 2.0, patience=0), "patience is 0; expected an integer >= 1"),
        (lambda: AdaptiveSchedule(1.0, 2.0, tolerance=-1), "tolerance is -1.0; expected a finite number >= 0"),
        (lambda: AdaptiveSchedule(1.0, 2.0).update(math.nan), "statistic is nan; expected a finite number"),
    ],
)
def test_wrong_schedules(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_adaptive_schedule_waits_while_the_statistic_falls():
    schedule = AdaptiveSchedule(10.0, 0.1, factor=0.5, patience=10, tolerance=0.01)
    falling = [schedule.update(5 - 0.01 * k) for k in range(200)]
    assert set(falling) == {10.0}
    standing = [schedule.update(3.0) for _ in range(20)]
    assert standing[-1] == 5.0


def test_adaptive_schedule_forgets_the_levels_of_other_values():
    """Another gamma has another entropy: it may start above the last one and still be falling."""
    schedule = AdaptiveSchedule(10.0, 0.1, factor=0.5, patience=1)
    values = [schedule.update(entropy) for entropy in (2.0, 2.0, 5.0, 4.0, 3.0, 3.0)]
    assert values == [10.0, 5.0, 5.0, 5.0, 5.0, 2.5]


def test_adaptive_schedule_is_not_fooled_by_noise(rng):
    """Noise of a third of the level around a falling mean."""
    schedule = AdaptiveSchedule(10.0, 0.1, patience=50)
    values = [schedule.update((4 - 0.01 * k) * (1 + rng.uniform(-1 / 3, 1 / 3))) for k in range(300)]
    assert set(values) == {10.0}


@pytest.mark.parametrize(("start", "stop"), [(10.0, 0.1), (0.1, 10.0), (2.0, 2.0)])
def test_adaptive_schedule_arrives_and_stays(start, stop):
    schedule = AdaptiveSchedule(start, stop, factor=0.5, patience=3)
    values = [schedule.update(1.0) for _ in range(100)]
    assert values[-1] == stop
    assert values == sorted(values, reverse=start > stop)


# ---- diagnostics


def test_diagnostics_by_hand():
    E = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    found = alignment_diagnostics(E, path=[[0, 0], [1, 1], [2, 1]])
    assert found.row_entropy == pytest.approx(math.log(2) / 3)
    assert found.effective_targets == pytest.approx(2)
    assert found.path_mass == pytest.approx(2.5 / 3)
    assert not found.collapsed


def test_a_collapse_is_seen():
    """17 targets, of which one takes 484 of 500 frames, although a path visits all."""
    path = np.array([[0, j] for j in range(17)] + [[i, 16] for i in range(1, 500)])
    E = np.zeros((500, 17))
    E[tuple(path.T)] = 1
    found = alignment_diagnostics(E, path)
    assert found.effective_targets < 2
    assert found.collapsed
    assert found.path_mass == 1
    assert found.row_entropy == pytest.approx(math.log(17) / 500)
    even = np.zeros((500, 17))
    even[np.arange(500), unfold(np.arange(17), 500)] = 1
    assert not alignment_diagnostics(even).collapsed
    assert alignment_diagnostics(even).row_entropy == 0


def test_the_uniform_law_has_most_entropy(rng):
    found = alignment_diagnostics(np.full((6, 4), 0.25))
    assert found.row_entropy == pytest.approx(math.log(4))
    assert found.effective_targets == pytest.approx(4)


def test_smaller_gamma_is_sharper(rng):
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(6, 2))
    entropy = [
        alignment_diagnostics(sdtwkit.soft_dtw_alignment(x, y, gamma)[0]).row_entropy for gamma in (0.1, 1, 10, 100)
    ]
    assert entropy == sorted(entropy)


def test_diagnostics_of_batches(rng):
    x, y = [rng.normal(size=(n, 2)) for n in (9, 5, 7)], [rng.normal(size=(m, 2)) for m in (4, 3, 2)]
    E, _ = sdtwkit.soft_dtw_alignment(x, y)
    paths, _ = sdtwkit.dtw_path(x, y)
    padded = np.full((3, 10, 5), 7.0)
    for table, item in zip(padded, E, strict=True):
        table[: item.shape[0], : item.shape[1]] = item
    of_list = alignment_diagnostics(E, paths)
    of_array = alignment_diagnostics(padded, paths, x_lengths=[9, 5, 7], y_lengths=[4, 3, 2])
    for b in range(3):
        alone = alignment_diagnostics(E[b], paths[b])
        for name in weak.AlignmentDiagnostics._fields:
            assert getattr(of_list, name)[b] == getattr(alone, name)
            assert getattr(of_array, name)[b] == getattr(alone, name)
    assert alignment_diagnostics(E).path_mass is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment_diagnostics([[1.0, -0.5]]), "E holds -0.5 to 1; expected finite numbers >= 0"),
        (lambda: alignment_diagnostics([np.eye(2)], 3), "path is 3, of type int; expected a list of 1 paths"),
        (lambda: alignment_diagnostics(np.ones((2, 2, 2)), [[[0, 0]]]), "path holds 1 paths for 2 alignments"),
        (lambda: alignment_diagnostics(np.ones((2, 2)), [[0, 2]]), r"path holds \(0, 2\) at index 0; expected"),
        (lambda: alignment_diagnostics(np.ones((2, 2)), [[0.0, 1.0]]), "path is float64 of shape"),
        (lambda: alignment_diagnostics(np.ones((2, 2)), collapse_below=2), "collapse_below is 2"),
        (lambda: loss_scale("both", np.ones((2, 2))), "how is 'both'; expected 'n', 'm', 'n\\+m' or 'path'"),
    ],
)
def test_wrong_alignments(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


# ---- normalisation


def test_scales_by_hand():
    H = np.array([[[1.0, 0.5, 9.0], [0.0, 2.0, 9.0]], [[1.0, 9.0, 9.0], [9.0, 9.0, 9.0]]])
    lengths = {"x_lengths": [2, 1], "y_lengths": [2, 1]}
    expected = {"n": [2, 1], "m": [2, 1], "n+m": [4, 2], "path": [3.5, 1]}
    for how, scale in expected.items():
        assert_array_equal(loss_scale(how, H, **lengths), scale)
    assert loss_scale("path", H[0, :, :2]) == 3.5


@pytest.mark.parametrize("step_weights", weak.STEP_WEIGHTS.values(), ids=weak.STEP_WEIGHTS)
def test_the_path_length_is_what_one_more_unit_of_cost_costs(step_weights, rng):
    """value(C + e) rises by e times the expected weighted path length."""
    C = rng.normal(size=(12, 5))
    dp = AlignmentDP(0.3, step_weights=step_weights)
    slope = (dp.value(C + 1e-6) - dp.value(C - 1e-6)) / 2e-6
    assert loss_scale("path", dp.value_and_grad(C)[1]) == pytest.approx(slope, rel=1e-7)


def test_step_weight_presets_do_what_they_say(rng):
    """Constant costs: all paths of "unbiased" cost the same when n = m; "staying" makes long stays cheap."""
    C = np.ones((6, 6))
    E = AlignmentDP(1e-3, step_weights=weak.STEP_WEIGHTS["unbiased"]).marginals(C)
    uniform = AlignmentDP(1e9).marginals(C)
    assert_allclose(E, uniform, rtol=1e-6)
    tall = np.ones((30, 3))
    assert AlignmentDP(regularizer=None, step_weights=weak.STEP_WEIGHTS["staying"]).value(tall) == pytest.approx(
        1 + 2 * 1.0 + 27 * 0.1
    )


def test_an_adaptive_schedule_shows_where_it_is():
    schedule = AdaptiveSchedule(8.0, 1.0, factor=0.5, patience=1)
    assert repr(schedule) == "AdaptiveSchedule(8.0, 1.0, value=8.0)"
    for _ in range(2):
        schedule.update(1.0)
    assert repr(schedule) == "AdaptiveSchedule(8.0, 1.0, value=4.0)"
