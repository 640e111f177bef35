"""asv: smoothed Viterbi on batches of chains, and on long ones whose potentials are never expanded."""

import numpy as np

from sdtwkit.dp import ChainDP

from .problems import chains


class Batch:
    """64 chains of 200 steps and 20 states, potentials in full."""

    params = (["entropy", "l2", None], ["float32", "float64"])
    param_names = ("regularizer", "dtype")

    def setup(self, regularizer, dtype):
        self.dp, self.theta = ChainDP(regularizer=regularizer), chains(dtype=dtype).x

    def time_value(self, regularizer, dtype):
        self.dp.value(self.theta)

    def time_value_and_grad(self, regularizer, dtype):
        self.dp.value_and_grad(self.theta)

    def time_hvp(self, regularizer, dtype):
        self.dp.hvp(self.theta, self.theta)


class LongPair:
    """One chain, as unary scores and transitions."""

    params = ([(100_000, 50), (10_000, 500)], ["entropy", "l2"], [1, -1])
    param_names = ("T, S", "regularizer", "n_jobs")

    def setup(self, shape, regularizer, n_jobs):
        rng, (T, S) = np.random.default_rng(0), shape
        self.dp = ChainDP(regularizer=regularizer, n_jobs=n_jobs)
        self.pair = rng.normal(size=(T, S)), rng.normal(size=(S, S))

    def time_value_and_grad(self, shape, regularizer, n_jobs):
        self.dp.value_and_grad(self.pair)

    def peakmem_value_and_grad(self, shape, regularizer, n_jobs):
        self.dp.value_and_grad(self.pair)
