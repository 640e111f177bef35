"""Every public function, method and parameter has a type; literals name what there is; stubs match the kernels."""

import ast
import importlib
import inspect
import typing
from pathlib import Path

import pytest

import sdtwkit
from sdtwkit import _kernels, _typing, weak
from sdtwkit._estimators import METRICS
from sdtwkit._kernels import recurrent
from sdtwkit._warp_problem import LOSSES
from sdtwkit.costs import COSTS, get_cost
from sdtwkit.divergences import KINDS

MODULES = ("", "costs", "dp", "weak", "datasets", "plotting", "preprocessing", "converters", "metrics", "audio")
MODULES += ("metric_learning", "metric_learning.evaluation", "barycenters", "torch", "jax", "compat")
CALLED = ("__init__", "__call__")
MADE_BY_US = {"WarpResult.__init__"}  # nobody else calls it
STUBS = sorted(Path(_kernels.__file__).parent.glob("*.pyi"))


def public(module):
    """Classes and functions by name: those of `__all__`, else those defined in the module."""
    if hasattr(module, "__all__"):
        return {name: thing for name in module.__all__ if callable(thing := getattr(module, name))}
    own = {name: thing for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__}
    return {name: thing for name, thing in own.items() if callable(thing) and not name.startswith("_")}


def methods(cls):
    """Functions that this package wrote for a class: its own and inherited ones, by qualified name."""
    members = [getattr(cls, name) for name in dir(cls) if name in CALLED or not name.startswith("_")]
    members = [getattr(member, "fget", member) for member in members]  # of properties
    written = [member for member in members if inspect.isfunction(member) or inspect.ismethod(member)]
    return {member.__qualname__: member for member in written if member.__module__.startswith("sdtwkit")}


def lacking(function):
    """What has no annotation."""
    signature = inspect.signature(function)
    names = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    return names + ["return"] * (signature.return_annotation is signature.empty)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_signature_is_annotated(name):
    if name in ("torch", "compat"):
        pytest.importorskip("torch", reason="the adapter to PyTorch needs it")
    if name == "jax":
        pytest.importorskip("jax", reason="the adapter to JAX needs it")
    module = importlib.import_module(f"sdtwkit.{name}".rstrip("."))
    functions = {}
    for of, thing in public(module).items():
        if inspect.isclass(thing):
            functions |= methods(thing)
        else:
            functions[of] = inspect.unwrap(thing)
    incomplete = {of: missing for of, function in functions.items() if (missing := lacking(function))}
    assert functions
    assert not incomplete.keys() - MADE_BY_US


@pytest.mark.parametrize("name", MODULES[:-3])
def test_annotations_can_be_read_at_run_time(name):
    module = importlib.import_module(f"sdtwkit.{name}".rstrip("."))
    for thing in public(module).values():
        if inspect.isfunction(thing):
            assert "return" in typing.get_type_hints(thing)


@pytest.mark.parametrize(
    ("alias", "names"),
    [
        (_typing.CostName, COSTS),
        (_typing.Kind, KINDS),
        (_typing.Metric, METRICS),
        (_typing.WarpLoss, LOSSES),
        (_typing.Normalization, weak.NORMALIZATIONS),
        (_typing.Coupling, recurrent.COUPLINGS),
    ],
    ids=["costs", "kinds", "metrics", "warp losses", "normalizations", "couplings"],
)
def test_literals_name_what_there_is(alias, names):
    assert set(typing.get_args(alias)) == set(names)


def test_costs_of_the_package_have_the_methods_of_a_users_cost():
    for name in COSTS:
        for method in ("matrix", "vjp", "jvp"):
            assert callable(getattr(get_cost(name), method))
            assert method in vars(_typing.LocalCost)


def test_checkers_know_the_names_that_are_loaded_lazily():
    """Each is imported in the block for checkers, from the module that __getattr__ takes it from."""
    tree = ast.parse(Path(sdtwkit.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.name: statement.module or alias.name
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert declared == {name: home for name, home in sdtwkit._HOME.items() if name in sdtwkit.__all__}


def parameters(node):
    return [argument.arg for argument in node.args.args]


def exposed(names):
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("path", STUBS, ids=lambda path: path.stem)
def test_stubs_name_what_the_compiled_module_has(path):
    module = importlib.import_module(f"sdtwkit._kernels.{path.stem}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
            assert parameters(node) == list(inspect.signature(getattr(module, node.name)).parameters)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.add(node.name)
            cls = getattr(module, node.name)
            assert {method.name for method in node.body} == exposed(vars(cls)) | {"__init__"}
            for method in node.body:
                if method.name != "__init__":  # of which a compiled class does not tell the signature
                    assert parameters(method) == list(inspect.signature(getattr(cls, method.name)).parameters)
    assert exposed(found) == exposed(vars(module))


def test_every_compiled_module_has_a_stub():
    assert [path.stem for path in STUBS] == sorted(module for module in ("alignment", "chain", "recurrent", "warp"))
