"""Embedded data sets: every line of the registry is tested, for what a user relies on and for what its licence asks."""

import inspect
import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.datasets import DATASETS, Chorale, _chorales, load_bach_chorales, load_watch_exercises
from sdtwkit.datasets._packing import pack, unpack

MOST_BYTES = 350_000
MOST_BYTES_IN_ALL = 1_000_000
LABELLED = [name for name, load in DATASETS.items() if "return_X_y" in inspect.signature(load).parameters]


@pytest.fixture(params=DATASETS)
def name(request):
    return request.param


@pytest.fixture
def dataset(name):
    return DATASETS[name]()


@pytest.fixture(params=LABELLED)
def labelled(request):
    return request.param


@pytest.fixture
def labelled_set(labelled):
    return DATASETS[labelled]()


def embedded(name):
    return files("sdtwkit.datasets").joinpath(f"{name}.npz")


def arrays_of(item):
    """All arrays that a datum holds: itself, or those of its attributes."""
    if isinstance(item, np.ndarray):
        return [item]
    return [array for value in getattr(item, "__dict__", {}).values() for array in arrays_of(value)]


def test_series_are_finite_float64_with_one_column_for_each_feature(labelled_set):
    for series in labelled_set.data:
        assert series.dtype == np.float64
        assert series.shape[1:] == (len(labelled_set.feature_names),)
        assert len(series) > 1
        assert np.isfinite(series).all()
        assert (series.std(axis=0) > 0).all()


def test_each_series_has_a_label_and_each_label_a_name_and_a_series(labelled_set):
    assert labelled_set.target.shape == (len(labelled_set.data),)
    assert labelled_set.target.dtype == np.int64
    assert_array_equal(np.unique(labelled_set.target), np.arange(len(labelled_set.target_names)))
    assert len(set(labelled_set.target_names)) == len(labelled_set.target_names)


def test_description_states_source_licence_citation_and_processing(dataset):
    for word in ("Source:", "Licence:", "BSD-3-Clause", "Copyright", "Citation:", "Processing:"):
        assert word in dataset.DESCR


def test_licence_notice_lies_beside_the_data(name):
    text = files("sdtwkit.datasets").joinpath(f"{name}.LICENSE.txt").read_text(encoding="utf-8")
    for passage in (
        "Copyright (c)",
        "Redistributions of source code must retain",
        "Redistributions in binary form",
        "AS IS",
    ):
        assert passage in text


def test_embedded_file_is_small_and_holds_no_pickle(name):
    with embedded(name).open("rb") as file:
        assert file.seek(0, 2) < MOST_BYTES
        with zipfile.ZipFile(file) as archive:
            assert all(member.endswith(".npy") for member in archive.namelist())
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            assert not any(arrays[key].dtype.hasobject for key in arrays)


def test_embedded_files_are_small_together():
    assert sum(len(embedded(name).read_bytes()) for name in DATASETS) < MOST_BYTES_IN_ALL


def test_changing_a_result_does_not_change_the_next_load(name):
    spoilt, expected = DATASETS[name](), DATASETS[name]()
    for item in [*spoilt.data, getattr(spoilt, "target", None)]:
        for array in arrays_of(item):
            array[:] = -1
    spoilt.data.clear()
    again = DATASETS[name]()
    assert_array_equal(getattr(again, "target", 0), getattr(expected, "target", 0))
    assert len(again.data) == len(expected.data)
    for item, item_expected in zip(again.data, expected.data, strict=True):
        for array, array_expected in zip(arrays_of(item), arrays_of(item_expected), strict=True):
            assert_array_equal(array, array_expected)


def test_arrays_share_no_memory(dataset):
    arrays = [array for item in dataset.data[:20] for array in arrays_of(item)]
    assert arrays
    assert not any(np.shares_memory(a, b) for k, a in enumerate(arrays) for b in arrays[:k])


def test_return_X_y_gives_data_and_target(labelled, labelled_set):
    X, y = DATASETS[labelled](return_X_y=True)
    assert_array_equal(y, labelled_set.target)
    for series, expected in zip(X, labelled_set.data, strict=True):
        assert_array_equal(series, expected)


def test_repr_is_short(dataset):
    assert len(repr(dataset)) < 120


