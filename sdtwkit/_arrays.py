"""Users' arrays and options, made ready for the kernels: the door of the package.

Whatever came (one series, a padded array, a ragged list; any real dtype, any memory order) leaves as a `Series` or a
`Matrices`: one C-contiguous float32 or float64 block plus int64 starts and lengths, checked to be finite within the
lengths. Options are checked in `_options`.
"""

import functools
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Number
from reprlib import repr as brief

import numpy as np
from numpy import isfinite, ndarray

from ._kernels.alignment import all_finite
from ._words import mixed_devices, not_on_device, one_sided_cost, other_device, special, wrong_type

# Which kernel dtype serves which NumPy dtype, by character code, so that byte order plays no part.
_KERNEL_DTYPE = dict.fromkeys("?bBhHiIlLqQpPdg", np.dtype(np.float64)) | dict.fromkeys("ef", np.dtype(np.float32))
# What an array of so many dimensions is, to pair functions and to collection functions.
PAIR = {1: "single", 2: "single", 3: "padded"}
COLLECTION = {2: "padded", 3: "padded"}


@dataclass(slots=True, eq=False)
class Series:
    """One series or a collection, in one block of memory; read-only in spirit.

    data : (rows, d) C-contiguous float32 or float64, one series after another; padding rows keep their place.
    starts, lengths : (B,) int64, read-only; series b is data[starts[b] : starts[b] + lengths[b]].
    form : "single", "padded" or "list".
    shape : the caller's shape, for a list the shapes of its items.
    """

    data: ndarray
    starts: ndarray
    lengths: ndarray
    form: str
    shape: tuple | list

    def __len__(self):
        return len(self.starts)

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def n_channels(self):
        return self.data.shape[1]

    @property
    def n_rows(self):
        """Rows that a (B, n, m) table or mask has for these series: a padded array's n, a list's longest item."""
        return max(shape[0] for shape in self.shape) if self.form == "list" else len(self.data) // len(self)

    def like(self, flat):
        """A gradient laid out as `data`, in the caller's form; views, not copies."""
        if self.form != "list":
            return flat.reshape(self.shape)
        starts = self.starts.tolist()
        return [flat[k : k + shape[0]].reshape(shape) for k, shape in zip(starts, self.shape, strict=True)]

    def item(self, b):
        """(n_b, d) view of one series."""
        start = self.starts[b]
        return self.data[start : start + self.lengths[b]]

    def astype(self, dtype):
        return Series(self.data.astype(dtype, copy=False), self.starts, self.lengths, self.form, self.shape)

    def padded(self, flat):
        """(B, n, d) of an array laid out as `data`, with zeros beyond the lengths; for arrays of a device."""
        arrays, n = namespace(flat), self.n_rows
        if self.form == "list":
            rows = np.minimum(self.starts[:, None] + np.arange(n), len(flat) - 1)
            table = flat[arrays.asarray(rows)]
        else:
            table = flat.reshape(len(self), n, -1)
        inside = within(self.lengths, n, table)
        return table if inside is None else arrays.where(inside[:, :, None], table, 0)

    def unpadded(self, table):
        """(B, n, d), with zeros beyond the lengths, laid out as `data`: what undoes `padded`."""
        if self.form != "list":
            return table.reshape(-1, table.shape[-1])
        arrays = namespace(table)
        items = np.repeat(np.arange(len(self)), [shape[0] for shape in self.shape])
        times = np.arange(len(items)) - self.starts[items]
        return table[arrays.asarray(items), arrays.asarray(times)]


@dataclass(slots=True, eq=False)
class Matrices:
    """Local costs of one pair or of a batch; read-only in spirit.

    data : (B, n, m) C-contiguous float32 or float64; beyond the lengths it may hold anything. A CuPy array stays one.
    rows, columns : (B,) int64, read-only, the true lengths; on the device if they were given there.
    single : whether the caller gave one matrix (n, m).
    has_inf : whether a cell within the lengths is +inf, that is forbidden.
    """

    data: ndarray
    rows: ndarray
    columns: ndarray
    single: bool
    has_inf: bool = False

    def __len__(self):
        return len(self.data)

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def shape(self):
        """The caller's shape."""
        return self.data.shape[self.single :]

    def like(self, flat):
        """A gradient (B, n, m) in the caller's form; a view, not a copy."""
        return flat.reshape(self.shape)


@dataclass(slots=True, eq=False)
class Potentials:
    """Potentials of one chain or of a batch, in full or as a pair; read-only in spirit.

    data : (B, T, S, S) C-contiguous float32 or float64, into state i (axis 2) from state j; of a pair (B, T, S).
    transition : None, or of a pair (S, S) in the same dtype.
    lengths : (B,) int64, read-only, the true numbers of steps.
    single : whether the caller gave one chain.
    name : what errors call `data`.
    """

    data: ndarray
    transition: ndarray | None
    lengths: ndarray
    single: bool
    name: str

    def __len__(self):
        return len(self.data)

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def shape(self):
        """The caller's shape of `data`."""
        return self.data.shape[self.single :]

    def like(self, flat, transition=None):
        """A gradient in the caller's form; a view, not a copy."""
        flat = flat.reshape(self.shape)
        return flat if self.transition is None else (flat, transition)


