"""Alignment of all pairs of two collections.

Pairs are indices into the collections, so nothing is copied however many there are; a symmetric comparison of a
collection with itself computes each pair once.
"""

import numpy as np

from . import _arrays, _backend, _options, _words
from .costs import get_cost


def cdist_dtw(
    X,
    Y=None,
    *,
    cost="sqeuclidean",
    window=None,
    step_weights=_options.UNIT_WEIGHTS,
    open_begin=False,
    open_end=False,
    X_lengths=None,
    Y_lengths=None,
    n_jobs=None,
):
    """Dynamic time warping between all series of two collections.

    Parameters
    ----------
    X, Y : array of shape (B, n, d) or (B, n), or list of series
        Collections; a 2-D array is B univariate series. Y=None compares X with itself and computes each pair once.
    X_lengths, Y_lengths : array of integers, optional
        True lengths within padded arrays.
    cost, window, step_weights, open_begin, open_end, n_jobs
        As for `dtw`; a mask is one (n, m) array for all pairs, and cost "precomputed" is not possible.

    Returns
    -------
    distances : array of shape (len(X), len(Y))

    Raises
    ------
    TypeError, ValueError
        As for `dtw`.

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
    return _cdist(X, Y, cost, recursion, X_lengths, Y_lengths, n_jobs)


def cdist_soft_dtw(
    X,
    Y=None,
    gamma=1.0,
    *,
    regularizer="entropy",
    cost="sqeuclidean",
    window=None,
    step_weights=_options.UNIT_WEIGHTS,
    open_begin=False,
    open_end=False,
    X_lengths=None,
    Y_lengths=None,
    n_jobs=None,
):
    """Soft-DTW between all series of two collections.

    Parameters
    ----------
    X, Y, X_lengths, Y_lengths
        As for `cdist_dtw`. With Y=None the diagonal is computed: soft-DTW of a series with itself is not 0.
    gamma, regularizer
        As for `soft_dtw`.
    cost, window, step_weights, open_begin, open_end, n_jobs
        As for `cdist_dtw`.

    Returns
    -------
    values : array of shape (len(X), len(Y))

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`.

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
    return _cdist(X, Y, cost, recursion, X_lengths, Y_lengths, n_jobs)


_BLOCK_CELLS = 1 << 23  # cost matrices of unfused costs are made for so many cells at a time


def _cdist(X, Y, cost, recursion, X_lengths, Y_lengths, n_jobs):
    n_jobs = _options.check_n_jobs(n_jobs)
    X, Y = _arrays.as_collection_pair(X, Y, X_lengths, Y_lengths)
    cost = get_cost(cost)
    _arrays.check_collection_cost(cost, X, Y)
    mirrored = Y is None and cost.symmetric and _is_symmetric(recursion)
    Y = X if Y is None else Y
    _options.check_mask(recursion, 1, X.n_rows, Y.n_rows)
    i, j = np.triu_indices(len(X)) if mirrored else np.divmod(np.arange(len(X) * len(Y)), len(Y))
    i, j = np.ascontiguousarray(i, dtype=np.int64), np.ascontiguousarray(j, dtype=np.int64)
    if cost.fused:
        problem = _backend.Problem(recursion, X.lengths, Y.lengths, X.dtype, X, Y, cost.fused, None, i, j)
        values = _backend.values(problem, n_jobs)
    else:
        values = _unfused_values(X, Y, i, j, cost, recursion, n_jobs)
    if np.isinf(values).any():
        raise _words.no_admissible_path(values, False)
    result = np.empty((len(X), len(Y)), values.dtype)
    result[i, j] = values
    if mirrored:
        result[j, i] = values
    return result


def _unfused_values(X, Y, i, j, cost, recursion, n_jobs):
    n, m = int(X.lengths.max()), int(Y.lengths.max())
    if recursion.mask is not None:
        recursion = recursion._replace(mask=np.ascontiguousarray(recursion.mask[:, :n, :m]))
    step = max(1, _BLOCK_CELLS // (n * m))
    values = np.empty(len(i), X.dtype)
    for first in range(0, len(i), step):
        block = slice(first, first + step)
        rows, columns = X.lengths[i[block]], Y.lengths[j[block]]
        given = np.zeros((len(rows), n, m), X.dtype)
        for C, a, b in zip(given, i[block].tolist(), j[block].tolist(), strict=True):
            C[: X.lengths[a], : Y.lengths[b]] = cost.matrix(X.item(a), Y.item(b))
        problem = _backend.Problem(recursion, rows, columns, X.dtype, given=given)
        values[block] = _backend.values(problem, n_jobs)
    return values


def _is_symmetric(recursion):
    """Whether aligning y with x is aligning x with y."""
    left, _, up = recursion.step_weights
    return left == up and recursion.mask is None and {recursion.open_begin, recursion.open_end} <= {0, 3}
