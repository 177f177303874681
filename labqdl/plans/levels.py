"""A light path on three levels: closed forms, exact emulation, and light on the wire, figure by figure.

Known random rows and known random directions go through a link, whichever it is; what both ends measured is put
together and compared with the closed forms of the link's ledger. No party of a session may do that: the rows are the
server's secret and the directions the client's. It is a joined view for commissioning a table that one person owns.

Regression. A returned row is k q + d (u^dagger q) u + noise; its residual is regressed on the restrictions of q, Jq,
and of X_b x + P_b Jx and X_b Jx - P_b x to the homodyned quadratures (docs/physics.md, "Levels"). k is what every mode
keeps, d what the addressed one gets beyond. The noise along u is that of the fitted residual in the plane of x and Jx
less that outside of it, so that a shot-noise unit that is a little off does not look like a tap's noise. Standard
errors are jackknifed over data vectors: nothing is assumed of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from labqdl.facts import Activation, Budgets, FrameDescription, LayerFrame, Ledger, ShotNoise, VerificationPlan
from labqdl.facts.operating_point import OperatingPoint, TapSetting
from labqdl.link import Link
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import mean_square_residual, outcome_slope, outcome_variance
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from labqdl.rng import Root

Real = NDArray[np.float64]
OnBlock = Callable[[int, int], None]
"""Called with blocks done and in all."""

IMAGES = 8
"""Data vectors of a block: one shot of a station, or a few."""
SYMBOLS = 1536
"""Verification symbols of a data vector: rows cost a wire little, vectors have the interferometer set."""
LEAST_ROWS = 16
LEAST_BLOCKS = 4
VACUUM_SLOTS = 32
"""Vacuum slots of a row: as many as modes, so that the excess is known as well as the noise that it is part of."""
MARGIN, LEVEL, QUANTILE = 0.05, 0.05, 1.645
"""Equivalence: two one-sided tests, each at this level, that a figure is less than this share off."""
FAR = 3.0
"""Standard errors beyond the margin from which on a figure is called different."""
SCALES: Mapping[str, float] = {"net gain, imaginary": 1.0, "phase": 1.0}
"""What the share is taken of where theory is 0."""


@dataclass(frozen=True, slots=True)
class LevelFigure:
    """One figure of one level: the estimate and its standard error."""

    value: float
    error: float


class Answer(StrEnum):
    """What the test of equivalence says."""

    EQUAL = "equal"
    """Less than 5 % off."""
    DIFFERENT = "different"
    """More than 5 % off."""
    UNKNOWN = "open"
    """Too few symbols to say."""


@dataclass(frozen=True, slots=True)
class Theory:
    """A figure's closed form, how well the calibrations know it, and what a deviation is compared with."""

    value: float
    deviation: float = 0.0
    scale: float | None = None

    @property
    def margin(self) -> float:
        """Deviation that counts as none in the test of equivalence."""
        return MARGIN * (abs(self.value) if self.scale is None else self.scale)

    def z(self, one: LevelFigure) -> float:
        """Deviation in standard errors, the calibrations' included."""
        return (one.value - self.value) / math.hypot(one.error, self.deviation)

    def equivalence(self, one: LevelFigure) -> float:
        """p-value of "it is 5 % off theory or more": the larger one of two one-sided tests."""
        if not one.error > 0:
            return 1.0
        return float(ndtr((abs(one.value - self.value) - self.margin) / one.error))

    def judge(self, one: LevelFigure) -> Answer:
        """What may be said of a figure at the level of 5 %."""
        if self.equivalence(one) < LEVEL:
            return Answer.EQUAL
        away = abs(one.value - self.value) - self.margin
        return Answer.DIFFERENT if away > FAR * one.error else Answer.UNKNOWN

    def symbols_for(self, one: LevelFigure, symbols: int) -> float:
        """Symbols after which a figure that is as theory says would pass, by the error that so many gave."""
        return symbols * (QUANTILE * one.error / self.margin) ** 2


