"""CTC is the sum over all paths that spell the labels: enumeration, its slow twin, and torch."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit import _backend
from sdtwkit._kernels import alignment as kernels
from sdtwkit.dp import CTC, AlignmentDP

DTYPES = [np.float64, np.float32]


def collapsed(path, blank):
    """Labels that a path of classes spells: repetitions merged, then blanks dropped."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def enumerated(log_probs, blank):
    """{labels: probability}, over all K^T paths."""
    T, K = log_probs.shape
    found = {}
    for path in itertools.product(range(K), repeat=T):
        labels = collapsed(path, blank)
        found[labels] = found.get(labels, 0.0) + np.exp(log_probs[np.arange(T), path].sum())
    return found


def twin(log_probs, labels, blank=0):
    """Value, posterior (T, K) by the forward-backward algorithm on log(2M + 1) states, in np.longdouble."""
    states = [blank, *itertools.chain.from_iterable((label, blank) for label in labels)]
    T, S = len(log_probs), len(states)
    emitted = np.asarray(log_probs, np.longdouble)[:, states]
    may_skip = [s > 1 and states[s] != blank and states[s] != states[s - 2] for s in range(S)]
    forward, backward = np.full((2, T, S), -np.inf, np.longdouble)
    forward[0, :2], backward[-1, -2:] = emitted[0, :2], 0
    with np.errstate(invalid="ignore"):
        for t in range(1, T):
            for s in range(S):
                came = [forward[t - 1, r] for r in range(max(s - 2 if may_skip[s] else s - 1, 0), s + 1)]
                forward[t, s] = np.logaddexp.reduce(came) + emitted[t, s]
        for t in range(T - 2, -1, -1):
            for s in range(S):
                goes = [r for r in range(s, min(s + 3, S)) if r < s + 2 or may_skip[r]]
                backward[t, s] = np.logaddexp.reduce([backward[t + 1, r] + emitted[t + 1, r] for r in goes])
        total = np.logaddexp.reduce(forward[-1, -2:])
        visits = np.exp(forward + backward - total) if total > -np.inf else np.zeros((T, S))
    posterior = np.zeros(np.shape(log_probs))
    np.add.at(posterior.T, states, np.float64(visits).T)
    return float(-total), posterior


def batch(rng, B=6, T=14, K=5, M=5, blank=0):
    """Ragged, with repeated labels, an empty and an infeasible target; NaN and nonsense in the padding."""
    log_probs = np.log(rng.dirichlet(np.ones(K), size=(B, T)))
    labels = [k for k in range(K) if k != blank]
    targets = rng.choice(labels, size=(B, M))
    targets[0] = labels[1]  # the same label again and again
    frames, lengths = rng.integers(M + 2, T + 1, size=B), rng.integers(1, M + 1, size=B)
    frames[0], lengths[0] = T, M
    lengths[1] = 0
    frames[2], lengths[2] = M - 1, M
    for b in range(B):
        log_probs[b, frames[b] :] = np.nan
        targets[b, lengths[b] :] = -7
    return log_probs, targets, frames, lengths


@pytest.fixture(params=DTYPES, ids=["float64", "float32"])
def dtype(request):
    return request.param


# ---- values and gradients


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_tiny_cases_are_enumerated(blank, rng):
    """Every label sequence that two classes and a blank can spell in five frames; together they have probability 1."""
    log_probs = np.log(rng.dirichlet(np.ones(3), size=5))
    law = enumerated(log_probs, blank)
    assert () in law
    for labels, probability in law.items():
        value = CTC(blank).value(log_probs, np.array(labels, int))
        assert_allclose(np.exp(-value), probability, rtol=1e-12)


