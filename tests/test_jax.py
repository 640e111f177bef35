"""Functions of sdtwkit.jax give what the NumPy functions give, under jit, grad and vmap."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit

jax = pytest.importorskip("jax", reason="sdtwkit.jax adapts to it")
if jax:
    import jax.numpy as jnp
    from jax.test_util import check_grads

    from sdtwkit.jax import ctc_loss, soft_alignment, soft_dtw_loss

COSTS = ["sqeuclidean", "euclidean", "cosine", "huber", "bce", "nll", "precomputed"]
SETTINGS = {
    "plain": {},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "radius": {"window": 2},
    "search": {"open_begin": "y", "open_end": "y"},
    "l2": {"regularizer": "l2"},
}
LENGTHS = {"x_lengths": [5, 3], "y_lengths": [4, 2]}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


def arguments(rng, cost="sqeuclidean", B=2, n=5, m=4, d=2):
    if cost == "precomputed":
        return jnp.asarray(rng.normal(size=(B, n, m))), None
    x = jnp.asarray(rng.normal(size=(B, n, d)))
    if cost == "nll":
        return x, jnp.asarray(rng.integers(0, d, size=(B, m)))
    return x, jnp.asarray(rng.random((B, m, d)) if cost == "bce" else rng.normal(size=(B, m, d)))


def numpy_labels(cost, y):
    return None if y is None else np.asarray(y)[..., None] if cost == "nll" else np.asarray(y)


def of_series(cost):
    """Which arguments are differentiated."""
    return (0,) if cost in ("nll", "precomputed") else (0, 1)


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "jit"])
@pytest.mark.parametrize("cost", COSTS)
def test_losses_are_those_of_the_library(cost, jit, options, rng):
    x, y = arguments(rng, cost)
    expected = sdtwkit.soft_dtw_value_and_grad(
        np.asarray(x), numpy_labels(cost, y), 0.7, cost=cost, **LENGTHS, **options
    )

    def loss(x, y):
        return soft_dtw_loss(x, y, 0.7, cost=cost, reduction="sum", **LENGTHS, **options)

    function = jax.value_and_grad(loss, of_series(cost))
    value, gradients = (jax.jit(function) if jit else function)(x, y)
    assert_allclose(value, expected[0].sum(), rtol=1e-12)
    assert_allclose(loss(x, y), expected[0].sum(), rtol=1e-12)
    for got, wanted in zip(gradients, expected[1:], strict=False):
        assert_allclose(got, wanted, atol=1e-12)
    values = soft_dtw_loss(x, y, 0.7, cost=cost, reduction="none", **LENGTHS, **options)
    assert_allclose(values, expected[0], rtol=1e-12)


@pytest.mark.parametrize("cost", COSTS)
def test_alignments_are_those_of_the_library(cost, options, rng):
    x, y = arguments(rng, cost)
    array = np.asarray(x), numpy_labels(cost, y)
    expected, _ = sdtwkit.soft_dtw_alignment(*array, 0.7, cost=cost, **LENGTHS, **options)
    G = rng.normal(size=expected.shape)

    def loss(x, y):
        E = soft_alignment(x, y, 0.7, cost=cost, **LENGTHS, **options)
        return (E * G).sum(), E

    gradients, E = jax.jit(jax.grad(loss, of_series(cost), has_aux=True))(x, y)
    assert_allclose(E, expected, atol=1e-13)
    expected = sdtwkit.soft_dtw_alignment_vjp(*array, G, 0.7, cost=cost, **LENGTHS, **options)
    for got, wanted in zip(gradients, expected, strict=False):
        assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergences_are_those_of_the_library(dtype, rng):
    x, y = (a.astype(dtype) for a in arguments(rng, n=6, m=4))
    expected = sdtwkit.soft_dtw_divergence_value_and_grad(np.asarray(x), np.asarray(y), 0.7, **LENGTHS)

    def loss(x, y):
        return soft_dtw_loss(x, y, 0.7, divergence=True, reduction="sum", **LENGTHS)

    value, gradients = jax.value_and_grad(loss, (0, 1))(x, y)
    assert value.dtype == dtype
    assert_allclose(value, expected[0].sum(), rtol=1e-6)
    for got, wanted in zip(gradients, expected[1:], strict=True):
        assert got.dtype == dtype
        assert_allclose(got, wanted, rtol=1e-6, atol=1e-9)
    gradient = jax.grad(lambda a: soft_dtw_loss(a, x, divergence=True))(x)
    assert_array_equal(gradient, 0)


@pytest.mark.parametrize("settings", [{}, {"divergence": True}, {"normalize": "n"}, {"regularizer": "l2"}], ids=str)
def test_first_and_second_derivatives(settings, rng):
    x, y = arguments(rng, n=4, m=3)
    check_grads(lambda x, y: soft_dtw_loss(x, y, 0.7, **settings), (x, y), order=2, modes=["rev"], rtol=1e-4)


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine", "nll", "precomputed"])
def test_derivatives_of_gamma_and_prior(cost, rng):
    x, y = arguments(rng, cost, n=4, m=3)
    prior = jnp.asarray(rng.random((4, 3)))

    def loss(gamma, prior, x):
        return soft_dtw_loss(x, y, gamma, cost=cost, prior=prior)

    def alignment(gamma, prior, x):
        return soft_alignment(x, y, gamma, cost=cost, prior=prior)

    gamma = jnp.asarray(0.7)
    check_grads(loss, (gamma, prior, x), order=2, modes=["rev"], rtol=1e-4)
    check_grads(alignment, (gamma, prior, x), order=1, modes=["rev"], rtol=1e-4)
    check_grads(jax.jit(loss), (gamma, prior, x), order=1, modes=["rev"], rtol=1e-4)


def test_gamma_of_a_divergence(rng):
    x, y = arguments(rng, n=4, m=3)

    def loss(gamma):
        return soft_dtw_loss(x, y, gamma, divergence=True, x_lengths=[4, 2])

    assert_allclose(loss(jnp.asarray(0.7)), loss(0.7), rtol=1e-12)
    check_grads(loss, (jnp.asarray(0.7),), order=2, modes=["rev"], rtol=1e-4)


def test_a_gradient_as_a_loss(rng):
    x, y = arguments(rng)

    def penalty(x, y):
        return (jax.grad(soft_dtw_loss)(x, y, 0.7, reduction="sum") ** 2).sum()

    found = jax.jit(jax.grad(penalty, (0, 1)))(x, y)
    x, y = np.asarray(x), np.asarray(y)
    dx, dy = rng.normal(size=x.shape), rng.normal(size=y.shape)

    def slow(t):
        return (sdtwkit.soft_dtw_value_and_grad(x + t * dx, y + t * dy, 0.7)[1] ** 2).sum()

    slope = (slow(1e-5) - slow(-1e-5)) / 2e-5
    assert_allclose((found[0] * dx).sum() + (found[1] * dy).sum(), slope, rtol=1e-7)


def test_third_derivatives_raise(rng):
    x, y = arguments(rng)

    def gradient(x):
        return jax.grad(soft_dtw_loss)(x, y).sum()

    with pytest.raises(Exception, match=r"(?i)callback"):
        jax.grad(lambda x: jax.grad(gradient)(x).sum())(x)


@pytest.mark.parametrize("settings", [{}, {"window": np.tri(5, 4, 1, bool)}, {"divergence": True}], ids=str)
def test_vmap_adds_an_axis(settings, rng):
    """Batches of batches, single series, and a batch against one series, with gradients."""
    x, y = (jnp.asarray(rng.normal(size=(3, 2, n, 2))) for n in (5, 4))
    if settings.get("divergence"):
        settings = {**settings, "window": 2}

    def values(x, y):
        return soft_dtw_loss(x, y, 0.7, reduction="none", **settings)

    expected = jnp.stack([values(a, b) for a, b in zip(x, y, strict=True)])
    assert_allclose(jax.vmap(values)(x, y), expected, rtol=1e-12)
    assert_allclose(jax.vmap(values, (0, None))(x, y[0]), jnp.stack([values(a, y[0]) for a in x]), rtol=1e-12)
    single = jax.vmap(jax.vmap(lambda a, b: soft_dtw_loss(a, b, 0.7, **settings)))
    assert_allclose(single(x, y), expected, rtol=1e-12)
    gradients = jax.jit(jax.vmap(jax.grad(lambda a, b: values(a, b).sum())))(x, y)
    wanted = jnp.stack([jax.grad(lambda a, b: values(a, b).sum())(a, b) for a, b in zip(x, y, strict=True)])
    assert_allclose(gradients, wanted, atol=1e-12)


def test_vmap_over_gamma_and_lengths(rng):
    x, y = arguments(rng)
    gammas = jnp.asarray([0.1, 1.0, 10.0])
    got = jax.vmap(lambda gamma: soft_dtw_loss(x, y, gamma))(gammas)
    assert_allclose(got, [soft_dtw_loss(x, y, float(gamma)) for gamma in gammas], rtol=1e-12)
    lengths = jnp.asarray([[5, 3], [2, 4]])
    got = jax.vmap(lambda lengths: soft_dtw_loss(x, y, x_lengths=lengths))(lengths)
    assert_allclose(got, [soft_dtw_loss(x, y, x_lengths=row) for row in lengths], rtol=1e-12)


@pytest.mark.parametrize("normalize", ["n", "m", "n+m", "path"])
def test_normalised_losses(normalize, rng):
    x, y = arguments(rng)
    values = soft_dtw_loss(x, y, reduction="none", **LENGTHS)
    scale = sdtwkit.weak.loss_scale(normalize, np.asarray(soft_alignment(x, y, **LENGTHS)), **LENGTHS)
    got = soft_dtw_loss(x, y, reduction="none", normalize=normalize, **LENGTHS)
    assert_allclose(got, values / scale, rtol=1e-12)


def test_precisions(rng):
    x, y = arguments(rng)
    with jax.enable_x64(False):
        single = soft_dtw_loss(np.float32(x), np.float32(y))
        assert single.dtype == jnp.float32
        assert soft_dtw_loss(jnp.asarray(x, jnp.bfloat16), jnp.asarray(y, jnp.bfloat16)).dtype == jnp.float32
        half = jax.nn.log_softmax(jnp.asarray(x, jnp.bfloat16))
        loss = ctc_loss(half, jnp.ones((len(x), 2), int))
        assert loss.dtype == jnp.float32
        assert loss == ctc_loss(half.astype(jnp.float32), jnp.ones((len(x), 2), int))
    assert_allclose(single, soft_dtw_loss(x, y), rtol=1e-5)


def test_series_of_one_channel_need_no_axis_for_it(rng):
    x, y = rng.normal(size=6), rng.normal(size=5)
    assert soft_dtw_loss(x, y) == soft_dtw_loss(x[None, :, None], y[None, :, None])
    assert_allclose(soft_dtw_loss(x, y), sdtwkit.soft_dtw(x, y), rtol=1e-12)


def test_ctc(rng):
    log_probs = jnp.asarray(rng.normal(size=(3, 6, 4)))
    targets = jnp.asarray([[1, 1], [3, 1], [1, 3]])
    lengths = [6, 4, 6], [2, 2, 0]
    value, gradient = sdtwkit.dp.CTC().value_and_grad(np.asarray(log_probs), np.asarray(targets), *lengths)
    assert_allclose(ctc_loss(log_probs, targets, *lengths, reduction="none"), value, rtol=1e-12)

    def loss(log_probs):
        return ctc_loss(log_probs, targets, *lengths, reduction="sum")

    assert_allclose(jax.jit(jax.grad(loss))(log_probs), gradient, atol=1e-12)
    check_grads(loss, (log_probs,), order=2, modes=["rev"], rtol=1e-4)
    several = jnp.stack([log_probs, 2 * log_probs])
    assert_allclose(jax.vmap(loss)(several), [loss(log_probs), loss(2 * log_probs)], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: soft_dtw_loss(x, y, reduction="max"), "reduction is 'max'; expected 'none', 'mean' or 'sum'"),
        (lambda x, y: soft_dtw_loss(x, y, normalize="N"), "normalize is 'N'; expected None, 'n'"),
        (lambda x, y: soft_dtw_loss(x, y, cost="square"), "cost is 'square'; expected one of"),
        (lambda x, y: soft_dtw_loss(x, y, cost=abs), "expected the name of a cost"),
        (lambda x, y: soft_dtw_loss(x, y, divergence=True, prior=x), "a prior is given; expected none"),
        (lambda x, y: soft_dtw_loss(x, y, "auto"), "gamma is 'auto', of type str; expected a finite number > 0"),
        (lambda x, y: soft_dtw_loss(x), "y is None, of type NoneType; expected an array"),
        (lambda x, y: soft_dtw_loss(x, y[:1]), "x holds 2 series, y 1"),
        (lambda x, y: soft_dtw_loss(x, y, cost="precomputed"), "y is given, but cost 'precomputed'"),
        (lambda x, y: ctc_loss(x, jnp.asarray([[1]]), reduction="max"), "reduction is 'max'"),
        (lambda x, y: soft_dtw_loss(x, y, -1.0), r"gamma is -1.0; expected a finite number > 0"),
    ],
)
def test_wrong_arguments(call, message, rng):
    with pytest.raises(Exception, match=message):
        call(*arguments(rng))
