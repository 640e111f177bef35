"""LinearChainCRF: its four losses against the slow twin, independent optimisers, known truths, and wrong arguments."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference_chains import Chain, potentials_of_pair
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction import FeatureHasher
from sklearn.model_selection import GridSearchCV, cross_val_score

from sdtwkit import LinearChainCRF
from sdtwkit.sequence_labeling import _Objective

LOSSES = [(regularizer, loss) for regularizer in ("entropy", "l2") for loss in ("surrogate", "relaxed")]


def hidden_markov_sequences(rng, count, S=3, d=4, stay=0.8, longest=12):
    """Features around a mean for each state, states that tend to stay; ragged."""
    means = 1.5 * rng.normal(size=(S, d))
    X, y = [], []
    for _ in range(count):
        states = [rng.integers(S)]
        for _ in range(rng.integers(0, longest)):
            states.append(states[-1] if rng.random() < stay else rng.integers(S))
        y.append(np.array(states))
        X.append(means[states] + rng.normal(size=(len(states), d)))
    return X, y


@pytest.fixture
def data(rng):
    return hidden_markov_sequences(rng, 30)


def objective_of(X, y, regularizer, loss, alpha=0.1):
    sizes = np.array([len(x) for x in X])
    program = LinearChainCRF(regularizer)._program()
    return _Objective(program, loss, regularizer, alpha, np.concatenate(X), sizes, np.concatenate(y), 3)


# ---- objectives


@pytest.mark.parametrize(("regularizer", "loss"), LOSSES)
def test_losses_are_those_of_the_twin(regularizer, loss, data, rng):
    X, y = (part[:6] for part in data)
    coef, intercept, transition = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=(3, 3))
    twin, total = Chain(1.0, regularizer), 0.0
    for x, labels in zip(X, y, strict=True):
        theta = potentials_of_pair(x @ coef.T + intercept, transition)
        value, E = twin.value_and_grad(theta)
        if loss == "surrogate":
            into, out_of = labels, np.append(0, labels[:-1])
            total += float(value) - theta[np.arange(len(x)), into, out_of].sum()
        else:
            marginals = np.float64(E.sum(axis=2))
            true = marginals[np.arange(len(x)), labels]
            squares = ((marginals - np.eye(3)[labels]) ** 2).sum() / 2
            total += -np.log(true).sum() if regularizer == "entropy" else squares
    expected = total / 6 + 0.05 * ((coef**2).sum() + (transition**2).sum())
    value = objective_of(X, y, regularizer, loss).value_and_grad([coef, intercept, transition])[0]
    assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(("regularizer", "loss"), LOSSES)
def test_gradients_are_finite_differences(regularizer, loss, data, rng):
    objective = objective_of(*data, regularizer, loss)
    weights = [rng.normal(size=shape) for shape in ((3, 4), (3,), (3, 3))]
    direction, step = [rng.normal(size=part.shape) for part in weights], 1e-6
    ahead, back = ([w + s * step * d for w, d in zip(weights, direction, strict=True)] for s in (1, -1))
    slope = sum((g * d).sum() for g, d in zip(objective.value_and_grad(weights)[1], direction, strict=True))
    difference = (objective.value_and_grad(ahead)[0] - objective.value_and_grad(back)[0]) / (2 * step)
    assert_allclose(slope, difference, rtol=1e-6)


def test_maximum_likelihood_is_that_of_an_independent_search(data):
    X, y = (part[:5] for part in data)
    alpha, S, d = 0.05, 3, 4

    def negative_log_likelihood(flat):
        coef, intercept, transition = flat[: S * d].reshape(S, d), flat[S * d : S * d + S], flat[-S * S :].reshape(S, S)
        total = 0.0
        for x, labels in zip(X, y, strict=True):
            unary = x @ coef.T + intercept
            forward = unary[0]
            for t in range(1, len(x)):
                forward = unary[t] + logsumexp(transition + forward, axis=1)
            score = unary[np.arange(len(x)), labels].sum() + transition[labels[1:], labels[:-1]].sum()
            total += logsumexp(forward) - score
        return total / len(X) + alpha / 2 * ((coef**2).sum() + (transition**2).sum())

    found = minimize(negative_log_likelihood, np.zeros(S * d + S + S * S), method="L-BFGS-B", options={"maxiter": 500})
    crf = LinearChainCRF(alpha=alpha, max_iter=500, tol=1e-8).fit(X, y)
    assert_allclose(crf.objective_, found.fun, rtol=1e-6)
    assert crf.objective_ <= found.fun * (1 + 1e-9)
    assert_allclose(negative_log_likelihood(np.concatenate([p.ravel() for p in crf._weights()])), crf.objective_)


def test_maximum_likelihood_is_that_of_crfsuite(data):
    crfsuite = pytest.importorskip("sklearn_crfsuite", reason="an independent implementation, optional")
    X, y = data
    alpha, names, large = 0.05, ["a", "b", "c"], 100.0  # a large attribute is hardly penalised
    y = [[names[label] for label in labels] for labels in y]
    tokens = [[{"bias": large} | {f"x{k}": value for k, value in enumerate(row)} for row in x] for x in X]
    peer = crfsuite.CRF(
        c1=0.0, c2=len(X) * alpha / 2, min_freq=-1e9, all_possible_states=True, all_possible_transitions=True,
        max_iterations=2000, epsilon=1e-9, delta=1e-12,
    ).fit(tokens, y)  # fmt: skip
    scores, moves = peer.state_features_, peer.transition_features_
    weights = [
        np.array([[scores.get((f"x{k}", i), 0.0) for k in range(4)] for i in names]),
        np.array([large * scores.get(("bias", i), 0.0) for i in names]),
        np.array([[moves.get((j, i), 0.0) for j in names] for i in names]),
    ]
    reached = objective_of(X, [[names.index(i) for i in labels] for labels in y], "entropy", "surrogate", alpha)
    ours = LinearChainCRF(alpha=alpha, max_iter=500, tol=1e-8).fit(X, y)
    assert_allclose(ours.objective_, reached.value_and_grad(weights)[0], rtol=1e-7)
    assert_allclose(ours.coef_, weights[0], atol=1e-3)


@pytest.mark.parametrize(("regularizer", "loss"), LOSSES)
def test_all_losses_learn_a_hidden_markov_model(regularizer, loss, rng):
    X, y = hidden_markov_sequences(rng, 120)
    crf = LinearChainCRF(regularizer, loss=loss, max_iter=200).fit(X[:80], y[:80])
    nearest = LinearChainCRF(regularizer, loss=loss).fit([x[:1] for x in X[:80]], [labels[:1] for labels in y[:80]])
    alone = np.mean(
        np.concatenate([np.concatenate(nearest.predict([row[None] for row in x])) for x in X[80:]])
        == np.concatenate(y[80:])
    )
    assert crf.score(X[80:], y[80:]) > max(0.85, alone + 0.02)  # neighbours help
    marginals = crf.predict_marginals(X[80:])
    for x, p in zip(X[80:], marginals, strict=True):
        assert p.shape == (len(x), 3)
        assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    if regularizer == "l2":
        assert (np.concatenate(marginals) == 0).any()


@pytest.mark.parametrize(("batch_size", "learning_rate", "rtol"), [(30, 0.1, 1e-6), (8, 0.05, 5e-3)])
def test_adam_finds_what_lbfgs_finds(batch_size, learning_rate, rtol, data):
    X, y = data
    exact = LinearChainCRF(alpha=0.1).fit(X, y)
    adam = LinearChainCRF(
        alpha=0.1, solver="adam", batch_size=batch_size, learning_rate=learning_rate, max_iter=200, random_state=0
    )
    weights = adam.fit(X, y)._weights()
    reached = objective_of(X, y, "entropy", "surrogate").value_and_grad(weights)[0]
    assert_allclose(reached, exact.objective_, rtol=rtol)
    assert_array_equal(clone(adam).fit(X, y).coef_, weights[0])


# ---- forms of features and labels


def test_sparse_matrices_are_their_dense_forms(data):
    X, y = data
    dense = LinearChainCRF().fit(X, y)
    for form in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        crf = LinearChainCRF().fit([form(x) for x in X], y)
        assert_allclose(crf.coef_, dense.coef_, atol=1e-6)
        assert_allclose(crf.transition_, dense.transition_, atol=1e-6)
        for a, b in zip(crf.predict([form(x) for x in X]), dense.predict(X), strict=True):
            assert_array_equal(a, b)
    batched = LinearChainCRF(solver="adam", max_iter=2, random_state=0).fit([sparse.csr_array(x) for x in X], y)
    assert_allclose(
        batched.coef_, LinearChainCRF(solver="adam", max_iter=2, random_state=0).fit(X, y).coef_, rtol=1e-10
    )


def test_dicts_are_vectorised():
    X = [[{"word": "the"}, {"word": "dog", "last": "the"}, {"word": "runs"}], [{"word": "dogs"}, {"word": "run"}]]
    y = [["det", "noun", "verb"], ["noun", "verb"]]
    for vectorizer in (None, FeatureHasher(64)):
        crf = LinearChainCRF(vectorizer=vectorizer).fit(X, y)
        assert crf.score(X, y) == 1
        assert [labels.tolist() for labels in crf.predict(X)] == y
        assert crf.coef_.shape == (3, crf.n_features_in_)
    assert crf.n_features_in_ == 64
    assert not hasattr(vectorizer, "vocabulary_")
    with pytest.raises(TypeError, match=r"X\[0\] is a list of dicts, LinearChainCRF was fitted to matrices"):
        LinearChainCRF().fit([np.ones((2, 1))], [[0, 1]]).predict(X)


def test_padded_arrays_are_lists(data):
    X, y = data
    T = max(map(len, X))
    padded, labels = np.full((len(X), T, 4), np.nan), np.zeros((len(X), T), int)
    for b, x in enumerate(X):
        padded[b, : len(x)], labels[b, : len(x)] = x, y[b]
    crf, lengths = LinearChainCRF().fit(X, y), [len(x) for x in X]
    from_padded = LinearChainCRF().fit(padded, y, lengths=lengths)
    assert_array_equal(crf.coef_, from_padded.coef_)
    labels_padded = LinearChainCRF().fit(padded, labels)  # trailing rows of NaN are padding
    assert_array_equal(crf.coef_, labels_padded.coef_)
    assert labels_padded.score(padded, labels, lengths=lengths) == crf.score(X, y)
    for a, b in zip(crf.predict(X), crf.predict(padded, lengths=lengths), strict=True):
        assert_array_equal(a, b)


def test_labels_keep_their_kind(data):
    X, y = data
    names = np.array(["sun", "rain", "snow"])
    crf = LinearChainCRF().fit(X, [names[labels] for labels in y])
    assert_array_equal(crf.classes_, ["rain", "snow", "sun"])
    assert set(np.concatenate(crf.predict(X))) <= set(names)
    numbers = LinearChainCRF().fit(X, [10 * labels for labels in y])
    assert_array_equal(numbers.classes_, [0, 10, 20])
    assert numbers.score(X, [10 * labels for labels in y]) == LinearChainCRF().fit(X, y).score(X, y)


def test_one_label_and_single_steps():
    crf = LinearChainCRF().fit([np.ones((1, 2)), np.zeros((3, 2))], [["a"], ["a"] * 3])
    assert [labels.tolist() for labels in crf.predict([np.ones((2, 2))])] == [["a", "a"]]
    assert_array_equal(crf.predict_marginals([np.ones((1, 2))])[0], [[1.0]])


def test_chunks_change_nothing_but_rounding(data, monkeypatch):
    X, y = data
    weights = [np.ones((3, 4)), np.zeros(3), np.eye(3)]
    whole = objective_of(X, y, "entropy", "surrogate").value_and_grad(weights)
    monkeypatch.setattr("sdtwkit.sequence_labeling._CHUNK", 1)
    single = objective_of(X, y, "entropy", "surrogate").value_and_grad(weights)
    assert_allclose(single[0], whole[0], rtol=1e-13)
    for a, b in zip(single[1], whole[1], strict=True):
        assert_allclose(a, b, atol=1e-13)


# ---- as an estimator


def test_it_is_an_estimator(data):
    X, y = data
    crf = LinearChainCRF("l2", alpha=0.1)
    assert clone(crf).get_params() == crf.get_params()
    assert cross_val_score(crf, X, y, cv=3).shape == (3,)
    search = GridSearchCV(crf, {"alpha": [0.01, 1.0]}, cv=2).fit(X, y)
    assert search.best_estimator_.score(X, y) > 0.8
    fitted = crf.fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.coef_, fitted.coef_)
    assert again.score(X, y) == fitted.score(X, y)
    assert_array_equal(clone(crf).set_params(n_jobs=2).fit(X, y).coef_, fitted.coef_)


def test_warm_start_goes_on(data):
    X, y = data
    crf = LinearChainCRF(warm_start=True, max_iter=3)
    with pytest.warns(ConvergenceWarning, match="L-BFGS stopped after 3 iterations"):
        first = crf.fit(X, y).objective_
    with pytest.warns(ConvergenceWarning):
        assert crf.fit(X, y).objective_ < first
    crf.set_params(max_iter=200).fit(X, y)
    crf.fit(X, y)
    assert crf.n_iter_ <= 1
    with pytest.raises(ValueError, match="the last fit had 3 labels and 4 features, other than these 2"):
        crf.fit(X, [np.minimum(labels, 1) for labels in y])


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_progress_is_printed(solver, data, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        LinearChainCRF(verbose=True, max_iter=2, solver=solver).fit(*data)
    assert capsys.readouterr().out.count("objective") == 2


# ---- wrong arguments


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"regularizer": None}, "regularizer is None; expected 'entropy' or 'l2'"),
        ({"loss": "hinge"}, "loss is 'hinge'; expected 'surrogate' or 'relaxed'"),
        ({"solver": "sgd"}, "solver is 'sgd'; expected 'lbfgs' or 'adam'"),
        ({"alpha": -1.0}, r"alpha is -1\.0; expected a finite number >= 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; expected a finite number > 0"),
        ({"max_iter": 0}, "max_iter is 0; expected an integer >= 1"),
        ({"batch_size": 1.5}, r"batch_size is 1\.5"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_wrong_parameters(parameters, message, data):
    with pytest.raises((ValueError, TypeError), match=message):
        LinearChainCRF(**parameters).fit(*data)


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        ([np.ones((3, 2))], None, TypeError, "y is None, of type NoneType; expected a list of label sequences"),
        ([np.ones((3, 2))], [[0] * 3] * 2, ValueError, "y has 2 label sequences, X has 1 sequences"),
        ([np.ones((3, 2))], [[0, 1]], ValueError, r"y\[0\] has shape \(2,\), X\[0\] has 3 steps; expected one label"),
        ([np.ones((2, 2))], [["a", None]], TypeError, "y has labels of types NoneType, str; expected integers or str"),
        ([np.ones((1, 2))], [[0.5]], TypeError, "y has labels of dtype float64; expected integers or strings"),
        ([np.full((1, 2), np.nan)], [[0]], ValueError, r"X\[0\] holds NaN at time 0, channel 0"),
        ([[{"a": 1}], [0.5]], [[0], [0]], TypeError, r"X\[1\] is no list of dicts, X\[0\] is one"),
        ([[{"a": 1}], []], [[0], []], ValueError, r"X\[1\] is empty; expected at least one token"),
        ([sparse.eye_array(2, format="csr"), np.eye(2)], [[0, 1]] * 2, TypeError, r"X\[1\] is of type ndarray"),
        ([sparse.eye_array(2), sparse.eye_array(3)], [[0, 1]] * 2, ValueError, r"X\[1\] has shape \(3, 3\)"),
        ([sparse.csr_array([[np.inf]])], [[0]], ValueError, r"X\[0\] holds NaN or an infinity"),
    ],
)
def test_wrong_data(X, y, error, message):
    with pytest.raises(error, match=message):
        LinearChainCRF().fit(X, y)


def test_use_before_fit_and_other_features(data):
    X, y = data
    with pytest.raises(NotFittedError):
        LinearChainCRF().predict(X)
    crf = LinearChainCRF().fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features, LinearChainCRF was fitted to 4; expected as many"):
        crf.predict([x[:, :2] for x in X])
    with pytest.raises(ValueError, match="y has 1 label sequences, X has 30 sequences"):
        crf.score(X, y[:1])
