"""Learned metrics: what they promise of distances, how they learn, and the measures of how well they rank."""

import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference_recurrent import forward, random_parameters, step
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sdtwkit import metric_learning, soft_dtw_divergence
from sdtwkit._arrays import as_collection
from sdtwkit.metric_learning import MahalanobisSoftDTW, _learner, coupled_gru_loss_and_grad, evaluation
from sdtwkit.metric_learning._gru_distances import embeddings, last_distances
from sdtwkit.metric_learning._mahalanobis import linear_loss_and_grad
from sdtwkit.metric_learning._network import Network
from sdtwkit.metric_learning._pairs import LabelSampler, PairSampler, best_threshold
from sdtwkit.metric_learning._synchronisation import transversal_exponent
from sdtwkit.metric_learning._training import Adam

# Every learner, and parameters that suit small tests: adding the line is adding the tests.
SMALL = {"max_iter": 3, "batch_size": 8, "random_state": 0}
LEARNERS = {
    "SiameseGRU": SMALL | {"hidden_size": 5},
    "CoupledGRU": SMALL | {"hidden_size": 5},
    "MahalanobisSoftDTW": SMALL,
}
NETWORKS = ["SiameseGRU", "CoupledGRU"]


def make(name, **changes):
    return getattr(metric_learning, name)(**{**LEARNERS[name], **changes})


@pytest.fixture(params=LEARNERS)
def learner(request):
    return make(request.param)


def collection(d=2, lengths=(9, 12, 10, 11, 9, 13, 10, 12, 11, 9, 12, 10), seed=0, noise=0.3):
    """Ragged slow and fast waves, [(n_i, d)], and which they are."""
    rng = np.random.default_rng(seed)
    y = np.arange(len(lengths)) % 2
    times = [np.linspace(0, 1, n)[:, None] + 0.2 * np.arange(d) for n in lengths]
    X = [np.sin((2 + 4 * s) * np.pi * t) for s, t in zip(y, times, strict=True)]
    return [x + noise * rng.normal(size=x.shape) for x in X], y


def padded(X, fill):
    lengths = np.array([len(x) for x in X])
    array = np.full((len(X), lengths.max(), X[0].shape[1]), fill)
    for row, x in zip(array, X, strict=True):
        row[: len(x)] = x
    return array, lengths


def all_pairs(y):
    pairs = np.column_stack(np.triu_indices(len(y), 1))
    return pairs, np.where(y[pairs[:, 0]] == y[pairs[:, 1]], 1, -1)


# ---- parameters


def test_every_learner_is_listed():
    assert set(LEARNERS) == {name for name in metric_learning.__all__ if name[0].isupper()}


@pytest.mark.parametrize("name", LEARNERS)
def test_constructs_without_arguments_and_stores_its_parameters(name):
    kind = getattr(metric_learning, name)
    for parameter in inspect.signature(kind).parameters.values():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert getattr(kind(), parameter.name) is parameter.default


