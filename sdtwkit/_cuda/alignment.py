"""Alignments on a CUDA device: the request of `_kernels.alignment` for CuPy arrays, see _kernels/cuda/alignment.cu."""

import itertools

import numpy as np

from .kernels import WARP, KernelFile, flags, most_blocks, node_bytes, placed

_HARD, _ENTROPY, _SPARSE = 0, 1, 2  # numbers of operators and costs as in the compiled kernels
COSTS = ("Given", "SquaredEuclidean", "HalfSquaredEuclidean", "Euclidean", "Manhattan", "Huber", "NegativeDot")
_DONE, _NEEDS_DOUBLE = 0, 1
_LARGEST_GAMMA = 1e23  # beyond, the second part of 1/gamma would be subnormal, which CuPy has flushed to zero (-ftz)
_COUNTERS = 8  # before those of the pairs; see alignment.cu: Counters
_PASSES = 4  # of which the second half goes backward
FILE = KernelFile("alignment.cu", threads=WARP, blocks=8)

# Operators by regularizer and type of the costs -> (C++ name, bytes of a state), the narrow arithmetic first.
OPERATORS = {
    (_HARD, "float"): (("HardMin<float>", 4),),
    (_HARD, "double"): (("HardMin<double>", 8),),
    (_SPARSE, "float"): (("SparseMin<float>", 4),),
    (_SPARSE, "double"): (("SparseMin<double>", 8),),
    (_ENTROPY, "float"): (("EntropyMin<float>", 8), ("WideEntropyMin", 16)),
    (_ENTROPY, "double"): (("EntropyMin<double, true>", 16),),
}


def forward_name(operator, cost, weighted, tangents):
    return f"sdtw::forward<sdtw::{operator}, sdtw::{cost}, {flags(weighted, tangents)}>"


def close_name(operator, tangents):
    return f"sdtw::close<sdtw::{operator}, {flags(tangents)}>"


def backward_name(operator, cost, weighted, tangents):
    return f"sdtw::backward<sdtw::{operator}, sdtw::{cost}, {flags(weighted, tangents)}>"


def kernel_names(operator, cost):
    """All kernels of an operator and a cost; what knows no cost is with the given ones."""
    both = (False, True)
    kinds = list(itertools.product(both, both))
    closing = [close_name(operator, tangents) for tangents in both] if cost == "Given" else []
    forward, backward = ([name(operator, cost, *kind) for kind in kinds] for name in (forward_name, backward_name))
    return forward + closing + backward


def libraries():
    """All kernels, those of an operator and a cost together."""
    operators = [name for names in OPERATORS.values() for name, _ in names]
    return {f"{operator} {cost}": kernel_names(operator, cost) for operator in operators for cost in COSTS}


