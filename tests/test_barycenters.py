"""Barycenters: what is minimised, that it is minimised at least as well as by others, and where the search starts."""

import os
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import OPERATORS
from sklearn.exceptions import ConvergenceWarning

from sdtwkit import (
    _options,
    barycenters,
    dtw,
    dtw_barycenter_averaging,
    dtw_path,
    soft_dtw,
    soft_dtw_barycenter,
    soft_dtw_divergence,
)
from sdtwkit.barycenters import common_length, fit_soft_dtw_barycenter, resampled
from sdtwkit.costs import get_cost
from sdtwkit.datasets import load_watch_exercises

DIVERGENCES = [False, True, "soft", "sharp", "mean"]
GAMMA = 0.7
LENGTH = 8
SETTINGS = {
    "plain": {},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "radius": {"window": 2},
    "mask": {"window": np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH)) < 5},
    "euclidean": {"cost": "euclidean"},
    "cosine": {"cost": "cosine", "window": 3},
}


@pytest.fixture(params=DIVERGENCES, ids=str)
def divergence(request):
    return request.param


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


@pytest.fixture
def X(rng):
    """Five ragged series of two channels: noisy waves, so that barycenters mean something."""
    return [wave(rng, n) for n in (7, 8, 6, 8, 5)]


def wave(rng, n, d=2, noise=0.3):
    t = np.linspace(0, 1, n)[:, None] ** rng.uniform(0.7, 1.4)
    return np.sin(2 * np.pi * t + np.arange(d)) + noise * rng.normal(size=(n, d))


def objective(z, X, gamma=GAMMA, divergence=False, weights=None, cost="sqeuclidean", **options):
    """sum_i w_i f(z, X_i), by functions of pairs."""
    weights = np.full(len(X), 1 / len(X)) if weights is None else weights
    if divergence is False:
        return float(np.dot(weights, [soft_dtw(z, x, gamma, cost=cost, **options) for x in X]))
    kind = "soft" if divergence is True else divergence
    return float(np.dot(weights, [soft_dtw_divergence(z, x, gamma, kind=kind, cost=cost, **options) for x in X]))


def posed(X, length, weights=None, divergence=False, gamma=GAMMA, cost="sqeuclidean", n_jobs=None, **options):
    """The objective as L-BFGS gets it."""
    term, debias = barycenters._as_objective(divergence, get_cost(cost), _options.check_recursion(gamma, **options))
    collection = barycenters._Collection(X, None, weights, term.cost, n_jobs)
    return barycenters._Objective(collection, term, debias, length)


def fit_quietly(*args, **kwargs):
    """The barycenter, however far it came."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return soft_dtw_barycenter(*args, **kwargs)


def of_length(X, options):
    """All of one length where a mask wants it."""
    return [resampled(x, LENGTH) for x in X] if np.ndim(options.get("window")) else X


# ---- what is minimised


def test_gradients_are_derivatives(X, divergence, options, regularizer, rng):
    X, weights = of_length(X, options), rng.uniform(size=5)
    options = {"divergence": divergence, "regularizer": regularizer, **options}
    z, dz = rng.normal(size=(2, LENGTH, 2))
    function = posed(X, LENGTH, weights, **options)
    value, gradient = function(z)
    assert_allclose(value, objective(z, X, weights=weights, **options), rtol=1e-10)
    h = 1e-6
    slope = (function(z + h * dz)[0] - function(z - h * dz)[0]) / (2 * h)
    assert_allclose((gradient * dz).sum(), slope, rtol=1e-6, atol=1e-6)


def test_the_report_is_true(X, divergence, options, rng):
    X, weights = of_length(X, options), rng.uniform(size=5)
    options = {"weights": weights, "divergence": divergence, **options}
    start = resampled(X[0], min(len(x) for x in X))
    found = fit_soft_dtw_barycenter(X, GAMMA, init=start, max_iter=20, **options)
    assert found.barycenter.shape == start.shape
    assert found.history.shape == (found.n_iter + 1,)
    assert (np.diff(found.history) <= 0).all()
    assert found.history[0] > found.cost == found.history[-1]
    assert_allclose(found.cost, objective(found.barycenter, X, **options), rtol=1e-9)
    assert found.converged or found.n_iter == 20
    assert_array_equal(fit_quietly(X, GAMMA, init=start, max_iter=20, **options), found.barycenter)


def test_converged_barycenters_are_stationary(X, divergence):
    found = fit_soft_dtw_barycenter(X, GAMMA, length=6, divergence=divergence, tol=0, max_iter=2000)
    assert found.converged
    _, gradient = posed(X, 6, divergence=divergence)(found.barycenter)
    assert abs(gradient).max() < 1e-5


def test_hard_objectives_are_lowered(X, divergence):
    options = {"regularizer": None, "divergence": divergence}
    found = fit_soft_dtw_barycenter(X, init="mean", max_iter=30, **options)
    assert found.cost < found.history[0]
    assert_allclose(found.cost, objective(found.barycenter, X, **options), rtol=1e-10)


class Quartic:
    """A cost of the user's own: sum_k (x_k - y_k)^4."""

    def matrix(self, x, y):
        return ((x[:, None] - y) ** 4).sum(axis=2)

    def vjp(self, x, y, G):
        slope = 4 * G[:, :, None] * (x[:, None] - y) ** 3
        return slope.sum(axis=1), -slope.sum(axis=0)

    def jvp(self, x, y, dx, dy):
        return (4 * (x[:, None] - y) ** 3 * (dx[:, None] - dy)).sum(axis=2)


