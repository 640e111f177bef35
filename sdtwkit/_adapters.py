"""What the adapters to frameworks differentiate: soft-DTW or its divergence, as functions of arrays to second order.

A framework needs a value, the gradients that go with it, and the product of the Hessian with a direction, all with the
same arguments; `divergence` chooses between the two losses.
"""

import collections
import hashlib
import json
import threading

import numpy as np

from . import _arrays, _options, divergences, series
from ._backend import BOTH
from ._words import check_choice, check_flag, wrong_choice
from .warping import dec_dtw
from .weak import NORMALIZATIONS

_OF_CALL = ("cost", "prior", "x_lengths", "y_lengths", "n_jobs")  # the other options belong to the recursion
REDUCTIONS = ("none", "mean", "sum")  # of the values of a batch
ONE_SIDED = ("nll", "precomputed")  # costs without a derivative in y


def value(x, y, divergence=False, **options):
    """(B,) values."""
    if divergence:
        return divergences.soft_dtw_divergence(x, y, **_of_divergence(options))
    return series.soft_dtw(x, y, **options)


def value_and_grad(x, y, sides=BOTH, divergence=False, **options):
    """(B,) values, gradients like x and like y; None for a y that has none, and for a side that is not wanted."""
    if divergence:
        values, *gradients = divergences.soft_dtw_divergence_value_and_grad(x, y, **_of_divergence(options))
        return values, *(g if wanted else None for g, wanted in zip(gradients, sides, strict=True))
    of_call = {name: options.pop(name) for name in _OF_CALL if name in options}
    call = series.Call(x, y, recursion=_options.check_recursion(**options), **of_call)
    return call.value_and_grad(sides)


def hvp(x, y, dx, dy, divergence=False, **options):
    """Product of the Hessian in (x, y) with (dx, dy), like x and like y; a direction of None is zero."""
    if not divergence:
        return series.soft_dtw_hvp(x, y, dx, dy, **options)
    options, dtype = _of_divergence(options), x.dtype
    x, y, dx, dy = (a.astype(np.float64, copy=False) for a in (x, y, dx, np.zeros_like(y) if dy is None else dy))
    lengths = options.pop("x_lengths"), options.pop("y_lengths")
    terms = [
        series.soft_dtw_hvp(*moved, x_lengths=lengths[i], y_lengths=lengths[j], **options)
        for moved, i, j in (((x, y, dx, dy), 0, 1), ((x, x, dx, dx), 0, 0), ((y, y, dy, dy), 1, 1))
    ]
    between, of_x, of_y = terms
    return (between[0] - 0.5 * sum(of_x)).astype(dtype), (between[1] - 0.5 * sum(of_y)).astype(dtype)


def _of_divergence(options):
    return {name: option for name, option in options.items() if name != "prior"}


def check_loss(divergence, cost, prior, normalize, reduction):
    """Refuse what a loss does not take; -> divergence as a bool, the cost's name."""
    check_choice(reduction, "reduction", REDUCTIONS)
    if normalize is not None and normalize not in NORMALIZATIONS:
        *others, last = map(repr, NORMALIZATIONS)
        raise wrong_choice(normalize, "normalize", f"None, {', '.join(others)} or {last}")
    if not check_flag(divergence, "divergence"):
        return False, cost or "sqeuclidean"
    came = {"a prior": prior is not None, "normalize='path'": normalize == "path", f"cost {cost!r}": cost in ONE_SIDED}
    for what, is_given in came.items():
        if is_given:
            raise ValueError(f"{what} is given; expected none with divergence=True, which does not take it")
    return True, cost or "half_sqeuclidean"


# ---- continuous warps

WARP_INPUTS = ("x", "y", "reg", "band_lower", "band_upper", "slope_lower", "slope_upper")  # those with gradients
_RECENT = 8  # warps that are kept
_recent_warps: collections.OrderedDict = collections.OrderedDict()
_lock = threading.Lock()


def warp(arrays, options, n_jobs):
    """WarpResult of a problem. The last few are kept by a digest of theirs, so that going back solves nothing twice.

    arrays : {name: array or None}, WARP_INPUTS and keyword arguments of `dec_dtw`; options : the others, in JSON.
    """
    if any(map(_arrays.on_device, arrays.values())):  # a digest would wait for the device
        return _solve(dict(arrays), json.loads(options), n_jobs)
    key = _digest(arrays, options)
    with _lock:
        found = _recent_warps.get(key)
    if found is None:
        found = _solve(dict(arrays), json.loads(options), n_jobs)
        with _lock:
            _recent_warps[key] = found
            while len(_recent_warps) > _RECENT:
                _recent_warps.popitem(last=False)
    return found


def _digest(arrays, options):
    digest = hashlib.blake2b(options.encode())
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, None if array is None else (array.shape, array.dtype.str))).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _solve(arrays, options, n_jobs):
    inputs = {name: arrays.pop(name) for name in WARP_INPUTS}
    x, y, reg, *bounds = (array if array is None or array.ndim else float(array) for array in inputs.values())
    if bounds[0] is not None:
        options["band"] = tuple(bounds[:2])
    return dec_dtw(x.copy(), y.copy(), reg, slope_bounds=tuple(bounds[2:]), n_jobs=n_jobs, **arrays, **options)


def warp_gradients(found, cotangent):
    """Gradients of <cotangent, phi> in the order of WARP_INPUTS; None for what is not used."""
    gradients = found.vjp(cotangent)
    return [getattr(gradients, name) for name in WARP_INPUTS]
