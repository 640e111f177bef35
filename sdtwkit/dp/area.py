"""The area between two alignments, and training through the expected one: losses that see when events happen.

The value of an alignment says how well two series fit, not where; a loss on the expected alignment E says where. Its
gradient with respect to the costs is a product with the Hessian of the value (Mensch & Blondel 2018, section 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _arrays, _words
from .._typing import Array, Lengths, Value
from .alignment import AlignmentDP


def area_loss(
    E: ArrayLike, Y: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None
) -> tuple[Value, Array]:
    """Area between two alignments, and its gradient: a smooth surrogate of the mean absolute deviation [1]_.

    With D = E - Y and L the lower triangular matrix of ones, the loss is ||L D^T||^2, the sum over rows i and columns j
    of (D[i, 0] + ... + D[i, j])^2. Where each row of E and of Y has a single 1, row i adds the number of columns
    between the two: the loss divided by the number of rows is then the mean absolute deviation.

    Parameters
    ----------
    E : array of shape (n, m) or (B, n, m)
        Alignment, as by `AlignmentDP.marginals`; 0/1 for a path.
    Y : array of the shape of E
        True alignment, 0/1 or probabilities.
    x_lengths, y_lengths : None, or int array of shape (B,)
        True numbers of rows and columns.

    Returns
    -------
    loss : NumPy scalar, or array of shape (B,)
    gradient : array of the shape of E
        With respect to E.

    Raises
    ------
    TypeError, ValueError
        If the shapes disagree, or E or Y is not finite.

    See Also
    --------
    expected_area_loss : Of the expected alignment under given costs.

    References
    ----------
    .. [1] Lajugie, Garreau, Bach and Arlot, Metric learning for temporal sequence alignment, NeurIPS 2014.

    Examples
    --------
    >>> from sdtwkit.dp import area_loss
    >>> loss, gradient = area_loss([[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]])
    >>> float(loss)  # two columns away
    2.0
    >>> gradient
    array([[4., 2., 0.]])
    """
    E = _arrays.as_matrices(E, x_lengths, y_lengths, name="E")
    if E.has_inf:
        raise ValueError("E holds an infinity; expected the probabilities of an alignment")
    Y = _arrays.as_matrices(Y, name="Y", like=E)
    arrays, (_, n, m) = _arrays.namespace(E.data), E.data.shape
    with _arrays.device_of(E.data):
        rows, columns = arrays.asarray(E.rows), arrays.asarray(E.columns)
        inside = (arrays.arange(n) < rows[:, None])[:, :, None] & (arrays.arange(m) < columns[:, None])[:, None, :]
        e, y = (np.where(inside, matrices.data, 0) for matrices in (E, Y))
        area = np.where(inside, arrays.cumsum(e - y, axis=2), 0)
        loss = (area * area).sum(axis=(1, 2), dtype=np.float64).astype(E.dtype)
        gradient = np.where(inside, 2 * arrays.cumsum(area[:, :, ::-1], axis=2)[:, :, ::-1], 0)
    return (loss[0] if E.single else loss), E.like(gradient)


def expected_area_loss(
    dp: AlignmentDP, C: ArrayLike, Y: ArrayLike, *, x_lengths: Lengths = None, y_lengths: Lengths = None
) -> tuple[Value, Array]:
    """Area between the expected alignment under given costs and the true one, and its gradient.

    Parameters
    ----------
    dp : AlignmentDP
        How costs become an expected alignment: gamma, regularizer, steps, windows, ends.
    C : array of shape (n, m) or (B, n, m)
        Local costs.
    Y : array of the shape of C
        True alignment, as for `area_loss`.
    x_lengths, y_lengths : None, or int array of shape (B,)
        True numbers of rows and columns.

    Returns
    -------
    loss : NumPy scalar, or array of shape (B,)
    gradient : array of the shape of C
        With respect to C; the gradient of the series or features that C was made of follows by `costs.cost_vjp`.

    Raises
    ------
    TypeError, ValueError
        As for `AlignmentDP.marginals` and `area_loss`.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.dp import AlignmentDP, expected_area_loss
    >>> C, Y = np.zeros((3, 3)), np.eye(3)
    >>> loss, gradient = expected_area_loss(AlignmentDP(), C, Y)
    >>> further, _ = expected_area_loss(AlignmentDP(), C - 0.1 * gradient, Y)
    >>> bool(further < loss)
    True
    """
    if not isinstance(dp, AlignmentDP):
        raise _words.wrong_type(dp, "dp", "an AlignmentDP")
    loss, cotangent = area_loss(dp.marginals(C, x_lengths, y_lengths), Y, x_lengths=x_lengths, y_lengths=y_lengths)
    return loss, dp.marginals_vjp(C, cotangent, x_lengths, y_lengths)
