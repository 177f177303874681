"""Paddles of a polarisation controller, so that the light passes the polariser behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import CalibrationResult, Owner
from labqdl.instruments import NotACapability
from labqdl.subsystems.polarisation import Polarisation
from labqdl_calibration import fits
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Real
from labqdl_calibration.routine import HOUR, CalibrationFailed, Measured, Measuring, Routine, Step
from labqdl_calibration.routines.modulator import brighten
from labqdl_calibration.routines.timing import pass_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ATTENUATION = 20.0
"""Attenuator's setting for steady light on a receiver, dB."""


class Paddles(Routine):
    """Each paddle in turn is turned through half a turn, and goes to where most light passes the polariser; twice.

    What passes is 1, cos and sin of twice and of four times the paddle's angle; five coefficients are fitted, and the
    greatest value of the fit is where the paddle goes. The light is seen by the meter behind the polariser, or, where
    there is none, by the receiver.

    Values: `angle_1`, `angle_2`, ... (rad), `contrast` (most over least that a paddle saw in the last round), `passed`
    (level reached, W, or V^2 of an integrated bin).
    """

    title = "paddles before the polariser"
    method = "light behind the polariser against the angle of each paddle, harmonics of 2 and 4"
    valid_for = 1 * HOUR
    points: ClassVar[tuple[int, int]] = (6, 12)
    rounds: ClassVar[tuple[int, int]] = (2, 3)

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # type: ignore[misc]
        self.name = f"polarisation.{owner.value}"  # type: ignore[misc]
        self.requires = ("client.meters",) if owner is Owner.CLIENT else ("bench.warm-up",)  # type: ignore[misc]
        self.prefers = ("server.meters",) if owner is Owner.CLIENT else ("polarisation.client",)  # type: ignore[misc]

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a controller and something behind it that sees light."""
        return self._controller(bench) is not None

    def _controller(self, bench: CalibrationBench) -> Polarisation | None:
        return bench.server.polarisation if self.owner is Owner.SERVER else bench.client.polarisation

    def measure(self, bench: CalibrationBench) -> Measuring:
        """Turn paddle by paddle."""
        controller = self._controller(bench)
        assert controller is not None
        paddles = controller.paddles
        rounds, points = self.rounds[not bench.quick], self.points[not bench.quick]
        reach = [_reach(paddle) for paddle in paddles]
        angles = [min(max(one, low), high) for one, (low, high) in zip(controller.angles(), reach, strict=True)]
        found = Measured()
        contrast, level = 1.0, 0.0
        # A meter wants all the light there is, a receiver far less than what saturates it.
        bench.light(0.0 if controller.meter is not None else _ATTENUATION)
        brighten(bench)
        if self.owner is Owner.SERVER:
            pass_all(bench)
        bench.gates(out=True, client=True, server=self.owner is Owner.SERVER)
        try:
            for turn in range(rounds):
                for number, paddle in enumerate(paddles):
                    yield Step(turn * len(paddles) + number + 1, rounds * len(paddles), f"paddle {number + 1}")
                    low, high = reach[number]
                    places = np.linspace(low, min(high, low + math.pi), points, endpoint=high - low < math.pi)
                    seen = []
                    for place in places:
                        paddle.angle = float(place)
                        seen.append(self._level(bench, controller))
                    values = np.array(seen)
                    best, level = _top(places, values, reach[number])
                    paddle.angle = angles[number] = best
                    found.raw |= {f"angles_{turn}_{number}": places, f"levels_{turn}_{number}": values}
                    contrast = max(
                        contrast if turn == rounds - 1 else 1.0, float(values.max() / max(values.min(), 1e-30))
                    )
        finally:
            bench.gates(out=False, client=False, server=False)
        if not level > 0:
            raise CalibrationFailed(f"no light is seen behind {controller.name}")
        for number, angle in enumerate(angles, start=1):
            found.add(f"angle_{number}", angle, 0.0, "rad")
        found.add("contrast", contrast, 0.0)
        found.add("passed", level, 0.0, "W" if controller.meter is not None else "V^2")
        return found

    def _level(self, bench: CalibrationBench, controller: Polarisation) -> float:
        if controller.meter is not None:
            zero = bench.calibrations.value(f"{self.owner.value}.meters", "meter_zero")
            return float(np.mean([controller.meter.power for _ in range(2)])) - zero
        # Steady bright light beats with the local oscillator, at a phase that wanders: both quadratures in turn.
        receiver = bench.receiver(self.owner)
        length = 40 * bench.bin_time
        total = 0.0
        for share in (0.0, 0.5):
            self._turn(bench, share)
            record = receiver.record(length)
            total += float(np.mean(receiver.dark_bins(record, bench.layout(1)).real)) ** 2
        return total

    def _turn(self, bench: CalibrationBench, share: float) -> None:
        """Hold the server's local oscillator turned by a share of half a turn, by the data sheet."""
        player = bench.server.receiver.player
        if player is None:
            return
        from labqdl.instruments import Trigger

        sheet = 2.0
        for entry in bench.file.subsystems.values():
            filling = entry.roles.get("lo_modulator")
            if filling is not None and not isinstance(filling, tuple):
                sheet = float(bench.sheet(filling.name).get("v_pi") or sheet)
        player.prepare(Trigger.FREE, bench.transmitter.sample_rate)
        player.load({"lo-phase": np.full(2400, share * sheet)}, repeated=True)
        player.switch(True)
        player.arm()

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """Level against the angle of each paddle in the last round."""
        from labqdl_calibration.pictures import scans

        last = max(int(name.split("_")[1]) for name in raw if name.startswith("angles"))
        pairs = {
            f"paddle {number + 1}": (raw[f"angles_{last}_{number}"], raw[f"levels_{last}_{number}"])
            for number in range(sum(1 for name in raw if name.startswith(f"angles_{last}_")))
        }
        return scans(pairs, x="angle (rad)", y="light behind the polariser")


def _reach(paddle: Any) -> tuple[float, float]:
    try:
        limits = type(paddle).angle.limits_of(paddle)
    except NotACapability:
        limits = []
    low = max((one.low for one in limits), default=0.0)
    high = min((one.high for one in limits), default=math.pi)
    return (low if math.isfinite(low) else 0.0), (high if math.isfinite(high) else math.pi)


def _top(angles: Real, seen: Real, reach: tuple[float, float]) -> tuple[float, float]:
    """Angle at which most passes, and how much: of the fit with harmonics of twice and four times the angle."""
    columns = [np.ones_like(angles), *(f(k * angles) for k in (2, 4) for f in (np.cos, np.sin))]
    keys = ("one", "c2", "s2", "c4", "s4")
    fine = np.linspace(*reach, 721)
    shape = [np.ones_like(fine), *(f(k * fine) for k in (2, 4) for f in (np.cos, np.sin))]
    fit = fits.linear(columns, keys, seen)
    curve = sum(value * column for value, column in zip(fit.values, shape, strict=True))
    place = int(np.argmax(curve))
    return float(fine[place]), float(curve[place])
