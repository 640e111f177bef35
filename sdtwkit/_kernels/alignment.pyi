"""Types of the door to the alignment kernels. Arrays are NumPy's or anything else with a C-contiguous buffer."""

from typing import Any, Final, TypedDict

class _BuildInfo(TypedDict):
    openmp: bool
    compiler: str

DONE: Final[int]
NEEDS_DOUBLE: Final[int]
OVERFLOW: Final[int]
HARD: Final[int]
ENTROPY: Final[int]
SPARSE: Final[int]
LEVELS: Final[tuple[str, ...]]

def all_finite(array: Any) -> bool: ...
def best_level() -> int: ...
def max_threads() -> int: ...
def build_info() -> _BuildInfo: ...

class Request:
    def __init__(
        self,
        single_precision: bool,
        pairs: int,
        x_lengths: Any,
        y_lengths: Any,
        x_index: Any,
        y_index: Any,
        op: int,
        gamma: float,
        step_weights: tuple[float, ...],
        radius: int,
        mask: Any,
        open_begin: int,
        open_end: int,
    ) -> None: ...
    def general_steps(self, steps: Any, step_weights: Any) -> None: ...
    def graph(
        self, step_mask: Any, cell_weights: Any, begin_mask: Any, end_mask: Any, begin_weights: Any, end_weights: Any
    ) -> None: ...
    def series(
        self, cost: int, parameter: float, channels: int, x: Any, x_starts: Any, y: Any, y_starts: Any
    ) -> None: ...
    def costs(self, given: Any) -> None: ...
    def want_series_gradients(self, x_gradient: Any, y_gradient: Any) -> None: ...
    def want_gradient(self, gradient: Any, visits: bool = False) -> None: ...
    def want_product(self, direction: Any, slope: Any, product: Any, unweighted: bool = False) -> None: ...
    def want_along_costs(self, slope: Any, product: Any = None) -> None: ...
    def want_parameter_gradient(self, gradient: Any, weight_gradient: Any = None) -> None: ...
    def want_paths(self, samples: int, seed: int, path_starts: Any, paths: Any, path_lengths: Any) -> None: ...
    def run(self, value: Any, threads: int, level: int) -> int: ...

def ctc(
    single_precision: bool,
    log_probs: Any,
    targets: Any,
    frames_of: Any,
    targets_of: Any,
    blank: int,
    value: Any,
    gradient: Any,
    threads: int,
    level: int,
) -> int: ...
