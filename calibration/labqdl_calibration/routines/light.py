"""How bright a full-scale bin is at the server's output: attenuator, loss behind the bright side, photons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import drive, integrate
from labqdl.facts import CalibrationResult, Estimate, Owner
from labqdl.units import photon_energy
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Real
from labqdl_calibration.routine import DAY, HOUR, CalibrationFailed, Measured, Measuring, OperatorStep, Routine, Step
from labqdl_calibration.routines.interferometer import attenuation_for, timing_of, wide_range
from labqdl_calibration.routines.power import TAP_TOLERANCE, meter_of, read_power, tap_ratio
from labqdl_calibration.routines.timing import light_shot, pass_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FULL_SCALE = 1000.0
"""Photons of a full-scale bin that the attenuator is set to, as nearly as it can."""
METER_ACCURACY = 0.03
"""Relative accuracy of a power meter's absolute reading: one standard deviation of the data sheet's."""
_PAD = (40.0, 0.1)
"""Loss of a fixed pad in dB and its standard deviation, where no data sheet says another."""
_INSERTION: Mapping[str, tuple[float, float]] = {"attenuator": (1.0, 0.2), "gate": (0.7, 0.2)}
"""Typical insertion losses of data sheets in dB and their standard deviations."""


class AttenuatorMap(Routine):
    """The attenuator's own decibels against those that the light loses, up and down again.

    The client's receiver is linear over many decades: its amplitude of full-scale pulses is the measure.

    Values: `offset_db` (reading at 0, arbitrary zero), `slope` (dB of light per dB of the setting), `hysteresis_db`
    (what coming from below and from above differ by).
    """

    name = "server.attenuator"
    owner = Owner.SERVER
    title = "attenuator: slope and hysteresis"
    method = "amplitude of full-scale pulses at the client against the setting, up and down"
    requires = ("client.timing",)
    valid_for = 7 * DAY
    settings: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (0.0, 8.0, 16.0, 8.0, 0.0),
        (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 20.0, 16.0, 12.0, 8.0, 4.0, 0.0),
    )
    rows: ClassVar[int] = 96

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is an attenuator."""
        return bench.transmitter.attenuator is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot a setting."""
        settings = self.settings[not bench.quick]
        least = attenuation_for(bench, Owner.CLIENT, 0.35 * bench.client.receiver.x.range * 2)
        amplitudes, deviations = [], []
        pass_all(bench)
        bench.gates(out=True, client=True, server=False)
        try:
            with wide_range(bench.client.receiver):
                for number, setting in enumerate(settings, start=1):
                    yield Step(number, len(settings), f"{least + setting:g} dB")
                    bench.light(least + setting)
                    level = client_level(bench, self.rows)
                    amplitudes.append(level.value)
                    deviations.append(level.deviation)
        finally:
            bench.gates(out=False, client=False)
        return self.measured(np.array(settings) + least, np.array(amplitudes), np.array(deviations))

    def measured(self, settings: Real, amplitudes: Real, deviations: Real) -> Measured:
        """Values of amplitudes (n,) at settings in dB, in order."""
        reading = -20 * np.log10(amplitudes)
        error = 20 / math.log(10) * deviations / amplitudes
        fit = fits.hysteresis(settings, reading, error).widened()
        found = Measured(raw={"settings": settings, "loss_db": reading, "deviation_db": error})
        found.add_fit(fit, {"offset": ("offset_db", "dB"), "slope": ("slope", ""), "width": ("hysteresis_db", "dB")})
        found.raw["fitted"] = fit.fitted
        found.check(abs(fit["slope"] - 1) < 0.1, f"the attenuator's slope is {fit['slope']:.3f}")
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Loss against setting."""
        from labqdl_calibration.pictures import data_and_model

        misses = (raw["loss_db"] - raw["fitted"]) / raw["deviation_db"]
        return data_and_model(
            raw["settings"], raw["loss_db"], raw["fitted"], misses, x="setting (dB)", y="loss of the light (dB)"
        )


def client_level(bench: CalibrationBench, rows: int) -> Estimate:
    """Amplitude in V of integrated full-scale last bins at the client, and its deviation, from one shot."""
    layout = bench.layout(rows, preamble=1, guard=2)
    symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
    places = layout.data_rows.ravel()
    # In turn 1 and -1: what the electronics add to all bins falls out.
    signs = np.where(np.arange(places.size) % 2, -1.0, 1.0)
    symbols[places, -1] = signs
    record = light_shot(bench, layout, symbols, record=(Owner.CLIENT,))[Owner.CLIENT]
    values = integrate(record.volts, timing_of(bench, Owner.CLIENT, record), layout, carry_only=True)[places] * signs
    mean = np.mean(values)
    if not np.iscomplexobj(values):
        return Estimate(abs(float(mean)), float(np.std(values)) / math.sqrt(values.size), "V")
    along = values * np.exp(-1j * np.angle(mean))
    return Estimate(abs(complex(mean)), float(np.std(along.real)) / math.sqrt(values.size), "V")


