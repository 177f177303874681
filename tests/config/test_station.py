"""The station file: every mistake gets its file, line and key, and all of them at once where somebody asks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config.document import parse
from labqdl.config.interlocks import (
    OPERATORS,
    Action,
    Comparison,
    parse_action,
    parse_comparison,
    parse_quantity_name,
)
from labqdl.config.quantities import BY_UNIT, DIMENSIONS, parse_quantity, quantity_text
from labqdl.config.schema import Section
from labqdl.config.station import (
    SCHEMA,
    StationFile,
    json_schema,
    load_station_file,
    read_station_file,
    shipped_json_schema,
)
from labqdl.errors import InputError

HEAD = '[station]\nname = "table"\n'
LASER = '[instruments.laser]\ndriver = "a"\nresource = "R1"\n'
METER = '[instruments.meter]\ndriver = "b"\nresource = "R2"\n'


def read(text: str, profile: str | None = None) -> StationFile:
    return read_station_file(parse(text.encode(), source="s.toml"), profile)


def test_a_whole_file() -> None:
    station = read(
        HEAD
        + 'link = "lab-bench"\n'
        + LASER
        + 'safe_order = 5\nchannel = 2\ntimeout = "3 s"\n'
        + 'limits.power = { max = "13 dBm", reason = "connectors" }\nlimits."channel 2.x" = { min = 1 }\n'
        + '[instruments.laser.serial]\nbaudrate = 115200\nparity = "E"\n'
        + "[instruments.laser.options]\nslot = 3\n[instruments.laser.twin_options]\nnoise = 0.5\n"
        + METER
        + '[components.pd]\nkind = "photodetector"\nresponsivity = "0.95 A/W"\nnoise = "5 pA/sqrt(Hz)"\n'
        + '[[wiring]]\nfrom = "laser"\nto = "meter.input"\nloss = "0.5 dB"\n'
        + '[[paths]]\nname = "signal"\nsource = "laser"\nbarriers = ["meter"]\nmeter = "meter.power"\n'
        + '[[interlocks]]\nrequire = "meter.power < 1 mW"\nbefore = "laser.emission = true"\n'
        + '[profiles.sim]\nmeter = "R9"\n[profiles.other]\nlaser = "R3"\n'
    )
    laser, meter = station.instruments.values()
    assert (laser.name, laser.driver, laser.resource, laser.simulated) == ("laser", "a", "R1", False)
    assert (laser.safe_order, laser.channel, laser.timeout, laser.twin) == (5, 2, 3.0, "a")
    assert laser.serial == {"baudrate": 115200, "parity": "E"}
    assert laser.options == {"slot": 3}
    assert laser.twin_options == {"noise": 0.5}
    assert [(limit.path, limit.low, limit.high) for limit in laser.limits] == [
        ("power", None, "13 dBm"),
        ("channel 2.x", 1.0, None),
    ]
    assert laser.limits[0].reason == "connectors"
    assert meter.serial == {}
    assert station.ledger is not None
    assert station.ledger.components
    assert station.components["pd"]["responsivity"] == 0.95
    assert station.components["pd"]["noise"] == pytest.approx(5e-12)
    assert (station.wiring[0].source, station.wiring[0].target) == (("laser", ""), ("meter", "input"))
    assert station.paths[0].meter == ("meter", "power")
    assert str(station.interlocks[0].require) == "meter.power < 1 mW"
    assert station.profiles == ("bench", "sim", "other")


def test_profiles() -> None:
    text = (
        HEAD + LASER + '[instruments.meter]\ndriver = "b"\n[profiles.sim]\nlaser = "R9"\n[profiles.two]\nmeter = "R4"\n'
    )
    sim = read(text, "sim").instruments
    assert (sim["laser"].resource, sim["laser"].simulated) == ("R9", False)
    assert (sim["meter"].resource, sim["meter"].simulated) == (None, True)
    two = read(text, "two").instruments
    assert [(entry.resource, entry.simulated) for entry in two.values()] == [("R1", False), ("R4", False)]
    with pytest.raises(InputError, match=r"line 6: key 'instruments.meter.resource': is missing.*--profile sim"):
        read(text)
    with pytest.raises(InputError, match=r"no profile 'simm'.*one of bench, sim, two.*Did you mean 'sim'"):
        read(text, "simm")
    assert read(HEAD + 'profile = "sim"\n' + LASER).instruments["laser"].simulated


def test_what_is_declared_simulated_is_what_stands_beside_it() -> None:
    """Of an instrument it is the file's own resource, of a profile those that the profile names."""
    text = HEAD + LASER + "simulated = true\n" + METER
    text += '[profiles.sim]\nmeter = "R3"\n[profiles.served]\nsimulated = true\nmeter = "R4"\nlaser = "R5"\n'
    text += '[profiles.two]\nlaser = "R6"\n'

    def declared(profile: str) -> list[bool]:
        return [entry.declared_simulated for entry in read(text, profile).instruments.values()]

    assert declared("bench") == [True, False]
    assert declared("sim") == [False, False]
    assert declared("served") == [True, True]
    assert declared("two") == [False, False]


