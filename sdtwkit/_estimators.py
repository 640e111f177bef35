"""What all estimators share: how they read series, labels and weights, and how they compare collections.

A 2-D array of B rows is B univariate series, as everywhere in scikit-learn: its width becomes `n_features_in_`, and
arrays that come later must be as wide. Lists of series and 3-D arrays set `n_features_in_` to the number of channels,
and their lengths are free.
"""

from __future__ import annotations

import inspect
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import validation
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from . import _arrays, _options, _words
from ._typing import Lengths
from .costs import get_cost
from .divergences import as_term, kind_of, soft_dtw_divergence
from .pairwise import cdist_soft_dtw, cdist_soft_dtw_divergence

# NaN may be padding, so `_arrays` looks for it; scikit-learn 1.6 renamed the option that leaves it be.
_RENAMED = "ensure_all_finite" in inspect.signature(check_array).parameters
_LEAVE_NAN = {"ensure_all_finite" if _RENAMED else "force_all_finite": False}


class SeriesEstimator(BaseEstimator):
    """Base of the estimators: reads collections and remembers what they looked like at fit."""

    _takes_device_arrays = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _read(self, X, lengths=None, *, reset=False):
        """X as Series; `reset` at fit, when it is remembered and not compared."""
        if not reset:
            check_is_fitted(self)
        is_list = isinstance(X, (list, tuple))
        array = X if is_list else _as_array(self, X)
        is_table = not is_list and array.ndim == 2
        _check_columns(self, X, is_table and (reset or self._fitted_to_table), reset)
        series = _arrays.as_collection(array, lengths, device=self._takes_device_arrays)
        if reset:
            self._n_channels, self._fitted_to_table = series.n_channels, is_table
            if not is_table:
                self.n_features_in_ = series.n_channels
        elif series.n_channels != self._n_channels:
            raise ValueError(
                f"X holds series with d = {series.n_channels}, {type(self).__name__} was fitted to series with "
                f"d = {self._n_channels}; expected as many channels (a 2-D array holds one univariate series a row)"
            )
        return series


class SeriesClassifier(ClassifierMixin, SeriesEstimator):
    """Base of the classifiers."""

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> float:
        """Accuracy of the predictions.

        Parameters
        ----------
        X, lengths
            As for `predict`.
        y : array of shape (len(X),)
            True labels.
        sample_weight : array of shape (len(X),), optional
            Weights of the series in the mean.

        Returns
        -------
        score : float

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the series are not as for `predict`, or labels or weights do not fit.
        """
        y, sample_weight = _arrays.on_host(y), _arrays.on_host(sample_weight)
        return accuracy_score(y, self.predict(X, lengths=lengths), sample_weight=sample_weight)

    def _read_labels(self, y, n):
        """(n,) labels of classes."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = column_or_1d(check_array(_arrays.on_host(y), ensure_2d=False, dtype=None, input_name="y"), warn=True)
        check_classification_targets(y)
        if len(y) != n:
            raise ValueError(f"y has {len(y)} labels, X has {n} series; expected one label for each")
        return y


def _as_array(estimator, X):
    """X, a table with or without names or an array of any kind, as an ndarray of real numbers; CuPy's stay."""
    if estimator._takes_device_arrays and _arrays.on_device(X):
        return X
    if hasattr(X, "__dlpack__"):  # an array or a tensor: if it cannot be read, our words say why
        X = _arrays.to_ndarray(X, "X")
    # Nor can these be read: None, a generator, a vector, not even if it is an object array of ragged series.
    if getattr(X, "ndim", 2 if hasattr(X, "__array__") else 0) not in _arrays.COLLECTION:
        _arrays.read_series(X, _arrays.COLLECTION, "X")
    return check_array(X, allow_nd=True, ensure_2d=False, estimator=estimator, **_LEAVE_NAN)


