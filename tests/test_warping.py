"""Continuous warps: the global minimum, its certificate and its derivatives, against oracles, brute force and
differences of problems that are solved again."""

import copy
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import reference_warp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit import WarpResult, dec_dtw

CASES = np.load(Path(__file__).with_name("warp_cases.npz"))
LOSSES = ("l2", "l1", "huber")
T10 = np.linspace(0, 1, 10)
# Kinds of problem, each as arguments of dec_dtw for x (9, 2) and y (10, 2).
KINDS = {
    "pinned": {},
    "stiff": {"reg": 5.0},
    "loose": {"reg": 1e-4},
    "by-interval": {"reg": np.geomspace(0.001, 1, 9)},
    "subsequence": {"subsequence": True},
    "half-width": {"band": 0.08},
    "band": {"band": (T10 - 0.02 - 0.2 * np.sin(3 * T10), T10 + 0.1)},
    "half-open-band": {"band": (np.full(10, -np.inf), T10 + 0.03)},
    "slopes": {"slope_bounds": (0.6, 1.5)},
    "slopes-by-interval": {"slope_bounds": (np.linspace(0.2, 0.8, 9), np.linspace(2.5, 1.2, 9)), "reg": 0.001},
    "irregular": {"x_times": np.arange(9.0) ** 1.3 + 4, "y_times": np.arange(10.0) ** 0.8 - 2},
    "warp-times": {"warp_times": np.array([0.0, 0.1, 0.15, 0.4, 0.41, 0.8, 1.0])},
    "target": {"target_slope": 2.0, "subsequence": True},
    "cumulative": {"cum_reg": 2.0},
    "symmetric": {"symmetric": True},
    "all": {
        "band": 0.2,
        "slope_bounds": (0.3, 2.0),
        "reg": 0.01,
        "cum_reg": 0.5,
        "cum_loss": "huber",
        "subsequence": True,
    },
}
FIELDS = ("x", "y", "reg", "band_lower", "band_upper", "slope_lower", "slope_upper")


def signals(rng, n=9, m=10, d=2, smooth=0.0):
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    return (x, y) if not smooth else tuple(np.cumsum(z, axis=0) * smooth for z in (x, y))


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return {"reg": 0.05, **request.param}


@pytest.fixture(params=product(LOSSES, LOSSES), ids="-".join)
def losses(request):
    loss, reg_loss = request.param
    return {"loss": loss, "reg_loss": reg_loss, "loss_delta": 0.7, "reg_delta": 0.4}


def relative(got, expected):
    expected = np.asarray(expected, float)
    return np.abs(np.asarray(got) - expected).max() / max(np.abs(expected).max(), 1e-12)


# ---- values


@pytest.mark.parametrize("name", ["d01", "d05", "d08"])
def test_the_oracles_warps_and_gradients(name):
    """Sines; noise with a slope bound that is active in long chains; a random walk with nodes on knots."""
    case = {key[4:]: CASES[key] for key in CASES if key.startswith(name)}
    options = {} if np.isnan(case["slope_param"]) else {"slope_bounds": (0, float(case["slope_param"]))}
    warp = dec_dtw(case["x"], case["y"], float(case["lam"]), **options)
    assert warp.objective <= case["oracle_obj"] * (1 + 1e-12)
    assert_allclose(warp.values, case["oracle_phi"], rtol=0, atol=1e-12)
    gradients = warp.vjp(case["cotangent"])
    assert relative(gradients.x, case["oracle_gx"]) < 1e-10
    assert relative(gradients.y, case["oracle_gy"]) < 1e-10
    assert_allclose(gradients.reg, case["oracle_glam"], rtol=1e-10)


def check_minimum(x, y, options, count=60, gap=1e-6):
    """Never above the best path of the slow twin, nor below it by more than the twin's own inaccuracy."""
    problem = reference_warp.Problem(x, y, **options)
    warp = dec_dtw(x, y, **options)
    assert problem.feasible(warp.values)
    assert_allclose(warp.objective, problem.objective(warp.values), rtol=1e-11, atol=1e-13)
    best = problem.objective(problem.solve(count))
    assert warp.objective <= best + 1e-9 * abs(best)
    assert warp.objective >= best - gap * max(abs(best), 1e-3)
    assert warp.kkt_residual < 1e-9
    assert warp.is_global
    return warp


