"""Recovery of inferences: whole blocks stay finished, damaged ones are done again, nothing else changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.api import open_run, resume
from labqdl.api.blocks import finished_blocks
from labqdl.api.recovering import Recovery, recover
from labqdl.api.replaying import replay
from labqdl.cli.root import run as command
from labqdl.errors import InputError, RecordError
from labqdl.records.salvage import Fate
from tests.damage import content, flip, left_alone, spoil

Copy = Callable[..., Path]

N_BLOCKS = 3


def recovered(path: Path, **options: Any) -> Recovery:
    """Recover and check that the damaged folder stays as it is."""
    with left_alone(path):
        return recover(path, **options)


def same_figures(found: Path, expected: Path) -> None:
    """Every number of two runs agrees to the bit."""
    results = [dict(open_run(path).result) for path in (found, expected)]
    for result in results:
        del result["run"], result["seconds"]
    assert results[0] == results[1]
    assert np.array_equal(open_run(found).logits(), open_run(expected).logits())


def test_a_whole_run_is_recovered_whole(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    found = recovered(place)
    assert found.exit_code == 0
    assert found.run == place.with_name("copy-recovered")
    assert found.blocks == (0, 1, 2)
    assert found.finished
    assert not found.obstacle
    assert replay(found.run).agrees
    resume(found.run)
    same_figures(found.run, whole)
    assert recovered(place, out=place.with_name("other")).run == place.with_name("other")


def test_every_file_of_a_block(whole: Path, copied: Copy, tmp_path: Path) -> None:
    """Whichever is missing or altered, its block alone counts as not done, and resuming gives the same run."""
    names = [name for name in content(whole) if "/blocks/000001" in name]
    assert len(names) >= 3
    for number, name in enumerate(names):
        place = copied(whole, f"damaged-{number}")
        if number % 2:
            (place / name).unlink()
        else:
            flip(place / name)
        found = recovered(place)
        assert found.exit_code == 1
        assert found.blocks == (0, 2), name
        (why,) = found.lost_blocks.values()
        assert why.startswith(name), (name, why)
        assert ("missing" if number % 2 else "checksum") in why
        if number < 2:
            resume(found.run)
            same_figures(found.run, whole)
            assert open_run(found.run).blocks == (0, 1, 2)


def test_lost_manifest_and_lost_result(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    (place / "manifest.json").unlink()
    (place / "world" / "result.json").unlink()
    found = recovered(place)
    assert found.blocks == (0, 1, 2)
    assert not found.finished
    with pytest.raises(RecordError, match="its result is lost"):
        replay(found.run)
    resume(found.run)
    assert replay(found.run).agrees
    same_figures(found.run, whole)


def test_without_any_manifest_the_arrays_are_saved(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    for name in ("manifest.json", "manifest.copy.json"):
        (place / name).unlink()
    found = recovered(place)
    assert found.blocks is None
    assert "lost with its manifest" in found.obstacle
    assert "cannot be resumed" in str(found)
    arrays = {name for name in content(place) if name.endswith(".npy")}
    assert arrays <= set(content(found.run))
    for reader in (open_run, resume):
        with pytest.raises(RecordError, match=r"manifest\.json: no '\w+': .*recovered without its manifest"):
            reader(found.run)


@pytest.mark.parametrize("party", ["server", "client", "world", "public"])
def test_a_deleted_party_comes_back_with_a_seed(whole: Path, copied: Copy, party: str) -> None:
    place = copied(whole)
    shutil.rmtree(place / party)
    found = recovered(place)
    assert not found.obstacle
    assert found.blocks == ((0, 1, 2) if party in ("world", "public") else ())
    fates = {file.name: file.fate for file in found.files}
    if party != "public":
        assert fates[f"{party}/roots.json"] is Fate.RESTORED
    resume(found.run)
    same_figures(found.run, whole)


def test_a_deleted_party_without_a_seed(tmp_path: Path) -> None:
    """Nobody can guess the entropy; what is there can be read all the same."""
    from labqdl.api import run

    run(model="breast-cancer", link="paper", images=4, block=2, folder=tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "server")
    found = recovered(tmp_path / "run")
    assert found.obstacle.startswith("the root entropy of the server is lost")
    assert open_run(found.run).result["images"] == 4
    with pytest.raises(RecordError, match="roots"):
        resume(found.run)


def test_roots_that_are_not_the_seeds_are_not_replaced(whole: Path, copied: Copy) -> None:
    """Where a root that is whole is not the seed's, the seed is not believed."""
    place = copied(whole)
    from labqdl.records.encoding import checked_file

    (place / "client" / "roots.json").write_bytes(checked_file({"party": "client", "entropy": "00" * 32}))
    (place / "server" / "roots.json").unlink()
    assert "root entropy of the server" in recovered(place).obstacle


