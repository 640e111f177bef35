"""Recordings for the music experiments: embedded chorales, rendered, as features and strong targets, kept on disk.

Training and test parts differ in the pieces and in the instruments that play them.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from sdtwkit import __version__, datasets
from sdtwkit.audio import log_frequency_features


class Recording(NamedTuple):
    """One performance, frame by frame."""

    features: np.ndarray  # (n, 72) float32
    targets: np.ndarray  # (n, k) float32, 0 or 1: strong


class Part(NamedTuple):
    """What the recordings of a part are made of."""

    pieces: tuple  # numbers of chorales; those that the data set leaves out are left out
    timbres: tuple
    performances: int  # of each piece, the timbres in turn
    noise: float = 0.05
    tempo: float = 72.0
    tempo_spread: float = 0.25


def recordings(part, target, frame_rate, cache):
    """List of Recordings. `target` is a function of sdtwkit.datasets: of a chorale and times in the score."""
    described = repr((__version__, part, target.__name__, frame_rate)).encode()
    file = cache / f"recordings-{hashlib.sha256(described).hexdigest()[:16]}.npz"
    if file.exists():
        with np.load(file) as kept:
            counts, features, targets = kept["counts"], kept["features"], kept["targets"]
    else:
        chorales = [one for one in datasets.load_bach_chorales().data if one.number in part.pieces]
        made = [recording(one, k, part, target, frame_rate) for one in chorales for k in range(part.performances)]
        counts = np.array([len(one.features) for one in made])
        features, targets = (np.concatenate(column).astype(np.float16) for column in zip(*made, strict=True))
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, counts=counts, features=features, targets=targets)
        partial.replace(file)
    cuts = np.cumsum(counts)[:-1]
    parts = (np.split(array.astype(np.float32), cuts) for array in (features, targets))
    return [Recording(*one) for one in zip(*parts, strict=True)]


def recording(chorale, k, part, target, frame_rate):
    """The k-th performance of a chorale; always the same for the same arguments."""
    timbre = part.timbres[(chorale.number + k) % len(part.timbres)]
    rng = np.random.default_rng((chorale.number, k))
    performance = datasets.render_performance(
        chorale,
        timbre=timbre,
        tempo=part.tempo * np.exp(0.2 * rng.standard_normal()),
        tempo_spread=part.tempo_spread,
        noise=part.noise,
        random_state=rng,
    )
    features = log_frequency_features(performance.audio, performance.rate, frame_rate=frame_rate)
    times = performance.to_score(np.arange(len(features)) / frame_rate)
    return Recording(features, target(chorale, times))


def f_measure(predicted, strong):
    """2 TP / (2 TP + FP + FN) of two boolean arrays, over all entries together."""
    true = np.count_nonzero(predicted & strong)
    return 2 * true / (np.count_nonzero(predicted) + np.count_nonzero(strong))
