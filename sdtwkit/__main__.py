"""Command line: ``python -m sdtwkit demo``, ``align A B`` and ``info``.

What is wrong with a file or an option is one sentence on stderr and exit code 2; the sentences about series and options
are the library's own.
"""

import argparse
import importlib
import sys
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

import sdtwkit
from sdtwkit.plotting import LINE_COLORS, AlignmentDisplay, BarycenterDisplay

NO_MATPLOTLIB = "matplotlib is not installed (python -m pip install 'sdtwkit[plot]')"


class Refusal(Exception):
    """A sentence for the user; the program ends with exit code 2."""


def main(argv=None):
    """Run the command line, argv without the program's name -> exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except Refusal as refusal:
        print(f"sdtwkit {arguments.command}: {refusal}", file=sys.stderr)
        return 2
    return 0


def build_parser():
    """All commands and options; each command carries its function as `run`."""
    parser = argparse.ArgumentParser(prog="python -m sdtwkit", description="Differentiable time-series alignment.")
    parser.add_argument("--version", action="version", version=f"sdtwkit {sdtwkit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    add_demo(commands)
    add_align(commands)
    info = commands.add_parser("info", help="print versions, instruction level and threads, for bug reports")
    info.set_defaults(run=lambda arguments: sdtwkit.show_versions())
    return parser


def add_demo(commands):
    """The options of `demo`."""
    text = (
        "Align and average recordings of shoulder exercises that come with the package; print values and timings, draw "
        "pictures."
    )
    demo = commands.add_parser("demo", help="align and average real recordings, draw pictures", description=text)
    demo.add_argument(
        "--output", type=Path, default=Path("sdtwkit-demo"), metavar="DIR", help="folder for PNG files (%(default)s)"
    )
    demo.set_defaults(run=run_demo)


def add_align(commands):
    """The options of `align`."""
    text = (
        "Align two series by soft-DTW and by hard DTW. Files are .npy (an array of shape (time,) or (time, channels)), "
        ".csv (rows are time steps, columns are channels; numbers separated by comma, semicolon, tab or spaces, "
        "after one header line or none) or .wav (sound: the loudness of 72 semitones, ten times a second)."
    )
    align = commands.add_parser("align", help="align two series from files", description=text)
    align.add_argument("A", type=Path, help="first series, called x: .npy, .csv or .wav")
    align.add_argument("B", type=Path, help="second series, called y: .npy, .csv or .wav")
    align.add_argument("--gamma", type=float, default=1.0, help="smoothing, in units of the local cost (%(default)s)")
    align.add_argument("--cost", default="sqeuclidean", help="local cost, by its name in sdtwkit.costs (%(default)s)")
    align.add_argument("--window", type=int, metavar="R", help="radius of a Sakoe-Chiba band, in time steps (no band)")
    for end in ("begin", "end"):
        align.add_argument(
            f"--open-{end}",
            choices=("x", "y", "both"),
            default=False,
            help=f"let the path {end} anywhere along x, along y, or along either; both ends open along y search x in y",
        )
    align.add_argument("--output", type=path_to(".npz"), metavar="FILE.npz", help="write path, alignment and values")
    align.add_argument("--path-csv", type=path_to(".csv"), metavar="FILE.csv", help="write the best path, two columns")
    align.add_argument("--plot", type=path_to(".png"), metavar="FILE.png", help="draw the alignment (needs matplotlib)")
    align.set_defaults(run=run_align)


def path_to(suffix):
    """An argparse type: a path that ends in suffix, so that no file gets a name other than the one asked for."""

    def convert(text):
        if Path(text).suffix != suffix:
            raise argparse.ArgumentTypeError(f"{text} does not end in {suffix}")
        return Path(text)

    return convert


# ---- align


def run_align(arguments):
    """Align two files: values and path on stdout, the rest into the files asked for."""
    if arguments.plot and not has_matplotlib():
        raise Refusal(f"--plot: {NO_MATPLOTLIB}")
    x, y = read_series(arguments.A), read_series(arguments.B)
    options = {
        "cost": arguments.cost,
        "window": arguments.window,
        "open_begin": True if arguments.open_begin == "both" else arguments.open_begin,
        "open_end": True if arguments.open_end == "both" else arguments.open_end,
    }
    alignment = None
    try:
        if arguments.output or arguments.plot:  # the one result that needs a table of len(x) * len(y)
            alignment, soft_value = sdtwkit.soft_dtw_alignment(x, y, arguments.gamma, **options)
        else:
            soft_value = sdtwkit.soft_dtw(x, y, arguments.gamma, **options)
        path, hard_value = sdtwkit.dtw_path(x, y, **options)
    except (ValueError, TypeError) as error:
        raise Refusal(f"{error} (x is {arguments.A}, y is {arguments.B})") from error
    print_alignment(arguments, x, y, soft_value, hard_value, path)
    write_alignment(arguments, x, y, alignment, soft_value, hard_value, path)


def print_alignment(arguments, x, y, soft_value, hard_value, path):
    """The few lines of `align`."""
    (first_i, first_j), (last_i, last_j) = path[0], path[-1]
    off_diagonal = np.abs(path[:, 1] - path[:, 0]).max()
    for name, file, series in (("x", arguments.A, x), ("y", arguments.B, y)):
        print(f"{name:<12} {file}: {count(len(series), 'time step')}, {count(channels_of(series), 'channel')}")
    print(f"soft-DTW     {soft_value:.12g}   (gamma {arguments.gamma:g}, cost {arguments.cost})")
    print(f"hard DTW     {hard_value:.12g}   (sum of local costs on the best path)")
    print(f"path length  {len(path)}   (matched pairs, from ({first_i}, {first_j}) to ({last_i}, {last_j}))")
    print(f"largest lag  {off_diagonal}   (largest |j - i| on the path, in time steps)")


def write_alignment(arguments, x, y, alignment, soft_value, hard_value, path):
    """The files asked for by --output, --path-csv and --plot."""
    try:
        if arguments.output:
            np.savez_compressed(
                arguments.output, path=path, alignment=alignment, soft_dtw=soft_value, dtw=hard_value,
                gamma=arguments.gamma,
            )  # fmt: skip
        if arguments.path_csv:
            np.savetxt(arguments.path_csv, path, fmt="%d", delimiter=",", header="x,y", comments="")
        if arguments.plot:
            names = (f"x: {arguments.A.name}", f"y: {arguments.B.name}")
            alignment_figure(x, y, alignment, path, names, "value").savefig(arguments.plot, dpi=120)
    except OSError as error:
        raise cannot_write(error) from error
    for written in filter(None, (arguments.output, arguments.path_csv, arguments.plot)):
        print(f"written      {written}")


def cannot_write(error):
    """The refusal for a file or folder that cannot be written."""
    return Refusal(f"cannot write {error.filename or 'the output'}: {error.strerror or error}")


def count(number, noun):
    """'1 channel', '2 channels'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def channels_of(series):
    return 1 if series.ndim == 1 else series.shape[1]


