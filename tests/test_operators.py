"""The smoothed maximum and minimum against their slow twins, their definition and the table of math-alignment.md."""

import math

import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.dp import smooth_max, smooth_max_hvp, smooth_min, smooth_min_hvp

OPERATORS = ("entropy", "l2", None)
SMOOTH = ("entropy", "l2")
EPS = np.finfo(float).eps

finite = st.floats(-1e3, 1e3, allow_subnormal=False)
vectors = st.lists(finite, min_size=1, max_size=8).map(np.array)
gammas = st.floats(-8, 8).map(lambda exponent: 10.0**exponent)


def scale(x, gamma):
    """What a value rounds relative to."""
    return max(abs(x[np.isfinite(x)]).max(initial=0), gamma)


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


# ---- values and gradients


@pytest.mark.parametrize("regularizer", OPERATORS)
@given(x=vectors, gamma=gammas)
def test_maximum_and_minimum_match_the_twin(regularizer, x, gamma):
    for fast, slow in ((smooth_max, reference.smooth_max), (smooth_min, reference.smooth_min)):
        value, q = fast(x, gamma, regularizer)
        expected, expected_q = slow(x, gamma, regularizer)
        assert_allclose(float(value), float(expected), rtol=0, atol=1e-14 * scale(x, gamma))
        assert_allclose(q, expected_q.astype(float), rtol=0, atol=1e-13 + 1e-15 * scale(x, gamma) / gamma)


@pytest.mark.parametrize("regularizer", OPERATORS)
@given(x=vectors, gamma=gammas)
def test_gradient_is_a_point_of_the_simplex(regularizer, x, gamma):
    _, q = smooth_max(x, gamma, regularizer)
    assert q.shape == x.shape
    assert np.all(q >= 0)
    assert_allclose(q.sum(), 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("regularizer", OPERATORS)
@given(x=vectors, gamma=gammas)
def test_minimum_is_minus_the_maximum_of_minus_x(regularizer, x, gamma):
    low, q_min = smooth_min(x, gamma, regularizer)
    high, q_max = smooth_max(-x, gamma, regularizer)
    assert low == -high
    assert_array_equal(q_min, q_max)


@pytest.mark.parametrize("regularizer", SMOOTH)
@given(x=vectors, gamma=gammas, data=st.data())
def test_value_is_the_maximum_over_the_simplex(regularizer, x, gamma, data):
    value, _ = smooth_max(x, gamma, regularizer)
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=len(x), max_size=len(x)))
    q = np.array(weights) / sum(weights)
    omega = q @ np.log(q) if regularizer == "entropy" else q @ q / 2
    assert value >= q @ x - gamma * omega - 1e-14 * scale(x, gamma) * len(x)


@given(x=vectors, gamma=gammas)
def test_bounds_of_the_table(x, gamma):
    d, slack = len(x), 1e-14 * scale(x, gamma) * len(x)
    for regularizer, lower, upper in (("entropy", -math.log(d), 0.0), ("l2", 1 / (2 * d), 1 / 2)):
        value, _ = smooth_max(x, gamma, regularizer)
        assert x.max() - gamma * upper - slack <= value <= x.max() - gamma * lower + slack


@pytest.mark.parametrize("regularizer", OPERATORS)
@given(x=vectors, gamma=gammas, shift=finite)
def test_a_shift_moves_the_value_and_keeps_the_gradient(regularizer, x, gamma, shift):
    size = scale(x, gamma) + abs(shift)
    assume(regularizer or abs(x[:, None] - x)[~np.eye(len(x), dtype=bool)].min(initial=1) > 1e-9)
    value, q = smooth_max(x, gamma, regularizer)
    moved, q_moved = smooth_max(x + shift, gamma, regularizer)
    assert_allclose(moved, value + shift, rtol=0, atol=1e-14 * size)
    assert_allclose(q_moved, q, rtol=0, atol=1e-13 + 4 * EPS * size / gamma)


def test_a_sole_candidate_is_its_own_value_less_half_gamma_under_l2():
    assert smooth_max([3.0], 0.5, "entropy")[0] == 3
    assert smooth_max([3.0], 0.5, "l2")[0] == 2.75
    assert smooth_min([3.0], 0.5, "l2")[0] == 3.25
    assert smooth_max([3.0], 0.5, None)[0] == 3


