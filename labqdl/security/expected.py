"""The honest law of the returned light as the server knows it, and the sums that are judged against it.

The server knows the ledger, the tap's setting, its own light and its own choices (which quadrature, which rows are
counted). It does not know the client's data x, which set the direction of the honest noise. Everything here is
therefore an envelope: the worst case over every x, derived in `docs/physics.md`, section "Verification". Per
homodyned row and image the residual is

    r ~ N(m, s2 I + c (aa' + bb') + p jj'),   |a|^2 + |b|^2 = 1,

with floor s2 = 1 + v_s + eta_s eps_tech, spike c = T_2 eta_s D of the tap's added noise (a, b: restrictions of x and
Jx to the measured quadratures), and to first order in sigma_phi^2 the phase noise p = T eta_s sigma_phi^2 along
j = Jq restricted; m = 0 when the tap's net gain is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from labqdl.facts import FrameDescription, Ledger, Place, RowStatistics
from labqdl.optics.gain_tap import tap_law
from labqdl.optics.tiling import stream
from labqdl.security.quadratic import QuadraticLaw
from labqdl.security.spectrum import Spectrum, layer_spectrum

PRINCIPAL = 16
"""Directions of the strongest light that the direction test looks along, at most; an eighth of the weights of a row."""
_ROUNDED_UP = 1 + 1e-6
"""Eigenvalues serve as bounds, and float32 light may differ in the seventh digit."""


@dataclass(frozen=True, slots=True)
class LayerLight:
    """What the server's own weights say about the worst data vector; all from `layer_light`.

    Attributes
    ----------
    alignment:
        Largest share of a layer's energy that one direction x can meet: largest eigenvalue of sum_k q_k q_k' over
        its trace, between 1/n_weights and 1. The default 1 is the worst case.
    row_energy:
        |q_k|^2 of every row at the server's output, SNU; shape (rows,), or None for equal rows.
    cross:
        Upper limit, for every choice of quadratures, of sum_k (q . Jq restricted)^2 over the rows of one image,
        SNU squared; None for the worst case. It weighs the phase noise in the gain test.
    spectrum:
        How unequal the directions are, for the certified bound on the weights; None takes them as equally bright.
    principal:
        Orthonormal directions in which the layer's light is strongest, (directions, n_weights), strongest first; None
        leaves out the direction test.
    """

    alignment: float = 1.0
    row_energy: NDArray[np.float64] | None = None
    cross: float | None = None
    principal: NDArray[np.float64] | None = None
    spectrum: Spectrum | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alignment <= 1:
            raise ValueError(f"alignment must lie in (0, 1], got {self.alignment!r}")


def layer_light(q: NDArray[np.floating[Any]], tiles: int = 1) -> LayerLight:
    """Figures of one layer's quadratures q of shape (rows, n_weights), interleaved (X1, P1, X2, P2, ...), SNU.

    With tiles they are those of the rows as streamed, each tile of which meets a direction of its own; the spectrum is
    that of whole rows, where a client may put its noise.
    """
    whole = np.asarray(q, dtype=np.float64)
    if whole.ndim != 2 or whole.shape[1] % 2:
        raise ValueError(f"q must have shape (rows, n_weights even), got {whole.shape}")
    light = np.asarray(stream(whole, tiles), dtype=np.float64)
    energy = np.einsum("ij,ij->i", light, light)
    number = max(1, min(PRINCIPAL, light.shape[1] // 8, light.shape[0]))
    largest, principal = _strongest(light, number)
    if tiles > 1:
        largest = math.fsum(_strongest(part, 1)[0] for part in np.split(light, tiles))
    products = light[:, 0::2] * light[:, 1::2]
    cross = products.shape[1] * _strongest(products, 1)[0] * _ROUNDED_UP
    alignment = min(1.0, largest * _ROUNDED_UP / float(energy.sum()))
    return LayerLight(alignment, energy, cross, principal, layer_spectrum(whole))


def _strongest(rows: NDArray[np.float64], number: int) -> tuple[float, NDArray[np.float64]]:
    """Largest eigenvalue of sum_k v_k v_k' over the rows v_k, and its first eigenvectors, at most `number`, as rows."""
    wide = rows.shape[0] < rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    size = gram.shape[0]
    values, vectors = eigh(gram, subset_by_index=(size - number, size - 1))
    largest = max(float(values[-1]), 0.0)
    kept = values > 1e-9 * largest
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    found = (rows.T @ (vectors / np.sqrt(values))).T if wide else vectors.T
    return largest, np.ascontiguousarray(found)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of `RowStatistics` over rows, blocks or layers. Sums of totals are exactly rounded, in any order.

    Attributes
    ----------
    qq, qr, rr, jj, jr:
        Sums over homodyned quadratures, SNU; j is the light turned by a quarter (`RowStatistics`).
    j4:
        Sum of |j|^4 over homodyned (row, image) pairs, |j|^2 summed over the pair's quadratures; SNU squared. It
        weighs the phase noise in the phase test.
    energy:
        Sum of |q|^2 over all quadratures of the homodyned rows, measured or not, SNU.
    signal:
        Photons of the sent light that were nulled, at the server's output.
    residuals, homodyned:
        Homodyned quadratures, and (row, image) pairs that they belong to.
    photons, slots, counted:
        Photons, mode slots, and (row, image) pairs of the counted rows.
    images:
        Images.
    vacuum_squares, vacuum_slots:
        Sum of squares and number of homodyned vacuum slots.
    """

    qq: float = 0.0
    qr: float = 0.0
    rr: float = 0.0
    jj: float = 0.0
    jr: float = 0.0
    j4: float = 0.0
    energy: float = 0.0
    signal: float = 0.0
    residuals: int = 0
    homodyned: int = 0
    photons: int = 0
    slots: int = 0
    counted: int = 0
    images: int = 0
    vacuum_squares: float = 0.0
    vacuum_slots: int = 0

    @classmethod
    def from_rows(cls, rows: RowStatistics, row_energy: NDArray[np.float64]) -> Totals:
        """Totals of one (layer, block); `row_energy` is |q_k|^2 of every row, shape (rows,), SNU."""
        counted = int(np.count_nonzero(rows.counted))
        measured = row_energy[~rows.counted]
        return cls(
            qq=math.fsum(rows.sum_qq.tolist()),
            qr=math.fsum(rows.sum_qr.tolist()),
            rr=math.fsum(rows.sum_rr.tolist()),
            jj=math.fsum(rows.sum_jj.tolist()),
            jr=math.fsum(rows.sum_jr.tolist()),
            j4=math.fsum(np.square(rows.sum_jj).tolist()) / rows.images,
            energy=rows.images * math.fsum(measured.tolist()),
            signal=math.fsum(rows.expected_photons_signal.tolist()),
            residuals=int(rows.residuals.sum()),
            homodyned=(rows.counted.size - counted) * rows.images,
            photons=int(rows.photons.sum()),
            slots=int(rows.slots.sum()),
            counted=counted * rows.images,
            images=rows.images,
            vacuum_squares=rows.vacuum_squares,
            vacuum_slots=rows.vacuum_slots,
        )

    @classmethod
    def sum(cls, parts: Iterable[Totals]) -> Totals:
        """Sum of totals; the result does not depend on their order."""
        chosen = tuple(parts)

        def real(name: str) -> float:
            return math.fsum(getattr(part, name) for part in chosen)

        def whole(name: str) -> int:
            return sum(getattr(part, name) for part in chosen)

        return cls(
            qq=real("qq"),
            qr=real("qr"),
            rr=real("rr"),
            jj=real("jj"),
            jr=real("jr"),
            j4=real("j4"),
            energy=real("energy"),
            signal=real("signal"),
            residuals=whole("residuals"),
            homodyned=whole("homodyned"),
            photons=whole("photons"),
            slots=whole("slots"),
            counted=whole("counted"),
            images=whole("images"),
            vacuum_squares=real("vacuum_squares"),
            vacuum_slots=whole("vacuum_slots"),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; Python's JSON gives every float back bit by bit."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GainLaw:
    """Envelope of sum q r or sum j r: mean in [low, high], conditional variance at most `variance` (all SNU-based)."""

    low: float
    high: float
    variance: float

    @property
    def middle(self) -> float:
        """Centre of the interval of means."""
        return 0.5 * (self.low + self.high)

    @classmethod
    def sum(cls, laws: Iterable[GainLaw]) -> GainLaw:
        """Law of a sum over blocks or layers."""
        chosen = tuple(laws)
        return cls(
            math.fsum(law.low for law in chosen),
            math.fsum(law.high for law in chosen),
            math.fsum(law.variance for law in chosen),
        )


@dataclass(frozen=True, slots=True)
class HonestLayer:
    """Figures of one layer's honest returned light. SNU at the server's homodyne detector, or counted photons.

    Attributes
    ----------
    n_modes, rows, mu:
        As agreed in the frame: mode slots and rows as they are streamed, tile by tile.
    energy:
        Sum of |q|^2 over the layer, one image, SNU at the server's output.
    row_energy:
        |q_k|^2 of every row; shape (rows,).
    alignment, cross, spectrum:
        See `LayerLight`.
    amplitude:
        sqrt(T eta_s): expected amplitude factor.
    tiles:
        Tiles of a row, each with a direction of its own.
    crowding:
        Mode slots over those that carry weights: a client need not put noise into the others.
    gain_tolerance, phase_tolerance, noise_tolerance:
        See `VerificationPlan`; the last is part of `floor`, and missing from `floor_least`.
    floor, floor_least:
        s2, variance of every homodyned quadrature without the client's spike: an upper and, where the shot-noise unit
        is measured and so not quite known, a lower limit (None: the same).
    spike_x, spike_p:
        c along x and along Jx: T_2 eta_s D_X and D_P.
    phase, phase_least:
        T eta_s sigma_phi^2, of which E sin^2 phi is the smaller part T eta_s (1 - exp(-2 sigma_phi^2)) / 2: strength of
        the phase noise along Jq in the upper and in the lower tail.
    flutter:
        T eta_s Var cos phi, by which phase noise makes the amplitude of a row vary.
    droop:
        1 - exp(-sigma_phi^2 / 2), by which phase noise lowers the mean amplitude.
    mismatch:
        |net_gain - 1|.
    photons_x, photons_p:
        Counted photons per (row, image) that the tap's noise makes: T_2 eta_d D_X / 4 and D_P / 4.
    photons_technical:
        Counted photons per mode slot from technical excess noise.
    photons_phase, photons_phase_least:
        Counted photons per photon sent by phase noise: T eta_d sigma_phi^2 in the upper tail, and their mean
        T eta_d 2 (1 - exp(-sigma_phi^2 / 2)) in the lower one.
    photons_leaking, photons_dark:
        Counted photons per photon sent by imperfect extinction, and dark counts per slot.
    counter_amplitude:
        T eta_d, counted photons per photon sent without nulling.
    """

    n_modes: int
    rows: int
    mu: float
    energy: float
    row_energy: NDArray[np.float64]
    alignment: float
    cross: float
    amplitude: float
    floor: float
    spike_x: float
    spike_p: float
    phase: float
    phase_least: float
    flutter: float
    droop: float
    mismatch: float
    photons_x: float
    photons_p: float
    photons_technical: float
    photons_phase: float
    photons_phase_least: float
    photons_leaking: float
    photons_dark: float
    counter_amplitude: float
    spectrum: Spectrum | None = None
    floor_least: float | None = None
    tiles: int = 1
    crowding: float = 1.0
    gain_tolerance: float = 0.0
    phase_tolerance: float = 0.0
    noise_tolerance: float = 0.0

    @property
    def lowest_floor(self) -> float:
        """The lower limit of the floor, for lower tails."""
        return self.floor if self.floor_least is None else self.floor_least

    @property
    def spike(self) -> float:
        """Expected sum of squares that the tap's noise adds to one homodyned (row, image), SNU."""
        return 0.5 * (self.spike_x + self.spike_p)

    def gain(self, totals: Totals) -> GainLaw:
        """Envelope of sum q r over every x.

        Var <= s2 sum q^2 + c min(sum q^2, images lambda_max) + phase noise: the spike can use at most the
        energy of the layer's strongest direction. Phase noise adds p (q.Jq)^2 and the variance of the amplitude itself,
        T eta_s Var(cos phi) (sum q^2)^2, for each row and image.
        """
        aligned = min(totals.qq, self.alignment * self.energy * totals.images)
        strongest = max(self.spike_x, self.spike_p)
        variance = self.floor * totals.qq + strongest * aligned + self.phase * self.cross * totals.images
        variance += self.flutter * float(self.row_energy.max()) * totals.qq
        mean = -self.amplitude * self.droop * totals.qq
        shift = self.mismatch * self.amplitude * math.sqrt(2.0) * self.alignment * self.energy * totals.images
        shift += self.amplitude * self.gain_tolerance * totals.qq
        shift += self.amplitude * self.phase_tolerance * self._turned_mean(totals)
        return GainLaw(mean - shift, mean + shift, variance)

    def phase_law(self, totals: Totals) -> GainLaw:
        """Envelope of sum j r over every x: how far the returned light is turned.

        The variance without phase noise is that of `gain` with j in place of q, as J keeps the eigenvalues. A random
        phase adds sin(phi) |j|^2 + (cos(phi) - E cos(phi)) q.j for each row and image, which moves by at most
        (|j|^4 + (q.j)^2)^(1/2) per radian, and so is sub-Gaussian with sigma_phi^2 times its square. The mean is
        the lost amplitude's (droop) along q.j, which the pattern's signs make small.
        """
        aligned = min(totals.jj, self.alignment * self.energy * totals.images)
        crossed = self.cross * totals.images
        variance = self.floor * totals.jj + max(self.spike_x, self.spike_p) * aligned
        variance += self.phase * (totals.j4 + crossed)
        shift = self.amplitude * (self.droop + self.gain_tolerance) * self._turned_mean(totals)
        shift += self.amplitude * self.phase_tolerance * totals.jj
        shift += self.mismatch * self.amplitude * self.alignment * self.energy * totals.images
        return GainLaw(-shift, shift, variance)

    def _turned_mean(self, totals: Totals) -> float:
        """Upper limit of |sum w q . Jq restricted| over homodyned rows and images for weights |w| <= 1, SNU."""
        return math.sqrt(totals.homodyned * self.cross * totals.images)

    def tolerated(self, along: float, across: float) -> float:
        """Length of the mean residual that gain and phase within their tolerances make, SNU^(1/2) at the detector.

        r = A (g q + p Jq) restricted, with |g| and |p| at most the tolerances at every row and use: at most this, by
        the triangle inequality, where the light has the energies `along` and the turned light `across`, SNU.
        """
        length = self.gain_tolerance * math.sqrt(along) + self.phase_tolerance * math.sqrt(max(across, 0.0))
        return self.amplitude * length

    def noise(self, totals: Totals, *, high: bool) -> QuadraticLaw:
        """Worst law of sum r^2 for the upper (`high`) or the lower tail: all of a spike in one direction.

        log E exp(s sum r^2) is Schur-convex in the covariance's eigenvalues for s of either sign, so that the
        concentrated spike has the largest CGF of all data vectors.
        """
        turned = totals.energy - totals.qq
        if not high:
            return self.squares(totals.residuals, totals.homodyned, turned, self.phase_least, 0.0, high=False)
        shift = (self.amplitude * math.sqrt(self.mean_energy(totals.images)) + self.tolerated(totals.qq, turned)) ** 2
        return self.squares(totals.residuals, totals.homodyned, turned, self.phase, shift, high=True)

    def squares(
        self, components: int, spikes: float, turned: float, strength: float, shift: float, *, high: bool
    ) -> QuadraticLaw:
        """Worst law of the energy of residuals along orthonormal vectors, for the upper (`high`) or the lower tail.

        Parameters
        ----------
        components:
            Number of the vectors.
        spikes:
            Along how many of them the whole noise on the addressed mode lies.
        turned:
            Energy of the turned light along them, SNU at the server's output.
        strength:
            What phase noise adds per unit of that energy.
        shift:
            Square of the mean, SNU at the detector.
        """
        spike = max(self.spike_x, self.spike_p) if high else min(self.spike_x, self.spike_p)
        floor = self.floor if high else self.lowest_floor
        extra, bright = self.phase_pairs(strength * turned, strength, 1.0, spikes)
        top = floor + spike
        terms = ((components - spikes, floor), (spikes - extra, top), (extra, top + bright))
        return QuadraticLaw(terms, ((shift, top + bright),) if shift else ())

    def count(self, totals: Totals, *, high: bool) -> QuadraticLaw:
        """Worst law of the photons after nulling for the upper (`high`) or the lower tail.

        Without technical and phase noise both are the exact law: geometric for each (row, image), plus Poisson.
        """
        technical = 0.5 * self.photons_technical
        phase = self.photons_phase if high else self.photons_phase_least
        extra, bright = self.phase_pairs(phase * totals.signal, phase, 0.25, totals.counted)
        first, second = technical + self.photons_x, technical + self.photons_p
        larger, smaller = max(first, second), min(first, second)
        terms = (
            (2.0 * (totals.slots - totals.counted), technical),
            (float(totals.counted), smaller),
            (totals.counted - extra, larger),
            (extra, larger + bright),
        )
        shift = 0.0
        if high:
            own = math.sqrt(self.mean_energy(totals.images) / 4)
            tolerated = math.hypot(self.gain_tolerance, self.phase_tolerance) * math.sqrt(totals.signal)
            shift = self.counter_amplitude * (own + tolerated) ** 2
        poisson = self.photons_dark * totals.slots + self.photons_leaking * totals.signal
        return QuadraticLaw(terms, ((shift, larger + bright),) if shift else (), poisson, counting=True)

    def phase_pairs(self, total: float, strength: float, scale: float, pairs: float) -> tuple[float, float]:
        """Phase noise of all rows as if the brightest carried it: (pairs that carry it, strength of each).

        The strengths of the rows are majorised by that vector, so it has the largest CGF at the same mean.
        """
        bright = strength * scale * float(self.row_energy.max())
        if bright == 0 or total <= 0:
            return 0.0, 0.0
        carriers = total / bright
        return (carriers, bright) if carriers <= pairs else (float(pairs), total / pairs)

    def mean_energy(self, images: int) -> float:
        """Most of |(net_gain - 1)|^2 [(x.q)^2 + (Jx.q)^2] that any x can collect, SNU at the server's output."""
        return self.mismatch**2 * min(1.0, 2 * self.alignment) * self.energy * images

    def expected(self, totals: Totals, factor: float = 1.0) -> Totals:
        """Totals with as much data as `totals` (times `factor`) whose measured sums are at their honest mean."""
        gain = self.gain(totals)
        noise = 0.5 * (self.noise(totals, high=True).mean + self.noise(totals, high=False).mean)
        count = 0.5 * (self.count(totals, high=True).mean + self.count(totals, high=False).mean)
        return Totals(
            qq=factor * totals.qq,
            qr=factor * gain.middle,
            rr=factor * noise,
            jj=factor * totals.jj,
            j4=factor * totals.j4,
            energy=factor * totals.energy,
            signal=factor * totals.signal,
            residuals=round(factor * totals.residuals),
            homodyned=round(factor * totals.homodyned),
            photons=round(factor * count),
            slots=round(factor * totals.slots),
            counted=round(factor * totals.counted),
            images=round(factor * totals.images),
            vacuum_squares=factor * totals.vacuum_squares,
            vacuum_slots=round(factor * totals.vacuum_slots),
        )


