"""Modules of sdtwkit.torch give what the NumPy functions give, with derivatives that torch's own checks accept."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit

COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "cosine", "huber", "neg_dot", "bce",
         "log_half_sqeuclidean", "nll", "precomputed"]  # fmt: skip
SETTINGS = {
    "plain": {},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "radius": {"window": 2},
    "search": {"open_begin": "y", "open_end": "y"},
    "l2": {"regularizer": "l2"},
    "hard": {"regularizer": None},
}
LENGTHS = {"x_lengths": [5, 3], "y_lengths": [4, 2]}


torch = pytest.importorskip("torch", reason="sdtwkit.torch adapts to it")
if torch:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from sdtwkit.torch import ChainMarginals, CTCLoss, DecDTW, SoftAlignment, SoftDTWLoss


def gradcheck(function, leaves):
    """Directions at random; entry by entry took three minutes for this file."""
    return torch.autograd.gradcheck(function, leaves, fast_mode=True)


def gradgradcheck(function, leaves):
    return torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


def arguments(rng, cost="sqeuclidean", n=5, m=4, d=2, dtype=torch.float64):
    """(x, y) for a cost: leaves that require grad, or labels."""
    if cost == "precomputed":
        return torch.tensor(rng.normal(size=(2, n, m)), dtype=dtype, requires_grad=True), None
    x = torch.tensor(rng.normal(size=(2, n, d)), dtype=dtype, requires_grad=True)
    if cost == "nll":
        return x, torch.tensor(rng.integers(0, d, size=(2, m)))
    y = rng.random((2, m, d)) if cost == "bce" else rng.normal(size=(2, m, d))
    return x, torch.tensor(y, dtype=dtype, requires_grad=True)


def differentiable(*tensors):
    return tuple(t for t in tensors if t is not None and t.requires_grad)


def numpy_labels(cost, y):
    return None if y is None else y.detach().numpy()[..., None] if cost == "nll" else y.detach().numpy()


# ---- values and first derivatives


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cost", COSTS)
def test_losses_are_those_of_the_library(cost, dtype, options, rng):
    x, y = arguments(rng, cost, dtype=dtype)
    expected, grad_x, grad_y = sdtwkit.soft_dtw_value_and_grad(
        x.detach().numpy(), numpy_labels(cost, y), 0.7, cost=cost, **LENGTHS, **options
    )
    for reduction, reduce in (("none", lambda v: v), ("mean", np.mean), ("sum", np.sum)):
        loss = SoftDTWLoss(0.7, cost=cost, reduction=reduction, **options)
        value = loss(x, y, **LENGTHS)
        assert value.dtype == dtype
        assert_allclose(value.detach().numpy(), reduce(expected), rtol=1e-6)
        with torch.no_grad():
            assert_allclose(loss(x, y, **LENGTHS).numpy(), reduce(expected), rtol=1e-6)
    upstream = torch.tensor([2.0, -3.0], dtype=dtype)
    values = SoftDTWLoss(0.7, cost=cost, reduction="none", **options)(x, y, **LENGTHS)
    gradients = torch.autograd.grad(values, differentiable(x, y), upstream)
    for got, wanted in zip(gradients, (grad_x, grad_y), strict=False):
        assert got.dtype == dtype
        assert_allclose(got.numpy(), wanted * upstream.numpy()[:, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_divergences_are_those_of_the_library(dtype, rng):
    x, y = arguments(rng, n=6, m=4, dtype=dtype)
    expected = sdtwkit.soft_dtw_divergence_value_and_grad(x.detach().numpy(), y.detach().numpy(), 0.7, **LENGTHS)
    value = SoftDTWLoss(0.7, divergence=True, reduction="none")(x, y, **LENGTHS)
    gradients = torch.autograd.grad(value.sum(), (x, y))
    assert value.dtype == dtype
    for got, wanted in zip((value, *gradients), expected, strict=True):
        assert_allclose(got.detach().numpy(), wanted, rtol=1e-6, atol=1e-9)


def test_the_divergence_of_a_series_from_itself_is_zero(rng):
    x = torch.tensor(rng.normal(size=(2, 9, 3)), requires_grad=True)
    value = SoftDTWLoss(0.7, divergence=True, reduction="none")(x, x.detach().clone())
    assert_array_equal(value.detach().numpy(), 0)
    assert_array_equal(torch.autograd.grad(value.sum(), x)[0].numpy(), 0)


@pytest.mark.parametrize("cost", COSTS)
def test_alignments_are_those_of_the_library(cost, options, rng):
    x, y = arguments(rng, cost)
    E = SoftAlignment(0.7, cost=cost, **options)(x, y, **LENGTHS)
    series = x.detach().numpy(), numpy_labels(cost, y)
    expected, _ = sdtwkit.soft_dtw_alignment(*series, 0.7, cost=cost, **LENGTHS, **options)
    assert_allclose(E.detach().numpy(), expected, atol=1e-13)
    G = torch.tensor(rng.normal(size=E.shape))
    gradients = torch.autograd.grad((E * G).sum(), differentiable(x, y))
    expected = sdtwkit.soft_dtw_alignment_vjp(*series, G.numpy(), 0.7, cost=cost, **LENGTHS, **options)
    for got, wanted in zip(gradients, expected, strict=False):
        assert_allclose(got.numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("normalize", ["n", "m", "n+m", "path"])
def test_normalised_losses(normalize, rng):
    x, y = arguments(rng)
    values = SoftDTWLoss(reduction="none")(x, y, **LENGTHS)
    E = SoftAlignment()(x, y, **LENGTHS)
    scale = sdtwkit.weak.loss_scale(normalize, E.detach().numpy(), **LENGTHS)
    got = SoftDTWLoss(reduction="none", normalize=normalize)(x, y, **LENGTHS)
    assert_allclose(got.detach().numpy(), values.detach().numpy() / scale, rtol=1e-12)
    gradient = torch.autograd.grad(values, x, 1 / torch.tensor(scale))[0]
    assert_allclose(torch.autograd.grad(got.sum(), x)[0].numpy(), gradient.numpy(), atol=1e-12)


def test_single_series_and_padding(rng):
    x, y = arguments(rng)
    alone = SoftDTWLoss()(x[0], y[0])
    assert_allclose(alone.item(), sdtwkit.soft_dtw(x[0].detach().numpy(), y[0].detach().numpy()))
    assert SoftDTWLoss()(x[0, :, 0], y[0, :, 0]).ndim == 0
    padded = torch.full((2, 9, 2), torch.nan, dtype=torch.float64)
    padded[:, :5] = x.detach()
    padded.requires_grad_()
    loss = SoftDTWLoss()(padded, y, x_lengths=[5, 3])
    assert_allclose(loss.item(), SoftDTWLoss()(x, y, x_lengths=torch.tensor([5, 3])).item())
    loss.backward()
    assert not padded.grad[:, 5:].any()
    assert not padded.grad[1, 3:].any()


# ---- checks of torch: first and second derivatives


@pytest.mark.parametrize("cost", COSTS)
def test_gradcheck_of_every_cost(cost, rng):
    x, y = arguments(rng, cost, n=4, m=3)
    leaves = differentiable(x, y)
    loss = SoftDTWLoss(0.7, cost=cost, reduction="none")

    def function(*leaves):
        return loss(*leaves, *(x, y)[len(leaves) :])

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
@pytest.mark.parametrize(
    "settings",
    [
        {"step_weights": (1.0, 2.0, 0.5), "open_begin": "y", "open_end": True},
        {"divergence": True},
        {"normalize": "n+m", "window": 2},
    ],
    ids=str,
)
def test_gradcheck_of_losses(settings, regularizer, rng):
    leaves = arguments(rng, n=4, m=3)

    def function(x, y):
        return SoftDTWLoss(0.7, reduction="none", regularizer=regularizer, **settings)(x, y, [4, 2], [3, 3])

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


@pytest.mark.parametrize("cost", ["sqeuclidean", "cosine", "nll", "precomputed"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_gradcheck_of_gamma_and_prior(cost, regularizer, rng):
    """Everything that may be learned at once, first and second order."""
    x, y = arguments(rng, cost, n=4, m=3)
    gamma = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    prior = torch.tensor(rng.random((4, 3)), requires_grad=True)
    leaves = differentiable(x, y)

    def function(gamma, prior, *leaves):
        loss = SoftDTWLoss(gamma, cost=cost, prior=prior, reduction="none", regularizer=regularizer)
        return loss(*leaves, *(x, y)[len(leaves) :])

    def alignment(gamma, prior, *leaves):
        return SoftAlignment(gamma, cost=cost, prior=prior)(*leaves, *(x, y)[len(leaves) :])

    assert gradcheck(function, (gamma, prior, *leaves))
    assert gradgradcheck(function, (gamma, prior, *leaves))
    assert gradcheck(alignment, (gamma, prior, *leaves))


def test_gradcheck_of_gamma_of_a_divergence(rng):
    gamma = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    leaves = gamma, *arguments(rng, n=4, m=3)

    def function(gamma, x, y):
        return SoftDTWLoss(gamma, divergence=True, reduction="none")(x, y, [4, 2], [3, 3])

    assert_allclose(
        function(*leaves).detach().numpy(),
        SoftDTWLoss(0.7, divergence=True, reduction="none")(*leaves[1:], [4, 2], [3, 3]).detach().numpy(),
        rtol=1e-12,
    )
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


def test_gamma_has_its_gradient_beside_forbidden_cells(rng):
    C = torch.tensor(rng.normal(size=(2, 4, 3)))
    C[0, 1, 1] = torch.inf
    C.requires_grad_()
    gamma = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    values = SoftDTWLoss(gamma, cost="precomputed", reduction="none")(C)
    got = torch.autograd.grad(values.sum(), (gamma, C))
    dp = sdtwkit.dp.AlignmentDP(0.7)
    assert_allclose(got[0].item(), dp.parameter_grads(C.detach().numpy())[0].sum(), rtol=1e-12)
    assert_allclose(got[1].numpy(), dp.value_and_grad(C.detach().numpy())[1], atol=1e-13)


@pytest.mark.parametrize("divergence", [False, True])
def test_the_gradient_of_one_side_is_that_of_both(divergence, rng):
    """Only the sides that want a gradient get one, also in second derivatives."""
    x, y = arguments(rng)
    loss = SoftDTWLoss(0.7, divergence=divergence)

    both = torch.autograd.grad(loss(x, y), (x, y), create_graph=True)
    for side, (one, other) in enumerate(((x, y), (y, x))):
        arguments_of_one = (one, other.detach()) if side == 0 else (other.detach(), one)
        (gradient,) = torch.autograd.grad(loss(*arguments_of_one), one, create_graph=True)
        assert torch.equal(gradient, both[side])
        bent, expected = (torch.autograd.grad((g**2).sum(), one, retain_graph=True)[0] for g in (gradient, both[side]))
        torch.testing.assert_close(bent, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_gradcheck_of_alignments(regularizer, rng):
    leaves = arguments(rng, n=4, m=3)
    assert gradcheck(lambda x, y: SoftAlignment(0.7, regularizer=regularizer)(x, y, [4, 2], [3, 3]), leaves)


@pytest.mark.parametrize("blank", [0, 2])
def test_gradcheck_of_ctc(blank, rng):
    log_probs = torch.tensor(rng.normal(size=(3, 6, 4)), requires_grad=True)
    targets = torch.tensor([[1, 1], [3, 1], [1, 3]])

    def function(log_probs):
        return CTCLoss(blank, reduction="none")(log_probs, targets, [6, 4, 6], [2, 2, 0])

    assert gradcheck(function, (log_probs,))
    assert gradgradcheck(function, (log_probs,))


@pytest.mark.parametrize("settings", [{}, {"divergence": True}], ids=str)
def test_a_gradient_as_a_loss(settings, rng):
    """|d value / d x|^2, where peers are silently wrong, against differences of the library's gradient."""
    x, y = arguments(rng)
    loss = SoftDTWLoss(0.7, reduction="sum", **settings)
    (gradient,) = torch.autograd.grad(loss(x, y), x, create_graph=True)
    found = torch.autograd.grad((gradient**2).sum(), (x, y))
    library = sdtwkit.soft_dtw_divergence_value_and_grad if settings else sdtwkit.soft_dtw_value_and_grad

    def penalty(x, y):
        return (library(x, y, 0.7)[1] ** 2).sum()

    x, y = x.detach().numpy(), y.detach().numpy()
    dx, dy = rng.normal(size=x.shape), rng.normal(size=y.shape)
    slope = (penalty(x + 1e-5 * dx, y + 1e-5 * dy) - penalty(x - 1e-5 * dx, y - 1e-5 * dy)) / 2e-5
    assert_allclose((found[0].numpy() * dx).sum() + (found[1].numpy() * dy).sum(), slope, rtol=1e-7)


