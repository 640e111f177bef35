"""Continuous warps (DecDTW): the time warp as the solution of an optimal control problem, and its derivatives.

Posed here: signals, times, bounds, each checked and brought to one form. The kernels find the global minimum exactly
(no grid), certify it, and give derivatives through the conditions of optimality, in O(n d).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _backend, _options, _words
from ._typing import Arrays, Band, Bounds, Lengths, WarpLoss

_TIME = 1e-12  # share of the time axis of x: what is closer than this is the same time
_RESIDUAL = 1e-7  # share of the largest multiplier: a larger residual is no KKT point
_TABLE = 2**25  # entries of the largest table of products between all samples
_FEW_CHANNELS = 4  # whose products cost no more than reading a table
_CELLS = 2**17  # n times len(x) up to which everything is searched by default ...
_CANDIDATES = 100  # ... and the candidates a row of the coarse search beyond


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
        _check_loss(loss, "loss"),
        _words.check_positive(loss_delta, "loss_delta"),
        _check_loss(reg_loss, "reg_loss"),
        reg_delta,
        _check_loss(cum_loss, "cum_loss"),
        reg_delta,
        _words.check_nonnegative(cum_reg, "cum_reg"),
        symmetric,
    )
    if n_values is not None:
        n_values = _words.check_integer(n_values, "n_values", "None or an integer >= 2", minimum=2)
    if target_slope is not None:
        target_slope = _words.check_positive(target_slope, "target_slope")
    x, y = _arrays.as_series_pair(x, y, x_lengths, y_lengths)
    if _arrays.on_device(x.data):
        raise _words.not_on_device("dec_dtw")
    clock = _Clock(x, y, x_times, y_times, warp_times)
    rules = _Rules(clock, reg, band, slope_bounds, subsequence, target_slope, losses)

    def solve(b):
        return _Warp(x, y, clock, rules, b, n_values)

    warps = _mapped(solve, len(x), _backend.threads(n_jobs))
    for warp in warps:
        warp.warn()
    return WarpResult(x, y, clock, rules, warps)


def _mapped(solve, count, threads):
    """[solve(0) .. solve(count - 1)], on threads."""
    if min(threads, count) == 1:
        return [solve(b) for b in range(count)]
    from concurrent.futures import ThreadPoolExecutor  # which brings logging along

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(solve, range(count)))


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

    def __init__(self, x, y, clock, rules, warps):
        self._x, self._y, self._clock, self._rules, self._warps = x, y, clock, rules, warps
        self._dtype, self._single = x.dtype, x.form == "single"
        shaped = clock.shape
        self.times = shaped([warp.t for warp in warps])
        self.values = shaped([warp.phi for warp in warps], self._dtype)
        flat = (x.shape[0] if x.form == "list" else x.shape)[x.form == "padded" :]
        warped = [warp.warped if len(flat) > 1 else warp.warped[:, 0] for warp in warps]
        self.warped = shaped(warped, self._dtype)
        self.bounds = tuple(shaped(side, self._dtype) for side in zip(*(warp.region for warp in warps), strict=True))
        self.objective = self._numbers([warp.objective for warp in warps], self._dtype)
        self.kkt_residual = self._numbers([warp.residual for warp in warps], np.float64)
        self.is_global = self._numbers([warp.is_global for warp in warps], bool)
        rows = [warp.rows() for warp in warps]
        self.active = rows[0][0] if self._single else [active for active, _ in rows]
        self.multipliers = rows[0][1] if self._single else [multipliers for _, multipliers in rows]

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
        cotangents = self._clock.read(cotangent, "cotangent")
        return self._gradients(lambda warp, b, *out: warp.vjp(cotangents[b], *out))

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
        return self._gradients(lambda warp, b, *out: warp.value_grad(*out))

    def __repr__(self):
        rows = len(self.active) if self._single else sum(map(len, self.active))
        pairs = "1 pair" if len(self._warps) == 1 else f"{len(self._warps)} pairs"
        worst = float(np.max(self.kkt_residual))
        return f"<WarpResult of {pairs}: objective {self.objective}, {rows} active rows, KKT residual {worst:.1e}>"

    def _gradients(self, fill):
        x, y, rules = self._x, self._y, self._rules
        flat_x, flat_y = np.zeros(x.data.shape), np.zeros(y.data.shape)
        parts = []
        for b, warp in enumerate(self._warps):
            views = (
                z[k : k + n] for z, k, n in ((flat_x, x.starts[b], x.lengths[b]), (flat_y, y.starts[b], y.lengths[b]))
            )
            parts.append(fill(warp, b, *views))
        reg, nodes, slopes = zip(*parts, strict=True)
        bounds = rules.collect(nodes, slopes, self._warps, self._dtype)
        return WarpGradients(
            x.like(flat_x.astype(self._dtype)),
            y.like(flat_y.astype(self._dtype)),
            rules.reg.collect(reg, self._dtype),
            *bounds,
        )

    def _numbers(self, values, dtype):
        values = np.array(values, dtype)
        return values[0] if self._single else values


# ---- arguments


def _check_loss(value, name):
    return _backend.WARP_LOSSES.index(_words.check_choice(value, name, _backend.WARP_LOSSES))


class _Option:
    """A number for all, an array for all pairs, or one for each pair; and gradients in the same form.

    sizes : (B,) entries that each pair needs. infinite: whether entries may be infinite.
    """

    def __init__(self, value, name, sizes, single, infinite=False):
        self.name, self.sizes = name, [int(size) for size in sizes]
        listed = _is_list_of_arrays(value)
        if not listed and np.ndim(value) == 0 and not isinstance(value, str) and value is not None:
            self.form, self.values = "number", _words.check_real(value, name, "a number or an array of numbers")
            self._check(np.array([self.values]), name, infinite)
            return
        if listed:
            if single or len(value) != len(self.sizes):
                expected = "an array of numbers" if single else f"one array for each of {len(self.sizes)} pairs"
                raise ValueError(f"{name} is a list of {len(value)} arrays; expected {expected}")
            self.form, self.values = "list", [_arrays.as_numbers(item, f"{name}[{b}]") for b, item in enumerate(value)]
        else:
            array = _arrays.as_numbers(value, name)
            if array.ndim == 2 and not single and len(array) == len(self.sizes):
                self.form, self.values = "rows", array
            else:
                self.form, self.values = "array", array
        for b, size in enumerate(self.sizes):
            item, at = self._raw(b), f"{name}[{b}]" if self.form in ("list", "rows") else name
            long_enough = self.form == "rows" and item.shape[-1] >= size
            if item.ndim != 1 or not (len(item) == size or long_enough):
                raise ValueError(f"{at} has shape {item.shape}; expected ({size},)")
            self._check(item[:size], at, infinite)

    def _raw(self, b):
        return self.values if self.form == "array" else self.values[b]

    @staticmethod
    def _check(array, name, infinite):
        wrong = np.isnan(array) if infinite else ~np.isfinite(array)
        if wrong.any():
            k = int(np.argmax(wrong))
            where = f" at index {k}" if len(array) > 1 else ""
            expected = "numbers, not NaN" if infinite else "finite numbers"
            raise ValueError(f"{name} holds {_words.special(array[k])}{where}; expected {expected}")

    def item(self, b):
        """(size,) float64."""
        if self.form == "number":
            return np.full(self.sizes[b], float(self.values))
        return np.ascontiguousarray(self._raw(b)[: self.sizes[b]], dtype=np.float64)

    def collect(self, gradients, dtype):
        """Gradients of all pairs, in the caller's form."""
        if self.form == "number":
            return dtype.type(sum(float(gradient.sum()) for gradient in gradients))
        if self.form == "list":
            return [gradient.astype(dtype) for gradient in gradients]
        if self.form == "array":
            return np.sum(gradients, axis=0).astype(dtype)
        out = np.zeros(self.values.shape, dtype)
        for row, gradient in zip(out, gradients, strict=True):
            row[: len(gradient)] = gradient
        return out


