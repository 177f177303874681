"""The search for the best operating point of one stage at one F^2: one knob, the tapped fraction.

F^2 fixes the light for every tap; the leakages of weights and data are then functions of the tap alone. They are
evaluated on a grid over 1e-9 to 0.999 of tapped light, whose best cell is divided again and again. The water-filling
bound, which takes far longer than all others, enters as its ratio to the bound for equal directions: a smooth function
of the tap, known at a few points and always at the one that is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from labqdl.facts import LayerFrame, Ledger, TapSetting
from labqdl.planner.light import Path, data_bits, data_bits_off_gain, photons_per_row, sizes_of
from labqdl.planner.question import Aim, Judge, Question
from labqdl.planner.stage import MOST_TAPPED, Array, Stage, from_logit, logit
from labqdl.security.channel import honest_channel
from labqdl.security.engines import network_data_leakage
from labqdl.security.holevo import weight_leakage
from labqdl.units import from_db

_GRID, _ZOOM, _ROUNDS = 241, 33, 6
_OFF_GAIN_GRID = 49
"""Points of the first grid where the data bound has to be summed at each."""
_FAR, _NEAR = (-6.0, -3.5, -2.0, -0.8, 0.8, 2.0, 3.5, 6.0), (-1.2, -0.45, 0.45, 1.2)
"""Where the ratio of the two bounds is sampled on the logit scale: around the optimum for equal directions, and around
each optimum that follows from the samples so far."""
_APART, _CLOSE, _TURNS = 0.05, 2e-3, 6
"""Samples keep so far apart; the search ends where the optimum meets a sample so closely, or after so many turns."""
_WITHIN = 1.0 - 2e-6
"""What the search takes as within the limits: less than 1 by more than its interpolations are off."""
_VIOLATED = 1e9
"""Added to the objective of what exceeds a limit, so that the least violation is found where nothing is allowed."""


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point with its exact figures.

    Attributes
    ----------
    stage, tapped:
        The stage and its tapped fraction.
    setting, ledger:
        What both parties agree on; the ledger with the build's own imperfections.
    mu:
        Photons per mode of the operating point, at the server's output; `layers` have their shares of it.
    layers:
        Frames of the layers with their photons per mode.
    layer_weights, layer_weights_isotropic:
        Bits per real weight of every layer: by what is assumed about its directions, and for equally bright ones.
    weights, weights_isotropic:
        The same for all layers, as the question judges them.
    data, data_ideal:
        Bits per feature with the net gain off by what the build allows, and at unit gain; the same without a build.
    """

    stage: Stage
    tapped: float
    setting: TapSetting
    ledger: Ledger
    mu: float
    layers: tuple[LayerFrame, ...]
    layer_weights: tuple[float, ...]
    layer_weights_isotropic: tuple[float, ...]
    weights: float
    weights_isotropic: float
    data: float
    data_ideal: float

    def violation(self, question: Question) -> float:
        """The larger of the leakages in units of their limits; at most 1 where the point is allowed."""
        return max(self.weights / question.weight_limit, self.data / question.data_limit)

    def objective(self, question: Question) -> float:
        """What the question's aim makes small."""
        return {
            Aim.MARGIN: self.violation(question),
            Aim.WEIGHTS: self.weights,
            Aim.DATA: self.data,
            Aim.ACCURACY: self.violation(question),
        }[question.aim]


