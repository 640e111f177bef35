"""AlignmentDP on graphs of the user: steps, weights, transitions, start and end sets that differ from cell to cell."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import OPERATORS, REAL, STEPS, Alignment, derivative, min_operator

from sdtwkit.dp import AlignmentDP

CTC_STEPS = ((1, 0), (1, 1), (1, 2))
N, M = 6, 5


def value(C, gamma, regularizer, steps, step_weights, open_begin, open_end, step_mask=None, begin_weights=None,
          end_weights=None, extra=None, window=None):  # fmt: skip
    """The recursion of math-alignment.md, section 3, cell by cell; `extra` is paid once at every visit."""
    C = np.asarray(C)
    n, m = C.shape
    allowed = np.isfinite(C) if window is None else np.isfinite(C) & window
    C = np.where(allowed, C, 0).astype(REAL)
    extra = np.zeros((n, m)) if extra is None else extra
    W = np.broadcast_to(np.asarray(step_weights, REAL), (n, m, len(steps)))
    u = np.ones((n, m)) if begin_weights is None else begin_weights
    v = np.zeros((n, m)) if end_weights is None else end_weights
    V = np.full((n, m), np.inf, REAL)
    for i, j in np.argwhere(allowed):
        candidates = [u[i, j] * C[i, j] if open_begin[i, j] else np.inf]
        for s, (di, dj) in enumerate(steps):
            inside = i >= di and j >= dj and (step_mask is None or step_mask[i, j, s])
            candidates.append(V[i - di, j - dj] + W[i, j, s] * C[i, j] if inside else np.inf)
        V[i, j] = min_operator(np.array(candidates, REAL)[:, None], gamma, regularizer)[0][0] + extra[i, j]
    ends = (V + v * C)[open_end]
    return min_operator(ends[:, None], gamma, regularizer)[0][0] if len(ends) else np.inf


def graph(rng, steps):
    """A random graph with a way through."""
    S = len(steps)
    begin, end = rng.random((N, M)) < 0.3, rng.random((N, M)) < 0.3
    begin[0, 0] = end[-1, -1] = True
    step_mask = rng.random((N, M, S)) < 0.8
    step_mask[:, :, S // 2] = True
    return {
        "steps": steps,
        "step_weights": rng.uniform(0.2, 2, size=(N, M, S)),
        "open_begin": begin,
        "open_end": end,
        "step_mask": step_mask,
        "begin_weights": rng.uniform(0, 2, size=(N, M)),
        "end_weights": rng.uniform(0, 2, size=(N, M)),
        "window": rng.random((N, M)) < 0.9,
    }


@pytest.fixture(params=OPERATORS, ids=str)
def regularizer(request):
    return request.param


@pytest.fixture(params=[STEPS, STEPS[::-1], CTC_STEPS], ids=["usual", "reversed", "ctc"])
def options(request, rng):
    return graph(rng, request.param)


def test_everything_is_a_derivative_of_the_twin(regularizer, options, rng):
    """Value, gradient, alignment and weight gradients by differences of the twin's value in np.longdouble."""
    C, Z, G = rng.normal(size=(3, N, M))
    C[2, 1] = np.inf
    options = {"gamma": 0.7, "regularizer": regularizer, **options}
    dp = AlignmentDP(**options)
    got, H = dp.value_and_grad(C)
    assert_allclose(got, float(value(C, **options)), rtol=1e-12)
    assert_allclose((H * Z).sum(), float(derivative(lambda t: value(C + t * Z, **options))), atol=1e-10)
    E = dp.marginals(C)
    slope = derivative(lambda t: value(C, extra=t * G, **options))
    assert_allclose((E * G).sum(), float(slope), atol=1e-10)
    assert_array_equal(E[~options["window"] | np.isinf(C)], 0)

    of_gamma, of_weights = dp.parameter_grads(C)
    slope = derivative(lambda t: value(C, **{**options, "gamma": options["gamma"] + t}))
    assert_allclose(of_gamma, float(slope), atol=1e-10)
    assert of_weights.shape == options["step_weights"].shape
    D = rng.normal(size=of_weights.shape)
    weights = options["step_weights"]
    slope = derivative(lambda t: value(C, **{**options, "step_weights": weights + t * D}))
    assert_allclose((of_weights * D).sum(), float(slope), atol=1e-10)


def test_a_closed_end_adds_nothing_to_the_gradient_by_gamma(regularizer, rng):
    C = rng.normal(size=(N, M))
    slope = derivative(lambda t: Alignment(0.7 + t, regularizer=regularizer).value(C))
    assert_allclose(AlignmentDP(0.7, regularizer=regularizer).parameter_grads(C)[0], float(slope), atol=1e-10)


