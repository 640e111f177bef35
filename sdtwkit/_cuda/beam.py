"""Prefix beam search on a CUDA device, see _kernels/cuda/beam.cu."""

import numpy as np

from .kernels import WARP, KernelFile, most_blocks, placed

_MOST_BYTES = 2**30  # of the rooms
_RUN = 256  # labels whose best is kept; see beam.cu
_MOST_WARPS = 8
FILE = KernelFile("beam.cu", threads=_MOST_WARPS * WARP, blocks=1)


def kernel_name(scalar):
    return f"sdtw::beams<{scalar}>"


def libraries():
    """The kernel, of each number format."""
    return {scalar: [kernel_name(scalar)] for scalar in ("float", "double")}


def run(log_probs, frames, blank, width, value, labels, count):
    """Launch the kernel that fills the OUT arrays.

    log_probs : IN (B, T, K), a C-contiguous CuPy array.
    frames : IN (B,) int64, NumPy's, sent to the device.
    value, labels, count : OUT float64 (B,), int64 (B, T) and (B,): minus the log-probabilities; the labels, and how
        many there are.
    """
    import cupy

    samples, most_frames, classes = log_probs.shape
    scalar = "float" if log_probs.dtype == np.float32 else "double"
    nodes = most_frames * width + 1
    bits = (2 * nodes).bit_length()  # a table that is half full at most
    rooms = {
        "longer": ((width, classes), np.float64),
        "best": ((width, -(-classes // _RUN)), np.float64),
        "scores": ((9, width), np.float64),
        "prefixes": ((3, width), np.int64),
        "trie": ((3, nodes), np.int64),
        "table": ((2**bits,), np.int64),
    }
    room_bytes = 8 * sum(int(np.prod(shape)) for shape, _ in rooms.values())
    blocks = max(min(samples, most_blocks(log_probs.device.id), _MOST_BYTES // room_bytes), 1)
    arrays = {"log_probs": log_probs, "frames_of": None if (frames == most_frames).all() else frames}
    arrays = placed(arrays, log_probs.device.id) | {"value": value, "labels": labels, "count": count}
    arrays |= {name: cupy.empty((blocks, *shape), dtype) for name, (shape, dtype) in rooms.items()}
    numbers = {"samples": samples, "frames": most_frames, "classes": classes}
    numbers |= {"blank": blank, "width": width, "bits": bits}
    warps = min(max(width * classes // (32 * WARP), 1), _MOST_WARPS)  # 32 candidates a lane, then eight warps at most
    FILE.launch({kernel_name(scalar): blocks}, warps * WARP, FILE.arguments(numbers, arrays))
