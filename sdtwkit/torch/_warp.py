"""Continuous warps: their operators and their module."""

from __future__ import annotations

import json
import math
from typing import Any

import torch

from .. import _adapters
from .._typing import WarpLoss
from ._operators import (
    Module,
    as_number,
    floating,
    in_reach,
    keep,
    kept,
    not_differentiable,
    operator,
    read_lengths,
    to_array,
    to_tensor,
)

_WARP_SCHEMA = (
    "Tensor x, Tensor y, Tensor reg, Tensor? band_lower, Tensor? band_upper, Tensor slope_lower, Tensor slope_upper, "
    "Tensor? x_times, Tensor? y_times, Tensor? warp_times, Tensor? x_lengths, Tensor? y_lengths, str options"
)
_WARP_NAMES = (*_adapters.WARP_INPUTS, "x_times", "y_times", "warp_times", "x_lengths", "y_lengths")
_DIFFERENTIABLE = len(_adapters.WARP_INPUTS)


def _warp(*inputs):
    """Inputs of the operator -> WarpResult."""
    *tensors, options = inputs
    arrays = {name: to_array(tensor) for name, tensor in zip(_WARP_NAMES, tensors, strict=True)}
    return _adapters.warp(arrays, options, torch.get_num_threads())


@operator("dec_dtw", f"({_WARP_SCHEMA}) -> Tensor")
def _dec_dtw(*inputs):
    # A copy: the result is kept, and what is handed out may be written to.
    return to_tensor(_warp(*inputs).values.copy(), inputs[0])


@operator("dec_dtw_vjp", f"(Tensor cotangent, {_WARP_SCHEMA}) -> ({', '.join(['Tensor'] * _DIFFERENTIABLE)})")
def _dec_dtw_vjp(cotangent, *inputs):
    gradients = _adapters.warp_gradients(_warp(*inputs), to_array(cotangent))
    return tuple(
        torch.zeros_like(tensor) if gradient is None else to_tensor(gradient, tensor).to(tensor)
        for tensor, gradient in zip(_tensors_of(inputs), gradients, strict=True)
    )


def _tensors_of(inputs):
    """The inputs with gradients; an empty tensor for a bound that is not used."""
    return [inputs[0].new_empty(0) if tensor is None else tensor for tensor in inputs[:_DIFFERENTIABLE]]


@_dec_dtw.register_fake
def _(x, y, *rest):
    warp_times = rest[7]
    n = y.shape[x.ndim == 3] if warp_times is None else warp_times.shape[-1]
    return x.new_empty((x.shape[0], n) if x.ndim == 3 else (n,))


@_dec_dtw_vjp.register_fake
def _(cotangent, *inputs):
    return tuple(torch.empty_like(tensor) for tensor in _tensors_of(inputs))


def _dec_dtw_backward(ctx, cotangent):
    inputs, _ = kept(ctx)
    nothing = [None] * (len(inputs) - _DIFFERENTIABLE)
    if cotangent is None:
        return *[None] * _DIFFERENTIABLE, *nothing
    gradients = _dec_dtw_vjp(cotangent, *inputs)
    wanted = ctx.needs_input_grad[:_DIFFERENTIABLE]
    return *(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), *nothing


_dec_dtw.register_autograd(_dec_dtw_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs))
not_differentiable(_dec_dtw_vjp, 1)


class DecDTW(Module):
    """Continuous warps of batches of signals, a differentiable output.

    Parameters
    ----------
    reg : float >= 0, or tensor, default 0.1
        Smoothness of the warp, for all intervals or for each; a tensor that requires grad gets its gradient.
    band : None, float >= 0, or pair of tensors
        Half-width about the line through the ends; or lower and upper bounds of the warp, which get their gradients.
    slope_bounds : pair of floats or tensors, default (0, inf)
        In units of `target_slope`; tensors get their gradients.
    x_times, y_times, warp_times : tensors, optional
        As for `sdtwkit.dec_dtw`.
    n_values, subsequence, loss, reg_loss, target_slope
        As for `sdtwkit.dec_dtw`.

    Notes
    -----
    Called with x (B, m, d), which is warped, y (B, n, d) and, for ragged batches, ``x_lengths`` and ``y_lengths`` (B,);
    or with two single signals. Gives phi (B, n), or (n,): times in x at the warp times, with exact gradients by the
    implicit function theorem; second derivatives raise.

    References
    ----------
    Xu, Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment paths, ICLR
    2023.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.torch import DecDTW
    >>> t = torch.linspace(0, 1, 50, dtype=torch.float64)
    >>> x = torch.sin(6 * t).requires_grad_()
    >>> phi = DecDTW(reg=0.01)(x, torch.sin(6 * t**2))
    >>> (phi - t**2).square().mean().backward()
    >>> round(phi[25].item(), 3), tuple(x.grad.shape)
    (0.268, (50,))
    """

    def __init__(
        self,
        reg: float | torch.Tensor = 0.1,
        *,
        band: Any = None,
        slope_bounds: Any = (0.0, math.inf),
        x_times: torch.Tensor | None = None,
        y_times: torch.Tensor | None = None,
        warp_times: torch.Tensor | None = None,
        n_values: int | None = None,
        subsequence: bool = False,
        loss: WarpLoss = "l2",
        reg_loss: WarpLoss = "l2",
        target_slope: Any = None,
    ) -> None:
        super().__init__()
        self._set("reg", reg)
        bounds = isinstance(band, (tuple, list))
        for name, bound in zip(("band_lower", "band_upper"), band if bounds else (None, None), strict=True):
            self._set(name, None if bound is None else torch.as_tensor(bound))
        for name, bound in zip(("slope_lower", "slope_upper"), slope_bounds, strict=True):
            self._set(name, bound)
        for name, times in (("x_times", x_times), ("y_times", y_times), ("warp_times", warp_times)):
            self._set(name, None if times is None else torch.as_tensor(times))
        settings = {
            "n_values": n_values,
            "subsequence": subsequence,
            "loss": loss,
            "reg_loss": reg_loss,
            "target_slope": target_slope,
        }
        if band is not None and not bounds:
            settings["band"] = band
        self.options = json.dumps(settings)

    def extra_repr(self) -> str:
        return f"reg={self.reg}"

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        x_lengths: torch.Tensor | None = None,
        y_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x, y = floating(in_reach(x, "x"), in_reach(y, "y"))
        numbers = (self.reg, self.band_lower, self.band_upper, self.slope_lower, self.slope_upper)
        numbers = [one if isinstance(one, torch.Tensor) or one is None else as_number(one) for one in numbers]
        times = self.x_times, self.y_times, self.warp_times
        lengths = read_lengths(x_lengths, "x_lengths"), read_lengths(y_lengths, "y_lengths")
        return _dec_dtw(x, y, *numbers, *times, *lengths, self.options)
