"""Recovering a damaged run: what is whole goes into a new folder, block by block; the damaged one is only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from labqdl.api.blocks import FINISHED, LOST, check_block, finished_blocks, load_light, load_outcomes
from labqdl.api.reading import recorded_frame
from labqdl.api.results import Printable
from labqdl.errors import RecordError
from labqdl.facts import FrameDescription
from labqdl.records import Party, RunFolder
from labqdl.records.salvage import Fate, FileFate, Survey, rebuild, survey
from labqdl.rng import Root, Roots
from labqdl.units import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

RECOVER_SCHEMA = "labqdl.recover/1"

RECOVERED = "recovered"
"""Kind of the event that tells of a recovery."""


@dataclass(frozen=True, slots=True)
class Recovery(Printable):
    """What was saved of a damaged run.

    Attributes
    ----------
    source, run:
        The damaged folder, and the new one.
    files:
        Every file with its fate.
    blocks:
        Blocks of the inference that are finished in the new folder; None where the manifest does not tell of any.
    lost_blocks:
        Blocks that had been finished, or had files, and are not whole any more, with the reason.
    n_blocks:
        Blocks of the whole inference, None as for `blocks`.
    finished:
        Whether the run's result was saved.
    obstacle:
        Why the run cannot be resumed, "" where it can (or need not be).
    """

    source: Path
    run: Path
    files: tuple[FileFate, ...]
    blocks: tuple[int, ...] | None
    lost_blocks: Mapping[int, str]
    n_blocks: int | None
    finished: bool
    obstacle: str

    @property
    def lost(self) -> tuple[FileFate, ...]:
        """Files that are lost."""
        return tuple(file for file in self.files if file.fate is Fate.LOST)

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 where nothing is lost, else 1."""
        return 1 if self.lost or self.lost_blocks else 0

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl recover --json`; schema `labqdl.recover/1`."""
        return {
            "schema": RECOVER_SCHEMA,
            "source": str(self.source),
            "run": str(self.run),
            "files": [{"name": file.name, "fate": file.fate.value, "why": file.why} for file in self.files],
            "blocks": None if self.blocks is None else list(self.blocks),
            "lost_blocks": [{"block": block, "why": why} for block, why in self.lost_blocks.items()],
            "n_blocks": self.n_blocks,
            "finished": self.finished,
            "obstacle": self.obstacle,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        saved = sum(file.fate is Fate.SAVED for file in self.files)
        other = [file for file in self.files if file.fate is not Fate.SAVED]
        yield Text(f"{counted(saved, 'file')} of {self.source} whole and saved.")
        if other:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            table.add_column("file", overflow="fold")
            table.add_column("")
            table.add_column("why", overflow="fold")
            styles = {Fate.LOST: "bold magenta", Fate.RESTORED: "bold blue", Fate.LEFT: "dim"}
            for file in other:
                table.add_row(Text(file.name), Text(file.fate.value, style=styles[file.fate]), Text(file.why))
            yield table
        if self.blocks is None or self.n_blocks is None:
            yield Text("The manifest is lost: which blocks are whole cannot be told. The arrays themselves are saved.")
        else:
            yield Text(f"{len(self.blocks)} of {counted(self.n_blocks, 'block')} of the inference finished and whole.")
            for block, why in self.lost_blocks.items():
                yield Text(f"block {block} counts as not done: {why}", style="bold magenta")
        yield Text(f"saved run: {self.run}", style="bold")
        if self.obstacle:
            yield Text(f"It cannot be resumed: {self.obstacle}.", style="bold magenta")
        elif self.finished and not self.lost_blocks:
            yield Text(f"Its result is there; 'labqdl replay {self.run}' checks every figure of it.")
        else:
            yield Text(f"'labqdl resume {self.run}' does what is missing.")


def recover(path: str | Path, out: str | Path | None = None) -> Recovery:
    """Save what a damaged run folder allows into a new folder.

    What fits its checksum is copied. Blocks of which a file is damaged count as not done, so that `resume` sends
    them again, with the same random numbers where the root entropy is whole. Nothing is written into `path`.

    Parameters
    ----------
    path:
        The damaged folder. A run that is whole is copied as it is.
    out:
        The new folder; by default NAME-recovered beside the damaged one.

    Raises
    ------
    InputError
        Where there is nothing to save, or `out` is taken.
    RecordError
        Where the run is of a newer schema, or the new folder cannot be written.
    """
    found = survey(path)
    target = found.path.resolve() if out is None else Path(out)
    target = target.with_name(f"{target.name}-recovered") if out is None else target
    files = rebuild(found, target, spare=_spare_roots(found))
    with RunFolder.resume(target) as run:
        frame = _frame(run)
        lost: dict[int, str] = {}
        if frame is not None:
            lost = _settle_blocks(run, frame, {file.name: file.why for file in files if file.fate is Fate.LOST})
        counts = {fate.value: sum(file.fate is fate for file in files) for fate in Fate}
        run.commit(RECOVERED, source=found.path.name, **counts, blocks_lost=sorted(lost))
        blocks = None if frame is None else tuple(finished_blocks(run))
        finished = run.party(Party.WORLD).has_json("result")
    return Recovery(
        source=found.path,
        run=target,
        files=files,
        blocks=blocks,
        lost_blocks=lost,
        n_blocks=None if frame is None else frame.n_blocks,
        finished=finished,
        obstacle=_obstacle(found, files, frame),
    )


def _spare_roots(found: Survey) -> dict[Party, Root]:
    """Roots that follow from a recorded seed, unless a root that is whole speaks against it."""
    experiment = found.head.manifest.get("experiment")
    seed = experiment.get("seed") if isinstance(experiment, dict) else None
    if type(seed) is not int or seed < 0:
        return {}
    roots = Roots.from_seed(seed)
    spare = {Party.SERVER: roots.server, Party.CLIENT: roots.client, Party.WORLD: roots.world}
    return spare if all(spare[party] == root for party, root in found.roots.items()) else {}


def _frame(run: RunFolder) -> FrameDescription | None:
    """The frame of an inference, None where the manifest has none that can be read."""
    try:
        return recorded_frame(run)
    except RecordError:
        return None


def _settle_blocks(run: RunFolder, frame: FrameDescription, damage: Mapping[str, str]) -> dict[int, str]:
    """Take back the events of blocks that are not whole, add those of whole blocks whose events are lost.

    `damage` says of lost files why they are lost: in the new folder they are merely missing.
    """

    def why(block: int, complete: bool) -> str:
        problem = _problem(run, frame, block, complete)
        file = problem.partition(": ")[0].replace("\\", "/")
        return f"{file}: {damage[file]}" if file in damage else problem

    lost: dict[int, str] = {}
    claimed = finished_blocks(run)
    touched = {int(name[7:13]) for name in _block_files(run)}
    for block in range(frame.n_blocks):
        if block in claimed:
            problem = why(block, claimed[block])
            if problem:
                lost[block] = problem
                run.event(LOST, block=block, reason=problem)
        elif block in touched:
            complete = not _problem(run, frame, block, True)
            if complete or _ended_early(run, frame, block):
                run.event(FINISHED, block=block, complete=complete, recovered=True)
            else:
                lost[block] = why(block, True)
    for block in sorted(set(claimed) - set(range(frame.n_blocks))):
        lost[block] = "the run has no such block"
        run.event(LOST, block=block, reason=lost[block])
    return lost


def _block_files(run: RunFolder) -> list[str]:
    view = run.simulation_view()
    names = [*view.server.arrays(), *view.client.arrays()]
    return [name for name in names if name.startswith("blocks/") and name[7:13].isdigit()]


def _problem(run: RunFolder, frame: FrameDescription, block: int, complete: bool) -> str:
    """Why a block is not whole, "" where it is; the file's name without the folder's."""
    try:
        check_block(run, frame, block, complete)
    except RecordError as error:
        return str(error).replace(f"{run.path}", "").lstrip("/\\")
    return ""


def _ended_early(run: RunFolder, frame: FrameDescription, block: int) -> bool:
    """Whether a block without outputs is one in which a party ended the session: of fewer layers, all of them whole."""
    if _problem(run, frame, block, False):
        return False
    layers = len(load_light(run, frame, block))
    width = sum(layer.rows for layer in frame.layers[:layers])
    return 0 < layers < len(frame.layers) and load_outcomes(run, frame, block, complete=False).shape[1] == width


def _obstacle(found: Survey, files: tuple[FileFate, ...], frame: FrameDescription | None) -> str:
    restored = {file.name for file in files if file.fate is Fate.RESTORED}
    gone = [party for party in Party if party not in found.roots and f"{party}/roots.json" not in restored]
    if not found.known and frame is None:
        return "what the run was is lost with its manifest"
    if frame is None:
        return "its manifest tells of no inference that this version of labqdl knows"
    if gone:
        return f"the root entropy of the {' and the '.join(gone)} is lost, and no seed was recorded that gives it again"
    return ""
