"""Pitch classes from audio, learned from weak targets by soft-DTW, with and without the strategies that stabilise it.

    python -m benchmarks.experiments.pitch_classes [--quick] [--markdown FILE] [--cache FOLDER] [--n-jobs N]

Needs torch, tqdm, joblib and, for the picture, matplotlib. The protocol is that of Zeitler, Deniffel, Krause and
Müller, Stabilizing training with soft dynamic time warping, ISMIR 2023, on other data: embedded chorales, rendered with
other instruments for the training than for the test. The page that this writes tells the rest. Runs that are finished
are kept in the folder of the cache, so that an experiment that was interrupted goes on where it stopped.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.experiments import kept, music, pitch_classes_page, runs
from sdtwkit import datasets, weak
from sdtwkit.torch import SoftAlignment, SoftDTWLoss

MODULE = "benchmarks.experiments.pitch_classes"


class Settings(NamedTuple):
    training: music.Part
    test: music.Part
    frame_rate: float = 40.0
    frames: int = 500  # of an excerpt
    batch: int = 16
    epochs: int = 24
    updates: int = 20  # an epoch
    learning_rate: float = 3e-3
    width: int = 64  # channels of the network
    patience: int = 25  # updates, of the adaptive schedule
    factor: float = 0.3  # by which it takes gamma down
    seeds: int = 5


TRAINING = ("organ", "strings", "clarinet", "piano")
TEST = ("flute", "oboe", "harpsichord")
SETTINGS = Settings(
    music.Part(tuple(range(21, 300, 7)), TRAINING, performances=2),
    music.Part(tuple(range(301, 371, 6)), TEST, performances=2),
)
QUICK = Settings(
    music.Part(tuple(range(21, 300, 20)), TRAINING, performances=1),
    music.Part(tuple(range(301, 371, 12)), TEST, performances=1),
    updates=8,
    seeds=1,
)


class Strategy(NamedTuple):
    """A row of the table: what the loss is in each update. Schedules are functions of the epoch, a real number."""

    title: str
    published: str = ""
    gamma: float | Callable = 0.1
    adaptive: bool = False  # gamma falls from 10 to 0.1 when the row entropy has stopped falling, and none collapse
    omega: Callable | None = None  # factor of the diagonal prior
    step_weights: tuple = weak.STEP_WEIGHTS["unit"]
    unfolded: bool = False
    strong: bool = False


STRATEGIES = {
    "strong": Strategy("strong targets, mean squared error", ".82", strong=True),
    "gamma-0.1": Strategy("soft-DTW, gamma 0.1", ".24 to .63", gamma=0.1),
    "gamma-0.3": Strategy("soft-DTW, gamma 0.3", ".24 to .63", gamma=0.3),
    "gamma-1": Strategy("soft-DTW, gamma 1", ".24 to .63", gamma=1.0),
    "gamma-3": Strategy("soft-DTW, gamma 3", ".24 to .63", gamma=3.0),
    "gamma-10": Strategy("soft-DTW, gamma 10", ".24 to .63", gamma=10.0),
    "schedule": Strategy("gamma schedule, 10 to 0.1", ".80", gamma=weak.LinearSchedule(10.0, 0.1, 10, 20)),
    "prior": Strategy("diagonal prior, gamma 0.1", ".81", omega=weak.LinearSchedule(3.0, 0.0, 5, 10)),
    "unfolding": Strategy("unfolding, gamma 0.1", ".53", unfolded=True),
    "weights-0.1": Strategy("step weights (1, 1, 0.1), gamma 0.1", step_weights=weak.STEP_WEIGHTS["staying"]),
    "weights-0.03": Strategy("step weights (1, 1, 0.03), gamma 0.1", step_weights=(1.0, 1.0, 0.03)),
    "adaptive": Strategy("adaptive schedule, 10 to 0.1", adaptive=True),
}


class Data(NamedTuple):
    training: list  # of Recordings
    test: list
    watched: tuple  # a batch of excerpts, the same in all runs: what alignments are told of


def main(argv=None):
    """Train what is not in the cache yet, then write or print the page."""
    arguments = runs.parser(MODULE, __doc__, "one seed, fewer recordings, short training").parse_args(argv)
    settings = QUICK if arguments.quick else SETTINGS
    arguments.cache.mkdir(parents=True, exist_ok=True)
    parts = [(part, arguments.cache, settings) for part in ("training", "test")]
    runs.every(prepare, parts, arguments.n_jobs)
    jobs = [(name, seed, settings, arguments.cache) for seed in range(settings.seeds) for name in STRATEGIES]
    records = runs.every(run, jobs, arguments.n_jobs)
    results = {name: [] for name in STRATEGIES}
    for (name, *_), record in zip(jobs, records, strict=True):
        results[name].append(record["result"])
    picture = None
    if arguments.markdown:
        picture = arguments.markdown.with_suffix(".png")
        pitch_classes_page.draw(picture, STRATEGIES, alignments(settings, arguments.cache), settings)
    text = pitch_classes_page.markdown(
        STRATEGIES,
        results,
        settings,
        facts(data(settings, arguments.cache), settings),
        sum(record["cpu_seconds"] for record in records),
        runs.command(MODULE, arguments),
        picture,
    )
    runs.deliver(text, arguments)


def prepare(part, cache, settings):
    music.recordings(getattr(settings, part), datasets.pitch_class_roll, settings.frame_rate, cache)


@functools.cache
def data(settings, cache):
    parts = (
        music.recordings(part, datasets.pitch_class_roll, settings.frame_rate, cache)
        for part in (settings.training, settings.test)
    )
    training, test = ([one for one in part if len(one.features) >= settings.frames] for part in parts)
    return Data(training, test, excerpts(training, settings, np.random.default_rng(2023)))


def facts(data, settings):
    """What the page says of the data."""
    _, strong = data.watched
    targets = [weak.weak_targets(one) for one in strong]
    evenly = [weak.unfold(one, settings.frames) for one in targets]
    numbers = [true_path(one, False)[:, 1] for one in strong]
    off = [
        distance(weak.unfold(np.arange(len(few)), settings.frames), k) for few, k in zip(targets, numbers, strict=True)
    ]
    return {
        "training": len(data.training),
        "test": len(data.test),
        "minutes": sum(len(one.features) for one in data.training) / settings.frame_rate / 60,
        "targets": float(np.mean([len(few) for few in targets])),
        "off": float(np.mean(off)),
        "even": float((np.stack(evenly) == np.stack(strong)).all(axis=-1).mean()),
    }


def distance(ours, true):
    """Mean over frames of how far away the frames are where the target that `ours` gives a frame truly is."""
    first, last = np.searchsorted(true, ours, "left"), np.searchsorted(true, ours, "right") - 1
    frames = np.arange(len(true))
    return np.maximum(np.maximum(first - frames, frames - last), 0).mean()


# ---- training


def run(name, seed, settings, cache):
    """One strategy with one seed -> its record; the alignments of seed 0 are kept beside it."""
    torch.set_num_threads(1)
    strategy = STRATEGIES[name]
    file = cache / f"{name}.{seed}.npz"

    def compute():
        result, pictures = train(strategy, seed, settings, data(settings, cache))
        if seed == 0 and pictures:
            np.savez_compressed(file, **pictures)
        return result

    return kept.part(cache / f"{name}.{seed}.json", {"settings": repr((settings, described(strategy)))}, compute)


def described(strategy):
    return strategy._replace(title="", published="")


def train(strategy, seed, settings, data):
    """-> {"f": F-measure on the test part, "first", "last": diagnostics of the alignments}, {"first", "last": E}."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(settings.width)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    loss = Loss(strategy, settings)
    result, pictures = {}, {}
    for epoch in range(settings.epochs):
        for k in range(settings.updates):
            features, strong = excerpts(data.training, settings, rng)
            loss.prepare(epoch + k / settings.updates)
            value = loss(network(features), strong)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        moment = {0: "first", settings.epochs - 1: "last"}.get(epoch)
        if moment and not strategy.strong:
            features, strong = data.watched
            with torch.no_grad():
                result[moment], pictures[moment] = loss.diagnose(network(features), strong)
    result["f"] = test(network, data.test)
    return result, pictures


