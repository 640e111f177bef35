"""Costs between series: matrices of local costs, and the products with their derivatives.

The equations are in `_local_costs`; here is the door to them, for one pair or a batch in any form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    PAIR,
    Matrices,
    Series,
    as_direction,
    as_matrices,
    as_series_pair,
    bring_lengths,
    device_of,
    namespace,
    on_device,
    read_series,
    within,
)
from ._local_costs import COSTS, Cost, FusedCost, Huber, NegativeLogLikelihood, Precomputed, get_cost
from ._typing import Array, Arrays, CostLike, Lengths

__all__ = ["COSTS", "CostPairs", "FusedCost", "Huber", "cost_hvp", "cost_jvp", "cost_matrix", "cost_vjp", "get_cost"]

Tables: TypeAlias = Array | list[Array]  # (B, n, m), or its items (n_b, m_b)
Moves: TypeAlias = tuple[Array, Array | None]


def as_cost_pair(x, y, cost, x_lengths=None, y_lengths=None, names=("x", "y")):
    """The arguments of a pair function, checked against the domain of `cost`, a `Cost`.

    -> (Series, Series); (Matrices, None) for "precomputed". For "nll" labels do not count as channels, nor in the
    dtype, and x may hold -inf. `names` : what errors call x and y.
    """
    if isinstance(cost, Precomputed):
        if y is not None:
            raise ValueError("y is given, but cost 'precomputed' takes the cost matrix as x; expected y=None")
        return as_matrices(x, x_lengths, y_lengths, name="x"), None
    if isinstance(cost, NegativeLogLikelihood):
        x, y = _as_labelled_pair(x, y, x_lengths, y_lengths)
    else:
        x, y = as_series_pair(x, y, x_lengths, y_lengths, names)
    if on_device(x.data) and not cost.takes_batches:
        bring_lengths(x, names[0])
        bring_lengths(y, names[1])
    if type(cost).check is Cost.check or on_device(x.data):
        return x, y
    for b, (x_b, y_b) in enumerate(zip(_items(x, x.data), _items(y, y.data), strict=True)):
        cost.check(x_b, y_b, names[1] if y.form == "single" else f"{names[1]}[{b}]")
    return x, y


def _as_labelled_pair(x, y, x_lengths, y_lengths):
    """Log-probabilities (n, K) and labels (m,); -inf passes the door, which wants finite series, as a 0."""
    raw, form = read_series(x, PAIR, "x")
    parts = raw if form == "list" else [raw]
    finite, of_device = parts, on_device(parts[0])
    if not of_device:  # there nobody looks
        impossible = [part == -np.inf for part in parts]
        finite = [np.where(mask, part.dtype.type(0), part) for part, mask in zip(parts, impossible, strict=True)]
    labels, labels_form = read_series(y, PAIR, "y")
    for b, item in enumerate(labels if labels_form == "list" else [labels]):
        if item.ndim > 1 and item.shape[-1] != 1:
            name = f"y[{b}]" if labels_form == "list" else "y"
            raise ValueError(
                f"{name} has shape {item.shape}; expected integer labels, (m,) or (m, 1) a series, for cost 'nll'"
            )
    first = [part[..., :1] if part.ndim > 1 else part for part in finite]  # of as many channels as the labels
    finite, first = (finite, first) if form == "list" else (finite[0], first[0])
    x, _ = as_series_pair(finite, finite, x_lengths, x_lengths, names=("x", "x"))
    _, y = as_series_pair(first, y, x_lengths, y_lengths)
    if of_device:
        return x, y
    mask = np.concatenate([mask.reshape(-1, x.n_channels) for mask in impossible])
    data = np.where(mask, x.dtype.type(-np.inf), x.data)
    return Series(data, x.starts, x.lengths, x.form, x.shape), y


def _items(side, flat):
    """Views of each pair's part of `flat`, an array laid out as the data of `side`."""
    if isinstance(side, Matrices):
        return _blocks(flat, side.rows, side.columns)
    return [flat[k : k + n] for k, n in zip(side.starts.tolist(), side.lengths.tolist(), strict=True)]


