"""What the learned metrics share, after the conventions of metric-learn: pairs of indices, distances, a threshold."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from .. import _arrays, _blocks, _options, _words
from .._estimators import SeriesEstimator
from .._typing import Array, Integers, Lengths
from ._pairs import (
    STRATEGIES,
    LabelSampler,
    PairSampler,
    best_threshold,
    read_labels,
    read_pairs,
    read_signs,
    together,
)
from ._training import check_crop, check_schedule, train

# Pairs whose distances are computed as one job: many enough to share out among threads and workers, few enough to stop
# between them.
_JOB = 512
_CALIBRATION_PAIRS = 1000  # that the threshold is chosen by at the end of fit


class MetricLearner(SeriesEstimator):
    """Base of the learned metrics.

    Subclasses bring ``_start(rng)``, the first parameters; ``_loss_and_grad(parameters, same, different, rng)`` of
    index pairs; ``_validation_loss(parameters, pairs, same)``; and ``_metric()``, a picklable object whose
    ``distances(x1, x2, n_jobs)`` compares Series pair by pair. All of them compute where the series of fit lie.
    """

    def fit(
        self,
        pairs: ArrayLike,
        y: ArrayLike,
        X: ArrayLike | None = None,
        *,
        lengths: Lengths = None,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Learn from pairs.

        Parameters
        ----------
        pairs : int array of shape (n_pairs, 2)
            Indices of series of X.
        y : array of shape (n_pairs,)
            +1 for pairs that belong together, -1 for those that do not.
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            The series. A 2-D array holds one univariate series a row. With CuPy arrays training goes on on their
            device, and series that come later are expected there.
        lengths : array of B integers, optional
            True lengths within a padded array.
        validation : tuple (pairs, y), optional
            Further pairs of series of X, to stop early by. Without them and with ``early_stopping=True`` a share
            `validation_fraction` of the pairs is held out.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, X is no collection of finite series, or pairs and signs do not fit
            it.
        """
        schedule, rng = self._begin(X, lengths)
        pairs = read_pairs(pairs, len(self._series))
        same = read_signs(y, len(pairs))
        if validation is not None:
            held_out = _read_validation_pairs(validation, len(self._series))
        elif schedule.early_stopping:
            chosen = np.zeros(len(pairs), bool)
            for kind in (same, ~same):  # of both kinds
                chosen[_share(np.flatnonzero(kind), schedule.validation_fraction, rng)] = True
            held_out = pairs[chosen], same[chosen]
            pairs, same = pairs[~chosen], same[~chosen]
        else:
            held_out = None
        return self._train(PairSampler(pairs, same), held_out, schedule, rng, (pairs, same))

    def fit_labels(
        self, X: ArrayLike, y: ArrayLike, *, lengths: Lengths = None, validation: ArrayLike | None = None
    ) -> Self:
        """Learn from labelled series: those of one class belong together.

        Parameters
        ----------
        X, lengths
            As for `fit`.
        y : array of shape (B,)
            Labels of classes.
        validation : int array, optional
            Indices of series to stop early by; they are not trained on. Without them and with ``early_stopping=True`` a
            share `validation_fraction` of each class is held out.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, X is no collection of finite series, or labels do not fit it.
        """
        schedule, rng = self._begin(X, lengths)
        labels = read_labels(y, len(self._series))
        training, held_out = np.arange(len(labels)), None
        if validation is not None:
            chosen = _read_indices(validation, len(labels))
        elif schedule.early_stopping:
            classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            chosen = np.concatenate([_share(members, schedule.validation_fraction, rng, 2) for members in classes])
        if validation is not None or schedule.early_stopping:
            training = np.setdiff1d(training, chosen)
            held_out = together(*LabelSampler(labels[chosen], chosen).epoch(rng))
        sampler = LabelSampler(labels[training], training)
        return self._train(sampler, held_out, schedule, rng, together(*sampler.epoch(rng)))

    def _begin(self, X, lengths):
        self._check_parameters()
        schedule = check_schedule(self)
        check_crop(self.crop)
        _options.check_n_jobs(self.n_jobs)
        if X is None:
            raise ValueError(
                "X is None; expected the series that the pairs are indices of (fit_labels(X, y) learns from labels "
                "instead of pairs)"
            )
        before = self._n_channels if self.warm_start and hasattr(self, "n_iter_") else None
        self._series = as_list(self._read(X, lengths, reset=True))
        if before not in (None, self._n_channels):
            raise ValueError(
                f"X holds series with d = {self._n_channels}, what was learned before (warm_start) is for "
                f"d = {before}; expected as many channels"
            )
        self._goes_on = before is not None
        return schedule, _options.check_random_state(self.random_state)

    def _train(self, sampler, held_out, schedule, rng, calibration):
        data = self._series.data
        with _arrays.device_of(data):
            parameters = self._parameters() if self._goes_on else self._start(rng)
            parameters = {name: _arrays.beside(_arrays.on_host(value), data) for name, value in parameters.items()}
            validation = None if held_out is None else lambda parameters: self._validation_loss(parameters, *held_out)
            found = train(parameters, sampler, self._loss_and_grad, validation, schedule, rng)
        self._keep(found.parameters)
        self.loss_curve_, self.validation_curve_ = np.array(found.losses), np.array(found.validation_losses)
        self.n_iter_, self.best_iter_ = len(found.losses), found.best_iter
        pairs, same = calibration if held_out is None else held_out
        if len(pairs) > _CALIBRATION_PAIRS:
            some = rng.choice(len(pairs), _CALIBRATION_PAIRS, replace=False)
            pairs, same = pairs[some], same[some]
        distances = _arrays.on_host(self._distances(self._series, self._series, *pairs.T))
        self.threshold_ = best_threshold(distances, same, "accuracy")
        return self

    def _read(self, X, lengths=None, *, reset=False):
        series = super()._read(X, lengths, reset=reset)
        return series if reset else self._beside_fit(series, "X")

    def _beside_fit(self, series, name):
        """The series, if they lie where those of fit do."""
        _arrays.check_one_place((self._series.data, series.data), ("the series at fit", name))
        return series

    def _cropped(self, index, rng):
        """The series `index`, each cut to `crop` steps at random, as Series."""
        X = self._series
        starts, lengths = X.starts[index], X.lengths[index]
        if self.crop is not None:
            lengths, full = np.minimum(lengths, self.crop), lengths
            starts = starts + rng.integers(0, full - lengths, endpoint=True)
        return part_of(X, starts, lengths)

    # ---- distances, of series of a device there

    def pair_distance(self, pairs: ArrayLike, X: ArrayLike | None = None, *, lengths: Lengths = None) -> Array:
        """Learned distances of pairs.

        Parameters
        ----------
        pairs : int array of shape (n_pairs, 2)
            Indices of series of X.
        X, lengths : optional
            As for `fit`; None is the series at fit.

        Returns
        -------
        distances : array of shape (n_pairs,)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If pairs are no indices of series of X, or X differs from that at fit in its channels.

        Examples
        --------
        >>> from sdtwkit.metric_learning import MahalanobisSoftDTW
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = MahalanobisSoftDTW(max_iter=5, random_state=0).fit_labels(X, y)
        >>> same, different = metric.pair_distance([[0, 1], [0, 2]])
        >>> bool(same < different)
        True
        """
        series = self._collection(X, lengths)
        return self._distances(series, series, *read_pairs(pairs, len(series)).T)

    def pair_score(self, pairs: ArrayLike, X: ArrayLike | None = None, *, lengths: Lengths = None) -> Array:
        """Minus the distances of pairs: the higher, the more alike.

        Parameters
        ----------
        pairs, X, lengths
            As for `pair_distance`.

        Returns
        -------
        scores : array of shape (n_pairs,)

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As for `pair_distance`.
        """
        return -self.pair_distance(pairs, X, lengths=lengths)

    def decision_function(self, pairs: ArrayLike, X: ArrayLike | None = None, *, lengths: Lengths = None) -> Array:
        """What `pair_score` gives, by the name that scorers of scikit-learn look for.

        Parameters
        ----------
        pairs, X, lengths
            As for `pair_distance`.

        Returns
        -------
        scores : array of shape (n_pairs,)

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As for `pair_distance`.
        """
        return self.pair_score(pairs, X, lengths=lengths)

    def pairwise_distances(
        self, X: ArrayLike, Y: ArrayLike | None = None, *, lengths: Lengths = None, Y_lengths: Lengths = None
    ) -> Array:
        """Learned distances between all series of two collections, a precomputed metric for scikit-learn.

        Parameters
        ----------
        X, lengths
            As for `fit`.
        Y, Y_lengths : optional
            Another collection; None is X, where each pair is computed once.

        Returns
        -------
        distances : array of shape (len(X), len(Y))

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X or Y is no collection of finite series, or differs from that at fit in its channels.

        Examples
        --------
        >>> from sdtwkit.metric_learning import MahalanobisSoftDTW
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = MahalanobisSoftDTW(max_iter=5, random_state=0).fit_labels(X, y)
        >>> metric.pairwise_distances(X).argsort(axis=1)[:, 1]  # the nearest of the others
        array([1, 0, 3, 2])
        """
        X = as_list(self._read(X, lengths))
        if Y is None:
            if Y_lengths is not None:
                raise ValueError("Y_lengths is given, but Y is None; expected lengths alone")
            i, j = np.triu_indices(len(X), 1)
            values = self._distances(X, X, i, j)
            i, j = (_arrays.beside(index, values) for index in (i, j))
            with _arrays.device_of(values):
                out = _arrays.namespace(values).zeros((len(X), len(X)), values.dtype)
                out[i, j] = out[j, i] = values
            return out
        Y = as_list(self._read(Y, Y_lengths))
        i, j = np.divmod(np.arange(len(X) * len(Y)), len(Y))
        return self._distances(X, Y, i, j).reshape(len(X), len(Y))

    def get_metric(self) -> LearnedMetric:
        """The learned distance alone.

        Returns
        -------
        metric : LearnedMetric
            A picklable function of two series (n, d) or (n,), of any lengths. It stays as it is when the estimator is
            fitted anew.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> from sdtwkit.metric_learning import MahalanobisSoftDTW
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = MahalanobisSoftDTW(max_iter=5, random_state=0).fit_labels(X, y)
        >>> distance = metric.get_metric()
        >>> bool(distance([0.0, 1.0], [0.0, 0.9]) < distance([0.0, 1.0], [1.0, 0.0]))
        True
        """
        check_is_fitted(self)
        return LearnedMetric(self._metric(), self._n_channels)

    def _collection(self, X, lengths):
        check_is_fitted(self)
        if X is not None:
            return as_list(self._read(X, lengths))
        if lengths is not None:
            raise ValueError("lengths is given, but X is None; expected lengths of X")
        return self._series

    def _dtype(self, *series):
        return np.result_type(self._metric().dtype, *(one.dtype for one in series))

    def _distances(self, X, Y, i, j):
        """(len(i),) distances of X[i[k]] and Y[j[k]], Series both."""
        metric, dtype, cuts = self._metric(), self._dtype(X, Y), range(0, len(i), _JOB)
        if _arrays.on_device(X.data):  # where they stay
            found = (metric.distances(chosen(X, i[k : k + _JOB]), chosen(Y, j[k : k + _JOB])) for k in cuts)
        else:
            jobs = ((metric, compact(X, i[k : k + _JOB]), compact(Y, j[k : k + _JOB])) for k in cuts)
            found = _blocks.map(_distances_of, jobs, self.n_jobs)
        with _arrays.device_of(X.data):
            out = _arrays.namespace(X.data).empty(len(i), dtype)
            for k, values in zip(cuts, found, strict=True):
                out[k : k + _JOB] = values
        return out

    # ---- same or not

    def calibrate_threshold(
        self,
        pairs: ArrayLike,
        y: ArrayLike,
        X: ArrayLike | None = None,
        *,
        lengths: Lengths = None,
        strategy: Literal["accuracy", "f_beta", "max_tpr", "max_tnr"] = "accuracy",
        min_rate: float | None = None,
        beta: float = 1.0,
    ) -> Self:
        """Choose the distance up to which `predict` takes pairs for same, best by pairs that were not trained on.

        Parameters
        ----------
        pairs, y, X, lengths
            As for `fit`; X None is the series at fit.
        strategy : {"accuracy", "f_beta", "max_tpr", "max_tnr"}
            What is to be largest: accuracy, the F score of `beta`, or the true positive (negative) rate where the true
            negative (positive) rate is at least `min_rate`.
        min_rate : float within [0, 1], optional
            For the strategies "max_tpr" and "max_tnr" alone, which need it.
        beta : float > 0, default 1
            How many times as much recall counts as precision, for "f_beta".

        Returns
        -------
        self

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If a parameter is none of those above, or pairs and signs do not fit X.

        Examples
        --------
        >>> from sdtwkit.metric_learning import MahalanobisSoftDTW
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = MahalanobisSoftDTW(max_iter=5, random_state=0).fit_labels(X, y)
        >>> metric = metric.calibrate_threshold([[0, 1], [2, 3], [0, 2], [1, 3]], [1, 1, -1, -1])
        >>> metric.predict([[0, 1], [0, 3]])
        array([ 1, -1])
        """
        _words.check_choice(strategy, "strategy", STRATEGIES)
        beta = _words.check_positive(beta, "beta")
        if strategy.startswith("max"):
            min_rate = _words.check_real(min_rate, "min_rate", f"a rate within [0, 1] for strategy={strategy!r}")
            if not 0 <= min_rate <= 1:
                raise ValueError(f"min_rate is {min_rate}; expected a rate within [0, 1]")
        distances = _arrays.on_host(self.pair_distance(pairs, X, lengths=lengths))
        same = read_signs(y, len(distances))
        self.threshold_ = best_threshold(distances, same, strategy, min_rate, beta)
        return self

    def set_threshold(self, threshold: float) -> Self:
        """Take pairs up to this distance for same.

        Parameters
        ----------
        threshold : float
            What `predict` compares distances with.

        Returns
        -------
        self

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the threshold is no number.
        """
        check_is_fitted(self)
        self.threshold_ = _words.check_real(threshold, "threshold", "a number")
        return self

    def predict(self, pairs: ArrayLike, X: ArrayLike | None = None, *, lengths: Lengths = None) -> Integers:
        """Whether pairs belong together: their distance is at most `threshold_`.

        Parameters
        ----------
        pairs, X, lengths
            As for `pair_distance`.

        Returns
        -------
        y : int64 array of shape (n_pairs,)
            +1 for pairs that do, else -1.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As for `pair_distance`.
        """
        return np.where(_arrays.on_host(self.pair_distance(pairs, X, lengths=lengths)) <= self.threshold_, 1, -1)

    def score(self, pairs: ArrayLike, y: ArrayLike, X: ArrayLike | None = None, *, lengths: Lengths = None) -> float:
        """Area under the ROC curve of `pair_score`.

        Parameters
        ----------
        pairs, y, X, lengths
            As for `fit`; X None is the series at fit.

        Returns
        -------
        score : float
            In [0, 1].

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError
            As for `pair_distance`, or if the signs do not fit the pairs.
        """
        scores = _arrays.on_host(self.pair_score(pairs, X, lengths=lengths))
        return float(roc_auc_score(read_signs(y, len(scores)), scores))