def test_parameters_survive(learner):
    learner.set_params(margin=0.25)
    for copy in (clone(learner), pickle.loads(pickle.dumps(learner))):
        assert copy.get_params() == learner.get_params()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"margin": 0.0}, ValueError, r"margin is 0.0; expected a finite number > 0"),
        ({"max_iter": 0}, ValueError, r"max_iter is 0; expected an integer >= 1"),
        ({"batch_size": 1}, ValueError, r"batch_size is 1; expected at least 2"),
        ({"learning_rate": -1.0}, ValueError, r"learning_rate is -1.0; expected a number > 0"),
        ({"max_norm": "1"}, TypeError, r"max_norm is '1'"),
        ({"crop": 2.5}, TypeError, r"crop is 2.5"),
        ({"validation_fraction": 1.0}, ValueError, r"validation_fraction is 1.0; expected a number within \(0, 1\)"),
        ({"early_stopping": "yes"}, TypeError, r"early_stopping is 'yes'"),
        ({"tol": -1}, ValueError, r"tol is -1.0; expected a finite number >= 0"),
        ({"n_jobs": 0}, ValueError, r"n_jobs is 0"),
        ({"random_state": "chance"}, TypeError, r"random_state is 'chance'"),
    ],
)
def test_wrong_parameters_are_found_at_fit(learner, parameters, error, message):
    X, y = collection()
    with pytest.raises(error, match=message):
        learner.set_params(**parameters).fit_labels(X, y)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("SiameseGRU", {"hidden_size": 0}, r"hidden_size is 0"),
        ("SiameseGRU", {"distance": "dtw"}, r"distance is 'dtw'; expected 'euclidean'"),
        ("CoupledGRU", {"coupling": "post"}, r"coupling is 'post'"),
        ("CoupledGRU", {"after_end": "on"}, r"after_end is 'on'"),
        ("CoupledGRU", {"kappa": -1.0}, r"kappa is -1.0"),
        ("CoupledGRU", {"beta": -1.0}, r"beta is -1.0"),
        ("MahalanobisSoftDTW", {"loss": "hinge"}, r"loss is 'hinge'; expected 'contrastive' or 'triplet'"),
        ("MahalanobisSoftDTW", {"kind": "hard"}, r"kind is 'hard'"),
        ("MahalanobisSoftDTW", {"gamma": 0.0}, r"gamma is 0.0"),
        ("MahalanobisSoftDTW", {"n_components": 3}, r"n_components is 3, the series have d = 2"),
    ],
)
def test_wrong_parameters_of_one_learner(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        make(name, **parameters).fit_labels(*collection())


# ---- distances


def test_is_zero_between_equal_series_and_symmetric(learner):
    X, y = collection()
    learner.fit_labels(X, y)
    D = learner.pairwise_distances(X)
    assert_array_equal(D, D.T)
    assert_array_equal(np.diag(D), 0)
    assert (D[np.triu_indices(len(X), 1)] > 0).all()
    assert_array_equal(learner.pair_distance([[0, 0], [3, 3]]), 0)
    metric = learner.get_metric()
    assert metric(X[0], X[0]) == 0
    assert metric(X[0], X[1]) == metric(X[1], X[0])


def test_all_ways_to_a_distance_agree(learner):
    X, y = collection()
    learner.fit_labels(X, y)
    Z, _ = collection(seed=1)
    pairs, _ = all_pairs(y)
    D, metric = learner.pairwise_distances(X), learner.get_metric()
    assert_allclose(learner.pair_distance(pairs), D[tuple(pairs.T)], rtol=1e-9)
    assert_allclose(learner.pair_distance(pairs, X), D[tuple(pairs.T)], rtol=1e-9)
    assert_array_equal(learner.pair_score(pairs), -learner.pair_distance(pairs))
    assert_array_equal(learner.decision_function(pairs), learner.pair_score(pairs))
    cross = learner.pairwise_distances(X, Z)
    assert cross.shape == (len(X), len(Z))
    assert_allclose(cross, [[metric(x, z) for z in Z] for x in X], rtol=1e-9, atol=1e-12)
    assert_allclose(learner.pairwise_distances(X, X), D, rtol=1e-9, atol=1e-12)


def test_the_order_of_series_cannot_matter(learner):
    X, y = collection()
    D = learner.fit_labels(X, y).pairwise_distances(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(learner.pairwise_distances([X[k] for k in order]), D[np.ix_(order, order)], rtol=1e-9, atol=1e-12)


def test_no_more_pairs_than_needed_set_the_threshold(learner, monkeypatch):
    X, y = collection()
    seen = []
    monkeypatch.setattr(_learner, "_CALIBRATION_PAIRS", 7)
    monkeypatch.setattr(_learner, "best_threshold", lambda *given: seen.append(given) or best_threshold(*given))
    learner.fit(*all_pairs(y), X)
    ((distances, same, _),) = seen
    assert len(distances) == len(same) == 7
    assert learner.threshold_ == best_threshold(distances, same, "accuracy")


def test_every_form_of_a_collection_says_the_same(learner):
    X, y = collection()
    pairs, signs = all_pairs(y)
    expected = clone(learner).fit(pairs, signs, X).pairwise_distances(X)
    junk, lengths = padded(X, 1e6)
    for form, options in ((padded(X, np.nan)[0], {}), (junk, {"lengths": lengths})):
        found = clone(learner).fit(pairs, signs, form, **options).pairwise_distances(form, **options)
        assert_allclose(found, expected, rtol=1e-12)
    table = np.stack([x[:9, 0] for x in X])
    assert clone(learner).fit_labels(table, y).n_features_in_ == 9
    assert clone(learner).fit_labels(X, y).n_features_in_ == 2


def test_other_channels_and_use_before_fit_are_refused(learner):
    X, y = collection()
    uses = [
        lambda: learner.pair_distance([[0, 1]], X),
        lambda: learner.pairwise_distances(X),
        lambda: learner.get_metric(),
        lambda: learner.trajectories(X[0], X[1]),
    ]
    for use in uses:
        with pytest.raises(NotFittedError):
            use()
    learner.fit_labels(X, y)
    narrow = [x[:, :1] for x in X]
    with pytest.raises(ValueError, match=r"X holds series with d = 1, .* fitted to series with d = 2"):
        learner.pairwise_distances(narrow)
    with pytest.raises(ValueError, match="x and y have d = 1; the metric was learned from d = 2"):
        learner.get_metric()(narrow[0], narrow[1])


def test_get_metric_keeps_what_was_learned(learner):
    X, y = collection()
    metric = learner.fit_labels(X, y).get_metric()
    before = metric(X[0], X[1])
    learner.set_params(random_state=1, max_iter=1).fit_labels(X[::-1], y[::-1])
    assert metric(X[0], X[1]) == before
    assert pickle.loads(pickle.dumps(metric))(X[0], X[1]) == before


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "cosine", "trajectory"])
@pytest.mark.parametrize(("name", "coupling"), [("SiameseGRU", "none"), ("CoupledGRU", "pre"), ("CoupledGRU", "add")])
def test_distances_are_those_of_the_states(name, coupling, distance):
    X, y = collection()
    learner = make(name, distance=distance, **({"coupling": coupling} if name == "CoupledGRU" else {}))
    D = learner.fit_labels(X, y).pairwise_distances(X)
    p = random_parameters(np.random.default_rng(0), 2, 5) | learner.params_
    kappa = getattr(learner, "kappa", 0.0)
    for i, j in [(0, 1), (2, 9), (5, 6)]:
        (x1,), (x2,) = (padded([one, np.zeros((13, 2))], 0.0)[0][:1] for one in (X[i], X[j]))
        lengths = [len(X[i])], [len(X[j])]
        states = forward(p, x1[None], x2[None], *lengths, coupling=coupling, kappa=kappa, after_end="off")[0][:, 0]
        a, b = states[:, -1]
        expected = {
            "euclidean": np.linalg.norm(a - b),
            "manhattan": abs(a - b).sum(),
            "cosine": 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
            "trajectory": np.sqrt(((states[0] - states[1])[: min(lengths)[0]] ** 2).sum(axis=1).mean()),
        }[distance]
        assert D[i, j] == pytest.approx(expected, rel=1e-9)


