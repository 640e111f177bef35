"""Scores as rolls and as performances: what sounds is what is written, when the map says it does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.audio import log_frequency_features
from sdtwkit.datasets import (
    TIMBRES,
    chord_roll,
    load_bach_chorales,
    note_roll,
    pitch_class_roll,
    render_performance,
)

CHORALES = load_bach_chorales().data


@pytest.fixture(params=[0, 5, 200])
def chorale(request):
    return CHORALES[request.param]


# ---- rolls


def test_note_roll_says_which_notes_sound(chorale, rng):
    times = rng.uniform(-2, chorale.duration + 2, size=50)
    roll = note_roll(chorale, times, lowest=40, n_pitches=30)
    for t, row in zip(times, roll, strict=True):
        sounding = {
            pitch
            for onset, duration, pitch in zip(chorale.onsets, chorale.durations, chorale.pitches, strict=True)
            if onset <= t < onset + duration
        }
        assert {*np.flatnonzero(row) + 40} == {pitch for pitch in sounding if 40 <= pitch < 70}
    assert set(np.unique(roll)) <= {0, 1}


def test_notes_begin_at_their_onsets_and_end_before_their_ends():
    chorale = CHORALES[0]
    assert note_roll(chorale, [chorale.onsets[0]])[0, chorale.pitches[0] - 36] == 1
    assert not note_roll(chorale, [chorale.duration, -1e-9]).any()


def test_pitch_class_roll_folds_octaves(chorale):
    times = np.arange(0, chorale.duration, 0.5)
    notes = note_roll(chorale, times, lowest=24, n_pitches=72)
    assert_array_equal(pitch_class_roll(chorale, times), notes.reshape(-1, 6, 12).max(axis=1))


def test_chord_roll_has_the_chord_by_its_root_and_third():
    for chorale in CHORALES[:10]:
        chords = chorale.chords
        middle = chords.onsets + chords.durations / 2
        roll = chord_roll(chorale, middle)
        assert_array_equal(roll.sum(axis=1), 1)
        assert_array_equal(roll.argmax(axis=1) % 12, chords.roots)
        has_minor_third = chords.pitch_classes[np.arange(len(middle)), (chords.roots + 3) % 12]
        assert_array_equal(roll.argmax(axis=1) >= 12, has_minor_third)
        assert not chord_roll(chorale, [-0.1, chorale.duration + 0.1]).any()


def test_chords_of_a_chorale_without_analysis_are_refused():
    with pytest.raises(ValueError, match=r"<Chorale 21, .* has no chords; expected one of those with an analysis"):
        chord_roll(CHORALES[19], [0.0])


@pytest.mark.parametrize("times", [[[0.0]], [np.nan], 1.0])
@pytest.mark.parametrize("roll", [note_roll, pitch_class_roll, chord_roll])
def test_malformed_times_are_refused(roll, times):
    with pytest.raises(ValueError, match=r"times have shape .*; expected finite times of shape \(n,\), in quarters"):
        roll(CHORALES[0], times)


# ---- performances


def test_map_goes_both_ways_and_tells_the_note_times(chorale, rng):
    performance = render_performance(chorale, random_state=0)
    quarters = rng.uniform(-1, chorale.duration + 1, 100)
    assert_allclose(performance.to_score(performance.to_seconds(quarters)), quarters)
    assert_allclose(performance.to_seconds(chorale.onsets), performance.note_onsets)
    assert_allclose(performance.to_seconds(chorale.onsets + chorale.durations), performance.note_offsets)
    assert (np.diff(performance.time_knots) > 0).all()
    assert performance.to_seconds(0.0) == 0.5
    assert performance.note_offsets.max() + 0.5 <= performance.duration


def test_steady_performance_keeps_the_metronome(chorale):
    performance = render_performance(chorale, tempo=90, tempo_spread=0, hold=1, silence=0, random_state=0)
    assert_allclose(performance.note_onsets, chorale.onsets * 60 / 90, atol=1e-12)


def test_notes_under_a_fermata_are_held():
    chorale = CHORALES[0]
    held = np.isin(chorale.onsets, chorale.fermatas) & (chorale.voices == 0)
    performance = render_performance(chorale, tempo=60, tempo_spread=0, hold=2.5, random_state=0)
    seconds = performance.note_offsets - performance.note_onsets
    assert_allclose(seconds[held], 2.5 * chorale.durations[held])
    assert_allclose(seconds[(chorale.voices == 0) & ~held], chorale.durations[(chorale.voices == 0) & ~held])


def test_tempo_curve_is_smooth_and_spread_as_asked():
    logs = []
    for seed in range(20):
        performance = render_performance(CHORALES[7], tempo_spread=0.3, hold=1, rate=1000, random_state=seed)
        logs.append(np.log(np.diff(performance.score_knots) / np.diff(performance.time_knots) * 60 / 72))
    logs = np.array(logs)
    assert_allclose(logs.std(), 0.3, rtol=0.15)
    assert np.abs(np.diff(logs, axis=1)).max() < 0.15


@pytest.mark.parametrize("timbre", TIMBRES)
def test_written_notes_sound(timbre):
    chorale = CHORALES[5]
    performance = render_performance(chorale, timbre=timbre, random_state=1)
    features = log_frequency_features(performance.audio, performance.rate)
    written = note_roll(chorale, performance.to_score(np.arange(len(features)) / 10)) > 0
    assert features[written].mean() > 2 * features[~written].mean()


@pytest.mark.parametrize("timbre", ["organ", "piano"])
def test_sound_begins_with_the_first_note_and_ends_with_the_last(timbre):
    performance = render_performance(CHORALES[5], timbre=timbre, silence=1.0, random_state=3)
    sounding = np.flatnonzero(np.abs(performance.audio) > 1e-4) / performance.rate
    assert 1 <= sounding[0] < 1.05
    assert sounding[-1] <= performance.note_offsets.max() + TIMBRES[timbre].release + 1e-3


def test_a_note_has_the_pitch_that_is_written_and_the_tuning():
    chorale = CHORALES[5]
    for tuning in (0.0, 40.0):
        performance = render_performance(chorale, timbre="flute", tuning=tuning, random_state=0)
        start, rate = int(0.55 * performance.rate), performance.rate
        spectrum = np.abs(np.fft.rfft(performance.audio[start : start + 4000] * np.hanning(4000), 2**18))
        lowest = chorale.pitches[chorale.onsets == 0].min()
        expected = 440 * 2 ** ((lowest - 69 + tuning / 100) / 12)
        near = np.abs(np.fft.rfftfreq(2**18, 1 / rate) / expected - 1) < 0.04
        found = np.fft.rfftfreq(2**18, 1 / rate)[near][spectrum[near].argmax()]
        assert_allclose(12 * np.log2(found / expected), 0, atol=0.1)


def test_equal_seeds_give_equal_performances_and_others_do_not():
    first, second, other = (render_performance(CHORALES[1], noise=0.1, random_state=seed) for seed in (3, 3, 4))
    assert_array_equal(first.audio, second.audio)
    assert_array_equal(first.note_onsets, second.note_onsets)
    assert not np.array_equal(first.note_onsets, other.note_onsets)


def test_level_noise_and_type():
    quiet, noisy = (render_performance(CHORALES[1], noise=noise, random_state=0) for noise in (0.0, 0.5))
    assert quiet.audio.dtype == np.float32
    assert_allclose(np.sqrt(np.mean(quiet.audio**2)), 0.1, rtol=1e-3)
    assert_allclose(np.std(noisy.audio - quiet.audio), 0.05, rtol=0.01)
    assert repr(quiet) == f"<Performance: {quiet.duration:.1f} s, organ>"


def test_dynamics_are_those_of_loudness_only():
    flat, lively = (render_performance(CHORALES[1], dynamics=decibels, random_state=0) for decibels in (0.0, 8.0))
    assert_array_equal(flat.note_onsets, lively.note_onsets)
    assert np.abs(flat.audio - lively.audio).max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"timbre": "kazoo"}, ValueError, "timbre is 'kazoo'; expected 'organ', 'flute'"),
        ({"tempo": 0}, ValueError, "tempo is 0.0; expected a finite number > 0"),
        ({"tempo_spread": -1}, ValueError, "tempo_spread is -1.0; expected a finite number >= 0"),
        ({"hold": 0}, ValueError, "hold is 0.0; expected a finite number > 0"),
        ({"noise": np.nan}, ValueError, "noise is nan; expected a finite number >= 0"),
        ({"tuning": np.inf}, ValueError, "tuning is inf; expected a finite number"),
        ({"rate": 999}, ValueError, "rate is 999.0; expected a finite number >= 1000"),
        ({"rate": "fast"}, TypeError, "rate is 'fast', of type str; expected a finite number >= 1000"),
        ({"random_state": "x"}, TypeError, "random_state"),
    ],
)
def test_malformed_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        render_performance(CHORALES[0], **arguments)