def test_lost_and_torn_logs(whole: Path, aborted: Path, stopped: Path, copied: Copy) -> None:
    """Blocks that are whole are finished even where the log knows nothing of them."""
    for number, (source, blocks) in enumerate(((whole, (0, 1, 2)), (aborted, (0,)), (stopped, (0, 1)))):
        for cut in (0, 40, 500):
            place = copied(source, f"log-{number}-{cut}")
            log = place / "events.jsonl"
            log.write_bytes(log.read_bytes()[:cut])
            found = recovered(place)
            assert found.blocks == blocks
            assert not found.lost_blocks
        expected = finished_blocks(open_run(source).folder)
        assert finished_blocks(open_run(found.run).folder) == expected
    resume(found.run)
    same_figures(found.run, whole)


def test_events_keep_their_times_and_tell_of_the_recovery(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    flip(place / "client" / "blocks" / "000002-logits.npy")
    found = recovered(place)
    before, after = open_run(whole).events(), open_run(found.run).events()
    assert after[: len(before)] == before
    lost, told = after[len(before) :]
    assert (lost.kind, lost.fields["block"]) == ("block-lost", 2)
    assert told.kind == "recovered"
    assert told.fields["blocks_lost"] == (2,) or told.fields["blocks_lost"] == [2]
    assert told.fields["source"] == "copy"


def test_the_default_place_may_be_taken(whole: Path, copied: Copy) -> None:
    place = copied(whole)
    recover(place)
    with pytest.raises(InputError, match="this place is taken"):
        recover(place)


@settings(max_examples=12)
@given(data=st.data())
def test_random_damage(data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_random_damage(data, whole, tmp_path_factory.mktemp("damage"))


@pytest.mark.soak
@settings(max_examples=300)
@given(data=st.data())
def test_much_random_damage(data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_random_damage(data, whole, tmp_path_factory.mktemp("damage"))


def check_random_damage(data: st.DataObject, whole: Path, folder: Path) -> None:
    """No traceback, and no block is lost whose files nobody touched; what can be resumed ends as it did before."""
    path = Path(shutil.copytree(whole, folder / "run"))
    touched: set[str] = set()
    for _ in range(data.draw(st.integers(1, 4))):
        touched |= spoil(path, data)
    try:
        found = recovered(path)
    except InputError as error:
        assert "nothing here looks like a run" in str(error)  # noqa: PT017 - either outcome may come
        return
    untouched = [block for block in range(N_BLOCKS) if not any(f"/blocks/{block:06d}" in name for name in touched)]
    if {"manifest.json", "manifest.copy.json"} <= touched:
        return
    assert found.blocks is not None
    assert set(untouched) <= set(found.blocks)
    assert not found.obstacle  # the seed gives every root again
    assert str(found)
    if data.draw(st.integers(0, 4)) == 0:
        resume(found.run)
        same_figures(found.run, whole)


def test_the_command(whole: Path, copied: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    place = copied(whole)
    flip(place / "client" / "blocks" / "000000-outcomes.npy")
    assert command(["recover", str(place), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.recover/1"
    assert document["blocks"] == [1, 2]
    assert [entry["block"] for entry in document["lost_blocks"]] == [0]
    assert {entry["fate"] for entry in document["files"]} == {"saved", "lost"}
    assert command(["recover", str(place), "--out", str(place.with_name("again"))]) == 1
    text = capsys.readouterr().out
    assert "client/blocks/000000-outcomes.npy" in text
    assert "block 0 counts as not done" in text
    assert "labqdl resume" in text
    assert command(["recover", str(place)]) == 2
    assert command(["recover", str(place / "nowhere")]) == 2
    assert "Traceback" not in capsys.readouterr().err
