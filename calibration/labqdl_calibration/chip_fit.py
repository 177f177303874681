"""Phases of the heaters on two chips of Mach-Zehnder interferometers, from matrices that were measured through them.

Element k of the forward chain merges the carry with mode k + 1 (docs/physics.md, "Client unitary"):

    c_{k+1} = i e^{i T_k/2} [e^{i f_k} sin(T_k/2) c_k + cos(T_k/2) a_{k+1}],

so that the share of mode k + 1 in the carry behind it is cos^2(T_k/2), whatever the other elements do, and the ratio
of neighbouring modes has the external phase f_k. Each is fitted by itself first, against the heat of its own heater;
all of them together with the crosstalk then. The inverse is the transposed chain with a phase at each port where light
leaves. A heater's phase is offset + slope (V^2 + crosstalk sum_j V_j^2 / |k - j|^2), over the others of its bank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

_SLOPES = np.linspace(0.8, 1.2, 401)
"""Slopes that are tried at first, over that of the data sheet."""


def warmed(heat: Real, crosstalk: float) -> Real:
    """Heat of each heater with what its neighbours give it; (settings, heaters) V^2."""
    places = np.arange(heat.shape[1])
    shares = crosstalk / np.maximum(np.abs(places[:, None] - places), 1) ** 2.0
    np.fill_diagonal(shares, 1.0)
    return np.asarray(heat @ shares.T)


def chain(internal: Real, external: Real) -> Complex:
    """Matrices of the forward chain, (settings, n, n): differences in rows 0 ... n-2, the carry in the last."""
    settings, elements = internal.shape
    fields = np.broadcast_to(np.eye(elements + 1, dtype=np.complex128), (settings, elements + 1, elements + 1)).copy()
    for k in range(elements):
        common = 1j * np.exp(0.5j * internal[:, k])[:, None]
        sine, cosine = np.sin(internal[:, k] / 2)[:, None], np.cos(internal[:, k] / 2)[:, None]
        upper, lower = fields[:, k] * np.exp(1j * external[:, k])[:, None], fields[:, k + 1].copy()
        fields[:, k] = common * (cosine * upper - sine * lower)
        fields[:, k + 1] = common * (sine * upper + cosine * lower)
    return fields


def back(internal: Real, external: Real, leaving: Real) -> Complex:
    """Matrices of the inverse chain: the transposed one with phases where light leaves; (settings, n, n)."""
    turned = np.swapaxes(chain(internal, external), 1, 2)
    return np.asarray(np.exp(1j * leaving)[:, :, None] * turned)


@dataclass(frozen=True, slots=True)
class Bank:
    """Slope (rad/V^2) and offset (rad) of each heater of a bank."""

    slopes: Real
    offsets: Real

    def phases(self, heat: Real, crosstalk: float) -> Real:
        """Phases at so much heat, (settings, heaters)."""
        return self.offsets + self.slopes * warmed(heat, crosstalk)


@dataclass(frozen=True, slots=True)
class ChipFit:
    """What was found.

    Attributes
    ----------
    banks:
        By name: theta, phi, and ret of the inverse.
    crosstalk:
        Share of its phase that a heater gives to its neighbour.
    deviations:
        Standard deviations of the same.
    crosstalk_deviation:
        Of the crosstalk.
    misfit:
        Root mean square of what is left, over that of the data.
    """

    banks: dict[str, Bank]
    crosstalk: float
    deviations: dict[str, Bank]
    crosstalk_deviation: float
    misfit: float


def _cosine(heat: Real, shares: Real, weights: Real, sheet: float) -> tuple[float, float]:
    """Slope and offset of shares (1 + cos(slope heat + offset)) / 2."""
    best = (math.inf, sheet, 0.0)
    for slope in sheet * _SLOPES:
        columns = np.stack([np.cos(slope * heat), np.sin(slope * heat)], axis=1)
        found, *_ = np.linalg.lstsq(columns * weights[:, None], (2 * shares - 1) * weights, rcond=None)
        cost = float(np.sum((weights * (2 * shares - 1 - columns @ found)) ** 2))
        if cost < best[0]:
            best = cost, float(slope), math.atan2(-found[1], found[0])
    return best[1], best[2]


def _phasor(heat: Real, seen: Complex, sheet: float) -> tuple[float, float]:
    """Slope and offset of phasors e^{i(slope heat + offset)}, weighted by their moduli."""
    slopes = sheet * _SLOPES
    sums = np.exp(-1j * slopes[:, None] * heat) @ seen
    best = int(np.argmax(np.abs(sums)))
    return float(slopes[best]), float(np.angle(sums[best]))


def _shares(rows: Complex) -> tuple[Real, Real]:
    """Share of mode k + 1 in the carry behind element k, and that carry's power; (settings, n-1) each."""
    power = np.cumsum(np.abs(rows) ** 2, axis=1)[:, 1:]
    return np.abs(rows[:, 1:]) ** 2 / np.maximum(power, 1e-300), power


