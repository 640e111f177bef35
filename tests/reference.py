"""Slow, obviously right versions of every alignment, which the fast library is tested against.

Two of them check each other: `Gibbs` adds up all monotone paths, with exact path costs in rational numbers; `Alignment`
is the recursion of math-alignment.md, section 3, transcribed line by line (for l2, where the order of recursion is part
of the definition, it is the only truth). It runs in np.longdouble (64-bit mantissa on x86) wherever that is wider than
float64, so that its own rounding stays far below the tolerances. Nothing here imports sdtwkit.
"""

import math
from fractions import Fraction

import numpy as np

STEPS = ((0, 1), (1, 1), (1, 0))  # left, diagonal, up
REAL = np.longdouble
OPERATORS = ("entropy", "l2", None)
SETS = (False, "y", "x", True)  # start and end sets

# Settings of the recursion that every test of it goes through
OPTIONS = {
    "plain": {},
    "weights": {"step_weights": (2.0, 0.5, 1.5)},
    "zero-weight": {"step_weights": (1.0, 2.0, 0.0)},
    "radius-0": {"window": 0},
    "radius-1": {"window": 1},
    "knight": {"steps": ((1, 2), (2, 1), (1, 1)), "step_weights": (1.0, 2.0, 3.0)},
    "ctc": {"steps": ((1, 0), (1, 1), (1, 2)), "step_weights": (1.0, 0.5, 2.0)},
    "jump": {"steps": ((0, 2), (1, 0)), "step_weights": (0.5, 2.0)},
    "begin-y": {"open_begin": "y"},
    "begin-x": {"open_begin": "x"},
    "end-y": {"open_end": "y"},
    "end-x": {"open_end": "x"},
    "search": {"open_begin": "y", "open_end": "y"},
    "all-open": {"open_begin": True, "open_end": True},
    "everything": {"open_begin": True, "open_end": "x", "step_weights": (0.5, 2.0, 1.0), "window": 1},
}


# ---- smoothed minimum and maximum (section 2)


def min_operator(x, gamma, regularizer, ties=None):
    """min over the candidates x (K, L), column by column -> value (L,), weights q (K, L).

    +inf is no candidate; a column without any has value +inf and q = 0. `ties`: for the hard minimum, the order
    in which equal candidates are preferred.
    """
    x = np.asarray(x, REAL)
    best = x.min(axis=0)
    alive = np.isfinite(best)
    lowest = np.where(alive, best, 0)
    u = (lowest - x) / REAL(gamma) if regularizer else np.where(x == lowest, 0, -np.inf)  # <= 0, 0 at the best
    if regularizer == "entropy":
        q = np.exp(u) / np.maximum(np.exp(u).sum(axis=0), 1)
        value = lowest - REAL(gamma) * np.log(np.maximum(np.exp(u).sum(axis=0), 1))
    elif regularizer == "l2":
        q = project_on_simplex(np.where(alive, u, 0))
        value = lowest + (np.where(q > 0, x - lowest, 0) * q).sum(axis=0) + REAL(gamma) / 2 * (q * q).sum(axis=0)
    else:
        ties = np.arange(len(x)) if ties is None else np.asarray(ties)
        q = np.zeros(x.shape, REAL)
        q[ties[np.argmax(u[ties], axis=0)], np.arange(x.shape[1])] = 1
        value = lowest
    return np.where(alive, value, np.inf), np.where(alive, q, 0)


def project_on_simplex(u):
    """Euclidean projection of every column of u (K, L) on the simplex; -inf entries get 0."""
    descending = -np.sort(-u, axis=0)
    count = np.arange(1, len(u) + 1)[:, None]
    sums = np.cumsum(descending, axis=0)
    r = (1 + count * descending > sums).sum(axis=0)
    tau = (np.take_along_axis(sums, r[None] - 1, axis=0) - 1) / r
    return np.maximum(u - tau, 0)


