"""What a user writes, for `mypy --strict`: the types that come out, and that they are true when the lines are run."""

from typing import Any, assert_type

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import sdtwkit
from sdtwkit import weak
from sdtwkit.costs import Huber, cost_matrix, cost_vjp
from sdtwkit.datasets import Chorale, load_bach_chorales, make_drives, make_route, render_performance
from sdtwkit.dp import CTC, AlignmentDP, ChainDP, DagDP, chain_potentials, smooth_max
from sdtwkit.metric_learning import CoupledGRU, coupled_gru_forward
from sdtwkit.preprocessing import SeriesResampler

Floats = NDArray[np.floating[Any]]
x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0])
ragged = [np.array([[0.0], [1.0]]), np.array([[0.0], [1.0], [3.0]])]


def test_pairs() -> None:
    path, cost = sdtwkit.dtw_path(x, y)
    assert_type(path, NDArray[np.int64] | Any)
    alignment, value = sdtwkit.soft_dtw_alignment(x, y, gamma=0.1, window=2, open_end="y")
    assert_type(alignment, Floats | Any)
    assert_type(value, Any)
    value, grad_x, grad_y = sdtwkit.soft_dtw_value_and_grad(ragged, ragged, regularizer="l2", n_jobs=2)
    total: float = float(sum(values.sum() for values in (grad_x[0], grad_y[1])))
    assert np.isfinite(total)
    assert cost == sdtwkit.dtw(x, y, window=np.ones((3, 2), bool))
    assert len(path) == 3
    assert_allclose(alignment.sum(axis=0) >= 1 - 1e-12, True)


def test_collections() -> None:
    D = sdtwkit.cdist_soft_dtw_divergence(ragged, gamma=0.5, kind="sharp")
    assert_type(D, Floats)
    assert D.shape == (2, 2)
    barycenter = sdtwkit.soft_dtw_barycenter(ragged, length=2, init="medoid", random_state=0)
    assert_type(barycenter, Floats)
    assert barycenter.shape == (2, 1)
    assert_type(sdtwkit.suggest_gamma(ragged, random_state=np.random.default_rng(0)), float)
    assert_type(SeriesResampler(3).fit_transform(ragged), Floats | Any)
    (match,) = sdtwkit.subsequence_matches(y, x)
    assert_type(match.end, int)


def test_costs() -> None:
    assert_type(cost_matrix(x, y, cost="huber"), Floats | Any)
    grad_x, grad_y = cost_vjp(x, y, np.ones((3, 2)), cost=Huber(delta=2.0))
    assert grad_x.shape == x.shape
    assert grad_y.shape == y.shape


class Absolute:
    """A cost of the user's own."""

    def matrix(self, x: Floats, y: Floats) -> Floats:
        return np.abs(x[:, None, 0] - y[:, 0])

    def vjp(self, x: Floats, y: Floats, G: Floats) -> tuple[Floats, Floats]:
        slope = G * np.sign(x[:, None, 0] - y[:, 0])
        return slope.sum(axis=1)[:, None], -slope.sum(axis=0)[:, None]

    def jvp(self, x: Floats, y: Floats, dx: Floats, dy: Floats) -> Floats:
        return np.sign(x[:, None, 0] - y[:, 0]) * (dx[:, None, 0] - dy[:, 0])


def test_a_cost_of_ones_own_is_accepted() -> None:
    assert sdtwkit.dtw(x, y, cost=Absolute()) == sdtwkit.dtw(x, y, cost="manhattan")


def test_dynamic_programs() -> None:
    dp = AlignmentDP(0.5, window=1, step_weights=(1, 2, 1))
    C = np.zeros((3, 3))
    value, gradient = dp.value_and_grad(C)
    assert_type(value, Any)
    assert_type(gradient, Floats)
    assert_type(dp.sample(C, 2, random_state=0), list[NDArray[np.int64] | Any])
    theta = chain_potentials(np.zeros((4, 2)), np.zeros((2, 2)))
    assert_type(theta, Floats)
    assert_type(ChainDP(regularizer=None).marginals(theta), Floats)
    assert_type(ChainDP().marginals((np.zeros((4, 2)), np.zeros((2, 2)))), Floats)
    labels, _ = CTC(blank=0).decode(np.log(np.full((3, 2), 0.5)))
    assert_type(labels, NDArray[np.int64] | Any)
    assert_type(DagDP([0, 0, 1], [0]).marginals([2.0]), Floats)
    assert_type(smooth_max(x, gamma=0.1), tuple[float, Floats])
    assert gradient.shape == C.shape


def test_warps() -> None:
    warp = sdtwkit.dec_dtw(x, y, reg=0.5, band=0.3, slope_bounds=(0.2, 3.0))
    assert_type(warp, sdtwkit.WarpResult)
    gradients = warp.vjp(np.ones(2))
    assert gradients.x.shape == x.shape
    assert gradients.slope_lower is not None


def test_estimators() -> None:
    kmeans = sdtwkit.SoftDTWKMeans(2, gamma=0.5, random_state=0, max_iter=2).fit(ragged)
    assert_type(kmeans, sdtwkit.SoftDTWKMeans)
    assert_type(kmeans.predict(ragged), NDArray[np.int64])
    distances = sdtwkit.AlignmentDistance("dtw", window=5).fit(ragged).transform(ragged)
    assert_type(distances, Floats)
    warped = sdtwkit.SoftDTWAligner(reference=y).fit(ragged).transform(ragged)
    assert_type(warped, Floats)
    crf = sdtwkit.LinearChainCRF().fit([[[0.0], [1.0]], [[1.0]]], [["a", "b"], ["b"]])
    assert_type(crf.predict_marginals([[[0.0]]]), list[Floats])
    assert warped.shape == (2, 2, 1)


def test_learned_metrics() -> None:
    gru = CoupledGRU(3, coupling="leak", max_iter=1, random_state=0).fit([[0, 1], [1, 1]], [-1, 1], X=ragged)
    assert_type(gru.pair_distance([[0, 1]]), Floats)
    assert_type(gru.trajectories(x, y).synchronised_at, int | None)
    states, _ = coupled_gru_forward(gru.params_, ragged, ragged, kappa=0.2, after_end="hold")
    assert_type(states, Floats)


def test_weak_targets_and_schedules() -> None:
    gamma = weak.LinearSchedule(10.0, 1.0, begin=0, end=10)
    assert_type(gamma(5), float)
    assert_type(weak.diagonal_prior(4, 3, convention="floor"), Floats)
    assert_type(weak.weak_targets(np.repeat(y, 2)), Floats | Any)
    assert gamma(5) == 5.5


def test_data() -> None:
    chorale = load_bach_chorales().data[0]
    assert_type(chorale, Chorale)
    performance = render_performance(chorale, tempo=80.0, random_state=0)
    assert_type(performance.to_seconds([0.0, 1.0]), Floats)
    (pair,) = make_drives([make_route(200.0, random_state=0)], random_state=0)
    assert_type(pair.reference.times, np.ndarray)


def test_what_a_checker_refuses() -> None:
    """Each line is wrong at run time, too; mypy says so first, or its `ignore` would be reported as needless."""
    with pytest.raises(AttributeError):
        sdtwkit.soft_dwt(x, y)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="cost"):
        sdtwkit.dtw(x, y, cost="sqeuclid")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="window"):
        sdtwkit.dtw(x, y, window=0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="gamma"):
        sdtwkit.soft_dtw(x, y, gamma="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional"):
        sdtwkit.soft_dtw(x, y, 1.0, "l2")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="open_begin"):
        sdtwkit.dtw(x, y, open_begin="z")  # type: ignore[arg-type]
