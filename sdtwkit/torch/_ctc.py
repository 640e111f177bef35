"""Connectionist temporal classification: its operators and its loss."""

from __future__ import annotations

import torch

from .._adapters import REDUCTIONS
from .._typing import Reduction
from .._words import check_choice
from ..dp import CTC
from ._operators import (
    in_reach,
    keep,
    kept,
    not_differentiable,
    operator,
    read_lengths,
    reduced,
    scaled,
    to_array,
    to_tensor,
    wants_gradient,
)

_CTC_SCHEMA = "Tensor log_probs, Tensor targets, Tensor? input_lengths, Tensor? target_lengths, int blank"


def _ctc_call(method, log_probs, targets, input_lengths, target_lengths, blank, *direction):
    ctc = CTC(blank, n_jobs=torch.get_num_threads())
    direction = [to_array(tensor) for tensor in direction]
    arrays = (to_array(tensor) for tensor in (input_lengths, target_lengths))
    return getattr(ctc, method)(to_array(log_probs), to_array(targets), *direction, *arrays)


@operator("ctc_value", f"({_CTC_SCHEMA}) -> Tensor")
def _ctc_value(log_probs, *rest):
    return to_tensor(_ctc_call("value", log_probs, *rest), log_probs)


@operator("ctc", f"({_CTC_SCHEMA}) -> (Tensor, Tensor)")
def _ctc(log_probs, *rest):
    return tuple(to_tensor(result, log_probs) for result in _ctc_call("value_and_grad", log_probs, *rest))


@operator("ctc_hvp", f"(Tensor direction, {_CTC_SCHEMA}) -> Tensor")
def _ctc_hvp(direction, log_probs, *rest):
    return to_tensor(_ctc_call("hvp", log_probs, *rest, direction)[1], log_probs)


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
    (log_probs, *rest), (gradient,) = kept(ctx)
    found = None if upstream is None else scaled(gradient, upstream)
    if to_gradient is not None:
        product = _ctc_hvp(to_gradient, log_probs, *rest)
        found = product if found is None else found + product
    return found, None, None, None, None


_ctc.register_autograd(_ctc_backward, setup_context=lambda ctx, inputs, output: keep(ctx, inputs, output[1]))
not_differentiable(_ctc_hvp, 2)


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
        log_probs = in_reach(log_probs, "log_probs")
        if log_probs.dtype in (torch.float16, torch.bfloat16):
            log_probs = log_probs.float()
        lengths = read_lengths(input_lengths, "input_lengths"), read_lengths(target_lengths, "target_lengths")
        arguments = log_probs, in_reach(targets, "targets"), *lengths, self.blank
        values = _ctc(*arguments)[0] if wants_gradient(log_probs) else _ctc_value(*arguments)
        return reduced(values, self.reduction)
