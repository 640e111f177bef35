"""Kernels of chains and of CTC without a GPU, as test_cuda_on_host.py runs those of alignments."""

import re
from types import SimpleNamespace

import cuda_on_host
import numpy as np
import pytest
from collections_parity import check_labeling, groups
from cuda_on_host import FORWARDS, ORDERS, Host, KernelFailure
from device_parity import (
    CHAINS,
    DTYPES,
    REGULARIZERS,
    TRANSCRIPTS,
    check_chains,
    check_ctc,
    close,
    on_device,
    parts,
)
from numpy.testing import assert_allclose, assert_array_equal
from reference_chains import Chain

from sdtwkit import LinearChainCRF
from sdtwkit._cuda import chain, ctc
from sdtwkit.dp import CTC, ChainDP, DagDP, chain_potentials
from sdtwkit.sequence_labeling import _Objective

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    host = Host(chain.FILE, chain.libraries(), tmp_path_factory.mktemp("kernels"))
    host.compile(host.libraries)
    return host


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory):
    host = Host(ctc.FILE, ctc.libraries(), tmp_path_factory.mktemp("kernels"))
    host.compile(host.libraries)
    return host


@pytest.fixture
def cupy(monkeypatch, chains, transcripts):
    for host in (chains, transcripts):
        host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, chains, transcripts)


# ---- chains: the same answers


@pytest.mark.parametrize("pair", [False, True], ids=["full", "pair"])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_chains(cupy, chains, rng, dtype, regularizer, pair):
    for k, shape in enumerate(CHAINS):
        chains.order, chains.seed = ORDERS[k % 3], k
        check_chains(cupy, rng, dtype, regularizer, pair, shape)


@pytest.mark.parametrize("gamma", [1e-6, 1e-2, 1e2, 1e6])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_chains_over_many_orders_of_magnitude(cupy, rng, dtype, regularizer, gamma):
    theta = (rng.choice([-1.0, 1.0], (2, 5, 4, 4)) * 10.0 ** rng.uniform(-9, 9, (2, 5, 4, 4))).astype(dtype)
    theta[rng.random(theta.shape) < 0.1] = -np.inf
    dp = ChainDP(gamma, regularizer=regularizer)
    value, gradient = dp.value_and_grad(cupy.asarray(theta))
    close(value, dp.value(theta), dtype)
    assert np.isfinite(gradient.get()).all()
    if regularizer == "entropy" or dtype == np.float64:  # sparse weights are differences of float32 values over gamma
        close(gradient, dp.value_and_grad(theta)[1], dtype)


@pytest.mark.parametrize("gamma", [1e-300, 1e-40, 1e40])
def test_smoothing_beyond_the_range_of_float32(cupy, rng, gamma):
    theta = rng.random((3, 2, 2)).astype(np.float32)
    close(ChainDP(gamma).marginals(cupy.asarray(theta)), ChainDP(gamma).marginals(np.float64(theta)), np.float32)


def test_no_admissible_sequence(cupy, rng):
    theta = rng.random((2, 4, 3, 3))
    theta[0, 2] = -np.inf
    pair = theta[:, :, 0].copy(), theta[1, 0].copy()
    for potentials in (theta, pair):
        there = on_device(cupy, potentials)
        value, gradient = ChainDP().value_and_grad(there)
        assert value.get()[0] == -np.inf
        assert not parts((gradient,))[0].get()[0].any()
        assert (
            ChainDP().hvp(there, there if potentials is pair else cupy.asarray(rng.random(theta.shape)))[0].get()[0]
            == 0
        )
        states, value = ChainDP().decode(there)
        assert [len(found) for found in states] == [0, 4]


def test_ties_go_to_the_lowest_state(cupy):
    theta = np.zeros((5, 3, 3))
    assert_array_equal(ChainDP().decode(cupy.asarray(theta))[0].get(), ChainDP().decode(theta)[0])


