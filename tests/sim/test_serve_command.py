"""`labqdl sim`: the command in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from labqdl.cli import sim
from labqdl.cli.output import Output
from labqdl.errors import InputError

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
    monkeypatch.setattr(sim, "_until_interrupted", lambda: None)
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
