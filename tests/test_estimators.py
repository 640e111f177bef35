"""What is true of all estimators: scikit-learn's own checks, the forms of collections, routing, threads."""

import inspect
import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import sdtwkit

# Every estimator, and parameters that suit small tests: adding the line is adding the tests.
ESTIMATORS = {
    "SoftDTWAligner": {},
    "DecDTWAligner": {},
    "SoftDTWBarycenter": {"tol": 1e-12},
    "AlignmentDistance": {},
    "SoftDTWKMeans": {"n_clusters": 2, "tol": 1e-3, "random_state": 0},
    "NearestSoftCentroid": {"tol": 1e-3},
    "SoftDTWKNeighborsClassifier": {"n_neighbors": 3},
}
LIST = "is fitted to a nested list, after which series of any length are welcome: that a 2-D array is wider is no error"
# Checks of scikit-learn that cannot hold -> why.
EXCEPTIONS = {
    "SoftDTWKMeans": {
        "check_sample_weight_equivalence_on_dense_data": "the first centers are drawn by chance, as in KMeans",
    },
    "NearestSoftCentroid": {"check_classifiers_train": LIST},
    "SoftDTWKNeighborsClassifier": {"check_classifiers_train": LIST},
}
WEIGHTED = ["SoftDTWAligner", "DecDTWAligner", "SoftDTWBarycenter", "SoftDTWKMeans", "NearestSoftCentroid"]
SOFT = [name for name in ESTIMATORS if name != "DecDTWAligner"]  # those with the options of soft-DTW
CLASSIFIERS = ["NearestSoftCentroid", "SoftDTWKNeighborsClassifier"]


def make(name, **changes):
    return getattr(sdtwkit, name)(**{**ESTIMATORS[name], **changes})


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return make(request.param)


def collection(rng, d=1, lengths=(9, 7, 9, 8, 6, 9, 7, 8), noise=0.1):
    """Ragged bumps and dips, [(n_i, d)], and which they are."""
    y = np.arange(len(lengths)) % 2
    times = [np.linspace(0, 1, n)[:, None] + 0.1 * np.arange(d) for n in lengths]
    X = [(1 - 2 * s) * np.sin(np.pi * t) for s, t in zip(y, times, strict=True)]
    return [x + noise * rng.normal(size=x.shape) for x in X], y


def padded(X, fill=np.nan):
    """-> (B, n, d) with `fill` beyond the lengths, lengths."""
    lengths = np.array([len(x) for x in X])
    array = np.full((len(X), lengths.max(), X[0].shape[1]), fill, X[0].dtype)
    for row, x in zip(array, X, strict=True):
        row[: len(x)] = x
    return array, lengths


def in_form(form, rng):
    """Twelve series in one of the forms that estimators take."""
    if form in ("ragged", "channels"):
        return collection(rng, 2 if form == "channels" else 1, lengths=range(6, 18))
    X, y = collection(rng, lengths=12 * (8,))
    return np.stack(X) if form == "array" else np.stack(X)[:, :, 0], y


def results(estimator, X, y=None, **lengths):
    """Everything that a fitted estimator says about a collection, by method."""
    found = {name: getattr(estimator, name)(X, **lengths) for name in METHODS if hasattr(estimator, name)}
    if hasattr(estimator, "kneighbors"):
        found["distances"], found["indices"] = estimator.kneighbors(X, **lengths)
    if hasattr(estimator, "score"):
        found["score"] = estimator.score(X, y, **lengths)
    return found


METHODS = ("transform", "predict", "predict_proba")


def assert_same(first, second, exactly=True):
    assert first.keys() == second.keys()
    for name in first:
        if exactly:
            assert_array_equal(first[name], second[name], err_msg=name)
        else:
            assert_allclose(first[name], second[name], rtol=1e-7, atol=1e-9, err_msg=name)


# ---- scikit-learn's checks