class Network(torch.nn.Sequential):
    """Log-frequency features (B, n, 72) -> probabilities of pitch classes (B, n, 12), from 13 frames each."""

    def __init__(self, width):
        super().__init__(
            torch.nn.Conv1d(72, width, 9, padding=4),
            torch.nn.ReLU(),
            torch.nn.Conv1d(width, width, 5, padding=2),
            torch.nn.ReLU(),
            torch.nn.Conv1d(width, 12, 1),
            torch.nn.Sigmoid(),
        )

    def forward(self, features):
        return super().forward(features.transpose(1, 2)).transpose(1, 2)


def excerpts(recordings, settings, rng):
    """A random batch -> features (B, n, 72), list of strong targets (n, 12); transposed at random."""
    features, targets = [], []
    for _ in range(settings.batch):
        recording = recordings[rng.integers(len(recordings))]
        start = rng.integers(len(recording.features) - settings.frames + 1)
        these = slice(start, start + settings.frames)
        semitones = int(rng.integers(-5, 7))
        features.append(transposed(recording.features[these], semitones))
        targets.append(np.roll(recording.targets[these], semitones, axis=1))
    return torch.from_numpy(np.stack(features)), targets


def transposed(features, semitones):
    """Moved along the pitches; nothing sounds where nothing was."""
    moved = np.zeros_like(features)
    low, high = max(semitones, 0), features.shape[1] + min(semitones, 0)
    moved[:, low:high] = features[:, low - semitones : high - semitones]
    return moved


