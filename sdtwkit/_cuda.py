"""The CUDA engine: a request as the compiled kernels take it, served by the kernels of `_kernels/cuda` on CuPy arrays.

Sources are package data. Their headers are pasted in, since CuPy's cache of compiled kernels looks at the text alone;
NVRTC compiles what a call needs at its first use, for the device at hand. Kernels run on the device of the arrays and
on CuPy's current stream, and nothing here waits for them: what only the device knows (whether a cost is NaN, whether a
length on the device is in range) becomes a NaN in the value of that pair.
"""

import functools
import itertools
import re
from pathlib import Path

import numpy as np

from . import _words

_KERNELS = Path(__file__).parent / "_kernels"
_HARD, _ENTROPY, _SPARSE = 0, 1, 2  # numbers of operators and costs as in the compiled kernels
COSTS = ("Given", "SquaredEuclidean", "HalfSquaredEuclidean", "Euclidean", "Manhattan", "Huber", "NegativeDot")
_DONE, _NEEDS_DOUBLE = 0, 1
_WARP = 32
_BLOCKS_PER_MULTIPROCESSOR = 32  # as many as may reside on one; more would find the queue empty
_COUNTERS = 8  # before those of the pairs; see alignment.cu: Counters
_PASSES = 4  # of which the second half goes backward

# Operators by regularizer and type of the costs -> (C++ name, bytes of a state), the narrow arithmetic first.
OPERATORS = {
    (_HARD, "float"): (("HardMin<float>", 4),),
    (_HARD, "double"): (("HardMin<double>", 8),),
    (_SPARSE, "float"): (("SparseMin<float>", 4),),
    (_SPARSE, "double"): (("SparseMin<double>", 8),),
    (_ENTROPY, "float"): (("EntropyMin<float>", 8), ("WideEntropyMin", 16)),
    (_ENTROPY, "double"): (("EntropyMin<double, true>", 16),),
}


# ---- sources and kernels


@functools.cache
def source(file="alignment.cu"):
    """The text of a kernel file, its headers pasted in."""
    included = set()

    def paste(path):
        for line in path.read_text(encoding="utf-8").splitlines():
            header = re.fullmatch(r'#include "(?:sdtwkit/)?(\w+\.h)"', line)
            if header is None:
                if line != "#pragma once":
                    yield line
            elif header[1] not in included:
                included.add(header[1])
                yield from paste(_KERNELS / "include" / "sdtwkit" / header[1])

    return "\n".join(paste(_KERNELS / "cuda" / file)) + "\n"


@functools.cache
def arguments_dtype():
    """The layout of `Arguments`, read from the source: eight bytes a field, addresses and indices as int64."""
    body = re.search(r"struct Arguments \{(.*?)\n\};", source(), re.DOTALL)[1]
    fields = re.findall(r"^  (\S.*?[ *])(\w+);", body, re.MULTILINE)
    return np.dtype([(name, np.float64 if kind == "double " else np.int64) for kind, name in fields])


def forward_name(operator, cost, weighted, store, tangents):
    return f"sdtw::forward<sdtw::{operator}, sdtw::{cost}, {_flags(weighted, store, tangents)}>"


def close_name(operator, tangents):
    return f"sdtw::close<sdtw::{operator}, {_flags(tangents)}>"


def backward_name(operator, cost, weighted, tangents):
    return f"sdtw::backward<sdtw::{operator}, sdtw::{cost}, {_flags(weighted, tangents)}>"


def kernel_names(operator, cost):
    """All kernels of an operator that a request may ask for."""
    both = (False, True)
    names = [forward_name(operator, cost, *flags) for flags in itertools.product(both, both, both)]
    names += [close_name(operator, tangents) for tangents in both]
    return names + [backward_name(operator, cost, *flags) for flags in itertools.product(both, both)]


def _flags(*values):
    return ", ".join("true" if value else "false" for value in values)


OPTIONS = ("-std=c++17",)


def identifier(name):
    """What a kernel is called in C: template arguments spelled out."""
    return re.sub(r"\W+", "_", name.replace("sdtw::", "")).strip("_")


def program(names):
    """The sources, and kernels that call these instances of their templates.

    Kernels with C names, for not every CuPy keeps on disk what it compiled of templates. Eight blocks a multiprocessor
    leave each as many registers as it wants.
    """
    kernels = (
        f'extern "C" __global__ void __launch_bounds__({_WARP}, 8) {identifier(name)}'
        f"(const sdtw::Arguments<{'double' if 'double' in name else 'float'}> a) {{ {name}(a); }}\n"
        for name in names
    )
    return source() + "".join(kernels)


@functools.cache
def _kernels(names):
    """Kernels by name, compiled together at their first call."""
    import cupy

    module = cupy.RawModule(code=program(names), options=OPTIONS)
    return {name: module.get_function(identifier(name)) for name in names}


@functools.cache
def _most_blocks(device_id):
    import cupy

    return cupy.cuda.Device(device_id).attributes["MultiProcessorCount"] * _BLOCKS_PER_MULTIPROCESSOR


