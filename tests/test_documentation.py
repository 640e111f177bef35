"""The documentation has every public name and every paper, and its table of experiments says what their pages say."""

import ast
import re
from pathlib import Path

import pytest

import sdtwkit

PACKAGE = Path(sdtwkit.__file__).parent
PAGES = Path(__file__).parent.parent / "doc"
pytestmark = pytest.mark.skipif(not PAGES.exists(), reason="the pages are not beside these tests")

MODULES = {name for name in sdtwkit.__all__ if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}
MODULES |= {"torch", "jax", "compat", "metric_learning.evaluation"}
# Passed between the layers of the package, and no use to anybody else.
INTERNAL = {"costs.CostPairs", "costs.FusedCost"}


def public_names(module):
    """What a module offers, read from its source, as torch and jax may be missing: `__all__`, or what has no _."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    defined = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if names == ["__all__"]:
                return set(ast.literal_eval(node.value))
            defined += names
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.append(node.name)
    return {name for name in defined if not name.startswith("_")}


def test_reference_has_every_public_name():
    offered = {name for name in public_names("__init__") if name not in MODULES}
    for module in MODULES:
        offered |= {f"{module}.{name}" for name in public_names(module)} - MODULES - INTERNAL
    listed = re.findall(r"^(?:   |\.\. py:data:: )([\w.]+)$", (PAGES / "api.rst").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(offered)


def test_figures_of_the_experiments_are_those_of_their_pages():
    rows = re.findall(r"^\|(.*)\|$", (PAGES / "experiments.md").read_text(), flags=re.MULTILINE)
    page, compared = None, 0
    for _, experiment, here, _ in (row.split("|") for row in rows[2:]):
        if link := re.search(r"\((\w+\.md)\)", experiment):
            page = re.sub(r"\s+", " ", (PAGES / link[1]).read_text())
        for figure in re.findall(r"\d*\.\d+|\d+(?= %| ms)", here):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", page), (
                f"{experiment}: {figure} is not on the page"
            )
            compared += 1
    assert compared > 20


def test_bibliography_has_the_papers_of_the_docstrings():
    bibliography = (PAGES / "references.md").read_text()
    cited = {}
    for path in PACKAGE.rglob("*.py"):
        for author in re.findall(r"(?m)(?:^ +\.\. \[\d\] |References\n +-+\n +)(\w+)", path.read_text()):
            cited[author] = path.name
    assert len(cited) > 5
    for author, module in cited.items():
        assert re.search(rf"^{author}\b", bibliography, flags=re.MULTILINE), f"{author}, cited in {module}, is missing"
