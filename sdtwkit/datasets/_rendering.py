"""Performances of a score by additive synthesis: a random tempo curve, dynamics, timbres, and exactly known note times.

A note is a sum of harmonics under an envelope. The tempo is drawn as a smooth curve, and held notes are held; the map
between score and performance is piecewise linear, hence exact in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _options, _words
from .._typing import Array, RandomState
from ._chorales import Chorale

GRID = 0.25  # quarters between knots of the tempo curve
BREATH = 4.0  # quarters over which tempo and loudness change
LEVEL = 0.1  # root mean square of the music


class Timbre(NamedTuple):
    """How a note sounds.

    harmonics: amplitudes of 1, 2, .. times the pitch; decay: 1/s, of the fundamental, and a third of it more for each
    harmonic above; attack, release: s; vibrato: cents.
    """

    harmonics: tuple[float, ...]
    decay: float
    attack: float
    release: float
    vibrato: float


TIMBRES = {
    "organ": Timbre((1, 0.8, 0.5, 0.5, 0.1, 0.3, 0.05, 0.25), 0.0, 0.02, 0.05, 0.0),
    "flute": Timbre((1, 0.35, 0.15, 0.06, 0.03), 0.0, 0.05, 0.05, 8.0),
    "strings": Timbre((1, 0.6, 0.45, 0.35, 0.25, 0.2, 0.15, 0.1, 0.08, 0.06), 0.0, 0.08, 0.1, 12.0),
    "clarinet": Timbre((1, 0.05, 0.6, 0.08, 0.4, 0.1, 0.25, 0.08, 0.12), 0.0, 0.03, 0.05, 0.0),
    "oboe": Timbre((0.5, 1, 0.9, 0.6, 0.45, 0.3, 0.2, 0.12, 0.08), 0.0, 0.03, 0.05, 6.0),
    "voices": Timbre((0.8, 1, 0.7, 0.35, 0.15, 0.08, 0.04), 0.0, 0.08, 0.1, 25.0),
    "piano": Timbre((1, 0.7, 0.4, 0.3, 0.2, 0.12, 0.08, 0.05), 1.0, 0.004, 0.1, 0.0),
    "harpsichord": Timbre((0.7, 0.9, 1, 0.8, 0.7, 0.6, 0.45, 0.35, 0.3, 0.2), 1.6, 0.002, 0.06, 0.0),
}
VIBRATO_RATE = 5.5  # Hz


@dataclass(frozen=True, eq=False)
class Performance:
    """What `render_performance` returns.

    Attributes
    ----------
    audio : float32 array of shape (n,)
        Samples; the music's root mean square is 0.1 of full scale.
    rate : float
        Samples a second.
    score_knots, time_knots : float64 arrays of shape (k,)
        Quarters and seconds between which the map from score to performance is linear.
    note_onsets, note_offsets : float64 arrays, one number for each note of the chorale
        In seconds; sound fades away after the offset.
    timbre : str
    """

    audio: np.ndarray
    rate: float
    score_knots: np.ndarray
    time_knots: np.ndarray
    note_onsets: np.ndarray
    note_offsets: np.ndarray
    timbre: str

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return len(self.audio) / self.rate

    def to_seconds(self, quarters: ArrayLike) -> Array:
        """Map times in the score to times in the performance; linear beyond the ends.

        Parameters
        ----------
        quarters : array of any shape
            Times in the score, in quarters.

        Returns
        -------
        seconds : float64 array of the same shape

        Examples
        --------
        >>> from sdtwkit.datasets import load_bach_chorales, render_performance
        >>> performance = render_performance(load_bach_chorales().data[0], random_state=0)
        >>> performance.to_seconds([0.0, 4.0]).round(2)
        array([0.5, 3.5])
        """
        return _interpolate(quarters, self.score_knots, self.time_knots)

    def to_score(self, seconds: ArrayLike) -> Array:
        """Map times in the performance to times in the score; linear beyond the ends.

        Parameters
        ----------
        seconds : array of any shape
            Times in the performance.

        Returns
        -------
        quarters : float64 array of the same shape

        Examples
        --------
        >>> from sdtwkit.datasets import load_bach_chorales, render_performance
        >>> performance = render_performance(load_bach_chorales().data[0], random_state=0)
        >>> performance.to_score([0.5, 3.5]).round(2)
        array([0., 4.])
        """
        return _interpolate(seconds, self.time_knots, self.score_knots)

    def __repr__(self):
        return f"<Performance: {self.duration:.1f} s, {self.timbre}>"


def render_performance(
    chorale: Chorale,
    *,
    timbre: str = "organ",
    tempo: float = 72.0,
    tempo_spread: float = 0.2,
    hold: float = 1.8,
    dynamics: float = 3.0,
    tuning: float = 0.0,
    noise: float = 0.0,
    silence: float = 0.5,
    rate: float = 16000,
    random_state: RandomState = None,
) -> Performance:
    """Play a chorale: audio by additive synthesis, with the exact time of every note.

    The logarithm of the tempo is a smooth random curve that changes within some four quarters; notes under a fermata
    are held. Loudness changes likewise, and from note to note; the harmonics of the timbre are varied from performance
    to performance, as no two instruments are alike.

    Parameters
    ----------
    chorale : Chorale
        As `load_bach_chorales` gives them.
    timbre : str, default "organ"
        One of `TIMBRES`: "organ", "flute", "strings", "clarinet", "oboe", "voices", "piano", "harpsichord".
    tempo : float > 0, default 72.0
        Quarters a minute, in the median.
    tempo_spread : float >= 0, default 0.2
        Standard deviation of the logarithm of the tempo; 0 is a steady tempo but for fermatas.
    hold : float > 0, default 1.8
        How many times longer a note under a fermata takes, roughly; 1 ignores fermatas.
    dynamics : float >= 0, default 3.0
        Standard deviation of the loudness in decibels, of the curve and from note to note.
    tuning : float, default 0.0
        Cents above a' = 440 Hz.
    noise : float >= 0, default 0.0
        Standard deviation of white noise, as a share of the root mean square of the music.
    silence : float >= 0, default 0.5
        Seconds before the first note and after the last.
    rate : float >= 1000, default 16000
        Samples a second; harmonics from 0.45 of it on are left out.
    random_state : None, int, Generator or RandomState
        With an int, the same performance every time.

    Returns
    -------
    performance : Performance
        With attributes audio, rate, score_knots, time_knots, note_onsets, note_offsets and timbre, and the methods
        to_seconds and to_score.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range, or the timbre unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.datasets import load_bach_chorales, note_roll, render_performance
    >>> chorale = load_bach_chorales().data[0]
    >>> performance = render_performance(chorale, timbre="piano", random_state=0)
    >>> bool(np.allclose(performance.to_seconds(chorale.onsets), performance.note_onsets))
    True
    >>> frames = np.arange(0, performance.duration, 0.1)  # every tenth of a second ...
    >>> targets = note_roll(chorale, performance.to_score(frames))  # ... the notes that sound
    """
    _words.check_choice(timbre, "timbre", TIMBRES)
    tempo, hold = _number(tempo, "tempo", "> 0"), _number(hold, "hold", "> 0")
    tempo_spread, dynamics = _number(tempo_spread, "tempo_spread", ">= 0"), _number(dynamics, "dynamics", ">= 0")
    noise, silence = _number(noise, "noise", ">= 0"), _number(silence, "silence", ">= 0")
    tuning, rate = _number(tuning, "tuning"), _number(rate, "rate", ">= 1000")
    rng = _options.check_random_state(random_state)

    score, seconds = _tempo_map(chorale, tempo, tempo_spread, hold, rng)
    seconds += silence
    onsets = _interpolate(chorale.onsets, score, seconds)
    offsets = _interpolate(chorale.onsets + chorale.durations, score, seconds)
    curve = np.interp(chorale.onsets, score, _smooth_noise(len(score), rng))
    decibels = dynamics * (curve + rng.standard_normal(len(onsets)))
    varied = _varied(TIMBRES[timbre], rng)
    frequencies = 440 * 2 ** ((chorale.pitches - 69 + tuning / 100) / 12)
    audio = np.zeros(int(np.ceil((seconds[-1] + silence + varied.release) * rate)), np.float32)
    notes = zip(onsets, offsets, frequencies, 10 ** (decibels / 20), rng.uniform(0, 1, len(onsets)), strict=True)
    for note in notes:
        _add(audio, rate, varied, *note)
    audio *= LEVEL / np.sqrt(np.mean(np.square(audio)))
    if noise:
        audio += (noise * LEVEL * rng.standard_normal(len(audio))).astype(np.float32)
    return Performance(audio, rate, score, seconds, onsets, offsets, timbre)


def _tempo_map(chorale, tempo, spread, hold, rng):
    """-> quarters (k,) and seconds (k,), both increasing, between which the tempo is constant."""
    score = np.append(np.arange(0, chorale.duration, GRID), chorale.duration)
    slowness = -spread * _smooth_noise(len(score) - 1, rng)  # logarithms
    held = np.isin(chorale.onsets, chorale.fermatas) & (chorale.voices == 0)
    for onset, duration in zip(chorale.onsets[held], chorale.durations[held], strict=True):
        slowness[(score[:-1] >= onset) & (score[:-1] < onset + duration)] += np.log(hold)
    return score, np.append(0, np.cumsum(np.diff(score) * 60 / tempo * np.exp(slowness)))


def _smooth_noise(n, rng):
    """(n,) normal numbers of variance 1, alike within BREATH quarters."""
    width = BREATH / GRID / 2
    reach = int(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    white = rng.standard_normal(n + 2 * reach)
    return np.convolve(white, kernel / np.linalg.norm(kernel), mode="valid")


def _varied(timbre, rng):
    """The timbre with its harmonics, by some decibels, louder or softer."""
    factors = np.exp(0.3 * rng.standard_normal(len(timbre.harmonics)))
    return timbre._replace(harmonics=tuple(factors * timbre.harmonics))


def _add(audio, rate, timbre, onset, offset, frequency, amplitude, phase):
    """Adds a note to the audio: harmonics as powers of a rotation, so that one exponential serves all."""
    first = int(np.ceil(onset * rate))
    t = np.arange(first, min(int((offset + timbre.release) * rate) + 1, len(audio))) / rate - onset
    bend = timbre.vibrato / 1200 * np.log(2) / (2 * np.pi * VIBRATO_RATE)
    turns = frequency * (t - bend * np.cos(2 * np.pi * (VIBRATO_RATE * t + phase)))
    rotation = np.exp(2j * np.pi * (turns % 1) - timbre.decay / 3 * t).astype(np.complex64)
    power, sound = np.ones_like(rotation), np.zeros(len(t), np.float32)
    for k, loudness in enumerate(timbre.harmonics, start=1):
        if k * frequency > 0.45 * rate:
            break
        power *= rotation
        sound += np.float32(loudness) * power.imag
    rise = np.minimum(t / timbre.attack, 1)
    fall = np.clip((offset - onset + timbre.release - t) / timbre.release, 0, 1)
    envelope = amplitude * rise * fall * np.exp(-timbre.decay * 2 / 3 * t)
    audio[first : first + len(t)] += (envelope * sound).astype(np.float32)


def _interpolate(x, knots, values):
    """Piecewise linear, and linear beyond the ends."""
    x = np.asarray(x, dtype=np.float64)
    k = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = (x - knots[k]) / (knots[k + 1] - knots[k])
    return values[k] + share * (values[k + 1] - values[k])


def _number(value, name, bound=""):
    """A finite float; bound: "", "> 0", ">= 0" or another least number."""
    expected = f"a finite number {bound}".rstrip()
    value = _words.check_real(value, name, expected)
    sign, _, least = bound.partition(" ")
    if not np.isfinite(value) or (bound and value < float(least)) or (sign == ">" and value == float(least)):
        raise ValueError(f"{name} is {value}; expected {expected}")
    return value