def theory(ledger: Ledger, setting: TapSetting, mu: float, n_modes: int) -> dict[str, float]:
    """Closed forms of all figures for Gaussian rows of `mu` photons a mode at the server's output.

    Source: docs/physics.md, "Levels". Phase noise (Gaussian, one phase a row) takes exp(-sigma^2/2) of an amplitude
    and gives 1 - exp(-sigma^2) of the light's variance back as noise.
    """
    law = LinkLaw.from_ledger(ledger, honest(ledger, setting))
    light, signal = law.homodyne, 2.0 * mu
    forward, total = (math.exp(-0.5 * one**2) for one in (law.forward_phase_noise, law.total_phase_noise))
    common = law.common_phase_noise**2
    apart = math.exp(-0.5 * (law.forward_phase_noise**2 + law.total_phase_noise**2 - 2.0 * common))
    slope = outcome_slope(law)
    variance = outcome_variance(law, math.sqrt(signal), math.sqrt(signal))
    power = law.back * law.server_efficiency
    gain = 1.0 + law.client.directed_gain / law.client.isotropic_gain
    if n_modes == 1:
        gain *= total  # there is no other mode to compare with
    shared = signal * law.outcome_gain * light.isotropic_signal * forward * total * math.expm1(common)
    own = 1.0 + law.server_noise
    floor = light.floor + signal * light.isotropic_signal**2 * (1.0 - total**2)
    spike = 0.5 * (light.spike_x + light.spike_p)
    if n_modes <= 2:
        spike += floor - own  # nor one whose noise could be taken off
    return {
        "slope": slope,
        "outcome variance": variance,
        "net gain, real": gain.real,
        "net gain, imaginary": gain.imag,
        "amplitude": total,
        "phase": 0.0,
        "floor": floor,
        "vacuum": own,
        "added noise along u": spike / power,
        "Cov(outcome, residual)": (light.covariance.real * apart + shared) / math.sqrt(power),
        "excess": (mean_square_residual(law, n_modes, mu) - own) / law.server_efficiency,
        "S": signal * slope**2 / variance,
    }


UNITS: Mapping[str, str] = {
    "phase": "rad",
    "outcome variance": "SNU",
    "floor": "SNU",
    "vacuum": "SNU",
    "added noise along u": "SNU",
    "Cov(outcome, residual)": "SNU",
    "excess": "SNU",
}
WORDS: Mapping[str, str] = {
    "slope": "outcome per X of the row at the server's output",
    "outcome variance": "for known rows and data",
    "net gain, real": "of the addressed mode, relative to all others",
    "net gain, imaginary": "of the addressed mode, relative to all others",
    "amplitude": "of the returned light, relative to what the ledger expects",
    "phase": "of the returned light",
    "floor": "variance of a residual beside the addressed mode, at the server's detector",
    "vacuum": "variance of the server's blocked receiver",
    "added noise along u": "of the addressed mode beyond the floor, at the client's output",
    "Cov(outcome, residual)": "along u, at the client's output",
    "excess": "mean over all quadratures, at the server's input",
    "S": "signal to noise of an outcome",
}


