"""Divergences against slow twins: all paths one by one, the recursion in long doubles, counts in whole numbers."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import reference
from hypothesis import given, strategies
from numpy.testing import assert_allclose, assert_array_equal
from reference import COSTS, OPERATORS, REAL, derivative

from sdtwkit import divergences, dtw, soft_dtw, soft_dtw_divergence, soft_dtw_divergence_value_and_grad
from sdtwkit._local_costs import COSTS as ALL_COSTS
from sdtwkit.costs import Huber

KINDS = divergences.KINDS
SYMMETRIC = [name for name in COSTS if ALL_COSTS[name].symmetric]
GAMMA = 0.7
BAND = np.abs(np.arange(7)[:, None] - np.arange(7)) < 4
SETTINGS = {
    "plain": {},
    "weights": {"step_weights": (1.0, 2.0, 1.0)},
    "uneven-weights": {"step_weights": (1.0, 2.0, 0.5)},
    "radius": {"window": 2},
    "mask": {"window": BAND},
    "uneven-mask": {"window": BAND & (np.arange(7)[:, None] - np.arange(7) < 3)},
    "open": {"open_begin": True, "open_end": True},
    "all": {"step_weights": (0.5, 1.0, 0.5), "window": 3, "open_begin": "x", "open_end": True},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


@pytest.fixture(params=COSTS)
def cost(request):
    return request.param


def pair(rng, n=7, m=7, d=2, cost="half_sqeuclidean"):
    """x (n, d), y (m, d), scaled so that costs do not grow with d; in [0, 1] for "bce"."""
    x, y = rng.normal(size=(n, d)) / np.sqrt(d), rng.normal(size=(m, d)) / np.sqrt(d)
    return tuple(1 / (1 + np.exp(-3 * z)) for z in (x, y)) if cost == "bce" else (x, y)


def close(actual, expected, tolerance=1e-11):
    """Entry by entry, relative to the largest."""
    expected = np.asarray(expected, float)
    assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1, abs(expected).max()))


# ---- the twin


def uniform_gradient(n, m, step_weights=(1, 1, 1), window=None, open_begin=False, open_end=False):
    """H (n, m) of "mean": how often a path, all of them alike, pays for a cell; paths are counted in whole numbers."""
    allowed = reference.admissible(np.zeros((n, m)), window)
    starts = reference.start_set(n, m, open_begin) & allowed
    ends = reference.end_set(n, m, open_end) & allowed
    to, onward = {}, {}  # paths from a start to a cell, and from it to an end
    cells = [(i, j) for i in range(n) for j in range(m) if allowed[i, j]]
    for i, j in cells:
        to[i, j] = int(starts[i, j]) + sum(to.get((i - di, j - dj), 0) for di, dj in reference.STEPS)
    for i, j in reversed(cells):
        onward[i, j] = int(ends[i, j]) + sum(onward.get((i + di, j + dj), 0) for di, dj in reference.STEPS)
    total = sum(to[i, j] for i, j in cells if ends[i, j])
    H = np.zeros((n, m), REAL)
    for i, j in cells:
        paid = sum(
            Fraction(w) * to.get((i - di, j - dj), 0) for w, (di, dj) in zip(step_weights, reference.STEPS, strict=True)
        )
        H[i, j] = float((paid + int(starts[i, j])) * onward[i, j] / Fraction(total))
    return H


def loss(x, y, kind, gamma=GAMMA, cost="half_sqeuclidean", regularizer="entropy", **options):
    """F(C(x, y))"""
    C = reference.cost_matrix(x, y, cost)
    if kind == "mean":
        return (uniform_gradient(*C.shape, **options) * C).sum()
    value, H = reference.Alignment(gamma, regularizer=regularizer, **options).value_and_grad(C)
    return value if kind == "soft" else (H * C).sum()


def divergence(x, y, kind, **options):
    own = loss(x, x, kind, **options) + loss(y, y, kind, **options)
    return loss(x, y, kind, **options) - own / 2


# ---- one pair


def test_values(kind, cost, options, regularizer, rng):
    x, y = pair(rng, cost=cost)
    options = {"kind": kind, "cost": cost, "regularizer": regularizer, **options}
    expected = divergence(x, y, gamma=GAMMA, **options)
    close(soft_dtw_divergence(x, y, GAMMA, **options), expected)
    value, _, _ = soft_dtw_divergence_value_and_grad(x, y, GAMMA, **options)
    close(value, expected)
    bare = loss(x, y, gamma=GAMMA, **options)
    close(soft_dtw_divergence(x, y, GAMMA, debias=False, **options), bare)
    close(soft_dtw_divergence_value_and_grad(x, y, GAMMA, debias=False, **options)[0], bare)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 12), (40, 33)], ids=str)
def test_every_size(kind, shape, regularizer, rng):
    for cost in ("half_sqeuclidean", "cosine"):
        x, y = pair(rng, *shape, 3)
        options = {"kind": kind, "cost": cost, "regularizer": regularizer}
        close(soft_dtw_divergence(x, y, GAMMA, **options), divergence(x, y, gamma=GAMMA, **options))


@pytest.mark.parametrize("settings", [SETTINGS["plain"], SETTINGS["all"], SETTINGS["mask"]], ids=str)
@pytest.mark.parametrize("regularizer", ["entropy", None])
def test_all_paths_one_by_one(kind, settings, regularizer, rng):
    """Expectations over the explicit list of paths, with the law that each kind puts on them."""
    settings = {k: v[:4, :4] if k == "window" and np.ndim(v) else v for k, v in settings.items()}

    def over_paths(x, y):
        C = reference.cost_matrix(x, y, "half_sqeuclidean").astype(float)
        law = reference.Gibbs(GAMMA, regularizer=regularizer, **settings)
        if kind == "soft":
            return law.value(C)
        if kind == "mean":
            _, _, _, W = law._enumerate(C)
            return np.tensordot(W, C, 2).mean()
        return (law.gradient(C) * C).sum()

    x, y = pair(rng, 4, 4)
    expected = over_paths(x, y) - (over_paths(x, x) + over_paths(y, y)) / 2
    got = soft_dtw_divergence(x, y, GAMMA, kind=kind, regularizer=regularizer, **settings)
    close(got, expected)


def test_gradients_are_derivatives(kind, cost, options, regularizer, rng):
    """Of the twin, in long doubles, along a direction in (x, y)."""
    x, y = pair(rng, cost=cost)
    dx, dy = rng.normal(size=(2, *x.shape))
    options = {"kind": kind, "cost": cost, "regularizer": regularizer, **options}
    _, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, GAMMA, **options)
    slope = derivative(lambda t: divergence(x + t * dx, y + t * dy, gamma=GAMMA, **options))
    close((grad_x * dx).sum() + (grad_y * dy).sum(), slope, 1e-9)


def test_gradients_without_self_terms(kind, cost, rng):
    x, y = pair(rng, 6, 8, cost=cost)
    dx, dy = rng.normal(size=x.shape), rng.normal(size=y.shape)
    options = {"kind": kind, "cost": cost}
    _, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, GAMMA, debias=False, **options)
    slope = derivative(lambda t: loss(x + t * dx, y + t * dy, **options))
    close((grad_x * dx).sum() + (grad_y * dy).sum(), slope, 1e-9)


@pytest.mark.parametrize("cost", ["half_sqeuclidean", "log_half_sqeuclidean"])
def test_finite_differences_of_the_library_itself(kind, cost, rng):
    x, y = pair(rng, 5, 8, cost=cost)
    _, *gradients = soft_dtw_divergence_value_and_grad(x, y, GAMMA, kind=kind, cost=cost)
    for k, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):

            def moved(t, k=k, index=index):
                series = [x.copy(), y.copy()]
                series[k][index] += t
                return soft_dtw_divergence(*series, GAMMA, kind=kind, cost=cost)

            assert_allclose((moved(1e-6) - moved(-1e-6)) / 2e-6, gradient[index], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gamma", [1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6])
def test_any_gamma(kind, gamma, rng):
    """Right to the rounding of F, which is gamma times a number of the order of the lengths where gamma is large."""
    x, y = pair(rng, 30, 34, 3)
    options = {"kind": kind, "gamma": gamma}
    size = 1e-13 * max(1, abs(float(loss(x, y, **options))))
    expected = divergence(x, y, **options)
    value, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, **options)
    assert_allclose([value, soft_dtw_divergence(x, y, **options)], float(expected), rtol=1e-9, atol=size)
    C = reference.cost_matrix(x, y, "half_sqeuclidean")
    twin = reference.Alignment(gamma)
    for series, gradient, k in ((x, grad_x, 0), (y, grad_y, 1)):
        parts = []
        for a, b in ((x, y), (series, series)):
            C = reference.cost_matrix(a, b, "half_sqeuclidean")
            H = uniform_gradient(*C.shape) if kind == "mean" else twin.value_and_grad(C)[1]
            if kind == "sharp":
                H = H + twin.hvp(C, C)[1]
            parts.append(reference.cost_vjp(a, b, H, "half_sqeuclidean")[k])
        close(gradient, parts[0] - parts[1], 1e-9)


# ---- a series has no divergence from itself: not a digit


def collections(rng, d, dtype):
    """Single, padded, and ragged, up to 300 long; and twins of them in memory of their own."""
    arrays = [rng.normal(size=(300, d)), rng.normal(size=(5, 40, d))]
    yield from ((array.astype(dtype), array.astype(dtype)) for array in arrays)
    ragged = [rng.normal(size=(n, d)) for n in (1, 7, 160, 33, 7)]
    yield [z.astype(dtype) for z in ragged], [z.astype(dtype) for z in ragged]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cost", [*SYMMETRIC, Huber(0.3)], ids=str)
def test_exactly_zero_from_itself(kind, cost, dtype, rng):
    for x, y in collections(rng, 3, dtype):
        for gamma in (1e-6, 1.0, 1e6):
            value, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, gamma, kind=kind, cost=cost)
            assert not np.any(value)
            assert not np.any(soft_dtw_divergence(x, y, gamma, kind=kind, cost=cost))
            for gradient in (*grad_x, *grad_y):
                assert_array_equal(gradient, 0)


def test_exactly_zero_however_products_are_computed(rng):
    """NumPy computes x @ x.T by another routine than x @ y.T; where their roundings differ, a value rarely shows it."""
    for x in rng.normal(size=(400, 9, 40)):
        assert soft_dtw_divergence(x, x.copy(), kind="sharp", cost="neg_dot") == 0


@pytest.mark.parametrize("settings", ["weights", "radius", "mask", "open"])
@pytest.mark.parametrize("cost", SYMMETRIC)
def test_exactly_zero_under_symmetric_settings(kind, cost, settings, rng):
    for regularizer in ("entropy", "l2"):
        x, _ = pair(rng)
        options = {"kind": kind, "cost": cost, "regularizer": regularizer, **SETTINGS[settings]}
        value, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, x.copy(), GAMMA, **options)
        for result in (value, grad_x, grad_y):
            assert_array_equal(result, 0)


@pytest.mark.parametrize(
    "cost", [name for name in SYMMETRIC if name != "neg_dot"]
)  # that favours paths off the diagonal
def test_exactly_zero_without_smoothing(cost, rng):
    for x, y in collections(rng, 2, np.float64):
        options = {"kind": "sharp", "cost": cost, "regularizer": None}
        value, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, **options)
        assert not np.any(value)
        for gradient in (*grad_x, *grad_y):
            assert_array_equal(gradient, 0)


# ---- signs and limits


@pytest.mark.parametrize(
    ("kind", "cost", "same_length"),
    [("soft", "log_half_sqeuclidean", False), ("soft", "half_sqeuclidean", False), ("mean", "half_sqeuclidean", True)],
)
@given(seed=strategies.integers(0, 2**32 - 1), n=strategies.integers(1, 9), m=strategies.integers(1, 9))
def test_never_negative(kind, cost, same_length, seed, n, m):
    """The first is a theorem (Blondel, Mensch and Vert, 2021)."""
    rng = np.random.default_rng(seed)
    m = n if same_length else m
    x, y = rng.normal(size=(n, 2)) * 10 ** rng.uniform(-2, 1), rng.normal(size=(m, 2))
    assert soft_dtw_divergence(x, y, 1.0, kind=kind, cost=cost) >= -1e-12


def test_sharp_tends_to_hard_and_to_mean(rng):
    x, y = pair(rng, 20, 23)
    hard = dtw(x, y, cost="half_sqeuclidean")
    assert_allclose(soft_dtw_divergence(x, y, 1e-6, kind="sharp"), hard, rtol=1e-9)
    assert_allclose(soft_dtw_divergence(x, y, 1e-6, kind="soft"), hard, rtol=1e-4)
    assert_allclose(soft_dtw_divergence(x, y, regularizer=None), hard, rtol=1e-12)
    mean = soft_dtw_divergence(x, y, kind="mean")
    assert_allclose(soft_dtw_divergence(x, y, 1e9, kind="sharp"), mean, rtol=1e-6)
    assert soft_dtw_divergence(x, y, 1e-3, kind="mean", regularizer="l2") == mean  # neither plays a part


def mean_path_length(n):
    """Mean number of cells of a path from (0, 0) to (n - 1, n - 1), of whose 2 (n - 1) - k steps k are diagonal."""
    count = math.comb(2 * n - 2, n - 1)
    total = weighted = 0
    for k in range(n):
        total += count
        weighted += count * (2 * n - 1 - k)
        count = count * (n - 1 - k) ** 2 // ((k + 1) * max(2 * n - 2 - k, 1))
    return Fraction(weighted, total)


def test_mean_cost_of_long_series():
    """Some 10^3825 paths; constant series, for which the mean cost is the mean length of a path."""
    for n in (1, 2, 9, 5000):
        x, y = np.zeros(n), np.full(n, 2.0)
        value = soft_dtw_divergence(x, y, kind="mean", cost="half_sqeuclidean")
        assert_allclose(value, 2 * float(mean_path_length(n)), rtol=1e-12)


def test_mean_cost_beyond_the_range_of_float64(rng):
    """Counts overflow at n = 405 unless they are scaled; against counts in whole numbers."""
    x, y = pair(rng, 412, 408, 1)
    H = uniform_gradient(412, 408)
    C = reference.cost_matrix(x, y, "half_sqeuclidean")
    options = {"kind": "mean", "debias": False}
    close(soft_dtw_divergence(x, y, **options), (H * C).sum())
    for got, expected in zip(
        soft_dtw_divergence_value_and_grad(x, y, **options)[1:],
        reference.cost_vjp(x, y, H, "half_sqeuclidean"),
        strict=True,
    ):
        close(got, expected)


# ---- collections


@pytest.mark.parametrize("form", ["padded", "nan", "list", "lengths"])
@pytest.mark.parametrize("cost", ["half_sqeuclidean", "huber", "cosine"])
def test_batches_are_their_pairs(kind, form, cost, monkeypatch, rng):
    monkeypatch.setattr(divergences, "_BLOCK_CELLS", 200)  # several blocks
    sizes = [(5, 9), (12, 12), (1, 4), (7, 7), (12, 1), (3, 12)]
    xs, ys = zip(*(pair(rng, n, m, 2) for n, m in sizes), strict=True)
    x, y, options = list(xs), list(ys), {"kind": kind, "cost": cost, "window": 3}
    if form != "list":
        filling = np.nan if form in ("nan", "lengths") else 0.0
        x, y = np.full((2, 6, 12, 2), filling)
        for b, (one_x, one_y) in enumerate(zip(xs, ys, strict=True)):
            x[b, : len(one_x)], y[b, : len(one_y)] = one_x, one_y
    lengths = {}
    if form in ("padded", "lengths"):
        lengths = {"x_lengths": [len(one) for one in xs], "y_lengths": [len(one) for one in ys]}
    values, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, GAMMA, **options, **lengths)
    close(soft_dtw_divergence(x, y, GAMMA, **options, **lengths), values)
    assert isinstance(grad_x, list) == (form == "list")
    for b, (one_x, one_y) in enumerate(zip(xs, ys, strict=True)):
        expected = soft_dtw_divergence_value_and_grad(one_x, one_y, GAMMA, **options)
        close(values[b], expected[0])
        for got, wanted in ((grad_x[b], expected[1]), (grad_y[b], expected[2])):
            close(got[: len(wanted)], wanted)
            assert_array_equal(got[len(wanted) :], 0)


def test_a_mask_for_each_pair(kind, monkeypatch, rng):
    x, y = rng.normal(size=(2, 5, 6, 2))
    masks = np.stack([np.abs(np.arange(6)[:, None] - np.arange(6)) <= r for r in (0, 1, 2, 4, 5)])
    for cells in (60, 1 << 20):
        monkeypatch.setattr(divergences, "_BLOCK_CELLS", cells)
        for cost in ("half_sqeuclidean", "cosine"):
            got = soft_dtw_divergence_value_and_grad(x, y, GAMMA, kind=kind, cost=cost, window=masks)
            for b in range(5):
                alone = soft_dtw_divergence_value_and_grad(x[b], y[b], GAMMA, kind=kind, cost=cost, window=masks[b])
                for many, one in zip(got, alone, strict=True):
                    close(many[b], one)


def test_float32_is_computed_in_float64_and_rounded(kind, cost, rng):
    """At gamma 1e4 the three terms are many times their difference."""
    x, y = (z.astype(np.float32) for z in pair(rng, 20, 26, cost=cost))
    for gamma in (1.0, 1e4):
        narrow = soft_dtw_divergence_value_and_grad(x, y, gamma, kind=kind, cost=cost)
        wide = soft_dtw_divergence_value_and_grad(x.astype(float), y.astype(float), gamma, kind=kind, cost=cost)
        for a, b in zip(narrow, wide, strict=True):
            assert a.dtype == np.float32
            assert_array_equal(a, b.astype(np.float32))
    bare = soft_dtw_divergence_value_and_grad(x, y, kind=kind, cost=cost, debias=False)
    wide = soft_dtw_divergence_value_and_grad(x.astype(float), y.astype(float), kind=kind, cost=cost, debias=False)
    for a, b in zip(bare, wide, strict=True):
        assert a.dtype == np.float32
        close(a, b, 1e-4)


def test_soft_without_self_terms_is_soft_dtw(regularizer, rng):
    x, y = pair(rng, 8, 11)
    options = {"gamma": GAMMA, "regularizer": regularizer, "cost": "huber"}
    assert soft_dtw_divergence(x, y, debias=False, **options) == soft_dtw(x, y, **options)


class Product:
    """c = <x, y>^2 / 2, as a user would write it."""

    def matrix(self, x, y):
        return (x @ y.T) ** 2 / 2

    def vjp(self, x, y, G):
        slope = G * (x @ y.T)
        return slope @ y, slope.T @ x

    def jvp(self, x, y, dx, dy):
        return (x @ y.T) * (dx @ y.T + x @ dy.T)


def test_a_cost_object(kind, rng):
    x, y = pair(rng)
    dx, dy = rng.normal(size=(2, *x.shape))
    _, grad_x, grad_y = soft_dtw_divergence_value_and_grad(x, y, GAMMA, kind=kind, cost=Product())
    moved = [soft_dtw_divergence(x + t * dx, y + t * dy, GAMMA, kind=kind, cost=Product()) for t in (1e-6, -1e-6)]
    assert_allclose((grad_x * dx).sum() + (grad_y * dy).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-6)


def test_inputs_stay_as_they_are(kind, cost, rng):
    x, y = pair(rng, 9, 6, cost=cost)
    kept = x.copy(), y.copy()
    for z in (x, y):
        z.flags.writeable = False
    soft_dtw_divergence_value_and_grad(x, y, kind=kind, cost=cost)
    soft_dtw_divergence(x, y, kind=kind, cost=cost)
    assert_array_equal(x, kept[0])
    assert_array_equal(y, kept[1])


def test_results_do_not_depend_on_the_number_of_threads(kind, rng):
    x, y = ([rng.normal(size=(n, 2)) for n in rng.integers(1, 80, 20)] for _ in range(2))
    one, two, every = (soft_dtw_divergence_value_and_grad(x, y, kind=kind, n_jobs=jobs) for jobs in (None, 2, -1))
    for results in (two, every):
        assert_array_equal(one[0], results[0])
        for a, b in zip((*one[1], *one[2]), (*results[1], *results[2]), strict=True):
            assert_array_equal(a, b)


# ---- what is refused


@pytest.mark.parametrize("function", [soft_dtw_divergence, soft_dtw_divergence_value_and_grad])
def test_errors(function, rng):
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match="kind is 'hard'; expected 'soft', 'sharp' or 'mean'"):
        function(x, y, kind="hard")
    with pytest.raises(TypeError, match="kind is None; expected 'soft'"):
        function(x, y, kind=None)
    with pytest.raises(TypeError, match="debias is 'no', of type str; expected False or True"):
        function(x, y, debias="no")
    for cost in ("precomputed", "nll"):
        with pytest.raises(ValueError, match="does not compare two series"):
            function(x, y, cost=cost)
    with pytest.raises(ValueError, match="cost is 'hamming'"):
        function(x, y, cost="hamming")
    with pytest.raises(ValueError, match=r"gamma is 0\.0"):
        function(x, y, 0.0, kind="mean")
    with pytest.raises(ValueError, match=r"mask of shape \(6, 5\).*aligned with itself.*debias=False"):
        function(x, y, window=np.ones((6, 5), bool))
    function(x, y, window=np.ones((6, 5), bool), debias=False)
    with pytest.raises(ValueError, match=r"window is a mask of shape \(6, 6\); expected \(n, m\) = \(6, 5\)"):
        function(x, y, window=np.ones((6, 6), bool))
    with pytest.raises(ValueError, match=r"x holds .* expected targets in"):
        function(x, np.full((5, 2), 0.5), cost="bce")
    function(x, np.full((5, 2), 0.5), cost="bce", debias=False)
    with pytest.raises(ValueError, match=r"x\[1\] holds .* expected targets in"):
        function([np.full((5, 2), 0.5), x], [np.full((5, 2), 0.5)] * 2, cost="bce")
    closed = np.eye(4, dtype=bool)
    closed[2] = False
    for kind, debias in itertools.product(KINDS, (True, False)):
        with pytest.raises(ValueError, match="no path is admissible: window"):
            function(x[:4], y[:4], kind=kind, window=closed, debias=debias)
    with pytest.raises(ValueError, match="no path is admissible for pair 1"):
        function(np.ones((2, 4, 1)), np.ones((2, 4, 1)), window=np.stack([np.eye(4, dtype=bool), closed]))
    with pytest.raises(ValueError, match=r"a result of .*e\+\d\d does not fit float32"):
        function(np.zeros((2, 1), np.float32), np.full((2, 1), 3e37, np.float32), cost="sqeuclidean")
