"""Saves what a damaged run folder allows, into a new one; the damaged folder is only read.

`survey` looks at every file: what fits its checksum is whole. `rebuild` makes a new run folder of what is whole, with
the same identity, so that the saved events keep their meaning; it writes a log that is in one piece again.

What a log's lines are worth when some are damaged: each line carries a checksum over itself and the checksum of the
line before it. A line counts here when it fits the checksum that stands in the line before it in the file, damaged or
not. So one damaged line costs itself and, where its checksum cannot be read or the line is gone, the line after it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from labqdl.clock import Clock, SystemClock
from labqdl.errors import InputError, RecordError
from labqdl.records import log
from labqdl.records.encoding import CHECKSUM_KEY, parse
from labqdl.records.log import RecordedEvent
from labqdl.records.run import (
    CREATED,
    EVENTS,
    LOCK,
    MANIFEST,
    MANIFEST_COPY,
    PUBLIC,
    SCHEMA,
    SCHEMA_VERSION,
    Head,
    NewerSchemaError,
    OpenParty,
    make_folder,
    nameable,
    read_head,
)
from labqdl.records.store import ROOTS, Party, PartyStore, Store, StoreView, checked_name
from labqdl.rng import Root

PARTS = (PUBLIC, *Party)


class Fate(StrEnum):
    """What became of a file."""

    SAVED = "saved"
    RESTORED = "restored"
    LOST = "lost"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class FileFate:
    """One file: its name in the folder, what became of it, and why."""

    name: str
    fate: Fate
    why: str = ""


@dataclass(frozen=True)
class Survey:
    """What a folder still holds.

    Attributes
    ----------
    path:
        The folder.
    head:
        The manifest; made up where it is lost.
    known:
        Whether the manifest is one that the run wrote, not one made up.
    events:
        Lines of the log that can be trusted, without the first one.
    roots:
        Root entropy of the parties that could be read.
    arrays, values:
        Names of what is whole, by part of the folder.
    files:
        Every file with its fate, in the order of the names.
    """

    path: Path
    head: Head
    known: bool
    events: tuple[RecordedEvent, ...]
    roots: Mapping[Party, Root]
    arrays: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[str, ...]]
    files: tuple[FileFate, ...]

    @property
    def missing_roots(self) -> tuple[Party, ...]:
        """Parties whose root entropy the run had and the folder has no more."""
        return tuple(party for party in self.head.roots if party not in self.roots)


def survey(path: str | Path, *, clock: Clock | None = None) -> Survey:
    """Look at every file of a run folder; nothing is written.

    Raises
    ------
    InputError
        Where there is no folder, or nothing in it that looks like a run.
    RecordError
        Where the run is of a newer schema than this labqdl knows.
    """
    path, clock = Path(path), clock or SystemClock()
    if not path.is_dir():
        raise InputError("there is no run folder here", source=path, expected="a folder that `labqdl run` made")
    parts = {part: _Part(path / part) for part in PARTS}
    if not any((path / name).is_file() for name in (MANIFEST, MANIFEST_COPY, EVENTS)) and not any(
        part.arrays or part.values or part.root for part in parts.values()
    ):
        raise InputError("nothing here looks like a run", source=path, expected="a folder that `labqdl run` made")
    files: list[FileFate] = []
    head = _surveyed_head(path, files)
    known = head is not None
    events, told = _surveyed_log(path, None if head is None else head.run_id)
    files += told
    for part in parts.values():
        files += part.files
    roots = {Party(name): part.root for name, part in parts.items() if part.root is not None and name != PUBLIC}
    if head is None:
        head = _made_up(path, events, tuple(roots), clock)
    for party in head.roots:
        name = f"{party}/{ROOTS}.json"
        if party not in roots and all(file.name != name for file in files):
            files.append(FileFate(name, Fate.LOST, "this file is missing"))
    files += [FileFate(f"{part}/", Fate.LOST, "this folder is missing") for part in PARTS if not (path / part).is_dir()]
    files += _strangers(path)
    return Survey(
        path=path,
        head=head,
        known=known,
        events=tuple(event for event in events if event.kind != CREATED),
        roots=roots,
        arrays={name: tuple(part.arrays) for name, part in parts.items()},
        values={name: tuple(part.values) for name, part in parts.items()},
        files=tuple(sorted(files, key=lambda file: file.name)),
    )


def rebuild(
    found: Survey, target: str | Path, *, spare: Mapping[Party, Root] | None = None, clock: Clock | None = None
) -> tuple[FileFate, ...]:
    """Make a new run folder of what a survey found whole.

    Parameters
    ----------
    target:
        Must not exist, or be an empty folder; not inside of the damaged one.
    spare:
        Root entropy that is known from elsewhere, to stand in for roots that are lost.

    Returns
    -------
    Every file with its fate, roots that were restored included.

    Raises
    ------
    InputError
        Where `target` is taken, cannot be made, or lies in the damaged folder.
    """
    target, clock = nameable(target), clock or SystemClock()
    if found.path.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(
            "the saved run may not lie in the damaged one", source=target, expected="another folder (--out)"
        )
    roots = dict(found.roots)
    roots.update({party: (spare or {})[party] for party in found.missing_roots if party in (spare or {})})
    restored = {f"{party}/{ROOTS}.json" for party in roots if party not in found.roots}

    def fill(public: Store, party: OpenParty) -> None:
        stores: dict[str, Store] = {PUBLIC: public, **{name: party(name) for name in Party}}
        for part, store in stores.items():
            view = StoreView(found.path / part)
            for name in found.arrays[part]:
                store.save_array(name, view.load_array(name))
            for name in found.values[part]:
                store.save_json(name, view.load_json(name))

    head = replace(found.head, roots=tuple(party for party in Party if party in roots))
    events = [(event.time, event.kind, event.fields) for event in found.events]
    make_folder(target, head, roots.values(), fill, clock, events)
    return tuple(
        FileFate(file.name, Fate.RESTORED, "made again from the seed") if file.name in restored else file
        for file in found.files
    )


# -- the parts ------------------------------------------------------------------------------------------------------


class _Part:
    """One part of the folder: names of what is whole, and the fate of every file."""

    def __init__(self, folder: Path) -> None:
        self.arrays: list[str] = []
        self.values: list[str] = []
        self.files: list[FileFate] = []
        self.root: Root | None = None
        self._folder = folder
        self._view = StoreView(folder)
        if folder.is_symlink() or not folder.is_dir():
            return
        for file in sorted(_files(folder)):
            self._look_at(file)

    def _look_at(self, file: Path) -> None:
        place = file.relative_to(self._folder)
        label = f"{self._folder.name}/{place.as_posix()}"
        name = place.with_suffix("").as_posix()
        stranger = _why_strange(file, name)
        if stranger:
            self.files.append(FileFate(label, Fate.LEFT, stranger))
            return
        try:
            if place.name == f"{ROOTS}.json" and name == ROOTS:
                self._read_root()
            elif file.suffix == ".npy":
                self._view.load_array(name)
                self.arrays.append(name)
            else:
                self._view.load_json(name)
                self.values.append(name)
        except (RecordError, ValueError, MemoryError) as error:
            self.files.append(FileFate(label, Fate.LOST, _without_path(str(error), file)))
        else:
            self.files.append(FileFate(label, Fate.SAVED))

    def _read_root(self) -> None:
        party = Party(self._folder.name)
        self.root = PartyStore(party, self._folder, self._view, _nothing, _nothing_at_all).root()


def _nothing(path: Path) -> None:
    """Nothing is written while a folder is surveyed."""


def _nothing_at_all() -> None:
    """Nothing is written while a folder is surveyed."""


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links to folders are not followed, folders that may not be read are empty."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _why_strange(file: Path, name: str) -> str:
    """Why a file is none of a run, "" where it may be one."""
    foreign = "not a file of a run"
    if file.is_symlink():
        return "a link, which runs do not have"
    if file.name.startswith("."):
        return "left over from an interrupted write"
    if file.suffix not in (".npy", ".json"):
        return foreign
    try:
        checked_name(name)
    except ValueError:
        return foreign
    return foreign if name == ROOTS and file.parent.name == PUBLIC else ""


def _without_path(words: str, file: Path) -> str:
    """What is wrong with a file, without its name, which stands beside it."""
    return words.removeprefix(f"{file}: ")


def _strangers(path: Path) -> list[FileFate]:
    """What lies beside the parts and is none of a run."""
    known = {MANIFEST, MANIFEST_COPY, EVENTS, LOCK, *PARTS}
    return [
        FileFate(entry.name + ("/" if entry.is_dir() else ""), Fate.LEFT, "not a file of a run")
        for entry in path.iterdir()
        if entry.name not in known
    ]


# -- the manifest ---------------------------------------------------------------------------------------------------


def _surveyed_head(path: Path, files: list[FileFate]) -> Head | None:
    """The manifest, from its file, its copy, or what a damaged one still says; None where nothing can be read."""
    heads: dict[str, Head] = {}
    problems: dict[str, str] = {}
    for name in (MANIFEST, MANIFEST_COPY):
        try:
            heads[name] = read_head(path / name)
        except RecordError as error:
            if isinstance(error, NewerSchemaError):
                raise
            problems[name] = _without_path(str(error), path / name)
    if heads:
        good, whole = next(iter(heads.items()))
        files.append(FileFate(good, Fate.SAVED))
        other = MANIFEST_COPY if good == MANIFEST else MANIFEST
        if other in heads:
            files.append(FileFate(other, Fate.SAVED))
        elif other == MANIFEST or (path / other).exists():  # runs of before had no copy
            files.append(FileFate(other, Fate.RESTORED, f"from {good}; {problems[other]}"))
        return whole
    for name in (MANIFEST, MANIFEST_COPY):
        head = _unchecked_head(path / name)
        if head is not None:
            files.append(
                FileFate(name, Fate.RESTORED, f"{problems[name]}; it could be read, but nothing vouches for its words")
            )
            return head
    files.append(FileFate(MANIFEST, Fate.LOST, problems[MANIFEST]))
    return None


def _unchecked_head(file: Path) -> Head | None:
    """What a manifest says whose checksum is off; None where it is no manifest at all."""
    try:
        fields = parse(file.read_bytes())
        fields.pop(CHECKSUM_KEY, None)
        head = Head(
            int(fields["schema_version"]),
            fields["run_id"],
            float(fields["created"]),
            tuple(Party(name) for name in fields["roots"]),
            fields["manifest"],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    usable = fields.get("schema") == SCHEMA and 1 <= head.schema_version <= SCHEMA_VERSION
    return head if usable and _is_id(head.run_id) and isinstance(head.manifest, dict) else None


def _is_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 16 and all(letter in "0123456789abcdef" for letter in text)


def _made_up(path: Path, events: list[RecordedEvent], roots: tuple[Party, ...], clock: Clock) -> Head:
    """A manifest for a run whose own is lost: identity and time of creation as far as the log tells them."""
    first = next((event for event in events if event.kind == CREATED), None)
    told = "" if first is None else str(first.fields.get("run_id"))
    run_id = told if _is_id(told) else secrets.token_hex(8)
    created = float(clock.wall()) if first is None else first.time
    return Head(SCHEMA_VERSION, run_id, created, roots, {"kind": "recovered", "source": path.name})


# -- the log --------------------------------------------------------------------------------------------------------


def _surveyed_log(path: Path, run_id: str | None) -> tuple[list[RecordedEvent], list[FileFate]]:
    """Events that can be trusted, and what became of the log."""
    try:
        content = (path / EVENTS).read_bytes()
    except FileNotFoundError:
        return [], [FileFate(EVENTS, Fate.LOST, "this file is missing")]
    except OSError as error:
        return [], [FileFate(EVENTS, Fate.LOST, f"cannot be read: {error.strerror or error}")]
    lines = content.split(b"\n")
    torn = lines.pop()
    events: list[RecordedEvent] = []
    bad: list[int] = []
    opening = _first_event(lines[0]) if lines else None
    if run_id is not None and opening is not None and opening.fields["run_id"] != run_id:
        return [], [FileFate(EVENTS, Fate.LOST, "the log of another run")]
    before = b"" if run_id is None else log.start(run_id).check
    for number, line in enumerate(lines, start=1):
        event = log.decode_after(line, before)
        if event is None and number == 1 and run_id is None:
            event = opening
        if event is None:
            bad.append(number)
        else:
            events.append(event)
        before = log.stated_check(line) or b""
    problems = []
    if bad:
        problems.append(f"{_lines(bad)} of {len(lines)} cannot be trusted")
    if torn:
        # A whole line whose newline was lost counts; what a killed writer left behind never did.
        event = log.decode_after(torn, before) or log.decode_after(torn[:-1], before)
        if event is not None:
            events.append(event)
        problems.append("its last line lacks its end" + ("" if event is None else ", which could be put back"))
    if not problems:
        return events, [FileFate(EVENTS, Fate.SAVED)]
    fate = Fate.LOST if bad else Fate.RESTORED
    return events, [FileFate(EVENTS, fate, f"{'; '.join(problems)}; {len(events)} events saved")]


def _first_event(line: bytes) -> RecordedEvent | None:
    """The first line of a log, if it fits the run that it names itself."""
    stated = log.unchecked(line)
    run_id = "" if stated is None else str(stated.fields.get("run_id"))
    return log.decode_after(line, log.start(run_id).check) if _is_id(run_id) else None


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    return f"line{'s' if len(numbers) > 1 else ''} {shown}"
