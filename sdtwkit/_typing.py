"""Words for the annotations of public functions; docstrings say shapes and meaning.

Series, collections and costs come in as `ArrayLike`. Results are written as NumPy arrays; CuPy arrays in give CuPy
arrays out, of the same methods. Where the form of a result follows that of an argument in a way no checker can see, a
union with Any says what can be relied on and lets the rest pass.
"""

from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

# ---- results

Array: TypeAlias = NDArray[np.floating[Any]]
Arrays: TypeAlias = Array | Any  # an array; for lists of series a list of arrays; None where no gradient exists
Integers: TypeAlias = NDArray[np.int64]
Paths: TypeAlias = Integers | Any  # of one pair; a list of such arrays for several
Mask: TypeAlias = NDArray[np.bool_]
Value: TypeAlias = Any  # a NumPy scalar for one pair, an array (B,) for several

# ---- arguments

Lengths: TypeAlias = ArrayLike | None
Window: TypeAlias = SupportsIndex | Mask | list[list[bool]] | None
StepWeights: TypeAlias = tuple[float, ...] | list[float] | Array
OpenEnds: TypeAlias = Literal["x", "y"] | bool
Regularizer: TypeAlias = Literal["entropy", "l2"] | None
Kind: TypeAlias = Literal["soft", "sharp", "mean"]
Metric: TypeAlias = Literal["soft_dtw_divergence", "sharp_divergence", "mean_divergence", "soft_dtw", "dtw"]
WarpLoss: TypeAlias = Literal["l2", "l1", "huber"]
Reduction: TypeAlias = Literal["mean", "sum", "none"]
Normalization: TypeAlias = Literal["n", "m", "n+m", "path"]
Coupling: TypeAlias = Literal["pre", "leak", "add", "none"]
AfterEnd: TypeAlias = Literal["off", "hold"]
Potentials: TypeAlias = ArrayLike | tuple[ArrayLike, ArrayLike]
Band: TypeAlias = float | tuple[ArrayLike, ArrayLike] | list[Any]
Bounds: TypeAlias = tuple[ArrayLike, ArrayLike] | list[Any]
RandomState: TypeAlias = "int | np.random.Generator | np.random.RandomState | None"  # not loaded for this
CostName: TypeAlias = Literal[
    "sqeuclidean",
    "half_sqeuclidean",
    "euclidean",
    "manhattan",
    "cosine",
    "neg_dot",
    "huber",
    "bce",
    "nll",
    "log_half_sqeuclidean",
    "precomputed",
]


class LocalCost(Protocol):
    """A user's own cost: what `sdtwkit.costs` tells of its methods; a method hvp is for second-order calls alone."""

    def matrix(self, x: Any, y: Any, /) -> Any: ...

    def vjp(self, x: Any, y: Any, G: Any, /) -> Any: ...

    def jvp(self, x: Any, y: Any, dx: Any, dy: Any, /) -> Any: ...


CostLike: TypeAlias = CostName | LocalCost
