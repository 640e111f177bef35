"""What holds for every cost matrix: the limits and invariants of math-alignment.md, section 5, as properties."""

import math

import numpy as np
import pytest
import reference
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit.dp import AlignmentDP

OPERATORS = ("entropy", "l2", None)
SMOOTH = ("entropy", "l2")
STEPS = ((0, 1), (1, 1), (1, 0))
UNIT = (1.0, 1.0, 1.0)

every_operator = pytest.mark.parametrize("regularizer", OPERATORS, ids=str)
every_smoothing = pytest.mark.parametrize("regularizer", SMOOTH)

gammas = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)
weights = st.tuples(*[st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.25])] * 3) | st.just(UNIT)
windows = st.none() | st.integers(0, 6)


@st.composite
def matrices(draw, low=-3.0, high=3.0):
    """Costs (n, m) of up to 40 rows and columns; their size is drawn, their entries come from a seed."""
    n, m = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    scale = 10.0 ** draw(st.sampled_from([-2, 0, 0, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return scale * rng.uniform(low, high, size=(n, m))


@st.composite
def series(draw, n=None):
    n = draw(st.integers(1, 30)) if n is None else n
    d = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return 10.0 ** draw(st.integers(-2, 1)) * rng.normal(size=(n, d))


def size(C, gamma):
    """The scale of values: the largest cost there is, and gamma (n + m)."""
    return abs(C).max() * 4 * max(1, sum(C.shape) / 10) + gamma * sum(C.shape)


def log_paths(n, m):
    return math.log(reference.count_paths(n, m))


def transposed(weights):
    return weights[::-1]  # left and up change places


# ---- towards the hard minimum


@every_smoothing
@given(C=matrices())
def test_value_tends_to_dtw_as_gamma_vanishes(regularizer, C):
    hard = AlignmentDP(regularizer=None).value(C)
    errors = [abs(AlignmentDP(gamma, regularizer=regularizer).value(C) - hard) for gamma in (1e-2, 1e-4, 1e-6, 1e-9)]
    for gamma, error in zip((1e-2, 1e-4, 1e-6, 1e-9), errors, strict=True):
        assert error <= gamma * max(log_paths(*C.shape), sum(C.shape)) + 1e-10 * size(C, 0)


@given(C=matrices(), gamma=gammas, window=windows)
def test_value_lies_between_dtw_less_the_count_of_paths_and_dtw(C, gamma, window):
    value = AlignmentDP(gamma, window=window).value(C)
    hard = AlignmentDP(regularizer=None, window=window).value(C)
    slack = 1e-12 * size(C, gamma)
    assert hard - gamma * log_paths(*C.shape) - slack <= value <= hard + slack


@given(n=st.integers(1, 60), m=st.integers(1, 60), gamma=gammas)
def test_zero_costs_count_the_paths(n, m, gamma):
    assert_allclose(AlignmentDP(gamma).value(np.zeros((n, m))), -gamma * log_paths(n, m), rtol=1e-12, atol=1e-15)


# ---- symmetries


@every_operator
@given(C=matrices(), gamma=gammas, exponent=st.floats(-6, 6), weights=weights)
def test_scaling_costs_and_gamma_scales_the_value(regularizer, C, gamma, exponent, weights):
    s = 10.0**exponent
    value, H = AlignmentDP(gamma, regularizer=regularizer, step_weights=weights).value_and_grad(C)
    scaled, same = AlignmentDP(s * gamma, regularizer=regularizer, step_weights=weights).value_and_grad(s * C)
    assert_allclose(scaled / s, value, rtol=0, atol=1e-12 * size(C, gamma))
    assert_allclose(same, H, rtol=0, atol=1e-10 + 1e-14 * size(C, gamma) / gamma)


@every_operator
@pytest.mark.parametrize(("begin", "turned"), [(False, False), ("x", "y"), (True, True)])
@given(C=matrices(), gamma=gammas, weights=weights, window=windows)
def test_transposition_changes_nothing(regularizer, begin, turned, C, gamma, weights, window):
    plain = {"regularizer": regularizer, "window": window, "open_begin": begin, "open_end": begin}
    turned = {**plain, "open_begin": turned, "open_end": turned}
    value, H = AlignmentDP(gamma, step_weights=weights, **plain).value_and_grad(C)
    other, H_turned = AlignmentDP(gamma, step_weights=transposed(weights), **turned).value_and_grad(C.T)
    assert_allclose(other, value, rtol=0, atol=1e-12 * size(C, gamma))
    if regularizer or (begin is False and 0 not in weights and len(set(weights)) == 1):  # hard paths tie elsewhere
        assert_allclose(H_turned.T, H, rtol=0, atol=1e-9 + 1e-13 * size(C, gamma) / gamma)


@pytest.mark.parametrize("regularizer", ["entropy", None], ids=str)
@given(C=matrices(), gamma=gammas, window=windows)
def test_time_reversal_changes_nothing_without_l2(regularizer, C, gamma, window):
    dp = AlignmentDP(gamma, regularizer=regularizer, window=window)
    value, E = dp.value_and_grad(C)
    reversed_value, reversed_E = dp.value_and_grad(C[::-1, ::-1])
    assert_allclose(reversed_value, value, rtol=0, atol=1e-12 * size(C, gamma))
    assert_allclose(reversed_E[::-1, ::-1], E, rtol=0, atol=1e-10)


@pytest.mark.parametrize("regularizer", ["entropy", None], ids=str)
@given(C=matrices(), gamma=gammas, w=st.floats(0.1, 3))
def test_time_reversal_under_one_weight_for_all_steps(regularizer, C, gamma, w):
    """The first cell has weight 1, the others w: reversal exchanges the corners, nothing else."""
    dp = AlignmentDP(gamma, regularizer=regularizer, step_weights=(w, w, w))
    corners = (1 - w) * (C[0, 0] - C[-1, -1])
    assert_allclose(dp.value(C[::-1, ::-1]) + corners, dp.value(C), rtol=0, atol=1e-11 * size(C, gamma))


@every_operator
@given(C=matrices(), gamma=gammas, shift=st.floats(-5, 5))
def test_a_constant_adds_up_along_a_single_row(regularizer, C, gamma, shift):
    row = C[:1]
    dp = AlignmentDP(gamma, regularizer=regularizer)
    expected = dp.value(row) + shift * row.size
    assert_allclose(dp.value(row + shift), expected, rtol=0, atol=1e-12 * (size(row, gamma) + abs(shift) * row.size))


@given(C=matrices(), gamma=gammas)
def test_l2_shift_identity(C, gamma):
    """The other convention, 1/2 (q^2 - 1), is the same recursion with gamma/2 less on every cell."""
    dp = AlignmentDP(gamma, regularizer="l2")
    value, V = dp.value(C - gamma / 2), np.full(C.shape, np.inf)
    for i, j in np.ndindex(C.shape):
        candidates = [V[i - a, j - b] + C[i, j] for a, b in STEPS if i >= a and j >= b] or [C[0, 0]]
        V[i, j] = sdtwkit.dp.smooth_min(candidates, gamma, "l2")[0] - gamma / 2
    assert_allclose(value, V[-1, -1], rtol=0, atol=1e-11 * size(C, gamma))


# ---- the expected alignment


@every_operator
@given(C=matrices(), gamma=gammas, weights=weights, window=windows)
def test_alignment_is_a_law_of_paths(regularizer, C, gamma, weights, window):
    n, m = C.shape
    E = AlignmentDP(gamma, regularizer=regularizer, step_weights=weights, window=window).marginals(C)
    assert_allclose(E[[0, -1], [0, -1]], 1, rtol=1e-12)
    assert np.all((E >= 0) & (E <= 1 + 1e-12))
    assert E.sum(axis=0).min() >= 1 - 1e-12
    assert E.sum(axis=1).min() >= 1 - 1e-12
    assert max(n, m) - 1e-11 * (n + m) <= E.sum() <= (n + m - 1) * (1 + 1e-12)


@every_operator
@pytest.mark.parametrize(("begin", "end"), [("y", "y"), ("x", True), (True, False)])
@given(C=matrices(), gamma=gammas)
def test_open_ends_leave_a_law_of_paths(regularizer, begin, end, C, gamma):
    """Every path has a cell; rows are all visited where only y is open."""
    E = AlignmentDP(gamma, regularizer=regularizer, open_begin=begin, open_end=end).marginals(C)
    assert np.all((E >= 0) & (E <= 1 + 1e-12))
    assert E.sum() >= 1 - 1e-12
    if begin == end == "y":
        assert E.sum(axis=1).min() >= 1 - 1e-12
    if end is False:
        assert_allclose(E[-1, -1], 1, rtol=1e-12)


@given(C=matrices(), gamma=gammas)
def test_expected_cost_is_at_least_the_value(C, gamma):
    value, E = AlignmentDP(gamma).value_and_grad(C)
    assert (E * C).sum() >= value - 1e-12 * size(C, gamma)


@given(C=matrices(), gamma=gammas, weights=weights)
def test_derivative_in_gamma_is_minus_the_entropy_of_the_law(C, gamma, weights):
    """(value - <H, C>) / gamma, between minus the log of the number of paths and 0."""
    value, H = AlignmentDP(gamma, step_weights=weights).value_and_grad(C)
    slope = (value - (H * C).sum()) / gamma
    slack = 1e-12 * size(C, gamma) / gamma
    assert -log_paths(*C.shape) - slack <= slope <= slack
    h = 1e-5 * gamma
    high, low = (AlignmentDP(gamma + step, step_weights=weights).value(C) for step in (h, -h))
    assert_allclose((high - low) / (2 * h), slope, rtol=1e-6, atol=1e-7 + 1e-10 * size(C, gamma) / gamma)


@every_operator
@given(C=matrices(), gamma=gammas, window=windows)
def test_nothing_passes_outside_the_band(regularizer, C, gamma, window):
    assume(window is not None)
    E = AlignmentDP(gamma, regularizer=regularizer, window=window).marginals(C)
    outside = ~sdtwkit.sakoe_chiba_mask(*C.shape, window)
    assert_array_equal(E[outside], 0)
    wide = AlignmentDP(gamma, regularizer=regularizer, window=max(C.shape)).value(C)
    assert wide == AlignmentDP(gamma, regularizer=regularizer).value(C)


@pytest.mark.parametrize("regularizer", ["entropy", None], ids=str)
@given(C=matrices(), gamma=gammas)
def test_a_wider_band_costs_less(regularizer, C, gamma):
    values = [AlignmentDP(gamma, regularizer=regularizer, window=radius).value(C) for radius in (0, 1, 3, 40)]
    assert np.all(np.diff(values) <= 1e-12 * size(C, gamma))


@every_operator
@given(C=matrices(), gamma=gammas)
def test_decoding_finds_the_hard_value(regularizer, C, gamma):
    path, cost = AlignmentDP(gamma, regularizer=regularizer).decode(C)
    assert_allclose(reference.path_cost(C, path), cost, rtol=0, atol=1e-13 * size(C, 0))
    assert cost == AlignmentDP(regularizer=None).value(C)
    assert_array_equal(path[[0, -1]], [[0, 0], np.subtract(C.shape, 1)])


# ---- second order


@every_operator
@given(C=matrices(), gamma=gammas, weights=weights, window=windows, seed=st.integers(0, 2**32 - 1))
def test_hessian_is_symmetric_and_negative(regularizer, C, gamma, weights, window, seed):
    dp = AlignmentDP(gamma, regularizer=regularizer, step_weights=weights, window=window)
    Z, W = np.random.default_rng(seed).normal(size=(2, *C.shape))
    (slope, HZ), (_, HW) = dp.hvp(C, Z), dp.hvp(C, W)
    bound = 1e-11 * sum(C.shape) ** 2 * max(1, *weights) ** 2 / gamma
    if regularizer == "l2":  # supports jump where a candidate is on their edge
        bound = max(bound, 1e-13 * size(C, gamma) / gamma * np.abs(HZ).max() * C.size)
    assert_allclose((W * HZ).sum(), (Z * HW).sum(), rtol=1e-9, atol=bound)
    if regularizer != "l2":
        assert (Z * HZ).sum() <= bound  # the value is concave in the costs
    H = dp.value_and_grad(C)[1]
    assert_allclose(slope, (H * Z).sum(), rtol=0, atol=1e-9 * max(1, *weights) * sum(C.shape))


@every_operator
@given(C=matrices(), gamma=gammas, seed=st.integers(0, 2**32 - 1))
def test_unit_weights_make_both_products_one(regularizer, C, gamma, seed):
    dp = AlignmentDP(gamma, regularizer=regularizer, open_begin="y")
    Z = np.random.default_rng(seed).normal(size=C.shape)
    product = dp.hvp(C, Z)[1]
    assert_allclose(dp.marginals_vjp(C, Z), product, rtol=0, atol=1e-12 * max(1 / gamma, abs(product).max()))
    assert_allclose(dp.marginals(C), dp.value_and_grad(C)[1], rtol=0, atol=1e-14)


@every_operator
@given(C=matrices(), gamma=gammas, seed=st.integers(0, 2**32 - 1))
def test_a_single_row_or_column_is_a_sum(regularizer, C, gamma, seed):
    for line in (C[:1], C[:, :1]):
        dp = AlignmentDP(gamma, regularizer=regularizer)
        offset = line.size * gamma / 2 if regularizer == "l2" else 0
        assert_allclose(dp.value(line), line.sum() + offset, rtol=0, atol=1e-12 * size(line, gamma))
        assert_allclose(dp.marginals(line), 1, rtol=1e-13)
        Z = np.random.default_rng(seed).normal(size=line.shape)
        assert_allclose(dp.hvp(line, Z)[1], 0, atol=1e-12 * line.size / gamma)


# ---- series


@given(x=series(), gamma=gammas)
@example(x=np.zeros((3, 1)), gamma=1.0)
def test_self_distance_is_negative(x, gamma):
    value = sdtwkit.soft_dtw(x, x, gamma)
    assert -gamma * log_paths(len(x), len(x)) * (1 + 1e-12) <= value <= 1e-12 * gamma
    if len(x) > 1 and gamma > abs(x).max() ** 2:
        assert value < 0
    assert sdtwkit.dtw(x, x) == 0


@every_operator
@given(x=series(), gamma=gammas, seed=st.integers(0, 2**32 - 1), weights=weights)
def test_series_may_change_places(regularizer, x, gamma, seed, weights):
    y = np.random.default_rng(seed).normal(size=(1 + seed % 20, x.shape[1]))
    C = np.square(x[:, None] - y).sum(axis=2)
    options = {"regularizer": regularizer}
    value, grad_x, grad_y = sdtwkit.soft_dtw_value_and_grad(x, y, gamma, step_weights=weights, **options)
    other, back_y, back_x = sdtwkit.soft_dtw_value_and_grad(y, x, gamma, step_weights=transposed(weights), **options)
    assert_allclose(other, value, rtol=0, atol=1e-12 * size(C, gamma))
    if regularizer:
        tolerance = (1e-10 + 1e-13 * size(C, gamma) / gamma) * max(1, abs(C).max()) * sum(C.shape)
        assert_allclose(back_x, grad_x, rtol=0, atol=tolerance)
        assert_allclose(back_y, grad_y, rtol=0, atol=tolerance)


@every_operator
@given(x=series(), gamma=gammas, seed=st.integers(0, 2**32 - 1))
def test_moving_both_series_changes_nothing(regularizer, x, gamma, seed):
    """Translation invariance: gradients of both series sum to zero."""
    y = np.random.default_rng(seed).normal(size=(1 + seed % 20, x.shape[1]))
    value, grad_x, grad_y = sdtwkit.soft_dtw_value_and_grad(x, y, gamma, regularizer=regularizer)
    spread = 1 + abs(x).max() + abs(y).max()
    total = grad_x.sum(axis=0) + grad_y.sum(axis=0)
    assert_allclose(total, 0, atol=1e-11 * spread * sum(map(len, (x, y))))
    moved = sdtwkit.soft_dtw(x + 64.0, y + 64.0, gamma, regularizer=regularizer)
    assert_allclose(moved, value, rtol=0, atol=1e-11 * (spread**2 * sum(map(len, (x, y))) * x.shape[1] + gamma))
