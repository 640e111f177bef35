"""Scripts of the gallery are as its builder wants them; running them is up to .ci/run and the documentation's build."""

import ast
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.py"))
pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the examples are not beside these tests")


def test_there_are_scripts_of_all_groups():
    assert len(SCRIPTS) >= 15
    for folder in {script.parent for script in SCRIPTS} | {EXAMPLES}:
        title, line, *_ = (folder / "GALLERY_HEADER.rst").read_text().splitlines()
        assert len(line) == len(title)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_opens_with_its_title_and_shows_a_picture(script):
    text = script.read_text()
    tree = ast.parse(text)
    title, line, empty, *prose = ast.get_docstring(tree).splitlines()
    assert script.name.startswith("plot_")
    assert line == "=" * len(title)
    assert not empty
    assert prose
    assert "\n# %%\n# " in text
    assert text.endswith("plt.show()\n") or "plt.show()\n\n# %%\n" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_that_needs_more_than_matplotlib_says_so(script):
    tree = ast.parse(script.read_text())
    found = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    wanted = {name.split(".")[0] for name in found} & {"torch", "jax", "pooch", "pandas", "aeon", "tslearn"}
    for name in wanted:
        assert "Needs" in ast.get_docstring(tree)
        assert name in ast.get_docstring(tree)
