"""Warps of all pairs, solved on the host or on a device, with the same fields and methods for `WarpResult`.

Fields, in the caller's form: values, warped, objective, residual, is_global. Methods: times and bounds, likewise; rows,
for each pair its active rows and their multipliers; gradients, of <cotangent, values> or (None) of the objective, by
x, y, reg and the four bounds.
"""

import warnings

import numpy as np

from . import _arrays, _backend, _warp_problem, _words
from ._warp_problem import SLOPE_NAMES, side_of

_RESIDUAL = 1e-7  # share of the largest multiplier: a larger residual is no KKT point


class OnHost:
    """One pair after the other, on threads."""

    def __init__(self, x, y, clock, rules, n_values, threads):
        self.x, self.y, self.clock, self.rules, self.dtype = x, y, clock, rules, x.dtype
        frames, which = _warp_problem.frames(clock, rules)
        self.warps = _mapped(lambda b: _Warp(x.item(b), y.item(b), frames[which[b]], n_values), len(x), threads)
        for b, warp in enumerate(self.warps):
            warp.warn("" if clock.single else f" of pair {b}")
        flat = len(_shape_of_one(x)) == 1
        self.values = clock.shape([warp.phi for warp in self.warps], self.dtype)
        self.warped = clock.shape([warp.warped[:, 0] if flat else warp.warped for warp in self.warps], self.dtype)
        self.objective = self._numbers([warp.objective for warp in self.warps], self.dtype)
        self.residual = self._numbers([warp.residual for warp in self.warps], np.float64)
        self.is_global = self._numbers([warp.is_global for warp in self.warps], bool)

    def __len__(self):
        return len(self.warps)

    def times(self):
        return self.clock.shape(self.clock.t)

    def bounds(self):
        sides = zip(*(warp.frame.region for warp in self.warps), strict=True)
        return tuple(self.clock.shape(side, self.dtype) for side in sides)

    def rows(self):
        return [warp.rows() for warp in self.warps]

    def gradients(self, cotangent):
        x, y, rules = self.x, self.y, self.rules
        cotangents = [None] * len(x) if cotangent is None else self.clock.read(cotangent, "cotangent")
        flat_x, flat_y = np.zeros(x.data.shape), np.zeros(y.data.shape)
        parts = [[] for _ in range(5)]
        for b, warp in enumerate(self.warps):
            views = [
                z[k : k + n] for z, k, n in ((flat_x, x.starts[b], x.lengths[b]), (flat_y, y.starts[b], y.lengths[b]))
            ]
            for part, gradient in zip(parts, warp.gradients(cotangents[b], *views), strict=True):
                part.append(gradient)
        return (
            x.like(flat_x.astype(self.dtype)),
            y.like(flat_y.astype(self.dtype)),
            *(
                None if option is None else option.collect(part, self.dtype)
                for option, part in zip((rules.reg, *rules.bound_options()), parts, strict=True)
            ),
        )

    def _numbers(self, values, dtype):
        values = np.array(values, dtype)
        return values[0] if self.clock.single else values


def _mapped(solve, count, threads):
    """[solve(0) .. solve(count - 1)], on threads."""
    if min(threads, count) == 1:
        return [solve(b) for b in range(count)]
    from concurrent.futures import ThreadPoolExecutor  # which brings logging along

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(solve, range(count)))


def _shape_of_one(series):
    """The caller's shape of one series."""
    return series.shape[0] if series.form == "list" else series.shape[series.form == "padded" :]