def test_costs_of_the_users_own(X, divergence):
    found = fit_soft_dtw_barycenter(X, GAMMA, divergence=divergence, cost=Quartic(), max_iter=30)
    assert_allclose(found.cost, objective(found.barycenter, X, divergence=divergence, cost=Quartic()), rtol=1e-9)
    assert found.cost < found.history[0]


@pytest.mark.parametrize("kind", DIVERGENCES[1:], ids=str)
def test_equal_series_have_themselves_as_barycenter_of_a_divergence(kind, rng):
    x = wave(rng, 9)
    for start in (x, x + 0.1 * rng.normal(size=x.shape)):
        found = fit_soft_dtw_barycenter([x] * 3, 0.1, init=start, divergence=kind, max_iter=1000, tol=1e-12)
        assert_allclose(found.barycenter, x, atol=1e-4)
        assert abs(found.cost) < 1e-9
    assert abs(objective(fit_quietly([x] * 3, 0.1, init=x), [x] * 3, 0.1, kind)) > 1e-3  # not so of soft-DTW itself


def test_the_mean_divergence_of_equal_lengths_has_the_mean_as_barycenter(rng):
    X, weights = rng.normal(size=(4, 9, 2)), rng.uniform(size=4)
    mean = np.average(X, axis=0, weights=weights)
    found = fit_soft_dtw_barycenter(X, weights=weights, init=X[0], divergence="mean", tol=1e-12, max_iter=1000)
    assert_allclose(found.barycenter, mean, atol=1e-4)


@pytest.mark.parametrize("gamma", [1e-6, 1e-3, 1e3, 1e6])
def test_every_gamma_is_finite(X, gamma, divergence, regularizer):
    options = {"divergence": divergence, "regularizer": regularizer, "max_iter": 20}
    found = fit_soft_dtw_barycenter(X, gamma, init="mean", **options)
    assert np.isfinite(found.barycenter).all()
    assert np.isfinite(found.history).all()
    assert found.n_iter >= 1
    assert found.cost < found.history[0]


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_unit_of_the_series_plays_no_part(X, scale, divergence):
    """Scaled series have scaled barycenters; a rule that compares the objective with 1 would stop too early or late."""
    expected = fit_soft_dtw_barycenter(X, GAMMA, divergence=divergence, max_iter=500)
    scaled = fit_soft_dtw_barycenter([scale * x for x in X], scale**2 * GAMMA, divergence=divergence, max_iter=500)
    assert expected.converged
    assert scaled.converged
    assert_allclose(scaled.cost / scale**2, expected.cost, rtol=1e-4)


@pytest.mark.parametrize(("n", "length", "d"), [(1, 1, 1), (1, 4, 3), (9, 1, 2), (30, 17, 1)])
def test_every_size(n, length, d, divergence, rng):
    X = [wave(rng, n, d) for _ in range(3)]
    found = fit_soft_dtw_barycenter(X, GAMMA, length=length, divergence=divergence, max_iter=15)
    assert found.barycenter.shape == (length, d)
    assert found.cost <= found.history[0]


# ---- weights and forms


