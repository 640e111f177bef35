"""
Clusters of movements
=====================

k-means finds the exercises in recordings that nobody has labelled. Its centers are soft-DTW barycenters: movements in
the rhythm of nobody in particular.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline

from sdtwkit import SoftDTWKMeans
from sdtwkit.datasets import load_watch_exercises
from sdtwkit.preprocessing import SeriesResampler

recordings = load_watch_exercises()
exercises = [1, 4, 6]
chosen = np.flatnonzero(np.isin(recordings.target, exercises) & (recordings.side == "right"))
X = [recordings.data[k][: len(recordings.data[k]) // 5, :3] for k in chosen]
target = recordings.target[chosen]

# %%
# Three exercises by ten people, some four repetitions each, acceleration only. Lengths differ; the pipeline brings them
# to 60 samples, and k-means takes the better of four beginnings.

pipeline = make_pipeline(SeriesResampler(60), SoftDTWKMeans(3, gamma=0.05, n_init=4, tol=1e-3, random_state=0))
labels = pipeline.fit_predict(X)
print(f"adjusted Rand index: {adjusted_rand_score(target, labels):.2f}")

# %%
# A column is a cluster: its recordings, coloured by the exercise they truly show, and its center in black.

kmeans = pipeline[-1]
figure, axes = plt.subplots(3, 3, figsize=(10, 6), sharex=True, sharey="row", layout="constrained")
colors = dict(zip(exercises, ("#0072B2", "#D55E00", "#009E73"), strict=True))
resampled = pipeline[:-1].transform(X)
for cluster, column in enumerate(axes.T):
    members = np.flatnonzero(labels == cluster)
    for channel, ax in enumerate(column):
        for k in members:
            ax.plot(resampled[k][:, channel], color=colors[target[k]], linewidth=0.6, alpha=0.5)
        ax.plot(kmeans.cluster_centers_[cluster][:, channel], color="black", linewidth=1.6)
    column[0].set_title(f"{len(members)} recordings")
    column[-1].set_xlabel("sample of 60")
for channel, ax in enumerate(axes[:, 0]):
    ax.set_ylabel(recordings.feature_names[channel])
handles = [plt.Line2D([], [], color=color) for color in colors.values()]
figure.legend(handles, [recordings.target_names[k] for k in exercises], loc="outside upper center", ncols=3)
plt.show()
