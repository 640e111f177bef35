"""The command line: what it prints, what it writes, and the one sentence with which it refuses."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit.__main__ import main, nearest_others, per_sample, read_series

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = ("matrix.png", "alignment.png", "warped.png", "barycenter.png")


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture
def pair(tmp_path):
    """Two random walks in files x.npy and y.npy -> x, y."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 2)).cumsum(axis=0) for n in (12, 9))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return x, y


def align(folder, *options, x="x.npy", y="y.npy"):
    return main(["align", str(folder / x), str(folder / y), *map(str, options)])


# ---- demo


def test_demo_reports_in_less_than_a_screen_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["demo", "--output", str(tmp_path / "new" / "folder")]) == 0
    report = capsys.readouterr().out
    assert len(report.splitlines()) < 40
    assert max(map(len, report.splitlines()[:-1])) <= 110  # the last line holds the folder's name
    for picture in PICTURES:
        assert (tmp_path / "new" / "folder" / picture).read_bytes().startswith(PNG)
        assert picture in report


def test_demo_finds_the_same_exercise_nearest_in_most_cases(capsys, no_matplotlib):
    main(["demo"])
    assert "For 7 of 9 the nearest other recording is of the same exercise" in capsys.readouterr().out


def test_demo_numbers_are_those_of_the_library(capsys, no_matplotlib):
    main(["demo"])
    report = capsys.readouterr().out
    recordings = sdtwkit.datasets.load_watch_exercises()
    x, y = (
        recordings.data[k]
        for k in range(140)
        if recordings.target[k] == 1 and recordings.subject[k] in (1, 2) and recordings.side[k] == "right"
    )
    x, y = ((series - series.mean(axis=0)) / series.std(axis=0) for series in (x, y))
    for name, value in (("hard DTW", sdtwkit.dtw(x, y)), ("soft-DTW", sdtwkit.soft_dtw(x, y))):
        assert re.search(rf"^{name} +{value:.1f} ", report, re.MULTILINE)


def test_demo_average_is_nearer_than_any_recording(capsys, no_matplotlib):
    main(["demo"])
    average, recording = re.search(r"soft-DTW to them (\S+); of .* (\S+)", capsys.readouterr().out).groups()
    assert float(average) < float(recording)


