"""Registry of the libraries that are measured, this one first: how each is called and what its result means.

An adapter has one method per operation it can do (soft_value, soft_value_and_grad, divergence_value_and_grad, loss,
soft_matrix, soft_barycenter, hard_value, hard_matrix, warp, warp_early, warp_vjp, coupled_gru, plain_gru,
chain_value_and_grad). The method converts layouts, which is not timed, and returns what is timed (`run`) and how to
read its result in our convention (`answer`): squared Euclidean cost (divergences: half of it), hard DTW without root,
of a warp our objective. To add a peer, add a class and a line in PEERS.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.problems import Problem, gru_parameters, warp_objective

CANDIDATES = 100  # values a row of the searches for warps
MARGIN = 2.0  # of the contrastive loss of a network
ITERATIONS = 50  # of a barycenter: of L-BFGS through scipy, in every library, from the mean and with tolerance 0


class Answer(NamedTuple):
    """A result in our convention; NaN marks entries that the library does not compute."""

    value: np.ndarray | float
    grad_x: np.ndarray | None = None


class Prepared(NamedTuple):
    run: Callable[[], object]
    answer: Callable[[object], Answer]


class Peer:
    """A library; subclasses name it and add operations."""

    name = distribution = module = ""
    unsigned = False  # returns |value|
    skips_diagonal = ()  # operations that leave the diagonal of a symmetric matrix at 0
    note = ""

    def installed(self):
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None

    def version(self):
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return "no version"

    def load(self):
        return importlib.import_module(self.module)

    def prepare(self, operation, problem):
        """-> Prepared, or None if the library lacks the operation."""
        method = getattr(self, operation, None)
        return None if method is None else method(problem)

    def cells(self, operation, problem):
        if operation == "soft_barycenter" or operation.startswith("warp") or operation.endswith("gru"):
            # As many tables as L-BFGS asks for; none.
            return None
        return problem.cells(operation not in self.skips_diagonal, self_terms=operation == "divergence_value_and_grad")

    def objective(self, barycenter, problem):
        """Answer of a soft_barycenter: the mean soft-DTW to the series, in the library's own values."""
        values = []
        for x in problem.x[:, :, None]:
            prepared = self.soft_value(Problem(barycenter, x, problem.gamma))
            values.append(prepared.answer(prepared.run()).value)
        return Answer(np.mean(values))


class Ours(Peer):
    name = distribution = module = "sdtwkit"

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs

    def version(self):
        return self.load().__version__

    def soft_value(self, problem):
        f, (x, y, gamma, _) = self.load().soft_dtw, problem
        return Prepared(lambda: f(x, y, gamma, n_jobs=self.n_jobs), Answer)

    def soft_value_and_grad(self, problem):
        f, (x, y, gamma, _) = self.load().soft_dtw_value_and_grad, problem
        return Prepared(lambda: f(x, y, gamma, n_jobs=self.n_jobs), lambda result: Answer(result[0], result[1]))

    def divergence_value_and_grad(self, problem):
        f, (x, y, gamma, _) = self.load().soft_dtw_divergence_value_and_grad, problem
        return Prepared(lambda: f(x, y, gamma, n_jobs=self.n_jobs), lambda result: Answer(result[0], result[1]))

    def loss(self, problem):
        run, _ = self.soft_value_and_grad(problem)
        return Prepared(run, lambda result: Answer(result[0].sum(), result[1]))

    def soft_matrix(self, problem):
        f, x, gamma = self.load().cdist_soft_dtw, problem.x, problem.gamma
        return Prepared(lambda: f(x, gamma=gamma, n_jobs=self.n_jobs), Answer)

    def soft_barycenter(self, problem):
        f = importlib.import_module("sdtwkit.barycenters").fit_soft_dtw_barycenter
        x, gamma = problem.x, problem.gamma
        return Prepared(
            lambda: f(x, gamma, init="mean", max_iter=ITERATIONS, tol=0, n_jobs=self.n_jobs),
            lambda result: self.objective(result.barycenter, problem),
        )

    def coupled_gru(self, problem, coupling="pre"):
        f = importlib.import_module("sdtwkit.metric_learning").coupled_gru_loss_and_grad
        parameters, same = gru_parameters(problem.x.shape[2]), alternating(len(problem.x))
        return Prepared(
            lambda: f(parameters, problem.x, problem.y, same, coupling=coupling, margin=MARGIN),
            lambda result: Answer(result[0], result[1]["x1"]),
        )

    def plain_gru(self, problem):
        return self.coupled_gru(problem, "none")

    def chain_value_and_grad(self, problem):
        f, theta = self.load().dp.ChainDP(problem.gamma, n_jobs=self.n_jobs).value_and_grad, problem.x
        return Prepared(lambda: f(theta), lambda result: Answer(*result))

    def hard_value(self, problem):
        f, (x, y, _, _) = self.load().dtw, problem
        return Prepared(lambda: f(x, y, n_jobs=self.n_jobs), Answer)

    def hard_matrix(self, problem):
        f, x = self.load().cdist_dtw, problem.x
        return Prepared(lambda: f(x, n_jobs=self.n_jobs), Answer)

    def warp(self, problem):
        f, (x, y, reg, _) = self.load().dec_dtw, problem
        return Prepared(
            lambda: f(x, y, reg, n_values=CANDIDATES), lambda result: Answer(warp_objective(problem, result.values))
        )

    warp_early = warp

    def warp_vjp(self, problem):
        warp, cotangent = self.load().dec_dtw(*problem[:3], n_values=CANDIDATES), np.ones(len(problem.y))
        return Prepared(lambda: warp.vjp(cotangent), lambda result: Answer(result.reg))


