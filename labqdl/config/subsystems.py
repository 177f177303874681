"""Tables of a station file that say which instruments act as one: `[subsystems.NAME]`, and the `[frame]` on the wire.

A role is an instrument, a channel of one ("awg.output 2") or a component. What each kind of subsystem takes, needs and
may set is a table here; what an instrument must be able to do, `labqdl.subsystems` checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from labqdl.config.interlocks import NAME
from labqdl.config.locate import KeyPath
from labqdl.config.quantities import FREQUENCY, LOSS, TIME, VOLTAGE
from labqdl.config.schema import Field, Kind, Section, did_you_mean
from labqdl.facts.layout import FrameLayout
from labqdl.facts.ledger import Owner

TRANSMITTER = "transmitter"
HOMODYNE_RECEIVER = "homodyne-receiver"
COUNTING_RECEIVER = "counting-receiver"
TIME_BIN_INTERFEROMETER = "time-bin-interferometer"
MZI_INTERFEROMETER = "mzi-interferometer"
FEED_FORWARD_TAP = "feed-forward-tap"
AMPLIFIER_TAP = "amplifier-tap"
POLARISATION = "polarisation"


class Filled(Enum):
    """What fills a role."""

    INSTRUMENT = "an instrument"
    CHANNEL = "a channel of an instrument"
    CHANNELS = "channels of instruments"
    COMPONENT = "a component"


@dataclass(frozen=True, slots=True)
class _Role:
    filled: Filled
    kinds: tuple[str, ...]
    doc: str
    optional: tuple[str, ...] = ()
    """The kinds that do without."""


_RECEIVERS = (HOMODYNE_RECEIVER, COUNTING_RECEIVER)
_TAPS = (FEED_FORWARD_TAP, AMPLIFIER_TAP)
_METERED = (TRANSMITTER, HOMODYNE_RECEIVER, POLARISATION)
_GATED = (TRANSMITTER, *_RECEIVERS)

_ROLES: Mapping[str, _Role] = {
    "laser": _Role(Filled.INSTRUMENT, (TRANSMITTER,), "Source of signal and local oscillator"),
    "i": _Role(Filled.CHANNEL, (TRANSMITTER,), "Output that drives the modulator's I arm"),
    "q": _Role(Filled.CHANNEL, (TRANSMITTER,), "Output that drives the modulator's Q arm"),
    "bias_i": _Role(Filled.INSTRUMENT, (TRANSMITTER,), "Bias voltage of the I arm", (TRANSMITTER,)),
    "bias_q": _Role(Filled.INSTRUMENT, (TRANSMITTER,), "Bias voltage of the Q arm", (TRANSMITTER,)),
    "bias_p": _Role(Filled.INSTRUMENT, (TRANSMITTER,), "Voltage of the phase between both arms", (TRANSMITTER,)),
    "attenuator": _Role(Filled.INSTRUMENT, (TRANSMITTER,), "Sets the photons of a full-scale bin", (TRANSMITTER,)),
    "modulator": _Role(Filled.COMPONENT, (TRANSMITTER,), "The I/Q modulator"),
    "pad": _Role(Filled.COMPONENT, (TRANSMITTER,), "Fixed attenuator behind the bright side", (TRANSMITTER,)),
    "gate": _Role(
        Filled.INSTRUMENT, _GATED, "Switch or shutter that blocks its light", (TRANSMITTER, COUNTING_RECEIVER)
    ),
    "meter": _Role(Filled.INSTRUMENT, _METERED, "Power meter at its tap", _METERED),
    "x": _Role(Filled.CHANNEL, (HOMODYNE_RECEIVER,), "Digitizer's input for the homodyned quadrature"),
    "p": _Role(
        Filled.CHANNEL, (HOMODYNE_RECEIVER,), "Digitizer's input for the other quadrature", (HOMODYNE_RECEIVER,)
    ),
    "lock": _Role(
        Filled.INSTRUMENT, (HOMODYNE_RECEIVER,), "Servo that holds the local oscillator's phase", (HOMODYNE_RECEIVER,)
    ),
    "lo_phase": _Role(
        Filled.CHANNEL, (HOMODYNE_RECEIVER,), "Output that turns the local oscillator to P", (HOMODYNE_RECEIVER,)
    ),
    "lo_modulator": _Role(
        Filled.COMPONENT, (HOMODYNE_RECEIVER,), "Phase modulator that it drives", (HOMODYNE_RECEIVER,)
    ),
    "detector": _Role(Filled.COMPONENT, _RECEIVERS, "The balanced receiver, or the counting detector", _RECEIVERS),
    "polarisation": _Role(
        Filled.INSTRUMENT, (HOMODYNE_RECEIVER,), "Polarisation controller before it", (HOMODYNE_RECEIVER,)
    ),
    "counter": _Role(Filled.CHANNEL, (COUNTING_RECEIVER,), "Counter's input"),
    "displacement": _Role(
        Filled.INSTRUMENT,
        (COUNTING_RECEIVER,),
        "Attenuator in the arm that nulls the expected light",
        (COUNTING_RECEIVER,),
    ),
    "stages": _Role(Filled.CHANNELS, (TIME_BIN_INTERFEROMETER,), "Outputs that drive the couplers, stage 0 first"),
    "phase": _Role(
        Filled.CHANNEL,
        (TIME_BIN_INTERFEROMETER,),
        "Output that drives the phase modulator",
    ),
    "inverse_stages": _Role(Filled.CHANNELS, (TIME_BIN_INTERFEROMETER,), "The same of the inverse"),
    "inverse_phase": _Role(Filled.CHANNEL, (TIME_BIN_INTERFEROMETER,), "The same of the inverse"),
    "theta": _Role(Filled.CHANNELS, (MZI_INTERFEROMETER,), "Phase shifters inside the couplers, in the mesh's order"),
    "phi": _Role(Filled.CHANNELS, (MZI_INTERFEROMETER,), "Phase shifters before the couplers, in the mesh's order"),
    "inverse_theta": _Role(Filled.CHANNELS, (MZI_INTERFEROMETER,), "The same of the inverse"),
    "inverse_phi": _Role(Filled.CHANNELS, (MZI_INTERFEROMETER,), "The same of the inverse"),
    "inverse_ret": _Role(
        Filled.CHANNELS, (MZI_INTERFEROMETER,), "Phase shifters of the ports where light leaves the inverse"
    ),
    "forward": _Role(
        Filled.COMPONENT, (TIME_BIN_INTERFEROMETER, MZI_INTERFEROMETER), "The interferometer before the tap"
    ),
    "inverse": _Role(
        Filled.COMPONENT, (TIME_BIN_INTERFEROMETER, MZI_INTERFEROMETER), "The interferometer behind the tap"
    ),
    "gain": _Role(Filled.INSTRUMENT, _TAPS, "Voltage that sets the gain", (AMPLIFIER_TAP,)),
    "amplifier": _Role(Filled.INSTRUMENT, (AMPLIFIER_TAP,), "Optical amplifier", (AMPLIFIER_TAP,)),
    "tap": _Role(Filled.COMPONENT, _TAPS, "The stage that taps the light and gives it back"),
    "controller": _Role(Filled.INSTRUMENT, (POLARISATION,), "Polarisation controller"),
}

_OWNERS: Mapping[str, tuple[Owner, ...]] = {
    TRANSMITTER: (Owner.SERVER,),
    HOMODYNE_RECEIVER: (Owner.SERVER, Owner.CLIENT),
    COUNTING_RECEIVER: (Owner.SERVER,),
    TIME_BIN_INTERFEROMETER: (Owner.CLIENT,),
    MZI_INTERFEROMETER: (Owner.CLIENT,),
    FEED_FORWARD_TAP: (Owner.CLIENT,),
    AMPLIFIER_TAP: (Owner.CLIENT,),
    POLARISATION: (Owner.SERVER, Owner.CLIENT),
}
KINDS = tuple(_OWNERS)

_DRIVEN = (TRANSMITTER, TIME_BIN_INTERFEROMETER)
_SETTINGS: Mapping[str, tuple[tuple[str, ...], Field]] = {
    "sample_rate": (
        (*_DRIVEN, HOMODYNE_RECEIVER),
        Field("sample_rate", FREQUENCY, "Samples a second of its generator or digitizer", above=0.0),
    ),
    "amplitude": (
        _DRIVEN,
        Field("amplitude", VOLTAGE, "Peak to peak voltage of its outputs at full scale", default=1.5, above=0.0),
    ),
    "phase_amplitude": (
        (TIME_BIN_INTERFEROMETER, HOMODYNE_RECEIVER),
        Field("phase_amplitude", VOLTAGE, "The same of the output that drives a phase", default=1.5, above=0.0),
    ),
    "marker": (
        (TRANSMITTER,),
        Field("marker", Kind.INTEGER, "Marker of output I that triggers everybody", default=1, minimum=1, maximum=4),
    ),
    "record_marker": (
        (TRANSMITTER,),
        Field(
            "record_marker",
            Kind.INTEGER,
            "Marker of output I that triggers the digitizers, where it is another one: it rises within a shot, so that "
            "what a record holds before its trigger is not wasted",
            minimum=1,
            maximum=4,
        ),
    ),
    "range": (
        (HOMODYNE_RECEIVER,),
        Field("range", VOLTAGE, "Full scale of the digitizer's inputs", default=1.0, above=0.0),
    ),
    "impedance": (
        (HOMODYNE_RECEIVER,),
        Field("impedance", Kind.NUMBER, "Input impedance of the digitizer in Ohm", default=50.0, above=0.0),
    ),
    "gate_open": (
        _GATED,
        Field("gate_open", Kind.INTEGER, "Port of a switch that lets the light through", default=1, minimum=1),
    ),
    "gate_blocked": (
        _GATED,
        Field("gate_blocked", Kind.INTEGER, "Port of a switch that blocks it", default=2, minimum=1),
    ),
    "settle": (
        (*_GATED, MZI_INTERFEROMETER, *_TAPS),
        Field("settle", TIME, "Time that a change of gate, heater or gain takes", default=0.002, minimum=0.0),
    ),
    "isolation": (
        _GATED,
        Field("isolation", LOSS, "Loss of the blocked gate", default=60.0, above=0.0),
    ),
}
"""Plain settings: the kinds that have them, and what they are."""


def _field(name: str, role: _Role) -> Field:
    words = " and ".join(role.kinds) if len(role.kinds) < len(KINDS) else "all"
    kind = Kind.TEXTS if role.filled is Filled.CHANNELS else Kind.TEXT
    return Field(name, kind, f"{role.doc}: {role.filled.value} ({words})")


SUBSYSTEMS = Section(
    "subsystems",
    'Instruments that act as one. A role is filled by a name, or by "NAME.output 2" where it is one channel of several',
    named="NAME",
    fields=(
        Field("kind", Kind.TEXT, "What they are together", required=True, choices=KINDS),
        Field("owner", Kind.TEXT, "Whose they are", required=True, choices=(Owner.SERVER.value, Owner.CLIENT.value)),
        *(_field(name, role) for name, role in _ROLES.items()),
        *(entry for _, entry in _SETTINGS.values()),
    ),
)

FRAME = Section(
    "frame",
    "How rows of light lie on the time axis; both parties know it",
    fields=(
        Field("n_modes", Kind.INTEGER, "Bins of a row: modes of the interferometer", required=True, minimum=1),
        Field("bin_rate", FREQUENCY, "Bins a second", required=True, above=0.0),
        Field("duty", Kind.NUMBER, "Share of a bin during which its light is on", default=0.75, above=0.0, maximum=1.0),
        Field("guard_rows", Kind.INTEGER, "Rows without light before and behind", default=4, minimum=1),
        Field("preamble_rows", Kind.INTEGER, "Rows that tell where a shot begins", default=31, minimum=1),
        Field("pilot_every", Kind.INTEGER, "Data rows from one pair of pilot rows to the next", default=16, minimum=0),
        Field(
            "shot_time",
            TIME,
            "Longest shot; longer blocks are sent in several, which memories may demand anyway",
            default=0.05,
            above=0.0,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills a role: an instrument or component by name, and its channel where it is one."""

    name: str
    channel: int | None = None

    def __str__(self) -> str:
        return self.name if self.channel is None else f"{self.name}.channel {self.channel}"


