"""Features learned for audio-to-score alignment: a linear map between semitones, trained by several losses.

A score is a series of notes that sound and notes that begin; a recording is brought to the same form by one small
linear map, shared by all pitches: which notes its semitones, and their rises, tell of. The map is all that is learned,
with the weight of each half and the regularization of the warp. Losses: the error of the warp itself (TimeErr), through
the derivatives of `dec_dtw`; soft-DTW, which needs no times; and the squared distance along the true warp.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from benchmarks.experiments import training
from sdtwkit import dec_dtw, dtw_path, soft_dtw_value_and_grad
from sdtwkit.audio import log_frequency_features
from sdtwkit.datasets import load_bach_chorales, note_roll, render_performance
from sdtwkit.metrics import time_deviation, time_error, time_error_and_grad

LOWEST, PITCHES, SEMITONES = 36, 48, 72  # the notes of chorales; harmonics above them
INTERVALS = (-24, -19, -12, -7, -1, 0, 1, 7, 12, 19, 24, 28)  # from a note to the semitones that tell of it
MARGIN = 1.0  # quarters of silence before and after the score
TRAINING_TIMBRES = ("organ", "flute", "strings", "piano")
TEST_TIMBRES = ("clarinet", "oboe", "voices", "harpsichord")
SLOPES = (0.2, 5.0)


class Settings(NamedTuple):
    """What the protocol leaves to choose."""

    n_train: int = 24
    n_validation: int = 8
    n_test: int = 24
    longest: float = 44.0  # quarters
    frame_rate: float = 10.0  # 1/s
    step: float = 0.25  # quarters between frames of the score
    tempo_spread: float = 0.3
    hold: float = 1.4  # of notes under a fermata
    silence: float = 1.5  # seconds before and after
    noise: float = 0.1
    updates: int = 100
    batch: int = 8
    learning_rate: float = 0.02
    gamma: float = 0.1
    regs: tuple = (0.01, 0.03, 0.1, 0.3, 1.0)
    held: tuple = (1.0, 0.1)  # regularization where time may stand still, relative to that elsewhere


class Piece(NamedTuple):
    """A chorale and a performance of it, n frames of the score and m of the audio."""

    semitones: np.ndarray  # (m, PITCHES, 2 K) what each note may be told from: loudness and rise at its K intervals
    notes: np.ndarray  # (n, PITCHES) 1 where a note sounds
    onsets: np.ndarray  # (n, PITCHES) 1 where a note begins
    held: np.ndarray  # (n - 1,) 1 under fermatas and outside the score
    quarters: np.ndarray  # (n,) times in the score
    seconds: np.ndarray  # (m,) times in the audio
    warp: np.ndarray  # (n,) the true times of the score's frames, in seconds
    inside: slice  # those of the frames that are within the score: silence has no true time


class Parameters(NamedTuple):
    """What is learned."""

    weights: np.ndarray  # (2, 2 K) of the semitones, for notes that sound and notes that begin
    offsets: np.ndarray  # (2,)
    scales: np.ndarray  # (2,) of both halves of the score
    log_reg: np.ndarray  # (2,) logarithms of the regularization: in general, where held


# ---- data


@lru_cache(maxsize=1)
def pieces(seed, settings):
    """-> training, validation and test pieces: other chorales, and in the test part, other timbres."""
    rng = np.random.default_rng(seed)
    chorales = [chorale for chorale in load_bach_chorales().data if chorale.duration <= settings.longest]
    sizes = settings.n_train, settings.n_validation, settings.n_test
    drawn = iter(rng.permutation(len(chorales))[: sum(sizes)])
    timbres = TRAINING_TIMBRES, TRAINING_TIMBRES, TEST_TIMBRES
    return tuple(
        [performed(chorales[next(drawn)], names[k % len(names)], rng, settings) for k in range(size)]
        for size, names in zip(sizes, timbres, strict=True)
    )


def performed(chorale, timbre, rng, settings):
    performance = render_performance(
        chorale,
        timbre=timbre,
        tempo=rng.uniform(60, 90),
        tempo_spread=settings.tempo_spread,
        tuning=rng.uniform(-20, 20),
        hold=settings.hold,
        silence=settings.silence,
        noise=settings.noise,
        rate=8000,
        random_state=rng,
    )
    loudness = log_frequency_features(performance.audio, performance.rate, frame_rate=settings.frame_rate)
    quarters = np.arange(-MARGIN, chorale.duration + MARGIN + 1e-9, settings.step)
    begins = np.clip(np.rint((chorale.onsets + MARGIN) / settings.step).astype(int), 0, len(quarters) - 1)
    onsets = np.zeros((len(quarters), PITCHES))
    onsets[begins, chorale.pitches - LOWEST] = 1
    middle = (quarters[1:] + quarters[:-1]) / 2
    held = (middle < 0) | (middle > chorale.duration)
    under_fermata = (chorale.voices == 0) & np.isin(chorale.onsets, chorale.fermatas)
    for onset, duration in zip(chorale.onsets[under_fermata], chorale.durations[under_fermata], strict=True):
        held |= (middle > onset) & (middle < onset + duration)
    return Piece(
        semitones=described(loudness),
        notes=note_roll(chorale, quarters, lowest=LOWEST, n_pitches=PITCHES).astype(np.float64),
        onsets=onsets,
        held=held.astype(np.float64),
        quarters=quarters,
        seconds=np.arange(len(loudness)) / settings.frame_rate,
        warp=performance.to_seconds(quarters),
        inside=slice(*np.searchsorted(quarters, [0, chorale.duration + 1e-9])),
    )


def described(loudness):
    """(m, SEMITONES) loudness -> (m, PITCHES, 2 K): at the intervals from each note, of frames of norm near 1."""
    level = loudness / (np.linalg.norm(loudness, axis=1, keepdims=True) + 0.5)
    rise = np.zeros_like(loudness)
    rise[1:-1] = np.maximum(loudness[2:] - loudness[:-2], 0) / (10 * loudness.mean())
    columns = []
    for values in (level, rise):
        padded = np.pad(values, ((0, 0), (max(0, -min(INTERVALS)), max(0, PITCHES + max(INTERVALS) - SEMITONES))))
        columns += [padded[:, k - min(INTERVALS) : k - min(INTERVALS) + PITCHES] for k in INTERVALS]
    return np.stack(columns, axis=2).astype(np.float64)


# ---- the map


def raw():
    """Parameters that take the loudness of a note's own semitone for the note, and its rise for the onset."""
    weights = np.zeros((2, 2 * len(INTERVALS)))
    weights[0, INTERVALS.index(0)] = weights[1, len(INTERVALS) + INTERVALS.index(0)] = 1
    return Parameters(weights, np.zeros(2), np.array([0.5, 1.0]), np.log([0.1, 0.1]))


