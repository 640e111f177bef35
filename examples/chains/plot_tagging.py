"""
Which machine was it? Labels for every step of a sequence
=========================================================

A machine is in one of three states, and three noisy sensors tell which: badly one step at a time, well all steps
together. `LinearChainCRF` learns both what the sensors show in each state, and which state follows which.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import LinearChainCRF

STATES = np.array(["idle", "run", "cool"])
NEXT = np.array([[0.90, 0.10, 0.00], [0.00, 0.85, 0.15], [0.20, 0.00, 0.80]])  # from row to column
MEANS = np.array([[0.0, 0.0, 0.0], [1.2, 0.6, -0.4], [0.4, -0.8, 1.0]])


def draw(rng, n):
    """-> readings (n, 3), states (n,)"""
    states = [0]
    while len(states) < n:
        states.append(rng.choice(3, p=NEXT[states[-1]]))
    return MEANS[states] + rng.normal(size=(n, 3)), STATES[states]


rng = np.random.default_rng(7)
X_train, y_train = zip(*(draw(rng, n) for n in rng.integers(30, 90, size=60)), strict=True)
X_test, y_test = zip(*(draw(rng, 120) for _ in range(40)), strict=True)

# %%
# The entropy makes it a conditional random field, trained by maximum likelihood. Under the l2 regularizer, labels that
# cannot be have a probability of exactly zero. Without neighbours, as sequences of one step each, the same model labels
# far more steps wrongly.

crf = LinearChainCRF(alpha=0.01, max_iter=300).fit(X_train, y_train)
sparse = LinearChainCRF("l2", alpha=0.01, max_iter=300).fit(X_train, y_train)
steps = [x[None] for x in np.concatenate(X_train)]
alone = LinearChainCRF(alpha=0.01, max_iter=300).fit(steps, [[label] for label in np.concatenate(y_train)])
X_steps, y_steps = [x[None] for x in np.concatenate(X_test)], [[label] for label in np.concatenate(y_test)]
print(f"right labels: {crf.score(X_test, y_test):.1%} entropy, {sparse.score(X_test, y_test):.1%} l2, ", end="")
print(f"{alone.score(X_steps, y_steps):.1%} each step alone")

# %%
# Probabilities of the three states over one sequence that was not seen in training.

marginals = {
    "each step alone": np.concatenate(alone.predict_marginals([row[None] for row in X_test[0]])),
    "entropy": crf.predict_marginals(X_test[:1])[0],
    "l2": sparse.predict_marginals(X_test[:1])[0],
    "truth": (y_test[0][:, None] == crf.classes_).astype(float),
}
figure, axes = plt.subplots(4, 1, figsize=(8, 6), sharex=True, layout="constrained", height_ratios=[3, 3, 3, 1])
time = np.arange(len(X_test[0]) + 1)
for ax, (name, p) in zip(axes, marginals.items(), strict=True):
    columns = [p[:, list(crf.classes_).index(state)] for state in STATES]
    held = [np.append(column, column[-1]) for column in columns]
    ax.stackplot(time, held, step="post", colors=["#4477aa", "#ee6677", "#ccbb44"], labels=STATES)
    ax.set(ylabel=name, yticks=[], ylim=(0, 1), xlim=(0, time[-1]))
axes[-1].set(xlabel="step")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %%
# What was learned about the moves: the transitions that never happen, such as from running to idle, have the lowest
# scores. Scores are those of moving into the row's state from the column's.

figure, ax = plt.subplots(figsize=(4, 3.4), layout="constrained")
order = [list(crf.classes_).index(state) for state in STATES]
image = ax.imshow(crf.transition_[np.ix_(order, order)], cmap="RdBu_r", vmin=-3, vmax=3)
ax.set(xticks=range(3), xticklabels=STATES, yticks=range(3), yticklabels=STATES, xlabel="from", ylabel="into")
figure.colorbar(image, label="score")
plt.show()
