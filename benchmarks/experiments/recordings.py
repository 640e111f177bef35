"""Two songs, each sung by two singers, with the times of their measures: real recordings, fetched when asked for.

They come in the source archive of synctoolbox 1.4.2 (50 MB), which holds songs of the Schubert Winterreise Dataset; its
MIT licence does not cover them, so they are not copied into this repository. `pooch` fetches the archive into a cache
and checks it; an archive that is there already will do, too.
"""

import csv
import io
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sdtwkit import dec_dtw, dtw, dtw_path
from sdtwkit.audio import log_frequency_features, read_wav

from . import alignment_learning

ARCHIVE = "synctoolbox-1.4.2.tar.gz"
URL = f"https://files.pythonhosted.org/packages/e9/d7/da50c45352952b90523cbbb87a7d29d70b84b09f9c877e3b0c1d10710bb8/{ARCHIVE}"
SHA256 = "67e7ced88cf8474b13f0fb10c599fdbb3977e47c987be5c1d3fabb7b6b438a55"
SONGS = {"D911-01": "Gute Nacht", "D911-03": "Gefrorne Tränen"}
SINGERS = ("SC06", "HU33")  # y, x: the second is warped onto the first
FRAME_RATE = 10.0  # 1/s
REG = 0.1


class Recording(NamedTuple):
    """One singer's."""

    loudness: np.ndarray  # (m, 72) of the semitones
    measures: dict  # {measure: its onset in seconds}


def archive(file=None):
    """The path of the archive: `file`, or that in the cache, fetched before if need be."""
    if file is not None:
        return Path(file)
    try:
        import pooch
    except ImportError as error:
        raise SystemExit(
            "The recordings are fetched by pooch: python -m pip install pooch. Or hand over the archive: "
            f"python -m pip download --no-deps --no-binary :all: synctoolbox==1.4.2, then --recordings {ARCHIVE}"
        ) from error
    return Path(pooch.retrieve(URL, f"sha256:{SHA256}", fname=ARCHIVE, path=pooch.os_cache("sdtwkit")))


def load(path, song, singer):
    """One recording out of the archive."""
    name = f"Schubert_{song}_{singer}"
    with tarfile.open(path) as packed, tempfile.TemporaryDirectory() as folder:
        root = packed.getnames()[0].split("/")[0]
        wav = Path(folder, "song.wav")
        wav.write_bytes(packed.extractfile(f"{root}/data_music/{name}.wav").read())
        table = packed.extractfile(f"{root}/data_csv/{name}.csv").read().decode()
        loudness = log_frequency_features(*read_wav(wav), frame_rate=FRAME_RATE)
    rows = csv.DictReader(io.StringIO(table), delimiter=";")
    return Recording(loudness, {float(row["measure"]): float(row["start"]) for row in rows})


def raw_chroma(loudness):
    """(m, 12) pitch classes of unit norm."""
    return unit(loudness.reshape(len(loudness), -1, 12).sum(axis=1).astype(np.float64))


def learned_chroma(parameters):
    """Features that were learned on chorales, notes and onsets, their octaves added: loudness (m, 72) -> (m, 24)."""

    def features(loudness):
        semitones = alignment_learning.described(loudness)
        notes = semitones @ parameters.weights.T  # (m, PITCHES, 2)
        folded = notes.reshape(len(notes), -1, 12, 2).sum(axis=1)
        return np.concatenate([unit(folded[..., 0]), folded[..., 1] / folded[..., 1].std()], axis=1)

    return features


def unit(x):
    return x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-3)


def transposed(x, shift):
    """Pitch classes moved up, in each group of 12 columns."""
    return np.roll(x.reshape(len(x), -1, 12), shift, axis=2).reshape(x.shape)


def run(path, song, features):
    """-> {"shift": semitones, "dtw": seconds, "dec_dtw": seconds}: mean absolute errors at the measures."""
    y, x = (load(path, song, singer) for singer in SINGERS)
    Y, X = features(y.loudness), features(x.loudness)
    shift = min(range(12), key=lambda k: dtw(Y, transposed(X, k)))
    X = transposed(X, shift)
    seconds_y, seconds_x = (np.arange(len(z)) / FRAME_RATE for z in (Y, X))
    rows, columns = dtw_path(Y, X)[0].T
    counts = np.bincount(rows)
    by_dtw = np.bincount(rows, seconds_x[columns]) / counts
    everywhere = {"n_values": len(X)}  # the coarse search of long series may miss a passage by seconds
    times = {"x_times": seconds_x, "y_times": seconds_y}
    result = dec_dtw(X, Y, REG, **times, slope_bounds=alignment_learning.SLOPES, **everywhere)
    common = sorted(set(x.measures) & set(y.measures))
    onsets, truth = (np.array([z.measures[m] for m in common]) for z in (y, x))

    def error(values):
        return float(np.abs(np.interp(onsets, seconds_y, values) - truth).mean())

    return {"shift": shift, "measures": len(common), "dtw": error(by_dtw), "dec_dtw": error(result.values)}
