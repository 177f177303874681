"""Measuring devices from their ports: every output as a combination of input quadratures, by circuits of elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.optics.gain_tap import amplifier_tap, feed_forward_tap
from labqdl.optics.measurements import (
    Measurement,
    asymmetric_cloner,
    ideal_qnd,
    of_tap,
    passive_tap,
    qnd_tap,
    squeezed_vacuum_tap,
)

Matrix = NDArray[np.float64]


def port(mode: int, modes: int = 3) -> Matrix:
    """Quadratures (X, P) of an input mode as combinations of (X1, P1, X2, P2, ...)."""
    return np.eye(2 * modes)[2 * mode : 2 * mode + 2]


def splitter(one: Matrix, two: Matrix, transmissivity: float) -> tuple[Matrix, Matrix]:
    t, r = math.sqrt(transmissivity), math.sqrt(1 - transmissivity)
    return t * one + r * two, r * one - t * two


def squeezer(mode: Matrix, gain: float) -> Matrix:
    return np.diag([gain, 1 / gain]) @ mode


def amplifier(mode: Matrix, idler: Matrix, gain: float) -> Matrix:
    return math.sqrt(gain) * mode + math.sqrt(gain - 1) * np.diag([1.0, -1.0]) @ idler


def commutator(one: Matrix, two: Matrix) -> float:
    """[a, b]/2i for combinations of canonical quadratures."""
    form = np.kron(np.eye(one.size // 2), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    return float(one @ form @ two)


def read(returned: Matrix, meter: Matrix) -> tuple[float, float, float, float, float]:
    """(gain_x, gain_p, D_X, D_P, N_X) of outputs whose input is mode 0, with vacuum at all other ports."""
    gain_x, gain_p, seen = float(returned[0, 0]), float(returned[1, 1]), float(meter[0])
    noise_x, noise_p = returned[0].copy(), returned[1].copy()
    noise_x[0] -= gain_x
    noise_p[1] -= gain_p
    own = meter / seen
    own[0] -= 1.0
    return gain_x, gain_p, float(noise_x @ noise_x), float(noise_p @ noise_p), float(own @ own)


def amplifier_circuit(gain: float) -> tuple[Matrix, Matrix]:
    amplified = amplifier(port(0), port(1), gain)
    kept, tapped = splitter(amplified, port(2), 1 / gain)
    return kept, tapped[0]


def feed_forward_circuit(t: float) -> tuple[Matrix, Matrix]:
    kept, tapped = splitter(port(0), port(1), t)
    first, second = splitter(tapped, port(2), 0.5)
    # heterodyne: X of one half, P of the other; displace by what brings the gain back to 1
    scale = math.sqrt(2.0) * (1 - math.sqrt(t)) / math.sqrt(1 - t)
    return kept + scale * np.vstack([first[0], second[1]]), first[0]


def cloner_circuit(disturbance: float) -> tuple[Matrix, Matrix]:
    """Two clones of mode 0 from an entangled pair of modes 1 and 2."""
    half = math.sqrt(0.5)
    (x1, p1), (x2, p2) = port(1), port(2)
    strength = math.sqrt(disturbance)
    first = port(0) + strength * np.vstack([half * (x1 + x2), half * (p1 - p2)])
    second = port(0) - np.vstack([half * (x1 - x2), half * (p1 + p2)]) / strength
    for one in first:
        for two in second:
            assert commutator(one, two) == pytest.approx(0.0, abs=1e-12)
    assert commutator(second[0], second[1]) == pytest.approx(1.0)
    return first, second[0]


def qnd_circuit(gain: float, tau: float) -> tuple[Matrix, Matrix]:
    kept, tapped = splitter(squeezer(port(0), gain), port(1), tau)
    return squeezer(kept, 1 / (gain * math.sqrt(tau))), tapped[0]


def squeezed_circuit(t: float, s: float) -> tuple[Matrix, Matrix]:
    kept, tapped = splitter(port(0), squeezer(port(1), math.sqrt(s)), t)
    return kept, tapped[0]


def passive_circuit(t: float) -> tuple[Matrix, Matrix]:
    kept, tapped = splitter(port(0), port(1), t)
    return kept, tapped[0]


CASES: list[tuple[str, Measurement, Callable[[], tuple[Matrix, Matrix]]]] = [
    ("amplifier, G = 2", of_tap(amplifier_tap(2.0, 0.5), "tap"), lambda: amplifier_circuit(2.0)),
    ("amplifier, G = 1.1", of_tap(amplifier_tap(1.1, 1 / 1.1), "tap"), lambda: amplifier_circuit(1.1)),
    ("feed-forward, t = 0.9", of_tap(feed_forward_tap(0.9), "tap"), lambda: feed_forward_circuit(0.9)),
    ("cloner, D = 0.1", asymmetric_cloner(0.1), lambda: cloner_circuit(0.1)),
    ("cloner, D = 3", asymmetric_cloner(3.0), lambda: cloner_circuit(3.0)),
    ("QND, g = 2", qnd_tap(2.0, 0.7), lambda: qnd_circuit(2.0, 0.7)),
    ("QND, g = 30", qnd_tap(30.0, 1 - 1 / 900), lambda: qnd_circuit(30.0, 1 - 1 / 900)),
    ("squeezed vacuum", squeezed_vacuum_tap(0.8, 0.1), lambda: squeezed_circuit(0.8, 0.1)),
    ("passive", passive_tap(0.6), lambda: passive_circuit(0.6)),
]


@pytest.mark.parametrize(("device", "circuit"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_noise_of_the_circuit(device: Measurement, circuit: Callable[[], tuple[Matrix, Matrix]]) -> None:
    returned, meter = circuit()
    # what comes back is a mode, and what is measured commutes with it
    assert commutator(returned[0], returned[1]) == pytest.approx(1.0)
    assert commutator(meter, returned[0]) == pytest.approx(0.0, abs=1e-12)
    assert commutator(meter, returned[1]) == pytest.approx(0.0, abs=1e-12)
    found = (device.gain_x, device.gain_p, device.d_x, device.d_p, device.n_x)
    assert read(returned, meter) == pytest.approx(found, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case[0] for case in CASES])
def test_vacuum_at_every_port_gives_these_noises(index: int) -> None:
    """W-sampling: a vacuum sample at each port, none at detectors (5.5 sigma, false alarm 1e-6; 5 % off fail)."""
    _, device, circuit = CASES[index]
    samples = 200_000
    ports = np.random.default_rng(index).normal(size=(6, samples))
    returned, meter = circuit()
    inside = ports[:2]
    noises = {
        "d_x": returned[0] @ ports - device.gain_x * inside[0],
        "d_p": returned[1] @ ports - device.gain_p * inside[1],
        "n_x": meter @ ports / meter[0] - inside[0],
    }
    for name, values in noises.items():
        expected = getattr(device, name)
        slack = 5.5 * math.sqrt(2 / samples) * expected
        assert abs(float(np.mean(values**2)) - expected) < slack
        assert abs(float(np.mean(values**2)) - 1.05 * expected) > slack


@pytest.mark.parametrize("squeezing", [10.0, 100.0, 1000.0])
def test_the_qnd_tap_tends_to_its_limit(squeezing: float) -> None:
    ideal, real = ideal_qnd(0.5), qnd_tap(squeezing, 1 - 0.5 / squeezing**2)
    for name in ("gain_x", "gain_p", "d_x", "d_p", "n_x"):
        assert getattr(real, name) == pytest.approx(getattr(ideal, name), abs=3 / squeezing**2)


def test_products_of_noise_and_disturbance() -> None:
    """Last column of the table of devices in the physics notes, 1.6 [1.7]."""
    for gain in (1.001, 1.1, 2.0, 5.0):
        law = of_tap(amplifier_tap(gain, 1 / gain), "tap")
        assert law.n_x * law.d_p == pytest.approx(2 * ((gain - 1) ** 2 + 1) / gain**2, rel=1e-10)
    for t in (0.1, 0.5, 0.999):
        law = of_tap(feed_forward_tap(t), "tap")
        assert law.n_x * law.d_p == pytest.approx(2 * (1 + t) / (1 + math.sqrt(t)) ** 2, rel=1e-10)
        assert squeezed_vacuum_tap(t, 0.3).n_x * squeezed_vacuum_tap(t, 0.3).d_p == pytest.approx(t)
        assert qnd_tap(3.0, t).n_x * qnd_tap(3.0, t).d_p == pytest.approx(t**2)
    assert asymmetric_cloner(0.2).n_x * asymmetric_cloner(0.2).d_p == 1.0


def test_nothing_is_better_than_the_quantum_limit() -> None:
    with pytest.raises(ValueError, match="no device has"):
        Measurement("magic", 1.0, 1.0, 0.0, 0.5, 1.9)
    with pytest.raises(ValueError, match="d_x must be finite"):
        Measurement("broken", 1.0, 1.0, math.nan, 0.5, 2.0)
    assert Measurement("none", 1.0, 1.0, 0.0, 0.1, math.inf).signal_to_noise(4.0) == 0.0


def test_refusals() -> None:
    calls: tuple[Callable[[], Measurement], ...] = (
        lambda: asymmetric_cloner(0.0),
        lambda: ideal_qnd(math.inf),
        lambda: qnd_tap(0.9, 0.5),
        lambda: qnd_tap(2.0, 1.0),
        lambda: squeezed_vacuum_tap(0.5, 0.0),
        lambda: passive_tap(0.0),
        lambda: of_tap(amplifier_tap(2.0, 0.4), "tap"),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"must|needs"):
            call()
    with pytest.raises(ValueError, match="unit gain"):
        _ = passive_tap(0.5).photons


def test_light_for_a_signal_to_noise_ratio() -> None:
    device = of_tap(amplifier_tap(2.0, 0.5), "tap")
    assert device.mu_for(4.0) == pytest.approx(4.0)
    assert device.signal_to_noise(4.0) == pytest.approx(4.0)
    assert device.photons == pytest.approx(0.5)
