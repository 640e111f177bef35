"""What a continuous warp is asked for, checked: times, weights and bounds of every pair, and of one pair the frame.

A frame is all of a problem but the signals; pairs of the same lengths and options share one. Nothing here knows who
solves the problem, nor what it costs.
"""

import numpy as np

from . import _arrays, _words

_TIME = 1e-12  # share of the time axis of x: what is closer than this is the same time
_TABLE = 2**25  # entries of the largest table of products between all samples
_FEW_CHANNELS = 4  # whose products cost no more than reading a table
_CELLS = 2**17  # n times len(x) up to which everything is searched by default ...
_CANDIDATES = 100  # ... and the candidates a row of the coarse search beyond

# By the kernels' numbers: losses, what holds a node, what joins two.
LOSSES = ("l2", "l1", "huber")
NODE_NAMES = ("", "knot", "root", "lower", "upper", "both")
SLOPE_NAMES = ("", "slope_lower", "slope_upper", "slope_target")


def check_loss(value, name):
    return LOSSES.index(_words.check_choice(value, name, LOSSES))


class Option:
    """A number for all, an array for all pairs, or one for each pair; and gradients in the same form.

    sizes : (B,) entries that each pair needs. infinite: whether entries may be infinite.
    """

    def __init__(self, value, name, sizes, single, infinite=False):
        self.name, self.sizes = name, [int(size) for size in sizes]
        listed = _is_list_of_arrays(value)
        if not listed and np.ndim(value) == 0 and not isinstance(value, str) and value is not None:
            self.form, self.values = "number", _words.check_real(value, name, "a number or an array of numbers")
            self._check(np.array([self.values]), name, infinite)
            return
        if listed:
            if single or len(value) != len(self.sizes):
                expected = "an array of numbers" if single else f"one array for each of {len(self.sizes)} pairs"
                raise ValueError(f"{name} is a list of {len(value)} arrays; expected {expected}")
            self.form, self.values = "list", [_arrays.as_numbers(item, f"{name}[{b}]") for b, item in enumerate(value)]
        else:
            array = _arrays.as_numbers(value, name)
            if array.ndim == 2 and not single and len(array) == len(self.sizes):
                self.form, self.values = "rows", array
            else:
                self.form, self.values = "array", array
        for b, size in enumerate(self.sizes):
            item, at = self._raw(b), f"{name}[{b}]" if self.form in ("list", "rows") else name
            long_enough = self.form == "rows" and item.shape[-1] >= size
            if item.ndim != 1 or not (len(item) == size or long_enough):
                raise ValueError(f"{at} has shape {item.shape}; expected ({size},)")
            self._check(item[:size], at, infinite)

    def _raw(self, b):
        return self.values if self.form == "array" else self.values[b]

    @staticmethod
    def _check(array, name, infinite):
        wrong = np.isnan(array) if infinite else ~np.isfinite(array)
        if wrong.any():
            k = int(np.argmax(wrong))
            where = f" at index {k}" if len(array) > 1 else ""
            expected = "numbers, not NaN" if infinite else "finite numbers"
            raise ValueError(f"{name} holds {_words.special(array[k])}{where}; expected {expected}")

    def item(self, b):
        """(size,) float64."""
        if self.form == "number":
            return np.full(self.sizes[b], float(self.values))
        return np.ascontiguousarray(self._raw(b)[: self.sizes[b]], dtype=np.float64)

    def key(self, b):
        """Equal for pairs that have the same entries."""
        return None if self.form in ("number", "array") else b

    def collect(self, gradients, dtype):
        """Gradients of all pairs, in the caller's form."""
        if self.form == "number":
            return dtype.type(sum(float(gradient.sum()) for gradient in gradients))
        if self.form == "list":
            return [gradient.astype(dtype) for gradient in gradients]
        if self.form == "array":
            return np.sum(gradients, axis=0).astype(dtype)
        out = np.zeros(self.values.shape, dtype)
        for row, gradient in zip(out, gradients, strict=True):
            row[: len(gradient)] = gradient
        return out

    def collect_flat(self, gradient, starts, dtype, arrays):
        """The same of one array, in which that of pair b begins at starts[b]; zeros in between. arrays : its module."""
        B = len(self.sizes)
        if self.form == "number":
            return gradient.sum().astype(dtype)
        if self.form == "list":
            return [gradient[k : k + size].astype(dtype) for k, size in zip(starts, self.sizes, strict=True)]
        if self.form == "array":
            return gradient.reshape(B, -1)[:, : self.sizes[0]].sum(axis=0).astype(dtype)
        out = arrays.zeros(self.values.shape, dtype)
        for row, k, size in zip(range(B), starts, self.sizes, strict=True):
            out[row, :size] = gradient[k : k + size].astype(dtype)
        return out


