"""Alignment of series: local costs and the alignment recursion, joined.

One pair, or a batch paired item by item; all pairs of two collections are in `pairwise`. Costs that the kernels know
are evaluated cell by cell and never stored; others go through a cost matrix.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _backend, _options, _words
from ._typing import Arrays, CostLike, Lengths, OpenEnds, Paths, Regularizer, StepWeights, Value, Window
from .costs import CostPairs


class Call:
    """One call of a pair function: its arguments checked, its problem posed. `names` : what errors call x and y."""

    def __init__(
        self, x, y, cost, recursion, prior=None, x_lengths=None, y_lengths=None, n_jobs=None, names=("x", "y")
    ):
        self.n_jobs = 1 if n_jobs is None else _options.check_n_jobs(n_jobs)
        self.pairs = pairs = CostPairs(x, y, cost, x_lengths, y_lengths, names)
        self.given_costs = pairs.y is None
        self.single, self.shape = pairs.single, pairs.shape
        if recursion.mask is not None:
            _options.check_mask(recursion, *self.shape)
        rows, columns = pairs.lengths
        self.fused = pairs.cost.fused
        x = y = given = None
        if self.fused:
            x, y = pairs.x, pairs.y
        else:
            given = pairs.x.data if self.given_costs else pairs.matrix()
        if prior is not None:
            prior = _arrays.as_prior(prior, self.shape, rows, columns, pairs.dtype)
            given = prior if given is None else given + prior
        self.problem = _backend.Problem(recursion, rows, columns, pairs.dtype, x, y, self.fused, given)

    def answer(self, values):
        """(B,) values in the caller's form, once every pair has a path; +inf on a device, which is not waited for."""
        if type(values) is not np.ndarray and _arrays.on_device(values):
            return values[0] if self.single else values
        if self.single:
            value = values[0]
            if value == np.inf and not self.given_costs:
                raise _words.no_admissible_path(values, True)
            return value
        if not self.given_costs and np.isinf(values).any():
            raise _words.no_admissible_path(values, False)
        return values

    def value_and_grad(self, sides=_backend.BOTH):
        """Soft values, gradients of x and of y; None for one that does not exist, or that `sides` can spare."""
        if self.fused:
            values, grad_x, grad_y = _backend.series_gradients(self.problem, self.n_jobs, sides)
            grad_x = None if grad_x is None else self.pairs.x.like(grad_x)
            return self.answer(values), grad_x, None if grad_y is None else self.pairs.y.like(grad_y)
        values, gradient = _backend.matrix_gradients(self.problem, self.shape, self.n_jobs)
        return self.answer(values), *self.pull_back(gradient)

    def tables(self, flat):
        """(B, n, m) results in the caller's form."""
        return self.pairs.tables(flat)

    def pull_back(self, flat):
        """d value / d C (B, n, m) -> gradients of the series; of given costs itself: it is 0 where they are +inf."""
        return (self.pairs.x.like(flat), None) if self.given_costs else self.pairs.vjp(flat)


