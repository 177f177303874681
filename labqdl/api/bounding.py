"""What an operating point on a link leaks, without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from labqdl.api.light_paths import find_link
from labqdl.api.results import BoundResult
from labqdl.config import LinkFile, resolve_operating_point
from labqdl.errors import InputError
from labqdl.facts import (
    Activation,
    Bound,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    LeakageReport,
    Ledger,
    OperatingPoint,
    Owner,
    Place,
    Refusal,
    TapSetting,
    VerificationPlan,
)
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.security.engines import asymptotic_bounds
from labqdl.security.expected import LayerLight, Totals, honest_layers
from labqdl.security.finite import certified_bounds
from labqdl.security.malicious import any_probe_bound
from labqdl.units import to_db

DEFAULT_MODES = (392, 392)
DEFAULT_ROWS = (784, 10)
MAXIMUM_EXCESS = 1e6
"""Largest technical noise that `bound` takes, SNU; that of a link file."""


def f2_db(point: OperatingPoint, ledger: Ledger) -> float:
    """F² = S, signal variance over noise variance of a client's outcome for isotropic weights, in dB."""
    law = LinkLaw.from_ledger(ledger, honest(ledger, point.tap))
    return to_db(signal_to_noise(law, point.mu))


def bound(
    *,
    mu: float | None = None,
    amplifier_gain: float | None = None,
    tap: str | None = None,
    tap_transmissivity: float | None = None,
    modes: Sequence[int] = DEFAULT_MODES,
    rows: Sequence[int] = DEFAULT_ROWS,
    tile: int | None = None,
    link: str | Path | None = None,
    transmissivity: float | None = None,
    excess: float | None = None,
    samples: int | None = None,
    confidence: float = 1 - 1e-6,
    uses: int = 1,
) -> BoundResult:
    """Upper bounds on leakage by every engine, for one operating point.

    Parameters
    ----------
    mu:
        Mean photons per mode at the server's output; the link's own point by default.
    amplifier_gain, tap, tap_transmissivity:
        Gain-and-tap stage; the link's own by default.
    modes, rows:
        Complex modes and rows of each layer; 784-784-10 by default.
    tile:
        Modes that the client's interferometer takes at once, longer rows being cut into tiles; None for whole rows.
    link:
        Shipped link or link file; `ideal` by default.
    transmissivity, excess:
        Further untrusted power transmissivity (half of it, in dB, on each leg) and technical noise (SNU per
        quadrature and mode at the server's input), on top of the link.
    samples:
        Returned symbols that the server would have measured, all of them homodyned: adds what such an honest run
        is expected to certify.
    confidence:
        Of the certified figures.
    uses:
        Uses of the same weights that the cumulative figures cover.

    Raises
    ------
    InputError
        For impossible values; names the option.
    """
    chosen, point = point_on(link or "ideal", mu, amplifier_gain, tap, tap_transmissivity)
    ledger = with_untrusted(chosen.ledger, transmissivity, excess)
    layers = tiled(layer_frames(modes, rows, point.mu), tile)
    if not 0.5 < confidence < 1:
        raise InputError(f"confidence {confidence!r}", source="--confidence", expected="a number between 0.5 and 1")
    if uses < 1:
        raise InputError(f"{uses} uses", source="--uses", expected="1 or more")
    bounds = asymptotic_bounds(layers, point.tap, ledger, weight_uses=uses)
    if samples is not None:
        if samples < 2:
            raise InputError(f"{samples} samples", source="--samples", expected="2 or more")
        bounds += expected_certificate(layers, point, ledger, samples=samples, delta=1 - confidence, uses=uses)
    return BoundResult(point, chosen.name, f2_db(point, ledger), with_any_probe(bounds, layers, point.tap, ledger))


def point_on(
    link: str | Path,
    mu: float | None,
    amplifier_gain: float | None,
    tap: str | None,
    tap_transmissivity: float | None,
) -> tuple[LinkFile, OperatingPoint]:
    """A link, and the operating point that is asked for on it; what is not given is the link's own."""
    chosen = find_link(str(link))
    return chosen, resolve_operating_point(
        chosen.operating_point,
        mu=mu,
        amplifier_gain=amplifier_gain,
        tap=tap,
        tap_transmissivity=tap_transmissivity,
    )


