"""Pictures of alignments, warps, matched samples and barycenters, as scikit-learn's displays are.

A display holds what is to be seen: ``from_series`` and ``from_estimator`` compute and draw it, ``plot`` draws it again,
into any axes. Matplotlib is imported when something is drawn and none of its state is changed. CuPy arrays are read:
what a display holds, and what it computes, is the host's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _options, _words
from ._typing import CostLike, Lengths, OpenEnds, Regularizer, StepWeights, Window
from .barycenters import soft_dtw_barycenter
from .costs import CostPairs, cost_matrix
from .series import dtw_path, soft_dtw_alignment
from .warping import WarpResult, dec_dtw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["AlignmentDisplay", "BarycenterDisplay", "MatchingDisplay", "WarpDisplay"]

# Okabe and Ito's palette, whose colours colour-blind readers tell apart.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
_MOST_LINES = 8  # channels; more are drawn as an image
_FAINTEST = 0.01  # less probable matches are not drawn as lines
_MARGIN = 0.22  # height of a series beside a matrix, in heights of the matrix


class AlignmentDisplay:
    """Expected alignment, or local costs, of two series, with the series along its sides and the best path on top.

    Time runs to the right along y and upwards along x, so a path climbs from the lower left to the upper right.

    Parameters
    ----------
    matrix : array of shape (n, m)
        Expected alignment or local costs, rows along x.
    path : int array of shape (L, 2), optional
        Matched time steps, drawn on top.
    x, y : arrays of shape (n, d) and (m, d), or (n,) and (m,), optional
        The series, drawn along the sides; without them the matrix stands alone.
    kind : {"alignment", "cost"}
        What the matrix holds.
    sampling_rate : float > 0, optional
        Samples a second, for axes in seconds; None counts time steps.
    names : pair of str
        What x and y are called.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
        Of the matrix.
    x_ax_, y_ax_ : matplotlib Axes or None
        Of the series, left of the matrix and below it.
    image_ : matplotlib AxesImage
    path_ : matplotlib Line2D or None

    See Also
    --------
    MatchingDisplay : The two series above each other, with lines between matched samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.plotting import AlignmentDisplay
    >>> t = np.linspace(0, 1, 60)
    >>> display = AlignmentDisplay.from_series(np.sin(9 * t), np.sin(9 * t**2), gamma=0.1)
    >>> display.image_.get_array().shape, len(display.path_.get_xdata()) >= 60
    ((60, 60), True)
    """

    def __init__(
        self,
        matrix: ArrayLike,
        path: ArrayLike | None = None,
        x: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        kind: Literal["alignment", "cost"] = "alignment",
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self.matrix, self.path, self.x, self.y = map(_arrays.on_host, (matrix, path, x, y))
        self.kind = kind
        self.sampling_rate = sampling_rate
        self.names = names

    @classmethod
    def from_series(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        gamma: float = 1.0,
        *,
        kind: Literal["alignment", "cost"] = "alignment",
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        open_begin: OpenEnds = False,
        open_end: OpenEnds = False,
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("x", "y"),
        ax: Axes | None = None,
        cmap: str | Colormap | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Align two series and draw the result.

        Parameters
        ----------
        x, y : arrays of shape (n, d) and (m, d), or (n,) and (m,)
            For cost "precomputed" the costs (n, m), and None.
        gamma : float > 0, default 1.0
            Smoothing, in units of the local cost.
        kind : {"alignment", "cost"}
            What to draw: the expected alignment, or the local costs.
        regularizer, cost, window, step_weights, open_begin, open_end
            As for `soft_dtw_alignment`.
        sampling_rate, names
            As for the class.
        ax, cmap, colorbar
            As for `plot`.

        Returns
        -------
        display : AlignmentDisplay

        Raises
        ------
        TypeError, ValueError
            As for `soft_dtw_alignment`, or if x and y are collections.
        ImportError
            If matplotlib is not installed.
        """
        _check_kind(kind)
        x, y, window = map(_arrays.on_host, (x, y, window))
        problem: dict[str, Any] = {"cost": cost, "window": window, "step_weights": step_weights}
        problem |= {"open_begin": open_begin, "open_end": open_end}
        series = _single_pair(x, y, cost)
        if kind == "cost":
            matrix = x if y is None else cost_matrix(x, y, cost)
        else:
            matrix, _ = soft_dtw_alignment(x, y, gamma, regularizer=regularizer, **problem)
        path, _ = dtw_path(x, y, **problem)
        display = cls(matrix, path, *series, kind=kind, sampling_rate=sampling_rate, names=names)
        return display.plot(ax, cmap=cmap, colorbar=colorbar)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        index: int = 0,
        lengths: Lengths = None,
        kind: Literal["alignment", "cost"] = "alignment",
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("series", "reference"),
        ax: Axes | None = None,
        cmap: str | Colormap | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Align one series of a collection with what an estimator has learned, and draw the result.

        Parameters
        ----------
        estimator : fitted SoftDTWAligner or SoftDTWBarycenter
            Gives ``reference_`` or ``barycenter_``, which is drawn as y, and the options of the alignment.
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        index : int
            Which series of X is drawn.
        lengths : array of B integers, optional
            True lengths within a padded array.
        kind, sampling_rate, names
            As for the class.
        ax, cmap, colorbar
            As for `plot`.

        Returns
        -------
        display : AlignmentDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError, IndexError
            If the estimator has nothing to align with, or the series do not fit it.
        ImportError
            If matplotlib is not installed.
        """
        options: dict[str, Any] = {"kind": kind, "sampling_rate": sampling_rate, "names": names}
        options |= {"ax": ax, "cmap": cmap, "colorbar": colorbar}
        x, y = _item(X, index, lengths), _learned(estimator)
        return cls.from_series(x, y, **_options_of(estimator), **options)

    def plot(self, ax: Axes | None = None, *, cmap: str | Colormap | None = None, colorbar: bool = True) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes of the matrix; the series are drawn left of it and below. None makes a new figure.
        cmap : str or matplotlib Colormap, optional
            None is "cividis" for costs, and "gray_r" for alignments, from white to black where matches are likely.
        colorbar : bool
            Whether to draw one, right of the matrix.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the matrix, the path and the series do not belong together.
        ImportError
            If matplotlib is not installed.
        """
        _check_kind(self.kind)
        _check_matrix(self.matrix, self.path, self.x, self.y)
        self.ax_ = ax = _new_axes((7.5, 6.5)) if ax is None else ax
        self.figure_ = ax.figure
        unit, time = _time(self.sampling_rate)
        self.image_ = self._draw_matrix(unit, cmap)
        self.path_ = None if self.path is None else self._draw_path(unit)
        if colorbar:
            label = "local cost" if self.kind == "cost" else "probability of a match"
            self.figure_.colorbar(self.image_, ax=ax, label=label)
        self.x_ax_ = self.y_ax_ = None
        if self.x is None or self.y is None:
            ax.set(xlabel=f"{self.names[1]}, {time}", ylabel=f"{self.names[0]}, {time}")
            return self
        ax.tick_params(labelleft=False, labelbottom=False)
        self.x_ax_ = ax.inset_axes((-_MARGIN - 0.02, 0, _MARGIN, 1), sharey=ax)
        self.y_ax_ = ax.inset_axes((0, -_MARGIN - 0.02, 1, _MARGIN), sharex=ax)
        _draw_channels(self.x_ax_, self.x, unit, upright=True)
        _draw_channels(self.y_ax_, self.y, unit)
        self.x_ax_.set_ylabel(f"{self.names[0]}, {time}")
        self.y_ax_.set_xlabel(f"{self.names[1]}, {time}")
        return self

    def _draw_matrix(self, unit, cmap):
        from matplotlib.colors import PowerNorm

        n, m = np.shape(self.matrix)
        edges = np.array([-0.5, m - 0.5, -0.5, n - 0.5]) * unit
        if self.kind == "cost":
            colors = {"cmap": cmap or "cividis"}
        else:  # a root brings out what is improbable but possible
            colors = {"cmap": cmap or "gray_r", "norm": PowerNorm(0.5, 0, 1)}
        return self.ax_.imshow(
            self.matrix, origin="lower", extent=edges, aspect="auto", interpolation="nearest", **colors
        )

    def _draw_path(self, unit):
        from matplotlib.patheffects import withStroke

        i, j = np.asarray(self.path).T * unit
        (line,) = self.ax_.plot(j, i, color=LINE_COLORS[1], linewidth=1.2, label="best path")
        if self.kind == "cost":  # on colours of any lightness
            line.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
        return line