@dataclass
class Sums:
    """Sums over rows of what both ends measured, one entry a data vector.

    Parameters
    ----------
    ledger, setting, mu, n_modes:
        Of the light path; they say what the server expects and by what residuals are referred to their planes.
    """

    ledger: Ledger
    setting: TapSetting
    mu: float
    n_modes: int
    _: dict[str, list[Real]] = field(default_factory=dict)

    def add(self, q: Real, x: Real, pattern: NDArray[np.bool_], outcomes: Real, residuals: Real) -> None:
        """Rows q (rows, 2 n), vectors x (images, 2 n), outcomes (images, rows), residuals (images, rows, n)."""
        n = self.n_modes
        where = 2 * np.arange(n) + pattern
        turned = np.asarray(rotate_j(x), np.float64)
        signal_x, signal_p = x @ q.T, turned @ q.T
        a, b = x[:, where], turned[:, where]
        part_x, part_p = signal_x[:, :, None], signal_p[:, :, None]
        along, across = a[:, None, :], b[:, None, :]
        shape = residuals.shape
        vectors = [residuals]
        if n > 1:
            vectors += [np.broadcast_to(one[:, where], shape) for one in (q, np.asarray(rotate_j(q), np.float64))]
        vectors += [part_x * along + part_p * across, part_x * across - part_p * along]
        v = np.stack(vectors, axis=2)
        va, vb = np.einsum("irkn,in->irk", v, a), np.einsum("irkn,in->irk", v, b)
        aa, bb, ab = (np.einsum("in,in->i", one, other) for one, other in ((a, a), (b, b), (a, b)))
        part = aa * bb - ab**2
        plane = (part > 1e-6) if n > 2 else np.zeros(part.shape, np.bool_)
        gram = np.einsum("irkn,irln->ikl", v, v, optimize=True)
        saa, sbb, sab = (np.einsum("irk,irl->ikl", one, other) for one, other in ((va, va), (vb, vb), (va, vb)))
        sab = 0.5 * (sab + np.swapaxes(sab, 1, 2))
        safe = np.where(plane, part, 1.0)
        inside = (
            (bb / safe)[:, None, None] * saa + (aa / safe)[:, None, None] * sbb - (2 * ab / safe)[:, None, None] * sab
        )
        rows = float(len(q))
        values = {
            "rows": np.full(len(x), rows),
            "xx": np.sum(signal_x**2, axis=1),
            "xy": np.sum(signal_x * outcomes, axis=1),
            "yy": np.sum(outcomes**2, axis=1),
            "gram": gram,
            "plane": saa + sbb,
            "outside": np.where(plane[:, None, None], gram - inside, 0.0),
            "free": np.where(plane, rows * (n - 2), 0.0),
            "square": rows * (aa**2 + bb**2 + 2 * ab**2),
            "ya": np.einsum("ir,irk->ik", outcomes, va),
            "xa": np.einsum("ir,irk->ik", signal_x, va),
            "aa": rows * aa,
        }
        self._take(values)

    def add_vacuum(self, squares: float, slots: int) -> None:
        """Sum of squares of vacuum slots in SNU, and their number."""
        self._take({"vacuum": np.array([squares]), "slots": np.array([float(slots)])})

    def _take(self, values: Mapping[str, Real]) -> None:
        for key, value in values.items():
            self._.setdefault(key, []).append(np.asarray(value, np.float64))

    @property
    def symbols(self) -> int:
        """Verification symbols so far."""
        return int(np.sum(np.concatenate(self._["rows"]))) * self.n_modes if "rows" in self._ else 0

    def figures(self) -> dict[str, LevelFigure]:
        """All figures; without `floor`, `amplitude` and `phase` where a row has no mode to spare."""
        sums = {key: np.concatenate(values) for key, values in self._.items()}
        vacuum = {key: sums.pop(key) for key in ("vacuum", "slots") if key in sums}
        total = {key: np.sum(value, axis=0) for key, value in sums.items()}
        own = float(np.sum(vacuum["vacuum"]) / np.sum(vacuum["slots"]))
        own_error = own * math.sqrt(2.0 / float(np.sum(vacuum["slots"])))
        value = self._figures({key: one[None] for key, one in total.items()}, own)
        groups = len(sums["rows"])
        left = self._figures({key: total[key][None] - sums[key] for key in sums}, own)
        # The vacuum is independent of the rows: its part of the error by its derivative.
        moved = self._figures({key: one[None] for key, one in total.items()}, own + own_error)
        found = {"vacuum": LevelFigure(own, own_error)}
        for key, one in value.items():
            spread = left[key] - np.mean(left[key])
            jackknife = math.sqrt((groups - 1) / groups * float(np.sum(spread**2)))
            found[key] = LevelFigure(float(one[0]), math.hypot(jackknife, float(moved[key][0] - one[0])))
        return {key: found[key] for key in WORDS if key in found}

    def _figures(self, s: Mapping[str, Real], own: float) -> dict[str, Real]:
        """From sums with a leading axis."""
        law = LinkLaw.from_ledger(self.ledger, honest(self.ledger, self.setting))
        n, amplitude, power = self.n_modes, law.expected_amplitude, law.back * law.server_efficiency
        slope = s["xy"] / s["xx"]
        variance = (s["yy"] - slope * s["xy"]) / s["rows"]
        gram = s["gram"]
        fitted = np.linalg.solve(gram[:, 1:, 1:], gram[:, 1:, :1])[:, :, 0]
        w = np.concatenate([np.ones((len(fitted), 1)), -fitted], axis=1)

        def form(key: str) -> Real:
            return np.asarray(np.einsum("gk,gkl,gl->g", w, s[key], w), np.float64)

        relative = fitted / amplitude
        kept = 1.0 + (relative[:, 0] + 1j * relative[:, 1] if n > 1 else 0.0)
        directed = relative[:, -2] + 1j * relative[:, -1]
        gain = 1.0 + directed / kept
        floor = form("outside") / s["free"] if n > 2 else np.full(slope.shape, own)
        cross = np.einsum("gk,gk->g", w, s["ya"] - slope[:, None] * s["xa"])
        found: dict[str, Real] = {
            "slope": slope,
            "outcome variance": variance,
            "net gain, real": gain.real,
            "net gain, imaginary": gain.imag,
            "added noise along u": (form("plane") - floor * s["rows"]) / s["square"] / power,
            "Cov(outcome, residual)": cross / s["aa"] / math.sqrt(power),
            "excess": (gram[:, 0, 0] / s["rows"] / n - own) / law.server_efficiency,
            "S": 2.0 * self.mu * slope**2 / variance,
        }
        if n > 1:
            found |= {"amplitude": np.abs(kept), "phase": np.asarray(np.angle(kept), np.float64)}
        if n > 2:
            found["floor"] = floor
        return found


