"""The area between alignments: against the triangular matrix of its definition, finite differences, and paths."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.dp import AlignmentDP, area_loss, expected_area_loss


def twin(E, Y):
    """||L (Y - E)^T||^2"""
    L = np.tril(np.ones((E.shape[1], E.shape[1])))
    return np.linalg.norm(L @ (Y - E).T) ** 2


def diagonal(n, m):
    """Alignment along the diagonal, a single column for each row."""
    Y = np.zeros((n, m))
    Y[np.arange(n), np.arange(n) * m // n] = 1
    return Y


def test_loss_is_its_definition(rng):
    E, Y = rng.random((2, 5, 7))
    loss, gradient = area_loss(E, Y)
    assert_allclose(loss, twin(E, Y), rtol=1e-13)
    steps = 1e-6 * np.eye(35).reshape(35, 5, 7)
    differences = [(twin(E + step, Y) - twin(E - step, Y)) / 2e-6 for step in steps]
    assert_allclose(gradient.ravel(), differences, rtol=1e-6, atol=1e-6)


def test_deviations_of_paths_are_counted(rng):
    n, m = 9, 12
    columns = rng.integers(m, size=(2, n))
    E, Y = (np.eye(m)[c] for c in columns)
    assert area_loss(E, Y)[0] == np.abs(columns[0] - columns[1]).sum()
    assert area_loss(Y, Y)[0] == 0
    assert_array_equal(area_loss(Y, Y)[1], 0)


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
@pytest.mark.parametrize("options", [{}, {"step_weights": (1.0, 2.0, 0.5)}, {"window": 1}, {"open_end": True}], ids=str)
def test_gradient_through_the_expected_alignment(regularizer, options, rng):
    C, Z = rng.normal(size=(2, 5, 6))
    Y, dp, step = diagonal(5, 6), AlignmentDP(0.7, regularizer=regularizer, **options), 1e-6
    loss, gradient = expected_area_loss(dp, C, Y)
    assert_allclose(loss, twin(dp.marginals(C), Y), rtol=1e-12)
    up, down = (expected_area_loss(dp, C + s * step * Z, Y)[0] for s in (1, -1))
    assert_allclose((gradient * Z).sum(), (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


def test_descending_finds_the_true_alignment(rng):
    C, Y, dp = rng.normal(size=(6, 8)), diagonal(6, 8), AlignmentDP()
    first = expected_area_loss(dp, C, Y)[0]
    for _ in range(300):
        C = C - 0.3 * expected_area_loss(dp, C, Y)[1]
    assert expected_area_loss(dp, C, Y)[0] < 0.2 * first


def test_lengths_are_single_calls_and_padding_is_not_read(rng):
    C, Y = rng.normal(size=(2, 3, 5, 7))
    rows, columns = np.array([5, 3, 4]), np.array([4, 7, 1])
    for b in range(3):
        C[b, rows[b] :], C[b, :, columns[b] :] = np.nan, np.nan
        Y[b, rows[b] :], Y[b, :, columns[b] :] = np.inf, np.nan
    dp = AlignmentDP(0.5)
    loss, gradient = expected_area_loss(dp, C, Y, x_lengths=rows, y_lengths=columns)
    for b, (n, m) in enumerate(zip(rows, columns, strict=True)):
        one, of_one = expected_area_loss(dp, C[b, :n, :m], Y[b, :n, :m])
        assert_allclose(loss[b], one, rtol=1e-12)
        assert_allclose(gradient[b, :n, :m], of_one, atol=1e-12)
        assert_array_equal(gradient[b, n:], 0)
        assert_array_equal(gradient[b, :, m:], 0)


def test_forms_and_dtypes(rng):
    E, Y = rng.random((2, 4, 3))
    narrow = area_loss(E.astype(np.float32), Y > 0.5)
    assert narrow[0].dtype == narrow[1].dtype == np.float32
    assert_allclose(narrow[0], twin(E, Y > 0.5), rtol=1e-5)
    E.flags.writeable = Y.flags.writeable = False
    before = E.copy(), Y.copy()
    assert_array_equal(area_loss(E[None], Y[None])[1][0], area_loss(E, Y)[1])
    assert_allclose(area_loss(E[:, ::-1], Y[:, ::-1])[0], twin(E[:, ::-1], Y[:, ::-1]))
    assert_array_equal(E, before[0])
    assert_array_equal(Y, before[1])


@pytest.mark.parametrize(
    ("E", "Y", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"Y has shape \(3, 2\); expected \(2, 3\)"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "Y holds NaN at row 0, column 0"),
        (np.full((2, 3), np.inf), np.zeros((2, 3)), "E holds an infinity; expected the probabilities"),
        (np.zeros(3), np.zeros(3), r"E has shape \(3,\)"),
    ],
)
def test_what_is_no_alignment(E, Y, message):
    with pytest.raises(ValueError, match=message):
        area_loss(E, Y)


def test_what_is_no_recursion():
    with pytest.raises(TypeError, match=r"dp is 1.0, of type float; expected an AlignmentDP"):
        expected_area_loss(1.0, np.zeros((3, 3)), np.eye(3))
