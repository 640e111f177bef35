"""What every public name does with CuPy arrays: one line each, for the host's shim and for a GPU.

    here       takes them, answers CuPy arrays on their device, and waits for nothing
    waits      the same, but it has to read something: lengths of paths, values of a search, whether numbers are finite
    host       reads them, as its answer is the host's: labels, scores, numbers, pictures
    refused    raises, and says that NumPy arrays are expected
    NO_ARRAYS  takes none (numbers, names, data sets), or tensors of another framework alone

A class that has methods stands here by its methods. `names` are those of doc/api.rst, so that a new one is missed.
"""

import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from device_parity import TABLE_COSTS
from numpy.testing import assert_allclose

import sdtwkit
from sdtwkit import converters, metrics, plotting, weak
from sdtwkit.audio import log_frequency_features
from sdtwkit.costs import Huber, cost_hvp, cost_jvp, cost_matrix, cost_vjp
from sdtwkit.dp import (
    CTC,
    AlignmentDP,
    ChainDP,
    DagDP,
    area_loss,
    chain_potentials,
    expected_area_loss,
    smooth_max,
    smooth_max_hvp,
    smooth_min,
    smooth_min_hvp,
)
from sdtwkit.metric_learning import (
    CoupledGRU,
    MahalanobisSoftDTW,
    SiameseGRU,
    coupled_gru_forward,
    coupled_gru_loss_and_grad,
    evaluation,
)
from sdtwkit.preprocessing import SeriesResampler, SeriesScaler

FOLDER = Path(__file__).parents[1]
TIMES = np.linspace(0, 1, 5)
FRAMEWORKS = ("torch", "jax", "compat")  # whose tests are their own: what they take are tensors


# ---- what a line says


def here(call):
    return "here", call


def waits(call):
    return "waits", call


def host(call):
    return "host", call


def refused(call):
    return "refused", call


NO_ARRAYS = "no arrays", None


def names():
    """The public names, and for classes those of their methods."""
    text = (FOLDER / "doc" / "api.rst").read_text()
    found = re.findall(r"^   ([A-Za-z_][\w.]*)$", text, re.MULTILINE)
    found += re.findall(r"^\.\. py:data:: ([\w.]+)$", text, re.MULTILINE)
    return [name for public in found for name in _with_methods(public)]


def _with_methods(name):
    framework, _, _ = name.partition(".")
    if framework in FRAMEWORKS:
        return [name]
    value = sdtwkit
    for part in name.split("."):
        value = getattr(value, part) if hasattr(value, part) else __import__(f"sdtwkit.{part}", fromlist=["x"])
    if not inspect.isclass(value):
        return [name]
    methods = [
        method
        for method, function in inspect.getmembers(value, callable)
        if not method.startswith("_") and getattr(function, "__module__", "").startswith("sdtwkit")
    ]
    return [f"{name}.{method}" for method in methods] or [name]


def data(cupy, rng):
    """Series of two kinds, costs, potentials and the like, all arrays of the module `cupy`, which may be NumPy."""
    x = rng.normal(size=(6, 9, 2))
    x[3:] += 2
    found = {"x": x, "y": rng.normal(size=(6, 7, 2)), "C": rng.random((6, 9, 7)), "Y": np.zeros((6, 9, 7))}
    found |= {"theta": rng.normal(size=(2, 5, 3, 3)), "unary": rng.normal(size=(2, 5, 3))}
    found |= {"transition": rng.normal(size=(3, 3)), "vector": rng.normal(size=4), "edges": rng.random(3)}
    found |= {"log_probs": np.log(np.full((2, 8, 4), 0.25)), "path": np.array([[0, 0], [1, 0], [2, 1]])}
    found |= {"warps": np.sort(rng.random((2, 5)), axis=1), "times": TIMES}
    found |= {"signal": rng.normal(size=4000), "distances": rng.random((6, 6)), "W": rng.normal(size=(9, 2))}
    found |= {"U": rng.normal(size=(9, 3)), "bi": rng.normal(size=9), "bh": rng.normal(size=9)}
    d = SimpleNamespace(**{name: cupy.asarray(array) for name, array in found.items()}, arrays=cupy)
    d.labels, d.pairs, d.signs = np.array([0, 0, 0, 1, 1, 1]), [[0, 1], [3, 4], [0, 3], [1, 4]], [1, 1, -1, -1]
    d.targets, d.params = [[1, 2], [3, 1]], {"W": d.W, "U": d.U, "bi": d.bi, "bh": d.bh}
    return d


