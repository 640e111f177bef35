"""Losses and alignments as PyTorch modules, with right first and second derivatives.

Each function of the library that is needed becomes a registered operator, so that `torch.compile` sees it as one node
of known shape; its derivative is another operator. A loss keeps the gradient that came with its value: going backward
multiplies it. Tensors are handed to the kernels without a copy: those on the CPU as NumPy arrays, with the threads of
`torch.get_num_threads()`; those on a CUDA device as CuPy arrays, on their device and torch's current stream there.

Whatever is learned besides the series (gamma, a prior) goes through the matrix of costs and through the identities
value(C; gamma) = gamma value(C / gamma; 1) and E(C; gamma) = E(C / gamma; 1), so autograd knows its derivatives, too.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import math
from numbers import Real
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from ._typing import CostName, Normalization, OpenEnds, Reduction, Regularizer, StepWeights, WarpLoss

try:
    import torch
except ImportError as error:
    raise ImportError("sdtwkit.torch needs PyTorch: python -m pip install 'sdtwkit[torch]'") from error

from . import _adapters, _arrays, costs, series
from ._adapters import ONE_SIDED, REDUCTIONS
from ._cuda import exchange
from ._options import UNIT_WEIGHTS, check_smoothing, check_window
from ._words import check_choice, wrong_type
from .dp import CTC, ChainDP

__all__ = ["CTCLoss", "ChainMarginals", "DecDTW", "SoftAlignment", "SoftDTWLoss"]


class _Options(NamedTuple):
    """What an operator of alignment takes besides x and y, as its schema has it.

    What is no tensor comes in one string: what PyTorch spends on a call grows with the square of the number of
    arguments (0.1 ms for sixteen of them).
    """

    gamma: torch.Tensor  # a 0-D tensor: as a number it would be a constant of compiled code
    x_lengths: torch.Tensor | None
    y_lengths: torch.Tensor | None
    prior: torch.Tensor | None
    mask: torch.Tensor | None
    settings: str  # keyword arguments, see _written

    SCHEMA = (  # type: ignore[misc]
        "Tensor gamma, Tensor? x_lengths, Tensor? y_lengths, Tensor? prior, Tensor? mask, str settings"
    )


_NO_GRADIENTS = (None,) * 6  # of the options
_read = functools.lru_cache(ast.literal_eval)


def _written(**settings):
    """What `_read` reads; in a form that torch.compile can trace, as it cannot json."""
    for name, value in settings.items():
        if not isinstance(value, (str, bool, int, tuple, NoneType)):
            raise TypeError(f"{name} is {value!r}, of type {type(value).__name__}; expected a value of a built-in type")
    plain = {name: str(value) if isinstance(value, str) else value for name, value in settings.items()}
    return "{" + ", ".join([f"{name!r}: {value!r}" for name, value in plain.items()]) + "}"


def _keywords(options):
    """_Options as keyword arguments of the functions of `series`, or of `_adapters` if a divergence was asked for."""
    options = _Options(*options)
    keywords = {
        **_read(options.settings),
        "gamma": float(options.gamma),
        "x_lengths": _array(options.x_lengths),
        "y_lengths": _array(options.y_lengths),
        "prior": _array(options.prior),
        "n_jobs": torch.get_num_threads(),
    }
    if options.mask is not None:
        keywords["window"] = _array(options.mask)
    return keywords


def _array(tensor):
    """A tensor's memory as an array, NumPy's or CuPy's."""
    if tensor is None:
        return None
    return exchange.array_of(tensor.detach()) if _on_cuda(tensor) else tensor.detach().numpy()


def _tensor(array, like):
    """An array's memory as a tensor; an empty one for what does not exist."""
    if array is None:
        return like.new_empty(0)
    if _arrays.on_device(array):
        return torch.from_dlpack(_arrays.namespace(array).ascontiguousarray(array))
    return torch.from_numpy(np.ascontiguousarray(array))


def _on_cuda(tensor):
    return tensor.is_cuda


def _operator(name, schema):
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
        if isinstance(tensor, torch.Tensor) and _on_cuda(tensor):
            stream = torch.cuda.current_stream(tensor.device)
            return exchange.on_stream(tensor.device.index, stream.cuda_stream)
    return contextlib.nullcontext()


def _keep(ctx, inputs, *outputs):
    """Save what the backward pass needs; gradients that nobody asks for then come as None, not as zeros."""
    ctx.set_materialize_grads(False)
    ctx.places = [k for k, value in enumerate(inputs) if isinstance(value, torch.Tensor)]
    ctx.others = [None if isinstance(value, torch.Tensor) else value for value in inputs]
    ctx.save_for_backward(*(inputs[k] for k in ctx.places), *outputs)


