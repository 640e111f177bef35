"""What the displays draw: images, lines, extents and labels are those of the numbers they stand for."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit import dec_dtw, dtw_path, soft_dtw_alignment, soft_dtw_barycenter
from sdtwkit.costs import cost_matrix
from sdtwkit.plotting import AlignmentDisplay, BarycenterDisplay, MatchingDisplay, WarpDisplay

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

DISPLAYS = [AlignmentDisplay, MatchingDisplay, BarycenterDisplay, WarpDisplay]


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(params=[1, 3], ids=lambda d: f"d={d}")
def pair(rng, request):
    return tuple(rng.normal(size=(n, request.param)).cumsum(axis=0) for n in (12, 8))


def draw(display, pair):
    """A display of any kind, from two series."""
    if display is BarycenterDisplay:
        return BarycenterDisplay(list(pair), [pair[0]], ["first"]).plot()
    return display.from_series(*pair)


def lines_of(ax):
    return [line.get_xydata() for line in ax.lines]


# ---- alignment


def test_image_is_the_expected_alignment_and_line_the_best_path(pair):
    display = AlignmentDisplay.from_series(*pair, gamma=0.5, window=6)
    alignment, _ = soft_dtw_alignment(*pair, gamma=0.5, window=6)
    path, _ = dtw_path(*pair, window=6)
    assert_array_equal(display.image_.get_array(), alignment)
    assert_array_equal(display.path_.get_xydata(), path[:, ::-1])
    assert display.image_ in display.ax_.images


def test_image_of_costs(pair):
    display = AlignmentDisplay.from_series(*pair, kind="cost", cost="manhattan")
    assert_array_equal(display.image_.get_array(), cost_matrix(*pair, "manhattan"))
    assert_array_equal(display.path_.get_xydata(), dtw_path(*pair, cost="manhattan")[0][:, ::-1])
    assert display.image_.colorbar.ax.get_ylabel() == "local cost"


@pytest.mark.parametrize("rate", [None, 12.5])
def test_cells_path_and_margins_share_their_times(pair, rate):
    """The pixel of cell (i, j) is where the path's vertex and the samples x[i] and y[j] are, once all is laid out."""
    display = AlignmentDisplay.from_series(*pair, sampling_rate=rate)
    display.figure_.canvas.draw()
    unit = 1 if rate is None else 1 / rate
    n, m = len(pair[0]), len(pair[1])
    left, right, bottom, top = display.image_.get_extent()
    assert display.image_.origin == "lower"
    assert_allclose([left, right, bottom, top], np.array([-0.5, m - 0.5, -0.5, n - 0.5]) * unit)
    assert display.ax_.get_xlim() == (left, right)
    assert display.ax_.get_ylim() == (bottom, top)
    for i, j in [(0, 0), (3, 5), (n - 1, m - 1)]:
        x, y = display.ax_.transData.transform((j * unit, i * unit))
        assert_allclose(display.y_ax_.transData.transform((j * unit, 0))[0], x)
        assert_allclose(display.x_ax_.transData.transform((0, i * unit))[1], y)


def test_margins_hold_all_channels_of_the_series(pair):
    display = AlignmentDisplay.from_series(*pair)
    x, y = pair
    for c in range(x.shape[1]):
        assert_array_equal(lines_of(display.x_ax_)[c], np.c_[x[:, c], np.arange(len(x))])
        assert_array_equal(lines_of(display.y_ax_)[c], np.c_[np.arange(len(y)), y[:, c]])
    assert len(display.x_ax_.lines) == len(display.y_ax_.lines) == x.shape[1]
    assert display.x_ax_.xaxis_inverted()


def test_many_channels_are_drawn_as_images(rng):
    x, y = rng.normal(size=(9, 12)), rng.normal(size=(7, 12))
    display = AlignmentDisplay.from_series(x, y)
    (left,), (below,) = display.x_ax_.images, display.y_ax_.images
    assert_array_equal(left.get_array(), x)
    assert_array_equal(below.get_array(), y.T)
    assert left.get_extent() == [-0.5, 11.5, -0.5, 8.5]
    assert below.get_extent() == [-0.5, 6.5, -0.5, 11.5]
    assert not display.x_ax_.lines


