"""Stations: what is made of a file, what is refused, and what an interlock asks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from labqdl.config.document import parse
from labqdl.config.quantities import BY_UNIT
from labqdl.config.station import read_station_file
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import LimitError, NotACapability, Refused
from labqdl.instruments.quantity import UNITS
from labqdl.station import Station, driver_class, driver_names, find_quantity, list_drivers, load_station, parse_value
from labqdl.station.building import build
from tests.station.fakes import Fake, FakeAmplifier, FakeAttenuator, FakeLaser, FakeMeter, Input

FAKES = "tests.station.fakes"
HEAD = '[station]\nname = "table"\n'


def entry(name: str, kind: type[Fake], more: str = "", resource: str | None = None) -> str:
    place = resource or f"TCPIP0::{name}::inst0::INSTR"
    return f'[instruments.{name}]\ndriver = "{FAKES}:{kind.__name__}"\nresource = "{place}"\n{more}'


def station(text: str, profile: str | None = None) -> Station:
    return Station(read_station_file(parse((HEAD + text).encode(), source="s.toml"), profile))


TABLE = entry("laser", FakeLaser) + entry("edfa", FakeAmplifier) + entry("meter", FakeMeter)
SEED = '[[interlocks]]\nrequire = "edfa.input_power > 10 uW"\nbefore = "edfa.pump = true"\nreason = "no seed"\n'


def test_instruments_are_made_and_not_opened() -> None:
    made = station(TABLE).instruments()
    assert list(made) == ["laser", "edfa", "meter"]
    assert not any(one.is_open for one in made.values())
    assert made["laser"].name == "laser"
    assert station(TABLE)["edfa"].safe_order == 10


def test_what_an_entry_says_reaches_its_driver() -> None:
    more = (
        'channel = 3\nsafe_order = 7\n[instruments.voa.options]\nspeed = 2.5\n[instruments.voa.serial]\nparity = "E"\n'
    )
    voa = station(entry("voa", FakeAttenuator, more))["voa"]
    assert isinstance(voa, FakeAttenuator)
    assert (voa.channel, voa.speed, voa.safe_order) == (3, 2.5, 7)
    assert voa.road_options is not None
    assert voa.road_options.parity == "E"
    assert voa.road_options.visa_library is None


def test_in_profile_sim_the_twins_stand_where_the_instruments_do() -> None:
    text = TABLE + entry("usb", FakeLaser, resource="/dev/ttyUSB0") + f'[instruments.x]\ndriver = "{FAKES}:FakeLaser"\n'
    made: Any = station(text + '[profiles.sim]\nedfa = "TCPIP0::127.0.0.1::1::SOCKET"\n', "sim").instruments()
    assert {name: one.resource for name, one in made.items()} == {
        "laser": "TCPIP0::laser::inst0::INSTR",
        "edfa": "TCPIP0::127.0.0.1::1::SOCKET",
        "meter": "TCPIP0::meter::inst0::INSTR",
        "usb": "ASRLusb::INSTR",
        "x": "TCPIP0::x::inst0::INSTR",
    }
    libraries = {name: one.road_options.visa_library for name, one in made.items()}
    assert libraries.pop("edfa") is None
    assert set(libraries.values()) == {"s.toml@labqdl"}


def test_one_resource_is_one_transport() -> None:
    place = 'driver = "thorlabs-pm100"\nresource = "TCPIP0::10.0.0.5::5025::SOCKET"\n'
    made: Any = station(f'[instruments.a]\n{place}timeout = "9 s"\n[instruments.b]\n{place}').instruments()
    assert made["a"].transport is made["b"].transport
    assert made["a"].transport.timeout == 9.0


def test_limits_of_the_station() -> None:
    laser = station(
        entry(
            "laser",
            FakeLaser,
            'limits.power = { min = "-10 dBm", max = "3 dBm", reason = "connectors" }\n'
            'limits.wavelength = { max = "1560 nm" }\n',
        )
    )["laser"]
    assert isinstance(laser, FakeLaser)
    laser.open()
    laser.power = 1.9e-3
    with pytest.raises(LimitError, match=r"0.0001 to 0.00199526231 W \(connectors\)"):
        laser.power = 2.1e-3
    with pytest.raises(LimitError, match="of the station"):
        laser.wavelength = 1561e-9
    assert laser.log == [("power", 1.9e-3)]


def test_limits_of_channels_wait_for_the_channels() -> None:
    limit = 'limits."channel 2.power" = { max = "1 mW" }\n'
    table = station(entry("meter", FakeMeter, limit))
    table.instruments()
    table.open()
    assert table["meter"].station_limits("channel 2.power")[0].high == 1e-3
    wrong = station(entry("meter", FakeMeter, limit.replace("2", "3")))
    with pytest.raises(InputError, match=r"line 6: .*there is no quantity 'channel 3.power'"):
        wrong.open()
    assert not wrong["meter"].is_open


def test_an_interlock_reads_before_it_allows() -> None:
    table = station(TABLE + SEED)
    table.open()
    edfa = table["edfa"]
    assert isinstance(edfa, FakeAmplifier)
    with pytest.raises(Refused, match=r"edfa.pump: refused, because edfa.input_power > 10 uW .*\(no seed\).* is 5 uW"):
        edfa.pump = True
    assert edfa.log == []
    assert not edfa.energised
    edfa.pump = False
    edfa.state["input_power"] = 11e-6
    edfa.pump = True
    assert edfa.log == [("pump", False), ("pump", True)]
    edfa.state["input_power"] = float("nan")
    with pytest.raises(Refused):
        edfa.pump = True


def test_an_interlock_between_two_instruments() -> None:
    table = station(TABLE + '[[interlocks]]\nrequire = "meter.channel 2.power <= 1 mW"\nbefore = "laser"\n')
    laser, meter = table["laser"], table["meter"]
    assert isinstance(laser, FakeLaser)
    assert isinstance(meter, FakeMeter)
    table.open()
    with pytest.raises(Refused, match=r"meter.channel 2.power is 2 mW"):
        laser.emission = True
    meter.state["channel 2.power"] = 1e-3
    laser.emission = True
    meter.dead = True
    with pytest.raises(Refused, match="cannot be read: meter: nobody answers"):
        laser.emission = True


def test_an_interlock_on_a_switch_and_on_a_choice() -> None:
    rules = (
        '[[interlocks]]\nrequire = "laser.emission == off"\nbefore = "edfa.pump"\n'
        '[[interlocks]]\nrequire = "edfa.mode == current"\nbefore = "edfa.pump"\n'
    )
    table = station(TABLE + rules)
    table.open()
    edfa, laser = table["edfa"], table["laser"]
    assert isinstance(edfa, FakeAmplifier)
    assert isinstance(laser, FakeLaser)
    edfa.pump = True
    laser.emission = True
    with pytest.raises(Refused, match=r"laser.emission is on"):
        edfa.pump = True


class Behind:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def energising(self, instrument: Any, what: str) -> None:
        self.asked.append((instrument.name, what))


def test_the_guard_behind_is_asked_after_the_interlocks() -> None:
    table = station(TABLE + SEED)
    table.open()
    behind = Behind()
    table.guarded_by(behind)
    edfa, laser = table["edfa"], table["laser"]
    assert isinstance(edfa, FakeAmplifier)
    assert isinstance(laser, FakeLaser)
    with pytest.raises(Refused):
        edfa.pump = True
    laser.emission = True
    assert behind.asked == [("laser", "emission")]


def test_opening_closes_all_where_one_fails() -> None:
    table = station(TABLE + entry("lost", FakeLaser, resource="dead").replace('"dead"', '"TCPIP0::dead::inst0::INSTR"'))
    with pytest.raises(LabqdlError, match="lost: nobody answers"):
        table.open()
    assert not any(one.is_open for one in table.instruments().values())
    table.open(["laser"])
    assert [name for name, one in table.instruments().items() if one.is_open] == ["laser"]
    assert list(table.snapshot()) == ["laser"]
    table.close()
    assert not table["laser"].is_open


def test_a_snapshot_of_all() -> None:
    table = station(TABLE)
    table.open()
    threads = {one.thread for one in table.instruments().values() if isinstance(one, Fake)}
    assert len(threads) == 3
    found = table.snapshot()
    assert found["laser"]["power"].value == 1e-3
    assert found["meter"]["channel 2.power"].unit == "W"
    assert "temperature" not in found["edfa"]
    table["edfa"].dead = True  # type: ignore[attr-defined]
    assert "nobody answers" in str(table.snapshot()["edfa"]["pump"].problem)


def test_an_unknown_instrument() -> None:
    with pytest.raises(InputError, match=r"there is no instrument 'lasre'.*Did you mean 'laser'"):
        station(TABLE)["lasre"]


SHEET = '[components.m]\nkind = "modulator"\nv_pi = "3.5 V"\nv_pi_bias = "6 V"\nbandwidth = "10 GHz"\nloss = "3.5 dB"\n'
SHEET += 'extinction = "30 dB"\ninput_limit = "8 V"\npower_limit = "20 dBm"\n'


def test_data_sheets() -> None:
    modulator: Any = station(TABLE + SHEET).sheets()["m"]
    assert (modulator.v_pi, modulator.insertion_loss, modulator.power_limit) == (3.5, 3.5, pytest.approx(0.1))


MISTAKES = [
    ('[instruments.a]\ndriver = "thorlabs-pm10"\nresource = "R"\n', "line 4: .*Did you mean 'thorlabs-pm100'"),
    (f'[instruments.a]\ndriver = "{FAKES}:FakeLazer"\nresource = "R"\n', "line 4: .*cannot be loaded"),
    (f'[instruments.a]\ndriver = "{FAKES}:HEAD"\nresource = "R"\n', "line 4: .*cannot be loaded"),
    (f'[instruments.a]\ndriver = "{FAKES}:Input"\nresource = "R"\n', "line 4: .*is no instrument"),
    ('[instruments.a]\ndriver = "os;x:y"\nresource = "R"\n', "line 4: .*'os;x:y' is no driver"),
    (entry("a", FakeLaser, resource="TCPIP0::"), "line 5: key 'instruments.a.resource'"),
    (entry("a", FakeLaser, resource="TCPIP0::1.2.3.4::5025::SOKET"), "Did you mean 'TCPIP0::1.2.3.4::5025::SOCKET'"),
    (entry("a", FakeLaser, resource="10.0.0.5:5025"), "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
    (entry("a", FakeLaser, "channel = 2\n"), "line 6: key 'instruments.a.channel': .*drives all channels"),
    (entry("a", FakeLaser, "options.speed = 2\n"), "line 6: .*no such option; expected no options"),
    (entry("a", FakeAttenuator, "options.sped = 2\n"), "line 6: .*Did you mean 'speed'"),
    (entry("a", FakeLaser, 'limits.pwoer = { max = "1 mW" }\n'), "line 6: .*Did you mean 'power'"),
    (entry("a", FakeLaser, "limits.power = { max = 3 }\n"), "line 6: .*has no unit.*dBm"),
    (entry("a", FakeLaser, 'limits.power = { max = "3 dB" }\n'), "line 6: .*Did you mean 'dBm'"),
    (entry("a", FakeLaser, 'limits.power = { min = "2 mW", max = "1 mW" }\n'), "2 mW is above the greatest one 1 mW"),
    (entry("a", FakeLaser, "limits.emission = { max = 1 }\n"), "line 6: .*emission has no order"),
    (entry("a", FakeAmplifier, 'limits.temperature = { max = "40 degC" }\n'), "line 6: .*it has no thermometer"),
    (TABLE + SEED.replace("input_power >", "inputpower >"), "line 13: .*Did you mean 'input_power'"),
    (TABLE + SEED.replace("10 uW", "10 uV"), "line 13: .*'uV' is no unit of a power"),
    (TABLE + SEED.replace("10 uW", "high"), "line 13: .*not a number with a unit"),
    (TABLE + SEED.replace("edfa.input_power > 10 uW", "laser.emission > off"), "line 13: .*has no order; expected =="),
    (TABLE + SEED.replace("edfa.input_power > 10 uW", "edfa.mode == curent"), "Did you mean 'current'"),
    (TABLE + SEED.replace("edfa.pump", "edfa.mode"), "line 14: .*makes no light .*; expected one of pump"),
    (TABLE + SEED.replace("= true", "= false"), "line 14: .*makes nothing come out"),
    (TABLE + SEED.replace("= true", "= bright"), "line 14: .*'bright' is no switch"),
    (TABLE + SEED.replace("edfa.pump", "edfa.pmup"), "line 14: .*Did you mean 'pump'"),
    (TABLE + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = ["edfa", "meter"]\n', "meter interrupts no light"),
    (TABLE + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = []\nmeter = "laser.emission"\n', "is no power"),
    (TABLE + SHEET.replace('v_pi = "3.5 V"\n', ""), "line 12: .*a modulator needs v_pi"),
    (
        TABLE + '[components.d]\nkind = "photodetector"\nresponsivity = "2 A/W"\nwavelength = "1550 nm"\n'
        'bandwidth = "1 GHz"\ntransimpedance = "1 kV/A"\nsaturation = "1 mW"\ndamage = "5 mW"\n'
        'noise = "1 pA/sqrt(Hz)"\n',
        "line 12: .*1.60 electrons a photon",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[str(index) for index in range(len(MISTAKES))])
def test_mistakes_name_the_line(text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        station(text).instruments()


def test_all_mistakes_at_once() -> None:
    text = (
        "".join(text for text, _ in MISTAKES[:1]) + TABLE.replace("FakeMeter", "FakeMeters") + SEED.replace("uW", "uV")
    )
    problems: list[InputError] = []
    build(read_station_file(parse((HEAD + text).encode(), source="s.toml")), problems=problems)
    assert [problem.line for problem in problems] == [4, 5, 13, 16]


# --- drivers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of somebody else, with two drivers, one of them broken."""
    (tmp_path / "strange_lab.py").write_text(
        "from tests.station.fakes import FakeLaser\n\n\nclass Strange(FakeLaser):\n    '''A strange laser.'''\n"
    )
    (tmp_path / "strange_broken.py").write_text("raise ImportError('no vendor library')\n")
    info = tmp_path / "strange_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-lab\nVersion: 1.0\n")
    points = "[labqdl.drivers]\nstrange-laser = strange_lab:Strange\nstrange-broken = strange_broken:X\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("stranger")