class OutputLoss(Routine):
    """Loss from the bright side to the server's output, with a meter carried from one end to the other.

    Values: `loss_db` (from what the server's meter shows to what leaves the output at 0 dB of the attenuator: tap's
    ratio, pad, insertion losses and the difference of both meters in one), `meter_ratio` is not separated from it.
    """

    name = "server.output"
    owner = Owner.SERVER
    title = "loss from the server's meter to its output"
    method = "the client's meter at the server's output, full transmission of the modulator"
    requires = ("server.modulator", "server.meters", "client.meters")
    valid_for = 30 * DAY
    serves = ("commission",)
    by_hand = True

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there are both meters and a gate at the output."""
        ends = _output_end(bench)
        return ends is not None and all(meter_of(bench, one) is not None for one in (Owner.SERVER, Owner.CLIENT))

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Carry the meter, read, carry it back."""
        ends = _output_end(bench)
        mine, other = meter_of(bench, Owner.SERVER), meter_of(bench, Owner.CLIENT)
        assert ends is not None
        assert mine is not None
        assert other is not None
        plug, socket = ends
        back = _source_of(bench, other.name)
        yield OperatorStep(
            f"Unplug the fibre at {socket} and plug what leaves {plug} into {other.name}", plug, f"{other.name}.input"
        )
        try:
            yield Step(1, 1, "power at the output")
            bench.light(0.0)
            full_transmission(bench)
            bench.gates(out=True)
            count = 10 if bench.quick else 50
            bright, here = read_power(mine, count)
            out, there = read_power(other, count)
        finally:
            bench.gates(out=False)
            bench.transmitter.player.dark()
        yield OperatorStep(f"Plug what leaves {plug} into {socket} again", plug, socket)
        if back:
            yield OperatorStep(f"Plug what leaves {back} into {other.name} again", back, f"{other.name}.input")
        zeros = bench.calibrations
        here_net = here.value - zeros.value("server.meters", "meter_zero")
        there_net = there.value - zeros.value("client.meters", "meter_zero")
        found = Measured(raw={"bright": bright, "output": out})
        if not (here_net > 0 and there_net > 0):
            raise CalibrationFailed("a meter sees no light")
        relative = math.hypot(here.deviation / here_net, there.deviation / there_net)
        error = 10 / math.log(10) * math.hypot(relative, math.sqrt(2) * METER_ACCURACY)
        found.add("loss_db", 10 * math.log10(here_net / there_net), error, "dB")
        return found


def full_transmission(bench: CalibrationBench) -> None:
    """Biases at which all light passes the modulator, without any drive."""
    result = bench.calibrations.result("server.modulator")
    volts = {}
    for arm, angle in (("i", math.pi / 2), ("q", math.pi / 2), ("p", 0.0)):
        v_pi = result.value(f"v_pi_bias_{arm}")
        source = bench.transmitter.biases[arm]
        limits = type(source).voltage.limits_of(source)
        low, high = max(one.low for one in limits), min(one.high for one in limits)
        wanted = (angle - result.value(f"phase_{arm}")) * v_pi / math.pi
        period = 2 * v_pi
        candidates = [wanted + period * turn for turn in range(-4, 5) if low <= wanted + period * turn <= high]
        if not candidates:
            # Half a turn away: both children there is the same light again.
            candidates = [min(max(wanted, low), high)]
        volts[arm] = min(candidates, key=lambda one: abs(one - (low + high) / 2))
    bench.transmitter.bias(**volts)


def _output_end(bench: CalibrationBench) -> tuple[str, str] | None:
    """(output, input) ends of the fibre that leaves the server's gate."""
    gate = bench.transmitter.gate
    if gate is None:
        return None
    for wire in bench.file.wiring:
        if wire.kind == "light" and wire.source[0] == gate.instrument.name:
            return _end(wire.source), _end(wire.target)
    return None


def _source_of(bench: CalibrationBench, name: str) -> str:
    for wire in bench.file.wiring:
        if wire.kind == "light" and wire.target[0] == name:
            return _end(wire.source)
    return ""


def _end(place: tuple[str, str]) -> str:
    return ".".join(part for part in place if part)


