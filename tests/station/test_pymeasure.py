"""An instrument of PyMeasure, served as one of ours through a mapping in the station file, against a twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.errors import InputError
from labqdl.instruments import Laser, LimitError, NotACapability, NotConfirmed, PowerMeter
from labqdl.safety import Recipe, recipe_of
from labqdl.station import Station, open_station
from labqdl_drivers.adapters.pymeasure_instrument import PyMeasureInstrument

HEAD = """
[station]
name = "table"
profile = "sim"
[instruments.meter]
driver = "pymeasure"
resource = "USB0::0x1313::0x8078::P0001234::INSTR"
twin = "thorlabs-pm100"
limits.wavelength = { min = "1200 nm" }
"""
OPTIONS = 'options = { instrument = "pymeasure.instruments.thorlabs:ThorlabsPM100USB", role = "PowerMeter" }\n'
MAPPING = """
[instruments.meter.mapping]
power = { property = "power" }
wavelength = { property = "wavelength", unit = "nm" }
"""


def test_a_power_meter_of_pymeasure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABQDL_STATE", str(tmp_path))
    (tmp_path / "s.toml").write_text(HEAD + OPTIONS + MAPPING, encoding="utf-8")
    with open_station(tmp_path / "s.toml") as station:
        meter = station["meter"]
        assert isinstance(meter, PowerMeter)
        assert meter.identity().model == "PM100D"
        meter.wavelength = 1310e-9
        assert meter.wavelength == pytest.approx(1310e-9, abs=1e-15)
        assert abs(meter.power) < 1e-8
        with pytest.raises(LimitError, match="of the station"):
            meter.wavelength = 1100e-9
        with pytest.raises(NotConfirmed, match="PyMeasure or the instrument has changed it"):
            meter.wavelength = 3e-6  # its property clips
        with pytest.raises(NotACapability, match="it is not in the mapping"):
            _ = meter.range
        with pytest.raises(NotACapability, match="zero"):
            meter.zero()
        assert set(meter.snapshot()) == {"power", "wavelength"}
        recipe = recipe_of(meter)
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))).make().name == "meter"
    assert not meter.is_open


class Theirs:
    """What PyMeasure's laser classes look like."""

    def __init__(self, resource: str, visa_library: str = "") -> None:
        self.emission, self.power, self.state_of_matter = 0, -3.0, "warm"
        self.adapter = self
        self.stuck = "stuck" in resource
        self.down = False

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name == "emission" and getattr(self, "stuck", False)):
            super().__setattr__(name, value)

    @property
    def broken(self) -> float:
        raise OSError("cable")

    def shutdown(self) -> None:
        self.down = True

    def close(self) -> None:
        return


LASER: dict[str, Any] = {
    "emission": {"property": "emission", "on": 1, "off": 0},
    "power": {"property": "power", "unit": "dBm"},
    "temperature": {"property": "state_of_matter"},
    "measured_power": {"property": "broken"},
}


def laser(resource: str = "R", mapping: dict[str, Any] = LASER) -> Any:
    made = PyMeasureInstrument(resource, name="laser", instrument=f"{__name__}:Theirs", role="Laser", mapping=mapping)
    made.guard = None
    made.open()
    return made


def test_units_switches_and_the_safe_state() -> None:
    made = laser()
    assert issubclass(type(made), Laser)
    assert made.power == pytest.approx(10**-0.3 * 1e-3)
    made.power = 2e-3
    assert made._theirs.power == pytest.approx(3.0103, abs=1e-4)
    made.emission = True
    assert made._theirs.emission == 1
    made.safe_state()
    assert made.emission is False
    assert made._theirs.down
    problems = {path: one.problem for path, one in made.snapshot().items() if one.problem}
    assert "state_of_matter is 'warm'" in str(problems["temperature"])
    assert "cable" in str(problems["measured_power"])
    stuck = laser("stuck")
    object.__setattr__(stuck._theirs, "emission", 1)
    with pytest.raises(NotConfirmed, match="laser: emission was set to False"):
        stuck.safe_state()
    assert stuck._theirs.down


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"PowerMeter"', '"Powermeter"', "there is no role 'Powermeter'"),
        ("ThorlabsPM100USB", "Nothing", "cannot be loaded"),
        ("thorlabs:T", "thorlabs.T", "is no class; expected package.module:Class"),
        ("power = {", "powr = {", "a PowerMeter has no quantity 'powr'"),
        ('unit = "nm"', 'unit = "nW"', "'nW' is no unit of it"),
        ('property = "power"', 'unit = "W"', "key 'instruments.meter.mapping.power.property': is missing"),
        ('driver = "pymeasure"', 'driver = "thorlabs-pm100"', "no such option"),
    ],
)
def test_mistakes(old: str, new: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Station(read_station_file(parse((HEAD + OPTIONS + MAPPING).replace(old, new).encode(), source="s.toml"))).open()
