"""Reports: what they say is what the record holds, for every kind of run, and what cannot be said is named."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import resume, run
from labqdl.api.blocks import STATISTICS_DTYPE
from labqdl.api.reading import open_run
from labqdl.api.reporting import gather, write_report
from labqdl.cli.root import run as command
from labqdl.errors import InputError, RecordError
from labqdl.facts import Activation, Quantity
from labqdl.network import DenseLayer, Network, load_dataset, load_model, predictions, save_network
from labqdl.network.pipeline import Pipeline
from labqdl.records import Party, RunFolder
from labqdl.records.encoding import checked_file
from labqdl.report.content import Accuracy, Classification, Content, Evidence, Lamp, Leaks, Missing

Copy = Callable[..., Path]

SECTIONS = ["run", "predictions", "outcomes", "light", "leakage", "ledger", "cost"]
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a page holds; the nesting of its elements is checked on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, tag: str, name: str) -> list[str]:
        return [str(values[name]) for found, values in self.tags if found == tag and name in values]


def classification(content: Content) -> Classification:
    assert isinstance(content.classification, Classification)
    return content.classification


def evidence(content: Content) -> Evidence:
    assert isinstance(content.evidence, Evidence)
    return content.evidence


def missing(part: object) -> str:
    assert isinstance(part, Missing)
    return part.reason


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x55
    file.write_bytes(bytes(content))


def edit_json(file: Path, change: Callable[[Any], object], key: str = "value") -> None:
    """Change a JSON file of a run and make its checksum fit again."""
    fields = json.loads(file.read_text())
    del fields["sha256"]
    change(fields[key])
    file.write_bytes(checked_file(fields))


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_needs_nothing_else(whole: Path, tmp_path: Path) -> None:
    report = write_report(whole, out=tmp_path / "report")
    source = report.page.read_text(encoding="utf-8")
    page = Page(source)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "base")]
    for name in ("href", "action", "srcset", "data"):
        assert not [tag for tag, values in page.tags if name in values], name
    pictures = page.attributes("img", "src")
    assert len(pictures) == len(report.pictures) > 8
    for picture in pictures:
        head, _, data = picture.partition(",")
        assert head == "data:image/svg+xml;base64"
        assert base64.b64decode(data, validate=True).startswith(b"<?xml")
    outside = source.replace("data:image/svg+xml", "")
    assert "://" not in outside
    assert "url(" not in outside
    assert "@import" not in outside
    assert all(len(text) > 10 for text in page.attributes("img", "alt"))
    assert page.attributes("section", "id") == SECTIONS
    assert len(set(page.attributes("figure", "id"))) == len(pictures)
    assert [file.stem for file in report.pictures] == page.attributes("figure", "id")
    for file in report.pictures:
        assert file.read_bytes().startswith(b"\x89PNG")
    assert ("name", "viewport") in {("name", value) for value in page.attributes("meta", "name")}
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source
    for words in (load_model("breast-cancer").fingerprint[:16], open_run(whole).manifest["frame_digest"], "seed 5"):
        assert words in page.text
    assert source.count("labqdl, weights") == 1


def test_the_same_record_gives_the_same_bytes(one_layer: Path, tmp_path: Path) -> None:
    first, second = (write_report(one_layer, out=tmp_path / name) for name in ("one", "two"))
    assert first.page.read_bytes() == second.page.read_bytes()
    assert [file.read_bytes() for file in first.pictures] == [file.read_bytes() for file in second.pictures]


def test_a_report_changes_nothing_in_the_record(copied: Copy, one_layer: Path) -> None:
    folder = copied(one_layer)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    report = write_report(folder)
    assert report.page == folder / "report" / "report.html"
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "report" not in file.parts}
    assert {file: content for file, content in after.items() if file in before} == before
    open_run(folder).folder.check_files()


# -- what it says is what the record holds ----------------------------------------------------------------------------


def test_predictions_are_those_of_the_record(whole: Path) -> None:
    content, record = gather(whole), open_run(whole)
    found, labels = classification(content), load_dataset("breast-cancer").labels
    assert labels is not None
    chosen = predictions(record.logits())
    for (truth, answer), count in np.ndenumerate(found.counts):
        assert count == np.count_nonzero((labels[:7] == truth) & (chosen == answer))
    assert list(found.images) == [3, 6, 7]
    accuracy = content.accuracy
    assert isinstance(accuracy, Accuracy)
    assert accuracy.share == record.result["accuracy"] == found.accuracy[-1]
    assert accuracy.interval == tuple(record.result["accuracy_interval"]) == (found.low[-1], found.high[-1])
    assert sum(count for _, count in content.predicted) == 7


def test_outcomes_are_those_of_the_record_against_weights_and_data(whole: Path) -> None:
    content, record = gather(whole), open_run(whole)
    network = load_model("breast-cancer")
    data = network.prepare(load_dataset("breast-cancer").first(7).data).astype(np.float64)
    outcomes = np.concatenate(
        [record.folder.party(Party.CLIENT).load_array(f"blocks/{block:06d}-outcomes") for block in range(3)]
    ).astype(np.float64)
    # Balanced amplifier G = 2 and ideal parts: the outcome is sqrt(G - 1) X, so sqrt(2 mu) an ideal inner product.
    scale = np.sqrt(2 * 4.0)
    layer = network.layers[0]
    assert layer.bias is not None
    vectors = np.column_stack([data, np.ones(7)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = np.column_stack([layer.weights, layer.bias]).astype(np.float64)
    weights /= np.sqrt(np.mean(weights**2))
    assert not isinstance(content.outcomes, Missing)
    first, second = content.outcomes
    assert first.ideal == pytest.approx((vectors @ weights.T).ravel(), abs=1e-4)
    assert first.measured == pytest.approx(outcomes[:, : layer.rows].ravel() / scale, abs=1e-4)
    assert second.measured == pytest.approx(outcomes[:, layer.rows :].ravel() / scale, abs=1e-4)
    # Seed 5 is fixed; five standard errors would be left by an honest run once in a million.
    for part in content.outcomes:
        assert abs(part.fit.slope - part.expected_slope) < 5 * part.fit.slope_error
        assert abs(part.fit.f2_db - part.expected_f2_db) < 5 * part.fit.f2_db_error
        assert (part.images, part.of_images) == (7, 7)
    assert first.expected_f2_db == pytest.approx(record.result["operating_point"]["f2_db"])


def test_evidence_ends_at_the_recorded_verdict(whole: Path) -> None:
    content, record = gather(whole), open_run(whole)
    found, recorded = evidence(content), record.result["consistency"]
    assert found.final
    assert not found.worst_case
    assert [test.name for test in found.tests] == [test["name"] for test in recorded["tests"]]
    by_name = {test["name"]: test for test in recorded["tests"]}
    assert {path.name for path in found.paths} == {name for name in by_name if "layer" not in name}
    samples = sum(int(part["residuals"].sum() + part["slots"].sum()) for part in statistics(whole, range(3)))
    for path in found.paths:
        assert path.symbols[-1] == samples
        if path.unit == by_name[path.name]["unit"]:
            assert path.statistic[-1] == pytest.approx(by_name[path.name]["statistic"], rel=1e-9, abs=1e-12)
            assert path.expected[-1] == pytest.approx(by_name[path.name]["expected"], rel=1e-9, abs=1e-12)
        assert (path.low <= path.high).all()
        assert path.low[-1] < path.statistic[-1] < path.high[-1]
    assert max(found.log10_e) == pytest.approx(recorded["log10_e_value"], rel=1e-9, abs=1e-12)
    assert found.symbols[0] == 0
    assert found.threshold == pytest.approx(-np.log10(0.5e-6))


def statistics(folder: Path, blocks: range) -> list[np.ndarray[Any, Any]]:
    with RunFolder.open(folder) as record:
        server = record.party(Party.SERVER)
        return [server.load_array(f"blocks/{block:06d}-statistics") for block in blocks]


def test_paths_hold_the_sums_of_all_blocks_so_far(whole: Path) -> None:
    gain = evidence(gather(whole)).paths[0]
    assert gain.name == "gain"
    tables = statistics(whole, range(3))
    for index in range(3):
        rows = np.concatenate(tables[: index + 1])
        # Ideal parts: the expected amplitude is 1.
        assert gain.statistic[index] == pytest.approx(1 + rows["sum_qr"].sum() / rows["sum_qq"].sum(), rel=1e-9)


def test_leakage_is_the_recorded_one(whole: Path) -> None:
    leaks = gather(whole).leaks
    assert isinstance(leaks, Leaks)
    assert leaks.complete
    assert leaks.report.to_json() == open_run(whole).result["leakage"]
    assert leaks.certificate is not None
    assert leaks.certificate.samples == open_run(whole).result["certificate"]["samples"]


def test_cost_is_that_of_the_frame(whole: Path) -> None:
    cost = gather(whole, symbol_rate=1e6).cost
    # 30-32-2 with biases: rows of 31 and 33 weights, padded to 16 and 17 modes; 4 photons a mode of two weights.
    assert [layer.macs for layer in cost.layers] == [32 * 31, 2 * 33]
    assert [layer.symbols for layer in cost.layers] == [32 * 16, 2 * 17]
    assert cost.photons_per_mac == pytest.approx(2.0)
    assert cost.seconds == pytest.approx((32 * 16 + 2 * 17) / 1e6)
    assert cost.energy_per_mac == pytest.approx(2 * 1.2816e-19, rel=1e-3)
    assert cost.images >= 7


# -- every kind of run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one layer, and data with and without labels."""
    folder = tmp_path_factory.mktemp("material")
    generator = np.random.default_rng(8)
    weights = generator.standard_normal((3, 12)).astype(np.float32)
    network = Network("one-layer", Pipeline((12,), ()), (DenseLayer(weights, activation=Activation()),))
    save_network(network, folder / "one-layer")
    data = generator.standard_normal((9, 12)).astype(np.float32)
    np.savez(folder / "plain.npz", data=data)
    np.savez(folder / "labelled.npz", data=data, labels=np.arange(9) % 3)
    return folder


