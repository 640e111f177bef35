"""
Two networks that synchronise
=============================

A learned distance between sequences: two copies of one recurrent network read one sequence each, and a gate that is
learned, too, lets each be driven by the state of the other. Copies that read recordings of the same exercise shall end
up in the same state, copies that read different exercises shall stay apart; the distance is how far apart they are.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit.datasets import load_watch_exercises
from sdtwkit.metric_learning import CoupledGRU, evaluation
from sdtwkit.preprocessing import SeriesScaler

recordings = load_watch_exercises()
chosen = np.flatnonzero(np.isin(recordings.target, [0, 1, 6]))  # pendulum, abduction, bent over row
y, person = recordings.target[chosen], recordings.subject[chosen]
X = SeriesScaler().fit_transform([recordings.data[k][:200].astype(np.float32) for k in chosen])

# %%
# Seven people are trained on, in pieces of eight seconds, three are not: of them, all recordings are compared.

known = np.flatnonzero(person <= 7)
unseen = np.flatnonzero(person > 7)
metric = CoupledGRU(16, max_iter=60, learning_rate=0.01, crop=100, random_state=0)
metric.fit_labels([X[k] for k in known], y[known])
distances = metric.pairwise_distances([X[k] for k in unseen])
print(f"mean average precision among unseen people: {evaluation.mean_average_precision(distances, y[unseen]):.2f}")

# %%
# One recording beside another of the same exercise, and beside one of a different exercise, by different people: what
# five units of the two networks do, how far the gates are open, and the distance of the states.

first = unseen[(y[unseen] == 1) & (person[unseen] == 8)][0]
partners = {
    "the same exercise": unseen[(y[unseen] == 1) & (person[unseen] == 9)][0],
    "another exercise": unseen[(y[unseen] == 6) & (person[unseen] == 9)][0],
}
figure, axes = plt.subplots(3, 2, sharex=True, sharey="row", figsize=(10, 7), layout="constrained")
for column, (title, partner) in zip(axes.T, partners.items(), strict=True):
    found = metric.trajectories(X[first], X[partner])
    seconds = np.arange(len(found.errors)) / recordings.sampling_rate
    for unit, color in zip(range(5), plt.cm.tab10.colors, strict=False):
        column[0].plot(seconds, found.states[0, :, unit], color=color, lw=1)
        column[0].plot(seconds, found.states[1, :, unit], color=color, lw=1, ls="--")
    column[1].plot(seconds, found.gates.mean(axis=2).T, lw=1)
    column[2].plot(seconds, found.errors, color="black", lw=1)
    column[0].set_title(f"{title}: distance {found.errors[-1]:.2f}")
axes[0, 0].set_ylabel("states (dashed: partner)")
axes[1, 0].set_ylabel("mean gate of each")
axes[2, 0].set_ylabel("distance of the states")
for axis in axes[2]:
    axis.set_xlabel("time (s)")
plt.show()

# %%
# Whether synchronisation is stable does not depend on the pair alone: the transversal exponent of a recording is the
# mean logarithmic growth, by step, of a small difference between two networks that both read it. Where it is negative,
# the difference dies out.

x, exponents = X[first], metric.trajectories(X[first], X[first]).transversal_exponents
print(f"transversal exponent of the first recording: {exponents[0]:.3f}")
