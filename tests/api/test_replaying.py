"""Replay: every figure again from the record; what was edited, damaged or made by another version shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.api.agreement import compare_documents, same
from labqdl.api.blocks import STATISTICS_DTYPE
from labqdl.api.replaying import Replay, replay
from labqdl.cli.root import run as command
from labqdl.errors import InputError, RecordError
from labqdl.records import Party, RunFolder, storage
from labqdl.records.encoding import checked_file

Copy = Callable[..., Path]

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 7, "block": 3, "seed": 5}


def disagreeing(found: Replay) -> dict[str, str]:
    """Names of the figures that do not agree, and why."""
    return {f.name: f.note for section in found.sections for f in section.figures if not f.agrees}


def edit_json(file: Path, change: Callable[[Any], object], key: str = "value") -> None:
    """Change a JSON file of a run and make its checksum fit again."""
    fields = json.loads(file.read_text())
    del fields["sha256"]
    change(fields[key])
    file.write_bytes(checked_file(fields))


def edit_array(folder: Path, party: Party, name: str, change: Callable[[np.ndarray[Any, Any]], object]) -> None:
    """Change an array of a run and make its checksum fit again."""
    with RunFolder.resume(folder) as run:
        store = run.party(party)
        array = store.load_array(name)
        change(array)
        store.save_array(name, array, overwrite=True)


# -- what agrees ------------------------------------------------------------------------------------------------------


def test_every_figure_of_an_honest_run_agrees_to_the_bit(whole: Path) -> None:
    found = replay(whole)
    assert found.agrees
    assert found.exit_code == 0
    assert all(figure.exact for section in found.sections for figure in section.figures)
    recorded = json.loads((whole / "world" / "result.json").read_text())["value"]
    names = {figure.name for figure in found.sections[-1].figures}
    for figure in compare_documents(recorded, recorded):
        assert figure.name in names or figure.name in ("run", "seconds"), figure.name
    assert all(line.startswith("commit ") for line in found.changed)  # somebody may commit meanwhile


def test_an_aborted_run_agrees_too(aborted: Path) -> None:
    found = replay(aborted, light=True)
    assert found.agrees, disagreeing(found)


def test_the_light_again(whole: Path) -> None:
    counted = []
    found = replay(whole, light=True, on_block=lambda done, total: counted.append((done, total)))
    assert found.agrees, disagreeing(found)
    assert counted == [(1, 3), (2, 3), (3, 3)]
    (light,) = (section for section in found.sections if section.title == "The light again")
    kinds = {figure.name: figure.recorded for figure in light.figures}
    assert kinds["server: statistics"] == kinds["client: outcomes"] == kinds["client: logits"] == 3


def test_a_run_is_only_read(whole: Path) -> None:
    before = {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    steps: list[storage.WriteStep] = []
    with storage.watched(steps.append):
        replay(whole)
        assert steps == []
        replay(whole, light=True)
    assert not any(whole in step.path.parents for step in steps)
    assert {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()} == before


def test_a_run_without_a_seed(tmp_path: Path) -> None:
    """The recorded entropy is enough."""
    from labqdl.api import run

    run(model="breast-cancer", link="paper", images=2, folder=tmp_path / "run")
    found = replay(tmp_path / "run", light=True)
    assert found.agrees, disagreeing(found)


def test_check_vectors_go_back_to_their_places(tmp_path: Path) -> None:
    from labqdl.api import run

    run(folder=tmp_path / "run", **{**SETTINGS, "check_vectors": 4})
    found = replay(tmp_path / "run")
    assert found.agrees, disagreeing(found)

    def change(outcomes: np.ndarray[Any, Any]) -> None:
        outcomes[2] += 0.5

    edit_array(tmp_path / "run", Party.CLIENT, "blocks/000001-check-outcomes", change)
    wrong = disagreeing(replay(tmp_path / "run"))
    assert "checks of block 1, layer 1: repeats" in wrong
    (tmp_path / "run" / "client" / "blocks" / "000001-check-outcomes.npy").unlink()
    assert "outputs of block 1" in disagreeing(replay(tmp_path / "run"))


def test_light_that_only_is_emulated_again_is_charged_to_nobody(tmp_path: Path) -> None:
    from labqdl.api import run

    budget = {"cumulative_bits_per_weight": 100.0, "accounts": tmp_path / "accounts"}
    run(folder=tmp_path / "run", **{**SETTINGS, **budget})
    before = {file: file.read_bytes() for file in (tmp_path / "accounts").rglob("*") if file.is_file()}
    assert before
    found = replay(tmp_path / "run", light=True)
    assert found.agrees, disagreeing(found)
    assert {file: file.read_bytes() for file in (tmp_path / "accounts").rglob("*") if file.is_file()} == before


# -- what was edited --------------------------------------------------------------------------------------------------


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every number, word and truth value."""
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in leaves(value, (*path, key))]
    if isinstance(document, list):
        return [leaf for index, value in enumerate(document) for leaf in leaves(value, (*path, index))]
    return [path]


