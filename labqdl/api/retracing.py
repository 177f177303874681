"""The client's side of a run again, from its recorded outcomes: activations, outputs and sums of its own checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.api.blocks import load_check_outcomes, load_outcomes
from labqdl.api.experiment import Experiment
from labqdl.errors import ProtocolError, RecordError
from labqdl.facts import FrameDescription
from labqdl.protocol import Client
from labqdl.protocol.guard import Guard, GuardRecord, GuardSettings
from labqdl.protocol.intents import Outcomes
from labqdl.protocol.messages import Proposal
from labqdl.records import Party, RunFolder

Real = NDArray[np.floating[Any]]


@dataclass(slots=True)
class Retraced:
    """What follows from the client's outcomes.

    Attributes
    ----------
    logits:
        The network's outputs (images, outputs), by block.
    checks:
        Sums of the client's own checks, by block and layer; those of the power monitors are not in the outcomes.
    problems:
        Blocks whose outcomes are missing, damaged, or such as the client refuses, and why.
    """

    logits: dict[int, Real] = field(default_factory=dict)
    checks: dict[tuple[int, int], GuardRecord] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


def retrace(folder: RunFolder, frame: FrameDescription, chosen: Experiment, blocks: Iterable[int]) -> Retraced:
    """Walk through every layer of these complete blocks again, by the client's own code.

    The activations of a layer set the norm of the next one's vectors, by which its outcomes count; check vectors go
    back to their secret places.
    """
    found = Retraced()
    outcomes: dict[int, tuple[Real, Real]] = {}
    for block in blocks:
        try:
            outcomes[block] = load_outcomes(folder, frame, block), load_check_outcomes(folder, frame, block)
        except RecordError as error:
            found.problems[block] = str(error)
    root = folder.party(Party.CLIENT).root()
    guard = Guard(GuardSettings(), frame, root)
    pending = sorted(outcomes)
    while pending:
        client = Client(chosen.prepared, root)
        absent = [block for block in range(frame.n_blocks) if block not in pending]
        client.restore((block, _nothing(frame, block)) for block in absent)
        client.receive(Proposal(frame))
        for done, block in enumerate(pending, start=1):
            try:
                _walk(client, guard, frame, block, outcomes[block], found)
            except ProtocolError as error:
                # A client that refused outcomes, or raised its alarm, goes no further: another one takes the rest.
                found.problems[block] = f"client/blocks/{block:06d}-outcomes.npy: {error}"
                pending = pending[done:]
                break
        else:
            pending = []
    return found


def _walk(
    client: Client, guard: Guard, frame: FrameDescription, block: int, outcomes: tuple[Real, Real], found: Retraced
) -> None:
    edges = np.cumsum([0, *(layer.rows for layer in frame.layers)])
    for layer, (low, high) in enumerate(pairwise(edges)):
        client.next_intent()
        data, checks = (part[:, low:high] for part in outcomes)
        result = client.outcomes(Outcomes(layer, block, _together(guard, layer, block, data, checks)))
        if client.alarm:
            raise ProtocolError(client.alarm)
        if result is not None:
            found.logits[block] = result.logits
    found.checks |= {(block, record.layer): record for record in client.check_records(block)}


def _together(guard: Guard, layer: int, block: int, data: Real, checks: Real) -> Real:
    """Outcomes of all vectors of a block: the inverse of `Guard.split`."""
    if not len(checks):
        return data
    whole = np.empty((len(data) + len(checks), data.shape[1]), dtype=data.dtype)
    places = guard.places(layer, block)
    others = np.ones(len(whole), dtype=np.bool_)
    others[places] = False
    whole[places], whole[others] = checks, data
    return whole


def _nothing(frame: FrameDescription, block: int) -> NDArray[np.float32]:
    """Stands for a block that is not walked through."""
    return np.zeros((len(frame.block_images(block)), frame.layers[-1].rows), np.float32)