def test_axes_are_labelled(pair):
    display = AlignmentDisplay.from_series(*pair, names=("left arm", "right arm"), sampling_rate=10)
    assert display.x_ax_.get_ylabel() == "left arm, time (s)"
    assert display.y_ax_.get_xlabel() == "right arm, time (s)"
    assert display.image_.colorbar.ax.get_ylabel() == "probability of a match"
    assert AlignmentDisplay.from_series(*pair).y_ax_.get_xlabel() == "y, time step"


def test_given_costs_stand_alone(rng):
    C = rng.random((6, 5))
    display = AlignmentDisplay.from_series(C, None, cost="precomputed")
    assert_array_equal(display.image_.get_array(), soft_dtw_alignment(C, None, cost="precomputed")[0])
    assert display.x_ax_ is display.y_ax_ is None
    assert (display.ax_.get_ylabel(), display.ax_.get_xlabel()) == ("x, time step", "y, time step")
    assert_array_equal(AlignmentDisplay.from_series(C, None, kind="cost", cost="precomputed").image_.get_array(), C)


def test_colours_can_be_chosen_and_the_bar_left_out(pair):
    display = AlignmentDisplay.from_series(*pair, cmap="magma", colorbar=False)
    assert display.image_.get_cmap().name == "magma"
    assert display.image_.colorbar is None


def test_probabilities_run_from_0_to_1_whatever_is_there(pair):
    norm = AlignmentDisplay.from_series(*pair, gamma=1e3).image_.norm
    assert (norm.vmin, norm.vmax) == (0, 1)


def test_matrix_without_path_and_series(pair):
    display = AlignmentDisplay(np.eye(3)).plot()
    assert display.path_ is None
    assert not display.ax_.lines


def test_open_ends_are_passed_on(rng):
    x, y = rng.normal(size=(4, 1)), rng.normal(size=(9, 1))
    y[3:7] = x
    display = AlignmentDisplay.from_series(x, y, open_begin="y", open_end="y")
    assert_array_equal(display.path_.get_xydata(), [[3, 0], [4, 1], [5, 2], [6, 3]])


# ---- matching


def test_lines_join_matched_samples(pair):
    display = MatchingDisplay.from_series(*pair, sampling_rate=2)
    path, _ = dtw_path(*pair)
    segments = np.array(display.lines_.get_segments())
    assert_array_equal(segments[:, :, 0], path / 2)
    d = pair[0].shape[1]
    above, below = (np.array(lines_of(display.ax_)[side * d : side * d + d])[..., 1].T for side in (0, 1))
    assert above.min() > below.max()
    assert_allclose(segments[:, 0, 1], above.min(axis=1)[path[:, 0]])
    assert_allclose(segments[:, 1, 1], below.max(axis=1)[path[:, 1]])


def test_both_series_are_drawn_to_the_same_scale(pair):
    display = MatchingDisplay.from_series(*pair)
    x, y = pair
    curves = [curve[:, 1] for curve in lines_of(display.ax_)]
    scales = [np.ptp(curve) / np.ptp(x) for curve, x in zip(curves, [*x.T, *y.T], strict=True)]
    assert_allclose(scales, scales[0])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["y", "x"]


def test_series_of_the_same_values_do_not_touch(rng):
    x = rng.normal(size=9)
    above, below = (curve[:, 1] for curve in lines_of(MatchingDisplay.from_series(x, x).ax_))
    assert_allclose(above.min() - below.max(), np.ptp(above) / 2)


def test_constant_series_can_be_drawn():
    display = MatchingDisplay.from_series(np.ones(4), np.ones(3))
    assert len(display.lines_.get_segments()) == 4
    assert np.isfinite(lines_of(display.ax_)[0]).all()


def test_probable_matches_are_darker(pair):
    display = MatchingDisplay.from_series(*pair, gamma=2.0)
    E, _ = soft_dtw_alignment(*pair, gamma=2.0)
    i, j = np.array(display.lines_.get_segments())[:, :, 0].astype(int).T
    assert_allclose(display.lines_.get_alpha(), E[i, j].clip(max=1))
    assert set(zip(i, j, strict=True)) == set(map(tuple, np.argwhere(E >= 0.01)))


