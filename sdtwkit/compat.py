"""Losses with the call shapes of other packages, for code that moves here: change the import, keep the rest.

    from sdtwkit.compat import MaghoumiSoftDTW as SoftDTW  # soft_dtw_cuda.py, "pytorch-softdtw-cuda"
    from sdtwkit.compat import PySDTW as SoftDTW           # pysdtw
    from sdtwkit.compat import SoftDTWLossPyTorch          # tslearn.metrics

The cost is sqeuclidean. What differs between packages, and is hidden by these classes:

| | Maghoumi | pysdtw | tslearn | ddtw | sdtwkit.torch |
|---|---|---|---|---|---|
| series | (B, n, d) | (B, n, d) | (B, n, d) | (B, n, d) | (B, n, d) or (n, d) |
| result | (B,) | (B,) | (B,) | mean over the batch of value / n | mean; `reduction`, `normalize` |
| first argument | use_cuda | gamma | gamma | cost_function | gamma |
| lengths | none | PackedSequence | none | list_N, list_M | `x_lengths`, `y_lengths` |
| order of steps | no weights | no weights | no weights | (1,0), (0,1), (1,1) | (0,1), (1,1), (1,0) |
| band for n != m | \\|i - j\\| <= r | follows the diagonal | widened by \\|n - m\\| | none | widened by \\|n - m\\| |
| series and itself | normalize=True | none | normalize=True | none | `divergence=True` |
| CTC: log_probs | | | | (B, T, K) | (B, T, K); torch.nn.CTCLoss: (T, B, K) |

So ddtw's ``global_step_weights=[a, b, c]`` are ``step_weights=(b, c, a)`` here. Second derivatives are right, which
those of the originals are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ._options import itakura_mask
from .torch import SoftDTWLoss, torch

__all__ = ["MaghoumiSoftDTW", "PySDTW", "SoftDTWLossPyTorch"]


class _Shim(torch.nn.Module):
    """What the three have in common: a function of distances, a band, and the divergence."""

    def _loss(self, x, y, normalize=False, window=None, **lengths):
        """(B,) values. Distances of the user's are differentiated by autograd."""
        if self.dist_func is None:
            loss = SoftDTWLoss(self.gamma, divergence=normalize, cost="sqeuclidean", reduction="none", window=window)
            return loss(x, y, **lengths)
        loss = SoftDTWLoss(self.gamma, cost="precomputed", reduction="none", window=window)
        between = loss(self.dist_func(x, y), **lengths)
        if not normalize:
            return between
        return between - 0.5 * (loss(self.dist_func(x, x)) + loss(self.dist_func(y, y)))


