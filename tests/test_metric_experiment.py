"""The experiment on learned metrics: its parts, its choices and its page, on small generated sets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import metric_learning, metric_page, ranking
from sdtwkit import cdist_dtw
from sdtwkit.metric_learning import evaluation

SMALL = ranking.Settings(seeds=2, max_iter=4, patience=2, hidden_size=4, crop_seconds=1.0)


def made(rng, n=30):
    """Waves of two frequencies, in parts."""
    y = np.arange(n) % 2
    X = [np.sin((2 + 3 * k) * np.linspace(0, 3, 12 + s))[:, None] + 0.3 * rng.normal(size=(12 + s, 1))
         for s, k in enumerate(y)]  # fmt: skip
    members = np.split(rng.permutation(n), [14, 22])
    return ranking.standardised(ranking.Parts(X, y, *members, 10.0))


@pytest.fixture
def data(rng):
    return made(rng)


@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_is_in_two_parts(seed):
    data = ranking.split("watch", seed)
    _, _, person, _ = ranking.watch()
    groups = [set(person[part]) for part in (data.training, data.validation, data.test)]
    assert [len(group) for group in groups] == [5, 2, 3]
    assert len(set.union(*groups)) == 10
    assert sum(map(len, (data.training, data.validation, data.test))) == 140


def test_channels_are_standardised_by_the_training_part(data):
    samples = np.concatenate([data.X[k] for k in data.training])
    assert samples.dtype == np.float32
    assert_allclose(samples.mean(axis=0), 0, atol=1e-5)
    assert_allclose(samples.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("method", ranking.METHODS)
def test_every_method_ranks(data, method):
    found = ranking.outcome(data, method, 0, SMALL)
    assert len(found["tried"]) == 2
    assert found["validation"] == max(score for score, _ in found["tried"])
    assert all(0 <= found[name] <= 1 for name in ranking.MEASURES)
    assert ranking.outcome(data, method, 0, SMALL) == found


def test_the_choice_is_made_on_the_validation_part(data):
    found = ranking.outcome(data, "DTW", 0, SMALL)
    scores = {}
    for share in SMALL.windows:
        radius = None if share is None else int(share * max(map(len, data.X)))
        for name in ("validation", "test"):
            part = getattr(data, name)
            distances = cdist_dtw([data.X[k] for k in part], window=radius)
            scores[share, name] = evaluation.mean_average_precision(distances, data.y[part])
    best = max(SMALL.windows, key=lambda share: scores[share, "validation"])
    assert found["setting"] == best
    assert found["mean_average_precision"] == scores[best, "test"]


def test_the_test_part_is_not_trained_on(data):
    changed = data._replace(X=[10 * x if k in data.test else x for k, x in enumerate(data.X)])
    for method in ("Mahalanobis", "coupled, pre"):
        assert ranking.outcome(changed, method, 0, SMALL)["tried"] == ranking.outcome(data, method, 0, SMALL)["tried"]


@pytest.fixture
def command(monkeypatch, tmp_path, rng):
    """Runs the command on a generated set; returns the page."""
    sets = [made(rng), made(rng)]
    monkeypatch.setattr(ranking, "split", lambda name, seed: sets[seed])
    monkeypatch.setattr(metric_learning, "QUICK_SETTINGS", SMALL)

    def run(outcome):
        monkeypatch.setattr(ranking, "outcome", outcome)
        file = tmp_path / "page.md"
        cache = str(tmp_path / "cache")
        metric_learning.main(["--quick", "--n-jobs", "1", "--cache", cache, "--markdown", str(file)])
        return file.read_text()

    return run


def drawn(data, method, seed, settings):
    value = len(method) / 100 + 0.01 * seed
    return {"setting": 1.0, "validation": 0.5, "tried": [], **dict.fromkeys(ranking.MEASURES, value)}


def test_the_page_holds_means_and_deviations(command):
    text = command(drawn)
    assert "| DTW | 3.5 ± 0.7 | 3.5 ± 0.7 | 3.5 ± 0.7 | 3.5 ± 0.7 | 1 (2) |" in text
    assert "| siamese GRU | 11.5 ± 0.7 |" in text
    assert "| Mahalanobis | 11.5 ± 0.7 |" in text
    assert "| soft divergence | **15.5** ± 0.7 |" in text
    assert "| watch | coupled, pre | +1.0 ± 0.0 | 2 of 2 |" in text
    assert "above that of DTW: 2 (soft divergence), 2 (Mahalanobis)" in " ".join(text.split())
    assert "{" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_a_run_goes_on_where_it_stopped(command):
    asked = []

    def counted(data, method, seed, settings):
        asked.append((method, seed))
        return drawn(data, method, seed, settings)

    first = command(counted)
    assert len(asked) == 2 * len(ranking.METHODS)
    asked.clear()
    assert command(counted) == first
    assert not asked


def test_a_gain_is_named_only_where_it_is_clear():
    def outcomes(*values):
        return [{"mean_average_precision": value} for value in values]

    clear = {"siamese GRU": outcomes(0.5, 0.6, 0.7), "coupled, pre": outcomes(0.6, 0.7, 0.81)}
    vague = {"siamese GRU": outcomes(0.5, 0.6, 0.7), "coupled, pre": outcomes(0.6, 0.5, 0.7)}
    *_, said = metric_page.coupling({"A": clear, "B": vague})
    assert "coupled, pre on A (+10.3)." in said
    assert "on B" not in said
    assert "none differs from zero" in metric_page.coupling({"B": vague})[-1]