def test_a_stranger_s_driver_works() -> None:
    assert {"strange-laser", "strange-broken", "thorlabs-pm100"} <= set(driver_names())
    assert "strange_lab" not in sys.modules
    text = '[instruments.a]\ndriver = "strange-laser"\nresource = "TCPIP0::a::inst0::INSTR"\n'
    assert type(station(text)["a"]).__name__ == "Strange"
    assert "strange_broken" not in sys.modules
    listed = {one.name: one for one in list_drivers()}
    assert (listed["strange-laser"].package, listed["strange-laser"].kind) == ("strange-lab", "Laser")
    assert listed["strange-laser"].summary == "A strange laser."
    assert "no vendor library" in listed["strange-broken"].problem
    with pytest.raises(InputError, match="'strange-broken' cannot be loaded: no vendor library"):
        driver_class("strange-broken")
    sys.modules.pop("strange_lab", None)


def test_the_drivers_that_ship_say_what_they_are() -> None:
    meter = next(one for one in list_drivers() if one.name == "thorlabs-pm100")
    assert (meter.package, meter.kind, meter.maker) == ("labqdl", "PowerMeter", "Thorlabs")
    assert "PM100D" in meter.models
    assert meter.coverage is not None
    assert "MEAS:POW" in meter.coverage.used
    assert 0.3 < meter.coverage.share <= 1
    assert meter.to_json()["coverage"]["left_out"]