class SoftDTWPackage(Peer):
    """Mensch and Blondel's Cython package; the gradient is pulled back to x by its own Jacobian product."""

    name, distribution, module = "soft-dtw", "soft-dtw", "sdtw.distance"

    def soft_value(self, problem):
        distance, soft_dtw, (x, y, gamma, _) = *self._classes(), problem
        return Prepared(lambda: soft_dtw(distance(x, y), gamma=gamma).compute(), Answer)

    def soft_value_and_grad(self, problem):
        distance, soft_dtw, (x, y, gamma, _) = *self._classes(), problem

        def run():
            cost = distance(x, y)
            dtw = soft_dtw(cost, gamma=gamma)
            return dtw.compute(), cost.jacobian_product(dtw.grad())

        return Prepared(run, lambda result: Answer(*result))

    def soft_barycenter(self, problem):
        f, x = importlib.import_module("sdtw.barycenter").sdtw_barycenter, problem.x[:, :, None]
        start, shares = x.mean(axis=0), np.full(len(x), 1 / len(x))
        return Prepared(
            lambda: f(x, start, problem.gamma, shares, tol=0, max_iter=ITERATIONS),
            lambda barycenter: self.objective(barycenter, problem),
        )

    def _classes(self):
        return self.load().SquaredEuclidean, importlib.import_module("sdtw").SoftDTW


class SoftDTWDivergences(Peer):
    """Its cost is half the squared distance: series are scaled by sqrt(2), and gradients back."""

    name, distribution, module = "sdtw_div", "sdtw_div", "sdtw_div.numba_ops"

    def soft_value(self, problem):
        f, x, y = self.load().sdtw, problem.x * np.sqrt(2), problem.y * np.sqrt(2)
        return Prepared(lambda: f(x, y, problem.gamma), Answer)

    def soft_value_and_grad(self, problem):
        f, x, y = self.load().sdtw_value_and_grad, problem.x * np.sqrt(2), problem.y * np.sqrt(2)
        return Prepared(lambda: f(x, y, problem.gamma), lambda r: Answer(r[0], r[1] * np.sqrt(2)))

    def divergence_value_and_grad(self, problem):
        """To x alone, while sdtwkit returns both gradients; our default cost is theirs."""
        f, (x, y, gamma, _) = self.load().sdtw_div_value_and_grad, problem
        return Prepared(lambda: f(x, y, gamma), lambda result: Answer(*result))


class TorchPeer(Peer):
    """Losses of torch tensors: forward and backward to x alone."""

    note = "Torch losses go backward to x alone; sdtwkit returns both gradients."

    def loss_function(self, gamma):
        raise NotImplementedError

    def scale(self, problem):
        """What turns the library's reduction into the sum over the batch."""
        return 1

    def loss(self, problem):
        import torch

        torch.set_num_threads(1)
        x, y = torch.tensor(problem.x, requires_grad=True), torch.tensor(problem.y)
        f, scale = self.loss_function(problem.gamma), self.scale(problem)

        def run():
            value = f(x, y).sum()
            return value, torch.autograd.grad(value, x)[0]

        return Prepared(run, lambda result: Answer(*(scale * part.detach().numpy() for part in result)))


class PySDTW(TorchPeer):
    name = distribution = module = "pysdtw"

    def loss_function(self, gamma):
        return self.load().SoftDTW(gamma=gamma, use_cuda=False)


class Maghoumi(TorchPeer):
    """pytorch-softdtw-cuda: a single file, soft_dtw_cuda.py, that its users copy; its CPU path."""

    name, distribution, module = "Maghoumi", "pytorch-softdtw-cuda", "soft_dtw_cuda"

    def loss_function(self, gamma):
        return self.load().SoftDTW(use_cuda=False, gamma=gamma)


