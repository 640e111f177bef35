"""Series-level functions against their slow twins: costs, forms of input, threads, and long calls."""

import multiprocessing
import signal
import sys
import threading
import time

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import COSTS, OPERATORS, derivative

import sdtwkit
from sdtwkit import (
    cdist_dtw,
    cdist_soft_dtw,
    dtw,
    dtw_path,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_alignment_vjp,
    soft_dtw_hvp,
    soft_dtw_value_and_grad,
    subsequence_matches,
)
from sdtwkit.dp import AlignmentDP

GAMMA = 0.7
SETTINGS = {
    "plain": {},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "radius": {"window": 2},
    "mask": {"window": np.abs(np.arange(9)[:, None] - np.arange(7)) < 5},
    "search": {"open_begin": "y", "open_end": "y"},
    "open": {"open_begin": True, "open_end": "x"},
    "prior": {"prior": np.cos(np.arange(63.0)).reshape(9, 7)},
    "all": {"step_weights": (0.5, 1.0, 2.0), "window": 3, "open_begin": "x", "open_end": True},
}


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


@pytest.fixture(params=COSTS)
def cost(request):
    return request.param


def pair(rng, n, m, d, cost="sqeuclidean"):
    """x (n, d), y (m, d), scaled so that costs do not grow with d; y in [0, 1] for "bce"."""
    x, y = rng.normal(size=(n, d)) / np.sqrt(d), rng.normal(size=(m, d)) / np.sqrt(d)
    return x, 1 / (1 + np.exp(-3 * y)) if cost == "bce" else y


def close(actual, expected, tolerance=1e-10):
    """Entry by entry, relative to the largest."""
    expected = np.asarray(expected, float)
    assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1, abs(expected).max()))


def check(x, y, directions, tolerance=1e-10, cost="sqeuclidean", **options):
    """Every function of a pair of series against its twin."""
    dx, dy, G = directions
    gamma = options.pop("gamma", GAMMA)
    options["cost"] = cost
    regularizer = options.get("regularizer", "entropy")
    value, grad_x, grad_y = soft_dtw_value_and_grad(x, y, gamma, **options)
    expected = reference.soft_dtw_value_and_grad(x, y, gamma, **options)
    for got, wanted in zip((value, grad_x, grad_y), expected, strict=True):
        close(got, wanted, tolerance)
    close(soft_dtw(x, y, gamma, **options), expected[0], tolerance)

    E, same = soft_dtw_alignment(x, y, gamma, **options)
    close(E, reference.soft_dtw_alignment(x, y, gamma, **options)[0], tolerance)
    close(same, expected[0], tolerance)
    expected = reference.soft_dtw_alignment_vjp(x, y, G, gamma, **options)
    for got, wanted in zip(soft_dtw_alignment_vjp(x, y, G, gamma, **options), expected, strict=True):
        close(got, wanted, tolerance)
    expected = reference.soft_dtw_hvp(x, y, dx, dy, gamma, **options)
    for got, wanted in zip(soft_dtw_hvp(x, y, dx, dy, gamma, **options), expected, strict=True):
        close(got, wanted, 10 * tolerance)  # the twin's is a difference quotient

    if regularizer is None and "prior" not in options:
        del options["regularizer"]
        close(dtw(x, y, **options), reference.dtw(x, y, **options), tolerance)
        path, distance = dtw_path(x, y, **options)
        expected_path, expected_distance = reference.dtw_path(x, y, **options)
        assert_array_equal(path, expected_path)
        close(distance, expected_distance, tolerance)


def directions(rng, x, y):
    return rng.normal(size=x.shape), rng.normal(size=y.shape), rng.normal(size=(len(x), len(y)))


# ---- one pair


@pytest.mark.parametrize("d", [1, 2, 3, 12, 33, 70])
def test_every_cost_and_dimension(cost, d, regularizer, rng):
    x, y = pair(rng, 9, 7, d, cost)
    check(x, y, directions(rng, x, y), cost=cost, regularizer=regularizer)


def test_every_setting(cost, options, regularizer, rng):
    x, y = pair(rng, 9, 7, 2, cost)
    check(x, y, directions(rng, x, y), cost=cost, regularizer=regularizer, **options)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (65, 40), (33, 128)], ids=str)
