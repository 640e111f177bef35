"""The network: two GRUs with the same parameters that drive each other, its states, its loss and the loss's gradient.

After Compagnon, Lefebvre, Duffner and Garcia (2021), who learn a metric between sequences as the synchronisation of two
identical recurrent networks through one more gate. The equations are a reconstruction from synchronisation theory, in
section "Notes" of `coupled_gru_forward`; the kernels' header gru.h states them again, cell by cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .. import _arrays, _backend, _words
from .._typing import AfterEnd, Array, Coupling, Lengths

COUPLINGS = ("none", "pre", "leak", "add")  # by their numbers in the kernels
AFTER_END = ("off", "hold")
EPSILON = 1e-12  # under the root of the distance, so that equal states have a gradient


def coupled_gru_forward(
    params: Mapping[str, ArrayLike],
    x1: ArrayLike,
    x2: ArrayLike,
    lengths1: Lengths = None,
    lengths2: Lengths = None,
    *,
    coupling: Coupling = "pre",
    kappa: float = 0.5,
    after_end: AfterEnd = "off",
) -> tuple[Array, Array]:
    """States and coupling gates of two GRUs, one for each sequence of a pair, that drive each other.

    Parameters
    ----------
    params : dict of arrays
        W (3H, d), U (3H, H), bi and bh (3H,), rows in the order r, z, n: what `torch.nn.GRU` calls weight_ih_l0,
        weight_hh_l0, bias_ih_l0 and bias_hh_l0. Of the coupling gate Wc (H, d), Uc and Vc (H, H), bc (H,), which may
        be absent where `coupling` is "none".
    x1, x2 : array of shape (B, T, d), or list of B arrays (T_b, d)
        Sequences, paired item by item.
    lengths1, lengths2 : array of B integers, optional
        True lengths; beyond them a sequence counts as 0, whatever the array holds, and its state stays.
    coupling : {"pre", "leak", "add", "none"}
        Where the coupling k enters, see Notes; "none" is the siamese network.
    kappa : float >= 0, default 0.5
        Strength; at 1/2 an open gate moves both states of "pre" to their mean.
    after_end : {"off", "hold"}
        Whether the coupling ends with the shorter sequence, so that padding cannot matter, or the last state of the
        sequence that has ended goes on driving the other.

    Returns
    -------
    states : array of shape (2, B, T, H)
        Of float32 where the sequences and all parameters are, else of float64. T is the longest of a list.
    gates : array of shape (2, B, T, H)
        c times act: with "off", 0 beyond the common part; 0 for "none".

    Raises
    ------
    ValueError, TypeError
        For parameters of other shapes than these, sequences that do not fit, unknown names, numbers not finite. CuPy
        arrays, the parameters among them, are computed on their device and give CuPy arrays; a number that is not
        finite, or a length on the device out of range, makes the states of its pair NaN there.

    See Also
    --------
    coupled_gru_loss_and_grad : A loss of the last states and its gradient.
    CoupledGRU, SiameseGRU : Metrics between sequences, learned with it.

    Notes
    -----
    With own state h, the partner's g, both from before the step, and act_t = 1 where both sequences last or `after_end`
    is "hold", else 0::

        c  = sigma(Wc x + Uc h + Vc g + bc),  k = kappa act_t c (g - h)
        hh = h + k for "pre", else h
        r  = sigma(W_r x + bi_r + U_r hh + bh_r),  z = sigma(W_z x + bi_z + U_z hh + bh_z)
        n  = tanh(W_n x + bi_n + r (U_n hh + bh_n))
        h  <- z hh + (1-z) n ("pre"),  z (h+k) + (1-z) n ("leak"),  z h + (1-z) n + k ("add")

    The coupling vanishes where the states agree and does not depend on the order of the pair. It is named after [1]_,
    of which it is a reconstruction.

    References
    ----------
    .. [1] Compagnon, Lefebvre, Duffner and Garcia, Sequence metric learning as synchronization of recurrent neural
       networks, IJCNN 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.metric_learning import coupled_gru_forward
    >>> rng = np.random.default_rng(0)
    >>> H, d = 3, 2
    >>> shapes = {"W": (9, 2), "U": (9, 3), "bi": 9, "bh": 9, "Wc": (3, 2), "Uc": (3, 3), "Vc": (3, 3), "bc": 3}
    >>> params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    >>> x1, x2 = rng.normal(size=(2, 1, 50, 2))
    >>> states, gates = coupled_gru_forward(params, x1, x2, [50], [40])
    >>> states.shape, bool((gates[:, :, 40:] == 0).all())
    ((2, 1, 50, 3), True)
    """
    network = Network.of(params, coupling, kappa, after_end)
    x1, x2 = _read_pairs(network, x1, x2, lengths1, lengths2)
    network, x1, x2 = _of_one_dtype(network, x1, x2)
    if _arrays.on_device(x1.data):
        with x1.data.device:
            done = run_on_device(network, x1, x2, whole=network.hold and network.coupled)
            return done.states, done.gates
    T = max(x1.n_rows, x2.n_rows)
    batch = Batch.of(network, x1, x2, steps=T if network.hold and network.coupled else None)
    batch.forward()
    states, gates = _by_pairs(batch.states[:, 1:], batch.order, T), _by_pairs(batch.gates(), batch.order, T)
    states[:, :, batch.n_steps :] = states[:, :, batch.n_steps - 1, None]
    if not np.isfinite(states[:, :, -1]).all():
        raise _overflow(states.dtype)
    return states, gates


def coupled_gru_loss_and_grad(
    params: Mapping[str, ArrayLike],
    x1: ArrayLike,
    x2: ArrayLike,
    same: ArrayLike,
    lengths1: Lengths = None,
    lengths2: Lengths = None,
    *,
    coupling: Coupling = "pre",
    kappa: float = 0.5,
    after_end: AfterEnd = "off",
    margin: float = 2.0,
    beta: float = 0.0,
) -> tuple[float, dict[str, Array]]:
    """Contrastive loss of the last states of a batch of pairs, and its gradient by backpropagation through time.

    With e_t the difference of the two states, e the last one and d = sqrt(||e||^2 + 1e-12), the loss is the mean over
    pairs of ``1/2 ||e||^2 + beta mean_t ||e_t||^2`` for same pairs (the mean is over common steps), and of
    ``1/2 max(0, margin - d)^2`` for different ones.

    Parameters
    ----------
    params, x1, x2, lengths1, lengths2, coupling, kappa, after_end
        As for `coupled_gru_forward`.
    same : array of shape (B,)
        1 (or True) for pairs that belong together, 0 for those that do not.
    margin : float > 0
        Distance from which different pairs cost nothing.
    beta : float >= 0, default 0
        Weight of the distance along the way.

    Returns
    -------
    loss : float
    gradient : dict of arrays
        "x1" and "x2", in the form of the arguments, 0 in the padding, and every parameter that `params` has.

    Raises
    ------
    ValueError, TypeError
        As `coupled_gru_forward`, and for `same` that is not 0 or 1. Of CuPy arrays the loss is an array, too, of shape
        () and float64; what they cannot raise for, `same` on the device among it, makes it NaN.

    See Also
    --------
    coupled_gru_forward : The model.

    References
    ----------
    Compagnon, Lefebvre, Duffner and Garcia, Sequence metric learning as synchronization of recurrent neural networks,
    IJCNN 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.metric_learning import coupled_gru_loss_and_grad
    >>> rng = np.random.default_rng(0)
    >>> params = {"W": rng.normal(size=(9, 2)), "U": rng.normal(size=(9, 3)), "bi": np.zeros(9), "bh": np.zeros(9)}
    >>> x1, x2 = rng.normal(size=(2, 4, 50, 2))
    >>> loss, gradient = coupled_gru_loss_and_grad(params, x1, x2, [1, 0, 0, 1], coupling="none")
    >>> sorted(gradient)
    ['U', 'W', 'bh', 'bi', 'x1', 'x2']
    """
    network = Network.of(params, coupling, kappa, after_end)
    margin, beta = _words.check_positive(margin, "margin"), _words.check_nonnegative(beta, "beta")
    x1, x2 = _read_pairs(network, x1, x2, lengths1, lengths2)
    same = _check_same(same, len(x1), _arrays.on_device(x1.data))
    network, x1, x2 = _of_one_dtype(network, x1, x2)
    with _arrays.device_of(x1.data):
        loss, gradient, by_x = loss_and_grad(network, x1, x2, same, margin, beta)
        by_x1, by_x2 = by_x()
        zeros = _arrays.namespace(x1.data).zeros
        absent = {name: zeros(np.shape(params[name]), network.dtype) for name in params if name not in gradient}
    return loss, {"x1": by_x1, "x2": by_x2} | {name: (gradient | absent)[name] for name in params}


def loss_and_grad(network, x1, x2, same, margin, beta=0.0):
    """-> loss, {parameter: gradient}, a function that gives the gradients of x1 and x2 in their forms.

    x1, x2 : Series of the network's dtype. On their device the loss stays, too.
    """
    if _arrays.on_device(x1.data):
        shares, by_x, *by_weights = run_on_device(network, x1, x2).backward(same, margin, beta)
        loss, gradient = shares.sum(), network.unstacked(*by_weights)

        def of(series, table):
            return series.like(series.unpadded(table[:, : series.n_rows]))

    else:
        batch, loss, cotangent, sync = _run(network, x1, x2, same, margin, beta)
        gradient = batch.backward(np.stack([cotangent, -cotangent]), sync)
        by_x = batch.x_gradient

        def of(series, table):
            return _like(series, table, batch.order)

    return loss, gradient, lambda: tuple(of(*side) for side in zip((x1, x2), by_x, strict=True))


def loss_of(network, x1, x2, same, margin, beta=0.0):
    """The loss alone."""
    if _arrays.on_device(x1.data):  # which knows it with its gradients only
        return loss_and_grad(network, x1, x2, same, margin, beta)[0]
    return _run(network, x1, x2, same, margin, beta)[1]


def _run(network, x1, x2, same, margin, beta):
    """-> the batch after its forward pass, and what `_contrastive` says of it."""
    batch = Batch.of(network, x1, x2)
    batch.forward()
    loss, cotangent, sync = _contrastive(batch, same[batch.order], margin, beta)
    if not np.isfinite(loss):
        raise _overflow(network.dtype)
    return batch, loss, cotangent, sync


def _contrastive(batch, same, margin, beta):
    """-> loss, its derivative by the last state of side 1 (B, H), and the factors (B,) of e_t at common steps, or None.

    `same` in the order of the batch; sums are taken in float64.
    """
    B = len(same)
    e = batch.states[0, -1].astype(np.float64) - batch.states[1, -1]
    square = (e * e).sum(axis=1)
    d = np.sqrt(square + EPSILON)
    short = np.maximum(0.0, margin - d)
    loss = 0.5 * np.where(same, square, short**2).sum() / B
    cotangent = np.where(same, 1.0, -short / d)[:, None] * e / B
    if not beta:
        return float(loss), cotangent.astype(batch.states.dtype), None
    common = batch.lengths.min(axis=0)
    along = batch.errors_squared().astype(np.float64)  # (steps, B)
    along[np.arange(len(along))[:, None] >= common] = 0
    loss += beta * (same * along.sum(axis=0) / common).sum() / B
    sync = 2 * beta * same / (B * common)
    return float(loss), cotangent.astype(batch.states.dtype), sync.astype(batch.states.dtype)


# ---- on a device


def run_on_device(network, x1, x2, whole=False):
    """Pairs of CuPy arrays after their forward pass, see _cuda/gru.py."""
    arrays, T = _arrays.namespace(x1.data), max(x1.n_rows, x2.n_rows)
    x = arrays.zeros((2, len(x1), T, network.channels), network.dtype)
    for out, series in zip(x, (x1, x2), strict=True):
        out[:, : series.n_rows] = series.padded(series.data)
    return _backend.gru_on_device(network, x, _lengths_on_device(x1), _lengths_on_device(x2), whole)


def _lengths_on_device(series):
    """Lengths; of those that came on a device, 0 for what exceeds the series, as the kernels answer that with NaN."""
    lengths = series.lengths
    if not _arrays.on_device(lengths):
        return lengths
    rows = [shape[0] for shape in series.shape] if series.form == "list" else [series.n_rows] * len(series)
    arrays = _arrays.namespace(lengths)
    with lengths.device:
        return arrays.where(lengths <= arrays.asarray(np.array(rows, np.int64)), lengths, 0)


# ---- the network


@dataclass(eq=False)
class Network:
    """Parameters and options, checked; weights stacked as the kernels multiply them (shapes in gru.h)."""

    coupling: str
    kappa: float
    hold: bool
    input_weights: np.ndarray  # (3 H or 4 H, d): Wc, W_n, W_r, W_z
    bias: np.ndarray  # (4 H or 5 H,): bc, bi_n, bi_r + bh_r, bi_z + bh_z, bh_n
    state_weights: np.ndarray  # (3 H or 5 H, H): U_r, U_z, U_n, Uc, Vc

    @classmethod
    def of(cls, params, coupling, kappa, after_end):
        _words.check_choice(coupling, "coupling", COUPLINGS)
        _words.check_choice(after_end, "after_end", AFTER_END)
        kappa, p = _words.check_nonnegative(kappa, "kappa"), _check_parameters(params, coupling != "none")
        with _arrays.device_of(p["U"]):
            return cls.stacked(p, coupling, kappa, after_end == "hold")

    @classmethod
    def stacked(cls, p, coupling, kappa, hold):
        """From parameters of one dtype and of the right shapes."""
        H = p["U"].shape[1]
        r, z, n = (slice(k * H, (k + 1) * H) for k in range(3))
        W, U, bi, bh = p["W"], p["U"], p["bi"], p["bh"]
        inputs, bias, state = [W[n], W[r], W[z]], [bi[n], bi[r] + bh[r], bi[z] + bh[z], bh[n]], [U]
        if coupling != "none":
            inputs, bias, state = [p["Wc"], *inputs], [p["bc"], *bias], [U, p["Uc"], p["Vc"]]
        concatenate = _arrays.namespace(U).concatenate
        return cls(coupling, kappa, hold, concatenate(inputs), concatenate(bias), concatenate(state))

    @property
    def coupled(self):
        return self.coupling != "none"

    @property
    def dtype(self):
        return self.bias.dtype

    @property
    def hidden(self):
        return self.state_weights.shape[1]

    @property
    def channels(self):
        return self.input_weights.shape[1]

    def astype(self, dtype):
        weights = (a.astype(dtype, copy=False) for a in (self.input_weights, self.bias, self.state_weights))
        return Network(self.coupling, self.kappa, self.hold, *weights)

    def unstacked(self, inputs, bias, state):
        """{parameter: gradient} from gradients of the stacked weights."""
        H, concatenate = self.hidden, _arrays.namespace(bias).concatenate
        gate = {}
        if self.coupled:
            gate = {"Wc": inputs[:H], "Uc": state[3 * H : 4 * H], "Vc": state[4 * H :], "bc": bias[:H]}
            inputs, bias = inputs[H:], bias[H:]
        n, r, z, state_n = (bias[k * H : (k + 1) * H] for k in range(4))
        gradient = {"W": concatenate([inputs[H:], inputs[:H]]), "U": state[: 3 * H]}
        return gradient | {"bi": concatenate([r, z, n]), "bh": concatenate([r, z, state_n])} | gate


@dataclass(eq=False)
class Batch:
    """Pairs side by side, longest first, and the arrays of their passes as the kernels want them (shapes in gru.h)."""

    network: Network
    order: np.ndarray  # (B,) of the pairs as the caller gave them
    x: np.ndarray  # (2 or 1, steps, B, d), 0 beyond the lengths
    lengths: np.ndarray  # (2 or 1, B) int64
    active: np.ndarray  # (steps,) int64: pairs that still run
    level: int = field(default_factory=_backend.level)

    @classmethod
    def of(cls, network, *sides, steps=None):
        """`sides` : two Series of equal size, or one if the network is not coupled; `steps` : run so many at least."""
        lengths = np.stack([series.lengths for series in sides])
        last = lengths.max(axis=0) if steps is None else np.full(lengths.shape[1], steps)
        order = np.argsort(-last, kind="stable")
        T = int(last[order[0]])
        active = np.searchsorted(-last[order], -np.arange(T), side="left")  # last > t
        x = np.zeros((len(sides), T, len(order), network.channels), network.dtype)
        for out, series in zip(x, sides, strict=True):
            _lay_out(out, series, order)
        return cls(network, order, x, np.ascontiguousarray(lengths[:, order]), active.astype(np.int64))

    @property
    def coupling(self):
        return COUPLINGS.index(self.network.coupling)

    @property
    def n_steps(self):
        return self.x.shape[1]

    @property
    def kappa(self):
        return self.network.kappa

    @property
    def hold(self):
        return self.network.hold

    @property
    def input_weights(self):
        return self.network.input_weights

    @property
    def bias(self):
        return self.network.bias

    @property
    def state_weights(self):
        return self.network.state_weights

    def forward(self):
        """Fill `states`, (sides, steps + 1, B, H) with the zeros of the start."""
        (sides, T, B, _), H, dtype = self.x.shape, self.network.hidden, self.network.dtype
        self.states = np.empty((sides, T + 1, B, H), dtype)
        self.states[:, 0] = 0
        self.rows = np.empty((sides, T, B, len(self.bias)), dtype)
        self.moved = np.empty((sides, T if self.network.coupling == "pre" else 1, B, H), dtype)
        self.scratch = np.empty((sides, B, len(self.state_weights)), dtype)
        _backend.gru_forward(self)

    def gates(self):
        """(2, steps, B, H) gates of the coupling times act."""
        if not self.network.coupled:
            return np.zeros_like(self.states[:, 1:])
        gates = self.rows[..., : self.network.hidden].copy()
        if not self.hold:
            gates[:, np.arange(self.n_steps)[:, None] >= self.lengths.min(axis=0)] = 0
        return gates

    def errors_squared(self):
        """(steps, B) squared distances of the two states."""
        e = self.states[0, 1:] - self.states[1, 1:]
        return np.einsum("tbh,tbh->tb", e, e)

    def backward(self, cotangent, sync=None):
        """{parameter: gradient} for a `cotangent` (sides, B, H) of the last states; fills `x_gradient` like x.

        `sync` : (B,), factors of e_t in the cotangent of each common step, or None. Uses up `rows`.
        """
        self.cotangent, self.sync, self.before = cotangent, sync, np.empty_like(cotangent)
        self.x_gradient = np.empty_like(self.x)
        self.input_gradient, self.state_gradient = np.empty_like(self.input_weights), np.empty_like(self.state_weights)
        self.bias_gradient = np.zeros_like(self.bias)
        _backend.gru_backward(self)
        return self.network.unstacked(self.input_gradient, self.bias_gradient, self.state_gradient)


def _lay_out(out, series, order):
    """The series into (steps, B, d) zeros, in that order."""
    if series.form == "padded" and (series.lengths == series.lengths[0]).all():
        n = series.lengths[0]
        out[:n] = series.data.reshape(len(series), -1, series.n_channels)[order, :n].swapaxes(0, 1)
        return
    for k, b in enumerate(order.tolist()):
        item = series.item(b)
        out[: len(item), k] = item


def _like(series, gradient, order):
    """A gradient (steps, B, d) in the form of the series it belongs to."""
    flat = np.zeros_like(series.data)
    for k, b in enumerate(order.tolist()):
        start, n = series.starts[b], series.lengths[b]
        flat[start : start + n] = gradient[:n, k]
    return series.like(flat)


def _by_pairs(values, order, T):
    """(2, steps, B, H) in the order of a batch -> (2, B, T, H) in the caller's; T >= steps, zeros beyond."""
    out = np.zeros((2, len(order), T, values.shape[-1]), values.dtype)
    out[:, order, : values.shape[1]] = values.swapaxes(1, 2)
    return out


