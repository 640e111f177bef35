"""Differentiable dynamic programs: costs or potentials in, smoothed optima and their derivatives out."""

from .alignment import AlignmentDP
from .area import area_loss, expected_area_loss
from .chain import ChainDP, chain_potentials
from .ctc import CTC
from .dag import DagDP
from .operators import smooth_max, smooth_max_hvp, smooth_min, smooth_min_hvp

__all__ = [
    "CTC",
    "AlignmentDP",
    "ChainDP",
    "DagDP",
    "area_loss",
    "chain_potentials",
    "expected_area_loss",
    "smooth_max",
    "smooth_max_hvp",
    "smooth_min",
    "smooth_min_hvp",
]
