"""A run killed at any moment: nothing finished is sent again, and the result is the undisturbed one to the bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labqdl
from labqdl.api import resume, run
from labqdl.api.reading import RecordedRun, open_run
from labqdl.errors import InputError, RecordError, Stopped
from labqdl.link import EmulatedLink
from labqdl.records import storage
from labqdl.records.encoding import checked_file

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 7, "block": 3, "seed": 5}
TOML = "\n".join(f"{key} = {value!r}".replace("'", '"') for key, value in SETTINGS.items()) + "\n"


class Killed(BaseException):
    """Stands for the death of the process: nothing in the code under test may catch it."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(folder=folder, **SETTINGS)
    return open_run(folder)


def same(found: RecordedRun, expected: RecordedRun) -> None:
    """Every number of two runs agrees to the bit; only paths and times may differ."""
    assert np.array_equal(found.logits(), expected.logits())
    assert found.blocks == expected.blocks
    for block in expected.blocks:
        for layer, light in expected.light(block).items():
            other = found.light(block)[layer]
            for name in ("counted", "sum_qq", "sum_qr", "sum_rr", "sum_jj", "sum_jr", "residuals", "photons", "slots"):
                assert np.array_equal(getattr(other.statistics, name), getattr(light.statistics, name)), name
            assert light.use_sums is not None
            assert light.sample is not None
            assert other.use_sums is not None
            assert other.sample is not None
            assert np.array_equal(other.use_sums.sums, light.use_sums.sums)
            assert np.array_equal(other.sample.images, light.sample.images)
            assert np.array_equal(other.sample.residuals, light.sample.residuals)
    results = [dict(one.result) for one in (found, expected)]
    for result in results:
        del result["run"], result["seconds"]
    assert results[0] == results[1]


def write_steps(folder: Path) -> int:
    count = 0

    def watch(step: storage.WriteStep) -> None:
        nonlocal count
        count += 1

    with storage.watched(watch):
        run(folder=folder, **SETTINGS)
    return count


def complete(folder: Path) -> RecordedRun:
    """What a user does after a crash: resume if there is a run, else begin again."""
    if folder.exists():
        resume(folder)
    else:
        run(folder=folder, **SETTINGS)
    return open_run(folder)


def test_every_write_point(tmp_path: Path, undisturbed: RecordedRun) -> None:
    total = write_steps(tmp_path / "counted")
    # Every forty-third step here, all of them in the soak campaign; each kind is met.
    check_write_points(tmp_path, undisturbed, range(1, total + 1, 43))


@pytest.mark.soak
def test_every_single_write_point(tmp_path: Path, undisturbed: RecordedRun) -> None:
    check_write_points(tmp_path, undisturbed, range(1, write_steps(tmp_path / "counted") + 1))


def check_write_points(tmp_path: Path, undisturbed: RecordedRun, fatal_steps: range) -> None:
    kinds = set()
    for fatal in fatal_steps:
        folder = tmp_path / f"run-{fatal}"
        count = 0

        def watch(step: storage.WriteStep, fatal: int = fatal) -> None:
            nonlocal count
            count += 1
            if count == fatal:
                kinds.add(step.point)
                raise Killed

        with storage.watched(watch), pytest.raises(Killed):
            run(folder=folder, **SETTINGS)
        same(complete(folder), undisturbed)
    assert {storage.WritePoint.WRITE_FILE, storage.WritePoint.APPEND_LOG, storage.WritePoint.RENAME_FILE} <= kinds


def kill_for_real(tmp_path: Path, undisturbed: RecordedRun, kills: int) -> None:
    settings = tmp_path / "experiment.toml"
    settings.write_text(TOML)
    total = write_steps(tmp_path / "counted")
    generator = np.random.default_rng(20260101)
    victim = Path(__file__).with_name("victim.py")
    for number, fatal in enumerate(generator.integers(1, total, size=kills)):
        folder = tmp_path / f"killed-{number}"
        process = subprocess.run(
            [sys.executable, str(victim), str(folder), str(settings), str(fatal)], capture_output=True, timeout=120
        )
        assert process.returncode != 0, process.stderr
        same(complete(folder), undisturbed)


def test_real_kills(tmp_path: Path, undisturbed: RecordedRun) -> None:
    kill_for_real(tmp_path, undisturbed, 3)


@pytest.mark.soak
def test_many_real_kills(tmp_path: Path, undisturbed: RecordedRun) -> None:
    kill_for_real(tmp_path, undisturbed, 200)


def test_no_finished_block_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    transmit = EmulatedLink.transmit

    def counting(self: EmulatedLink, layer: int, block: int) -> None:
        sent.append((layer, block))
        transmit(self, layer, block)

    monkeypatch.setattr(EmulatedLink, "transmit", counting)

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        run(folder=tmp_path / "run", on_block=stop_after_two, **SETTINGS)
    resume(tmp_path / "run")
    layers = len(open_run(tmp_path / "run").frame.layers)
    assert sent == [(layer, block) for block in range(3) for layer in range(layers)]


