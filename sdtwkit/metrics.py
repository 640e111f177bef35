"""How far a time warp is from the true one: mean absolute and root mean square error, integrated exactly.

Warps are piecewise linear, and so is their difference e; over an interval on which it goes from a to b, |e| and e^2
have closed integrals, also where e changes its sign. Errors are in the units of the warps' values, seconds as a rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import as_real_array, beside, check_one_place, device_of, on_device, stacked
from ._typing import Arrays, Value
from ._words import wrong_type


def time_error(warp_true: ArrayLike, warp: ArrayLike, times: ArrayLike) -> Value:
    r"""Mean absolute error of a warp over its duration (TimeErr).

    .. math:: \frac{1}{t_n - t_1} \int_{t_1}^{t_n} |\phi(t) - \phi^*(t)| \, dt

    Both warps are linear between their times; nothing is sampled.

    Parameters
    ----------
    warp_true, warp : array of shape (n,), or (B, n), or list of B arrays
        Values of the true warp and of the one to be judged, at the same times.
    times : array of shape (n,), or one for each of the B warps
        Strictly increasing.

    Returns
    -------
    error : float, or array of shape (B,)
        In the units of the warps' values.

    Raises
    ------
    TypeError, ValueError
        If shapes differ, values are not finite numbers, or times do not increase.

    See Also
    --------
    time_error_and_grad : With the gradient, to learn through a warp.
    time_deviation : The root mean square.

    Examples
    --------
    >>> from sdtwkit.metrics import time_error
    >>> float(time_error([0, 1, 3], [1, 1, 1], [0, 1, 2]))  # falls from 1 to 0, then rises to 2
    0.75
    """
    return _over_pairs(lambda e, d: _absolute(e, d)[0], warp_true, warp, times)


def time_deviation(warp_true: ArrayLike, warp: ArrayLike, times: ArrayLike) -> Value:
    r"""Root mean square error of a warp over its duration (TimeDev).

    .. math:: \left(\frac{1}{t_n - t_1} \int_{t_1}^{t_n} (\phi(t) - \phi^*(t))^2 \, dt\right)^{1/2}

    Parameters
    ----------
    warp_true, warp, times : arrays
        As for `time_error`.

    Returns
    -------
    deviation : float, or array of shape (B,)
        In the units of the warps' values; never below `time_error`.

    Raises
    ------
    TypeError, ValueError
        As `time_error`.

    Examples
    --------
    >>> from sdtwkit.metrics import time_deviation
    >>> print(f"{time_deviation([0, 1, 3], [1, 1, 1], [0, 1, 2]) ** 2:.4f}")  # (1 / 3 + 4 / 3) / 2
    0.8333
    """

    def root_mean_square(e, d):
        return np.sqrt((d * (e[:-1] ** 2 + e[:-1] * e[1:] + e[1:] ** 2)).sum() / 3 / d.sum())

    return _over_pairs(root_mean_square, warp_true, warp, times)


def time_error_and_grad(warp_true: ArrayLike, warp: ArrayLike, times: ArrayLike) -> tuple[Value, Arrays]:
    """`time_error`, and its gradient with respect to the values of the warp.

    The gradient is what `WarpResult.vjp` takes, so that features can be learned through a warp.

    Parameters
    ----------
    warp_true, warp, times : arrays
        As for `time_error`.

    Returns
    -------
    error : float, or array of shape (B,)
    gradient : array, or list of B arrays, shaped as `warp`
        Of each error by its own warp; 0 around times where they agree.

    Raises
    ------
    TypeError, ValueError
        As `time_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit import dec_dtw
    >>> from sdtwkit.metrics import time_error_and_grad
    >>> t = np.linspace(0, 1, 50)
    >>> x, y = np.sin(6 * t), np.sin(6 * t**2)
    >>> warp = dec_dtw(x, y, reg=0.01)
    >>> error, gradient = time_error_and_grad(t**2, warp.values, warp.times)
    >>> downhill = warp.vjp(gradient).x
    >>> bool(time_error_and_grad(t**2, dec_dtw(x - 0.1 * downhill, y, reg=0.01).values, t)[0] < error)
    True
    """
    found = _over_pairs(_absolute, warp_true, warp, times, collect=list)
    if isinstance(found, tuple):
        return found
    errors, gradients = zip(*found, strict=True)
    return stacked(errors), list(gradients) if isinstance(warp, (list, tuple)) else stacked(gradients)


def _absolute(e, d):
    """Errors (n,) at the times, intervals (n - 1,) -> mean of |e|, its gradient (n,) with respect to e."""
    a, b = e[:-1], e[1:]
    crosses = a * b < 0
    total, squares = np.abs(a) + np.abs(b), a**2 + b**2
    safe = np.where(crosses, total, 1.0)
    integral = np.where(crosses, squares / (2 * safe), total / 2)

    def by(end, other):
        sign = np.where(end == 0, np.sign(other), np.sign(end))  # the same from both sides, unless both ends are 0
        return sign * np.where(crosses, np.abs(end) / safe - squares / (2 * safe**2), 0.5)

    gradient = np.zeros_like(e)
    gradient[:-1] += d * by(a, b)
    gradient[1:] += d * by(b, a)
    return (d * integral).sum() / d.sum(), gradient / d.sum()


def _over_pairs(judge, warp_true, warp, times, collect=stacked):
    """judge(errors, intervals) of a single warp; of a collection, all of them."""
    for name, value in (("warp_true", warp_true), ("warp", warp), ("times", times)):
        if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
            raise wrong_type(value, name, "an array (n,) or (B, n), or a list of B arrays")
        if not len(value):
            raise ValueError(f"{name} is empty; expected an array (n,) or (B, n), or a list of B arrays")

    def judged(*named):
        errors, intervals = _errors(*named)
        with device_of(errors):
            return judge(errors, intervals)

    if np.ndim(next(iter(warp))) == 0:
        return judged(warp_true, warp, times, "")
    shared = np.ndim(next(iter(times))) == 0
    sizes = {"warp_true": len(warp_true), "warp": len(warp)} | ({} if shared else {"times": len(times)})
    if len(set(sizes.values())) > 1:
        raise ValueError(f"numbers of warps differ: {sizes}; expected as many of each")
    return collect([judged(warp_true[b], warp[b], times if shared else times[b], f"[{b}]") for b in range(len(warp))])


def _errors(warp_true, warp, times, index):
    """-> warp - warp_true (n,), intervals (n - 1,); float64, on the device of the warps if they lie on one."""
    named = {f"{name}{index}": value for name, value in (("warp_true", warp_true), ("warp", warp), ("times", times))}
    arrays = [as_real_array(value, name, device=True).astype(np.float64) for name, value in named.items()]
    n = 3 if on_device(arrays[2]) else 2  # times of the host will do beside warps of a device
    check_one_place(arrays[:n], list(named)[:n])
    named = dict(zip(("warp_true", "warp", "times"), arrays, strict=True))
    for name, values in named.items():
        if values.ndim != 1 or values.shape != named["warp"].shape or len(values) < 2:
            raise ValueError(
                f"{name}{index} has shape {values.shape}, warp{index} {named['warp'].shape}; expected the same (n,), "
                "n >= 2, of warp_true, warp and times"
            )
    intervals = named["times"][1:] - named["times"][:-1]
    if not on_device(intervals) and (intervals <= 0).any():
        raise ValueError(f"times{index} do not increase at index {np.argmax(intervals <= 0) + 1}")
    return named["warp"] - named["warp_true"], beside(intervals, named["warp"])
