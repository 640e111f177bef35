"""
Features learned for aligning audio to its score
================================================

Where in a recording is each moment of the score? A small linear map that tells notes from the loudness of semitones is
learned through the warp: the error of the alignment itself, in seconds, is what descends.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import dec_dtw, dtw_path
from sdtwkit.audio import log_frequency_features
from sdtwkit.datasets import load_bach_chorales, note_roll, render_performance
from sdtwkit.metrics import time_error, time_error_and_grad

# %%
# Chorales are played by additive synthesis, with a tempo that is drawn at random and hence known. The score becomes
# two rolls, notes that sound and notes that begin; the audio, ten frames a second, loudness and rise of the semitones
# at some intervals from each note: its own, its neighbours, its octaves and harmonics.

INTERVALS = [-24, -19, -12, -1, 0, 1, 12, 19, 24, 28]
LOWEST, PITCHES = 36, 48


def played(chorale, timbre, seed):
    """Score (n, 96), audio (m, 48, 20), times (n,) in quarters, (m,) in seconds, and the true warp (n,)."""
    performance = render_performance(
        chorale, timbre=timbre, tempo_spread=0.3, hold=1.4, silence=1.2, noise=0.1, rate=8000, random_state=seed
    )
    loudness = log_frequency_features(performance.audio, performance.rate)
    rise = np.maximum(np.gradient(loudness, axis=0), 0)
    level = loudness / (np.linalg.norm(loudness, axis=1, keepdims=True) + 0.5)
    padded = [np.pad(z, ((0, 0), (24, 24))) for z in (level, rise / (5 * loudness.mean()))]
    audio = np.stack([z[:, 24 + k : 24 + k + PITCHES] for z in padded for k in INTERVALS], axis=2)

    quarters = np.arange(-1, chorale.duration + 1, 0.25)
    onsets = np.zeros((len(quarters), PITCHES))
    onsets[np.rint(4 * (chorale.onsets + 1)).astype(int), chorale.pitches - LOWEST] = 1
    score = np.hstack([0.5 * note_roll(chorale, quarters, lowest=LOWEST, n_pitches=PITCHES), onsets])
    return score, audio, quarters, np.arange(len(audio)) / 10, performance.to_seconds(quarters)


short = [chorale for chorale in load_bach_chorales().data if chorale.duration <= 34]
timbres = ["organ", "flute", "strings", "piano"]
training = [played(chorale, timbres[k % 4], seed=k) for k, chorale in enumerate(short[:8])]
test = played(short[12], "harpsichord", seed=100)  # another piece, and an instrument that was never heard

# %%
# The map takes the features at the intervals to the two rolls. At first, each semitone stands for its note, and its
# rise for the onset. The warp is that of ``dec_dtw`` with free ends; ``vjp`` carries the gradient of the error back
# to the features, and from there to the weights.


def features(audio, weights):
    return (audio @ weights).transpose(0, 2, 1).reshape(len(audio), -1)


def warped(piece, weights):
    score, audio, quarters, seconds, _ = piece
    y_times = (quarters - quarters[0]) / (quarters[-1] - quarters[0]) * seconds[-1]
    return dec_dtw(
        features(audio, weights), score, 0.1, x_times=seconds, y_times=y_times, subsequence=True, slope_bounds=(0.2, 5)
    )


def error_and_grad(piece, weights):
    _, audio, quarters, _, truth = piece
    result = warped(piece, weights)
    error, cotangent = time_error_and_grad(truth, result.values, quarters)
    by_features = result.vjp(cotangent).x.reshape(len(audio), 2, PITCHES)
    return error, np.einsum("mhp,mpk->kh", by_features, audio, optimize=True)


raw = np.zeros((2 * len(INTERVALS), 2))
raw[INTERVALS.index(0), 0] = raw[len(INTERVALS) + INTERVALS.index(0), 1] = 1
learned, mean, square, history = raw, 0, 0, []
for update in range(1, 31):  # Adam
    errors, gradients = zip(*(error_and_grad(piece, learned) for piece in training), strict=True)
    history.append(np.mean(errors))
    gradient = np.mean(gradients, axis=0)
    mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
    direction = mean / (1 - 0.9**update) / np.sqrt(square / (1 - 0.99**update) + 1e-16)
    learned = learned - 0.03 * (1 - update / 31) * direction
print(f"training pieces: {1000 * history[0]:.0f} ms before, {1000 * history[-1]:.0f} ms after")

# %%
# A piece that was not learned from, on an instrument that was not: the error of the warp over the score, and of plain
# DTW. Learned features show the notes with fewer of their harmonics.

score, audio, quarters, seconds, truth = test
rows, columns = dtw_path(score, features(audio, raw), cost="cosine")[0].T
values = {
    "DTW": np.bincount(rows, seconds[columns]) / np.bincount(rows),
    "DecDTW": warped(test, raw).values,
    "DecDTW, learned features": warped(test, learned).values,
}

figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
for name, warp in values.items():
    error = time_error(truth, warp, quarters)
    axes[0, 0].plot(quarters, warp - truth, label=f"{name}: {1000 * error:.0f} ms")
    print(f"{name}: {1000 * error:.0f} ms")
axes[0, 0].set(title="Error of the warp", xlabel="quarters", ylabel="seconds")
axes[0, 0].legend()
axes[0, 1].plot(1000 * np.array(history))
axes[0, 1].set(title="Mean error of the training pieces", xlabel="update", ylabel="milliseconds")
for axis, name, weights in zip(axes[1], ("Raw", "Learned"), (raw, learned), strict=True):
    notes = features(audio, weights)[:, :PITCHES].T
    axis.imshow(
        notes, aspect="auto", origin="lower", cmap="Greys", vmin=0, extent=(0, seconds[-1], LOWEST, LOWEST + PITCHES)
    )
    axis.set(title=f"{name} features: notes that sound", xlabel="seconds", ylabel="MIDI pitch", xlim=(0, 15))
plt.show()
