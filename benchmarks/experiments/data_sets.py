"""Data sets of the UCR and UEA archives that Python packages carry with them; nothing is downloaded.

Training and test parts are the archives' own. Every channel is standardised by the mean and the standard deviation of
all its training samples, so that gamma means the same everywhere. Most univariate sets are distributed with every
series z-normalised; those it leaves as they are, up to a common factor close to 1.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Where a set is published: the archive of 85 sets of 2015, which the papers used, its extension to 128 sets of 2018, or
# the multivariate archive of 30 sets of 2018.
ARCHIVES = {
    "ACSF1": "UCR 2018",
    "ArrowHead": "UCR 2015",
    "BasicMotions": "UEA 2018",
    "GunPoint": "UCR 2015",
    "ItalyPowerDemand": "UCR 2015",
    "JapaneseVowels": "UEA 2018",
    "OSULeaf": "UCR 2015",
    "PickupGestureWiimoteZ": "UCR 2018",
    "Trace": "UCR 2015",
}


class DataSet(NamedTuple):
    """Series are (n_i, d) arrays."""

    name: str
    X_train: list
    y_train: np.ndarray
    X_test: list
    y_test: np.ndarray

    def cells(self):
        """Matches in a pass over the training part: how much work the set is."""
        return sum(len(x) ** 2 for x in self.X_train)

    def facts(self):
        """What the page tells about the set."""
        lengths = [len(x) for x in self.X_train + self.X_test]
        return {
            "archive": ARCHIVES.get(self.name, ""),
            "train": len(self.X_train),
            "test": len(self.X_test),
            "classes": len(np.unique(self.y_train)),
            "channels": self.X_train[0].shape[1],
            "shortest": min(lengths),
            "longest": max(lengths),
        }


@functools.cache
def load(name):
    """-> DataSet, standardised."""
    return standardised(_from_tslearn(name) if name == "Trace" else _from_aeon(name))


def standardised(data):
    """The set, each channel less its mean and divided by its standard deviation over all training samples."""
    samples = np.concatenate(data.X_train)
    mean, deviation = samples.mean(axis=0), samples.std(axis=0)
    X_train, X_test = ([(x - mean) / deviation for x in X] for X in (data.X_train, data.X_test))
    return data._replace(X_train=X_train, X_test=X_test)


def _from_aeon(name):
    import aeon
    from aeon.datasets import load_from_ts_file

    from sdtwkit.converters import from_aeon

    folder = Path(aeon.__file__).parent / "datasets" / "data" / name
    parts = [load_from_ts_file(str(folder / f"{name}_{part}.ts")) for part in ("TRAIN", "TEST")]
    (X_train, y_train), (X_test, y_test) = ((list(from_aeon(X)), y) for X, y in parts)
    return DataSet(name, X_train, y_train, X_test, y_test)


def _from_tslearn(name):
    from tslearn.datasets import CachedDatasets

    X_train, y_train, X_test, y_test = CachedDatasets().load_dataset(name)
    return DataSet(name, list(X_train), y_train, list(X_test), y_test)
