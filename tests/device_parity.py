"""What every device must answer as the CPU does: cases shared by test_cuda_on_host.py and test_gpu.py."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit import _adapters
from sdtwkit.dp import CTC, AlignmentDP, ChainDP

REGULARIZERS = ("entropy", "l2", None)
DTYPES = (np.float64, np.float32)
OPTIONS = {
    "plain": {},
    "band": {"window": 2},
    "weights": {"step_weights": (1.0, 2.0, 0.5)},
    "search": {"open_begin": "y", "open_end": "y"},
    "everything": {"window": 3, "step_weights": (0.5, 2.0, 1.5), "open_begin": True, "open_end": True},
}
COSTS = ("sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "huber", "neg_dot")


class Linex:
    """c = sum_k exp(r_k) - r_k - 1 of r = x - y: a user's cost, not symmetric, by operators that all arrays have.

    It wants the two series of a pair, alone: what lies beyond their lengths it must not see.
    """

    def matrix(self, x, y):
        r = self.residuals(x, y)
        return (np.exp(r) - r - 1).sum(axis=-1)

    def vjp(self, x, y, G):
        slopes = G[..., None] * (np.exp(self.residuals(x, y)) - 1)
        return slopes.sum(axis=1), -slopes.sum(axis=0)

    def jvp(self, x, y, dx, dy):
        return ((np.exp(self.residuals(x, y)) - 1) * self.residuals(dx, dy)).sum(axis=-1)

    def hvp(self, x, y, G, dx, dy):
        bends = G[..., None] * np.exp(self.residuals(x, y)) * self.residuals(dx, dy)
        return bends.sum(axis=1), -bends.sum(axis=0)

    @staticmethod
    def residuals(x, y):
        assert x.ndim == y.ndim == 2
        assert type(x) is type(y)
        return x[:, None] - y

    def __str__(self):
        return "linex"


TABLE_COSTS = ("cosine", "bce", "log_half_sqeuclidean", "nll", Linex())  # which no kernel knows
# One cell; less than a strip; a whole strip; one row more; three strips, with blocks of steps that lie inside them.
SHAPES = ((1, 1), (1, 7), (5, 3), (32, 20), (33, 40), (70, 75))
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}


def close(actual, expected, dtype):
    """`actual`, of the device, against `expected`: within a tolerance of the largest finite entry, infinities alike."""
    actual = actual.get()
    assert actual.dtype == dtype
    finite = np.abs(expected[np.isfinite(expected)])
    assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * finite.max(initial=1))


def random_batch(rng, n, m, dtype, gaps=True):
    """Three cost matrices and their lengths; one holds forbidden cells, and NaN lies beyond the lengths."""
    C = rng.normal(size=(3, n, m)).astype(dtype)
    rows, columns = np.array([n, max(1, n - 2), n]), np.array([m, m, max(1, m - 3)])
    if gaps and min(n, m) > 3:
        C[1][rng.random((n, m)) < 0.1] = np.inf
    for b in range(3):
        C[b, rows[b] :] = C[b, :, columns[b] :] = np.nan
    return C, {"x_lengths": rows, "y_lengths": columns}


def check_given_costs(cupy, rng, dtype, regularizer, options, shape, gamma=0.6):
    """All of AlignmentDP on one ragged batch."""
    C, lengths = random_batch(rng, *shape, dtype)
    Z = rng.normal(size=C.shape).astype(dtype)
    dp, device_C, device_Z = AlignmentDP(gamma, regularizer=regularizer, **options), cupy.asarray(C), cupy.asarray(Z)
    for got, expected in zip(dp.value_and_grad(device_C, **lengths), dp.value_and_grad(C, **lengths), strict=True):
        close(got, expected, dtype)
    close(dp.value(device_C, **lengths), dp.value(C, **lengths), dtype)
    close(dp.marginals(device_C, **lengths), dp.marginals(C, **lengths), dtype)
    for got, expected in zip(dp.hvp(device_C, device_Z, **lengths), dp.hvp(C, Z, **lengths), strict=True):
        close(got, expected, dtype)
    close(dp.marginals_vjp(device_C, device_Z, **lengths), dp.marginals_vjp(C, Z, **lengths), dtype)
    paths, values = dp.decode(C, **lengths)
    device_paths, device_values = dp.decode(device_C, **lengths)
    close(device_values, values, dtype)
    for got, expected in zip(device_paths, paths, strict=True):
        assert_array_equal(got.get(), expected)


# ---- any steps

KNIGHT = ((1, 2), (2, 1), (1, 1), (0, 1))
STEPS = {
    "moves": {"steps": ((1, 0), (1, 1), (1, 2)), "open_end": "y"},
    "knight": {"steps": KNIGHT, "step_weights": (2.0, 0.5, 1.0, 1.5), "window": 6},
    "leaps": {"steps": ((0, 3), (5, 0), (0, 1), (1, 0)), "open_begin": "x", "open_end": "x"},
    "one": {"steps": ((1, 1),), "open_begin": True, "open_end": True},
}


def random_graph(rng, B, n, m):
    """Weights, transitions and sets for each cell of B matrices, some for all of them together."""
    S = len(KNIGHT)
    begin, end = rng.random((2, n, m)) < 0.3
    begin[0, 0] = end[-1, -1] = True
    return {
        "steps": KNIGHT,
        "step_weights": rng.uniform(0.2, 2, size=(B, n, m, S)),
        "step_mask": rng.random((n, m, S)) < 0.8,
        "open_begin": begin,
        "open_end": np.stack([end] * B),
        "begin_weights": rng.uniform(0, 2, size=(n, m)),
        "end_weights": rng.uniform(0, 2, size=(B, n, m)),
        "window": rng.random((B, n, m)) < 0.9,
    }


def check_parameters(cupy, rng, dtype, options, shape):
    """Gradients by gamma and by weights."""
    C, lengths = random_batch(rng, *shape, dtype)
    dp = AlignmentDP(0.6, **options)
    alike(dp.parameter_grads(cupy.asarray(C), **lengths), dp.parameter_grads(C, **lengths), dtype)


def check_samples(cupy, rng, dtype, options, shape, n_samples=40):
    """A seed draws the same paths everywhere (rounding may turn one in very many)."""
    C, lengths = random_batch(rng, *shape, dtype)
    dp = AlignmentDP(0.6, **options)
    expected = dp.sample(C, n_samples, 7, **lengths)
    got = dp.sample(cupy.asarray(C), n_samples, 7, **lengths)
    assert [len(paths) for paths in got] == [n_samples] * len(C)
    for paths, right in zip(got, expected, strict=True):
        for path, answer in zip(paths, right, strict=True):
            assert_array_equal(path.get(), answer)


def check_paths(cupy, rng):
    """Best paths of series, whose lengths are waited for."""
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(35, 2))
    for options in ({}, {"window": 3}, {"open_begin": "y", "open_end": "y"}):
        path, value = sdtwkit.dtw_path(x, y, **options)
        device_path, device_value = sdtwkit.dtw_path(cupy.asarray(x), cupy.asarray(y), **options)
        assert_array_equal(device_path.get(), path)
        close(device_value, value, np.float64)


def random_series(rng, n, m, d, dtype):
    """Three pairs of series as padded arrays, NaN beyond their lengths."""
    x, y = rng.normal(size=(3, n, d)).astype(dtype), rng.normal(size=(3, m, d)).astype(dtype)
    rows, columns = np.array([n, max(1, n - 2), n]), np.array([m, m, max(1, m - 3)])
    for b in range(3):
        x[b, rows[b] :] = y[b, columns[b] :] = np.nan
    return x, y, {"x_lengths": rows, "y_lengths": columns}


def alike(got, expected, dtype):
    """`close` for whatever a function returns: arrays, lists and tuples of them, None."""
    if isinstance(expected, list | tuple):
        for one, right in zip(got, expected, strict=True):
            alike(one, right, dtype)
    elif expected is None:
        assert got is None
    else:
        close(got, expected, dtype)


def on_device(cupy, value):
    """Arrays, or lists and tuples of them, on the device; None stays."""
    if isinstance(value, list | tuple):
        return type(value)(on_device(cupy, one) for one in value)
    return None if value is None else cupy.asarray(value)


def lists(padded, lengths):
    """The series of a padded array."""
    return [item[:k] for item, k in zip(padded, lengths, strict=True)]


def forms_of_pairs(rng, shape, d, dtype):
    """A ragged batch with directions and a cotangent: padded, as lists, and its first pair alone -> (arrays, lengths).

    arrays : x, y, dx, dy, G.
    """
    x, y, lengths = random_series(rng, *shape, d, dtype)
    dx, dy = (rng.normal(size=a.shape).astype(dtype) for a in (x, y))
    rows, columns = lengths.values()
    G = rng.normal(size=(3, *shape)).astype(dtype)
    ragged = [g[:n, :m] for g, n, m in zip(G, rows, columns, strict=True)]
    yield (x, y, dx, dy, G), lengths
    yield (lists(x, rows), lists(y, columns), lists(dx, rows), lists(dy, columns), ragged), {}
    yield (x[0], y[0], dx[0], dy[0], G[0]), {}


def check_series(cupy, rng, dtype, cost, options, shape, d=2, gamma=0.6):
    """The functions of pairs of series, in all their forms."""
    options = {"gamma": gamma, "cost": cost, **options}
    for arrays, lengths in forms_of_pairs(rng, shape, d, dtype):
        x, y, dx, dy, G = arrays
        y = targets(y, cost)
        if cost == "nll":
            dy = None
        for function, *given in (
            (sdtwkit.soft_dtw, x, y),
            (sdtwkit.soft_dtw_value_and_grad, x, y),
            (sdtwkit.soft_dtw_alignment, x, y),
            (sdtwkit.soft_dtw_alignment_vjp, x, y, G),
            (sdtwkit.soft_dtw_hvp, x, y, dx, dy),
        ):
            got = function(*on_device(cupy, given), **options, **lengths)
            alike(got, function(*given, **options, **lengths), dtype)


def targets(y, cost="bce"):
    """Series y as such a cost wants them: numbers in [0, 1], or labels."""
    if isinstance(y, list):
        return [targets(item, cost) for item in y]
    if cost == "nll":
        return (np.nan_to_num(y[..., :1]) > 0).astype(np.int64)
    return np.where(np.isnan(y), y, 1 / (1 + np.exp(-y))) if cost == "bce" else y


def check_local_costs(cupy, rng, dtype, cost, shape, d=3):
    """Costs and their derivatives, outside of an alignment."""
    for arrays, lengths in forms_of_pairs(rng, shape, d, dtype):
        x, y, dx, dy, G = arrays
        y = targets(y, cost)
        if cost == "nll":
            dy = None
        for function, *given in (
            (sdtwkit.costs.cost_matrix, x, y),
            (sdtwkit.costs.cost_vjp, x, y, G),
            (sdtwkit.costs.cost_jvp, x, y, dx, dy),
            (sdtwkit.costs.cost_hvp, x, y, G, dx, dy),
        ):
            alike(function(*on_device(cupy, given), cost, **lengths), function(*given, cost, **lengths), dtype)


def check_collections(cupy, rng, dtype, options, kind="soft"):
    """Divergences of pairs, and matrices of all pairs."""
    x, y, lengths = random_series(rng, 20, 35, 2, dtype)
    if options.get("cost") == "bce":
        x, y = targets(x), targets(y)
    xs = [a[:k] for a, k in zip(x, lengths["x_lengths"], strict=True)]
    ys = [a[:k] for a, k in zip(y, lengths["y_lengths"], strict=True)][:2]
    device_x, device_y = cupy.asarray(x), cupy.asarray(y)
    device_xs, device_ys = [cupy.asarray(a) for a in xs], [cupy.asarray(a) for a in ys]
    divergence = {**options, "kind": kind, "gamma": 0.5}
    for got, expected in zip(
        sdtwkit.soft_dtw_divergence_value_and_grad(device_x, device_y, **divergence, **lengths),
        sdtwkit.soft_dtw_divergence_value_and_grad(x, y, **divergence, **lengths),
        strict=True,
    ):
        close(got, expected, dtype)
    close(
        sdtwkit.soft_dtw_divergence(device_x, device_y, **divergence, **lengths),
        sdtwkit.soft_dtw_divergence(x, y, **divergence, **lengths),
        dtype,
    )
    dx, dy = rng.normal(size=x.shape).astype(dtype), rng.normal(size=y.shape).astype(dtype)
    if kind == "soft":
        some = {**options, "gamma": 0.5, "divergence": True, **lengths}
        got = _adapters.hvp(device_x, device_y, cupy.asarray(dx), cupy.asarray(dy), **some)
        alike(got, _adapters.hvp(x, y, dx, dy, **some), dtype)
    for function, some in (
        (sdtwkit.cdist_soft_dtw, options),
        (sdtwkit.cdist_dtw, options),
        (sdtwkit.cdist_soft_dtw_divergence, divergence),
    ):
        close(function(device_xs, device_ys, **some), function(xs, ys, **some), dtype)
        close(function(device_xs, **some), function(xs, **some), dtype)
        padded = function(device_x, X_lengths=lengths["x_lengths"], **some)
        close(padded, function(x, X_lengths=lengths["x_lengths"], **some), dtype)


def extreme_costs(rng, dtype):
    """Costs over 24 powers of ten, of both signs, some forbidden."""
    C = rng.choice([-1.0, 1.0, 1.0], (8, 5, 6)) * 10.0 ** rng.uniform(-12, 12, (8, 5, 6))
    C[rng.random(C.shape) < 0.1] = np.inf
    C[:, 0, 0] = C[:, -1, -1] = 1.0
    return C.astype(dtype)


# ---- chains

# (steps, states): one of each; rows that share a warp; a warp a row; more candidates than lanes, more rows than warps.
CHAINS = ((1, 1), (1, 3), (7, 1), (9, 2), (6, 5), (5, 16), (4, 33), (3, 70))


def random_chains(rng, T, S, dtype, pair):
    """Potentials of three chains with forbidden moves, a direction, lengths; NaN lies beyond these."""
    lengths = np.array([T, max(1, T - 2), (T + 1) // 2])

    def array(*shape):
        return rng.normal(size=shape).astype(dtype)

    step = (S,) if pair else (S, S)
    theta, direction = array(3, T, *step), array(3, T, *step)
    if S > 2:
        theta[1][rng.random(theta.shape[1:]) < 0.2] = -np.inf
    for b, length in enumerate(lengths):
        theta[b, length:] = np.nan
    if not pair:
        return theta, direction, {"lengths": lengths}
    transition, turned = array(S, S), array(S, S)
    if S > 2:
        transition[rng.random((S, S)) < 0.1] = -np.inf
    return (theta, transition), (direction, turned), {"lengths": lengths}


def parts(result):
    """All arrays of a result of nested tuples."""
    return [part for item in result for part in parts(item)] if isinstance(result, tuple) else [result]


def check_chains(cupy, rng, dtype, regularizer, pair, shape, gamma=0.6):
    """All of ChainDP on one ragged batch."""
    theta, direction, lengths = random_chains(rng, *shape, dtype, pair)
    cotangent = rng.normal(size=(theta[0] if pair else theta).shape).astype(dtype)
    dp = ChainDP(gamma, regularizer=regularizer)
    there = on_device(cupy, theta)
    for method, *more in (
        ("value",),
        ("value_and_grad",),
        ("marginals",),
        ("hvp", direction),
        ("marginals_vjp", cotangent),
    ):
        expected = getattr(dp, method)(theta, *more, **lengths)
        got = getattr(dp, method)(there, *(on_device(cupy, value) for value in more), **lengths)
        for result, answer in zip(parts(got), parts(expected), strict=True):
            close(result, answer, dtype)
    states, values = dp.decode(theta, **lengths)
    device_states, device_values = dp.decode(there, **lengths)
    close(device_values, values, dtype)
    drawn, device_drawn = (dp.sample(potentials, 40, 7, **lengths) for potentials in (theta, there))
    for got, expected in zip([*device_states, *device_drawn], [*states, *drawn], strict=True):
        assert_array_equal(got.get(), expected)


# ---- CTC

# (frames, classes, labels): one of each; none; too few frames for some; one strip of rows, full; one row more; three.
TRANSCRIPTS = ((1, 2, 1), (5, 3, 0), (4, 3, 4), (40, 5, 12), (70, 40, 31), (80, 6, 32), (150, 9, 70))


def random_transcripts(rng, T, K, M, dtype):
    """Log-probabilities of four samples, some classes impossible; labels; lengths, beyond which NaN lies."""
    log_probs = rng.normal(size=(4, T, K))
    log_probs -= np.log(np.exp(log_probs).sum(axis=2, keepdims=True))
    log_probs[1][rng.random((T, K)) < 0.05] = -np.inf
    frames, labels = np.array([T, T, max(1, T - 3), (T + 1) // 2]), np.array([M, M // 2, M, M // 3])
    for b, n in enumerate(frames):
        log_probs[b, n:] = np.nan
    targets = rng.integers(0, K - 1, (4, M))
    return log_probs.astype(dtype), targets, {"input_lengths": frames, "target_lengths": labels}


def check_ctc(cupy, rng, dtype, shape):
    """All of CTC on one ragged batch."""
    log_probs, targets, lengths = random_transcripts(rng, *shape, dtype)
    ctc = CTC(blank=shape[1] - 1)
    there = cupy.asarray(log_probs)
    alike(ctc.value(there, targets, **lengths), ctc.value(log_probs, targets, **lengths), dtype)
    expected = ctc.value_and_grad(log_probs, targets, **lengths)
    alike(ctc.value_and_grad(there, cupy.asarray(targets), **lengths), expected, dtype)
    direction = rng.normal(size=log_probs.shape).astype(dtype)
    expected = ctc.hvp(log_probs, targets, direction, **lengths)
    alike(ctc.hvp(there, targets, cupy.asarray(direction), **lengths), expected, dtype)
    labels, values = ctc.decode(log_probs, lengths["input_lengths"])
    device_labels, device_values = ctc.decode(there, lengths["input_lengths"])
    close(device_values, values, dtype)
    for got, expected in zip(device_labels, labels, strict=True):
        assert_array_equal(got.get(), expected)


# (frames, classes, width of the beam): one of each; nothing but blanks; wider than what there is; a narrow beam that
# forgets prefixes and finds them again; more prefixes than lanes, more classes than lanes; several runs of labels and
# several warps; both.
BEAMS = ((1, 2, 2), (5, 1, 3), (3, 3, 100), (60, 3, 6), (40, 5, 2), (12, 6, 40), (20, 70, 6), (7, 600, 5), (5, 260, 70))


def check_beams(cupy, rng, dtype, shape):
    """The label sequences of beam search of one ragged batch, and what they are valued."""
    T, K, width = shape
    log_probs, _, lengths = random_transcripts(rng, T, K, 0, dtype)
    ctc, sizes = CTC(blank=K - 1), lengths["input_lengths"]
    labels, values = ctc.decode(log_probs, sizes, width)
    device_labels, device_values = ctc.decode(cupy.asarray(log_probs), sizes, width)
    close(device_values, values, dtype)
    for got, expected in zip(device_labels, labels, strict=True):
        assert_array_equal(got.get(), expected)
