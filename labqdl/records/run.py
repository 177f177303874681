"""The run folder: created whole, written ahead, readable after any kill.

Layout (see docs/file-formats.md)::

    RUN/manifest.json    what was run; written once
    RUN/manifest.copy.json   the same again, for `labqdl.records.salvage`
    RUN/events.jsonl     what happened; grows line by line
    RUN/lock             held by the one process that writes
    RUN/public/          what both parties know
    RUN/server/  RUN/client/  RUN/world/    what one party knows
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from labqdl.clock import Clock, SystemClock
from labqdl.errors import InputError, LabqdlError, RecordError
from labqdl.records import log, storage
from labqdl.records.closing import Closing
from labqdl.records.encoding import checked_file, plain, read_checked_file
from labqdl.records.lock import RunLock
from labqdl.records.log import EventLog, LogReader, RecordedEvent, TornLine
from labqdl.records.store import Party, PartyStore, Store, StoreView
from labqdl.rng import Root

SCHEMA = "labqdl-run"
SCHEMA_VERSION = 1
"""Version of the folder's layout that this labqdl writes, and the newest that it reads."""

MANIFEST = "manifest.json"
MANIFEST_COPY = "manifest.copy.json"
"""The manifest's bytes once more: without a manifest nothing else in a folder can be understood."""
EVENTS = "events.jsonl"
LOCK = "lock"
PUBLIC = "public"

CREATED = "run-created"
"""Kind of a log's first event."""

CUT = "torn-line-cut"
"""Kind of the event that tells of a torn last line, cut when a run was resumed."""


class NewerSchemaError(RecordError):
    """A run folder of a newer schema than this labqdl knows."""


OpenParty = Callable[[Party], PartyStore]


@dataclass(frozen=True, slots=True)
class SimulationView:
    """All parts of a run joined, for reading. Simulation only: no party of a real run may have this view."""

    public: StoreView
    server: StoreView
    client: StoreView
    world: StoreView
    notice: str = "simulation only: this view joins what server, client and world keep from each other"


@dataclass(frozen=True, slots=True)
class Head:
    """What the manifest file says."""

    schema_version: int
    run_id: str
    created: float
    roots: tuple[Party, ...]
    manifest: Mapping[str, Any]


