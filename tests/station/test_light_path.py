"""The light path of a station as a ledger: by data sheets along the wires, and by calibrations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from labqdl.config.station import StationFile, find_station_file, load_station_file
from labqdl.errors import InputError
from labqdl.facts import Owner, Place, TapKind
from labqdl.facts.calibration import CalibrationResult, CalibrationSet
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.gain_tap import tap_law
from labqdl.optics.law import LinkLaw
from labqdl.station.light_path import (
    COVERAGE,
    DRIFT,
    TURN,
    brightest_bin,
    calibrated_ledger,
    sheet_ledger,
    station_tap,
    tolerances,
    usual_point,
    with_imperfections,
)
from labqdl.units import to_db


@pytest.fixture(scope="module")
def loop() -> StationFile:
    return load_station_file("loop-32")


def calibration(name: str, owner: str, deviation: float = 0.0, **values: float) -> CalibrationResult:
    spread = np.diag([(deviation * value) ** 2 for value in values.values()])
    return CalibrationResult(name, Owner(owner), values, dict.fromkeys(values, ""), spread, "test", 1, 1000.0, 3600.0)


def measured(**more: CalibrationResult) -> CalibrationSet:
    results = {
        "path.forward": calibration("path.forward", "channel", transmissivity=0.5),
        "path.return": calibration("path.return", "channel", 0.05, transmissivity=0.4, slope=0.9, photons=1000.0),
        "server.efficiency": calibration("server.efficiency", "server", efficiency=0.85),
        "server.shot-noise": calibration("server.shot-noise", "server", noise=0.05, snu=1.0),
        "client.shot-noise": calibration("client.shot-noise", "client", noise=0.04, snu=1.0),
        "client.tap": calibration("client.tap", "client", outcome_gain=0.2, transmissivity=0.9),
        "server.lock": calibration("server.lock", "server", 0.01, residual=0.02, angle=0.5),
        **more,
    }
    return CalibrationSet(results.values(), station="loop-32")


def test_the_sheets_along_the_wires_are_the_ledger_and_fibres_divide_the_owners(loop: StationFile) -> None:
    ledger = sheet_ledger(loop)
    owners = {part.name: (part.place, part.owner) for part in ledger.components}
    assert owners["fibre_out"] == (Place.FORWARD, Owner.CHANNEL)
    assert owners["tree_f"] == (Place.CLIENT_IN, Owner.CLIENT)
    assert owners["tree_b"] == (Place.CLIENT_OUT, Owner.CLIENT)
    assert owners["fibre_back"] == (Place.RETURN, Owner.CHANNEL)
    assert owners["pbs_s"] == (Place.RETURN, Owner.SERVER)
    out = 0.3 + 0.4 + 5 * 0.3  # fibre, polariser, five stages
    assert ledger.forward == pytest.approx(10 ** (-out / 10) * 0.99)
    assert ledger.server_efficiency == pytest.approx(0.9 * 0.98**2)
    assert all("assumed" in part.calibration for part in ledger.components if part.electronic_noise)


def test_calibrations_make_the_ledger_with_their_ages_and_their_marks(loop: StationFile) -> None:
    ledger = calibrated_ledger(loop, measured(), now=1090.0)
    assert (ledger.forward, ledger.back) == (0.5, 0.4)
    assert ledger.server_noise == 0.05
    assert ledger.total_phase_noise == pytest.approx(0.02)
    assert "path.return, 1.5 min old" in ledger.calibrations
    # Meter per X is sqrt(e (1 - t)/2): the tap's law has the noise that the calibration saw.
    law = tap_law(station_tap(loop, measured()), ledger)
    assert law.outcome_variance == pytest.approx(1.04 / 0.2**2)
    marked = calibrated_ledger(loop, measured(), now=1090.0, marks=("too old",))
    assert all("UNCERTIFIED: too old" in words for words in marked.calibrations)
    missing = CalibrationSet(one for name, one in measured().items() if name != "path.return")
    with pytest.raises(InputError, match="no such calibration") as caught:
        calibrated_ledger(loop, missing, now=0.0)
    assert "path.return" in str(caught.value)


def test_the_tap_is_that_of_the_sheet_or_the_calibration(loop: StationFile, tmp_path: Path) -> None:
    assert station_tap(loop).kind is TapKind.FEED_FORWARD
    assert station_tap(loop).tap_transmissivity == 0.9
    other = measured(**{"client.tap": calibration("client.tap", "client", outcome_gain=0.2, transmissivity=0.8)})
    assert station_tap(loop, other).tap_transmissivity == 0.8
    text = find_station_file("loop-32").read_text(encoding="utf-8").replace("t = 0.9\n", "")
    file = tmp_path / "loop.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="does not say t"):
        station_tap(load_station_file(file))


def test_usual_light_gives_six_decibels_or_half_of_what_phase_noise_allows(loop: StationFile) -> None:
    ledger, tap = sheet_ledger(loop), station_tap(loop)
    point = usual_point(ledger, tap)
    assert to_db(signal_to_noise(LinkLaw.from_ledger(ledger, honest(ledger, tap)), point.mu)) == pytest.approx(
        6, abs=0.01
    )
    shaky = measured(**{"server.lock": calibration("server.lock", "server", residual=0.02, angle=0.0)})
    shaky = shaky.with_result(calibration("client.lock", "client", residual=0.5))
    ledger = calibrated_ledger(loop, shaky, now=1000.0)
    law = LinkLaw.from_ledger(ledger, honest(ledger, tap))
    assert signal_to_noise(law, usual_point(ledger, tap).mu) == pytest.approx(signal_to_noise(law, 1e12) / 2, rel=0.01)


def test_tolerances_cover_four_deviations_of_what_the_light_does_not_share(loop: StationFile) -> None:
    ledger = with_imperfections(calibrated_ledger(loop, measured(), now=1000.0), 0.1)
    assert ledger.technical_excess == pytest.approx(0.1)
    gain, phase, noise = tolerances(measured(), ledger, excess=0.1, error=0.02, mu=50.0)
    own = math.sqrt(0.05**2 - 0.25 * 0.05**2)  # slope and photons are both known to 5 %
    # The root mean square of what imperfect parts leave of the light, half of it along, half across.
    left = math.sqrt((0.1 + COVERAGE * 0.02) / (2 * 50.0 * ledger.total) / 2)
    assert gain == pytest.approx(COVERAGE * own + DRIFT + left)
    assert phase == pytest.approx(COVERAGE * 0.01 * 0.5 + TURN + left)
    assert noise == pytest.approx(0.85 * (0.1 + COVERAGE * 0.02) + 0.02)
    assert with_imperfections(ledger, 0.0) == ledger


def test_the_brightest_bin_is_that_of_the_open_attenuator() -> None:
    light = calibration("server.light", "server", full_scale_photons=1000.0, attenuation_db=10.0)
    assert brightest_bin(measured(**{"server.light": light})) == pytest.approx(0.6 * 10_000)
    assert brightest_bin(measured()) == math.inf
