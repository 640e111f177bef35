"""asv: the overhead of one call, checks included: a 20x20 pair is over before the kernels count."""

import sdtwkit

from .problems import univariate_pair


class Call:
    """One short pair through each door."""

    def setup(self):
        self.x, self.y, self.gamma, _ = univariate_pair(20)

    def time_soft(self):
        sdtwkit.soft_dtw(self.x, self.y, self.gamma)

    def time_soft_value_and_grad(self):
        sdtwkit.soft_dtw_value_and_grad(self.x, self.y, self.gamma)

    def time_hard(self):
        sdtwkit.dtw(self.x, self.y)

    def time_matrix(self):
        sdtwkit.cdist_dtw(self.x.T)
