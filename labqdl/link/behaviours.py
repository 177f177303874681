"""What stands in an emulated light path in place of an honest client or an honest fibre.

A behaviour is written as a word, with a number behind a colon where one is meaningful: `honest`, `cloner:0.1`.
Cheating clients use perfect parts, since nobody checks theirs.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from labqdl.errors import InputError
from labqdl.facts import Component, FrameDescription, Ledger, Owner, Place
from labqdl.optics import client_law
from labqdl.optics.client_law import ClientLaw


@dataclass(frozen=True, slots=True)
class ClientBehaviour:
    """A client's box of optics, honest or not.

    Attributes
    ----------
    word:
        As given on the command line.
    build:
        Gives the box's law for the agreed frame, the true ledger and a layer's mu (photons per mode at the server's
        output).
    """

    word: str
    build: Callable[[FrameDescription, Ledger, float], ClientLaw]


@dataclass(frozen=True, slots=True)
class ChannelBehaviour:
    """A fibre, honest or not: turns the agreed ledger into the one that is really there."""

    word: str
    build: Callable[[Ledger], Ledger]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One behaviour: what it does, and the meaning, default and limits of its number if it takes one."""

    doc: str
    meaning: str = ""
    default: float | None = None
    low: float = -math.inf
    high: float = math.inf


CLIENTS = {
    "honest": _Kind("does what was agreed"),
    "intercept-resend": _Kind("heterodynes every mode and sends back what it saw, at unit gain"),
    "intercept-resend-mmse": _Kind("the same, but sends back its best estimate"),
    "cloner": _Kind("keeps a Gaussian clone of every mode", "noise that it adds to the returned light, SNU", 1.0, 0.0),
    "substitution": _Kind("keeps all light and returns vacuum"),
    "over-amplification": _Kind("uses more gain than agreed", "its gain, or 1/t of a feed-forward tap", 3.0, 1.0),
    "passive-tap": _Kind("splits off part of every mode", "power fraction that it keeps", 0.01, 0.0, 1.0),
}
"""Clients that the emulation knows; their laws are in docs/physics.md, "The client's box"."""

CHANNELS = {
    "honest": _Kind("the fibre of the ledger"),
    "outside-tap": _Kind("an outsider splits off light on both legs", "power fraction on each leg", 0.01, 0.0, 1.0),
}
"""Channels that the emulation knows."""

SERVERS = {"honest": _Kind("does what was agreed")}
"""Servers that the emulation knows."""


def _parse(option: str, word: str, kinds: dict[str, _Kind]) -> tuple[str, float | None]:
    name, colon, number = word.partition(":")
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        raise InputError(
            f"unknown {option} '{name}'",
            source=f"--{option}",
            expected="one of " + ", ".join(kinds),
            hint=f"Did you mean '{near[0]}'?" if near else None,
        )
    kind = kinds[name]
    if not colon:
        return name, kind.default
    if kind.default is None:
        raise InputError(f"'{name}' takes no number", source=f"--{option}", expected=f"just '{name}'")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and kind.low < value < kind.high):
        limit = f"above {kind.low:g}" if kind.high == math.inf else f"between {kind.low:g} and {kind.high:g}"
        raise InputError(
            f"'{word}' has no valid number behind the colon", source=f"--{option}", expected=f"{kind.meaning}, {limit}"
        )
    return name, value


def parse_client(word: str) -> ClientBehaviour:
    """The client of that name.

    Raises
    ------
    InputError
        For an unknown name or an impossible number.
    """
    name, value = _parse("client", word, CLIENTS)

    def build(frame: FrameDescription, ledger: Ledger, mu: float) -> ClientLaw:
        if name == "honest":
            return client_law.honest(ledger, frame.tap)
        if name == "intercept-resend":
            return client_law.intercept_resend()
        if name == "intercept-resend-mmse":
            return client_law.intercept_resend(gain="mmse", mu_at_client=mu * ledger.forward)
        if name == "substitution":
            return client_law.substitution()
        assert value is not None
        if name == "cloner":
            return client_law.cloner(value)
        if name == "passive-tap":
            return client_law.passive_tap(value, frame.tap, ledger)
        return client_law.over_amplification(frame.tap, value, ledger)

    return ClientBehaviour(word, build)


def parse_channel(word: str) -> ChannelBehaviour:
    """The channel of that name; errors as `parse_client`."""
    name, value = _parse("channel", word, CHANNELS)

    def build(ledger: Ledger) -> Ledger:
        if name == "honest":
            return ledger
        assert value is not None
        taps = (
            Component("outside tap on the way out", Place.FORWARD, Owner.CHANNEL, transmissivity=1 - value),
            Component("outside tap on the way back", Place.RETURN, Owner.CHANNEL, transmissivity=1 - value),
        )
        return replace(ledger, components=ledger.components + taps)

    return ChannelBehaviour(word, build)


def parse_server(word: str) -> str:
    """The server of that name; errors as `parse_client`."""
    return _parse("server", word, SERVERS)[0]
