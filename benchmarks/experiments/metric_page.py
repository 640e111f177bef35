"""The page of the learned metrics: the protocol, means and standard deviations over seeds, and what they say."""

import numpy as np

from benchmarks.experiments import ranking
from benchmarks.experiments.page import provenance, span, table, wrapped

TITLES = {
    "mean_average_precision": "mean average precision",
    "r_precision": "R-precision",
    "nearest_neighbor_accuracy": "1-NN accuracy",
    "roc_auc": "ROC-AUC",
}

PROTOCOL = """\
Every series of a test part ranks all others of that part; a good distance puts those of its own class first. The parts
are drawn anew for each of {seeds} seeds. Of the watch recordings, three persons are for the test, two for validation
and five for training, so that nobody who is tested was seen before. The speakers of JapaneseVowels are the classes
themselves, and BasicMotions does not tell who moved: there the archives' test parts are used, and 30 percent of the
training parts, stratified, are for validation. Each channel is standardised by the training samples; series are float32
and whole, but in training the watch recordings are cut to {crop_seconds:g} s at random.

* Every method chooses, by mean average precision on the validation part, among equally many settings: networks among
  learning rates ({learning_rates}), the divergence and the learned map among gammas ({gammas}), DTW among radii of its
  window, as shares of the longest series ({windows}).
* Networks have {hidden_size} units, at most {max_iter} epochs, and stop when the contrastive loss of pairs of the
  validation part has not fallen for {patience} epochs; the learned map has {map_iter} epochs and does not stop early.
  Neither margin nor coupling strength (1/2) is tuned.
* So few settings are a small budget: where most choices fall on one end of a grid, a wider one might do better.
* Chosen settings are not trained anew with the validation part.
* The divergence is soft-DTW's, with half squared Euclidean costs; the map is trained through its exact gradient.

The networks are siamese GRUs with and without a coupling that is reconstructed from the idea of Compagnon, Lefebvre,
Duffner and Garcia (IJCNN 2021). Their experiments used other data, of means of transport, none of which was available;
no figure of theirs is quoted, and nothing here says how their own networks would do."""


def markdown(sets, results, settings, cpu_seconds, command):
    """The whole page; `results` is {set: {method: [outcome of each seed]}}."""
    blocks = [
        "# Learned metrics beside alignments",
        provenance(cpu_seconds, command),
        set_table(sets),
        left_out(sets),
        PROTOCOL.format(
            **settings._asdict()
            | {
                "windows": ", ".join("none" if w is None else f"{w:g}" for w in settings.windows),
                "learning_rates": listed(settings.learning_rates),
                "gammas": listed(settings.gammas),
                "map_iter": max(settings.max_iter // 4, 1),
            }
        ),
    ]
    for name, methods in results.items():
        blocks += [f"## {name}", "Mean and standard deviation over seeds, in percent; the best mean in bold.",
                   result_table(methods), against_dtw(methods)]  # fmt: skip
    blocks += ["## Does coupling help?", *coupling(results)]
    return "\n\n".join(map(wrapped, blocks)) + "\n"


def left_out(sets):
    """What the sets are, and which of those that the command knows are not on the page."""
    about = (
        "The watch recordings are those that sdtwkit has embedded, whole, at 12.5 samples a second (Burns and others, "
        '2018); "watch 50 Hz" are the same at their full rate, as seglearn has them.'
    )
    absent = [name for name in ranking.SETS if name not in sets]
    return f"{about} Not run for this page: {', '.join(absent)}." if absent else about


def set_table(sets):
    header = ("set", "series", "training + validation + test", "classes", "channels", "lengths")
    rows = [
        (name, f["series"], f["parts"], f["classes"], f["channels"], span(f["shortest"], f["longest"]))
        for name, f in sets.items()
    ]
    return table(header, rows)


def result_table(methods):
    best = {measure: max(mean(outcomes, measure) for outcomes in methods.values()) for measure in TITLES}
    rows = []
    for method, outcomes in methods.items():
        cells = []
        for measure in TITLES:
            text = f"{100 * mean(outcomes, measure):.1f}"
            bold = f"**{text}**" if mean(outcomes, measure) == best[measure] else text
            cells.append(f"{bold} ± {100 * deviation(outcomes, measure):.1f}")
        rows.append((method, *cells, chosen(outcomes)))
    return table(("method", *TITLES.values(), "settings chosen"), rows)


def chosen(outcomes):
    """The settings of the seeds, with how often each was chosen."""
    names = ["none" if one["setting"] is None else f"{one['setting']:g}" for one in outcomes]
    return ", ".join(f"{name} ({names.count(name)})" for name in dict.fromkeys(sorted(names)))


def against_dtw(methods):
    """In how many seeds a method's mean average precision is above DTW's."""
    dtw = precisions(methods["DTW"])
    others = ((method, precisions(outcomes)) for method, outcomes in methods.items() if method != "DTW")
    better = ", ".join(f"{(own > dtw).sum()} ({method})" for method, own in others)
    return f"Seeds of {len(dtw)} in which the mean average precision is above that of DTW: {better}."


def coupling(results):
    """Blocks: differences to the siamese network in mean average precision, seed by seed."""
    rows, clear = [], []
    for name, methods in results.items():
        alone = precisions(methods["siamese GRU"])
        for method in (method for method in methods if method.startswith("coupled")):
            gain = precisions(methods[method]) - alone
            text = f"{100 * gain.mean():+.1f}"
            rows.append((name, method, f"{text} ± {100 * spread(gain):.1f}", f"{(gain > 0).sum()} of {len(gain)}"))
            if abs(gain.mean()) > 2 * spread(gain) / np.sqrt(len(gain)):
                clear.append(f"{method} on {name} ({text})")
    if not clear:
        said = "none differs from zero by more than two standard errors of the mean"
    else:
        said = f"these differ from zero by more than two standard errors of the mean: {'; '.join(clear)}"
    return [
        "Gain over the siamese network in mean average precision, in points: mean and standard deviation of the "
        "differences seed by seed, and in how many seeds it is positive.",
        table(("set", "method", "gain", "positive"), rows),
        f"Of the {len(rows)} mean gains, {said}. So many comparisons at once, on parts that overlap from seed to seed, "
        "are a description and no test.",
    ]


def precisions(outcomes):
    return np.array([one["mean_average_precision"] for one in outcomes])


def spread(values):
    return values.std(ddof=1) if len(values) > 1 else np.nan


def mean(outcomes, measure):
    return float(np.mean([one[measure] for one in outcomes]))


def deviation(outcomes, measure):
    return spread(np.array([one[measure] for one in outcomes]))


def listed(values):
    return ", ".join(f"{value:g}" for value in values)
