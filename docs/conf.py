"""Sphinx configuration. The built pages load nothing from the network: formulas are MathML, fonts are the system's."""

from __future__ import annotations

import sys
from pathlib import Path

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
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
exclude_patterns = ["_build", "_ext"]
default_role = "code"  # `name` in docstrings and help texts
smartquotes = False  # would turn the -- of options into a dash

html_theme = "furo"
html_title = f"labqdl {release}"
html_math_renderer = "mathml"
html_show_copyright = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