def _kept(ctx):
    """-> inputs, outputs, as `_keep` got them."""
    inputs, saved = list(ctx.others), ctx.saved_tensors
    for k, tensor in zip(ctx.places, saved, strict=False):
        inputs[k] = tensor
    return inputs, saved[len(ctx.places) :]


def _not_differentiable(operator, order):
    """Refuse to differentiate an operator that is a derivative already, instead of a wrong result."""

    def backward(ctx, *gradients):
        raise NotImplementedError(f"{operator._name} cannot be differentiated: derivatives end at order {order}")

    operator.register_autograd(backward, setup_context=lambda ctx, inputs, output: None)


def _times(gradient, upstream):
    """(B, ...) gradients of (B,) values, by what comes from above."""
    return gradient * upstream.reshape(-1, *(1,) * (gradient.ndim - 1))


def _zeros(tangent, like):
    return torch.zeros_like(like) if tangent is None and like is not None else tangent


# ---- soft-DTW: value, with gradients, and the product of the Hessian


@_operator("soft_dtw_value", f"(Tensor x, Tensor? y, {_Options.SCHEMA}) -> Tensor")
def _soft_dtw_value(x, y, *options):
    return _tensor(_adapters.value(_array(x), _array(y), **_keywords(options)), x)


@_operator(
    "soft_dtw",
    f"(Tensor x, Tensor? y, bool of_x, bool of_y, {_Options.SCHEMA}) -> (Tensor, Tensor, Tensor)",
)
def _soft_dtw(x, y, of_x, of_y, *options):
    """Values, and the gradients of x and of y that are wanted."""
    arrays, sides = (_array(x), _array(y)), (of_x, of_y)
    values, *gradients = _adapters.value_and_grad(*arrays, sides, **_keywords(options))
    found = (gradient if wanted else None for gradient, wanted in zip(gradients, sides, strict=True))
    return _tensor(values, x), *(_tensor(gradient, x) for gradient in found)


@_operator(
    "soft_dtw_hvp",
    f"(Tensor x, Tensor? y, Tensor dx, Tensor? dy, {_Options.SCHEMA}) -> (Tensor, Tensor)",
)
def _soft_dtw_hvp(x, y, dx, dy, *options):
    arrays = [_array(tensor) for tensor in (x, y, dx, dy)]
    return tuple(_tensor(product, x) for product in _adapters.hvp(*arrays, **_keywords(options)))


def _differentiable(y, options):
    """Whether y has gradients, so that they are not empty tensors."""
    return y is not None and _read(_Options(*options).settings)["cost"] not in ONE_SIDED


def _empty_like(x, y, options):
    return x.new_empty(x.shape), x.new_empty(y.shape if _differentiable(y, options) else 0)


@_soft_dtw_value.register_fake
def _(x, y, *options):
    return x.new_empty(x.shape[0])


@_soft_dtw.register_fake
def _(x, y, of_x, of_y, *options):
    of_y = of_y and _differentiable(y, options)
    return x.new_empty(x.shape[0]), x.new_empty(x.shape if of_x else 0), x.new_empty(y.shape if of_y else 0)


@_soft_dtw_hvp.register_fake
def _(x, y, dx, dy, *options):
    return _empty_like(x, y, options)


def _soft_dtw_backward(ctx, upstream, to_grad_x, to_grad_y):
    (x, y, of_x, of_y, *options), gradients = _kept(ctx)
    sides = of_x, of_y and _differentiable(y, options)
    found = [None, None]
    if upstream is not None:
        found = [_times(g, upstream) if side else None for g, side in zip(gradients, sides, strict=True)]
    dx, dy = (d if side else None for d, side in zip((to_grad_x, to_grad_y), sides, strict=True))
    if dx is not None or dy is not None:
        products = _soft_dtw_hvp(x, y, _zeros(dx, x), dy, *options)
        for k, (product, side) in enumerate(zip(products, sides, strict=True)):
            if side:
                found[k] = product if found[k] is None else found[k] + product
    return *found, None, None, *_NO_GRADIENTS


_soft_dtw.register_autograd(
    _soft_dtw_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs, *output[1:])
)
_not_differentiable(_soft_dtw_hvp, 2)


# ---- the expected alignment


