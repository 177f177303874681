"""Blocks of a run on disk: what each party keeps of a finished block, and how a resumed run gets it back.

Layout (docs/file-formats.md): `server/blocks/000012-statistics.npy`, `client/blocks/000012-outcomes.npy`,
`client/blocks/000012-logits.npy` and `client/blocks/000012-checks.json`, then the event `block-finished`. A block
counts as finished when its event is on disk; arrays without the event belong to an interrupted block, which is done
again with the same random numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.api.returned import pack_sample, pack_use_sums, unpack_sample, unpack_use_sums
from labqdl.errors import RecordError
from labqdl.facts import FrameDescription, ResidualSample, ReturnedLight, RowStatistics, UseSums, VerdictKind
from labqdl.protocol.guard import GuardRecord
from labqdl.records import Party, RunFolder

CHECKS_SCHEMA = "labqdl.checks/1"

FINISHED = "block-finished"
"""Kind of the event behind which a block counts."""

REFUSED = "refused"
"""Kind of the event that an account did not let the run go on. Why is in `world/refusal.json`: only a joined view may
tell what the parties' accounts hold."""

LOST = "block-lost"
"""Kind of the event that takes that back: the block's arrays were damaged, and the run was saved without them."""

STATISTICS_DTYPE = np.dtype(
    [
        ("layer", "<i4"),
        ("row", "<i4"),
        ("counted", "?"),
        ("sum_qq", "<f8"),
        ("sum_qr", "<f8"),
        ("sum_rr", "<f8"),
        ("sum_jj", "<f8"),
        ("sum_jr", "<f8"),
        ("residuals", "<i8"),
        ("photons", "<i8"),
        ("slots", "<i8"),
        ("expected_photons_signal", "<f8"),
        ("images", "<i8"),
        ("vacuum_squares", "<f8"),
        ("vacuum_slots", "<i8"),
    ]
)
_SCALARS = ("images", "vacuum_squares", "vacuum_slots")
"""The same in every line of a layer."""
_COLUMNS = tuple(name for name in STATISTICS_DTYPE.names or () if name not in ("layer", "row", *_SCALARS))


def pack_statistics(layers: Mapping[int, RowStatistics]) -> NDArray[np.void]:
    """One structured array of all rows of a block, layer after layer."""
    parts = []
    for layer, statistics in sorted(layers.items()):
        part = np.zeros(statistics.counted.size, STATISTICS_DTYPE)
        part["layer"], part["row"] = layer, np.arange(part.size)
        for name in (*_COLUMNS, *_SCALARS):
            part[name] = getattr(statistics, name)
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, STATISTICS_DTYPE)


def unpack_statistics(table: NDArray[np.void]) -> dict[int, RowStatistics]:
    """The inverse of `pack_statistics`."""
    layers = {}
    for layer in np.unique(table["layer"]):
        part = table[table["layer"] == layer]
        fields: dict[str, Any] = {name: np.ascontiguousarray(part[name]) for name in _COLUMNS}
        fields |= {name: part[name][0].item() for name in _SCALARS}
        layers[int(layer)] = RowStatistics(**fields)
    return layers