# ---- checks


def parameter_shapes(d, H, coupled=True):
    """{name: shape} of the parameters."""
    shapes = {"W": (3 * H, d), "U": (3 * H, H), "bi": (3 * H,), "bh": (3 * H,)}
    return shapes | ({"Wc": (H, d), "Uc": (H, H), "Vc": (H, H), "bc": (H,)} if coupled else {})


def _check_parameters(params, coupled):
    """{name: float32 or float64 array}, all of one dtype; those of the gate only where there is a coupling."""
    if not hasattr(params, "keys"):
        raise _words.wrong_type(params, "params", "a dict of arrays")
    known = parameter_shapes(1, 1)
    if unknown := [name for name in params if name not in known]:
        raise ValueError(f"params holds {unknown[0]!r}; expected {', '.join(known)}")
    wanted = parameter_shapes(1, 1, coupled)
    if missing := [name for name in wanted if name not in params]:
        raise ValueError(f"params lacks {missing[0]!r}; expected {', '.join(wanted)}")
    arrays = {name: _arrays.as_real_array(params[name], f"params[{name!r}]", device=True) for name in wanted}
    _arrays.check_one_place(arrays.values(), [f"params[{name!r}]" for name in arrays])
    if arrays["W"].ndim != 2 or arrays["U"].ndim != 2 or 0 in arrays["W"].shape + arrays["U"].shape:
        name = "W" if arrays["W"].ndim != 2 or 0 in arrays["W"].shape else "U"
        expected = {"W": "(3H, d)", "U": "(3H, H)"}[name]
        raise ValueError(f"params[{name!r}] has shape {arrays[name].shape}; expected {expected}")
    d, H = arrays["W"].shape[1], arrays["U"].shape[1]
    for name, shape in parameter_shapes(d, H, coupled).items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"params[{name!r}] has shape {arrays[name].shape}; expected {shape}, as W has d = {d} columns and U "
                f"has H = {H}"
            )
    dtype = np.result_type(*(array.dtype for array in arrays.values()))
    return {name: array.astype(dtype, copy=False) for name, array in arrays.items()}


