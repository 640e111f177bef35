"""The coupled GRU the slow, obvious way: one pair and one step at a time, as the equations stand.

`forward` is the model, `loss` the contrastive loss of its states, and `gradient` backpropagation through time, written
apart from the forward pass so that finite differences of the one test the other.
"""

import numpy as np

COUPLINGS = ("none", "pre", "leak", "add")
EPSILON = 1e-12  # under the root of the distance


def sigmoid(v):
    return 1.0 / (1.0 + np.exp(-v))


def random_parameters(rng, d, H, scale=0.5):
    """Every parameter, those of the coupling included, float64."""
    shapes = {"W": (3 * H, d), "U": (3 * H, H), "bi": (3 * H,), "bh": (3 * H,)}
    shapes |= {"Wc": (H, d), "Uc": (H, H), "Vc": (H, H), "bc": (H,)}
    return {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}


def step(p, x, own, other, active, act, coupling, kappa):
    """One network's next state from the old states of both, and what the step computed on its way."""
    H = len(own)
    if coupling == "none":
        c, k = np.zeros(H), np.zeros(H)
    else:
        c = sigmoid(p["Wc"] @ x + p["Uc"] @ own + p["Vc"] @ other + p["bc"])
        k = kappa * act * c * (other - own)
    hh = own + k if coupling == "pre" else own
    a, b = p["W"] @ x + p["bi"], p["U"] @ hh + p["bh"]
    r, z, u = sigmoid(a[:H] + b[:H]), sigmoid(a[H : 2 * H] + b[H : 2 * H]), b[2 * H :]
    n = np.tanh(a[2 * H :] + r * u)
    base = own + k if coupling in ("pre", "leak") else own
    new = z * base + (1 - z) * n + (k if coupling == "add" else 0)
    return (new if active else own), {"c": c, "r": r, "z": z, "u": u, "n": n, "hh": hh, "base": base}


def forward(p, x1, x2, lengths1, lengths2, *, coupling, kappa, after_end):
    """-> states (2, B, T, H), gates (2, B, T, H), and the inner values [pair][step][side]."""
    B, T, _ = x1.shape
    H = p["U"].shape[1]
    states, gates = np.zeros((2, B, T, H)), np.zeros((2, B, T, H))
    inner = []
    for b in range(B):
        h, trace = [np.zeros(H), np.zeros(H)], []
        for t in range(T):
            active = t < lengths1[b], t < lengths2[b]
            x = [x[b, t] if on else np.zeros(x.shape[2]) for x, on in zip((x1, x2), active, strict=True)]
            act = 1.0 if after_end == "hold" else float(all(active))
            both = [step(p, x[a], h[a], h[1 - a], active[a], act, coupling, kappa) for a in (0, 1)]
            h = [state for state, _ in both]
            trace.append([values | {"x": x[a], "active": active[a], "act": act} for a, (_, values) in enumerate(both)])
            for a in (0, 1):
                states[a, b, t], gates[a, b, t] = h[a], act * both[a][1]["c"]
        inner.append(trace)
    return states, gates, inner


def loss(states, same, lengths1, lengths2, margin, beta=0.0):
    """The contrastive loss, with beta times the mean squared distance along the common steps of same pairs."""
    total = 0.0
    for b, y in enumerate(same):
        e = states[0, b] - states[1, b]
        square, common = e[-1] @ e[-1], min(lengths1[b], lengths2[b])
        total += 0.5 * (y * square + (1 - y) * max(0.0, margin - np.sqrt(square + EPSILON)) ** 2)
        total += beta * y * np.mean(np.sum(e[:common] ** 2, axis=1))
    return total / len(same)


def gradient(p, x1, x2, same, lengths1, lengths2, *, coupling, kappa, after_end, margin, beta=0.0):
    """Gradients of the loss with respect to x1, x2 and every parameter, by backpropagation through time."""
    states, _, inner = forward(p, x1, x2, lengths1, lengths2, coupling=coupling, kappa=kappa, after_end=after_end)
    B, T, _ = x1.shape
    H = p["U"].shape[1]
    grads = {name: np.zeros_like(value) for name, value in p.items()}
    grads |= {"x1": np.zeros_like(x1), "x2": np.zeros_like(x2)}
    for b, y in enumerate(same):
        e = states[0, b] - states[1, b]
        d, common = np.sqrt(e[-1] @ e[-1] + EPSILON), min(lengths1[b], lengths2[b])
        g = [(y - (1 - y) * max(0.0, margin - d) / d) * e[-1] / B]
        g.append(-g[0])
        for t in reversed(range(T)):
            old = [states[a, b, t - 1] if t else np.zeros(H) for a in (0, 1)]
            if t < common:
                g = [g[a] + (-1) ** a * 2 * beta * y / (B * common) * e[t] for a in (0, 1)]
            s, partner = [None, None], [np.zeros(H), np.zeros(H)]
            for a in (0, 1):
                v = inner[b][t][a]
                q = g[a] if v["active"] else np.zeros(H)
                dz = q * (v["base"] - v["n"]) * v["z"] * (1 - v["z"])
                dn = q * (1 - v["z"]) * (1 - v["n"] ** 2)
                dr = dn * v["u"] * v["r"] * (1 - v["r"])
                inputs, state = np.concatenate([dr, dz, dn]), np.concatenate([dr, dz, dn * v["r"]])
                through = p["U"].T @ state
                w = {"pre": through + q * v["z"], "leak": q * v["z"], "add": q, "none": 0 * q}[coupling]
                omega = kappa * v["act"] * w
                dc = omega * (old[1 - a] - old[a]) * v["c"] * (1 - v["c"])
                s[a] = g[a] - q + through + q * v["z"] - omega * v["c"] + p["Uc"].T @ dc
                partner[1 - a] = omega * v["c"] + p["Vc"].T @ dc
                grads[("x1", "x2")[a]][b, t] = p["W"].T @ inputs + p["Wc"].T @ dc if v["active"] else 0
                products = {"W": (inputs, v["x"]), "U": (state, v["hh"])}
                products |= {"Wc": (dc, v["x"]), "Uc": (dc, old[a]), "Vc": (dc, old[1 - a])}
                for name, (left, right) in products.items():
                    grads[name] += np.outer(left, right)
                grads["bi"] += inputs
                grads["bh"] += state
                grads["bc"] += dc
            g = [s[a] + partner[a] for a in (0, 1)]
    return grads
