"""Sound as a series: log-frequency features of a signal, one channel for each semitone, and WAV files.

A short-time Fourier transform whose energy is shared out among semitones. Recordings of the same music then differ by
tempo above all, which is what alignment takes out.
"""

from __future__ import annotations

import warnings
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_real_array
from ._words import check_count, check_integer, check_positive

_BLOCK = 64  # frames transformed at a time: some megabytes


def log_frequency_features(
    signal: ArrayLike,
    rate: float,
    *,
    frame_rate: float = 10.0,
    window: float = 0.2,
    lowest: int = 36,
    n_pitches: int = 72,
) -> NDArray[np.float32]:
    """Loudness of each semitone over time.

    Each frame is weighted by a Hann window and transformed; the energy at frequency f goes to the two semitones next to
    69 + 12 log2(f / 440 Hz), in proportion to how near they are. A channel is log(1 + 100 a), where a is the amplitude
    of a sine of that energy.

    Parameters
    ----------
    signal : array of shape (n,)
        Samples; full scale is 1.
    rate : float > 0
        Samples a second.
    frame_rate : float > 0, default 10.0
        Frames a second; frame i is centred at i / frame_rate seconds.
    window : float > 0, default 0.2
        Length of a frame in seconds. Semitones are told apart from about 40 / window Hz on.
    lowest : int, default 36
        MIDI number of the lowest semitone: 36 is C2, 65.4 Hz.
    n_pitches : int >= 1, default 72
        Semitones, six octaves by default. Those above rate / 2 stay 0.

    Returns
    -------
    features : float32 array of shape (frames, n_pitches)

    Raises
    ------
    TypeError, ValueError
        If the signal is no finite 1-D array with samples, or a number is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.audio import log_frequency_features
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)  # one second of a', MIDI 69
    >>> features = log_frequency_features(tone, 8000)
    >>> features.shape, int(features[5].argmax()) + 36
    ((10, 72), 69)
    """
    signal = as_real_array(signal, "signal").astype(np.float32)
    if signal.ndim != 1 or not len(signal):
        raise ValueError(f"signal has shape {signal.shape}; expected samples of shape (n,), n >= 1")
    rate, frame_rate = check_positive(rate, "rate"), check_positive(frame_rate, "frame_rate")
    length = max(round(check_positive(window, "window") * rate), 2)
    lowest = check_integer(lowest, "lowest", "an integer >= 0", minimum=0)
    weights = _semitones(length, rate, lowest, check_count(n_pitches, "n_pitches"))
    hann = np.hanning(length + 1)[:-1].astype(np.float32)
    centres = np.arange(int((len(signal) - 1) / rate * frame_rate) + 1) * (rate / frame_rate)
    starts = np.round(centres).astype(np.int64)
    padded = np.pad(signal, (length // 2, length))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)
    energy = np.empty((len(starts), weights.shape[1]), np.float32)
    for k in range(0, len(starts), _BLOCK):
        spectrum = np.fft.rfft(frames[starts[k : k + _BLOCK]] * hann, 2 * length)
        energy[k : k + _BLOCK] = (spectrum.real**2 + spectrum.imag**2) @ weights
    amplitude = np.sqrt(energy * (2 / (length * np.square(hann).sum())))  # Parseval: a sine of amplitude a has a^2 / 2
    return np.log1p(100 * amplitude).astype(np.float32)


def _semitones(length, rate, lowest, n_pitches):
    """(frequencies, semitones): the shares in which the energy at a frequency of the transform goes to semitones."""
    frequency = np.fft.rfftfreq(2 * length, 1 / rate)
    with np.errstate(divide="ignore"):
        pitch = 69 + 12 * np.log2(frequency / 440)
    return np.clip(1 - np.abs(pitch[:, None] - (lowest + np.arange(n_pitches))), 0, None).astype(np.float32)


def read_wav(path: str | PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Samples of a WAV file, and their rate.

    Parameters
    ----------
    path : str or path
        A file of PCM or floating-point samples, as `scipy.io.wavfile.read` takes it.

    Returns
    -------
    signal : float32 array of shape (n,)
        The mean over channels; integers are scaled so that full scale is 1.
    rate : int
        Samples a second.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no WAV file, of an unknown format, or has no samples.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from scipy.io import wavfile
    >>> from sdtwkit.audio import read_wav
    >>> file = io.BytesIO()
    >>> wavfile.write(file, 8000, np.array([0, 16384, -32768], np.int16))
    >>> read_wav(file)
    (array([ 0. ,  0.5, -1. ], dtype=float32), 8000)
    """
    from scipy.io import wavfile  # 0.1 s to import, and few need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, samples = wavfile.read(path)
    except OSError:
        raise
    except Exception as error:  # ValueError, struct.error, EOFError: whatever the parser trips over
        raise ValueError(f"{path} is not a readable WAV file: {error}") from error
    if not samples.size:
        raise ValueError(f"{path} has no samples")
    signal = samples.astype(np.float64)
    if samples.dtype.kind == "u":
        signal = (signal - 128) / 128
    elif samples.dtype.kind == "i":
        signal /= -float(np.iinfo(samples.dtype).min)
    return signal.reshape(len(signal), -1).mean(axis=1).astype(np.float32), rate
