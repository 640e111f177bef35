"""
Which samples belong together
=============================

The best warping path as lines between two recordings, and the local costs it was found in.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit.datasets import load_watch_exercises
from sdtwkit.plotting import AlignmentDisplay, MatchingDisplay
from sdtwkit.preprocessing import SeriesScaler

recordings = load_watch_exercises()
chosen = np.flatnonzero((recordings.target == 2) & (recordings.side == "right"))[:2]
channel = 4
x, y = SeriesScaler().fit_transform([recordings.data[k][:110, channel] for k in chosen])
view = {"sampling_rate": recordings.sampling_rate, "names": ("person 1", "person 2")}

# %%
# Two people raise an arm to the front, each in their own rhythm. Every line joins a sample with its match; where one
# of them is slower, several lines meet.

MatchingDisplay.from_series(x, y, **view)
plt.show()

# %%
# With a gamma, lines are drawn for all matches of the expected alignment, the darker, the more probable. Where they
# spread, the recordings do not tell exactly which samples belong together.

MatchingDisplay.from_series(x, y, gamma=0.3, n_lines=60, **view)
plt.show()

# %%
# The same path through the matrix of local costs, from the lower left to the upper right: a valley where it can, a
# ridge where it must.

AlignmentDisplay.from_series(x, y, kind="cost", **view)
plt.show()
