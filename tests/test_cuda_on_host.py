"""The real .cu sources and the real launch code, without a GPU: threads are fibers, memory is the host's.

See cuda_on_host.h for what a run notices (races, divergence, deadlocks) and what it cannot.
"""

import re
import sys
import types

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import AT_RANDOM, BACKWARDS, FORWARDS, Host, KernelFailure
from device_parity import (
    COSTS,
    DTYPES,
    OPTIONS,
    REGULARIZERS,
    SHAPES,
    TABLE_COSTS,
    alike,
    check_collections,
    check_given_costs,
    check_local_costs,
    check_paths,
    check_series,
    close,
    extreme_costs,
    random_series,
)
from numpy.testing import assert_array_equal

import sdtwkit
from sdtwkit._cuda import alignment
from sdtwkit.costs import cost_vjp
from sdtwkit.dp import AlignmentDP

pytestmark = cuda_on_host.needed
ORDERS = {FORWARDS: "forwards", BACKWARDS: "backwards", AT_RANDOM: "at-random"}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(alignment.FILE, alignment.libraries(), tmp_path_factory.mktemp("kernels"))
    host.compile([library for library in host.libraries if library.endswith("Given")])
    return host


@pytest.fixture(params=ORDERS, ids=ORDERS.values())
def order(request):
    return request.param


@pytest.fixture
def cupy(monkeypatch, host):
    host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, host)


# ---- the same answers


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_given_costs(cupy, host, rng, dtype, regularizer, options):
    for k, shape in enumerate(SHAPES):
        host.order, host.seed = k % 3, k
        check_given_costs(cupy, rng, dtype, regularizer, options, shape)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 2.0, 1.5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_blocks_inside_a_band(cupy, rng, dtype, weights):
    """Bands wide enough for blocks of steps without a cell beyond them, beside blocks that they cut."""
    for window in (50, 58):
        check_given_costs(cupy, rng, dtype, "entropy", {"window": window, "step_weights": weights}, (70, 75))