class RunFolder(Closing):
    """A run on disk. Make one with `create`, `open` (reading) or `resume` (writing on); close it, or use `with`."""

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self._head = head
        self._lock: RunLock | None = None
        self._log: EventLog | None = None
        self._unsynced: dict[Path, None] = {}
        self._torn: TornLine | None = None

    # -- making and opening ---------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        manifest: Mapping[str, Any],
        *,
        roots: Iterable[Root] = (),
        prepare: Callable[[Store, OpenParty], None] | None = None,
        clock: Clock | None = None,
    ) -> RunFolder:
        """Make a run folder and open it for writing.

        Everything is written into a hidden folder beside `path`, flushed, and renamed when complete; whatever
        interrupts this, `path` is a complete run or does not exist. What a killed creation of the same name left
        hidden is removed.

        Parameters
        ----------
        path:
            Must not exist, or be an empty folder. Missing parents are made.
        manifest:
            What the run is: plain JSON values; kept unchanged for ever.
        roots:
            Root entropy of the parties that this machine plays; each is kept in its party's folder only.
        prepare:
            Called with the public store and a function that opens a party's store, to put in what the run needs to
            be resumed from its first moment (data, weights, frame description).
        clock:
            Wall time of the events; the system's by default.

        Raises
        ------
        InputError
            Where `path` is taken or cannot be made.
        ValueError, TypeError
            Where the manifest is no plain JSON.
        """
        path = nameable(path)
        clock = clock or SystemClock()
        roots = tuple(roots)
        parties = tuple(Party(root.party) for root in roots)
        if len(set(parties)) != len(parties):
            raise ValueError("each party has one root")
        head = Head(SCHEMA_VERSION, secrets.token_hex(8), float(clock.wall()), parties, plain(manifest, "manifest"))
        make_folder(path, head, roots, prepare, clock)
        return cls.resume(path, clock=clock)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run for reading; one that is being written right now, too. Changes nothing on disk.

        Raises
        ------
        InputError
            Where there is no run folder.
        RecordError
            Where a file is missing, damaged or of a newer schema; names the file, and the line in the log.
        """
        path = Path(path)
        run = cls(path, _read_head(path))
        run._check_parts()
        run._read_log()
        return run

    @classmethod
    def glance(cls, path: str | Path) -> RunFolder:
        """Open a run by its manifest alone, for lists of many runs: log and parts are not looked at.

        Raises
        ------
        InputError, RecordError
            As for `open`, about the manifest.
        """
        path = Path(path)
        return cls(path, _read_head(path))

    @classmethod
    def resume(cls, path: str | Path, *, clock: Clock | None = None) -> RunFolder:
        """Open a run for writing on: check it, lock it, cut a torn last line (and record that), drop partial files.

        Raises
        ------
        InputError
            Where there is no run folder, or another process writes it.
        RecordError
            As for `open`.
        """
        path = Path(path)
        clock = clock or SystemClock()
        run = cls(path, _read_head(path))
        run._lock = RunLock(path / LOCK, clock)
        try:
            run._check_parts()
            reader = run._read_log()
            run._log = EventLog(path / EVENTS, reader.position, clock)
            for leftover in sorted(path.rglob(f".*{storage.PARTIAL_SUFFIX}")):
                storage.remove_file(leftover)
            if run._torn is not None:
                run._log.cut(run._torn)
                run.event(CUT, offset=run._torn.offset, size=run._torn.size)
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Give log and lock back. Flushes nothing: `sync` does. Closing twice is fine."""
        if self._log is not None:
            self._log.close()
        if self._lock is not None:
            self._lock.release()

    # -- what a run is --------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What `create` was given, read-only."""
        return MappingProxyType(dict(self._head.manifest))

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits that no other run has; the log's checksums start from them."""
        return self._head.run_id

    @property
    def created(self) -> float:
        """Wall time of creation, seconds since 1970-01-01 UTC."""
        return self._head.created

    @property
    def schema_version(self) -> int:
        """Version of the folder's layout."""
        return self._head.schema_version

    @property
    def torn(self) -> TornLine | None:
        """The torn last line that was found at opening, if there was one."""
        return self._torn

    # -- events ---------------------------------------------------------------------------------------------------

    def event(self, kind: str, /, **fields: Any) -> RecordedEvent:
        """Append one event. When this returns, the event survives the death of this process (SIGKILL).

        Events are for everybody to read: what only one party may know goes into its store.

        Parameters
        ----------
        kind:
            Lower-case words joined by '-'.
        fields:
            Plain JSON values; numpy scalars are taken, NaN is a ValueError, arrays are a TypeError.
        """
        return self._writer().append(kind, fields)

    def sync(self) -> None:
        """Bring files, folders and log to the medium: after this they survive a loss of power, too."""
        writer = self._writer()
        self._sync_files()
        writer.sync()

    def commit(self, kind: str, /, **fields: Any) -> RecordedEvent:
        """End a block or phase: bring all files to the medium, then append the event, then flush the log.

        So also after a loss of power: where the event is, all that was saved before it is.
        """
        writer = self._writer()
        self._sync_files()
        event = writer.append(kind, fields)
        writer.sync()
        return event

    def events(self) -> Iterator[RecordedEvent]:
        """All events on disk, in order, each checked; `RecordError` names file and line of damage."""
        return iter(LogReader(self.path / EVENTS, self.run_id))

    # -- parts ----------------------------------------------------------------------------------------------------

    @property
    def public(self) -> Store:
        """What both parties know."""
        return Store(self.path / PUBLIC, self._note, self._require_writable)

    def party(self, party: Party) -> PartyStore:
        """One party's part; the object reaches nothing but that and, for reading, what is public."""
        return _party_store(self.path, Party(party), self._note, self._require_writable)

    def simulation_view(self) -> SimulationView:
        """All parts joined, for reading. Simulation only."""
        return SimulationView(
            public=StoreView(self.path / PUBLIC),
            server=StoreView(self.path / Party.SERVER),
            client=StoreView(self.path / Party.CLIENT),
            world=StoreView(self.path / Party.WORLD),
        )

    def check_files(self) -> int:
        """Read every stored file against its checksum; how many. `RecordError` names the first damaged one."""
        return sum(StoreView(self.path / part).check_files() for part in (PUBLIC, *Party))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _writer(self) -> EventLog:
        if self._log is None:
            raise ValueError(f"{self.path}: this run was opened for reading; RunFolder.resume opens it for writing")
        return self._log

    def _require_writable(self) -> None:
        self._writer()
        if self._lock is not None and not self._lock.held:
            raise ValueError(f"{self.path}: this run is closed")

    def _note(self, path: Path) -> None:
        self._unsynced[path] = None

    def _sync_files(self) -> None:
        """Flush what was written since the last time: files first, then the folders that name them."""
        for path in sorted(self._unsynced, key=Path.is_dir):
            if path.is_dir():
                storage.sync_folder(path)
            else:
                storage.sync_file(path)
            self._unsynced.pop(path, None)

    def _check_parts(self) -> None:
        for part in (PUBLIC, *Party):
            folder = self.path / part
            if folder.is_symlink() or not folder.is_dir():
                raise RecordError(f"{folder}: this folder is missing")
        for party in self._head.roots:
            self.party(party).root()

    def _read_log(self) -> LogReader:
        reader = LogReader(self.path / EVENTS, self.run_id)
        first = None
        for event in reader:
            first = first or event
        if first is None or first.kind != CREATED:
            raise RecordError(f"{self.path / EVENTS}, line 1: damaged: the first event is missing")
        self._torn = reader.torn
        return reader


