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
from benchmarks.peers import DDTW, Maghoumi, PySDTW, TorchPeer, TSLearn
from benchmarks.problems import feature_batch
from benchmarks.timing import best_times, relative_difference
from sdtwkit.torch import CTCLoss

CTC_PROBLEMS = ((32, 500, 50, 50), (32, 200, 30, 20), (16, 1500, 100, 200))  # samples, frames, classes, labels
SOFT_PROBLEMS = ((32, 500, 50), (32, 500, 500), (1, 2000, 2000))  # pairs, n, m; d = 12


class Adapter(TorchPeer):
    name = distribution = "sdtwkit"
    module = "sdtwkit.torch"

    def loss_function(self, gamma):
        return self.load().SoftDTWLoss(gamma, reduction="none")


LOSSES = [Adapter(), PySDTW(), DDTW(), Maghoumi(), TSLearn()]


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


def soft_problem(pairs, n, m):
    """-> {name: step}, {name: its results as value and gradient}: forward, and backward to x."""
    problem = feature_batch(pairs, n, m)
    prepared = {peer.name: peer.loss(problem) for peer in LOSSES if peer.installed()}
    results = {name: lambda *result, answer=one.answer: answer(result) for name, one in prepared.items()}
    return {name: one.run for name, one in prepared.items()}, results


def measure(title, steps, conversions, tolerance):
    """Compare the results of all steps, time them, print one line."""
    found = {name: conversions.get(name, tuple_of)(*step()) for name, step in steps.items()}
    (ours, expected), *others = found.items()
    for peer, theirs in others:
        worst = max(relative_difference(a, b) for a, b in zip(theirs, expected, strict=True))
        assert worst < tolerance, f"{title}: {ours} and {peer} differ by {worst:.1e}"
    times = {name: timing.seconds * 1e3 for name, timing in best_times(steps, repeat=5, least_seconds=1.0).items()}
    ratios = "".join(f"  {peer} {times[peer]:.1f} ms ({times[peer] / times[ours]:.1f}x)" for peer, _ in others)
    print(f"{title:<44} {ours} {times[ours]:.3f} ms{ratios}", flush=True)


def tuple_of(*results):
    return results


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
        measure(f"soft-DTW {size}, d=12, float32", *soft_problem(*size), 1e-2)


if __name__ == "__main__":
    main()
