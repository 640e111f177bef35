"""Audio-to-score alignment by a linear classifier of frames, trained end to end against trained frame by frame.

    python -m benchmarks.experiments.chorales [--quick] [--markdown FILE] [--n-jobs N]

The experiment of Mensch & Blondel (2018, audio-to-score transcription) on performances of Bach's chorales rendered by
`sdtwkit.datasets`, whose times are known. From a frame of audio a linear map gives a logit for each pitch; the cost of
matching it with a frame of the score is the cross-entropy with the pitches that sound there. The map is trained on nine
pieces, by cross-entropy along the true alignment or by the area between the expected alignment and the true one, and
DTW aligns the tenth.
"""

import sys
import time
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from benchmarks.experiments import page, runs
from sdtwkit.costs import cost_matrix, cost_vjp
from sdtwkit.dp import AlignmentDP, expected_area_loss

MODULE = "benchmarks.experiments.chorales"
LOWEST, PITCHES = 36, 48
TIMBRES = ("organ", "flute", "strings", "clarinet", "oboe")
METHODS = ("frame by frame", "end to end", "frame by frame, then end to end", "random map", "the true pitches")
PACKAGES = ("numpy", "scipy")


class Settings(NamedTuple):
    pieces: int = 10
    longest: float = 32.0  # quarters
    frame_rate: float = 8.0  # 1/s
    step: float = 0.25  # quarters between frames of the score
    noise: float = 0.5
    gamma: float = 1.0
    alphas: tuple = (1e-3, 1e-2)
    max_iter: int = 60


QUICK = Settings(pieces=3, alphas=(1e-3,), max_iter=10)


def main(argv=None):
    """Leave out each piece in turn, then write or print the page."""
    arguments = runs.parser(MODULE, __doc__, "few pieces and iterations", keeps=False).parse_args(argv)
    settings = QUICK if arguments.quick else Settings()
    collection = pieces(settings)
    jobs = [(k, collection, settings) for k in range(len(collection))]
    outcomes = runs.every(left_out, jobs, arguments.n_jobs)
    runs.deliver(markdown(outcomes, settings, runs.command(MODULE, arguments)), arguments)


# ---- data


class Piece(NamedTuple):
    """n frames of audio, m frames of the score."""

    features: np.ndarray  # (n, d), the last one 1
    notes: np.ndarray  # (m, PITCHES) 1 where a note sounds
    seconds: np.ndarray  # (n,) times of the audio's frames
    truth: np.ndarray  # (m,) times of the score's frames in the performance, seconds
    Y: np.ndarray  # (n, m) 1 at the score's frame that is nearest to each frame of audio


def pieces(settings):
    from sdtwkit import audio, datasets

    chorales = [chorale for chorale in datasets.load_bach_chorales().data if chorale.duration <= settings.longest]
    found = []
    for k, chorale in enumerate(chorales[: settings.pieces]):
        timbre = TIMBRES[k % len(TIMBRES)]
        performance = datasets.render_performance(
            chorale, timbre=timbre, noise=settings.noise, rate=8000, random_state=k
        )
        loudness = audio.log_frequency_features(performance.audio, performance.rate, frame_rate=settings.frame_rate)
        quarters = np.arange(0, chorale.duration, settings.step) + settings.step / 2
        found.append(
            piece(
                loudness.astype(np.float64),
                datasets.note_roll(chorale, quarters, lowest=LOWEST, n_pitches=PITCHES).astype(np.float64),
                np.arange(len(loudness)) / settings.frame_rate,
                performance.to_seconds(quarters),
            )
        )
    return found


def piece(loudness, notes, seconds, truth):
    features = np.column_stack([loudness, np.ones(len(loudness))])
    Y = np.zeros((len(seconds), len(truth)))
    Y[np.arange(len(seconds)), np.abs(seconds[:, None] - truth).argmin(axis=1)] = 1
    return Piece(features, notes, seconds, truth, Y)


# ---- training


def frame_loss(W, piece, settings):
    """Cross-entropy along the true alignment, and its gradient with respect to the map (d, PITCHES)."""
    logits = piece.features @ W
    value = (cost_matrix(logits, piece.notes, "bce") * piece.Y).sum()
    return value, piece.features.T @ cost_vjp(logits, piece.notes, piece.Y, "bce")[0]


def end_to_end_loss(W, piece, settings):
    """Area between the expected alignment and the true one, and its gradient."""
    logits = piece.features @ W
    C = cost_matrix(logits, piece.notes, "bce")
    value, gradient = expected_area_loss(AlignmentDP(settings.gamma), C, piece.Y)
    return value, piece.features.T @ cost_vjp(logits, piece.notes, gradient, "bce")[0]


