"""How much device memory a call takes beside its arguments and results, counted by its own launch code; no device."""

import sys
import types

import numpy as np
import pytest

from sdtwkit._cuda import alignment, kernels

GIB = 2**30
SQUARED_EUCLIDEAN = alignment.COSTS.index("SquaredEuclidean")


class Room:
    """An array that has a size and no memory."""

    device = types.SimpleNamespace(id=0)
    data = types.SimpleNamespace(ptr=256)

    def __init__(self, shape, dtype=np.float64):
        self.shape = tuple(shape) if np.iterable(shape) else (shape,)
        self.nbytes = np.dtype(dtype).itemsize * int(np.prod(self.shape, dtype=object))

    def __len__(self):
        return self.shape[0]


@pytest.fixture
def rooms(monkeypatch):
    """The rooms that a launch asks for, which then launches nothing."""
    found = []

    def made(shape, dtype=np.float64):
        found.append(Room(shape, dtype))
        return found[-1]

    stub = types.ModuleType("cupy")
    stub.empty = stub.zeros = made
    stub.asarray = lambda array: made(array.shape, array.dtype)
    monkeypatch.setitem(sys.modules, "cupy", stub)
    monkeypatch.setattr(alignment, "most_blocks", lambda device: 132 * kernels._BLOCKS_PER_MULTIPROCESSOR)
    monkeypatch.setattr(alignment.FILE, "launch", lambda *_: None)
    return found


def request(pairs, n, m, dtype, op=alignment._ENTROPY):
    lengths = np.full(pairs, n), np.full(pairs, m)
    rules = op, 0.1, (1.0, 1.0, 1.0), -1, None, 0, 0
    return alignment.Request(dtype == np.float32, pairs, *lengths, None, None, *rules)


def total(arrays):
    return sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_pair_and_its_gradient_fit_into_eight_gib(rooms, dtype):
    n = 50_000
    wanted = request(1, n, n, dtype)
    x, y, by_x, by_y = (Room((n, 1), dtype) for _ in range(4))
    wanted.series(SQUARED_EUCLIDEAN, 0.0, 1, x, np.zeros(1, np.int64), y, np.zeros(1, np.int64))
    wanted.want_series_gradients(by_x, by_y)
    wanted.run(Room(1, dtype), 1, 0)
    assert 1 * GIB < total([*rooms, x, y, by_x, by_y]) < 8 * GIB


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_pairs_take_less_than_their_costs(rooms, dtype):
    shape = 1024, 512, 512
    for op in (alignment._HARD, alignment._ENTROPY, alignment._SPARSE):
        rooms.clear()
        wanted, C = request(*shape, dtype, op), Room(shape, dtype)
        wanted.costs(C)
        wanted.want_gradient(Room(shape, dtype))
        wanted.run(Room(1024, dtype), 1, 0)
        assert 0 < total(rooms) < C.nbytes


def test_values_take_a_row_a_pair(rooms):
    shape = 1, 200_000, 200_000
    wanted = request(*shape, np.float64)
    wanted.costs(Room(shape))
    wanted.run(Room(1), 1, 0)
    assert total(rooms) < 2**24
