"""Scaling and resampling of collections in every form, and scikit-learn's own checks of both transformers."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sdtwkit.neighbors import AlignmentDistance
from sdtwkit.preprocessing import SeriesResampler, SeriesScaler

TRANSFORMERS = [SeriesScaler(), SeriesResampler(), SeriesResampler(length=4)]
DTYPES = [np.float32, np.float64]

EXPECTED_FAILURES = {
    ("SeriesScaler", "check_transformer_data_not_an_array"): "a list is a list of series, and comes back as a list",
}


@parametrize_with_checks([SeriesScaler(), SeriesResampler()])
def test_scikit_learn_checks(estimator, check):
    reason = EXPECTED_FAILURES.get((type(estimator).__name__, check.func.__name__))
    if reason:
        pytest.xfail(reason)
    check(estimator)


@pytest.fixture(params=DTYPES, ids=lambda dtype: dtype.__name__)
def ragged(rng, request):
    return [(5 + 3 * rng.normal(size=(n, 2))).astype(request.param) for n in (4, 9, 2, 6)]


def padded(items, filling):
    array = np.full((len(items), max(map(len, items)), items[0].shape[1]), filling, items[0].dtype)
    for row, x in zip(array, items, strict=True):
        row[: len(x)] = x
    return array


# ---- scaling


def test_each_channel_of_each_series_has_mean_0_and_deviation_1(ragged):
    for z, x in zip(SeriesScaler().fit_transform(ragged), ragged, strict=True):
        assert z.dtype == x.dtype
        assert_allclose(z.mean(axis=0), 0, atol=1e-6)
        assert_allclose(z.std(axis=0), 1, rtol=1e-6)
        assert_allclose(np.corrcoef(z.T, x.T).diagonal(offset=2), 1, rtol=1e-6)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_scaling_is_the_formula(rng, with_mean, with_std):
    X = rng.normal(2, 3, size=(3, 7, 2))
    expected = X - X.mean(axis=1, keepdims=True) * with_mean
    if with_std:
        expected /= X.std(axis=1, keepdims=True)
    assert_allclose(SeriesScaler(with_mean=with_mean, with_std=with_std).fit_transform(X), expected, rtol=1e-12)


def test_scaling_does_not_depend_on_units(ragged):
    moved = [16 * x for x in ragged]
    for z, w in zip(SeriesScaler().fit_transform(ragged), SeriesScaler().fit_transform(moved), strict=True):
        assert_array_equal(z, w)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e8, 1e-300])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_channel_becomes_0_or_stays(value, dtype):
    X = np.full((2, 77, 1), value, dtype)
    assert_array_equal(SeriesScaler().fit_transform(X), np.zeros_like(X))
    assert_array_equal(SeriesScaler(with_std=False).fit_transform(X), np.zeros_like(X))
    assert_array_equal(SeriesScaler(with_mean=False).fit_transform(X), X)


def test_channel_constant_but_for_rounding_becomes_0():
    x = np.full(50, 0.3)
    x[::2] = 0.1 + 0.2
    assert len(np.unique(x)) == 2
    assert_array_equal(SeriesScaler().fit_transform([x])[0], np.zeros(50))


def test_small_variation_on_a_large_offset_is_no_constant(rng):
    noise = rng.normal(size=(1, 100))
    z = SeriesScaler().fit_transform(1e6 + 1e-3 * noise)
    assert_allclose(z, SeriesScaler().fit_transform(noise), atol=1e-5)


def test_series_of_one_sample_becomes_0():
    assert_array_equal(SeriesScaler().fit_transform([[[3.0, 4.0]]])[0], [[0, 0]])


def test_nan_padding_stays_and_given_lengths_leave_0(ragged):
    expected = SeriesScaler().fit_transform(ragged)
    assert_array_equal(SeriesScaler().fit_transform(padded(ragged, np.nan)), padded(expected, np.nan))
    lengths = [len(x) for x in ragged]
    assert_array_equal(SeriesScaler().fit_transform(padded(ragged, 7), lengths=lengths), padded(expected, 0))


def test_scaling_keeps_the_form():
    scaler = SeriesScaler().fit([[1.0, 2.0]])
    assert [x.shape for x in scaler.transform([[1.0, 2.0, 4.0], [3.0, 1.0]])] == [(3,), (2,)]
    assert scaler.transform(np.ones((3, 5, 1))).shape == (3, 5, 1)
    assert SeriesScaler().fit_transform(np.ones((3, 5))).shape == (3, 5)


# ---- resampling


def resampled(x, length):
    """The slow twin: number k is the series at time k (n - 1) / (length - 1)."""
    n = len(x)
    new = np.empty((length, x.shape[1]))
    for k in range(length):
        time = k * (n - 1) / (length - 1) if length > 1 else 0
        i = min(int(time), n - 2) if n > 1 else 0
        share = time - i
        new[k] = (1 - share) * x[i] + share * x[min(i + 1, n - 1)]
    return new


@pytest.mark.parametrize("length", [1, 2, 5, 9, 20])
def test_resampling_is_linear_interpolation(ragged, length):
    X = SeriesResampler(length=length).fit_transform(ragged)
    assert X.dtype == ragged[0].dtype
    assert X.shape == (4, length, 2)
    for new, x in zip(X, ragged, strict=True):
        assert_allclose(new, resampled(x, length), rtol=1e-5 if x.dtype == np.float32 else 1e-12)


def test_length_is_that_of_the_longest_at_fit(ragged):
    resampler = SeriesResampler().fit(ragged)
    assert resampler.length_ == 9
    assert resampler.transform(ragged[:1]).shape == (1, 9, 2)
    assert resampler.transform([np.zeros((30, 2))]).shape == (1, 9, 2)
    assert SeriesResampler().fit(padded(ragged, np.nan)[:, :8]).length_ == 8
    lengths = [4, 5, 2, 6]
    assert SeriesResampler().fit(padded(ragged, 0), lengths=lengths).length_ == 6
    assert SeriesResampler().fit_transform(padded(ragged, 0), lengths=lengths).shape == (4, 6, 2)


def test_series_of_that_length_are_unchanged(ragged):
    assert_array_equal(SeriesResampler(length=9).fit_transform(ragged)[1], ragged[1])


def test_first_and_last_sample_stay(ragged):
    X = SeriesResampler(length=13).fit_transform(ragged)
    for new, x in zip(X, ragged, strict=True):
        assert_array_equal(new[[0, -1]], x[[0, -1]])


def test_padding_is_not_resampled(ragged):
    expected = SeriesResampler(length=5).fit_transform(ragged)
    lengths = [len(x) for x in ragged]
    assert_array_equal(SeriesResampler(length=5).fit_transform(padded(ragged, np.nan)), expected)
    assert_array_equal(SeriesResampler(length=5).fit_transform(padded(ragged, 9), lengths=lengths), expected)


def test_table_stays_a_table():
    assert SeriesResampler(length=3).fit_transform(np.ones((2, 7))).shape == (2, 3)
    assert SeriesResampler(length=3).fit_transform([[1.0, 2.0]]).shape == (1, 3, 1)


# ---- both


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_inputs_are_not_modified(transformer, ragged):
    before = [x.copy() for x in ragged]
    clone(transformer).fit_transform(ragged)
    for x, old in zip(ragged, before, strict=True):
        assert_array_equal(x, old)
    X = padded(ragged, 3)
    before = X.copy()
    out = clone(transformer).fit_transform(X)
    assert_array_equal(X, before)
    assert not np.shares_memory(out, X)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_each_series_is_transformed_alone(transformer, ragged):
    transformer = clone(transformer).fit(ragged)
    together = transformer.transform(ragged)
    for b, x in enumerate(ragged):
        assert_array_equal(transformer.transform([x])[0], together[b])


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_clone_pickle_and_parameters(transformer, ragged):
    fitted = pickle.loads(pickle.dumps(clone(transformer).fit(ragged)))
    for x, y in zip(fitted.transform(ragged), clone(transformer).fit_transform(ragged), strict=True):
        assert_array_equal(x, y)
    assert clone(fitted).get_params() == transformer.get_params()


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_unfitted_and_other_channels_are_refused(transformer, ragged):
    with pytest.raises(NotFittedError):
        clone(transformer).transform(ragged)
    with pytest.raises(ValueError, match=r"3.* was fitted to series .* 2"):
        clone(transformer).fit(ragged).transform([np.zeros((4, 3))])
    with pytest.raises(ValueError, match=r"Reshape your data|is one univariate series"):
        clone(transformer).fit(np.zeros(5))


@pytest.mark.parametrize(("length", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("5", TypeError)])
def test_wrong_length_is_refused_at_fit(ragged, length, error):
    with pytest.raises(error, match=f"length is {length!r}.*expected an integer >= 1"):
        SeriesResampler(length=length).fit(ragged)


@pytest.mark.parametrize("form", [list, lambda X: padded(X, np.nan)], ids=["list", "padded"])
def test_pipeline_of_ragged_series(rng, form):
    """Steps and bumps of any height and length are told apart once they are scaled."""
    shapes = [np.r_[np.zeros(n), np.ones(n)] for n in (5, 7, 9)] + [np.r_[0, np.ones(n), 0] for n in (6, 8, 11)]
    X = form([np.c_[rng.uniform(1, 99) + rng.uniform(1, 99) * shape] for shape in shapes])
    y = [0, 0, 0, 1, 1, 1]
    knn = make_pipeline(
        SeriesScaler(), SeriesResampler(20), AlignmentDistance("dtw"), KNeighborsClassifier(2, metric="precomputed")
    )
    assert knn.fit(X, y).score(X, y) == 1


def test_lengths_are_routed_through_a_pipeline(ragged):
    lengths = np.array([len(x) for x in ragged])
    with config_context(enable_metadata_routing=True):
        steps = [
            transformer.set_fit_request(lengths=True).set_transform_request(lengths=True)
            for transformer in (SeriesScaler(), SeriesResampler(length=5))
        ]
        X = make_pipeline(*steps).fit_transform(padded(ragged, 9), lengths=lengths)
    assert_array_equal(X, make_pipeline(SeriesScaler(), SeriesResampler(length=5)).fit_transform(ragged))


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_tables_give_data_frames(transformer, rng):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(rng.normal(size=(3, 6)), columns=list("abcdef"))
    transformer = clone(transformer).set_output(transform="pandas")
    out = transformer.fit_transform(frame)
    assert_array_equal(out.columns, transformer.get_feature_names_out())
    assert_array_equal(out, clone(transformer).set_output(transform="default").fit_transform(frame.to_numpy()))