@parametrize_with_checks([make(name) for name in ESTIMATORS])
def test_scikit_learns_checks(estimator, check):
    name = getattr(check, "func", check).__name__
    if name in EXCEPTIONS.get(type(estimator).__name__, {}):
        with pytest.raises(AssertionError):
            check(estimator)
    else:
        check(estimator)


def test_exceptions_are_few():
    assert all(len(checks) <= 3 for checks in EXCEPTIONS.values())


def test_every_estimator_is_listed():
    public = {name for names in sdtwkit._LAZY.values() for name in names}
    modules = {module for module, names in sdtwkit._LAZY.items() if module in ("aligners", "cluster", "neighbors")}
    found = {name for module in modules for name in sdtwkit._LAZY[module] if name in public}
    assert found == set(ESTIMATORS)
    assert all(issubclass(getattr(sdtwkit, name), BaseEstimator) for name in found)


# ---- parameters


@pytest.mark.parametrize("name", ESTIMATORS)
def test_constructs_without_arguments_and_stores_its_parameters(name):
    kind = getattr(sdtwkit, name)
    for parameter in inspect.signature(kind).parameters.values():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert getattr(kind(), parameter.name) is parameter.default


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_survive(name):
    soft = {"gamma": 0.25, "window": 4, "step_weights": (1.0, 2.0, 1.0)}
    estimator = make(name, **(soft if name in SOFT else {"reg": 0.25, "band": 0.4}))
    assert "=0.25" in repr(estimator)
    for copy in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        assert copy.get_params() == estimator.get_params()


def test_a_fitted_estimator_can_be_pickled(estimator, rng):
    X, y = collection(rng)
    estimator.fit(X, y)
    assert_same(results(pickle.loads(pickle.dumps(estimator)), X, y), results(estimator, X, y))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"gamma": 0.0}, ValueError, r"gamma is 0.0; expected a finite number > 0"),
        ({"gamma": "large"}, TypeError, r"gamma is 'large', of type str; expected a finite number > 0"),
        ({"regularizer": "l1"}, ValueError, r"regularizer is 'l1'; expected 'entropy', 'l2' or None"),
        ({"cost": "distance"}, ValueError, r"cost is 'distance'"),
        ({"cost": "precomputed"}, ValueError, r"does not compare two series"),
        ({"cost": "nll"}, ValueError, r"does not compare two series"),
        ({"window": 0.1}, TypeError, r"window is 0.1"),
        ({"step_weights": (1, 1)}, ValueError, r"step_weights has 2 entries for 3 steps"),
        ({"n_jobs": 0}, ValueError, r"n_jobs is 0"),
    ],
)
@pytest.mark.parametrize("name", SOFT)
def test_wrong_parameters_are_found_at_fit(name, parameters, error, message, rng):
    X, y = collection(rng)
    with pytest.raises(error, match=message):
        make(name, **parameters).fit(X, y)


# ---- what comes in


@pytest.mark.parametrize("d", [1, 2])
def test_every_form_of_a_collection_says_the_same(estimator, d, rng):
    X, y = collection(rng, d)
    expected = results(estimator.fit(X, y), X, y)
    with_nan, lengths = padded(X)
    with_junk, _ = padded(X, 1e6)
    aligned = getattr(estimator, "alignments", None)
    for form, options in ((with_nan, {}), (with_junk, {"lengths": lengths})):
        for other in (clone(estimator).fit(form, y, **options), estimator):
            assert_same(results(other, form, y, **options), expected)
    if aligned is not None:
        for E, table, n in zip(aligned(X), aligned(with_nan), lengths, strict=True):
            assert_array_equal(table[:n], E)
            assert not table[n:].any()
    if d == 1:
        flat = [x[:, 0].tolist() for x in X]
        assert_same(results(clone(estimator).fit(flat, y), flat, y), expected)