class MaghoumiSoftDTW(_Shim):
    """``SoftDTW`` of soft_dtw_cuda.py (pytorch-softdtw-cuda).

    Parameters
    ----------
    use_cuda : bool
        Accepted; the device of the tensors decides.
    gamma : float > 0, default 1.0
    normalize : bool
        Whether to give the divergence, value(x, y) - (value(x, x) + value(y, y)) / 2; also for unequal lengths.
    bandwidth : number, optional
        Cells with \\|i - j\\| <= bandwidth are admissible; None and 0 admit all.
    dist_func : callable, optional
        From (B, n, d) and (B, m, d) to costs (B, n, m), in operations of torch.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.compat import MaghoumiSoftDTW as SoftDTW
    >>> SoftDTW(use_cuda=False, gamma=0.1)(torch.zeros(2, 4, 3), torch.ones(2, 4, 3)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        use_cuda: bool = False,
        gamma: float = 1.0,
        normalize: bool = False,
        bandwidth: float | None = None,
        dist_func: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.use_cuda, self.gamma, self.normalize = use_cuda, gamma, normalize
        self.bandwidth, self.dist_func = bandwidth, dist_func

    def forward(self, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        window = None
        if self.bandwidth:
            i, j = np.ogrid[: X.shape[1], : Y.shape[1]]
            window = torch.from_numpy(np.abs(i - j) <= self.bandwidth)
        return self._loss(X, Y, self.normalize, window)


class PySDTW(_Shim):
    """``SoftDTW`` of pysdtw.

    Parameters
    ----------
    gamma : float > 0, default 1.0
    dist_func : callable, optional
        From (B, n, d) and (B, m, d) to costs (B, n, m), in operations of torch.
    use_cuda : bool
        Accepted; the device of the tensors decides.
    bandwidth : number, optional
        Distance from the diagonal of the (n, m) rectangle, in steps of the longer series; None and 0 admit all.

    Notes
    -----
    Called with tensors (B, n, d), or with `torch.nn.utils.rnn.PackedSequence` for ragged batches.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.compat import PySDTW as SoftDTW
    >>> SoftDTW(gamma=0.1, use_cuda=False)(torch.zeros(2, 4, 3), torch.ones(2, 4, 3)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        dist_func: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        use_cuda: bool = True,
        bandwidth: float | None = None,
    ) -> None:
        super().__init__()
        self.use_cuda, self.gamma = use_cuda, gamma
        self.bandwidth, self.dist_func = bandwidth, dist_func

    def forward(
        self,
        X: torch.Tensor | torch.nn.utils.rnn.PackedSequence,
        Y: torch.Tensor | torch.nn.utils.rnn.PackedSequence,
    ) -> torch.Tensor:
        (X, x_lengths), (Y, y_lengths) = _unpacked(X), _unpacked(Y)
        window = None
        if self.bandwidth:
            window = np.zeros((len(X), X.shape[1], Y.shape[1]), bool)
            for mask, n, m in zip(window, x_lengths.tolist(), y_lengths.tolist(), strict=True):
                i, j = np.ogrid[1 : n + 1, 1 : m + 1]
                mask[:n, :m] = np.abs(i * max(m / n, 1) - j * max(n / m, 1)) <= self.bandwidth
            window = torch.from_numpy(window)
        return self._loss(X, Y, window=window, x_lengths=x_lengths, y_lengths=y_lengths)


def _unpacked(series):
    """-> (B, n, d), lengths (B,)."""
    if isinstance(series, torch.nn.utils.rnn.PackedSequence):
        return torch.nn.utils.rnn.pad_packed_sequence(series, batch_first=True)
    return series, torch.full((series.shape[0],), series.shape[1])


class SoftDTWLossPyTorch(_Shim):
    """``SoftDTWLossPyTorch`` of tslearn.metrics.

    Parameters
    ----------
    gamma : float > 0, default 1.0
    normalize : bool
        Whether to give the divergence.
    dist_func : callable, optional
        From (B, n, d) and (B, m, d) to costs (B, n, m), in operations of torch.
    global_constraint : {None, "sakoe_chiba", "itakura"}
        None: what the parameter below says that is given.
    sakoe_chiba_radius : int, optional
        1 where it is needed and not given.
    itakura_max_slope : float, optional
        2.0 where it is needed and not given.

    Examples
    --------
    >>> import torch
    >>> from sdtwkit.compat import SoftDTWLossPyTorch
    >>> SoftDTWLossPyTorch(gamma=0.1)(torch.zeros(2, 4, 3), torch.ones(2, 4, 3)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        normalize: bool = False,
        dist_func: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        global_constraint: Literal["sakoe_chiba", "itakura"] | None = None,
        sakoe_chiba_radius: int | None = None,
        itakura_max_slope: float | None = None,
    ) -> None:
        super().__init__()
        self.gamma, self.normalize, self.dist_func = gamma, normalize, dist_func
        if global_constraint not in (None, "", "sakoe_chiba", "itakura"):
            raise ValueError(f"global_constraint is {global_constraint!r}; expected None, 'sakoe_chiba' or 'itakura'")
        if not global_constraint and None not in (sakoe_chiba_radius, itakura_max_slope):
            raise ValueError("sakoe_chiba_radius and itakura_max_slope are both given; say which by global_constraint")
        self.global_constraint = global_constraint
        self.sakoe_chiba_radius, self.itakura_max_slope = sakoe_chiba_radius, itakura_max_slope

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._loss(x, y, self.normalize, self._window(x.shape[1], y.shape[1]))

    def _window(self, n, m):
        radius, slope = self.sakoe_chiba_radius, self.itakura_max_slope
        named = self.global_constraint
        if named == "sakoe_chiba" or (not named and radius is not None):
            return 1 if radius is None else radius
        if named == "itakura" or (not named and slope is not None):
            return torch.from_numpy(itakura_mask(n, m, 2.0 if slope is None else slope))
        return None
