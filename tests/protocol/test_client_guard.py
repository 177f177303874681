"""The client's checks within a session: hidden among its data, before any outcome is used, and silent to the server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.errors import ProtocolError
from labqdl.facts import FrameDescription, MonitorReading
from labqdl.protocol import Abort, Client, Outcomes, SessionState
from labqdl.protocol.client import PARTING
from labqdl.protocol.guard import GuardSettings
from labqdl.rng import Roots
from tests.protocol.toy import ToyLink, agree, drive, logits_of, parties, toy_data, toy_frame, toy_network

NETWORK = toy_network(6, 5, 3)


def frame(checks: int = 3, images: int = 8) -> FrameDescription:
    return replace(toy_frame(NETWORK, images, 4), check_vectors=checks)


def reading(rows: int, outside: int = 0) -> MonitorReading:
    return MonitorReading(np.zeros(rows, np.int64), 0.0, outside)


def quiet_outcomes(client: Client, frame: FrameDescription) -> NDArray[np.float64]:
    """Outcomes of light without weights in it: noise of the agreed variance alone."""
    assert client.position is not None
    layer, block = client.position
    shape = (frame.block_vectors(block), frame.layers[layer].rows)
    return np.asarray(np.random.default_rng([layer, block]).standard_normal(shape) * np.sqrt(2.0))


def test_check_vectors_travel_with_the_data_and_change_no_prediction() -> None:
    data = toy_data(8, 6)
    server, client = parties(NETWORK, frame(), data)
    agree(server, client)
    intent, intents = client.next_intent(), server.next_intents()
    assert intent is not None
    assert intents is not None
    assert intent.directions.shape == (4 + 3, 6)
    assert intents[0].images == 4 + 3
    run = drive(server, client, ToyLink(frame(), quiet=True))
    assert [result.logits.shape for result in run.results] == [(4, 3)] * 2
    assert client.state is SessionState.DONE
    assert client.data_uses.tolist() == [1] * 8  # checks use nobody's data
    plain_server, plain = parties(NETWORK, frame(0), data)
    agree(plain_server, plain)
    expected = drive(plain_server, plain, ToyLink(frame(0), quiet=True))
    for one, other in zip(run.results, expected.results, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_alarm_ends_the_session_before_an_outcome_is_used() -> None:
    agreed = frame()
    server, client = parties(NETWORK, agreed, toy_data(8, 6))
    agree(server, client)
    client.next_intent()
    server.next_intents()
    assert list(client.parting) == []
    assert client.outcomes(Outcomes(0, 0, quiet_outcomes(client, agreed), reading(5, outside=500))) is None
    assert client.state is SessionState.ABORTED
    assert client.alarm is not None
    assert "out of band, layer 1" in client.alarm
    assert client.ending == client.alarm
    assert client.layer_done is None
    assert client.next_intent() is None
    assert client.position is None
    (message,) = client.parting
    assert message == Abort(PARTING)
    assert server.receive(message) == ()
    assert server.aborted
    assert server.ending == PARTING
    assert [test.name for test in client.findings if not test.passed] == ["out of band, layer 1"]
    (record,) = client.check_records(0)
    assert record.out_of_band == 500


def test_outcomes_that_do_not_repeat_end_it_too() -> None:
    agreed = frame(checks=16)
    _, client = parties(NETWORK, agreed, toy_data(8, 6))
    client.receive(parties(NETWORK, agreed, toy_data(8, 6))[0].propose())
    client.next_intent()
    values = quiet_outcomes(client, agreed)
    assert client.outcomes(Outcomes(0, 0, 3.0 * values)) is None
    assert client.alarm is not None
    assert "repeat, layer 1" in client.alarm


def test_what_is_no_outcome_of_this_block_changes_nothing() -> None:
    agreed = frame()
    server, client = parties(NETWORK, agreed, toy_data(8, 6))
    agree(server, client)
    client.next_intent()
    values = quiet_outcomes(client, agreed)
    before = client.inputs_digest()
    for wrong in (
        Outcomes(0, 0, values[:4]),
        Outcomes(0, 0, np.full_like(values, np.nan)),
        Outcomes(0, 0, values, reading(4)),
    ):
        with pytest.raises(ProtocolError):
            client.outcomes(wrong)
    bad = values.copy()
    _, checks = client.separate(0, 0, np.arange(7.0)[:, None])
    assert checks.size == 3
    bad[checks[:, 0].astype(int)] = np.inf  # in check vectors alone
    with pytest.raises(ProtocolError, match="finite"):
        client.outcomes(Outcomes(0, 0, bad))
    assert client.inputs_digest() == before
    assert client.check_records(0) == ()
    assert client.outcomes(Outcomes(0, 0, values, reading(5))) is None
    assert client.position == (1, 0)
    with pytest.raises(TypeError, match="monitor"):
        Outcomes(0, 0, values, "bright")  # type: ignore[arg-type]


def test_settings_are_part_of_what_no_peer_can_change() -> None:
    data, root = toy_data(8, 6), Roots.from_seed(3).client
    strict = Client(data, root, guard=GuardSettings(alpha=1e-3))
    assert strict.inputs_digest() != Client(data, root).inputs_digest()


@pytest.mark.parametrize("before_agreement", [True, False])
def test_a_restored_client_judges_the_earlier_blocks_as_well(before_agreement: bool) -> None:
    agreed, data = frame(), toy_data(8, 6)
    server, client = parties(NETWORK, agreed, data)
    agree(server, client)
    whole = drive(server, client, ToyLink(agreed))
    again, user = parties(NETWORK, agreed, data)
    logits = dict(logits_of(whole.results))
    if not before_agreement:
        agree(again, user)
    user.restore([(0, logits[0])], client.check_records(0))
    again.restore([record for record in whole.records if record[1] == 0])
    if before_agreement:
        agree(again, user)
    assert user.check_records(0) == client.check_records(0)
    drive(again, user, ToyLink(agreed))
    assert user.findings == client.findings
    assert user.check_records(1) == client.check_records(1)


def test_a_server_that_was_left_stays_left() -> None:
    """After the client's abort in the middle of a block the server's partial record may be restored, and only so."""
    agreed = frame()
    server, client = parties(NETWORK, agreed, toy_data(8, 6))
    agree(server, client)
    run = drive(server, client, ToyLink(agreed), steps=1)
    again, _ = parties(NETWORK, agreed, toy_data(8, 6))
    with pytest.raises(ProtocolError, match="incomplete"):
        again.restore(run.records)
    again.restore(run.records, ended=PARTING)
    assert again.aborted
    assert again.ending == PARTING
    assert again.verdict().consistency == server.verifier.verdict().consistency