def crf(d):
    return sdtwkit.LinearChainCRF(max_iter=2).fit(list(d.x), [[k % 2] * 9 for k in range(6)])


def aligner(d):
    return sdtwkit.SoftDTWAligner(reference=d.y[0]).fit(d.x)


def continuous(d):
    return sdtwkit.DecDTWAligner(0.5, reference=d.y[0]).fit(d.x)


def kmeans(d):
    return sdtwkit.SoftDTWKMeans(2, max_iter=2, random_state=0).fit(d.x)


def knn(d):
    return sdtwkit.SoftDTWKNeighborsClassifier(2).fit(d.x, d.labels)


def centroids(d):
    return sdtwkit.NearestSoftCentroid().fit(d.x, d.labels)


def barycenter(d):
    return sdtwkit.SoftDTWBarycenter(max_iter=200, tol=1e-3).fit(d.x)


def learned(kind):
    return lambda d: kind(max_iter=1, random_state=0).fit_labels(d.x, d.labels)


def learner(name, kind):
    """The lines of a learned metric."""
    fitted = learned(kind)
    return {
        f"metric_learning.{name}.{method}": entry
        for method, entry in {
            "fit": waits(lambda d: _learned(kind(max_iter=1, random_state=0).fit(d.pairs, d.signs, d.x))),
            "fit_labels": waits(lambda d: _learned(fitted(d))),
            "pair_distance": waits(lambda d: fitted(d).pair_distance(d.pairs, d.x)),
            "pair_score": waits(lambda d: fitted(d).pair_score(d.pairs, d.x)),
            "decision_function": waits(lambda d: fitted(d).decision_function(d.pairs, d.x)),
            "pairwise_distances": waits(lambda d: fitted(d).pairwise_distances(d.x)),
            "get_metric": waits(lambda d: fitted(d).get_metric()(d.x[0], d.x[1])),
            "trajectories": waits(lambda d: fitted(d).trajectories(d.x[0], d.x[1])[:2]),
            "predict": host(lambda d: fitted(d).predict(d.pairs, d.x)),
            "score": host(lambda d: fitted(d).score(d.pairs, d.signs, d.x)),
            "calibrate_threshold": host(lambda d: fitted(d).calibrate_threshold(d.pairs, d.signs, d.x).threshold_),
            "set_threshold": NO_ARRAYS,
        }.items()
    }


def _learned(metric):
    return metric.components_ if isinstance(metric, MahalanobisSoftDTW) else metric.params_


def alignment_picture(d):
    return plotting.AlignmentDisplay.from_series(d.x[0], d.y[0], window=d.arrays.asarray(np.ones((9, 7), bool)))


def warp_picture(d):
    return plotting.WarpDisplay(sdtwkit.dec_dtw(d.x[0], d.y[0]), d.x[0], d.y[0]).plot()


def dag():
    return DagDP([0, 0, 1, 3], [0, 0, 1])


# ---- what is asked of a result


