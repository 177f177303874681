"""The I/Q modulator as a power meter sees it: a model of bias and drive voltages, its fit, and the working point.

Behind the modulator the power is, with theta = phase + pi V_bias / v_pi_bias + pi V / (2 v_pi) of each child,

    P = zero + P_0/4 |(1 + g/2) f(theta_I) + e^{i phi_P} (1 - g/2) f(theta_Q)|^2,   f(x) = sin x - i e cos x,

where e^2 is the power extinction of the children, g the imbalance of the arms and phi_P = phase_P + pi V_P /
v_pi_bias_P. Adding pi to phase_I (or to phase_Q) and to phase_P changes nothing: the branch nearest to 0 is given.

At the working point all light is gone at 0 V of drive: e leaves a carrier that bias voltages next to the children's
own nulls take away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from labqdl_calibration.fits import Fit, Real, least_squares, linear, propagated, wrapped

Complex = NDArray[np.complex128]

KEYS = (
    "power", "zero", "imbalance", "leak", "phase_i", "phase_q", "phase_p",
    "v_pi_bias_i", "v_pi_bias_q", "v_pi_bias_p", "v_pi_i", "v_pi_q",
)  # fmt: skip
_PLACE = {key: index for index, key in enumerate(KEYS)}


@dataclass(frozen=True, slots=True)
class Settings:
    """Voltages at which powers were read; (n,) each, broadcast."""

    bias_i: Real
    bias_q: Real
    bias_p: Real
    i: Real
    q: Real

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> Settings:
        """From rows (bias_i, bias_q, bias_p, i, q); (n, 5)."""
        columns = np.asarray(rows, np.float64).T
        return cls(*columns)


def amplitude(p: Real, settings: Settings) -> Complex:
    """Field behind the modulator in units of its maximum."""
    half = p[_PLACE["imbalance"]] / 2
    leak = p[_PLACE["leak"]]

    def child(arm: str, bias: Real, volts: Real) -> Complex:
        theta = (
            p[_PLACE[f"phase_{arm}"]]
            + math.pi * bias / p[_PLACE[f"v_pi_bias_{arm}"]]
            + math.pi / 2 * volts / p[_PLACE[f"v_pi_{arm}"]]
        )
        return np.asarray(np.sin(theta) - 1j * leak * np.cos(theta))

    between = p[_PLACE["phase_p"]] + math.pi * settings.bias_p / p[_PLACE["v_pi_bias_p"]]
    along = (1 + half) * child("i", settings.bias_i, settings.i)
    across = (1 - half) * np.exp(1j * between) * child("q", settings.bias_q, settings.q)
    return np.asarray((along + across) / 2)


def power(p: Real, settings: Settings) -> Real:
    """What a meter behind the modulator shows."""
    field = amplitude(p, settings)
    return np.asarray(p[_PLACE["zero"]] + p[_PLACE["power"]] * (np.square(field.real) + np.square(field.imag)))


def null_of(bias: Real, seen: Real, v_pi_bias: float) -> tuple[float, float]:
    """From a scan of one child's bias: its phase modulo pi, and the half-wave voltage that fits best.

    Power is a sum of 1, cos and sin of theta (what interferes with the other child) and of 2 theta (its own).
    """
    best: tuple[float, float, float] | None = None
    for candidate in v_pi_bias * np.geomspace(1 / 1.5, 1.5, 61):
        theta = math.pi * bias / candidate
        fit = linear(
            [np.ones_like(bias), np.cos(theta), np.sin(theta), np.cos(2 * theta), np.sin(2 * theta)],
            ("one", "c1", "s1", "c2", "s2"),
            seen,
        )
        cost = float(np.sum(np.square(seen - fit.fitted)))
        if best is None or cost < best[0]:
            # sin^2(theta + phase) = [1 - cos(2 theta + 2 phase)] / 2
            best = cost, math.atan2(fit["s2"], -fit["c2"]) / 2, float(candidate)
    assert best is not None
    return best[1], best[2]


def fit(
    rows: NDArray[np.float64],
    seen: Real,
    deviation: Real,
    sheet: Mapping[str, float],
    phases: tuple[float, float] = (0.0, 0.0),
    *,
    nodes: int = 0,
    wander: float = 5e-3,
) -> Fit:
    """All parameters from all powers at once.

    The laser's power may wander while the scans last: straight lines between `nodes` places in the order of the
    readings, each relative to the first one with the standard deviation `wander` beforehand, are fitted as well
    (parameters "wander_1" and so on); 0 for none.

    Parameters
    ----------
    rows, seen, deviation:
        Settings (n, 5) as of `Settings.of`, powers (n,) and their standard deviations (n,).
    sheet:
        v_pi_i, v_pi_q, v_pi_bias and extinction_db of the data sheet, where the fit begins.
    phases:
        Phases of I and Q modulo pi, from `null_of`.
    """
    settings = Settings.of(rows)
    top, leak = float(np.max(seen)), 10 ** (-sheet["extinction_db"] / 20)
    scale = np.array([top, top * 1e-3, 0.1, leak, 1, 1, 1, *[sheet["v_pi_bias"]] * 3, sheet["v_pi_i"], sheet["v_pi_q"]])
    starts = [
        np.array([top, 0, 0, leak, phases[0], phases[1], between, *scale[7:]])
        for between in np.arange(-3, 3.1, math.pi / 4)
    ]
    # The best of the rough starts, by the scale alone, spares most of the full fits.
    costs = []
    for start in starts:
        shape = power(np.array([1.0, 0.0, *start[2:]]), settings)
        rough = linear([shape, np.ones_like(shape)], ("power", "zero"), seen, deviation)
        start[0], start[1] = max(rough["power"], 0.1 * top), rough["zero"]
        costs.append(rough.chi_square)
    order = np.argsort(costs)[:2]
    more = max(nodes - 1, 0)
    keys = (*KEYS, *(f"wander_{node}" for node in range(1, nodes)))
    knots = np.linspace(0, seen.size - 1, nodes) if nodes else np.zeros(0)
    hats = np.array([np.interp(np.arange(seen.size), knots, np.eye(nodes)[node]) for node in range(1, nodes)])

    def model(p: Real) -> Real:
        shape = power(p[: len(KEYS)], settings)
        if not more:
            return shape
        zero = p[_PLACE["zero"]]
        return np.asarray(zero + (shape - zero) * (1 + p[len(KEYS) :] @ hats))

    size = np.concatenate([scale, np.full(more, wander)])
    prior = np.zeros(size.size), np.concatenate([np.full(len(KEYS), np.inf), np.full(more, wander)])
    found = least_squares(
        model,
        keys,
        [np.concatenate([starts[index], np.zeros(more)]) for index in order],
        seen,
        deviation,
        scale=size,
        prior=prior if more else None,
    )
    return _nearest_branch(found)


def _nearest_branch(found: Fit) -> Fit:
    values = found.values.copy()
    for arm in ("i", "q"):
        turns = round(values[_PLACE[f"phase_{arm}"]] / math.pi)
        values[_PLACE[f"phase_{arm}"]] -= turns * math.pi
        values[_PLACE["phase_p"]] += turns * math.pi
    values[_PLACE["phase_p"]] = float(wrapped(values[_PLACE["phase_p"]]))
    return Fit(found.keys, values, found.covariance, found.fitted, found.residuals, found.freedom)


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """Bias voltages at which there is no light, and 90 degrees between what I and Q add.

    `values` are bias_i, bias_q, bias_p in V with their `covariance`.
    """

    values: Real
    covariance: Real


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left at bias voltages that a source can really give.

    `values` are the drive voltages of I and Q at which there is no light (V) and the angle between what they add, less
    90 degrees (rad), with their `covariance`.
    """

    values: Real
    covariance: Real