def test_loading_imports_neither_scipy_nor_sklearn_nor_pandas():
    # The package itself is looked at by its own import tests: what counts here is what a load adds.
    code = (
        "import sys; from sdtwkit.datasets import DATASETS; before = set(sys.modules)\n"
        "for load in DATASETS.values(): load()\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not re.search("scipy|sklearn|pandas", result.stdout)


# ---- the watch


def test_watch_has_each_exercise_by_each_person_with_each_arm_once():
    watch = load_watch_exercises()
    seen = set(zip(watch.target.tolist(), watch.subject.tolist(), watch.side.tolist(), strict=True))
    assert seen == {
        (exercise, person, side) for exercise in range(7) for person in range(1, 11) for side in ("left", "right")
    }
    assert len(watch.data) == len(seen) == 140


def test_watch_lengths_are_ragged_as_described():
    lengths = [len(series) for series in load_watch_exercises().data]
    assert (min(lengths), max(lengths), sum(lengths)) == (237, 655, 61075)


def test_watch_accelerations_are_in_g():
    # At rest the acceleration is gravity; slow exercises stay near it.
    watch = load_watch_exercises()
    slow = [
        x
        for x, target in zip(watch.data, watch.target, strict=True)
        if watch.target_names[target] == "internal rotation"
    ]
    magnitudes = [np.linalg.norm(x[:, :3], axis=1).mean() for x in slow]
    assert_allclose(np.median(magnitudes), 1, atol=0.05)


def test_watch_values_are_multiples_of_the_stated_steps():
    steps = np.array([0.005] * 3 + [0.02] * 3)
    for series in load_watch_exercises().data:
        assert_allclose(series / steps, np.rint(series / steps), atol=1e-9)


# ---- the chorales


@pytest.fixture(scope="module")
def chorales():
    return load_bach_chorales().data


def test_chorales_have_their_numbers_and_no_piece_twice(chorales):
    numbers = [chorale.number for chorale in chorales]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(1, 372))
    assert len({chorale.bwv for chorale in chorales}) == len(chorales) == 330
    assert all(chorale.title for chorale in chorales)


def test_notes_are_sorted_and_lie_within_the_chorale(chorales):
    for chorale in chorales:
        shape = chorale.pitches.shape
        assert chorale.onsets.shape == chorale.durations.shape == chorale.voices.shape == shape
        assert (np.lexsort((chorale.voices, chorale.onsets)) == np.arange(len(chorale.onsets))).all()
        assert (chorale.durations > 0).all()
        assert chorale.onsets.min() >= 0
        assert (chorale.onsets + chorale.durations).max() <= chorale.duration
        assert set(chorale.pitches) <= set(range(36, 82))


def test_each_voice_sings_one_note_at_a_time(chorales):
    for chorale in chorales:
        assert set(chorale.voices) == {0, 1, 2, 3}
        for voice in range(4):
            mine = chorale.voices == voice
            assert (chorale.onsets[mine][1:] >= (chorale.onsets + chorale.durations)[mine][:-1]).all()


def test_voices_lie_one_above_the_other(chorales):
    for chorale in chorales:
        means = [chorale.pitches[chorale.voices == voice].mean() for voice in range(4)]
        assert means == sorted(means, reverse=True)


def test_the_melody_of_ein_feste_burg_begins_as_everybody_knows_it(chorales):
    (chorale,) = (chorale for chorale in chorales if chorale.number == 20)
    melody = chorale.pitches[chorale.voices == 0]
    assert "feste Burg" in chorale.title
    assert chorale.key == "D major"
    assert_array_equal(melody[:9] - melody[0], [0, 0, 0, -5, -3, -1, 0, -1, -3])


def test_keys_have_the_tonic_that_most_chorales_end_on(chorales):
    classes = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}

    def tonic(key):
        name = key.split()[0]
        return (classes[name[0].lower()] + name.count("#") - name[1:].count("b")) % 12

    last = [chorale.pitches[chorale.voices == 3][-1] % 12 for chorale in chorales]
    hits = np.array([tonic(chorale.key) == p for chorale, p in zip(chorales, last, strict=True)])
    major = np.array([chorale.key.endswith("major") for chorale in chorales])
    assert hits[major].mean() > 0.85
    assert hits[~major].mean() > 0.5  # the rest are modal: their signature is that of another minor key


