"""Local costs: how far the vector x_i is from the vector y_j, and the derivatives of that number.

A cost is a small object that works on one pair of series, x (n, d) and y (m, d), and knows four equations: the matrix
C_ij = c(x_i, y_j), the product of a cotangent with its Jacobian (vjp), of its Jacobian with a tangent (jvp), and the
second derivative of <G, C> along a tangent (hvp). Everything above (soft-DTW, barycenters, estimators) differentiates
through these four and never looks inside. A new cost is a class and a line in COSTS; the tests iterate over COSTS.

The equations hold for arrays of a device as well, and there for batches: axes may come before those named here.

No distance is computed by the expansion |x|^2 - 2 x.y + |y|^2, which loses every digit on offset data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from reprlib import repr as brief
from typing import Any

import numpy as np

from ._arrays import namespace, on_device, product, transposed
from ._typing import Array, CostLike
from ._words import check_positive, other_device, special


class FusedCost(IntEnum):
    """Costs that the compiled kernels evaluate cell by cell, without a matrix; the numbers are theirs (costs.h)."""

    SQEUCLIDEAN = 1
    HALF_SQEUCLIDEAN = 2
    EUCLIDEAN = 3
    MANHATTAN = 4
    HUBER = 5
    NEG_DOT = 6


class Cost:
    """The protocol. x (n, d), y (m, d), G (n, m), dx like x and dy like y are all float32 or all float64, and finite.
    On a device all of them may be batches, (B, n, d) and so on.

    matrix(x, y) -> C (n, m)                  C_ij = c(x_i, y_j)
    vjp(x, y, G) -> gx (n, d), gy (m, d)      gx_i = sum_j G_ij c_x(x_i, y_j), gy_j = sum_i G_ij c_y(x_i, y_j)
    jvp(x, y, dx, dy) -> dC (n, m)            dC_ij = <c_x, dx_i> + <c_y, dy_j>
    hvp(x, y, G, dx, dy) -> hx, hy            hx_i = sum_j G_ij (c_xx dx_i + c_xy dy_j), hy_j likewise

    ``check(x, y, name)`` raises ValueError where y, called `name`, lies outside the domain of the cost; a door calls it
    once, the equations do not; on a device nobody does. ``fused`` is None or (FusedCost, parameter). ``symmetric``:
    c(x, y) = c(y, x) always.
    """

    fused: tuple[FusedCost, float] | None = None
    symmetric = False
    takes_batches = True  # if not, it is called pair by pair on a device, too
    y_is_differentiable = True  # if not, y and dy may be of any kind or None, and gradients in y are None

    def check(self, x: Array, y: Array, name: str) -> None:
        """Every finite y is in the domain, unless a cost says otherwise."""


# --- costs of the residual x_i - y_j -------------------------------------------------------------------------------

# Cells (row, channel, column) of a block of residuals: 512 kB in float64, in the second-level cache. At n = m = 1000,
# d = 12, 2^14 to 2^18 cells differ by less than 20 %. On a device, where each block is a few launches, 128 MB.
_BLOCK, _DEVICE_BLOCK = 1 << 16, 1 << 24


def _residuals(x, y):
    """Yield (rows, channels, r) over blocks that cover all of r (rows, channels, m), r_ikj = x_ik - y_jk.

    Time of y runs along the last axis: the inner loop is long even where d is 1.
    """
    (*batch, n, d), m = x.shape, y.shape[-2]
    y_channels = transposed(y).copy()
    block = _DEVICE_BLOCK // math.prod(batch) if on_device(x) else _BLOCK
    width = max(1, min(d, block // m))
    height = max(1, block // (m * width))
    for row in range(0, n, height):
        rows = slice(row, row + height)
        for channel in range(0, d, width):
            channels = slice(channel, channel + width)
            yield rows, channels, x[..., rows, channels, None] - y_channels[..., None, channels, :]


def _contract(x, y, terms):
    """Sum of the terms over channels: C_ij = sum_k t_ikj, for terms as `_residuals` yields them."""
    total = np.zeros_like(x, shape=(*x.shape[:-1], y.shape[-2]))
    for rows, _, term in terms:
        total[..., rows, :] += term.sum(axis=-2)
    return total


def _scatter(x, y, G, terms):
    """Give G_ij t_ikj to x_i and take it from y_j: the vjp of a function of residuals whose slopes are t."""
    grad_x, grad_y = np.zeros_like(x, np.float64), np.zeros_like(y, np.float64)
    for rows, channels, term in terms:
        weighted = G[..., rows, None, :] * term
        grad_x[..., rows, channels] += weighted.sum(axis=-1)
        grad_y[..., :, channels] -= transposed(weighted.sum(axis=-3))
    return grad_x.astype(x.dtype, copy=False), grad_y.astype(y.dtype, copy=False)


def _distances(x, y, metric):
    """SciPy's cdist: sums of differences in float64, 2.3 ms where residuals take 7 (n = m = 1000, d = 12, EPYC)."""
    if on_device(x):
        return _contract(x, y, ((*block, abs(r) if metric == "cityblock" else r * r) for *block, r in _residuals(x, y)))
    from scipy.spatial.distance import cdist  # 0.2 s to import, and only costs that are not fused come here

    return cdist(x, y, metric).astype(x.dtype, copy=False)