def receiver_trusted(ledger: Ledger) -> bool:
    """Whether every part of the server's homodyne receiver is in trusted hands."""
    return all(component.server_trusts for component in ledger.at(Place.SERVER_RECEIVER))


def counter_trusted(ledger: Ledger) -> bool:
    """Whether every part of the server's photon counter is in trusted hands."""
    return all(component.server_trusts for component in ledger.at(Place.SERVER_COUNTER))


def honest_layers(frame: FrameDescription, light: Sequence[LayerLight] | None = None) -> tuple[HonestLayer, ...]:
    """The honest law of every layer of a frame.

    Parameters
    ----------
    frame:
        What both parties agreed on.
    light:
        One `LayerLight` a layer; None takes the worst case over all weights (valid, less sensitive).
    """
    if light is not None and len(light) != len(frame.layers):
        raise ValueError(f"{len(light)} descriptions of light for {len(frame.layers)} layers")
    ledger = frame.ledger
    tap = tap_law(frame.tap, ledger)
    efficiency, counter = ledger.server_efficiency, ledger.counter_efficiency
    sigma2 = ledger.total_phase_noise**2
    plan = frame.plan
    floor = 1 + ledger.server_noise + efficiency * ledger.technical_excess
    result = []
    for index, layer in enumerate(frame.layers):
        own = LayerLight() if light is None else light[index]
        energy = 2 * layer.mu * layer.rows * (layer.n_features + int(layer.bias))
        streamed = layer.streamed_rows
        rows = np.full(streamed, energy / streamed) if own.row_energy is None else own.row_energy
        if rows.shape != (streamed,):
            raise ValueError(f"layer {index}: row_energy has shape {rows.shape}, expected ({streamed},)")
        if abs(float(rows.sum()) / energy - 1) > 1e-3:
            raise ValueError(f"layer {index}: the light's energy is {float(rows.sum()):g}, the frame says {energy:g}")
        # |q . Jq| restricted is at most |q|^2 / 2 because the two restrictions are complementary.
        cross = float(np.sum(rows**2)) / 4 if own.cross is None else own.cross
        result.append(
            HonestLayer(
                n_modes=layer.tile_modes,
                rows=streamed,
                mu=layer.mu,
                energy=float(rows.sum()),
                row_energy=rows,
                alignment=own.alignment,
                cross=cross,
                amplitude=math.sqrt(ledger.total * efficiency),
                floor=floor + plan.noise_tolerance,
                floor_least=floor - plan.noise_tolerance if plan.noise_tolerance else None,
                spike_x=ledger.back * efficiency * tap.d_x,
                spike_p=ledger.back * efficiency * tap.d_p,
                phase=ledger.total * efficiency * sigma2,
                phase_least=ledger.total * efficiency * -math.expm1(-2 * sigma2) / 2,
                flutter=ledger.total * efficiency * math.expm1(-sigma2) ** 2 / 2,
                droop=-math.expm1(-sigma2 / 2),
                mismatch=abs(tap.net_gain - 1),
                photons_x=ledger.back * counter * tap.d_x / 4,
                photons_p=ledger.back * counter * tap.d_p / 4,
                photons_technical=counter * ledger.technical_excess / 2,
                photons_phase=ledger.total * counter * sigma2,
                photons_phase_least=ledger.total * counter * -2 * math.expm1(-sigma2 / 2),
                photons_leaking=ledger.total * counter * ledger.extinction,
                photons_dark=ledger.dark_counts,
                counter_amplitude=ledger.total * counter,
                spectrum=own.spectrum,
                tiles=layer.tiles,
                crowding=layer.tiles * layer.tile_modes / layer.n_modes,
                gain_tolerance=plan.gain_tolerance,
                phase_tolerance=plan.phase_tolerance,
                noise_tolerance=plan.noise_tolerance,
            )
        )
    return tuple(result)
