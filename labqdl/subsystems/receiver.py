"""A locked homodyne receiver: digitizer, gate, phase servo and, at the server, the phase of its local oscillator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import Timing, find_shot, integrate
from labqdl.errors import LabqdlError
from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.layout import FrameLayout
from labqdl.facts.ledger import Owner
from labqdl.instruments import (
    Digitizer,
    Input,
    LockState,
    NotACapability,
    NotConfirmed,
    Output,
    PhaseServo,
    PolarizationController,
    PowerMeter,
    Trigger,
)
from labqdl.subsystems.errors import ShotInvalid
from labqdl.subsystems.gate import Gate
from labqdl.subsystems.player import Player, held
from labqdl.subsystems.roles import Roles
from labqdl.transport import TransportTimeout

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

_MARGIN = 10e-6
"""Seconds that are recorded behind what is expected."""
_PATIENCE = 5.0
"""Seconds, beyond its length, for which a record is waited for."""
_LOCKING = 5.0
"""Seconds that a servo gets to lock."""
_LOOK, _LONGEST_LOOK = 0.002, 0.2
"""Seconds between two looks at a servo's state, at first and at most."""
_HALF = 0.5
"""Share of a record before the trigger, where a digitizer neither tells nor lets it be set."""
_SHORTEST = 1000
_RANGES = (1.0, 2.0, 4.0, 10.0, 20.0, 40.0)
"""Ranges of an input, by that of the station file."""
_ROOM = 1.2
"""Range over what is expected at most."""
_NOISE_PEAK = 6.0
"""Standard deviations of noise for which there is room."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a receiver recorded.

    Attributes
    ----------
    volts:
        (n,); x + i p where both quadratures are recorded.
    start, interval:
        Time of the first sample relative to the trigger and time between samples, s.
    """

    volts: NDArray[Any]
    start: float
    interval: float

    @property
    def x(self) -> Real:
        """The first quadrature alone."""
        found: Real = np.ascontiguousarray(self.volts.real)
        return found


