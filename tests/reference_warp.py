"""The slow truth about continuous warps: the objective, read off its definition, and dynamic programming on grids.

`Problem.solve` finds the global basin on a grid that is fine for small problems, then goes on with grids around the
best path, half as wide whenever they do not improve it. It knows nothing of derivatives, segments or active sets, so it
serves every loss. Nothing here imports sdtwkit.
"""

import numpy as np


def rho(r, kind, delta):
    """Loss of a residual: squared, absolute, Huber's."""
    if kind == "l2":
        return r**2
    if kind == "l1":
        return np.abs(r)
    return np.where(np.abs(r) < delta, r**2 / 2, delta * (np.abs(r) - delta / 2))


def read(samples, times, at):
    """Series (m, d) at times of any shape -> (..., d)."""
    return np.stack([np.interp(at, times, channel) for channel in samples.T], axis=-1)


class Problem:
    """Arguments of dec_dtw for one pair, band as a half-width or two arrays."""

    def __init__(
        self,
        x,
        y,
        reg=0.1,
        x_times=None,
        y_times=None,
        warp_times=None,
        band=None,
        slope_bounds=(0.0, np.inf),
        subsequence=False,
        loss="l2",
        reg_loss="l2",
        target_slope=None,
        loss_delta=1.0,
        reg_delta=1.0,
        cum_reg=0.0,
        cum_loss="l2",
        symmetric=False,
    ):
        self.x, self.y = (np.asarray(z, float).reshape(len(z), -1) for z in (x, y))
        self.tx = np.linspace(0, 1, len(x)) if x_times is None else np.asarray(x_times, float) - x_times[0]
        self.ty = np.linspace(0, 1, len(y)) if y_times is None else np.asarray(y_times, float) - y_times[0]
        start = 0.0 if y_times is None else y_times[0]
        self.t = self.ty if warp_times is None else np.asarray(warp_times, float) - start
        T1, T2 = self.tx[-1], self.ty[-1]
        self.target = target_slope or (1.0 if subsequence else T1 / T2)
        self.d = np.diff(self.t)
        self.w = (np.append(self.d, 0) + np.append(0, self.d)) / 2
        self.reg = np.broadcast_to(reg, self.d.shape)
        self.loss, self.reg_loss, self.cum_loss = (loss, loss_delta), (reg_loss, reg_delta), (cum_loss, reg_delta)
        self.cum_reg, self.symmetric = cum_reg, symmetric
        self.steepest = np.broadcast_to(slope_bounds[1], self.d.shape) * self.target * self.d
        self.flattest = np.broadcast_to(slope_bounds[0], self.d.shape) * self.target * self.d
        lower, upper = np.zeros(len(self.t)), np.full(len(self.t), T1)
        if symmetric:
            lower, upper = np.maximum(lower, 2 * self.t - T2), np.minimum(upper, 2 * self.t)
        if band is not None:
            line = T1 * (self.t - self.t[0]) / (self.t[-1] - self.t[0])
            band = (line - band * T1, line + band * T1) if np.ndim(band) == 0 else band
            lower, upper = np.maximum(lower, band[0]), np.minimum(upper, band[1])
        if not subsequence:
            lower[0] = upper[0] = 0
            lower[-1] = upper[-1] = T1
        self.lower, self.upper = lower, upper

    def nodes(self, phi):
        """Costs of nodes: phi (n, ...) -> (n, ...)."""
        t = self.t.reshape(-1, *[1] * (phi.ndim - 1))
        y = read(self.y, self.ty, 2 * t - phi if self.symmetric else np.broadcast_to(t, phi.shape))
        cost = rho(read(self.x, self.tx, phi) - y, *self.loss).sum(axis=-1)
        cost = cost + self.cum_reg * rho(phi - t, *self.cum_loss)
        return self.w.reshape(t.shape) * cost

    def intervals(self, rise):
        """Costs of rises (n - 1, ...) -> (n - 1, ...)."""
        d, reg = (z.reshape(-1, *[1] * (rise.ndim - 1)) for z in (self.d, self.reg))
        return reg * d * rho(rise / d - self.target, *self.reg_loss)

    def objective(self, phi):
        phi = np.asarray(phi, float)
        return self.nodes(phi).sum() + self.intervals(np.diff(phi)).sum()

    def feasible(self, phi, tolerance=1e-12):
        phi, slack = np.asarray(phi, float), tolerance * max(self.tx[-1], 1)
        rise = np.diff(phi)
        inside = (phi >= self.lower - slack).all() and (phi <= self.upper + slack).all()
        return bool(inside and (rise >= self.flattest - slack).all() and (rise <= self.steepest + slack).all())

    def best_on(self, grid):
        """Best path among the rows of candidates grid (n, K), by brute force; bounds may be missed by rounding."""
        slack = 1e-11 * max(self.tx[-1], 1)
        outside = (grid < self.lower[:, None] - slack) | (grid > self.upper[:, None] + slack)
        nodes = np.where(outside, np.inf, self.nodes(grid))
        rise = grid[1:, None, :] - grid[:-1, :, None]  # [i, from, to]
        edges = self.intervals(rise)
        flat, steep = (z[:, None, None] for z in (self.flattest, self.steepest))
        edges = np.where((rise < flat - slack) | (rise > steep + slack), np.inf, edges)
        value, back = nodes[0], []
        for edge, node in zip(edges, nodes[1:], strict=True):
            total = value[:, None] + edge
            back.append(np.argmin(total, axis=0))
            value = np.min(total, axis=0) + node
        path = [int(np.argmin(value))]
        for row in back[::-1]:
            path.append(int(row[path[-1]]))
        return grid[np.arange(len(grid)), path[::-1]], value.min()

    def solve(self, count=200, precision=1e-9):
        """(n,) the best warp: `count` candidates a row and the sample times of x, then ever finer grids around it."""
        widest = [np.linspace(low, high, count) for low, high in zip(self.lower, self.upper, strict=True)]
        knots = np.broadcast_to(self.tx, (len(self.t), len(self.tx)))
        if self.symmetric:
            knots = np.concatenate([knots, np.clip(2 * self.t[:, None] - self.ty, 0, self.tx[-1])], axis=1)
        phi, value = self.best_on(np.concatenate([widest, knots], axis=1))
        if not np.isfinite(value):  # no path on the grid keeps to the bounds
            phi = self.reachable()
            value = self.objective(phi)
        width = 2 * self.tx[-1] / count
        while width > precision * self.tx[-1]:
            around = np.clip(phi[:, None] + width * np.linspace(-1, 1, 9), self.lower[:, None], self.upper[:, None])
            trial, lowest = self.best_on(np.concatenate([around, phi[:, None], knots], axis=1))
            if lowest < value - 1e-15 * abs(value):
                phi, value = trial, lowest
            else:
                width /= 2
        return phi

    def reachable(self):
        """Some warp within all bounds, the lowest at each time that the rest leaves open."""
        low = self.lower.copy()
        for i in range(len(low) - 1, 0, -1):
            low[i - 1] = max(low[i - 1], low[i] - self.steepest[i - 1])
        for i in range(1, len(low)):
            low[i] = max(low[i], low[i - 1] + self.flattest[i - 1])
        return low
