"""Alignments by any steps, and drawn paths: the real general.cu and its launch code, threads as fibers of the host.

See cuda_on_host.h for what a run notices.
"""

import re
from collections import Counter

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import FORWARDS, ORDERS, Host, KernelFailure
from device_parity import (
    DTYPES,
    KNIGHT,
    OPTIONS,
    REGULARIZERS,
    SHAPES,
    STEPS,
    alike,
    check_given_costs,
    check_parameters,
    check_samples,
    close,
    extreme_costs,
    random_batch,
    random_graph,
)
from numpy.testing import assert_array_equal
from reference import STEPS as USUAL
from reference import enumerate_paths, path_cost

from sdtwkit._cuda import alignment, general
from sdtwkit.dp import AlignmentDP

pytestmark = cuda_on_host.needed
MOVES = STEPS["moves"]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(general.FILE, general.libraries(), tmp_path_factory.mktemp("kernels"))
    host.compile(host.libraries)
    return host


@pytest.fixture
def cupy(monkeypatch, host):
    host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, host, Host(alignment.FILE, {}))


# ---- the same answers


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_other_steps(cupy, host, rng, dtype, regularizer, options):
    for k, shape in enumerate(SHAPES):
        host.order, host.seed = k % 3, k
        check_given_costs(cupy, rng, dtype, regularizer, options, shape)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_graphs(cupy, host, rng, dtype, regularizer):
    for k, shape in enumerate(SHAPES):
        host.order, host.seed = k % 3, k
        options = random_graph(rng, 3, *shape)
        check_given_costs(cupy, rng, dtype, regularizer, options, shape)
        check_parameters(cupy, rng, dtype, {**options, "regularizer": regularizer}, shape)


def test_tables_of_the_host_and_of_the_device(cupy, rng):
    C, graph = rng.normal(size=(3, 9, 8)), random_graph(rng, 3, 9, 8)
    there = {name: table if name == "steps" else cupy.asarray(table) for name, table in graph.items()}
    for method in ("value_and_grad", "parameter_grads"):
        expected = getattr(AlignmentDP(**graph), method)(C)
        for tables in (graph, there):
            alike(getattr(AlignmentDP(**tables), method)(cupy.asarray(C)), expected, np.float64)


@pytest.mark.parametrize("options", [OPTIONS["everything"], *STEPS.values()], ids=["usual", *STEPS])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_gradients_of_parameters(cupy, host, rng, regularizer, options):
    for k, shape in enumerate(SHAPES):
        host.order = k % 3
        for dtype in DTYPES:
            check_parameters(cupy, rng, dtype, {"regularizer": regularizer, **options}, shape)


@pytest.mark.parametrize("options", [*OPTIONS.values(), *STEPS.values()], ids=[*OPTIONS, *STEPS])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_a_seed_draws_the_same_paths(cupy, host, rng, regularizer, options):
    for k, shape in enumerate(SHAPES):
        host.order = k % 3
        for dtype in DTYPES:
            check_samples(cupy, rng, dtype, {"regularizer": regularizer, **options}, shape)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": KNIGHT, "step_weights": (2.0, 0.5, 1.0, 1.5), "open_begin": True, "open_end": True},
        {"step_weights": (1.0, 2.0, 0.5), "open_begin": "x", "open_end": "y"},
    ],
    ids=["usual", "knight", "open"],
)
def test_drawn_paths_have_the_law(cupy, rng, options):
    """Shares of all paths of a table against exp(-cost / gamma), by enumeration."""
    C, draws = rng.random((3, 4)), 4000
    steps, weights = options.get("steps", USUAL), options.get("step_weights", (1, 1, 1))
    ends = {name: options.get(name, False) for name in ("open_begin", "open_end")}
    law = {}
    for path in enumerate_paths(*C.shape, steps, **ends):
        cells = [(i, j) for i, j, _ in path]
        law[tuple(cells)] = np.exp(-path_cost(C, cells, steps, weights) / 0.7)
    paths = AlignmentDP(0.7, **options).sample(cupy.asarray(C), draws, 1)
    drawn = Counter(tuple(map(tuple, path.get().tolist())) for path in paths)
    assert drawn.keys() <= law.keys()
    for path, weight in law.items():
        share = weight / sum(law.values())
        assert abs(drawn[path] / draws - share) <= 5 * np.sqrt(share * (1 - share) / draws) + 1e-12


def test_diagonals_longer_than_a_block(cupy, host, rng):
    n_threads = general.FILE.threads
    C = rng.normal(size=(n_threads + 9, n_threads + 5))
    dp = AlignmentDP(0.6, **MOVES)
    alike(dp.value_and_grad(cupy.asarray(C)), dp.value_and_grad(C), np.float64)
    alike(dp.parameter_grads(cupy.asarray(C)), dp.parameter_grads(C), np.float64)


