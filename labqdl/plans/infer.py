"""The plan of a secure inference: agree, then block by block and layer by layer send, measure, return, verify.

The plan is a generator of small commands; it knows the order and nothing else, so it can be printed and dry-run
from the frame description alone. `InferenceHandlers` carries each command out on a server, a client, a link and a
record, and is the only place where those four meet. Each party's result is written to its own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import FrameDescription, ReturnedLight, VerdictKind
from labqdl.link import Link
from labqdl.protocol import Client, Server
from labqdl.protocol.guard import GuardRecord
from labqdl.protocol.intents import Outcomes, Returned
from labqdl.sequencer import Checkpoint, Command, StopRequested


@dataclass(frozen=True, slots=True)
class Agree(Command):
    """Exchange and check the frame description; both parties store its digest."""

    digest: str

    def describe(self) -> str:
        """One line."""
        return f"agree on frame {self.digest[:12]}"


@dataclass(frozen=True, slots=True)
class _Step(Command):
    layer: int
    block: int

    def _name(self) -> str:
        return f"layer {self.layer} of block {self.block}"


@dataclass(frozen=True, slots=True)
class Encode(_Step):
    """Server: load the rows of a layer and set the receiver."""

    def describe(self) -> str:
        """One line."""
        return f"server encodes {self._name()} and sets its receiver"


@dataclass(frozen=True, slots=True)
class SetData(_Step):
    """Client: set the interferometer to the block's vectors."""

    def describe(self) -> str:
        """One line."""
        return f"client sets its interferometer for {self._name()}"


@dataclass(frozen=True, slots=True)
class Transmit(_Step):
    """World: light passes out, through the client and back."""

    def describe(self) -> str:
        """One line."""
        return f"light passes: {self._name()}"


@dataclass(frozen=True, slots=True)
class Measure(_Step):
    """Client: take the outcomes, check the light that made them, form the activations. Result: as that of `Verify`."""

    def describe(self) -> str:
        """One line."""
        return f"client measures {self._name()}"


@dataclass(frozen=True, slots=True)
class Verify(_Step):
    """Server: take what its receiver measured and test it. Result: True to go on, False to abort."""

    def describe(self) -> str:
        """One line."""
        return f"server verifies {self._name()}"


@dataclass(frozen=True, slots=True)
class FinishBlock(Command):
    """Write a block's results to disk; afterwards it is never sent again."""

    block: int

    def describe(self) -> str:
        """One line."""
        return f"record block {self.block}"


@dataclass(frozen=True, slots=True)
class Conclude(Command):
    """Server: pronounce the verdict."""

    def describe(self) -> str:
        """One line."""
        return "server pronounces its verdict"


@dataclass(frozen=True, slots=True)
class Darken(Command):
    """Leave the light path dark."""

    def describe(self) -> str:
        """One line."""
        return "leave the light path dark"


def infer(frame: FrameDescription, finished: Iterable[int] = ()) -> Generator[Command, Any, bool]:
    """Plan of a whole session; result: True when all blocks are done, False when it was stopped or aborted early.

    Parameters
    ----------
    frame:
        What both parties agree on.
    finished:
        Blocks that an earlier process completed; they are not sent again.
    """
    done = set(finished)
    yield Agree(frame.digest)
    try:
        for block in range(frame.n_blocks):
            if block in done:
                continue
            yield Checkpoint(f"before block {block}")
            for layer in range(len(frame.layers)):
                yield Encode(layer, block)
                yield SetData(layer, block)
                yield Transmit(layer, block)
                going_on = yield Measure(layer, block)
                if going_on is not False:
                    going_on = yield Verify(layer, block)
                if going_on is False:
                    yield Darken()
                    yield FinishBlock(block)
                    yield Conclude()
                    return False
            yield FinishBlock(block)
    except StopRequested:
        yield Darken()
        return False
    yield Darken()
    yield Conclude()
    return True


class Charging(Protocol):
    """Who charges uses of weights and data before light flows."""

    def record(self, layer: int, block: int) -> None:
        """Charge one (layer, block), once in a process; raises to refuse it."""
        ...


class BlockRecorder(Protocol):
    """Where finished blocks go; each party's part into its own folder."""

    def started(self, block: int) -> None:
        """A block begins: written ahead, so that an interrupted block is known."""
        ...

    def finished(
        self,
        block: int,
        light: Mapping[int, ReturnedLight],
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
        logits: NDArray[np.floating[Any]] | None,
    ) -> None:
        """A block is complete (logits None: aborted within it); on disk when this returns."""
        ...

    def checked(
        self,
        block: int,
        records: Sequence[GuardRecord],
        alarm: str | None,
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
    ) -> None:
        """The client's own checks of a block, what they found wrong, and outcomes of check vectors (vectors, rows)."""
        ...

    def verdict(self, kind: VerdictKind, explanation: str) -> None:
        """The server's verdict."""
        ...


