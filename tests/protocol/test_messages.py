from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import ProtocolError
from labqdl.facts import Budgets, Reason, TapSetting, VerdictKind
from labqdl.protocol import (
    Abort,
    Acceptance,
    LayerDone,
    Message,
    Proposal,
    Refusal,
    VerdictNotice,
    message_from_json,
)
from labqdl.protocol.messages import MAX_REASON, printable_reason
from tests.protocol.toy import LOSSY, toy_frame, toy_network

FRAME = toy_frame(
    toy_network(4, 3, 2), 5, 2, ledger=LOSSY, tap=TapSetting.feed_forward(0.9), budgets=Budgets(0.2, 0.3, 4.0, None)
)
MESSAGES: list[Message] = [
    Proposal(FRAME),
    Acceptance("0123456789abcdef" * 4),
    Refusal("no such shape"),
    LayerDone(1, 7),
    Abort("the user pressed stop"),
    VerdictNotice(VerdictKind.UNDECIDED, Reason.SAMPLES),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind_name)
def test_over_a_wire_and_back(message: Message) -> None:
    document = json.loads(json.dumps(message.to_json(), allow_nan=False))
    assert message_from_json(document) == message
    assert type(message).from_json(document) == message


def test_digest_survives_the_wire_even_where_a_float_was_written_as_an_integer() -> None:
    layers = tuple(replace(layer, mu=4) for layer in FRAME.layers)
    frame = replace(FRAME, layers=layers)
    received = Proposal.from_json(json.loads(json.dumps(Proposal(frame).to_json()))).frame
    assert received.digest == frame.digest


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind_name)
def test_unknown_and_missing_keys_and_other_types_are_refused(message: Message) -> None:
    document = message.to_json()
    with pytest.raises(ProtocolError, match="unknown key 'extra'"):
        message_from_json({**document, "extra": 1})
    for key in document:
        with pytest.raises(ProtocolError):
            message_from_json({name: value for name, value in document.items() if name != key})
        for wrong in (None, [], {}, object(), True, float("nan"), "\x1b[2J"):
            with pytest.raises(ProtocolError):
                message_from_json({**document, key: wrong})
    with pytest.raises(ProtocolError, match="expected a message of type"):
        type(message).from_json({**document, "type": "other"})


@pytest.mark.parametrize("document", [None, 3, "abort", [], {}, {"type": "gossip"}, {"type": ["abort"]}])
def test_what_is_no_message(document: object) -> None:
    with pytest.raises(ProtocolError, match="unknown message type"):
        message_from_json(document)
    with pytest.raises(ProtocolError):
        Abort.from_json(document)


def _set(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("frame", "layers", 0, "mu"), -1.0, r"frame.layers\[0\]: mu of a layer must be positive"),
        (("frame", "layers", 0, "mu"), float("inf"), "finite number"),
        (("frame", "layers", 0, "mu"), 10**400, "finite number"),
        (("frame", "layers", 0, "mu"), True, "expected float, got bool"),
        (("frame", "layers", 0, "rows"), 3.0, "expected int, got float"),
        (("frame", "layers", 0, "rows"), False, "expected int, got bool"),
        (("frame", "layers", 0, "bias"), 0, "expected bool, got int"),
        (("frame", "layers", 0, "published_scale"), "1", "expected float, got str"),
        (("frame", "layers", 0, "activation", "kind"), "tanh", "expected one of identity, relu"),
        (("frame", "layers", 0, "activation", "kind"), [1], "expected one of identity, relu"),
        (("frame", "layers"), "rows", "expected a list, got str"),
        (("frame", "layers"), [], "at least one layer"),
        (("frame", "layers", 0), 7, "expected an object, got int"),
        (("frame", "layers", 0, "n_features"), 4.5, "expected int"),
        (("frame", "plan", "alpha"), 2.0, "alpha must lie between"),
        (("frame", "tap", "kind"), "amplifier", "missing|kind|frame"),
        (("frame", "ledger", "components", 0, "transmissivity"), 1.5, "transmissivity must be between"),
        (("frame", "ledger", "components", 1, "name"), "fibre out", "two components"),
        (("frame", "session"), 5, "expected str, got int"),
        (("frame", "images"), 0, "at least 1"),
    ],
)
def test_wrong_values_inside_a_proposal_name_their_place(
    path: tuple[str | int, ...], value: object, words: str
) -> None:
    document = Proposal(FRAME).to_json()
    _set(document, path, value)
    if path[-1] == "kind" and value == "amplifier":  # an amplifier of gain 1 is a valid setting: make it invalid
        _set(document, ("frame", "tap", "amplifier_gain"), 0.5)
    with pytest.raises(ProtocolError, match=words):
        message_from_json(document)


@pytest.mark.parametrize("kind", [Refusal, Abort])
@pytest.mark.parametrize("reason", ["", "x" * (MAX_REASON + 1), "line\nbreak", "\x1b[31m"])
def test_reasons_are_short_and_printable(kind: type[Refusal] | type[Abort], reason: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        kind(reason)
    assert kind(printable_reason(reason)).reason


def test_types_are_checked_in_memory_too() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError):
        Abort(wrong)
    with pytest.raises(TypeError):
        Proposal(wrong)
    with pytest.raises(TypeError):
        Acceptance(wrong)
    with pytest.raises(ValueError, match="hexadecimal"):
        Acceptance("F" * 64)
    with pytest.raises(TypeError):
        VerdictNotice(wrong, Reason.SAMPLES)
    with pytest.raises(ValueError, match="count from 0"):
        LayerDone(0, -1)
    boolean: Any = True
    with pytest.raises(TypeError):
        LayerDone(0, boolean)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_change_of_a_document_gives_a_message_or_a_protocol_error(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(MESSAGES)).to_json()
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        message = message_from_json(document)
    except ProtocolError:
        return
    assert message_from_json(message.to_json()) == message
