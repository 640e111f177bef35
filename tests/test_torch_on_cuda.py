"""sdtwkit.torch on CUDA tensors: on a device, and on the host with tensors that are taken for a device's.

Without a device the bridge is what can be tested: which memory goes to CuPy, on which stream, and what comes back.
"""

import shutil
import sys
import types

import cuda_on_host
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sdtwkit._cuda import alignment, chain, ctc, warp

torch = pytest.importorskip("torch", reason="sdtwkit.torch adapts to it")
if torch:
    from sdtwkit.torch import ChainMarginals, CTCLoss, DecDTW, SoftAlignment, SoftDTWLoss, _operators

HERE = torch.device("cpu")
OPTIONS = {
    "plain": {},
    "cosine": {"cost": "cosine"},
    "divergence": {"divergence": True},
    "normalized": {"normalize": "path", "window": 4},
    "lengths": {"normalize": "n+m", "regularizer": "l2"},
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    if shutil.which("g++") is None or sys.platform != "linux":
        pytest.skip("compiles the CUDA sources with g++ on Linux")
    folder = tmp_path_factory.mktemp("kernels")
    return [cuda_on_host.Host(family.FILE, family.libraries(), folder) for family in (alignment, chain, ctc, warp)]


@pytest.fixture
def taken_for_cuda(monkeypatch, hosts):
    """Tensors with axes count as tensors on a device; -> (cupy, (device, stream) that were made current)."""
    cupy = cuda_on_host.install(monkeypatch, *hosts)
    stream = types.SimpleNamespace(cuda_stream=1234)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(_operators, "on_cuda", lambda tensor: tensor.ndim > 0)
    monkeypatch.setattr(cuda_on_host.Stream, "entered", [])
    return cupy


def series(rng, device=HERE):
    return [torch.tensor(rng.normal(size=(2, n, 3)), device=device, requires_grad=True) for n in (7, 5)]


def losses(x, y, gamma, options):
    """Values, first and second derivatives of a loss, as NumPy arrays."""
    loss = SoftDTWLoss(gamma, reduction="none", **options)
    values = loss(x, y, torch.tensor([7, 6]), torch.tensor([5, 5]))
    wanted = [x, y] + ([gamma] if isinstance(gamma, torch.Tensor) else [])
    first = torch.autograd.grad(values.square().sum(), wanted, create_graph=True)
    second = torch.autograd.grad(sum((g**3).sum() for g in first[:2]), [x, y])
    return [tensor.detach().cpu().numpy() for tensor in (values, *first, *second)]


def alignments(x, y):
    E = SoftAlignment(0.5)(x, y)
    return [tensor.detach().cpu().numpy() for tensor in (E, *torch.autograd.grad((E**2).sum(), [x, y]))]


def transcripts(device=HERE):
    """Values, first and second derivatives of CTC, as NumPy arrays."""
    rng = np.random.default_rng(0)
    log_probs = torch.tensor(rng.normal(size=(2, 9, 4)), device=device, requires_grad=True)
    targets = torch.tensor(rng.integers(1, 4, (2, 3)), device=device)
    lengths = torch.tensor([9, 7], device=device), torch.tensor([3, 2], device=device)
    values = CTCLoss(reduction="none")(log_probs, targets, *lengths)
    (first,) = torch.autograd.grad(values.square().sum(), log_probs, create_graph=True)
    (second,) = torch.autograd.grad((first**3).sum(), log_probs)
    return [tensor.detach().cpu().numpy() for tensor in (values, first, second)]


def chains(device=HERE):
    """Marginals of potentials in full and of a pair, and their derivatives, as NumPy arrays."""
    rng = np.random.default_rng(0)
    unary, transition, theta = (
        torch.tensor(rng.normal(size=shape), device=device, requires_grad=True)
        for shape in ((2, 5, 3), (3, 3), (2, 5, 3, 3))
    )
    found = []
    for potentials, wanted in ((theta, [theta]), ((unary, transition), [unary, transition])):
        E = ChainMarginals(0.7)(potentials)
        found += [E, *torch.autograd.grad((E**2).sum(), wanted)]
    return [tensor.detach().cpu().numpy() for tensor in found]


def same(found, expected):
    for array, right in zip(found, expected, strict=True):
        assert_allclose(array, right, atol=1e-9 * max(1, abs(right).max()))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_loss_of_tensors_taken_for_a_device(request, rng, options):
    x, y = series(rng)
    expected = losses(x, y, 0.5, options)
    request.getfixturevalue("taken_for_cuda")
    same(losses(x, y, 0.5, options), expected)
    assert set(cuda_on_host.Stream.entered) == {(0, 1234)}


def test_a_gamma_that_is_learned(request, rng):
    x, y = series(rng)
    gamma = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    expected = losses(x, y, gamma, {})
    request.getfixturevalue("taken_for_cuda")
    same(losses(x, y, gamma, {}), expected)


def test_an_alignment_of_tensors_taken_for_a_device(request, rng):
    x, y = series(rng)
    expected = alignments(x, y)
    request.getfixturevalue("taken_for_cuda")
    same(alignments(x, y), expected)


def warps(x, y):
    """phi and its derivatives, by the weight and the bounds, too."""
    reg, slope = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.1, 0.3))
    lower = torch.linspace(-0.2, 0.5, 5, dtype=torch.float64, device=x.device, requires_grad=True)
    phi = DecDTW(reg, band=(lower, lower.detach() + 1), slope_bounds=(slope, 3.0))(x, y, x_lengths=torch.tensor([7, 5]))
    wanted = [x, y, reg, slope, lower]
    return [tensor.detach().cpu().numpy() for tensor in (phi, *torch.autograd.grad((phi**2).sum(), wanted))]


