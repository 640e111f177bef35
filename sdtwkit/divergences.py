"""Divergences between series: an alignment loss, less the mean of what each series loses against itself.

    D(X, Y) = F(C(X, Y)) - F(C(X, X)) / 2 - F(C(Y, Y)) / 2

F is soft-DTW itself ("soft"), the expected cost of a random path ("sharp"), or the mean cost of all paths ("mean"):
Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021. The functions named `term_*`
compute F and its gradients for series that were checked before; matrices and barycenters build on them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _backend, _blocks, _options, _words
from ._local_costs import Cost
from ._typing import Arrays, CostLike, Kind, Lengths, OpenEnds, Regularizer, StepWeights, Value, Window
from .costs import CostPairs, get_cost

KINDS = ("soft", "sharp", "mean")
# exp(-cost / gamma) is 1 at this gamma, so that all paths weigh the same: "mean" is the limit of "sharp". Paths are
# counted in mantissas and exponents, so no length overflows. At 1e300 products of gamma's low digits would be
# subnormal, and twice as slow.
_UNIFORM = 1e250
# Tables of costs and gradients are made for so many cells at a time: they stay near the caches; on a device, where each
# block is some launches, they take some hundred megabytes.
_BLOCK_CELLS, _DEVICE_CELLS = 1 << 20, 1 << 25


class Term(NamedTuple):
    """F, as a function of two series: made by `as_term`, handed to the functions `term_*`."""

    kind: str
    cost: Cost
    recursion: _options.Recursion

    @property
    def symmetric(self):
        """Whether F(C(x, y)) = F(C(y, x))."""
        rules = self.recursion
        left, _, up = rules.step_weights
        same_ends = {rules.open_begin, rules.open_end} <= {0, 3}
        # A mask on a device is not waited for: without symmetry both arguments' gradients are computed.
        same_mask = rules.mask is None or (
            not _arrays.on_device(rules.mask) and np.array_equal(rules.mask, rules.mask.transpose(0, 2, 1))
        )
        return self.cost.symmetric and left == up and same_ends and same_mask


def kind_of(divergence):
    """The kind that an option `divergence` stands for; None for False, which is soft-DTW itself."""
    if isinstance(divergence, bool):
        return "soft" if divergence else None
    if isinstance(divergence, str) and divergence in KINDS:
        return divergence
    raise _words.wrong_choice(divergence, "divergence", "False, True, 'soft', 'sharp' or 'mean'")


def as_term(kind, cost, recursion):
    """Check a kind; the cost is a `Cost` that compares two series, the recursion checked."""
    _words.check_choice(kind, "kind", KINDS)
    if not cost.y_is_differentiable:
        raise _words.one_sided_cost()
    if kind == "mean":
        recursion = replace(recursion, gamma=_UNIFORM, regularizer="entropy")
    return Term(kind, cost, recursion)


def soft_dtw_divergence(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    *,
    kind: Kind = "soft",
    debias: bool = True,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "half_sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> Value:
    """Soft-DTW divergence of two series: what aligning them costs beyond aligning each with itself.

    With the costs C of matching samples and the loss F that `kind` names [1]_,

        D(x, y) = F(C(x, y)) - F(C(x, x)) / 2 - F(C(y, y)) / 2.

    Where x is y it is 0, exactly: rounding leaves no digit.

    Parameters
    ----------
    x, y, x_lengths, y_lengths, n_jobs
        As for `dtw`.
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost; "mean" does not depend on it.
    kind : {"soft", "sharp", "mean"}
        F(C) is soft-DTW; or <H, C> with its gradient H, for unit weights the expected cost of a path drawn with weight
        exp(-cost / gamma); or the mean cost of all paths, the limit of "sharp" for large gamma.
    debias : bool, default True
        False gives F(C(x, y)) alone.
    regularizer : {"entropy", "l2", None}
        As for `soft_dtw`; "mean" does not depend on it.
    cost : str or object, default "half_sqeuclidean"
        As for `dtw`, but "precomputed" and "nll" do not compare two series.
    window, step_weights, open_begin, open_end
        As for `dtw`, for all three terms alike: a mask must be square, unless debias is False.

    Returns
    -------
    value : NumPy scalar, or array of shape (B,)
        float32 where x and y are, else float64. The terms can be many times their difference, so float32 series are
        computed in float64 and the result is rounded.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or the window admits no path.

    Notes
    -----
    The soft divergence is proven to be positive unless x is y for cost "log_half_sqeuclidean" and gamma 1 [1]_. With
    other costs or gammas it can be a little below 0, between series that differ little, and so can "sharp"; "mean" can
    between series of different lengths.

    References
    ----------
    .. [1] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_divergence
    >>> x, y = [0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 3.0]
    >>> [round(float(soft_dtw_divergence(x, y, kind=kind)), 3) for kind in ("soft", "sharp", "mean")]
    [0.688, 0.592, 0.362]
    >>> float(soft_dtw_divergence(x, x))
    0.0
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = _Call(x, y, kind, debias, cost, recursion, x_lengths, y_lengths, n_jobs)
    with call.place():
        values = call.admissible(term_values(call.term, call.x, call.y, call.n_jobs))
        if call.debias:
            own = [call.admissible(self_values(call.term, side, call.n_jobs)) for side in (call.x, call.y)]
            values -= 0.5 * (own[0] + own[1])
        return call.answer(values)


