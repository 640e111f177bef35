"""Pairs that belong together (+1) or not (-1): reading them, and drawing as many of the one as of the other.

An epoch is two arrays of index pairs of equal length, same ones and different ones, row by row; a minibatch is a few
rows of both.
"""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from .. import _arrays


def read_pairs(pairs, n_series, name="pairs"):
    """(n_pairs, 2) int64 indices of series, from 0."""
    array = np.asarray(_arrays.on_host(pairs))
    if array.ndim != 2 or array.shape[1:] != (2,) or not len(array):
        raise ValueError(f"{name} has shape {array.shape}; expected (n_pairs, 2), two indices of series a row")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}; expected integers, indices of series of X")
    wrong = np.flatnonzero(((array < 0) | (array >= n_series)).any(axis=1))
    if len(wrong):
        k = wrong[0]
        raise ValueError(
            f"{name}[{k}] is {tuple(array[k].tolist())}, X has {n_series} series; expected 0 to {n_series - 1}"
        )
    return array.astype(np.int64)


def read_signs(y, n_pairs, name="y"):
    """(n_pairs,) bool, whether the pairs belong together, from +1 and -1."""
    if y is None:
        raise ValueError(f"{name} is None; expected +1 (same) or -1 (different) for each pair")
    array = column_or_1d(check_array(_arrays.on_host(y), ensure_2d=False, dtype=None, input_name=name))
    if len(array) != n_pairs:
        raise ValueError(f"{name} has {len(array)} entries for {n_pairs} pairs; expected one for each")
    wrong = np.flatnonzero((array != 1) & (array != -1))
    if len(wrong):
        raise ValueError(f"{name}[{wrong[0]}] is {array.tolist()[wrong[0]]!r}; expected +1 (same) or -1 (different)")
    return array == 1


def read_labels(y, n_series):
    """(n_series,) int64 numbers of classes, 0 and up."""
    if y is None:
        raise ValueError("fit_labels requires y to be passed, but the target y is None")
    y = column_or_1d(check_array(_arrays.on_host(y), ensure_2d=False, dtype=None, input_name="y"), warn=True)
    check_classification_targets(y)
    if len(y) != n_series:
        raise ValueError(f"y has {len(y)} labels, X has {n_series} series; expected one label for each")
    return np.unique(y, return_inverse=True)[1].astype(np.int64)


class PairSampler:
    """Epochs of given pairs: all of the more frequent kind once, the others as often as needed."""

    def __init__(self, pairs, same):
        for kind, sign in ((same, "+1"), (~same, "-1")):
            if not kind.any():
                raise ValueError(f"y holds no {sign}; expected pairs of both kinds")
        self.same, self.different = pairs[same], pairs[~same]

    def epoch(self, rng):
        n = max(len(self.same), len(self.different))
        return _cycled(self.same, n, rng), _cycled(self.different, n, rng)


class LabelSampler:
    """Epochs of labelled series: each, in random order, with one of its own class and with one of another."""

    def __init__(self, labels, series):
        """`labels` (n,) of the series numbered `series` (n,)."""
        self.members = [series[labels == label] for label in np.unique(labels)]
        if len(self.members) < 2:
            raise ValueError("y holds one class; expected at least two")
        if max(map(len, self.members)) < 2:
            raise ValueError("y holds no class of two series; expected some that belong together")

    def epoch(self, rng):
        same, different = [], []
        for k, own in enumerate(self.members):
            others = np.concatenate([members for m, members in enumerate(self.members) if m != k])
            if len(own) > 1:  # each but itself
                shift = rng.integers(1, len(own), size=len(own))
                same.append(np.column_stack([own, own[(np.arange(len(own)) + shift) % len(own)]]))
                different.append(np.column_stack([own, rng.choice(others, size=len(own))]))
        order = rng.permutation(sum(map(len, same)))
        return np.concatenate(same)[order], np.concatenate(different)[order]


def _cycled(pairs, n, rng):
    """n rows: whole permutations of the pairs, the last cut off."""
    rounds = [pairs[rng.permutation(len(pairs))] for _ in range(-(-n // len(pairs)))]
    return np.concatenate(rounds)[:n]


def together(same, different):
    """-> pairs (2 n, 2) and whether they belong together (2 n,), same ones first."""
    return np.concatenate([same, different]), np.arange(2 * len(same)) < len(same)


# ---- a threshold for distances

STRATEGIES = ("accuracy", "f_beta", "max_tpr", "max_tnr")


def best_threshold(distances, same, strategy, min_rate=None, beta=1.0):
    """The distance up to which pairs are best taken for same.

    "accuracy" and "f_beta" are largest there; "max_tpr" is the largest rate of same pairs found at a rate of different
    pairs refused of `min_rate` at least, and "max_tnr" the other way round.
    """
    order = np.argsort(distances, kind="stable")
    d, positive = distances[order], same[order]
    last = np.append(d[1:] > d[:-1], True)  # of equal distances
    tp = np.concatenate([[0], np.cumsum(positive)[last]])
    fp = np.concatenate([[0], np.cumsum(~positive)[last]])
    # Halfway to the next distance; below the first, none is accepted.
    values = d[last]
    thresholds = np.concatenate([[values[0] - 1.0], values])
    thresholds[1:-1] = (values[:-1] + values[1:]) / 2
    P, N = max(positive.sum(), 1), max((~positive).sum(), 1)
    tpr, tnr = tp / P, 1 - fp / N
    if strategy == "accuracy":
        merit = tp - fp
    elif strategy == "f_beta":
        merit = (1 + beta**2) * tp / np.maximum(tp + fp + beta**2 * P, 1e-300)
    elif strategy == "max_tpr":
        merit = np.where(tnr >= min_rate, tpr, -1)
    else:
        merit = np.where(tpr >= min_rate, tnr, -1)
    return float(thresholds[np.argmax(merit)])