def _party_store(path: Path, party: Party, written: Callable[[Path], None], writable: Callable[[], None]) -> PartyStore:
    return PartyStore(party, path / party, StoreView(path / PUBLIC), written, writable)


def nameable(path: str | Path) -> Path:
    """The path with a name, beside which a temporary one can be put: "." and ".." have none."""
    path = Path(path)
    return path.resolve() if path.name in ("", "..") else path


def make_folder(
    path: Path,
    head: Head,
    roots: Iterable[Root],
    prepare: Callable[[Store, OpenParty], None] | None,
    clock: Clock,
    events: Iterable[tuple[float, str, Mapping[str, Any]]] = (),
) -> None:
    """Make a run folder, whole or not at all; see `RunFolder.create`.

    `events` (time, kind, fields) follow the first one in the log: those of a run that is saved into a new folder.
    """
    _refuse_taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run folder: {error.strerror or error}", source=path) from error
    _sweep_unfinished(path, clock)
    draft = path.with_name(f".{path.name}.{head.run_id}{storage.PARTIAL_SUFFIX}")
    try:
        _build(draft, head, roots, prepare, clock, events)
        try:
            storage.rename_folder(draft, path)
        except OSError as error:  # somebody else was faster
            problem = f"cannot make the run folder: {error.strerror or error}"
            raise InputError(problem, source=path) from error
    except BaseException:
        with suppress(LabqdlError):
            if draft.exists():
                storage.remove_folder(draft)
        raise
    storage.sync_folder(path.parent)


def _refuse_taken(path: Path) -> None:
    """InputError unless `path` is free: nothing there, or an empty folder."""
    hint = "Choose another place with --out, or resume the run that is there."
    try:
        if not (path.exists() or path.is_symlink()):
            return
        if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
            raise InputError("this place is taken", source=path, expected="a new or empty folder", hint=hint)
    except OSError as error:
        raise InputError(f"cannot make the run folder: {error.strerror or error}", source=path) from error


