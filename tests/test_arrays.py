"""The door: what users may hand in, what the kernels get, and the sentence that every wrong argument meets."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sdtwkit._arrays import (
    as_collection,
    as_collection_pair,
    as_direction,
    as_matrices,
    as_series_pair,
    narrowed,
)

rng = np.random.default_rng(0)
nan, inf = np.nan, np.inf


def ramp(*shape, dtype=float):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def first(x, x_lengths=None):
    """The Series that a pair function makes of x."""
    return as_series_pair(x, x, x_lengths, x_lengths)[0]


def items(series):
    return [series.data[s : s + n] for s, n in zip(series.starts, series.lengths, strict=True)]


def unaligned(array):
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    result = buffer[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    assert not result.flags.aligned
    return result


# ---- what comes in


@pytest.mark.parametrize(
    ("x", "form", "B", "d"),
    [
        (ramp(5), "single", 1, 1),
        (ramp(5, 2), "single", 1, 2),
        (ramp(3, 5, 2), "padded", 3, 2),
        ([ramp(4, 2), ramp(3, 2)], "list", 2, 2),
        ((ramp(4), ramp(3, 1)), "list", 2, 1),
        ([[1, 2, 3], [4, 5]], "list", 2, 1),
        ([1, 2.5, np.float32(3)], "single", 1, 1),
        ((True, False), "single", 1, 1),
    ],
)
def test_pair_functions_read_a_matrix_as_one_series(x, form, B, d):
    series = first(x)
    assert (series.form, len(series), series.n_channels) == (form, B, d)
    assert series.data.flags.c_contiguous
    assert series.data.flags.aligned
    assert series.starts.dtype == series.lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("X", "form", "B", "d"),
    [
        (ramp(3, 5), "padded", 3, 1),
        (ramp(3, 5, 2), "padded", 3, 2),
        ([ramp(4, 2), ramp(3, 2)], "list", 2, 2),
        ([[1, 2, 3], [4, 5]], "list", 2, 1),
    ],
)
def test_collection_functions_read_a_matrix_as_univariate_series(X, form, B, d):
    series = as_collection(X)
    assert (series.form, len(series), series.n_channels) == (form, B, d)
    for item, given_item in zip(items(series), X, strict=True):
        assert_array_equal(item, np.asarray(given_item).reshape(len(item), d))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[::2, ::-1],
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(">f8"),
        lambda x: unaligned(x),
        lambda x: x.astype(int),
        lambda x: np.ma.masked_array(x),
        lambda x: x.view(np.matrix),
    ],
    ids=["strided", "fortran", "big-endian", "unaligned", "int", "unmasked", "matrix"],
)
def test_any_memory_layout_gives_the_same_numbers(make):
    x = make(ramp(6, 2))
    series = first(x)
    assert_array_equal(series.data, np.array(x, dtype=float))
    flags = series.data.flags
    assert flags.c_contiguous
    assert flags.aligned
    assert series.dtype.isnative
    assert type(series.data) is np.ndarray


def test_contiguous_floats_are_viewed_not_copied():
    for x in (ramp(5), ramp(5, 2), ramp(3, 5, 2), ramp(3, 5, 2, dtype=np.float32)):
        assert np.shares_memory(first(x).data, x)


@pytest.mark.parametrize("x", [ramp(6, 2), ramp(6), ramp(2, 3, 2), [ramp(3, 2)], ramp(6, 2)[::2], [[1, 2], [3]]])
def test_inputs_are_never_modified_and_may_be_read_only(x):
    arrays = [x] if isinstance(x, np.ndarray) else [a for a in x if isinstance(a, np.ndarray)]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    first(x, [1] * len(first(x)))
    for a, b in zip(arrays, before, strict=True):
        assert_array_equal(a, b)


def test_callers_lengths_are_copied_and_ours_are_read_only():
    lengths = np.array([2, 3])
    series = as_collection(ramp(2, 3), lengths)
    lengths[:] = 1
    assert_array_equal(series.lengths, [2, 3])
    for array in (series.lengths, series.starts, first(ramp(3)).lengths):
        assert not array.flags.writeable
    assert lengths.flags.writeable


@pytest.mark.parametrize(
    ("x_dtype", "y_dtype", "common"),
    [
        ("f4", "f4", "f4"),
        ("f8", "f8", "f8"),
        ("f2", "f2", "f4"),
        ("i4", "i4", "f8"),
        ("?", "?", "f8"),
        ("u8", "i8", "f8"),
        ("g", "g", "f8"),
        ("f4", "f8", "f8"),
        ("f2", "f4", "f4"),
        ("f4", "i8", "f8"),
        ("f4", "i2", "f4"),  # np.result_type says float32
        (">f4", "<f4", "f4"),
        (">f8", ">f8", "f8"),
    ],
)
def test_dtypes_mix_as_numpy_promotes(x_dtype, y_dtype, common):
    x, y = np.ones((3, 1), x_dtype), np.ones((2, 1), y_dtype)
    for pair in [
        as_series_pair(x, y),
        as_series_pair([x], [y]),
        as_series_pair([x, y], [x, y]),
        as_collection_pair([x], y[None]),
    ]:
        assert [series.dtype for series in pair] == [np.dtype(common)] * 2
        assert all(series.data.dtype.isnative for series in pair)
    assert as_collection([x, y]).dtype == common


def test_a_dtype_can_be_asked_for():
    assert as_collection(ramp(3, 5), dtype=np.float32).dtype == np.float32
    series = as_collection(ramp(3, 5))
    assert series.astype(np.float64).data is series.data
    assert series.astype(np.float32).dtype == np.float32
    assert_array_equal(series.astype(np.float32).lengths, series.lengths)


class ArrayLike:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class DLPackOnly:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("device type tensor")


@pytest.mark.parametrize("kind", [ArrayLike, DLPackOnly])
def test_foreign_arrays_are_read_through_their_protocols(kind):
    x = ramp(4, 2)
    assert_array_equal(first(kind(x)).data, x)
    assert_array_equal(first([kind(x)]).data, x)
    assert np.shares_memory(first(kind(x)).data, x)


class ArrayFirst(ArrayLike):
    def __dlpack__(self, **options):
        raise BufferError("not on this device")


def test_array_goes_before_dlpack():
    assert_array_equal(first(ArrayFirst(ramp(4))).data[:, 0], ramp(4))


# ---- and back


@pytest.mark.parametrize("x", [ramp(5), ramp(5, 2), ramp(3, 5, 2), [ramp(4, 2), ramp(3, 2)], [ramp(4), ramp(3, 1)]])
def test_like_gives_a_gradient_the_form_of_its_input(x):
    series = first(x)
    back = series.like(series.data)
    assert type(back) is (list if series.form == "list" else np.ndarray)
    for a, b in zip(back, x, strict=True):
        assert a.shape == b.shape
        assert_array_equal(a, b)


def test_like_of_a_matrix_read_as_a_collection_is_a_matrix():
    X = ramp(3, 5)
    assert_array_equal(as_collection(X).like(X.reshape(-1, 1)), X)


def test_rows_of_a_table_are_those_of_the_padded_array_or_of_the_longest_item():
    assert first(ramp(3, 5, 2), [1, 2, 3]).n_rows == 5
    assert first(ramp(5, 2), 2).n_rows == 5
    assert first([ramp(4), ramp(6)]).n_rows == 6


# ---- lengths and padding


def test_trailing_rows_of_nan_are_padding():
    x = ramp(3, 4, 2)
    x[0, 2:] = nan
    x[1, 3:] = nan
    series = first(x)
    assert_array_equal(series.lengths, [2, 3, 4])
    assert_array_equal(series.starts, [0, 4, 8])
    assert np.shares_memory(series.data, x)
    assert_array_equal(as_collection(x[:, :, 0]).lengths, [2, 3, 4])


def test_explicit_lengths_win_over_nan_and_hide_what_lies_beyond():
    x = ramp(2, 4, 2)
    x[0, 2:], x[1, 3] = nan, [inf, nan]
    assert_array_equal(first(x, [1, 3]).lengths, [1, 3])
    with pytest.raises(ValueError, match=r"x\[0\] holds NaN at time 2, channel 0"):
        first(x, [3, 3])


def test_a_row_that_is_partly_nan_is_no_padding():
    x = ramp(2, 4, 2)
    x[1, 3, 1] = nan
    with pytest.raises(ValueError, match=r"x\[1\] holds NaN at time 3, channel 1"):
        first(x)


def test_lengths_truncate_a_single_series_and_the_items_of_a_list():
    for one in (2, np.int64(2), [2], np.array([2], np.uint8)):
        assert_array_equal(first(ramp(5, 2), one).lengths, [2])
    series = first([ramp(4), np.array([1, 2, nan])], (3, 2))
    assert_array_equal(series.lengths, [3, 2])
    assert_array_equal(series.starts, [0, 4])


@pytest.mark.parametrize(
    ("x", "lengths", "error", "match"),
    [
        (ramp(3, 5, 1), [1, 2], ValueError, r"x_lengths has shape \(2,\); expected \(3,\)"),
        (ramp(3, 5, 1), [], ValueError, r"x_lengths has shape \(0,\); expected \(3,\)"),
        (ramp(3, 5, 1), 4, ValueError, r"x_lengths has shape \(\); expected \(3,\)"),
        (ramp(3, 5, 1), [[1], [2], [3]], ValueError, r"x_lengths has shape \(3, 1\)"),
        (ramp(3, 5, 1), [1, 6, 2], ValueError, r"x_lengths\[1\] is 6, x\[1\] has 5 rows; expected 1 to 5"),
        (ramp(3, 5, 1), [1, 2, 0], ValueError, r"x_lengths\[2\] is 0"),
        (ramp(3, 5, 1), [-1, 2, 3], ValueError, r"x_lengths\[0\] is -1"),
        (ramp(3, 5, 1), np.array([1, 2, 2**64 - 1], np.uint64), ValueError, r"x_lengths\[2\] is 18446744073709551615"),
        (ramp(3, 5, 1), [1.0, 2.0, 3.0], TypeError, r"x_lengths has dtype float64; expected integers"),
        (ramp(3, 5, 1), [True, True, True], TypeError, r"x_lengths has dtype bool"),
        (ramp(3, 5, 1), [1, None, 3], TypeError, r"x_lengths has dtype object"),
        (ramp(3, 5, 1), [1, [2, 3], 3], ValueError, r"x_lengths does not form an array"),
        ([ramp(4), ramp(3)], [4, 4], ValueError, r"x_lengths\[1\] is 4, x\[1\] has 3 rows"),
        (ramp(5), 6, ValueError, r"x_lengths is 6, x has 5 rows; expected 1 to 5"),
        (ramp(5), [2, 3], ValueError, r"x_lengths has shape \(2,\); expected \(1,\)"),
        (ramp(5), 2.0, TypeError, r"x_lengths has dtype float64"),
    ],
)
def test_wrong_lengths(x, lengths, error, match):
    with pytest.raises(error, match=match):
        as_series_pair(x, x, x_lengths=lengths)


def test_lengths_are_named_as_the_caller_knows_them():
    X = ramp(2, 3, 1)
    with pytest.raises(ValueError, match=r"^y_lengths"):
        as_series_pair(X, X, y_lengths=[9, 9])
    with pytest.raises(ValueError, match=r"^lengths\[0\] is 9, X\[0\] has 3 rows"):
        as_collection(X, [9, 9])
    with pytest.raises(ValueError, match=r"^X_lengths"):
        as_collection_pair(X, None, X_lengths=[9, 9])
    with pytest.raises(ValueError, match=r"^Y_lengths"):
        as_collection_pair(X, X, None, [9, 9])
    with pytest.raises(ValueError, match="Y_lengths is given, but Y is None"):
        as_collection_pair(X, None, None, [1, 1])


# ---- what is refused


class Tensor(ArrayLike):
    requires_grad = True


masked = np.ma.masked_array(ramp(3), mask=[0, 1, 0])

WRONG_EVERYWHERE = [
    (None, TypeError, r"x is None, of type NoneType; expected an array of real numbers"),
    ("abc", TypeError, r"x is 'abc', of type str"),
    ({1, 2}, TypeError, r"x is \{1, 2\}, of type set"),
    ((i for i in range(3)), TypeError, r"of type generator"),
    (ramp(3, 2).astype(complex), TypeError, r"x has dtype complex128; expected real numbers"),
    (np.array([["a"]]), TypeError, r"x has dtype <U1; expected real numbers"),
    (np.array([[1, None]]), TypeError, r"x has dtype object; expected real numbers$"),
    (np.array([ramp(3), ramp(4)], object), TypeError, r"x has dtype object; .* list of arrays"),
    (np.zeros((3, 1), "M8[s]"), TypeError, r"x has dtype datetime64"),
    (["abc"], TypeError, r"x\[0\] is 'abc'"),
    ([ramp(3), None], TypeError, r"x\[1\] is None"),
    ([ramp(3), ["a"]], TypeError, r"x\[1\] has dtype <U1"),
    ([ramp(3), ramp(3) * 1j], TypeError, r"x\[1\] has dtype complex128"),
    (Unreadable(), TypeError, r"x, of type Unreadable, cannot be read as a NumPy array: device type tensor"),
    (Tensor(ramp(3)), ValueError, r"x is a tensor that requires grad.*sdtwkit\.torch"),
    ([Tensor(ramp(3))], ValueError, r"x\[0\] is a tensor that requires grad"),
    (masked, ValueError, r"x has masked entries"),
    ([masked], ValueError, r"x\[0\] has masked entries"),
    (3.0, ValueError, r"x has shape \(\); expected"),
    (ramp(2, 2, 2, 2), ValueError, r"x has shape \(2, 2, 2, 2\); expected"),
    ([], ValueError, r"x is an empty collection"),
    ((), ValueError, r"x is an empty collection"),
    ([[]], ValueError, r"x\[0\] has shape \(0,\), that is no rows"),
    (np.zeros((0, 3, 1)), ValueError, r"x has shape \(0, 3, 1\), that is no series"),
    (np.zeros((2, 0, 1)), ValueError, r"x has shape \(2, 0, 1\), that is no rows"),
    (np.zeros((2, 3, 0)), ValueError, r"x has shape \(2, 3, 0\), that is no channels"),
    ([ramp(3), np.zeros((0, 1))], ValueError, r"x\[1\] has shape \(0, 1\), that is no rows"),
    ([np.zeros((2, 0))], ValueError, r"x\[0\] has shape \(2, 0\), that is no channels"),
    ([ramp(3, 2), ramp(3, 3)], ValueError, r"x\[1\] has 3 channels, x\[0\] has 2"),
    ([ramp(3, 2), ramp(3)], ValueError, r"x\[1\] has 1 channel, x\[0\] has 2"),
    ([ramp(3), ramp(2, 3, 4)], ValueError, r"x\[1\] has shape \(2, 3, 4\)"),
    ([ramp(3), 3.0], ValueError, r"x\[1\] has shape \(\)"),
    ([1.0, [2.0, 3.0]], ValueError, r"x does not form an array"),
    ([[[1, 2], [3]]], ValueError, r"x\[0\] does not form an array"),
    ([[1.0, nan]], ValueError, r"x\[0\] holds NaN at time 1, channel 0"),
    ([ramp(4), [1.0, -inf, 2]], ValueError, r"x\[1\] holds -inf at time 1, channel 0; series must be finite"),
    (np.full((2, 3, 1), nan), ValueError, r"x\[0\] is NaN throughout"),
    (np.array([[[1.0]], [[inf]]]), ValueError, r"x\[1\] holds inf at time 0"),
]


@pytest.mark.parametrize(("x", "error", "match"), WRONG_EVERYWHERE)
def test_wrong_series(x, error, match):
    for read in (
        lambda: as_series_pair(x, ramp(3)),
        lambda: as_series_pair(ramp(3), x, names=("y", "x")),
        lambda: as_collection(x, name="x"),
    ):
        with pytest.raises(error, match=match):
            read()


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((0, 1)), r"x has shape \(0, 1\), that is no rows"),
        (np.zeros((3, 0)), r"x has shape \(3, 0\), that is no channels"),
        (np.zeros(0), r"x has shape \(0,\), that is no rows"),
        ([1.0, nan], r"^x holds NaN at time 1, channel 0; .*x_lengths$"),
        (np.array([[0.0, 1], [2, inf]]), r"^x holds inf at time 1, channel 1; series must be finite$"),
    ],
)
def test_wrong_single_series(x, match):
    with pytest.raises(ValueError, match=match):
        first(x)


def test_the_first_offender_is_named_in_full():
    x = ramp(3, 20, 2)
    x[2, 17, 0] = nan
    expected = (
        r"^x\[2\] holds NaN at time 17, channel 0; missing values are not supported: drop or interpolate them, "
        "or mark padding with x_lengths$"
    )
    with pytest.raises(ValueError, match=expected):
        first(x)


def test_the_offender_is_found_in_every_block_of_a_long_series():
    for time in (0, 2**16 - 1, 2**16, 3 * 2**16):
        x = np.zeros(3 * 2**16 + 1)
        x[time] = inf
        with pytest.raises(ValueError, match=f"holds inf at time {time}, "):
            first(x)


@pytest.mark.filterwarnings("error")
def test_huge_and_opposite_numbers_are_finite():
    x = np.array([1e308, 1e308, -1e308, 5e-324])
    assert_array_equal(first(x).data[:, 0], x)
    f = np.array([3e38, 3e38], np.float32)
    assert_array_equal(first(f).data[:, 0], f)


@pytest.mark.filterwarnings("error")
def test_what_overflows_in_conversion_is_reported_as_infinite():
    if np.finfo(np.longdouble).max > np.finfo(float).max:
        with pytest.raises(ValueError, match="holds inf at time 1"):
            first(np.array([1, np.finfo(np.longdouble).max]))
    for X in (np.array([[1, 1e300]]), [np.array([1, 1e300])]):
        with pytest.raises(ValueError, match=r"X\[0\] holds inf at time 1"):
            as_collection(X, dtype=np.float32)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (
            ramp(4, 5),
            ramp(4, 6),
            r"^x has 5 channels, y has 6; both series of a pair need the same number of channels$",
        ),
        (ramp(2, 4, 5), [ramp(4, 1)] * 2, r"^x has 5 channels, y has 1"),
        (ramp(2, 4, 5), ramp(3, 4, 5), r"^x is a collection of 2, y is a collection of 3"),
        (
            ramp(4, 5),
            ramp(3, 4, 5),
            r"^x is one series, y is a collection of 3; expected two single series or two coll",
        ),
        ([ramp(4, 5)], ramp(4, 5), r"^x is a collection of 1, y is one series"),
    ],
)
def test_pairs_that_do_not_match(x, y, match):
    with pytest.raises(ValueError, match=match):
        as_series_pair(x, y)


def test_padded_arrays_and_lists_may_be_paired():
    x, y = as_series_pair(ramp(2, 4, 3), [ramp(2, 3), ramp(7, 3)])
    assert (x.form, y.form) == ("padded", "list")


def test_collections_of_different_sizes_are_compared():
    X, Y = as_collection_pair(ramp(2, 4), [ramp(2), ramp(5), ramp(1)])
    assert (len(X), len(Y)) == (2, 3)
    assert as_collection_pair(ramp(2, 4), None)[1] is None
    with pytest.raises(ValueError, match="X has 2 channels, Y has 3; both"):
        as_collection_pair(ramp(2, 4, 2), ramp(2, 4, 3))


@pytest.mark.parametrize("X", [ramp(5), [1, 2, 3], (1.0, 2.0)])
def test_collection_functions_reject_a_flat_series_and_say_what_to_do(X):
    with pytest.raises(ValueError, match=r"Reshape your data: X\.reshape\(1, -1\) is one univariate series"):
        as_collection(X)


# ---- directions


@pytest.mark.parametrize("x", [ramp(5), ramp(5, 2), ramp(2, 5, 2), [ramp(4, 2), ramp(3, 2)]])
def test_a_direction_has_the_form_and_dtype_of_its_series(x):
    series = first(x).astype(np.float32)
    direction = as_direction(x, series, "dx")
    assert (direction.form, direction.shape, direction.dtype) == (series.form, series.shape, np.float32)
    assert_array_equal(direction.data, series.data)


def test_a_direction_is_not_looked_at_beyond_the_lengths():
    series = first(ramp(2, 4, 1), [2, 3])
    dx = ramp(2, 4, 1)
    dx[0, 2:] = nan
    assert_array_equal(as_direction(dx, series, "dx").lengths, [2, 3])
    dx[1, 2] = inf
    with pytest.raises(ValueError, match=r"dx\[1\] holds inf at time 2"):
        as_direction(dx, series, "dx")


@pytest.mark.parametrize("dx", [ramp(5), ramp(1, 5, 2), ramp(4, 2), [ramp(5, 2)]])
def test_a_direction_of_another_shape_is_refused(dx):
    with pytest.raises(ValueError, match=r"dx has shape .*; expected \(5, 2\), that of its series"):
        as_direction(dx, first(ramp(5, 2)), "dx")


# ---- cost matrices


@pytest.mark.parametrize("C", [ramp(3, 4), ramp(2, 3, 4), ramp(2, 3, 4)[:, ::-1], ramp(3, 4, dtype=">f4"), [[1, 2]]])
def test_matrices_are_contiguous_and_return_in_their_form(C):
    matrices = as_matrices(C)
    assert matrices.data.ndim == 3
    assert matrices.data.flags.c_contiguous
    assert matrices.data.dtype.isnative
    assert matrices.single == (np.ndim(C) == 2)
    assert matrices.shape == np.shape(C)
    assert_array_equal(matrices.like(matrices.data), C)
    assert_array_equal(matrices.rows, [np.shape(C)[-2]] * len(matrices))
    assert_array_equal(matrices.columns, [np.shape(C)[-1]] * len(matrices))
    assert not matrices.has_inf


def test_matrices_follow_dtype_rules():
    for came, kernel in (("f2", "f4"), ("f4", "f4"), ("i4", "f8"), ("f8", "f8")):
        assert as_matrices(np.ones((2, 2), came)).dtype == kernel
    assert as_matrices(ramp(2, 2), dtype=np.float32).dtype == np.float32
    C = as_matrices(np.ones((2, 2), np.float32))
    assert as_matrices(ramp(2, 2), like=C).dtype == np.float32


def test_plus_inf_forbids_a_cell():
    C = ramp(2, 3, 4)
    C[1, 2, 2] = inf
    assert as_matrices(C).has_inf
    assert not as_matrices(C, [3, 2]).has_inf
    assert not as_matrices(C, None, [4, 2]).has_inf


def test_cells_beyond_the_lengths_are_never_looked_at():
    C = ramp(2, 3, 4)
    C[0, 2], C[1, :, 3] = nan, -inf
    matrices = as_matrices(C, [2, 3], [4, 3])
    assert_array_equal(matrices.rows, [2, 3])
    assert_array_equal(matrices.columns, [4, 3])
    assert not matrices.has_inf
    G = as_matrices(C, name="G", like=matrices)
    assert_array_equal(G.columns, [4, 3])
    with pytest.raises(ValueError, match=r"C\[0\] holds NaN at row 2, column 0"):
        as_matrices(C, None, [4, 3])


@pytest.mark.parametrize(
    ("C", "error", "match"),
    [
        (ramp(4), ValueError, r"C has shape \(4,\); expected \(n, m\) or \(B, n, m\)"),
        (np.zeros((0, 3)), ValueError, r"C has shape \(0, 3\)"),
        (np.zeros((0, 3, 3)), ValueError, r"C has shape \(0, 3, 3\)"),
        ([[1.0, nan]], ValueError, r"^C holds NaN at row 0, column 1; expected finite costs, or \+inf"),
        ([[[1.0]], [[-inf]]], ValueError, r"^C\[1\] holds -inf at row 0, column 0"),
        ([[inf, nan]], ValueError, r"^C holds NaN at row 0, column 1"),
        ([[1.0], [2.0, 3.0]], ValueError, r"C does not form an array"),
        (None, TypeError, r"C is None"),
        (ramp(2, 2) * 1j, TypeError, r"C has dtype complex128"),
    ],
)
def test_wrong_matrices(C, error, match):
    with pytest.raises(error, match=match):
        as_matrices(C)


def test_wrong_lengths_of_matrices():
    with pytest.raises(ValueError, match=r"x_lengths\[1\] is 4, C\[1\] has 3 rows"):
        as_matrices(ramp(2, 3, 4), [3, 4])
    with pytest.raises(ValueError, match=r"y_lengths\[0\] is 5, C\[0\] has 4 columns"):
        as_matrices(ramp(2, 3, 4), None, [5, 4])
    assert_array_equal(as_matrices(ramp(3, 4), 2, [3]).columns, [3])


def test_a_cotangent_has_the_shape_of_its_costs_and_is_finite():
    costs = as_matrices(ramp(2, 3, 4))
    for shape in ((3, 4), (2, 4, 3), (24,)):
        with pytest.raises(ValueError, match=r"G has shape .*; expected \(2, 3, 4\)"):
            as_matrices(ramp(*shape), name="G", like=costs)
    G = ramp(2, 3, 4)
    G[1, 2, 3] = inf
    with pytest.raises(ValueError, match=r"G\[1\] holds inf at row 2, column 3; expected finite numbers"):
        as_matrices(G, name="G", like=costs)


def test_a_result_that_float32_does_not_hold_is_named():
    with pytest.raises(ValueError, match=r"a result of -1e\+300 does not fit float32; pass float64 arrays"):
        narrowed(np.array([5.0, np.inf, -1e300]), np.dtype(np.float32))
