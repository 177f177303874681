"""Finite-size certificate: worst-case transmissivity and excess noise at a confidence, and the bounds they imply.

Parameter estimation in the manner of Leverrier, Grosshans and Grangier (PRA 81, 062343) for a trusted or untrusted
receiver, with the counted rows as a second, much sharper witness of the excess noise. It is an estimate under the
assumption of a collective Gaussian attack that treats all weights alike, not a composable proof; the bounds say so.

Shares of delta: half to the transmissivity; half to the excess noise, which its witnesses split equally: homodyned
rows, counted rows (the smaller of their limits counts) and the sums over all uses of a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scipy.optimize import brentq
from scipy.special import betaincinv, stdtrit

from labqdl.facts import Bound, FrameDescription, Ledger, Place, Quantity, ShotNoise
from labqdl.security.channel import trusted_parts
from labqdl.security.chi_square import chi_square_quantile
from labqdl.security.cross_use import CrossUseTotals, pooled_law
from labqdl.security.engines import ANISOTROPIC, directions_in_words, network_data_leakage
from labqdl.security.expected import (
    GainLaw,
    HonestLayer,
    LayerLight,
    Totals,
    counter_trusted,
    honest_layers,
    receiver_trusted,
)
from labqdl.security.holevo import weight_leakage
from labqdl.security.shot_noise import UNIT_SHARE, unit_limit

ENGINE = "labqdl"
THE_TAP, THE_LIGHT = "the tap itself", "light (mu)"

_UNITS = {
    ShotNoise.KNOWN: "shot-noise unit known",
    ShotNoise.OWN: "shot-noise unit from vacuum slots with the server's own input blocked",
    ShotNoise.CROSSED: "excess noise by counted rows alone: the shot-noise unit has crossed the client",
}
_LEAST_TRANSMISSIVITY = 1e-12
_SMALL_GAIN = 0.01
"""A component is to blame if making it ideal lowers the bound by more than this fraction."""
_FAIR_GAIN = 0.1
"""The same for the data's figure, of which the agreed tap makes most."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Confidence limits at the server's input, behind the trusted parts of its receiver.

    Attributes
    ----------
    transmissivity:
        T_min in (0, 1], power, server's output to server's input, pooled over layers.
    excess:
        eps_max, SNU per quadrature and mode, pooled over layers.
    excess_homodyne, excess_counts:
        The two limits of which `excess` is the smaller; None where there are no such rows, or where these cannot
        witness the excess noise.
    samples:
        Measured mode slots behind them, homodyned and counted; 0 for honest expectations without statistics.
    symmetric_excess:
        The same for the symmetric mode of all uses of the weights, from the cross-use sums; None where these were not
        kept, so that all noise of all uses may sit there.
    """

    transmissivity: float
    excess: float
    excess_homodyne: float | None
    excess_counts: float | None
    samples: int
    symmetric_excess: float | None = None


def transmissivity_limit(*, amplitude: float, error: float, samples: float, efficiency: float, failure: float) -> float:
    """T_min = (t - z error)^2 / efficiency with the Student quantile z at `failure`; at most 1.

    amplitude: estimate of sqrt(T efficiency); error: its standard error, estimated from `samples` residuals.
    """
    quantile = -float(stdtrit(max(samples - 1, 1), failure))
    lowest = max(amplitude - quantile * error, 0.0)
    return min(lowest**2 / efficiency, 1.0)


def excess_limit_homodyne(
    *,
    variance: float,
    samples: float,
    efficiency: float,
    electronic_noise: float,
    failure: float,
    degrees_fraction: float = 1.0,
) -> float:
    """eps_max = (N s^2 / chi2_{N-1, failure} - 1 - v) / efficiency from the mean square s^2 of N residuals; at least 0.

    degrees_fraction: effective degrees of freedom per residual; 1 for independent residuals, less for a spike.
    """
    degrees = max((samples - 1) * degrees_fraction, 1e-9)
    limit = variance * samples * degrees_fraction / chi_square_quantile(failure, degrees)
    return max((limit - 1 - electronic_noise) / efficiency, 0.0)


def photon_limit(*, photons: int, sources: float, failure: float) -> float:
    """Upper confidence limit on the mean photons of one source, from `photons` of `sources` thermal sources.

    The mean m at which P(NegBin(sources, m) <= photons) = failure, by the inverse incomplete beta function: exact
    for geometric counts, conservative (in the Chernoff sense) for any classical Gaussian light no more bunched.
    """
    vacant = float(betaincinv(sources, photons + 1.0, failure))
    return 1.0 / vacant - 1.0


def excess_limit_counts(
    *, photons: int, pairs: int, slots: int, efficiency: float, failure: float, chaotic: bool = True
) -> float:
    """eps_max from the photons after nulling, of `pairs` (row, image) pairs over `slots` mode slots.

    Every count is charged to the client: darks and imperfect extinction are not subtracted. chaotic: the noise of a
    row is at most as bunched as one thermal mode; False allows all of it in one quadrature (phase noise).
    """
    sources = float(pairs) if chaotic else 0.5 * pairs
    return 2 * sources * photon_limit(photons=photons, sources=sources, failure=failure) / (slots * efficiency)


def symmetric_limit(
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    cross_use: Sequence[CrossUseTotals],
    *,
    efficiency: float,
    electronic_noise: float,
    failure: float,
) -> float | None:
    """Upper limit of the excess noise on the symmetric mode of all uses, SNU; None without sums over uses.

    The sums S of a weight's residuals over its K measured uses limit the excess of S/sqrt(K) as any residuals do. As
    a weight is measured in secretly chosen K of its N uses, noise that is correlated between them may be N/K times as
    strong on the sum of all uses; never more (docs/physics.md, "Repeated use").
    """
    weights = sum(part.weights for part in cross_use)
    if weights < 2:
        return None
    law = pooled_law(layers, totals, cross_use, high=True)
    uses = math.fsum(part.weights * part.uses for part in cross_use) / weights
    limit = excess_limit_homodyne(
        variance=math.fsum(part.sum_squares for part in cross_use) / weights,
        samples=weights,
        efficiency=efficiency,
        electronic_noise=electronic_noise,
        failure=failure,
        degrees_fraction=min(1.0, 2 * law.mean**2 / (law.variance * weights)),
    )
    return limit * max(max(part.images for part in cross_use) / uses, 1.0)


def channel_limits(
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    ledger: Ledger,
    delta: float,
    cross_use: Sequence[CrossUseTotals] | None = None,
    shot_noise: ShotNoise = ShotNoise.KNOWN,
) -> ChannelLimits:
    """All limits, jointly at 1 - delta, from the sums of all layers; at least one residual is needed.

    cross_use: sums over the uses of every weight, layer by layer, if they were kept. shot_noise: where the unit comes
    from. One that the server measured itself enters with the least value that its own interval allows, at a share of
    delta of its own; with one that crossed the client no homodyned row can witness excess noise, and counted rows have
    to (ValueError where there are none; ask `certifiable` first).

    The standard error of the amplitude is the larger of the measured one and the honest envelope over all data
    vectors. Where the receiver is not in trusted hands, its loss and noise belong to the client, and the counter
    cannot vouch for what the homodyne receiver adds: then only homodyned rows count. So it is where the counter is not
    in trusted hands, as nobody knows then which part of the photons it counts.
    """
    pooled = Totals.sum(totals)
    if pooled.residuals < 2 or pooled.qq <= 0:
        raise ValueError("finite-size limits need homodyned rows with light in them")
    if not certifiable(ledger, shot_noise, pooled):
        raise ValueError("nothing that the server vouches for witnesses the excess noise")
    trusted = receiver_trusted(ledger)
    efficiency = ledger.server_efficiency if trusted else 1.0
    vacuum = _vacuum(ledger, shot_noise, pooled, delta)
    if shot_noise is not ShotNoise.KNOWN:
        delta *= 1 - UNIT_SHARE
    law = GainLaw.sum(layer.gain(part) for layer, part in zip(layers, totals, strict=True))
    square = max(pooled.rr - pooled.qr**2 / pooled.qq, 0.0) / pooled.residuals
    error = math.sqrt(max(square / pooled.qq, law.variance / pooled.qq**2))
    shift = 0.5 * (law.high - law.low) / pooled.qq
    transmissivity = transmissivity_limit(
        amplitude=layers[0].amplitude + pooled.qr / pooled.qq - shift,
        error=error,
        samples=pooled.residuals,
        efficiency=efficiency,
        failure=delta / 2,
    )
    counted = _counts_certify(ledger, pooled)
    share = delta / 2 / (1 + int(counted) + int(cross_use is not None))
    homodyne = None
    if vacuum is not None:
        homodyne = excess_limit_homodyne(
            variance=square,
            samples=pooled.residuals,
            efficiency=efficiency,
            electronic_noise=vacuum - 1,
            failure=share,
            degrees_fraction=_degrees_fraction(layers, totals),
        )
    counts = None
    if counted:
        counts = excess_limit_counts(
            photons=pooled.photons,
            pairs=pooled.counted,
            slots=pooled.slots,
            efficiency=ledger.counter_efficiency,
            failure=share,
            chaotic=all(layer.photons_phase == 0 and layer.photons_x == layer.photons_p for layer in layers),
        )
    symmetric = None
    if cross_use is not None and vacuum is not None:
        symmetric = symmetric_limit(
            layers, totals, cross_use, efficiency=efficiency, electronic_noise=vacuum - 1, failure=share
        )
    return ChannelLimits(
        max(transmissivity, _LEAST_TRANSMISSIVITY),
        min(limit for limit in (homodyne, counts) if limit is not None),
        homodyne,
        counts,
        pooled.residuals + pooled.slots,
        symmetric,
    )


def certifiable(ledger: Ledger, shot_noise: ShotNoise, totals: Totals) -> bool:
    """Whether anything that was measured can witness the excess noise: homodyned rows in a unit that the server vouches
    for, or counted rows, which need no such unit."""
    return _counts_certify(ledger, totals) or _vacuum(ledger, shot_noise, totals, 0.5) is not None


def _counts_certify(ledger: Ledger, totals: Totals) -> bool:
    return totals.slots > 0 and receiver_trusted(ledger) and counter_trusted(ledger)


def _vacuum(ledger: Ledger, shot_noise: ShotNoise, totals: Totals, delta: float) -> float | None:
    """Variance that vacuum has at least at the server's receiver, SNU; None where homodyned rows witness nothing."""
    if receiver_trusted(ledger):
        return unit_limit(ledger, shot_noise, totals, delta)
    # Electronics in other hands: only calibrated shot noise can be taken out, and its noise belongs to the client.
    return 1.0 if shot_noise is ShotNoise.KNOWN else None