def _is_list_of_arrays(value):
    return isinstance(value, (list, tuple)) and len(value) > 0 and np.ndim(value[0]) > 0


class Clock:
    """Sample times of x and of y and warp times of every pair, from 0 on; and the form of what follows the latter."""

    def __init__(self, x, y, x_times, y_times, warp_times):
        single = x.form == "single"
        self.x, _ = self._times(x_times, "x_times", x.lengths, single)
        self.y, starts = self._times(y_times, "y_times", y.lengths, single)
        self.single, self.ragged = single, "list" in (x.form, y.form)
        self.t = self.y
        if warp_times is not None:
            self.t = self._warp_times(warp_times, starts)
        self.rows = max(y.n_rows if warp_times is None and y.form == "padded" else 0, *map(len, self.t), 0)

    @staticmethod
    def _times(times, name, lengths, single):
        """-> list of B arrays from 0 on, and where they started."""
        if times is None:
            even = {int(n): np.linspace(0.0, 1.0, int(n)) for n in set(lengths.tolist())}
            return [even[int(n)] for n in lengths], [0.0] * len(lengths)
        option = Option(times, name, lengths, single)
        if option.form == "number":
            raise ValueError(f"{name} is a number; expected an array of times")
        shared, items, starts = option.form == "array", [], []
        for b in range(1 if shared else len(lengths)):
            item = option.item(b)
            _check_increasing(item, name if shared else f"{name}[{b}]")
            items.append(item - item[0])
            starts.append(item[0])
        return (items * len(lengths), starts * len(lengths)) if shared else (items, starts)

    def _warp_times(self, warp_times, starts):
        listed = _is_list_of_arrays(warp_times)
        B = len(self.y)
        array = None if listed else _arrays.as_numbers(warp_times, "warp_times")
        rows = warp_times if listed else array
        each = (listed or array.ndim == 2) and not self.single
        if each and len(rows) != B:
            raise ValueError(f"warp_times holds {len(rows)} arrays; expected one for each of {B} pairs")
        self.ragged = self.ragged or listed
        items, known = [], {}
        for b in range(B):
            key = b if each else (starts[b], id(self.y[b]))
            if key in known:
                items.append(known[key])
                continue
            name = f"warp_times[{b}]" if each else "warp_times"
            item = _arrays.as_numbers(rows[b] if each else rows, name)
            if item.ndim != 1 or not len(item):
                raise ValueError(f"{name} has shape {item.shape}; expected (n,), n >= 2")
            item = item.astype(np.float64)
            Option._check(item, name, infinite=False)
            _check_increasing(item, name)
            item, last = item - starts[b], self.y[b][-1]
            outside = (item < -_TIME * last) | (item > last * (1 + _TIME))
            if outside.any():
                k = int(np.argmax(outside))
                came, first = item[k] + starts[b], starts[b]
                raise ValueError(f"{name} holds {came} at index {k}; expected times of y, {first} to {first + last}")
            known[key] = np.clip(item, 0.0, last)
            items.append(known[key])
        return items

    def key(self, b):
        """Equal for pairs that have the same times."""
        return id(self.x[b]), id(self.y[b]), id(self.t[b])

    def shape(self, items, dtype=np.float64):
        """Arrays (n_b, ...) of all pairs in the caller's form."""
        if self.single:
            return np.asarray(items[0], dtype)
        if self.ragged:
            return [np.asarray(item, dtype) for item in items]
        out = np.zeros((len(items), self.rows, *items[0].shape[1:]), dtype)
        for row, item in zip(out, items, strict=True):
            row[: len(item)] = item
        return out

    def layout(self):
        """-> (B,) where the entries of each pair begin in one flat array, and how many there are with the padding."""
        lengths = np.array([len(t) for t in self.t]) if self.ragged else np.full(len(self.t), self.rows)
        return np.cumsum(lengths) - lengths, int(lengths.sum())

    def shape_flat(self, flat):
        """The same as `shape` of one flat array; of any kind of arrays, without copies."""
        if self.single:
            return flat
        if self.ragged:
            starts, _ = self.layout()
            return [flat[k : k + len(t)] for k, t in zip(starts.tolist(), self.t, strict=True)]
        return flat.reshape(len(self.t), self.rows, *flat.shape[1:])

    def read(self, value, name):
        """The inverse: an argument shaped as the values of the warps -> list of (n_b,) float64."""
        if self.single:
            items = [_arrays.as_numbers(value, name)]
        elif self.ragged:
            if not isinstance(value, (list, tuple)) or len(value) != len(self.t):
                raise ValueError(f"{name} does not fit; expected a list of {len(self.t)} arrays, as the values are")
            items = [_arrays.as_numbers(item, f"{name}[{b}]") for b, item in enumerate(value)]
        else:
            array = _arrays.as_numbers(value, name)
            if array.shape != (len(self.t), self.rows):
                raise ValueError(
                    f"{name} has shape {array.shape}; expected {(len(self.t), self.rows)}, that of the values"
                )
            items = [row[: len(t)] for row, t in zip(array, self.t, strict=True)]
        for b, (item, t) in enumerate(zip(items, self.t, strict=True)):
            at = name if self.single else f"{name}[{b}]"
            if item.shape != t.shape:
                raise ValueError(f"{at} has shape {item.shape}; expected {t.shape}, that of the values")
            Option._check(item, at, infinite=False)
        return [np.ascontiguousarray(item, dtype=np.float64) for item in items]


