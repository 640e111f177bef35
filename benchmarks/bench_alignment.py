"""asv benchmarks of the core: values, gradients, matrices, calls, memory."""

import numpy as np

import sdtwkit
from sdtwkit.dp import AlignmentDP


class Pair:
    params = ([100, 500, 2000], [1, 12], ["float64", "float32"], ["entropy", "l2", None])
    param_names = ("n", "d", "dtype", "regularizer")

    def setup(self, n, d, dtype, regularizer):
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(2, n, d)).astype(dtype)

    def time_value(self, n, d, dtype, regularizer):
        sdtwkit.soft_dtw(self.x, self.y, regularizer=regularizer)

    def time_value_and_grad(self, n, d, dtype, regularizer):
        sdtwkit.soft_dtw_value_and_grad(self.x, self.y, regularizer=regularizer)

    def time_window(self, n, d, dtype, regularizer):
        sdtwkit.soft_dtw(self.x, self.y, regularizer=regularizer, window=n // 10)

    def time_path(self, n, d, dtype, regularizer):
        sdtwkit.dtw_path(self.x, self.y)


class Costs:
    params = ([50, 500],)
    param_names = ("n",)

    def setup(self, n):
        self.C = np.random.default_rng(0).random((8, n, n))
        self.dp = AlignmentDP()

    def time_value(self, n):
        self.dp.value(self.C)

    def time_value_and_grad(self, n):
        self.dp.value_and_grad(self.C)

    def time_hvp(self, n):
        self.dp.hvp(self.C, self.C)


class Matrix:
    params = ([1, 2],)
    param_names = ("n_jobs",)

    def setup(self, n_jobs):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(40, 275))
        self.ragged = [rng.normal(size=n) for n in rng.integers(100, 400, 40)]

    def time_soft(self, n_jobs):
        sdtwkit.cdist_soft_dtw(self.X, n_jobs=n_jobs)

    def time_soft_ragged(self, n_jobs):
        sdtwkit.cdist_soft_dtw(self.ragged, n_jobs=n_jobs)

    def time_hard(self, n_jobs):
        sdtwkit.cdist_dtw(self.X, n_jobs=n_jobs)


class Memory:
    def peakmem_gradient_20000(self):
        x, y = np.random.default_rng(0).normal(size=(2, 20000, 1))
        sdtwkit.soft_dtw_value_and_grad(x, y)