@pytest.mark.parametrize(("along", "shape"), [("y", (64, 140)), ("x", (140, 64)), (True, (96, 96))], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_paths_start_and_end_anywhere(cupy, rng, dtype, along, shape):
    """Also in the midst of a strip: costs are positive, so that long paths are no better than short ones."""
    C = rng.random((2, *shape)).astype(dtype)
    for ends in ("open_begin", "open_end"):
        dp = AlignmentDP(**{ends: along})
        for got, expected in zip(dp.value_and_grad(cupy.asarray(C)), dp.value_and_grad(C), strict=True):
            close(got, expected, dtype)


@pytest.mark.parametrize("cost", COSTS)
def test_fused_costs(cupy, host, rng, cost):
    for k, (name, shape) in enumerate(zip(OPTIONS, ((33, 40), (5, 3), (40, 33), (70, 20), (34, 34)), strict=True)):
        host.order, host.seed = k % 3, k
        check_series(cupy, rng, np.float64, cost, OPTIONS[name], shape, d=1 + k % 3)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_fused_squared_euclidean(cupy, host, rng, dtype, regularizer):
    for k, options in enumerate(OPTIONS.values()):
        host.order = k % 3
        check_series(cupy, rng, dtype, "sqeuclidean", {**options, "regularizer": regularizer}, (35, 20))


@pytest.mark.parametrize("cost", TABLE_COSTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_costs_in_tables(cupy, host, rng, dtype, cost):
    for k, options in enumerate(OPTIONS.values()):
        host.order = k % 3
        check_series(cupy, rng, dtype, cost, options, (35, 20))


@pytest.mark.parametrize("cost", COSTS + TABLE_COSTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_local_costs(cupy, rng, dtype, cost):
    check_local_costs(cupy, rng, dtype, cost, (9, 5))


def test_paths(cupy, rng):
    check_paths(cupy, rng)


@pytest.mark.parametrize("kind", ["soft", "sharp", "mean"])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_divergences_and_matrices(cupy, rng, dtype, kind):
    for cost in ("half_sqeuclidean", "cosine", "bce", TABLE_COSTS[-1]):
        check_collections(cupy, rng, dtype, {"window": 4, "cost": cost}, kind)


def test_masks_of_the_host_and_of_the_device(cupy, rng):
    C = rng.normal(size=(2, 20, 35))
    for mask in (rng.random(C.shape) < 0.9, rng.random(C.shape[1:]) < 0.95):
        expected = AlignmentDP(window=mask).value_and_grad(C)
        for window in (mask, cupy.asarray(mask)):
            for got, answer in zip(AlignmentDP(window=window).value_and_grad(cupy.asarray(C)), expected, strict=True):
                close(got, answer, np.float64)


def test_lengths_on_the_device(cupy, rng):
    C = rng.normal(size=(3, 40, 50))
    rows, columns = np.array([40, 33, 1]), np.array([1, 50, 20])
    expected = AlignmentDP(window=4).value_and_grad(C, rows, columns)
    got = AlignmentDP(window=4).value_and_grad(cupy.asarray(C), cupy.asarray(rows), cupy.asarray(columns))
    for result, answer in zip(got, expected, strict=True):
        close(result, answer, np.float64)


def test_one_matrix_gives_one_value(cupy, rng):
    C = rng.normal(size=(4, 5))
    value, gradient = AlignmentDP().value_and_grad(cupy.asarray(C))
    assert value.shape == ()
    assert gradient.shape == C.shape
    close(value, AlignmentDP().value(C), np.float64)


def test_integers_and_half_precision(cupy, rng):
    C = rng.integers(0, 9, (6, 7))
    for array, dtype in ((C, np.float64), (C.astype(np.float16), np.float32)):
        close(AlignmentDP().value(cupy.asarray(array)), AlignmentDP().value(array), dtype)


@pytest.mark.parametrize("gamma", [1e-8, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_extremes(cupy, rng, dtype, regularizer, gamma):
    C = extreme_costs(rng, dtype)
    dp = AlignmentDP(gamma, regularizer=regularizer)
    value, gradient = dp.value_and_grad(C)
    got_value, got = dp.value_and_grad(cupy.asarray(C))
    close(got_value, value, dtype)
    slope, product = dp.hvp(cupy.asarray(C), cupy.asarray(np.ones_like(C)))
    assert all(np.isfinite(array.get()).all() for array in (got, slope, product))
    if regularizer == "entropy" or dtype == np.float64:  # sparse weights are differences of float32 values over gamma
        close(got, gradient, dtype)


def test_subnormal_numbers_are_zero_in_float32(cupy):
    """As on a device for which CuPy compiles: what else is tested here is tested so."""
    for dtype, expected in ((np.float32, 0.0), (np.float64, 5e-40)):
        value = AlignmentDP(regularizer=None).value(cupy.asarray(np.full((5, 5), 1e-40, dtype)))
        assert float(value.get()) == pytest.approx(expected, abs=1e-45)


@pytest.mark.parametrize("gamma", [1e-300, 1e-40, 1e40, 1e300])
def test_smoothing_beyond_the_range_of_float32(cupy, rng, gamma):
    C = rng.random((3, 4)).astype(np.float32)
    expected = AlignmentDP(gamma).marginals(np.float64(C))  # whose value would not fit float32
    close(AlignmentDP(gamma).marginals(cupy.asarray(C)), expected, np.float32)


def test_wide_pairs_among_narrow_ones(cupy, host, rng):
    """Pairs whose range is beyond int32 exponents are repeated; the others keep their every bit."""
    C = rng.random((4, 40, 40)).astype(np.float32)
    value, gradient = AlignmentDP(0.1).value_and_grad(cupy.asarray(C))
    wide = C.copy()
    wide[1] *= 1e7
    wide[3, 5, 5] = 1e30
    for k in ORDERS:
        host.order = k
        got_value, got = AlignmentDP(0.1).value_and_grad(cupy.asarray(wide))
        for b in (0, 2):
            assert got_value.get()[b] == value.get()[b]
            assert_array_equal(got.get()[b], gradient.get()[b])
        for result, answer in zip((got_value, got), AlignmentDP(0.1).value_and_grad(wide), strict=True):
            close(result, answer, np.float32)


def test_no_admissible_path(cupy):
    C = np.zeros((2, 40, 40))
    C[0, 20] = np.inf
    value, gradient = AlignmentDP().value_and_grad(cupy.asarray(C))
    assert value.get()[0] == np.inf
    assert np.isfinite(value.get()[1])
    assert not gradient.get()[0].any()


# ---- what a device cannot refuse


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_a_cost_that_is_none_makes_the_value_nan(cupy, rng, dtype, regularizer, bad):
    C = rng.random((3, 35, 5)).astype(dtype)
    expected = AlignmentDP(regularizer=regularizer).value(C)
    C[1, 33, 2] = bad
    value, gradient = AlignmentDP(regularizer=regularizer).value_and_grad(cupy.asarray(C))
    assert np.isnan(value.get()[1])
    assert np.isnan(gradient.get()[1]).any()
    close(value[[0, 2]], expected[[0, 2]], dtype)


@pytest.mark.parametrize("label", [3, -1, 0.5])
def test_a_label_that_is_none_makes_the_value_nan(cupy, rng, label):
    x, labels = np.log(rng.random((2, 5, 3))), np.array([[0.0, 1, 2], [0, label, 1]])[:, :, None]
    value = sdtwkit.soft_dtw(cupy.asarray(x), cupy.asarray(labels), cost="nll")
    assert np.isnan(value.get()[1])
    close(value[:1], sdtwkit.soft_dtw(x[:1], labels[:1], cost="nll"), np.float64)


def test_impossible_labels(cupy, rng):
    x, labels = np.log(rng.random((5, 3))), np.array([0, 2, 1, 2])
    x[1, 2] = x[3, 0] = -np.inf
    expected = sdtwkit.soft_dtw_value_and_grad(x, labels, cost="nll")
    alike(sdtwkit.soft_dtw_value_and_grad(cupy.asarray(x), cupy.asarray(labels), cost="nll"), expected, np.float64)


def test_a_length_out_of_range_makes_the_value_nan(cupy, rng):
    C = rng.random((4, 6, 6))
    value, gradient = AlignmentDP().value_and_grad(cupy.asarray(C), x_lengths=cupy.asarray([6, 0, 7, -3]))
    assert_array_equal(np.isnan(value.get()), [False, True, True, True])
    assert not gradient.get()[1:].any()


# ---- the same bits


def test_results_do_not_depend_on_who_computes_them(cupy, host, monkeypatch, rng):
    C = cupy.asarray(rng.random((3, 70, 60)))
    results = []
    for k in ORDERS:
        for blocks in (1, 2, 5):
            host.order, host.seed = k, blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            results.append([array.get() for array in AlignmentDP(0.1, window=9).value_and_grad(C)])
    for result in results[1:]:
        for array, first in zip(result, results[0], strict=True):
            assert_array_equal(array, first)


# ---- wrong arguments


class Mine:
    """A cost of the user's that answers whatever it is asked."""

    def __init__(self, answer):
        self.answer = answer

    def matrix(self, x, *others):
        return self.answer(x)

    vjp = jvp = matrix


def elsewhere(cupy, array):
    """The array on another device."""
    with cupy.cuda.Device(1):
        return cupy.asarray(array.get())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda C, xp: sdtwkit.soft_dtw(C, C, cost=Mine(lambda x: x.get())),
            "matrix of the cost, of type Mine, gave a numpy.ndarray; expected a cuda_on_host.Array, as its",
        ),
        (
            lambda C, xp: cost_vjp(C[None], C[None], C[None], Mine(lambda x: (x, None))),
            "vjp of the cost, of type Mine, gave a builtins.NoneType; expected a cuda_on_host.Array",
        ),
        (
            lambda C, xp: sdtwkit.cdist_soft_dtw(C.get(), cost=Mine(lambda x: C)),
            "matrix of the cost, of type Mine, gave a cuda_on_host.Array; expected a numpy.ndarray, as its",
        ),
        (lambda C, xp: sdtwkit.soft_dtw(C, C.get()), "y is no CuPy array, the arrays it belongs to are CuPy arrays"),
        (lambda C, xp: sdtwkit.soft_dtw_hvp(C, C, C.get()), "dx is no CuPy array"),
        (lambda C, xp: AlignmentDP().hvp(C, np.ones(C.shape)), "direction is no CuPy array"),
        (lambda C, xp: AlignmentDP().hvp(C.get(), C), "direction is a CuPy array"),
        (lambda C, xp: AlignmentDP(window=xp.asarray(np.ones(C.shape, bool))).value(C.get()), "window is a CuPy array"),
    ],
)
def test_errors(cupy, call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call(cupy.asarray(np.ones((3, 3))), cupy)


def test_arrays_on_two_devices(cupy):
    C = cupy.asarray(np.ones((3, 3)))
    with cupy.cuda.Device(1):
        Z = cupy.asarray(np.ones((3, 3)))
    with pytest.raises(ValueError, match="direction lies on CUDA device 1, the data on device 0"):
        AlignmentDP().hvp(C, Z)


def test_a_cost_of_the_users_that_answers_something_else(cupy):
    C = cupy.asarray(np.ones((3, 3)))
    for answer, sentence in (
        (
            lambda x: elsewhere(cupy, x),
            "what matrix of the cost, of type Mine, gave lies on CUDA device 1, the data",
        ),
        (lambda x: x[:2], r"matrix of the cost, of type Mine, gave an array of shape \(2, 3\); expected \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            sdtwkit.soft_dtw(C, C, cost=Mine(answer))
    nothing = Mine(lambda x: x * np.nan)
    assert np.isnan(sdtwkit.soft_dtw(C, C, cost=nothing).get())


def test_a_cost_of_the_users_and_lengths_on_the_device(cupy, rng):
    """They are waited for, as a pair is handed over alone; so they are checked."""
    x, y, lengths = random_series(rng, 9, 7, 2, np.float64)
    rows = cupy.asarray(lengths["x_lengths"])
    own = {"cost": TABLE_COSTS[-1], "gamma": 0.5}
    expected = sdtwkit.soft_dtw_value_and_grad(x, y, **own, **lengths)
    there = {"x_lengths": rows, "y_lengths": cupy.asarray(lengths["y_lengths"])}
    alike(sdtwkit.soft_dtw_value_and_grad(cupy.asarray(x), cupy.asarray(y), **own, **there), expected, np.float64)
    matrix = sdtwkit.cdist_soft_dtw(cupy.asarray(x), X_lengths=rows, **own)
    close(matrix, sdtwkit.cdist_soft_dtw(x, X_lengths=lengths["x_lengths"], **own), np.float64)
    with pytest.raises(ValueError, match=r"X_lengths\[1\] is 12, X\[1\] has 9 rows; expected 1 to 9"):
        sdtwkit.cdist_soft_dtw(cupy.asarray(x), X_lengths=cupy.asarray([9, 12, 9]), **own)


def test_results_lie_on_the_device_of_the_data(cupy):
    with cupy.cuda.Device(1):
        C = cupy.asarray(np.ones((3, 3)))
    assert {array.device.id for array in AlignmentDP().value_and_grad(C)} == {1}


class Tensor:
    __cuda_array_interface__ = None  # it is never looked into


def test_other_arrays_of_a_device_are_pointed_to_cupy():
    with pytest.raises(TypeError, match="C, of type Tensor, lies on a CUDA device; expected a NumPy or a CuPy array"):
        AlignmentDP().value(Tensor())


def test_show_versions_names_the_device(monkeypatch, cupy, capsys):
    cupy.cuda.runtime = types.SimpleNamespace(
        getDeviceProperties=lambda number: {"name": b"Fiber 1"}, driverGetVersion=lambda: 13000
    )
    sdtwkit.show_versions()
    assert re.search(r"^CUDA +Fiber 1, driver 13000$", capsys.readouterr().out, re.MULTILINE)
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    sdtwkit.show_versions()
    assert re.search(r"^CUDA +no cupy$", capsys.readouterr().out, re.MULTILINE)


# ---- the checks notice


TEXT = alignment.FILE.text
BARRIERS = [k for k, line in enumerate(TEXT.splitlines()) if line.strip().startswith("__syncwarp();")]
NEEDED = {
    "needed": [
        alignment.forward_name("EntropyMin<double, true>", "Euclidean", False, False),
        alignment.close_name("EntropyMin<double, true>", False),
        alignment.backward_name("EntropyMin<double, true>", "Euclidean", False, False),
        alignment.forward_name("EntropyMin<double, true>", "Given", False, False),
        alignment.backward_name("EntropyMin<double, true>", "Given", False, False),
    ]
}


def notices(monkeypatch, tmp_path, text):
    """What running a changed text in all orders brings up: a complaint, "wrong results", or "nothing"."""
    host = Host(alignment.FILE, NEEDED, tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    x, y = np.random.default_rng(0).random((2, 70, 1)), np.random.default_rng(1).random((2, 60, 1))
    functions = (sdtwkit.soft_dtw_value_and_grad, sdtwkit.soft_dtw_alignment)
    expected = [answer for function in functions for answer in function(x, y, cost="euclidean")]
    for order in (BACKWARDS, FORWARDS, AT_RANDOM):
        host.order = order
        try:
            on_device = cupy.asarray(x), cupy.asarray(y)
            results = [result for function in functions for result in function(*on_device, cost="euclidean")]
        except KernelFailure as failure:
            return str(failure)
        if not all(np.allclose(got.get(), answer) for got, answer in zip(results, expected, strict=True)):
            return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, TEXT) == "nothing"


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_removed_barrier_is_noticed(monkeypatch, tmp_path, barrier):
    lines = TEXT.splitlines(keepends=True)
    del lines[barrier]
    assert re.search("race in shared|nobody wrote|wrong results", notices(monkeypatch, tmp_path, "".join(lines)))


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        ("&& t0 > 0) {", "&& t0 > 0 && lane > 3) {\n__syncwarp();", "divergent warp|every thread waits"),
        ("if (!s.is_first()) await(", "if (false) await(", "wrong results"),
        ("store_release(progress, done)", "*progress = done", "wrong results"),
        (
            ": pair.m);\n      }\n    }\n    if (!a.open_end",
            ": 0);\n      }\n    }\n    if (!a.open_end",
            "every thread waits",
        ),
        (
            "tile[k * kPitch + lane];\n        const T direction",
            "tile[k * kPitch + lane + kTile<T>];\n        const T direction",
            "out of bounds",
        ),
    ],
    ids=["lane astray", "strip that does not wait", "no release", "wait without an end", "shared out of bounds"],
)
def test_defects_are_noticed(monkeypatch, tmp_path, text, changed, complaint):
    assert text in TEXT
    assert re.search(complaint, notices(monkeypatch, tmp_path, TEXT.replace(text, changed, 1)))


# ---- AddressSanitizer, in a process of its own


def sanitized(tmp_path, change=""):
    """Run the parity cases on kernels built with AddressSanitizer; `change` edits `text`."""
    return cuda_on_host.sanitized(
        f"""
        import numpy as np
        import cuda_on_host, device_parity
        from sdtwkit._cuda import alignment
        from sdtwkit.dp import AlignmentDP
        text = alignment.FILE.text
        {change}
        alignment.FILE.text = text
        host = cuda_on_host.Host(
            alignment.FILE, alignment.libraries(), {str(tmp_path)!r}, flags=cuda_on_host.SANITIZERS
        )
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host)
        rng = np.random.default_rng(0)
        for host.order, shape in enumerate(((5, 3), (33, 20), (20, 33))):
            C, lengths = device_parity.random_batch(rng, *shape, np.float64)
            for options in (device_parity.OPTIONS["plain"], device_parity.OPTIONS["everything"]):
                AlignmentDP(**options).value_and_grad(cupy.asarray(C), **lengths)
        """
    )


def test_nothing_is_touched_out_of_bounds(tmp_path):
    done = sanitized(tmp_path)
    assert "sanitized" in done.stdout, done.stderr[-3000:]


def test_a_read_out_of_bounds_is_noticed(tmp_path):
    done = sanitized(tmp_path, 'text = text.replace("lane < s.rows && from", "from")')
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
