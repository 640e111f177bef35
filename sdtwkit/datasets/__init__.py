"""Real recordings and scores that come with the package, one loader each: nothing is downloaded, nothing is unpickled.

Scores can be played, `render_performance`, which gives audio whose note times are known; drives along a route can be
generated, `make_drives`, with the positions of their frames.
"""

from ._chorales import BachChorales, Chorale, Chords, load_bach_chorales
from ._drives import Drive, DrivePair, make_drives, make_route
from ._rendering import TIMBRES, Performance, render_performance
from ._rolls import chord_roll, note_roll, pitch_class_roll
from ._watch import WatchExercises, load_watch_exercises

__all__ = [
    "DATASETS",
    "TIMBRES",
    "BachChorales",
    "Chorale",
    "Chords",
    "Drive",
    "DrivePair",
    "Performance",
    "WatchExercises",
    "chord_roll",
    "load_bach_chorales",
    "load_watch_exercises",
    "make_drives",
    "make_route",
    "note_roll",
    "pitch_class_roll",
    "render_performance",
]

# Every embedded data set, by the name of its file; the tests iterate over this.
DATASETS = {"bach_chorales": load_bach_chorales, "watch_exercises": load_watch_exercises}
