"""The documentation: `python -m sphinx -q -W docs docs/_build` makes it, and nothing is fetched from anywhere."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "capsnet_dist"
author = "the authors of capsnet_dist"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "plugins",
    "signatures",
]
default_role = "literal"  # of docstrings: what stands in backticks is code
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
autosummary_generate = False
napoleon_numpy_docstring = False
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_static", "_ext"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_title = "capsnet_dist"
html_math_renderer = "mathml"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
html_show_copyright = False


def _unlink_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Files beside docs/ are no pages: a link to one becomes its text."""
    docs = Path(app.srcdir).resolve()

    def text_of(link: re.Match[str]) -> str:
        target = (docs / page).parent.joinpath(link[2]).resolve()
        return link[0] if target.is_relative_to(docs) else f"`{link[1]}`"

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#]+)[^)]*\)", text_of, source[0])


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("source-read", _unlink_files)