def test_everything_matches_the_twin(dtype, rng):
    for K, M, blank in ((5, 5, 0), (3, 20, 2), (40, 33, 7)):
        log_probs, targets, frames, lengths = batch(rng, T=3 * M, K=K, M=M, blank=blank)
        ctc = CTC(blank)
        value, gradient = ctc.value_and_grad(log_probs.astype(dtype), targets, frames, lengths)
        assert value.dtype == gradient.dtype == dtype
        assert_array_equal(value, ctc.value(log_probs.astype(dtype), targets, frames, lengths))
        tolerance = 1e-12 if dtype == np.float64 else 2e-5
        for b, (n, m) in enumerate(zip(frames, lengths, strict=True)):
            expected, posterior = twin(log_probs[b, :n], targets[b, :m], blank)
            assert_allclose(value[b], expected, rtol=tolerance)
            assert_allclose(gradient[b, :n], -posterior, atol=tolerance)
            assert not gradient[b, n:].any()


def test_it_is_the_alignment_recursion(rng):
    """The states, steps, starts, ends and transitions of math-alignment.md, section 10, as a graph."""
    T, K, labels = 9, 4, np.array([2, 2, 1, 3])
    log_probs = rng.normal(size=(T, K))
    states = np.array([0, 2, 0, 2, 0, 1, 0, 3, 0])
    mask = np.ones((T, 9, 3), bool)
    mask[:, :, 2] = [s > 1 and states[s] != 0 and states[s] != states[s - 2] for s in range(9)]
    begin, end = np.zeros((2, T, 9), bool)
    begin[0, :2] = end[-1, -2:] = True
    dp = AlignmentDP(steps=((1, 0), (1, 1), (1, 2)), step_mask=mask, open_begin=begin, open_end=end)
    expected, E = dp.value_and_grad(-log_probs[:, states])
    value, gradient = CTC().value_and_grad(log_probs, labels)
    assert_allclose(value, expected, rtol=1e-13)
    for k in range(K):
        assert_allclose(gradient[:, k], -E[:, states == k].sum(axis=1), atol=1e-13)


def test_gradients_are_finite_differences(rng):
    log_probs, labels = rng.normal(size=(8, 4)), [1, 1, 3]
    gradient = CTC().value_and_grad(log_probs, labels)[1]
    for index in np.ndindex(log_probs.shape):
        step = np.zeros_like(log_probs)
        step[index] = 1e-5
        slope = (CTC().value(log_probs + step, labels) - CTC().value(log_probs - step, labels)) / 2e-5
        assert_allclose(gradient[index], slope, atol=1e-9)


def test_second_derivatives_are_finite_differences(rng):
    log_probs, targets, frames, lengths = batch(rng)
    direction = rng.normal(size=log_probs.shape)
    slope, product = CTC().hvp(log_probs, targets, direction, frames, lengths)

    def gradient(t):
        return CTC().value_and_grad(log_probs + t * direction, targets, frames, lengths)[1]

    assert_allclose(slope, (gradient(0) * direction).sum(axis=(1, 2)), atol=1e-12)
    assert_allclose(product, (gradient(1e-5) - gradient(-1e-5)) / 2e-5, atol=1e-8)


