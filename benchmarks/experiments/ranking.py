"""How well distances, learned or not, rank the series of a set: the parts, the methods, the choice of their settings.

Every method has the same number of settings to choose from; the choice is by mean average precision on a validation
part, of persons that are neither trained on nor tested where the set knows persons. A seed draws the parts and whatever
else is left to chance.
"""

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.experiments import data_sets
from sdtwkit import cdist_dtw, cdist_soft_dtw_divergence
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.metric_learning import CoupledGRU, MahalanobisSoftDTW, SiameseGRU, evaluation

SETS = ("watch", "BasicMotions", "JapaneseVowels", "watch 50 Hz")
NETWORKS = {
    "siamese GRU": (SiameseGRU, {}),
    "coupled, pre": (CoupledGRU, {"coupling": "pre"}),
    "coupled, leak": (CoupledGRU, {"coupling": "leak"}),
    "coupled, add": (CoupledGRU, {"coupling": "add"}),
}
METHODS = ("DTW", "soft divergence", "Mahalanobis", *NETWORKS)
MEASURES = {name: getattr(evaluation, name) for name in evaluation.__all__}


class Settings(NamedTuple):
    seeds: int = 5
    max_iter: int = 60
    patience: int = 10
    hidden_size: int = 32
    crop_seconds: float = 8.0  # of the watch; the other sets are short
    learning_rates: tuple = (3e-3, 1e-2)  # for networks
    gammas: tuple = (0.1, 1.0)  # for the divergence, as it is and learned
    windows: tuple = (None, 0.1)  # for DTW, as a share of the longest series


class Parts(NamedTuple):
    """Series, each channel standardised by the training samples, float32; labels; which series are for what."""

    X: list
    y: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    rate: float | None = None  # samples a second, where crops are in seconds


def facts_of(data):
    lengths = [len(x) for x in data.X]
    return {
        "series": len(data.X),
        "parts": " + ".join(str(len(part)) for part in (data.training, data.validation, data.test)),
        "classes": len(np.unique(data.y)),
        "channels": data.X[0].shape[1],
        "shortest": min(lengths),
        "longest": max(lengths),
    }


# ---- data


@functools.cache
def split(name, seed):
    """-> Parts, drawn by the seed."""
    rng = np.random.default_rng(seed)
    if name.startswith("watch"):
        X, y, person, rate = watch_at_50_hz() if name.endswith("Hz") else watch()
        test, validation, training = np.split(rng.permutation(np.unique(person)), [3, 5])
        members = [np.flatnonzero(np.isin(person, group)) for group in (training, validation, test)]
        return standardised(Parts(X, y, *members, rate))
    data = data_sets.load(name)
    known, test = np.arange(len(data.X_train)), len(data.X_train) + np.arange(len(data.X_test))
    options = {"test_size": 0.3, "random_state": seed, "stratify": data.y_train}
    training, validation = train_test_split(known, **options)
    return standardised(
        Parts(data.X_train + data.X_test, np.append(data.y_train, data.y_test), training, validation, test)
    )


def standardised(data):
    samples = np.concatenate([data.X[k] for k in data.training])
    mean, deviation = samples.mean(axis=0), samples.std(axis=0)
    return data._replace(X=[((x - mean) / deviation).astype(np.float32) for x in data.X])


def watch():
    """-> series, exercises, persons, samples a second; as embedded."""
    recordings = load_watch_exercises()
    return recordings.data, recordings.target, recordings.subject, recordings.sampling_rate


def watch_at_50_hz():
    """The same recordings as seglearn has them."""
    package = importlib.util.find_spec("seglearn")
    if package is None:
        raise SystemExit("seglearn is not installed: python -m pip install --no-deps seglearn")
    source = np.load(Path(package.origin).parent / "data" / "watch_dataset.npy", allow_pickle=True).item()
    X = [np.asarray(x, dtype=float) for x in source["X"]]
    return X, np.asarray(source["y"]), np.asarray(source["subject"]), 50.0


# ---- methods


def outcome(data, method, seed, settings):
    """-> {measure: on the test part}, with the setting that was best on the validation part and all of that part."""
    tried = []
    for setting in candidates(method, settings):
        distances = distances_of(data, method, setting, seed, settings)
        found = distances(data.validation)
        score = evaluation.mean_average_precision(found, data.y[data.validation])
        tried.append((score, setting, distances))
    score, setting, distances = max(tried, key=lambda one: one[0])  # among equals, the first
    found = distances(data.test)
    measured = {name: measure(found, data.y[data.test]) for name, measure in MEASURES.items()}
    return {"setting": setting, "validation": score, "tried": [one[:2] for one in tried], **measured}


def candidates(method, settings):
    if method == "DTW":
        return settings.windows
    return settings.gammas if method in ("soft divergence", "Mahalanobis") else settings.learning_rates


def distances_of(data, method, setting, seed, settings):
    """-> function from indices of series to the distances between them."""

    def chosen(part):
        return [data.X[k] for k in part]

    if method == "DTW":
        radius = None if setting is None else int(setting * max(map(len, data.X)))
        return lambda part: cdist_dtw(chosen(part), window=radius)
    if method == "soft divergence":
        return lambda part: np.maximum(cdist_soft_dtw_divergence(chosen(part), gamma=setting), 0)
    options = {
        "max_iter": settings.max_iter,
        "n_iter_no_change": settings.patience,
        "crop": None if data.rate is None else int(settings.crop_seconds * data.rate),
        "random_state": seed,
    }
    if method == "Mahalanobis":
        # Divergences of whole recordings at every epoch would take most of the time: it stops after so many epochs.
        model = MahalanobisSoftDTW(gamma=setting, **options | {"max_iter": max(settings.max_iter // 4, 1)})
        model.fit_labels(chosen(data.training), data.y[data.training])
    else:
        kind, coupling = NETWORKS[method]
        model = kind(settings.hidden_size, learning_rate=setting, **coupling, **options)
        known = np.concatenate([data.training, data.validation])
        held_out = np.arange(len(data.training), len(known))
        model.fit_labels(chosen(known), data.y[known], validation=held_out)
    return lambda part: model.pairwise_distances(chosen(part))