class OnDevice:
    """All pairs at a time on the CUDA device of x, by kernels on the current stream; nothing waits but `rows`."""

    def __init__(self, x, y, clock, rules, n_values):
        self.x, self.y, self.clock, self.rules, self.dtype = x, y, clock, rules, x.dtype
        self.frames, self.which = _warp_problem.frames(clock, rules)
        self.starts, size = clock.layout()
        with x.data.device:
            self.kernels = _backend.warps_on_device(x, y, self.frames, self.which, self.starts, size, n_values)
            found = self.kernels
            warped = found.warped[:, 0] if len(_shape_of_one(x)) == 1 else found.warped
            self.values, self.warped = self._shaped(found.phi), self._shaped(warped)
            self.objective = self._number(found.objective.astype(self.dtype, copy=False))
            self.residual, self.is_global = self._number(found.residual), self._number(found.is_global())

    def __len__(self):
        return len(self.which)

    def times(self):
        return self._sent(self.clock.t, np.float64)

    def bounds(self):
        return tuple(self._sent([self.frames[k].region[side] for k in self.which], self.dtype) for side in (0, 1))

    def rows(self):
        """Waits for the device."""
        parts, asarray = self.kernels.rows(), _arrays.namespace(self.x.data).asarray
        for b, k in enumerate(self.starts.tolist()):
            end = k + len(self.clock.t[b])
            active, multipliers = self.frames[self.which[b]].rows(*(part[k:end] for part in parts))
            with self.x.data.device:
                yield active, asarray(multipliers)

    def gradients(self, cotangent):
        rules = self.rules
        with self.x.data.device:
            if cotangent is not None:
                cotangent = self._flat(cotangent)
            x, y, *parts = self.kernels.gradients(cotangent)
            options = (rules.reg, *rules.bound_options())
            arrays, starts = _arrays.namespace(x), self.starts.tolist()
            return (
                self.x.like(x.astype(self.dtype, copy=False)),
                self.y.like(y.astype(self.dtype, copy=False)),
                *(
                    None if option is None else option.collect_flat(part, starts, self.dtype, arrays)
                    for option, part in zip(options, parts, strict=True)
                ),
            )

    def _shaped(self, flat):
        return self.clock.shape_flat(flat.astype(self.dtype, copy=False))

    def _number(self, values):
        return values[0] if self.clock.single else values

    def _sent(self, items, dtype):
        shaped = self.clock.shape(items, dtype)
        with self.x.data.device:
            asarray = _arrays.namespace(self.x.data).asarray
            return [asarray(item) for item in shaped] if isinstance(shaped, list) else asarray(shaped)

    def _flat(self, cotangent):
        """(size,) float64 of an argument shaped as the values."""
        arrays, values = _arrays.namespace(self.x.data), self.values
        listed = isinstance(values, list)
        if listed and not (isinstance(cotangent, (list, tuple)) and len(cotangent) == len(values)):
            raise ValueError(f"cotangent does not fit; expected a list of {len(values)} arrays, as the values are")
        items, expected = (cotangent, values) if listed else ([cotangent], [values])
        for b, (item, value) in enumerate(zip(items, expected, strict=True)):
            name = f"cotangent[{b}]" if listed else "cotangent"
            if not _arrays.on_device(item):
                raise _words.mixed_devices(name, False)
            if item.shape != value.shape:
                raise ValueError(f"{name} has shape {item.shape}; expected {value.shape}, that of the values")
        flat = arrays.concatenate(items) if listed else cotangent.reshape(-1)
        return arrays.ascontiguousarray(flat, np.float64)


# ---- one pair on the host


