"""
Gradients of soft-DTW
=====================

How should a series move so that it comes nearer to another one, when time may be warped? The gradient says so for
every sample: it pulls towards all samples that may be its matches, each as strongly as the match is probable.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import soft_dtw_divergence_value_and_grad, soft_dtw_value_and_grad
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.preprocessing import SeriesScaler

recordings = load_watch_exercises()
chosen = np.flatnonzero((recordings.target == 2) & (recordings.side == "right"))[:2]
channel = 4
scaled = SeriesScaler().fit_transform([recordings.data[k][:110, channel] for k in chosen])
x, y = scaled[0][:75], scaled[1][:64]

# %%
# Lines go downhill, half the gradient long: a sample that surely has one match is drawn exactly to its height. Late as
# x is, there is little to do in its slopes, for y passes through the same heights at another time; the peaks and
# valleys have to move. With a large gamma a sample is drawn to the mean of many possible matches: peaks down, valleys
# up.


def plot(ax, series, color, **style):
    ax.plot(np.arange(len(series)) / recordings.sampling_rate, series, color=color, **style)


figure, axes = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
for ax, gamma in zip(axes, (0.01, 10.0), strict=True):
    value, gradient, _ = soft_dtw_value_and_grad(x, y, gamma)
    plot(ax, y, "#0072B2", label="y")
    plot(ax, x, "#D55E00", label="x")
    times = np.arange(len(x)) / recordings.sampling_rate
    ax.vlines(times, x, x - gradient / 2, color="black", linewidth=1.5, zorder=3, label="downhill")
    ax.set(title=f"gamma = {gamma:g}, value {value:.1f}", ylabel="rotation y, scaled", ylim=(-2.2, 2.2))
axes[0].legend(loc="lower left", ncols=3, frameon=False)
axes[1].set_xlabel("time (s)")
plt.show()

# %%
# Downhill all the way, from as much of x as y is long. The least soft-DTW is not at y itself but at a series that many
# paths fit well, which is flatter. The divergence is least where both are equal.


def descend(value_and_grad, gamma, n_steps=400, rate=0.05):
    z = x[: len(y)]
    for _ in range(n_steps):
        z = z - rate * value_and_grad(z, y, gamma)[1]
    return z


figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
functions = {"Soft-DTW": soft_dtw_value_and_grad, "Divergence": soft_dtw_divergence_value_and_grad}
for ax, (name, function) in zip(axes, functions.items(), strict=True):
    plot(ax, y, "#0072B2", linewidth=5, alpha=0.35, label="y")
    plot(ax, x[: len(y)], "#D55E00", linewidth=0.8, label="x, where descent begins")
    plot(ax, descend(function, gamma=3.0), "black", label="where it ends")
    ax.set(title=f"{name}, gamma = 3", xlabel="time (s)")
axes[0].set_ylabel("rotation y, scaled")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
plt.show()
