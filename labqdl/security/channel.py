"""From a ledger and a tap to the channel that the weight bound charges to the client.

The ledger says which loss and noise the server trusts. A trusted component may be set aside only where nothing that
the client could use lies between it and the server: on the way out it must come before every untrusted loss or
noise, on the way back behind all of them. A trusted fibre behind an untrusted connector does not dim what the client
takes at that connector, so it is charged (docs/physics.md, "Trusted and untrusted").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics.gain_tap import TapLaw, tap_law
from labqdl.security.holevo import repeated_weight_leakage

_BACK = (Place.CLIENT_OUT, Place.RETURN, Place.SERVER_RECEIVER)


@dataclass(frozen=True, slots=True)
class TrustedParts:
    """Components whose loss and noise the server's bound sets aside, and what is left to charge, in light order."""

    forward: tuple[Component, ...]
    charged_forward: tuple[Component, ...]
    charged_back: tuple[Component, ...]
    back: tuple[Component, ...]

    @property
    def transmissivity_forward(self) -> float:
        """T_1t: product of what is set aside on the way out."""
        return math.prod(component.transmissivity for component in self.forward)

    @property
    def transmissivity_back(self) -> float:
        """T_2t: product of what is set aside on the way back, without receivers."""
        return math.prod(c.transmissivity for c in self.back if c.place is not Place.SERVER_RECEIVER)


@dataclass(frozen=True, slots=True)
class ChargedChannel:
    """The channel that the client may have made: what the weight bound of one layer is evaluated at.

    Attributes
    ----------
    mu:
        Mean photons per mode where the charged part begins (behind trusted losses).
    transmissivity:
        Power transmissivity of the charged part.
    excess:
        Excess noise at its end (before trusted losses), SNU per quadrature and mode.
    """

    mu: float
    transmissivity: float
    excess: float

    def leakage(self, uses: int = 1, *, cross_use_tested: bool = False) -> float:
        """Bits per complex mode after so many uses of the same weights."""
        return repeated_weight_leakage(
            mu=self.mu,
            transmissivity=self.transmissivity,
            excess=self.excess,
            uses=uses,
            cross_use_tested=cross_use_tested,
        )


def trusted_parts(ledger: Ledger) -> TrustedParts:
    """Split a ledger's path into what the server may set aside and what it must charge to the client."""
    out = [c for place in (Place.FORWARD, Place.CLIENT_IN) for c in ledger.at(place)]
    home = [c for place in _BACK for c in ledger.at(place)]
    first = _leading(out)
    last = _leading(home[::-1])
    return TrustedParts(
        forward=tuple(out[:first]),
        charged_forward=tuple(out[first:]),
        charged_back=tuple(home[: len(home) - last]),
        back=tuple(home[len(home) - last :]),
    )


def _leading(components: list[Component]) -> int:
    """How many components from the server's side on are trusted or do nothing."""
    for index, component in enumerate(components):
        idle = component.transmissivity == 1.0 and component.excess == 0.0 and component.electronic_noise == 0.0
        if not (component.server_trusts or idle):
            return index
    return len(components)


def honest_channel(*, mu: float, n_modes: int, setting: TapSetting, ledger: Ledger) -> ChargedChannel:
    """Channel of an honest client on this ledger, all its parameters taken as known.

    mu: photons per mode at the server's output. For isotropic weights and a uniformly random data direction, the mean
    is T e^(-sigma^2) m, m = |1 + (t-1)/n|^2, with sigma^2 the phase noise of *all* components and t the net gain.
    Excess noise at the end of the charged part: technical noise of charged components, the tap's (D_X + D_P)/2 spread
    over n modes, phase noise 2 mu T m (1 - e^(-sigma^2)), and what an unbalanced gain leaves, 2 mu T |t-1|^2 (n-1)/n^2
    (docs/physics.md, "Honest channel").
    """
    parts = trusted_parts(ledger)
    law = tap_law(setting, ledger)
    noise, passed = 0.0, 1.0
    for component in parts.charged_forward:
        noise = noise * component.transmissivity + component.excess
        passed *= component.transmissivity
    noise += law.added_noise / n_modes + math.fsum(component.excess for component in ledger.at(Place.TAP))
    for component in parts.charged_back:
        noise = noise * component.transmissivity + component.excess + component.electronic_noise
        passed *= component.transmissivity
    arriving = mu * parts.transmissivity_forward
    variance = ledger.total_phase_noise**2
    mismatch = law.net_gain - 1.0
    mean = abs(1.0 + mismatch / n_modes) ** 2
    stray = abs(mismatch) ** 2 * (n_modes - 1) / n_modes**2
    noise += 2.0 * arriving * passed * (mean * -math.expm1(-variance) + stray)
    # a net gain above 1 may lift the mean above any passive channel's; then the residual of the passive one counts
    amplitude = math.sqrt(passed * math.exp(-variance) * mean)
    over = max(amplitude - 1.0, 0.0)
    return ChargedChannel(arriving, min(amplitude**2, 1.0), noise + 2.0 * arriving * over**2)


def data_photons(law: TapLaw, ledger: Ledger) -> float:
    """Noise photons about the data that one row returns to a server which owns everything beyond the client.

    (D_X + D_P)/4 behind the tap, times the transmissivity of what the client itself owns behind it.

    Raises
    ------
    ValueError
        If the tap disturbs the two quadratures unequally: the returned mode is then not thermal and the exact data
        bound does not apply.
    """
    if not math.isclose(law.d_x, law.d_p, rel_tol=1e-9):
        raise ValueError(f"the data bound needs equal noise on both quadratures, got {law.d_x!r} and {law.d_p!r}")
    return law.photons * client_output(ledger)


def client_input(ledger: Ledger) -> float:
    """Power transmissivity of the client's own components before the tap; a server may replace all others."""
    own = (c.transmissivity for c in ledger.at(Place.FORWARD, Place.CLIENT_IN) if c.owner is Owner.CLIENT)
    return math.prod(own)


def client_output(ledger: Ledger) -> float:
    """Power transmissivity of the client's own components behind the tap."""
    own = (c.transmissivity for c in ledger.at(Place.CLIENT_OUT, Place.RETURN) if c.owner is Owner.CLIENT)
    return math.prod(own)
