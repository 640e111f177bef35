"""Measure sdtwkit against whichever peers are installed, in one process and one thread each.

    python benchmarks/compare.py [--quick] [--task NAME] [--json FILE] [--markdown]

Each task is run by us and by every peer that can, in turns, so that a drift of the machine meets all alike; the best of
several rounds counts. Values are compared first. Ratios are what to look at: absolute times drift between machines.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

# One thread for everybody, before anything that could start more is imported.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from peers import installed  # noqa: E402

import sdtwkit  # noqa: E402
from sdtwkit import _backend  # noqa: E402


class Task(NamedTuple):
    name: str
    kind: str  # method of a peer
    data: tuple  # arguments of it
    cells: int
    bar: float
    aim: float


def ours(kind, data):
    """What a peer's method of that name does, done by us."""
    if kind == "soft":
        return lambda: sdtwkit.soft_dtw(*data)
    if kind == "hard":
        return lambda: sdtwkit.dtw(*data)
    if kind in ("soft_grad", "torch_loss"):
        return lambda: sdtwkit.soft_dtw_value_and_grad(*data)[0]
    if kind == "soft_matrix":
        return lambda: sdtwkit.cdist_soft_dtw(*data)
    return lambda: sdtwkit.cdist_dtw(*data)


def tasks():
    rng = np.random.default_rng(0)

    def pair(n, m, d=1):  # scaled so that soft-DTW is positive: a peer returns its absolute value
        return 3 * rng.normal(size=(n, d)), 3 * rng.normal(size=(m, d))

    def batch(B, n, m, d=12):
        return rng.normal(size=(B, n, d)).astype(np.float32), rng.normal(size=(B, m, d)).astype(np.float32)

    walks = (rng.normal(size=(40, 275)).cumsum(axis=1) / 4,)
    upper = 40 * 41 // 2 * 275**2  # cells of the pairs i <= j; the result is the whole matrix
    return [
        Task("soft value, 1 pair 500x500", "soft", pair(500, 500), 500**2, 30, 60),
        Task("soft value + gradient, 1 pair 500x500", "soft_grad", pair(500, 500), 500**2, 14, 25),
        Task("loss forward+backward, 32x500x50 d=12 float32", "torch_loss", batch(32, 500, 50), 32 * 500 * 50, 20, 40),
        Task("same, 32x500x500", "torch_loss", batch(32, 500, 500), 32 * 500**2, 20, 40),
        Task("same, 1x2000x2000", "torch_loss", batch(1, 2000, 2000), 2000**2, 20, 40),
        Task("pairwise soft matrix, 40 x 275", "soft_matrix", walks, upper, 35, 60),
        Task("pairwise hard matrix, 40 x 275", "hard_matrix", walks, upper, 15, 30),
        Task("soft call, 20x20", "soft", pair(20, 20), 400, 1, 1),
        Task("hard call, 20x20", "hard", pair(20, 20), 400, 0, 0),
    ]


def seconds_of(function, calls=1):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def interleaved_best(functions, rounds):
    """{label: best seconds for one call}; short calls are repeated for 20 ms, so that all are measured warm."""
    calls = {label: max(1, int(0.02 / seconds_of(function))) for label, function in functions.items()}
    best = dict.fromkeys(functions, np.inf)
    for _ in range(rounds):
        for label, function in functions.items():
            best[label] = min(best[label], seconds_of(function, calls[label]))
    return best


def check_same(label, ours_value, value):
    """A peer that solves another problem is no comparison: say so."""
    a, b = np.asarray(ours_value, float), np.asarray(value, float)
    if b.ndim == 0:  # a sum over the batch
        a = a.sum()
    if a.shape == b.shape and a.ndim == 2:  # some peers leave the diagonal, or the lower triangle, empty
        above = np.triu_indices(len(a), 1)
        a, b = a[above], b[above]
    gap = np.abs(a - b.reshape(a.shape)).max() / max(1.0, np.abs(a).max())
    if not gap < 1e-3:
        print(f"  {label}: its value differs from ours by {gap:.1e} of the largest", file=sys.stderr)


def measure(task, peers, rounds):
    functions = {"sdtwkit": ours(task.kind, task.data)}
    for label, peer in peers.items():
        if hasattr(peer, task.kind):
            functions[label] = getattr(peer, task.kind)(*task.data)
    values = {label: function() for label, function in functions.items()}  # compiles what is compiled at first use
    for label, value in values.items():
        check_same(f"{task.name}, {label}", values["sdtwkit"], value)
    seconds = interleaved_best(functions, rounds)
    own = seconds.pop("sdtwkit")
    row = {"task": task.name, "seconds": own, "ns per cell": own / task.cells * 1e9, "bar": task.bar, "aim": task.aim}
    row["peers"] = {label: {"seconds": s, "ratio": s / own} for label, s in seconds.items()}
    return row


