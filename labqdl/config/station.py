"""The station file: the instruments on a table, how they are reached, wired and kept from doing harm.

This module knows what the file says. What only a driver knows (its quantities and their units, its options)
`labqdl.station` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from labqdl.config.document import Document, load
from labqdl.config.interlocks import NAME, Action, Comparison, parse_action, parse_comparison, parse_quantity_name
from labqdl.config.link import COMPONENT, load_link, read_ledger
from labqdl.config.locate import KeyPath
from labqdl.config.quantities import (
    DIMENSIONS,
    FREQUENCY,
    LENGTH,
    LOSS,
    NOISE_CURRENT,
    POWER,
    RATIO,
    RESPONSIVITY,
    TIME,
    TRANSIMPEDANCE,
    VOLTAGE,
    WAVELENGTH,
    parse_quantity,
)
from labqdl.config.schema import Field, Kind, Section, did_you_mean
from labqdl.config.subsystems import FRAME, SUBSYSTEMS, FrameEntry, SubsystemEntry, read_subsystems
from labqdl.errors import InputError
from labqdl.facts.ledger import Ledger

SIM = "sim"
BENCH = "bench"

COMPONENT_KINDS = (
    "modulator", "photodetector", "coupler", "fibre", "filter", "isolator", "circulator", "terminator", "other",
)  # fmt: skip
"""Parts whose figures are those of the table of components and no others."""

WORLD_KINDS = (
    "splitter", "power-tap", "pad", "loss", "iq-modulator", "phase-modulator", "pbs", "polarisation-controller",
    "laser", "edfa", "time-bin-tree", "time-bin-tree-inverse", "mzi-mesh", "mzi-mesh-inverse", "feed-forward-tap",
    "amplifier-tap", "homodyne", "hybrid", "counter-detector", "cable", "interceptor", "passive-tap", "cloner",
    "spiker",
)  # fmt: skip
"""Further parts, with figures of their own; coupler, fibre and isolator have some as well."""

STEPS = "steps"
CLOCKS = ("real", "scaled", STEPS)

SCHEMA = Section(
    "",
    "A station file lists the instruments on a table",
    sections=(
        Section(
            "station",
            "What the file is about",
            required=True,
            fields=(
                Field("name", Kind.TEXT, "What people call the table", required=True),
                Field("version", Kind.INTEGER, "Version of this format", default=1, minimum=1, maximum=1),
                Field("description", Kind.TEXT, "What it is for"),
                Field("profile", Kind.TEXT, "The profile where nobody names one", default=BENCH),
                Field("link", Kind.TEXT, "Ledger of the light path: a link that ships, or a link file beside this one"),
            ),
        ),
        Section(
            "instruments",
            "One instrument; NAME begins with a letter and has letters, digits, - and _",
            named="NAME",
            fields=(
                Field("driver", Kind.TEXT, "Name of the driver: `labqdl instruments list`", required=True),
                Field(
                    "resource",
                    Kind.TEXT,
                    "How it is reached: a VISA resource name, a serial port or URL, zmq://; in profile sim not needed",
                ),
                Field(
                    "simulated",
                    Kind.BOOLEAN,
                    "Whether a simulated instrument stands at `resource`, such as one of `labqdl sim serve`: then it "
                    "emits without --arm",
                    default=False,
                ),
                Field("channel", Kind.INTEGER, "Channel or slot, for drivers that drive one of several", minimum=0),
                Field("timeout", TIME, "Time that one exchange may take, instead of the driver's", above=0.0),
                Field(
                    "safe_order",
                    Kind.INTEGER,
                    "Place in the order of going dark, lowest first, instead of the class's: amplifier pumps 10, "
                    "shutters 20, attenuators 30, generators 40, bias and voltages 50, lasers 60, others 70",
                    minimum=0,
                    maximum=1000,
                ),
                Field("twin", Kind.TEXT, "Name of the simulated instrument, where it is not the driver's"),
                Field(
                    "routes",
                    Kind.TEXTS,
                    "Roads that `labqdl sim serve` opens to its twin: socket, hislip, zmq, rfc2217, pty, serial, each "
                    "with :PORT where it should not be any; by default where its model usually stands",
                ),
                Field(
                    "safe",
                    Kind.TEXTS,
                    "For adapters of other packages' instruments: what makes it safe, in order; assignments of their "
                    "properties and calls, such as `output = false` and `shutdown()`",
                ),
                Field("note", Kind.TEXT, "Anything that a person should know"),
            ),
            sections=(
                Section(
                    "serial",
                    "Settings of its serial port, where they are not the driver's",
                    fields=(
                        Field("baudrate", Kind.INTEGER, "Symbols a second", minimum=1),
                        Field("bytesize", Kind.INTEGER, "Data bits", minimum=5, maximum=8),
                        Field("parity", Kind.TEXT, "Parity bit", choices=("N", "E", "O", "M", "S")),
                        Field("stopbits", Kind.NUMBER, "Stop bits", minimum=1, maximum=2),
                        Field("rtscts", Kind.BOOLEAN, "Flow control by the lines RTS and CTS"),
                        Field("xonxoff", Kind.BOOLEAN, "Flow control by characters"),
                    ),
                ),
                Section(
                    "limits",
                    "What the station allows of a quantity of it, tighter than the device; QUANTITY is a name such as "
                    'power, or "channel 2.amplitude" in quotes',
                    named="QUANTITY",
                    fields=(
                        Field("min", Kind.VALUE, "The least value that may be set, with its unit"),
                        Field("max", Kind.VALUE, "The greatest value that may be set, with its unit"),
                        Field("reason", Kind.TEXT, "Why; stands in the refusal", default="of the station"),
                    ),
                ),
                Section(
                    "options",
                    "Options of its driver",
                    free=Field("...", Kind.VALUE, "As the driver's page says"),
                ),
                Section(
                    "mapping",
                    "For adapters of other packages' instruments: which property of theirs is which quantity",
                    named="QUANTITY",
                    fields=(
                        Field("property", Kind.TEXT, "Their name of it", required=True),
                        Field("unit", Kind.TEXT, "The unit in which they count, where it is not SI: nm, dBm"),
                        Field("on", Kind.VALUE, "Their value of a switch that is on", default=True),
                        Field("off", Kind.VALUE, "Their value of a switch that is off", default=False),
                        Field("tolerance", Kind.NUMBER, "Relative difference between what is set and what reads back"),
                        Field("read_only", Kind.TEXT, "Why it cannot be set, although its class can be"),
                    ),
                    sections=(
                        Section(
                            "values",
                            "Their values of a quantity with choices, by our names of these",
                            free=Field("...", Kind.VALUE, "Their value"),
                        ),
                    ),
                ),
                Section(
                    "twin_options",
                    "Options of its simulated instrument",
                    free=Field("...", Kind.VALUE, "As the simulated instrument says"),
                ),
            ),
        ),
        Section(
            "components",
            "A part without a plug; a modulator and a photodetector need every figure of their data sheet",
            named="NAME",
            free=Field(
                "...",
                Kind.VALUE,
                "Another figure of the data sheet of a part that the simulation knows, in SI units or with its unit",
            ),
            fields=(
                Field("kind", Kind.TEXT, "What it is", required=True, choices=(*COMPONENT_KINDS, *WORLD_KINDS)),
                Field("model", Kind.TEXT, "Maker and model"),
                Field("loss", LOSS, "Insertion loss", minimum=0.0),
                Field("length", LENGTH, "Length of a fibre", minimum=0.0),
                Field("v_pi", VOLTAGE, "Half-wave voltage of a modulator at radio frequency", above=0.0),
                Field("v_pi_bias", VOLTAGE, "Half-wave voltage of its bias electrode", above=0.0),
                Field("bandwidth", FREQUENCY, "-3 dB bandwidth", above=0.0),
                Field("extinction", LOSS, "Greatest over least transmission of a modulator", minimum=0.0),
                Field(
                    "input_limit", VOLTAGE, "Greatest peak voltage at a modulator's radio-frequency input", above=0.0
                ),
                Field("power_limit", POWER, "Greatest optical input power of a modulator", above=0.0),
                Field("responsivity", RESPONSIVITY, "Of a photodetector", above=0.0),
                Field("wavelength", WAVELENGTH, "At which the responsivity holds", above=0.0),
                Field("transimpedance", TRANSIMPEDANCE, "Of a photodetector's amplifier", above=0.0),
                Field("saturation", POWER, "Power above which a photodetector is not linear", above=0.0),
                Field("damage", POWER, "Greatest power on a photodetector", above=0.0),
                Field("noise", NOISE_CURRENT, "Input-referred noise of a photodetector", above=0.0),
                Field("note", Kind.TEXT, "Anything that a person should know"),
            ),
        ),
        Section(
            "ledger",
            "What the light path loses and who owns it, as the components of a link file; instead of `station.link`",
            fields=COMPONENT.fields,
            repeated=True,
        ),
        Section(
            "wiring",
            "One fibre or cable, from where it carries to where; NAME, or NAME.PORT where there are several",
            repeated=True,
            fields=(
                Field("from", Kind.TEXT, "Instrument or component that light or voltage leaves", required=True),
                Field("to", Kind.TEXT, "Instrument or component that it enters", required=True),
                Field("kind", Kind.TEXT, "What it carries", default="light", choices=("light", "electric")),
                Field("loss", LOSS, "Loss", default=0.0, minimum=0.0),
                Field("length", LENGTH, "Length", minimum=0.0),
                Field("note", Kind.TEXT, "Colour of the fibre, number of the cable"),
            ),
        ),
        Section(
            "paths",
            "One light path, and what can interrupt it",
            repeated=True,
            fields=(
                Field("name", Kind.TEXT, "What people call it", required=True),
                Field("source", Kind.TEXT, "The instrument that emits", required=True),
                Field(
                    "barriers",
                    Kind.TEXTS,
                    "Instruments of which each alone keeps the end dark (two that do not depend on each other)",
                    required=True,
                ),
                Field("meter", Kind.TEXT, "The quantity that confirms darkness, such as meter.power"),
                Field("dark_below", POWER, "What the meter shows at most when it is dark", above=0.0, default=1e-9),
            ),
        ),
        Section(
            "interlocks",
            "One comparison that must hold before one call; it is read from the instrument at that moment",
            repeated=True,
            fields=(
                Field("require", Kind.TEXT, 'What must hold: "edfa.input_power > 10 uW"', required=True),
                Field("before", Kind.TEXT, 'Before what: "edfa.pump = true"', required=True),
                Field("reason", Kind.TEXT, "Why; stands in the refusal"),
            ),
        ),
        Section(
            "simulation",
            "How the profile sim runs",
            fields=(
                Field(
                    "seed", Kind.INTEGER, "Seed of all randomness in the simulated instruments", default=0, minimum=0
                ),
                Field("speed", Kind.NUMBER, "How many times faster than real time", default=1.0, above=0.0),
                Field(
                    "clock",
                    Kind.TEXT,
                    "Instrument time: as real time goes, or in steps of 200 us a message, so that a run can be "
                    "repeated to the bit",
                    choices=CLOCKS,
                ),
                Field(
                    "rate",
                    FREQUENCY,
                    "Points a second of the optical world behind the instruments; without it nothing is coupled",
                    above=0.0,
                ),
            ),
            sections=(
                Section(
                    "parts",
                    "What the simulated part NAME (an instrument or a component) is in truth, where that is not what "
                    "its data sheet says",
                    named="NAME",
                    free=Field("...", Kind.VALUE, "Nominal value of one of its figures"),
                    sections=(
                        Section(
                            "spread",
                            "By how much truth differs from the nominal values, standard deviations",
                            free=Field("...", Kind.VALUE, "In the unit of the figure"),
                        ),
                    ),
                ),
            ),
        ),
        SUBSYSTEMS,
        FRAME,
        Section(
            "profiles",
            "Other resources by instrument; in profile sim all that are not named are simulated",
            named="PROFILE",
            fields=(
                Field(
                    "simulated",
                    Kind.BOOLEAN,
                    "Whether simulated instruments stand at all resources that it names: then they emit without --arm",
                    default=False,
                ),
            ),
            free=Field("INSTRUMENT", Kind.TEXT, "Its resource in this profile"),
        ),
    ),
)
"""Everything that a station file may hold."""


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """A limit as written: `low` and `high` may be texts with units; the driver knows the unit."""

    path: str
    low: str | float | bool | None
    high: str | float | bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class InstrumentEntry:
    """One instrument of the file, for one profile.

    Attributes
    ----------
    name, driver, channel, timeout, safe_order, serial, limits, options, mapping, safe, note:
        As in the file; None, or empty, where it says nothing.
    resource:
        Resource in this profile; None only where it is simulated and the file names none.
    simulated:
        Whether the twin stands at the resource, inside of this process, and no real instrument.
    declared_simulated:
        Whether the file says that what stands at the resource, outside of this process, is simulated.
    twin, twin_options, routes:
        Name and options of the simulated instrument, and the roads on which it is served.
    """

    name: str
    driver: str
    resource: str | None
    simulated: bool
    declared_simulated: bool = False
    channel: int | None = None
    timeout: float | None = None
    safe_order: int | None = None
    twin: str = ""
    routes: tuple[str, ...] = ()
    serial: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[LimitEntry, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    mapping: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    safe: tuple[str, ...] = ()
    twin_options: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """One fibre or cable; `source` and `target` are (name, port), the port empty where none is named."""

    source: tuple[str, str]
    target: tuple[str, str]
    kind: str
    loss: float
    length: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class LightPath:
    """One light path: the emitter, what can interrupt it, and the (instrument, quantity) that confirms darkness."""

    name: str
    source: str
    barriers: tuple[str, ...]
    meter: tuple[str, str] | None
    dark_below: float


@dataclass(frozen=True, slots=True)
class Interlock:
    """One comparison that must hold before one action."""

    require: Comparison
    before: Action
    reason: str | None


@dataclass(frozen=True, slots=True)
class PartEntry:
    """What the file says about a simulated part: nominal values and standard deviations of the truth, SI units."""

    values: Mapping[str, Any] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StationFile:
    """What a station file says, for one profile."""

    name: str
    description: str
    profile: str
    profiles: tuple[str, ...]
    instruments: Mapping[str, InstrumentEntry]
    components: Mapping[str, Mapping[str, Any]]
    ledger: Ledger | None
    wiring: tuple[Wire, ...]
    paths: tuple[LightPath, ...]
    interlocks: tuple[Interlock, ...]
    seed: int
    speed: float
    document: Document = field(repr=False)
    subsystems: Mapping[str, SubsystemEntry] = field(default_factory=dict)
    frame: FrameEntry | None = None
    clock: str = "real"
    rate: float | None = None
    parts: Mapping[str, PartEntry] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The file, as messages name it."""
        return self.document.source

    def wrong(self, path: KeyPath, problem: str, *, expected: str | None = None, hint: str | None = None) -> InputError:
        """A mistake at a place of the file, to be raised."""
        return self.document.wrong(path, problem, expected=expected, hint=hint)


