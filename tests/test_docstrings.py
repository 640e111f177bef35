"""Docstrings of all public names, by numpydoc's checks and by a few of our own; their examples run as doctests."""

import dataclasses
import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

from sdtwkit._local_costs import Cost

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
validation = pytest.importorskip("numpydoc.validate", reason="numpydoc is in the extra docs")
pytestmark = pytest.mark.skipif(not PROJECT.exists(), reason="pyproject.toml, which lists the checks, is not here")

MODULES = ["sdtwkit"] + [
    f"sdtwkit.{name}"
    for name in (
        *("audio", "compat", "converters", "costs", "datasets", "dp", "jax", "metric_learning"),
        *("metric_learning.evaluation", "metrics", "plotting", "preprocessing", "torch", "weak"),
    )
]
# Passed between the layers of the package, and no use to anybody else.
INTERNAL = {"sdtwkit.costs.CostPairs", "sdtwkit.costs.FusedCost"}


def is_ours(value):
    return getattr(value, "__module__", "").startswith("sdtwkit")


def public(module):
    """{name: function or class} that a module offers: `__all__`, or what it defines."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    found = {f"{module.__name__}.{name}": getattr(module, name) for name in names if not name.startswith("_")}
    return {
        name: value
        for name, value in found.items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and is_ours(value) and name not in INTERNAL
    }


def methods(name, cls):
    """{name: method or property} of the package's own. Those without a docstring are what a framework knows and calls;
    what the methods of costs do is told by the functions of `sdtwkit.costs`."""
    found = {}
    for method in (method for method in dir(cls) if not method.startswith("_") and not issubclass(cls, Cost)):
        value = inspect.getattr_static(cls, method)
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        overrides = any(method in vars(base) for base in cls.__mro__ if not is_ours(base))
        if inspect.isfunction(function) and is_ours(function) and (function.__doc__ or not overrides):
            found[f"{name}.{method}"] = value
    return found


def sections(name):
    return validation.get_doc_object(validation.Validator._load_obj(name))


def signature(name):
    return list(validation.Validator(sections(name)).signature_parameters)


OFFERED = {}
for module in MODULES:
    try:
        OFFERED |= public(importlib.import_module(module))
    except ImportError:
        assert module in ("sdtwkit.torch", "sdtwkit.jax", "sdtwkit.compat")  # the framework is missing
CLASSES = {name: value for name, value in OFFERED.items() if inspect.isclass(value)}
NAMES = OFFERED | {method: value for name, cls in CLASSES.items() for method, value in methods(name, cls).items()}
# Users get objects of these classes, and never make them.
RECORDS = {name for name in CLASSES if sections(name)["Attributes"] and not sections(name)["Parameters"]}
FIELDS = {
    name: [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else list(cls._fields)
    for name, cls in CLASSES.items()
    if dataclasses.is_dataclass(cls) or issubclass(cls, tuple)
}
# What may be given to these is told by their classes, or is all that Python or NumPy take.
NO_ERRORS = {name for name in NAMES if name in CLASSES or not signature(name)}
NO_ERRORS |= {name for name in NAMES if ".datasets.load_" in name or ".datasets.Performance." in name}
CHECKS = set(tomllib.loads(PROJECT.read_text())["tool"]["numpydoc_validation"]["checks"]) if PROJECT.exists() else set()


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc_finds_nothing(name):
    checks = validation.get_validation_checks(CHECKS) - ({"PR01"} if name in RECORDS else set())
    assert [error for error in validation.validate(name)["errors"] if error[0] in checks] == []


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_in_order_and_say_something(name):
    documented = sections(name)
    first = [entry.name.split(", ")[0].replace("\\", "") for entry in documented["Parameters"]]
    assert first == sorted(first, key=signature(name).index)
    for entry in [*documented["Parameters"], *documented["Returns"]]:
        assert entry.type or any(entry.desc), entry.name


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_documented(name):
    entries = sections(name)["Parameters"] or sections(name)["Attributes"]
    assert [field for entry in entries for field in entry.name.split(", ")] == FIELDS[name]


@pytest.mark.parametrize("name", sorted(OFFERED.keys() - FIELDS.keys()))
def test_functions_and_classes_have_an_example(name):
    assert any(line.startswith(">>>") for line in sections(name)["Examples"])


@pytest.mark.parametrize("name", sorted(NAMES.keys() - NO_ERRORS))
def test_errors_are_told(name):
    assert sections(name)["Raises"]
