"""Matrices of all pairs: divergences, tiles, and results written into an array of the caller's."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import COSTS, OPERATORS

from sdtwkit import cdist_dtw, cdist_soft_dtw, divergences, pairwise, soft_dtw_divergence
from sdtwkit._local_costs import COSTS as ALL_COSTS
from sdtwkit.pairwise import cdist_soft_dtw_divergence

FUNCTIONS = [cdist_dtw, cdist_soft_dtw, cdist_soft_dtw_divergence]
GAMMA = 0.7


@pytest.fixture(params=FUNCTIONS, ids=lambda function: function.__name__)
def function(request):
    return request.param


@pytest.fixture(params=divergences.KINDS)
def kind(request):
    return request.param


def series(rng, lengths, d=2, cost="half_sqeuclidean"):
    """Ragged; in [0, 1] for "bce"."""
    drawn = [rng.normal(size=(n, d)) for n in lengths]
    return [1 / (1 + np.exp(-z)) for z in drawn] if cost == "bce" else drawn


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of a few pairs, blocks of a few tables."""
    monkeypatch.setattr(pairwise, "_TILE_PAIRS", 7)
    monkeypatch.setattr(divergences, "_BLOCK_CELLS", 300)


# ---- divergences


@pytest.mark.parametrize(
    "settings",
    [{}, {"step_weights": (1, 2, 1), "window": 2}, {"open_end": "y"}, {"regularizer": "l2"}, {"regularizer": None}],
    ids=str,
)
@pytest.mark.parametrize("cost", COSTS)
def test_divergences_are_those_of_all_pairs(kind, cost, settings, rng):
    X, Y = series(rng, (4, 9, 1, 6), cost=cost), series(rng, (5, 8, 2), cost=cost)
    options = {"kind": kind, "cost": cost, **settings}
    expected = [[soft_dtw_divergence(x, y, GAMMA, **options) for y in Y] for x in X]
    assert_allclose(cdist_soft_dtw_divergence(X, Y, GAMMA, **options), expected, rtol=1e-11, atol=1e-12)
    within = cdist_soft_dtw_divergence(X, None, GAMMA, **options)
    expected = [[soft_dtw_divergence(x, z, GAMMA, **options) for z in X] for x in X]
    assert_allclose(within, expected, rtol=1e-11, atol=1e-12)
    assert_array_equal(np.diag(within), 0)
    if ALL_COSTS[cost].symmetric and "open_end" not in settings:
        assert_array_equal(within, within.T)


def test_each_self_term_is_computed_once(kind, small_tiles, monkeypatch, rng):
    """One for each series, and none of the pairs of a symmetric matrix is a series with itself."""
    counts = []
    plain = divergences.term_values

    def counted(term, x, y, n_jobs=1, i=None, j=None):
        counts.append(len(x) if i is None else len(i))
        return plain(term, x, y, n_jobs, i, j)

    monkeypatch.setattr(divergences, "term_values", counted)
    X, Y = series(rng, (4, 9, 1, 6, 3, 3, 8)), series(rng, (5, 8, 2))
    cdist_soft_dtw_divergence(X, Y, kind=kind)
    assert sum(counts) == 7 * 3 + 7 + 3
    counts.clear()
    cdist_soft_dtw_divergence(X, kind=kind)
    assert sum(counts) == 7 * 6 // 2 + 7


def test_without_self_terms(kind, rng):
    X, options = series(rng, (4, 9, 1)), {"kind": kind, "debias": False}
    expected = [[soft_dtw_divergence(x, z, GAMMA, **options) for z in X] for x in X]
    got = cdist_soft_dtw_divergence(X, None, GAMMA, **options)
    assert_allclose(got, expected, rtol=1e-12)
    if kind == "soft":
        assert_array_equal(got, cdist_soft_dtw(X, None, GAMMA, cost="half_sqeuclidean"))


def test_float32_divergences_are_rounded_from_float64(kind, rng):
    X, Y = series(rng, (4, 9, 6)), series(rng, (5, 8))
    X, Y = ([z.astype(np.float32) for z in Z] for Z in (X, Y))
    wide = cdist_soft_dtw_divergence([x.astype(float) for x in X], [y.astype(float) for y in Y], 1e4, kind=kind)
    narrow = cdist_soft_dtw_divergence(X, Y, 1e4, kind=kind)
    assert narrow.dtype == np.float32
    assert_array_equal(narrow, wide.astype(np.float32))


def test_symmetric_masks_and_others(kind, rng):
    X = rng.normal(size=(4, 6, 2))
    even = np.abs(np.arange(6)[:, None] - np.arange(6)) < 3
    for mask in (even, even & (np.arange(6)[:, None] - np.arange(6) < 2)):
        expected = [[soft_dtw_divergence(x, z, GAMMA, kind=kind, window=mask) for z in X] for x in X]
        got = cdist_soft_dtw_divergence(X, None, GAMMA, kind=kind, window=mask)
        assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


# ---- tiles


