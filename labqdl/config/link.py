"""The link file: every component of a light path with its loss, noise and owner, as a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from labqdl.config.document import Document, load, parse
from labqdl.config.locate import KeyPath
from labqdl.config.operating_point import FIELDS as OPERATING_POINT_FIELDS
from labqdl.config.operating_point import resolve_operating_point
from labqdl.config.quantities import ANGLE, LENGTH, LOSS, LOSS_PER_LENGTH, NOISE, RATIO
from labqdl.config.schema import Field, Kind, Section, read_choice
from labqdl.facts.ledger import Component, Ledger, Owner, Place
from labqdl.facts.operating_point import OperatingPoint
from labqdl.units import loss_to_transmissivity

MAXIMUM_LOSS = 200.0
"""dB; more is no light path."""
MAXIMUM_NOISE = 1e6
"""SNU, or photons a slot; more is no quantum link, and numbers overflow."""
MAXIMUM_PHASE_NOISE = 1.5
"""rad; more leaves no phase to speak of."""

COMPONENT = Section(
    "component",
    "One component; they are listed in the order in which light meets them",
    repeated=True,
    fields=(
        Field("name", Kind.TEXT, "What a person at the bench calls it; unique in the file", required=True),
        Field(
            "place",
            Kind.TEXT,
            "Where it sits",
            required=True,
            choices=tuple(place.value for place in Place),
        ),
        Field("owner", Kind.TEXT, "Who holds it in hand", required=True, choices=tuple(owner.value for owner in Owner)),
        Field(
            "trusted",
            Kind.BOOLEAN,
            "Whether the server may assume that the client cannot exploit its loss and noise; never for the client's",
            default=False,
        ),
        Field("loss", LOSS, "Loss", minimum=0.0, maximum=MAXIMUM_LOSS),
        Field("loss_per_length", LOSS_PER_LENGTH, "Loss of a fibre, together with `length`", minimum=0.0),
        Field("length", LENGTH, "Length of a fibre, together with `loss_per_length`", minimum=0.0),
        Field(
            "transmissivity",
            RATIO,
            "Power transmissivity instead of a loss; for a receiver its efficiency",
            above=0.0,
            maximum=1.0,
        ),
        Field(
            "electronic_noise",
            NOISE,
            "Electronic noise of a receiver, at its detector",
            minimum=0.0,
            maximum=MAXIMUM_NOISE,
        ),
        Field(
            "excess",
            NOISE,
            "Technical noise per quadrature and mode at its output",
            minimum=0.0,
            maximum=MAXIMUM_NOISE,
        ),
        Field(
            "phase_noise",
            ANGLE,
            "Phase noise against the next receiver's oscillator, rms per row",
            minimum=0.0,
            maximum=MAXIMUM_PHASE_NOISE,
        ),
        Field(
            "n_sp",
            Kind.NUMBER,
            "Spontaneous-emission factor of the amplifier (1: quantum limit)",
            minimum=1.0,
            maximum=MAXIMUM_NOISE,
        ),
        Field(
            "dark_counts",
            Kind.NUMBER,
            "Mean dark counts of a counter per mode slot",
            minimum=0.0,
            maximum=MAXIMUM_NOISE,
        ),
        Field("extinction", RATIO, "Power fraction of the signal that nulling leaves", minimum=0.0, maximum=1.0),
        Field("calibration", Kind.TEXT, "Where the figures come from and how old they are"),
    ),
)
SCHEMA = Section(
    "",
    "A link file lists a light path from the server's output to the server's receivers",
    fields=(
        Field("name", Kind.TEXT, "Name of the link", required=True),
        Field("description", Kind.TEXT, "What it stands for"),
    ),
    sections=(
        Section("operating_point", "The point at which a run works unless it names another", OPERATING_POINT_FIELDS),
        COMPONENT,
    ),
)
"""Everything that a link file may hold."""

_LOSSES = ("loss", "loss_per_length", "length", "transmissivity")


@dataclass(frozen=True, slots=True)
class LinkFile:
    """What a link file says."""

    name: str
    description: str
    ledger: Ledger
    operating_point: OperatingPoint | None
    source: str


def shipped_links() -> tuple[str, ...]:
    """Names of the links that ship with labqdl, sorted."""
    folder = files("labqdl") / "data" / "links"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_link(name_or_path: str | Path) -> LinkFile:
    """A shipped link by its name, or a link file by its path (what has a suffix or a folder, or exists, is a path).

    Raises
    ------
    InputError
        For an unknown name and for any mistake in the file.
    """
    path = Path(name_or_path)
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in shipped_links():
        resource = files("labqdl") / "data" / "links" / f"{name}.toml"
        return read_link(parse(resource.read_bytes(), source=f"shipped link {name}"))
    if not path.suffix and len(path.parts) == 1 and not path.exists():
        read_choice(name, shipped_links(), what="shipped link")
    return read_link(load(path))


def read_link(document: Document) -> LinkFile:
    """The link in a document.

    Raises
    ------
    InputError
        For any mistake in it.
    """
    values = SCHEMA.read(document)
    ledger = read_ledger(document, values["component"], "component", values["name"])
    point = values["operating_point"]
    return LinkFile(
        name=values["name"],
        description=values["description"] or "",
        ledger=ledger,
        operating_point=None
        if point is None
        else resolve_operating_point(None, **point, source=document.source, line=document.line(("operating_point",))),
        source=document.source,
    )


def read_ledger(document: Document, tables: Iterable[Mapping[str, Any]], array: str, name: str) -> Ledger:
    """The ledger in an array of tables that `COMPONENT.fields` have checked; `array` is its name in the document.

    Raises
    ------
    InputError
        For names that come twice, for figures that do not go together and for what is no light path.
    """
    names: list[str] = []
    components = []
    for index, table in enumerate(tables):
        path: KeyPath = (array, index)
        if table["name"] in names:
            raise document.wrong(
                (*path, "name"), f"a second component is called {table['name']!r}", expected="unique names"
            )
        names.append(table["name"])
        components.append(_component(document, path, table))
    ledger = Ledger(name, tuple(components))
    if min(ledger.total, ledger.server_efficiency, ledger.client_efficiency) < loss_to_transmissivity(MAXIMUM_LOSS):
        raise document.wrong((array,), "the losses add up to no light path", expected=f"at most {MAXIMUM_LOSS:g} dB")
    return ledger


def _component(document: Document, path: KeyPath, table: Mapping[str, Any]) -> Component:
    given = {name: value for name, value in table.items() if value is not None and name not in _LOSSES}
    given |= {"place": Place(table["place"]), "owner": Owner(table["owner"])}
    given["transmissivity"] = _transmissivity(document, path, table)
    try:
        return Component(**given)
    except ValueError as error:
        # The ledger knows which figure belongs to which place; its sentence starts with the component's name.
        message = str(error).removeprefix(f"{table['name']}: ")
        raise document.wrong(path, message) from None


def _transmissivity(document: Document, path: KeyPath, table: Mapping[str, Any]) -> float:
    loss, per_length, length, transmissivity = (table[name] for name in _LOSSES)
    for first, second in (("loss_per_length", "length"), ("length", "loss_per_length")):
        if table[first] is not None and table[second] is None:
            raise document.wrong((*path, first), f"is given without {second}", expected="both of them")
    ways = [name for name in ("loss", "loss_per_length", "transmissivity") if table[name] is not None]
    if len(ways) > 1:
        raise document.wrong(
            (*path, ways[1]), f"is given together with {ways[0]}", expected="one way of saying what is lost"
        )
    if per_length is not None:
        loss = per_length * length
        if loss > MAXIMUM_LOSS:
            raise document.wrong(
                (*path, "length"), f"makes a loss of {loss:.0f} dB", expected=f"at most {MAXIMUM_LOSS:g} dB"
            )
    if loss is not None:
        return loss_to_transmissivity(loss)
    return 1.0 if transmissivity is None else float(transmissivity)
