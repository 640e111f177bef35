"""k-means of series: Lloyd's iterations between soft-DTW barycenters and the series nearest to them."""

from __future__ import annotations

import warnings
from typing import NamedTuple, Self

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning

from . import _arrays, _options, _words
from ._estimators import Comparison, SeriesEstimator, items, objective_of, read_weights
from ._typing import Array, CostLike, Integers, Kind, Lengths, RandomState, Regularizer, StepWeights, Window
from .barycenters import common_length, fit_soft_dtw_barycenter, resampled

# L-BFGS iterations of a center between two assignments. The center goes on from where it is, so what is left is done
# next time, for the series that are then its own.
_CENTER_ITERATIONS = 10


class SoftDTWKMeans(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, SeriesEstimator):
    """Clustering of series of any lengths by k-means, with soft-DTW barycenters as centers.

    Minimises the inertia sum_i w_i min_k f(z_k, X_i) over centers z_k of one common length, where f is a divergence or
    soft-DTW. The first centers are series drawn by k-means++ [1]_: each with a probability that grows with its
    divergence from those already drawn. Then, as Lloyd did, each series goes to its nearest center, and each center
    takes a few L-BFGS steps, from where it is, towards the barycenter of its series; the inertia never increases.

    Parameters
    ----------
    n_clusters : int >= 1, default 8
        Clusters wanted, at most as many as there are series.
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost.
    n_init : int >= 1, default 1
        Runs from different first centers; the one of least inertia is kept.
    max_iter : int >= 1, default 50
        Iterations of a run at most.
    tol : float >= 0, default 1e-6
        A run ends when an iteration lowers the inertia by no more than this share of it; it is also the `tol` of the
        steps towards barycenters.
    length : int >= 1, optional
        Length of the centers, by default as `soft_dtw_barycenter` chooses it for all series together.
    divergence : {True, "soft", "sharp", "mean", False}
        f is the soft divergence (True), the divergence of that kind, or soft-DTW (False), which may be negative. "mean"
        is bounded below only where `length` exceeds that of no series.
    regularizer, cost
        As for `soft_dtw`.
    window, step_weights
        As for `soft_dtw`, with rows along the centers and columns along the series. A mask (n, n) is for series and
        centers that all have one length.
    random_state : None, int, Generator or RandomState
        For the first centers.
    verbose : int, default 0
        1 prints the inertia of each iteration.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Attributes
    ----------
    cluster_centers_ : array of shape (n_clusters, length, d)
    labels_ : int64 array of shape (B,)
        Cluster of each series at fit.
    inertia_ : float
    n_iter_ : int
        Iterations of the run that was kept.
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    Notes
    -----
    A center that no series is nearest to moves to the series that is farthest from its own center. Where that does not
    help, for there are fewer distinct series than clusters, a ConvergenceWarning says so.

    References
    ----------
    .. [1] Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
    .. [2] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit import SoftDTWKMeans
    >>> X = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.1, 0.0], [1.0, 0.0, 1.0], [1.1, 0.0, 0.0, 1.0]]
    >>> kmeans = SoftDTWKMeans(2, gamma=0.1, random_state=0).fit(X)
    >>> labels = kmeans.labels_.tolist()
    >>> labels[0] == labels[1] != labels[2] == labels[3]
    True
    >>> kmeans.cluster_centers_.shape
    (2, 4, 1)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        gamma: float = 1.0,
        *,
        n_init: int = 1,
        max_iter: int = 50,
        tol: float = 1e-6,
        length: int | None = None,
        divergence: bool | Kind = True,
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        random_state: RandomState = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.gamma = gamma
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.length = length
        self.divergence = divergence
        self.regularizer = regularizer
        self.cost = cost
        self.window = window
        self.step_weights = step_weights
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Self:
        """Find the centers.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : ignored
        sample_weight : array of shape (B,), optional
            Weights >= 0 of the series in the inertia.
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, X is no collection of finite series, or the weights do not fit.
        """
        n_clusters, n_init, max_iter = (
            _words.check_count(getattr(self, name), name) for name in ("n_clusters", "n_init", "max_iter")
        )
        objective = objective_of(self)
        series = self._read(X, lengths, reset=True)
        if n_clusters > len(series):
            raise ValueError(
                f"n_clusters is {n_clusters}, X has n_samples={len(series)}; expected at most one a series"
            )
        weights = read_weights(sample_weight, len(series))
        rng = _options.check_random_state(self.random_state)
        X = items(series)
        length = common_length([X[i] for i in np.flatnonzero(weights)], self.length, self.divergence)
        problem = _Problem(X, weights, objective, length, self.tol)
        runs = (_lloyd(problem, n_clusters, max_iter, rng, self.verbose) for _ in range(n_init))
        best = min(runs, key=lambda run: run.inertia)
        n_found = len(np.unique(best.labels))
        if n_found < n_clusters:
            warnings.warn(
                f"only {n_found} of {n_clusters} clusters have series: there are too few distinct ones",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = _arrays.stacked(best.centers)
        self.labels_, self.inertia_, self.n_iter_ = best.labels, best.inertia, best.n_iter
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Integers:
        """Find the centers, and the cluster of each series.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        labels : int64 array of shape (len(X),)

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, sample_weight, lengths=lengths).labels_

    def fit_transform(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Array:
        """Find the centers, and what lies between them and each series.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        distances : array of shape (len(X), n_clusters)

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, sample_weight, lengths=lengths).transform(X, lengths=lengths)

    def predict(self, X: ArrayLike, *, lengths: Lengths = None) -> Integers:
        """The cluster whose center is nearest.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        labels : int64 array of shape (len(X),)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        return _arrays.on_host(self.transform(X, lengths=lengths)).argmin(axis=1)

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """What lies between the centers and series: the terms of the inertia.

        Parameters
        ----------
        X, lengths
            As for `predict`.

        Returns
        -------
        distances : array of shape (len(X), n_clusters)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        X = items(self._read(X, lengths))
        return objective_of(self).matrix(list(self.cluster_centers_), X).T

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> float:
        """Minus the inertia of series: higher is better.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        score : float

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the series are not as for `predict`, or the weights do not fit.
        """
        nearest = _arrays.on_host(self.transform(X, lengths=lengths)).min(axis=1)
        return -_inertia(read_weights(sample_weight, len(nearest)), nearest)

    @property
    def _n_features_out(self):
        return len(self.cluster_centers_)


class _Problem(NamedTuple):
    X: list  # of series (n_i, d)
    weights: ndarray  # (B,)
    objective: Comparison  # f
    length: int  # of the centers
    tol: float  # checked where the first barycenter is sought

    @property
    def seeding(self):
        """What k-means++ draws by: f, or the divergence, as probabilities cannot be negative."""
        return self.objective if self.objective.is_divergence else self.objective._replace(kind="soft")


class _Run(NamedTuple):
    centers: list  # of (length, d)
    labels: ndarray  # (B,)
    inertia: float
    n_iter: int


def _lloyd(problem, n_clusters, max_iter, rng, verbose):
    """One run, from first centers to the end."""
    centers = _first_centers(problem, n_clusters, rng)
    labels, inertia = _assign(problem, centers)
    for n_iter in range(1, max_iter + 1):
        before = inertia
        centers = [_moved(problem, center, labels == k) for k, center in enumerate(centers)]
        labels, inertia = _assign(problem, centers)
        if verbose:
            print(f"k-means: iteration {n_iter}, inertia {inertia:.6g}")
        if before - inertia <= problem.tol * abs(inertia):
            break
    return _Run(centers, labels, inertia, n_iter)


def _first_centers(problem, n_clusters, rng):
    """k-means++: series drawn one after another, each the best of some candidates drawn by divergence."""
    X, weights = problem.X, problem.weights
    n_candidates = 2 + int(np.log(n_clusters))  # as scikit-learn has it
    chosen = [rng.choice(len(X), p=weights / weights.sum())]
    nearest = _divergences(problem, chosen)[0]
    while len(chosen) < n_clusters:
        share = weights * nearest
        if share.any():
            candidates = np.unique(rng.choice(len(X), size=n_candidates, p=share / share.sum()))
        else:  # all others repeat what is there
            candidates = rng.choice(np.setdiff1d(np.arange(len(X)), chosen), size=1)
        columns = np.minimum(nearest, _divergences(problem, candidates))
        best = (columns @ weights).argmin()
        chosen.append(candidates[best])
        nearest = columns[best]
    return [resampled(X[i], problem.length) for i in chosen]


def _divergences(problem, some):
    """(len(some), B) divergences of all series from some of them, none negative, on the host."""
    X = problem.X
    return _arrays.on_host(problem.seeding.matrix([X[i] for i in some], X)).clip(0)


def _assign(problem, centers):
    """-> labels (B,), inertia. Centers of empty clusters are moved, in the list."""
    X, weights = problem.X, problem.weights
    distances = _arrays.on_host(problem.objective.matrix(centers, X)).T
    for _ in centers:
        empty = np.setdiff1d(np.arange(len(centers)), distances[weights > 0].argmin(axis=1))
        if not len(empty):
            break
        nearest = distances.min(axis=1)
        farthest = np.where(weights > 0, nearest, -np.inf).argmax()
        center = resampled(X[farthest], problem.length)
        column = _arrays.on_host(problem.objective.matrix([center], X))[0]
        if column[farthest] >= nearest[farthest]:  # the center it has is as good
            break
        centers[empty[0]], distances[:, empty[0]] = center, column
    return distances.argmin(axis=1), _inertia(weights, distances.min(axis=1))


def _moved(problem, center, mine):
    """A center some steps nearer to the barycenter of its series; `mine` : (B,) bool."""
    mine = np.flatnonzero(mine)
    weights = problem.weights[mine]
    if not weights.any():
        return center
    return fit_soft_dtw_barycenter(
        [problem.X[i] for i in mine],
        weights=weights / weights.sum(),
        init=center,
        divergence=problem.objective.kind or False,
        max_iter=_CENTER_ITERATIONS,
        tol=problem.tol,
        **problem.objective.options,
    ).barycenter


def _inertia(weights, nearest):
    return float(weights @ nearest.astype(np.float64))