def test_demo_without_matplotlib_says_so_and_writes_nothing(tmp_path, capsys, no_matplotlib):
    assert main(["demo", "--output", str(tmp_path / "demo")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("No pictures: matplotlib is not installed")
    assert not (tmp_path / "demo").exists()


def test_demo_leaves_no_pyplot_behind(tmp_path):
    pytest.importorskip("matplotlib")
    code = "import sys; from sdtwkit.__main__ import main; main(['demo']); print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"
    assert {path.name for path in (tmp_path / "sdtwkit-demo").iterdir()} == set(PICTURES)


def test_demo_runs_as_a_module_without_matplotlib(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('blocked')")
    search_path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    result = subprocess.run(
        [sys.executable, "-m", "sdtwkit", "demo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": search_path},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "No pictures" in result.stdout


def test_demo_into_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output", str(tmp_path / "file" / "folder")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_nearest_other_is_never_the_series_itself():
    assert_array_equal(nearest_others(np.array([[-9.0, 2, 1], [2, -9, 3], [1, 3, -9]])), [2, 0, 0])


def test_values_per_sample_divide_by_the_sum_of_lengths():
    assert_allclose(per_sample(np.ones((2, 2)), [np.zeros(3), np.zeros(5)]), [[1 / 6, 1 / 8], [1 / 8, 1 / 10]])


# ---- align


def test_align_prints_values_and_path_of_the_library(tmp_path, pair, capsys):
    assert align(tmp_path, "--gamma", 0.5) == 0
    printed = capsys.readouterr().out
    path, value = sdtwkit.dtw_path(*pair)
    assert f"{sdtwkit.soft_dtw(*pair, 0.5):.12g}" in printed
    assert f"{value:.12g}" in printed
    assert f"path length  {len(path)} " in printed
    assert "12 time steps, 2 channels" in printed


def test_align_writes_what_it_computed(tmp_path, pair):
    assert align(tmp_path, "--output", tmp_path / "all.npz", "--path-csv", tmp_path / "path.csv") == 0
    path, value = sdtwkit.dtw_path(*pair)
    alignment, soft_value = sdtwkit.soft_dtw_alignment(*pair)
    with np.load(tmp_path / "all.npz", allow_pickle=False) as written:
        assert_array_equal(written["path"], path)
        assert_allclose(written["alignment"], alignment)
        assert_allclose([written["soft_dtw"], written["dtw"], written["gamma"]], [soft_value, value, 1])
    lines = (tmp_path / "path.csv").read_text().splitlines()
    assert lines[0] == "x,y"
    assert_array_equal([[int(field) for field in line.split(",")] for line in lines[1:]], path)


def test_align_draws(tmp_path, pair):
    pytest.importorskip("matplotlib")
    assert align(tmp_path, "--plot", tmp_path / "a.png") == 0
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_align_draws_univariate_series(tmp_path):
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "x.npy", np.arange(5))
    np.save(tmp_path / "y.npy", np.arange(1))
    assert align(tmp_path, "--plot", tmp_path / "a.png") == 0


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--cost", "manhattan"], {"cost": "manhattan"}),
        (["--window", "1"], {"window": 1}),
        (["--open-begin", "y", "--open-end", "both"], {"open_begin": "y", "open_end": True}),
        (["--open-end", "x"], {"open_end": "x"}),
    ],
)
def test_align_passes_options_on(tmp_path, pair, capsys, words, options):
    assert align(tmp_path, *words) == 0
    printed = capsys.readouterr().out
    assert f"{sdtwkit.soft_dtw(*pair, **options):.12g}" in printed
    assert f"{sdtwkit.dtw(*pair, **options):.12g}" in printed


def test_npy_and_csv_give_the_same_lines(tmp_path, pair, capsys):
    align(tmp_path)
    from_npy = capsys.readouterr().out
    for name, series in zip("xy", pair, strict=True):
        np.savetxt(tmp_path / f"{name}.csv", series, fmt="%.17g", delimiter=",", header="a,b", comments="")
    align(tmp_path, x="x.csv", y="y.csv")
    assert capsys.readouterr().out == from_npy.replace(".npy", ".csv")


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2\n3,-4e1\n",
        "1.5, 2\r\n3, -4e1\r\n",
        "1.5;2\n3;-40\n",
        "1,5;2,0\n3,0;-40,0\n",
        "1,5\t2\n3\t-40\n",
        "1.5\t2\n3\t-40",
        "  1.5  2\n3 -40 \n\n",
        "ax,ay\n1.5,2\n3,-40\n",
        "time of day;a\n1.5;2\n3;-40\n",
        "# made by hand, in g\n1.5,2\n3,-40\n",
        "\ufeff1.5,2\n3,-40\n",
    ],
    ids=repr,
)
def test_csv_dialects_read_alike(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert_array_equal(read_series(tmp_path / "a.csv"), [[1.5, 2], [3, -40]])


def test_csv_of_one_column_is_one_channel(tmp_path):
    (tmp_path / "a.CSV").write_text("value\n1\n2\n3\n")
    assert_array_equal(read_series(tmp_path / "a.CSV"), [[1], [2], [3]])


# ---- sound and labels


def test_sound_is_aligned_by_its_features(tmp_path, capsys):
    """Two performances of three tones, one twice as slow: the path is as steep as the tempi say."""
    from scipy.io import wavfile

    for name, seconds in (("fast", 0.5), ("slow", 1.0)):
        times = np.arange(int(8000 * seconds)) / 8000
        signal = np.concatenate([np.sin(2 * np.pi * f * times) for f in (440, 660, 550)])
        wavfile.write(tmp_path / f"{name}.wav", 8000, (signal * 2**14).astype(np.int16))
    output = tmp_path / "found.npz"
    assert align(tmp_path, "--output", output, x="fast.wav", y="slow.wav") == 0
    assert "15 time steps, 72 channels" in capsys.readouterr().out
    path = np.load(output)["path"]
    assert np.abs(2 * path[:, 0] - path[:, 1]).max() <= 5  # half a tone of the slow one: within a tone all costs tie


def test_labels_are_asked_for_by_name(tmp_path, pair, capsys):
    """Not: x has 1 channel, y has 2."""
    said = refused(capsys, align(tmp_path, "--cost", "nll"))
    assert "y has shape (9, 2); expected integer labels, (m,) or (m, 1) a series, for cost 'nll'" in said
    np.save(tmp_path / "labels.npy", [0, 1, 1])
    assert align(tmp_path, "--cost", "nll", y="labels.npy") == 0


# ---- refusals


def refused(capsys, code):
    """The sentence of a refusal: one line on stderr, nothing on stdout, exit code 2."""
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.npy", None, r"cannot read .*missing.npy: No such file"),
        ("missing.csv", None, r"cannot read .*missing.csv: No such file"),
        ("a.mat", b"", r"suffix '.mat'; expected one of .npy, .csv, .wav"),
        ("plain", b"", r"suffix ''; expected one of .npy, .csv, .wav"),
        ("a.npy", b"", r"not a readable .npy file"),
        ("a.npy", b"1,2\n3,4\n", r"not a readable .npy file"),
        ("a.npy", pickle.dumps([1, 2]), r"not a readable .npy file"),
        ("a.wav", b"RIFF", r"not a readable WAV file"),
        ("missing.wav", None, r"cannot read .*missing.wav: No such file"),
        ("a.csv", b"", r"a.csv is empty"),
        ("a.csv", b"# only a comment\n", r"a.csv is empty"),
        ("a.csv", b"a,b\n", r"line 1: 'a,b' is not a row of numbers"),
        ("a.csv", b"a,b\n1,2\n3,x\n", r"line 3: '3,x' is not a row of numbers"),
        ("a.csv", b"1,2\n3,\n", r"line 2: '3,' is not a row of numbers"),
        ("a.csv", b"a,b\n\n1,2\n3\n4,5\n", r"line 4: .*"),
        ("a.csv", b"1,2\n3,4,5\n6,7\n", r"line 2: 3 numbers; the lines before have 2"),
        ("a.csv", b"\xff\xfe\x00", r"not a text file in UTF-8"),
        ("a.csv", b"1,2\nnan,3\n", r"NaN"),
        ("a.csv", b"1,2\n3,inf\n", r"inf"),
        ("a.csv", b"1,2,3\n4,5,6\n", r"channels"),
    ],
)
def test_unusable_file_is_refused_in_one_sentence(tmp_path, pair, capsys, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert re.search(sentence, refused(capsys, align(tmp_path, x=name)))


@pytest.mark.parametrize("array", [np.zeros(()), np.zeros((2, 3, 4))], ids=["0-D", "3-D"])
def test_array_that_is_no_series_is_refused(tmp_path, pair, capsys, array):
    np.save(tmp_path / "a.npy", array)
    assert "expected (time,) or (time, channels)" in refused(capsys, align(tmp_path, y="a.npy"))


@pytest.mark.parametrize("array", [np.zeros((3, 2), complex), np.array([["a", "b"]]), np.zeros((0, 2))])
def test_the_library_refuses_arrays_in_its_own_words(tmp_path, pair, capsys, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises((ValueError, TypeError)) as refusal:
        sdtwkit.soft_dtw(pair[0], array)
    assert str(refusal.value) in refused(capsys, align(tmp_path, y="a.npy"))


class Mischief:
    """Unpickling one makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_object_array_is_refused_and_never_unpickled(tmp_path, pair, capsys):
    mischief = np.empty(1, dtype=object)
    mischief[0] = Mischief(str(tmp_path / "unpickled"))
    np.save(tmp_path / "a.npy", mischief, allow_pickle=True)
    assert "Python objects, which are not loaded" in refused(capsys, align(tmp_path, x="a.npy"))
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--gamma", "0"], "gamma"),
        (["--gamma", "nan"], "gamma"),
        (["--window", "-1"], "window"),
        (["--cost", "no"], "cost"),
    ],
)
def test_option_out_of_range_is_refused_by_the_library(tmp_path, pair, capsys, options, word):
    sentence = refused(capsys, align(tmp_path, *options))
    assert word in sentence
    assert "x.npy" in sentence


@pytest.mark.parametrize(
    "options",
    [
        ["--output", "a.npy"],
        ["--output", "a"],
        ["--path-csv", "a.txt"],
        ["--plot", "a.pdf"],
        ["--gamma", "one"],
        ["--open-end", "z"],
    ],
)
def test_malformed_option_ends_with_usage(tmp_path, pair, capsys, options):
    with pytest.raises(SystemExit) as end:
        align(tmp_path, *options)
    assert end.value.code == 2
    assert options[0] in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--output=no/all.npz", "--path-csv=no/path.csv"])
def test_output_that_cannot_be_written_is_refused(tmp_path, pair, capsys, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    assert align(tmp_path, option) == 2
    assert re.search("cannot write .*no", capsys.readouterr().err)


def test_plot_without_matplotlib_is_refused_before_any_work(tmp_path, pair, capsys, no_matplotlib):
    assert "matplotlib is not installed" in refused(capsys, align(tmp_path, "--plot", tmp_path / "a.png"))


# ---- the rest


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"sdtwkit {sdtwkit.__version__}\n"


def test_info_prints_versions(capsys):
    assert main(["info"]) == 0
    assert sdtwkit.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["align", "--help"], ["info", "--help"]])
def test_help(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    assert "usage: python -m sdtwkit" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["dance"], ["align", "x.npy"]])
def test_unknown_or_missing_words_end_with_usage(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err
