"""Learned metrics beside alignments: which of them ranks series of the same class first?

    python -m benchmarks.experiments.metric_learning [--quick] [--sets NAME ...] [--markdown FILE] [--cache FOLDER]
                                                     [--n-jobs N]

What is done is told by `ranking`, and on the page that this writes. JapaneseVowels and BasicMotions need aeon, which
carries them; the recordings at their full rate need seglearn (``pip install --no-deps seglearn``), those at a quarter
of it come with sdtwkit. The work is cut into parts, one for each set, method and seed; what is finished is kept in the
folder of the cache, so that a run that was interrupted goes on where it stopped.
"""

from benchmarks.experiments import kept, metric_page, ranking, runs

MODULE = "benchmarks.experiments.metric_learning"
QUICK_SETTINGS = ranking.Settings(seeds=2, max_iter=3, learning_rates=(1e-2,), gammas=(1.0,), windows=(None,))
QUICK_SETS = ("watch",)


def main(argv=None):
    """Run what is not in the cache yet, then write or print the page."""
    arguments = parser().parse_args(argv)
    settings = QUICK_SETTINGS if arguments.quick else ranking.Settings()
    names = arguments.sets or (QUICK_SETS if arguments.quick else ranking.SETS)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    jobs = [
        (name, method, seed, settings, arguments.cache)
        for name in names
        for seed in range(settings.seeds)
        for method in ranking.METHODS
    ]
    done = runs.every(finished, jobs, arguments.n_jobs)
    results = {name: {method: [] for method in ranking.METHODS} for name in names}
    for (name, method, *_), part in zip(jobs, done, strict=True):
        results[name][method].append(part["result"])
    facts = {name: ranking.facts_of(ranking.split(name, 0)) for name in names}
    cpu_seconds = sum(part["cpu_seconds"] for part in done)
    chosen = ["--sets", *(f'"{name}"' if " " in name else name for name in arguments.sets)] if arguments.sets else []
    command = runs.command(MODULE, arguments, *chosen)
    runs.deliver(metric_page.markdown(facts, results, settings, cpu_seconds, command), arguments)


def parser():
    options = runs.parser(MODULE, __doc__, "the embedded set, two seeds, three epochs")
    options.add_argument(
        "--sets", nargs="+", choices=ranking.SETS, metavar="NAME", help=f"some of {', '.join(ranking.SETS)}"
    )
    return options


def finished(name, method, seed, settings, cache):
    part = ".".join((name, method, str(seed))).replace(" ", "-").replace(",", "")

    def compute():
        return ranking.outcome(ranking.split(name, seed), method, seed, settings)

    return kept.part(cache / f"{part}.json", settings._asdict(), compute)


if __name__ == "__main__":
    main()