def min_hessian(q, b, gamma, regularizer):
    """Hessian of the minimum at weights q (K, L), times b (K, L): pairwise, because the closed form cancels."""
    if regularizer is None:
        return np.zeros(q.shape, REAL)
    weights = q if regularizer == "entropy" else (q > 0).astype(REAL)
    b = np.where(q > 0, b, 0)
    differences = b[:, None] - b[None]  # [s, t] = b_s - b_t
    product = weights * (weights[None] * differences).sum(axis=1) / np.maximum(weights.sum(axis=0), 1)
    return -product / REAL(gamma)


def smooth_min(x, gamma=1.0, regularizer="entropy"):
    value, q = min_operator(np.asarray(x, REAL)[:, None], gamma, regularizer)
    return value[0], q[:, 0]


def smooth_min_hvp(x, direction, gamma=1.0, regularizer="entropy"):
    q = smooth_min(x, gamma, regularizer)[1][:, None]
    return min_hessian(q, np.asarray(direction, REAL)[:, None], gamma, regularizer)[:, 0]


def smooth_max(x, gamma=1.0, regularizer="entropy"):
    value, q = smooth_min(-np.asarray(x, REAL), gamma, regularizer)
    return -value, q


def smooth_max_hvp(x, direction, gamma=1.0, regularizer="entropy"):
    return -smooth_min_hvp(-np.asarray(x, REAL), direction, gamma, regularizer)


# ---- where paths may start, pass and end


def start_set(n, m, kind):
    """Bool (n, m): {(0, 0)}; "y": {(0, j)}; "x": {(i, 0)}; True: both."""
    cells = np.zeros((n, m), bool)
    cells[0, 0] = True
    if kind in ("y", True):
        cells[0, :] = True
    if kind in ("x", True):
        cells[:, 0] = True
    return cells


def end_set(n, m, kind):
    return start_set(n, m, kind)[::-1, ::-1]


def band_mask(n, m, radius):
    offset = np.arange(m) - np.arange(n)[:, None]
    return (offset <= radius + max(m - n, 0)) & (-offset <= radius + max(n - m, 0))


def admissible(C, window):
    """Bool (n, m): cells of finite cost inside the window (None, a radius or a mask)."""
    finite = np.asarray(C) < np.inf
    if window is None:
        return finite
    return finite & (window if np.ndim(window) else band_mask(*C.shape, window))


# ---- all paths, one by one


def enumerate_paths(n, m, steps=STEPS, open_begin=False, open_end=False, mask=None):
    """Yield every monotone path as a list of (i, j, s); s is the step that led to (i, j), -1 at the start."""
    allowed = np.ones((n, m), bool) if mask is None else mask
    ends = end_set(n, m, open_end)

    def extend(path):
        i, j, _ = path[-1]
        if ends[i, j]:
            yield list(path)
        for s, (di, dj) in enumerate(steps):
            if i + di < n and j + dj < m and allowed[i + di, j + dj]:
                yield from extend([*path, (i + di, j + dj, s)])

    for i, j in np.argwhere(start_set(n, m, open_begin) & allowed).tolist():
        yield from extend([(i, j, -1)])


def count_paths(n, m):
    """|A(n, m)|, the Delannoy number of (n - 1, m - 1), in exact integers."""
    row = [1] * m
    for _ in range(n - 1):
        new = [1]
        for j in range(1, m):
            new.append(new[j - 1] + row[j - 1] + row[j])
        row = new
    return row[-1]


