"""The studies of labels: how entities are counted, features made and folds cut; what the true model knows."""

import warnings
from collections import Counter
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import hmm, ner

TEXT = """\
2005	ZDIGIT	noun	number	*	B-DAT
year	OTHER	noun	suffix	*	I-DAT
,	OTHER	sign	comma	*	O
Durban	KATAK	noun	name	*	B-LOC

it	OTHER	pronoun	*	*	O
"""


@pytest.fixture
def corpus():
    rng = np.random.default_rng(0)
    return [generated(rng, n) for n in rng.integers(3, 9, size=24)]


def generated(rng, n):
    """Words that tell their label, most of the time."""
    labels, words = [], []
    while len(labels) < n:
        kind = rng.choice(["O", "LOC", "PSN"])
        labels += ["O"] if kind == "O" else [f"B-{kind}", f"I-{kind}"]
    for label in labels:
        words.append(f"{label if rng.random() < 0.95 else 'x'}{rng.integers(3)}")
    return ner.Sentence(words, ["A"] * len(words), ["noun"] * len(words), ["*"] * len(words), labels)


# ---- named entities


def test_sentences_are_read():
    first, second = ner.parsed(TEXT)
    assert first.words == ["2005", "year", ",", "Durban"]
    assert first.labels == ["B-DAT", "I-DAT", "O", "B-LOC"]
    assert first.details == ["number", "suffix", "comma", "name"]
    assert second == (["it"], ["OTHER"], ["pronoun"], ["*"], ["O"])


def test_features_tell_of_neighbours_within_the_sentence():
    tokens = ner.features(ner.parsed(TEXT)[0])
    assert tokens[0]["first"]
    assert not tokens[0]["last"]
    assert tokens[1]["-1 word"] == "2005"
    assert tokens[1]["2 word"] == "Durban"
    assert "-2 word" not in tokens[1]
    assert tokens[3]["parts before"] == "sign noun"
    assert "parts after" not in tokens[3]


def test_other_files_are_refused(tmp_path):
    file = tmp_path / ner.ARCHIVE
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"has the SHA-256 [0-9a-f]{64}; expected hironsancorpus"):
        ner.load(file)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O B-A I-A O", {("A", 1, 3)}),
        ("B-A B-A", {("A", 0, 1), ("A", 1, 2)}),
        ("B-A I-B I-B", {("A", 0, 1), ("B", 1, 3)}),
        ("O I-A O I-A", {("A", 1, 2), ("A", 3, 4)}),
        ("O O", set()),
    ],
)
def test_entities_begin_and_end(labels, expected):
    assert ner.entities(labels.split()) == expected


def test_f1_is_that_of_seqeval(rng):
    seqeval = pytest.importorskip("seqeval.metrics", reason="an independent implementation, optional")
    alphabet = ["O", "B-A", "I-A", "B-B", "I-B"]
    true, predicted = ([list(rng.choice(alphabet, size=n)) for n in range(1, 60)] for _ in range(2))
    counts = [ner.counted(t, p) for t, p in zip(true, predicted, strict=True)]
    right, found, there = ner.total(counts)
    assert_allclose(ner.f1(right, found, there), seqeval.f1_score(true, predicted))
    assert_allclose(right / found, seqeval.precision_score(true, predicted))
    assert_allclose(right / there, seqeval.recall_score(true, predicted))


def test_kinds_add_up():
    counts = [ner.counted(["B-A", "B-B", "O"], ["B-A", "O", "B-B"]), ner.counted(["B-B"], ["B-B"])]
    assert ner.total(counts) == [2, 3, 3]
    assert ner.total(counts, {"A"}) == [1, 1, 1]
    assert ner.total(counts, {"B"}) == [1, 2, 2]


@pytest.mark.parametrize("method", ner.LOSSES)
def test_a_fold_is_learned_from_the_others(method, corpus):
    settings = ner.Settings(alphas=(1e3, 1e-3), folds=3, max_iter=30)
    outcome = ner.tested(method, corpus, 1, settings)
    assert outcome["alpha"] == 1e-3
    assert len(outcome["predicted"]) == sum(len(s.labels) for s in corpus[8:16])
    assert ner.f1(*ner.total(outcome["counts"])) > 0.7
    before = [s.labels for s in corpus[8:16]]
    spoiled = [*corpus[:8], *(s._replace(labels=["O"] * len(s.labels)) for s in corpus[8:16]), *corpus[16:]]
    assert ner.tested(method, spoiled, 1, settings)["predicted"] == outcome["predicted"]  # labels of the fold unseen
    assert ner.total(outcome["counts"])[2] == sum(len(ner.entities(labels)) for labels in before)


def test_the_page_of_entities(corpus):
    settings = ner.Settings(alphas=(1e-3,), folds=2, max_iter=10)
    found = {method: [ner.tested(method, corpus, k, settings) for k in range(2)] for method in list(ner.LOSSES)[:2]}
    text = ner.markdown(corpus, found, settings, "the command")
    right, predicted, true = ner.total(ner.pooled(found["entropy, surrogate"]))
    assert f"| {100 * ner.f1(right, predicted, true):.1f} |" in text
    assert "Written by `the command`" in text
    assert Counter(line.startswith("| entropy") for line in text.splitlines())[True] == 2


# ---- hidden Markov models


def test_the_posterior_is_bayes_rule():
    settings = hmm.Settings(states=3, channels=2)
    rng = np.random.default_rng(1)
    model = hmm.model(rng, settings)
    assert_allclose(model.moves.sum(axis=0), 1)
    x, states = model.draw(rng, 5)
    assert x.shape == (5, 2)
    assert states.shape == (5,)
    weights = np.zeros((5, 3))
    for path in product(range(3), repeat=5):
        moves = np.prod([model.moves[i, j] for i, j in zip(path[1:], path[:-1], strict=True)])
        density = np.exp(-0.5 * ((x - model.means[list(path)]) ** 2).sum())
        weights[np.arange(5), path] += moves * density
    posterior = hmm.ChainDP().marginals(model.potentials(x))
    assert_allclose(posterior, weights / weights.sum(axis=1, keepdims=True), rtol=1e-10)


def test_moves_are_drawn_from_the_model():
    model = hmm.Model(np.array([[0.9, 0.3], [0.1, 0.7]]), np.zeros((2, 1)))
    states = model.draw(np.random.default_rng(0), 20_000)[1]
    after = [np.mean(states[1:][states[:-1] == j] == 1) for j in (0, 1)]
    assert_allclose(after, [0.1, 0.7], atol=0.02)


def test_more_sequences_come_nearer_to_the_truth():
    settings = hmm.Settings(sizes=(5, 100), test=100, repeats=1, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, seconds = hmm.studied(3, settings)
    assert seconds > 0
    truth = found[hmm.TRUTH, None]
    assert truth["distance"] == 0
    for method in hmm.LOSSES:
        few, many = found[method, 5], found[method, 100]
        assert many["distance"] < few["distance"]
        assert abs(many["step"] - truth["step"]) < 0.05
        assert (many["support"] < 4) == method.startswith("l2")
    assert found["entropy, surrogate", 100]["surprise"] < truth["surprise"] + 0.02
    text = hmm.markdown([(found, seconds)], settings, "the command")
    assert f"{many['distance']:.4f}" in text
    assert "| true model |" in text