@_operator("soft_dtw_alignment", f"(Tensor x, Tensor? y, {_Options.SCHEMA}) -> Tensor")
def _alignment(x, y, *options):
    return _tensor(series.soft_dtw_alignment(_array(x), _array(y), **_keywords(options))[0], x)


@_operator("soft_dtw_alignment_vjp", f"(Tensor x, Tensor? y, Tensor cotangent, {_Options.SCHEMA}) -> (Tensor, Tensor)")
def _alignment_vjp(x, y, cotangent, *options):
    arrays = _array(x), _array(y), _array(cotangent)
    return tuple(_tensor(g, x) for g in series.soft_dtw_alignment_vjp(*arrays, **_keywords(options)))


@_alignment.register_fake
def _(x, y, *options):
    return x.new_empty(x.shape if y is None else (*x.shape[:2], y.shape[1]))


@_alignment_vjp.register_fake
def _(x, y, cotangent, *options):
    return _empty_like(x, y, options)


def _alignment_backward(ctx, cotangent):
    (x, y, *options), _ = _kept(ctx)
    if cotangent is None:
        return None, None, *_NO_GRADIENTS
    grad_x, grad_y = _alignment_vjp(x, y, cotangent, *options)
    return grad_x, grad_y if _differentiable(y, options) else None, *_NO_GRADIENTS


_alignment.register_autograd(_alignment_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs))
_not_differentiable(_alignment_vjp, 1)


# ---- local costs


@_operator("cost_matrix", "(Tensor x, Tensor y, Tensor? x_lengths, Tensor? y_lengths, str cost) -> Tensor")
def _cost_matrix(x, y, x_lengths, y_lengths, cost):
    lengths = {"x_lengths": _array(x_lengths), "y_lengths": _array(y_lengths)}
    return _tensor(costs.cost_matrix(_array(x), _array(y), cost, **lengths), x)


@_operator(
    "cost_vjp", "(Tensor x, Tensor y, Tensor G, Tensor? x_lengths, Tensor? y_lengths, str cost) -> (Tensor, Tensor)"
)
def _cost_vjp(x, y, G, x_lengths, y_lengths, cost):
    lengths = {"x_lengths": _array(x_lengths), "y_lengths": _array(y_lengths)}
    return tuple(_tensor(g, x) for g in costs.cost_vjp(_array(x), _array(y), _array(G), cost, **lengths))


@_operator(
    "cost_second",
    "(Tensor x, Tensor y, Tensor G, Tensor dx, Tensor? dy, Tensor? x_lengths, Tensor? y_lengths, str cost) "
    "-> (Tensor, Tensor, Tensor)",
)
def _cost_second(x, y, G, dx, dy, x_lengths, y_lengths, cost):
    """Gradients of <G, dC(dx, dy)> with respect to x, y and G."""
    lengths = {"x_lengths": _array(x_lengths), "y_lengths": _array(y_lengths)}
    arrays = [_array(tensor) for tensor in (x, y, G, dx, dy)]
    bent = costs.cost_hvp(*arrays, cost, **lengths)
    moved = costs.cost_jvp(arrays[0], arrays[1], arrays[3], arrays[4], cost, **lengths)
    return *(_tensor(b, x) for b in bent), _tensor(moved, x)


@_cost_matrix.register_fake
def _(x, y, x_lengths, y_lengths, cost):
    return x.new_empty((*x.shape[:2], y.shape[1]))


@_cost_vjp.register_fake
def _(x, y, G, x_lengths, y_lengths, cost):
    return x.new_empty(x.shape), x.new_empty(0 if cost in ONE_SIDED else y.shape)


@_cost_second.register_fake
def _(x, y, G, dx, dy, x_lengths, y_lengths, cost):
    return x.new_empty(x.shape), x.new_empty(0 if cost in ONE_SIDED else y.shape), x.new_empty(G.shape)


def _cost_matrix_backward(ctx, G):
    (x, y, *rest), _ = _kept(ctx)
    if G is None:
        return None, None, None, None, None
    grad_x, grad_y = _cost_vjp(x, y, G, *rest)
    return grad_x, None if rest[-1] in ONE_SIDED else grad_y, None, None, None


def _cost_vjp_backward(ctx, dx, dy):
    (x, y, G, *rest), _ = _kept(ctx)
    if dx is None and dy is None:
        return None, None, None, None, None, None
    one_sided = rest[-1] in ONE_SIDED
    grad_x, grad_y, grad_G = _cost_second(x, y, G, _zeros(dx, x), None if one_sided else _zeros(dy, y), *rest)
    return grad_x, None if one_sided else grad_y, grad_G, None, None, None


