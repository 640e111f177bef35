"""Coupled GRUs on a CUDA device: their passes on CuPy arrays, see _kernels/cuda/gru.cu."""

import itertools

import numpy as np

from .kernels import WARP, KernelFile, flags, most_blocks, most_shared, placed

_COUPLINGS = {"none": "kNone", "pre": "kPre", "leak": "kLeak", "add": "kAdd"}
_MOST_THREADS = 384  # which leaves each of them 168 registers
_MOST_PARTS = 64  # of the sums over sequences
_MOST_BYTES = 2**28  # of these parts
FILE = KernelFile("gru.cu", threads=_MOST_THREADS, blocks=1)


def names_of(scalar, coupling, near):
    """Kernels of the way forward, and of the way back, in their order; near: with weights in shared memory."""
    kind = f"{scalar}, sdtw::{_COUPLINGS[coupling]}"
    forward, backward = (f"sdtw::{way}<{kind}, {flags(near)}>" for way in ("forward", "backward"))
    sums = f"sdtw::by_x<{scalar}>", f"sdtw::by_weights<{kind}>", f"sdtw::gather<{scalar}>"
    return (f"sdtw::project<{scalar}>", forward), (backward, *sums)


def libraries():
    """All kernels, those of a number format together."""
    kinds = list(itertools.product(_COUPLINGS, (True, False)))
    return {
        scalar: list(dict.fromkeys(name for kind in kinds for way in names_of(scalar, *kind) for name in way))
        for scalar in ("float", "double")
    }


class Pass:
    """Pairs of sequences through a network.

    network : its weights stacked, C-contiguous CuPy arrays of one dtype (shapes in gru.h), and its options.
    x : (2, B, T, d) of that dtype, 0 beyond the lengths.
    lengths1, lengths2 : (B,) int64; NumPy's are sent to the device.
    whole : run all steps, not only those up to the longer of a pair's lengths.
    """

    def __init__(self, network, x, lengths1, lengths2, whole=False):
        import cupy

        self.cupy, self.network, self.dtype = cupy, network, x.dtype
        self.device = x.device.id
        self.scalar = "float" if x.dtype == np.float32 else "double"
        (_, B, T, d), H = x.shape, network.hidden
        self.B, self.T, self.d, self.H = B, T, d, H
        inputs, bias, state = network.input_weights, network.bias, network.state_weights
        self.numbers = {"pairs": B, "steps": T, "channels": d, "hidden": H, "coupled": network.coupled}
        self.numbers |= {"hold": network.hold, "whole": whole, "kappa": min(network.kappa, _largest(x.dtype))}
        given = {"x": x, "input_weights": inputs, "bias": bias, "state_weights": state}
        for name, lengths in (("lengths1", lengths1), ("lengths2", lengths2)):
            if not (isinstance(lengths, np.ndarray) and (lengths == T).all()):
                given[name] = lengths
        self.arrays = placed(given, self.device)
        self.arrays["input_columns"] = cupy.ascontiguousarray(inputs.T)
        self.arrays["state_columns"] = cupy.ascontiguousarray(state.T)
        self.arrays["states"] = self.room(2, B, T + 1, H)
        self.arrays["rows"] = self.room(2, B, T, len(bias))
        self.arrays |= {"vectors": self.room(B, 5 * H, 2), "scratch": self.room(B, 2, len(state))}
        if network.coupling == "pre":
            self.arrays["moved"] = self.room(2, B, T, H)

    def room(self, *shape):
        return self.cupy.empty(shape, self.dtype)

    def forward(self):
        """Launch what fills `states` (2, B, T, H) and `gates`, likewise, 0 where nothing is coupled."""
        self._launch(0)

    @property
    def states(self):
        return self.arrays["states"][:, :, 1:].copy()

    @property
    def gates(self):
        """Before `backward`, which uses them up."""
        if not self.network.coupled:
            return self.cupy.zeros((2, self.B, self.T, self.H), self.dtype)
        return self.arrays["rows"][..., : self.H].copy()

    def backward(self, same, margin, beta):
        """After `forward`: shares of the pairs in the loss (B,) float64, and gradients.

        same : (B,) float64; anything but 0 and 1 makes its pair's share NaN.
        Returns the shares, and gradients as x, input_weights, bias and state_weights.
        """
        network, d, H = self.network, self.d, self.H
        sizes = [array.size for array in (network.input_weights, network.bias, network.state_weights)]
        entries = sum(sizes)
        parts = max(min(2 * self.B, _MOST_PARTS, _MOST_BYTES // (entries * self.dtype.itemsize)), 1)
        self.numbers |= {"margin": margin, "beta": beta, "parts": parts}
        self.arrays |= placed({"same": same}, self.device)
        value = self.cupy.empty(self.B, np.float64)
        by_x, gradient = self.room(2, self.B, self.T, d), self.room(entries)
        self.arrays |= {"value": value, "x_gradient": by_x, "gradient": gradient}
        self.arrays |= {"before": self.room(self.B, 2, H), "sums": self.room(parts, entries)}
        self._launch(1)
        first, second = sizes[0], sizes[0] + sizes[1]
        by_weights = gradient[:first].reshape(-1, d), gradient[first:second], gradient[second:].reshape(-1, H)
        return value, by_x, *by_weights

    def _launch(self, way):
        width = len(self.network.state_weights)
        rounds = -(-width // _MOST_THREADS)  # in which a block's threads go through the weights, with equal shares
        threads = -(-width // (rounds * WARP)) * WARP
        size = self.network.state_weights.size * self.dtype.itemsize
        near = size <= most_shared(self.device)
        names = names_of(self.scalar, self.network.coupling, near)[way]
        grids = dict.fromkeys(names, most_blocks(self.device))
        stepping = names[1 - way]  # the kernel in which a block takes a pair
        grids[stepping] = min(self.B, grids[stepping])
        shared = {stepping: size} if near else {}
        FILE.launch(grids, threads, FILE.arguments(self.numbers, self.arrays), shared)


def _largest(dtype):
    return float(np.finfo(dtype).max)