class _ResidualSum(Cost):
    """c = sum_k f(x_ik - y_jk); a subclass gives value = f, slope = f' and curvature = f'', elementwise; f is even."""

    symmetric = True
    value: Callable[..., Any]
    slope: Callable[..., Any]
    curvature: Callable[..., Any]

    def matrix(self, x: Array, y: Array) -> Array:
        return _contract(x, y, ((rows, channels, self.value(r)) for rows, channels, r in _residuals(x, y)))

    def vjp(self, x: Array, y: Array, G: Array) -> tuple[Array, Array]:
        return _scatter(x, y, G, ((rows, channels, self.slope(r)) for rows, channels, r in _residuals(x, y)))

    def jvp(self, x: Array, y: Array, dx: Array, dy: Array) -> Array:
        moves = zip(_residuals(x, y), _residuals(dx, dy), strict=True)
        return _contract(x, y, ((rows, channels, self.slope(r) * dr) for (rows, channels, r), (_, _, dr) in moves))

    def hvp(self, x: Array, y: Array, G: Array, dx: Array, dy: Array) -> tuple[Array, Array]:
        moves = zip(_residuals(x, y), _residuals(dx, dy), strict=True)
        bends = ((rows, channels, self.curvature(r) * dr) for (rows, channels, r), (_, _, dr) in moves)
        return _scatter(x, y, G, bends)


class _Manhattan(_ResidualSum):
    """c = sum_k |x_ik - y_jk|, slope 0 at 0."""

    fused = (FusedCost.MANHATTAN, 0.0)
    slope = staticmethod(np.sign)
    curvature = staticmethod(np.zeros_like)

    def matrix(self, x, y):
        return _distances(x, y, "cityblock")


@dataclass(frozen=True)
class Huber(_ResidualSum):
    """Huber's cost, quadratic near 0 and linear beyond: sum_k r^2/2 where |r| <= delta, else delta (|r| - delta/2).

    Parameters
    ----------
    delta : float > 0, default=1.0
        Where the cost turns linear, in units of the series.

    Raises
    ------
    TypeError, ValueError
        Where delta is not a number, or not positive and finite.

    References
    ----------
    Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35 (1), 1964.

    Examples
    --------
    >>> from sdtwkit.costs import Huber, cost_matrix
    >>> cost_matrix([0.0, 3.0], [0.0], cost=Huber(delta=2.0))
    array([[0.],
           [4.]])
    """

    delta: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "delta", check_positive(self.delta, "delta"))

    @property
    def fused(self) -> tuple[FusedCost, float]:  # type: ignore[override]
        return FusedCost.HUBER, self.delta

    def value(self, r: Array) -> Array:
        clipped = self.slope(r)
        return clipped * (r - 0.5 * clipped)  # both branches at once, and r^2 cannot overflow beyond delta

    def slope(self, r: Array) -> Array:
        return np.clip(r, -self.delta, self.delta)

    def curvature(self, r: Array) -> Array:
        return (abs(r) <= self.delta).astype(r.dtype)


