"""The slow twins agree with each other: the recursion with the sum over all paths, both with finite differences."""

import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import COSTS, OPERATORS, OPTIONS, REAL, SETS, Alignment, Gibbs, derivative, random_costs

SIZES = [(n, m) for n in range(1, 5) for m in range(1, 5)]
FEW = [(1, 3), (2, 2), (3, 4), (4, 3)]


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS)
def options(request):
    return request.param


@pytest.fixture(params=["entropy", "l2"])
def smooth(request):
    return request.param


def problems(rng, sizes=SIZES):
    for n, m in sizes:
        yield random_costs(rng, n, m)
        yield random_costs(rng, n, m, blocked=0.2)


# ---- the recursion adds up all paths


def test_recursion_is_the_sum_over_all_paths(options, rng):
    twin, law = Alignment(0.7, **options), Gibbs(0.7, **options)
    for C in problems(rng):
        Z = rng.normal(size=C.shape)
        value, H = twin.value_and_grad(C)
        tangent, product = twin.hvp(C, Z)
        assert_allclose(value, law.value(C), rtol=0, atol=1e-13)
        assert_allclose(H, law.gradient(C), rtol=0, atol=1e-13)
        assert_allclose(twin.marginals(C), law.marginals(C), rtol=0, atol=1e-13)
        assert_allclose(tangent, (law.gradient(C) * Z).sum(), rtol=0, atol=1e-13)
        assert_allclose(product, law.hessian_product(C, Z), rtol=0, atol=1e-12)
        assert_allclose(twin.marginals_vjp(C, Z), law.marginals_vjp(C, Z), rtol=0, atol=1e-12)


def test_hard_recursion_finds_the_best_path(options, rng):
    twin, law = Alignment(regularizer=None, **options), Gibbs(regularizer=None, **options)
    for C in problems(rng):
        value, H = twin.value_and_grad(C)
        assert_allclose(value, law.value(C), rtol=0, atol=1e-14)
        assert_allclose(H, law.gradient(C), rtol=0, atol=1e-14)
        assert_array_equal(twin.marginals(C), law.marginals(C))
        path, cost = Alignment(0.7, **options).decode(C)
        best, best_cost = law.best_paths(C)
        assert cost == value
        assert_allclose(cost, best_cost, rtol=0, atol=1e-14)
        assert [path.tolist()] == [b.tolist() for b in best] or (best == [] and path.shape == (0, 2))


def test_hard_ties_prefer_diagonal_then_left_then_up():
    path, _ = Alignment(regularizer=None).decode(np.zeros((4, 4)))
    assert_array_equal(path, np.repeat(np.arange(4), 2).reshape(4, 2))
    path, _ = Alignment(regularizer=None).decode(np.zeros((2, 4)))
    assert_array_equal(path, [[0, 0], [0, 1], [0, 2], [1, 3]])  # backwards: diagonal as soon as it can
    path, _ = Alignment(regularizer=None).decode(np.array([[0.0, -1.0], [-1.0, 0.0]]))
    assert_array_equal(path, [[0, 0], [1, 0], [1, 1]])  # left and up tie below the diagonal
    path, _ = Alignment(regularizer=None, open_begin="y").decode(np.zeros((1, 3)))
    assert_array_equal(path, [[0, 0], [0, 1], [0, 2]])  # to start is the last choice


def test_weight_of_a_zero_step_does_not_open_a_forbidden_cell(rng):
    C = random_costs(rng, 3, 3)
    C[1, :] = np.inf
    for regularizer in OPERATORS:
        twin = Alignment(regularizer=regularizer, step_weights=(0, 0, 0))
        value, H = twin.value_and_grad(C)
        assert value == np.inf
        assert not H.any()
        assert not twin.marginals(C).any()
        assert not twin.hvp(C, np.ones((3, 3)))[1].any()


@pytest.mark.parametrize("open_end", SETS)
@pytest.mark.parametrize("open_begin", SETS)
def test_every_pair_of_sets_adds_up_its_paths(open_begin, open_end, rng):
    options = {"open_begin": open_begin, "open_end": open_end}
    for n, m in SIZES:
        C = random_costs(rng, n, m)
        assert_allclose(Alignment(0.3, **options).value(C), Gibbs(0.3, **options).value(C), rtol=0, atol=1e-13)
        assert_allclose(Alignment(0.3, **options).marginals(C), Gibbs(0.3, **options).marginals(C), rtol=0, atol=1e-13)


def test_a_mask_forbids_cells(rng):
    for n, m in SIZES:
        C, mask = random_costs(rng, n, m), rng.random((n, m)) < 0.8
        forbidden = np.where(mask, C, np.inf)
        assert_allclose(Alignment(window=mask).value(C), Gibbs(window=mask).value(C), rtol=0, atol=1e-13)
        for regularizer in OPERATORS:
            masked, blocked = Alignment(regularizer=regularizer, window=mask), Alignment(regularizer=regularizer)
            assert masked.value(C) == blocked.value(forbidden)
            assert_array_equal(masked.marginals(C), blocked.marginals(forbidden))


