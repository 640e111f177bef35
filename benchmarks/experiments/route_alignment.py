"""Place recognition by alignment: a drive on the same route at another speed, errors in metres.

    python -m benchmarks.experiments.route_alignment [--quick] [--kitti [ARCHIVE]] [--markdown FILE] [--cache FOLDER]
                                                     [--n-jobs N]

Everything is generated; --kitti adds a real route, which is fetched (pooch is needed) unless the archive is given. What
is done is told by `place_recognition`, and on the page that this writes. Finished runs are kept in the folder of the
cache, so that one that was interrupted goes on where it stopped; after a change of the code, name another folder.
"""

import numpy as np

from benchmarks.experiments import kept, kitti, page, runs
from benchmarks.experiments.place_recognition import ALIGNERS, THRESHOLDS, Settings, run

MODULE = "benchmarks.experiments.route_alignment"
RUNS, SETTINGS = 10, Settings()
QUICK_RUNS, QUICK_SETTINGS = 2, Settings(n_train=8, n_validation=4, n_test=6, smoothings=(0.3, 3.0, 30.0), steps=20)
FEATURES = {
    "raw": "raw",
    "whitened": "whitened along the truth",
    "soft_dtw": "learned through soft-DTW",
    "dec_dtw": "learned through DecDTW",
}
ALIGNER_NAMES = {"dtw": "DTW", "soft_dtw": "soft-DTW", "dec_dtw": "DecDTW"}
TESTS = {  # in this order on the page
    "generated": "Unseen generated routes",
    "kitti": "The route of KITTI 00",
    "clean": "Unseen generated routes that look the same to both drives",
}


def main(argv=None):
    """Run what is not in the cache yet, then write or print the page."""
    arguments = parser().parse_args(argv)
    number, settings = (QUICK_RUNS, QUICK_SETTINGS) if arguments.quick else (RUNS, SETTINGS)
    further = None if arguments.kitti is None else kitti.route(arguments.kitti or None)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, settings, further, arguments.cache) for seed in range(number)]
    parts = runs.every(finished, jobs, arguments.n_jobs)
    cpu_seconds = sum(part["cpu_seconds"] for part in parts)
    command = runs.command(MODULE, arguments, *(["--kitti"] if arguments.kitti is not None else []))
    text = markdown([part["result"] for part in parts], settings, cpu_seconds, command)
    runs.deliver(text, arguments)


def parser():
    options = runs.parser(MODULE, __doc__, "two runs with few routes and steps")
    options.add_argument(
        "--kitti",
        nargs="?",
        const="",
        metavar="ARCHIVE",
        help=f"test on a real route, too (CC BY-NC-SA: no commercial use), from {kitti.ARCHIVE}, here or fetched",
    )
    return options


def finished(seed, settings, further, cache):
    key = {"further": further is not None, **settings._asdict()}
    return kept.part(cache / f"run.{seed}.json", key, lambda: run(seed, settings, further))


# ---- the page

INTRODUCTION = """\
Where on a known route is a car? A drive of the same route, the reference, has positions; the frames of another one, the
query, at another speed and under other circumstances, get them by alignment. This is an application in Xu,
Garg, Milford and Gould, Deep declarative dynamic time warping for end-to-end learning of alignment paths, ICLR 2023.
The recordings that the paper used are not within reach: the drives here are generated, and no figure of this page can
be held against one of the paper."""

PROTOCOL = """\
* Drives: `sdtwkit.datasets.make_drives`, routes of {length:g} m by `make_route`, two frames a second, descriptors of 16
  channels. About half of their variance tells the place; the rest passes within seconds or differs between the drives.
  A run has a sensor of its own, which is how both are mixed, and {n_train} routes to learn on, {n_validation} to choose
  smoothings by, {n_test} to test on, none of them twice. There are {runs} runs.
* Alignments: DTW, a frame being where the reference frames are on average that the best path matches with it; soft-DTW,
  where they are on average under the expected alignment; DecDTW, the position at the warped time, interpolated between
  frames. Both ends are pinned, and the cost is the squared Euclidean distance of features.
* Features: the descriptors as they are; or a linear map of them, 16 x 16. "Whitened along the truth" is in closed form,
  the inverse root of the covariance of what differs between the drives where they are at the same place; it uses the
  true positions to pair frames, not an alignment. The other two minimise the mean absolute error in metres of their own
  alignment, end to end, by {steps} steps of Adam with {batch} routes each (rate {rate:g}, falling to 0), starting at
  the descriptors; gradients go through the expected alignment (`soft_dtw_alignment_vjp`) and through the continuous
  warp (`dec_dtw(...).vjp`).
* Smoothing: gamma, and the weight of the slopes in DecDTW, are one of {smoothings}: that of the least mean error on the
  routes to choose by, for each alignment of each features."""

