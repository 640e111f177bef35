"""CTC on a CUDA device: its kernels on CuPy arrays, see _kernels/cuda/ctc.cu."""

import numpy as np

from .kernels import WARP, KernelFile, flags, most_blocks, node_bytes, placed

_OPERATORS = {"float": ("WideEntropyMin", 16), "double": ("EntropyMin<double, true>", 16)}  # bytes of a state
_FRAMES = 16  # of a block of frames; see ctc.cu
FILE = KernelFile("ctc.cu", threads=WARP, blocks=8)


def forward_name(scalar, tangents):
    return f"sdtw::forward<sdtw::{_OPERATORS[scalar][0]}, {flags(tangents)}>"


def backward_name(scalar, tangents):
    return f"sdtw::backward<sdtw::{_OPERATORS[scalar][0]}, {flags(tangents)}>"


def gather_name(scalar):
    return f"sdtw::gather<{scalar}>"


def libraries():
    """All kernels, those of a number format together."""
    return {
        scalar: [
            *(name(scalar, tangents) for name in (forward_name, backward_name) for tangents in (False, True)),
            gather_name(scalar),
        ]
        for scalar in _OPERATORS
    }


def run(log_probs, targets, frames, lengths, blank, value, gradient=None, direction=None, slope=None):
    """Launch the kernels that fill the OUT arrays.

    log_probs, direction (or None) : IN (B, T, K), C-contiguous CuPy arrays.
    targets, frames, lengths : IN (B, M), (B,), (B,) int64; NumPy's are sent to the device.
    value, slope : OUT (B,) in the dtype of log_probs; slope with a direction.
    gradient : OUT (B, T, K), zero on entry, or None; with a direction the product of the Hessian with it.
    """
    import cupy

    samples, most_frames, classes = log_probs.shape
    scalar = "float" if log_probs.dtype == np.float32 else "double"
    most_targets = targets.shape[1]
    store, tangents = gradient is not None, direction is not None
    strips, blocks = most_targets // WARP + 1, -(-most_frames // _FRAMES)
    node = node_bytes(_OPERATORS[scalar][1], log_probs.dtype.itemsize, tangents)
    arrays = {"log_probs": log_probs, "target": targets, "direction": direction, "slope": slope, "gradient": gradient}
    for name, sizes, most in (("frames_of", frames, most_frames), ("targets_of", lengths, most_targets)):
        if not (isinstance(sizes, np.ndarray) and (sizes == most).all()):
            arrays[name] = sizes
    arrays = placed(arrays, log_probs.device.id)

    def room(*shape):
        return cupy.empty(shape, log_probs.dtype)

    arrays["value"], arrays["seed"] = value, room(samples, 4)
    arrays["counters"] = cupy.zeros(2 + samples * (1 + 2 * strips), np.int64)
    arrays["edges"] = cupy.empty((samples, strips, most_frames, node), np.uint8)
    if store:
        arrays["checkpoints"] = cupy.empty((samples, strips, blocks, 2, WARP, node), np.uint8)
        arrays["sent"] = room(samples, 2, most_frames)
        arrays["visits"] = room(samples, most_frames, most_targets)
        arrays["blanks"] = room(samples, strips, most_frames)
        arrays["next"] = cupy.empty((samples, most_targets), np.int64)
    numbers = {"samples": samples, "frames": most_frames, "classes": classes, "targets": most_targets, "blank": blank}
    most = most_blocks(log_probs.device.id)
    grids = {forward_name(scalar, tangents): min(samples * strips, most)}
    if store:
        grids[backward_name(scalar, tangents)] = min(samples * strips, most)
        grids[gather_name(scalar)] = min(samples * most_frames, most)
    FILE.launch(grids, WARP, FILE.arguments(numbers, arrays))
