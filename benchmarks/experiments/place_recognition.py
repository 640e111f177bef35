"""Where the frames of one drive are on another: alignments, features learned through them, errors in metres.

After Xu, Garg, Milford and Gould (ICLR 2023), on generated drives. Features are a linear map of the descriptors,
learned on some routes and judged on others.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.experiments.training import learned
from sdtwkit import dec_dtw, dtw_path, soft_dtw_alignment, soft_dtw_alignment_vjp
from sdtwkit.datasets import make_drives, make_route
from sdtwkit.metrics import time_error_and_grad

THRESHOLDS = (1, 2, 5, 10, 20)  # metres


class Settings(NamedTuple):
    length: float = 600.0  # metres of a route
    n_train: int = 48  # routes
    n_validation: int = 12
    n_test: int = 24
    # gamma, and weights of the warp's slope
    smoothings: tuple = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    steps: int = 200  # of Adam
    batch: int = 8  # routes a step
    rate: float = 0.02


def run(seed, settings, further=None):
    """-> {test set: {features: {aligner: outcome}}}, where an outcome has a smoothing and the errors.

    further : (k, 2) array, a route to be tested on beside the generated ones
    """
    train, validation, tests = drives(seed, settings, further)
    maps = feature_maps(train, validation, settings, np.random.default_rng(seed))
    outcomes = judged(maps, validation, tests, settings)
    _, validation, tests = drives(seed, settings, appearance=0)
    return outcomes | judged({"raw": maps["raw"]}, validation, {"clean": tests["generated"]}, settings)


def judged(maps, validation, tests, settings):
    outcomes = {name: {} for name in tests}
    for features, A in maps.items():
        chosen = {aligner: best_smoothing(aligner, A, validation, settings) for aligner in ALIGNERS}
        for name, pairs in tests.items():
            outcomes[name][features] = {
                aligner: {"smoothing": smoothing, **summary(errors(aligner, A, pairs, smoothing))}
                for aligner, smoothing in chosen.items()
            }
    return outcomes


# ---- drives


def drives(seed, settings, further=None, appearance=1.0):
    """-> pairs of drives to train on and to choose by, and {name: pairs} to test on; one sensor, no route twice."""
    counts = settings.n_train, settings.n_validation, settings.n_test
    rng = np.random.default_rng([seed, 1])
    paths = [make_route(settings.length, random_state=rng) for _ in range(sum(counts))]
    paths += [] if further is None else [further]
    pairs = make_drives(paths, appearance=appearance, random_state=seed)
    train, validation, test, rest = (list(part) for part in np.split(np.arange(len(pairs)), np.cumsum(counts)))
    tests = {"generated": test} | ({} if further is None else {"kitti": rest})
    return (
        [pairs[i] for i in train],
        [pairs[i] for i in validation],
        {name: [pairs[i] for i in part] for name, part in tests.items()},
    )


# ---- alignments: features x (n, k) of the reference and y (m, k) of the query, positions s (n,) of the former ->
# positions (m,) of the latter, and how a gradient (m,) with respect to them goes back to x and y


def by_dtw(x, y, s, smoothing=None):
    """The mean position of the frames that the best path matches."""
    i, j = dtw_path(x, y)[0].T
    return np.bincount(j, s[i]) / np.bincount(j), None


def by_soft_dtw(x, y, s, gamma):
    """The mean position under the expected alignment."""
    alignment, _ = soft_dtw_alignment(x, y, gamma)
    visits = alignment.sum(axis=0)
    located = s @ alignment / visits

    def pull_back(gradient):
        return soft_dtw_alignment_vjp(x, y, (s[:, None] - located) * (gradient / visits), gamma)

    return located, pull_back


def by_warp(x, y, s, reg):
    """The position at the warped time, between the frames, too."""
    warp = dec_dtw(x, y, reg)
    times = np.linspace(0, 1, len(s))
    segment = np.clip(np.searchsorted(times, warp.values, side="right") - 1, 0, len(s) - 2)
    speeds = (np.diff(s) / np.diff(times))[segment]

    def pull_back(gradient):
        gradients = warp.vjp(gradient * speeds)
        return gradients.x, gradients.y

    return np.interp(warp.values, times, s), pull_back


ALIGNERS = {"dtw": by_dtw, "soft_dtw": by_soft_dtw, "dec_dtw": by_warp}


# ---- features: A (k, d) maps descriptors (n, d) to x = descriptors @ A.T


def feature_maps(train, validation, settings, rng):
    """-> {features: A}; what is learned starts at the descriptors, with the smoothing that is best for them."""
    raw = np.eye(train[0].query.descriptors.shape[1])
    maps = {"raw": raw, "whitened": whitening(train)}
    for aligner in ("soft_dtw", "dec_dtw"):
        smoothing = best_smoothing(aligner, raw, validation, settings)
        maps[aligner] = learned(
            lambda A, pair, aligner=aligner, smoothing=smoothing: loss(aligner, A, pair, smoothing),
            raw,
            train,
            steps=settings.steps,
            batch=settings.batch,
            rate=settings.rate,
            rng=rng,
        )
    return maps


def loss(aligner, A, pair, smoothing):
    """Mean absolute error over the query's time, in metres, and its gradient (k, d)."""
    reference, query = pair.reference, pair.query
    x, y = reference.descriptors @ A.T, query.descriptors @ A.T
    located, pull_back = ALIGNERS[aligner](x, y, reference.positions, smoothing)
    error, gradient = time_error_and_grad(query.positions, located, query.times)
    grad_x, grad_y = pull_back(gradient)
    return error, grad_x.T @ reference.descriptors + grad_y.T @ query.descriptors


def whitening(pairs):
    """The map under which what differs between the drives, at the same places, has unit covariance."""
    differences = np.concatenate([differences_along_truth(*pair[1:]) for pair in pairs])
    return np.linalg.cholesky(np.linalg.inv(differences.T @ differences / len(differences))).T


def differences_along_truth(reference, query):
    """Query's descriptors less the reference's at the same positions, (m, d)."""
    s, first = np.unique(reference.positions, return_index=True)
    there = [np.interp(query.positions, s, channel) for channel in reference.descriptors[first].T]
    return query.descriptors - np.stack(there, axis=1)


# ---- errors


def errors(aligner, A, pairs, smoothing):
    """Metres of error of every frame of every query."""
    found = []
    for _, reference, query in pairs:
        x, y = reference.descriptors @ A.T, query.descriptors @ A.T
        located, _ = ALIGNERS[aligner](x, y, reference.positions, smoothing)
        found.append(np.abs(located - query.positions))
    return np.concatenate(found)


def best_smoothing(aligner, A, pairs, settings):
    """Of the least mean error; None where there is none to choose."""
    if aligner == "dtw":
        return None
    return min(settings.smoothings, key=lambda smoothing: errors(aligner, A, pairs, smoothing).mean())


def summary(metres):
    return {
        "mean": float(metres.mean()),
        "median": float(np.median(metres)),
        "within": [float((metres <= threshold).mean()) for threshold in THRESHOLDS],
    }