class InferenceHandlers:
    """Carries the commands of `infer` out.

    Parameters
    ----------
    server, client, link, recorder:
        Whom the commands reach.
    accountant:
        Charges every use before light flows and refuses what an agreed cumulative budget does not allow.
    on_block:
        Told of every finished block.
    """

    def __init__(
        self,
        server: Server,
        client: Client,
        link: Link,
        recorder: BlockRecorder,
        *,
        accountant: Charging | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> None:
        self._accountant = accountant
        self._server = server
        self._client = client
        self._link = link
        self._recorder = recorder
        self._on_block = on_block
        self._light: dict[int, ReturnedLight] = {}
        self._outcomes: dict[int, NDArray[np.floating[Any]]] = {}
        self._checks: dict[int, NDArray[np.floating[Any]]] = {}
        self._logits: NDArray[np.floating[Any]] | None = None

    def table(self) -> dict[type[Command], Callable[[Any], Any]]:
        """Handler of each command, as the engine wants it."""
        return {
            Agree: self._agree,
            Encode: self._encode,
            SetData: self._set_data,
            Transmit: self._transmit,
            Measure: self._measure,
            Verify: self._verify,
            FinishBlock: self._finish,
            Conclude: self._conclude,
            Darken: self._darken,
        }

    def _agree(self, command: Agree) -> None:
        for reply in self._client.receive(self._server.propose()):
            for answer in self._server.receive(reply):
                self._client.receive(answer)
        self._link.prepare(self._server.frame)

    def _encode(self, command: Encode) -> None:
        if self._accountant is not None:
            # Charged before light flows: an agreed cumulative budget refuses the block, it does not regret it.
            self._accountant.record(command.layer, command.block)
        if command.layer == 0:
            self._recorder.started(command.block)
            self._light, self._outcomes, self._checks, self._logits = {}, {}, {}, None
        intents = self._server.next_intents()
        if intents is None:
            raise RuntimeError(f"the server has nothing to send for {command.describe()}")
        rows, receiver = intents
        port = self._link.server_port
        port.send_rows(rows.layer, rows.block, rows.quadratures, rows.images)
        port.set_receiver(
            receiver.layer,
            receiver.block,
            receiver.pattern,
            receiver.counted,
            receiver.expected_amplitude,
            use_sums=receiver.use_sums,
            sampled=receiver.sampled,
        )

    def _set_data(self, command: SetData) -> None:
        setting = self._client.next_intent()
        if setting is None:
            raise RuntimeError(f"the client has no data for {command.describe()}")
        self._link.client_port.set_data(setting.layer, setting.block, setting.directions)

    def _transmit(self, command: Transmit) -> None:
        self._link.transmit(command.layer, command.block)

    def _measure(self, command: Measure) -> bool:
        port = self._link.client_port
        values = self._client.combine(command.layer, command.block, port.outcomes(command.layer, command.block))
        data, checks = self._client.separate(command.layer, command.block, values)
        self._outcomes[command.layer], self._checks[command.layer] = data, checks
        monitor = port.monitor(command.layer, command.block)
        result = self._client.outcomes(Outcomes(command.layer, command.block, values, monitor))
        if result is not None:
            self._logits = result.logits
        for message in self._client.parting:
            self._server.receive(message)
        return self._client.alarm is None

    def _verify(self, command: Verify) -> bool:
        light = self._link.server_port.returned(command.layer, command.block)
        self._light[command.layer] = light
        returned = Returned(command.layer, command.block, light.statistics, light.use_sums, light.sample)
        replies = self._server.returned(returned)
        for message in replies:
            self._client.receive(message)
        return not self._server.aborted

    def _finish(self, command: FinishBlock) -> None:
        records = self._client.check_records(command.block)
        self._recorder.checked(command.block, records, self._client.alarm, self._checks)
        self._recorder.finished(command.block, self._light, self._outcomes, self._logits)
        if self._on_block is not None:
            self._on_block(command.block)

    def _conclude(self, command: Conclude) -> None:
        if self._client.alarm is not None:
            self._recorder.verdict(VerdictKind.ABORT, "The client has ended the session.")
            return
        verdict = self._server.verdict()
        self._recorder.verdict(verdict.kind, verdict.explanation)

    def _darken(self, command: Darken) -> None:
        self._link.close()