def test_cosine_of_states_of_zeros():
    a, b = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    assert_array_equal(last_distances(a - b, a, b, "cosine"), [0, 1])


def test_threads_and_repetition_change_nothing(learner):
    X, y = collection(lengths=range(5, 29))
    expected = learner.fit_labels(X, y).pairwise_distances(X)
    again = clone(learner).set_params(n_jobs=2).fit_labels(X, y)
    assert_array_equal(again.pairwise_distances(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(again)).pairwise_distances(X), expected)


def test_single_precision_stays(learner):
    X, y = collection()
    exact = learner.fit_labels(X, y).pairwise_distances(X)
    single = [x.astype(np.float32) for x in X]
    found = learner.fit_labels(single, y).pairwise_distances(single)
    assert found.dtype == np.float32
    assert_allclose(found, exact, rtol=2e-2, atol=1e-3)


def test_inputs_are_left_alone(learner):
    X, y = collection()
    before = [x.copy() for x in X]
    for x in X:
        x.flags.writeable = False
    learner.fit_labels(X, y).pairwise_distances(X)
    assert all((x == old).all() for x, old in zip(X, before, strict=True))


# ---- learning


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SiameseGRU", {"max_iter": 30, "learning_rate": 0.03}),
        ("CoupledGRU", {"max_iter": 30, "learning_rate": 0.03}),
        ("CoupledGRU", {"max_iter": 30, "learning_rate": 0.03, "coupling": "leak"}),
        ("CoupledGRU", {"max_iter": 30, "learning_rate": 0.03, "coupling": "add", "beta": 0.1}),
        ("MahalanobisSoftDTW", {}),
        ("MahalanobisSoftDTW", {"loss": "triplet", "margin": 5.0}),
    ],
)
def test_learns_to_tell_classes_apart(name, options):
    X, y = collection(lengths=2 * tuple(range(9, 21)))
    learner = make(name, **options).fit_labels(X, y)
    Z, z = collection(seed=1)
    pairs, signs = all_pairs(z)
    assert learner.loss_curve_[-1] < learner.loss_curve_[0]
    assert learner.score(pairs, signs, Z) > 0.95
    knn = KNeighborsClassifier(3, metric="precomputed").fit(learner.pairwise_distances(X), y)
    assert knn.score(learner.pairwise_distances(Z, X), z) == 1


def test_the_map_ignores_noise():
    rng, (X, y) = np.random.default_rng(0), collection(d=1, noise=0.1)
    X = [np.column_stack([x, 5 * rng.normal(size=len(x))]) for x in X]
    learner = make("MahalanobisSoftDTW", max_iter=20).fit_labels(X, y)
    signal, noise = np.linalg.norm(learner.components_, axis=0) * np.concatenate(X).std(axis=0)
    assert signal > 3 * noise