def test_a_table_holds_univariate_series(estimator, rng):
    X, y = collection(rng, lengths=8 * (7,))
    table = np.stack(X)[:, :, 0]
    expected = results(estimator.fit(X, y), X, y)
    for form in (table, np.asfortranarray(table), table[:, :, None], list(table), table.tolist()):
        assert_same(results(clone(estimator).fit(form, y), form, y), expected)


def test_width_of_a_table_and_channels_of_series(estimator, rng):
    X, y = collection(rng, lengths=8 * (7,))
    table = np.stack(X)[:, :, 0]
    assert estimator.fit(table, y).n_features_in_ == 7
    results(estimator, [x[:5] for x in X], y)
    results(estimator, table[:, :5, None], y)
    with pytest.raises(ValueError, match=r"X has 5 features, but \w+ is expecting 7 features as input"):
        results(estimator, table[:, :5], y)
    for form in (X, table[:, :, None]):
        assert estimator.fit(form, y).n_features_in_ == 1
        results(estimator, table[:, :5], y)
    X, y = collection(rng, 3)
    for form in (X, padded(X)[0]):
        assert estimator.fit(form, y).n_features_in_ == 3
        for other in ([x[:4] for x in X], padded(X)[0][:, :4]):
            results(estimator, other, y)


@pytest.mark.parametrize("form", ["list", "array", "table"])
def test_other_channels_are_refused(estimator, form, rng):
    X, y = collection(rng, 2)
    estimator.fit(X, y)
    other = collection(rng, 1, 8 * (7,))[0]
    other = {"list": other, "array": np.stack(other), "table": np.stack(other)[:, :, 0]}[form]
    for name in METHODS:
        if hasattr(estimator, name):
            with pytest.raises(ValueError, match=r"X holds series with d = 1, \w+ was fitted to series with d = 2"):
                getattr(estimator, name)(other)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.arange(8.0), ValueError, r"X has shape \(8,\); .*Reshape your data: X.reshape\(1, -1\)"),
        (list(range(8)), ValueError, r"X has shape \(8,\); .*Reshape your data: X.reshape\(1, -1\)"),
        (np.zeros((8, 3, 2, 2)), ValueError, r"X has shape \(8, 3, 2, 2\)"),
        (np.zeros((8, 0, 2)), ValueError, r"X has shape \(8, 0, 2\), that is no rows"),
        ([], ValueError, r"X is an empty collection"),
        ([np.zeros(3), np.zeros((0, 1))], ValueError, r"X\[1\] has shape \(0, 1\)"),
        ([np.zeros((3, 1)), np.zeros((3, 2))], ValueError, r"X\[1\] has 2 channels, X\[0\] has 1"),
        ([[0.0, np.nan, 1.0], [0.0, 1.0]], ValueError, r"X\[0\] holds NaN at time 1, channel 0"),
        (np.array([[0.0, 1.0], [np.inf, 1.0]]), ValueError, r"X\[1\] holds inf at time 0, channel 0"),
        (["a", "b"], TypeError, r"X\[0\]"),
        (None, TypeError, r"X is None, of type NoneType; expected an array of real numbers"),
        ("ab", TypeError, r"X is 'ab', of type str"),
        (map(float, "12"), TypeError, r"X is <map object at .*, of type map"),
        (np.array([np.zeros(3), np.zeros(2)], object), TypeError, r"a ragged collection is a list of arrays"),
        (np.zeros((8, 3), complex), ValueError, r"Complex data not supported"),
        (np.array([[1, "a"], [2, 3]], object), ValueError, r"could not convert string to float: 'a'"),
        (np.ma.masked_less([[0.0, 1.0]], 0.5), ValueError, r"X has masked entries"),
    ],
    ids=str,
)
def test_wrong_collections(estimator, X, error, message):
    with pytest.raises(error, match=message):
        estimator.fit(X, np.arange(len(X) if hasattr(X, "__len__") else 2) % 2)


