"""What the adapters to frameworks differentiate: soft-DTW or its divergence, as functions of arrays to second order.

A framework needs a value, the gradients that go with it, and the product of the Hessian with a direction, all with the
same arguments; `divergence` chooses between the two losses.
"""

import numpy as np

from . import divergences, series

ONE_SIDED = ("nll", "precomputed")  # costs without a derivative in y


def value(divergence, x, y, **options):
    """(B,) values."""
    if divergence:
        return divergences.soft_dtw_divergence(x, y, **_of_divergence(options))
    return series.soft_dtw(x, y, **options)


def value_and_grad(divergence, x, y, **options):
    """(B,) values, gradients like x and like y; None for a y that has none."""
    if divergence:
        return divergences.soft_dtw_divergence_value_and_grad(x, y, **_of_divergence(options))
    return series.soft_dtw_value_and_grad(x, y, **options)


def hvp(divergence, x, y, dx, dy, **options):
    """Product of the Hessian in (x, y) with (dx, dy), like x and like y; a direction of None is zero."""
    if not divergence:
        return series.soft_dtw_hvp(x, y, dx, dy, **options)
    options, dtype = _of_divergence(options), x.dtype
    x, y, dx, dy = (np.asarray(a, np.float64) for a in (x, y, dx, np.zeros_like(y) if dy is None else dy))
    lengths = options.pop("x_lengths"), options.pop("y_lengths")
    terms = [
        series.soft_dtw_hvp(*moved, x_lengths=lengths[i], y_lengths=lengths[j], **options)
        for moved, i, j in (((x, y, dx, dy), 0, 1), ((x, x, dx, dx), 0, 0), ((y, y, dy, dy), 1, 1))
    ]
    between, of_x, of_y = terms
    return (between[0] - 0.5 * sum(of_x)).astype(dtype), (between[1] - 0.5 * sum(of_y)).astype(dtype)


def _of_divergence(options):
    return {name: option for name, option in options.items() if name != "prior"}


def check_divergence(cost, prior, normalize):
    """Refuse what a divergence does not take."""
    if prior is not None or normalize == "path" or cost in ONE_SIDED:
        raise ValueError("the divergence takes no prior, no cost 'nll' or 'precomputed', and no normalize='path'")