def features(piece, parameters):
    """-> audio (m, 2 PITCHES) and score (n, 2 PITCHES), in one form."""
    audio = piece.semitones @ parameters.weights.T + parameters.offsets
    score = np.concatenate([parameters.scales[0] * piece.notes, parameters.scales[1] * piece.onsets], axis=1)
    return audio.transpose(0, 2, 1).reshape(len(audio), -1), score


def pulled_back(piece, audio, score, log_reg=(0.0, 0.0)):
    """Gradients by the features -> by the parameters."""
    audio = audio.reshape(len(audio), 2, PITCHES)
    return Parameters(
        weights=np.einsum("mhp,mpk->hk", audio, piece.semitones, optimize=True),
        offsets=audio.sum(axis=(0, 2)),
        scales=np.array([(half * roll).sum() for half, roll in zip(halves(score), rolls(piece), strict=True)]),
        log_reg=np.asarray(log_reg),
    )


def halves(score):
    return score[:, :PITCHES], score[:, PITCHES:]


def rolls(piece):
    return piece.notes, piece.onsets


def warped(piece, parameters):
    """-> the warp of the score onto the audio, ends free, and its regularization (n - 1,)."""
    audio, score = features(piece, parameters)
    reg = np.exp(np.where(piece.held, parameters.log_reg[1], parameters.log_reg[0]))
    share = (piece.quarters - piece.quarters[0]) / (piece.quarters[-1] - piece.quarters[0])
    times = {"x_times": piece.seconds, "y_times": share * piece.seconds[-1]}
    return dec_dtw(audio, score, reg, **times, subsequence=True, slope_bounds=SLOPES), reg


# ---- losses of one piece: value, gradient by the parameters


def time_error_loss(piece, parameters, settings):
    """TimeErr of the warp, in seconds, through the warp."""
    result, reg = warped(piece, parameters)
    cotangent = np.zeros(len(piece.quarters))
    error, cotangent[piece.inside] = judged(time_error_and_grad, piece, result.values)
    by = result.vjp(cotangent)
    by_log_reg = [(by.reg * reg) @ (1 - piece.held), (by.reg * reg) @ piece.held]
    return error, pulled_back(piece, by.x, by.y, by_log_reg)