class _SquaredEuclidean(Cost):
    """c = scale ||x_i - y_j||^2: the derivatives are bilinear and go through BLAS, which at n = m = 1000, d = 12 to 64
    takes a tenth of the time of residuals (vjp, float64, one thread of an EPYC: 2 and 8 ms, not 21 and 120).

    Only differences matter, so both series are first centred by one offset: the products then round relative to the
    spread of the data and not to its distance from 0.
    """

    symmetric = True

    def __init__(self, scale, fused):
        self.scale = scale
        self.fused = (fused, 0.0)

    def matrix(self, x, y):
        return self.scale * _distances(x, y, "sqeuclidean")

    def vjp(self, x, y, G):
        x, y = _centre(x, y)
        grad_x = G.sum(axis=-1, dtype=np.float64)[..., None] * x - product(G, y)
        grad_y = G.sum(axis=-2, dtype=np.float64)[..., None] * y - product(transposed(G), x)
        factor = 2.0 * self.scale
        return (factor * grad_x).astype(x.dtype, copy=False), (factor * grad_y).astype(y.dtype, copy=False)

    def jvp(self, x, y, dx, dy):
        x, y = _centre(x, y)
        dx, dy = _centre(dx, dy)
        cross = product(x, transposed(dy)) + product(dx, transposed(y))
        return 2.0 * self.scale * (_row_dot(x, dx)[..., None] + _row_dot(y, dy)[..., None, :] - cross)

    def hvp(self, x, y, G, dx, dy):
        return self.vjp(dx, dy, G)


def _centre(x, y):
    middle = 0.5 * (x.mean(axis=-2, dtype=np.float64) + y.mean(axis=-2, dtype=np.float64))
    offset = middle[..., None, :].astype(x.dtype)
    return x - offset, y - offset


def _row_dot(a, b):
    return (a * b).sum(axis=-1)


class _Euclidean(Cost):
    """c = ||x_i - y_j||. With u = (x_i - y_j) / c the gradient is u and the Hessian (I - u u^T) / c, both 0 at c = 0.

    The derivatives keep to residuals: G / c is large where two points nearly meet, and a product through BLAS would
    multiply it with the rounding of the whole spread instead of that of the residual.
    """

    fused = (FusedCost.EUCLIDEAN, 0.0)
    symmetric = True

    def matrix(self, x, y):
        return np.sqrt(_distances(x, y, "sqeuclidean")) if on_device(x) else _distances(x, y, "euclidean")

    def vjp(self, x, y, G):
        return _scatter(x, y, _ratio(G, self.matrix(x, y)), _residuals(x, y))

    def jvp(self, x, y, dx, dy):
        moves = zip(_residuals(x, y), _residuals(dx, dy), strict=True)
        products = _contract(x, y, ((rows, channels, r * dr) for (rows, channels, r), (_, _, dr) in moves))
        return _ratio(products, self.matrix(x, y))

    def hvp(self, x, y, G, dx, dy):
        distance = self.matrix(x, y)
        weight = _ratio(G, distance)
        radial = _ratio(self.jvp(x, y, dx, dy), distance)
        moves = zip(_residuals(x, y), _residuals(dx, dy), strict=True)
        bends = ((rows, channels, dr - radial[..., rows, None, :] * r) for (rows, channels, r), (_, _, dr) in moves)
        return _scatter(x, y, weight, bends)


def _ratio(numerator, distance):
    """numerator / distance, 0 where the distance is 0."""
    positive = distance > 0
    return np.where(positive, numerator, 0) / np.where(positive, distance, 1)


class _LogHalfSquaredEuclidean(Cost):
    """phi(c) = c + log(2 - exp(-c)) of c = half_sqeuclidean, which makes the soft-DTW divergence a valid one.

    phi' = 2 / (2 - exp(-c)) lies in [1, 2]; phi'' = -2 exp(-c) / (2 - exp(-c))^2 = phi' (1 - phi').
    """

    symmetric = True
    inner = _SquaredEuclidean(0.5, FusedCost.HALF_SQEUCLIDEAN)

    def _slope(self, x, y):
        return 2.0 / (2.0 - np.exp(-self.inner.matrix(x, y)))

    def matrix(self, x, y):
        c = self.inner.matrix(x, y)
        return c + np.log1p(-np.expm1(-c))

    def vjp(self, x, y, G):
        return self.inner.vjp(x, y, G * self._slope(x, y))

    def jvp(self, x, y, dx, dy):
        return self._slope(x, y) * self.inner.jvp(x, y, dx, dy)

    def hvp(self, x, y, G, dx, dy):
        slope = self._slope(x, y)
        bend = slope * (1.0 - slope) * self.inner.jvp(x, y, dx, dy)
        hx, hy = self.inner.hvp(x, y, G * slope, dx, dy)
        bend_x, bend_y = self.inner.vjp(x, y, G * bend)
        return hx + bend_x, hy + bend_y


