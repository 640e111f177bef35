"""Differentiable dynamic programs: costs or potentials in, smoothed optima and their derivatives out."""

from .alignment import AlignmentDP
from .ctc import CTC
from .operators import smooth_max, smooth_max_hvp, smooth_min, smooth_min_hvp

__all__ = ["CTC", "AlignmentDP", "smooth_max", "smooth_max_hvp", "smooth_min", "smooth_min_hvp"]
