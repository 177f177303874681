"""From the roles of a station file's subsystem to the instruments, channels and components that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from labqdl.config.station import StationFile
from labqdl.config.subsystems import Filling, SubsystemEntry
from labqdl.errors import InputError
from labqdl.instruments import Channel, Instrument, PhaseShifterArray

I = TypeVar("I", bound=Instrument)  # noqa: E741 - the instrument's class
C = TypeVar("C", bound=Channel)


class Roles:
    """What fills the roles of one subsystem.

    Parameters
    ----------
    file:
        The station file.
    entry:
        The subsystem's table in it.
    instruments:
        By name; constructed, opened or not.
    """

    def __init__(self, file: StationFile, entry: SubsystemEntry, instruments: Mapping[str, Instrument]) -> None:
        self._file, self._entry, self._instruments = file, entry, instruments

    @property
    def name(self) -> str:
        """The subsystem's name."""
        return self._entry.name

    def setting(self, key: str) -> Any:
        """A plain setting, or None where the file says nothing."""
        return self._entry.settings[key]

    def has(self, role: str) -> bool:
        """Whether the file fills this role."""
        return role in self._entry.roles

    def wrong(self, role: str, problem: str, *, expected: str | None = None) -> InputError:
        """A mistake at a role in the file, to be raised."""
        return self._file.wrong(("subsystems", self.name, role), problem, expected=expected)

    def instrument(self, role: str, kind: type[I]) -> I:
        """The instrument that fills a role.

        Raises
        ------
        InputError
            For one that is not of this kind; names file and line.
        """
        filling = self._one(role)
        return self._checked(role, filling, kind)

    def optional(self, role: str, kind: type[I]) -> I | None:
        """The same, or None where the file leaves the role empty."""
        return self.instrument(role, kind) if self.has(role) else None

    def channel(self, role: str, kind: type[C]) -> C:
        """The channel that fills a role; InputError for one that is not there or not of this kind."""
        return self._channel(role, self._one(role), kind)

    def optional_channel(self, role: str, kind: type[C]) -> C | None:
        """The same, or None where the file leaves the role empty."""
        return self.channel(role, kind) if self.has(role) else None

    def channels(self, role: str, kind: type[C]) -> tuple[C, ...]:
        """The channels that fill a role, in the order of the file."""
        return tuple(self._channel(role, one, kind) for one in self.fillings(role))

    def fillings(self, role: str) -> tuple[Filling, ...]:
        """Instruments and numbers of channels of a role that takes several."""
        found = self._entry.roles.get(role, ())
        return found if isinstance(found, tuple) else (found,)

    def array(self, role: str, filling: Filling) -> PhaseShifterArray:
        """The array of phase shifters of one of a role's fillings."""
        return self._checked(role, filling, PhaseShifterArray)

    def component(self, role: str) -> Mapping[str, Any]:
        """Data sheet of the component that fills a role; empty where none does."""
        return self._file.components[self._one(role).name] if self.has(role) else {}

    def part(self, role: str) -> str:
        """Name of what fills a role, for messages; the role itself where nothing does."""
        return self._one(role).name if self.has(role) else f"{self.name}.{role}"

    def _one(self, role: str) -> Filling:
        found = self._entry.roles.get(role)
        if not isinstance(found, Filling):
            raise self.wrong(role, f"the subsystem {self.name!r} has no {role}")
        return found

    def _checked(self, role: str, filling: Filling, kind: type[I]) -> I:
        instrument = self._instruments[filling.name]
        if not isinstance(instrument, kind):
            found = type(instrument).__name__
            raise self.wrong(role, f"{filling.name} is a {found}", expected=_words(kind))
        return instrument

    def _channel(self, role: str, filling: Filling, kind: type[C]) -> C:
        channels = self._instruments[filling.name].channels()
        if filling.channel is None or filling.channel not in channels:
            expected = f"one of {', '.join(map(str, channels))}" if channels else "an instrument with channels"
            raise self.wrong(role, f"{filling.name} has no channel {filling.channel}", expected=expected)
        channel = channels[filling.channel]
        if not isinstance(channel, kind):
            raise self.wrong(role, f"{filling} is a {type(channel).__name__}", expected=_words(kind))
        return channel


def _words(kind: type) -> str:
    return {
        "Laser": "a laser",
        "Output": "an output of a waveform generator",
        "Input": "an input of a digitizer",
        "OpticalSwitch": "a switch",
        "VoltageSource": "a voltage source",
        "Attenuator": "an attenuator",
        "PowerMeter": "a power meter",
        "PhaseServo": "a phase servo",
        "PhaseShifterArray": "an array of phase shifters",
        "OpticalAmplifier": "an amplifier",
        "PolarizationController": "a polarisation controller",
        "CounterInput": "an input of a photon counter",
    }.get(kind.__name__, f"a {kind.__name__}")