def info():
    """What `show_versions` prints of the engine; loads cupy, if it is installed."""
    try:
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return f"{name}, driver {cupy.cuda.runtime.driverGetVersion()}"
    except ImportError:
        return "no cupy"
    except Exception as error:  # whatever a machine without a driver or a device answers
        return f"no device ({type(error).__name__})"


# ---- requests


class Request:
    """One alignment problem, any number of pairs, on one device; as `_kernels.alignment.Request`.

    Series, costs and outputs are C-contiguous CuPy arrays; lengths, starts, indices and masks may also be NumPy's, and
    are then sent to the device.
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

    def general_steps(self, steps, step_weights):
        raise _words.not_on_device("what the general kernel does (other steps, weights of cells, their gradients)")

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

    def want_paths(self, *_):
        raise _words.not_on_device("drawing paths")

    def run(self, value, threads, level):
        """Launch the kernels that fill the OUT arrays; returns DONE or NEEDS_DOUBLE."""
        if self.dtype == np.float32 and not 1e-30 < self.gamma < 1e30:
            return _NEEDS_DOUBLE
        self._launch(value)
        return _DONE

    def _launch(self, value):
        import cupy

        n, m = self._table_shape()
        pairs, operators = self.numbers["pairs"], OPERATORS[self.op, self.scalar]
        strips = -(-n // _WARP)
        steps = 128 // self.dtype.itemsize
        blocks = -(-(m + _WARP - 1) // steps)
        node = max(_node_bytes(size, self.dtype.itemsize, self.tangents) for _, size in operators)
        open_end = self.numbers["open_end"]
        ends = (m if open_end & 1 else 0) + (n if open_end & 2 else 0) or 1

        def room(*shape, dtype=np.uint8):
            return cupy.empty(shape, dtype)

        work = {
            "counters": cupy.zeros(
                _COUNTERS + pairs * (1 + (_PASSES if self.backward else _PASSES // 2) * strips), np.int64
            ),
            "edges": room(pairs, strips if self.backward else 1, m, node),
            "ends": room(pairs, ends, node),
            "seed": room(1 + self.tangents, pairs, ends, dtype=self.dtype),
        }
        if self.backward:
            work["checkpoints"] = room(pairs, strips, blocks, 2, _WARP, node)
            work["sent"] = room(pairs, 4 if self.tangents else 2, m, dtype=self.dtype)
        arrays = {**self._inputs(cupy, n, m, value.device.id), **work, "value": value}
        arguments = self._arguments(n, m, node, arrays)

        weighted, tangents, cost = self.weighted, self.tangents, COSTS[self.cost]
        most = _most_blocks(value.device.id)
        tasks = (min(pairs * strips, most),)
        grids = {forward_name(name, cost, weighted, self.backward, tangents): tasks for name, _ in operators}
        grids |= {close_name(name, tangents): (min(pairs, most),) for name, _ in operators}
        if self.backward:
            grids |= {backward_name(name, cost, weighted, tangents): tasks for name, _ in operators}
        kernels = _kernels(tuple(grids))
        for name, grid in grids.items():
            kernels[name](grid, (_WARP,), (arguments,))

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

    def _inputs(self, cupy, n, m, device):
        """The arrays of the request on this device; what says nothing new is left out."""
        arrays = {name: array for name, array in self.arrays.items() if array is not None}
        for name, lengths, most in zip(("x_length", "y_length"), self.lengths, (n, m), strict=True):
            if not (isinstance(lengths, np.ndarray) and (lengths == most).all()):
                arrays[name] = lengths
        for name, most in (("x_start", n), ("y_start", m)):
            starts = arrays.get(name)
            if starts is not None and np.array_equal(starts, np.arange(len(starts)) * most):
                del arrays[name]
        for name, array in arrays.items():
            if isinstance(array, np.ndarray):
                arrays[name] = cupy.asarray(array)
            elif array.device.id != device:
                raise _words.other_device(name, array.device.id, device)
        return arrays

    def _arguments(self, n, m, node, arrays):
        gamma = max(self.gamma, 1e-280) if self.op == _ENTROPY else self.gamma
        heaviest = max(1.0, self.numbers["left"], self.numbers["diag"], self.numbers["up"])
        # Exponents stay above that of an unreachable state; float32 costs cannot come near it.
        clamped = self.op == _ENTROPY and self.scalar == "double"
        arguments = np.zeros((), arguments_dtype())
        numbers = {
            **self.numbers,
            "rows": n,
            "columns": m,
            "node_bytes": node,
            "gamma": gamma,
            "rate": -1.4426950408889634 / gamma,
            "limit": min(gamma * (1e290 / heaviest), np.finfo(float).max) if clamped else np.inf,
        }
        for name, number in numbers.items():
            arguments[name] = number
        for name, array in arrays.items():
            arguments[name] = array.data.ptr
        return arguments


def _node_bytes(state, scalar, tangents):
    """Bytes of a state, and of its tangent beside it, as C++ lays them out."""
    if not tangents:
        return state
    aligned = 8 if state == 16 else scalar
    return -(-(state + scalar) // aligned) * aligned
