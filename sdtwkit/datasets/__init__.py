"""Real recordings that come with the package, one loader each: nothing is downloaded, nothing is unpickled."""

from ._watch import WatchExercises, load_watch_exercises

__all__ = ["DATASETS", "WatchExercises", "load_watch_exercises"]

# Every embedded data set, by the name of its file; the tests iterate over this.
DATASETS = {"watch_exercises": load_watch_exercises}
