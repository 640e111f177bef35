"""Features of generated tones: the right semitone, at the right time, at the right loudness."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit.audio import log_frequency_features, read_wav


def tone(pitch, seconds, rate, amplitude=0.5):
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_tone_is_loudest_at_its_pitch(rate):
    highest = 69 + 12 * np.log2(rate / 2 / 440) - 1
    for pitch in range(57, 108, 5):
        if pitch < highest:
            features = log_frequency_features(tone(pitch, 1.0, rate), rate)
            assert (features[2:-2].argmax(axis=1) + 36 == pitch).all()


def test_low_tones_need_a_longer_window():
    for pitch in range(36, 60):
        features = log_frequency_features(tone(pitch, 2.0, 22050), 22050, window=0.8)
        assert (features[6:-6].argmax(axis=1) + 36 == pitch).all()


def test_loudness_is_that_of_the_sine():
    """The energy of a tone on a semitone, with its neighbours', is that of its amplitude."""
    for amplitude in (0.01, 0.5):
        features = log_frequency_features(tone(81, 1.0, 22050, amplitude), 22050)[4].astype(float)
        energy = np.square(np.expm1(features) / 100).sum()
        assert_allclose(np.sqrt(energy), amplitude, rtol=0.02)


def test_frames_are_where_their_time_says():
    """A tone from second 1 to second 2 is half as loud in energy's amplitude at its two ends."""
    rate = 16000
    signal = np.concatenate((np.zeros(rate), tone(76, 1.0, rate), np.zeros(rate)))
    for frame_rate in (10, 25, 7.5):
        loudness = log_frequency_features(signal, rate, frame_rate=frame_rate)[:, 76 - 36]
        times = np.arange(len(loudness)) / frame_rate
        assert (loudness[(times < 0.88) | (times > 2.12)] < 1e-3).all()
        inside = loudness[(times > 1.12) & (times < 1.88)]
        assert_allclose(inside, inside[0], rtol=0.01)
        assert len(loudness) == int((3 * rate - 1) / rate * frame_rate) + 1


def test_two_performances_align(rng):
    """The same melody at two tempi: the path follows the onsets, to a frame or two."""
    pitches, rate = [60, 64, 67, 72, 71, 67, 62, 60], 16000
    durations = [rng.uniform(0.3, 0.8, size=len(pitches)) for _ in range(2)]
    x, y = (
        log_frequency_features(
            np.concatenate([tone(p, d, rate) for p, d in zip(pitches, times, strict=True)]), rate, frame_rate=20
        )
        for times in durations
    )
    path, _ = sdtwkit.dtw_path(x, y, cost="cosine")
    onsets = [np.cumsum(times)[:-1] * 20 for times in durations]
    for i, j in zip(*onsets, strict=True):
        assert np.abs(path - [i, j]).max(axis=1).min() <= 2


def test_silence_short_signals_and_integers():
    assert not log_frequency_features(np.zeros(1000), 8000).any()
    assert log_frequency_features([1], 8000).shape == (1, 72)
    assert log_frequency_features(np.ones(10, np.int16), 8000, n_pitches=5, lowest=60).shape == (1, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_frequency_features(np.zeros((3, 2)), 8000), r"signal has shape \(3, 2\); expected samples"),
        (lambda: log_frequency_features([], 8000), r"signal has shape \(0,\); expected samples"),
        (lambda: log_frequency_features([1j], 8000), "signal has dtype complex128; expected real numbers"),
        (lambda: log_frequency_features(None, 8000), "signal is None, of type NoneType"),
        (lambda: log_frequency_features([0.0, np.nan], 8000), r"signal holds NaN at index \(1\)"),
        (lambda: log_frequency_features([0.0], 0), "rate is 0.0; expected a finite number > 0"),
        (lambda: log_frequency_features([0.0], 8000, window=-1), "window is -1.0; expected a finite number > 0"),
        (lambda: log_frequency_features([0.0], 8000, frame_rate="1"), "frame_rate is '1', of type str"),
        (lambda: log_frequency_features([0.0], 8000, n_pitches=0), "n_pitches is 0; expected an integer >= 1"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_wav_files_of_every_format(dtype, tmp_path):
    from scipy.io import wavfile

    signal = tone(69, 0.1, 8000)
    stereo = np.stack((signal, 0.5 * signal), axis=1)
    scale = {"u": 127, "i": np.iinfo(dtype).max if np.dtype(dtype).kind == "i" else 0, "f": 1}[np.dtype(dtype).kind]
    wavfile.write(tmp_path / "a.wav", 8000, (stereo * scale + (128 if dtype == np.uint8 else 0)).astype(dtype))
    read, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert read.dtype == np.float32
    assert_allclose(read, 0.75 * signal, atol=0.02 if dtype == np.uint8 else 1e-4)


def test_what_is_no_wav_file(tmp_path):
    from scipy.io import wavfile

    (tmp_path / "a.wav").write_bytes(b"RIFF but not really")
    with pytest.raises(ValueError, match=r"a.wav is not a readable WAV file"):
        read_wav(tmp_path / "a.wav")
    wavfile.write(tmp_path / "empty.wav", 8000, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match=r"empty.wav has no samples"):
        read_wav(tmp_path / "empty.wav")
    with pytest.raises(OSError, match="No such file"):
        read_wav(tmp_path / "none.wav")


def test_the_signal_is_not_written_to():
    signal = tone(69, 0.2, 8000)
    kept = signal.copy()
    signal.flags.writeable = False
    log_frequency_features(signal, 8000)
    assert_array_equal(signal, kept)