def _degrees_fraction(layers: Sequence[HonestLayer], totals: Sequence[Totals]) -> float:
    """Effective chi-square degrees per residual of the honest noise with its spike concentrated; at most 1."""
    laws = [layer.noise(part, high=True) for layer, part in zip(layers, totals, strict=True)]
    mean = math.fsum(law.mean for law in laws)
    variance = math.fsum(law.variance for law in laws)
    residuals = sum(part.residuals for part in totals)
    return min(1.0, 2 * mean**2 / (variance * residuals))


def honest_excess(layer: HonestLayer, ledger: Ledger) -> float:
    """Expected excess noise of one layer at the server's input (or in it, where it is not trusted), SNU."""
    row = layer.energy / layer.rows  # |q|^2
    square = layer.floor + layer.spike / layer.n_modes
    # What a random phase takes from the mean comes back as noise: T (1 - exp(-sigma_phi^2)).
    square += layer.amplitude**2 * layer.droop * (2 - layer.droop) * row / (2 * layer.n_modes)
    square += (layer.amplitude * layer.mismatch / layer.n_modes) ** 2 * row / 2
    if not receiver_trusted(ledger):
        return square - 1
    return (square - 1 - ledger.server_noise) / ledger.server_efficiency


def honest_limits(layers: Sequence[HonestLayer], ledger: Ledger, measured: float | None = None) -> ChannelLimits:
    """What the limits tend to with infinitely many symbols from an honest client.

    measured: share of its uses in which a weight is homodyned, with cross-use sums; None without them.
    """
    efficiency = ledger.server_efficiency if receiver_trusted(ledger) else 1.0
    amplitude = layers[0].amplitude * (1 - layers[0].droop)
    excess = _pooled_excess(layers, ledger)
    symmetric = None if measured is None else excess / measured
    return ChannelLimits(min(amplitude**2 / efficiency, 1.0), excess, None, None, 0, symmetric)


