"""Nearest neighbors and nearest centroids under DTW, soft-DTW and three divergences.

After Cuturi and Blondel (ICML 2017) and Blondel, Mensch and Vert (AISTATS 2021). gamma, and the number of neighbors,
are those of the best accuracy in a stratified cross-validation of the training part; among equals, those of fewer
neighbors, then of the smaller gamma. The test part is for the result alone.
"""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from sdtwkit import (
    AlignmentDistance,
    NearestSoftCentroid,
    SoftDTWKNeighborsClassifier,
    cdist_dtw,
    dtw_barycenter_averaging,
)
from sdtwkit.barycenters import common_length

COST = "half_sqeuclidean"  # as in the paper of 2021, for all measures alike
# metric of AlignmentDistance -> parameter `divergence` of NearestSoftCentroid; for "dtw" there is none, DBA stands in.
DIVERGENCES = {
    "dtw": None,
    "soft_dtw": False,
    "soft_dtw_divergence": "soft",
    "sharp_divergence": "sharp",
    "mean_divergence": "mean",
}
WITHOUT_GAMMA = ("dtw", "mean_divergence")


class Settings(NamedTuple):
    gammas: tuple = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    neighbors: tuple = (1, 3, 5)
    folds: int = 3
    seed: int = 0
    max_iter: int = 50  # of L-BFGS and of DBA

    def grid(self, metric):
        return (1.0,) if metric in WITHOUT_GAMMA else self.gammas

    def split(self):
        return StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)


def nearest_neighbors(data, metric, settings):
    """Vote of the k nearest training series."""
    options = {"metric": metric, "cost": COST}
    scores = {}
    for gamma in settings.grid(metric):
        distances = AlignmentDistance(gamma=gamma, **options).fit_transform(data.X_train)
        distances -= distances.min()  # votes follow the order alone, and scikit-learn refuses negatives of soft-DTW
        for k in settings.neighbors:
            votes = KNeighborsClassifier(k, metric="precomputed")
            fold_scores = cross_val_score(votes, distances, data.y_train, cv=settings.split())
            scores[k, gamma] = round(fold_scores.mean(), 9)  # equal scores shall be equal
    k, gamma = max(sorted(scores), key=scores.get)
    model = SoftDTWKNeighborsClassifier(k, gamma, **options).fit(data.X_train, data.y_train)
    return outcome(model.score(data.X_test, data.y_test), metric, gamma, k)


def nearest_centroids(data, metric, settings):
    """The class of the nearest barycenter."""
    if metric == "dtw":
        return outcome(accuracy_of_dba(data, settings), metric)
    model = NearestSoftCentroid(divergence=DIVERGENCES[metric], cost=COST, max_iter=settings.max_iter)
    search = GridSearchCV(model, {"gamma": settings.grid(metric)}, cv=settings.split(), error_score="raise")
    search.fit(data.X_train, data.y_train)
    return outcome(search.score(data.X_test, data.y_test), metric, search.best_params_["gamma"])


def accuracy_of_dba(data, settings):
    """Test accuracy of the nearest DBA barycenter under DTW, which leaves nothing to be chosen."""
    options = {"length": common_length(data.X_train), "cost": COST, "max_iter": settings.max_iter}
    classes = np.unique(data.y_train)
    groups = ([x for x, y in zip(data.X_train, data.y_train, strict=True) if y == label] for label in classes)
    centroids = [dtw_barycenter_averaging(group, **options) for group in groups]
    nearest = cdist_dtw(data.X_test, centroids, cost=COST).argmin(axis=1)
    return accuracy_score(data.y_test, classes[nearest])


def outcome(accuracy, metric, gamma=None, k=None):
    return {"accuracy": float(accuracy), "k": k, "gamma": None if metric in WITHOUT_GAMMA else float(gamma)}
