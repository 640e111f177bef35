"""Types of the door to the continuous warps. Arrays are C-contiguous, float64 and int8."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Floats: TypeAlias = NDArray[np.float64]
_Bytes: TypeAlias = NDArray[np.int8]

NOWHERE: Final[int]
SOMEWHERE: Final[int]
EVERYWHERE: Final[int]
SHAPES: Final[tuple[str, ...]]
FREE: Final[int]
KNOT: Final[int]
ROOT: Final[int]
AT_LOWER: Final[int]
AT_UPPER: Final[int]
PINNED: Final[int]
LOOSE: Final[int]
SLOPE_LOWER: Final[int]
SLOPE_UPPER: Final[int]
SLOPE_TARGET: Final[int]

class Warp:
    def __init__(
        self,
        t: _Floats,
        x: _Floats,
        tx: _Floats,
        y: _Floats,
        ty: _Floats,
        reg: _Floats,
        target: float,
        tolerance: float,
    ) -> None: ...
    def losses(
        self,
        loss: int,
        delta: float,
        reg_loss: int,
        reg_delta: float,
        cum_loss: int,
        cum_delta: float,
        cum: float,
        symmetric: bool,
    ) -> None: ...
    def bounds(
        self,
        bound_lower: _Floats,
        bound_upper: _Floats,
        lower: _Floats,
        upper: _Floats,
        slope_lower: _Floats,
        slope_upper: _Floats,
    ) -> None: ...
    def search(self, products: _Floats | None, candidates: int, phi: _Floats) -> int: ...
    def certify(
        self, phi: _Floats, held: _Bytes, joined: _Bytes, nodes: _Floats, slopes: _Floats
    ) -> tuple[float, float, float]: ...
    def adjoint(self, cotangent: _Floats, u: _Floats, nodes: _Floats, slopes: _Floats) -> None: ...
    def pull_back(self, u: _Floats, nodes: _Floats, x: _Floats, y: _Floats, reg: _Floats) -> None: ...
    def pull_back_value(self, cotangent: float, x: _Floats, y: _Floats, reg: _Floats) -> None: ...
