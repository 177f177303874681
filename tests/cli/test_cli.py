"""The command line: what people and scripts see, exit codes, and clear words for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labqdl
from labqdl.cli.root import COMMANDS

SMALL = ["--model", "breast-cancer", "--images", "6", "--seed", "3"]


def test_help_teaches_every_command(labqdl_command: Any) -> None:
    words = labqdl_command("--help")
    assert words.code == 0
    for command in COMMANDS:
        assert command in words.out
        help_text = labqdl_command(command, "--help")
        assert help_text.code == 0
        assert len(help_text.out) > 200
    assert "Exit codes" in words.out


def test_version(labqdl_command: Any) -> None:
    assert labqdl_command("--version").out.split() == ["labqdl,", "version", labqdl.__version__]


def test_run_prints_a_verdict_and_everything_it_rests_on(labqdl_command: Any) -> None:
    words = labqdl_command("run", *SMALL, "--link", "paper")
    assert words.code == 4  # six data vectors are far too few to certify anything
    for part in ("breast-cancer", "UNDECIDED", "accuracy", "labqdl", "prx-2025", "arxiv-2024", "certified", "assumes"):
        assert part in words.out
    assert "confidence 1 - 1e-06" in words.out
    assert list(Path("runs").iterdir())


def test_run_json_is_one_object(labqdl_command: Any) -> None:
    words = labqdl_command("run", *SMALL, "--link", "paper", "--json", "--out", "here")
    result = words.json()
    assert result["schema"] == "labqdl.run/1"
    for key in (
        "run",
        "model",
        "images",
        "accuracy",
        "accuracy_interval",
        "verdict",
        "consistency",
        "certificate",
        "reason",
        "operating_point",
        "leakage",
        "seconds",
    ):
        assert key in result, key
    assert Path(result["run"]).is_dir()
    assert result["images"] == 6
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    weights = result["leakage"]["weights"]["labqdl"]
    assert {"bits_per_weight", "bits_per_mode", "certified_bits_per_weight", "confidence", "samples"} <= set(weights)
    assert {"cumulative_bits_per_weight", "cumulative_uses", "assumptions", "calibration"} <= set(weights)
    assert "bits_per_feature" in result["leakage"]["data"]["labqdl"]
    assert words.err == ""
    again = labqdl_command("resume", result["run"], "--json").json()
    for document in (again, result):
        del document["seconds"]
    assert again == result


def test_same_seed_same_run(labqdl_command: Any) -> None:
    first, second = (labqdl_command("run", *SMALL, "--json").json() for _ in range(2))
    for document in (first, second):
        del document["seconds"], document["run"]
    assert first == second


def test_without_a_seed_runs_differ(labqdl_command: Any) -> None:
    first, second = (labqdl_command("run", *SMALL[:-2], "--json").json() for _ in range(2))
    assert first["consistency"]["tests"] != second["consistency"]["tests"]


@pytest.mark.parametrize("client", ["intercept-resend", "cloner", "substitution"])
def test_cheats_are_caught(labqdl_command: Any, client: str) -> None:
    words = labqdl_command("run", *SMALL, "--link", "paper", "--client", client, "--json")
    assert words.code == 3
    result = words.json()
    assert result["verdict"] == "abort"
    assert result["reason"]["kind"] == "inconsistent"
    assert any(not test["p_value"] > test["threshold"] for test in result["consistency"]["tests"])


def test_dry_run_prints_the_plan_and_writes_nothing(labqdl_command: Any) -> None:
    words = labqdl_command("run", "--dry-run", *SMALL)
    assert words.code == 0
    assert "agree on frame" in words.out
    assert "server verifies layer 1 of block 0" in words.out
    assert not Path("runs").exists()
    assert labqdl_command("run", "--dry-run", "--images", "0").code == 2


def test_flags_win_over_the_file(labqdl_command: Any) -> None:
    Path("e.toml").write_text('model = "breast-cancer"\nimages = 4\nlink = "paper"\nseed = 1\nmu = 3.0\n')
    result = labqdl_command("run", "e.toml", "--mu", "5", "--json").json()
    assert result["operating_point"]["mu"] == 5.0
    assert result["images"] == 4


def test_quiet_prints_nothing(labqdl_command: Any) -> None:
    for arguments in (["--quiet", "run", *SMALL], ["run", *SMALL, "-q"]):
        words = labqdl_command(*arguments)
        assert words.code == 4
        assert words.out == ""
        assert words.err == ""


def test_bound_reproduces_the_headline(labqdl_command: Any) -> None:
    words = labqdl_command("bound", "--mu", "4", "--amplifier-gain", "2", "--modes", "392", "--rows", "784", "--json")
    assert words.code == 0
    leakage = words.json()["leakage"]
    # Reference values of the physics notes, 4.1 and 4.2.
    assert leakage["weights"]["labqdl"]["bits_per_mode"] == pytest.approx(0.0873848436950041, abs=1e-12)
    assert leakage["weights"]["labqdl"]["bits_per_weight"] == pytest.approx(0.0436924218475020, abs=1e-12)
    assert leakage["data"]["labqdl"]["bits_per_feature"] == pytest.approx(0.991488164695, abs=1e-10)
    assert leakage["data"]["arxiv-2024"]["bits_per_feature"] == pytest.approx(0.00724950556986, abs=1e-12)


def test_bound_with_samples_reproduces_the_finite_size_table(labqdl_command: Any) -> None:
    # Physics notes 3.4: mu=4, G=2, n=392, one inference of 311,248 residuals, delta = 1e-6 for each estimate; here
    # delta is shared by both, so the figure is a little larger than 0.4556.
    words = labqdl_command(
        "bound", "--mu", "4", "--amplifier-gain", "2", "--samples", "311248", "--confidence", "0.999998", "--json"
    )
    entry = words.json()["leakage"]["weights"]["labqdl"]
    assert entry["certified_bits_per_mode"] == pytest.approx(0.4556, rel=0.02)
    assert entry["samples"] == pytest.approx(311_248, rel=1e-3)


def test_bound_for_people(labqdl_command: Any) -> None:
    words = labqdl_command("bound", "--link", "lab-bench", "--samples", "1000000", "--uses", "10")
    for part in ("one use", "certified", "10 uses", "labqdl", "assumes", "calibration"):
        assert part in words.out


def test_models_lists_what_ships(labqdl_command: Any) -> None:
    words = labqdl_command("models")
    entries = labqdl_command("models", "--json").json()["models"]
    for entry in entries:
        assert entry["name"] in words.out
    assert {entry["name"] for entry in entries} == {
        "mnist-plain",
        "mnist-robust",
        "mnist-faint",
        "mnist-discreet",
        "digits",
        "breast-cancer",
    }


def test_doctor_finds_this_installation_healthy(labqdl_command: Any) -> None:
    words = labqdl_command("doctor")
    assert words.code == 0
    assert "tiny inference: ok" in words.out
    assert labqdl_command("doctor", "--json").json()["checks"]["shipped files"] == "ok"


def test_demo_tells_four_stories(labqdl_command: Any) -> None:
    words = labqdl_command("demo", "--images", "64", "--seed", "1", "--json")
    assert words.code == 0
    runs = words.json()["runs"]
    assert [entry["letter"] for entry in runs] == ["a", "b", "c", "d"]
    assert runs[3]["verdict"] == "abort"
    assert all(entry["verdict"] != "abort" for entry in runs[:3])
    exact = runs[1]["leakage"]
    assert exact["weights"]["labqdl"]["bits_per_weight"] < 0.01
    assert exact["data"]["labqdl"]["bits_per_feature"] < 0.01
    for entry in runs:
        assert Path(entry["run"]).is_dir()


def test_demo_table_for_people(labqdl_command: Any) -> None:
    words = labqdl_command("demo", "--images", "64", "--seed", "1")
    for part in ("(a)", "(b)", "(c)", "(d)", "abort", "limit of ideal parts", "record:"):
        assert part in words.out


def bad_model(folder: Path) -> str:
    (folder / "broken.json").write_text('{"schema": "labqdl.network"}')
    (folder / "broken.safetensors").write_bytes(b"\x00" * 40)
    return str(folder / "broken.safetensors")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--mu", "-1"], "labqdl: --mu: -1.0"),
        (["run", "--mu", "nan"], "--mu: nan"),
        (["run", "--mu", "bright"], "'bright' is not a valid float"),
        (["run", "--amplifier-gain", "0.9"], "--amplifier-gain: 0.9"),
        (["run", "--tap", "magic"], "magic"),
        (["run", "--tap", "feed-forward", "--tap-transmissivity", "1.5"], "--tap-transmissivity: 1.5"),
        (["run", "--link", "ideel"], "Did you mean 'ideal'"),
        (["run", "--link", "missing.toml"], "missing.toml"),
        (["run", "--model", "mnist-rubost"], "mnist-robust"),
        (["run", "--model", "nowhere/model.safetensors"], "nowhere"),
        (["run", "--images", "0"], "at least 1"),
        (["run", "--images", "20000"], "10000"),
        (["run", "--client", "evil"], "expected one of honest"),
        (["run", "--client", "cloner:-1"], "cloner:-1"),
        (["run", "--channel", "evil"], "--channel"),
        (["run", "--seed", "-1"], "--seed: -1"),
        (["run", "--depth", "deep"], "--depth: 'deep' is not known"),
        (["run", "--data", "nothing.npz", "--model", "breast-cancer"], "nothing.npz"),
        (["run", "--data", "mnist-test", "--model", "breast-cancer"], "(data, 30)"),
        (["run", "missing.toml"], "missing.toml"),
        (
            ["run", "--nonsense"],
            "No such option '--nonsense'. Did you mean '--seed'? 'labqdl run --help' says what there is",
        ),
        (["rnu"], "labqdl: No such command 'rnu'. Did you mean 'run'? 'labqdl --help' says what there is"),
        (["export", "run"], "labqdl: Missing argument 'FILE'. 'labqdl export --help'"),
        (["run", "--mu"], "labqdl: Option '--mu' requires an argument."),
        (["run", "--residual-share", "7"], "--residual-share: 7.0"),
        (["run", "--shot-noise", "loud"], "--shot-noise: 'loud' is not known"),
        (["run", "--vacuum-slots", "4"], "--vacuum-slots: 4 vacuum slots are of no use"),
        (["train", "breast-cancer-train", "model", "--epochs", "0"], "--epochs: found 0"),
        (["bound", "--transmissivity", "1.2"], "--transmissivity"),
        (["bound", "--excess", "-1"], "--excess"),
        (["bound", "--excess", "1e300"], "--excess"),
        (["bound", "--mu", "nan"], "--mu: nan"),
        (["bound", "--mu", "-1"], "--mu: -1.0"),
        (["bound", "--amplifier-gain", "0.9"], "--amplifier-gain: 0.9"),
        (["bound", "--tap", "magic"], "feed-forward"),
        (["run", "--mu", "1e300"], "--mu: 1e+300"),
        (["run", "--amplifier-gain", "1e300"], "--amplifier-gain: 1e+300"),
        (["run", "--labels", "nowhere"], "has its own"),
        (["bound", "--modes", "3"], "--modes and --rows"),
        (["bound", "--samples", "0"], "--samples"),
        (["bound", "--confidence", "1"], "--confidence"),
        (["bound", "--uses", "0"], "--uses"),
        (["resume", "nowhere"], "nowhere"),
        (["train", "missing.npz", "model"], "missing.npz"),
        (["train", "mnist-test", "no/such/folder/model"], "does not exist"),
        (["train", "mnist-test", "."], "no name of a file"),
        (["train", "mnist-test", "model", "--f2-db", "loud"], "--f2-db"),
        (["train", "mnist-test", "model", "--recipe", "magic"], "--recipe"),
    ],
)
def test_mistakes_get_one_clear_line(labqdl_command: Any, arguments: list[str], expected: str) -> None:
    words = labqdl_command(*arguments)
    assert words.code == 2
    assert words.out == ""
    assert expected in words.err
    assert words.err.startswith("labqdl: ")
    assert words.err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_mistake_in_an_option_beside_a_file_names_the_option(labqdl_command: Any) -> None:
    Path("e.toml").write_text("mu = 3\n[verification]\nvacuum_slots = 2\n")
    assert labqdl_command("run", "e.toml").err.startswith("labqdl: e.toml: key 'vacuum_slots'")
    shot_noise = ("--shot-noise", "own")
    assert labqdl_command("run", "e.toml", *shot_noise, "--mu", "-1").err.startswith("labqdl: --mu: -1.0")
    assert labqdl_command("run", "e.toml", *shot_noise, "--mu", "2", "--dry-run", "--images", "1").code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mu = -3\n", "line 1: key 'mu'"),
        ('model = "mnist-robust"\nmuu = 3\n', "line 2: key 'muu'"),
        ("mu = true\n", "key 'mu'"),
        ("mu = nan\n", "key 'mu'"),
        ("images = 2.5\n", "key 'images'"),
        ("[verification]\nalpha = 2\n", "line 2"),
        ("[budgets]\nbits_per_weight = 0\n", "bits_per_weight"),
        ("mu = = 3\n", "line 1"),
    ],
)
def test_mistakes_in_files_name_the_line(labqdl_command: Any, text: str, expected: str) -> None:
    Path("e.toml").write_text(text)
    words = labqdl_command("run", "e.toml")
    assert words.code == 2
    assert "e.toml" in words.err
    assert expected in words.err
    assert not Path("runs").exists()


def test_a_broken_model_leaves_no_run_behind(labqdl_command: Any, tmp_path: Path) -> None:
    words = labqdl_command("run", "--model", bad_model(tmp_path), "--data", "mnist-test")
    assert words.code == 2
    assert "broken" in words.err
    assert not Path("runs").exists()


def test_data_with_a_nan_or_nothing_in_it(labqdl_command: Any) -> None:
    data = np.zeros((3, 30))
    data[1, 7] = np.nan
    np.savez("bad.npz", data=data, labels=np.zeros(3, int))
    assert "bad.npz" in labqdl_command("run", "--model", "breast-cancer", "--data", "bad.npz").err
    np.savez("empty.npz", data=np.zeros((0, 30)), labels=np.zeros(0, int))
    words = labqdl_command("run", "--model", "breast-cancer", "--data", "empty.npz")
    assert words.code == 2
    assert "empty.npz" in words.err


def test_a_taken_folder_is_not_overwritten(labqdl_command: Any) -> None:
    result = labqdl_command("run", *SMALL, "--json").json()
    from labqdl.errors import InputError

    with pytest.raises(InputError, match="breast-cancer"):
        labqdl.run(model="breast-cancer", images=2, folder=result["run"])


def test_python_has_the_same_power(tmp_path: Path) -> None:
    result = labqdl.run(model="breast-cancer", images=6, seed=3, folder=tmp_path / "run")
    assert "UNDECIDED" in str(result)
    assert "certified" in str(result)
    recorded = labqdl.open_run(tmp_path / "run")
    assert recorded.result["accuracy"] == result.accuracy
    assert recorded.logits().shape == (6, 2)
    assert [event.kind for event in recorded.events()][-1] == "result"
    point = labqdl.bound(mu=4.0, amplifier_gain=2.0)
    assert point.weights.engine == "labqdl"
    assert "engine labqdl" in str(point.weights)
    assert point.data.bits == pytest.approx(1.0364, abs=1e-4)  # physics notes 0.0.2: summed per layer


def test_an_aborted_run_does_not_blame_the_labels(labqdl_command: Any) -> None:
    words = labqdl_command("run", *SMALL, "--link", "paper", "--client", "intercept-resend")
    assert words.code == 3
    assert "no image came through all layers" in words.out
    assert "no labels" not in words.out
    # The six data vectors whose light the client had are charged, though none was classified.
    assert words.out.count("6 uses") >= 2


def test_a_reader_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    for arguments in (["bound", "--json"], ["run", *SMALL, "--link", "paper"]):
        command = [sys.executable, "-m", "labqdl.cli", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == (4 if arguments[0] == "run" else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_gets_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "labqdl.cli", "bound", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stderr)["exit_code"] == 1
    assert "Traceback" not in done.stderr


def test_errors_are_json_where_json_was_asked_for(labqdl_command: Any, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('model = "mnist-robust"\nimagse = 5\n')
    words = labqdl_command("run", "e.toml", "--json")
    told = json.loads(words.err)
    assert (words.code, words.out, told["exit_code"]) == (2, "", 2)
    assert (told["source"], told["key"], told["line"]) == ("e.toml", "imagse", 2)
    assert told["error"].startswith("e.toml, line 2: key 'imagse'")
    assert "'images'" in told["hint"]
    words = labqdl_command("runs", "--json", "--no-such-option")
    assert json.loads(words.err)["error"].startswith("No such option")
    assert words.code == 2
    words = labqdl_command("replay", "nowhere", "--json")
    assert json.loads(words.err)["exit_code"] == words.code == 2
    assert labqdl_command("replay", "nowhere").err.startswith("labqdl: ")
