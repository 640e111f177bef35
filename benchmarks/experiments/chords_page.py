"""The page of the experiment on chords."""

import numpy as np

from benchmarks.experiments.page import provenance, table, wrapped
from benchmarks.experiments.pitch_classes_page import PACKAGES, mean_and_deviation


def markdown(supervisions, results, settings, facts, cpu_seconds, command):
    blocks = [
        "# Chords from audio with weak targets",
        INTRODUCTION,
        provenance(cpu_seconds, command, PACKAGES),
        PROTOCOL.format(
            **facts,
            **settings._asdict()
            | {
                "timbres": ", ".join(settings.training.timbres),
                "test_timbres": ", ".join(settings.test.timbres),
                "performances": settings.training.performances,
                "test_performances": settings.test.performances,
            },
        ),
        "## Results",
        "F-measure on pieces that were not in the training, mean and standard deviation over seeds, of which there are "
        f"{settings.seeds}; each seed has held out other pieces. Published figures are those of the report, on its own "
        "data.",
        result_table(supervisions, results),
        "## What is found",
        findings(results),
    ]
    return "\n\n".join(map(wrapped, blocks)) + "\n"


INTRODUCTION = """\
An experiment of a report on chord recognition with soft-DTW, on other data: a network of 25 parameters tells which of
24 major and minor chords sounds in each frame, learned from chord sequences without times. The report's recordings are
not within reach; here those of Bach's chorales that have a harmonic analysis, which this package carries with it, are
rendered by additive synthesis."""

PROTOCOL = """\
* Recordings: {pieces} chorales, played {performances} times on {timbres} for the training ({minutes:.0f} minutes in
  all), {test_performances} times on {test_timbres} for the test. A fifth of the pieces is held out for the test.
* Input: chroma, {frame_rate:g} frames a second, {frames} frames an excerpt; {targets:.1f} chords an excerpt in the
  mean, {most} at most.
* Network: log(1 + c x) of the chroma x with a learned c; its scalar products with a template of 12 weights for the
  major and one for the minor chords, turned to each root; softmax over the 24. CTC has a blank besides, whose score is
  one parameter more. Templates start at random.
* Training: Adam at {learning_rate:g}, {updates} updates of {batch} excerpts; soft-DTW has gamma 1 and, as its local
  cost, the binary cross-entropy of the 24 probabilities.
* F-measure of the most probable chord of each frame."""


def result_table(supervisions, results):
    rows = []
    for name, supervision in supervisions.items():
        found = [result["f"] for result in results[name]]
        rows.append((supervision.title, mean_and_deviation(found), supervision.published or "not in the report"))
    return table(("training", "F-measure", "published (report's data)"), rows)


def findings(results):
    means = {name: np.mean([result["f"] for result in found]) for name, found in results.items()}

    def loss(name):
        return f"{means['strong'] - means[name]:.3f}"

    padded = ", ".join(map(loss, ("uniform-16", "uniform-75", "last-16", "last-75")))
    blank = np.mean([result["blank"] for result in results["ctc"]])
    return (
        f"* Padded targets are {padded} behind strong supervision, in the order of the table (published: .004, .004, "
        ".004, .084).\n"
        f"* Ragged targets are {loss('ragged')} behind with unit weights, {loss('ragged-weights')} with step weights.\n"
        f"* CTC is {loss('ctc')} behind. The blank, whose score is the same in all frames, is more probable than every "
        f"chord in {blank:.0%} of them."
    )