@pytest.mark.parametrize("pair", [False, True], ids=["full", "pair"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_sequences_are_drawn_from_the_law(cupy, rng, regularizer, pair):
    """Each is as frequent as enumeration says: its probability is a product of those of the rows."""
    theta = (rng.normal(size=(3, 3)), rng.normal(size=(3, 3))) if pair else rng.normal(size=(3, 3, 3))
    expected = np.zeros((3, 3, 3))
    for states, probability in Chain(0.8, regularizer).law(chain_potentials(*theta) if pair else theta).items():
        expected[states[1:]] += probability
    drawn = ChainDP(0.8, regularizer=regularizer).sample(on_device(cupy, theta), 4000, random_state=0).get()
    frequencies = np.bincount(drawn @ [9, 3, 1], minlength=27).reshape(3, 3, 3) / 4000
    assert not frequencies[expected == 0].any()
    assert (abs(frequencies - expected) <= 5 * np.sqrt(expected / 4000)).all()


def test_more_chains_than_rooms(cupy, monkeypatch, rng):
    monkeypatch.setattr(chain, "_MOST_GROUPS", 2)
    theta, lengths = rng.normal(size=(7, 4, 3, 3)), [4, 3, 1, 2, 4, 4, 3]
    theta[4, 1] = -np.inf
    there = cupy.asarray(theta)
    for method, *arguments in (("sample", 5, 0), ("decode",)):
        found = (getattr(ChainDP(), method)(potentials, *arguments, lengths=lengths) for potentials in (there, theta))
        for got, expected in zip(*(result[0] if method == "decode" else result for result in found), strict=True):
            assert_array_equal(got.get(), expected)


def test_one_chain_and_other_number_formats(cupy, rng):
    for array, dtype in ((rng.integers(0, 5, (4, 3, 3)), np.float64), (rng.random((4, 3, 3)).astype("f2"), np.float32)):
        value = ChainDP().value(cupy.asarray(array))
        assert value.shape == ()
        close(value, ChainDP().value(array), dtype)


def test_chain_potentials(cupy, rng):
    arrays = rng.random((2, 5, 3)), rng.random((3, 3)), rng.random(3)
    close(chain_potentials(*on_device(cupy, arrays)), chain_potentials(*arrays), np.float64)


# ---- linear-chain models


@pytest.mark.parametrize("loss", ["surrogate", "relaxed"])
@pytest.mark.parametrize("regularizer", ["entropy", "l2"])
def test_models_that_label_steps(cupy, rng, regularizer, loss):
    check_labeling(cupy, rng, regularizer, loss)


def test_models_that_label_steps_by_adam(cupy, rng):
    check_labeling(cupy, rng, "entropy", "surrogate", "adam")


def labelled(cupy, rng):
    x, sizes, _ = groups(rng)
    return cupy.asarray(x), np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2]) % 3, sizes


def test_one_wait_for_each_step_of_the_search(cupy, monkeypatch, rng):
    X, y, _ = labelled(cupy, rng)
    waits = []
    get = cupy.ndarray.get
    monkeypatch.setattr(cupy.ndarray, "get", lambda array: waits.append(array.shape) or get(array))
    sizes, program = np.full(4, 9), ChainDP()
    for loss in ("surrogate", "relaxed"):
        objective = _Objective(program, loss, "entropy", 0.1, X.reshape(-1, 2), sizes, y.ravel(), 3)
        objective.value_and_grad([np.ones(shape) for shape in ((3, 2), 3, (3, 3))])
    assert waits == [(1 + 6 + 3 + 9,)] * 2


def test_a_model_begins_where_the_last_one_ended(cupy, rng):
    X, y, sizes = labelled(cupy, rng)
    crf = LinearChainCRF(warm_start=True, alpha=0.1)
    first = crf.fit(X, cupy.asarray(y), lengths=cupy.asarray(sizes)).coef_.get()
    assert crf.fit(X, y, lengths=sizes).n_iter_ <= 1
    assert_allclose(crf.coef_.get(), first, atol=1e-5)


def test_a_model_and_features_of_two_kinds(cupy, rng):
    X, y, _ = labelled(cupy, rng)
    on_device, on_host = LinearChainCRF(max_iter=1000).fit(X, y), LinearChainCRF(max_iter=1000).fit(X.get(), y)
    with pytest.raises(TypeError, match="coef_ is a CuPy array, the arrays it belongs to are not"):
        on_device.predict(X.get())
    with pytest.raises(TypeError, match="coef_ is no CuPy array, the arrays it belongs to are CuPy arrays"):
        on_host.predict_marginals(X)
    with cupy.cuda.Device(1):
        elsewhere = cupy.asarray(X.get())
    assert LinearChainCRF(max_iter=1000).fit(elsewhere, y).predict_marginals(elsewhere)[0].device.id == 1
    with pytest.raises(ValueError, match="coef_ lies on CUDA device 0, the data on device 1"):
        on_device.predict(elsewhere)