# --- costs of products ----------------------------------------------------------------------------------------------


class _NegativeDot(Cost):
    """c = -<x_i, y_j>."""

    fused = (FusedCost.NEG_DOT, 0.0)
    symmetric = True

    def matrix(self, x, y):
        return -product(x, transposed(y))

    def vjp(self, x, y, G):
        return -product(G, y), -product(transposed(G), x)

    def jvp(self, x, y, dx, dy):
        return -(product(dx, transposed(y)) + product(x, transposed(dy)))

    def hvp(self, x, y, G, dx, dy):
        return self.vjp(dx, dy, G)


class _Cosine(Cost):
    """c = 1 - <u_i, v_j> over the directions u = x / |x|, v = y / |y|; a zero row has u = 0: cost 1, gradient 0.

    The value is ||u - v||^2 / 2, the same number, which keeps its digits at small angles and is 0 between equal rows.
    """

    symmetric = True

    def matrix(self, x, y):
        (u, x_norm), (v, y_norm) = _direction(x), _direction(y)
        cost = 0.5 * _distances(u, v, "sqeuclidean")
        return np.where((x_norm == 0)[..., None] | (y_norm == 0)[..., None, :], 1, cost)

    def vjp(self, x, y, G):
        (u, x_norm), (v, y_norm) = _direction(x), _direction(y)
        return _turn(u, x_norm, -product(G, v)), _turn(v, y_norm, -product(transposed(G), u))

    def jvp(self, x, y, dx, dy):
        (u, x_norm), (v, y_norm) = _direction(x), _direction(y)
        return -(product(_turn(u, x_norm, dx), transposed(v)) + product(u, transposed(_turn(v, y_norm, dy))))

    def hvp(self, x, y, G, dx, dy):
        (u, x_norm), (v, y_norm) = _direction(x), _direction(y)
        du, dv = _turn(u, x_norm, dx), _turn(v, y_norm, dy)
        hx = _turn_tangent(u, x_norm, -product(G, v), dx, du, -product(G, dv))
        hy = _turn_tangent(v, y_norm, -product(transposed(G), u), dy, dv, -product(transposed(G), du))
        return hx, hy


def _direction(x):
    """Rows divided by their norms, and the norms; divided by their largest entry first, so that no square overflows."""
    largest = abs(x).max(axis=-1)
    scaled = _ratio(x, largest[..., None])
    length = np.sqrt(_row_dot(scaled, scaled))
    return _ratio(scaled, length[..., None]), length * largest


def _turn(u, norm, w):
    """(I - u u^T) w / |x|, row by row: the (symmetric) derivative of the direction u = x / |x| applied to w."""
    return _ratio(w - _row_dot(u, w)[..., None] * u, norm[..., None])


def _turn_tangent(u, norm, w, dx, du, dw):
    """Derivative of _turn(u, |x|, w) as x moves by dx, u by du and w by dw."""
    along, growth = _row_dot(u, w)[..., None], _row_dot(u, dx)[..., None]
    bend = _row_dot(du, w)[..., None] * u + along * du + growth * _turn(u, norm, w)
    return _turn(u, norm, dw) - _ratio(bend, norm[..., None])


# --- costs of predictions x and targets y ---------------------------------------------------------------------------


class _BinaryCrossEntropy(Cost):
    """c = sum_k log(1 + exp(x_ik)) - x_ik y_jk, from logits x and targets y in [0, 1].

    Written over positive terms, so that nothing cancels where the prediction is right:
    c = <x+, 1 - y> + <x-, y> + sum_k log(1 + exp(-|x|)), and sigmoid(x) - y = sigmoid(x) (1 - y) - sigmoid(-x) y.
    """

    def check(self, x, y, name):
        outside = np.argwhere((y < 0) | (y > 1))
        if len(outside):
            time, channel = outside[0]
            raise ValueError(
                f"{name} holds {y[time, channel]} at time {time}, channel {channel}; expected targets in [0, 1] for "
                "cost 'bce'"
            )

    def matrix(self, x, y):
        surplus = np.log1p(np.exp(-abs(x))).sum(axis=-1)[..., None]
        wrong = product(np.maximum(x, 0), transposed(1 - y)), product(np.maximum(-x, 0), transposed(y))
        return sum(wrong) + surplus

    def vjp(self, x, y, G):
        grad_x = _sigmoid(x) * product(G, 1 - y) - _sigmoid(-x) * product(G, y)
        return grad_x, -product(transposed(G), x)

    def jvp(self, x, y, dx, dy):
        of_x = product(_sigmoid(x) * dx, transposed(1 - y)) - product(_sigmoid(-x) * dx, transposed(y))
        return of_x - product(x, transposed(dy))

    def hvp(self, x, y, G, dx, dy):
        curvature = _sigmoid(x) * _sigmoid(-x)
        return G.sum(axis=-1)[..., None] * curvature * dx - product(G, dy), -product(transposed(G), dx)