def _half(internal: Real) -> tuple[Complex, Real, Real]:
    return 1j * np.exp(0.5j * internal), np.sin(internal / 2), np.cos(internal / 2)


def _internal(heat: Real, rows: Complex, sheet: float, crosstalk: float) -> Bank:
    shares, power = _shares(rows)
    warm = warmed(heat, crosstalk)
    scale = np.sqrt(power / power[:, -1:])
    fits = [_cosine(warm[:, k], shares[:, k], scale[:, k], sheet) for k in range(heat.shape[1])]
    return Bank(*(np.array(column) for column in zip(*fits, strict=True)))


def forward(theta: Real, phi: Real, rows: Complex, sheet: float, crosstalk: float) -> ChipFit:
    """Heaters of the forward chain.

    Parameters
    ----------
    theta, phi:
        Squared voltages of internal and external heaters, (settings, n-1) V^2.
    rows:
        Amplitudes with which light of each mode reaches the carry, (settings, n); each setting in a unit of its own.
    sheet, crosstalk:
        Slope in rad/V^2 and crosstalk of the data sheet.
    """
    inside = _internal(theta, rows, sheet, crosstalk)
    common, sine, cosine = _half(inside.phases(theta, crosstalk))
    warm, outside = warmed(phi, crosstalk), []
    for k in range(phi.shape[1]):
        before = common[:, k - 1] * cosine[:, k - 1] if k else np.ones(len(rows), np.complex128)
        # K_k conj(K_{k+1}), less the known phases: |..|^2 e^{i phi_k}, sin(T/2) cos(T/2) of either sign.
        seen = rows[:, k] * np.conj(rows[:, k + 1]) * np.conj(before) * sine[:, k] * cosine[:, k]
        outside.append(_phasor(warm[:, k], np.asarray(seen, np.complex128), sheet))
    start = {"theta": inside, "phi": Bank(*(np.array(column) for column in zip(*outside, strict=True)))}

    def model(banks: dict[str, Bank], cross: float, extra: Real) -> Complex:
        made = chain(banks["theta"].phases(theta, cross), banks["phi"].phases(phi, cross))[:, -1]
        # Modes that pass more elements lose more.
        passed = np.arange(made.shape[1] - 1, -1, -1) + (np.arange(made.shape[1]) > 0)
        return np.asarray(made * np.exp(-extra[0] * passed))

    return _refined(start, crosstalk, {"theta": (), "phi": ()}, np.zeros(1), rows, model)


