"""The experiments on published protocols: what is chosen and counted, on small generated sets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV

from sdtwkit import NearestSoftCentroid, SoftDTWKNeighborsClassifier, dtw, dtw_barycenter_averaging, soft_dtw_barycenter

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import averaging, classification, data_sets, page, ucr

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CHOICE = classification.Settings(gammas=(0.01, 1.0), neighbors=(1, 3), folds=2, max_iter=5)
AVERAGES = averaging.Settings(gammas=(1.0, 0.01), n_series=4, repeats=2, max_iter=10)


def bumps(rng, label, n, d):
    """A noisy series with one bump or two."""
    t = np.linspace(0, 1, n)[:, None]
    return np.abs(np.sin(np.pi * (1 + label) * t ** rng.uniform(0.7, 1.4))) + 0.6 * rng.normal(size=(n, d))


@pytest.fixture(params=["equal lengths", "ragged"])
def data(request, rng):
    return made(rng, request.param == "ragged")


def made(rng, ragged=True, name="Bumps"):
    y = np.array(["one", "two"])[np.arange(24) % 2]
    lengths = rng.integers(8, 15, size=24) if ragged else np.full(24, 12)
    X = [bumps(rng, int(label == "two"), n, 2) for label, n in zip(y, lengths, strict=True)]
    return data_sets.DataSet(name, X[:14], y[:14], X[14:], y[14:])


# ---- sets


def test_channels_are_standardised_by_the_training_samples(data):
    new = data_sets.standardised(data)
    samples, before = np.concatenate(new.X_train), np.concatenate(data.X_train)
    assert_allclose(samples.mean(axis=0), 0, atol=1e-12)
    assert_allclose(samples.std(axis=0), 1)
    factor = 1 / before.std(axis=0)
    for x, z in zip(data.X_test, new.X_test, strict=True):
        assert_allclose(z, (x - before.mean(axis=0)) * factor)
    assert_array_equal(new.y_test, data.y_test)


def test_facts_count_series_classes_channels_and_lengths(rng):
    X = [np.zeros((n, 3)) for n in (5, 7, 4, 9)]
    facts = data_sets.DataSet("Trace", X[:3], np.array([1, 2, 1]), X[3:], np.array([2])).facts()
    expected = {"train": 3, "test": 1, "classes": 2, "channels": 3, "shortest": 4, "longest": 9}
    assert facts == {"archive": "UCR 2015", **expected}


# ---- classification


@pytest.mark.parametrize("metric", classification.DIVERGENCES)
def test_neighbors_and_gamma_are_those_of_the_best_cross_validated_estimator(data, metric):
    got = classification.nearest_neighbors(data, metric, CHOICE)
    model = SoftDTWKNeighborsClassifier(metric=metric, cost="half_sqeuclidean")
    grid = {"gamma": CHOICE.grid(metric), "n_neighbors": CHOICE.neighbors}
    search = GridSearchCV(model, grid, cv=CHOICE.split()).fit(data.X_train, data.y_train)
    scores = search.cv_results_["mean_test_score"]
    tried = [(p["n_neighbors"], p["gamma"]) for p in search.cv_results_["params"]]
    k, gamma = min(choice for choice, score in zip(tried, scores, strict=True) if np.isclose(score, scores.max()))
    model.set_params(n_neighbors=k, gamma=gamma).fit(data.X_train, data.y_train)
    depends = metric not in ("dtw", "mean_divergence")
    assert got == {"accuracy": model.score(data.X_test, data.y_test), "k": k, "gamma": gamma if depends else None}


@pytest.mark.parametrize(
    ("metric", "divergence"),
    [("soft_dtw", False), ("soft_dtw_divergence", "soft"), ("sharp_divergence", "sharp"), ("mean_divergence", "mean")],
)
def test_centroids_are_those_of_the_best_gamma_of_the_training_part(data, metric, divergence):
    got = classification.nearest_centroids(data, metric, CHOICE)
    options = {"divergence": divergence, "cost": "half_sqeuclidean", "max_iter": CHOICE.max_iter}
    scores = {gamma: cross_validated(data, NearestSoftCentroid(gamma, **options)) for gamma in CHOICE.gammas}
    gamma = max(sorted(scores), key=scores.get)
    model = NearestSoftCentroid(gamma, **options).fit(data.X_train, data.y_train)
    depends = metric != "mean_divergence"
    assert got == {
        "accuracy": model.score(data.X_test, data.y_test),
        "k": None,
        "gamma": gamma if depends else None,
    }


def cross_validated(data, model):
    """Mean accuracy over the folds, the obvious way."""
    scores = []
    for inside, outside in CHOICE.split().split(data.X_train, data.y_train):
        model.fit([data.X_train[i] for i in inside], data.y_train[inside])
        scores.append(model.score([data.X_train[i] for i in outside], data.y_train[outside]))
    return round(np.mean(scores), 9)


def test_dba_centroids_classify_by_dtw(data):
    length = int(np.ceil(np.median([len(x) for x in data.X_train])))
    centroids = {
        label: dtw_barycenter_averaging(
            [x for x, y in zip(data.X_train, data.y_train, strict=True) if y == label],
            length=length,
            max_iter=CHOICE.max_iter,
        )
        for label in ("one", "two")
    }
    labels = [min(centroids, key=lambda label: dtw(x, centroids[label])) for x in data.X_test]
    expected = {"accuracy": accuracy_score(data.y_test, labels), "k": None, "gamma": None}
    assert classification.nearest_centroids(data, "dtw", CHOICE) == expected


@pytest.mark.parametrize("run", [classification.nearest_neighbors, classification.nearest_centroids])
def test_choices_do_not_look_at_the_test_part(data, run):
    other = data._replace(X_test=data.X_test[:3], y_test=data.y_test[:3][::-1])
    first, second = (run(which, "soft_dtw", CHOICE) for which in (data, other))
    assert (first["k"], first["gamma"]) == (second["k"], second["gamma"])


# ---- averaging


def test_draws_are_distinct_series_of_one_class_that_is_large_enough(rng):
    data = made(rng)
    y = np.r_[np.full(21, "large"), np.full(3, "small")]
    data = data._replace(y_train=y[:14], y_test=y[14:])
    place = {id(x): i for i, x in enumerate(data.X_train + data.X_test)}
    draws = [tuple(place[id(x)] for x in averaging.draw(data, AVERAGES, seed)) for seed in range(20)]
    assert all(len(set(draw)) == AVERAGES.n_series and max(draw) < 21 for draw in draws)
    assert max(map(max, draws)) >= 14  # of the test part, too
    assert len(set(draws)) == 20
    assert draws[3] == tuple(place[id(x)] for x in averaging.draw(data, AVERAGES, 3))


@pytest.mark.parametrize("start", AVERAGES.starts)
def test_barycenters_are_compared_by_their_mean_dtw(data, start):
    X = averaging.draw(data, AVERAGES, 0)
    got = averaging.compare(X, start, 7, AVERAGES)
    options = {"init": start, "random_state": 7, "max_iter": 10, "tol": 0.0}
    for gamma, loss in zip(AVERAGES.gammas, got["soft"].values(), strict=True):
        assert_allclose(loss, np.mean([dtw(soft_dtw_barycenter(X, gamma, **options), x) for x in X]))
    assert_allclose(got["dba"], np.mean([dtw(dtw_barycenter_averaging(X, **options), x) for x in X]))


def test_every_draw_is_averaged_from_every_start(data):
    outcomes = averaging.run(data, AVERAGES)
    assert [outcome["start"] for outcome in outcomes] == ["mean", "random"] * 2
    assert outcomes[0]["dba"] != outcomes[2]["dba"]


# ---- the page


def outcomes_of(*accuracies):
    pairs = zip(page.TITLES, accuracies, strict=True)
    return {metric: {"accuracy": a, "k": None, "gamma": None} for metric, a in pairs}


def test_comparison_counts_sets_within_99_percent():
    outcomes = {"A": outcomes_of(1.0, 0.99, 0.98, 0.5, 0.5), "B": outcomes_of(0.5, 0.6, 0.5, 0.495, 0.494)}
    rows = [line.split(" | ")[1:] for line in page.comparison_table(outcomes).splitlines()[2:]]
    assert [cell.strip("| ") for cell in rows[0]] == ["", "1", "2", "2", "2"]
    assert [cell.strip("| ") for cell in rows[1]] == ["2", "", "2", "2", "2"]
    assert [cell.strip("| ") for cell in rows[4]] == ["0", "0", "0", "2", ""]


def test_best_accuracies_are_bold_and_means_are_over_sets():
    table = page.accuracy_table({"A": outcomes_of(0.9, 0.8, 0.9, 0.1, 0.2), "B": outcomes_of(0.5, 0.6, 0.5, 0.4, 0.4)})
    lines = table.splitlines()
    assert lines[2] == "| A | **90.0** | 80.0 | **90.0** | 10.0 | 20.0 |"
    assert lines[4] == "| mean | 70.0 | 70.0 | 70.0 | 25.0 | 30.0 |"


def test_balance_counts_higher_equal_lower():
    accuracies = {"A": (0.9, 0.8), "B": (0.5, 0.5), "C": (0.4, 0.5), "D": (0.4, 0.3)}
    results = {name: {"neighbors": outcomes_of(b, 0, a, 0, 0)} for name, (a, b) in accuracies.items()}
    assert page.balance(results, "neighbors", "soft_dtw_divergence", "dtw") == (2, 1, 1)


def test_averages_are_counted_by_draws_and_by_sets():
    def outcomes(*losses):
        return [{"start": "mean", "dba": dba, "soft": {"1": soft}} for dba, soft in losses]

    results = {"A": {"averaging": outcomes((1, 2), (10, 8))}, "B": {"averaging": outcomes((4, 3), (2, 4))}}
    settings = averaging.Settings(gammas=(1.0,), starts=("mean",))
    lines = page.averaging_table(results, settings).splitlines()
    assert lines[2] == "| 1 | 2 of 4 | 1 of 2 | 1.387 |"  # ratios 2, .8, .75, 2; means of losses 10/11, 7/6
    assert page.ratio_table(results, settings).splitlines()[2:] == ["| A | 1.400 |", "| B | 1.375 |"]
    assert "50% at gamma 1, both" in page.claim_of_2017(results, settings)


# ---- the command


class Recorder:
    """Stands in for `ucr.computed` and writes down which parts it is asked for."""

    def __init__(self, compute):
        self.compute, self.parts = compute, []

    def __call__(self, data, protocol, metric, settings):
        self.parts.append((data.name, protocol, metric))
        return self.compute(data, protocol, metric, settings)


@pytest.fixture
def command(monkeypatch, tmp_path, rng):
    """Runs the command on generated sets, its parts computed by a function; returns the page."""
    sets = {name: made(rng, name == "GunPoint", name) for name in ucr.QUICK_SETS}
    monkeypatch.setattr(data_sets, "load", sets.__getitem__)
    monkeypatch.setattr(ucr, "QUICK_SETTINGS", (CHOICE, AVERAGES))

    def run(compute, *words):
        monkeypatch.setattr(ucr, "computed", compute)
        file = tmp_path / "page.md"
        ucr.main(["--quick", "--n-jobs", "1", "--cache", str(tmp_path / "cache"), "--markdown", str(file), *words])
        return file.read_text()

    return run


def rows_of(text, name):
    return [line for line in text.splitlines() if line.startswith(f"| {name} | ")]


def test_the_page_holds_every_set_and_the_command(command):
    compute = Recorder(ucr.computed)
    text = command(compute, "--sets", "GunPoint")
    assert len(compute.parts) == len(ucr.PARTS) == 11
    assert "`python -m benchmarks.experiments.ucr --quick --sets GunPoint`, " in text
    assert len(rows_of(text, "GunPoint")) == 4
    assert "ItalyPowerDemand" not in text
    assert "{" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_a_run_goes_on_where_it_stopped(command, monkeypatch, tmp_path):
    def drawn(data, protocol, metric, settings):
        if protocol == "averaging":
            return [{"start": start, "dba": 1.0, "soft": {"1": 2.0, "0.01": 0.9}} for start in settings.starts]
        return {"accuracy": len(data.name + metric) / 100, "k": 1, "gamma": 1.0}

    compute = Recorder(drawn)
    first = command(compute, "--sets", "GunPoint")
    whole = command(compute)
    assert sorted(compute.parts) == sorted((name, *part) for name in ucr.QUICK_SETS for part in ucr.PARTS)
    assert rows_of(whole, "GunPoint")[0] == rows_of(first, "GunPoint")[0]

    compute.parts.clear()
    (tmp_path / "cache" / "GunPoint.neighbors.soft_dtw.json").unlink()
    assert command(compute) == whole
    assert compute.parts == [("GunPoint", "neighbors", "soft_dtw")]

    compute.parts.clear()
    monkeypatch.setattr(ucr, "QUICK_SETTINGS", (CHOICE, AVERAGES._replace(repeats=1)))
    command(compute)
    assert sorted(compute.parts) == [(name, "averaging", "") for name in ucr.QUICK_SETS]
