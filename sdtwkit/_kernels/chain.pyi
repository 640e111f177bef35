"""Types of the door to the kernels of chains and of graphs. Arrays are anything with a C-contiguous buffer."""

from typing import Any

class Request:
    def __init__(
        self, single_precision: bool, lengths: Any, op: int, gamma: float, theta: Any, transition: Any = None
    ) -> None: ...
    def want_gradient(self, gradient: Any, transition_gradient: Any = None) -> None: ...
    def want_product(
        self, direction: Any, transition_direction: Any, slope: Any, product: Any, transition_product: Any
    ) -> None: ...
    def want_paths(self, samples: int, seed: int, paths: Any) -> None: ...
    def run(self, value: Any, threads: int, level: int) -> int: ...

def shortest_paths(
    first: Any,
    source: Any,
    op: int,
    gamma: float,
    cost: Any,
    value: Any,
    marginals: Any,
    direction: Any,
    slope: Any,
    product: Any,
) -> None: ...
