"""asv: loss and gradient of 32 pairs of a coupled GRU, T=100, d=6, H=64, by coupling and dtype."""

import numpy as np

from sdtwkit.metric_learning import coupled_gru_loss_and_grad

from .problems import feature_batch, gru_parameters


class CoupledGRU:
    params = (["none", "pre", "leak", "add"], ["float32", "float64"])
    param_names = ("coupling", "dtype")

    def setup(self, coupling, dtype):
        self.x, self.y, *_ = feature_batch(32, 100, 100, 6, dtype)
        self.parameters = {name: value.astype(dtype) for name, value in gru_parameters(6).items()}
        self.same = np.arange(32) % 2

    def time_loss_and_grad(self, coupling, dtype):
        coupled_gru_loss_and_grad(self.parameters, self.x, self.y, self.same, coupling=coupling)
