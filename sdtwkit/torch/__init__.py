"""Losses and alignments as PyTorch modules, with right first and second derivatives.

Each function of the library that is needed becomes a registered operator, so that `torch.compile` sees it as one node
of known shape; its derivative is another operator. A loss keeps the gradient that came with its value: going backward
multiplies it. Tensors are handed to the kernels without a copy: those on the CPU as NumPy arrays, with the threads of
`torch.get_num_threads()`; those on a CUDA device as CuPy arrays, on their device and torch's current stream there.
"""

try:
    import torch as torch  # under its own name, for `compat`
except ImportError as error:
    raise ImportError("sdtwkit.torch needs PyTorch: python -m pip install 'sdtwkit[torch]'") from error

from ._chain import ChainMarginals
from ._ctc import CTCLoss
from ._losses import SoftAlignment, SoftDTWLoss
from ._warp import DecDTW

__all__ = ["CTCLoss", "ChainMarginals", "DecDTW", "SoftAlignment", "SoftDTWLoss"]