def test_knn_pipeline_on_a_precomputed_metric():
    X, y = (np.stack(part) for part in collection(lengths=24 * (10,)))
    metric = make("CoupledGRU", max_iter=30, learning_rate=0.03).fit_labels(X, y)
    distances = FunctionTransformer(metric.pairwise_distances, kw_args={"Y": X})
    pipeline = make_pipeline(distances, KNeighborsClassifier(1, metric="precomputed"))
    assert pipeline.fit(X, y).score(X, y) == 1
    siamese = make_pipeline(make("SiameseGRU", max_iter=30, learning_rate=0.03), KNeighborsClassifier(1))
    assert cross_val_score(siamese, X, y, cv=3).mean() > 0.9


def test_random_state_decides(learner):
    X, y = collection()
    first = clone(learner).fit_labels(X, y).loss_curve_
    assert_array_equal(clone(learner).fit_labels(X, y).loss_curve_, first)
    assert (clone(learner).set_params(random_state=1).fit_labels(X, y).loss_curve_ != first).any()


def test_both_networks_start_alike():
    X, y = collection()
    options = {"max_iter": 1, "learning_rate": 1e-12}
    alone, coupled = (make(name, **options).fit_labels(X, y).params_ for name in NETWORKS)
    for name in alone:
        assert_allclose(coupled[name], alone[name], atol=1e-9)
    assert_allclose(coupled["bc"], -2, atol=1e-9)


def test_without_strength_coupling_is_siamese():
    X, y = collection()
    alone, coupled = make("SiameseGRU").fit_labels(X, y), make("CoupledGRU", kappa=0.0).fit_labels(X, y)
    assert_allclose(coupled.loss_curve_[0], alone.loss_curve_[0], rtol=1e-2)
    for name, value in alone.params_.items():  # the gate's own draws come last, minibatches after them
        coupled.params_[name] = value
    assert_allclose(coupled.pairwise_distances(X), alone.pairwise_distances(X), rtol=1e-9, atol=1e-12)


def test_warm_start_goes_on(learner):
    X, y = collection()
    learner.set_params(warm_start=True, max_iter=20, learning_rate=0.01).fit_labels(X, y)
    before = learner.loss_curve_
    learner.fit_labels(X, y)
    assert learner.loss_curve_[0] < before[0]
    learner.set_params(warm_start=False).fit_labels(X, y)
    assert learner.loss_curve_[0] == before[0]


@pytest.mark.parametrize(
    ("name", "change"), [("SiameseGRU", {"hidden_size": 6}), ("MahalanobisSoftDTW", {"n_components": 1})]
)
def test_warm_start_needs_the_same_size(name, change):
    X, y = collection()
    learner = make(name, warm_start=True).fit_labels(X, y)
    with pytest.raises(ValueError, match="expected the same"):
        learner.set_params(**change).fit_labels(X, y)
    with pytest.raises(ValueError, match=r"what was learned before \(warm_start\) is for d = 2"):
        learner.fit_labels([x[:, :1] for x in X], y)


def test_early_stopping_keeps_the_best(learner):
    X, y = collection(lengths=range(8, 24))
    learner.set_params(early_stopping=True, max_iter=30, learning_rate=0.3, n_iter_no_change=3, crop=6)
    for fit in (lambda: learner.fit_labels(X, y), lambda: learner.fit(*all_pairs(y), X)):
        fit()
        curve = learner.validation_curve_
        assert len(curve) == learner.n_iter_ == len(learner.loss_curve_) <= 30
        assert learner.best_iter_ == np.argmin(curve) + 1
        assert learner.n_iter_ == 30 or learner.n_iter_ <= learner.best_iter_ + 3


def test_explicit_validation_is_not_trained_on(learner):
    X, y = collection(noise=0.1)
    learner.set_params(max_iter=2).fit_labels(X, y, validation=[0, 1, 2, 3])
    assert len(learner.validation_curve_) == 2
    changed = [10 * x if k < 4 else x for k, x in enumerate(X)]
    other = clone(learner).fit_labels(changed, y, validation=[0, 1, 2, 3])
    if isinstance(learner, MahalanobisSoftDTW):  # its start scales channels by all series
        return
    assert_array_equal(other.loss_curve_, learner.loss_curve_)
    assert (other.validation_curve_ != learner.validation_curve_).all()


def test_validation_pairs(learner):
    X, y = collection()
    pairs, signs = all_pairs(y)
    learner.fit(pairs[5:], signs[5:], X, validation=(pairs[:5], signs[:5]))
    assert len(learner.validation_curve_) == 3
    for wrong, error, message in [
        (3, TypeError, "validation is no tuple"),
        ((pairs[:5], signs), ValueError, r"validation\[1\] has 66 entries for 5 pairs"),
        ((pairs[:5] + 90, signs[:5]), ValueError, r"validation\[0\]\[0\] is \(90, 91\)"),
    ]:
        with pytest.raises(error, match=message):
            learner.fit(pairs, signs, X, validation=wrong)


