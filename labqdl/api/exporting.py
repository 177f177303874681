"""A run as one HDF5 or NetCDF file with named dimensions and units, for people who do not have labqdl.

`describe` says which variables there are and where their numbers come from, block by block, so that memory does not
grow with the run; `export_files` puts the same description into either format. Root entropy is never exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl import __version__
from labqdl.api.blocks import (
    STATISTICS_DTYPE,
    finished_blocks,
    load_check_outcomes,
    load_checks,
    load_light,
    load_logits,
    load_outcomes,
)
from labqdl.api.export_files import Description, Pieces, Variable, check_target, write
from labqdl.api.reading import RecordedRun, open_run
from labqdl.errors import InputError
from labqdl.facts import ReturnedLight
from labqdl.network import predictions
from labqdl.protocol.guard import GuardRecord
from labqdl.records import Party

EXPORT_SCHEMA = "labqdl.export/1"

JOINED = "simulation only: joins what server and client keep from each other"

_SERVER_RESULT = ("model", "link", "verdict", "consistency", "certificate", "reason", "operating_point", "leakage")
_CLIENT_RESULT = (
    "link", "images", "accuracy", "accuracy_interval", "verdict", "client_checks", "operating_point",
)  # fmt: skip
_SERVER_SETTINGS = ("model", "model_fingerprint", "link", "link_source", "server", "depth")
_CLIENT_SETTINGS = ("data", "labels", "data_digest", "images", "link", "link_source", "client")
_PUBLIC_MANIFEST = ("kind", "frame", "frame_digest", "provenance")

_STATISTICS: Mapping[str, tuple[str, str]] = {
    "counted": ("1", "row was counted; otherwise it was homodyned"),
    "sum_qq": ("SNU", "sum of q^2 over the homodyned quadratures"),
    "sum_qr": ("SNU", "sum of q r, r the residual of a homodyned quadrature"),
    "sum_rr": ("SNU", "sum of r^2"),
    "sum_jj": ("SNU", "sum of (Jq)^2 over the homodyned quadratures, J the quarter turn of every mode"),
    "sum_jr": ("SNU", "sum of (Jq) r"),
    "residuals": ("1", "homodyned quadratures; 0 where the row was counted or no light was sent"),
    "photons": ("1", "photons counted"),
    "slots": ("1", "mode slots counted; 0 where the row was homodyned or no light was sent"),
    "expected_photons_signal": ("1", "photons of the sent light that were nulled"),
}
"""Columns of the server's statistics, one line a row: units and meaning."""

_BLOCK_STATISTICS: Mapping[str, tuple[str, str]] = {
    "images": ("1", "data vectors of the block that met this layer, check vectors included"),
    "vacuum_squares": ("SNU", "sum of the squares of the server's own vacuum slots"),
    "vacuum_slots": ("1", "vacuum slots measured"),
}
"""Columns of which a block has one number a layer."""

_CHECKS: Mapping[str, tuple[str, str]] = {
    "vectors": ("1", "data vectors that met the light, check vectors included"),
    "photons": ("1", "photons that the client's power meter counted"),
    "exposure": ("1", "photons that it must count at the agreed power"),
    "brightest_row": ("1", "photons of the brightest row"),
    "out_of_band": ("1", "photons outside of the band"),
    "dark_counts": ("1", "mean number of darks among them"),
    "energy": ("SNU", "sum of the squared outcomes"),
    "repeats": ("SNU", "sum of the squared deviations of repeated outcomes from their mean"),
    "degrees": ("1", "degrees of freedom of the repeated outcomes"),
}


def export(path: str | Path, target: str | Path, *, party: str | None = None, overwrite: bool = False) -> Path:
    """Write a run's record into one file.

    Parameters
    ----------
    path:
        The run folder.
    target:
        File to write: NAME.h5 or NAME.hdf5 (HDF5), NAME.nc or NAME.nc4 (NetCDF). Whole or not at all; the same run
        gives the same bytes.
    party:
        `server` or `client`: only what that party knows. By default both joined, which only a simulation has.
    overwrite:
        Replace a file of that name.

    Raises
    ------
    InputError
        Where there is no run, for another ending or party, for a file that exists, and where the extra is missing.
    RecordError
        For a damaged run; names the file.
    """
    target = Path(target)
    check_target(target, overwrite=overwrite)
    if party not in (None, Party.SERVER.value, Party.CLIENT.value):
        raise InputError(f"there is no party '{party}'", source="--party", expected="server or client")
    return write(target, describe(open_run(path), None if party is None else Party(party)))


