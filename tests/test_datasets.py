"""Embedded data sets: every line of the registry is tested, for what a user relies on and for what its licence asks."""

import re
import subprocess
import sys
import zipfile
from importlib.resources import files

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sdtwkit.datasets import DATASETS, load_watch_exercises
from sdtwkit.datasets._packing import pack, unpack

MOST_BYTES = 350_000


@pytest.fixture(params=DATASETS)
def name(request):
    return request.param


@pytest.fixture
def dataset(name):
    return DATASETS[name]()


def embedded(name):
    return files("sdtwkit.datasets").joinpath(f"{name}.npz")


def test_series_are_finite_float64_with_one_column_for_each_feature(dataset):
    for series in dataset.data:
        assert series.dtype == np.float64
        assert series.shape[1:] == (len(dataset.feature_names),)
        assert len(series) > 1
        assert np.isfinite(series).all()
        assert (series.std(axis=0) > 0).all()


def test_each_series_has_a_label_and_each_label_a_name_and_a_series(dataset):
    assert dataset.target.shape == (len(dataset.data),)
    assert dataset.target.dtype == np.int64
    assert_array_equal(np.unique(dataset.target), np.arange(len(dataset.target_names)))
    assert len(set(dataset.target_names)) == len(dataset.target_names)


def test_description_states_source_licence_citation_and_processing(dataset):
    for word in ("Source:", "Licence: BSD-3-Clause", "Copyright", "Citation:", "Processing:", "arXiv:"):
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


def test_changing_a_result_does_not_change_the_next_load(name):
    spoilt, expected = DATASETS[name](), DATASETS[name]()
    for series in spoilt.data:
        series[:] = np.nan
    spoilt.target[:] = -1
    spoilt.data.clear()
    again = DATASETS[name]()
    assert_array_equal(again.target, expected.target)
    for series, series_expected in zip(again.data, expected.data, strict=True):
        assert_array_equal(series, series_expected)


def test_series_share_no_memory(dataset):
    assert all(series.flags.owndata and series.flags.c_contiguous for series in dataset.data)


def test_return_X_y_gives_data_and_target(name, dataset):
    X, y = DATASETS[name](return_X_y=True)
    assert_array_equal(y, dataset.target)
    for series, expected in zip(X, dataset.data, strict=True):
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