def test_progress_is_told(learner, capsys):
    X, y = collection()
    learner.set_params(verbose=1).fit_labels(X, y)
    assert capsys.readouterr().out.splitlines()[0].startswith("epoch 1: loss ")


@pytest.mark.parametrize(
    ("pairs", "y", "error", "message"),
    [
        ([[0, 1]], None, ValueError, r"y is None"),
        ([[0, 1]], [1], ValueError, r"y holds no -1; expected pairs of both kinds"),
        ([[0, 1], [1, 2]], [1, 0], ValueError, r"y\[1\] is 0; expected \+1 \(same\) or -1 \(different\)"),
        ([[0, 1], [1, 2]], [1], ValueError, r"y has 1 entries for 2 pairs"),
        ([[0, 1], [1, 12]], [1, -1], ValueError, r"pairs\[1\] is \(1, 12\), X has 12 series; expected 0 to 11"),
        ([[0, -1]], [1], ValueError, r"pairs\[0\] is \(0, -1\)"),
        ([[0.0, 1.0]], [1], TypeError, r"pairs has dtype float64"),
        ([0, 1], [1], ValueError, r"pairs has shape \(2,\); expected \(n_pairs, 2\)"),
    ],
)
def test_wrong_pairs(learner, pairs, y, error, message):
    with pytest.raises(error, match=message):
        learner.fit(pairs, y, collection()[0])


def test_wrong_labels_and_missing_series(learner):
    X, y = collection()
    with pytest.raises(ValueError, match=r"indices of \(fit_labels\(X, y\) learns"):
        learner.fit([[0, 1]], [1])
    for wrong, message in [
        (None, "requires y to be passed"),
        (y[:5], "y has 5 labels, X has 12 series"),
        (0 * y, "y holds one class; expected at least two"),
        (np.arange(12), "y holds no class of two series"),
    ]:
        with pytest.raises(ValueError, match=message):
            learner.fit_labels(X, wrong)


def test_samplers_are_balanced_and_complete():
    rng = np.random.default_rng(0)
    pairs, signs = all_pairs(np.array([0, 0, 1, 2, 3, 4]))
    same, different = PairSampler(pairs, signs == 1).epoch(rng)
    assert len(same) == len(different) == (signs == -1).sum()
    assert {tuple(p) for p in different} == {tuple(p) for p in pairs[signs == -1]}
    labels, series = np.array([0, 1, 0, 1, 0, 2]), np.array([3, 5, 7, 9, 11, 13])
    of = dict(zip(series, labels, strict=True))
    same, different = LabelSampler(labels, series).epoch(rng)
    assert sorted(same[:, 0]) == sorted(different[:, 0]) == [3, 5, 7, 9, 11]  # 13 has no companion
    assert_array_equal(same[:, 0], different[:, 0])
    assert all(of[i] == of[j] and i != j for i, j in same)
    assert all(of[i] != of[j] for i, j in different)


def test_adam_clips_and_descends():
    parameters = {"a": np.array([3.0, -2.0]), "b": np.array([[1.0]])}
    step = Adam(parameters, 0.1, 1.0)
    first = step(parameters, {"a": np.array([1e6, 0.0]), "b": np.zeros((1, 1))})
    assert_allclose(first["a"], [2.9, -2.0], atol=1e-6)  # Adam's first step is its rate, whatever the gradient
    assert_allclose(step.mean, [0.1, 0.0, 0.0])  # of a gradient cut to norm 1
    for _ in range(500):
        parameters = step(parameters, {name: 2 * value for name, value in parameters.items()})
    assert max(abs(value).max() for value in parameters.values()) < 1e-2


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
@pytest.mark.parametrize("kind", ["soft", "sharp"])
def test_gradient_of_the_map_is_that_of_finite_differences(loss, kind):
    rng = np.random.default_rng(0)
    x, y = ([rng.normal(size=(n, 3)) for n in lengths] for lengths in ((5, 4, 6, 3), (4, 6, 5, 5)))
    L, same = rng.normal(size=(2, 3)), np.array([True, True, False, False])
    arguments = (as_collection(x), as_collection(y), same, loss, 2.5, {"gamma": 0.5, "kind": kind, "window": None})
    value, found = linear_loss_and_grad(L, *arguments)
    mapped = [[item @ L.T for item in side] for side in (x, y)]
    D = soft_dtw_divergence(*mapped, 0.5, kind=kind) / [4.5, 5, 5.5, 4]
    short = np.maximum(0, 2.5 + D[:2] - D[2:]) if loss == "triplet" else np.where(same, D, np.maximum(0, 2.5 - D))
    assert value == pytest.approx(short.mean())
    for index in np.ndindex(L.shape):
        step = np.zeros_like(L)
        step[index] = 1e-6
        up, down = linear_loss_and_grad(L + step, *arguments)[0], linear_loss_and_grad(L - step, *arguments)[0]
        assert found["components"][index] == pytest.approx((up - down) / 2e-6, abs=1e-7)