class Light(Routine):
    """Photons of a full-scale bin at the server's output, from the power on the bright side.

    The modulator is at its working point and the I arm at the generator's peak; the power on the bright side, less what
    is left with no drive, times the time that a bin is on, over the photon's energy, times the loss to the output.
    Then a frame of random symbols is played over and over: its mean power must be what the map of the modulator says.

    Values: `full_scale_photons` at `attenuation_db`, `bright_power` (W on the bright side), `output_loss_db` (at 0 dB),
    `carrier` (power left without drive, share of full scale), `frame_ratio` (mean power of the random frame over what
    was expected).
    """

    name = "server.light"
    owner = Owner.SERVER
    title = "photons of a full-scale bin at the server's output"
    method = "power on the bright side, known losses behind it"
    requires = ("server.modulator", "server.attenuator", "server.meters")
    prefers = ("server.output",)
    valid_for = 2 * HOUR

    def applies(self, bench: CalibrationBench) -> bool:
        """Where the bright side has a meter."""
        return bench.transmitter.meter is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Steady light at full scale, and a random frame."""
        transmitter = bench.transmitter
        meter = transmitter.meter
        assert meter is not None
        count = 8 if bench.quick else 40
        bench.light()
        bench.gates(out=False)
        transmitter.set_working_point()
        zeros = np.zeros(max(transmitter.generator.memory.shortest, 4800))
        yield Step(1, 3, "no drive")
        transmitter.play(zeros, zeros)
        dark, left = read_power(meter, count)
        yield Step(2, 3, "full scale")
        transmitter.play(np.full(zeros.size, transmitter.drive), zeros)
        bright, full = read_power(meter, count)
        yield Step(3, 3, "a random frame")
        layout = bench.layout(8, preamble=1, guard=1)
        random = np.random.default_rng(20)  # the same test frame every time; nobody must not know it
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        rows = layout.data_rows.ravel()
        drawn = random.standard_normal((2, rows.size, layout.n_modes))
        symbols[rows] = np.clip(drawn[0], -2, 2) + 1j * np.clip(drawn[1], -2, 2)
        relative = drive(symbols / np.max(np.abs(symbols)) * transmitter.map.reach(), layout, transmitter.sample_rate)
        transmitter.play(*transmitter.map.voltages(relative))
        frame, mean = read_power(meter, 4 * count)
        transmitter.player.dark()
        found = Measured(raw={"dark": dark, "bright": bright, "frame": frame})
        known = bench.calibrations
        zero = known.estimate("server.meters", "meter_zero")
        power = full.value - zero.value
        if not power > 10 * full.deviation:
            raise CalibrationFailed(f"{meter.name} sees hardly any light at full scale: {power:.3g} W")
        loss = self.loss(bench, found)
        attenuator = known.get("server.attenuator")
        slope = Estimate(1.0, 0.0) if attenuator is None else attenuator.estimate("slope")
        seconds = transmitter.bright_time(layout)
        energy = photon_energy(transmitter.laser.wavelength)
        bare = power * seconds / energy * 10 ** (-loss.value / 10)
        attenuation = 0.0
        if transmitter.attenuator is not None:
            attenuation = round(max(0.0, 10 * math.log10(bare / FULL_SCALE) / slope.value), 1)
        photons = bare * 10 ** (-slope.value * attenuation / 10)
        decibel = math.log(10) / 10
        relative_error = math.sqrt(
            (full.deviation**2 + zero.deviation**2) / power**2
            + (decibel * loss.deviation) ** 2
            + (decibel * slope.deviation * attenuation) ** 2
        )
        found.add("full_scale_photons", photons, relative_error * photons, "photons")
        found.add("attenuation_db", attenuation, 0.0, "dB")
        found.add("bright_power", power, math.hypot(full.deviation, zero.deviation), "W")
        found.add("output_loss_db", loss)
        found.add("carrier", (left.value - zero.value) / power, left.deviation / power)
        expected = float(np.mean(np.square(np.abs(relative))))
        ratio, error = (mean.value - zero.value) / power / expected, mean.deviation / power / expected
        found.add("frame_ratio", ratio, error)
        found.check(
            abs(ratio - 1) < 0.03 + 5 * error,
            f"a random frame has {ratio:.3f} times the power that the modulator's map says",
        )
        found.check((left.value - zero.value) / power < 0.02, "without drive more than 2 % of full scale is left")
        return found

    def loss(self, bench: CalibrationBench, found: Measured) -> Estimate:
        """Loss from what the meter shows to the output at 0 dB, as measured or by data sheets."""
        known = bench.calibrations
        if "server.output" in known and known["server.output"].good:
            return known.estimate("server.output", "loss_db")
        meter = bench.transmitter.meter
        assert meter is not None
        ratio = tap_ratio(bench, meter.name) or 0.5
        value, variance = 10 * math.log10(ratio / (1 - ratio)), (10 / math.log(10) * TAP_TOLERANCE) ** 2
        if bench.transmitter.pad:
            value += float(bench.transmitter.pad.get("loss_db") or bench.transmitter.pad.get("loss") or _PAD[0])
            variance += _PAD[1] ** 2
        for part in ("attenuator", "gate"):
            if getattr(bench.transmitter, part) is not None:
                value += _INSERTION[part][0]
                variance += _INSERTION[part][1] ** 2
        variance += (10 / math.log(10) * METER_ACCURACY) ** 2
        found.remarks.append("losses behind the meter are those of data sheets: server.output measures them")
        return Estimate(value, math.sqrt(variance), "dB")