def test_derivatives_beyond_raise_instead_of_being_wrong(rng):
    x, y = arguments(rng)
    (gradient,) = torch.autograd.grad(SoftDTWLoss()(x, y), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="soft_dtw_hvp cannot be differentiated: derivatives end at order 2"):
        torch.autograd.grad(second.sum(), x)
    (gradient,) = torch.autograd.grad(SoftAlignment()(x, y).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="soft_dtw_alignment_vjp cannot be differentiated"):
        torch.autograd.grad(gradient.sum(), x)


# ---- how torch runs them


def test_operators_keep_their_promises(rng):
    """torch.library.opcheck: schemas, fake tensors, registration of derivatives, tracing."""
    from sdtwkit.torch import _alignment, _ctc

    x, y = arguments(rng)
    modules = loss, _, _ = SoftDTWLoss(window=3), SoftDTWLoss(divergence=True, window=3), SoftAlignment(window=3)
    options, of_divergence, of_alignment = (module._ready(x, y, [5, 3], None)[2] for module in modules)
    lengths, cost = options[1:3], "sqeuclidean"
    C, labels = torch.tensor(rng.normal(size=(2, 5, 4)), requires_grad=True), torch.tensor([[1, 1], [1, 0]])
    precomputed = options._replace(settings=loss.settings_over_costs)
    checks = [
        (_alignment.soft_dtw_value, (x.detach(), y.detach(), *of_divergence)),
        (_alignment.soft_dtw, (x, y, True, True, *options)),
        (_alignment.soft_dtw, (x, y.detach(), True, False, *options)),
        (_alignment.soft_dtw, (x.detach(), y, False, True, *of_divergence)),
        (_alignment.soft_dtw, (C, None, True, False, *precomputed)),
        (_alignment.soft_dtw_hvp, (x.detach(), y.detach(), x.detach(), y.detach(), *of_divergence)),
        (_alignment.alignment, (x, y, *of_alignment)),
        (_alignment.alignment_vjp, (x.detach(), y.detach(), C.detach(), *of_alignment)),
        (_alignment.cost_matrix, (x, y, *lengths, cost)),
        (_alignment.cost_vjp, (x, y, C, *lengths, cost)),
        (_alignment.cost_second, (x.detach(), y.detach(), C.detach(), x.detach(), None, *lengths, cost)),
        (_ctc._ctc_value, (C.detach(), labels, None, torch.tensor([1, 2]), 2)),
        (_ctc._ctc, (C, labels, None, torch.tensor([1, 2]), 2)),
        (_ctc._ctc_hvp, (C.detach(), C.detach(), labels, None, None, 2)),
    ]
    for operator, sample in checks:
        found = torch.library.opcheck(operator, sample)
        assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_training_steps_are_the_same(dynamic, rng):
    x, y = arguments(rng)
    log_probs, labels = torch.tensor(rng.normal(size=(2, 6, 4)), requires_grad=True), torch.tensor([[1, 1], [2, 3]])
    losses = SoftDTWLoss(0.7), SoftDTWLoss(0.7, divergence=True), SoftDTWLoss(torch.tensor(0.7), normalize="path")

    def step(x, y, log_probs):
        total = sum(loss(2 * x, y.tanh(), torch.tensor([5, 3])) for loss in losses)
        total = total + SoftAlignment(0.7)(x, y).square().sum()
        return total + CTCLoss()(log_probs.log_softmax(-1), labels)

    leaves = x, y, log_probs
    expected = step(*leaves)
    gradients = torch.autograd.grad(expected, leaves)
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    got = compiled(*leaves)
    assert_allclose(got.item(), expected.item(), rtol=1e-12)
    for a, b in zip(torch.autograd.grad(got, leaves), gradients, strict=True):
        assert_allclose(a.numpy(), b.numpy(), atol=1e-12)


