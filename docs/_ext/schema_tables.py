"""The directive `schema`: the tables of every key of a file, rendered from the schema that checks it."""

from __future__ import annotations

from importlib import import_module

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class SchemaDirective(SphinxDirective):
    """`{schema} labqdl.config.link`: documentation of that module's `SCHEMA`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the schema's Markdown in place."""
        module = import_module(self.arguments[0])
        self.env.note_dependency(str(module.__file__))
        text = module.SCHEMA.markdown().splitlines()
        container = nodes.Element()
        self.state.nested_parse(StringList(text, source=module.__name__), 0, container, match_titles=True)
        return list(container.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("schema", SchemaDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
