"""Running and resuming: composes parties, link, record and engine, and joins their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from labqdl import __version__
from labqdl.api.accounting import RunAccounts
from labqdl.api.agreement import compare_documents, figures_of
from labqdl.api.bench import INCIDENT, RESUMED, CalibratedBench, Table, again, calibrated
from labqdl.api.blocks import (
    RunRecorder,
    check_outcomes,
    finished_blocks,
    load_checks,
    load_light,
    load_logits,
    record_refusal,
    refusal,
)
from labqdl.api.bounding import f2_db, with_any_probe
from labqdl.api.experiment import Experiment, configure, resolve
from labqdl.api.light_paths import TWIN, LightPath
from labqdl.api.obeying import Limits, Watcher
from labqdl.api.reading import other_version, recorded, recorded_frame
from labqdl.api.results import RunResult
from labqdl.config import ExperimentConfig
from labqdl.config.experiment import FIELDS
from labqdl.errors import InputError, LabqdlError, RecordError, Stopped
from labqdl.facts import FrameDescription, Ledger, Reason, TestResult, Verdict, VerdictKind
from labqdl.facts.monitor import POWER_MONITOR
from labqdl.link import EmulatedLink, Link, parse_channel, parse_client, parse_server
from labqdl.network import predictions
from labqdl.plans.infer import InferenceHandlers, infer
from labqdl.protocol import Client, Server
from labqdl.protocol.client import PARTING
from labqdl.protocol.guard import Guard, GuardSettings, complaint
from labqdl.records import Party, RunFolder, provenance
from labqdl.records.control import obeying
from labqdl.rng import Roots
from labqdl.security.accountant import BudgetExceeded
from labqdl.security.engines import anisotropic_bound, asymptotic_bounds
from labqdl.security.spectrum import Spectrum
from labqdl.sequencer import Engine, EngineState, StopRequested, print_plan, stop_on_signals
from labqdl.units import counted

if TYPE_CHECKING:
    from labqdl.subsystems import Incident

OnBlock = Callable[[int, int], None]
"""Called with blocks done and blocks in all."""

LoadLogits = Callable[[RunFolder, FrameDescription, int], NDArray[np.floating[Any]]]
"""Gives the network's outputs of a complete block: `load_logits`, or whoever computes them again."""

_ACCURACY_CONFIDENCE = 0.95


def run(
    experiment: str | Path | ExperimentConfig | None = None,
    /,
    *,
    on_block: OnBlock | None = None,
    folder: str | Path | None = None,
    table: Table | None = None,
    **settings: Any,
) -> RunResult:
    """Perform a secure inference on an emulated link, or on the instruments of a station, and record it.

    Without arguments: the 10,000 MNIST test digits through `mnist-robust` on the ideal link.

    Parameters
    ----------
    experiment:
        Experiment file (TOML), or its content.
    on_block:
        Told how many blocks are done, for progress bars.
    folder:
        The run folder itself; by default a new one with the time and the names in it, in the folder `out`.
    table:
        With a station: how it is opened and calibrated.
    settings:
        Keys of the experiment file, which win over it: model, data, labels, images, link, station, profile, mu,
        amplifier_gain, tap, tap_transmissivity, last_layer_db, client, server, channel, seed, out, accounts, tile,
        depth, block, max_symbols, max_seconds, counting_fraction, alpha, delta, cross_use, residual_share,
        bits_per_weight, bits_per_feature, cumulative_bits_per_weight, cumulative_bits_per_feature.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        For any mistake in what was given, and for a calibration that is stale; nothing is left on disk then.
    Stopped
        After Ctrl-C, `labqdl stop`, or at one of the run's own limits; finished blocks are on disk and `resume`
        completes the run.
    BenchStopped
        Where a part of the bench stands in the way; names it.
    BudgetExceeded
        Where an account over runs does not allow a block; the run is recorded as refused.
    """
    if isinstance(experiment, ExperimentConfig):
        config = configure(None, {**_given(experiment), **settings})
    else:
        config = configure(experiment, settings)
    chosen = resolve(config)
    if config.station is None:
        return _begin(chosen, folder, on_block)
    table = Table() if table is None else table
    with table.open(config.station, config.profile, arm=table.arm) as station:
        bench = table.bench or calibrated(
            station,
            str(chosen.station),
            mode=table.calibration,
            folder=table.folder,
            uncertified=table.uncertified,
            told=table.told,
        )
        return _begin(resolve(config, bench.light_path(config.mu)), folder, on_block, bench)


