"""Who may import whom: the arrows of the house point down, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sdtwkit

PACKAGE = Path(sdtwkit.__file__).parent
MODULES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]

# Each module may import those on the lines above it; modules of one line do not import each other unless named here.
FLOORS = [
    ["_kernels"],
    ["_words"],
    ["_arrays"],
    ["_options"],
    ["_backend"],
    ["_local_costs"],
    ["costs", "dp"],
    ["series", "pairwise"],
    ["_version", "datasets"],
    ["__init__"],
    ["__main__"],
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
KERNEL_USERS = {"_backend"}
FOREIGN = {"torch", "jax", "cupy", "keras", "tensorflow", "matplotlib", "sklearn", "pandas"}


def top(relative):
    """The module or subpackage of sdtwkit that a file belongs to."""
    return relative.parts[0].removesuffix(".py")


def imports(relative):
    """(line, absolute dotted name, whether at module level) of everything a file imports."""
    tree = ast.parse((PACKAGE / relative).read_text())
    outer = {id(node) for node in tree.body}
    package = ["sdtwkit", *relative.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in outer
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                name = f"{stem}.{alias.name}" if stem == "sdtwkit" else stem
                yield node.lineno, name, id(node) in outer


def test_every_module_has_its_floor():
    assert {top(relative) for relative in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("relative", MODULES, ids=str)
def test_nobody_imports_upward(relative):
    own = top(relative)
    for line, name, _ in imports(relative):
        parts = name.split(".")
        if parts[0] != "sdtwkit" or len(parts) == 1:
            continue
        target = parts[1]
        if target == own or target not in FLOOR:
            continue
        assert FLOOR[target] < FLOOR[own], f"{relative}:{line} imports {name} from its own floor or above"
        if target == "_kernels":
            assert own in KERNEL_USERS, f"{relative}:{line}: only {KERNEL_USERS} know the kernels"


@pytest.mark.parametrize("relative", MODULES, ids=str)
def test_optional_packages_are_imported_only_where_they_are_used(relative):
    for line, name, at_module_level in imports(relative):
        assert not (at_module_level and name.split(".")[0] in FOREIGN), f"{relative}:{line} imports {name}"


def test_importing_the_package_loads_nothing_heavy():
    heavy = sorted(FOREIGN | {"scipy", "scipy.optimize", "sdtwkit.datasets"})
    code = f"import sys, sdtwkit; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
