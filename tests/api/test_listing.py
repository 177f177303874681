"""The list of runs: what it reads, what it marks, how it sorts, and that a thousand runs are no burden."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labqdl.api.listing import SORT_KEYS, RunEntry, RunState, list_runs
from labqdl.api.reading import open_run
from labqdl.cli.root import run as command
from labqdl.errors import InputError
from labqdl.records import storage
from labqdl.records.encoding import checked_file

Copy = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, whole: Path, aborted: Path, stopped: Path) -> Path:
    """Four runs, one of them deeper and one damaged, beside what is no run."""
    place = tmp_path / "runs"
    for name, source in (("whole", whole), ("aborted", aborted), ("stopped", stopped), ("demo/a", whole)):
        shutil.copytree(source, place / name)
    shutil.copytree(whole, place / "torn")
    file = place / "torn" / "world" / "result.json"
    file.write_bytes(file.read_bytes()[:100])
    (place / "nothing").mkdir()
    (place / "notes.txt").write_text("no run")
    (place / ".hidden.0123456789abcdef.partial").mkdir()
    return place


def by_name(folder: Path, **wanted: Any) -> dict[str, RunEntry]:
    return {entry.path.relative_to(folder).as_posix(): entry for entry in list_runs(folder, **wanted).entries}


def test_every_run_is_listed_with_its_outcome(folder: Path, whole: Path) -> None:
    entries = by_name(folder)
    assert set(entries) == {"whole", "aborted", "stopped", "torn", "demo/a"}
    result = open_run(whole).result
    found = entries["whole"]
    assert found.state is RunState.FINISHED
    assert (found.model, found.link, found.client, found.images) == ("breast-cancer", "paper", "honest", 7)
    assert (found.verdict, found.accuracy) == (result["verdict"], result["accuracy"])
    assert found.leakage == result["leakage"]
    assert found.created == open_run(whole).folder.created
    assert entries["aborted"].verdict == "abort"
    assert entries["aborted"].client == "intercept-resend"
    assert entries["stopped"].state is RunState.UNFINISHED
    assert (entries["stopped"].model, entries["stopped"].images, entries["stopped"].verdict) == (
        "breast-cancer",
        7,
        None,
    )
    assert entries["torn"].state is RunState.DAMAGED
    assert "result.json" in (entries["torn"].problem or "")


def test_the_weights_are_listed_by_the_engine_that_leaks_most(whole: Path) -> None:
    leakage = open_run(whole).result["leakage"]
    engines = leakage["weights"]
    (entry,) = list_runs(whole).entries
    for name in ("bits_per_weight", "certified_bits_per_weight"):
        equal, steered = (engines[engine][name] for engine in ("labqdl", "labqdl-anisotropic"))
        assert entry.bits("weights", name) == max(equal, steered)
    assert engines["labqdl"]["bits_per_weight"] < engines["labqdl-anisotropic"]["bits_per_weight"]
    assert (
        entry.bits("data", "bits_per_feature")
        == open_run(whole).result["leakage"]["data"]["labqdl"]["bits_per_feature"]
    )


def test_a_run_lists_itself(whole: Path) -> None:
    assert [entry.path for entry in list_runs(whole).entries] == [whole]


@pytest.mark.parametrize("lost", ["manifest.json", "manifest.json and events.jsonl", "world", "client"])
def test_what_is_lost_is_named(whole: Path, copied: Copy, lost: str) -> None:
    place = copied(whole)
    for name in lost.split(" and "):
        part = place / name
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
    (entry,) = list_runs(place).entries
    if lost == "client":  # a result is there: what else is missing shows when the run is opened
        assert entry.state is RunState.FINISHED
    else:
        assert entry.state is RunState.DAMAGED
        assert entry.problem


def test_a_result_of_another_shape_is_damage(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    values: tuple[object, ...] = ({}, [], 3, {"accuracy_interval": 4})
    for value in values:
        (place / "world" / "result.json").write_bytes(checked_file({"value": value}))
        assert list_runs(place).entries[0].state is RunState.DAMAGED


@pytest.mark.parametrize("key", sorted(SORT_KEYS))
def test_sorted_by_each_key(folder: Path, key: str) -> None:
    for reverse in (False, True):
        entries = list_runs(folder, sort=key, reverse=reverse).entries
        assert len(entries) == 5
        values = [SORT_KEYS[key](entry) for entry in entries]
        known = [value for value in values if value is not None]
        assert values == known + [None] * (len(values) - len(known)), "what is not known comes last"
        assert known == sorted(known, reverse=reverse != (key == "date"))


def test_filters(folder: Path) -> None:
    assert set(by_name(folder, verdict="abort")) == {"aborted"}
    assert set(by_name(folder, client="intercept*")) == {"aborted"}
    assert set(by_name(folder, state="unfinished")) == {"stopped"}
    assert set(by_name(folder, model="breast-*", state="finished")) == {"whole", "aborted", "demo/a"}
    assert by_name(folder, link="ideal") == {}


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list_runs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="--sort: unknown word 'size'"):
        list_runs(tmp_path, sort="size")
    with pytest.raises(InputError, match="--verdict: unknown word"):
        list_runs(tmp_path, verdict="good")
    with pytest.raises(InputError, match="--state: unknown word"):
        list_runs(tmp_path, state="good")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["runs", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.runs/1"
    assert len(document["runs"]) == 5
    finished = [entry for entry in document["runs"] if entry["state"] == "finished"]
    assert all(entry["leakage"]["weights"]["labqdl"]["assumptions"] for entry in finished)
    assert command(["runs", str(folder), "--sort", "name"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("whole", "demo/a", "unfinished", "damaged", "abort", "labqdl-anisotropic", "confidence 1 - 1e-06"):
        assert word in text, word
    assert command(["runs", str(folder / "nothing")]) == 0
    assert "No runs" in capsys.readouterr().out
    assert command(["runs", str(folder / "nowhere")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_only_manifests_and_results_are_read(
    tmp_path: Path, whole: Path, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes it quick for a thousand runs: two small files each, whatever else lies there."""
    copied(whole)
    opened: list[str] = []
    for name in ("read_bytes", "open"):
        original = getattr(Path, name)

        def watch(self: Path, *arguments: Any, _original: Any = original, **options: Any) -> Any:
            opened.append(self.name)
            return _original(self, *arguments, **options)

        monkeypatch.setattr(Path, name, watch)
    list_runs(tmp_path)
    assert set(opened) == {"manifest.json", "result.json"}


def test_a_damaged_log_of_an_unfinished_run_is_damage(stopped: Path, copied: Copy) -> None:
    place = copied(stopped)
    log = place / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"block":0', b'"block":1', 1))
    (entry,) = list_runs(place).entries
    assert entry.state is RunState.DAMAGED
    assert "events.jsonl, line 2" in (entry.problem or "")


def test_nothing_is_written(folder: Path) -> None:
    steps: list[storage.WriteStep] = []
    with storage.watched(steps.append):
        list_runs(folder)
    assert steps == []