@pytest.mark.parametrize("smooth", [0.0, 0.5])
def test_no_path_of_a_fine_grid_is_better(kind, losses, smooth, rng):
    x, y = signals(rng, smooth=smooth)
    check_minimum(x, y, {**kind, **losses}, count=100, gap=np.inf)  # a coarse grid may end in another basin


@pytest.mark.parametrize("seed", range(8))
def test_brute_force_on_a_very_fine_grid(seed):
    rng = np.random.default_rng(seed)
    check_minimum(*signals(rng, 7, 6, 1), {"reg": 10 ** rng.uniform(-4, 0)}, count=800, gap=1e-8)


@given(st.integers(0, 10**6))
def test_any_problem(seed):
    """Random sizes, with samples that repeat, exactly or nearly, so that plateaus, ties and redundant rows abound."""
    rng = np.random.default_rng(seed)
    n, m, d = rng.integers(2, 9, size=3)
    noise = rng.choice([0.0, 1e-6])
    x, y = (rng.integers(-1, 2, size=(k, d)) + noise * rng.normal(size=(k, d)) for k in (n, m))
    options = {"reg": rng.choice([0.0, 0.01, 1.0]), "subsequence": bool(rng.integers(2)), "loss": rng.choice(LOSSES)}
    options |= {"reg_loss": rng.choice(LOSSES), "slope_bounds": (rng.choice([0, 0.5]), rng.choice([1.5, np.inf]))}
    options |= {"symmetric": bool(rng.integers(4) == 0)}
    problem, warp = reference_warp.Problem(x, y, **options), dec_dtw(x, y, **options)
    best = problem.objective(problem.solve(20, 1e-4))
    assert problem.feasible(warp.values)
    assert warp.objective <= best + 1e-9 * max(best, 1e-3)
    assert warp.kkt_residual < 1e-9
    for gradients in (warp.vjp(rng.normal(size=m)), warp.value_grad()):
        assert all(np.isfinite(part).all() for part in gradients if part is not None)


