"""ChainDP against its slow twin: every result, operator, form, dtype and size, and what must hold at the extremes."""

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import OPERATORS
from reference_chains import Chain, all_sequences, potentials_of_pair

from sdtwkit import _backend
from sdtwkit._kernels import alignment as kernels
from sdtwkit.dp import ChainDP, chain_potentials

LEVELS = kernels.LEVELS[: kernels.best_level() + 1]
DTYPES = (np.float64, np.float32)
SHAPES = [(1, 1), (1, 4), (6, 1), (2, 2), (5, 3), (4, 8), (3, 17)]  # (T, S), across whole vectors
LARGE = 260  # states of a chain that threads share


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=["float64", "float32"])
def dtype(request):
    return request.param


def random_theta(rng, T, S, forbidden=0.0):
    theta = rng.normal(size=(T, S, S))
    theta[rng.random(theta.shape) < forbidden] = -np.inf
    return theta


def random_pair(rng, T, S, forbidden=0.0):
    unary, transition = rng.normal(size=(T, S)), rng.normal(size=(S, S))
    unary[rng.random(unary.shape) < forbidden] = -np.inf
    transition[rng.random(transition.shape) < forbidden] = -np.inf
    return unary, transition


def close(actual, expected, dtype=np.float64, scale=1.0):
    assert np.asarray(actual).dtype == dtype
    expected = np.float64(expected)
    finite = expected[np.isfinite(expected)]
    atol = (1e-10 if dtype == np.float64 else 1e-4) * max(scale, abs(finite).max(initial=1.0))
    assert_allclose(np.float64(actual), expected, rtol=0, atol=atol)


def collapse(full):
    """A gradient of theta in full, as that of the pair."""
    return full.sum(axis=-1), full[1:].sum(axis=0)


# ---- the twin


@pytest.mark.parametrize("forbidden", [0.0, 0.25], ids=["free", "forbidden"])
@pytest.mark.parametrize(("T", "S"), SHAPES)
def test_everything_matches_the_twin(T, S, forbidden, regularizer, dtype, rng):
    for gamma in (0.3, 1.0):
        theta, Z = random_theta(rng, T, S, forbidden).astype(dtype), rng.normal(size=(T, S, S)).astype(dtype)
        exact, direction = np.float64(theta), np.float64(Z)
        fast, slow = ChainDP(gamma, regularizer=regularizer), Chain(gamma, regularizer)
        value, E = slow.value_and_grad(exact)
        slope, product = slow.hvp(exact, direction)
        close(fast.value(theta), value, dtype)
        got_value, gradient = fast.value_and_grad(theta)
        close(got_value, value, dtype)
        close(gradient, E, dtype)
        assert_array_equal(fast.marginals(theta), gradient)
        got_slope, got_product = fast.hvp(theta, Z)
        close(got_slope, slope, dtype)
        close(got_product, product, dtype, 1 / gamma)
        assert_array_equal(fast.marginals_vjp(theta, Z), got_product)
        states, score = fast.decode(theta)
        close(score, Chain(regularizer=None).value_and_grad(exact)[0], dtype)
        assert len(states) == (T if np.isfinite(score) else 0)


@pytest.mark.parametrize("forbidden", [0.0, 0.25], ids=["free", "forbidden"])
@pytest.mark.parametrize(("T", "S"), SHAPES)
def test_a_pair_is_its_expansion(T, S, forbidden, regularizer, dtype, rng):
    for gamma in (0.3, 1.0):
        pair = tuple(part.astype(dtype) for part in random_pair(rng, T, S, forbidden))
        exact = potentials_of_pair(*map(np.float64, pair))
        assert_array_equal(chain_potentials(*pair), exact.astype(dtype))
        direction = tuple(part.astype(dtype) for part in random_pair(rng, T, S))
        Z = potentials_of_pair(*map(np.float64, direction))
        Z[~np.isfinite(Z)] = 0
        fast, slow = ChainDP(gamma, regularizer=regularizer), Chain(gamma, regularizer)
        value, E = slow.value_and_grad(exact)
        slope, product = slow.hvp(exact, Z)
        close(fast.value(pair), value, dtype)
        got_value, gradient = fast.value_and_grad(pair)
        close(got_value, value, dtype)
        for got, expected in zip(gradient, collapse(E), strict=True):
            close(got, expected, dtype)
        close(fast.marginals(pair), collapse(E)[0], dtype)
        got_slope, got_product = fast.hvp(pair, direction)
        close(got_slope, slope, dtype)
        for got, expected in zip(got_product, collapse(product), strict=True):
            close(got, expected, dtype, 1 / gamma)
        states, score = fast.decode(pair)
        if np.isfinite(score):
            steps = exact[np.arange(1, T), states[1:], states[:-1]].sum()
            close(score, exact[0, states[0], 0] + steps, dtype)
        close(score, slow_best(exact), dtype)


