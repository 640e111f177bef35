"""What learned networks say of sequences: distances of pairs, and embeddings where they are not coupled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from .. import _arrays, _backend
from ._learner import chosen, compact
from ._network import Batch, Network, run_on_device

_BATCH, _BATCH_BYTES = 64, 1 << 25  # pairs that run side by side, or their states and gates: to fit into the caches
_DEVICE_BATCH, _DEVICE_BATCH_BYTES = 1 << 14, 1 << 28  # on a device: to fill it, at a bounded cost of memory


class GruMetric(NamedTuple):
    """The learned distance of two sequences."""

    network: Network
    distance: str

    @property
    def dtype(self):
        return self.network.dtype

    @property
    def learned(self):
        """An array of what was learned."""
        return self.network.bias

    def distances(self, x1, x2, n_jobs=1):
        """(B,) distances of Series pair by pair, on so many threads; 0 stands for all. Those of a device stay there."""
        network, x1, x2 = _of_one_dtype(self.network, x1, x2)
        batches = _batches(network, np.maximum(x1.lengths, x2.lengths))

        def some(index):
            batch = Batch.of(network, chosen(x1, index), chosen(x2, index))
            batch.forward()
            return index[batch.order], self._of(batch.states[:, 1:], batch.lengths.min(axis=0))

        def some_on_device(index):
            one, other = chosen(x1, index), chosen(x2, index)
            states = run_on_device(network, one, other).states.swapaxes(1, 2)
            return tuple(
                _arrays.beside(array, states)
                for array in (index, self._of(states, _arrays.beside(np.minimum(one.lengths, other.lengths), states)))
            )

        with _arrays.device_of(network.bias):
            out = _arrays.namespace(network.bias).empty(len(x1), network.dtype)
            on_device = _arrays.on_device(out)
            for index, values in map(some_on_device, batches) if on_device else _in_threads(some, batches, n_jobs):
                out[index] = values
        return out

    def _of(self, states, common):
        """(B,) distances from states (2, steps, B, H) of pairs with so many common steps (B,)."""
        a, b = states[0, -1], states[1, -1]
        if self.distance != "trajectory":
            return last_distances(a - b, a, b, self.distance)
        along = ((states[0] - states[1]) ** 2).sum(axis=2)
        steps = _arrays.namespace(along).arange(len(along))[:, None]
        return np.sqrt(np.where(steps < common, along, 0).sum(axis=0) / common)


def last_distances(e, a, b, distance):
    """(B,) distances of states a and b (B, H), e = a - b."""
    if distance == "euclidean":
        return np.sqrt((e * e).sum(axis=1))
    if distance == "manhattan":
        return abs(e).sum(axis=1)
    aa, bb, ab = ((p * q).sum(axis=1) for p, q in ((a, a), (b, b), (a, b)))
    norms = np.sqrt(aa * bb)
    zero = norms == 0  # a state of zeros is like itself and like nothing else
    return np.where(zero, (e != 0).any(axis=1), 1 - np.clip(ab / np.where(zero, 1, norms), -1, 1)).astype(e.dtype)


def embeddings(network, series):
    """(B, H) last states of sequences that each run alone."""
    network, series = _of_one_dtype(network, series)
    with _arrays.device_of(network.bias):
        out = _arrays.namespace(network.bias).empty((len(series), network.hidden), network.dtype)
        for index in _batches(network, series.lengths):
            if _arrays.on_device(out):  # whose kernels take pairs: of these, two of the batch that do not meet
                half = -(-len(index) // 2)
                sides = index[:half], index[-half:]
                done = run_on_device(network, *(chosen(series, side) for side in sides))
                for side, last in zip(sides, done.states[:, :, -1], strict=True):
                    out[_arrays.beside(side, out)] = last
                continue
            batch = Batch.of(network, compact(series, index))
            batch.forward()
            out[index[batch.order]] = batch.states[0, -1]
    return out


def _of_one_dtype(network, *series):
    dtype = np.result_type(network.dtype, *(one.dtype for one in series))
    with _arrays.device_of(network.bias):
        return network.astype(dtype), *(one.astype(dtype) for one in series)


def _batches(network, steps):
    """Indices of pairs that run side by side: of like length, few enough for the caches; the same on any machine."""
    order = np.argsort(-steps, kind="stable")
    cell = 2 * (len(network.bias) + 2 * network.hidden) * network.dtype.itemsize
    on_device = _arrays.on_device(network.bias)
    most, most_bytes = (_DEVICE_BATCH, _DEVICE_BATCH_BYTES) if on_device else (_BATCH, _BATCH_BYTES)
    begin = 0
    while begin < len(order):
        size = min(max(most_bytes // (cell * int(steps[order[begin]])), 1), most)
        yield order[begin : begin + size]
        begin += size


def _in_threads(function, jobs, n_jobs):
    n_threads = _backend.threads(n_jobs)
    if n_threads == 1:
        yield from map(function, jobs)
        return
    with ThreadPoolExecutor(n_threads) as pool:  # the kernels run without the GIL
        yield from pool.map(function, jobs)