def test_options_of_other_types(rng):
    x, y = arguments(rng)
    plain = SoftDTWLoss(window=3, cost="manhattan", regularizer="l2")(x, y)
    assert SoftDTWLoss(window=np.int64(3), cost=np.str_("manhattan"), regularizer=np.str_("l2"))(x, y) == plain
    with pytest.raises(TypeError, match=r"open_end is .*True.*, of type bool.*; expected a value of a built-in type"):
        SoftDTWLoss(open_end=np.True_)


def test_gamma_may_change_between_compiled_calls(rng):
    x, y = arguments(rng)
    loss = SoftDTWLoss(torch.tensor(1.0))
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for gamma in (1.0, 0.1, 10.0):
        loss.gamma.fill_(gamma)
        assert_allclose(compiled(x, y).item(), SoftDTWLoss(gamma)(x, y).item(), rtol=1e-6)
    loss = SoftDTWLoss(1.0)
    loss.gamma = 0.1
    assert loss(x, y) == SoftDTWLoss(0.1)(x, y)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_single(half, rng):
    x, y = (leaf.detach().to(half).requires_grad_() for leaf in arguments(rng))
    value = SoftDTWLoss()(x, y)
    assert value.dtype == torch.float32
    assert value == SoftDTWLoss()(x.float(), y.float())
    value.backward()
    assert x.grad.dtype == half


