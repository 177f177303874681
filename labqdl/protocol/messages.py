"""Classical messages between the parties. All of their content is public.

Every message converts to a plain JSON object and back; `message_from_json` takes what a peer sent and accepts only
what is exactly right, so that a wire can be put under the session without further checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from labqdl.errors import ProtocolError
from labqdl.facts import FrameDescription, Reason, VerdictKind
from labqdl.protocol.decoding import decode, encode

MAX_REASON = 500
"""Longest reason in characters: a peer's text ends in records and on terminals."""
_DIGEST_CHARACTERS = 64


def _check_reason(reason: str) -> None:
    if not isinstance(reason, str):
        raise TypeError(f"a reason is text, got {type(reason).__name__}")
    if not (0 < len(reason) <= MAX_REASON and reason.isprintable()):
        raise ValueError(f"a reason is 1 to {MAX_REASON} printable characters")


@dataclass(frozen=True, slots=True)
class _Message:
    """What all messages share: a type name and conversion to and from JSON."""

    kind_name: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Plain object: `type` and the message's own keys."""
        return {"type": self.kind_name, **encode(self)}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The message from its plain object.

        Raises
        ------
        ProtocolError
            For another type, unknown or missing keys, wrong types or values out of range.
        """
        if not isinstance(document, Mapping):
            raise ProtocolError(f"a message is an object, got {type(document).__name__}")
        if document.get("type") != cls.kind_name:
            raise ProtocolError(f"expected a message of type {cls.kind_name!r}, got {str(document.get('type'))[:80]!r}")
        return decode(cls, {key: value for key, value in document.items() if key != "type"}, cls.kind_name)


@dataclass(frozen=True, slots=True)
class Proposal(_Message):
    """Server to client: the frame that it proposes."""

    kind_name: ClassVar[str] = "proposal"
    frame: FrameDescription

    def __post_init__(self) -> None:
        if not isinstance(self.frame, FrameDescription):
            raise TypeError(f"a proposal holds a FrameDescription, got {type(self.frame).__name__}")


@dataclass(frozen=True, slots=True)
class Acceptance(_Message):
    """Client to server: the digest of the frame that it agrees to (64 hexadecimal characters)."""

    kind_name: ClassVar[str] = "acceptance"
    digest: str

    def __post_init__(self) -> None:
        if not isinstance(self.digest, str):
            raise TypeError(f"a digest is text, got {type(self.digest).__name__}")
        if len(self.digest) != _DIGEST_CHARACTERS or not set(self.digest) <= set("0123456789abcdef"):
            raise ValueError(f"a digest is {_DIGEST_CHARACTERS} hexadecimal characters in lower case")


@dataclass(frozen=True, slots=True)
class Refusal(_Message):
    """Either party: no agreement, and why."""

    kind_name: ClassVar[str] = "refusal"
    reason: str

    def __post_init__(self) -> None:
        _check_reason(self.reason)


@dataclass(frozen=True, slots=True)
class LayerDone(_Message):
    """Client to server: it has measured this layer of this block. A courtesy; no verdict rests on it."""

    kind_name: ClassVar[str] = "layer-done"
    layer: int
    block: int

    def __post_init__(self) -> None:
        for value in (self.layer, self.block):
            if type(value) is not int:
                raise TypeError(f"layer and block are integers, got {type(value).__name__}")
            if value < 0:
                raise ValueError(f"layer and block count from 0, got {value}")


@dataclass(frozen=True, slots=True)
class Abort(_Message):
    """Either party: the session ends here, and why."""

    kind_name: ClassVar[str] = "abort"
    reason: str

    def __post_init__(self) -> None:
        _check_reason(self.reason)


@dataclass(frozen=True, slots=True)
class VerdictNotice(_Message):
    """Server to client: what the server concluded. Kind `abort` ends the session, also in the middle of it."""

    kind_name: ClassVar[str] = "verdict-notice"
    kind: VerdictKind
    reason: Reason

    def __post_init__(self) -> None:
        if not (isinstance(self.kind, VerdictKind) and isinstance(self.reason, Reason)):
            raise TypeError("a verdict notice holds a VerdictKind and a Reason")


Message = Proposal | Acceptance | Refusal | LayerDone | Abort | VerdictNotice
"""Any message."""

_TYPES: tuple[type[Message], ...] = (Proposal, Acceptance, Refusal, LayerDone, Abort, VerdictNotice)


def message_from_json(document: object) -> Message:
    """Any message from its plain object, by its `type`.

    Raises
    ------
    ProtocolError
        As `from_json` of the message's class does, and for an unknown type.
    """
    name = document.get("type") if isinstance(document, Mapping) else None
    for message in _TYPES:
        if name == message.kind_name:
            return message.from_json(document)
    raise ProtocolError(f"unknown message type {str(name)[:80]!r}")


def printable_reason(text: str) -> str:
    """Any text as a reason that a message accepts: unprintable characters replaced, cut to `MAX_REASON`."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean[:MAX_REASON] or "no reason given"
