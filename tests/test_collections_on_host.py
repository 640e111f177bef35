"""Barycenters and estimators on CuPy arrays, without a GPU: see test_cuda_on_host.py."""

import cuda_on_host
import numpy as np
import pytest
from collections_parity import (
    BARYCENTERS,
    check_aligner,
    check_averaging,
    check_barycenters,
    check_classifiers,
    check_distances,
    check_kmeans,
    check_preprocessing,
    groups,
)
from device_parity import DTYPES, on_device
from numpy.testing import assert_allclose

import sdtwkit
from sdtwkit._cuda import alignment
from sdtwkit._estimators import METRICS

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return cuda_on_host.Host(alignment.FILE, alignment.libraries(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def cupy(monkeypatch, host):
    return cuda_on_host.install(monkeypatch, host)


@pytest.mark.parametrize("options", BARYCENTERS.values(), ids=BARYCENTERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_barycenters(cupy, rng, dtype, options):
    check_barycenters(cupy, rng, dtype, options)


def test_averaging(cupy, rng):
    check_averaging(cupy, rng)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_aligner(cupy, rng, dtype):
    check_aligner(cupy, rng, dtype)


@pytest.mark.parametrize("metric", METRICS)
def test_distances(cupy, rng, metric):
    check_distances(cupy, rng, metric)


def test_classifiers(cupy, rng):
    check_classifiers(cupy, rng)


def test_kmeans(cupy, rng):
    check_kmeans(cupy, rng)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_preprocessing(cupy, rng, dtype):
    check_preprocessing(cupy, rng, dtype)


def test_a_barycenter_as_an_estimator(cupy, rng):
    x, sizes, _ = groups(rng)
    on_cpu, barycenter = (sdtwkit.SoftDTWBarycenter(0.3, max_iter=200, tol=1e-9) for _ in range(2))
    on_cpu.fit(x, lengths=sizes)
    device_x = cupy.asarray(x)
    barycenter.fit(device_x, lengths=cupy.asarray(sizes))
    assert_allclose(barycenter.barycenter_.get(), on_cpu.barycenter_, atol=1e-3)
    assert_allclose(barycenter.cost_, on_cpu.cost_)
    assert_allclose(barycenter.transform(device_x).get(), on_cpu.transform(x), atol=1e-3)


def test_trailing_rows_of_nan_are_padding(cupy, rng):
    """Who waits for the device anyway looks at what came."""
    x, sizes, labels = groups(rng)
    for item, size in zip(x, sizes, strict=True):
        item[size:] = np.nan
    on_cpu, knn = (sdtwkit.SoftDTWKNeighborsClassifier(1, gamma=0.3) for _ in range(2))
    expected = on_cpu.fit(x, labels).kneighbors()[0]
    assert_allclose(knn.fit(cupy.asarray(x), labels).kneighbors()[0].get(), expected)


def test_missing_values_are_named(cupy, rng):
    x, _, _ = groups(rng)
    x[2, 3, 1] = np.nan
    for fit in (sdtwkit.soft_dtw_barycenter, sdtwkit.SoftDTWKMeans(2).fit, sdtwkit.AlignmentDistance().fit):
        with pytest.raises(ValueError, match=r"X\[2\] holds NaN at time 3, channel 1"):
            fit(cupy.asarray(x))


def test_a_start_may_lie_anywhere(cupy, rng):
    x, _, _ = groups(rng)
    start = rng.normal(size=(5, 2))
    expected = sdtwkit.soft_dtw_barycenter(x, init=start)
    for init in (start, cupy.asarray(start)):
        assert_allclose(sdtwkit.soft_dtw_barycenter(cupy.asarray(x), init=init).get(), expected, atol=1e-3)


def test_two_kinds_of_arrays(cupy, rng):
    x, _, _ = groups(rng)
    distance = sdtwkit.AlignmentDistance().fit(cupy.asarray(x))
    with pytest.raises(TypeError, match="CuPy array"):
        distance.transform(x)


def test_results_lie_on_the_device_of_the_data(cupy, rng):
    x, _, _ = groups(rng)
    with cupy.cuda.Device(1):
        device_x = on_device(cupy, x)
    assert sdtwkit.soft_dtw_barycenter(device_x).device.id == 1
    kmeans = sdtwkit.SoftDTWKMeans(2, random_state=0).fit(device_x)
    assert kmeans.cluster_centers_.device.id == kmeans.transform(device_x).device.id == 1
    assert sdtwkit.SoftDTWAligner().fit(device_x).transform(device_x).device.id == 1