def read_series(path):
    """A series (time,) or (time, channels) from a file."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Refusal(f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(READERS)}")
    try:
        return reader(path)
    except OSError as error:
        raise Refusal(f"cannot read {path}: {error.strerror or error}") from error


def read_npy(path):
    """An array from a .npy file. Object arrays are pickles, which may run code when read: they never are."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            raise Refusal(f"{path} holds Python objects, which are not loaded; expected an array of numbers") from error
        raise Refusal(f"{path} is not a readable .npy file: {error}") from error
    if array.ndim not in (1, 2):
        raise Refusal(f"{path} holds an array of shape {array.shape}; expected (time,) or (time, channels)")
    return array


def read_csv(path):
    """Rows of numbers from a text file; the first line may be a header. Lines that start with # are comments."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not a text file in UTF-8") from error
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not rows:
        raise Refusal(f"{path} is empty; expected rows of numbers")
    separator = separator_of(rows[-1][1])
    if to_numbers(rows[0][1], separator) is None and len(rows) > 1:
        rows = rows[1:]  # a header
    return np.array(list(numbers_of(path, rows, separator)))


def separator_of(line):
    """What separates the numbers of a line: semicolon, tab, comma, or (None) spaces."""
    return next((separator for separator in (";", "\t", ",") if separator in line), None)


def numbers_of(path, rows, separator):
    """The numbers of each (line number, line)."""
    width = None
    for number, line in rows:
        values = to_numbers(line, separator)
        if values is None:
            raise Refusal(f"{path}, line {number}: {line.strip()[:40]!r} is not a row of numbers")
        width = len(values) if width is None else width
        if len(values) != width:
            raise Refusal(f"{path}, line {number}: {count(len(values), 'number')}; the lines before have {width}")
        yield values


def to_numbers(line, separator):
    """The numbers of a line, or None. Beside semicolons and tabs a comma is a decimal comma."""
    if separator in (";", "\t"):
        line = line.replace(",", ".")
    try:
        return [float(field) for field in line.strip(" \r").split(separator)]
    except ValueError:
        return None


def read_sound(path):
    """Log-frequency features (time, 72) of a .wav file."""
    from sdtwkit import audio

    try:
        return audio.log_frequency_features(*audio.read_wav(path))
    except ValueError as error:
        raise Refusal(str(error)) from error


READERS = {".npy": read_npy, ".csv": read_csv, ".wav": read_sound}


# ---- demo

DEMO_EXERCISES = ("abduction", "external rotation", "bent over row")
DEMO_PERSONS = (1, 2, 3)
DEMO_SIDE = "right"
DEMO_GAMMA = 1.0
DEMO_CHANNEL = 4  # drawn for all: rotation about y, the liveliest
DEMO_CLOSE_UP = 150  # samples of the alignment that are drawn: over the whole, its width would not show


class Demo(NamedTuple):
    """What the demo aligns: a handful of recordings of two or more people doing the same exercises."""

    series: list  # of (n_i, 6) arrays
    labels: list  # of (exercise, person)
    recordings: object  # the data set they are from


def run_demo(arguments):
    """Align nine recordings, average three, print what came out and how long it took, draw it."""
    demo = load_demo()
    matrix, matrix_time = timed(sdtwkit.cdist_soft_dtw, demo.series, gamma=DEMO_GAMMA)
    matrix = per_sample(matrix, demo.series)
    results, times = align_pair(*demo.series[:2])
    barycenter = sdtwkit.soft_dtw_barycenter(first_exercise(demo), DEMO_GAMMA)
    print_matrix(demo, matrix)
    print_pair(demo, results)
    print_average(demo, barycenter)
    print_times(matrix_time, times, [len(x) for x in demo.series])
    if has_matplotlib():
        draw_demo(arguments.output, demo, matrix, results, barycenter)
    else:
        print(f"No pictures: {NO_MATPLOTLIB}.")


def load_demo():
    """Three exercises by three people, each channel scaled."""
    recordings = sdtwkit.datasets.load_watch_exercises()
    known = zip(recordings.target, recordings.subject, recordings.side, recordings.data, strict=True)
    named = [(recordings.target_names[target], int(person), side, x) for target, person, side, x in known]
    chosen = [
        (exercise, person, x)
        for exercise, person, side, x in named
        if exercise in DEMO_EXERCISES and person in DEMO_PERSONS and side == DEMO_SIDE
    ]
    series = [standardised(x) for _, _, x in chosen]
    return Demo(series, [(exercise, person) for exercise, person, _ in chosen], recordings)


def standardised(x):
    """Each channel with mean 0 and variance 1: acceleration in g and rotation in rad/s then count alike."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def per_sample(matrix, series):
    """Values over n + m: a sum over a path grows with its length, and people are up to twice as fast as others."""
    lengths = np.array([len(x) for x in series])
    return matrix / (lengths[:, None] + lengths)