def describe(run: RecordedRun, party: Party | None) -> Description:
    """What the file of a run will hold."""
    blocks = finished_blocks(run.folder)
    images = [index for block in blocks for index in run.frame.block_images(block)]
    sizes: dict[str, int] = {"block": len(blocks), "image": len(images), "layer": len(run.frame.layers)}
    variables = [
        _whole("block", ("block",), list(blocks), "1", "number of a finished block"),
        _whole("image", ("image",), images, "1", "index of a data vector"),
        _whole("layer", ("layer",), range(1, len(run.frame.layers) + 1), "1", "number of a layer, from 1"),
        _whole("block_complete", ("block",), list(blocks.values()), "1", "all layers were done; else a party ended it"),
        _whole("block_of_image", ("image",), [b for b in blocks for _ in run.frame.block_images(b)], "1", "its block"),
        *_layers(run),
        *_events(run, sizes),
    ]
    if party in (None, Party.SERVER):
        variables += _server_variables(run, blocks, sizes)
    if party in (None, Party.CLIENT):
        variables += _client_variables(run, blocks, sizes)
    return Description(sizes, tuple(variables), _attributes(run, party))


# -- variables ------------------------------------------------------------------------------------------------------


def _whole(name: str, axes: tuple[str, ...], values: Iterable[Any], units: str, long_name: str) -> Variable:
    """A small variable that is there at once."""
    array = np.asarray(list(values))
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    elif array.dtype.kind in "iu" or not array.size:
        array = array.astype(np.int64)
    return Variable(name, axes, array.dtype, units, long_name, lambda: iter([(slice(0, len(array)), array)]))


def _layers(run: RecordedRun) -> list[Variable]:
    layers = run.frame.layers
    axes = ("layer",)
    return [
        _whole("layer_rows", axes, [layer.rows for layer in layers], "1", "rows of weights"),
        _whole("layer_features", axes, [layer.n_features for layer in layers], "1", "entries of a data vector"),
        _whole("layer_modes", axes, [layer.n_modes for layer in layers], "1", "complex modes of a row"),
        _whole("layer_mu", axes, [layer.mu for layer in layers], "1", "mean photons per mode at the server's output"),
    ]


def _events(run: RecordedRun, sizes: dict[str, int]) -> list[Variable]:
    events = run.events()
    sizes["event"] = len(events)
    return [
        _whole("event", ("event",), range(len(events)), "1", "number of an event in the log"),
        _whole("event_time", ("event",), [e.time for e in events], "seconds since 1970-01-01", "when it was written"),
        _words("event_kind", ("event",), [e.kind for e in events], "what happened"),
        _words("event_data", ("event",), [_json(dict(e.fields)) for e in events], "what was told with it, as JSON"),
    ]


def _words(name: str, axes: tuple[str, ...], values: Sequence[str], long_name: str) -> Variable:
    array = np.array(list(values), dtype=object)
    return Variable(name, axes, array.dtype, "", long_name, lambda: iter([(slice(0, len(array)), array)]))


def _axis(name: str, size: int, long_name: str, sizes: dict[str, int]) -> Variable:
    sizes[name] = size
    return _whole(name, (name,), range(size), "1", long_name)


def _server_variables(run: RecordedRun, blocks: Mapping[int, bool], sizes: dict[str, int]) -> list[Variable]:
    variables = []
    sampled = _sampled(run, blocks)
    for index, layer in enumerate(run.frame.layers):
        name, words = f"layer{index + 1}", f"of layer {index + 1}"
        row, mode = f"{name}_row", f"{name}_mode"
        if row not in sizes:
            variables.append(_axis(row, layer.rows, f"row {words}", sizes))
        if mode not in sizes:
            variables.append(_axis(mode, layer.n_modes, f"mode {words}", sizes))
        for column, (units, long_name) in (*_STATISTICS.items(), *_BLOCK_STATISTICS.items()):
            axes = ("block", row) if column in _STATISTICS else ("block",)
            take = _column(column)
            variables.append(
                Variable(
                    f"{name}_{column}",
                    axes,
                    STATISTICS_DTYPE[column],
                    units,
                    long_name,
                    _by_block(run, blocks, index, take),
                )
            )
        if run.frame.plan.cross_use:
            long_name = "residuals of each weight, summed over the block's uses; NaN where the row was counted"
            variables.append(
                Variable(
                    f"{name}_use_sum",
                    ("block", row, mode),
                    np.dtype("<f4"),
                    "SNU^(1/2)",
                    long_name,
                    _by_block(run, blocks, index, _use_sums),
                )
            )
        if sampled[index]:
            axis = f"{name}_sample"
            variables.append(_axis(axis, len(sampled[index]), f"sampled vector {words}", sizes))
            numbers, places = zip(*sampled[index], strict=True)
            words = "place among the block's vectors, check vectors included"
            variables.append(_whole(f"{axis}_block", (axis,), numbers, "1", "its block"))
            variables.append(_whole(f"{axis}_place", (axis,), places, "1", words))
            variables.append(
                Variable(
                    f"{axis}_residual",
                    (axis, row, mode),
                    np.dtype("<f4"),
                    "SNU^(1/2)",
                    "every residual of a sampled vector; NaN where the row was counted",
                    _samples(run, blocks, index),
                )
            )
    return variables


