"""What a party may see of a run folder: its own part, and the public one for reading."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from labqdl.errors import RecordError
from labqdl.records import storage
from labqdl.records.encoding import checked_file, read_checked_file
from labqdl.rng import ENTROPY_BYTES, Root

ROOTS = "roots"
"""Name of the JSON file with a party's root entropy; no other content may have it."""

_PART = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}\Z")
_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])
_TRAILER = re.compile(rb"\nsha256:([0-9a-f]{64})\n\Z")
_TRAILER_BYTES = 73
_CHUNK = 1 << 20


class Party(StrEnum):
    """Who owns a part of a run folder. `WORLD` is nature, in simulation: what neither party knows."""

    SERVER = "server"
    CLIENT = "client"
    WORLD = "world"


def checked_name(name: str) -> str:
    """`name` if it is safe on every file system: parts of a-z, 0-9, '_', '-' joined by '/'; else ValueError."""
    parts = name.split("/")
    if not all(_PART.match(part) for part in parts) or len(parts) > 4:
        raise ValueError(f"name {name!r}: use up to four parts of a-z, 0-9, '_' and '-', joined by '/'")
    if any(part in _DEVICES for part in parts):
        raise ValueError(f"name {name!r} is a device on Windows")
    return name


class StoreView:
    """Reads arrays and JSON of one folder.

    Every file carries a checksum; what does not fit it, or is missing, is a `RecordError` that names the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, name: str, ending: str) -> Path:
        return self.folder.joinpath(*checked_name(name).split("/")).with_suffix(ending)

    def has_array(self, name: str) -> bool:
        """True where an array of that name was stored."""
        return self._file(name, ".npy").is_file()

    def has_json(self, name: str) -> bool:
        """True where a JSON value of that name was stored."""
        return self._file(name, ".json").is_file()

    def arrays(self) -> tuple[str, ...]:
        """Names of all arrays, sorted."""
        return self._names(".npy")

    def jsons(self) -> tuple[str, ...]:
        """Names of all JSON values, sorted; roots are not among them."""
        return tuple(name for name in self._names(".json") if name != ROOTS)

    def _names(self, ending: str) -> tuple[str, ...]:
        files = (file for file in self.folder.rglob(f"*{ending}") if not file.name.startswith("."))
        return tuple(sorted(file.relative_to(self.folder).with_suffix("").as_posix() for file in files))

    def load_array(self, name: str) -> NDArray[Any]:
        """The array stored under `name`, same dtype, shape and bits."""
        path = self._file(name, ".npy")
        try:
            with path.open("rb") as file:
                _check_trailer(file, path)
                file.seek(0)
                return npy.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            raise RecordError(f"{path}: this file is missing") from None
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: cannot be read: {error}") from error

    def load_json(self, name: str) -> Any:
        """The value stored under `name`: dict, list, str, int, float, bool, None; floats to the bit."""
        path = self._file(name, ".json")
        fields = read_checked_file(path)
        if "value" not in fields:
            raise RecordError(f"{path}: damaged, it holds no value")
        return fields["value"]

    def check_files(self) -> int:
        """Read every file against its checksum; how many there are. `RecordError` names the first damaged one."""
        for name in self.arrays():
            self.load_array(name)
        for name in self.jsons():
            self.load_json(name)
        return len(self.arrays()) + len(self.jsons())


class Store(StoreView):
    """Reads and writes one folder.

    Parameters
    ----------
    folder:
        The folder, which exists.
    written:
        Told of every file that was written without being flushed, and every folder whose names changed.
    writable:
        Asked before each write; raises where the run is closed or open for reading only.
    """

    def __init__(self, folder: Path, written: Callable[[Path], None], writable: Callable[[], None]) -> None:
        super().__init__(folder)
        self._written = written
        self._writable = writable

    def save_array(self, name: str, array: NDArray[Any], *, overwrite: bool = False, sync: bool = False) -> Path:
        """Store an array of numbers or booleans, or a table of such columns, as `name`.npy; whole or not at all.

        Parameters
        ----------
        name:
            Parts of a-z, 0-9, '_' and '-' joined by '/'.
        array:
            Any shape; bool, integer, float or complex.
        overwrite:
            Replace an array of that name.
        sync:
            Flush to the medium now; otherwise the run's `sync` or `commit` does it.

        Raises
        ------
        ValueError
            For a name that is not allowed, or a run that is closed or open for reading only.
        TypeError
            For arrays of objects or text.
        FileExistsError
            Where the name is taken and `overwrite` is not set.
        RecordError
            Where the system cannot write.
        """
        array = np.asarray(array, order="C")
        if not _storable(array.dtype):
            raise TypeError(f"array {name!r}: cannot store dtype {array.dtype}; numbers and booleans only")
        return self._save(name, ".npy", lambda: _npy_chunks(array), overwrite=overwrite, sync=sync)

    def save_json(self, name: str, value: Any, *, overwrite: bool = False, sync: bool = False) -> Path:
        """Store a value as `name`.json; like `save_array`, and NaN or infinity is a ValueError."""
        if name == ROOTS:
            raise ValueError(f"the name {ROOTS!r} is kept for the root entropy")
        content = checked_file({"value": value})
        return self._save(name, ".json", lambda: iter([content]), overwrite=overwrite, sync=sync)

    def _save(
        self,
        name: str,
        ending: str,
        chunks: Callable[[], Iterator[bytes | memoryview]],
        *,
        overwrite: bool,
        sync: bool,
        mode: int = 0o666,
    ) -> Path:
        self._writable()
        path = self._file(name, ending)
        if not overwrite and path.exists():
            raise FileExistsError(f"{path} exists; overwrite=True replaces it")
        self._make_parents(path)
        storage.write_file(path, chunks(), sync=sync, mode=mode)
        if not sync:
            self._written(path)
        self._written(path.parent)
        return path

    def _make_parents(self, path: Path) -> None:
        missing = []
        folder = path.parent
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            storage.make_folder(folder)
            self._written(folder.parent)


class PartyStore(Store):
    """One party's part of a run folder: its own folder, and `public` for reading. Nothing else can be reached."""

    def __init__(
        self,
        party: Party,
        folder: Path,
        public: StoreView,
        written: Callable[[Path], None],
        writable: Callable[[], None],
    ) -> None:
        super().__init__(folder, written, writable)
        self.party = party
        self.public = public

    def root(self) -> Root:
        """The party's root entropy; `RecordError` names a missing or damaged file."""
        path = self._file(ROOTS, ".json")
        fields = read_checked_file(path)
        try:
            entropy = bytes.fromhex(fields["entropy"])
            party = fields["party"]
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{path}: damaged, it holds no root entropy") from None
        if party != self.party or len(entropy) != ENTROPY_BYTES:
            raise RecordError(f"{path}: damaged, expected {ENTROPY_BYTES} bytes of entropy for the {self.party}")
        return Root(party, entropy)

    def save_root(self, root: Root) -> Path:
        """Store the root entropy, once, readable for this user only; ValueError for another party's root."""
        if root.party != self.party:
            raise ValueError(f"the root of the {root.party} does not belong to the {self.party}")
        content = checked_file({"party": root.party, "entropy": root.entropy.hex()})
        return self._save(
            ROOTS, ".json", lambda: iter([content]), overwrite=False, sync=True, mode=storage.PRIVATE_FILE
        )


