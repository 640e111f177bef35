"""asv: batches of pairs as a training loop sees them: value and both gradients, d=12."""

import sdtwkit

from .problems import feature_batch


class Loss:
    """soft_dtw_value_and_grad on (B, n, 12) and (B, m, 12)."""

    params = ([(32, 500, 50), (32, 500, 500), (1, 2000, 2000)], ["float32", "float64"], [1, -1])
    param_names = ("count, n, m", "dtype", "n_jobs")

    def setup(self, shape, dtype, n_jobs):
        self.problem = feature_batch(*shape, dtype=dtype)

    def time_value(self, shape, dtype, n_jobs):
        sdtwkit.soft_dtw(self.problem.x, self.problem.y, self.problem.gamma, n_jobs=n_jobs)

    def time_value_and_grad(self, shape, dtype, n_jobs):
        sdtwkit.soft_dtw_value_and_grad(self.problem.x, self.problem.y, self.problem.gamma, n_jobs=n_jobs)

    def peakmem_value_and_grad(self, shape, dtype, n_jobs):
        sdtwkit.soft_dtw_value_and_grad(self.problem.x, self.problem.y, self.problem.gamma, n_jobs=n_jobs)


class WideLoss:
    """Many channels, where the local cost outweighs the recursion."""

    params = ([1, 12, 128], ["float32", "float64"])
    param_names = ("d", "dtype")

    def setup(self, d, dtype):
        self.problem = feature_batch(32, 200, 200, d, dtype)

    def time_value_and_grad(self, d, dtype):
        sdtwkit.soft_dtw_value_and_grad(self.problem.x, self.problem.y, self.problem.gamma)
