"""Alignments by any steps on a CUDA device, and paths: what alignment.py leaves out, see _kernels/cuda/general.cu."""

import numpy as np

from .kernels import WARP, KernelFile, most_blocks, placed

_DONE = 0
_MOST_THREADS = 192  # 256 would leave too few registers to two blocks
_MEMORY = 2**30  # bytes of tables, unless those of one pair take more
FILE = KernelFile("general.cu", threads=_MOST_THREADS, blocks=2)


def kernel_name(scalar):
    return f"sdtw::general<{scalar}>"


def libraries():
    """All kernels, those of a number format together."""
    return {scalar: [kernel_name(scalar)] for scalar in ("float", "double")}


class Request:
    """One alignment problem of given costs, any number of pairs, on one device; as `_kernels.alignment.Request`.

    Costs, directions and outputs are C-contiguous CuPy arrays; the others may also be NumPy's, and are then sent to the
    device.
    """

    def __init__(
        self,
        single_precision,
        pairs,
        x_lengths,
        y_lengths,
        x_index,
        y_index,
        op,
        gamma,
        step_weights,
        radius,
        mask,
        open_begin,
        open_end,
    ):
        self.scalar = "float" if single_precision else "double"
        self.lengths = {"x_length": x_lengths, "y_length": y_lengths}  # indices and weights are those of series
        self.numbers = {
            "pairs": pairs,
            "op": op,
            "gamma": gamma,
            "radius": radius,
            "open_begin": open_begin,
            "open_end": open_end,
        }
        self.arrays = {}  # by the field of Arguments
        self._stacked("mask", mask)

    def _stacked(self, field, array):
        """A (pairs or 1, n, m) or (pairs or 1, n, m, S) array; the latter serves all pairs."""
        if array is None:
            return
        self.arrays[field] = array
        self.numbers[f"{field}_stride"] = array.size // len(array) if len(array) > 1 else 0

    def general_steps(self, steps, step_weights):
        self.arrays |= {"step": steps, "step_weight": step_weights}
        self.numbers["steps"] = len(steps)

    def graph(self, step_mask, cell_weights, begin_mask, end_mask, begin_weights, end_weights):
        self._stacked("step_mask", step_mask)
        self._stacked("cell_weights", cell_weights)
        self._stacked("begin_mask", begin_mask)
        self._stacked("end_mask", end_mask)
        self._stacked("begin_weights", begin_weights)
        self._stacked("end_weights", end_weights)

    def costs(self, given):
        self.shape = given.shape[1:]
        self._stacked("given", given)

    def want_gradient(self, gradient, visits=False):
        self.arrays["gradient"] = gradient
        self.numbers["visits"] = visits

    def want_product(self, direction, slope, product, unweighted=False):
        self.arrays |= {"direction": direction, "slope": slope, "product": product}
        self.numbers["unweighted_direction"] = unweighted

    def want_parameter_gradient(self, gradient, weight_gradient=None):
        self.arrays |= {"parameter_gradient": gradient, "weight_gradient": weight_gradient}

    def want_paths(self, samples, seed, paths, path_lengths):
        """OUT (B, max(samples, 1), n + m - 1, 2) cells, and how many of them are a path."""
        self.arrays |= {"paths": paths, "path_length": path_lengths}
        self.numbers |= {"samples": samples, "seed": seed}

    def run(self, value, threads, level):
        """Launch the kernel that fills the OUT arrays; returns DONE."""
        import cupy

        (n, m), device, pairs = self.shape, value.device.id, self.numbers["pairs"]
        arrays = {name: array for name, array in self.arrays.items() if array is not None}
        for (name, lengths), most in zip(self.lengths.items(), self.shape, strict=True):
            if not (isinstance(lengths, np.ndarray) and (lengths == most).all()):
                arrays[name] = lengths
        arrays = placed(arrays, device)

        candidates, cells = self.numbers["steps"] + 1, n * m
        tangents = "direction" in arrays
        backward = not arrays.keys().isdisjoint({"gradient", "product", "parameter_gradient"})
        n_threads = min(-(-min(n, m) // WARP) * WARP, _MOST_THREADS)
        ends = cells if "end_mask" in arrays else n + m
        sizes = {"V": cells, "ends": ends, "own": n_threads * candidates}
        if backward:
            sizes |= {"q": cells * candidates, "E": cells}
        if tangents:
            sizes |= {"moved_V": cells, "moved_q": cells * candidates, "moved_E": cells, "moved_ends": ends}
        most = min(pairs, most_blocks(device, FILE.blocks))
        blocks = max(min(most, _MEMORY // (8 * sum(sizes.values()))), 1)
        arrays |= {name: cupy.empty((blocks, size)) for name, size in sizes.items()}
        numbers = {**self.numbers, "rows": n, "columns": m, "most_ends": ends}
        arguments = FILE.arguments(numbers, {**arrays, "value": value})
        FILE.launch({kernel_name(self.scalar): blocks}, n_threads, arguments)
        return _DONE
