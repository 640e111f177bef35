"""The published protocols of classification and averaging, on the UCR and UEA sets within reach.

    python -m benchmarks.experiments.ucr [--quick] [--sets NAME ...] [--markdown FILE] [--cache FOLDER] [--n-jobs N]

Needs aeon and tslearn, for the data they carry. What is done is told by `classification` and `averaging`, and on the
page that this writes. The work is cut into parts, each on one thread; what is finished is kept in the folder of the
cache, so that a run that was interrupted goes on where it stopped. Parts with other settings or by another version of
sdtwkit are computed anew; after a change of the code itself, name another folder.
"""

import warnings

from sklearn.exceptions import ConvergenceWarning

from benchmarks.experiments import averaging, classification, data_sets, kept, page, runs

MODULE = "benchmarks.experiments.ucr"
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
    jobs = [(name, *part, settings, arguments.cache) for name in longest_first for part in PARTS]
    parts = runs.every(finished, jobs, arguments.n_jobs)
    text = page.markdown(
        {name: data_sets.load(name).facts() for name in names},
        gathered(names, jobs, parts),
        settings,
        sum(part["cpu_seconds"] for part in parts),
        runs.command(MODULE, arguments, *(["--sets", *arguments.sets] if arguments.sets else [])),
    )
    runs.deliver(text, arguments)


def parser():
    options = runs.parser(MODULE, __doc__, "two small sets, fewer choices and iterations")
    names = ", ".join(data_sets.ARCHIVES)
    options.add_argument("--sets", nargs="+", choices=list(data_sets.ARCHIVES), metavar="NAME", help=f"some of {names}")
    return options


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
    for (name, protocol, metric, *_), part in zip(jobs, parts, strict=True):
        if metric:
            results[name][protocol][metric] = part["result"]
        else:
            results[name][protocol] = part["result"]
    return results


if __name__ == "__main__":
    main()