def test_every_size(shape, regularizer, rng):
    for cost in ("sqeuclidean", "euclidean", "cosine"):
        x, y = pair(rng, *shape, 3, cost)
        check(x, y, directions(rng, x, y), cost=cost, regularizer=regularizer)


@pytest.mark.parametrize("d", [1, 3, 33])
def test_float32(cost, d, regularizer, rng):
    x, y = (z.astype(np.float32) for z in pair(rng, 20, 15, d, cost))
    check(x, y, [z.astype(np.float32) for z in directions(rng, x, y)], 1e-4, cost=cost, regularizer=regularizer)


def test_gradients_are_derivatives(cost, options, regularizer, rng):
    """Finite differences of the twin's value in np.longdouble, along a direction in (x, y)."""
    x, y = pair(rng, 9, 7, 3, cost)
    dx, dy, G = directions(rng, x, y)
    options = {**options, "cost": cost, "regularizer": regularizer}
    _, grad_x, grad_y = soft_dtw_value_and_grad(x, y, GAMMA, **options)
    slope = derivative(lambda t: reference.soft_dtw(x + t * dx, y + t * dy, GAMMA, **options))
    close((grad_x * dx).sum() + (grad_y * dy).sum(), slope, 1e-9)
    grad_x, grad_y = soft_dtw_alignment_vjp(x, y, G, GAMMA, **options)
    slope = derivative(lambda t: (G * reference.soft_dtw_alignment(x + t * dx, y + t * dy, GAMMA, **options)[0]).sum())
    close((grad_x * dx).sum() + (grad_y * dy).sum(), slope, 1e-9)


def test_finite_differences_of_the_library_itself(cost, regularizer, rng):
    x, y = pair(rng, 6, 8, 2, cost)
    options = {"cost": cost, "regularizer": regularizer}
    _, *gradients = soft_dtw_value_and_grad(x, y, GAMMA, **options)
    for k, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):

            def moved(t, k=k, index=index):
                series = [x.copy(), y.copy()]
                series[k][index] += t
                return soft_dtw(*series, GAMMA, **options)

            assert_allclose((moved(1e-6) - moved(-1e-6)) / 2e-6, gradient[index], rtol=1e-6, atol=1e-6)