def _begin(
    chosen: Experiment, folder: str | Path | None, on_block: OnBlock | None, bench: CalibratedBench | None = None
) -> RunResult:
    path = Path(folder) if folder is not None else chosen.out / _run_name(chosen)
    frame = chosen.frame(session=path.name)
    roots = Roots.from_system() if chosen.seed is None else Roots.from_seed(chosen.seed)
    manifest = {
        "kind": "inference",
        "experiment": chosen.to_json(),
        "frame": frame.to_json(),
        "frame_digest": frame.digest,
        "world": asdict(chosen.world),
        "randomness": "operating system" if chosen.seed is None else f"seed {chosen.seed} (simulation)",
        "provenance": provenance.collect(),
    }
    if bench is not None:
        manifest["station"] = bench.to_json()
    with RunFolder.create(path, manifest, roots=(roots.server, roots.client, roots.world)) as record:
        if bench is not None:
            bench.keep(record)
        return carry_out(chosen, frame, record, on_block, bench)


def print_dry_run(
    experiment: str | Path | None, write: Callable[[str], object], *, limit: int = 40, **settings: Any
) -> None:
    """Hand the plan of a run, line by line, to `write`; no light flows and nothing is recorded.

    Parameters
    ----------
    experiment, settings:
        As for `run`.
    limit:
        Commands that are shown at most.
    """
    chosen = resolve(configure(experiment, settings))
    frame = chosen.frame(session="dry run")
    write(
        f"{counted(frame.images, 'image')} in {counted(frame.n_blocks, 'block')}, "
        f"{counted(frame.symbols_per_image, 'symbol')} an image each way"
    )
    print_plan(infer(frame), write, limit=limit)


def resume(path: str | Path, *, on_block: OnBlock | None = None, table: Table | None = None) -> RunResult:
    """Complete a run that was stopped or killed; a finished one gives its result again.

    No finished block is sent again. On an emulated link the result is bit-identical to that of an undisturbed run. On
    a station the instruments are opened again; they, its file and the calibrations have to be those that the run
    began with. The run's own limits of symbols and time are lifted: whoever resumes it has seen that they were met.

    Parameters
    ----------
    table:
        How a station is opened; its calibrations are those of the run.

    Raises
    ------
    InputError
        Where there is no run, its model or data cannot be found or have changed since, or the bench has.
    RecordError
        For a damaged folder; names the file.
    BudgetExceeded
        Where an account over runs does not allow a block, as it may have done before.
    """
    table = Table() if table is None else table
    with RunFolder.resume(path) as record, ExitStack() as stack:
        result = recorded_result(record)  # damage is named before any light flows
        chosen = experiment_of(record)
        frame = chosen.frame(session=str(record.manifest["frame"]["session"]))
        if frame.digest != recorded(record, "frame_digest"):
            raise RecordError(
                f"{record.path}/manifest.json: the frame that this version makes differs from the recorded one; "
                f"resume with labqdl {record.manifest['provenance'].get('labqdl')}"
            )
        chosen = replace(chosen, max_symbols=None, max_seconds=None)
        bench: CalibratedBench | None = None
        if chosen.instruments and result is None:
            station = stack.enter_context(table.open(str(chosen.station), chosen.profile, arm=table.arm))
            bench = again(station, record, uncertified=table.uncertified)
            bench.keep_snapshot(record)
            record.event(RESUMED, uncertified=list(bench.marks))
        return carry_out(chosen, frame, record, on_block, bench)


def _given(config: ExperimentConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in FIELDS if getattr(config, name) is not None}


def _run_name(experiment: Experiment) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return f"{stamp}-{experiment.network.name}-{experiment.link}"