# ---- what only concerns ourselves


def threads_rows(rounds):
    rng = np.random.default_rng(1)
    batch = rng.normal(size=(16, 400, 3)), rng.normal(size=(16, 400, 3))
    walks = rng.normal(size=(40, 275))
    long = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1))
    works = {
        "batch 16x400x400, gradient": lambda jobs: sdtwkit.soft_dtw_value_and_grad(*batch, n_jobs=jobs),
        "soft matrix 40 x 275": lambda jobs: sdtwkit.cdist_soft_dtw(walks, n_jobs=jobs),
        "one pair 4000x4000, gradient": lambda jobs: sdtwkit.soft_dtw_value_and_grad(*long, n_jobs=jobs),
    }
    for name, work in works.items():
        best = interleaved_best({1: lambda work=work: work(1), 2: lambda work=work: work(2)}, rounds)
        yield {"task": f"two threads, {name}", "ratio": best[1] / best[2], "bar": 1.7}


# The peak of the process as the kernel keeps it; getrusage would begin with the peak of the parent.
MEMORY = """
import numpy as np, sdtwkit
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
rng = np.random.default_rng(0)
x, y = rng.normal(size=({n}, 1)), rng.normal(size=({n}, 1))
sdtwkit.soft_dtw_value_and_grad(x[:50], y[:50])
before = peak()
sdtwkit.soft_dtw_value_and_grad(x, y)
print(peak() - before)
"""


def memory_row(n=20000):
    run = subprocess.run([sys.executable, "-c", MEMORY.format(n=n)], capture_output=True, text=True, check=True)
    return {"task": f"peak extra memory, value + gradient {n}x{n}", "MB": float(run.stdout), "bar": 400, "aim": 100}


def import_row():
    code = "import time, numpy; t = time.perf_counter(); import sdtwkit; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(5)
    ]
    return {"task": "import, beyond numpy", "seconds": min(times), "bar": 0.15, "aim": 0.08}


# ---- the table


def machine():
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    level = _backend.info()["instruction level"]
    return f"{model}, {level}, Python {platform.python_version()}, NumPy {np.__version__}, {datetime.date.today()}"


def time_of(seconds):
    unit, scale = next((u for u in (("s", 1), ("ms", 1e3)) if seconds * u[1] >= 1), ("us", 1e6))
    return f"{seconds * scale:.3g} {unit}"


def lines_of(row):
    """(task, ours, fastest peer, ratio, bar / aim) as strings."""
    if "MB" in row:
        return row["task"], f"{row['MB']:.0f} MB", "", "", f"{row['bar']} / {row['aim']} MB"
    if "ratio" in row:
        return row["task"], "", "", f"{row['ratio']:.2f}x", f"{row['bar']}x"
    if "peers" not in row:
        return row["task"], time_of(row["seconds"]), "", "", f"{row['bar']} / {row['aim']} s"
    own = f"{time_of(row['seconds'])}, {row['ns per cell']:.2f} ns/cell"
    if not row["peers"]:
        return row["task"], own, "none installed", "", ""
    label, fastest = min(row["peers"].items(), key=lambda item: item[1]["seconds"])
    bar = f"{row['bar']}x / {row['aim']}x" if row["bar"] else "under 8 us"
    return row["task"], own, f"{label}: {time_of(fastest['seconds'])}", f"{fastest['ratio']:.1f}x", bar


def table(rows, markdown):
    head = ("task", "sdtwkit", "fastest peer", "ratio", "bar / aim")
    body = [lines_of(row) for row in rows]
    if markdown:
        rule = "|".join(["---"] * len(head))
        return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in body)])
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in [head, *body])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, no memory measurement")
    parser.add_argument("--task", help="only tasks whose name contains this")
    parser.add_argument("--rounds", type=int, help="measurements of each, the best counts (default 15; quick 3)")
    parser.add_argument("--json", type=Path, help="also write all figures, every peer's included, to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table for the README")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 15)
    warnings.simplefilter("ignore")
    peers = installed()
    print(f"{machine()}\npeers: {', '.join(peers) or 'none installed'}\n")
    rows = [measure(task, peers, rounds) for task in tasks() if not options.task or options.task in task.name]
    if not options.task:
        rows += [*threads_rows(rounds), import_row()]
        if not options.quick and Path("/proc/self/status").exists():
            rows.append(memory_row())
    print(table(rows, options.markdown))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
