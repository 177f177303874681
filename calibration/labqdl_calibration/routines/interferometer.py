"""Couplers and phase modulator of the time-bin trees, and the phase modulator of the server's local oscillator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import Timing, integrate
from labqdl.errors import LabqdlError
from labqdl.facts import CalibrationResult, Owner
from labqdl.facts.layout import FrameLayout
from labqdl.subsystems.interferometer import TimeBinInterferometer, Way
from labqdl.subsystems.receiver import HomodyneReceiver, Recorded
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Fit, Real, least_squares, propagated, scaled
from labqdl_calibration.routine import DAY, CalibrationFailed, Measured, Measuring, Routine, Step
from labqdl_calibration.routines.timing import light_shot, pass_all, passing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Complex = NDArray[np.complex128]
_KNOT = 1.3e-6
"""Seconds between the knots of a wandering test voltage; no multiple of a row."""
_SLOW_KNOT = 7.3e-6
"""The same where all bins have light: slow enough that what a bin leaves in the next one has nearly its phase."""
_WIDER = 4.0
"""By how much the digitizer's range is widened for bright light."""
_OTHERWISE = 0.004
"""What light reaches the last bin otherwise, relative, beside what the forward tree was seen to miss."""
_PEAK_SHARE = 0.35
"""Share of half the range that bright light may take."""


# --- shared by these routines -----------------------------------------------------------------------------------------


@contextmanager
def wide_range(receiver: HomodyneReceiver, factor: float = _WIDER) -> Iterator[float]:
    """A digitizer's range that is wider for a while; gives half of it in V."""
    receiver.configure()
    before = [one.range for one in receiver.inputs]
    try:
        for one, value in zip(receiver.inputs, before, strict=True):
            try:
                one.range = factor * value
            except LabqdlError:  # as wide as it goes
                continue
        yield receiver.x.range / 2
    finally:
        for one, value in zip(receiver.inputs, before, strict=True):
            one.range = value


def attenuation_for(bench: CalibrationBench, owner: Owner, volts: float, gain: float = 1.0) -> float:
    """Attenuator's setting at which a full-scale bin, `gain` times as strong as in the timing shot, shows so many V."""
    timing = bench.calibrations.result(f"{owner.value}.timing")
    return max(0.0, timing.value("attenuation_db") + 20 * math.log10(gain * timing.value("amplitude") / volts))


def timing_of(bench: CalibrationBench, owner: Owner, record: Recorded) -> Timing:
    """Where a shot lies in a record, by the timing calibration."""
    result = bench.calibrations.result(f"{owner.value}.timing")
    return Timing.known(result.value("delay") - record.start, record.interval, result.value("clock_ppm"))


def wandering(seconds: float, peak: float, rate: float, knot: float = _KNOT) -> Real:
    """A test voltage of straight lines between knots, `knot` s apart, that look random; (n,).

    The same sequence every time; sample k is the value in the middle of its hold, (k + 1/2) / rate.
    """
    knots = math.ceil(seconds / knot) + 2
    heights = peak * (2.0 * np.modf(np.arange(1, knots + 1) * 0.6180339887498949)[0] - 1.0)
    heights = heights[np.argsort(np.modf(np.arange(knots) * 0.7548776662466927)[0])]
    instants = (np.arange(math.ceil(seconds * rate)) + 0.5) / rate
    return np.asarray(np.interp(instants, np.arange(knots) * knot, heights))


def seen_by_bins(wave: Real, rate: float, layout: FrameLayout, bins: NDArray[np.int64], shift: float) -> Real:
    """Mean of a held voltage over the windows of bins that begin `shift` s after its first sample; shape of `bins`."""
    summed = np.concatenate([[0.0], np.cumsum(wave)]) / rate
    dark = (1.0 - layout.duty) / 2
    begin = shift + (bins + dark) * layout.bin_time
    end = shift + (bins + 1 - dark) * layout.bin_time
    edges = np.arange(wave.size + 1) / rate
    return np.asarray((np.interp(end, edges, summed) - np.interp(begin, edges, summed)) / (end - begin))


