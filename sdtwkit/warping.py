"""Continuous warps (DecDTW): the time warp as the solution of an optimal control problem, and its derivatives.

Posed here: signals, times, bounds, each checked and brought to one form. The kernels find the global minimum exactly
(no grid), certify it, and give derivatives through the conditions of optimality, in O(n d).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _backend, _options, _words
from ._typing import Arrays, Band, Bounds, Lengths, WarpLoss
from ._warp_pairs import OnDevice, OnHost
from ._warp_problem import Clock, Rules, check_loss


class WarpGradients(NamedTuple):
    """Derivatives by everything that a warp depends on, each in the form in which it was given, None where unused.

    A number that stands for many (a regularization, a half-width, a slope bound) gets the sum. A half-width gets two
    numbers, for its two sides.
    """

    x: Arrays
    y: Arrays
    reg: Arrays | float
    band_lower: Arrays | float | None
    band_upper: Arrays | float | None
    slope_lower: Arrays | float | None
    slope_upper: Arrays | float | None


def dec_dtw(
    x: ArrayLike,
    y: ArrayLike,
    reg: ArrayLike = 0.1,
    *,
    x_times: ArrayLike | None = None,
    y_times: ArrayLike | None = None,
    warp_times: ArrayLike | None = None,
    n_values: int | None = None,
    band: Band | None = None,
    slope_bounds: Bounds = (0.0, np.inf),
    subsequence: bool = False,
    loss: WarpLoss = "l2",
    reg_loss: WarpLoss = "l2",
    target_slope: ArrayLike | None = None,
    loss_delta: float = 1.0,
    reg_delta: float = 1.0,
    cum_reg: float = 0.0,
    cum_loss: WarpLoss = "l2",
    symmetric: bool = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> WarpResult:
    r"""Continuous time warp phi that lays x on y, with derivatives by everything it depends on (DecDTW).

    Both signals are interpolated linearly, on [0, T1] and [0, T2]. Over phi(t_1) .. phi(t_n) the warp minimises

    .. math::

        \sum_i w_i \|x(\phi_i) - y(t_i)\|^2 + \sum_j \lambda_j d_j \left(\frac{\phi_{j+1} - \phi_j}{d_j} - s\right)^2

    where w are trapezoid weights and d the intervals between warp times [1]_ [2]_, within 0 <= phi <= T1, the band, and
    the slope bounds, with both ends pinned unless `subsequence`. Times, warp times, `reg`, band and slope bounds may
    differ between the pairs of a collection: a list of B arrays, or an array with B rows.

    CuPy arrays x and y are served on their device, all pairs at a time; what a device cannot refuse (a sample that is
    not finite) makes its pair NaN, and there is no warning. The other arguments are needed on the host: CuPy arrays of
    them are waited for.

    Parameters
    ----------
    x : array of shape (m, d), (m,) or (B, m, d), or list of B series
        The signal that is warped.
    y : array of shape (n, d), (n,) or (B, n, d), or list of B series
        Paired with x item by item.
    reg : float >= 0 or array of shape (n - 1,), default 0.1
        lambda, for all intervals or for each.
    x_times, y_times : array of shape (m,), (n,), optional
        Sample times, strictly increasing, moved to start at 0; by default evenly on [0, 1].
    warp_times : array of shape (n,), optional
        t, within those of y; by default the sample times of y.
    n_values : int >= 2, optional
        Candidates a row of the coarse search. If they are at least the samples of x, there is none: all warps are
        considered, and the result is the global minimum. So it is by default up to n m = 131072; beyond, 100.
    band : float >= 0 or pair of arrays of shape (n,), optional
        Half-width h, |phi(t) - line through both ends| <= h T1; or lower and upper bounds of phi, which may leave
        [0, T1] and may be infinite.
    slope_bounds : pair of floats or arrays of shape (n - 1,)
        Bounds of the slope of phi in units of `target_slope`.
    subsequence : bool
        Leave both ends free: y is laid on a part of x.
    loss, reg_loss, cum_loss : {"l2", "l1", "huber"}
        "l2" is the squared norm, "l1" the sum over channels of absolute values, "huber" that of r^2 / 2 up to delta
        and delta (abs(r) - delta / 2) beyond.
    target_slope : float > 0, optional
        s; by default T1 / T2, and 1 for a subsequence.
    loss_delta, reg_delta : float > 0
        delta of "huber"; `reg_delta` serves `cum_loss`, too.
    cum_reg : float >= 0
        Weight of the cumulative term of GDTW [2]_, sum_i w_i R(phi_i - t_i), with R named by `cum_loss`.
    symmetric : bool
        GDTW's symmetric form: y is read at 2 t - phi(t), which stays within [0, T2].
    x_lengths, y_lengths : array of B integers, optional
        True lengths within padded arrays.
    n_jobs : int, optional
        Threads over the pairs; None is one, -1 all that OpenMP would use.

    Returns
    -------
    WarpResult

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or no warp keeps to the bounds; the constraint and the time are named.

    Warns
    -----
    RuntimeWarning
        If the conditions of optimality are not met, which rounding may cause for signals of extreme scales.

    References
    ----------
    .. [1] Xu, Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment
       paths, ICLR 2023.
    .. [2] Deriso and Boyd, A general optimization framework for dynamic time warping, Optimization and Engineering
       2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit import dec_dtw
    >>> t = np.linspace(0, 1, 50)
    >>> warp = dec_dtw(np.sin(6 * t), np.sin(6 * t**2), reg=0.01)
    >>> print(f"{warp.values[25]:.3f} {t[25] ** 2:.3f} {warp.objective:.5f}")
    0.268 0.260 0.00329
    >>> print(f"{warp.vjp(np.ones(50)).reg:.2f}")
    7.65
    """
    subsequence = _words.check_flag(subsequence, "subsequence")
    symmetric = _words.check_flag(symmetric, "symmetric")
    n_jobs = _options.check_n_jobs(n_jobs)
    reg_delta = _words.check_positive(reg_delta, "reg_delta")
    losses = (
        check_loss(loss, "loss"),
        _words.check_positive(loss_delta, "loss_delta"),
        check_loss(reg_loss, "reg_loss"),
        reg_delta,
        check_loss(cum_loss, "cum_loss"),
        reg_delta,
        _words.check_nonnegative(cum_reg, "cum_reg"),
        symmetric,
    )
    if n_values is not None:
        n_values = _words.check_integer(n_values, "n_values", "None or an integer >= 2", minimum=2)
    if target_slope is not None:
        target_slope = _words.check_positive(target_slope, "target_slope")
    if _arrays.on_device(x[0] if isinstance(x, (list, tuple)) and x else x):
        given = (x_lengths, y_lengths, x_times, y_times, warp_times, reg, band, slope_bounds)
        x_lengths, y_lengths, x_times, y_times, warp_times, reg, band, slope_bounds = map(_arrays.on_host, given)
    x, y = _arrays.as_series_pair(x, y, x_lengths, y_lengths)
    clock = Clock(x, y, x_times, y_times, warp_times)
    rules = Rules(clock, reg, band, slope_bounds, subsequence, target_slope, losses)
    if _arrays.on_device(x.data):
        return WarpResult(OnDevice(x, y, clock, rules, n_values))
    return WarpResult(OnHost(x, y, clock, rules, n_values, _backend.threads(n_jobs)))


class WarpResult:
    """What `dec_dtw` returns: warps, their certificates, and derivatives.

    Collections have arrays of one more dimension where all are padded, with zeros in the padding, and lists where x, y
    or warp_times are lists.

    Attributes
    ----------
    times : array of shape (n,), (B, n), or list of arrays
        Warp times, moved to start at 0 as those of y are.
    values : array of shape (n,), (B, n), or list of arrays
        phi at the warp times.
    objective : float or array of shape (B,)
        The minimum.
    warped : array of shape (n, d), (B, n, d), or list of arrays
        x at phi; (n,) where x is.
    active : list of (name, index), or list of B such lists
        Rows that hold the solution. By warp time: "pin", "band_lower", "band_upper", "domain_lower", "domain_upper",
        "knot" (phi stays on a sample time of x) and "root" (loss "l1": a residual stays 0; or a kink of the cumulative
        term). By interval: "slope_lower", "slope_upper" and "slope_target" (reg_loss "l1"). Rows that merely happen to
        be met, with a vanishing multiplier, are not listed, unless nothing else resists.
    multipliers : array, or list of B arrays
        One for each active row: how fast `objective` rises with the bound; for a knot, a root and "slope_target", where
        a cost has a kink, the derivative that is taken between those on its two sides.
    bounds : pair of arrays of shape (n,), (B, n), or pair of lists of arrays
        Lower and upper bounds of phi: ends, pins and band, and what the slope bounds make of them.
    kkt_residual : float or array of shape (B,)
        By how much the conditions of optimality are missed, relative to the largest force in them; rounding leaves
        about 1e-12.
    is_global : bool or array of shape (B,)
        Whether all warps were considered, so that the objective is the global minimum; else it is the minimum in a
        corridor around the warp.

    Of CuPy arrays these are CuPy arrays on the same device, and nothing waits for it but `active` and `multipliers`,
    when they are first asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit import dec_dtw
    >>> t = np.linspace(0, 1, 50)
    >>> warp = dec_dtw(np.sin(6 * t), np.sin(6 * t**2), reg=0.01)
    >>> warp.active, bool(warp.is_global)
    ([('pin', 0), ('pin', 49)], True)
    >>> print(f"{warp.multipliers[0]:.4f} {warp.value_grad().reg:.3f}")
    0.0192 0.326
    """

    def __init__(self, pairs):
        self._pairs = pairs
        self.values, self.warped, self.objective = pairs.values, pairs.warped, pairs.objective
        self.kkt_residual, self.is_global = pairs.residual, pairs.is_global

    @functools.cached_property
    def times(self) -> Arrays:
        """Warp times."""
        return self._pairs.times()

    @functools.cached_property
    def bounds(self) -> tuple[Arrays, Arrays]:
        """Lower and upper bounds of phi."""
        return self._pairs.bounds()

    @property
    def active(self) -> list:
        """Rows that hold the solution."""
        return self._rows[0]

    @property
    def multipliers(self) -> Arrays:
        """How fast `objective` rises with the bounds of the active rows."""
        return self._rows[1]

    @functools.cached_property
    def _rows(self):
        active, multipliers = zip(*self._pairs.rows(), strict=True)
        return (active[0], multipliers[0]) if self._pairs.clock.single else (list(active), list(multipliers))

    def vjp(self, cotangent: ArrayLike) -> WarpGradients:
        """Gradients of <cotangent, values>: what backpropagation through the warp needs.

        O(n d), by one tridiagonal solve. At degenerate points the warp has several one-sided derivatives. Given is that
        for which rows with a vanishing multiplier do not hold the warp, unless nothing else resists; where nothing
        resists at all (flat signals without regularization), it does not move. Where rows are redundant, a bound of phi
        counts before one of the slope, and a pin before a bound before a root before a knot; a root on a knot counts as
        a knot unless the warp follows it to both sides.

        Parameters
        ----------
        cotangent : array or list of arrays shaped as `values`

        Returns
        -------
        gradients : WarpGradients
            With fields x, y, reg, band_lower, band_upper, slope_lower, slope_upper, shaped as the inputs were; None
            where unused.

        Raises
        ------
        ValueError
            If the cotangent does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit import dec_dtw
        >>> t = np.linspace(0, 1, 50)
        >>> warp = dec_dtw(np.sin(6 * t), np.sin(6 * t**2), reg=0.01)
        >>> gradients = warp.vjp(np.ones(50))  # of the sum of the values
        >>> print(f"{gradients.reg:.2f}", gradients.x.shape)
        7.65 (50,)
        """
        if cotangent is None:
            raise _words.wrong_type(cotangent, "cotangent", "an array shaped as the values")
        return WarpGradients(*self._pairs.gradients(cotangent))

    def value_grad(self) -> WarpGradients:
        """Gradients of `objective`, by the envelope theorem; for a collection, of each by its own pair.

        Returns
        -------
        gradients : WarpGradients
            As `vjp` returns; what is shared by several pairs gets the sum.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit import dec_dtw
        >>> t = np.linspace(0, 1, 50)
        >>> warp = dec_dtw(np.sin(6 * t), np.sin(6 * t**2), reg=0.01)
        >>> print(f"{warp.value_grad().reg:.3f}")
        0.326
        """
        return WarpGradients(*self._pairs.gradients(None))

    def __repr__(self):
        rows = len(self.active) if self._pairs.clock.single else sum(map(len, self.active))
        pairs = "1 pair" if len(self._pairs) == 1 else f"{len(self._pairs)} pairs"
        objective, worst = map(_arrays.on_host, (self.objective, self.kkt_residual.max()))
        return f"<WarpResult of {pairs}: objective {objective}, {rows} active rows, KKT residual {worst:.1e}>"