def timed(function, *args, **kwargs):
    """-> result, seconds: the shortest of three runs, since the first one also warms up caches."""
    seconds = []
    for _ in range(3):
        start = perf_counter()
        result = function(*args, **kwargs)
        seconds.append(perf_counter() - start)
    return result, min(seconds)


def align_pair(x, y):
    """Every function shown for one pair -> {name: result}, {name: seconds}."""
    calls = {
        "dtw_path": {},
        "soft_dtw": {"gamma": DEMO_GAMMA},
        "soft_dtw_value_and_grad": {"gamma": DEMO_GAMMA},
        "soft_dtw_alignment": {"gamma": DEMO_GAMMA},
    }
    timings = {name: timed(getattr(sdtwkit, name), x, y, **options) for name, options in calls.items()}
    return tuple({name: timing[part] for name, timing in timings.items()} for part in (0, 1))


def print_matrix(demo, matrix):
    """One row a recording: what it is, and its soft-DTW to all others, the smallest of them marked."""
    labels, recordings = demo.labels, demo.recordings
    nearest = nearest_others(matrix)
    source = f"{len(labels)} of {len(recordings.data)} recordings by a wrist watch (Burns et al. 2018, BSD-3-Clause)"
    print(f"sdtwkit {sdtwkit.__version__} demo: {source}")
    channels = f"{len(recordings.feature_names)} channels, {recordings.sampling_rate:g} samples a second"
    print(f"{channels}, each channel scaled to mean 0 and variance 1\n")
    print(f"Soft-DTW of all pairs / (n + m), gamma {DEMO_GAMMA:g}: less is more alike, * marks the nearest other")
    print("(below 0 on the diagonal, because soft-DTW credits the number of good paths besides the best one)")
    print(f"{'exercise':<22}person  steps" + "".join(f"{f'[{j}]':>7}" for j in range(len(labels))))
    for i, (exercise, person) in enumerate(labels):
        values = "".join(f"{value:6.2f}{'*' if j == nearest[i] else ' '}" for j, value in enumerate(matrix[i]))
        print(f"[{i}] {exercise:<18}{person:>6} {len(demo.series[i]):>6} {values}".rstrip())
    same = sum(labels[i][0] == labels[j][0] for i, j in enumerate(nearest))
    print(f"For {same} of {len(labels)} the nearest other recording is of the same exercise, done by another person.\n")


