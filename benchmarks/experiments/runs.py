"""The runs of an experiment over processes, with a progress bar; and its command line."""

import argparse
import tempfile
from pathlib import Path

import joblib
from tqdm import tqdm


def every(function, jobs, n_jobs):
    """[function(*job)], over processes."""
    calls = (joblib.delayed(function)(*job) for job in jobs)
    parallel = joblib.Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator")
    return list(tqdm(parallel(calls), total=len(jobs), smoothing=0, unit="run"))


def parser(module, description):
    """The options that experiments have in common."""
    options = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    options.add_argument("--quick", action="store_true", help="one seed, fewer recordings, short training")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    cache = Path(tempfile.gettempdir()) / f"sdtwkit-{module.rpartition('.')[2]}"
    options.add_argument("--cache", type=Path, default=cache, metavar="FOLDER", help="where finished runs are kept")
    options.add_argument("--n-jobs", type=int, default=-1, metavar="N", help="processes (-1, as many as cores)")
    return options


def command(module, arguments):
    """The words that decide what is on the page."""
    words = [f"python -m {module}"] + ["--quick"] * arguments.quick
    if arguments.markdown and not arguments.markdown.is_absolute():  # no folders of this machine
        words += ["--markdown", arguments.markdown.as_posix()]
    return " ".join(words)
