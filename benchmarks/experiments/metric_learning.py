"""Learned metrics beside alignments: which of them ranks series of the same class first?

    python -m benchmarks.experiments.metric_learning [--quick] [--sets NAME ...] [--markdown FILE] [--cache FOLDER]
                                                     [--n-jobs N]

What is done is told by `ranking`, and on the page that this writes. JapaneseVowels and BasicMotions need aeon, which
carries them; the recordings at their full rate need seglearn (``pip install --no-deps seglearn``), those at a quarter
of it come with sdtwkit. The work is cut into parts, one for each set, method and seed; what is finished is kept in the
folder of the cache, so that a run that was interrupted goes on where it stopped.
"""

import argparse
import tempfile
from pathlib import Path

from joblib import Parallel, delayed

from benchmarks.experiments import kept, metric_page, ranking

QUICK_SETTINGS = ranking.Settings(seeds=2, max_iter=3, learning_rates=(1e-2,), gammas=(1.0,), windows=(None,))
QUICK_SETS = ("watch",)


def main(argv=None):
    """Run what is not in the cache yet, then write or print the page."""
    arguments = parser().parse_args(argv)
    settings = QUICK_SETTINGS if arguments.quick else ranking.Settings()
    names = arguments.sets or (QUICK_SETS if arguments.quick else ranking.SETS)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    jobs = [(name, method, seed) for name in names for seed in range(settings.seeds) for method in ranking.METHODS]
    done = Parallel(n_jobs=arguments.n_jobs, batch_size=1)(
        delayed(finished)(*job, settings, arguments.cache) for job in jobs
    )
    results = {name: {method: [] for method in ranking.METHODS} for name in names}
    for (name, method, _), part in zip(jobs, done, strict=True):
        results[name][method].append(part["result"])
    facts = {name: ranking.facts_of(ranking.split(name, 0)) for name in names}
    text = metric_page.markdown(facts, results, settings, sum(part["cpu_seconds"] for part in done), command(arguments))
    if arguments.markdown:
        arguments.markdown.write_text(text)
    else:
        print(text)


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="the embedded set, two seeds, three epochs")
    options.add_argument(
        "--sets", nargs="+", choices=ranking.SETS, metavar="NAME", help=f"some of {', '.join(ranking.SETS)}"
    )
    options.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    cache = Path(tempfile.gettempdir()) / "sdtwkit-metric-learning"
    options.add_argument("--cache", type=Path, default=cache, metavar="FOLDER", help="where finished parts are kept")
    options.add_argument("--n-jobs", type=int, default=-1, metavar="N", help="processes (-1, as many as cores)")
    return options


def command(arguments):
    """The words that decide what is on the page."""
    words = ["python -m benchmarks.experiments.metric_learning"]
    words += ["--quick"] if arguments.quick else []
    words += ["--sets", *(f'"{name}"' if " " in name else name for name in arguments.sets)] if arguments.sets else []
    if arguments.markdown and not arguments.markdown.is_absolute():  # no folders of this machine
        words += ["--markdown", arguments.markdown.as_posix()]
    return " ".join(words)


def finished(name, method, seed, settings, cache):
    part = ".".join((name, method, str(seed))).replace(" ", "-").replace(",", "")

    def compute():
        return ranking.outcome(ranking.split(name, seed), method, seed, settings)

    return kept.part(cache / f"{part}.json", settings._asdict(), compute)


if __name__ == "__main__":
    main()