def shipped_stations() -> tuple[str, ...]:
    """Names of the stations that ship."""
    folder = files("labqdl") / "stations"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def find_station_file(station: str | Path) -> Path:
    """The file of a station: a path, or the name of a station that ships.

    Raises
    ------
    InputError
        Where there is no such file and no station of that name.
    """
    path = Path(station)
    if path.is_file():
        return path
    names = shipped_stations()
    if str(station) in names:
        return Path(str(files("labqdl") / "stations" / f"{station}.toml"))
    raise InputError(
        "there is no such file",
        source=str(station),
        expected=f"a station file, or a station that ships: {', '.join(names)}",
        hint=did_you_mean(str(station), names)
        or "'labqdl init' writes one from what stands on the table, 'labqdl station copy' one to begin with",
    )


def located(station: str | Path) -> Path:
    """As `find_station_file`; a path at which there is nothing as it is: whoever reads it says so."""
    path = Path(station)
    named = len(path.parts) == 1 and not path.suffix and not path.exists()
    return find_station_file(station) if named else path


def load_station_file(
    path: str | Path, profile: str | None = None, *, problems: list[InputError] | None = None
) -> StationFile:
    """Read and check a station file.

    Parameters
    ----------
    path:
        The file, or the name of a station that ships.
    profile:
        bench, sim, or one that the file declares; None: the file's own.
    problems:
        A list that takes every mistake in the file; None: the first one is raised.

    Raises
    ------
    InputError
        For a file that cannot be read, and for mistakes in it.
    """
    file = located(path)
    return read_station_file(load(file), profile, folder=file.parent, problems=problems)