class RunRecorder:
    """Writes blocks into a run folder, each party's part into its own folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._server = folder.party(Party.SERVER)
        self._client = folder.party(Party.CLIENT)

    def started(self, block: int) -> None:
        """Write ahead that a block's light is about to flow."""
        self._folder.event("block-started", block=block)

    def finished(
        self,
        block: int,
        light: Mapping[int, ReturnedLight],
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
        logits: NDArray[np.floating[Any]] | None,
    ) -> None:
        """Save a block's arrays, then the event that makes it finished; all on disk when this returns."""
        statistics = {layer: part.statistics for layer, part in light.items()}
        self._server.save_array(_name(block, "statistics"), pack_statistics(statistics), overwrite=True)
        for layer, part in light.items():
            if part.use_sums is not None:
                packed = pack_use_sums(part.use_sums, part.statistics)
                self._server.save_array(_name(block, f"use-sums-{layer}"), packed, overwrite=True)
            if part.sample is not None:
                table = pack_sample(part.sample)
                self._server.save_array(_name(block, f"sample-{layer}"), table, overwrite=True)
        joined = np.concatenate([outcomes[layer] for layer in sorted(outcomes)], axis=1)
        self._client.save_array(_name(block, "outcomes"), joined, overwrite=True)
        if logits is not None:
            self._client.save_array(_name(block, "logits"), logits, overwrite=True)
        self._folder.commit(FINISHED, block=block, complete=logits is not None)

    def checked(
        self,
        block: int,
        records: Sequence[GuardRecord],
        alarm: str | None,
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
    ) -> None:
        """Save the client's own checks of a block, what they found and their outcomes, in the client's folder."""
        document = {"schema": CHECKS_SCHEMA, "alarm": alarm, "layers": [record.to_json() for record in records]}
        self._client.save_json(_name(block, "checks"), document, overwrite=True)
        joined = np.concatenate([outcomes[layer] for layer in sorted(outcomes)], axis=1)
        if len(joined):
            self._client.save_array(_name(block, "check-outcomes"), joined, overwrite=True)

    def verdict(self, kind: VerdictKind, explanation: str) -> None:
        """Write the server's verdict into the log."""
        self._folder.commit("verdict", verdict=kind.value, explanation=explanation)


def _name(block: int, what: str) -> str:
    return f"blocks/{block:06d}-{what}"


def finished_blocks(folder: RunFolder) -> dict[int, bool]:
    """Blocks whose event is on disk, in order; True where all layers were done, False where the server aborted."""
    found = {}
    for event in folder.events():
        if event.kind == FINISHED:
            found[int(event.fields["block"])] = bool(event.fields["complete"])
        elif event.kind == LOST:
            found.pop(int(event.fields["block"]), None)
    return dict(sorted(found.items()))


def refusal(folder: RunFolder) -> str | None:
    """Why an account refused to let this run go on, where that is the last that its log tells; else None."""
    last = deque(folder.events(), maxlen=1)
    if not last or last[0].kind != REFUSED:
        return None
    return str(folder.party(Party.WORLD).load_json("refusal"))


def record_refusal(folder: RunFolder, blocks: int, reason: str) -> None:
    """Keep that an account refused the run after so many blocks, and why."""
    folder.party(Party.WORLD).save_json("refusal", reason, overwrite=True)
    folder.commit(REFUSED, blocks=blocks)


def check_block(folder: RunFolder, frame: FrameDescription, block: int, complete: bool) -> None:
    """Read all that a finished block must have.

    Raises
    ------
    RecordError
        For a missing, damaged or foreign file; names it.
    """
    load_light(folder, frame, block)
    load_outcomes(folder, frame, block, complete=complete)
    load_checks(folder, [block])
    if complete:
        load_check_outcomes(folder, frame, block)
        load_logits(folder, frame, block)


def load_statistics(folder: RunFolder, frame: FrameDescription, block: int) -> dict[int, RowStatistics]:
    """The server's statistics of a finished block.

    Raises
    ------
    RecordError
        For a missing, damaged or foreign array; names the file.
    """
    name = _name(block, "statistics")
    table = folder.party(Party.SERVER).load_array(name)
    if table.dtype != STATISTICS_DTYPE or table.ndim != 1:
        raise RecordError(
            f"{folder.path}/server/{name}.npy: not a table of row statistics ({table.dtype}, {table.shape})"
        )
    layers = unpack_statistics(table)
    for layer, statistics in layers.items():
        if not 0 <= layer < len(frame.layers) or statistics.counted.size != frame.layers[layer].streamed_rows:
            raise RecordError(f"{folder.path}/server/{name}.npy: layer {layer} does not fit the run's frame")
    return layers