CLEAN = """\
The descriptors depend on nothing but the place: what an alignment can do where nothing needs to be learned. Matching
frames to frames costs a part of the distance between them, which a warp between frames does not."""

KITTI = """\
3.7 km driven in Karlsruhe, with streets that are passed twice. Its geometry is real, speeds and descriptors are
generated, by the sensor of the run, and nothing was learned or chosen on it. One route in each run: the errors vary
more. From the KITTI Vision Benchmark Suite (Geiger, Lenz and Urtasun, Are we ready for autonomous driving?, CVPR 2012),
CC BY-NC-SA 3.0, not for commercial use, as the tests of the package evo carry it; not part of sdtwkit."""


def markdown(results, settings, cpu_seconds, command):
    """The whole page; `results` holds what each run returns."""
    protocol = PROTOCOL.format(**{**settings._asdict(), "runs": len(results), "smoothings": listed(settings)})
    blocks = [
        "# Place recognition: routes at different speeds",
        INTRODUCTION,
        page.provenance(cpu_seconds, command, ("numpy", "scipy")),
        "## What is done",
        protocol,
        "## Errors",
        "Mean of the absolute error over all frames, with its standard error over the runs; median; share of frames "
        "within so many metres, in percent, all averaged over the runs; and the smoothing that was chosen, or the "
        "least and the largest.",
        *(block for name in TESTS if name in results[0] for block in test_blocks(name, results)),
    ]
    return "\n\n".join(map(page.wrapped, blocks)) + "\n"


def listed(settings):
    return page.listed(settings.smoothings)


def test_blocks(name, results):
    results = [result[name] for result in results]
    told = {"generated": [], "kitti": [KITTI], "clean": [CLEAN]}[name]
    return [f"### {TESTS[name]}", *told, error_table(results), *([] if name == "clean" else [sentence(results)])]


def error_table(results):
    header = ("features", "alignment", "mean, m", "median, m", *(f"{t} m" for t in THRESHOLDS), "smoothing")
    return page.table(header, [row(f, a, results) for f in FEATURES if f in results[0] for a in ALIGNERS])


def row(features, aligner, results):
    outcomes = [result[features][aligner] for result in results]
    means = [outcome["mean"] for outcome in outcomes]
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    within = 100 * np.mean([outcome["within"] for outcome in outcomes], axis=0)
    return (
        FEATURES[features],
        ALIGNER_NAMES[aligner],
        f"{np.mean(means):.2f} ± {error:.2f}",
        f"{np.mean([outcome['median'] for outcome in outcomes]):.2f}",
        *(f"{share:.0f}" for share in within),
        "" if aligner == "dtw" else interval([outcome["smoothing"] for outcome in outcomes]),
    )


def interval(values):
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def sentence(results):
    """What learning does, in ratios of mean errors."""

    def errors(features, aligner):
        return np.array([result[features][aligner]["mean"] for result in results])

    raw, own, other = errors("raw", "dec_dtw"), errors("dec_dtw", "dec_dtw"), errors("soft_dtw", "soft_dtw")
    ratios = [np.mean(errors("dec_dtw", a)) / np.mean(errors("soft_dtw", a)) for a in ALIGNERS]
    told = ", ".join(f"{ratio:.2f} under {ALIGNER_NAMES[a]}" for a, ratio in zip(ALIGNERS, ratios, strict=True))
    return (
        f"Learning through the warp divides DecDTW's mean error by {raw.mean() / own.mean():.1f}. What is left is "
        f"{own.mean() / other.mean():.2f} times what soft-DTW has on the features learned through soft-DTW, and less "
        f"than that in {(own < other).sum()} of {len(own)} runs. The features learned through DecDTW have so many "
        f"times the mean error of those learned through soft-DTW: {told}."
    )


if __name__ == "__main__":
    main()