def _read_pairs(network, x1, x2, lengths1, lengths2):
    names, lengths_names = ("x1", "x2"), ("lengths1", "lengths2")
    x1, x2 = _arrays.as_series_pair(x1, x2, lengths1, lengths2, names, lengths_names)
    _arrays.check_one_place((x1.data, network.bias), ("x1", "params"))
    if x1.form == "single":
        raise ValueError("x1 and x2 are single series; expected batches, (B, T, d) or lists, of one pair perhaps")
    if x1.n_channels != network.channels:
        raise ValueError(
            f"x1 and x2 have d = {x1.n_channels}, params['W'] has {network.channels} columns; expected as many channels"
        )
    return x1, x2


def _of_one_dtype(network, x1, x2):
    dtype = np.result_type(network.dtype, x1.dtype)
    with _arrays.device_of(x1.data):
        return network.astype(dtype), x1.astype(dtype), x2.astype(dtype)


def _check_same(same, n, device=False):
    """(n,) float64 of zeros and ones; on a device, what that holds is not looked at."""
    array = _arrays.as_real_array(same, "same", device)
    if array.shape != (n,):
        raise ValueError(f"same has shape {array.shape}; expected ({n},), one number for each pair")
    if _arrays.on_device(array):
        return array.astype(np.float64)
    wrong = np.flatnonzero((array != 0) & (array != 1))
    if len(wrong):
        raise ValueError(f"same[{wrong[0]}] is {array[wrong[0]]}; expected 1 (same) or 0 (different)")
    return array.astype(np.float64)


def _overflow(dtype):
    return ValueError(f"the states of the network exceed the range of {dtype}; rescale the series or the parameters")
