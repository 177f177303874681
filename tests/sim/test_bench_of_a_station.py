"""A station file is a bench: its twins stand at the resources that the file names."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import pyvisa
from pyvisa.resources import MessageBasedResource

from labqdl.clock import ScaledClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary

STATION = """
[station]
name = "table"
[instruments.meter]
driver = "thorlabs-pm100"
resource = "TCPIP0::10.0.0.5::5000::SOCKET"
routes = ["socket"]
twin_options = { sensor = "S154C" }
[instruments.again]
driver = "thorlabs-pm100"
resource = "TCPIP0::10.0.0.5::5000::SOCKET"
[instruments.other]
driver = "a-driver-of-mine"
twin = "thorlabs-pm100"
[instruments.real]
driver = "thorlabs-pm100"
[simulation]
seed = 7
speed = 10
[profiles.sim]
real = "TCPIP0::127.0.0.1::5025::SOCKET"
"""


def test_a_station_file_is_a_bench(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STATION)
    bench = Bench.from_file(tmp_path / "s.toml")
    assert list(bench.twins) == ["meter", "other"]
    assert bench.seed == 7
    assert isinstance(bench.clock, ScaledClock)
    assert bench.find("TCPIP0::10.0.0.5::5000::SOCKET") is bench["meter"]
    assert bench.find("TCPIP0::other::inst0::INSTR") is bench["other"]
    assert bench.routes == {"meter": ("socket",), "other": ()}


def test_mistakes_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STATION.replace('sensor = "S154C"', "colour = 3"))
    with pytest.raises(InputError, match=r"s.toml, line 4: key 'instruments.meter': .*no option 'colour'"):
        Bench.from_file(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_text(STATION.replace('twin = "thorlabs-pm100"', 'twin = "thorlabs"'))
    with pytest.raises(InputError, match=r"key 'instruments.other': no twin 'thorlabs'"):
        Bench.from_file(tmp_path / "s.toml")


@pytest.mark.parametrize("name", ["USB0::0x1313::0x8078::P0009999::INSTR", "GPIB::7::INSTR", "TCPIP::10.0.0.5::INSTR"])
def test_names_with_parts_left_out(name: str) -> None:
    """PyVISA completes the name before it asks for it."""
    bench = Bench(seed=1)
    bench.add("thorlabs-pm100", "meter", routes=(f"visa:{name}",))
    manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))
    with closing(manager), manager.open_resource(name) as meter:
        assert isinstance(meter, MessageBasedResource)
        assert "PM100D" in meter.query("*IDN?")