class MatchingDisplay:
    """Two series above each other, with lines between matched samples.

    Parameters
    ----------
    x, y : arrays of shape (n, d) and (m, d), or (n,) and (m,)
        x is drawn above y, both over the same time axis. With one channel, lines end on the curves.
    matches : int array of shape (L, 2)
        Matched time steps (i of x, j of y).
    weights : array of shape (L,), optional
        Opacity of the lines, between 0 and 1; None is 1 for all.
    sampling_rate, names
        As for `AlignmentDisplay`.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    lines_ : matplotlib LineCollection
        Lines between matches.

    See Also
    --------
    AlignmentDisplay : All matches at once, as a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.plotting import MatchingDisplay
    >>> t = np.linspace(0, 1, 60)
    >>> display = MatchingDisplay.from_series(np.sin(9 * t), np.sin(9 * t**2), n_lines=20)
    >>> len({tuple(start) for start, _ in display.lines_.get_segments()})
    20
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        matches: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self.x, self.y, self.matches, self.weights = map(_arrays.on_host, (x, y, matches, weights))
        self.sampling_rate = sampling_rate
        self.names = names

    @classmethod
    def from_series(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        gamma: float | None = None,
        *,
        regularizer: Regularizer = "entropy",
        cost: CostLike = "sqeuclidean",
        window: Window = None,
        step_weights: StepWeights = _options.UNIT_WEIGHTS,
        open_begin: OpenEnds = False,
        open_end: OpenEnds = False,
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("x", "y"),
        ax: Axes | None = None,
        n_lines: int = 100,
    ) -> Self:
        """Align two series and draw their matches.

        Parameters
        ----------
        x, y : arrays of shape (n, d) and (m, d), or (n,) and (m,)
        gamma : float > 0, optional
            None draws the matches of the best path; a number those of the expected alignment with this smoothing, the
            more probable, the darker.
        regularizer, cost, window, step_weights, open_begin, open_end
            As for `soft_dtw_alignment`; the regularizer matters with a gamma only.
        sampling_rate, names
            As for the class.
        ax, n_lines
            As for `plot`.

        Returns
        -------
        display : MatchingDisplay

        Raises
        ------
        TypeError, ValueError
            As for `soft_dtw_alignment`, or if x and y are collections.
        ImportError
            If matplotlib is not installed.
        """
        x, y, window = map(_arrays.on_host, (x, y, window))
        problem: dict[str, Any] = {"cost": cost, "window": window, "step_weights": step_weights}
        problem |= {"open_begin": open_begin, "open_end": open_end}
        series = _single_pair(x, y, cost)
        if series[1] is None:
            raise ValueError("cost is 'precomputed', which leaves no series to draw; expected a cost between series")
        if gamma is None:
            (matches, _), weights = dtw_path(x, y, **problem), None
        else:
            alignment, _ = soft_dtw_alignment(x, y, gamma, regularizer=regularizer, **problem)
            matches = np.argwhere(alignment >= _FAINTEST)
            weights = alignment[tuple(matches.T)].clip(max=1)
        return cls(series[0], series[1], matches, weights, sampling_rate=sampling_rate, names=names).plot(
            ax, n_lines=n_lines
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        index: int = 0,
        lengths: Lengths = None,
        sampling_rate: float | None = None,
        names: tuple[str, str] = ("series", "reference"),
        ax: Axes | None = None,
        n_lines: int = 100,
    ) -> Self:
        """Align one series of a collection with what an estimator has learned, and draw the matches.

        Parameters
        ----------
        estimator, X, index, lengths
            As for `AlignmentDisplay.from_estimator`.
        sampling_rate, names
            As for the class.
        ax, n_lines
            As for `plot`.

        Returns
        -------
        display : MatchingDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError, IndexError, ImportError
            As for `AlignmentDisplay.from_estimator`.
        """
        x, y = _item(X, index, lengths), _learned(estimator)
        options: dict[str, Any] = {"sampling_rate": sampling_rate, "names": names, "ax": ax, "n_lines": n_lines}
        return cls.from_series(x, y, **_options_of(estimator), **options)

    def plot(self, ax: Axes | None = None, *, n_lines: int = 100) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None makes a new figure.
        n_lines : int >= 1
            Samples of x, evenly spaced, whose matches are drawn at most; more lines would hide each other.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_lines = _words.check_count(n_lines, "n_lines")
        self.ax_ = ax = _new_axes((9, 4)) if ax is None else ax
        from matplotlib.collections import LineCollection

        self.figure_ = ax.figure
        unit, time = _time(self.sampling_rate)
        x, y = _two_dimensional(self.x), _two_dimensional(self.y)
        # y stands at 0 .. 1 and x at 1.5 .. 2.5, in units of the larger range of values.
        lowest, highest = min(x.min(), y.min()), max(x.max(), y.max())
        height = (highest - lowest) or 1.0
        x, y = (x - lowest) / height + 1.5, (y - lowest) / height
        for values, color in ((x, LINE_COLORS[0]), (y, LINE_COLORS[1])):
            ax.plot(np.arange(len(values)) * unit, values, color=color, linewidth=1.4)
        i, j, weights = self._drawn(len(x), n_lines)
        ends_x, ends_y = (x[i, 0], y[j, 0]) if x.shape[1] == 1 else (x[i].min(axis=1), y[j].max(axis=1))
        segments = np.stack([np.c_[i * unit, ends_x], np.c_[j * unit, ends_y]], axis=1)
        self.lines_ = LineCollection(list(segments), colors="0.45", alpha=weights, linewidths=0.7, zorder=1)
        ax.add_collection(self.lines_)
        ax.set_yticks([0.5, 2.0], [self.names[1], self.names[0]])
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(time)
        ax.margins(x=0.01)
        return self

    def _drawn(self, n, n_lines):
        """Matches (i, j) of some samples of x, and the opacity of their lines."""
        i, j = np.asarray(self.matches).T
        weights = np.ones(len(i)) if self.weights is None else np.asarray(self.weights)
        some = np.isin(i, np.linspace(0, n - 1, min(n, n_lines)).round())
        return i[some], j[some], weights[some]


class BarycenterDisplay:
    """Series, faintly, and one or more barycenters of them on top, one panel for each channel.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        The series.
    barycenters : list of arrays of shape (length, d)
    labels : list of str, optional
        What the barycenters are called in the legend; None draws no legend.
    sampling_rate : float > 0, optional
        Samples a second, for axes in seconds; None counts time steps.
    channel_names : list of d str, optional
        Labels of the panels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
        The one given, or made; the panel itself where there is one channel, else the room of the panels.
    axes_ : array of d matplotlib Axes
        The panels, from the first channel at the top.
    series_lines_ : list of d lists of matplotlib Line2D
    barycenter_lines_ : list of d lists of matplotlib Line2D

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.plotting import BarycenterDisplay
    >>> t = np.linspace(0, 1, 60)
    >>> X = [np.sin(9 * t**power) for power in (0.7, 1, 1.4)]
    >>> display = BarycenterDisplay.from_series(X, gamma=[0.01, 1.0])
    >>> [line.get_label() for line in display.barycenter_lines_[0]]
    ['gamma = 0.01', 'gamma = 1']
    """

    def __init__(
        self,
        X: ArrayLike,
        barycenters: Sequence[ArrayLike],
        labels: Sequence[str] | None = None,
        *,
        sampling_rate: float | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        self.X, self.barycenters = _arrays.on_host(X), _arrays.on_host(barycenters)
        self.labels = labels
        self.sampling_rate = sampling_rate
        self.channel_names = channel_names

    @classmethod
    def from_series(
        cls,
        X: ArrayLike,
        gamma: float | Sequence[float] = 1.0,
        *,
        sampling_rate: float | None = None,
        channel_names: Sequence[str] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Compute barycenters of series and draw them.

        Parameters
        ----------
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        gamma : float > 0, or a sequence of them
            Smoothing, in units of the local cost; one barycenter for each.
        sampling_rate, channel_names
            As for the class.
        ax
            As for `plot`.
        **options
            As for `soft_dtw_barycenter`.

        Returns
        -------
        display : BarycenterDisplay

        Raises
        ------
        TypeError, ValueError
            As for `soft_dtw_barycenter`.
        ImportError
            If matplotlib is not installed.
        """
        X = _arrays.on_host(X)
        gammas = np.atleast_1d(gamma).tolist()
        barycenters = [soft_dtw_barycenter(X, g, **options) for g in gammas]
        labels = [f"gamma = {g:.3g}" for g in gammas]
        X = _items(X, options.get("lengths"))
        return cls(X, barycenters, labels, sampling_rate=sampling_rate, channel_names=channel_names).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        lengths: Lengths = None,
        sampling_rate: float | None = None,
        channel_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the barycenter that an estimator has learned over series.

        Parameters
        ----------
        estimator : fitted SoftDTWBarycenter or SoftDTWAligner
            Gives ``barycenter_`` or ``reference_``.
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        lengths : array of B integers, optional
            True lengths within a padded array.
        sampling_rate, channel_names
            As for the class.
        ax
            As for `plot`.

        Returns
        -------
        display : BarycenterDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the estimator has no barycenter, or X is no collection of finite series.
        ImportError
            If matplotlib is not installed.
        """
        barycenter = _learned(estimator)
        display = cls(_items(X, lengths), [barycenter], sampling_rate=sampling_rate, channel_names=channel_names)
        return display.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Several channels share its room. None makes a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        series, barycenters = _items(self.X, None), [_two_dimensional(z) for z in self.barycenters]
        d = barycenters[0].shape[1]
        self.ax_ = ax = _new_axes((8, min(1.5 + 1.7 * d, 11))) if ax is None else ax
        self.figure_ = ax.figure
        self.axes_ = _panels(ax, d)
        unit, time = _time(self.sampling_rate)
        colors = _shades(len(barycenters))
        labels = [None] * len(barycenters) if self.labels is None else self.labels
        faint = {"color": "0.5", "linewidth": 0.7, "alpha": max(0.2, min(0.8, 5 / len(series)))}
        self.series_lines_, self.barycenter_lines_ = [], []
        for c, panel in enumerate(self.axes_):
            self.series_lines_.append([panel.plot(np.arange(len(x)) * unit, x[:, c], **faint)[0] for x in series])
            self.barycenter_lines_.append(
                [
                    panel.plot(np.arange(len(z)) * unit, z[:, c], color=color, linewidth=1.8, label=label)[0]
                    for z, color, label in zip(barycenters, colors, labels, strict=True)
                ]
            )
            panel.margins(x=0.01)
            if self.channel_names is not None:
                panel.set_ylabel(self.channel_names[c])
        self.axes_[-1].set_xlabel(time)
        if self.labels is not None:
            self.axes_[0].legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=4)
        return self


class WarpDisplay:
    """A continuous warp against the straight line, within its bounds, and both signals before and after.

    Parameters
    ----------
    warp : WarpResult
        Of one pair.
    x, y : arrays of shape (m, d) and (n, d), or (m,) and (n,)
        The signals.
    x_times, y_times : arrays of shape (m,) and (n,), optional
        Their sample times, from which `warp` was computed; None is evenly on [0, 1].
    names : pair of str
        What x and y are called.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
        The one given, or made: the room of the three panels.
    warp_ax_ : matplotlib Axes
        The left panel, time of x upwards over time of y.
    before_ax_, after_ax_ : matplotlib Axes
        The right panels: the signals as they are, and y with the warped x.
    line_, diagonal_ : matplotlib Line2D
    region_ : matplotlib PolyCollection
        What bounds leave to the warp.
    held_ : matplotlib Line2D
        Points of the warp that an active row holds: a pin, a band, an end of x, a knot.

    See Also
    --------
    AlignmentDisplay : Alignments of discrete time steps.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.plotting import WarpDisplay
    >>> t = np.linspace(0, 1, 60)
    >>> display = WarpDisplay.from_series(np.sin(9 * t), np.sin(9 * t**2), reg=0.01, band=0.3)
    >>> display.line_.get_xydata().shape
    (60, 2)
    """

    def __init__(
        self,
        warp: WarpResult,
        x: ArrayLike,
        y: ArrayLike,
        *,
        x_times: ArrayLike | None = None,
        y_times: ArrayLike | None = None,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self.warp = warp
        self.x, self.y, self.x_times, self.y_times = map(_arrays.on_host, (x, y, x_times, y_times))
        self.names = names

    @classmethod
    def from_series(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        reg: ArrayLike = 0.1,
        *,
        x_times: ArrayLike | None = None,
        y_times: ArrayLike | None = None,
        names: tuple[str, str] = ("x", "y"),
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Warp x onto y and draw the result.

        Parameters
        ----------
        x, y : arrays of shape (m, d) and (n, d), or (m,) and (n,)
        reg, x_times, y_times
            As for `dec_dtw`.
        names
            As for the class.
        ax
            As for `plot`.
        **options
            Further arguments of `dec_dtw`.

        Returns
        -------
        display : WarpDisplay

        Raises
        ------
        TypeError, ValueError
            As for `dec_dtw`, or if x and y are collections.
        ImportError
            If matplotlib is not installed.
        """
        x, y = _single_pair(_arrays.on_host(x), _arrays.on_host(y), "sqeuclidean")
        warp = dec_dtw(x, y, reg, x_times=x_times, y_times=y_times, **options)
        return cls(warp, x, y, x_times=x_times, y_times=y_times, names=names).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        index: int = 0,
        lengths: Lengths = None,
        names: tuple[str, str] = ("series", "reference"),
        ax: Axes | None = None,
    ) -> Self:
        """Warp one series of a collection onto the reference of an estimator, and draw the result.

        Parameters
        ----------
        estimator : fitted DecDTWAligner
        X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        index : int
            Which series of X is drawn.
        lengths : array of B integers, optional
            True lengths within a padded array.
        names
            As for the class.
        ax
            As for `plot`.

        Returns
        -------
        display : WarpDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError, IndexError
            If the estimator does not warp, or the series do not fit it.
        ImportError
            If matplotlib is not installed.
        """
        x, y = _item(X, index, lengths), _learned(estimator)
        if not hasattr(estimator, "align"):
            raise TypeError(f"estimator is a {type(estimator).__name__}; expected a DecDTWAligner")
        return cls(estimator.align(x, y), x, y, names=names).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            The three panels share its room. None makes a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = ax = _new_axes((10, 4.2)) if ax is None else ax
        self.figure_ = ax.figure
        ax.set_axis_off()
        self._draw_warp(ax.inset_axes((0, 0, 0.44, 1)))
        self.before_ax_, self.after_ax_ = (ax.inset_axes((0.54, bottom, 0.46, 0.41)) for bottom in (0.57, 0))
        x, y = _two_dimensional(self.x), _two_dimensional(self.y)
        times = [_from_zero(given, len(z)) for given, z in ((self.x_times, x), (self.y_times, y))]
        x_name, y_name = self.names
        reference = times[1], y, y_name
        warp_times, warped = map(_arrays.on_host, (self.warp.times, self.warp.warped))
        warped = warp_times, _two_dimensional(warped), f"{x_name}, warped"
        _draw_signals(self.before_ax_, [(times[0], x, x_name), reference])
        _draw_signals(self.after_ax_, [warped, reference])
        self.after_ax_.set_xlabel(f"time of {y_name}")
        return self

    def _draw_warp(self, ax):
        t, phi, bounds = map(_arrays.on_host, (self.warp.times, self.warp.values, self.warp.bounds))
        x_name, y_name = self.names
        self.warp_ax_ = ax
        self.region_ = ax.fill_between(t, *bounds, color="0.92", linewidth=0, label="within bounds")
        (self.diagonal_,) = ax.plot(
            t[[0, -1]], phi[[0, -1]], color="0.6", linewidth=1, linestyle="--", label="straight"
        )
        (self.line_,) = ax.plot(t, phi, color=LINE_COLORS[1], linewidth=1.4, label="warp")
        held = sorted({i for name, i in self.warp.active if not name.startswith("slope")})
        (self.held_,) = ax.plot(t[held], phi[held], ".", color="black", markersize=4, label="held")
        ax.set(xlabel=f"time of {y_name}", ylabel=f"time of {x_name}")
        ax.margins(0.02)
        ax.legend(loc="upper left", frameon=False)