def test_autocast(rng):
    """A network under autocast gives half precision; the loss and its gradient are those of single precision."""
    x, y = arguments(rng, dtype=torch.float32)
    linear = torch.nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        predictions = linear(x)
        assert predictions.dtype == torch.bfloat16
        value = SoftDTWLoss(normalize="path")(predictions, y)
        ctc = CTCLoss()(predictions, torch.tensor([[1], [1]]))
    assert value.dtype == ctc.dtype == torch.float32
    (value + ctc).backward()
    assert linear.weight.grad.isfinite().all()


def test_tensors_are_read_where_they_lie(rng, monkeypatch):
    from sdtwkit._adapters import series

    x, y = arguments(rng)
    seen = []

    class Watched(series.Call):
        def value_and_grad(self, sides):
            seen.extend((self.problem.x.data, self.problem.y.data))
            return super().value_and_grad(sides)

    monkeypatch.setattr(series, "Call", Watched)
    SoftDTWLoss()(x, y).backward()
    for array, tensor in zip(seen, (x, y), strict=True):
        assert array.ctypes.data == tensor.data_ptr()


def test_inputs_are_not_written_to(rng):
    x, y = arguments(rng)
    before = x.detach().clone(), y.detach().clone()
    loss = SoftDTWLoss(divergence=True)(x.transpose(0, 1).contiguous().transpose(0, 1), y)
    loss.backward()
    for tensor, kept in zip((x, y), before, strict=True):
        assert torch.equal(tensor.detach(), kept)