def test_wrong_lengths(estimator, rng):
    X, y = collection(rng)
    array, lengths = padded(X)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 10, X\[1\] has 9 rows; expected 1 to 9"):
        estimator.fit(array, y, lengths=lengths + 3 * (np.arange(8) == 1))
    estimator.fit(array, y, lengths=lengths)
    for name in METHODS:
        if hasattr(estimator, name):
            with pytest.raises(ValueError, match=r"lengths has shape \(3,\); expected \(8,\)"):
                getattr(estimator, name)(array, lengths=lengths[:3])


def test_use_before_fit(estimator, rng):
    X, y = collection(rng)
    for name in (*METHODS, "score", "kneighbors", "alignments"):
        if hasattr(estimator, name):
            arguments = (X, y) if name == "score" else (X,)
            with pytest.raises(NotFittedError, match=r"not fitted yet"):
                getattr(estimator, name)(*arguments)


def test_inputs_are_left_alone(estimator, rng):
    X, y = collection(rng)
    before = [x.copy() for x in X]
    for x in X:
        x.flags.writeable = False
    results(estimator.fit(X, y), X, y)
    for x, old in zip(X, before, strict=True):
        assert_array_equal(x, old)


def test_single_precision_stays(estimator, rng):
    X, y = collection(rng, 2)
    exact = results(estimator.fit(X, y), X, y)
    X = [x.astype(np.float32) for x in X]
    found = results(estimator.fit(X, y), X, y)
    for name in found.keys() & {"transform", "distances"}:
        assert found[name].dtype == np.float32
        assert_allclose(found[name], exact[name], rtol=1e-2, atol=1e-2)


def test_threads_change_nothing(estimator, rng):
    if hasattr(estimator, "max_iter"):
        estimator.set_params(tol=1e9)  # one iteration is enough to see
    X, y = collection(rng, 2, lengths=range(5, 25))
    expected = results(estimator.fit(X, y), X, y)
    assert_same(results(clone(estimator).set_params(n_jobs=2).fit(X, y), X, y), expected)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, r"requires y to be passed, but the target y is None"),
        (np.arange(7), r"y has 7 labels, X has 8 series; expected one label for each"),
        (np.linspace(0, 1, 8), r"Unknown label type: continuous"),
        (np.zeros((8, 2)), r"y should be a 1d array"),
        ([np.nan, *range(7)], r"Input y contains NaN"),
    ],
    ids=["none", "short", "continuous", "wide", "nan"],
)
def test_wrong_labels(name, y, message, rng):
    with pytest.raises(ValueError, match=message):
        make(name).fit(collection(rng)[0], y)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(7), r"sample_weight has shape \(7,\); expected \(8,\), one weight for each of 8 series"),
        ([1, 1, -1, 1, 1, 1, 1, 1], r"sample_weight\[2\] is -1; expected finite numbers >= 0"),
        ([1, 1, np.nan, 1, 1, 1, 1, 1], r"sample_weight\[2\] is nan; expected finite numbers >= 0"),
        (np.zeros(8), r"sample_weight is zero throughout; expected at least one weight > 0"),
    ],
    ids=["number", "negative", "nan", "zero"],
)
def test_wrong_weights(name, weights, message, rng):
    X, y = collection(rng)
    with pytest.raises(ValueError, match=message):
        make(name).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("name", WEIGHTED)
def test_series_without_weight_are_as_good_as_absent(name, rng):
    X, y = collection(rng, lengths=(9, 7, 9, 8, 6, 9, 30, 31))
    weights = np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 0.0, 0.0])
    estimator = make(name)
    if name == "SoftDTWKMeans":  # of one cluster, as chance must not differ
        estimator.set_params(n_clusters=1, tol=1e-9)
    present = results(clone(estimator).fit(X, y, sample_weight=weights), X, y)
    absent = results(clone(estimator).fit(X[:6], y[:6], sample_weight=weights[:6]), X, y)
    for key in present:
        assert_allclose(present[key], absent[key], rtol=1e-2 if name == "SoftDTWKMeans" else 1e-9)