def _pooled_excess(layers: Sequence[HonestLayer], ledger: Ledger) -> float:
    slots = [layer.rows * layer.n_modes for layer in layers]
    total = math.fsum(size * honest_excess(layer, ledger) for size, layer in zip(slots, layers, strict=True))
    return total / sum(slots)


def weight_bits_per_mode(
    frame: FrameDescription,
    layers: Sequence[HonestLayer],
    limits: ChannelLimits,
    *,
    uses: int = 1,
    steered: bool = True,
) -> tuple[float, ...]:
    """Bits per mode that every layer's weights leak at these limits, all uses together.

    A layer is judged with its own mu, with the pooled transmissivity, and with the pooled excess noise in the
    proportion in which the honest layers share it (the client's noise is one mode's, so that narrow layers carry more
    of it per mode). Trusted losses T_1, T_2 of the fibre next to the server: L(2 mu T_1 + 1, T/(T_1 T_2), eps/T_2),
    eps without the noise of trusted parts, which no client can remove: that of the way back, and that of the way out
    as far as the rest of the path surely lets it through. Several uses: L(2 K mu + 1, T, eps_sym) with eps_sym the
    limit on their symmetric mode, or all the noise of all uses if that is less.

    steered: whether the client may put its noise where the layer's weights prefer it (`HonestLayer.spectrum`); False
    takes all directions as equally bright, as an unknown spectrum (None) does.
    """
    parts = trusted_parts(frame.ledger)
    forward, back = parts.transmissivity_forward, parts.transmissivity_back
    ahead = behind = 0.0
    for component in parts.forward:
        ahead = ahead * component.transmissivity + component.excess
    for component in parts.back:
        if component.place is not Place.SERVER_RECEIVER:
            behind = behind * component.transmissivity + component.excess
    # T_min may exceed the trusted losses by chance; the untrusted rest never exceeds 1.
    rest = min(limits.transmissivity / (forward * back), 1.0)
    pooled = _pooled_excess(layers, frame.ledger)
    result = []
    for layer in layers:
        share = honest_excess(layer, frame.ledger) / pooled if pooled > 0 else 1.0
        noise = uses * _charged(limits.excess * share, behind, back, ahead * rest)
        if uses > 1 and limits.symmetric_excess is not None:
            noise = min(noise, _charged(limits.symmetric_excess * share, behind, back, ahead * rest))
        noise *= layer.crowding
        leak = layer.spectrum.leakage if steered and layer.spectrum is not None else weight_leakage
        result.append(leak(mu=uses * layer.mu * forward, transmissivity=rest, excess=noise))
    return tuple(result)


