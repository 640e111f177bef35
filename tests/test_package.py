"""The package as a newcomer meets it: names, versions, docstrings, pickles."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
from importlib import metadata
from importlib.resources import files

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

import sdtwkit
from sdtwkit import _backend
from sdtwkit._kernels import alignment as kernels
from sdtwkit.dp import CTC, AlignmentDP, ChainDP, DagDP

MODULES = (sdtwkit, sdtwkit.dp, sdtwkit.costs, sdtwkit.datasets, sdtwkit.metrics, sdtwkit.weak, sdtwkit.audio)
MODULES += (sdtwkit.metric_learning, sdtwkit.metric_learning.evaluation)


def public_functions(module):
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    functions = {name: getattr(module, name) for name in names if inspect.isfunction(getattr(module, name))}
    return {name: function for name, function in functions.items() if function.__module__.startswith(module.__name__)}


FUNCTIONS = {
    f"{module.__name__}.{name}": function
    for module in MODULES
    for name, function in public_functions(module).items()
    if name not in ("show_versions", "get_cost")
}
METHODS = {
    f"{program.__name__}.{name}": method
    for program in (AlignmentDP, ChainDP, CTC, DagDP)
    for name, method in vars(program).items()
    if not name.startswith("_")
}


def test_version_is_that_of_the_installed_distribution():
    assert sdtwkit.__version__ == metadata.version("sdtwkit")


def test_show_versions_names_what_a_bug_report_needs(capsys):
    sdtwkit.show_versions()
    shown = capsys.readouterr().out
    for word in ("sdtwkit", "numpy", "instruction level", "OpenMP", "threads", "compiler"):
        assert word in shown


@pytest.mark.skipif(not kernels.build_info()["openmp"], reason="built without OpenMP: always one thread")
def test_all_threads_are_those_that_openmp_would_use():
    with threadpool_limits(1, user_api="openmp"):
        assert _backend.threads(0) == 1
    code = "from sdtwkit import _backend; print(_backend.threads(0))"
    environment = os.environ | {"OMP_NUM_THREADS": "3"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout == "3\n"


def test_the_command_line_knows_its_version():
    command = [sys.executable, "-m", "sdtwkit", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == f"sdtwkit {sdtwkit.__version__}\n"


@pytest.mark.parametrize(
    "name",
    ["py.typed", "_kernels/alignment.pyi", "_kernels/include/sdtwkit/recursion.h", "datasets/watch_exercises.npz"],
)
def test_files_beside_the_code_are_installed(name):
    assert files("sdtwkit").joinpath(name).is_file()


@pytest.mark.parametrize("name", sdtwkit.__all__)
def test_every_public_name_exists(name):
    assert getattr(sdtwkit, name) is not None
    assert name in dir(sdtwkit)


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'soft_dwt'"):
        sdtwkit.soft_dwt  # noqa: B018


@pytest.mark.parametrize("adapter", ["torch", "jax", "compat"])
def test_an_adapter_that_is_not_imported_says_how(adapter):
    code = f"import sdtwkit\ntry: sdtwkit.{adapter}\nexcept AttributeError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == f"module 'sdtwkit' has no attribute '{adapter}' before it is imported: import sdtwkit.{adapter}\n"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_say_parameters_returns_raises_and_an_example(name):
    documentation = inspect.getdoc(FUNCTIONS[name])
    of_arguments = ("Parameters\n-",) if inspect.signature(FUNCTIONS[name]).parameters else ()
    of_errors = () if ".load_" in name else ("Raises\n-",)
    for section in (*of_arguments, "Returns\n-", *of_errors, "Examples\n-", ">>>"):
        assert section in documentation


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_documented(name):
    documentation = inspect.getdoc(METHODS[name])
    for section in ("Parameters\n-", "Returns\n-", "Examples\n-", ">>>"):
        assert section in documentation


ESTIMATORS = [getattr(module, name) for module in MODULES for name in getattr(module, "__all__", ())]
ESTIMATORS = [value for value in ESTIMATORS if inspect.isclass(value) and issubclass(value, BaseEstimator)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unfitted_estimators_raise_as_their_docstrings_say(estimator):
    told = 0
    for method in dir(estimator):
        function = getattr(estimator, method)
        if inspect.isfunction(function) and "NotFittedError" in (inspect.getdoc(function) or ""):
            _, *parameters = inspect.signature(function).parameters.values()
            arguments = {p.name: [[0.0, 1.0]] for p in parameters if p.default is p.empty}
            with pytest.raises(NotFittedError):
                function(estimator(), **arguments)
            told += 1
    assert told


def test_alignment_dp_survives_pickle_and_copy():
    dp = AlignmentDP(0.5, regularizer="l2", step_weights=(1, 2, 1), window=2, open_end="y")
    C = np.random.default_rng(0).random((6, 7))
    for twin in (pickle.loads(pickle.dumps(dp)), copy.deepcopy(dp)):
        assert_array_equal(twin.value_and_grad(C)[1], dp.value_and_grad(C)[1])
    assert "gamma=0.5" in repr(dp)


@pytest.mark.parametrize(("framework", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_an_adapter_says_what_to_install(framework, name):
    code = f"import sys; sys.modules[{framework!r}] = None\n"
    code += f"try: import sdtwkit.{framework}\nexcept ImportError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == f"sdtwkit.{framework} needs {name}: python -m pip install 'sdtwkit[{framework}]'\n"
