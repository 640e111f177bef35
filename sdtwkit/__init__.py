"""Differentiable time-series alignment, scikit-learn style.

Series are arrays (n, d) with time first; see the functions below, `sdtwkit.dp` for alignment of given costs,
`sdtwkit.costs` for local costs and `sdtwkit.datasets` for real recordings to try them on.
"""

from typing import TYPE_CHECKING

from . import costs, dp
from ._options import itakura_mask, sakoe_chiba_mask
from ._version import __version__, show_versions
from .barycenters import dtw_barycenter_averaging, soft_dtw_barycenter
from .divergences import soft_dtw_divergence, soft_dtw_divergence_value_and_grad
from .pairwise import cdist_dtw, cdist_soft_dtw, cdist_soft_dtw_divergence
from .series import (
    dtw,
    dtw_path,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_alignment_vjp,
    soft_dtw_hvp,
    soft_dtw_value_and_grad,
    subsequence_matches,
)
from .smoothing import suggest_gamma
from .warping import WarpResult, dec_dtw

__all__ = [
    "AlignmentDistance",
    "DecDTWAligner",
    "LinearChainCRF",
    "NearestSoftCentroid",
    "SoftDTWAligner",
    "SoftDTWBarycenter",
    "SoftDTWKMeans",
    "SoftDTWKNeighborsClassifier",
    "WarpResult",
    "__version__",
    "audio",
    "cdist_dtw",
    "cdist_soft_dtw",
    "cdist_soft_dtw_divergence",
    "converters",
    "costs",
    "datasets",
    "dec_dtw",
    "dp",
    "dtw",
    "dtw_barycenter_averaging",
    "dtw_path",
    "itakura_mask",
    "metric_learning",
    "metrics",
    "plotting",
    "preprocessing",
    "sakoe_chiba_mask",
    "show_versions",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_alignment_vjp",
    "soft_dtw_barycenter",
    "soft_dtw_divergence",
    "soft_dtw_divergence_value_and_grad",
    "soft_dtw_hvp",
    "soft_dtw_value_and_grad",
    "subsequence_matches",
    "suggest_gamma",
    "weak",
]

# Loaded at first use, so that the import of the package stays instant: module -> the names it brings.
_LAZY = {
    "datasets": (),
    "weak": (),
    "audio": (),
    "metrics": (),
    "converters": (),
    "plotting": (),
    "preprocessing": (),
    "metric_learning": (),
    "aligners": ("DecDTWAligner", "SoftDTWAligner", "SoftDTWBarycenter"),
    "cluster": ("SoftDTWKMeans",),
    "neighbors": ("AlignmentDistance", "NearestSoftCentroid", "SoftDTWKNeighborsClassifier"),
    "sequence_labeling": ("LinearChainCRF",),
}
_HOME = {name: module for module, names in _LAZY.items() for name in (module, *names)}

if TYPE_CHECKING:  # the same for type checkers, which also learn that there are no other names
    from . import audio, converters, datasets, metric_learning, metrics, plotting, preprocessing, weak
    from .aligners import DecDTWAligner, SoftDTWAligner, SoftDTWBarycenter
    from .cluster import SoftDTWKMeans
    from .neighbors import AlignmentDistance, NearestSoftCentroid, SoftDTWKNeighborsClassifier
    from .sequence_labeling import LinearChainCRF
else:

    def __getattr__(name):
        if name not in _HOME:
            hint = f" before it is imported: import sdtwkit.{name}" if name in ("torch", "jax", "compat") else ""
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
        import importlib

        module = importlib.import_module(f"{__name__}.{_HOME[name]}")
        return module if name == _HOME[name] else getattr(module, name)


def __dir__():
    return __all__