def _blocks(table, rows, columns):
    """Views (n_b, m_b) of a table (B, n, m)."""
    return [block[:n, :m] for block, n, m in zip(table, rows.tolist(), columns.tolist(), strict=True)]


class CostPairs:
    """The pairs of one call: the equations of their cost, pair by pair, or on a device for all at once if it can that.

    Reads cotangents and tangents, and gives results their form. A table is (B, n, m), with zeros beyond the lengths.

    x, y : Series; for "precomputed" Matrices and None.
    shape, lengths : (B, n, m) of a table, and the true (rows (B,), columns (B,)) of each pair in it.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        cost: CostLike,
        x_lengths: Lengths = None,
        y_lengths: Lengths = None,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self.cost = get_cost(cost)
        self.x, self.y = x, y = as_cost_pair(x, y, self.cost, x_lengths, y_lengths, names)
        self.of_device = type(x.data) is not np.ndarray and on_device(x.data)
        self.at_once = self.of_device and self.cost.takes_batches
        self.dtype = x.data.dtype
        if y is None:
            self.single, self.ragged = x.single, False
            self.shape, self.lengths = x.data.shape, (x.rows, x.columns)
        elif x.form == "single":
            self.single, self.ragged = True, False
            self.shape, self.lengths = (1, len(x.data), len(y.data)), (x.lengths, y.lengths)
        else:
            self.single, self.ragged = False, x.form == y.form == "list"
            self.shape, self.lengths = (len(x), x.n_rows, y.n_rows), (x.lengths, y.lengths)

    # The cost's equations for all pairs. G and dG are tables, or what `cotangents` gives; moves what `tangents` gives.

    def matrix(self) -> Array:
        """Table of the costs."""
        return self._table(self.cost.matrix, self._data)

    def jvp(self, moves: Moves) -> Array:
        """Table of their changes."""
        return self._table(self.cost.jvp, self._data, moves)

    def vjp(self, G: Tables) -> tuple[Arrays, Arrays]:
        """Gradients of <G, C>, in the form of x and of y; None for a y that has no derivative."""
        return self._gradients(self.cost.vjp, self._data, G)

    def hvp(self, G: Tables, moves: Moves) -> tuple[Arrays, Arrays]:
        """Changes of `vjp` as the series move."""
        return self._gradients(self.cost.hvp, self._data, G, moves)

    def moved_vjp(self, G: Tables, moves: Moves, dG: Tables) -> tuple[Arrays, Arrays]:
        """Changes of `vjp` as the series move and G moves by dG."""

        def equation(x, y, G, dx, dy, dG):
            parts = zip(self.cost.hvp(x, y, G, dx, dy), self.cost.vjp(x, y, dG), strict=True)
            return tuple(None if a is None else a + b for a, b in parts)

        return self._gradients(equation, self._data, G, moves, dG)

    @property
    def _data(self):
        return self.x.data, None if self.y is None else self.y.data

    def _table(self, equation, *sides):
        with device_of(self.x.data):
            if self.at_once:
                return namespace(self.x.data).ascontiguousarray(self._cut(equation(*self._of_all(sides))))
            return self.table_of(equation(*arguments) for arguments in self._of_each(sides))

    def _gradients(self, equation, *arguments):
        two_sided = self.cost.y_is_differentiable
        with device_of(self.x.data):
            if self.at_once:
                gx, gy = equation(*self._of_all(arguments))
                flat_x = gx if self.y is None else self.x.unpadded(gx)
                flat_y = self.y.unpadded(gy) if two_sided else None
            else:
                flat_x, flat_y = np.zeros_like(self.x.data), np.zeros_like(self.y.data) if two_sided else None
                views = self._views((flat_x, flat_y))
                for view_x, view_y, own in zip(*views, self._of_each(arguments), strict=True):
                    view_x[...], gy = equation(*own)
                    if two_sided:
                        view_y[...] = gy
        return self.x.like(flat_x), self.y.like(flat_y) if two_sided else None

    def _of_each(self, arguments):
        """The arguments of an equation, pair by pair."""
        columns, whole = [], namespace(self.x.data).ascontiguousarray
        for one in arguments:
            columns += self._views(one) if isinstance(one, tuple) else [map(whole, self.items_of(one))]
        return zip(*columns, strict=True)

    def _views(self, sides):
        """Each pair's part of arrays laid out as the data of x and of y, of which the latter may be None."""
        x, y = sides
        return [_items(self.x, x), [None] * len(self.x) if y is None else _items(self.y, y)]

    def _of_all(self, arguments):
        """The arguments of an equation as batches."""
        for one in arguments:
            if isinstance(one, tuple):
                for side, flat in zip((self.x, self.y), one, strict=True):
                    yield side.padded(flat) if isinstance(side, Series) and flat is not None else flat
            else:
                yield self._cut(one)

    def _cut(self, table):
        """A table of a device, whatever it holds beyond the lengths."""
        sides = zip(self.lengths, self.shape[1:], strict=True)
        rows, columns = (within(lengths, most, table) for lengths, most in sides)
        if rows is not None:
            table = namespace(table).where(rows[:, :, None], table, 0)
        if columns is not None:
            table = namespace(table).where(columns[:, None, :], table, 0)
        return table

    def items_of(self, table: Tables) -> list[Array]:
        """Views (n_b, m_b) of the pairs in a table (B, n, m); a list of them is one already."""
        return table if type(table) is list else _blocks(table, *self.lengths)

    def table_of(self, items: Iterable[Array]) -> Array:
        """(B, n, m), the items (n_b, m_b) with zeros beyond them."""
        table = namespace(self.x.data).zeros(self.shape, self.dtype)
        for view, item in zip(self.items_of(table), items, strict=True):
            view[...] = item
        return table

    def tables(self, table: Array) -> Arrays:
        """A table (B, n, m) in the caller's form: itself, its one matrix, or a list where x and y are lists."""
        if self.ragged:
            return [view.copy() for view in self.items_of(table)]
        return table[0] if self.single else table

    def cotangents(self, G: ArrayLike, name: str = "G") -> Tables:
        """G of each pair, [(n_b, m_b)], or on a device in a table; `name` is what errors call it."""
        if self.of_device or not self.ragged:
            return self.cotangent_table(G, name)
        return self._cotangents(G, name)

    def _cotangents(self, G, name):
        if not isinstance(G, (list, tuple)) or len(G) != len(self.x):
            came = f"{len(G)} matrices" if isinstance(G, (list, tuple)) else f"of type {type(G).__name__}"
            raise ValueError(f"{name} is {came}; expected a list of {len(self.x)} matrices, one for each pair")
        return [self._cotangent(b, G[b], f"{name}[{b}]") for b in range(len(G))]

    def cotangent_table(self, G: ArrayLike, name: str = "G") -> Array:
        """(B, n, m) with the G of each pair; beyond the lengths it may hold anything."""
        if self.ragged:
            return self.table_of(self._cotangents(G, name))
        like = Matrices(self._zeros(self.shape), *self.lengths, self.single)
        return as_matrices(G, name=name, like=like).data

    def _zeros(self, shape):
        """Zeros where the pairs are, that take no room."""
        arrays = namespace(self.x.data)
        return arrays.broadcast_to(arrays.zeros((), self.dtype), shape)

    def _cotangent(self, b, G, name):
        rows, columns = (ends[b : b + 1] for ends in self.lengths)
        like = Matrices(self._zeros((1, rows[0], columns[0])), rows, columns, True)
        return as_matrices(G, name=name, like=like).data[0]

    def tangents(self, dx: ArrayLike | None, dy: ArrayLike | None) -> Moves:
        """(dx, dy) laid out as the data of x and y; None is a direction of zeros."""
        if dy is not None and not self.cost.y_is_differentiable:
            raise ValueError("dy is given, but this cost has no derivative in y; expected dy=None")
        if dx is None:
            flat_x = np.zeros_like(self.x.data)
        elif self.y is None:
            flat_x = as_matrices(dx, name="dx", like=self.x).data
        else:
            flat_x = as_direction(dx, self.x, "dx").data
        if not self.cost.y_is_differentiable:
            return flat_x, None
        return flat_x, np.zeros_like(self.y.data) if dy is None else as_direction(dy, self.y, "dy").data


