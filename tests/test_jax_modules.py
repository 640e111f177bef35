"""dec_dtw and chain_marginals of sdtwkit.jax: the library's results, with derivatives, under jit and vmap."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import sdtwkit

jax = pytest.importorskip("jax", reason="sdtwkit.jax adapts to it")
if jax:
    import jax.numpy as jnp
    from jax.test_util import check_grads

    from sdtwkit.jax import chain_marginals, dec_dtw


@pytest.fixture(autouse=True)
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


# ---- continuous warps


def signals(rng, m=12, n=9, d=2):
    phase = rng.uniform(0, 1, size=(2, 1, d))
    x, y = (np.sin(5 * np.linspace(0, 1, k)[None, :, None] ** p + phase) for k, p in ((m, 1.0), (n, 1.2)))
    return x + 0.01 * rng.normal(size=x.shape), y + 0.01 * rng.normal(size=y.shape)


@pytest.mark.parametrize("options", [{}, {"band": 0.2}, {"subsequence": True}, {"loss": "huber"}])
@pytest.mark.parametrize("jit", [False, True])
def test_warps_are_those_of_the_library(jit, options, rng):
    x, y = signals(rng)

    def warp(x, y):
        return dec_dtw(x, y, 0.05, **options)

    phi, pull_back = jax.vjp(jax.jit(warp) if jit else warp, x, y)
    expected = sdtwkit.dec_dtw(x, y, 0.05, **options)
    assert_allclose(phi, expected.values, atol=1e-14)
    cotangent = rng.normal(size=phi.shape)
    wanted = expected.vjp(cotangent)
    for got, side in zip(pull_back(jnp.asarray(cotangent)), (wanted.x, wanted.y), strict=True):
        assert_allclose(got, side, rtol=1e-9, atol=1e-12)
    assert_allclose(dec_dtw(x[0], y[0], 0.05, **options), expected.values[0], atol=1e-14)


def test_derivatives_of_weights_and_bounds(rng):
    x, y = signals(rng)
    check_grads(lambda reg, low: dec_dtw(x, y, reg, slope_bounds=(low, 1.3)), (0.05, 0.8), 1, "rev", 1e-4, 1e-4, 1e-6)
    line = jnp.linspace(0, 1, 9)
    bounds = line - 0.03, line + 0.03
    check_grads(lambda *band: dec_dtw(x, y, 0.001, band=band), bounds, 1, "rev", 1e-4, 1e-4, 1e-6)


def test_warps_under_vmap(rng):
    """An axis in front of all, of one side alone, and of the weight; ragged batches."""
    x, y = signals(rng)
    regs = jnp.array([0.02, 0.05, 0.1])
    together = jax.vmap(lambda reg: dec_dtw(x, y, reg))(regs)
    for reg, phi in zip(regs, together, strict=True):
        assert_allclose(phi, sdtwkit.dec_dtw(x, y, float(reg)).values, atol=1e-12)
    assert_allclose(jax.vmap(lambda a, b: dec_dtw(a, b))(x, y), sdtwkit.dec_dtw(x, y).values, atol=1e-14)
    ragged = dec_dtw(x, y, x_lengths=[12, 8], y_lengths=[9, 6])
    assert_allclose(ragged[1, :6], sdtwkit.dec_dtw(x[1, :8], y[1, :6]).values, atol=1e-14)
    assert not ragged[1, 6:].any()


# ---- chains


@pytest.mark.parametrize("regularizer", ["entropy", "l2", None])
@pytest.mark.parametrize("form", ["full", "pair"])
def test_marginals_are_those_of_the_library(form, regularizer, rng):
    theta = rng.normal(size=(2, 4, 3, 3)) if form == "full" else (rng.normal(size=(2, 4, 3)), rng.normal(size=(3, 3)))
    found = jax.jit(lambda theta: chain_marginals(theta, 0.7, regularizer=regularizer, lengths=[4, 2]))(theta)
    dp = sdtwkit.dp.ChainDP(0.7, regularizer=regularizer)
    assert_allclose(found, dp.marginals(theta, lengths=[4, 2]), atol=1e-14)
    single = theta[0] if form == "full" else (theta[0][0], theta[1])
    assert_allclose(chain_marginals(single, 0.7, regularizer=regularizer), dp.marginals(single), atol=1e-14)


@pytest.mark.parametrize("form", ["full", "pair"])
def test_derivatives_of_marginals(form, rng):
    theta = rng.normal(size=(2, 4, 3, 3)) if form == "full" else (rng.normal(size=(2, 4, 3)), rng.normal(size=(3, 3)))
    check_grads(lambda theta, gamma: chain_marginals(theta, gamma), (theta, jnp.array(0.7)), 1, "rev", 1e-6, 1e-6)


def test_marginals_under_vmap(rng):
    """A transition for each."""
    unary, transitions = rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 3, 3))
    together = jax.vmap(lambda *pair: chain_marginals(pair))(unary, transitions)
    for k in range(5):
        assert_allclose(together[k], sdtwkit.dp.ChainDP().marginals((unary[k], transitions[k])), atol=1e-14)


def test_forbidden_moves_stay_forbidden_when_gamma_learns(rng):
    theta = rng.normal(size=(4, 3, 3))
    theta[:, 0, 2] = -np.inf
    gradients = jax.grad(lambda *a: (chain_marginals(*a) ** 2).sum(), (0, 1))(jnp.asarray(theta), jnp.array(0.7))
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0][:, 0, 2].any()
