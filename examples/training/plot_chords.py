"""
Chords from their order alone
=============================

Two templates of twelve numbers, one for all major and one for all minor chords, are learned from rendered chorales.
Of the training pieces only the order of the chords is known, as a harmonic analysis tells it, not their times: the
loss is soft-DTW between what the templates say of each moment and the list of chords.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_softmax, softmax

from sdtwkit import soft_dtw_value_and_grad, weak
from sdtwkit.audio import log_frequency_features
from sdtwkit.datasets import chord_roll, load_bach_chorales, render_performance

RATE = 8  # frames a second
NAMES = "C C# D D# E F F# G G# A A# B".split()

# %%
# Loudness of the pitch classes, for every root counted from that root upwards, and the chord of each frame: 0 to 11
# are major, 12 to 23 minor chords, to which `chord_roll` reduces all others.


def played(chorale, timbre, seed):
    performance = render_performance(chorale, timbre=timbre, tempo_spread=0.25, rate=8000, random_state=seed)
    loudness = log_frequency_features(performance.audio, performance.rate, frame_rate=RATE)
    chroma = np.log1p(20 * np.expm1(loudness).reshape(-1, 6, 12).sum(axis=1) / 100)
    chords = chord_roll(chorale, performance.to_score(np.arange(len(chroma)) / RATE))
    known = chords.any(axis=1)
    from_root = np.stack([np.roll(chroma[known], -root, axis=1) for root in range(12)], axis=1)  # (n, 12, 12)
    return from_root, chords[known].argmax(axis=1)


pieces = [chorale for chorale in load_bach_chorales().data if chorale.chords]
training = [played(chorale, ("organ", "clarinet")[k % 2], seed=k) for k, chorale in enumerate(pieces[:8])]
test = played(pieces[10], "flute", seed=100)


# %%
# The cost of giving a frame to a chord is minus the logarithm of the chord's probability: cost "nll". That to stay
# with a chord costs a tenth of that keeps one chord from taking all frames.


def scores_of(templates, from_root):
    return np.einsum("qk,nrk->nqr", templates, from_root).reshape(len(from_root), 24)


def loss_and_gradient(templates, from_root, chords):
    """Mean cost of a frame; its gradient (2, 12)."""
    order = chords[np.append(True, chords[1:] != chords[:-1])]
    scores = scores_of(templates, from_root)
    value, gradient, _ = soft_dtw_value_and_grad(
        log_softmax(scores, axis=1), order, 0.3, cost="nll", step_weights=weak.STEP_WEIGHTS["staying"]
    )
    by_scores = gradient - softmax(scores, axis=1) * gradient.sum(axis=1, keepdims=True)
    by_templates = np.einsum("nqr,nrk->qk", by_scores.reshape(-1, 2, 12), from_root)
    return value / len(chords), by_templates / len(chords)


templates = 0.1 * np.random.default_rng(0).normal(size=(2, 12))
mean, square, history = 0, 0, []
for update in range(1, 201):  # Adam
    losses, gradients = zip(*(loss_and_gradient(templates, *piece) for piece in training), strict=True)
    history.append(np.mean(losses))
    gradient = np.mean(gradients, axis=0)
    mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
    templates = templates - 0.05 * mean / (1 - 0.9**update) / np.sqrt(square / (1 - 0.99**update) + 1e-16)

# %%
# Above all, each template has found root, third and fifth of its chord. On a piece and an instrument that were not in
# the training, green marks are the chords of the analysis.

from_root, chords = test
probabilities = softmax(scores_of(templates, from_root), axis=1)
right_share = np.mean(probabilities.argmax(axis=1) == chords)
figure, axes = plt.subplots(1, 2, figsize=(11, 5.5), layout="constrained", width_ratios=[1, 2])
for quality, color, name in ((0, "#0072B2", "major"), (1, "#D55E00", "minor")):
    axes[0].plot(templates[quality], "o-", color=color, label=name)
axes[0].set(xlabel="semitones above the root", title="Templates", xticks=range(12))
axes[0].legend(frameon=False)
seconds = np.arange(len(chords)) / RATE
axes[1].imshow(
    probabilities.T, aspect="auto", origin="lower", cmap="Greys", vmin=0, vmax=1, extent=(0, seconds[-1], -0.5, 23.5)
)
axes[1].plot(seconds, chords, ".", color="#009E73", markersize=3)
axes[1].set(title=f"{right_share:.0%} of the frames right", xlabel="seconds", yticks=range(24))
axes[1].set_yticklabels(NAMES + [f"{name.lower()} minor" for name in NAMES], fontsize="x-small")
plt.show()
