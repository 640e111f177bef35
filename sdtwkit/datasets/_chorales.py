"""Bach's chorales for four voices as lists of notes, some with their chords: scores to align performances with."""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

FILE = "bach_chorales.npz"  # made by tools/make_chorales_dataset.py
UNITS = 8  # a quarter; the shortest notes are demisemiquavers
VOICES = ("soprano", "alto", "tenor", "bass")
# Pitch classes above the root, in semitones.
QUALITIES = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "dominant seventh": (0, 4, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
    "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
    "augmented major seventh": (0, 4, 8, 11),
}

_FIFTHS = "Cb Gb Db Ab Eb Bb F C G D A E B F# C# G# D# A#".split()  # C, at 7, has no sharps and no flats

DESCR = """\
Bach's chorales
===============

330 chorales by Johann Sebastian Bach for soprano, alto, tenor and bass: the lists of their notes, and for 19 of them
the chords of a harmonic analysis. Numbers, 1 to 371, are Riemenschneider's; left out are chorales with obbligato
instruments and those that repeat an earlier number.

Times are in quarter notes from the beginning, pitches MIDI numbers (60 is middle C), voices 0 (soprano) to 3 (bass).
Sections are not repeated. Tied notes are one note, grace notes are left out. Keys are those that signature and mode
tell; of modal melodies, the tonic may be another. Fermatas are those of the soprano; they end the lines of the hymn.

Chords are reduced to root and quality: inversions, functions and keys of the analyses are not kept. Augmented sixth
chords are called dominant sevenths, chords without third or fifth are completed, secondary readings are left out. Two
analyses (numbers 14 and 17) are in another key than the notes and were transposed. 90 to 97 percent of the sounding
time of a chorale belongs to tones of its chords; the rest are passing notes, suspensions and the like.

Source: music21 10.5.1, https://github.com/cuthbertLab/music21, its corpus of Bach's chorales (encodings by Margaret
Greentree and others); analyses of numbers 1 to 20 by Dmitri Tymoczko and Andrew Jones, proofread by Hamish Robb and
Dmitri Tymoczko.

Processing: onsets, durations, pitches, voices, signatures and fermatas were read from the encodings by
tools/make_chorales_dataset.py, in eighths of a quarter; nothing else of the encodings is kept.

Licence: the works are in the public domain, and which notes they consist of is a fact. The chords are judgements of the
analysts, distributed with music21 by their permission. music21's BSD-3-Clause licence, Copyright (c) 2006-2026 Michael
Scott Asato Cuthbert, and the note on its corpus are in bach_chorales.LICENSE.txt beside the data.

Citation: M. S. Cuthbert, C. Ariza. music21: a toolkit for computer-aided musicology and symbolic music data. ISMIR
2010. D. Tymoczko, M. Gotham, M. S. Cuthbert, C. Ariza. The RomanText format: a flexible and standard method for
representing Roman numeral analyses. ISMIR 2019.
"""


@dataclass(frozen=True, eq=False)
class Chords:
    """The chords of a chorale, one after the other.

    Attributes
    ----------
    onsets, durations : float64 arrays of shape (k,)
        In quarters.
    roots : int64 array of shape (k,)
        Pitch classes, 0 (C) to 11.
    qualities : tuple of k str
        "major", "minor", "dominant seventh" and so on.
    pitch_classes : bool array of shape (k, 12)
        Which pitch classes belong to the chord.
    """

    onsets: np.ndarray
    durations: np.ndarray
    roots: np.ndarray
    qualities: tuple[str, ...]
    pitch_classes: np.ndarray

    def __repr__(self):
        return f"<Chords: {len(self.roots)}>"


@dataclass(frozen=True, eq=False)
class Chorale:
    """One chorale: its n notes in the order of their onsets, those of an onset from soprano to bass.

    Attributes
    ----------
    number : int
        Riemenschneider's, 1 to 371.
    bwv : str
        Number in the catalogue of Bach's works, with the movement: "269", "153.1".
    title : str
    key : str
        Tonic and mode of the signature, "G major" or "a minor".
    onsets, durations : float64 arrays of shape (n,)
        In quarters.
    pitches : int64 array of shape (n,)
        MIDI numbers, 36 to 81.
    voices : int64 array of shape (n,)
        0 soprano, 1 alto, 2 tenor, 3 bass.
    duration : float
        Of the whole chorale in quarters.
    fermatas : float64 array of shape (f,)
        Onsets of the soprano's notes under a fermata, in quarters.
    chords : Chords or None
    """

    number: int
    bwv: str
    title: str
    key: str
    onsets: np.ndarray
    durations: np.ndarray
    pitches: np.ndarray
    voices: np.ndarray
    duration: float
    fermatas: np.ndarray
    chords: Chords | None

    def __repr__(self):
        return f"<Chorale {self.number}, BWV {self.bwv}: {len(self.pitches)} notes, {self.duration:g} quarters>"


@dataclass(frozen=True, eq=False)
class BachChorales:
    """What `load_bach_chorales` returns.

    Attributes
    ----------
    data : list of 330 Chorale
        By number.
    DESCR : str
        Source, licence, citation, and how the notes were read.
    """

    data: list[Chorale]
    DESCR: str

    def __repr__(self):
        analysed = sum(chorale.chords is not None for chorale in self.data)
        return f"<BachChorales: {len(self.data)} chorales, {analysed} with chords, see DESCR>"