def test_every_frame_is_somewhere(dtype, rng):
    """The posterior of a frame sums to 1, however long the sequence: no mass leaks."""
    log_probs = np.log(rng.dirichlet(np.full(20, 0.1), size=2000)).clip(-60).astype(dtype)
    gradient = CTC().value_and_grad(log_probs, rng.integers(1, 20, size=300))[1]
    assert_allclose(gradient.sum(axis=1), -1, atol=1e-13 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("M", [0, 1, 14, 15, 16, 17, 31, 32, 33, 100])
def test_sizes_across_the_borders_of_lanes(M, dtype, rng):
    log_probs = np.log(rng.dirichlet(np.ones(6), size=2 * M + 3)).astype(dtype)
    labels = rng.integers(1, 6, size=M)
    value, gradient = CTC().value_and_grad(log_probs, labels)
    expected, posterior = twin(log_probs.astype(float), labels)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    assert_allclose(value, expected, rtol=tolerance)
    assert_allclose(gradient, -posterior, atol=tolerance)


# ---- what has no path, and what is extreme


def test_infeasible_targets(dtype):
    """Two equal labels need a blank between: two frames are too few, three are just enough."""
    log_probs = np.log(np.full((3, 2), 0.5)).astype(dtype)
    value, gradient = CTC().value_and_grad(log_probs[:2], [1, 1])
    assert value == np.inf
    assert not gradient.any()
    assert_allclose(CTC().value(log_probs, [1, 1]), 3 * np.log(2), rtol=1e-6)


def test_empty_targets_are_all_blank(dtype, rng):
    log_probs = np.log(rng.dirichlet(np.ones(3), size=(2, 6))).astype(dtype)
    for targets in (np.zeros((2, 0), int), [[], []]):
        value, gradient = CTC(1).value_and_grad(log_probs, targets)
        assert_allclose(value, -log_probs[:, :, 1].sum(axis=1), rtol=1e-6)
        assert_allclose(gradient, -1.0 * np.broadcast_to([0, 1, 0], log_probs.shape), rtol=1e-6)


def test_impossible_classes(dtype, rng):
    """-inf forbids: the law is that of the other paths, and the gradient there is 0."""
    log_probs = rng.normal(size=(7, 4)).astype(dtype)
    log_probs[2, 0] = log_probs[3, 2] = log_probs[6, 1] = -np.inf
    value, gradient = CTC().value_and_grad(log_probs, [2, 1])
    expected, posterior = twin(log_probs.astype(float), [2, 1])
    assert_allclose(value, expected, rtol=1e-5)
    assert_allclose(gradient, -posterior, atol=1e-5)
    assert_array_equal(gradient[np.isinf(log_probs)], 0)
    log_probs[4] = -np.inf
    value, gradient = CTC().value_and_grad(log_probs, [2, 1])
    assert value == np.inf
    assert not gradient.any()
    assert_array_equal(CTC().hvp(log_probs, [2, 1], np.ones(log_probs.shape))[1], 0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e3, 1e6, 1e9, 1e15, 1e18, 1e30])
def test_extreme_log_probabilities(scale, dtype, rng):
    log_probs = (-rng.random((30, 5)) * scale).astype(dtype)
    labels = rng.integers(1, 5, size=8)
    value, gradient = CTC().value_and_grad(log_probs, labels)
    expected, posterior = twin(log_probs.astype(float), labels)
    assert_allclose(value, expected, rtol=2e-6 if dtype == np.float32 else 1e-13)
    assert_allclose(gradient.sum(axis=1), -1, atol=1e-5)
    if scale <= 1e9:
        assert_allclose(gradient, -posterior, atol=2e-5)


def test_costs_beyond_the_range_are_refused():
    with pytest.raises(ValueError, match="can exceed the range of float64"):
        CTC().value(np.full((3, 2), -1e305), [1])


# ---- forms of input


def test_a_batch_is_its_samples(dtype, rng):
    log_probs, targets, frames, lengths = batch(rng)
    log_probs = log_probs.astype(dtype)
    values, gradients = CTC().value_and_grad(log_probs, targets, frames, lengths)
    for b, (n, m) in enumerate(zip(frames, lengths, strict=True)):
        value, gradient = CTC().value_and_grad(log_probs[b], targets[b], frames[b], lengths[b])
        assert np.ndim(value) == 0
        assert_array_equal(value, values[b])
        assert_array_equal(gradient, gradients[b])
        assert_array_equal(CTC().value(log_probs[b, :n], targets[b, :m]), value)


def test_threads_and_levels_change_nothing(dtype, rng, monkeypatch):
    log_probs, targets, frames, lengths = batch(rng, B=23)
    arguments = log_probs.astype(dtype), targets, frames, lengths
    alone = CTC().value_and_grad(*arguments)
    for got, wanted in zip(CTC(n_jobs=3).value_and_grad(*arguments), alone, strict=True):
        assert_array_equal(got, wanted)
    for level in range(kernels.best_level() + 1):
        monkeypatch.setattr(_backend, "_level", level)
        for got, wanted in zip(CTC().value_and_grad(*arguments), alone, strict=True):
            assert_allclose(got, wanted, rtol=1e-5, atol=1e-13 if dtype == np.float64 else 1e-5)


