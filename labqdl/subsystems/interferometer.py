"""The client's interferometer: unit vectors become angles, angles become voltages of forward and inverse.

Three builds behind one interface: a time-bin tree whose couplers are driven by waveforms, so that every image of a
shot has its own angles; a chip of Mach-Zehnder interferometers with heaters, which hold one vector for a whole shot;
and none, for one mode, whose phase the local oscillator takes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationResult, CalibrationSet
from labqdl.facts.layout import FrameLayout
from labqdl.instruments import Output, PhaseShifterArray, Trigger
from labqdl.optics.interferometer import GivensChain, TimeBinTree, integrated_settings, reversed_settings
from labqdl.subsystems.player import Player, held
from labqdl.subsystems.roles import Roles

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Way(StrEnum):
    """Which of the two interferometers."""

    FORWARD = "forward"
    INVERSE = "inverse"


CALIBRATION: Mapping[Way, str] = {Way.FORWARD: "client.interferometer", Way.INVERSE: "client.inverse"}


class Interferometer(ABC):
    """Steers the mode b = u^dagger a of each row into the row's last bin, and undoes that on the way back."""

    images_per_shot: int | None = None
    """Vectors that one shot may have; None for any number."""
    passes_preamble = True
    """Whether the last bin of preamble and pilot rows passes unchanged whatever the data are; else the data's vector
    acts on them too, and the carry comes with the phase of `carry_phases`."""

    def __init__(self, name: str, n_modes: int, calibrations: CalibrationSet) -> None:
        self.name, self.n_modes, self.calibrations = name, n_modes, calibrations

    @abstractmethod
    def prepare(self) -> None:
        """Make ready for the first shot; nothing moves yet."""

    @abstractmethod
    def load(self, u: Complex, layout: FrameLayout) -> None:
        """Set forward and inverse to the vectors of a shot.

        Parameters
        ----------
        u:
            Unit vectors, (images, n_modes); preamble, pilot and guard rows pass the last bin where the build can.
        layout:
            Rows of the shot.

        Raises
        ------
        InputError
            For angles that the voltages do not reach: names the element and its calibration.
        """

    @abstractmethod
    def arm(self) -> None:
        """Wait for the marker, where waveforms have to be started."""

    @abstractmethod
    def dark(self) -> None:
        """Take all voltages away."""

    def carry_phases(self, u: Complex) -> Real:
        """Phase by which the carry is ahead of u^dagger a, for each vector, rad; the receiver has to take it off."""
        return np.zeros(len(u))


class NoInterferometer(Interferometer):
    """One mode: u is a phase, which the receiver takes off; there is nothing to set."""

    def prepare(self) -> None:
        """Nothing to do."""

    def load(self, u: Complex, layout: FrameLayout) -> None:
        """Nothing to do."""

    def carry_phases(self, u: Complex) -> Real:
        """The phases of the vectors themselves: a = e^{i arg u} u^* a."""
        return np.angle(u[:, 0])

    def arm(self) -> None:
        """Nothing to do."""

    def dark(self) -> None:
        """Nothing to do."""


