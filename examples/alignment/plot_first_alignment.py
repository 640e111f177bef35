"""
Aligning two people's exercises
===============================

Two people let an arm swing, each in their own rhythm. Soft-DTW finds which samples belong together: its expected
alignment says how often a random warping path, drawn with weight exp(-cost / gamma), matches sample i of one recording
with sample j of the other.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

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
# A small gamma follows the best path (dotted) closely; a larger one shows what else is nearly as good. Here that is
# the alignment shifted by one swing: the movement repeats, so only its beginning and end tell the swings apart.

figure, (top, *axes) = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
top.plot(x[:, 0], label="person 1")
top.plot(y[:, 0] - 5, label="person 2, 5 lower")
top.set(title="acceleration x, standardised", xlabel="sample (12.5 a second)")
top.legend(loc="upper center", ncols=2, frameon=False, fontsize="small", handlelength=1)
top.set_ylim(top=5)

path, cost = sdtwkit.dtw_path(x, y)
for ax, gamma in zip(axes, (0.1, 5.0, 30.0), strict=True):
    alignment, value = sdtwkit.soft_dtw_alignment(x, y, gamma=gamma)
    image = ax.imshow(alignment.T, origin="lower", cmap="cividis", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="auto")
    ax.plot(*path.T, color="white", lw=0.8, ls=":")
    ax.set(title=f"gamma = {gamma:g}", xlabel="sample of person 1")
axes[0].set_ylabel("sample of person 2")
figure.colorbar(image, ax=axes[-1], label="expected visits")
plt.show()