class DDTW(TorchPeer):
    name, distribution, module = "ddtw", "ddtw", "ddtw.ddtw_variants"

    def loss_function(self, gamma):
        return self.load().SDTW(gamma=gamma, normalization="none", backend="cpu_numba")

    def scale(self, problem):
        return len(problem.x)  # it returns the mean


class Torch(Peer):
    """As it is written in torch: loops over the steps of the coupled network and of a chain, and torch.nn.GRU."""

    name = distribution = module = "torch"

    def coupled_gru(self, problem):
        torch = self.load()
        p = {name: torch.tensor(a, requires_grad=True) for name, a in gru_parameters(problem.x.shape[2]).items()}
        x = torch.tensor(np.stack([problem.x, problem.y]), requires_grad=True)

        def last_states():
            inputs, gates = x @ p["W"].T + p["bi"], x @ p["Wc"].T + p["bc"]
            h = torch.zeros(*x.shape[:2], len(p["bc"]))
            for t in range(x.shape[2]):
                other = h.flip(0)
                c = torch.sigmoid(gates[:, :, t] + h @ p["Uc"].T + other @ p["Vc"].T)
                h = h + 0.5 * c * (other - h)
                (ri, zi, ni), (rh, zh, nh) = inputs[:, :, t].chunk(3, -1), (h @ p["U"].T + p["bh"]).chunk(3, -1)
                z = torch.sigmoid(zi + zh)
                h = z * h + (1 - z) * torch.tanh(ni + torch.sigmoid(ri + rh) * nh)
            return h

        return self.prepared(last_states, x, p.values())

    def plain_gru(self, problem):
        torch = self.load()
        p = gru_parameters(problem.x.shape[2])
        gru = torch.nn.GRU(problem.x.shape[2], len(p["bc"]), batch_first=True)
        with torch.no_grad():
            for name, parameter in zip(("W", "U", "bi", "bh"), gru.parameters(), strict=True):
                parameter.copy_(torch.tensor(p[name]))
        x = torch.tensor(np.concatenate([problem.x, problem.y]), requires_grad=True)
        return self.prepared(lambda: gru(x)[1][0].reshape(2, len(problem.x), -1), x, list(gru.parameters()))

    def chain_value_and_grad(self, problem):
        torch = self.load()
        torch.set_num_threads(1)
        theta = torch.tensor(problem.x, requires_grad=True)

        def run():
            v = torch.zeros(theta.shape[0], theta.shape[2], dtype=theta.dtype)
            for step in theta.unbind(1):
                v = torch.logsumexp(step + v[:, None], dim=-1)
            value = torch.logsumexp(v, dim=-1)
            return value.detach(), torch.autograd.grad(value.sum(), theta)[0]

        return Prepared(run, lambda result: Answer(*(part.numpy() for part in result)))

    def prepared(self, last_states, x, parameters):
        """The contrastive loss and its gradients by x and the parameters."""
        torch = self.load()
        torch.set_num_threads(1)
        n = x.numel() // x.shape[-1] // x.shape[-2] // 2
        same = torch.tensor(alternating(n), dtype=x.dtype)

        def run():
            for leaf in (x, *parameters):
                leaf.grad = None
            e = torch.sub(*last_states())
            square = (e * e).sum(1)
            short = torch.clamp(MARGIN - torch.sqrt(square + 1e-12), min=0)
            loss = 0.5 * (same * square + (1 - same) * short**2).mean()
            loss.backward()
            return loss

        return Prepared(run, lambda loss: Answer(loss.item(), x.grad.reshape(2, n, *x.shape[-2:])[0].numpy()))


class TorchStruct(Peer):
    """Its LinearChain multiplies matrices of a semiring in a tree."""

    name, distribution, module = "torch-struct", "torch-struct", "torch_struct"

    def chain_value_and_grad(self, problem):
        import torch

        torch.set_num_threads(1)
        chain, theta = self.load().LinearChain(), torch.tensor(problem.x, requires_grad=True)

        def run():
            value = chain.sum(theta)
            return value.detach(), torch.autograd.grad(value.sum(), theta)[0]

        return Prepared(run, lambda result: Answer(*(part.numpy() for part in result)))