def test_second_order_products_are_derivatives(regularizer, options, rng):
    C, Z, G = rng.normal(size=(3, N, M))
    dp = AlignmentDP(0.7, regularizer=regularizer, **options)
    slope, product = dp.hvp(C, Z)
    h = 1e-5

    def differences(f):
        return (8 * (f(C + h * Z) - f(C - h * Z)) - (f(C + 2 * h * Z) - f(C - 2 * h * Z))) / (12 * h)

    assert_allclose(slope, (dp.value_and_grad(C)[1] * Z).sum(), atol=1e-12)
    assert_allclose(product, differences(lambda C: dp.value_and_grad(C)[1]), atol=1e-8)
    assert_allclose((dp.marginals_vjp(C, G) * Z).sum(), differences(lambda C: (G * dp.marginals(C)).sum()), atol=1e-8)


def test_the_best_path_keeps_to_the_graph(options, rng):
    C = rng.normal(size=(N, M))
    dp = AlignmentDP(regularizer=None, **options)
    path, cost = dp.decode(C)
    assert cost == dp.value(C)
    (i, j), last = path[0], tuple(path[-1])
    assert options["open_begin"][i, j]
    assert options["open_end"][last]
    total = options["begin_weights"][i, j] * C[i, j] + options["end_weights"][last] * C[last]
    for before, cell in pairwise(path):
        s = options["steps"].index(tuple((cell - before).tolist()))
        assert options["step_mask"][*cell, s]
        assert options["window"][tuple(cell)]
        total += options["step_weights"][*cell, s] * C[tuple(cell)]
    assert_allclose(total, cost, rtol=1e-12)


def test_arrays_of_constants_are_the_plain_recursion(regularizer, rng):
    """The same numbers as the fast kernels give for weights and sets by name."""
    C, Z = rng.normal(size=(2, 3, 9, 7))
    weights = (1.0, 2.0, 0.5)
    plain = AlignmentDP(0.5, regularizer=regularizer, step_weights=weights, open_begin="y", open_end="x")
    begin, end = np.zeros((9, 7), bool), np.zeros((9, 7), bool)
    begin[0], end[:, -1] = True, True
    arrays = AlignmentDP(
        0.5,
        regularizer=regularizer,
        step_weights=np.broadcast_to(weights, (9, 7, 3)),
        step_mask=np.ones((9, 7, 3), bool),
        open_begin=begin,
        open_end=end,
        begin_weights=np.ones((9, 7)),
        end_weights=np.zeros((9, 7)),
    )
    for method, arguments in (("value_and_grad", (C,)), ("hvp", (C, Z)), ("marginals_vjp", (C, Z))):
        for got, wanted in zip(getattr(arrays, method)(*arguments), getattr(plain, method)(*arguments), strict=True):
            assert_allclose(got, wanted, rtol=1e-10, atol=1e-11)


