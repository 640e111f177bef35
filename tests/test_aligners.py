"""Series warped onto a reference, and their barycenter."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sdtwkit import (
    DecDTWAligner,
    SoftDTWAligner,
    SoftDTWBarycenter,
    dec_dtw,
    dtw_path,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_alignment_vjp,
    soft_dtw_barycenter,
    soft_dtw_divergence,
    soft_dtw_value_and_grad,
)

SETTINGS = {
    "plain": {},
    "l2": {"regularizer": "l2"},
    "hard": {"regularizer": None},
    "cost": {"cost": "euclidean"},
    "window": {"window": 2},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "all": {"regularizer": "l2", "cost": "manhattan", "window": 3, "step_weights": (0.5, 1.0, 2.0)},
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def options(request):
    return request.param


def collection(rng, lengths=(7, 5, 8, 6), d=2):
    return [rng.normal(size=(n, d)) for n in lengths]


def warped(x, y, gamma, **options):
    """Each time step of y gets the mean of the samples of x that it is matched with."""
    E, _ = reference.soft_dtw_alignment(x, y, gamma, **options)
    result = np.zeros((len(y), x.shape[1]))
    for j in range(len(y)):
        total = sum(E[i, j] for i in range(len(x)))
        for i in range(len(x)):
            result[j] += E[i, j] / total * x[i]
    return result


# ---- warping onto a reference


@pytest.mark.parametrize("gamma", [0.01, 1.0, 100.0])
def test_samples_are_averaged_as_they_are_matched(gamma, options, rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    aligner = SoftDTWAligner(gamma, reference=y, **options).fit(X)
    found = aligner.transform(X)
    assert found.shape == (4, 6, 2)
    for x, got in zip(X, found, strict=True):
        assert_allclose(got, warped(x, y, gamma, **options), rtol=1e-8, atol=1e-8)


def test_alignments_with_the_reference(options, rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    aligner = SoftDTWAligner(0.5, reference=y, **options).fit(X)
    found = aligner.alignments(X)
    assert isinstance(found, list)
    for x, E in zip(X, found, strict=True):
        assert_array_equal(E, soft_dtw_alignment(x, y, 0.5, **options)[0])
    array = np.stack([x[:5] for x in X])
    found = aligner.alignments(array)
    assert found.shape == (4, 5, 6)
    assert_array_equal(found, soft_dtw_alignment(array, np.stack([y] * 4), 0.5, **options)[0])


def test_many_series_are_aligned_some_at_a_time(rng, monkeypatch):
    X, y = collection(rng, range(3, 20)), rng.normal(size=(6, 2))
    aligner = SoftDTWAligner(reference=y).fit(X)
    expected = aligner.transform(X), aligner.alignments(X)
    monkeypatch.setattr("sdtwkit.aligners._BLOCK_CELLS", 300)
    assert_array_equal(aligner.transform(X), expected[0])
    for E, whole in zip(aligner.alignments(X), expected[1], strict=True):
        assert_array_equal(E, whole)


def test_warping_a_stretched_reference_recovers_it(rng):
    y = rng.normal(size=(8, 2))
    stretched = [np.repeat(y, rng.integers(1, 4, 8), axis=0) for _ in range(5)]
    aligner = SoftDTWAligner(regularizer=None, reference=y).fit(stretched)
    assert_allclose(aligner.transform(stretched), np.stack([y] * 5), rtol=1e-12)
    assert aligner.score(stretched) == 0


def test_the_hard_alignment_is_the_best_path(rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    for x, E in zip(X, SoftDTWAligner(regularizer=None, reference=y).fit(X).alignments(X), strict=True):
        path, _ = dtw_path(x, y)
        assert_array_equal(np.argwhere(E), path)


def test_score_is_minus_the_mean_loss(options, rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    aligner = SoftDTWAligner(0.5, reference=y, **options).fit(X)
    losses = [soft_dtw(x, y, 0.5, **options) for x in X]
    assert_allclose(aligner.score(X), -np.mean(losses), rtol=1e-12)
    assert_allclose(aligner.score(X, sample_weight=[1, 0, 0, 3]), -(losses[0] + 3 * losses[3]) / 4, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:the barycenter has not converged")
def test_the_learned_reference_is_the_barycenter(rng):
    X, weights = collection(rng), np.array([1.0, 2.0, 0.0, 5.0])
    options = {"cost": "euclidean", "window": 3}
    found = SoftDTWAligner(0.5, **options).fit(X, sample_weight=weights).reference_
    X, shares = [X[i] for i in (0, 1, 3)], np.array([1.0, 2.0, 5.0]) / 8
    assert_array_equal(found, soft_dtw_barycenter(X, 0.5, weights=shares, **options))


@pytest.mark.parametrize("options", [{"step_weights": (1.0, 1.5, 4.0)}, {"window": "mask"}], ids=["weights", "mask"])
def test_the_learned_reference_lies_on_the_right_side(options, rng):
    """Steps and windows have rows along the series; the barycenter's own problem is the transposed one."""
    X = [x + 3 * np.sin(np.arange(len(x)))[:, None] for x in collection(rng, (8, 8, 8, 8))]
    if "window" in options:
        options = {"window": np.tri(8, dtype=bool)}
    aligner = SoftDTWAligner(0.1, **options).fit(X)
    stationary = aligner.loss_and_grad(X, [aligner.reference_] * 4)[2]
    assert abs(np.mean(stationary, axis=0)).max() < 1e-2


