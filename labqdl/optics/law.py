"""The joint law of the client's outcome and the light that the server gets back, as a handful of numbers.

A `LinkLaw` is a client's box in a light path. In the frame of the data (directions x and Jx of the addressed mode)
everything that an honest or cheating client can do without squeezing is a Gaussian law with

* a mean: signal * (k e^{i phi} q + d e^{i phi} (u^dagger q) u) minus what the server expects,
* an isotropic noise (`floor`),
* extra noise on the addressed mode (`spike_x`, `spike_p`; negative where a box adds less there than elsewhere),
* a covariance with the outcome along the addressed mode (`covariance`, complex: X and P part).

The same form holds for homodyned and for counted light; for the latter the noise is the classical one only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from labqdl.facts import Ledger, Place
from labqdl.optics.client_law import ClientLaw

_ROUNDING = 1e-13
"""Amplitudes smaller than this, relative to the expected one, are rounding errors of equal products."""


@dataclass(frozen=True, slots=True)
class ReturnedLight:
    """The law of returned light at one receiver, referred to its detector; see the module.

    Attributes
    ----------
    isotropic_signal, directed_signal:
        Amplitude of q, and complex amplitude of (u^dagger q) u, at the detector without phase noise.
    expected:
        Amplitude that the server subtracts or displaces away.
    floor:
        Isotropic noise per quadrature, SNU: with shot and electronic noise for a homodyne, classical for a counter.
    spike_x, spike_p:
        Extra variance along x and Jx, SNU.
    covariance:
        Covariance of the outcome with the component along x (real part) and along Jx (imaginary part).
    outcome_variance:
        Variance of the outcome without phase noise.
    """

    isotropic_signal: float
    directed_signal: complex
    expected: float
    floor: float
    spike_x: float
    spike_p: float
    covariance: complex
    outcome_variance: float

    @property
    def regression(self) -> complex:
        """Mean shift of the component along u per standard deviation of the outcome's noise."""
        return self.covariance / math.sqrt(self.outcome_variance)

    @property
    def conditional(self) -> tuple[float, float, float]:
        """Spikes given the outcome along their principal axes, and the angle of those axes from (x, Jx).

        The conditional spike matrix is diag(spike_x, spike_p) - kappa kappa^T / Var y with kappa the covariance.
        """
        kappa = self.regression
        xx = self.spike_x - kappa.real**2
        pp = self.spike_p - kappa.imag**2
        xp = -kappa.real * kappa.imag
        if xp == 0.0:
            return xx, pp, 0.0
        angle = 0.5 * math.atan2(2.0 * xp, xx - pp)
        centre, radius = 0.5 * (xx + pp), math.hypot(0.5 * (xx - pp), xp)
        return centre + radius, centre - radius, angle

    def mismatch(self) -> float:
        """Isotropic signal less the expected one; 0 where they differ by rounding only."""
        difference = self.isotropic_signal - self.expected
        scale = max(abs(self.isotropic_signal), abs(self.expected))
        return 0.0 if abs(difference) <= _ROUNDING * scale else difference