def _check_increasing(times, name):
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"{name} holds {times[k]} and then {times[k + 1]} at index {k + 1}; expected strictly increasing times"
        )


class Rules:
    """Regularization, bounds and losses of all pairs."""

    def __init__(self, clock, reg, band, slope_bounds, subsequence, target_slope, losses):
        single, nodes = clock.single, [len(t) for t in clock.t]
        intervals = [n - 1 for n in nodes]
        self.subsequence, self.losses, self.target_slope = subsequence, losses, target_slope
        self.reg = Option(reg, "reg", intervals, single)
        _check_sign(self.reg)
        self.half_width = self.band = None
        if band is not None and _is_number(band):
            self.half_width = Option(_words.check_nonnegative(band, "band"), "band", nodes, single)
        elif band is not None:
            lower, upper = _two(band, "band", "None, a half-width, or (lower, upper)")
            self.band = (
                Option(lower, "band[0]", nodes, single, infinite=True),
                Option(upper, "band[1]", nodes, single, infinite=True),
            )
        lower, upper = _two(slope_bounds, "slope_bounds", "(lower, upper)")
        self.slopes = (
            Option(lower, "slope_bounds[0]", intervals, single, infinite=True),
            Option(upper, "slope_bounds[1]", intervals, single, infinite=True),
        )
        for b in range(len(nodes)):
            wrong = self.slopes[0].item(b) > self.slopes[1].item(b)
            if wrong.any():
                k = int(np.argmax(wrong))
                low, high = (option.item(b)[k] for option in self.slopes)
                raise ValueError(
                    f"slope_bounds allow no slope from warp time {k} to {k + 1}: lower {low}, upper {high}"
                )

    def key(self, b):
        """Equal for pairs that have the same weights and bounds."""
        band = [self.half_width] if self.band is None else self.band
        return tuple(None if option is None else option.key(b) for option in (self.reg, *band, *self.slopes))

    def bound_options(self):
        """Options of the lower and upper bounds of phi and of its slopes; None where there are none."""
        band = self.band or (self.half_width, self.half_width)
        return *band, *(None if o.form == "number" and np.isinf(o.values) else o for o in self.slopes)


