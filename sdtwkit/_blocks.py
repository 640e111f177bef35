"""Long work in blocks: threads of this process, or the workers of a joblib backend.

Inside one process the kernels have threads of their own, so blocks run one after the other, each on all of them. Only
where the caller has chosen a joblib backend of other processes, ``joblib.parallel_config(backend="dask")`` (a
dask.distributed cluster), "loky" or "multiprocessing", do blocks travel through `joblib.Parallel`, each on one native
thread in its worker. That decision is taken here and nowhere else.

Callers cut their work without looking at `n_jobs`, so that results are the same, bit by bit, however they came about;
and a job carries only the data it needs, since it may have to cross a network.
"""

import itertools
import sys
import threading

from . import _options
from ._arrays import Series

_here = threading.local()  # .in_block: this thread computes a block, which is not cut any further


def threads(n_jobs):
    """Native threads for work that is not cut: `n_jobs` checked as by `_options.check_n_jobs`, 0 for all there are.

    None is one, or what an active `joblib.parallel_config` of threads says. A block within a worker has one.
    """
    asked = _options.check_n_jobs(n_jobs)
    if getattr(_here, "in_block", False):
        return 1
    joblib = sys.modules.get("joblib")  # a configuration can be active only where joblib is loaded
    if n_jobs is not None or joblib is None or _has_workers(joblib):
        return asked
    backend, configured = joblib.parallel.get_active_backend()
    if configured is None or type(backend) is joblib.parallel.SequentialBackend:
        return asked
    return 0 if configured == -1 else joblib.effective_n_jobs(configured)


def map(function, jobs, n_jobs):
    """Results of ``function(*job, n_jobs=threads)`` for each job, in order, as they come.

    Parameters
    ----------
    function : callable
        Defined at the level of a module, for workers import it by name; it must not depend on anything but its
        arguments.
    jobs : iterable of tuples
        Taken as work proceeds, a few ahead of the results at most: it may be a generator that cuts the data. A single
        job never leaves this process.
    n_jobs : None or int
        As the user gave it.

    Returns
    -------
    results : iterator
        Where one is left before its end, work that has not begun is dropped.
    """
    n_threads = threads(n_jobs)
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, 2))
    jobs = itertools.chain(first, jobs)
    workers = _workers(n_jobs) if len(first) == 2 else 1
    return _travelling(function, jobs, n_jobs, workers) if workers > 1 else _staying(function, jobs, n_threads)


def part(series, first, last):
    """Series `first` to `last` - 1 of a collection, alone: a view here, and no more than these rows when it travels."""
    begin = series.starts[first]
    end = series.starts[last] if last < len(series) else len(series.data)
    starts, lengths = series.starts[first:last] - begin, series.lengths[first:last]
    return Series(series.data[begin:end], starts, lengths, "list", [(n, series.n_channels) for n in lengths.tolist()])


def _staying(function, jobs, n_threads):
    for job in jobs:
        yield function(*job, n_jobs=n_threads)


def _travelling(function, jobs, n_jobs, workers):
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    # Jobs travel as tuples: joblib's dask backend would scatter arrays beforehand, and what lies on one worker alone is
    # lost with it; the content of a tuple stays with the scheduler, which can send it again.
    block = delayed(_block)
    if get_active_backend()[0].supports_return_generator:
        yield from Parallel(n_jobs, return_as="generator")(block(function, job) for job in jobs)
        return
    with Parallel(n_jobs) as parallel:  # multiprocessing hands out lists; short ones keep memory bounded
        while some := list(itertools.islice(jobs, 8 * workers)):
            yield from parallel(block(function, job) for job in some)


def _block(function, job):
    """One job in a worker, on one native thread, as is whatever it calls."""
    before = getattr(_here, "in_block", False)
    _here.in_block = True
    try:
        return function(*job, n_jobs=1)
    finally:
        _here.in_block = before


def _workers(n_jobs):
    joblib = sys.modules.get("joblib")
    if joblib is None or getattr(_here, "in_block", False) or not _has_workers(joblib):
        return 1
    return joblib.effective_n_jobs(n_jobs)


def _has_workers(joblib):
    """Whether the caller has chosen a backend of other processes; joblib's default is nobody's choice."""
    backend, _ = joblib.parallel.get_active_backend(prefer="threads")
    return not getattr(backend, "uses_threads", False)
