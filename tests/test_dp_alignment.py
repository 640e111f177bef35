"""AlignmentDP against its slow twin: every result, operator, dtype, setting, size and layout."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import OPERATORS, OPTIONS, SETS, Alignment, Gibbs, path_cost, random_costs, value_scale

from sdtwkit.dp import AlignmentDP

DTYPES = (np.float64, np.float32)
# Lanes, strips, tiles and checkpoints end at such sizes.
SIDES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130, 200, 257, 300)
OTHER_SIDES = (1, 2, 3, 5, 18, 33)
BANDED = {"window": 2, "step_weights": (0.5, 2.0, 1.5), "open_begin": "y", "open_end": True}


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS)
def options(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=["float64", "float32"])
def dtype(request):
    return request.param


def close(actual, expected, scale, tolerance, dtype=np.float64):
    assert np.asarray(actual).dtype == dtype
    assert_allclose(np.float64(actual), np.float64(expected), rtol=0, atol=tolerance * float(scale))


def check(C, Z, gamma=1.0, **options):
    """Value, gradient, alignment, both second-order products and the path of one matrix, in the dtype of C."""
    fast, slow = AlignmentDP(gamma, **options), Alignment(gamma, **options)
    exact, direction, dtype = np.float64(C), np.float64(Z), C.dtype
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    weight = max(1, *options.get("step_weights", (1, 1, 1)))

    value, H = slow.value_and_grad(exact)
    tangent, product = slow.hvp(exact, direction)
    E, vjp = slow.marginals(exact), slow.marginals_vjp(exact, direction)
    second = max(1, abs(direction).max() * weight**2 / gamma if slow.regularizer else 1)

    got_value, got_H = fast.value_and_grad(C)
    close(got_value, value, value_scale(slow, exact), tolerance, dtype)
    close(fast.value(C), value, value_scale(slow, exact), tolerance, dtype)
    close(got_H, H, weight, tolerance, dtype)
    close(fast.marginals(C), E, 1, tolerance, dtype)
    got_tangent, got_product = fast.hvp(C, Z)
    close(got_tangent, tangent, max(1, (H * abs(direction)).sum()), tolerance, dtype)
    close(got_product, product, max(second, abs(product).max()), tolerance, dtype)
    close(fast.marginals_vjp(C, Z), vjp, max(second, abs(vjp).max()), tolerance, dtype)

    path, cost = fast.decode(C)
    expected_path, expected_cost = slow.decode(exact)
    close(cost, expected_cost, value_scale(slow, exact), tolerance, dtype)
    assert path.dtype.kind == "i"
    assert_array_equal(path, expected_path)


# ---- one matrix


@pytest.mark.parametrize("blocked", [0.0, 0.15], ids=["free", "blocked"])
def test_everything_matches_the_twin(regularizer, options, dtype, blocked, rng):
    for n, m in ((1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (9, 7), (12, 21)):
        C, Z = random_costs(rng, n, m, blocked), rng.normal(size=(n, m))
        check(C.astype(dtype), Z.astype(dtype), 0.6, regularizer=regularizer, **options)


@pytest.mark.parametrize("options", [{}, BANDED], ids=["plain", "banded"])
@pytest.mark.parametrize("side", SIDES)
def test_sizes_across_the_borders_of_blocks(regularizer, options, side, rng):
    other = OTHER_SIDES[SIDES.index(side) % len(OTHER_SIDES)]
    for shape in ((side, other), (other, side)):
        check(rng.normal(size=shape), rng.normal(size=shape), 0.5, regularizer=regularizer, **options)


@pytest.mark.parametrize("options", [{}, BANDED], ids=["plain", "banded"])
@pytest.mark.parametrize("shape", [(64, 65), (130, 127), (257, 200), (300, 300)], ids=str)
def test_large_matrices(regularizer, options, shape, rng):
    check(rng.random(shape), rng.normal(size=shape), 0.2, regularizer=regularizer, **options)


@pytest.mark.parametrize("open_end", SETS)
@pytest.mark.parametrize("open_begin", SETS)
def test_open_ends(regularizer, open_begin, open_end, rng):
    for shape in ((1, 1), (1, 6), (6, 1), (10, 18)):
        C, Z = rng.normal(size=(2, *shape))
        check(C, Z, 0.6, regularizer=regularizer, open_begin=open_begin, open_end=open_end)


@pytest.mark.parametrize("radius", [0, 1, 5, 100, 2**40])
def test_a_band_follows_the_lengths(regularizer, radius, rng):
    for shape in ((1, 9), (9, 1), (12, 12), (17, 30), (40, 16)):
        C, Z = rng.normal(size=(2, *shape))
        check(C, Z, 0.6, regularizer=regularizer, window=radius)


def test_a_mask_is_the_same_as_forbidden_cells(regularizer, rng):
    C, Z = rng.normal(size=(2, 20, 33))
    mask = rng.random(C.shape) < 0.85
    check(C, Z, 0.6, regularizer=regularizer, window=mask)
    masked, free = AlignmentDP(regularizer=regularizer, window=mask), AlignmentDP(regularizer=regularizer)
    forbidden = np.where(mask, C, np.inf)
    assert masked.value(C) == free.value(forbidden)
    assert_allclose(masked.marginals(C), free.marginals(forbidden), rtol=0, atol=1e-14)


def test_float32_at_medium_size(regularizer, rng):
    C, Z = rng.random((2, 60, 70)).astype(np.float32)
    check(C, Z, 0.5, regularizer=regularizer)


@pytest.mark.parametrize("options", [{}, {"window": 100}, {"open_begin": "y", "open_end": "y"}], ids=str)
def test_float32_keeps_four_digits_at_1000(options, rng):
    x, y = rng.normal(size=(2, 1000)).cumsum(axis=1) / 10
    C, Z = np.square(x[:, None] - y).astype(np.float32), rng.normal(size=(1000, 1000)).astype(np.float32)
    dp = AlignmentDP(0.1, **options)
    for method, arguments in (("value_and_grad", (C,)), ("hvp", (C, Z))):
        for got, expected in zip(
            getattr(dp, method)(*arguments), getattr(dp, method)(*map(np.float64, arguments)), strict=True
        ):
            close(got, expected, abs(expected).max(), 1e-4, np.float32)


# ---- extremes


@pytest.mark.parametrize(("dtype", "cost"), [(np.float32, 2e30), (np.float64, 1e300)])
def test_gaps_whose_sum_is_infinite_leave_l2_with_the_best_path(dtype, cost):
    C = np.array([[0, cost], [cost, 0]], dtype)  # over gamma just below the largest number
    value, gradient = AlignmentDP(1e-8, regularizer="l2").value_and_grad(C)
    assert value == pytest.approx(1e-8)  # half a gamma for each cell
    assert_array_equal(gradient, np.eye(2))


exponents = st.floats(-12, 12)
signed = st.builds(lambda sign, e: sign * 10.0**e, st.sampled_from([-1.0, 0.0, 1.0, 1.0]), exponents)
gammas = st.floats(-8, 8).map(lambda e: 10.0**e)


@st.composite
def extreme_costs(draw):
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    C = np.array(draw(st.lists(signed, min_size=n * m, max_size=n * m)))
    C[draw(st.lists(st.integers(0, n * m - 1), max_size=2))] = np.inf
    return C.reshape(n, m)


NEARLY_TIED = np.array([[-1e6, -1, -1], [-1, -0.01, -1], [-1, -0.01, -1], [-1, -1, -0.1]])
some_options = st.sampled_from([{}, OPTIONS["weights"], OPTIONS["search"], OPTIONS["everything"], OPTIONS["knight"]])


def reach(C, options):
    return abs(C[C < np.inf]).max(initial=0) * max(1, *options.get("step_weights", (1,))) * sum(C.shape)


@settings(max_examples=400)
@given(C=extreme_costs(), gamma=gammas, options=some_options)
@example(C=NEARLY_TIED, gamma=0.1, options=OPTIONS["knight"])
def test_extreme_costs_and_gamma_match_the_exact_law(C, gamma, options):
    dp, law, twin = AlignmentDP(gamma, **options), Gibbs(gamma, **options), Alignment(gamma, **options)
    Z = np.linspace(-1, 1, C.size).reshape(C.shape)
    value, H = dp.value_and_grad(C)
    E, (tangent, product) = dp.marginals(C), dp.hvp(C, Z)
    assert all(np.all(np.isfinite(result)) for result in (H, E, tangent, product, dp.marginals_vjp(C, Z)))
    if not np.isfinite(law.value(C)):
        assert value == np.inf
        assert_array_equal(np.concatenate([E, H, product]), 0)
        assert tangent == 0
        return
    close(value, law.value(C), value_scale(twin, C), 1e-10)
    assert np.all((E >= 0) & (E <= 1 + 1e-12))
    if not (options.get("open_begin") or options.get("open_end")):
        assert_allclose(E[[0, -1], [0, -1]], 1, rtol=1e-12)
    # Values of other steps than the usual three are not scaled: probabilities are told by differences of large numbers.
    rounding = 1e-15 * reach(C, options) / gamma if "steps" in options else 0.0
    if reach(C, options) / gamma < 2**51 and rounding < 1e-3:  # beyond, ties are lost in any form
        weight, tolerance = max(1, *options.get("step_weights", (1,))), 1e-10 + rounding
        close(E, law.marginals(C), 1, tolerance)
        close(H, law.gradient(C), weight, tolerance)
        close(product, law.hessian_product(C, Z), weight**2 * C.size / gamma, tolerance)
        close(tangent, (law.gradient(C) * Z).sum(), weight * C.size, tolerance)


@settings(max_examples=200)
@given(C=extreme_costs(), gamma=gammas, options=some_options)
def test_extreme_costs_and_gamma_under_l2(C, gamma, options):
    options = {**options, "regularizer": "l2"}
    dp, twin = AlignmentDP(gamma, **options), Alignment(gamma, **options)
    value, H = dp.value_and_grad(C)
    expected, expected_H = twin.value_and_grad(C)
    assert all(np.all(np.isfinite(result)) for result in (H, dp.marginals(C), *dp.hvp(C, np.ones(C.shape))[1:]))
    if not np.isfinite(expected):
        assert value == np.inf
        assert not H.any()
        return
    close(value, expected, value_scale(twin, C), 1e-10)
    rounding = 1e-14 * reach(C, options) / gamma  # weights are differences of values over gamma
    if rounding < 1e-3:
        close(H, expected_H, max(1, *options.get("step_weights", (1,))), 1e-10 + 10 * rounding)


@settings(max_examples=200)
@given(C=extreme_costs(), options=some_options)
def test_extreme_costs_on_the_best_path(C, options):
    dp, law = AlignmentDP(regularizer=None, **options), Gibbs(regularizer=None, **options)
    value, (path, cost) = dp.value(C), dp.decode(C)
    assert value == cost
    if not np.isfinite(law.value(C)):
        assert value == np.inf
        assert path.shape == (0, 2)
        return
    keys = ("steps", "step_weights")
    assert_allclose(value, law.value(C), rtol=0, atol=1e-14 * reach(C, options))
    on_path = path_cost(C, path, **{key: options[key] for key in keys if key in options})
    assert_allclose(value, on_path, rtol=0, atol=1e-14 * reach(C, options))


@pytest.mark.parametrize(("gamma", "size"), [(1e-12, 1e30), (1e-8, 1e12), (1e8, 1e-12), (1e8, 1e12)], ids=str)
def test_no_nan_at_any_ratio(regularizer, dtype, gamma, size, rng):
    C = (size * rng.normal(size=(3, 30, 41))).astype(dtype)
    Z = np.ones_like(C)
    dp = AlignmentDP(gamma, regularizer=regularizer)
    results = (*dp.value_and_grad(C), dp.marginals(C), *dp.hvp(C, Z), dp.marginals_vjp(C, Z))
    assert all(np.all(np.isfinite(result)) for result in results)
    assert_allclose(dp.marginals(C)[:, [0, -1], [0, -1]], 1, rtol=1e-12 if dtype == np.float64 else 1e-4)


# ---- nothing to align


def test_a_blocked_problem_has_infinite_value_and_zero_derivatives(regularizer, dtype):
    C = np.zeros((3, 4, 5), dtype)
    C[1, :, 2] = np.inf
    C[2] = np.inf
    dp, Z = AlignmentDP(regularizer=regularizer), np.ones_like(C)
    value, H = dp.value_and_grad(C)
    assert np.isfinite(value[0])
    assert_array_equal(value[1:], np.inf)
    tangent, product = dp.hvp(C, Z)
    for result in (H, dp.marginals(C), tangent, product, dp.marginals_vjp(C, Z)):
        assert_array_equal(result[1:], 0)
    paths, costs = dp.decode(C)
    assert [len(path) for path in paths] == [5, 0, 0]
    assert_array_equal(np.isinf(costs), [False, True, True])


def test_a_forbidden_cell_stays_forbidden_under_weight_zero(regularizer):
    C = np.ones((3, 3))
    C[1] = np.inf
    value, H = AlignmentDP(regularizer=regularizer, step_weights=(0, 0, 0)).value_and_grad(C)
    assert value == np.inf
    assert_array_equal(H, 0)


def test_one_row_or_column_is_a_sum(regularizer, dtype, rng):
    for shape in ((1, 1), (1, 50), (50, 1)):
        C = rng.random(shape).astype(dtype)
        value, H = AlignmentDP(0.5, regularizer=regularizer).value_and_grad(C)
        offset = 0.25 * C.size if regularizer == "l2" else 0
        assert_allclose(value, C.sum(dtype=np.float64) + offset, rtol=1e-12 if dtype == np.float64 else 1e-5)
        assert_allclose(H, 1, rtol=1e-13 if dtype == np.float64 else 1e-6)


def test_hard_ties_prefer_diagonal_then_left_then_up(rng):
    for shape in ((4, 4), (2, 6), (9, 3), (40, 21)):
        for C in (np.zeros(shape), rng.integers(-1, 2, shape).astype(float)):
            for options in ({}, {"step_weights": (1, 2, 1)}, {"window": 1}):
                twin = Alignment(regularizer=None, **options)
                path, _ = AlignmentDP(**options).decode(C)
                assert_array_equal(path, twin.decode(C)[0])
                assert_array_equal(AlignmentDP(regularizer=None, **options).marginals(C), twin.marginals(C))


@pytest.mark.parametrize("open_begin", ["y", "x", True])
def test_hard_ties_prefer_any_predecessor_to_a_start(open_begin):
    for shape in ((1, 4), (4, 1), (2, 6), (6, 2)):
        twin = Alignment(regularizer=None, open_begin=open_begin)
        dp = AlignmentDP(regularizer=None, open_begin=open_begin)
        assert_array_equal(dp.decode(np.zeros(shape))[0], twin.decode(np.zeros(shape))[0])
        assert_array_equal(dp.marginals(np.zeros(shape)), twin.marginals(np.zeros(shape)))


def test_results_of_one_matrix_are_scalars_and_arrays_in_its_dtype(regularizer, dtype, rng):
    C = rng.random((3, 4)).astype(dtype)
    dp = AlignmentDP(regularizer=regularizer)
    assert isinstance(dp.value(C), dtype)
    assert isinstance(dp.hvp(C, C)[0], dtype)
    assert isinstance(dp.decode(C)[1], dtype)
    assert dp.value_and_grad(C)[1].dtype == dtype
    assert dp.value(C[None]).shape == (1,)
    assert dp.value((C * 9).astype(np.int32)).dtype == np.float64
    assert dp.value(C.astype(np.float16)).dtype == np.float32
    assert pickle.loads(pickle.dumps(dp)).value(C) == dp.value(C)


# ---- batches, padding, layout


def ragged(rng, B, n, m, dtype=np.float64, padding=np.nan):
    """Costs (B, n, m) padded beyond random lengths, and the lengths; lengths 1 and full ones included."""
    C = rng.normal(size=(B, n, m)).astype(dtype)
    rows, columns = rng.integers(1, n + 1, B), rng.integers(1, m + 1, B)
    rows[0], columns[0], rows[-1], columns[B // 2] = n, m, 1, 1
    for b in range(B):
        C[b, rows[b] :], C[b, :, columns[b] :] = padding, padding
    return C, rows, columns


def everything(dp, C, Z, **lengths):
    """All results that come as arrays, for comparison."""
    value, H = dp.value_and_grad(C, **lengths)
    tangent, product = dp.hvp(C, Z, **lengths)
    return {
        "value": value,
        "gradient": H,
        "marginals": dp.marginals(C, **lengths),
        "tangent": tangent,
        "product": product,
        "vjp": dp.marginals_vjp(C, Z, **lengths),
        "cost": dp.decode(C, **lengths)[1],
    }


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 6, 9), (17, 12, 8), (40, 33, 20)], ids=str)
def test_a_ragged_batch_is_its_pairs_and_zero_in_the_padding(regularizer, options, dtype, shape, rng):
    C, rows, columns = ragged(rng, *shape, dtype)
    Z = rng.normal(size=shape).astype(dtype)
    lengths = {"x_lengths": rows, "y_lengths": columns}
    dp = AlignmentDP(0.6, regularizer=regularizer, **options)
    batch = everything(dp, C, Z, **lengths)
    paths, _ = dp.decode(C, **lengths)
    for b in range(shape[0]):
        inner = np.s_[b, : rows[b], : columns[b]]
        alone = everything(dp, C[inner], Z[inner])
        for name, result in batch.items():
            got = result[inner] if result.ndim == 3 else result[b]
            size = max(1, abs(alone[name][np.isfinite(alone[name])]).max(initial=0))
            assert_allclose(
                got, alone[name], rtol=0, atol=size * (1e-12 if dtype == np.float64 else 1e-4), err_msg=name
            )
            if result.ndim == 3:
                assert not result[b, rows[b] :].any()
                assert not result[b, :, columns[b] :].any()
        assert_array_equal(paths[b], dp.decode(C[inner])[0])


@pytest.mark.parametrize("steps", [{}, OPTIONS["knight"]], ids=["default", "knight"])
def test_padding_changes_no_bit(regularizer, dtype, steps, rng):
    C, rows, columns = ragged(rng, 9, 14, 11, dtype)
    Z = rng.normal(size=C.shape).astype(dtype)
    dp = AlignmentDP(0.6, regularizer=regularizer, open_end="y", **steps)
    lengths = {"x_lengths": rows, "y_lengths": columns}
    tight = everything(dp, C, Z, **lengths)
    grown = [((0, 0), (0, 21), (0, 50))] * 2
    wide, far = (
        np.pad(A, pad, constant_values=value) for A, pad, value in zip((C, Z), grown, (np.nan, 0), strict=True)
    )
    for name, result in everything(dp, wide, far, **lengths).items():
        assert_array_equal(result[:, :14, :11] if result.ndim == 3 else result, tight[name], err_msg=name)


def test_the_batch_a_pair_is_in_changes_nothing(regularizer, rng):
    C, Z = rng.normal(size=(2, 33, 20, 26))
    dp = AlignmentDP(0.6, regularizer=regularizer)
    whole = everything(dp, C, Z)
    for part in (np.s_[:1], np.s_[3:7], np.s_[5:30], np.s_[::-1]):
        for name, result in everything(dp, C[part], Z[part]).items():
            size = abs(whole[name]).max()
            assert_allclose(result, whole[name][part], rtol=0, atol=1e-13 * max(1, size), err_msg=name)


def test_a_mask_for_each_pair(regularizer, rng):
    C, rows, columns = ragged(rng, 6, 9, 12)
    masks = rng.random(C.shape) < 0.9
    value, H = AlignmentDP(regularizer=regularizer, window=masks).value_and_grad(C, x_lengths=rows, y_lengths=columns)
    for b in range(6):
        inner = np.s_[b, : rows[b], : columns[b]]
        expected, expected_H = Alignment(regularizer=regularizer, window=masks[inner]).value_and_grad(C[inner])
        assert_allclose(float(value[b]), float(expected), rtol=1e-12)
        assert_allclose(H[inner], expected_H.astype(float), rtol=0, atol=1e-12)


def test_layout_does_not_matter_and_inputs_stay_as_they_are(regularizer, options, dtype, rng):
    C, Z = (rng.normal(size=(2, 4, 10, 13))).astype(dtype)
    dp = AlignmentDP(0.6, regularizer=regularizer, **options)
    expected = everything(dp, C, Z)
    strided = np.zeros((8, 10, 39), dtype)
    strided[::2, :, ::3] = C
    layouts = (
        strided[::2, :, ::3],
        np.asfortranarray(C),
        np.ascontiguousarray(C.transpose(2, 1, 0)).transpose(2, 1, 0),
        C[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        C.astype(C.dtype.newbyteorder()),
    )
    for layout in layouts:
        layout.flags.writeable = False
        before = layout.tobytes()
        for name, result in everything(dp, layout, Z).items():
            assert_array_equal(result, expected[name], err_msg=name)
        assert layout.tobytes() == before


# ---- sampling


def visits(paths, shape):
    counts = np.zeros(shape)
    for path in paths:
        counts[path[:, 0], path[:, 1]] += 1
    return counts / len(paths)


@pytest.mark.parametrize("options", [{}, OPTIONS["everything"], OPTIONS["all-open"], OPTIONS["ctc"]], ids=str)
def test_samples_visit_cells_as_often_as_expected(regularizer, options, rng):
    C = rng.normal(size=(6, 7))
    dp = AlignmentDP(0.8, regularizer=regularizer, **options)
    paths = dp.sample(C, 4000, random_state=0)
    E = Alignment(0.8, regularizer=regularizer, **options).marginals(C).astype(float)
    assert len(paths) == 4000
    noise = np.sqrt(np.clip(E * (1 - E), 0, 1) / 4000)
    assert np.all(abs(visits(paths, C.shape) - E) <= 5 * noise + 1e-12)


def test_whole_paths_follow_the_gibbs_law(rng):
    C = rng.normal(size=(3, 3))
    drawn = [tuple(map(tuple, path.tolist())) for path in AlignmentDP(0.7).sample(C, 8000, random_state=1)]
    _, p, Y, _ = Gibbs(0.7)._enumerate(C)
    chances = {tuple(map(tuple, np.argwhere(y).tolist())): share for y, share in zip(Y, p / p.sum(), strict=True)}
    assert set(drawn) <= set(chances)
    chi_square = sum((drawn.count(path) - 8000 * c) ** 2 / (8000 * c) for path, c in chances.items())
    assert chi_square < 40  # 12 degrees of freedom: exceeded once in 10^4


def test_sampling_follows_the_random_state(rng):
    C, rows, columns = ragged(rng, 5, 8, 9)
    dp = AlignmentDP(2.0)

    def draw(state):
        return dp.sample(C, 20, random_state=state, x_lengths=rows, y_lengths=columns)

    def flat(samples):
        return [path.tolist() for paths in samples for path in paths]

    assert flat(draw(7)) == flat(draw(7)) == flat(draw(np.int64(7)))
    assert flat(draw(7)) != flat(draw(8))
    assert flat(draw(np.random.default_rng(3))) == flat(draw(np.random.default_rng(3)))
    generator = np.random.default_rng(3)
    assert flat(draw(generator)) != flat(draw(generator))  # it is advanced
    for paths, n, m in zip(draw(None), rows, columns, strict=True):
        assert len(paths) == 20
        for path in paths:
            assert_array_equal(path[[0, -1]], [[0, 0], [n - 1, m - 1]])


@pytest.mark.parametrize("options", [{}, OPTIONS["everything"], OPTIONS["all-open"]], ids=str)
def test_the_general_kernel_draws_the_same_paths(regularizer, options, rng):
    C = rng.normal(size=(7, 9))
    allowed = np.ones((7, 9, 3), bool)
    usual = AlignmentDP(0.8, regularizer=regularizer, **options).sample(C, 300, 5)
    general = AlignmentDP(0.8, regularizer=regularizer, step_mask=allowed, **options).sample(C, 300, 5)
    assert [path.tolist() for path in usual] == [path.tolist() for path in general]


def test_sampling_without_smoothing_repeats_the_best_path(rng):
    C = rng.normal(size=(9, 12))
    best, _ = AlignmentDP(regularizer=None).decode(C)
    for path in AlignmentDP(regularizer=None).sample(C, 3, random_state=0):
        assert_array_equal(path, best)
    assert [len(path) for path in AlignmentDP().sample(np.full((2, 2), np.inf), 3)] == [0, 0, 0]