def _charged(excess: float, behind: float, back: float, ahead: float) -> float:
    """Noise at the end of the charged part, from that at the server's input, without what trusted parts add."""
    return max(max(excess - behind, 0.0) / back - ahead, 0.0)


def data_bits(frame: FrameDescription, *, uses: int = 1) -> float:
    """Bits per feature that the server can learn about a data vector, by the agreed tap; asymptotic.

    It is fixed by the client's tap, not by what the server measured: sum over layers of the exact bound, with the
    whole fibre in the server's hands (T_2 = 1), over the features of the first layer.
    """
    return network_data_leakage(frame.layers, frame.tap, frame.ledger, uses=uses) / frame.layers[0].n_features


def certified_bounds(
    frame: FrameDescription,
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    *,
    uses: int | None = None,
    cross_use: Sequence[CrossUseTotals] | None = None,
) -> tuple[Bound, ...]:
    """Certified weight bounds: for one use and, if there are several, for all of them together.

    By the engine `labqdl`, for equally bright directions, and by `labqdl-anisotropic` where the layers' spectra are
    known; the certificate rests on the latter.

    uses: transmissions of the same weights; the images of the frame by default. cross_use: as for `channel_limits`.
    """
    limits = channel_limits(layers, totals, frame.ledger, frame.plan.delta, cross_use, frame.plan.shot_noise)
    count = frame.images if uses is None else uses
    engines = [(ENGINE, False)]
    if certifying_engine(layers) == ANISOTROPIC:
        engines.append((ANISOTROPIC, True))
    result = []
    for engine, steered in engines:
        for number in dict.fromkeys((1, count)):
            per_mode = max(weight_bits_per_mode(frame, layers, limits, uses=number, steered=steered))
            result.append(
                Bound(
                    quantity=Quantity.WEIGHTS,
                    engine=engine,
                    bits=per_mode / 2,
                    bits_per_mode=per_mode,
                    uses=number,
                    confidence=1 - frame.plan.delta,
                    samples=limits.samples,
                    assumptions=_assumptions(frame, layers, number, limits.symmetric_excess is not None, steered),
                    calibration=frame.ledger.calibrations,
                )
            )
    return tuple(result)


def certifying_engine(layers: Sequence[HonestLayer]) -> str:
    """Engine of the figure that a certificate rests on: with the layers' spectra where any is there."""
    return ENGINE if all(layer.spectrum is None for layer in layers) else ANISOTROPIC


def _assumptions(
    frame: FrameDescription, layers: Sequence[HonestLayer], uses: int, cross_use_tested: bool, steered: bool
) -> tuple[str, ...]:
    result = ["collective Gaussian attack"]
    if steered:
        result += directions_in_words([layer.spectrum for layer in layers])
    else:
        result.append("independent weights of equal variance within a layer")
    result += [
        "the client treats all layers alike: transmissivity and excess noise are pooled over layers",
        "parameter estimation, not a composable proof",
        "trusted receiver" if receiver_trusted(frame.ledger) else "receiver charged to the client",
        _UNITS[frame.plan.shot_noise],
    ]
    parts = trusted_parts(frame.ledger)
    trusted = [c.name for c in (*parts.forward, *parts.back) if c.place is not Place.SERVER_RECEIVER]
    if trusted:
        result.append(f"trusted: {', '.join(trusted)}")
    if uses > 1:
        result.append("cross-use test in force" if cross_use_tested else "all noise on the symmetric mode of the uses")
    return tuple(result)


