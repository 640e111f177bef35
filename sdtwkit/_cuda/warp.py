"""Continuous warps on a CUDA device: all pairs of a collection at a time, see _kernels/cuda/warp.cu."""

import numpy as np

from .kernels import WARP, KernelFile, most_blocks, placed

FILE = KernelFile("warp.cu", threads=WARP, blocks=8, options=("-fmad=false",))
SOLVE, DIFFERENTIATE = "sdtw::solve<double>", "sdtw::differentiate<double>"
_SQUARE, _ABSOLUTE = 0, 1  # numbers of losses
_EVERYWHERE = 2  # as warp::Found
_LARGEST_TABLE = 2**22  # entries of the table of products that a block makes
_PIECES = 512  # a row, for which a room has memory ...
_ATTEMPTS = (1, 4, 16)  # ... times these, for pairs that need more
_MEMORY = 2**30  # bytes of all rooms, if that is enough for one
_HEAD = 4096  # bytes of a room before all arrays, as in warp.cu


def libraries():
    """All kernels, compiled together."""
    return {"warps": [SOLVE, DIFFERENTIATE]}


class Warps:
    """Warps of all pairs, computed.

    x, y : Series of CuPy arrays. frames : list of sdtwkit._warp_problem.Frame; which : the frame of each pair.
    starts : (pairs,) where the nodes of each pair begin in the results; size : all of them, padding included.
    n_values : candidates a row of the coarse search, or None.

    phi (size,), warped (size, d), 0 in the padding; objective, residual (pairs,).
    """

    def __init__(self, x, y, frames, which, starts, size, n_values):
        import cupy

        d, pairs = x.n_channels, len(which)
        self.device = x.data.device.id
        samples = x.data.astype(np.float64, copy=False), y.data.astype(np.float64, copy=False)
        self.phi, self.warped = cupy.zeros(size), cupy.zeros((size, d))
        self.objective, self.residual = cupy.empty(pairs), cupy.empty(pairs)
        self._outcome = cupy.empty(pairs, np.int64)
        self._held, self._joined = cupy.zeros(size, np.int8), cupy.zeros(size, np.int8)
        self._multipliers = cupy.zeros(size), cupy.zeros(size)
        candidates = [frame.candidates(n_values) for frame in frames]
        self._rooms = [_Room(frame, d, count) for frame, count in zip(frames, candidates, strict=True)]
        self._arrays = {
            **_frames(frames, [room.table for room in self._rooms], candidates),
            "frame": np.array(which, np.int64),
            "x_start": x.starts,
            "y_start": y.starts,
            "node_start": starts,
            "x": samples[0],
            "y": samples[1],
            "centered_x": cupy.empty(samples[0].shape),
            "centered_y": cupy.empty(samples[1].shape),
            "found": cupy.empty(size),
            "outcome": self._outcome,
            "phi": self.phi,
            "warped": self.warped,
            "objective": self.objective,
            "residual": self.residual,
            "held": self._held,
            "joined": self._joined,
            "node_multipliers": self._multipliers[0],
            "slope_multipliers": self._multipliers[1],
        }
        self._arrays = placed(self._arrays, self.device)
        losses = ("loss", "loss_delta", "reg_loss", "reg_delta", "cum_loss", "cum_delta", "cum", "symmetric")
        self._numbers = {"pairs": pairs, "channels": d, **dict(zip(losses, frames[0].losses, strict=True))}
        self._solve(cupy)

    def _solve(self, cupy):
        """Several times: pairs that need more room find it in later attempts, with fewer beside them."""
        pairs, most = self._numbers["pairs"], most_blocks(self.device, FILE.blocks)
        sizes = [max(room.bytes(share) for room in self._rooms) for share in _ATTEMPTS]
        sizes[1:] = [min(larger, max(sizes[0], _MEMORY)) for larger in sizes[1:]]
        blocks = max(min(pairs, most, _MEMORY // sizes[0]), 1)
        rooms = cupy.empty(max(blocks * sizes[0], sizes[-1]), np.uint8)
        queues = cupy.zeros(len(sizes), np.int64)
        for attempt, room_bytes in enumerate(sizes):
            numbers = {"again": attempt > 0, "room_bytes": room_bytes}
            arrays = {"rooms": rooms, "queue": queues[attempt : attempt + 1]}
            self._launch(SOLVE, min(pairs, most, rooms.size // room_bytes), numbers, arrays)

    def _launch(self, name, blocks, numbers, arrays):
        arguments = FILE.arguments({**self._numbers, **numbers}, {**self._arrays, **arrays})
        FILE.launch({name: blocks}, WARP, arguments)

    def is_global(self):
        return self._outcome == _EVERYWHERE

    def rows(self):
        """held, joined and multipliers of nodes and of intervals, on the host; waits for the device."""
        return [array.get() for array in (self._held, self._joined, *self._multipliers)]

    def gradients(self, cotangent):
        """By x, y (samples, d), and by nodes of pairs: reg, band from below and above, slopes from below and above.

        cotangent : (size,) float64 by nodes of pairs, of phi; or None: of each objective.
        """
        import cupy

        names = ("x", "y", "reg", "band_lower", "band_upper", "slope_lower", "slope_upper")
        size, pairs = len(self.phi), self._numbers["pairs"]
        shapes = [self._arrays["x"].shape, self._arrays["y"].shape, *[size] * 5]
        gradients = [cupy.zeros(shape) for shape in shapes]
        arrays = {f"{name}_gradient": array for name, array in zip(names, gradients, strict=True)}
        if cotangent is not None:
            arrays["cotangent"] = cotangent
        room_bytes = max(room.certificate for room in self._rooms)
        blocks = max(min(pairs, most_blocks(self.device, FILE.blocks), _MEMORY // room_bytes), 1)
        arrays |= {"rooms": cupy.empty(blocks * room_bytes, np.uint8), "queue": cupy.zeros(1, np.int64)}
        self._launch(DIFFERENTIATE, blocks, {"room_bytes": room_bytes}, arrays)
        return gradients


def _frames(frames, tables, candidates):
    """The arrays of `Arguments` that frames fill, sent as two: numbers and indices."""
    columns = {
        "t": [frame.t for frame in frames],
        "reg": [_padded(frame.reg) for frame in frames],
        "slope_lower": [_padded(frame.slopes[0]) for frame in frames],
        "slope_upper": [_padded(frame.slopes[1]) for frame in frames],
        "bound_lower": [frame.bounds[0] for frame in frames],
        "bound_upper": [frame.bounds[1] for frame in frames],
        "lower": [frame.region[0] for frame in frames],
        "upper": [frame.region[1] for frame in frames],
        "band_lower_unit": [np.where(frame.banded[0], frame.band_units[0], 0.0) for frame in frames],
        "band_upper_unit": [np.where(frame.banded[1], frame.band_units[1], 0.0) for frame in frames],
        "x_times": [frame.x_times for frame in frames],
        "y_times": [frame.y_times for frame in frames],
        "target": [np.array([frame.target for frame in frames])],
        "tolerance": [np.array([frame.tolerance for frame in frames])],
    }
    sizes = np.zeros((len(frames), 8), np.int64)
    for k, name in enumerate(("t", "x_times", "y_times")):
        sizes[:, k] = [len(times) for times in columns[name]]
        sizes[:, 3 + k] = np.cumsum(sizes[:, k]) - sizes[:, k]
    sizes[:, 6], sizes[:, 7] = candidates, tables
    import cupy

    parts = [np.concatenate(column) for column in columns.values()]
    sent, ends = cupy.asarray(np.concatenate(parts)), np.cumsum([len(part) for part in parts]).tolist()
    arrays = {name: sent[end - len(part) : end] for name, part, end in zip(columns, parts, ends, strict=True)}
    return {**arrays, "frame_sizes": sizes}


def _padded(of_intervals):
    return np.append(of_intervals, 0.0)


class _Room:
    """How much memory a pair of a frame asks for.

    table : whether a table of products is made. certificate : bytes for a certificate and derivatives.
    """

    def __init__(self, frame, channels, candidates):
        n, nx, ny = len(frame.t), len(frame.x_times), len(frame.y_times)
        loss, _, _, _, _, _, cum, symmetric = frame.losses
        square = loss == _SQUARE and not symmetric and not cum > 0
        self.table = square and frame.wants_products(channels) and n * nx <= _LARGEST_TABLE
        # The arrays of Optimality, twice, two of Certificate, three of `differentiate`; 16 entries are the least.
        self.certificate = _aligned(_HEAD + 24 * n + (2 * 228 + 16) * max(n, 16) + 1024)
        # Those of the search that have a size beforehand; what grows by doubling leaves as much behind.
        rows, count = min(n, candidates or 64), candidates or 64
        doubles = n * nx * self.table + channels + (9 + channels) * n + 13 * nx + 4 * (nx + ny)
        doubles += 8 * channels + 36 * rows + rows * (count + 3) + 16 * 64
        self._fixed = _HEAD + 8 * doubles
        breaks = nx + (ny if symmetric else 0)
        kinks = 0 if loss == _SQUARE else channels if loss == _ABSOLUTE else 2 * channels
        pieces = min(breaks * (2 + min(kinks, 2)), _PIECES)
        self._growth = n * pieces * 2 * 24 + pieces * 4 * (2 * 32 + 48) + 2**13

    def bytes(self, share):
        """For this multiple of the pieces that are expected."""
        return _aligned(max(self._fixed + share * self._growth, self.certificate))


def _aligned(count):
    return -(-count // 16) * 16