def test_sparse_features_of_a_device(cupy):
    matrix = SimpleNamespace(data=cupy.asarray(np.ones(2)), tocsr=None)  # as those of cupyx
    with pytest.raises(TypeError, match="a sparse matrix of features is not available for CuPy arrays"):
        LinearChainCRF().fit([matrix], [[0, 1]])


# ---- CTC: the same answers


@pytest.mark.parametrize("shape", TRANSCRIPTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_ctc(cupy, transcripts, rng, dtype, shape):
    transcripts.order = TRANSCRIPTS.index(shape) % 3
    check_ctc(cupy, rng, dtype, shape)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_ctc_over_many_orders_of_magnitude(cupy, rng, dtype, scale):
    log_probs = (-scale * rng.random((2, 9, 4))).astype(dtype)
    targets = rng.integers(1, 4, (2, 3))
    for got, expected in zip(
        CTC().value_and_grad(cupy.asarray(log_probs), targets),
        CTC().value_and_grad(np.float64(log_probs), targets),
        strict=True,
    ):
        close(got, expected, dtype)


def test_one_sample(cupy, rng):
    log_probs, target, direction = rng.normal(size=(6, 4)), np.array([1, 1, 3]), rng.normal(size=(6, 4))
    value, gradient = CTC().value_and_grad(cupy.asarray(log_probs), target)
    assert value.shape == ()
    close(value, CTC().value(log_probs, target), np.float64)
    close(gradient, CTC().value_and_grad(log_probs, target)[1], np.float64)
    product = CTC().hvp(cupy.asarray(log_probs), target, cupy.asarray(direction))[1]
    close(product, CTC().hvp(log_probs, target, direction)[1], np.float64)
    assert_array_equal(CTC().decode(cupy.asarray(log_probs))[0].get(), CTC().decode(log_probs)[0])


def test_the_hessian_of_ctc_is_the_derivative_of_its_gradient(cupy, rng):
    log_probs, targets, direction = (
        rng.normal(size=(2, 40, 5)),
        rng.integers(1, 5, (2, 33)),
        rng.normal(size=(2, 40, 5)),
    )
    lengths = {"target_lengths": [33, 7]}
    slope, product = CTC().hvp(cupy.asarray(log_probs), targets, cupy.asarray(direction), **lengths)
    h = 1e-6
    (up, up_gradient), (down, down_gradient) = (
        CTC().value_and_grad(cupy.asarray(log_probs + step * direction), targets, **lengths) for step in (h, -h)
    )
    np.testing.assert_allclose(slope.get(), (up.get() - down.get()) / (2 * h), atol=1e-6)
    np.testing.assert_allclose(product.get(), (up_gradient.get() - down_gradient.get()) / (2 * h), atol=1e-6)


# ---- what a device cannot refuse


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_a_score_that_is_none_makes_the_value_nan(cupy, rng, regularizer, bad):
    theta = rng.random((3, 4, 3, 3))
    pair = rng.random((3, 4, 3)), rng.random((3, 3))
    dp = ChainDP(regularizer=regularizer)
    for potentials in (theta, pair):
        expected = dp.value(potentials)
        data = parts((potentials,))[0]
        data[1, 2, 0] = bad
        value, gradient = dp.value_and_grad(on_device(cupy, potentials))
        gradient = parts((gradient,))
        assert np.isnan(value.get()[1])
        assert np.isnan(gradient[0].get()[1]).all()
        close(value[[0, 2]], expected[[0, 2]], np.float64)
        assert len(gradient) == 1 or np.isnan(gradient[1].get()).all()


def test_lengths_on_the_device(cupy, rng):
    theta = rng.random((4, 5, 3, 3))
    lengths = np.array([5, 2, 4, 1])
    close(ChainDP().value(cupy.asarray(theta), cupy.asarray(lengths)), ChainDP().value(theta, lengths), np.float64)
    value, gradient = ChainDP().value_and_grad(cupy.asarray(theta), cupy.asarray([5, 0, 6, -1]))
    assert_array_equal(np.isnan(value.get()), [False, True, True, True])
    assert not gradient.get()[1:].any()
    found, _ = ChainDP().decode(cupy.asarray(theta), cupy.asarray([5, 0, 6, 2]))
    assert [len(states) for states in found] == [5, 0, 0, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_a_log_probability_that_is_none_makes_the_value_nan(cupy, rng, dtype, bad):
    """At a label in the upper strip of two, and at the blank."""
    log_probs, targets = rng.normal(size=(3, 60, 4)).astype(dtype), rng.integers(1, 4, (3, 40))
    expected = CTC().value(log_probs, targets)
    log_probs[0, 20, targets[0, 3]] = log_probs[2, 59, 0] = bad
    value, gradient = CTC().value_and_grad(cupy.asarray(log_probs), targets)
    assert_array_equal(np.isnan(value.get()), [True, False, True])
    assert_array_equal(np.isnan(gradient.get()).any(axis=(1, 2)), [True, False, True])
    close(value[1], expected[1], dtype)


def test_labels_and_lengths_of_the_device(cupy, rng):
    log_probs, targets = rng.normal(size=(5, 9, 4)), rng.integers(1, 4, (5, 3))
    frames, labels = np.array([9, 8, 9, 9, 9]), np.array([3, 1, 3, 3, 0])
    there = [cupy.asarray(array) for array in (log_probs, targets, frames, labels)]
    close(CTC().value(*there), CTC().value(log_probs, targets, frames, labels), np.float64)
    targets[0, 1], targets[1, 2], frames[2], labels[3] = 4, 99, 10, -1  # 99 lies beyond its length
    there = [cupy.asarray(array) for array in (log_probs, targets, frames, labels)]
    value, gradient = CTC().value_and_grad(*there)
    assert_array_equal(np.isnan(value.get()), [True, False, True, True, False])
    assert_array_equal(gradient.get()[2:4], 0)
    with pytest.raises(ValueError, match=r"targets\[0\] holds 4 at index 1"):  # those of the host are looked at
        CTC().value(there[0], targets)


# ---- the same bits


def test_ctc_does_not_depend_on_who_computes_it(cupy, transcripts, monkeypatch, rng):
    arrays = on_device(cupy, [rng.normal(size=(3, 50, 4)), rng.integers(1, 4, (3, 40))])
    results = []
    for order in ORDERS:
        for blocks in (1, 2, 5):
            transcripts.order, transcripts.seed = order, blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            results.append([array.get() for array in CTC().value_and_grad(*arrays)])
    for result in results[1:]:
        for array, first in zip(result, results[0], strict=True):
            assert_array_equal(array, first)


def test_chains_do_not_depend_on_who_computes_them(cupy, chains, monkeypatch, rng):
    """Neither on the order of the threads nor on the number of blocks."""
    pair = on_device(cupy, (rng.random((7, 5, 40)), rng.random((40, 40))))
    monkeypatch.setattr(chain, "_MOST_GROUPS", 3)
    results = []
    for order in ORDERS:
        for blocks in (1, 2, 5):
            chains.order, chains.seed = order, blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            results.append([part.get() for part in parts(ChainDP(0.1).value_and_grad(pair))])
    for result in results[1:]:
        for array, first in zip(result, results[0], strict=True):
            assert_array_equal(array, first)


# ---- wrong arguments


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda z, d: ChainDP().value((d[0], z[0])), "transition is no CuPy array"),
        (lambda z, d: ChainDP().value((z[0], d[0])), "transition is a CuPy array"),
        (lambda z, d: ChainDP().hvp(d, z), "direction is no CuPy array"),
        (lambda z, d: ChainDP().hvp((d[0], d[0]), (d[0], z[0])), r"direction\[1\] is no CuPy array"),
        (lambda z, d: ChainDP().marginals_vjp(z, d), "cotangent is a CuPy array"),
        (lambda z, d: ChainDP().value(z[None], d[0, 0, :1].astype(int)), "lengths is a CuPy array"),
        (lambda z, d: chain_potentials(d[0], d[0], z[0, 0]), "start is no CuPy array"),
        (lambda z, d: DagDP([0, 0, 2], [0, 0]).value(d[0, 0, :2]), "taking costs from a device is not available"),
        (lambda z, d: CTC().value(z, d[:, 0].astype(int)), "targets is a CuPy array"),
        (lambda z, d: CTC().value(z, np.ones((3, 1), int), d[0, 0].astype(int)), "input_lengths is a CuPy array"),
        (lambda z, d: CTC().hvp(d, np.ones((3, 1), int), z), "direction is no CuPy array"),
    ],
)
def test_arrays_of_two_kinds(cupy, call, sentence):
    zeros = np.zeros((3, 3, 3))
    with pytest.raises(TypeError, match=sentence):
        call(zeros, cupy.asarray(zeros))


