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
# recordings meet in one; a larger one averages over many paths and is smoother.

gamma = suggest_gamma(X)
BarycenterDisplay.from_series(X, gamma=[0.1 * gamma, gamma, 10 * gamma], **view)
plt.show()
