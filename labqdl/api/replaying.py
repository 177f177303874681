"""Every figure of a run's result computed again from its record, and whether it agrees with what was recorded.

From the server's statistics follow verdict, certificate and bounds, by the same code that judged the light; from the
client's outcomes follow activations, outputs, predictions and the accuracy, by the client's own code. The light
itself can be emulated again from the recorded root entropy, into a scratch folder, and compared bit for bit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_limits

from labqdl import __version__
from labqdl.api.agreement import ABSENT, ROUNDING, Figure, Leaf, compare_documents, figures_of, same
from labqdl.api.blocks import finished_blocks, load_checks, load_logits, refusal
from labqdl.api.experiment import Experiment
from labqdl.api.reading import RecordedRun, open_run
from labqdl.api.results import Printable
from labqdl.api.retracing import Retraced, retrace
from labqdl.api.running import OnBlock, carry_out, experiment_of, joined_result, restored_server
from labqdl.errors import InputError, LabqdlError, RecordError
from labqdl.facts import FrameDescription
from labqdl.records import Party, RunFolder, StoreView
from labqdl.records.encoding import parse
from labqdl.rng import Roots
from labqdl.units import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

REPLAY_SCHEMA = "labqdl.replay/1"

_SINGLE = 1e-5
"""Relative to the largest output: what another machine's single precision may change in a network's outputs."""

_BLOCK_FILE = re.compile(r"blocks/(\d{6})-(.+)")

_FOREIGN = "nothing in the run makes this file"
_LOST = "not in the record"
_OTHER = "not the numbers that the recorded root entropy gives"

_MAIN = re.compile(
    r"images|accuracy(_interval.*)?|verdict|reason\.kind|operating_point\.(mu|f2_db)"
    r"|consistency\.(passed|log10_e_value|tests\[[^,\]]*\]\.(statistic|p_value))"
    r"|certificate\.(passed|transmissivity_min|excess_max|bits_per_.*)"
    r"|leakage\..*\.(.*bits_per_(weight|feature)|confidence|samples)"
)
"""Figures that a table shows even where they agree; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Section:
    """One step of the replay: what was compared, and how it came out."""

    title: str
    figures: tuple[Figure, ...]

    @property
    def agrees(self) -> bool:
        """True where every figure agrees."""
        return all(figure.agrees for figure in self.figures)

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field."""
        return {
            "title": self.title,
            "agrees": self.agrees,
            "figures": [figure.to_json() for figure in self.figures],
        }


@dataclass(frozen=True, slots=True)
class Replay(Printable):
    """A run computed again from its record.

    Attributes
    ----------
    run:
        The run folder.
    sections:
        In the order of the computation: files, settings, logits, light where it was asked for, log, result.
    changed:
        What differs between the program that recorded and this one, as `numpy: 2.1.0, now 2.2.0`: no disagreement by
        itself, but a reason for one.
    verbose:
        Whether the printed table shows every figure.
    """

    run: Path
    sections: tuple[Section, ...]
    changed: tuple[str, ...]
    verbose: bool = False

    @property
    def agrees(self) -> bool:
        """True where every figure of every section agrees."""
        return all(section.agrees for section in self.sections)

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 where all agrees, else 1."""
        return 0 if self.agrees else 1

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl replay --json`; schema `labqdl.replay/1`."""
        return {
            "schema": REPLAY_SCHEMA,
            "run": str(self.run),
            "agrees": self.agrees,
            "tolerance": ROUNDING,
            "changed": list(self.changed),
            "sections": [section.to_json() for section in self.sections],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table = Table(box=box.SIMPLE_HEAD, title=f"Replay of {self.run}", title_justify="left", pad_edge=False)
        table.add_column("figure", overflow="fold")
        table.add_column("recorded", justify="right", overflow="fold")
        table.add_column("recomputed", justify="right", overflow="fold")
        table.add_column("agrees", no_wrap=True)
        hidden = 0
        for section in self.sections:
            table.add_row(Text(section.title, style="italic"))
            for figure in section.figures:
                if self._shown(section, figure):
                    table.add_row(*_cells(figure))
                else:
                    hidden += 1
        yield table
        if hidden:
            yield Text(f"Further entries that agree: {hidden}; -v shows them.", style="dim")
        for line in self.changed:
            yield Text(f"recorded with {line}", style="dim")
        wrong = [figure for section in self.sections for figure in section.figures if not figure.agrees]
        if not wrong:
            yield Text("Every figure agrees with the record.", style="bold blue")
            return
        for line in self._notes(wrong):
            yield Text(line, style="bold magenta")
        yield Text(f"{len(wrong)} of {sum(len(s.figures) for s in self.sections)} do NOT agree.", style="bold magenta")

    def _notes(self, wrong: Iterable[Figure]) -> Iterator[str]:
        """Why figures do not agree: every reason once, with files by their places in the run."""
        reasons: dict[str, list[str]] = {}
        for figure in wrong:
            if figure.note:
                reason = figure.note.replace(f"{self.run}/", "").replace(f"{self.run}\\", "")
                reasons.setdefault(reason, []).append(figure.name)
        for reason, (name, *others) in reasons.items():
            of_a_file = reason.startswith(f"{name}: ")
            also = f" (and {counted(len(others), 'further figure')})" if others and not of_a_file else ""
            yield reason if of_a_file else f"{name}{also}: {reason}"

    def _shown(self, section: Section, figure: Figure) -> bool:
        result = section is self.sections[-1]
        return self.verbose or not figure.agrees or not result or _MAIN.fullmatch(figure.name) is not None


def replay(path: str | Path, *, light: bool = False, on_block: OnBlock | None = None) -> Replay:
    """Compute every figure of a finished run again from its record.

    Parameters
    ----------
    path:
        The run folder; it is only read.
    light:
        Also emulate the light again, from the recorded root entropy into a scratch folder that goes away, and
        compare every array bit for bit. Takes as long as the run did.
    on_block:
        Told of every block of light.

    Raises
    ------
    InputError
        Where there is no run, or its model or data cannot be found or have changed since.
    RecordError
        Where manifest, log or a party's folder is damaged so that nothing can be computed, or where the run has come
        to no result yet. Damage to arrays or to the result is told in what is returned.
    """
    record = open_run(path)
    if not record.finished:
        reason = refusal(record.folder)
        if reason is not None:
            raise RecordError(f"{record.path}: this run has no result, as it was refused: {reason}")
        events = [event.kind for event in record.events()]
        lost = "result" in events
        raise RecordError(
            f"{record.path}: "
            + ("its result is lost" if lost else "this run has no result yet")
            + f"; 'labqdl resume {record.path}' computes it"
        )
    chosen = experiment_of(record.folder)
    # As in the run itself: one BLAS thread, or sums would not come out to the bit.
    with threadpool_limits(limits=1, user_api="blas"):
        sections = [_files(record.folder), _settings(record, chosen)]
        retraced, section = _client(record, chosen)
        sections.append(section)
        if light:
            sections.append(_light(record, chosen, on_block))
        sections += _result(record, chosen, retraced.logits)
    return Replay(record.path, tuple(sections), _changed(record.manifest))


# -- files and settings --------------------------------------------------------------------------------------------


def _files(folder: RunFolder) -> Section:
    """Every stored file against its checksum; the log was read when the folder was opened."""
    count, figures = 0, []
    view = folder.simulation_view()
    for part in (view.public, view.server, view.client, view.world):
        for read, names, ending in (
            (part.load_array, part.arrays(), "npy"),
            (part.load_json, part.jsons(), "json"),
        ):
            for name in names:
                problem = _problem(read, name)
                count += 1
                if problem is not None:
                    file = f"{part.folder.name}/{name}.{ending}"
                    figures.append(Figure(file, "whole", "damaged", False, False, problem))
    fit = count - len(figures)
    counted = Figure("files that fit their checksums", count, fit, fit == count, fit == count)
    return Section("Files", (counted, *figures))


def _problem(read: Callable[[str], Any], name: str) -> str | None:
    try:
        read(name)
    except (RecordError, ValueError) as error:
        return str(error)
    return None


def _settings(record: RecordedRun, chosen: Experiment) -> Section:
    """What was agreed, and what this version makes of the same settings."""
    manifest = record.manifest
    digest = str(manifest.get("frame_digest"))
    made = chosen.frame(session=record.frame.session).digest
    figures = [
        _equal("digest of the recorded frame", digest, record.frame.digest, "the frame in manifest.json was changed"),
        _equal("frame from the recorded settings", digest, made, "this version makes another frame of these settings"),
        _equal("model", manifest["experiment"]["model_fingerprint"], chosen.network.fingerprint),
        _equal("data", manifest["experiment"]["data_digest"], chosen.data_digest),
    ]
    if chosen.seed is not None:
        roots = Roots.from_seed(chosen.seed)
        fits = all(
            record.folder.party(party).root() == root
            for party, root in ((Party.SERVER, roots.server), (Party.CLIENT, roots.client), (Party.WORLD, roots.world))
        )
        words = "roots" if fits else "other roots"
        figures.append(_equal(f"root entropy of seed {chosen.seed}", "roots", words, "the roots are not the seed's"))
    return Section("Settings", tuple(figures))


def _equal(name: str, recorded: Leaf, recomputed: Leaf, note: str = "") -> Figure:
    agrees = recorded == recomputed
    return Figure(name, recorded, recomputed, agrees, agrees, "" if agrees else note)


# -- outcomes to outputs -------------------------------------------------------------------------------------------


def _client(record: RecordedRun, chosen: Experiment) -> tuple[Retraced, Section]:
    """Outputs of every complete block from the client's outcomes, and sums of its checks; and how they compare."""
    complete = [block for block, whole in finished_blocks(record.folder).items() if whole]
    found = retrace(record.folder, record.frame, chosen, complete)
    figures = [
        Figure(f"outputs of block {block}", "there", None, False, False, problem)
        for block, problem in found.problems.items()
    ]
    equal = 0
    for block, values in found.logits.items():
        figure = _compare_logits(record, block, values)
        equal += figure.exact
        if not figure.exact:
            figures.append(figure)
    total = Figure("blocks whose outputs come out to the bit", len(complete), equal, True, equal == len(complete))
    figures += _compare_checks(record, found)
    return found, Section("Outcomes, activations, outputs", (total, *figures))


def _compare_checks(record: RecordedRun, found: Retraced) -> list[Figure]:
    """Sums of the client's own checks that follow from its outcomes; the power monitors' do not."""
    figures: list[Figure] = []
    exact = 0
    for block in found.logits:
        try:
            recorded = {(one.block, one.layer): one for one in load_checks(record.folder, [block])}
        except RecordError as error:
            figures.append(Figure(f"checks of block {block}", "there", None, False, False, str(error)))
            continue
        for layer in range(len(record.frame.layers)):
            old, new = recorded.get((block, layer)), found.checks.get((block, layer))
            for name in ("vectors", "energy", "repeats", "degrees"):
                first, second = (ABSENT if one is None else getattr(one, name) for one in (old, new))
                exact += first == second
                if first != second:
                    label = f"checks of block {block}, layer {layer + 1}: {name}"
                    figures.append(Figure(label, first, second, same(first, second), False))
    count = len(found.logits) * len(record.frame.layers) * 4
    return [Figure("sums of the client's own checks", count, exact, True, exact == count), *figures]


def _compare_logits(record: RecordedRun, block: int, values: NDArray[np.floating[Any]]) -> Figure:
    name = f"outputs of block {block}"
    try:
        recorded = load_logits(record.folder, record.frame, block)
    except RecordError as error:
        return Figure(name, ABSENT, "computed", False, False, str(error))
    if np.array_equal(recorded, values):
        return Figure(name, "same", "same", True, True)
    difference = float(np.max(np.abs(recorded.astype(np.float64) - values)) / max(np.max(np.abs(values)), 1e-30))
    return Figure(name, 0.0, difference, difference <= _SINGLE, False, "largest difference, relative to the outputs")


# -- the light -----------------------------------------------------------------------------------------------------


def _light(record: RecordedRun, chosen: Experiment, on_block: OnBlock | None) -> Section:
    """The run again, into a scratch folder; every array bit for bit."""
    with tempfile.TemporaryDirectory(prefix="labqdl-replay-") as place:
        roots = [record.folder.party(party).root() for party in Party]
        with RunFolder.create(Path(place) / "run", record.manifest, roots=roots) as scratch:
            # No light flows: nothing may be charged to anybody's account.
            carry_out(replace(chosen, accounts=None), record.frame, scratch, on_block)
            again = scratch.simulation_view()
        found = record.folder.simulation_view()
        figures: list[Figure] = []
        for old, new in ((found.server, again.server), (found.client, again.client)):
            figures += _compare_files(old, new)
    return Section("The light again", tuple(figures))


def _compare_files(recorded: StoreView, again: StoreView) -> list[Figure]:
    """Files of one party by kind: how many there are, how many came again to the bit; those that did not."""
    kinds: dict[str, list[bool]] = {}
    wrong: list[Figure] = []
    arrays = dict.fromkeys((*recorded.arrays(), *again.arrays()), ".npy")
    values = dict.fromkeys((*recorded.jsons(), *again.jsons()), ".json")
    for name, ending in sorted({**arrays, **values}.items()):
        match = _BLOCK_FILE.fullmatch(name)
        compare = _array_problem if ending == ".npy" else _value_problem
        problem = compare(recorded, again, name)
        kinds.setdefault(match.group(2) if match else name, []).append(problem is None)
        if problem is not None:
            file = f"{recorded.folder.name}/{name}{ending}"
            wrong.append(Figure(file, "light", "other light", False, False, problem))
    counts = [
        Figure(f"{recorded.folder.name}: {kind}", len(same), sum(same), all(same), all(same))
        for kind, same in kinds.items()
    ]
    return counts + wrong


def _value_problem(recorded: StoreView, again: StoreView, name: str) -> str | None:
    """Why a JSON value is not the one that the light gives again, None where it is."""
    if not again.has_json(name):
        return _FOREIGN
    if not recorded.has_json(name):
        return _LOST
    try:
        old = recorded.load_json(name)
    except RecordError as error:
        return str(error)
    return None if old == again.load_json(name) else _OTHER


def _array_problem(recorded: StoreView, again: StoreView, name: str) -> str | None:
    """Why an array is not the one that the light gives again, None where it is."""
    if not again.has_array(name):
        return _FOREIGN
    if not recorded.has_array(name):
        return _LOST
    try:
        old = recorded.load_array(name)
    except RecordError as error:
        return str(error)
    new = again.load_array(name)
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{old.dtype} of shape {old.shape} where the light gives {new.dtype} of shape {new.shape}"
    return None if old.tobytes() == new.tobytes() else _OTHER


# -- the result ----------------------------------------------------------------------------------------------------


def _result(
    record: RecordedRun, chosen: Experiment, logits: Mapping[int, NDArray[np.floating[Any]]]
) -> tuple[Section, Section]:
    """What the log says of the verdict, and every figure of the result."""
    recorded, damage = _recorded(record.folder)
    recomputed, why = _recomputed(record, chosen, logits)
    figures = [
        figure
        if figure.agrees or figure.recomputed != ABSENT or why is None
        else Figure(figure.name, figure.recorded, None, False, False, why)
        for figure in compare_documents(figures_of(recorded), figures_of(recomputed))
    ]
    if damage is not None:
        figures.insert(0, Figure("world/result.json", "whole", "damaged", False, False, damage))
    told = [event.fields for event in record.events() if event.kind == "verdict"]
    log = []
    if told and recomputed:
        verdict = {"verdict": recomputed["verdict"], "explanation": recomputed["reason"]["explanation"]}
        log = list(compare_documents(dict(told[-1]), verdict))
    return Section("Verdict in the log", tuple(log)), Section("Result", tuple(figures))


def _recorded(folder: RunFolder) -> tuple[Mapping[str, Any], str | None]:
    """The recorded result, and what is wrong with its file; its words are read even where the checksum is off."""
    world = folder.party(Party.WORLD)
    try:
        value = world.load_json("result")
        damage = None
    except RecordError as error:
        damage = str(error)
        try:
            value = parse((world.folder / "result.json").read_bytes())["value"]
        except (OSError, ValueError, LookupError, TypeError):
            value = {}
    if not isinstance(value, dict):
        value, damage = {}, damage or f"{world.folder / 'result.json'}: damaged, it holds no result"
    return value, damage


def _recomputed(
    record: RecordedRun, chosen: Experiment, logits: Mapping[int, NDArray[np.floating[Any]]]
) -> tuple[Mapping[str, Any], str | None]:
    """The result from statistics and outcomes; empty, and why, where a part of the record is damaged."""

    def again(folder: RunFolder, frame: FrameDescription, block: int) -> NDArray[np.floating[Any]]:
        if block not in logits:
            raise RecordError(f"the outputs of block {block} cannot be computed again: its outcomes are damaged")
        return logits[block]

    try:
        server = restored_server(chosen, record.frame, record.folder, finished_blocks(record.folder))
        result = joined_result(chosen, record.frame, server, record.folder, 0.0, again)
    except InputError:
        raise
    except (LabqdlError, ValueError) as error:
        return {}, str(error)
    return result.to_json(), None


def _changed(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the program that recorded and this one."""
    from labqdl.records import provenance

    recorded, now = manifest.get("provenance") or {}, provenance.collect()
    words = []
    for name in ("labqdl", "python", "numpy", "scipy", "platform", "blas"):
        if recorded.get(name) != now[name]:
            words.append(f"{name} {recorded.get(name)}, replayed with {now[name]}")
    old, new = ((entry.get("commit") or {}).get("id") for entry in (recorded, now))
    if old != new:
        words.append(f"commit {old}, replayed with {new} (labqdl {__version__})")
    return tuple(words)


# -- printing ------------------------------------------------------------------------------------------------------


def _cells(figure: Figure) -> list[Text]:
    if figure.exact:
        agrees = Text("to the bit", style="dim")
    elif figure.agrees:
        agrees = Text("to rounding")
    else:
        agrees = Text("NO", style="bold magenta")
    # Where two numbers look alike and are not, every digit counts.
    recorded, recomputed = (_words(value, all_digits=False) for value in (figure.recorded, figure.recomputed))
    if not figure.agrees and recorded == recomputed:
        recorded, recomputed = (_words(value, all_digits=True) for value in (figure.recorded, figure.recomputed))
    return [Text(f"  {figure.name}"), Text(recorded), Text(recomputed), agrees]


def _words(value: Leaf, *, all_digits: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return repr(value) if all_digits else f"{value:.6g}"
    return value if all_digits or len(value) <= 24 else value[:12] + "..." + value[-8:]
