"""What reaches whom: efficiencies, the gain-and-tap stage, transmissivities of both ways, and the closing frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from labqdl.dsp import integrate
from labqdl.errors import InputError
from labqdl.facts import CalibrationResult, Estimate, Owner
from labqdl.facts.layout import FrameLayout
from labqdl.subsystems.errors import ShotInvalid
from labqdl.subsystems.gain_tap import FeedForwardTap
from labqdl.subsystems.interferometer import TimeBinInterferometer, Way
from labqdl.units import photon_energy
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Real, propagated
from labqdl_calibration.routine import DAY, HOUR, CalibrationFailed, Measured, Measuring, OperatorStep, Routine, Step
from labqdl_calibration.routines.interferometer import alternating, attenuation_for, timing_of, wide_range
from labqdl_calibration.routines.light import METER_ACCURACY, client_level
from labqdl_calibration.routines.power import meter_of, read_power
from labqdl_calibration.routines.timing import light_shot, pass_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Complex = NDArray[np.complex128]
_EFFICIENCY_TOLERANCE = 0.015
"""Relative standard deviation of a receiver's efficiency by its data sheet."""
_SHEET_DB = 0.25
"""Standard deviation of one part's loss by its data sheet, dB."""
_PEAK_SHARE = 0.35


class Efficiency(Routine):
    """Efficiency of a receiver, from its input to shot-noise units: quantum efficiency times visibility squared.

    From `server.received` where a person has measured it, else from the data sheet with its tolerance.

    Values: `efficiency`.
    """

    title = "efficiency of the receiver"
    method = "as measured with a meter at its input, or by its data sheet"
    valid_for = 30 * DAY

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"{owner.value}.efficiency"  # type: ignore[misc]
        self.prefers = ("server.received",) if owner is Owner.SERVER else ()  # type: ignore[misc]

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Look up."""
        yield Step(1, 1, "data sheet")
        found = Measured()
        known = bench.calibrations
        if self.owner is Owner.SERVER and "server.received" in known and known["server.received"].good:
            found.add("efficiency", known.estimate("server.received", "efficiency"))
            return found
        sheet = bench.receiver(self.owner).detector
        if self.owner is Owner.CLIENT and not sheet and bench.client.tap is not None:
            sheet = bench.client.tap.sheet
        value = float(sheet.get("efficiency") or 0.9) * float(sheet.get("visibility") or 1.0) ** 2
        found.add("efficiency", value, _EFFICIENCY_TOLERANCE * value)
        found.remarks.append("by the data sheet")
        return found


class Received(Routine):
    """Efficiency of the server's receiver with a meter carried to its input.

    Values: `efficiency`: (A/2)^2 over photons of a bin, A the amplitude of full-scale bins in square roots of SNU and
    the photons those of the power that the meter shows at the receiver's input.
    """

    name = "server.received"
    owner = Owner.SERVER
    title = "efficiency of the server's receiver, with a meter at its input"
    method = "the client's meter at the receiver's input, and the amplitude of the same light in shot-noise units"
    requires = ("server.lo-phase", "server.shot-noise", "client.meters")
    valid_for = 30 * DAY
    serves = ("commission",)
    by_hand = True

    def applies(self, bench: CalibrationBench) -> bool:
        """Where the client has a meter and the receiver's input is a fibre of the file."""
        return meter_of(bench, Owner.CLIENT) is not None and _receiver_input(bench) is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Carry the meter, read, carry it back, send the same light."""
        ends, meter = _receiver_input(bench), meter_of(bench, Owner.CLIENT)
        assert ends is not None
        assert meter is not None
        source, target = ends
        home = next((wire for wire in bench.file.wiring if wire.target[0] == meter.name and wire.kind == "light"), None)
        yield OperatorStep(f"Unplug {target} and plug its fibre into {meter.name}", source, f"{meter.name}.input")
        pass_all(bench)
        bench.transmitter.set_working_point()
        steady = np.full(4800, bench.transmitter.drive)
        try:
            yield Step(1, 2, "power at the receiver")
            bench.light(0.0)
            bench.transmitter.play(steady, np.zeros(steady.size))
            bench.gates(out=True, client=True, server=True)
            readings, power = read_power(meter, 20 if bench.quick else 80)
        finally:
            bench.gates(out=False, client=False, server=False)
            bench.transmitter.player.dark()
        yield OperatorStep(f"Plug the fibre into {target} again", source, target)
        if home is not None:
            back = ".".join(part for part in home.source if part)
            yield OperatorStep(f"Plug what leaves {back} into {meter.name} again", back, f"{meter.name}.input")
        yield Step(2, 2, "the same light in shot-noise units")
        level = server_level(bench, 64 if bench.quick else 256, attenuation=0.0)
        net = power.value - bench.calibrations.value("client.meters", "meter_zero")
        # Steady light passes the addressed arm as well: the bins that are compared are those beside it.
        # The steady light is the I arm's at its peak; bins of a shot are as bright as at every phase.
        share = bench.transmitter.map.reach() ** 2
        energy = photon_energy(bench.transmitter.laser.wavelength)
        photons = share * net * bench.transmitter.bright_time(bench.layout(1)) / energy
        unit = bench.calibrations.estimate("server.shot-noise", "snu")
        found = Measured(raw={"power": readings})
        value = level.value**2 / unit.value / 4 / photons
        relative = math.sqrt(
            (2 * level.deviation / level.value) ** 2
            + (unit.deviation / unit.value) ** 2
            + (power.deviation / net) ** 2
            + METER_ACCURACY**2
        )
        found.add("efficiency", value, relative * value)
        found.check(0.02 < value < 1.05, f"an efficiency of {value:.2f} is none")
        return found


def _receiver_input(bench: CalibrationBench) -> tuple[str, str] | None:
    """(output, input) ends of the fibre into the server's receiver."""
    for wire in bench.file.wiring:
        if wire.kind == "light" and wire.target[1] == "signal":
            return ".".join(part for part in wire.source if part), ".".join(wire.target)
    return None