def leaves(result):
    """All values of a result: of tuples, lists, dicts."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves(part)]
    return [] if result is None else [result]


def check(name, cupy, rng, watched=lambda call: call):
    """A line of the table, against the answers of the CPU.

    watched : what to wrap a call in that must not wait.
    """
    if name.startswith("plotting."):
        pytest.importorskip("matplotlib", reason="pictures need matplotlib").use("agg")
    (kind, call), seed = TABLE[name], int(rng.integers(2**31))
    d, on_cpu = (data(arrays, np.random.default_rng(seed)) for arrays in (cupy, np))
    if kind == "refused":
        with pytest.raises(TypeError, match="is not available for CuPy arrays; expected NumPy arrays"):
            call(d)
        return
    found, expected = leaves(watched(call)(d) if kind == "here" else call(d)), leaves(call(on_cpu))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert found
    tolerance = 1e-9 if kind == "here" else 1e-2  # of what is searched, and may end elsewhere
    for leaf, answer in zip(found, expected, strict=True):
        assert isinstance(leaf, cupy.ndarray) == (kind != "host"), type(leaf)
        leaf = cupy.asnumpy(leaf) if isinstance(leaf, cupy.ndarray) else leaf
        assert np.shape(leaf) == np.shape(answer)
        assert_allclose(leaf, answer, rtol=tolerance, atol=tolerance)


# ---- the table

OWN = TABLE_COSTS[-1]
TABLE = {
    "dtw": here(lambda d: sdtwkit.dtw(d.x, d.y)),
    "dtw_path": waits(lambda d: sdtwkit.dtw_path(d.x[0], d.y[0])),
    "soft_dtw": here(lambda d: sdtwkit.soft_dtw(d.x, d.y, cost=OWN)),
    "soft_dtw_value_and_grad": here(lambda d: sdtwkit.soft_dtw_value_and_grad(d.x, d.y, cost=Huber(2.0))),
    "soft_dtw_alignment": here(lambda d: sdtwkit.soft_dtw_alignment(d.x[0], d.y[0])),
    "soft_dtw_alignment_vjp": here(lambda d: sdtwkit.soft_dtw_alignment_vjp(d.x, d.y, d.C)),
    "soft_dtw_hvp": here(lambda d: sdtwkit.soft_dtw_hvp(d.x, d.y, d.x, d.y)),
    "soft_dtw_divergence": here(lambda d: sdtwkit.soft_dtw_divergence(list(d.x), list(d.y))),
    "soft_dtw_divergence_value_and_grad": here(lambda d: sdtwkit.soft_dtw_divergence_value_and_grad(d.x, d.y)),
    "subsequence_matches": host(lambda d: sdtwkit.subsequence_matches(d.x[0, :3], d.y[0], k=2)),
    "cdist_dtw": here(lambda d: sdtwkit.cdist_dtw(d.x, d.y)),
    "cdist_soft_dtw": here(lambda d: sdtwkit.cdist_soft_dtw(d.x)),
    "cdist_soft_dtw_divergence": here(lambda d: sdtwkit.cdist_soft_dtw_divergence(d.x, d.y, kind="sharp")),
    "soft_dtw_barycenter": waits(lambda d: sdtwkit.soft_dtw_barycenter(d.x, max_iter=3)),
    "dtw_barycenter_averaging": waits(lambda d: sdtwkit.dtw_barycenter_averaging(d.x, init="mean")),
    "suggest_gamma": host(lambda d: sdtwkit.suggest_gamma(d.x)),
    "dec_dtw": here(lambda d: sdtwkit.dec_dtw(d.x, d.y).values),
    "WarpResult.vjp": here(lambda d: sdtwkit.dec_dtw(d.x, d.y).vjp(d.y[..., 0])[:2]),
    "WarpResult.value_grad": here(lambda d: sdtwkit.dec_dtw(d.x, d.y).value_grad()[:2]),
    "sakoe_chiba_mask": NO_ARRAYS,
    "itakura_mask": NO_ARRAYS,
    # estimators
    "SoftDTWAligner.fit": waits(lambda d: sdtwkit.SoftDTWAligner().fit(d.x).reference_),
    "SoftDTWAligner.transform": waits(lambda d: aligner(d).transform(d.x)),
    "SoftDTWAligner.fit_transform": waits(lambda d: sdtwkit.SoftDTWAligner(reference=d.y[0]).fit_transform(d.x)),
    "SoftDTWAligner.alignments": waits(lambda d: aligner(d).alignments(d.x)),
    "SoftDTWAligner.score": host(lambda d: aligner(d).score(d.x)),
    "SoftDTWAligner.loss": here(lambda d: sdtwkit.SoftDTWAligner().loss(d.x, d.y)),
    "SoftDTWAligner.loss_and_grad": here(lambda d: sdtwkit.SoftDTWAligner().loss_and_grad(d.x, d.y)),
    "SoftDTWAligner.alignment_vjp": here(lambda d: sdtwkit.SoftDTWAligner().alignment_vjp(d.x, d.y, d.C)),
    "DecDTWAligner.fit": waits(lambda d: continuous(d).reference_),
    "DecDTWAligner.transform": waits(lambda d: continuous(d).transform(d.x)),
    "DecDTWAligner.fit_transform": waits(lambda d: sdtwkit.DecDTWAligner(0.5, reference=d.y[0]).fit_transform(d.x)),
    "DecDTWAligner.align": here(lambda d: sdtwkit.DecDTWAligner(0.5).align(d.x[0], d.y[0]).values),
    "DecDTWAligner.score": host(lambda d: continuous(d).score(d.x)),
    "SoftDTWBarycenter.fit": waits(lambda d: barycenter(d).barycenter_),
    "SoftDTWBarycenter.transform": waits(lambda d: barycenter(d).transform(d.x)),
    "SoftDTWBarycenter.fit_transform": waits(lambda d: sdtwkit.SoftDTWBarycenter(tol=1e-3).fit_transform(d.x)),
    "AlignmentDistance.fit": waits(lambda d: sdtwkit.AlignmentDistance().fit(d.x).transform(d.y)),
    "AlignmentDistance.transform": waits(lambda d: sdtwkit.AlignmentDistance("dtw").fit(d.x).transform(d.y)),
    "AlignmentDistance.fit_transform": waits(lambda d: sdtwkit.AlignmentDistance().fit_transform(d.x)),
    "SoftDTWKNeighborsClassifier.fit": waits(lambda d: knn(d).kneighbors()),
    "SoftDTWKNeighborsClassifier.kneighbors": waits(lambda d: knn(d).kneighbors(d.y)),
    "SoftDTWKNeighborsClassifier.predict": host(lambda d: knn(d).predict(d.y)),
    "SoftDTWKNeighborsClassifier.predict_proba": host(lambda d: knn(d).predict_proba(d.y)),
    "SoftDTWKNeighborsClassifier.score": host(lambda d: knn(d).score(d.x, d.labels)),
    "NearestSoftCentroid.fit": waits(lambda d: centroids(d).centroids_),
    "NearestSoftCentroid.predict": host(lambda d: centroids(d).predict(d.x)),
    "NearestSoftCentroid.score": host(lambda d: centroids(d).score(d.x, d.labels)),
    "SoftDTWKMeans.fit": waits(lambda d: kmeans(d).cluster_centers_),
    "SoftDTWKMeans.transform": waits(lambda d: kmeans(d).transform(d.x)),
    "SoftDTWKMeans.fit_transform": waits(lambda d: sdtwkit.SoftDTWKMeans(2, random_state=0).fit_transform(d.x)),
    "SoftDTWKMeans.fit_predict": host(lambda d: sdtwkit.SoftDTWKMeans(2, random_state=0).fit_predict(d.x)),
    "SoftDTWKMeans.predict": host(lambda d: kmeans(d).predict(d.x)),
    "SoftDTWKMeans.score": host(lambda d: kmeans(d).score(d.x)),
    "LinearChainCRF.fit": host(lambda d: crf(d).classes_),
    "LinearChainCRF.predict": host(lambda d: crf(d).predict(list(d.x))),
    "LinearChainCRF.predict_marginals": waits(lambda d: crf(d).predict_marginals(list(d.x))),
    "LinearChainCRF.score": host(lambda d: crf(d).score(list(d.x), [[0] * 9] * 6)),
    "preprocessing.SeriesScaler.fit": waits(lambda d: SeriesScaler().fit(d.x).transform(d.x)),
    "preprocessing.SeriesScaler.transform": waits(lambda d: SeriesScaler().fit(d.x).transform(d.y)),
    "preprocessing.SeriesScaler.fit_transform": waits(lambda d: SeriesScaler().fit_transform(d.x)),
    "preprocessing.SeriesResampler.fit": waits(lambda d: SeriesResampler().fit(d.x).transform(d.y)),
    "preprocessing.SeriesResampler.transform": waits(lambda d: SeriesResampler(4).fit(d.x).transform(d.x)),
    "preprocessing.SeriesResampler.fit_transform": waits(lambda d: SeriesResampler(4).fit_transform(d.x)),
    "show_versions": NO_ARRAYS,
    "__version__": NO_ARRAYS,
    # given costs and potentials
    "dp.AlignmentDP.value": here(lambda d: AlignmentDP().value(d.C)),
    "dp.AlignmentDP.value_and_grad": here(lambda d: AlignmentDP(regularizer="l2").value_and_grad(d.C)),
    "dp.AlignmentDP.marginals": here(lambda d: AlignmentDP().marginals(d.C)),
    "dp.AlignmentDP.hvp": here(lambda d: AlignmentDP().hvp(d.C, d.C)),
    "dp.AlignmentDP.marginals_vjp": here(lambda d: AlignmentDP().marginals_vjp(d.C, d.C)),
    "dp.AlignmentDP.decode": waits(lambda d: AlignmentDP().decode(d.C)),
    "dp.AlignmentDP.sample": waits(lambda d: AlignmentDP(steps=((1, 1), (1, 0))).sample(d.C, 2, 0)),
    "dp.AlignmentDP.parameter_grads": here(lambda d: AlignmentDP().parameter_grads(d.C)),
    "dp.ChainDP.value": here(lambda d: ChainDP().value(d.theta)),
    "dp.ChainDP.value_and_grad": here(lambda d: ChainDP().value_and_grad((d.unary, d.transition))),
    "dp.ChainDP.marginals": here(lambda d: ChainDP().marginals(d.theta)),
    "dp.ChainDP.hvp": here(lambda d: ChainDP().hvp(d.theta, d.theta)),
    "dp.ChainDP.marginals_vjp": here(lambda d: ChainDP().marginals_vjp(d.theta, d.theta)),
    "dp.ChainDP.decode": waits(lambda d: ChainDP().decode(d.theta)),
    "dp.ChainDP.sample": waits(lambda d: ChainDP().sample(d.theta, 2, 0)),
    "dp.DagDP.value": refused(lambda d: dag().value(d.edges)),
    "dp.DagDP.value_and_grad": refused(lambda d: dag().value_and_grad(d.edges)),
    "dp.DagDP.marginals": refused(lambda d: dag().marginals(d.edges)),
    "dp.DagDP.hvp": refused(lambda d: dag().hvp(d.edges, d.edges)),
    "dp.CTC.value": here(lambda d: CTC().value(d.log_probs, d.targets)),
    "dp.CTC.value_and_grad": here(lambda d: CTC().value_and_grad(d.log_probs, d.targets)),
    "dp.CTC.hvp": here(lambda d: CTC().hvp(d.log_probs, d.targets, d.log_probs)),
    "dp.CTC.decode": waits(lambda d: CTC().decode(d.log_probs, beam_width=2)),
    "dp.chain_potentials": here(lambda d: chain_potentials(d.unary, d.transition, d.vector[:3])),
    "dp.area_loss": here(lambda d: area_loss(d.C, d.Y)),
    "dp.expected_area_loss": here(lambda d: expected_area_loss(AlignmentDP(), d.C, d.Y)),
    "dp.smooth_max": here(lambda d: smooth_max(d.vector)),
    "dp.smooth_max_hvp": here(lambda d: smooth_max_hvp(d.vector, d.vector, regularizer="l2")),
    "dp.smooth_min": here(lambda d: smooth_min(d.vector, 0.5, "l2")),
    "dp.smooth_min_hvp": here(lambda d: smooth_min_hvp(d.vector, d.vector)),
    # local costs
    "costs.cost_matrix": here(lambda d: cost_matrix(d.x, d.y, OWN)),
    "costs.cost_vjp": here(lambda d: cost_vjp(d.x, d.y, d.C, "cosine")),
    "costs.cost_jvp": here(lambda d: cost_jvp(d.x, d.y, d.x, d.y, Huber(0.5))),
    "costs.cost_hvp": here(lambda d: cost_hvp(d.x, d.y, d.C, d.x, None, OWN)),
    "costs.Huber.matrix": here(lambda d: Huber().matrix(d.x, d.y)),
    "costs.Huber.vjp": here(lambda d: Huber().vjp(d.x, d.y, d.C)),
    "costs.Huber.jvp": here(lambda d: Huber().jvp(d.x, d.y, d.x, d.y)),
    "costs.Huber.hvp": here(lambda d: Huber().hvp(d.x, d.y, d.C, d.x, d.y)),
    "costs.Huber.value": here(lambda d: Huber().value(d.x)),
    "costs.Huber.slope": here(lambda d: Huber().slope(d.x)),
    "costs.Huber.curvature": here(lambda d: Huber().curvature(d.x)),
    "costs.Huber.check": NO_ARRAYS,
    "costs.get_cost": NO_ARRAYS,
    "costs.COSTS": NO_ARRAYS,
    # weak targets
    "weak.weak_targets": waits(lambda d: weak.weak_targets(d.x)),
    "weak.unfold": here(lambda d: weak.unfold(d.x, 12)),
    "weak.pad_repeat": here(lambda d: weak.pad_repeat(list(d.x), 12, how="last")),
    "weak.repeat_targets": here(lambda d: weak.repeat_targets(d.x[0], 2)),
    "weak.diagonal_prior": NO_ARRAYS,
    "weak.LinearSchedule": NO_ARRAYS,
    "weak.ExponentialSchedule": NO_ARRAYS,
    "weak.AdaptiveSchedule.update": NO_ARRAYS,
    "weak.alignment_diagnostics": waits(lambda d: tuple(weak.alignment_diagnostics(d.C, [d.path] * 6))),
    "weak.AlignmentDiagnostics": NO_ARRAYS,
    "weak.loss_scale": here(lambda d: weak.loss_scale("path", d.C)),
    "weak.STEP_WEIGHTS": NO_ARRAYS,
    "weak.NORMALIZATIONS": NO_ARRAYS,
    # learned metrics
    **learner("SiameseGRU", SiameseGRU),
    "metric_learning.SiameseGRU.transform": waits(lambda d: learned(SiameseGRU)(d).transform(d.x)),
    "metric_learning.SiameseGRU.fit_transform": waits(
        lambda d: SiameseGRU(max_iter=1, random_state=0).fit_transform(d.x, d.labels)
    ),
    **learner("CoupledGRU", CoupledGRU),
    "metric_learning.CoupledGRU.kneighbors": waits(lambda d: learned(CoupledGRU)(d).kneighbors(d.x, d.x, 1)),
    "metric_learning.CoupledGRU.transform": NO_ARRAYS,  # always raises
    **learner("MahalanobisSoftDTW", MahalanobisSoftDTW),
    "metric_learning.MahalanobisSoftDTW.transform": waits(lambda d: learned(MahalanobisSoftDTW)(d).transform(d.x)),
    "metric_learning.coupled_gru_forward": here(lambda d: coupled_gru_forward(d.params, d.x, d.y, coupling="none")),
    "metric_learning.coupled_gru_loss_and_grad": here(
        lambda d: coupled_gru_loss_and_grad(d.params, d.x, d.y, d.labels, coupling="none")
    ),
    "metric_learning.evaluation.mean_average_precision": host(
        lambda d: evaluation.mean_average_precision(d.distances, d.labels)
    ),
    "metric_learning.evaluation.nearest_neighbor_accuracy": host(
        lambda d: evaluation.nearest_neighbor_accuracy(d.distances, d.labels)
    ),
    "metric_learning.evaluation.r_precision": host(lambda d: evaluation.r_precision(d.distances, d.labels)),
    "metric_learning.evaluation.roc_auc": host(lambda d: evaluation.roc_auc(d.distances, d.labels)),
    # warps, layouts, sound
    "metrics.time_error": here(lambda d: metrics.time_error(d.warps, d.warps[::-1], d.times)),
    "metrics.time_error_and_grad": here(lambda d: metrics.time_error_and_grad(d.warps, d.warps[::-1], d.times)),
    "metrics.time_deviation": here(lambda d: metrics.time_deviation(d.warps[0], d.warps[1], TIMES)),
    "converters.from_tslearn": refused(lambda d: converters.from_tslearn(d.x)),
    "converters.to_tslearn": refused(lambda d: converters.to_tslearn(d.x)),
    "converters.from_aeon": refused(lambda d: converters.from_aeon(d.x)),
    "converters.to_aeon": refused(lambda d: converters.to_aeon(d.x)),
    "converters.from_sktime": refused(lambda d: converters.from_sktime(d.x)),
    "converters.to_sktime": refused(lambda d: converters.to_sktime(d.x)),
    "converters.from_librosa": refused(lambda d: converters.from_librosa(d.x[0])),
    "converters.to_librosa": refused(lambda d: converters.to_librosa(d.x[0])),
    "converters.path_from_librosa": refused(lambda d: converters.path_from_librosa(d.path)),
    "converters.path_to_librosa": refused(lambda d: converters.path_to_librosa(d.path)),
    "converters.from_flat": refused(lambda d: converters.from_flat(d.x[0], [0, 4, 9])),
    "converters.to_flat": refused(lambda d: converters.to_flat(d.x)),
    "audio.log_frequency_features": refused(lambda d: log_frequency_features(d.signal, 8000)),
    "audio.read_wav": NO_ARRAYS,
    # pictures, and what comes with the package
    "plotting.AlignmentDisplay.from_series": host(lambda d: alignment_picture(d).matrix),
    "plotting.AlignmentDisplay.from_estimator": host(
        lambda d: plotting.AlignmentDisplay.from_estimator(aligner(d), d.x).matrix
    ),
    "plotting.AlignmentDisplay.plot": host(lambda d: plotting.AlignmentDisplay(d.C[0], d.path, d.x[0]).plot().matrix),
    "plotting.MatchingDisplay.from_series": host(
        lambda d: plotting.MatchingDisplay.from_series(d.x[0], d.y[0]).matches
    ),
    "plotting.MatchingDisplay.from_estimator": host(
        lambda d: plotting.MatchingDisplay.from_estimator(aligner(d), d.x).matches
    ),
    "plotting.MatchingDisplay.plot": host(lambda d: plotting.MatchingDisplay(d.x[0], d.y[0], d.path).plot().matches),
    "plotting.BarycenterDisplay.from_series": host(lambda d: plotting.BarycenterDisplay.from_series(d.x, 1.0).X),
    "plotting.BarycenterDisplay.from_estimator": host(
        lambda d: plotting.BarycenterDisplay.from_estimator(barycenter(d), d.x).barycenters
    ),
    "plotting.BarycenterDisplay.plot": host(lambda d: plotting.BarycenterDisplay(d.x, [d.y[0]]).plot().barycenters),
    "plotting.WarpDisplay.from_series": host(lambda d: plotting.WarpDisplay.from_series(d.x[0], d.y[0]).y),
    "plotting.WarpDisplay.from_estimator": host(lambda d: plotting.WarpDisplay.from_estimator(continuous(d), d.x).y),
    "plotting.WarpDisplay.plot": host(lambda d: warp_picture(d).y),
    "datasets.Performance.to_seconds": NO_ARRAYS,
    "datasets.Performance.to_score": NO_ARRAYS,
    **{
        f"datasets.{name}": NO_ARRAYS
        for name in (
            *("BachChorales", "Chorale", "Chords", "Drive", "DrivePair", "WatchExercises", "DATASETS", "TIMBRES"),
            *("chord_roll", "note_roll", "pitch_class_roll", "load_bach_chorales", "load_watch_exercises"),
            *("make_drives", "make_route", "render_performance"),
        )
    },
    **{f"torch.{name}": NO_ARRAYS for name in ("CTCLoss", "ChainMarginals", "DecDTW", "SoftAlignment", "SoftDTWLoss")},
    **{f"compat.{name}": NO_ARRAYS for name in ("MaghoumiSoftDTW", "PySDTW", "SoftDTWLossPyTorch")},
    **{
        f"jax.{name}": NO_ARRAYS
        for name in ("chain_marginals", "ctc_loss", "dec_dtw", "soft_alignment", "soft_dtw_loss")
    },
}
TAKE_ARRAYS = [name for name, (kind, _) in TABLE.items() if kind != "no arrays"]
