"""A linear map of the channels, learned so that soft-DTW divergences of mapped series tell classes apart."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .. import _arrays, _options, _words
from .._estimators import items
from .._typing import Array, Arrays, Kind, Lengths, RandomState
from ..divergences import KINDS, soft_dtw_divergence, soft_dtw_divergence_value_and_grad
from ..pairwise import cdist_soft_dtw_divergence
from ._learner import MetricLearner, chosen
from ._pairs import together

LOSSES = ("contrastive", "triplet")


class MahalanobisSoftDTW(MetricLearner):
    """The soft-DTW divergence of series whose channels were mapped linearly, the map learned from pairs.

    The cost of matching samples a and b becomes ||L a - L b||^2 / 2, half of a squared Mahalanobis distance. L is found
    by stochastic gradient descent on the exact gradient of the divergence [1]_. With the divergence by sample, D
    divided by the mean length of the pair, the losses are the means over pairs of

    * "contrastive": D of same pairs, max(0, margin - D) of different ones;
    * "triplet": max(0, margin + D(same pair) - D(different pair)). From labels, both pairs have a series in common;
      given pairs are put together by chance.

    Parameters
    ----------
    n_components : int >= 1, optional
        Rows of L, at most d; by default d.
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost between mapped samples.
    kind : {"soft", "sharp", "mean"}
        Of the divergence, see `soft_dtw_divergence`.
    window : int >= 0, optional
        Band around the diagonal.
    loss : {"contrastive", "triplet"}
    margin : float > 0, default 1.0
        Of the loss, in units of the divergence by sample.
    max_iter, batch_size, max_norm, crop, early_stopping, validation_fraction, n_iter_no_change, tol, warm_start, \
random_state, verbose
        As for `SiameseGRU`.
    learning_rate : float > 0, default 0.03
        Of Adam.
    n_jobs : int, optional
        Threads; None is one, -1 all.

    Attributes
    ----------
    components_ : array of shape (n_components, d)
        L. Training starts from the reciprocal standard deviations of the channels, where there are fewer components
        than channels from the principal components of the scaled samples. A CuPy array where the series at fit were.
    threshold_, loss_curve_, validation_curve_, n_iter_, best_iter_, n_features_in_, feature_names_in_
        As for `SiameseGRU`.

    Notes
    -----
    `pair_distance` is the divergence itself, not divided by lengths; negative values, which rounding can give, are set
    to 0.

    References
    ----------
    .. [1] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.metric_learning import MahalanobisSoftDTW
    >>> rng, t = np.random.default_rng(0), np.linspace(0, 1, 20)
    >>> y = np.arange(8) % 2
    >>> X = [np.column_stack([np.sin((k + 1) * np.pi * t), 3 * rng.normal(size=20)]) for k in y]  # the second is noise
    >>> metric = MahalanobisSoftDTW(max_iter=5, random_state=0).fit_labels(X, y)
    >>> signal, noise = abs(metric.components_).sum(axis=0)
    >>> bool(signal > 5 * noise)
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        gamma: float = 1.0,
        kind: Kind = "soft",
        window: int | None = None,
        loss: Literal["contrastive", "triplet"] = "contrastive",
        margin: float = 1.0,
        max_iter: int = 20,
        batch_size: int = 32,
        learning_rate: float = 0.03,
        max_norm: float = 1.0,
        crop: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.gamma = gamma
        self.kind = kind
        self.window = window
        self.loss = loss
        self.margin = margin
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_norm = max_norm
        self.crop = crop
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Arrays:
        """Series with their channels mapped by L.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        mapped : array of shape (B, n, n_components), or list of (n_i, n_components) arrays
            An array where X is one, with zeros in the padding.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        series = self._read(X, lengths)
        if series.form == "list":
            return _mapped_items(self.components_, series)
        with _arrays.device_of(series.data):
            return _mapped(self.components_, series)

    def trajectories(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Two series as the divergence sees them: mapped by L.

        Parameters
        ----------
        x, y : arrays of shape (n, d) and (m, d), or (n,) and (m,)
            Two series.

        Returns
        -------
        mapped_x, mapped_y : arrays of shape (n, n_components) and (m, n_components)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If x and y are not two finite series with the channels of those at fit.
        """
        check_is_fitted(self)
        x, y = _arrays.as_series_pair(x, y)
        if x.form != "single":
            raise _words.not_single("x", "y")
        x, y = (self._beside_fit(one, name) for one, name in ((x, "x"), (y, "y")))
        with _arrays.device_of(x.data):
            return tuple(_arrays.product(one.data, self.components_.T) for one in (x, y))

    def _check_parameters(self):
        _words.check_choice(self.loss, "loss", LOSSES)
        _words.check_choice(self.kind, "kind", KINDS)
        _words.check_positive(self.margin, "margin")
        recursion = _options.check_recursion(self.gamma, window=self.window)
        if recursion.mask is not None:
            raise TypeError("window is a mask; expected None or an integer >= 0, as series are cut and of any lengths")
        if self.n_components is not None:
            _words.check_count(self.n_components, "n_components")

    def _options(self):
        return {"gamma": self.gamma, "kind": self.kind, "window": self.window}

    def _start(self, rng):
        d = self._n_channels
        k = d if self.n_components is None else self.n_components
        if k > d:
            raise ValueError(f"n_components is {k}, the series have d = {d}; expected at most so many")
        rows = _arrays.namespace(self._series.data).concatenate(items(self._series)).astype(np.float64)
        rows = rows - rows.mean(axis=0)
        covariance = _arrays.on_host(_arrays.product(rows.T, rows)) / len(rows)
        spread = np.sqrt(np.diag(covariance))
        scale = 1 / np.where(spread > 0, spread, 1)
        directions = np.eye(d)
        if k < d:
            directions = np.linalg.eigh(covariance * scale * scale[:, None])[1][:, ::-1].T[:k]
            large = abs(directions) > abs(directions).max(axis=1, keepdims=True) / 2
            first = np.take_along_axis(directions, large.argmax(axis=1)[:, None], axis=1)
            directions = directions * np.sign(first)  # which would be chance else
        return {"components": (directions * scale).astype(self._series.dtype)}

    def _parameters(self):
        if self.n_components not in (None, len(self.components_)):
            raise ValueError(
                f"n_components is {self.n_components}, the map to go on with (warm_start) has {len(self.components_)}; "
                "expected the same"
            )
        return {"components": self.components_.astype(self._series.dtype)}

    def _keep(self, parameters):
        self.components_ = parameters["components"]

    def _loss_and_grad(self, parameters, same, different, rng):
        pairs, is_same = together(same, different)
        x, y = (self._cropped(index, rng) for index in pairs.T)
        return linear_loss_and_grad(
            parameters["components"], x, y, is_same, self.loss, self.margin, self._options(), self.n_jobs
        )

    def _validation_loss(self, parameters, pairs, same):
        x, y = (chosen(self._series, index) for index in pairs.T)
        values = _divergences(parameters["components"], x, y, self._options(), self.n_jobs)
        values = _arrays.on_host(values) / _mean_lengths(x, y)
        if self.loss == "triplet":  # every same pair against every different one
            return float(np.maximum(0, self.margin + values[same][:, None] - values[~same]).mean())
        return float(np.where(same, values, np.maximum(0, self.margin - values)).mean())

    def _metric(self):
        return MahalanobisMetric(self.components_, self._options())

    def pairwise_distances(
        self, X: ArrayLike, Y: ArrayLike | None = None, *, lengths: Lengths = None, Y_lengths: Lengths = None
    ) -> Array:
        if Y is None and Y_lengths is not None:
            raise ValueError("Y_lengths is given, but Y is None; expected lengths alone")

        def mapped(collection, lengths):
            series = self._read(collection, lengths)
            return _mapped_items(self.components_, series)

        X, Y = mapped(X, lengths), None if Y is None else mapped(Y, Y_lengths)
        values = cdist_soft_dtw_divergence(X, Y, **self._options(), n_jobs=self.n_jobs)
        with _arrays.device_of(values):
            return np.maximum(values, 0)

    pairwise_distances.__doc__ = MetricLearner.pairwise_distances.__doc__


