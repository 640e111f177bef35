"""The tasks and what is owed on each: one line a task, with its bar and aim.

`kind` says how a task is measured (measure.MEASURES) and what its bar is: "speed" and "overhead" compare wall time with
the fastest peer, at least `bar` times faster; "call", "import" and "memory" are ceilings in seconds and bytes;
"threads" is the speed-up of two threads over one. To add a task, add a line.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from benchmarks.problems import (
    Problem,
    chains,
    feature_batch,
    trace_class,
    trace_collection,
    univariate_pair,
    warp_pair,
)

MB = 1e6
# Bars of kind "speed" are for AVX-512; other instruction levels owe this share of them.
SHARE_OF_BAR = {"avx512": 1.0, "avx2": 0.5, "baseline": 0.0}


class Task(NamedTuple):
    name: str
    title: str
    kind: str
    operation: str  # method of peers.Peer
    problem: Callable[[], Problem] | None
    bar: float | None
    aim: float | None
    published: float | None = None  # seconds of a peer that is not run


PUBLISHED = "DecDTW's released code, published 2026-11"


PAIR_20, PAIR_500, PAIR_2000, PAIR_20000 = (partial(univariate_pair, n) for n in (20, 500, 2000, 20_000))
LOSS_50, LOSS_500 = (partial(feature_batch, 32, 500, m) for m in (50, 500))
GRU = partial(feature_batch, 32, 100, 100, 6)
LOSS_2000 = partial(feature_batch, 1, 2000, 2000)
WARP, WARP_SINES, WARP_64 = (partial(warp_pair, 1000, *more) for more in ((), (1, "sines"), (64,)))

# fmt: off
TASKS = [
    # name, title, kind, operation, problem, bar, aim
    Task("value", "soft value, 1 pair 500x500, d=1", "speed", "soft_value", PAIR_500, 30, 60),
    Task("gradient", "soft value + gradient, same", "speed", "soft_value_and_grad", PAIR_500, 14, 25),
    Task("divergence", "divergence + gradient, same", "speed", "divergence_value_and_grad", PAIR_500, 14, 25),
    Task("loss-50", "loss + gradient, 32x500x50, d=12, float32", "speed", "loss", LOSS_50, 20, 40),
    Task("loss-500", "loss + gradient, 32x500x500, d=12, float32", "speed", "loss", LOSS_500, 20, 40),
    Task("loss-2000", "loss + gradient, 1x2000x2000, d=12, float32", "speed", "loss", LOSS_2000, 20, 40),
    Task("soft-matrix", "pairwise soft matrix, 40 x 275", "speed", "soft_matrix", trace_collection, 35, 60),
    Task("hard-matrix", "pairwise hard matrix, 40 x 275", "speed", "hard_matrix", trace_collection, 15, 30),
    Task("barycenter", "soft barycenter, 26 x 275, 50 iterations", "speed", "soft_barycenter", trace_class, 12, 25),
    Task("warp", "continuous warp, n=1000, d=1", "speed", "warp", WARP, 10, 50),
    Task("warp-sines", "same, sines", "speed", "warp", WARP_SINES, 10, 50),
    Task("warp-early", "same, gdtw stops early, as by default", "speed", "warp_early", WARP_SINES, None, None),
    Task("warp-vjp", "continuous warp, backward, n=1000, d=64", "speed", "warp_vjp", WARP_64, 500, 5000, 7.7),
    Task("coupled-gru", "coupled GRU, loss + gradients, 32 pairs, T=100, d=6, H=64, float32", "speed", "coupled_gru",
         GRU, 2.5, 4),
    Task("plain-gru", "plain GRU, the same 64 sequences", "speed", "plain_gru", GRU, 1, None),
    Task("chain", "chain value + marginals, B=64, T=200, S=20", "speed", "chain_value_and_grad", chains, 5, 15),
    Task("soft-call", "one soft call, 20x20", "overhead", "soft_value", PAIR_20, 1, None),
    Task("hard-call", "one hard call, 20x20", "call", "hard_value", PAIR_20, 8e-6, None),
    Task("threads-batch", "2 threads, loss + gradient 32x500x500", "threads", "loss", LOSS_500, 1.7, None),
    Task("threads-matrix", "2 threads, soft matrix 40 x 275", "threads", "soft_matrix", trace_collection, 1.7, None),
    Task("threads-barycenter", "2 threads, soft barycenter 26 x 275", "threads", "soft_barycenter", trace_class, 1.7,
         None),
    Task("threads-chain", "2 threads, chain value + marginals, same", "threads", "chain_value_and_grad", chains, 1.7,
         None),
    Task("threads-pair", "2 threads, value + gradient, 1 pair 2000x2000", "threads", "soft_value_and_grad", PAIR_2000,
         1, None),
    Task("memory", "peak extra memory, value + gradient 20000x20000", "memory", "soft_value_and_grad", PAIR_20000,
         400 * MB, 100 * MB),
    Task("import", "import, beyond numpy", "import", "", None, 0.15, 0.08),
]
# fmt: on


def task_named(name):
    return next(task for task in TASKS if task.name == name)
