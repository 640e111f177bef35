"""Chains of states: operators of their marginals, and the module."""

from __future__ import annotations

import torch

from .._typing import Regularizer
from ..dp import ChainDP
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
    wants_gradient,
)

_CHAIN_SCHEMA = "Tensor theta, Tensor? transition, Tensor? lengths, Tensor gamma, str? regularizer"


def _chain(theta, transition, lengths, gamma, regularizer):
    """-> ChainDP, its potentials, keyword arguments."""
    dp = ChainDP(float(gamma), regularizer=regularizer, n_jobs=torch.get_num_threads())
    potentials = to_array(theta) if transition is None else (to_array(theta), to_array(transition))
    return dp, potentials, {"lengths": to_array(lengths)}


@operator("chain_marginals", f"({_CHAIN_SCHEMA}) -> Tensor")
def _chain_marginals(theta, *rest):
    dp, potentials, lengths = _chain(theta, *rest)
    return to_tensor(dp.marginals(potentials, **lengths), theta)


@operator("chain_marginals_vjp", f"(Tensor cotangent, {_CHAIN_SCHEMA}) -> (Tensor, Tensor)")
def _chain_marginals_vjp(cotangent, theta, *rest):
    dp, potentials, lengths = _chain(theta, *rest)
    found = dp.marginals_vjp(potentials, to_array(cotangent), **lengths)
    unary, transition = found if isinstance(found, tuple) else (found, None)
    return to_tensor(unary, theta), to_tensor(transition, theta)


@_chain_marginals.register_fake
def _(theta, *rest):
    return theta.new_empty(theta.shape)


@_chain_marginals_vjp.register_fake
def _(cotangent, theta, transition, *rest):
    return theta.new_empty(theta.shape), theta.new_empty(0 if transition is None else transition.shape)


def _chain_backward(ctx, cotangent):
    (theta, transition, *rest), _ = kept(ctx)
    if cotangent is None:
        return None, None, None, None, None
    found = _chain_marginals_vjp(cotangent, theta, transition, *rest)
    return found[0], None if transition is None else found[1], None, None, None


_chain_marginals.register_autograd(_chain_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs))
not_differentiable(_chain_marginals_vjp, 1)


class ChainMarginals(Module):
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
        transition = in_reach(transition, "transition") if pair else theta
        theta, other = floating(in_reach(theta, "theta"), transition)
        transition, gamma = (other if pair else None), self.gamma
        gamma = gamma if isinstance(gamma, torch.Tensor) else as_number(gamma)
        if wants_gradient(gamma):  # E(theta; gamma) = E(theta / gamma; 1)
            theta, transition = (
                one
                if one is None
                else torch.where(torch.isinf(one), one, torch.where(torch.isinf(one), 0, one) / gamma)
                for one in (theta, transition)
            )
            gamma = torch.ones_like(gamma)
        return _chain_marginals(theta, transition, read_lengths(lengths, "lengths"), gamma, self.regularizer)