# ---- the devices that arrays live on


def namespace(array):
    """The module whose arrays `array` belongs to: numpy, or cupy for those of a CUDA device."""
    if type(array) is ndarray:
        return np
    cupy = sys.modules.get("cupy")  # loaded by whoever made the array; never by us
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def on_device(array):
    return namespace(array) is not np


def device_of(array):
    """A context in which CuPy computes where the array lies; for NumPy arrays one that does nothing."""
    return array.device if on_device(array) else nullcontext()


def beside(array, like):
    """A NumPy array where `like` lies: itself, or a copy on that device."""
    if not on_device(like):
        return array
    with like.device:
        return namespace(like).asarray(array)


def on_host(value):
    """An array, or a list of arrays, as NumPy's; those of a device are waited for."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(on_host, value))
    return value.get() if on_device(value) else value


def stacked(arrays):
    """Arrays of one shape along a new first axis, where they lie."""
    with device_of(arrays[0]):
        return namespace(arrays[0]).stack(arrays)


def within(lengths, n, like):
    """(B, n) bool, where `like` lies: which of n rows are within the lengths; None if all are, as far as is known."""
    if type(lengths) is ndarray and (lengths == n).all():
        return None
    arrays = namespace(like)
    return arrays.arange(n) < arrays.asarray(lengths)[:, None]


def transposed(a):
    """(..., n, m) -> (..., m, n), a view."""
    return a.swapaxes(-1, -2)


def product(a, b):
    """a (..., n, k) @ b (..., k, m).

    On a device by sums of products, over the shorter of k and m: CuPy's own needs cuBLAS, half a gigabyte that nothing
    else here asks for.
    """
    if not on_device(a):
        return a @ b
    (k, m), columns = b.shape[-2:], transposed(b)
    if m < k:
        return namespace(a).stack([(a * columns[..., c : c + 1, :]).sum(axis=-1) for c in range(m)], axis=-1)
    return sum(a[..., j : j + 1] * b[..., j : j + 1, :] for j in range(k))


def check_one_place(arrays, names):
    """Refuse arrays (or lists of them, checked before), some NumPy's and some CuPy's, or those of two devices."""
    if "cupy" not in sys.modules:
        return
    arrays = [array[0] if type(array) is list else array for array in arrays]
    places = [on_device(array) for array in arrays]
    if any(places) and not all(places):
        k = places.index(not places[0])
        raise mixed_devices(names[k], places[k])
    if all(places):
        for name, array in zip(names, arrays, strict=True):
            if array.device.id != arrays[0].device.id:
                raise other_device(name, array.device.id, arrays[0].device.id)


# ---- series


def as_series_pair(x, y, x_lengths=None, y_lengths=None, names=("x", "y"), lengths_names=(None, None)):
    """The two arguments of a pair function as two Series of equal B, channels and dtype."""
    x, y = _pack_both(x, y, PAIR, x_lengths, y_lengths, names, lengths_names)
    if x.form != y.form and "single" in (x.form, y.form):
        raise ValueError(
            f"{_count(x, names[0])}, {_count(y, names[1])}; expected two single series or two collections "
            "(an array (n, d) or (n,) is one series, an array (B, n, d) or a list is a collection)"
        )
    if len(x.starts) != len(y.starts):
        raise ValueError(
            f"{_count(x, names[0])}, {_count(y, names[1])}; collections paired item by item need equal sizes"
        )
    _check_same_channels(x, y, names)
    return x, y


def as_direction(value, series, name):
    """A tangent of one side of a pair, as Series of the same form, shape, lengths and dtype."""
    raw, form = read_series(value, PAIR, name)
    of_device = on_device(raw[0] if form == "list" else raw)
    if of_device != on_device(series.data):
        raise mixed_devices(name, of_device)
    shape = [item.shape for item in raw] if form == "list" else raw.shape
    if shape != series.shape:
        raise ValueError(f"{name} has shape {brief(shape)}; expected {brief(series.shape)}, that of its series")
    direction = _lay_out(raw, form, series.dtype, name)
    direction.lengths = series.lengths
    if not all_finite(direction.data):
        _check_finite(direction, name, "lengths")
    return direction


def as_collection(X, lengths=None, name="X", dtype=None, device=False):
    """The argument of a collection function as Series; a 2-D array holds B univariate series.

    device : CuPy arrays are taken, and waited for: what they hold is checked, and lengths come to the host.
    """
    raw, form = read_series(X, COLLECTION, name)
    of_device = on_device(raw[0] if form == "list" else raw)
    if of_device and not device:
        raise not_on_device(f"this treatment of {name}")
    dtype = _common_dtype(raw, raw) if dtype is None else np.dtype(dtype)
    if not of_device:
        return _pack(raw, form, dtype, lengths, name, "lengths")
    series = _lay_out(raw, form, dtype, name)
    with series.data.device:
        finite = bool(on_host(namespace(series.data).isfinite(series.data).all()))
    seen = Series(None if finite else on_host(series.data), series.starts, series.lengths, form, series.shape)
    _settle_lengths(seen, finite, None if lengths is None else on_host(lengths), name, "lengths")
    series.lengths = seen.lengths
    return series


def as_collection_pair(X, Y, X_lengths=None, Y_lengths=None):
    """Two collections, of any two sizes, as Series of equal channels and dtype; (Series, None) where Y is None."""
    if Y is not None:
        X, Y = _pack_both(X, Y, COLLECTION, X_lengths, Y_lengths, ("X", "Y"))
        _check_same_channels(X, Y, ("X", "Y"))
        return X, Y
    if Y_lengths is not None:
        raise ValueError("Y_lengths is given, but Y is None; expected X_lengths alone")
    raw, form = read_series(X, COLLECTION, "X")
    return _pack(raw, form, _common_dtype(raw, raw), X_lengths, "X", "X_lengths"), None


def _pack_both(x, y, forms, x_lengths, y_lengths, names, lengths_names=(None, None)):
    x, x_form = read_series(x, forms, names[0])
    y, y_form = read_series(y, forms, names[1])
    check_one_place((x, y), names)
    dtype = _common_dtype(x, y)
    x = _pack(x, x_form, dtype, x_lengths, names[0], lengths_names[0])
    return x, _pack(y, y_form, dtype, y_lengths, names[1], lengths_names[1])


def _check_same_channels(x, y, names):
    if x.data.shape[1] != y.data.shape[1]:
        raise ValueError(
            f"{names[0]} has {_channels(x.n_channels)}, {names[1]} has {y.n_channels}; both series of a pair need the "
            "same number of channels"
        )


def read_series(value, forms, name):
    """-> (array or list of arrays, in their own dtypes; form). `forms` is PAIR or COLLECTION."""
    if type(value) is ndarray and (form := forms.get(value.ndim)) and value.dtype.char in _KERNEL_DTYPE:
        return value, form  # nothing to read, and nothing wrong
    if isinstance(value, (list, tuple)) and not (value and isinstance(value[0], (Number, np.generic))):
        return _read_items(value, name), "list"
    array = _read(value, name, device=True)
    form = forms.get(array.ndim)
    if form is None:
        flat = "(n,), (n, d)" if forms is PAIR else "(B, n)"
        hint = f". Reshape your data: {name}.reshape(1, -1) is one univariate series" if array.ndim == 1 else ""
        raise ValueError(f"{name} has shape {array.shape}; expected {flat}, (B, n, d) or a list of series{hint}")
    return array, form


def _read_items(items, name):
    if not items:
        raise ValueError(f"{name} is an empty collection; expected at least one series")
    arrays = [_read(item, f"{name}[{i}]", device=True) for i, item in enumerate(items)]
    check_one_place(arrays, [f"{name}[{i}]" for i in range(len(arrays))])
    for i, array in enumerate(arrays):
        if not 1 <= array.ndim <= 2:
            raise ValueError(f"{name}[{i}] has shape {array.shape}; expected (n, d) or (n,) for a series of a list")
    return arrays


def _read(value, name, device=False):
    """`value` as an ndarray of real numbers in its own dtype, copied only if it was no array.

    `device` : a CuPy array may stay one.
    """
    array = value if type(value) is ndarray or (device and on_device(value)) else to_ndarray(value, name)
    if array.dtype.char in _KERNEL_DTYPE:
        return array
    if array.ndim == 0:
        raise wrong_type(value, name, "an array of real numbers")
    ragged = array.dtype.hasobject and any(map(np.ndim, array.flat))
    hint = "; a ragged collection is a list of arrays, not an object array" if ragged else ""
    raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers{hint}")


def as_numbers(value, name):
    """`value` as an ndarray of real numbers in its own dtype, finite or not."""
    return _read(value, name)


def to_ndarray(value, name):
    """`value` as an ndarray of whatever it holds."""
    if getattr(value, "requires_grad", False) is True:
        raise ValueError(
            f"{name} is a tensor that requires grad, and a NumPy function would drop its gradient; use sdtwkit.torch, "
            f"or pass {name}.detach()"
        )
    if on_device(value):
        raise not_on_device(f"taking {name} from a device")
    if hasattr(value, "__cuda_array_interface__"):
        raise TypeError(
            f"{name}, of type {type(value).__name__}, lies on a CUDA device; expected a NumPy or a CuPy array "
            '(cupy.asarray shares its memory; pip install "sdtwkit[gpu]")'
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill or drop them, or mark padding with lengths")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:  # nested lists of unequal lengths
        raise ValueError(f"{name} does not form an array ({error}); expected numbers in a regular shape") from error
    except Exception as error:  # whatever a foreign array answers: another device, an unknown dtype, a traced value
        raise TypeError(f"{name}, of type {type(value).__name__}, cannot be read as a NumPy array: {error}") from error


def _common_dtype(x, y):
    """The kernel dtype of all arrays together, mixed as NumPy promotes."""
    if type(x) is type(y) is ndarray and x.dtype is y.dtype:
        return _KERNEL_DTYPE[x.dtype.char]
    dtypes = {array.dtype for raw in (x, y) for array in (raw if type(raw) is list else [raw])}
    return _KERNEL_DTYPE[np.result_type(*dtypes).char]


def _pack(raw, form, dtype, lengths, name, lengths_name=None):
    """Series with their true lengths, finite within them."""
    series = _lay_out(raw, form, dtype, name)
    finite = all_finite(series.data)
    if lengths is not None or not finite:
        _settle_lengths(series, finite, lengths, name, lengths_name or f"{name}_lengths")
    return series


def _settle_lengths(series, finite, lengths, name, lengths_name):
    """Give series their true lengths, within which they must be finite; the data is read unless it is `finite`."""
    if lengths is not None:
        series.lengths = _check_lengths(lengths, series.lengths, series.form == "single", name, lengths_name)
    if not finite:
        if lengths is None and series.form == "padded":
            series.lengths = _lengths_before_nan(series, name)
        _check_finite(series, name, lengths_name)


def _lay_out(raw, form, dtype, name):
    """Series over all rows of `raw`; a view where dtype and memory order allow it."""
    if form == "list":
        return _lay_out_list(raw, dtype, name)
    shape = raw.shape
    if 0 in shape:
        _refuse_empty(shape, form, name)
    raw = _kernel_ready(raw, dtype)
    if form == "single":
        return Series(raw if len(shape) == 2 else raw.reshape(-1, 1), _ZERO, _one(shape[0]), form, shape)
    B, n = shape[:2]
    return Series(raw.reshape(B * n, -1), _frozen(np.arange(0, B * n, n)), _equal(B, n), form, shape)


def _lay_out_list(arrays, dtype, name):
    shapes = [array.shape for array in arrays]
    widths = [shape[1] if len(shape) == 2 else 1 for shape in shapes]
    for i, shape in enumerate(shapes):
        if 0 in shape:
            _refuse_empty(shape, "single", f"{name}[{i}]")
        if widths[i] != widths[0]:
            raise ValueError(
                f"{name}[{i}] has {_channels(widths[i])}, {name}[0] has {widths[0]}; all series of a collection need "
                "the same number of channels"
            )
    lengths = np.array([shape[0] for shape in shapes], dtype=np.int64)
    if on_device(arrays[0]):
        with arrays[0].device:
            data = namespace(arrays[0]).concatenate([array.reshape(len(array), -1) for array in arrays])
        return Series(
            _kernel_ready(data, dtype), _frozen(np.cumsum(lengths) - lengths), _frozen(lengths), "list", shapes
        )
    # Written into an array of our own: concatenate alone keeps Fortran order where all items have it.
    data = np.empty((lengths.sum(), widths[0]), dtype)
    with np.errstate(over="ignore"):
        np.concatenate([array.reshape(len(array), -1) for array in arrays], out=data)
    return Series(data, _frozen(np.cumsum(lengths) - lengths), _frozen(lengths), "list", shapes)


def _kernel_ready(array, dtype):
    """`array` itself if it has that dtype and is C-contiguous and aligned, else a copy that is."""
    if type(array) is not ndarray and on_device(array):
        with array.device:
            return namespace(array).ascontiguousarray(array, dtype)
    flags = array.flags
    if array.dtype is dtype and flags.c_contiguous and flags.aligned:
        return array
    with np.errstate(over="ignore"):  # what overflows becomes inf and is reported as such
        return np.require(array, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def _frozen(array):
    array = array.astype(np.int64, copy=False)
    array.flags.writeable = False
    return array


def _equal(B, n):
    """(B,) times n."""
    return _one(n) if B == 1 else _frozen(np.full(B, n))


@functools.lru_cache(maxsize=1024)  # building such an array costs as much as checking a short series
def _one(n):
    return _frozen(np.array([n]))


_ZERO = _one(0)


def _check_lengths(lengths, available, single, name, lengths_name, unit="rows", least=1):
    """-> (B,) int64 with least <= lengths <= available; for a single series a number will do."""
    array = lengths if on_device(lengths) else to_ndarray(lengths, lengths_name)
    if single and array.ndim == 0:
        array = array.reshape(1)
    B = len(available)
    if array.shape != (B,):
        raise ValueError(f"{lengths_name} has shape {array.shape}; expected ({B},), one length for each of {B} series")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{lengths_name} has dtype {array.dtype}; expected integers")
    if on_device(array):  # the kernels answer NaN for a length out of range
        return _kernel_ready(array, np.int64)
    wrong = np.flatnonzero((array < least) | (array > available))
    if len(wrong):
        b = wrong[0]
        at = "" if single else f"[{b}]"
        most = available[b]
        raise ValueError(f"{lengths_name}{at} is {array[b]}, {name}{at} has {most} {unit}; expected {least} to {most}")
    return _frozen(array.astype(np.int64))


def bring_lengths(series, name):
    """Let lengths that lie on a device come to the host, as who goes pair by pair must know them; they are checked."""
    if on_device(series.lengths):
        single, available = series.form == "single", [series.n_rows] * len(series)
        if series.form == "list":
            available = [shape[0] for shape in series.shape]
        lengths, name_of_lengths = on_host(series.lengths), f"{name}_lengths"
        series.lengths = _check_lengths(lengths, np.array(available), single, name, name_of_lengths)


def _lengths_before_nan(series, name):
    """(B,) lengths of a padded array, in which trailing all-NaN rows are padding."""
    real = ~np.isnan(series.data).all(axis=1).reshape(len(series), -1)
    empty = np.flatnonzero(~real.any(axis=1))
    if len(empty):
        raise ValueError(f"{name}[{empty[0]}] is NaN throughout, hence padding alone; expected at least one row")
    return _frozen(real.shape[1] - np.argmax(real[:, ::-1], axis=1))


def _check_finite(series, name, lengths_name):
    """Refuse the first NaN or infinity within the lengths; slow, for series that hold one somewhere."""
    rows, channels = np.nonzero(~isfinite(series.data))
    owners = np.searchsorted(series.starts, rows, side="right") - 1
    times = rows - series.starts[owners]
    within = np.flatnonzero(times < series.lengths[owners])
    if not len(within):
        return
    k = within[0]
    value = series.data[rows[k], channels[k]]
    remedy = "series must be finite"
    if np.isnan(value):
        remedy = f"missing values are not supported: drop or interpolate them, or mark padding with {lengths_name}"
    item = name if series.form == "single" else f"{name}[{owners[k]}]"
    raise ValueError(f"{item} holds {special(value)} at time {times[k]}, channel {channels[k]}; {remedy}")


# ---- cost matrices


def as_matrices(C, x_lengths=None, y_lengths=None, *, name="C", like=None, dtype=None):
    """Costs (n, m) or (B, n, m), rows along x, as Matrices; +inf forbids a cell, NaN and -inf raise.

    `like` : the Matrices that C is a direction or a cotangent of. Shape, lengths and dtype are theirs, and C must be
    finite within the lengths.
    """
    array = _read(C, name, device=True) if like is None else _read_beside(C, like.data, name)
    if like is not None and array.shape != like.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {like.shape}, that of what it belongs to")
    if not 2 <= array.ndim <= 3 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected (n, m) or (B, n, m), at least 1 each")
    if dtype is None:
        dtype = _KERNEL_DTYPE[array.dtype.char] if like is None else like.dtype
    single = array.ndim == 2
    data = _kernel_ready(array[None] if single else array, np.dtype(dtype))
    if like is None:
        B, n, m = data.shape
        rows, columns = _equal(B, n), _equal(B, m)
        if x_lengths is not None:
            rows = _check_lengths(x_lengths, rows, single, name, "x_lengths")
        if y_lengths is not None:
            columns = _check_lengths(y_lengths, columns, single, name, "y_lengths", unit="columns")
    else:
        rows, columns = like.rows, like.columns
    matrices = Matrices(data, rows, columns, single)
    if not all_finite(data):
        matrices.has_inf = _check_cells(matrices, name, inf_allowed=like is None)
    return matrices


def _check_cells(matrices, name, inf_allowed):
    """-> whether a cell within the lengths is +inf; whatever else is not finite there raises."""
    has_inf = False
    for b, (n, m) in enumerate(zip(matrices.rows.tolist(), matrices.columns.tolist(), strict=True)):
        block = matrices.data[b, :n, :m]
        if isfinite(block).all():
            continue
        right = block > -np.inf if inf_allowed else isfinite(block)
        if not right.all():
            i, j = np.unravel_index(np.argmin(right), block.shape)
            item = name if matrices.single else f"{name}[{b}]"
            expected = "finite costs, or +inf where a cell is forbidden" if inf_allowed else "finite numbers"
            raise ValueError(f"{item} holds {special(block[i, j])} at row {i}, column {j}; expected {expected}")
        has_inf = True
    return has_inf


# ---- log-probabilities and label sequences


@dataclass(slots=True, eq=False)
class Transcripts:
    """Frames of log-probabilities and the label sequences they may spell; read-only in spirit.

    log_probs : (B, T, K) C-contiguous float32 or float64; beyond the lengths it may hold anything.
    targets : (B, M) C-contiguous int64, or None.
    frames, lengths : (B,) int64, the true numbers of frames and of labels.
    single : whether the caller gave one sample.
    """

    log_probs: ndarray
    targets: ndarray | None
    frames: ndarray
    lengths: ndarray | None
    single: bool

    @property
    def dtype(self):
        return self.log_probs.dtype


def as_transcripts(log_probs, input_lengths, blank, targets, target_lengths):
    """What `as_frames` reads, and targets (M,) or (B, M): labels below K other than the blank."""
    batch = as_frames(log_probs, input_lengths, blank)
    B, _, K = batch.log_probs.shape
    batch.targets, batch.lengths = _check_targets(targets, target_lengths, B, K, blank, batch.single)
    arrays = {"targets": batch.targets, "input_lengths": batch.frames, "target_lengths": batch.lengths}
    for name, array in arrays.items():
        if on_device(array):  # those of the host will do beside log_probs of a device
            check_one_place((batch.log_probs, array), ("log_probs", name))
    return batch


def as_frames(log_probs, input_lengths, blank):
    """log_probs (T, K) or (B, T, K), below +inf, as Transcripts without targets."""
    array = _read(log_probs, "log_probs", device=True)
    if not 2 <= array.ndim <= 3 or 0 in array.shape:
        raise ValueError(f"log_probs has shape {array.shape}; expected (B, T, K) or (T, K), at least 1 each")
    single = array.ndim == 2
    data = _kernel_ready(array[None] if single else array, _KERNEL_DTYPE[array.dtype.char])
    B, T, K = data.shape
    if blank >= K:
        raise ValueError(f"blank is {blank}, log_probs has {K} classes; expected one of them")
    frames = _equal(B, T)
    if input_lengths is not None:
        frames = _check_lengths(input_lengths, frames, single, "log_probs", "input_lengths", unit="frames")
    if not on_device(data) and not data.max() < np.inf:
        _check_log_probs(data, frames, single)
    return Transcripts(data, None, frames, None, single)


def as_transcript_direction(value, batch):
    """A direction of the log-probabilities, (B, T, K) in their dtype; finite in the frames."""
    B, _, K = batch.log_probs.shape
    like = Matrices(batch.log_probs, batch.frames, _equal(B, K), batch.single)
    return as_matrices(value, name="direction", like=like).data


def _check_log_probs(data, frames, single):
    for b, n in enumerate(frames.tolist()):
        wrong = np.argwhere(~(data[b, :n] < np.inf))
        if len(wrong):
            t, k = wrong[0]
            item = "log_probs" if single else f"log_probs[{b}]"
            raise ValueError(
                f"{item} holds {special(data[b, t, k])} at frame {t}, class {k}; expected logarithms of probabilities, "
                "-inf for an impossible class"
            )


def _check_targets(targets, lengths, B, K, blank, single):
    array = targets if on_device(targets) else to_ndarray(targets, "targets")
    if array.ndim == 0:
        raise wrong_type(targets, "targets", "an array of integer labels")
    if array.ndim != 2 - single or (not single and len(array) != B):
        expected = "(M,)" if single else f"({B}, M)"
        raise ValueError(f"targets has shape {array.shape}; expected {expected}, label sequences of the samples")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"targets has dtype {array.dtype}; expected integer labels")
    array = _kernel_ready(array.reshape(B, -1), np.dtype(np.int64)) if array.size else np.zeros((B, 0), np.int64)
    M = array.shape[1]
    if lengths is None:
        lengths = _equal(B, M)
    else:
        lengths = _check_lengths(lengths, _equal(B, M), single, "targets", "target_lengths", unit="labels", least=0)
    if on_device(array) or on_device(lengths):  # the kernels answer NaN for a label that is none
        return array, lengths
    wrong = (np.arange(M) < lengths[:, None]) & ((array < 0) | (array >= K) | (array == blank))
    if wrong.any():
        b, k = np.argwhere(wrong)[0]
        item = "targets" if single else f"targets[{b}]"
        raise ValueError(
            f"{item} holds {array[b, k]} at index {k}; expected labels from 0 to {K - 1} other than the blank, {blank}"
        )
    return array, lengths


# ---- potentials of chains


def as_potentials(theta, lengths=None):
    """Potentials (T, S, S) or (B, T, S, S), or a tuple (unary (T, S) or (B, T, S), transition (S, S)), as Potentials.

    -inf forbids. What else is not finite in `data` is left for the kernels to find, which read it all anyway:
    `check_potentials` says then where it is.
    """
    if isinstance(theta, tuple):
        return _as_pair(theta, lengths)
    array = _read(theta, "theta", device=True)
    shape = array.shape
    if not 3 <= array.ndim <= 4 or 0 in shape or shape[-1] != shape[-2]:
        raise ValueError(
            f"theta has shape {shape}; expected (T, S, S) or (B, T, S, S), at least 1 each, or a tuple (unary, "
            "transition)"
        )
    return _as_potentials(array, None, 3, _KERNEL_DTYPE[array.dtype.char], lengths, "theta")


def _as_pair(pair, lengths):
    if len(pair) != 2:
        raise ValueError(f"theta is a tuple of {len(pair)}; expected an array or the pair (unary, transition)")
    unary, transition = as_unary_and_transition(*pair)
    dtype = _common_dtype(unary, transition)
    transition = _kernel_ready(transition, dtype)
    return _as_potentials(unary, transition, 2, dtype, lengths, "unary")


def as_unary_and_transition(unary, transition):
    """-> arrays (T, S) or (B, T, S) and (S, S), in their own dtypes; the transition finite or -inf."""
    unary, transition = _read(unary, "unary", device=True), _read(transition, "transition", device=True)
    check_one_place((unary, transition), ("unary", "transition"))
    if not 2 <= unary.ndim <= 3 or 0 in unary.shape:
        raise ValueError(f"unary has shape {unary.shape}; expected (T, S) or (B, T, S), at least 1 each")
    S = unary.shape[-1]
    if transition.shape != (S, S):
        raise ValueError(f"transition has shape {transition.shape}; expected {(S, S)}, from and into {S} states")
    check_scores(transition, "transition", ("row", "column"))
    return unary, transition


def _as_potentials(array, transition, ndim, dtype, lengths, name):
    single = array.ndim == ndim
    data = _kernel_ready(array[None] if single else array, dtype)
    steps = _equal(*data.shape[:2])
    if lengths is not None:
        steps = _check_lengths(lengths, steps, single, name, "lengths", unit="steps")
        if on_device(steps):
            check_one_place((data, steps), (name, "lengths"))
    return Potentials(data, transition, steps, single, name)


def check_scores(array, name, axes):
    """Refuse NaN and +inf, saying where the first is; `axes` name the axes of the array.

    An array on a device is taken at its word, as by the kernels' `all_finite`.
    """
    if on_device(array):
        return
    wrong = ~(array < np.inf)
    if wrong.any():
        at = np.unravel_index(np.argmax(wrong), array.shape)
        place = ", ".join(f"{axis} {index}" for axis, index in zip(axes, at, strict=True))
        raise ValueError(f"{name} holds {special(array[at])} at {place}; expected finite scores, or -inf to forbid")


def check_potentials(potentials):
    """Refuse the first NaN or +inf within the lengths, as `check_scores` does."""
    if on_device(potentials.data):
        return
    axes = ("step", "state") if potentials.transition is not None else ("step", "into state", "from state")
    for b, length in enumerate(potentials.lengths.tolist()):
        name = potentials.name if potentials.single else f"{potentials.name}[{b}]"
        check_scores(potentials.data[b, :length], name, axes)


def as_potential_direction(value, potentials, name):
    """A direction of the potentials, as (array laid out as `data`, None or an array (S, S)); finite in the lengths."""
    if potentials.transition is None:
        return _as_direction_of(value, potentials, name), None
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} is {brief(value)}; expected a tuple as theta is one: (unary, transition)")
    unary = _as_direction_of(value[0], potentials, f"{name}[0]")
    transition = _read_beside(value[1], potentials.data, f"{name}[1]")
    if transition.shape != potentials.transition.shape:
        raise ValueError(
            f"{name}[1] has shape {transition.shape}; expected {potentials.transition.shape}, that of the transition"
        )
    return unary, _check_direction(_kernel_ready(transition, potentials.dtype), f"{name}[1]")


def as_marginal_cotangent(value, potentials, name="cotangent"):
    """A cotangent of the marginals, laid out as `data`."""
    return _as_direction_of(value, potentials, name)


def _read_beside(value, other, name):
    """A real array that lies where the other does."""
    array = _read(value, name, device=True)
    if on_device(array) != on_device(other):
        raise mixed_devices(name, on_device(array))
    return array


def _as_direction_of(value, potentials, name):
    array = _read_beside(value, potentials.data, name)
    if array.shape != potentials.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {potentials.shape}, that of {potentials.name}")
    data = _kernel_ready(array.reshape(potentials.data.shape), potentials.dtype)
    if not all_finite(data):
        for b, length in enumerate(potentials.lengths.tolist()):
            _check_direction(data[b, :length], name if potentials.single else f"{name}[{b}]")
    return data


def _check_direction(array, name):
    if on_device(array):
        return array
    wrong = ~isfinite(array)
    if wrong.any():
        at = np.unravel_index(np.argmax(wrong), array.shape)
        index = ", ".join(map(str, at))
        raise ValueError(f"{name} holds {special(array[at])} at index ({index}); expected finite numbers")
    return array


def as_start_scores(start, like):
    """(S,) beside the potentials `like` (..., S, S) and of their dtype, finite or -inf."""
    S = like.shape[-1]
    start = _read_beside(start, like, "start")
    if start.shape != (S,):
        raise ValueError(f"start has shape {start.shape}; expected {(S,)}, one score for each state")
    check_scores(start, "start", ("state",))
    return start.astype(like.dtype)


# ---- graphs


def as_dag(indptr, indices):
    """CSR arrays of the edges into each node, as int64 (N + 1,) and (E,): rows in order, sources before their nodes."""
    first, source = (_as_integers(value, name) for value, name in ((indptr, "indptr"), (indices, "indices")))
    if len(first) < 2 or first[0] != 0 or first[-1] != len(source) or (np.diff(first) < 0).any():
        raise ValueError(
            f"indptr, of {len(first)} entries, does not split the {len(source)} edges of indices; expected entries "
            f"that rise from 0 to {len(source)}, one more than there are nodes"
        )
    node = np.repeat(np.arange(len(first) - 1), np.diff(first))
    wrong = np.flatnonzero((source < 0) | (source >= node))
    if len(wrong):
        e = wrong[0]
        raise ValueError(
            f"indices[{e}] is {source[e]}, the source of an edge into node {node[e]}; expected an earlier node (number "
            "the nodes so that every edge leads to a higher number)"
        )
    return first, source


def _as_integers(value, name):
    array = to_ndarray(value, name)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected a vector")
    if array.dtype.kind not in "iu" and len(array):
        raise TypeError(f"{name} has dtype {array.dtype}; expected integers")
    return _frozen(np.array(array, dtype=np.int64))


def as_edge_costs(costs, name, n_edges, like=None):
    """-> float64 (B, E), the dtype of results, the caller's shape; finite or +inf.

    `like` : the shape of the costs that these are a direction of; then finite.
    """
    array = _read(costs, name)
    if like is not None and array.shape != like:
        raise ValueError(f"{name} has shape {array.shape}; expected {like}, that of the costs")
    if not 1 <= array.ndim <= 2 or array.shape[-1] != n_edges:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (E,) or (B, E) for the {n_edges} edges of the graph"
        )
    data = _kernel_ready(np.atleast_2d(array), np.dtype(np.float64))
    right = data > -np.inf if like is None else isfinite(data)
    if not right.all():
        b, e = np.unravel_index(np.argmin(right), data.shape)
        item = name if array.ndim == 1 else f"{name}[{b}]"
        expected = "finite costs, or +inf where an edge is forbidden" if like is None else "finite numbers"
        raise ValueError(f"{item} holds {special(data[b, e])} at edge {e}; expected {expected}")
    return data, _KERNEL_DTYPE[array.dtype.char], array.shape


# ---- smaller arrays


def as_prior(prior, shape, rows, columns, dtype):
    """(B or 1, n, m) of `dtype`, to be added to the costs of pairs with these lengths."""
    array = _read(prior, "prior", device=True)
    if array.shape not in (shape, shape[1:]):
        raise ValueError(f"prior has shape {array.shape}; expected (n, m) = {shape[1:]} or (B, n, m) = {shape}")
    if on_device(array):
        return _kernel_ready(array[None] if array.ndim == 2 else array, dtype)
    if on_device(rows) or on_device(columns):  # lengths that nobody here knows
        rows, columns = _equal(shape[0], shape[1]), _equal(shape[0], shape[2])
    if array.ndim == 2:  # one for all pairs, so read within the longest of them
        rows, columns = _frozen(rows.max(keepdims=True)), _frozen(columns.max(keepdims=True))
    data = _kernel_ready(array[None] if array.ndim == 2 else array, dtype)
    prior = Matrices(data, rows, columns, array.ndim == 2)
    if not all_finite(data):
        _check_cells(prior, "prior", inf_allowed=True)
    return prior.data


def as_weights(weights, n, name):
    """(n,) float64, one weight for each series: finite, >= 0 and not all 0."""
    weights = _read(weights, name)
    if weights.shape != (n,):
        raise ValueError(f"{name} has shape {weights.shape}; expected ({n},), one weight for each of {n} series")
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        raise ValueError(f"{name}[{wrong[0]}] is {weights[wrong[0]]}; expected finite numbers >= 0")
    if not weights.any():
        raise ValueError(f"{name} is zero throughout; expected at least one weight > 0")
    return weights.astype(np.float64)


def as_real_array(value, name, device=False):
    """An array of finite real numbers of any shape, C-contiguous float32 or float64.

    `device` : a CuPy array may stay one, and is taken at its word.
    """
    array = _read(value, name, device)
    array = _kernel_ready(array, _KERNEL_DTYPE[array.dtype.char])
    if not all_finite(array):
        k = int(np.argmin(np.isfinite(array).ravel()))
        at = ", ".join(map(str, np.unravel_index(k, array.shape)))
        raise ValueError(f"{name} holds {special(array.ravel()[k])} at index ({at}); expected finite numbers")
    return array


def check_vector(x, name, largest=False, like=None):
    """Candidates of a smoothed extremum, (n,) float32 or float64: finite, or infinite on the side that never wins.

    `largest` : the maximum is sought, so -inf is allowed; else +inf. `like` : x is a direction of that shape, finite.
    On a device what is wrong makes the answer NaN.
    """
    x = _read(x, name, device=True)
    if like is not None:
        check_one_place([like, x], ["x", name])
    if x.ndim != 1 or not len(x) or (like is not None and x.shape != like.shape):
        raise ValueError(f"{name} has shape {x.shape}; expected {'(n,), n >= 1' if like is None else like.shape}")
    x = x.astype(_KERNEL_DTYPE[x.dtype.char] if like is None else like.dtype)
    if on_device(x):
        return x
    allowed = np.isfinite(x)
    if like is None:
        allowed |= x == (-np.inf if largest else np.inf)
    if not allowed.all():
        k = np.argmin(allowed)
        expected = "finite numbers" if like is not None else f"finite numbers or {'-inf' if largest else '+inf'}"
        raise ValueError(f"{name} holds {special(x[k])} at index {k}; expected {expected}")
    return x


def check_collection_cost(cost, X, Y):
    """Refuse a cost that does not compare two series, and series Y outside its domain; Y None is X.

    For a cost that goes pair by pair, lengths on a device are brought from there.
    """
    if not cost.y_is_differentiable:
        raise one_sided_cost()
    if on_device(X.data):  # whether Y is in the domain would have to be waited for
        if not cost.takes_batches:
            bring_lengths(X, "X")
            if Y is not None:
                bring_lengths(Y, "Y")
        return
    if cost.fused:  # defined everywhere
        return
    name, Y = ("X", X) if Y is None else ("Y", Y)
    for b in range(len(Y)):
        cost.check(X.item(0), Y.item(b), f"{name}[{b}]")


def narrowed(array, dtype):
    """`array` in a narrower dtype, if that holds it; on a device what it does not hold becomes infinite."""
    if on_device(array):
        return array.astype(dtype)
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    beyond = np.isfinite(array) & ~np.isfinite(narrow)
    if beyond.any():
        raise ValueError(f"a result of {array[beyond][0]:.3g} does not fit {dtype}; pass float64 arrays")
    return narrow


# ---- words


def _refuse_empty(shape, form, name):
    lacking = ("series", "rows", "channels")[shape.index(0) + (form == "single")]
    raise ValueError(f"{name} has shape {shape}, that is no {lacking}; expected at least one")


def _channels(d):
    return f"{d} channel" if d == 1 else f"{d} channels"


def _count(series, name):
    return f"{name} is one series" if series.form == "single" else f"{name} is a collection of {len(series)}"