def _is_list_of_arrays(value):
    return isinstance(value, (list, tuple)) and len(value) > 0 and np.ndim(value[0]) > 0


class _Clock:
    """Sample times of x and of y and warp times of every pair, from 0 on; and the form of what follows the latter."""

    def __init__(self, x, y, x_times, y_times, warp_times):
        single = x.form == "single"
        self.x, _ = self._times(x_times, "x_times", x.lengths, single)
        self.y, starts = self._times(y_times, "y_times", y.lengths, single)
        self.single, self.ragged = single, "list" in (x.form, y.form)
        self.t = self.y
        if warp_times is not None:
            self.t = self._warp_times(warp_times, starts)
        self.rows = max(y.n_rows if warp_times is None and y.form == "padded" else 0, *map(len, self.t), 0)

    @staticmethod
    def _times(times, name, lengths, single):
        """-> list of B arrays from 0 on, and where they started."""
        if times is None:
            even = {int(n): np.linspace(0.0, 1.0, int(n)) for n in set(lengths.tolist())}
            return [even[int(n)] for n in lengths], [0.0] * len(lengths)
        option = _Option(times, name, lengths, single)
        if option.form == "number":
            raise ValueError(f"{name} is a number; expected an array of times")
        items = [option.item(b) for b in range(len(lengths))]
        for b, item in enumerate(items):
            _check_increasing(item, name if option.form == "array" else f"{name}[{b}]")
        return [item - item[0] for item in items], [item[0] for item in items]

    def _warp_times(self, warp_times, starts):
        listed = _is_list_of_arrays(warp_times)
        B = len(self.y)
        array = None if listed else _arrays.as_numbers(warp_times, "warp_times")
        rows = warp_times if listed else array
        each = (listed or array.ndim == 2) and not self.single
        if each and len(rows) != B:
            raise ValueError(f"warp_times holds {len(rows)} arrays; expected one for each of {B} pairs")
        self.ragged = self.ragged or listed
        items = []
        for b in range(B):
            name = f"warp_times[{b}]" if each else "warp_times"
            item = _arrays.as_numbers(rows[b] if each else rows, name)
            if item.ndim != 1 or not len(item):
                raise ValueError(f"{name} has shape {item.shape}; expected (n,), n >= 2")
            item = item.astype(np.float64)
            _Option._check(item, name, infinite=False)
            _check_increasing(item, name)
            item, last = item - starts[b], self.y[b][-1]
            outside = (item < -_TIME * last) | (item > last * (1 + _TIME))
            if outside.any():
                k = int(np.argmax(outside))
                came, first = item[k] + starts[b], starts[b]
                raise ValueError(f"{name} holds {came} at index {k}; expected times of y, {first} to {first + last}")
            items.append(np.clip(item, 0.0, last))
        return items

    def shape(self, items, dtype=np.float64):
        """Arrays (n_b, ...) of all pairs in the caller's form."""
        if self.single:
            return np.asarray(items[0], dtype)
        if self.ragged:
            return [np.asarray(item, dtype) for item in items]
        out = np.zeros((len(items), self.rows, *items[0].shape[1:]), dtype)
        for row, item in zip(out, items, strict=True):
            row[: len(item)] = item
        return out

    def read(self, value, name):
        """The inverse: an argument shaped as the values of the warps -> list of (n_b,) float64."""
        if self.single:
            items = [_arrays.as_numbers(value, name)]
        elif self.ragged:
            if not isinstance(value, (list, tuple)) or len(value) != len(self.t):
                raise ValueError(f"{name} does not fit; expected a list of {len(self.t)} arrays, as the values are")
            items = [_arrays.as_numbers(item, f"{name}[{b}]") for b, item in enumerate(value)]
        else:
            array = _arrays.as_numbers(value, name)
            if array.shape != (len(self.t), self.rows):
                raise ValueError(
                    f"{name} has shape {array.shape}; expected {(len(self.t), self.rows)}, that of the values"
                )
            items = [row[: len(t)] for row, t in zip(array, self.t, strict=True)]
        for b, (item, t) in enumerate(zip(items, self.t, strict=True)):
            at = name if self.single else f"{name}[{b}]"
            if item.shape != t.shape:
                raise ValueError(f"{at} has shape {item.shape}; expected {t.shape}, that of the values")
            _Option._check(item, at, infinite=False)
        return [np.ascontiguousarray(item, dtype=np.float64) for item in items]