def _sigmoid(x):
    decay = np.exp(-abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


class NegativeLogLikelihood(Cost):
    """c = -x[i, y_j]: x (n, K) log-probabilities, taken as given; y (m,) or (m, 1) integer labels below K.

    A log-probability of -inf is an impossible label: cost +inf, gradient 0. On a device a label that is none costs NaN.
    """

    y_is_differentiable = False

    def check(self, x, y, name):
        wrong = np.flatnonzero((y != np.floor(y)) | (y < 0) | (y >= x.shape[1]))
        if len(wrong):
            raise ValueError(
                f"{name} holds {y.reshape(-1)[wrong[0]]:g} at time {wrong[0]}; expected integer labels from 0 to "
                f"{x.shape[1] - 1}, the columns of x, for cost 'nll'"
            )

    @staticmethod
    def _labels(y):
        return np.asarray(y).reshape(-1).astype(np.intp, copy=False)

    @staticmethod
    def _picked(x, y):
        """(..., n, m) x[i, y_j] on a device; NaN for a label that is none."""
        arrays, labels = namespace(x), transposed(y)
        right = (labels >= 0) & (labels < x.shape[-1]) & (labels == np.floor(labels))
        places = arrays.broadcast_to(np.where(right, labels, 0).astype(np.int64), (*x.shape[:-1], labels.shape[-1]))
        return np.where(right, arrays.take_along_axis(x, places, axis=-1), np.nan)

    def matrix(self, x, y):
        return 0 - (self._picked(x, y) if on_device(x) else x[:, self._labels(y)])

    def vjp(self, x, y, G):
        if on_device(x):
            one_hot = (y == namespace(x).arange(x.shape[-1])).astype(x.dtype)
            return np.where(x == -np.inf, 0, -product(G, one_hot)), None
        labels = self._labels(y)
        order = np.argsort(labels, kind="stable")  # sums over equal labels, not a (m, K) one-hot matrix
        present, first = np.unique(labels[order], return_index=True)
        grad_x = np.zeros_like(x)
        grad_x[:, present] = -np.add.reduceat(G[:, order], first, axis=1)
        grad_x[np.isneginf(x)] = 0
        return grad_x, None

    def jvp(self, x, y, dx, dy):
        dx = np.where(x == -np.inf, 0, dx)
        return 0 - (self._picked(dx, y) if on_device(x) else dx[:, self._labels(y)])

    def hvp(self, x, y, G, dx, dy):
        return np.zeros_like(x), None


class Precomputed(Cost):
    """The cost matrix itself, in the place of x; y is None."""

    y_is_differentiable = False

    def matrix(self, x, y):
        return x

    def vjp(self, x, y, G):
        return np.where(x == np.inf, 0, G), None

    def jvp(self, x, y, dx, dy):
        return np.where(x == np.inf, 0, dx)

    def hvp(self, x, y, G, dx, dy):
        return np.zeros_like(x), None


COSTS = {
    "sqeuclidean": _SquaredEuclidean(1.0, FusedCost.SQEUCLIDEAN),
    "half_sqeuclidean": _SquaredEuclidean(0.5, FusedCost.HALF_SQEUCLIDEAN),
    "euclidean": _Euclidean(),
    "manhattan": _Manhattan(),
    "cosine": _Cosine(),
    "neg_dot": _NegativeDot(),
    "huber": Huber(1.0),
    "bce": _BinaryCrossEntropy(),
    "nll": NegativeLogLikelihood(),
    "log_half_sqeuclidean": _LogHalfSquaredEuclidean(),
    "precomputed": Precomputed(),
}


class _Custom(Cost):
    """A user's object behind the protocol: its results are checked, and cast to the dtype of the series.

    Of arrays on a device it is given, and must answer, arrays there; what those hold is not looked at, as ever.
    """

    takes_batches = False

    def __init__(self, user):
        self.user = user

    def matrix(self, x, y):
        return self._checked("matrix", self.user.matrix(x, y), x, (len(x), len(y)))

    def vjp(self, x, y, G):
        return self._checked_pair("vjp", self.user.vjp(x, y, G), x, y)

    def jvp(self, x, y, dx, dy):
        return self._checked("jvp", self.user.jvp(x, y, dx, dy), x, (len(x), len(y)))

    def hvp(self, x, y, G, dx, dy):
        if not callable(getattr(self.user, "hvp", None)):
            raise TypeError(
                f"cost, of type {type(self.user).__name__}, has no method hvp(x, y, G, dx, dy), which second-order "
                "calls need"
            )
        return self._checked_pair("hvp", self.user.hvp(x, y, G, dx, dy), x, y)

    def _checked(self, method, result, x, shape):
        """What a method gave for a pair (x, y), as an array of that shape beside x."""
        if on_device(x) != on_device(result):
            came, expected = (f"a {type(value).__module__}.{type(value).__name__}" for value in (result, x))
            raise TypeError(f"{self._said(method)} {came}; expected {expected}, as its arguments are")
        if on_device(x):
            if result.device.id != x.device.id:
                raise other_device(f"what {self._called(method)} gave", result.device.id, x.device.id)
        else:
            result = np.asarray(result)
        if result.shape != shape:
            raise ValueError(f"{self._said(method)} an array of shape {result.shape}; expected {shape}")
        if result.dtype.kind not in "biuf":
            raise TypeError(f"{self._said(method)} an array of dtype {result.dtype}; expected real numbers")
        if on_device(x):
            return result.astype(x.dtype, copy=False)
        right = result > -np.inf if method == "matrix" else np.isfinite(result)
        if not right.all():
            i, j = np.unravel_index(np.argmin(right), shape)
            expected = "finite costs, or +inf to forbid a match" if method == "matrix" else "finite numbers"
            raise ValueError(
                f"{self._said(method)} {special(result[i, j])} at row {i}, column {j}; expected {expected}"
            )
        return result.astype(x.dtype, copy=False)

    def _said(self, method):
        return f"{self._called(method)} gave"

    def _called(self, method):
        return f"{method} of the cost, of type {type(self.user).__name__},"

    def _checked_pair(self, method, result, x, y):
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(f"{self._said(method)} {brief(result)}; expected a pair, of x and of y")
        gx, gy = result
        return self._checked(method, gx, x, x.shape), self._checked(method, gy, y, y.shape)


def get_cost(cost: CostLike) -> Any:
    """The cost behind a name, or behind an object of the same methods.

    Parameters
    ----------
    cost : str or object
        A name in `COSTS`, or an object with methods matrix, vjp and jvp, and for second derivatives hvp.

    Returns
    -------
    cost : object
        The one of that name; the object itself, or one that calls it and checks what it returns.

    Raises
    ------
    ValueError
        If no cost has that name.
    TypeError
        If `cost` is neither a name nor such an object.

    Examples
    --------
    >>> from sdtwkit.costs import Huber, get_cost
    >>> get_cost("huber")
    Huber(delta=1.0)
    >>> get_cost(Huber(2.0))
    Huber(delta=2.0)
    """
    if isinstance(cost, str) and cost in COSTS:
        return COSTS[cost]
    if isinstance(cost, Cost):
        return cost
    names = ", ".join(map(repr, COSTS))
    if isinstance(cost, str):
        close = difflib.get_close_matches(cost.lower(), COSTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"cost is {cost!r}; expected one of {names}, or a cost object{hint}")
    lacking = [method for method in ("matrix", "vjp", "jvp") if not callable(getattr(cost, method, None))]
    if lacking or isinstance(cost, type):
        of_type = f"of type {type(cost).__name__}"
        what = f"the class {cost.__name__}, not an instance" if isinstance(cost, type) else of_type
        without = f", without {', '.join(lacking)}" if lacking else ""
        raise TypeError(f"cost is {what}{without}; expected one of {names}, or an object with .matrix, .vjp and .jvp")
    return _Custom(cost)