def test_paths_are_counted_by_delannoy_numbers():
    for n, m in SIZES:
        assert len(list(reference.enumerate_paths(n, m))) == reference.count_paths(n, m)
    assert [reference.count_paths(n, n) for n in range(1, 6)] == [1, 3, 13, 63, 321]


# ---- derivatives


def test_gradient_is_the_derivative_of_the_value(smooth, options, rng):
    twin = Alignment(0.7, regularizer=smooth, **options)
    for C in problems(rng, FEW):
        Z = rng.normal(size=C.shape)
        value, H = twin.value_and_grad(C)
        assert_allclose(H[~np.isfinite(C)], 0)
        if np.isfinite(value):
            assert_allclose((H * Z).sum(), derivative(lambda t: twin.value(C + t * Z)), rtol=0, atol=1e-11)  # noqa: B023
            assert_allclose(twin.hvp(C, Z)[0], (H * Z).sum(), rtol=0, atol=1e-14)


def test_hessian_product_is_the_derivative_of_the_gradient(smooth, options, rng):
    twin = Alignment(0.7, regularizer=smooth, **options)
    for C in problems(rng, FEW):
        Z = rng.normal(size=C.shape)
        difference = derivative(lambda t: twin.value_and_grad(C + t * Z)[1])  # noqa: B023
        assert_allclose(twin.hvp(C, Z)[1], difference, rtol=0, atol=1e-10)


def test_jvp_and_vjp_of_the_alignment(smooth, options, rng):
    twin = Alignment(0.7, regularizer=smooth, **options)
    for C in problems(rng, FEW):
        Z, G = rng.normal(size=(2, *C.shape))
        difference = derivative(lambda t: twin.marginals(C + t * Z))  # noqa: B023
        assert_allclose(twin.marginals_jvp(C, Z), difference, rtol=0, atol=1e-10)
        product = np.where(np.isfinite(C), Z, 0)
        assert_allclose((twin.marginals_vjp(C, G) * product).sum(), (G * difference).sum(), rtol=0, atol=1e-10)


def test_derivatives_coincide_for_unit_weights(smooth, rng):
    for begin, end in ((False, False), ("y", "y"), (True, "x")):
        twin = Alignment(0.4, regularizer=smooth, open_begin=begin, open_end=end)
        C, Z = rng.normal(size=(2, 5, 6))
        assert_allclose(twin.value_and_grad(C)[1], twin.marginals(C), rtol=0, atol=1e-15)
        assert_allclose(twin.marginals_vjp(C, Z), twin.hvp(C, Z)[1], rtol=0, atol=1e-15)
        assert_allclose(twin.marginals_jvp(C, Z), twin.hvp(C, Z)[1], rtol=0, atol=1e-15)


# ---- operators


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e17])
@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_smooth_minimum(smooth, d, scale, rng):
    x, z = scale * rng.normal(size=d), rng.normal(size=d)
    value, q = reference.smooth_min(x, 0.5, smooth)
    omega = (q[q > 0] * np.log(q[q > 0])).sum() if smooth == "entropy" else (q * q).sum() / 2
    assert_allclose(q.sum(), 1, atol=1e-15)
    assert_allclose(value, (q * x).sum() + 0.5 * omega, rtol=1e-15, atol=1e-15)
    for other in rng.dirichlet(np.ones(d), size=20):  # the minimum over the simplex is at q
        omega = (other * np.log(other)).sum() if smooth == "entropy" else (other @ other) / 2
        assert value <= other @ x + 0.5 * omega + 1e-15 * max(scale, 1)
    product = reference.smooth_min_hvp(x, z, 0.5, smooth)
    step = derivative(lambda t: reference.smooth_min(x + t * z, 0.5, smooth)[1])
    assert_allclose(product, step, rtol=0, atol=1e-8 if scale <= 1 else 1)
    high, q_max = reference.smooth_max(-x, 0.5, smooth)
    assert high == -value
    assert_array_equal(q, q_max)
    assert_array_equal(reference.smooth_max_hvp(-x, z, 0.5, smooth), -product)


def test_projection_on_the_simplex_is_nearest(rng):
    for d in range(1, 6):
        u = rng.normal(size=(d, 1)) * 2
        q = reference.project_on_simplex(u)
        assert_allclose(q.sum(), 1, atol=1e-15)
        others = rng.dirichlet(np.ones(d), size=200).T
        assert np.all(((u - q) ** 2).sum() <= ((u - others) ** 2).sum(axis=0) + 1e-15)


def test_no_candidates():
    for regularizer in OPERATORS:
        value, q = reference.smooth_min([np.inf, np.inf], 1.0, regularizer)
        assert value == np.inf
        assert_array_equal(q, 0)