@pytest.mark.parametrize("kind", [SoftDTWAligner, DecDTWAligner])
def test_the_reference_is_copied(kind, rng):
    y = rng.normal(size=(6, 1))
    aligner = kind(reference=y).fit(collection(rng, d=1))
    assert_array_equal(aligner.reference_, y)
    y[:] = 0
    assert aligner.reference_.any()


@pytest.mark.parametrize("kind", [SoftDTWAligner, DecDTWAligner])
@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_a_univariate_reference(form, kind, rng):
    X = collection(rng, d=1)
    found = kind(reference=form([0.0, 1.0, 2.0])).fit(X)
    assert_array_equal(found.reference_, [[0], [1], [2]])


@pytest.mark.parametrize("kind", [SoftDTWAligner, DecDTWAligner])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 1)), r"X\[0\] has 2 channels, reference has 1"),
        (np.zeros((2, 3, 2)), r"reference is a collection of 2"),
        (np.zeros((0, 2)), r"reference has shape \(0, 2\)"),
        ([[0.0, np.nan]], r"reference"),
        (np.array([[0.0, np.inf]]), r"reference holds inf at time 0, channel 1"),
    ],
    ids=["channels", "collection", "empty", "list", "inf"],
)
def test_wrong_references(kind, wrong, message, rng):
    with pytest.raises(ValueError, match=message):
        kind(reference=wrong).fit(collection(rng))


# ---- between batches, without fit


def test_losses_and_gradients_are_those_of_pairs(options, rng):
    X, Y = collection(rng), collection(rng, (6, 7, 5, 8))
    aligner = SoftDTWAligner(0.5, **options)
    values, grad_X, grad_Y = aligner.loss_and_grad(X, Y)
    assert_array_equal(aligner.loss(X, Y), values)
    cotangent = [rng.normal(size=(len(x), len(y))) for x, y in zip(X, Y, strict=True)]
    vjp = aligner.alignment_vjp(X, Y, cotangent)
    for b, (x, y) in enumerate(zip(X, Y, strict=True)):
        expected = soft_dtw_value_and_grad(x, y, 0.5, **options)
        for got, wanted in zip((values[b], grad_X[b], grad_Y[b]), expected, strict=True):
            assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
        expected = soft_dtw_alignment_vjp(x, y, cotangent[b], 0.5, **options)
        for got, wanted in zip((vjp[0][b], vjp[1][b]), expected, strict=True):
            assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)
    assert not hasattr(aligner, "n_features_in_")


def test_gradients_are_derivatives_of_the_loss(rng):
    X, Y = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3, 5))[0]
    X = X[0]
    aligner, step = SoftDTWAligner(0.5), 1e-6
    _, *gradients = aligner.loss_and_grad(X, Y)
    assert [gradient.shape for gradient in gradients] == [(3, 6), (3, 5)]
    for side, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            moved = [[X.copy(), Y.copy()] for _ in range(2)]
            moved[0][side][index] += step
            moved[1][side][index] -= step
            slope = (aligner.loss(*moved[0]) - aligner.loss(*moved[1])).sum() / (2 * step)
            assert_allclose(slope, gradient[index], rtol=1e-6, atol=1e-7)


def test_cotangents_pull_back_the_alignment(rng):
    X, Y, G = rng.normal(size=(3, 6)), rng.normal(size=(3, 5)), rng.normal(size=(3, 6, 5))
    aligner, step = SoftDTWAligner(0.5), 1e-5
    gradients = aligner.alignment_vjp(X, Y, G)
    dX, dY = rng.normal(size=(3, 6)), rng.normal(size=(3, 5))

    def along(t):
        return (G * soft_dtw_alignment((X + t * dX)[:, :, None], (Y + t * dY)[:, :, None], 0.5)[0]).sum()

    expected = (along(step) - along(-step)) / (2 * step)
    assert_allclose((gradients[0] * dX).sum() + (gradients[1] * dY).sum(), expected, rtol=1e-6)


