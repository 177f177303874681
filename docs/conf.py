"""Sphinx configuration. The built pages load nothing from the network: formulas are MathML, fonts are the system's."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

from labqdl import __version__

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "labqdl"
author = "The labqdl developers"
copyright = "2026, The labqdl developers"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "mathml",
    "schema_tables",
    "instrument_pages",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
exclude_patterns = ["_build", "_ext"]
default_role = "code"  # `name` in docstrings and help texts
smartquotes = False  # would turn the -- of options into a dash

html_theme = "furo"
html_title = f"labqdl {release}"
html_static_path = ["_static"]
html_css_files = ["labqdl.css"]
html_math_renderer = "mathml"
html_show_copyright = False

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False


def _keep_bars(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """In docstrings |x| is a modulus, not reStructuredText's substitution."""
    for number, line in enumerate(lines):
        parts = re.split(r"(``.*?``|`.*?`)", line)
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[number] = "".join(parts)


def _keep_stars(app: Sphinx, context: object, lines: list[str]) -> None:
    """In help texts * begins an instrument's command, and no emphasis."""
    lines[:] = [line.replace("*IDN", "\\*IDN") for line in lines]


def setup(app: Sphinx) -> None:
    """Connect the hooks above."""
    app.connect("autodoc-process-docstring", _keep_bars)
    app.connect("sphinx-click-process-description", _keep_stars)
    app.connect("sphinx-click-process-options", _keep_stars)
