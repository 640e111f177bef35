"""Losses and alignments as JAX functions, under jit, grad and vmap, with right first and second derivatives.

The kernels are called back from compiled code with the arrays of the whole batch, also under vmap, which only adds
leading axes. Each function carries the rule of its derivative, whose parts are such functions again. JAX hands a
callback memory of the host: arrays of a GPU go there and back, and are computed with on the CPU.

A gamma that is a JAX array and a prior go through the matrix of costs, and through the identities
value(C; gamma) = gamma value(C / gamma; 1) and E(C; gamma) = E(C / gamma; 1), so JAX knows their derivatives, too.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._typing import CostName, Lengths, Normalization, OpenEnds, Reduction, Regularizer, StepWeights, WarpLoss

try:
    import jax
except ImportError as error:
    raise ImportError("sdtwkit.jax needs JAX: python -m pip install 'sdtwkit[jax]'") from error

import jax.numpy as jnp

from . import _adapters, costs, series
from ._adapters import ONE_SIDED, REDUCTIONS
from ._options import UNIT_WEIGHTS, check_smoothing
from ._words import check_choice, wrong_type
from .dp import CTC, ChainDP

__all__ = ["chain_marginals", "ctc_loss", "dec_dtw", "soft_alignment", "soft_dtw_loss"]


class _Options(NamedTuple):
    """What is constant under a transformation, and may be hashed."""

    gamma: float
    cost: str
    regularizer: str | None
    radius: int | None
    step_weights: tuple
    open_begin: object
    open_end: object
    n_jobs: int | None
    divergence: bool = False

    def keywords(self, shared):
        """Keyword arguments of the functions of series; `shared` holds arrays (B,) and (B, n, m)."""
        return {
            "gamma": self.gamma,
            "cost": self.cost,
            "regularizer": self.regularizer,
            "window": shared.get("mask", self.radius),
            "step_weights": self.step_weights,
            "open_begin": self.open_begin,
            "open_end": self.open_end,
            "x_lengths": shared.get("x_lengths"),
            "y_lengths": shared.get("y_lengths"),
            "n_jobs": self.n_jobs,
        }


def _called_back(function, results, *arguments):
    """function(*arguments) of NumPy arrays with one batch axis, whatever vmap puts before it.

    results : the shapes and dtypes of what it returns, a tuple; arguments : trees of arrays (B, ...).
    """

    def host(*arguments):
        leaves, tree = jax.tree.flatten(arguments)
        arrays = [np.asarray(leaf) for leaf in leaves]
        extra = arrays[0].ndim - ranks[0]
        flat = [a.reshape(-1, *a.shape[1 + extra :]) for a in arrays]
        found = function(*jax.tree.unflatten(tree, flat))
        leading = arrays[0].shape[: 1 + extra]
        return tuple(
            np.ascontiguousarray(array, wanted.dtype).reshape(*leading, *wanted.shape[1:])
            for array, wanted in zip(found, results, strict=True)
        )

    ranks = [leaf.ndim for leaf in jax.tree.leaves(arguments)]
    return jax.pure_callback(host, results, *arguments, vmap_method="broadcast_all")


def _like(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _one_each(x):
    return jax.ShapeDtypeStruct(x.shape[:1], x.dtype)


def _two_sided(y, options):
    return y is not None and options.cost not in ONE_SIDED


def _gradients_like(x, y, options):
    return (_like(x), _like(y)) if _two_sided(y, options) else (_like(x),)


def _padded(gradients, y, options):
    """(grad_x, grad_y), with None where y has none."""
    return gradients if _two_sided(y, options) else (gradients[0], None)


def _times(gradient, upstream):
    """(B, ...) gradients of (B,) values, by what comes from above; None stays."""
    return None if gradient is None else gradient * upstream.reshape(-1, *(1,) * (gradient.ndim - 1))


def _plus(a, b):
    return None if a is None else a + b


# ---- soft-DTW: value, gradients, product of the Hessian; x (B, n, d), y (B, m, d) or None, shared: arrays by name


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _values(options, x, y, shared):
    def host(x, y, shared):
        return (_adapters.value(x, y, divergence=options.divergence, **options.keywords(shared)),)

    return _called_back(host, (_one_each(x),), x, y, shared)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _values_and_gradients(options, x, y, shared):
    def host(x, y, shared):
        found = _adapters.value_and_grad(x, y, divergence=options.divergence, **options.keywords(shared))
        return [array for array in found if array is not None]

    return _called_back(host, (_one_each(x), *_gradients_like(x, y, options)), x, y, shared)


def _products(options, x, y, dx, dy, shared):
    def host(x, y, dx, dy, shared):
        found = _adapters.hvp(x, y, dx, dy, divergence=options.divergence, **options.keywords(shared))
        return [array for array in found if array is not None]

    return _called_back(host, _gradients_like(x, y, options), x, y, dx, dy, shared)


def _values_forward(options, x, y, shared):
    value, *gradients = _values_and_gradients(options, x, y, shared)
    return value, _padded(tuple(gradients), y, options)


def _values_backward(options, gradients, upstream):
    return *(_times(gradient, upstream) for gradient in gradients), None


def _gradients_forward(options, x, y, shared):
    found = _values_and_gradients(options, x, y, shared)
    return found, (x, y, shared, _padded(found[1:], y, options))


def _gradients_backward(options, kept, upstream):
    x, y, shared, gradients = kept
    of_value, *directions = upstream
    dx, dy = _padded(tuple(directions), y, options)
    products = _padded(_products(options, x, y, dx, dy, shared), y, options)
    return *(_plus(_times(g, of_value), h) for g, h in zip(gradients, products, strict=True)), None


_values.defvjp(_values_forward, _values_backward)
_values_and_gradients.defvjp(_gradients_forward, _gradients_backward)


# ---- the expected alignment


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _alignments(options, x, y, shared):
    def host(x, y, shared):
        return (series.soft_dtw_alignment(x, y, **options.keywords(shared))[0],)

    shape = x.shape if y is None else (*x.shape[:2], y.shape[1])
    return _called_back(host, (jax.ShapeDtypeStruct(shape, x.dtype),), x, y, shared)[0]


def _alignments_forward(options, x, y, shared):
    return _alignments(options, x, y, shared), (x, y, shared)


def _alignments_backward(options, kept, cotangent):
    def host(x, y, cotangent, shared):
        found = series.soft_dtw_alignment_vjp(x, y, cotangent, **options.keywords(shared))
        return [array for array in found if array is not None]

    x, y, shared = kept
    gradients = _called_back(host, _gradients_like(x, y, options), x, y, cotangent, shared)
    return *_padded(gradients, y, options), None


_alignments.defvjp(_alignments_forward, _alignments_backward)


# ---- local costs


def _lengths_of(shared):
    return {name: shared[name] for name in ("x_lengths", "y_lengths") if name in shared}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _costs(options, x, y, shared):
    def host(x, y, shared):
        return (costs.cost_matrix(x, y, options.cost, **shared),)

    shape = jax.ShapeDtypeStruct((*x.shape[:2], y.shape[1]), x.dtype)
    return _called_back(host, (shape,), x, y, shared)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _costs_vjp(options, x, y, G, shared):
    def host(x, y, G, shared):
        return [array for array in costs.cost_vjp(x, y, G, options.cost, **shared) if array is not None]

    return _called_back(host, _gradients_like(x, y, options), x, y, G, shared)


def _costs_forward(options, x, y, shared):
    return _costs(options, x, y, shared), (x, y, shared)


def _costs_backward(options, kept, G):
    x, y, shared = kept
    return *_padded(_costs_vjp(options, x, y, G, shared), y, options), None


def _costs_vjp_forward(options, x, y, G, shared):
    return _costs_vjp(options, x, y, G, shared), (x, y, G, shared)


def _costs_vjp_backward(options, kept, directions):
    def host(x, y, G, dx, dy, shared):
        bent = costs.cost_hvp(x, y, G, dx, dy, options.cost, **shared)
        return [*(b for b in bent if b is not None), costs.cost_jvp(x, y, dx, dy, options.cost, **shared)]

    x, y, G, shared = kept
    results = *_gradients_like(x, y, options), _like(G)
    *bent, moved = _called_back(host, results, x, y, G, *_padded(tuple(directions), y, options), shared)
    return *_padded(tuple(bent), y, options), moved, None


_costs.defvjp(_costs_forward, _costs_backward)
_costs_vjp.defvjp(_costs_vjp_forward, _costs_vjp_backward)


# ---- functions of alignment


def _ready(x, y, cost, x_lengths, y_lengths, window):
    """-> x (B, n, d), y (B, m, d) of one dtype, or labels (B, m, 1), or None; what is shared; whether it was single."""
    x = jnp.asarray(x)
    if cost == "precomputed":
        if y is not None:
            raise ValueError("y is given, but cost 'precomputed' takes the costs as x; expected y=None")
        single = x.ndim == 2
        x = x[None] if single else x
    elif y is None:
        raise wrong_type(y, "y", "an array, as only cost 'precomputed' goes without")
    else:
        y = jnp.asarray(y)
        single = x.ndim < 3
        x = _batched(x)
        y = y.reshape(len(x), -1, 1) if cost == "nll" else _batched(y)
        if len(x) != len(y):
            raise ValueError(f"x holds {len(x)} series, y {len(y)}; paired item by item they need equal numbers")
    dtype = x.dtype if y is None or cost == "nll" else jnp.promote_types(x.dtype, y.dtype)
    dtype = dtype if dtype in (jnp.float32, jnp.float64) else jnp.promote_types(dtype, jnp.float32)
    x = x.astype(dtype)
    y = y if y is None or cost == "nll" else y.astype(dtype)
    shared = {}
    for name, lengths in (("x_lengths", x_lengths), ("y_lengths", y_lengths)):
        if lengths is not None:
            shared[name] = jnp.asarray(lengths).reshape(-1)
    if not (window is None or isinstance(window, int)):
        n, m = x.shape[1], x.shape[2] if y is None else y.shape[1]
        shared["mask"] = jnp.broadcast_to(jnp.asarray(window), (len(x), n, m))
    return x, y, shared, single


def _batched(array):
    if array.ndim == 1:
        array = array[:, None]
    return array[None] if array.ndim == 2 else array


def _constant(gamma):
    return not isinstance(gamma, jax.Array)


def _over_costs(options, gamma, x, y, prior, shared):
    """The same problem on C / gamma, without series and prior; -> options, C, what is shared, gamma."""
    C = x if y is None else _costs(options, x, y, _lengths_of(shared))
    C = C if prior is None else C + jnp.asarray(prior, C.dtype)
    gamma = jnp.asarray(gamma, C.dtype)
    forbidden = jnp.isinf(C)
    C = jnp.where(forbidden, jnp.inf, jnp.where(forbidden, 0, C) / gamma)
    return options._replace(gamma=1.0, cost="precomputed", divergence=False), C, shared, gamma


def soft_dtw_loss(
    x: ArrayLike,
    y: ArrayLike | None = None,
    gamma: ArrayLike = 1.0,
    *,
    divergence: bool = False,
    cost: CostName | None = None,
    reduction: Reduction = "mean",
    normalize: Normalization | None = None,
    window: int | ArrayLike | None = None,
    step_weights: StepWeights = UNIT_WEIGHTS,
    prior: ArrayLike | None = None,
    regularizer: Regularizer = "entropy",
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> jax.Array:
    """Soft-DTW [1]_, or its divergence [2]_, of a batch of series.

    Parameters
    ----------
    x, y : arrays of shape (B, n, d) and (B, m, d), or two single series (n, d) and (m, d)
        For cost "nll" log-probabilities and integer labels (B, m); for "precomputed" the costs, and None.
    gamma : float > 0, or JAX scalar, default 1.0
        Smoothing; a JAX scalar has derivatives and needs no new compilation, but tables of costs.
    divergence : bool
        Whether to take off half of what each series loses against itself.
    cost : str, optional
        "sqeuclidean" by default, "half_sqeuclidean" for the divergence.
    reduction : {"mean", "sum", "none"}
        Over the batch.
    normalize : {None, "n", "m", "n+m", "path"}
        What each value is divided by; "path" is the expected weighted path length, a constant in derivatives.
    window, step_weights, regularizer, open_begin, open_end, x_lengths, y_lengths, n_jobs
        As for `sdtwkit.soft_dtw`.
    prior : array of shape (n, m) or (B, n, m), optional
        Added to the costs; it has derivatives.

    Returns
    -------
    loss : scalar, or array of shape (B,) for reduction "none"
        float32 where x and y are, or of half precision.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed; what only the values of arrays show comes as an error of JAX's callback.

    References
    ----------
    .. [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.
    .. [2] Blondel, Mensch and Vert, Differentiable divergences between time series, AISTATS 2021.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sdtwkit.jax import soft_dtw_loss
    >>> x, y = jnp.zeros((2, 4, 3)), jnp.ones((2, 5, 3))
    >>> loss, gradient = jax.value_and_grad(soft_dtw_loss)(x, y, 0.1)
    >>> round(float(loss), 2), gradient.shape
    (14.86, (2, 4, 3))
    """
    divergence, cost = _adapters.check_loss(divergence, cost, prior, normalize, reduction)
    options = _options(gamma, cost, regularizer, window, step_weights, open_begin, open_end, n_jobs, divergence)
    x, y, shared, _ = _ready(x, y, cost, x_lengths, y_lengths, window)
    if divergence and not _constant(gamma):
        lengths = shared.get("x_lengths"), shared.get("y_lengths")
        terms = [
            _values_over_costs(options, gamma, *pair, None, _sides(shared, *sides), False)
            for pair, sides in (((x, y), lengths), ((x, x), lengths[:1] * 2), ((y, y), lengths[1:] * 2))
        ]
        values = terms[0] - 0.5 * (terms[1] + terms[2])
    elif normalize == "path" or prior is not None or not _constant(gamma):
        values = _values_over_costs(options, gamma, x, y, prior, shared, normalize == "path")
    else:
        values = _values(options, x, y, shared)
    if normalize in ("n", "m", "n+m"):
        n = shared.get("x_lengths", x.shape[1])
        m = shared.get("y_lengths", x.shape[2] if y is None else y.shape[1])
        values = values / {"n": n, "m": m, "n+m": n + m}[normalize]
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


def _options(gamma, cost, regularizer, window, step_weights, open_begin, open_end, n_jobs, divergence=False):
    if not isinstance(cost, str):
        raise TypeError(f"cost is {cost!r}; expected the name of a cost, which is what compiled code can take")
    costs.get_cost(cost)
    radius = window if isinstance(window, int) else None
    number = check_smoothing(gamma, regularizer) if _constant(gamma) else 1.0
    return _Options(
        number, cost, regularizer, radius, tuple(step_weights), open_begin, open_end, n_jobs, bool(divergence)
    )


def _sides(shared, x_lengths, y_lengths):
    others = {name: array for name, array in shared.items() if name == "mask"}
    lengths = {"x_lengths": x_lengths, "y_lengths": y_lengths}
    return others | {name: array for name, array in lengths.items() if array is not None}


def _values_over_costs(options, gamma, x, y, prior, shared, by_path):
    options, C, shared, gamma = _over_costs(options, gamma, x, y, prior, shared)
    if not by_path:
        return gamma * _values(options, C, None, shared)
    values, H = _values_and_gradients(options, C, None, shared)
    return gamma * values / jax.lax.stop_gradient(H).sum((1, 2))


def soft_alignment(
    x: ArrayLike,
    y: ArrayLike | None = None,
    gamma: ArrayLike = 1.0,
    *,
    cost: CostName = "sqeuclidean",
    window: int | ArrayLike | None = None,
    step_weights: StepWeights = UNIT_WEIGHTS,
    prior: ArrayLike | None = None,
    regularizer: Regularizer = "entropy",
    open_begin: OpenEnds = False,
    open_end: OpenEnds = False,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> jax.Array:
    """The expected alignment of a batch of series, a differentiable array.

    Parameters
    ----------
    x, y, gamma, cost, window, step_weights, prior, regularizer, open_begin, open_end, x_lengths, y_lengths, n_jobs
        As for `soft_dtw_loss`; cost is "sqeuclidean" by default.

    Returns
    -------
    E : array of shape (B, n, m), or (n, m) for two single series

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_loss`.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sdtwkit.jax import soft_alignment
    >>> soft_alignment(jnp.array([0.0, 0.1, 1.0]), jnp.array([0.0, 1.0]), 0.1).round(2).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    options = _options(gamma, cost, regularizer, window, step_weights, open_begin, open_end, n_jobs)
    x, y, shared, single = _ready(x, y, cost, x_lengths, y_lengths, window)
    if prior is not None or not _constant(gamma):
        options, x, shared, _ = _over_costs(options, gamma, x, y, prior, shared)
        y = None
    E = _alignments(options, x, y, shared)
    return E[0] if single else E


# ---- connectionist temporal classification


def _ctc_call(method, settings, log_probs, targets, shared, *direction):
    ctc = CTC(settings[0], n_jobs=settings[1])
    lengths = shared.get("input_lengths"), shared.get("target_lengths")
    return getattr(ctc, method)(log_probs, targets, *direction, *lengths)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ctc(settings, log_probs, targets, shared):
    def host(*arrays):
        return (_ctc_call("value", settings, *arrays),)

    return _called_back(host, (_one_each(log_probs),), log_probs, targets, shared)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ctc_and_gradient(settings, log_probs, targets, shared):
    def host(*arrays):
        return _ctc_call("value_and_grad", settings, *arrays)

    return _called_back(host, (_one_each(log_probs), _like(log_probs)), log_probs, targets, shared)


def _ctc_forward(settings, log_probs, targets, shared):
    return _ctc_and_gradient(settings, log_probs, targets, shared)


def _ctc_backward(settings, gradient, upstream):
    return _times(gradient, upstream), None, None


def _ctc_gradient_forward(settings, log_probs, targets, shared):
    found = _ctc_and_gradient(settings, log_probs, targets, shared)
    return found, (log_probs, targets, shared, found[1])


def _ctc_gradient_backward(settings, kept, upstream):
    def host(log_probs, targets, shared, direction):
        return (_ctc_call("hvp", settings, log_probs, targets, shared, direction)[1],)

    log_probs, targets, shared, gradient = kept
    (product,) = _called_back(host, (_like(log_probs),), log_probs, targets, shared, upstream[1])
    return _times(gradient, upstream[0]) + product, None, None


_ctc.defvjp(_ctc_forward, _ctc_backward)
_ctc_and_gradient.defvjp(_ctc_gradient_forward, _ctc_gradient_backward)


def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    *,
    blank: int = 0,
    reduction: Reduction = "mean",
    n_jobs: int | None = None,
) -> jax.Array:
    """Connectionist temporal classification of a batch.

    Parameters
    ----------
    log_probs : array of shape (B, T, K)
    targets : int array of shape (B, M)
    input_lengths, target_lengths : int arrays of shape (B,), optional
    blank : int, default 0
    reduction : {"mean", "sum", "none"}
        Over the samples.
    n_jobs : int, optional
        Threads over the samples.

    Returns
    -------
    loss : scalar, or array of shape (B,) for reduction "none"
        +inf, with gradient 0, where no path is feasible.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_loss`.

    References
    ----------
    Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sdtwkit.jax import ctc_loss
    >>> round(float(ctc_loss(jax.nn.log_softmax(jnp.zeros((1, 2, 2))), jnp.array([[1]]))), 4)  # -log 3/4
    0.2877
    """
    check_choice(reduction, "reduction", REDUCTIONS)
    log_probs, targets = jnp.asarray(log_probs), jnp.asarray(targets)
    if log_probs.dtype not in (jnp.float32, jnp.float64):
        log_probs = log_probs.astype(jnp.float32)
    lengths = {"input_lengths": input_lengths, "target_lengths": target_lengths}
    shared = {name: jnp.asarray(array).reshape(-1) for name, array in lengths.items() if array is not None}
    values = _ctc((blank, n_jobs), log_probs, targets, shared)
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


# ---- continuous warps


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _warps(settings, inputs, shared):
    """phi (B, n). settings : options in JSON, n_jobs; inputs : {name: (B, ...)}, those with gradients."""

    def host(inputs, shared):
        found = _adapters.warp({**_WARP_DEFAULTS, **inputs, **shared}, *settings)
        return (np.array(found.values),)

    y = inputs["y"]
    n = (shared["warp_times"] if "warp_times" in shared else y).shape[1]
    return _called_back(host, (jax.ShapeDtypeStruct((y.shape[0], n), y.dtype),), inputs, shared)[0]


_WARP_DEFAULTS = dict.fromkeys(_adapters.WARP_INPUTS)


def _warps_forward(settings, inputs, shared):
    return _warps(settings, inputs, shared), (inputs, shared)


def _warps_backward(settings, kept, cotangent):
    inputs, shared = kept

    def host(inputs, shared, cotangent):
        found = _adapters.warp({**_WARP_DEFAULTS, **inputs, **shared}, *settings)
        gradients = dict(zip(_adapters.WARP_INPUTS, _adapters.warp_gradients(found, cotangent), strict=True))
        return [np.zeros_like(inputs[name]) if gradients[name] is None else gradients[name] for name in sorted(inputs)]

    results = tuple(_like(inputs[name]) for name in sorted(inputs))
    gradients = _called_back(host, results, inputs, shared, cotangent)
    return dict(zip(sorted(inputs), gradients, strict=True)), None


_warps.defvjp(_warps_forward, _warps_backward)


def dec_dtw(
    x: ArrayLike,
    y: ArrayLike,
    reg: ArrayLike = 0.1,
    *,
    band: Any = None,
    slope_bounds: Any = (0.0, math.inf),
    x_times: ArrayLike | None = None,
    y_times: ArrayLike | None = None,
    warp_times: ArrayLike | None = None,
    n_values: int | None = None,
    subsequence: bool = False,
    loss: WarpLoss = "l2",
    reg_loss: WarpLoss = "l2",
    target_slope: Any = None,
    x_lengths: Lengths = None,
    y_lengths: Lengths = None,
    n_jobs: int | None = None,
) -> jax.Array:
    """Continuous warps of a batch of signals, a differentiable array.

    Parameters
    ----------
    x, y : arrays of shape (B, m, d) and (B, n, d), or two single signals (m, d) and (n, d), or (m,) and (n,)
        x is warped.
    reg : float >= 0 or array of shape (n - 1,) or (B, n - 1), default 0.1
        Smoothness of the warp; it has derivatives.
    band : None, float >= 0, or pair of arrays of shape (n,) or (B, n)
        Half-width, or bounds, which have derivatives.
    slope_bounds : pair of floats or arrays of shape (n - 1,) or (B, n - 1)
        They have derivatives.
    x_times, y_times, warp_times : arrays of shape (m,), (n,), (n,), or with an axis for the batch in front, optional
    n_values, subsequence, loss, reg_loss, target_slope, x_lengths, y_lengths, n_jobs
        As for `sdtwkit.dec_dtw`.

    Returns
    -------
    phi : array of shape (B, n), or (n,)
        Times in x at the warp times.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_loss`.

    References
    ----------
    Xu, Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment paths, ICLR
    2023.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sdtwkit.jax import dec_dtw
    >>> t = jnp.linspace(0, 1, 50)
    >>> def error(reg):
    ...     return jnp.mean((dec_dtw(jnp.sin(6 * t), jnp.sin(6 * t**2), reg) - t**2) ** 2)
    >>> value, slope = jax.value_and_grad(error)(0.1)  # less smoothness would be nearer to the truth
    >>> bool(value < 0.01), bool(slope > 0)
    (True, True)
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    single = x.ndim < 3
    x, y = _batched(x), _batched(y)
    dtype = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
    rows = y.shape[1] if warp_times is None else np.shape(warp_times)[-1]
    bounds = isinstance(band, (tuple, list))
    numbers = {"reg": (reg, rows - 1), "slope_lower": (slope_bounds[0], rows - 1)}
    numbers |= {"slope_upper": (slope_bounds[1], rows - 1)}
    if bounds:
        numbers |= {"band_lower": (band[0], rows), "band_upper": (band[1], rows)}
    inputs = {"x": x.astype(dtype), "y": y.astype(dtype)}
    inputs |= {
        name: jnp.broadcast_to(jnp.asarray(value, dtype), (len(x), size)) for name, (value, size) in numbers.items()
    }
    times = {"x_times": x_times, "y_times": y_times, "warp_times": warp_times}
    shared = {
        name: jnp.broadcast_to(jnp.asarray(value), (len(x), np.shape(value)[-1]))
        for name, value in times.items()
        if value is not None
    }
    lengths = {"x_lengths": x_lengths, "y_lengths": y_lengths}
    shared |= {name: jnp.asarray(value).reshape(-1) for name, value in lengths.items() if value is not None}
    options = {
        "n_values": n_values,
        "subsequence": subsequence,
        "loss": loss,
        "reg_loss": reg_loss,
        "target_slope": target_slope,
    }
    if band is not None and not bounds:
        options["band"] = band
    phi = _warps((json.dumps(options), n_jobs), inputs, shared)
    return phi[0] if single else phi


# ---- chains


def _chain_dp(settings):
    gamma, regularizer, n_jobs = settings
    return ChainDP(gamma, regularizer=regularizer, n_jobs=n_jobs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _marginals(settings, theta, shared):
    def host(theta, shared):
        return (_chain_dp(settings).marginals(theta, **shared),)

    return _called_back(host, (_like(theta),), theta, shared)[0]


def _marginals_forward(settings, theta, shared):
    return _marginals(settings, theta, shared), (theta, shared)


def _marginals_backward(settings, kept, cotangent):
    def host(theta, shared, cotangent):
        return (_chain_dp(settings).marginals_vjp(theta, cotangent, **shared),)

    theta, shared = kept
    return _called_back(host, (_like(theta),), theta, shared, cotangent)[0], None


_marginals.defvjp(_marginals_forward, _marginals_backward)


def chain_marginals(
    theta: Any,
    gamma: float = 1.0,
    *,
    regularizer: Regularizer = "entropy",
    lengths: Lengths = None,
    n_jobs: int | None = None,
) -> jax.Array:
    """Marginals of the smoothed law of state sequences, a differentiable array: structured attention.

    Parameters
    ----------
    theta : array of shape (B, T, S, S) or (T, S, S), or pair of arrays (unary, transition)
        theta[t, i, j] scores moving into state i from j; unary is (B, T, S) or (T, S), transition (S, S). Here a pair
        is expanded.
    gamma : float > 0, or JAX scalar, default 1.0
        Smoothing; a JAX scalar has derivatives.
    regularizer : {"entropy", "l2", None}
    lengths : int array of shape (B,), optional
        True numbers of steps.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    E : array of the shape of theta, or of the unary of the pair
        Probabilities of moves, or of states.

    Raises
    ------
    TypeError, ValueError
        As for `soft_dtw_loss`.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sdtwkit.jax import chain_marginals
    >>> unary = jnp.array([[0.0, 0.5], [0.0, 2.0]])
    >>> chain_marginals((unary, jnp.zeros((2, 2))), regularizer="l2").tolist()
    [[0.25, 0.75], [0.0, 1.0]]
    """
    pair = isinstance(theta, (tuple, list))
    theta = _expanded(*theta) if pair else jnp.asarray(theta)
    single = theta.ndim == 3
    theta = theta[None] if single else theta
    theta = theta.astype(jnp.promote_types(theta.dtype, jnp.float32))
    if not _constant(gamma):  # E(theta; gamma) = E(theta / gamma; 1)
        forbidden = jnp.isinf(theta)
        theta = jnp.where(forbidden, theta, jnp.where(forbidden, 0, theta) / gamma)
    shared = {} if lengths is None else {"lengths": jnp.asarray(lengths).reshape(-1)}
    number = check_smoothing(gamma, regularizer) if _constant(gamma) else 1.0
    E = _marginals((number, regularizer, n_jobs), theta, shared)
    E = E.sum(axis=-1) if pair else E
    return E[0] if single else E


def _expanded(unary, transition):
    """`sdtwkit.dp.chain_potentials`, in operations of JAX."""
    unary, transition = jnp.asarray(unary), jnp.asarray(transition)
    theta = unary[..., None] + transition
    from_the_first = jnp.arange(len(transition)) == 0
    begin = jnp.where(from_the_first, unary[..., :1, :, None], -jnp.inf)
    return jnp.concatenate([begin, theta[..., 1:, :, :]], axis=-3)
