from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from labqdl.errors import InputError, ProtocolError
from labqdl.facts import (
    Activation,
    ActivationKind,
    Budgets,
    Component,
    FrameDescription,
    Ledger,
    Owner,
    Place,
    Reason,
    TapSetting,
    VerdictKind,
)
from labqdl.optics.gain_tap import tap_law
from labqdl.protocol import (
    Abort,
    Acceptance,
    Client,
    LayerDone,
    Limits,
    Outcomes,
    Proposal,
    Refusal,
    SessionState,
    VerdictNotice,
)
from labqdl.rng import Roots
from tests.protocol.toy import ToyNetwork, toy_data, toy_frame, toy_layer, toy_network

NETWORK = toy_network(4, 3, 2)
FRAME = toy_frame(NETWORK, 5, 2)
ROOT = Roots.from_seed(1).client
ABORTED = VerdictNotice(VerdictKind.ABORT, Reason.INCONSISTENT)
DONE = VerdictNotice(VerdictKind.UNDECIDED, Reason.SAMPLES)


def new(limits: Limits | None = None) -> Client:
    return Client(toy_data(5, 4), ROOT, limits=limits)


def agreed(frame: FrameDescription = FRAME) -> Client:
    client = new()
    assert client.receive(Proposal(frame)) == (Acceptance(frame.digest),)
    return client


def measure(client: Client, layers: int = 1) -> None:
    for _ in range(layers):
        setting = client.next_intent()
        assert setting is not None
        assert client.frame is not None
        rows = client.frame.layers[setting.layer].rows
        client.outcomes(Outcomes(setting.layer, setting.block, np.ones((setting.directions.shape[0], rows))))


def snapshot(client: Client) -> tuple[object, ...]:
    return (
        client.state,
        client.position,
        client.finished_blocks,
        client.inputs_digest(),
        client.layer_done,
        client.notice,
        client.ending,
    )


def refuses(client: Client, call: Callable[[], object], words: str) -> None:
    """The call is a protocol error and leaves no trace."""
    before = snapshot(client)
    with pytest.raises(ProtocolError, match=words):
        call()
    assert snapshot(client) == before


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (np.zeros((2, 3), dtype=np.int64), TypeError),
        ([[1.0]], TypeError),
        (np.zeros(3), ValueError),
        (np.zeros((0, 3)), ValueError),
        (np.array([[np.nan]]), ValueError),
    ],
)
def test_data_that_cannot_be(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Client(data, ROOT)


def with_first_layer(**changes: Any) -> FrameDescription:
    return replace(FRAME, layers=(replace(FRAME.layers[0], **changes), *FRAME.layers[1:]))


DARK = Ledger("dark", tuple(Component(f"{i}", Place.FORWARD, Owner.CHANNEL, transmissivity=1e-200) for i in range(2)))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (replace(FRAME, images=6), "for 6 images, the client has 5"),
        (toy_frame(toy_network(3, 2), 5, 2), "takes 3 features, the client's data have 4"),
        (replace(FRAME, tap=TapSetting.amplifier(1.5e308)), "has no law"),
        (replace(FRAME, ledger=DARK), "nothing to measure"),
        (with_first_layer(mu=1e308), "nothing to measure"),
        (with_first_layer(published_scale=0.0), "layer 0 has a scale"),
        (with_first_layer(published_scale=-1.0), "layer 0 has a scale"),
        (with_first_layer(published_scale=math.nan), "layer 0 has a scale"),
        (with_first_layer(activation=Activation(threshold=math.inf)), "layer 0 has a scale, threshold"),
        (with_first_layer(activation=Activation(ActivationKind.LEAKY_RELU, slope=math.nan)), "or slope"),
    ],
)
def test_proposals_that_do_not_fit_are_refused(frame: FrameDescription, words: str) -> None:
    client = new()
    (answer,) = client.receive(Proposal(frame))
    assert isinstance(answer, Refusal)
    assert words in answer.reason
    assert client.state is SessionState.REFUSED
    assert client.digest is None
    assert client.next_intent() is None
    assert client.ending == answer.reason


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(budgets=Budgets(bits_per_feature=0.05)), "bits_per_feature is 0.1, the client allows 0.05"),
        (Limits(budgets=Budgets(cumulative_bits_per_feature=3.0)), "is no limit, the client allows 3"),
        (Limits(tap=TapSetting.feed_forward(0.9)), "gain-and-tap setting"),
        (Limits(outputs=3), "has 2 outputs, the client expects 3"),
        (Limits(max_rows=2), "has 3 rows, the client allows 2"),
    ],
)
def test_limits_of_the_client(limits: Limits, words: str) -> None:
    client = new(limits)
    (answer,) = client.receive(Proposal(FRAME))
    assert isinstance(answer, Refusal)
    assert words in answer.reason


