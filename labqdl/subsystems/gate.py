"""A gate: a switch or shutter that lets light through or blocks it."""

from __future__ import annotations

from labqdl.instruments import Instrument, OpticalSwitch, Shutter
from labqdl.subsystems.roles import Roles


class Gate:
    """A switch or shutter in one fibre.

    Parameters
    ----------
    instrument:
        The switch, or the shutter.
    passing, blocked:
        Ports of a switch.
    settle:
        Seconds that a change takes beyond what the instrument confirms.
    """

    def __init__(self, instrument: Instrument, passing: int = 1, blocked: int = 2, settle: float = 0.0) -> None:
        self.instrument = instrument
        self._ports = {True: passing, False: blocked}
        self._settle = settle

    @classmethod
    def of(cls, roles: Roles) -> Gate | None:
        """The gate of a subsystem, if it has one."""
        if not roles.has("gate"):
            return None
        instrument = roles.instrument("gate", Instrument)
        if not isinstance(instrument, OpticalSwitch | Shutter):
            raise roles.wrong("gate", f"{instrument.name} is a {type(instrument).__name__}", expected="a switch")
        return cls(instrument, roles.setting("gate_open"), roles.setting("gate_blocked"), roles.setting("settle"))

    @property
    def passing(self) -> bool:
        """Whether light passes, as the instrument reports it."""
        if isinstance(self.instrument, Shutter):
            return self.instrument.is_passing
        assert isinstance(self.instrument, OpticalSwitch)
        return self.instrument.port == self._ports[True]

    def open(self) -> None:
        """Let light through."""
        self._set(True)

    def block(self) -> None:
        """Block it."""
        self._set(False)

    def _set(self, passing: bool) -> None:
        if isinstance(self.instrument, Shutter):
            self.instrument.is_passing = passing
        else:
            assert isinstance(self.instrument, OpticalSwitch)
            self.instrument.port = self._ports[passing]
        self.instrument.clock.sleep(self._settle)
