"""Metrics between sequences, learned from pairs that belong together or not; how well they rank is `evaluation`'s."""

from . import evaluation
from ._gru import CoupledGRU, SiameseGRU
from ._mahalanobis import MahalanobisSoftDTW
from ._network import coupled_gru_forward, coupled_gru_loss_and_grad

__all__ = [
    "CoupledGRU",
    "MahalanobisSoftDTW",
    "SiameseGRU",
    "coupled_gru_forward",
    "coupled_gru_loss_and_grad",
    "evaluation",
]
