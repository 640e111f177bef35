"""Tagging where the truth is known: sequences of hidden Markov models, labelled by LinearChainCRF with its four losses.

    python -m benchmarks.experiments.hmm [--quick] [--markdown FILE] [--n-jobs N]

Under a hidden Markov model with normal emissions of one covariance, the law of the states given the observations is a
linear-chain model with linear scores. So the true parameters are among those that LinearChainCRF searches, and the true
posterior probabilities are marginals of `ChainDP` at the true potentials.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.experiments import page, runs
from sdtwkit import LinearChainCRF
from sdtwkit.dp import ChainDP

MODULE = "benchmarks.experiments.hmm"
LOSSES = {
    f"{regularizer}, {loss}": (regularizer, loss)
    for regularizer in ("entropy", "l2")
    for loss in ("surrogate", "relaxed")
}
TRUTH = "true model"
PACKAGES = ("numpy", "scipy", "scikit-learn")


class Settings(NamedTuple):
    states: int = 4
    channels: int = 3
    shortest: int = 20
    longest: int = 40
    sizes: tuple = (10, 30, 100, 300)
    test: int = 1000
    repeats: int = 5
    max_iter: int = 200


QUICK = Settings(sizes=(10, 30), test=50, repeats=2, max_iter=30)


def main(argv=None):
    """Train and test on all models, then write or print the page."""
    arguments = runs.parser(MODULE, __doc__, "few sequences and iterations", keeps=False).parse_args(argv)
    settings = QUICK if arguments.quick else Settings()
    jobs = [(seed, settings) for seed in range(settings.repeats)]
    outcomes = runs.every(studied, jobs, arguments.n_jobs)
    runs.deliver(markdown(outcomes, settings, runs.command(MODULE, arguments)), arguments)


# ---- the models


class Model(NamedTuple):
    """A hidden Markov model; the first state is any with the same probability."""

    moves: np.ndarray  # (S, S) moves[i, j]: probability of state i after state j
    means: np.ndarray  # (S, d) of normal emissions with covariance I

    def draw(self, rng, n):
        """-> observations (n, d), states (n,)"""
        states = [rng.integers(len(self.means))]
        while len(states) < n:
            states.append(rng.choice(len(self.means), p=self.moves[:, states[-1]]))
        return self.means[states] + rng.normal(size=(n, self.means.shape[1])), np.array(states)

    def potentials(self, x):
        """log p(states, x), less what does not depend on the states, as the pair of `ChainDP`."""
        return x @ self.means.T - 0.5 * (self.means**2).sum(axis=1), np.log(self.moves)


def model(rng, settings):
    """States stay as they are with probability 1/2 at least; means overlap."""
    S = settings.states
    moves = 0.5 * np.eye(S) + 0.5 * rng.dirichlet(np.ones(S), size=S).T
    return Model(moves, rng.normal(size=(S, settings.channels)))


def studied(seed, settings):
    """-> {(method, size): measures} of one model, the truth under size None, and the time it took."""
    start, rng = time.process_time(), np.random.default_rng(seed)
    truth = model(rng, settings)

    def draws(count):
        lengths = rng.integers(settings.shortest, settings.longest + 1, size=count)
        return tuple(zip(*(truth.draw(rng, n) for n in lengths), strict=True))

    X_test, y_test = draws(settings.test)
    posterior = [ChainDP().marginals(truth.potentials(x)) for x in X_test]
    best = [ChainDP().decode(truth.potentials(x))[0] for x in X_test]
    found = {(TRUTH, None): measures(best, posterior, posterior, y_test)}
    X, y = draws(max(settings.sizes))
    for size in settings.sizes:
        for method, (regularizer, loss) in LOSSES.items():
            crf = LinearChainCRF(regularizer, loss=loss, alpha=0.1 / size, max_iter=settings.max_iter)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                crf.fit(X[:size], y[:size])
            found[method, size] = measures(crf.predict(X_test), crf.predict_marginals(X_test), posterior, y_test)
    return found, time.process_time() - start


def measures(predicted, marginals, posterior, y):
    """-> means over the steps of all test sequences, by name."""
    labels, p, q = np.concatenate(y), np.concatenate(marginals), np.concatenate(posterior)
    given = p[np.arange(len(p)), labels]
    with np.errstate(divide="ignore"):
        surprise = -np.log(given).mean()
    return {
        "sequence": np.mean(np.concatenate(predicted) == labels),
        "step": np.mean(p.argmax(axis=1) == labels),
        "distance": np.abs(p - q).sum(axis=1).mean() / 2,
        "surprise": surprise,
        "support": (p > 0).sum(axis=1).mean(),
        "ruled out": np.mean(given == 0),
    }


# ---- the page


def markdown(outcomes, settings, command):
    found = {key: {name: np.mean([o[key][name] for o, _ in outcomes]) for name in o[key]}
             for o, _ in outcomes[:1] for key in o}  # fmt: skip
    blocks = [
        "# Tagging where the truth is known",
        "Linear-chain models learn to label sequences of hidden Markov models. There the best labels possible, and the "
        "true probability of each label at each step, are known.",
        page.provenance(sum(seconds for _, seconds in outcomes), command, PACKAGES),
        INTRODUCTION.format(**settings._asdict(), last=settings.repeats - 1),
        "## Right labels",
        "Share of the steps, in percent, whose label is right: of the best sequence, and, after the slash, of the most "
        "probable label at each step by itself. The true model's second figure is the best that is possible in the "
        "mean.",
        by_size(found, settings, lambda m: f"{100 * m['sequence']:.2f} / {100 * m['step']:.2f}"),
        "## Probabilities",
        "Distance to the true probabilities of the labels at a step: half the sum of the absolute differences, the "
        "mean over the steps.",
        by_size(found, settings, lambda m: f"{m['distance']:.4f}"),
        "Surprise, the mean of minus the logarithm of the probability of the right label.",
        by_size(found, settings, lambda m: f"{m['surprise']:.4f}" if np.isfinite(m["surprise"]) else "infinite"),
        "Labels with a probability above 0 at a step, and, after the slash, the share of the steps in percent whose "
        "right label has probability 0.",
        by_size(found, settings, lambda m: f"{m['support']:.2f} / {100 * m['ruled out']:.2f}"),
        conclusion(found, settings),
    ]
    return "\n\n".join(map(page.wrapped, blocks)) + "\n"


INTRODUCTION = """\
{repeats} models, with seeds 0 to {last}, have {states} states and normal emissions in {channels} channels, with
covariance I and means drawn from the same law; a state is kept with probability 1/2, and otherwise followed by any
state, with probabilities drawn uniformly for each. Sequences have {shortest} to {longest} steps. Training sets of one
model are parts of each other; {test} further sequences test. alpha is 0.1 divided by the number of training sequences,
and L-BFGS takes {max_iter} iterations at most. Figures are means over the models."""


def by_size(found, settings, cell):
    rows = [(method, *(cell(found[method, size]) for size in settings.sizes)) for method in LOSSES]
    rows.append((TRUTH, *[cell(found[TRUTH, None])] * len(settings.sizes)))
    return page.table(("training sequences", *settings.sizes), rows)


def conclusion(found, settings):
    size = settings.sizes[-1]
    ranked = sorted(LOSSES, key=lambda method: found[method, size]["distance"])
    lacks = {method: found[TRUTH, None]["step"] - found[method, size]["step"] for method in LOSSES}
    return (
        f"With {size} training sequences the probabilities nearest to the true ones are those of {ranked[0]!r}, at a "
        f"distance of {found[ranked[0], size]['distance']:.4f}; then come "
        + ", ".join(f"{method!r} ({found[method, size]['distance']:.4f})" for method in ranked[1:])
        + ". The most probable labels of the four are right less often than those of the true model by "
        + ", ".join(f"{100 * lack:.2f} ({method})" for method, lack in lacks.items())
        + " points."
    )


if __name__ == "__main__":
    main()
