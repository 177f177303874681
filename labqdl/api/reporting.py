"""The report of a run: everything that its record can tell, gathered for `labqdl.report`, and the files of the report.

Reads through the code that a resumed or replayed run uses; changes nothing in the record. What is missing or damaged
is named in the report, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy import stats
from threadpoolctl import threadpool_limits

from labqdl import __version__
from labqdl.api.bench import kept_with
from labqdl.api.blocks import finished_blocks, load_light, load_logits, load_outcomes, refusal
from labqdl.api.places import cannot_write, folder_place
from labqdl.api.reading import RecordedRun, open_run
from labqdl.api.report_budget import budget_to_json, excess_budget
from labqdl.api.report_light import gather_evidence, gather_outcomes
from labqdl.api.results import Printable, describe_point
from labqdl.api.running import uncertified_reasons
from labqdl.errors import InputError, LabqdlError, RecordError
from labqdl.facts import (
    Certificate,
    Component,
    FrameDescription,
    LeakageReport,
    Ledger,
    OperatingPoint,
    Owner,
    Place,
    Reason,
    TestResult,
    VerdictKind,
)
from labqdl.network import Network, load_dataset, load_model, predictions
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.plots import style
from labqdl.protocol import Server
from labqdl.records import Party
from labqdl.report import content as say
from labqdl.report.cost import SYMBOL_RATE, cost_of
from labqdl.report.page import compose, number, require_jinja2
from labqdl.report.pictures import draw
from labqdl.security.engines import asymptotic_bounds
from labqdl.units import counted, to_db

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

REPORT_SCHEMA = "labqdl.report/1"
FOLDER = "report"
"""Where a report goes within the run's folder unless another place is named."""
PAGE = "report.html"
PICTURES = "pictures"

