"""The directive `instrument`: what a driver declares, as the page of its instrument."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from labqdl.driver import Action, Driver
from labqdl.instruments import Channel, Instrument, Limit, Quantity, ReadBack, Settle
from labqdl.instruments.completion import OperationComplete
from labqdl.station.drivers import coverage, driver_class, instrument_class


class InstrumentDirective(SphinxDirective):
    """`{instrument} thorlabs-pm100`: the driver of that name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the page's Markdown in place."""
        kind = driver_class(self.arguments[0])
        self.env.note_dependency(str(inspect.getsourcefile(kind)))
        text = "\n".join(page(self.arguments[0], kind)).splitlines()
        container = nodes.Element()
        self.state.nested_parse(StringList(text, source=kind.__module__), 0, container, match_titles=True)
        return list(container.children)


def page(name: str, kind: type[Instrument]) -> Iterator[str]:
    """Lines of Markdown about a driver."""
    yield inspect.getdoc(kind) or ""
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| driver | `{name}`, {{py:class}}`{kind.__module__}.{kind.__qualname__}` |"
    yield f"| class | {instrument_class(kind)} |"
    if issubclass(kind, Driver):
        yield f"| maker | {kind.maker} |"
        yield f"| models | {', '.join(kind.models)} |"
        yield f"| fact sheet | `{kind.sheet}` |"
        yield f"| an exchange may take | {kind.timeout:g} s |"
    yield f"| place in the safe order | {kind.safe_order} |"
    yield ""
    yield from _section("Quantities", kind, kind.quantities())
    for channel in _channels(kind):
        yield from _section(f"Quantities of each {channel.kind}", channel, channel.quantities())
    yield from _calls(kind)
    if issubclass(kind, Driver):
        yield from _coverage(kind)


def _section(title: str, kind: type, quantities: dict[str, Quantity[object]]) -> Iterator[str]:
    capable = {name: one for name, one in quantities.items() if one.capable}
    if not capable:
        return
    yield from ("", f"**{title}**", "", "| name | unit | | limits | done when | meaning |", "|---|---|---|---|---|---|")
    for name, one in capable.items():
        access = "read and set" if one.settable and one.readable else "set" if one.settable else "read"
        energises = " Energises." if one.energises else ""
        yield f"| `{name}` | {one.unit} | {access} | {_limits(one)} | {_done(one)} | {_cell(one.doc)}{energises} |"
    if missing := {name: one for name, one in quantities.items() if not one.capable}:
        yield ""
        yield "Not a capability: " + "; ".join(
            f"`{name}` ({_cell(str(getattr(one, 'reason', '')))})" for name, one in missing.items()
        )
    yield ""


def _limits(one: Quantity[object]) -> str:
    if one.limits is None:
        return ""
    if callable(one.limits):
        return "from the instrument"
    limit = Limit(*one.limits) if isinstance(one.limits, tuple) else one.limits
    return limit.words(one.unit)


def _done(one: Quantity[object]) -> str:
    if not one.settable:
        return ""
    match one.done:
        case OperationComplete(timeout):
            return f"`*OPC?` answers, within {timeout:g} s"
        case ReadBack() as back:
            return f"it reads back, within {back.timeout:g} s"
        case Settle(seconds):
            return f"{seconds:g} s have passed"
    return "accepted"


def _channels(kind: type[Instrument]) -> Iterator[type[Channel]]:
    module = inspect.getmodule(kind)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Channel) and value.__module__ == kind.__module__:
            yield value


def _calls(kind: type[Instrument]) -> Iterator[str]:
    rows = []
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if name.startswith("_") or hasattr(Driver, name):
            continue
        if isinstance(member, Action) or inspect.isfunction(member):
            lines = (inspect.getdoc(member) or "").split("\n\n")[0].splitlines()
            rows.append(f"| `{name}()` | {_cell(' '.join(lines))} |")
    if rows:
        yield from ("", "**Calls**", "", "| call | what it does |", "|---|---|", *rows, "")


def _coverage(kind: type[Driver]) -> Iterator[str]:
    found = coverage(kind)
    total = len(found.used) + len(found.left_out)
    yield f"Uses {len(found.used)} of {total} commands ({found.share:.0%})."
    reasons: dict[str, list[str]] = {}
    for command, reason in found.left_out.items():
        reasons.setdefault(reason, []).append(command)
    if reasons:
        yield "Left out:"
        yield ""
        for reason, commands in reasons.items():
            yield f"- {', '.join(f'`{command}`' for command in commands)}: {_cell(reason)}"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("instrument", InstrumentDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