class HomodyneReceiver:
    """A homodyne receiver of one party.

    Voltages of integrated bins become square roots of SNU by the calibration "PARTY.shot-noise": `snu` is the variance
    of an integrated vacuum bin less that of the electronics, V^2.
    """

    def __init__(self, roles: Roles, owner: Owner, calibrations: CalibrationSet) -> None:
        self.name = roles.name
        self.owner = owner
        self.calibrations = calibrations
        self.x = roles.channel("x", Input)
        self.p = roles.optional_channel("p", Input)
        self.digitizer = cast(Digitizer, self.x.instrument)
        if self.p is not None and self.p.instrument is not self.digitizer:
            raise roles.wrong("p", "stands in another digitizer than x", expected="two inputs of one digitizer")
        self.gate = Gate.of(roles)
        self.lock = roles.optional("lock", PhaseServo)
        self.meter = roles.optional("meter", PowerMeter)
        self.polarisation = roles.optional("polarisation", PolarizationController)
        output = roles.optional_channel("lo_phase", Output)
        self.player = (
            None if output is None else Player({"lo-phase": output}, {"lo-phase": roles.setting("phase_amplitude")})
        )
        self.detector = roles.component("detector")
        self._least_range = self._range = float(roles.setting("range"))
        self._impedance = float(roles.setting("impedance"))
        self._rate = roles.setting("sample_rate")
        self._configured = False
        self._before = math.nan

    # --- recording ----------------------------------------------------------------------------------------------------

    @property
    def sample_rate(self) -> float:
        """Samples a second."""
        return self.digitizer.sample_rate if self._rate is None else float(self._rate)

    def configure(self) -> None:
        """Rate, inputs and trigger, as the station file says."""
        if self._rate is not None and self.digitizer.sample_rate != self._rate:
            self.digitizer.sample_rate = self._rate
        for one in self.inputs:
            one.enabled = True
            for name, value in (("impedance", self._impedance), ("range", self._range), ("offset", 0.0)):
                try:
                    if getattr(one, name) != value:
                        setattr(one, name, value)
                except NotACapability:
                    continue
        self.digitizer.trigger_source = Trigger.EXTERNAL
        self._configured, self._before = True, math.nan

    def make_room(self, largest: float, samples: float) -> None:
        """Widen the inputs' range for bright bins; it is never narrower than the station file says.

        Parameters
        ----------
        largest:
            Modulus of the brightest bin, square roots of SNU at this receiver.
        samples:
            Samples of a bin's window.
        """
        unit = math.sqrt(self.snu)
        volts = unit * (largest / math.sqrt(max(samples, 1.0)) + _NOISE_PEAK)
        wanted = next(
            (step * self._least_range for step in _RANGES if step * self._least_range >= 2 * _ROOM * volts),
            _RANGES[-1] * self._least_range,
        )
        if wanted != self._range:
            self._range = wanted
            self.configure()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """x, and p where it is recorded."""
        return (self.x,) if self.p is None else (self.x, self.p)

    def arm(self, duration: float, trigger: float = 0.0) -> None:
        """Record `duration` seconds and a margin; returns when the digitizer waits for its trigger.

        Parameters
        ----------
        trigger:
            How long after the beginning of what is wanted the trigger comes, s.
        """
        share = self.before_share()
        behind = (duration + _MARGIN - trigger) / (1.0 - share)
        self._arm(max(behind, trigger / share if trigger > 0 else 0.0))

    def _arm(self, seconds: float) -> None:
        if not self._configured:
            self.configure()
        length = max(math.ceil(seconds * self.sample_rate), _SHORTEST)
        if self.digitizer.record_length != length:
            self.digitizer.record_length = length
        self.digitizer.arm()

    def before_share(self) -> float:
        """Share of a record that lies before its trigger."""
        if not self._configured:
            self.configure()
        if math.isnan(self._before):
            quantity = type(self.digitizer).pre_trigger
            try:
                if quantity.capable and not quantity.read_only:
                    self.digitizer.pre_trigger = 0.0
                found = self.digitizer.pre_trigger * self.sample_rate / self.digitizer.record_length
                self._before = min(max(found, 0.0), 0.95)
            except LabqdlError:
                self._before = _HALF
        return self._before

    def wait(self, duration: float) -> None:
        """Return when the record is complete.

        Raises
        ------
        ShotInvalid
            Where the trigger did not come.
        """
        try:
            self.digitizer.wait(duration + _PATIENCE)
        except (TransportTimeout, NotConfirmed) as error:
            self.digitizer.stop()
            raise ShotInvalid(self.digitizer.name, f"was not triggered ({error})") from error

    def fetch(self) -> Recorded:
        """Transfer what was recorded.

        Raises
        ------
        ShotInvalid
            For a record with overload.
        """
        parts = []
        for one in self.inputs:
            found = self.digitizer.fetch(one.number)
            if found.overload:
                largest = float(np.max(np.abs(found.volts), initial=0.0))
                raise ShotInvalid(
                    self.digitizer.name, f"input {one.number} is overloaded at {largest:.3g} V of {self._range:g} V"
                )
            parts.append(found)
        volts = parts[0].volts if len(parts) == 1 else parts[0].volts + 1j * parts[1].volts
        return Recorded(volts, parts[0].start, parts[0].interval)

    def record(self, duration: float) -> Recorded:
        """Record so many seconds now, without a trigger of anybody; needs no calibration."""
        self._arm(duration)
        self.digitizer.force_trigger()
        self.wait(duration)
        return self.fetch()

    def vacuum(self, duration: float) -> Recorded:
        """Record with the own gate closed. The servo's loop is opened, since it has nothing to hold on to: see `hold`.

        Raises
        ------
        ShotInvalid
            For a receiver without a gate of its own.
        """
        if self.gate is None:
            raise ShotInvalid(self.name, "has no gate of its own, so that there is no vacuum to be measured")
        if self.lock is not None and self.lock.engaged:
            self.lock.engaged = False
        if not self.gate.passing:
            return self.record(duration)
        self.gate.block()
        try:
            return self.record(duration)
        finally:
            self.gate.open()

    # --- phase --------------------------------------------------------------------------------------------------------

    def hold(self, set_point: float | None = None) -> None:
        """Close the servo's loop and wait until it holds; nothing without a servo.

        Parameters
        ----------
        set_point:
            Error signal to be held, V; None: as calibrated in "PARTY.lock" (`set_point`), or as it is.

        Raises
        ------
        ShotInvalid
            Where it does not lock.
        """
        if self.lock is None:
            return
        name = f"{self.owner.value}.lock"
        if set_point is None and name in self.calibrations:
            set_point = self.calibrations.result(name).values.get("set_point")
        if set_point is not None and self.lock.set_point != set_point:
            self.lock.set_point = set_point
        if self.lock.engaged and self.lock.state is LockState.SLIPPED:
            self.lock.engaged = False
        if not self.lock.engaged:
            self.lock.engaged = True
        clock = self.lock.clock
        deadline, pause = clock.monotonic() + _LOCKING, _LOOK
        while (state := self.lock.state) is not LockState.LOCKED:
            if clock.monotonic() > deadline:
                raise ShotInvalid(self.lock.name, f"does not lock, it is {state.value}")
            clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    def demand_lock(self) -> None:
        """ShotInvalid unless the servo holds; nothing without a servo."""
        if self.lock is not None and (state := self.lock.state) is not LockState.LOCKED:
            raise ShotInvalid(self.lock.name, f"is {state.value}")

    def release(self) -> None:
        """Open the servo's loop and switch the phase output off."""
        if self.lock is not None and self.lock.is_open:
            self.lock.engaged = False
        if self.player is not None:
            self.player.dark()
        self._configured = False

    def load_pattern(self, turned: NDArray[np.bool_], layout: FrameLayout, rate: float) -> None:
        """Turn the local oscillator to P where `turned` says so, (total_rows, n_modes), at the times of the light.

        The returned light comes later than it was sent, by the calibrated delay of "PARTY.timing" less that of the
        phase modulator itself (`delay` of "PARTY.lo-phase").

        Parameters
        ----------
        rate:
            Samples a second of the generator.
        """
        if self.player is None:
            if turned.any():
                raise ShotInvalid(self.name, "no output turns its local oscillator, and P is to be measured")
            return
        party = self.owner.value
        lo = self.calibrations.result(f"{party}.lo-phase")
        delay = self.calibrations.value(f"{party}.timing", "delay") - lo.values.get("delay", 0.0)
        volts = 0.5 * lo.value("v_pi") * lo.values.get("sign", 1.0)
        wave = held(np.where(turned, volts, 0.0), layout, rate, delay)
        self.player.ready()
        self.player.load({"lo-phase": wave})

    def arm_pattern(self) -> None:
        """The phase output on; its generator is armed with the transmitter's."""
        if self.player is not None:
            self.player.switch(True)

    # --- figures ------------------------------------------------------------------------------------------------------

    @property
    def snu(self) -> float:
        """Variance of an integrated vacuum bin less that of the electronics, V^2."""
        return self.calibrations.value(f"{self.owner.value}.shot-noise", "snu")

    def timing(self, found: Recorded, trigger: float = 0.0) -> Timing:
        """Where a shot lies in a record by calibration alone; `trigger` as for `arm`."""
        result = self.calibrations.result(f"{self.owner.value}.timing")
        start = result.value("delay") - trigger - found.start
        return Timing.known(start, found.interval, result.values.get("clock_ppm", 0.0))

    def find(
        self,
        found: Recorded,
        layout: FrameLayout,
        *,
        carry_only: bool,
        reach: float | None = None,
        trigger: float = 0.0,
    ) -> Timing:
        """Where a shot lies in a record, by its preamble; DspError where none is found.

        Parameters
        ----------
        trigger:
            As for `arm`.
        reach:
            Seconds around the calibrated place in which it is looked for; None: anywhere.
        """
        name = f"{self.owner.value}.timing"
        if name not in self.calibrations:
            return find_shot(found.volts, found.interval, None, layout, carry_only=carry_only)
        result = self.calibrations.result(name)
        place = result.value("delay") - trigger - found.start
        return find_shot(
            found.volts,
            found.interval,
            None,
            layout,
            carry_only=carry_only,
            clock_ppm=result.values.get("clock_ppm", 0.0),
            search=None if reach is None else (place - reach, place + reach),
        )

    def bins(
        self, found: Recorded, timing: Timing, layout: FrameLayout, offset: complex = 0.0, *, carry_only: bool = False
    ) -> NDArray[Any]:
        """Quadratures of the bins in square roots of SNU, less an offset in volts of an integrated bin."""
        values = integrate(found.volts, timing, layout, carry_only=carry_only)
        values -= offset if np.iscomplexobj(values) else np.real(offset)
        values /= math.sqrt(self.snu)
        return values

    def dark_bins(self, found: Recorded, layout: FrameLayout) -> NDArray[Any]:
        """All bins of a record without light as `integrate` makes them, in volts; (bins,)."""
        bins = math.floor(found.volts.size * found.interval / layout.bin_time)
        dark = FrameLayout(
            n_modes=1,
            images=1,
            rows=max(bins - 1, 1),
            bin_rate=layout.bin_rate,
            duty=layout.duty,
            guard_rows=0,
            preamble_rows=1,
            pilot_every=0,
        )
        values = integrate(found.volts, Timing.known(-found.interval / 2, found.interval), dark).ravel()
        dark_values: NDArray[Any] = values[np.isfinite(values)]
        return dark_values