_cost_matrix.register_autograd(_cost_matrix_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs))
_cost_vjp.register_autograd(_cost_vjp_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs))
_not_differentiable(_cost_second, 2)


# ---- modules of alignment


class _Module(torch.nn.Module):
    def _set(self, name, value):
        """A parameter stays one, another tensor moves with the module, a number is a number."""
        if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
            self.register_buffer(name, value, persistent=False)
        else:
            setattr(self, name, value)


class _Aligning(_Module):
    """Options of an alignment, and its arguments made ready for the operators."""

    def __init__(self, gamma, cost, regularizer, window, step_weights, prior, open_begin, open_end, **more):
        super().__init__()
        check_smoothing(1.0 if isinstance(gamma, torch.Tensor) else gamma, regularizer)
        self._set("gamma", gamma)
        self._set("prior", None if prior is None else torch.as_tensor(prior))
        if not isinstance(cost, str):
            raise TypeError(f"cost is {cost!r}; expected the name of a cost, which is what an operator can take")
        self.cost = costs.get_cost(cost) and cost
        self.regularizer = regularizer
        is_mask = not (window is None or isinstance(window, (Real, str)))
        radius = None if window is None or is_mask else check_window(window)[0]
        self._set("mask", torch.as_tensor(window) if is_mask else None)
        weights = tuple(float(weight) for weight in step_weights)
        recursion = {"regularizer": regularizer, "window": radius, "step_weights": weights}
        recursion |= {"open_begin": open_begin, "open_end": open_end}
        self.settings = _written(cost=cost, **recursion, **more)
        self.settings_over_costs = _written(cost="precomputed", **recursion)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, cost={self.cost!r}, regularizer={self.regularizer!r}"

    def _ready(self, x, y, x_lengths, y_lengths):
        """-> x, y of shape (B, n, d), (B, m, d) and one dtype, _Options; what the caller gave single gets B = 1."""
        x = _in_reach(x, "x")
        if self.cost == "precomputed":
            if y is not None:
                raise ValueError("y is given, but cost 'precomputed' takes the costs as x; expected y=None")
            x = x[None] if x.ndim == 2 else x
        else:
            x, y = _batched(x), _in_reach(y, "y")
            y = y.reshape(len(x), -1, 1) if self.cost == "nll" else _batched(y)
        if y is None or self.cost == "nll":
            x, _ = _floating(x, x)
        else:
            x, y = _floating(x, y)
        gamma = self.gamma
        if not isinstance(gamma, torch.Tensor):
            gamma = torch.tensor(gamma, dtype=torch.float64)
        elif gamma.numel() != 1:
            raise ValueError(f"gamma has shape {tuple(gamma.shape)}; expected one number")
        prior = None if self.prior is None else self.prior.to(x)
        lengths = _lengths(x_lengths, "x_lengths"), _lengths(y_lengths, "y_lengths")
        return x, y, _Options(gamma, *lengths, prior, self.mask, self.settings)

    def _over_costs(self, x, y, options):
        """The same problem on C / gamma, without series and prior: differentiable in gamma and the prior."""
        C = x if y is None else _cost_matrix(x, y, options.x_lengths, options.y_lengths, self.cost)
        if options.prior is not None:
            C = C + options.prior
        gamma = options.gamma.to(C.dtype)
        forbidden = torch.isinf(C)
        C = torch.where(forbidden, math.inf, torch.where(forbidden, 0, C) / gamma)
        one = _number(1.0)  # on the host, where the kernels want it
        return C, options._replace(gamma=one, prior=None, settings=self.settings_over_costs), gamma

    def _learns_more(self, options):
        """Whether gamma or the prior wants a gradient."""
        return torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (options.gamma, options.prior)
        )


def _in_reach(tensor, name):
    if not isinstance(tensor, torch.Tensor):
        raise wrong_type(tensor, name, "a tensor")
    if tensor.device.type not in ("cpu", "cuda", "meta"):
        raise NotImplementedError(
            f"{name} is on {tensor.device}; expected a tensor on the CPU or a CUDA device, as {name}.cpu() is"
        )
    return tensor


def _batched(tensor):
    """(B, n, d) of a batch, or of one series (n,) or (n, d)."""
    if tensor.ndim == 1:
        tensor = tensor[:, None]
    return tensor[None] if tensor.ndim == 2 else tensor


def _lengths(lengths, name):
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point():
        raise TypeError(f"{name} has dtype {lengths.dtype}; expected integers")
    return lengths.to(torch.int64).reshape(-1)