def test_results_lie_on_the_device_of_the_data(cupy):
    with cupy.cuda.Device(1):
        theta = cupy.asarray(np.ones((3, 3, 3)))
    assert {array.device.id for array in ChainDP().value_and_grad(theta)} == {1}


# ---- the checks notice

CHAINS_NEEDED = {
    "needed": [
        chain.kernel_name("double", "kEntropy", "kValueOnly"),
        chain.kernel_name("double", "kEntropy", "kFirst"),
        chain.gather_name("double"),
    ]
}
CHAINS_LINES = chain.FILE.text.splitlines()
CHAINS_BARRIERS = [k for k, line in enumerate(CHAINS_LINES) if re.match(r" +block_barrier\(\);", line)]


def notices(monkeypatch, tmp_path, text):
    """What running a changed text in all orders brings up: a complaint, "wrong results", or "nothing"."""
    host = Host(chain.FILE, CHAINS_NEEDED, tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    monkeypatch.setattr(chain, "_MOST_GROUPS", 1)  # chain after chain in one block
    rng = np.random.default_rng(0)
    problems = [rng.random((3, 4, 40, 40)), (rng.random((3, 4, 40)), rng.random((40, 40)))]
    for host.order in ORDERS:
        for potentials in problems:
            try:
                there = on_device(cupy, potentials)
                got = [ChainDP().value(there), *parts(ChainDP().value_and_grad(there))]
            except KernelFailure as failure:
                return str(failure)
            expected = [ChainDP().value(potentials), *parts(ChainDP().value_and_grad(potentials))]
            for result, answer in zip(got, expected, strict=True):
                if not np.allclose(result.get(), answer):
                    return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, chain.FILE.text) == "nothing"