# ---- with the rest of scikit-learn


@pytest.mark.parametrize("form", ["ragged", "channels", "array", "table"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_model_selection(name, form, rng):
    X, y = in_form(form, rng)
    pipeline = make_pipeline(FunctionTransformer(), make(name))
    assert_array_equal(cross_val_score(pipeline, X, y, cv=3), 1)
    search = GridSearchCV(make(name), {"gamma": [0.1, 1.0], "window": [None, 3]}, cv=2).fit(X, y)
    assert search.best_score_ == 1
    assert_array_equal(search.predict(X), y)


@pytest.mark.parametrize("form", ["ragged", "array", "table"])
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in CLASSIFIERS])
def test_pipelines_that_transform(name, form, rng):
    X, y = in_form(form, rng)
    pipeline = make_pipeline(FunctionTransformer(), make(name))
    assert_allclose(pipeline.fit_transform(X, y), make(name).fit(X, y).transform(X), rtol=1e-7, atol=1e-9)
    assert len(pipeline.transform(X[:5])) == 5


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_lengths_are_routed_through_pipelines(estimator, routing, rng):
    X, y = collection(rng)
    expected = results(estimator.fit(X, y), X, y)
    array, lengths = padded(X, 1e6)
    step = clone(estimator)
    for name in ("fit", "transform", "predict", "predict_proba", "score"):
        if hasattr(step, f"set_{name}_request"):
            getattr(step, f"set_{name}_request")(lengths=True)
    pipeline = make_pipeline(FunctionTransformer(), step).fit(array, y, lengths=lengths)
    for name in METHODS:
        if hasattr(estimator, name):
            assert_array_equal(getattr(pipeline, name)(array, lengths=lengths), expected[name])
    if hasattr(estimator, "score"):
        assert pipeline.score(array, y, lengths=lengths) == expected["score"]
    if hasattr(estimator, "transform"):
        found = make_pipeline(step, FunctionTransformer()).fit_transform(array, y, lengths=lengths)
        assert_allclose(found, expected["transform"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_lengths_are_routed_through_cross_validation(name, routing, rng):
    X, y = collection(rng, lengths=range(6, 18))
    array, lengths = padded(X, 1e6)
    classifier = make(name).set_fit_request(lengths=True).set_score_request(lengths=True)
    scores = cross_validate(classifier, array, y, cv=3, params={"lengths": lengths})["test_score"]
    assert_array_equal(scores, 1)
    array[0, lengths[0] :] = np.nan
    with pytest.raises(ValueError, match="fits failed"):  # the array holds junk that only lengths hide
        cross_validate(make(name), np.where(array == 1e6, np.inf, array), y, cv=3)


@pytest.mark.parametrize("container", ["default", "pandas"])
def test_names_of_columns(estimator, container, rng):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: no names of columns")
    X, y = collection(rng, lengths=8 * (5,))
    frame = pandas.DataFrame(np.stack(X)[:, :, 0], columns=[f"t{k}" for k in range(5)])
    estimator.fit(frame, y)
    assert_array_equal(estimator.feature_names_in_, frame.columns)
    assert_same(results(estimator, frame, y), results(estimator.fit(X, y), X, y))
    assert not hasattr(estimator, "feature_names_in_")
    if not hasattr(estimator, "get_feature_names_out"):
        assert is_classifier(estimator) or not hasattr(estimator, "set_output")  # what it says is no table
        return
    name = type(estimator).__name__.lower()
    expected = [f"{name}{k}" for k in range(estimator.transform(X).shape[1])]
    assert_array_equal(estimator.get_feature_names_out(), expected)
    if container == "pandas":
        estimator.set_output(transform="pandas")
        for table in (estimator.transform(X), estimator.fit_transform(X)):
            assert list(table.columns) == expected