def test_known_values():
    assert_allclose(smooth_max([0.0, 0.0], 2.0)[0], 2 * math.log(2), rtol=1e-15)
    assert_array_equal(smooth_max([1.0, 0.5, -3.0], 1.0, "l2")[1], [0.75, 0.25, 0])
    assert_array_equal(smooth_max([0.0, 0.0, 0.0, 0.0], 1.0, "l2")[1], [0.25] * 4)


# ---- ties, infinities, extremes


@pytest.mark.parametrize("x", [0.0, 1.0, -1e17, 1e17, 1e300], ids=str)
@pytest.mark.parametrize("d", [2, 3, 5])
def test_smooth_ties_share_equally(d, x):
    for regularizer in SMOOTH:
        _, q = smooth_max(np.full(d, x), 1.0, regularizer)
        assert_allclose(q, 1 / d, rtol=1e-15)


def test_hard_ties_go_to_the_first():
    assert_array_equal(smooth_max([1.0, 2.0, 2.0], 1.0, None)[1], [0, 1, 0])
    assert_array_equal(smooth_min([2.0, 1.0, 1.0], 1.0, None)[1], [0, 1, 0])


@pytest.mark.parametrize("x", [[1e17, 0.0], [1e17, 1e17 - 16], [-1e17, 1e17], [1e30, -1e30]], ids=str)
def test_extremes_keep_the_best(regularizer, x):
    for gamma in (1e-12, 1.0):
        value, q = smooth_max(x, gamma, regularizer)
        assert_allclose(value, max(x), rtol=1e-15)
        assert_allclose(q, np.eye(2)[np.argmax(x)], rtol=0, atol=1e-6)
        assert np.all(np.isfinite(smooth_max_hvp(x, [1.0, -1.0], gamma, regularizer)))


def test_an_infinite_candidate_leaves_the_choice(regularizer, rng):
    x = rng.normal(size=5)
    z = rng.normal(size=5)
    for k in range(5):
        rest = np.arange(5) != k
        for operator, product, absent in ((smooth_max, smooth_max_hvp, -np.inf), (smooth_min, smooth_min_hvp, np.inf)):
            holed = np.where(rest, x, absent)
            value, q = operator(holed, 0.7, regularizer)
            expected, expected_q = operator(x[rest], 0.7, regularizer)
            assert_allclose(value, expected, rtol=1e-15)
            assert_allclose(q[rest], expected_q, rtol=1e-15)
            assert q[k] == 0
            curved = product(holed, z, 0.7, regularizer)
            assert_allclose(curved[rest], product(x[rest], z[rest], 0.7, regularizer), rtol=1e-13, atol=1e-15)
            assert curved[k] == 0


@pytest.mark.parametrize("d", [1, 3])
def test_without_candidates_the_value_is_infinite_and_the_gradient_zero(regularizer, d):
    for operator, product, absent in ((smooth_max, smooth_max_hvp, -np.inf), (smooth_min, smooth_min_hvp, np.inf)):
        value, q = operator(np.full(d, absent), 1.0, regularizer)
        assert value == absent
        assert_array_equal(q, np.zeros(d))
        assert_array_equal(product(np.full(d, absent), np.ones(d), 1.0, regularizer), np.zeros(d))


# ---- Hessian products


