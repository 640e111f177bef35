"""asv: continuous warps of walks and what their gradients take."""

import numpy as np

import sdtwkit

from .problems import warp_pair


class Warps:
    """n samples of d channels, by the default search."""

    params = ([250, 1000, 4000], [1, 64])
    param_names = ("n", "d")

    def setup(self, n, d):
        self.x, self.y, self.reg, _ = warp_pair(n, d)
        self.warp = sdtwkit.dec_dtw(self.x, self.y, self.reg)
        self.cotangent = np.ones(n)

    def time_forward(self, n, d):
        sdtwkit.dec_dtw(self.x, self.y, self.reg)

    def time_backward(self, n, d):
        self.warp.vjp(self.cotangent)

    def peakmem_backward(self, n, d):
        self.warp.vjp(self.cotangent)