class _Warp:
    """One pair: its problem posed, solved, certified."""

    def __init__(self, x, y, frame, n_values):
        self.x, self.y, self.frame = x.astype(np.float64), y.astype(np.float64), frame
        self._pose()
        self._search(n_values)
        self._certify()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "kernel"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._pose()
        self._certify()

    def _pose(self):
        """Hand the problem to the kernel."""
        (x, y), f = self._centered(), self.frame
        self.kernel = _backend.warp_kernel(f.t, x, f.x_times, y, f.y_times, f.reg, f.target, f.tolerance)
        self.kernel.losses(*f.losses)
        self.kernel.bounds(*f.bounds, *f.region, *f.slopes)

    def _centered(self):
        center = _far_center(self.x)
        return self.x - center, self.y - center

    def _search(self, n_values):
        (x, y), f = self._centered(), self.frame
        products = None
        if f.wants_products(x.shape[1]):
            y_there = y if f.t is f.y_times else _interpolate(f.t, f.y_times, y)
            products = y_there @ x.T
        self.phi = np.empty(len(f.t))
        with np.errstate(all="ignore"):
            found = self.kernel.search(products, f.candidates(n_values), self.phi)
        self.is_global = found == _backend.WARP_EVERYWHERE
        self.found = found != _backend.WARP_NOWHERE

    def _certify(self):
        n = len(self.phi)
        self.held, self.joined = np.empty(n, np.int8), np.empty(n - 1, np.int8)
        self.node_multipliers, self.slope_multipliers = np.empty(n), np.empty(n - 1)
        multipliers = self.node_multipliers, self.slope_multipliers
        self.objective, residual, scale = self.kernel.certify(self.phi, self.held, self.joined, *multipliers)
        if not np.isfinite(self.objective):
            raise _words.costs_overflow()
        self.residual = residual / scale if scale > 0 else 0.0

    def warn(self, pair):
        if self.found and self.residual <= _RESIDUAL:
            return
        warnings.warn(
            f"the warp{pair} misses the conditions of optimality by {self.residual:.1e} of the largest force; rescale "
            "the signals",
            RuntimeWarning,
            stacklevel=4,
        )

    @property
    def warped(self):
        return _interpolate(self.phi, self.frame.x_times, self.x)

    def rows(self):
        return self.frame.rows(self.held, self.joined, self.node_multipliers, self.slope_multipliers)

    def gradients(self, cotangent, x, y):
        """Adds to x and y; -> by reg (n - 1,), by lower and upper bounds (n,), by those of the slopes (n - 1,)."""
        n = len(self.phi)
        reg, nodes, slopes = np.zeros(n - 1), self.node_multipliers, self.slope_multipliers
        if cotangent is None:
            self.kernel.pull_back_value(1.0, x, y, reg)
        else:
            u, nodes, slopes = np.empty(n), np.empty(n), np.empty(n - 1)
            self.kernel.adjoint(cotangent, u, nodes, slopes)
            self.kernel.pull_back(u, nodes, x, y, reg)
            slopes = slopes * np.diff(self.frame.t)
        return reg, *self._by_band(nodes), *self._by_slopes(slopes)

    def _by_band(self, nodes):
        """Derivatives by active rows (n,) -> by the lower and by the upper side of the band."""
        sides, banded = np.zeros((2, len(nodes))), self.frame.banded
        for i in np.flatnonzero(self.held).tolist():
            side = side_of(self.held[i], self.node_multipliers[i])
            if side is not None and banded[side, i]:
                sides[side, i] = self.frame.band_units[side] * nodes[i]
        return sides

    def _by_slopes(self, slopes):
        """The same for the slopes, (n - 1,)."""
        for name in ("slope_lower", "slope_upper"):
            yield np.where(self.joined == SLOPE_NAMES.index(name), self.frame.target * slopes, 0.0)


def _far_center(x):
    """(d,) means of the channels that lie far off zero, 0 for the others.

    Both signals are moved by it, so that products cancel less. Where a channel holds only rounding, or nothing is to be
    gained, it stays as it is, for rounding to be told from what matters. (So does `center` in _kernels/cuda/warp.cu.)
    """
    with np.errstate(over="ignore"):
        mean, spread = x.mean(axis=0), x.std(axis=0)
    return np.where((np.abs(mean) > 8 * spread) & (spread > 1e-9 * np.abs(mean)), mean, 0.0)


def _interpolate(times, sample_times, samples):
    """(n, d) values of a series at `times`, linear between its samples."""
    if len(samples) == 1:
        return np.repeat(samples, len(times), axis=0)
    k = np.clip(np.searchsorted(sample_times, times, side="right") - 1, 0, len(samples) - 2)
    a = ((times - sample_times[k]) / (sample_times[k + 1] - sample_times[k]))[:, None]
    return (1 - a) * samples[k] + a * samples[k + 1]
