"""The bench behind the interface of a link: rows of weights go out as light, outcomes and residuals come back.

One shot carries the rows of one tile for one or several images. Its order: references locked, digitizers armed, the
client's generators armed, then the server's generator starts everybody by its marker. A shot whose lock slipped, whose
record overflowed, whose trigger or preamble did not come is recorded as an incident and sent again, a few times; then
the light path is left dark and the part that stands in the way is named. Light that does not come *back* is no
incident: the client may have kept it. The server integrates at the calibrated time then, and its tests decide.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import DspError, Timing, known_symbols, pilot_track
from labqdl.errors import InputError, LabqdlError
from labqdl.facts import FrameDescription, ShotNoise
from labqdl.facts.layout import FrameLayout
from labqdl.link import ClientPort, Link, ServerPort
from labqdl.link.exchange import Exchange, OpenShot
from labqdl.optics.modes import pair
from labqdl.rng import Root
from labqdl.subsystems.errors import BenchStopped, ShotInvalid
from labqdl.subsystems.parties import ClientBench, ServerBench
from labqdl.subsystems.receiver import HomodyneReceiver, Recorded
from labqdl.subsystems.residuals import ResidualSums

Real = NDArray[np.floating[Any]]
Complex = NDArray[np.complex128]

_log = logging.getLogger(__name__)

FORWARD = "path.forward"
"""Name of the way to the client, where light that was sent did not arrive."""
BACK = "path.return"
"""Name of the way back to the server."""
_OFFSET_BINS = 8192
"""Vacuum bins from which a receiver's offset is known to 0.01 of a standard deviation."""
_REACH_BINS = 4.0
"""Bins around its calibrated place in which a shot is looked for."""
_PHASE_TOLERANCE = 0.2
"""Phase in rad by which pilots may be off before a lock counts as slipped."""
_NOISE_TOLERANCE = 0.1
"""Relative change of a receiver's vacuum noise that no calibration covers."""
_SIGMAS = 6.0
"""Standard deviations by which chance may add to both."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A shot that was not used.

    Attributes
    ----------
    layer, block:
        What it carried.
    tile, first_image:
        Of its first vector.
    attempt:
        Which one it was, from 1.
    rows:
        Rows of weights that it streamed in vain; they were exposed all the same. 0 where no light flowed.
    part, problem:
        What is to be looked at, and why.
    again:
        Whether it is sent once more.
    """

    layer: int
    block: int
    tile: int
    first_image: int
    attempt: int
    rows: int
    part: str
    problem: str
    again: bool


