"""The runs of an experiment over processes, with a progress bar; its command line, and where its page goes."""

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


def parser(module, doc, quick, keeps=True):
    """The options that experiments have in common.

    doc : its first line is the description
    quick : what is less under --quick
    keeps : whether finished runs are kept in a folder
    """
    options = argparse.ArgumentParser(prog=f"python -m {module}", description=doc.splitlines()[0])
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    options.add_argument("--n-jobs", type=int, default=-1, metavar="N", help="processes (-1, as many as cores)")
    if keeps:
        folder = Path(tempfile.gettempdir()) / f"sdtwkit-{module.rpartition('.')[2]}"
        options.add_argument("--cache", type=Path, default=folder, metavar="FOLDER", help="finished runs are kept here")
    return options


def command(module, arguments, *more):
    """The words that decide what is on the page."""
    words = [f"python -m {module}"] + ["--quick"] * arguments.quick + list(more)
    if arguments.markdown and not arguments.markdown.is_absolute():  # no folders of this machine
        words += ["--markdown", arguments.markdown.as_posix()]
    return " ".join(words)


def deliver(page, arguments):
    """Write the page to the file that was named, or print it."""
    if arguments.markdown:
        arguments.markdown.write_text(page)
    else:
        print(page)