def blocks_for(symbols: int, n_modes: int) -> int:
    """Blocks that give at least so many verification symbols."""
    return max(LEAST_BLOCKS, -(-symbols // (rows_of(n_modes) * IMAGES * n_modes)))


def rows_of(n_modes: int) -> int:
    """Rows of a block."""
    return max(LEAST_ROWS, SYMBOLS // n_modes)


def commissioning_frame(ledger: Ledger, point: OperatingPoint, n_modes: int, blocks: int) -> FrameDescription:
    """The frame of such a measurement: one layer, homodyned rows only, the shot-noise unit measured on the way."""
    layer = LayerFrame(
        rows=rows_of(n_modes),
        n_features=2 * n_modes,
        bias=False,
        mu=point.mu,
        published_scale=None,
        activation=Activation(),
    )
    return FrameDescription(
        session="commissioning",
        layers=(layer,),
        images=IMAGES * blocks,
        block=IMAGES,
        tap=point.tap,
        ledger=ledger,
        plan=VerificationPlan(counting_fraction=0.0, shot_noise=ShotNoise.OWN, cross_use=False, residual_share=1.0),
        budgets=Budgets(),
        vacuum_slots=VACUUM_SLOTS,
    )


def measure(link: Link, frame: FrameDescription, root: Root, on_block: OnBlock | None = None) -> Sums:
    """Send known rows and directions through a link, and put together what both ends measured.

    The link is left dark. The same `root` gives the same rows, directions and patterns at every link.
    """
    layer = frame.layers[0]
    n, mu = layer.n_modes, layer.mu
    sums = Sums(frame.ledger, frame.tap, mu, n)
    amplitude = math.sqrt(frame.ledger.total * frame.ledger.server_efficiency)
    none = np.zeros(layer.rows, np.bool_)
    try:
        link.prepare(frame)
        for block in range(frame.n_blocks):
            images = len(frame.block_images(block))
            generator = root.generator("commissioning", block)
            q = math.sqrt(2.0 * mu) * generator.standard_normal((layer.rows, 2 * n))
            x = generator.standard_normal((images, 2 * n))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            pattern = generator.random(n) < 0.5
            server, client = link.server_port, link.client_port
            server.send_rows(0, block, q, images)
            server.set_receiver(0, block, pattern, none, amplitude, sampled=np.arange(images))
            client.set_data(0, block, x)
            link.transmit(0, block)
            light = server.returned(0, block)
            assert light.sample is not None
            residuals = np.asarray(light.sample.residuals, np.float64)
            sums.add(q, x, pattern, np.asarray(client.outcomes(0, block), np.float64), residuals)
            sums.add_vacuum(light.statistics.vacuum_squares, light.statistics.vacuum_slots)
            if on_block is not None:
                on_block(block + 1, frame.n_blocks)
    finally:
        link.close()
    return sums