class LearnedMetric:
    """A learned distance, called with two series; it does not change when the estimator is fitted anew."""

    def __init__(self, metric, n_channels):
        self._metric, self._n_channels = metric, n_channels

    def __call__(self, x: ArrayLike, y: ArrayLike) -> float:
        x, y = _arrays.as_series_pair(x, y)
        if x.form != "single":
            raise _words.not_single("x", "y")
        if x.n_channels != self._n_channels:
            raise ValueError(f"x and y have d = {x.n_channels}; the metric was learned from d = {self._n_channels}")
        _arrays.check_one_place((self._metric.learned, x.data), ("what was learned", "x"))
        return self._metric.distances(x, y, 1)[0]


def _distances_of(metric, x, y, n_jobs):
    return metric.distances(x, y, n_jobs)


# ---- collections as lists


def as_list(series):
    """The same data without the caller's shape, for series that are picked and cut."""
    return part_of(series, series.starts, series.lengths)


def part_of(series, starts, lengths):
    shapes = [(n, series.n_channels) for n in lengths.tolist()]
    return _arrays.Series(series.data, starts, lengths, "list", shapes)


def chosen(series, index):
    """Series of these indices, repetitions included."""
    return part_of(series, series.starts[index], series.lengths[index])


def compact(series, index):
    """Series of these indices, repetitions included, over the rows they need alone, since they may travel."""
    kept, place = np.unique(index, return_inverse=True)
    if len(kept) == len(series):
        return chosen(series, index)
    lengths = series.lengths[kept]
    data = np.concatenate([series.item(b) for b in kept.tolist()])
    starts = np.cumsum(lengths) - lengths
    return part_of(_arrays.Series(data, starts, lengths, "list", []), starts[place], lengths[place])


# ---- what to stop early by


def _read_validation_pairs(validation, n_series):
    try:
        pairs, y = validation
    except (TypeError, ValueError):
        raise TypeError("validation is no tuple; expected (pairs, y)") from None
    pairs = read_pairs(pairs, n_series, "validation[0]")
    return pairs, read_signs(y, len(pairs), "validation[1]")


def _read_indices(validation, n_series):
    array = np.asarray(_arrays.on_host(validation))
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"validation has shape {array.shape} and dtype {array.dtype}; expected indices of series, (n,)")
    if len(array) and not (0 <= array.min() and array.max() < n_series):
        raise ValueError(f"validation holds indices beyond 0 to {n_series - 1}")
    return np.unique(array).astype(np.int64)


def _share(members, fraction, rng, least=1):
    """A random share of them, `least` or more, but never all."""
    n = min(max(round(fraction * len(members)), least), len(members) - 1)
    return rng.permutation(members)[: max(n, 0)]