class Gibbs:
    """The law p(path) ~ exp(-cost / gamma) over all paths; the hard minimum where regularizer is None.

    Path costs are exact fractions, so this is right at any ratio of costs to gamma.
    """

    def __init__(self, gamma=1.0, regularizer="entropy", steps=STEPS, step_weights=(1, 1, 1), window=None,
                 open_begin=False, open_end=False):  # fmt: skip
        self.gamma, self.regularizer, self.steps, self.step_weights = gamma, regularizer, steps, step_weights
        self.window, self.open_begin, self.open_end = window, open_begin, open_end

    def _enumerate(self, C):
        """-> best cost, p (P,), visits Y (P, n, m), weights W (P, n, m) of the cells in the cost of each path."""
        n, m = C.shape
        paths = list(enumerate_paths(n, m, self.steps, self.open_begin, self.open_end, admissible(C, self.window)))
        Y, W = np.zeros((len(paths), n, m)), np.zeros((len(paths), n, m))
        weights = [Fraction(float(w)) for w in self.step_weights] + [Fraction(1)]  # the start, step -1, has weight 1
        costs = []
        for k, path in enumerate(paths):
            for i, j, s in path:
                Y[k, i, j], W[k, i, j] = 1, weights[s]
            costs.append(sum(weights[s] * Fraction(float(C[i, j])) for i, j, s in path))
        best = min(costs, default=math.inf)
        excess = np.array([_ratio(cost - best, self.gamma) for cost in costs])
        p = np.exp(-excess) if self.regularizer else (excess == 0).astype(float)
        return best, p, Y, W

    def value(self, C):
        best, p, _, _ = self._enumerate(C)
        if not len(p):
            return math.inf
        return float(best) - (self.gamma * math.log(math.fsum(p)) if self.regularizer else 0)

    def _law(self, C):
        _, p, Y, W = self._enumerate(C)
        return p / max(p.sum(), 1), Y, W

    def gradient(self, C):
        p, _, W = self._law(C)
        return np.tensordot(p, W, 1)

    def marginals(self, C):
        p, Y, _ = self._law(C)
        return np.tensordot(p, Y, 1)

    def hessian_product(self, C, Z):
        """- Cov(W) Z / gamma"""
        p, _, W = self._law(C)
        z = np.tensordot(W, Z, 2)
        return -np.tensordot(p * (z - p @ z), W, 1) / self.gamma

    def marginals_vjp(self, C, G):
        """- Cov(W, Y) G / gamma"""
        p, Y, W = self._law(C)
        g = np.tensordot(Y, G, 2)
        return -np.tensordot(p * (g - p @ g), W, 1) / self.gamma

    def best_paths(self, C):
        """All cheapest paths, as a list of (L, 2) arrays, and their cost."""
        allowed = admissible(C, self.window)
        paths = list(enumerate_paths(*C.shape, self.steps, self.open_begin, self.open_end, allowed))
        weights = [Fraction(float(w)) for w in self.step_weights] + [Fraction(1)]
        costs = [sum(weights[s] * Fraction(float(C[i, j])) for i, j, s in path) for path in paths]
        best = min(costs, default=math.inf)
        return [np.array(path)[:, :2] for path, cost in zip(paths, costs, strict=True) if cost == best], float(best)


def _ratio(cost, gamma):
    """cost / gamma as a float, +inf where it overflows."""
    try:
        return float(cost / Fraction(float(gamma)))
    except OverflowError:
        return math.inf


# ---- the recursion (section 3)


def diagonals(n, m):
    """Anti-diagonals as index arrays (i, j); every step leads to a later one."""
    for k in range(n + m - 1):
        i = np.arange(max(0, k - m + 1), min(n, k + 1))
        yield i, k - i


