"""Options: every wrong one is refused in words, and windows are their inequalities."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sdtwkit._options import (
    DEFAULT_STEPS,
    WIDEST,
    Recursion,
    check_mask,
    check_n_jobs,
    check_random_state,
    check_recursion,
    itakura_mask,
    sakoe_chiba_mask,
)

rng = np.random.default_rng(0)
nan, inf = np.nan, np.inf


class ArrayLike:
    """A foreign array: it only knows how to become an ndarray."""

    def __init__(self, data):
        self.data = data

    def __array__(self, dtype=None, copy=None):
        return np.array(self.data, dtype=dtype)


def test_defaults_of_the_recursion():
    recursion = check_recursion()
    assert recursion == Recursion(1.0, "entropy", ((0, 1), (1, 1), (1, 0)), (1.0, 1.0, 1.0), -1, None, 0, 0, None)
    assert recursion.usual
    assert not check_recursion(steps=DEFAULT_STEPS[::-1]).usual
    with pytest.raises(AttributeError):
        recursion.gamma = 2.0


@pytest.mark.parametrize("gamma", [0.1, 1, np.float32(0.5), np.array(0.5), np.int8(3), 1e-300, Fraction(1, 2)])
def test_gamma_is_any_positive_real_number(gamma):
    result = check_recursion(gamma).gamma
    assert type(result) is float
    assert result == float(gamma)


@pytest.mark.parametrize(
    ("gamma", "error"),
    [(0, ValueError), (-1.0, ValueError), (nan, ValueError), (inf, ValueError), (10**400, ValueError)]
    + [(bad, TypeError) for bad in (True, np.True_, np.array(True), "1", None, 1j, [1.0], np.ones(1), np.ones(2))],
)
def test_wrong_gamma(gamma, error):
    for regularizer in ("entropy", "l2"):
        with pytest.raises(error, match=r"^gamma is .*; expected a finite number > 0$"):
            check_recursion(gamma, regularizer)
    assert check_recursion(gamma, None).gamma == 1.0


@pytest.mark.parametrize(
    ("regularizer", "error"), [("L2", ValueError), ("", ValueError), (2, TypeError), (["l2"], TypeError)]
)
def test_wrong_regularizer(regularizer, error):
    with pytest.raises(error, match=r"^regularizer is .*; expected 'entropy', 'l2' or None$"):
        check_recursion(regularizer=regularizer)


def test_steps_and_weights_become_tuples_of_numbers():
    recursion = check_recursion(steps=np.array([[1, 0], [1, 2]]), step_weights=np.array([1, 0.5], np.float32))
    assert recursion.steps == ((1, 0), (1, 2))
    assert all(type(k) is int for step in recursion.steps for k in step)
    assert recursion.step_weights == (1.0, 0.5)
    assert all(type(w) is float for w in recursion.step_weights)
    assert check_recursion(steps=[list(step) for step in DEFAULT_STEPS], step_weights=[0, 1, 2]).usual


@pytest.mark.parametrize(
    ("steps", "error", "match"),
    [
        ((), ValueError, "steps is empty"),
        (((0, 1), (0, 0)), ValueError, r"steps\[1\] is \(0, 0\); a step must move on"),
        (((0, 1), (1, 0), (0, 1)), ValueError, r"steps\[2\] is \(0, 1\) again"),
        (((0, -1),), ValueError, r"steps\[0\] is -1; expected a pair of integers >= 0"),
        (((0, 1, 1),), ValueError, r"steps\[0\] has 3 entries"),
        (((0, 1.0),), TypeError, r"steps\[0\] is 1\.0, of type float"),
        (((0, True),), TypeError, r"steps\[0\] is True, of type bool"),
        ((0, 1), TypeError, r"steps\[0\] is 0, of type int"),
        (("01",), TypeError, r"steps\[0\] is '01'"),
        ("symmetric", TypeError, r"steps is 'symmetric'"),
        (None, TypeError, r"steps is None"),
    ],
)
def test_wrong_steps(steps, error, match):
    with pytest.raises(error, match=match):
        check_recursion(steps=steps)


@pytest.mark.parametrize(
    ("step_weights", "error", "match"),
    [
        ((1, 1), ValueError, "step_weights has 2 entries for 3 steps; expected finite numbers >= 0, one for each step"),
        ((1, 1, 1, 1), ValueError, "step_weights has 4 entries"),
        ((1, -1, 1), ValueError, r"step_weights is \(1\.0, -1\.0, 1\.0\)"),
        ((1, nan, 1), ValueError, "step_weights is .*nan"),
        ((1, inf, 1), ValueError, "step_weights is .*inf"),
        ((1, "1", 1), TypeError, "step_weights is '1', of type str"),
        ((1, None, 1), TypeError, "step_weights is None"),
        ((1, True, 1), TypeError, "step_weights is True"),
        ("111", TypeError, "step_weights is '111'"),
        (1.0, TypeError, "step_weights is 1.0, of type float"),
        (None, TypeError, "step_weights is None"),
    ],
)
def test_wrong_step_weights(step_weights, error, match):
    with pytest.raises(error, match=match):
        check_recursion(step_weights=step_weights)


def test_a_window_is_a_radius_or_a_mask():
    assert check_recursion(window=0).radius == 0
    assert check_recursion(window=np.uint8(3)).radius == 3
    assert check_recursion(window=10**30).radius == WIDEST
    mask = rng.random((3, 4)) < 0.5
    for window in (mask, mask.tolist(), np.asfortranarray(mask), ArrayLike(mask)):
        recursion = check_recursion(window=window)
        assert recursion.radius == -1
        assert recursion.mask.flags.c_contiguous
        assert recursion.mask.dtype == bool
        assert_array_equal(recursion.mask, mask[None])
    assert check_recursion(window=np.stack([mask, mask])).mask.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("window", "error", "match"),
    [
        (-1, ValueError, "window is -1; expected None, an integer >= 0 or a boolean mask"),
        (True, TypeError, "window is True, of type bool"),
        (np.True_, TypeError, "window is .*True"),
        (np.array(True), TypeError, "window is .*True"),
        (1.0, TypeError, "window is 1.0, of type float"),
        (np.float32(1), TypeError, "window is .*1.0"),
        ("sakoe_chiba", TypeError, "window is 'sakoe_chiba', of type str"),
        (np.ones((3, 4)), TypeError, "window is an array of dtype float64"),
        (np.ones((3, 4), int), TypeError, "window is an array of dtype int64"),
        ([1, 2], TypeError, "window is an array of dtype int64"),
        (np.ones(3, bool), ValueError, r"window is a mask of shape \(3,\)"),
        (np.ones((0, 4), bool), ValueError, r"window is a mask of shape \(0, 4\)"),
        (np.ones((1, 1, 2, 2), bool), ValueError, r"window is a mask of shape \(1, 1, 2, 2\)"),
    ],
)
def test_wrong_window(window, error, match):
    with pytest.raises(error, match=match):
        check_recursion(window=window)


def test_a_mask_must_fit_the_problem():
    one, many = (check_recursion(window=np.ones(shape, bool)) for shape in ((3, 4), (2, 3, 4)))
    check_mask(check_recursion(window=3), 5, 7, 9)
    check_mask(one, 5, 3, 4)
    check_mask(many, 2, 3, 4)
    expected = r"window is a mask of shape \(3, 4\); expected \(n, m\) = \(4, 3\) or \(B, n, m\) = \(2, 4, 3\)"
    with pytest.raises(ValueError, match=expected):
        check_mask(one, 2, 4, 3)
    with pytest.raises(ValueError, match=r"window is a mask of shape \(2, 3, 4\); .* = \(3, 3, 4\)"):
        check_mask(many, 3, 3, 4)


@pytest.mark.parametrize(("value", "bits"), [(False, 0), ("y", 1), ("x", 2), (True, 3), (np.True_, 3), (np.False_, 0)])
def test_open_ends_are_bits(value, bits):
    assert check_recursion(open_begin=value).open_begin == bits
    assert check_recursion(open_end=value).open_end == bits


@pytest.mark.parametrize(
    ("value", "error"),
    [("z", ValueError), ("xy", ValueError), (1, TypeError), (0.0, TypeError), (None, TypeError), (["x"], TypeError)],
)
@pytest.mark.parametrize("name", ["open_begin", "open_end"])
def test_wrong_open_ends(name, value, error):
    with pytest.raises(error, match=rf"^{name} is .*; expected False, True, 'x' or 'y'$"):
        check_recursion(**{name: value})


def test_n_jobs():
    assert [check_n_jobs(n) for n in (None, 1, 4, np.int32(2), -1)] == [1, 1, 4, 2, 0]
    for wrong in (0, -2):
        with pytest.raises(ValueError, match=rf"^n_jobs is {wrong}; expected None, -1 or an integer >= 1$"):
            check_n_jobs(wrong)
    for wrong in (1.0, "2", True, [1]):
        with pytest.raises(TypeError, match=r"^n_jobs is"):
            check_n_jobs(wrong)


def test_random_state_is_reproducible_from_every_kind_of_source():
    for make in (lambda: 7, lambda: np.int64(7), lambda: np.random.default_rng(7), lambda: np.random.RandomState(7)):
        draws = [check_random_state(make()).random(3) for _ in range(2)]
        assert_array_equal(*draws)
    generator = np.random.default_rng(7)
    assert check_random_state(generator) is generator
    state = np.random.RandomState(7)
    assert check_random_state(state).random() != check_random_state(state).random()
    assert check_random_state(None).random() != check_random_state(None).random()


@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), (1.0, TypeError), ("a", TypeError), (True, TypeError)])
def test_wrong_random_state(wrong, error):
    with pytest.raises(error, match=r"^random_state is .*; expected None, an integer >= 0"):
        check_random_state(wrong)


# ---- masks


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 35))
def test_sakoe_chiba_mask_is_its_inequality(n, m, radius):
    expected = [
        [j - i <= radius + max(m - n, 0) and i - j <= radius + max(n - m, 0) for j in range(m)] for i in range(n)
    ]
    mask = sakoe_chiba_mask(n, m, radius)
    assert mask.dtype == bool
    assert_array_equal(mask, expected)
    assert mask[0, 0]
    assert mask[-1, -1]
    assert_array_equal(mask, sakoe_chiba_mask(m, n, radius).T)


def parallelogram(n, m, max_slope):
    """The inequality of the docstring, cell by cell, with bounds in exact arithmetic before they are rounded."""
    s, t = Fraction(max_slope) * n / m, Fraction(n, m) / Fraction(max_slope)
    bound = lambda value: round(value * 100) / Fraction(100)  # noqa: E731
    return [
        [
            max(bound(t * j), bound(n - 1 - s * (m - 1 - j))) <= i <= min(bound(s * j), bound(n - 1 - t * (m - 1 - j)))
            for j in range(m)
        ]
        for i in range(n)
    ]


# Slopes for which no bound is an integer +-0.005 exactly: those ties fall as floating point has it (slope 10, m = 20).
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 1.25, 1.5, 2, 2.5, 3, 4.75, 7, 9]))
def test_itakura_mask_is_its_inequality(n, m, max_slope):
    expected = np.array(parallelogram(n, m, max_slope))
    if expected.any(axis=0).all() and expected.any(axis=1).all():
        mask = itakura_mask(n, m, max_slope)
        assert mask.dtype == bool
        assert_array_equal(mask, expected)
    else:
        with pytest.raises(ValueError, match=r"max_slope is .*; no path"):
            itakura_mask(n, m, max_slope)


def test_itakura_bounds_that_are_integers_but_for_rounding_errors_count_as_integers():
    assert itakura_mask(10, 14, 2.5)[2, 7]
    assert itakura_mask(10, 15, 2)[5, 11]
    assert itakura_mask(14, 15, 1.5)[6, 9]


@pytest.mark.parametrize("slope", [1, 1.5, 2, np.pi, 4, 10])
def test_itakura_mask_is_that_of_tslearn(slope):
    reference = pytest.importorskip("tslearn.metrics").itakura_mask
    for n in range(1, 31):
        for m in range(1, 31):
            try:
                expected = reference(n, m, max_slope=slope)
            except RuntimeWarning:
                with pytest.raises(ValueError, match="no path"):
                    itakura_mask(n, m, slope)
            else:
                assert_array_equal(itakura_mask(n, m, slope), expected)


@pytest.mark.parametrize("mask", [sakoe_chiba_mask, itakura_mask])
@pytest.mark.parametrize(
    ("n", "m", "error", "match"),
    [
        (0, 3, ValueError, "n is 0; expected an integer >= 1"),
        (3, -1, ValueError, "m is -1"),
        (3.0, 3, TypeError, "n is 3.0, of type float"),
        (3, "3", TypeError, "m is '3'"),
    ],
)
def test_wrong_sizes_of_a_mask(mask, n, m, error, match):
    with pytest.raises(error, match=match):
        mask(n, m, 2)


def test_wrong_radius_and_slope():
    for radius, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"^radius is .*; expected an integer >= 0$"):
            sakoe_chiba_mask(3, 3, radius)
    for slope, error in ((0.5, ValueError), (nan, ValueError), (inf, ValueError), ("2", TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"^max_slope is .*; expected a finite number >= 1$"):
            itakura_mask(3, 3, slope)
