"""Local costs: every line of COSTS against its formula, written out below for one cell, and against its derivatives."""

import math
import pickle
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit import _local_costs
from sdtwkit.costs import COSTS, FusedCost, Huber, cost_hvp, cost_jvp, cost_matrix, cost_vjp, get_cost

DTYPES = (np.float32, np.float64)


def cosine_of(a, b):
    return sum(a * b) / math.sqrt(sum(a * a) * sum(b * b)) if any(a) and any(b) else 0.0


def huber_of(r, delta=1.0):
    return r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)


def log_half(c):
    return c + math.log(2 - math.exp(-c))


# One cell of each cost: a and b are vectors (d,), for "nll" b holds a label.
CELL = {
    "sqeuclidean": lambda a, b: sum((a - b) ** 2),
    "half_sqeuclidean": lambda a, b: sum((a - b) ** 2) / 2,
    "euclidean": lambda a, b: math.sqrt(sum((a - b) ** 2)),
    "manhattan": lambda a, b: sum(abs(a - b)),
    "cosine": lambda a, b: 1 - cosine_of(a, b),
    "neg_dot": lambda a, b: -sum(a * b),
    "huber": lambda a, b: sum(huber_of(r) for r in a - b),
    "bce": lambda a, b: sum(b * np.log(1 + np.exp(-a)) + (1 - b) * np.log(1 + np.exp(a))),
    "nll": lambda a, b: -a[int(b[0])],
    "log_half_sqeuclidean": lambda a, b: log_half(sum((a - b) ** 2) / 2),
}
OF_SERIES = sorted(set(COSTS) - {"precomputed"})
OF_RESIDUALS = ("sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "huber", "log_half_sqeuclidean")
DEGREE = {"sqeuclidean": 2, "half_sqeuclidean": 2, "euclidean": 1, "manhattan": 1, "cosine": 0, "neg_dot": 2}

every_cost = pytest.mark.parametrize("name", sorted(COSTS))
every_cost_of_series = pytest.mark.parametrize("name", OF_SERIES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def problem(name, n=5, m=4, d=3, dtype=np.float64, seed=0):
    """A pair in the domain of the cost, directions, and a cotangent with entries of both signs."""
    rng = np.random.default_rng(seed)
    x, dx = 1.5 * rng.standard_normal((2, n, d))
    y, dy = 1.5 * rng.standard_normal((2, m, d))
    G = rng.standard_normal((n, m))
    if name == "bce":
        y = rng.uniform(0.1, 0.9, (m, d))
    if name == "nll":
        x, y, dy = np.log(rng.dirichlet(np.ones(d), n)), rng.integers(d, size=m), None
    if name == "precomputed":
        x, dx, y, dy = rng.standard_normal((n, m)), rng.standard_normal((n, m)), None, None
    cast = SimpleNamespace(x=x.astype(dtype), dx=dx.astype(dtype), G=G.astype(dtype), y=y, dy=dy)
    if dy is not None:
        cast.y, cast.dy = y.astype(dtype), dy.astype(dtype)
    return cast


def slow_matrix(name, x, y):
    if name == "precomputed":
        return x
    x, y = np.asarray(x, float), np.asarray(y, float).reshape(len(y), -1)
    return np.array([[CELL[name](a, b) for b in y] for a in x])


def inner(a, b):
    """<a, b> in float64, where None is zero."""
    return 0.0 if a is None or b is None else float(np.vdot(np.asarray(a, float), np.asarray(b, float)))


def along(p, step):
    """The pair moved by `step` along (dx, dy)."""
    return p.x + step * p.dx, p.y if p.dy is None else p.y + step * p.dy


class Cubic:
    """c = sum_k (x_k - y_k)^3, a cost of a user who never heard of float32."""

    def matrix(self, x, y):
        return (self.residuals(x, y) ** 3).sum(-1)

    def vjp(self, x, y, G):
        slopes = 3 * G[..., None] * self.residuals(x, y) ** 2
        return slopes.sum(1), -slopes.sum(0)

    def jvp(self, x, y, dx, dy):
        return (3 * self.residuals(x, y) ** 2 * self.residuals(dx, dy)).sum(-1)

    @staticmethod
    def residuals(x, y):
        return x[:, None].astype(float) - y


class CubicWithHessian(Cubic):
    def hvp(self, x, y, G, dx, dy):
        bends = 6 * G[..., None] * self.residuals(x, y) * self.residuals(dx, dy)
        return bends.sum(1), -bends.sum(0)


# ---- values and derivatives of every line of the registry


def test_every_cost_has_a_formula_here():
    assert set(CELL) | {"precomputed"} == set(COSTS)


@every_cost
@every_dtype
@pytest.mark.parametrize(("n", "m", "d"), [(5, 4, 3), (1, 6, 1), (7, 1, 2), (3, 3, 17)])
def test_matrix_holds_the_cost_of_every_pair_of_time_steps(name, dtype, n, m, d):
    p = problem(name, n, m, d, dtype)
    C = cost_matrix(p.x, p.y, name)
    assert C.shape == (n, m)
    assert C.dtype == dtype
    tolerance = 1e-13 if dtype == np.float64 else 2e-6
    assert_allclose(C, slow_matrix(name, p.x, p.y), rtol=tolerance, atol=10 * tolerance)


@every_cost_of_series
def test_symmetric_costs_say_so(name):
    x, y = problem("bce", 5, 4).x, problem("bce", 5, 4).y  # logits and targets are in every domain but that of labels
    swapped = name != "nll" and np.allclose(COSTS[name].matrix(x, y).T, COSTS[name].matrix(y, x))
    assert COSTS[name].symmetric is bool(swapped)


@every_cost
@pytest.mark.parametrize("d", [1, 3, 8])
def test_jvp_is_the_derivative_of_the_matrix(name, d):
    p, h = problem(name, d=d), 1e-6
    difference = (cost_matrix(*along(p, h), name) - cost_matrix(*along(p, -h), name)) / (2 * h)
    assert_allclose(cost_jvp(p.x, p.y, p.dx, p.dy, name), difference, rtol=1e-7, atol=1e-7)


@every_cost
@every_dtype
@pytest.mark.parametrize("d", [1, 3, 8])
def test_vjp_is_the_adjoint_of_jvp(name, dtype, d):
    p = problem(name, d=d, dtype=dtype)
    dC = cost_jvp(p.x, p.y, p.dx, p.dy, name)
    gx, gy = cost_vjp(p.x, p.y, p.G, name)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    scale = np.abs(p.G * dC).sum() + np.abs(gx * p.dx).sum()
    assert_allclose(inner(p.G, dC), inner(gx, p.dx) + inner(gy, p.dy), rtol=0, atol=tolerance * scale)


@every_cost
@pytest.mark.parametrize("d", [1, 3, 8])
def test_hvp_is_the_derivative_of_the_vjp(name, d):
    p, h = problem(name, d=d), 1e-6
    (right_x, right_y), (left_x, left_y) = (cost_vjp(*along(p, s), p.G, name) for s in (h, -h))
    hx, hy = cost_hvp(p.x, p.y, p.G, p.dx, p.dy, name)
    assert_allclose(hx, (right_x - left_x) / (2 * h), rtol=1e-6, atol=1e-7)
    assert (hy is None) == (right_y is None)
    if hy is not None:
        assert_allclose(hy, (right_y - left_y) / (2 * h), rtol=1e-6, atol=1e-7)


@every_cost
@every_dtype
def test_the_second_derivative_is_symmetric(name, dtype):
    p, q = problem(name, dtype=dtype), problem(name, dtype=dtype, seed=1)
    px, py = cost_hvp(p.x, p.y, p.G, p.dx, p.dy, name)
    qx, qy = cost_hvp(p.x, p.y, p.G, q.dx, q.dy, name)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    scale = np.abs(px * q.dx).sum() + np.abs(qx * p.dx).sum()
    left, right = inner(px, q.dx) + inner(py, q.dy), inner(qx, p.dx) + inner(qy, p.dy)
    assert_allclose(left, right, rtol=0, atol=tolerance * scale)


def all_four(p, name, **lengths):
    """Matrix, jvp, both parts of the vjp and of the hvp."""
    yield cost_matrix(p.x, p.y, name, **lengths)
    yield cost_jvp(p.x, p.y, p.dx, p.dy, name, **lengths)
    yield from cost_vjp(p.x, p.y, p.G, name, **lengths)
    yield from cost_hvp(p.x, p.y, p.G, p.dx, p.dy, name, **lengths)


def assert_same(got, expected, tolerance=0.0):
    """Equal within `tolerance`, absolute and relative; None is equal to None alone."""
    assert (got is None) == (expected is None)
    if got is not None:
        assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@every_cost
def test_float32_gives_float32_and_the_float64_numbers(name):
    narrow = problem(name, dtype=np.float32)
    floats = {key: value.astype(float) for key, value in vars(narrow).items() if getattr(value, "dtype", None) == "f"}
    wide = SimpleNamespace(**vars(narrow) | floats)
    for got, expected in zip(all_four(narrow, name), all_four(wide, name), strict=True):
        assert_same(got, expected, 2e-5)
        assert got is None or (got.dtype, expected.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("cost", [*COSTS, Huber(2), CubicWithHessian()])
def test_below_the_door_float32_stays_float32(cost):
    p, cost = problem(cost, dtype=np.float32), get_cost(cost)
    matrices = cost.matrix(p.x, p.y), cost.jvp(p.x, p.y, p.dx, p.dy)
    for result in (*matrices, *cost.vjp(p.x, p.y, p.G), *cost.hvp(p.x, p.y, p.G, p.dx, p.dy)):
        assert result is None or result.dtype == np.float32


@every_cost
def test_a_direction_of_none_is_zero(name):
    p = problem(name)
    no_dx, no_dy = 0 * p.dx, None if p.dy is None else 0 * p.dy
    for lazy, dense in (((None, p.dy), (no_dx, p.dy)), ((p.dx, None), (p.dx, no_dy)), ((None, None), (no_dx, no_dy))):
        assert_same(cost_jvp(p.x, p.y, *lazy, name), cost_jvp(p.x, p.y, *dense, name))
        for got, full in zip(cost_hvp(p.x, p.y, p.G, *lazy, name), cost_hvp(p.x, p.y, p.G, *dense, name), strict=True):
            assert_same(got, full)


@every_cost_of_series
@pytest.mark.parametrize("cells", [1, 13, 64])
def test_blocks_of_any_size_give_the_same_numbers(name, cells, monkeypatch):
    p = problem(name, 7, 6, 5)
    whole = list(all_four(p, name))
    monkeypatch.setattr(_local_costs, "_BLOCK", cells)
    for part, one in zip(all_four(p, name), whole, strict=True):
        assert_same(part, one, 1e-12)


@every_cost
def test_inputs_are_not_written_to_and_need_not_be_contiguous(name):
    p = problem(name)
    plain = list(all_four(p, name))
    for key, value in list(vars(p).items()):
        if value is not None:
            strided = np.repeat(value, 2, axis=0)[::2]
            strided.flags.writeable = False
            setattr(p, key, strided)
    for got, expected in zip(all_four(p, name), plain, strict=True):
        assert_same(got, expected)


@every_cost
def test_results_are_the_callers_own(name):
    p = problem(name)
    for result in all_four(p, name):
        if result is not None:
            assert result.flags.writeable
            assert not any(np.shares_memory(result, value) for value in vars(p).values() if value is not None)


# ---- numerics


@pytest.mark.parametrize("name", OF_RESIDUALS)
@pytest.mark.parametrize(
    ("dtype", "offset", "grain", "tolerance"), [(float, 1e8, 2**-20, 1e-12), (np.float32, 2.0**17, 2**-6, 2e-5)]
)
def test_an_offset_common_to_both_series_changes_nothing(name, dtype, offset, grain, tolerance):
    p = problem(name, 40, 30, 3)
    x, y, dx, dy = (np.round(a / grain) * grain for a in (p.x, p.y, p.dx, p.dy))  # so that adding the offset is exact

    def numbers(shift):
        moved = {"x": x + shift, "y": y + shift, "dx": dx + shift, "dy": dy + shift}
        return list(all_four(SimpleNamespace(G=p.G, **{k: a.astype(dtype) for k, a in moved.items()}), name))

    far, near = numbers(offset), numbers(0.0)
    assert_allclose(far[0], near[0], rtol=tolerance)
    for got, expected in zip(far[1:], near[1:], strict=True):
        assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", [*OF_RESIDUALS, "cosine"])
@every_dtype
@given(n=st.integers(1, 12), d=st.integers(1, 9), scale=st.sampled_from([1e-6, 1.0, 1e8]), seed=st.integers(0, 99))
def test_a_series_against_itself_is_symmetric_with_zero_diagonal(name, dtype, n, d, scale, seed):
    x = (scale * (1 + np.random.default_rng(seed).standard_normal((n, d)))).astype(dtype)
    C = cost_matrix(x, x.copy(), name)
    assert_array_equal(C, C.T)
    assert_array_equal(np.diag(C), 0)
    assert (C >= 0).all()


@pytest.mark.parametrize("name", sorted(DEGREE))
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
@every_dtype
def test_costs_and_derivatives_are_homogeneous(name, scale, dtype):
    p, degree = problem(name, dtype=dtype), DEGREE[name]
    scaled = [a * dtype(scale) for a in (p.x, p.y)]
    tolerance = 1e-13 if dtype == np.float64 else 1e-5

    def same(got, expected):
        assert_allclose(got / scale**degree, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())

    same(cost_matrix(*scaled, name).astype(float), cost_matrix(p.x, p.y, name))
    for got, expected in zip(cost_vjp(*scaled, p.G, name), cost_vjp(p.x, p.y, p.G, name), strict=True):
        same(got.astype(float) * scale, expected)


def test_euclidean_gradient_is_a_unit_vector_however_close_two_points_are():
    x, direction = np.array([[1e3, -1e3], [5.0, 7.0]]), np.array([0.6, 0.8])
    y = x + 2.0**-40 * direction * [[1.0], [0.0]]
    gx, gy = cost_vjp(x, y, np.eye(2), "euclidean")
    residual = (x - y)[0]
    assert_allclose(gx[0], residual / np.linalg.norm(residual), rtol=1e-14)
    assert_allclose(gy[0], -gx[0], rtol=1e-14)


@pytest.mark.parametrize("name", ["euclidean", "manhattan"])
def test_gradient_and_curvature_are_zero_where_points_meet(name):
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    dx = np.ones_like(x)
    for zero in (*cost_vjp(x, x, np.eye(2), name), *cost_hvp(x, x, np.eye(2), dx, None, name)):
        assert_array_equal(zero, 0)
    assert_array_equal(np.diag(cost_jvp(x, x, dx, None, name)), 0)


@every_dtype
def test_cosine_of_a_zero_row_is_one_with_zero_derivatives(dtype):
    x, y = np.array([[0, 0], [3, 4]], dtype), np.array([[0, 0], [0, 2], [0, 0]], dtype)
    dx, dy, G = np.ones_like(x), np.ones_like(y), np.ones((2, 3), dtype)
    assert_allclose(cost_matrix(x, y, "cosine"), [[1, 1, 1], [1, 0.2, 1]], rtol=1e-6)
    for gx, gy in (cost_vjp(x, y, G, "cosine"), cost_hvp(x, y, G, dx, dy, "cosine")):
        assert_array_equal(gx[0], 0)
        assert_array_equal(gy[[0, 2]], 0)
    assert_array_equal(cost_jvp(x, y, dx, dy, "cosine")[0], 0)


def test_cosine_keeps_its_digits_at_small_angles_and_any_length():
    angle = 1e-6
    x, y = np.array([[1.0, 0.0], [1e200, 0.0], [1e-200, 0.0]]), np.array([[math.cos(angle), math.sin(angle)]])
    assert_allclose(cost_matrix(x, y, "cosine"), 2 * math.sin(angle / 2) ** 2, rtol=1e-9)


@pytest.mark.parametrize("logit", [40.0, 700.0, 1e6])
def test_bce_of_a_right_prediction_keeps_its_digits(logit):
    x, y = np.array([[logit, -logit]]), np.array([[1.0, 0.0]])
    assert_allclose(cost_matrix(x, y, "bce"), 2 * math.exp(-logit), rtol=1e-13)
    assert_allclose(cost_vjp(x, y, [[1.0]], "bce")[0], [[-math.exp(-logit), math.exp(-logit)]], rtol=1e-13)
    assert_allclose(cost_matrix(x, 1 - y, "bce"), 2 * logit, rtol=1e-13)
    almost = cost_matrix([logit], [1 - 2.0**-50], "bce")
    assert_allclose(almost, logit * 2.0**-50 + math.exp(-logit), rtol=1e-13)


def test_log_half_sqeuclidean_keeps_its_digits_near_zero():
    assert_allclose(cost_matrix([1e-8], [0.0], "log_half_sqeuclidean"), 1e-16, rtol=1e-12)  # 2 c + O(c^2)


@pytest.mark.parametrize("delta", [0.3, 2.0, 50])
def test_huber_of_any_delta(delta):
    p, cost = problem("huber", 6, 5, 2), Huber(delta)
    expected = [[sum(huber_of(r, delta) for r in a - b) for b in p.y] for a in p.x]
    assert_allclose(cost_matrix(p.x, p.y, cost), expected, rtol=1e-13)
    gx, _ = cost_vjp(p.x, p.y, p.G, cost)
    slopes = np.clip(p.x[:, None] - p.y, -delta, delta)
    assert_allclose(gx, (p.G[..., None] * slopes).sum(1), rtol=1e-12, atol=1e-13)
    assert pickle.loads(pickle.dumps(cost)) == cost == Huber(float(delta))


def test_nll_of_an_impossible_label_is_infinite_with_zero_gradient():
    x = np.array([[0.0, -np.inf, -np.inf], [-1.0, -2.0, -3.0]], np.float32)
    y, G = [0, 2, 2, 0], np.ones((2, 4))
    C = cost_matrix(x, y, "nll")
    assert_array_equal(C, np.array([[0, np.inf, np.inf, 0], [1, 3, 3, 1]], np.float32))
    assert C.dtype == np.float32  # labels do not promote
    assert not np.signbit(C).any()
    assert_array_equal(cost_vjp(x, y, G, "nll")[0], [[-2, 0, 0], [-2, 0, -2]])
    assert_array_equal(cost_jvp(x, y, np.ones((2, 3)), None, "nll"), [[-1, 0, 0, -1], [-1] * 4])
    assert_array_equal(x[0], [0, -np.inf, -np.inf])


def test_precomputed_forbidden_cells_get_no_gradient():
    C = np.array([[0.0, np.inf], [1.0, 2.0]])
    assert_array_equal(cost_matrix(C, None, "precomputed"), C)
    gradient, nothing = cost_vjp(C, None, np.ones((2, 2)), "precomputed")
    assert_array_equal(gradient, [[1, 0], [1, 1]])
    assert nothing is None


# ---- batches, lists, one channel


X_LENGTHS, Y_LENGTHS = [5, 3, 1], [2, 4, 3]


def ragged(name, dtype=np.float64):
    return [problem(name, n, m, 3, dtype, seed) for seed, (n, m) in enumerate(zip(X_LENGTHS, Y_LENGTHS, strict=True))]


def padded(items, fill):
    """Items of unequal shapes in one array, `fill` beyond them; None for a column of None."""
    if items[0] is None:
        return None
    shape = np.max([item.shape for item in items], axis=0)
    out = np.full((len(items), *shape), fill, np.asarray(items[0]).dtype)
    for b, item in enumerate(items):
        out[(b, *map(slice, item.shape))] = item
    return out


def column(problems, key):
    return [getattr(p, key) for p in problems]


@every_cost
@every_dtype
def test_padded_batch_equals_its_pairs_with_zeros_in_the_padding(name, dtype):
    problems = ragged(name, dtype)
    x, dx, G = (padded(column(problems, key), np.nan) for key in ("x", "dx", "G"))
    y, dy = (padded(column(problems, key), -99 if name == "nll" else np.nan) for key in ("y", "dy"))
    if name == "nll":
        y = y[..., None]
        problems = [SimpleNamespace(**{**vars(p), "y": p.y[:, None]}) for p in problems]
    lengths = {"x_lengths": X_LENGTHS, "y_lengths": Y_LENGTHS}

    def same(got, singles):
        assert_same(got, padded(singles, 0.0), 1e-12 if dtype == np.float64 else 1e-5)
        if got is not None:
            padding = padded([np.ones_like(single) for single in singles], 0.0) == 0
            assert_array_equal(got[padding], 0.0)
            assert got.dtype == dtype

    batch = SimpleNamespace(x=x, y=y, dx=dx, dy=dy, G=G)
    singles = zip(*(all_four(p, name) for p in problems), strict=True)
    for got, expected in zip(all_four(batch, name, **lengths), singles, strict=True):
        same(got, expected)


@every_cost_of_series
@every_dtype
def test_lists_give_lists(name, dtype):
    problems = ragged(name, dtype)
    batch = SimpleNamespace(**{key: column(problems, key) for key in vars(problems[0])})
    if name == "nll":
        batch.dy = None
    singles = zip(*(all_four(p, name) for p in problems), strict=True)
    for got, expected in zip(all_four(batch, name), singles, strict=True):
        assert got is None or isinstance(got, list)
        for one, single in zip(got or [None] * 3, expected, strict=True):
            assert_same(one, single)
            assert one is None or one.dtype == dtype


def test_trailing_nan_rows_are_padding_and_a_list_may_meet_an_array():
    problems = ragged("sqeuclidean")
    x, y = padded(column(problems, "x"), np.nan), column(problems, "y")
    C = cost_matrix(x, y)
    assert C.shape == (3, 5, 4)
    for b, p in enumerate(problems):
        assert_array_equal(C[b, : len(p.x), : len(p.y)], cost_matrix(p.x, p.y))
    assert_array_equal(C[1, 3:], 0)
    gx, gy = cost_vjp(x, y, np.ones_like(C))
    assert gx.shape == x.shape
    assert [g.shape for g in gy] == [p.y.shape for p in problems]


def test_single_series_may_be_shorter_than_its_array():
    C = cost_matrix([0.0, 1.0, np.nan], [2.0, np.nan], x_lengths=2, y_lengths=1)
    assert_array_equal(C, [[4, 0], [1, 0], [0, 0]])


@pytest.mark.parametrize("name", sorted(set(OF_SERIES) - {"nll"}))
def test_one_dimensional_series_are_one_channel_and_get_such_gradients(name):
    p = problem(name, d=1)
    flat = [p.x[:, 0], p.y[:, 0]]
    assert_array_equal(cost_matrix(*flat, name), cost_matrix(p.x, p.y, name))
    for got, expected in zip(cost_vjp(*flat, p.G, name), cost_vjp(p.x, p.y, p.G, name), strict=True):
        assert_array_equal(got, expected[:, 0])


def test_integers_compute_in_float64_and_the_series_decide_the_dtype():
    assert cost_matrix([1, 2], [3, 4]).dtype == np.float64
    x = np.ones((2, 1), np.float32)
    assert cost_vjp(x, x, np.ones((2, 2)))[0].dtype == np.float32
    assert cost_matrix(x, x.astype(float)).dtype == np.float64


# ---- cost objects


@every_dtype
def test_an_object_of_the_user_is_a_cost(dtype):
    p, cost = problem("sqeuclidean", dtype=dtype), CubicWithHessian()
    C = cost_matrix([p.x, p.x[:2]], [p.y, p.y], cost)
    assert [c.dtype for c in C] == [dtype, dtype]
    assert_allclose(C[1], ((p.x[:2, None] - p.y) ** 3).sum(-1), rtol=1e-4, atol=1e-5)
    gx, gy = cost_vjp(p.x, p.y, p.G, cost)
    dC = cost_jvp(p.x, p.y, p.dx, p.dy, cost)
    assert gx.dtype == gy.dtype == dtype
    assert_allclose(inner(p.G, dC), inner(gx, p.dx) + inner(gy, p.dy), rtol=1e-5)
    hx, hy = cost_hvp(p.x, p.y, p.G, p.dx, p.dy, cost)
    assert hx.shape == p.x.shape
    assert hy.shape == p.y.shape


def test_an_object_without_hvp_serves_first_order_calls_alone():
    p = problem("sqeuclidean")
    cost_vjp(p.x, p.y, p.G, Cubic())
    with pytest.raises(TypeError, match="of type Cubic, has no method hvp"):
        cost_hvp(p.x, p.y, p.G, p.dx, p.dy, Cubic())


def test_an_object_that_gives_a_wrong_shape_is_told():
    class Transposed(Cubic):
        def matrix(self, x, y):
            return super().matrix(x, y).T

    p = problem("sqeuclidean")
    with pytest.raises(ValueError, match=r"matrix of the cost, of type Transposed, .* \(4, 5\); expected \(5, 4\)"):
        cost_matrix(p.x, p.y, Transposed())


@pytest.mark.parametrize(
    ("method", "value", "error", "match"),
    [
        ("matrix", np.nan, ValueError, "gave NaN at row 0, column 0; expected finite costs, or .inf to forbid a match"),
        ("matrix", -np.inf, ValueError, "gave -inf at row 0, column 0"),
        ("matrix", 1j, TypeError, "gave an array of dtype complex128; expected real numbers"),
        ("matrix", "one", TypeError, "gave an array of dtype <U3; expected real numbers"),
        ("jvp", np.inf, ValueError, "gave inf at row 0, column 0; expected finite numbers"),
        ("vjp", 0.0, TypeError, "gave array.*; expected a pair, of x and of y"),
    ],
)
def test_an_object_that_gives_no_costs_is_told(method, value, error, match):
    p, user = problem("sqeuclidean"), Cubic()
    setattr(user, method, lambda x, y, *rest: np.full((len(x), len(y)), value))
    call = {
        "matrix": lambda: cost_matrix(p.x, p.y, user),
        "vjp": lambda: cost_vjp(p.x, p.y, p.G, user),
        "jvp": lambda: cost_jvp(p.x, p.y, p.dx, p.dy, user),
    }
    with pytest.raises(error, match=f"{method} of the cost, of type Cubic, {match}"):
        call[method]()


def test_an_object_may_forbid_matches():
    user = Cubic()
    user.matrix = lambda x, y: np.full((len(x), len(y)), np.inf)
    assert np.isposinf(cost_matrix([1.0, 2.0], [3.0], user)).all()


def test_fused_costs_are_those_of_the_kernels():
    fused = {name: cost.fused for name, cost in COSTS.items() if cost.fused is not None}
    assert {name.upper() for name in fused} == {kernel.name for kernel in FusedCost}
    for name, (kernel, parameter) in fused.items():
        assert kernel is FusedCost[name.upper()]
        assert parameter == (1.0 if name == "huber" else 0.0)
    assert Huber(3).fused == (FusedCost.HUBER, 3.0)
    assert [int(kernel) for kernel in FusedCost] == [1, 2, 3, 4, 5, 6]  # costs.h has these numbers
    assert get_cost(Cubic()).fused is None


def test_get_cost_finds_names_and_passes_objects():
    for name, cost in COSTS.items():
        assert get_cost(name) is get_cost(cost) is cost


# ---- errors


@pytest.mark.parametrize(
    ("cost", "error", "match"),
    [
        ("sqeuclidian", ValueError, r"'sqeuclidian'; expected one of 'sqeuclidean', .*did you mean 'sqeuclidean'\?"),
        ("Huber", ValueError, "did you mean 'huber'"),
        ("zzz", ValueError, "expected one of .* or a cost object$"),
        (None, TypeError, "cost is of type NoneType, without matrix, vjp, jvp; expected one of"),
        (SimpleNamespace(matrix=len, vjp=len), TypeError, "without jvp"),
        (Huber, TypeError, "cost is the class Huber, not an instance"),
        (np.abs, TypeError, "cost is of type ufunc, without"),
    ],
)
def test_an_unknown_cost_is_told_what_there_is(cost, error, match):
    with pytest.raises(error, match=match):
        cost_matrix([1.0], [2.0], cost)


@pytest.mark.parametrize("delta", [0, -1.0, np.inf, np.nan])
def test_huber_delta_must_be_positive_and_finite(delta):
    with pytest.raises(ValueError, match=r"delta is .*; expected a finite number > 0"):
        Huber(delta)


@pytest.mark.parametrize("delta", ["1", None, True, 1j])
def test_huber_delta_must_be_a_number(delta):
    with pytest.raises(TypeError, match=r"delta is .*, of type .*; expected a finite number > 0"):
        Huber(delta)


@pytest.mark.parametrize("target", [-0.1, 1.5])
def test_bce_targets_outside_the_unit_interval_raise_in_every_call(target):
    x, y = [np.zeros((2, 2))] * 2, [np.zeros((1, 2)), np.array([[0.0, target]])]
    G = [np.ones((2, 1))] * 2
    message = rf"y\[1\] holds {target} at time 0, channel 1; expected targets in \[0, 1\]"
    for call in (
        lambda: cost_matrix(x, y, "bce"),
        lambda: cost_vjp(x, y, G, "bce"),
        lambda: cost_jvp(x, y, None, None, "bce"),
        lambda: cost_hvp(x, y, G, None, None, "bce"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_nll_labels_out_of_range_raise(label):
    with pytest.raises(ValueError, match=f"y holds {label} at time 1; expected integer labels from 0 to 2,"):
        cost_matrix(np.zeros((2, 3)), [0, label], "nll")


@pytest.mark.parametrize("y", [np.zeros((3, 6)), np.zeros((2, 3, 6)), [np.zeros(3), np.zeros((3, 6))]])
def test_nll_says_that_labels_are_expected(y):
    x = np.zeros((5, 7)) if np.ndim(y[0]) == 1 and len(y) == 3 else np.zeros((2, 5, 7))
    with pytest.raises(ValueError, match=r"has shape \(.*6\); expected integer labels, \(m,\) or \(m, 1\) a series"):
        cost_matrix(x, y, "nll")


@pytest.mark.parametrize("name", ["nll", "bce"])
def test_costs_of_classifiers_need_no_table_for_each_class(name, rng):
    """n m d numbers would be 180 MB; C is 1.4 MB, the logits 0.8 MB."""
    n, m, d = 600, 300, 128
    x = rng.normal(size=(n, d))
    y = rng.integers(0, d, size=m) if name == "nll" else (rng.random((m, d)) < 0.1).astype(float)
    tracemalloc.start()
    try:
        G = np.ones((n, m))
        cost_vjp(x, y, cost_matrix(x, y, name), name)
        cost_hvp(x, y, G, x, None, name)
        cost_jvp(x, y, x, None, name)
        sdtwkit.soft_dtw_value_and_grad(x, y, cost=name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15e6


def test_nll_refuses_other_infinities_and_nan_and_unequal_batches():
    for bad, word in ((np.inf, "inf"), (np.nan, "NaN")):
        with pytest.raises(ValueError, match=f"x holds {word} at time 0, channel 1"):
            cost_matrix(np.array([[0.0, bad], [0.0, -np.inf]]), [0], "nll")
    with pytest.raises(ValueError, match="x is a collection of 2, y is a collection of 1"):
        cost_matrix(np.zeros((2, 3, 4)), np.zeros((1, 3, 1), int), "nll")


@pytest.mark.parametrize("name", ["nll", "precomputed"])
def test_labels_and_absent_series_do_not_move(name):
    p = problem(name)
    with pytest.raises(ValueError, match="dy is given, but this cost has no derivative in y"):
        cost_jvp(p.x, p.y, p.dx, np.ones(4), name)


def test_precomputed_takes_no_second_series():
    with pytest.raises(ValueError, match="y is given, but cost 'precomputed' takes the cost matrix as x"):
        cost_matrix(np.ones((2, 2)), np.ones((2, 2)), "precomputed")


def test_cotangents_and_directions_must_fit():
    p = problem("sqeuclidean")
    with pytest.raises(ValueError, match=r"G has shape \(4, 5\); expected \(5, 4\)"):
        cost_vjp(p.x, p.y, p.G.T)
    with pytest.raises(ValueError, match=r"G holds NaN at row 0, column 0"):
        cost_vjp(p.x, p.y, p.G * np.nan)
    with pytest.raises(ValueError, match="G is 1 matrices; expected a list of 2 matrices"):
        cost_vjp([p.x] * 2, [p.y] * 2, [p.G])
    with pytest.raises(ValueError, match="G is of type ndarray; expected a list of 2 matrices"):
        cost_vjp([p.x] * 2, [p.y] * 2, np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"G\[1\] has shape \(4, 5\); expected \(5, 4\)"):
        cost_vjp([p.x] * 2, [p.y] * 2, [p.G, p.G.T])
    with pytest.raises(ValueError, match=r"dx has shape \(4, 3\); expected \(5, 3\)"):
        cost_jvp(p.x, p.y, p.dy, None)
    with pytest.raises(ValueError, match=r"dy has shape \(5, 3\); expected \(4, 3\)"):
        cost_hvp(p.x, p.y, p.G, None, p.dx)
    with pytest.raises(ValueError, match="x has 3 channels, y has 2"):
        cost_matrix(p.x, p.y[:, :2])


def test_importing_costs_does_not_import_scipy():
    code = "import sys, sdtwkit.costs; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