# ---- known values and limits


def test_a_single_row_or_column_is_summed(rng):
    for n, m in ((1, 1), (1, 4), (4, 1)):
        C, Z = rng.normal(size=(2, n, m))
        for regularizer in OPERATORS:
            twin = Alignment(0.6, regularizer=regularizer)
            offset = 0.3 * (n + m - 1) if regularizer == "l2" else 0
            assert_allclose(twin.value(C), C.sum() + offset, rtol=1e-14)
            assert_array_equal(twin.marginals(C), 1)
            assert_array_equal(twin.hvp(C, Z)[1], 0)


def test_zero_costs_count_the_paths():
    for n, m in SIZES:
        value = Alignment(0.6).value(np.zeros((n, m)))
        assert_allclose(value, -0.6 * math.log(reference.count_paths(n, m)), rtol=1e-14)


def test_other_convention_of_l2_is_a_shift_of_the_costs(rng):
    """sum of 1/2 (q^2 - 1) instead of 1/2 q^2 adds gamma / 2 to every cell (section 2)."""
    C = rng.normal(size=(5, 6))
    shifted = Alignment(0.8, regularizer="l2").value(C)
    V = np.full((5, 6), np.inf, REAL)
    for i, j in np.ndindex(5, 6):
        candidates = [C[0, 0]] if i == j == 0 else []
        candidates += [V[i - a, j - b] + C[i, j] for a, b in reference.STEPS if i >= a and j >= b]
        V[i, j] = reference.smooth_min(candidates, 0.8, "l2")[0] - REAL(0.8) / 2
    assert_allclose(V[-1, -1], Alignment(0.8, regularizer="l2").value(C - REAL(0.4)), rtol=1e-15)
    assert V[-1, -1] < shifted


def test_enumeration_is_right_at_any_ratio_of_costs_to_gamma():
    C = np.array([[0.0, 1e12 + 1e-4], [1e12, 0.0]])  # the diagonal costs 0, its detours 1e12
    assert Gibbs(1e-8).value(C) == 0
    C[1, 0] = C[0, 1] = 0
    assert_allclose(Gibbs(1e-8).value(C + 1e8), 2e8, rtol=1e-15)
    assert_allclose(Gibbs(1e8).value(C), -1e8 * math.log(3), rtol=1e-15)


def test_band_follows_both_lengths():
    assert_array_equal(reference.band_mask(3, 4, 0), [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])
    for n, m in SIZES:
        assert np.isfinite(Alignment(window=0).value(np.zeros((n, m))))


# ---- local costs and series


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("d", [1, 3])
def test_gradient_of_each_cost(cost, d, rng):
    x, dx = rng.normal(size=(2, 4, d))
    y, dy = rng.normal(size=(2, 5, d))
    G = rng.normal(size=(4, 5))
    grad_x, grad_y = reference.cost_vjp(x, y, G, cost)
    step = derivative(lambda t: (G * reference.cost_matrix(x + t * dx, y + t * dy, cost)).sum())
    assert_allclose((grad_x * dx).sum() + (grad_y * dy).sum(), step, rtol=1e-10, atol=1e-10)


def test_costs_where_they_have_corners():
    zero, one = np.zeros((1, 2)), np.ones((1, 2))
    assert reference.cost_matrix(zero, one, "cosine") == 1
    for cost in ("euclidean", "manhattan", "cosine"):
        assert not np.any(reference.cost_vjp(zero, zero, [[1.0]], cost))
    assert_allclose(reference.cost_matrix([0.0], [3.0], "huber"), 2.5)


def test_series_functions_are_consistent(smooth, rng):
    x, y, dx, dy = rng.normal(size=(4, 5, 2))
    G = rng.normal(size=(5, 5))
    options = {"regularizer": smooth, "cost": "half_sqeuclidean", "prior": np.ones((5, 5)), "open_end": "y"}
    _, grad_x, grad_y = reference.soft_dtw_value_and_grad(x, y, 0.5, **options)
    step = derivative(lambda t: reference.soft_dtw(x + t * dx, y + t * dy, 0.5, **options))
    assert_allclose((grad_x * dx).sum() + (grad_y * dy).sum(), step, rtol=1e-10)
    grad_x, grad_y = reference.soft_dtw_alignment_vjp(x, y, G, 0.5, **options)
    step = derivative(lambda t: (G * reference.soft_dtw_alignment(x + t * dx, y + t * dy, 0.5, **options)[0]).sum())
    assert_allclose((grad_x * dx).sum() + (grad_y * dy).sum(), step, rtol=1e-9)


def test_subsequence_search_tries_every_interval():
    series = np.array([9.0, 0, 1, 2, 9, 9, 0, 1.5, 2, 9])
    assert reference.subsequence_matches(np.array([0.0, 1, 2]), series, k=2) == [(1, 4, 0.0), (6, 9, 0.25)]