def test_tables_of_one_pair_at_a_time(cupy, monkeypatch, rng):
    """Where memory is short, blocks share it one pair after the other."""
    C, lengths = random_batch(rng, 9, 8, np.float64)
    dp = AlignmentDP(0.6, **MOVES)
    first = [array.get() for array in dp.value_and_grad(cupy.asarray(C), **lengths)]
    monkeypatch.setattr(general, "_MEMORY", 1)
    for array, expected in zip(dp.value_and_grad(cupy.asarray(C), **lengths), first, strict=True):
        assert_array_equal(array.get(), expected)


@pytest.mark.parametrize("gamma", [1e-300, 1e-8, 1e-3, 1.0, 1e3, 1e8, 1e300])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_extremes(cupy, rng, dtype, regularizer, gamma):
    C = extreme_costs(rng, dtype)
    dp = AlignmentDP(gamma, regularizer=regularizer, steps=((0, 1), (1, 1), (1, 0), (2, 1)))
    E = dp.marginals(C)
    close(dp.marginals(cupy.asarray(C)), E, dtype)
    if gamma < 1e30 or regularizer is None:  # a value that fits the dtype
        alike(dp.value_and_grad(cupy.asarray(C)), dp.value_and_grad(C), dtype)
    slope, product = dp.hvp(cupy.asarray(C), cupy.asarray(np.ones_like(C)))
    if 1e-30 < gamma:
        assert np.isfinite(slope.get()).all()
        assert np.isfinite(product.get()).all()


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_ties_go_the_same_way(cupy, options):
    C, dp = np.zeros((2, 40, 37)), AlignmentDP(regularizer=None, **options)
    alike(dp.value_and_grad(cupy.asarray(C)), dp.value_and_grad(C), np.float64)


def test_no_admissible_path(cupy):
    C = np.zeros((2, 4, 4))
    C[0, :2] = np.inf
    dp = AlignmentDP(**MOVES)
    value, gradient = dp.value_and_grad(cupy.asarray(C))
    assert value.get()[0] == np.inf
    assert np.isfinite(value.get()[1])
    assert not gradient.get()[0].any()
    none, some = dp.sample(cupy.asarray(C), 2, 0)
    assert [path.shape for path in none] == [(0, 2)] * 2
    assert all(len(path) == 4 for path in some)


def test_one_matrix_gives_one_list_of_paths(cupy):
    paths = AlignmentDP(0.1).sample(cupy.asarray([[0.0, 5.0], [5.0, 0.0]]), 2, 0)
    assert [path.get().tolist() for path in paths] == [[[0, 0], [1, 1]]] * 2
    assert paths[0].dtype == np.int64


def test_masks_of_the_host_and_of_the_device(cupy, rng):
    C, mask = rng.normal(size=(2, 9, 9)), rng.random((2, 9, 9)) < 0.9
    expected = AlignmentDP(window=mask, **MOVES).value_and_grad(C)
    for window in (mask, cupy.asarray(mask)):
        alike(AlignmentDP(window=window, **MOVES).value_and_grad(cupy.asarray(C)), expected, np.float64)


# ---- what a device cannot refuse


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_a_cost_that_is_none_makes_the_value_nan(cupy, rng, dtype, regularizer, bad):
    C = rng.random((3, 9, 9)).astype(dtype)
    dp = AlignmentDP(regularizer=regularizer, **MOVES)
    expected = dp.value(C)
    C[1, 4, 2] = bad
    value, gradient = dp.value_and_grad(cupy.asarray(C))
    assert_array_equal(np.isnan(value.get()), [False, True, False])
    close(value[[0, 2]], expected[[0, 2]], dtype)
    assert np.isnan(gradient.get()[1]).any()
    assert np.isfinite(gradient.get()[::2]).all()
    slope = dp.hvp(cupy.asarray(C), cupy.asarray(np.ones_like(C)))[0]
    assert np.isnan(slope.get()[1])
    assert [len(path) for path in dp.sample(cupy.asarray(C), 2, 0)[1]] == [0, 0]


