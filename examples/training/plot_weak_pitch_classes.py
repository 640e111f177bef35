"""
Pitch classes from weak targets
===============================

Which of the twelve pitch classes sound in each tenth of a second? What is known of the training pieces is weak: which
chords of notes follow each other, but not when. Soft-DTW aligns these targets with the predictions while those are
being learned, and that may go wrong: all predictions become alike. Three remedies (Zeitler, Deniffel, Krause and
Müller, ISMIR 2023, and step weights) beside a training with strong targets, that is, with their times.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from scipy.special import expit

from sdtwkit import soft_dtw_alignment, soft_dtw_value_and_grad, weak
from sdtwkit.audio import log_frequency_features
from sdtwkit.datasets import load_bach_chorales, pitch_class_roll, render_performance

RATE, FRAMES = 10, 150  # frames a second; frames of an excerpt

# %%
# Chorales are rendered, so that the times are known to those who want to measure. Test pieces and their instruments
# are not among those of the training.


def played(chorale, timbre, seed):
    """Loudness of semitones (n, 72), and strong targets (n, 12), 0 or 1."""
    performance = render_performance(
        chorale, timbre=timbre, tempo_spread=0.25, noise=0.05, rate=8000, random_state=seed
    )
    features = log_frequency_features(performance.audio, performance.rate, frame_rate=RATE)
    times = performance.to_score(np.arange(len(features)) / RATE)
    return features, pitch_class_roll(chorale, times).astype(float)


short = [chorale for chorale in load_bach_chorales().data if chorale.duration <= 34]
timbres = ["organ", "strings", "clarinet", "piano"]
training = [played(chorale, timbres[k % 4], seed=k) for k, chorale in enumerate(short[:10])]
test = [played(chorale, "flute", seed=k) for k, chorale in enumerate(short[10:13])]


def batch(rng):
    """Eight excerpts, transposed at random: loudness (8, 150, 72) and strong targets (8, 150, 12)."""
    excerpts = []
    for _ in range(8):
        features, targets = training[rng.integers(len(training))]
        start, semitones = rng.integers(len(features) - FRAMES + 1), int(rng.integers(-5, 7))
        rows = slice(start, start + FRAMES)
        excerpts.append([np.roll(features[rows], semitones, axis=1), np.roll(targets[rows], semitones, axis=1)])
    return tuple(np.stack(column) for column in zip(*excerpts, strict=True))


# %%
# The model is one logistic regression for each pitch class. `soft_dtw_value_and_grad` gives the gradient of the loss
# with respect to the predictions; the rest is the chain rule and Adam.


def alignment_gradient(predicted, strong, gamma, omega=0.0, step_weights=(1, 1, 1)):
    few = [weak.weak_targets(targets) for targets in strong]
    lengths = [len(targets) for targets in few]
    padded = weak.pad_repeat(few, max(lengths), how="last")
    prior = omega * weak.diagonal_prior(FRAMES, lengths)
    return soft_dtw_value_and_grad(predicted, padded, gamma, prior=prior, step_weights=step_weights, y_lengths=lengths)[
        1
    ]


def learn(gradient_of, n_updates=150, rate=0.05):
    rng = np.random.default_rng(0)
    parameters = 0.01 * rng.normal(size=(73, 12))  # the last row is added
    mean, square = 0, 0
    for update in range(1, n_updates + 1):
        features, strong = batch(rng)
        predicted = expit(features @ parameters[:-1] + parameters[-1])
        by_logits = gradient_of(predicted, strong, update) * predicted * (1 - predicted)
        gradient = np.vstack([np.einsum("bnf,bnk->fk", features, by_logits), by_logits.sum(axis=(0, 1))])
        mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
        step = mean / (1 - 0.9**update) / np.sqrt(square / (1 - 0.99**update) + 1e-16)
        parameters = parameters - rate * (1 - update / (n_updates + 1)) * step
    return parameters


gamma = weak.LinearSchedule(10.0, 0.1, 50, 120)
omega = weak.LinearSchedule(30.0, 0.0, 50, 120)
staying = weak.STEP_WEIGHTS["staying"]  # to stay with a target costs a tenth
strategies = {
    "strong targets": lambda p, y, update: 2 * (p - y),
    "gamma 0.1": lambda p, y, update: alignment_gradient(p, y, 0.1),
    "gamma from 10 to 0.1": lambda p, y, update: alignment_gradient(p, y, gamma(update)),
    "diagonal prior": lambda p, y, update: alignment_gradient(p, y, 0.1, omega(update)),
    "step weights": lambda p, y, update: alignment_gradient(p, y, 0.1, step_weights=staying),
}
models = {name: learn(gradient_of) for name, gradient_of in strategies.items()}

# %%
# The F-measure counts, over all frames of the test pieces, the pitch classes that are found.


def f_measure(parameters):
    found = [expit(features @ parameters[:-1] + parameters[-1]) > 0.5 for features, _ in test]
    predicted, true = np.concatenate(found), np.concatenate([targets > 0.5 for _, targets in test])
    return 2 * np.count_nonzero(predicted & true) / (np.count_nonzero(predicted) + np.count_nonzero(true))


for name, parameters in models.items():
    print(f"{name:22} F = {f_measure(parameters):.2f}")

# %%
# Predictions for a test piece, and the expected alignment of its weak targets (rows) with them. Where predictions have
# become alike, one target takes nearly all frames.

features, strong = (part[:FRAMES] for part in test[0])
targets = weak.weak_targets(strong)
figure, axes = plt.subplots(5, 2, figsize=(10, 10), sharex=True, sharey="col", layout="constrained")
for (left, right), (name, parameters) in zip(axes, models.items(), strict=True):
    predicted = expit(features @ parameters[:-1] + parameters[-1])
    alignment, _ = soft_dtw_alignment(predicted, targets, 0.1)
    extent = (0, FRAMES / RATE)
    left.imshow(predicted.T, aspect="auto", origin="lower", cmap="Greys", vmin=0, vmax=1, extent=(*extent, -0.5, 11.5))
    left.set(title=f"{name}: F = {f_measure(parameters):.2f}", yticks=[0, 2, 4, 5, 7, 9, 11], yticklabels="CDEFGAB")
    norm = PowerNorm(0.5, 0, 1)
    right.imshow(alignment.T, aspect="auto", origin="lower", cmap="Greys", norm=norm, extent=(*extent, 0, len(targets)))
    changes = np.append(0, np.cumsum((strong[1:] != strong[:-1]).any(axis=1)))
    right.plot(np.arange(FRAMES) / RATE, changes + 0.5, color="#D55E00", linewidth=0.8)
    right.set_ylabel("target")
axes[0, 1].set_title("alignment of the targets; true one in colour")
for ax in axes[-1]:
    ax.set_xlabel("seconds")
plt.show()
