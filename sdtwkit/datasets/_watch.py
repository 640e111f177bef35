"""Shoulder exercises recorded by a watch on the wrist: 140 ragged series, by exercise, person and arm."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from ._packing import unpack

FILE = "watch_exercises.npz"  # made by tools/make_watch_dataset.py

TARGET_NAMES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "lower trapezius row",
    "bent over row",
)
FEATURE_NAMES = (
    "acceleration x (g)",
    "acceleration y (g)",
    "acceleration z (g)",
    "rotation x (rad/s)",
    "rotation y (rad/s)",
    "rotation z (rad/s)",
)
SIDE_NAMES = ("left", "right")
SAMPLING_RATE = 12.5

DESCR = """\
Shoulder exercises recorded by a watch
======================================

140 recordings: 7 physiotherapy exercises of the shoulder, by 10 healthy adults, with the left and with the right arm,
one recording of about 20 repetitions for each combination. Six channels, 12.5 samples a second, 237 to 655 samples
(19 to 52 s) a recording.

target  at the source  exercise
0       PEN            pendulum
1       ABD            abduction
2       FEL            forward elevation
3       IR             internal rotation, against an elastic band
4       ER             external rotation, against an elastic band
5       TRAP           lower trapezius row, against an elastic band
6       ROW            bent over row, with a dumbbell

Channels: acceleration along x, y, z (gravity included) and rate of rotation about x, y, z. The source states no units.
The numbers are those of g and rad/s: the mean length of the acceleration vector is near 1 in the slow exercises, and
in abduction and forward elevation the direction of gravity turns as far as the integrated rate of rotation says, within
7 percent (medians). How the axes lie on the wrist is not stated either; treat the channels as six features, not as
vectors.

Source: seglearn 1.2.5, file seglearn/data/watch_dataset.npy, https://github.com/dmbee/seglearn; all 140 recordings of
that file, which holds part of the data of the study cited below.

Processing: low-pass filtered and resampled from 50 Hz to 12.5 Hz (scipy.signal.resample_poly, up 1, down 4, its default
filter: Kaiser window, 81 taps, half amplitude at 6.25 Hz; padding by a line), rounded to multiples of 0.005 g and
0.02 rad/s, sorted by exercise, person and arm. Nothing else: whole recordings, not normalised.

Licence: BSD-3-Clause, Copyright (c) 2018, David M. Burns. The notice is in watch_exercises.LICENSE.txt beside the data.

Citation: D. M. Burns, N. Leung, M. Hardisty, C. Whyne, P. Henry, S. McLachlin. Shoulder physiotherapy exercise
recognition: machine learning the inertial signals from a smartwatch. Physiological Measurement 39(7), 2018.
doi:10.1088/1361-6579/aacfd9, arXiv:1802.01489.
"""


@dataclass(frozen=True, eq=False)
class WatchExercises:
    """What `load_watch_exercises` returns.

    Attributes
    ----------
    data : list of 140 float64 arrays of shape (n_i, 6)
        The recordings, time along the rows.
    target : int64 array of shape (140,)
        Exercise, 0 to 6.
    target_names : tuple of 7 str
    subject : int64 array of shape (140,)
        Person, 1 to 10.
    side : array of 140 str
        Arm, "left" or "right".
    feature_names : tuple of 6 str
        Channels, with their units.
    sampling_rate : float
        Samples a second.
    DESCR : str
        Source, licence, citation, and how the recordings were processed.
    """

    data: list[np.ndarray]
    target: np.ndarray
    target_names: tuple[str, ...]
    subject: np.ndarray
    side: np.ndarray
    feature_names: tuple[str, ...]
    sampling_rate: float
    DESCR: str

    def __repr__(self):
        return f"<WatchExercises: {len(self.data)} recordings, {len(self.feature_names)} channels, see DESCR>"


def load_watch_exercises(*, return_X_y: bool = False) -> Any:
    """Shoulder exercises recorded by a watch: 140 series of different lengths with six channels.

    Seven exercises by ten people with either arm [1]_: acceleration in g and rate of rotation in rad/s, 12.5 samples a
    second, 237 to 655 samples each, sorted by exercise, person and arm. Units, source, licence (BSD-3-Clause) and
    processing are told in the attribute ``DESCR``.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead, as the loaders of scikit-learn do.

    Returns
    -------
    recordings : WatchExercises
        With attributes data, target, target_names, subject, side, feature_names, sampling_rate and DESCR. All arrays
        are fresh copies.

    References
    ----------
    .. [1] Burns et al., Shoulder physiotherapy exercise recognition: machine learning the inertial signals from a
       smartwatch, Physiological Measurement 39(7), 2018, arXiv:1802.01489.

    Examples
    --------
    >>> from sdtwkit.datasets import load_watch_exercises
    >>> recordings = load_watch_exercises()
    >>> len(recordings.data), recordings.data[0].shape
    (140, (373, 6))
    >>> recordings.target_names[recordings.target[0]], int(recordings.subject[0]), str(recordings.side[0])
    ('pendulum', 1, 'left')
    """
    with files(__package__).joinpath(FILE).open("rb") as file, np.load(file, allow_pickle=False) as packed:
        data = unpack(packed)
        target, subject, side = (packed[name].astype(np.int64) for name in ("target", "subject", "side"))
    if return_X_y:
        return data, target
    return WatchExercises(
        data=data,
        target=target,
        target_names=TARGET_NAMES,
        subject=subject,
        side=np.array(SIDE_NAMES)[side],
        feature_names=FEATURE_NAMES,
        sampling_rate=SAMPLING_RATE,
        DESCR=DESCR,
    )
