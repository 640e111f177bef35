"""Types of the door to the kernels of coupled GRUs. What a batch must have is said there."""

from typing import Any, Final

COUPLINGS: Final[tuple[str, ...]]

def forward(batch: Any) -> None: ...
def backward(batch: Any) -> None: ...
