"""The server's I/Q modulator: bias scans, half-wave voltages and the working point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import CalibrationResult, Owner
from labqdl_calibration import iq
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Fit, scaled
from labqdl_calibration.routine import HOUR, CalibrationFailed, Measured, Measuring, Routine, Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Real = NDArray[np.float64]
_SHEET = {"v_pi_i": 3.5, "v_pi_q": 3.5, "v_pi_bias": 5.0, "extinction_db": 30.0}
_RELATIVE = 4e-4
"""Relative deviation that is believed of a power reading: meters are linear no better than that."""
_MOST_CHI_SQUARE = 5.0
"""Chi square over freedom above which the model is wrong."""
_DRIFT = 2e-4
"""Drift of a bias phase during the scans, rad: relative error of a half-wave voltage that it makes."""
_NODES = 9
"""Places between which the laser's power may wander during the scans."""


class Modulator(Routine):
    """Bias voltages of all three electrodes are scanned, then the drive voltages of I and Q, and one model is fitted.

    Values: `v_pi_i`, `v_pi_q` (V at the generator), `bias_i`, `bias_q`, `bias_p` (V: no light without drive and 90
    degrees between the arms, as near as the sources' steps allow), `offset_i`, `offset_q` (V of drive at which there is
    really no light), `quadrature_error` (rad), `imbalance`, `leak` (e) and `extinction_db` (e^2) of the children,
    `v_pi_bias_i`, `_q`, `_p` (V), `phase_i`, `phase_q`, `phase_p` (rad at 0 V, I and Q modulo pi) and `full_power` (W
    at the meter at full transmission).
    """

    name = "server.modulator"
    owner = Owner.SERVER
    title = "half-wave voltages, biases, imbalance and angle of the I/Q modulator"
    method = "scans of three bias and two drive voltages, read by the power meter behind the modulator; one global fit"
    requires = ("server.meters",)
    # Bias phases drift: what takes long and needs no working point comes first.
    prefers = ("server.shot-noise", "client.shot-noise", "polarisation.client", "polarisation.server")
    valid_for = HOUR / 2
    points: ClassVar[tuple[int, int]] = (13, 33)
    """Of a bias scan: quick and full."""
    drive_points: ClassVar[tuple[int, int]] = (7, 15)

    def applies(self, bench: CalibrationBench) -> bool:
        """Where biases can be set and light be seen behind the modulator."""
        return len(bench.transmitter.biases) == 3 and bench.transmitter.meter is not None

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Scan and fit; the biases are left at the working point."""
        transmitter = bench.transmitter
        meter = transmitter.meter
        assert meter is not None
        sheet = {key: float(transmitter.modulator.get(key) or value) for key, value in _SHEET.items()}
        reach = {arm: _reach(source) for arm, source in transmitter.biases.items()}
        scans = {arm: _scan(reach[arm], sheet["v_pi_bias"], self.points[not bench.quick]) for arm in "iqp"}
        rows: list[list[float]] = []
        seen: list[float] = []
        settings = {arm: _on_grid(transmitter.biases[arm], sum(reach[arm]) / 2, reach[arm]) for arm in "iqp"}
        drive = {"i": 0.0, "q": 0.0}

        def read(**changes: float) -> None:
            """Set what changes, and read."""
            changes = {arm: _on_grid(transmitter.biases[arm], value, reach[arm]) for arm, value in changes.items()}
            biases = {arm: value for arm, value in changes.items() if settings[arm] != value}
            settings.update(biases)
            transmitter.bias(**biases)
            rows.append([*settings.values(), drive["i"], drive["q"]])
            seen.append(meter.power)

        def play(i: float, q: float) -> None:
            drive["i"], drive["q"] = i, q
            count = max(transmitter.generator.memory.shortest, 2400)
            transmitter.play(np.full(count, i), np.full(count, q))

        bench.light()
        bench.gates(out=False)
        transmitter.bias(**settings)
        play(0.0, 0.0)
        total = 6
        phases, v_pi = [], {}
        for number, arm in enumerate(("i", "q"), start=1):
            yield Step(number, total, f"bias of {arm.upper()}")
            begin = len(seen)
            middle = settings[arm]
            for volts in scans[arm]:
                read(**{arm: float(volts)})
            stood = np.array(rows[begin:])[:, "iqp".index(arm)]
            phase, v_pi[arm] = iq.null_of(stood, np.array(seen[begin:]), sheet["v_pi_bias"])
            phases.append(phase)
            settings[arm] = middle
            transmitter.bias(**{arm: middle})
        bright = {
            arm: _nearest(math.pi / 2 - phase, v_pi[arm], reach[arm])
            for arm, phase in zip(("i", "q"), phases, strict=True)
        }
        dark = {arm: _nearest(-phase, v_pi[arm], reach[arm]) for arm, phase in zip(("i", "q"), phases, strict=True)}
        yield Step(3, total, "phase between the arms")
        for volts in scans["p"]:
            read(**bright, p=float(volts))
        for volts in scans["p"][:: 2 if bench.quick else 1]:
            read(i=bright["i"], q=dark["q"], p=float(volts))
        yield Step(4, total, "first fit")
        rough = _fitted(rows, seen, bench, sheet, phases)
        point = iq.working_point(rough, reach)
        if point is None:
            raise CalibrationFailed(
                f"no working point of {transmitter.name} lies within what its bias sources reach: "
                + ", ".join(f"{arm} {low:g} to {high:g} V" for arm, (low, high) in reach.items())
            )
        at = dict(zip("iqp", point.values, strict=True))
        levels = np.linspace(-1, 1, self.drive_points[not bench.quick]) * transmitter.drive
        for number, arm in enumerate(("i", "q"), start=5):
            yield Step(number, total, f"drive of {arm.upper()}")
            # At half transmission of one child and none of the other: where the slope is greatest.
            half = _nearest(math.pi / 4 - rough[f"phase_{arm}"], rough[f"v_pi_bias_{arm}"], reach[arm])
            places: dict[str, float] = {**at, arm: half}
            for level in levels:
                play(*((float(level), 0.0) if arm == "i" else (0.0, float(level))))
                read(**places)
        play(0.0, 0.0)
        # Once around the working point, so that the null is where the model says.
        for arm in "iqp":
            width = 0.15 * v_pi.get(arm, sheet["v_pi_bias"])
            for away in (-width, width):
                read(**{**at, arm: float(np.clip(at[arm] + away, *reach[arm]))})
        read(**at)
        found = _fitted(rows, seen, bench, sheet, phases)
        point = iq.working_point(found, reach)
        assert point is not None
        stand = {
            arm: _on_grid(transmitter.biases[arm], float(value), reach[arm])
            for arm, value in zip("iqp", point.values, strict=True)
        }
        transmitter.bias(**stand)
        transmitter.player.dark()
        measured = self.measured(found, np.array(list(stand.values())), np.array(rows), np.array(seen))
        measured.conditions["laser_power"] = transmitter.laser.power
        return measured

    def measured(self, found: Fit, biases: Real, rows: Real, seen: Real) -> Measured:
        """Values of a fit."""
        result = Measured(raw={"settings": rows, "powers": seen, "fitted": found.fitted, "residuals": found.residuals})
        result.check(
            found.chi_square < _MOST_CHI_SQUARE * found.freedom,
            f"the model does not describe the powers: chi square {found.chi_square:.0f} at {found.freedom}",
        )
        found = scaled(found)
        values, covariance = found.part("v_pi_i", "v_pi_q")
        # The phases go on drifting while the drive voltages are scanned.
        covariance = covariance + np.diag(np.square(_DRIFT * values))
        result.add_all(["v_pi_i", "v_pi_q"], values, covariance, ["V", "V"])
        for arm, volts in zip("iqp", biases, strict=True):
            result.add(f"bias_{arm}", float(volts), 0.0, "V")
        left = iq.remainder(found, biases)
        result.add_all(["offset_i", "offset_q", "quadrature_error"], left.values, left.covariance, ["V", "V", "rad"])
        result.add_fit(found, {"imbalance": ("imbalance", "")})
        result.add_fit(found, {"leak": ("leak", "")})
        leak, error = abs(found["leak"]), found.deviation("leak")
        result.add("extinction_db", -20 * math.log10(leak), 20 / math.log(10) * error / leak, "dB")
        keys = [f"phase_{arm}" for arm in "iqp"] + [f"v_pi_bias_{arm}" for arm in "iqp"]
        values, covariance = found.part(*keys)
        drift = np.concatenate([np.full(3, _DRIFT), _DRIFT / (2 * math.pi) * values[3:]])
        result.add_all(keys, values, covariance + np.diag(np.square(drift)), ["rad"] * 3 + ["V"] * 3)
        result.add_fit(found, {"power": ("full_power", "W")})
        return result

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Powers and the model in the order in which they were read, and the residuals below."""
        from labqdl_calibration.pictures import data_and_model

        return data_and_model(
            np.arange(raw["powers"].size, dtype=np.float64),
            1e6 * raw["powers"],
            1e6 * raw["fitted"],
            raw["residuals"],
            x="reading",
            y="power at the meter (µW)",
        )