def read_station_file(
    document: Document,
    profile: str | None = None,
    *,
    folder: Path | None = None,
    problems: list[InputError] | None = None,
) -> StationFile:
    """The station in a document; relative paths in it count from `folder`. See `load_station_file`."""
    return _Reader(document, folder, problems).read(profile)


def figure(value: str | float | bool) -> str | float | bool:
    """A figure of a data sheet: a number as it is, a quantity with its unit in SI units (dB in dB), text as it is."""
    if not isinstance(value, str):
        return value
    for dimension in DIMENSIONS:
        if dimension is RATIO:  # there, decibels become a factor
            continue
        try:
            return parse_quantity(value, dimension)
        except InputError:
            continue
    return value


def json_schema() -> dict[str, Any]:
    """The schema of station files as JSON Schema; `labqdl/data/station.schema.json` is this, written out."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "labqdl.station/1",
        "title": "Station file of labqdl",
    }
    return head | SCHEMA.json_schema()


def shipped_json_schema() -> str:
    """The text of the JSON Schema that ships."""
    return (files("labqdl") / "data" / "station.schema.json").read_text(encoding="utf-8")


class _Reader:
    """One reading of a document; goes on behind mistakes where somebody collects them."""

    def __init__(self, document: Document, folder: Path | None, problems: list[InputError] | None) -> None:
        self.document = document
        self.folder = Path() if folder is None else folder
        self.problems = problems

    def read(self, profile: str | None) -> StationFile:
        values = SCHEMA.read(self.document, self.problems)
        head = values["station"] or {"name": "?", "description": None, "profile": BENCH, "link": None}
        tables: dict[str, Any] = values["instruments"]
        served = {name: table.pop("simulated") for name, table in values["profiles"].items()}
        profiles: dict[str, dict[str, str]] = values["profiles"]
        known = tuple(dict.fromkeys((BENCH, SIM, *profiles)))
        place: KeyPath = ("station", "profile")
        chosen = head["profile"] if profile is None else profile
        if chosen not in known:
            expected = f"one of {', '.join(known)}"
            if profile is None:
                self.wrong(
                    place, f"there is no profile {chosen!r}", expected=expected, hint=did_you_mean(chosen, known)
                )
            else:
                raise InputError(
                    f"the station has no profile {chosen!r}", expected=expected, hint=did_you_mean(chosen, known)
                )
            chosen = BENCH
        if not tables:
            self.wrong((), "lists no instruments", expected="tables [instruments.NAME]")
        self.names(tables, values["components"])
        for name, resources in profiles.items():
            for instrument in resources:
                self.instrument(("profiles", name, instrument), instrument, tables)
        overlay = profiles.get(chosen, {})
        instruments = {
            name: self.entry(name, table, chosen, overlay.get(name), served.get(chosen, False))
            for name, table in tables.items()
        }
        self.shared(instruments)
        components = self.components(values["components"])
        simulation = values["simulation"] or {"seed": 0, "speed": 1.0, "clock": None, "rate": None, "parts": {}}
        return StationFile(
            name=head["name"] or "?",
            description=head["description"] or "",
            profile=chosen,
            profiles=known,
            instruments=instruments,
            components=components,
            ledger=self.ledger(head, values["ledger"]),
            wiring=self.wiring(values["wiring"], {**tables, **values["components"]}),
            paths=self.paths(values["paths"], tables),
            interlocks=self.interlocks(values["interlocks"], tables),
            seed=simulation["seed"],
            speed=simulation["speed"],
            document=self.document,
            subsystems=self.subsystems(values["subsystems"], tables, values["components"]),
            frame=self.frame(values["frame"]),
            clock=self.clock(simulation),
            rate=simulation["rate"],
            parts=self.parts(simulation["parts"], {**tables, **components}),
        )

    def clock(self, simulation: Mapping[str, Any]) -> str:
        clock: str | None = simulation["clock"]
        scaled = simulation["speed"] != 1.0
        if clock is None:
            return "scaled" if scaled else "real"
        if scaled and clock != "scaled":
            self.wrong(("simulation", "speed"), f"has no meaning with clock = {clock!r}", expected='clock = "scaled"')
        return clock

    def components(self, tables: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        declared = next(one for one in SCHEMA.sections if one.name == "components")
        known = [entry.name for entry in declared.fields]
        found = {}
        for name, table in tables.items():
            found[name] = {key: value if key in known else figure(value) for key, value in table.items()}
            if (
                table["kind"] is None
                or table["kind"] in WORLD_KINDS
                or table["kind"] in ("coupler", "fibre", "isolator")
            ):
                continue
            for key in table:
                if key not in known:
                    self.wrong(
                        ("components", name, key),
                        "is not a known key",
                        expected=f"one of {', '.join(known)}",
                        hint=did_you_mean(key, known),
                    )
        return found

    def parts(self, tables: Mapping[str, dict[str, Any]], known: Mapping[str, Any]) -> dict[str, PartEntry]:
        found = {}
        for name, table in tables.items():
            if not self.instrument(("simulation", "parts", name), name, known, "instrument or component"):
                continue
            spread: dict[str, float] = {}
            for key, value in table["spread"].items() if table["spread"] else ():
                number = figure(value)
                if isinstance(number, float) and number >= 0:
                    spread[key] = number
                else:
                    place: KeyPath = ("simulation", "parts", name, "spread", key)
                    self.wrong(place, f"{value!r} is no standard deviation", expected="a number that is not negative")
            found[name] = PartEntry({key: figure(one) for key, one in table.items() if key != "spread"}, spread)
        return found

    def subsystems(
        self, tables: Mapping[str, Any], instruments: Mapping[str, Any], components: Mapping[str, Any]
    ) -> dict[str, SubsystemEntry]:
        given = self.document.table.get("subsystems", {})
        return read_subsystems(tables, given if tables else {}, instruments, components, self.wrong)

    def frame(self, table: Mapping[str, Any] | None) -> FrameEntry | None:
        if table is None or None in (table["n_modes"], table["bin_rate"]):
            return None
        return FrameEntry(**table)

    def wrong(self, path: KeyPath, problem: str, *, expected: str | None = None, hint: str | None = None) -> None:
        self.report(self.document.wrong(path, problem, expected=expected, hint=hint))

    def report(self, error: InputError) -> None:
        if self.problems is None:
            raise error from None
        self.problems.append(error)

    def at(self, path: KeyPath, error: InputError) -> None:
        """Report a mistake that another module found in the value at this place."""
        self.wrong(path, error.problem, expected=error.expected, hint=error.hint)

    def names(self, instruments: Mapping[str, Any], components: Mapping[str, Any]) -> None:
        for table, names in (("instruments", instruments), ("components", components)):
            for name in names:
                if not NAME.fullmatch(name):
                    expected = "a letter, then letters, digits, - and _"
                    self.wrong((table, name), f"{name!r} is no name", expected=expected)
        for name in components:
            if name in instruments:
                self.wrong(("components", name), f"an instrument is called {name!r} as well", expected="unique names")

    def instrument(self, path: KeyPath, name: str, known: Mapping[str, Any], what: str = "instrument") -> bool:
        if name in known:
            return True
        expected = f"one of {', '.join(known)}" if known else None
        self.wrong(path, f"there is no {what} {name!r}", expected=expected, hint=did_you_mean(name, known))
        return False

    def entry(
        self, name: str, table: Mapping[str, Any], profile: str, overlay: str | None, served: bool
    ) -> InstrumentEntry:
        """One instrument; `overlay`: the profile's own resource of it; `served`: that is declared simulated."""
        simulated = profile == SIM and overlay is None
        resource = table["resource"] if overlay is None else overlay
        if resource is None and not simulated:
            expected = f"a resource, or one in [profiles.{profile}]; --profile sim needs none"
            self.wrong(("instruments", name, "resource"), "is missing", expected=expected)
        limits = []
        for path, limit in table["limits"].items():
            if limit["min"] is None and limit["max"] is None:
                self.wrong(("instruments", name, "limits", path), "limits nothing", expected="min, max or both")
            limits.append(LimitEntry(path, limit["min"], limit["max"], limit["reason"]))
        serial = {key: value for key, value in (table["serial"] or {}).items() if value is not None}
        return InstrumentEntry(
            name=name,
            driver=table["driver"] or "?",
            resource=resource,
            simulated=simulated,
            declared_simulated=not simulated and (table["simulated"] if overlay is None else served),
            channel=table["channel"],
            timeout=table["timeout"],
            safe_order=table["safe_order"],
            twin=table["twin"] or table["driver"] or "?",
            routes=table["routes"] or (),
            serial=serial,
            limits=tuple(limits),
            options=table["options"],
            mapping=table["mapping"],
            safe=tuple(table["safe"] or ()),
            twin_options=table["twin_options"],
            note=table["note"],
        )

    def shared(self, instruments: Mapping[str, InstrumentEntry]) -> None:
        """Entries at one resource are one box: one line, one twin."""
        first: dict[str, InstrumentEntry] = {}
        for entry in instruments.values():
            if entry.resource is None:
                continue
            other = first.setdefault(entry.resource, entry)
            if other is entry:
                continue
            if entry.serial and entry.serial != other.serial:
                problem = f"differs from that of {other.name}, which has the same resource"
                self.wrong(("instruments", entry.name, "serial"), problem, expected="the same settings, or none")
            if entry.twin_options and other.twin_options and entry.twin_options != other.twin_options:
                problem = f"differ from those of {other.name}, which has the same resource"
                self.wrong(("instruments", entry.name, "twin_options"), problem, expected="the same options, or none")

    def ledger(self, head: Mapping[str, Any], tables: list[dict[str, Any]]) -> Ledger | None:
        link = head["link"]
        try:
            if link is None:
                complete = [table for table in tables if None not in (table["name"], table["place"], table["owner"])]
                return read_ledger(self.document, complete, "ledger", str(head["name"])) if complete else None
            if tables:
                self.wrong(("ledger",), "is given together with station.link", expected="one of them")
            beside = self.folder / link
            return load_link(beside if beside.is_file() else link).ledger
        except InputError as error:
            if error.source == self.document.source:
                self.report(error)
            else:
                self.wrong(("station", "link"), str(error))
        return None

    def wiring(self, tables: list[dict[str, Any]], known: Mapping[str, Any]) -> tuple[Wire, ...]:
        wires: list[Wire] = []
        taken: dict[tuple[str, str], int] = {}
        for index, table in enumerate(tables):
            ends = []
            for key in ("from", "to"):
                name, _, port = (table[key] or "").partition(".")
                if table[key] is not None and self.instrument(
                    ("wiring", index, key), name, known, "instrument or component"
                ):
                    ends.append((name, port))
            if len(ends) < 2:
                continue
            source, target = ends
            if source == target:
                self.wrong(("wiring", index, "to"), "leads to where it comes from", expected="two different ends")
            if target in taken:
                problem = f"{table['to']!r} is entered by the wire on line {taken[target]} already"
                self.wrong(("wiring", index, "to"), problem, expected="NAME.PORT where there are several")
            taken.setdefault(target, self.document.line(("wiring", index, "to")) or 0)
            wires.append(Wire(source, target, table["kind"], table["loss"], table["length"], table["note"]))
        return tuple(wires)

    def paths(self, tables: list[dict[str, Any]], known: Mapping[str, Any]) -> tuple[LightPath, ...]:
        found: list[LightPath] = []
        for index, table in enumerate(tables):
            if table["name"] in {path.name for path in found}:
                self.wrong(
                    ("paths", index, "name"), f"a second path is called {table['name']!r}", expected="unique names"
                )
            if table["source"] is not None:
                self.instrument(("paths", index, "source"), table["source"], known)
            barriers = table["barriers"] or ()
            for number, barrier in enumerate(barriers):
                self.instrument(("paths", index, "barriers", number), barrier, known)
            if len(set(barriers)) != len(barriers):
                self.wrong(("paths", index, "barriers"), "names a barrier twice", expected="different instruments")
            meter = None
            if table["meter"] is not None:
                try:
                    meter = parse_quantity_name(table["meter"])
                except InputError as error:
                    self.at(("paths", index, "meter"), error)
                else:
                    self.instrument(("paths", index, "meter"), meter[0], known)
            found.append(
                LightPath(table["name"] or "?", table["source"] or "?", tuple(barriers), meter, table["dark_below"])
            )
        return tuple(found)

    def interlocks(self, tables: list[dict[str, Any]], known: Mapping[str, Any]) -> tuple[Interlock, ...]:
        found = []
        for index, table in enumerate(tables):
            parsed: list[Any] = []
            for key, parse in (("require", parse_comparison), ("before", parse_action)):
                if table[key] is None:
                    continue
                try:
                    part = parse(table[key])
                except InputError as error:
                    self.at(("interlocks", index, key), error)
                    continue
                if self.instrument(("interlocks", index, key), part.instrument, known):
                    parsed.append(part)
            if len(parsed) == 2:
                found.append(Interlock(parsed[0], parsed[1], table["reason"]))
        return tuple(found)