def inverse(
    theta: Real, phi: Real, ret: Real, loops: Complex, first: Complex, sheet: float, crosstalk: float
) -> ChipFit:
    """Heaters of the inverse chain.

    Parameters
    ----------
    theta, phi, ret:
        Squared voltages, (settings, n-1) and (settings, n) for the ports where light leaves.
    loops:
        Matrices of both chains, (settings, n, n), output before input; each setting in a unit of its own.
    first:
        Matrices of the forward chain at these settings.
    sheet, crosstalk:
        As for `forward`.
    """
    alone = loops @ np.linalg.inv(first)
    inside = _internal(theta, alone[:, :, -1], sheet, crosstalk)
    common, sine, cosine = _half(inside.phases(theta, crosstalk))
    elements = theta.shape[1]
    warm = warmed(phi, crosstalk)
    # What reaches mode k + 1 from the carry against what does from port k: all elements above lie in between.
    ratio = [alone[:, k + 1, -1] * np.conj(alone[:, k + 1, k]) * sine[:, k] * cosine[:, k] for k in range(elements)]
    outside = [(sheet, 0.0)]
    for k in range(1, elements):
        seen = ratio[k - 1] * np.conj(ratio[k]) * np.conj(common[:, k]) * sine[:, k]
        outside.append(_phasor(warm[:, k], np.asarray(seen, np.complex128), sheet))
    last = elements
    leaving = [0.0] * (last + 1)
    turned = warmed(ret, crosstalk)
    own = [alone[:, k + 1, k] * np.conj(-common[:, k]) * sine[:, k] for k in range(elements)]
    own.insert(0, alone[:, 0, 0] * np.conj(common[:, 0]) * cosine[:, 0] * np.exp(-1j * sheet * warm[:, 0]))
    for j in range(last):
        seen = own[j] * np.conj(own[last]) * np.exp(-1j * sheet * (turned[:, j] - turned[:, last]))
        leaving[j] = float(np.angle(np.sum(seen)))
    start = {
        "theta": inside,
        "phi": Bank(*(np.array(column) for column in zip(*outside, strict=True))),
        "ret": Bank(np.full(last + 1, sheet), np.array(leaving)),
    }
    arm = complex(np.sum(-ratio[-1]))
    power = np.sum(np.abs(alone) ** 2, axis=(0, 1))
    size = math.sqrt(float(power[-1] / np.mean(power[:-1])))

    def model(banks: dict[str, Bank], cross: float, extra: Real) -> Complex:
        made = back(
            banks["theta"].phases(theta, cross), banks["phi"].phases(phi, cross), banks["ret"].phases(ret, cross)
        )
        made[:, :, -1] *= extra[0] + 1j * extra[1]
        return np.asarray(made @ first)

    begin = size * arm / abs(arm)
    # Phases in series, and that of all ports together, cannot be told apart: those offsets stay at 0.
    fixed: dict[str, tuple[int, ...]] = {"theta": (), "phi": (0,), "ret": (last,)}
    return _refined(start, crosstalk, fixed, np.array([begin.real, begin.imag]), loops, model)


def _refined(
    start: dict[str, Bank],
    crosstalk: float,
    fixed: dict[str, tuple[int, ...]],
    extra: Real,
    data: Complex,
    model: Callable[[dict[str, Bank], float, Real], Complex],
) -> ChipFit:
    """All heaters together, by least squares; each setting has a complex unit of its own."""
    sizes = {name: bank.slopes.size for name, bank in start.items()}
    free = {name: np.setdiff1d(np.arange(sizes[name]), fixed[name]) for name in start}
    scale = np.sqrt(np.mean(np.abs(data) ** 2, axis=tuple(range(1, data.ndim)), keepdims=True))
    wanted = data / scale

    def unpacked(p: Real) -> tuple[dict[str, Bank], float, Real]:
        banks, at = {}, 0
        for name, bank in start.items():
            slopes, offsets = p[at : at + sizes[name]], bank.offsets.copy()
            at += sizes[name]
            offsets[free[name]] = p[at : at + free[name].size]
            at += free[name].size
            banks[name] = Bank(slopes, offsets)
        return banks, float(p[at]), p[at + 1 :]

    def misses(p: Real) -> Real:
        made = model(*unpacked(p))
        axes = tuple(range(1, made.ndim))
        unit = np.sum(np.conj(made) * wanted, axis=axes, keepdims=True)
        unit = unit / np.sum(np.abs(made) ** 2, axis=axes, keepdims=True)
        left = (wanted - unit * made).ravel()
        return np.concatenate([left.real, left.imag])

    parts = [np.concatenate([bank.slopes, bank.offsets[free[name]]]) for name, bank in start.items()]
    begin = np.concatenate([*parts, [crosstalk], extra])
    found = least_squares(misses, begin, x_scale="jac", loss="soft_l1", f_scale=0.1, max_nfev=12)
    found = least_squares(misses, found.x, x_scale="jac", ftol=1e-6, xtol=1e-6, max_nfev=20)
    banks, cross, _ = unpacked(found.x)
    variance = 2 * found.cost / max(found.fun.size - found.x.size - 2 * len(data), 1)
    slopes = np.asarray(found.jac, np.float64)
    spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(slopes.T @ slopes)) * variance, 0.0))
    deviations, cross_deviation, _ = unpacked(spread)
    for name, places in fixed.items():
        deviations[name].offsets[list(places)] = 0.0
    return ChipFit(banks, cross, deviations, cross_deviation, math.sqrt(float(np.mean(found.fun**2)) * 2))