def test_channels_in_a_table_and_channels_one_by_one_agree(rng):
    """Five channels go through a matrix product, and the same in four do not."""
    x, y = signals(rng, 30, 25, 4)
    few, many = dec_dtw(x, y), dec_dtw(*(np.hstack([z, np.full((len(z), 1), 3.0)]) for z in (x, y)))
    assert_allclose(few.values, many.values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reg", [1e-3, 0.1, 10.0])
def test_long_series_are_searched_in_corridors(reg, rng):
    """n_values below the samples of x: not above the linear warp, optimal in its corridor; at least those: global."""
    t = np.linspace(0, 1, 400)
    x, y = np.sin(20 * t), np.sin(20 * t**1.5) + 0.05 * rng.normal(size=400)
    coarse, everything = dec_dtw(x, y, reg, n_values=50), dec_dtw(x, y, reg, n_values=400)
    assert everything.is_global
    assert coarse.kkt_residual < 1e-9
    assert_allclose(coarse.objective, everything.objective, rtol=1e-9)
    assert_allclose(coarse.values, everything.values, rtol=0, atol=1e-7)


def test_a_corridor_moves_with_its_path():
    """Two walks whose coarse warp is another one than the best: the corridor follows where its walls are touched."""
    rng = np.random.default_rng(2)
    x, y = (np.cumsum(rng.normal(size=1000)) for _ in "xy")
    x, y = (2 * (z - z.min()) / np.ptp(z) - 1 for z in (x, y))
    coarse, everything = (dec_dtw(x, y, 0.001, n_values=k) for k in (100, 1000))
    assert_allclose(coarse.objective, everything.objective, rtol=1e-9)


def test_a_corridor_with_tight_slopes_and_band(rng):
    x, y = signals(rng, 300, 280, smooth=1.0)
    slopes = (rng.uniform(0, 0.9, 279), rng.uniform(1.1, 2, 279))
    coarse, everything = (dec_dtw(x, y, 0.1, slope_bounds=slopes, band=0.1, n_values=k) for k in (40, 300))
    assert everything.objective <= coarse.objective * (1 + 1e-12)
    assert coarse.kkt_residual < 1e-9


# ---- certificate


def test_active_rows_are_named(rng):
    x, y = signals(rng, 20, 30, 1, smooth=1.0)
    assert {name for name, _ in dec_dtw(x, y, 0.01).active} <= {
        "pin",
        "knot",
        "domain_lower",
        "domain_upper",
        "slope_lower",
    }
    banded = dec_dtw(x, y, 1e-3, band=0.02).active
    assert {"band_lower", "band_upper"} & {name for name, _ in banded}
    assert ("pin", 0) in banded
    assert ("pin", 29) in banded
    assert "slope_upper" in {name for name, _ in dec_dtw(x, y, 1e-3, slope_bounds=(0.5, 1.2)).active}
    assert "slope_target" in {name for name, _ in dec_dtw(x, y, 10.0, reg_loss="l1").active}
    assert "root" in {name for name, _ in dec_dtw(x, y, 0.1, loss="l1").active}


def test_multipliers_are_derivatives_of_the_minimum(rng):
    x, y = signals(rng, 12, 14, 1, smooth=1.0)
    lower, upper = (np.linspace(0, 1, 14) + shift for shift in (-0.03, 0.04))
    warp = dec_dtw(x, y, 0.01, band=(lower, upper))
    rows = [(k, row) for k, row in enumerate(warp.active) if row[0].startswith("band")]
    assert rows
    for k, (name, i) in rows:
        step = 1e-6 * (np.arange(14) == i)
        moved = [
            dec_dtw(
                x, y, 0.01, band=(lower + s * step * (name == "band_lower"), upper + s * step * (name == "band_upper"))
            )
            for s in (1, -1)
        ]
        slope = (moved[0].objective - moved[1].objective) / 2e-6
        assert_allclose(warp.multipliers[k], slope, rtol=1e-6, atol=1e-8)


def test_what_is_no_kkt_point_warns(monkeypatch):
    from sdtwkit import _warp_pairs

    monkeypatch.setattr(_warp_pairs, "_RESIDUAL", -1.0)
    with pytest.warns(RuntimeWarning, match="misses the conditions of optimality"):
        dec_dtw([0.0, 1.0, 0.0], [0.0, 0.5, 1.0, 0.0])


# ---- derivatives


def directions(rng, x, y, options):
    """Ways to move each argument: field -> how far each of its entries moves."""
    ways = {"x": rng.normal(size=x.shape), "y": rng.normal(size=y.shape)}
    ways["reg"] = rng.normal(size=np.shape(options["reg"])) * options["reg"]
    lower, upper = options.get("slope_bounds", (0.0, np.inf))
    if "slope_bounds" in options:
        ways["slope_lower"], ways["slope_upper"] = rng.normal(size=np.shape(lower)), rng.normal(size=np.shape(upper))
    if "band" in options and np.ndim(options["band"]) == 0:
        ways["band"] = np.float64(1.0)
    elif "band" in options:
        ways["band_lower"], ways["band_upper"] = rng.normal(size=(2, len(options["band"][0])))
    return ways


def solve_moved(x, y, options, field, way, t):
    options = dict(options)
    if field in ("x", "y"):
        x, y = (x + t * way, y) if field == "x" else (x, y + t * way)
    elif field in ("reg", "band"):
        options[field] = options[field] + t * way
    else:
        name = "band" if field.startswith("band") else "slope_bounds"
        pair = list(options[name])
        side = field.endswith("upper")
        pair[side] = pair[side] + t * way
        options[name] = tuple(pair)
    return dec_dtw(x, y, **options)


def check_derivatives(x, y, options, rng, step=1e-6, tolerance=2e-6):
    """Central differences of problems that are solved again, along one direction of each argument -> how many."""
    warp = dec_dtw(x, y, **options)
    cotangent = rng.normal(size=warp.values.shape)
    gradients, value_gradients = warp.vjp(cotangent), warp.value_grad()
    compared = 0
    for field, way in directions(rng, x, y, options).items():
        up, down = (solve_moved(x, y, options, field, way, t) for t in (step, -step))
        slopes = [cotangent @ (a.values - b.values) / step for a, b in ((up, warp), (warp, down))]
        if not (up.active == down.active == warp.active and abs(slopes[0] - slopes[1]) < 1e-3):
            continue  # a kink of the solution lies within the step
        fields = ("band_lower", "band_upper") if field == "band" else (field,)
        slope = cotangent @ (up.values - down.values) / (2 * step)
        got = sum(float(np.sum(getattr(gradients, f) * way)) for f in fields)
        assert_allclose(got, slope, rtol=tolerance, atol=tolerance * 0.1, err_msg=field)
        slope = (up.objective - down.objective) / (2 * step)
        got = sum(float(np.sum(getattr(value_gradients, f) * way)) for f in fields)
        assert_allclose(got, slope, rtol=tolerance, atol=tolerance * 0.1, err_msg=field)
        compared += 1
    return compared


def test_gradients_of_every_kind(kind, losses, rng):
    assert check_derivatives(*signals(rng), {**kind, **losses}, rng) >= 2


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_gradients_where_many_rows_are_active(smooth, rng):
    """Longer problems: tens of knots, chains of slope rows, stretches along the band."""
    for options in ({"reg": 1e-3}, {"reg": 1e-3, "slope_bounds": (0.7, 1.2)}, {"reg": 1e-3, "band": 0.03}):
        x, y = signals(rng, 60, 50, 3, smooth)
        assert len(dec_dtw(x, y, **options).active) > 8
        assert check_derivatives(x, y, options, rng) >= 3


def test_knots_make_a_difference(rng):
    """The released code's gradient, which ignores them, would be wrong by O(1): a node on a knot does not move."""
    x, y = signals(rng, 60, 50, 1, smooth=1.0)
    warp = dec_dtw(x, y, 0.01)
    knots = [i for name, i in warp.active if name == "knot"]
    assert knots
    for i in knots:
        gradients = warp.vjp(1.0 * (np.arange(50) == i))
        assert_array_equal(gradients.x, 0)
        assert_array_equal(gradients.y, 0)
        assert gradients.reg == 0


@pytest.mark.parametrize("bend", [0.0, 0.2])
def test_a_root_on_a_knot_moves_with_the_signals(bend):
    """Absolute residuals: phi follows the root of its residual over a sample time of x, where the slope may change."""
    x, y = np.array([-1.0, 0.0, 1.0 + bend]), np.array([-1.0, 0.0, 1.0 + bend])
    warp = dec_dtw(x, y, 0.01, loss="l1")
    assert ("root", 1) in warp.active
    assert warp.values[1] == 0.5
    gradients, step = warp.vjp([0.0, 1.0, 0.0]), 1e-6 * np.array([0.0, 1.0, 0.0])
    slopes = [(dec_dtw(x, y + s * step, 0.01, loss="l1").values[1] - 0.5) / (s * 1e-6) for s in (1, -1)]
    assert_allclose(gradients.y[1], slopes[bend > 0], rtol=1e-6)
    assert_allclose(gradients.x[1], -gradients.y[1], rtol=1e-6)


@pytest.mark.parametrize("reg", [1e6, 1e9, 1e12])
def test_a_warp_that_is_all_but_straight(reg, rng):
    """Nodes lie closer to knots than the certificate can tell, and are not held by them."""
    x, y = signals(rng, 30, 30, 1)
    warp = dec_dtw(x, y, reg)
    assert warp.kkt_residual < 1e-8
    assert_allclose(warp.values, np.linspace(0, 1, 30), rtol=0, atol=10 / reg)


def test_each_entry_by_itself(rng):
    x, y = signals(rng, 6, 7, 2)
    warp, cotangent, step = dec_dtw(x, y, 0.05), rng.normal(size=7), 1e-6
    gradients = warp.vjp(cotangent)
    for gradient, z, k in ((gradients.x, x, 0), (gradients.y, y, 1)):
        for index in np.ndindex(z.shape):
            way = np.zeros(z.shape)
            way[index] = step
            pairs = [[x + s * way, y] if k == 0 else [x, y + s * way] for s in (1, -1)]
            slope = cotangent @ (dec_dtw(*pairs[0], 0.05).values - dec_dtw(*pairs[1], 0.05).values) / (2 * step)
            assert_allclose(gradient[index], slope, rtol=1e-5, atol=1e-7)


def test_the_cotangent_is_read_not_written(rng):
    x, y = signals(rng)
    cotangent = np.ones(10)
    cotangent.flags.writeable = False
    warp = dec_dtw(x, y)
    first, second = warp.vjp(cotangent), warp.vjp(cotangent)
    assert_array_equal(first.x, second.x)
    assert_array_equal(cotangent, 1)


# ---- degenerate problems


@pytest.mark.parametrize("reg", [0.0, 0.1])
@pytest.mark.parametrize("subsequence", [False, True])
@pytest.mark.parametrize("slope_bounds", [(0, np.inf), (1, 1), (-1, 3)])
@pytest.mark.parametrize(
    "pair",
    [
        (np.ones(20), np.ones(30)),
        (np.ones((2, 3)), np.zeros((2, 3))),
        (np.repeat([0.0, 1, 0, 2], 10), np.repeat([0.0, 1, 0, 2], 7)),
        (np.array([1.0]), np.array([0.0, 2.0])),
        (np.array([1.0]), np.array([2.0])),
        (np.sin(np.arange(20)), np.sin(np.arange(20))),
        (np.array([1e-200, -1e-200, 0.0]), np.array([1.0, 2.0])),
        (1e9 + np.arange(7.0), 1e9 + np.arange(5.0) ** 2),
    ],
    ids=["constant", "two", "plateaus", "one", "one-each", "same", "tiny", "offset"],
)
def test_nothing_fails_where_nothing_resists(pair, reg, subsequence, slope_bounds):
    if len(pair[0]) == 1 < len(pair[1]) and subsequence and slope_bounds == (1, 1):
        pytest.skip("a single sample of x leaves no room to rise")
    for loss in LOSSES:
        warp = dec_dtw(*pair, reg, subsequence=subsequence, slope_bounds=slope_bounds, loss=loss)
        for gradients in (warp.vjp(np.ones(warp.values.shape)), warp.value_grad()):
            assert all(np.isfinite(part).all() for part in gradients if part is not None)
        assert warp.kkt_residual < 1e-9


@pytest.mark.parametrize("reg", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(20))
def test_rounding_is_no_slope(loss, reg, seed):
    """Samples that are equal up to rounding are a plateau, on which a gradient is not divided by rounding."""
    rng = np.random.default_rng(seed)
    x, y = (rng.choice([0.1, 0.3, 0.7], (n, 2)) * (1 + 2e-16 * rng.integers(-1, 2, (n, 2))) for n in (9, 7))
    x[:, seed % 2] = x[0, seed % 2] * (1 + 2e-16 * rng.integers(-1, 2, 9))
    warp = dec_dtw(x, y, reg, loss=loss, reg_loss="l1", symmetric=bool(seed % 3 == 0))
    assert warp.kkt_residual < 1e-9
    gradients = warp.vjp(np.ones(7))
    assert max(np.abs(part).max() for part in (gradients.x, gradients.y, gradients.reg)) < 1e6


@pytest.mark.parametrize("seed", range(10))
def test_roots_on_faint_slopes_are_seen(seed):
    """Where a residual is as small as rounding, its sign says nothing."""
    rng = np.random.default_rng(seed)
    x = np.array([0.0, -1 - rng.random() * 1e-6, -1 + rng.random() * 1e-6, 1.0])
    warp = dec_dtw(x, [0.0, -1.0, -1.0, 1.0], 0.0, loss="l1")
    assert {("root", 1), ("root", 2)} & set(warp.active)
    assert warp.kkt_residual < 1e-9


@pytest.mark.parametrize("n", [3, 10, 30, 100])
def test_a_warp_that_nothing_holds_does_not_move(n, rng):
    """Flat signals and free ends: the warp may be shifted at no cost, which leaves no pivot but rounding."""
    times = np.cumsum(rng.random(n) + 0.1)
    warp = dec_dtw(np.ones(20), np.zeros(n), 0.1, subsequence=True, target_slope=0.5 / times[-1], y_times=times)
    gradients = warp.vjp(rng.normal(size=n))
    assert max(np.abs(gradients.x).max(), abs(gradients.reg)) < 1e8


def test_constraints_given_twice(rng):
    x, y = signals(rng, 20, 25)
    plain, twice = dec_dtw(x, y, 0.01), dec_dtw(x, y, 0.01, band=(np.zeros(25), np.ones(25)), slope_bounds=(0, 1e9))
    assert_allclose(plain.values, twice.values, rtol=0, atol=1e-12)
    assert_allclose(plain.vjp(np.ones(25)).x, twice.vjp(np.ones(25)).x, rtol=0, atol=1e-10)


def test_a_thousand_samples_of_64_channels(rng):
    x, y = signals(rng, 1000, 1000, 64)
    warp = dec_dtw(x, y, 0.1, n_values=50)
    assert warp.kkt_residual < 1e-9
    gradients = warp.vjp(rng.normal(size=1000))
    assert gradients.x.shape == (1000, 64)
    assert np.isfinite(gradients.x).all()


# ---- forms


def test_batches_are_pairs(rng):
    x, y = rng.normal(size=(4, 9, 2)), rng.normal(size=(4, 10, 2))
    cotangent = rng.normal(size=(4, 10))
    singles = [dec_dtw(a, b, 0.01) for a, b in zip(x, y, strict=True)]
    for n_jobs in (1, 2):
        batch = dec_dtw(x, y, 0.01, n_jobs=n_jobs)
        assert_array_equal(batch.values, [warp.values for warp in singles])
        assert_array_equal(batch.objective, [warp.objective for warp in singles])
        assert_array_equal(batch.warped, [warp.warped for warp in singles])
        assert batch.active == [warp.active for warp in singles]
        gradients = batch.vjp(cotangent)
        parts = [warp.vjp(v) for warp, v in zip(singles, cotangent, strict=True)]
        assert_array_equal(gradients.x, [part.x for part in parts])
        assert_allclose(gradients.reg, sum(part.reg for part in parts))
    assert isinstance(batch, WarpResult)
    assert "4 pair" in repr(batch)


def test_ragged_lists_and_padded_arrays_are_the_same(rng):
    xs, ys = [rng.normal(size=(n, 2)) for n in (5, 9, 4)], [rng.normal(size=(n, 2)) for n in (6, 3, 8)]
    X, Y = np.full((3, 9, 2), np.nan), np.full((3, 8, 2), np.nan)
    for row, item in zip([*X, *Y], [*xs, *ys], strict=True):
        row[: len(item)] = item
    ragged, padded = dec_dtw(xs, ys, 0.01), dec_dtw(X, Y, 0.01)
    by_length = dec_dtw(np.nan_to_num(X), np.nan_to_num(Y), 0.01, x_lengths=[5, 9, 4], y_lengths=[6, 3, 8])
    cotangents = [rng.normal(size=len(y)) for y in ys]
    padded_cotangent = np.zeros((3, 8))
    for row, item in zip(padded_cotangent, cotangents, strict=True):
        row[: len(item)] = item
    assert padded.values.shape == (3, 8)
    assert padded.warped.shape == (3, 8, 2)
    expected = ragged.vjp(cotangents)
    for warp in (padded, by_length):
        got = warp.vjp(padded_cotangent)
        for b, n in enumerate((6, 3, 8)):
            assert_array_equal(warp.values[b, :n], ragged.values[b])
            assert_array_equal(warp.values[b, n:], 0)
            assert_array_equal(got.y[b, :n], expected.y[b])
            assert_array_equal(got.x[b, : len(xs[b])], expected.x[b])
            assert_array_equal(got.x[b, len(xs[b]) :], 0)


def test_options_may_differ_between_pairs(rng):
    xs, ys = [rng.normal(size=n) for n in (5, 9)], [rng.normal(size=n) for n in (6, 4)]
    regs = [rng.random(5), rng.random(3)]
    times = [np.cumsum(rng.random(n)) for n in (6, 4)]
    both = dec_dtw(xs, ys, regs, y_times=times, band=([np.full(6, -1.0), np.full(4, -1.0)], [np.ones(6), np.ones(4)]))
    for b in range(2):
        alone = dec_dtw(xs[b], ys[b], regs[b], y_times=times[b], band=(np.full(len(ys[b]), -1.0), np.ones(len(ys[b]))))
        assert_array_equal(both.values[b], alone.values)
        gradient = both.vjp([np.ones(6), np.ones(4)]).reg[b]
        assert_array_equal(gradient, alone.vjp(np.ones(len(ys[b]))).reg)


@pytest.mark.parametrize("d", [None, 1, 3])
def test_dtypes_and_layouts(d, rng):
    shape = () if d is None else (d,)
    x, y = rng.normal(size=(8, *shape)), rng.normal(size=(9, *shape))
    double, single = dec_dtw(x, y), dec_dtw(x.astype(np.float32), y.astype(np.float32))
    assert double.values.dtype == double.warped.dtype == np.float64
    assert single.values.dtype == single.warped.dtype == single.objective.dtype == np.float32
    assert_allclose(single.values, double.values, rtol=0, atol=1e-4)
    assert single.warped.shape == double.warped.shape == y.shape
    gradients = single.vjp(np.ones(9))
    assert gradients.x.dtype == gradients.y.dtype == gradients.reg.dtype == np.float32
    assert gradients.x.shape == x.shape
    assert dec_dtw(x.tolist(), y.tolist()).objective == double.objective if d is None else True
    before = x.copy()
    turned = np.asfortranarray(x)[::-1][::-1]
    turned.flags.writeable = False
    assert_array_equal(dec_dtw(turned, y).values, double.values)
    assert_array_equal(x, before)


def test_unused_fields_are_none_and_numbers_get_sums(rng):
    x, y = signals(rng)
    gradients = dec_dtw(x, y).vjp(np.ones(10))
    assert gradients._fields == FIELDS
    assert gradients.band_lower is gradients.band_upper is gradients.slope_upper is None
    assert np.ndim(gradients.slope_lower) == np.ndim(gradients.reg) == 0
    each = dec_dtw(x, y, np.full(9, 0.1), slope_bounds=(np.zeros(9), np.full(9, 2.0))).vjp(np.ones(10))
    assert each.reg.shape == each.slope_lower.shape == each.slope_upper.shape == (9,)
    number = dec_dtw(x, y, 0.1, slope_bounds=(0.0, 2.0)).vjp(np.ones(10))
    assert_allclose(number.reg, each.reg.sum())
    assert_allclose(number.slope_upper, each.slope_upper.sum())


def test_times_only_count_from_the_first(rng):
    x, y = signals(rng)
    times = np.cumsum(rng.random(9)), np.cumsum(rng.random(10))
    here = dec_dtw(x, y, x_times=times[0], y_times=times[1], warp_times=times[1][[0, 3, 4, 9]])
    there = dec_dtw(x, y, x_times=times[0] + 5, y_times=times[1] - 7, warp_times=times[1][[0, 3, 4, 9]] - 7)
    assert_allclose(here.values, there.values, rtol=0, atol=1e-12)
    assert here.times[0] == there.times[0] == 0


# ---- errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"slope_bounds": (0, 0.9)},
            r"warp time 1 \(index 9\) pin asks for phi >= 1, but slope_upper admits at most 0.9",
        ),
        ({"slope_bounds": (1.2, np.inf)}, r"\(index 8\) domain_upper asks for phi <= 1, but slope_lower forces"),
        ({"band": (np.full(10, 0.6), np.full(10, 0.4))}, r"\(index 0\) band_lower keeps phi off the pin 0.0"),
        (
            {"band": (np.full(10, 0.6), np.full(10, 0.4)), "subsequence": True},
            r"\(index 0\) band_lower asks for phi >= 0.6",
        ),
        ({"band": (-T10, 0.8 * T10)}, r"\(index 9\) band_upper keeps phi off the pin 1.0"),
        (
            {"band": (np.where(T10 == T10[4], 0.9, -1), np.ones(10)), "slope_bounds": (0, 1.5)},
            r"\(index 4\) band_lower asks",
        ),
        ({"slope_bounds": (2, 1)}, "slope_bounds allow no slope from warp time 0 to 1"),
        ({"reg": -1.0}, "reg is -1.0; expected numbers >= 0"),
        ({"reg": np.ones(4)}, r"reg has shape \(4,\); expected \(9,\)"),
        ({"reg": np.append(np.ones(8), np.nan)}, "reg holds NaN at index 8"),
        ({"x_times": np.zeros(9)}, "x_times holds 0.0 and then 0.0 at index 1; expected strictly increasing times"),
        ({"y_times": np.arange(9)}, r"y_times has shape \(9,\); expected \(10,\)"),
        ({"x_times": 3.0}, "x_times is a number"),
        ({"warp_times": [0.0, 2.0]}, "warp_times holds 2.0 at index 1; expected times of y"),
        ({"warp_times": [0.5]}, r"\(index 0\) phi is pinned to both ends of x, 0 and 1, as there is no other time"),
        ({"warp_times": [[0.5, 0.6]]}, "warp_times has shape"),
        ({"n_values": 1}, "n_values is 1; expected None or an integer >= 2"),
        ({"band": -0.1}, "band is -0.1"),
        ({"band": (np.zeros(3), np.ones(3))}, r"band\[0\] has shape \(3,\); expected \(10,\)"),
        ({"band": (T10 * np.nan, T10)}, r"band\[0\] holds NaN at index 0"),
        ({"target_slope": 0.0}, "target_slope is 0.0"),
        ({"loss": "l3"}, "loss is 'l3'; expected 'l2', 'l1' or 'huber'"),
        ({"reg_delta": 0}, "reg_delta is 0.0"),
        ({"cum_reg": np.inf}, "cum_reg is inf"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_is_wrong_is_said(options, words, rng):
    with pytest.raises(ValueError, match=words):
        dec_dtw(*signals(rng), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subsequence": "y"}, "subsequence is 'y', of type str; expected False or True"),
        ({"symmetric": 1}, "symmetric is 1"),
        ({"reg": "0.1"}, "reg is '0.1', of type str; expected an array of real numbers"),
        ({"reg": None}, "reg is None, of type NoneType"),
        ({"slope_bounds": np.array(2.0)}, r"slope_bounds is array\(2.\), of type ndarray; expected \(lower, upper\)"),
        ({"slope_bounds": 2.0}, r"slope_bounds is 2.0, of type float; expected \(lower, upper\)"),
        ({"band": "wide"}, "band is 'wide'"),
        ({"n_values": 10.5}, "n_values is 10.5"),
        ({"loss": 2}, "loss is 2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_has_the_wrong_type_is_said(options, words, rng):
    with pytest.raises((TypeError, ValueError), match=words):
        dec_dtw(*signals(rng), **options)


def test_a_half_width_may_be_an_array_of_no_dimensions(rng):
    x, y = signals(rng)
    assert_array_equal(dec_dtw(x, y, band=np.array(0.3)).values, dec_dtw(x, y, band=0.3).values)


def test_wrong_pairs_of_collections(rng):
    x = rng.normal(size=(3, 5, 2))
    with pytest.raises(ValueError, match=r"no warp is feasible for pair 0"):
        dec_dtw(x, x, slope_bounds=(0, 0.5))
    with pytest.raises(ValueError, match=r"reg\[1\] is -1.0 at index 2"):
        dec_dtw(x, x, np.where(np.arange(12) == 6, -1.0, 1.0).reshape(3, 4))
    with pytest.raises(ValueError, match="reg is a list of 2 arrays; expected one array for each of 3 pairs"):
        dec_dtw(x, x, [np.ones(4), np.ones(4)])
    with pytest.raises(ValueError, match=r"feasible for pair 1: at warp time 0 .* phi is pinned to both ends of x"):
        dec_dtw(list(x), [x[0], x[1][:1], x[2]])
    with pytest.raises(ValueError, match="x has 2 channels, y has 1"):
        dec_dtw(x, x[..., :1])
    with pytest.raises(ValueError, match="rescale the series"):
        dec_dtw(x * 1e200, x)


def test_cotangents_that_do_not_fit(rng):
    x, y = rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 6, 2))
    with pytest.raises(ValueError, match=r"cotangent has shape \(6,\); expected \(3, 6\)"):
        dec_dtw(x, y).vjp(np.ones(6))
    with pytest.raises(ValueError, match="cotangent does not fit; expected a list of 3 arrays"):
        dec_dtw(list(x), list(y)).vjp(np.ones((3, 6)))
    with pytest.raises(ValueError, match=r"cotangent\[2\] has shape \(5,\)"):
        dec_dtw(list(x), list(y)).vjp([np.ones(6), np.ones(6), np.ones(5)])
    with pytest.raises(ValueError, match="cotangent holds NaN at index 1"):
        dec_dtw(x[0], y[0]).vjp([1, np.nan, 1, 1, 1, 1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda warp: pickle.loads(pickle.dumps(warp))])
@pytest.mark.parametrize(
    "options", [{}, {"band": 0.1, "slope_bounds": (0.3, 2.0)}, {"loss": "l1", "reg_loss": "huber", "subsequence": True}]
)
def test_a_copied_or_pickled_result_is_the_same(rng, options, copied):
    x, y = list(rng.normal(size=(3, 12, 2))), [rng.normal(size=(n, 2)) for n in (7, 12, 20)]
    warps = dec_dtw(x, y, 0.05, **options)
    again, cotangent = copied(warps), [rng.normal(size=len(item)) for item in y]
    assert repr(again) == repr(warps)
    assert again.active == warps.active
    assert_array_equal(np.concatenate(again.values), np.concatenate(warps.values))
    assert_allclose(
        np.concatenate(again.vjp(cotangent).x), np.concatenate(warps.vjp(cotangent).x), rtol=1e-9, atol=1e-12
    )
    assert_allclose(np.concatenate(again.value_grad().y), np.concatenate(warps.value_grad().y), rtol=1e-9, atol=1e-12)
