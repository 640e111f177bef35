"""How times are taken and answers compared: pure functions, no library named."""

import gc
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

SAMPLE_SECONDS = 20e-3  # a shorter call is repeated within a sample until it lasts this long, so that all are warm


class Timing(NamedTuple):
    """Means over the calls of one sample."""

    seconds: float  # wall time
    cpu_seconds: float  # of this process; less than wall time when others took the core meanwhile


def best_times(runs, repeat, least_seconds):
    """Timing of the fastest sample of each of `runs` {name: callable}.

    A round calls every run in turn, so that drift of the machine meets all of them. Rounds go on until there are
    `repeat` of them and some run has been timed for `least_seconds` in all.
    """
    numbers = {name: calls_per_sample(run) for name, run in runs.items()}
    samples = {name: [] for name in runs}
    gc.collect()
    gc.disable()
    try:
        while min(map(len, samples.values())) < repeat or spent(samples, numbers) < least_seconds:
            for name, run in runs.items():
                samples[name].append(sample(run, numbers[name]))
    finally:
        gc.enable()
    return {name: min(taken) for name, taken in samples.items()}


def spent(samples, numbers):
    """Largest time given so far to any run."""
    return max(sum(one.seconds for one in taken) * numbers[name] for name, taken in samples.items())


def calls_per_sample(run):
    """Calls that make a sample long enough for the clock."""
    return max(1, int(SAMPLE_SECONDS / sample(run, 1).seconds))


def sample(run, number):
    """-> Timing over `number` calls."""
    start, cpu_start = perf_counter(), process_time()
    for _ in range(number):
        run()
    return Timing((perf_counter() - start) / number, (process_time() - cpu_start) / number)


def difference(answer, reference, unsigned):
    """Largest difference of two Answers, relative to the largest entry; NaN in the answer is not compared."""
    pairs = [(answer.value, reference.value)]
    if answer.grad_x is not None and reference.grad_x is not None:
        pairs.append((answer.grad_x, reference.grad_x))
    return max(relative_difference(np.abs(a), np.abs(b)) if unsigned else relative_difference(a, b) for a, b in pairs)


def relative_difference(a, b):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    compared = ~np.isnan(a)
    scale = np.abs(b[compared]).max()
    return float(np.abs(a - b)[compared].max() / (scale or 1.0))