def slow_best(theta):
    return Chain(regularizer=None).value_and_grad(theta)[0]


def test_the_vjp_of_state_marginals_is_the_product_along_the_unary(regularizer, rng):
    pair, G = random_pair(rng, 6, 4, 0.1), rng.normal(size=(6, 4))
    dp = ChainDP(0.7, regularizer=regularizer)
    for got, expected in zip(dp.marginals_vjp(pair, G), dp.hvp(pair, (G, np.zeros((4, 4))))[1], strict=True):
        assert_array_equal(got, expected)


def test_long_chains_match_a_plain_recursion(regularizer, rng):
    T, S = 700, 5  # more steps than a block of transition marginals
    pair = random_pair(rng, T, S, 0.1)
    theta = potentials_of_pair(*pair)
    slow, dp = Chain(0.5, regularizer), ChainDP(0.5, regularizer=regularizer)
    value, E = slow.value_and_grad(theta)
    for potentials, expected in ((theta, (E,)), (pair, collapse(E))):
        got, gradient = dp.value_and_grad(potentials)
        close(got, value)
        for part, part_expected in zip(gradient if isinstance(gradient, tuple) else (gradient,), expected, strict=True):
            close(part, part_expected)


# ---- all sequences


def test_decode_finds_the_best_of_all_sequences(rng):
    for forbidden in (0.0, 0.3):
        theta = random_theta(rng, 4, 3, forbidden)
        states, score = ChainDP().decode(theta)
        sequences, scores = all_sequences(theta)
        assert_allclose(score, float(scores.max()), rtol=1e-14)
        assert_array_equal(states, sequences[np.argmax(scores), 1:])


def test_ties_go_to_the_lowest_state():
    assert ChainDP().decode(np.zeros((4, 3, 3)))[0].tolist() == [0, 0, 0, 0]
    E = ChainDP(regularizer=None).marginals(np.zeros((2, 2, 2)))
    assert_array_equal(E, [[[1, 0], [0, 0]]] * 2)