def test_inputs_are_not_written_to_and_may_have_any_layout(rng):
    log_probs, targets, frames, lengths = batch(rng)
    expected = CTC().value_and_grad(log_probs, targets, frames, lengths)
    for array in (log_probs, targets, frames, lengths):
        array.flags.writeable = False
    turned = np.asfortranarray(log_probs), targets.astype(np.int16)[:, ::1], frames.astype(np.uint8), list(lengths)
    for got, wanted in zip(CTC().value_and_grad(*turned), expected, strict=True):
        assert_array_equal(got, wanted)
    assert CTC().value(log_probs.astype(np.float16), targets, frames, lengths).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: CTC(-1), "blank is -1; expected an integer >= 0"),
        (lambda x: CTC(True), "blank is True, of type bool"),
        (lambda x: CTC(4).value(x, [[1], [1]]), "blank is 4, log_probs has 4 classes"),
        (lambda x: CTC().value(x[0, 0], [1]), r"log_probs has shape \(4,\); expected \(B, T, K\) or \(T, K\)"),
        (lambda x: CTC().value(x, [1, 1]), r"targets has shape \(2,\); expected \(2, M\)"),
        (lambda x: CTC().value(x, [[1]]), r"targets has shape \(1, 1\); expected \(2, M\)"),
        (lambda x: CTC().value(x[0], [[1]]), r"targets has shape \(1, 1\); expected \(M,\)"),
        (lambda x: CTC().value(x, [[1.0], [2.0]]), "targets has dtype float64; expected integer labels"),
        (lambda x: CTC().value(x, [[1, 2], [3, 4]]), r"targets\[1\] holds 4 at index 1; expected labels from 0 to 3"),
        (lambda x: CTC().value(x, [[1, 2], [3, 0]]), r"targets\[1\] holds 0 at index 1; .* other than the blank, 0"),
        (lambda x: CTC().value(x[0], [-1]), "targets holds -1 at index 0"),
        (lambda x: CTC().value(x, [[1], [1]], [3, 6]), r"input_lengths\[1\] is 6, log_probs\[1\] has 5 frames"),
        (lambda x: CTC().value(x, [[1], [1]], [3, 0]), r"input_lengths\[1\] is 0, .* expected 1 to 5"),
        (lambda x: CTC().value(x, [[1], [1]], None, [0, 2]), r"target_lengths\[1\] is 2, .* expected 0 to 1"),
        (
            lambda x: CTC().value(np.where(x == x[1, 2, 3], np.nan, x), [[1], [1]]),
            r"log_probs\[1\] holds NaN at frame 2",
        ),
        (lambda x: CTC().value(np.where(x == x[1, 2, 3], np.inf, x), [[1], [1]]), r"holds inf at frame 2, class 3"),
        (lambda x: CTC().decode(x, beam_width=0), "beam_width is 0; expected an integer >= 1"),
        (lambda x: CTC().value(x, None), "targets is None, of type NoneType; expected an array of integer labels"),
        (lambda x: CTC().hvp(x, [[1], [1]], x[0]), r"direction has shape \(5, 4\); expected \(2, 5, 4\)"),
        (lambda x: CTC().hvp(x, [[1], [1]], None), "direction is None, of type NoneType; expected an array of real"),
        (lambda x: CTC().hvp(x, [[1], [1]], x * np.nan), r"direction\[0\] holds NaN at row 0, column 0"),
    ],
)
def test_wrong_arguments(call, message, rng):
    with pytest.raises((ValueError, TypeError), match=message):
        call(rng.normal(size=(2, 5, 4)))


# ---- decoding


