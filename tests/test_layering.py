"""Who may import whom: the arrows of the house point down, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sdtwkit

PACKAGE = Path(sdtwkit.__file__).parent
MODULES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]

# Each module may import those on the lines above its own, never those beside it.
FLOORS = [
    ["_kernels", "_words", "_typing"],  # numbers; sentences; words of annotations
    ["_arrays"],
    ["_options", "audio", "metrics"],
    ["_cuda", "_local_costs", "datasets"],
    ["_backend"],
    ["costs", "dp", "_warp_problem"],
    ["_warp_pairs"],
    ["series", "warping", "_blocks", "weak"],
    ["divergences"],
    ["pairwise", "barycenters", "smoothing"],
    ["_estimators"],
    [
        "aligners",
        "cluster",
        "neighbors",
        "preprocessing",
        "converters",
        "plotting",
        "metric_learning",
        "sequence_labeling",
    ],
    ["_adapters"],
    ["torch", "jax"],
    ["compat"],
    ["_version"],
    ["__init__"],
    ["__main__"],
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
KERNEL_USERS = {"_backend", "_arrays"}
# Packages that a user may lack or that take long to load -> who may import them, inside a function.
FOREIGN = {
    "matplotlib": {"__main__", "plotting"},
    "scipy": {"_local_costs", "audio", "barycenters", "sequence_labeling"},
    "joblib": {"_blocks"},
    "sklearn": {"barycenters", "plotting"},
    "pandas": {"converters"},
}
FOREIGN["cupy"] = {"_cuda"}
FOREIGN |= {name: set() for name in ("torch", "jax", "keras", "tensorflow")}
# Estimators are classes of scikit-learn's, so these import it at once; they are themselves loaded at first use.
ESTIMATORS = {
    "_estimators",
    "aligners",
    "cluster",
    "neighbors",
    "preprocessing",
    "metric_learning",
    "sequence_labeling",
}
ADAPTERS = {"torch", "jax"}  # each adapts to the framework of its name; only the shims import one


def top(relative):
    """The module or subpackage of sdtwkit that a file belongs to."""
    return relative.parts[0].removesuffix(".py")


def statements(node, at_import=True):
    """(import statement, whether it runs when the module is imported) for all below a node."""
    for_checkers = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else ()
    for child in ast.iter_child_nodes(node):
        runs = at_import and child not in for_checkers
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, runs
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(child, runs and not inside)


def imports(source, relative):
    """(line, absolute dotted name, whether at module level) of everything a file imports."""
    package = ["sdtwkit", *relative.parts[:-1]]
    for node, at_import in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join(base + ([node.module] if node.module else []))
            names = [f"{stem}.{alias.name}" for alias in node.names]
        for name in names:
            yield node.lineno, name, at_import


def complaints(source, relative):
    """What a file imports against the rules, as sentences."""
    own = top(relative)
    for line, name, at_import in imports(source, relative):
        first, target, *_ = *name.split("."), ""
        if first == "sdtwkit":
            if FLOOR.get(target, -1) >= FLOOR[own] and target != own:
                yield f"{relative}:{line} imports {name} from its own floor or above"
            if target == "_kernels" and own not in KERNEL_USERS | {"_kernels"}:
                yield f"{relative}:{line} imports {name}: only {KERNEL_USERS} know the kernels"
        elif first in FOREIGN and not (first == "sklearn" and own in ESTIMATORS) and not (first == own in ADAPTERS):
            if at_import:
                yield f"{relative}:{line} imports {name} as soon as it is imported"
            elif own not in FOREIGN[first]:
                yield f"{relative}:{line} imports {name}"


def test_every_module_has_its_floor():
    assert {top(relative) for relative in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("relative", MODULES, ids=str)
def test_nobody_imports_upward(relative):
    assert not list(complaints((PACKAGE / relative).read_text(encoding="utf-8"), relative))


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("_arrays.py", "from . import series", "imports sdtwkit.series from its own floor or above"),
        ("dp/alignment.py", "from ..series import dtw", "imports sdtwkit.series.dtw from its own floor or above"),
        ("series.py", "def f():\n    from .pairwise import cdist_dtw", "imports sdtwkit.pairwise.cdist_dtw"),
        ("series.py", "from sdtwkit._kernels import alignment", "know the kernels"),
        ("costs.py", "try:\n    import torch.nn\nexcept ImportError: ...", "imports torch.nn as soon as"),
        ("costs.py", "def f():\n    import torch", "imports torch"),
        ("_backend.py", "def f():\n    import cupy", "imports cupy"),
        ("_local_costs.py", "class A:\n    import scipy", "imports scipy as soon as"),
        ("plotting.py", "if TYPE_CHECKING: ...\nelse:\n    import matplotlib", "imports matplotlib as soon as"),
        ("series.py", "if TYPE_CHECKING:\n    import matplotlib", "imports matplotlib"),
        ("barycenters.py", "from sklearn.base import clone", "imports sklearn.base.clone as soon as"),
        ("cluster.py", "import scipy.optimize", "imports scipy.optimize as soon as"),
    ],
)
def test_the_rules_notice(file, source, complaint):
    (found,) = complaints(source, Path(file))
    assert complaint in found


def test_importing_the_package_loads_nothing_heavy():
    heavy = {*FOREIGN, "numpy.random", "scipy.optimize", "joblib", "importlib.metadata", "sdtwkit.datasets"}
    code = "import sys, numpy; before = set(sys.modules); import sdtwkit; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sdtwkit.series" in loaded
    assert not heavy & set(loaded)
