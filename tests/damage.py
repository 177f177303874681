"""Ways to spoil the files of a run, drawn by hypothesis."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st

from labqdl.records import storage


def content(path: Path) -> dict[str, bytes]:
    """All files below a folder, by their names in it."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@contextmanager
def left_alone(path: Path) -> Iterator[None]:
    """Fails unless the folder stays as it is, whatever is read of it within."""
    before = content(path)
    steps: list[storage.WriteStep] = []
    with storage.watched(steps.append):
        yield
    assert not any(path in (step.path, *step.path.parents) for step in steps)
    assert content(path) == before


def flip(file: Path, share: float = 0.5) -> None:
    """Change one bit at this share of a file."""
    data = bytearray(file.read_bytes())
    data[int(share * (len(data) - 1))] ^= 1
    file.write_bytes(bytes(data))


def spoil(path: Path, data: st.DataObject) -> set[str]:
    """Spoil one file of a folder, or a part of it, or a line of its log; the names of what was touched."""
    names = sorted(content(path))
    if not names:
        return set()
    name = data.draw(st.sampled_from(names))
    file = path / name
    old = file.read_bytes()
    match data.draw(st.sampled_from(["remove", "cut", "flip", "append", "zero", "garbage", "folder", "tree", "line"])):
        case "remove":
            file.unlink()
        case "cut":
            file.write_bytes(old[: data.draw(st.integers(0, max(len(old) - 1, 0)))])
        case "flip" if old:
            flip(file, data.draw(st.floats(0, 1)))
        case "append":
            file.write_bytes(old + data.draw(st.binary(min_size=1, max_size=20)))
        case "garbage":
            file.write_bytes(data.draw(st.binary(max_size=60)))
        case "folder":
            file.unlink()
            file.mkdir()
        case "tree" if "/" in name:
            part = name.partition("/")[0]
            gone = {other for other in names if other.startswith(f"{part}/")}
            shutil.rmtree(path / part)
            return gone
        case "line" if (path / "events.jsonl").is_file():
            lines = (path / "events.jsonl").read_bytes().splitlines(keepends=True)
            if lines:
                lines.pop(data.draw(st.integers(0, len(lines) - 1)))
            (path / "events.jsonl").write_bytes(b"".join(lines))
            return {"events.jsonl"}
        case _:
            file.write_bytes(bytes(len(old)))
    return {name}
