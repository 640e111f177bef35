"""Options of the alignment recursion, checked once and handed down as one `Recursion`; windows as masks."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from reprlib import repr as brief
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from ._arrays import device_of, namespace, on_device, to_ndarray
from ._typing import Mask
from ._words import check_count, check_integer, check_positive, check_real, entries, wrong_choice

DEFAULT_STEPS = ((0, 1), (1, 1), (1, 0))
UNIT_WEIGHTS = (1.0, 1.0, 1.0)
WIDEST = 2**30  # a wider band restricts nothing, and radius + |n - m| must not overflow 32 bits in a kernel

_OPEN_BITS = {False: 0, "y": 1, "x": 2, True: 3}
GRAPH_NAMES = ("step_mask", "step_weights", "open_begin", "open_end", "begin_weights", "end_weights")


class Graph(NamedTuple):
    """What differs from cell to cell: arrays (1 or B, n, m), with an axis of steps where so named; None: nothing.

    Users know them by GRAPH_NAMES. On a device nobody looks whether weights are finite and >= 0.
    """

    step_mask: ndarray | None = None  # bool (.., S), True where a step may arrive
    cell_weights: ndarray | None = None  # float64 (.., S), of arriving by a step; step_weights are ones then
    begin_mask: ndarray | None = None  # bool, the start set instead of open_begin
    end_mask: ndarray | None = None
    begin_weights: ndarray | None = None  # float64, of the cost of a cell that a path starts in
    end_weights: ndarray | None = None


@dataclass(frozen=True, slots=True)
class Recursion:
    """The options of the alignment recursion, validated once by `check_recursion` and handed down."""

    gamma: float  # 1.0 where the regularizer is None
    regularizer: str | None  # "entropy", "l2", None
    steps: tuple  # of (di, dj)
    step_weights: tuple  # of floats, one a step
    radius: int  # -1: no band
    mask: ndarray | None  # bool (1 or B, n, m), C-contiguous, True where admissible; CuPy's if it came so
    open_begin: int  # bits of the start set: 1 {(0, j)}, 2 {(i, 0)}; 0 the corner alone
    open_end: int  # bits of the end set: 1 {(n-1, j)}, 2 {(i, m-1)}; 0 the corner alone
    graph: Graph | None = None
    usual: bool = field(init=False)  # whether the fast kernels know this recursion

    def __post_init__(self):
        object.__setattr__(self, "usual", self.steps == DEFAULT_STEPS and self.graph is None)


def check_recursion(
    gamma=1.0,
    regularizer="entropy",
    steps=DEFAULT_STEPS,
    step_weights=UNIT_WEIGHTS,
    window=None,
    open_begin=False,
    open_end=False,
):
    """The options of an alignment recursion as a Recursion."""
    unusual = steps is not DEFAULT_STEPS or step_weights is not UNIT_WEIGHTS
    try:
        usual = _checked_recursion(gamma, regularizer, window, open_begin, open_end)
    except TypeError:  # masks have no hash; what is wrong raises again
        usual = _checked_recursion.__wrapped__(gamma, regularizer, window, open_begin, open_end)
    if not unusual:
        return usual
    steps = _check_steps(steps)
    if step_weights is UNIT_WEIGHTS:  # not given: ones for any number of steps
        step_weights = (1.0,) * len(steps)
    return replace(usual, steps=steps, step_weights=_check_step_weights(step_weights, len(steps)))


def check_graph(
    gamma, regularizer, steps, step_weights, window, open_begin, open_end, step_mask, begin_weights, end_weights
):
    """The options of a recursion whose weights, transitions and ends may be arrays, as a Recursion."""
    begin_mask = _check_set(open_begin, "open_begin")
    end_mask = _check_set(open_end, "open_end")
    cells = step_weights if np.ndim(step_weights) >= 2 else None
    recursion = check_recursion(
        gamma,
        regularizer,
        steps,
        step_weights if cells is None else UNIT_WEIGHTS,
        window,
        False if begin_mask is not None else open_begin,
        False if end_mask is not None else open_end,
    )
    S = len(recursion.steps)
    graph = Graph(
        _check_step_array(step_mask, S, "step_mask", bool),
        _check_step_array(cells, S, "step_weights", np.float64),
        begin_mask,
        end_mask,
        _check_cell_array(begin_weights, "begin_weights", np.float64),
        _check_cell_array(end_weights, "end_weights", np.float64),
    )
    return recursion if all(array is None for array in graph) else replace(recursion, graph=graph)


def _check_set(value, name):
    """A start or end set given as a mask; None where it is given by name."""
    return _check_cell_array(value, name, bool) if np.ndim(value) else None


def _check_cell_array(value, name, dtype):
    return _check_table(value, name, dtype, 2, "(n, m) or (B, n, m)")


def _check_step_array(value, S, name, dtype):
    table = _check_table(value, name, dtype, 3, "(n, m, S) or (B, n, m, S)")
    if table is not None and table.shape[-1] != S:
        raise ValueError(f"{name} has {table.shape[-1]} entries a cell for {S} steps; expected one for each step")
    return table


def _check_table(value, name, dtype, ndim, shapes):
    """-> C-contiguous (1 or B, n, m, ...), bool, or float64 finite and >= 0, where it lies; None for None."""
    if value is None:
        return None
    table = value if on_device(value) else to_ndarray(value, name)
    kind = "True and False" if dtype is bool else "finite numbers >= 0"
    if table.ndim not in (ndim, ndim + 1) or 0 in table.shape:
        raise ValueError(f"{name} has shape {table.shape}; expected {kind} of shape {shapes}")
    if (table.dtype == bool) != (dtype is bool) or table.dtype.kind not in "biuf":
        raise TypeError(f"{name} is an array of dtype {table.dtype}; expected {kind}")
    with device_of(table):
        table = namespace(table).ascontiguousarray(table[None] if table.ndim == ndim else table, dtype)
    if not on_device(table) and dtype is not bool and not ((table >= 0) & (table < np.inf)).all():
        raise ValueError(f"{name} holds {table.min()} to {table.max()}; expected {kind}")
    return table


# These rarely change between calls, and checking them takes as long as aligning two short series (1.3 us).
@functools.lru_cache(maxsize=256, typed=True)
def _checked_recursion(gamma, regularizer, window, open_begin, open_end):
    gamma = check_smoothing(gamma, regularizer)
    radius, mask = (-1, None) if window is None else check_window(window)
    begin, end = _check_open(open_begin, "open_begin"), _check_open(open_end, "open_end")
    return Recursion(gamma, regularizer, DEFAULT_STEPS, UNIT_WEIGHTS, radius, mask, begin, end)


def check_smoothing(gamma, regularizer):
    """gamma as a float, finite and > 0; 1.0, whatever it was, where the regularizer is None."""
    if regularizer is None:
        return 1.0
    if not (isinstance(regularizer, str) and regularizer in ("entropy", "l2")):
        raise wrong_choice(regularizer, "regularizer", "'entropy', 'l2' or None")
    return check_positive(gamma, "gamma")


def _check_steps(steps):
    pairs = []
    for k, step in enumerate(entries(steps, "steps", "pairs (di, dj)")):
        name, expected = f"steps[{k}]", "a pair of integers >= 0"
        pair = tuple(check_integer(entry, name, expected, minimum=0) for entry in entries(step, name, expected))
        if len(pair) != 2:
            raise ValueError(f"{name} has {len(pair)} entries; expected {expected}")
        if pair == (0, 0):
            raise ValueError(f"{name} is (0, 0); a step must move on: di + dj >= 1")
        if pair in pairs:
            raise ValueError(f"{name} is {pair} again; expected distinct steps")
        pairs.append(pair)
    if not pairs:
        raise ValueError("steps is empty; expected at least one pair (di, dj)")
    return tuple(pairs)


def _check_step_weights(step_weights, n_steps):
    expected = "finite numbers >= 0, one for each step"
    weights = entries(step_weights, "step_weights", expected)
    if len(weights) != n_steps:
        raise ValueError(f"step_weights has {len(weights)} entries for {n_steps} steps; expected {expected}")
    weights = tuple([check_real(weight, "step_weights", expected) for weight in weights])
    if not all([0.0 <= weight < np.inf for weight in weights]):
        raise ValueError(f"step_weights is {brief(weights)}; expected {expected}")
    return weights


def check_window(window):
    """-> (radius, None) or (-1, mask of shape (1 or B, n, m))."""
    expected = "None, an integer >= 0 or a boolean mask (n, m) or (B, n, m)"
    if not isinstance(window, (list, tuple)) and not on_device(window) and np.ndim(window) == 0:
        return min(check_integer(window, "window", expected, minimum=0), WIDEST), None
    mask = window if on_device(window) else to_ndarray(window, "window")
    if mask.dtype != bool:
        raise TypeError(f"window is an array of dtype {mask.dtype}; expected {expected}")
    if not 2 <= mask.ndim <= 3 or 0 in mask.shape:
        raise ValueError(f"window is a mask of shape {mask.shape}; expected {expected}")
    return -1, namespace(mask).ascontiguousarray(mask[None] if mask.ndim == 2 else mask)


def _check_open(value, name):
    # The type too: 1 == True, and 1 could as well be meant as a bit.
    if not (isinstance(value, (bool, np.bool_, str)) and value in _OPEN_BITS):
        raise wrong_choice(value, name, "False, True, 'x' or 'y'")
    return _OPEN_BITS[value]


def check_mask(recursion, B, n, m):
    """Refuse a mask that was made for other matrices than B of shape (n, m)."""
    mask = recursion.mask
    if mask is not None and (mask.shape[1:] != (n, m) or len(mask) not in (1, B)):
        came = mask.shape[len(mask) == 1 :]
        raise ValueError(f"window is a mask of shape {came}; expected (n, m) = {(n, m)} or (B, n, m) = {(B, n, m)}")


def check_shapes(recursion, B, n, m):
    """Refuse arrays of a recursion that were made for other matrices than B of shape (n, m)."""
    check_mask(recursion, B, n, m)
    for name, table in zip(GRAPH_NAMES, recursion.graph or (), strict=False):
        if table is not None and (table.shape[1:3] != (n, m) or len(table) not in (1, B)):
            came = table.shape[len(table) == 1 :]
            raise ValueError(f"{name} has shape {came}; expected it to begin with {(n, m)} or {(B, n, m)}")


def check_n_jobs(n_jobs):
    """Threads asked for: None -> 1, a positive integer -> itself, -1 -> 0, which stands for all there are."""
    expected = "None, -1 or an integer >= 1"
    n_jobs = 1 if n_jobs is None else check_integer(n_jobs, "n_jobs", expected, minimum=-1)
    if n_jobs == 0:
        raise ValueError(f"n_jobs is 0; expected {expected}")
    return max(n_jobs, 0)


def check_random_state(random_state):
    """A NumPy Generator from None, a seed, a Generator (itself) or a RandomState (which is advanced)."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**32, size=4, dtype=np.uint32))
    expected = "None, an integer >= 0, a numpy Generator or a RandomState"
    return np.random.default_rng(check_integer(random_state, "random_state", expected, minimum=0))