def test_weights_are_taken_as_they_are(X):
    one = fit_soft_dtw_barycenter(X, GAMMA, weights=np.ones(5), init="mean", max_iter=5)
    by_default = fit_soft_dtw_barycenter(X, GAMMA, init="mean", max_iter=5)
    assert_allclose(one.history[0], 5 * by_default.history[0], rtol=1e-12)


def test_whole_weights_are_repetitions(X):
    start, weights = resampled(X[0], 7), [2, 0, 1, 3, 0]
    weighted = fit_soft_dtw_barycenter(X, GAMMA, weights=weights, init=start, divergence=True)
    repeated = [X[i] for i in (0, 0, 2, 3, 3, 3)]
    found = fit_soft_dtw_barycenter(repeated, GAMMA, weights=np.ones(6), init=start, divergence=True)
    assert_allclose(weighted.cost, found.cost, rtol=1e-4)


def test_the_order_of_the_series_plays_no_part(X, divergence, rng):
    order = rng.permutation(5)
    weights = rng.uniform(size=5)
    z = rng.normal(size=(6, 2))
    value, gradient = posed(X, 6, weights, divergence)(z)
    same, similar = posed([X[i] for i in order], 6, weights[order], divergence)(z)
    assert_allclose(same, value, rtol=1e-12)
    assert_allclose(similar, gradient, rtol=1e-10, atol=1e-12)


def test_padding_is_not_read(X, divergence):
    expected = fit_quietly(X, GAMMA, divergence=divergence, max_iter=10)
    padded = np.full((5, 9, 2), np.nan)
    for row, x in zip(padded, X, strict=True):
        row[: len(x)] = x
    assert_array_equal(fit_quietly(padded, GAMMA, divergence=divergence, max_iter=10), expected)
    lengths = [len(x) for x in X]
    padded = np.where(np.isnan(padded), 1e9, padded)
    assert_array_equal(fit_quietly(padded, GAMMA, divergence=divergence, lengths=lengths, max_iter=10), expected)
    averaged = dtw_barycenter_averaging(X)
    assert_array_equal(dtw_barycenter_averaging(padded, lengths=lengths), averaged)


def test_a_table_holds_univariate_series(rng):
    X = rng.normal(size=(4, 9))
    expected = fit_quietly([x[:, None] for x in X], max_iter=5)
    assert_array_equal(fit_quietly(X, max_iter=5), expected)
    assert_array_equal(fit_quietly([list(x) for x in X], max_iter=5), expected)
    assert_array_equal(fit_quietly(X, max_iter=5, init=X[0]), fit_quietly(X, max_iter=5, init=list(X[0])))


def test_float32_is_rounded_float64(X, divergence):
    narrow = [x.astype(np.float32) for x in X]
    for function, options in (
        (fit_quietly, {"divergence": divergence, "max_iter": 10}),
        (dtw_barycenter_averaging, {}),
    ):
        found = function(narrow, **options)
        assert found.dtype == np.float32
        assert_array_equal(found, function([x.astype(np.float64) for x in narrow], **options).astype(np.float32))


def test_inputs_are_not_modified(X):
    start, weights = resampled(X[0], 6), np.ones(5)
    arrays = [*X, start, weights]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    fit_quietly(X, init=start, weights=weights, max_iter=5)
    dtw_barycenter_averaging(X, init=start, weights=weights)
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)


# ---- starts and lengths


def started(X, init, **options):
    """One step from a start tells it, bit by bit."""
    return fit_quietly(X, GAMMA, init=init, max_iter=1, **options)


