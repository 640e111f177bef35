"""Named entities of Japanese sentences: the four losses of LinearChainCRF side by side, and sklearn-crfsuite.

    python -m benchmarks.experiments.ner [--quick] [--corpus FILE] [--markdown FILE] [--n-jobs N]

The corpus is in the source distribution of the package hironsancorpus. It is fetched by pooch at the first run, or read
from the file given. sklearn-crfsuite is compared with where it is installed.
"""

import hashlib
import importlib.util
import sys
import tarfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.experiments import page, runs
from sdtwkit import LinearChainCRF

MODULE = "benchmarks.experiments.ner"
ARCHIVE = "hironsancorpus-0.1.2.tar.gz"
SOURCE = (
    "https://files.pythonhosted.org/packages/83/f4/831ba0d7ebe6283e13934a75078c98f40108fcf7fc8be9fca3ee70638354/"
    + ARCHIVE
)
SHA256 = "9ea6a147c7f62433c19492eeaef1da846e038722e01f7c8dc40c406ee7504ae1"
MEMBER = "hironsancorpus-0.1.2/hironsan/corpus/iob_sents.txt"
# method -> (regularizer, loss)
LOSSES = {
    f"{regularizer}, {loss}": (regularizer, loss)
    for regularizer in ("entropy", "l2")
    for loss in ("surrogate", "relaxed")
}
PEER = "sklearn-crfsuite"
PACKAGES = ("numpy", "scipy", "scikit-learn", "sklearn-crfsuite", "python-crfsuite")


class Settings(NamedTuple):
    alphas: tuple = (1e-4, 1e-3, 1e-2)
    folds: int = 5
    max_iter: int = 100
    sentences: int | None = None


QUICK = Settings(alphas=(1e-3,), folds=2, max_iter=20, sentences=60)


def main(argv=None):
    """Train and test on all folds, then write or print the page."""
    arguments = parser().parse_args(argv)
    settings = QUICK if arguments.quick else Settings()
    corpus = load(arguments.corpus)[: settings.sentences]
    methods = [*LOSSES, *([PEER] if importlib.util.find_spec("sklearn_crfsuite") else [])]
    jobs = [(method, corpus, fold, settings) for method in methods for fold in range(settings.folds)]
    outcomes = runs.every(tested, jobs, arguments.n_jobs)
    found = {method: [o for o in outcomes if o["method"] == method] for method in methods}
    runs.deliver(markdown(corpus, found, settings, runs.command(MODULE, arguments)), arguments)


def parser():
    options = runs.parser(MODULE, __doc__, "a few sentences, one alpha, few iterations", keeps=False)
    options.add_argument("--corpus", type=Path, metavar="FILE", help=f"where {ARCHIVE} lies already")
    return options


# ---- the corpus


class Sentence(NamedTuple):
    """Columns of the corpus; of the twelve, those that features are made of."""

    words: list
    scripts: list  # kinds of characters
    parts: list  # parts of speech
    details: list  # their subdivisions
    labels: list  # IOB2


