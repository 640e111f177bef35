"""Coupled GRUs on a CUDA device: the answers of the CPU, streams, the same bits every time."""

import numpy as np
import pytest
from device_parity import DTYPES, close
from device_parity_gru import COUPLINGS, ENDS, SHAPES, both, check_gru, on_device, random_problem
from numpy.testing import assert_array_equal

from sdtwkit.metric_learning import coupled_gru_forward, coupled_gru_loss_and_grad

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy", reason="needs CuPy, of the extra [gpu]")
try:
    N_DEVICES = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    pytest.skip(f"needs a CUDA device ({error})", allow_module_level=True)


def sent(problem):
    """The same with sequences and parameters on the device."""
    return [*(on_device(cupy, value) for value in problem[:3]), *problem[3:]]


@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_coupled_grus(rng, dtype, coupling, after_end):
    for shape in (*SHAPES, (8, 30, 6, 64), (3, 12, 20, 128)):
        problem = random_problem(rng, *shape, dtype)
        problem[0]["U"] /= np.sqrt(shape[-1])
        check_gru(cupy, problem, dtype, coupling=coupling, after_end=after_end, beta=0.3)


def test_more_units_than_a_block_has_threads(rng):
    problem = random_problem(rng, 2, 5, 3, 700, np.float64)
    problem[0]["U"] /= 20
    check_gru(cupy, problem, np.float64)


def test_many_pairs_of_many_lengths(rng):
    check_gru(cupy, random_problem(rng, 5000, 20, 2, 8, np.float64), np.float64, beta=0.1)


def test_the_same_bits_every_time(rng):
    problem = sent(random_problem(rng, 300, 40, 6, 32, np.float32))

    def results():
        states, gates, loss, gradient = both(*problem, beta=0.2)
        return [array.get() for array in (states, gates, loss, *gradient.values())]

    first = results()
    for _ in range(10):
        for array, expected in zip(results(), first, strict=True):
            assert_array_equal(array, expected)


def test_work_is_ordered_by_the_current_stream(rng):
    p, x1, x2, *_ = random_problem(rng, 64, 50, 3, 16, np.float64)
    x1, x2, same = np.nan_to_num(x1), np.nan_to_num(x2), rng.integers(0, 2, 64)
    expected = coupled_gru_loss_and_grad(p, x1, x2, same)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        device_x1 = cupy.full(x1.shape, cupy.nan)
        for _ in range(20):  # keeps the stream busy
            device_x1 = cupy.sqrt(device_x1)
        device_x1[...] = cupy.asarray(x1)
        loss, gradient = coupled_gru_loss_and_grad(on_device(cupy, p), device_x1, cupy.asarray(x2), same)
        device_x1[...] = 0
    stream.synchronize()
    close(loss, np.asarray(expected[0]), np.float64)
    for name, array in expected[1].items():
        close(gradient[name], array, np.float64)


def test_nothing_waits_for_the_device(rng):
    """A call that is captured into a graph cannot synchronise: CUDA would refuse."""
    p, x1, x2, same, _, _ = random_problem(rng, 4, 10, 2, 8, np.float64)
    p, x1, x2, same = (on_device(cupy, value) for value in (p, np.nan_to_num(x1), np.nan_to_num(x2), same))
    arguments = p, x1, x2, same, None, None
    expected = both(*arguments)  # compiles, and fills the memory pool
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        warm = both(*arguments)
        stream.synchronize()
        del warm
        stream.begin_capture()
        results = both(*arguments)
        graph = stream.end_capture()
        graph.launch(stream)
    stream.synchronize()
    for got, answer in zip(results[:3], expected[:3], strict=True):
        assert_array_equal(got.get(), answer.get())
    for name, answer in expected[3].items():
        assert_array_equal(results[3][name].get(), answer.get())


@pytest.mark.skipif(N_DEVICES < 2, reason="needs two CUDA devices")
def test_results_lie_on_the_device_of_the_data(rng):
    with cupy.cuda.Device(1):
        problem = sent(random_problem(rng, 2, 4, 2, 3, np.float64))
    states, gates, loss, gradient = both(*problem)
    assert {array.device.id for array in (states, gates, loss, *gradient.values())} == {1}


def test_a_sample_that_is_none_makes_its_pair_nan(rng):
    p, x1, x2, _, _, _ = random_problem(rng, 3, 10, 2, 8, np.float64)
    x1, x2 = np.nan_to_num(x1), np.nan_to_num(x2)
    x1[1, 7] = np.nan
    states, _ = coupled_gru_forward(*(on_device(cupy, value) for value in (p, x1, x2)))
    assert_array_equal(np.isnan(states.get()).any(axis=(0, 2, 3)), [False, True, False])
