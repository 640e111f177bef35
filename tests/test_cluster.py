"""k-means under soft-DTW: first centers, Lloyd's iterations, and what is said about other series."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from sdtwkit import SoftDTWKMeans, cdist_soft_dtw, cdist_soft_dtw_divergence, soft_dtw_barycenter
from sdtwkit._estimators import objective_of
from sdtwkit.barycenters import fit_soft_dtw_barycenter
from sdtwkit.cluster import _CENTER_ITERATIONS, _assign, _first_centers, _Problem

DIVERGENCES = [True, "soft", "sharp", "mean", False]


@pytest.fixture(params=DIVERGENCES, ids=str)
def divergence(request):
    return request.param


def collection(rng, n=12, k=3, noise=0.1, d=1, divergence=True):
    """Ragged waves of k frequencies, and which they are; of one length for "mean", which else has no barycenter."""
    y = np.arange(n) % k
    lengths = np.full(n, 11) if divergence == "mean" else rng.integers(9, 14, n)
    times = [np.linspace(0, 1, m)[:, None] + np.zeros(d) for m in lengths]
    return [np.sin(np.pi * (c + 1) * t) + noise * rng.normal(size=t.shape) for c, t in zip(y, times, strict=True)], y


def distances(centers, X, divergence, gamma, **options):
    """(len(X), len(centers)) terms of the inertia."""
    centers, options = list(centers), {"cost": "sqeuclidean", **options}
    if divergence is False:
        return cdist_soft_dtw(centers, X, gamma, **options).T
    kind = "soft" if divergence is True else divergence
    return cdist_soft_dtw_divergence(centers, X, gamma, kind=kind, **options).T


# ---- Lloyd's iterations


def test_the_inertia_never_increases(divergence, rng):
    X, _ = collection(rng, 12, noise=1.0, divergence=divergence)
    parameters = {"gamma": 0.5, "random_state": 3, "divergence": divergence, "tol": 1e-9}
    inertias = [SoftDTWKMeans(3, max_iter=k, **parameters).fit(X).inertia_ for k in range(1, 5)]
    assert inertias[-1] < inertias[0]
    for before, after in itertools.pairwise(inertias):
        assert after <= before + 1e-9 * abs(before)


def test_each_series_belongs_to_its_nearest_center(divergence, rng):
    X, _ = collection(rng, noise=0.5, divergence=divergence)
    weights = rng.uniform(size=12)
    kmeans = SoftDTWKMeans(3, 0.5, divergence=divergence, random_state=0, max_iter=4).fit(X, sample_weight=weights)
    D = distances(kmeans.cluster_centers_, X, divergence, 0.5)
    assert_allclose(kmeans.transform(X), D, rtol=1e-9, atol=1e-12)
    assert_array_equal(kmeans.labels_, D.argmin(axis=1))
    assert_array_equal(kmeans.predict(X), kmeans.labels_)
    assert_allclose(kmeans.inertia_, weights @ D.min(axis=1), rtol=1e-9)
    assert_allclose(kmeans.score(X, sample_weight=weights), -kmeans.inertia_, rtol=1e-9)
    labels = kmeans.labels_.copy()
    assert_array_equal(kmeans.fit_predict(X, sample_weight=weights), labels)


def test_waves_are_told_apart(divergence, rng):
    X, y = collection(rng, 24, divergence=divergence)
    kmeans = SoftDTWKMeans(3, 0.1, divergence=divergence, n_init=3, random_state=0).fit(X)
    assert adjusted_rand_score(y, kmeans.labels_) == 1
    others, y = collection(rng, 12, divergence=divergence)
    assert adjusted_rand_score(y, kmeans.predict(others)) == 1


def test_centers_end_as_barycenters(rng):
    """No start of the barycenter of a cluster finds less than what the center has."""
    X, _ = collection(rng, 24)
    kmeans = SoftDTWKMeans(3, 0.5, n_init=3, random_state=0, tol=1e-10).fit(X)
    for k, center in enumerate(kmeans.cluster_centers_):
        mine = [x for x, label in zip(X, kmeans.labels_, strict=True) if label == k]
        again = soft_dtw_barycenter(mine, 0.5, init=center, divergence=True)
        before, after = (distances([c], mine, True, 0.5).mean() for c in (center, again))
        assert before <= after * (1 + 1e-3)


def test_options_reach_distances_and_centers(rng):
    X, _ = collection(rng, d=2)
    options = {"cost": "manhattan", "window": 4, "step_weights": (1.0, 2.0, 0.5), "regularizer": "l2"}
    kmeans = SoftDTWKMeans(1, 0.5, random_state=0, max_iter=1, length=10, **options).fit(X)
    assert_allclose(kmeans.transform(X), distances(kmeans.cluster_centers_, X, True, 0.5, **options), rtol=1e-9)
    (start,) = _first_centers(problem(X, 10, gamma=0.5, **options), 1, np.random.default_rng(0))
    moved = fit_soft_dtw_barycenter(X, 0.5, init=start, divergence=True, max_iter=_CENTER_ITERATIONS, **options)
    assert_allclose(kmeans.cluster_centers_, [moved.barycenter], rtol=1e-6, atol=1e-6)


def test_weights_draw_the_centers(rng):
    X, y = collection(rng, k=2)
    parameters = {"n_clusters": 1, "gamma": 0.5, "random_state": 0}
    for weights in (np.where(y == 0, 1.0, 0.0), np.where(y == 0, 1.0, 0.1)):
        found = SoftDTWKMeans(**parameters).fit(X, sample_weight=weights)
        even = SoftDTWKMeans(**parameters).fit(X)
        assert found.inertia_ < 0.9 * weights @ even.transform(X)[:, 0]
        assert len(found.labels_) == 12


def test_the_best_run_is_kept(rng):
    X, _ = collection(rng, 20, noise=1.0)
    parameters = {"gamma": 0.5, "max_iter": 3}
    state = np.random.default_rng(5)
    runs = [SoftDTWKMeans(4, random_state=state, **parameters).fit(X).inertia_ for _ in range(4)]
    best = SoftDTWKMeans(4, n_init=4, random_state=np.random.default_rng(5), **parameters).fit(X)
    assert len(set(runs)) > 1
    assert best.inertia_ == min(runs)


@pytest.mark.parametrize("state", [0, lambda: np.random.RandomState(3), lambda: np.random.default_rng(3)])
def test_equal_seeds_say_the_same(state, rng):
    X, _ = collection(rng, 20, noise=1.0)
    make = state if callable(state) else lambda: state
    first, second = (SoftDTWKMeans(4, random_state=make(), max_iter=2).fit(X) for _ in range(2))
    assert_array_equal(first.cluster_centers_, second.cluster_centers_)


def test_centers_have_one_length(rng):
    X, _ = collection(rng)
    assert SoftDTWKMeans(2, length=5, max_iter=1).fit(X).cluster_centers_.shape == (2, 5, 1)
    k, n, d = SoftDTWKMeans(2, max_iter=1).fit(X).cluster_centers_.shape
    assert (k, d) == (2, 1)
    assert min(map(len, X)) <= n <= max(map(len, X))


def test_iterations_end(rng):
    X, _ = collection(rng)
    assert SoftDTWKMeans(3, 0.5, random_state=0, max_iter=2, tol=0.0).fit(X).n_iter_ == 2
    assert SoftDTWKMeans(3, 0.5, random_state=0, tol=0.1).fit(X).n_iter_ < 10


def test_verbose_prints_each_iteration(rng, capsys):
    X, _ = collection(rng)
    kmeans = SoftDTWKMeans(2, random_state=0, verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == kmeans.n_iter_
    kmeans.set_params(verbose=0).fit(X)
    assert not capsys.readouterr().out
    assert lines[-1].startswith(f"k-means: iteration {kmeans.n_iter_}, inertia {kmeans.inertia_:.6g}")


# ---- first centers, empty clusters


def problem(X, length=11, weights=None, **parameters):
    weights = np.ones(len(X)) if weights is None else weights
    return _Problem(X, weights, objective_of(SoftDTWKMeans(**parameters)), length, 1e-6)


def test_first_centers_are_far_apart(divergence, rng):
    """Of three tight groups, k-means++ takes one series each; drawing blindly would do so in 2 of 9 cases."""
    X, y = collection(rng, 30, noise=0.001)
    lengths = [len(x) for x in X]
    for seed in range(10):
        centers = _first_centers(problem(X, divergence=divergence), 3, np.random.default_rng(seed))
        groups = {min(range(30), key=lambda i: distances([c], [X[i]], True, 1.0)[0, 0]) for c in centers}
        assert {y[i] for i in groups} == {0, 1, 2}
        assert {len(c) for c in centers} == {11}
    assert len(set(lengths)) > 1


def test_series_without_weight_are_not_drawn(rng):
    X, y = collection(rng, 30)
    weights = (y != 1).astype(float)
    for seed in range(10):
        centers = _first_centers(problem(X, weights=weights), 2, np.random.default_rng(seed))
        assert {y[i] for i in distances(centers, X, True, 1.0).argmin(axis=0)} == {0, 2}


def test_an_empty_cluster_gets_the_farthest_series(divergence, rng):
    X = [x[:9] for x in collection(rng, 12)[0]]
    given = problem(X, 9, divergence=divergence, gamma=0.01)
    centers = [X[0], X[0] + 1000.0, X[0] - 1000.0]  # all series are nearest to the first
    before = given.objective.matrix([X[0]], X).sum()
    labels, inertia = _assign(given, centers)
    assert set(labels) == {0, 1, 2}
    assert_array_equal(labels, distances(centers, X, divergence, 0.01).argmin(axis=1))
    assert inertia < before


def test_series_without_weight_hold_no_center(rng):
    X = [x[:9] for x in collection(rng, 12)[0]] + [np.full((9, 1), 50.0)]
    centers = [X[0], X[12]]
    _assign(problem(X, 9, np.append(np.ones(12), 0.0)), centers)
    assert centers[1] is not X[12]
    assert abs(centers[1]).max() < 10


def test_fewer_distinct_series_than_clusters(rng):
    X = [np.array([0.0, 1.0])] * 3 + [np.array([5.0, 5.0])] * 3
    with pytest.warns(ConvergenceWarning, match=r"only 2 of 4 clusters have series"):
        kmeans = SoftDTWKMeans(4, random_state=0).fit(X)
    assert kmeans.cluster_centers_.shape == (4, 2, 1)
    assert adjusted_rand_score([0, 0, 0, 1, 1, 1], kmeans.labels_) == 1
    assert_allclose(kmeans.inertia_, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_clusters": 13}, ValueError, r"n_clusters is 13, X has n_samples=12"),
        ({"n_clusters": 0}, ValueError, r"n_clusters is 0; expected an integer >= 1"),
        ({"n_clusters": 2.0}, TypeError, r"n_clusters is 2.0"),
        ({"n_init": 0}, ValueError, r"n_init is 0"),
        ({"max_iter": 0}, ValueError, r"max_iter is 0"),
        ({"tol": -1.0}, ValueError, r"tol is -1.0; expected a finite number >= 0"),
        ({"tol": np.nan}, ValueError, r"tol is nan"),
        ({"length": 0}, ValueError, r"length is 0"),
        ({"divergence": "hard"}, ValueError, r"divergence is 'hard'; expected False, True, 'soft', 'sharp' or 'mean'"),
        ({"random_state": "one"}, TypeError, r"random_state is 'one'"),
    ],
)
def test_wrong_parameters(parameters, error, message, rng):
    with pytest.raises(error, match=message):
        SoftDTWKMeans(**{"n_clusters": 2, **parameters}).fit(collection(rng)[0])
