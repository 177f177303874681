"""What each party owns of a bench: its subsystems and its calibrations, and nothing of the other's.

Both are built from the same station file, each from the tables that name it as owner: an instrument of one party is
never reachable from the other's object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from labqdl.config.station import StationFile
from labqdl.config.subsystems import (
    AMPLIFIER_TAP,
    COUNTING_RECEIVER,
    FEED_FORWARD_TAP,
    HOMODYNE_RECEIVER,
    MZI_INTERFEROMETER,
    POLARISATION,
    TIME_BIN_INTERFEROMETER,
    TRANSMITTER,
    FrameEntry,
    SubsystemEntry,
)
from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.ledger import Owner
from labqdl.instruments import Instrument
from labqdl.subsystems.counting import CountingReceiver
from labqdl.subsystems.gain_tap import AmplifierTap, FeedForwardTap, GainTap
from labqdl.subsystems.interferometer import (
    Interferometer,
    MziInterferometer,
    NoInterferometer,
    TimeBinInterferometer,
)
from labqdl.subsystems.polarisation import Polarisation
from labqdl.subsystems.receiver import HomodyneReceiver
from labqdl.subsystems.roles import Roles
from labqdl.subsystems.transmitter import Transmitter

S = TypeVar("S")


class _Party:
    """What both parties' objects share."""

    def __init__(self, file: StationFile, owner: Owner, calibrations: CalibrationSet) -> None:
        if file.frame is None:
            raise InputError(
                "has no frame", source=file.source, key="frame", expected="a table [frame] and [subsystems.NAME]"
            )
        self.owner = owner
        self.frame: FrameEntry = file.frame
        self.calibrations = calibrations.of(owner)

    def _share(self, calibrations: CalibrationSet, *subsystems: object) -> None:
        self.calibrations = calibrations.of(self.owner)
        for one in subsystems:
            if one is not None:
                one.calibrations = self.calibrations  # type: ignore[attr-defined] # every subsystem has them


class ServerBench(_Party):
    """What the server owns.

    Parameters
    ----------
    file:
        The station file; only tables with owner = "server" are read.
    instruments:
        The station's instruments by name; only those of the server's roles are kept.
    calibrations:
        All of the station; the server's own and the channel's are kept.

    Raises
    ------
    InputError
        For a station without a transmitter or receiver, and for instruments that do not fit their roles.
    """

    def __init__(
        self, file: StationFile, instruments: Mapping[str, Instrument], calibrations: CalibrationSet | None = None
    ) -> None:
        super().__init__(file, Owner.SERVER, CalibrationSet() if calibrations is None else calibrations)
        mine = _of(file, Owner.SERVER)
        self.transmitter = Transmitter(_only(file, mine, instruments, TRANSMITTER), self.calibrations)
        roles = _only(file, mine, instruments, HOMODYNE_RECEIVER)
        self.receiver = HomodyneReceiver(roles, Owner.SERVER, self.calibrations)
        self.counting: CountingReceiver | None = None
        self.polarisation: Polarisation | None = None
        for entry in mine:
            if entry.kind == COUNTING_RECEIVER:
                self.counting = CountingReceiver(Roles(file, entry, instruments), self.calibrations)
            elif entry.kind == POLARISATION:
                roles = Roles(file, entry, instruments)
                self.polarisation = Polarisation(roles, Owner.SERVER, self.calibrations)

    def use(self, calibrations: CalibrationSet) -> None:
        """Work with these calibrations from now on; what is not the server's or the channel's is left out."""
        self._share(calibrations, self.transmitter, self.receiver, self.counting, self.polarisation)

    def dark(self) -> None:
        """Block and switch off everything that emits; the receiver's gate is blocked."""
        self.transmitter.dark()
        self.receiver.release()
        if self.receiver.gate is not None and self.receiver.gate.instrument.is_open:
            self.receiver.gate.block()


class ClientBench(_Party):
    """What the client owns; as `ServerBench`. A station of one mode may do without interferometer."""

    def __init__(
        self, file: StationFile, instruments: Mapping[str, Instrument], calibrations: CalibrationSet | None = None
    ) -> None:
        super().__init__(file, Owner.CLIENT, CalibrationSet() if calibrations is None else calibrations)
        mine = _of(file, Owner.CLIENT)
        n_modes = self.frame.n_modes
        roles = _only(file, mine, instruments, HOMODYNE_RECEIVER)
        self.receiver = HomodyneReceiver(roles, Owner.CLIENT, self.calibrations)
        self.polarisation: Polarisation | None = None
        interferometer: Interferometer | None = None
        tap: GainTap | None = None
        for entry in mine:
            roles = Roles(file, entry, instruments)
            if entry.kind == TIME_BIN_INTERFEROMETER:
                interferometer = TimeBinInterferometer(roles, n_modes, self.calibrations)
            elif entry.kind == MZI_INTERFEROMETER:
                interferometer = MziInterferometer(roles, n_modes, self.calibrations)
            elif entry.kind == FEED_FORWARD_TAP:
                tap = FeedForwardTap(roles, self.calibrations)
            elif entry.kind == AMPLIFIER_TAP:
                tap = AmplifierTap(roles, self.calibrations)
            elif entry.kind == POLARISATION:
                self.polarisation = Polarisation(roles, Owner.CLIENT, self.calibrations)
        if interferometer is None:
            if n_modes > 1:
                raise _missing(file, f"interferometer for rows of {n_modes} bins", Owner.CLIENT)
            interferometer = NoInterferometer("no interferometer", n_modes, self.calibrations)
        self.interferometer: Interferometer = interferometer
        if tap is None:
            raise _missing(file, FEED_FORWARD_TAP, Owner.CLIENT)
        self.tap: GainTap = tap

    def use(self, calibrations: CalibrationSet) -> None:
        """Work with these calibrations from now on; what is not the client's or the channel's is left out."""
        self._share(calibrations, self.receiver, self.interferometer, self.tap, self.polarisation)

    def dark(self) -> None:
        """Give nothing back, take all voltages away, block the gate."""
        self.tap.off()
        self.interferometer.dark()
        self.receiver.release()
        if self.receiver.gate is not None and self.receiver.gate.instrument.is_open:
            self.receiver.gate.block()


def _of(file: StationFile, owner: Owner) -> tuple[SubsystemEntry, ...]:
    return tuple(entry for entry in file.subsystems.values() if entry.owner is owner)


def _only(
    file: StationFile, mine: tuple[SubsystemEntry, ...], instruments: Mapping[str, Instrument], kind: str
) -> Roles:
    found = [entry for entry in mine if entry.kind == kind]
    if not found:
        owner = Owner.SERVER if kind == TRANSMITTER else None
        raise _missing(file, kind, owner)
    if len(found) > 1:
        raise file.wrong(
            ("subsystems", found[1].name, "kind"), f"a second {kind} of one party", expected="one of each kind"
        )
    return Roles(file, found[0], instruments)


def _missing(file: StationFile, what: str, owner: Owner | None) -> InputError:
    whose = "" if owner is None else f" of the {owner.value}'s"
    return InputError(f"has no {what}{whose}", source=file.source, key="subsystems", expected=f"a {what}")