class Recordings(torch.utils.data.Dataset):
    """Losses computed where the data are loaded."""

    def __len__(self):
        return 8

    def __getitem__(self, k):
        x = torch.full((30, 2), float(k))
        return SoftDTWLoss()(x, torch.zeros(25, 2)), CTCLoss()(-x[None], torch.tensor([[1]]))


def test_data_loader_workers():
    SoftDTWLoss()(torch.zeros(4, 30, 2), torch.zeros(4, 25, 2))  # threads exist before the fork
    expected = [Recordings()[k] for k in range(8)]
    loader = torch.utils.data.DataLoader(Recordings(), batch_size=4, num_workers=2, timeout=60)
    for k, batch in enumerate(loader):
        for column, got in enumerate(batch):
            assert torch.equal(got, torch.stack([row[column] for row in expected[4 * k : 4 * k + 4]]))


def test_modules_move_their_tensors_and_learn_their_parameters(rng):
    x, y = arguments(rng)
    prior = torch.nn.Parameter(torch.zeros(5, 4, dtype=torch.float64))
    loss = SoftDTWLoss(torch.nn.Parameter(torch.tensor(1.0)), prior=prior, window=torch.ones(5, 4, dtype=torch.bool))
    assert {name for name, _ in loss.named_parameters()} == {"gamma", "prior"}
    assert dict(loss.named_buffers()).keys() == {"mask"}
    loss(x, y).backward()
    assert loss.gamma.grad < 0
    assert_allclose(prior.grad.numpy(), SoftAlignment()(x, y).mean(0).detach().numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (SoftDTWLoss, "SoftDTWLoss(gamma=1.0, cost='sqeuclidean', regularizer='entropy')"),
        (SoftAlignment, "SoftAlignment(gamma=1.0, cost='sqeuclidean', regularizer='entropy')"),
        (CTCLoss, "CTCLoss(blank=0, reduction='mean')"),
        (DecDTW, "DecDTW(reg=0.1)"),
        (ChainMarginals, "ChainMarginals(gamma=1.0, regularizer='entropy')"),
    ],
)
def test_modules_show_their_options(module, shown):
    assert repr(module()) == shown