def cost_matrix(
    x: ArrayLike, y: ArrayLike, cost: CostLike = "sqeuclidean", *, x_lengths: Lengths = None, y_lengths: Lengths = None
) -> Arrays:
    """Local costs C_ij = c(x_i, y_j) between all time steps of two series.

    Parameters
    ----------
    x : array of shape (n, d), (n,) or (B, n, d), or list of B such series
        Time runs along the first axis of a series; a 1-D array is one channel.
    y : array of shape (m, d), (m,) or (B, m, d), or list of B such series
        For "nll" integer labels (m,) or (m, 1), below the K columns of x; for "precomputed" None.
    cost : str or object, default="sqeuclidean"
        "sqeuclidean" ||x-y||^2; "half_sqeuclidean" half of it; "euclidean" ||x-y||; "manhattan" ||x-y||_1; "cosine"
        1 - <x,y>/(|x||y|), 1 where a row is 0; "neg_dot" -<x,y>; "huber", that is Huber(delta=1); "bce" binary
        cross-entropy of logits x and targets y in [0, 1], summed over channels; "nll" -x[i, y_j] of log-probabilities x
        (n, K), of which -inf gives cost +inf; "log_half_sqeuclidean" c + log(2 - exp(-c)) over c = ||x-y||^2 / 2;
        "precomputed": x is the cost matrix, (n, m) or (B, n, m), +inf allowed. Or an object with methods matrix(x, y),
        vjp(x, y, G), jvp(x, y, dx, dy) and, for second derivatives, hvp(x, y, G, dx, dy), called with the 2-D arrays of
        one pair after the other: for CuPy arrays with CuPy arrays, and CuPy arrays are expected of it.
    x_lengths, y_lengths : array of B integers, optional
        True lengths; what lies beyond, NaN included, is not read.

    Returns
    -------
    C : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        Zeros in the padding; a list where x and y are lists. float32 where x and y are, else float64; labels do not
        count.

    Raises
    ------
    ValueError, TypeError
        Where the series do not match, hold NaN or infinity or leave the domain of the cost, or the cost is unknown.

    Examples
    --------
    >>> from sdtwkit.costs import cost_matrix
    >>> cost_matrix([0.0, 1.0, 2.0], [0.0, 2.0])
    array([[0., 4.],
           [1., 1.],
           [4., 0.]])
    """
    pairs = CostPairs(x, y, cost, x_lengths, y_lengths)
    return pairs.tables(pairs.matrix())