def test_missing_directions_are_zero(regularizer, rng):
    x, y = pair(rng, 6, 5, 2)
    dx, dy, _ = directions(rng, x, y)
    options = {"gamma": GAMMA, "regularizer": regularizer}
    for got, wanted in (
        (soft_dtw_hvp(x, y, dx, **options), soft_dtw_hvp(x, y, dx, 0 * dy, **options)),
        (soft_dtw_hvp(x, y, None, dy, **options), soft_dtw_hvp(x, y, 0 * dx, dy, **options)),
    ):
        for a, b in zip(got, wanted, strict=True):
            assert_allclose(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cost", sorted(set(COSTS) - {"cosine", "neg_dot", "bce"}))  # functions of differences
@pytest.mark.parametrize("d", [1, 3, 12, 70])
def test_offset_data_keeps_its_costs(cost, d, rng):
    """X = 1e8 + noise: costs of differences, not of the expansion |x|^2 - 2 x.y + |y|^2."""
    x, y = (1e8 + z for z in pair(rng, 12, 17, d))
    exact_x, exact_y = x - 1e8, y - 1e8  # exact: the offset sits in the leading digits
    value, grad_x, grad_y = soft_dtw_value_and_grad(x, y, GAMMA, cost=cost)
    expected = reference.soft_dtw_value_and_grad(exact_x, exact_y, GAMMA, cost=cost)
    for got, wanted in zip((value, grad_x, grad_y), expected, strict=True):
        close(got, wanted, 1e-9)
    assert_allclose(dtw(x, x, cost=cost), 0, atol=1e-12)


def test_precomputed_costs(regularizer, options, rng):
    C, dC, G = rng.normal(size=(3, 9, 7))
    prior = options.get("prior", 0)
    dp = AlignmentDP(GAMMA, regularizer=regularizer, **{k: v for k, v in options.items() if k != "prior"})
    options = {**options, "regularizer": regularizer, "cost": "precomputed"}
    value, H, nothing = soft_dtw_value_and_grad(C, None, GAMMA, **options)
    assert nothing is None
    expected, expected_H = dp.value_and_grad(C + prior)
    close(value, expected, 1e-13)
    close(H, expected_H, 1e-12)
    close(soft_dtw(C, None, GAMMA, **options), expected, 1e-13)
    close(soft_dtw_alignment(C, None, GAMMA, **options)[0], dp.marginals(C + prior), 1e-12)
    product, nothing = soft_dtw_hvp(C, None, dC, gamma=GAMMA, **options)
    assert nothing is None
    close(product, dp.hvp(C + prior, dC)[1], 1e-12)
    vjp, nothing = soft_dtw_alignment_vjp(C, None, G, GAMMA, **options)
    assert nothing is None
    close(vjp, dp.marginals_vjp(C + prior, G), 1e-12)


def test_precomputed_hard_costs(rng):
    C = rng.normal(size=(9, 7))
    assert dtw(C, None, cost="precomputed") == AlignmentDP(regularizer=None).value(C)
    path, value = dtw_path(C, None, cost="precomputed")
    assert_array_equal(path, AlignmentDP().decode(C)[0])
    blocked = np.full((3, 3), np.inf)
    value, H, _ = soft_dtw_value_and_grad(blocked, None, cost="precomputed")
    assert value == np.inf
    assert not H.any()


# ---- forms of input


def collection(rng, d, lengths, form, dtype=np.float64):
    """Ragged series as a list, and in the wanted form with the keyword arguments that go with it."""
    items = [rng.normal(size=(n, d)).astype(dtype) for n in lengths]
    if form == "list":
        return items, items, None
    padded = np.full((len(items), max(lengths) + 2, d), np.nan, dtype)
    for item, row in zip(items, padded, strict=True):
        row[: len(item)] = item
    return items, padded, np.array(lengths) if form == "lengths" else None


@pytest.mark.parametrize("settings", [{}, {"window": 3}, {"open_begin": "y", "open_end": True}], ids=str)
@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("d", [1, 12])
@pytest.mark.parametrize("form", ["list", "lengths", "nan"])
def test_batches_are_their_pairs(form, d, cost, settings, regularizer, rng):
    xs, X, x_lengths = collection(rng, d, [5, 1, 9, 9, 2], form)
    ys, Y, y_lengths = collection(rng, d, [7, 4, 1, 8, 8], form)
    lengths = {"x_lengths": x_lengths, "y_lengths": y_lengths}
    options = {"regularizer": regularizer, "cost": cost, **settings}
    values, grads_x, grads_y = soft_dtw_value_and_grad(X, Y, GAMMA, **options, **lengths)
    tables, again = soft_dtw_alignment(X, Y, GAMMA, **options, **lengths)
    vjps = soft_dtw_alignment_vjp(X, Y, tables, GAMMA, **options, **lengths)
    products = soft_dtw_hvp(X, Y, X, None, GAMMA, **options, **lengths)
    values_only = soft_dtw(X, Y, GAMMA, **options, **lengths)
    assert values.shape == again.shape == values_only.shape == (5,)
    for b, (x, y) in enumerate(zip(xs, ys, strict=True)):
        value, grad_x, grad_y = soft_dtw_value_and_grad(x, y, GAMMA, **options)
        E, _ = soft_dtw_alignment(x, y, GAMMA, **options)
        vjp = soft_dtw_alignment_vjp(x, y, E, GAMMA, **options)
        product = soft_dtw_hvp(x, y, x, None, GAMMA, **options)
        for got in (values[b], again[b], values_only[b]):
            close(got, value, 1e-12)
        for batch, alone in ((grads_x, grad_x), (grads_y, grad_y), *zip(vjps, vjp), *zip(products, product)):  # noqa: B905
            in_form(batch[b], alone, form)
        in_form(tables[b], E, form)


def in_form(got, alone, form):
    """A list holds arrays of the pair's own size, a padded array zeros beyond it."""
    if form == "list":
        assert got.shape == alone.shape
    inner = tuple(map(slice, alone.shape))
    close(got[inner], alone, 1e-11)
    padding = np.ones(got.shape, bool)
    padding[inner] = False
    assert not got[padding].any()


def test_hard_batches(rng):
    for form in ("list", "lengths", "nan"):
        xs, X, x_lengths = collection(rng, 2, [5, 1, 9], form)
        ys, Y, y_lengths = collection(rng, 2, [7, 4, 1], form)
        lengths = {"x_lengths": x_lengths, "y_lengths": y_lengths}
        paths, values = dtw_path(X, Y, **lengths)
        assert_array_equal(values, dtw(X, Y, **lengths))
        for x, y, path, value in zip(xs, ys, paths, values, strict=True):
            expected_path, expected = reference.dtw_path(x, y)
            assert_array_equal(path, expected_path)
            close(value, expected, 1e-13)


def test_a_prior_for_each_pair(regularizer, rng):
    X, Y, P = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 5, 2)), rng.random((4, 6, 5))
    values = soft_dtw(X, Y, GAMMA, regularizer=regularizer, prior=P)
    for b in range(4):
        close(values[b], reference.soft_dtw(X[b], Y[b], GAMMA, regularizer=regularizer, prior=P[b]), 1e-12)


