"""Estimators that compare series with the series, or the mean series, of a training set."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from . import _arrays, _options, _words
from ._estimators import (
    SeriesClassifier,
    SeriesEstimator,
    comparison_of,
    items,
    objective_of,
    read_weights,
    warn_unless_converged,
)
from ._typing import Array, CostLike, Kind, Lengths, Metric, Regularizer, StepWeights, Window
from .barycenters import common_length, fit_soft_dtw_barycenter


class AlignmentDistance(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SeriesEstimator):
    """Series as their discrepancies from the series of a training set.

    The matrix is what estimators with ``metric="precomputed"`` take, so that in a pipeline any of them works on series
    of any lengths.

    Parameters
    ----------
    metric : {"soft_dtw_divergence", "sharp_divergence", "mean_divergence", "soft_dtw", "dtw"}
        Divergences are as in `soft_dtw_divergence`, of kinds "soft", "sharp" and "mean"; their negatives within
        rounding are set to 0. "soft_dtw" may be negative, and so may, a little, divergences (see there), which
        scikit-learn refuses of precomputed distances: `SoftDTWKNeighborsClassifier` takes them.
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost; "dtw" and "mean_divergence" do not depend on it.
    regularizer : {"entropy", "l2", None}
        As for `soft_dtw`; "dtw" and "mean_divergence" do not depend on it.
    cost : str or object, optional
        Local cost, as for `soft_dtw`. None is "half_sqeuclidean" for divergences and "sqeuclidean" for the others.
    window, step_weights, n_jobs
        As for `cdist_soft_dtw`. A mask is for series that all have one length.

    Attributes
    ----------
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    See Also
    --------
    cdist_soft_dtw_divergence, cdist_soft_dtw, cdist_dtw : The matrices themselves.

    References
    ----------
    Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sdtwkit import AlignmentDistance
    >>> X = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    >>> knn = make_pipeline(AlignmentDistance(gamma=0.1), KNeighborsClassifier(1, metric="precomputed"))
    >>> knn.fit(X, ["hill", "hill", "valley", "valley"]).predict([[0.1, 0.9, 1.0, 0.9, 0.0]])
    array(['hill'], dtype='<U6')
    """

    def __init__(
        self,
        metric: Metric = "soft_dtw_divergence",
        gamma: float = 1.0,
        *,
        regularizer: Regularizer = "entropy",
        cost: CostLike | None = None,
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        n_jobs: int | None = None,
    ) -> None:
        self.metric = metric
        self.gamma = gamma
        self.regularizer = regularizer
        self.cost = cost
        self.window = window
        self.step_weights = step_weights
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: object = None, *, lengths: Lengths = None) -> Self:
        """Keep the series to compare with.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : ignored
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, or X is no collection of finite series.
        """
        comparison_of(self, self.metric)
        self._fit_X = items(self._read(X, lengths, reset=True))
        return self

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Discrepancies from the series of the training set.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        distances : array of shape (len(X), number of series at fit)
            float32 where all series are, else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        return comparison_of(self, self.metric).matrix(items(self._read(X, lengths)), self._fit_X)

    def fit_transform(self, X: ArrayLike, y: object = None, *, lengths: Lengths = None) -> Array:
        """Discrepancies between all series of a training set; each pair is computed once.

        Parameters
        ----------
        X, y, lengths
            As for `fit`.

        Returns
        -------
        distances : array of shape (len(X), len(X))

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        self.fit(X, lengths=lengths)
        return comparison_of(self, self.metric).matrix(self._fit_X)

    @property
    def _n_features_out(self):
        return len(self._fit_X)