def cost_vjp(
    x: ArrayLike,
    y: ArrayLike,
    G: ArrayLike,
    cost: CostLike = "sqeuclidean",
    *,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
) -> tuple[Arrays, Arrays]:
    """Gradient of <G, C(x, y)>: the cotangent G of a cost matrix, pulled back to the series.

    grad_x_i = sum_j G_ij dc(x_i, y_j)/dx_i and grad_y_j = sum_i G_ij dc(x_i, y_j)/dy_j, by the subgradient 0 where two
    points meet under "euclidean" and "manhattan", and 0 where the cost is infinite. With G the expected alignment they
    are the gradients of soft-DTW [1]_.

    Parameters
    ----------
    x, y, cost, x_lengths, y_lengths
        As in `cost_matrix`.
    G : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        Shaped as the cost matrices, finite; cast to the dtype of the series.

    Returns
    -------
    grad_x, grad_y : arrays or lists of arrays with the shapes of x and y
        Zeros in the padding, dtype as in `cost_matrix`; grad_y is None for "nll" and "precomputed".

    Raises
    ------
    ValueError, TypeError
        As `cost_matrix`, and where G does not have the shape of the costs or is not finite.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Examples
    --------
    >>> from sdtwkit.costs import cost_vjp
    >>> grad_x, grad_y = cost_vjp([0.0, 1.0], [3.0], G=[[1.0], [1.0]])
    >>> grad_x, grad_y
    (array([-6., -4.]), array([10.]))
    """
    pairs = CostPairs(x, y, cost, x_lengths, y_lengths)
    return pairs.vjp(pairs.cotangents(G))