class Search:
    """One question, one stage, one share of light for the last layer; `best` for any F^2."""

    def __init__(self, question: Question, stage: Stage, last_layer_db: float = 0.0) -> None:
        self._question, self._stage = question, stage
        self._path = Path.of(question.ledger)
        layers = question.subject.layers
        last = layers[-1]
        self.layers = (*layers[:-1], replace(last, mu=last.mu * from_db(last_layer_db)))
        self._sizes = sizes_of(self.layers)
        self._low, self._high = float(logit(stage.least)), float(logit(MOST_TAPPED))

    @property
    def largest_f2(self) -> float:
        """F^2 that no brightness exceeds on this ledger."""
        return self._path.largest_f2

    def leakages(self, f2: float, tapped: Array) -> tuple[Array, Array, Array]:
        """mu, bits per weight (equal directions) and bits per feature for every tapped fraction."""
        question, stage, path = self._question, self._stage, self._path
        mu = path.mu_for(f2, stage.client_noise(tapped, question.ledger))
        disturbance = stage.disturbance(tapped, question.ledger)
        weights = judged(
            question.judge,
            self.layers,
            [
                path.weight_bits(
                    mu * layer.mu,
                    disturbance,
                    layer.least_modes,
                    uses=question.weight_uses,
                    symmetric_noise=question.symmetric_noise,
                )
                for layer in self.layers
            ],
        )
        photons = photons_per_row(stage, path, tapped, question.ledger)
        features, uses = self.layers[0].n_features, question.data_uses
        if stage.gain_accuracy > 0.0:
            power = stage.gain_accuracy**2 * path.client_in * path.client_out
            shares = tuple(layer.mu for layer in self.layers)
            data = data_bits_off_gain(photons, mu, shares, self._sizes, features, power=power, uses=uses)
        else:
            data = data_bits(photons, self._sizes, features, uses)
        return mu, weights, data

    def best(self, f2: float) -> Point | None:
        """The best point at F^2 (a ratio), or the one that violates the limits least; None if F^2 is out of reach."""
        if f2 >= self.largest_f2:
            return None
        place = self._place(f2, lambda positions: np.ones_like(positions))
        found = {place: self.point(f2, float(from_logit(place)))}
        if found[place].weights <= found[place].weights_isotropic * (1.0 + 1e-12):
            return found[place]  # no point is better: nowhere is the judged figure below that for equal directions

        def sample(around: float, offsets: Iterable[float]) -> None:
            for offset in offsets:
                position = min(max(around + offset, self._low), self._high)
                if all(abs(position - known) > _APART for known in found):
                    found[position] = self.point(f2, float(from_logit(position)))

        sample(place, _FAR)
        for _ in range(_TURNS):
            place = self._place(f2, _interpolation(found))
            gap = min(abs(place - known) for known in found)
            found[place] = self.point(f2, float(from_logit(place)))
            if gap < _CLOSE:
                break
            sample(place, _NEAR)
        return min(found.values(), key=self._rank)

    def _rank(self, point: Point) -> tuple[bool, float]:
        """Allowed points by what the aim makes small, others by their violation."""
        violation = point.violation(self._question)
        return (True, violation) if violation > 1.0 else (False, point.objective(self._question))

    def point(self, f2: float, tapped: float) -> Point:
        """The exact figures at F^2 with this tap."""
        question, stage = self._question, self._stage
        mu = float(self._path.mu_for(f2, stage.client_noise(np.asarray(tapped), question.ledger)))
        setting, ledger = stage.setting(tapped), stage.ledger(tapped, question.ledger)
        layers = tuple(replace(layer, mu=mu * layer.mu) for layer in self.layers)
        return exact_point(question, stage, setting, ledger, mu, layers, tapped)

    def _place(self, f2: float, ratio: Callable[[Array], Array]) -> float:
        """Position of the optimum on the logit scale, with the weights' bound scaled by `ratio`."""
        question = self._question
        count = _OFF_GAIN_GRID if self._stage.gain_accuracy > 0.0 else _GRID
        low, high = self._low, self._high
        best = low
        for _ in range(_ROUNDS):
            positions = np.linspace(low, high, count)
            _, weights, data = self.leakages(f2, from_logit(positions))
            weights = weights * ratio(positions)
            violation = np.maximum(weights / question.weight_limit, data / question.data_limit)
            wanted = {Aim.WEIGHTS: weights, Aim.DATA: data}.get(question.aim, violation)
            cost = np.where(violation <= _WITHIN, wanted, _VIOLATED * (1.0 + violation))
            index = int(np.argmin(cost))
            best = float(positions[index])
            step = (high - low) / (count - 1)
            low, high = max(self._low, best - step), min(self._high, best + step)
            count = _ZOOM if self._stage.gain_accuracy == 0.0 else 9
        return best


def exact_point(
    question: Question,
    stage: Stage,
    setting: TapSetting,
    ledger: Ledger,
    mu: float,
    layers: tuple[LayerFrame, ...],
    tapped: float,
) -> Point:
    """An operating point judged by the functions that a run's bounds come from."""
    equal, steered = [], []
    for layer, spectrum in zip(layers, question.subject.spectra, strict=True):
        charged = honest_channel(mu=layer.mu, n_modes=layer.least_modes, setting=setting, ledger=ledger)
        light, noise = question.weight_uses * charged.mu, question.symmetric_noise * charged.excess
        bits = weight_leakage(mu=light, transmissivity=charged.transmissivity, excess=noise)
        equal.append(bits / 2.0)
        if spectrum is not None:
            bits = spectrum.leakage(mu=light, transmissivity=charged.transmissivity, excess=noise)
        steered.append(bits / 2.0)
    features, uses = layers[0].n_features, question.data_uses
    ideal = network_data_leakage(layers, setting, ledger, uses=uses) / features
    data = ideal
    if stage.gain_accuracy > 0.0:
        path = Path.of(ledger)
        power = stage.gain_accuracy**2 * path.client_in * path.client_out
        photons = photons_per_row(stage, path, np.asarray([tapped]), question.ledger)
        shares = tuple(layer.mu for layer in layers)
        sizes = sizes_of(layers)
        data = float(data_bits_off_gain(photons, np.ones(1), shares, sizes, features, power=power, uses=uses)[0])
    return Point(
        stage=stage,
        tapped=tapped,
        setting=setting,
        ledger=ledger,
        mu=mu,
        layers=layers,
        layer_weights=tuple(steered),
        layer_weights_isotropic=tuple(equal),
        weights=float(judged(question.judge, layers, [np.asarray(bits) for bits in steered])),
        weights_isotropic=float(judged(question.judge, layers, [np.asarray(bits) for bits in equal])),
        data=data,
        data_ideal=ideal,
    )


def judged(judge: Judge, layers: tuple[LayerFrame, ...], bits: Sequence[Array]) -> Array:
    """One figure for the weights of all layers from that of each, bits per weight."""
    if judge is Judge.LARGEST:
        return np.asarray(np.max(bits, axis=0))
    sizes = [layer.rows * layer.n_modes for layer in layers]
    return np.asarray(sum(size * each for size, each in zip(sizes, bits, strict=True)) / sum(sizes))


def _interpolation(found: Mapping[float, Point]) -> Callable[[Array], Array]:
    """Ratio of the judged figure for the weights to that for equal directions; never below 1."""
    places = np.array(sorted(found))
    points = [found[place] for place in places.tolist()]
    logarithms = np.log([point.weights / point.weights_isotropic for point in points])
    curve = CubicSpline(places, logarithms)

    def ratio(positions: Array) -> Array:
        inside = curve(np.clip(positions, places[0], places[-1]))
        return np.asarray(np.exp(np.clip(inside, 0.0, float(logarithms.max()))))

    return ratio