@pytest.mark.parametrize("form", ["full", "pair"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_samples_follow_the_marginals(regularizer, form, rng):
    pair = random_pair(rng, 5, 3, 0.2)
    theta = potentials_of_pair(*pair) if form == "full" else pair
    dp = ChainDP(0.7, regularizer=regularizer)
    states = dp.sample(theta, 20_000, random_state=0)
    assert states.shape == (20_000, 5)
    frequencies = (states[..., None] == np.arange(3)).mean(axis=0)
    expected = dp.marginals(pair)
    assert_allclose(frequencies, expected, atol=0.02)
    assert not frequencies[expected == 0].any()
    moves = np.zeros((3, 3))
    np.add.at(moves, (states[:, 1:], states[:, :-1]), 1 / 20_000)
    assert_allclose(moves, dp.value_and_grad(pair)[1][1], atol=0.04)


def test_samples_repeat_with_the_seed_and_differ_within(rng):
    theta = random_theta(rng, 30, 4)
    one, two = (ChainDP().sample(theta, 3, random_state=7) for _ in range(2))
    assert_array_equal(one, two)
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one, ChainDP().sample(theta, 3, random_state=8))
    generator = np.random.default_rng(7)
    assert_array_equal(ChainDP().sample(theta, 3, random_state=generator), one)


# ---- derivatives


@pytest.mark.parametrize("form", ["full", "pair"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_derivatives_are_finite_differences(regularizer, form, rng):
    pair, direction = random_pair(rng, 6, 4), random_pair(rng, 6, 4)
    if form == "full":
        pair, direction = (random_theta(rng, 6, 4),), (random_theta(rng, 6, 4),)
    dp, step = ChainDP(0.7, regularizer=regularizer), 1e-6

    def call(method, parts, *arguments):
        return method(*(parts if form == "full" else (parts,)), *arguments)

    def parts_of(gradient):
        return gradient if isinstance(gradient, tuple) else (gradient,)

    def flat(gradient):
        return np.concatenate([part.ravel() for part in parts_of(gradient)])

    ahead, back = (tuple(p + s * step * d for p, d in zip(pair, direction, strict=True)) for s in (1, -1))
    (up, gradient_up), (down, gradient_down) = (call(dp.value_and_grad, parts) for parts in (ahead, back))
    gradient = call(dp.value_and_grad, pair)[1]
    slope, product = call(dp.hvp, pair, direction[0] if form == "full" else direction)
    assert_allclose(slope, flat(gradient) @ flat(direction), rtol=1e-12)
    assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7)
    assert_allclose(flat(product), (flat(gradient_up) - flat(gradient_down)) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("form", ["full", "pair"])
def test_the_hessian_is_symmetric_and_positive(form, regularizer, rng):
    T, S = 5, 3
    theta = random_pair(rng, T, S, 0.15) if form == "pair" else random_theta(rng, T, S, 0.15)
    dp = ChainDP(0.5, regularizer=regularizer)

    def columns():
        sizes = (T * S, S * S) if form == "pair" else (T * S * S,)
        for k in range(sum(sizes)):
            unit = np.eye(1, sum(sizes), k)[0]
            if form == "full":
                yield dp.hvp(theta, unit.reshape(T, S, S))[1].ravel()
            else:
                direction = unit[: T * S].reshape(T, S), unit[T * S :].reshape(S, S)
                yield np.concatenate([part.ravel() for part in dp.hvp(theta, direction)[1]])

    hessian = np.array(list(columns()))
    assert_allclose(hessian, hessian.T, atol=1e-12)
    assert np.linalg.eigvalsh(hessian).min() > -1e-10
    if regularizer is None:
        assert not hessian.any()
    # Potentials of a step that all move alike change every score, and no probability.
    if form == "full":
        shift = np.zeros((T, S, S))
        shift[2] = 1
        assert_allclose(dp.hvp(theta, shift)[1], 0, atol=1e-12)


# ---- invariants


def test_marginals_conserve_mass(regularizer, dtype, rng):
    pair = tuple(part.astype(dtype) for part in random_pair(rng, 3000, 6, 0.1))
    dp = ChainDP(0.4, regularizer=regularizer)
    E = dp.marginals(chain_potentials(*pair))
    atol = 1e-12 if dtype == np.float64 else 1e-5
    assert (E >= 0).all()
    assert_allclose(E.sum(axis=(1, 2)), 1, atol=atol)
    assert_allclose(E[1:].sum(axis=1), E[:-1].sum(axis=2), atol=atol)
    states, moves = dp.value_and_grad(pair)[1]
    assert_allclose(states.sum(axis=1), 1, atol=atol)
    assert_allclose(moves.sum(), 2999, rtol=atol)


def test_gamma_scales_with_the_potentials_and_vanishes(rng):
    theta = random_theta(rng, 6, 4)
    for regularizer in ("entropy", "l2"):
        value = ChainDP(0.7, regularizer=regularizer).value(theta)
        assert_allclose(ChainDP(2.1, regularizer=regularizer).value(3 * theta), 3 * value, rtol=1e-13)
        best = ChainDP(regularizer=None).value(theta)
        for gamma in (1e-3, 1e-9, 1e-300, 5e-324):
            assert_allclose(ChainDP(gamma, regularizer=regularizer).value(theta), best, atol=10 * gamma)


def test_zero_potentials_count_sequences():
    value = ChainDP(2.0).value(np.zeros((9, 3, 3)))
    assert_allclose(value, 2.0 * 10 * np.log(3))  # the dummy start counts as well
    assert_allclose(ChainDP(2.0).value((np.zeros((9, 3)), np.zeros((3, 3)))), 2.0 * 9 * np.log(3))


# ---- forbidden moves and extremes


@pytest.mark.parametrize("form", ["full", "pair"])
def test_no_admissible_sequence(form, regularizer, dtype):
    pair = np.zeros((4, 3), dtype), np.zeros((3, 3), dtype)
    pair[0][2] = -np.inf
    theta = pair if form == "pair" else chain_potentials(*pair)
    dp = ChainDP(regularizer=regularizer)
    assert dp.value(theta) == -np.inf
    direction = (np.ones((4, 3)), np.ones((3, 3))) if form == "pair" else np.ones((4, 3, 3))
    value, gradient = dp.value_and_grad(theta)
    slope, product = dp.hvp(theta, direction)
    assert value == -np.inf
    assert slope == 0
    for part in (*(gradient if form == "pair" else (gradient,)), *(product if form == "pair" else (product,))):
        assert not part.any()
    states, score = dp.decode(theta)
    assert states.shape == (0,)
    assert score == -np.inf
    assert dp.sample(theta, 2, random_state=0).shape == (2, 0)


@pytest.mark.parametrize("form", ["full", "pair"])
def test_forbidden_moves_have_no_share(form, regularizer, rng):
    pair = random_pair(rng, 9, 5, 0.3)
    pair[1][2] = -np.inf  # no move into state 2
    pair[0][0, 3] = 0.0
    theta = pair if form == "pair" else chain_potentials(*pair)
    dp = ChainDP(0.5, regularizer=regularizer)
    parts = zip(
        pair if form == "pair" else (theta,),
        dp.value_and_grad(theta)[1] if form == "pair" else (dp.marginals(theta),),
        strict=True,
    )
    for potentials, gradient in parts:
        assert not np.isnan(gradient).any()
        assert not gradient[potentials == -np.inf].any()


@settings(max_examples=200)
@given(
    exponents=st.lists(st.floats(-12, 12), min_size=27, max_size=27),
    signs=st.lists(st.sampled_from([-1, 0, 1, -np.inf]), min_size=27, max_size=27),
    log_gamma=st.floats(-14, 14),
    regularizer=st.sampled_from(OPERATORS),
)
def test_extremes_never_give_nan(exponents, signs, log_gamma, regularizer):
    theta = (np.array(signs) * 10.0 ** np.array(exponents)).reshape(3, 3, 3)
    pair = theta[0], theta[1]
    dp = ChainDP(10.0**log_gamma, regularizer=regularizer)
    for potentials, Z in ((theta, np.ones((3, 3, 3))), (pair, (np.ones((3, 3)), np.ones((3, 3))))):
        value, gradient = dp.value_and_grad(potentials)
        slope, product = dp.hvp(potentials, Z)
        assert not np.isnan([value, slope]).any()
        for part in (gradient, product) if potentials is theta else (*gradient, *product):
            assert np.isfinite(part).all()
        full = chain_potentials(*pair) if potentials is pair else theta
        expected, E = Chain(10.0**log_gamma, regularizer).value_and_grad(full)
        scale = max(10.0**log_gamma if regularizer else 0, abs(full[np.isfinite(full)]).max(initial=0))
        assert_allclose(value, float(expected), rtol=1e-9, atol=1e-12 * scale)
        total = gradient.sum() if potentials is theta else gradient[0].sum()
        assert_allclose(total, float(E.sum()), rtol=1e-9)


@pytest.mark.parametrize("gamma", [1e-6, 1e-3, 0.05, 1.0, 1e6])
def test_scaled_products_fall_back_to_logarithms(gamma, dtype, rng):
    """Transitions and messages hundreds of gamma apart: sums that would underflow are taken in the log domain."""
    pair = (30 * rng.normal(size=(40, 5))).astype(dtype), (30 * rng.normal(size=(5, 5))).astype(dtype)
    pair[1][3, :4] = -np.inf  # into state 3 from state 4 alone, often the worst
    dp = ChainDP(gamma)
    value, (states, moves) = dp.value_and_grad(pair)
    exact = ChainDP(gamma)
    value_full, E = exact.value_and_grad(chain_potentials(*map(np.float64, pair)))
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(value, value_full, rtol=rtol)
    atol = (1e-10 if dtype == np.float64 else 1e-4) * max(1, 1e-3 / gamma)
    assert_allclose(states, E.sum(axis=-1), atol=atol)
    assert_allclose(moves, E[1:].sum(axis=0), atol=40 * atol)


def test_huge_potentials(regularizer):
    theta = np.full((3, 2, 2), 3e37, np.float32)  # sums leave float32: computed in float64
    theta[:, 0, 0] = -3e38
    assert_allclose(ChainDP(regularizer=regularizer).value(theta), 9e37, rtol=1e-6)
    theta[:] = 3e38
    with pytest.raises(ValueError, match=r"a result of 9e\+38 does not fit float32; pass float64 arrays"):
        ChainDP(regularizer=regularizer).value(theta)
    with pytest.raises(ValueError, match="the potentials of a sequence can exceed the range of float64; rescale theta"):
        ChainDP(regularizer=regularizer).value(np.full((3, 2, 2), 1e308))


# ---- batches, lengths, layouts


@pytest.mark.parametrize("form", ["full", "pair"])
def test_lengths_are_shorter_chains(form, regularizer, dtype, rng):
    B, T, S = 5, 9, 4
    lengths = np.array([9, 1, 4, 7, 2])
    transition = rng.normal(size=(S, S)).astype(dtype)
    data = rng.normal(size=(B, T, S) if form == "pair" else (B, T, S, S)).astype(dtype)
    Z = rng.normal(size=data.shape).astype(dtype)
    for b, length in enumerate(lengths):
        data[b, length:], Z[b, length:] = np.nan, np.inf  # never read

    def potentials(array, b=None, length=None):
        array = array if b is None else array[b, :length]
        return (array, transition) if form == "pair" else array

    def first(gradient):
        return gradient[0] if form == "pair" else gradient

    dp = ChainDP(0.6, regularizer=regularizer)
    values, gradient = dp.value_and_grad(potentials(data), lengths=lengths)
    slopes, product = dp.hvp(potentials(data), potentials(Z), lengths=lengths)
    vjp = dp.marginals_vjp(potentials(data), Z, lengths=lengths)
    marginals = dp.marginals(potentials(data), lengths=lengths)
    states, scores = dp.decode(potentials(data), lengths=lengths)
    samples = dp.sample(potentials(data), 3, random_state=0, lengths=lengths)
    totals = [np.zeros((S, S)), np.zeros((S, S)), np.zeros((S, S))]
    for b, length in enumerate(lengths):
        one, direction = potentials(data, b, length), potentials(Z, b, length)
        value, gradient_b = dp.value_and_grad(one)
        slope, product_b = dp.hvp(one, direction)
        vjp_b = dp.marginals_vjp(one, Z[b, :length])
        assert values[b] == value == dp.value(one)
        assert slopes[b] == slope
        for batch, single in ((gradient, gradient_b), (product, product_b), (vjp, vjp_b)):
            assert_array_equal(first(batch)[b, :length], first(single))
            assert not first(batch)[b, length:].any()
        assert_array_equal(marginals[b, :length], first(gradient_b))
        assert_array_equal(states[b], dp.decode(one)[0])
        assert scores[b] == dp.decode(one)[1]
        assert samples[b].shape == (3, length)
        if form == "pair":
            for total, part in zip(totals, (gradient_b, product_b, vjp_b), strict=True):
                total += part[1]
    if form == "pair":
        for total, part in zip(totals, (gradient, product, vjp), strict=True):
            close(part[1], total, dtype)


def test_single_forms_give_scalars_and_arrays(rng):
    theta = random_theta(rng, 4, 3)
    assert isinstance(ChainDP().value(theta), np.float64)
    assert isinstance(ChainDP().value(theta.astype(np.float32)), np.float32)
    assert ChainDP().value(theta, lengths=2) == ChainDP().value(theta[:2])
    assert ChainDP().value(theta[None]).shape == (1,)
    assert ChainDP().decode(theta)[0].dtype == np.int64
    states, scores = ChainDP().decode(np.stack([theta, theta]))
    assert isinstance(states, list)
    assert scores.shape == (2,)


def test_dtypes_promote_as_in_numpy(rng):
    unary, transition = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(3, 3))
    assert ChainDP().value((unary, transition)).dtype == np.float64
    assert ChainDP().value((unary, transition.astype(np.float16))).dtype == np.float32
    assert ChainDP().value(np.ones((2, 3, 3), int)).dtype == np.float64
    assert [part.dtype for part in ChainDP().value_and_grad((unary, transition))[1]] == [np.float64] * 2


@pytest.mark.parametrize("form", ["full", "pair"])
def test_inputs_may_be_read_only_and_strided_and_stay_as_they_are(form, regularizer, dtype, rng):
    shapes = [(5, 4), (4, 4)] if form == "pair" else [(5, 4, 4)]
    plain = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    layouts = [
        [np.asfortranarray(part) for part in plain],
        [np.repeat(part, 2, axis=0)[::2] for part in plain],
        [np.flip(np.flip(part).copy()) for part in plain],
        [part.astype(np.dtype(dtype).newbyteorder()) for part in plain],
    ]
    dp = ChainDP(regularizer=regularizer)

    def results(parts):
        theta = tuple(parts) if form == "pair" else parts[0]
        found = [*dp.value_and_grad(theta), dp.value(theta), *dp.hvp(theta, theta), *dp.decode(theta)]
        return [part for item in found for part in (item if isinstance(item, tuple) else (item,))]

    expected = results(plain)
    for parts in layouts:
        for part in parts:
            part.flags.writeable = False
        before = [part.copy() for part in parts]
        for got, wanted in zip(results(parts), expected, strict=True):
            assert_array_equal(got, wanted)
        for part, copy in zip(parts, before, strict=True):
            assert_array_equal(part, copy)


# ---- threads and instruction levels


@pytest.mark.parametrize("n_jobs", [2, 3, -1])
def test_threads_change_no_bit(n_jobs, regularizer, dtype, rng):
    cases = [
        rng.normal(size=(7, 5, 4, 4)),
        rng.normal(size=(2, 3, 131, 131)),
        (rng.normal(size=(70, 70, 5)), rng.normal(size=(5, 5))),  # more chains than groups, steps than a block
        (rng.normal(size=(1, 6, LARGE)), 50 * rng.normal(size=(LARGE, LARGE))),  # some rows in the log domain
    ]
    for theta in cases:
        pair = isinstance(theta, tuple)
        theta = tuple(part.astype(dtype) for part in theta) if pair else theta.astype(dtype)
        found = []
        for jobs in (1, n_jobs):
            dp = ChainDP(0.7, regularizer=regularizer, n_jobs=jobs)
            samples = dp.sample(theta, 2, random_state=0)
            results = [dp.value(theta), *dp.value_and_grad(theta), *dp.hvp(theta, theta), *dp.decode(theta), *samples]
            found.append([part for item in results for part in (item if isinstance(item, tuple | list) else (item,))])
        for one, many in zip(*found, strict=True):
            assert_array_equal(one, many)


@pytest.mark.parametrize("S", [3, 20, 33])
def test_levels_agree_to_rounding(S, regularizer, dtype, rng, monkeypatch):
    pair = tuple(part.astype(dtype) for part in random_pair(rng, 30, S, 0.1))
    theta, found = chain_potentials(*pair), []
    dp = ChainDP(0.7, regularizer=regularizer)
    for level in range(len(LEVELS)):
        monkeypatch.setattr(_backend, "_level", level)
        direction = np.where(np.isfinite(theta), theta, 0)
        still = tuple(np.where(np.isfinite(part), part, 0) for part in pair)
        found.append([*dp.value_and_grad(theta), *dp.hvp(theta, direction), dp.decode(theta)[0]])
        for value, parts in (dp.value_and_grad(pair), dp.hvp(pair, still)):
            found[-1] += [value, *parts]
    tolerance = 1e-11 if dtype == np.float64 else 1e-4
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, abs(a).max()))


