"""The file of builds and floors that ships with labqdl: how good parts get, each figure with its source."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from labqdl.config.document import Document, parse
from labqdl.config.quantities import LOSS, NOISE, RATIO
from labqdl.config.schema import Field, Kind, Section, read_choice
from labqdl.errors import InputError
from labqdl.facts.build import Floor, TapBuild
from labqdl.facts.operating_point import TapKind
from labqdl.units import loss_to_transmissivity

FLOORS = ("phase-noise", "gain-accuracy", "path-balance", "extinction", "shot-noise-unit", "untrusted-loss")
"""Properties that have a floor."""

SCHEMA = Section(
    "",
    "Builds of the gain-and-tap stage, and how good the parts of a bench get",
    sections=(
        Section(
            "build",
            "One way to build the stage",
            repeated=True,
            fields=(
                Field("name", Kind.TEXT, "What `--build` calls it", required=True),
                Field("kind", Kind.TEXT, "The law it follows", required=True, choices=tuple(k.value for k in TapKind)),
                Field("description", Kind.TEXT, "What it is", required=True),
                Field("least_gain", RATIO, "Smallest net power gain of an amplifier", default=1.0, minimum=1.0),
                Field("least_split", RATIO, "Smallest share that a splitter splits off", default=0.0, minimum=0.0),
                Field("loss_before", LOSS, "Passive loss in front of the gain medium", default=0.0, minimum=0.0),
                Field("loss_after", LOSS, "Passive loss behind the gain medium", default=0.0, minimum=0.0),
                Field("in_line_loss", LOSS, "Loss of what stays in a feed-forward tap", default=0.0, minimum=0.0),
                Field("n_sp", Kind.NUMBER, "Spontaneous-emission factor, else the link's", minimum=1.0),
                Field("efficiency", RATIO, "Of the detectors in a feed-forward loop, else the link's", above=0.0),
                Field("electronic_noise", NOISE, "Of these detectors, else the link's", minimum=0.0),
                Field("gain_accuracy", Kind.NUMBER, "Largest |t - 1| of the net gain", default=0.0, minimum=0.0),
                Field("source", Kind.TEXT, "Where the figures come from", required=True),
            ),
        ),
        Section(
            "floor",
            "How good one property of a bench gets",
            repeated=True,
            fields=(
                Field("name", Kind.TEXT, "Which property", required=True, choices=FLOORS),
                Field("value", Kind.NUMBER, "The best figure known to be reached", required=True, above=0.0),
                Field("words", Kind.TEXT, "What it is the figure of", required=True),
                Field("source", Kind.TEXT, "Where it comes from", required=True),
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class BuildFile:
    """What a file of builds says, in its order."""

    builds: tuple[TapBuild, ...]
    floors: tuple[Floor, ...]


def shipped_builds() -> BuildFile:
    """The builds and floors that ship with labqdl."""
    resource = files("labqdl") / "data" / "builds.toml"
    return read_builds(parse(resource.read_bytes(), source="shipped builds"))


def read_builds(document: Document) -> BuildFile:
    """The builds and floors in a document.

    Raises
    ------
    InputError
        For any mistake in it.
    """
    values = SCHEMA.read(document)
    builds = []
    for index, table in enumerate(values["build"]):
        given = {
            name: value for name, value in table.items() if not name.endswith(("loss", "loss_before", "loss_after"))
        }
        given |= {
            "kind": TapKind(table["kind"]),
            "transmissivity_before": loss_to_transmissivity(table["loss_before"]),
            "transmissivity_after": loss_to_transmissivity(table["loss_after"]),
            "in_line_transmissivity": loss_to_transmissivity(table["in_line_loss"]),
        }
        try:
            builds.append(TapBuild(**given))
        except ValueError as error:
            line = document.line(("build", index))
            raise InputError(str(error), source=document.source, key=f"build[{index}]", line=line) from None
    return BuildFile(tuple(builds), tuple(Floor(**table) for table in values["floor"]))


def find_build(name: str) -> TapBuild:
    """A shipped build by its name.

    Raises
    ------
    InputError
        For an unknown name.
    """
    known = {build.name: build for build in shipped_builds().builds}
    return known[read_choice(name, known, what="build")]