def test_one_dimensional_series(regularizer, rng):
    x, y = rng.normal(size=9), rng.normal(size=7)
    options = {"gamma": GAMMA, "regularizer": regularizer}
    value, grad_x, grad_y = soft_dtw_value_and_grad(x, y, **options)
    column, column_x, _ = soft_dtw_value_and_grad(x[:, None], y[:, None], **options)
    assert value == column
    assert grad_x.shape == (9,)
    assert grad_y.shape == (7,)
    assert_array_equal(grad_x, column_x[:, 0])
    assert [h.shape for h in soft_dtw_hvp(x, y, x, y, **options)] == [(9,), (7,)]
    assert [g.shape for g in soft_dtw_alignment_vjp(x, y, np.ones((9, 7)), **options)] == [(9,), (7,)]
    _, mixed_x, mixed_y = soft_dtw_value_and_grad([x, x[:3]], [y, y[:, None][:4]], **options)
    assert [g.shape for g in mixed_x] == [(9,), (3,)]
    assert [g.shape for g in mixed_y] == [(7,), (4, 1)]


@pytest.mark.parametrize("dtypes", ["ff", "dd", "fd", "df", "ee", "ii", "fi"])
def test_dtypes(dtypes, rng):
    x, y = (rng.integers(0, 9, size=(n, 2)).astype(code) for n, code in zip((6, 5), dtypes, strict=True))
    expected = np.float32 if dtypes in ("ff", "ee") else np.float64
    value, grad_x, grad_y = soft_dtw_value_and_grad(x, y)
    assert isinstance(value, expected)
    assert grad_x.dtype == grad_y.dtype == expected
    assert isinstance(dtw(x, y), expected)
    assert isinstance(dtw_path(x, y)[1], expected)
    assert soft_dtw_alignment(x, y)[0].dtype == expected
    assert cdist_soft_dtw([x], [y]).dtype == expected
    assert_allclose(float(value), float(reference.soft_dtw(x, y)), rtol=1e-5)


def test_inputs_stay_as_they_are_whatever_their_layout(cost, rng):
    x, y = pair(rng, 9, 7, 3, cost)
    value, grad_x, grad_y = soft_dtw_value_and_grad(x, y, GAMMA, cost=cost)
    for layout in (
        np.asfortranarray,
        lambda z: np.repeat(np.repeat(z, 2, 0), 2, 1)[::2, ::2],
        lambda z: z[::-1].copy()[::-1],
    ):
        x_there, y_there = layout(x), layout(y)
        x_there.flags.writeable = y_there.flags.writeable = False
        there = soft_dtw_value_and_grad(x_there, y_there, GAMMA, cost=cost)
        for got, wanted in zip(there, (value, grad_x, grad_y), strict=True):
            assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)
        soft_dtw_hvp(x_there, y_there, x_there, y_there, GAMMA, cost=cost)
        soft_dtw_alignment_vjp(x_there, y_there, np.ones((9, 7)), GAMMA, cost=cost)
        assert_array_equal(x_there, x)
        assert_array_equal(y_there, y)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (np.zeros((2, 2)), r"prior has shape \(2, 2\); expected \(n, m\) = \(5, 4\) or \(B, n, m\) = \(1, 5, 4\)"),
        (np.where(np.eye(5, 4) > 0, np.nan, 0), "prior holds NaN at row 0, column 0; expected finite costs, or"),
        (np.full((5, 4), np.inf), "no path is admissible: window, prior and infinite costs"),
    ],
    ids=["shape", "nan", "no path"],
)
def test_wrong_priors(prior, message):
    with pytest.raises(ValueError, match=message):
        soft_dtw(np.zeros((5, 2)), np.ones((4, 2)), prior=prior)


