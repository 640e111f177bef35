"""
Names in sentences
==================

Which words of a sentence are a person's name, which ones a place, when a word may be either? `LinearChainCRF` scores
what each word looks like and which label follows which; smoothed Viterbi makes probabilities of the scores. Two
regularizers and two losses (Mensch and Blondel, ICML 2018), side by side.

The sentences are generated, so that the truth is known. The documentation has a page on a real corpus.
"""

import matplotlib.pyplot as plt
import numpy as np

from sdtwkit import LinearChainCRF

GIVEN = "Ada Emmy Carl Sophie Leonhard Virginia Florence Georgia Hedy Paris Rosalind Sydney Chelsea Alan".split()
FAMILY = "London Lovelace Noether Gauss Germain Euler Holland Lamarr England Franklin Lincoln Turing York".split()
PLACES = "Paris London Florence Göttingen Sydney Lincoln Holland York Virginia Georgia Chelsea England Basel".split()
TEMPLATES = [
    "P moved to L in spring",
    "yesterday P wrote a letter from L",
    "the people of L remember P",
    "P and P met in L",
    "in L nobody had heard of P",
    "P left L for L",
    "the train from L to L was late , said P",
    "P , who was born in L , thanked P",
]

# %%
# A person has one name or two, so that "London" may end a name as well as stand for a city. Labels are those of the
# scheme IOB2: where an entity begins, where it goes on, and O for the rest. Some names are kept for the test.


def sentence(rng, share):
    """-> words, labels; from the first `share` of the names, or from all with 1."""
    words, labels = [], []
    for word in TEMPLATES[rng.integers(len(TEMPLATES))].split():
        if word == "P":
            kinds = [[GIVEN], [FAMILY], [GIVEN, FAMILY]][rng.integers(3)]
            name = [str(rng.choice(kind[: int(share * len(kind))])) for kind in kinds]
            words, labels = words + name, labels + ["B-PER", "I-PER"][: len(name)]
        elif word == "L":
            words, labels = [*words, str(rng.choice(PLACES[: int(share * len(PLACES))]))], [*labels, "B-LOC"]
        else:
            words, labels = [*words, word], [*labels, "O"]
    return words, labels


def features(words):
    """A dict for each word: itself, its neighbours, how it begins and ends."""
    around = ["<", *words, ">"]
    return [
        {"word": word, "before": around[t], "after": around[t + 2], "capital": word[0].isupper(), "end": word[-3:]}
        for t, word in enumerate(words)
    ]


rng = np.random.default_rng(3)
training, test = [sentence(rng, 0.7) for _ in range(30)], [sentence(rng, 1) for _ in range(300)]
X, y = [features(words) for words, _ in training], [labels for _, labels in training]
X_test, y_test = [features(words) for words, _ in test], [labels for _, labels in test]

# %%
# Four models; how many of the labels of the test sentences each gets right. The relaxed loss is not convex: with l2 it
# stops here where no word goes on with a name.

models = {
    f"{regularizer}, {loss}": LinearChainCRF(regularizer, loss=loss, alpha=0.01, max_iter=200, tol=5e-4).fit(X, y)
    for regularizer in ("entropy", "l2")
    for loss in ("surrogate", "relaxed")
}
for name, model in models.items():
    print(f"{name}: {model.score(X_test, y_test):.1%} of the labels right")

# %%
# Probabilities of the labels, word by word. The entropy leaves a little to every label; l2 leaves nothing at all to
# most of those that do not fit.

words = "Paris , who was born in Virginia , thanked Georgia London".split()
figure, axes = plt.subplots(2, 2, figsize=(12, 5.5), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes.flat, models.items(), strict=True):
    marginals = model.predict_marginals([features(words)])[0]
    image = ax.imshow(marginals.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (t, label), p in np.ndenumerate(marginals):
        if p >= 0.005:
            ax.text(
                t,
                label,
                f"{p:.2f}".lstrip("0"),
                ha="center",
                va="center",
                fontsize="x-small",
                color="0.1" if p < 0.6 else "white",
            )
    zeros = np.mean(marginals == 0)
    ax.set(
        title=f"{name}: {zeros:.0%} exact zeros",
        xticks=range(len(words)),
        yticks=range(len(model.classes_)),
        yticklabels=model.classes_,
    )
    ax.set_xticklabels(words, rotation=40, ha="right")
figure.colorbar(image, ax=axes, label="probability")
plt.show()
