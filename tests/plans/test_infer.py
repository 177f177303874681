"""The plan of an inference: order, dry run, early ends; and its handlers on real parties and an emulated link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import (
    Activation,
    Budgets,
    FrameDescription,
    LayerFrame,
    Ledger,
    ReturnedLight,
    TapSetting,
    VerdictKind,
    VerificationPlan,
)
from labqdl.link import EmulatedLink, parse_client, parse_server
from labqdl.network import DenseLayer, Network, Pipeline
from labqdl.plans.infer import (
    Agree,
    Conclude,
    Darken,
    Encode,
    FinishBlock,
    InferenceHandlers,
    Measure,
    SetData,
    Transmit,
    Verify,
    infer,
)
from labqdl.protocol import Client, Server
from labqdl.protocol.client import PARTING
from labqdl.protocol.guard import GuardRecord
from labqdl.rng import Roots
from labqdl.sequencer import Checkpoint, Command, Engine, EngineState, StopRequested

FRAME = FrameDescription(
    "test",
    (LayerFrame(6, 8, False, 4.0, None, Activation()), LayerFrame(3, 6, False, 4.0, None, Activation())),
    5,
    2,
    TapSetting.amplifier(2.0),
    Ledger("ideal"),
    VerificationPlan(),
    Budgets(),
)
BLOCK = [Encode, SetData, Transmit, Measure, Verify]


def kinds(commands: list[Command]) -> list[type[Command]]:
    return [type(command) for command in commands]


def test_order_of_a_whole_session() -> None:
    commands = list(infer(FRAME))
    expected = [Agree] + 3 * [Checkpoint, *BLOCK, *BLOCK, FinishBlock] + [Darken, Conclude]
    assert kinds(commands) == expected
    addressed = [(c.layer, c.block) for c in commands if isinstance(c, Transmit)]
    assert addressed == [(layer, block) for block in range(3) for layer in range(2)]


def test_finished_blocks_are_left_out() -> None:
    sent = {c.block for c in infer(FRAME, finished=[0, 2]) if isinstance(c, Transmit)}
    assert sent == {1}


def test_every_command_describes_itself() -> None:
    lines = [command.describe() for command in infer(FRAME)]
    assert all(lines)
    assert "\n" not in "".join(lines)
    assert any("layer 1 of block 2" in line for line in lines)


def test_dry_run_sends_nothing() -> None:
    def forbidden(command: Command) -> None:
        raise AssertionError(f"{command} was executed")

    handled = (Agree, *BLOCK, FinishBlock, Darken, Conclude)
    engine = Engine(dict.fromkeys(handled, forbidden))
    assert [c.describe() for c in engine.dry_run(infer(FRAME))] == [c.describe() for c in infer(FRAME)]


def test_a_failed_verification_ends_dark_and_judged() -> None:
    plan = infer(FRAME)
    command: Any = next(plan)
    while not isinstance(command, Verify):
        command = plan.send(None)
    assert kinds([plan.send(False), plan.send(None), plan.send(None)]) == [Darken, FinishBlock, Conclude]
    with pytest.raises(StopIteration) as ended:
        plan.send(None)
    assert ended.value.value is False


def test_a_stop_leaves_the_light_dark() -> None:
    plan = infer(FRAME)
    command: Any = next(plan)
    while not isinstance(command, Checkpoint):
        command = plan.send(None)
    assert isinstance(plan.throw(StopRequested("stop")), Darken)
    with pytest.raises(StopIteration):
        plan.send(None)


class Memory:
    """A recorder that keeps everything in memory."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.logits: dict[int, NDArray[np.floating[Any]] | None] = {}
        self.light: dict[int, Mapping[int, ReturnedLight]] = {}
        self.verdicts: list[VerdictKind] = []
        self.alarms: dict[int, str | None] = {}

    def started(self, block: int) -> None:
        self.begun.append(block)

    def finished(
        self,
        block: int,
        light: Mapping[int, ReturnedLight],
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
        logits: NDArray[np.floating[Any]] | None,
    ) -> None:
        assert set(outcomes) >= set(light)  # a client that ends the session has outcomes that nobody verifies
        self.light[block], self.logits[block] = dict(light), logits

    def checked(
        self,
        block: int,
        records: Sequence[GuardRecord],
        alarm: str | None,
        outcomes: Mapping[int, NDArray[np.floating[Any]]],
    ) -> None:
        assert len(records) == len(outcomes)
        self.alarms[block] = alarm

    def verdict(self, kind: VerdictKind, explanation: str) -> None:
        assert explanation
        self.verdicts.append(kind)


def session(
    client_word: str = "honest", images: int = 5, block: int = 2, server_word: str = "honest"
) -> tuple[Engine, Memory, EmulatedLink]:
    return parties(client_word, images, block, server_word)[:3]


def parties(
    client_word: str, images: int, block: int, server_word: str
) -> tuple[Engine, Memory, EmulatedLink, Server, Client]:
    generator = np.random.default_rng(4)
    layers = tuple(DenseLayer(generator.standard_normal(shape).astype(np.float32)) for shape in ((6, 8), (3, 6)))
    network = Network("tiny", Pipeline((8,), ()), layers)
    data = generator.standard_normal((images, 8)).astype(np.float32)
    frame = replace(FRAME, layers=network.frame_layers(4.0), images=images, block=block)
    roots = Roots.from_seed(2)
    link = EmulatedLink(frame.ledger, roots.world, client=parse_client(client_word), server=parse_server(server_word))
    memory = Memory()
    server, client = Server(network, frame, roots.server), Client(data, roots.client)
    handlers = InferenceHandlers(server, client, link, memory)
    engine = Engine(handlers.table())
    engine.run(infer(frame))
    return engine, memory, link, server, client


def test_an_honest_session_runs_through() -> None:
    engine, memory, link = session()
    assert engine.state is EngineState.DONE
    assert memory.begun == [0, 1, 2]
    assert {block: logits.shape for block, logits in memory.logits.items() if logits is not None} == {
        0: (2, 3),
        1: (2, 3),
        2: (1, 3),
    }
    assert link.rows_sent == 5 * (6 + 3)
    assert memory.verdicts == [VerdictKind.UNDECIDED]


def test_a_cheat_is_stopped_in_the_middle() -> None:
    engine, memory, link = session("substitution", images=2000, block=50)
    assert engine.state is EngineState.DONE
    assert memory.verdicts == [VerdictKind.ABORT]
    assert max(memory.begun) < 5  # long before the fortieth block
    assert link.rows_sent < 2000 * (6 + 3) / 4


def test_a_client_ends_a_session_with_a_dishonest_server_and_gives_no_reason() -> None:
    _, memory, link, server, client = parties("honest", 20, 10, "x-dependent")
    assert memory.begun == [0]
    assert memory.logits == {0: None}
    assert memory.light == {0: {}}  # nobody verifies light after the session has ended
    assert memory.verdicts == [VerdictKind.ABORT]
    assert link.rows_sent == 10 * 6
    alarm = memory.alarms[0]
    assert alarm is not None
    assert "out of band" in alarm
    assert client.alarm == client.ending == alarm
    assert client.aborted
    assert server.aborted
    assert server.ending == PARTING
    assert "band" not in PARTING
    assert client.next_intent() is None
    assert server.next_intents() is None
