"""The package as a newcomer meets it: names, versions, docstrings, pickles."""

import copy
import inspect
import pickle
from importlib import metadata

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import sdtwkit
from sdtwkit.dp import AlignmentDP

FUNCTIONS = sorted(name for name in sdtwkit.__all__ if inspect.isfunction(getattr(sdtwkit, name)))


def test_version_is_that_of_the_installed_distribution():
    assert sdtwkit.__version__ == metadata.version("sdtwkit")


def test_show_versions_names_what_a_bug_report_needs(capsys):
    sdtwkit.show_versions()
    shown = capsys.readouterr().out
    for word in ("sdtwkit", "numpy", "instruction level", "OpenMP", "threads", "compiler"):
        assert word in shown


@pytest.mark.parametrize("name", sdtwkit.__all__)
def test_every_public_name_exists(name):
    assert getattr(sdtwkit, name) is not None
    assert name in dir(sdtwkit)


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'soft_dwt'"):
        sdtwkit.soft_dwt  # noqa: B018


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "show_versions"])
def test_docstrings_say_parameters_returns_raises_and_an_example(name):
    documentation = inspect.getdoc(getattr(sdtwkit, name))
    for section in ("Parameters\n", "Returns\n", "Raises\n", "Examples\n", ">>>"):
        assert section in documentation


@pytest.mark.parametrize("name", [name for name in vars(AlignmentDP) if not name.startswith("_")])
def test_methods_are_documented(name):
    documentation = inspect.getdoc(getattr(AlignmentDP, name))
    for section in ("Parameters\n", "Returns\n", "Examples\n"):
        assert section in documentation


def test_alignment_dp_survives_pickle_and_copy():
    dp = AlignmentDP(0.5, regularizer="l2", step_weights=(1, 2, 1), window=2, open_end="y")
    C = np.random.default_rng(0).random((6, 7))
    for twin in (pickle.loads(pickle.dumps(dp)), copy.deepcopy(dp)):
        assert_array_equal(twin.value_and_grad(C)[1], dp.value_and_grad(C)[1])
    assert "gamma=0.5" in repr(dp)