def experiment_of(record: RunFolder) -> Experiment:
    """The experiment of a recorded run, built again from its manifest.

    Raises
    ------
    InputError
        Where its model or data cannot be found or have changed since.
    RecordError
        Where the manifest is one of another version.
    """
    settings, frame = recorded(record, "experiment"), recorded(record, "frame")
    try:
        config = _recorded_config(settings, frame)
        digests = settings["model_fingerprint"], settings["data_digest"]
    except (KeyError, TypeError) as error:
        raise other_version(record, "its settings", repr(error)) from None
    chosen = resolve(config, _recorded_path(record, settings))
    for what, source, found, expected in (
        ("model", chosen.model_source, chosen.network.fingerprint, digests[0]),
        ("data", chosen.data_source, chosen.data_digest, digests[1]),
    ):
        if found != expected:
            raise InputError(
                f"the {what} is not the one that run {record.path} began with",
                source=source,
                expected=f"fingerprint {expected[:16]}, found {found[:16]}",
            )
    return chosen


def _recorded_path(record: RunFolder, settings: Mapping[str, Any]) -> LightPath | None:
    """The light path of a station's run, as recorded: its calibrations may be others now. None for a plain link."""
    source = str(settings["link_source"])
    instruments = "station" in record.manifest
    if not (instruments or source.startswith(TWIN)):
        return None
    frame = recorded_frame(record)
    parts = tuple(part for part in frame.ledger.components if part.name != POWER_MONITOR)
    ledger = Ledger(frame.ledger.name, parts)
    return LightPath(str(settings["link"]), source, ledger, None, frame.tile, station=True, instruments=instruments)


def _recorded_config(settings: Mapping[str, Any], frame: Mapping[str, Any]) -> ExperimentConfig:
    """The settings of a recorded run, as a file or options would give them."""
    tap = frame["tap"]
    return ExperimentConfig(
        model=settings["model"],
        data=settings["data"],
        labels=settings["labels"],
        images=settings["images"],
        link=None if settings.get("station") else settings["link_source"],
        station=settings.get("station"),
        profile=settings.get("profile"),
        mu=settings.get("mu", frame["layers"][0]["mu"]),  # older records hold it in the frame only
        last_layer_db=settings.get("last_layer_db"),
        tap=tap["kind"],
        amplifier_gain=tap["amplifier_gain"] if tap["kind"] == "amplifier" else None,
        tap_transmissivity=tap["tap_transmissivity"],
        client=settings["client"],
        channel=settings["channel"],
        server=settings["server"],
        seed=settings["seed"],
        tile=settings.get("tile"),
        max_symbols=settings.get("max_symbols"),
        max_seconds=settings.get("max_seconds"),
        depth=settings["depth"],
        block=frame["block"],
        vacuum_slots=frame["vacuum_slots"],
        check_vectors=frame["check_vectors"],
        monitor_fraction=settings["monitor_fraction"],
        accounts=settings.get("accounts"),
        **frame["plan"],
        **frame["budgets"],
    )


def carry_out(
    experiment: Experiment,
    frame: FrameDescription,
    record: RunFolder,
    on_block: OnBlock | None = None,
    bench: CalibratedBench | None = None,
) -> RunResult:
    """Do what is left of a run in a folder that is open for writing, and join the result."""
    # One BLAS thread: the order of summation, and with it every bit, then depends on the shapes alone.
    with threadpool_limits(limits=1, user_api="blas"):
        return _carry_out_blocks(experiment, frame, record, on_block, bench)


def _open_link(
    experiment: Experiment, record: RunFolder, bench: CalibratedBench | None, exposed: Callable[[int], None]
) -> Link:
    """The light between the parties: instruments, or their exact emulation.

    `exposed` is told of a block of which light flowed in vain, before any of it is sent again.
    """
    if bench is not None:

        def incident(found: Incident) -> None:
            record.event(INCIDENT, **asdict(found))
            if found.rows and found.again:
                exposed(found.block)

        return bench.link(record.party(Party.SERVER).root(), incident)
    return EmulatedLink(
        experiment.world,
        record.party(Party.WORLD).root(),
        client=parse_client(experiment.client),
        channel=parse_channel(experiment.channel),
        server=parse_server(experiment.server),
        depth=experiment.depth,
    )


