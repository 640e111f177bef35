"""The study of place recognition: positions by alignment, gradients in metres through it, and the page."""

import io
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit import dec_dtw, dtw_path, soft_dtw_alignment
from sdtwkit.datasets import make_drives, make_route
from sdtwkit.metrics import time_error

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import kitti, route_alignment
from benchmarks.experiments import place_recognition as study

SMALL = study.Settings(length=150.0, n_train=4, n_validation=2, n_test=3, smoothings=(0.3, 3.0), steps=5, batch=2)
LEARNED = ("soft_dtw", "dec_dtw")


def small_drives(seed=0, n=3, **options):
    return make_drives([make_route(150, random_state=7 + k) for k in range(n)], random_state=seed, **options)


def features_of(pair):
    return pair.reference.descriptors, pair.query.descriptors, pair.reference.positions


# ---- alignments


@pytest.mark.parametrize("aligner", study.ALIGNERS)
def test_a_drive_is_located_on_itself(aligner):
    drive = small_drives(n=1)[0].query
    x, s = drive.descriptors, drive.positions
    located, _ = study.ALIGNERS[aligner](x, x, s, 1e-3)
    assert_allclose(located, s, atol=1e-3)


def test_positions_are_those_of_the_matched_frames():
    (pair,) = small_drives(n=1)
    x, y, s = features_of(pair)
    path, _ = dtw_path(x, y)
    alignment, _ = soft_dtw_alignment(x, y, 2.0)
    for j, (hard, soft) in enumerate(zip(study.by_dtw(x, y, s)[0], study.by_soft_dtw(x, y, s, 2.0)[0], strict=True)):
        assert_allclose(hard, s[path[path[:, 1] == j, 0]].mean())
        assert_allclose(soft, np.average(s, weights=alignment[:, j]))


def test_a_warp_locates_between_frames():
    (pair,) = small_drives(n=1)
    x, y, s = features_of(pair)
    phi = dec_dtw(x, y, 0.5).values * (len(s) - 1)
    k = np.minimum(phi.astype(int), len(s) - 2)
    assert_allclose(study.by_warp(x, y, s, 0.5)[0], s[k] + (phi - k) * (s[k + 1] - s[k]))


@pytest.mark.parametrize("aligner", LEARNED)
def test_loss_is_the_mean_error_over_time_and_its_gradient_that_of_the_map(aligner, rng):
    (pair,) = small_drives(n=1, n_channels=5)
    A = np.eye(5)[:4] + 0.2 * rng.normal(size=(4, 5))
    value, gradient = study.loss(aligner, A, pair, 0.7)
    x, y, s = (array @ A.T if array.ndim == 2 else array for array in features_of(pair))
    located, _ = study.ALIGNERS[aligner](x, y, s, 0.7)
    assert_allclose(value, time_error(pair.query.positions, located, pair.query.times))
    assert_allclose(study.errors(aligner, A, [pair], 0.7), np.abs(located - pair.query.positions))
    direction, h = rng.normal(size=A.shape), 1e-5
    ahead, behind = (study.loss(aligner, A + sign * h * direction, pair, 0.7)[0] for sign in (1, -1))
    assert_allclose((gradient * direction).sum(), (ahead - behind) / (2 * h), rtol=1e-3)


# ---- features


def test_whitening_makes_what_differs_along_the_truth_white():
    pairs = small_drives()
    A = study.whitening(pairs)
    differences = np.concatenate([study.differences_along_truth(*pair[1:]) for pair in pairs]) @ A.T
    assert_allclose(differences.T @ differences / len(differences), np.eye(16), atol=1e-9)


def test_nothing_differs_along_the_truth_if_the_place_is_all_that_is_seen():
    (pair,) = small_drives(n=1, appearance=0, frame_rate=20)
    assert np.abs(study.differences_along_truth(*pair[1:])).max() < 0.05


@pytest.mark.parametrize("aligner", LEARNED)
def test_learning_lowers_the_error_on_routes_that_were_learned_on(aligner):
    settings = SMALL._replace(length=400, n_train=3, n_validation=1, n_test=1, steps=30, batch=3, rate=0.05)
    train, validation, _ = study.drives(1, settings)
    A = study.feature_maps(train, validation, settings, np.random.default_rng(0))[aligner]
    smoothing = study.best_smoothing(aligner, np.eye(16), validation, settings)
    before, after = (study.errors(aligner, B, train, smoothing).mean() for B in (np.eye(16), A))
    assert after < 0.6 * before


def test_smoothing_is_that_of_the_least_mean_error():
    pairs = small_drives()
    settings = SMALL._replace(smoothings=(0.1, 1.0, 10.0))
    for aligner in LEARNED:
        means = {g: study.errors(aligner, np.eye(16), pairs, g).mean() for g in settings.smoothings}
        assert study.best_smoothing(aligner, np.eye(16), pairs, settings) == min(means, key=means.get)
    assert study.best_smoothing("dtw", np.eye(16), pairs, settings) is None


