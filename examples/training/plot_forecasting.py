"""
Forecasts with the right shape
==============================

How does a movement go on? A small network sees four seconds of a recording and says the next four. Trained with the
squared error it hedges: it does not know when the next repetition begins, and forecasts the mean of all possibilities.
Soft-DTW forgives a shift in time, not a wrong shape (Cuturi and Blondel, ICML 2017).

Needs PyTorch: ``python -m pip install "sdtwkit[torch,plot]"``.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sdtwkit import dtw
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.torch import SoftDTWLoss

torch.set_num_threads(1)  # the network is small
recordings = load_watch_exercises()
SEEN = AHEAD = 50  # four seconds
chosen = np.flatnonzero(recordings.target == 1)  # abduction


def windows(people, hop=6):
    """Both parts of all windows (B, 100) of the recordings of some people: scaled acceleration x."""
    found = []
    for k in chosen[np.isin(recordings.subject[chosen], people)]:
        x = recordings.data[k][:, 0]
        x = (x - x.mean()) / x.std()
        found += [x[start : start + SEEN + AHEAD] for start in range(0, len(x) - SEEN - AHEAD, hop)]
    found = torch.tensor(np.array(found), dtype=torch.float32)
    return found[:, :SEEN], found[:, SEEN:]


past, future = windows(range(1, 8))
past_test, future_test = windows(range(8, 11))
print(f"{len(past)} windows of seven people, {len(past_test)} of three others")

# %%
# The same network and the same loop for both losses. `SoftDTWLoss` takes the place of ``torch.nn.MSELoss``; it wants
# series of shape (B, n, d).


def train(loss, epochs=30, batch_size=64):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(SEEN, 64), torch.nn.ReLU(), torch.nn.Linear(64, AHEAD))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(past)).split(batch_size):
            value = loss(network(past[rows])[:, :, None], future[rows][:, :, None])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    with torch.no_grad():
        return network(past_test).numpy()


losses = {"squared error": torch.nn.MSELoss(), "soft-DTW": SoftDTWLoss(gamma=0.1)}
forecasts = {name: train(loss) for name, loss in losses.items()}

# %%
# On other people's recordings, the squared error is the smaller one for the network that was trained with it, and DTW
# for the other one.

true = future_test.numpy()
for name, forecast in forecasts.items():
    squared = np.sum((forecast - true) ** 2, axis=1)
    warped = dtw(forecast[:, :, None], true[:, :, None])
    print(f"trained with {name:13}: squared error {squared.mean():5.1f}, DTW {warped.mean():4.1f}")

figure, axes = plt.subplots(2, 2, figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
seconds = np.arange(SEEN + AHEAD) / recordings.sampling_rate
for ax, k in zip(axes.flat, np.linspace(0, len(true) - 1, 6).astype(int)[1:-1], strict=True):
    ax.plot(seconds, np.append(past_test[k], true[k]), color="0.6", linewidth=2, label="recorded")
    for (name, forecast), color in zip(forecasts.items(), ("#0072B2", "#D55E00"), strict=True):
        ax.plot(seconds[SEEN:], forecast[k], color=color, label=f"trained with {name}")
    ax.axvline(seconds[SEEN], color="black", linewidth=0.6)
for ax in axes[-1]:
    ax.set_xlabel("time (s)")
for ax in axes[:, 0]:
    ax.set_ylabel("acceleration x, scaled")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
plt.show()