def test_numbers_out_of_range_are_told():
    with pytest.raises(ValueError, match="the costs of a path can exceed the range of float64; rescale the series"):
        dtw([1e200], [-1e200])
    with pytest.raises(ValueError, match=r"a result of 4e\+60 does not fit float32; pass float64 arrays"):
        dtw(np.float32([1e30]), np.float32([-1e30]))


def test_no_admissible_path_between_series_is_an_error(rng):
    x, y = pair(rng, 9, 7, 2)
    closed = np.ones((9, 7), bool)
    closed[4] = False
    for function in (dtw, dtw_path, soft_dtw, soft_dtw_value_and_grad, soft_dtw_alignment):
        with pytest.raises(ValueError, match="path"):
            function(x, y, window=closed)


# ---- all pairs


@pytest.mark.parametrize("settings", [{}, {"step_weights": (1, 2, 1), "window": 2}, {"open_end": "y"}], ids=str)
def test_matrices_are_all_pairs(cost, settings, regularizer, rng):
    X = [pair(rng, n, 1, 2, cost)[0] for n in (4, 9, 1, 6)]
    Y = [pair(rng, 1, n, 2, cost)[1] for n in (5, 8, 2)]
    options = {"cost": cost, "regularizer": regularizer, **settings}
    expected = np.array([[soft_dtw(x, y, GAMMA, **options) for y in Y] for x in X])
    close(cdist_soft_dtw(X, Y, GAMMA, **options), expected, 1e-13)
    del options["regularizer"]
    if regularizer is None:
        close(cdist_dtw(X, Y, **options), expected, 1e-13)
    if cost != "bce":
        within = cdist_soft_dtw(X, None, GAMMA, regularizer=regularizer, **options)
        expected = [[soft_dtw(x, z, GAMMA, regularizer=regularizer, **options) for z in X] for x in X]
        close(within, expected, 1e-12)
        if "open_end" not in settings:
            assert_array_equal(within, within.T)


def test_matrices_of_padded_and_univariate_collections(rng):
    xs, X, x_lengths = collection(rng, 1, [5, 3, 9], "lengths")
    ys, Y, y_lengths = collection(rng, 1, [2, 7], "lengths")
    expected = cdist_soft_dtw(xs, ys, GAMMA)
    assert_array_equal(cdist_soft_dtw(X, Y, GAMMA, X_lengths=x_lengths, Y_lengths=y_lengths), expected)
    assert_array_equal(cdist_soft_dtw(X, Y, GAMMA), expected)
    assert_array_equal(cdist_soft_dtw(X[..., 0], Y[..., 0], GAMMA, X_lengths=x_lengths, Y_lengths=y_lengths), expected)
    with pytest.raises(ValueError, match="cost"):
        cdist_dtw(X, Y, cost="precomputed")


# ---- search


def test_matches_are_the_best_disjoint_intervals(rng):
    for n, m, d in ((3, 20, 1), (4, 25, 2), (1, 12, 1), (6, 4, 1)):
        query, series = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        matches = subsequence_matches(query, series, k=4)
        expected = reference.subsequence_matches(query, series, k=4)
        assert [match[:2] for match in matches] == [match[:2] for match in expected]
        assert_allclose([match[2] for match in matches], [match[2] for match in expected], rtol=1e-12)
    start, end, value = subsequence_matches(query, series)[0]
    assert_allclose(value, dtw(query, series[start:end]), rtol=1e-12)


