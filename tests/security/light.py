"""Returned light drawn mode by mode from its definition, without the room's formulas, and helpers to judge checks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from labqdl.facts import (
    Activation,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    Owner,
    Place,
    RowStatistics,
    TapSetting,
    VerificationPlan,
)
from labqdl.security.expected import Totals

Reals = NDArray[np.float64]

IDEAL = Ledger("ideal")
BENCH = Ledger(
    "bench",
    (
        Component("fibre out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.9, excess=0.004),
        Component("interferometer", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.95),
        Component("fibre back", Place.RETURN, Owner.CHANNEL, transmissivity=0.92, phase_noise=0.05),
        Component(
            "receiver", Place.SERVER_RECEIVER, Owner.SERVER, trusted=True, transmissivity=0.85, electronic_noise=0.03
        ),
        Component(
            "counter",
            Place.SERVER_COUNTER,
            Owner.SERVER,
            trusted=True,
            transmissivity=0.7,
            dark_counts=1e-3,
            extinction=1e-5,
        ),
    ),
)


def make_frame(
    *,
    ledger: Ledger = IDEAL,
    shapes: tuple[tuple[int, int], ...] = ((784, 784), (10, 784)),
    mu: float = 4.0,
    tap: TapSetting | None = None,
    images: int = 64,
    block: int = 64,
    counting: float = 0.25,
    alpha: float = 1e-6,
    delta: float = 1e-6,
    budgets: Budgets | None = None,
) -> FrameDescription:
    """A frame whose layers have these (rows, features), without biases."""
    layers = tuple(LayerFrame(rows, features, False, mu, None, Activation()) for rows, features in shapes)
    return FrameDescription(
        session="test",
        layers=layers,
        images=images,
        block=block,
        tap=tap or TapSetting.amplifier(2.0),
        ledger=ledger,
        plan=VerificationPlan(counting, alpha, delta),
        budgets=budgets or Budgets(),
    )


def make_light(generator: np.random.Generator, rows: int, n_modes: int, mu: float) -> Reals:
    """Isotropic rows with exactly mu photons per mode in the mean; shape (rows, 2 n_modes), SNU."""
    q = generator.normal(size=(rows, 2 * n_modes))
    return np.asarray(q * math.sqrt(2 * mu / np.mean(q**2)))


def isotropic(generator: np.random.Generator, images: int, n_modes: int) -> Reals:
    """Random unit vectors; shape (images, 2 n_modes)."""
    x = generator.normal(size=(images, 2 * n_modes))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


@dataclass(frozen=True)
class Returned:
    """Sums of every (image, row): q^2, q r, r^2, (Jq)^2, (Jq) r where homodyned, photons where counted."""

    qq: Reals
    qr: Reals
    rr: Reals
    jj: Reals
    jr: Reals
    photons: NDArray[np.int64]
    q: Reals
    counted: NDArray[np.bool_]
    n_modes: int

    def statistics(self, images: slice = slice(None)) -> RowStatistics:
        """As the link reports them for these images."""
        part = self.qq[images]
        size = part.shape[0]
        home = ~self.counted
        energy = np.sum(self.q**2, axis=1)
        return RowStatistics(
            counted=self.counted,
            sum_qq=part.sum(axis=0) * home,
            sum_qr=self.qr[images].sum(axis=0) * home,
            sum_rr=self.rr[images].sum(axis=0) * home,
            sum_jj=self.jj[images].sum(axis=0) * home,
            sum_jr=self.jr[images].sum(axis=0) * home,
            residuals=(home * size * self.n_modes).astype(np.int64),
            photons=self.photons[images].sum(axis=0) * self.counted,
            slots=(self.counted * size * self.n_modes).astype(np.int64),
            expected_photons_signal=energy / 4 * size * self.counted,
            images=size,
        )

    def totals(self, images: int) -> list[Totals]:
        """Totals of successive groups of so many images."""
        energy = np.sum(self.q**2, axis=1)
        count = self.qq.shape[0] // images
        return [Totals.from_rows(self.statistics(slice(k * images, (k + 1) * images)), energy) for k in range(count)]


def draw(
    generator: np.random.Generator,
    ledger: Ledger,
    q: Reals,
    x: Reals,
    *,
    counted: NDArray[np.bool_],
    added_noise: float = 1.0,
    gain_error: float = 0.0,
    noise_error: float = 0.0,
    photon_error: float = 0.0,
    extra: float = 0.0,
    turn: float = 0.0,
) -> Returned:
    """Light of an honest client with data x, one pattern of quadratures per image, every mode drawn by itself.

    added_noise: D of the tap per quadrature of the addressed mode. The errors plant relative mistakes in amplitude,
    residual variance and counted photons; `extra` adds isotropic noise at the server's input, SNU; `turn` turns
    the phase of the homodyned light, rad.
    """
    images, width = x.shape
    rows, modes = q.shape[0], width // 2
    transmission, back = ledger.total, ledger.back
    efficiency, counter = ledger.server_efficiency, ledger.counter_efficiency
    jx = np.stack([-x[:, 1::2], x[:, 0::2]], axis=-1).reshape(images, width)
    jq = np.stack([-q[:, 1::2], q[:, 0::2]], axis=-1).reshape(rows, width)
    noise = generator.normal(scale=math.sqrt(added_noise), size=(2, images, rows, 1))
    phase = generator.normal(scale=max(ledger.total_phase_noise, 1e-300), size=(images, rows, 1))
    classical = math.sqrt(transmission) * ((np.cos(phase) - 1) * q + np.sin(phase) * jq)
    classical = classical + math.sqrt(back) * (noise[0] * x[:, None] + noise[1] * jx[:, None])
    technical = ledger.technical_excess + extra
    if technical > 0:
        classical = classical + generator.normal(scale=math.sqrt(technical), size=classical.shape)
    # homodyne: one quadrature of every mode
    which = generator.integers(0, 2, size=(images, 1, modes, 1))
    picked = np.take_along_axis(
        classical.reshape(images, rows, modes, 2), np.broadcast_to(which, (images, rows, modes, 1)), 3
    )
    sent, turned = (
        np.take_along_axis(
            np.broadcast_to(light.reshape(1, rows, modes, 2), (images, rows, modes, 2)),
            np.broadcast_to(which, (images, rows, modes, 1)),
            3,
        )[..., 0]
        for light in (q, jq)
    )
    shot = generator.normal(scale=math.sqrt(1 + ledger.server_noise), size=sent.shape)
    residual = math.sqrt(efficiency) * picked[..., 0] + shot
    residual = residual * math.sqrt(1 + noise_error) + gain_error * math.sqrt(transmission * efficiency) * sent
    # counting: Poisson of the classical intensity of every mode
    intensity = counter * np.sum(classical**2, axis=2) / 4 * (1 + photon_error)
    energy = np.sum(q**2, axis=1) / 4
    background = ledger.dark_counts * modes + counter * transmission * ledger.extinction * energy
    photons = generator.poisson(intensity + background)
    residual = residual + math.sin(turn) * math.sqrt(transmission * efficiency) * turned
    return Returned(
        qq=np.sum(sent**2, axis=2),
        qr=np.sum(sent * residual, axis=2),
        rr=np.sum(residual**2, axis=2),
        jj=np.sum(turned**2, axis=2),
        jr=np.sum(turned * residual, axis=2),
        photons=photons.astype(np.int64),
        q=q,
        counted=counted,
        n_modes=modes,
    )


def assert_uniform(values: Reals, *, slack: float = 0.05) -> None:
    """Kolmogorov distance from the uniform law below `slack` plus its 1e-9 quantile (false-alarm rate below 1e-9)."""
    distance = float(stats.kstest(values, "uniform").statistic)
    limit = slack + math.sqrt(-0.5 * math.log(0.5e-9) / values.size)
    assert distance < limit, f"distance {distance:.3f} from uniform, limit {limit:.3f}"


def assert_rate(hits: int, trials: int, rate: float) -> None:
    """A rate of at most `rate`, within five standard deviations (and five events where they are few)."""
    limit = trials * rate + 5 * math.sqrt(trials * rate * (1 - rate)) + 5 * (trials * rate < 5)
    assert hits <= limit, f"{hits} of {trials}, at most {limit:.1f} expected"


def assert_power(hits: int, trials: int, power: float) -> None:
    """A power that differs from the stated one by at most five standard deviations."""
    limit = 5 * math.sqrt(trials * power * (1 - power))
    assert abs(hits - trials * power) <= limit, f"power {hits / trials:.4f}, expected {power} +- {limit / trials:.4f}"
