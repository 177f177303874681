"""The commands about run folders, on folders damaged in every way: an exit code and words, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labqdl.api import run
from labqdl.cli.root import run as command
from tests.damage import spoil

COMMANDS = (
    ["runs", "{run}"],
    ["runs", "{run}", "--json"],
    ["replay", "{run}"],
    ["recover", "{run}", "--out", "{folder}/saved"],
    ["replay", "{folder}/saved"],
    ["export", "{run}", "{folder}/run.nc"],
    ["export", "{run}", "{folder}/run.h5", "--party", "client"],
    ["compare", "{whole}", "{run}"],
    ["compare", "{run}", "{whole}", "--json"],
    ["resume", "{folder}/saved"],
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(model="breast-cancer", link="paper", images=5, block=3, seed=5, check_vectors=2, folder=folder)
    return folder


def check(data: st.DataObject, whole: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(shutil.copytree(whole, folder / "run"))
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(path, data)
    for words in COMMANDS:
        code = command([word.format(run=path, folder=folder, whole=whole) for word in words])
        printed = capsys.readouterr()
        assert code in (0, 1, 2, 3, 4), words
        assert code != 2 or printed.err.startswith('{"error": ' if "--json" in words else "labqdl: "), words
        assert "Traceback" not in printed.err


SHORT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(SHORT, max_examples=3)
@given(data=st.data())
def test_damaged_folders(
    data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    check(data, whole, tmp_path_factory.mktemp("damage"), capsys)


@pytest.mark.soak
@settings(SHORT, max_examples=150)
@given(data=st.data())
def test_many_damaged_folders(
    data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    check(data, whole, tmp_path_factory.mktemp("damage"), capsys)
