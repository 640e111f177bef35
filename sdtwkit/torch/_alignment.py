"""Operators of alignment: soft-DTW with its gradients, the expected alignment, local costs.

Each derivative is an operator of its own, up to the order at which derivatives end.
"""

from __future__ import annotations

import ast
import functools
from types import NoneType
from typing import NamedTuple

import torch

from .. import _adapters, costs, series
from .._adapters import ONE_SIDED
from ._operators import keep, kept, not_differentiable, operator, or_zeros, scaled, to_array, to_tensor


class Options(NamedTuple):
    """What an operator of alignment takes besides x and y, as its schema has it.

    What is no tensor comes in one string: what PyTorch spends on a call grows with the square of the number of
    arguments (0.1 ms for sixteen of them).
    """

    gamma: torch.Tensor  # a 0-D tensor: as a number it would be a constant of compiled code
    x_lengths: torch.Tensor | None
    y_lengths: torch.Tensor | None
    prior: torch.Tensor | None
    mask: torch.Tensor | None
    settings: str  # keyword arguments, see `written`

    SCHEMA = (  # type: ignore[misc]
        "Tensor gamma, Tensor? x_lengths, Tensor? y_lengths, Tensor? prior, Tensor? mask, str settings"
    )


_NO_GRADIENTS = (None,) * 6  # of the options
_read = functools.lru_cache(ast.literal_eval)


def written(**settings):
    """What `_read` reads; in a form that torch.compile can trace, as it cannot json."""
    for name, value in settings.items():
        if not isinstance(value, (str, bool, int, tuple, NoneType)):
            raise TypeError(f"{name} is {value!r}, of type {type(value).__name__}; expected a value of a built-in type")
    plain = {name: str(value) if isinstance(value, str) else value for name, value in settings.items()}
    return "{" + ", ".join([f"{name!r}: {value!r}" for name, value in plain.items()]) + "}"


def _keywords(options):
    """Options as keyword arguments of the functions of `series`, or of `_adapters` if a divergence was asked for."""
    options = Options(*options)
    keywords = {
        **_read(options.settings),
        "gamma": float(options.gamma),
        "x_lengths": to_array(options.x_lengths),
        "y_lengths": to_array(options.y_lengths),
        "prior": to_array(options.prior),
        "n_jobs": torch.get_num_threads(),
    }
    if options.mask is not None:
        keywords["window"] = to_array(options.mask)
    return keywords


# ---- soft-DTW: value, with gradients, and the product of the Hessian


@operator("soft_dtw_value", f"(Tensor x, Tensor? y, {Options.SCHEMA}) -> Tensor")
def soft_dtw_value(x, y, *options):
    return to_tensor(_adapters.value(to_array(x), to_array(y), **_keywords(options)), x)


@operator(
    "soft_dtw",
    f"(Tensor x, Tensor? y, bool of_x, bool of_y, {Options.SCHEMA}) -> (Tensor, Tensor, Tensor)",
)
def soft_dtw(x, y, of_x, of_y, *options):
    """Values, and the gradients of x and of y that are wanted."""
    arrays, sides = (to_array(x), to_array(y)), (of_x, of_y)
    values, *gradients = _adapters.value_and_grad(*arrays, sides, **_keywords(options))
    found = (gradient if wanted else None for gradient, wanted in zip(gradients, sides, strict=True))
    return to_tensor(values, x), *(to_tensor(gradient, x) for gradient in found)


@operator(
    "soft_dtw_hvp",
    f"(Tensor x, Tensor? y, Tensor dx, Tensor? dy, {Options.SCHEMA}) -> (Tensor, Tensor)",
)
def soft_dtw_hvp(x, y, dx, dy, *options):
    arrays = [to_array(tensor) for tensor in (x, y, dx, dy)]
    return tuple(to_tensor(product, x) for product in _adapters.hvp(*arrays, **_keywords(options)))


def _differentiable(y, options):
    """Whether y has gradients, so that they are not empty tensors."""
    return y is not None and _read(Options(*options).settings)["cost"] not in ONE_SIDED


def _empty_like(x, y, options):
    return x.new_empty(x.shape), x.new_empty(y.shape if _differentiable(y, options) else 0)


@soft_dtw_value.register_fake
def _(x, y, *options):
    return x.new_empty(x.shape[0])


@soft_dtw.register_fake
def _(x, y, of_x, of_y, *options):
    of_y = of_y and _differentiable(y, options)
    return x.new_empty(x.shape[0]), x.new_empty(x.shape if of_x else 0), x.new_empty(y.shape if of_y else 0)


@soft_dtw_hvp.register_fake
def _(x, y, dx, dy, *options):
    return _empty_like(x, y, options)


def _soft_dtw_backward(ctx, upstream, to_grad_x, to_grad_y):
    (x, y, of_x, of_y, *options), gradients = kept(ctx)
    sides = of_x, of_y and _differentiable(y, options)
    found = [None, None]
    if upstream is not None:
        found = [scaled(g, upstream) if side else None for g, side in zip(gradients, sides, strict=True)]
    dx, dy = (d if side else None for d, side in zip((to_grad_x, to_grad_y), sides, strict=True))
    if dx is not None or dy is not None:
        products = soft_dtw_hvp(x, y, or_zeros(dx, x), dy, *options)
        for k, (product, side) in enumerate(zip(products, sides, strict=True)):
            if side:
                found[k] = product if found[k] is None else found[k] + product
    return *found, None, None, *_NO_GRADIENTS


