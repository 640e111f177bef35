"""Adam as the experiments use it: it finds minima, also where losses have kinks, and one seed makes one result."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments.training import learned

ITEMS = [np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]), np.array([[2.0, 5.0]])]
START = np.array([[10.0, 10.0]])


def squared(p, item):
    return ((p - item) ** 2).sum(), 2 * (p - item)


def absolute(p, item):
    return np.abs(p - item).sum(), np.sign(p - item)


@pytest.mark.parametrize(("loss", "minimum"), [(squared, [[2, 2]]), (absolute, [[2, 2]])])
def test_the_mean_loss_is_minimised(loss, minimum, rng):
    found = learned(loss, START, ITEMS, steps=400, batch=3, rate=0.5, rng=rng)
    assert_allclose(found, minimum, atol=0.02)
    assert_array_equal(START, [[10, 10]])


def test_batches_stand_for_the_whole(rng):
    assert_allclose(learned(squared, START, ITEMS, steps=2000, batch=1, rate=0.2, rng=rng), [[2, 2]], atol=0.2)


def test_first_step_moves_each_parameter_by_the_rate_whatever_the_scale(rng):
    gradient = np.array([1e-3, -1e6, 0])
    first = learned(lambda p, item: (0, gradient), np.zeros(3), [0], steps=1, batch=1, rate=0.1, rng=rng)
    assert_allclose(first, [-0.05, 0.05, 0], rtol=1e-4)  # half of it, as one step is the middle of the cosine


def test_batches_are_drawn_without_repetition(rng):
    seen = []

    def loss(p, item):
        seen.append(item)
        return item, 0 * p

    learned(loss, np.zeros(1), [1, 2, 3, 4], steps=20, batch=2, rate=0.1, rng=rng)
    assert all(first != second for first, second in np.reshape(seen, (20, 2)))
    assert set(seen) == {1, 2, 3, 4}


def test_named_tuples_of_arrays_are_learned_as_one_array_is():
    class Parts(NamedTuple):
        table: np.ndarray
        row: np.ndarray
        number: float

    def loss(p, item):
        assert isinstance(p, Parts)
        return 0.0, Parts(2 * (p.table - item), 2 * (p.row - 1), 2 * (p.number + item[0, 0]))

    def joined_loss(p, item):
        return 0.0, 2 * (p - np.r_[item.ravel(), 1, 1, -item[0, 0]])

    def run(loss, start):
        return learned(loss, start, ITEMS, steps=30, batch=2, rate=0.1, rng=np.random.default_rng(0))

    table, row, number = run(loss, Parts(START, np.zeros(2), 7.0))
    assert (table.shape, row.shape, number.shape) == (START.shape, (2,), ())
    assert_array_equal(np.r_[table.ravel(), row, number], run(joined_loss, np.r_[START.ravel(), 0, 0, 7]))


def test_one_seed_makes_one_result():
    def run(seed):
        return learned(squared, START, ITEMS, steps=20, batch=2, rate=0.1, rng=np.random.default_rng(seed))

    assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).any()