# ---- thresholds


@pytest.mark.parametrize("strategy", ["accuracy", "f_beta", "max_tpr", "max_tnr"])
def test_threshold_is_the_best_of_all(strategy):
    rng = np.random.default_rng(0)
    for _ in range(50):
        d, same = rng.integers(0, 6, 12).astype(float), rng.integers(0, 2, 12).astype(bool)
        same[:2] = True, False

        def merit(threshold, d=d, same=same):
            said = d <= threshold
            tp, tpr, tnr = (said & same).sum(), said[same].mean(), (~said)[~same].mean()
            return {
                "accuracy": (said == same).mean(),
                "f_beta": 5 * tp / (said.sum() + 4 * same.sum()),
                "max_tpr": tpr if tnr >= 0.6 else -1,
                "max_tnr": tnr if tpr >= 0.6 else -1,
            }[strategy]

        found = best_threshold(d, same, strategy, 0.6, 2.0)
        assert merit(found) == pytest.approx(max(merit(t) for t in np.arange(-0.5, 6.5)))


def test_predict_follows_the_threshold(learner):
    X, y = collection()
    pairs, signs = all_pairs(y)
    learner.fit(pairs, signs, X)
    d = learner.pair_distance(pairs)
    accuracies = [np.mean(np.where(d <= t, 1, -1) == signs) for t in [-1, *d]]
    assert np.mean(learner.predict(pairs) == signs) == pytest.approx(max(accuracies))
    learner.calibrate_threshold(pairs, signs, X, strategy="max_tpr", min_rate=1.0)
    assert (learner.predict(pairs)[signs == -1] == -1).all()
    assert_array_equal(learner.set_threshold(np.inf).predict(pairs), 1)
    assert learner.score(pairs, signs) == pytest.approx(roc_auc_score(signs == 1, -d))
    with pytest.raises(TypeError, match="min_rate is None"):
        learner.calibrate_threshold(pairs, signs, strategy="max_tnr")
    with pytest.raises(ValueError, match="strategy is 'best'"):
        learner.calibrate_threshold(pairs, signs, strategy="best")


# ---- embeddings, searches, trajectories


def test_embeddings_are_last_states_and_coupling_has_none():
    X, y = collection()
    siamese = make("SiameseGRU").fit_labels(X, y)
    E = siamese.transform(X)
    assert E.shape == (12, 5)
    distances = np.linalg.norm(E[:, None] - E, axis=2)
    assert_allclose(siamese.pairwise_distances(X), distances, rtol=1e-9, atol=1e-12)
    assert_allclose(clone(siamese).fit_transform(X, y), E, rtol=1e-12)
    assert list(siamese.get_feature_names_out()) == [f"siamesegru{k}" for k in range(5)]
    with pytest.raises(NotImplementedError, match="depends on the sequence it is compared with"):
        make("CoupledGRU").fit_labels(X, y).transform(X)


def test_set_output():
    pytest.importorskip("pandas", reason="pandas is not installed: no tables")
    X, y = collection()
    siamese = make("SiameseGRU").set_output(transform="pandas").fit_labels(X, y)
    assert list(siamese.transform(X).columns) == [f"siamesegru{k}" for k in range(5)]


def test_mapped_series():
    X, y = collection()
    learner = make("MahalanobisSoftDTW", n_components=1).fit_labels(X, y)
    mapped = learner.transform(X)
    assert [m.shape for m in mapped] == [(len(x), 1) for x in X]
    array, lengths = padded(X, 1e6)
    as_array = learner.transform(array, lengths=lengths)
    for row, one, x in zip(as_array, mapped, X, strict=True):
        assert_allclose(one, x @ learner.components_.T)
        assert_allclose(row[: len(x)], one)
        assert (row[len(x) :] == 0).all()
    assert_allclose(learner.pairwise_distances(X)[0, 1], soft_dtw_divergence(mapped[0], mapped[1]))
    assert_allclose(learner.trajectories(X[0], X[1])[1], mapped[1])