def _sweep_unfinished(path: Path, clock: Clock) -> None:
    """Remove what killed creations of the same name left, unless their process lives and holds the lock."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}{re.escape(storage.PARTIAL_SUFFIX)}")
    for leftover in sorted(entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)):
        with suppress(LabqdlError):  # its creator lives, or somebody else's file: not ours to remove
            RunLock(leftover / LOCK, clock).release()
            storage.remove_folder(leftover)


def _build(
    draft: Path,
    head: Head,
    roots: Iterable[Root],
    prepare: Callable[[Store, OpenParty], None] | None,
    clock: Clock,
    events: Iterable[tuple[float, str, Mapping[str, Any]]],
) -> None:
    """Write a complete run into `draft` and flush it."""
    storage.make_folder(draft)
    lock = RunLock(draft / LOCK, clock)
    try:
        unsynced: dict[Path, None] = {draft: None}

        def written(file: Path) -> None:
            unsynced[file] = None

        def writable() -> None:
            if not lock.held:
                raise ValueError(f"{draft}: the run is made; use its own stores")

        storage.make_folder(draft / PUBLIC)
        for party in Party:
            storage.make_folder(draft / party, storage.PRIVATE_FOLDER)
        for root in roots:
            _party_store(draft, Party(root.party), written, writable).save_root(root)
        if prepare is not None:
            prepare(
                Store(draft / PUBLIC, written, writable),
                lambda party: _party_store(draft, Party(party), written, writable),
            )
        fields = {
            "schema": SCHEMA,
            "schema_version": head.schema_version,
            "run_id": head.run_id,
            "created": head.created,
            "roots": head.roots,
            "manifest": head.manifest,
        }
        content = checked_file(fields)
        storage.write_file(draft / MANIFEST, [content], sync=True)
        storage.write_file(draft / MANIFEST_COPY, [content], sync=True)
        lines, position = [], log.start(head.run_id)
        for time, kind, told in ((head.created, CREATED, {"run_id": head.run_id}), *events):
            line, position = log.encode(position, time, kind, told)
            lines.append(line)
        storage.write_file(draft / EVENTS, lines, sync=True)
        for path in sorted(unsynced, key=Path.is_dir):
            if path.is_dir():
                storage.sync_folder(path)
            else:
                storage.sync_file(path)
    finally:
        lock.release()  # Windows renames no folder with an open file in it


def _read_head(path: Path) -> Head:
    """The manifest file, checked; InputError where there is no run folder at all."""
    file = path / MANIFEST
    if not path.is_dir():
        raise InputError("there is no run folder here", source=path, expected="a folder that `labqdl run` made")
    if not file.is_file() and not (path / EVENTS).is_file():
        inside = sorted(entry.parent.name for entry in path.glob(f"*/{MANIFEST}"))
        raise InputError(
            "this folder is not a run",
            source=path,
            expected="a folder that `labqdl run` made",
            hint=f"There is one inside of it: {path / inside[-1]}" if inside else None,
        )
    return read_head(file)


def read_head(file: Path) -> Head:
    """What a manifest file says, checked.

    Raises
    ------
    RecordError
        Where it is missing, damaged, or of a newer schema (`NewerSchemaError`).
    """
    fields = read_checked_file(file)
    if fields.get("schema") != SCHEMA:
        raise RecordError(f"{file}: schema {fields.get('schema')!r} is not a run's ({SCHEMA!r})")
    version = fields.get("schema_version")
    if type(version) is not int or version < 1:
        raise RecordError(f"{file}: schema_version {version!r} is not a positive integer")
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{file}: schema version {version} is newer than this labqdl knows ({SCHEMA_VERSION}); update labqdl"
        )
    try:
        roots = tuple(Party(name) for name in fields["roots"])
        head = Head(version, fields["run_id"], fields["created"], roots, fields["manifest"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{file}: damaged, a field is missing or wrong: {error}") from None
    if not (isinstance(head.run_id, str) and isinstance(head.created, float) and isinstance(head.manifest, dict)):
        raise RecordError(f"{file}: damaged, a field is of a wrong type")
    return head