def test_a_ledger_in_the_file() -> None:
    row = '[[ledger]]\nname = "fibre"\nplace = "forward"\nowner = "channel"\nloss = "1 dB"\n'
    ledger = read(HEAD + LASER + row).ledger
    assert ledger is not None
    assert ledger.forward == pytest.approx(10**-0.1)
    with pytest.raises(InputError, match=r"line 12: key 'ledger\[2\].name': a second component"):
        read(HEAD + LASER + row + row)


def test_a_link_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    (tmp_path / "s.toml").write_text(HEAD + 'link = "mine.toml"\n' + LASER)
    ledger = load_station_file(tmp_path / "s.toml").ledger
    assert ledger is not None
    assert ledger.name == "mine"


MISTAKES = [
    ("", "key 'station': is missing"),
    ("[station]\n" + LASER, "line 1: key 'station.name': is missing"),
    (HEAD, "lists no instruments"),
    (HEAD + "version = 2\n" + LASER, "line 3: key 'station.version': 2 is out of range"),
    (HEAD + 'profile = "tabel"\n[profiles.table]\n' + LASER, "line 3: key 'station.profile'.*Did you mean 'table'"),
    (HEAD + 'link = "lab-bensh"\n' + LASER, "line 3: key 'station.link'.*Did you mean 'lab-bench'"),
    ("[statoin]\nname = 1\n" + HEAD + LASER, "line 1: key 'statoin': is not a known key.*Did you mean 'station'"),
    (HEAD + "[instruments.laser]\n", "line 3: key 'instruments.laser.driver': is missing"),
    (HEAD + LASER + 'drivr = "x"\n', "line 6: key 'instruments.laser.drivr'.*Did you mean 'driver'"),
    (HEAD + "instruments.laser = 3\n", "line 3: key 'station.instruments'"),
    (HEAD + "[instruments]\nlaser = 3\n", "line 4: key 'instruments.laser': 3 is a whole number"),
    (HEAD + '[instruments."my laser"]\ndriver = "a"\nresource = "R"\n', "line 3: .*'my laser' is no name"),
    (HEAD + '[instruments.1a]\ndriver = "a"\nresource = "R"\n', "line 3: .*'1a' is no name"),
    (HEAD + LASER + "safe_order = -1\n", "line 6: key 'instruments.laser.safe_order'"),
    (HEAD + LASER + 'timeout = "3 m"\n', "'m' is no unit of a time"),
    (HEAD + LASER + "limits.power = {}\n", "line 6: key 'instruments.laser.limits.power': limits nothing"),
    (HEAD + LASER + "limits.power = { maximum = 3 }\n", "'instruments.laser.limits.power.maximum': is not a known key"),
    (HEAD + LASER + "limits.power = { max = [3] }\n", "is a list; expected text, a number"),
    (HEAD + LASER + "[instruments.laser.serial]\nbaudrate = 0\n", "line 7: key 'instruments.laser.serial.baudrate'"),
    (HEAD + LASER + '[instruments.laser.serial]\nparity = "e"\n', "Did you mean 'E'"),
    (HEAD + LASER + "[instruments.laser.options]\na = []\n", "key 'instruments.laser.options.a'"),
    (
        HEAD + LASER + METER.replace("R2", "R1") + "[instruments.meter.serial]\nbaudrate = 9600\n",
        "line 9: key 'instruments.meter.serial': differs from that of laser",
    ),
    (HEAD + LASER + '[components.laser]\nkind = "fibre"\n', "line 6: .*an instrument is called 'laser' as well"),
    (HEAD + LASER + '[components.c]\nkind = "fiber"\n', "line 7: key 'components.c.kind'.*Did you mean 'fibre'"),
    (HEAD + LASER + '[[wiring]]\nfrom = "laser"\n', r"line 6: key 'wiring\[1\].to': is missing"),
    (
        HEAD + LASER + METER + '[[wiring]]\nfrom = "lasr"\nto = "meter"\n',
        r"line 10: key 'wiring\[1\].from': there is no instrument or component 'lasr'.*Did you mean 'laser'",
    ),
    (HEAD + LASER + '[[wiring]]\nfrom = "laser"\nto = "laser"\n', "leads to where it comes from"),
    (
        HEAD + LASER + METER + '[[wiring]]\nfrom = "laser"\nto = "meter"\n' * 2,
        "line 14: .*entered by the wire on line 11 already",
    ),
    (HEAD + LASER + '[[paths]]\nname = "p"\nsource = "lasre"\nbarriers = []\n', "line 8: .*Did you mean 'laser'"),
    (HEAD + LASER + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = "x"\n', "expected a list of texts"),
    (HEAD + LASER + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = [3]\n', "3 in it is no text"),
    (
        HEAD + LASER + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = [\n  "laser",\n  "x",\n]\n',
        r"line 11: key 'paths\[1\].barriers\[2\]'",
    ),
    (HEAD + LASER + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = ["laser", "laser"]\n', "a barrier twice"),
    (
        HEAD + LASER + '[[paths]]\nname = "p"\nsource = "laser"\nbarriers = []\nmeter = "laser"\n',
        "line 10: .*names no quantity",
    ),
    (HEAD + LASER + ('[[paths]]\nname = "p"\nsource = "laser"\nbarriers = []\n') * 2, "a second path is called 'p'"),
    (
        HEAD + LASER + '[[interlocks]]\nrequire = "laser.power > 1 mW and laser.x > 2"\nbefore = "laser"\n',
        "line 7: .*is not one comparison.*write a second",
    ),
    (HEAD + LASER + '[[interlocks]]\nrequire = "laser.power = 1 mW"\nbefore = "laser"\n', "line 7: .*Equality is =="),
    (HEAD + LASER + '[[interlocks]]\nrequire = "laser.power > 1"\nbefore = "laser.x > 2"\n', "line 8: .*is no action"),
    (HEAD + LASER + '[[interlocks]]\nrequire = "lase.power > 1"\nbefore = "laser"\n', "line 7: .*Did you mean 'laser'"),
    (HEAD + LASER + '[profiles.x]\nlasr = "R"\n', "line 7: key 'profiles.x.lasr'.*Did you mean 'laser'"),
    (HEAD + LASER + "[simulation]\nspeed = 0\n", "line 7: key 'simulation.speed'"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[str(index) for index in range(len(MISTAKES))])
def test_mistakes(text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        read(text)
    assert caught.value.source == "s.toml"
    problems: list[InputError] = []
    read_station_file(parse(text.encode(), source="s.toml"), problems=problems)
    assert any(re.search(expected, str(problem)) for problem in problems)


def test_all_mistakes_at_once() -> None:
    text = (
        "[station]\nnmae = 3\n" + LASER.replace("driver", "drivre") + "safe_order = 3.5\n" + METER
        + '[[wiring]]\nfrom = "x"\nto = 3\n[[interlocks]]\nrequire = "no"\nbefore = ""\n'
    )  # fmt: skip
    problems: list[InputError] = []
    read_station_file(parse(text.encode(), source="s.toml"), problems=problems)
    assert [problem.line for problem in problems] == [2, 1, 4, 3, 6, 12, 15, 11, 14]
    assert len({str(problem) for problem in problems}) == len(problems)


def test_the_json_schema_that_ships_is_the_code_s() -> None:
    assert json.loads(shipped_json_schema()) == json_schema()
    schema: Any = json_schema()
    pattern = schema["properties"]["instruments"]["additionalProperties"]["properties"]["timeout"]["pattern"]
    assert re.fullmatch(pattern, "3 s")
    assert re.fullmatch(pattern, "3 \u00b5s")
    assert not re.fullmatch(pattern, "3 m")
    assert schema["required"] == ["station"]


def test_the_documentation_names_every_key() -> None:
    def names(section: Section) -> list[str]:
        return [field.name for field in section.fields] + [name for part in section.sections for name in names(part)]

    text = SCHEMA.markdown()
    assert all(f"| `{name}` |" in text for name in names(SCHEMA))
    assert "### `[instruments.NAME.limits.QUANTITY]`" in text


@given(st.sampled_from(OPERATORS), st.sampled_from(["3", "10 uW", "-2.5e-3 V", "true", "quadrature+"]), st.data())
def test_comparisons_are_read_with_any_blanks(operator: str, value: str, data: st.DataObject) -> None:
    blank = st.text(" \t", max_size=3)
    text = f"{data.draw(blank)}edfa.channel 2.power{data.draw(blank)}{operator}{data.draw(blank)}{value}"
    assert parse_comparison(text) == Comparison("edfa", "channel 2.power", operator, value)


@given(st.text(max_size=60))
def test_any_text_is_a_comparison_or_a_mistake(text: str) -> None:
    for parser in (parse_comparison, parse_action, parse_quantity_name):
        try:
            found = parser(text)
        except InputError as error:
            assert error.expected  # noqa: PT017
        else:
            # What was understood can be written down and is understood again.
            again = str(found) if not isinstance(found, tuple) else ".".join(found)
            assert parser(again) == found


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.b >", "a.b > ", "> 3", "a > 3", "a.b > 3 > 2", "a.b >> 3", "a.b = 3", "a.b.c > 3",
     "a.b > 3\n; x = 1",
     "a.b > 3 = 2", "__import__('os') > 3", "a.b > 1" + " " * 300, "1a.b > 3", "a.B > 3", "a.b > = 3", "a.b =! 3"],
)  # fmt: skip
def test_what_is_no_comparison(text: str) -> None:
    with pytest.raises(InputError, match="is not one comparison"):
        parse_comparison(text)


def test_actions() -> None:
    assert parse_action("edfa.pump = true") == Action("edfa", "pump", "true")
    assert parse_action("edfa.pump=true") == Action("edfa", "pump", "true")
    assert parse_action("edfa.channel 1.pump") == Action("edfa", "channel 1.pump", None)
    assert parse_action(" edfa ") == Action("edfa", None, None)
    for text in ("", "edfa.pump == true", "edfa.pump =", "edfa.", "edfa = true", "edfa.pump > 3"):
        with pytest.raises(InputError, match="is no action"):
            parse_action(text)


def test_comparing() -> None:
    def holds(operator: str, found: object, wanted: object) -> bool:
        return Comparison("a", "b", operator, "x").holds(found, wanted)

    for operator, expected in zip(OPERATORS, (False, True, False, True, False, True), strict=True):
        assert holds(operator, 1.0, 2.0) is expected
        assert not holds(operator, float("nan"), 2.0)
    assert holds(">=", 2.0, 2.0)
    assert holds("==", "null", "null")
    with pytest.raises(TypeError, match="no order"):
        holds("<", "null", "peak")


@given(
    st.floats(1e-13, 1e13) | st.floats(-1e13, -1e-13) | st.just(0.0),
    st.sampled_from(sorted(BY_UNIT)),
)
def test_quantities_read_back_what_is_shown(value: float, unit: str) -> None:
    text = quantity_text(value, unit).partition(" (")[0]
    assert parse_quantity(text, BY_UNIT[unit]) == pytest.approx(value, rel=1e-10, abs=0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1e-3, "W", "1 mW (0 dBm)"),
        (1550e-9, "m", "1550 nm"),
        (0.5, "V", "0.5 V"),
        (1.5e-5, "A", "15 uA"),
        (298.15, "K", "298.15 K (25 degC)"),
        (1.25e8, "S/s", "125 MS/s"),
        (0.0, "W", "0 W"),
        (12.0, "1", "12"),
        (1e4, "s", "10000 s"),
        (float("inf"), "W", "inf W"),
    ],
)
def test_quantities_as_people_read_them(value: float, unit: str, text: str) -> None:
    assert quantity_text(value, unit) == text


@given(st.sampled_from(DIMENSIONS), st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_mistake(dimension: Any, text: str) -> None:
    try:
        value = parse_quantity(text, dimension)
    except InputError as error:
        assert error.expected == dimension.words  # noqa: PT017
    else:
        assert value == value


def test_temperatures_may_be_in_degrees() -> None:
    for text in ("25 degC", "25 \u00b0C", "25 C", "298.15 K"):
        assert parse_quantity(text, BY_UNIT["K"]) == pytest.approx(298.15)
