"""What a bench's outcomes and residuals say about its client, with standard errors, against closed forms.

Every figure is an unbiased estimate from sums over rows. Its standard error is exact for Gaussian noise of the expected
law: with a, b the restrictions of x, Jx to the measured quadratures and Sigma = s I + c (aa' + bb'), Var(r'Mr) =
2 tr(M Sigma M Sigma), and M = aa' + bb' has the eigenvalues k1 + k2 = 1 of the Gram matrix of (a, b).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap
from tests.sim.world.chain import Light, Setting

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate, what theory says, and the standard error of the estimate."""

    value: float
    theory: float
    error: float

    @property
    def z(self) -> float:
        """Deviation in standard errors."""
        return (self.value - self.theory) / self.error


def tap_law(setting: Setting) -> TapLaw:
    """Closed forms of the honest stage (docs/physics.md, "Gain and tap")."""
    if setting.kind == "feed-forward":
        return feed_forward_tap(setting.tap["t"], efficiency=setting.efficiency, electronic_noise=setting.noise)
    gain = setting.tap["gain"]
    return amplifier_tap(
        gain,
        setting.tap.get("tau", 1.0 / gain),
        n_sp=setting.tap.get("n_sp", 1.0),
        efficiency=setting.efficiency,
        electronic_noise=setting.noise,
    )