# ---- what is drawn


def _check_kind(kind):
    _words.check_choice(kind, "kind", ("alignment", "cost"))


def _check_matrix(matrix, path, x, y):
    """Refuse what does not belong together in an AlignmentDisplay."""
    shape = np.shape(matrix)
    if len(shape) != 2:
        raise ValueError(f"matrix has shape {shape}; expected (n, m), rows along x")
    if path is not None and (np.ndim(path) != 2 or np.shape(path)[1] != 2):
        raise ValueError(f"path has shape {np.shape(path)}; expected (L, 2), matched time steps of x and y")
    for name, series, length in zip("xy", (x, y), shape, strict=True):
        if series is not None and len(series) != length:
            raise ValueError(f"{name} has {len(series)} samples; expected {length}, as the matrix has shape {shape}")


def _single_pair(x, y, cost):
    """The two series as (n, d) and (m, d) arrays; (None, None) for given costs."""
    pairs = CostPairs(x, y, cost)
    if not pairs.single:
        raise _words.not_single("x", "y")
    return (None, None) if pairs.y is None else (pairs.x.data, pairs.y.data)


def _items(X, lengths):
    """The series of a collection, [(n_i, d)]."""
    series = _arrays.as_collection(_arrays.on_host(X), _arrays.on_host(lengths))
    return [series.item(b) for b in range(len(series))]