def brighten(bench: CalibrationBench) -> None:
    """Go to biases at which much light passes, and drive nothing; needs no calibration.

    Bias after bias goes to the best of a few voltages over a period, twice. Nothing where there are no bias sources.
    """
    transmitter = bench.transmitter
    transmitter.player.dark()
    if transmitter.meter is None:
        return
    sheet = float(transmitter.modulator.get("v_pi_bias") or _SHEET["v_pi_bias"])
    at = {arm: _on_grid(source, sum(_reach(source)) / 2, _reach(source)) for arm, source in transmitter.biases.items()}
    transmitter.bias(**at)
    for _ in range(2):
        for arm, source in transmitter.biases.items():
            low, high = _reach(source)
            width = min(high - low, 2 * sheet)
            voltages = (low + high) / 2 + width * np.linspace(-0.5, 0.5, 8)
            seen = []
            for volts in voltages:
                transmitter.bias(**{arm: _on_grid(source, float(volts), (low, high))})
                seen.append(transmitter.meter.power)
            at[arm] = _on_grid(source, float(voltages[int(np.argmax(seen))]), (low, high))
            transmitter.bias(**{arm: at[arm]})


def _fitted(rows: list[list[float]], seen: list[float], bench: CalibrationBench, sheet: Any, phases: Any) -> Fit:
    powers = np.array(seen)
    noise = bench.calibrations.value("server.meters", "meter_noise")
    deviation = np.hypot(max(noise, 1e-4 * _RELATIVE * powers.max()), _RELATIVE * powers)
    return iq.fit(np.array(rows), powers, deviation, sheet, (phases[0], phases[1]), nodes=_NODES)


def _reach(source: Any) -> tuple[float, float]:
    """Least and greatest voltage that a source may be set to."""
    limits = type(source).voltage.limits_of(source)
    return max(one.low for one in limits), min(one.high for one in limits)


def _on_grid(source: Any, volts: float, reach: tuple[float, float]) -> float:
    """The nearest voltage that the source really gives."""
    step = type(source).step
    volts = float(np.clip(volts, *reach))
    return volts if step == 0 else min(round(volts / step) * step, reach[1])


def _scan(reach: tuple[float, float], v_pi: float, count: int) -> Real:
    """Voltages over two half-waves around the middle, or all that the source reaches."""
    middle, half = sum(reach) / 2, min((reach[1] - reach[0]) / 2, 1.5 * v_pi)
    return np.linspace(middle - half, middle + half, count)


def _nearest(angle: float, v_pi: float, reach: tuple[float, float]) -> float:
    """Voltage for an angle modulo pi, the one nearest to the middle of the reach."""
    middle = sum(reach) / 2
    volts = angle * v_pi / math.pi
    volts += v_pi * round((middle - volts) / v_pi)
    return float(np.clip(volts, *reach))
