"""What stands in an emulated light path in place of an honest client, an honest server or an honest fibre.

A behaviour is written as a word, with a number behind a colon where one is meaningful: `honest`, `cloner:0.1`.
Cheating clients use perfect parts, since nobody checks theirs. What each of them does, what catches it and what does
not is in docs/physics.md, "Adversaries".
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
from labqdl.optics.gain_tap import tap_law


@dataclass(frozen=True, slots=True)
class ClientBehaviour:
    """A client's box of optics, honest or not.

    Attributes
    ----------
    word:
        As given on the command line.
    build:
        Gives the box's law for the agreed frame, the true ledger and a layer's index.
    offset_variance:
        Variance of what the box adds to each quadrature of each weight in the same way at every use, SNU at its
        output; for the agreed frame, the true ledger and a layer's index. 0 for all that draw fresh noise.
    vacuum_spike:
        Noise that the box adds to vacuum slots which cross it, SNU per quadrature at its output.
    """

    word: str
    build: Callable[[FrameDescription, Ledger, int], ClientLaw]
    offset_variance: Callable[[FrameDescription, Ledger, int], float]
    vacuum_spike: float = 0.0


@dataclass(frozen=True, slots=True)
class ChannelBehaviour:
    """A fibre, honest or not: turns the agreed ledger into the one that is really there.

    `kept` is the power fraction of the sent light that a client who put a lossless path in place of the untrusted one
    keeps before its box; 0 for every other channel.
    """

    word: str
    build: Callable[[Ledger], Ledger]
    kept: Callable[[Ledger], float]


@dataclass(frozen=True, slots=True)
class ServerBehaviour:
    """A source of light, honest or not, by what it does to the agreed light.

    Attributes
    ----------
    word:
        As given on the command line.
    energy:
        Energy of the coherent light over the agreed one, for a layer's mu.
    thermal_photons:
        Photons per mode that are one half of two-mode squeezed light, of which the server keeps the other half.
    out_of_band:
        Energy of further light outside of the band in which the client's stage has unit gain, over the agreed one.
    """

    word: str
    energy: Callable[[float], float]
    thermal_photons: float = 0.0
    out_of_band: float = 0.0

    @property
    def honest(self) -> bool:
        """Whether it does what was agreed."""
        return self.word == "honest"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One behaviour: what it does, and the meaning, default and limits of its number if it takes one.

    A behaviour with a meaning and without a default takes from the agreed frame what its number would say.
    """

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
    "estimate": _Kind(
        "keeps all light and returns an estimate of the weights that it already has",
        "variance of the estimate's error, SNU",
        0.25,
        0.0,
    ),
    "over-amplification": _Kind("uses more gain than agreed", "its gain, or 1/t of a feed-forward tap", 3.0, 1.0),
    "passive-tap": _Kind("splits off part of every mode", "power fraction that it keeps", 0.01, 0.0, 1.0),
    "coherent": _Kind(
        "lets one coherent meter touch all uses of a weight, which adds the same noise to each",
        "variance of that noise, SNU; as much as the agreed stage adds on average where not given",
        None,
        0.0,
    ),
    "spiking": _Kind(
        "clones every mode and adds as much noise to vacuum slots that cross it", "noise that it adds, SNU", 0.1, 0.0
    ),
}
"""Clients that the emulation knows; their laws are in docs/physics.md, "The client's box"."""

CHANNELS = {
    "honest": _Kind("the fibre of the ledger"),
    "outside-tap": _Kind("an outsider splits off light on both legs", "power fraction on each leg", 0.01, 0.0, 1.0),
    "lossless": _Kind("the client has put a lossless path in place of the untrusted one and keeps the difference"),
}
"""Channels that the emulation knows."""

