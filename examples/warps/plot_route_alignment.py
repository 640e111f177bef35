"""
Where on the route is the car?
==============================

Two cars take one route, each at its own speed and with stops of its own. The first drive, the reference, knows where
each of its frames was taken; the second one, the query, is to find out by alignment. What a camera sees tells the
place, but also the weather, and other cars. A linear map of the descriptors is learned that keeps the former and drops
the latter, end to end: it minimises the error in metres, and the gradient comes through the alignment itself.

The drives are generated, so that the true positions are known and nothing is downloaded.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import dec_dtw, dtw_path, soft_dtw_alignment, soft_dtw_alignment_vjp
from sdtwkit.datasets import make_drives, make_route
from sdtwkit.metrics import time_error_and_grad

drives = make_drives([make_route(500, random_state=k) for k in range(40)], random_state=0)
train, test = drives[:24], drives[24:]

pair = test[0]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for drive, name, color in ((pair.reference, "reference", "0.4"), (pair.query, "query", "#D55E00")):
    left.plot(drive.times, drive.positions, color=color, label=name)
    right.plot(drive.positions, drive.descriptors[:, 0], color=color)
left.set(title="Two drives: slower, faster, standing", xlabel="s", ylabel="m along the route")
left.legend(frameon=False)
right.set(title="One of 16 channels at the same places", xlabel="m along the route")
plt.show()

# %%
# Aligning
# --------
# Each method takes features of the reference and of the query and the positions of the former, and returns positions of
# the latter, and how a gradient with respect to those goes back to the features. DTW gives a frame the mean position of
# the frames that the best path matches with it, and no gradient; soft-DTW the mean under the expected alignment. The
# continuous warp of DecDTW also falls between frames, where positions are interpolated.


def by_dtw(x, y, positions):
    i, j = dtw_path(x, y)[0].T
    return np.bincount(j, positions[i]) / np.bincount(j), None


def by_soft_dtw(x, y, positions, gamma=3.0):
    alignment, _ = soft_dtw_alignment(x, y, gamma)
    visits = alignment.sum(axis=0)
    located = positions @ alignment / visits

    def pull_back(gradient):
        return soft_dtw_alignment_vjp(x, y, (positions[:, None] - located) * (gradient / visits), gamma)

    return located, pull_back


def by_warp(x, y, positions, reg=3.0):
    warp = dec_dtw(x, y, reg)
    times = np.linspace(0, 1, len(positions))
    segment = np.clip(np.searchsorted(times, warp.values, side="right") - 1, 0, len(times) - 2)
    speeds = (np.diff(positions) / np.diff(times))[segment]

    def pull_back(gradient):
        gradients = warp.vjp(gradient * speeds)
        return gradients.x, gradients.y

    return np.interp(warp.values, times, positions), pull_back


# %%
# Learning
# --------
# The loss is the mean absolute error in metres. Each step takes six routes and goes downhill by a certain distance,
# which shrinks to nothing.


def loss_and_gradient(A, pair, locate):
    reference, query = pair.reference, pair.query
    located, pull_back = locate(reference.descriptors @ A.T, query.descriptors @ A.T, reference.positions)
    error, gradient = time_error_and_grad(query.positions, located, query.times)
    grad_x, grad_y = pull_back(gradient)
    return error, grad_x.T @ reference.descriptors + grad_y.T @ query.descriptors


def learn(locate, n_steps=120):
    rng, A, history = np.random.default_rng(0), np.eye(16), []
    for k in range(n_steps):
        batch = [train[i] for i in rng.choice(len(train), 6, replace=False)]
        errors, gradients = zip(*(loss_and_gradient(A, pair, locate) for pair in batch), strict=True)
        gradient = np.mean(gradients, axis=0)
        A = A - 0.3 * (1 - k / n_steps) * gradient / np.linalg.norm(gradient)
        history.append(np.mean(errors))
    return A, history


learned = {"soft-DTW": learn(by_soft_dtw), "DecDTW": learn(by_warp)}

# %%
# Unseen routes
# -------------
# The shares of frames whose error is below so many metres, on routes that nothing was learned on.
# ``python -m benchmarks.experiments.route_alignment`` repeats this with more routes, other sensors, and smoothings that
# are chosen.


def errors_of(locate, A, pairs):
    """Metres, for each frame of each query."""
    found = []
    for _, reference, query in pairs:
        located, _ = locate(reference.descriptors @ A.T, query.descriptors @ A.T, reference.positions)
        found.append(np.abs(located - query.positions))
    return np.concatenate(found)


raw = np.eye(16)
methods = {
    "DTW, raw": (by_dtw, raw, "0.6", "-"),
    "DecDTW, raw": (by_warp, raw, "#0072B2", "--"),
    "soft-DTW, learned": (by_soft_dtw, learned["soft-DTW"][0], "#E69F00", "-"),
    "DecDTW, learned": (by_warp, learned["DecDTW"][0], "#0072B2", "-"),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for (name, (_, history)), color in zip(learned.items(), ("#E69F00", "#0072B2"), strict=True):
    left.plot(np.convolve(history, np.ones(5) / 5, "valid"), color=color, label=name)
left.set(title="Learning", xlabel="step", ylabel="error in a step, m (mean of 5)")
left.set_ylim(bottom=0)
left.legend(frameon=False)
for name, (locate, A, color, style) in methods.items():
    errors = errors_of(locate, A, test)
    print(f"{name:18}  mean {errors.mean():5.2f} m, median {np.median(errors):5.2f} m")
    right.step(np.sort(errors), np.linspace(0, 100, len(errors)), color=color, linestyle=style, label=name)
right.set(title="Unseen routes", xlabel="error, m", ylabel="frames within, %", xscale="log", xlim=(0.1, 200))
right.legend(frameon=False, loc="upper left")
plt.show()

# %%
# On the map: where each frame of a query was, and how far from there it was placed.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
pair = test[0]
s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(pair.path, axis=0), axis=1))])
x, y = (np.interp(pair.query.positions, s, coordinate) for coordinate in (pair.path - pair.path[0]).T)
for ax, (title, A) in zip(axes, {"descriptors": raw, "learned features": learned["DecDTW"][0]}.items(), strict=True):
    errors = errors_of(by_warp, A, [pair])
    ax.plot(*(pair.path - pair.path[0]).T, color="0.85", linewidth=6, zorder=0)
    image = ax.scatter(x, y, c=errors, s=14, cmap="cividis_r", vmin=0, vmax=20)
    ax.set(title=f"DecDTW of {title}: {errors.mean():.1f} m", aspect="equal", xlabel="m")
figure.colorbar(image, ax=axes, label="error, m", extend="max")
plt.show()
