"""Whether and how fast two coupled networks synchronise: their states along a pair, and transversal exponents.

A small difference e of two networks that are driven by one sequence x evolves linearly along their common state s:
e_t = M_t e_{t-1}, with J_t the derivative of the GRU's step by its state and C = diag(c)::

    pre  M = J (I - 2 kappa C),   leak  M = J - 2 kappa diag(z) C,   add  M = J - 2 kappa C,   none  M = J
"""

from typing import NamedTuple

import numpy as np

from .. import _arrays
from ._network import coupled_gru_forward


class Trajectories(NamedTuple):
    """What `trajectories` of `CoupledGRU` and `SiameseGRU` returns; it says what the fields are."""

    states: np.ndarray
    gates: np.ndarray
    errors: np.ndarray
    synchronised_at: int | None
    mean_gate: float
    transversal_exponents: np.ndarray


def trajectories_of(params, x, y, coupling, kappa, after_end, tolerance):
    """-> Trajectories of two series (n, d) and (m, d).

    Those of a device are followed there; numbers about the whole way are read, and the exponents, which a step at a
    time leads to, are found on the host.
    """
    states, gates = coupled_gru_forward(params, [x], [y], coupling=coupling, kappa=kappa, after_end=after_end)
    with _arrays.device_of(states):
        states, gates = states[:, 0], gates[:, 0]
        errors = np.sqrt(((states[0] - states[1]) ** 2).sum(axis=1))
        mean_gate = float(_arrays.on_host(gates[:, : min(len(x), len(y))].mean()))
    below = np.flatnonzero(_arrays.on_host(errors) < tolerance)
    params = {name: _arrays.on_host(value) for name, value in params.items()}
    exponents = np.array([transversal_exponent(params, _arrays.on_host(one), coupling, kappa) for one in (x, y)])
    first = int(below[0]) if len(below) else None
    return Trajectories(states, gates, errors, first, mean_gate, exponents)


def transversal_exponent(params, x, coupling, kappa):
    """Mean logarithmic growth by step of a difference of the states, along x (n, d); -inf where it dies in one step."""
    x = x.astype(np.float64)
    states, gates = coupled_gru_forward(params, x[None], x[None], coupling=coupling, kappa=kappa)
    before = np.concatenate([np.zeros_like(states[0, 0, :1]), states[0, 0, :-1]])
    p = {name: value.astype(np.float64) for name, value in params.items()}
    e = np.full(before.shape[1], before.shape[1] ** -0.5)
    growth = 0.0
    for x_t, s, c in zip(x, before, gates[0, 0], strict=True):
        e = difference_after(p, x_t, s, c, e, coupling, kappa)
        norm = np.linalg.norm(e)
        if norm == 0:
            return -np.inf
        growth += np.log(norm)
        e = e / norm
    return growth / len(x)


def difference_after(p, x, s, c, e, coupling, kappa):
    """M e for one step from the common state s, with the gate c."""
    H = len(s)
    r_rows, z_rows, n_rows = (slice(k * H, (k + 1) * H) for k in range(3))
    U = p["U"]
    a, b = p["W"] @ x + p["bi"], U @ s + p["bh"]
    r, z = (0.5 + 0.5 * np.tanh(0.5 * (a + b)[: 2 * H])).reshape(2, H)  # the logistic function; exp would overflow
    n = np.tanh(a[n_rows] + r * b[n_rows])
    pull = 2 * kappa * c * e if coupling != "none" else np.zeros(H)
    moved = e - pull if coupling == "pre" else e
    dn = (1 - n**2) * (r * (U[n_rows] @ moved) + b[n_rows] * r * (1 - r) * (U[r_rows] @ moved))
    after = z * moved + z * (1 - z) * (s - n) * (U[z_rows] @ moved) + (1 - z) * dn
    return after - {"leak": z * pull, "add": pull}.get(coupling, 0)
