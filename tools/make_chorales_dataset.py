"""Make sdtwkit/datasets/bach_chorales.npz from an installed music21 (developers only).

    python -m pip install music21==10.5.1
    python tools/make_chorales_dataset.py

Only notes, signatures and fermatas are read from the encodings, which are facts about works in the public domain, and
the chords of the analyses; layout, text and fingerings of the encodings are left behind.
"""

import argparse
from pathlib import Path

import numpy as np
from music21 import corpus, expressions, key, roman

from sdtwkit.datasets import _chorales

NUMBERS = range(1, 372)  # Riemenschneider's
ANALYSED = range(1, 21)
LEAST_AGREEMENT = 0.85  # share of the sounding time that chords and notes must have in common; passing notes are 5-10 %


def four_voices(number, bwv):
    """Title, key and the events of four voices, or None where instruments are added."""
    score = corpus.parse(f"bach/bwv{bwv}")
    if len(score.parts) != 4:
        return None
    signatures = [k for k in score.parts[0].flatten().getElementsByClass(key.KeySignature) if isinstance(k, key.Key)]
    if not signatures:
        return None
    return signatures[0], [events(part) for part in score.parts]


def events(part):
    """(durations, pitches, fermatas) of the notes and rests of a voice; a rest has pitch 0."""
    rows, end = [], 0
    for event in part.stripTies().flatten().notesAndRests:
        if event.quarterLength == 0:  # a grace note: its time is for the performer to choose
            continue
        if event.offset != end:
            raise SystemExit(f"a voice has a gap or an overlap at {end}: check {part}")
        end = event.offset + event.quarterLength
        units = event.quarterLength * _chorales.UNITS
        if units != int(units) or units > 255:
            raise SystemExit(f"a duration of {event.quarterLength} quarters does not fit")
        held = any(isinstance(mark, expressions.Fermata) for mark in event.expressions)
        rows.append((int(units), 0 if event.isRest else event.pitch.midi, held))
    return [np.array(column) for column in zip(*rows, strict=True)]


def chords(number, voices):
    """(durations, roots, qualities) of an analysis, in the key of the score; None if it is of another version."""
    analysis = corpus.parse(f"bach/choraleAnalyses/riemenschneider{number:03d}.rntxt")
    found = []
    for numeral in analysis.flatten().getElementsByClass(roman.RomanNumeral):
        times = (round(time * _chorales.UNITS) for time in (numeral.offset, numeral.quarterLength))
        found.append((*times, *root_and_quality(numeral)))
    starts, lengths, roots, qualities = (np.array(column) for column in zip(*found, strict=True))
    if starts[0] or (starts[1:] != np.cumsum(lengths)[:-1]).any():
        raise SystemExit(f"the analysis of chorale {number} has gaps")
    total = min(sum(durations) for durations, _, _ in voices)
    lengths[-1] -= max(0, lengths.sum() - total)  # some count the last measure full
    agreement = [agree(lengths, (roots + shift) % 12, qualities, voices) for shift in range(12)]
    shift = int(np.argmax(agreement))  # two analyses are of the same chorale in another key
    print(f"chorale {number}: chords transposed by {shift} agree with {agreement[shift]:.1%} of the sounding time")
    return (lengths, (roots + shift) % 12, qualities) if agreement[shift] >= LEAST_AGREEMENT else None


def root_and_quality(chord):
    """Pitch class and index into QUALITIES: the first that has all tones (two chords lack a third or a fifth).

    An augmented sixth chord sounds as a dominant seventh over its bass, and is called so.
    """
    for root in (chord.root().pitchClass, chord.bass().pitchClass):
        above = {(c - root) % 12 for c in chord.pitchClasses}
        for index, intervals in enumerate(_chorales.QUALITIES.values()):
            if above <= set(intervals):
                return root, index
    raise SystemExit(f"{chord} is {chord.pitchClasses}: which chord is that?")


def agree(lengths, roots, qualities, voices):
    """Share of the sounding time in which the note is one of the chord's."""
    intervals = list(_chorales.QUALITIES.values())
    members = [{(r + i) % 12 for i in intervals[q]} for r, q in zip(roots, qualities, strict=True)]
    at = np.repeat(np.arange(len(lengths)), lengths)
    hits = []
    for durations, pitches, _ in voices:
        sounding = np.repeat(pitches, durations)[: len(at)]
        hits += [p % 12 in members[k] for p, k in zip(sounding, at[: len(sounding)], strict=True) if p]
    return np.mean(hits)


def main():
    """Read, check, pack, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(_chorales.__file__).with_name(_chorales.FILE))
    output = parser.parse_args().output
    catalogue = corpus.chorales.ChoraleListRKBWV().byRiemenschneider
    pieces, seen = [], set()
    for number in NUMBERS:
        bwv = catalogue[number]["bwv"]
        read = None if bwv in seen else four_voices(number, bwv)
        seen.add(bwv)
        if read is not None:
            analysis = chords(number, read[1]) if number in ANALYSED else None
            pieces.append((number, bwv, catalogue[number]["title"], *read, analysis))
    np.savez_compressed(output, **_chorales.pack(pieces))
    analysed = sum(piece[-1] is not None for piece in pieces)
    print(f"{output}: {output.stat().st_size} bytes, {len(pieces)} chorales, {analysed} of them with chords")


if __name__ == "__main__":
    main()