@pytest.mark.parametrize("regularizer", OPERATORS, ids=str)
@pytest.mark.parametrize("cost", ["half_sqeuclidean", "cosine", "bce"])
def test_tiles_make_up_the_matrix(function, cost, regularizer, monkeypatch, rng):
    X, Y = series(rng, rng.integers(1, 9, 11), cost=cost), series(rng, rng.integers(1, 9, 5), cost=cost)
    options = {"cost": cost}
    if function is not cdist_dtw:
        options |= {"gamma": GAMMA, "regularizer": regularizer}
    whole = [function(X, other, **options) for other in (Y, None, X[:1])]
    for pairs in (1, 2, 7, 30):
        monkeypatch.setattr(pairwise, "_TILE_PAIRS", pairs)
        for matrix, other in zip(whole, (Y, None, X[:1]), strict=True):
            assert_allclose(function(X, other, **options), matrix, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(pairwise, "_TILE_PAIRS", 1 << 17)
    monkeypatch.setattr(pairwise, "_TILE_CELLS", 100)
    assert_allclose(function(X, Y, **options), whole[0], rtol=1e-12, atol=1e-12)


def test_results_do_not_depend_on_the_number_of_threads(function, small_tiles, rng):
    X, Y = series(rng, rng.integers(1, 60, 20)), series(rng, rng.integers(1, 60, 9))
    for other in (Y, None):
        one, two, every = (function(X, other, n_jobs=jobs) for jobs in (None, 2, -1))
        assert_array_equal(two, one)
        assert_array_equal(every, one)


def test_memory_does_not_grow_with_the_number_of_pairs(function, tmp_path, rng):
    """9 million pairs: their indices alone would take 144 MB, the matrix 72 MB."""
    X, Y = rng.normal(size=(2, 3000, 2))
    out = np.memmap(tmp_path / "matrix", np.float64, "w+", shape=(3000, 3000))
    tracemalloc.start()
    try:
        function(X, Y, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6
    assert_allclose(out[1234, 2345], function(X[1234:1235], Y[2345:2346])[0, 0], rtol=1e-12)


# ---- out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out_is_filled_and_returned(function, dtype, small_tiles, tmp_path, rng):
    X, Y = ([z.astype(dtype) for z in series(rng, lengths)] for lengths in ((4, 9, 1, 6), (5, 8, 2)))
    for other, width in ((Y, 3), (None, 4)):
        expected = function(X, other)
        strided = np.full((8, 2 * width), np.nan, dtype)[::2, ::2]
        mapped = np.memmap(tmp_path / f"{width}", dtype, "w+", shape=(4, width))
        for out in (np.full((4, width), np.nan, dtype), np.full((width, 4), np.nan, dtype).T, strided, mapped):
            assert function(X, other, out=out) is out
            assert_array_equal(out, expected)


def test_an_unfit_out_is_refused(function, rng):
    X, Y = rng.normal(size=(4, 5, 2)), rng.normal(size=(3, 5, 2))
    with pytest.raises(TypeError, match=r"out is \[\[0\.0, .*, of type list; expected a NumPy array of shape \(4, 3\)"):
        function(X, Y, out=[[0.0] * 3] * 4)
    with pytest.raises(ValueError, match=r"out has shape \(3, 4\) and dtype float64; expected shape \(4, 3\)"):
        function(X, Y, out=np.empty((3, 4)))
    with pytest.raises(ValueError, match=r"dtype float32; expected shape \(4, 3\) and dtype float64"):
        function(X, Y, out=np.empty((4, 3), np.float32))
    frozen = np.empty((4, 3))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only; expected an array that can be written to"):
        function(X, Y, out=frozen)


# ---- what is refused


def test_errors(rng):
    X, Y = rng.normal(size=(4, 6, 2)), rng.normal(size=(3, 5, 2))
    with pytest.raises(ValueError, match="kind is 'hard'; expected"):
        cdist_soft_dtw_divergence(X, Y, kind="hard")
    with pytest.raises(TypeError, match="debias is 1, of type int; expected False or True"):
        cdist_soft_dtw_divergence(X, Y, debias=1)
    for cost in ("precomputed", "nll"):
        with pytest.raises(ValueError, match="does not compare two series"):
            cdist_soft_dtw_divergence(X, Y, cost=cost)
    with pytest.raises(ValueError, match=r"mask of shape \(6, 5\).*aligned with itself"):
        cdist_soft_dtw_divergence(X, Y, window=np.ones((6, 5), bool))
    cdist_soft_dtw_divergence(X, Y, window=np.ones((6, 5), bool), debias=False)
    with pytest.raises(ValueError, match=r"X\[0\] holds .* expected targets in"):
        cdist_soft_dtw_divergence(X, np.full((3, 5, 2), 0.5), cost="bce")
    with pytest.raises(ValueError, match="n_jobs is 0"):
        cdist_soft_dtw_divergence(X, Y, n_jobs=0)


def test_pairs_without_a_path_are_named(function, small_tiles):
    """From (0, 0) a path can only go along the first row: series of one sample get nowhere but along it."""
    X, Y = [np.zeros(1), np.zeros(1), np.zeros(4)], [np.zeros(4), np.zeros(1), np.zeros(4)]
    row = np.zeros((4, 4), bool)
    row[0] = True
    name = r"X\[2\] and itself" if function is cdist_soft_dtw_divergence else r"X\[2\] and Y\[0\]"
    with pytest.raises(ValueError, match=rf"no path is admissible between {name}: the window leaves no way"):
        function(X, Y, window=row)
