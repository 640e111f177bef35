"""Audio-to-score alignment with features that are learned through the warp.

    python -m benchmarks.experiments.score_alignment [--quick] [--recordings [FILE]] [--markdown FILE] [--cache FOLDER]

Scores are the chorales that come with the package, recordings are rendered from them. What is done is told by
`alignment_learning`, and on the page that this writes. With --recordings, DTW and DecDTW also align real recordings,
which are fetched when they are not there yet (see `recordings`). Each method on each split of the pieces is one part;
finished parts are kept in the folder of the cache, so that a run that was interrupted goes on where it stopped. Parts
with other settings or by another version of sdtwkit are computed anew; after a change of the code itself, name another
folder.
"""

import numpy as np

from benchmarks.experiments import alignment_learning, kept, page, recordings, runs

MODULE = "benchmarks.experiments.score_alignment"
SETTINGS = alignment_learning.Settings()
QUICK_SETTINGS = alignment_learning.Settings(n_train=8, n_validation=4, n_test=8, updates=20)
SEEDS, QUICK_SEEDS = range(20, 28), range(1)  # those below 20 were looked at while the settings were made
METHODS = {
    "raw": "none: a semitone for its note",
    "along": "squared distance along the true warp",
    "soft": "soft-DTW",
    "time": "TimeErr, through DecDTW",
}
RECORDING_FEATURES = {"chroma": "pitch classes", "raw": "notes and onsets, not learned", "time": "learned by TimeErr"}
PACKAGES = ("numpy", "scipy", "scikit-learn")


def main(argv=None):
    """Run what is not in the cache yet, then write or print the page."""
    arguments = parser().parse_args(argv)
    settings, seeds = (QUICK_SETTINGS, QUICK_SEEDS) if arguments.quick else (SETTINGS, SEEDS)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    # By seed, as the parts of a seed share its pieces.
    jobs = [(seed, settings, arguments.cache) for seed in seeds]
    groups = runs.every(finished_of_seed, jobs, arguments.n_jobs)
    parts = {(method, seed): group[method] for seed, group in zip(seeds, groups, strict=True) for method in METHODS}
    songs = None
    if arguments.recordings is not False:
        songs = of_recordings(recordings.archive(arguments.recordings), parts["time", seeds[0]]["result"]["parameters"])
    seconds = sum(part["cpu_seconds"] for part in parts.values())
    command = runs.command(MODULE, arguments, *(["--recordings"] if songs else []))
    runs.deliver(markdown(parts, seeds, settings, songs, seconds, command), arguments)


def parser():
    options = runs.parser(MODULE, __doc__, "one split, few pieces and updates")
    options.add_argument(
        "--recordings",
        nargs="?",
        default=False,
        metavar="FILE",
        help=f"real recordings, too, out of {recordings.ARCHIVE}; fetched if no FILE is named",
    )
    return options


def finished_of_seed(seed, settings, cache):
    return {
        method: kept.part(
            cache / f"{method}.{seed}.json",
            settings._asdict(),
            lambda method=method: alignment_learning.run(method, seed, settings),
        )
        for method in METHODS
    }


def of_recordings(path, parameters):
    """-> {song: {features: outcome}}, with what was learned on the first split."""
    learned = alignment_learning.Parameters(**{name: np.array(part) for name, part in parameters.items()})
    features = {
        "chroma": recordings.raw_chroma,
        "raw": recordings.learned_chroma(alignment_learning.raw()),
        "time": recordings.learned_chroma(learned),
    }
    return {song: {name: recordings.run(path, song, f) for name, f in features.items()} for song in recordings.SONGS}


# ---- the page

INTRODUCTION = """\
Experiment of Xu, Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment
paths, ICLR 2023, on other data and with a small linear map in place of their network, run with the public functions of
sdtwkit: where in a recording is each moment of its score, when features are learned for the alignment itself?

No recordings with scores are within reach of Python's packages, so recordings are rendered: four-part chorales by Bach
(`sdtwkit.datasets.load_bach_chorales`) are played by additive synthesis with random smooth tempo curves, dynamics,
tuning and noise (`render_performance`), so that the true warp is known. None of the paper's figures can be compared
with those below."""

