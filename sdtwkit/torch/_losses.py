"""Modules of alignment: a loss, and the expected alignment itself.

Whatever is learned besides the series (gamma, a prior) goes through the matrix of costs and through the identities
value(C; gamma) = gamma value(C / gamma; 1) and E(C; gamma) = E(C / gamma; 1), so autograd knows its derivatives, too.
"""

from __future__ import annotations

import math
from numbers import Real

import torch

from .. import _adapters, costs
from .._options import UNIT_WEIGHTS, check_smoothing, check_window
from .._typing import CostName, Normalization, OpenEnds, Reduction, Regularizer, StepWeights
from ._alignment import Options, alignment, cost_matrix, soft_dtw, soft_dtw_value, written
from ._operators import Module, as_number, floating, in_reach, read_lengths, reduced, wants_gradient


class _Aligning(Module):
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
        self.settings = written(cost=cost, **recursion, **more)
        self.settings_over_costs = written(cost="precomputed", **recursion)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, cost={self.cost!r}, regularizer={self.regularizer!r}"

    def _ready(self, x, y, x_lengths, y_lengths):
        """-> x, y of shape (B, n, d), (B, m, d) and one dtype, Options; what the caller gave single gets B = 1."""
        x = in_reach(x, "x")
        if self.cost == "precomputed":
            if y is not None:
                raise ValueError("y is given, but cost 'precomputed' takes the costs as x; expected y=None")
            x = x[None] if x.ndim == 2 else x
        else:
            x, y = _batched(x), in_reach(y, "y")
            y = y.reshape(len(x), -1, 1) if self.cost == "nll" else _batched(y)
        if y is None or self.cost == "nll":
            x, _ = floating(x, x)
        else:
            x, y = floating(x, y)
        gamma = self.gamma
        if not isinstance(gamma, torch.Tensor):
            gamma = torch.tensor(gamma, dtype=torch.float64)
        elif gamma.numel() != 1:
            raise ValueError(f"gamma has shape {tuple(gamma.shape)}; expected one number")
        prior = None if self.prior is None else self.prior.to(x)
        lengths = read_lengths(x_lengths, "x_lengths"), read_lengths(y_lengths, "y_lengths")
        return x, y, Options(gamma, *lengths, prior, self.mask, self.settings)

    def _over_costs(self, x, y, options):
        """The same problem on C / gamma, without series and prior: differentiable in gamma and the prior."""
        C = x if y is None else cost_matrix(x, y, options.x_lengths, options.y_lengths, self.cost)
        if options.prior is not None:
            C = C + options.prior
        gamma = options.gamma.to(C.dtype)
        forbidden = torch.isinf(C)
        C = torch.where(forbidden, math.inf, torch.where(forbidden, 0, C) / gamma)
        one = as_number(1.0)  # on the host, where the kernels want it
        return C, options._replace(gamma=one, prior=None, settings=self.settings_over_costs), gamma

    def _learns_more(self, options):
        """Whether gamma or the prior wants a gradient."""
        return torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (options.gamma, options.prior)
        )


def _batched(tensor):
    """(B, n, d) of a batch, or of one series (n,) or (n, d)."""
    if tensor.ndim == 1:
        tensor = tensor[:, None]
    return tensor[None] if tensor.ndim == 2 else tensor


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
        return reduced(values, self.reduction)

    def _values(self, x, y, options):
        if self._learns_more(options) and self.divergence:
            return self._divergence_of_gamma(x, y, options)
        if self.normalize == "path" or self._learns_more(options):
            return self._values_over_costs(x, y, options)
        sides = wants_gradient(x), wants_gradient(y)
        if any(sides):
            return soft_dtw(x, y, *sides, *options)[0]
        return soft_dtw_value(x, y, *options)

    def _values_over_costs(self, x, y, options):
        C, options, gamma = self._over_costs(x, y, options)
        values, H, _ = soft_dtw(C, None, True, False, *options)
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
        return alignment(x, y, *options)