def test_each_pair_of_a_batch_has_its_arrays(regularizer, rng):
    graphs = [graph(rng, CTC_STEPS) for _ in range(3)]
    C = rng.normal(size=(3, N, M))
    together = {name: np.stack([g[name] for g in graphs]) for name in graphs[0] if name != "steps"}
    dp = AlignmentDP(0.7, regularizer=regularizer, steps=CTC_STEPS, **together)
    value, gradient = dp.value_and_grad(C)
    of_gamma, of_weights = dp.parameter_grads(C)
    for b in range(3):
        alone = AlignmentDP(0.7, regularizer=regularizer, **graphs[b])
        assert_array_equal(value[b], alone.value(C[b]))
        assert_array_equal(gradient[b], alone.value_and_grad(C[b])[1])
        assert_array_equal(of_gamma[b], alone.parameter_grads(C[b])[0])
        assert_array_equal(of_weights[b], alone.parameter_grads(C[b])[1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("steps", [STEPS, STEPS[::-1], CTC_STEPS], ids=["usual", "reversed", "ctc"])
def test_parameter_gradients_are_derivatives(regularizer, steps, dtype, rng):
    """Numbers for weights: differences of the library's own value; and Euler's identity for gamma."""
    C = rng.normal(size=(3, 8, 5))
    weights = np.array([0.7, 1.5, 0.3])
    settings = {"regularizer": regularizer, "steps": steps, "window": 6, "open_end": "y"}
    of_gamma, of_weights = AlignmentDP(0.7, step_weights=weights, **settings).parameter_grads(C.astype(dtype))
    assert of_gamma.dtype == of_weights.dtype == dtype
    h, tolerance = 1e-5, 1e-8 if dtype == np.float64 else 1e-5
    for s in range(3):
        moved = [AlignmentDP(0.7, step_weights=weights + t * np.eye(3)[s], **settings).value(C) for t in (h, -h)]
        assert_allclose(of_weights[:, s], (moved[0] - moved[1]) / (2 * h), atol=tolerance)
    moved = [AlignmentDP(0.7 + t, step_weights=weights, **settings).value(C) for t in (h, -h)]
    assert_allclose(of_gamma, (moved[0] - moved[1]) / (2 * h), atol=tolerance)
    value, H = AlignmentDP(0.7, step_weights=weights, **settings).value_and_grad(C)
    if regularizer is not None:
        assert_allclose(of_gamma, (value - (H * C).sum(axis=(1, 2))) / 0.7, atol=tolerance)


def test_gamma_gradient_is_minus_the_entropy_of_the_paths():
    """Two cells by two, equal costs: three paths, but one of three cells."""
    C = np.zeros((2, 2))
    assert_allclose(AlignmentDP(5.0).parameter_grads(C)[0], -np.log(3))
    assert AlignmentDP(regularizer=None).parameter_grads(C)[0] == 0


def test_ragged_padding_is_not_read(rng):
    C = np.full((2, 9, 8), np.nan)
    C[0, :6, :5], C[1, :4, :8] = rng.normal(size=(6, 5)), rng.normal(size=(4, 8))
    dp = AlignmentDP(0.5, steps=CTC_STEPS)
    of_gamma, of_weights = dp.parameter_grads(C, x_lengths=[6, 4], y_lengths=[5, 8])
    for b, (n, m) in enumerate(((6, 5), (4, 8))):
        assert_allclose(of_gamma[b], dp.parameter_grads(C[b, :n, :m])[0])
        assert_allclose(of_weights[b], dp.parameter_grads(C[b, :n, :m])[1])


def test_no_way_through():
    C = np.ones((3, 3))
    for options in (
        {"step_mask": np.zeros((3, 3, 3), bool)},
        {"open_end": np.zeros((3, 3), bool)},
        {"open_begin": np.zeros((3, 3), bool)},
    ):
        dp = AlignmentDP(**options)
        value, gradient = dp.value_and_grad(C)
        assert value == np.inf
        assert not gradient.any()
        assert not dp.hvp(C, C)[1].any()
        assert dp.parameter_grads(C)[0] == 0
        assert len(dp.decode(C)[0]) == 0


def test_arrays_are_not_written_to(options, rng):
    C = rng.normal(size=(N, M))
    for array in (C, *(a for a in options.values() if isinstance(a, np.ndarray))):
        array.flags.writeable = False
    dp = AlignmentDP(**options)
    dp.value_and_grad(C)
    dp.parameter_grads(C)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_mask": np.ones((3, 3, 2), bool)}, "step_mask has 2 entries a cell for 3 steps"),
        ({"step_mask": np.ones((3, 3, 3))}, "step_mask is an array of dtype float64; expected True and False"),
        ({"step_mask": np.ones((3, 3), bool)}, r"step_mask has shape \(3, 3\)"),
        ({"step_weights": np.ones((3, 3, 2))}, "step_weights has 2 entries a cell for 3 steps"),
        ({"step_weights": -np.ones((3, 3, 3))}, "step_weights holds -1.0 to -1.0; expected finite numbers >= 0"),
        ({"step_weights": np.full((3, 3, 3), np.inf)}, "step_weights holds inf to inf"),
        ({"open_begin": np.ones((3, 3))}, "open_begin is an array of dtype float64; expected True and False"),
        ({"open_end": np.ones(3, bool)}, r"open_end has shape \(3,\); expected True and False of shape"),
        ({"begin_weights": np.ones((3, 3), bool)}, "begin_weights is an array of dtype bool; expected finite numbers"),
        ({"end_weights": np.full((3, 3), np.nan)}, "end_weights holds nan to nan"),
        ({"end_weights": np.ones((4, 3))}, r"end_weights has shape \(4, 3\); expected it to begin with \(3, 3\)"),
        ({"open_begin": np.ones((2, 3, 3), bool)}, r"open_begin has shape \(2, 3, 3\); expected it to begin with"),
        ({"step_mask": np.ones((1, 4, 3), bool)}, r"step_mask has shape \(1, 4, 3\); expected it to begin with"),
    ],
)
def test_wrong_arrays(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        AlignmentDP(**options).value(np.ones((3, 3)))
