"""
Two singers, one song
=====================

"Gefrorne Tränen" from Schubert's Winterreise, sung by two singers, a semitone apart and each in a tempo of their own:
which moment of one recording is which moment of the other? Measures that were marked by hand tell how well that is
found.

The recordings are real, and are fetched: 50 MB, once. The source archive of synctoolbox 1.4.2 has them, from the
Schubert Winterreise Dataset, under a licence of their own. Needs ``python -m pip install "sdtwkit[plot]" pooch``. The
picture below was made by this script, which is not run when the documentation is built.

.. image:: /recordings.png
   :alt: The alignment of two recordings of a song, and its error at each measure.
"""

# sphinx_gallery_execute = False
# sphinx_gallery_thumbnail_path = 'recordings.png'
import csv
import io
import tarfile

import matplotlib.pyplot as plt
import numpy as np
import pooch

from sdtwkit import dec_dtw, dtw, dtw_path
from sdtwkit.audio import log_frequency_features, read_wav

ARCHIVE = "synctoolbox-1.4.2.tar.gz"
archive = pooch.retrieve(
    "https://files.pythonhosted.org/packages/e9/d7/da50c45352952b90523cbbb87a7d29d70b84b09f9c877e3b0c1d10710bb8/"
    + ARCHIVE,
    "sha256:67e7ced88cf8474b13f0fb10c599fdbb3977e47c987be5c1d3fabb7b6b438a55",
    fname=ARCHIVE,
    path=pooch.os_cache("sdtwkit"),
)

# %%
# Ten times a second, how loud is each of the twelve pitch classes? And when do the measures begin?

RATE = 10


def load(singer):
    """Pitch classes (n, 12), rows of norm 1; {measure: seconds}."""
    name = f"Schubert_D911-03_{singer}"
    with tarfile.open(archive) as packed:
        files = {member.name.split("/")[-1]: member for member in packed.getmembers()}
        audio, rate = read_wav(io.BytesIO(packed.extractfile(files[f"{name}.wav"]).read()))
        table = packed.extractfile(files[f"{name}.csv"]).read().decode()
    loudness = log_frequency_features(audio, rate, frame_rate=RATE).reshape(-1, 6, 12).sum(axis=1)
    measures = {float(row["measure"]): float(row["start"]) for row in csv.DictReader(io.StringIO(table), delimiter=";")}
    return loudness / (np.linalg.norm(loudness, axis=1, keepdims=True) + 1e-3), measures


(y, y_measures), (x, x_measures) = load("SC06"), load("HU33")
common = sorted(set(y_measures) & set(x_measures))
y_onsets, x_onsets = (np.array([measures[m] for m in common]) for measures in (y_measures, x_measures))

# %%
# The second recording is transposed by as many semitones as make DTW least. It goes on for five seconds after the last
# measure: the path of DTW may stand still there, a continuous warp of bounded slope gets free ends instead.

semitones = min(range(12), key=lambda k: dtw(y, np.roll(x, k, axis=1)))
x = np.roll(x, semitones, axis=1)
y_times, x_times = np.arange(len(y)) / RATE, np.arange(len(x)) / RATE
rows, columns = dtw_path(y, x)[0].T
free = {"subsequence": True, "slope_bounds": (0.2, 5), "n_values": len(x)}
warps = {
    "DTW": np.bincount(rows, x_times[columns]) / np.bincount(rows),
    "DecDTW": dec_dtw(x, y, 0.1, x_times=x_times, y_times=y_times, **free).values,
}
errors = {name: np.interp(y_onsets, y_times, values) - x_onsets for name, values in warps.items()}

# %%
# Left, both recordings along the sides of the matrix of their local costs; right, how far from the marks the warps are.

figure = plt.figure(figsize=(12, 6.5), layout="constrained")
axes = figure.subplot_mosaic(
    [["x", "costs", "errors"], [".", "y", "errors"]], width_ratios=[1, 5, 5], height_ratios=[5, 1]
)
extent = (0, y_times[-1], 0, x_times[-1])
axes["costs"].imshow(1 - x @ y.T, origin="lower", aspect="auto", cmap="cividis", extent=extent)
axes["costs"].plot(y_times, warps["DecDTW"], color="white", linewidth=1, label="DecDTW")
axes["costs"].plot(y_onsets, x_onsets, "o", color="#D55E00", markersize=5, markerfacecolor="none", label="measures")
axes["costs"].legend(loc="upper left")
axes["x"].imshow(x, origin="lower", aspect="auto", cmap="Greys", extent=(0, 12, 0, x_times[-1]))
axes["x"].set(ylabel=f"second singer, transposed by {semitones} (s)", xticks=[])
axes["y"].imshow(y.T, origin="lower", aspect="auto", cmap="Greys", extent=(0, y_times[-1], 0, 12))
axes["y"].set(xlabel="first singer (s)", yticks=[])
axes["costs"].tick_params(labelbottom=False, labelleft=False)
for (name, error), color in zip(errors.items(), ("0.5", "#0072B2"), strict=True):
    axes["errors"].plot(
        common, error, ".-", color=color, label=f"{name}: {1000 * np.abs(error).mean():.0f} ms on average"
    )
axes["errors"].axhline(0, color="black", linewidth=0.6)
axes["errors"].set(xlabel="measure", ylabel="error of the warp (s)")
axes["errors"].legend(frameon=False)
plt.show()