def _sampled(run: RecordedRun, blocks: Mapping[int, bool]) -> list[list[tuple[int, int]]]:
    """Block and place of the vectors of which the server kept every residual, by layer.

    The server cannot tell images from check vectors, so neither can its file.
    """
    found: list[list[tuple[int, int]]] = [[] for _ in run.frame.layers]
    if run.frame.plan.residual_share:
        for block in blocks:
            for layer, light in load_light(run.folder, run.frame, block).items():
                if light.sample is not None:
                    found[layer] += [(block, int(place)) for place in light.sample.images]
    return found


def _by_block(
    run: RecordedRun, blocks: Mapping[int, bool], layer: int, take: Callable[[ReturnedLight], NDArray[Any]]
) -> Pieces:
    """One line a block; nothing where a block did not come to the layer."""

    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        for place, block in enumerate(blocks):
            light = load_light(run.folder, run.frame, block).get(layer)
            if light is not None:
                yield slice(place, place + 1), take(light)

    return pieces


def _column(name: str) -> Callable[[ReturnedLight], NDArray[Any]]:
    """Takes one column of the statistics."""
    return lambda light: np.asarray(getattr(light.statistics, name))[None]


def _use_sums(light: ReturnedLight) -> NDArray[Any]:
    if light.use_sums is None:
        return np.full((1, light.statistics.counted.size, 1), np.nan, np.float32)
    sums = light.use_sums.sums.astype(np.float32)
    sums[light.statistics.counted] = np.nan
    return sums[None]


def _samples(run: RecordedRun, blocks: Mapping[int, bool], layer: int) -> Pieces:
    rows, modes = run.frame.layers[layer].rows, run.frame.layers[layer].n_modes

    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        start = 0
        for block in blocks:
            light = load_light(run.folder, run.frame, block).get(layer)
            if light is None or light.sample is None:
                continue
            part = np.full((light.sample.images.size, rows, modes), np.nan, np.float32)
            part[:, light.sample.rows] = light.sample.residuals
            yield slice(start, start + len(part)), part
            start += len(part)

    return pieces


def _client_variables(run: RecordedRun, blocks: Mapping[int, bool], sizes: dict[str, int]) -> list[Variable]:
    variables = []
    start = 0
    for index, layer in enumerate(run.frame.layers):
        name, row = f"layer{index + 1}", f"layer{index + 1}_row"
        if row not in sizes:
            variables.append(_axis(row, layer.rows, f"row of layer {index + 1}", sizes))
        variables.append(
            Variable(
                f"{name}_outcome",
                ("image", row),
                np.dtype("<f4"),
                "SNU^(1/2)",
                "outcome of the client's homodyne receiver; NaN where the session had ended",
                _outcomes(run, blocks, start, start + layer.rows),
            )
        )
        if run.frame.check_vectors:
            if "check" not in sizes:
                variables.append(_axis("check", run.frame.check_vectors, "check vector of a block", sizes))
            variables.append(
                Variable(
                    f"{name}_check_outcome",
                    ("block", "check", row),
                    np.dtype("<f4"),
                    "SNU^(1/2)",
                    "outcome of a check vector of the client; NaN where the session had ended",
                    _check_outcomes(run, blocks, start, start + layer.rows),
                )
            )
        start += layer.rows
    variables.append(_axis("output", run.frame.layers[-1].rows, "output of the network", sizes))
    scale = run.frame.layers[-1].published_scale
    words = "what the network answers" + ("" if scale else ", up to the scale that the server keeps")
    variables += [
        Variable("logit", ("image", "output"), np.dtype("<f4"), "1", words, _logits(run, blocks)),
        Variable(
            "prediction",
            ("image",),
            np.dtype("<i8"),
            "1",
            "class of the largest output; -1 where the session had ended",
            _predictions(run, blocks),
        ),
    ]
    if any(run.folder.party(Party.CLIENT).has_json(f"blocks/{block:06d}-checks") for block in blocks):
        records = {(record.layer, record.block): record for record in load_checks(run.folder, blocks)}
        if records:
            variables += [_check(run, blocks, records, column) for column in _CHECKS]
    return variables