class TimeBinInterferometer(Interferometer):
    """A time-bin tree and its inverse, each with a coupler voltage a stage and one phase modulator.

    Stage s meets pairs of bins that are 2^s apart; the later bin's voltage counts and is held through the whole pair,
    so that only the phase modulator needs its voltage within one bin. With the calibrated v_pi_s (volts for a quarter
    turn) and offset_s, V = v_pi_s (theta - offset_s) / (pi/2); phase V = v_pi_phase arg u / pi.
    """

    def __init__(self, roles: Roles, n_modes: int, calibrations: CalibrationSet) -> None:
        super().__init__(roles.name, n_modes, calibrations)
        self.depth = max(n_modes - 1, 0).bit_length()
        self.players: dict[Way, Player] = {}
        self.sheets: dict[Way, Mapping[str, Any]] = {}
        for way, prefix in ((Way.FORWARD, ""), (Way.INVERSE, "inverse_")):
            stages = roles.channels(f"{prefix}stages", Output)
            if len(stages) != self.depth:
                expected = f"{self.depth} outputs for rows of {n_modes} bins"
                raise roles.wrong(f"{prefix}stages", f"names {len(stages)} outputs", expected=expected)
            outputs = {f"{way}-stage{stage}": output for stage, output in enumerate(stages)}
            amplitudes = dict.fromkeys(outputs, float(roles.setting("amplitude")))
            outputs[f"{way}-phase"] = roles.channel(f"{prefix}phase", Output)
            amplitudes[f"{way}-phase"] = float(roles.setting("phase_amplitude"))
            self.players[way] = Player(outputs, amplitudes, roles.setting("sample_rate"))
            self.sheets[way] = roles.component(way.value)

    # --- primitives, for calibrations too -----------------------------------------------------------------------------

    def drive(self, way: Way | str, stages: Sequence[float], phase: float = 0.0) -> None:
        """Hold constant voltages from now on; needs no calibration.

        Parameters
        ----------
        way:
            Forward or inverse.
        stages, phase:
            Volts of each stage, and of the phase modulator.
        """
        player, volts = self.players[Way(way)], [*stages, phase]
        if len(volts) != len(player.outputs):
            raise ValueError(f"{self.depth} stages, got {len(stages)} voltages")
        count = player.generators[0].memory.shortest + 16
        player.prepare(Trigger.FREE)
        held = {name: np.full(count, value) for name, value in zip(player.outputs, volts, strict=True)}
        player.load(held, repeated=True)
        player.switch(True)
        player.arm()

    def play(self, way: Way | str, stages: Sequence[Real], phase: Real) -> None:
        """Waveforms in volts that start with the marker after `arm`; needs no calibration."""
        player = self.players[Way(way)]
        player.ready()
        player.load(dict(zip(player.outputs, [*stages, phase], strict=True)))
        player.switch(True)

    # --- calibrated ---------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Rates, amplitudes and triggers of all generators."""
        for player in self.players.values():
            player.ready()

    def bin_voltages(self, u: Complex, way: Way | str) -> dict[str, Real]:
        """Voltages of each output through the bins of a row, for each vector; (vectors, n_modes) each."""
        result = self.calibrations.result(CALIBRATION[Way(way)])
        tree = TimeBinTree.from_direction(u)
        volts: dict[str, Real] = {}
        for stage in range(self.depth):
            _, late = tree.couplers(stage)
            # Couplers are counted from the row's end: a bin has the voltage of the first meeting at or behind it.
            coupler = (self.n_modes - 1 - np.arange(self.n_modes)) // (2 << stage)
            coupler = np.minimum(coupler, late.size - 1)
            angle = tree.angles[stage][:, coupler] - result.values.get(f"offset_{stage}", 0.0)
            # A whole turn changes nothing: take the one with the smaller voltage.
            angle -= 2 * math.pi * np.round(angle / (2 * math.pi))
            volts[f"{way}-stage{stage}"] = result.value(f"v_pi_{stage}") * angle / (math.pi / 2)
        sign = result.values.get("phase_sign", 1.0)
        volts[f"{way}-phase"] = sign * result.value("v_pi_phase") * tree.phases / math.pi
        return volts

    def waveforms(self, u: Complex, layout: FrameLayout, way: Way | str) -> dict[str, Real]:
        """Waveforms of a whole shot in volts, by output; angles are constant through the rows of an image."""
        if u.shape != (layout.images, layout.n_modes) or layout.n_modes != self.n_modes:
            raise ValueError(f"vectors have shape {u.shape}, expected {(layout.images, self.n_modes)}")
        skew = self.calibrations.result(CALIBRATION[Way(way)]).values.get("skew", 0.0)
        last = np.zeros((1, self.n_modes), np.complex128)
        last[0, -1] = 1.0
        volts = self.bin_voltages(np.concatenate([u.astype(np.complex128), last]), way)
        which = np.full(layout.total_rows, layout.images)
        which[layout.data_rows] = np.arange(layout.images)[:, None]
        rate = self.players[Way(way)].sample_rate
        return {name: held(bins[which], layout, rate, skew) for name, bins in volts.items()}

    def load(self, u: Complex, layout: FrameLayout) -> None:
        """Upload the waveforms of both interferometers."""
        for way, player in self.players.items():
            player.ready()
            try:
                player.load(self.waveforms(u, layout, way))
            except InputError as error:
                raise InputError(
                    error.problem,
                    source=error.source,
                    key=error.key,
                    expected=error.expected,
                    hint=f"A larger amplitude in [subsystems.{self.name}], or measure {CALIBRATION[way]} again",
                ) from error

    def arm(self) -> None:
        """Outputs on, and wait for the marker."""
        for player in self.players.values():
            player.switch(True)
            player.arm()

    def dark(self) -> None:
        """Outputs off."""
        for player in self.players.values():
            player.dark()


