"""Training losses beside torch and its extensions: CTC, and soft-DTW with the adapter's overhead. Needs torch.

    python -m benchmarks.adapters

Forward and backward on one thread each, best of several rounds in turn; results are compared before they are timed.
"""

import os

from benchmarks.threads import environment

os.environ.update(environment(1))

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.timing import best_times
from sdtwkit.torch import CTCLoss, SoftDTWLoss

CTC_PROBLEMS = ((32, 500, 50, 50), (32, 200, 30, 20), (16, 1500, 100, 200))  # samples, frames, classes, labels
SOFT_PROBLEMS = ((32, 500, 50), (32, 500, 500), (1, 2000, 2000))  # pairs, n, m; d = 12


def ctc_problem(samples, frames, classes, labels, dtype):
    """-> {name: step}, {peer: its results as ours}: torch's gradient is p minus the posterior, and time comes first."""
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(samples, frames, classes)), dtype=dtype)
    targets = torch.tensor(rng.integers(1, classes, size=(samples, labels)))
    lengths = torch.full((samples,), frames), torch.full((samples,), labels)
    log_probs = logits.log_softmax(-1).detach().requires_grad_()
    turned = log_probs.detach().transpose(0, 1).contiguous().requires_grad_()
    ours = CTCLoss(reduction="sum")

    def sdtwkit_step():
        value = ours(log_probs, targets, *lengths)
        return value.detach(), torch.autograd.grad(value, log_probs)[0]

    def torch_step():
        value = torch.nn.functional.ctc_loss(turned, targets, *lengths, reduction="sum")
        return value.detach(), torch.autograd.grad(value, turned)[0]

    def as_ours(value, gradient):
        return value, (gradient - turned.detach().exp()).transpose(0, 1)

    return {"sdtwkit": sdtwkit_step, "torch": torch_step}, {"torch": as_ours}


def soft_problem(pairs, n, m, dtype):
    """-> {name: step}, {}: the loss and its gradient with respect to x."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.random((pairs, n, 12)), dtype=dtype, requires_grad=True)
    y = torch.tensor(rng.random((pairs, m, 12)), dtype=dtype)
    losses = {"sdtwkit": SoftDTWLoss(reduction="sum")}
    try:
        import pysdtw

        peer = pysdtw.SoftDTW(gamma=1.0, use_cuda=False)
        losses["pysdtw"] = lambda x, y: peer(x, y).sum()
    except ImportError:
        pass

    def step(loss):
        value = loss(x, y)
        return value.detach(), torch.autograd.grad(value, x)[0]

    return {name: lambda loss=loss: step(loss) for name, loss in losses.items()}, {}


def measure(title, steps, conversions, tolerance):
    """Compare the results of all steps, time them, print one line."""
    (name, ours), *peers = [(name, step()) for name, step in steps.items()]
    for peer, theirs in peers:
        for a, b in zip(ours, conversions.get(peer, lambda *results: results)(*theirs), strict=True):
            worst = float((a - b).abs().max() / b.abs().max())
            assert worst < tolerance, f"{title}: {name} and {peer} differ by {worst:.1e}"
    times = {name: timing.seconds * 1e3 for name, timing in best_times(steps, repeat=5, least_seconds=1.0).items()}
    ratios = "".join(f"  {peer} {times[peer]:.2f} ms, ratio {times[peer] / times[name]:.1f}" for peer, _ in peers)
    print(f"{title:<44} {name} {times[name]:.3f} ms{ratios}", flush=True)


def main():
    torch.set_num_threads(1)
    machine = describe()
    print(*(f"{key}: {machine[key]}" for key in ("date", "processor", "cores", "load", "python", "level")), sep=", ")
    print(f"torch {torch.__version__}")
    # In float32 torch sums logarithms, and its gradients of long samples are off by a percent.
    for dtype, tolerance in ((torch.float32, 5e-2), (torch.float64, 1e-9)):
        for size in CTC_PROBLEMS:
            measure(f"CTC {size}, {str(dtype)[6:]}", *ctc_problem(*size, dtype), tolerance)
    for size in SOFT_PROBLEMS:
        measure(f"soft-DTW {size}, d=12, float32", *soft_problem(*size, torch.float32), 1e-2)


if __name__ == "__main__":
    main()