PROTOCOL = """\
For each of {splits} splits, {n_train} training, {n_validation} validation and {n_test} test pieces are drawn from the
chorales of at most {longest:g} quarters. Training and validation pieces are played by {training}; test pieces by
{test}. Frames: {frame_rate:g} a second of audio, {per_quarter:g} a quarter of the score.

The audio's frames hold the loudness of semitones, and its rise; one linear map, shared by all pitches, brings them to
the form of the score, notes that sound and notes that begin: {weights} weights and two offsets. It is learned from the
training pieces by one of these losses:

* none: a semitone stands for its note, its rise for the onset;
* squared distance along the true warp, solved as least squares;
* soft-DTW of audio and score with the cosine distance and gamma {gamma:g}, which is not told the warp;
* TimeErr of the warp that DecDTW finds, through `WarpResult.vjp`, together with the weights of notes and onsets and
  with the regularization.

The last two take {updates} updates by Adam of {batch} pieces each. DecDTW's ends are free. It has two regularizations,
one under fermatas and in silence, one elsewhere: learned by TimeErr, otherwise those of least TimeErr on the validation
pieces out of {regs} and, where held, 1 or 0.1 times that.

TimeErr is the mean absolute error of the warp over the score, TimeDev its root mean square, in milliseconds, exact
integrals over the piecewise linear warps (`sdtwkit.metrics`). A cell holds the mean over the test pieces, or the median
where the heading says so, then the mean over splits and the standard deviation between them. DTW's cost is the cosine
distance; the times matched with a frame of the score are averaged.

Settled with the errors of test pieces of other splits in view were the lengths of silences and fermatas, the number of
updates, the cosine distance of the baselines in place of a squared one, and that the silence before and after a piece
does not count. The splits of this page were drawn afterwards. Means hang on the few pieces whose warps go astray for
seconds."""


def markdown(parts, seeds, settings, songs, cpu_seconds, command):
    """The whole page."""
    blocks = [
        "# Audio-to-score alignment",
        INTRODUCTION,
        page.provenance(cpu_seconds, command, PACKAGES),
        PROTOCOL.format(
            splits=len(seeds),
            training=", ".join(alignment_learning.TRAINING_TIMBRES),
            test=", ".join(alignment_learning.TEST_TIMBRES),
            per_quarter=1 / settings.step,
            weights=4 * len(alignment_learning.INTERVALS),
            **{**settings._asdict(), "regs": page.listed(settings.regs)},
        ),
        error_table(parts, seeds),
    ]
    if songs is not None:
        blocks += ["## Real recordings", RECORDINGS.format(reg=recordings.REG), song_table(songs)]
    return "\n\n".join(map(page.wrapped, blocks)) + "\n"


def error_table(parts, seeds):
    """A row for each loss, a column for each error of each alignment."""
    columns = [
        (f"{name}, {error}", key, field)
        for name, key in (("DTW", "dtw"), ("DecDTW", "dec_dtw"))
        for error, field in (("TimeErr", "error"), ("its median", "median"), ("TimeDev", "deviation"))
    ]
    rows = []
    for method, title in METHODS.items():
        row = [title]
        for _, key, field in columns:
            values = 1000 * np.array([parts[method, seed]["result"][key][field] for seed in seeds])
            row.append(f"{values.mean():.0f}" + (f" ± {values.std(ddof=1):.0f}" if len(values) > 1 else ""))
        rows.append(row)
    return page.table(["loss", *(title for title, _, _ in columns)], rows)


RECORDINGS = """\
Two songs of Schubert's Winterreise, each by two singers, come with the source archive of synctoolbox 1.4.2 (from the
Schubert Winterreise Dataset), with the times of their measures. One recording is warped onto the other; the mean
absolute error at the measures, in milliseconds. Of the twelve transpositions that of the lowest DTW value is taken. The
regularization is {reg:g}; nothing was tuned on these recordings, and two songs rank nothing. Learned features are those
of the chorales' first split, with octaves added; no note of these songs is in the training data, nor any voice."""


def song_table(songs):
    rows = [
        (
            f"{song} {recordings.SONGS[song]}",
            RECORDING_FEATURES[name],
            o["measures"],
            o["shift"],
            *(f"{1000 * o[key]:.0f}" for key in ("dtw", "dec_dtw")),
        )
        for song, outcomes in songs.items()
        for name, o in outcomes.items()
    ]
    return page.table(("song", "features", "measures", "semitones apart", "DTW", "DecDTW"), rows)


if __name__ == "__main__":
    main()
