"""Continuous warps on a CUDA device: the answers of the CPU, streams, the same bits every time."""

import numpy as np
import pytest
from device_parity import DTYPES, close
from device_parity_warps import LOSSES, OPTIONS, SHAPES, check_options_of_each_pair, check_warps
from numpy.testing import assert_array_equal

from sdtwkit import dec_dtw

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy", reason="needs CuPy, of the extra [gpu]")
try:
    N_DEVICES = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    pytest.skip(f"needs a CUDA device ({error})", allow_module_level=True)


@pytest.mark.parametrize("walk", [True, False], ids=["walks", "plateaus"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_warps(rng, options, dtype, loss, walk):
    for k, shape in enumerate(SHAPES):
        options = {**options, "loss": loss, "reg_loss": LOSSES[k % 3], "reg": 10.0 ** -(k % 3)}
        check_warps(cupy, rng, dtype, options, shape, d=(1, 2, 6)[k % 3], walk=walk)


def test_options_of_each_pair(rng):
    check_options_of_each_pair(cupy, rng)


def test_many_pairs_of_many_lengths(rng):
    x, y = rng.normal(size=(3000, 40, 2)), rng.normal(size=(3000, 30, 2))
    lengths = {"x_lengths": rng.integers(2, 41, 3000), "y_lengths": rng.integers(2, 31, 3000)}
    got, expected = (dec_dtw(a, b, loss="l1", **lengths) for a, b in ((cupy.asarray(x), cupy.asarray(y)), (x, y)))
    close(got.values, expected.values, np.float64)


def test_a_long_pair(rng):
    """Searched in corridors."""
    x, y = rng.normal(size=(2, 500)).cumsum(axis=1)
    close(dec_dtw(cupy.asarray(x), cupy.asarray(y), 0.01).values, dec_dtw(x, y, 0.01).values, np.float64)


def test_the_same_bits_every_time(rng):
    x, y = cupy.asarray(rng.normal(size=(300, 60, 8))), cupy.asarray(rng.normal(size=(300, 50, 8)))
    cotangent = cupy.asarray(rng.normal(size=(300, 50)))

    def results():
        warps = dec_dtw(x, y)
        return [array.get() for array in (warps.values, warps.objective, *warps.vjp(cotangent)[:3])]

    first = results()
    for _ in range(10):
        for array, expected in zip(results(), first, strict=True):
            assert_array_equal(array, expected)


def test_the_same_bits_as_on_the_cpu(rng):
    """Few channels: all products are sums in the same order, and nothing is fused."""
    x, y = rng.normal(size=(50, 60, 2)), rng.normal(size=(50, 40, 2))
    assert_array_equal(dec_dtw(cupy.asarray(x), cupy.asarray(y)).values.get(), dec_dtw(x, y).values)


def test_work_is_ordered_by_the_current_stream(rng):
    x, y = rng.normal(size=(64, 50, 1)), rng.normal(size=(64, 40, 1))
    expected = dec_dtw(x, y)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        device_x = cupy.full(x.shape, cupy.nan)
        for _ in range(20):  # keeps the stream busy
            device_x = cupy.sqrt(device_x)
        device_x[...] = cupy.asarray(x)
        warps = dec_dtw(device_x, cupy.asarray(y))
        gradients = warps.value_grad()
        device_x[...] = 0
    stream.synchronize()
    close(warps.values, expected.values, np.float64)
    close(gradients.x, expected.value_grad().x, np.float64)


@pytest.mark.skipif(N_DEVICES < 2, reason="needs two CUDA devices")
def test_results_lie_on_the_device_of_the_data(rng):
    with cupy.cuda.Device(1):
        x = cupy.asarray(rng.normal(size=(3, 40, 1)))
    warps = dec_dtw(x, x)
    assert {array.device.id for array in (warps.values, warps.objective, *warps.value_grad()[:3])} == {1}


def test_a_sample_that_is_none_makes_its_pair_nan(rng):
    x, y = rng.normal(size=(3, 20, 1)), rng.normal(size=(3, 30, 1))
    x[1, 7] = np.nan
    warps = dec_dtw(cupy.asarray(x), cupy.asarray(y))
    assert_array_equal(np.isnan(warps.objective.get()), [False, True, False])