def test_greedy_decoding_merges_and_drops():
    classes = [0, 1, 1, 0, 1, 2, 2, 3, 0, 0]
    log_probs = np.full((10, 4), -5.0)
    log_probs[np.arange(10), classes] = -0.1
    labels, value = CTC().decode(log_probs)
    assert labels.tolist() == [1, 1, 2, 3]
    assert value == pytest.approx(1.0)
    assert CTC(3).decode(log_probs)[0].tolist() == [0, 1, 0, 1, 2, 0]


@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_finds_the_most_probable_labels(blank, rng):
    for _ in range(20):
        log_probs = np.log(rng.dirichlet(np.ones(3), size=5))
        law = enumerated(log_probs, blank)
        labels, value = CTC(blank).decode(log_probs, beam_width=1000)
        assert_allclose(np.exp(-value), max(law.values()), rtol=1e-12)
        assert_allclose(law[tuple(labels)], max(law.values()), rtol=1e-12)


def test_a_narrow_beam_knows_its_share(rng):
    """What a beam says of its labels is at most their probability; a wide one finds better labels than a narrow one."""
    log_probs = np.log(rng.dirichlet(np.full(6, 0.5), size=40))
    values = []
    for width in (2, 4, 16, 64, 256):
        labels, value = CTC().decode(log_probs, beam_width=width)
        exact = CTC().value(log_probs, labels)
        assert value >= exact - 1e-12
        values.append(exact)
    assert values[-1] <= values[0]


def test_decoding_of_ragged_batches(dtype, rng):
    log_probs, _, frames, _ = batch(rng)
    for width in (1, 5):
        labels, values = CTC().decode(log_probs.astype(dtype), frames, beam_width=width)
        assert values.dtype == dtype
        for b, n in enumerate(frames):
            alone, value = CTC().decode(log_probs[b, :n].astype(dtype), beam_width=width)
            assert_array_equal(labels[b], alone)
            assert labels[b].dtype == np.int64
            assert values[b] == value


def test_decoding_of_impossible_frames():
    log_probs = np.full((3, 3), -np.inf)
    labels, value = CTC().decode(log_probs, beam_width=4)
    assert len(labels) == 0
    assert value == np.inf
    log_probs[:, 1] = 0.0  # one class is certain
    for width in (1, 4):
        labels, value = CTC().decode(log_probs, beam_width=width)
        assert labels.tolist() == [1]
        assert value == 0


# ---- torch


def test_it_equals_torch(rng):
    """Values, and gradients at the logits; infeasible samples apart, where torch's gradients are NaN."""
    torch = pytest.importorskip("torch", reason="torch is the peer")
    for blank in (0, 3):
        log_probs, targets, frames, lengths = batch(rng, B=20, T=25, K=7, M=8, blank=blank)
        logits = torch.tensor(np.nan_to_num(log_probs), requires_grad=True)
        targets = np.where(targets < 0, 1 + blank, targets)
        normalised = logits.log_softmax(-1)
        arguments = (torch.tensor(array) for array in (targets, frames, lengths))
        expected = torch.nn.functional.ctc_loss(normalised.transpose(0, 1), *arguments, blank=blank, reduction="none")
        value, gradient = CTC(blank).value_and_grad(normalised.detach().numpy(), targets, frames, lengths)
        feasible = np.isfinite(value)
        assert not feasible.all()
        assert_array_equal(np.isfinite(expected.detach().numpy()), feasible)
        assert_allclose(value[feasible], expected.detach().numpy()[feasible], rtol=1e-12)
        (at_logits,) = torch.autograd.grad(expected[torch.tensor(feasible)].sum(), logits)
        # softmax: g - p sum g
        ours = gradient - normalised.detach().exp().numpy() * gradient.sum(axis=2, keepdims=True)
        assert_allclose(ours[feasible], at_logits.numpy()[feasible], atol=1e-12)


def test_it_shows_its_options():
    assert repr(CTC(blank=2)) == "CTC(blank=2)"