def trained(loss, W, collection, alpha, settings):
    """Minimise the mean loss per frame of audio, plus alpha / 2 times the squares of the map, from W on."""
    frames = sum(len(piece.seconds) for piece in collection)

    def objective(flat):
        W = flat.reshape(-1, PITCHES)
        values, gradients = zip(*(loss(W, piece, settings) for piece in collection), strict=True)
        penalised = W.copy()
        penalised[-1] = 0  # offsets are free
        value = sum(values) / frames + alpha / 2 * (penalised**2).sum()
        return value, (sum(gradients) / frames + alpha * penalised).ravel()

    found = minimize(objective, W.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": settings.max_iter})
    return found.x.reshape(W.shape)


def chosen(loss, start, collection, settings):
    """Trained with the alpha whose map, learned on the other pieces, aligns the last third of them best."""
    inner = len(collection) - max(len(collection) // 3, 1)

    def deviation_of(alpha):
        W = trained(loss, start, collection[:inner], alpha, settings)
        return np.mean([deviation(W, piece) for piece in collection[inner:]])

    alpha = min(settings.alphas, key=deviation_of) if len(settings.alphas) > 1 else settings.alphas[0]
    return trained(loss, start, collection, alpha, settings)


def deviation(W, piece):
    """Mean absolute deviation in seconds, over the score's frames, of DTW with the costs of this map."""
    return deviation_under(cost_matrix(piece.features @ W, piece.notes, "bce"), piece)


def true_deviation(piece):
    """The same of a classifier that errs nowhere: the costs count the pitches that differ."""
    return deviation_under(cost_matrix(piece.Y @ piece.notes, piece.notes, "manhattan"), piece)


def deviation_under(C, piece):
    rows, columns = AlignmentDP(regularizer=None).decode(C)[0].T
    found = np.bincount(columns, piece.seconds[rows]) / np.bincount(columns)
    return np.abs(found - piece.truth).mean()


def left_out(k, collection, settings):
    """-> {method: (mean deviation on the training pieces, deviation on piece k)}, seconds it took."""
    start = time.process_time()
    test, train = collection[k], collection[:k] + collection[k + 1 :]
    zero = np.zeros((test.features.shape[1], PITCHES))
    by_frame = chosen(frame_loss, zero, train, settings)
    maps = {
        METHODS[0]: by_frame,
        METHODS[1]: chosen(end_to_end_loss, zero, train, settings),
        METHODS[2]: chosen(end_to_end_loss, by_frame, train, settings),
        METHODS[3]: np.random.default_rng(k).normal(size=zero.shape),
    }
    found = {name: (np.mean([deviation(W, p) for p in train]), deviation(W, test)) for name, W in maps.items()}
    found[METHODS[4]] = np.mean([true_deviation(p) for p in train]), true_deviation(test)
    print(f"piece {k}: {time.process_time() - start:.1f} s", file=sys.stderr, flush=True)
    return found, time.process_time() - start


# ---- the page


def markdown(outcomes, settings, command):
    table = np.array([[found[method] for method in METHODS] for found, _ in outcomes])  # (pieces, methods, 2)
    mean, spread, worst = table.mean(axis=0), table.std(axis=0), table.max(axis=0)
    rows = [
        (name, *(f"{mean[i, j]:.3f} ± {spread[i, j]:.3f}" for j in range(2)), f"{worst[i, 1]:.3f}")
        for i, name in enumerate(METHODS)
    ]
    fewer = (table[:, 1, 1] < table[:, 0, 1]).sum()
    blocks = [
        "# Audio-to-score alignment, trained end to end",
        "An experiment of Mensch and Blondel, Differentiable dynamic programming for structured prediction and "
        "attention, ICML 2018, on other data: the paper's ten recordings of chorales, Bach10, are not within reach, "
        "nor are its figures, so none is quoted. Here chorales are rendered by additive synthesis, with varying tempo "
        "and fermatas.",
        page.provenance(sum(seconds for _, seconds in outcomes), command, PACKAGES),
        INTRODUCTION.format(**settings._asdict(), timbres=", ".join(TIMBRES), listed=page.listed(settings.alphas)),
        "## Mean absolute deviation",
        f"Seconds, over the frames of the score: the mean over the {len(outcomes)} runs, each with another piece left "
        "out, ± the standard deviation over the runs. A frame of audio lasts "
        f"{1 / settings.frame_rate:.3f} s.",
        "The last row is DTW with the pitches that do sound: what no classifier of frames undercuts but by luck, as "
        "nothing tells where in a held note one is.",
        page.table(("map trained", "pieces of the training", "piece left out", "worst piece left out"), rows),
        f"End to end is nearer to the truth than frame by frame on {fewer} of the {len(outcomes)} pieces left out.",
    ]
    return "\n\n".join(map(page.wrapped, blocks)) + "\n"


INTRODUCTION = """\
The pieces are the first {pieces} chorales of the collection that last {longest:g} quarters at most, in the timbres
{timbres}, in turn, with white noise of {noise:g} times the level of the music. Audio is described by the loudness of
72 semitones, {frame_rate:g} times a second; the score by the pitches that sound, every {step:g} quarters. The linear
map from loudness to logits of {0} pitches is trained by L-BFGS, in {max_iter} iterations at most, from 0: frame by
frame, by the cross-entropy along the true alignment; or end to end, by the area between the expected alignment (gamma =
{gamma:g}) and the true one. alpha, the strength of a penalty on the squares of the map, is one of {listed}: the best on
three of the training pieces after training on the others. A piece is aligned by DTW, with costs by the map.""".replace(
    "{0}", str(PITCHES)
)


if __name__ == "__main__":
    main()
