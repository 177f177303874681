"""What a server may learn about the data that sends something else than the agreed coherent light.

`data_leakage` with the photons of `any_probe_photons` bounds every server, entangled probes included, if the client
owns attenuators that it trusts. The other functions are budgets: what a net gain off 1 and a transmission that
depends on the data disclose to a server of known brightness. Derivations: docs/physics.md, "Malicious server".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from labqdl.facts import Bound, LayerFrame, Ledger, Owner, Place, Quantity, Refusal, TapSetting
from labqdl.optics.gain_tap import TapLaw, tap_law
from labqdl.security.channel import client_output
from labqdl.security.data import attenuated_photons, best_overlap, data_leakage
from labqdl.security.entropy import thermal_entropy

ANY_PROBE = "labqdl-any-probe"
"""Engine of `any_probe_bound`: whatever the server sends."""

NO_ATTENUATOR = (
    "no bound without a trusted attenuator or a trusted coherent source: a server with entangled probes reads the "
    "client's displacement from one row"
)
OFF_GAIN = "no bound for any probe at a net gain off 1: bright light then shows the data"

_UNIT = 1e-12
_MOST_NUMBERS = 200_000


def client_attenuator(ledger: Ledger) -> float:
    """Power transmissivity of what the client owns inside of itself before the tap: the attenuator that it trusts."""
    return math.prod(c.transmissivity for c in ledger.at(Place.CLIENT_IN) if c.owner is Owner.CLIENT)


def any_probe_photons(law: TapLaw, ledger: Ledger) -> float:
    """Photons per row that bound every server: T_o nbar/(1 - T_c T_o), infinite without an attenuator.

    T_c and T_o: what the client owns before and behind its tap; nbar: the tap's noise photons. Loss of the server's
    or the channel's does not count: a malicious server leaves it out.

    Raises
    ------
    ValueError
        For a net gain other than 1 or unequal noise on the quadratures, to which the derivation does not apply.
    """
    if abs(law.net_gain - 1.0) > _UNIT or not math.isclose(law.d_x, law.d_p, rel_tol=1e-9):
        raise ValueError("the bound for any probe needs unit net gain and equal noise on both quadratures")
    return attenuated_photons(
        photons_per_row=law.photons,
        input_transmissivity=client_attenuator(ledger),
        output_transmissivity=client_output(ledger),
    )


def any_probe_bound(
    layers: Sequence[LayerFrame], setting: TapSetting, ledger: Ledger, *, uses: int = 1
) -> Bound | Refusal:
    """The data's bound whatever the server sends, bits per feature; or why there is none.

    Raises
    ------
    ValueError
        Without layers, or for uses below 1.
    """
    if not layers or uses < 1:
        raise ValueError("a bound needs at least one layer and one use")
    law = tap_law(setting, ledger)
    if abs(law.net_gain - 1.0) > _UNIT:
        return Refusal(Quantity.DATA, ANY_PROBE, OFF_GAIN)
    photons = any_probe_photons(law, ledger)
    if math.isinf(photons):
        return Refusal(Quantity.DATA, ANY_PROBE, NO_ATTENUATOR)
    first = layers[0]
    bits = first.tiles * data_leakage(photons_per_row=photons, rows=first.rows * uses, n_modes=first.tile_modes)
    bits += uses * math.fsum(
        layer.tiles * data_leakage(photons_per_row=photons, rows=layer.rows, n_modes=layer.tile_modes)
        for layer in layers[1:]
    )
    before, behind = client_attenuator(ledger), client_output(ledger)
    words = [
        f"any server: entangled probes, any prior, any measurement; the client's own loss is trusted by it "
        f"(transmissivity {before:.4g} before its tap, {behind:.4g} behind)",
        "unit net gain for every light; client's transmission independent of its data; no light outside of the "
        "amplifier's mode",
    ]
    if len(layers) > 1:
        words.append(f"summed over {len(layers)} layers, hidden vectors charged to the data")
    if uses > 1:
        words.append(f"{uses:,} uses of the same data vector")
    return Bound(
        Quantity.DATA,
        ANY_PROBE,
        bits / first.n_features,
        None,
        uses,
        None,
        0,
        tuple(words),
        ledger.calibrations,
        best_overlap(photons_per_row=photons, rows=first.rows * uses, n_modes=first.least_modes),
    )


def mismatch_photons(*, gain_error: float, energy: float) -> float:
    """Photons per row that a net gain t = 1 + delta returns along u: |delta|^2 E_b, at most |delta|^2 E.

    energy: photons per row that arrive at the tap, as a power monitor limits them.
    """
    if not (math.isfinite(gain_error) and math.isfinite(energy) and energy >= 0):
        raise ValueError(f"gain_error and energy must be finite, energy at least 0, got {gain_error!r}, {energy!r}")
    return gain_error**2 * energy


def gain_mismatch_leakage(*, photons: float, gain_error: float, energy: float, rows: int, n_modes: int) -> float:
    """Data bound for a server of coherent light whose energy a power monitor limits row by row; bits in total.

    E log2 C(N+n-1, N) with N raised by the displaced photons d = |delta|^2 E of all rows, and for every row what the
    displacement adds to the uncertainty of its photon number, H(N_k) - g(nbar).
    """
    displaced = mismatch_photons(gain_error=gain_error, energy=energy)
    first = data_leakage(photons_per_row=photons, rows=rows, n_modes=n_modes, gain_mismatch_photons=displaced)
    # data_leakage takes the thermal law of equal mean for the second term: put the exact one in its place
    loose = thermal_entropy(photons + displaced) - thermal_entropy(photons)
    return first - rows * (loose - displaced_entropy_excess(photons=photons, displacement=displaced))


def uneven_transmission_photons(*, mu: float, n_modes: int, deviation: float) -> float:
    """Photons per row that a transmission which depends on the data discloses: n mu delta_K^2.

    deviation: rms relative deviation of a mode's amplitude transmission from its mean. It adds to the data's photons
    coherently over rows, so it must stay far below the tap's nbar; nothing bounds what it means for a given data set.
    """
    return _per_row(mu, n_modes) * deviation**2


def angle_error_photons(*, mu: float, n_modes: int, angle_error: float) -> float:
    """The same for independent rms errors of all coupler angles, forward and inverse: 4 n mu delta^2."""
    return 4.0 * _per_row(mu, n_modes) * angle_error**2


def displaced_entropy_excess(*, photons: float, displacement: float) -> float:
    """H(N) - g(nbar), bits: how much more uncertain the photon number of a thermal mode is when displaced.

    photons: nbar of the thermal state; displacement: photons of the displacement alone. The number law is
    p(N) = a^N L_N(-x) e^(-d/(1+nbar))/(1+nbar), a = nbar/(1+nbar), x = d/(nbar (1+nbar)), by its three-term recurrence;
    where there is more light than can be summed, the entropy of the variance's Gaussian, which is larger, or that of
    the thermal state of equal mean, whichever is smaller.
    """
    if not (math.isfinite(photons) and photons >= 0 and math.isfinite(displacement) and displacement >= 0):
        raise ValueError(f"photons and displacement must be finite and at least 0, got {photons!r}, {displacement!r}")
    known = thermal_entropy(photons)
    mean = photons + displacement
    if displacement == 0.0:
        return 0.0
    variance = mean + photons * (photons + 2.0 * displacement)
    ceiling = min(thermal_entropy(mean), 0.5 * math.log2(2.0 * math.pi * math.e * (variance + 1.0 / 12.0)))
    start = math.exp(-displacement / (1.0 + photons)) / (1.0 + photons)
    most = mean + 40.0 * math.sqrt(variance) + 80.0 * (1.0 + photons)
    if start < 1e-280 or most > _MOST_NUMBERS:
        return ceiling - known
    ratio = photons / (1.0 + photons)
    lift = displacement / (1.0 + photons) ** 2
    law = [start, (ratio + lift) * start]
    for number in range(1, math.ceil(most)):
        law.append((((2 * number + 1) * ratio + lift) * law[-1] - number * ratio**2 * law[-2]) / (number + 1))
    weights = np.array(law)
    weights = weights[weights > 0.0] / weights.sum()
    return min(float(-np.sum(weights * np.log2(weights))), ceiling) - known


def _per_row(mu: float, n_modes: int) -> float:
    if not (math.isfinite(mu) and mu >= 0) or n_modes < 1:
        raise ValueError(f"mu must be finite and at least 0 and n_modes at least 1, got {mu!r} and {n_modes!r}")
    return n_modes * mu
