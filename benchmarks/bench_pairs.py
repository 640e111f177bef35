"""asv: one pair of series: values, gradients, paths, windows; and a pair long enough that full tables would show."""

import sdtwkit

from .problems import univariate_pair


class Pair:
    """Smoothed alignments of one pair, d=1."""

    params = ([100, 500, 2000], ["float32", "float64"], ["entropy", "l2", None])
    param_names = ("length", "dtype", "regularizer")

    def setup(self, length, dtype, regularizer):
        self.x, self.y, self.gamma, _ = univariate_pair(length, dtype)

    def time_value(self, length, dtype, regularizer):
        sdtwkit.soft_dtw(self.x, self.y, self.gamma, regularizer=regularizer)

    def time_value_and_grad(self, length, dtype, regularizer):
        sdtwkit.soft_dtw_value_and_grad(self.x, self.y, self.gamma, regularizer=regularizer)

    def time_divergence(self, length, dtype, regularizer):
        sdtwkit.soft_dtw_divergence_value_and_grad(self.x, self.y, self.gamma, regularizer=regularizer)

    def time_window(self, length, dtype, regularizer):
        sdtwkit.soft_dtw(self.x, self.y, self.gamma, regularizer=regularizer, window=length // 10)


class Tables:
    """Results of size n x m or that need the table: expected alignment, path, Hessian product."""

    params = ([500, 2000],)
    param_names = ("length",)

    def setup(self, length):
        self.x, self.y, self.gamma, _ = univariate_pair(length)

    def time_alignment(self, length):
        sdtwkit.soft_dtw_alignment(self.x, self.y, self.gamma)

    def time_path(self, length):
        sdtwkit.dtw_path(self.x, self.y)

    def time_hvp(self, length):
        sdtwkit.soft_dtw_hvp(self.x, self.y, self.x, gamma=self.gamma)


class LongPair:
    """20000x20000 float64: one full table is 3.2 GB."""

    params = ([5000, 20_000], [1, -1])
    param_names = ("length", "n_jobs")
    timeout = 300

    def setup(self, length, n_jobs):
        self.x, self.y, self.gamma, _ = univariate_pair(length)

    def time_value_and_grad(self, length, n_jobs):
        sdtwkit.soft_dtw_value_and_grad(self.x, self.y, self.gamma, n_jobs=n_jobs)

    def peakmem_value_and_grad(self, length, n_jobs):
        sdtwkit.soft_dtw_value_and_grad(self.x, self.y, self.gamma, n_jobs=n_jobs)
