"""Smoothed dynamic time warping on given costs: value, gradient, expected alignment, Hessian products, paths.

One recursion (Mensch & Blondel 2018; soft-DTW of Cuturi & Blondel 2017 is its entropy case): over monotone paths from
a start to an end cell,

    V(i, j) = min_Omega { V(i - di, j - dj) + w C(i, j) : steps (di, dj) with weights w }.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numpy.typing import ArrayLike

from .. import _arrays, _backend, _options, _words
from .._typing import Array, Lengths, Mask, OpenEnds, Paths, RandomState, Regularizer, Value, Window


class AlignmentDP:
    """Smoothed dynamic time warping of cost matrices.

    Parameters
    ----------
    gamma : float > 0, default 1.0
        Smoothing, in units of the costs; towards 0 the value becomes that of the best path.
    regularizer : {"entropy", "l2", None}, default "entropy"
        "entropy" gives soft-DTW: every path counts, with weight exp(-cost / gamma). "l2" gives sparse alignments. None
        is classical DTW, and gamma is ignored; among equal predecessors the diagonal wins, then left, then up, then
        other steps as given, then a start.
    steps : tuple of (di, dj), default ((0, 1), (1, 1), (1, 0))
        Moves of a path: rows and columns it advances. Other sets than this one are served by a slower general kernel
        in float64 with tables of the size of the costs.
    step_weights : tuple of S floats >= 0, or array of shape (n, m, S) or (B, n, m, S)
        One for each step; multiplies the cost of the cell that the step arrives at. The first cell has weight 1. An
        array gives each cell weights of its own.
    window : None, int >= 0, or bool array of shape (n, m) or (B, n, m)
        Radius of a Sakoe-Chiba band (widened by the difference of lengths), or a mask, True where admissible.
    open_begin, open_end : {False, "y", "x", True}, or bool array of shape (n, m) or (B, n, m)
        False: paths run from the first to the last cell. "y": they may begin (end) anywhere in the first (last) row,
        that is skip part of y; "x": of the first (last) column; True: both. An array is True at the cells of the set.
    step_mask : bool array of shape (n, m, S) or (B, n, m, S), optional
        True where a step may arrive at a cell: allowed transitions.
    begin_weights, end_weights : array of shape (n, m) or (B, n, m), optional
        Multiply the cost of the cell that a path begins in, by default 1, and of the one it ends in, by default 0 (it
        has been paid on arrival): what leaving out a part costs, for open ends.

    Notes
    -----
    Arrays of weights, transitions and sets are served by the general kernel, like other steps.

    Costs are arrays C of shape (n, m), or (B, n, m) for a batch; rows run along x. +inf forbids a cell. The keyword
    arguments ``x_lengths`` and ``y_lengths`` of every method give the true sizes within a padded batch; what lies
    beyond is never read, and results are zero there. float32 costs give float32 results. Where no path is admissible,
    values are +inf and derivatives 0.

    CuPy arrays are computed on their device and on the current stream, and give CuPy arrays. What would be an error is
    then a value of NaN, since nothing waits for the device to see it: NaN or -inf among the costs of a pair, a length
    on the device that is out of range. `decode` and `sample` wait, to tell how long the paths are. Windows, weights,
    transitions and sets may lie on the device or on the host; a weight there that is negative or not finite makes the
    value NaN.

    References
    ----------
    Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.dp import AlignmentDP
    >>> C = np.array([[0.0, 4.0, 9.0], [4.0, 0.0, 1.0], [9.0, 1.0, 0.0]])
    >>> AlignmentDP(gamma=1.0).marginals(C).round(2)
    array([[1.  , 0.02, 0.  ],
           [0.02, 0.99, 0.21],
           [0.  , 0.21, 1.  ]])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        regularizer: Regularizer = "entropy",
        steps: Sequence[tuple[int, int]] = _options.DEFAULT_STEPS,
        step_weights: ArrayLike = _options.UNIT_WEIGHTS,
        window: Window = None,
        open_begin: OpenEnds | Mask = False,
        open_end: OpenEnds | Mask = False,
        step_mask: ArrayLike | None = None,
        begin_weights: ArrayLike | None = None,
        end_weights: ArrayLike | None = None,
    ) -> None:
        self._recursion = _options.check_graph(
            gamma,
            regularizer,
            steps,
            step_weights,
            window,
            open_begin,
            open_end,
            step_mask,
            begin_weights,
            end_weights,
        )
        self._shown = f"gamma={gamma!r}, regularizer={regularizer!r}"

    def __repr__(self):
        return f"AlignmentDP({self._shown})"

    def value(self, C: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None) -> Value:
        """Smoothed cost of aligning.

        Parameters
        ----------
        C : array of shape (n, m) or (B, n, m)
            Local costs.
        x_lengths, y_lengths : None, or int array of shape (B,)
            True numbers of rows and columns.

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)

        Raises
        ------
        TypeError, ValueError
            If C holds NaN or -inf, or shapes and lengths disagree.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> float(AlignmentDP(regularizer=None).value([[1.0, 2.0], [4.0, 1.0]]))
        2.0
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        return _answer(C, _backend.values(problem))

    def value_and_grad(self, C: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None) -> tuple[Value, Array]:
        """Smoothed cost of aligning and its gradient with respect to every local cost.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)
        gradient : array of the shape of C
            For unit step weights the expected alignment.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> value, gradient = AlignmentDP(regularizer=None).value_and_grad([[1.0, 2.0], [4.0, 1.0]])
        >>> gradient
        array([[1., 0.],
               [0., 1.]])
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        value, gradient = _backend.matrix_gradients(problem, C.data.shape)
        return _answer(C, value), C.like(gradient)

    def marginals(self, C: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None) -> Array:
        """Expected alignment E: the probability that a random path visits each cell.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.

        Returns
        -------
        E : array of the shape of C
            In [0, 1]; corners are 1 for closed ends.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> AlignmentDP().marginals([[0.0, 0.0], [0.0, 0.0]]).round(3)
        array([[1.   , 0.333],
               [0.333, 1.   ]])
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        return C.like(_backend.matrix_gradients(problem, C.data.shape, visits=True)[1])

    def hvp(
        self, C: ArrayLike, direction: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None
    ) -> tuple[Value, Array]:
        """Directional derivative of the value, and the product of its Hessian with the direction.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.
        direction : array of the shape of C, finite

        Returns
        -------
        slope : NumPy scalar, or array of shape (B,)
            <gradient, direction>.
        product : array of the shape of C
            d gradient(C + t direction) / dt at t = 0.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if the direction does not fit C.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> slope, product = AlignmentDP().hvp([[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]])
        >>> product.round(3)
        array([[ 0.   , -0.222],
               [ 0.111,  0.   ]])
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        direction = _arrays.as_matrices(direction, name="direction", like=C)
        _, slope, _, product = _backend.products(problem, direction.data)
        return _answer(C, slope), C.like(product)

    def marginals_vjp(
        self, C: ArrayLike, cotangent: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None
    ) -> Array:
        """Gradient of <cotangent, E(C)> with respect to C: what backpropagation through `marginals` needs.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.
        cotangent : array of the shape of C, finite

        Returns
        -------
        gradient : array of the shape of C

        Raises
        ------
        TypeError, ValueError
            As for `hvp`.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> AlignmentDP().marginals_vjp([[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]).round(3)
        array([[ 0.   , -0.222],
               [ 0.111,  0.   ]])
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        cotangent = _arrays.as_matrices(cotangent, name="cotangent", like=C)
        return C.like(_backend.visit_vjp(problem, cotangent.data)[0])

    def parameter_grads(
        self, C: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None
    ) -> tuple[Value, Array]:
        """Gradients of the value with respect to gamma and to the step weights.

        With the expected alignment E and the probabilities Q_s of arriving at a cell by step s, d value / d gamma is
        the sum of E Omega(Q), which for "entropy" is minus the entropy of the law of paths and equals
        (value - <H, C>) / gamma; and d value / d w_s is the sum of E Q_s C. A prior that is added to the costs has the
        gradient H of `value_and_grad`. The general kernel computes them, in float64 with tables.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.

        Returns
        -------
        gamma_grad : NumPy scalar, or array of shape (B,)
            0 without a regularizer.
        step_weights_grad : array of shape (S,) or (B, S); (n, m, S) or (B, n, m, S) if the step weights are an array

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> gamma_grad, step_weights_grad = AlignmentDP().parameter_grads([[1.0, 1.0], [1.0, 1.0]])
        >>> round(float(gamma_grad), 3), step_weights_grad.round(3)
        (-0.975, array([0.424, 0.576, 0.424]))
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        gamma_grad, weights_grad, cells_grad = _backend.parameter_gradients(problem)
        weights_grad = weights_grad if cells_grad is None else cells_grad
        return _answer(C, gamma_grad), weights_grad[0] if C.single else weights_grad

    def decode(self, C: ArrayLike, x_lengths: Lengths = None, y_lengths: Lengths = None) -> tuple[Paths, Value]:
        """Best path, whatever the regularizer, and its cost.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.

        Returns
        -------
        path : int64 array of shape (L, 2), or list of B such arrays
            Cells (i, j) from the start to the end; empty where no path is admissible.
        value : NumPy scalar, or array of shape (B,)
            Sum of the weighted local costs on the path.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> path, value = AlignmentDP().decode([[0.0, 0.0, 5.0], [5.0, 5.0, 0.0]])
        >>> path.tolist(), float(value)
        ([[0, 0], [0, 1], [1, 2]], 0.0)
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        problem = replace(problem, recursion=replace(self._recursion, regularizer=None))
        paths, value = _backend.paths(problem)
        paths = [path for (path,) in paths]
        return (paths[0] if C.single else paths), _answer(C, value)

    def sample(
        self,
        C: ArrayLike,
        n_samples: int,
        random_state: RandomState = None,
        x_lengths: Lengths = None,
        y_lengths: Lengths = None,
    ) -> list[Paths]:
        """Paths drawn from the smoothed law: step back from the end with the probabilities of the recursion.

        Parameters
        ----------
        C, x_lengths, y_lengths
            As for `value`.
        n_samples : int >= 1
        random_state : None, int, Generator or RandomState
            It is asked for one number, from which all paths follow: the same ones on a device as on the CPU,
            unless a draw falls into what rounding leaves open.

        Returns
        -------
        paths : list of n_samples int64 arrays of shape (L, 2), or list of B such lists
            For "entropy" draws from the Gibbs law, with probability proportional to exp(-cost / gamma); E is the
            share of paths through each cell. Empty paths where none is admissible.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if n_samples < 1.

        Examples
        --------
        >>> from sdtwkit.dp import AlignmentDP
        >>> paths = AlignmentDP(gamma=0.1).sample([[0.0, 5.0], [5.0, 0.0]], 2, random_state=0)
        >>> [path.tolist() for path in paths]
        [[[0, 0], [1, 1]], [[0, 0], [1, 1]]]
        """
        C, problem = self._problem(C, x_lengths, y_lengths)
        n_samples = _words.check_count(n_samples, "n_samples")
        seed = int(_options.check_random_state(random_state).integers(2**63))
        paths, _ = _backend.paths(problem, n_samples, seed)
        return paths[0] if C.single else paths

    def _problem(self, C, x_lengths, y_lengths):
        C = _arrays.as_matrices(C, x_lengths, y_lengths)
        _options.check_shapes(self._recursion, *C.data.shape)
        return C, _backend.Problem(self._recursion, C.rows, C.columns, C.dtype, given=C.data)


def _answer(C, values):
    """(B,) values, or the only one of a single matrix."""
    return values[0] if C.single else values
