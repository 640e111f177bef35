"""How the cost of continuous warps grows: time and memory of the forward and the backward pass over n.

Usage: python -m benchmarks.experiments.warps [--markdown FILE]
"""

import argparse
import os
import tracemalloc
from pathlib import Path

from benchmarks import threads

if __name__ == "__main__":  # before NumPy is loaded
    os.environ.update(threads.environment(1))

import numpy as np

from benchmarks import machine, table, timing
from benchmarks.peers import OURS
from benchmarks.problems import warp_pair

LENGTHS = (250, 500, 1000, 2000, 4000, 8000)
CHANNELS = 64
PUBLISHED = {1000: "7.7 s and 1.3 GB"}  # of the released DecDTW code, from its dense Hessian published 2026-11


def main(argv=None):
    """Measure and print the table, or write it to a file."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the page to this file")
    arguments = options.parse_args(argv)
    page = PAGE.format(machine=machine.describe() | {"version": OURS.version()}, rows="\n".join(map(row, LENGTHS)))
    if arguments.markdown:
        arguments.markdown.write_text(page)
    else:
        print(page)


PAGE = """# Continuous warps, from 250 to 8000 samples

Written by `python -m benchmarks.experiments.warps --markdown doc/warps.md`, {machine[date]}, {machine[processor]},
{machine[cores]} cores (load average {machine[load]} at the start), sdtwkit {machine[version]}, one thread, seconds of
the processor, as others may share it. Both signals have n samples of 64 channels (random walks, one a warp of the
other, with noise); reg is 0.1, n_values 100. The forward pass is `dec_dtw`, the backward pass `WarpResult.vjp`; its
memory is the peak of the arrays that it makes, the gradients of both signals (1.024 kB for each of n) included.

| n | forward | backward | microseconds for each of n | memory | kB for each of n | released code, published |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

The backward pass is one tridiagonal solve and one pass over the samples: time and memory grow with n d. The released
code of DecDTW solves a dense system.
"""


def row(n):
    problem, dec_dtw = warp_pair(n, CHANNELS), OURS.load().dec_dtw
    forward = timing.best_times({"forward": lambda: dec_dtw(problem.x, problem.y, problem.gamma, n_values=100)}, 2, 0)
    warp, cotangent = dec_dtw(problem.x, problem.y, problem.gamma, n_values=100), np.cos(np.arange(n))
    backward = timing.best_times({"backward": lambda: warp.vjp(cotangent)}, 7, 0.5)["backward"].cpu_seconds
    tracemalloc.start()
    warp.vjp(cotangent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    cells = [str(n), table.second_text(forward["forward"].cpu_seconds), table.second_text(backward)]
    cells += [f"{backward / n * 1e6:.2f}", table.byte_text(peak), f"{peak / n / 1e3:.2f}", PUBLISHED.get(n, "")]
    return table.line(cells)


if __name__ == "__main__":
    main()
