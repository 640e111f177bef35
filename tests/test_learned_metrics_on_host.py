"""Learned metrics on CuPy arrays, without a GPU: see test_cuda_on_host.py."""

import cuda_on_host
import numpy as np
import pytest
from collections_parity import groups
from device_parity import DTYPES, on_device
from metrics_parity import (
    LEARNERS,
    PAIRS,
    check_labels_and_early_stopping,
    check_learner,
    check_searches,
)

from sdtwkit._cuda import alignment, gru
from sdtwkit.metric_learning import CoupledGRU, MahalanobisSoftDTW, SiameseGRU
from sdtwkit.metric_learning._training import Adam

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    return [
        cuda_on_host.Host(engine.FILE, engine.libraries(), tmp_path_factory.mktemp("kernels"))
        for engine in (alignment, gru)
    ]


@pytest.fixture
def cupy(monkeypatch, hosts):
    return cuda_on_host.install(monkeypatch, *hosts)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_learners(cupy, rng, dtype, name):
    check_learner(cupy, rng, dtype, name)


@pytest.mark.parametrize("name", ["siamese", "coupled", "linear", "triplet"])
def test_labels_and_early_stopping(cupy, rng, name):
    check_labels_and_early_stopping(cupy, rng, name)


def test_searches(cupy, rng):
    check_searches(cupy, rng)


def test_a_step_of_training_waits_for_nothing(cupy, rng):
    """Nor does it when the gradient is cut: the stand-in tells what a device would be waited for."""
    parameters = {"a": cupy.asarray([3.0, -2.0]), "b": cupy.asarray([[1.0]])}
    read, step = cuda_on_host.Array.get, Adam(parameters, 0.1, 1.0)
    try:
        cuda_on_host.Array.get = None
        for _ in range(3):
            parameters = step(parameters, {name: 2 * value for name, value in parameters.items()})
    finally:
        cuda_on_host.Array.get = read
    assert parameters["b"].shape == (1, 1)
    assert parameters["b"].get()[0, 0] < 0.8


@pytest.mark.parametrize("kind", [SiameseGRU, CoupledGRU, MahalanobisSoftDTW])
def test_series_of_another_place(cupy, rng, kind):
    x, _, labels = groups(rng)
    device_x = cupy.asarray(x)
    on_cpu = kind(max_iter=1, random_state=0).fit_labels(x, labels)
    on_gpu = kind(max_iter=1, random_state=0).fit_labels(device_x, labels)
    for metric, other, came in ((on_cpu, device_x, "a CuPy array"), (on_gpu, x, "no CuPy array")):
        for call in (
            lambda metric=metric, other=other: metric.pair_distance(PAIRS, other),
            lambda metric=metric, other=other: metric.pairwise_distances(other),
        ):
            with pytest.raises(TypeError, match=f"^X is {came}, the arrays it belongs to are"):
                call()
        for call in (metric.trajectories, metric.get_metric()):
            with pytest.raises(TypeError, match=f"^x is {came}, the arrays it belongs to are"):
                call(other[0], other[1])


def test_to_go_on_elsewhere(cupy, rng):
    """What was learned on the CPU goes to the device of the series that training goes on with, and comes back."""
    x, _, labels = groups(rng)
    metric = CoupledGRU(3, max_iter=1, warm_start=True, random_state=0).fit_labels(x, labels)
    metric.fit_labels(cupy.asarray(x), labels)
    assert isinstance(metric.params_["U"], cupy.ndarray)
    metric.fit_labels(x, labels)
    assert isinstance(metric.params_["U"], np.ndarray)


def test_a_loss_that_is_no_number_is_told_at_the_end_of_its_epoch(cupy, rng):
    x, _, labels = groups(rng)
    metric = MahalanobisSoftDTW(max_iter=9, batch_size=2, learning_rate=1e200, random_state=0)
    with pytest.raises(ValueError, match=r"loss of epoch [12] is \w+; rescale the series, or lower learning_rate"):
        metric.fit_labels(cupy.asarray(x), labels)


def test_results_lie_on_the_device_of_the_data(cupy, rng):
    x, _, labels = groups(rng)
    with cupy.cuda.Device(1):
        device_x = on_device(cupy, x)
    for kind in (SiameseGRU, CoupledGRU, MahalanobisSoftDTW):
        metric = kind(max_iter=1, random_state=0).fit_labels(device_x, labels)
        assert metric.pair_distance(PAIRS).device.id == metric.pairwise_distances(device_x).device.id == 1
    assert metric.components_.device.id == metric.transform(device_x).device.id == 1
