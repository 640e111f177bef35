"""Continuous warps on a device as on the CPU: cases shared by test_cuda_warps_on_host.py and test_gpu_warps.py."""

import numpy as np
from device_parity import close
from numpy.testing import assert_array_equal

import sdtwkit

LOSSES = ("l2", "l1", "huber")
# One of everything that changes a warp.
OPTIONS = {
    "plain": {},
    "band": {"band": 0.15},
    "slopes": {"slope_bounds": (0.4, 2.5)},
    "subsequence": {"subsequence": True, "slope_bounds": (0.0, 1.2), "target_slope": 0.7},
    "falling": {"slope_bounds": (-2.0, 3.0), "band": 0.4},
    "cumulative": {"cum_reg": 0.5, "cum_loss": "l1"},
    "symmetric": {"symmetric": True, "cum_reg": 0.1, "cum_loss": "huber"},
    "corridor": {"n_values": 4},
}
# x, y; one sample among them, more than a warp has lanes, more than the coarse search passes over.
SHAPES = ((9, 7), (1, 5), (40, 35), (70, 12))


def random_pairs(rng, m, n, d, dtype, walk=True):
    """Three pairs as padded arrays, NaN beyond their lengths; walks, or noise of few levels: kinks and plateaus."""
    x, y = rng.normal(size=(3, m, d)), rng.normal(size=(3, n, d))
    x, y = (x.cumsum(axis=1) / 3 + 20, y.cumsum(axis=1) / 3 + 20) if walk else (np.round(x), np.round(y))
    rows, columns = np.array([m, max(1, m - 2), m]), np.array([n, n, max(2, n - 3)])
    for b in range(3):
        x[b, rows[b] :] = y[b, columns[b] :] = np.nan
    return x.astype(dtype), y.astype(dtype), {"x_lengths": rows, "y_lengths": columns}


def on_device(cupy, value):
    return [cupy.asarray(item) for item in value] if isinstance(value, list) else cupy.asarray(value)


def check_result(cupy, rng, got, expected, dtype):
    """All that a result holds, and its derivatives."""

    def same(actual, answer, dtype=dtype):
        for a, b in zip(actual, answer, strict=True) if isinstance(answer, list) else [(actual, answer)]:
            close(a, b, dtype)

    for name in ("values", "warped", "objective"):
        same(getattr(got, name), getattr(expected, name))
    same(got.times, expected.times, np.float64)
    for side in (0, 1):
        same(got.bounds[side], expected.bounds[side])
    assert_array_equal(got.is_global.get(), expected.is_global)
    assert (got.kkt_residual.get() < 1e-9).all()
    assert got.active == expected.active
    same(got.multipliers, expected.multipliers, np.float64)
    values = expected.values
    if isinstance(values, list):
        cotangent = [rng.normal(size=item.shape).astype(dtype) for item in values]
    else:
        cotangent = rng.normal(size=values.shape).astype(dtype)
    for actual, answer in (
        (got.vjp(on_device(cupy, cotangent)), expected.vjp(cotangent)),
        (got.value_grad(), expected.value_grad()),
    ):
        for a, b in zip(actual, answer, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                same(a, b)


def check_warps(cupy, rng, dtype, options, shape, d=2, walk=True):
    """One ragged batch, padded and as lists, and one pair alone."""
    if options.get("symmetric") and shape[0] == 1:
        return  # y would be read far beyond its end
    x, y, lengths = random_pairs(rng, *shape, d, dtype, walk)
    xs, ys = ([a[:k] for a, k in zip(z, sizes, strict=True)] for z, sizes in zip((x, y), lengths.values(), strict=True))
    for a, b, ends in ((x, y, lengths), (xs, ys, {}), (xs[0], ys[0], {})):
        expected = sdtwkit.dec_dtw(a, b, **options, **ends)
        got = sdtwkit.dec_dtw(on_device(cupy, a), on_device(cupy, b), **options, **ends)
        check_result(cupy, rng, got, expected, dtype)


def check_options_of_each_pair(cupy, rng):
    """Times, weights and bounds for all pairs, and for each."""
    x, y = rng.normal(size=(3, 12, 1)).cumsum(axis=1), rng.normal(size=(3, 9, 1)).cumsum(axis=1)
    t = np.sort(rng.random(12)).cumsum()
    s = np.sort(rng.random(9)).cumsum()
    line = np.linspace(0, 1, 9)
    for options in (
        {"x_times": t, "y_times": s, "reg": rng.random(8), "warp_times": s[::2], "slope_bounds": (0.1, np.inf)},
        {"reg": rng.random((3, 8)), "band": (line - 0.2, line + rng.random((3, 9)))},
        {"reg": list(rng.random((3, 8))), "slope_bounds": (np.full(8, 0.3), list(rng.random((3, 8)) + 2))},
    ):
        if "warp_times" in options:
            options["reg"] = options["reg"][:4]
        expected = sdtwkit.dec_dtw(x, y, **options)
        check_result(cupy, rng, sdtwkit.dec_dtw(cupy.asarray(x), cupy.asarray(y), **options), expected, np.float64)
        sent = {
            name: tuple(side if np.ndim(side) == 0 else on_device(cupy, side) for side in value)
            if isinstance(value, tuple)
            else on_device(cupy, value)
            for name, value in options.items()
        }
        check_result(cupy, rng, sdtwkit.dec_dtw(cupy.asarray(x), cupy.asarray(y), **sent), expected, np.float64)
