"""The published protocols of classification and averaging, on the UCR and UEA sets within reach.

    python -m benchmarks.experiments.ucr [--quick] [--sets NAME ...] [--markdown FILE] [--cache FOLDER] [--n-jobs N]

Needs aeon and tslearn, for the data they carry. What is done is told by `classification` and `averaging`, and on the
page that this writes. The work is cut into parts, each on one thread; what is finished is kept in the folder of the
cache, so that a run that was interrupted goes on where it stopped. Parts with other settings or by another version of
sdtwkit are computed anew; after a change of the code itself, name another folder.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning

from benchmarks.experiments import averaging, classification, data_sets, kept, page

SETTINGS = classification.Settings(), averaging.Settings()
QUICK_SETTINGS = (
    classification.Settings(gammas=(0.01, 1.0), folds=2, max_iter=10),
    averaging.Settings(repeats=2, max_iter=20),
)
SETS = [name for name in data_sets.ARCHIVES if name != "ACSF1"]  # whose length of 1460 would take most of the time
QUICK_SETS = ["GunPoint", "ItalyPowerDemand"]
# (classifier or "averaging", metric or ""), the longest first
PARTS = [(classifier, metric) for classifier in ("centroids", "neighbors") for metric in classification.DIVERGENCES]
PARTS.append(("averaging", ""))


def main(argv=None):
    """Run what is not in the cache yet, then write or print the page."""
    arguments = parser().parse_args(argv)
    settings = QUICK_SETTINGS if arguments.quick else SETTINGS
    names = arguments.sets or (QUICK_SETS if arguments.quick else SETS)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    longest_first = sorted(names, key=lambda name: -data_sets.load(name).cells())
    jobs = [(name, *part) for name in longest_first for part in PARTS]
    parts = Parallel(n_jobs=arguments.n_jobs, batch_size=1)(
        delayed(finished)(*job, settings, arguments.cache) for job in jobs
    )
    text = page.markdown(
        {name: data_sets.load(name).facts() for name in names},
        gathered(names, jobs, parts),
        settings,
        sum(part["cpu_seconds"] for part in parts),
        command(arguments),
    )
    if arguments.markdown:
        arguments.markdown.write_text(text)
    else:
        print(text)


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="two small sets, fewer choices and iterations")
    names = ", ".join(data_sets.ARCHIVES)
    options.add_argument("--sets", nargs="+", choices=list(data_sets.ARCHIVES), metavar="NAME", help=f"some of {names}")
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    cache = Path(tempfile.gettempdir()) / "sdtwkit-ucr"
    options.add_argument("--cache", type=Path, default=cache, metavar="FOLDER", help="where finished parts are kept")
    options.add_argument("--n-jobs", type=int, default=-1, metavar="N", help="processes (-1, as many as cores)")
    return options


def command(arguments):
    """The words that decide what is on the page."""
    words = ["python -m benchmarks.experiments.ucr"]
    words += ["--quick"] if arguments.quick else []
    words += ["--sets", *arguments.sets] if arguments.sets else []
    if arguments.markdown and not arguments.markdown.is_absolute():  # no folders of this machine
        words += ["--markdown", arguments.markdown.as_posix()]
    return " ".join(words)


def finished(name, protocol, metric, settings, cache):
    """-> {"key", "cpu_seconds", "result"} of one part, from the cache if it is there."""
    mine = settings[protocol == "averaging"]

    def compute():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the protocol ends them after so many iterations
            return computed(data_sets.load(name), protocol, metric, mine)

    return kept.part(cache / (".".join(filter(None, (name, protocol, metric))) + ".json"), mine._asdict(), compute)


def computed(data, protocol, metric, settings):
    if protocol == "averaging":
        return averaging.run(data, settings)
    run = {"neighbors": classification.nearest_neighbors, "centroids": classification.nearest_centroids}[protocol]
    return run(data, metric, settings)


def gathered(names, jobs, parts):
    """-> {name: {"neighbors": {metric: outcome}, "centroids": {metric: outcome}, "averaging": [outcomes]}}"""
    results = {name: {"neighbors": {}, "centroids": {}} for name in names}
    for (name, protocol, metric), part in zip(jobs, parts, strict=True):
        if metric:
            results[name][protocol][metric] = part["result"]
        else:
            results[name][protocol] = part["result"]
    return results


if __name__ == "__main__":
    main()