def _wanted(tensor):
    """Whether autograd will ask for its gradient."""
    return torch.is_grad_enabled() and tensor is not None and tensor.requires_grad


def _reduced(values, reduction):
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


class SoftDTWLoss(_Aligning):
    """Soft-DTW [1]_, or its divergence [2]_, of batches of series, as a loss.

    Parameters
    ----------
    gamma : float > 0 or tensor, default 1.0
        Smoothing, in units of the local cost. It may be changed between calls (``loss.gamma = schedule(update)``); a
        0-D tensor does not make compiled code stale, and one that requires grad gets its gradient.
    divergence : bool, default False
        Whether to take off half of what each series loses against itself: 0 where x is y. float32 series are then
        computed in float64.
    cost : str, optional
        Local cost by name, as in `sdtwkit.costs`; "sqeuclidean" by default, "half_sqeuclidean" for the divergence. For
        "nll" x are log-probabilities and y integer labels (B, m); for "precomputed" x is the costs and y None.
    reduction : {"mean", "sum", "none"}
        Over the batch.
    normalize : {None, "n", "m", "n+m", "path"}
        What each value is divided by: the length of x, of y, both, or the expected weighted path length, which counts
        as a constant in derivatives.
    window : None, int or bool tensor of shape (n, m) or (B, n, m)
        As for `sdtwkit.soft_dtw`.
    step_weights : tuple of 3 floats, default (1, 1, 1)
        Of the steps (0, 1), (1, 1), (1, 0).
    prior : tensor of shape (n, m) or (B, n, m), optional
        Added to the costs; one that requires grad gets its gradient. It may be changed between calls.
    regularizer : {"entropy", "l2", None}
    open_begin, open_end : {False, "y", "x", True}
        As for `sdtwkit.soft_dtw`.

    Notes
    -----
    Called with x (B, n, d), y (B, m, d) and, for ragged batches, ``x_lengths`` and ``y_lengths`` (B,); or with two
    single series (n, d) and (m, d). Losses of half precision are computed in float32, also under autocast. First and
    second derivatives are exact; third ones raise.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.torch import SoftDTWLoss
    >>> x, y = torch.zeros(2, 4, 3, requires_grad=True), torch.ones(2, 5, 3)
    >>> loss = SoftDTWLoss(gamma=0.1)(x, y)
    >>> loss.backward()
    >>> round(loss.item(), 2), tuple(x.grad.shape)
    (14.86, (2, 4, 3))
    """

    def __init__(
        self,
        gamma: float | torch.Tensor = 1.0,
        *,
        divergence: bool = False,
        cost: CostName | None = None,
        reduction: Reduction = "mean",
        normalize: Normalization | None = None,
        window: int | torch.Tensor | None = None,
        step_weights: StepWeights = UNIT_WEIGHTS,
        prior: torch.Tensor | None = None,
        regularizer: Regularizer = "entropy",
        open_begin: OpenEnds = False,
        open_end: OpenEnds = False,
    ) -> None:
        divergence, cost = _adapters.check_loss(divergence, cost, prior, normalize, reduction)
        self_terms = {"divergence": divergence}
        super().__init__(gamma, cost, regularizer, window, step_weights, prior, open_begin, open_end, **self_terms)
        self.divergence, self.reduction, self.normalize = divergence, reduction, normalize

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None = None,
        x_lengths: torch.Tensor | None = None,
        y_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x, y, options = self._ready(x, y, x_lengths, y_lengths)
        values = self._values(x, y, options)
        if self.normalize in ("n", "m", "n+m"):
            n, m = x.shape[1], x.shape[2] if y is None else y.shape[1]
            n = n if options.x_lengths is None else options.x_lengths.to(x.device)
            m = m if options.y_lengths is None else options.y_lengths.to(x.device)
            values = values / {"n": n, "m": m, "n+m": n + m}[self.normalize]
        return _reduced(values, self.reduction)

    def _values(self, x, y, options):
        if self._learns_more(options) and self.divergence:
            return self._divergence_of_gamma(x, y, options)
        if self.normalize == "path" or self._learns_more(options):
            return self._values_over_costs(x, y, options)
        sides = _wanted(x), _wanted(y)
        if any(sides):
            return _soft_dtw(x, y, *sides, *options)[0]
        return _soft_dtw_value(x, y, *options)

    def _values_over_costs(self, x, y, options):
        C, options, gamma = self._over_costs(x, y, options)
        values, H, _ = _soft_dtw(C, None, True, False, *options)
        values = gamma * values
        return values / H.detach().sum((1, 2)) if self.normalize == "path" else values

    def _divergence_of_gamma(self, x, y, options):
        """Term by term, since gamma wants its gradient."""
        dtype, x, y = x.dtype, x.double(), y.double()
        between = self._values_over_costs(x, y, options)
        of_x = self._values_over_costs(x, x, options._replace(y_lengths=options.x_lengths))
        of_y = self._values_over_costs(y, y, options._replace(x_lengths=options.y_lengths))
        return (between - 0.5 * (of_x + of_y)).to(dtype)


