"""Blocks of a run on disk: what each party keeps of a finished block, and how a resumed run gets it back.

Layout (docs/file-formats.md): `server/blocks/000012-statistics.npy`, `client/blocks/000012-outcomes.npy` and
`client/blocks/000012-logits.npy`, then the event `block-finished`. A block counts as finished when its event is on
disk; arrays without the event belong to an interrupted block, which is done again with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import RecordError
from labqdl.facts import FrameDescription, RowStatistics, VerdictKind
from labqdl.records import Party, RunFolder

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
    ]
)
_COLUMNS = tuple(name for name in STATISTICS_DTYPE.names or () if name not in ("layer", "row", "images"))


def pack_statistics(layers: Mapping[int, RowStatistics]) -> NDArray[np.void]:
    """One structured array of all rows of a block, layer after layer."""
    parts = []
    for layer, statistics in sorted(layers.items()):
        part = np.zeros(statistics.counted.size, STATISTICS_DTYPE)
        part["layer"], part["row"], part["images"] = layer, np.arange(part.size), statistics.images
        for name in _COLUMNS:
            part[name] = getattr(statistics, name)
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, STATISTICS_DTYPE)


def unpack_statistics(table: NDArray[np.void]) -> dict[int, RowStatistics]:
    """The inverse of `pack_statistics`."""
    layers = {}
    for layer in np.unique(table["layer"]):
        part = table[table["layer"] == layer]
        columns = {name: np.ascontiguousarray(part[name]) for name in _COLUMNS}
        layers[int(layer)] = RowStatistics(**columns, images=int(part["images"][0]))
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
        statistics: Mapping[int, RowStatistics],
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
        logits: NDArray[np.floating[Any]] | None,
    ) -> None:
        """Save a block's arrays, then the event that makes it finished; all on disk when this returns."""
        self._server.save_array(_name(block, "statistics"), pack_statistics(statistics), overwrite=True)
        joined = np.concatenate([outcomes[layer] for layer in sorted(outcomes)], axis=1)
        self._client.save_array(_name(block, "outcomes"), joined, overwrite=True)
        if logits is not None:
            self._client.save_array(_name(block, "logits"), logits, overwrite=True)
        self._folder.commit("block-finished", block=block, complete=logits is not None)

    def verdict(self, kind: VerdictKind, explanation: str) -> None:
        """Write the server's verdict into the log."""
        self._folder.commit("verdict", verdict=kind.value, explanation=explanation)


def _name(block: int, what: str) -> str:
    return f"blocks/{block:06d}-{what}"


def finished_blocks(folder: RunFolder) -> dict[int, bool]:
    """Blocks whose event is on disk, in order; True where all layers were done, False where the server aborted."""
    found = {}
    for event in folder.events():
        if event.kind == "block-finished":
            found[int(event.fields["block"])] = bool(event.fields["complete"])
    return dict(sorted(found.items()))


def load_statistics(folder: RunFolder, frame: FrameDescription, block: int) -> dict[int, RowStatistics]:
    """The server's statistics of a finished block.

    Raises
    ------
    RecordError
        For a missing, damaged or foreign array; names the file.
    """
    name = _name(block, "statistics")
    table = folder.party(Party.SERVER).load_array(name)
    if table.dtype != STATISTICS_DTYPE or table.ndim != 1 or not table.size:
        raise RecordError(
            f"{folder.path}/server/{name}.npy: not a table of row statistics ({table.dtype}, {table.shape})"
        )
    layers = unpack_statistics(table)
    for layer, statistics in layers.items():
        if not 0 <= layer < len(frame.layers) or statistics.counted.size != frame.layers[layer].rows:
            raise RecordError(f"{folder.path}/server/{name}.npy: layer {layer} does not fit the run's frame")
    return layers


def load_logits(folder: RunFolder, frame: FrameDescription, block: int) -> NDArray[np.floating[Any]]:
    """The client's network outputs of a finished block; (images, outputs). Errors as `load_statistics`."""
    name = _name(block, "logits")
    logits = folder.party(Party.CLIENT).load_array(name)
    expected = (len(frame.block_images(block)), frame.layers[-1].rows)
    if logits.shape != expected or not np.issubdtype(logits.dtype, np.floating):
        raise RecordError(f"{folder.path}/client/{name}.npy: expected logits of shape {expected}, got {logits.shape}")
    return logits


def check_outcomes(folder: RunFolder, frame: FrameDescription, blocks: Mapping[int, bool]) -> None:
    """Read the client's outcomes of finished blocks, of which a resumed run needs no number but the record needs all.

    Raises
    ------
    RecordError
        For a missing, damaged or foreign array; names the file.
    """
    for block, complete in blocks.items():
        name = _name(block, "outcomes")
        found = folder.party(Party.CLIENT).load_array(name).shape
        images = len(frame.block_images(block))
        widths = np.cumsum([layer.rows for layer in frame.layers])
        if found not in {(images, int(width)) for width in (widths[-1:] if complete else widths)}:
            raise RecordError(f"{folder.path}/client/{name}.npy: expected {images} rows of outcomes, got {found}")