def test_integers_are_numbers(rng):
    x, y = (torch.from_numpy(rng.integers(0, 9, size=(2, n, 3))) for n in (6, 5))
    loss = SoftDTWLoss()(x, y)
    assert loss.dtype == torch.float64
    assert loss == SoftDTWLoss()(x.double(), y.double())


def test_tensors_out_of_reach_are_refused():
    with FakeTensorMode():  # of a device that this machine need not have
        x = torch.empty(5, 2, device="mps")
    with pytest.raises(NotImplementedError, match="x is on mps:0; expected a tensor on the CPU or a CUDA device"):
        SoftDTWLoss()(x, x)


# ---- CTC


def test_ctc_is_torchs(rng):
    logits = torch.tensor(rng.normal(size=(6, 12, 5)), requires_grad=True)
    targets, frames, lengths = (
        torch.tensor(rng.integers(1, 5, size=(6, 4))),
        [12, 9, 12, 10, 11, 12],
        [4, 1, 0, 3, 4, 2],
    )
    ours = CTCLoss(reduction="none")(logits.log_softmax(-1), targets, frames, lengths)
    theirs = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), targets, torch.tensor(frames), torch.tensor(lengths), reduction="none"
    )
    assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    upstream = torch.tensor(rng.normal(size=6))
    ours, theirs = (torch.autograd.grad(values, logits, upstream)[0].numpy() for values in (ours, theirs))
    assert_allclose(ours, theirs, atol=1e-12)


def test_ctc_where_nothing_fits(rng):
    log_probs = torch.tensor(rng.normal(size=(2, 2, 3)), requires_grad=True)
    values = CTCLoss(reduction="none")(log_probs, torch.tensor([[1, 1], [1, 2]]))
    assert values.isinf().tolist() == [True, False]
    values.sum().backward()
    assert not log_probs.grad[0].any()
    assert log_probs.grad.isfinite().all()


