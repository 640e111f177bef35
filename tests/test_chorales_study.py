"""The study of audio-to-score alignment: its losses, its measure and its page, on small generated pieces."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import chorales

SETTINGS = chorales.Settings(pieces=4, alphas=(1e-3, 1e-1), max_iter=15)


def made(rng, n=24, m=9):
    """A few notes one after the other, heard in as many channels, at an uneven pace."""
    notes = np.zeros((m, chorales.PITCHES))
    notes[np.arange(m), rng.integers(6, size=m)] = 1
    seconds = np.arange(n) / 8
    truth = np.sort(rng.uniform(0, seconds[-1], size=m))
    heard = notes[np.abs(seconds[:, None] - truth).argmin(axis=1)][:, :6]
    return chorales.piece(heard + 0.5 * rng.normal(size=heard.shape), notes, seconds, truth)


@pytest.mark.parametrize("loss", [chorales.frame_loss, chorales.end_to_end_loss])
def test_gradients_are_finite_differences(loss, rng):
    piece, (W, Z) = made(rng), 0.3 * rng.normal(size=(2, 7, chorales.PITCHES))
    slope = (loss(W, piece, SETTINGS)[1] * Z).sum()
    up, down = (loss(W + s * 1e-5 * Z, piece, SETTINGS)[0] for s in (1, -1))
    assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6)


def test_frames_belong_to_the_nearest_of_the_score(rng):
    piece = made(rng)
    assert (piece.Y.sum(axis=1) == 1).all()
    assert (np.diff(piece.Y.argmax(axis=1)) >= 0).all()
    assert_allclose(piece.features[:, -1], 1)


def test_deviation_is_that_of_the_times_found():
    """Two notes, of two frames of audio each: those of the second are found one frame late."""
    notes = np.eye(2, chorales.PITCHES)
    W = np.zeros((3, chorales.PITCHES))
    W[:2, :2] = 20 * np.eye(2) - 10
    heard = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    piece = chorales.piece(heard, notes, np.arange(4.0), np.array([0.5, 2.5]))
    assert_allclose(chorales.deviation(W, piece), (abs(1 - 0.5) + abs(3 - 2.5)) / 2)
    assert chorales.true_deviation(piece) == 0  # frames 0 and 1, frames 2 and 3


def test_maps_are_learned_from_the_other_pieces(rng):
    collection = [made(rng) for _ in range(4)]
    found, seconds = chorales.left_out(1, collection, SETTINGS)
    assert list(found) == list(chorales.METHODS)
    for method in chorales.METHODS[:3]:
        assert found[method][0] < found["random map"][0]
    again = list(collection)
    again[1] = again[1]._replace(Y=np.zeros_like(again[1].Y), truth=again[1].truth + 1)
    assert (
        chorales.left_out(1, again, SETTINGS)[0]["end to end"][0] == found["end to end"][0]
    )  # the piece left out is unseen
    text = chorales.markdown([(found, seconds)], SETTINGS, "the command")
    assert f"| {found['end to end'][0]:.3f} ± 0.000 |" in text
    assert "Written by `the command`" in text