class BenchLink(Link):
    """Instruments behind the interface of a link.

    Parameters
    ----------
    server, client:
        What each party owns, with calibrations.
    root:
        The server's root: at which times it takes its vacuum is secret until afterwards.
    attempts:
        How often one shot is sent at most.
    on_incident:
        Told of every shot that was not used.
    """

    def __init__(
        self,
        server: ServerBench,
        client: ClientBench,
        root: Root,
        *,
        attempts: int = 3,
        on_incident: Callable[[Incident], None] | None = None,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"a shot is sent at least once, got {attempts}")
        self._server, self._client, self._root = server, client, root
        self._attempts, self._on_incident = attempts, on_incident
        self._frame: FrameDescription | None = None
        self._exchange = Exchange()
        self._rows_sent = 0
        self._awake = False
        self._offsets: dict[str, tuple[complex, int]] = {}
        self._wanted = 0.0
        self._looked: int | None = None
        self._phasor = 0j
        self.incidents: list[Incident] = []
        """Every shot that was not used, in their order."""

    @property
    def server_port(self) -> ServerPort:
        """The server's end."""
        return self._exchange.server_port

    @property
    def client_port(self) -> ClientPort:
        """The client's end."""
        return self._exchange.client_port

    @property
    def rows_sent(self) -> int:
        """Rows of light sent, each image of a block counted, those in vain included."""
        return self._rows_sent

    @property
    def rows_in_vain(self) -> int:
        """Rows among them whose shot was not used; each exposed its weights once more."""
        return sum(one.rows for one in self.incidents)

    # --- the protocol's calls -----------------------------------------------------------------------------------------

    def prepare(self, frame: FrameDescription) -> None:
        """Check that the bench can do what was agreed on; no light flows yet.

        Raises
        ------
        InputError
            For rows that are longer than the interferometer, another tap, counted rows, vacuum that crossed nobody's
            gate, and calibrations that are missing.
        """
        n_modes = self._server.frame.n_modes
        for index, layer in enumerate(frame.layers):
            if layer.tile_modes > n_modes:
                raise InputError(
                    f"rows of layer {index} have {layer.tile_modes} modes, the interferometer takes {n_modes}",
                    expected=f"tile = {n_modes}",
                    hint="Cut rows into tiles that fit",
                )
        self._client.tap.demand(frame.tap)
        if frame.plan.counting_fraction > 0:
            self._demand_nulling()
        for party in (self._server, self._client):
            _ = party.receiver.snu
            if f"{party.owner.value}.timing" not in party.calibrations:
                party.calibrations.result(f"{party.owner.value}.timing")
            if party.receiver.gate is None:
                raise InputError(
                    f"the {party.owner.value}'s receiver has no gate, so that it cannot measure vacuum",
                    source=party.receiver.name,
                    expected="a role gate",
                )
        self._server.transmitter.brightness()
        self._client.tap.outcome_scale(frame.tap)
        self._frame = frame

    def transmit(self, layer: int, block: int) -> None:
        """Send the rows of one layer for all images of one block, tile by tile.

        Raises
        ------
        BenchStopped
            Where a shot could not be used after several attempts; everything is dark then.
        InputError
            For light that the transmitter cannot make and data that the interferometer cannot set.
        """
        if self._frame is None:
            raise RuntimeError("the link was not prepared for a frame")
        shot = self._exchange.at(layer, block)
        q, x, pattern, counted = shot.quadratures, shot.directions, shot.pattern, shot.counted
        if q is None or x is None or pattern is None or counted is None:
            raise RuntimeError(f"layer {layer} of block {block}: both ports must be set before light flows")
        if shot.images != len(x):
            raise RuntimeError(f"the server streams for {shot.images} images, the client set {len(x)} vectors")
        if counted.any():
            self._demand_nulling()
        tiles = x.shape[1] // q.shape[1]
        if x.shape[1] != tiles * q.shape[1] or q.shape[0] % tiles:
            raise RuntimeError(f"data of shape {x.shape} do not fit rows of shape {q.shape}")
        try:
            self._transmit(layer, block, shot, q, x, pattern, tiles)
        except ShotInvalid as error:
            self._stop_dark()
            raise BenchStopped(error.part, error.problem) from error
        except BaseException:
            self._stop_dark()
            raise

    def close(self) -> None:
        """Leave the light path dark; every part is tried, and the first failure raised afterwards."""
        self._awake = False
        failures: list[LabqdlError] = []
        for dark in (self._server.dark, self._client.dark):
            try:
                dark()
            except LabqdlError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    # --- one layer of one block ---------------------------------------------------------------------------------------

    def _transmit(
        self,
        layer: int,
        block: int,
        shot: OpenShot,
        q: Real,
        x: Real,
        pattern: NDArray[np.bool_],
        tiles: int,
    ) -> None:
        assert self._frame is not None
        n_modes = self._server.frame.n_modes
        rows, modes = q.shape[0] // tiles, q.shape[1] // 2
        symbols = np.zeros((q.shape[0], n_modes), np.complex128)
        symbols[:, :modes] = pair(np.asarray(q, np.float64)) / 2.0
        turned = np.zeros(n_modes, np.bool_)
        turned[:modes] = pattern
        vectors = np.zeros((shot.images, tiles, n_modes), np.complex128)
        vectors[:, :, :modes] = pair(np.asarray(x, np.float64)).reshape(shot.images, tiles, modes)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        sums = ResidualSums(
            q, pattern, shot.expected_amplitude, shot.images, use_sums=shot.use_sums, sampled=shot.sampled
        )
        outcomes = np.empty((shot.images, q.shape[0]))
        self._wake(float(np.max(np.abs(symbols))), shot.expected_amplitude)
        if self._looked != block:
            # The client's unit is its own to watch; the server measures vacuum with every layer anyway.
            self._quiet(self._client.receiver)
            self._looked = block
        # A tile for an image is to the light what a row of rows is: one shot may carry several of both.
        pairs = [(tile, image) for tile in range(tiles) for image in range(shot.images)]
        chunk = self._images_per_shot(rows, len(pairs))
        shots = [pairs[first : first + chunk] for first in range(0, len(pairs), chunk)]
        vacuum_at = int(self._root.generator("vacuum time", layer, block).integers(len(shots) + 1))
        squares, slots = 0.0, 0
        by_tile = symbols.reshape(tiles, rows, n_modes)
        for number in range(len(shots) + 1):
            if number == vacuum_at:
                squares, slots = self._vacuum(shot.images * q.shape[0], (layer, block))
            if number == len(shots):
                break
            which = np.array(shots[number])
            data, u = by_tile[which[:, 0]], vectors[which[:, 1], which[:, 0]]
            carry, back = self._sent((layer, block, *shots[number][0]), data, u, turned)
            for tile in np.unique(which[:, 0]):
                here = which[:, 0] == tile
                part = slice(int(tile) * rows, (int(tile) + 1) * rows)
                images = which[here, 1]
                outcomes[images, part] = carry[here]
                sums.add(back[here][:, :, :modes], part, int(images[0]))
        scale = self._client.tap.outcome_scale(self._frame.tap)
        shot.passed = True
        shot.outcomes = (scale * outcomes).astype(q.dtype)
        shot.light = sums.light(squares, slots)

    def _images_per_shot(self, rows: int, images: int) -> int:
        frame, interferometer = self._server.frame, self._client.interferometer
        most = interferometer.images_per_shot or images
        one = frame.layout(1, rows)
        pilots = 1.0 + (2.0 / frame.pilot_every if frame.pilot_every else 0.0)
        each = rows * pilots * one.n_modes * one.bin_time
        fixed = one.duration - each
        return int(max(min(most, images, math.floor((frame.shot_time - fixed) / each)), 1))

    def _wake(self, largest: float, expected_amplitude: float) -> None:
        """Everything on that stays on between shots, bright enough for the largest bin, and with room for it."""
        server, client = self._server, self._client
        if not self._awake:
            for party in (server, client):
                if party.polarisation is not None:
                    party.polarisation.set_calibrated()
                party.receiver.configure()
                if party.receiver.gate is not None:
                    party.receiver.gate.open()
            client.interferometer.prepare()
        if not self._awake or largest > self._wanted:
            brightness = server.transmitter.brightness(largest)
            server.transmitter.prepare(brightness)
            self._brightness, self._wanted = brightness, max(largest, brightness.known)
            window = self._server.frame.duty / self._server.frame.bin_rate * server.receiver.sample_rate
            server.receiver.make_room(2.0 * expected_amplitude * self._wanted, window)
        if not self._awake:
            if server.transmitter.gate is not None:
                server.transmitter.gate.open()
            client.tap.engage()
            self._awake, self._looked = True, None
            if server.owner.value not in self._offsets:
                self._quiet(server.receiver)

    def _quiet(self, receiver: HomodyneReceiver) -> None:
        """Measure vacuum of a receiver: its offset, and whether its noise is still what it was calibrated with."""
        layout = self._server.frame.layout(1, 1)
        found = receiver.vacuum(_OFFSET_BINS * layout.bin_time)
        self._learn_offset(receiver, receiver.dark_bins(found, layout))

    def _learn_offset(self, receiver: HomodyneReceiver, bins: NDArray[Any]) -> None:
        """Volts of an integrated bin without light: the mean over all vacuum of the session.

        Raises
        ------
        ShotInvalid
            Where the variance of vacuum is far from the calibrated one: light and vacuum are compared with another
            local oscillator than before.
        """
        owner = receiver.owner.value
        mean, count = self._offsets.get(owner, (0j, 0))
        total = count + bins.size
        self._offsets[owner] = (mean * count + complex(np.sum(bins))) / total, total
        ratio, error = _noise_ratio(receiver, bins)
        if abs(ratio - 1.0) > _NOISE_TOLERANCE + _SIGMAS * error:
            problem = f"the vacuum of {receiver.name} has {ratio:.3g} times the noise of its calibration"
            raise ShotInvalid(self._unsteady(receiver, ratio), problem)

    def _unsteady(self, receiver: HomodyneReceiver, ratio: float) -> str:
        """What changed a receiver's noise: the laser, where both receivers have changed alike; else the receiver."""
        other = next(one.receiver for one in (self._server, self._client) if one.receiver is not receiver)
        layout = self._server.frame.layout(1, 1)
        with suppress(LabqdlError):
            also, _ = _noise_ratio(other, other.dark_bins(other.vacuum(_OFFSET_BINS * layout.bin_time), layout))
            if ratio < 1.0 and abs(also - ratio) < 0.5 * (1.0 - ratio):
                return self._server.transmitter.laser.name
        return receiver.name

    def _vacuum(self, rows: int, key: tuple[int, int]) -> tuple[float, int]:
        """Sum of squares in SNU, and number, of the vacuum slots that belong to so many homodyned rows."""
        assert self._frame is not None
        plan, needed = self._frame.plan, self._frame.vacuum_slots * rows
        if plan.shot_noise is ShotNoise.KNOWN or not needed:
            return 0.0, 0
        receiver, layout = self._server.receiver, self._server.frame.layout(1, 1)
        values: list[NDArray[np.float64]] = []
        there, at_once = 0, max(self._server.frame.shot_time, 2 * layout.bin_time)
        while there < needed + 2:
            duration = min((needed + 2 - there + 2) * layout.bin_time, at_once)
            own = plan.shot_noise is ShotNoise.OWN
            found = receiver.vacuum(duration) if own else receiver.record(duration)
            dark = receiver.dark_bins(found, layout)
            if own:
                self._learn_offset(receiver, dark)
            bins = dark.real
            values.append(np.asarray(bins - np.mean(bins)) * math.sqrt(bins.size / (bins.size - 1.0)))
            there += bins.size
        used = np.concatenate(values)[:needed]
        return float(np.sum(used**2)) / receiver.snu, needed

    # --- one shot -----------------------------------------------------------------------------------------------------

    def _sent(
        self, key: tuple[int, int, int, int], data: Complex, u: Complex, turned: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Outcomes (vectors, rows) and returned quadratures (vectors, rows, n_modes) of one shot, both in SNU^(1/2)."""
        for attempt in range(1, self._attempts + 1):
            before = self._rows_sent
            try:
                return self._once(data, u, turned)
            except ShotInvalid as error:
                incident = Incident(
                    *key, attempt, self._rows_sent - before, error.part, error.problem, attempt < self._attempts
                )
                self.incidents.append(incident)
                _log.warning("shot not used (attempt %d of %d): %s", attempt, self._attempts, error)
                if self._on_incident is not None:
                    self._on_incident(incident)
                if attempt == self._attempts:
                    raise self._diagnosed(error) from error
        raise AssertionError("every attempt returns or raises")

    def _once(
        self, data: Complex, u: Complex, turned: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        layout = self._server.frame.layout(*data.shape[:2])
        pattern = np.zeros((layout.total_rows, layout.n_modes), np.bool_)
        pattern[layout.data_rows] = turned
        there, back, late = self._played(data, u, pattern, layout, locked=True)
        return self._outcomes(there, layout, u, late), self._returned(back, layout, pattern, late)

    def _played(
        self, data: Complex, u: Complex, pattern: NDArray[np.bool_], layout: FrameLayout, *, locked: bool
    ) -> tuple[Recorded, Recorded, float]:
        """What client and server recorded of one shot, and how late the digitizers' trigger was, s."""
        server, client = self._server, self._client
        sent = layout.symbols(data, self._brightness.known)
        tail = self._delay(server) + layout.n_modes * layout.bin_time
        # Nothing moves but voltages yet: both parties load what is their own.
        middle = server.receiver.before_share() * (layout.duration + self._delay(server))
        late = server.transmitter.load(sent, layout, self._brightness, tail=tail, recorded=middle)
        server.receiver.load_pattern(pattern, layout, server.transmitter.sample_rate)
        client.interferometer.load(u, layout)
        if locked:
            server.receiver.hold()
            client.receiver.hold()
        for party in (server, client):
            party.receiver.arm(layout.duration + self._delay(party), late)
        client.interferometer.arm()
        server.receiver.arm_pattern()
        server.transmitter.arm()
        if locked:
            self._rows_sent += layout.images * layout.rows
        server.transmitter.start()
        records = []
        for party in (client, server):
            party.receiver.wait(layout.duration + self._delay(party))
            records.append(party.receiver.fetch())
        return records[0], records[1], late

    @staticmethod
    def _delay(party: ServerBench | ClientBench) -> float:
        return max(party.calibrations.value(f"{party.owner.value}.timing", "delay"), 0.0)

    def _outcomes(self, found: Recorded, layout: FrameLayout, u: Complex, late: float) -> NDArray[np.float64]:
        receiver, client = self._client.receiver, self._client
        fixed, reach = not client.interferometer.passes_preamble, _REACH_BINS * layout.bin_time
        if fixed:
            timing = receiver.timing(found, late)
        else:
            try:
                timing = receiver.find(found, layout, carry_only=True, reach=reach, trigger=late)
            except DspError as error:
                raise ShotInvalid(self._suspect(), f"no preamble arrived at {receiver.name} ({error})") from error
        offset, _ = self._offsets[receiver.owner.value]
        values = receiver.bins(found, timing, layout, offset, carry_only=True)
        if not np.all(np.isfinite(values[layout.data_rows])):
            raise ShotInvalid(receiver.digitizer.name, "its record ends before the shot does")
        own = client.interferometer.carry_phases(u)
        if own.any() and not np.iscomplexobj(values):
            raise InputError(
                "the carry has a phase that depends on the data, and one quadrature cannot be turned",
                source=receiver.name,
                expected="a role p: the tap's other meter",
            )
        if fixed:
            values = self._turned_by_pilots(values, layout, u[0])
        else:
            track = pilot_track(values, layout, offset=0.0)
            if np.iscomplexobj(values):
                # Both quadratures are there: the pilots say by which angle they are turned back.
                if track.lost(phase_tolerance=_PHASE_TOLERANCE)[layout.data_rows].any():
                    raise ShotInvalid(self._lock(receiver), "the phase of the client's pilots jumped")
                smooth = pilot_track(values, layout, offset=0.0, linewidth=0.0)
                values = values * np.exp(-1j * np.angle(smooth.at_rows()))
            elif track.lost(phase=0.0, phase_tolerance=_PHASE_TOLERANCE)[layout.data_rows].any():
                raise ShotInvalid(self._lock(receiver), "the client's pilots are not in phase")
        receiver.demand_lock()
        rows = values[layout.data_rows]
        return np.asarray(np.real(rows * np.exp(-1j * own)[:, None]) if own.any() else np.real(rows), np.float64)

    def _turned_by_pilots(self, values: NDArray[Any], layout: FrameLayout, u: Complex) -> Complex:
        """Carry of a chip, whose preamble and pilots have met the data's own vector, turned back by their phase.

        How bright they are depends on the vector: the phase of the path is learned from all shots of the session.
        """
        reference = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        reference[:, -1] = known_symbols(layout) @ np.conj(u)
        track = pilot_track(values, layout, reference=reference, offset=0.0, linewidth=0.0)
        own = np.exp(1j * float(self._client.interferometer.carry_phases(u[None])[0]))
        weight = float(np.sum(track.std**-2.0))
        seen = complex(track.amplitude[0]) * np.conj(own)
        if self._phasor:
            away = abs(float(np.angle(seen * np.conj(self._phasor))))
            if away > _PHASE_TOLERANCE + _SIGMAS / (abs(seen) * math.sqrt(weight)):
                raise ShotInvalid(self._lock(self._client.receiver), "the client's pilots are not in phase")
        self._phasor += weight * seen
        return np.asarray(values * np.exp(-1j * np.angle(self._phasor)))

    def _returned(
        self, found: Recorded, layout: FrameLayout, pattern: NDArray[np.bool_], late: float
    ) -> NDArray[np.float64]:
        receiver = self._server.receiver
        try:
            reach = _REACH_BINS * layout.bin_time
            timing: Timing = receiver.find(found, layout, carry_only=False, reach=reach, trigger=late)
            arrived = True
        except DspError as error:
            # What does not come back may have been kept: the tests must see it, and not a second chance.
            _log.warning("no preamble came back: %s", error)
            timing, arrived = receiver.timing(found, late), False
        offset, _ = self._offsets[receiver.owner.value]
        values = receiver.bins(found, timing, layout, offset)
        if not np.all(np.isfinite(values[layout.data_rows])):
            raise ShotInvalid(receiver.digitizer.name, "its record ends before the shot does")
        if arrived:
            track = pilot_track(values, layout, offset=0.0)
            if np.iscomplexobj(values):
                if track.lost(phase_tolerance=_PHASE_TOLERANCE)[layout.data_rows].any():
                    raise ShotInvalid(self._lock(receiver), "the phase of the server's pilots jumped")
                smooth = pilot_track(values, layout, offset=0.0, linewidth=0.0)
                values = values * np.exp(-1j * np.angle(smooth.at_rows()))[:, None]
            elif track.lost(phase=0.0, phase_tolerance=_PHASE_TOLERANCE)[layout.data_rows].any():
                raise ShotInvalid(self._lock(receiver), "the server's pilots are not in phase")
            receiver.demand_lock()
        if np.iscomplexobj(values):
            values = np.where(pattern, values.imag, values.real)
        return np.asarray(values[layout.data_rows], np.float64)

    # --- where things go wrong ----------------------------------------------------------------------------------------

    def _diagnosed(self, error: ShotInvalid) -> ShotInvalid:
        """What known light, without any row of weights, says of a shot that could not be used."""
        layout = self._server.frame.layout(1, 1)
        data = np.zeros((1, 1, layout.n_modes), np.complex128)
        u = np.zeros((1, layout.n_modes), np.complex128)
        u[0, -1] = 1.0
        none = np.zeros((layout.total_rows, layout.n_modes), np.bool_)
        try:
            there, back, late = self._played(data, u, none, layout, locked=False)
        except LabqdlError:
            return error
        reach = _REACH_BINS * layout.bin_time
        try:
            self._client.receiver.find(there, layout, carry_only=True, reach=reach, trigger=late)
        except DspError:
            problem = f"light that was sent does not arrive at {self._client.receiver.name} ({error})"
            return ShotInvalid(self._suspect(), problem)
        try:
            self._server.receiver.find(back, layout, carry_only=False, reach=reach, trigger=late)
        except DspError:
            return ShotInvalid(BACK, f"light that the client received does not come back ({error})")
        return error

    @staticmethod
    def _lock(receiver: HomodyneReceiver) -> str:
        return receiver.name if receiver.lock is None else receiver.lock.name

    def _suspect(self) -> str:
        """What keeps light from the client, as far as the parts on the way tell by themselves."""
        transmitter, gate = self._server.transmitter, self._client.receiver.gate
        with suppress(LabqdlError):
            if not transmitter.laser.emission:
                return transmitter.laser.name
        for one in (transmitter.gate, gate):
            with suppress(LabqdlError):
                if one is not None and not one.passing:
                    return one.instrument.name
        return FORWARD

    def _demand_nulling(self) -> None:
        if self._server.counting is not None:
            self._server.counting.demand_nulling()
        raise InputError(
            "rows are to be displaced and counted, and the station has no counting receiver",
            expected="counting_fraction = 0",
            hint="Homodyned rows alone certify as well; it takes more of them",
        )

    def _stop_dark(self) -> None:
        """Dark, whatever fails on the way: the guard behind the instruments tries again."""
        with suppress(LabqdlError):
            self.close()


def _noise_ratio(receiver: HomodyneReceiver, bins: NDArray[Any]) -> tuple[float, float]:
    """Variance of vacuum over the calibrated one, with the electronics' share in both, and its standard deviation."""
    numbers = bins.size * (2 if np.iscomplexobj(bins) else 1)
    noise = receiver.calibrations.result(f"{receiver.owner.value}.shot-noise").values.get("noise", 0.0)
    variance = float(np.var(bins)) * bins.size / numbers
    return variance / (receiver.snu * (1.0 + noise)), math.sqrt(2.0 / numbers)
