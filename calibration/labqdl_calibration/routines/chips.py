"""Heaters of a chip of Mach-Zehnder interferometers and of its inverse, from matrices at random voltages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import integrate
from labqdl.facts import CalibrationResult, Owner
from labqdl.subsystems.interferometer import MziInterferometer, Way
from labqdl_calibration import chip_fit
from labqdl_calibration.bench import CalibrationBench
from labqdl_calibration.fits import Real
from labqdl_calibration.routine import DAY, CalibrationFailed, Measured, Measuring, Routine, Step
from labqdl_calibration.routines.interferometer import Tree, alternating, attenuation_for, timing_of, wide_range
from labqdl_calibration.routines.timing import light_shot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Complex = NDArray[np.complex128]
_PEAK_SHARE = 0.35
_TURNS = 1.15
"""Turns that a heater is driven through."""
_MISFIT = 0.08
"""What may be left of the matrices, over what they are."""


class Steering(Routine):
    """What steers the carry: a tree's couplers and phase modulator, or a chip's heaters.

    The values of a tree are those of `Tree`. A chip gets light in one mode after the other at random voltages; forward
    the client sees what reaches the carry, for the inverse the server sees what leaves each port, and the chain of
    elements is fitted to it. Values: for each heater of the banks theta, phi and, of the inverse, ret `BANK_slope_K`
    (rad/V^2) and `BANK_offset_K` (rad), and `crosstalk`.
    """

    valid_for = 7 * DAY
    settings: ClassVar[tuple[int, int]] = (40, 80)
    repeats: ClassVar[tuple[int, int]] = (8, 24)

    def __init__(self, way: Way) -> None:
        self.way = way
        self._tree = Tree(way)
        self.owner = self._tree.owner  # type: ignore[misc]
        self.name = self._tree.name  # type: ignore[misc]
        self.requires = self._tree.requires  # type: ignore[misc]
        self.title = f"what steers the carry, {way.value}"  # type: ignore[misc]
        self.method = "light of single bins behind the interferometer at many voltages"  # type: ignore[misc]
        self.valid_for = self._tree.valid_for  # type: ignore[misc]
        self.version = self._tree.version  # type: ignore[misc]

    def applies(self, bench: CalibrationBench) -> bool:
        """Where there is a tree or a chip."""
        return self._tree.applies(bench) or isinstance(bench.client.interferometer, MziInterferometer)

    def measure(self, bench: CalibrationBench) -> Measuring:
        """One shot a setting of the heaters; a tree as `Tree` does."""
        if self._tree.applies(bench):
            return (yield from self._tree.measure(bench))
        chip = bench.client.interferometer
        assert isinstance(chip, MziInterferometer)
        random = np.random.default_rng(8)  # the same voltages every time
        heat: dict[str, list[Real]] = {}
        seen: list[Complex] = []
        count = self.settings[not bench.quick]
        ways = (Way.FORWARD,) if self.way is Way.FORWARD else tuple(Way)
        known = {} if self.way is Way.FORWARD else {Way.FORWARD: bench.calibrations.result("client.interferometer")}

        def raw() -> dict[str, NDArray[Any]]:
            return {name: np.array(rows) for name, rows in heat.items()} | {"seen": np.array(seen)}

        for number in range(1, count + 1):
            yield Step(number, count, f"{self.way.value}, setting {number}")
            if number == count // 2 + 1:
                # Random phases leave little light to the first elements; random vectors give all of them their share.
                known[self.way] = self.signed(self.measured(bench, chip, raw()), bench)
            for way in ways:
                volts = self._volts(chip, way, random, known.get(way))
                chip.drive(way, **volts)
                for bank, one in volts.items():
                    heat.setdefault(f"{way}-{bank}", []).append(one**2)
            seen.append(self._shot(bench))
        return self.measured(bench, chip, raw())

    def _volts(
        self, chip: MziInterferometer, way: Way, random: np.random.Generator, known: CalibrationResult | None
    ) -> dict[str, Real]:
        """Voltages of random phases, or of a random vector where its heaters are known well enough."""
        if known is None:
            most = 2 * math.pi * _TURNS / float(chip.sheets[way].get("phase_per_v2") or 0.1)
            return {bank: np.sqrt(random.uniform(0.0, most, len(places))) for bank, places in chip.banks[way].items()}
        u = random.standard_normal((2, chip.n_modes))
        vector = (u[0] + 1j * u[1]) / np.linalg.norm(u)
        return chip.bank_voltages(vector, way, known)

    def _shot(self, bench: CalibrationBench) -> Complex:
        """What light of each mode becomes: (n,) in the carry, or (ports, n) at the server, V."""
        modes, repeats = bench.frame.n_modes, self.repeats[not bench.quick]
        owner = Owner.CLIENT if self.way is Way.FORWARD else Owner.SERVER
        each = repeats if owner is Owner.CLIENT else 2 * repeats
        layout = bench.layout(modes * each, preamble=2, guard=2)
        rows = layout.data_rows.ravel()
        symbols = np.zeros((layout.total_rows, modes), np.complex128)
        symbols[rows, np.repeat(np.arange(modes), each)] = 1.0
        receiver = bench.receiver(owner)
        bench.gates(out=True, client=True, server=owner is Owner.SERVER)
        try:
            with wide_range(receiver) as half:
                bench.light(attenuation_for(bench, owner, _PEAK_SHARE * half))
                lo_phase = alternating(bench, layout) if owner is Owner.SERVER else None
                record = light_shot(bench, layout, symbols, record=(owner,), lo_phase=lo_phase, tail=30e-6)[owner]
        finally:
            bench.gates(out=False, client=False, server=False)
        timing = timing_of(bench, owner, record)
        if owner is Owner.CLIENT:
            values = integrate(record.volts, timing, layout, carry_only=True)[rows]
            return np.asarray(values.reshape(modes, each).mean(axis=1), np.complex128)
        values = integrate(record.volts, timing, layout)[rows]
        odd, lit = rows % 2 == 1, np.repeat(np.arange(modes), each)
        sides = [np.array([values[side & (lit == mode)].mean(axis=0) for mode in range(modes)]) for side in (~odd, odd)]
        return np.asarray((sides[0] + 1j * sides[1]).T)

    def measured(self, bench: CalibrationBench, chip: MziInterferometer, raw: dict[str, NDArray[Any]]) -> Measured:
        """Values of what was seen at the heats of `raw`."""
        sheet = chip.sheets[self.way]
        slope, crosstalk = float(sheet.get("phase_per_v2") or 0.1), float(sheet.get("crosstalk") or 0.0)
        heats = {bank: raw[f"{self.way}-{bank}"] for bank in chip.banks[self.way]}
        if self.way is Way.FORWARD:
            fit = chip_fit.forward(heats["theta"], heats["phi"], raw["seen"], slope, crosstalk)
        else:
            known = bench.calibrations.result("client.interferometer")

            def passed(name: str) -> Real:
                heat = raw[f"forward-{name}"]
                places = range(heat.shape[1])
                one = chip_fit.Bank(
                    np.array([known.value(f"{name}_slope_{k}") for k in places]),
                    np.array([known.value(f"{name}_offset_{k}") for k in places]),
                )
                return one.phases(heat, known.value("crosstalk"))

            first = chip_fit.chain(passed("theta"), passed("phi"))
            fit = chip_fit.inverse(heats["theta"], heats["phi"], heats["ret"], raw["seen"], first, slope, crosstalk)
        found = Measured(raw=raw)
        for name, bank in fit.banks.items():
            for k, (value, offset) in enumerate(zip(bank.slopes, bank.offsets, strict=True)):
                found.add(f"{name}_slope_{k}", float(value), float(fit.deviations[name].slopes[k]), "rad/V^2")
                found.add(f"{name}_offset_{k}", float(offset), float(fit.deviations[name].offsets[k]), "rad")
        found.add("crosstalk", fit.crosstalk, fit.crosstalk_deviation)
        found.add("misfit", fit.misfit, 0.0)
        if fit.misfit > 5 * _MISFIT:
            raise CalibrationFailed(
                f"the chip is no chain of such elements: {fit.misfit:.2f} of the light is left over"
            )
        found.check(fit.misfit < _MISFIT, f"{fit.misfit:.3f} of the light is left over")
        return found

    def draw(self, result: CalibrationResult, raw: Mapping[str, NDArray[Any]]) -> Figure | None:
        """A tree's picture; none of a chip, which has too many heaters for one."""
        return None if "seen" in raw and any("theta" in name for name in raw) else self._tree.draw(result, raw)