def test_a_length_out_of_range_makes_the_value_nan(cupy, rng):
    C, lengths = cupy.asarray(rng.random((4, 6, 6))), cupy.asarray([6, 0, 7, -3])
    value, gradient = AlignmentDP(**MOVES).value_and_grad(C, x_lengths=lengths)
    assert_array_equal(np.isnan(value.get()), [False, True, True, True])
    assert not gradient.get()[1:].any()
    drawn = AlignmentDP(**MOVES).sample(C, 2, x_lengths=lengths)
    assert [[len(path) > 0 for path in paths] for paths in drawn] == [[True] * 2, *[[False] * 2] * 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("name", ["step_weights", "begin_weights", "end_weights"])
def test_a_weight_that_is_none_makes_the_value_nan(cupy, rng, name, bad):
    C, graph = rng.random((3, 5, 6)), random_graph(rng, 3, 5, 6)
    graph[name] = np.stack([graph[name]] * 3) if len(graph[name]) != 3 else graph[name].copy()
    expected = AlignmentDP(**graph).value(C)
    graph[name][1, 2, 3] = bad
    value = AlignmentDP(**{**graph, name: cupy.asarray(graph[name])}).value(cupy.asarray(C))
    assert np.isnan(value.get()[1])
    close(value[[0, 2]], expected[[0, 2]], np.float64)


@pytest.mark.parametrize(
    "name", ["step_mask", "step_weights", "open_begin", "open_end", "begin_weights", "end_weights"]
)
def test_tables_of_a_device_are_for_costs_there(cupy, rng, name):
    graph = random_graph(rng, 3, 5, 6)
    dp = AlignmentDP(**{**graph, name: cupy.asarray(graph[name])})
    with pytest.raises(TypeError, match=f"{name} is a CuPy array, the arrays it belongs to are not"):
        dp.value(np.ones((3, 5, 6)))


# ---- the same bits


def test_results_do_not_depend_on_who_computes_them(cupy, host, monkeypatch, rng):
    C = cupy.asarray(rng.random((3, 40, 35)))
    dp = AlignmentDP(0.1, **STEPS["leaps"])
    results = []
    for order in ORDERS:
        for blocks in (1, 2, 5):
            host.order, host.seed = order, blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            results.append([array.get() for array in (*dp.value_and_grad(C), *dp.parameter_grads(C))])
    for result in results[1:]:
        for array, first in zip(result, results[0], strict=True):
            assert_array_equal(array, first)


# ---- the checks notice

TEXT = general.FILE.text
BARRIERS = [k for k, line in enumerate(TEXT.splitlines()) if line.strip().startswith("block_barrier();")]


def notices(monkeypatch, tmp_path, text):
    """What running a changed text in all orders brings up: a complaint, "wrong results", or "nothing"."""
    host = Host(general.FILE, {"needed": [general.kernel_name("double")]}, tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    monkeypatch.setattr(cuda_on_host, "BLOCKS", 1)
    rng = np.random.default_rng(0)
    C, Z = rng.random((2, 3, 70, 40))
    C[1, 0, 0] = -50  # where a path of another pair would begin, too
    dp = AlignmentDP(0.5, open_begin=True, open_end=True, steps=((0, 1), (1, 1), (1, 0), (2, 1)))

    def results(C, Z):
        drawn = [path for paths in dp.sample(C, 50, 0) for path in paths]
        return [*dp.value_and_grad(C), *dp.hvp(C, Z), *dp.parameter_grads(C), *drawn]

    expected = results(C, Z)
    for order in ORDERS:
        host.order = order
        try:
            got = [array.get() for array in results(cupy.asarray(C), cupy.asarray(Z))]
        except KernelFailure as failure:
            return str(failure)
        if not all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(got, expected, strict=True)):
            return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, TEXT) == "nothing"


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_removed_barrier_is_noticed(monkeypatch, tmp_path, barrier):
    lines = TEXT.splitlines(keepends=True)
    del lines[barrier]
    assert notices(monkeypatch, tmp_path, "".join(lines)) == "wrong results"


def test_a_warp_astray_is_noticed(monkeypatch, tmp_path):
    changed = TEXT.replace("      block_barrier();", "      if (threadIdx.x > 3) block_barrier();", 1)
    assert re.search("every thread waits|wrong results", notices(monkeypatch, tmp_path, changed))


# ---- AddressSanitizer, in a process of its own


def sanitized(tmp_path, change=""):
    """Run the parity cases on kernels built with AddressSanitizer; `change` edits `text`."""
    return cuda_on_host.sanitized(
        f"""
        import numpy as np
        import cuda_on_host, device_parity
        from sdtwkit._cuda import general
        text = general.FILE.text
        {change}
        general.FILE.text = text
        host = cuda_on_host.Host(
            general.FILE, general.libraries(), {str(tmp_path)!r}, flags=cuda_on_host.SANITIZERS
        )
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host)
        rng = np.random.default_rng(0)
        for host.order, shape in enumerate(((5, 3), (33, 20), (20, 33))):
            for options in (device_parity.STEPS["leaps"], device_parity.random_graph(rng, 3, *shape)):
                device_parity.check_given_costs(cupy, rng, np.float64, "entropy", options, shape)
                device_parity.check_parameters(cupy, rng, np.float64, options, shape)
                device_parity.check_samples(cupy, rng, np.float64, options, shape, 3)
        """
    )


def test_nothing_is_touched_out_of_bounds(tmp_path):
    done = sanitized(tmp_path)
    assert "sanitized" in done.stdout, done.stderr[-3000:]


def test_a_read_out_of_bounds_is_noticed(tmp_path):
    done = sanitized(tmp_path, 'text = text.replace("i >= di(s) && j >= dj(s)", "i >= di(s)")')
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
