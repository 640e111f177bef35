"""The packages that sdtwkit is measured against: one class each, with the layout conversions outside the timed calls.

A peer offers any of the methods below; each takes NumPy arrays in our layout and returns a function without arguments
that does the work and returns the value(s) in our convention (squared Euclidean costs, sums, no root). A peer that is
not installed is left out; adding one is adding a class to PEERS.

    soft(x, y)                 soft-DTW of a pair (n, d), (m, d), gamma 1
    soft_grad(x, y)            value of the same; the gradient to x (and y where it can) is computed
    hard(x, y)                 DTW of a pair
    torch_loss(X, Y)           forward and backward of the mean-free batch loss (B, n, d), (B, m, d) in float32
    soft_matrix(X), hard_matrix(X)   all pairs of (B, n) univariate series
"""

import importlib
import importlib.metadata

import numpy as np


class Tslearn:
    package = "tslearn"

    def __init__(self):
        self.metrics = importlib.import_module("tslearn.metrics")

    def soft(self, x, y):
        return lambda: self.metrics.soft_dtw(x, y, gamma=1.0)

    def hard(self, x, y):
        return lambda: self.metrics.dtw(x, y) ** 2

    def soft_matrix(self, X):
        X = X[:, :, None]
        return lambda: self.metrics.cdist_soft_dtw(X, gamma=1.0)

    def hard_matrix(self, X):
        X = X[:, :, None]
        return lambda: self.metrics.cdist_dtw(X) ** 2

    def torch_loss(self, X, Y):
        torch = importlib.import_module("torch")
        loss = self.metrics.SoftDTWLossPyTorch(gamma=1.0)
        return backward(torch, loss, X, Y)


class Aeon:
    package = "aeon"

    def __init__(self):
        self.distances = importlib.import_module("aeon.distances")

    def soft(self, x, y):
        x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
        return lambda: self.distances.soft_dtw_distance(x, y, gamma=1.0)

    def hard(self, x, y):
        x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
        return lambda: self.distances.dtw_distance(x, y)

    def soft_matrix(self, X):
        X = X[:, None, :]
        return lambda: self.distances.soft_dtw_pairwise_distance(X, gamma=1.0)

    def hard_matrix(self, X):
        X = X[:, None, :]
        return lambda: self.distances.dtw_pairwise_distance(X)


class Dtaidistance:
    package = "dtaidistance"

    def __init__(self):
        self.dtw = importlib.import_module("dtaidistance.dtw")

    def hard(self, x, y):
        x, y = x[:, 0].copy(), y[:, 0].copy()
        return lambda: self.dtw.distance_fast(x, y) ** 2

    def hard_matrix(self, X):
        return lambda: self.dtw.distance_matrix_fast(X, parallel=False) ** 2


class SoftDtw:
    package = "soft-dtw"

    def __init__(self):
        self.sdtw = importlib.import_module("sdtw")
        self.cost = importlib.import_module("sdtw.distance").SquaredEuclidean

    def soft(self, x, y):
        return lambda: self.sdtw.SoftDTW(self.cost(x, y), gamma=1.0).compute()

    def soft_grad(self, x, y):
        def run():
            cost = self.cost(x, y)
            program = self.sdtw.SoftDTW(cost, gamma=1.0)
            value = program.compute()
            cost.jacobian_product(program.grad())
            return value

        return run


class SdtwDiv:
    package = "sdtw-div"

    def __init__(self):
        self.ops = importlib.import_module("sdtw_div.numba_ops")

    def soft(self, x, y):  # half squared Euclidean inside: the same problem at sqrt(2) times the series
        x, y = x * np.sqrt(2), y * np.sqrt(2)
        return lambda: self.ops.sdtw(x, y, gamma=1.0)

    def soft_grad(self, x, y):
        x, y = x * np.sqrt(2), y * np.sqrt(2)
        return lambda: self.ops.sdtw_value_and_grad(x, y, gamma=1.0)[0]


class Pysdtw:
    package = "pysdtw"

    def __init__(self):
        self.pysdtw = importlib.import_module("pysdtw")

    def torch_loss(self, X, Y):
        torch = importlib.import_module("torch")
        return backward(torch, self.pysdtw.SoftDTW(gamma=1.0, use_cuda=False), X, Y)


class Ddtw:
    package = "ddtw"

    def __init__(self):
        self.ddtw = importlib.import_module("ddtw")

    def torch_loss(self, X, Y):
        torch = importlib.import_module("torch")
        program = self.ddtw.SDTW(gamma=1.0, normalization="none")
        return backward(torch, lambda x, y: len(X) * program(x, y), X, Y)  # it returns the mean over the batch


def backward(torch, loss, X, Y):
    """Forward and backward of a torch loss to x alone, which favours the peer: we compute both gradients."""

    def run():
        x = torch.tensor(X, requires_grad=True)
        values = loss(x, torch.tensor(Y))
        values.sum().backward()
        return values.detach().numpy()

    return run


PEERS = [Tslearn, Aeon, Dtaidistance, SoftDtw, SdtwDiv, Pysdtw, Ddtw]


def installed():
    """{label: peer} of those that are here."""
    found = {}
    for peer in PEERS:
        try:
            version = importlib.metadata.version(peer.package)
            found[f"{peer.package} {version}"] = peer()
        except (importlib.metadata.PackageNotFoundError, ImportError):
            continue
    return found