@pytest.mark.parametrize("regularizer", OPERATORS)
@given(x=vectors, gamma=gammas, data=st.data())
def test_hessian_products_match_the_twin(regularizer, x, gamma, data):
    z = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=len(x), max_size=len(x))))
    if regularizer == "l2":  # no candidate on the edge of the support, where the Hessian jumps
        q, u = reference.smooth_max(x, gamma, "l2")[1], (x - x.max()) / gamma
        tau = (u - q)[np.argmax(x)]
        assume(abs(u - tau).min() > 1e-9 + 1e-14 * scale(x, gamma) / gamma)
    expected = reference.smooth_max_hvp(x, z, gamma, regularizer).astype(float)
    tolerance = (1e-13 + 1e-14 * scale(x, gamma) / gamma) / gamma
    assert_allclose(smooth_max_hvp(x, z, gamma, regularizer), expected, rtol=0, atol=tolerance)
    assert_allclose(smooth_min_hvp(-x, z, gamma, regularizer), -expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("regularizer", SMOOTH)
def test_hessian_product_is_the_derivative_of_the_gradient(regularizer, rng):
    for d in (2, 3, 6):
        x, z = rng.normal(size=(2, d))
        difference = reference.derivative(lambda t: reference.smooth_min(x + t * z, 0.8, regularizer)[1])  # noqa: B023
        assert_allclose(smooth_min_hvp(x, z, 0.8, regularizer), difference.astype(float), rtol=0, atol=1e-10)


@pytest.mark.parametrize("regularizer", SMOOTH)
@given(x=vectors, z=vectors, w=vectors, gamma=gammas)
def test_hessian_is_symmetric_positive_and_blind_to_constants(regularizer, x, z, w, gamma):
    d = min(len(x), len(z), len(w))
    x, z, w = x[:d], z[:d], w[:d]
    Hz, Hw = smooth_max_hvp(x, z, gamma, regularizer), smooth_max_hvp(x, w, gamma, regularizer)
    size = 1e-13 * max(abs(z).max(), 1e-300) * max(abs(w).max(), 1e-300) * d / gamma
    assert_allclose(w @ Hz, z @ Hw, rtol=0, atol=size)
    assert z @ Hz >= -1e-13 * d * max(abs(z).max(), 1e-300) ** 2 / gamma
    assert_array_equal(smooth_max_hvp(x, np.full(d, 3.0), gamma, regularizer), 0)


def test_hessian_product_does_not_cancel_at_small_gamma():
    """Equal moves of all candidates bend nothing, at any gamma: the pairwise form."""
    x = np.array([0.0, 0.0, 1e-9])
    z = np.array([1e8, 1e8, 1e8])
    for regularizer in SMOOTH:
        assert_array_equal(smooth_max_hvp(x, z, 1e-8, regularizer), 0)


def test_float32_and_integers(regularizer):
    for x in (np.array([1, 2, 4]), [1, 2, 4], np.array([1, 2, 4], np.float32)):
        value, q = smooth_max(x, 1.0, regularizer)
        expected, expected_q = reference.smooth_max([1.0, 2.0, 4.0], 1.0, regularizer)
        assert_allclose(float(value), float(expected), rtol=1e-6)
        assert_allclose(q, expected_q.astype(float), rtol=0, atol=1e-6)
        kind = np.float32 if getattr(x, "dtype", None) == np.float32 else np.float64
        assert value.dtype == q.dtype == smooth_min_hvp(x, [1.0, 0.0, 2.0], 1.0, regularizer).dtype == kind


def test_inputs_stay_as_they_are(regularizer, rng):
    x, z = rng.normal(size=(2, 7))
    before = x.copy(), z.copy()
    smooth_max(x, 1.0, regularizer)
    smooth_min_hvp(x, z, 1.0, regularizer)
    assert_array_equal([x, z], before)
    x.flags.writeable = z.flags.writeable = False
    smooth_max(x[::2], 1.0, regularizer)
    smooth_max_hvp(x[::2], z[::2], 1.0, regularizer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smooth_max([]), r"x has shape \(0,\); expected \(n,\), n >= 1"),
        (lambda: smooth_min(np.zeros((2, 2))), r"x has shape \(2, 2\); expected \(n,\), n >= 1"),
        (lambda: smooth_max([1.0, np.inf]), "x holds inf at index 1; expected finite numbers or -inf"),
        (lambda: smooth_min([-np.inf, 1.0]), r"x holds -inf at index 0; expected finite numbers or \+inf"),
        (lambda: smooth_max_hvp([1.0, 2.0], [1.0]), r"direction has shape \(1,\); expected \(2,\)"),
        (lambda: smooth_min_hvp([1.0, 2.0], [1.0, np.nan]), "direction holds NaN at index 1; expected finite numbers"),
    ],
)
def test_wrong_vectors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
