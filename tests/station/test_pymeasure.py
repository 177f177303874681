"""An instrument of PyMeasure, served as one of ours through a mapping in the station file, against a twin."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from labqdl.clock import ManualClock
from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.errors import InputError
from labqdl.instruments import Laser, LimitError, NotACapability, NotConfirmed, PowerMeter, Refused, Trigger
from labqdl.safety import Recipe, recipe_of
from labqdl.station import Station, open_station
from labqdl.testing import Subject, declared_problems, machine
from labqdl_drivers.adapters.pymeasure_instrument import PyMeasureInstrument
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary
from tests.conformance.subjects import counted, received

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
        with pytest.raises(NotACapability, match="not mapped in the station file"):
            _ = meter.range
        with pytest.raises(NotACapability, match="zero"):
            meter.zero()
        assert set(meter.snapshot()) == {"power", "wavelength"}
        meter.safe_state()
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


SAFE = ("emission = 0", "shutdown()")


def laser(resource: str = "R", mapping: dict[str, Any] = LASER, safe: tuple[str, ...] = SAFE) -> Any:
    made = PyMeasureInstrument(
        resource, name="laser", instrument=f"{__name__}:Theirs", role="Laser", mapping=mapping, safe=safe
    )
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
    with pytest.raises(NotConfirmed, match="laser: emission was set to 0 to be safe and reads 1"):
        stuck.safe_state()
    assert stuck._theirs.down


TSL = """
[station]
name = "table"
profile = "sim"
[instruments.laser]
driver = "pymeasure"
resource = "ASRLtsl::INSTR"
twin = "santec-tsl"
twin_options = { model = "TSL-550" }
safe = ["output_enabled = false", "laser_enabled = false"]
limits.power = { max = "8 mW", reason = "connectors" }
[instruments.laser.options]
instrument = "pymeasure.instruments.santec:TSL550"
role = "Laser"
read_termination = "\\r"
write_termination = "\\r"
[instruments.laser.mapping]
emission = { property = "output_enabled" }
power = { property = "power_setpoint", unit = "dBm", tolerance = 0.003 }
measured_power = { property = "power", unit = "dBm" }
wavelength = { property = "wavelength_setpoint", unit = "nm" }
"""


def station_of(text: str) -> tuple[Station, Bench]:
    """A station whose simulated instruments stand on a bench that the test holds."""
    file = read_station_file(parse(text.encode(), source="s.toml"))
    bench = Bench(seed=1, clock=ManualClock())
    for entry in file.instruments.values():
        bench.add(entry.twin, entry.name, routes=(f"visa:{entry.resource}",), **entry.twin_options)
    return Station(file, library=SimVisaLibrary.for_bench(bench), clock=bench.clock), bench


def on_bench(text: str) -> Subject:
    """The laser of such a station, for the state machine."""
    station, bench = station_of(text)
    twin: Any = counted(bench["laser"])
    power = twin.clock.monotonic

    def close() -> None:
        station.close()
        SimVisaLibrary.forget(bench)

    laser = station["laser"]
    laser.guard = None
    # Its diode is on behind a closed shutter, as a person leaves it: only the shutter is mapped.
    session = twin.connect()
    session.feed(b":POW:SHUT 1\r:POW:STAT 1\r:POW:UNIT 0\r")
    session.close()
    bench.clock.sleep(30.0)
    received_before = received(twin)
    return Subject(
        laser,
        sent=lambda: received(twin) - received_before,
        emits=lambda: not twin.ports["output"].dark(power()),
        plausible={"power": (1e-4, 8e-3), "wavelength": (1520e-9, 1600e-9)},
        tolerance={"power": 0.003, "wavelength": 1e-5},
        close=close,
    )


def test_a_laser_of_pymeasure_keeps_every_promise_of_its_class() -> None:
    few = settings(max_examples=15, stateful_step_count=15, deadline=None, derandomize=True)
    run_state_machine_as_test(machine(lambda: on_bench(TSL)), settings=few)
    assert declared_problems(type(station_of(TSL)[0]["laser"])) == []


def test_a_laser_of_pymeasure_is_guarded_and_goes_dark() -> None:
    station, bench = station_of(TSL)
    laser: Any = station["laser"]

    class NotNow:
        def energising(self, instrument: Any, what: str) -> None:
            raise Refused(f"{instrument.name}: {what} not now")

    with laser:
        laser.write("output_enabled", False)  # the shutter is open when it comes from the factory
        laser.guard = NotNow()
        with pytest.raises(Refused, match="emission not now"):
            laser.emission = True
        assert laser.emission is False
        laser.guard = None
        laser.write("laser_enabled", True)
        laser.write("power_unit", "dBm")
        laser.emission = True
        laser.power = 1e-3
        bench.clock.sleep(30.0)
        assert laser.measured_power == pytest.approx(1e-3, rel=0.01)
        assert not cast(Any, bench["laser"]).ports["output"].dark(bench.clock.monotonic())
        with pytest.raises(LimitError, match="connectors"):
            laser.power = 9e-3
        laser.safe_state()
        assert cast(Any, bench["laser"]).ports["output"].dark(bench.clock.monotonic())
        assert laser.read("laser_enabled") is False
    SimVisaLibrary.forget(bench)


def test_two_threads_never_get_each_others_replies() -> None:
    station, bench = station_of(HEAD + OPTIONS + MAPPING)
    meter: Any = station["meter"]
    wrong = []

    def read(name: str, expected: float) -> None:
        for _ in range(100):
            if abs(getattr(meter, name) - expected) > 1e-9:
                wrong.append(name)

    with meter:
        meter.wavelength = 1310e-9
        threads = [threading.Thread(target=read, args=one) for one in (("power", 0.0), ("wavelength", 1310e-9)) * 2]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert wrong == []
    SimVisaLibrary.forget(bench)


AWG = """
[station]
name = "table"
profile = "sim"
[instruments.awg]
driver = "pymeasure"
resource = "TCPIP0::awg::inst0::INSTR"
twin = "keysight-33500"
twin_options = { model = "33522B" }
safe = ["ch_1.output = false", "ch_2.output = false"]
limits."channel 2.amplitude" = { max = "1 V", reason = "modulator" }
options = { instrument = "pymeasure.instruments.agilent:Agilent33500", role = "WaveformGenerator" }
[instruments.awg.mapping]
trigger_source = { property = "trigger_source", values = { free = "IMM", software = "BUS" } }
"channel 2.output" = { property = "ch_2.output" }
"channel 2.amplitude" = { property = "ch_2.amplitude", unit = "mV" }
"""


def test_channels_and_choices_of_a_generator_of_pymeasure() -> None:
    station, bench = station_of(AWG.replace('"mV"', '"V"'))
    awg: Any = station["awg"]
    awg.guard = None
    with awg:
        assert list(awg.channels()) == [2]
        output = awg.channels()[2]
        output.amplitude = 0.5
        output.output = True
        assert bench["awg"].ports["output2"] is not None
        awg.trigger_source = Trigger.SOFTWARE
        assert awg.trigger_source is Trigger.SOFTWARE
        with pytest.raises(NotACapability, match="trigger_source external: not among its values"):
            awg.trigger_source = Trigger.EXTERNAL
        with pytest.raises(LimitError, match=r"channel 2\.amplitude.*modulator"):
            output.amplitude = 2.0
        with pytest.raises(NotACapability, match="not mapped"):
            _ = output.skew
        with pytest.raises(NotACapability, match="upload"):
            output.upload("A", None)
        with pytest.raises(NotACapability, match="memory"):
            _ = awg.memory
        assert set(awg.snapshot()) == {"trigger_source", "channel 2.output", "channel 2.amplitude"}
        awg.safe_state()
        assert output.output is False
    SimVisaLibrary.forget(bench)


def test_what_stays_on_is_said_by_the_safe_state() -> None:
    station, bench = station_of(AWG.replace('"mV"', '"V"').replace(', "ch_2.output = false"', ""))
    awg: Any = station["awg"]
    awg.guard = None
    with awg:
        awg.channels()[2].output = True
        with pytest.raises(NotConfirmed, match=r"awg: channel 2\.output must be off and reads True"):
            awg.safe_state()
    SimVisaLibrary.forget(bench)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('safe = ["ch_1.output = false", "ch_2.output = false"]', "", r"awg\.safe.*nothing says how it is made safe"),
        ('"ch_1.output = false", ', '"ch_1.output + 1", ', r"awg\.safe\[1\].*'ch_1.output \+ 1' is no step"),
        ('"ch_1.output = false", ', '"ch_1.output = off", ', "'off' is no value"),
        ("safe = [", 'safe = ["ch_3.output = false", ', r"instruments\.awg\.safe.*has no 'ch_3.output'"),
        ("safe = [", 'safe = ["go_away()", ', r"instruments\.awg\.safe.*has no 'go_away\(\)'"),
        ('property = "ch_2.output"', 'property = "ch_2.outputs"', r"channel 2.output.*has no 'ch_2.outputs'"),
        ('free = "IMM"', 'none = "IMM"', r"trigger_source\.values.*'none' is no choice"),
        ('"mV"', '"nm"', r"channel 2.amplitude.*'nm' is no unit of it"),
        ('"channel 2.output" =', '"channel 2.outputs" =', "has no quantity 'channel 2.outputs'"),
        ('"WaveformGenerator"', '"InterlockIO"', "there is no role 'InterlockIO'"),
    ],
)
def test_mistakes_in_the_mapping_of_a_generator(old: str, new: str, expected: str) -> None:
    station, bench = station_of(AWG.replace(old, new))
    with pytest.raises(InputError, match=expected):
        station.open()
    SimVisaLibrary.forget(bench)


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