def test_limits_that_are_kept() -> None:
    budgets = Budgets(bits_per_weight=1e-9, bits_per_feature=0.1, cumulative_bits_per_feature=3.0)
    frame = replace(FRAME, budgets=Budgets(cumulative_bits_per_feature=2.0))
    client = new(Limits(budgets=budgets, tap=FRAME.tap, outputs=2, max_rows=3))
    assert client.receive(Proposal(frame)) == (Acceptance(frame.digest),)
    assert client.frame == frame


def test_calls_before_agreement() -> None:
    client = new()
    refuses(client, client.next_intent, "next_intent is not allowed in state new")
    refuses(client, lambda: client.outcomes(Outcomes(0, 0, np.ones((2, 3)))), "outcomes is not allowed in state new")
    for message in (Refusal("no"), DONE, ABORTED, Acceptance("0" * 64), LayerDone(0, 0)):
        refuses(client, partial(client.receive, message), "client: ")


def test_a_second_proposal_changes_nothing() -> None:
    client = agreed()
    refuses(client, lambda: client.receive(Proposal(replace(FRAME, session="other"))), "propose is not allowed")


@pytest.mark.parametrize("message", [Acceptance("0" * 64), LayerDone(0, 0), DONE, Refusal("late")])
def test_messages_that_do_not_belong_while_light_flows(message: Any) -> None:
    client = agreed()
    measure(client, 2)
    refuses(client, lambda: client.receive(message), "client: ")


@pytest.mark.parametrize("wrong", [None, "abort", {"type": "abort"}, Outcomes(0, 0, np.ones((1, 1)))])
def test_what_is_no_message_or_no_outcomes(wrong: Any) -> None:
    client = agreed()
    with pytest.raises(TypeError):
        client.receive(wrong)
    client.next_intent()
    if not isinstance(wrong, Outcomes):
        with pytest.raises(TypeError):
            client.outcomes(wrong)


def test_outcomes_that_were_not_asked_for() -> None:
    client = agreed()
    refuses(client, lambda: client.outcomes(Outcomes(0, 0, np.ones((2, 3)))), "outcomes is not allowed in state agreed")
    first = client.next_intent()
    assert client.next_intent() is first
    for layer, block in ((1, 0), (0, 1), (-1, 0)):
        refuses(client, partial(client.outcomes, Outcomes(layer, block, np.ones((2, 3)))), "not asked for")
    client.outcomes(Outcomes(0, 0, np.ones((2, 3))))
    refuses(client, lambda: client.outcomes(Outcomes(1, 0, np.ones((2, 2)))), "not asked for")
    refuses(client, lambda: client.outcomes(Outcomes(0, 0, np.ones((2, 3)))), "not asked for")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((1, 3)), "shape"),
        (np.ones((2, 4)), "shape"),
        (np.full((2, 3), np.nan), "not finite"),
        (np.full((2, 3), -np.inf), "not finite"),
        (np.full((2, 3), -1e300), "not finite, or too large"),
    ],
)
def test_outcomes_that_cannot_be(values: Any, words: str) -> None:
    client = agreed()
    client.next_intent()
    refuses(client, lambda: client.outcomes(Outcomes(0, 0, values)), words)
    measure(client, 6)
    assert client.state is SessionState.DONE


def test_activations_whose_norm_overflows() -> None:
    layer = toy_layer(3, 4, 0, activation=Activation())
    frame = toy_frame(ToyNetwork((layer, toy_layer(2, 3, 1))), 5, 2)
    client = Client(np.full((5, 4), 10.0), ROOT)
    client.receive(Proposal(frame))
    client.next_intent()
    # Each activation is 3e38, which float32 holds; the norm of three of them is not. |x| = 20.
    gain = tap_law(frame.tap, frame.ledger).outcome_gain * math.sqrt(2 * frame.layers[0].mu) / 20
    values = np.full((2, 3), 3e38 * gain)
    refuses(client, lambda: client.outcomes(Outcomes(0, 0, values)), "activations of layer 0, block 0")