@dataclass(frozen=True, slots=True)
class LinkLaw:
    """A client's box in a light path, with what the server expects to come back.

    Attributes
    ----------
    client:
        The client's box.
    forward, back:
        Power transmissivities T_1 (server's output to tap) and T_2 (tap to server's receivers).
    server_efficiency, server_noise:
        Efficiency and electronic noise (SNU at the detector) of the server's homodyne receiver.
    counter_efficiency, dark_counts, extinction:
        Of the server's photon counter: efficiency, mean dark counts per mode slot, power fraction of the sent light
        that nulling leaves.
    forward_excess, back_excess:
        Technical noise per quadrature and mode, SNU: at the tap's input, and added behind it, at the server's input.
    forward_phase_noise, total_phase_noise, common_phase_noise:
        Rms phase per row, rad: of the light against the client's local oscillator, of the returned light against the
        server's, and of the part that both contain. One phase a row and image, Gaussian.
    expected_amplitude, expected_counter_amplitude:
        sqrt(T efficiency_s) and sqrt(T) of the *honest* ledger: the amplitude per sent one that the server subtracts
        behind its homodyne receiver, and displaces away before its counter.
    kept_gain, kept_variance:
        What the client adds to its outcome from light that never reached its box: mean per X_b at the server's
        output, and noise, SNU; see `reading_kept_light`.
    """

    client: ClientLaw
    forward: float = 1.0
    back: float = 1.0
    server_efficiency: float = 1.0
    server_noise: float = 0.0
    counter_efficiency: float = 1.0
    dark_counts: float = 0.0
    extinction: float = 0.0
    forward_excess: float = 0.0
    back_excess: float = 0.0
    forward_phase_noise: float = 0.0
    total_phase_noise: float = 0.0
    common_phase_noise: float = 0.0
    expected_amplitude: float = 1.0
    expected_counter_amplitude: float = 1.0
    kept_gain: float = 0.0
    kept_variance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("forward", "back", "server_efficiency", "counter_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)!r}")
        for name in (
            "server_noise",
            "dark_counts",
            "extinction",
            "forward_excess",
            "back_excess",
            "forward_phase_noise",
            "total_phase_noise",
            "common_phase_noise",
            "expected_amplitude",
            "expected_counter_amplitude",
            "kept_gain",
            "kept_variance",
        ):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)!r}")
        if self.common_phase_noise > min(self.forward_phase_noise, self.total_phase_noise) * (1 + 1e-12):
            raise ValueError("common_phase_noise is part of the forward and of the total phase noise")
        if self.outcome_variance <= 0:
            raise ValueError("an outcome has noise: outcome_variance and its isotropic part are both 0")
        for light in (self.homodyne, self.counter):
            least = light.floor + min(light.conditional[:2])
            if least < -1e-9 * max(1.0, light.floor, light.spike_x, light.spike_p):
                raise ValueError(f"no classical light has this law: conditional noise variance {least!r}")

    @classmethod
    def from_ledger(cls, ledger: Ledger, client: ClientLaw, expected: Ledger | None = None) -> LinkLaw:
        """The box in the light path of `ledger`; the server expects `expected`, the same ledger by default."""
        honest = ledger if expected is None else expected
        common = math.hypot(*(c.phase_noise for c in ledger.at(Place.FORWARD, Place.CLIENT_IN)), 0.0)
        return cls(
            client=client,
            forward=ledger.forward,
            back=ledger.back,
            server_efficiency=ledger.server_efficiency,
            server_noise=ledger.server_noise,
            counter_efficiency=ledger.counter_efficiency,
            dark_counts=ledger.dark_counts,
            extinction=ledger.extinction,
            forward_excess=ledger.forward_excess,
            back_excess=ledger.back_excess,
            forward_phase_noise=ledger.forward_phase_noise,
            total_phase_noise=ledger.total_phase_noise,
            common_phase_noise=common,
            expected_amplitude=math.sqrt(honest.total * honest.server_efficiency),
            expected_counter_amplitude=math.sqrt(honest.total),
        )

    def with_lossless_fibre(self) -> LinkLaw:
        """The same expectation, with a cheat who measures at the server's output and hides the missing loss.

        The free part of the light cannot be detected by any test; it is charged to the bounds.
        """
        return replace(self, client=self.client.attenuated(self.forward * self.back), forward=1.0, back=1.0)

    def reading_kept_light(self, kept: float) -> LinkLaw:
        """The same returned light, for a client who has a lossless fibre, imitates its loss and reads what that spares.

        Splitters that imitate the loss leave the power fraction `kept` of the sent light in the client's hands, at
        most 1 - T_1. X_b is homodyned on it and added to the outcome with the weight that makes the sum's noise
        smallest; signal-to-noise ratios add. What is kept on the way back is not read; the bounds count it.
        """
        if not 0 <= kept <= 1.0 - self.forward + 1e-12:
            raise ValueError(f"kept must lie between 0 and 1 - T_1 = {1 - self.forward:g}, got {kept!r}")
        weight = math.sqrt(kept) * self.outcome_variance / self.outcome_gain
        return replace(
            self,
            kept_gain=self.kept_gain + weight * math.sqrt(kept),
            kept_variance=self.kept_variance + weight**2,
        )

    @property
    def has_phase_noise(self) -> bool:
        """Whether any phase is drawn."""
        return self.forward_phase_noise > 0 or self.total_phase_noise > 0

    @property
    def outcome_gain(self) -> float:
        """Mean outcome per x . q at the server's output, without phase noise."""
        return self.client.tap.outcome_gain * math.sqrt(self.forward) + self.kept_gain

    @property
    def outcome_variance(self) -> float:
        """Variance of the outcome for given data and weights, without phase noise."""
        tap, client = self.client.tap, self.client
        return math.fsum(
            (
                tap.outcome_variance,
                tap.outcome_gain**2 * self.forward_excess,
                client.isotropic_coupling**2 * client.isotropic_noise,
                self.kept_variance,
            )
        )

    @property
    def homodyne(self) -> ReturnedLight:
        """Returned light behind the server's homodyne receiver: the residual's law."""
        return self._returned(self.server_efficiency, 1.0 + self.server_noise, self.expected_amplitude)

    @property
    def counter(self) -> ReturnedLight:
        """Returned light at the nulling displacement, before the counter's efficiency: its classical law."""
        return self._returned(1.0, 0.0, self.expected_counter_amplitude)

    def _returned(self, efficiency: float, own_noise: float, expected: float) -> ReturnedLight:
        client, tap = self.client, self.client.tap
        power = self.back * efficiency
        amplitude = math.sqrt(power)
        gain, directed = client.isotropic_gain, client.directed_gain
        along = gain + directed
        # Noise at the tap's input is amplified like the signal: |k + d|^2 along u, k^2 elsewhere.
        reshaped = self.forward_excess * (2.0 * gain * directed.real + abs(directed) ** 2)
        covariance = complex(
            tap.covariance_x
            + tap.outcome_gain * self.forward_excess * along.real
            + client.isotropic_coupling * client.isotropic_noise,
            tap.covariance_p + tap.outcome_gain * self.forward_excess * along.imag,
        )
        noise = client.isotropic_noise + gain**2 * self.forward_excess
        return ReturnedLight(
            isotropic_signal=amplitude * math.sqrt(self.forward) * gain,
            directed_signal=amplitude * math.sqrt(self.forward) * directed,
            expected=expected,
            floor=own_noise + power * noise + efficiency * self.back_excess,
            spike_x=power * (tap.d_x + reshaped),
            spike_p=power * (tap.d_p + reshaped),
            covariance=amplitude * covariance,
            outcome_variance=self.outcome_variance,
        )
