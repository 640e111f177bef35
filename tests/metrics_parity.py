"""Learned metrics on a device: what they must answer as on the CPU; for the host's shim and for a GPU."""

import numpy as np
from collections_parity import groups
from device_parity import alike, lists, on_device
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.metric_learning import CoupledGRU, MahalanobisSoftDTW, SiameseGRU

PAIRS, SIGNS = np.array([[0, 1], [2, 3], [0, 2], [1, 3], [1, 2]]), np.array([1, 1, -1, -1, -1])
LEARNERS = {
    "siamese": (SiameseGRU, {"hidden_size": 5}),
    "trajectory": (SiameseGRU, {"hidden_size": 5, "distance": "trajectory", "beta": 0.3}),
    "cosine": (SiameseGRU, {"hidden_size": 5, "distance": "cosine"}),
    "coupled": (CoupledGRU, {"hidden_size": 4, "coupling": "pre", "crop": 5}),
    "held": (CoupledGRU, {"hidden_size": 4, "coupling": "leak", "after_end": "hold", "distance": "manhattan"}),
    "linear": (MahalanobisSoftDTW, {"gamma": 0.5, "crop": 6}),
    "triplet": (MahalanobisSoftDTW, {"n_components": 1, "loss": "triplet", "kind": "sharp", "window": 4}),
}


def collections(rng, dtype):
    """As a list, as a padded array with lengths, and as one padded by NaN -> (X, keyword arguments)."""
    x, sizes, _ = groups(rng, dtype)
    yield lists(x, sizes), {}
    yield x, {"lengths": sizes}
    for item, size in zip(x, sizes, strict=True):
        item[size:] = np.nan
    yield x, {}


def learned(metric):
    """What was learned, an array or a dict of arrays, as a list."""
    return [metric.components_] if isinstance(metric, MahalanobisSoftDTW) else list(metric.params_.values())


def check_learner(cupy, rng, dtype, name):
    """The first steps of training, and all that is asked of the result."""
    kind, options = LEARNERS[name]
    for X, lengths in collections(rng, dtype):
        options = {"max_iter": 2, "batch_size": 4, "random_state": 0, **options}
        on_cpu, metric = kind(**options).fit(PAIRS, SIGNS, X, **lengths), kind(**options)
        device_X = on_device(cupy, X)
        metric.fit(cupy.asarray(PAIRS), cupy.asarray(SIGNS), device_X, **lengths)
        alike(learned(metric), learned(on_cpu), dtype)
        tolerance = 1e-9 if dtype == np.float64 else 1e-4
        assert_allclose(metric.loss_curve_, on_cpu.loss_curve_, rtol=tolerance)
        assert_allclose(metric.threshold_, on_cpu.threshold_, rtol=10 * tolerance)
        alike(metric.pair_distance(PAIRS), on_cpu.pair_distance(PAIRS), dtype)
        alike(metric.pair_score(PAIRS, device_X, **lengths), on_cpu.pair_score(PAIRS, X, **lengths), dtype)
        alike(metric.pairwise_distances(device_X, **lengths), on_cpu.pairwise_distances(X, **lengths), dtype)
        some, fewer = device_X[:3], {key: value[:3] for key, value in lengths.items()}
        expected = on_cpu.pairwise_distances(X[:3], X, **fewer, Y_lengths=lengths.get("lengths"))
        found = metric.pairwise_distances(some, device_X, **fewer, Y_lengths=lengths.get("lengths"))
        alike(found, expected, dtype)
        assert_array_equal(metric.predict(PAIRS), on_cpu.predict(PAIRS))
        assert metric.score(PAIRS, SIGNS) == on_cpu.score(PAIRS, SIGNS)
        if kind is not CoupledGRU:
            alike(metric.transform(device_X, **lengths), on_cpu.transform(X, **lengths), dtype)
        x, y = np.nan_to_num(X[0]), np.nan_to_num(X[1])
        distance = metric.get_metric()(cupy.asarray(x), cupy.asarray(y))
        assert_allclose(distance.get(), on_cpu.get_metric()(x, y), rtol=tolerance, atol=tolerance)
        check_trajectories(cupy, metric, on_cpu, x, y, dtype)


def check_trajectories(cupy, metric, on_cpu, x, y, dtype):
    found, expected = metric.trajectories(cupy.asarray(x), cupy.asarray(y)), on_cpu.trajectories(x, y)
    if isinstance(metric, MahalanobisSoftDTW):
        alike(found, expected, dtype)
        return
    alike(list(found[:3]), list(expected[:3]), dtype)
    assert found.synchronised_at == expected.synchronised_at
    assert_allclose(found.mean_gate, expected.mean_gate, rtol=1e-4)
    assert_allclose(found.transversal_exponents, expected.transversal_exponents, rtol=1e-4, atol=1e-6)


def check_labels_and_early_stopping(cupy, rng, name):
    """Training from labels, with series held out; then on, from where it ended."""
    kind, options = LEARNERS[name]
    x, sizes, labels = groups(rng)
    x, sizes, labels = np.concatenate([x, x + 0.05]), np.tile(sizes, 2), np.tile(labels, 2)
    options = {"max_iter": 3, "early_stopping": True, "random_state": 0, **options}
    on_cpu, metric = (kind(**options) for _ in range(2))
    for warm_start, chosen in ((False, None), (True, np.array([0, 1, 2, 3]))):
        on_cpu.set_params(warm_start=warm_start).fit_labels(x, labels, lengths=sizes, validation=chosen)
        validation = None if chosen is None else cupy.asarray(chosen)
        metric.set_params(warm_start=warm_start)
        metric.fit_labels(cupy.asarray(x), labels, lengths=cupy.asarray(sizes), validation=validation)
        assert_allclose(metric.validation_curve_, on_cpu.validation_curve_, rtol=1e-7)
        assert metric.best_iter_ == on_cpu.best_iter_
        alike(learned(metric), learned(on_cpu), np.float64)


def check_searches(cupy, rng):
    x, sizes, labels = groups(rng)
    on_cpu, metric = (CoupledGRU(4, max_iter=2, random_state=0) for _ in range(2))
    on_cpu.fit_labels(x, labels, lengths=sizes)
    metric.fit_labels(cupy.asarray(x), labels, lengths=sizes)
    for shortlist in (None, 2):
        expected = on_cpu.kneighbors(x, x[::-1], 2, shortlist=shortlist)
        found = metric.kneighbors(cupy.asarray(x), cupy.asarray(x[::-1]), 2, shortlist=shortlist)
        alike(found[0], expected[0], np.float64)
        assert_array_equal(found[1].get(), expected[1])
