"""Barycenters and estimators on a device: what they must answer as on the CPU; for the host's shim and for a GPU."""

import warnings

import numpy as np
from device_parity import TABLE_COSTS, alike, lists, on_device, random_series
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import sdtwkit
from sdtwkit.preprocessing import SeriesResampler, SeriesScaler

BARYCENTERS = {
    "soft": {},
    "divergence": {"divergence": True, "length": 6},
    "sharp": {"divergence": "sharp", "init": "mean", "window": 3},
    "cosine": {"cost": "cosine", "init": "random", "random_state": 0},
    "weights": {"weights": [1.0, 0.0, 2.0, 0.5], "init": "dba"},
    "own cost": {"cost": TABLE_COSTS[-1], "init": "mean"},
}


def groups(rng, dtype=np.float64):
    """Two pairs of alike series: (4, 9, 2) with lengths, a label each."""
    x, _, _ = random_series(rng, 9, 9, 2, dtype)
    x = np.nan_to_num(np.concatenate([x[:1], x[:1], x[2:] + 3, x[2:] + 3]), nan=0.25)
    x += 0.1 * rng.normal(size=x.shape).astype(dtype)
    return x, np.array([9, 7, 9, 8]), np.array(["a", "a", "b", "b"])


def forms(rng, dtype=np.float64):
    """The groups as lists, and as an array with lengths -> (X, keyword arguments)."""
    x, sizes, _ = groups(rng, dtype)
    x[1, 7:] = np.nan
    yield lists(x, sizes), {}
    yield x, {"lengths": sizes}


def check_barycenters(cupy, rng, dtype, options):
    for X, lengths in forms(rng, dtype):
        options = {"gamma": 0.3, "max_iter": 200, "tol": 1e-9, **options}
        expected = sdtwkit.soft_dtw_barycenter(X, **options, **lengths)
        found = sdtwkit.soft_dtw_barycenter(on_device(cupy, X), **options, **lengths)
        assert found.dtype == dtype
        # A search adds up rounding: where it ends agrees to the square root of tol.
        assert_allclose(found.get(), expected, atol=1e-3)


def check_averaging(cupy, rng):
    for X, lengths in forms(rng):
        expected = sdtwkit.dtw_barycenter_averaging(X, init="mean", **lengths)
        alike(sdtwkit.dtw_barycenter_averaging(on_device(cupy, X), init="mean", **lengths), expected, np.float64)


def check_aligner(cupy, rng, dtype):
    for X, lengths in forms(rng, dtype):
        reference = rng.normal(size=(6, 2)).astype(dtype)
        on_cpu, aligner = (sdtwkit.SoftDTWAligner(0.4, reference=reference).fit(X, **lengths) for _ in range(2))
        device_X = on_device(cupy, X)
        aligner.fit(device_X, **lengths)
        alike(aligner.transform(device_X, **lengths), on_cpu.transform(X, **lengths), dtype)
        alike(aligner.alignments(device_X, **lengths), on_cpu.alignments(X, **lengths), dtype)
        assert_allclose(aligner.score(device_X, **lengths), on_cpu.score(X, **lengths), rtol=1e-4)
    x, y = rng.normal(size=(3, 5)), rng.normal(size=(3, 6))
    G = rng.normal(size=(3, 5, 6))
    for name, *given in (("loss", x, y), ("loss_and_grad", x, y), ("alignment_vjp", x, y, G)):
        alike(getattr(aligner, name)(*on_device(cupy, given)), getattr(on_cpu, name)(*given), np.float64)


def check_distances(cupy, rng, metric):
    for X, lengths in forms(rng):
        on_cpu, distance = (sdtwkit.AlignmentDistance(metric, gamma=0.4) for _ in range(2))
        device_X = on_device(cupy, X)
        alike(distance.fit_transform(device_X, **lengths), on_cpu.fit_transform(X, **lengths), np.float64)
        alike(distance.transform(device_X, **lengths), on_cpu.transform(X, **lengths), np.float64)