def test_summary_counts_frames_within_the_thresholds():
    summary = study.summary(np.array([0.5, 1.0, 4.0, 30.0]))
    assert summary == {"mean": 8.875, "median": 2.5, "within": [0.5, 0.5, 0.75, 0.75, 0.75]}


# ---- drives


def test_parts_share_no_route_and_a_further_one_changes_nothing_else():
    further = make_route(80, random_state=99)
    train, validation, tests = study.drives(4, SMALL, further)
    starts = {tuple(pair.path[0]) for part in (train, validation, *tests.values()) for pair in part}
    assert len(starts) == 4 + 2 + 3 + 1
    assert_array_equal(tests["kitti"][0].path, further)
    alone = study.drives(4, SMALL)
    assert list(alone[2]) == ["generated"]
    for a, b in zip(alone[0] + alone[2]["generated"], train + tests["generated"], strict=True):
        assert_array_equal(a.query.descriptors, b.query.descriptors)


# ---- the real route


def packed(folder, text):
    file = folder / kitti.ARCHIVE
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo(kitti.MEMBER)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file


def test_poses_are_seen_from_above(tmp_path, monkeypatch):
    poses = b"1 0 0 5 0 1 0 -2 0 0 1 8\n1 0 0 6 0 1 0 -2 0 0 1 9.5\n"
    file = packed(tmp_path, poses)
    with pytest.raises(ValueError, match=r"has the SHA-256 .* expected evo-1\.38\.1\.tar\.gz with 1d63"):
        kitti.route(file)
    with file.open("rb") as opened:
        monkeypatch.setattr(kitti, "SHA256", kitti.hashlib.file_digest(opened, "sha256").hexdigest())
    assert_array_equal(kitti.route(file), [[5, 8], [6, 9.5]])


# ---- the command


@pytest.fixture
def command(monkeypatch, tmp_path):
    monkeypatch.setattr(route_alignment, "QUICK_SETTINGS", SMALL)
    monkeypatch.setattr(kitti, "route", lambda archive: make_route(200, random_state=0))

    def run(*words):
        file = tmp_path / "page.md"
        common = ["--quick", "--n-jobs", "1", "--cache", str(tmp_path / "cache"), "--markdown", str(file)]
        route_alignment.main([*common, *words])
        return file.read_text()

    return run


def test_the_page_has_a_row_for_each_features_and_alignment(command):
    text = command("--kitti")
    assert "`python -m benchmarks.experiments.route_alignment --quick --kitti`, " in text
    assert "{" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120
    for features in route_alignment.FEATURES.values():
        tables = 3 if features == "raw" else 2
        assert len([line for line in text.splitlines() if line.startswith(f"| {features} | ")]) == tables * 3


def test_a_run_goes_on_where_it_stopped(command, monkeypatch, tmp_path):
    computed = []

    def run(seed, settings, further):
        computed.append(seed)
        return study.run(seed, settings, further)

    monkeypatch.setattr(route_alignment, "run", run)
    first = command()
    (tmp_path / "cache" / "run.1.json").unlink()
    assert without_times(command()) == without_times(first)
    assert computed == [0, 1, 1]
    assert "KITTI" not in first


def without_times(text):
    return [line for line in text.splitlines() if not line.startswith(("Written", "time", "processor"))]


def test_figures_of_the_page_are_means_over_the_runs():
    def result(mean, smoothing):
        outcome = {"mean": mean, "median": mean / 2, "within": [0.1, 0.2, 0.3, 0.4, mean / 10]}
        smooth = {**outcome, "smoothing": smoothing}
        every = {"dtw": {**outcome, "smoothing": None}, "soft_dtw": smooth, "dec_dtw": {**smooth, "mean": 2 * mean}}
        return dict.fromkeys(("raw", "whitened", "soft_dtw"), every) | {"dec_dtw": {**every, "dec_dtw": smooth}}

    results = [result(4.0, 0.3), result(6.0, 3.0)]
    told = route_alignment.row("raw", "soft_dtw", results)
    assert told == ("raw", "soft-DTW", "5.00 ± 1.00", "2.50", "10", "20", "30", "40", "50", "0.3 to 3")
    assert route_alignment.row("raw", "dtw", results)[-1] == ""
    assert "divides DecDTW's mean error by 2.0. " in route_alignment.sentence(results)
    assert "What is left is 1.00 times" in route_alignment.sentence(results)
    assert "in 0 of 2 runs" in route_alignment.sentence(results)
    assert "soft-DTW: 1.00 under DTW, 1.00 under soft-DTW, 0.50 under DecDTW." in route_alignment.sentence(results)


def test_without_change_of_appearance_only_alignments_are_compared():
    outcomes = study.run(0, SMALL)
    assert list(outcomes) == ["generated", "clean"]
    assert list(outcomes["clean"]) == ["raw"]
    assert outcomes["clean"]["raw"]["dec_dtw"]["mean"] < outcomes["clean"]["raw"]["dtw"]["mean"] < 5
