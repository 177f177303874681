"""Files of calibrations: exact, readable, with history; damaged ones are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labqdl.errors import InputError, RecordError
from labqdl_calibration.graph import Graph
from labqdl_calibration.preparing import Runner
from labqdl_calibration.store import CalibrationStore
from tests.calibration.toys import Toy, ToyBench


def filled(folder: Path) -> tuple[CalibrationStore, ToyBench]:
    bench = ToyBench()
    store = CalibrationStore("my table/1", folder)
    for value in (1.0, 2.0, 3.0):
        runner = Runner(bench, Graph([Toy("server.a", value=value), Toy("client.b")]), store)
        runner.measure_all(["server.a", "client.b"])
        bench.clock.advance(1.0)
    return store, bench


def test_what_is_kept_is_read_back_to_the_bit_with_its_data_and_history(tmp_path: Path) -> None:
    store, bench = filled(tmp_path)
    assert store.path == tmp_path / "my-table-1"
    loaded = store.load()
    assert loaded.digest == bench.calibrations.digest
    assert np.array_equal(store.raw(loaded["server.a"])["data"], [0.0, 3.0, 6.0])
    assert [one.value("value") for one in store.history("server.a")] == [1.0, 2.0, 3.0]
    readable = json.loads(store.file("server.a").read_text())
    assert readable["values"] == {"value": 3.0}
    assert store.load(problems=[]).digest == loaded.digest


@pytest.mark.parametrize("damage", ["edited", "cut", "renamed", "no result"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    store, _ = filled(tmp_path)
    path = store.file("server.a")
    text = path.read_text()
    if damage == "edited":
        path.write_text(text.replace('"value": 3.0', '"value": 2.9'))
    elif damage == "cut":
        path.write_text(text[:-20])
    elif damage == "renamed":
        path = path.rename(store.file("server.other"))
    else:
        path.write_text("{}")
    with pytest.raises(RecordError, match=path.name.replace(".", r"\.")):
        store.load()
    problems: list[RecordError] = []
    assert list(store.load(problems=problems)) == ["client.b"]
    assert len(problems) == 1


def test_raw_data_that_are_not_those_of_the_result_are_refused(tmp_path: Path) -> None:
    store, bench = filled(tmp_path)
    result = bench.calibrations["server.a"]
    store.file("server.a", "npz").write_bytes(store.file("client.b", "npz").read_bytes())
    with pytest.raises(RecordError, match="not the data"):
        store.raw(result)
    store.file("server.a", "npz").write_bytes(b"nothing")
    with pytest.raises(RecordError, match="damaged"):
        store.raw(result)
    store.file("server.a", "npz").unlink()
    with pytest.raises(RecordError, match="missing"):
        store.raw(result)


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no name"):
        CalibrationStore("x", tmp_path).file("../evil")