# --- quantities as people write them ----------------------------------------------------------------------------------


def test_every_unit_of_instruments_can_be_written() -> None:
    assert set(BY_UNIT) == UNITS


def test_quantities_by_name() -> None:
    meter = FakeMeter("R", name="meter")
    meter.open()
    for path in ("channel 2.power", "channel2.power", "Channel 2.Power"):
        part, quantity = find_quantity(meter, path)
        assert (part.label, quantity.name) == ("channel 2", "power")
    assert find_quantity(meter, "auto-range")[1].name == "auto_range"


def test_channel_means_a_part_by_whatever_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """One word for outputs, inputs and stages; what is listed and said is the instrument's own."""
    monkeypatch.setattr(Input, "kind", "input")
    meter = FakeMeter("R", name="meter")
    meter.open()
    for path in ("channel 2.power", "channel2.power", "Channel 2.Power", "input 2.power"):
        part, quantity = find_quantity(meter, path)
        assert part.path(quantity.name) == "input 2.power"
    with pytest.raises(InputError, match=r"no quantity 'channel 3\.power'.*Did you mean 'input \d\.power'"):
        find_quantity(meter, "channel 3.power")
    limited = station(entry("meter", FakeMeter, 'limits."channel 2.power" = { max = "1 mW" }\n'))
    limited.open()
    assert limited["meter"].station_limits("input 2.power")[0].high == 1e-3