class Request:
    """One alignment problem, any number of pairs, on one device; as `_kernels.alignment.Request`.

    Series, costs and outputs are C-contiguous CuPy arrays; lengths, starts, indices and masks may also be NumPy's, and
    are then sent to the device. Other steps than the usual three, and drawn paths, are in general.py.
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
        self.dtype = np.dtype(np.float32 if single_precision else np.float64)
        self.op, self.gamma = op, gamma
        self.weighted = step_weights != (1.0, 1.0, 1.0)
        self.tangents = self.backward = False
        self.lengths = x_lengths, y_lengths
        self.table = None if mask is None else mask.shape
        self.cost = 0
        self.arrays = {"x_index": x_index, "y_index": y_index}  # by the field of Arguments
        left, diag, up = step_weights
        self.numbers = {
            "pairs": pairs,
            "left": left,
            "diag": diag,
            "up": up,
            "radius": radius,
            "open_begin": open_begin,
            "open_end": open_end,
        }
        self._stacked("mask", mask)

    def _stacked(self, field, array):
        """A (pairs or 1, n, m) array; the latter serves all pairs."""
        if array is None:
            return
        self.table = array.shape
        self.arrays[field] = array
        if field in ("given", "mask"):
            self.numbers[f"{field}_stride"] = array.shape[1] * array.shape[2] if array.shape[0] > 1 else 0

    def series(self, cost, parameter, channels, x, x_starts, y, y_starts):
        self.cost = cost
        self.numbers |= {"cost_parameter": parameter, "channels": channels}
        self.arrays |= {"x": x, "y": y, "x_start": x_starts, "y_start": y_starts}

    def costs(self, given):
        self._stacked("given", given)

    def want_series_gradients(self, x_gradient, y_gradient):
        self.backward = True
        self.arrays |= {"x_gradient": x_gradient, "y_gradient": y_gradient}

    def want_gradient(self, gradient, visits=False):
        self.backward = True
        self.numbers["visits"] = visits
        self._stacked("gradient", gradient)

    def want_product(self, direction, slope, product, unweighted=False):
        self.tangents = True
        self.backward |= product is not None
        self.numbers["unweighted_direction"] = unweighted
        self._stacked("direction", direction)
        self._stacked("product", product)
        self.arrays["slope"] = slope

    def want_along_costs(self, slope, product=None):
        self.tangents = True
        self.backward |= product is not None
        self._stacked("product", product)
        self.arrays["slope"] = slope

    def run(self, value, threads, level):
        """Launch the kernels that fill the OUT arrays; returns DONE or NEEDS_DOUBLE."""
        if self.dtype == np.float32 and not 1e-30 < self.gamma < _LARGEST_GAMMA:
            return _NEEDS_DOUBLE
        self._launch(value)
        return _DONE

    def _launch(self, value):
        import cupy

        n, m = self._table_shape()
        pairs, operators = self.numbers["pairs"], OPERATORS[self.op, self.scalar]
        strips = -(-n // WARP)
        kept = strips if self.backward else 1  # bottom rows of strips
        steps = 128 // self.dtype.itemsize
        blocks = -(-(m + WARP - 1) // steps)
        node = max(node_bytes(size, self.dtype.itemsize, self.tangents) for _, size in operators)
        open_end = self.numbers["open_end"]
        ends = (m if open_end & 1 else 0) + (n if open_end & 2 else 0) or 1

        def room(*shape, dtype=np.uint8):
            return cupy.empty(shape, dtype)

        work = {
            "counters": cupy.zeros(
                _COUNTERS + pairs * (1 + (_PASSES if self.backward else _PASSES // 2) * strips), np.int64
            ),
            "edges": room(pairs, kept, m, node),
            "ends": room(pairs, ends, node),
            "seed": room(1 + self.tangents, pairs, ends, dtype=self.dtype),
        }
        if self.backward:
            work["checkpoints"] = room(pairs, strips, blocks, 2, WARP, node)
            work["sent"] = room(pairs, 4 if self.tangents else 2, m, dtype=self.dtype)
        arrays = {**self._inputs(n, m, value.device.id), **work, "value": value}
        arguments = self._arguments(n, m, node, kept, arrays)

        weighted, tangents, cost = self.weighted, self.tangents, COSTS[self.cost]
        most = most_blocks(value.device.id)
        tasks = min(pairs * strips, most)
        grids = {forward_name(name, cost, weighted, tangents): tasks for name, _ in operators}
        grids |= {close_name(name, tangents): min(pairs, most) for name, _ in operators}
        if self.backward:
            grids |= {backward_name(name, cost, weighted, tangents): tasks for name, _ in operators}
        FILE.launch(grids, WARP, arguments)

    def _table_shape(self):
        """Rows and columns that tables (and, without any, the longest series) have."""
        if self.table is not None:
            return self.table[1:]
        sides = zip(self.lengths, (self.arrays["x"], self.arrays["y"]), strict=True)
        # Lengths are on the device only for padded arrays.
        return tuple(
            int(lengths.max()) if isinstance(lengths, np.ndarray) else len(data) // len(lengths)
            for lengths, data in sides
        )

    def _inputs(self, n, m, device):
        """The arrays of the request on this device; what says nothing new is left out."""
        arrays = {name: array for name, array in self.arrays.items() if array is not None}
        for name, lengths, most in zip(("x_length", "y_length"), self.lengths, (n, m), strict=True):
            if not (isinstance(lengths, np.ndarray) and (lengths == most).all()):
                arrays[name] = lengths
        for name, most in (("x_start", n), ("y_start", m)):
            starts = arrays.get(name)
            if starts is not None and np.array_equal(starts, np.arange(len(starts)) * most):
                del arrays[name]
        return placed(arrays, device)

    def _arguments(self, n, m, node, kept, arrays):
        gamma = max(self.gamma, 1e-280) if self.op == _ENTROPY else self.gamma
        heaviest = max(1.0, self.numbers["left"], self.numbers["diag"], self.numbers["up"])
        # Exponents stay above that of an unreachable state; float32 costs cannot come near it.
        clamped = self.op == _ENTROPY and self.scalar == "double"
        numbers = {
            **self.numbers,
            "rows": n,
            "columns": m,
            "edges_of_pair": kept * m,
            "edge_step": m if self.backward else 0,
            "node_bytes": node,
            "gamma": gamma,
            "rate": -1.4426950408889634 / gamma,
            "limit": min(gamma * (1e290 / heaviest), np.finfo(float).max) if clamped else np.inf,
        }
        return FILE.arguments(numbers, arrays)