class Alignment:
    """Twin of sdtwkit.dp.AlignmentDP for one matrix C (n, m); results in np.longdouble."""

    def __init__(self, gamma=1.0, *, regularizer="entropy", steps=STEPS, step_weights=(1, 1, 1), window=None,
                 open_begin=False, open_end=False):  # fmt: skip
        self.gamma, self.regularizer, self.steps = gamma, regularizer, steps
        self.step_weights = np.asarray(step_weights, REAL)
        self.window, self.open_begin, self.open_end = window, open_begin, open_end
        # Equal predecessors: diagonal, left, up, start. Other steps keep their order behind these.
        usual = [(1, 1), (0, 1), (1, 0)]
        rank = {s: usual.index(step) if step in usual else 3 + s for s, step in enumerate(steps)}
        self.ties = [*sorted(rank, key=rank.get), len(steps)]

    def _forward(self, C):
        """V (n, m); Q (S + 1, n, m), the start last; GE (n, m); the value."""
        n, m = C.shape
        allowed = admissible(C, self.window)
        C = np.where(allowed, C, 0).astype(REAL)
        starts, ends = start_set(n, m, self.open_begin), end_set(n, m, self.open_end)
        V = np.full((n, m), np.inf, REAL)
        Q = np.zeros((len(self.steps) + 1, n, m), REAL)
        for i, j in diagonals(n, m):
            candidates = np.full((len(Q), len(i)), np.inf, REAL)
            for s, (di, dj) in enumerate(self.steps):
                ok = (i >= di) & (j >= dj) & allowed[i, j]
                candidates[s, ok] = V[i[ok] - di, j[ok] - dj] + self.step_weights[s] * C[i[ok], j[ok]]
            ok = starts[i, j] & allowed[i, j]
            candidates[-1, ok] = C[i[ok], j[ok]]
            V[i, j], Q[:, i, j] = min_operator(candidates, self.gamma, self.regularizer, self.ties)
        GE = np.zeros((n, m), REAL)
        if self.open_end is False:  # a closed end applies no operator
            value = V[-1, -1]
            GE[-1, -1] = np.isfinite(value)
        else:
            value, q = min_operator(V[ends][:, None], self.gamma, self.regularizer)
            value, GE[ends] = value[0], q[:, 0]
        return V, Q, GE, value

    def _visits(self, Q, GE):
        """E: backwards, each cell hands its probability to its predecessors."""
        E = GE.copy()
        for i, j in reversed(list(diagonals(*GE.shape))):
            for s, (di, dj) in enumerate(self.steps):
                ok = (i >= di) & (j >= dj)
                E[i[ok] - di, j[ok] - dj] += (Q[s, i, j] * E[i, j])[ok]
        return E

    def _weight(self, Q):
        """sum_s Q_s w_s + Q_start, for Q or for its tangent."""
        return np.tensordot(self.step_weights, Q[:-1], 1) + Q[-1]

    def value(self, C):
        return self._forward(np.asarray(C))[-1]

    def value_and_grad(self, C):
        _, Q, GE, value = self._forward(np.asarray(C))
        return value, self._visits(Q, GE) * self._weight(Q)

    def marginals(self, C):
        _, Q, GE, _ = self._forward(np.asarray(C))
        return self._visits(Q, GE)

    def _tangent(self, C, Z, weights):
        """Where argument s of each cell moves by Vd(p - s) + weights_s Z(p): tangent of the value, dH, dE."""
        _, Q, GE, value = self._forward(C)
        n, m = C.shape
        Z = np.where(admissible(C, self.window), Z, 0).astype(REAL)
        E = self._visits(Q, GE)
        Vd, Qd = np.zeros((n, m), REAL), np.zeros(Q.shape, REAL)
        for i, j in diagonals(n, m):
            b = np.zeros((len(Q), len(i)), REAL)
            for s, (di, dj) in enumerate(self.steps):
                ok = (i >= di) & (j >= dj)
                b[s, ok] = Vd[i[ok] - di, j[ok] - dj] + weights[s] * Z[i[ok], j[ok]]
            b[-1] = Z[i, j]
            Vd[i, j] = (Q[:, i, j] * b).sum(axis=0)
            Qd[:, i, j] = min_hessian(Q[:, i, j], b, self.gamma, self.regularizer)
        Ed = np.zeros((n, m), REAL)
        ends = end_set(n, m, self.open_end)
        if self.open_end is not False and np.isfinite(value):
            Ed[ends] = min_hessian(GE[ends][:, None], Vd[ends][:, None], self.gamma, self.regularizer)[:, 0]
        for i, j in reversed(list(diagonals(n, m))):
            for s, (di, dj) in enumerate(self.steps):
                ok = (i >= di) & (j >= dj)
                handed = Qd[s, i, j] * E[i, j] + Q[s, i, j] * Ed[i, j]
                Ed[i[ok] - di, j[ok] - dj] += handed[ok]
        return (GE * Vd).sum(), Ed * self._weight(Q) + E * self._weight(Qd), Ed

    def hvp(self, C, Z):
        """-> <gradient, Z>, Hessian product"""
        return self._tangent(np.asarray(C), np.asarray(Z), self.step_weights)[:2]

    def marginals_jvp(self, C, Z):
        return self._tangent(np.asarray(C), np.asarray(Z), self.step_weights)[2]

    def marginals_vjp(self, C, G):
        return self._tangent(np.asarray(C), np.asarray(G), np.ones(len(self.steps), REAL))[1]

    def decode(self, C):
        """-> best path (L, 2), its cost: the hard minimum, whatever the regularizer."""
        hard = Alignment(regularizer=None, steps=self.steps, step_weights=self.step_weights, window=self.window,
                         open_begin=self.open_begin, open_end=self.open_end)  # fmt: skip
        _, Q, GE, value = hard._forward(np.asarray(C))
        if not np.isfinite(value):
            return np.empty((0, 2), int), value
        i, j = np.argwhere(GE)[0].tolist()
        path = [(i, j)]
        while (s := int(np.argmax(Q[:, i, j]))) < len(self.steps):
            i, j = i - self.steps[s][0], j - self.steps[s][1]
            path.append((i, j))
        return np.array(path[::-1]), value


