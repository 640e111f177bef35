"""asv: AlignmentDP on given costs: what a framework adapter or a user's own cost runs."""

import numpy as np

from sdtwkit.dp import AlignmentDP


class GivenCosts:
    """Eight problems of n x n costs."""

    params = ([50, 500],)
    param_names = ("n",)

    def setup(self, n):
        self.dp, self.C = AlignmentDP(), np.random.default_rng(0).random((8, n, n))

    def time_value(self, n):
        self.dp.value(self.C)

    def time_value_and_grad(self, n):
        self.dp.value_and_grad(self.C)

    def time_hvp(self, n):
        self.dp.hvp(self.C, self.C)
