"""Formulas as MathML, which browsers show by themselves; MathJax would be loaded from the network."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_LOG = logging.getLogger(__name__)
_BIG = re.compile(r"\\([bB]igg?)(?=[()\[\]|])(.)")
"""Sizes without a side, which docutils does not know; the bracket tells the side."""


def _with_side(match: re.Match[str]) -> str:
    size, bracket = match.groups()
    return f"\\{size}{'r' if bracket in ')]' else 'l'}{bracket}"


def _render(translator: HTML5Translator, node: nodes.Element, *, block: bool) -> None:
    source = node.astext()
    try:
        markup = tex2mathml(_BIG.sub(_with_side, source), as_block=block)
    except MathError as error:
        _LOG.warning("formula not understood: %s in %r", error, source, location=node)
        markup = translator.encode(source)
    if block:
        number = node.get("number")
        anchor = f' id="{node["ids"][0]}"' if node.get("ids") else ""
        label = f'<span class="eqno">({number})</span>' if number else ""
        markup = f'<div class="math"{anchor}>{label}{markup}</div>\n'
    translator.body.append(markup)
    raise nodes.SkipNode


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    _render(translator, node, block=False)


def _display(translator: HTML5Translator, node: nodes.Element) -> None:
    _render(translator, node, block=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