def test_kneighbors_ranks_a_shortlist_anew():
    X, y = collection()
    metric = make("CoupledGRU").fit_labels(X, y)
    Y, _ = collection(seed=1, lengths=range(8, 30))
    D = metric.pairwise_distances(X, Y)
    distances, indices = metric.kneighbors(X, Y, 4, shortlist=None)
    assert_array_equal(indices, np.argsort(D, axis=1, kind="stable")[:, :4])
    assert_allclose(distances, np.take_along_axis(D, indices, 1), rtol=1e-9)
    distances, indices = metric.kneighbors(X, Y, 4, shortlist=6)
    alone = Network.stacked(metric.params_, "none", 0.0, False)
    E, F = (embeddings(alone, metric._read(Z)) for Z in (X, Y))
    nearest = np.argsort(np.linalg.norm(E[:, None] - F, axis=2), axis=1)[:, :6]
    for row, found, d, candidates in zip(D, indices, distances, nearest, strict=True):
        assert_array_equal(found, candidates[np.argsort(row[candidates])][:4])
        assert_allclose(d, row[found], rtol=1e-9)
    with pytest.raises(ValueError, match="n_neighbors is 5, the shortlist has 3 series"):
        metric.kneighbors(X, Y, 5, shortlist=3)


@pytest.mark.parametrize("name", NETWORKS)
def test_trajectories(name):
    X, y = collection()
    learner = make(name).fit_labels(X, y)
    found = learner.trajectories(X[0], X[1])
    assert found.states.shape == found.gates.shape == (2, 12, 5)
    assert_allclose(found.errors, np.linalg.norm(found.states[0] - found.states[1], axis=1))
    assert found.errors[-1] == pytest.approx(learner.pair_distance([[0, 1]])[0])
    assert found.synchronised_at is None
    assert found.mean_gate == pytest.approx(found.gates[:, :9].mean())
    together = learner.trajectories(X[0], X[0])
    assert (together.errors == 0).all()
    assert together.synchronised_at == 0
    assert together.transversal_exponents[0] == together.transversal_exponents[1]
    with pytest.raises(ValueError, match="x and y are collections"):
        learner.trajectories(X, X)


@pytest.mark.parametrize("coupling", ["none", "pre", "leak", "add"])
def test_transversal_exponent_is_the_growth_of_a_small_difference(coupling):
    rng = np.random.default_rng(0)
    p = random_parameters(rng, 2, 4, scale=0.8)
    x, kappa, small = rng.normal(size=(40, 2)), 0.4, 1e-7
    s, e, growth = np.zeros(4), np.full(4, 0.5), 0.0
    for x_t in x:  # two networks on either side of their common state, put back near to each other at every step
        pair = s + small * e / 2, s - small * e / 2
        options = (True, 1.0, coupling, kappa)
        after = [step(p, x_t, pair[a], pair[1 - a], *options)[0] for a in (0, 1)]
        s, _ = step(p, x_t, s, s, *options)
        e = (after[0] - after[1]) / small
        growth += np.log(np.linalg.norm(e))
        e /= np.linalg.norm(e)
    assert transversal_exponent(p, x, coupling, kappa) == pytest.approx(growth / 40, abs=1e-5)


@pytest.mark.parametrize(("update", "exponent"), [(-1e4, -np.inf), (1e4, 0.0)])
def test_a_difference_dies_where_nothing_of_the_state_is_kept(update, exponent):
    p = random_parameters(np.random.default_rng(0), 2, 4)
    p["U"] = np.zeros_like(p["U"])
    p["bi"][4:8] = update  # the rows of the gate that keeps the state
    assert transversal_exponent(p, np.ones((5, 2)), "none", 0.0) == exponent


def test_arguments_of_one_learner_alone():
    X, y = collection()
    with pytest.raises(TypeError, match="window is a mask; expected None or an integer >= 0"):
        MahalanobisSoftDTW(window=np.ones((9, 9), bool)).fit_labels(X, y)
    with pytest.raises(ValueError, match=r"x and y have d = 1, SiameseGRU was fitted to series with d = 2"):
        make("SiameseGRU").fit_labels(X, y).trajectories(X[0][:, :1], X[1][:, :1])


def test_strong_coupling_synchronises():
    rng = np.random.default_rng(0)
    p = random_parameters(rng, 2, 4, scale=1.5) | {"bc": np.full(4, 3.0)}
    x = rng.normal(size=(200, 2))
    assert transversal_exponent(p, x, "pre", 0.5) < transversal_exponent(p, x, "none", 0.0)
    assert transversal_exponent(p, x, "pre", 0.5) < 0