def _check(
    run: RecordedRun, blocks: Mapping[int, bool], records: Mapping[tuple[int, int], GuardRecord], column: str
) -> Variable:
    """One sum of the client's own checks, by block and layer; 0 where a block did not come to the layer."""
    units, long_name = _CHECKS[column]
    values = np.array(
        [
            [getattr(records[layer, block], column) if (layer, block) in records else 0 for layer, _ in _numbered(run)]
            for block in blocks
        ]
    )
    return _whole(f"check_{column}", ("block", "layer"), values, units, f"client's own checks: {long_name}")


def _numbered(run: RecordedRun) -> Iterable[tuple[int, Any]]:
    return enumerate(run.frame.layers)


def _outcomes(run: RecordedRun, blocks: Mapping[int, bool], low: int, high: int) -> Pieces:
    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        for place, block, complete in _places(run, blocks):
            outcomes = load_outcomes(run.folder, run.frame, block, complete=complete)
            if outcomes.shape[1] >= high:
                yield place, outcomes[:, low:high].astype(np.float32)

    return pieces


def _check_outcomes(run: RecordedRun, blocks: Mapping[int, bool], low: int, high: int) -> Pieces:
    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        for place, (block, complete) in enumerate(blocks.items()):
            if complete:
                outcomes = load_check_outcomes(run.folder, run.frame, block)
                yield slice(place, place + 1), outcomes[None, :, low:high].astype(np.float32)

    return pieces


def _logits(run: RecordedRun, blocks: Mapping[int, bool]) -> Pieces:
    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        for place, block, complete in _places(run, blocks):
            if complete:
                yield place, load_logits(run.folder, run.frame, block).astype(np.float32)

    return pieces


def _predictions(run: RecordedRun, blocks: Mapping[int, bool]) -> Pieces:
    def pieces() -> Iterator[tuple[slice, NDArray[Any]]]:
        for place, block, complete in _places(run, blocks):
            if complete:
                logits = load_logits(run.folder, run.frame, block).astype(np.float32)
                yield place, predictions(logits).astype(np.int64)
            else:
                yield place, np.full(place.stop - place.start, -1, dtype=np.int64)

    return pieces


def _places(run: RecordedRun, blocks: Mapping[int, bool]) -> Iterator[tuple[slice, int, bool]]:
    """Where each block's images stand among those of the file."""
    start = 0
    for block, complete in blocks.items():
        size = len(run.frame.block_images(block))
        yield slice(start, start + size), block, complete
        start += size


# -- attributes -----------------------------------------------------------------------------------------------------


def _attributes(run: RecordedRun, party: Party | None) -> dict[str, str]:
    manifest, result = dict(run.manifest), _result(run)
    if party is not None:
        settings = dict(manifest.get("experiment") or {})
        kept = _SERVER_SETTINGS if party is Party.SERVER else _CLIENT_SETTINGS
        manifest = {name: manifest[name] for name in _PUBLIC_MANIFEST if name in manifest}
        manifest["experiment"] = {name: settings[name] for name in kept if name in settings}
        result = None if result is None else _known(result, party)
    return {
        "Conventions": "CF-1.11",
        "title": f"labqdl run {run.folder.run_id}",
        "source": f"labqdl {__version__}",
        "schema": EXPORT_SCHEMA,
        "run_id": run.folder.run_id,
        "created": datetime.fromtimestamp(run.folder.created, UTC).isoformat(),
        "party": "joined" if party is None else party.value,
        "notice": JOINED if party is None else f"only what the {party} knows",
        "manifest": _json(manifest),
        "result": _json(result),
    }


def _known(result: Mapping[str, Any], party: Party) -> dict[str, Any]:
    """The part of the joined result that one party knows."""
    if party is Party.SERVER:
        return {name: result[name] for name in _SERVER_RESULT if name in result}
    known = {name: result[name] for name in _CLIENT_RESULT if name in result}
    # The server's notice says verdict and kind of reason; the figures behind them stay with the server.
    known["reason"] = {"kind": result["reason"]["kind"]}
    known["leakage"] = {"data": result["leakage"]["data"]}
    return known


def _result(run: RecordedRun) -> dict[str, Any] | None:
    return run.result if run.finished else None


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
