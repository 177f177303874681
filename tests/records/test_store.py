from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from labqdl.errors import RecordError
from labqdl.records.store import Party, PartyStore, Store, StoreView, checked_name
from labqdl.rng import Root


def ignore(*_: object) -> None:
    pass


def store(folder: Path) -> Store:
    return Store(folder, ignore, ignore)


def server_store(folder: Path) -> PartyStore:
    for part in ("server", "public"):
        (folder / part).mkdir()
    return PartyStore(Party.SERVER, folder / "server", StoreView(folder / "public"), ignore, ignore)


DTYPES = (
    st.just(np.dtype(np.bool_))
    | arrays.integer_dtypes()
    | arrays.unsigned_integer_dtypes()
    | arrays.floating_dtypes(sizes=(16, 32, 64))
    | arrays.complex_number_dtypes(sizes=(64, 128))
)


@given(array=arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_arrays_come_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, array: NDArray[Any]) -> None:
    here = store(tmp_path_factory.getbasetemp())
    path = here.save_array("array", array, overwrite=True)
    for found in (here.load_array("array"), np.load(path, allow_pickle=False)):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()


def test_layouts_that_are_not_contiguous(tmp_path: Path) -> None:
    here = store(tmp_path)
    array = np.arange(24.0).reshape(4, 6)
    for name, view in {"columns": array[:, ::2], "transposed": array.T, "reversed": array[::-1]}.items():
        here.save_array(name, view)
        np.testing.assert_array_equal(here.load_array(name), view)
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy", mmap_mode="r"), view)


def test_tables_come_back_to_the_bit(tmp_path: Path) -> None:
    here = store(tmp_path)
    table = np.zeros(
        5, dtype=[("row", "i8"), ("sums", [("s", "f8"), ("n", "u4")]), ("r", "f4", (2, 3)), ("counted", "?")]
    )
    table["sums"]["s"], table["r"] = np.linspace(0, 1, 5), np.arange(30).reshape(5, 2, 3)
    path = here.save_array("table", table)
    for found in (here.load_array("table"), np.load(path, allow_pickle=False)):
        assert found.dtype == table.dtype
        assert found.tobytes() == table.tobytes()


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_every_changed_byte_of_an_array_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    here = store(tmp_path_factory.getbasetemp())
    path = here.save_array("damaged", np.arange(7.0), overwrite=True)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= flip
    path.write_bytes(bytes(data))
    with pytest.raises(RecordError, match=r"damaged\.npy: damaged"):
        here.load_array("damaged")


def test_every_truncation_of_an_array_is_noticed(tmp_path: Path) -> None:
    here = store(tmp_path)
    path = here.save_array("short", np.arange(3.0))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RecordError, match=r"short\.npy"):
            here.load_array("short")


def test_a_checksum_over_something_else_is_an_error(tmp_path: Path) -> None:
    import hashlib

    content = b"\x93NUMPY nothing else"
    digest = hashlib.sha256(content).hexdigest().encode()
    (tmp_path / "odd.npy").write_bytes(content + b"\nsha256:" + digest + b"\n")
    with pytest.raises(RecordError, match=r"odd\.npy: cannot be read"):
        store(tmp_path).load_array("odd")


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["a"]), np.zeros(2, dtype="f4,O")])
def test_only_numbers_are_stored(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(TypeError, match="numbers and booleans only"):
        store(tmp_path).save_array("a", array)
    assert list(tmp_path.iterdir()) == []


def test_pickles_are_never_read(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "evil.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    content = path.read_bytes()
    path.write_bytes(content + b"\nsha256:" + hashlib.sha256(content).hexdigest().encode() + b"\n")
    with pytest.raises(RecordError, match=r"evil\.npy: cannot be read: Object arrays"):
        store(tmp_path).load_array("evil")


def test_names_in_use_are_kept_unless_told(tmp_path: Path) -> None:
    here = store(tmp_path)
    here.save_array("a", np.zeros(2))
    here.save_json("a", [1])
    with pytest.raises(FileExistsError):
        here.save_array("a", np.ones(2))
    with pytest.raises(FileExistsError):
        here.save_json("a", [2])
    assert here.load_array("a").sum() == 0
    here.save_array("a", np.ones(2), overwrite=True)
    here.save_json("a", [2], overwrite=True)
    assert here.load_array("a").sum() == 2
    assert here.load_json("a") == [2]


def test_listing(tmp_path: Path) -> None:
    here = store(tmp_path)
    here.save_array("blocks/b-1", np.zeros(1))
    here.save_array("blocks/b-0", np.zeros(1))
    here.save_json("state", None)
    (tmp_path / ".x.npy.partial").write_bytes(b"")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    assert here.arrays() == ("blocks/b-0", "blocks/b-1")
    assert here.jsons() == ("state",)
    assert here.has_array("blocks/b-1")
    assert not here.has_array("state")
    assert here.has_json("state")
    assert not here.has_json("blocks/b-1")
    assert here.check_files() == 3


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/x", "a/../b", "a//b", "a/", "a\\b", "A", "a.b", "c:x", "nul", "a/com1", "µ", "a b", "-a",
     "a\n", "a\x00", "a/b/c/d/e", "x" * 101],
)  # fmt: skip
def test_names_that_could_leave_the_folder_or_clash(tmp_path: Path, name: str) -> None:
    here = store(tmp_path / "inside")
    for call in (
        lambda: checked_name(name),
        lambda: here.save_array(name, np.zeros(1)),
        lambda: here.load_array(name),
        lambda: here.save_json(name, 1),
        lambda: here.load_json(name),
        lambda: here.has_array(name),
    ):
        with pytest.raises(ValueError, match="name"):
            call()
    assert list(tmp_path.iterdir()) == []


