"""
Choosing gamma
==============

Gamma is in units of the local cost: towards 0, the alignment becomes the single best path, and for a large gamma all
paths become equally likely. `suggest_gamma` puts it in between, by what a match on a best path usually costs.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import suggest_gamma
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.plotting import AlignmentDisplay
from sdtwkit.preprocessing import SeriesScaler

# %%
# Ten people lift an arm sideways, again and again. Each channel of each recording is brought to mean 0 and deviation 1,
# so that acceleration and rotation count alike.

recordings = load_watch_exercises()
chosen = np.flatnonzero((recordings.target == 1) & (recordings.side == "right"))
X = SeriesScaler().fit_transform([recordings.data[k][:120] for k in chosen])
gamma = suggest_gamma(X)
print(f"suggested gamma: {gamma:.2f}")

# %%
# The first two of them. At a tenth of the suggestion the alignment is all but the best path (in colour); at ten times
# as much it still follows the movement, but many matches are possible for each sample.

x, y = X[:2]
figure, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
for ax, factor in zip(axes, (0.1, 1, 10), strict=True):
    AlignmentDisplay.from_series(
        x,
        y,
        gamma=factor * gamma,
        sampling_rate=recordings.sampling_rate,
        names=("person 1", "person 2"),
        ax=ax,
        colorbar=factor == 10,
    )
    ax.set_title(f"{factor:g} × suggested gamma")
plt.show()