def cost_jvp(
    x: ArrayLike,
    y: ArrayLike,
    dx: ArrayLike | None,
    dy: ArrayLike | None,
    cost: CostLike = "sqeuclidean",
    *,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
) -> Arrays:
    """Change of the cost matrix as the series move: dC_ij = <dc/dx_i, dx_i> + <dc/dy_j, dy_j>.

    Parameters
    ----------
    x, y, cost, x_lengths, y_lengths
        As in `cost_matrix`.
    dx, dy : None, or arrays or lists of arrays with the shapes of x and y
        Directions, cast to the dtype of the series; None is zero, and dy must be None for "nll" and "precomputed".

    Returns
    -------
    dC : array of shape (n, m) or (B, n, m), or list of B arrays (n_i, m_i)
        As `cost_matrix` returns them; 0 where the cost is infinite.

    Raises
    ------
    ValueError, TypeError
        As `cost_matrix`, and where a direction does not have the shape of its series or is not finite.

    Examples
    --------
    >>> from sdtwkit.costs import cost_jvp
    >>> cost_jvp([0.0, 1.0], [3.0], dx=[1.0, 0.0], dy=None)
    array([[-6.],
           [ 0.]])
    """
    pairs = CostPairs(x, y, cost, x_lengths, y_lengths)
    return pairs.tables(pairs.jvp(pairs.tangents(dx, dy)))


def cost_hvp(
    x: ArrayLike,
    y: ArrayLike,
    G: ArrayLike,
    dx: ArrayLike | None,
    dy: ArrayLike | None,
    cost: CostLike = "sqeuclidean",
    *,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
) -> tuple[Arrays, Arrays]:
    """Second derivative of <G, C(x, y)> applied to the direction (dx, dy), cross blocks included.

    hx_i = sum_j G_ij (c_xx dx_i + c_xy dy_j) and hy_j = sum_i G_ij (c_yx dx_i + c_yy dy_j); where a cost has no second
    derivative ("euclidean" at distance 0, the kinks of "manhattan" and "huber") it counts as 0, at the kink of "huber"
    as that of the quadratic side.

    Parameters
    ----------
    x, y, cost, x_lengths, y_lengths
        As in `cost_matrix`.
    G
        As in `cost_vjp`.
    dx, dy
        As in `cost_jvp`.

    Returns
    -------
    hx, hy : arrays or lists of arrays with the shapes of x and y
        As `cost_vjp` returns them; hy is None for "nll" and "precomputed".

    Raises
    ------
    ValueError, TypeError
        As `cost_vjp` and `cost_jvp`; TypeError where a cost object has no method hvp.

    Examples
    --------
    >>> from sdtwkit.costs import cost_hvp
    >>> hx, hy = cost_hvp([0.0, 1.0], [3.0], G=[[1.0], [1.0]], dx=[1.0, 0.0], dy=None)
    >>> hx, hy
    (array([2., 0.]), array([-2.]))
    """
    pairs = CostPairs(x, y, cost, x_lengths, y_lengths)
    return pairs.hvp(pairs.cotangents(G), pairs.tangents(dx, dy))