def begin(material: Path, folder: Path, data: str, **settings: Any) -> Path:
    model = str(material / "one-layer.safetensors")
    run(folder=folder, model=model, data=str(material / data), link="paper", block=4, seed=2, **settings)
    return folder


@pytest.fixture(scope="module")
def one_layer(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer, no labels, nothing measured."""
    return begin(material, tmp_path_factory.mktemp("one") / "run", "plain.npz", depth="outcomes")


def test_one_layer_without_labels_and_without_a_measurement(one_layer: Path, tmp_path: Path) -> None:
    content = gather(one_layer)
    assert content.headline.lamp is Lamp.UNDECIDED
    assert "nothing" in content.headline.line.lower()
    assert missing(content.classification) == "the data have no labels."
    assert isinstance(content.accuracy, Accuracy)
    assert content.accuracy.share is None
    assert [name for name, _ in content.predicted] == ["0", "1", "2"]
    assert sum(count for _, count in content.predicted) == 9
    assert "nothing" in missing(content.evidence)
    assert not isinstance(content.outcomes, Missing)
    assert [part.layer for part in content.outcomes] == [1]
    page = Page(write_report(one_layer, out=tmp_path).page.read_text(encoding="utf-8"))
    assert page.attributes("section", "id") == SECTIONS
    assert "the data have no labels" in page.text
    assert "How often each class was predicted" in page.text


def test_an_aborted_run(aborted: Path) -> None:
    content = gather(aborted)
    assert content.headline.lamp is Lamp.ABORT
    assert "not that of an honest client" in content.headline.line
    assert any("intercept-resend" in note for note in content.notes)
    assert missing(content.classification) == "no image came through all layers."
    assert not isinstance(content.outcomes, Missing)
    assert [part.layer for part in content.outcomes] == [1]
    assert any(not test.passed for test in evidence(content).tests)
    assert evidence(content).log10_e[-1] > evidence(content).threshold
    noise = next(path for path in evidence(content).paths if path.name == "noise")
    assert noise.statistic[-1] > noise.high[-1]


def test_a_run_that_was_stopped(stopped: Path) -> None:
    content = gather(stopped)
    assert content.headline.lamp is Lamp.INCOMPLETE
    assert "2 of 3 blocks" in content.headline.line
    assert "labqdl resume run" in content.headline.line
    assert not evidence(content).final
    assert isinstance(content.leaks, Leaks)
    assert not content.leaks.complete
    certified = content.leaks.report.select(Quantity.WEIGHTS, "labqdl", certified=True)
    assert certified is not None
    assert certified.samples == evidence(content).symbols[-1]
    assert isinstance(content.accuracy, Accuracy)
    assert content.accuracy.images == 6


def test_a_run_before_its_first_block(stopped: Path, copied: Copy) -> None:
    folder = copied(stopped)
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(lines[0])
    content = gather(folder)
    assert "0 of 3 blocks" in content.headline.line
    assert missing(content.accuracy) == "no image came through all layers."
    assert "recorded" in missing(content.outcomes)
    assert isinstance(content.evidence, Missing)
    assert isinstance(content.leaks, Leaks)


def test_a_run_killed_between_verdict_and_result(copied: Copy, aborted: Path) -> None:
    folder = copied(aborted)
    (folder / "world" / "result.json").unlink()
    content = gather(folder)
    assert content.headline.lamp is Lamp.ABORT
    assert "labqdl resume" in content.headline.line
    resume(folder)
    assert gather(folder).headline.lamp is Lamp.ABORT


def test_a_world_that_is_not_the_agreed_one(tmp_path: Path) -> None:
    run(folder=tmp_path / "run", model="breast-cancer", link="lab-bench", images=2, seed=1, channel="outside-tap:0.2")
    content = gather(tmp_path / "run")
    assert content.world is not None
    assert any("outside-tap:0.2" in note for note in content.notes)
    assert any("really there differs" in note for note in content.notes)


def test_many_blocks_are_looked_at_now_and_then(material: Path, tmp_path: Path) -> None:
    model = str(material / "one-layer.safetensors")
    data = np.random.default_rng(1).standard_normal((50, 12)).astype(np.float32)
    np.savez(tmp_path / "many.npz", data=data)
    run(folder=tmp_path / "run", model=model, data=str(tmp_path / "many.npz"), link="paper", block=1, seed=3)
    found = evidence(gather(tmp_path / "run"))
    assert 20 < len(found.paths[0].symbols) <= 50
    assert found.symbols[-1] == found.paths[0].symbols[-1] == 50 * 3 * 6


# -- what is not there any more ---------------------------------------------------------------------------------------


def test_without_the_model_the_worst_weights_are_assumed(material: Path, tmp_path: Path) -> None:
    copy = tmp_path / "material"
    copy.mkdir()
    for file in material.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    folder = begin(copy, tmp_path / "run", "labelled.npz")
    sharp = evidence(gather(folder))
    (copy / "one-layer.safetensors").unlink()
    content = gather(folder)
    assert any("one-layer" in note for note in content.notes)
    assert evidence(content).worst_case
    blunt = evidence(content)
    assert {path.name for path in blunt.paths} == {"gain", "noise", "phase", "count"}
    assert blunt.paths[0].statistic == pytest.approx(sharp.paths[0].statistic)
    assert blunt.paths[0].high[-1] - blunt.paths[0].low[-1] >= sharp.paths[0].high[-1] - sharp.paths[0].low[-1]
    assert "one-layer" in missing(content.classification)
    assert "one-layer" in missing(content.outcomes)
    assert sum(count for _, count in content.predicted) == 9
    assert isinstance(content.accuracy, Accuracy)
    assert content.accuracy.share is not None


def test_data_and_labels_that_have_changed(material: Path, tmp_path: Path) -> None:
    copy = tmp_path / "material"
    copy.mkdir()
    for file in material.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    folder = begin(copy, tmp_path / "run", "labelled.npz")
    data = np.load(copy / "labelled.npz")["data"]
    np.savez(copy / "labelled.npz", data=data, labels=(np.arange(9) + 1) % 3)
    share = open_run(folder).result["accuracy"]
    notes = gather(folder).notes
    assert any("labels are not those of the run" in note and f"{100 * share:.2f} %" in note for note in notes)
    np.savez(copy / "labelled.npz", data=data + 1, labels=np.arange(9) % 3)
    content = gather(folder)
    assert any("not those that the run began with" in note for note in content.notes)
    assert "not those that the run began with" in missing(content.classification)
    assert not evidence(content).worst_case


@pytest.mark.parametrize(
    ("file", "still"),
    [
        ("server/blocks/000001-statistics.npy", "evidence"),
        ("client/blocks/000001-outcomes.npy", "outcomes"),
        ("client/blocks/000001-logits.npy", "classification"),
        ("world/result.json", "evidence"),
    ],
)
def test_damage_is_named_and_the_rest_is_shown(file: str, still: str, copied: Copy, whole: Path) -> None:
    folder = copied(whole)
    damage(folder / file)
    content = gather(folder)
    note = next(note for note in content.notes if note.lower().startswith(file))
    assert "labqdl recover copy" in note
    assert str(folder) not in note
    assert not isinstance(getattr(content, still), Missing)
    if still == "evidence" and "statistics" in file:
        assert evidence(content).paths[0].symbols.size == 2
    if still == "classification":
        assert list(classification(content).images) == [3, 4]


@pytest.mark.parametrize("file", ["manifest.json", "events.jsonl", "server/roots.json"])
def test_damage_that_leaves_nothing_to_tell_points_to_recover(file: str, copied: Copy, whole: Path) -> None:
    folder = copied(whole)
    damage(folder / file)
    with pytest.raises(RecordError, match=r"labqdl recover .*copy") as caught:
        gather(folder)
    assert Path(file).name in str(caught.value)


def test_all_that_was_measured_is_damaged(copied: Copy, whole: Path) -> None:
    folder = copied(whole)
    for file in (folder / "server" / "blocks").glob("*-statistics.npy"):
        damage(file)
    content = gather(folder)
    assert "can be read" in missing(content.evidence)
    assert len([note for note in content.notes if "statistics.npy" in note]) == 3


def test_a_record_of_an_older_version(copied: Copy, whole: Path) -> None:
    folder = copied(whole)

    def forget(manifest: dict[str, Any]) -> None:
        del manifest["frame"]["check_vectors"]
        for key in ("shot_noise", "cross_use", "residual_share"):
            del manifest["frame"]["plan"][key]

    edit_json(folder / "manifest.json", forget, key="manifest")
    older = [name for name in STATISTICS_DTYPE.names or () if name not in ("sum_jj", "sum_jr")]
    with RunFolder.resume(folder) as record:
        server = record.party(Party.SERVER)
        for block in range(3):
            table = server.load_array(f"blocks/{block:06d}-statistics")
            server.save_array(
                f"blocks/{block:06d}-statistics", np.asarray(table[older].tolist(), table[older].dtype), overwrite=True
            )
    content = gather(folder)
    assert content.headline.lamp.value == open_run(folder).result["verdict"]
    assert isinstance(content.evidence, Missing)
    assert any("not a table of row statistics" in note for note in content.notes)
    assert isinstance(content.leaks, Leaks)
    assert classification(content).images[-1] == 7


def test_a_result_that_this_version_does_not_read(copied: Copy, whole: Path) -> None:
    folder = copied(whole)
    edit_json(folder / "world" / "result.json", lambda result: result.update(verdict="perhaps"))
    content = gather(folder)
    assert any("does not read" in note for note in content.notes)
    folder = copied(whole, "other")
    edit_json(folder / "world" / "result.json", lambda result: result.update(leakage={"weights": 3}))
    assert "leakage" in missing(gather(folder).leaks)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(one_layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command(["report", str(one_layer), "--out", str(out), "--symbol-rate", "1e6"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert "1 MBd" in Page((out / "report.html").read_text(encoding="utf-8")).text
    assert command(["report", str(one_layer), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "labqdl.report/1"
    assert Path(document["page"]) == out / "report.html"
    assert all(Path(picture).is_file() for picture in document["pictures"])


def test_mistakes_get_one_clear_line(one_layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    for arguments, words in (
        (["nowhere"], "there is no run folder here"),
        ([str(one_layer), "--symbol-rate", "0"], "--symbol-rate"),
        ([str(one_layer), "--symbol-rate", "nan"], "--symbol-rate"),
        ([str(one_layer), "--out", str(tmp_path / "file")], "--out"),
    ):
        assert command(["report", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_extra_it_says_what_to_install(
    package: str, one_layer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "labqdl\[report\]"'):
        write_report(one_layer)
