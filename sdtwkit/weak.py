"""Training with weak targets: sequences that say what happens and in which order, but not when.

Soft-DTW aligns n predictions with m such targets while it trains, m much smaller than n. Left alone it often collapses:
under a small gamma most frames settle on a few targets in the first updates. The strategies against that are collected
here as plain arrays and numbers for the alignment functions: a gamma that falls from update to update, a diagonal prior
on the costs, unfolded or padded targets, step weights; and what tells whether they work. Arrays of a device stay there.

References: Zeitler, Deniffel, Krause and Müller, Stabilizing training with soft dynamic time warping, ISMIR 2023 [1];
Zeitler, Krause and Müller, Soft dynamic time warping with variable step weights, ICASSP 2024 [2].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    PAIR,
    as_matrices,
    beside,
    device_of,
    namespace,
    on_device,
    on_host,
    read_series,
    stacked,
    to_ndarray,
)
from ._typing import Array, Arrays, Lengths, Normalization, Value
from ._words import check_choice, check_count, check_nonnegative, check_positive, check_real, wrong_type

# For predictions x and targets y, in the order of the steps (0, 1), (1, 1), (1, 0).
STEP_WEIGHTS = {
    "unit": (1.0, 1.0, 1.0),
    "unbiased": (1.0, 2.0, 1.0),  # n = m: a diagonal step costs as much as the two steps that it cuts short
    "staying": (1.0, 1.0, 0.1),  # n >> m: to stay on a target is nearly free; surer with a weight below m / n
}


# ---- targets


def weak_targets(strong: ArrayLike) -> Arrays:
    """Weak targets from strong ones: frame 0, and every frame that differs from the one before it.

    Parameters
    ----------
    strong : array of shape (n, d), (n,) or (B, n, d), or list of B series
        One target for each frame; any dtype.

    Returns
    -------
    targets : array of shape (m, d) or (m,), or list of B such arrays
        Without repetitions, of the dtype of `strong`.

    Raises
    ------
    TypeError, ValueError
        If `strong` holds no numbers, or no frame.

    Examples
    --------
    >>> from sdtwkit.weak import weak_targets
    >>> weak_targets([60, 60, 62, 62, 62, 60])
    array([60, 62, 60])
    """

    def changes(y):
        moved = on_host((y[1:] != y[:-1]).reshape(len(y) - 1, -1).any(axis=1))
        return y[beside(np.flatnonzero(np.concatenate(([True], moved))), y)]

    return _each(changes, strong, "strong")


def unfold(y: ArrayLike, n: int) -> Arrays:
    """Targets stretched evenly over n frames: frame i gets y[floor(m i / n)].

    Parameters
    ----------
    y : array of shape (m, d), (m,) or (B, m, d), or list of B series
    n : int >= m

    Returns
    -------
    unfolded : array of shape (n, d), (n,) or (B, n, d), or list of B series
        Of the dtype of y.

    Raises
    ------
    TypeError, ValueError
        If y has more targets than n, or an argument is malformed.

    References
    ----------
    Zeitler et al., ISMIR 2023, equation 9.

    Examples
    --------
    >>> from sdtwkit.weak import unfold
    >>> unfold([60, 62, 64], 7)
    array([60, 60, 60, 62, 62, 64, 64])
    """
    return _stretched(y, check_count(n, "n"), "n", _evenly)


def pad_repeat(y: ArrayLike, length: int, how: Literal["uniform", "last"] = "uniform") -> Array:
    """Targets brought to one length by repetition, so that ragged ones fit into an array.

    Parameters
    ----------
    y : array of shape (m, d), (m,) or (B, m, d), or list of B series
    length : int >= m
    how : {"uniform", "last"}
        "uniform": entry k is y[floor(k m / length)], as `unfold` has it; "last": the last target is repeated.

    Returns
    -------
    padded : array of shape (length, d) or (length,), or (B, length, d) or (B, length)
        Of the dtype of y; one array also for a list.

    Raises
    ------
    TypeError, ValueError
        If y has more targets than `length`, or an argument is malformed.

    Examples
    --------
    >>> from sdtwkit.weak import pad_repeat
    >>> pad_repeat([[60, 62, 64], [60, 62]], 4, how="last")
    array([[60, 62, 64, 64],
           [60, 62, 62, 62]])
    """
    check_choice(how, "how", ("uniform", "last"))
    padded = _stretched(y, check_count(length, "length"), "length", _evenly if how == "uniform" else _last)
    if not isinstance(padded, list):
        return padded
    for b, item in enumerate(padded):
        if item.shape != padded[0].shape:
            raise ValueError(
                f"y[{b}] has targets of shape {item.shape[1:]}, y[0] of {padded[0].shape[1:]}; expected the same of all"
            )
    return stacked(padded)


def repeat_targets(y: ArrayLike, times: int) -> Arrays:
    """Each target several times over: a minimum duration, for recursions that take one target a frame at most.

    Under ``AlignmentDP(steps=((1, 1), (1, 0)))`` a path moves on by one entry a frame at most, so a target that stands
    there k times lasts k frames or longer. Columns of the expected alignment that belong to one target are added up by
    ``np.add.reduceat(E, np.arange(0, m * k, k), axis=1)``.

    Parameters
    ----------
    y : array of shape (m, d), (m,) or (B, m, d), or list of B series
    times : int >= 1
        Shortest duration of a target, in frames.

    Returns
    -------
    repeated : array of shape (times m, d), (times m,) or (B, times m, d), or list of B series

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed.

    Examples
    --------
    >>> from sdtwkit.dp import AlignmentDP
    >>> from sdtwkit.costs import cost_matrix
    >>> from sdtwkit.weak import repeat_targets
    >>> C = cost_matrix([0.0, 0.9, 0.0, 1.0], repeat_targets([0.0, 1.0], 2))
    >>> AlignmentDP(steps=((1, 1), (1, 0))).decode(C)[0].tolist()
    [[0, 0], [1, 1], [2, 2], [3, 3]]
    """
    times = check_count(times, "times")
    return _each(lambda y: y[beside(np.repeat(np.arange(len(y)), times), y)], y, "y")


def _stretched(y, length, name, entries):
    def stretch(y):
        if len(y) > length:
            raise ValueError(f"{name} is {length}, y has {len(y)} targets; expected at least as many, none is dropped")
        return y[beside(entries(len(y), length), y)]

    return _each(stretch, y, "y")


def _evenly(m, length):
    return np.arange(length) * m // length


def _last(m, length):
    return np.minimum(np.arange(length), m - 1)


def _each(function, value, name):
    """`function` of one series, or of each of a collection; -> an array, or a list of arrays."""
    raw, form = read_series(value, PAIR, name)
    for b, item in enumerate([raw] if form == "single" else raw):
        if not len(item):
            raise ValueError(f"{name}{'' if form == 'single' else f'[{b}]'} is empty; expected at least one row")
    with device_of(raw[0] if form == "list" else raw):
        return function(raw) if form == "single" else [function(item) for item in raw]


# ---- prior


def diagonal_prior(
    n: ArrayLike, m: ArrayLike, nu: float = 1000.0, convention: Literal["ceil", "floor"] = "ceil"
) -> Array:
    """Costs that grow with the distance from an even spread of m targets over n frames.

    Target j is expected in the frames from q_j to q_{j+1}, where q_j = ceil(j n / m). At d frames from there the prior
    is 1 - exp(-d^2 / (2 nu)). Pass a multiple of it, ``prior=omega * diagonal_prior(n, m)``, to the alignment
    functions; a schedule takes omega to 0 [1]_.

    Parameters
    ----------
    n, m : int >= 1, or arrays of B such integers
        Frames and targets.
    nu : float > 0, default 1000.0
        Width, in squared frames.
    convention : {"ceil", "floor"}
        How q_j is rounded. "ceil" matches `unfold` and the released code of [1]_, "floor" the text of [1]_.

    Returns
    -------
    prior : float64 array of shape (n, m), or (B, largest n, largest m) with zeros beyond the sizes
        In [0, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed.

    References
    ----------
    .. [1] Zeitler et al., Stabilizing training with soft dynamic time warping, ISMIR 2023.

    Examples
    --------
    >>> from sdtwkit.weak import diagonal_prior
    >>> diagonal_prior(4, 2, nu=2.0).round(2)
    array([[0.  , 0.63],
           [0.  , 0.22],
           [0.  , 0.  ],
           [0.22, 0.  ]])
    """
    nu = check_positive(nu, "nu")
    check_choice(convention, "convention", ("ceil", "floor"))
    if np.ndim(n) == np.ndim(m) == 0:
        return _diagonal_prior(check_count(n, "n"), check_count(m, "m"), nu, convention)
    n, m = _check_sizes(n, m)
    prior = np.zeros((len(n), max(n), max(m)))
    for table, rows, columns in zip(prior, n, m, strict=True):
        table[:rows, :columns] = _diagonal_prior(rows, columns, nu, convention)
    return prior


def _diagonal_prior(n, m, nu, convention):
    borders = np.arange(m + 1) * n
    q = -(-borders // m) if convention == "ceil" else borders // m
    i = np.arange(n)[:, None]
    distance = np.maximum(np.maximum(q[:-1] - i, i - q[1:]), 0)
    return 0 - np.expm1(-(distance**2) / (2 * nu))


def _check_sizes(n, m):
    n, m = to_ndarray(n, "n"), to_ndarray(m, "m")
    if max(n.ndim, m.ndim) > 1 or not n.size or not m.size or (n.size != m.size and 1 not in (n.size, m.size)):
        raise ValueError(f"n has shape {n.shape}, m has {m.shape}; expected integers, or arrays of B integers each")
    n, m = np.broadcast_arrays(n, m)
    return [check_count(k, "n") for k in n], [check_count(k, "m") for k in m]


# ---- schedules


@dataclass(frozen=True)
class _Schedule:
    """A number that changes between two updates of the training, and is constant before and after.

    Parameters
    ----------
    start_value, stop_value : float
        Up to `begin`, and from `end` on.
    begin, end : int
        Updates (not epochs), begin < end.
    """

    start_value: float
    stop_value: float
    begin: int
    end: int

    _between: ClassVar[Callable[..., float]]  # the value at a share of the way, within (0, 1)

    def __post_init__(self):
        for name in ("start_value", "stop_value", "begin", "end"):
            value = check_real(getattr(self, name), name, "a finite number")
            if not np.isfinite(value):
                raise ValueError(f"{name} is {value}; expected a finite number")
        if not self.begin < self.end:
            raise ValueError(f"begin is {self.begin}, end is {self.end}; expected begin < end")

    def __call__(self, update: int) -> float:
        """The value for an update, counted from 0."""
        share = (check_real(update, "update", "a number of updates") - self.begin) / (self.end - self.begin)
        if share <= 0:
            return self.start_value
        return self.stop_value if share >= 1 else self._between(share)


class LinearSchedule(_Schedule):
    """From start_value to stop_value along a line, between two updates.

    Parameters
    ----------
    start_value, stop_value : float
        The value for updates up to `begin`, and for updates from `end` on.
    begin, end : int
        Updates, counted from 0 (not epochs); begin < end.

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, or begin is not before end.

    References
    ----------
    Zeitler et al., ISMIR 2023: gamma 10 for ten epochs of 75 updates, then in ten epochs to 0.1.

    Examples
    --------
    >>> from sdtwkit.weak import LinearSchedule
    >>> gamma = LinearSchedule(10.0, 0.1, begin=750, end=1500)
    >>> gamma(0), gamma(1125), gamma(9999)
    (10.0, 5.05, 0.1)
    """

    def _between(self, share):
        return self.start_value + share * (self.stop_value - self.start_value)


class ExponentialSchedule(_Schedule):
    """From start_value to stop_value by equal factors, between two updates.

    Parameters
    ----------
    start_value, stop_value : float > 0
        The value for updates up to `begin`, and for updates from `end` on.
    begin, end : int
        Updates, counted from 0 (not epochs); begin < end.

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, a value not positive, or begin not before end.

    Examples
    --------
    >>> from sdtwkit.weak import ExponentialSchedule
    >>> gamma = ExponentialSchedule(10.0, 0.1, begin=0, end=100)
    >>> round(gamma(50), 12)
    1.0
    """

    def __post_init__(self):
        super().__post_init__()
        _check_values(self)

    def _between(self, share):
        return self.start_value * (self.stop_value / self.start_value) ** share


def _check_values(schedule):
    for name in ("start_value", "stop_value"):
        check_positive(getattr(schedule, name), name)


class AdaptiveSchedule:
    """From start_value to stop_value in steps of a factor, one whenever a statistic has stopped falling.

    As in deterministic annealing: while the training still sharpens the alignment at this gamma, gamma stays; once it
    does not, gamma falls. The statistic needs no strong labels: the row entropy of the expected alignment
    (`alignment_diagnostics`), or the expected cost <E, C>. A single batch is noisy, so the mean of `patience` updates
    is compared with the lowest such mean at this gamma. A training that has not begun to learn stands still, too: leave
    out updates in which the alignments are collapsed.

    Parameters
    ----------
    start_value, stop_value : float > 0
        Where the value starts, and where it stays.
    factor : float in (0, 1), default 0.7
        Ratio of two successive values (its inverse where stop_value is the larger one).
    patience : int >= 1, default 50
        Updates over which the statistic is averaged, so many at least at each value.
    tolerance : float >= 0, default 0.02
        Falls by a smaller share than this count as none.

    Attributes
    ----------
    value : float
        The current value.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    Examples
    --------
    >>> from sdtwkit.weak import AdaptiveSchedule
    >>> gamma = AdaptiveSchedule(10.0, 1.0, factor=0.5, patience=1)
    >>> [gamma.update(entropy) for entropy in (3.0, 2.0, 2.0, 1.9, 1.9)]
    [10.0, 10.0, 5.0, 5.0, 2.5]
    """

    def __init__(
        self, start_value: float, stop_value: float, *, factor: float = 0.7, patience: int = 50, tolerance: float = 0.02
    ) -> None:
        self.start_value, self.stop_value = start_value, stop_value
        _check_values(self)
        self.factor = check_real(factor, "factor", "a number in (0, 1)")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor is {factor}; expected a number in (0, 1)")
        self.patience = check_count(patience, "patience")
        self.tolerance = check_nonnegative(tolerance, "tolerance")
        self.value = start_value
        self._lowest: float | None = None  # mean at this value
        self._sum, self._count = 0.0, 0

    def __repr__(self):
        return f"AdaptiveSchedule({self.start_value!r}, {self.stop_value!r}, value={self.value!r})"

    def update(self, statistic: float) -> float:
        """Take the statistic of one update.

        Parameters
        ----------
        statistic : float
            A finite number, such as the mean row entropy of the alignments.

        Returns
        -------
        value : float
            For the next update.

        Raises
        ------
        TypeError, ValueError
            If the statistic is no finite number.

        Examples
        --------
        >>> from sdtwkit.weak import AdaptiveSchedule
        >>> gamma = AdaptiveSchedule(10.0, 1.0, factor=0.5, patience=1)
        >>> gamma.update(2.0), gamma.update(2.0)
        (10.0, 5.0)
        """
        statistic = check_real(statistic, "statistic", "a finite number")
        if not np.isfinite(statistic):
            raise ValueError(f"statistic is {statistic}; expected a finite number")
        self._sum += statistic
        self._count += 1
        if self._count == self.patience:
            mean, self._sum, self._count = self._sum / self._count, 0.0, 0
            if self._lowest is None or mean < self._lowest - self.tolerance * abs(self._lowest):
                self._lowest = mean
            else:
                self._move()
        return self.value

    def _move(self):
        if self.stop_value < self.start_value:
            self.value = max(self.value * self.factor, self.stop_value)
        else:
            self.value = min(self.value / self.factor, self.stop_value)
        self._lowest = None


# ---- what an alignment looks like


class AlignmentDiagnostics(NamedTuple):
    """What `alignment_diagnostics` returns: numbers for one alignment, arrays of shape (B,) for a batch.

    Attributes
    ----------
    row_entropy, effective_targets, path_mass, collapsed
        As that function tells.
    """

    row_entropy: Value
    effective_targets: Value
    path_mass: Value | None
    collapsed: Value


def alignment_diagnostics(
    E: ArrayLike,
    path: ArrayLike | None = None,
    *,
    collapse_below: float = 0.5,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
) -> AlignmentDiagnostics:
    """Numbers that tell how sharp an expected alignment is, and whether it has collapsed.

    Parameters
    ----------
    E : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        Expected alignment: frames are rows, targets columns; entries >= 0.
    path : int array of shape (L, 2), or list of B such arrays, optional
        Cells (i, j) of a path to compare with: the true alignment, or the best one.
    collapse_below : float in [0, 1], default 0.5
        Share of the m targets below which the effective number of visited targets counts as a collapse.
    x_lengths, y_lengths : array of B integers, optional
        True sizes within a padded batch.

    Returns
    -------
    row_entropy : float, or array of shape (B,)
        Entropy, in nats, of the targets that one frame is matched with; the mean over frames that are matched. 0 where
        every frame has one target, log m where all are alike.
    effective_targets : float, or array of shape (B,)
        Exponential of the entropy of all mass over targets: m where each has the same share, near 1 where one takes
        all. A path visits every target, so that a count of visits would not notice.
    path_mass : float, or array of shape (B,), or None without a path
        Share of the mass of E on the cells of the path, in [0, 1].
    collapsed : bool, or array of shape (B,)
        Whether effective_targets < collapse_below * m.

    Raises
    ------
    TypeError, ValueError
        If E holds negative numbers, or arguments do not fit one another. CuPy arrays are not looked into.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.weak import alignment_diagnostics
    >>> found = alignment_diagnostics(np.repeat(np.eye(2), 3, axis=0), path=[[0, 0], [1, 0], [2, 0], [3, 1]])
    >>> float(found.row_entropy), round(float(found.effective_targets), 12), bool(found.collapsed)
    (0.0, 2.0, False)
    >>> round(float(found.path_mass), 3)  # four of six cells
    0.667
    """
    collapse_below = check_real(collapse_below, "collapse_below", "a number in [0, 1]")
    if not 0 <= collapse_below <= 1:
        raise ValueError(f"collapse_below is {collapse_below}; expected a number in [0, 1]")
    items, single = _alignments(E, x_lengths, y_lengths)
    paths = [None] * len(items) if path is None else _paths(on_host(path), items, single)
    with device_of(items[0]):
        found = [_diagnose(item, cells, collapse_below) for item, cells in zip(items, paths, strict=True)]
        if single:
            return found[0]
        columns = zip(*found, strict=True)
        return AlignmentDiagnostics(*(None if column[0] is None else stacked(column) for column in columns))


def _diagnose(E, cells, collapse_below):
    mass, rows = E.sum(), E.sum(axis=1)
    whole = np.where(mass > 0, mass, 1)
    shares = E / np.where(rows > 0, rows, 1)[:, None]
    row_entropy = _entropy(shares).sum() / np.maximum((rows > 0).sum(), 1)
    effective = np.where(mass > 0, np.exp(_entropy(E.sum(axis=0) / whole)), 0.0)[()]
    on_path = None if cells is None else E[tuple(beside(index, E) for index in cells.T)].sum() / whole
    return AlignmentDiagnostics(row_entropy, effective, on_path, effective < collapse_below * E.shape[1])


def _entropy(shares):
    """Along the last axis, in nats; 0 log 0 is 0."""
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1) + 0.0


def _alignments(E, x_lengths, y_lengths):
    """-> list of float64 arrays (n_b, m_b), whether E is a single one."""
    if isinstance(E, (list, tuple)) and E and np.ndim(E[0]) == 2:
        matrices = [as_matrices(item, name=f"E[{b}]", dtype=np.float64) for b, item in enumerate(E)]
        items, single = [item.data[0] for item in matrices], False
    else:
        matrices = as_matrices(E, on_host(x_lengths), on_host(y_lengths), name="E", dtype=np.float64)
        sizes = zip(matrices.data, matrices.rows, matrices.columns, strict=True)
        items, single = [item[:n, :m] for item, n, m in sizes], matrices.single
    for b, item in enumerate(items):
        if not on_device(item) and (not (item >= 0).all() or np.isinf(item).any()):  # there nobody looks
            name = "E" if single else f"E[{b}]"
            raise ValueError(f"{name} holds {item.min():g} to {item.max():g}; expected finite numbers >= 0")
    return items, single


def _paths(path, items, single):
    """Integer arrays (L, 2), one for each alignment and inside it."""
    if not single and not hasattr(path, "__len__"):
        raise wrong_type(path, "path", f"a list of {len(items)} paths, one for each alignment")
    paths = [path] if single else list(path)
    if len(paths) != len(items):
        raise ValueError(f"path holds {len(paths)} paths for {len(items)} alignments; expected one for each")
    checked = []
    for b, (cells, item) in enumerate(zip(paths, items, strict=True)):
        name = "path" if single else f"path[{b}]"
        cells = to_ndarray(cells, name)
        if cells.ndim != 2 or cells.shape[1] != 2 or cells.dtype.kind not in "iu":
            raise ValueError(f"{name} is {cells.dtype} of shape {cells.shape}; expected integers (L, 2)")
        outside = ((cells < 0) | (cells >= item.shape)).any(axis=1)
        if outside.any():
            k = int(np.argmax(outside))
            raise ValueError(f"{name} holds {tuple(cells[k].tolist())} at index {k}; expected cells of {item.shape}")
        checked.append(np.unique(cells, axis=0))
    return checked


# ---- normalisation of losses

NORMALIZATIONS = ("n", "m", "n+m", "path")


def loss_scale(how: Normalization, H: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None) -> Value:
    """What to divide an alignment loss by, so that losses of short and of long series are alike.

    Parameters
    ----------
    how : {"n", "m", "n+m", "path"}
        The length of x, of y, their sum, or the expected weighted path length: the sum of the weights of the cells on a
        random path, which is the sum of the gradient H.
    H : array of shape (n, m) or (B, n, m)
        d value / d C; for unit step weights the expected alignment. Only "path" looks at its entries.
    x_lengths, y_lengths : array of B integers, optional
        True sizes within a padded batch.

    Returns
    -------
    scale : float64 scalar, or array of shape (B,)

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed.

    Examples
    --------
    >>> from sdtwkit import soft_dtw_alignment
    >>> from sdtwkit.weak import loss_scale
    >>> E, value = soft_dtw_alignment([0.0, 0.1, 1.0, 1.1], [0.0, 1.0], gamma=0.01)
    >>> float(loss_scale("n", E)), round(float(loss_scale("path", E)), 3)
    (4.0, 4.0)
    """
    check_choice(how, "how", NORMALIZATIONS)
    H = as_matrices(H, x_lengths, y_lengths, name="H", dtype=np.float64)
    with device_of(H.data):
        rows, columns = (namespace(H.data).asarray(ends) for ends in (H.rows, H.columns))
        if how == "path":
            sides = zip((rows, columns), H.data.shape[1:], strict=True)
            inside, below = (namespace(H.data).arange(most) < ends[:, None] for ends, most in sides)
            scale = np.where(inside[:, :, None] & below[:, None, :], H.data, 0).sum(axis=(1, 2))
        else:
            scale = {"n": rows, "m": columns, "n+m": rows + columns}[how].astype(np.float64)
    return scale[0] if H.single else scale
