"""The experiment on audio-to-score alignment: its gradients, its minimisers, its page, on a few short pieces."""

import builtins
import io
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.datasets import load_bach_chorales, render_performance

pytest.importorskip("benchmarks.experiments", reason="the folder benchmarks is not part of the installed package")
from benchmarks.experiments import alignment_learning, recordings, score_alignment
from benchmarks.experiments.alignment_learning import (
    INTERVALS,
    LOWEST,
    PITCHES,
    Parameters,
    Settings,
    along_the_truth,
    described,
    dtw_errors,
    errors,
    features,
    pieces,
    raw,
    soft_dtw_loss,
    time_error_loss,
    trained,
    with_best_reg,
)

SMALL = Settings(n_train=2, n_validation=1, n_test=2, longest=33, frame_rate=5, step=0.5, updates=2, regs=(0.1,))


@pytest.fixture(scope="module")
def split():
    return pieces(0, SMALL)


@pytest.fixture
def parameters(rng):
    start = raw()
    return start._replace(
        weights=start.weights + 0.05 * rng.normal(size=start.weights.shape), offsets=0.1 * rng.normal(size=2)
    )


def test_pieces_are_drawn_without_replacement_and_again_the_same(split):
    assert [len(part) for part in split] == [2, 1, 2]
    every = [piece for part in split for piece in part]
    assert len({piece.notes.tobytes() for piece in every}) == 5
    pieces.cache_clear()
    for part, same in zip(split, pieces(0, SMALL), strict=True):
        for piece, other in zip(part, same, strict=True):
            assert_array_equal(piece.semitones, other.semitones)


def test_onsets_begin_notes_and_margins_are_silent(split):
    for piece in split[0]:
        begun = np.diff(piece.notes, axis=0, prepend=0) > 0
        assert (piece.onsets[begun] == 1).all()
        assert piece.onsets.sum() >= begun.sum()
        assert not piece.notes[piece.quarters < 0].any()
        assert piece.held[[0, -1]].all()
        inside = piece.quarters[piece.inside]
        assert inside[0] == 0
        assert inside[-1] == piece.quarters[-1] - alignment_learning.MARGIN
        assert 0 < piece.warp[0] < piece.warp[piece.inside][-1] < piece.seconds[-1]


def test_described_reads_semitones_at_the_intervals(rng):
    loudness = rng.uniform(size=(6, 72))
    level = loudness / (np.linalg.norm(loudness, axis=1, keepdims=True) + 0.5)
    columns = described(loudness)
    assert columns.shape == (6, PITCHES, 2 * len(INTERVALS))
    for k, interval in enumerate(INTERVALS):
        for pitch in (0, 20, 47):
            there = pitch + interval
            expected = level[:, there] if 0 <= there < 72 else np.zeros(6)
            assert_allclose(columns[:, pitch, k], expected)


@pytest.mark.parametrize("loss", [time_error_loss, soft_dtw_loss])
def test_gradients_are_those_of_finite_differences(loss, split, parameters, rng):
    piece, h = split[0][0], 1e-6
    free = ("weights", "offsets") if loss is soft_dtw_loss else Parameters._fields
    moves = parameters._asdict()
    direction = Parameters(*(rng.normal(size=moves[name].shape) * (name in free) for name in moves))

    def moved(step):
        return Parameters(*(part + step * d for part, d in zip(parameters, direction, strict=True)))

    difference = (loss(piece, moved(h), SMALL)[0] - loss(piece, moved(-h), SMALL)[0]) / (2 * h)
    gradient = loss(piece, parameters, SMALL)[1]
    assert_allclose(sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)), difference, rtol=1e-4)


def test_least_squares_along_the_truth_is_a_minimum(split, rng):
    def distance(parameters):
        total = 0
        for piece in split[0]:
            audio, score = features(piece, parameters)
            read = np.stack([np.interp(piece.warp, piece.seconds, channel) for channel in audio.T], axis=1)
            total += np.square(read - score).sum()
        return total

    best = along_the_truth(split[0])
    for _ in range(5):
        shift = 1e-2 * rng.normal(size=best.weights.shape)
        assert distance(best) < distance(best._replace(weights=best.weights + shift))
        assert distance(best) < distance(best._replace(offsets=best.offsets + 1e-2 * rng.normal(size=2)))


def test_training_lowers_the_loss(split):
    settings = SMALL._replace(updates=8, batch=2)
    before = np.mean([time_error_loss(piece, raw(), settings)[0] for piece in split[0]])
    after = trained(time_error_loss, split[0], settings, 0, raw())
    assert np.mean([time_error_loss(piece, after, settings)[0] for piece in split[0]]) < before


def test_regularization_is_that_of_the_least_error(split):
    settings = SMALL._replace(regs=(1e-3, 0.1, 100.0))
    best = with_best_reg(raw(), split[1], settings)
    others = [raw()._replace(log_reg=np.log([r, r * h])) for r in settings.regs for h in settings.held]
    assert np.mean([errors(p, best)[0] for p in split[1]]) == min(errors(split[1][0], other)[0] for other in others)


