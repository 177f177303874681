"""When light that leaves with the trigger stands in a receiver's record, and how the clocks differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import DspError, Timing, drive, find_shot, known_symbols
from labqdl.facts import CalibrationResult, Owner
from labqdl.facts.layout import FrameLayout
from labqdl.subsystems.errors import ShotInvalid
from labqdl.subsystems.interferometer import CALIBRATION, MziInterferometer, TimeBinInterferometer, Way
from labqdl.subsystems.receiver import Recorded
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.routine import DAY, CalibrationFailed, Measured, Measuring, Routine, Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
_CLOCK_STD = 3.0
"""ppm that clocks of one reference are believed to differ by."""


def pass_all(bench: CalibrationBench) -> None:
    """Hold the interferometers so that all bins pass, by calibration or, where there is none yet, by data sheet."""
    interferometer = bench.client.interferometer
    if isinstance(interferometer, MziInterferometer):
        if all(name in bench.calibrations for name in CALIBRATION.values()):
            last = np.zeros((1, bench.frame.n_modes), np.complex128)
            last[0, -1] = 1.0
            interferometer.load(last, bench.layout(1))
        return
    if not isinstance(interferometer, TimeBinInterferometer):
        return
    for way in Way:
        interferometer.drive(way, passing(bench, way))


def passing(bench: CalibrationBench, way: Way) -> list[float]:
    """Voltages of the stages at which each bin passes."""
    interferometer = bench.client.interferometer
    assert isinstance(interferometer, TimeBinInterferometer)
    name = {Way.FORWARD: "client.interferometer", Way.INVERSE: "client.inverse"}[way]
    sheet = interferometer.sheets[way]
    result = bench.calibrations.get(name)
    volts = []
    for stage in range(interferometer.depth):
        v_pi, offset = float(sheet.get("v_pi_stage") or 1.0), 0.0
        if result is not None and f"v_pi_{stage}" in result.values:
            v_pi, offset = result.value(f"v_pi_{stage}"), result.value(f"offset_{stage}")
        peak = interferometer.players[way].peak[f"{way.value}-stage{stage}"]
        volts.append(min(v_pi * (1.0 - offset / (np.pi / 2)), peak))
    return volts


def light_shot(bench: CalibrationBench, layout: FrameLayout, symbols: Complex, **how: Any) -> dict[Owner, Recorded]:
    """A shot of relative amplitudes (total_rows, n_modes), 1 being full scale, with the calibrated modulator."""
    transmitter = bench.transmitter
    transmitter.set_working_point()
    i, q = transmitter.map.voltages(drive(symbols * transmitter.map.reach(), layout, transmitter.sample_rate))
    return bench.shot(i, q, **how)


class ShotTiming(Routine):
    """Where the first bin of a shot stands in a receiver's record.

    The light of the last bin of each row passes both interferometers unchanged; the preamble is found in the record
    by its correlation, to a fraction of a sample.

    Values: `delay` (s from the trigger of the record to the beginning of the first bin), `clock_ppm` (positive where
    the digitizer's clock is fast against the generator's), `attenuation_db` (of the attenuator, at which the light was
    bright enough), `amplitude` (V of a full-scale bin).
    """

    title = "delay from the trigger to the first bin, difference of the clocks"
    method = "correlation with the known preamble, last bin of each row"
    valid_for = 1 * DAY
    rows: ClassVar[tuple[int, int]] = (24, 200)
    attenuations: ClassVar[tuple[float, ...]] = (20.0, 10.0, 0.0)
    """Of the attenuator, dB, tried from dark to bright."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"{owner.value}.timing"  # type: ignore[misc]
        self.requires = ("server.modulator", f"{owner.value}.shot-noise")  # type: ignore[misc]
        self.prefers = (f"polarisation.{owner.value}",)  # type: ignore[misc]

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Send shots, brighter each time, until the preamble is found well."""
        layout = bench.layout(self.rows[not bench.quick])
        symbols = known_symbols(layout, carry_only=True)
        data = layout.data_rows.ravel()
        symbols[data, -1] = np.exp(0.5j * np.pi * np.arange(data.size))
        bench.light()
        pass_all(bench)
        bench.gates(out=True, client=True, server=self.owner is Owner.SERVER)
        why = ""
        try:
            for number, attenuation in enumerate(self.attenuations, start=1):
                yield Step(number, len(self.attenuations), f"attenuator at {attenuation:g} dB")
                bench.light(attenuation)
                try:
                    record = light_shot(bench, layout, symbols, record=(self.owner,), tail=30e-6)[self.owner]
                    timing = find_shot(record.volts, record.interval, symbols, layout, clock_std=_CLOCK_STD)
                except (DspError, ShotInvalid) as error:
                    why = str(error)
                    continue
                samples = layout.duty * layout.bin_time / record.interval
                if timing.snr(samples) > 10.0 or attenuation == self.attenuations[-1]:
                    return self.measured(record, timing, attenuation)
        finally:
            bench.gates(out=False, client=False, server=False)
        raise CalibrationFailed(f"no shot was found in the records of the {self.owner.value}: {why}")

    def measured(self, record: Recorded, timing: Timing, attenuation: float) -> Measured:
        """Values of a shot that was found."""
        found = Measured(raw={"volts": record.volts, "time": np.array([record.start, record.interval])})
        found.add("delay", timing.start + record.start, timing.start_std, "s")
        found.add("clock_ppm", timing.clock_ppm, timing.clock_std, "ppm")
        found.add("attenuation_db", attenuation, 0.0, "dB")
        found.add("amplitude", abs(timing.amplitude), 0.0, "V")
        found.conditions["quality"] = float(timing.quality)
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """The record around its beginning."""
        from labqdl_calibration.pictures import record_start

        return record_start(result, raw)
