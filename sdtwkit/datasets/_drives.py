"""Generated drives for place recognition: cars on one route, each at its own speed, what they see, and where they are.

Descriptors are linear in a smooth random function of the place and in what has nothing to do with it, so that a linear
map of them is worth learning. The sensor, that is how both are mixed, is one for all drives of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _options, _words
from .._typing import Array, RandomState

PLACE_CHANNELS = 6  # of the function of the place ...
PLACE_SCALE = 25.0  # ... and metres over which it changes
OTHER_CHANNELS = 5  # of what else is seen ...
OTHER_SCALE = 4.0  # ... and seconds over which it changes
OTHER_DEVIATION = 1.0  # as much as the place causes
DISTORTION = 0.1  # deviation of the entries of a drive's matrix from those of the identity
NOISE = 0.15
WAVES = 200  # cosines that make up a smooth random function

MAP_SIZE = 20_000.0  # side of the square in which routes begin, metres
BLOCKS = (80.0, 250.0)  # metres between crossings, from and to
CORNER = 8.0  # metres over which a turn is smoothed

CRUISE = (7.0, 14.0)  # m/s, from and to
SPEED_SCALE = 60.0  # metres over which the speed changes ...
SPEED_DEVIATION = 0.3  # ... deviation of its logarithm
STOPS = 500.0  # metres of route for each stop, on average
STANDING = 8.0  # seconds, on average
BRAKING = 1.5  # m/s^2
CRAWLING = 0.5  # m/s


class Drive(NamedTuple):
    """One drive of n frames.

    Attributes
    ----------
    times : array of shape (n,)
        Seconds since the start.
    positions : array of shape (n,)
        Metres along the route.
    descriptors : array of shape (n, d)
        What is seen.
    """

    times: np.ndarray
    positions: np.ndarray
    descriptors: np.ndarray


class DrivePair(NamedTuple):
    """Two drives from one end of a route to the other.

    Attributes
    ----------
    path : array of shape (k, 2)
        The route, a polyline in the plane, metres.
    reference, query : Drive
        Of times of their own, which differ in length.
    """

    path: np.ndarray
    reference: Drive
    query: Drive


def make_route(length: float = 1000.0, *, random_state: RandomState = None) -> Array:
    """A route through a town: every 80 to 250 m a crossing, where it turns left or right or goes straight on.

    Parameters
    ----------
    length : float > 0
        Metres.
    random_state : None, int, numpy.random.Generator or RandomState

    Returns
    -------
    path : array of shape (k, 2)
        Vertices about a metre apart, in metres; it begins anywhere in a square of 20 km.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.datasets import make_route
    >>> path = make_route(300, random_state=0)
    >>> path.shape, round(float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()))
    ((301, 2), 300)
    """
    length = _words.check_positive(length, "length")
    rng = _options.check_random_state(random_state)
    n = max(int(np.ceil(length)), 1)
    s = (np.arange(n) + 0.5) * (length / n)  # middles of the pieces
    corners = np.cumsum(rng.uniform(*BLOCKS, size=int(length / BLOCKS[0]) + 1)) - rng.uniform(0, BLOCKS[0])
    turns = np.pi / 2 * rng.choice([-1, 0, 1], size=len(corners), p=[0.4, 0.2, 0.4])
    start, heading = rng.uniform(0, MAP_SIZE, size=2), rng.uniform(0, 2 * np.pi)
    angle = heading + (1 + np.tanh((s[:, None] - corners) / CORNER)) / 2 @ turns
    steps = length / n * np.column_stack([np.cos(angle), np.sin(angle)])
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def make_drives(
    paths: Sequence[ArrayLike],
    *,
    n_channels: int = 16,
    frame_rate: float = 2.0,
    appearance: float = 1.0,
    random_state: RandomState = None,
) -> list[DrivePair]:
    """Two drives along each route, at different speeds and under different circumstances, with their true positions.

    Both cars go from one end to the other, slower and faster and with stops of their own. A frame is a vector of
    n_channels numbers: a smooth random function of the place, which changes over some 25 m, seen through a mixture of
    channels that is common to all drives; and, with the weight `appearance`, what has nothing to do with the place: a
    linear distortion for each drive, other things that pass within some seconds and are as strong as the place, and
    noise.

    Parameters
    ----------
    paths : list of arrays of shape (k, 2)
        Routes, as polylines in metres, all in one world: where they meet they look alike. `make_route` makes some.
    n_channels : int >= 1
        d, the size of a descriptor.
    frame_rate : float > 0
        Frames a second, about: whole numbers of intervals fill the drives.
    appearance : float >= 0
        Weight of what differs between drives; with 0 a descriptor is a function of the place.
    random_state : None, int, numpy.random.Generator or RandomState

    Returns
    -------
    drives : list of DrivePair
        One for each path, with fields path, reference and query; a drive has fields times, positions and descriptors.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed.

    Examples
    --------
    >>> from sdtwkit.datasets import make_drives, make_route
    >>> (pair,) = make_drives([make_route(600, random_state=0)], random_state=0)
    >>> pair.reference.descriptors.shape, pair.query.descriptors.shape
    ((141, 16), (121, 16))
    >>> pair.reference.positions[[0, -1]].round(), pair.query.positions[[0, -1]].round()
    (array([  0., 600.]), array([  0., 600.]))
    """
    lines = [_path(path, k) for k, path in enumerate(_words.entries(paths, "paths", "a list of (k, 2) arrays"))]
    n_channels = _words.check_count(n_channels, "n_channels")
    frame_rate = _words.check_positive(frame_rate, "frame_rate")
    appearance = _words.check_nonnegative(appearance, "appearance")
    rng = _options.check_random_state(random_state)
    see = _sensor(n_channels, appearance, rng)
    pairs = []
    for path in lines:
        own = rng.spawn(1)[0]  # so that a route does not depend on how long those before it are
        pairs.append(DrivePair(path, *(_drive(path, see, frame_rate, own) for _ in range(2))))
    return pairs


def _sensor(d, appearance, rng):
    """-> see(points (n, 2), times (n,), rng), which gives the descriptors (n, d) of a new drive."""
    place_of = _smooth(2, PLACE_SCALE, PLACE_CHANNELS, rng)
    place_mixture = rng.normal(scale=PLACE_CHANNELS**-0.5, size=(PLACE_CHANNELS, d))
    other_mixture = rng.normal(scale=OTHER_CHANNELS**-0.5, size=(OTHER_CHANNELS, d))

    def see(points, times, rng):
        distortion = DISTORTION * rng.normal(size=(d, d))
        other = OTHER_DEVIATION * _smooth(1, OTHER_SCALE, OTHER_CHANNELS, rng)(times[:, None])
        noise = NOISE * rng.normal(size=(len(times), d))
        place = place_of(points) @ place_mixture
        return place + appearance * (place @ distortion + other @ other_mixture + noise)

    return see


def _drive(path, see, frame_rate, rng):
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    times, positions = _motion(s[-1], frame_rate, rng)
    points = np.column_stack([np.interp(positions, s, path[:, k]) for k in range(2)])
    return Drive(times, positions, see(points, times, rng))


def _motion(length, frame_rate, rng):
    """-> times and positions of the frames: a speed that varies with the place, braking, standing, going on."""
    stops = np.sort(rng.uniform(0, length, size=rng.poisson(length / STOPS)))
    standing = rng.exponential(STANDING, size=len(stops))
    s = np.union1d(np.linspace(0, length, max(int(np.ceil(length)), 1) + 1), stops)
    speed = rng.uniform(*CRUISE) * np.exp(SPEED_DEVIATION * _smooth(1, SPEED_SCALE, 1, rng)(s[:, None])[:, 0])
    for stop in stops:
        speed = np.minimum(speed, np.sqrt(CRAWLING**2 + 2 * BRAKING * np.abs(s - stop)))
    t = np.concatenate([[0.0], np.cumsum(np.diff(s) * 2 / (speed[:-1] + speed[1:]))])
    # A stop is two points of the curve: where the car arrives, and where, later, it leaves.
    at = np.searchsorted(s, stops)
    waited = np.concatenate([[0.0], np.cumsum(standing)])
    departures = t[at] + waited[1:]
    t = t + waited[np.searchsorted(stops, s)]
    t, s = np.insert(t, at + 1, departures), np.insert(s, at + 1, stops)
    times = np.linspace(0, t[-1], max(round(t[-1] * frame_rate), 1) + 1)
    return times, np.interp(times, t, s)


def _smooth(n_dims, scale, k, rng):
    """-> k random functions of unit variance that change over `scale`: points (n, n_dims) -> values (n, k)."""
    frequencies = rng.normal(scale=1 / scale, size=(n_dims, WAVES))
    phases = rng.uniform(0, 2 * np.pi, size=WAVES)
    weights = rng.normal(scale=np.sqrt(2 / WAVES), size=(WAVES, k))
    return lambda points: np.cos(points @ frequencies + phases) @ weights


def _path(path, k):
    expected = "at least two different finite points (k, 2)"
    try:
        points = np.array(path, dtype=np.float64)
    except (TypeError, ValueError):
        raise _words.wrong_type(path, f"paths[{k}]", expected) from None
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"paths[{k}] has shape {points.shape}; expected {expected}")
    if not (np.isfinite(points).all() and len(points) > 1 and np.ptp(points, axis=0).any()):
        raise ValueError(f"paths[{k}] has {len(points)} points; expected {expected}")
    return points