def test_lines_of_long_series_are_thinned_out(rng):
    x, y = rng.normal(size=(300, 1)), rng.normal(size=(300, 1))
    display = MatchingDisplay.from_series(x, y, n_lines=20)
    i = {segment[0][0] for segment in display.lines_.get_segments()}
    assert sorted(i) == np.linspace(0, 299, 20).round().tolist()


def test_matching_needs_series():
    with pytest.raises(ValueError, match="cost is 'precomputed', which leaves no series to draw"):
        MatchingDisplay.from_series(np.ones((3, 3)), None, cost="precomputed")
    with pytest.raises(ValueError, match="n_lines is 0"):
        MatchingDisplay.from_series(np.ones(3), np.ones(3), n_lines=0)


# ---- barycenter


def test_every_series_and_every_barycenter_is_a_line_in_each_panel(rng):
    X = [rng.normal(size=(n, 2)) for n in (5, 9, 7)]
    barycenters = [rng.normal(size=(6, 2)), rng.normal(size=(4, 2))]
    display = BarycenterDisplay(X, barycenters, ["a", "b"], sampling_rate=4, channel_names=["up", "down"]).plot()
    assert len(display.axes_) == 2
    for c, panel in enumerate(display.axes_):
        expected = [np.c_[np.arange(len(x)) / 4, x[:, c]] for x in [*X, *barycenters]]
        for line, points in zip(lines_of(panel), expected, strict=True):
            assert_array_equal(line, points)
        assert [line.get_xydata() is not None for line in display.series_lines_[c]] == [True] * 3
        assert len(display.barycenter_lines_[c]) == 2
    assert [panel.get_ylabel() for panel in display.axes_] == ["up", "down"]
    assert display.axes_[-1].get_xlabel() == "time (s)"
    display.figure_.canvas.draw()
    upper, lower = (panel.get_window_extent() for panel in display.axes_)
    assert upper.y0 > lower.y1
    room = display.ax_.get_window_extent()
    assert_allclose([lower.x0, lower.y0, upper.x1, upper.y1], [room.x0, room.y0, room.x1, room.y1])
    assert [text.get_text() for text in display.axes_[0].get_legend().get_texts()] == ["a", "b"]


def test_barycenter_of_one_channel_fills_its_axes(rng):
    _, ax = plt.subplots()
    display = BarycenterDisplay(rng.normal(size=(4, 9)), [np.zeros(9)]).plot(ax)
    assert list(display.axes_) == [ax]
    assert ax.get_legend() is None


def test_series_are_fainter_than_the_barycenter(rng):
    display = BarycenterDisplay(rng.normal(size=(30, 9)), [np.zeros(9)]).plot()
    (line,) = display.barycenter_lines_[0]
    for faint in display.series_lines_[0]:
        assert faint.get_alpha() < 0.5
        assert faint.get_linewidth() < line.get_linewidth()


def test_padding_is_not_drawn(rng):
    X = rng.normal(size=(2, 6, 1))
    X[1, 4:] = np.nan
    display = BarycenterDisplay(X, [np.zeros(5)]).plot()
    assert [len(line) for line in lines_of(display.ax_)] == [6, 4, 5]


def test_barycenters_for_several_gammas(rng):
    X = [rng.normal(size=(n, 1)).cumsum(axis=0) for n in (9, 11, 10)]
    display = BarycenterDisplay.from_series(X, gamma=[0.1, 10.0], length=8, max_iter=10)
    for gamma, line in zip((0.1, 10.0), display.barycenter_lines_[0], strict=True):
        expected = soft_dtw_barycenter(X, gamma, length=8, max_iter=10)
        assert_array_equal(line.get_ydata(), expected[:, 0])
        assert line.get_label() == f"gamma = {gamma:g}"
    assert len({tuple(np.atleast_1d(line.get_color())) for line in display.barycenter_lines_[0]}) == 2


# ---- warps


