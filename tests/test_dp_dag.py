"""DagDP against its slow twin and against sums over all paths; alignments and chains are special cases of it."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import OPERATORS
from reference_chains import Dag, gibbs

from sdtwkit.dp import AlignmentDP, ChainDP, DagDP


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


def random_graph(rng, nodes, density=0.6):
    """indptr, indices: every node but the first has an edge from the one before, and others at random."""
    edges = [[u for u in range(v) if u == v - 1 or rng.random() < density] for v in range(nodes)]
    edges[-1] += edges[-1][:1]  # parallel edges
    return np.cumsum([0, *map(len, edges)]), np.array([u for sources in edges for u in sources])


@pytest.mark.parametrize("forbidden", [0.0, 0.2], ids=["free", "forbidden"])
@pytest.mark.parametrize("nodes", [2, 3, 6, 30])
def test_everything_matches_the_twin(nodes, forbidden, regularizer, rng):
    indptr, indices = random_graph(rng, nodes)
    costs, Z = rng.normal(size=(2, len(indices)))
    costs[rng.random(costs.shape) < forbidden] = np.inf
    slow, fast = Dag(indptr, indices, 0.6, regularizer), DagDP(indptr, indices, 0.6, regularizer=regularizer)
    value, E = slow.value_and_grad(costs)
    slope, product = slow.hvp(costs, Z)
    assert_allclose(fast.value(costs), float(value), rtol=0, atol=1e-12)
    got_value, gradient = fast.value_and_grad(costs)
    assert got_value == fast.value(costs)
    assert_allclose(gradient, np.float64(E), rtol=0, atol=1e-12)
    assert_array_equal(fast.marginals(costs), gradient)
    got_slope, got_product = fast.hvp(costs, Z)
    assert_allclose(got_slope, float(slope), rtol=0, atol=1e-11)
    assert_allclose(got_product, np.float64(product), rtol=0, atol=1e-11)


@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0])
def test_entropy_sums_over_all_paths(gamma, rng):
    indptr, indices = random_graph(rng, 6)
    costs = rng.normal(size=len(indices))
    paths = Dag(indptr, indices).paths()
    best, law = gibbs(np.array([-costs[path].sum() for path in paths], np.longdouble), gamma)
    visits = np.zeros(len(costs))
    for path, p in zip(paths, law, strict=True):
        visits[path] += float(p)
    value, E = DagDP(indptr, indices, gamma).value_and_grad(costs)
    assert_allclose(value, -float(best), rtol=1e-12, atol=1e-12)
    assert_allclose(E, visits, atol=1e-12)
    shortest = DagDP(indptr, indices, regularizer=None).value(costs)
    assert_allclose(shortest, min(costs[path].sum() for path in paths), rtol=1e-13)


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_derivatives_are_finite_differences(regularizer, rng):
    indptr, indices = random_graph(rng, 8)
    costs, Z = rng.normal(size=(2, len(indices)))
    dp, step = DagDP(indptr, indices, 0.7, regularizer=regularizer), 1e-6
    (up, E_up), (down, E_down) = (dp.value_and_grad(costs + s * step * Z) for s in (1, -1))
    slope, product = dp.hvp(costs, Z)
    assert_allclose(slope, dp.marginals(costs) @ Z, rtol=1e-12)
    assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7)
    assert_allclose(product, (E_up - E_down) / (2 * step), atol=1e-7)
    hessian = np.array([dp.hvp(costs, unit)[1] for unit in np.eye(len(costs))])
    assert_allclose(hessian, hessian.T, atol=1e-13)
    assert np.linalg.eigvalsh(hessian).max() < 1e-12  # a smoothed minimum is concave


# ---- special cases


def chain_as_graph(T, S):
    """indptr, indices of S sources, T layers of S states and an end; edges in the order of theta (T, S, S), then S."""
    into = [[] for _ in range(S)]
    into += [[t * S + j for j in range(S)] for t in range(T) for _ in range(S)]
    into += [[T * S + j for j in range(S)]]
    return np.cumsum([0, *map(len, into)]), np.concatenate([np.array(sources, int) for sources in into])


@pytest.mark.parametrize("forbidden", [0.0, 0.2], ids=["free", "forbidden"])
def test_chains_are_longest_paths(forbidden, regularizer, rng):
    T, S = 7, 4
    theta, Z = rng.normal(size=(2, T, S, S))
    theta[rng.random(theta.shape) < forbidden] = -np.inf
    end = np.zeros(S)
    costs, direction = np.append(-theta.ravel(), end), np.append(-Z.ravel(), end)
    graph = DagDP(*chain_as_graph(T, S), 0.6, regularizer=regularizer)
    chain = ChainDP(0.6, regularizer=regularizer)
    value, E = graph.value_and_grad(costs)
    assert_allclose(chain.value(theta), -value, rtol=1e-13)
    assert_allclose(chain.marginals(theta).ravel(), E[:-S], atol=1e-13)
    slope, product = graph.hvp(costs, direction)
    chain_slope, chain_product = chain.hvp(theta, Z)
    assert_allclose(chain_slope, -slope, rtol=1e-11, atol=1e-13)
    assert_allclose(chain_product.ravel(), product[:-S], atol=1e-12)  # a maximum is minus the minimum of minus


def alignment_as_graph(n, m):
    """indptr, indices, cell of each edge: a source, then the cells row by row, each entered by its steps.

    Ties go to the first edge: diagonal, left, up, start.
    """
    into, cells = [[]], []
    for i in range(n):
        for j in range(m):
            sources = [(i - di) * m + j - dj + 1 for di, dj in ((1, 1), (0, 1), (1, 0)) if i >= di and j >= dj]
            into.append(sources or [0])
            cells += [i * m + j] * len(into[-1])
    return np.cumsum([0, *map(len, into)]), np.concatenate([np.array(s, int) for s in into]), np.array(cells)


def test_alignments_are_shortest_paths(regularizer, rng):
    n, m = 5, 7
    C, Z = rng.normal(size=(2, n, m))
    C[1, 2] = np.inf
    indptr, indices, cells = alignment_as_graph(n, m)
    graph = DagDP(indptr, indices, 0.6, regularizer=regularizer)
    alignment = AlignmentDP(0.6, regularizer=regularizer)
    value, edges = graph.value_and_grad(C.ravel()[cells])
    expected, E = alignment.value_and_grad(C)
    assert_allclose(expected, value, rtol=1e-12)
    assert_allclose(E.ravel(), np.bincount(cells, edges), atol=1e-12)
    slope, product = graph.hvp(C.ravel()[cells], Z.ravel()[cells])
    expected, HZ = alignment.hvp(C, Z)
    assert_allclose(expected, slope, rtol=1e-11)
    assert_allclose(HZ.ravel(), np.bincount(cells, product), atol=1e-11)


# ---- forms and extremes


def test_batches_are_graphs_one_by_one(regularizer, rng):
    indptr, indices = random_graph(rng, 7)
    costs, Z = rng.normal(size=(2, 4, len(indices)))
    dp = DagDP(indptr, indices, 0.6, regularizer=regularizer)
    values, E = dp.value_and_grad(costs)
    slopes, products = dp.hvp(costs, Z)
    for b in range(4):
        value, E_b = dp.value_and_grad(costs[b])
        slope, product = dp.hvp(costs[b], Z[b])
        assert (values[b], slopes[b]) == (value, slope)
        assert_array_equal(E[b], E_b)
        assert_array_equal(products[b], product)
    assert isinstance(dp.value(costs[0]), np.float64)


def test_dtypes_and_layouts(rng):
    indptr, indices = random_graph(rng, 7)
    costs = rng.normal(size=(3, len(indices)))
    dp = DagDP(indptr.astype(np.int32), list(indices))
    assert_array_equal(dp.value(np.asfortranarray(costs)), dp.value(costs))
    narrow = costs.astype(np.float32)
    narrow.flags.writeable = False
    value, E = dp.value_and_grad(narrow)
    assert value.dtype == E.dtype == np.float32
    assert_allclose(value, dp.value(costs), rtol=1e-5)
    assert dp.value(np.zeros(len(indices), int)).dtype == np.float64


def test_no_admissible_path(regularizer):
    dp = DagDP([0, 0, 1, 2], [0, 1], regularizer=regularizer)
    value, E = dp.value_and_grad([np.inf, 1.0])
    slope, product = dp.hvp([np.inf, 1.0], [1.0, 1.0])
    assert value == np.inf
    assert slope == 0
    assert not E.any()
    assert not product.any()


@pytest.mark.parametrize("gamma", [5e-324, 1e-12, 1e12])
def test_extreme_smoothing_gives_numbers(gamma, regularizer, rng):
    indptr, indices = random_graph(rng, 9)
    costs = rng.normal(size=len(indices)) * 10.0 ** rng.integers(-12, 12, len(indices))
    dp = DagDP(indptr, indices, gamma, regularizer=regularizer)
    value, E = dp.value_and_grad(costs)
    assert np.isfinite(value)
    assert_allclose(E[indptr[-2] :].sum(), 1, rtol=1e-12)
    assert not np.isnan(dp.hvp(costs, np.ones(len(costs)))[1]).any()


def test_a_single_node_costs_nothing():
    dp = DagDP([0, 0], [])
    value, E = dp.value_and_grad([])
    assert value == 0
    assert E.shape == (0,)


@pytest.mark.parametrize(
    ("indptr", "indices", "error", "message"),
    [
        ([0, 0, 2], [0], ValueError, r"indptr, of 3 entries, does not split the 1 edges of indices"),
        ([0, 1, 0, 1], [0], ValueError, "indptr, of 4 entries, does not split"),
        ([0], [], ValueError, "indptr, of 1 entries"),
        ([0, 0, 1], [1], ValueError, r"indices\[0\] is 1, the source of an edge into node 1; expected an earlier node"),
        ([0, 0, 1], [-1], ValueError, r"indices\[0\] is -1"),
        ([0, 0, 1], [0.0], TypeError, "indices has dtype float64; expected integers"),
        ([[0, 1]], [0], ValueError, r"indptr has shape \(1, 2\); expected a vector"),
    ],
)
def test_what_is_no_graph(indptr, indices, error, message):
    with pytest.raises(error, match=message):
        DagDP(indptr, indices)


def test_wrong_costs_and_options():
    dp = DagDP([0, 0, 2], [0, 0])
    with pytest.raises(ValueError, match=r"costs has shape \(3,\); expected \(E,\) or \(B, E\) for the 2 edges"):
        dp.value(np.zeros(3))
    with pytest.raises(ValueError, match=r"costs\[1\] holds NaN at edge 0; expected finite costs, or \+inf"):
        dp.value([[0.0, 0.0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match="costs holds -inf at edge 1"):
        dp.value([0.0, -np.inf])
    with pytest.raises(ValueError, match=r"direction has shape \(1,\); expected \(2,\), that of the costs"):
        dp.hvp([0.0, 0.0], [0.0])
    with pytest.raises(ValueError, match="direction holds inf at edge 1; expected finite numbers"):
        dp.hvp([0.0, 0.0], [0.0, np.inf])
    with pytest.raises(ValueError, match="gamma is -1"):
        DagDP([0, 0, 2], [0, 0], -1.0)
    with pytest.raises(ValueError, match="regularizer is 'l1'"):
        DagDP([0, 0, 2], [0, 0], regularizer="l1")


def test_programs_print_and_pickle():
    dp = DagDP([0, 0, 2], [0, 0], 0.5)
    assert repr(dp) == "DagDP(2 nodes, 2 edges, gamma=0.5, regularizer='entropy')"
    assert pickle.loads(pickle.dumps(dp)).value([0.0, 1.0]) == dp.value([0.0, 1.0])
