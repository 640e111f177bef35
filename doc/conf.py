"""The documentation's build, without network: `sphinx-build -W -b html doc doc/_build/html`.

Pages are Markdown (MyST) whose examples are doctests; the API reference is made from the docstrings, the gallery from
examples/. A gallery file with the line `# sphinx_gallery_execute = False` is shown but not executed: for examples that
need fetched data, whose pictures are committed.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.roles import XRefRole

import sdtwkit

EXAMPLES = Path(__file__).parent.parent / "examples"

project = "sdtwkit"
author = "The sdtwkit developers"
copyright = author
version = release = sdtwkit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_static", "_templates", "auto_examples/**/*.ipynb"]
templates_path = ["_templates"]
default_role = "autolink"  # a name in single backticks becomes a link where it is a public one

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say more than types do
numpydoc_show_class_members = False  # the templates list them
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "sdtwkit"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_sidebars = {page: [] for page in ("install", "quickstart", "errors", "references", "changelog")}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": []},  # its tables are wide
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}


def _executed():
    """A pattern of the gallery files that the build executes."""
    for folder in EXAMPLES.iterdir():
        if any(folder.glob("plot_*.py")) and not any(folder.glob("GALLERY_HEADER.*")):
            raise FileNotFoundError(f"{folder} has no GALLERY_HEADER.rst; expected one with the title of the group")
    files = [path for path in EXAMPLES.rglob("plot_*.py") if "sphinx_gallery_execute = False" not in path.read_text()]
    return "|".join(rf"[\\/]{re.escape(path.name)}$" for path in files)


sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "auto_examples",
    "filename_pattern": _executed(),
    "ignore_pattern": r"[\\/](?!plot_)[^\\/]*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("sdtwkit",),
    "backreferences_dir": "generated/examples",
    "remove_config_comments": True,
    "show_signature": False,
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 1,
}


class GalleryRole(XRefRole):
    """{gallery}`plot_name`: a link to that example, in whichever group it lies, by its title."""

    def process_link(self, env, refnode, has_explicit_title, title, target):
        (path,) = EXAMPLES.rglob(f"{target}.py")
        refnode.attributes.update(refdomain="std", reftype="ref", refexplicit=has_explicit_title)
        return title, "_".join(("sphx_glr_auto_examples", *path.relative_to(EXAMPLES).parts)).lower()


def _skip_member(app, what, name, member, skip, options):
    """Leaves out what a class has from scikit-learn, PyTorch or the standard library: its own pages are there."""
    member = getattr(member, "fget", None) or getattr(member, "__wrapped__", None) or member
    home = getattr(member, "__module__", None) or type(member).__module__
    foreign = callable(member) and not home.startswith("sdtwkit")
    field = (getattr(member, "__doc__", None) or "").startswith("Alias for field number")  # listed as an attribute
    return True if what == "class" and (foreign or field) else None


def _plain_docstring(app, what, name, obj, options, lines):
    """Takes |x| and labels_ for what they are in a docstring, no markup: outside literals, examples and equations."""
    literal = False
    for number, line in enumerate(lines):
        if line.startswith(".. ") or line[:1].strip():
            literal = False
        literal = literal or line.lstrip().startswith((">>>", ".. math::"))
        if not literal:
            parts = re.split(r"(``.*?``|:\w+:`.*?`|`.*?`)", line)
            parts[::2] = [re.sub(r"(?<=\w)_(?!\w)|(?<!\\)\|", r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def _trim_examples(app, doctree):
    """A doctest ends with an empty line, which a reader need not see."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.astext().rstrip("\n")
        block[:] = [nodes.Text(block.rawsource)]


def setup(app):
    app.add_role("gallery", GalleryRole(warn_dangling=True))
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("autodoc-process-docstring", _plain_docstring, priority=600)  # after numpydoc's
    app.connect("doctree-read", _trim_examples)
