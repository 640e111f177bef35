"""Metrics between sequences, learned from pairs that belong together or not."""

from ._network import coupled_gru_forward, coupled_gru_loss_and_grad

__all__ = ["coupled_gru_forward", "coupled_gru_loss_and_grad"]
