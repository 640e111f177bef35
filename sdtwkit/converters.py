"""The layouts of other libraries, and ours: an array (B, n, d), time before channels, or a list of (n_i, d) arrays.

Every function returns views of what it was given where that is possible at all, copies where it says so; none checks
numbers that it does not have to look at, for whatever is wrong with them is reported where they are used. A function
`to_...` takes what every function of this package takes: a 2-D array is B univariate series, trailing rows of NaN are
padding.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays
from ._typing import Array, Arrays, Integers, Lengths

__all__ = [
    "from_aeon",
    "from_flat",
    "from_librosa",
    "from_sktime",
    "from_tslearn",
    "path_from_librosa",
    "path_to_librosa",
    "to_aeon",
    "to_flat",
    "to_librosa",
    "to_sktime",
    "to_tslearn",
]


# ---- tslearn: (B, n, d), padded with NaN


def from_tslearn(X: ArrayLike) -> Arrays:
    """Series from a tslearn data set, an array padded with NaN.

    Parameters
    ----------
    X : array of shape (B, n, d)
        As `tslearn.utils.to_time_series_dataset` makes it: shorter series end in rows of NaN.

    Returns
    -------
    X : array of shape (B, n, d), or list of B arrays of shape (n_i, d)
        The array itself where no series is shorter than n, else views of it.

    Raises
    ------
    TypeError, ValueError
        If X is no such array, a series is empty, or NaN or infinity stand elsewhere than in rows at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import from_tslearn
    >>> X = np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [np.nan]]])
    >>> [x.ravel().tolist() for x in from_tslearn(X)]
    [[1.0, 2.0, 3.0], [4.0, 5.0]]
    """
    X = _read(X, "X", {3: "(B, n, d), tslearn's layout"})
    lengths = _arrays.as_collection(X).lengths
    if (lengths == X.shape[1]).all():
        return X
    return [x[:n] for x, n in zip(X, lengths, strict=True)]


def to_tslearn(X: ArrayLike, *, lengths: Lengths = None) -> Array:
    """A tslearn data set from a collection of series.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) or (n_i,) arrays
    lengths : array of B integers, optional
        True lengths within a padded array.

    Returns
    -------
    X : array of shape (B, max n_i, d)
        A copy, float32 where X is and float64 else; shorter series end in rows of NaN.

    Raises
    ------
    TypeError, ValueError
        If X is no collection of finite series.

    Examples
    --------
    >>> from sdtwkit.converters import to_tslearn
    >>> to_tslearn([[1.0, 2.0, 3.0], [4.0, 5.0]])[..., 0]
    array([[ 1.,  2.,  3.],
           [ 4.,  5., nan]])
    """
    series = _arrays.as_collection(X, lengths)
    padded = np.full((len(series), series.lengths.max(), series.n_channels), np.nan, series.dtype)
    for row, x in zip(padded, _items(series), strict=True):
        row[: len(x)] = x
    return padded


# ---- aeon and sktime: channels before time


def from_aeon(X: ArrayLike) -> Arrays:
    """Series from an aeon collection, channels before time.

    Parameters
    ----------
    X : array of shape (B, d, n) or (B, n), or list of B arrays of shape (d, n_i)
        aeon's "numpy3D", "numpy2D" and "np-list".

    Returns
    -------
    X : array of shape (B, n, d) or (B, n), or list of B arrays of shape (n_i, d)
        Views.

    Raises
    ------
    TypeError, ValueError
        If X has another layout, or its items differ in d: then time may have come first.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import from_aeon
    >>> from_aeon(np.zeros((10, 3, 50))).shape
    (10, 50, 3)
    >>> [x.shape for x in from_aeon([np.zeros((3, 50)), np.zeros((3, 40))])]
    [(50, 3), (40, 3)]
    """
    if not isinstance(X, (list, tuple)):
        X = _read(X, "X", {2: "(B, n)", 3: "(B, d, n), channels before time"})
        return X if X.ndim == 2 else X.transpose(0, 2, 1)
    items = [_read(x, f"X[{b}]", {2: "(d, n), channels before time"}) for b, x in enumerate(X)]
    if not items:
        raise ValueError("X is an empty collection; expected at least one series")
    for b, x in enumerate(items):
        if len(x) != len(items[0]):
            raise ValueError(
                f"X[{b}] has shape {x.shape}, X[0] has {items[0].shape}; expected (d, n), channels before time, with "
                "the same d throughout"
            )
    return [x.T for x in items]


def to_aeon(X: ArrayLike, *, lengths: Lengths = None) -> Arrays:
    """An aeon collection from a collection of series.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) or (n_i,) arrays
    lengths : array of B integers, optional
        True lengths within a padded array.

    Returns
    -------
    X : array of shape (B, d, n), or list of B arrays of shape (d, n_i)
        A list where X is one, or where its series differ in length. float32 where X is and float64 else; views of an
        array of that dtype, copies of a list.

    Raises
    ------
    TypeError, ValueError
        If X is no collection of finite series.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import to_aeon
    >>> to_aeon(np.zeros((10, 50, 3))).shape
    (10, 3, 50)
    """
    series = _arrays.as_collection(X, lengths)
    if series.form == "padded" and (series.lengths == series.n_rows).all():
        return series.data.reshape(len(series), series.n_rows, -1).transpose(0, 2, 1)
    return [x.T for x in _items(series)]


def from_sktime(X: Any) -> Arrays:
    """Series from an sktime panel.

    Parameters
    ----------
    X : array of shape (B, d, n), list of B DataFrames, or DataFrame with two index levels
        sktime's "numpy3D", channels before time; "df-list", one frame a series, time along its rows; and
        "pd-multiindex", whose index is (series, time).

    Returns
    -------
    X : array of shape (B, n, d), or list of B arrays of shape (n_i, d)
        A view of an array; of frames what pandas gives, which is a view for one dtype. Time stamps are dropped.

    Raises
    ------
    TypeError, ValueError
        If X has another layout.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import from_sktime
    >>> from_sktime(np.zeros((10, 3, 50))).shape
    (10, 50, 3)
    """
    if hasattr(X, "index") and hasattr(X, "columns"):
        if X.index.nlevels != 2:
            raise ValueError(
                f"X is a DataFrame with {X.index.nlevels} index level(s); expected 2, (series, time), sktime's "
                "pd-multiindex"
            )
        frames = [frame for _, frame in X.groupby(level=0, sort=False)]
    elif isinstance(X, (list, tuple)):
        frames = X
        for b, frame in enumerate(frames):
            if not hasattr(frame, "columns"):
                raise TypeError(
                    f"X[{b}] is of type {type(frame).__name__}; expected a DataFrame, time along its rows, as sktime's "
                    "df-list has (lists of arrays are aeon's: from_aeon)"
                )
    else:
        return _read(X, "X", {3: "(B, d, n), channels before time"}).transpose(0, 2, 1)
    items, _ = _arrays.read_series(list(frames), _arrays.COLLECTION, "X")
    return items


def to_sktime(X: ArrayLike, *, lengths: Lengths = None) -> Any:
    """An sktime panel from a collection of series.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) or (n_i,) arrays
    lengths : array of B integers, optional
        True lengths within a padded array.

    Returns
    -------
    X : array of shape (B, d, n), or list of B DataFrames
        sktime's "numpy3D" where all series are of one length; else its "df-list", with time along the rows and numbers
        for names, for which pandas has to be there. float32 where X is and float64 else; an array of that dtype is
        viewed, a list is copied.

    Raises
    ------
    TypeError, ValueError
        If X is no collection of finite series.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import to_sktime
    >>> to_sktime(np.zeros((10, 50, 3))).shape
    (10, 3, 50)
    """
    series = _arrays.as_collection(X, lengths)
    items = _items(series)
    n = series.lengths[0]
    if (series.lengths != n).any():
        import pandas as pd

        return [pd.DataFrame(x) for x in items]
    padded = series.form == "padded" and n == series.n_rows
    return (series.data.reshape(len(series), n, -1) if padded else np.stack(items)).transpose(0, 2, 1)


# ---- librosa: one recording, channels before time; paths run backwards


def from_librosa(features: ArrayLike) -> Array:
    """A series (n, d) from librosa's features (d, n) of one recording; a view.

    A cost matrix needs no conversion, for librosa's too has the first recording along its rows: give it as ``x`` with
    ``y=None, cost="precomputed"``.

    Parameters
    ----------
    features : array of shape (d, n)
        Chroma, MFCC or other features, one column a frame.

    Returns
    -------
    x : array of shape (n, d)
        A view.

    Raises
    ------
    TypeError, ValueError
        If the features are no such array.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import from_librosa
    >>> from_librosa(np.zeros((12, 400))).shape
    (400, 12)
    """
    return _read(features, "features", {2: "(d, n), channels before time"}).T


def to_librosa(x: ArrayLike) -> Array:
    """Features (d, n), as librosa has them, from one series.

    Parameters
    ----------
    x : array of shape (n, d) or (n,)

    Returns
    -------
    features : array of shape (d, n)
        A view.

    Raises
    ------
    TypeError, ValueError
        If x is no such array.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.converters import to_librosa
    >>> to_librosa(np.zeros((400, 12))).shape
    (12, 400)
    """
    x = _read(x, "x", {1: "(n,)", 2: "(n, d)"})
    return x.reshape(len(x), -1).T


def path_from_librosa(path: ArrayLike) -> Integers:
    """A path from the start to the end, as `dtw_path` gives it, from librosa's, which begins at the end.

    Parameters
    ----------
    path : int array of shape (L, 2)
        ``wp`` of ``librosa.sequence.dtw``.

    Returns
    -------
    path : int array of shape (L, 2)
        A view, rows in reverse.

    Raises
    ------
    TypeError, ValueError
        If path is no such array, or does not run from the end to the start.

    Examples
    --------
    >>> from sdtwkit.converters import path_from_librosa
    >>> path_from_librosa([[2, 1], [1, 1], [0, 0]]).tolist()
    [[0, 0], [1, 1], [2, 1]]
    """
    path = _read_path(path)
    if (np.diff(path, axis=0) > 0).any():
        raise ValueError("path moves forwards; expected librosa's, from the end to the start")
    return path[::-1]


def path_to_librosa(path: ArrayLike) -> Integers:
    """A path from the end to the start, as librosa's functions expect it, from one of `dtw_path`.

    Parameters
    ----------
    path : int array of shape (L, 2)

    Returns
    -------
    path : int array of shape (L, 2)
        A view, rows in reverse.

    Raises
    ------
    TypeError, ValueError
        If path is no such array, or does not run from the start to the end.

    Examples
    --------
    >>> from sdtwkit.converters import path_to_librosa
    >>> path_to_librosa([[0, 0], [1, 1], [2, 1]]).tolist()
    [[2, 1], [1, 1], [0, 0]]
    """
    path = _read_path(path)
    if (np.diff(path, axis=0) < 0).any():
        raise ValueError("path moves backwards; expected one from the start to the end, as dtw_path gives it")
    return path[::-1]


# ---- a flat array with offsets


def from_flat(data: ArrayLike, offsets: ArrayLike) -> list[Array]:
    """Series from one array that holds them one after another.

    Parameters
    ----------
    data : array of shape (N, d) or (N,)
    offsets : int array of shape (B + 1,)
        Series b is ``data[offsets[b] : offsets[b + 1]]``; from 0 to N, increasing.

    Returns
    -------
    X : list of B arrays of shape (n_i, d) or (n_i,)
        Views.

    Raises
    ------
    TypeError, ValueError
        If data is no such array, or the offsets do not cut it into series of at least one row each.

    Examples
    --------
    >>> from sdtwkit.converters import from_flat
    >>> [x.tolist() for x in from_flat([1.0, 2.0, 3.0, 4.0], [0, 1, 4])]
    [[1.0], [2.0, 3.0, 4.0]]
    """
    data = _read(data, "data", {1: "(N,)", 2: "(N, d)"})
    offsets = _arrays.to_ndarray(offsets, "offsets")
    if offsets.dtype.kind not in "iu":
        raise TypeError(f"offsets has dtype {offsets.dtype}; expected integers")
    if offsets.ndim != 1 or len(offsets) < 2:
        raise ValueError(f"offsets has shape {offsets.shape}; expected (B + 1,) for B series, at least one")
    if offsets[0] != 0 or offsets[-1] != len(data):
        raise ValueError(
            f"offsets run from {offsets[0]} to {offsets[-1]}; expected from 0 to {len(data)}, the rows of data"
        )
    parts = list(pairwise(offsets.tolist()))
    for b, (begin, end) in enumerate(parts):
        if end <= begin:
            raise ValueError(f"offsets[{b}] is {begin} and offsets[{b + 1}] is {end}; expected increasing numbers")
    return [data[begin:end] for begin, end in parts]


def to_flat(X: ArrayLike, *, lengths: Lengths = None) -> tuple[Array, Integers]:
    """One array that holds all series one after another, and where each begins.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) or (n_i,) arrays
    lengths : array of B integers, optional
        True lengths within a padded array.

    Returns
    -------
    data : array of shape (N, d)
        A view of an array (B, n, d) without padding, else a copy; float32 where X is and float64 else.
    offsets : int64 array of shape (B + 1,)
        Series b is ``data[offsets[b] : offsets[b + 1]]``.

    Raises
    ------
    TypeError, ValueError
        If X is no collection of finite series.

    Examples
    --------
    >>> from sdtwkit.converters import to_flat
    >>> data, offsets = to_flat([[1.0], [2.0, 3.0, 4.0]])
    >>> data.shape, offsets.tolist()
    ((4, 1), [0, 1, 4])
    """
    series = _arrays.as_collection(X, lengths)
    offsets = np.concatenate([[0], np.cumsum(series.lengths)])
    data = series.data if offsets[-1] == len(series.data) else np.concatenate(_items(series))
    return data, offsets


# ---- reading


def _read(value, name, shapes):
    """`value` as an array of real numbers whose shape is one of `shapes`, {number of dimensions: in words}."""
    array = _arrays.as_numbers(value, name)
    if array.ndim not in shapes or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {' or '.join(shapes.values())}, at least 1 each")
    return array


def _read_path(path):
    path = _arrays.to_ndarray(path, "path")
    if path.dtype.kind not in "iu":
        raise TypeError(f"path has dtype {path.dtype}; expected integers")
    if path.ndim != 2 or path.shape[1] != 2 or not len(path):
        raise ValueError(f"path has shape {path.shape}; expected (L, 2), at least one match")
    return path.astype(np.int64, copy=False)


def _items(series):
    """Views (n_i, d) of all series."""
    return [series.item(b) for b in range(len(series))]