def test_the_warp_lies_within_its_bounds_beside_the_straight_line(pair):
    options = {"band": 0.3, "slope_bounds": (0.2, 2.5)}
    display, warp = WarpDisplay.from_series(*pair, 0.01, **options), dec_dtw(*pair, 0.01, **options)
    assert_array_equal(display.line_.get_xydata(), np.column_stack([warp.times, warp.values]))
    assert_array_equal(display.diagonal_.get_xydata(), [[0, 0], [1, 1]])
    outline = display.region_.get_paths()[0].vertices.tolist()
    for bound in warp.bounds:
        assert all([t, u] in outline for t, u in zip(warp.times, bound, strict=True))
    held = {i for name, i in warp.active if name in ("pin", "knot", "band_lower", "band_upper")}
    assert {0, 7} <= held
    assert_array_equal(display.held_.get_xydata(), display.line_.get_xydata()[sorted(held)])
    assert display.warp_ax_.get_xlabel() == "time of y"
    assert display.warp_ax_.get_ylabel() == "time of x"


def test_signals_are_drawn_before_and_after(pair):
    x, y = pair
    times = {"x_times": np.arange(12) / 4 + 5, "y_times": np.arange(8) ** 1.5}
    display, warp = WarpDisplay.from_series(x, y, 0.1, **times), dec_dtw(x, y, 0.1, **times)
    d = x.shape[1]
    assert_array_equal(lines_of(display.before_ax_)[0], np.column_stack([np.arange(12) / 4, x[:, 0]]))
    assert_array_equal(lines_of(display.after_ax_)[0], np.column_stack([times["y_times"], warp.warped[:, 0]]))
    for ax, name in ((display.before_ax_, "x"), (display.after_ax_, "x, warped")):
        assert_array_equal(lines_of(ax)[2 * d - 1], np.column_stack([times["y_times"], y[:, -1]]))
        assert [text.get_text() for text in ax.get_legend().get_texts()] == [name, "y"]


def test_warp_of_an_estimator(rng):
    X = [rng.normal(size=(n, 2)).cumsum(axis=0) for n in (9, 11, 10)]
    aligner = sdtwkit.DecDTWAligner(0.02, band=0.2).fit(X)
    display = WarpDisplay.from_estimator(aligner, X, index=2)
    assert_array_equal(display.line_.get_ydata(), aligner.align(X[2], aligner.reference_).values)
    assert display.warp_ax_.get_ylabel() == "time of series"


def test_estimators_that_do_not_warp_are_refused(fitted):
    with pytest.raises(TypeError, match="expected a DecDTWAligner"):
        WarpDisplay.from_estimator(fitted[0], fitted[1])


# ---- estimators


@pytest.fixture(params=["SoftDTWAligner", "SoftDTWBarycenter"])
def fitted(rng, request):
    X = [rng.normal(size=(n, 2)).cumsum(axis=0) for n in (9, 11, 10)]
    options = {"gamma": 0.5, "cost": "manhattan", "window": 5, "step_weights": (1, 2, 3)}
    estimator = getattr(sdtwkit, request.param)(**options).fit(X)
    if request.param == "SoftDTWAligner":
        return estimator, X, estimator.reference_, options
    return estimator, X, estimator.barycenter_, options | {"step_weights": (3, 2, 1)}  # rows are the barycenter's


def test_alignment_of_an_estimator(fitted):
    estimator, X, learned, options = fitted
    display = AlignmentDisplay.from_estimator(estimator, X, index=1)
    assert_array_equal(display.image_.get_array(), soft_dtw_alignment(X[1], learned, **options)[0])
    assert_array_equal(lines_of(display.y_ax_)[0][:, 1], learned[:, 0])
    assert display.y_ax_.get_xlabel() == "reference, time step"


def test_mask_of_a_barycenter_has_its_rows_along_the_barycenter(rng):
    X = rng.normal(size=(3, 6, 1))
    mask = np.tril(np.ones((6, 6), bool), 1)
    estimator = sdtwkit.SoftDTWBarycenter(window=mask).fit(X)
    drawn = AlignmentDisplay.from_estimator(estimator, X).image_.get_array()
    assert_array_equal(drawn, soft_dtw_alignment(X[0], estimator.barycenter_, window=mask.T)[0])
    assert not drawn[~mask.T].any()


def test_matching_of_an_estimator(fitted):
    estimator, X, learned, options = fitted
    display = MatchingDisplay.from_estimator(estimator, X, index=-1)
    E, _ = soft_dtw_alignment(X[2], learned, **options)
    assert len(display.lines_.get_segments()) == (E >= 0.01).sum()