def dtw(
    x: ArrayLike,
    y: ArrayLike,
    *,
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> Value:
    """Dynamic time warping: the smallest sum of local costs over warping paths. No square root is taken.

    Parameters
    ----------
    x : array of shape (n, d), (n,) or (B, n, d), or list of B series
        Time runs along the first axis of a series. A 2-D array is one series, a 3-D array or a list a collection.
    y : array of shape (m, d), (m,) or (B, m, d), or list of B series
        Paired with x item by item.
    cost : str or object, default="sqeuclidean"
        Local cost of matching two samples, as in `sdtwkit.costs.cost_matrix`.
    window : None, int >= 0, or bool array of shape (n, m) or (B, n, m)
        Radius of a Sakoe-Chiba band in time steps, widened by the difference of lengths, or a mask, True where a path
        may pass.
    step_weights : tuple of 3 floats >= 0
        Multiply the cost of the cell a step arrives at, for the steps (0, 1), (1, 1) and (1, 0); the first cell has
        weight 1.
    open_begin, open_end : {False, "y", "x", True}
        "y": the path may begin (end) anywhere along y, "x": along x, True: either. Both "y" searches x inside y.
    x_lengths, y_lengths : array of B integers, optional
        True lengths within padded arrays; what lies beyond is not read.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Returns
    -------
    value : NumPy scalar, or array of shape (B,)
        float32 where x and y are, else float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or the window admits no path.

    References
    ----------
    Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition, IEEE TASSP 1978.

    Examples
    --------
    >>> from sdtwkit import dtw
    >>> float(dtw([0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 3.0]))
    1.0
    """
    recursion = _options.check_recursion(
        regularizer=None, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, None, x_lengths, y_lengths, n_jobs)
    return call.answer(_backend.values(call.problem, call.n_jobs))


def dtw_path(
    x: ArrayLike,
    y: ArrayLike,
    *,
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Paths, Value]:
    """Best warping path and its cost. Among equal predecessors the diagonal wins, then left, then up.

    Memory grows with a quarter of a byte for each cell, not with a table.

    Parameters
    ----------
    x, y, cost, window, step_weights, open_begin, open_end, x_lengths, y_lengths, n_jobs
        As for `dtw`.

    Returns
    -------
    path : int64 array of shape (L, 2), or list of B such arrays
        Matched time steps (i of x, j of y), from the start to the end.
    value : NumPy scalar, or array of shape (B,)
        As `dtw` returns.

    Raises
    ------
    TypeError, ValueError
        As for `dtw`.

    References
    ----------
    Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition, IEEE TASSP 1978.

    Examples
    --------
    >>> from sdtwkit import dtw_path
    >>> path, value = dtw_path([0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0])
    >>> path.tolist()
    [[0, 0], [0, 1], [1, 2], [2, 3]]
    """
    recursion = _options.check_recursion(
        regularizer=None, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, None, x_lengths, y_lengths, n_jobs)
    paths, values = _backend.paths(call.problem, n_jobs=call.n_jobs)
    value = call.answer(values)
    paths = [path for (path,) in paths]
    return (paths[0] if call.single else paths), value


def soft_dtw(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    prior: ArrayLike | None = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> Value:
    """Soft-DTW: the smoothed minimum of the costs of all warping paths.

    For the entropy regularizer -gamma log sum over paths of exp(-cost / gamma) [1]_, which lies below `dtw` and tends
    to it with gamma to 0; it may be negative.

    Parameters
    ----------
    x, y
        As for `dtw`.
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost.
    regularizer : {"entropy", "l2", None}
        "l2" smooths by the squared norm and gives sparse alignments [2]_; None is `dtw`, and gamma is ignored.
    cost, window, step_weights, open_begin, open_end, x_lengths, y_lengths, n_jobs
        As for `dtw`.
    prior : array of shape (n, m) or (B, n, m), optional
        Added to the local costs; +inf forbids a cell. Cast to the dtype of the series.

    Returns
    -------
    value : NumPy scalar, or array of shape (B,)

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or window and prior admit no path.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit import soft_dtw
    >>> round(float(soft_dtw([0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 3.0], gamma=0.1)), 6)
    0.999982
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, prior, x_lengths, y_lengths, n_jobs)
    return call.answer(_backend.values(call.problem, call.n_jobs))


def soft_dtw_value_and_grad(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    prior: ArrayLike | None = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Value, Arrays, Arrays]:
    """Soft-DTW and its gradients with respect to both series.

    Parameters
    ----------
    x, y, gamma, regularizer, cost, window, step_weights, open_begin, open_end, prior, x_lengths, y_lengths, n_jobs
        As for `soft_dtw`.

    Returns
    -------
    value : NumPy scalar, or array of shape (B,)
    grad_x, grad_y : arrays or lists of arrays with the shapes of x and y
        Zeros in the padding. For cost "precomputed" the gradient of the costs, and None.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`.

    Notes
    -----
    For costs that the kernels know (squared and plain Euclidean, Manhattan, Huber, dot product) no table of the size
    n m is kept: memory is about a quarter of a byte for each cell.

    References
    ----------
    Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_value_and_grad
    >>> value, grad_x, grad_y = soft_dtw_value_and_grad([0.0, 1.0], [0.0, 3.0], gamma=1.0)
    >>> grad_y.round(2)
    array([-0.54,  4.  ])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, prior, x_lengths, y_lengths, n_jobs)
    return call.value_and_grad()


def soft_dtw_alignment(
    x: ArrayLike,
    y: ArrayLike,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    prior: ArrayLike | None = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Arrays, Value]:
    """Expected alignment of two series under the law of their warping paths.

    Entry (i, j) is the probability that a random path, drawn with weight exp(-cost / gamma), matches x[i] with y[j];
    for unit step weights it is also the gradient of soft-DTW with respect to the local cost matrix.

    Parameters
    ----------
    x, y, gamma, regularizer, cost, window, step_weights, open_begin, open_end, prior, x_lengths, y_lengths, n_jobs
        As for `soft_dtw`.

    Returns
    -------
    alignment : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        A list where x and y are lists. Rows and columns each sum to at least 1, and corners are 1, for closed ends.
    value : NumPy scalar, or array of shape (B,)

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`.

    References
    ----------
    Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_alignment
    >>> alignment, value = soft_dtw_alignment([0.0, 1.0, 2.0], [0.0, 2.0], gamma=1.0)
    >>> alignment.round(2)
    array([[1.  , 0.01],
           [0.58, 0.58],
           [0.01, 1.  ]])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, prior, x_lengths, y_lengths, n_jobs)
    values, visits = _backend.matrix_gradients(call.problem, call.shape, call.n_jobs, visits=True)
    value = call.answer(values)
    return call.tables(visits), value


def soft_dtw_alignment_vjp(
    x: ArrayLike,
    y: ArrayLike,
    cotangent: ArrayLike,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    prior: ArrayLike | None = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Arrays, Arrays]:
    """Gradients of <cotangent, E> with respect to both series, where E is their expected alignment.

    What backpropagation through `soft_dtw_alignment` needs: a loss on the alignment has a cotangent d loss / d E.

    Parameters
    ----------
    x, y, gamma, regularizer, cost, window, step_weights, open_begin, open_end, prior, x_lengths, y_lengths, n_jobs
        As for `soft_dtw`.
    cotangent : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        Shaped as the alignment, finite.

    Returns
    -------
    grad_x, grad_y : arrays or lists of arrays with the shapes of x and y

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`, and if the cotangent does not fit.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit import soft_dtw_alignment_vjp
    >>> grad_x, grad_y = soft_dtw_alignment_vjp([0.0, 1.0, 2.0], [0.0, 2.0], np.eye(3, 2), gamma=1.0)
    >>> grad_x.round(3)
    array([0.013, 0.847, 0.018])
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, prior, x_lengths, y_lengths, n_jobs)
    cotangent = call.pairs.cotangent_table(cotangent, "cotangent")
    if call.fused:
        grad_x, grad_y = _backend.visit_vjp(call.problem, cotangent, call.n_jobs, to_series=True)
        return call.pairs.x.like(grad_x), call.pairs.y.like(grad_y)
    return call.pull_back(_backend.visit_vjp(call.problem, cotangent, call.n_jobs)[0])


def soft_dtw_hvp(
    x: ArrayLike,
    y: ArrayLike,
    dx: ArrayLike | None,
    dy: ArrayLike | None = None,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    prior: ArrayLike | None = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> tuple[Arrays, Arrays]:
    """Product of the Hessian of soft-DTW in (x, y) with a direction (dx, dy), cross blocks included.

    With dC = J (dx, dy) and M the Hessian product of the recursion, the result is J^T M plus the second derivative of
    the local costs, weighted by the gradient.

    Parameters
    ----------
    x, y, gamma, regularizer, cost, window, step_weights, open_begin, open_end, prior, x_lengths, y_lengths, n_jobs
        As for `soft_dtw`.
    dx, dy : arrays or lists of arrays with the shapes of x and y, or None
        Direction; None is zero.

    Returns
    -------
    Hx, Hy : arrays or lists of arrays with the shapes of x and y

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw`, and if the direction does not fit.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_hvp
    >>> Hx, Hy = soft_dtw_hvp([0.0, 1.0], [0.0, 3.0], [1.0, 0.0], gamma=1.0)
    >>> Hx.round(3), Hy.round(3)
    (array([ 1.997, -0.   ]), array([-2.   ,  0.003]))
    """
    recursion = _options.check_recursion(
        gamma, regularizer, step_weights=step_weights, window=window, open_begin=open_begin, open_end=open_end
    )
    call = Call(x, y, cost, recursion, prior, x_lengths, y_lengths, n_jobs)
    moves = call.pairs.tangents(dx, dy)
    _, _, gradient, product = _backend.products(call.problem, call.pairs.jvp(moves), call.n_jobs)
    return call.pairs.moved_vjp(gradient, moves, product)


# ---- search


class Match(NamedTuple):
    """A stretch of a series that a query matches: series[start:end], and the cost of matching it."""

    start: int
    end: int
    value: float


def subsequence_matches(
    query: ArrayLike,
    series: ArrayLike,
    k: int = 1,
    *,
    cost: CostLike = "sqeuclidean",
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
) -> list[Match]:
    """Best non-overlapping places of a long series where a query matches under dynamic time warping.

    The best match is found by aligning with both ends open along the series; its samples are then taken out, and the
    search goes on among the rest.

    Parameters
    ----------
    query : array of shape (n, d) or (n,)
    series : array of shape (m, d) or (m,)
    k : int >= 1
        Matches wanted.
    cost, step_weights
        As for `dtw`.

    Returns
    -------
    matches : list of (start, end, value)
        At most k, best first; fewer where no room is left. The match is ``series[start:end]``.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or query and series are not single series.

    References
    ----------
    Sakurai, Faloutsos and Yamamuro, Stream monitoring under the time warping distance, ICDE 2007.

    Examples
    --------
    >>> from sdtwkit import subsequence_matches
    >>> subsequence_matches([1.0, 2.0], [0.0, 1.0, 2.0, 0.0, 1.0, 2.1, 0.0], k=2)  # doctest: +ELLIPSIS
    [Match(start=1, end=3, value=0.0), Match(start=4, end=6, value=0.01...)]
    """
    k = _words.check_count(k, "k")
    recursion = _options.check_recursion(regularizer=None, step_weights=step_weights, open_begin="y", open_end="y")
    call = Call(query, series, cost, recursion, names=("query", "series"))
    if not call.single:
        raise _words.not_single("query", "series")
    free = np.ones(call.shape, dtype=bool)
    matches: list[Match] = []
    for _ in range(k):
        masked = replace(recursion, mask=free if matches else None)
        ((path,),), (value,) = _backend.paths(replace(call.problem, recursion=masked))
        if not len(path):
            break
        path, value = _arrays.on_host(path), _arrays.on_host(value)
        start, end = int(path[0, 1]), int(path[-1, 1]) + 1
        matches.append(Match(start, end, float(value)))
        free[:, :, start:end] = False
    return matches