class SoftAlignment(_Aligning):
    """The expected alignment of batches of series, as a differentiable output.

    Parameters
    ----------
    gamma, cost, window, step_weights, prior, regularizer, open_begin, open_end
        As for `SoftDTWLoss`; cost is "sqeuclidean" by default.

    Notes
    -----
    Called like `SoftDTWLoss`; gives E (B, n, m), for two single series (1, n, m), in which entry (i, j) is the
    probability that a path matches x_i with y_j. A loss on E has exact gradients, by the product of the Hessian; second
    ones raise.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.torch import SoftAlignment
    >>> E = SoftAlignment(gamma=0.1)(torch.tensor([[[0.0], [0.1], [1.0]]]), torch.tensor([[[0.0], [1.0]]]))
    >>> E.round(decimals=2)
    tensor([[[1., 0.],
             [1., 0.],
             [0., 1.]]])
    """

    def __init__(
        self,
        gamma: float | torch.Tensor = 1.0,
        *,
        cost: CostName = "sqeuclidean",
        window: int | torch.Tensor | None = None,
        step_weights: StepWeights = UNIT_WEIGHTS,
        prior: torch.Tensor | None = None,
        regularizer: Regularizer = "entropy",
        open_begin: OpenEnds = False,
        open_end: OpenEnds = False,
    ) -> None:
        super().__init__(gamma, cost, regularizer, window, step_weights, prior, open_begin, open_end)

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None = None,
        x_lengths: torch.Tensor | None = None,
        y_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x, y, options = self._ready(x, y, x_lengths, y_lengths)
        if self._learns_more(options):
            x, options, _ = self._over_costs(x, y, options)
            y = None
        return _alignment(x, y, *options)


# ---- connectionist temporal classification

_CTC_SCHEMA = "Tensor log_probs, Tensor targets, Tensor? input_lengths, Tensor? target_lengths, int blank"


def _ctc_call(method, log_probs, targets, input_lengths, target_lengths, blank, *direction):
    ctc = CTC(blank, n_jobs=torch.get_num_threads())
    direction = [_array(tensor) for tensor in direction]
    arrays = (_array(tensor) for tensor in (input_lengths, target_lengths))
    return getattr(ctc, method)(_array(log_probs), _array(targets), *direction, *arrays)


@_operator("ctc_value", f"({_CTC_SCHEMA}) -> Tensor")
def _ctc_value(log_probs, *rest):
    return _tensor(_ctc_call("value", log_probs, *rest), log_probs)


@_operator("ctc", f"({_CTC_SCHEMA}) -> (Tensor, Tensor)")
def _ctc(log_probs, *rest):
    return tuple(_tensor(result, log_probs) for result in _ctc_call("value_and_grad", log_probs, *rest))


@_operator("ctc_hvp", f"(Tensor direction, {_CTC_SCHEMA}) -> Tensor")
def _ctc_hvp(direction, log_probs, *rest):
    return _tensor(_ctc_call("hvp", log_probs, *rest, direction)[1], log_probs)


@_ctc_value.register_fake
def _(log_probs, *rest):
    return log_probs.new_empty(log_probs.shape[0])


@_ctc.register_fake
def _(log_probs, *rest):
    return log_probs.new_empty(log_probs.shape[0]), log_probs.new_empty(log_probs.shape)


@_ctc_hvp.register_fake
def _(direction, log_probs, *rest):
    return log_probs.new_empty(log_probs.shape)


def _ctc_backward(ctx, upstream, to_gradient):
    (log_probs, *rest), (gradient,) = _kept(ctx)
    found = None if upstream is None else _times(gradient, upstream)
    if to_gradient is not None:
        product = _ctc_hvp(to_gradient, log_probs, *rest)
        found = product if found is None else found + product
    return found, None, None, None, None


_ctc.register_autograd(_ctc_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs, output[1]))
_not_differentiable(_ctc_hvp, 2)


