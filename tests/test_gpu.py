"""On a CUDA device: the answers of the CPU, streams, several devices, long series, the same bits every time.

A shorter way through all kernels, device_tour.py, is for the tools that look for races and accesses out of bounds.
"""

import numpy as np
import pytest
from collections_parity import (
    BARYCENTERS,
    check_aligner,
    check_averaging,
    check_barycenters,
    check_classifiers,
    check_continuous_aligner,
    check_distances,
    check_kmeans,
    check_labeling,
    check_preprocessing,
)
from device_parity import (
    BEAMS,
    CHAINS,
    COSTS,
    DTYPES,
    OPTIONS,
    REGULARIZERS,
    SHAPES,
    STEPS,
    TABLE_COSTS,
    TRANSCRIPTS,
    check_beams,
    check_chains,
    check_collections,
    check_ctc,
    check_given_costs,
    check_local_costs,
    check_parameters,
    check_paths,
    check_samples,
    check_series,
    close,
    extreme_costs,
    parts,
    random_graph,
)
from metrics_parity import LEARNERS, check_labels_and_early_stopping, check_learner, check_searches
from numpy.testing import assert_array_equal
from one_front import TAKE_ARRAYS, check

import sdtwkit
from sdtwkit._estimators import METRICS
from sdtwkit.dp import CTC, AlignmentDP, ChainDP

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy", reason="needs CuPy, of the extra [gpu]")
try:
    N_DEVICES = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    pytest.skip(f"needs a CUDA device ({error})", allow_module_level=True)

LARGER = (*SHAPES, (129, 200), (500, 333))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_given_costs(rng, dtype, regularizer, options):
    for shape in LARGER:
        check_given_costs(cupy, rng, dtype, regularizer, options, shape)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("cost", COSTS + TABLE_COSTS, ids=str)
def test_series(rng, cost, dtype, regularizer):
    for options in OPTIONS.values():
        for shape in ((5, 3), (33, 40), (150, 100)):
            check_series(cupy, rng, dtype, cost, {**options, "regularizer": regularizer}, shape, d=3)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("cost", COSTS + TABLE_COSTS, ids=str)
def test_local_costs(rng, cost, dtype):
    check_local_costs(cupy, rng, dtype, cost, (150, 100))


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_other_steps(rng, dtype, regularizer, options):
    for shape in LARGER:
        check_given_costs(cupy, rng, dtype, regularizer, options, shape)
        check_parameters(cupy, rng, dtype, {"regularizer": regularizer, **options}, shape)
        check_given_costs(cupy, rng, dtype, regularizer, random_graph(rng, 3, *shape), shape)


@pytest.mark.parametrize("options", [*OPTIONS.values(), *STEPS.values()], ids=[*OPTIONS, *STEPS])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_a_seed_draws_the_same_paths(rng, dtype, options):
    for shape in SHAPES:
        check_samples(cupy, rng, dtype, options, shape)


def test_paths(rng):
    check_paths(cupy, rng)


@pytest.mark.parametrize("kind", ["soft", "sharp", "mean"])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_divergences_and_matrices(rng, dtype, kind):
    for cost in ("half_sqeuclidean", "cosine", "bce", TABLE_COSTS[-1]):
        check_collections(cupy, rng, dtype, {"cost": cost}, kind)