def check_level(name, levels, best):
    """Index of the instruction level that an environment variable names; None: the best one."""
    if not name:
        return best
    if name not in levels[: best + 1]:
        raise ValueError(f"SDTWKIT_SIMD is {name!r}; this processor runs {', '.join(map(repr, levels[: best + 1]))}")
    return levels.index(name)


# ---- masks


def sakoe_chiba_mask(n: int, m: int, radius: int) -> Mask:
    """Band of Sakoe and Chiba around the diagonal, widened by the difference of lengths.

    Cell (i, j) is admissible if and only if

        j - i <= radius + max(m - n, 0)   and   i - j <= radius + max(n - m, 0),

    the rule of ``window=radius``, which needs no mask in memory.

    Parameters
    ----------
    n, m : int >= 1
        Lengths of x (rows) and of y (columns).
    radius : int >= 0
        Half-width of the band in time steps.

    Returns
    -------
    mask : bool array of shape (n, m)
        True where a path may pass.

    Raises
    ------
    TypeError, ValueError
        If an argument is no integer, or too small.

    References
    ----------
    Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition, IEEE TASSP 1978.

    Examples
    --------
    >>> sakoe_chiba_mask(3, 4, radius=0).astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    n, m = check_count(n, "n"), check_count(m, "m")
    radius = min(check_integer(radius, "radius", "an integer >= 0", minimum=0), WIDEST)
    offset = np.arange(m) - np.arange(n)[:, None]
    return (offset <= radius + max(m - n, 0)) & (-offset <= radius + max(n - m, 0))


def itakura_mask(n: int, m: int, max_slope: float) -> Mask:
    """Parallelogram of Itakura between the first and the last cell, as in tslearn.

    With the slopes s = max_slope n / m and t = n / (max_slope m), cell (i, j) is admissible if and only if

        max(t j, n - 1 - s (m - 1 - j)) <= i <= min(s j, n - 1 - t (m - 1 - j)),

    where each of the four bounds is rounded to two decimals first.

    Parameters
    ----------
    n, m : int >= 1
        Lengths of x (rows) and of y (columns).
    max_slope : float >= 1
        Steepest slope of the parallelogram, relative to n / m; its inverse is the flattest.

    Returns
    -------
    mask : bool array of shape (n, m)
        True where a path may pass.

    Raises
    ------
    TypeError, ValueError
        If n or m is no integer >= 1 or max_slope no finite number >= 1; if a row or a column would have no admissible
        cell, so that no path exists.

    References
    ----------
    Itakura, Minimum prediction residual principle applied to speech recognition, IEEE TASSP 1975.

    Examples
    --------
    >>> itakura_mask(6, 6, max_slope=3).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0, 0],
           [0, 1, 1, 1, 1, 0],
           [0, 1, 1, 1, 1, 0],
           [0, 0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0, 1]])
    """
    n, m = check_count(n, "n"), check_count(m, "m")
    slope = check_real(max_slope, "max_slope", "a finite number >= 1")
    if not 1.0 <= slope < np.inf:
        raise ValueError(f"max_slope is {slope}; expected a finite number >= 1")
    steep, flat = slope * (n / m), (1.0 / slope) * (n / m)
    i, j = np.arange(n)[:, None], np.arange(m)
    # tslearn's order of operations and its rounding: bounds that are integers but for rounding errors stay integers.
    lower = np.maximum(np.round(flat * j, 2), np.round((n - 1) - steep * (m - 1) + steep * j, 2))
    upper = np.minimum(np.round(steep * j, 2), np.round((n - 1) - flat * (m - 1) + flat * j, 2))
    mask = (lower <= i) & (i <= upper)
    if not (mask.any(axis=0).all() and mask.any(axis=1).all()):
        raise ValueError(
            f"max_slope is {slope}; no path from (0, 0) to ({n - 1}, {m - 1}) keeps to it, take a larger one"
        )
    return mask
