from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError, RecordError
from labqdl.records import SCHEMA_VERSION, Party, RunFolder, Store, TornLine, storage
from labqdl.records.encoding import checked_file
from labqdl.records.lock import RunLock
from labqdl.records.run import CREATED, CUT, OpenParty
from labqdl.records.storage import WritePoint, WriteStep, watched
from labqdl.rng import Roots

ROOTS = Roots.from_seed(3)


def fill(public: Store, party: OpenParty) -> None:
    public.save_json("frame", {"mu": 0.25})
    party(Party.CLIENT).save_array("data", np.arange(6.0), sync=True)


def make(path: Path, **changes: Any) -> RunFolder:
    arguments: dict[str, Any] = {
        "roots": (ROOTS.server, ROOTS.client, ROOTS.world),
        "prepare": fill,
        "clock": ManualClock(100.0),
    }
    return RunFolder.create(path, {"alpha": 1e-6, "images": 64}, **{**arguments, **changes})


def made(path: Path, **changes: Any) -> Path:
    make(path, **changes).close()
    return path


# -- creating -------------------------------------------------------------------------------------------------------


def test_a_new_run_has_all_its_parts(tmp_path: Path) -> None:
    with make(tmp_path / "deep" / "run") as run:
        assert dict(run.manifest) == {"alpha": 1e-6, "images": 64}
        assert run.schema_version == SCHEMA_VERSION
        assert run.created == 100.0
        assert len(run.run_id) == 16
        assert run.torn is None
        assert [event.kind for event in run.events()] == [CREATED]
        assert {entry.name for entry in run.path.iterdir()} == {
            "manifest.json", "manifest.copy.json", "events.jsonl", "lock", "public", "server", "client", "world",
        }  # fmt: skip
        for party, root in {Party.SERVER: ROOTS.server, Party.CLIENT: ROOTS.client, Party.WORLD: ROOTS.world}.items():
            assert run.party(party).root() == root
        assert run.party(Party.SERVER).public.load_json("frame") == {"mu": 0.25}
        assert run.check_files() == 2
    text = (tmp_path / "deep" / "run" / "manifest.json").read_text() + (run.path / "events.jsonl").read_text()
    assert ROOTS.server.entropy.hex() not in text


def test_an_empty_folder_gives_way_a_filled_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    made(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="this place is taken"):
        make(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="this place is taken"):
        make(tmp_path / "file")
    with pytest.raises(InputError, match="cannot make the run folder"):
        make(tmp_path / "file" / "run")
    (tmp_path / "file").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("x")
    monkeypatch.chdir(tmp_path)
    for here in (Path("."), Path("..") / tmp_path.name):
        with pytest.raises(InputError, match="this place is taken"):
            make(here)


def test_somebody_faster(tmp_path: Path) -> None:
    """Another process makes the same folder between the check and the rename."""

    def rival(step: WriteStep) -> None:
        if step.point == WritePoint.RENAME_FOLDER and not (tmp_path / "run").exists():
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "precious").write_text("kept")

    with pytest.raises(InputError, match="cannot make the run folder"), watched(rival):
        make(tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "precious").read_text() == "kept"


@pytest.mark.parametrize(
    "manifest", [{"x": float("nan")}, {"x": np.zeros(2)}, {3: "x"}], ids=["nan", "array", "integer key"]
)
def test_a_bad_manifest_leaves_nothing(tmp_path: Path, manifest: dict[Any, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        RunFolder.create(tmp_path / "run", manifest)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_preparation_leaves_nothing(tmp_path: Path) -> None:
    def fail(public: Store, party: OpenParty) -> None:
        fill(public, party)
        raise InputError("the data set is empty")

    with pytest.raises(InputError, match="the data set is empty"):
        make(tmp_path / "run", prepare=fail)
    assert list(tmp_path.iterdir()) == []


def test_stores_of_the_preparation_end_with_it(tmp_path: Path) -> None:
    kept: list[Store] = []
    with (
        make(tmp_path / "run", prepare=lambda public, party: kept.append(public)),
        pytest.raises(ValueError, match="made"),
    ):
        kept[0].save_json("late", 1)


def test_a_run_without_randomness_or_preparation(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path / "run"), {}) as run:
        assert run.check_files() == 0
        assert dict(run.manifest) == {}
        with pytest.raises(RecordError, match=r"roots\.json: this file is missing"):
            run.party(Party.SERVER).root()


def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="cannot make the run folder: Permission denied"):
        make(tmp_path / "run")


