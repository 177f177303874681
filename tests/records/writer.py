"""A small job that writes a run folder, to be killed. Not a test: `test_kills.py` starts it as a process.

writer.py run FOLDER BLOCKS        make or continue the run in FOLDER; one line a finished call
writer.py sweep FOLDER MODE        kill the job at every write step, finish it, compare; a JSON report
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labqdl.errors import LabqdlError
from labqdl.records import Party, PartyStore, RunFolder, Store
from labqdl.records.storage import Moment, WritePoint, WriteStep, watched
from labqdl.rng import Roots

Ack = Callable[[int], None]


seen: set[str] = set()
"""Every kind of step that a killer watched in this process."""


class Killed(BaseException):
    """Death by exception: the cleanup of Python still runs."""


def fill(public: Store, party: Callable[[Party], PartyStore]) -> None:
    """What the run has from its first moment."""
    public.save_json("frame", {"mu": 0.1})
    party(Party.CLIENT).save_array("data", np.arange(12.0).reshape(3, 4))


def job(path: Path, blocks: int, ack: Ack) -> None:
    """Create or resume, then save and commit each block that is not finished."""
    if path.exists():
        run = RunFolder.resume(path)
    else:
        roots = Roots.from_seed(7)
        run = RunFolder.create(
            path,
            {"blocks": blocks},
            roots=(roots.server, roots.client, roots.world),
            prepare=fill,
        )
    with run:
        run.check_files()  # every file that is there is whole, finished block or not
        finished = {event.fields["block"] for event in run.events() if event.kind == "block-finished"}
        server, client = run.party(Party.SERVER), run.party(Party.CLIENT)
        for block in range(blocks):
            if block in finished:
                continue
            ack(run.event("block-sent", block=block).sequence)
            outcome = server.root().generator("outcome", block).standard_normal(20)
            server.save_array(f"blocks/residual-{block}", outcome, overwrite=True)
            client.save_json("state", {"done": block, "sum": float(outcome.sum())}, overwrite=True)
            ack(run.commit("block-finished", block=block).sequence)


def content(path: Path) -> dict[str, bytes]:
    """All files but log, lock and manifest, which tell of the time and of interruptions."""
    files = (file for file in path.rglob("*") if file.is_file())
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in files
        if file.name not in ("events.jsonl", "lock", "manifest.json", "manifest.copy.json")
    }


def killer(step: int, kill: Callable[[], None]) -> Callable[[WriteStep], None]:
    """A watcher that kills at the `step`-th step, counted from 0."""
    left = step

    def watch(now: WriteStep) -> None:
        nonlocal left
        seen.add(f"{now.point}/{now.moment}")
        if left == 0:
            kill()
        left -= 1

    return watch


def killed_by_exit(path: Path, blocks: int, step: int) -> list[int]:
    """Run the job in a forked process that vanishes at a step; what it had acknowledged before."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with watched(killer(step, lambda: os._exit(9))):
                job(path, blocks, lambda sequence: void(os.write(writing, sequence.to_bytes(4, "little"))))
        finally:
            os._exit(1)  # never back into the loop of the parent, whatever happened
    os.close(writing)
    told = b""
    while piece := os.read(reading, 4096):
        told += piece
    os.close(reading)
    os.waitpid(child, 0)
    return [int.from_bytes(told[at : at + 4], "little") for at in range(0, len(told), 4)]


def killed_by_exception(path: Path, blocks: int, step: int) -> list[int]:
    """Run the job in this process and interrupt it at a step; what it had acknowledged before."""

    def kill() -> None:
        raise Killed

    told: list[int] = []
    try:
        with watched(killer(step, kill)):
            job(path, blocks, told.append)
    except Killed:
        pass
    return told


def void(_: object) -> None:
    """Drop a value."""


def finish_and_compare(path: Path, blocks: int, told: list[int], reference: Path) -> str | None:
    """Complete the run; what is wrong with it, if anything."""
    job(path, blocks, void)
    with RunFolder.resume(path) as run:
        events = list(run.events())
        run.check_files()
    ends = [event.fields["block"] for event in events if event.kind == "block-finished"]
    if ends != list(range(blocks)):
        return f"blocks finished: {ends}"
    if not set(told) <= {event.sequence for event in events}:
        return "an acknowledged event is lost"
    if content(path) != content(reference):
        return "the result differs"
    return None


def sweep(folder: Path, mode: str) -> None:
    """Kill at every step of the job, at times again while it resumes, then finish and compare."""
    pairs: list[tuple[int, int | None]]
    blocks = 2
    reference = folder / "reference"
    steps: list[WriteStep] = []
    with watched(steps.append):
        job(reference, blocks, void)
    kill = {"exit": killed_by_exit, "exception": killed_by_exception}[mode]
    problems = []
    pairs = [(step, step % 23 if step % 3 == 0 else None) for step in range(len(steps))]
    # A torn line makes the resume write more: kill at each of its steps, too.
    torn = [n for n, step in enumerate(steps) if (step.point, step.moment) == (WritePoint.APPEND_LOG, Moment.DURING)]
    pairs += [(step, second) for step in torn for second in range(12)]
    for number, (step, second) in enumerate(pairs):
        place = folder / f"kill-{number}"
        place.mkdir()
        path = place / "run"
        told = kill(path, blocks, step)
        if second is not None:
            told += kill(path, blocks, second)
        try:
            problem = finish_and_compare(path, blocks, told, reference)
        except LabqdlError as error:
            problem = str(error)
        if problem is None and [entry.name for entry in place.iterdir()] != ["run"]:
            problem = "something is left behind"
        if problem is not None:
            problems.append(f"{steps[step]}, then step {second}: {problem}")
    report = {"steps": len(steps), "seen": sorted(seen), "problems": problems}
    sys.stdout.write(json.dumps(report) + "\n")


def main() -> None:
    """See the module's text."""
    if sys.argv[1] == "sweep":
        sweep(Path(sys.argv[2]), sys.argv[3])
        return

    def ack(sequence: int) -> None:
        os.write(1, f"{sequence}\n".encode())

    ack(-1)
    job(Path(sys.argv[2]), int(sys.argv[3]), ack)
    os.write(1, b"done\n")


if __name__ == "__main__":
    main()