def test_a_stop_request_ends_cleanly_and_resumes(tmp_path: Path, undisturbed: RecordedRun) -> None:
    import signal

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="labqdl resume"):
        run(folder=tmp_path / "run", on_block=interrupt, **SETTINGS)
    assert open_run(tmp_path / "run").blocks == (0,)
    assert not open_run(tmp_path / "run").finished
    with pytest.raises(RecordError, match="no result yet"):
        _ = open_run(tmp_path / "run").result
    same(complete(tmp_path / "run"), undisturbed)


def test_a_finished_run_gives_its_result_again(undisturbed: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_light(self: EmulatedLink, layer: int, block: int) -> None:
        raise AssertionError("light was sent for a finished run")

    monkeypatch.setattr(EmulatedLink, "transmit", no_light)
    before = dict(undisturbed.result)
    again = json.loads(json.dumps(resume(undisturbed.path).to_json()))
    del before["seconds"], again["seconds"]
    assert again == before
    assert open_run(undisturbed.path).result["seconds"] == undisturbed.result["seconds"]


def test_a_changed_model_is_noticed(tmp_path: Path) -> None:
    from labqdl.network import load_model, save_network

    network = load_model("breast-cancer")
    path, _ = save_network(network, tmp_path / "model")

    def stop(done: int, total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(folder=tmp_path / "run", on_block=stop, **{**SETTINGS, "model": str(path), "data": "breast-cancer"})
    weights = network.layers[0].weights
    weights[0, 0] += 1.0
    save_network(network, tmp_path / "model")
    with pytest.raises(InputError, match="not the one that run"):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "events.jsonl",
        "server/blocks/000001-statistics.npy",
        "server/blocks/000000-use-sums-1.npy",
        "server/blocks/000001-sample-0.npy",
        "client/blocks/000000-outcomes.npy",
        "client/blocks/000000-logits.npy",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        run(folder=tmp_path / "run", on_block=stop, **SETTINGS)
    file = tmp_path / "run" / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2] if name != "events.jsonl" else content[10:])
    else:
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 0x01]) + content[middle + 1 :])
    with pytest.raises((RecordError, InputError), match=Path(name).name):
        resume(tmp_path / "run")


@pytest.fixture
def finished(tmp_path: Path, undisturbed: RecordedRun) -> Path:
    """A copy of a finished run, to be damaged."""
    shutil.copytree(undisturbed.path, tmp_path / "finished")
    return tmp_path / "finished"


@pytest.mark.parametrize("damage", ["truncated", "altered", "no object"])
def test_a_damaged_result_is_named(finished: Path, damage: str) -> None:
    file = finished / "world" / "result.json"
    content = file.read_bytes()
    if damage == "no object":
        file.write_bytes(checked_file({"value": [1]}))
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else content.replace(b"0", b"1", 1))
    with pytest.raises(RecordError, match=r"result\.json"):
        resume(finished)
    assert sum(event.kind == "result" for event in open_run(finished).events()) == 1


def test_an_edited_result_with_a_fitting_checksum_is_named(finished: Path) -> None:
    file = finished / "world" / "result.json"
    result = json.loads(file.read_text())["value"]
    result["accuracy"] = 1.0 if result["accuracy"] < 1 else 0.5
    edited = checked_file({"value": result})
    file.write_bytes(edited)
    with pytest.raises(RecordError, match=r"result\.json: says accuracy = .* 'labqdl replay"):
        resume(finished)
    assert file.read_bytes() == edited


def test_a_result_without_its_event_gets_it(finished: Path) -> None:
    """Killed between the file and the event."""
    log = finished / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    assert b'"kind":"result"' in lines[-1]
    log.write_bytes(b"".join(lines[:-1]))
    before = (finished / "world" / "result.json").read_bytes()
    resume(finished)
    assert [event.kind for event in open_run(finished).events()][-1] == "result"
    assert (finished / "world" / "result.json").read_bytes() == before


def test_a_lost_result_is_made_again(finished: Path, undisturbed: RecordedRun) -> None:
    (finished / "world" / "result.json").unlink()
    resume(finished)
    same(open_run(finished), undisturbed)


def test_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        resume(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        labqdl.open_run(tmp_path / "nowhere")


def test_a_cumulative_budget_refuses_the_next_block(tmp_path: Path) -> None:
    from labqdl.security.accountant import BudgetExceeded

    # At the paper's point six uses leak 2.19 bit per weight, seven 2.37: the third block does not fit.
    budget: dict[str, Any] = {"cumulative_bits_per_weight": 2.3, "cross_use": False}
    with pytest.raises(BudgetExceeded, match="above the agreed cumulative budget") as caught:
        run(folder=tmp_path / "run", **SETTINGS, **budget)
    assert caught.value.exit_code == 4
    sent = open_run(tmp_path / "run").blocks
    assert 0 < len(sent) < 3
    # Resuming charges what was used before and refuses the same block again.
    with pytest.raises(BudgetExceeded):
        resume(tmp_path / "run")
    assert open_run(tmp_path / "run").blocks == sent