soft_dtw.register_autograd(_soft_dtw_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs, *output[1:]))
not_differentiable(soft_dtw_hvp, 2)


# ---- the expected alignment


@operator("soft_dtw_alignment", f"(Tensor x, Tensor? y, {Options.SCHEMA}) -> Tensor")
def alignment(x, y, *options):
    return to_tensor(series.soft_dtw_alignment(to_array(x), to_array(y), **_keywords(options))[0], x)


@operator("soft_dtw_alignment_vjp", f"(Tensor x, Tensor? y, Tensor cotangent, {Options.SCHEMA}) -> (Tensor, Tensor)")
def alignment_vjp(x, y, cotangent, *options):
    arrays = to_array(x), to_array(y), to_array(cotangent)
    return tuple(to_tensor(g, x) for g in series.soft_dtw_alignment_vjp(*arrays, **_keywords(options)))


@alignment.register_fake
def _(x, y, *options):
    return x.new_empty(x.shape if y is None else (*x.shape[:2], y.shape[1]))


@alignment_vjp.register_fake
def _(x, y, cotangent, *options):
    return _empty_like(x, y, options)


def _alignment_backward(ctx, cotangent):
    (x, y, *options), _ = kept(ctx)
    if cotangent is None:
        return None, None, *_NO_GRADIENTS
    grad_x, grad_y = alignment_vjp(x, y, cotangent, *options)
    return grad_x, grad_y if _differentiable(y, options) else None, *_NO_GRADIENTS


alignment.register_autograd(_alignment_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs))
not_differentiable(alignment_vjp, 1)


# ---- local costs


@operator("cost_matrix", "(Tensor x, Tensor y, Tensor? x_lengths, Tensor? y_lengths, str cost) -> Tensor")
def cost_matrix(x, y, x_lengths, y_lengths, cost):
    lengths = {"x_lengths": to_array(x_lengths), "y_lengths": to_array(y_lengths)}
    return to_tensor(costs.cost_matrix(to_array(x), to_array(y), cost, **lengths), x)


@operator(
    "cost_vjp", "(Tensor x, Tensor y, Tensor G, Tensor? x_lengths, Tensor? y_lengths, str cost) -> (Tensor, Tensor)"
)
def cost_vjp(x, y, G, x_lengths, y_lengths, cost):
    lengths = {"x_lengths": to_array(x_lengths), "y_lengths": to_array(y_lengths)}
    return tuple(to_tensor(g, x) for g in costs.cost_vjp(to_array(x), to_array(y), to_array(G), cost, **lengths))


@operator(
    "cost_second",
    "(Tensor x, Tensor y, Tensor G, Tensor dx, Tensor? dy, Tensor? x_lengths, Tensor? y_lengths, str cost) "
    "-> (Tensor, Tensor, Tensor)",
)
def cost_second(x, y, G, dx, dy, x_lengths, y_lengths, cost):
    """Gradients of <G, dC(dx, dy)> with respect to x, y and G."""
    lengths = {"x_lengths": to_array(x_lengths), "y_lengths": to_array(y_lengths)}
    arrays = [to_array(tensor) for tensor in (x, y, G, dx, dy)]
    bent = costs.cost_hvp(*arrays, cost, **lengths)
    moved = costs.cost_jvp(arrays[0], arrays[1], arrays[3], arrays[4], cost, **lengths)
    return *(to_tensor(b, x) for b in bent), to_tensor(moved, x)


@cost_matrix.register_fake
def _(x, y, x_lengths, y_lengths, cost):
    return x.new_empty((*x.shape[:2], y.shape[1]))


@cost_vjp.register_fake
def _(x, y, G, x_lengths, y_lengths, cost):
    return x.new_empty(x.shape), x.new_empty(0 if cost in ONE_SIDED else y.shape)


@cost_second.register_fake
def _(x, y, G, dx, dy, x_lengths, y_lengths, cost):
    return x.new_empty(x.shape), x.new_empty(0 if cost in ONE_SIDED else y.shape), x.new_empty(G.shape)


def _cost_matrix_backward(ctx, G):
    (x, y, *rest), _ = kept(ctx)
    if G is None:
        return None, None, None, None, None
    grad_x, grad_y = cost_vjp(x, y, G, *rest)
    return grad_x, None if rest[-1] in ONE_SIDED else grad_y, None, None, None


def _cost_vjp_backward(ctx, dx, dy):
    (x, y, G, *rest), _ = kept(ctx)
    if dx is None and dy is None:
        return None, None, None, None, None, None
    one_sided = rest[-1] in ONE_SIDED
    grad_x, grad_y, grad_G = cost_second(x, y, G, or_zeros(dx, x), None if one_sided else or_zeros(dy, y), *rest)
    return grad_x, None if one_sided else grad_y, grad_G, None, None, None


cost_matrix.register_autograd(_cost_matrix_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs))
cost_vjp.register_autograd(_cost_vjp_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs))
not_differentiable(cost_second, 2)