def _carry_out_blocks(
    experiment: Experiment,
    frame: FrameDescription,
    record: RunFolder,
    on_block: OnBlock | None,
    bench: CalibratedBench | None,
) -> RunResult:
    started = time.perf_counter()
    done = finished_blocks(record)
    server = restored_server(experiment, frame, record, done)
    client = Client(experiment.prepared, record.party(Party.CLIENT).root())
    check_outcomes(record, frame, done)
    complete = [block for block, whole in done.items() if whole]
    client.restore(((block, load_logits(record, frame, block)) for block in complete), load_checks(record, complete))
    total, count = frame.n_blocks, len(done)
    accounts: RunAccounts | None = None
    limits: Limits | None = None

    def exposed(block: int) -> None:
        if accounts is not None:
            accounts.again(block)

    def finished(block: int) -> None:
        nonlocal count
        count += 1
        if accounts is not None and not server.aborted:
            accounts.settle(block)
        if on_block is not None:
            on_block(count, total)
        if limits is not None:
            limits.after(block)

    if not server.aborted and len(done) < total:
        link = _open_link(experiment, record, bench, exposed)
        watcher, cut_short = Watcher(record, link), False
        try:
            with ExitStack() as stack:
                folder = experiment.accounts_beside(record.path)
                if folder is not None:
                    accounts = stack.enter_context(
                        RunAccounts(
                            folder,
                            record.run_id,
                            record.path.name,
                            frame,
                            experiment.network,
                            server.light,
                            experiment.dataset.data,
                            finished=done,
                        )
                    )
                handlers = InferenceHandlers(
                    server, client, link, RunRecorder(record), accountant=accounts, on_block=finished
                )
                engine = Engine(handlers.table(), observer=watcher)
                watcher.engine = engine
                limits = Limits(frame, engine, done, experiment.max_symbols, experiment.max_seconds)
                stack.enter_context(stop_on_signals(watcher))
                stack.enter_context(obeying(record.path, watcher.obey))
                with suppress(StopRequested):  # where a limit was met before the first block
                    engine.run(infer(frame, finished=done))
        except BudgetExceeded as error:
            if refusal(record) is None:
                record_refusal(record, count, str(error))
                raise
            raise BudgetExceeded(
                f"{record.path} was refused before, and is again, as a resumed run keeps its budget: {error}"
            ) from None
        except LabqdlError as error:
            # Behind a request to stop, instruments refuse to let anything out: that block is not finished any more.
            if not watcher.asked:
                if bench is not None:
                    part = getattr(error, "part", None)
                    record.commit("stopped", blocks=count, reason=str(error), **({"part": part} if part else {}))
                raise
            cut_short = True
        if cut_short or engine.state is EngineState.STOPPED:
            reason = watcher.reason if limits is None else limits.reason or watcher.reason
            record.commit("stopped", blocks=count, **({"reason": reason} if reason else {}))
            words = f" ({reason})" if reason else ""
            raise Stopped(
                f"stopped after {count} of {counted(total, 'block')}{words}; 'labqdl resume {record.path}' completes "
                "the run"
            )
    result = joined_result(experiment, frame, server, record, time.perf_counter() - started)
    _save_result(record, result)
    return result


def restored_server(
    experiment: Experiment, frame: FrameDescription, record: RunFolder, blocks: Iterable[int]
) -> Server:
    """The server as it stands after these blocks, from its own records and from what the client told it."""
    server = Server(experiment.network, frame, record.party(Party.SERVER).root())
    records = ((layer, block, light) for block in blocks for layer, light in load_light(record, frame, block).items())
    alarmed = not all(test.passed for test in client_findings(frame, record))
    server.restore(records, ended=PARTING if alarmed else None)
    return server


def client_findings(frame: FrameDescription, record: RunFolder) -> tuple[TestResult, ...]:
    """The client's own tests of the light that it was sent, from its records of finished blocks."""
    guard = Guard(GuardSettings(), frame, record.party(Party.CLIENT).root())
    guard.restore(load_checks(record, finished_blocks(record)))
    return guard.findings


