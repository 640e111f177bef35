"""
Continuous warps
================

A warp that is a smooth function of time, not a staircase: how stiff it is, how far and how fast it may stray.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import dec_dtw
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.plotting import WarpDisplay
from sdtwkit.preprocessing import SeriesScaler

recordings = load_watch_exercises()
chosen = np.flatnonzero((recordings.target == 2) & (recordings.side == "right"))[:2]
channel = 4
x, y = SeriesScaler().fit_transform([recordings.data[k][:110, channel] for k in chosen])
names = ("person 1", "person 2")

# %%
# Two people raise an arm to the front, each in their own rhythm. ``dec_dtw`` finds the warp that lays the first
# recording on the second: the best of all warps, whose slope costs what ``reg`` says. Dots mark where it is held: at
# its ends, and on samples of the first recording that it does not leave, for the signal bends there.

WarpDisplay.from_series(x, y, reg=0.3, names=names)
plt.show()

# %%
# A band keeps the warp near the straight line, bounds of the slope keep it from standing still and from rushing. Both
# cut the region that it can reach; where it runs along a bound, the multiplier says what the bound costs.

warp = dec_dtw(x, y, 0.3, band=0.08, slope_bounds=(0.4, 2.0))
WarpDisplay(warp, x, y, names=names).plot()
for (name, index), multiplier in zip(warp.active, warp.multipliers, strict=True):
    if name == "band_upper":
        print(f"at {warp.times[index]:.3f} the objective changes by {multiplier:.2f} times a lift of the upper band")
plt.show()

# %%
# The stiffer, the straighter; the objective is the same sum in every case, so its derivative by ``reg`` tells how fast
# the cost of the slopes grows. It comes with the result, as do derivatives of the warp itself by both recordings, by
# ``reg`` and by the bounds: a feature map or a stiffness can be learned through the alignment.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
stiffness = np.geomspace(0.05, 50, 40)
warps = dec_dtw([x] * 40, [y] * 40, [np.full(len(y) - 1, reg) for reg in stiffness])
colors = plt.colormaps["plasma"](np.linspace(0, 0.85, 40))
for k in range(0, 40, 6):
    left.plot(warps.times[k], warps.values[k] - warps.times[k], color=colors[k], label=f"reg = {stiffness[k]:.2g}")
left.set(xlabel="time of person 2", ylabel="warp - straight line")
left.legend(frameon=False)
right.semilogx(stiffness, warps.objective, label="objective")
right.semilogx(stiffness, np.sum(warps.value_grad().reg, axis=1) * stiffness, label="its derivative by log reg")
right.set(xlabel="reg")
right.legend(frameon=False)
plt.show()