# ---- long and wide


@pytest.mark.parametrize(("T", "S"), [(20_000, 30), (300, 400)])
def test_the_pair_is_never_expanded(T, S, regularizer, rng):
    """Value, marginals and gradient in a few arrays (T, S) and (S, S); expanded, theta alone would be S times as large.

    What NumPy allocates is measured here; the kernels allocate likewise: messages (T + 1, S), sums (T, S).
    """
    if regularizer is not None:
        T = max(T // 10, 100)
    pair = rng.normal(size=(T, S)), rng.normal(size=(S, S))
    dp = ChainDP(regularizer=regularizer)
    tracemalloc.start()
    value, (states, moves) = dp.value_and_grad(pair)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * (3 * T * S + 4 * S * S) + 100_000
    assert_allclose(states.sum(axis=1), 1, rtol=1e-12)
    assert_allclose(moves.sum(), T - 1, rtol=1e-12)
    assert_array_equal(dp.marginals(pair), states)
    assert_allclose(dp.value(pair), value, rtol=1e-14)
    # Euler: value = <gradient, potentials> + gamma times the entropy of the law, which a Hessian product does not need.
    slope = dp.hvp(pair, pair)[0]
    assert_allclose(slope, (states * pair[0]).sum() + (moves * pair[1]).sum(), rtol=1e-11)


PEAK = """
import numpy as np
from sdtwkit.dp import ChainDP
pair = np.zeros(({T}, {S})), np.zeros(({S}, {S}))
pair[0][:], pair[1][:] = 1.0, 0.5
_, (states, moves) = ChainDP().value_and_grad(pair)
assert abs(moves.sum() - ({T} - 1)) < 1e-6 * {T}
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory that Linux counts")
@pytest.mark.parametrize(("T", "S"), [(100_000, 50), (10_000, 500)])
def test_large_pairs_fit_into_memory(T, S):
    """The whole process, kernels and NumPy included: expanded, theta alone would take 2 and 20 GB."""
    run = subprocess.run([sys.executable, "-c", PEAK.format(T=T, S=S)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) * 1024 < 500e6


def test_float32_keeps_its_digits_on_long_chains(regularizer, rng):
    pair = rng.normal(size=(20_000, 6)), rng.normal(size=(6, 6))
    narrow = tuple(part.astype(np.float32) for part in pair)
    wide = tuple(part.astype(np.float64) for part in narrow)
    dp = ChainDP(0.5, regularizer=regularizer)
    value, gradient = dp.value_and_grad(narrow)
    expected, exact = dp.value_and_grad(wide)
    assert_allclose(value, expected, rtol=1e-6)
    if regularizer is not None:  # best sequences may tie within float32
        assert_allclose(gradient[0], exact[0], atol=1e-4)
        assert_allclose(gradient[1], exact[1], rtol=1e-5)


# ---- wrong arguments


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"theta has shape \(2, 3\); expected \(T, S, S\) or \(B, T, S, S\)"),
        (np.zeros((2, 3, 4)), ValueError, r"theta has shape \(2, 3, 4\)"),
        (np.zeros((0, 3, 3)), ValueError, r"theta has shape \(0, 3, 3\)"),
        (np.zeros((1, 2, 3, 3), complex), TypeError, "theta has dtype complex128; expected real numbers"),
        (None, TypeError, "theta is None, of type NoneType"),
        ("abc", TypeError, "theta is 'abc', of type str"),
        ((np.zeros((2, 3)),), ValueError, r"theta is a tuple of 1; expected an array or the pair"),
        ((np.zeros(3), np.zeros((3, 3))), ValueError, r"unary has shape \(3,\)"),
        ((np.zeros((2, 3)), np.zeros((2, 2))), ValueError, r"transition has shape \(2, 2\); expected \(3, 3\)"),
        (
            (np.zeros((2, 3)), np.full((3, 3), np.nan)),
            ValueError,
            "transition holds NaN at row 0, column 0; expected finite scores, or -inf to forbid",
        ),
    ],
)
def test_what_is_no_potential(theta, error, message):
    for method in ("value", "value_and_grad", "marginals", "decode"):
        with pytest.raises(error, match=message):
            getattr(ChainDP(), method)(theta)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_infinities_and_nan_are_located(bad, regularizer, dtype):
    theta = np.zeros((3, 4, 5, 5), dtype)
    theta[1, 2, 3, 4] = bad
    name = "NaN" if np.isnan(bad) else "inf"
    dp = ChainDP(regularizer=regularizer)
    for method in (dp.value, dp.value_and_grad, dp.decode, lambda theta: dp.sample(theta, 2)):
        with pytest.raises(
            ValueError, match=rf"theta\[1\] holds {name} at step 2, into state 3, from state 4; expected"
        ):
            method(theta)
        with pytest.raises(ValueError, match=rf"theta holds {name} at step 2, into state 3, from state 4"):
            method(theta[1])
        with pytest.raises(ValueError, match=rf"unary\[1\] holds {name} at step 2, state 3"):
            method((theta[..., 4], np.zeros((5, 5), dtype)))
    assert np.isfinite(dp.value(theta, lengths=[4, 2, 4])).all()


def test_wrong_lengths_and_directions():
    theta, dp = np.zeros((2, 4, 3, 3)), ChainDP()
    with pytest.raises(ValueError, match=r"lengths\[1\] is 5, theta\[1\] has 4 steps; expected 1 to 4"):
        dp.value(theta, lengths=[1, 5])
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\); expected \(2,\)"):
        dp.value(theta, lengths=[1, 2, 3])
    with pytest.raises(ValueError, match=r"direction has shape \(4, 3, 3\); expected \(2, 4, 3, 3\), that of theta"):
        dp.hvp(theta, theta[0])
    cotangent = np.zeros(theta.shape)
    cotangent[1, 3, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"cotangent\[1\] holds NaN at index \(3, 0, 0\); expected finite numbers"):
        dp.marginals_vjp(theta, cotangent)
    pair = theta[..., 0], np.zeros((3, 3))
    with pytest.raises(TypeError, match=r"direction is array.*; expected a tuple as theta is one"):
        dp.hvp(pair, pair[0])
    with pytest.raises(ValueError, match=r"direction\[1\] has shape \(2, 2\); expected \(3, 3\)"):
        dp.hvp(pair, (pair[0], np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"direction\[1\] holds inf at index \(0, 1\)"):
        dp.hvp(pair, (pair[0], np.array([[0, np.inf, 0]] * 3)))


def test_wrong_options():
    with pytest.raises(ValueError, match=r"gamma is 0\.0; expected a finite number > 0"):
        ChainDP(0.0)
    with pytest.raises(ValueError, match="regularizer is 'l1'; expected 'entropy', 'l2' or None"):
        ChainDP(regularizer="l1")
    with pytest.raises(ValueError, match="n_jobs is 0"):
        ChainDP(n_jobs=0)
    with pytest.raises(ValueError, match="n_samples is 0; expected an integer >= 1"):
        ChainDP().sample(np.zeros((1, 2, 2)), 0)
    with pytest.raises(ValueError, match=r"start has shape \(3,\); expected \(2,\), one score for each state"):
        chain_potentials(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="start holds NaN at state 1; expected finite scores, or -inf to forbid"):
        chain_potentials(np.zeros((2, 2)), np.zeros((2, 2)), [0.0, np.nan])
    with pytest.raises(ValueError, match="unary holds inf at step 0, state 0"):
        chain_potentials(np.full((1, 1), np.inf), np.zeros((1, 1)))


def test_potentials_begin_in_a_single_way(rng):
    unary, transition = rng.normal(size=(2, 4, 3)), rng.normal(size=(3, 3))
    start = np.array([0.5, -np.inf, 1.0])
    theta = chain_potentials(unary, transition, start)
    for b in range(2):
        begun = unary[b].copy()
        begun[0] += start
        assert_array_equal(theta[b], potentials_of_pair(begun, transition))
        assert_array_equal(theta[b], chain_potentials(unary[b], transition, start))


def test_programs_print_and_pickle(rng):
    dp = ChainDP(0.5, regularizer="l2")
    assert repr(dp) == "ChainDP(gamma=0.5, regularizer='l2')"
    theta = random_theta(rng, 3, 2)
    assert pickle.loads(pickle.dumps(dp)).value(theta) == dp.value(theta)