class Loss:
    """The loss of a strategy; its state is the epoch."""

    def __init__(self, strategy, settings):
        self.strategy, self.settings = strategy, settings
        options = {"step_weights": strategy.step_weights}
        self.soft_dtw, self.alignment = SoftDTWLoss(normalize="n", **options), SoftAlignment(**options)
        self.gamma, self.omega = strategy.gamma, 0.0
        if strategy.adaptive:
            self.adaptive = weak.AdaptiveSchedule(
                10.0, 0.1, factor=settings.factor, patience=settings.patience, tolerance=0.05
            )
            self.gamma = self.adaptive.value

    def prepare(self, epoch):
        if callable(self.strategy.gamma):
            self.gamma = self.strategy.gamma(epoch)
        if self.strategy.omega:
            self.omega = self.strategy.omega(epoch)

    def __call__(self, predicted, strong):
        if self.strategy.strong:
            return (predicted - torch.from_numpy(np.stack(strong))).square().sum(-1).mean()
        targets, lengths = self._targets(strong)
        self.soft_dtw.gamma, self.soft_dtw.prior = self.gamma, self._prior(lengths)
        value = self.soft_dtw(predicted, targets, y_lengths=lengths)
        if self.strategy.adaptive:
            E = self._alignments(predicted.detach(), targets, lengths)
            found = weak.alignment_diagnostics(E, y_lengths=lengths)
            if found.collapsed.mean() < 0.5:  # else the entropy stands still because nothing is learned yet
                self.gamma = self.adaptive.update(found.row_entropy.mean())
        return value

    def _targets(self, strong):
        """Targets (B, m, 12), as long as the longest of them, and their numbers."""
        targets = [weak.weak_targets(one) for one in strong]
        if self.strategy.unfolded:
            targets = [weak.unfold(one, self.settings.frames) for one in targets]
        lengths = [len(one) for one in targets]
        return torch.from_numpy(weak.pad_repeat(targets, max(lengths), how="last")), lengths

    def _prior(self, lengths):
        if not self.omega:
            return None
        return torch.from_numpy(self.omega * weak.diagonal_prior(self.settings.frames, lengths))

    def _alignments(self, predicted, targets, lengths):
        """(B, n, m) expected alignments at the current gamma, under the current prior."""
        self.alignment.gamma, self.alignment.prior = self.gamma, self._prior(lengths)
        return self.alignment(predicted, targets, y_lengths=lengths).numpy()

    def diagnose(self, predicted, strong):
        """-> means over the batch of the diagnostics, {name: number}; the first alignment."""
        targets, lengths = self._targets(strong)
        E = self._alignments(predicted, targets, lengths)
        paths = [true_path(one, self.strategy.unfolded) for one in strong]
        found = weak.alignment_diagnostics(E, paths, y_lengths=lengths)
        numbers = {
            "row_entropy": found.row_entropy,
            "effective": found.effective_targets / lengths,
            "on_path": found.path_mass,
        }
        return {name: float(np.mean(values)) for name, values in numbers.items()}, E[0, :, : lengths[0]]


def true_path(strong, unfolded):
    """(L, 2) cells of the true alignment: each frame with its target; of unfolded ones, all copies of it."""
    changes = np.append(0, np.cumsum((strong[1:] != strong[:-1]).any(axis=1)))
    if not unfolded:
        return np.stack([np.arange(len(strong)), changes], axis=1)
    copies = weak.unfold(np.arange(changes[-1] + 1), len(strong))
    return np.argwhere(changes[:, None] == copies)


def test(network, recordings):
    """F-measure at threshold 1/2 over all frames and pitch classes."""
    with torch.no_grad():
        predicted = [network(torch.from_numpy(one.features)[None])[0].numpy() > 0.5 for one in recordings]
    strong = [one.targets > 0.5 for one in recordings]
    return music.f_measure(np.concatenate(predicted), np.concatenate(strong))


def alignments(settings, cache):
    """{name: {"first", "last": E (n, m)}} of seed 0, and the true path under "true"."""
    _, strong = data(settings, cache).watched
    found = {"true": true_path(strong[0], False)}
    for name in STRATEGIES:
        file = Path(cache) / f"{name}.0.npz"
        if file.exists():
            with np.load(file) as packed:
                found[name] = dict(packed)
    return found


if __name__ == "__main__":
    from benchmarks.experiments import pitch_classes  # by the name that worker processes know

    pitch_classes.main()