def test_what_is_handed_over_on_the_way() -> None:
    client = agreed()
    assert (client.layer_done, client.position) == (None, (0, 0))
    assert client.data_uses.tolist() == [0] * 5
    client.next_intent()
    client.next_intent()
    assert client.data_uses.tolist() == [1, 1, 0, 0, 0]
    measure(client)
    assert (client.layer_done, client.position) == (LayerDone(0, 0), (1, 0))
    measure(client, 2)
    assert client.data_uses.tolist() == [1, 1, 1, 1, 0]
    assert client.finished_blocks == {0}
    with pytest.raises(ValueError, match="read-only"):
        client.data_uses[0] = 0
    assert "running" in repr(client)


def test_float64_data_and_data_that_change_type_are_taken() -> None:
    client = Client(np.ones((5, 4)), ROOT)
    client.receive(Proposal(FRAME))
    setting = client.next_intent()
    assert setting is not None
    assert setting.directions.dtype == np.float32
    assert not setting.directions.flags.writeable


def test_vectors_too_long_for_their_type_are_the_users_mistake() -> None:
    client = Client(np.full((5, 4), 3e38, dtype=np.float32), ROOT)
    client.receive(Proposal(FRAME))
    before = snapshot(client)
    with pytest.raises(InputError):
        client.next_intent()
    assert snapshot(client) == before


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_abort_by_the_server_at_any_time(layers: int) -> None:
    for message in (Abort("stopped by its user"), ABORTED):
        client = agreed()
        measure(client, layers)
        before = client.inputs_digest()
        assert client.receive(message) == ()
        assert client.aborted
        assert client.next_intent() is None
        assert client.inputs_digest() == before
        assert client.ending is not None
        refuses(client, partial(client.outcomes, Outcomes(0, 0, np.ones((2, 3)))), "state aborted")
        client.receive(Abort("crossing"))
        assert client.ending != "crossing"


def test_abort_by_the_client() -> None:
    for client in (new(), agreed()):
        assert client.abort("enough\x1b of it") == (Abort("enough  of it"),)
        assert client.aborted
        assert client.abort("again") == ()
        assert client.ending == "enough  of it"


def test_the_verdict_comes_once_and_after_the_end() -> None:
    client = agreed()
    refuses(client, lambda: client.receive(DONE), "a verdict of undecided is not allowed in state agreed")
    measure(client, 6)
    assert client.state is SessionState.DONE
    client.receive(DONE)
    assert client.notice == DONE
    refuses(client, lambda: client.receive(ABORTED), "before")
    client.receive(Abort("late"))
    assert client.state is SessionState.DONE


LOGITS = np.ones((2, 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([(0, LOGITS), (0, LOGITS)], "repeated"),
        ([(-1, LOGITS)], "negative"),
        ([(0, np.ones(2))], "no finite"),
        ([(0, np.full((2, 2), np.nan))], "no finite"),
        ([(3, LOGITS)], "does not fit"),
        ([(2, LOGITS)], "does not fit"),
        ([(0, np.ones((2, 3)))], "does not fit"),
    ],
)
def test_blocks_that_cannot_be_restored(blocks: list[tuple[int, Any]], words: str) -> None:
    client = agreed()
    refuses(client, lambda: client.restore(blocks), words)
    client = new()
    if words != "does not fit":
        refuses(client, lambda: client.restore(blocks), words)
        return
    client.restore(blocks)
    (answer,) = client.receive(Proposal(FRAME))
    assert isinstance(answer, Refusal)
    assert words in answer.reason


def test_restoring_is_for_the_beginning_and_once() -> None:
    client = agreed()
    (result,) = client.restore([(1, LOGITS)])
    assert repr(result) == "BlockResult(block=1, logits=<(2, 2)>)"
    assert client.data_uses.tolist() == [0, 0, 1, 1, 0]
    refuses(client, lambda: client.restore([(0, LOGITS)]), "restored before")
    measure(client, 4)
    assert client.state is SessionState.DONE
    refuses(client, lambda: client.restore([]), "restore is not allowed")


def test_a_vector_of_zeros_points_elsewhere_in_every_block() -> None:
    client = Client(np.zeros((5, 4), np.float32), Roots.from_seed(1).client)
    client.receive(Proposal(FRAME))
    first = client.next_intent()
    measure(client, 2)
    second = client.next_intent()
    assert first is not None
    assert second is not None
    assert second.block == first.block + 1
    assert np.abs(first.directions - second.directions).max() > 1e-3
    assert np.linalg.norm(second.directions, axis=1) == pytest.approx(1.0, abs=1e-6)
