"""How well distances rank: series of a query's own class should come before all others.

All take a matrix of distances from queries to a collection and the labels of both. Without labels of a collection the
queries are the collection, and each is left out of its own ranking. Queries of which no series is of their class are
left out of the mean. CuPy arrays are read: scores are found on the host.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils.validation import check_array, column_or_1d

from .. import _arrays

__all__ = ["mean_average_precision", "nearest_neighbor_accuracy", "r_precision", "roc_auc"]


def mean_average_precision(distances: ArrayLike, y: ArrayLike, y_collection: ArrayLike | None = None) -> float:
    """Mean over queries of the average precision of their rankings, as `sklearn.metrics.average_precision_score`.

    Parameters
    ----------
    distances : array of shape (n_queries, n_collection)
    y : array of shape (n_queries,)
        Labels of the queries.
    y_collection : array of shape (n_collection,), optional
        Labels of the collection; None: the queries are the collection.

    Returns
    -------
    score : float within [0, 1]

    Raises
    ------
    ValueError
        If the shapes do not match, or no query has a series of its own class.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.metric_learning.evaluation import mean_average_precision
    >>> positions = np.array([0.0, 1.0, 5.0, 6.0])
    >>> distances = abs(positions[:, None] - positions)
    >>> [round(mean_average_precision(distances, y), 2) for y in ([0, 0, 1, 1], [0, 1, 0, 1])]
    [1.0, 0.42]
    """
    return _mean(average_precision_score(same, -d) for d, same in _rankings(distances, y, y_collection))


def r_precision(distances: ArrayLike, y: ArrayLike, y_collection: ArrayLike | None = None) -> float:
    """Mean over queries of the share of their own class among the R nearest series, R the number of that class.

    Among equal distances the first series counts as nearer.

    Parameters
    ----------
    distances, y, y_collection
        As for `mean_average_precision`.

    Returns
    -------
    score : float within [0, 1]

    Raises
    ------
    ValueError
        As `mean_average_precision`.

    Examples
    --------
    >>> from sdtwkit.metric_learning.evaluation import r_precision
    >>> r_precision([[0.1, 0.3, 0.2]], [1], [1, 1, 0])
    0.5
    """
    return _mean(
        same[np.argsort(d, kind="stable")][: same.sum()].mean() for d, same in _rankings(distances, y, y_collection)
    )


def nearest_neighbor_accuracy(distances: ArrayLike, y: ArrayLike, y_collection: ArrayLike | None = None) -> float:
    """Share of the queries whose nearest series is of their class.

    Among equal distances the first series counts as nearer.

    Parameters
    ----------
    distances, y, y_collection
        As for `mean_average_precision`.

    Returns
    -------
    score : float within [0, 1]

    Raises
    ------
    ValueError
        As `mean_average_precision`.

    Examples
    --------
    >>> from sdtwkit.metric_learning.evaluation import nearest_neighbor_accuracy
    >>> nearest_neighbor_accuracy([[0.1, 0.3], [0.4, 0.3]], [1, 1], [1, 0])
    0.5
    """
    return _mean(same[np.argmin(d)] for d, same in _rankings(distances, y, y_collection))


def roc_auc(distances: ArrayLike, y: ArrayLike, y_collection: ArrayLike | None = None) -> float:
    """Area under the ROC curve of all pairs, same pairs being those of least distance.

    Here no query is left out.

    Parameters
    ----------
    distances, y, y_collection
        As for `mean_average_precision`.

    Returns
    -------
    score : float within [0, 1]

    Raises
    ------
    ValueError
        If the shapes do not match, or all pairs are of one class or none is.

    Examples
    --------
    >>> from sdtwkit.metric_learning.evaluation import roc_auc
    >>> roc_auc([[0.1, 0.3], [0.4, 0.2]], [1, 0], [1, 0])
    1.0
    """
    rows = list(_rankings(distances, y, y_collection, every=True))
    d, same = (np.concatenate(part) for part in zip(*rows, strict=True))
    if same.all() or not same.any():
        raise ValueError("all pairs are of one kind; expected some of one class and some of two")
    return float(roc_auc_score(same, -d))


def _rankings(distances, y, y_collection, every=False):
    """(distances, whether of the query's class) for each query that has some of its class; or for every one."""
    distances, y, y_collection = map(_arrays.on_host, (distances, y, y_collection))
    distances = check_array(distances, input_name="distances")
    y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"))
    alone = y_collection is None
    others = y if alone else column_or_1d(check_array(y_collection, ensure_2d=False, dtype=None))
    if distances.shape != (len(y), len(others)):
        raise ValueError(
            f"distances has shape {distances.shape}; expected ({len(y)}, {len(others)}), as there are labels"
        )
    found = False
    for q, (row, label) in enumerate(zip(distances, y, strict=True)):
        keep = np.arange(len(others)) != q if alone else np.ones(len(others), bool)
        same = others[keep] == label
        if every or same.any():
            found = True
            yield row[keep], same
    if not found:
        raise ValueError("no query has a series of its own class to be found")


def _mean(scores):
    return float(np.mean(list(scores)))