def load(archive=None):
    """-> list of Sentence, in the order of the corpus."""
    archive = fetched() if archive is None else Path(archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{archive.name} has the SHA-256 {found}; expected {ARCHIVE} with {SHA256}")
    with tarfile.open(archive) as members, members.extractfile(MEMBER) as file:
        return parsed(file.read().decode("utf-8"))


def fetched():
    import pooch

    return Path(pooch.retrieve(SOURCE, f"sha256:{SHA256}", fname=ARCHIVE, path=pooch.os_cache("sdtwkit")))


def parsed(text):
    """Tokens are lines of columns between tabs, the label last; sentences end with an empty line."""
    blocks = [[line.split("\t") for line in block.split("\n")] for block in text.strip("\n").split("\n\n")]
    return [Sentence(*(([row[k] for row in rows]) for k in (0, 1, 2, 3, -1))) for rows in blocks]


def features(sentence):
    """-> a dict for each token: itself and its neighbours up to two tokens away."""
    words, scripts, parts, details, _ = sentence
    n, tokens = len(words), []
    for t in range(n):
        token = {"begin": words[t][0], "end": words[t][-1], "first": t == 0, "last": t == n - 1}
        for k in range(max(t - 2, 0), min(t + 3, n)):
            token |= {
                f"{k - t} word": words[k],
                f"{k - t} script": scripts[k],
                f"{k - t} part": f"{parts[k]} {details[k]}",
            }
        if t > 0:
            token["parts before"] = f"{parts[t - 1]} {parts[t]}"
        if t + 1 < n:
            token["parts after"] = f"{parts[t]} {parts[t + 1]}"
        tokens.append(token)
    return tokens


# ---- entities


def entities(labels):
    """-> {(kind, first, last + 1)}: an entity begins with B, or with an I that does not go on from the token before."""
    found, kind, first = set(), None, 0
    for t, label in enumerate([*labels, "O"]):
        tag, _, new = label.partition("-")
        if kind is not None and (tag != "I" or new != kind):
            found.add((kind, first, t))
            kind = None
        if tag != "O" and kind is None:
            kind, first = new, t
    return found


def counted(true, predicted):
    """-> Counter {(kind, "right" or "predicted" or "true"): number} of one sentence."""
    expected, found = entities(true), entities(predicted)
    counts = Counter((kind, "true") for kind, _, _ in expected)
    counts.update((kind, "predicted") for kind, _, _ in found)
    counts.update((kind, "right") for kind, _, _ in expected & found)
    return counts


def total(counts, kinds=None):
    """Counters of sentences -> [right, predicted, true] over the kinds."""
    return [
        sum(number for c in counts for (kind, of), number in c.items() if of == what and (not kinds or kind in kinds))
        for what in ("right", "predicted", "true")
    ]


def f1(right, predicted, true):
    """2 right / (predicted + true), the harmonic mean of precision and recall."""
    return 2 * right / (predicted + true) if predicted + true else 0.0


def standard_error(counts, repeats=1000):
    """Of F1, by drawing sentences with replacement."""
    table, rng = np.array([total([c]) for c in counts]), np.random.default_rng(0)
    draws = rng.integers(len(table), size=(repeats, len(table)))
    return np.std([f1(*table[draw].sum(axis=0)) for draw in draws])


# ---- training


def tested(method, corpus, fold, settings):
    """Trained on the other folds; alpha is the best of the grid on the last quarter of them."""
    start = time.process_time()
    begin, end = (k * len(corpus) // settings.folds for k in (fold, fold + 1))
    test, train = corpus[begin:end], corpus[:begin] + corpus[end:]
    inner = 3 * len(train) // 4

    def right(alpha):
        predicted, _ = labelled(method, alpha, train[:inner], train[inner:], settings)
        return f1(*total([counted(s.labels, p) for s, p in zip(train[inner:], predicted, strict=True)]))

    alpha = max(settings.alphas, key=right) if len(settings.alphas) > 1 else settings.alphas[0]
    predicted, facts = labelled(method, alpha, train, test, settings)
    print(f"{method}, fold {fold}: {time.process_time() - start:.1f} s", file=sys.stderr, flush=True)
    return {
        "method": method,
        "alpha": alpha,
        "counts": [counted(s.labels, p) for s, p in zip(test, predicted, strict=True)],
        "predicted": [label for p in predicted for label in p],
        "cpu_seconds": time.process_time() - start,
        **facts,
    }


def labelled(method, alpha, train, test, settings):
    """-> predicted labels of the test sentences; {"seconds", "support"}: of training, mean labels with probability."""
    X, y, X_test = [features(s) for s in train], [s.labels for s in train], [features(s) for s in test]
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if method == PEER:
            model = crfsuite_model(alpha, len(X), settings).fit(crfsuite_tokens(X), y)
            seconds = time.process_time() - start
            return model.predict(crfsuite_tokens(X_test)), {"seconds": seconds, "support": None}
        regularizer, loss = LOSSES[method]
        model = LinearChainCRF(regularizer, loss=loss, alpha=alpha, max_iter=settings.max_iter).fit(X, y)
    seconds = time.process_time() - start
    support = np.mean(np.concatenate([(p > 0).sum(axis=1) for p in model.predict_marginals(X_test)]))
    return [list(p) for p in model.predict(X_test)], {"seconds": seconds, "support": float(support)}


def crfsuite_model(alpha, n, settings):
    """The same objective: crfsuite minimises the sum over the sequences, plus c2 times the squares."""
    from sklearn_crfsuite import CRF

    return CRF(
        c1=0.0,
        c2=n * alpha / 2,
        max_iterations=settings.max_iter,
        all_possible_states=True,
        all_possible_transitions=True,
    )


def crfsuite_tokens(X):
    """Our intercepts are a constant feature there."""
    return [[{"constant": 1.0, **token} for token in tokens] for tokens in X]


# ---- the page


def markdown(corpus, found, settings, command):
    truth = [label for sentence in corpus for label in sentence.labels]
    kinds = Counter(kind for sentence in corpus for kind, _, _ in entities(sentence.labels))
    seconds = sum(outcome["cpu_seconds"] for outcomes in found.values() for outcome in outcomes)
    blocks = [
        "# Named entities: four losses of linear-chain models",
        "Named-entity recognition as in Mensch and Blondel, Differentiable dynamic programming for "
        "structured prediction and attention, ICML 2018, with linear scores of ordinary features of tokens instead of "
        "a network, and on another corpus: CoNLL's are not within reach. So no figure of the paper can be compared "
        "with these; what can be is how the four losses stand to each other.",
        page.provenance(seconds, command, PACKAGES),
        INTRODUCTION.format(
            sentences=len(corpus),
            tokens=len(truth),
            labels=len(set(truth)),
            entities=sum(kinds.values()),
            folds=settings.folds,
            alphas=page.listed(settings.alphas),
            max_iter=settings.max_iter,
        ),
        "## Results",
        "Over all folds together, in percent; the standard error is over draws of sentences with replacement.",
        page.table(
            ("method", "precision", "recall", "F1", "standard error", "F1 of the folds", "labels right", "alpha",
             "labels with probability > 0", "seconds of training"),
            [row(method, outcomes, truth) for method, outcomes in found.items()],
        ),
        "F1 in percent by kind of entity.",
        page.table(
            ("kind", "number", *found),
            [
                (kind, number, *(f"{100 * f1(*total(pooled(outcomes), {kind})):.1f}" for outcomes in found.values()))
                for kind, number in kinds.most_common()
            ],
        ),
        *([against_peer(found)] if PEER in found else []),
        "Published: on news in four languages the four losses reach similar F1.",
    ]  # fmt: skip
    return "\n\n".join(map(page.wrapped, blocks)) + "\n"


INTRODUCTION = """\
The corpus is hironsancorpus 0.1.2 (MIT licence): {sentences} Japanese sentences, {tokens} tokens, {entities} entities,
{labels} labels in the scheme IOB2. A token's features are the words, kinds of script and parts of speech of itself and
its neighbours up to two tokens away, pairs of neighbouring parts of speech, its first and last character, and
whether it begins or ends the sentence.

Sentences that follow each other are often about the same thing, so the {folds} folds are contiguous parts of the
corpus. alpha is one of {alphas}: that of the best F1 on the last quarter of the training sentences, after training on
the others. L-BFGS takes {max_iter} iterations at most. Entities count as right if both ends and the kind are. The
labels predicted are those of the best sequence."""


def pooled(outcomes):
    return [counts for outcome in outcomes for counts in outcome["counts"]]


def row(method, outcomes, truth):
    counts = pooled(outcomes)
    right, predicted, true = total(counts)
    folds = [100 * f1(*total(outcome["counts"])) for outcome in outcomes]
    labels = np.concatenate([outcome["predicted"] for outcome in outcomes])
    support = "" if outcomes[0]["support"] is None else f"{np.mean([o['support'] for o in outcomes]):.2f}"
    return (
        method,
        f"{100 * right / max(predicted, 1):.1f}",
        f"{100 * right / true:.1f}",
        f"{100 * f1(right, predicted, true):.1f}",
        f"{100 * standard_error(counts):.1f}",
        f"{min(folds):.1f} to {max(folds):.1f}",
        f"{100 * np.mean(labels == np.array(truth)):.1f}",
        ", ".join(f"{alpha:g}" for alpha in sorted({o["alpha"] for o in outcomes})),
        support,
        f"{np.mean([o['seconds'] for o in outcomes]):.1f}",
    )


def against_peer(found):
    ours, theirs = (
        np.concatenate([o["predicted"] for o in found[m]]) for m in ("entropy, surrogate", PEER)
    )  # fmt: skip
    return (
        f"{PEER} minimises the objective of the first row, except that its constant feature is penalised as all others "
        f"are; it chose its own alpha. The two predict the same label for {100 * np.mean(ours == theirs):.2f}% of the "
        "tokens."
    )


if __name__ == "__main__":
    main()