def _item(X, index, lengths):
    """One series (n, d) of a collection."""
    series = _items(X, lengths)
    if not -len(series) <= index < len(series):
        raise IndexError(f"index is {index}, X has {len(series)} series; expected one of them")
    return series[index]


def _learned(estimator):
    """The series (m, d) that a fitted estimator has learned."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    for name in ("reference_", "barycenter_"):
        if hasattr(estimator, name):
            return _arrays.on_host(getattr(estimator, name))
    raise TypeError(f"estimator is a {type(estimator).__name__}; expected one with a reference_ or a barycenter_")


def _options_of(estimator):
    """How a fitted estimator aligns a series, rows, with what it has learned, columns."""
    options = {name: getattr(estimator, name) for name in ("gamma", "regularizer", "cost", "window", "step_weights")}
    if not hasattr(estimator, "reference_"):  # barycenters are aligned the other way round
        options["step_weights"] = tuple(options["step_weights"])[::-1]
        if np.ndim(options["window"]) == 2:
            options["window"] = np.transpose(options["window"])
    return options


def _two_dimensional(x):
    x = np.asarray(x)
    return x.reshape(len(x), -1)


# ---- how it is drawn


def _new_axes(size):
    """Axes in a new figure of a size in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: python -m pip install 'sdtwkit[plot]'") from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def _time(sampling_rate):
    """-> (duration of a time step, label of the axis)."""
    if sampling_rate is None:
        return 1.0, "time step"
    return 1.0 / _words.check_positive(sampling_rate, "sampling_rate"), "time (s)"


