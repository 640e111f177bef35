"""asv: barycenters of 26 walks of length 275, and of the same cut to ragged lengths; 20 iterations each."""

import sdtwkit
from sdtwkit.barycenters import fit_soft_dtw_barycenter

from .problems import TRACE_LENGTH, trace_class, walk_collection

ITERATIONS = 20


class Soft:
    """Barycenters under soft-DTW and its divergences."""

    params = ([False, "soft", "sharp", "mean"], [1, -1])
    param_names = ("divergence", "n_jobs")

    def setup(self, divergence, n_jobs):
        self.x = walk_collection(26).x
        self.ragged = [series[: TRACE_LENGTH - 3 * k] for k, series in enumerate(self.x)]
        self.options = {"init": "mean", "divergence": divergence, "n_jobs": n_jobs, "max_iter": ITERATIONS, "tol": 0}

    def time_barycenter(self, divergence, n_jobs):
        fit_soft_dtw_barycenter(self.x, 0.1, **self.options)

    def time_ragged(self, divergence, n_jobs):
        fit_soft_dtw_barycenter(self.ragged, 0.1, **self.options)

    def peakmem_barycenter(self, divergence, n_jobs):
        fit_soft_dtw_barycenter(self.x, 0.1, **self.options)


class Quality:
    """Objective reached on Trace (walks without tslearn), from each kind of start."""

    params = (["medoid", "random", "mean", "dba"], [False, True])
    param_names = ("init", "divergence")
    unit = "cost"

    def track_cost(self, init, divergence):
        problem = trace_class()
        options = {"init": init, "divergence": divergence, "random_state": 0, "n_jobs": 1}
        return fit_soft_dtw_barycenter(problem.x, problem.gamma, **options).cost


class Averaging:
    """DBA, to the end."""

    def setup(self):
        self.x = walk_collection(26).x

    def time_averaging(self):
        sdtwkit.dtw_barycenter_averaging(self.x, init="mean", tol=1e-3)