@pytest.mark.parametrize("barrier", CHAINS_BARRIERS)
def test_a_removed_barrier_is_noticed(monkeypatch, tmp_path, barrier):
    lines = [line for k, line in enumerate(CHAINS_LINES) if k != barrier]
    assert notices(monkeypatch, tmp_path, "\n".join(lines)) == "wrong results"


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        (
            "if (any_thread(strange)) {",
            "if (threadIdx.x > 40 || any_thread(strange)) {",
            "every thread waits|wrong results",
        ),
        (
            "high = over_lanes(high, Largest(), width);",
            "if (column < 7) high = over_lanes(high, Largest(), width);",
            "divergent warp|every thread waits",
        ),
    ],
    ids=["thread astray", "lane astray"],
)
def test_defects_are_noticed(monkeypatch, tmp_path, text, changed, complaint):
    assert chain.FILE.text.count(text) == 1
    assert re.search(complaint, notices(monkeypatch, tmp_path, chain.FILE.text.replace(text, changed)))


CTC_NEEDED = {
    "needed": [ctc.forward_name("double", False), ctc.backward_name("double", False), ctc.gather_name("double")]
}
CTC_LINES = ctc.FILE.text.splitlines()
CTC_BARRIERS = [k for k, line in enumerate(CTC_LINES) if re.match(r" +(else )?__syncwarp\(\);", line)]


