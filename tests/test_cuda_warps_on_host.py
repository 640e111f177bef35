"""Continuous warps by the real .cu source and the real launch code, without a GPU; see cuda_on_host.h."""

import copy
import os
import re
import subprocess
import sys
import textwrap

import cuda_on_host
import numpy as np
import pytest
from collections_parity import check_continuous_aligner
from cuda_on_host import AT_RANDOM, BACKWARDS, FORWARDS, Host, KernelFailure
from device_parity import DTYPES
from device_parity_warps import LOSSES, OPTIONS, SHAPES, check_options_of_each_pair, check_warps
from numpy.testing import assert_array_equal

from sdtwkit import DecDTWAligner, dec_dtw
from sdtwkit._cuda import warp

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Host(warp.FILE, warp.libraries(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def cupy(monkeypatch, host):
    host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, host)


# ---- the same answers


@pytest.mark.parametrize("walk", [True, False], ids=["walks", "plateaus"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_warps(cupy, host, rng, options, loss, walk):
    for k, shape in enumerate(SHAPES):
        host.order, host.seed = k % 3, k
        options = {**options, "loss": loss, "reg_loss": LOSSES[k % 3], "reg": 10.0 ** -(k % 3)}
        check_warps(cupy, rng, DTYPES[k % 2], options, shape, d=(1, 2, 6)[k % 3], walk=walk)


def test_options_of_each_pair(cupy, rng):
    check_options_of_each_pair(cupy, rng)


def test_the_same_bits_as_on_the_cpu_and_whoever_computes_them(cupy, host, monkeypatch, rng):
    x, y = rng.normal(size=(5, 80, 3)).cumsum(axis=1), rng.normal(size=(5, 60, 3)).cumsum(axis=1)
    expected = dec_dtw(x, y)
    for order in (FORWARDS, BACKWARDS, AT_RANDOM):
        for blocks in (1, 2, 5):
            host.order, host.seed = order, blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            got = dec_dtw(cupy.asarray(x), cupy.asarray(y))
            assert_array_equal(got.values.get(), expected.values)
            assert_array_equal(got.objective.get(), expected.objective)
            for a, b in zip(got.value_grad()[:2], expected.value_grad()[:2], strict=True):
                assert_array_equal(a.get(), b)


def test_single_times(cupy):
    got = dec_dtw(cupy.asarray([[[2.0]], [[3.0]]]), cupy.asarray([[[1.0]], [[3.0]]]))
    assert_array_equal(got.values.get(), [[0.0], [0.0]])
    assert_array_equal(got.objective.get(), dec_dtw([[[2.0]], [[3.0]]], [[[1.0]], [[3.0]]]).objective)
    assert not got.vjp(cupy.asarray(np.ones((2, 1)))).x.get().any()


def test_series_of_one_axis(cupy, rng):
    x, y = rng.normal(size=9), rng.normal(size=8)
    got, expected = dec_dtw(cupy.asarray(x), cupy.asarray(y)), dec_dtw(x, y)
    assert_array_equal(got.warped.get(), expected.warped)
    assert_array_equal(got.value_grad().x.get(), expected.value_grad().x)
    lists = dec_dtw([cupy.asarray(x)], [cupy.asarray(y)])
    assert_array_equal(lists.warped[0].get(), expected.warped)
    assert "1 pair" in repr(lists)


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_other_dtypes(cupy, rng, dtype):
    x, y = (rng.normal(size=(2, n, 1)) * 9 for n in (9, 8))
    x, y = x.astype(dtype), y.astype(dtype)
    got, expected = dec_dtw(cupy.asarray(x), cupy.asarray(y)), dec_dtw(x, y)
    assert got.values.dtype == expected.values.dtype
    assert_array_equal(got.values.get(), expected.values)


def test_a_copied_result_is_the_same(cupy, rng):
    x = cupy.asarray(rng.normal(size=(2, 9, 1)))
    warps = dec_dtw(x, x[:, ::-1])
    copied = copy.deepcopy(warps)
    assert_array_equal(copied.vjp(warps.values).x.get(), warps.vjp(warps.values).x.get())
    assert copied.active == warps.active


def test_lengths_on_the_device(cupy, rng):
    x, y = rng.normal(size=(3, 9, 1)), rng.normal(size=(3, 8, 1))
    lengths = np.array([9, 5, 2])
    got = dec_dtw(cupy.asarray(x), cupy.asarray(y), x_lengths=cupy.asarray(lengths))
    assert_array_equal(got.values.get(), dec_dtw(x, y, x_lengths=lengths).values)


def test_the_aligner_passes_arrays_through(cupy, rng):
    x, y = rng.normal(size=(2, 9, 1)), rng.normal(size=(2, 8, 1))
    aligner = DecDTWAligner(0.5, band=0.3)
    assert_array_equal(aligner.align(cupy.asarray(x), cupy.asarray(y)).values.get(), aligner.align(x, y).values)


def test_the_aligner_learns_and_warps(cupy, rng):
    check_continuous_aligner(cupy, rng)


def test_results_lie_on_the_device_of_the_data(cupy, rng):
    with cupy.cuda.Device(1):
        x = cupy.asarray(rng.normal(size=(2, 6, 1)))
    warps = dec_dtw(x, x)
    arrays = [warps.times, warps.values, warps.objective, warps.warped, *warps.bounds, warps.is_global]
    arrays += [warps.vjp(warps.values).reg, *warps.value_grad()[:3]]
    assert {array.device.id for array in arrays} == {1}


# ---- memory


def test_pairs_that_need_more_room_find_it(cupy, host, monkeypatch, rng):
    x, y = rng.normal(size=(4, 60, 2)).cumsum(axis=1), rng.normal(size=(4, 50, 2)).cumsum(axis=1)
    expected = dec_dtw(x, y, 1.0, loss="l1")
    monkeypatch.setattr(warp, "_PIECES", 8)
    got = dec_dtw(cupy.asarray(x), cupy.asarray(y), 1.0, loss="l1")
    assert_array_equal(got.values.get(), expected.values)
    monkeypatch.setattr(warp, "_ATTEMPTS", (1,))
    got = dec_dtw(cupy.asarray(x), cupy.asarray(y), 1.0, loss="l1")
    assert np.isnan(got.objective.get()).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_what_finds_no_room_is_nan_at_once(cupy, monkeypatch, rng, loss):
    """However little memory there is, nothing else is touched; see also the test under AddressSanitizer."""
    x, y = rng.normal(size=(3, 150, 2)).cumsum(axis=1), rng.normal(size=(3, 100, 2)).cumsum(axis=1)
    monkeypatch.setattr(warp, "_ATTEMPTS", (0,))
    got = dec_dtw(cupy.asarray(x), cupy.asarray(y), 1.0, loss=loss)
    assert np.isnan(got.values.get()).all()
    assert np.isnan(got.vjp(cupy.asarray(np.ones((3, 100)))).x.get()).all()


def test_arrays_of_known_size_find_room(monkeypatch, tmp_path, rng):
    """Even where there is none for what grows."""
    known = "    size_ = min(size, capacity_);\n    for (size_t k = 0; k < size_; ++k) data_[k] = x;\n"
    assert known in warp.FILE.text
    check = 'if (size > capacity_) cuda_on_host::fail("no room for an array of known size");\n'
    host = Host(warp.FILE, warp.libraries(), tmp_path, warp.FILE.text.replace(known, check + known))
    cupy = cuda_on_host.install(monkeypatch, host)
    for k, (m, n, d) in enumerate(2 * ((300, 2, 1), (2, 300, 2), (150, 100, 7), (40, 90, 5), (5, 3, 1), (1, 2, 70))):
        monkeypatch.setattr(warp, "_ATTEMPTS", (k // 6,))
        x, y = rng.normal(size=(2, m, d)).cumsum(axis=1), rng.normal(size=(2, n, d)).cumsum(axis=1)
        for options in ({}, {"n_values": 3}, {"n_values": 140}, {"cum_reg": 0.1}, {"loss": "l1", "reg_loss": "huber"}):
            warps = dec_dtw(cupy.asarray(x), cupy.asarray(y), **options)
            warps.vjp(warps.values)


# ---- what a device cannot refuse


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_sample_that_is_none_makes_its_pair_nan(cupy, rng, bad):
    x, y = rng.normal(size=(3, 20, 1)), rng.normal(size=(3, 70, 1))
    expected = dec_dtw(x, y)
    x[1, 7] = bad
    got = dec_dtw(cupy.asarray(x), cupy.asarray(y))
    assert_array_equal(np.isnan(got.objective.get()), [False, True, False])
    assert_array_equal(np.isnan(got.kkt_residual.get()), [False, True, False])
    assert np.isnan(got.values.get()[1]).all()
    assert np.isnan(got.vjp(got.values).y.get()[1]).all()
    for b in (0, 2):
        assert_array_equal(got.values.get()[b], expected.values[b])
        assert got.active[b] == expected.active[b]


# ---- wrong arguments


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x, w: dec_dtw(x, x.get()), TypeError, "y is no CuPy array"),
        (lambda x, w: dec_dtw(x, x, slope_bounds=(2, 3)), ValueError, "no warp is feasible for pair 0: at warp time"),
        (lambda x, w: dec_dtw(x, x, x_lengths=[9, 3]), ValueError, r"x_lengths\[0\] is 9"),
        (lambda x, w: w.vjp(np.ones((2, 6))), TypeError, "cotangent is no CuPy array"),
        (lambda x, w: w.vjp(x), ValueError, r"cotangent has shape \(2, 6, 1\); expected \(2, 6\)"),
        (lambda x, w: w.vjp(None), TypeError, "cotangent is None"),
        (lambda x, w: dec_dtw([*x], [*x]).vjp(x), ValueError, "expected a list of 2 arrays"),
    ],
)
def test_errors(cupy, rng, call, error, sentence):
    x = cupy.asarray(rng.normal(size=(2, 6, 1)))
    with pytest.raises(error, match=sentence):
        call(x, dec_dtw(x, x))


# ---- the checks notice

MEETING = "    Lanes::meet();\n"


def notices(monkeypatch, tmp_path, text):
    """What running a changed source in all orders brings up: a complaint, "wrong results", or "nothing"."""
    host = Host(warp.FILE, warp.libraries(), tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=(4, 50, 6)).cumsum(axis=1)), rng.normal(size=(4, 40, 6)).cumsum(axis=1)
    cases = [(x, y, {}), (x[:, :9, :2], y[:, :8, :2], {"loss": "l1", "reg_loss": "l1", "reg": 1e9})]
    for order in (BACKWARDS, FORWARDS, AT_RANDOM):
        host.order = order
        for a, b, options in cases:
            expected, cotangent = dec_dtw(a, b, **options), np.ones(b.shape[:2])
            try:
                got = dec_dtw(cupy.asarray(a), cupy.asarray(b), **options)
                results = [
                    got.values,
                    got.warped,
                    got.objective,
                    got.kkt_residual,
                    *got.vjp(cupy.asarray(cotangent))[:3],
                ]
                results += got.value_grad()[:3]
            except KernelFailure as failure:
                return str(failure)
            answers = [expected.values, expected.warped, expected.objective, expected.kkt_residual]
            answers += [*expected.vjp(cotangent)[:3], *expected.value_grad()[:3]]
            if got.active != expected.active or not all(
                np.allclose(result.get(), answer, rtol=1e-9, atol=1e-9)
                for result, answer in zip(results, answers, strict=True)
            ):
                return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, warp.FILE.text) == "nothing"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("      describe_node(i, bound_lower[i], bound_upper[i]);\n    }\n", "    for (Index j"),
        ("describe_interval(j);\n", "    if (Lanes::lead()) sum_up();"),
        ("    if (Lanes::lead()) sum_up();\n", "    name_rows();"),
        ("    name_rows();\n", "    if (Lanes::lead())"),
        ("slopes[j] = best.slope_multiplier(j);\n", "    *residual"),
        ("row[c] = y.value(c);\n", "    for (Index k"),
        ("slopes[j] *= w.problem.step(j);\n  }\n", "  best.pull_back(u"),
    ],
)
def test_a_missing_meeting_is_noticed(monkeypatch, tmp_path, before, after):
    meeting = MEETING[2:] if after.startswith("  b") else MEETING
    assert before + meeting + after in warp.FILE.text
    changed = warp.FILE.text.replace(before + meeting + after, before + after)
    assert notices(monkeypatch, tmp_path, changed) == "wrong results"


