"""A chorale as a series: which notes, pitch classes or chords there are at given times of the score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._chorales import Chorale


def note_roll(chorale: Chorale, times: ArrayLike, *, lowest: int = 36, n_pitches: int = 72) -> NDArray[np.float32]:
    """Notes that sound at given times.

    Parameters
    ----------
    chorale : Chorale
        As `load_bach_chorales` gives them.
    times : array of shape (n,)
        Times in the score, in quarters; those before the beginning or after the end have no notes. For targets of a
        performance's frames, take ``performance.to_score(frame_times)``.
    lowest : int, default 36
        MIDI number of the first column.
    n_pitches : int, default 72
        Number of columns. Notes beyond them are left out.

    Returns
    -------
    roll : float32 array of shape (n, n_pitches)
        1 where a note sounds: from its onset until just before its end.

    Raises
    ------
    ValueError
        If the times are not finite numbers of shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.datasets import load_bach_chorales, note_roll
    >>> chorale = load_bach_chorales().data[0]
    >>> roll = note_roll(chorale, np.arange(0, chorale.duration, 0.25))
    >>> roll.shape, np.flatnonzero(roll[0]) + 36
    ((252, 72), array([43, 59, 62, 67]))
    """
    times = _as_times(times)
    roll = np.zeros((len(times), n_pitches), np.float32)
    inside = (chorale.pitches >= lowest) & (chorale.pitches < lowest + n_pitches)
    for note in np.flatnonzero(inside):
        onset = chorale.onsets[note]
        roll[(times >= onset) & (times < onset + chorale.durations[note]), chorale.pitches[note] - lowest] = 1
    return roll


def pitch_class_roll(chorale: Chorale, times: ArrayLike) -> NDArray[np.float32]:
    """Pitch classes that sound at given times.

    Parameters
    ----------
    chorale : Chorale
    times : array of shape (n,)
        Times in the score, in quarters.

    Returns
    -------
    roll : float32 array of shape (n, 12)
        1 where a note of the pitch class sounds, in any octave; column 0 is C.

    Raises
    ------
    ValueError
        If the times are not finite numbers of shape (n,).

    Examples
    --------
    >>> from sdtwkit.datasets import load_bach_chorales, pitch_class_roll
    >>> pitch_class_roll(load_bach_chorales().data[0], [0.0])
    array([[0., 0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 1.]], dtype=float32)
    """
    return note_roll(chorale, times, lowest=0, n_pitches=132).reshape(-1, 11, 12).max(axis=1)


def chord_roll(chorale: Chorale, times: ArrayLike) -> NDArray[np.float32]:
    """Chords at given times, reduced to the 24 major and minor triads.

    The third decides: sevenths are left out, diminished chords count as minor, augmented ones as major.

    Parameters
    ----------
    chorale : Chorale
        One with `chords`.
    times : array of shape (n,)
        Times in the score, in quarters; those before the beginning or after the end have no chord.

    Returns
    -------
    roll : float32 array of shape (n, 24)
        1 for the chord: columns 0 to 11 major with roots C to B, 12 to 23 minor.

    Raises
    ------
    ValueError
        If the chorale has no chords, or the times are not finite numbers of shape (n,).

    Examples
    --------
    >>> from sdtwkit.datasets import chord_roll, load_bach_chorales
    >>> chord_roll(load_bach_chorales().data[0], [0.0, 2.0, 3.0]).argmax(axis=1)  # I, IV6, V6 in G major
    array([7, 0, 2])
    """
    times = _as_times(times)
    chords = chorale.chords
    if chords is None:
        raise ValueError(f"{chorale!r} has no chords; expected one of those with an analysis")
    minor = chords.pitch_classes[np.arange(len(chords.roots)), (chords.roots + 3) % 12]
    at = np.searchsorted(chords.onsets, times, side="right") - 1
    inside = (at >= 0) & (times < chords.onsets[-1] + chords.durations[-1])
    roll = np.zeros((len(times), 24), np.float32)
    roll[inside, (chords.roots + 12 * minor)[at[inside]]] = 1
    return roll


def _as_times(times):
    times = np.asarray(times, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError(f"times have shape {times.shape}; expected finite times of shape (n,), in quarters")
    return times