def ctc_notices(monkeypatch, tmp_path, text):
    """As `notices`, of a gradient of CTC."""
    host = Host(ctc.FILE, CTC_NEEDED, tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    rng = np.random.default_rng(0)
    log_probs, targets = rng.normal(size=(2, 100, 5)), rng.integers(1, 5, (2, 70))
    expected = CTC().value_and_grad(log_probs, targets)
    for host.order in ORDERS:
        try:
            got = CTC().value_and_grad(cupy.asarray(log_probs), targets)
        except KernelFailure as failure:
            return str(failure)
        if not all(np.allclose(result.get(), answer) for result, answer in zip(got, expected, strict=True)):
            return "wrong results"
    return "nothing"


def test_an_unchanged_source_of_ctc_is_right(monkeypatch, tmp_path):
    assert ctc_notices(monkeypatch, tmp_path, ctc.FILE.text) == "nothing"


@pytest.mark.parametrize("barrier", CTC_BARRIERS)
def test_a_removed_barrier_of_ctc_is_noticed(monkeypatch, tmp_path, barrier):
    lines = [line for k, line in enumerate(CTC_LINES) if k != barrier]
    assert re.search("race in shared|nobody wrote|wrong results", ctc_notices(monkeypatch, tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        ("if (!s.is_first()) await(progress - 1, t0 + count - 1);", "", "wrong results"),
        ("if (!s.is_last()) await(progress + 1, sample.n - t0);", "", "wrong results"),
        ("publish(progress, sample.n + 1);", "publish(progress, sample.n);", "every thread waits"),
        (
            "tile[4 * kTile + at];\n        const T message",
            "tile[5 * kTile + at];\n        const T message",
            "out of bounds",
        ),
    ],
    ids=["forward does not wait", "backward does not wait", "wait without an end", "shared out of bounds"],
)
def test_defects_of_ctc_are_noticed(monkeypatch, tmp_path, text, changed, complaint):
    assert ctc.FILE.text.count(text) == 1
    assert re.search(complaint, ctc_notices(monkeypatch, tmp_path, ctc.FILE.text.replace(text, changed)))


# ---- AddressSanitizer


def sanitized(tmp_path, change="pass"):
    """Gradients and products on kernels built with AddressSanitizer; `change` edits `chain.FILE.text`."""
    return cuda_on_host.sanitized(
        f"""
        import numpy as np
        import cuda_on_host, device_parity
        from sdtwkit._cuda import chain, ctc
        from sdtwkit.dp import CTC, ChainDP
        {change}
        needed = [chain.kernel_name("double", "kEntropy", wants) for wants in ("kFirst", "kSecond")]
        needed += [chain.kernel_name("double", "kEntropy", "kPath"), chain.walks_name("double", "kEntropy")]
        needed.append(chain.gather_name("double"))
        host, other = (
            cuda_on_host.Host(file, {{"double": names}}, {str(tmp_path)!r}, flags=cuda_on_host.SANITIZERS)
            for file, names in ((chain.FILE, needed), (ctc.FILE, ctc.libraries()["double"]))
        )
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host, other)
        rng = np.random.default_rng(0)
        for host.order, (shape, pair) in enumerate((((1, 1), False), ((3, 5), True), ((2, 17), False))):
            theta, direction, lengths = device_parity.random_chains(rng, *shape, np.float64, pair)
            theta, direction = (device_parity.on_device(cupy, value) for value in (theta, direction))
            ChainDP().value_and_grad(theta, **lengths)
            ChainDP().hvp(theta, direction, **lengths)
            ChainDP().sample(theta, 3, **lengths)
        for other.order, shape in enumerate(((1, 2, 1), (20, 5, 0), (34, 6, 32))):
            log_probs, targets, lengths = device_parity.random_transcripts(rng, *shape, np.float64)
            log_probs, direction = cupy.asarray(log_probs), cupy.asarray(np.ones(log_probs.shape))
            CTC(shape[1] - 1).value_and_grad(log_probs, targets, **lengths)
            CTC(shape[1] - 1).hvp(log_probs, targets, direction, **lengths)
        """
    )


def test_nothing_is_touched_out_of_bounds(tmp_path):
    done = sanitized(tmp_path)
    assert "sanitized" in done.stdout, done.stderr[-3000:]


def test_a_read_out_of_bounds_is_noticed(tmp_path):
    done = sanitized(tmp_path, 'chain.FILE.text = chain.FILE.text.replace("n = i < S ? S : 0", "n = S")')
    assert "ERROR: AddressSanitizer: " in done.stderr  # an overflow, or where that led