def test_barycenter_of_an_estimator(fitted):
    estimator, X, learned, _ = fitted
    display = BarycenterDisplay.from_estimator(estimator, X)
    assert_array_equal(display.barycenter_lines_[1][0].get_ydata(), learned[:, 1])
    assert_array_equal(display.series_lines_[1][2].get_ydata(), X[2][:, 1])


@pytest.mark.parametrize("display", DISPLAYS)
def test_estimators_that_have_nothing_to_show_are_refused(display, fitted):
    from sklearn.exceptions import NotFittedError

    from sdtwkit.preprocessing import SeriesScaler

    estimator, X, _, _ = fitted
    with pytest.raises(NotFittedError):
        display.from_estimator(type(estimator)(), X)
    with pytest.raises(TypeError, match="estimator is a SeriesScaler; expected one with a reference_ or a barycenter_"):
        display.from_estimator(SeriesScaler().fit(X), X)


@pytest.mark.parametrize("display", [AlignmentDisplay, MatchingDisplay, WarpDisplay])
def test_index_beyond_the_collection_is_refused(display, fitted):
    estimator, X, _, _ = fitted
    with pytest.raises(IndexError, match="index is 3, X has 3 series"):
        display.from_estimator(estimator, X, index=3)


# ---- all displays


@pytest.mark.parametrize("display", DISPLAYS)
def test_plot_draws_into_given_axes_and_returns_itself(display, pair):
    drawn = draw(display, pair)
    figure, (one, other) = plt.subplots(1, 2)
    open_figures = plt.get_fignums()
    assert drawn.plot(ax=other) is drawn
    assert drawn.ax_ is other
    assert drawn.figure_ is figure
    assert not one.lines
    assert not one.images
    assert plt.get_fignums() == open_figures
    figure.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_figures_without_pyplot_do(display, pair, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    draw(display, pair).plot(ax=figure.add_subplot())
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("display", DISPLAYS)
def test_no_setting_of_matplotlib_is_changed(display, pair):
    before = dict(matplotlib.rcParams)
    draw(display, pair)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("display", DISPLAYS)
def test_inputs_are_not_modified(display, pair):
    before = [x.copy() for x in pair]
    draw(display, pair)
    for x, old in zip(pair, before, strict=True):
        assert_array_equal(x, old)


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_a_sentence_names_the_extra(display, pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib.*sdtwkit\[plot\]"):
        draw(display, pair)


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys; import sdtwkit.plotting; print('matplotlib' in sys.modules, 'sklearn' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("display", [AlignmentDisplay, MatchingDisplay])
@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"sampling_rate": 0}, ValueError, "sampling_rate is 0.0; expected a finite number > 0"),
        ({"sampling_rate": "fast"}, TypeError, "sampling_rate is 'fast'"),
        ({"gamma": -1}, ValueError, "gamma is -1.0"),
        ({"cost": "none"}, ValueError, "cost"),
    ],
)
def test_wrong_options_are_refused(display, options, error, sentence):
    with pytest.raises(error, match=sentence):
        display.from_series(np.ones(4), np.ones(3), **options)


@pytest.mark.parametrize("display", [AlignmentDisplay, MatchingDisplay, WarpDisplay])
def test_collections_are_refused(display):
    with pytest.raises(ValueError, match="x and y are collections; expected two single series"):
        display.from_series(np.ones((2, 4, 1)), np.ones((2, 3, 1)))


def test_unknown_kind_is_refused(pair):
    with pytest.raises(ValueError, match="kind is 'path'; expected 'alignment' or 'cost'"):
        AlignmentDisplay.from_series(*pair, kind="path")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.ones(3),), r"matrix has shape \(3,\); expected \(n, m\), rows along x"),
        ((np.ones((3, 4)), [0, 1]), r"path has shape \(2,\); expected \(L, 2\)"),
        ((np.ones((3, 4)), None, np.ones(4), np.ones(4)), r"x has 4 samples; expected 3, as .* shape \(3, 4\)"),
        ((np.ones((3, 4)), None, np.ones(3), np.ones(3)), "y has 3 samples; expected 4"),
    ],
)
def test_what_is_drawn_together_fits_together(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        AlignmentDisplay(*arguments).plot()