def test_mistaken_quantities() -> None:
    meter = FakeMeter("R", name="meter")
    meter.open()
    with pytest.raises(InputError, match=r"meter: there is no quantity 'powr'.*Did you mean 'power'"):
        find_quantity(meter, "powr")
    with pytest.raises(NotACapability, match="it has no such mode"):
        find_quantity(FakeAmplifier("R"), "gain_set_point")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("power", "3dBm", 10**0.3 * 1e-3),
        ("power", "-3 dBm", 10**-0.3 * 1e-3),
        ("power", "2 mW", 2e-3),
        ("wavelength", "1550 nm", 1550e-9),
        ("temperature", "25 degC", 298.15),
        ("emission", "on", True),
        ("emission", "False", False),
    ],
)
def test_values_as_people_write_them(name: str, text: str, value: Any) -> None:
    assert parse_value(FakeLaser.quantities()[name], text) == pytest.approx(value)


def test_load_station_reads_a_path(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(HEAD + TABLE)
    assert load_station(tmp_path / "s.toml").name == "table"


def test_a_misspelt_quantity_is_no_new_attribute() -> None:
    laser = FakeLaser("R", name="laser")
    laser.open()
    with pytest.raises(AttributeError, match=r"laser: there is no 'powr'\. Did you mean 'power'"):
        laser.powr = 1e-3  # type: ignore[attr-defined]
    laser.remark = "ours"  # type: ignore[attr-defined]
    assert laser.power == 1e-3


def test_an_interlock_before_a_channel_that_is_not_there_is_found_when_the_channels_are_known() -> None:
    rule = '[[interlocks]]\nrequire = "meter.power > 1 uW"\nbefore = "meter.channel 9.output = true"\n'
    with pytest.raises(InputError, match=r"line 8: .*there is no quantity 'channel 9.output'"):
        station(entry("meter", FakeMeter) + rule).open()
