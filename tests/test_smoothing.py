"""The suggested gamma: what it is, how it follows the data, and that it is neither too little nor too much."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sdtwkit import cdist_soft_dtw, dtw_path, soft_dtw_alignment, suggest_gamma
from sdtwkit.costs import cost_matrix
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.smoothing import _some_pairs


@pytest.fixture
def walks(rng):
    """Seven ragged random walks of two channels."""
    return [rng.normal(size=(n, 2)).cumsum(axis=0) for n in (20, 31, 25, 18, 40, 22, 29)]


def suggestion_of_all_pairs(X, cost):
    """The slow twin."""
    usual = []
    for b, y in enumerate(X):
        for x in X[:b]:
            path, value = dtw_path(x, y, cost=cost)
            usual.append(abs(value) / len(path))
    return np.median([c for c in usual if c > 0]) / 3


@pytest.mark.parametrize("cost", ["sqeuclidean", "manhattan", "cosine", "neg_dot"])
def test_gamma_is_a_third_of_the_median_cost_of_a_match_on_best_paths(walks, cost):
    assert_allclose(suggest_gamma(walks, cost=cost), suggestion_of_all_pairs(walks, cost), rtol=1e-12)


@pytest.mark.parametrize(("cost", "power"), [("sqeuclidean", 2), ("euclidean", 1), ("cosine", 0)])
def test_gamma_follows_the_unit_of_the_cost(walks, cost, power):
    scaled = suggest_gamma([4 * x for x in walks], cost=cost)
    assert_allclose(scaled, 4**power * suggest_gamma(walks, cost=cost), rtol=1e-12)


def test_gamma_does_not_grow_with_length(walks):
    slow = [np.repeat(x, 3, axis=0) for x in walks]
    assert_allclose(suggest_gamma(slow), suggest_gamma(walks), rtol=1e-12)


def entropy_share(x, y, gamma):
    """Entropy of the law of the paths, over that of the uniform law."""
    C = cost_matrix(x, y)
    alignment, value = soft_dtw_alignment(C, None, gamma, cost="precomputed")
    _, minus_log_count = soft_dtw_alignment(np.zeros_like(C), None, 1.0, cost="precomputed")
    return ((alignment * C).sum() - value) / gamma / -minus_log_count


VIEWS = {
    "as recorded": lambda x: x,
    "scaled": lambda x: (x - x.mean(axis=0)) / x.std(axis=0),
    "half the rate": lambda x: x[::2],
    "a part": lambda x: x[:80],
    "acceleration": lambda x: x[:, :3],
}


@pytest.mark.parametrize("view", VIEWS)
def test_gamma_is_between_one_path_and_all_paths(view):
    recordings = load_watch_exercises()
    X = [VIEWS[view](x) for x in recordings.data]
    gamma = suggest_gamma(X, random_state=0)
    same_exercise = [(b, b + 4) for b in range(0, 140, 20)]  # by two people
    shares = {k: np.mean([entropy_share(X[i], X[j], k * gamma) for i, j in same_exercise]) for k in (0.1, 1, 10)}
    assert shares[0.1] < 0.35 < shares[1] < 0.8 < shares[10]


def test_a_seed_makes_it_reproducible_and_few_pairs_come_close():
    X = load_watch_exercises().data[:40]
    exact = suggest_gamma(X, n_pairs=1000)
    drawn = [suggest_gamma(X, random_state=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert_allclose(drawn, exact, rtol=0.5)
    assert suggest_gamma(X, n_pairs=780) == exact  # all there are


def test_random_state_is_as_scikit_learn_has_it(walks):
    gammas = [suggest_gamma(walks, state(3), n_pairs=5) for state in (np.random.RandomState, np.random.default_rng)]
    assert all(gamma > 0 for gamma in gammas)


@pytest.mark.parametrize("n_series", [2, 3, 8, 100])
def test_all_pairs_are_each_pair_once(n_series):
    pairs = set(zip(*_some_pairs(n_series, 10**6, None), strict=True))
    assert pairs == set(zip(*np.triu_indices(n_series, 1), strict=True))


def test_drawn_pairs_are_distinct_and_of_different_series(rng):
    for n_series in (50, 10**6):
        i, j = _some_pairs(n_series, 1000, rng)
        assert ((i >= 0) & (i < j) & (j < n_series)).all()
        assert len(set(zip(i, j, strict=True))) == 1000


def test_constant_series_that_are_equal_have_gamma_one():
    assert suggest_gamma(np.full((4, 9), 2.5)) == 1.0


def test_pairs_without_any_cost_are_left_out(walks):
    twins = [walks[0]] * 5 + [walks[1]]
    assert_allclose(suggest_gamma(twins), suggest_gamma(walks[:2]), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_any_dtype_gives_a_python_float(rng, dtype):
    X = rng.integers(-9, 9, size=(5, 12, 2)).astype(dtype)
    gamma = suggest_gamma(X)
    assert type(gamma) is float
    assert_allclose(gamma, suggest_gamma(X.astype(np.float64)), rtol=1e-6)
    assert np.isfinite(cdist_soft_dtw(X, gamma=gamma)).all()


def test_padding_and_list_and_threads_make_no_difference(walks):
    lengths = [len(x) for x in walks]
    padded = np.full((7, 40, 2), np.nan)
    for row, x in zip(padded, walks, strict=True):
        row[: len(x)] = x
    expected = suggest_gamma(walks)
    assert suggest_gamma(padded) == suggest_gamma(np.nan_to_num(padded), lengths=lengths) == expected
    assert suggest_gamma(walks, n_jobs=2) == expected


def test_inputs_are_not_modified(walks):
    before = [x.copy() for x in walks]
    suggest_gamma(walks)
    for x, old in zip(walks, before, strict=True):
        assert (x == old).all()


@pytest.mark.parametrize(
    ("X", "options", "error", "sentence"),
    [
        (np.zeros((1, 5)), {}, ValueError, "X holds one series; expected at least two"),
        (np.zeros(5), {}, ValueError, "X has shape"),
        ([[1.0, np.nan], [2.0]], {}, ValueError, r"X\[0\] holds NaN at time 1"),
        (np.zeros((2, 5)), {"n_pairs": 0}, ValueError, "n_pairs is 0; expected an integer >= 1"),
        (np.zeros((2, 5)), {"n_pairs": 2.0}, TypeError, "n_pairs is 2.0"),
        (np.zeros((2, 5)), {"random_state": "one"}, TypeError, "random_state is 'one'"),
        (np.zeros((2, 5)), {"cost": "none"}, ValueError, "cost"),
        (np.zeros((2, 5)), {"cost": "precomputed"}, ValueError, "does not compare two series"),
        (np.zeros((2, 5)), {"lengths": [5, 6]}, ValueError, r"lengths\[1\] is 6"),
    ],
)
def test_wrong_arguments_are_refused(X, options, error, sentence):
    with pytest.raises(error, match=sentence):
        suggest_gamma(X, **options)