def test_mean(X):
    weights = np.array([1.0, 2.0, 0.0, 4.0, 1.0])
    parts = [[np.interp(np.linspace(0, 1, 6), np.linspace(0, 1, len(x)), c) for c in x.T] for x in X]
    mean = np.average(parts, axis=0, weights=weights).T
    found = fit_soft_dtw_barycenter(X, GAMMA, init="mean", length=6, weights=weights, max_iter=1)
    assert_allclose(found.history[0], objective(mean, X, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("cost", ["sqeuclidean", "manhattan", "cosine"])
def test_medoid(X, cost):
    weights = np.array([1.0, 2.0, 5.0, 0.0, 1.0])
    sums = [np.dot(weights, [dtw(x, y, cost=cost) for y in X]) for x in X]
    medoid = X[np.argmin([s if w else np.inf for s, w in zip(sums, weights, strict=True)])]
    options = {"weights": weights, "cost": cost, "length": 6}
    expected = started(X, resampled(medoid, 6), **options)
    assert_array_equal(started(X, "medoid", **options), expected)
    assert_array_equal(started(X, None, **options), expected)


def test_a_medoid_has_weight():
    """2 is nearest to 0, 1 and 5, but has no weight."""
    X, weights = np.repeat([[0.0], [1.0], [5.0], [2.0]], 6, axis=1), [1, 1, 1, 0]
    assert_array_equal(started(X, "medoid", weights=weights), started(X, X[1], weights=weights))


def test_the_medoid_of_many_series_is_sought_among_some(rng):
    X = [wave(rng, 5) for _ in range(120)]
    candidates = [X[i] for i in np.linspace(0, 119, barycenters._FEW).astype(int)]
    for init, those in ((None, candidates), ("medoid", X)):
        sums = [sum(dtw(x, y) for y in X) for x in those]
        assert_array_equal(started(X, init), started(X, those[np.argmin(sums)]))


def test_random_starts_are_series_of_positive_weight(X):
    weights = [0, 1, 0, 0.5, 0]
    options = {"weights": weights, "length": 5}
    possible = {started(X, resampled(X[i], 5), **options).tobytes() for i in (1, 3)}
    found = [started(X, "random", random_state=seed, **options).tobytes() for seed in range(12)]
    assert set(found) == possible
    assert found == [started(X, "random", random_state=seed, **options).tobytes() for seed in range(12)]


def test_dba_as_a_start(X):
    options = {"weights": np.arange(5.0), "length": 6}
    expected = started(X, dtw_barycenter_averaging(X, **options), weights=options["weights"])
    assert_array_equal(started(X, "dba", **options), expected)


def test_lengths(X):
    assert fit_quietly(X, max_iter=1).shape == (7, 2)  # the median
    assert fit_quietly(X[:4], max_iter=1).shape == (8, 2)  # 7.5
    assert fit_quietly(X, max_iter=1, length=11).shape == (11, 2)
    assert fit_quietly(X, max_iter=1, init=np.zeros((3, 2))).shape == (3, 2)
    assert fit_quietly(X, max_iter=1, init=np.zeros((3, 2)), length=3).shape == (3, 2)
    assert common_length(X) == 7
    assert common_length(X, 3) == 3
    assert common_length(X, divergence="mean") == 5
    assert fit_quietly(X, max_iter=1, divergence="mean").shape == (5, 2)


def test_resampled(rng):
    x = rng.normal(size=(7, 2)).astype(np.float32)
    same = resampled(x, 7)
    assert_array_equal(same, x)
    assert not np.shares_memory(same, x)
    assert resampled(x, 4).dtype == np.float32
    assert_array_equal(resampled(x, 4), x[::2])
    assert_allclose(resampled(x, 13)[1::2], (x[1:] + x[:-1]) / 2, rtol=1e-6)
    assert_array_equal(resampled(x[:1], 3), x[[0, 0, 0]])


# ---- the run


def test_callback_sees_each_iteration(X):
    seen = []
    found = fit_soft_dtw_barycenter(X, GAMMA, callback=lambda *args: seen.append(args))
    assert [k for k, _, _ in seen] == list(range(1, found.n_iter + 1))
    assert_array_equal([cost for _, _, cost in seen], found.history[1:])
    assert_array_equal(seen[-1][1], found.barycenter)
    assert_allclose(seen[2][2], objective(seen[2][1], X), rtol=1e-10)


def test_what_a_callback_does_to_its_copy_stays_there(X):
    def spoil(k, z, cost):
        z[:] = np.nan

    expected, found = fit_soft_dtw_barycenter(X, GAMMA), fit_soft_dtw_barycenter(X, GAMMA, callback=spoil)
    assert_array_equal(found.history, expected.history)
    assert_array_equal(found.barycenter, expected.barycenter)


def test_callback_may_end_the_run(X):
    def enough(k, z, cost):
        if k == 3:
            raise StopIteration

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = soft_dtw_barycenter(X, GAMMA, callback=enough)
    found = fit_soft_dtw_barycenter(X, GAMMA, callback=enough)
    assert (found.n_iter, found.converged) == (3, False)
    assert "callback" in found.message
    assert_array_equal(z, found.barycenter)
    assert_array_equal(z, fit_quietly(X, GAMMA, max_iter=3))


def test_other_errors_of_a_callback_come_through(X):
    def fail(k, z, cost):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        soft_dtw_barycenter(X, callback=fail)


def test_verbose_prints_each_iteration(X, capsys):
    found = fit_soft_dtw_barycenter(X, GAMMA, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == found.n_iter
    assert lines[-1] == f"soft-DTW barycenter: iteration {found.n_iter}, cost {found.cost:.6g}"
    fit_soft_dtw_barycenter(X, GAMMA)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("function", [soft_dtw_barycenter, dtw_barycenter_averaging])
def test_max_iter_warns_and_convergence_does_not(function, X):
    with pytest.warns(
        ConvergenceWarning, match="has not converged within max_iter=1; increase max_iter or tol"
    ) as seen:
        function(X, init="mean", max_iter=1)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(X, init="mean", max_iter=1000)
        fit_soft_dtw_barycenter(X, max_iter=1)


def test_tolerance(X):
    results = [fit_soft_dtw_barycenter(X, GAMMA, tol=tol, max_iter=1000) for tol in (1e-2, 1e-4, 1e-8)]
    assert results[0].n_iter < results[1].n_iter < results[2].n_iter
    start = resampled(X[0], 6)
    found = fit_soft_dtw_barycenter(X, GAMMA, init=start, tol=1e-3, max_iter=1000)
    allowed = 1e-3 * np.mean([dtw(start, x) for x in X])
    together = found.history[:-2] - found.history[2:]
    assert together[-1] <= allowed < together[:-1].min()


def test_a_start_without_gradient_is_the_end(rng):
    x = wave(rng, 6)
    found = fit_soft_dtw_barycenter([x], 0.5, init=x, divergence=True)
    assert_array_equal(found.barycenter, x)
    assert (found.n_iter, found.converged, found.cost) == (0, True, 0.0)


# ---- threads and workers


def test_threads_change_no_bit(X, divergence):
    X = X * 8
    expected = fit_quietly(X, GAMMA, divergence=divergence, max_iter=5)
    for n_jobs in (1, 2, -1):
        assert_array_equal(fit_quietly(X, GAMMA, divergence=divergence, max_iter=5, n_jobs=n_jobs), expected)
    assert_array_equal(dtw_barycenter_averaging(X, n_jobs=2), dtw_barycenter_averaging(X))


def test_blocks_add_up(X, options, divergence, monkeypatch, rng):
    X, z = of_length(X, options), rng.normal(size=(LENGTH, 2))
    options = {"divergence": divergence, **options}
    weights = rng.uniform(size=5)
    value, gradient = posed(X, LENGTH, weights, **options)(z)
    monkeypatch.setattr(barycenters, "_BLOCK_CELLS", 100)
    function = posed(X, LENGTH, weights, **options)
    assert len(function.parts) > 2
    same, similar = function(z)
    assert_allclose(same, value, rtol=1e-12)
    assert_allclose(similar, gradient, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def client():
    """Of a dask cluster on this machine: two processes of one thread each."""
    distributed = pytest.importorskip("distributed", reason="the cluster of this test is dask's")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("backend", ["dask", "loky"])
def test_workers_change_no_bit(X, backend, monkeypatch, request):
    joblib = pytest.importorskip("joblib", reason="nothing is split without joblib")
    if backend == "dask":
        request.getfixturevalue("client")
    config = {"backend": backend} if backend == "dask" else {"backend": backend, "n_jobs": 2}
    monkeypatch.setattr(barycenters, "_BLOCK_CELLS", 100)
    for function, options in (
        (fit_quietly, {"max_iter": 3, "divergence": "sharp"}),
        (fit_quietly, {"max_iter": 2, "init": "mean", "cost": "cosine"}),
        (dtw_barycenter_averaging, {"init": "medoid", "window": 2}),
    ):
        expected = function(X, **options)
        with joblib.parallel_config(**config):
            assert_array_equal(function(X, **options), expected)


def test_a_killed_worker_loses_nothing(X, client, monkeypatch):
    joblib = pytest.importorskip("joblib", reason="nothing is split without joblib")
    client.wait_for_workers(2, timeout=60)
    victims = list(client.run(os.getpid).values())
    monkeypatch.setattr(barycenters, "_BLOCK_CELLS", 100)

    def kill(k, z, cost):
        if k == 2:
            os.kill(victims[0], 9)

    expected = fit_quietly(X, GAMMA, max_iter=4)
    with joblib.parallel_config(backend="dask"):
        assert_array_equal(fit_quietly(X, GAMMA, max_iter=4, callback=kill), expected)


# ---- beside others


def recordings(count=3):
    """Recordings of one exercise: two channels, scaled, at half the rate."""
    data = load_watch_exercises()
    X = [data.data[i][::2, :2] for i in np.flatnonzero(data.target == 0)[:count]]
    return [(x - x.mean(axis=0)) / x.std(axis=0) for x in X]


def trace(count=3):
    datasets = pytest.importorskip("tslearn.datasets", reason="tslearn carries the data")
    series, labels, _, _ = datasets.CachedDatasets().load_dataset("Trace")
    return list(series[labels == 1][:count])


def others(X, gamma, weights, start, **stop):
    """Barycenters by the peers that are installed."""
    found = {}
    try:
        from tslearn.barycenters import softdtw_barycenter

        found["tslearn"] = softdtw_barycenter(X, gamma, weights, init=start, **stop)
    except ImportError:
        pass
    try:
        from sdtw.barycenter import sdtw_barycenter

        found["soft-dtw"] = sdtw_barycenter(X, start, gamma, weights, **stop)
    except ImportError:
        pass
    return found


@pytest.mark.parametrize("data", [recordings, trace])
@pytest.mark.parametrize("gamma", [1.0, 0.1, 0.01])
def test_objectives_are_not_above_those_of_others(data, gamma, rng):
    """From the same start, within the same iterations, with the same tolerance or none."""
    X = data()
    weights, start = rng.uniform(0.5, 1, len(X)), resampled(X[0], 50)
    for stop in ({"max_iter": 10, "tol": 0}, {"max_iter": 25, "tol": 1e-6}):
        found = others(X, gamma, weights, start, **stop)
        if not found:
            pytest.skip("neither tslearn nor soft-dtw is installed")
        ours = objective(fit_quietly(X, gamma, weights=weights, init=start, **stop), X, gamma, weights=weights)
        for z in found.values():
            theirs = objective(z, X, gamma, weights=weights)
            assert ours <= theirs + 1e-4 * abs(theirs)


@pytest.mark.parametrize("data", [recordings, trace])
def test_averages_are_not_above_those_of_others(data, rng):
    tslearn = pytest.importorskip("tslearn.barycenters", reason="the peer of DBA")
    X = data()
    weights, start = rng.uniform(0.5, 1, len(X)), resampled(X[0], 50)
    for max_iter in (3, 30):
        ours = quietly_averaged(X, weights=weights, init=start, max_iter=max_iter)
        theirs = tslearn.dtw_barycenter_averaging(X, init_barycenter=start, max_iter=max_iter, weights=weights)
        ours, theirs = (np.dot(weights, [dtw(z, x) for x in X]) for z in (ours, theirs))
        assert ours <= theirs * (1 + 1e-4)


# ---- DBA


def quietly_averaged(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return dtw_barycenter_averaging(*args, **kwargs)


def averaged_once(z, X, weights, window=None):
    """The slow twin of an iteration."""
    sums, matched = np.zeros_like(z), np.zeros(len(z))
    for w, x in zip(weights, X, strict=True):
        for i, j in dtw_path(z, x, window=window)[0]:
            sums[i] += w * x[j]
            matched[i] += w
    return sums / matched[:, None]


@pytest.mark.parametrize("window", [None, 1, 3])
def test_samples_become_means_of_what_they_match(X, window, rng):
    z, weights = rng.normal(size=(6, 2)), rng.uniform(size=5)
    for _ in range(3):
        z_next = averaged_once(z, X, weights, window)
        found = quietly_averaged(X, init=z, weights=weights, window=window, max_iter=1)
        assert_allclose(found, z_next, rtol=1e-10, atol=1e-12)
        z = z_next
    start = rng.normal(size=(6, 2))
    expected = averaged_once(averaged_once(start, X, weights, window), X, weights, window)
    found = quietly_averaged(X, init=start, weights=weights, window=window, max_iter=2, tol=0)
    assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("window", [None, 2, np.abs(np.arange(12)[:, None] - np.arange(14)) < 6])
def test_averaging_never_raises_the_objective(window, rng):
    X = [wave(rng, 14, noise=0.8) for _ in range(12)]
    weights = rng.uniform(size=12)
    start, costs = rng.normal(size=(12, 2)), []
    for max_iter in range(1, 9):
        z = quietly_averaged(X, init=start, weights=weights, window=window, max_iter=max_iter, tol=0)
        costs.append(np.dot(weights, [dtw(z, x, window=window) for x in X]))
    assert (np.diff(costs) <= 1e-12 * costs[0]).all()
    assert costs[-1] < costs[0] < np.dot(weights, [dtw(start, x, window=window) for x in X])


def test_averaging_ends_at_a_fixed_point(X):
    z = dtw_barycenter_averaging(X, tol=0, max_iter=1000)
    assert_allclose(averaged_once(z, X, np.ones(5)), z, rtol=1e-12, atol=1e-12)
    assert_array_equal(dtw_barycenter_averaging(X, init=z), z)


def test_averaging_ends_within_a_share_of_the_objective(rng):
    X = rng.normal(size=(12, 14))
    steps = [quietly_averaged(X, tol=0, max_iter=max_iter) for max_iter in range(1, 7)]
    costs = [np.mean([dtw(z[:, 0], x) for x in X]) for z in steps]
    gains = -np.diff(costs) / costs[1:]
    tol = (gains[0] + gains[1]) / 2
    assert gains[1] < tol < gains[0]
    for scale in (2.0**-20, 1.0, 2.0**20):
        assert_array_equal(dtw_barycenter_averaging(scale * X, tol=tol), scale * steps[2])


def test_both_costs_have_the_same_averages(X):
    assert_array_equal(dtw_barycenter_averaging(X, cost="half_sqeuclidean"), dtw_barycenter_averaging(X))


def test_the_average_of_one_series_is_that_series(X):
    assert_allclose(dtw_barycenter_averaging(X[:1]), X[0], rtol=1e-12)


# ---- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weights": np.ones(4)}, ValueError, r"weights has shape \(4,\); expected \(5,\), one weight for each of 5"),
        ({"weights": np.ones((5, 1))}, ValueError, r"weights has shape \(5, 1\); expected \(5,\)"),
        ({"weights": [1, 1, -1, 1, 1]}, ValueError, r"weights\[2\] is -1; expected finite numbers >= 0"),
        ({"weights": [1, 1, 1, np.nan, 1]}, ValueError, r"weights\[3\] is nan; expected finite numbers >= 0"),
        ({"weights": [np.inf, 1, 1, 1, 1]}, ValueError, r"weights\[0\] is inf; expected finite"),
        ({"weights": np.zeros(5)}, ValueError, r"weights is zero throughout; expected at least one weight > 0"),
        ({"weights": ["a"] * 5}, TypeError, r"weights has dtype <U1; expected real numbers"),
        ({"weights": np.ones(5, complex)}, TypeError, r"weights has dtype complex128"),
        ({"init": np.zeros((6, 3))}, ValueError, r"X\[0\] has 2 channels, init has 3"),
        ({"init": np.zeros((2, 6, 2))}, ValueError, r"X\[0\] is one series, init is a collection of 2"),
        ({"init": np.zeros((0, 2))}, ValueError, r"init has shape \(0, 2\), that is no rows"),
        ({"init": np.full((3, 2), np.nan)}, ValueError, r"init holds NaN at time 0, channel 0"),
        ({"init": "median"}, ValueError, r"init is 'median'; expected None, 'medoid', 'random', 'mean'"),
        ({"init": 3}, ValueError, r"init has shape \(\)"),
        ({"init": np.zeros((6, 2)), "length": 5}, ValueError, r"length is 5, init has 6 rows; expected no length, or"),
        ({"length": 0}, ValueError, r"length is 0; expected an integer >= 1"),
        ({"length": 2.5}, TypeError, r"length is 2.5, of type float; expected an integer >= 1"),
        ({"init": np.zeros((6, 2)), "length": "6"}, TypeError, r"length is '6', of type str"),
        ({"max_iter": 0}, ValueError, r"max_iter is 0; expected an integer >= 1"),
        ({"max_iter": 1.5}, TypeError, r"max_iter is 1.5, of type float"),
        ({"tol": -1e-3}, ValueError, r"tol is -0.001; expected a finite number >= 0"),
        ({"tol": np.nan}, ValueError, r"tol is nan; expected a finite number >= 0"),
        ({"tol": "small"}, TypeError, r"tol is 'small', of type str"),
        ({"random_state": -1, "init": "random"}, ValueError, r"random_state is -1"),
        ({"lengths": [1, 2]}, ValueError, r"lengths has shape \(2,\); expected \(5,\)"),
        ({"n_jobs": 0}, ValueError, r"n_jobs is 0"),
        ({"window": np.ones((4, 8), bool)}, ValueError, r"window is a mask of shape \(4, 8\); expected .*\(7, 8\)"),
        ({"cost": "nothing"}, ValueError, r"cost is 'nothing'; expected"),
    ],
    ids=str,
)
@pytest.mark.parametrize("function", [soft_dtw_barycenter, dtw_barycenter_averaging])
def test_wrong_arguments(function, options, error, message, X):
    with pytest.raises(error, match=message):
        function(X, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"divergence": "hard"}, ValueError, r"divergence is 'hard'; expected False, True, 'soft', 'sharp' or 'mean'"),
        ({"divergence": None}, TypeError, r"divergence is None; expected False"),
        ({"divergence": 1}, TypeError, r"divergence is 1; expected False"),
        (
            {"callback": "print"},
            TypeError,
            r"callback is 'print', of type str; expected None or a function",
        ),
        ({"gamma": 0}, ValueError, r"gamma is 0"),
        ({"regularizer": "l1"}, ValueError, r"regularizer is 'l1'"),
        ({"cost": "precomputed"}, ValueError, r"does not compare two series"),
        ({"cost": "nll"}, ValueError, r"does not compare two series"),
        ({"cost": "bce"}, ValueError, r"X\[0\] holds .* expected targets in \[0, 1\] for cost 'bce'"),
        ({"cost": "bce", "divergence": True}, ValueError, r"not compare any two series.*expected divergence=False"),
        (
            {"window": np.ones((7, 8), bool), "divergence": True},
            ValueError,
            r"window is a mask of shape \(7, 8\), which",
        ),
    ],
    ids=str,
)
def test_wrong_arguments_of_soft_barycenters(options, error, message, X):
    with pytest.raises(error, match=message):
        soft_dtw_barycenter(X, **options)


