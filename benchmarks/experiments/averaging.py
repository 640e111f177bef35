"""Barycenters by soft-DTW and by DBA, compared by what they cost under hard DTW.

After section 4.1 of Cuturi and Blondel (ICML 2017): some series of one class, both drawn at random, are averaged from
two starts with as many iterations; the loss of a barycenter z is the mean of dtw(z, x_i).
"""

from typing import NamedTuple

import numpy as np

from sdtwkit import cdist_dtw, dtw_barycenter_averaging, soft_dtw_barycenter


class Settings(NamedTuple):
    gammas: tuple = (1.0, 0.1, 0.01, 0.001)
    n_series: int = 10
    repeats: int = 10
    starts: tuple = ("mean", "random")  # names of `init`
    max_iter: int = 100  # of L-BFGS and of DBA, neither ended earlier by a tolerance


def run(data, settings):
    """-> one outcome for each repeat and start: the losses of DBA and of soft-DTW at each gamma."""
    return [
        compare(draw(data, settings, seed), start, seed, settings)
        for seed in range(settings.repeats)
        for start in settings.starts
    ]


def draw(data, settings, seed):
    """Series of one class, from the training and the test part together; classes that have too few are passed over."""
    rng = np.random.default_rng(seed)
    X, y = data.X_train + data.X_test, np.concatenate([data.y_train, data.y_test])
    labels, counts = np.unique(y, return_counts=True)
    members = np.flatnonzero(y == rng.choice(labels[counts >= settings.n_series]))
    return [X[i] for i in rng.choice(members, settings.n_series, replace=False)]


def compare(X, start, seed, settings):
    options = {"init": start, "random_state": seed, "max_iter": settings.max_iter, "tol": 0.0}
    soft = {f"{gamma:g}": loss(soft_dtw_barycenter(X, gamma, **options), X) for gamma in settings.gammas}
    return {"start": start, "dba": loss(dtw_barycenter_averaging(X, **options), X), "soft": soft}


def loss(z, X):
    """Mean of dtw(z, x_i)."""
    return float(cdist_dtw([z], X).mean())