class MziInterferometer(Interferometer):
    """A chain of integrated Mach-Zehnder interferometers and its inverse, set by heaters on one or two arrays.

    Heater k of a bank has the phase offset + slope (V_k^2 + crosstalk sum_j V_j^2 / |k - j|^2) over the others of its
    bank; keys theta_slope_k, theta_offset_k, phi_slope_k, phi_offset_k and crosstalk, of the inverse ret_slope_k and
    ret_offset_k as well. Heaters hold one vector at a time, through preamble and pilots too.
    """

    images_per_shot = 1
    passes_preamble = False

    def __init__(self, roles: Roles, n_modes: int, calibrations: CalibrationSet) -> None:
        super().__init__(roles.name, n_modes, calibrations)
        self._settle = float(roles.setting("settle"))
        self.sheets = {way: roles.component(way.value) for way in Way}
        self._arrays: dict[str, PhaseShifterArray] = {}
        self.banks: dict[Way, dict[str, tuple[tuple[str, int], ...]]] = {}
        for way, prefix in ((Way.FORWARD, ""), (Way.INVERSE, "inverse_")):
            banks = {"theta": n_modes - 1, "phi": n_modes - 1}
            if way is Way.INVERSE:
                banks["ret"] = n_modes
            self.banks[way] = {}
            for bank, count in banks.items():
                role = f"{prefix}{bank}"
                places = []
                for filling in roles.fillings(role):
                    array = roles.array(role, filling)
                    self._arrays[filling.name] = array
                    places.append((filling.name, int(filling.channel or 0)))
                if len(places) != count:
                    expected = f"{count} outputs for {n_modes} modes"
                    raise roles.wrong(role, f"names {len(places)} outputs", expected=expected)
                self.banks[way][bank] = tuple(places)
        self._volts: dict[str, Real] = {}

    def drive(self, way: Way | str, **banks: Real) -> None:
        """Set the voltages of banks, `drive("forward", theta=..., phi=...)`; the others stay. Needs no calibration."""
        for bank, volts in banks.items():
            if len(self.banks[Way(way)][bank]) != len(volts):
                raise ValueError(
                    f"bank {bank} has {len(self.banks[Way(way)][bank])} heaters, got {len(volts)} voltages"
                )
            self._set(Way(way), bank, volts)
        self._write()

    def prepare(self) -> None:
        """All heaters as they are."""

    def bank_voltages(self, u: Complex, way: Way | str, result: CalibrationResult | None = None) -> dict[str, Real]:
        """Voltages of each bank for one unit vector, (n_modes,); by `result` instead of what is calibrated."""
        way = Way(way)
        result = self.calibrations.result(CALIBRATION[way]) if result is None else result
        chain = integrated_settings(GivensChain.from_direction(u))
        phases = {"theta": chain.internal, "phi": chain.external}
        if way is Way.INVERSE:
            back = reversed_settings(chain)
            phases |= {"phi": back.external, "ret": back.returning}
        return {bank: _heater_volts(result, bank, phases[bank]) for bank in self.banks[way]}

    def load(self, u: Complex, layout: FrameLayout) -> None:
        """Set the heaters and let them settle."""
        if u.shape != (1, self.n_modes):
            raise ValueError(f"heaters hold one vector of {self.n_modes} modes, got {u.shape}")
        for way in Way:
            for bank, volts in self.bank_voltages(u[0], way).items():
                self._set(way, bank, volts)
        self._write()

    def carry_phases(self, u: Complex) -> Real:
        """Lambda of the chain, which no heater takes off."""
        return np.asarray(integrated_settings(GivensChain.from_direction(u)).carry_phase)

    def arm(self) -> None:
        """Nothing has to be started."""

    def dark(self) -> None:
        """All heaters to 0 V."""
        for array in self._arrays.values():
            if array.is_open:
                array.safe_state()
        self._volts = {}

    def _set(self, way: Way, bank: str, volts: Real) -> None:
        for (name, number), value in zip(self.banks[way][bank], volts, strict=True):
            numbers = list(self._arrays[name].channels())
            if number not in numbers:
                raise InputError(
                    f"{name} has no output {number}",
                    source=self.name,
                    expected=f"{numbers[0]} to {numbers[-1]}" if numbers else "an open instrument",
                )
            if name not in self._volts:
                self._volts[name] = np.zeros(len(numbers))
            self._volts[name][numbers.index(number)] = value

    def _write(self) -> None:
        for name, volts in self._volts.items():
            self._arrays[name].set_voltages(volts)
        if self._volts:
            next(iter(self._arrays.values())).clock.sleep(self._settle)


def _heater_volts(result: CalibrationResult, bank: str, phases: Real) -> Real:
    """Voltages of a bank of heaters for phases modulo a turn."""
    slope = np.array([result.value(f"{bank}_slope_{k}") for k in range(phases.size)])
    offset = np.array([result.values.get(f"{bank}_offset_{k}", 0.0) for k in range(phases.size)])
    places = np.arange(phases.size)
    spread = result.values.get("crosstalk", 0.0) / np.maximum(np.abs(places[:, None] - places), 1) ** 2.0
    np.fill_diagonal(spread, 1.0)
    heat = np.linalg.solve(spread, np.mod(phases - offset, 2 * math.pi) / slope)
    # A heater only heats: where its neighbours have given it too much already, it goes round once more.
    for _ in range(2 * phases.size):
        cold = heat < 0
        if not cold.any():
            break
        heat += np.linalg.solve(spread, np.where(cold, 2 * math.pi / slope, 0.0))
    return np.sqrt(np.maximum(heat, 0.0))
