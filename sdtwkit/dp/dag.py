"""Smoothed shortest paths in any directed acyclic graph: value, edge marginals, Hessian products.

The recursion that alignments and chains are special cases of (Mensch & Blondel 2018, section 2): over the edges e into
a node v, V(v) = min_Omega of V(source of e) + cost(e), and V = 0 where no edge leads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _arrays, _backend, _options
from .._typing import Array, Regularizer, Value


class DagDP:
    """Smoothed shortest path from the sources of a graph to its last node.

    Parameters
    ----------
    indptr : int array of shape (N + 1,)
        The edges into node v are number indptr[v] to indptr[v + 1] - 1, as the rows of a CSR matrix. Nodes without
        edges are the sources.
    indices : int array of shape (E,)
        The node that each edge leaves; always an earlier one than the node it leads into, which rules out cycles.
        Parallel edges are allowed.
    gamma : float > 0, default 1.0
        Smoothing, in units of the costs.
    regularizer : {"entropy", "l2", None}, default "entropy"
        "entropy": every path counts, with weight exp(-cost / gamma). "l2": sparse laws of paths. None: the shortest
        path, and gamma is ignored; among equal edges into a node the first one wins.

    Notes
    -----
    Costs are arrays of shape (E,), or (B, E) for a batch; +inf forbids an edge. Where no path is admissible, values are
    +inf and derivatives 0. Longest paths are shortest ones under negated costs, with the opposite value. All is
    computed in float64, edge by edge; float32 costs give float32 results. `AlignmentDP` and `ChainDP` are many times
    faster on their graphs.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit.dp import DagDP
    >>> dag = DagDP([0, 0, 1, 3], [0, 0, 1], regularizer=None)  # 0 -> 1, 0 -> 2 and 1 -> 2
    >>> value, gradient = dag.value_and_grad([1.0, 3.0, 1.0])
    >>> float(value), gradient
    (2.0, array([1., 0., 1.]))
    """

    def __init__(
        self, indptr: ArrayLike, indices: ArrayLike, gamma: float = 1.0, *, regularizer: Regularizer = "entropy"
    ) -> None:
        self._first, self._source = _arrays.as_dag(indptr, indices)
        self._regularizer, self._gamma = regularizer, _options.check_smoothing(gamma, regularizer)
        self._shown = f"gamma={gamma!r}, regularizer={regularizer!r}"

    def __repr__(self):
        return f"DagDP({len(self._first) - 1} nodes, {len(self._source)} edges, {self._shown})"

    def value(self, costs: ArrayLike) -> Value:
        """Smoothed length of the shortest path.

        Parameters
        ----------
        costs : array of shape (E,) or (B, E)
            Cost of each edge.

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)

        Raises
        ------
        TypeError, ValueError
            If the costs hold NaN or -inf, or are not one for each edge.

        Examples
        --------
        >>> from sdtwkit.dp import DagDP
        >>> round(float(DagDP([0, 0, 2], [0, 0]).value([0.0, 0.0])), 4)  # two parallel edges
        -0.6931
        """
        return self._solve(costs)[0]

    def value_and_grad(self, costs: ArrayLike) -> tuple[Value, Array]:
        """Smoothed length of the shortest path and its gradient with respect to every cost.

        Parameters
        ----------
        costs : array of shape (E,) or (B, E)

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)
        gradient : array of the shape of the costs
            The probability that a random path takes each edge.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import DagDP
        >>> DagDP([0, 0, 2], [0, 0]).value_and_grad([0.0, 0.0])[1]
        array([0.5, 0.5])
        """
        return self._solve(costs)[:2]

    def marginals(self, costs: ArrayLike) -> Array:
        """Probability that a random path takes each edge: the gradient.

        Parameters
        ----------
        costs : array of shape (E,) or (B, E)

        Returns
        -------
        E : array of the shape of the costs

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import DagDP
        >>> DagDP([0, 0, 2], [0, 0], regularizer="l2").marginals([0.0, 0.5])
        array([0.75, 0.25])
        """
        return self._solve(costs)[1]

    def hvp(self, costs: ArrayLike, direction: ArrayLike) -> tuple[Value, Array]:
        """Directional derivative of the value, and the product of its Hessian with the direction.

        Parameters
        ----------
        costs, direction : arrays of shape (E,) or (B, E)

        Returns
        -------
        slope : NumPy scalar, or array of shape (B,)
        product : array of the shape of the costs
            Since the marginals are the gradient, also their vector-Jacobian product.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if the direction does not fit the costs.

        Examples
        --------
        >>> from sdtwkit.dp import DagDP
        >>> slope, product = DagDP([0, 0, 2], [0, 0]).hvp([0.0, 0.0], [1.0, 0.0])
        >>> product
        array([-0.25,  0.25])
        """
        return self._solve(costs, direction)[2:]

    def _solve(self, costs, direction=None):
        """-> values, edge marginals, slopes, products, in the form and dtype of the costs."""
        costs, dtype, shape = _arrays.as_edge_costs(costs, "costs", len(self._source))
        if direction is not None:
            direction, _, _ = _arrays.as_edge_costs(direction, "direction", len(self._source), like=shape)
        found = _backend.shortest_paths(self._first, self._source, self._regularizer, self._gamma, costs, direction)
        return tuple(
            _arrays.narrowed(np.reshape(part, shape[:-1] + part.shape[1:]), dtype)[()]
            for part in found
            if part is not None
        )