@settings(max_examples=5)
@given(data=st.data())
def test_any_edited_figure_is_noticed(
    data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where the checksum was made to fit."""
    import shutil

    place = Path(shutil.copytree(whole, tmp_path_factory.mktemp("edited") / "run"))
    file = place / "world" / "result.json"
    value = json.loads(file.read_text())["value"]
    paths = [path for path in leaves(value) if path not in (("run",), ("seconds",))]
    path = data.draw(st.sampled_from(paths))

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        old = document[path[-1]]
        if isinstance(old, bool) or old is None:
            document[path[-1]] = not old
        elif isinstance(old, int):
            document[path[-1]] = old + data.draw(st.sampled_from([-1, 1, 1000]))
        elif isinstance(old, float):
            document[path[-1]] = old * data.draw(st.sampled_from([1 + 1e-8, 1.05, 0.5])) if old else 1e-12
        else:
            document[path[-1]] = old + " indeed"

    edit_json(file, change)
    found = replay(place)
    assert not found.agrees
    assert found.exit_code == 1
    wrong = disagreeing(found)
    assert len(wrong) >= 1
    assert any(str(path[-1]) in name or path[-1] == "name" for name in wrong) or isinstance(path[-1], int)


def test_an_edited_result_whose_checksum_is_off(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    file = place / "world" / "result.json"
    text = file.read_text().replace('"images": 7', '"images": 8')
    file.write_text(text)
    wrong = disagreeing(replay(place))
    assert "does not fit its checksum" in wrong["world/result.json"]
    assert "images" in wrong


@pytest.mark.parametrize("content", [b"", b'{"value": 3}', b"\xff\xfe"])
def test_an_unreadable_result_still_shows_what_comes_out(whole: Path, copied: Copy, content: bytes) -> None:
    place = copied(whole)
    (place / "world" / "result.json").write_bytes(content)
    found = replay(place)
    assert "world/result.json" in disagreeing(found)
    figures = {figure.name: figure for figure in found.sections[-1].figures}
    assert figures["verdict"].recomputed in ("accept", "undecided", "abort")
    assert figures["verdict"].recorded == "(absent)"


QUICK = ("counted", "sum_qr", "sum_rr", "sum_jr", "photons")
COLUMNS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.soak)
    for name in STATISTICS_DTYPE.names or ()
    if name not in ("layer", "row")
]


@pytest.mark.parametrize("column", COLUMNS)
def test_edited_statistics_are_noticed(whole: Path, copied: Copy, column: str) -> None:
    """By 5 %, with a fitting checksum."""
    place = copied(whole)

    def change(table: np.ndarray[Any, Any]) -> None:
        values = table[column]
        if values.dtype == np.bool_:
            values[:] = ~values
        elif not values.any():
            values[:] = 1
        else:
            values[:] = np.ceil(values * 1.05) if values.dtype.kind == "i" else values * 1.05

    edit_array(place, Party.SERVER, "blocks/000001-statistics", change)
    found = replay(place)
    assert not found.agrees
    wrong = disagreeing(found)
    assert any(name.startswith(("consistency", "certificate", "leakage")) for name in wrong)


def test_edited_outcomes_show_in_the_outputs(whole: Path, copied: Copy) -> None:
    place = copied(whole)

    def change(outcomes: np.ndarray[Any, Any]) -> None:
        outcomes *= 1.05

    edit_array(place, Party.CLIENT, "blocks/000000-outcomes", change)
    wrong = disagreeing(replay(place))
    assert "outputs of block 0" in wrong
    assert "outputs of block 1" not in wrong


def test_exchanged_blocks_are_noticed(whole: Path, copied: Copy) -> None:
    """Whole files, each under the other's name: no checksum tells."""
    place = copied(whole)
    first, second = (place / "client" / "blocks" / f"00000{n}-outcomes.npy" for n in (0, 1))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    wrong = disagreeing(replay(place))
    assert {"outputs of block 0", "outputs of block 1"} <= set(wrong)


def test_light_of_other_entropy(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    file = place / "world" / "roots.json"
    fields = json.loads(file.read_text())
    file.write_bytes(checked_file({"party": "world", "entropy": "00" * 32}))
    assert fields["entropy"] != "00" * 32
    wrong = disagreeing(replay(place))
    assert "root entropy of seed 5" in wrong
    wrong = disagreeing(replay(place, light=True))
    assert "not the numbers" in wrong["server/blocks/000000-statistics.npy"]
    assert "not the numbers" in wrong["client/blocks/000002-outcomes.npy"]


def test_the_light_names_the_array_that_was_edited(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    edit_array(place, Party.CLIENT, "blocks/000001-logits", lambda logits: logits.__setitem__((0, 0), 0.125))
    (place / "server" / "blocks" / "000002-statistics.npy").unlink()
    edit_array(place, Party.SERVER, "blocks/000000-statistics", lambda table: table["photons"].__iadd__(1))
    with RunFolder.resume(place) as run:
        run.party(Party.CLIENT).save_array("blocks/000009-logits", np.zeros(3))
    wrong = disagreeing(replay(place, light=True))
    assert wrong["client/blocks/000001-logits.npy"].startswith("not the numbers")
    assert wrong["server/blocks/000002-statistics.npy"] == "not in the record"
    assert wrong["server/blocks/000000-statistics.npy"].startswith("not the numbers")
    assert wrong["client/blocks/000009-logits.npy"].startswith("nothing in the run")


# -- what is damaged, unfinished or of another version ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["statistics", "outcomes", "logits"])
def test_damage_is_told_beside_the_figures_that_it_takes(whole: Path, copied: Copy, name: str) -> None:
    place = copied(whole)
    party = "server" if name == "statistics" else "client"
    file = place / party / "blocks" / f"000001-{name}.npy"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    found = replay(place)
    assert found.exit_code == 1
    wrong = disagreeing(found)
    assert "checksum" in wrong[f"{party}/blocks/000001-{name}.npy"]
    if name != "logits":  # the outputs follow from the outcomes all the same
        assert "accuracy" in wrong or "verdict" in wrong
    text = str(found)
    assert f"000001-{name}.npy" in text
    told = text[text.index("-v shows them") :] if "-v shows them" in text else text
    notes = " ".join(told.split())
    assert notes.count(f"{party}/blocks/000001-{name}.npy: ") == len(
        {note for note in disagreeing(found).values() if f"000001-{name}.npy: " in note}
    )
    assert str(place) + "/" not in notes
    assert "do NOT agree" in text


def test_without_a_result(stopped: Path, whole: Path, copied: Copy) -> None:
    with pytest.raises(RecordError, match=r"no result yet; 'labqdl resume"):
        replay(stopped)
    place = copied(whole)
    (place / "world" / "result.json").unlink()
    with pytest.raises(RecordError, match=r"its result is lost; 'labqdl resume"):
        replay(place)
    with pytest.raises(InputError, match="nowhere"):
        replay(place / "nowhere")


def test_another_version_is_named(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    edit_json(place / "manifest.json", lambda m: m["provenance"].update(labqdl="0.0.1", numpy="1.9"), "manifest")
    found = replay(place)
    assert found.agrees
    assert "labqdl 0.0.1, replayed with" in " ".join(found.changed)
    assert "recorded with labqdl 0.0.1" in str(found)


def test_an_edited_frame_is_noticed(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    edit_json(place / "manifest.json", lambda m: m["frame"]["budgets"].update(bits_per_weight=0.7), "manifest")
    wrong = disagreeing(replay(place))
    assert "digest of the recorded frame" in wrong
    assert any("budget" in name or "explanation" in name or "verdict" in name for name in wrong)


def test_a_manifest_of_another_version(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    edit_json(place / "manifest.json", lambda m: m["experiment"].pop("model_fingerprint"), "manifest")
    with pytest.raises(RecordError, match=r"manifest\.json: this version of labqdl .* recorded by labqdl"):
        replay(place)
    edit_json(place / "manifest.json", lambda m: m["frame"].update(colour="blue"), "manifest")
    with pytest.raises(RecordError, match=r"manifest\.json: this version .* does not read the frame .*colour"):
        replay(place)


def test_agreement_of_numbers() -> None:
    assert same(1.0, 1.0 + 1e-12)
    assert not same(1.0, 1.0 + 1e-8)
    assert same(3, 3.0)
    assert not same(3, 4)
    assert not same(True, 1)
    assert not same(0.0, 1e-300)
    assert not same(None, 0)
    assert not same("3", 3)
    first = {"a": [{"name": "gain", "z": 1.0}, {"name": "noise", "z": 2.0}], "b": [], "c": {}}
    second = {"a": [{"name": "noise", "z": 2.0}, {"name": "gain", "z": 1.5}], "b": [1], "c": {}}
    found = {figure.name: figure.agrees for figure in compare_documents(first, second)}
    assert found == {
        "a[gain].name": True, "a[gain].z": False, "a[noise].name": True, "a[noise].z": True,
        "b": False, "b[0]": False, "c": True,
    }  # fmt: skip


def test_the_command(whole: Path, copied: Copy, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["replay", str(whole), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.replay/1"
    assert document["agrees"] is True
    assert command(["replay", str(whole)]) == 0
    short = capsys.readouterr().out
    assert "Every figure agrees with the record." in short
    assert "-v shows them" in short
    assert command(["replay", str(whole), "-v"]) == 0
    assert len(capsys.readouterr().out) > len(short)
    place = copied(whole)
    edit_json(place / "world" / "result.json", lambda result: result.update(accuracy=0.123))
    assert command(["replay", str(place)]) == 1
    words = capsys.readouterr().out
    assert "0.123" in words
    assert "1 of" in words
    assert command(["replay", str(stopped)]) == 2
    assert command(["replay", str(place / "nowhere")]) == 2
    assert "Traceback" not in capsys.readouterr().err
