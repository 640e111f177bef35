"""Losses with the call shapes of other packages give what those packages give, as long as these are right."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose

import sdtwkit

torch = pytest.importorskip("torch", reason="the shims are torch modules")
if torch:
    from sdtwkit.compat import MaghoumiSoftDTW, PySDTW, SoftDTWLossPyTorch

PEERS = {
    "MaghoumiSoftDTW": ("soft_dtw_cuda", "SoftDTW"),
    "PySDTW": ("pysdtw", "SoftDTW"),
    "SoftDTWLossPyTorch": ("tslearn.metrics", "SoftDTWLossPyTorch"),
}


def pair_of_classes(name):
    """Our class and the original."""
    module, original = PEERS[name]
    peer = pytest.importorskip(module, reason="the original is the truth")
    return {c.__name__: c for c in (MaghoumiSoftDTW, PySDTW, SoftDTWLossPyTorch)}[name], getattr(peer, original)


def absolute(x, y):
    """A distance of the user's."""
    return (x[:, :, None] - y[:, None]).abs().sum(-1)


def series(rng, n, m):
    return tuple(torch.tensor(rng.normal(size=(3, k, 2)), requires_grad=True) for k in (n, m))


def same(ours, theirs, x, y, tolerance=1e-4):
    """Values and both gradients, of a weighted sum of values. The originals keep their tables in float32."""
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found, expected = ours(x, y), theirs(x, y)
    assert found.shape == expected.shape == (3,)
    assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=tolerance)
    gradients = (torch.autograd.grad((values * weights).sum(), (x, y)) for values in (found, expected))
    for got, wanted in zip(*gradients, strict=True):
        assert_allclose(got.numpy(), wanted.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", PEERS)
def test_parameters_have_the_names_and_the_order_of_the_original(name):
    ours, original = pair_of_classes(name)
    names = list(inspect.signature(original).parameters)
    assert list(inspect.signature(ours).parameters) == names
    for parameter in names:
        expected = inspect.signature(original).parameters[parameter].default
        if expected is not inspect.Parameter.empty:
            assert inspect.signature(ours).parameters[parameter].default == expected


@pytest.mark.parametrize("bandwidth", [None, 0, 4, 2.5])
@pytest.mark.parametrize("dist_func", [None, absolute], ids=["squared", "own"])
@pytest.mark.parametrize("normalize", [False, True])
def test_maghoumi(normalize, dist_func, bandwidth, rng):
    ours, original = pair_of_classes("MaghoumiSoftDTW")
    arguments = (False, 0.5, normalize, bandwidth, dist_func)
    for n, m in ((7, 7),) if normalize else ((7, 7), (7, 9)):  # the original normalises equal lengths alone
        same(ours(*arguments), original(*arguments), *series(rng, n, m))


@pytest.mark.parametrize("bandwidth", [None, 0, 3, 2.5])
@pytest.mark.parametrize("dist_func", [None, absolute], ids=["squared", "own"])
def test_pysdtw(dist_func, bandwidth, rng):
    """Its gradient takes the band of the transposed problem, so with a band lengths are equal here."""
    ours, original = pair_of_classes("PySDTW")
    arguments = (0.5, dist_func, False, bandwidth)
    for n, m in ((7, 7), (7, 9), (9, 7)):
        x, y = series(rng, n, m)
        if n == m or not bandwidth:
            same(ours(*arguments), original(*arguments), x, y)
        else:
            expected = original(*arguments)(x, y).detach().numpy()
            assert_allclose(ours(*arguments)(x, y).detach().numpy(), expected, rtol=1e-5)


def test_packed_sequences_of_pysdtw(rng):
    ours, original = pair_of_classes("PySDTW")
    x = [torch.tensor(rng.normal(size=(n, 2))) for n in (8, 5, 3)]
    y = [torch.tensor(rng.normal(size=(m, 2))) for m in (4, 6, 2)]
    packed = [torch.nn.utils.rnn.pack_sequence(many, enforce_sorted=False) for many in (x, y)]
    found, expected = ours(0.5, use_cuda=False)(*packed), original(0.5, use_cuda=False)(*packed)
    assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("dist_func", [None, absolute], ids=["squared", "own"])
@pytest.mark.parametrize(
    "constraint",
    [
        {},
        {"normalize": True},
        {"sakoe_chiba_radius": 2},
        {"global_constraint": "sakoe_chiba"},
        {"itakura_max_slope": 3.0},
        {"global_constraint": "itakura"},
        {"global_constraint": "itakura", "sakoe_chiba_radius": 1, "itakura_max_slope": 4.0},
    ],
    ids=str,
)
def test_tslearn(constraint, dist_func, rng):
    ours, original = pair_of_classes("SoftDTWLossPyTorch")
    arguments = {"gamma": 0.5, "dist_func": dist_func, **constraint}
    for n, m in ((7, 7), (7, 9)):
        same(ours(**arguments), original(**arguments), *series(rng, n, m))


def test_second_derivatives_are_right(rng):
    """What the originals are silent about: |d value / d x|^2 as a loss."""
    x, y = series(rng, 5, 6)
    for loss in (MaghoumiSoftDTW(), PySDTW(), SoftDTWLossPyTorch(), SoftDTWLossPyTorch(dist_func=absolute)):
        assert torch.autograd.gradgradcheck(loss, (x, y), fast_mode=True)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="global_constraint is 'band'; expected None, 'sakoe_chiba' or 'itakura'"):
        SoftDTWLossPyTorch(global_constraint="band")
    with pytest.raises(ValueError, match="sakoe_chiba_radius and itakura_max_slope are both given"):
        SoftDTWLossPyTorch(sakoe_chiba_radius=1, itakura_max_slope=2.0)