def test_a_batch_in_every_form(rng):
    X, Y, G = rng.normal(size=(3, 6, 1)), rng.normal(size=(3, 5, 1)), rng.normal(size=(3, 6, 5))
    aligner = SoftDTWAligner(0.5)
    values, *gradients = aligner.loss_and_grad(X, Y)
    for x, y in ((X[:, :, 0], Y[:, :, 0]), (list(X), list(Y)), (X[:, :, 0], Y), (X, list(Y[:, :, 0]))):
        found, *grads = aligner.loss_and_grad(x, y)
        assert_array_equal(found, values)
        for gradient, given, expected in zip(grads, (x, y), gradients, strict=True):
            assert isinstance(gradient, list) == isinstance(given, list)
            assert np.shape(gradient) == np.shape(given)
            assert_array_equal(np.reshape(gradient, expected.shape), expected)
    assert_array_equal(aligner.alignment_vjp(X[:, :, 0], Y, G)[0], aligner.alignment_vjp(X, Y, G)[0][:, :, 0])


def test_lengths_of_batches(rng):
    X, Y = collection(rng), collection(rng, (6, 7, 5, 8))
    n, m = [len(x) for x in X], [len(y) for y in Y]
    padded = [np.full((4, 8, 2), 1e9) for _ in range(2)]
    for array, series in zip(padded, (X, Y), strict=True):
        for row, x in zip(array, series, strict=True):
            row[: len(x)] = x
    aligner = SoftDTWAligner(0.5)
    values, grad_X, grad_Y = aligner.loss_and_grad(*padded, x_lengths=n, y_lengths=m)
    expected = aligner.loss_and_grad(X, Y)
    assert_array_equal(aligner.loss(*padded, x_lengths=n, y_lengths=m), values)
    assert_array_equal(values, expected[0])
    for b in range(4):
        assert_array_equal(grad_X[b, : n[b]], expected[1][b])
        assert_array_equal(grad_Y[b, : m[b]], expected[2][b])
        assert not grad_X[b, n[b] :].any()
    G = np.ones((4, 8, 8))
    vjp = aligner.alignment_vjp(*padded, G, x_lengths=n, y_lengths=m)
    assert_allclose(vjp[0][0, : n[0]], aligner.alignment_vjp(X[:1], Y[:1], [G[0, : n[0], : m[0]]])[0][0], rtol=1e-9)


@pytest.mark.parametrize("method", ["loss", "loss_and_grad", "alignment_vjp"])
def test_wrong_batches(method, rng):
    aligner, rest = SoftDTWAligner(), ([np.ones((3, 3))],)[: method == "alignment_vjp"]
    for x, y, message in (
        (np.zeros(3), np.zeros((1, 3)), r"X has shape \(3,\); .*Reshape your data"),
        (np.zeros((1, 3)), np.zeros(3), r"Y has shape \(3,\); .*Reshape your data"),
        (np.zeros((2, 3)), np.zeros((1, 3)), r"need equal sizes"),
        (np.zeros((1, 3, 2)), np.zeros((1, 3)), r"x has 2 channels, y has 1"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(aligner, method)(x, y, *rest)
    with pytest.raises(ValueError, match=r"does not compare two series"):
        SoftDTWAligner(cost="precomputed").loss(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)))


# ---- barycenters


