"""Keysight and Agilent optical attenuators: N775x, N776x, 8157xA and 8156xA modules, 8156A (SCPI)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from labqdl.clock import Clock
from labqdl.driver import DBM, NANO, SI, Bool, Float, ScpiInstrument, Switched, Uses, Wire, reasons
from labqdl.instruments import Attenuator, Identity, Limit, OperationComplete, Part, Quantity, ReadBack
from labqdl.transport import InstrumentError, RoadOptions, Transport

_UNITS: dict[str, Wire] = {"0": DBM, "1": SI}
_SETTLED = OperationComplete(15.0)


class _Nanometres(Float):
    """A wavelength that is told in m, and set with its unit: a bare 1550 would be metres."""

    def form(self, value: float, part: Part) -> str:
        """Digits in nm; the template has the unit."""
        return format(NANO.from_si(value), ".8g")

    def rounded(self, part: Part, value: float) -> float:
        """To the digits in nm."""
        return NANO.to_si(float(self.form(value, part)))


class _Offset(Float):
    """The calibration offset, which moves the range of the attenuation."""

    def store(self, part: Part, value: float) -> None:
        """Set, and keep it for the limits of the attenuation."""
        super().store(part, value)
        cast(KeysightN77, part).offset_now = self.rounded(part, value)


class _Speed(Float):
    """The speed of the filter, which says how long a change takes."""

    def fetch(self, part: Part) -> float:
        """Ask, and keep it for waiting."""
        found = super().fetch(part)
        cast(KeysightN77, part).speed_now = found
        return found

    def store(self, part: Part, value: float) -> None:
        """Set, and keep it for the same."""
        super().store(part, value)
        cast(KeysightN77, part).speed_now = value


class _Power(Switched):
    """A power in dBm or W, as the front panel has it; the 8156A knows dBm only."""

    def ask_unit(self, part: Part) -> None:
        """Ask, unless it is an 8156A."""
        if cast(KeysightN77, part).single:
            self.current[part] = DBM
        else:
            super().ask_unit(part)


def _power(get: str, set: str | None = None, *, limited: bool = False, doc: str = "") -> _Power:
    return _Power(
        get,
        set,
        unit_query="OUTP{n}:POW:UNIT?",
        wires=_UNITS,
        unit="W",
        form=".7g",
        limits=(lambda attenuator: attenuator.powers) if limited else None,
        doc=doc,
    )


def _no_control(attenuator: KeysightN77) -> str:
    lacking = attenuator.single or attenuator.model.startswith("N775")
    return f"the sheet gives the {attenuator.model} no power control" if lacking else ""


def _not_single(attenuator: KeysightN77) -> str:
    return "" if attenuator.single or not attenuator.model else "only the 8156A has this mode; use power_reference"


def _single(attenuator: KeysightN77) -> str:
    return "the sheet does not give it to the 8156A" if attenuator.single else ""


class KeysightN77(ScpiInstrument, Attenuator):
    """One attenuator of a box.

    Attenuation is that of the filter plus `offset`, without the insertion loss. The ranges of attenuation, wavelength
    and power are asked for with MIN and MAX when it opens. Open the shutter at a high attenuation: a power loop that
    gets no light opens the filter fully. The shutter is the only real block, and it is what the safe state closes.

    Parameters
    ----------
    channel:
        Slot of the attenuator in its box: 1 and 3 in an N7752A or N7762A, 1, 3, 5, 7 in an N7764A. An 8156A has none.
    """

    maker = "Keysight"
    models = (
        *("N7751A", "N7752A", "N7761A", "N7762A", "N7764A", "N7766A", "N7768A", "8156A"),
        *("81560A", "81561A", "81566A", "81567A", "81570A", "81571A", "81576A", "81577A in an 8163, 8164 or 8166"),
    )
    sheet = "voa_keysight_n775x_n776x_8157x_8156a"
    identity_pattern = r"(?i)(agilent|keysight|hewlett.packard).* (N77[56]\d|8156|8157|816[346])"
    timeout = 5.0
    isolation = 45.0
    left_out: ClassVar = reasons(
        {
            "INP:LCM": "continuous mode of the 8156A's front panel",
            "OUTP:CORR:COLL:ZERO:ALL": "would zero meters of other slots, at which light may be",
            "FETC:POW": "READ gives a new reading",
        }
    )

    # Until the box was asked.
    model = ""
    single = False
    filter_range = Limit(reason="of the attenuator, not read yet")
    band = Limit(reason="of the attenuator, not read yet")
    powers = Limit(reason="of the attenuator, not read yet")
    offset_now = 0.0

    def __init__(
        self,
        resource: str | Transport,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
        channel: int = 1,
    ) -> None:
        super().__init__(resource, name=name, clock=clock, options=options)
        self.channel = channel

    @property
    def fields(self) -> Mapping[str, object]:  # type: ignore[override] # the number depends on the model
        """The slot, for templates; nothing for an 8156A."""
        return {"n": "" if self.single else self.channel}

    attenuation = Float(
        "INP{n}:ATT?",
        "INP{n}:ATT {}",
        unit="dB",
        form=".3f",  # the resolution of all models
        limits=lambda attenuator: attenuator.attenuations,
        done=_SETTLED,
    )
    open_shutter = Bool("OUTP{n}?", "OUTP{n} {}", done=ReadBack())
    wavelength = _Nanometres(
        "INP{n}:WAV?", "INP{n}:WAV {}NM", unit="m", limits=lambda attenuator: attenuator.band, done=_SETTLED
    )
    offset = _Offset(
        "INP{n}:OFFS?", "INP{n}:OFFS {}", unit="dB", form=".3f", doc="Calibration offset: moves the display only."
    ).moving("attenuation")
    speed = _Speed(
        "INP{n}:ATT:SPE?",
        "INP{n}:ATT:SPE {}",
        unit="dB/s",
        limits=(0.1, 1000.0),
        doc="Speed of a change; the 8157x go to 12 dB/s.",
    ).unless(_single)
    open_at_power_on = Bool(
        "OUTP{n}:STAT:APOW?", "OUTP{n}:STAT:APOW {}", energises=True, doc="Whether the shutter opens at power-on."
    )
    absolute_power = Bool(
        "OUTP{n}:APM?", "OUTP{n}:APM {}", on="ON", off="OFF", doc="Absolute power mode of the 8156A."
    ).unless(_not_single)
    power_control = Bool(
        "OUTP{n}:POW:CONT?", "OUTP{n}:POW:CONT {}", doc="Whether a loop holds the output power at `power`."
    ).unless(_no_control)
    power = _power("OUTP{n}:POW?", "OUTP{n}:POW {}", limited=True, doc="Output power that is to come out.").unless(
        lambda attenuator: "" if attenuator.single else _no_control(attenuator)
    )
    power_reference = _power(
        "OUTP{n}:POW:REF?", "OUTP{n}:POW:REF {}", doc="Power at 0 dB, from which models without meter calculate."
    ).unless(_single)
    power_in_watt = Bool(
        "OUTP{n}:POW:UNIT?", "OUTP{n}:POW:UNIT {}", doc="Whether the front panel has W instead of dBm."
    ).unless(_no_control)
    power_offset = Float(
        "OUTP{n}:POW:OFFS?", "OUTP{n}:POW:OFFS {}", unit="dB", doc="Calibration of the internal meter."
    ).unless(_no_control)
    averaging = Float(
        "OUTP{n}:ATIM?", "OUTP{n}:ATIM {}", unit="s", limits=(2e-3, 1.0), doc="Averaging time of the internal meter."
    ).unless(_no_control)
    measured_power = _power("READ{n}:POW?", doc="Output power at the internal meter.").unless(_no_control)

    def identity(self) -> Identity:
        """Ask ``*IDN?``, and know by it whether slots have numbers."""
        found = super().identity()
        self.model = found.model
        self.single = found.model == "8156A"
        return found

    speed_now = 1000.0

    def learn(self) -> None:
        """Read offset, speed and the ranges."""
        self.offset_now = self.offset
        if not self.single:
            self.speed_now = self.speed
        low, high = self._ends("INP{n}:ATT")
        self.filter_range = Limit(low - self.offset_now, high - self.offset_now, "of the attenuator")
        self.band = Limit(*self._ends("INP{n}:WAV"), "of the attenuator")
        if not _no_control(self):
            self.powers = Limit(*self.power_range(), "of the attenuator at its present wavelength")

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """What moves the filter takes its range over its speed, at most."""
        if quantity.done is _SETTLED:
            reach = self.filter_range.high - self.filter_range.low
            self.wait_complete(_SETTLED.timeout + (reach / self.speed_now if math.isfinite(reach) else 0.0))
        else:
            super().complete_part(part, quantity, value)

    def _ends(self, command: str) -> tuple[float, float]:
        command = command.format(**self.fields)
        return self.ask_number(f"{command}? MIN"), self.ask_number(f"{command}? MAX")

    @property
    def attenuations(self) -> Limit:
        """Limits of the attenuation at the present offset."""
        low, high = self.filter_range.low + self.offset_now, self.filter_range.high + self.offset_now
        return Limit(low, high, self.filter_range.reason)

    def power_range(self) -> tuple[float, float]:
        """Least and greatest output power that can be set now, in W."""
        quantity = type(self).power
        with self.exclusive():
            quantity.ask_unit(self)
            command = "OUTP{n}:POW".format(**self.fields)
            high, low = (quantity.wire_of(self).to_si(self.ask_number(f"{command}? {end}")) for end in ("MAX", "MIN"))
        return low, high

    @Uses("INP{n}:OFFS:DISP")
    def zero_display(self) -> None:
        """Make the present attenuation read 0 dB."""
        with self.exclusive():
            self.tell("INP{n}:OFFS:DISP".format(**self.fields))
            self.offset_now = self.offset
        self.remember(self, type(self).offset, self.offset_now)
        self.forget(self, "attenuation")

    @Uses("OUTP{n}:CORR:COLL:ZERO")
    def zero_meter(self) -> None:
        """Take the internal meter's present reading as dark, and wait (up to 40 s); no light may come in.

        Raises
        ------
        InstrumentError
            If the instrument says that it failed.
        """
        command = "OUTP{n}:CORR:COLL:ZERO".format(**self.fields)
        with self.exclusive():
            self.force(command)
            self.wait_complete(40.0)
            self.check_errors(command)
            result = int(self.ask_number(f"{command}?"))
        if result:
            raise self.transport.complain(InstrumentError("zeroing failed", code=result), command.encode())

    @Uses("*OPT?")
    def slots(self) -> list[str]:
        """What is in the slots of the box."""
        return [re.sub(r"\s+", " ", part).strip() for part in self.ask("*OPT?").split(",")]

    def safe_state(self) -> None:
        """Close the shutter and confirm it."""
        with self.unconditionally():
            self.force("OUTP{n} 0".format(**self.fields))
            self.wait_until(lambda: not self.open_shutter, 2.0, "close its shutter")
            self.remember(self, type(self).open_shutter, False)