def with_any_probe(
    bounds: Iterable[Bound], layers: Sequence[LayerFrame], tap: TapSetting, ledger: Ledger
) -> LeakageReport:
    """A report of these bounds, with what any server could learn about the data, or why nothing bounds that."""
    found = tuple(bounds)
    probed = any_probe_bound(layers, tap, ledger)
    if isinstance(probed, Refusal):
        return LeakageReport(found, (probed,))
    return LeakageReport((*found, probed))


def expected_certificate(
    layers: tuple[LayerFrame, ...], point: OperatingPoint, ledger: Ledger, *, samples: int, delta: float, uses: int
) -> tuple[Bound, ...]:
    """What an honest run would certify about the weights if every sum came out at its expectation.

    The symbols are shared between layers as an inference shares them; all are homodyned. The weights are taken as
    isotropic, like those of the asymptotic figures.
    """
    frame = FrameDescription("expected", layers, 1, 1, point.tap, ledger, VerificationPlan(delta=delta), Budgets())
    isotropic = tuple(LayerLight(alignment=1 / (2 * layer.tile_modes)) for layer in layers)
    laws = honest_layers(frame, isotropic)
    totals = []
    for layer, law in zip(layers, laws, strict=True):
        symbols = samples * layer.streamed_slots // frame.symbols_per_image
        rows = max(1, round(symbols / layer.tile_modes))
        energy = rows * law.energy / law.rows
        size = Totals(qq=energy / 2, energy=energy, residuals=max(symbols, 1), homodyned=rows, images=1)
        totals.append(law.expected(size))
    return certified_bounds(frame, laws, totals, uses=uses)


def layer_frames(modes: Sequence[int], rows: Sequence[int], mu: float) -> tuple[LayerFrame, ...]:
    """Layers of a network of which only the sizes count."""
    if len(modes) != len(rows) or not modes:
        raise InputError(
            f"{len(modes)} values of modes and {len(rows)} of rows",
            source="--modes and --rows",
            expected="both once for each layer",
        )
    for name, values in (("--modes", modes), ("--rows", rows)):
        if min(values) < 1:
            raise InputError(f"{min(values)}", source=name, expected="1 or more")
    return tuple(
        LayerFrame(count, 2 * width, False, mu, None, Activation()) for width, count in zip(modes, rows, strict=True)
    )


def tiled(layers: Sequence[LayerFrame], tile: int | None) -> tuple[LayerFrame, ...]:
    """The layers for an interferometer of so many modes; None for one that takes whole rows."""
    if tile is not None and tile < 1:
        raise InputError(f"{tile} modes", source="--tile", expected="1 or more")
    return tuple(replace(layer, tile=tile) for layer in layers)


def with_untrusted(ledger: Ledger, transmissivity: float | None, excess: float | None) -> Ledger:
    """A ledger with more untrusted loss, shared between both legs, and technical noise."""
    parts = list(ledger.components)
    if transmissivity is not None:
        if not 0 < transmissivity <= 1:
            raise InputError(
                f"transmissivity {transmissivity!r}", source="--transmissivity", expected="a number above 0, at most 1"
            )
        leg = transmissivity**0.5
        parts.append(Component("untrusted loss on the way out", Place.FORWARD, Owner.CHANNEL, transmissivity=leg))
        parts.append(Component("untrusted loss on the way back", Place.RETURN, Owner.CHANNEL, transmissivity=leg))
    if excess is not None:
        if not 0 <= excess <= MAXIMUM_EXCESS:
            raise InputError(
                f"excess {excess!r}", source="--excess", expected=f"0 SNU or more, at most {MAXIMUM_EXCESS:g}"
            )
        parts.append(Component("technical noise", Place.RETURN, Owner.CHANNEL, excess=excess))
    return Ledger(ledger.name, tuple(parts))