class CTCLoss(torch.nn.Module):
    """Connectionist temporal classification of batches, as a loss. Batch first, unlike `torch.nn.CTCLoss`.

    Parameters
    ----------
    blank : int, default 0
        Class of the blank.
    reduction : {"mean", "sum", "none"}
        Over the samples; "mean" does not divide by the lengths of the targets.

    Notes
    -----
    Called with log_probs (B, T, K), targets (B, M) and, for ragged batches, input_lengths and target_lengths (B,).
    Where no path is feasible the loss is +inf and its gradient 0. First and second derivatives are exact, also where
    the log-probabilities are not normalised; third ones raise.

    References
    ----------
    Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.torch import CTCLoss
    >>> log_probs = torch.zeros(1, 2, 2).log_softmax(-1)
    >>> round(CTCLoss()(log_probs, torch.tensor([[1]])).item(), 4)  # -log 3/4
    0.2877
    """

    def __init__(self, blank: int = 0, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.blank, self.reduction = blank, check_choice(reduction, "reduction", REDUCTIONS)

    def extra_repr(self) -> str:
        return f"blank={self.blank}, reduction={self.reduction!r}"

    def forward(
        self,
        log_probs: torch.Tensor,
        targets: torch.Tensor,
        input_lengths: torch.Tensor | None = None,
        target_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        log_probs = _in_reach(log_probs, "log_probs")
        if log_probs.dtype in (torch.float16, torch.bfloat16):
            log_probs = log_probs.float()
        lengths = _lengths(input_lengths, "input_lengths"), _lengths(target_lengths, "target_lengths")
        arguments = log_probs, _in_reach(targets, "targets"), *lengths, self.blank
        values = _ctc(*arguments)[0] if _wanted(log_probs) else _ctc_value(*arguments)
        return _reduced(values, self.reduction)


# ---- continuous warps

_WARP_SCHEMA = (
    "Tensor x, Tensor y, Tensor reg, Tensor? band_lower, Tensor? band_upper, Tensor slope_lower, Tensor slope_upper, "
    "Tensor? x_times, Tensor? y_times, Tensor? warp_times, Tensor? x_lengths, Tensor? y_lengths, str options"
)
_WARP_NAMES = (*_adapters.WARP_INPUTS, "x_times", "y_times", "warp_times", "x_lengths", "y_lengths")
_DIFFERENTIABLE = len(_adapters.WARP_INPUTS)


def _warp(*inputs):
    """Inputs of the operator -> WarpResult."""
    *tensors, options = inputs
    arrays = {name: _array(tensor) for name, tensor in zip(_WARP_NAMES, tensors, strict=True)}
    return _adapters.warp(arrays, options, torch.get_num_threads())


@_operator("dec_dtw", f"({_WARP_SCHEMA}) -> Tensor")
def _dec_dtw(*inputs):
    # A copy: the result is kept, and what is handed out may be written to.
    return _tensor(_warp(*inputs).values.copy(), inputs[0])


@_operator("dec_dtw_vjp", f"(Tensor cotangent, {_WARP_SCHEMA}) -> ({', '.join(['Tensor'] * _DIFFERENTIABLE)})")
def _dec_dtw_vjp(cotangent, *inputs):
    gradients = _adapters.warp_gradients(_warp(*inputs), _array(cotangent))
    return tuple(
        torch.zeros_like(tensor) if gradient is None else _tensor(gradient, tensor).to(tensor)
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
    inputs, _ = _kept(ctx)
    nothing = [None] * (len(inputs) - _DIFFERENTIABLE)
    if cotangent is None:
        return *[None] * _DIFFERENTIABLE, *nothing
    gradients = _dec_dtw_vjp(cotangent, *inputs)
    wanted = ctx.needs_input_grad[:_DIFFERENTIABLE]
    return *(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), *nothing


_dec_dtw.register_autograd(_dec_dtw_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs))
_not_differentiable(_dec_dtw_vjp, 1)


class DecDTW(_Module):
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
        x, y = _floating(_in_reach(x, "x"), _in_reach(y, "y"))
        numbers = (self.reg, self.band_lower, self.band_upper, self.slope_lower, self.slope_upper)
        numbers = [one if isinstance(one, torch.Tensor) or one is None else _number(one) for one in numbers]
        times = self.x_times, self.y_times, self.warp_times
        lengths = _lengths(x_lengths, "x_lengths"), _lengths(y_lengths, "y_lengths")
        return _dec_dtw(x, y, *numbers, *times, *lengths, self.options)


def _number(value):
    return torch.tensor(value, dtype=torch.float64)


def _floating(x, y):
    """x and y in the wider of their dtypes, float32 at least."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    if dtype in (torch.float16, torch.bfloat16):
        dtype = torch.float32
    elif not dtype.is_floating_point:
        dtype = torch.float64
    return x.to(dtype), y.to(dtype)


# ---- chains

_CHAIN_SCHEMA = "Tensor theta, Tensor? transition, Tensor? lengths, Tensor gamma, str? regularizer"


def _chain(theta, transition, lengths, gamma, regularizer):
    """-> ChainDP, its potentials, keyword arguments."""
    dp = ChainDP(float(gamma), regularizer=regularizer, n_jobs=torch.get_num_threads())
    potentials = _array(theta) if transition is None else (_array(theta), _array(transition))
    return dp, potentials, {"lengths": _array(lengths)}


@_operator("chain_marginals", f"({_CHAIN_SCHEMA}) -> Tensor")
def _chain_marginals(theta, *rest):
    dp, potentials, lengths = _chain(theta, *rest)
    return _tensor(dp.marginals(potentials, **lengths), theta)


@_operator("chain_marginals_vjp", f"(Tensor cotangent, {_CHAIN_SCHEMA}) -> (Tensor, Tensor)")
def _chain_marginals_vjp(cotangent, theta, *rest):
    dp, potentials, lengths = _chain(theta, *rest)
    found = dp.marginals_vjp(potentials, _array(cotangent), **lengths)
    unary, transition = found if isinstance(found, tuple) else (found, None)
    return _tensor(unary, theta), _tensor(transition, theta)


@_chain_marginals.register_fake
def _(theta, *rest):
    return theta.new_empty(theta.shape)


@_chain_marginals_vjp.register_fake
def _(cotangent, theta, transition, *rest):
    return theta.new_empty(theta.shape), theta.new_empty(0 if transition is None else transition.shape)


def _chain_backward(ctx, cotangent):
    (theta, transition, *rest), _ = _kept(ctx)
    if cotangent is None:
        return None, None, None, None, None
    found = _chain_marginals_vjp(cotangent, theta, transition, *rest)
    return found[0], None if transition is None else found[1], None, None, None


_chain_marginals.register_autograd(_chain_backward, setup_context=lambda ctx, inputs, output: _keep(ctx, inputs))
_not_differentiable(_chain_marginals_vjp, 1)


class ChainMarginals(_Module):
    """Marginals of the smoothed law of state sequences, a differentiable output: structured attention.

    Parameters
    ----------
    gamma : float > 0 or tensor, default 1.0
        Smoothing; one that requires grad gets its gradient.
    regularizer : {"entropy", "l2", None}

    Notes
    -----
    Called with potentials theta (B, T, S, S) or (T, S, S), where theta[t, i, j] scores moving into state i from j; or
    with a pair (unary, transition), (B, T, S) or (T, S), and (S, S), which is never expanded. ``lengths`` (B,) are true
    numbers of steps. Gives E of the shape of theta, or of the unary of the pair: probabilities of moves, or of states.
    A loss on E has exact gradients; second ones raise.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.torch import ChainMarginals
    >>> unary = torch.tensor([[0.0, 0.5], [0.0, 2.0]], requires_grad=True)
    >>> ChainMarginals(regularizer="l2")((unary, torch.zeros(2, 2))).detach()
    tensor([[0.2500, 0.7500],
            [0.0000, 1.0000]])
    """

    def __init__(self, gamma: float = 1.0, *, regularizer: Regularizer = "entropy") -> None:
        super().__init__()
        self._set("gamma", gamma)
        self.regularizer = regularizer

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, regularizer={self.regularizer!r}"

    def forward(
        self, theta: torch.Tensor | tuple[torch.Tensor, torch.Tensor], lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        pair = isinstance(theta, (tuple, list))
        theta, transition = theta if pair else (theta, None)
        transition = _in_reach(transition, "transition") if pair else theta
        theta, other = _floating(_in_reach(theta, "theta"), transition)
        transition, gamma = (other if pair else None), self.gamma
        gamma = gamma if isinstance(gamma, torch.Tensor) else _number(gamma)
        if _wanted(gamma):  # E(theta; gamma) = E(theta / gamma; 1)
            theta, transition = (
                one
                if one is None
                else torch.where(torch.isinf(one), one, torch.where(torch.isinf(one), 0, one) / gamma)
                for one in (theta, transition)
            )
            gamma = torch.ones_like(gamma)
        return _chain_marginals(theta, transition, _lengths(lengths, "lengths"), gamma, self.regularizer)