class SoftDTWKNeighborsClassifier(SeriesClassifier):
    """Vote of the nearest series of a training set.

    Parameters
    ----------
    n_neighbors : int >= 1, default 5
        Series that vote.
    gamma, metric, regularizer, cost, window, step_weights, n_jobs
        As for `AlignmentDistance`. "soft_dtw" may be negative; its order is all that matters here.
    weights : {"uniform", "distance"}
        "distance" weighs votes by the inverse discrepancy, where one of 0 outweighs all others; it needs a metric that
        cannot be negative, hence not "soft_dtw".

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Labels, sorted.
    n_features_in_, feature_names_in_
        As for `AlignmentDistance`.

    Notes
    -----
    Among series equally near, those that came first in training are taken; among classes with equal votes, the first of
    `classes_`.

    References
    ----------
    Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import SoftDTWKNeighborsClassifier
    >>> X = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    >>> knn = SoftDTWKNeighborsClassifier(3, gamma=0.1).fit(X, ["hill", "hill", "valley", "valley"])
    >>> knn.predict([[0.1, 0.9, 1.0, 0.9, 0.0]])
    array(['hill'], dtype='<U6')
    >>> knn.predict_proba([[0.1, 0.9, 1.0, 0.9, 0.0]]).round(2)
    array([[0.67, 0.33]])
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        gamma: float = 1.0,
        *,
        metric: Metric = "soft_dtw_divergence",
        weights: Literal["uniform", "distance"] = "uniform",
        regularizer: Regularizer = "entropy",
        cost: CostLike | None = None,
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.gamma = gamma
        self.metric = metric
        self.weights = weights
        self.regularizer = regularizer
        self.cost = cost
        self.window = window
        self.step_weights = step_weights
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike, *, lengths: Lengths = None) -> Self:
        """Keep the series to compare with, and their labels.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : array of shape (B,)
            Labels.
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, X is no collection of finite series, or labels are missing.
        """
        _words.check_count(self.n_neighbors, "n_neighbors")
        _words.check_choice(self.weights, "weights", ("uniform", "distance"))
        comparison_of(self, self.metric)
        if self.weights == "distance" and self.metric == "soft_dtw":
            raise ValueError(
                "weights is 'distance', but metric 'soft_dtw' may be negative; expected a divergence or 'dtw'"
            )
        series = self._read(X, lengths, reset=True)
        self.classes_, self._y = np.unique(self._read_labels(y, len(series)), return_inverse=True)
        self._fit_X = items(series)
        return self

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        lengths: Lengths = None,
    ) -> Any:
        """The nearest series of the training set.

        Parameters
        ----------
        X, lengths
            As for `fit`. None asks for the neighbors of each training series among the others.
        n_neighbors : int >= 1, optional
            Neighbors wanted, by default the classifier's own number.
        return_distance : bool, default True
            False gives the indices alone.

        Returns
        -------
        distances : array of shape (len(X), n_neighbors)
            From the nearest on.
        indices : int64 array of shape (len(X), n_neighbors)
            Places in the training set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, differs from that at fit in its channels, or has too few neighbors.

        Examples
        --------
        >>> from sdtwkit import SoftDTWKNeighborsClassifier
        >>> knn = SoftDTWKNeighborsClassifier(1, gamma=0.1).fit([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], ["hill", "valley"])
        >>> distances, indices = knn.kneighbors([[0.0, 1.0, 1.0, 0.0]])
        >>> indices
        array([[0]])
        """
        queries = None if X is None else items(self._read(X, lengths))
        check_is_fitted(self)
        k = _words.check_count(self.n_neighbors if n_neighbors is None else n_neighbors, "n_neighbors")
        available = len(self._fit_X) - (X is None)
        if k > available:
            raise ValueError(f"n_neighbors is {k}; expected at most {available}, the number of training series to find")
        if queries is None:
            distances = comparison_of(self, self.metric).matrix(self._fit_X)
            _arrays.namespace(distances).fill_diagonal(distances, np.inf)
        else:
            distances = comparison_of(self, self.metric).matrix(queries, self._fit_X)
        arrays = _arrays.namespace(distances)
        with _arrays.device_of(distances):
            indices = arrays.argsort(distances, axis=1, kind="stable")[:, :k]
            return (arrays.take_along_axis(distances, indices, axis=1), indices) if return_distance else indices

    def predict_proba(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Share of each class in the votes.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        shares : array of shape (len(X), n_classes)
            Columns as in `classes_`; rows sum to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        distances, indices = map(_arrays.on_host, self.kneighbors(X, lengths=lengths))
        weights = np.ones(distances.shape)
        if self.weights == "distance":  # relative to the nearest, so that nothing overflows
            nearest = distances[:, :1]
            weights = np.where(nearest <= 0, distances <= 0, nearest / np.where(distances <= 0, 1, distances))
        votes = np.zeros((len(distances), len(self.classes_)))
        np.add.at(votes, (np.arange(len(votes))[:, None], self._y[indices]), weights)
        return votes / votes.sum(axis=1, keepdims=True)

    def predict(self, X: ArrayLike, *, lengths: Lengths = None) -> NDArray[Any]:
        """The label most voted for.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        labels : array of shape (len(X),)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        shares = self.predict_proba(X, lengths=lengths)
        return self.classes_[shares.argmax(axis=1)]


