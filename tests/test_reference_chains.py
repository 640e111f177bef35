"""The slow twins of chains and graphs agree with sums over every sequence and every path."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference_chains import Chain, Dag, all_sequences, gibbs, transition_marginals

GRAPHS = {  # indptr, indices: edges into each node
    "one edge": ([0, 0, 1], [0]),
    "two ways": ([0, 0, 1, 3], [0, 0, 1]),
    "parallel edges": ([0, 0, 2, 4], [0, 0, 1, 1]),
    "two sources": ([0, 0, 0, 2, 4], [0, 1, 1, 2]),
    "a dead end": ([0, 0, 1, 2, 4, 6], [0, 0, 0, 1, 3, 1]),
}


@pytest.fixture(params=[0.0, 0.3], ids=["free", "forbidden"])
def theta(request, rng):
    theta = rng.normal(size=(4, 3, 3))
    theta[rng.random(theta.shape) < request.param] = -np.inf
    return theta


@pytest.mark.parametrize("gamma", [0.3, 1.0, 5.0])
def test_entropy_sums_over_all_sequences(theta, gamma):
    states, scores = all_sequences(theta)
    expected, law = gibbs(scores, gamma)
    value, E = Chain(gamma, "entropy").value_and_grad(theta)
    assert_allclose(float(value), float(expected), rtol=1e-14)
    assert_allclose(np.float64(E), np.float64(transition_marginals(states, law, 3)), atol=1e-14)
    walk = Chain(gamma, "entropy").law(theta)
    assert_allclose([float(walk[tuple(s)]) for s in states], np.float64(law), atol=1e-14)


def test_the_hard_value_is_the_best_sequence(theta):
    states, scores = all_sequences(theta)
    value, E = Chain(regularizer=None).value_and_grad(theta)
    assert float(value) == float(scores.max())
    one_hot = np.arange(len(scores)) == np.argmax(scores)
    assert_allclose(np.float64(E), np.float64(transition_marginals(states, one_hot, 3)))


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_marginals_are_those_of_the_walk(theta, regularizer):
    law = Chain(0.7, regularizer).law(theta)
    E = Chain(0.7, regularizer).value_and_grad(theta)[1]
    assert_allclose(float(sum(law.values())), 1.0)
    expected = transition_marginals(np.array(list(law)), list(law.values()), 3)
    assert_allclose(np.float64(E), np.float64(expected), atol=1e-14)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_sum_over_all_paths(name, rng):
    indptr, indices = map(np.array, GRAPHS[name])
    costs = rng.normal(size=len(indices))
    paths = Dag(indptr, indices).paths()
    scores = np.array([-costs[path].sum() for path in paths], np.longdouble)
    expected, law = gibbs(scores, 0.7)
    value, E = Dag(indptr, indices, 0.7).value_and_grad(costs)
    assert_allclose(float(value), -float(expected), rtol=1e-13)
    visits = np.zeros(len(costs), np.longdouble)
    for path, p in zip(paths, law, strict=True):
        visits[path] += p
    assert_allclose(np.float64(E), np.float64(visits), atol=1e-14)


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_products_are_differences_of_gradients(theta, regularizer, rng):
    slow, Z, step = Chain(0.7, regularizer), rng.normal(size=theta.shape), 1e-6
    slope, product = slow.hvp(theta, Z)
    (up, E_up), (down, E_down) = (slow.value_and_grad(theta + s * step * Z) for s in (1, -1))
    assert_allclose(float(slope), float(up - down) / (2 * step), rtol=1e-8)
    assert_allclose(np.float64(product), np.float64(E_up - E_down) / (2 * step), atol=1e-8)
    indptr, indices = map(np.array, GRAPHS["a dead end"])
    slow, costs, Z = Dag(indptr, indices, 0.7, regularizer), *rng.normal(size=(2, len(indices)))
    slope, product = slow.hvp(costs, Z)
    (up, E_up), (down, E_down) = (slow.value_and_grad(costs + s * step * Z) for s in (1, -1))
    assert_allclose(float(slope), float(up - down) / (2 * step), rtol=1e-8)
    assert_allclose(np.float64(product), np.float64(E_up - E_down) / (2 * step), atol=1e-8)