@dataclass(frozen=True, slots=True)
class SubsystemEntry:
    """One subsystem of the file.

    Attributes
    ----------
    name, kind, owner:
        As in the file.
    roles:
        What fills each role that the file names; a tuple where a role takes several channels.
    settings:
        Its plain settings in SI units, with their defaults.
    """

    name: str
    kind: str
    owner: Owner
    roles: Mapping[str, Filling | tuple[Filling, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def fillings(self) -> tuple[Filling, ...]:
        """Everything that fills a role."""
        found: list[Filling] = []
        for one in self.roles.values():
            found.extend(one if isinstance(one, tuple) else (one,))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """The frame on the wire; as `FrameLayout`, without the numbers of a single shot."""

    n_modes: int
    bin_rate: float
    duty: float = 0.75
    guard_rows: int = 4
    preamble_rows: int = 31
    pilot_every: int = 16
    shot_time: float = 0.05

    def layout(self, images: int, rows: int) -> FrameLayout:
        """The layout of a shot of `rows` rows for each of `images` data vectors."""
        return FrameLayout(
            n_modes=self.n_modes,
            images=images,
            rows=rows,
            bin_rate=self.bin_rate,
            duty=self.duty,
            guard_rows=self.guard_rows,
            preamble_rows=self.preamble_rows,
            pilot_every=self.pilot_every,
        )


Wrong = Callable[..., None]
"""Reports a mistake: (path, problem, *, expected, hint)."""

_CHANNEL = re.compile(rf"({NAME.pattern})(?:\.[a-z_]+ ([0-9]+))?")


def read_subsystems(
    tables: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Mapping[str, Any]],
    instruments: Collection[str],
    components: Collection[str],
    wrong: Wrong,
) -> dict[str, SubsystemEntry]:
    """The subsystems of a file.

    Parameters
    ----------
    tables:
        As the schema read them, with defaults.
    given:
        As they stand in the file: which keys somebody wrote.
    instruments, components:
        Names that there are.
    wrong:
        Is told of every mistake.
    """
    found: dict[str, SubsystemEntry] = {}
    owners: dict[str, SubsystemEntry] = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            wrong(("subsystems", name), f"{name!r} is no name", expected="a letter, then letters, digits, - and _")
        kind, owner = table["kind"], table["owner"]
        if kind is None or owner is None:
            continue
        entry = _read_one(name, kind, Owner(owner), table, given.get(name, {}), instruments, components, wrong)
        found[name] = entry
        for filling in entry.fillings():
            other = owners.setdefault(filling.name, entry)
            if other.owner is not entry.owner:
                problem = f"{filling.name} is the {other.owner}'s already, in subsystem {other.name!r}"
                wrong(("subsystems", name), problem, expected="instruments of one party in each subsystem")
    return found


def _read_one(
    name: str,
    kind: str,
    owner: Owner,
    table: Mapping[str, Any],
    given: Mapping[str, Any],
    instruments: Collection[str],
    components: Collection[str],
    wrong: Wrong,
) -> SubsystemEntry:
    place: KeyPath = ("subsystems", name)
    if owner not in _OWNERS[kind]:
        expected = " or ".join(f'"{one}"' for one in _OWNERS[kind])
        wrong((*place, "owner"), f"no {kind} is the {owner}'s", expected=expected)
    roles = {key for key, role in _ROLES.items() if kind in role.kinds}
    settings = {key: entry for key, (kinds, entry) in _SETTINGS.items() if kind in kinds}
    known = [*sorted(roles), *settings]
    filled: dict[str, Filling | tuple[Filling, ...]] = {}
    for key in given:
        if key in (*_ROLES, *_SETTINGS) and key not in known:
            wrong(
                (*place, key),
                f"a {kind} has no key {key!r}",
                expected=f"one of {', '.join(known)}",
                hint=did_you_mean(key, known),
            )
    for key in sorted(roles):
        role, value = _ROLES[key], table[key]
        if value is None:
            if kind not in role.optional and key not in given:
                wrong(place, f"has no {key}", expected=f"{key} = {role.filled.value}: {role.doc}")
            continue
        if isinstance(value, tuple):
            several = [
                _filling(text, role.filled, (*place, key, index), instruments, components, wrong)
                for index, text in enumerate(value)
            ]
            filled[key] = tuple(one for one in several if one is not None)
        else:
            one = _filling(value, role.filled, (*place, key), instruments, components, wrong)
            if one is not None:
                filled[key] = one
    return SubsystemEntry(name, kind, owner, filled, {key: table[key] for key in settings})


def _filling(
    text: str,
    filled: Filled,
    place: KeyPath,
    instruments: Collection[str],
    components: Collection[str],
    wrong: Wrong,
) -> Filling | None:
    match = _CHANNEL.fullmatch(text)
    channel = match is not None and match[2] is not None
    wants_channel = filled in (Filled.CHANNEL, Filled.CHANNELS)
    if match is None or channel != wants_channel:
        expected = '"NAME.channel 1"' if wants_channel else "the name of " + filled.value
        wrong(place, f"{text!r} is not {filled.value.replace('channels', 'a channel')}", expected=expected)
        return None
    names = components if filled is Filled.COMPONENT else instruments
    if match[1] not in names:
        what = "component" if filled is Filled.COMPONENT else "instrument"
        there = f"one of {', '.join(names)}" if names else None
        wrong(place, f"there is no {what} {match[1]!r}", expected=there, hint=did_you_mean(match[1], names))
        return None
    return Filling(match[1], int(match[2]) if channel else None)