def test_search_ends_when_no_room_is_left(rng):
    assert len(subsequence_matches(rng.normal(size=3), rng.normal(size=4), k=10)) <= 4


def test_errors_of_a_search_name_the_query_and_the_series(rng):
    with pytest.raises(ValueError, match="query has 2 channels, series has 1"):
        subsequence_matches(rng.normal(size=(3, 2)), rng.normal(size=9))
    with pytest.raises(TypeError, match="query is None, of type NoneType"):
        subsequence_matches(None, rng.normal(size=9))
    with pytest.raises(ValueError, match=r"series holds 2\.0 at time 1, channel 0; expected targets in"):
        subsequence_matches([0.5], [0.5, 2.0], cost="bce")


# ---- threads, processes, interruption


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine"])
def test_results_do_not_depend_on_the_number_of_threads(cost, regularizer, rng):
    _, X, x_lengths = collection(rng, 3, rng.integers(1, 60, 37).tolist(), "lengths")
    _, Y, y_lengths = collection(rng, 3, rng.integers(1, 60, 37).tolist(), "lengths")
    options = {"regularizer": regularizer, "cost": cost, "x_lengths": x_lengths, "y_lengths": y_lengths}
    x, y = rng.normal(size=(2, 700, 3))
    for n_jobs in (2, 3, -1):
        for function in (soft_dtw_value_and_grad, soft_dtw_alignment):
            one, many = (function(X, Y, GAMMA, n_jobs=jobs, **options) for jobs in (1, n_jobs))
            for a, b in zip(one, many, strict=True):
                assert_array_equal(a, b)
        one, many = (soft_dtw_value_and_grad(x, y, GAMMA, cost=cost, n_jobs=jobs) for jobs in (None, n_jobs))
        for a, b in zip(one, many, strict=True):
            assert_array_equal(a, b)
        matrices = [
            cdist_soft_dtw(X[:9], Y[:8], regularizer=regularizer, cost=cost, n_jobs=jobs) for jobs in (1, n_jobs)
        ]
        assert_array_equal(*matrices)


def leave_nan_in_freed_memory():
    for size in (50, 700, 2100, 5000, 20000, 100000, 400000):
        blocks = [np.full(size, np.nan) for _ in range(4)]
        del blocks


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_memory_held_before_does_not_show(n_jobs, rng):
    """Lanes without a cell may compute on anything, but nothing of it may reach a result, not even as 0 * NaN."""
    for _ in range(20):
        x, y = rng.normal(size=(2, 300, 3))
        leave_nan_in_freed_memory()
        results = (
            *soft_dtw_value_and_grad(x, y, GAMMA, n_jobs=n_jobs),
            *soft_dtw_alignment(x, y, GAMMA, n_jobs=n_jobs),
            *soft_dtw_hvp(x, y, x, y, GAMMA, n_jobs=n_jobs),
        )
        assert [bool(np.all(np.isfinite(result))) for result in results] == [True] * len(results)


def test_several_python_threads_at_once(rng):
    x, y = rng.normal(size=(2, 6, 300, 2))
    expected = [soft_dtw_value_and_grad(a, b) for a, b in zip(x, y, strict=True)]
    wrong = []

    def work(k):
        for _ in range(5):
            for got, wanted in zip(soft_dtw_value_and_grad(x[k], y[k], n_jobs=1 + k % 2), expected[k], strict=True):
                if not np.array_equal(got, wanted):
                    wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def _in_child(x, answer):
    answer.put(cdist_soft_dtw(x, n_jobs=2))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: fork with threads about
def test_a_fork_after_a_threaded_call_does_not_hang(rng):
    x = rng.normal(size=(8, 50, 2))
    expected = cdist_soft_dtw(x, n_jobs=2)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_in_child, args=(x, answer))
    child.start()
    try:
        assert_array_equal(answer.get(timeout=60), expected)
    finally:
        child.join(timeout=10)
        if child.is_alive():
            child.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no interval timer")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_stops_a_long_call(n_jobs, rng):
    x = rng.normal(size=60000)
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            soft_dtw(x, x, n_jobs=n_jobs)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert time.perf_counter() - start < 2.3
    assert np.isfinite(sdtwkit.soft_dtw(x[:50], x[:50]))
