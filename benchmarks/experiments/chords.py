"""Chords from audio by a network of 25 parameters, learned from weak targets by soft-DTW and by CTC.

    python -m benchmarks.experiments.chords [--quick] [--markdown FILE] [--cache FOLDER] [--n-jobs N]

Needs torch, tqdm and joblib. The network is that of a report on chord recognition with soft-DTW: logarithmic
compression of a chroma, one template for all major and one for all minor chords. The data are other ones: the embedded
chorales that have chords, rendered. The page that this writes tells the rest. Runs that are finished are kept in the
folder of the cache, so that an experiment that was interrupted goes on where it stopped.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.experiments import chords_page, kept, music, runs
from sdtwkit import datasets, weak
from sdtwkit.torch import CTCLoss, SoftDTWLoss

MODULE = "benchmarks.experiments.chords"
PIECES = tuple(chorale.number for chorale in datasets.load_bach_chorales().data if chorale.chords)


class Settings(NamedTuple):
    training: music.Part = music.Part(PIECES, ("organ", "strings", "clarinet", "piano"), performances=4)
    test: music.Part = music.Part(PIECES, ("flute", "oboe", "harpsichord"), performances=2)
    frame_rate: float = 15.0
    frames: int = 150  # of an excerpt
    most: int = 16  # targets of an excerpt
    batch: int = 16
    updates: int = 600
    learning_rate: float = 0.02
    seeds: int = 5  # each has a fold of its own


SETTINGS = Settings()
QUICK = Settings(
    SETTINGS.training._replace(performances=1), SETTINGS.test._replace(performances=1), updates=200, seeds=1
)


class Supervision(NamedTuple):
    """A row of the table."""

    title: str
    published: str = ""
    loss: str = "soft-DTW"
    length: int | None = None  # that weak targets are padded to
    how: str = "uniform"
    step_weights: tuple = weak.STEP_WEIGHTS["unit"]


SUPERVISIONS = {
    "strong": Supervision("strong targets, binary cross-entropy", ".765", loss="strong"),
    "uniform-16": Supervision("soft-DTW, 16 targets, uniform", ".761", length=16),
    "uniform-75": Supervision("soft-DTW, 75 targets, uniform", ".761", length=75),
    "last-16": Supervision("soft-DTW, 16 targets, last repeated", ".761", length=16, how="last"),
    "last-75": Supervision("soft-DTW, 75 targets, last repeated", ".681", length=75, how="last"),
    "ragged": Supervision("soft-DTW, ragged"),
    "ragged-weights": Supervision(
        "soft-DTW, ragged, step weights (1, 1, 0.1)", step_weights=weak.STEP_WEIGHTS["staying"]
    ),
    "ctc": Supervision("CTC", loss="CTC"),
}


class Data(NamedTuple):
    training: list  # of lists of Recordings, one for each piece
    test: list


def main(argv=None):
    """Train what is not in the cache yet, then write or print the page."""
    arguments = runs.parser(MODULE, __doc__, "one seed, fewer recordings, short training").parse_args(argv)
    settings = QUICK if arguments.quick else SETTINGS
    arguments.cache.mkdir(parents=True, exist_ok=True)
    runs.every(prepare, [(part, settings, arguments.cache) for part in ("training", "test")], arguments.n_jobs)
    jobs = [(name, seed, settings, arguments.cache) for seed in range(settings.seeds) for name in SUPERVISIONS]
    records = runs.every(run, jobs, arguments.n_jobs)
    results = {name: [] for name in SUPERVISIONS}
    for (name, *_), record in zip(jobs, records, strict=True):
        results[name].append(record["result"])
    text = chords_page.markdown(
        SUPERVISIONS,
        results,
        settings,
        facts(data(settings, arguments.cache), settings),
        sum(record["cpu_seconds"] for record in records),
        runs.command(MODULE, arguments),
    )
    runs.deliver(text, arguments)


# ---- data


def prepare(part, settings, cache):
    music.recordings(getattr(settings, part), datasets.chord_roll, settings.frame_rate, cache)


@functools.cache
def data(settings, cache):
    sides = []
    for part in (settings.training, settings.test):
        found = music.recordings(part, datasets.chord_roll, settings.frame_rate, cache)
        found = [with_chords(one) for one in found]
        sides.append([found[k : k + part.performances] for k in range(0, len(found), part.performances)])
    return Data(*sides)


def with_chords(recording):
    """Chroma (n, 12), the sum over octaves of amplitudes, and chords (n, 24), from the first to the last chord."""
    amplitude = np.expm1(recording.features) / 100  # log_frequency_features are log(1 + 100 a)
    sounding = np.flatnonzero(recording.targets.any(axis=1))
    these = slice(sounding[0], sounding[-1] + 1)
    return music.Recording(amplitude.reshape(-1, 6, 12).sum(axis=1)[these], recording.targets[these])


def fold(data, seed, settings):
    """-> recordings for the training, recordings of the other pieces for the test."""
    pieces = np.arange(len(PIECES))
    held_out = pieces % Settings().seeds == seed
    training = [one for piece in pieces[~held_out] for one in data.training[piece]]
    return training, [one for piece in pieces[held_out] for one in data.test[piece]]


def excerpts(recordings, settings, rng):
    """A random batch -> chroma (B, n, 12), list of strong targets (n, 24), list of weak targets (m, 24)."""
    chroma, strong, few = [], [], []
    while len(chroma) < settings.batch:
        recording = recordings[rng.integers(len(recordings))]
        start = rng.integers(len(recording.features) - settings.frames + 1)
        these = slice(start, start + settings.frames)
        targets = weak.weak_targets(recording.targets[these])
        if len(targets) <= settings.most:
            chroma.append(recording.features[these])
            strong.append(recording.targets[these])
            few.append(targets)
    return torch.from_numpy(np.stack(chroma)), strong, few


def facts(data, settings):
    """What the page says of the data."""
    training = [one for performances in data.training for one in performances]
    *_, few = excerpts(training, settings._replace(batch=500), np.random.default_rng(0))
    return {
        "pieces": len(PIECES),
        "minutes": sum(len(one.features) for one in training) / settings.frame_rate / 60,
        "targets": float(np.mean([len(targets) for targets in few])),
    }


# ---- training


class Network(torch.nn.Module):
    """Chroma (B, n, 12) -> scores (B, n, 24); or (B, n, 25), a blank in front, whose score is one parameter more."""

    def __init__(self, with_blank):
        super().__init__()
        self.compression = torch.nn.Parameter(torch.tensor(3.0))  # logarithm of the factor
        self.templates = torch.nn.Parameter(0.1 * torch.randn(2, 12))  # major, minor; from the root upwards
        self.blank = torch.nn.Parameter(torch.zeros(1)) if with_blank else None
        self.register_buffer("turns", (torch.arange(12) - torch.arange(12)[:, None]) % 12)  # [root, pitch class]

    def forward(self, chroma):
        compressed = torch.log1p(self.compression.exp() * chroma)
        scores = compressed @ self.templates[:, self.turns].reshape(24, 12).T
        if self.blank is None:
            return scores
        return torch.cat([self.blank.expand(*scores.shape[:-1], 1), scores], dim=-1)


class Loss:
    """From scores to the loss of a supervision."""

    def __init__(self, supervision):
        self.supervision = supervision
        self.ctc = CTCLoss()
        self.soft_dtw = SoftDTWLoss(1.0, cost="bce", normalize="n", step_weights=supervision.step_weights)

    def __call__(self, scores, strong, few):
        if self.supervision.loss == "CTC":
            labels = [1 + targets.argmax(axis=1) for targets in few]
            padded = torch.from_numpy(weak.pad_repeat(labels, max(map(len, labels)), how="last"))
            return self.ctc(scores.log_softmax(-1), padded, target_lengths=[len(one) for one in labels])
        logits = logits_of_softmax(scores)
        if self.supervision.loss == "strong":
            targets = torch.from_numpy(np.stack(strong))
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(scores)
        if self.supervision.length:
            lengths = None
            targets = weak.pad_repeat(few, self.supervision.length, self.supervision.how)
        else:
            lengths = [len(targets) for targets in few]
            targets = weak.pad_repeat(few, max(lengths), how="last")
        return self.soft_dtw(logits, torch.from_numpy(targets), y_lengths=lengths)


def logits_of_softmax(scores):
    """log p - log(1 - p) of p = softmax(scores): what binary cross-entropy takes, without a difference from 1."""
    others = torch.full((scores.shape[-1],) * 2, 0.0).fill_diagonal_(-torch.inf)
    return scores - (scores[..., None, :] + others).logsumexp(-1)


def run(name, seed, settings, cache):
    """One supervision with one seed -> its record."""
    torch.set_num_threads(1)
    supervision = SUPERVISIONS[name]
    described = supervision._replace(title="", published="")

    def compute():
        return train(supervision, seed, settings, *fold(data(settings, cache), seed, settings))

    return kept.part(cache / f"{name}.{seed}.json", {"settings": repr((settings, described))}, compute)


def train(supervision, seed, settings, training, test):
    """-> what `score` finds on the test part."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, loss = Network(supervision.loss == "CTC"), Loss(supervision)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for _ in range(settings.updates):
        chroma, strong, few = excerpts(training, settings, rng)
        value = loss(network(chroma), strong, few)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return score(network, test)


def score(network, recordings):
    """-> {"f": F-measure of the most probable chord of each frame}, over all frames; a blank is not asked for.

    With a blank also {"blank": the share of frames in which it is more probable than every chord}.
    """
    with torch.no_grad():
        scores = np.concatenate([network(torch.from_numpy(one.features)[None])[0].numpy() for one in recordings])
    predicted = np.eye(24, dtype=bool)[scores[:, -24:].argmax(axis=1)]
    strong = np.concatenate([one.targets for one in recordings]) > 0.5
    result = {"f": music.f_measure(predicted, strong)}
    if network.blank is not None:
        result["blank"] = float((scores.argmax(axis=1) == 0).mean())
    return result


if __name__ == "__main__":
    from benchmarks.experiments import chords  # by the name that worker processes know

    chords.main()
