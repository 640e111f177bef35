"""From a task to a row of the table: which libraries take part, what they are timed with, whether they agree."""

from typing import NamedTuple

import numpy as np

from benchmarks import probes, timing
from benchmarks.peers import OURS, installed_peers
from benchmarks.tasks import PUBLISHED, Task

TOLERANCE = {np.dtype("float64"): 1e-9, np.dtype("float32"): 1e-3}
WARPS = ("warp", "warp_early")
SEARCH_TOLERANCE = 1e-6  # of an objective: rounding grows over the iterations of a search
LEAST_SHARE = 0.9  # of the wall time that a one-thread run should spend on its core
IMPORT_RUNS = 5
SCALED_LENGTH = 2000  # at which the peers' memory is measured, to be scaled to the length of the task


class Effort(NamedTuple):
    repeat: int = 7
    least_seconds: float = 1.0  # that short calls are repeated for
    memory: bool = True  # measure the peak memory of the speed tasks


class Figure(NamedTuple):
    """What one library needs: seconds, bytes, or seconds on one and two threads."""

    value: float
    cells: int | None = None
    peak: int | None = None  # extra bytes

    @property
    def ns_per_cell(self):
        return None if self.cells is None else self.value / self.cells * 1e9


class Row(NamedTuple):
    task: Task
    figures: dict[str, Figure]
    warnings: list[str]
    note: str = ""

    @property
    def ours(self):
        return self.figures.get(OURS.name)

    @property
    def fastest_peer(self):
        """(name, Figure) of the best other library, or None."""
        others = [item for item in self.figures.items() if item[0] != OURS.name]
        return min(others, key=lambda item: item[1].value, default=None)

    @property
    def ratio(self):
        """How many times better than the best peer, or than ourselves on one thread; None if one side is missing."""
        peer = self.fastest_peer
        return None if self.ours is None or peer is None else peer[1].value / self.ours.value


def measure_task(task, effort):
    """-> Row"""
    return MEASURES[task.kind](task, effort)


def measure_speed(task, effort):
    """Wall time of the same result from every library that has the operation, in turn in this process."""
    problem = task.problem()
    ready, answers, warnings = prepare_all(task, problem)
    searched, warped, note = task.operation == "soft_barycenter", task.operation in WARPS, problem.source
    if warped:
        note += objectives_beside_ours(answers)
    else:
        warnings += disagreements(answers, SEARCH_TOLERANCE if searched else TOLERANCE[problem.x.dtype])
    times = timing.best_times({peer.name: p.run for peer, p in ready.items()}, effort.repeat, effort.least_seconds)
    cells = {peer.name: peer.cells(task.operation, problem) for peer in ready}
    warnings += interruptions(times)
    figures = {name: Figure(times[name].seconds, cells[name]) for name in times}
    if task.published:
        figures[PUBLISHED] = Figure(task.published)
    row = Row(task, figures, warnings, note)
    return with_memory(row) if effort.memory and task.kind == "speed" else row


def prepare_all(task, problem):
    """-> {peer: Prepared}, {peer: Answer}, warnings. One call of each excludes JIT compilation and gives the answer."""
    ready, answers, warnings = {}, {}, []
    for peer in installed_peers():
        try:
            prepared = peer.prepare(task.operation, problem)
            if prepared is not None:
                answers[peer] = prepared.answer(prepared.run())
                ready[peer] = prepared
        except Exception as error:  # a library that fails is reported; the others go on
            warnings.append(f"{peer.name} failed: {type(error).__name__}: {error}")
    return ready, answers, warnings


def disagreements(answers, tolerance):
    """One sentence for every library whose answer is not that of the first (ours, where it is installed)."""
    (first, reference), *others = answers.items() or [(None, None)]
    sentences = []
    for peer, answer in others:
        off = timing.difference(answer, reference, peer.unsigned or first.unsigned)
        if not off <= tolerance:
            sentences.append(f"{peer.name} and {first.name} differ by {off:.1e} of the largest entry")
    return sentences


def objectives_beside_ours(answers):
    """By how much the warps of the peers are worse than ours (better, where negative), for the note of the row."""
    ours = answers[OURS].value if OURS in answers else np.nan
    return "".join(
        f"; objective of {peer.name} {answer.value / ours - 1:+.2%} beside ours"
        for peer, answer in answers.items()
        if peer is not OURS
    )


def interruptions(times):
    """A sentence if others took the core: long samples suffer more from that, so CPU time is the fairer ratio."""
    shares = {name: taken.cpu_seconds / taken.seconds for name, taken in times.items()}
    if min(shares.values(), default=1) >= LEAST_SHARE:
        return []
    had = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    sentence = f"busy machine, part of its wall time that each had the core: {had}"
    others = [taken.cpu_seconds for name, taken in times.items() if name != OURS.name]
    if others and OURS.name in times:
        sentence += f"; ratio of CPU times {min(others) / times[OURS.name].cpu_seconds:.3g}x"
    return [sentence]


def with_memory(row):
    """The row with peak extra memory of ours and of the best peer, each in a process of its own."""
    figures = dict(row.figures)
    for name in {OURS.name, row.fastest_peer[0] if row.fastest_peer else OURS.name} & set(figures) - {PUBLISHED}:
        figures[name] = figures[name]._replace(peak=probes.run("memory", name, row.task.name)["bytes"])
    return row._replace(figures=figures)


def measure_threads(task, effort):
    """Our time with n_jobs=-1 beside our time with n_jobs=1, two threads given to the process."""
    if not OURS.installed():
        return Row(task, {}, [])
    seconds = probes.run("two_threads", task.name, effort.repeat, effort.least_seconds, threads=2)
    warnings = [] if seconds["same"] else ["the results of one and two threads differ"]
    cells = OURS.cells(task.operation, task.problem())
    return Row(task, {OURS.name: Figure(seconds["all"], cells), "one thread": Figure(seconds["one"], cells)}, warnings)


def measure_memory(task, effort):
    """Peak extra bytes: ours at full length; the peers' computed from a shorter pair, as their tables grow with n m."""
    problem, figures, warnings = task.problem(), {}, []
    note = f"peers computed from {SCALED_LENGTH}x{SCALED_LENGTH}"
    small = problem._replace(x=problem.x[:SCALED_LENGTH], y=problem.y[:SCALED_LENGTH])
    growth = problem.cells() / small.cells()
    for peer in installed_peers():
        if not hasattr(peer, task.operation):
            continue
        try:
            if peer is OURS:
                used = probes.run("memory", peer.name, task.name)
                figures[peer.name] = Figure(used["bytes"])
                note += f"; our call took {used['seconds']:.2f} s"
            else:
                bytes_ = probes.run("memory", peer.name, task.name, SCALED_LENGTH)["bytes"]
                figures[peer.name] = Figure(bytes_ * growth)
        except RuntimeError as error:
            warnings.append(f"{peer.name} failed: {error}")
    return Row(task, figures, warnings, note)


def measure_import(task, effort):
    """Seconds to import each library after NumPy, best of a few fresh interpreters, in turn."""
    peers, best = installed_peers(), {}
    for _ in range(IMPORT_RUNS):
        for peer in peers:
            best[peer.name] = min(best.get(peer.name, np.inf), probes.import_seconds(peer.module))
    return Row(task, {name: Figure(seconds) for name, seconds in best.items()}, [])


MEASURES = {
    "speed": measure_speed,
    "overhead": measure_speed,
    "call": measure_speed,
    "threads": measure_threads,
    "memory": measure_memory,
    "import": measure_import,
}