def more_symbols(
    frame: FrameDescription,
    layers: Sequence[HonestLayer],
    totals: Sequence[Totals],
    *,
    budget: float,
    uses: int = 1,
    cross_use: Sequence[CrossUseTotals] | None = None,
) -> int | None:
    """Further mode slots at the honest expectation that bring the certified bits per weight to the budget.

    0 if they are there already, None if not even infinitely many would do. To one part in a thousand.
    """

    def bits(limits: ChannelLimits) -> float:
        return max(weight_bits_per_mode(frame, layers, limits, uses=uses)) / 2

    def after(factor: float) -> float:
        parts = [Totals.sum((part, layer.expected(part, factor))) for layer, part in zip(layers, totals, strict=True)]
        sums = (
            None if cross_use is None else [_more_uses(*pair, factor) for pair in zip(layers, cross_use, strict=True)]
        )
        return bits(channel_limits(layers, parts, frame.ledger, frame.plan.delta, sums, frame.plan.shot_noise))

    if after(0.0) <= budget:
        return 0
    shares = [part.uses / part.images for part in cross_use or () if part.images and part.uses]
    if bits(honest_limits(layers, frame.ledger, min(shares, default=None))) > budget:
        return None
    samples = sum(part.residuals + part.slots for part in totals)
    factor = _smallest(lambda value: after(value) - budget)
    return None if factor is None else math.ceil(factor * samples)


def _more_uses(layer: HonestLayer, part: CrossUseTotals, factor: float) -> CrossUseTotals:
    """Cross-use totals with `factor` as many further uses whose sums are at their honest mean."""
    if not part.weights:
        return part
    honest = layer.floor + layer.spike * part.spikes_most / part.weights
    mean = (part.mean_square + factor * honest) / (1 + factor)
    return replace(
        part,
        sum_squares=mean * part.weights,
        uses=part.uses * (1 + factor),
        images=round(part.images * (1 + factor)),
    )


def _smallest(excess: Callable[[float], float]) -> float | None:
    """Smallest factor at which a falling function is not above 0, to 0.1 % and never less; None above 1e12."""
    low, high = -7.0, 0.0
    while excess(math.exp(high)) > 0:
        low, high = high, high + 3.0
        if high > math.log(1e12):
            return None
    if high == 0.0 and excess(math.exp(low)) <= 0:
        return math.exp(low)
    root = float(brentq(lambda log: excess(math.exp(log)), low, high, xtol=2e-4))
    while excess(math.exp(root)) > 0:
        root += 2e-4
    return math.exp(root)


def limiting_part(frame: FrameDescription, light: Sequence[LayerLight] | None = None, *, uses: int = 1) -> str:
    """What raises the asymptotic weight bound most: a component's name, or the tap, or the light."""

    def bits(ledger: Ledger) -> float:
        other = replace(frame, ledger=ledger)
        layers = honest_layers(other, light)
        return max(weight_bits_per_mode(other, layers, honest_limits(layers, ledger), uses=uses))

    name = _blamed(frame.ledger, bits)
    if name is not None:
        return name
    layers = honest_layers(frame, light)
    honest = honest_limits(layers, frame.ledger)
    no_noise = ChannelLimits(honest.transmissivity, 0.0, None, None, samples=0)
    silent = max(weight_bits_per_mode(frame, layers, no_noise, uses=uses))
    return THE_TAP if silent < bits(frame.ledger) / 2 else THE_LIGHT


def limiting_part_of_data(frame: FrameDescription) -> str:
    """What raises the data figure most: a component's name (n_sp, the client's receiver), or the tap."""
    # The tap's own disturbance is most of it: a part that adds a few per cent to that is not to blame.
    return _blamed(frame.ledger, lambda ledger: data_bits(replace(frame, ledger=ledger)), gain=_FAIR_GAIN) or THE_TAP


def _blamed(ledger: Ledger, bits: Callable[[Ledger], float], gain: float = _SMALL_GAIN) -> str | None:
    """The component without which `bits` is smallest, if that is an improvement worth naming."""
    without = {component.name: bits(ledger.without(component.name)) for component in ledger.components}
    name = min(without, key=without.__getitem__, default=None)
    return name if name is not None and without[name] < (1 - gain) * bits(ledger) else None
