"""How much to smooth: a gamma in the units of the local cost, from the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _options, _words
from ._typing import CostLike, Lengths, RandomState
from .costs import get_cost
from .series import dtw_path

__all__ = ["suggest_gamma"]

_SHARE = 1 / 3  # of the usual cost of a step, see the notes of suggest_gamma


def suggest_gamma(
    X: ArrayLike,
    random_state: RandomState = None,
    *,
    n_pairs: int = 100,
    cost: CostLike = "sqeuclidean",
    lengths: Lengths = None,
    n_jobs: int | None = None,
) -> float:
    """Suggest a smoothing for soft-DTW: a third of what a step of a best path usually costs.

    A median heuristic: over pairs of different series (x, y), with best paths p(x, y) of L(x, y) matches,

        gamma = 1/3 median { dtw(x, y) / L(x, y) }.

    Parameters
    ----------
    X : array of shape (B, n) or (B, n, d), or list of (n_i, d) arrays
        At least two series. A 2-D array holds B univariate series. CuPy arrays are aligned on their device, and the
        paths read.
    random_state : None, int, numpy.random.Generator or RandomState
        Draws the pairs, where there are more than `n_pairs`; a seed makes the result reproducible.
    n_pairs : int >= 1, default 100
        Pairs that are aligned at most.
    cost : str or object, default "sqeuclidean"
        Local cost for which gamma is meant.
    lengths : array of B integers, optional
        True lengths within a padded array.
    n_jobs : int, optional
        Threads; None is one, -1 all that OpenMP would use.

    Returns
    -------
    gamma : float > 0
        Pairs that cost nothing are left out; where all do, as constant series that are equal, every gamma gives the
        same alignment, and 1.0 is returned.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or X holds one series only.

    Notes
    -----
    A match off the best path weighs exp(-excess / gamma), and what its excess cost has to be compared with is the cost
    of a match on the path. So the suggestion does not depend on the lengths of the series, and follows the cost:
    suggest_gamma(s X) = s^2 suggest_gamma(X) for the squared Euclidean one. It is meant to put the law of the paths
    well between its extremes: with a tenth of it the law stays close to the best path, with ten times as much it comes
    close to the uniform law.

    The median over *all* pairs of samples, as used for kernels on series [1]_, is dominated by what no good path ever
    matches: for series that differ little but in time it lies far above the costs along a path. Kernels moreover
    multiply it by the length, which makes paths nearly equally likely.

    A cost that can be negative enters by its magnitude.

    References
    ----------
    .. [1] Cuturi, Fast global alignment kernels, ICML 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit import suggest_gamma
    >>> t = np.linspace(0, 1, 50)
    >>> X = [np.sin(2 * np.pi * t**power) + 0.1 * power for power in (1.0, 1.5, 2.0)]
    >>> round(suggest_gamma(X), 4)
    0.0004
    """
    n_pairs = _words.check_count(n_pairs, "n_pairs")
    random_state = _options.check_random_state(random_state)
    cost = get_cost(cost)
    series = _arrays.as_collection(X, lengths, device=True)
    _arrays.check_collection_cost(cost, series, None)
    if len(series) < 2:
        raise ValueError("X holds one series; expected at least two, since gamma is told by their alignments")
    i, j = _some_pairs(len(series), n_pairs, random_state)
    paths, values = dtw_path([series.item(b) for b in i], [series.item(b) for b in j], cost=cost, n_jobs=n_jobs)
    per_match = np.abs(_arrays.on_host(values).astype(np.float64)) / [len(path) for path in paths]
    per_match = per_match[per_match > 0]
    return float(_SHARE * np.median(per_match)) if len(per_match) else 1.0


def _some_pairs(n_series, n_pairs, random_state):
    """Indices i < j of all pairs of series, or of `n_pairs` of them, drawn without replacement."""
    n_all = n_series * (n_series - 1) // 2
    k = np.arange(n_all) if n_all <= n_pairs else random_state.choice(n_all, n_pairs, replace=False)
    # Pair k is in column j of the upper triangle, whose first one has number j (j - 1) / 2.
    j = ((1 + np.sqrt(1 + 8 * k)) / 2).astype(np.int64)
    return k - j * (j - 1) // 2, j