@pytest.mark.parametrize("cost", ["euclidean", "cosine", Quartic()])
def test_averages_need_a_cost_that_means_minimise(cost, X):
    with pytest.raises((ValueError, TypeError), match=r"cost is .*; expected 'sqeuclidean' or 'half_sqeuclidean'"):
        dtw_barycenter_averaging(X, cost=cost)
    with pytest.raises(ValueError, match="init is 'dba'; expected"):
        dtw_barycenter_averaging(X, init="dba")


def test_targets_of_cross_entropy_have_logits_as_barycenter(rng):
    X = rng.uniform(size=(4, 6, 2))
    found = fit_soft_dtw_barycenter(X, GAMMA, cost="bce", init=np.zeros((6, 2)))
    assert found.cost < found.history[0]


def test_windows_without_a_path_name_the_series(rng):
    X = [rng.normal(size=n) for n in (6, 6, 4)]
    window = np.eye(6, dtype=bool)
    for function in (soft_dtw_barycenter, dtw_barycenter_averaging):
        with pytest.raises(ValueError, match=r"no path is admissible between the barycenter and X\[2\]"):
            function(X, window=window, init=np.zeros(6))
    blocked = np.ones((6, 6), bool)
    blocked[5, 5] = False
    with pytest.raises(ValueError, match=r"no path is admissible between X\[0\] and itself"):
        soft_dtw_barycenter(X, window=blocked, init=np.zeros(6), divergence=True)
    with pytest.raises(ValueError, match=r"no path is admissible between the barycenter and itself"):
        soft_dtw_barycenter(np.zeros((2, 6)), lengths=[4, 4], window=blocked, init=np.zeros(6), divergence=True)


def test_objectives_without_a_minimum_are_refused(rng):
    X = [wave(rng, n) for n in (7, 8, 6)]
    for options in ({"divergence": "mean", "length": 12}, {"cost": "neg_dot"}):
        with pytest.raises(ValueError, match="the objective has no minimum: it falls as the barycenter grows"):
            fit_soft_dtw_barycenter(X, GAMMA, max_iter=1000, **options)
    assert fit_soft_dtw_barycenter(X, GAMMA, divergence="mean", length=6, max_iter=1000).converged
    assert fit_soft_dtw_barycenter(X, GAMMA, divergence=True, cost="neg_dot", max_iter=1000).converged
