"""Barycenters: the series of least weighted loss to all series of a collection.

    min over z of  sum_i w_i f(z, X_i)

f is soft-DTW (Cuturi and Blondel, ICML 2017) or a divergence (Blondel, Mensch and Vert, AISTATS 2021), minimised by
L-BFGS; or hard DTW, lowered by averaging along best paths (Petitjean, Ketterlin and Gançarski 2011). The collection is
read and cut into blocks once; an evaluation of the objective is one call of the kernels for each block.

A collection of CuPy arrays stays on its device. The search itself is SciPy's, on the host: each evaluation sends the
barycenter there, and waits for the value and one gradient of its size.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _backend, _blocks, _options, _words, divergences
from ._local_costs import Cost
from ._typing import Array, CostLike, Kind, Lengths, RandomState, Regularizer, StepWeights, Window
from .costs import get_cost

__all__ = ["BarycenterResult", "dtw_barycenter_averaging", "fit_soft_dtw_barycenter", "soft_dtw_barycenter"]

_MEAN_COSTS = ("sqeuclidean", "half_sqeuclidean")  # which the mean of samples minimises
_STARTS = ("medoid", "random", "mean", "dba")
_FEW = 50  # candidates for a medoid: with more, the search for a start may take longer than what follows
_DBA_ITERATIONS, _DBA_TOL = 30, 1e-5
_FAR = 1e12  # barycenters so many times as large as the series show that there is none
# How a search may end.
_WITHIN = "iteration {} lowered the objective by no more than tol"
_NO_LOWER = "no lower objective was found: the gradient is 0, or decreases are lost in rounding"
_UNBOUNDED = (
    "the objective has no minimum: it falls as the barycenter grows without bound; for divergence 'mean', expected a "
    "length that does not exceed those of the series"
)
_NOT_ENOUGH = "the barycenter has not converged within max_iter={}; increase max_iter or tol"


class BarycenterResult(NamedTuple):
    """A barycenter, and how it was found."""

    barycenter: np.ndarray  # (length, d)
    cost: float  # the objective there
    n_iter: int
    converged: bool  # False where max_iter or a callback ended it
    message: str  # why it ended, a sentence
    history: np.ndarray  # (n_iter + 1,) the objective, at the start and after each iteration


def soft_dtw_barycenter(
    X: ArrayLike,
    gamma: float = 1.0,
    *,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    length: int | None = None,
    divergence: bool | Kind = False,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    max_iter: int = 100,
    tol: float = 1e-6,
    lengths: Lengths = None,
    random_state: RandomState = None,
    callback: Callable[[int, Array, float], object] | None = None,
    verbose: int = 0,
    n_jobs: int | None = None,
) -> Array:
    """Barycenter of series under soft-DTW: the z of a chosen length that minimises sum_i w_i f(z, X_i).

    f is soft-DTW [1]_ or a divergence [2]_. Soft-DTW is not least between equal series, and its barycenters flatten as
    gamma grows; divergences make up for that.

    Parameters
    ----------
    X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
        Series of any lengths; a 2-D array is B univariate series.
    gamma, regularizer
        As for `soft_dtw`.
    weights : array of shape (B,), optional
        The w_i >= 0, taken as they are; None is 1 / B each.
    init : None, "medoid", "random", "mean", "dba", or array of shape (length, d)
        Where to start: the medoid, that is the series of least sum_i w_i dtw(x, X_i), or a series drawn at random, in
        either case of positive weight and resampled to the length; the weighted mean of all series, resampled; or what
        `dtw_barycenter_averaging` finds with these weights. None looks for the medoid among 50 series at most, which
        are spread over the collection.
    length : int >= 1, optional
        Length of the barycenter; None is that of an init array, else the median length of the series, rounded up, or
        for divergence "mean" the least.
    divergence : {False, True, "soft", "sharp", "mean"}
        f is soft-DTW (False), the soft divergence (True), or the divergence of that kind.
    cost : str or object, default "sqeuclidean"
        As for `soft_dtw`, but it must compare two series; also for divergences.
    window, step_weights
        As for `soft_dtw`, with rows along the barycenter and columns along the series. A mask is one (length, n) array
        for all series; for a divergence it must be square.
    max_iter : int >= 1, default 100
        Iterations at most.
    tol : float >= 0, default 1e-6
        Iterations end when two in a row lower the objective by no more than this share of sum_i w_i dtw(start, X_i).
    lengths : array of B integers, optional
        True lengths within a padded array.
    random_state : None, int, numpy.random.Generator or RandomState
        For ``init="random"``.
    callback : callable, optional
        Called after each iteration as ``callback(k, barycenter, cost)``, with k from 1 and a copy of the barycenter. It
        may raise StopIteration, which ends the search there.
    verbose : int, default 0
        1 prints the objective after each iteration.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use. Under ``joblib.parallel_config(backend="dask")``, "loky" or
        "multiprocessing", blocks of a large collection go to the workers of that backend instead.

    Returns
    -------
    barycenter : array of shape (length, d)
        float32 where X is, else float64. float32 series are computed with in float64, as the last iterations gain less
        than float32 would resolve.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, the window admits no path, or the objective has no minimum.

    Warns
    -----
    ConvergenceWarning
        scikit-learn's, where `max_iter` ended the search.

    See Also
    --------
    SoftDTWBarycenter : The same as an estimator.
    dtw_barycenter_averaging : Barycenters under hard DTW.

    Notes
    -----
    Minimised by L-BFGS. The objective is not convex: what is found depends on the start. A start that has the shape of
    a series, as medoids do, often leads lower than the mean, which has lost it.

    The divergence "mean" has a minimum only where the barycenter is not longer than the series are on average. Of
    series of its own length their mean is one, under squared costs.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_barycenter
    >>> X = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.2, 0.0], [0.0, 1.1, 1.1, 0.0, 0.0]]
    >>> soft_dtw_barycenter(X, gamma=0.1)[:, 0].round(1)
    array([0. , 1.1, 0. , 0. ])
    """
    result = fit_soft_dtw_barycenter(
        X,
        gamma,
        weights=weights,
        init=init,
        length=length,
        divergence=divergence,
        regularizer=regularizer,
        cost=cost,
        window=window,
        step_weights=step_weights,
        max_iter=max_iter,
        tol=tol,
        lengths=lengths,
        random_state=random_state,
        callback=callback,
        verbose=verbose,
        n_jobs=n_jobs,
    )
    _warn_at_the_end(result, max_iter)
    return result.barycenter


def fit_soft_dtw_barycenter(
    X: ArrayLike,
    gamma: float = 1.0,
    *,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    length: int | None = None,
    divergence: bool | Kind = False,
    regularizer: Regularizer = "entropy",
    cost: CostLike = "sqeuclidean",
    window: Window = None,
    step_weights: StepWeights = _options.UNIT_WEIGHTS,
    max_iter: int = 100,
    tol: float = 1e-6,
    lengths: Lengths = None,
    random_state: RandomState = None,
    callback: Callable[[int, Array, float], object] | None = None,
    verbose: int = 0,
    n_jobs: int | None = None,
) -> BarycenterResult:
    """Barycenter of series under soft-DTW, with a report of how it was found.

    Parameters
    ----------
    X, gamma, weights, init, length, divergence, regularizer, cost, window, step_weights
        As for `soft_dtw_barycenter`.
    max_iter, tol, lengths, random_state, callback, verbose, n_jobs
        As for `soft_dtw_barycenter`.

    Returns
    -------
    result : BarycenterResult
        Fields barycenter (length, d), cost, n_iter, converged, message, and history (n_iter + 1,), the objective at the
        start and after each iteration. No warning tells what `converged` does.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_barycenter`.

    Examples
    --------
    >>> from sdtwkit.barycenters import fit_soft_dtw_barycenter
    >>> result = fit_soft_dtw_barycenter([[0.0, 1.0, 0.0], [0.0, 0.0, 1.2, 0.0]], gamma=0.1)
    >>> result.converged, len(result.history) - result.n_iter
    (True, 1)
    """
    max_iter, tol = check_stop(max_iter, tol)
    if callback is not None and not callable(callback):
        raise _words.wrong_type(callback, "callback", "None or a function of (k, barycenter, cost)")
    recursion = _options.check_recursion(gamma, regularizer, step_weights=step_weights, window=window)
    term, debias = _as_objective(divergence, get_cost(cost), recursion)
    collection = _Collection(X, lengths, weights, term.cost, n_jobs)
    start = collection.start(init, length, random_state, _STARTS, divergence)
    objective = _Objective(collection, term, debias, len(start))
    tol *= objective.scale(start)
    return collection.answer(_minimised(objective, start, max_iter, tol, callback, verbose))


def dtw_barycenter_averaging(
    X: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    length: int | None = None,
    cost: Literal["sqeuclidean", "half_sqeuclidean"] = "sqeuclidean",
    window: Window = None,
    max_iter: int = _DBA_ITERATIONS,
    tol: float = _DBA_TOL,
    lengths: Lengths = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> Array:
    """Barycenter of series under DTW, by averaging along best paths (DBA).

    In turn the series are aligned with the barycenter, and each of its samples becomes the weighted mean of those that
    are matched with it [1]_. Neither step can raise sum_i w_i dtw(z, X_i). Much faster than `soft_dtw_barycenter`, and
    more easily caught where it started.

    Parameters
    ----------
    X, weights, length, lengths, random_state, n_jobs
        As for `soft_dtw_barycenter`.
    init : None, "medoid", "random", "mean", or array of shape (length, d)
        As for `soft_dtw_barycenter`.
    cost : {"sqeuclidean", "half_sqeuclidean"}
        Costs that a mean minimises.
    window
        As for `soft_dtw_barycenter`.
    max_iter : int >= 1, default 30
        Iterations at most.
    tol : float >= 0, default 1e-5
        Iterations end when one lowers the objective by no more than this share of it.

    Returns
    -------
    barycenter : array of shape (length, d)
        float32 where X is, else float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or the window admits no path.

    Warns
    -----
    ConvergenceWarning
        scikit-learn's, where `max_iter` ended the search.

    References
    ----------
    .. [1] Petitjean, Ketterlin and Gançarski, A global averaging method for dynamic time warping, with applications to
       clustering, Pattern Recognition 44 (3), 2011.

    Examples
    --------
    >>> from sdtwkit import dtw_barycenter_averaging
    >>> dtw_barycenter_averaging([[0.0, 1.0, 0.0], [0.0, 0.0, 1.2, 0.0]], length=3)[:, 0].round(1)
    array([0. , 1.1, 0. ])
    """
    _words.check_choice(cost, "cost", _MEAN_COSTS)
    recursion = _options.check_recursion(regularizer=None, window=window)
    max_iter, tol = check_stop(max_iter, tol)
    collection = _Collection(X, lengths, weights, get_cost(cost), n_jobs)
    start = collection.start(init, length, random_state, _STARTS[:-1])
    result = collection.answer(_averaged(collection, recursion, start, max_iter, tol))
    _warn_at_the_end(result, max_iter)
    return result.barycenter


# ---- arguments


def _as_objective(divergence, cost, recursion):
    """-> (Term, whether it is debiased)."""
    kind = divergences.kind_of(divergence)
    debias = kind is not None
    if debias and type(cost).check is not Cost.check:
        raise ValueError("this cost does not compare any two series, as divergences need; expected divergence=False")
    return divergences.as_term(kind or "soft", cost, recursion), debias


def check_stop(max_iter, tol):
    return _words.check_count(max_iter, "max_iter"), _words.check_nonnegative(tol, "tol")


def _warn_at_the_end(result, max_iter):
    if not result.converged and result.n_iter == max_iter:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(result.message, ConvergenceWarning, stacklevel=3)


# ---- the series


def common_length(X, length=None, divergence=False):
    """`length`, checked; None is the median length of the series of a list, rounded up.

    For the divergence "mean" it is the least: its objective is a quadratic form of z, which falls without bound in some
    direction where z is longer than the series are on average.
    """
    if length is not None:
        return _words.check_count(length, "length")
    lengths = [len(x) for x in X]
    return min(lengths) if divergence == "mean" else int(np.ceil(np.median(lengths)))


def resampled(x, length):
    """A series (n, d) at `length` times that lie evenly from its first to its last, linear between its samples."""
    arrays, times = _arrays.namespace(x), np.linspace(0, len(x) - 1, length)
    with _arrays.device_of(x):
        new, times = arrays.empty((length, x.shape[1]), x.dtype), _arrays.beside(times, x)
        for c, channel in enumerate(x.T):
            new[:, c] = arrays.interp(times, arrays.arange(len(x), dtype=np.float64), channel)
    return new


# A block is some hundredths of a second of work on one thread: worth a journey, and little beside a collection that
# needs workers. It must not depend on n_jobs (see `_blocks`).
_BLOCK_CELLS = 1 << 25

_HARD = _options.check_recursion(regularizer=None)


class _Collection:
    """Series and their weights, checked, in float64."""

    def __init__(self, X, lengths, weights, cost, n_jobs):
        _options.check_n_jobs(n_jobs)
        series = _arrays.as_collection(X, lengths, device=True)
        _arrays.check_collection_cost(cost, series, None)
        with _arrays.device_of(series.data):
            self.X, self.dtype = series.astype(np.float64), series.dtype
        self.items = [self.X.item(b) for b in range(len(self.X))]
        B = len(series)
        self.weights = np.full(B, 1 / B) if weights is None else _arrays.as_weights(weights, B, "weights")
        self.cost, self.n_jobs = cost, n_jobs

    def parts(self, length):
        """The collection in blocks, [(Series, weights)], each to be aligned with series of a length."""
        step = max(1, int(_BLOCK_CELLS / (length * self.X.lengths.mean())))
        cuts = [(first, min(first + step, len(self.X))) for first in range(0, len(self.X), step)]
        return [(_blocks.part(self.X, *cut), self.weights[slice(*cut)]) for cut in cuts]

    def answer(self, result):
        """The result in the dtype of the series, the barycenter where they lie."""
        narrow = divergences.narrowed(result.barycenter, self.dtype)
        return result._replace(barycenter=_arrays.beside(narrow, self.X.data))

    def start(self, init, length, random_state, names, divergence=False):
        """(length, d) float64, from an array or by one of these names."""
        random_state = _options.check_random_state(random_state)
        if not (init is None or isinstance(init, str)):
            return self._given(init, length)
        if init is not None and init not in names:
            raise _words.wrong_choice(init, "init", f"None, {', '.join(map(repr, names))} or an array (length, d)")
        length = common_length(self.items, length, divergence)
        if init == "mean":
            return self._mean(length)
        if init == "random":
            drawn = self.items[random_state.choice(np.flatnonzero(self.weights))]
            return _arrays.on_host(resampled(drawn, length))
        medoid = _arrays.on_host(resampled(self._medoid(len(self.X) if init == "medoid" else _FEW), length))
        return _averaged(self, _HARD, medoid).barycenter if init == "dba" else medoid

    def _given(self, init, length):
        first, init = _arrays.on_host(self.items[0]), _arrays.on_host(init)
        _, series = _arrays.as_series_pair(first, init, names=("X[0]", "init"))
        rows = len(series.data)
        if length is not None and _words.check_count(length, "length") != rows:
            raise ValueError(f"length is {length}, init has {rows} rows; expected no length, or that of init")
        return series.data.astype(np.float64)

    def _mean(self, length):
        shares = self.weights / self.weights.sum()
        with _arrays.device_of(self.X.data):
            mean = sum(share * resampled(x, length) for share, x in zip(shares, self.items, strict=True))
        return _arrays.on_host(mean)

    def _medoid(self, n_candidates):
        """The series of positive weight of least sum_i w_i dtw(x, X_i), of some that are spread over the collection."""
        candidates = np.flatnonzero(self.weights)
        if len(candidates) > n_candidates:
            candidates = candidates[np.linspace(0, len(candidates) - 1, n_candidates).astype(np.int64)]
        term = divergences.as_term("soft", self.cost, _HARD)
        step = max(1, int(_BLOCK_CELLS / self.X.lengths.sum() / self.X.lengths.mean()))
        some = [candidates[first : first + step] for first in range(0, len(candidates), step)]
        jobs = ((term, self.X, indices, self.weights) for indices in some)
        sums = np.concatenate(list(_blocks.map(_sums_of_losses, jobs, self.n_jobs)))
        return self.items[candidates[sums.argmin()]]


def _sums_of_losses(term, X, indices, weights, n_jobs):
    """(len(indices),) sum_i w_i F(X_k, X_i) for each index k."""
    i, j = np.repeat(indices, len(X)), np.tile(np.arange(len(X)), len(indices))
    values = _arrays.on_host(divergences.term_values(term, X, X, n_jobs, i, j))
    return np.einsum("ki,i->k", values.reshape(len(indices), len(X)), weights)


# ---- soft-DTW and its divergences


class _Objective:
    """sum_i w_i f(z, X_i) and its gradient, for z of one length.

    In a divergence the term F(X_i, X_i) of each series is computed once, and F(z, z) once an evaluation.
    """

    def __init__(self, collection, term, debias, length):
        shape = length, collection.X.n_rows
        _options.check_mask(term.recursion, 1, *shape)
        if debias:
            divergences.check_self_terms(term, shape)
        self.collection, self.term, self.debias = collection, term, debias
        self.parts, self.total_weight = collection.parts(length), collection.weights.sum()
        self.constant = 0.5 * self._self_terms() if debias else 0.0

    def __call__(self, z):
        """(length, d) -> value, gradient (length, d)"""
        value, gradient = -self.constant, np.zeros_like(z)
        jobs = ((self.term, z, *part) for part in self.parts)
        for more, slope in _blocks.map(_weighted_losses, jobs, self.collection.n_jobs):
            value += more
            gradient += slope
        if self.debias:
            n_threads = _blocks.threads(self.collection.n_jobs)
            own, half = _own_loss(self.term, z, self.collection.X, n_threads)
            value -= 0.5 * self.total_weight * own[0]
            gradient -= self.total_weight * half
        return float(value), gradient

    def scale(self, z):
        """sum_i w_i |dtw(z, X_i)|; raises where the window leaves no path."""
        hard = self.term._replace(kind="soft", recursion=replace(self.term.recursion, gamma=1.0, regularizer=None))
        jobs = ((hard, z, series) for series, _ in self.parts)
        values = np.concatenate(list(_blocks.map(_losses, jobs, self.collection.n_jobs)))
        _check_paths(values, "the barycenter", "X[{}]")
        if self.debias:
            _check_paths(_own_loss(hard, z, self.collection.X)[0], "the barycenter", "itself")
        return np.einsum("b,b", self.collection.weights, abs(values))

    def _self_terms(self):
        """sum_i w_i F(X_i, X_i)"""
        collection = self.collection
        jobs = ((self.term, series) for series, _ in collection.parts(collection.X.lengths.mean()))
        values = np.concatenate(list(_blocks.map(_self_losses, jobs, collection.n_jobs)))
        _check_paths(values, "X[{}]", "itself")
        return np.einsum("b,b", collection.weights, values)


# What follows is called with z on the host, and answers there.


def _repeated(z, times, X):
    """The series z (length, d), as a collection of copies, where the series X lie."""
    n = len(z)
    data = _arrays.namespace(X.data).tile(_arrays.beside(z, X.data), (times, 1))
    return _arrays.Series(data, np.arange(0, times * n, n), np.full(times, n), "list", [z.shape] * times)


def _losses(term, z, X, n_jobs):
    """(B,) F(z, X_i)"""
    with _arrays.device_of(X.data):
        return _arrays.on_host(divergences.term_values(term, _repeated(z, len(X), X), X, n_jobs))


def _self_losses(term, X, n_jobs):
    """(B,) F(X_i, X_i)"""
    with _arrays.device_of(X.data):
        return _arrays.on_host(divergences.self_values(term, X, n_jobs))


def _own_loss(term, z, X, n_jobs=1):
    """(1,) F(z, z), and half of its gradient (length, d)."""
    with _arrays.device_of(X.data):
        own, half = divergences.self_value_and_grad(term, _repeated(z, 1, X), n_jobs)
        return _arrays.on_host(own), _arrays.on_host(half)


def _weighted_losses(term, z, X, weights, n_jobs):
    """sum_i w_i F(z, X_i) and its gradient (length, d), not by BLAS, whose rounding may depend on its threads."""
    with _arrays.device_of(X.data):
        Z = _repeated(z, len(X), X)
        values, gradients, _ = divergences.term_value_and_grad(term, Z, X, n_jobs, (True, False))
        if _arrays.on_device(values):
            weights = _arrays.beside(weights, values)
            loss = (weights * values).sum().reshape(1)
            gradient = (weights[:, None, None] * gradients.reshape(len(X), *z.shape)).sum(axis=0)
            found = _arrays.on_host(_arrays.namespace(values).concatenate([loss, gradient.reshape(-1)]))  # at one wait
            return found[0], found[1:].reshape(z.shape)
    return np.einsum("b,b", weights, values), np.einsum("b,bld->ld", weights, gradients.reshape(len(X), *z.shape))


def _check_paths(values, one, other):
    if np.isinf(values).any():
        k = np.argmax(np.isinf(values))
        raise _words.no_path_between(one.format(k), other.format(k))


def _minimised(objective, start, max_iter, tol, callback, verbose):
    """L-BFGS -> BarycenterResult; `tol` is a difference of objectives."""
    from scipy.optimize import minimize

    search = _Search(objective, start, max_iter, tol, callback, verbose)
    # Its own rules are switched off: they compare with 1, whatever the unit of the series is.
    options = {"maxiter": max_iter, "maxfun": np.inf, "ftol": 0.0, "gtol": 0.0}
    evaluate, follow = search.evaluate, search.follow
    with _blas().limit(limits=1, user_api="blas"):
        minimize(evaluate, start.ravel(), jac=True, method="L-BFGS-B", callback=follow, options=options)
    return search.result()


@functools.lru_cache(maxsize=1)  # looking for the libraries takes milliseconds
def _blas():
    """BLAS, to be held to one thread: those of OpenBLAS would spin between the tiny steps of L-BFGS."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Search:
    """What happens during a run of L-BFGS."""

    def __init__(self, objective, start, max_iter, tol, callback, verbose):
        self.objective, self.z = objective, start
        self.max_iter, self.tol, self.callback, self.verbose = max_iter, tol, callback, verbose
        self.limit = _FAR * max(abs(start).max(), float(_arrays.on_host(abs(objective.collection.X.data).max())))
        self.history = []
        self.converged, self.message = None, ""

    def evaluate(self, flat):
        """The objective, as scipy wants it."""
        value, gradient = self.objective(flat.reshape(self.z.shape))
        if not self.history:
            self.history.append(value)
        return value, gradient.ravel()

    def follow(self, intermediate_result):  # scipy looks for this name
        """After an iteration; StopIteration ends the run."""
        self.z = intermediate_result.x.reshape(self.z.shape).copy()
        self.history.append(float(intermediate_result.fun))
        if abs(self.z).max() > self.limit:
            raise ValueError(_UNBOUNDED)
        k, cost = len(self.history) - 1, self.history[-1]
        if self.verbose:
            print(f"soft-DTW barycenter: iteration {k}, cost {cost:.6g}")
        if self.callback is not None:
            try:
                self.callback(k, self.z.copy(), cost)
            except StopIteration:
                self.converged, self.message = False, f"the callback ended it after {k} iterations"
                raise
        if k >= 2 and self.history[-3] - cost <= self.tol:  # one alone is now and then short, with many to come
            self.converged, self.message = True, _WITHIN.format(k)
            raise StopIteration

    def result(self):
        n_iter = len(self.history) - 1
        if self.converged is None:
            self.converged = n_iter < self.max_iter
            self.message = _NO_LOWER if self.converged else _NOT_ENOUGH.format(self.max_iter)
        history = np.array(self.history)
        return BarycenterResult(self.z, self.history[-1], n_iter, self.converged, self.message, history)


# ---- DTW


def _averaged(collection, recursion, start, max_iter=_DBA_ITERATIONS, tol=_DBA_TOL):
    """DBA -> BarycenterResult; `tol` is a share of the objective."""
    _options.check_mask(recursion, 1, len(start), collection.X.n_rows)
    parts = collection.parts(len(start))
    z, history = start, []
    for n_iter in range(max_iter + 1):
        jobs = ((recursion, z, *part) for part in parts)
        values, matched, sums = zip(*_blocks.map(_matched, jobs, collection.n_jobs), strict=True)
        values = np.concatenate(values)
        _check_paths(values, "the barycenter", "X[{}]")
        history.append(float(np.einsum("b,b", collection.weights, values)))
        converged = n_iter > 0 and history[-2] - history[-1] <= tol * history[-1]
        if converged or n_iter == max_iter:
            break
        z = sum(sums) / sum(matched)[:, None]
    message = _WITHIN.format(n_iter) if converged else _NOT_ENOUGH.format(max_iter)
    return BarycenterResult(z, history[-1], n_iter, converged, message, np.array(history))


def _matched(recursion, z, X, weights, n_jobs):
    """-> dtw(z, X_i) (B,); the weight (length,) and the weighted sum (length, d) of what is matched with each z_t."""
    with _arrays.device_of(X.data):
        Z = _repeated(z, len(X), X)
        problem = _backend.Problem(recursion, Z.lengths, X.lengths, X.dtype, Z, X, get_cost("sqeuclidean").fused)
        if _arrays.on_device(X.data):
            return _matched_in_tables(problem, (len(X), len(z), X.n_rows), weights)
    paths, values = _backend.paths(problem, n_jobs=n_jobs)
    lengths = [len(path) for (path,) in paths]
    i, j = np.concatenate([path for (path,) in paths]).T
    samples, weights = X.data[j + np.repeat(X.starts, lengths)], np.repeat(weights, lengths)
    sums = [np.bincount(i, weights * channel, len(z)) for channel in samples.T]
    return values, np.bincount(i, weights, len(z)), np.stack(sums, axis=1)


def _matched_in_tables(problem, shape, weights):
    """`_matched` on a device: the best paths as tables of `shape` (B, length, n), 1 where they pass."""
    values, paths = _backend.matrix_gradients(problem, shape, visits=True)
    weighted = _arrays.beside(weights, values)[:, None, None] * paths
    sums = _arrays.product(weighted, problem.y.padded(problem.y.data)).sum(axis=0)
    return tuple(map(_arrays.on_host, (values, weighted.sum(axis=2).sum(axis=0), sums)))