def _storable(dtype: np.dtype[Any]) -> bool:
    """Numbers, booleans, and tables of named columns of these or of arrays of these; nothing that needs pickle."""
    if dtype.fields is not None:
        return all(_storable(column[0].base) for column in dtype.fields.values())
    return dtype.kind in "biufc"


def _npy_chunks(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    """A .npy file in pieces, and behind its data a checksum, which readers of .npy ignore."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    yield header.getvalue()
    data = array.reshape(-1).view(np.uint8).data
    digest.update(data)
    yield data
    yield b"\nsha256:" + digest.hexdigest().encode() + b"\n"


def _check_trailer(file: BinaryIO, path: Path) -> None:
    """Compare a .npy file with the checksum behind its data; RecordError where it does not fit."""
    size = file.seek(0, io.SEEK_END)
    content = max(size - _TRAILER_BYTES, 0)
    file.seek(content)
    found = _TRAILER.match(file.read())
    if found is None:
        raise RecordError(f"{path}: damaged, it does not end with its checksum")
    file.seek(0)
    digest = hashlib.sha256()
    while content:
        piece = file.read(min(content, _CHUNK))
        digest.update(piece)
        content -= len(piece)
    if digest.hexdigest().encode() != found.group(1):
        raise RecordError(f"{path}: damaged, its content does not fit its checksum")