SERVERS = {
    "honest": _Kind("does what was agreed"),
    "bright-probe": _Kind("sends more light than agreed", "energy over the agreed one", 10.0, 0.0),
    "two-mode-squeezed": _Kind(
        "sends one half of entangled light, at the agreed energy while that allows it",
        "entangled photons per mode",
        1.0,
        0.0,
    ),
    "x-dependent": _Kind(
        "adds light outside of the band in which the client's stage has unit gain, where what returns shows the data",
        "energy of that light over the agreed one",
        1.0,
        0.0,
    ),
}
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
    if not kind.meaning:
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

    def build(frame: FrameDescription, ledger: Ledger, layer: int) -> ClientLaw:
        if name == "honest":
            return client_law.honest(ledger, frame.tap)
        if name == "intercept-resend":
            return client_law.intercept_resend()
        if name == "intercept-resend-mmse":
            return client_law.intercept_resend(gain="mmse", mu_at_client=frame.layers[layer].mu * ledger.forward)
        if name == "substitution":
            return client_law.substitution()
        if name == "estimate":
            # The error is the same at every use, hence an offset and no noise of this law.
            return client_law.substitution("estimate")
        if name == "coherent":
            return client_law.coherent_meter(offset_variance(frame, ledger, layer))
        assert value is not None
        if name == "cloner":
            return client_law.cloner(value)
        if name == "spiking":
            return client_law.spiking(value, frame.tap, ledger)
        if name == "passive-tap":
            return client_law.passive_tap(value, frame.tap, ledger)
        return client_law.over_amplification(frame.tap, value, ledger)

    def offset_variance(frame: FrameDescription, ledger: Ledger, layer: int) -> float:
        if name == "coherent" and value is None:
            return _allowance(frame, ledger, frame.layers[layer].tile_modes)
        return value if name in ("estimate", "coherent") and value is not None else 0.0

    spike = value if name == "spiking" and value is not None else 0.0
    return ClientBehaviour(word, build, offset_variance, spike)


def _allowance(frame: FrameDescription, ledger: Ledger, n_modes: int) -> float:
    """What the agreed stage adds to each quadrature on average, SNU at the client's output: (D_X + D_P)/(2n)."""
    return tap_law(frame.tap, ledger).added_noise / n_modes


def parse_channel(word: str) -> ChannelBehaviour:
    """The channel of that name; errors as `parse_client`."""
    name, value = _parse("channel", word, CHANNELS)

    def build(ledger: Ledger) -> Ledger:
        if value is None:
            # A lossless path whose owner imitates the loss looks like the agreed one to everybody else.
            return ledger
        taps = (
            Component("outside tap on the way out", Place.FORWARD, Owner.CHANNEL, transmissivity=1 - value),
            Component("outside tap on the way back", Place.RETURN, Owner.CHANNEL, transmissivity=1 - value),
        )
        return replace(ledger, components=ledger.components + taps)

    def kept(ledger: Ledger) -> float:
        return _untrusted_loss(ledger) if name == "lossless" else 0.0

    return ChannelBehaviour(word, build, kept)


def _untrusted_loss(ledger: Ledger) -> float:
    """Power fraction of the sent light that parts lose on the way out which the server does not trust."""
    arriving, lost = 1.0, 0.0
    for component in ledger.at(Place.FORWARD, Place.CLIENT_IN):
        if not component.server_trusts:
            lost += arriving * (1.0 - component.transmissivity)
        arriving *= component.transmissivity
    return lost


def parse_server(word: str) -> ServerBehaviour:
    """The server of that name; errors as `parse_client`."""
    name, value = _parse("server", word, SERVERS)
    number = 0.0 if value is None else value

    def energy(mu: float) -> float:
        if name == "bright-probe":
            return number
        # Entangled photons take the place of coherent ones, so that a meter of power sees nothing.
        return max(1.0 - number / mu, 0.0) if name == "two-mode-squeezed" else 1.0

    return ServerBehaviour(
        word,
        energy,
        thermal_photons=number if name == "two-mode-squeezed" else 0.0,
        out_of_band=number if name == "x-dependent" else 0.0,
    )