class NearestSoftCentroid(SeriesClassifier):
    """Each class is summarised by a barycenter of its series; the nearest one says the class.

    Parameters
    ----------
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost.
    length : int >= 1, optional
        Length of the centroids, by default as `soft_dtw_barycenter` chooses it for all series together.
    divergence : {True, "soft", "sharp", "mean", False}
        What centroids minimise the mean of, and series are compared with them by: the soft divergence (True), the
        divergence of that kind, or soft-DTW (False). "mean" is bounded below only where `length` exceeds that of no
        series.
    regularizer, cost
        As for `soft_dtw`.
    window, step_weights
        As for `soft_dtw`, with rows along the centroids and columns along the series. A mask is for series that all
        have one length.
    max_iter : int >= 1, default 100
        Iterations of L-BFGS at most, for each centroid.
    tol : float >= 0, default 1e-6
        As for `soft_dtw_barycenter`.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Attributes
    ----------
    centroids_ : array of shape (n_classes, length, d)
    classes_ : array of shape (n_classes,)
        Labels, sorted, of the series with weights > 0.
    n_iter_ : array of shape (n_classes,)
        Iterations taken for each centroid.
    n_features_in_, feature_names_in_
        As for `AlignmentDistance`.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import NearestSoftCentroid
    >>> X = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    >>> nearest = NearestSoftCentroid(gamma=0.1).fit(X, ["hill", "hill", "valley", "valley"])
    >>> nearest.predict([[0.1, 0.9, 1.0, 0.9, 0.0]])
    array(['hill'], dtype='<U6')
    """

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        length: int | None = None,
        divergence: bool | Kind = True,
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        max_iter: int = 100,
        tol: float = 1e-6,
        n_jobs: int | None = None,
    ) -> None:
        self.gamma = gamma
        self.length = length
        self.divergence = divergence
        self.regularizer = regularizer
        self.cost = cost
        self.window = window
        self.step_weights = step_weights
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Self:
        """Find the centroid of each class.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : array of shape (B,)
            Labels.
        sample_weight : array of shape (B,), optional
            Weights >= 0 of the series within their classes.
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, X is no collection of finite series, or labels or weights do not fit.
        """
        objective = objective_of(self)
        series = self._read(X, lengths, reset=True)
        y = self._read_labels(y, len(series))
        weights = read_weights(sample_weight, len(series))
        X = items(series)
        length = common_length([X[i] for i in np.flatnonzero(weights)], self.length, self.divergence)
        self.classes_ = np.unique(y[weights > 0])
        found = []
        for label in self.classes_:
            mine = np.flatnonzero((y == label) & (weights > 0))
            centroid = fit_soft_dtw_barycenter(
                [X[i] for i in mine],
                weights=weights[mine] / weights[mine].sum(),
                length=length,
                divergence=self.divergence,
                max_iter=self.max_iter,
                tol=self.tol,
                **objective.options,
            )
            found.append(centroid)
        warn_unless_converged(*found)
        self.centroids_ = _arrays.stacked([centroid.barycenter for centroid in found])
        self.n_iter_ = np.array([centroid.n_iter for centroid in found])
        return self

    def predict(self, X: ArrayLike, *, lengths: Lengths = None) -> NDArray[Any]:
        """The class whose centroid is nearest.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        labels : array of shape (len(X),)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        X = items(self._read(X, lengths))
        distances = _arrays.on_host(objective_of(self).matrix(list(self.centroids_), X))
        return self.classes_[distances.argmin(axis=0)]