def check_classifiers(cupy, rng):
    _, _, labels = groups(rng)
    for X, lengths in forms(rng):
        device_X = on_device(cupy, X)
        for make in (
            lambda: sdtwkit.SoftDTWKNeighborsClassifier(2, gamma=0.3, weights="distance"),
            lambda: sdtwkit.NearestSoftCentroid(0.3),
        ):
            on_cpu, classifier = make().fit(X, labels, **lengths), make().fit(device_X, labels, **lengths)
            assert_array_equal(classifier.predict(device_X, **lengths), on_cpu.predict(X, **lengths))
            assert classifier.score(device_X, labels, **lengths) == 1
        knn = sdtwkit.SoftDTWKNeighborsClassifier(2, gamma=0.3)
        expected = knn.fit(X, labels, **lengths).kneighbors()
        distances, indices = knn.fit(device_X, labels, **lengths).kneighbors()
        alike(distances, expected[0], np.float64)
        assert_array_equal(indices.get(), expected[1])


def check_kmeans(cupy, rng):
    for X, lengths in forms(rng):
        device_X = on_device(cupy, X)
        on_cpu, kmeans = (sdtwkit.SoftDTWKMeans(2, 0.3, random_state=0) for _ in range(2))
        on_cpu.fit(X, **lengths)
        kmeans.fit(device_X, **lengths)
        assert_array_equal(kmeans.labels_, on_cpu.labels_)
        assert_allclose(kmeans.inertia_, on_cpu.inertia_, rtol=1e-4)
        assert_allclose(kmeans.cluster_centers_.get(), on_cpu.cluster_centers_, atol=1e-2)
        assert_allclose(kmeans.transform(device_X, **lengths).get(), on_cpu.transform(X, **lengths), atol=1e-2)
        assert_array_equal(kmeans.predict(device_X, **lengths), on_cpu.labels_)
        assert_allclose(kmeans.score(device_X, **lengths), on_cpu.score(X, **lengths), rtol=1e-4)


def check_preprocessing(cupy, rng, dtype):
    for X, lengths in forms(rng, dtype):
        device_X = on_device(cupy, X)
        for transformer in (SeriesScaler(), SeriesResampler(5)):
            expected = transformer.fit_transform(X, **lengths)
            alike(transformer.fit_transform(device_X, **lengths), expected, dtype)


def check_labeling(cupy, rng, regularizer, loss, solver="lbfgs"):
    """All of LinearChainCRF, after some steps: at the kinks of "l2" a search may end anywhere."""
    names = np.array(["rest", "walk", "run"])
    for X, lengths in forms(rng):
        sizes = lengths.get("lengths", [len(x) for x in X])
        y = [names[rng.integers(0, 3, size)] for size in sizes]
        options = {"loss": loss, "solver": solver, "alpha": 0.1, "max_iter": 5}
        on_cpu, crf = (sdtwkit.LinearChainCRF(regularizer, batch_size=3, random_state=0, **options) for _ in range(2))
        device_X = on_device(cupy, X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            on_cpu.fit(X, y, **lengths)
            crf.fit(device_X, y, **lengths)
        for name in ("coef_", "intercept_", "transition_"):
            assert_allclose(getattr(crf, name).get(), getattr(on_cpu, name), atol=1e-8)
        assert_allclose(crf.objective_, on_cpu.objective_, rtol=1e-9)
        on_cpu.coef_, on_cpu.intercept_, on_cpu.transition_ = (
            part.get() for part in (crf.coef_, crf.intercept_, crf.transition_)
        )
        alike(crf.predict_marginals(device_X, **lengths), on_cpu.predict_marginals(X, **lengths), np.float64)
        for got, expected in zip(crf.predict(device_X, **lengths), on_cpu.predict(X, **lengths), strict=True):
            assert_array_equal(got, expected)
        assert crf.score(device_X, y, **lengths) == on_cpu.score(X, y, **lengths)


def check_continuous_aligner(cupy, rng):
    for X, lengths in forms(rng):
        for reference in (None, rng.normal(size=(6, 2))):
            on_cpu, aligner = (sdtwkit.DecDTWAligner(0.5, reference=reference, max_iter=3) for _ in range(2))
            device_X = on_device(cupy, X)
            on_cpu.fit(X, **lengths)
            aligner.fit(device_X, **lengths)
            alike(aligner.transform(device_X, **lengths), on_cpu.transform(X, **lengths), np.float64)
            assert_allclose(aligner.score(device_X, **lengths), on_cpu.score(X, **lengths))