def _draw_channels(ax, series, unit, upright=False):
    """The channels of a series over time; upright: time runs upwards, and values to the left."""
    from matplotlib.ticker import MaxNLocator

    values = _two_dimensional(series)
    n, d = values.shape
    if d > _MOST_LINES:
        edges = np.array([-0.5, n - 0.5]) * unit
        image, extent = (values, [-0.5, d - 0.5, *edges]) if upright else (values.T, [*edges, -0.5, d - 0.5])
        ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="nearest", cmap="cividis")
    for c in range(d if d <= _MOST_LINES else 0):
        points = np.arange(n) * unit, values[:, c]
        ax.plot(*(points[::-1] if upright else points), color=LINE_COLORS[c % len(LINE_COLORS)], linewidth=1.0)
    (ax.xaxis if upright else ax.yaxis).set_major_locator(MaxNLocator(2 if upright else 3, integer=d > _MOST_LINES))
    if upright:
        ax.invert_xaxis()
        ax.xaxis.tick_top()  # away from the labels of the other series, which are near the same corner
        ax.xaxis.set_label_position("top")


def _from_zero(times, n):
    """Sample times, from 0 on; evenly on [0, 1] where none are given."""
    return np.linspace(0, 1, n) if times is None else np.asarray(times, dtype=float) - times[0]


def _draw_signals(ax, signals):
    """Two signals (times, values (n, d), name), each in one colour, in the same axes; the first channels of many."""
    for (times, values, name), color in zip(signals, LINE_COLORS[1::-1], strict=True):
        lines = ax.plot(times, values[:, :_MOST_LINES], color=color, linewidth=1.2)
        lines[0].set_label(name)
    ax.margins(x=0.01)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize="small")


def _panels(ax, d):
    """d axes one below the other in the room of one, which is the panel itself where d is 1."""
    if d == 1:
        return np.array([ax])
    ax.set_axis_off()
    height = 1 / (d + 0.12 * (d - 1))
    panels = [ax.inset_axes([0, (d - 1 - c) * 1.12 * height, 1, height]) for c in range(d)]
    for panel in panels[:-1]:
        panel.sharex(panels[-1])
        panel.tick_params(labelbottom=False)
    return np.array(panels)


def _shades(n):
    """n colours that follow an order, from dark to bright; the first of the palette alone."""
    if n == 1:
        return LINE_COLORS[:1]
    from matplotlib import colormaps

    return colormaps["plasma"](np.linspace(0, 0.85, n))