def test_warps_of_tensors_taken_for_a_device(request, rng):
    x, y = series(rng)
    expected = warps(x, y)
    request.getfixturevalue("taken_for_cuda")
    same(warps(x, y), expected)
    assert set(cuda_on_host.Stream.entered) == {(0, 1234)}


@pytest.mark.parametrize("derivatives", [transcripts, chains])
def test_transcripts_and_chains_taken_for_a_device(request, derivatives):
    expected = derivatives()
    request.getfixturevalue("taken_for_cuda")
    same(derivatives(), expected)


def test_memory_is_shared(taken_for_cuda):
    tensor = torch.zeros(3, requires_grad=True)
    array = _operators.to_array(tensor)
    array[1] = 5.0
    assert tensor.tolist() == [0, 5, 0]
    assert _operators.to_tensor(array, tensor).data_ptr() == tensor.data_ptr()


def test_without_cupy(monkeypatch):
    monkeypatch.setattr(_operators, "on_cuda", lambda tensor: tensor.ndim > 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=0))
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"need CuPy: python -m pip install 'sdtwkit\[gpu\]' \(CUDA 13\)"):
        SoftDTWLoss()(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1))


def test_a_stream_before_cupy_14(monkeypatch, taken_for_cuda):
    monkeypatch.delattr(cuda_on_host.Stream, "from_external")
    taken_for_cuda.cuda.ExternalStream = lambda handle, device: cuda_on_host.Stream((handle, device))
    with _operators.exchange.on_stream(1, 77):
        pass
    assert cuda_on_host.Stream.entered == [(1, (77, 1))]


# ---- with a device


@pytest.fixture
def device():
    pytest.importorskip("cupy", reason="needs CuPy, of the extra [gpu]")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device and a PyTorch that was built for it")
    return torch.device("cuda", torch.cuda.device_count() - 1)


@pytest.mark.gpu
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_loss(device, options):
    expected, found = (
        losses(*series(np.random.default_rng(0), where), 0.5, options) for where in (torch.device("cpu"), device)
    )
    same(found, expected)


@pytest.mark.gpu
def test_results_lie_on_the_device(device, rng):
    x, y = series(rng, device)
    values = SoftDTWLoss(reduction="none")(x, y)
    assert values.device == device
    assert SoftAlignment()(x, y).device == device


@pytest.mark.gpu
def test_an_alignment(device):
    same(*(alignments(*series(np.random.default_rng(0), where)) for where in (device, torch.device("cpu"))))


@pytest.mark.gpu
@pytest.mark.parametrize("derivatives", [transcripts, chains])
def test_transcripts_and_chains(device, derivatives):
    same(derivatives(device), derivatives())


@pytest.mark.gpu
def test_the_current_stream_orders_the_work(device, rng):
    x, y = series(rng)
    expected = SoftDTWLoss()(x, y).item()
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
        late = torch.full(x.shape, torch.nan, dtype=x.dtype, device=device)
        torch.cuda._sleep(10**7)
        late.copy_(x.detach())
        loss = SoftDTWLoss()(late, y.detach().to(device))
        late.fill_(0)
        assert abs(loss.item() - expected) < 1e-9


@pytest.mark.gpu
def test_nothing_waits_for_the_device(device, rng):
    x, y = series(rng, device)
    loss = SoftDTWLoss()
    loss(x, y).backward()  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, y).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_compiled(device, rng):
    x, y = series(rng, device)
    loss = SoftDTWLoss(0.5)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = [torch.autograd.grad(one(x, y), x)[0] for one in (compiled, loss)]
    assert_allclose(*(gradient.cpu() for gradient in gradients), atol=1e-12)


@pytest.mark.gpu
def test_warps(device):
    expected, found = (warps(*series(np.random.default_rng(0), where)) for where in (torch.device("cpu"), device))
    same(found, expected)
