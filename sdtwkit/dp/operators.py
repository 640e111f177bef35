"""Smoothed maxima and minima of a vector, their gradients and Hessian products (Mensch & Blondel 2018, section 2).

    max_Omega(x) = max over the simplex of <q, x> - gamma Omega(q),    min_Omega(x) = -max_Omega(-x)

with Omega = sum q log q ("entropy"), |q|^2 / 2 ("l2") or 0 (None). The gradient is the maximising q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import check_vector, device_of, namespace
from .._options import check_smoothing
from .._typing import Array, Regularizer


def smooth_max(x: ArrayLike, gamma: float = 1.0, regularizer: Regularizer = "entropy") -> tuple[float, Array]:
    """Smoothed maximum of a vector and its gradient.

    Parameters
    ----------
    x : array of shape (n,)
        Candidates; -inf leaves the choice. Integers count as float64. A CuPy array is not waited for: a NaN or +inf
        there makes the value NaN.
    gamma : float > 0
        Smoothing, in units of x; ignored where the regularizer is None.
    regularizer : {"entropy", "l2", None}
        "entropy": gamma log sum exp(x / gamma), the gradient a softmax. "l2": the gradient is the Euclidean projection
        of x / gamma on the simplex, so exact zeros occur. None: the maximum itself, the gradient one-hot at the first.

    Returns
    -------
    value : float
        -inf if every candidate is. For a CuPy array one of shape ().
    gradient : array of shape (n,)
        Non-negative, of sum 1; zeros if every candidate is -inf.

    Raises
    ------
    TypeError, ValueError
        If x is not a vector of real numbers below +inf, or an option is unknown.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit.dp import smooth_max
    >>> value, gradient = smooth_max([1.0, 0.5, -3.0], regularizer="l2")
    >>> gradient
    array([0.75, 0.25, 0.  ])
    """
    x = check_vector(x, "x", largest=True)
    with device_of(x):
        return _smooth_max(x, check_smoothing(gamma, regularizer), regularizer)


def smooth_max_hvp(
    x: ArrayLike, direction: ArrayLike, gamma: float = 1.0, regularizer: Regularizer = "entropy"
) -> Array:
    """Product of the Hessian of `smooth_max` at x with a direction.

    Parameters
    ----------
    x, direction : arrays of shape (n,)
        Candidates, and the finite direction in which they move.
    gamma, regularizer
        As for `smooth_max`.

    Returns
    -------
    product : array of shape (n,)
        Of sum 0; zero for the hard maximum and for candidates outside the support.

    Raises
    ------
    TypeError, ValueError
        As for `smooth_max`, and if the shapes differ.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit.dp import smooth_max_hvp
    >>> smooth_max_hvp([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    x = check_vector(x, "x", largest=True)
    direction = check_vector(direction, "direction", like=x)
    gamma = check_smoothing(gamma, regularizer)
    with device_of(x):
        return _curve(_smooth_max(x, gamma, regularizer)[1], direction, gamma, regularizer)


def smooth_min(x: ArrayLike, gamma: float = 1.0, regularizer: Regularizer = "entropy") -> tuple[float, Array]:
    """Smoothed minimum of a vector and its gradient: minus `smooth_max` of minus x.

    Parameters
    ----------
    x : array of shape (n,)
        Candidates; +inf leaves the choice.
    gamma, regularizer
        As for `smooth_max`.

    Returns
    -------
    value : float
        +inf if every candidate is.
    gradient : array of shape (n,)
        Non-negative, of sum 1; zeros if every candidate is +inf.

    Raises
    ------
    TypeError, ValueError
        As for `smooth_max`.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit.dp import smooth_min
    >>> value, gradient = smooth_min([1.0, 1.0])
    >>> round(float(value), 4), gradient
    (0.3069, array([0.5, 0.5]))
    """
    x = check_vector(x, "x")
    with device_of(x):
        value, gradient = _smooth_max(-x, check_smoothing(gamma, regularizer), regularizer)
        return -value, gradient


def smooth_min_hvp(
    x: ArrayLike, direction: ArrayLike, gamma: float = 1.0, regularizer: Regularizer = "entropy"
) -> Array:
    """Product of the Hessian of `smooth_min` at x with a direction: minus that of `smooth_max` at minus x.

    Parameters
    ----------
    x, direction : arrays of shape (n,)
        Candidates, and the finite direction in which they move.
    gamma, regularizer
        As for `smooth_max`.

    Returns
    -------
    product : array of shape (n,)

    Raises
    ------
    TypeError, ValueError
        As for `smooth_max_hvp`.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit.dp import smooth_min_hvp
    >>> smooth_min_hvp([0.0, 0.0], [1.0, 0.0])
    array([-0.25,  0.25])
    """
    x = check_vector(x, "x")
    direction = check_vector(direction, "direction", like=x)
    gamma = check_smoothing(gamma, regularizer)
    with device_of(x):
        return -_curve(_smooth_max(-x, gamma, regularizer)[1], direction, gamma, regularizer)


def _smooth_max(x, gamma, regularizer):
    """Without a branch on the numbers, which may lie on a device."""
    arrays = namespace(x)
    high = x.max()
    reached = high > -np.inf
    if regularizer is None:
        return high, ((arrays.arange(len(x)) == x.argmax()) & reached).astype(x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        u = np.where(reached, (x - high) / gamma, -np.inf)  # <= 0, exactly 0 at the best, -inf off the support
    if regularizer == "entropy":
        weights = np.exp(u)
        total = np.maximum(weights.sum(), 1)  # 0 if there are no candidates
        return high + gamma * np.log(total), weights / total
    u = np.maximum(u, -2)  # candidates gamma below the best are never in the support
    below = arrays.cumsum(arrays.sort(u)[::-1]) - 1
    tau = (below / arrays.arange(1, len(x) + 1, dtype=x.dtype)).max()
    q = np.where(reached, np.maximum(u - tau, 0), 0)
    return high + gamma * ((q * u).sum() - (q * q).sum() / 2), q


def _curve(q, z, gamma, regularizer):
    """Hess_max(q) z. Differences to one candidate of the support first: the printed q z - q <q, z> cancels."""
    arrays = namespace(q)
    if regularizer is None:
        return np.zeros_like(q)
    weights = q if regularizer == "entropy" else (q > 0).astype(q.dtype)
    z = np.where(weights > 0, z - arrays.take(z, q.argmax()), 0)
    total = weights.sum()
    return weights * (z - (weights * z).sum() / np.where(total > 0, total, 1)) / gamma