def alternating(bench: CalibrationBench, layout: FrameLayout) -> Real:
    """Voltages that turn the server's local oscillator to P in odd rows of a shot, (n,) from the trigger on."""
    lo = bench.calibrations.result("server.lo-phase")
    rate = bench.transmitter.sample_rate
    shift = bench.calibrations.value("server.timing", "delay") - lo.value("delay")
    row_time = layout.n_modes * layout.bin_time
    instants = (np.arange(math.ceil((layout.duration + shift + row_time) * rate)) + 0.5) / rate
    odd = np.floor((instants - shift) / row_time).astype(np.int64) % 2 == 1
    return np.asarray(np.where(odd, 0.5 * lo.value("v_pi") * lo.value("sign"), 0.0))


# --- the phase of the server's local oscillator -----------------------------------------------------------------------


class LoPhase(Routine):
    """Half-wave voltage and delay of the phase modulator in the server's local oscillator.

    Bright light in all bins returns while a voltage wanders over the modulator; each bin's quadrature is
    offset + a cos(phi_0 - pi V(t + delay)/v_pi + arg symbol), with symbols that alternate between 1 and i; each place
    of the row has an a and a phi_0 of its own, which the trees give it.

    Values: `v_pi` (V), `delay` (s by which what is played shows earlier in the record than the trigger would say),
    `sign` (+1 where a positive voltage turns X into P), `amplitude` (V of an integrated full-scale bin).
    """

    name = "server.lo-phase"
    owner = Owner.SERVER
    title = "half-wave voltage and delay of the local oscillator's phase modulator"
    method = "quadratures of bright light under a wandering voltage"
    requires = ("server.timing",)
    valid_for = 7 * DAY
    bins: ClassVar[tuple[int, int]] = (1024, 4096)

    def applies(self, bench: CalibrationBench) -> bool:
        """Where an output turns the local oscillator."""
        return bench.server.receiver.player is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot."""
        yield Step(1, 1, "wandering phase")
        receiver = bench.server.receiver
        player = receiver.player
        assert player is not None
        # Long enough for the voltage to wander, however short the rows are.
        layout = bench.layout(-(-self.bins[not bench.quick] // bench.frame.n_modes), preamble=1, guard=2)
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        rows = layout.data_rows.ravel()
        symbols[rows] = np.where(rows % 2, 1j, 1.0)[:, None]
        rate = bench.transmitter.sample_rate
        wave = wandering(layout.duration + 30e-6, player.peak["lo-phase"] * 0.98, rate, _SLOW_KNOT)
        bench.gates(out=True, client=True, server=True)
        pass_all(bench)
        try:
            with wide_range(receiver) as half:
                bench.light(attenuation_for(bench, Owner.SERVER, _PEAK_SHARE * half))
                record = light_shot(bench, layout, symbols, record=(Owner.SERVER,), lo_phase=wave, tail=30e-6)
        finally:
            bench.gates(out=False, client=False, server=False)
        found = record[Owner.SERVER]
        timing = timing_of(bench, Owner.SERVER, found)
        values = integrate(found.volts, timing, layout)
        # The last bin goes through the tap, whose arm has a phase of its own.
        places = np.flatnonzero((symbols != 0) & (np.arange(layout.n_modes) < max(layout.n_modes - 1, 1)))
        sheet = float(bench.sheet(_component(bench, "lo_modulator")).get("v_pi") or 2.0)
        delay = bench.calibrations.value("server.timing", "delay")
        return self.measured(values.ravel()[places], symbols.ravel()[places], places, wave, rate, layout, delay, sheet)

    def measured(
        self,
        values: Real,
        symbols: Complex,
        places: NDArray[np.int64],
        wave: Real,
        rate: float,
        layout: FrameLayout,
        arrival: float,
        sheet: float,
    ) -> Measured:
        """Values from quadratures (bins,) of known symbols at known places."""
        turned = np.angle(symbols)
        columns = places % layout.n_modes
        groups = [np.flatnonzero(columns == column) for column in np.unique(columns)]

        def volts(shift: float) -> Real:
            return seen_by_bins(wave, rate, layout, places, shift)

        def fitted(v_pi: float, shift: float, sign: float) -> tuple[Real, Real]:
            """The best description with an amplitude and a phase for each column of bins, and the amplitudes."""
            angle = turned - sign * math.pi * volts(shift) / v_pi
            design = np.stack([np.cos(angle), -np.sin(angle), np.ones_like(angle)], axis=1)
            description, sizes = np.zeros_like(values), []
            for group in groups:
                found = np.linalg.lstsq(design[group], values[group], rcond=None)[0]
                description[group] = design[group] @ found
                sizes.append(math.hypot(found[0], found[1]))
            return description, np.array(sizes)

        best: tuple[float, float, float] | None = None
        for sign in (1.0, -1.0):
            for shift in arrival + layout.bin_time * np.arange(-3, 3.01, 0.25):
                cost = float(np.sum(np.square(values - fitted(sheet, shift, sign)[0])))
                if best is None or cost < best[0]:
                    best = cost, float(shift), sign
        assert best is not None
        _, shift, sign = best
        found = least_squares(
            lambda p: fitted(p[0], p[1], sign)[0], ("v_pi", "shift"), [[sheet, shift]], values, scale=[sheet, 1e-8]
        )
        # The amplitudes were fitted as well.
        freedom = values.size - 2 - 3 * len(groups)
        found = replace(found, covariance=found.covariance * (values.size - 2) / max(freedom, 1), freedom=freedom)
        amplitude = float(np.mean(fitted(found["v_pi"], found["shift"], sign)[1]))
        result = Measured(raw={"values": values, "fitted": found.fitted, "volts": volts(found["shift"])})
        noise = float(np.std(values - found.fitted))
        result.check(amplitude > 5 * noise, f"the fringe is only {amplitude / noise:.1f} times its noise")
        result.add_fit(found, {"v_pi": ("v_pi", "V")})
        # What the receiver plays begins `arrival - delay` after the trigger.
        result.add("delay", arrival - found["shift"], found.deviation("shift"), "s")
        result.add("sign", sign, 0.0)
        result.add("amplitude", amplitude, noise / math.sqrt(values.size), "V")
        return result

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Quadratures and model in the order of the bins."""
        from labqdl_calibration.pictures import data_and_model

        misses = (raw["values"] - raw["fitted"]) / np.std(raw["values"] - raw["fitted"])
        places = np.arange(raw["values"].size, dtype=np.float64)
        return data_and_model(places, raw["values"], raw["fitted"], misses, x="bin", y="quadrature (V)")