def load_light(folder: RunFolder, frame: FrameDescription, block: int) -> dict[int, ReturnedLight]:
    """All that the server measured of a finished block, as the plan asked for it. Errors as `load_statistics`."""
    server, plan, found = folder.party(Party.SERVER), frame.plan, {}
    for layer, statistics in load_statistics(folder, frame, block).items():
        n_modes = frame.layers[layer].tile_modes
        uses: UseSums | None = None
        sample: ResidualSample | None = None
        measured = bool(statistics.residuals.any() or statistics.slots.any())
        name = _name(block, f"use-sums-{layer}")
        try:
            if measured and plan.cross_use:
                uses = unpack_use_sums(server.load_array(name), statistics, n_modes)
            if measured and plan.residual_share:
                name = _name(block, f"sample-{layer}")
                sample = unpack_sample(server.load_array(name), statistics, n_modes)
        except ValueError as error:
            raise RecordError(f"{folder.path}/server/{name}.npy: {error}") from None
        found[layer] = ReturnedLight(statistics, uses, sample)
    return found


def load_logits(folder: RunFolder, frame: FrameDescription, block: int) -> NDArray[np.floating[Any]]:
    """The client's network outputs of a finished block; (images, outputs). Errors as `load_statistics`."""
    name = _name(block, "logits")
    logits = folder.party(Party.CLIENT).load_array(name)
    expected = (len(frame.block_images(block)), frame.layers[-1].rows)
    if logits.shape != expected or not np.issubdtype(logits.dtype, np.floating):
        raise RecordError(f"{folder.path}/client/{name}.npy: expected logits of shape {expected}, got {logits.shape}")
    return logits


def load_checks(folder: RunFolder, blocks: Iterable[int]) -> tuple[GuardRecord, ...]:
    """Sums behind the client's own checks of finished blocks. Errors as `load_statistics`."""
    records = []
    for block in blocks:
        name = _name(block, "checks")
        document = folder.party(Party.CLIENT).load_json(name)
        try:
            if document["schema"] != CHECKS_SCHEMA:
                raise ValueError(f"schema {document['schema']!r}, expected {CHECKS_SCHEMA!r}")
            records += [GuardRecord(**entry) for entry in document["layers"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{folder.path}/client/{name}.json: damaged: {error}") from None
    return tuple(records)


def load_outcomes(
    folder: RunFolder, frame: FrameDescription, block: int, *, complete: bool = True
) -> NDArray[np.floating[Any]]:
    """The client's outcomes of a finished block; (images, rows of all layers), of fewer layers where the server
    aborted within it (`complete` is False). Errors as `load_statistics`."""
    name = _name(block, "outcomes")
    outcomes = folder.party(Party.CLIENT).load_array(name)
    images = len(frame.block_images(block))
    widths = np.cumsum([layer.rows for layer in frame.layers])
    fitting = {(images, int(width)) for width in (widths[-1:] if complete else widths)}
    if outcomes.shape not in fitting or not np.issubdtype(outcomes.dtype, np.floating):
        raise RecordError(
            f"{folder.path}/client/{name}.npy: expected {images} rows of outcomes, got {outcomes.dtype} of shape "
            f"{outcomes.shape}"
        )
    return outcomes


def load_check_outcomes(folder: RunFolder, frame: FrameDescription, block: int) -> NDArray[np.floating[Any]]:
    """Outcomes of the client's check vectors of a complete block; (check vectors, rows of all layers), none of them
    where the frame has none. Errors as `load_statistics`."""
    rows = sum(layer.rows for layer in frame.layers)
    if not frame.check_vectors:
        return np.zeros((0, rows), np.float32)
    name = _name(block, "check-outcomes")
    outcomes = folder.party(Party.CLIENT).load_array(name)
    if outcomes.shape != (frame.check_vectors, rows) or not np.issubdtype(outcomes.dtype, np.floating):
        raise RecordError(f"{folder.path}/client/{name}.npy: {outcomes.dtype} of shape {outcomes.shape} do not fit")
    return outcomes


def check_outcomes(folder: RunFolder, frame: FrameDescription, blocks: Mapping[int, bool]) -> None:
    """Read the client's outcomes of finished blocks, of which a resumed run needs no number but the record needs all.

    Raises
    ------
    RecordError
        For a missing, damaged or foreign array; names the file.
    """
    for block, complete in blocks.items():
        load_outcomes(folder, frame, block, complete=complete)
