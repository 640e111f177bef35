"""Chains of states on a CUDA device: the request of `_kernels.chain` for CuPy arrays, see _kernels/cuda/chain.cu."""

import itertools

import numpy as np

from .kernels import WARP, KernelFile, most_blocks, placed

_DONE = 0
_OPERATORS = ("kHard", "kEntropy", "kSparse")
_VALUE, _FIRST, _SECOND, _PATH = "kValueOnly", "kFirst", "kSecond", "kPath"
_PER_CHAIN = ("theta", "unary", "length", "value", "path")
_MOST_WARPS = 8
_MOST_GROUPS = 4096  # as many one-warp blocks as any device has room for
_MOST_BYTES = 2**30  # of the groups' memory
FILE = KernelFile("chain.cu", threads=_MOST_WARPS * WARP, blocks=2)


def kernel_name(scalar, operator, wants):
    return f"sdtw::chains<{scalar}, sdtw::{operator}, sdtw::{wants}>"


def walks_name(scalar, operator):
    return f"sdtw::walks<{scalar}, sdtw::{operator}>"


def gather_name(scalar):
    return f"sdtw::gather<{scalar}>"


def libraries():
    """All kernels, those of a number format together."""
    found = {}
    for scalar in ("float", "double"):
        kinds = itertools.product(_OPERATORS, (_VALUE, _FIRST, _SECOND, _PATH))
        found[scalar] = [kernel_name(scalar, *kind) for kind in kinds] + [gather_name(scalar)]
        found[scalar] += [walks_name(scalar, operator) for operator in _OPERATORS]
    return found


class Request:
    """Chains of S states in at most T steps, any number of them, on one device; as `_kernels.chain.Request`.

    Potentials, directions and outputs are C-contiguous CuPy arrays; lengths may also be NumPy's, and are then sent to
    the device.
    """

    def __init__(self, single_precision, lengths, op, gamma, theta, transition=None):
        """theta (B, T, S, S); or, with a transition (S, S), theta is the unary (B, T, S)."""
        self.scalar = "float" if single_precision else "double"
        self.op, self.gamma, self.wants = op, gamma, _VALUE
        self.chains, self.steps, self.states = theta.shape[:3]
        self.arrays = {"theta": theta} if transition is None else {"unary": theta, "transition": transition}
        if not (isinstance(lengths, np.ndarray) and (lengths == self.steps).all()):
            self.arrays["length"] = lengths

    def want_gradient(self, gradient, transition_gradient=None):
        """OUT as theta, zero on entry, and float64 (S, S)."""
        self.wants = _FIRST
        self.arrays |= {"gradient": gradient, "sums": transition_gradient}

    def want_product(self, direction, transition_direction, slope, product, transition_product):
        """IN as theta and (S, S) or None; OUT float64 (B,), as theta, zero on entry, and float64 (S, S)."""
        self.wants = _SECOND
        self.arrays |= {"direction": direction, "transition_direction": transition_direction, "slope": slope}
        self.arrays |= {"product": product, "sums": transition_product}

    def want_paths(self, samples, seed, paths):
        """samples 0: the best sequence. OUT (B, max(samples, 1), T) int64, zero on entry."""
        self.wants = _PATH
        self.seed, self.arrays["path"] = seed, paths

    def run(self, value, threads, level):
        """Launch the kernels that fill the OUT arrays, float64 value (B,) among them; returns DONE."""
        import cupy

        dtype = np.dtype(np.float32 if self.scalar == "float" else np.float64)
        steps, states = self.steps, self.states
        lanes = min(1 << (states - 1).bit_length(), WARP)  # of a row of candidates; see chain.cu: Rows
        warps = min(max(states * lanes // (4 * WARP), 1), _MOST_WARPS)  # four rows each, then eight warps at most
        rooms = {"messages": (2 if self.wants == _VALUE else steps + 1, states)}
        if self.wants != _VALUE:
            rooms["laws"] = (3, steps, states)
        if self.wants in (_FIRST, _SECOND):
            rooms["visits"] = (2, warps + 1, states)
        if self.wants == _SECOND:
            rooms["moves"] = (3, steps + 1, states)
        summed = self.arrays.get("sums") is not None
        group_bytes = sum(int(np.prod(shape)) for shape in rooms.values()) * dtype.itemsize + summed * 8 * states**2
        groups = max(min(self.chains, _MOST_GROUPS, _MOST_BYTES // group_bytes), 1)  # whatever the device: same sums
        work = {name: cupy.empty((groups, *shape), dtype) for name, shape in rooms.items()}
        if summed:
            work["totals"] = cupy.zeros((groups, states, states))
        arrays = {**placed(self.arrays, value.device.id), **work, "value": value}
        numbers = {"groups": groups, "steps": steps, "states": states, "gamma": self.gamma}
        most = most_blocks(value.device.id)
        grids = {kernel_name(self.scalar, _OPERATORS[self.op], self.wants): min(groups, most)}
        if self.wants == _PATH:
            self._launch_paths(numbers, arrays, grids, warps, most)
            return _DONE
        if summed:
            grids[gather_name(self.scalar)] = min(-(-(states**2) // (warps * WARP)), most)
        FILE.launch(grids, warps * WARP, FILE.arguments(numbers | {"chains": self.chains}, arrays))
        return _DONE

    def _launch_paths(self, numbers, arrays, grids, warps, most):
        """As many chains at a time as there are groups: what their passes leave is walked through afterwards."""
        groups, samples = numbers["groups"], arrays["path"].shape[1]
        for first in range(0, self.chains, groups):
            some = {name: arrays[name][first : first + groups] for name in _PER_CHAIN if name in arrays}
            chains = len(some["value"])
            sequences = {"chains": chains, "samples": samples, "seed": self.seed, "first_path": first * samples}
            grids[walks_name(self.scalar, _OPERATORS[self.op])] = min(-(-chains * samples // warps), most)
            FILE.launch(grids, warps * WARP, FILE.arguments(numbers | sequences, arrays | some))