def server_shot(
    bench: CalibrationBench, rows: int, attenuation: float | None = None
) -> tuple[Complex, float, FrameLayout]:
    """What becomes of full-scale light in each bin, as the server sees it, and the attenuation.

    All bins have light, with signs that follow the columns of a Hadamard matrix from one pair of rows to the next: what
    one bin leaves in another one, where the trees do not close, falls out of the mean.

    Returns
    -------
    Complex V (pairs of rows, n_modes), X from even rows and P from odd ones; attenuation in dB; layout.
    """
    modes = bench.frame.n_modes
    size = 1 << max(modes - 1, 1).bit_length()
    pairs = max(-(-rows // (2 * size)), 1) * size
    layout = bench.layout(2 * pairs, preamble=2, guard=2)
    places = layout.data_rows.ravel()
    signs = np.repeat(np.tile(hadamard(size)[:, :modes], (pairs // size, 1)), 2, axis=0).astype(np.float64)
    symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
    symbols[places] = signs
    with wide_range(bench.server.receiver) as half:
        if attenuation is None:
            attenuation = attenuation_for(bench, Owner.SERVER, _PEAK_SHARE * half)
        bench.light(attenuation)
        how = {"record": (Owner.SERVER,), "lo_phase": alternating(bench, layout), "tail": 30e-6}
        record = light_shot(bench, layout, symbols, **how)[Owner.SERVER]
    values = integrate(record.volts, timing_of(bench, Owner.SERVER, record), layout)[places] * signs
    return np.asarray(values[places % 2 == 0] + 1j * values[places % 2 == 1]), attenuation, layout


def server_level(bench: CalibrationBench, rows: int, attenuation: float | None = None) -> Estimate:
    """Amplitude in V of integrated full-scale bins beside the addressed one at the server, root mean square of bins."""
    pass_all(bench)
    bench.gates(out=True, client=True, server=True)
    try:
        values, _, layout = server_shot(bench, rows, attenuation)
    finally:
        bench.gates(out=False, client=False, server=False)
    return _level(values[:, : max(layout.n_modes - 1, 1)])


def _level(values: Complex) -> Estimate:
    """Root mean square over bins of the modulus of each bin's mean, less what noise adds to it."""
    mean = np.mean(values, axis=0)
    spread = np.var(values, axis=0).mean() / len(values)
    power = float(np.mean(np.abs(mean) ** 2) - spread)
    if not power > 0:
        raise CalibrationFailed("no light returns to the server")
    level = math.sqrt(power)
    return Estimate(level, math.sqrt(spread / 2 / mean.size), "V")


class Tap(Routine):
    """The feed-forward tap: voltage at which the addressed mode's net gain is 1, and what it reads and adds.

    Full-scale light in all bins passes the trees unchanged; the last bin goes through the tap, the others beside it.
    Their complex ratio at the server is a straight line in the gain's voltage. With one mode there is nothing beside:
    the lock holds the phase, and the light is compared with that at no gain, of which the splitter leaves sqrt(t).

    Values: `gain_voltage` (V, at which the modulus of the net gain is 1), `net_gain_re`, `net_gain_im` (there, of the
    addressed mode against the others),
    `gain_per_volt` (real part of its slope, 1/V), `transmissivity` (of the splitter, data sheet), `outcome_gain`
    (square roots of SNU that the meter shows per X of 1 at the stage's input, data sheet), `n`, `d` (SNU: noise that
    the outcome and the returned light get, referred to the stage's input and output) and `cov` of both noises.
    """

    name = "client.tap"
    owner = Owner.CLIENT
    title = "gain of the feed-forward, its complex net gain and noise"
    method = "addressed bin against the others at the server, at several gains"
    requires = ("client.inverse", "server.lo-phase", "client.shot-noise")
    valid_for = 1 * HOUR
    points: ClassVar[tuple[int, int]] = (3, 9)
    rows: ClassVar[tuple[int, int]] = (64, 256)

    def applies(self, bench: CalibrationBench) -> bool:
        """Where the tap is a feed-forward one."""
        return isinstance(bench.client.tap, FeedForwardTap)

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot a gain."""
        tap = bench.client.tap
        assert isinstance(tap, FeedForwardTap)
        source = tap.source
        limits = type(source).voltage.limits_of(source)
        high = min(one.high for one in limits)
        step = type(source).step
        split = float(tap.sheet.get("t") or 0.9)
        pick = math.sqrt(float(tap.sheet.get("efficiency") or 1.0) * (1 - split) / 2)
        expected = (1 - math.sqrt(split)) / pick / float(tap.sheet.get("gain_per_volt") or 0.5)
        volts = np.linspace(0.0, min(2 * expected, high), self.points[not bench.quick])
        if step:
            volts = np.round(volts / step) * step
        ratios: list[complex] = []
        errors: list[float] = []
        alone, receiver = bench.frame.n_modes == 1, bench.server.receiver
        pass_all(bench)
        bench.gates(out=True, client=True, server=True)
        beside = 0j
        try:
            for number, value in enumerate(volts, start=1):
                yield Step(number, volts.size, f"gain at {value:.3f} V")
                tap.set_gain(float(value))
                if alone:
                    receiver.hold()
                seen, _, _ = server_shot(bench, self.rows[not bench.quick])
                mean = np.mean(seen, axis=0)
                if not alone:
                    beside = complex(np.mean(mean[:-1]))
                elif number == 1:
                    beside = complex(mean[0]) / math.sqrt(split)
                noise = math.sqrt(float(np.var(seen, axis=0).mean()) / len(seen))
                ratios.append(complex(mean[-1]) / beside)
                errors.append(noise / abs(beside))
        except ShotInvalid as error:
            raise CalibrationFailed(f"the server's lock does not hold: {error}") from error
        finally:
            bench.gates(out=False, client=False, server=False)
            tap.off()
            if alone:
                receiver.release()
        return self.measured(bench, volts, np.array(ratios), np.array(errors), split, pick, step, high)

    def measured(
        self,
        bench: CalibrationBench,
        volts: Real,
        ratios: Complex,
        errors: Real,
        split: float,
        pick: float,
        step: float,
        high: float,
    ) -> Measured:
        """Values of complex ratios (n,) at voltages."""
        from labqdl_calibration import fits

        found = Measured(raw={"volts": volts, "ratios": ratios, "errors": errors})
        parts = [fits.line(volts, part, errors / math.sqrt(2)).widened() for part in (ratios.real, ratios.imag)]
        values = np.concatenate([one.values for one in parts])
        covariance = np.zeros((4, 4))
        covariance[:2, :2], covariance[2:, 2:] = parts[0].covariance, parts[1].covariance

        # |start + slope V| = 1, the greater solution: what is left of a phase is the arm's, which no gain takes off.
        begin, rise = complex(values[0], values[2]), complex(values[1], values[3])
        middle = (begin * np.conj(rise)).real / abs(rise) ** 2
        root = middle**2 - (abs(begin) ** 2 - 1) / abs(rise) ** 2
        at = -middle + math.sqrt(max(root, 0.0))
        if not 0 <= at <= high or root < 0:
            raise CalibrationFailed(f"the net gain is 1 at {at:.3f} V, which the source does not reach")
        if step:
            at = round(at / step) * step
        noise = max(bench.calibrations.value("client.shot-noise", "noise"), 0.0)

        def results(p: Real) -> Real:
            start, slope = complex(p[0], p[2]), complex(p[1], p[3])
            net = start + slope * at
            gain = abs(slope) * at / p[4]
            return np.array(
                [net.real, net.imag, slope.real, p[4], (1 + noise) / p[4] ** 2 - 1, gain**2 * (1 + noise),
                 gain * (1 + noise) / p[4]]
            )  # fmt: skip

        full = np.zeros((5, 5))
        full[:4, :4] = covariance
        full[4, 4] = (0.5 * _EFFICIENCY_TOLERANCE * pick) ** 2
        figures, spread = propagated(results, np.append(values, pick), full)
        found.add("gain_voltage", at, 0.0, "V")
        keys = ["net_gain_re", "net_gain_im", "gain_per_volt", "outcome_gain", "n", "d", "cov"]
        found.add_all(keys, figures, spread, ["", "", "1/V", "", "SNU", "SNU", "SNU"])
        found.add("transmissivity", split, 0.0)
        found.remarks.append("transmissivity and outcome_gain are those of the data sheet")
        found.raw["fitted"] = parts[0].fitted + 1j * parts[1].fitted
        off = math.hypot(figures[0] - 1, figures[1])
        if off > 0.05:
            angle = math.atan2(figures[1], figures[0])
            found.remarks.append(
                f"the addressed mode returns {angle:.2f} rad ahead of the others: the two arms of the client differ"
            )
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Real part of the ratio against the gain's voltage."""
        from labqdl_calibration.pictures import data_and_model

        misses = (raw["ratios"].real - raw["fitted"].real) / raw["errors"]
        x, y = "gain (V)", "addressed mode over the others"
        return data_and_model(raw["volts"], raw["ratios"].real, raw["fitted"].real, misses, x=x, y=y)


class PathLoss(Routine):
    """Power transmissivity of one way, from the amplitude in shot-noise units of light whose photons are known.

    Forward: server's output to the tap's input, (A_c / (2 g sqrt(N)))^2 with the client's amplitude A_c and the tap's
    outcome_gain g. Back: tap's output to the server's receiver, (A_s / 2)^2 / (N T_forward efficiency), with the
    server's amplitude A_s of the bins that pass beside the tap, or with one mode through it at its gain of 1. Errors of
    N (the power chain) move both in opposite directions; the product is better known than either.

    Values: `transmissivity`, `slope` (square roots of SNU per square root of a photon, 2 sqrt(...)).
    """

    valid_for = 1 * HOUR
    rows: ClassVar[tuple[int, int]] = (64, 256)

    def __init__(self, forward: bool) -> None:
        self.forward = forward
        self.owner = Owner.CHANNEL  # type: ignore[misc]
        self.name = "path.forward" if forward else "path.return"  # type: ignore[misc]
        self.title = f"transmissivity {'to the tap' if forward else 'from the tap to the server'}"  # type: ignore[misc]
        self.method = "amplitude of full-scale bins in shot-noise units over their photons"  # type: ignore[misc]
        self.requires = (  # type: ignore[misc]
            ("server.light", "client.shot-noise", "client.timing", "client.interferometer")
            if forward
            else ("server.light", "server.shot-noise", "server.efficiency", "path.forward", "client.inverse")
        )
        self.prefers = ("client.tap",)  # type: ignore[misc]

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One bright shot."""
        yield Step(1, 1, "bright light")
        known = bench.calibrations
        rows = self.rows[not bench.quick]
        pass_all(bench)
        bench.gates(out=True, client=True, server=not self.forward)
        owner = Owner.CLIENT if self.forward else Owner.SERVER
        tap = bench.client.tap
        # With one mode nothing passes beside the tap, of which the splitter alone would take its share.
        through = not self.forward and bench.frame.n_modes == 1 and tap is not None and "client.tap" in known
        try:
            if through:
                assert tap is not None
                tap.engage()
            if self.forward:
                with wide_range(bench.client.receiver) as half:
                    attenuation = attenuation_for(bench, Owner.CLIENT, _PEAK_SHARE * half)
                    bench.light(attenuation)
                    level = client_level(bench, rows)
            else:
                values, attenuation, layout = server_shot(bench, rows)
                level = _level(values[:, : max(layout.n_modes - 1, 1)])
        finally:
            bench.gates(out=False, client=False, server=False)
            if through:
                assert tap is not None
                tap.off()
        photons = photons_at(bench, attenuation)
        unit = known.estimate(f"{owner.value}.shot-noise", "snu")
        slope = level.value / math.sqrt(unit.value * photons.value)
        shared = 0.25 * (photons.deviation / photons.value) ** 2
        own = (level.deviation / level.value) ** 2 + 0.25 * (unit.deviation / unit.value) ** 2
        if self.forward:
            gain = outcome_gain(bench)
            value = (slope / 2 / gain.value) ** 2
            relative = 2 * math.sqrt(own + shared + (gain.deviation / gain.value) ** 2)
            assert tap is not None
        else:
            efficiency = known.estimate("server.efficiency", "efficiency")
            out = known.estimate("path.forward", "transmissivity")
            value = (slope / 2) ** 2 / efficiency.value / out.value
            relative = math.sqrt(
                4 * (own + shared) + (efficiency.deviation / efficiency.value) ** 2 + (out.deviation / out.value) ** 2
            )
        found = Measured(raw={"level": np.array([level.value, level.deviation, attenuation])})
        found.add("transmissivity", value, relative * value)
        found.add("slope", slope, slope * math.sqrt(own + shared))
        found.add("photons", photons)
        found.check(value < 1 + 3 * relative, f"a transmissivity of {value:.2f} is none: look at the photons of a bin")
        return found


def outcome_gain(bench: CalibrationBench) -> Estimate:
    """Square roots of SNU at the client per X at the stage's input: calibrated, or by data sheet."""
    known = bench.calibrations
    if "client.tap" in known and "outcome_gain" in known["client.tap"].values:
        return known.estimate("client.tap", "outcome_gain")
    tap = bench.client.tap
    assert tap is not None
    sheet = tap.sheet
    efficiency = float(sheet.get("efficiency") or 0.9)
    if isinstance(tap, FeedForwardTap):
        value = math.sqrt(efficiency * (1 - float(sheet.get("t") or 0.9)) / 2)
    else:
        gain = float(sheet.get("gain") or 2.0)
        tau = sheet.get("tau")
        kept = 1 / gain if tau is None else float(tau)
        detector = bench.client.receiver.detector
        value = math.sqrt(gain * (1 - kept) * float(detector.get("efficiency") or 0.9))
    return Estimate(value, 0.5 * _EFFICIENCY_TOLERANCE * value)


def photons_at(bench: CalibrationBench, attenuation: float) -> Estimate:
    """Photons of a full-scale bin that the modulator reaches at every phase, at an attenuator's setting."""
    known = bench.calibrations
    light = known.result("server.light")
    slope = known.value("server.attenuator", "slope") if "server.attenuator" in known else 1.0
    less = 10 ** (-slope * (attenuation - light.value("attenuation_db")) / 10)
    share = bench.transmitter.map.reach() ** 2
    base = light.estimate("full_scale_photons")
    return Estimate(base.value * less * share, base.deviation * less * share, "photons")


class LoopBack(Routine):
    """The whole link on a frame of random symbols and random directions, as a run uses it: the last check.

    Values: `outcome_slope` (of the client's carry against u^dagger a in shot-noise units, over what path.forward and
    client.tap say), `outcome_excess` (variance of the outcome beyond meter and electronics, SNU), `closure` (amplitude
    of the returned light along what was sent, over path.return's), `scatter` (share of the returned power that is not
    along it), `photon_ratio` (photons of a bin by shot-noise units and data-sheet losses, over those by the power
    chain).
    """

    name = "path.loop-back"
    owner = Owner.CHANNEL
    title = "random frame through the whole link"
    method = "regression of outcomes and of returned light on what was sent"
    requires = ("path.forward", "path.return", "client.interferometer", "client.inverse")
    prefers = ("client.tap",)
    valid_for = 1 * HOUR
    serves = ("commission",)
    rows: ClassVar[tuple[int, int]] = (64, 256)

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a tree that follows a row's direction."""
        return isinstance(bench.client.interferometer, TimeBinInterferometer)

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot."""
        yield Step(1, 1, "random frame")
        tree = bench.client.interferometer
        assert isinstance(tree, TimeBinInterferometer)
        layout = bench.layout(self.rows[not bench.quick], preamble=2, guard=2)
        random = np.random.default_rng(31)  # a test frame, the same every time
        places = layout.data_rows.ravel()
        shape = (places.size // 2, layout.n_modes)
        drawn = random.standard_normal((2, *shape))
        half = np.clip(drawn[0], -2, 2) + 1j * np.clip(drawn[1], -2, 2)
        symbols = np.zeros((layout.total_rows, layout.n_modes), np.complex128)
        # Each row twice: the server homodynes X of one and P of the other.
        symbols[places] = np.repeat(half, 2, axis=0)[: places.size] / np.max(np.abs(half))
        direction = random.standard_normal((2, layout.n_modes))
        u = (direction[0] + 1j * direction[1])[None, :]
        u /= np.linalg.norm(u)
        waves = {}
        for way in Way:
            played = tree.waveforms(u, layout, way)
            stages = [played[f"{way.value}-stage{stage}"] for stage in range(tree.depth)]
            waves[way.value] = (stages, played[f"{way.value}-phase"])
        tap = bench.client.tap
        if isinstance(tap, FeedForwardTap) and "client.tap" in bench.calibrations:
            tap.set_gain(bench.calibrations.value("client.tap", "gain_voltage"))
        bench.gates(out=True, client=True, server=True)
        try:
            with wide_range(bench.server.receiver) as limit, wide_range(bench.client.receiver):
                attenuation = attenuation_for(bench, Owner.SERVER, _PEAK_SHARE * limit)
                bench.light(attenuation)
                how = {"lo_phase": alternating(bench, layout), "waves": waves, "tail": 30e-6}
                records = light_shot(bench, layout, symbols, **how)
        finally:
            bench.gates(out=False, client=False, server=False)
            if tap is not None:
                tap.off()
        seen = {
            owner: integrate(
                records[owner].volts, timing_of(bench, owner, records[owner]), layout, carry_only=owner is Owner.CLIENT
            )[places]
            for owner in (Owner.CLIENT, Owner.SERVER)
        }
        photons = photons_at(bench, attenuation)
        return self.measured(bench, symbols[places], u[0], seen, photons)

    def measured(
        self, bench: CalibrationBench, sent: Complex, u: Complex, seen: Mapping[Owner, NDArray[Any]], photons: Estimate
    ) -> Measured:
        """Values of carries (rows,) and returned bins (rows, n_modes) in V; even rows hold X, odd ones P."""
        known = bench.calibrations
        found = Measured(raw={"sent": sent, "carry": seen[Owner.CLIENT], "returned": seen[Owner.SERVER]})
        carry = seen[Owner.CLIENT] / math.sqrt(known.value("client.shot-noise", "snu"))
        wanted = 2 * math.sqrt(photons.value) * (sent @ np.conj(u))
        if np.iscomplexobj(carry):
            slope, left = _regressed(wanted, np.asarray(carry, np.complex128))
            expected = known.value("path.forward", "slope") / 2
            found.add("outcome_slope", abs(slope) / expected, math.sqrt(left / np.sum(np.abs(wanted) ** 2)) / expected)
            noise = 1 + known.value("client.shot-noise", "noise")
            excess = left / 2 - noise
            found.add("outcome_excess", excess, left / 2 / math.sqrt(carry.size), "SNU")
            found.check(abs(abs(slope) / expected - 1) < 0.1, "outcomes do not follow the light that was sent")
        values = seen[Owner.SERVER] / math.sqrt(known.value("server.shot-noise", "snu"))
        back = values[0::2][: len(values) // 2] + 1j * values[1::2][: len(values) // 2]
        out = 2 * math.sqrt(photons.value) * sent[0::2][: len(back)]
        slope, left = _regressed(out.ravel(), back.ravel())
        expected = known.value("path.return", "slope") / 2
        error = math.sqrt(left / np.sum(np.abs(out) ** 2)) / expected
        found.add("closure", abs(slope) / expected, error)
        power = abs(slope) ** 2 * float(np.mean(np.abs(out) ** 2))
        noise = 2 * (1 + known.value("server.shot-noise", "noise"))
        found.add("scatter", (left - noise) / power, left / power / math.sqrt(back.size))
        found.check(abs(abs(slope) / expected - 1) < 0.1, "the returned light is not what was sent")
        chain = self._photon_ratio(bench)
        if chain is not None:
            found.add("photon_ratio", chain)
            found.check(
                abs(chain.value - 1) < 2 * chain.deviation,
                "photons by the power chain and by shot-noise units differ by more than two standard deviations",
            )
        return found

    def _photon_ratio(self, bench: CalibrationBench) -> Estimate | None:
        """Photons by the server's shot-noise units, its efficiency and the sheets' losses, over the power chain's."""
        from labqdl.station.light_path import sheet_ledger

        try:
            ledger = sheet_ledger(bench.file)
        except InputError:
            return None
        known = bench.calibrations
        slope = known.estimate("path.return", "slope")
        efficiency = known.estimate("server.efficiency", "efficiency")
        light = known.estimate("server.light", "full_scale_photons")
        ratio = (slope.value / 2) ** 2 / (ledger.total * efficiency.value)
        parts = sum(1 for one in ledger.components if one.transmissivity < 1) + 4  # gates, which no sheet counts
        variance = (
            (2 * slope.deviation / slope.value) ** 2
            + (efficiency.deviation / efficiency.value) ** 2
            + (light.deviation / light.value) ** 2
            + parts * (math.log(10) / 10 * _SHEET_DB) ** 2
        )
        return Estimate(ratio, ratio * math.sqrt(variance))


def _regressed(known: Complex, seen: Complex) -> tuple[complex, float]:
    """Complex slope of data on what was sent, and the mean square of what is left."""
    slope = complex(np.vdot(known, seen) / np.vdot(known, known))
    return slope, float(np.mean(np.abs(seen - slope * known) ** 2))