def test_errors_are_small_where_audio_is_the_score(split):
    piece = split[0][0]
    audio = np.zeros((len(piece.quarters), PITCHES, 2 * len(INTERVALS)))
    audio[:, :, INTERVALS.index(0)] = 0.5 * piece.notes
    audio[:, :, len(INTERVALS) + INTERVALS.index(0)] = piece.onsets
    seconds = piece.quarters - piece.quarters[0]
    same = piece._replace(semitones=audio, seconds=seconds, warp=seconds)
    assert errors(same, raw()) == pytest.approx((0, 0), abs=1e-6)
    silent = ~(piece.notes.any(axis=1))
    assert dtw_errors(same, raw())[0] <= silent.mean() * silent.sum()  # nothing tells silent frames apart


# ---- real recordings


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive as synctoolbox's, of one song by two singers, the second a semitone higher and slower."""
    from scipy.io import wavfile

    folder = tmp_path_factory.mktemp("archive")
    chorale = load_bach_chorales().data[5]
    path = folder / "songs.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for singer, tuning, tempo in (("SC06", 0.0, 100), ("HU33", 100.0, 80)):
            sung = render_performance(chorale, tuning=tuning, tempo=tempo, timbre="flute", rate=8000, random_state=0)
            starts = sung.to_seconds(np.arange(0, chorale.duration, 4))
            rows = "".join(f"{start:.6f};{measure}\n" for measure, start in enumerate(starts))
            wav = io.BytesIO()
            wavfile.write(wav, 8000, sung.audio)
            for name, data in (
                (f"data_csv/Schubert_D911-01_{singer}.csv", ("start;measure\n" + rows).encode()),
                (f"data_music/Schubert_D911-01_{singer}.wav", wav.getvalue()),
            ):
                entry = tarfile.TarInfo(f"synctoolbox/{name}")
                entry.size = len(data)
                packed.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("described_by", [recordings.raw_chroma, recordings.learned_chroma(raw())])
def test_recordings_are_transposed_and_aligned(archive, described_by):
    outcome = recordings.run(archive, "D911-01", described_by)
    assert outcome["shift"] == 11  # a semitone down
    assert outcome["measures"] == 8
    assert outcome["dtw"] < 0.3
    assert outcome["dec_dtw"] < 0.3


def test_a_missing_pooch_is_explained(monkeypatch):
    imported = builtins.__import__

    def without_pooch(name, *rest, **options):
        if name == "pooch":
            raise ImportError(name)
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_pooch)
    with pytest.raises(SystemExit, match="pip install pooch"):
        recordings.archive()
    assert recordings.archive("there.tar.gz").name == "there.tar.gz"


# ---- the command


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command on small settings; returns the page."""
    monkeypatch.setattr(score_alignment, "QUICK_SETTINGS", SMALL)

    def run(*words):
        file = tmp_path / "page.md"
        options = ["--quick", "--n-jobs", "1", "--cache", str(tmp_path / "cache"), "--markdown", str(file)]
        score_alignment.main([*options, *words])
        return file.read_text()

    return run


def test_the_page_has_a_row_for_each_loss(command):
    text = command()
    assert "`python -m benchmarks.experiments.score_alignment --quick`, " in text
    for title in score_alignment.METHODS.values():
        assert text.count(f"| {title} | ") == 1
    assert "Real recordings" not in text
    assert "{" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_a_run_goes_on_where_it_stopped(command, monkeypatch, tmp_path):
    asked = []

    def drawn(method, seed, settings):
        asked.append((method, seed))
        errors = {"error": 0.0123, "median": 0.0101, "deviation": 0.0456}
        return {"parameters": {}, "dtw": errors, "dec_dtw": errors}

    monkeypatch.setattr(alignment_learning, "run", drawn)
    first = command()
    assert "| 12 | 10 | 46 | 12 | 10 | 46 |" in first
    assert asked == [(method, 0) for method in score_alignment.METHODS]
    asked.clear()
    (tmp_path / "cache" / "soft.0.json").unlink()
    assert command() == first
    assert asked == [("soft", 0)]
    asked.clear()
    monkeypatch.setattr(score_alignment, "QUICK_SETTINGS", SMALL._replace(updates=3))
    command()
    assert len(asked) == len(score_alignment.METHODS)


def test_songs_are_told_with_their_errors(command, archive, monkeypatch):
    monkeypatch.setattr(recordings, "SONGS", {"D911-01": "Gute Nacht"})
    text = command("--recordings", str(archive))
    assert text.count("| D911-01 Gute Nacht | ") == 3
    assert str(archive) not in text
    assert "score_alignment --quick --recordings`, " in text


def test_lowest_note_and_range_hold_all_chorales():
    pitches = np.concatenate([chorale.pitches for chorale in load_bach_chorales().data])
    assert pitches.min() >= LOWEST
    assert pitches.max() < LOWEST + PITCHES
