"""Whole sessions over the toy link."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.facts import Activation, ActivationKind, Budgets, Ledger, Reason, TapSetting, VerdictKind
from labqdl.optics.gain_tap import tap_law
from labqdl.protocol import (
    Acceptance,
    Outcomes,
    Refusal,
    SessionState,
    VerdictNotice,
    message_from_json,
)
from tests.protocol.toy import (
    IDEAL,
    LOSSY,
    ToyLink,
    ToyNetwork,
    agree,
    drive,
    logits_of,
    parties,
    plain_forward,
    states,
    toy_data,
    toy_frame,
    toy_layer,
    toy_network,
)

WIDE = Budgets(bits_per_weight=60.0, bits_per_feature=60.0)


@pytest.mark.parametrize(
    ("budgets", "kind", "reason"),
    [(None, VerdictKind.UNDECIDED, Reason.BUDGET), (WIDE, VerdictKind.ACCEPT, Reason.ACCEPTED)],
)
@pytest.mark.parametrize("ledger", [IDEAL, LOSSY], ids=lambda ledger: ledger.name)
def test_an_honest_session_ends_done(
    budgets: Budgets | None, kind: VerdictKind, reason: Reason, ledger: Ledger
) -> None:
    network = toy_network(12, 10, 4)
    frame = toy_frame(network, 40, 16, budgets=budgets, ledger=ledger)
    server, client = parties(network, frame, toy_data(40, 12))
    agree(server, client)
    assert states(server, client) == (SessionState.AGREED,) * 2
    assert server.digest == client.digest == frame.digest
    run = drive(server, client, ToyLink(frame))
    assert states(server, client) == (SessionState.DONE,) * 2
    assert run.messages == [VerdictNotice(kind, reason)]
    assert client.notice == run.messages[0]
    assert server.verdict().kind is kind
    assert server.finished_blocks == client.finished_blocks == {0, 1, 2}
    assert server.position is None
    assert client.position is None
    assert server.next_intents() is None
    assert client.next_intent() is None
    assert client.data_uses.tolist() == [1] * 40
    assert [result.logits.shape for result in run.results] == [(16, 4), (16, 4), (8, 4)]
    assert server.ending is None
    assert server.evidence is None
    assert len(server.light) == len(frame.layers)
    assert server.verifier.samples > 0
    assert server.verifier.verdict().kind is kind


def test_the_whole_session_over_json() -> None:
    network = toy_network(5, 3)
    frame = toy_frame(network, 3, 2)
    server, client = parties(network, frame, toy_data(3, 5))
    (acceptance,) = client.receive(message_from_json(server.propose().to_json()))
    server.receive(message_from_json(acceptance.to_json()))
    run = drive(server, client, ToyLink(frame))
    assert message_from_json(run.messages[0].to_json()) == run.messages[0]
    assert server.state is SessionState.DONE


@pytest.mark.parametrize(
    "network",
    [
        ToyNetwork((toy_layer(3, 8, 0), toy_layer(4, 3, 1, activation=Activation()))),
        ToyNetwork(
            (
                toy_layer(5, 7, 0, bias=True, published=True),
                toy_layer(4, 5, 1, bias=True, published=True, activation=Activation(ActivationKind.SQUARE)),
                toy_layer(1, 4, 2, bias=True, published=True, activation=Activation()),
            )
        ),
        ToyNetwork((toy_layer(4, 8, 0, bias=True, published=True, activation=Activation(threshold=0.7)),)),
        ToyNetwork(
            (
                toy_layer(6, 5, 0, activation=Activation(ActivationKind.LEAKY_RELU, 0.3, 0.2)),
                toy_layer(3, 6, 1, centred=True, activation=Activation(ActivationKind.RELU, 0.5)),
            )
        ),
    ],
    ids=["relu", "bias-square", "threshold", "leaky-centred"],
)
@pytest.mark.parametrize("tap", [TapSetting.amplifier(2.0), TapSetting.feed_forward(0.8)], ids=lambda tap: tap.kind)
def test_without_noise_the_client_computes_the_network(network: ToyNetwork, tap: TapSetting) -> None:
    data = toy_data(7, network.layers[0].weights.shape[1])
    frame = toy_frame(network, 7, 3, tap=tap, ledger=LOSSY)
    server, client = parties(network, frame, data)
    agree(server, client)
    run = drive(server, client, ToyLink(frame, quiet=True))
    logits = np.concatenate([result.logits for result in run.results])
    expected = plain_forward(network, data)
    np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())
    chosen = np.concatenate([result.predictions for result in run.results])
    if expected.shape[1] == 1:
        np.testing.assert_array_equal(chosen, expected[:, 0] > 0)
    else:
        np.testing.assert_array_equal(chosen, expected.argmax(axis=1))


def test_noise_of_the_outcomes_is_that_of_the_law() -> None:
    """Standard error of a variance from 20,000 normals is 1 %: 5 sigma is 5 %, false alarm 6e-7."""
    network = toy_network(6, 10)
    frame = toy_frame(network, 2000, 64, ledger=LOSSY)
    data = toy_data(2000, 6)
    server, client = parties(network, frame, data)
    agree(server, client)
    run = drive(server, client, ToyLink(frame))
    noise = np.concatenate([result.logits for result in run.results]) - plain_forward(network, data)
    law = tap_law(frame.tap, frame.ledger)
    norms = np.linalg.norm(data, axis=1)[:, None]
    expected = law.outcome_variance / (law.outcome_gain**2 * frame.ledger.forward * 2 * frame.layers[0].mu)
    assert np.mean((noise / norms) ** 2) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_a_cheating_client_is_caught_in_the_middle(noise: float) -> None:
    network = toy_network(12, 10, 4)
    frame = toy_frame(network, 400, 16)
    server, client = parties(network, frame, toy_data(400, 12))
    agree(server, client)
    run = drive(server, client, ToyLink(frame, noise=noise))
    assert server.aborted
    assert client.aborted
    assert len(run.records) < 50
    assert run.messages == [VerdictNotice(VerdictKind.ABORT, Reason.INCONSISTENT)]
    assert server.evidence is not None
    assert server.evidence.statistics is run.records[-1][2].statistics
    assert server.verdict().kind is VerdictKind.ABORT
    assert server.ending == server.verdict().explanation
    assert client.ending == "the server's verdict: inconsistent"
    assert server.position is None


def test_a_fault_in_the_last_layer_aborts_the_server_and_takes_no_prediction_back() -> None:
    network = toy_network(12, 10, 4)
    frame = toy_frame(network, 16, 16)
    server, client = parties(network, frame, toy_data(16, 12))
    agree(server, client)
    drive(server, client, ToyLink(frame), steps=1)
    run = drive(server, client, ToyLink(frame, noise=30.0))
    assert server.aborted
    assert client.state is SessionState.DONE
    assert client.notice == VerdictNotice(VerdictKind.ABORT, Reason.INCONSISTENT)
    assert len(run.results) == 1


def test_bright_light_beyond_all_measure_aborts() -> None:
    network = toy_network(4, 4)
    frame = toy_frame(network, 4, 2)
    server, client = parties(network, frame, toy_data(4, 4))
    agree(server, client)
    drive(server, client, ToyLink(frame, noise=1e12))
    assert server.aborted


def test_other_digests_refuse_on_both_sides() -> None:
    network = toy_network(4, 3)
    frame = toy_frame(network, 2, 2)
    server, client = parties(network, frame, toy_data(2, 4))
    client.receive(replace(server.propose(), frame=replace(frame, session="another")))
    answers = server.receive(Acceptance(client.digest or ""))
    assert isinstance(answers[0], Refusal)
    assert "digests" in answers[0].reason
    assert client.receive(answers[0]) == ()
    assert states(server, client) == (SessionState.REFUSED,) * 2
    assert client.ending == server.ending == answers[0].reason


def test_empty_vectors_send_random_light_and_give_zero() -> None:
    network = ToyNetwork((toy_layer(3, 5, 0), toy_layer(2, 3, 1, activation=Activation())))
    frame = toy_frame(network, 4, 4)
    data = toy_data(4, 5)
    data[[1, 3]] = 0
    server, client = parties(network, frame, data)
    agree(server, client)
    setting, intents = client.next_intent(), server.next_intents()
    assert setting is not None
    assert intents is not None
    np.testing.assert_allclose(np.linalg.norm(setting.directions, axis=1), 1.0, rtol=1e-6)
    assert not np.allclose(setting.directions[1], setting.directions[3])
    assert setting.directions[1, 5] == 0  # the padding carries no light, in empty vectors neither
    outcomes, _ = ToyLink(frame).transmit(*intents, setting)
    assert np.abs(outcomes.values[1]).min() > 0
    client.outcomes(Outcomes(0, 0, np.abs(outcomes.values)))
    hidden = client.next_intent()
    assert hidden is not None
    # ReLU of 0 is 0: the hidden vector is empty again, and its direction is another random one.
    np.testing.assert_allclose(np.linalg.norm(hidden.directions, axis=1), 1.0, rtol=1e-6)
    result = client.outcomes(Outcomes(1, 0, np.full((4, 2), 3.0)))
    assert result is not None
    assert not result.logits[[1, 3]].any()
    assert result.logits[[0, 2]].all()


@pytest.mark.parametrize("finished", [[0], [0, 1], [1], [2, 0], [0, 1, 2]])
@pytest.mark.parametrize("before_agreement", [True, False])
def test_a_restored_session_goes_on_identically(finished: list[int], before_agreement: bool) -> None:
    network = toy_network(6, 5, 3)
    frame = toy_frame(network, 14, 5, ledger=LOSSY)
    data = toy_data(14, 6)
    data[6] = 0
    server, client = parties(network, frame, data)
    agree(server, client)
    whole = drive(server, client, ToyLink(frame))
    logits = dict(logits_of(whole.results))

    again, user = parties(network, frame, data)
    if not before_agreement:
        agree(again, user)
    restored = user.restore((block, logits[block]) for block in finished)
    again.restore([record for record in whole.records[::-1] if record[1] in finished])
    if before_agreement:
        agree(again, user)
    assert [result.block for result in restored] == finished
    assert again.finished_blocks == user.finished_blocks == set(finished)
    expected = next(((0, block) for block in range(3) if block not in finished), None)
    assert again.position == user.position == expected
    rest = drive(again, user, ToyLink(frame))
    assert states(again, user) == (SessionState.DONE,) * 2
    results = {result.block: result for result in (*restored, *rest.results)}
    for result in whole.results:
        np.testing.assert_array_equal(results[result.block].logits, result.logits)
        np.testing.assert_array_equal(results[result.block].predictions, result.predictions)
    assert len(rest.records) == 2 * (3 - len(finished))
    assert again.verdict() == server.verdict()
    assert user.data_uses.tolist() == client.data_uses.tolist() == [1] * 14
    assert math.isclose(again.verdict().consistency.log10_e_value, server.verdict().consistency.log10_e_value)
    assert again.inputs_digest() == server.inputs_digest()
    assert user.inputs_digest() == client.inputs_digest()
