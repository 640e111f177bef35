"""Long work in the workers of joblib's backends: the same bits as in one process, and nothing lost with a worker."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sdtwkit import SoftDTWKMeans, _arrays, _backend, _blocks, barycenters, cdist_dtw, cdist_soft_dtw, cluster, pairwise
from sdtwkit.pairwise import cdist_soft_dtw_divergence

joblib = pytest.importorskip("joblib", reason="nothing is split without joblib")
parallel_config = joblib.parallel_config
FUNCTIONS = [cdist_dtw, cdist_soft_dtw, cdist_soft_dtw_divergence]


@pytest.fixture(scope="module")
def client():
    """Of a dask cluster on this machine: two processes of one thread each."""
    distributed = pytest.importorskip("distributed", reason="the cluster of these tests is dask's")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=["dask", "loky", "multiprocessing"])
def backend(request):
    """Configuration of a backend of two workers."""
    if request.param == "dask":
        request.getfixturevalue("client")
        return {"backend": "dask"}
    return {"backend": request.param, "n_jobs": 2}


@pytest.fixture
def small_tiles(monkeypatch):
    """In this process, which is the one that cuts."""
    monkeypatch.setattr(pairwise, "_TILE_PAIRS", 50)


def whereabouts(number, n_jobs):
    """-> number, the process, and the threads that native work would have there, in several ways."""
    return number, os.getpid(), (n_jobs, _blocks.threads(None), _blocks.threads(-1), _backend.threads(0))


def slow(number, n_jobs):
    time.sleep(0.01)


def inner(number, n_jobs):
    """A block that is cut again."""
    return [os.getpid(), *(pid for _, pid, _ in _blocks.map(whereabouts, ((k,) for k in range(3)), -1))]


# ---- the door


def test_blocks_come_back_in_order_from_other_processes(backend):
    with parallel_config(**backend):
        found = list(_blocks.map(whereabouts, ((k,) for k in range(50)), None))
    assert [number for number, _, _ in found] == list(range(50))
    assert os.getpid() not in {pid for _, pid, _ in found}


def test_workers_have_one_native_thread(backend):
    """As n_jobs, by default and for -1 within a block; and OpenMP itself would take no more than a worker's share."""
    with parallel_config(**backend):
        found = [threads for _, _, threads in _blocks.map(whereabouts, ((k,) for k in range(8)), None)]
    for *ours, openmp in found:
        assert ours == [1, 1, 1]
        assert openmp <= max(1, joblib.cpu_count() // 2)


def test_blocks_within_blocks_stay_where_they_are(backend):
    with parallel_config(**backend):
        for pids in _blocks.map(inner, ((k,) for k in range(4)), None):
            assert len(set(pids)) == 1


def test_a_single_job_does_not_travel(backend):
    with parallel_config(**backend):
        ((_, pid, (n_jobs, *_)),) = _blocks.map(whereabouts, ((0,),), 2)
    assert pid == os.getpid()
    assert n_jobs == 2


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")  # joblib's, of work that was left
def test_jobs_are_taken_as_work_proceeds(backend):
    taken = []

    def jobs():
        for k in range(1000):
            taken.append(k)
            yield (k,)

    with parallel_config(**backend):
        results = _blocks.map(slow, jobs(), None)
        next(results)
        assert len(taken) < 1000
        results.close()


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
@pytest.mark.parametrize(
    ("config", "by_default"),
    [({}, 1), ({"n_jobs": 3}, 3), ({"n_jobs": -1}, 0), ({"backend": "threading", "n_jobs": 3}, 3),
     ({"backend": "threading"}, 1), ({"backend": "sequential", "n_jobs": 3}, 1), ({"backend": "loky"}, 1)],
    ids=str,
)  # fmt: skip
def test_threads_of_one_process(config, by_default, n_jobs):
    """Without other processes the kernels' own threads do the work: as many as asked for, or as joblib is told."""
    with parallel_config(**config):
        expected = by_default if n_jobs is None else max(n_jobs, 0)
        assert _blocks.threads(n_jobs) == expected
        if "loky" not in config.values():
            for _, pid, (threads, *_) in _blocks.map(whereabouts, ((k,) for k in range(3)), n_jobs):
                assert (pid, threads) == (os.getpid(), expected)


def test_parts_of_a_collection(rng):
    X = _arrays.as_collection([rng.normal(size=(n, 2)) for n in (300, 100, 400, 100, 500)])
    for first, last in ((0, 5), (1, 3), (4, 5)):
        part = _blocks.part(X, first, last)
        assert len(part.data) == X.lengths[first:last].sum()
        assert np.shares_memory(part.data, X.data)
        assert len(pickle.dumps(part)) < part.data.nbytes + 1000  # nothing else travels
        for b in range(first, last):
            assert_array_equal(part.item(b - first), X.item(b))


# ---- matrices


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_matrices_are_bitwise_those_of_one_process(function, backend, small_tiles, tmp_path, rng):
    X, Y = ([rng.normal(size=(n, 2)) for n in rng.integers(1, 30, size)] for size in (23, 14))
    for dtype in (np.float32, np.float64):
        x, y = ([z.astype(dtype) for z in Z] for Z in (X, Y))
        for other in (y, None):
            expected = function(x, other)
            out = np.memmap(tmp_path / "out", dtype, "w+", shape=expected.shape)
            with parallel_config(**backend):
                assert function(x, other, out=out) is out
            assert_array_equal(out, expected)
            with parallel_config(**backend):
                assert_array_equal(function(x, other, n_jobs=2), expected)


def test_costs_and_kinds_travel(backend, small_tiles, rng):
    X, Y = rng.normal(size=(2, 11, 12, 2))
    mask = np.abs(np.arange(12)[:, None] - np.arange(12)) < 5
    for options in (
        {"kind": "sharp", "cost": "huber"},
        {"kind": "mean", "cost": "log_half_sqeuclidean"},
        {"cost": "cosine", "window": mask},
        {"regularizer": "l2", "step_weights": (1, 2, 1)},
    ):
        expected = cdist_soft_dtw_divergence(X, Y, **options)
        with parallel_config(**backend):
            assert_array_equal(cdist_soft_dtw_divergence(X, Y, **options), expected)


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")
def test_errors_in_a_matrix_end_it(backend, small_tiles):
    X = [np.zeros(4)] * 20
    row = np.zeros((4, 4), bool)
    row[0] = True
    with (
        parallel_config(**backend),
        pytest.raises(ValueError, match=r"no path is admissible between X\[0\] and X\[0\]"),
    ):
        cdist_soft_dtw(X, window=row)


# ---- a worker dies


def deadly(number, folder, n_jobs):
    """The tenth block kills its worker, once; others take a moment, so that some are under way and some are done."""
    mark = Path(folder) / "killed"
    if number == 10 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    time.sleep(0.01)
    return number**2


def test_a_killed_worker_loses_no_block(client, tmp_path):
    before = set(client.run(os.getpid).values())
    with parallel_config(backend="dask"):
        found = list(_blocks.map(deadly, ((k, str(tmp_path)) for k in range(40)), None))
    assert found == [k**2 for k in range(40)]
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before


def test_a_worker_killed_from_outside_changes_nothing_in_a_matrix(client, small_tiles, tmp_path, rng):
    X = rng.normal(size=(60, 150, 2))
    expected = cdist_soft_dtw_divergence(X, kind="sharp")
    client.wait_for_workers(2, timeout=60)
    victims = list(client.run(os.getpid).values())

    class Killing(np.ndarray):
        """Kills a worker as the third tile arrives."""

        arrived = 0

        def __setitem__(self, at, values):
            Killing.arrived += 1
            if Killing.arrived == 3:
                os.kill(victims[0], 9)
            super().__setitem__(at, values)

    out = np.memmap(tmp_path / "out", np.float64, "w+", shape=expected.shape).view(Killing)
    with parallel_config(backend="dask"):
        cdist_soft_dtw_divergence(X, kind="sharp", out=out)
    assert Killing.arrived > 3
    assert_array_equal(np.asarray(out), expected)


@pytest.mark.parametrize("config", [{"backend": "dask"}, {"backend": "loky", "n_jobs": 2}], ids=str)
def test_k_means_is_bitwise_that_of_one_process(config, client, monkeypatch, rng):
    """Its assignments are matrices, in tiles; the steps of its centers are barycenters, in blocks."""
    monkeypatch.setattr(pairwise, "_TILE_PAIRS", 12)
    monkeypatch.setattr(barycenters, "_BLOCK_CELLS", 3000)
    monkeypatch.setattr(cluster, "_CENTER_ITERATIONS", 2)
    X = [rng.normal(size=(n, 2)) + 3 * (n % 2) for n in rng.integers(15, 25, 16)]
    kmeans = SoftDTWKMeans(2, gamma=0.5, max_iter=1, random_state=0)

    def results():
        kmeans.fit(X)
        return kmeans.cluster_centers_, kmeans.labels_, kmeans.inertia_, kmeans.transform(X)

    here = results()
    with parallel_config(**config):
        there = results()
    for a, b in zip(there, here, strict=True):
        assert_array_equal(a, b)