@dataclass
class Sums:
    """Sums over rows, and what is expected of them.

    Parameters
    ----------
    law:
        Of the client's stage.
    n_modes, mu:
        Of the light.
    amplitude, floor:
        sqrt(T_2 efficiency) of the server, and variance of a residual without the client's noise.
    """

    law: TapLaw
    n_modes: int
    mu: float
    amplitude: float = 1.0
    floor: float = 1.0
    rows: int = 0
    _: dict[str, float] = field(default_factory=dict)

    @property
    def spike(self) -> float:
        """c, SNU at the server's detector."""
        return self.amplitude**2 * self.law.added_noise

    def add(self, signal: NDArray[np.complex128], a: Real, b: Real, outcome: Real, residual: Real) -> None:
        """Rows with X_b + i P_b of the sent light (rows,), a, b and residuals (rows, n_modes), outcomes (rows,)."""
        s, c, n = self.floor, self.spike, self.n_modes
        g, variance, shared = self.law.outcome_gain, self.law.outcome_variance, self.amplitude * self.law.covariance_x
        x, p = signal.real, signal.imag
        aa, bb, ab = (np.einsum("ij,ij->i", one, other) for one, other in ((a, a), (b, b), (a, b)))
        ra, rb, rr = (np.einsum("ij,ij->i", residual, one) for one in (a, b, residual))
        noise = outcome - g * x
        square = aa**2 + bb**2 + 2 * ab**2  # tr M^2
        k1, k2 = (0.5 + sign * np.sqrt(np.maximum(0.25 - (aa * bb - ab**2), 0.0)) for sign in (1, -1))
        # residuals against d1 = X_b a + P_b b and d2 = X_b b - P_b a, whose amplitudes are Re and Im of t - 1
        d1r, d2r = x * ra + p * rb, x * rb - p * ra
        d11 = x**2 * aa + p**2 * bb + 2 * x * p * ab
        d22 = x**2 * bb + p**2 * aa - 2 * x * p * ab
        d12 = (x**2 - p**2) * ab + x * p * (bb - aa)
        d1a, d1b = x * aa + p * ab, x * ab + p * bb
        d2a, d2b = x * ab - p * aa, x * bb - p * ab
        part = np.maximum(aa * bb - ab**2, 1e-9)
        inside = (bb * ra**2 - 2 * ab * ra * rb + aa * rb**2) / part  # energy in the plane of a and b
        plane = (aa * bb - ab**2 > 1e-6) if n > 2 else np.zeros(aa.shape, np.bool_)
        values = {
            "xx": x**2, "xy": x * outcome, "ee": noise**2,
            "d11": d11, "d22": d22, "d12": d12, "d1r": d1r, "d2r": d2r,
            "v11": s * d11 + c * (d1a**2 + d1b**2), "v22": s * d22 + c * (d2a**2 + d2b**2),
            "v12": s * d12 + c * (d1a * d2a + d1b * d2b),
            "rr": rr, "rr_var": 2 * ((n - 2) * s**2 + (s + c * k1) ** 2 + (s + c * k2) ** 2) if n > 1
            else 2 * (s + c) ** 2 * np.ones(aa.shape),
            "rm": ra**2 + rb**2 - s, "mm": square,
            "rm_var": 2 * (k1**2 * (s + c * k1) ** 2 + k2**2 * (s + c * k2) ** 2),
            "er": noise * ra, "aa": aa,
            "er_var": variance * (s * aa + c * (aa**2 + ab**2)) + (shared * aa) ** 2,
            "outside": np.where(plane, rr - inside, 0.0), "planes": plane.astype(np.float64),
        }  # fmt: skip
        self.count(x.size, values)

    def count(self, rows: int, values: dict[str, Real]) -> None:
        """Add values of rows to the sums of their names."""
        self.rows += rows
        for key, value in values.items():
            self._[key] = self._.get(key, 0.0) + float(np.sum(value))

    def take(self, light: Light) -> None:
        """Rows of the world, where the returned field itself can be looked at as well."""
        a, b = light.along
        self.add(light.signal, a, b, light.outcome, light.residual)
        sent, returned = (np.einsum("ij,ij->i", np.conj(light.u), field) for field in (light.sent, light.returned))
        added = 2.0 * (returned - self.law.net_gain * sent)
        noise = light.outcome - self.law.outcome_gain * light.signal.real
        aside = light.returned - light.sent - (returned - sent)[:, None] * light.u
        product = np.conj(sent) * returned
        self.count(
            0,
            {
                "field": np.square(np.abs(added)) / 2, "shared": noise * added.real, "power": np.square(np.abs(sent)),
                "real": product.real, "imaginary": product.imag, "aside": np.sum(np.square(np.abs(aside)), axis=1),
            },
        )  # fmt: skip

    @property
    def aside(self) -> float:
        """Mean photons that a row returned outside of the addressed mode beyond those sent."""
        return self._["aside"] / self.rows

    def fields(self) -> dict[str, Figure]:
        """Figures of the returned field, projected on the known u: no vacuum noise is in the way."""
        total, rows, law = self._, self.rows, self.law
        error = math.sqrt(law.added_noise / 4 / total["power"])
        mixed = math.hypot(math.sqrt(law.outcome_variance * law.d_x), law.covariance_x) / math.sqrt(rows)
        return {
            "net gain of the field, real": Figure(total["real"] / total["power"], law.net_gain.real, error),
            "net gain of the field, imaginary": Figure(total["imaginary"] / total["power"], law.net_gain.imag, error),
            "D of the field along u": Figure(total["field"] / rows, law.added_noise, law.added_noise / math.sqrt(rows)),
            "Cov(y, field along u)": Figure(total["shared"] / rows, law.covariance_x, mixed),
        }

    def figures(self) -> dict[str, Figure]:
        """All figures; without `floor` where a row has no mode to spare."""
        total, rows, n, law = self._, self.rows, self.n_modes, self.law
        g, variance = law.outcome_gain, law.outcome_variance
        slope = Figure(total["xy"] / total["xx"], g, math.sqrt(variance / total["xx"]))
        spread = Figure(total["ee"] / rows, variance, variance * math.sqrt(2 / rows))
        gram = np.array([[total["d11"], total["d12"]], [total["d12"], total["d22"]]])
        inverse = np.linalg.inv(gram)
        gain = inverse @ np.array([total["d1r"], total["d2r"]]) / self.amplitude
        middle = np.array([[total["v11"], total["v12"]], [total["v12"], total["v22"]]])
        covariance = inverse @ middle @ inverse / self.amplitude**2
        scale = self.amplitude**2
        noise = Figure(
            spread.value / slope.value**2 - 1,
            law.n_x,
            variance / g**2 * math.hypot(spread.error / variance, 2 * slope.error / g),
        )
        excess = total["rr"] / rows - n * self.floor
        excess_error = math.sqrt(total["rr_var"]) / rows
        signal = 2 * self.mu * g**2 / variance
        found = {
            "slope": slope,
            "outcome variance": spread,
            "net gain, real": Figure(1 + gain[0], law.net_gain.real, math.sqrt(covariance[0, 0])),
            "net gain, imaginary": Figure(gain[1], law.net_gain.imag, math.sqrt(covariance[1, 1])),
            "added noise along u": Figure(
                total["rm"] / total["mm"] / scale, law.added_noise, math.sqrt(total["rm_var"]) / total["mm"] / scale
            ),
            "N": noise,
            "Cov(y, r)": Figure(
                total["er"] / total["aa"] / self.amplitude, law.covariance_x,
                math.sqrt(total["er_var"]) / total["aa"] / self.amplitude,
            ),
            "eps": Figure(excess / n / scale, law.added_noise / n, excess_error / n / scale),
            "S": Figure(2 * self.mu * slope.value**2 / spread.value, signal, signal * math.hypot(
                2 * slope.error / g, spread.error / variance)),
        }  # fmt: skip
        if total["planes"]:
            free = total["planes"] * (n - 2)
            found["floor"] = Figure(total["outside"] / free, self.floor, self.floor * math.sqrt(2 / free))
        return found
