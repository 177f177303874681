"""A run as one HDF5 or NetCDF file with named dimensions and units, for people who do not have labqdl.

`describe` says which variables there are and where their numbers come from, block by block, so that memory does not
grow with the run; `export_files` puts the same description into either format. Root entropy is never exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

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
from labqdl.api.export_files import ENDINGS, Description, Piece, Variable, write
from labqdl.api.places import file_place
from labqdl.api.reading import RecordedRun, open_run
from labqdl.errors import InputError
from labqdl.network import predictions
from labqdl.records import Party

EXPORT_SCHEMA = "labqdl.export/1"

_SINGLE = np.dtype("<f4")

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
    target = file_place(target, "FILE", endings=ENDINGS, overwrite=overwrite)
    if party not in (None, Party.SERVER.value, Party.CLIENT.value):
        raise InputError(f"there is no party '{party}'", source="--party", expected="server or client")
    return write(target, describe(open_run(path), None if party is None else Party(party)))


def describe(run: RecordedRun, party: Party | None) -> Description:
    """What the file of a run will hold."""
    table = _Table(run)
    table.public()
    if party in (None, Party.SERVER):
        table.server()
    if party in (None, Party.CLIENT):
        table.client()
    return Description(table.sizes, tuple(table.variables), table.pieces, _attributes(run, party))


# -- variables ------------------------------------------------------------------------------------------------------


class _Table:
    """Collects axes and variables, and knows where the numbers of each block come from."""

    def __init__(self, run: RecordedRun) -> None:
        self.sizes: dict[str, int] = {}
        self.variables: list[Variable] = []
        self._run = run
        self._frame = run.frame
        self._blocks = finished_blocks(run.folder)
        self._samples_before: dict[tuple[int, int], int] = {}
        self._sources: list[Callable[[int, int, slice], Iterator[Piece]]] = []

    def pieces(self) -> Iterator[Piece]:
        """Numbers of all variables that grow with the run, block by block: name, place on the first axis, values."""
        start = 0
        for place, block in enumerate(self._blocks):
            images = slice(start, start + len(self._frame.block_images(block)))
            for source in self._sources:
                yield from source(place, block, images)
            start = images.stop

    # -- what anybody knows ----------------------------------------------------------------------------------------

    def public(self) -> None:
        """Blocks, images, layers and the log."""
        frame, blocks = self._frame, self._blocks
        images = {index: block for block in blocks for index in frame.block_images(block)}
        self._axis("block", list(blocks), "number of a finished block")
        self._axis("image", list(images), "index of a data vector")
        self._axis("layer", range(1, len(frame.layers) + 1), "number of a layer, from 1")
        self._whole("block_complete", ("block",), list(blocks.values()), "1", "all layers done; else a party ended it")
        self._whole("block_of_image", ("image",), list(images.values()), "1", "its block")
        for name, long_name in (
            ("rows", "rows of weights"),
            ("n_features", "entries of a data vector"),
            ("n_modes", "complex modes of a row"),
            ("mu", "mean photons per mode at the server's output"),
        ):
            values = [getattr(layer, name) for layer in frame.layers]
            self._whole(f"layer_{name.removeprefix('n_')}", ("layer",), values, "1", long_name)
        events = self._run.events()
        self._axis("event", range(len(events)), "number of an event in the log")
        times = np.array([event.time for event in events], dtype=np.float64)
        self._whole("event_time", ("event",), times, "seconds since 1970-01-01", "when it was written")
        kinds = np.array([event.kind for event in events], dtype=object)
        self._whole("event_kind", ("event",), kinds, "", "what happened")
        told = np.array([_json(dict(event.fields)) for event in events], dtype=object)
        self._whole("event_data", ("event",), told, "", "what was told with it, as JSON")

    def _whole(self, name: str, axes: tuple[str, ...], values: Any, units: str, long_name: str) -> None:
        """A small variable that is there at once."""
        array = np.asarray(values)
        if array.dtype.kind in "iu" or not array.size:
            array = array.astype(np.int64)
        self.variables.append(Variable(name, axes, array.dtype, units, long_name, array))

    def _grown(self, name: str, axes: tuple[str, ...], dtype: np.dtype[Any], units: str, long_name: str) -> None:
        """A variable that comes block by block."""
        self.variables.append(Variable(name, axes, dtype, units, long_name))

    def _axis(self, name: str, values: Sequence[int], long_name: str) -> None:
        if name not in self.sizes:
            self.sizes[name] = len(values)
            self._whole(name, (name,), np.array(list(values), dtype=np.int64), "1", long_name)

    # -- what the server knows -------------------------------------------------------------------------------------

    def server(self) -> None:
        """Statistics, sums over uses and kept residuals."""
        sampled = self._sampled()
        for index, layer in enumerate(self._frame.layers):
            name, words = f"layer{index + 1}", f"of layer {index + 1}"
            row, mode, sample = (f"{name}_{axis}" for axis in ("row", "mode", "sample"))
            self._axis(row, range(layer.streamed_rows), f"row {words}" if layer.tiles == 1 else f"tile and row {words}")
            for column, (units, long_name) in _STATISTICS.items():
                self._grown(f"{name}_{column}", ("block", row), STATISTICS_DTYPE[column], units, long_name)
            for column, (units, long_name) in _BLOCK_STATISTICS.items():
                self._grown(f"{name}_{column}", ("block",), STATISTICS_DTYPE[column], units, long_name)
            if self._frame.plan.cross_use or sampled[index]:
                self._axis(mode, range(layer.tile_modes), f"mode {words}")
            if self._frame.plan.cross_use:
                long_name = "residuals of each weight, summed over the block's uses; NaN where the row was counted"
                self._grown(f"{name}_use_sum", ("block", row, mode), _SINGLE, "SNU^(1/2)", long_name)
            if sampled[index]:
                numbers, places = zip(*sampled[index], strict=True)
                self._axis(sample, range(len(numbers)), f"sampled vector {words}")
                self._whole(f"{sample}_block", (sample,), numbers, "1", "its block")
                long_name = "place among the block's vectors, check vectors included"
                self._whole(f"{sample}_place", (sample,), places, "1", long_name)
                long_name = "every residual of a sampled vector; NaN where the row was counted"
                self._grown(f"{sample}_residual", (sample, row, mode), _SINGLE, "SNU^(1/2)", long_name)
        self._sources.append(self._light)

    def _sampled(self) -> list[list[tuple[int, int]]]:
        """Block and place of the vectors of which the server kept every residual, by layer.

        The server cannot tell images from check vectors, so neither can its file.
        """
        found: list[list[tuple[int, int]]] = [[] for _ in self._frame.layers]
        if self._frame.plan.residual_share:
            for block in self._blocks:
                for layer, light in load_light(self._run.folder, self._frame, block).items():
                    if light.sample is not None:
                        self._samples_before[layer, block] = len(found[layer])
                        found[layer] += [(block, int(place)) for place in light.sample.images]
        return found

    def _light(self, place: int, block: int, images: slice) -> Iterator[Piece]:
        """One block of what the server measured; nothing of layers that it did not come to."""
        here = slice(place, place + 1)
        for layer, light in load_light(self._run.folder, self._frame, block).items():
            name, statistics = f"layer{layer + 1}", light.statistics
            for column in (*_STATISTICS, *_BLOCK_STATISTICS):
                yield f"{name}_{column}", here, np.asarray(getattr(statistics, column))[None]
            if light.use_sums is not None:
                sums = light.use_sums.sums.astype(np.float32)
                sums[statistics.counted] = np.nan
                yield f"{name}_use_sum", here, sums[None]
            if light.sample is not None:
                start = self._samples_before[layer, block]
                shape = (light.sample.images.size, statistics.counted.size, self._frame.layers[layer].tile_modes)
                whole = np.full(shape, np.nan, np.float32)
                whole[:, light.sample.rows] = light.sample.residuals
                yield f"{name}_sample_residual", slice(start, start + len(whole)), whole

    # -- what the client knows -------------------------------------------------------------------------------------

    def client(self) -> None:
        """Outcomes, outputs and the client's own checks."""
        frame, ended = self._frame, "NaN where the session had ended"
        for index, layer in enumerate(frame.layers):
            # The server measures tiles of rows, the client adds them up.
            name, row = f"layer{index + 1}", f"layer{index + 1}_{'row' if layer.tiles == 1 else 'neuron'}"
            self._axis(row, range(layer.rows), f"row of layer {index + 1}")
            words = f"outcome of the client's homodyne receiver; {ended}"
            self._grown(f"{name}_outcome", ("image", row), _SINGLE, "SNU^(1/2)", words)
            if frame.check_vectors:
                self._axis("check", range(frame.check_vectors), "check vector of a block")
                words = f"outcome of a check vector of the client; {ended}"
                self._grown(f"{name}_check_outcome", ("block", "check", row), _SINGLE, "SNU^(1/2)", words)
        self._axis("output", range(frame.layers[-1].rows), "output of the network")
        secret = "" if frame.layers[-1].published_scale else ", up to the scale that the server keeps"
        self._grown("logit", ("image", "output"), _SINGLE, "1", f"what the network answers{secret}")
        words = "class of the largest output; -1 where the session had ended"
        self._grown("prediction", ("image",), np.dtype("<i8"), "1", words)
        self._sources.append(self._outcomes)
        records = {(record.layer, record.block): record for record in load_checks(self._run.folder, self._blocks)}
        for column, (units, long_name) in _CHECKS.items() if records else ():
            values = [
                [getattr(records.get((layer, block)), column, 0) for layer in range(len(frame.layers))]
                for block in self._blocks
            ]
            words = f"client's own checks: {long_name}; 0 where the session had ended"
            self._whole(f"check_{column}", ("block", "layer"), values, units, words)

    def _outcomes(self, place: int, block: int, images: slice) -> Iterator[Piece]:
        """One block of what the client measured."""
        folder, frame, complete = self._run.folder, self._frame, self._blocks[block]
        edges = np.cumsum([0, *(layer.rows for layer in frame.layers)])
        outcomes = load_outcomes(folder, frame, block, complete=complete)
        for layer, (low, high) in enumerate(pairwise(edges)):
            if high <= outcomes.shape[1]:
                yield f"layer{layer + 1}_outcome", images, outcomes[:, low:high].astype(np.float32)
        if not complete:
            yield "prediction", images, np.full(len(outcomes), -1, dtype=np.int64)
            return
        logits = load_logits(folder, frame, block).astype(np.float32)
        yield "logit", images, logits
        yield "prediction", images, predictions(logits).astype(np.int64)
        if frame.check_vectors:
            checks = load_check_outcomes(folder, frame, block).astype(np.float32)
            for layer, (low, high) in enumerate(pairwise(edges)):
                yield f"layer{layer + 1}_check_outcome", slice(place, place + 1), checks[None, :, low:high]


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
