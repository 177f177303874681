"""The bench as calibration routines meet it: subsystems of both parties, by their uncalibrated primitives, and shots.

While it is being calibrated a bench belongs to both parties together; what each of them may read of the results later
is its own ones and those of the channel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.clock import Clock
from labqdl.config.station import StationFile
from labqdl.config.subsystems import FrameEntry
from labqdl.facts import CalibrationSet, Owner
from labqdl.facts.layout import FrameLayout
from labqdl.instruments import Trigger
from labqdl.station import Station
from labqdl.subsystems.interferometer import TimeBinInterferometer
from labqdl.subsystems.parties import ClientBench, ServerBench
from labqdl.subsystems.receiver import HomodyneReceiver, Recorded
from labqdl.subsystems.transmitter import Transmitter

Real = NDArray[np.float64]
_TABLES = ("instruments", "components", "wiring", "subsystems", "frame", "ledger")


class CalibrationBench:
    """Both parties' subsystems of a station.

    Parameters
    ----------
    station:
        With its instruments opened, or at least made.

    Attributes
    ----------
    server, client:
        What each party owns.
    quick:
        Whether routines take fewer points.

    Raises
    ------
    InputError
        Where the station file has no frame or no subsystems, and for instruments that do not fit their roles.
    """

    def __init__(self, station: Station) -> None:
        self.station = station
        self.file: StationFile = station.file
        self.quick = False
        self._calibrations = CalibrationSet(station=station.name)
        self._turned: dict[str, str] = {}
        instruments = station.instruments()
        self.server = ServerBench(self.file, instruments, self._calibrations)
        self.client = ClientBench(self.file, instruments, self._calibrations)

    # --- what every routine finds -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Of the station."""
        return self.station.name

    @property
    def clock(self) -> Clock:
        """Of the instruments."""
        return self.station.clock

    @property
    def calibrations(self) -> CalibrationSet:
        """What is known; the subsystems read the same."""
        return self._calibrations

    @calibrations.setter
    def calibrations(self, known: CalibrationSet) -> None:
        self._calibrations = known
        self.server.use(known)
        self.client.use(known)

    @property
    def fingerprint(self) -> str:
        """Digest of instruments, components, wiring, subsystems and frame; where it is simulated, also of the seed."""
        return fingerprint(self.file)

    @property
    def transmitter(self) -> Transmitter:
        """The server's transmitter."""
        return self.server.transmitter

    @property
    def frame(self) -> FrameEntry:
        """The frame on the wire."""
        return self.server.frame

    def receiver(self, owner: Owner) -> HomodyneReceiver:
        """A party's receiver."""
        return self.server.receiver if owner is Owner.SERVER else self.client.receiver

    @property
    def bin_time(self) -> float:
        """Seconds of a bin."""
        return 1.0 / self.frame.bin_rate

    def sheet(self, component: str) -> Mapping[str, Any]:
        """Data sheet of a component; empty where there is none of that name."""
        return self.file.components.get(component, {})

    def layout(self, rows: int, *, preamble: int | None = None, guard: int | None = None) -> FrameLayout:
        """A shot of `rows` rows without pilots, for calibration."""
        return FrameLayout(
            n_modes=self.frame.n_modes,
            images=1,
            rows=rows,
            bin_rate=self.frame.bin_rate,
            duty=self.frame.duty,
            guard_rows=self.frame.guard_rows if guard is None else guard,
            preamble_rows=self.frame.preamble_rows if preamble is None else preamble,
            pilot_every=0,
        )

    # --- light and dark -----------------------------------------------------------------------------------------------

    def light(self, attenuation: float | None = None) -> None:
        """Laser on, the attenuator at so many dB (None: as it is), paddles as calibrated; gates stay as they are."""
        self.transmitter.emit(True)
        if attenuation is not None and self.transmitter.attenuator is not None:
            self.transmitter.attenuate(attenuation)
        for party in (self.server, self.client):
            name = f"polarisation.{party.owner.value}"
            if party.polarisation is None or name not in self._calibrations or not self._calibrations[name].good:
                continue
            # Another process may have calibrated them, on a table that was switched off since.
            digest = self._calibrations[name].digest
            if self._turned.get(name) != digest:
                party.polarisation.set_calibrated()
                self._turned[name] = digest

    def gates(self, *, out: bool | None = None, client: bool | None = None, server: bool | None = None) -> None:
        """Open or block the gates of transmitter, client's and server's receiver; None leaves one as it is."""
        wanted = (
            (self.transmitter.gate, out),
            (self.client.receiver.gate, client),
            (self.server.receiver.gate, server),
        )
        for gate, is_open in wanted:
            if gate is not None and is_open is not None and gate.passing != is_open:
                gate.open() if is_open else gate.block()

    def dark(self) -> None:
        """Everything dark that is open: also on the way out of an error."""
        self.server.dark()
        self.client.dark()

    # --- shots --------------------------------------------------------------------------------------------------------

    def shot(
        self,
        i: Real,
        q: Real,
        *,
        record: tuple[Owner, ...] = (Owner.CLIENT, Owner.SERVER),
        lo_phase: Real | None = None,
        waves: Mapping[str, tuple[list[Real], Real]] | None = None,
        tail: float = 20e-6,
    ) -> dict[Owner, Recorded]:
        """One triggered shot of raw voltages, recorded by the receivers.

        Parameters
        ----------
        i, q:
            Volts of the modulator, (n,), at the transmitter's sample rate.
        record:
            Whose receivers record.
        lo_phase:
            Volts of the phase modulator of the server's local oscillator, (n,), from the trigger on; None: 0 V.
        waves:
            {"forward" or "inverse": (volts of each stage, volts of the phase)} that start with the trigger; None: the
            interferometer holds what it was last told by `drive`.
        tail:
            Seconds that are recorded behind the light's duration, for what comes late.
        """
        transmitter, interferometer = self.transmitter, self.client.interferometer
        duration = len(i) / transmitter.sample_rate + tail
        if waves is not None:
            assert isinstance(interferometer, TimeBinInterferometer)
            for way, (stages, phase) in waves.items():
                interferometer.play(way, stages, phase)
        for owner in record:
            self.receiver(owner).arm(duration)
        if waves is not None and interferometer is not None:
            interferometer.arm()
        player = self.server.receiver.player
        if player is not None:
            player.prepare(Trigger.EXTERNAL, transmitter.sample_rate)
            player.load({"lo-phase": np.zeros(len(i)) if lo_phase is None else lo_phase})
            player.switch(True)
        transmitter.play(i, q, repeat=False)
        transmitter.start()
        found = {}
        for owner in record:
            self.receiver(owner).wait(duration)
            found[owner] = self.receiver(owner).fetch()
        return found


def fingerprint(file: StationFile) -> str:
    """Digest of what calibrations of a station depend on, hexadecimal."""
    table = file.document.table
    parts: dict[str, Any] = {name: table.get(name) for name in _TABLES}
    parts["profile"] = file.profile
    if any(entry.simulated or entry.declared_simulated for entry in file.instruments.values()):
        parts["simulation"] = table.get("simulation")
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