def _component(bench: CalibrationBench, role: str) -> str:
    """Name of the component that fills a role of any subsystem; empty where none does."""
    for entry in bench.file.subsystems.values():
        filling = entry.roles.get(role)
        if filling is not None and not isinstance(filling, tuple):
            return filling.name
    return ""


# --- the trees --------------------------------------------------------------------------------------------------------


def late_bins(n_modes: int, stage: int) -> NDArray[np.bool_]:
    """Bins of the blocks that are the later ones of their pairs at a stage: those with light for scanning it."""
    return np.asarray((np.arange(n_modes)[::-1] >> stage) & 1 == 0)


def stage_fit(volts: Real, seen: Complex, sheet: float) -> Fit:
    """Angle of a coupler against its voltage: seen = C sin(theta + i delta), theta = pi V / (2 v_pi) + offset.

    delta is the sum of what both couplers of the element miss of 50:50. Complex data (n,) with one noise in both parts.

    Returns
    -------
    Fit with v_pi, offset, delta (and the four parts of C cos and C sin).
    """

    def columns(v_pi: float) -> list[Real]:
        angle = math.pi / 2 * volts / v_pi
        c, s, none = np.cos(angle), np.sin(angle), np.zeros_like(angle)
        return [np.concatenate(pair) for pair in ((c, none), (none, c), (s, none), (none, s))]

    data = np.concatenate([seen.real, seen.imag])
    keys = ("cr", "ci", "sr", "si")
    candidates = sheet * np.geomspace(0.7, 1.4, 57)
    costs = [float(np.sum(np.square(data - fits.linear(columns(v), keys, data).fitted))) for v in candidates]
    begin = float(candidates[int(np.argmin(costs))])
    start = fits.linear(columns(begin), keys, data).values

    def model(p: Real) -> Real:
        return np.asarray(sum(value * column for value, column in zip(p[1:], columns(p[0]), strict=True)))

    size = float(np.max(np.abs(seen)))
    found = least_squares(model, ("v_pi", *keys), [[begin, *start]], data, scale=[sheet, *[size] * 4])

    def angles(p: Real) -> Real:
        # cos part C sin(phi + i delta), sin part C cos(phi + i delta)
        tilt = np.arctan((p[1] + 1j * p[2]) / (p[3] + 1j * p[4]))
        return np.array([p[0], tilt.real, tilt.imag, *p[1:]])

    values, covariance = propagated(angles, found.values, found.covariance)
    return Fit(("v_pi", "offset", "delta", *keys), values, covariance, found.fitted, found.residuals, found.freedom)


