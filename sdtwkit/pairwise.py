"""Alignment of all pairs of two collections.

The matrix is computed tile by tile, some rows by some columns, so that memory does not grow with it and tiles can be
handed to the workers of a joblib backend. A symmetric comparison of a collection with itself computes each pair once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _blocks, _options, _words, divergences
from ._typing import Array, CostLike, Kind, Lengths, OpenEnds, Regularizer, StepWeights, Window
from .costs import get_cost


def cdist_dtw(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    X_lengths: Lengths = None,
    Y_lengths: Lengths = None,
    out: Array | None = None,
    n_jobs: int | None = None,
) -> Array:
    """Dynamic time warping between all series of two collections.

    Parameters
    ----------
    X, Y : array of shape (B, n, d) or (B, n), or list of series
        Collections; a 2-D array is B univariate series. Y=None compares X with itself and computes each pair once.
    cost, window, step_weights, open_begin, open_end
        As for `dtw`; a mask is one (n, m) array for all pairs, and cost "precomputed" is not possible.
    X_lengths, Y_lengths : array of integers, optional
        True lengths within padded arrays.
    out : array of shape (len(X), len(Y)), optional
        Where to write the distances, of the dtype they have: memory beside it is bounded, so it can be a numpy.memmap
        of any size.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use. Under ``joblib.parallel_config(backend="dask")``, "loky" or
        "multiprocessing", tiles of a large matrix go to the workers of that backend instead.

    Returns
    -------
    distances : array of shape (len(X), len(Y))
        float32 where X and Y are, else float64; `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        As for `dtw`, and if `out` does not fit.

    References
    ----------
    Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition, IEEE TASSP 1978.

    Examples
    --------
    >>> from sdtwkit import cdist_dtw
    >>> cdist_dtw([[0.0, 1.0], [0.0, 1.0, 1.0], [2.0, 2.0]])
    array([[0., 0., 5.],
           [0., 0., 6.],
           [5., 6., 0.]])
    """
    recursion = _options.check_recursion(
        regularizer=None, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    return _cdist(X, Y, divergences.as_term("soft", get_cost(cost), recursion), X_lengths, Y_lengths, out, n_jobs)


def cdist_soft_dtw(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    X_lengths: Lengths = None,
    Y_lengths: Lengths = None,
    out: Array | None = None,
    n_jobs: int | None = None,
) -> Array:
    """Soft-DTW between all series of two collections.

    Parameters
    ----------
    X, Y, X_lengths, Y_lengths
        As for `cdist_dtw`. With Y=None the diagonal is computed: soft-DTW of a series with itself is not 0.
    gamma, regularizer
        As for `soft_dtw`.
    cost, window, step_weights, open_begin, open_end, out, n_jobs
        As for `cdist_dtw`.

    Returns
    -------
    values : array of shape (len(X), len(Y))

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`, and if `out` does not fit.

    References
    ----------
    Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit import cdist_soft_dtw
    >>> cdist_soft_dtw([[0.0, 1.0], [0.0, 1.0, 1.0]], gamma=1.0).round(2)
    array([[-0.55, -0.81],
           [-0.81, -1.83]])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    return _cdist(X, Y, divergences.as_term("soft", get_cost(cost), recursion), X_lengths, Y_lengths, out, n_jobs)