def soft_dtw_loss(piece, parameters, settings):
    """Soft-DTW of audio and score, for each frame of the score; no times are needed.

    Its cost is the cosine distance: under the squared distance the map shrinks its features, and paths then gather
    where the score is silent. Scales are left as they are.
    """
    audio, score = features(piece, parameters)
    value, by_audio, _ = soft_dtw_value_and_grad(audio, score, settings.gamma, cost="cosine")
    n = len(score)
    return value / n, pulled_back(piece, by_audio / n, np.zeros_like(score))


def trained(loss, pieces, settings, seed, start):
    """Parameters learned by Adam on batches drawn at random."""
    return training.learned(
        lambda parameters, piece: loss(piece, parameters, settings),
        start,
        pieces,
        steps=settings.updates,
        batch=settings.batch,
        rate=settings.learning_rate,
        rng=np.random.default_rng(seed),
    )


def along_the_truth(pieces):
    """The least squares between the audio, read along the true warps, and the scores: solved at once."""
    k = 2 * len(INTERVALS) + 1
    products, targets = np.zeros((k, k)), np.zeros((k, 2))
    for piece in pieces:
        at = np.clip(np.searchsorted(piece.seconds, piece.warp) - 1, 0, len(piece.seconds) - 2)
        share = (piece.warp - piece.seconds[at]) * (1 / (piece.seconds[1] - piece.seconds[0]))
        share = share[:, None, None]
        read = (1 - share) * piece.semitones[at] + share * piece.semitones[at + 1]
        read = np.concatenate([read, np.ones((*read.shape[:2], 1))], axis=2).reshape(-1, k)
        products += read.T @ read
        targets += read.T @ np.stack([piece.notes.ravel(), piece.onsets.ravel()], axis=1)
    solution = np.linalg.solve(products + 1e-6 * np.trace(products) / k * np.eye(k), targets)
    return raw()._replace(weights=solution[:-1].T, offsets=solution[-1], scales=np.ones(2))


# ---- the outcome


def with_best_reg(parameters, pieces, settings):
    """The regularization, in general and where held, that leaves the least TimeErr on these pieces."""
    choices = [parameters._replace(log_reg=np.log([r, r * h])) for r in settings.regs for h in settings.held]
    return min(choices, key=lambda choice: np.mean([errors(piece, choice)[0] for piece in pieces]))


def errors(piece, parameters):
    """-> TimeErr, TimeDev of DecDTW, in seconds."""
    values = warped(piece, parameters)[0].values
    return tuple(judged(measure, piece, values) for measure in (time_error, time_deviation))


def dtw_errors(piece, parameters):
    """-> TimeErr, TimeDev of DTW, in seconds: a frame of the score is at the mean time of those it is matched with.

    Its cost is the cosine distance, as in `soft_dtw_loss` and for the same reason.
    """
    audio, score = features(piece, parameters)
    path, _ = dtw_path(score, audio, cost="cosine")
    counts = np.bincount(path[:, 0], minlength=len(score))
    values = np.bincount(path[:, 0], piece.seconds[path[:, 1]], minlength=len(score)) / counts
    return tuple(judged(measure, piece, values) for measure in (time_error, time_deviation))


def judged(measure, piece, values):
    """A measure of a warp (n,) over the score."""
    return measure(piece.warp[piece.inside], values[piece.inside], piece.quarters[piece.inside])


def learned(method, seed, settings):
    """-> Parameters of a method: "raw", "along", "soft" or "time"."""
    train, validation, _ = pieces(seed, settings)
    if method == "time":
        return trained(time_error_loss, train, settings, seed, raw())
    found = {
        "raw": raw,
        "along": lambda: along_the_truth(train),
        "soft": lambda: trained(soft_dtw_loss, train, settings, seed, raw()._replace(scales=np.ones(2))),
    }[method]()
    return with_best_reg(found, validation, settings)


def run(method, seed, settings):
    """-> {"dec_dtw": {"error", "deviation", "median"}, "dtw": the same, "parameters": ..} of the test pieces.

    error and deviation are means, median is that of the errors.
    """
    parameters = learned(method, seed, settings)
    return {"parameters": {name: part.tolist() for name, part in parameters._asdict().items()}} | outcomes(
        pieces(seed, settings)[2], parameters
    )


def outcomes(test, parameters):
    outcome = {}
    for name, judge in (("dec_dtw", errors), ("dtw", dtw_errors)):
        found = np.array([judge(piece, parameters) for piece in test])
        outcome[name] = dict(zip(("error", "deviation"), found.mean(axis=0).tolist(), strict=True))
        outcome[name]["median"] = float(np.median(found[:, 0]))
    return outcome