class Tree(Routine):
    """Couplers and phase modulator of a time-bin tree, in one shot.

    For each stage its voltage is stepped row by row while light arrives in the bins whose blocks are the later ones of
    their pairs there, so that the carry is C sin(theta); the other stages merge in equal parts (forward) or pass
    (inverse). Then a voltage wanders over the phase modulator, whose fit gives its half-wave voltage and when the light
    of a bin meets the voltage that was meant for it.

    Values, for k stages: `v_pi_k` (V for a quarter turn), `offset_k` (rad at 0 V), `error_k` (what both couplers of the
    element miss of 50:50 together, rad), `v_pi_phase` (V for pi), `phase_sign`, `skew` (s from the generator's first
    sample to the first bin's arrival).
    """

    title = "couplers, phase modulator and skew of the time-bin tree"
    method = "carry against stepped coupler voltages and a wandering phase, bright light"
    valid_for = 4 * 3600.0
    levels: ClassVar[tuple[int, int]] = (9, 13)
    repeats: ClassVar[tuple[int, int]] = (2, 4)
    """Rows of each level that count; one more goes before them."""
    phase_rows: ClassVar[tuple[int, int]] = (48, 256)

    def __init__(self, way: Way) -> None:
        self.way = way
        forward = way is Way.FORWARD
        self.owner = Owner.CLIENT  # type: ignore[misc]
        self.name = "client.interferometer" if forward else "client.inverse"  # type: ignore[misc]
        self.requires = (  # type: ignore[misc]
            ("client.timing",) if forward else ("server.lo-phase", "server.timing", "client.interferometer")
        )

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a tree."""
        return isinstance(bench.client.interferometer, TimeBinInterferometer)

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot for all stages, one for the phase."""
        tree = bench.client.interferometer
        assert isinstance(tree, TimeBinInterferometer)
        yield Step(1, 2, f"couplers, {self.way.value}")
        volts, seen = self._scan_stages(bench, tree)
        yield Step(2, 2, f"phase modulator, {self.way.value}")
        wave, rate, layout, rows, phased = self._scan_phase(bench, tree)
        return self.measured(bench, tree, volts, seen, wave, rate, layout, rows, phased)

    # --- acquisition --------------------------------------------------------------------------------------------------

    def _shot(
        self, bench: CalibrationBench, layout: FrameLayout, symbols: Complex, waves: Any, gain: float
    ) -> NDArray[Any]:
        """Last bins of all rows in V.

        The client sees both quadratures at once; the server sees X in even rows and P in odd ones, so that two rows
        are one value there.
        """
        owner = Owner.CLIENT if self.way is Way.FORWARD else Owner.SERVER
        receiver = bench.receiver(owner)
        bench.gates(out=True, client=True, server=owner is Owner.SERVER)
        lo_phase = None
        if owner is Owner.SERVER:
            lo_phase = alternating(bench, layout)
        try:
            with wide_range(receiver) as half:
                bench.light(attenuation_for(bench, owner, _PEAK_SHARE * half, gain))
                how = {"record": (owner,), "waves": waves, "lo_phase": lo_phase, "tail": 30e-6}
                record = light_shot(bench, layout, symbols, **how)[owner]
        finally:
            bench.gates(out=False, client=False, server=False)
        return integrate(record.volts, timing_of(bench, owner, record), layout, carry_only=True)

    def _still(self, bench: CalibrationBench, tree: TimeBinInterferometer, way: Way, count: int) -> Any:
        """Constant waveforms at which all bins pass."""
        return [np.full(count, volts) for volts in passing(bench, way)], np.zeros(count)

    def _waves(
        self, bench: CalibrationBench, tree: TimeBinInterferometer, stages: list[Real], phase: Real
    ) -> dict[str, tuple[list[Real], Real]]:
        other = Way.INVERSE if self.way is Way.FORWARD else Way.FORWARD
        return {self.way.value: (stages, phase), other.value: self._still(bench, tree, other, phase.size)}

    def _scan_stages(self, bench: CalibrationBench, tree: TimeBinInterferometer) -> tuple[list[Real], list[Complex]]:
        levels, repeats = self.levels[not bench.quick], self.repeats[not bench.quick]
        if self.way is Way.INVERSE:
            repeats *= 2
        each = repeats + 2
        per_stage = levels * each
        layout = bench.layout(tree.depth * per_stage, preamble=1, guard=2)
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        player = tree.players[self.way]
        per_row = layout.n_modes * layout.bin_time * player.sample_rate
        peak = {stage: player.peak[f"{self.way.value}-stage{stage}"] * 0.99 for stage in range(tree.depth)}
        pass_volts = passing(bench, self.way)
        first = int(layout.data_rows[0, 0])
        rows_of: list[list[NDArray[np.int64]]] = []
        row_volts = np.tile(np.array(pass_volts)[:, None], (1, layout.total_rows))
        volts: list[Real] = []
        for stage in range(tree.depth):
            block = first + stage * per_stage + np.arange(per_stage)
            if self.way is Way.FORWARD:
                symbols[block] = late_bins(layout.n_modes, stage)[None, :]
                row_volts[:, block] = np.array(pass_volts)[:, None] / 2
            else:
                symbols[block, -1] = 1.0
            steps = np.linspace(-peak[stage], peak[stage], levels)
            row_volts[stage, block] = np.repeat(steps, each)
            volts.append(steps)
            # The first row of a level meets its voltage only partly, by the skew; so may the last one.
            rows_of.append([block[0] + level * each + 1 + np.arange(repeats) for level in range(levels)])
        count = math.ceil(layout.total_rows * per_row)
        which = np.minimum((np.arange(count) / per_row).astype(np.int64), layout.total_rows - 1)
        stages = [row_volts[stage][which] for stage in range(tree.depth)]
        gain = math.sqrt(layout.n_modes / 2) if self.way is Way.FORWARD else 1.0
        values = self._shot(bench, layout, symbols, self._waves(bench, tree, stages, np.zeros(count)), gain)
        return volts, [np.array([self._mean(values, rows) for rows in one]) for one in rows_of]

    def _mean(self, values: NDArray[Any], rows: NDArray[np.int64]) -> complex:
        if np.iscomplexobj(values):
            return complex(np.mean(values[rows]))
        return complex(np.mean(values[rows[rows % 2 == 0]]) + 1j * np.mean(values[rows[rows % 2 == 1]]))

    def _scan_phase(
        self, bench: CalibrationBench, tree: TimeBinInterferometer
    ) -> tuple[Real, float, FrameLayout, NDArray[np.int64], NDArray[Any]]:
        layout = bench.layout(self.phase_rows[not bench.quick], preamble=1, guard=2)
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        rows = layout.data_rows.ravel()
        symbols[rows, -1] = 1.0
        player = tree.players[self.way]
        rate = player.sample_rate
        wave = wandering(layout.duration + 10e-6, player.peak[f"{self.way.value}-phase"] * 0.98, rate)
        stages, _ = self._still(bench, tree, self.way, wave.size)
        values = self._shot(bench, layout, symbols, self._waves(bench, tree, stages, wave), 1.0)
        return wave, rate, layout, rows, values[rows]

    # --- what is made of it -------------------------------------------------------------------------------------------

    def measured(
        self,
        bench: CalibrationBench,
        tree: TimeBinInterferometer,
        volts: list[Real],
        seen: list[Complex],
        wave: Real,
        rate: float,
        layout: FrameLayout,
        rows: NDArray[np.int64],
        phased: NDArray[Any],
    ) -> Measured:
        """Values of the carries (levels,) of each stage, and of those (rows,) under a wandering phase."""
        result = Measured(raw={"wave": wave, "phased": phased})
        sheet = tree.sheets[self.way]
        for stage in range(tree.depth):
            found = stage_fit(volts[stage], seen[stage], float(sheet.get("v_pi_stage") or 1.0))
            values, covariance = found.part("v_pi", "offset", "delta")
            if self.way is Way.INVERSE:
                # What the forward stage does not pass arrives over the other arm, with a phase that nobody knows.
                first = bench.calibrations.result("client.interferometer")
                angle, miss = first.estimate(f"offset_{stage}"), first.estimate(f"error_{stage}")
                other = _OTHERWISE**2 + 0.5 * (angle.deviation**2 + miss.deviation**2 + miss.value**2)
                covariance = covariance + np.diag([0.0, other, other])
            names = [f"v_pi_{stage}", f"offset_{stage}", f"error_{stage}"]
            result.add_all(names, values, covariance, ["V", "rad", "rad"])
            result.raw |= {f"volts_{stage}": volts[stage], f"seen_{stage}": seen[stage]}
            result.raw[f"fitted_{stage}"] = found.fitted[: volts[stage].size] + 1j * found.fitted[volts[stage].size :]
            size = float(np.max(np.abs(seen[stage])))
            noise = float(np.std(np.concatenate([seen[stage].real, seen[stage].imag]) - found.fitted))
            result.check(size > 5 * noise, f"stage {stage}: the carry is only {size / noise:.1f} times its noise")
        phase = self._phase_fit(float(sheet.get("v_pi_phase") or 1.0), wave, rate, layout, rows, phased)
        result.add_fit(phase[0], {"v_pi": ("v_pi_phase", "V"), "skew": ("skew", "s")})
        result.add("phase_sign", phase[1], 0.0)
        result.raw["phase_fitted"] = phase[0].fitted
        return result

    def _phase_fit(
        self, sheet: float, wave: Real, rate: float, layout: FrameLayout, rows: NDArray[np.int64], seen: NDArray[Any]
    ) -> tuple[Fit, float]:
        places = (rows + 1) * layout.n_modes - 1
        both = np.iscomplexobj(seen)
        data = np.concatenate([seen.real, seen.imag]) if both else np.asarray(seen, np.float64)
        # Rows in which P is seen are a quarter ahead of the others.
        turned = np.zeros(rows.size) if both else -np.pi / 2 * (rows % 2)
        way = -1.0 if self.way is Way.FORWARD else 1.0

        def columns(v_pi: float, skew: float, sign: float) -> list[Real]:
            angle = turned + way * sign * math.pi * seen_by_bins(wave, rate, layout, places, skew) / v_pi
            c, s = np.cos(angle), np.sin(angle)
            if not both:
                return [c, -s, np.ones_like(c)]
            none, one = np.zeros_like(c), np.ones_like(c)
            offsets = [np.concatenate([one, none]), np.concatenate([none, one])]
            return [np.concatenate([c, s]), np.concatenate([-s, c]), *offsets]

        keys = ("re", "im", "offset", "offset_p")[: 4 if both else 3]
        best: tuple[float, float, float] | None = None
        for sign in (1.0, -1.0):
            for skew in np.arange(-6e-6, 6.001e-6, 0.1e-6):
                fit = fits.linear(columns(sheet, skew, sign), keys, data)
                cost = float(np.sum(np.square(data - fit.fitted)))
                if best is None or cost < best[0]:
                    best = cost, float(skew), sign
        assert best is not None
        _, skew, sign = best
        start = fits.linear(columns(sheet, skew, sign), keys, data)

        def model(p: Real) -> Real:
            parts = columns(p[0], p[1], sign)
            return np.asarray(sum(value * column for value, column in zip(p[2:], parts, strict=True)))

        size = float(np.std(data))
        found = least_squares(
            model, ("v_pi", "skew", *keys), [[sheet, skew, *start.values]], data,
            scale=[sheet, 1e-8, *[size] * len(keys)],
        )  # fmt: skip
        amplitude = math.hypot(found["re"], found["im"])
        noise = float(np.std(data - found.fitted))
        if amplitude < 3 * noise:
            raise CalibrationFailed(
                f"the phase modulator of the {self.way.value} tree moves nothing: the fringe is "
                f"{amplitude / noise:.1f} times its noise"
            )
        return scaled(found), sign

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Carry against the voltage of each stage."""
        from labqdl_calibration.pictures import tree_stages

        return tree_stages(result, raw)
