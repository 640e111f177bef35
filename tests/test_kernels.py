"""Schedules agree: strips against the general recursion cell by cell, packs against single pairs, threads against one.

The general kernel (any step set, full tables) is a literal transcription of the recursion; asked for the three usual
steps in another order it computes what the strip kernels compute. Small enough to run under sanitizers.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit._kernels.alignment import all_finite
from sdtwkit.dp import AlignmentDP

REORDERED = ((1, 1), (0, 1), (1, 0))  # ties: the diagonal first, as the strips decide them

# Sizes around the borders of lanes (16), blocks (16 steps), strips (128 rows) and checkpoints (128 steps).
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 40), (15, 17), (16, 16), (33, 31), (128, 20), (129, 7), (140, 300), (300, 140)]
OPTIONS = [
    {},
    {"window": 0},
    {"window": 11},
    {"open_begin": "y", "open_end": "y"},
    {"open_begin": "x", "open_end": True, "step_weights": (1.0, 2.0, 0.5)},
    {"window": 20, "open_begin": True, "open_end": "x", "step_weights": (0.0, 1.0, 3.0)},
]


def pair_of_programs(regularizer, options):
    left, diagonal, up = options.get("step_weights", (1.0, 1.0, 1.0))
    general = options | {"steps": REORDERED, "step_weights": (diagonal, left, up)}
    return AlignmentDP(0.7, regularizer=regularizer, **options), AlignmentDP(0.7, regularizer=regularizer, **general)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("regularizer", ["entropy", "l2", None], ids=str)
@pytest.mark.parametrize(("n", "m"), SHAPES, ids=str)
def test_strips_are_the_recursion(n, m, regularizer, options):
    rng = np.random.default_rng([n, m])
    C, Z = rng.normal(1.0, 1.0, (n, m)), rng.normal(size=(n, m))
    C[rng.random((n, m)) < 0.02] = np.inf
    fast, slow = pair_of_programs(regularizer, options)
    pairs = [
        (fast.value(C), slow.value(C)),
        *zip(fast.value_and_grad(C), slow.value_and_grad(C), strict=True),
        (fast.marginals(C), slow.marginals(C)),
        *zip(fast.hvp(C, Z), slow.hvp(C, Z), strict=True),
        (fast.marginals_vjp(C, Z), slow.marginals_vjp(C, Z)),
    ]
    for a, b in pairs:
        largest = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        assert_allclose(a, b, rtol=1e-11, atol=1e-11 * largest)
    (path, value), (slow_path, slow_value) = fast.decode(C), slow.decode(C)
    assert_array_equal(path, slow_path)
    assert_allclose(value, slow_value, rtol=1e-12)
    for path in fast.sample(C, 2, random_state=0):
        assert (np.diff(path, axis=0) >= 0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("regularizer", ["entropy", "l2", None], ids=str)
@pytest.mark.parametrize("options", OPTIONS[:1] + OPTIONS[2:5], ids=str)
def test_packs_are_single_pairs(options, regularizer, dtype):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, (37, 2))
    x = [rng.normal(size=(n, 2)).astype(dtype) for n in lengths[:, 0]]
    y = [rng.normal(size=(m, 2)).astype(dtype) for m in lengths[:, 1]]
    values, gx, gy = sdtwkit.soft_dtw_value_and_grad(x, y, regularizer=regularizer, **options)
    close = {"rtol": 1e-13, "atol": 1e-13} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    for b in range(len(x)):
        value, gx_b, gy_b = sdtwkit.soft_dtw_value_and_grad(x[b], y[b], regularizer=regularizer, **options)
        assert_allclose(value, values[b], **close)
        assert_allclose(gx[b], gx_b, **close)
        assert_allclose(gy[b], gy_b, **close)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "neg_dot"])
@pytest.mark.parametrize("options", OPTIONS[:1] + OPTIONS[2:5], ids=str)
def test_threads_change_no_bit(options, cost):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 3)), rng.normal(size=(350, 3))
    batch = [rng.normal(size=(n, 3)) for n in (40, 3, 77, 51)]
    for pair in ((x, y), (batch, batch[::-1])):
        one = sdtwkit.soft_dtw_value_and_grad(*pair, cost=cost, n_jobs=1, **options)
        for _ in range(5):
            two = sdtwkit.soft_dtw_value_and_grad(*pair, cost=cost, n_jobs=2, **options)
            for a, b in zip(one, two, strict=True):
                for part_a, part_b in zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]:
                    assert_array_equal(part_a, part_b)


def test_far_costs_and_near_ones():
    rng = np.random.default_rng(2)
    for gamma in (1e-300, 1e-12, 1e-3, 1.0, 1e8):
        for size in (1e-12, 1.0, 1e12, 1e30):
            C = size * rng.normal(size=(2, 20, 33))
            dp = AlignmentDP(gamma)
            value, E = dp.value_and_grad(C)
            product = dp.hvp(C, np.ones_like(C))[1]
            assert np.isfinite(value).all()
            assert np.isfinite(product).all()
            assert_allclose(E[:, [0, -1], [0, -1]], 1.0, rtol=1e-9)


# ---- tiles: hard values of packs whose lanes are whole vectors of pairs


@pytest.mark.parametrize("open_begin", [False, "y", "x", True], ids=str)
@pytest.mark.parametrize("cost", ["sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "huber", "neg_dot"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tiles_are_strips(dtype, cost, open_begin):
    # Lengths around the borders of tiles (4 or 8 rows), strips (32 rows) and blocks (64 columns).
    rng = np.random.default_rng(5)
    for d, lengths in ((1, [64] * 5), (1, [130, 128, 129, 130, 127]), (3, [70, 65, 66, 70, 63]), (1, [1, 2, 1, 3, 9])):
        X = [rng.normal(size=(n, d)).astype(dtype) for n in lengths]
        Y = [rng.normal(size=(n + 1, d)).astype(dtype) for n in lengths]
        tiled = sdtwkit.cdist_dtw(X, Y, cost=cost, open_begin=open_begin)  # 25 pairs: packs of up to 16
        single = [[sdtwkit.dtw(x, y, cost=cost, open_begin=open_begin) for y in Y] for x in X]
        assert_array_equal(tiled, np.array(single))
        threaded = sdtwkit.cdist_dtw(X, Y, cost=cost, open_begin=open_begin, n_jobs=2)
        assert_array_equal(tiled, threaded)


def test_threads_share_the_strips_of_a_tiled_pack():
    X = np.random.default_rng(6).normal(size=(4, 300, 1))  # 16 pairs: one pack, ten strips
    assert_array_equal(sdtwkit.cdist_dtw(X, X[:, :290], n_jobs=2), sdtwkit.cdist_dtw(X, X[:, :290]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [0, 1, 20, 1023, 1024, 1025, 3000, 300_000])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(size, dtype):
    numbers = np.full(size, np.finfo(dtype).max, dtype)  # whose sum is infinite
    numbers[::2] = -numbers[::2]
    assert all_finite(numbers)
    for place in {0, size // 2, size - 1} if size else ():
        for wrong in (np.nan, np.inf, -np.inf):
            spoiled = numbers.copy()
            spoiled[place] = wrong
            spoiled.flags.writeable = False
            assert not all_finite(spoiled)


def test_numbers_are_searched_only_where_a_block_of_memory_holds_them():
    assert all_finite(object())  # an array of a device has no buffer, and is not waited for
    with pytest.raises(ValueError, match="contiguous"):
        all_finite(np.zeros((4, 4)).T[1:])
