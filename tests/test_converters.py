"""Layouts of other libraries: what lies where, exact round trips, views, and the words for a wrong layout."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sdtwkit import dtw_path, soft_dtw
from sdtwkit.converters import (
    from_aeon,
    from_flat,
    from_librosa,
    from_sktime,
    from_tslearn,
    path_from_librosa,
    path_to_librosa,
    to_aeon,
    to_flat,
    to_librosa,
    to_sktime,
    to_tslearn,
)


@pytest.fixture(params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


@pytest.fixture
def ragged(rng, dtype):
    return [rng.normal(size=(n, 3)).astype(dtype) for n in (4, 7, 1, 5)]


@pytest.fixture
def equal(rng, dtype):
    return rng.normal(size=(4, 6, 3)).astype(dtype)


def padded(items, filling=np.nan):
    array = np.full((len(items), max(map(len, items)), items[0].shape[1]), filling, items[0].dtype)
    for row, x in zip(array, items, strict=True):
        row[: len(x)] = x
    return array


def assert_same_series(actual, expected):
    assert len(actual) == len(expected)
    for x, y in zip(actual, expected, strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        assert_array_equal(x, y)


LAYOUTS = {"tslearn": (from_tslearn, to_tslearn), "aeon": (from_aeon, to_aeon), "sktime": (from_sktime, to_sktime)}
LAYOUTS["flat"] = (lambda pair: from_flat(*pair), to_flat)


# ---- true of all collections


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trips_are_exact(layout, ragged, equal):
    if layout == "sktime":
        pytest.importorskip("pandas", reason="sktime keeps series of several lengths in DataFrames")
    back, there = LAYOUTS[layout]
    assert_same_series(back(there(ragged)), ragged)
    assert_same_series(back(there(equal)), equal)
    assert_same_series(back(there(list(equal))), equal)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_is_left_behind(layout, ragged):
    if layout == "sktime":
        pytest.importorskip("pandas", reason="sktime keeps series of several lengths in DataFrames")
    back, there = LAYOUTS[layout]
    lengths = [len(x) for x in ragged]
    assert_same_series(back(there(padded(ragged))), ragged)
    assert_same_series(back(there(padded(ragged, filling=9), lengths=lengths)), ragged)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_that_all_series_share_is_left_behind(layout, equal):
    back, there = LAYOUTS[layout]
    assert_same_series(back(there(equal, lengths=[5] * 4)), equal[:, :5])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_univariate_series_have_one_channel(layout):
    back, there = LAYOUTS[layout]
    X = np.arange(12).reshape(3, 4)
    assert_same_series(back(there(X)), X[..., None].astype(np.float64))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_collections_are_refused_in_the_usual_words(layout):
    _, there = LAYOUTS[layout]
    with pytest.raises(ValueError, match=r"X\[1\] has 2 channels, X\[0\] has 3"):
        there([np.zeros((4, 3)), np.zeros((4, 2))])
    with pytest.raises(ValueError, match=r"X\[0\] holds NaN at time 1, channel 0"):
        there([np.array([0, np.nan, 1]), np.zeros(2)])
    with pytest.raises(ValueError, match="lengths has shape"):
        there(np.zeros((3, 4, 2)), lengths=[4, 4])


# ---- tslearn


def test_tslearn_pads_with_nan_at_the_end(ragged):
    X = to_tslearn(ragged)
    assert X.shape == (4, 7, 3)
    assert_array_equal(X, padded(ragged))


def test_from_tslearn_views(ragged, equal):
    assert from_tslearn(equal) is equal
    X = padded(ragged)
    assert all(np.shares_memory(x, X) for x in from_tslearn(X))


def test_to_tslearn_copies(equal):
    assert not np.shares_memory(to_tslearn(equal), equal)


def test_tslearn_itself_agrees(ragged):
    utils = pytest.importorskip("tslearn.utils", reason="tslearn is not installed")
    theirs = utils.to_time_series_dataset(ragged)
    assert_array_equal(to_tslearn(ragged), theirs)
    assert [len(x) for x in from_tslearn(theirs)] == [utils.ts_size(x) for x in theirs]


@pytest.mark.parametrize(
    ("X", "sentence"),
    [
        (np.zeros((3, 4)), r"X has shape \(3, 4\); expected \(B, n, d\), tslearn's layout"),
        (np.zeros((3, 0, 1)), "at least 1 each"),
        ([np.zeros((3, 2)), np.zeros((2, 2))], "does not form an array"),
        (np.full((2, 3, 1), np.nan), r"X\[0\] is NaN throughout"),
        (np.array([[[1.0], [np.nan], [2.0]]]), r"X\[0\] holds NaN at time 1"),
        (np.array([[[1.0, 2], [np.nan, 3]]]), r"X\[0\] holds NaN at time 1, channel 0"),
    ],
)
def test_what_tslearn_would_not_give_is_refused(X, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_tslearn(X)


# ---- aeon


def test_aeon_has_channels_before_time(ragged, equal):
    X = to_aeon(equal)
    assert X.shape == (4, 3, 6)
    assert X[1, 2, 5] == equal[1, 5, 2]
    assert_same_series(to_aeon(ragged), [x.T for x in ragged])


def test_aeon_arrays_are_views_both_ways(ragged, equal):
    assert np.shares_memory(to_aeon(equal), equal)
    assert np.shares_memory(from_aeon(equal), equal)
    theirs = [x.T for x in ragged]
    assert all(np.shares_memory(x, y) for x, y in zip(from_aeon(theirs), theirs, strict=True))


def test_aeon_flat_array_is_univariate_series():
    X = np.arange(6.0).reshape(2, 3)
    assert from_aeon(X) is X


def test_list_stays_list(equal):
    assert isinstance(to_aeon(list(equal)), list)
    assert isinstance(from_aeon(list(equal)), list)


def test_aeon_itself_agrees(equal):
    distances = pytest.importorskip("aeon.distances", reason="aeon is not installed")
    theirs = to_aeon(equal.astype(np.float64))
    np.testing.assert_allclose(
        distances.soft_dtw_distance(theirs[0], theirs[1], gamma=1.0), soft_dtw(*from_aeon(theirs)[:2]), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("X", "error", "sentence"),
    [
        (np.zeros(4), ValueError, r"X has shape \(4,\); expected \(B, n\) or \(B, d, n\), channels before time"),
        (np.zeros((1, 2, 3, 4)), ValueError, r"X has shape \(1, 2, 3, 4\)"),
        ([], ValueError, "X is an empty collection"),
        ([np.zeros(3)], ValueError, r"X\[0\] has shape \(3,\); expected \(d, n\), channels before time"),
        ([np.zeros((5, 2)), np.zeros((4, 2))], ValueError, r"X\[1\] has shape \(4, 2\), X\[0\] has \(5, 2\)"),
        ([np.zeros((2, 0))], ValueError, "at least 1 each"),
        (np.array([["a"]]), TypeError, "X has dtype <U1; expected real numbers"),
        ([np.zeros((2, 3), complex)], TypeError, r"X\[0\] has dtype complex128"),
    ],
)
def test_what_aeon_would_not_give_is_refused(X, error, sentence):
    with pytest.raises(error, match=sentence):
        from_aeon(X)


# ---- sktime


def test_sktime_array_has_channels_before_time_and_frames_time_first(ragged, equal):
    pd = pytest.importorskip("pandas", reason="sktime keeps series of several lengths in DataFrames")
    assert_array_equal(to_sktime(equal), equal.transpose(0, 2, 1))
    assert np.shares_memory(to_sktime(equal), equal)
    frames = to_sktime(ragged)
    assert all(isinstance(frame, pd.DataFrame) for frame in frames)
    assert_same_series([frame.to_numpy() for frame in frames], ragged)


def test_sktime_frame_with_two_index_levels(ragged):
    pd = pytest.importorskip("pandas", reason="sktime keeps series of several lengths in DataFrames")
    keys = ["d", "a", "c", "b"]  # their order is that of the frame, not of the alphabet
    frame = pd.concat([pd.DataFrame(x) for x in ragged], keys=keys)
    assert_same_series(from_sktime(frame), ragged)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda pd: np.zeros((2, 3)), ValueError, r"X has shape \(2, 3\); expected \(B, d, n\), channels before time"),
        (lambda pd: [np.zeros((2, 3))], TypeError, r"X\[0\] is of type ndarray; expected a DataFrame.*from_aeon"),
        (lambda pd: pd.DataFrame(np.zeros((2, 3))), ValueError, "X is a DataFrame with 1 index level"),
        (lambda pd: [pd.DataFrame({"a": ["x"]})], TypeError, r"X\[0\] has dtype"),
        (lambda pd: [], ValueError, "X is an empty collection"),
    ],
)
def test_what_sktime_would_not_give_is_refused(make, error, sentence):
    pd = pytest.importorskip("pandas", reason="sktime keeps series of several lengths in DataFrames")
    with pytest.raises(error, match=sentence):
        from_sktime(make(pd))


# ---- librosa


def test_librosa_features_are_transposed_views(rng):
    features = rng.normal(size=(12, 40))
    x = from_librosa(features)
    assert_array_equal(x, features.T)
    assert np.shares_memory(x, features)
    assert_array_equal(to_librosa(x), features)
    assert np.shares_memory(to_librosa(x), features)
    assert to_librosa(np.zeros(5)).shape == (1, 5)


def librosa_dtw(C):
    """`librosa.sequence.dtw(C=C)` by its description: accumulated costs, and the path from the end to the start."""
    n, m = C.shape
    D = np.full((n + 1, m + 1), np.inf)
    D[0, 0] = 0
    for i in range(n):
        for j in range(m):
            D[i + 1, j + 1] = C[i, j] + min(D[i, j], D[i + 1, j], D[i, j + 1])
    path = [(n - 1, m - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        path.append(min([(i - 1, j - 1), (i, j - 1), (i - 1, j)], key=lambda cell: D[cell[0] + 1, cell[1] + 1]))
    return D[1:, 1:], np.array(path)


def test_librosa_costs_and_path_are_ours(rng):
    C = rng.random((9, 7))
    D, backwards = librosa_dtw(C)
    path, value = dtw_path(C, None, cost="precomputed")
    np.testing.assert_allclose(value, D[-1, -1])
    assert_array_equal(path_from_librosa(backwards), path)
    assert_array_equal(path_to_librosa(path), backwards)
    assert np.shares_memory(path_to_librosa(path), path)


def test_librosa_itself_agrees(rng):
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    features = rng.normal(size=(12, 30)), rng.normal(size=(12, 25))
    D, backwards = librosa.sequence.dtw(*features, metric="sqeuclidean")
    path, value = dtw_path(*map(from_librosa, features))
    np.testing.assert_allclose(value, D[-1, -1])
    assert_array_equal(path_from_librosa(backwards), path)


@pytest.mark.parametrize(
    ("function", "value", "error", "sentence"),
    [
        (from_librosa, np.zeros((2, 3, 4)), ValueError, r"features has shape \(2, 3, 4\); expected \(d, n\)"),
        (from_librosa, np.zeros(3), ValueError, "channels before time"),
        (to_librosa, np.zeros((2, 3, 4)), ValueError, r"x has shape \(2, 3, 4\); expected \(n,\) or \(n, d\)"),
        (path_from_librosa, [[0, 0], [1, 1]], ValueError, "path moves forwards; expected librosa's"),
        (path_to_librosa, [[1, 1], [0, 0]], ValueError, "path moves backwards"),
        (path_to_librosa, [[0, 0, 0]], ValueError, r"path has shape \(1, 3\); expected \(L, 2\)"),
        (path_to_librosa, np.zeros((0, 2), int), ValueError, "at least one match"),
        (path_to_librosa, [[0.0, 0.0]], TypeError, "path has dtype float64; expected integers"),
    ],
)
def test_wrong_features_and_paths_are_refused(function, value, error, sentence):
    with pytest.raises(error, match=sentence):
        function(value)


def test_path_of_one_match_has_no_direction():
    assert path_from_librosa([[0, 0]]).tolist() == path_to_librosa([[0, 0]]).tolist() == [[0, 0]]


# ---- flat


def test_flat_series_lie_one_after_another(ragged):
    data, offsets = to_flat(ragged)
    assert data.shape == (17, 3)
    assert offsets.dtype == np.int64
    assert_array_equal(offsets, [0, 4, 11, 12, 17])
    assert_array_equal(data, np.concatenate(ragged))


def test_flat_views(equal):
    data, offsets = to_flat(equal)
    assert np.shares_memory(data, equal)
    assert all(np.shares_memory(x, data) for x in from_flat(data, offsets))


@pytest.mark.parametrize(
    ("offsets", "error", "sentence"),
    [
        ([0, 2, 5], ValueError, "offsets run from 0 to 5; expected from 0 to 6, the rows of data"),
        ([1, 6], ValueError, "offsets run from 1 to 6"),
        ([0, 3, 3, 6], ValueError, r"offsets\[1\] is 3 and offsets\[2\] is 3; expected increasing numbers"),
        ([0, 4, 2, 6], ValueError, r"offsets\[1\] is 4 and offsets\[2\] is 2"),
        ([0], ValueError, r"offsets has shape \(1,\); expected \(B \+ 1,\)"),
        ([0.0, 6.0], TypeError, "offsets has dtype float64; expected integers"),
    ],
)
def test_wrong_offsets_are_refused(offsets, error, sentence):
    with pytest.raises(error, match=sentence):
        from_flat(np.zeros((6, 2)), offsets)
