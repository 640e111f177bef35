"""asv: all pairs of a collection, symmetric: 40 walks of length 275, and the same cut to ragged lengths."""

import sdtwkit

from .problems import TRACE_LENGTH, walk_collection


class Matrix:
    """Pairwise soft and hard matrices."""

    params = (["float32", "float64"], [1, -1])
    param_names = ("dtype", "n_jobs")

    def setup(self, dtype, n_jobs):
        self.x = walk_collection().x.astype(dtype)
        self.ragged = [series[: TRACE_LENGTH - 3 * k] for k, series in enumerate(self.x)]

    def time_soft(self, dtype, n_jobs):
        sdtwkit.cdist_soft_dtw(self.x, n_jobs=n_jobs)

    def time_soft_ragged(self, dtype, n_jobs):
        sdtwkit.cdist_soft_dtw(self.ragged, n_jobs=n_jobs)

    def time_divergence(self, dtype, n_jobs):
        sdtwkit.cdist_soft_dtw_divergence(self.x, n_jobs=n_jobs)

    def time_hard(self, dtype, n_jobs):
        sdtwkit.cdist_dtw(self.x, n_jobs=n_jobs)

    def time_hard_window(self, dtype, n_jobs):
        sdtwkit.cdist_dtw(self.x, window=TRACE_LENGTH // 10, n_jobs=n_jobs)

    def peakmem_soft(self, dtype, n_jobs):
        sdtwkit.cdist_soft_dtw(self.x, n_jobs=n_jobs)
