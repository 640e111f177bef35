"""Differentiable time-series alignment, scikit-learn style.

Series are arrays (n, d) with time first; see the functions below, `sdtwkit.dp` for alignment of given costs,
`sdtwkit.costs` for local costs and `sdtwkit.datasets` for real recordings to try them on.
"""

from . import costs, dp
from ._options import itakura_mask, sakoe_chiba_mask
from ._version import __version__, show_versions
from .pairwise import cdist_dtw, cdist_soft_dtw
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

__all__ = [
    "__version__",
    "cdist_dtw",
    "cdist_soft_dtw",
    "costs",
    "datasets",
    "dp",
    "dtw",
    "dtw_path",
    "itakura_mask",
    "sakoe_chiba_mask",
    "show_versions",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_alignment_vjp",
    "soft_dtw_hvp",
    "soft_dtw_value_and_grad",
    "subsequence_matches",
]

_LAZY = ("datasets",)  # loaded at first use: the import of the package stays instant


def __getattr__(name):
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
