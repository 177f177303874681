"""Reading a run folder back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl import __version__
from labqdl.api.blocks import finished_blocks, load_light, load_logits, load_statistics
from labqdl.errors import ProtocolError, RecordError
from labqdl.facts import FrameDescription, ReturnedLight, RowStatistics
from labqdl.protocol.messages import Proposal
from labqdl.records import Party, RecordedEvent, RunFolder


@dataclass(frozen=True)
class RecordedRun:
    """A run on disk. Joins what server and client know: for looking at simulations.

    Attributes
    ----------
    folder:
        The folder behind it.
    frame:
        What the parties agreed on.
    """

    folder: RunFolder
    frame: FrameDescription

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run is: experiment, frame, provenance."""
        return self.folder.manifest

    @property
    def finished(self) -> bool:
        """Whether the run came to its result."""
        return self.folder.party(Party.WORLD).has_json("result")

    @property
    def result(self) -> dict[str, Any]:
        """The recorded result, as `labqdl run --json` printed it.

        Raises
        ------
        RecordError
            Where the run has not come to a result yet.
        """
        if not self.finished:
            raise RecordError(f"{self.path}: this run has no result yet; 'labqdl resume {self.path}' completes it")
        result: dict[str, Any] = self.folder.party(Party.WORLD).load_json("result")
        return result

    @property
    def blocks(self) -> tuple[int, ...]:
        """Finished blocks."""
        return tuple(finished_blocks(self.folder))

    def events(self) -> tuple[RecordedEvent, ...]:
        """All events, in order."""
        return tuple(self.folder.events())

    def statistics(self, block: int) -> dict[int, RowStatistics]:
        """The server's statistics of a block, by layer."""
        return load_statistics(self.folder, self.frame, block)

    def light(self, block: int) -> dict[int, ReturnedLight]:
        """All that the server measured of a block, by layer: statistics, sums over uses, kept residuals."""
        return load_light(self.folder, self.frame, block)

    def logits(self) -> NDArray[np.float32]:
        """The client's network outputs of all complete blocks; (images, outputs)."""
        complete = [block for block, whole in finished_blocks(self.folder).items() if whole]
        if not complete:
            return np.zeros((0, self.frame.layers[-1].rows), np.float32)
        return np.concatenate([load_logits(self.folder, self.frame, block) for block in complete]).astype(np.float32)


def open_run(path: str | Path) -> RecordedRun:
    """Open a run folder for reading; also one that is being written.

    Raises
    ------
    InputError
        Where there is no run folder.
    RecordError
        For a damaged folder; names the file.
    """
    folder = RunFolder.open(path)
    return RecordedRun(folder, recorded_frame(folder))


_ABSENT: Mapping[str, Any] = {"check_vectors": 0}
_ABSENT_PLAN: Mapping[str, Any] = {
    "shot_noise": "known",
    "cross_use": False,
    "residual_share": 0.0,
    "gain_tolerance": 0.0,
    "phase_tolerance": 0.0,
    "noise_tolerance": 0.0,
}
"""What a frame that was recorded before these keys existed meant without saying."""


def _completed(frame: Any) -> Any:
    """A recorded frame with the keys that are younger than it."""
    if not (isinstance(frame, Mapping) and isinstance(frame.get("plan"), Mapping)):
        return frame
    completed = {**_ABSENT, **frame, "plan": {**_ABSENT_PLAN, **frame["plan"]}}
    if isinstance(frame.get("layers"), list):
        completed["layers"] = [
            {"tile": None, **each} if isinstance(each, Mapping) else each for each in frame["layers"]
        ]
    return completed


def recorded(folder: RunFolder, key: str) -> Any:
    """What the manifest of an inference says under a key; RecordError where it says nothing."""
    if key not in folder.manifest:
        raise RecordError(
            f"{folder.path / 'manifest.json'}: no '{key}': not an inference run, or one that was recovered without its "
            "manifest, of which no more than its arrays is left. 'labqdl run' begins a new one"
        )
    return folder.manifest[key]


def recorded_frame(folder: RunFolder) -> FrameDescription:
    """The frame in a run's manifest; RecordError where there is none, or none that this version of labqdl reads."""
    try:
        return Proposal.from_json({"type": "proposal", "frame": _completed(recorded(folder, "frame"))}).frame
    except ProtocolError as error:
        raise other_version(folder, "the frame", error) from None


def other_version(folder: RunFolder, what: str, error: object) -> RecordError:
    """That this version of labqdl does not read a part of the manifest, and which version wrote it."""
    provenance = folder.manifest.get("provenance")
    version = provenance.get("labqdl") if isinstance(provenance, dict) else None
    return RecordError(
        f"{folder.path / 'manifest.json'}: this version of labqdl ({__version__}) does not read {what} ({error}); the "
        f"run was recorded by labqdl {version}"
    )