def joined_result(
    experiment: Experiment,
    frame: FrameDescription,
    server: Server,
    record: RunFolder,
    seconds: float,
    logits: LoadLogits = load_logits,
) -> RunResult:
    """What server and client know after a run's finished blocks, joined; `logits` gives those of a complete block."""
    blocks = finished_blocks(record)
    findings = client_findings(frame, record)
    complete = [block for block, whole in blocks.items() if whole]
    accuracy, interval, images = _accuracy(experiment, frame, record, complete, logits)
    # Light that an aborted block sent has been used as well.
    uses = max(1, sum(frame.block_vectors(block) for block in blocks))
    tested = server.verifier.cross_use() is not None
    bounds = asymptotic_bounds(frame.layers, frame.tap, frame.ledger, weight_uses=uses, cross_use_tested=tested)
    certified = server.verifier.bounds()
    spectra = [light.spectrum or Spectrum.unknown() for light in server.light]
    steered = tuple(
        anisotropic_bound(frame.layers, spectra, frame.tap, frame.ledger, uses=number, cross_use_tested=tested)
        for number in dict.fromkeys((1, uses))
    )
    return RunResult(
        run=record.path,
        model=experiment.network.name,
        link=experiment.link,
        client=experiment.client,
        images=images,
        accuracy=accuracy,
        accuracy_interval=interval,
        f2_db=f2_db(experiment.point, frame.ledger),
        operating_point=experiment.point,
        verdict=session_verdict(server.verdict(), findings),
        findings=findings,
        server=experiment.server,
        channel=experiment.channel,
        leakage=with_any_probe((*bounds, *certified, *steered), frame.layers, frame.tap, frame.ledger),
        seconds=seconds,
        seed=experiment.seed,
        station=experiment.station if experiment.instruments else None,
        uncertified=uncertified_reasons(record),
    )


def uncertified_reasons(record: RunFolder) -> tuple[str, ...]:
    """Why figures of a run on a station are not certified: what was known when it began, or was resumed."""
    station = record.manifest.get("station")
    if not isinstance(station, Mapping):
        return ()
    reasons = list(station.get("uncertified", ()))
    for event in record.events():
        if event.kind == RESUMED:
            reasons += event.fields.get("uncertified", ())
    return tuple(dict.fromkeys(map(str, reasons)))


def session_verdict(verdict: Verdict, findings: Sequence[TestResult]) -> Verdict:
    """The server's verdict, or that the client ended the session on evidence of its own, which only it knows."""
    failed = [test for test in findings if not test.passed]
    if not failed:
        return verdict
    words = f"The client has ended the session, and told the server no more than that: {complaint(failed)}."
    return replace(verdict, kind=VerdictKind.ABORT, reason=Reason.CLIENT, explanation=words)


def _accuracy(
    experiment: Experiment, frame: FrameDescription, record: RunFolder, complete: list[int], logits: LoadLogits
) -> tuple[float | None, tuple[float, float] | None, int]:
    """Accuracy with its interval over finished blocks, and how many images those have."""
    labels = experiment.dataset.labels
    right = images = 0
    for block in complete:
        chosen = frame.block_images(block)
        images += len(chosen)
        if labels is not None:
            found = predictions(logits(record, frame, block).astype(np.float32, copy=False))
            right += int(np.count_nonzero(found == labels[chosen.start : chosen.stop]))
    if labels is None or not images:
        return None, None, images
    interval = stats.binomtest(right, images).proportion_ci(_ACCURACY_CONFIDENCE, method="exact")
    return right / images, (float(interval.low), float(interval.high)), images


def recorded_result(record: RunFolder) -> dict[str, Any] | None:
    """The result that a run came to, None where it has none yet; RecordError names the file where it is damaged."""
    world = record.party(Party.WORLD)
    if not world.has_json("result"):
        return None
    result = world.load_json("result")
    if not isinstance(result, dict):
        raise RecordError(f"{record.path}/world/result.json: damaged, it holds no result")
    return result


def _save_result(record: RunFolder, result: RunResult) -> None:
    """Keep the joined result. One that is there already stays as it is and must say the same."""
    recorded = recorded_result(record)
    if recorded is None:
        record.party(Party.WORLD).save_json("result", result.to_json())
    else:
        figures = compare_documents(figures_of(recorded), figures_of(result.to_json()))
        wrong = next((figure for figure in figures if not figure.agrees), None)
        if wrong is not None:
            raise RecordError(
                f"{record.path}/world/result.json: says {wrong.name} = {wrong.recorded}, but from the record labqdl "
                f"{__version__} computes {wrong.recomputed}; the run was recorded by labqdl "
                f"{record.manifest['provenance'].get('labqdl')}. 'labqdl replay {record.path}' compares every figure"
            )
    if recorded is None or all(event.kind != "result" for event in record.events()):
        record.commit("result", verdict=result.verdict.kind.value)