def soft_dtw_divergence_value_and_grad(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    *,
    kind: Kind = "soft",
    debias: bool = True,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "half_sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Value, Arrays, Arrays]:
    """Soft-DTW divergence and its gradients with respect to both series.

    Parameters
    ----------
    x, y, gamma, kind, debias, regularizer, cost
        As for `soft_dtw_divergence`.
    window, step_weights, open_begin, open_end, x_lengths, y_lengths, n_jobs
        As for `soft_dtw_divergence`.

    Returns
    -------
    value : NumPy scalar, or array of shape (B,)
    grad_x, grad_y : arrays or lists of arrays with the shapes of x and y
        Zeros in the padding.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_divergence`.

    Notes
    -----
    The gradient of the sharp F = <H, C> with respect to C is H + Hess C, where Hess is the second derivative of
    soft-DTW. Where x is y the gradients are exactly 0, as long as F does not tell its arguments apart: a symmetric cost
    (and mask), equal weights for left and up, both ends open alike; without a regularizer also a cost that is least
    between equal samples. Kinds "sharp" and "mean" keep tables of the size n m; "soft" keeps none for the costs that
    `soft_dtw_value_and_grad` names.

    References
    ----------
    Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_divergence_value_and_grad
    >>> value, grad_x, grad_y = soft_dtw_divergence_value_and_grad([0.0, 1.0], [0.0, 3.0], kind="sharp")
    >>> grad_y.round(2)
    array([-0.38,  2.04])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = _Call(x, y, kind, debias, cost, recursion, x_lengths, y_lengths, n_jobs)
    with call.place():
        values, grad_x, grad_y = term_value_and_grad(call.term, call.x, call.y, call.n_jobs)
        call.admissible(values)
        if call.debias:
            x_values, half_x = self_value_and_grad(call.term, call.x, call.n_jobs, side=0)
            y_values, half_y = self_value_and_grad(call.term, call.y, call.n_jobs, side=1)
            values -= 0.5 * (call.admissible(x_values) + call.admissible(y_values))
            grad_x -= half_x
            grad_y -= half_y
        return call.answer(values), *call.gradients(grad_x, grad_y)


class _Call:
    """One call of a divergence: its arguments checked, its series in the dtype that is computed in."""

    def __init__(self, x, y, kind, debias, cost, recursion, x_lengths, y_lengths, n_jobs):
        self.n_jobs = _blocks.threads(n_jobs)
        self.term = as_term(kind, get_cost(cost), recursion)
        self.debias = debias = _words.check_flag(debias, "debias")
        self.pairs = pairs = CostPairs(x, y, self.term.cost, x_lengths, y_lengths)
        _options.check_mask(recursion, *pairs.shape)
        self.x, self.y = pairs.x, pairs.y
        if debias:
            check_self_terms(self.term, pairs.shape)
            check_domain(self.term, pairs.x, "x")
        if debias or kind == "mean":
            with self.place():
                self.x, self.y = self.x.astype(np.float64), self.y.astype(np.float64)

    def place(self):
        """Where it is computed: the device of the series, if they lie on one."""
        return _arrays.device_of(self.pairs.x.data)

    def admissible(self, values):
        """(B,) values of a term, if every pair has a path; those of a device are not waited for."""
        if not _arrays.on_device(values) and np.isinf(values).any():
            raise _words.no_admissible_path(values, self.pairs.single)
        return values

    def answer(self, values):
        """(B,) values in the caller's form and dtype."""
        values = narrowed(values, self.pairs.dtype)
        return values[0] if self.pairs.single else values

    def gradients(self, grad_x, grad_y):
        pairs = self.pairs
        return pairs.x.like(narrowed(grad_x, pairs.dtype)), pairs.y.like(narrowed(grad_y, pairs.dtype))


def narrowed(array, dtype):
    """`array` in the dtype of the series it belongs to."""
    return array if array.dtype == dtype else _arrays.narrowed(array, dtype)


def check_self_terms(term, shape):
    """Refuse a mask that says nothing about a series aligned with itself; `shape` ends with its (n, m)."""
    n, m = shape[-2:]
    if term.recursion.mask is not None and n != m:
        raise ValueError(
            f"window is a mask of shape {(n, m)}, which does not say how a series may be aligned with itself; expected "
            "a square mask, a radius, or debias=False"
        )


def check_domain(term, x, name):
    """A series aligned with itself is the second argument of the cost, too."""
    if type(term.cost).check is Cost.check or _arrays.on_device(x.data):
        return
    for b in range(len(x)):
        term.cost.check(x.item(b), x.item(b), name if x.form == "single" else f"{name}[{b}]")


# ---- terms: F of series that were checked, all of one dtype; float64 for "mean", where gamma needs the range


def term_values(term, x, y, n_jobs=1, i=None, j=None):
    """(P,) values F(C(x[i_k], y[j_k])) of two Series; without i and j, (P,) int64, item by item.

    +inf where no path is admissible. `n_jobs` is what `_blocks.threads` gives.
    """
    solve = _backend.values if term.kind == "soft" else _backend.sharp_values
    if term.cost.fused:
        return solve(_fused(term, x, y, i, j), n_jobs)
    if i is None:
        i = j = np.arange(len(x))
    blocks = _pair_blocks(x, y, i, j)
    values = [solve(_posed(_of_block(term, k), x, y, i[k], j[k]), n_jobs) for k in blocks]
    with _arrays.device_of(x.data):
        return _arrays.namespace(x.data).concatenate(values)


def term_value_and_grad(term, x, y, n_jobs=1, sides=_backend.BOTH):
    """(B,) values F(C(x_b, y_b)), and their gradients laid out as the data of x and of y.

    sides : which of the two are wanted; the other may be None.
    """
    if term.cost.fused:
        solve = _backend.series_gradients if term.kind == "soft" else _backend.sharp_series_gradients
        return solve(_fused(term, x, y), n_jobs, sides)
    solve = _backend.matrix_gradients if term.kind == "soft" else _backend.sharp_matrix_gradients
    every, arrays = np.arange(len(x)), _arrays.namespace(x.data)
    with _arrays.device_of(x.data):
        if _at_once(term, x):
            problem = _posed(term, x, y, every, every)
            values, gradient = solve(problem, problem.given.shape)
            grad_x, grad_y = term.cost.vjp(x.padded(x.data), y.padded(y.data), gradient)
            return values, x.unpadded(grad_x), y.unpadded(grad_y)
        values, grad_x, grad_y = arrays.empty(len(x), x.dtype), np.zeros_like(x.data), np.zeros_like(y.data)
        for block in _pair_blocks(x, y, every, every):
            pairs = every[block]
            problem = _posed(_of_block(term, block), x, y, pairs, pairs)
            values[block], gradient = solve(problem, problem.given.shape, n_jobs)
            for b, G in zip(pairs.tolist(), gradient, strict=True):
                n, m, i, j = x.lengths[b], y.lengths[b], x.starts[b], y.starts[b]
                vjp = term.cost.vjp(x.item(b), y.item(b), arrays.ascontiguousarray(G[:n, :m]))
                grad_x[i : i + n], grad_y[j : j + m] = vjp
    return values, grad_x, grad_y


def self_values(term, x, n_jobs=1):
    """(B,) values F(C(x_b, x_b))."""
    return term_values(term, x, _twin(x), n_jobs)


def self_value_and_grad(term, x, n_jobs=1, side=0):
    """(B,) values F(C(x_b, x_b)), and half of their gradients, laid out as the data of x.

    Where F is symmetric and smooth, both arguments have the same gradient, but for rounding: it is that of the argument
    `side`, from whose gradient it will be subtracted, where an equal series has left exactly the same number. Of two
    mirrored paths the hard minimum takes one, so its arguments differ.
    """
    if term.symmetric and term.recursion.regularizer is not None:
        values, *gradients = term_value_and_grad(term, x, _twin(x), n_jobs, (side == 0, side == 1))
        return values, gradients[side]
    values, grad_x, grad_y = term_value_and_grad(term, x, _twin(x), n_jobs)
    return values, 0.5 * (grad_x + grad_y)


def _twin(x):
    """x again, in memory of its own: NumPy computes x @ x.T otherwise than x @ y.T, and it rounds otherwise."""
    return _arrays.Series(x.data.copy(), x.starts, x.lengths, x.form, x.shape)


def _fused(term, x, y, i=None, j=None):
    return _backend.Problem(term.recursion, x.lengths, y.lengths, x.dtype, x, y, term.cost.fused, None, i, j)


# ---- costs that the kernels do not know, in tables


def _at_once(term, x):
    """Whether a call of the cost serves many pairs, on a device; else they are taken one by one."""
    return _arrays.on_device(x.data) and term.cost.takes_batches


def _pair_blocks(x, y, i, j):
    """Slices of the pairs, so that a table of each is not too large."""
    if _arrays.on_device(x.data):
        step = max(1, _DEVICE_CELLS // (x.n_rows * y.n_rows))
    else:
        step = max(1, _BLOCK_CELLS // int(x.lengths[i].max() * y.lengths[j].max()))
    return [slice(first, min(first + step, len(i))) for first in range(0, len(i), step)]


def _of_block(term, block):
    """The term of some pairs: a mask for each pair is cut with them."""
    mask = term.recursion.mask
    if mask is None or len(mask) == 1:
        return term
    return term._replace(recursion=replace(term.recursion, mask=mask[block]))


def _posed(term, x, y, i, j):
    """The problem of pairs (x[i_k], y[j_k]), with their costs (P, n, m), whatever those are beyond the lengths."""
    if _at_once(term, x):
        with _arrays.device_of(x.data):
            (x, rows), (y, columns) = _chosen(x, i), _chosen(y, j)
            C = _arrays.namespace(x).ascontiguousarray(term.cost.matrix(x, y))
        return _backend.Problem(term.recursion, rows, columns, C.dtype, given=C)
    rows, columns = x.lengths[i], y.lengths[j]
    with _arrays.device_of(x.data):
        C = _arrays.namespace(x.data).zeros((len(i), rows.max(), columns.max()), x.dtype)
        for table, n, m, a, b in zip(C, rows.tolist(), columns.tolist(), i.tolist(), j.tolist(), strict=True):
            table[:n, :m] = term.cost.matrix(x.item(a), y.item(b))
    return _backend.Problem(term.recursion, rows, columns, x.dtype, given=C)


def _chosen(x, i):
    """Series of a device by their indices: (P, n, d), and their lengths (P,), which may lie there or not."""
    at = _arrays.beside(i, x.data)
    return x.padded(x.data)[at], x.lengths[at if _arrays.on_device(x.lengths) else i]
