"""The data of every benchmark: seeded, in one layout (time first), the same for this library and for its peers."""

import importlib.util
from typing import NamedTuple

import numpy as np

TRACE_COUNT, TRACE_LENGTH = 40, 275
TRACE_CLASS_COUNT = 26


class Problem(NamedTuple):
    """Series to align: x with y item by item; or all pairs of x, or x with its barycenter, when y is None.

    Four dimensions of x are potentials of chains instead.
    """

    x: np.ndarray  # (n, d), (B, n, d) or, with y None, (B, n); (B, T, S, S)
    y: np.ndarray | None  # (m, d), (B, m, d) or None
    gamma: float = 1.0
    source: str = "z-normalised random walks"

    def cells(self, diagonal=True, self_terms=False):
        """Cells of all tables: pairs x n x m; a symmetric matrix has B (B + 1) / 2 pairs, B fewer without diagonal.

        self_terms: each pair has the tables of x with x and of y with y, too.
        """
        if self.x.ndim == 4:
            return self.x.size
        if self.y is None:
            count, n = self.x.shape
            return (count * (count + 1) // 2 - (0 if diagonal else count)) * n * n
        pairs = len(self.x) if self.x.ndim == 3 else 1
        n, m = self.x.shape[-2], self.y.shape[-2]
        return pairs * (n * m + (n * n + m * m if self_terms else 0))


def walks(shape, seed):
    """Random walks along the last axis, each of mean 0 and variance 1 (as UCR series are) -> float64 of this shape."""
    steps = np.random.default_rng(seed).standard_normal(shape)
    walk = np.cumsum(steps, axis=-1)
    walk -= walk.mean(axis=-1, keepdims=True)
    return walk / walk.std(axis=-1, keepdims=True)


def univariate_pair(n, dtype=np.float64):
    """One pair of walks of length n, d=1."""
    return Problem(*(walks((n,), seed)[:, None].astype(dtype) for seed in (1, 2)))


def feature_batch(count, n, m, d=12, dtype=np.float32):
    """count pairs of d-dimensional uniform noise, as in the torch libraries' own benchmarks (torch.rand)."""
    rng = np.random.default_rng(3)
    return Problem(*(rng.random((count, length, d)).astype(dtype) for length in (n, m)), source="uniform noise")


def gru_parameters(d, hidden=64):
    """Parameters of a coupled GRU, as `sdtwkit.metric_learning.coupled_gru_forward` takes them, float32."""
    rng = np.random.default_rng(5)
    shapes = {"W": (3 * hidden, d), "U": (3 * hidden, hidden), "bi": (3 * hidden,), "bh": (3 * hidden,)}
    shapes |= {"Wc": (hidden, d), "Uc": (hidden, hidden), "Vc": (hidden, hidden), "bc": (hidden,)}
    return {name: rng.uniform(-0.125, 0.125, shape).astype(np.float32) for name, shape in shapes.items()}


def chains(count=64, steps=200, states=20, dtype=np.float64):
    """Potentials of a batch of chains, normal noise."""
    theta = np.random.default_rng(5).standard_normal((count, steps, states, states))
    return Problem(theta.astype(dtype), None, source="normal noise")


def walk_collection(count=TRACE_COUNT, n=TRACE_LENGTH):
    """All pairs of `count` walks of length n."""
    return Problem(walks((count, n), 4), None)


def trace_collection(count=TRACE_COUNT):
    """All pairs of the first series of UCR's Trace where tslearn, which ships it, is installed; else walks."""
    if importlib.util.find_spec("tslearn") is None:
        return walk_collection(count)
    return Problem(trace()[0][:count], None, source="UCR Trace")


def trace_class():
    """The series of the first class of Trace's training set, to be averaged at gamma 0.1; without tslearn, walks."""
    if importlib.util.find_spec("tslearn") is None:
        return walk_collection(TRACE_CLASS_COUNT)._replace(gamma=0.1)
    series, labels = trace()
    return Problem(series[labels == 1], None, 0.1, "UCR Trace, class 1")


def trace():
    """-> series (100, 275) float64, labels (100,)"""
    from tslearn.datasets import CachedDatasets

    series, labels, _, _ = CachedDatasets().load_dataset("Trace")
    return np.ascontiguousarray(series[:, :, 0], dtype=np.float64), labels


def warp_pair(n, d=1, kind="walks"):
    """Two signals to warp with reg 0.1 (in the place of gamma), each within [-1, 1], as gdtw scales what it gets.

    "sines" is the pair of gdtw's documentation; "walks": y is x along a random monotone warp, with noise.
    """
    t, rng = np.linspace(0, 1, n), np.random.default_rng(5)
    if kind == "sines":
        x, y = (np.sin(2 * np.pi * 5 * time)[:, None] for time in (t, t**2))
    else:
        x = walks((d, n), 6).T
        phi = np.cumsum(rng.gamma(1.0, size=n))
        phi = (phi - phi[0]) / (phi[-1] - phi[0])
        y = np.stack([np.interp(phi, t, channel) for channel in x.T], axis=1) + 0.1 * rng.standard_normal((n, d))
    return Problem(*(2 * (z - z.min()) / np.ptp(z) - 1 for z in (x, y)), gamma=0.1, source=f"{kind}, reg 0.1")


def warp_objective(problem, phi):
    """What a warp (n,) of evenly sampled signals is scored by, as `dec_dtw` defines it: trapezoids, squared norms."""
    t = np.linspace(0, 1, len(phi))
    d = np.diff(t)
    weights = (np.append(d, 0) + np.append(0, d)) / 2
    warped = np.stack([np.interp(phi, t, channel) for channel in problem.x.T], axis=1)
    return weights @ ((warped - problem.y) ** 2).sum(axis=1) + problem.gamma * (d @ (np.diff(phi) / d - 1) ** 2)
