"""
Aligning two people's exercises
===============================

Two persons do the same shoulder exercise at different speeds. Soft-DTW finds which samples belong together: its
expected alignment says, for every pair of samples, how likely a random warping path is to match them.
"""

import matplotlib.pyplot as plt
import numpy as np

import sdtwkit
from sdtwkit.datasets import load_watch_exercises

recordings = load_watch_exercises()
first, second = (
    np.flatnonzero((recordings.target == 0) & (recordings.subject == person) & (recordings.side == "right"))[0]
    for person in (1, 2)
)


def standardised(series):
    return (series - series.mean(axis=0)) / series.std(axis=0)


x = standardised(recordings.data[first])[:150]
y = standardised(recordings.data[second])[:150]

# %%
# A small gamma follows the best path closely; a larger one shows how certain it is.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), sharey=True, layout="constrained")
path, _ = sdtwkit.dtw_path(x, y)
for ax, gamma in zip(axes, (0.1, 3.0, 30.0), strict=True):
    alignment, value = sdtwkit.soft_dtw_alignment(x, y, gamma=gamma)
    ax.imshow(alignment.T, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
    ax.plot(*path.T, color="white", lw=0.8, ls=":")
    ax.set(title=f"gamma = {gamma:g}, soft-DTW = {value:.0f}", xlabel="sample of person 1 (12.5 Hz)")
axes[0].set_ylabel("sample of person 2 (12.5 Hz)")
plt.show()