def cdist_soft_dtw_divergence(
    X: ArrayLike,
    Y: ArrayLike | None = None,
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
    X_lengths: Lengths = None,
    Y_lengths: Lengths = None,
    out: Array | None = None,
    n_jobs: int | None = None,
) -> Array:
    """Soft-DTW divergence between all series of two collections.

    The losses of the series against themselves are computed once each, not once for every pair.

    Parameters
    ----------
    X, Y, X_lengths, Y_lengths
        As for `cdist_dtw`. With Y=None the diagonal is exactly 0 (unless debias is False).
    gamma, kind, debias, regularizer
        As for `soft_dtw_divergence`.
    cost : str or object, default "half_sqeuclidean"
        As for `soft_dtw_divergence`.
    window, step_weights, open_begin, open_end, out, n_jobs
        As for `cdist_dtw`; a mask must be square.

    Returns
    -------
    values : array of shape (len(X), len(Y))

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_divergence`, and if `out` does not fit.

    References
    ----------
    Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import cdist_soft_dtw_divergence
    >>> cdist_soft_dtw_divergence([[0.0, 1.0], [0.0, 1.0, 1.0], [2.0, 2.0]]).round(2)
    array([[0.  , 0.31, 2.89],
           [0.31, 0.  , 3.42],
           [2.89, 3.42, 0.  ]])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    term = divergences.as_term(kind, get_cost(cost), recursion)
    return _cdist(X, Y, term, X_lengths, Y_lengths, out, n_jobs, debias)


# ---- tiles

# A tile is some tenths of a second of work on one thread, and its indices and values take a few megabytes: enough to be
# worth a journey, little enough to be lost with a worker. It must not depend on n_jobs (see `_blocks`).
_TILE_CELLS = 1 << 28
_TILE_PAIRS = 1 << 17


def _cdist(X, Y, term, X_lengths, Y_lengths, out, n_jobs, debias=False):
    _options.check_n_jobs(n_jobs)
    debias = _words.check_flag(debias, "debias")
    X, Y = _arrays.as_collection_pair(X, Y, X_lengths, Y_lengths)
    _arrays.check_collection_cost(term.cost, X, Y)
    dtype, within = X.dtype, Y is None
    if debias or term.kind == "mean":
        with _arrays.device_of(X.data):
            X, Y = X.astype(np.float64), None if within else Y.astype(np.float64)
    Y, name = (X, "X") if within else (Y, "Y")
    _options.check_mask(term.recursion, 1, X.n_rows, Y.n_rows)
    result = _result((len(X), len(Y)), dtype, out, X)
    if _arrays.on_device(X.data):
        _fill_on_device(result, X, Y, term, debias)
        return result
    if debias:
        divergences.check_self_terms(term, (X.n_rows, Y.n_rows))
        divergences.check_domain(term, X, "X")
        x_half = _half_self_values(term, X, "X", n_jobs)
        y_half = x_half if within else _half_self_values(term, Y, "Y", n_jobs)
    triangular = within and term.symmetric
    for rows, columns, values in _tiles(term, X, Y, triangular, debias, n_jobs):
        if np.isinf(values).any():
            i, j = np.argwhere(np.isinf(values))[0]
            raise _words.no_path_between(f"X[{rows.start + i}]", f"{name}[{columns.start + j}]")
        if debias:
            values = values - (x_half[rows, None] + y_half[columns])
        result[rows, columns] = values = divergences.narrowed(values, dtype)
        if triangular and rows != columns:
            result[columns, rows] = values.T
    if debias and within:
        np.fill_diagonal(result, 0)
    return result


def _result(shape, dtype, out, X):
    """`out` if it fits, else a new array, where X lies."""
    arrays = _arrays.namespace(X.data)
    if out is None:
        with _arrays.device_of(X.data):
            return arrays.empty(shape, dtype)
    if not isinstance(out, arrays.ndarray):
        kind = "a NumPy array" if arrays is np else "a CuPy array"
        raise _words.wrong_type(out, "out", f"{kind} of shape {shape} and dtype {dtype}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out has shape {out.shape} and dtype {out.dtype}; expected shape {shape} and dtype {dtype}")
    if arrays is np and not out.flags.writeable:
        raise ValueError("out is read-only; expected an array that can be written to")
    return out


# On a device one launch serves as many pairs as a quarter of a gigabyte has room for the rows between their strips.
_DEVICE_NODES = 1 << 24


def _fill_on_device(result, X, Y, term, debias):
    """The whole matrix, many pairs a launch; nothing is waited for, so a pair without a path gets +inf (or NaN)."""
    if debias:
        divergences.check_self_terms(term, (X.n_rows, Y.n_rows))
    arrays, triangular = _arrays.namespace(X.data), Y is X and term.symmetric
    with _arrays.device_of(X.data):
        if debias:
            x_half = 0.5 * divergences.self_values(term, X)
            y_half = x_half if Y is X else 0.5 * divergences.self_values(term, Y)
        for rows in _cut(X, max(1, _DEVICE_NODES // (Y.n_rows * len(Y)))):
            i, j = np.divmod(np.arange(rows.start * len(Y), rows.stop * len(Y)), len(Y))
            if triangular:
                i, j = i[j >= i], j[j >= i]
            values = divergences.term_values(term, X, Y, i=i, j=j)
            i, j = arrays.asarray(i), arrays.asarray(j)
            if debias:
                values -= x_half[i] + y_half[j]
            result[i, j] = values
            if triangular:
                result[j, i] = values
        if debias and Y is X:
            arrays.fill_diagonal(result, 0)


def _half_self_values(term, X, name, n_jobs):
    """(len(X),) halves of F(C(x, x)), in blocks as large as tiles."""
    jobs = ((term, _blocks.part(X, some.start, some.stop)) for some in _cut(X, _pairs_of_a_tile(X, X)))
    values = np.concatenate(list(_blocks.map(divergences.self_values, jobs, n_jobs)))
    if np.isinf(values).any():
        raise _words.no_path_between(f"{name}[{np.argmax(np.isinf(values))}]", "itself")
    return 0.5 * values


def _tiles(term, X, Y, triangular, debias, n_jobs):
    """Yield (rows, columns, values) that cover the matrix; if it is triangular, the part on and above its diagonal."""
    pairs = _pairs_of_a_tile(X, Y)
    height = min(len(X), math.isqrt(pairs))
    width = height if triangular else pairs // height
    places = [(r, c) for r in _cut(X, height) for c in _cut(Y, width) if not triangular or r.start <= c.start]

    def jobs():
        for r, c in places:
            x = _blocks.part(X, r.start, r.stop)
            yield term, x, None if triangular and r == c else _blocks.part(Y, c.start, c.stop), debias

    for (r, c), values in zip(places, _blocks.map(_tile, jobs(), n_jobs), strict=True):
        yield r, c, values


def _tile(term, x, y, debias, n_jobs):
    """(len(x), len(y)) values; y None is x, where each pair is computed once and, to be debiased, none with itself."""
    if y is None:
        i, j = np.triu_indices(len(x), k=int(debias))
        i, j = np.ascontiguousarray(i), np.ascontiguousarray(j)
        values = np.zeros((len(x), len(x)), x.dtype)
        if len(i):
            values[i, j] = values[j, i] = divergences.term_values(term, x, x, n_jobs, i, j)
        return values
    i, j = np.divmod(np.arange(len(x) * len(y)), len(y))
    return divergences.term_values(term, x, y, n_jobs, i, j).reshape(len(x), len(y))


def _pairs_of_a_tile(X, Y):
    cells = X.lengths.mean() * Y.lengths.mean()
    return int(min(max(_TILE_CELLS / cells, 1), _TILE_PAIRS))


def _cut(X, step):
    return [slice(first, min(first + step, len(X))) for first in range(0, len(X), step)]