def path_cost(C, path, steps=STEPS, step_weights=(1, 1, 1)):
    """Cost of a path (L, 2), which must consist of the given steps."""
    moves = [tuple(move) for move in np.diff(path, axis=0).tolist()]
    weights = [1.0, *(step_weights[steps.index(move)] for move in moves)]
    return math.fsum(w * float(C[i, j]) for w, (i, j) in zip(weights, path, strict=True))


def value_scale(twin, C):
    """What a value is right relative to: gamma (n + m), its own size, the largest cost on the best path."""
    path, value = twin.decode(C)
    if not len(path):
        return 1.0
    on_path = float(abs(C[path[:, 0], path[:, 1]]).max()) * max(1, float(max(twin.step_weights)))
    return max(abs(float(value)), on_path, twin.gamma * sum(C.shape) if twin.regularizer else 0.0)


def random_costs(rng, n, m, blocked=0.0):
    """Costs of both signs, a share of them forbidden."""
    C = rng.normal(size=(n, m))
    C[rng.random((n, m)) < blocked] = np.inf
    return C


# ---- local costs (section 4): x_i and y_j broadcast against each other, channels last


def _sum(terms):
    return terms.sum(axis=-1)


def _norm(r):
    return np.sqrt(_sum(r * r))


def _unit(r):
    length = _norm(r)[..., None]
    return np.where(length > 0, r / np.where(length > 0, length, 1), 0)


def _cosine(x, y):
    return 1 - _sum(_unit(x) * _unit(y))


def _cosine_slope(x, y):
    """d/dx: the part of -y/|y| across x, over |x|"""
    u, v, length = _unit(x), _unit(y), _norm(x)[..., None]
    return np.where(length > 0, -(v - _sum(u * v)[..., None] * u) / np.where(length > 0, length, 1), 0)


def _huber(x, y):
    r = np.abs(x - y)
    return _sum(np.where(r <= 1, r * r / 2, r - REAL(0.5)))


def _log_half(x, y):
    c = _sum((x - y) ** 2) / 2
    return c + np.log1p(-np.expm1(-c))


def _log_half_slope(x, y):
    c = _sum((x - y) ** 2)[..., None] / 2
    return 2 / (2 - np.exp(-c)) * (x - y)


# name: (cost, derivative in x, derivative in y)
COSTS = {
    "sqeuclidean": (lambda x, y: _sum((x - y) ** 2), lambda x, y: 2 * (x - y), lambda x, y: 2 * (y - x)),
    "half_sqeuclidean": (lambda x, y: _sum((x - y) ** 2) / 2, lambda x, y: x - y, lambda x, y: y - x),
    "euclidean": (lambda x, y: _norm(x - y), lambda x, y: _unit(x - y), lambda x, y: _unit(y - x)),
    "manhattan": (lambda x, y: _sum(np.abs(x - y)), lambda x, y: np.sign(x - y), lambda x, y: np.sign(y - x)),
    "cosine": (_cosine, _cosine_slope, lambda x, y: _cosine_slope(y, x)),
    "neg_dot": (lambda x, y: -_sum(x * y), lambda x, y: -y + 0 * x, lambda x, y: -x + 0 * y),
    "huber": (_huber, lambda x, y: np.clip(x - y, -1, 1), lambda x, y: np.clip(y - x, -1, 1)),
    "bce": (
        lambda x, y: _sum(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))) - x * y),
        lambda x, y: 1 / (1 + np.exp(-x)) - y,
        lambda x, y: -x + 0 * y,
    ),
    "log_half_sqeuclidean": (_log_half, _log_half_slope, lambda x, y: _log_half_slope(y, x)),
}