PUBLISHED = ("prx-2025", "arxiv-2024")
"""Engines that repeat the authors' formulas: shown to compare, no bounds."""
_CONFIDENCE = 0.95
_SHOWN = 3
"""Files that cannot be read which a report names one by one."""
_LONG = 200
"""Letters of such a note, at most."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Report(Printable):
    """A report on disk.

    Attributes
    ----------
    run:
        The run folder.
    page:
        The page, one file.
    pictures:
        Its pictures as PNG files.
    notes:
        What the page says first: damage, and what differs from what was agreed.
    budget:
        Error budget of a run on a station beside what the run measured, in plain values; None where there is none.
    """

    run: Path
    page: Path
    pictures: tuple[Path, ...]
    notes: tuple[str, ...]
    budget: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl report --json`; schema `labqdl.report/1`."""
        return {
            "schema": REPORT_SCHEMA,
            "run": str(self.run),
            "page": str(self.page),
            "pictures": [str(picture) for picture in self.pictures],
            "notes": list(self.notes),
            "error_budget": self.budget,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield Text(f"{self.page}", no_wrap=True, overflow="ignore")


def write_report(run: str | Path, *, out: str | Path | None = None, symbol_rate: float = SYMBOL_RATE) -> Report:
    """Write the report of a run: one page that needs nothing else, and its pictures as PNG files.

    The same record gives the same bytes.

    Parameters
    ----------
    run:
        Run folder; also of a run that was stopped, aborted, or is still going on.
    out:
        Folder for the report, made where it does not exist; `report` in the run's folder by default.
    symbol_rate:
        Symbols per second for the cost in time.

    Raises
    ------
    InputError
        Where there is no run, the report cannot be written, or matplotlib or jinja2 is not installed.
    RecordError
        Where manifest or log are damaged, so that nothing can be told; names the file.
    """
    if not symbol_rate > 0:
        raise InputError(f"symbol rate {symbol_rate!r}", source="--symbol-rate", expected="symbols per second, above 0")
    style.require_matplotlib()
    require_jinja2()
    folder = folder_place(Path(run) / FOLDER if out is None else out, "--out")
    gathered = gather(run, symbol_rate=symbol_rate)
    pictures = draw(gathered)
    page = compose(gathered, pictures)
    written = []
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            file = folder / PICTURES / f"{picture.name}.png"
            file.write_bytes(picture.png)
            written.append(file)
        (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(folder, error) from None
    return Report(Path(run), folder / PAGE, tuple(written), gathered.notes, budget_to_json(gathered.budget))


def gather(run: str | Path, *, symbol_rate: float = SYMBOL_RATE) -> say.Content:
    """Everything that a report says, from the run's folder; arguments and errors as `write_report`."""
    try:
        record = open_run(run)
    except RecordError as error:
        raise RecordError(f"{error}. 'labqdl recover {run}' saves what can be saved") from None
    # One BLAS thread, as in the run itself: every bit then depends on the shapes alone.
    with threadpool_limits(limits=1, user_api="blas"):
        return _Gatherer(record).content(symbol_rate)


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """The data of a run: prepared vectors (images, features), and labels where there are any."""

    prepared: NDArray[np.float32]
    labels: NDArray[np.integer[Any]] | None


@dataclass
class _Gatherer:
    """Reads a run and remembers what could not be read."""

    record: RecordedRun
    problems: list[str] = field(default_factory=list)

    def content(self, symbol_rate: float) -> say.Content:
        record, frame = self.record, self.record.frame
        blocks = finished_blocks(record.folder)
        complete = [block for block, whole in blocks.items() if whole]
        result = self._result()
        network, why = self._network()
        data, reason = (None, why) if network is None else self._data(network)
        logits = dict(self._each(complete, lambda block: load_logits(record.folder, frame, block)))
        outcomes: say.Missing | tuple[say.LayerOutcomes, ...]
        if network is None or data is None:
            outcomes = say.Missing(f"it takes weights and data, but {reason}")
        else:
            outcomes = gather_outcomes(
                network,
                frame,
                data.prepared,
                self._each(blocks, lambda block: load_outcomes(record.folder, frame, block, complete=blocks[block])),
            )
        uses = sum(frame.block_vectors(block) for block in blocks)
        tests = None if result is None else _tests(result.get("consistency", {}).get("tests", ()))
        evidence = self._evidence(network, blocks, tests)
        classification = self._classification(network, data, reason, logits)
        accuracy = _accuracy(result, classification, sum(len(frame.block_images(block)) for block in complete))
        if isinstance(classification, say.Classification) and isinstance(accuracy, say.Accuracy):
            self._compare(classification, accuracy)
        return say.Content(
            name=record.path.resolve().name,
            headline=self._headline(result, blocks),
            notes=self._notes(reason),
            run=self._facts(result, blocks),
            frame=frame,
            accuracy=accuracy,
            classification=classification,
            predicted=_predicted(network, frame, logits),
            findings=() if result is None else _tests(result.get("client_checks", ())),
            outcomes=outcomes,
            evidence=evidence,
            leaks=self._leaks(result, evidence, uses),
            ledger=frame.ledger,
            world=self._world(),
            cost=cost_of(frame, uses, symbol_rate),
            budget=self._budget(blocks),
        )

    # -- reading --------------------------------------------------------------------------------------------------

    def _each(self, blocks: Iterable[int], read: Callable[[int], _Read]) -> Iterator[tuple[int, _Read]]:
        """What can be read of these blocks; damage is remembered."""
        for block in blocks:
            try:
                yield block, read(block)
            except RecordError as error:
                self._remember(error)

    def _remember(self, error: RecordError) -> None:
        text = str(error).replace(f"{self.record.path}/", "").replace(f"{self.record.path}\\", "")
        if text not in self.problems:
            self.problems.append(text)

    def _result(self) -> dict[str, Any] | None:
        try:
            if not self.record.finished:
                return None
            result = self.record.result
        except RecordError as error:
            self._remember(error)
            return None
        if not isinstance(result, dict) or result.get("verdict") not in set(VerdictKind):
            self.problems.append("world/result.json: this version of labqdl does not read it")
            return None
        return result

    def _network(self) -> tuple[Network | None, str]:
        """The network with the recorded fingerprint, and why it is not there if it is not."""
        recorded = self.record.manifest.get("experiment", {})
        try:
            source = recorded["model"]
            network = load_model(source)
        except KeyError:
            return None, "the record names no model."
        except LabqdlError as error:
            return None, f"{error}."
        if network.fingerprint != recorded.get("model_fingerprint"):
            return None, f"the model {source} is not the one that the run began with."
        return network, ""

    def _data(self, network: Network) -> tuple[_Data | None, str]:
        """The data with the recorded digest, and why they are not there if they are not."""
        recorded = self.record.manifest.get("experiment", {})
        try:
            source, labels = recorded["data"], recorded.get("labels")
            dataset = load_dataset(source, labels=None if labels is None else Path(labels))
            if len(dataset) < self.record.frame.images:
                return None, f"the data {source} are not those that the run began with."
            dataset = dataset.first(self.record.frame.images)
            prepared = network.prepare(dataset.data, source=dataset.source)
        except KeyError:
            return None, "the record names no data."
        except LabqdlError as error:
            return None, f"{error}."
        if blake2b(np.ascontiguousarray(prepared).data, digest_size=32).hexdigest() != recorded.get("data_digest"):
            return None, f"the data {source} are not those that the run began with."
        return _Data(prepared, dataset.labels), ""

    def _server(self, network: Network | None) -> Server | None:
        """The server before any light; None where its network or its random numbers are not at hand."""
        if network is None:
            return None
        try:
            return Server(network, self.record.frame, self.record.folder.party(Party.SERVER).root())
        except RecordError as error:
            self._remember(error)
        except ValueError as error:
            self.problems.append(f"the model does not fit the run's frame: {error}")
        return None

    # -- parts of the report --------------------------------------------------------------------------------------

    def _evidence(
        self, network: Network | None, blocks: Mapping[int, bool], tests: tuple[TestResult, ...] | None
    ) -> say.Evidence | say.Missing:
        record, server = self.record, self._server(network)
        light = self._each(blocks, lambda block: load_light(record.folder, record.frame, block))
        try:
            found = gather_evidence(
                record.frame, None if server is None else network, server, light, len(blocks), tests
            )
        except RecordError as error:
            self._remember(error)
            return say.Missing(f"{error}.")
        if isinstance(found, say.Missing) and self.problems:
            return say.Missing("nothing of what the server measured can be read, or nothing was measured.")
        return found

    def _budget(self, blocks: Mapping[int, bool]) -> say.ExcessBudget | say.Missing | None:
        station = self.record.manifest.get("station")
        if not isinstance(station, Mapping):
            return None
        light = self._each(blocks, lambda block: load_light(self.record.folder, self.record.frame, block))
        try:
            known = kept_with(self.record.folder, str(station.get("name", "")))
        except (RecordError, InputError) as error:
            return say.Missing(f"{error}.")
        return excess_budget(self.record.frame, known, light)

    def _classification(
        self,
        network: Network | None,
        data: _Data | None,
        reason: str,
        logits: Mapping[int, NDArray[np.floating[Any]]],
    ) -> say.Classification | say.Missing:
        if network is None or data is None:
            return say.Missing(f"the labels come with the data, but {reason}")
        labels = data.labels
        if labels is None:
            return say.Missing("the data have no labels.")
        if not logits:
            return say.Missing("no image came through all layers.")
        frame = self.record.frame
        size = max(2, frame.layers[-1].rows)
        counts = np.zeros((size, size), np.int64)
        images, right = [], []
        for block, values in sorted(logits.items()):
            chosen = frame.block_images(block)
            truth, found = labels[chosen.start : chosen.stop], predictions(values.astype(np.float32))
            np.add.at(counts, (truth, found), 1)
            images.append(len(chosen))
            right.append(int(np.count_nonzero(truth == found)))
        total, good = np.cumsum(images), np.cumsum(right)
        intervals = [
            stats.binomtest(int(k), int(n)).proportion_ci(_CONFIDENCE, method="exact")
            for k, n in zip(good, total, strict=True)
        ]
        return say.Classification(
            counts=counts,
            classes=tuple(network.classes) if len(network.classes) == size else (),
            images=total.astype(np.int64),
            accuracy=good / total,
            low=np.array([interval.low for interval in intervals]),
            high=np.array([interval.high for interval in intervals]),
        )

    def _compare(self, found: say.Classification, recorded: say.Accuracy) -> None:
        """Remember where the labels are not those of the run; the digest in the record is of the data alone."""
        same_images = int(found.images[-1]) == recorded.images
        if recorded.share is not None and same_images and abs(recorded.share - float(found.accuracy[-1])) > 1e-12:
            self.problems.append(
                f"the labels are not those of the run any more: its accuracy was {100 * recorded.share:.2f} %, with "
                f"the labels that are there now it is {100 * float(found.accuracy[-1]):.2f} %"
            )

    def _leaks(
        self, result: Mapping[str, Any] | None, evidence: say.Evidence | say.Missing, uses: int
    ) -> say.Leaks | say.Missing:
        frame = self.record.frame
        if result is not None:
            try:
                report = LeakageReport.from_json(result.get("leakage", {}))
            except ValueError as error:
                return say.Missing(f"the recorded result holds none that this version reads: {error}.")
            return say.Leaks(report, frame.budgets, PUBLISHED, _certificate(result.get("certificate")), True)
        bounds = asymptotic_bounds(frame.layers, frame.tap, frame.ledger, weight_uses=max(1, uses))
        certified = () if isinstance(evidence, say.Missing) else evidence.certified
        return say.Leaks(LeakageReport((*bounds, *certified)), frame.budgets, PUBLISHED, None, False)

    def _headline(self, result: Mapping[str, Any] | None, blocks: Mapping[int, bool]) -> say.Headline:
        if result is not None:
            reason = result.get("reason", {})
            kind = VerdictKind(str(result["verdict"]))
            line = _line(kind, str(reason.get("kind")), _certificate(result.get("certificate")))
            return say.Headline(say.Lamp(kind.value), line, str(reason.get("explanation", "")))
        verdict = next((event for event in reversed(self.record.events()) if event.kind == "verdict"), None)
        name = self.record.path.resolve().name
        if verdict is not None:
            kind = VerdictKind(verdict.fields["verdict"])
            line = _line(kind, "", None) + f" The joined result is missing; 'labqdl resume {name}' makes it again."
            return say.Headline(say.Lamp(kind.value), line, str(verdict.fields["explanation"]))
        total = self.record.frame.n_blocks
        reason = refusal(self.record.folder)
        if reason is not None:
            done = f"{len(blocks)} of {counted(total, 'block')}"
            return say.Headline(say.Lamp.INCOMPLETE, f"An account over runs refused this run after {done}.", reason)
        line = (
            f"{len(blocks)} of {counted(total, 'block')} done: there is no verdict yet; 'labqdl resume {name}' goes on."
        )
        return say.Headline(say.Lamp.INCOMPLETE, line, "")

    def _notes(self, reason: str) -> tuple[str, ...]:
        name = self.record.path.resolve().name
        notes = []
        for problem in self.problems[:_SHOWN]:
            words = problem if len(problem) <= _LONG else f"{problem[:_LONG]} ..."
            notes.append(f"{words[0].upper()}{words[1:]}{'' if words.endswith('...') else '.'}")
            if "damaged" in problem or "missing" in problem:
                notes[-1] += f" What else there is is shown; 'labqdl recover {name}' says what can be saved."
        if len(self.problems) > _SHOWN:
            notes.append(f"{len(self.problems) - _SHOWN:,} more of the record's files cannot be read.")
        if reason:
            notes.append(f"Not everything can be shown: {reason}")
        if self.record.folder.torn is not None:
            notes.append("The last line of the log was cut short by a kill; it never counted.")
        notes += [
            f"UNCERTIFIED, with every figure of this page: {one}" for one in uncertified_reasons(self.record.folder)
        ]
        recorded = self.record.manifest.get("experiment", {})
        for party in ("client", "channel", "server"):
            word = recorded.get(party, "honest")
            if word != "honest":
                notes.append(f"The {party} of this run is not honest: it is the simulated {word}.")
        world = self._world()
        if world is not None:
            agreed = {component.name: component for component in self.record.frame.ledger.components}
            others = [c.name for c in world.components if agreed.get(c.name) != c]
            others += [name for name in agreed if name not in {c.name for c in world.components}]
            notes.append(f"The light path that was really there differs from the agreed one in: {', '.join(others)}.")
        return tuple(notes)

    def _facts(self, result: Mapping[str, Any] | None, blocks: Mapping[int, bool]) -> tuple[tuple[str, str], ...]:
        """What was run, as names and values."""
        record, frame = self.record, self.record.frame
        manifest = record.manifest
        chosen, made = manifest.get("experiment", {}), manifest.get("provenance", {})
        parties = ", ".join(f"{party} {chosen.get(party, 'honest')}" for party in ("client", "channel", "server"))
        commit = made.get("commit") or {}
        version = f"labqdl {made.get('labqdl')}"
        if commit.get("id"):
            version += f", commit {commit['id'][:12]}{' with changes' if commit.get('changed') else ''}"
        facts = [
            ("model", f"{chosen.get('model')} (fingerprint {str(chosen.get('model_fingerprint'))[:16]})"),
            ("network", _shape(frame)),
            ("data", f"{chosen.get('data')} (digest {str(chosen.get('data_digest'))[:16]})"),
            (
                "images",
                f"{frame.images:,} in {counted(frame.n_blocks, 'block')} of {frame.block:,}; {len(blocks):,} done",
            ),
            ("link", str(chosen.get("link"))),
            *_station(manifest),
            ("light", _light(frame)),
            ("parties", parties),
            ("depth", str(chosen.get("depth"))),
            ("verification", _plan(frame)),
            ("randomness", str(manifest.get("randomness"))),
            ("begun", datetime.fromtimestamp(record.folder.created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
            ("version", version),
            (
                "machine",
                f"Python {made.get('python')}, numpy {made.get('numpy')}, scipy {made.get('scipy')}, "
                f"{made.get('platform')}",
            ),
            ("run", record.folder.run_id),
            ("frame digest", str(manifest.get("frame_digest"))),
            ("report by", f"labqdl {__version__}"),
        ]
        if result is not None and "seconds" in result:
            facts.insert(4, ("time", f"{float(result['seconds']):.1f} s of this machine"))
        return tuple(facts)

    def _world(self) -> Ledger | None:
        """The light path that was really there, where it is not the agreed one."""
        try:
            world = _ledger(self.record.manifest["world"])
        except (KeyError, TypeError, ValueError):  # of another version: the agreed one is all that can be told
            return None
        return None if world.components == self.record.frame.ledger.components else world


def _tests(documents: Iterable[Mapping[str, Any]]) -> tuple[TestResult, ...]:
    """Recorded tests; of entries of another version those that this one understands."""
    names = {entry.name for entry in fields(TestResult)}
    found = []
    for document in documents:
        try:
            found.append(TestResult(**{name: value for name, value in document.items() if name in names}))
        except TypeError:
            continue
    return tuple(found)


def _certificate(document: Mapping[str, Any] | None) -> Certificate | None:
    if document is None:
        return None
    names = {entry.name for entry in fields(Certificate)}
    try:
        chosen = {name: value for name, value in document.items() if name in names}
        return Certificate(**{**chosen, "failing": tuple(chosen.get("failing", ()))})
    except TypeError:
        return None


def _ledger(document: Mapping[str, Any]) -> Ledger:
    components = tuple(
        Component(**{**entry, "place": Place(entry["place"]), "owner": Owner(entry["owner"])})
        for entry in document["components"]
    )
    return Ledger(str(document["name"]), components)


def _accuracy(
    result: Mapping[str, Any] | None, found: say.Classification | say.Missing, images: int
) -> say.Accuracy | say.Missing:
    """The recorded accuracy; of a run without a result that of the blocks that there are."""
    if result is not None:
        interval = result.get("accuracy_interval")
        return say.Accuracy(
            int(result.get("images", images)),
            result.get("accuracy"),
            None if interval is None else (interval[0], interval[1]),
        )
    if isinstance(found, say.Missing):
        return say.Missing(found.reason) if images else say.Missing("no image came through all layers.")
    share, low, high = (float(part[-1]) for part in (found.accuracy, found.low, found.high))
    return say.Accuracy(int(found.images[-1]), share, (low, high))


def _predicted(
    network: Network | None, frame: FrameDescription, logits: Mapping[int, NDArray[np.floating[Any]]]
) -> tuple[tuple[str, int], ...]:
    """How often each class was predicted."""
    if not logits:
        return ()
    size = max(2, frame.layers[-1].rows)
    names = () if network is None else network.classes
    found = np.concatenate([predictions(values.astype(np.float32)) for _, values in sorted(logits.items())])
    counts = np.bincount(found, minlength=size)
    return tuple(
        (str(names[index]) if len(names) == size else str(index), int(count)) for index, count in enumerate(counts)
    )


def _line(kind: VerdictKind, reason: str, certificate: Certificate | None) -> str:
    """The verdict in one line for everybody."""
    if kind is VerdictKind.ACCEPT:
        return "The returned light agrees with an honest client, and what can have leaked is within the agreed budgets."
    if kind is VerdictKind.ABORT:
        if reason == Reason.CLIENT.value:
            return "The client ended the session: the light that it was sent is not what was agreed."
        return "The returned light is not that of an honest client on the agreed light path."
    if reason == Reason.BUDGET.value and certificate is not None:
        what = " and ".join(name.replace("_", " ") for name in certificate.failing)
        cause = f"; what raises it most: {certificate.limited_by}" if certificate.limited_by else ""
        return (
            f"The returned light agrees with an honest client, but no measurement can bring {what} within the agreed "
            f"budget{cause}."
        )
    if reason == Reason.SAMPLES.value and certificate is not None:
        more = f": about {certificate.more_symbols:,} more" if certificate.more_symbols else ""
        return (
            "The returned light agrees with an honest client so far, but too few symbols were measured to certify the "
            f"budgets{more}."
        )
    if reason == Reason.SAMPLES.value:
        return "Nothing of the returned light was measured, so nothing can be said about the client."
    return "The server has not come to a conclusion."


def _shape(frame: FrameDescription) -> str:
    sizes = [frame.layers[0].n_features, *(layer.rows for layer in frame.layers)]
    names = ", ".join(layer.activation.kind.value + (" with bias" if layer.bias else "") for layer in frame.layers)
    return f"{'-'.join(str(size) for size in sizes)} ({names})"


def _station(manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The station of a run and who answered there; nothing for an emulated link."""
    station = manifest.get("station")
    if not isinstance(station, Mapping):
        return ()
    simulated = station["simulated"]["instruments"]
    kind = f"{len(simulated)} of them simulated, seed {station['simulated']['seed']}" if simulated else "all real"
    boxes = (f"{name}: {one['maker']} {one['model']} {one['serial']}" for name, one in station["identities"].items())
    return (
        ("station", f"{station['name']}, profile {station['profile']} (digest {station['file_digest'][:16]})"),
        ("instruments", f"{kind}; {'; '.join(boxes)}"),
        ("calibrations", ", ".join(f"{name} {digest[:8]}" for name, digest in station["calibrations"].items())),
    )


def _light(frame: FrameDescription) -> str:
    """Light and tap in words; layers with light of their own are told one by one."""
    law = LinkLaw.from_ledger(frame.ledger, honest(frame.ledger, frame.tap))
    first = frame.layers[0].mu
    text = describe_point(OperatingPoint(first, frame.tap), to_db(signal_to_noise(law, first))).replace("= -", "= −")
    if any(layer.mu != first for layer in frame.layers):
        text += f" in the first layer; mu in all layers: {', '.join(f'{layer.mu:.6g}' for layer in frame.layers)}"
    return text


def _plan(frame: FrameDescription) -> str:
    plan, budgets = frame.plan, frame.budgets
    cumulative = (budgets.cumulative_bits_per_weight, budgets.cumulative_bits_per_feature)
    text = (
        f"{100 * plan.counting_fraction:g} % of the rows counted, false-alarm rate {number(plan.alpha)}, confidence "
        f"1 − {number(plan.delta)}; budgets for one use {budgets.bits_per_weight:g} bit per weight and "
        f"{budgets.bits_per_feature:g} bit per feature"
    )
    words = [
        f"{value:g} bit per {what}" for value, what in zip(cumulative, ("weight", "feature"), strict=True) if value
    ]
    return text + (f", for all uses {' and '.join(words)}" if words else "")
