"""Distances between collections, their nearest neighbors, and nearest centroids."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import DBSCAN
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sdtwkit import (
    AlignmentDistance,
    NearestSoftCentroid,
    SoftDTWBarycenter,
    SoftDTWKNeighborsClassifier,
    dtw,
    soft_dtw,
    soft_dtw_barycenter,
    soft_dtw_divergence,
)

# What each metric is between two series, and the local cost it has where none is given.
METRICS = {
    "soft_dtw_divergence": (soft_dtw_divergence, "half_sqeuclidean"),
    "sharp_divergence": (lambda *a, **k: soft_dtw_divergence(*a, kind="sharp", **k), "half_sqeuclidean"),
    "mean_divergence": (lambda *a, **k: soft_dtw_divergence(*a, kind="mean", **k), "half_sqeuclidean"),
    "soft_dtw": (soft_dtw, "sqeuclidean"),
    "dtw": (lambda *a, gamma, regularizer, **k: dtw(*a, **k), "sqeuclidean"),
}
SETTINGS = {
    "plain": {},
    "cost": {"cost": "euclidean"},
    "l2": {"regularizer": "l2"},
    "window": {"window": 2},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
}


@pytest.fixture(params=METRICS)
def metric(request):
    return request.param


def collection(rng, lengths=(7, 5, 8, 6, 7, 9), d=2):
    return [rng.normal(size=(n, d)) for n in lengths]


def classes(rng, n=12, noise=0.3):
    """Ragged bumps and dips, and their names."""
    y = np.array(["bump", "dip"])[np.arange(n) % 2]
    sign = np.where(y == "bump", 1, -1)
    lengths = rng.integers(6, 12, n)
    X = [s * np.sin(np.linspace(0, np.pi, m)) + noise * rng.normal(size=m) for s, m in zip(sign, lengths, strict=True)]
    return X, y


def matrix(X, Y, metric, gamma=1.0, **options):
    """The distances pair by pair."""
    function, cost = METRICS[metric]
    options = {"cost": cost, "regularizer": "entropy", **options}
    return np.array([[function(x, y, gamma=gamma, **options) for y in Y] for x in X])


# ---- distances


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_distances_are_those_of_pairs(metric, options, rng):
    X, Y = collection(rng), collection(rng, (4, 8, 6))
    found = AlignmentDistance(metric, 0.3, **options).fit(X).transform(Y)
    assert found.shape == (3, 6)
    assert_allclose(found, matrix(Y, X, metric, 0.3, **options), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_fit_transform_is_fit_and_transform(metric, options, rng):
    X = collection(rng)
    distance = AlignmentDistance(metric, 0.3, **options)
    assert_allclose(distance.fit_transform(X), distance.fit(X).transform(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("kind", ["soft", "sharp", "mean"])
def test_rounding_leaves_no_negatives(kind, gamma, dtype, rng):
    X = [x.astype(dtype) for x in collection(rng, 12 * (30,), d=1)]
    nearly = [(x * (1 + 1e-15 * rng.normal(size=x.shape))).astype(dtype) for x in X]
    metric = "soft_dtw_divergence" if kind == "soft" else f"{kind}_divergence"
    found = AlignmentDistance(metric, gamma).fit(X).transform(nearly)
    assert (found >= 0).all()
    values = soft_dtw_divergence(nearly, X, gamma, kind=kind)
    terms = soft_dtw_divergence(nearly, X, gamma, kind=kind, debias=False)
    assert (abs(np.diag(found) - values) <= 1e-10 * abs(terms)).all()
    if dtype == np.float64 and gamma == 1.0:
        assert (values < 0).any()  # else this would say nothing


def test_real_negatives_stay(rng):
    """With a cost that is no distance a divergence can be negative, and says so."""
    X, Y = collection(rng), collection(rng, (4, 8, 6))
    expected = matrix(Y, X, "soft_dtw_divergence", cost=LikesDifferences())
    assert expected.min() < -1
    found = AlignmentDistance(cost=LikesDifferences()).fit(X).transform(Y)
    assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_mean_divergence_may_be_negative_between_unequal_lengths():
    """As a function of x, D(x, 0) is a quadratic form: positive definite where x is no longer than the other."""
    signs = [(-1.0) ** np.arange(n) for n in range(2, 9)]
    found = AlignmentDistance("mean_divergence").fit([np.zeros(5)]).transform(signs)[:, 0]
    assert (found[:4] > 0).all()
    assert (found[5:] < 0).all()


class LikesDifferences:
    """Minus the squared distance."""

    def matrix(self, x, y):
        return -((x[:, None] - y) ** 2).sum(axis=2)

    def vjp(self, x, y, G):
        raise NotImplementedError

    def jvp(self, x, y, dx, dy):
        raise NotImplementedError


def test_soft_dtw_may_be_negative_and_precomputed_neighbors_say_so(rng):
    X, y = classes(rng)
    assert (AlignmentDistance("soft_dtw").fit_transform(X) < 0).any()
    pipeline = make_pipeline(AlignmentDistance("soft_dtw"), KNeighborsClassifier(1, metric="precomputed"))
    with pytest.raises(ValueError, match="Negative values"):
        pipeline.fit(X, y).predict(X)


def test_precomputed_estimators_follow_in_a_pipeline(rng):
    X, y = classes(rng, 24)
    knn = make_pipeline(AlignmentDistance(), KNeighborsClassifier(3, metric="precomputed"))
    assert_array_equal(cross_val_score(knn, X, y, cv=3), 1)
    search = GridSearchCV(knn, {"alignmentdistance__metric": list(METRICS)[:3], "alignmentdistance__gamma": [0.1, 1.0]})
    assert search.fit(X, y).best_score_ == 1
    labels = make_pipeline(AlignmentDistance(gamma=0.1), DBSCAN(eps=1.5, metric="precomputed")).fit_predict(X)
    assert len(set(labels[y == "dip"]) & set(labels[y == "bump"])) == 0


def test_a_mask_is_for_all_pairs(rng):
    X = collection(rng, (6, 6, 6))
    mask = abs(np.subtract.outer(np.arange(6), np.arange(6))) < 3
    found = AlignmentDistance(window=mask).fit(X).transform(X)
    assert_allclose(found, matrix(X, X, "soft_dtw_divergence", window=mask), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [AlignmentDistance, SoftDTWKNeighborsClassifier])
@pytest.mark.parametrize(("metric", "error"), [("euclidean", ValueError), (None, TypeError), (3, TypeError)])
def test_unknown_metrics(kind, metric, error, rng):
    X, y = classes(rng)
    with pytest.raises(error, match=r"metric is .*; expected 'soft_dtw_divergence', 'sharp_divergence'"):
        kind(metric=metric).fit(X, y)


# ---- neighbors


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("n_neighbors", [1, 4, 12])
@pytest.mark.parametrize("metric", [name for name in METRICS if name != "soft_dtw"])
def test_votes_are_those_of_scikit_learn(metric, n_neighbors, weights, rng):
    X, y = classes(rng, noise=1.0)
    queries = classes(rng, noise=1.0)[0] + X[:2]  # some are series of the training set, at distance 0
    own = SoftDTWKNeighborsClassifier(n_neighbors, 0.3, metric=metric, weights=weights).fit(X, y)
    distance = AlignmentDistance(metric, 0.3).fit(X)
    twin = KNeighborsClassifier(n_neighbors, metric="precomputed", weights=weights).fit(distance.transform(X), y)
    D = distance.transform(queries)
    for found, expected in zip(own.kneighbors(queries), twin.kneighbors(D), strict=True):
        assert_allclose(found, expected, rtol=1e-12)
    assert_allclose(own.predict_proba(queries), twin.predict_proba(D), rtol=1e-9)
    assert_array_equal(own.predict(queries), twin.predict(D))
    assert own.score(queries, np.resize(y, 14)) == twin.score(D, np.resize(y, 14))


def test_soft_dtw_orders_neighbors_though_negative(rng):
    X, y = classes(rng, noise=1.0)
    queries = classes(rng, noise=1.0)[0]
    values = matrix([q[:, None] for q in queries], [x[:, None] for x in X], "soft_dtw", 2.0)
    assert (values < 0).any()
    knn = SoftDTWKNeighborsClassifier(3, 2.0, metric="soft_dtw").fit(X, y)
    distances, indices = knn.kneighbors(queries)
    assert_array_equal(indices, np.argsort(values, axis=1)[:, :3])
    assert_allclose(distances, np.sort(values, axis=1)[:, :3], rtol=1e-10)
    votes = (y[indices] == "dip").sum(axis=1)
    assert_array_equal(knn.predict(queries) == "dip", votes >= 2)


def test_neighbors_within_the_training_set_are_others(metric, rng):
    X, y = classes(rng)
    knn = SoftDTWKNeighborsClassifier(2, metric=metric).fit(X, y)
    distances, indices = knn.kneighbors()
    assert not (indices == np.arange(len(X))[:, None]).any()
    D = matrix([x[:, None] for x in X], [x[:, None] for x in X], metric)
    np.fill_diagonal(D, np.inf)
    assert_allclose(distances, np.sort(D, axis=1)[:, :2], rtol=1e-9, atol=1e-12)
    assert_array_equal(knn.kneighbors(return_distance=False), indices)
    assert knn.kneighbors(X, 5)[1].shape == (12, 5)


def test_equally_near_series_are_taken_in_order():
    X = [[1.0, 2.0]] * 3 + [[0.0, 0.0]] + [[1.0, 2.0]] * 3
    knn = SoftDTWKNeighborsClassifier(4).fit(X, [0, 1, 2, 3, 4, 5, 6])
    assert knn.kneighbors([[1.0, 2.0]])[1].tolist() == [[0, 1, 2, 4]]
    assert knn.predict([[1.0, 2.0]]) == 0


def test_distances_beyond_the_range_of_their_inverses():
    X, y = [[0.0], [1e-160], [3e-160]], ["a", "b", "b"]
    knn = SoftDTWKNeighborsClassifier(2, metric="dtw", weights="distance").fit(X[1:], y[1:])
    assert_allclose(knn.predict_proba([[0.0]]), [[1.0]])
    knn = SoftDTWKNeighborsClassifier(3, metric="dtw", weights="distance").fit(X, y)
    assert_allclose(knn.predict_proba([[0.0]]), [[1.0, 0.0]])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_neighbors": 0}, ValueError, r"n_neighbors is 0; expected an integer >= 1"),
        ({"n_neighbors": 1.5}, TypeError, r"n_neighbors is 1.5"),
        ({"weights": "linear"}, ValueError, r"weights is 'linear'; expected 'uniform' or 'distance'"),
        ({"weights": np.ones(3)}, TypeError, r"weights is array.*; expected 'uniform' or 'distance'"),
        ({"weights": None}, TypeError, r"weights is None"),
        ({"weights": "distance", "metric": "soft_dtw"}, ValueError, r"metric 'soft_dtw' may be negative"),
    ],
)
def test_wrong_parameters_of_neighbors(parameters, error, message, rng):
    with pytest.raises(error, match=message):
        SoftDTWKNeighborsClassifier(**parameters).fit(*classes(rng))


@pytest.mark.parametrize(("queries", "most"), [(True, 12), (False, 11)])
def test_more_neighbors_than_series(queries, most, rng):
    X, y = classes(rng)
    knn = SoftDTWKNeighborsClassifier(20).fit(X, y)
    with pytest.raises(ValueError, match=rf"n_neighbors is 20; expected at most {most}"):
        knn.kneighbors(X if queries else None)


# ---- centroids


@pytest.mark.parametrize("divergence", [False, True, "soft", "sharp", "mean"])
def test_centroids_are_barycenters_of_classes(divergence, rng):
    X, y = classes(rng)
    weights = rng.uniform(size=12)
    nearest = NearestSoftCentroid(0.3, divergence=divergence, length=6).fit(X, y, weights)
    assert nearest.centroids_.shape == (2, 6, 1)
    assert nearest.classes_.tolist() == ["bump", "dip"]
    for name, centroid in zip(nearest.classes_, nearest.centroids_, strict=True):
        mine = np.flatnonzero(y == name)
        shares = weights[mine] / weights[mine].sum()
        expected = soft_dtw_barycenter([X[i] for i in mine], 0.3, weights=shares, divergence=divergence, length=6)
        assert_array_equal(centroid, expected)
    queries = classes(rng)[0]
    if divergence is False:
        values = [[soft_dtw(c, q[:, None], 0.3) for c in nearest.centroids_] for q in queries]
    else:
        options = {"kind": "soft" if divergence is True else divergence, "cost": "sqeuclidean"}
        values = [[soft_dtw_divergence(c, q[:, None], 0.3, **options) for c in nearest.centroids_] for q in queries]
    assert_array_equal(nearest.predict(queries), nearest.classes_[np.argmin(values, axis=1)])


def test_a_class_without_weight_is_none(rng):
    X, y = classes(rng)
    nearest = NearestSoftCentroid().fit(X, y, sample_weight=(y == "dip").astype(float))
    assert nearest.classes_.tolist() == ["dip"]
    assert set(nearest.predict(X)) == {"dip"}


def test_centroids_of_ragged_classes_have_one_length(rng):
    X = [rng.normal(size=n) for n in (4, 4, 9, 9)]
    nearest = NearestSoftCentroid().fit(X, [0, 0, 1, 1])
    assert nearest.centroids_.shape[0::2] == (2, 1)
    assert nearest.centroids_.shape[1] in range(4, 10)


@pytest.mark.parametrize("kind", [NearestSoftCentroid, SoftDTWBarycenter])
def test_too_few_iterations_are_told(kind, rng):
    X, y = classes(rng)
    with pytest.warns(ConvergenceWarning, match=r"not converged within max_iter=1; increase max_iter") as seen:
        kind(max_iter=1).fit(X, y)
    assert [warning.filename for warning in seen] == [__file__]


@pytest.mark.parametrize(("divergence", "error"), [("hard", ValueError), (None, TypeError), (1, TypeError)])
def test_unknown_divergences(divergence, error, rng):
    with pytest.raises(error, match=r"divergence is .*; expected False, True, 'soft', 'sharp' or 'mean'"):
        NearestSoftCentroid(divergence=divergence).fit(*classes(rng))