def test_the_table_of_weights_is_right(rng):
    """ddtw's weights are those of (1, 0), (0, 1), (1, 1); ours of (0, 1), (1, 1), (1, 0)."""
    variants = pytest.importorskip("ddtw.ddtw_variants", reason="the original is the truth")
    from sdtwkit.torch import SoftDTWLoss

    x, y = (torch.tensor(np.float32(rng.normal(size=(2, k, 3)))) for k in (8, 5))
    a, b, c = 0.5, 2.0, 1.5
    theirs = variants.SDTW(gamma=0.7, global_step_weights=[a, b, c], normalization="N", backend="cpu_numba")(x, y)
    ours = SoftDTWLoss(0.7, step_weights=(b, c, a), normalize="n")(x, y)
    assert_allclose(ours.item(), theirs.item(), rtol=1e-5)


def dtw_within(x, y, admissible):
    """Soft-DTW of one pair within a mask, by the library."""
    return sdtwkit.soft_dtw(x.detach().numpy(), y.detach().numpy(), gamma=0.5, window=admissible)


@pytest.mark.parametrize("bandwidth", [2, 1.5])
def test_a_band_of_samples_is_a_mask(bandwidth, rng):
    x, y = series(rng, 7, 6)
    i, j = np.ogrid[:7, :6]
    expected = [dtw_within(*pair, np.abs(i - j) <= bandwidth) for pair in zip(x, y, strict=True)]
    assert_allclose(MaghoumiSoftDTW(gamma=0.5, bandwidth=bandwidth)(x, y).detach().numpy(), expected)
    assert not np.allclose(MaghoumiSoftDTW(gamma=0.5)(x, y).detach().numpy(), expected)


def test_packed_sequences_have_each_their_own_band_along_the_diagonal(rng):
    lengths = (7, 5, 3), (6, 6, 4)
    x, y = ([torch.tensor(rng.normal(size=(n, 2))) for n in side] for side in lengths)
    expected = []
    for a, b in zip(x, y, strict=True):
        n, m = len(a), len(b)
        cells = [[abs(i * max(m / n, 1) - j * max(n / m, 1)) <= 2 for j in range(1, m + 1)] for i in range(1, n + 1)]
        expected.append(dtw_within(a, b, np.array(cells)))
    packed = (torch.nn.utils.rnn.pack_sequence(side, enforce_sorted=False) for side in (x, y))
    assert_allclose(PySDTW(gamma=0.5, bandwidth=2)(*packed).numpy(), expected)
