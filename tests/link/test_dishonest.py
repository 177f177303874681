"""Dishonest servers, vacuum slots and repeated noise on the emulated link: what the ports show, against their laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import Component, FrameDescription, MonitorReading, Owner, Place, ReturnedLight, ShotNoise
from labqdl.facts.monitor import POWER_MONITOR, WATCHDOG_DARK_COUNTS
from labqdl.link import EmulatedLink, parse_client, parse_server
from labqdl.rng import Roots
from tests.link.test_emulated import FRAME, IMAGES, LEDGER, MODES, MU, ROWS, light

METER = Component(POWER_MONITOR, Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.95)
METERED = replace(LEDGER, components=(LEDGER.components[0], METER, *LEDGER.components[1:]))
SEEN = tuple[NDArray[np.float64], MonitorReading, ReturnedLight]


def shine(server: str = "honest", frame: FrameDescription | None = None, client: str = "honest") -> SEEN:
    """Outcomes, monitors and returned light of one block, always from the same random numbers."""
    agreed = replace(FRAME, ledger=METERED) if frame is None else frame
    link = EmulatedLink(
        agreed.ledger, Roots.from_seed(5).world, client=parse_client(client), server=parse_server(server)
    )
    q, x, pattern, counted = light()
    link.prepare(agreed)
    link.server_port.send_rows(0, 0, q, IMAGES)
    amplitude = math.sqrt(agreed.ledger.total * agreed.ledger.server_efficiency)
    link.server_port.set_receiver(0, 0, pattern, counted, amplitude, use_sums=True)
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    monitor = link.client_port.monitor(0, 0)
    assert monitor is not None
    return np.asarray(link.client_port.outcomes(0, 0), np.float64), monitor, link.server_port.returned(0, 0)


def expected_photons() -> NDArray[np.float64]:
    """Photons of each row at the power meter: 5 % of 0.8 of |q|^2/4, for all images."""
    q, _, _, _ = light()
    return np.asarray(0.05 * 0.8 * 0.25 * IMAGES * np.sum(q**2, axis=1))


@pytest.mark.parametrize(
    ("server", "factor", "thermal", "outside"),
    [
        ("honest", 1.0, 0.0, 0.0),
        ("bright-probe:3", 3.0, 0.0, 0.0),
        ("two-mode-squeezed:1.5", 1 - 1.5 / MU, 1.5, 0.0),
        ("x-dependent:0.01", 1.0, 0.0, 0.01),
    ],
)
def test_monitors_count_the_light_that_is_there(server: str, factor: float, thermal: float, outside: float) -> None:
    _, monitor, _ = shine(server)
    assert monitor.fraction == pytest.approx(0.05)
    mean = factor * expected_photons() + 0.05 * 0.8 * thermal * MODES * IMAGES
    # Forty Poisson numbers of some thousands each: 6 sigma apiece, 4e-8 in all.
    assert np.all(np.abs(monitor.photons - mean) < 6 * np.sqrt(mean))
    darks = WATCHDOG_DARK_COUNTS * ROWS * MODES * IMAGES
    beyond = darks + outside * float(expected_photons().sum()) / 0.05
    assert abs(monitor.out_of_band - beyond) < 6 * math.sqrt(beyond)
    if server != "honest":  # what is planted here is seen at this precision
        wrong = 1.05 * mean.sum()
        assert abs(monitor.photons.sum() - wrong) > 6 * math.sqrt(wrong)


def test_without_a_meter_nothing_is_counted() -> None:
    _, monitor, _ = shine(frame=FRAME)
    assert monitor.fraction == 0
    assert not monitor.photons.any()


def test_what_the_server_sends_shows_in_the_outcomes_and_not_in_its_own_record() -> None:
    q, x, _, _ = light()
    signal = x @ q.T
    slope = math.sqrt(0.9 * 0.5 * 2 * 0.8 * 0.95)
    variance = 1.05 + 0.9
    honest, _, returned = shine()
    for server, gain, noise in (
        ("bright-probe:4", 2.0, 0.0),
        ("two-mode-squeezed:1", math.sqrt(1 - 1 / MU), 2.0),
        ("x-dependent", 1.0, 0.0),
    ):
        outcomes, _, measured = shine(server)
        spread = variance + slope**2 * noise
        found = float((outcomes * signal).sum() / (signal**2).sum())
        assert abs(found - gain * slope) < 5.5 * math.sqrt(spread / (signal**2).sum())
        rest = outcomes - gain * slope * signal
        assert abs(np.var(rest) / spread - 1) < 5.5 * math.sqrt(2 / rest.size)
        np.testing.assert_array_equal(measured.statistics.sum_rr, returned.statistics.sum_rr)
        np.testing.assert_array_equal(measured.statistics.photons, returned.statistics.photons)
    assert not np.array_equal(honest, shine("bright-probe:4")[0])


@pytest.mark.parametrize(
    ("kind", "client", "variance"),
    [
        (ShotNoise.OWN, "honest", 1.1),
        (ShotNoise.OWN, "spiking:0.5", 1.1),
        (ShotNoise.CROSSED, "honest", 1.1 + 0.85 * 0.01),
        (ShotNoise.CROSSED, "spiking:0.5", 1.1 + 0.85 * (0.01 + 0.7 * 0.5)),
        (ShotNoise.CROSSED, "cloner:0.5", 1.1 + 0.85 * 0.01),
    ],
    ids=lambda value: str(value),
)
def test_vacuum_slots_hold_what_crosses_them(kind: ShotNoise, client: str, variance: float) -> None:
    frame = replace(FRAME, plan=replace(FRAME.plan, shot_noise=kind), vacuum_slots=8)
    _, _, returned = shine(frame=frame, client=client)
    statistics = returned.statistics
    slots = 8 * IMAGES * int(np.count_nonzero(~statistics.counted))
    assert statistics.vacuum_slots == slots
    # About a million squares: 5.5 sigma are 0.8 %, a spike that is 5 % off is seen.
    error = 5.5 * math.sqrt(2 / slots)
    assert abs(statistics.vacuum_squares / slots / variance - 1) < error
    assert abs(statistics.vacuum_squares / slots / (1.05 * variance) - 1) > error
    plain = shine(frame=FRAME, client=client)[2].statistics
    assert (plain.vacuum_slots, plain.vacuum_squares) == (0, 0.0)
    np.testing.assert_array_equal(plain.sum_rr, statistics.sum_rr)


@pytest.mark.parametrize(
    ("client", "variance"), [("estimate:0.3", 0.3), ("coherent", 1 / MODES), ("coherent:0.05", 0.05)]
)
def test_repeated_noise_is_the_same_at_every_use(client: str, variance: float) -> None:
    """Sums over 4000 uses: K times the offset, variance T_2 eta_s V K^2, beside which fresh noise is nothing."""
    _, _, returned = shine(frame=FRAME, client=client)
    assert returned.use_sums is not None
    rows = ~returned.statistics.counted
    offsets = returned.use_sums.sums[rows] / IMAGES
    expected = 0.7 * 0.85 * variance + 1.1 / IMAGES
    # Some 240 weights: one sigma is 9 %, so 5.5 are a half; twice the variance would be seen.
    assert abs(float(np.mean(offsets**2)) / expected - 1) < 5.5 * math.sqrt(2 / offsets.size)
    again = shine(frame=FRAME, client=client)[2].use_sums
    assert again is not None
    np.testing.assert_array_equal(again.sums, returned.use_sums.sums)