def test_training_minimises_the_published_loss():
    X, y = collection()
    learner = make("CoupledGRU", max_iter=1, batch_size=24, learning_rate=1e-12).fit_labels(X, y)
    rng = np.random.default_rng(0)
    sampler = LabelSampler(y.astype(np.int64), np.arange(12))
    sampler.epoch(rng)  # pairs for the threshold
    learner._start(rng)
    same, different = sampler.epoch(rng)
    pairs = np.concatenate([same, different])
    x1, x2 = ([X[k] for k in side] for side in pairs.T)
    loss, _ = coupled_gru_loss_and_grad(learner.params_, x1, x2, np.repeat([1, 0], 12), margin=2.0)
    assert learner.loss_curve_[0] == pytest.approx(loss, rel=1e-6)


# ---- evaluation


def ranking_problem(seed=0, n=14):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    D = np.abs(rng.normal(size=(n, n)) + (y[:, None] != y))
    return D + D.T, y


def test_measures_are_those_of_the_rankings():
    D, y = ranking_problem()
    precision, first, average = [], [], []
    for q in range(len(y)):
        others = [k for k in np.argsort(D[q]) if k != q]
        hits = [y[k] == y[q] for k in others]
        precision.append(np.mean(hits[: sum(hits)]))
        first.append(hits[0])
        average.append(np.mean([np.mean(hits[: k + 1]) for k, hit in enumerate(hits) if hit]))
    assert evaluation.r_precision(D, y) == pytest.approx(np.mean(precision))
    assert evaluation.nearest_neighbor_accuracy(D, y) == np.mean(first)
    assert evaluation.mean_average_precision(D, y) == pytest.approx(np.mean(average))
    off = ~np.eye(len(y), dtype=bool)
    assert evaluation.roc_auc(D, y) == pytest.approx(roc_auc_score((y[:, None] == y)[off], -D[off]))


def test_measures_between_two_collections():
    D, y = ranking_problem()
    queries, others = y[:5], y[5:]
    expected = [average_precision_score(others == label, -row) for label, row in zip(queries, D[:5, 5:], strict=True)]
    assert evaluation.mean_average_precision(D[:5, 5:], queries, others) == pytest.approx(np.mean(expected))
    alone = np.append(queries, 9)  # of no class among the others
    more = np.vstack([D[:5, 5:], D[5:6, 5:]])
    assert evaluation.mean_average_precision(more, alone, others) == pytest.approx(np.mean(expected))


MEASURES = [getattr(evaluation, name) for name in evaluation.__all__]


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_refuse_what_has_no_answer(measure):
    D, y = ranking_problem()
    with pytest.raises(ValueError, match=r"distances has shape \(14, 14\); expected \(13, 13\)"):
        measure(D, y[1:])
    with pytest.raises(ValueError, match=r"no query has|all pairs are of one kind"):
        measure(D, np.arange(14))


@pytest.mark.parametrize("measure", MEASURES)
def test_perfect_rankings_score_one(measure):
    y = np.array([0, 0, 1, 1, 1])
    assert measure((y[:, None] != y).astype(float), y) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, X: m.pairwise_distances(X, Y_lengths=[3]), ValueError, "Y_lengths is given, but Y is None"),
        (lambda m, X: m.pair_distance([[0, 1]], lengths=[3]), ValueError, "lengths is given, but X is None"),
        (lambda m, X: m.trajectories(X, X), ValueError, "single series"),
        (lambda m, X: m.get_metric()(X, X), ValueError, "expected two single series"),
        (lambda m, X: m.fit_labels(X, [0, 1, 0], validation=[0.5]), TypeError, "expected indices of series"),
        (lambda m, X: m.fit_labels(X, [0, 1, 0], validation=[[0, 1]]), TypeError, r"validation has shape \(1, 2\)"),
        (lambda m, X: m.fit_labels(X, [0, 1, 0], validation=[3]), ValueError, "indices beyond 0 to 2"),
    ],
)
def test_forms_that_do_not_fit_are_refused(learner, call, error, message):
    X, y = collection(lengths=(5, 6, 7))
    fitted = learner.fit(*all_pairs(y), X=X)
    with pytest.raises(error, match=message):
        call(fitted, X)


def test_validation_of_triplets_is_the_mean_hinge_over_same_and_different_pairs():
    X, y = collection(noise=1.0)
    pairs, signs = all_pairs(y)
    metric = make("MahalanobisSoftDTW", loss="triplet", margin=3.0, max_iter=1)
    metric.fit(pairs[:40], signs[:40], X=X, validation=(pairs[40:], signs[40:]))
    per_sample = [d / (len(X[a]) + len(X[b])) * 2 for d, (a, b) in zip(metric.pair_distance(pairs), pairs, strict=True)]
    same, different = (np.array(per_sample[40:])[signs[40:] == sign] for sign in (1, -1))
    hinge = [max(0.0, 3.0 + a - b) for a in same for b in different]
    assert_allclose(metric.validation_curve_, [np.mean(hinge)])
