"""The server's transmitter: laser, I/Q modulator with its generator and biases, attenuator and gate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import drive
from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.layout import FrameLayout
from labqdl.instruments import (
    Attenuator,
    Laser,
    LimitError,
    NotACapability,
    Output,
    PowerMeter,
    Trigger,
    VoltageSource,
    WaveformGenerator,
)
from labqdl.subsystems.gate import Gate
from labqdl.subsystems.modulator_map import ModulatorMap
from labqdl.subsystems.player import Player
from labqdl.subsystems.roles import Roles

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

MODULATOR = "server.modulator"
ATTENUATOR = "server.attenuator"
LIGHT = "server.light"
_HEADROOM = 1.02
"""Full scale over the largest bin where the attenuator is moved to make room."""


@dataclass(frozen=True, slots=True)
class Brightness:
    """How bright a full-scale bin is.

    Attributes
    ----------
    amplitude:
        Square root of its photons at the server's output.
    attenuation:
        Setting of the attenuator in dB; 0 without one.
    """

    amplitude: float
    attenuation: float
    known: float
    """Modulus that is reached at every phase, square roots of photons: that of preamble and pilots."""


class Transmitter:
    """Writes amplitudes onto light.

    A full-scale bin is what the I arm makes at the generator's peak voltage (`drive`), with the Q arm at 0 V; its
    photons at the server's output are what the calibration "server.light" says for its attenuation.
    """

    def __init__(self, roles: Roles, calibrations: CalibrationSet) -> None:
        self.name = roles.name
        self.calibrations = calibrations
        self.laser = roles.instrument("laser", Laser)
        self.player = Player(
            {"i": roles.channel("i", Output), "q": roles.channel("q", Output)},
            {"i": roles.setting("amplitude"), "q": roles.setting("amplitude")},
            roles.setting("sample_rate"),
        )
        if len(self.player.generators) != 1:
            raise roles.wrong("q", "stands in another generator than i", expected="two outputs of one generator")
        self.biases = {
            arm: source
            for arm in ("i", "q", "p")
            if (source := roles.optional(f"bias_{arm}", VoltageSource)) is not None
        }
        self.attenuator = roles.optional("attenuator", Attenuator)
        self.meter = roles.optional("meter", PowerMeter)
        self.gate = Gate.of(roles)
        self.marker = int(roles.setting("marker"))
        record = roles.setting("record_marker")
        self.record_marker = self.marker if record is None else int(record)
        self.modulator = roles.component("modulator")
        self.pad = roles.component("pad")

    # --- primitives, for calibrations too -----------------------------------------------------------------------------

    @property
    def generator(self) -> WaveformGenerator:
        """The generator of I and Q."""
        return self.player.generators[0]

    @property
    def sample_rate(self) -> float:
        """Samples a second of I and Q."""
        return self.player.sample_rate

    @property
    def drive(self) -> float:
        """Peak voltage of I and Q, V."""
        return self.player.peak["i"]

    def bright_time(self, layout: FrameLayout) -> float:
        """Seconds of steady light at full scale that have as many photons as one full-scale bin.

        A little less than the duty of a bin: samples that a pulse fills partly have a part of its amplitude.
        """
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        symbols[layout.data_rows[0, 0], 0] = 1.0
        return float(np.sum(np.abs(drive(symbols, layout, self.sample_rate)) ** 2)) / self.sample_rate

    def emit(self, on: bool) -> None:
        """Switch the laser's light on or off, and wait for it."""
        if self.laser.emission != on:
            self.laser.emission = on

    def bias(self, **volts: float) -> None:
        """Set bias voltages, V: ``bias(i=0.7, q=1.1, p=0.4)``; InputError for an arm without a source."""
        for arm, value in volts.items():
            if arm not in self.biases:
                raise InputError(
                    f"the {arm} arm has no bias source", source=self.name, expected=f"one of {', '.join(self.biases)}"
                )
            source = self.biases[arm]
            source.voltage = value
            source.output = True

    def attenuate(self, decibels: float) -> None:
        """Set the attenuator, in its own dB, and open its shutter."""
        if self.attenuator is None:
            raise InputError("there is no attenuator", source=self.name)
        self.attenuator.attenuation = decibels
        self.shutter(True)

    def shutter(self, is_open: bool) -> None:
        """Open or close the attenuator's shutter, where it has one."""
        if self.attenuator is None:
            return
        try:
            if self.attenuator.open_shutter != is_open:
                self.attenuator.open_shutter = is_open
        except NotACapability:
            return

    def play(self, i: Real, q: Real, rate: float | None = None, *, repeat: bool = True) -> None:
        """Put voltages on I and Q without any map; needs no calibration.

        Parameters
        ----------
        i, q:
            Volts at the outputs, (n,) each.
        rate:
            Samples a second; None: the subsystem's.
        repeat:
            Over and over, from now on. Else once, with the markers high, when `start` is called.
        """
        self.player.prepare(Trigger.FREE if repeat else Trigger.EXTERNAL, rate)
        # What goes on without end starts nobody: its marker would tell the time of every round.
        markers = None if repeat else self._markers(0.0, rate)
        volts = {"i": np.asarray(i, np.float64), "q": np.asarray(q, np.float64)}
        self.player.load(volts, markers, repeated=repeat)
        self.player.switch(True)
        self.player.arm()

    def start(self) -> None:
        """Start what is armed; the marker triggers everybody."""
        self.generator.trigger()

    def dark(self) -> None:
        """Block the gate, close the shutter, switch I and Q and the laser off."""
        if self.gate is not None and self.gate.instrument.is_open:
            self.gate.block()
        if self.attenuator is not None and self.attenuator.is_open:
            self.shutter(False)
        self.player.dark()
        if self.laser.is_open:
            self.emit(False)

    # --- calibrated ---------------------------------------------------------------------------------------------------

    @property
    def map(self) -> ModulatorMap:
        """The modulator's map; InputError where it was not calibrated."""
        found = self.calibrations.result(MODULATOR)
        return ModulatorMap(
            found.value("v_pi_i"),
            found.value("v_pi_q"),
            found.values.get("imbalance", 0.0),
            found.values.get("quadrature_error", 0.0),
            self.drive,
            found.values.get("leak", 0.0),
        )

    def set_working_point(self) -> None:
        """Biases of the calibration: both arms dark at a waveform of 0, 90 degrees between them.

        What the bias sources cannot resolve, `offset_i` and `offset_q` of the calibration add at the generator, V.
        """
        found = self.calibrations.result(MODULATOR)
        self.player.shift(i=found.values.get("offset_i", 0.0), q=found.values.get("offset_q", 0.0))
        self.bias(**{arm: found.value(f"bias_{arm}") for arm in self.biases})

    def brightness(self, largest: float = 0.0) -> Brightness:
        """The attenuation at which a modulus of `largest` (square roots of photons) fits, and its full scale.

        That of the calibration "server.light" unless it has no room for the largest bin; then less, by the
        attenuator's calibrated slope.

        Raises
        ------
        InputError
            Where the light cannot be made bright enough; says what to do.
        """
        light = self.calibrations.result(LIGHT)
        full = math.sqrt(light.value("full_scale_photons"))
        attenuation = light.values.get("attenuation_db", 0.0)
        reach = full * self.map.reach()
        if largest <= reach:
            return Brightness(full, attenuation, reach)
        if self.attenuator is None:
            raise self._too_bright(largest, reach, "there is no attenuator to open further")
        slope = 1.0
        if ATTENUATOR in self.calibrations:
            slope = self.calibrations.result(ATTENUATOR).values.get("slope", 1.0)
        more = 20 * math.log10(largest * _HEADROOM / reach)
        wanted = attenuation - more / slope
        try:
            type(self.attenuator).attenuation.checked(self.attenuator, wanted)
        except LimitError as error:
            raise self._too_bright(largest, reach, f"the attenuator would have to stand at {wanted:.2f} dB") from error
        return Brightness(full * 10 ** (more / 20), wanted, reach * 10 ** (more / 20))

    def _too_bright(self, largest: float, reach: float, why: str) -> InputError:
        return InputError(
            f"a bin of {largest:.4g} square roots of photons is brighter than full scale, {reach:.4g}, and {why}",
            source=self.name,
            hint="Lower mu, clip the largest weights when training, or take a fixed attenuator out",
        )

    def voltages(self, symbols: Complex, layout: FrameLayout, brightness: Brightness) -> tuple[Real, Real]:
        """Voltages of I and Q for the amplitudes of a shot.

        Parameters
        ----------
        symbols:
            Square roots of photons at the server's output, (total_rows, n_modes).
        layout:
            Rows of the shot.
        brightness:
            From `brightness`.

        Raises
        ------
        InputError
            For a bin that does not fit: names mu, crest factor and what to do.
        """
        relative = symbols / brightness.amplitude
        data = relative[layout.data_rows.ravel()]
        largest = float(np.max(np.abs(data), initial=0.0))
        reach = self.map.reach()
        if largest > reach * (1 + 1e-9):
            mu = float(np.mean(np.square(np.abs(data)))) * brightness.amplitude**2
            crest = math.sqrt(2) * largest * brightness.amplitude / math.sqrt(2 * mu)
            raise InputError(
                f"rows with mu = {mu:.4g} photons a mode and a crest factor of {crest:.3g} need {largest:.3g} times "
                f"full scale, which is {brightness.amplitude**2:.4g} photons at {brightness.attenuation:g} dB",
                source=self.name,
                expected=f"at most {reach:.3g} times full scale",
                hint=f"Attenuate {20 * math.log10(largest / reach) + 0.1:.1f} dB less, lower mu, or clip the largest "
                "weights when training",
            )
        return self.map.voltages(drive(relative, layout, self.sample_rate))

    def prepare(self, brightness: Brightness) -> None:
        """Light on, biases and attenuator as calibrated, outputs on at 0 V; the gate stays as it is."""
        self.emit(True)
        self.set_working_point()
        if self.attenuator is not None:
            self.attenuate(brightness.attenuation)
        self.player.ready()

    @property
    def records_within(self) -> bool:
        """Whether the digitizers' trigger may come within a shot, and need not be its beginning."""
        return self.record_marker != self.marker

    def _markers(self, recorded: float, rate: float | None) -> dict[str, dict[int, int]]:
        first = round(recorded * (self.sample_rate if rate is None else rate))
        return {"i": {self.record_marker: first, self.marker: 0}}

    def load(
        self,
        symbols: Complex,
        layout: FrameLayout,
        brightness: Brightness,
        *,
        tail: float = 0.0,
        recorded: float = 0.0,
    ) -> float:
        """Upload a shot; `prepare` first.

        Parameters
        ----------
        tail:
            Seconds for which the markers stay high after the light.
        recorded:
            Seconds after the beginning at which the digitizers' trigger should come, where it has a marker of its own.

        Returns
        -------
        Seconds after the beginning at which it comes.
        """
        i, q = self.voltages(symbols, layout, brightness)
        more = np.zeros(math.ceil(tail * self.sample_rate))
        self.player.ready()
        late = recorded if self.records_within else 0.0
        markers = self._markers(late, None)
        self.player.load({"i": np.concatenate([i, more]), "q": np.concatenate([q, more])}, markers)
        return markers["i"][self.record_marker] / self.sample_rate

    def arm(self) -> None:
        """Outputs on, and wait for `start`."""
        self.player.switch(True)
        self.player.arm()
