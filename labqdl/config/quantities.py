"""Quantities as people write them, "0.2 dB/km", to floats in SI (decibel quantities as named by each dimension)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labqdl.errors import InputError
from labqdl.units import dbm, from_db

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dimension:
    """A kind of quantity and the units in which it may be given.

    Attributes
    ----------
    name:
        What it is, for messages: "a length".
    units:
        Factor to the stored unit, or a function where the unit is logarithmic.
    stored:
        The unit of the value that comes out.
    example:
        A value that would be right.
    plain:
        Whether a number without a unit is accepted (then the unit is 1).
    """

    name: str
    units: Mapping[str, float | Callable[[float], float]]
    stored: str
    example: str
    plain: bool = False

    @property
    def words(self) -> str:
        """What would be right, for messages and documentation."""
        if self.plain:
            return f"{self.name} (a number, or text with {' or '.join(self.units)})"
        return f'{self.name} such as "{self.example}"'


LOSS = Dimension("a loss", {"dB": 1.0}, "dB", "0.25 dB")
LOSS_PER_LENGTH = Dimension("a loss per length", {"dB/km": 1e-3, "dB/m": 1.0, "dB/cm": 100.0}, "dB/m", "0.2 dB/km")
LENGTH = Dimension(
    "a length", {"km": 1e3, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "pm": 1e-12}, "m", "10 km"
)
WAVELENGTH = Dimension("a wavelength", {"nm": 1e-9, "um": 1e-6, "pm": 1e-12, "m": 1.0}, "m", "1550 nm")
ANGLE = Dimension("an angle", {"rad": 1.0, "mrad": 1e-3, "urad": 1e-6, "deg": math.pi / 180}, "rad", "5 mrad")
NOISE = Dimension("a noise variance", {"SNU": 1.0, "mSNU": 1e-3}, "SNU", "0.01 SNU")
POWER = Dimension(
    "a power",
    {
        "W": 1.0,
        "mW": 1e-3,
        "uW": 1e-6,
        "nW": 1e-9,
        "pW": 1e-12,
        "fW": 1e-15,
        "dBm": lambda level: 1e-3 * from_db(level),
    },
    "W",
    "3 dBm",
)
TIME = Dimension(
    "a time", {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "min": 60.0, "h": 3600.0}, "s", "20 ns"
)
FREQUENCY = Dimension("a frequency", {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9, "THz": 1e12}, "Hz", "100 MHz")
RATIO = Dimension("a power ratio", {"dB": from_db, "%": 0.01}, "1", "0.85", plain=True)

VOLTAGE = Dimension("a voltage", {"V": 1.0, "kV": 1e3, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}, "V", "2.5 V")
CURRENT = Dimension("a current", {"A": 1.0, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9, "pA": 1e-12}, "A", "120 mA")
RESISTANCE = Dimension("a resistance", {"Ohm": 1.0, "kOhm": 1e3, "MOhm": 1e6, "mOhm": 1e-3}, "Ohm", "50 Ohm")
TEMPERATURE = Dimension(
    "a temperature",
    {
        "K": 1.0,
        "mK": 1e-3,
        "degC": lambda celsius: celsius + 273.15,
        "\u00b0C": lambda celsius: celsius + 273.15,
        "C": lambda celsius: celsius + 273.15,
    },
    "K",
    "25 degC",
)
DECIBEL = Dimension("a ratio in decibels", {"dB": 1.0}, "dB", "10 dB")
RATE = Dimension("a sampling rate", {"S/s": 1.0, "kS/s": 1e3, "MS/s": 1e6, "GS/s": 1e9}, "S/s", "125 MS/s")
RESPONSIVITY = Dimension("a responsivity", {"A/W": 1.0, "mA/W": 1e-3}, "A/W", "0.95 A/W")
TRANSIMPEDANCE = Dimension("a transimpedance", {"V/A": 1.0, "kV/A": 1e3, "MV/A": 1e6}, "V/A", "10 kV/A")
NOISE_CURRENT = Dimension(
    "a noise current density",
    {"A/sqrt(Hz)": 1.0, "pA/sqrt(Hz)": 1e-12, "fA/sqrt(Hz)": 1e-15},
    "A/sqrt(Hz)",
    "5 pA/sqrt(Hz)",
)
SWEEP = Dimension("a sweep of wavelength", {"m/s": 1.0, "um/s": 1e-6, "nm/s": 1e-9, "pm/s": 1e-12}, "m/s", "10 nm/s")
LOSS_RATE = Dimension("a change of loss", {"dB/s": 1.0}, "dB/s", "10 dB/s")
NUMBER = Dimension("a number", {"%": 0.01}, "1", "4", plain=True)

DIMENSIONS = (
    LOSS,
    LOSS_PER_LENGTH,
    LENGTH,
    WAVELENGTH,
    ANGLE,
    NOISE,
    POWER,
    TIME,
    FREQUENCY,
    RATIO,
    VOLTAGE,
    CURRENT,
    RESISTANCE,
    TEMPERATURE,
    DECIBEL,
    RATE,
    RESPONSIVITY,
    TRANSIMPEDANCE,
    NOISE_CURRENT,
    SWEEP,
    LOSS_RATE,
    NUMBER,
)

BY_UNIT: Mapping[str, Dimension] = {
    "W": POWER,
    "m": LENGTH,
    "Hz": FREQUENCY,
    "V": VOLTAGE,
    "A": CURRENT,
    "Ohm": RESISTANCE,
    "s": TIME,
    "rad": ANGLE,
    "K": TEMPERATURE,
    "dB": DECIBEL,
    "1": NUMBER,
    "": NUMBER,
    "S/s": RATE,
    "A/W": RESPONSIVITY,
    "m/s": SWEEP,
    "dB/s": LOSS_RATE,
}
"""The units in which a person may give an instrument's quantity, by its SI unit."""