class MahalanobisMetric(NamedTuple):
    """The learned divergence of two series."""

    components: np.ndarray
    options: dict

    @property
    def dtype(self):
        return self.components.dtype

    @property
    def learned(self):
        """An array of what was learned."""
        return self.components

    def distances(self, x1, x2, n_jobs=1):
        """(B,) divergences of Series pair by pair."""
        values = _divergences(self.components, x1, x2, self.options, n_jobs or -1)
        with _arrays.device_of(values):
            return np.maximum(values, 0)


def linear_loss_and_grad(L, x, y, same, loss, margin, options, n_jobs=None):
    """-> loss, {"components": gradient} of pairs x[k], y[k] of two Series; same ones come first."""
    x_mapped, y_mapped = _mapped(L, x), _mapped(L, y)
    values, *gradients = soft_dtw_divergence_value_and_grad(
        x_mapped, y_mapped, **options, x_lengths=x.lengths, y_lengths=y.lengths, n_jobs=n_jobs
    )
    n, same = (_arrays.beside(array, values) for array in (_mean_lengths(x, y), same))
    values = values / n
    if loss == "triplet":
        half = len(values) // 2
        short = margin + values[:half] - values[half:]
        total, slope = np.maximum(0, short).mean(), np.where(short > 0, 1.0, 0.0) / half
        slopes = _arrays.namespace(slope).concatenate([slope, -slope])
    else:
        total = np.where(same, values, np.maximum(0, margin - values)).mean()
        slopes = np.where(same, 1.0, np.where(values < margin, -1.0, 0.0)) / len(values)
    slopes = (slopes / n).astype(L.dtype)[:, None, None]
    rows = ((slopes * g).reshape(-1, len(L)).T for g in gradients)
    series = (side.padded(side.data).reshape(-1, side.n_channels) for side in (x, y))
    return total, {"components": sum(_arrays.product(g, z) for g, z in zip(rows, series, strict=True))}


def _divergences(L, x, y, options, n_jobs):
    """(B,) of two Series pair by pair, mapped by L."""
    with _arrays.device_of(x.data):
        lengths = {"x_lengths": x.lengths, "y_lengths": y.lengths}
        return soft_dtw_divergence(_mapped(L, x), _mapped(L, y), **options, **lengths, n_jobs=n_jobs)


def _mapped(L, series):
    """(B, n, k), the series with their channels mapped, and zeros beyond their lengths."""
    return _arrays.product(series.padded(series.data), L.T)


def _mapped_items(L, series):
    """The same series, [(n_i, k)], in no more memory than they need."""
    with _arrays.device_of(series.data), np.errstate(invalid="ignore"):  # of what lies beyond the lengths
        flat = _arrays.product(series.data, L.T)
    return items(_arrays.Series(flat, series.starts, series.lengths, "list", []))


def _mean_lengths(x, y):
    return (x.lengths + y.lengths) / 2