# ---- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: SoftDTWLoss(reduction="max"), "reduction is 'max'; expected 'none', 'mean' or 'sum'"),
        (lambda x, y: SoftDTWLoss(normalize="N"), "normalize is 'N'; expected None, 'n', 'm', 'n\\+m' or 'path'"),
        (lambda x, y: SoftDTWLoss(cost="square"), "cost is 'square'; expected one of"),
        (lambda x, y: SoftDTWLoss(cost=abs), "expected the name of a cost"),
        (lambda x, y: SoftDTWLoss(divergence=True, prior=torch.zeros(5, 4)), "a prior is given; expected none"),
        (lambda x, y: SoftDTWLoss(divergence=True, normalize="path"), "normalize='path' is given; expected none with"),
        (lambda x, y: SoftDTWLoss(divergence="yes"), "divergence is 'yes', of type str; expected False or True"),
        (lambda x, y: SoftDTWLoss(divergence=True, cost="nll"), "cost 'nll' is given; expected none with"),
        (lambda x, y: SoftDTWLoss(-1.0)(x, y), "gamma is -1.0; expected a finite number > 0"),
        (lambda x, y: SoftDTWLoss(0), "gamma is 0.0; expected a finite number > 0"),
        (lambda x, y: SoftDTWLoss("auto"), "gamma is 'auto', of type str; expected a finite number > 0"),
        (lambda x, y: SoftDTWLoss(torch.ones(2))(x, y), r"gamma has shape \(2,\); expected one number"),
        (lambda x, y: SoftDTWLoss(regularizer="l1"), "regularizer is 'l1'; expected 'entropy', 'l2' or None"),
        (lambda x, y: SoftDTWLoss(window=0.1), "window is 0.1, of type float; expected None, an integer >= 0 or"),
        (lambda x, y: SoftDTWLoss(window=True), "window is True, of type bool; expected None, an integer >= 0 or"),
        (lambda x, y: SoftDTWLoss()(x, list(y)), "y is .*, of type list; expected a tensor"),
        (lambda x, y: SoftDTWLoss()(x, y, torch.tensor([5.0, 5.0])), "x_lengths has dtype torch.float32; expected int"),
        (lambda x, y: DecDTW()(x, 1.0), "y is 1.0, of type float; expected a tensor"),
        (lambda x, y: ChainMarginals()((x, None)), "transition is None, of type NoneType; expected a tensor"),
        (lambda x, y: CTCLoss()(x, [[1], [1]]), r"targets is \[\[1\], \[1\]\], of type list; expected a tensor"),
        (lambda x, y: SoftDTWLoss()(x, y[:, :, :1]), "x has 2 channels, y has 1"),
        (lambda x, y: SoftDTWLoss()(x.detach().numpy(), y), r"x is array\(.*, of type ndarray; expected a tensor"),
        (lambda x, y: SoftDTWLoss()(x, None), "y is None, of type NoneType; expected a tensor"),
        (lambda x, y: SoftDTWLoss()(x * torch.nan, y), r"x\[0\] is NaN throughout"),
        (lambda x, y: SoftDTWLoss(cost="precomputed")(x, y), "y is given, but cost 'precomputed' takes the costs as x"),
        (
            lambda x, y: SoftDTWLoss(divergence=True, window=torch.ones(5, 4, dtype=torch.bool))(x, y),
            "does not say how a series may be aligned with itself",
        ),
        (lambda x, y: CTCLoss(reduction=None), "reduction is None; expected"),
        (lambda x, y: CTCLoss()(x, torch.tensor([[2], [1]])), r"targets\[0\] holds 2 at index 0"),
    ],
)
def test_wrong_arguments(call, message, rng):
    with pytest.raises((ValueError, TypeError), match=message):
        call(*arguments(rng))


def test_functions_of_arrays_point_here(rng):
    x, y = arguments(rng)
    with pytest.raises(ValueError, match=r"use sdtwkit\.torch"):
        sdtwkit.soft_dtw(x, y)
