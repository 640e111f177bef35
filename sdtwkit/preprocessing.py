"""Transformers that make series comparable: each to its own mean and deviation, or all to one length.

Both work on each series alone, so what they do to one does not depend on the others; collections come and go in any of
the package's forms.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin

from . import _arrays, _words
from ._estimators import SeriesEstimator, items
from ._typing import Array, Arrays, Lengths
from .barycenters import resampled

__all__ = ["SeriesResampler", "SeriesScaler"]


class _SeriesTransformer(TransformerMixin, SeriesEstimator):
    """A transformer whose `fit_transform` hands the lengths to both of its halves."""

    def fit_transform(self, X: ArrayLike, y: object = None, *, lengths: Lengths = None) -> Arrays:
        """Fit to X, then transform it.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        y : ignored
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        X : array or list of arrays
            As `transform` returns.

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)


class SeriesScaler(OneToOneFeatureMixin, _SeriesTransformer):
    """Bring each channel of each series to mean 0 and standard deviation 1.

    With m and s the mean and the standard deviation of a channel over the n samples of one series (s^2 = mean of
    (x - m)^2), the transformed channel is (x - m) / s. Nothing is learned from other series.

    Parameters
    ----------
    with_mean : bool, default True
        Subtract the mean.
    with_std : bool, default True
        Divide by the standard deviation.

    Attributes
    ----------
    n_features_in_ : int
        Width of a 2-D array, number of channels else.
    feature_names_in_ : array of str
        Where X has names of columns, all strings.

    See Also
    --------
    SeriesResampler : Brings all series to one length.

    Notes
    -----
    A channel that is constant but for rounding has no scale: it becomes 0, or stays as it is with ``with_mean=False``.

    A 2-D array holds B univariate series, so its rows are scaled, where `sklearn.preprocessing.StandardScaler` scales
    columns.

    Examples
    --------
    >>> from sdtwkit.preprocessing import SeriesScaler
    >>> X = [[[1.0, 5.0], [3.0, 5.0]], [[0.0, 1.0], [0.0, 2.0], [3.0, 3.0]]]
    >>> for x in SeriesScaler().fit_transform(X):
    ...     print(x.round(2).tolist())
    [[-1.0, 0.0], [1.0, 0.0]]
    [[-0.71, -1.22], [-0.71, 0.0], [1.41, 1.22]]
    """

    def __init__(self, *, with_mean: bool = True, with_std: bool = True) -> None:
        self.with_mean = with_mean
        self.with_std = with_std

    def fit(self, X: ArrayLike, y: object = None, *, lengths: Lengths = None) -> Self:
        """Remember what the series look like; nothing else is learned.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        y : ignored
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X is no collection of finite series.
        """
        self._read(X, lengths, reset=True)
        return self

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Arrays:
        """Scale each series.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        X : array or list of arrays, in the form of X
            A copy; float32 where X is, else float64. Padding of NaN stays NaN, what lies beyond `lengths` becomes 0.

        Raises
        ------
        TypeError, ValueError
            If X is no collection of finite series, or was another kind at fit.
        """
        series = self._read(X, lengths)
        with _arrays.device_of(series.data):
            scaled = np.full_like(series.data, np.nan if lengths is None else 0)
            for start, x in zip(series.starts.tolist(), items(series), strict=True):
                scaled[start : start + len(x)] = self._scaled(x)
        return series.like(scaled)

    def _scaled(self, x):
        """One series (n, d), in float64."""
        n = len(x)
        mean = x.mean(axis=0, dtype=np.float64)
        deviation = x - mean
        variance = (deviation**2).mean(axis=0)
        # A bound of the rounding in the mean, as in scikit-learn's StandardScaler.
        constant = variance <= (n * np.finfo(np.float64).eps * mean) ** 2
        if self.with_mean:
            x = np.where(constant, 0, deviation)
        return x / np.where(constant, 1, np.sqrt(variance)) if self.with_std else x


class SeriesResampler(ClassNamePrefixFeaturesOutMixin, _SeriesTransformer):
    """Bring all series to one length, by linear interpolation.

    The first and the last sample of a series stay the first and the last, and the new ones lie evenly between: number k
    of `length` is the series at time k (n - 1) / (length - 1), linear between its n samples.

    Parameters
    ----------
    length : int >= 1, optional
        Samples of a transformed series; None is the length of the longest series at fit.

    Attributes
    ----------
    length_ : int
        Samples of a transformed series.
    n_features_in_ : int
        Width of a 2-D array, number of channels else.
    feature_names_in_ : array of str
        Where X has names of columns, all strings.

    See Also
    --------
    SeriesScaler : Brings each series to mean 0 and standard deviation 1.

    Notes
    -----
    Nothing is smoothed beforehand: what oscillates faster than the new samples can tell is aliased. Of a length of 1,
    the sample is the first.

    Examples
    --------
    >>> from sdtwkit.preprocessing import SeriesResampler
    >>> SeriesResampler(length=5).fit_transform([[0.0, 1.0, 4.0], [0.0, 8.0]])[..., 0]
    array([[0. , 0.5, 1. , 2.5, 4. ],
           [0. , 2. , 4. , 6. , 8. ]])
    """

    def __init__(self, length: int | None = None) -> None:
        self.length = length

    def fit(self, X: ArrayLike, y: object = None, *, lengths: Lengths = None) -> Self:
        """Learn the common length.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        y : ignored
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If `length` is no integer >= 1, or X no collection of finite series.
        """
        length = None if self.length is None else _words.check_count(self.length, "length")
        series = self._read(X, lengths, reset=True)
        self.length_ = int(series.lengths.max()) if length is None else length
        return self

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Resample each series.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        X : array of shape (B, length_, d); (B, length_) of an array (B, n)
            float32 where X is, else float64.

        Raises
        ------
        TypeError, ValueError
            If X is no collection of finite series, or was another kind at fit.
        """
        series = self._read(X, lengths)
        new = _arrays.stacked([resampled(x, self.length_) for x in items(series)])
        is_table = series.form == "padded" and len(series.shape) == 2
        return new[..., 0] if is_table else new

    @property
    def _n_features_out(self):
        return self.length_
