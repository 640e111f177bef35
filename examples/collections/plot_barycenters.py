"""
Averages of exercises
=====================

The mean of several recordings, sample by sample, blurs whatever does not happen at the same time in all of them. A
soft-DTW barycenter is the series that is nearest to all of them when each may be aligned with it in its own way.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import suggest_gamma
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.plotting import BarycenterDisplay
from sdtwkit.preprocessing import SeriesScaler

recordings = load_watch_exercises()
chosen = np.flatnonzero((recordings.target == 1) & (recordings.side == "right"))
channel = 4
X = SeriesScaler().fit_transform([recordings.data[k][:80, [channel]] for k in chosen])
view = {"sampling_rate": recordings.sampling_rate, "channel_names": ["rotation y, scaled"]}

# %%
# Ten people lift an arm sideways, each in their own rhythm; of their mean, little is left.

BarycenterDisplay(X, [np.mean(X, axis=0)], ["mean"], **view).plot()
plt.show()

# %%
# The barycenter keeps the shape of a movement. A small gamma follows the best paths, with corners where samples of many
# recordings meet in one, and a sharp dent where only a few of them do. A large gamma averages over many paths: smooth,
# and in the end flatter than the movement.

gamma = suggest_gamma(X)
figure, axes = plt.subplots(3, 1, figsize=(8, 7), sharex=True, sharey=True, layout="constrained")
for ax, factor in zip(axes, (0.1, 10, 100), strict=True):
    BarycenterDisplay.from_series(X, gamma=factor * gamma, ax=ax, **view)
    ax.set_title(f"{factor:g} × suggested gamma", fontsize="medium")
    ax.get_legend().remove()
    ax.label_outer()
plt.show()