class TSLearn(TorchPeer):
    name, distribution, module = "tslearn", "tslearn", "tslearn.metrics"
    skips_diagonal = ("hard_matrix",)

    def loss_function(self, gamma):
        return self.load().SoftDTWLossPyTorch(gamma=gamma)

    def loss(self, problem):
        return super().loss(problem) if importlib.util.find_spec("torch") else None

    def soft_value(self, problem):
        f, (x, y, gamma, _) = self.load().soft_dtw, problem
        return Prepared(lambda: f(x, y, gamma=gamma), Answer)

    def soft_matrix(self, problem):
        f, x, gamma = self.load().cdist_soft_dtw, problem.x[:, :, None], problem.gamma
        return Prepared(lambda: f(x, gamma=gamma), Answer)

    def soft_barycenter(self, problem):
        f, x = importlib.import_module("tslearn.barycenters").softdtw_barycenter, problem.x[:, :, None]
        start, shares = x.mean(axis=0), np.full(len(x), 1 / len(x))
        return Prepared(
            lambda: f(x, problem.gamma, shares, tol=0, max_iter=ITERATIONS, init=start),
            lambda barycenter: self.objective(barycenter, problem),
        )

    def hard_value(self, problem):
        f, (x, y, _, _) = self.load().dtw, problem
        return Prepared(lambda: f(x, y), lambda result: Answer(result**2))

    def hard_matrix(self, problem):
        f, x = self.load().cdist_dtw, problem.x[:, :, None]
        return Prepared(lambda: f(x), lambda result: Answer(result**2))


class Aeon(Peer):
    name, distribution, module = "aeon", "aeon", "aeon.distances"
    unsigned = True
    skips_diagonal = ("soft_matrix", "hard_matrix")
    note = "aeon returns |soft-DTW|, and 0 on the diagonal of a matrix: compared in absolute value, off the diagonal."

    def soft_value(self, problem):
        f, x, y = self.load().soft_dtw_distance, *self._channels_first(problem)
        return Prepared(lambda: f(x, y, gamma=problem.gamma), Answer)

    def soft_matrix(self, problem):
        f, x = self.load().soft_dtw_pairwise_distance, problem.x[:, None, :]
        return Prepared(lambda: f(x, gamma=problem.gamma), lambda result: Answer(without_diagonal(result)))

    def hard_value(self, problem):
        f, x, y = self.load().dtw_distance, *self._channels_first(problem)
        return Prepared(lambda: f(x, y), Answer)

    def hard_matrix(self, problem):
        f, x = self.load().dtw_pairwise_distance, problem.x[:, None, :]
        return Prepared(lambda: f(x), Answer)

    def _channels_first(self, problem):
        return (np.ascontiguousarray(series.T) for series in (problem.x, problem.y))


class DTAIDistance(Peer):
    """Its C code, through the calls that its documentation recommends for speed."""

    name, distribution, module = "dtaidistance", "dtaidistance", "dtaidistance.dtw"
    skips_diagonal = ("hard_matrix",)

    def hard_value(self, problem):
        f, x, y = self.load().distance_fast, problem.x.ravel(), problem.y.ravel()
        return Prepared(lambda: f(x, y), lambda result: Answer(result**2))

    def hard_matrix(self, problem):
        f, x = self.load().distance_matrix_fast, problem.x
        return Prepared(lambda: f(x, parallel=False), lambda result: Answer(result**2))


def alternating(n):
    """(n,) ones and zeros: pairs that belong together and pairs that do not."""
    return np.arange(n) % 2


def without_diagonal(matrix):
    """(B, B) -> a copy with NaN on the diagonal."""
    matrix = matrix.copy()
    np.fill_diagonal(matrix, np.nan)
    return matrix


OURS = Ours()


class GDTW(Peer):
    """Posed for the same minimiser: no cumulative term, evenly sampled signals that its own scaling leaves alone."""

    name, distribution, module = "gdtw", "gdtw", "gdtw"
    note = "gdtw's warps and ours are scored by one objective, ours, with 100 candidates a row in both."

    def warp(self, problem):
        return self._solver(problem, epsilon_abs=1e-10, epsilon_rel=1e-8)

    def warp_early(self, problem):
        return self._solver(problem)

    def _solver(self, problem, **stop):
        n, solver = len(problem.x), self.load().GDTW
        given = {"x": problem.x[:, 0], "y": problem.y[:, 0], "t": np.linspace(0, 1, n), "M": CANDIDATES}
        given |= {"lambda_cum": 0.0, "lambda_inst": problem.gamma, **stop}
        return Prepared(
            lambda: solver().set_params(given).run(), lambda result: Answer(warp_objective(problem, result.tau))
        )


PEERS = [
    OURS,
    SoftDTWPackage(),
    SoftDTWDivergences(),
    TSLearn(),
    Aeon(),
    DTAIDistance(),
    PySDTW(),
    Maghoumi(),
    DDTW(),
    GDTW(),
    Torch(),
    TorchStruct(),
]


def installed_peers():
    """Ours and every other library of the registry that this interpreter finds."""
    return [peer for peer in PEERS if peer.installed()]


def peer_named(name):
    return next(peer for peer in PEERS if peer.name == name)