@pytest.mark.parametrize("divergence", [False, True, "soft", "sharp", "mean"])
def test_the_cost_is_the_weighted_mean_loss(divergence, rng):
    X, weights = collection(rng), np.array([1.0, 2.0, 0.0, 5.0])
    mean = SoftDTWBarycenter(0.5, divergence=divergence, length=6).fit(X, sample_weight=weights)
    assert mean.barycenter_.shape == (6, 2)
    assert mean.n_iter_ >= 1
    if divergence is False:
        losses = [soft_dtw(mean.barycenter_, x, 0.5) for x in X]
    else:
        kind = "soft" if divergence is True else divergence
        losses = [soft_dtw_divergence(mean.barycenter_, x, 0.5, kind=kind, cost="sqeuclidean") for x in X]
    values = mean.transform(X)
    assert values.shape == (4, 1)
    assert_allclose(values[:, 0], losses, rtol=1e-9, atol=1e-12)
    assert_allclose(mean.cost_, weights @ values[:, 0] / 8, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:the barycenter has not converged")
def test_the_barycenter_is_that_of_the_function(rng):
    X, init = collection(rng), rng.normal(size=(6, 2))
    options = {"window": 3, "regularizer": "l2", "step_weights": (1.0, 2.0, 1.0)}
    for more in (
        {"init": init, "max_iter": 3},
        {"init": "random", "random_state": 3, "max_iter": 3},
        {"length": 9, "max_iter": 3},
        {"tol": 0.02},
    ):
        found = SoftDTWBarycenter(0.5, **more, **options).fit(X).barycenter_
        assert_array_equal(found, soft_dtw_barycenter(X, 0.5, **more, **options))


def test_weights_count_as_repetitions(rng):
    X = collection(rng, (7, 7, 7, 7))
    weighted = SoftDTWBarycenter().fit(X, sample_weight=[1, 2, 0, 3])
    repeated = SoftDTWBarycenter().fit([X[i] for i in (0, 1, 1, 3, 3, 3)])
    assert_allclose(weighted.barycenter_, repeated.barycenter_, rtol=1e-6, atol=1e-6)
    scaled = SoftDTWBarycenter().fit(X, sample_weight=[0.5, 1, 0, 1.5])
    assert_allclose(weighted.barycenter_, scaled.barycenter_, rtol=1e-12)


def test_verbose_prints_each_iteration(rng, capsys):
    mean = SoftDTWBarycenter(verbose=1).fit(collection(rng))
    assert len(capsys.readouterr().out.splitlines()) == mean.n_iter_


# ---- continuous warps

WARPS = {
    "plain": {},
    "bounded": {"band": 0.2, "slope_bounds": (0.2, 3.0), "n_values": 4},
    "losses": {"loss": "huber", "loss_delta": 0.3, "reg_loss": "l1", "reg_delta": 2.0},
    "free": {"subsequence": True, "target_slope": 0.8},
}


@pytest.fixture(params=WARPS.values(), ids=WARPS)
def warp_options(request):
    return request.param


def test_series_are_laid_on_the_reference(warp_options, rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    aligner = DecDTWAligner(0.05, reference=y, **warp_options).fit(X)
    warps = [dec_dtw(x, y, 0.05, **warp_options) for x in X]
    assert_array_equal(aligner.transform(X), [warp.warped for warp in warps])
    weights = rng.random(4)
    score = -np.average([warp.objective for warp in warps], weights=weights)
    assert_allclose(aligner.score(X, sample_weight=weights), score, rtol=1e-12)


def test_pairs_are_aligned_without_fit(warp_options, rng):
    x, y = collection(rng)[:2]
    found, expected = DecDTWAligner(0.05, **warp_options).align(x, y), dec_dtw(x, y, 0.05, **warp_options)
    assert_array_equal(found.values, expected.values)
    assert_array_equal(found.vjp(np.ones(5)).x, expected.vjp(np.ones(5)).x)
    assert_array_equal(DecDTWAligner(0.05, n_jobs=2, **warp_options).align([x, y], [y, x]).values[0], expected.values)


def test_rounds_lower_the_mean_objective_and_end(rng):
    X, weights = collection(rng, 6 * (9,)), np.arange(1.0, 7.0)
    scores, rounds = [], []
    for max_iter in (1, 2, 4, 8, 200):
        aligner = DecDTWAligner(0.05, max_iter=max_iter, tol=1e-4).fit(X, sample_weight=weights)
        scores.append(aligner.score(X, sample_weight=weights))
        rounds.append(aligner.n_iter_)
    assert (np.diff(scores) >= -1e-12).all()
    assert scores[-1] > scores[0]
    assert rounds[:2] == [1, 2]
    assert rounds[-1] < 200
    plain = DecDTWAligner(0.05, reference=np.average(X, axis=0, weights=weights)).fit(X)
    assert scores[0] > plain.score(X, sample_weight=weights)


def test_a_reference_that_gets_worse_is_not_kept():
    """A mean does not minimise absolute distances, so a round may raise the objective: the one before counts."""
    X = collection(np.random.default_rng(3), 3 * (9,))
    aligner = DecDTWAligner(0.05, loss="l1", max_iter=100, tol=0).fit(X)
    before, last = (clone(aligner).set_params(max_iter=aligner.n_iter_ - k).fit(X).score(X) for k in (2, 1))
    assert last < before == aligner.score(X)


def test_a_band_needs_the_length_of_the_reference(rng):
    X, y = collection(rng), rng.normal(size=(6, 2))
    with pytest.raises(ValueError, match=r"band\[0\] has shape \(3,\); expected \(6,\)"):
        DecDTWAligner(reference=y, band=(np.zeros(3), np.ones(3))).fit(X)
    with pytest.raises(ValueError, match=r"reg is -1\.0"):
        DecDTWAligner(-1.0, reference=y).fit(X)
    with pytest.raises(ValueError, match=r"tol is -1\.0"):
        DecDTWAligner(tol=-1).fit(X)