def parse_quantity(
    value: object,
    dimension: Dimension,
    *,
    source: str | None = None,
    key: str | None = None,
    line: int | None = None,
) -> float:
    """The value of a quantity in the dimension's stored unit; always finite.

    `value` is a string with a unit ("3 dB"), or a number where the dimension has the unit 1. `source`, `key` and
    `line` go into the message.

    Raises
    ------
    InputError
        For another type, a wrong or missing unit, text that is no quantity, and what is not finite.
    """

    def wrong(problem: str, hint: str | None = None) -> InputError:
        return InputError(problem, source=source, key=key, line=line, expected=dimension.words, hint=hint)

    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(f"{_shown(value)} is no quantity")
    if isinstance(value, int | float):
        number, unit = _finite(value), None
    else:
        match = _QUANTITY.fullmatch(value.strip())
        if not match:
            raise wrong(f"{_shown(value)} is not a number with a unit")
        number = _finite(float(match.group(1)))
        unit = match.group(2)
    if number is None:
        raise wrong(f"{_shown(value)} is not a finite number")
    if unit is None:
        if not dimension.plain:
            raise wrong(f"{_shown(value)} has no unit", f"Units: {', '.join(dimension.units)}")
        return number
    # The two Unicode characters for micro are one prefix to everybody who types them.
    conversion = dimension.units.get(unit.replace("\u00b5", "u").replace("\u03bc", "u"))
    if conversion is None:
        raise wrong(f"{_shown(unit)} is no unit of {dimension.name}", _unit_hint(unit, dimension))
    try:
        result = _finite(conversion(number) if callable(conversion) else number * conversion)
    except OverflowError:
        result = None
    if result is None:
        raise wrong(f"{_shown(value)} is not a finite number")
    return result


def quantity_text(value: float, unit: str) -> str:
    """A value in an SI unit as people read it, "1550 nm" or "1 mW (0 dBm)"; the first part can be parsed again."""
    if not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    scales = {
        name: factor
        for name, factor in BY_UNIT[unit].units.items()
        if isinstance(factor, float) and name not in ("%", "cm", "min", "h", "deg")
    }
    name, factor = unit if unit != "1" else "", 1.0
    if value and not 0.1 <= abs(value) < 1000:
        # The largest unit in which the number is 1 or more, or else the smallest one.
        fitting = {name: factor for name, factor in scales.items() if abs(value) >= factor * (1 - 1e-9)}
        pool = fitting or scales
        if pool:
            name = max(pool, key=lambda one: pool[one] if fitting else -pool[one])
            factor = pool[name]
    if unit == "m" and 1e-7 <= abs(value) < 1e-5:
        name, factor = "nm", 1e-9  # optical wavelengths
    text = f"{value / factor:.12g} {name}".rstrip()
    if unit == "W" and value > 0:
        text += f" ({dbm(value):.4g} dBm)"
    if unit == "K" and value > 150:  # a difference of temperatures is not one in degrees
        text += f" ({value - 273.15:.6g} degC)"
    return text


def _finite(number: float) -> float | None:
    try:
        value = float(number)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return value if math.isfinite(value) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unit_hint(unit: str, dimension: Dimension) -> str:
    folded = {name.lower(): name for name in dimension.units}
    close = difflib.get_close_matches(unit.lower(), folded, n=1)
    units = f"Units: {', '.join(dimension.units)}"
    return f"Did you mean {folded[close[0]]!r}? {units}" if close else units
