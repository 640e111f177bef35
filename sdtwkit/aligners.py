"""Estimators that align series with a reference, or summarise them by one."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from . import _arrays, _options
from ._estimators import (
    SeriesEstimator,
    comparison_of,
    given_reference,
    items,
    objective_of,
    read_weights,
    warn_unless_converged,
    with_shares,
)
from ._typing import (
    Array,
    Arrays,
    Band,
    Bounds,
    CostLike,
    Kind,
    Lengths,
    RandomState,
    Regularizer,
    StepWeights,
    WarpLoss,
    Window,
)
from .barycenters import check_stop, common_length, fit_soft_dtw_barycenter, resampled
from .series import soft_dtw, soft_dtw_alignment, soft_dtw_alignment_vjp, soft_dtw_value_and_grad
from .warping import WarpResult, dec_dtw

_BLOCK_CELLS = 1 << 22  # tables of alignments are made for so many cells at a time: some tens of megabytes


class SoftDTWAligner(TransformerMixin, SeriesEstimator):
    """Series warped onto the time axis of a reference, by their expected alignment with it.

    With the expected alignment E of a series x (n, d) and the reference, each time step j of the reference gets the
    mean of the samples that are matched with it,

        warped[j] = sum_i E[i, j] x[i] / sum_i E[i, j].

    The losses and gradients between batches of series, `loss`, `loss_and_grad` and `alignment_vjp`, need no fit.

    Parameters
    ----------
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost.
    regularizer : {"entropy", "l2", None}
        As for `soft_dtw`; None follows the single best path.
    cost : str or object, default "sqeuclidean"
        Local cost, as for `soft_dtw`; "precomputed" and "nll" compare no two series.
    window, step_weights
        As for `soft_dtw`, with rows along the series and columns along the reference. A mask (n, m) is for series that
        all have one length.
    reference : array of shape (m, d) or (m,), optional
        What to align with; None learns the soft-DTW barycenter of the series.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Attributes
    ----------
    reference_ : array of shape (m, d)
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    References
    ----------
    Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit import SoftDTWAligner
    >>> aligner = SoftDTWAligner(gamma=0.01, reference=[0.0, 1.0, 0.0])
    >>> aligner.fit_transform([[0.0, 0.1, 1.0, 0.0], [0.0, 0.9, 1.1, 0.0, 0.0]])[:, :, 0].round(2)
    array([[0.05, 1.  , 0.  ],
           [0.  , 1.  , 0.  ]])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        reference: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.gamma = gamma
        self.regularizer = regularizer
        self.cost = cost
        self.window = window
        self.step_weights = step_weights
        self.reference = reference
        self.n_jobs = n_jobs

    # ---- with a reference

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Self:
        """Learn the reference, or check the given one.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : ignored
        sample_weight : array of shape (B,), optional
            Weights >= 0 of the series in the barycenter; they are divided by their sum.
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
        options = self._options()
        series = self._read(X, lengths, reset=True)
        X, weights = with_shares(series, sample_weight)
        if self.reference is None:
            found = fit_soft_dtw_barycenter(X, weights=weights, **_transposed(options))
            warn_unless_converged(found)
            self.reference_ = found.barycenter
        else:
            self.reference_ = given_reference(series, self.reference)
        return self

    def fit_transform(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Array:
        """Learn the reference, and warp the series onto its time axis.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        warped : array of shape (len(X), m, d)

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, sample_weight, lengths=lengths).transform(X, lengths=lengths)

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Warp series onto the time axis of the reference.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        warped : array of shape (len(X), m, d)
            float32 where series and reference are, else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        series = self._read(X, lengths)
        shape, dtype = (len(series), *self.reference_.shape), np.result_type(series.dtype, self.reference_.dtype)
        with _arrays.device_of(series.data):
            warped = _arrays.namespace(series.data).empty(shape, dtype)
            for b, E in enumerate(self._alignments(series)):
                warped[b] = _arrays.product(E.T, series.item(b)) / E.sum(axis=0)[:, None]
        return warped

    def alignments(self, X: ArrayLike, *, lengths: Lengths = None) -> Arrays:
        """Expected alignments of series with the reference.

        Parameters
        ----------
        X, lengths
            As for `transform`.

        Returns
        -------
        alignments : array of shape (B, n, m), or list of B arrays (n_i, m)
            A list where X is a list; zeros in the padding of an array.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.

        Examples
        --------
        >>> from sdtwkit import SoftDTWAligner
        >>> aligner = SoftDTWAligner(reference=[0.0, 1.0, 2.0]).fit([[0.0, 0.0, 1.0, 2.0]])
        >>> aligner.alignments([[0.0, 2.0]])[0].round(2)
        array([[1.  , 0.58, 0.01],
               [0.01, 0.58, 1.  ]])
        """
        series = self._read(X, lengths)
        tables = self._alignments(series)
        if series.form == "list":
            return list(tables)
        dtype = np.result_type(series.dtype, self.reference_.dtype)
        with _arrays.device_of(series.data):
            padded = _arrays.namespace(series.data).zeros((len(series), series.n_rows, len(self.reference_)), dtype)
            for table, E in zip(padded, tables, strict=True):
                table[: len(E)] = E
        return padded

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> float:
        """Minus the mean loss of aligning series with the reference: higher is better.

        Parameters
        ----------
        X, y, lengths
            As for `transform`; y is ignored.
        sample_weight : array of shape (len(X),), optional
            Weights >= 0 of the series in the mean.

        Returns
        -------
        score : float

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the series are not as for `transform`, or the weights do not fit.
        """
        X = items(self._read(X, lengths))
        values = _arrays.on_host(soft_dtw(X, [self.reference_] * len(X), **self._options()))
        return -float(np.average(values, weights=read_weights(sample_weight, len(X))))

    def _alignments(self, series):
        """Yield E (n_b, m) of each series with the reference, made some at a time."""
        X, options = items(series), self._options()
        step = max(1, int(_BLOCK_CELLS // (series.lengths.max() * len(self.reference_))))
        for first in range(0, len(X), step):
            some = X[first : first + step]
            yield from soft_dtw_alignment(some, [self.reference_] * len(some), **options)[0]

    # ---- between batches, without fit

    def loss(self, X: ArrayLike, Y: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None) -> Array:
        """Soft-DTW between series paired item by item; no fit is needed.

        Parameters
        ----------
        X, Y : arrays of shape (B, n, d) or (B, n), or lists of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        x_lengths, y_lengths : arrays of B integers, optional
            True lengths within padded arrays.

        Returns
        -------
        values : array of shape (B,)

        Raises
        ------
        TypeError, ValueError
            If a parameter is malformed, or the series do not pair.

        Examples
        --------
        >>> from sdtwkit import SoftDTWAligner
        >>> SoftDTWAligner(gamma=0.5).loss([[0.0, 1.0]], [[0.0, 1.0, 1.0]]).round(3)
        array([-0.177])
        """
        return soft_dtw(_batch(X, "X"), _batch(Y, "Y"), x_lengths=x_lengths, y_lengths=y_lengths, **self._options())

    def loss_and_grad(
        self, X: ArrayLike, Y: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None
    ) -> tuple[Array, Arrays, Arrays]:
        """Soft-DTW between series paired item by item, and its gradients; no fit is needed.

        Parameters
        ----------
        X, Y, x_lengths, y_lengths
            As for `loss`.

        Returns
        -------
        values : array of shape (B,)
        grad_X, grad_Y : arrays or lists of arrays with the shapes of X and Y
            Zeros in the padding.

        Raises
        ------
        TypeError, ValueError
            If a parameter is malformed, or the series do not pair.

        Examples
        --------
        >>> from sdtwkit import SoftDTWAligner
        >>> values, grad_X, grad_Y = SoftDTWAligner(gamma=0.5).loss_and_grad([[0.0, 1.0]], [[0.0, 1.0, 1.0]])
        >>> grad_Y[0].round(3)
        array([-0.19 ,  0.406,  0.026])
        """
        x, y = _batch(X, "X"), _batch(Y, "Y")
        values, *gradients = soft_dtw_value_and_grad(x, y, x_lengths=x_lengths, y_lengths=y_lengths, **self._options())
        return values, *(_shaped_like(side, gradient) for gradient, side in zip(gradients, (X, Y), strict=True))

    def alignment_vjp(
        self, X: ArrayLike, Y: ArrayLike, cotangent: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None
    ) -> tuple[Arrays, Arrays]:
        """Gradients of <cotangent, E> with respect to both series of each pair; no fit is needed.

        Parameters
        ----------
        X, Y, x_lengths, y_lengths
            As for `loss`.
        cotangent : array of shape (B, n, m), or list of B arrays (n_i, m_i)
            The derivative of a loss with respect to the expected alignments E.

        Returns
        -------
        grad_X, grad_Y : arrays or lists of arrays with the shapes of X and Y

        Raises
        ------
        TypeError, ValueError
            As for `loss`, or if the cotangent does not fit the alignments.

        Examples
        --------
        >>> from sdtwkit import SoftDTWAligner
        >>> cotangent = [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]  # of the mass off the diagonal
        >>> grad_X, grad_Y = SoftDTWAligner(gamma=0.5).alignment_vjp([[0.0, 1.0]], [[0.0, 1.0, 1.0]], cotangent)
        >>> grad_X[0].round(3)
        array([ 0.606, -0.267])
        """
        x, y = _batch(X, "X"), _batch(Y, "Y")
        gradients = soft_dtw_alignment_vjp(x, y, cotangent, x_lengths=x_lengths, y_lengths=y_lengths, **self._options())
        return tuple(_shaped_like(side, gradient) for gradient, side in zip(gradients, (X, Y), strict=True))

    def _options(self):
        return comparison_of(self, "soft_dtw").options


def _batch(X, name):
    """What pair functions take for a batch: a 2-D array of B univariate series becomes (B, n, 1)."""
    X, form = _arrays.read_series(X, _arrays.COLLECTION, name)
    return X if form == "list" or X.ndim == 3 else X[:, :, None]


def _shaped_like(X, gradient):
    """The gradient of a batch, (B, n) again where X was."""
    return gradient[:, :, 0] if not isinstance(X, (list, tuple)) and np.ndim(X) == 2 else gradient


def _transposed(options):
    """Options as a reference sees them that is aligned with the series: with rows and columns swapped."""
    window = options["window"]
    if np.ndim(window) >= 2:
        window = np.swapaxes(window, -1, -2)
    return options | {"window": window, "step_weights": tuple(options["step_weights"])[::-1]}


class SoftDTWBarycenter(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SeriesEstimator):
    """The series of least mean loss to all series of a collection: their soft-DTW mean.

    Minimises sum_i w_i f(z, X_i) over series z of a chosen length, where f is soft-DTW [1]_ or a divergence [2]_ and
    the weights sum to 1.

    Parameters
    ----------
    gamma : float > 0, default 1.0
        Smoothing, in units of the local cost.
    length : int >= 1, optional
        Length of the barycenter, by default as `soft_dtw_barycenter` chooses it.
    divergence : {False, True, "soft", "sharp", "mean"}
        Minimise soft-DTW (False), the soft divergence (True) or the divergence of that kind. "mean" is bounded below
        only where `length` exceeds that of no series.
    regularizer, cost
        As for `soft_dtw`.
    window, step_weights
        As for `soft_dtw`, with rows along the barycenter and columns along the series. A mask (length, n) is for series
        that all have one length.
    max_iter : int >= 1, default 100
        Iterations of L-BFGS at most.
    tol : float >= 0, default 1e-6
        As for `soft_dtw_barycenter`.
    init : array of shape (length, d), or str, optional
        Where to start, as for `soft_dtw_barycenter`.
    random_state : None, int, Generator or RandomState
        For ``init="random"``.
    verbose : int, default 0
        1 prints the objective after each iteration.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Attributes
    ----------
    barycenter_ : array of shape (length, d)
    cost_ : float
        The minimum found: the weighted mean loss.
    n_iter_ : int
        Iterations taken.
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    See Also
    --------
    soft_dtw_barycenter : The same as a function.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> from sdtwkit import SoftDTWBarycenter
    >>> mean = SoftDTWBarycenter(gamma=0.1, length=3).fit([[0.0, 1.0, 0.0], [0.0, 1.2, 1.2, 0.0]])
    >>> mean.barycenter_[:, 0].round(1)
    array([0. , 1.1, 0. ])
    >>> mean.transform([[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]]).round(1)
    array([[0. ],
           [3.5]])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        length: int | None = None,
        divergence: bool | Kind = False,
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        max_iter: int = 100,
        tol: float = 1e-6,
        init: ArrayLike | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
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
        self.init = init
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Self:
        """Find the barycenter.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : ignored
        sample_weight : array of shape (B,), optional
            Weights >= 0 of the series; they are divided by their sum.
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
        objective = objective_of(self)
        series = self._read(X, lengths, reset=True)
        X, weights = with_shares(series, sample_weight)
        found = fit_soft_dtw_barycenter(
            X,
            weights=weights,
            init=self.init,
            length=self.length,
            divergence=self.divergence,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
            verbose=self.verbose,
            **objective.options,
        )
        warn_unless_converged(found)
        self.barycenter_, self.cost_, self.n_iter_ = found.barycenter, found.cost, found.n_iter
        return self

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Losses between the barycenter and series: what fit minimises the mean of.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        values : array of shape (len(X), 1)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        X = items(self._read(X, lengths))
        return objective_of(self).matrix([self.barycenter_], X).T

    def fit_transform(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Array:
        """Find the barycenter, and the losses between it and the series.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        values : array of shape (len(X), 1)

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, sample_weight, lengths=lengths).transform(X, lengths=lengths)

    _n_features_out = 1


class DecDTWAligner(TransformerMixin, SeriesEstimator):
    """Series warped onto the time axis of a reference, by continuous warps (DecDTW).

    Each series x gets the warp phi that lays it on the reference y as `dec_dtw` defines it, and becomes x(phi(t_j)) at
    the sample times t_j of the reference.

    Parameters
    ----------
    reg : float >= 0, default 0.1
        Regularization of the slopes.
    reference : array of shape (m, d) or (m,), optional
        What to align with; None learns a mean of the series: that of the series resampled to their median length, then
        in turn warps onto it and the mean of what they make.
    loss, reg_loss : {"l2", "l1", "huber"}
    band : float >= 0 or pair of arrays of shape (m,), optional
    slope_bounds : pair of floats or arrays of shape (m - 1,)
    subsequence : bool
    target_slope : float > 0, optional
    loss_delta, reg_delta : float > 0
    n_values : int >= 2, optional
        As for `dec_dtw`; series are sampled evenly over [0, 1].
    max_iter : int >= 1, default 10
        Most rounds of warping and averaging, if the reference is learned.
    tol : float >= 0, default 1e-6
        They end when the mean objective falls by less than this share of it.
    n_jobs : int, optional
        Threads over the series; None is one, -1 all that OpenMP would use.

    Attributes
    ----------
    reference_ : array of shape (m, d)
    n_iter_ : int
        Rounds that were run.
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    References
    ----------
    Xu, Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment paths,
    ICLR 2023.

    Examples
    --------
    >>> from sdtwkit import DecDTWAligner
    >>> aligner = DecDTWAligner(reg=0.1, reference=[0.0, 1.0, 0.0])
    >>> aligner.fit_transform([[0.0, 0.1, 1.0, 0.0], [0.0, 0.9, 1.1, 0.0, 0.0]])[:, :, 0].round(2)
    array([[0.  , 0.96, 0.  ],
           [0.  , 1.  , 0.  ]])
    """

    def __init__(
        self,
        reg: ArrayLike = 0.1,
        *,
        reference: ArrayLike | None = None,
        loss: WarpLoss = "l2",
        reg_loss: WarpLoss = "l2",
        band: Band | None = None,
        slope_bounds: Bounds = (0.0, np.inf),
        subsequence: bool = False,
        target_slope: float | None = None,
        loss_delta: float = 1.0,
        reg_delta: float = 1.0,
        n_values: int | None = None,
        max_iter: int = 10,
        tol: float = 1e-6,
        n_jobs: int | None = None,
    ) -> None:
        self.reg = reg
        self.reference = reference
        self.loss = loss
        self.reg_loss = reg_loss
        self.band = band
        self.slope_bounds = slope_bounds
        self.subsequence = subsequence
        self.target_slope = target_slope
        self.loss_delta = loss_delta
        self.reg_delta = reg_delta
        self.n_values = n_values
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Self:
        """Learn the reference, or check the given one.

        Parameters
        ----------
        X : array of shape (B, n, d) or (B, n), or list of (n_i, d) or (n_i,) arrays
            A 2-D array holds one univariate series a row.
        y : ignored
        sample_weight : array of shape (B,), optional
            Weights >= 0 of the series in the mean; they are divided by their sum.
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
        max_iter, tol = check_stop(self.max_iter, self.tol)
        series = self._read(X, lengths, reset=True)
        X, weights = with_shares(series, sample_weight)
        if self.reference is None:
            self.reference_, self.n_iter_ = self._mean(X, weights, max_iter, tol)
        else:
            reference = given_reference(series, self.reference)
            self.align(X[0], reference)
            self.reference_, self.n_iter_ = reference, 0
        return self

    def _mean(self, X, weights, max_iter, tol):
        """-> what the weighted series have in common after warping, and the rounds that it took."""

        def mean_of(items):
            with _arrays.device_of(X[0]):
                return sum(weight * item for weight, item in zip(weights, items, strict=True)).astype(X[0].dtype)

        length = common_length(X)
        reference = before = mean_of([resampled(x, length) for x in X])
        best = np.inf
        for n_iter in range(1, max_iter + 1):
            warps = self._onto(reference, X)
            objective = weights @ _arrays.on_host(warps.objective)
            if n_iter > 1 and not best - objective > tol * best:
                return (reference if objective <= best else before), n_iter
            best, before, reference = objective, reference, mean_of(warps.warped)
        return reference, max_iter

    def fit_transform(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> Array:
        """Learn the reference, and warp the series onto its time axis.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        warped : array of shape (len(X), m, d)

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self.fit(X, y, sample_weight, lengths=lengths).transform(X, lengths=lengths)

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Warp series onto the time axis of the reference.

        Parameters
        ----------
        X, lengths
            As for `fit`; series of any lengths, but a 2-D array is as wide as one at fit.

        Returns
        -------
        warped : array of shape (len(X), m, d)
            float32 where series and reference are, else float64.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        X = items(self._read(X, lengths))
        return _arrays.stacked(self._onto(self.reference_, X).warped)

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *, lengths: Lengths = None
    ) -> float:
        """Minus the mean objective of the warps onto the reference.

        Parameters
        ----------
        X, y, lengths
            As for `transform`; y is ignored.
        sample_weight : array of shape (len(X),), optional
            Weights >= 0 of the series in the mean.

        Returns
        -------
        score : float

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the series are not as for `transform`, or the weights do not fit.
        """
        X = items(self._read(X, lengths))
        objective = _arrays.on_host(self._onto(self.reference_, X).objective)
        return -float(np.average(objective, weights=read_weights(sample_weight, len(X))))

    def align(self, x: ArrayLike, y: ArrayLike) -> WarpResult:
        """The warps that lay x on y, with this estimator's options; needs no fit.

        Parameters
        ----------
        x, y
            As for `dec_dtw`.

        Returns
        -------
        warp : WarpResult

        Raises
        ------
        TypeError, ValueError
            As for `dec_dtw`.

        Examples
        --------
        >>> from sdtwkit import DecDTWAligner
        >>> DecDTWAligner(reg=0.1).align([0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]).values.round(3)
        array([0.   , 0.08 , 0.512, 1.   ])
        """
        options = self.get_params()
        for name in ("reference", "max_iter", "tol"):
            del options[name]
        return dec_dtw(x, y, **options)

    def _onto(self, reference, X):
        return self.align(X, [reference] * len(X))