def nearest_others(matrix):
    """For each row, the column of its smallest value off the diagonal."""
    others = matrix.copy()
    np.fill_diagonal(others, np.inf)
    return others.argmin(axis=1)


def print_pair(demo, results):
    """What the functions say about one pair."""
    n, m = len(demo.series[0]), len(demo.series[1])
    path, hard_value = results["dtw_path"]
    alignment, soft_value = results["soft_dtw_alignment"]
    _, grad_x, _ = results["soft_dtw_value_and_grad"]
    lag = (path[:, 1] - path[:, 0]) / demo.recordings.sampling_rate
    rows = (
        ("hard DTW", hard_value, "sum of squared differences on the best path"),
        ("path length", len(path), f"matched pairs on it; y lags x by {lag.min():.1f} to {lag.max():.1f} s"),
        ("soft-DTW", soft_value, "smoothed minimum over all paths, below hard DTW"),
        ("alignment sum", alignment.sum(), "matched pairs expected under the law of the paths"),
        ("gradient norm", np.linalg.norm(grad_x), "of soft-DTW with respect to all samples of x"),
    )
    print(f"One pair, x = [0] and y = [1]: {n} x {m} = {n * m} cells")
    for name, value, meaning in rows:
        shown = str(value) if isinstance(value, int) else f"{value:.1f}"
        print(f"{name:<24} {shown:>10}  {meaning}")
    print()


def first_exercise(demo):
    """The recordings of the first exercise, one by each person."""
    return [x for x, (exercise, _) in zip(demo.series, demo.labels, strict=True) if exercise == demo.labels[0][0]]


def print_average(demo, barycenter):
    """What the barycenter of the first exercise is, beside the recording that comes closest to being one."""
    members = first_exercise(demo)
    average, *others = (
        sdtwkit.soft_dtw([z] * len(members), members, DEMO_GAMMA).mean() for z in (barycenter, *members)
    )
    print(f"Average of [0] to [{len(members) - 1}], their soft-DTW barycenter: {len(barycenter)} time steps")
    print(f"mean soft-DTW to them {average:.1f}; of the one among them that is nearest to all {min(others):.1f}\n")


def print_times(matrix_time, times, lengths):
    """Milliseconds and nanoseconds a cell, for the pair and for the matrix."""
    cells = lengths[0] * lengths[1]
    matrix_cells = sum(n * m for i, n in enumerate(lengths) for m in lengths[i:])
    n_pairs = len(lengths) * (len(lengths) + 1) // 2
    print(f"{'Best of 3, one thread':<24} {'ms':>10} {'ns per cell':>12}")
    rows = [(name, seconds, cells, "") for name, seconds in times.items()]
    rows.append(("cdist_soft_dtw", matrix_time, matrix_cells, f"  ({n_pairs} pairs)"))
    for name, seconds, visited, note in rows:
        print(f"{name:<24} {seconds * 1e3:>10.2f} {seconds * 1e9 / visited:>12.2f}{note}")
    print()


# ---- pictures: matplotlib's objects without pyplot, so that no window opens and no state is left behind


