"""What all operators and modules need, whatever they compute.

Functions of arrays become operators of PyTorch, tensors and arrays share their memory, and arguments are made ready.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import torch

from .. import _arrays
from .._cuda import exchange
from .._words import wrong_type


def to_array(tensor):
    """A tensor's memory as an array, NumPy's or CuPy's."""
    if tensor is None:
        return None
    return exchange.array_of(tensor.detach()) if on_cuda(tensor) else tensor.detach().numpy()


def to_tensor(array, like):
    """An array's memory as a tensor; an empty one for what does not exist."""
    if array is None:
        return like.new_empty(0)
    if _arrays.on_device(array):
        return torch.from_dlpack(_arrays.namespace(array).ascontiguousarray(array))
    return torch.from_numpy(np.ascontiguousarray(array))


def on_cuda(tensor):
    return tensor.is_cuda


def operator(name, schema):
    """Register a function of tensors as the operator sdtwkit::name."""

    def register(function):
        @functools.wraps(function)
        def placed(*inputs):
            with _place(inputs):
                return function(*inputs)

        devices = ("cpu", "cuda")
        return torch.library.custom_op(f"sdtwkit::{name}", placed, mutates_args=(), schema=schema, device_types=devices)

    return register


def _place(inputs):
    """Where CuPy computes what tensors on a CUDA device ask for; on the CPU no such thing is needed."""
    for tensor in inputs:
        if isinstance(tensor, torch.Tensor) and on_cuda(tensor):
            stream = torch.cuda.current_stream(tensor.device)
            return exchange.on_stream(tensor.device.index, stream.cuda_stream)
    return contextlib.nullcontext()


def keep(ctx, inputs, *outputs):
    """Save what the backward pass needs; gradients that nobody asks for then come as None, not as zeros."""
    ctx.set_materialize_grads(False)
    ctx.places = [k for k, value in enumerate(inputs) if isinstance(value, torch.Tensor)]
    ctx.others = [None if isinstance(value, torch.Tensor) else value for value in inputs]
    ctx.save_for_backward(*(inputs[k] for k in ctx.places), *outputs)


def kept(ctx):
    """-> inputs, outputs, as `keep` got them."""
    inputs, saved = list(ctx.others), ctx.saved_tensors
    for k, tensor in zip(ctx.places, saved, strict=False):
        inputs[k] = tensor
    return inputs, saved[len(ctx.places) :]


def not_differentiable(operator, order):
    """Refuse to differentiate an operator that is a derivative already, instead of a wrong result."""

    def backward(ctx, *gradients):
        raise NotImplementedError(f"{operator._name} cannot be differentiated: derivatives end at order {order}")

    operator.register_autograd(backward, setup_context=lambda ctx, inputs, output: None)


def scaled(gradient, upstream):
    """(B, ...) gradients of (B,) values, by what comes from above."""
    return gradient * upstream.reshape(-1, *(1,) * (gradient.ndim - 1))


def or_zeros(tangent, like):
    return torch.zeros_like(like) if tangent is None and like is not None else tangent


class Module(torch.nn.Module):
    """A module whose options may be tensors."""

    def _set(self, name, value):
        """A parameter stays one, another tensor moves with the module, a number is a number."""
        if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
            self.register_buffer(name, value, persistent=False)
        else:
            setattr(self, name, value)


def in_reach(tensor, name):
    if not isinstance(tensor, torch.Tensor):
        raise wrong_type(tensor, name, "a tensor")
    if tensor.device.type not in ("cpu", "cuda", "meta"):
        raise NotImplementedError(
            f"{name} is on {tensor.device}; expected a tensor on the CPU or a CUDA device, as {name}.cpu() is"
        )
    return tensor


def read_lengths(lengths, name):
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point():
        raise TypeError(f"{name} has dtype {lengths.dtype}; expected integers")
    return lengths.to(torch.int64).reshape(-1)


def wants_gradient(tensor):
    """Whether autograd will ask for its gradient."""
    return torch.is_grad_enabled() and tensor is not None and tensor.requires_grad


def as_number(value):
    return torch.tensor(value, dtype=torch.float64)


def floating(x, y):
    """x and y in the wider of their dtypes, float32 at least."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    if dtype in (torch.float16, torch.bfloat16):
        dtype = torch.float32
    elif not dtype.is_floating_point:
        dtype = torch.float64
    return x.to(dtype), y.to(dtype)


def reduced(values, reduction):
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()