def _is_number(value):
    """Also one that an array of no dimensions holds."""
    return getattr(value, "ndim", None) == 0 or not hasattr(value, "__len__")


def _two(pair, name, expected):
    if isinstance(pair, str) or _is_number(pair) or len(pair) != 2:
        raise _words.wrong_type(pair, name, expected)
    return pair


def _check_sign(option):
    for b in range(len(option.sizes)):
        item = option.item(b)
        if (item < 0).any():
            k = int(np.argmax(item < 0))
            at = option.name + (f"[{b}]" if option.form in ("list", "rows") else "")
            where = "" if option.form == "number" else f" at index {k}"
            raise ValueError(f"{at} is {item[k]}{where}; expected numbers >= 0")


# ---- one pair, or several of the same kind


class Frame:
    """Times, bounds and weights of pair b and of all that share them. Raises if no warp is feasible.

    t (n,), x_times (nx,), y_times (ny,), reg (n - 1,); target : the slope s; tolerance : between equal times.
    bounds : lower and upper bounds of phi (n,), as given; slopes : of phi' (n - 1,).
    region : bounds of phi (n,) tightened by those of the slopes.
    names, banded : (2, n) what sets `bounds`, and whether it is the band.
    band_units : of the lower and upper bound, how fast it moves with the band that was given.
    """

    def __init__(self, clock, rules, b):
        self.single, self.b = clock.single, b
        self.t, self.x_times, self.y_times = clock.t[b], clock.x[b], clock.y[b]
        self.x_duration, self.y_duration = self.x_times[-1], self.y_times[-1]
        default = 1.0 if rules.subsequence or self.y_duration == 0 else self.x_duration / self.y_duration
        self.target = default if rules.target_slope is None else rules.target_slope
        self.reg, self.losses, self.tolerance = rules.reg.item(b), rules.losses, _TIME * self.x_duration
        self.band_units = (1.0, 1.0) if rules.half_width is None else (-self.x_duration, self.x_duration)
        self._set_bounds(rules)

    def candidates(self, n_values):
        """A row of the coarse search; 0: everything is searched."""
        n, m = len(self.t), len(self.x_times)
        candidates = n_values or (0 if n * m <= _CELLS else _CANDIDATES)
        return 0 if candidates >= m else candidates

    def wants_products(self, channels):
        """Whether a table of all products of samples is worth its memory."""
        return channels > _FEW_CHANNELS and len(self.t) * len(self.x_times) <= _TABLE

    def rows(self, held, joined, node_multipliers, slope_multipliers):
        """Active rows as (name, index), and their multipliers. IN held (n,), joined (n - 1,) as the kernels number."""
        active, multipliers = [], []
        for i in np.flatnonzero(held).tolist():
            side = side_of(held[i], node_multipliers[i])
            active.append((NODE_NAMES[held[i]] if side is None else self.names[side][i], i))
            multipliers.append(node_multipliers[i])
        for j in np.flatnonzero(joined).tolist():
            active.append((SLOPE_NAMES[joined[j]], j))
            multipliers.append(slope_multipliers[j])
        return active, np.array(multipliers)

    def _set_bounds(self, rules):
        t, T1 = self.t, self.x_duration
        n = len(t)
        self.names = np.full((2, n), "domain_lower", object)
        self.names[1] = "domain_upper"
        self.banded = np.zeros((2, n), bool)
        lower, upper = np.zeros(n), np.full(n, T1)
        if rules.losses[-1]:  # the symmetric form reads y at 2 t - phi
            lower, upper = np.maximum(lower, 2 * t - self.y_duration), np.minimum(upper, 2 * t)
        if rules.half_width is not None or rules.band is not None:
            if rules.band is not None:
                band = rules.band[0].item(self.b), rules.band[1].item(self.b)
            else:
                line, h = T1 * np.linspace(0, 1, n), rules.half_width.item(self.b) * T1
                if n > 1:
                    line = T1 * (t - t[0]) / (t[-1] - t[0])
                band = line - h, line + h
            self.banded[:] = band[0] > lower, band[1] < upper
            self.names[0][self.banded[0]], self.names[1][self.banded[1]] = "band_lower", "band_upper"
            lower, upper = np.maximum(lower, band[0]), np.minimum(upper, band[1])
        if not rules.subsequence:
            if n == 1 and T1 > 0:
                raise self._infeasible(0, f"phi is pinned to both ends of x, 0 and {T1:.6g}, as there is no other time")
            for k, end in ((0, 0.0), (n - 1, T1)):
                for side, wrong in ((0, lower[k] > end + _TIME * T1), (1, upper[k] < end - _TIME * T1)):
                    if wrong:
                        raise self._infeasible(k, f"{self.names[side][k]} keeps phi off the pin {end}")
                lower[k] = upper[k] = end
                self.names[:, k], self.banded[:, k] = "pin", False
        slopes = [option.item(self.b) for option in rules.slopes]
        # inf stays inf, also times a target of 0
        slopes = [np.multiply(s, self.target, out=s.copy(), where=np.isfinite(s)) for s in slopes]
        self.bounds = np.ascontiguousarray(lower), np.ascontiguousarray(upper)
        self.slopes, self.region = slopes, self._tightened(slopes)

    def _tightened(self, slopes):
        """Bounds of phi that also say what the slope bounds leave within reach of both ends; no warp at all raises."""
        (lower, upper), T1, d = self.bounds, self.x_duration, np.diff(self.t)
        slack = _TIME * max(T1, upper.max() - lower.min())
        finite = [np.where(np.isfinite(s), s, 0.0) * d for s in slopes]
        reach = 2 * max(upper.max() - lower.min(), 0.0) + sum(np.abs(part).sum() for part in finite)  # beyond any step
        steps = [np.where(np.isfinite(s), part, np.sign(s) * reach) for s, part in zip(slopes, finite, strict=True)]
        sums = [np.concatenate(([0.0], np.cumsum(step))) for step in steps]
        low = sums[0] + np.maximum.accumulate(lower - sums[0])
        high = sums[1] + np.minimum.accumulate(upper - sums[1])
        wrong = low > high + slack
        if wrong.any():
            raise self._infeasible(int(np.argmax(wrong)), self._conflict(int(np.argmax(wrong)), low, high, slack))
        low = np.maximum(low, (sums[1] + np.maximum.accumulate((lower - sums[1])[::-1])[::-1]))
        high = np.minimum(high, (sums[0] + np.minimum.accumulate((upper - sums[0])[::-1])[::-1]))
        low, high = np.where(low <= lower + slack, lower, low), np.where(high >= upper - slack, upper, high)
        crossed = low > high
        low[crossed] = high[crossed] = (low[crossed] + high[crossed]) / 2
        return low, high

    def _conflict(self, k, low, high, slack):
        (lower, upper), (below, above) = self.bounds, self.names
        if lower[k] > upper[k] + slack:
            return f"{below[k]} asks for phi >= {lower[k]:.6g}, {above[k]} for phi <= {upper[k]:.6g}"
        if lower[k] > high[k] + slack:
            return f"{below[k]} asks for phi >= {lower[k]:.6g}, but slope_upper admits at most {high[k]:.6g}"
        if upper[k] < low[k] - slack:
            return f"{above[k]} asks for phi <= {upper[k]:.6g}, but slope_lower forces at least {low[k]:.6g}"
        return f"slope_lower forces phi >= {low[k]:.6g}, slope_upper admits at most {high[k]:.6g}"

    def _infeasible(self, k, reason):
        pair = "" if self.single else f" for pair {self.b}"
        return ValueError(f"no warp is feasible{pair}: at warp time {self.t[k]:.6g} (index {k}) {reason}")


def side_of(held, multiplier):
    """Which bound holds a node: 0 the lower one, 1 the upper one, None for a kink."""
    if NODE_NAMES[held] == "both":
        return int(multiplier < 0)
    return {"lower": 0, "upper": 1}.get(NODE_NAMES[held])


def frames(clock, rules):
    """-> frames, and for each pair the number of its own."""
    found, numbers, which = [], {}, []
    for b in range(len(clock.t)):
        key = (*clock.key(b), *rules.key(b))
        if key not in numbers:
            numbers[key] = len(found)
            found.append(Frame(clock, rules, b))
        which.append(numbers[key])
    return found, which