def remainder(found: Fit, biases: Real) -> Remainder:
    """Drive voltages that take the last light away at given biases, and the angle between the arms there."""

    def left(p: Real) -> Real:
        def field_at(volts: Real) -> complex:
            row = np.array([[*biases, volts[0], volts[1]]])
            return complex(amplitude(p, Settings.of(row))[0])

        def misses(volts: Real) -> list[float]:
            field = field_at(volts)
            return [field.real, field.imag]

        null = np.asarray(optimize.root(misses, [0.0, 0.0]).x)
        steps = 1e-5 * np.array([[p[_PLACE["v_pi_i"]], 0.0], [0.0, p[_PLACE["v_pi_q"]]]])
        along, across = (field_at(null + step) - field_at(null - step) for step in steps)
        return np.array([*null, float(wrapped(np.angle(across / along) - math.pi / 2))])

    values, covariance = propagated(left, found.values, found.covariance)
    return Remainder(values, covariance)


def _point(p: Real, turns: tuple[int, int], between_turns: int) -> Real:
    """Bias voltages (i, q, p) on given branches."""
    half, leak = p[_PLACE["imbalance"]] / 2, p[_PLACE["leak"]]

    def child(x: float) -> complex:
        return complex(math.sin(x), -leak * math.cos(x))

    def slope(x: float) -> complex:
        return complex(math.cos(x), leak * math.sin(x))

    def misses(x: Real) -> list[float]:
        turn = np.exp(1j * x[2])
        carrier = (1 + half) * child(x[0]) + turn * (1 - half) * child(x[1])
        angle = np.angle(turn * slope(x[1]) / slope(x[0])) - math.pi / 2
        return [carrier.real, carrier.imag, float(angle)]

    delta = optimize.root(misses, [-leak, leak, math.pi / 2]).x
    angles = [
        delta[0] + turns[0] * math.pi - p[_PLACE["phase_i"]],
        delta[1] + turns[1] * math.pi - p[_PLACE["phase_q"]],
        # A child on an odd branch has the other sign.
        delta[2] + (turns[0] + turns[1]) % 2 * math.pi + 2 * math.pi * between_turns - p[_PLACE["phase_p"]],
    ]
    volts = [angle * p[_PLACE[f"v_pi_bias_{arm}"]] / math.pi for angle, arm in zip(angles, "iqp", strict=True)]
    return np.array(volts)


def working_point(found: Fit, reach: Mapping[str, tuple[float, float]]) -> WorkingPoint | None:
    """The working point nearest to the middle of what the sources reach; None where none is within it.

    Parameters
    ----------
    found:
        From `fit`.
    reach:
        Least and greatest voltage of the bias sources i, q, p.
    """
    best: tuple[float, tuple[int, int], int] | None = None
    for turn_i in range(-4, 5):
        for turn_q in range(-4, 5):
            for between in (-2, -1, 0, 1, 2):
                volts = _point(found.values, (turn_i, turn_q), between)
                away = [
                    abs(value - sum(reach[arm]) / 2) / (reach[arm][1] - reach[arm][0])
                    for value, arm in zip(volts, "iqp", strict=True)
                ]
                if max(away) <= 0.5 and (best is None or sum(away) < best[0]):
                    best = sum(away), (turn_i, turn_q), between
    if best is None:
        return None
    _, turns, between = best
    values, covariance = propagated(lambda p: _point(p, turns, between), found.values, found.covariance)
    return WorkingPoint(values, covariance)