def load_bach_chorales() -> BachChorales:
    """Bach's chorales for four voices: 330 lists of notes, 19 of them with chords.

    Onsets and durations in quarters, MIDI pitches and voices; key, fermatas, and for 19 of the first 20 chorales the
    chords of a harmonic analysis [1]_ [2]_. `render_performance` plays a chorale; `note_roll`, `pitch_class_roll` and
    `chord_roll` give it as a series. Source, licence and processing are told in the attribute ``DESCR``.

    Returns
    -------
    chorales : BachChorales
        With attributes data, a list of `Chorale`, and DESCR. All arrays are fresh copies.

    References
    ----------
    .. [1] Cuthbert and Ariza, music21: a toolkit for computer-aided musicology and symbolic music data, ISMIR 2010.
    .. [2] Tymoczko, Gotham, Cuthbert and Ariza, The RomanText format: a flexible and standard method for representing
       Roman numeral analyses, ISMIR 2019.

    Examples
    --------
    >>> from sdtwkit.datasets import load_bach_chorales
    >>> chorale = load_bach_chorales().data[0]
    >>> chorale, chorale.title, chorale.key
    (<Chorale 1, BWV 269: 225 notes, 63 quarters>, 'Aus meines Herzens Grunde', 'G major')
    >>> chorale.pitches[:4], chorale.chords.qualities[:4]
    (array([67, 62, 59, 43]), ('major', 'major', 'major', 'major'))
    """
    with files(__package__).joinpath(FILE).open("rb") as file, np.load(file, allow_pickle=False) as packed:
        return BachChorales(data=unpack(dict(packed)), DESCR=DESCR)


# ---- the file: the voices one after the other as durations and pitches, as nothing but a rest is between two notes


def pack(pieces):
    """[(number, bwv, title, key, four voices, chords or None)] -> dict of arrays for np.savez_compressed."""
    voices = [voice for *_, four, _ in pieces for voice in four]
    durations, pitches, fermatas = (np.concatenate(column) for column in zip(*voices, strict=True))
    analyses = [analysis for *_, analysis in pieces if analysis is not None]
    chords = [np.concatenate(column).astype(np.uint8) for column in zip(*analyses, strict=True)]
    return {
        "number": np.array([piece[0] for piece in pieces], np.int16),
        "bwv": np.array([piece[1] for piece in pieces]),
        "title": np.array([piece[2] for piece in pieces]),
        "fifths": np.array([piece[3].sharps for piece in pieces], np.int8),
        "minor": np.array([piece[3].mode == "minor" for piece in pieces]),
        "events": np.array([len(voice[0]) for voice in voices], np.int16),
        "duration": durations.astype(np.uint8),
        "pitch": pitches.astype(np.uint8),
        "fermata": np.packbits(fermatas),
        "chords": np.array([0 if piece[-1] is None else len(piece[-1][0]) for piece in pieces], np.int16),
        "chord_duration": chords[0],
        "chord_root": chords[1],
        "chord_quality": chords[2],
    }


def unpack(packed):
    """The arrays that `pack` made -> list of Chorale."""
    n_events = int(packed["events"].sum())
    held = np.unpackbits(packed["fermata"], count=n_events).astype(bool)
    ends = np.cumsum(packed["events"])
    voices = np.split(np.stack([packed["duration"], packed["pitch"], held]).astype(np.int64), ends[:-1], axis=1)
    columns = np.stack([packed[f"chord_{name}"] for name in ("duration", "root", "quality")]).astype(np.int64)
    chords = np.split(columns, np.cumsum(packed["chords"])[:-1], axis=1)
    return [_chorale(packed, k, voices[4 * k : 4 * k + 4], chords[k]) for k in range(len(packed["number"]))]


def _chorale(packed, k, voices, chords):
    notes, fermatas, total = [], None, 0
    for voice, (durations, pitches, held) in enumerate(voices):
        onsets = np.cumsum(durations) - durations
        notes.append(np.stack([onsets, np.full(len(onsets), voice), durations, pitches])[:, pitches > 0])
        fermatas = onsets[held == 1] if voice == 0 else fermatas
        total = max(total, durations.sum())
    notes = np.concatenate(notes, axis=1)
    onsets, voices, durations, pitches = notes[:, np.lexsort(notes[1::-1])].copy()
    return Chorale(
        number=int(packed["number"][k]),
        bwv=str(packed["bwv"][k]),
        title=str(packed["title"][k]),
        key=_key(int(packed["fifths"][k]), bool(packed["minor"][k])),
        onsets=onsets / UNITS,
        durations=durations / UNITS,
        pitches=pitches,
        voices=voices,
        duration=float(total / UNITS),
        fermatas=fermatas / UNITS,
        chords=_chords(*chords) if chords.size else None,
    )


def _key(fifths, minor):
    tonic = _FIFTHS[7 + fifths + 3 * minor]
    return f"{tonic.lower()} minor" if minor else f"{tonic} major"


def _chords(durations, roots, qualities):
    names = list(QUALITIES)
    pitch_classes = np.zeros((len(roots), 12), bool)
    for row, root, quality in zip(pitch_classes, roots, qualities, strict=True):
        row[(root + np.array(QUALITIES[names[quality]])) % 12] = True
    return Chords(
        onsets=(np.cumsum(durations) - durations) / UNITS,
        durations=durations / UNITS,
        roots=roots.copy(),
        qualities=tuple(names[quality] for quality in qualities),
        pitch_classes=pitch_classes,
    )