def _grid(x, y):
    x, y = (np.asarray(z, REAL).reshape(len(z), -1) for z in (x, y))
    return x[:, None, :], y[None, :, :]


def cost_matrix(x, y, cost="sqeuclidean"):
    return COSTS[cost][0](*_grid(x, y))


def cost_vjp(x, y, G, cost="sqeuclidean"):
    """sum_ij G_ij dC_ij -> gradients shaped as x and y."""
    G = np.asarray(G, REAL)[:, :, None]
    _, slope_x, slope_y = COSTS[cost]
    grad_x, grad_y = (G * slope_x(*_grid(x, y))).sum(axis=1), (G * slope_y(*_grid(x, y))).sum(axis=0)
    return grad_x.reshape(np.shape(x)), grad_y.reshape(np.shape(y))


# ---- functions of one pair of series (twins of the top level of sdtwkit)


def _aligner(gamma, options):
    return Alignment(gamma, **{k: v for k, v in options.items() if k not in ("cost", "prior")})


def _costs(x, y, options):
    return cost_matrix(x, y, options.get("cost", "sqeuclidean")) + options.get("prior", 0)


def dtw(x, y, **options):
    return _aligner(1.0, {**options, "regularizer": None}).value(_costs(x, y, options))


def dtw_path(x, y, **options):
    return _aligner(1.0, options).decode(_costs(x, y, options))


def soft_dtw(x, y, gamma=1.0, **options):
    return _aligner(gamma, options).value(_costs(x, y, options))


def soft_dtw_value_and_grad(x, y, gamma=1.0, **options):
    value, H = _aligner(gamma, options).value_and_grad(_costs(x, y, options))
    return value, *cost_vjp(x, y, H, options.get("cost", "sqeuclidean"))


def soft_dtw_alignment(x, y, gamma=1.0, **options):
    C = _costs(x, y, options)
    return _aligner(gamma, options).marginals(C), _aligner(gamma, options).value(C)


def soft_dtw_alignment_vjp(x, y, cotangent, gamma=1.0, **options):
    H = _aligner(gamma, options).marginals_vjp(_costs(x, y, options), cotangent)
    return cost_vjp(x, y, H, options.get("cost", "sqeuclidean"))


def soft_dtw_hvp(x, y, dx, dy, gamma=1.0, **options):
    """By differences of the gradient, which is right to about 1e-12 in np.longdouble."""
    x, y = np.asarray(x, REAL), np.asarray(y, REAL)
    return tuple(
        derivative(lambda t: soft_dtw_value_and_grad(x + t * dx, y + t * dy, gamma, **options)[k])  # noqa: B023
        for k in (1, 2)
    )


def subsequence_matches(query, series, k=1, **options):
    """The k best disjoint (start, end, value) of series[start:end]: all are tried, the best free one is taken."""
    intervals = [
        (float(dtw(query, series[start:end], **options)), start, end)
        for start in range(len(series))
        for end in range(start + 1, len(series) + 1)
    ]
    matches = []
    for value, start, end in sorted(intervals):
        if len(matches) < k and all(end <= s or start >= e for s, e, _ in matches):
            matches.append((start, end, value))
    return matches


# ---- numerical differentiation


STEP = REAL(1e-5 if np.finfo(REAL).eps < 1e-18 else 1e-3)


def derivative(f, h=STEP):
    """df/dt at 0, central differences of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