@given(st.text(alphabet="abz019_-/.\\:~ A", max_size=20))
def test_accepted_names_stay_inside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    base = tmp_path_factory.getbasetemp().resolve()
    try:
        checked_name(name)
    except ValueError:
        return
    inside = (base / f"{name}.npy").resolve()
    assert inside.is_relative_to(base)
    assert inside == base.joinpath(*name.split("/")).with_suffix(".npy")


def test_json_keeps_floats_to_the_bit(tmp_path: Path) -> None:
    here = store(tmp_path)
    value = {"tiny": 5e-324, "third": 1 / 3, "big": 1.7976931348623157e308, "minus": -0.0, "n": 2**70}
    here.save_json("numbers", value)
    found = here.load_json("numbers")
    assert {key: repr(item) for key, item in found.items()} == {key: repr(item) for key, item in value.items()}
    with pytest.raises(ValueError, match="nan"):
        here.save_json("nan", {"x": float("nan")})
    assert not here.has_json("nan")


def test_json_of_another_kind_is_named(tmp_path: Path) -> None:
    server = server_store(tmp_path)
    server.save_root(Root("server", bytes(32)))
    with pytest.raises(RecordError, match=r"roots\.json: damaged, it holds no value"):
        server.load_json("roots")


def test_flushing_is_asked_for_or_noted(tmp_path: Path) -> None:
    noted: list[Path] = []
    here = Store(tmp_path, noted.append, ignore)
    here.save_array("a/b", np.zeros(1))
    assert noted == [tmp_path, tmp_path / "a" / "b.npy", tmp_path / "a"]
    noted.clear()
    here.save_json("a/c", 1, sync=True)
    assert noted == [tmp_path / "a"]


def test_roots(tmp_path: Path) -> None:
    server = server_store(tmp_path)
    root = Root("server", bytes(range(32)))
    path = server.save_root(root)
    assert server.root() == root
    assert server.jsons() == ()
    if sys.platform != "win32":
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(FileExistsError):
        server.save_root(root)
    with pytest.raises(ValueError, match="does not belong"):
        server.save_root(Root("client", bytes(32)))
    with pytest.raises(ValueError, match="kept for the root"):
        server.save_json("roots", {})


@pytest.mark.parametrize("fields", [{}, {"entropy": "zz", "party": "server"}, {"entropy": 3, "party": "server"},
                                    {"entropy": "00" * 31, "party": "server"},
                                    {"entropy": "00" * 32, "party": "client"}])  # fmt: skip
def test_damaged_roots_are_named(tmp_path: Path, fields: dict[str, Any]) -> None:
    from labqdl.records.encoding import checked_file

    server = server_store(tmp_path)
    (tmp_path / "server" / "roots.json").write_bytes(checked_file(fields))
    with pytest.raises(RecordError, match=r"roots\.json: damaged"):
        server.root()


def test_missing_files_are_named(tmp_path: Path) -> None:
    here = store(tmp_path)
    with pytest.raises(RecordError, match=r"a\.npy: this file is missing"):
        here.load_array("a")
    with pytest.raises(RecordError, match=r"a\.json: this file is missing"):
        here.load_json("a")
    with pytest.raises(RecordError, match=r"roots\.json: this file is missing"):
        server_store(tmp_path).root()


def test_a_party_reads_public_and_writes_only_its_own(tmp_path: Path) -> None:
    server = server_store(tmp_path)
    store(tmp_path / "public").save_json("frame", {"mu": 0.5})
    assert server.public.load_json("frame") == {"mu": 0.5}
    assert not hasattr(server.public, "save_json")
    server.save_array("a", np.zeros(1))
    assert [file.relative_to(tmp_path).as_posix() for file in sorted(tmp_path.rglob("*.npy"))] == ["server/a.npy"]