def has_matplotlib():
    """Whether pictures can be drawn."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    return True


def draw_demo(folder, demo, matrix, results, barycenter):
    """Four PNG files into the folder."""
    rate = demo.recordings.sampling_rate
    x, y = (series[:, DEMO_CHANNEL] for series in demo.series[:2])
    channel = f"{demo.recordings.feature_names[DEMO_CHANNEL].split(' (')[0]}, scaled"
    (exercise_x, person_x), (exercise_y, person_y) = demo.labels[:2]
    names = (f"x: {exercise_x}, person {person_x}", f"y: {exercise_y}, person {person_y}")
    path, _ = results["dtw_path"]
    alignment, _ = results["soft_dtw_alignment"]
    k = DEMO_CLOSE_UP
    close_up = (x[:k], y[:k], alignment[:k, :k], path[(path < k).all(axis=1)])
    figures = {
        "matrix.png": matrix_figure(matrix, demo.labels),
        "alignment.png": alignment_figure(*close_up, names, channel, rate),
        "warped.png": warped_figure(x, y, alignment, names, channel, rate),
        "barycenter.png": barycenter_figure(demo, barycenter, channel),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(folder / name, dpi=120)
    except OSError as error:
        raise cannot_write(error) from error
    print(f"Pictures: {', '.join(str(folder / name) for name in figures)}")


def new_figure(width, height):
    """An empty figure, in inches, that renders to PNG whatever matplotlib's settings are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def matrix_figure(matrix, labels):
    """The pairwise values as colours and numbers, (n, n)."""
    figure = new_figure(8.5, 6.5)
    axes = figure.add_subplot()
    image = axes.imshow(matrix, cmap="cividis")
    ticks = [f"{exercise}, {person}" for exercise, person in labels]
    axes.set_xticks(range(len(ticks)), ticks, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(ticks)), ticks)
    axes.set_xlabel("exercise, person")
    axes.set_ylabel("exercise, person")
    middle = (matrix.min() + matrix.max()) / 2
    for (i, j), value in np.ndenumerate(matrix):
        axes.text(j, i, f"{value:.1f}", ha="center", va="center", color="black" if value > middle else "white")
    figure.colorbar(image, label="soft-DTW / (n + m), in squared scaled units: less is more alike")
    axes.set_title(f"Pairwise soft-DTW, gamma {DEMO_GAMMA:g}")
    return figure


def alignment_figure(x, y, alignment, path, names, value_label, rate=None):
    """Two series along the sides of their expected alignment (n, m), with the best path (L, 2) on top of it."""
    figure = new_figure(9, 8)
    display = AlignmentDisplay(alignment, path, x, y, sampling_rate=rate, names=names).plot(figure.add_subplot())
    display.ax_.set_title("Expected alignment, and the best path over it")
    display.x_ax_.set_xlabel(value_label)
    display.y_ax_.set_ylabel(value_label)
    return figure


def warped_figure(x, y, alignment, names, value_label, rate):
    """Above both series as recorded, below x carried to the time of y by the expected alignment."""
    figure = new_figure(10, 5.5)
    recorded, aligned = figure.subplots(2, 1, sharex=True, sharey=True)
    warped = alignment.T @ x / alignment.sum(axis=0)
    blue, vermilion = LINE_COLORS[:2]
    for axes, series, label, title in (
        (recorded, x, names[0], "As recorded"),
        (aligned, warped, "x at the times of y (mean of x under the expected alignment)", "Aligned"),
    ):
        axes.plot(np.arange(len(y)) / rate, y, color=blue, linewidth=1.0, label=names[1])
        axes.plot(np.arange(len(series)) / rate, series, color=vermilion, linewidth=1.0, label=label)
        axes.set_title(title, loc="left")
        axes.set_ylabel(value_label)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize="small", frameon=False)
    aligned.set_xlabel("time (s)")
    return figure


def barycenter_figure(demo, barycenter, value_label):
    """The beginning of the recordings of the first exercise, and of their barycenter on top."""
    rate = demo.recordings.sampling_rate
    figure = new_figure(10, 3.5)
    display = BarycenterDisplay(
        [x[:, DEMO_CHANNEL] for x in first_exercise(demo)],
        [barycenter[:, DEMO_CHANNEL]],
        [f"soft-DTW barycenter, gamma {DEMO_GAMMA:g}"],
        sampling_rate=rate,
        channel_names=[value_label],
    ).plot(figure.add_subplot())
    display.ax_.set_xlim(0, DEMO_CLOSE_UP / rate)
    display.ax_.set_title(f"Three people: {demo.labels[0][0]}", loc="left")
    return figure


if __name__ == "__main__":
    sys.exit(main())