def test_a_lane_astray_is_noticed(monkeypatch, tmp_path):
    text = "  if (table) multiply(p, row, table);"
    assert text in warp.FILE.text
    changed = warp.FILE.text.replace(text, text.replace("table)", "table && lane_of_thread() != 5)", 1))
    assert re.search("divergent warp|every thread waits", notices(monkeypatch, tmp_path, changed))


# ---- AddressSanitizer, in a process of its own


def test_nothing_is_touched_out_of_bounds(tmp_path):
    """Neither with much memory nor with next to none. Arrays within a room: see the test of known sizes."""
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("libasan is not installed")
    script = f"""
        import sys
        import numpy as np
        import cuda_on_host
        from sdtwkit import dec_dtw
        from sdtwkit._cuda import warp
        flags = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
        host = cuda_on_host.Host(warp.FILE, warp.libraries(), {str(tmp_path)!r}, flags=flags)
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host)
        rng = np.random.default_rng(0)
        for warp._PIECES in (512, 4):
            for host.order, (m, n, d) in enumerate(((90, 60, 6), (40, 30, 2), (1, 3, 1))):
                x, y = cupy.asarray(rng.normal(size=(2, m, d))), cupy.asarray(rng.normal(size=(2, n, d)))
                for options in ({{}}, {{"n_values": 5}}, {{"cum_reg": 0.1}}, {{"loss": "l1", "slope_bounds": (0, 9)}}):
                    warps = dec_dtw(x, y, **options)
                    warps.vjp(warps.values), warps.value_grad()
        print("sanitized")
    """
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert "sanitized" in done.stdout, done.stderr[-3000:]