def _check_increasing(times, name):
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"{name} holds {times[k]} and then {times[k + 1]} at index {k + 1}; expected strictly increasing times"
        )


class _Rules:
    """Regularization, bounds and losses of all pairs."""

    def __init__(self, clock, reg, band, slope_bounds, subsequence, target_slope, losses):
        single, nodes = clock.single, [len(t) for t in clock.t]
        intervals = [n - 1 for n in nodes]
        self.subsequence, self.losses, self.target_slope = subsequence, losses, target_slope
        self.reg = _Option(reg, "reg", intervals, single)
        _check_sign(self.reg)
        self.half_width = self.band = None
        if band is not None and _is_number(band):
            self.half_width = _Option(_words.check_nonnegative(band, "band"), "band", nodes, single)
        elif band is not None:
            lower, upper = _two(band, "band", "None, a half-width, or (lower, upper)")
            self.band = (
                _Option(lower, "band[0]", nodes, single, infinite=True),
                _Option(upper, "band[1]", nodes, single, infinite=True),
            )
        lower, upper = _two(slope_bounds, "slope_bounds", "(lower, upper)")
        self.slopes = (
            _Option(lower, "slope_bounds[0]", intervals, single, infinite=True),
            _Option(upper, "slope_bounds[1]", intervals, single, infinite=True),
        )
        for b in range(len(nodes)):
            wrong = self.slopes[0].item(b) > self.slopes[1].item(b)
            if wrong.any():
                k = int(np.argmax(wrong))
                low, high = (option.item(b)[k] for option in self.slopes)
                raise ValueError(
                    f"slope_bounds allow no slope from warp time {k} to {k + 1}: lower {low}, upper {high}"
                )

    def collect(self, nodes, slopes, warps, dtype):
        """Derivatives by the bounds of all pairs, nodes [(n_b, 2)] and slopes [(n_b - 1, 2)] -> four fields."""
        out = []
        for side in (0, 1):
            if self.half_width is not None:
                sign = (-1.0, 1.0)[side]
                sums = [sign * warp.x_duration * part[:, side] for warp, part in zip(warps, nodes, strict=True)]
                out.append(self.half_width.collect(sums, dtype))
            elif self.band is not None:
                out.append(self.band[side].collect([part[:, side] for part in nodes], dtype))
            else:
                out.append(None)
        for side in (0, 1):
            option = self.slopes[side]
            unused = option.form == "number" and np.isinf(option.values)
            scaled = [warp.target * part[:, side] for warp, part in zip(warps, slopes, strict=True)]
            out.append(None if unused else option.collect(scaled, dtype))
        return out


