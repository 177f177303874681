"""Random orders of messages, results, replays and garbage: no sequence confuses a party or reaches the other one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labqdl.errors import ProtocolError
from labqdl.facts import Budgets, Reason, TapSetting, Verdict, VerdictKind, VerificationPlan
from labqdl.protocol import (
    TRANSITIONS,
    Abort,
    Acceptance,
    Client,
    LayerDone,
    Message,
    Outcomes,
    Proposal,
    Refusal,
    Returned,
    SendRows,
    Server,
    SessionState,
    SetData,
    SetReceiver,
    VerdictNotice,
    message_from_json,
)
from labqdl.rng import Roots
from tests.protocol.toy import LOSSY, ToyLink, drive, states, toy_data, toy_frame, toy_network

NETWORK = toy_network(3, 4, 2)
FRAME = toy_frame(NETWORK, 3, 2, ledger=LOSSY)
ROOTS = Roots.from_seed(11)
DATA = toy_data(3, 3)

# What an adversary would like to have agreed: softer plans, other calibrations, other shapes.
EVIL_FRAMES = (
    replace(FRAME, plan=VerificationPlan(counting_fraction=0.0, alpha=1e-300)),
    replace(FRAME, budgets=Budgets(bits_per_weight=1e3, bits_per_feature=1e3)),
    replace(FRAME, ledger=replace(LOSSY, components=LOSSY.components[:1])),
    replace(FRAME, tap=TapSetting.amplifier(30.0)),
    replace(FRAME, images=4),
    toy_frame(toy_network(5, 2), 3, 2),
)

small = st.integers(0, 3)
disturbing: st.SearchStrategy[Message] = st.one_of(
    st.builds(Acceptance, st.sampled_from([frame.digest for frame in (FRAME, *EVIL_FRAMES)])),
    st.builds(LayerDone, small, small),
    st.builds(VerdictNotice, st.sampled_from([VerdictKind.ACCEPT, VerdictKind.UNDECIDED]), st.sampled_from(Reason)),
    st.builds(Proposal, st.sampled_from(EVIL_FRAMES)),
)
ending: st.SearchStrategy[Message] = st.one_of(
    st.builds(Refusal, st.just("no")),
    st.builds(Abort, st.just("stop")),
    st.builds(VerdictNotice, st.just(VerdictKind.ABORT), st.sampled_from(Reason)),
)


def _reachable(start: SessionState) -> set[SessionState]:
    """States that the table allows after any number of steps, the start included."""
    found, queue = {start}, [start]
    while queue:
        for after in TRANSITIONS[queue.pop()].values():
            if after not in found:
                found.add(after)
                queue.append(after)
    return found


class Sessions(RuleBasedStateMachine):
    """Two parties, a link and an adversary who owns the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(NETWORK, FRAME, ROOTS.server)
        self.client = Client(DATA, ROOTS.client)
        self.link = ToyLink(FRAME)
        self.wire: list[Message] = []
        self.rows: tuple[SendRows, SetReceiver] | None = None
        self.setting: SetData | None = None
        self.outcomes: list[Outcomes] = []
        self.returned: list[Returned] = []
        self.states = (self.server.state, self.client.state)
        self.verdict: Verdict | None = None  # the last one, until light is returned: certificates take their time

    # What must not change -------------------------------------------------------------------------------------

    def see(self, party: Server | Client) -> tuple[object, ...]:
        return (party.state, party.position, party.finished_blocks, party.ending, party.digest, party.inputs_digest())

    def attempt(self, party: Server | Client, call: Callable[[], Any]) -> Any:
        """A call to one party: the other one feels nothing; a refused call leaves no trace in this one either."""
        other: Server | Client = self.client if party is self.server else self.server
        mine, others = self.see(party), self.see(other)
        try:
            return call()
        except ProtocolError:
            assert self.see(party) == mine
            return None
        finally:
            assert self.see(other) == others

    def give_light(self, returned: Returned) -> Any:
        self.verdict = None
        return self.attempt(self.server, lambda: self.server.returned(returned))

    def to_server(self, message: Message) -> None:
        inputs, frame = self.server.inputs_digest(), self.server.frame
        verdict = self.server.verdict() if self.verdict is None else self.verdict
        choices = self.server._choices(0, 0)
        self.wire.extend(self.attempt(self.server, lambda: self.server.receive(message)) or ())
        assert self.server.inputs_digest() == inputs
        assert self.server.frame is frame
        self.verdict = self.server.verdict()
        assert self.verdict == verdict
        for before, after in zip(choices, self.server._choices(0, 0), strict=True):
            np.testing.assert_array_equal(before, after)

    def to_client(self, message: Message) -> None:
        agreed, inputs = self.client.digest, self.client.inputs_digest()
        self.wire.extend(self.attempt(self.client, lambda: self.client.receive(message)) or ())
        if agreed is not None or self.client.digest is None:
            assert self.client.digest == agreed
            assert self.client.inputs_digest() == inputs

    # A start somewhere in an honest session, and honest progress in between -----------------------------------

    @initialize(layers=st.integers(-1, 4))
    def begin(self, layers: int) -> None:
        """Chaos begins before the handshake (-1), after it, or after some layers of light."""
        for _ in range(layers + 1):
            self.advance()

    @rule()
    def advance(self) -> None:
        """What would come next if nobody interfered, where the parties are still in step."""
        live = (SessionState.AGREED, SessionState.RUNNING)
        if states(self.server, self.client) == (SessionState.NEW, SessionState.NEW):
            self.propose()
            self.to_client(self.wire[-1])
            self.to_server(self.wire[-1])
        elif {self.server.state, self.client.state} <= set(live) and self.server.position == self.client.position:
            self.load()
            self.set_data()
            assert self.rows is not None
            assert self.setting is not None
            outcomes, returned = self.link.transmit(*self.rows, self.setting)
            self.outcomes.append(outcomes)
            self.returned.append(returned)
            self.attempt(self.client, lambda: self.client.outcomes(outcomes))
            self.wire.extend(self.give_light(returned) or ())

    # Honest steps, in any order -------------------------------------------------------------------------------

    @rule()
    def propose(self) -> None:
        proposal = self.attempt(self.server, self.server.propose)
        if proposal is not None:
            self.wire.append(message_from_json(proposal.to_json()))

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), server=st.booleans())
    def deliver(self, data: st.DataObject, server: bool) -> None:
        """Any message that was ever sent, to anybody, as often as one likes."""
        message = self.wire[-1] if data.draw(st.booleans()) else data.draw(st.sampled_from(self.wire))
        (self.to_server if server else self.to_client)(message)

    @rule()
    def load(self) -> None:
        self.rows = self.attempt(self.server, self.server.next_intents) or self.rows

    @rule()
    def set_data(self) -> None:
        self.setting = self.attempt(self.client, self.client.next_intent) or self.setting

    @precondition(lambda self: self.rows is not None and self.setting is not None)
    @rule(cheat=st.integers(0, 30))
    def transmit(self, cheat: int) -> None:
        """Light passes where both sides speak of the same layer and block; rarely a client cheats."""
        assert self.rows is not None
        assert self.setting is not None
        if (self.rows[0].layer, self.rows[0].block) == (self.setting.layer, self.setting.block):
            link = ToyLink(FRAME, noise=500.0) if cheat == 30 else self.link
            outcomes, returned = link.transmit(*self.rows, self.setting)
            self.outcomes.append(outcomes)
            self.returned.append(returned)

    @precondition(lambda self: self.outcomes)
    @rule(data=st.data())
    def measure(self, data: st.DataObject) -> None:
        replayed = data.draw(st.sampled_from(self.outcomes))
        outcomes = self.outcomes[-1] if data.draw(st.integers(0, 3)) else replayed
        self.attempt(self.client, lambda: self.client.outcomes(outcomes))
        if self.client.layer_done is not None:
            self.wire.append(self.client.layer_done)

    @precondition(lambda self: self.returned)
    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        replayed = data.draw(st.sampled_from(self.returned))
        returned = self.returned[-1] if data.draw(st.integers(0, 3)) else replayed
        self.wire.extend(self.give_light(returned) or ())

    # Disturbance ----------------------------------------------------------------------------------------------

    @rule(message=disturbing, server=st.booleans())
    def disturb(self, message: Message, server: bool) -> None:
        (self.to_server if server else self.to_client)(message)

    @rule(message=ending, server=st.booleans(), chance=st.integers(0, 4))
    def end(self, message: Message, server: bool, chance: int) -> None:
        if chance == 4:
            (self.to_server if server else self.to_client)(message)

    @rule(layer=small, block=small, value=st.sampled_from([0.0, np.nan, 1e300, -np.inf]), images=small, rows=small)
    def wrong_outcomes(self, layer: int, block: int, value: float, images: int, rows: int) -> None:
        bad = Outcomes(layer, block, np.full((images, rows + 5), value))
        before = self.see(self.client)
        self.attempt(self.client, lambda: self.client.outcomes(bad))
        assert self.see(self.client) == before

    @precondition(lambda self: self.returned)
    @rule(
        name=st.sampled_from(["sum_qq", "sum_rr", "sum_qr", "sum_jj", "sum_jr"]),
        value=st.sampled_from([-1e9, np.nan, np.inf]),
    )
    def wrong_light(self, name: str, value: float) -> None:
        last = self.returned[-1]
        array: Any = np.full(last.statistics.counted.size, value)
        before = self.see(self.server)
        statistics = replace(last.statistics, **{name: array})
        bad = Returned(last.layer, last.block, statistics, last.use_sums, last.sample)
        self.attempt(self.server, lambda: self.server.returned(bad))
        assert self.see(self.server) == before

    @rule(wrong=st.sampled_from([None, 3, "abort", {"type": "abort", "reason": "x"}]), server=st.booleans())
    def no_message(self, wrong: Any, server: bool) -> None:
        party: Server | Client = self.server if server else self.client
        before = self.see(party)
        try:
            party.receive(wrong)
        except TypeError:
            assert self.see(party) == before
        else:
            raise AssertionError("what is no message was taken")

    @rule()
    def late_restore(self) -> None:
        """Restoring nothing is harmless at the beginning and an error later; it never changes anything."""
        before = self.see(self.server), self.see(self.client)
        self.attempt(self.server, lambda: self.server.restore([]))
        self.attempt(self.client, lambda: self.client.restore([]))
        assert (self.see(self.server), self.see(self.client)) == before

    # What always holds ----------------------------------------------------------------------------------------

    @invariant()
    def states_follow_the_table(self) -> None:
        now = (self.server.state, self.client.state)
        for before, after in zip(self.states, now, strict=True):
            assert after in _reachable(before)
        self.states = now
        for party in (self.server, self.client):
            ended = party.state in (SessionState.ABORTED, SessionState.REFUSED)
            assert (party.ending is not None) == ended
            if ended or party.state is SessionState.DONE:
                assert party.position is None
            if party.state is SessionState.DONE:
                assert party.finished_blocks == {0, 1}
        assert (self.client.data_uses <= 1).all()

    def teardown(self) -> None:
        """From wherever this led, honest steps lead to an end; nobody is stuck in between."""
        if self.client.digest not in (None, FRAME.digest):
            return  # the adversary made the client agree to another frame: the digests refuse, as tested elsewhere
        if self.server.state is SessionState.NEW and self.client.state is SessionState.NEW:
            self.wire = [self.server.propose()]
        if self.client.state is SessionState.NEW and self.server.state is SessionState.PROPOSED:
            self.client.receive(Proposal(FRAME))
        if self.server.state is SessionState.PROPOSED and self.client.digest is not None:
            self.server.receive(Acceptance(self.client.digest))
        live = (SessionState.AGREED, SessionState.RUNNING)
        if self.server.state in live and self.client.state in live and self.server.position == self.client.position:
            drive_quietly(self.server, self.client, self.link)
            assert self.server.state in (SessionState.DONE, SessionState.ABORTED)
            assert self.client.state in (SessionState.DONE, SessionState.ABORTED)


def drive_quietly(server: Server, client: Client, link: ToyLink) -> None:
    """As `drive`, without the client's reports, which may have been given already."""
    while (intents := server.next_intents()) is not None and (setting := client.next_intent()) is not None:
        outcomes, returned = link.transmit(*intents, setting)
        client.outcomes(outcomes)
        for message in server.returned(returned):
            if client.notice is None:
                client.receive(message)


def at_length(examples: int, *, derandomize: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


TestSessions = Sessions.TestCase
TestSessions.settings = at_length(25, derandomize=True)


@pytest.mark.soak
def test_many_sessions() -> None:
    run_state_machine_as_test(Sessions, settings=at_length(1000, derandomize=False))


def test_the_toys_themselves_reach_the_end() -> None:
    """The machine above would pass if nothing ever ran: its network, frame and link do run."""
    server, client = Server(NETWORK, FRAME, ROOTS.server), Client(DATA, ROOTS.client)
    for answer in client.receive(server.propose()):
        server.receive(answer)
    run = drive(server, client, ToyLink(FRAME))
    assert states(server, client) == (SessionState.DONE,) * 2
    assert len(run.records) == 4
