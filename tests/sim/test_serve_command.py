"""`labqdl sim`: the command in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labqdl.cli import sim
from labqdl.cli.output import Output
from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.control import Control

STATION = """
[bench]
seed = 3
[instruments.meter]
twin = "thorlabs-pm100"
routes = ["socket"]
"""


@pytest.fixture
def station(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return path


def test_one_line_of_json_once_all_listen(station: Path) -> None:
    command = [sys.executable, "-m", "labqdl.cli", "sim", "serve", str(station), "--json", "--control", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            (meter,) = told["instruments"]
            assert (meter["name"], meter["model"]) == ("meter", "PM100D")
            host, port = meter["resources"][0].split("::")[1:3]
            assert host == "127.0.0.1"
            with socket.create_connection((host, int(port)), timeout=10.0) as connection:
                connection.sendall(b"*IDN?\n")
                assert connection.recv(100) == b"THORLABS,PM100D,P0001234,2.5.0\n"
            with socket.create_connection(("127.0.0.1", told["control"]), timeout=10.0) as connection:
                connection.sendall(b'{"do": "list"}\n')
                assert json.loads(connection.recv(1000))["instruments"] == ["meter"]
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(10.0)
    if sys.platform != "win32":
        assert code == 0


def test_words_for_people(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "_until_interrupted", lambda **_: None)
    result = CliRunner().invoke(sim.command, ["serve", str(station)], obj=Output())
    assert result.exit_code == 0, result.output
    assert "meter  PM100D  TCPIP0::127.0.0.1::" in result.output
    assert "seed 3" in result.output


def test_a_mistake_in_the_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text('[instruments.meter]\ntwin = "thorlabs-pm1000"\n')
    result = CliRunner().invoke(sim.command, ["serve", str(path)], obj=Output())
    assert isinstance(result.exception, InputError)
    assert "thorlabs-pm100" in str(result.exception)


def test_the_list_of_twins() -> None:
    assert "thorlabs-pm100" in CliRunner().invoke(sim.command, ["list"], obj=Output()).output.split()


@pytest.mark.parametrize("route", ["socket", "zmq", "hislip", "rfc2217"])
def test_a_port_that_is_taken_is_told_with_its_place(tmp_path: Path, route: str) -> None:
    path = tmp_path / "table.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path.write_text(f'[instruments.meter]\ntwin = "thorlabs-pm100"\nroutes = ["socket", "{route}:{port}"]\n')
        result = CliRunner().invoke(sim.command, ["serve", str(path)], obj=Output())
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == (
        f"{path}, line 3: key 'instruments.meter.routes[2]': meter cannot listen on port {port}: it is taken. "
        "Port 0, or none, takes any free one"
    )


@pytest.mark.parametrize("route", ["telnet", "socket:x", "socket:70000"])
def test_a_wrong_route_is_told_with_its_place(tmp_path: Path, route: str) -> None:
    path = tmp_path / "station.toml"
    box = f'driver = "thorlabs-pm100"\nresource = "TCPIP0::10.0.0.1::5025::SOCKET"\nroutes = ["{route}"]\n'
    path.write_text(f'[station]\nname = "t"\n[instruments.meter]\n{box}')
    result = CliRunner().invoke(sim.command, ["serve", str(path)], obj=Output())
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{path}, line 6: key 'instruments.meter.routes")


def test_a_control_port_that_is_taken(station: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(sim.command, ["serve", str(station), "--control", str(port)], obj=Output())
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"--control: control cannot listen on port {port}: it is taken")


# --- the control port from the command line ---------------------------------------------------------------------------


@pytest.fixture
def control() -> Iterator[Control]:
    bench = Bench(seed=3, clock=ManualClock())
    bench.add("santec-tsl", "laser")
    bench.add("keysight-n77", "voa")
    served = Control(bench)
    yield served
    served.close()


def ctl(port: int, *words: str, lines: str | None = None) -> Result:
    return CliRunner().invoke(sim.command, ["ctl", str(port), *words], obj=Output(), input=lines)


def test_ctl_looks_at_a_bench_and_sets_faults(control: Control) -> None:
    assert ctl(control.port, "list").output.split("\n") == ["instrument  laser", "instrument  voa", ""]
    assert ctl(control.port, "fault", "laser", "effect=late", "value=2.0", "nth=3").output == "id  1\n"
    (rule,) = control.answer({"do": "list"})["faults"]
    assert (rule["target"], rule["effect"]) == ("laser", "late")
    told = json.loads(ctl(control.port, "list", "--json").output)
    assert told["instruments"] == ["laser", "voa"]
    assert told["faults"][0]["id"] == 1
    assert "fault  id 1, target laser, effect late" in ctl(control.port, "list").output
    assert ctl(control.port, "remove", "1").output == ""
    assert control.answer({"do": "list"})["faults"] == []


def test_ctl_moves_the_clock_and_the_light(control: Control) -> None:
    assert ctl(control.port, "advance", "2.5").output == "now  2.5\n"
    assert ctl(control.port, "light", "laser").output.startswith("dark  True\n")
    assert ctl(control.port, "shine", "voa", "power=1e-3", "wavelength=1.55e-6").exit_code == 0
    through = json.loads(ctl(control.port, "light", "voa", "--json").output)
    assert set(through) == {"dark", "outputs"}


def test_ctl_sends_lines(control: Control) -> None:
    done = ctl(control.port, "-", lines='{"do": "advance", "seconds": 1}\n\n{"do": "dance"}\n')
    first, second = map(json.loads, done.output.splitlines())
    assert first == {"ok": True, "now": 1.0}
    assert second["ok"] is False
    assert "advance" in second["error"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["light", "lasre"], "light: no instrument 'lasre' on this bench. Did you mean 'laser'"),
        (["dance"], "dance: 'do' is one of list, fault"),
        (["fault", "laser", "voa"], "voa: 'target' is there twice"),
        (["fault", "laser", "=3"], "=3: no key; expected KEY=VALUE"),
        (["world", "fibre", "set=1", "set.broken=1"], "set.broken=1: set is a value and a table"),
        (["world"], "world: this bench has no optical world"),
    ],
)
def test_ctl_refuses_with_a_reason(control: Control, words: list[str], expected: str) -> None:
    result = ctl(control.port, *words)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(expected)


def test_ctl_without_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    result = ctl(port, "list")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"nobody answers on the control port {port}: ")


def test_requests_in_words() -> None:
    words = ("fibre_out", "set.broken=1", "set.loss=0.5", "start=2.0", "note=so so", "mend=true")
    assert sim._request("world", words) == {
        "do": "world",
        "part": "fibre_out",
        "set": {"broken": 1, "loss": 0.5},
        "start": 2.0,
        "note": "so so",
        "mend": True,
    }
