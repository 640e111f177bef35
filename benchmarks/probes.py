"""Measurements that need a process of their own: peak memory, two threads, import time.

`run(probe, *arguments)` starts a fresh interpreter, which calls the function of that name here and prints its result
as JSON. The import is timed in a process that has loaded NumPy and nothing else.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks import threads as thread_count
from benchmarks import timing
from benchmarks.peers import Ours, peer_named
from benchmarks.problems import Problem, univariate_pair
from benchmarks.tasks import task_named

ROOT = str(Path(__file__).resolve().parents[1])
START = "import sys; sys.path.append(sys.argv[1]); from benchmarks import probes; probes.main(sys.argv[2:])"
IMPORT = """import sys, time, numpy; sys.path.append(sys.argv[1])
start = time.perf_counter(); import {}; print(time.perf_counter() - start)"""
STATUS, RESET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run(probe, *arguments, threads=1):
    """Result of the probe in a fresh interpreter with this many threads."""
    return json.loads(interpreter(START, ROOT, probe, *map(str, arguments), threads=threads))


def import_seconds(module):
    """Seconds that the import of a module adds to that of NumPy."""
    return float(interpreter(IMPORT.format(module), ROOT))


def interpreter(code, *arguments, threads=1):
    """Last line that a fresh interpreter prints on this code; raises RuntimeError with its last line of complaint."""
    environment = os.environ | thread_count.environment(threads)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return done.stdout.splitlines()[-1]


def main(arguments):
    probe, *rest = arguments
    print(json.dumps({"memory": memory, "two_threads": two_threads}[probe](*rest)))


def memory(peer_name, task_name, length=None):
    """Peak bytes that one call adds, and its seconds; `length` replaces the task's problem by a pair that long.

    A small call before it compiles what is compiled at first use and loads what is loaded lazily.
    """
    peer, task = peer_named(peer_name), task_named(task_name)
    problem = task.problem() if length is None else univariate_pair(int(length))
    peer.prepare(task.operation, shortened(problem)).run()
    prepared = peer.prepare(task.operation, problem)
    before = reset_peak()
    start = perf_counter()
    prepared.run()
    return {"seconds": perf_counter() - start, "bytes": peak_bytes() - before}


def shortened(problem, length=16):
    """The same problem cut to a few time steps."""
    if problem.y is None:
        return Problem(problem.x[:, :length].copy(), None, problem.gamma)
    return Problem(*(series[..., :length, :].copy() for series in (problem.x, problem.y)), problem.gamma)


def reset_peak():
    """Forget the peak so far -> bytes held now (where the system cannot forget, the peak so far)."""
    if not RESET_PEAK.exists():
        return peak_bytes()
    RESET_PEAK.write_text("5")
    return status_bytes("VmRSS")


def peak_bytes():
    """Highest resident memory. Linux: VmHWM, as ru_maxrss would start from the peak of the parent process."""
    if RESET_PEAK.exists():
        return status_bytes("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(field):
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def two_threads(task_name, repeat, least_seconds):
    """Best seconds of our call with n_jobs=1 and with n_jobs=-1, in turn; also whether the bits agree."""
    task = task_named(task_name)
    problem = task.problem()
    prepared = {n_jobs: Ours(n_jobs).prepare(task.operation, problem) for n_jobs in (1, -1)}
    one, all_ = (prepared[n_jobs].answer(prepared[n_jobs].run()) for n_jobs in (1, -1))
    best = timing.best_times({n: p.run for n, p in prepared.items()}, int(repeat), float(least_seconds))
    return {"one": best[1].seconds, "all": best[-1].seconds, "same": timing.difference(one, all_, unsigned=False) == 0}
