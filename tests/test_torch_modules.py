"""DecDTW and ChainMarginals of sdtwkit.torch: the library's results, with derivatives that autograd can check."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import sdtwkit

torch = pytest.importorskip("torch", reason="the modules are torch modules")
if torch:
    from sdtwkit.torch import ChainMarginals, DecDTW

# ---- continuous warps


def signals(rng, m=12, n=9, d=2, dtype=torch.float64):
    """A batch of smooth signals x (2, m, d), y (2, n, d)."""
    phase = rng.uniform(0, 1, size=(2, 1, d))
    x, y = (np.sin(5 * np.linspace(0, 1, k)[None, :, None] ** p + phase) for k, p in ((m, 1.0), (n, 1.2)))
    return tuple(torch.tensor(z + 0.01 * rng.normal(size=z.shape), dtype=dtype, requires_grad=True) for z in (x, y))


@pytest.mark.parametrize(
    "options", [{}, {"band": 0.2}, {"subsequence": True}, {"loss": "huber", "slope_bounds": (0.5, 2)}]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_warps_are_those_of_the_library(options, dtype, rng):
    x, y = signals(rng, dtype=dtype)
    phi = DecDTW(0.05, **options)(x, y)
    expected = sdtwkit.dec_dtw(x.detach().numpy(), y.detach().numpy(), 0.05, **options)
    assert phi.dtype == dtype
    assert_allclose(phi.detach().numpy(), expected.values, rtol=0, atol=0)
    cotangent = rng.normal(size=phi.shape).astype(expected.values.dtype)
    gradients = torch.autograd.grad(phi, (x, y), torch.from_numpy(cotangent))
    wanted = expected.vjp(cotangent)
    for got, side in zip(gradients, (wanted.x, wanted.y), strict=True):
        assert got.dtype == dtype
        assert_allclose(got.numpy(), side, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reg", [0.05, np.linspace(0.02, 0.08, 8)], ids=["number", "array"])
def test_gradcheck_of_warps(reg, rng):
    """With respect to both signals, the weight, and the slope bounds that hold the warp."""
    x, y = signals(rng)
    reg, lowest = torch.tensor(reg, dtype=torch.float64, requires_grad=True), torch.tensor(0.8, dtype=torch.float64)
    lowest.requires_grad_()

    def warp(x, y, reg, lowest):
        return DecDTW(reg, slope_bounds=(lowest, 1.3))(x, y)

    assert torch.autograd.gradcheck(warp, (x, y, reg, lowest), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradcheck_of_a_band(rng):
    x, y = signals(rng)
    line = torch.linspace(0, 1, 9, dtype=torch.float64)
    lower, upper = ((line + h).clone().requires_grad_() for h in (-0.03, 0.03))

    def warp(lower, upper):
        return DecDTW(0.001, band=(lower, upper))(x.detach(), y.detach())

    assert torch.autograd.gradcheck(warp, (lower, upper), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_ragged_and_single_warps(rng):
    x, y = signals(rng)
    together = DecDTW(0.05)(x, y, x_lengths=torch.tensor([12, 8]), y_lengths=[9, 6])
    alone = DecDTW(0.05)(x[1, :8], y[1, :6])
    assert alone.shape == (6,)
    torch.testing.assert_close(together[1, :6], alone, rtol=0, atol=0)
    assert not together[1, 6:].any()


def test_what_is_handed_out_may_be_written_to(rng):
    """The solution is kept for the way back; the caller's copy is the caller's."""
    x, y = (side.detach() for side in signals(rng))
    first = DecDTW(0.05)(x, y)
    expected = first.clone()
    first.zero_()
    torch.testing.assert_close(DecDTW(0.05)(x, y), expected, rtol=0, atol=0)


def test_going_backward_does_not_solve_again(rng, monkeypatch):
    from sdtwkit import _adapters

    calls = []
    monkeypatch.setattr(_adapters, "dec_dtw", lambda *a, **k: calls.append(1) or sdtwkit.dec_dtw(*a, **k))
    _adapters._recent_warps.clear()
    x, y = signals(rng)
    DecDTW(0.05)(x, y).sum().backward()
    assert len(calls) == 1
    for k in range(20):
        DecDTW(0.1 + k)(x, y)
    assert len(_adapters._recent_warps) == _adapters._RECENT


def test_the_solution_that_is_kept_does_not_share_the_memory_of_the_signals(rng):
    """Signals that are written to after the way there must not change the way back."""
    x, y = (side.detach() for side in signals(rng))
    cotangent = torch.ones(2, 9, dtype=torch.float64)
    reg = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(DecDTW(reg)(x, y), reg, cotangent)
    kept = x.clone()
    phi = DecDTW(reg)(kept, y)
    x.zero_()
    (found,) = torch.autograd.grad(phi, reg, cotangent)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# ---- chains


def potentials(rng, form):
    """theta (2, 4, 3, 3), or a pair; leaves that require grad."""
    shapes = [(2, 4, 3, 3)] if form == "full" else [(2, 4, 3), (3, 3)]
    return [torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


def given(tensors):
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


@pytest.mark.parametrize("regularizer", ["entropy", "l2", None])
@pytest.mark.parametrize("form", ["full", "pair"])
def test_marginals_are_those_of_the_library(form, regularizer, rng):
    tensors = potentials(rng, form)
    lengths = [4, 2]
    E = ChainMarginals(0.7, regularizer=regularizer)(given(tensors), lengths)
    arrays = given([tensor.detach().numpy() for tensor in tensors])
    dp = sdtwkit.dp.ChainDP(0.7, regularizer=regularizer)
    assert_allclose(E.detach().numpy(), dp.marginals(arrays, lengths=lengths), rtol=0, atol=0)
    single = ChainMarginals(0.7, regularizer=regularizer)(given([tensors[0][1, :2], *tensors[1:]]))
    torch.testing.assert_close(single, E[1, :2])


@pytest.mark.parametrize("form", ["full", "pair"])
def test_gradcheck_of_marginals(form, rng):
    tensors, gamma = potentials(rng, form), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def marginals(*arguments):
        *theta, gamma = arguments
        return ChainMarginals(gamma)(given(theta))

    assert torch.autograd.gradcheck(marginals, (*tensors, gamma.detach()), atol=1e-7)
    assert torch.autograd.gradcheck(marginals, (*tensors, gamma), atol=1e-7)


def test_forbidden_moves_stay_forbidden_when_gamma_learns(rng):
    theta = rng.normal(size=(4, 3, 3))
    theta[:, 0, 2] = -np.inf
    theta, gamma = torch.tensor(theta, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    E = ChainMarginals(gamma)(theta)
    assert not E[:, 0, 2].any()
    gradients = torch.autograd.grad(E.square().sum(), (theta, gamma))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


# ---- both


def warped(rng):
    x, y = signals(rng)
    return DecDTW(0.05), (x, y)


def chained(rng):
    return ChainMarginals(0.7), tuple(potentials(rng, "full"))


@pytest.mark.parametrize("build", [warped, chained])
def test_compiled_modules_are_the_same(build, rng):
    module, arguments = build(rng)

    def loss(*arguments):
        return module(*arguments).square().sum()

    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*arguments), arguments)
    expected = torch.autograd.grad(loss(*arguments), arguments)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("build", [warped, chained])
def test_second_derivatives_raise(build, rng):
    module, arguments = build(rng)
    gradients = torch.autograd.grad(module(*arguments).square().sum(), arguments, create_graph=True)
    with pytest.raises(NotImplementedError, match="derivatives end at order 1"):
        torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), arguments)


@pytest.mark.parametrize("build", [warped, chained])
def test_half_precision_computes_in_single(build, rng):
    module, arguments = build(rng)
    half = [argument.detach().to(torch.bfloat16) for argument in arguments]
    found = module(*half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, module(*(argument.float() for argument in half)), rtol=0, atol=0)


def test_modules_learn_their_parameters(rng):
    x, y = signals(rng)
    module = DecDTW(torch.nn.Parameter(torch.tensor(0.05)))
    module(x, y).square().sum().backward()
    assert [name for name, _ in module.named_parameters()] == ["reg"]
    assert torch.isfinite(module.reg.grad)