def _check_columns(estimator, X, is_table, reset):
    """scikit-learn's own words and attributes for names of columns, and for their number in a table."""
    if hasattr(validation, "validate_data"):
        validation.validate_data(estimator, X, reset=reset, skip_check_array=True, ensure_2d=is_table)
    else:  # scikit-learn 1.5
        estimator._validate_data(X, reset=reset, cast_to_ndarray=False, ensure_2d=is_table)


def items(series):
    """The series of a collection, [(n_i, d) views]."""
    return [series.item(b) for b in range(len(series))]


def read_weights(sample_weight, n):
    """(n,) float64 weights >= 0, not all 0; ones where none are given."""
    if sample_weight is None:
        return np.ones(n)
    return _arrays.as_weights(_arrays.on_host(sample_weight), n, "sample_weight")


def with_shares(series, sample_weight):
    """-> the series of positive weight, [(n_i, d)], and the weights divided by their sum."""
    weights = read_weights(sample_weight, len(series))
    X = [series.item(b) for b in np.flatnonzero(weights)]
    return X, weights[weights > 0] / weights.sum()


def given_reference(series, reference):
    """A reference that the user gave to align these series with, (m, d), where they lie."""
    first, reference = _arrays.on_host(series.item(0)), _arrays.on_host(reference)
    _, reference = _arrays.as_series_pair(first, reference, names=("X[0]", "reference"))
    return _arrays.beside(reference.data.copy(), series.data)


def warn_unless_converged(*found):
    """Say so, at the caller of fit, where the search for a barycenter ended too early."""
    for result in found:
        if not result.converged:
            warnings.warn(result.message, ConvergenceWarning, stacklevel=3)
            return


# ---- comparing collections

METRICS = {
    "soft_dtw_divergence": "soft",
    "sharp_divergence": "sharp",
    "mean_divergence": "mean",
    "soft_dtw": None,
    "dtw": None,
}
_ROUNDING = 1e-10  # of the terms of a divergence: more than their rounding, less than any difference worth the name


class Comparison(NamedTuple):
    """A discrepancy between series, its options checked."""

    kind: str | None  # of a divergence; None is the alignment loss alone
    options: dict  # keyword arguments of the functions

    @property
    def is_divergence(self):
        return self.kind is not None

    def matrix(self, X, Y=None):
        """(len(X), len(Y)) values between lists of series; Y None is X. Divergences have no negatives of rounding."""
        if not self.is_divergence:
            return cdist_soft_dtw(X, Y, **self.options)
        values = cdist_soft_dtw_divergence(X, Y, kind=self.kind, **self.options)
        i, j = np.nonzero(_arrays.on_host(values < 0))
        if len(i):  # differences of terms as large as the first of them
            Y = X if Y is None else Y
            pairs = [X[a] for a in i], [Y[b] for b in j]
            term = soft_dtw_divergence(*pairs, kind=self.kind, debias=False, **self.options)
            at = _arrays.beside(i, values), _arrays.beside(j, values)
            values[at] = np.where(-values[at] <= _ROUNDING * abs(term), 0, values[at])
        return values


def comparison_of(estimator, metric):
    """What an estimator compares series by: a metric with the estimator's options; cost None is the metric's own."""
    kind, options = METRICS[_words.check_choice(metric, "metric", METRICS)], _options_of(estimator)
    if options["cost"] is None:
        options["cost"] = "sqeuclidean" if kind is None else "half_sqeuclidean"
    if metric == "dtw":
        options["regularizer"] = None
    return _checked(kind, options)


def objective_of(estimator):
    """What the barycenters of an estimator minimise the mean of: its parameter `divergence`, with its options."""
    return _checked(kind_of(estimator.divergence), _options_of(estimator))


def _options_of(estimator):
    names = ("gamma", "regularizer", "cost", "window", "step_weights", "n_jobs")
    return {name: getattr(estimator, name) for name in names}


def _checked(kind, options):
    recursion = _options.check_recursion(
        options["gamma"], options["regularizer"], step_weights=options["step_weights"], window=options["window"]
    )
    as_term(kind or "soft", get_cost(options["cost"]), recursion)
    _options.check_n_jobs(options["n_jobs"])
    return Comparison(kind, options)
