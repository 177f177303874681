"""Places that cannot be written are named before the work begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labqdl.api.places import file_place, folder_place, model_place
from labqdl.cli.root import run
from labqdl.errors import InputError


def refused(*arguments: Any, **keywords: Any) -> int:
    raise PermissionError(13, "Permission denied")


def test_nothing_is_changed_by_looking(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_text("precious")
    assert file_place(tmp_path / "new.PNG", endings=(".png",)) == tmp_path / "new.PNG"
    assert file_place(str(tmp_path / "old.png")) == tmp_path / "old.png"
    assert folder_place(tmp_path / "a" / "b", "--out") == tmp_path / "a" / "b"
    assert model_place(tmp_path / "net-1.5.json") == tmp_path / "net-1.5"
    assert [file.name for file in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_text() == "precious"


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (lambda: file_place("x.bmp", "--plot", endings=(".png", ".svg")), "--plot: 'x.bmp'; expected .* in .png, .svg"),
        (lambda: file_place("folder"), "folder: is a folder; expected a file"),
        (lambda: file_place("no/x.png"), "x.png: folder 'no' does not exist"),
        (lambda: file_place("file/x.png"), "folder 'file' does not exist"),
        (lambda: file_place("file", overwrite=False), "file: this place is taken. .* --overwrite"),
        (lambda: folder_place("file", "--out"), "is a file; expected a folder. Choose another place with --out"),
        (lambda: folder_place("file/x/y", "--out"), "is a file; expected a folder"),
        (lambda: model_place("folder"), "'folder' is no name of a file"),
        (lambda: model_place("no/net"), "net.safetensors: folder 'no' does not exist"),
    ],
)
def test_what_is_no_place(
    look: Callable[[], Path], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    with pytest.raises(InputError, match=words.replace("/", r"[/\\]")):
        look()


def test_where_the_machine_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").touch()
    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    for name in ("old", "new"):
        with pytest.raises(InputError, match=f"{name}: cannot be written: Permission denied"):
            file_place(tmp_path / name)
    with pytest.raises(InputError, match=r"x: cannot be written: Permission denied\. Choose another place"):
        folder_place(tmp_path / "x", "--out")


@pytest.mark.parametrize(
    ("arguments", "work"),
    [
        (["plan", "--write", "no/x.toml"], "labqdl.api.planning.plan"),
        (["plan", "--map", "folder.svg"], "labqdl.api.planning.plan"),
        (["power", "--plot", "folder.svg"], "labqdl.api.detecting.power"),
        (["power", "--plot", "x.bmp"], "labqdl.api.detecting.power"),
        (["report", "run", "--out", "file"], "labqdl.api.reporting.gather"),
        (["reproduce", "--page", "folder.svg"], "labqdl.api.reproduction.reproduce"),
        (["reproduce", "--figures", "file/x"], "labqdl.api.reproduction.reproduce"),
        (["export", "run", "folder.svg/no/x.h5"], "labqdl.api.exporting.open_run"),
        (["curve", "breast-cancer", "breast-cancer", "--out", "folder.svg"], "labqdl.api.curves.measure_curve"),
        (["train", "breast-cancer-train", "folder.svg"], "labqdl.network.load_dataset"),
        (["models", "convert", "x.onnx", "no/x"], "labqdl.api.importing.load_onnx"),
    ],
    ids=lambda value: "-".join(value[:3]).replace("/", "-") if isinstance(value, list) else "",
)
def test_commands_look_first(
    arguments: list[str],
    work: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.svg").mkdir()
    Path("file").touch()
    monkeypatch.setattr(work, refused)
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("labqdl: ")


@pytest.mark.parametrize("wrong", [("--tap", "qnd"), ("--aim", "nothing"), ("--aim", "accuracy"), ("--judge", "me")])
def test_a_plan_says_at_once_which_words_there_are(
    wrong: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labqdl.api.planning.load_model", refused)
    assert run(["plan", *wrong]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"labqdl: {wrong[0]}: ")
    assert "expected one of " in said