@pytest.mark.parametrize("gamma", [1e-8, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_extremes(rng, dtype, regularizer, gamma):
    C = extreme_costs(rng, dtype)
    dp = AlignmentDP(gamma, regularizer=regularizer)
    value, gradient = dp.value_and_grad(C)
    got_value, got = dp.value_and_grad(cupy.asarray(C))
    close(got_value, value, dtype)
    assert np.isfinite(got.get()).all()
    if regularizer == "entropy" or dtype == np.float64:
        close(got, gradient, dtype)


@pytest.mark.parametrize("pair", [False, True], ids=["full", "pair"])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_chains(rng, dtype, regularizer, pair):
    for shape in (*CHAINS, (40, 9), (20, 128)):
        check_chains(cupy, rng, dtype, regularizer, pair, shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_ctc(rng, dtype):
    for shape in (*TRANSCRIPTS, (900, 30, 300)):
        check_ctc(cupy, rng, dtype, shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_beams(rng, dtype):
    for shape in (*BEAMS, (50, 300, 60), (300, 30, 20)):
        check_beams(cupy, rng, dtype, shape)


def test_the_same_bits_of_many_transcripts_every_time(rng):
    log_probs, targets = cupy.asarray(rng.normal(size=(300, 200, 20))), rng.integers(1, 20, (300, 90))
    first = [array.get() for array in CTC().value_and_grad(log_probs, targets)]
    for _ in range(10):
        for array, expected in zip(CTC().value_and_grad(log_probs, targets), first, strict=True):
            assert_array_equal(array.get(), expected)


def test_the_same_bits_of_many_chains_every_time(rng):
    pair = cupy.asarray(rng.normal(size=(5000, 30, 20))), cupy.asarray(rng.normal(size=(20, 20)))
    first = [array.get() for array in parts(ChainDP().value_and_grad(pair))]
    for _ in range(10):
        for array, expected in zip(parts(ChainDP().value_and_grad(pair)), first, strict=True):
            assert_array_equal(array.get(), expected)


def test_many_sequences_of_many_chains(rng):
    pair = rng.normal(size=(5000, 30, 20)), rng.normal(size=(20, 20))
    lengths = rng.integers(1, 31, 5000)
    drawn, expected = (ChainDP().sample(there, 9, 0, lengths) for there in (tuple(map(cupy.asarray, pair)), pair))
    for got, answer in zip(drawn, expected, strict=True):
        assert_array_equal(got.get(), answer)


def test_many_pairs_of_many_lengths(rng):
    """More warps than a device has room for, among them pairs of one sample."""
    C = rng.random((3000, 70, 40)).astype(np.float32)
    rows, columns = rng.integers(1, 71, 3000), rng.integers(1, 41, 3000)
    for got, expected in zip(
        AlignmentDP(0.1).value_and_grad(cupy.asarray(C), rows, columns),
        AlignmentDP(0.1).value_and_grad(C, rows, columns),
        strict=True,
    ):
        close(got, expected, np.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_a_long_pair(rng, dtype):
    """Hundreds of strips, each waiting for the one above."""
    x, y = rng.normal(size=(2, 9000)).cumsum(axis=1).astype(dtype) / 30
    expected = sdtwkit.soft_dtw_value_and_grad(x, y, 0.1)
    got = sdtwkit.soft_dtw_value_and_grad(cupy.asarray(x), cupy.asarray(y), 0.1)
    for result, answer in zip(got, expected, strict=True):
        close(result, answer, dtype)


def test_the_same_bits_every_time(rng):
    x, y = cupy.asarray(rng.normal(size=(50, 300, 4))), cupy.asarray(rng.normal(size=(50, 280, 4)))
    first = [array.get() for array in sdtwkit.soft_dtw_value_and_grad(x, y, 0.1)]
    for _ in range(20):
        for array, expected in zip(sdtwkit.soft_dtw_value_and_grad(x, y, 0.1), first, strict=True):
            assert_array_equal(array.get(), expected)


def test_the_same_bits_of_other_steps_every_time(rng):
    C, dp = cupy.asarray(rng.normal(size=(300, 60, 300))), AlignmentDP(0.1, **STEPS["knight"])
    first = [array.get() for array in (*dp.value_and_grad(C), *dp.parameter_grads(C))]
    for _ in range(10):
        for array, expected in zip((*dp.value_and_grad(C), *dp.parameter_grads(C)), first, strict=True):
            assert_array_equal(array.get(), expected)


def test_work_is_ordered_by_the_current_stream(rng):
    """What is computed before a call on the same stream is what the call sees, and nothing else has to wait."""
    C = rng.random((64, 200, 200))
    expected = AlignmentDP().value(C)
    for _ in range(5):
        with cupy.cuda.Stream(non_blocking=True) as stream:
            device_C = cupy.full(C.shape, cupy.nan)
            for _ in range(20):  # keeps the stream busy
                device_C = cupy.sqrt(device_C)
            device_C[...] = cupy.asarray(C)
            value = AlignmentDP().value(device_C)
            device_C[...] = 0
        stream.synchronize()
        close(value, expected, np.float64)


def test_nothing_waits_for_the_device(rng):
    """A call that is captured into a graph cannot synchronise: CUDA would refuse."""
    C, targets = cupy.asarray(rng.random((4, 50, 60))), cupy.asarray(rng.integers(1, 60, (4, 40)))
    pair = C[..., :20].copy(), C[0, :20, :20].copy()
    for call in (
        lambda: AlignmentDP().value_and_grad(C),
        lambda: ChainDP().value_and_grad(pair),
        lambda: CTC().value_and_grad(C, targets),
    ):
        expected = [array.copy() for array in parts(call())]  # compiles, and fills the memory pool
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            warm = call()
            stream.synchronize()
            del warm
            stream.begin_capture()
            results = call()
            graph = stream.end_capture()
            graph.launch(stream)
        stream.synchronize()
        for got, answer in zip(parts(results), expected, strict=True):
            assert_array_equal(got.get(), answer.get())


@pytest.mark.skipif(N_DEVICES < 2, reason="needs two CUDA devices")
def test_results_lie_on_the_device_of_the_data(rng):
    C = rng.random((3, 40, 50))
    with cupy.cuda.Device(1):
        device_C = cupy.asarray(C)
    value, gradient = AlignmentDP().value_and_grad(device_C)
    assert value.device.id == gradient.device.id == 1
    close(value, AlignmentDP().value(C), np.float64)


def test_a_length_on_the_device_that_is_out_of_range():
    value = AlignmentDP().value(cupy.ones((3, 4, 4)), x_lengths=cupy.asarray([4, 0, 9]))
    assert_array_equal(np.isnan(value.get()), [False, True, True])


# ---- collections


@pytest.mark.parametrize("options", BARYCENTERS.values(), ids=BARYCENTERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_barycenters(rng, dtype, options):
    check_barycenters(cupy, rng, dtype, options)


def test_averaging(rng):
    check_averaging(cupy, rng)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("check", [check_aligner, check_preprocessing])
def test_transformers(rng, dtype, check):
    check(cupy, rng, dtype)


@pytest.mark.parametrize("metric", METRICS)
def test_distances(rng, metric):
    check_distances(cupy, rng, metric)


@pytest.mark.parametrize("loss", ["surrogate", "relaxed"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_models_that_label_steps(rng, regularizer, loss):
    check_labeling(cupy, rng, regularizer, loss)


@pytest.mark.parametrize("check", [check_classifiers, check_kmeans, check_continuous_aligner])
def test_estimators(rng, check):
    check(cupy, rng)


# ---- learned metrics


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_learned_metrics(rng, dtype, name):
    check_learner(cupy, rng, dtype, name)


@pytest.mark.parametrize("name", ["siamese", "coupled", "linear", "triplet"])
def test_learned_metrics_stop_early(rng, name):
    check_labels_and_early_stopping(cupy, rng, name)


def test_learned_metrics_search(rng):
    check_searches(cupy, rng)


# ---- every public name


@pytest.mark.parametrize("name", TAKE_ARRAYS)
def test_what_it_does_with_cupy_arrays(rng, name):
    check(name, cupy, rng)