def _is_number(value):
    """Also one that an array of no dimensions holds."""
    return getattr(value, "ndim", None) == 0 or not hasattr(value, "__len__")


def _two(pair, name, expected):
    if isinstance(pair, str) or _is_number(pair) or len(pair) != 2:
        raise _words.wrong_type(pair, name, expected)
    return pair


def _check_sign(option):
    for b in range(len(option.sizes)):
        item = option.item(b)
        if (item < 0).any():
            k = int(np.argmax(item < 0))
            at = option.name + (f"[{b}]" if option.form in ("list", "rows") else "")
            where = "" if option.form == "number" else f" at index {k}"
            raise ValueError(f"{at} is {item[k]}{where}; expected numbers >= 0")


# ---- one pair


class _Warp:
    """One pair: its problem posed, solved, certified."""

    def __init__(self, x, y, clock, rules, b, n_values):
        self.single, self.b = clock.single, b
        self.t, self.rules = clock.t[b], rules
        self.x_duration, self.y_duration = clock.x[b][-1], clock.y[b][-1]
        default = 1.0 if rules.subsequence or self.y_duration == 0 else self.x_duration / self.y_duration
        self.target = default if rules.target_slope is None else rules.target_slope
        self.x, self.x_times = x.item(b).astype(np.float64), clock.x[b]
        self.y, self.y_times = y.item(b).astype(np.float64), clock.y[b]
        self._set_bounds()
        self._pose()
        self._search(n_values)
        self._certify()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "kernel"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._pose()
        self._certify()

    def _pose(self):
        """Hand the problem to the kernel."""
        x, y = self._centered()
        rules, tolerance = self.rules, _TIME * self.x_duration
        reg = rules.reg.item(self.b)
        self.kernel = _backend.warp_kernel(self.t, x, self.x_times, y, self.y_times, reg, self.target, tolerance)
        self.kernel.losses(*rules.losses)
        self.kernel.bounds(*self.bounds, *self.region, *self.slopes)

    def _centered(self):
        center = _far_center(self.x)
        return self.x - center, self.y - center

    def _set_bounds(self):
        t, rules, T1 = self.t, self.rules, self.x_duration
        n = len(t)
        self.names = np.full((2, n), "domain_lower", object)
        self.names[1] = "domain_upper"
        lower, upper = np.zeros(n), np.full(n, T1)
        if rules.losses[-1]:  # the symmetric form reads y at 2 t - phi
            lower, upper = np.maximum(lower, 2 * t - self.y_duration), np.minimum(upper, 2 * t)
        if rules.half_width is not None or rules.band is not None:
            if rules.band is not None:
                band = rules.band[0].item(self.b), rules.band[1].item(self.b)
            else:
                line, h = T1 * np.linspace(0, 1, n), rules.half_width.item(self.b) * T1
                if n > 1:
                    line = T1 * (t - t[0]) / (t[-1] - t[0])
                band = line - h, line + h
            self.names[0][band[0] > lower] = "band_lower"
            self.names[1][band[1] < upper] = "band_upper"
            lower, upper = np.maximum(lower, band[0]), np.minimum(upper, band[1])
        if not rules.subsequence:
            if n == 1 and T1 > 0:
                raise self._infeasible(0, f"phi is pinned to both ends of x, 0 and {T1:.6g}, as there is no other time")
            for k, end in ((0, 0.0), (n - 1, T1)):
                for side, wrong in ((0, lower[k] > end + _TIME * T1), (1, upper[k] < end - _TIME * T1)):
                    if wrong:
                        raise self._infeasible(k, f"{self.names[side][k]} keeps phi off the pin {end}")
                lower[k] = upper[k] = end
                self.names[:, k] = "pin"
        slopes = [option.item(self.b) for option in rules.slopes]
        # inf stays inf, also times a target of 0
        slopes = [np.multiply(s, self.target, out=s.copy(), where=np.isfinite(s)) for s in slopes]
        self.bounds = np.ascontiguousarray(lower), np.ascontiguousarray(upper)
        self.slopes, self.region = slopes, self._tightened(slopes)

    def _tightened(self, slopes):
        """Bounds of phi that also say what the slope bounds leave within reach of both ends; no warp at all raises."""
        (lower, upper), T1, d = self.bounds, self.x_duration, np.diff(self.t)
        slack = _TIME * max(T1, upper.max() - lower.min())
        finite = [np.where(np.isfinite(s), s, 0.0) * d for s in slopes]
        reach = 2 * max(upper.max() - lower.min(), 0.0) + sum(np.abs(part).sum() for part in finite)  # beyond any step
        steps = [np.where(np.isfinite(s), part, np.sign(s) * reach) for s, part in zip(slopes, finite, strict=True)]
        sums = [np.concatenate(([0.0], np.cumsum(step))) for step in steps]
        low = sums[0] + np.maximum.accumulate(lower - sums[0])
        high = sums[1] + np.minimum.accumulate(upper - sums[1])
        wrong = low > high + slack
        if wrong.any():
            raise self._infeasible(int(np.argmax(wrong)), self._conflict(int(np.argmax(wrong)), low, high, slack))
        low = np.maximum(low, (sums[1] + np.maximum.accumulate((lower - sums[1])[::-1])[::-1]))
        high = np.minimum(high, (sums[0] + np.minimum.accumulate((upper - sums[0])[::-1])[::-1]))
        low, high = np.where(low <= lower + slack, lower, low), np.where(high >= upper - slack, upper, high)
        crossed = low > high
        low[crossed] = high[crossed] = (low[crossed] + high[crossed]) / 2
        return low, high

    def _conflict(self, k, low, high, slack):
        (lower, upper), (below, above) = self.bounds, self.names
        if lower[k] > upper[k] + slack:
            return f"{below[k]} asks for phi >= {lower[k]:.6g}, {above[k]} for phi <= {upper[k]:.6g}"
        if lower[k] > high[k] + slack:
            return f"{below[k]} asks for phi >= {lower[k]:.6g}, but slope_upper admits at most {high[k]:.6g}"
        if upper[k] < low[k] - slack:
            return f"{above[k]} asks for phi <= {upper[k]:.6g}, but slope_lower forces at least {low[k]:.6g}"
        return f"slope_lower forces phi >= {low[k]:.6g}, slope_upper admits at most {high[k]:.6g}"

    def _infeasible(self, k, reason):
        pair = "" if self.single else f" for pair {self.b}"
        return ValueError(f"no warp is feasible{pair}: at warp time {self.t[k]:.6g} (index {k}) {reason}")

    def _search(self, n_values):
        (x, y), n, m = self._centered(), len(self.t), len(self.x)
        candidates = n_values or (0 if n * m <= _CELLS else _CANDIDATES)
        products = None
        if x.shape[1] > _FEW_CHANNELS and n * m <= _TABLE:
            y_there = y if self.t is self.y_times else _interpolate(self.t, self.y_times, y)
            products = y_there @ x.T
        self.phi = np.empty(n)
        with np.errstate(all="ignore"):
            found = self.kernel.search(products, 0 if candidates >= m else candidates, self.phi)
        self.is_global = found == _backend.WARP_EVERYWHERE
        self.found = found != _backend.WARP_NOWHERE

    def _certify(self):
        n = len(self.t)
        self.held, self.joined = np.empty(n, np.int8), np.empty(n - 1, np.int8)
        self.node_multipliers, self.slope_multipliers = np.empty(n), np.empty(n - 1)
        multipliers = self.node_multipliers, self.slope_multipliers
        self.objective, residual, scale = self.kernel.certify(self.phi, self.held, self.joined, *multipliers)
        if not np.isfinite(self.objective):
            raise _words.costs_overflow()
        self.residual = residual / scale if scale > 0 else 0.0

    def warn(self):
        if self.found and self.residual <= _RESIDUAL:
            return
        pair = "" if self.single else f" of pair {self.b}"
        warnings.warn(
            f"the warp{pair} misses the conditions of optimality by {self.residual:.1e} of the largest force; rescale "
            "the signals",
            RuntimeWarning,
            stacklevel=3,
        )

    @property
    def warped(self):
        return _interpolate(self.phi, self.x_times, self.x)

    def rows(self):
        """Active rows as (name, index), and their multipliers."""
        kinds = _backend.WARP_NODE_NAMES
        active, multipliers = [], []
        for i in np.flatnonzero(self.held).tolist():
            sides = self._side(i)
            active.append((kinds[self.held[i]] if sides is None else self.names[sides][i], i))
            multipliers.append(self.node_multipliers[i])
        for j in np.flatnonzero(self.joined).tolist():
            active.append((_backend.WARP_SLOPE_NAMES[self.joined[j]], j))
            multipliers.append(self.slope_multipliers[j])
        return active, np.array(multipliers)

    def _side(self, i):
        """Which bound holds node i: 0 the lower one, 1 the upper one, None for a kink."""
        kind = _backend.WARP_NODE_NAMES[self.held[i]]
        if kind == "both":
            return int(self.node_multipliers[i] < 0)
        return {"lower": 0, "upper": 1}.get(kind)

    def _bound_parts(self, nodes, slopes):
        """Derivatives by active rows, (n,) and (n - 1,) -> by lower and upper bounds, (n, 2) and (n - 1, 2)."""
        by_node, by_slope = np.zeros((len(nodes), 2)), np.zeros((len(slopes), 2))
        for i in np.flatnonzero(self.held).tolist():
            side = self._side(i)
            if side is not None and self.names[side][i].startswith("band"):
                by_node[i, side] = nodes[i]
        for side, name in enumerate(("slope_lower", "slope_upper")):
            mine = self.joined == _backend.WARP_SLOPE_NAMES.index(name)
            by_slope[mine, side] = slopes[mine]
        return by_node, by_slope

    def vjp(self, cotangent, x, y):
        """Adds to x and y; -> reg (n - 1,), by bounds (n, 2), by slopes (n - 1, 2)."""
        n = len(self.t)
        u, nodes, slopes, reg = np.empty(n), np.empty(n), np.empty(n - 1), np.zeros(n - 1)
        self.kernel.adjoint(cotangent, u, nodes, slopes)
        self.kernel.pull_back(u, nodes, x, y, reg)
        return reg, *self._bound_parts(nodes, slopes * np.diff(self.t))

    def value_grad(self, x, y):
        reg = np.zeros(len(self.t) - 1)
        self.kernel.pull_back_value(1.0, x, y, reg)
        return reg, *self._bound_parts(self.node_multipliers, self.slope_multipliers)


def _far_center(x):
    """(d,) means of the channels that lie far off zero, 0 for the others.

    Both signals are moved by it, so that products cancel less. Where a channel holds only rounding, or nothing is to be
    gained, it stays as it is, for rounding to be told from what matters.
    """
    with np.errstate(over="ignore"):
        mean, spread = x.mean(axis=0), x.std(axis=0)
    return np.where((np.abs(mean) > 8 * spread) & (spread > 1e-9 * np.abs(mean)), mean, 0.0)


def _interpolate(times, sample_times, samples):
    """(n, d) values of a series at `times`, linear between its samples."""
    if len(samples) == 1:
        return np.repeat(samples, len(times), axis=0)
    k = np.clip(np.searchsorted(sample_times, times, side="right") - 1, 0, len(samples) - 2)
    a = ((times - sample_times[k]) / (sample_times[k + 1] - sample_times[k]))[:, None]
    return (1 - a) * samples[k] + a * samples[k + 1]
