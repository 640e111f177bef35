"""Errors of warps: exact integrals are what fine numeric ones approach, gradients what differences are."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.metrics import time_deviation, time_error, time_error_and_grad


@pytest.fixture
def warps(rng):
    """Irregular times, and two warps that cross, touch and part."""
    times = np.cumsum(rng.uniform(0.05, 1, 40)) - 3
    true = np.cumsum(rng.uniform(0, 1, 40))
    warp = true + rng.normal(size=40)
    warp[10:13] = true[10:13]
    return true, warp, times


def integrated(f, true, warp, times):
    """Mean of f(error) over 10^6 midpoints: the twin."""
    fine = np.linspace(times[0], times[-1], 10**6 + 1)
    middle = (fine[1:] + fine[:-1]) / 2
    return f(np.interp(middle, times, warp) - np.interp(middle, times, true)).mean()


def test_time_error_is_the_integral_of_the_absolute_error(warps):
    assert_allclose(time_error(*warps), integrated(np.abs, *warps), rtol=1e-8)


def test_time_deviation_is_the_root_of_the_integral_of_the_square(warps):
    assert_allclose(time_deviation(*warps), np.sqrt(integrated(np.square, *warps)), rtol=1e-8)


def test_deviation_is_not_below_error_and_equals_a_constant(warps):
    true, _, times = warps
    assert time_deviation(*warps) >= time_error(*warps)
    assert_allclose([time_error(true, true - 2, times), time_deviation(true, true - 2, times)], 2)


def test_extra_knots_change_nothing(warps):
    true, warp, times = warps
    finer = np.sort(np.append(times, (times[1:] + times[:-1]) / 2))
    for measure in (time_error, time_deviation):
        there = (np.interp(finer, times, values) for values in (true, warp))
        assert_allclose(measure(*there, finer), measure(*warps))


def test_gradient_is_that_of_finite_differences(warps):
    true, warp, times = warps
    value, gradient = time_error_and_grad(*warps)
    assert value == time_error(*warps)
    h = 1e-6
    differences = [
        (time_error(true, warp + h * e, times) - time_error(true, warp - h * e, times)) / (2 * h) for e in np.eye(40)
    ]
    assert_allclose(gradient, differences, atol=1e-6)


def test_equal_warps_have_no_error_and_no_gradient(warps):
    true, _, times = warps
    error, gradient = time_error_and_grad(true, true, times)
    assert error == 0
    assert_array_equal(gradient, 0)


@pytest.mark.parametrize("kind", ["array", "list"])
@pytest.mark.parametrize("shared", [True, False])
def test_collections_are_judged_item_by_item(kind, shared, rng):
    times = np.cumsum(rng.uniform(0.1, 1, (3, 8)), axis=1)
    true, warp = rng.normal(size=(2, 3, 8))
    if kind == "list":
        true, warp = list(true), list(warp)
    given = times[0] if shared else times
    expected = [time_error(true[b], warp[b], times[0 if shared else b]) for b in range(3)]
    assert_array_equal(time_error(true, warp, given), expected)
    errors, gradients = time_error_and_grad(true, warp, given)
    assert_array_equal(errors, expected)
    assert isinstance(gradients, np.ndarray) == (kind == "array")
    for b in range(3):
        assert_array_equal(gradients[b], time_error_and_grad(true[b], warp[b], times[0 if shared else b])[1])


def test_ragged_collections():
    true, warp = [np.zeros(3), np.zeros(2)], [np.ones(3), np.full(2, 2.0)]
    times = [np.arange(3), np.arange(2)]
    assert_allclose(time_error(true, warp, times), [1, 2])
    assert_allclose(time_deviation(true, warp, times), [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0, 1, 2], [0, 1, 2]), r"warp_true has shape \(2,\), warp \(3,\); expected the same \(n,\), n >= 2"),
        (([0], [0], [0]), "n >= 2"),
        (([0, 1], [0, np.nan], [0, 1]), r"warp holds NaN at index \(1\)"),
        (([0, 1], None, [0, 1]), r"warp is None, of type NoneType; expected an array \(n,\) or \(B, n\), or a list"),
        (([0, 1], [0, 1], []), "times is empty"),
        (([0, 1], ["a", "b"], [0, 1]), "warp has dtype <U1; expected real numbers"),
        (([0, 1, 2], [0, 1, 2], [0, 1, 1]), "times do not increase at index 2"),
        (([[0, 1]] * 2, [[0, 1]] * 3, [0, 1]), "numbers of warps differ: {'warp_true': 2, 'warp': 3}"),
        (([[0, 1]] * 2, [[0, 1]] * 2, [[0, 1], [1, 0]]), r"times\[1\] do not increase at index 1"),
    ],
)
def test_malformed_warps_are_refused(arguments, message):
    for measure in (time_error, time_deviation, time_error_and_grad):
        with pytest.raises((TypeError, ValueError), match=message):
            measure(*arguments)