def test_a_root_for_each_party_at_most(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one root"):
        make(tmp_path / "run", roots=(ROOTS.server, ROOTS.server))
    with make(tmp_path / "run", roots=(ROOTS.server,)) as run, pytest.raises(RecordError, match="missing"):
        run.party(Party.CLIENT).root()


def test_what_a_killed_creation_left_is_removed(tmp_path: Path) -> None:
    """Its own leftovers only: not those of a longer name, not those that a living process holds."""
    dead = tmp_path / ".run.0123456789abcdef.partial"
    alive = tmp_path / ".run.ffffffffffffffff.partial"
    other = tmp_path / ".run.b.0123456789abcdef.partial"
    for folder in (dead, alive, other):
        (folder / "server").mkdir(parents=True)
    lock = RunLock(alive / "lock", ManualClock())
    made(tmp_path / "run")
    assert {entry.name for entry in tmp_path.iterdir()} == {"run", alive.name, other.name}
    lock.release()


# -- opening --------------------------------------------------------------------------------------------------------


def test_resuming_continues_the_log(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    for block in range(3):
        with RunFolder.resume(path, clock=ManualClock(200.0 + block)) as run:
            event = run.event("block-finished", block=np.int64(block))
            assert event.sequence == block + 1
            assert event.fields["block"] == block
    events = list(RunFolder.open(path).events())
    assert [event.time for event in events] == [100.0, 200.0, 201.0, 202.0]


def test_reading_changes_nothing_and_goes_along_with_a_writer(tmp_path: Path) -> None:
    with make(tmp_path / "run") as run:
        run.event("a")
        before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        reader = RunFolder.open(run.path)
        assert [event.kind for event in reader.events()] == [CREATED, "a"]
        run_files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        assert run_files == before
        for call in (
            lambda: reader.event("x"),
            lambda: reader.commit("x"),
            reader.sync,
            lambda: reader.public.save_json("x", 1),
            lambda: reader.party(Party.SERVER).save_array("x", np.zeros(1)),
        ):
            with pytest.raises(ValueError, match="opened for reading"):
                call()
        reader.close()


def test_a_closed_run_takes_nothing(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    store = run.party(Party.SERVER)
    run.close()
    run.close()
    for call in (lambda: run.event("x"), run.sync, lambda: store.save_json("x", 1)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_torn_last_line_is_reported_and_cut(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    log = path / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"seq":1,"ti')
    torn = TornLine(len(whole), 12)
    reader = RunFolder.open(path)
    assert reader.torn == torn
    assert log.read_bytes() == whole + b'{"seq":1,"ti'
    with RunFolder.resume(path) as run:
        assert run.torn == torn
        run.event("more")
    events = list(RunFolder.open(path).events())
    assert [event.kind for event in events] == [CREATED, CUT, "more"]
    assert dict(events[1].fields) == {"offset": torn.offset, "size": torn.size}


def test_a_folder_of_runs_is_told_from_a_run(tmp_path: Path) -> None:
    made(tmp_path / "runs" / "first")
    made(tmp_path / "runs" / "second")
    with pytest.raises(InputError) as caught:
        RunFolder.open(tmp_path / "runs")
    assert caught.value.hint == f"There is one inside of it: {tmp_path / 'runs' / 'second'}"


def test_partial_files_go_when_resuming(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    (path / "server" / ".a.npy.partial").write_bytes(b"half")
    with RunFolder.resume(path):
        assert list(path.rglob("*.partial")) == []


def test_no_run_there(tmp_path: Path) -> None:
    for opening in (RunFolder.open, RunFolder.resume):
        with pytest.raises(InputError, match="no run folder here"):
            opening(tmp_path / "nothing")
        with pytest.raises(InputError, match="is not a run"):
            opening(tmp_path)


def remove(path: Path) -> None:
    if path.is_dir():
        for entry in path.iterdir():
            remove(entry)
        path.rmdir()
    else:
        path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        *((name, damage) for name in ("manifest.json", "events.jsonl") for damage in (remove, flip, empty)),
        *(("server/roots.json", damage) for damage in (remove, flip, empty)),
        *((name, remove) for name in ("public", "server", "client", "world", "client/roots.json")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opening", [RunFolder.open, RunFolder.resume])
def test_damage_is_named(
    tmp_path: Path, part: str, damage: Callable[[Path], None], opening: Callable[[Path], RunFolder]
) -> None:
    path = made(tmp_path / "run")
    damage(path / part)
    with pytest.raises(RecordError, match=part.replace("/", ".").replace(".", r"\W")):
        opening(path)
    with pytest.raises(RecordError):  # and the lock is free again: the same answer, not "being written"
        opening(path)


@pytest.mark.parametrize("part", ["public/frame.json", "client/data.npy"])
def test_damage_of_content_is_found_by_the_full_check(tmp_path: Path, part: str) -> None:
    path = made(tmp_path / "run")
    flip(path / part)
    with RunFolder.open(path) as run, pytest.raises(RecordError, match=Path(part).name):
        run.check_files()


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_a_part_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    (path / "world").rename(tmp_path / "elsewhere")
    (path / "world").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="world"):
        RunFolder.open(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "newer than this labqdl"),
        ({"schema_version": 0}, "not a positive integer"),
        ({"schema_version": "1"}, "not a positive integer"),
        ({"schema_version": True}, "not a positive integer"),
        ({"schema": "labqdl-model"}, "is not a run's"),
        ({"roots": ["eve"]}, "a field is missing or wrong"),
        ({"run_id": 3}, "of a wrong type"),
        ({"created": "now"}, "of a wrong type"),
        ({"manifest": []}, "of a wrong type"),
    ],
)
def test_manifests_of_another_kind(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = made(tmp_path / "run")
    fields = json.loads((path / "manifest.json").read_text())
    del fields["sha256"]
    (path / "manifest.json").write_bytes(checked_file({**fields, **change}))
    with pytest.raises(RecordError, match=rf"manifest\.json: .*{message}"):
        RunFolder.open(path)
    del fields["created"]
    (path / "manifest.json").write_bytes(checked_file(fields))
    with pytest.raises(RecordError, match=r"manifest\.json: .*'created'"):
        RunFolder.open(path)


# -- one writer -----------------------------------------------------------------------------------------------------


def test_one_writer_in_this_process(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with pytest.raises(InputError, match="by this very process"):
        RunFolder.resume(run.path)
    run.close()
    RunFolder.resume(run.path).close()


def test_a_forgotten_run_is_given_back(tmp_path: Path) -> None:
    run: RunFolder | None = make(tmp_path / "run")
    assert run is not None
    run = None
    gc.collect()
    RunFolder.resume(tmp_path / "run").close()


HOLDER = """
import sys
from labqdl.records import RunFolder
run = RunFolder.resume(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_one_writer_among_processes_and_none_after_a_kill(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(InputError, match=rf"is being written by process {holder.pid} on "):
            RunFolder.resume(path)
        RunFolder.open(path).close()
        holder.kill()
    RunFolder.resume(path).close()


def test_a_holder_that_left_no_word(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (path / "lock").write_bytes(b"")
        with pytest.raises(InputError, match="is being written by another process"):
            RunFolder.resume(path)
        holder.kill()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("labqdl.records.lock._take", refuse)
    with pytest.raises(InputError, match=r"gives no locks \(No locks available\)"):
        RunLock(tmp_path / "lock", ManualClock())


# -- flushing -------------------------------------------------------------------------------------------------------


def points(steps: list[WriteStep], run: RunFolder) -> list[tuple[str, str]]:
    return [
        (step.point.value, step.path.relative_to(run.path).as_posix())
        for step in steps
        if step.moment == "after" and step.point.value.startswith(("sync", "append"))
    ]


def test_commit_flushes_files_then_folders_then_tells(tmp_path: Path) -> None:
    with make(tmp_path / "run") as run:
        run.party(Party.SERVER).save_array("blocks/b", np.zeros(2))
        run.public.save_json("now", 1, sync=True)
        steps: list[WriteStep] = []
        with watched(steps.append):
            run.commit("block-finished", block=0)
        found = points(steps, run)
        assert found[0] == ("sync-file", "server/blocks/b.npy")
        assert set(found[1:4]) == {
            ("sync-folder", "server"),
            ("sync-folder", "server/blocks"),
            ("sync-folder", "public"),
        }
        assert found[4:] == [("append-log", "events.jsonl"), ("sync-log", "events.jsonl")]
        steps.clear()
        with watched(steps.append):
            run.sync()
        assert points(steps, run) == [("sync-log", "events.jsonl")]


def test_what_could_not_be_flushed_is_flushed_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with make(tmp_path / "run") as run:
        run.public.save_json("now", 1)
        with monkeypatch.context() as patch:
            patch.setattr(storage, "_flush", refuse)
            with pytest.raises(RecordError, match=r"now\.json: cannot sync file"):
                run.commit("block-finished")
        assert [event.kind for event in run.events()] == [CREATED]
        steps: list[WriteStep] = []
        with watched(steps.append):
            run.sync()
        assert points(steps, run)[:2] == [("sync-file", "public/now.json"), ("sync-folder", "public")]


def test_the_joined_view_says_what_it_is(tmp_path: Path) -> None:
    with make(tmp_path / "run") as run:
        view = run.simulation_view()
        assert view.notice.startswith("simulation only")
        np.testing.assert_array_equal(view.client.load_array("data"), np.arange(6.0))
        assert view.public.jsons() == ("frame",)
        assert view.server.jsons() == view.world.jsons() == ()