def test_fermatas_are_onsets_of_the_soprano(chorales):
    for chorale in chorales:
        assert np.isin(chorale.fermatas, chorale.onsets[chorale.voices == 0]).all()
    assert np.mean([len(chorale.fermatas) for chorale in chorales]) > 5


def test_chords_follow_one_another_and_hold_the_notes(chorales):
    analysed = [chorale for chorale in chorales if chorale.chords is not None]
    assert len(analysed) == 19
    for chorale in analysed:
        chords = chorale.chords
        assert_array_equal(chords.onsets, np.append(0, np.cumsum(chords.durations)[:-1]))
        assert chords.onsets[-1] + chords.durations[-1] <= chorale.duration
        assert chords.pitch_classes[np.arange(len(chords.roots)), chords.roots].all()
        assert set(chords.pitch_classes.sum(axis=1)) <= {3, 4}
        at = np.searchsorted(chords.onsets, chorale.onsets, side="right") - 1
        assert chords.pitch_classes[at, chorale.pitches % 12].mean() > 0.75  # passing notes are short, and many


def test_qualities_name_the_intervals(chorales):
    for chorale in chorales[:10]:
        chords = chorale.chords
        for root, quality, members in zip(chords.roots, chords.qualities, chords.pitch_classes, strict=True):
            third = 3 if quality.startswith(("minor", "diminished", "half")) else 4
            assert members[(root + third) % 12]
            assert members.sum() == 3 + ("seventh" in quality)


def test_repr_names_number_and_size(chorales):
    assert repr(chorales[0]) == "<Chorale 1, BWV 269: 225 notes, 63 quarters>"
    assert isinstance(chorales[0], Chorale)


# ---- packing


def test_unpack_is_the_inverse_of_pack_up_to_half_a_step():
    rng = np.random.default_rng(0)
    steps = np.array([0.01, 0.5])
    recordings = [rng.normal(size=(n, 2)) * steps * 4000 for n in (1, 7, 300)]
    unpacked = unpack(pack(recordings, steps))
    for recording, back in zip(recordings, unpacked, strict=True):
        assert back.shape == recording.shape
        assert (np.abs(back - recording) <= steps / 2 * (1 + 1e-9)).all()


def test_extreme_samples_survive_packing():
    recordings = [np.array([[16383.0], [-16383.0], [16383.0], [0.0]]), np.array([[-16383.0]])]
    for recording, back in zip(recordings, unpack(pack(recordings, np.array([1.0]))), strict=True):
        assert_array_equal(back, recording)


@pytest.mark.parametrize("sample", [16384.0, -16384.0, np.inf, np.nan])
def test_samples_that_do_not_fit_are_refused(sample):
    with pytest.raises(ValueError, match="use larger steps"):
        pack([np.array([[sample]])], np.array([1.0]))


def test_what_is_packed_comes_back_as_notes_and_chords():
    """Two pieces in eighths: rests have pitch 0, only fermatas of the soprano count."""
    voice = np.array([4, 2, 2]), np.array([60, 0, 62]), np.array([False, False, True])
    low = np.array([8]), np.array([48]), np.array([True])
    chords = np.array([4, 4]), np.array([0, 7]), np.array([0, 0])
    keys = SimpleNamespace(sharps=1, mode="major"), SimpleNamespace(sharps=0, mode="minor")
    pieces = [(1, "269", "One", keys[0], [voice, low, low, low], chords), (2, "347", "Two", keys[1], [low] * 4, None)]
    one, two = _chorales.unpack(_chorales.pack(pieces))
    assert (one.number, one.bwv, one.title, one.key, two.key) == (1, "269", "One", "G major", "a minor")
    unit = 8 / one.duration  # in a quarter
    assert_array_equal(one.pitches, [60, 48, 48, 48, 62])
    assert_array_equal(one.onsets * unit, [0, 0, 0, 0, 6])
    assert_array_equal(one.durations * unit, [4, 8, 8, 8, 2])
    assert_array_equal(one.voices, [0, 1, 2, 3, 0])
    assert_array_equal(one.fermatas * unit, [6])
    assert_array_equal(one.chords.roots, [0, 7])
    assert repr(one.chords) == "<Chords: 2>"
    assert two.chords is None
    assert_array_equal(two.fermatas, [0])
