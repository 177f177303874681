"""The planner's closed forms for arrays against the functions that bounds and runs use."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.api.bounding import f2_db
from labqdl.facts import OperatingPoint
from labqdl.optics.gain_tap import tap_law
from labqdl.planner.light import Path, data_bits, data_bits_off_gain, photons_per_row, sizes_of
from labqdl.planner.stage import Stage
from labqdl.security.channel import data_photons, honest_channel
from labqdl.security.data import data_leakage
from labqdl.security.engines import data_bound
from tests.planner.subjects import AMPLIFIER, FEED_FORWARD, ISOTROPIC, bench, layers

stages = st.sampled_from([AMPLIFIER, FEED_FORWARD])


@given(
    stage=stages,
    tapped=st.floats(1e-4, 0.9),
    f2=st.floats(1e-3, 20.0),
    loss=st.floats(0.0, 6.0),
    excess=st.floats(0.0, 0.01),
    phase=st.floats(0.0, 0.05),
    n_sp=st.floats(1.0, 2.0),
    uses=st.sampled_from([1, 7]),
    tested=st.booleans(),
)
def test_signal_and_weights(
    stage: Stage,
    tapped: float,
    f2: float,
    loss: float,
    excess: float,
    phase: float,
    n_sp: float,
    uses: int,
    tested: bool,
) -> None:
    ledger = bench(loss_db=loss, excess=excess, phase=phase, n_sp=n_sp)
    path = Path.of(ledger)
    at = np.array([tapped])
    noise, disturbance = stage.client_noise(at, ledger), stage.disturbance(at, ledger)
    mu = path.mu_for(f2, noise)
    setting = stage.setting(tapped)
    assert f2_db(OperatingPoint(float(mu[0]), setting), ledger) == pytest.approx(10 * math.log10(f2), abs=1e-8)
    assert path.signal_to_noise(mu, noise)[0] == pytest.approx(f2, rel=1e-9)
    charged = honest_channel(mu=float(mu[0]), n_modes=16, setting=setting, ledger=ledger)
    bits = path.weight_bits(mu, disturbance, 16, uses=uses, symmetric_noise=1.0 if tested else uses)
    assert bits[0] == pytest.approx(charged.leakage(uses, cross_use_tested=tested) / 2, rel=1e-8)
    assert photons_per_row(stage, path, at, ledger)[0] == pytest.approx(
        data_photons(tap_law(setting, ledger), ledger), rel=1e-9
    )


def test_phase_noise_limits_the_signal() -> None:
    path = Path.of(bench(phase=0.5))
    assert path.largest_f2 == pytest.approx(1.0 / math.expm1(0.25), rel=1e-12)
    noise = np.array([2.0])
    assert np.isinf(path.mu_for(1.01 * path.largest_f2, noise)).all()
    assert np.isinf(path.weight_bits(np.array([math.inf]), noise, 16)).all()
    assert path.mu_for(0.99 * path.largest_f2, noise)[0] > 0
    assert Path.of(bench(phase=0.0)).largest_f2 == math.inf


def test_interpolated_data_leakage_is_exact_to_five_digits() -> None:
    sizes = sizes_of(ISOTROPIC.layers)
    generator = np.random.Generator(np.random.SFC64(3))
    photons = np.exp(generator.uniform(math.log(1e-13), math.log(9e2), 40))
    exact = [
        sum(tiles * data_leakage(photons_per_row=each, rows=rows, n_modes=n) for rows, n, tiles in sizes) / 784
        for each in photons.tolist()
    ]
    np.testing.assert_allclose(data_bits(photons, sizes, 784), exact, rtol=1e-5)


def test_data_leakage_off_gain_is_that_of_an_unbalanced_tap() -> None:
    ledger = bench()
    shape = layers((20, 16), (3, 10))
    stage, tapped, mu = AMPLIFIER, 0.2, 3.0
    setting = stage.setting(tapped)
    path = Path.of(ledger)
    photons = photons_per_row(stage, path, np.array([tapped]), ledger)
    power = 0.01**2 * path.client_in * path.client_out
    bits = data_bits_off_gain(photons, np.array([mu]), (1.0, 0.5), sizes_of(shape), 32, power=power)
    expected = sum(
        data_leakage(
            photons_per_row=float(photons[0]),
            rows=layer.rows,
            n_modes=layer.n_modes,
            gain_mismatch_photons=power * light,
        )
        for layer, light in zip(shape, (3.0, 1.5), strict=True)
    )
    assert bits[0] == pytest.approx(expected / 32, rel=1e-12)
    frames = tuple(replace(layer, mu=mu) for layer in shape)
    unit = data_bound("labqdl", frames, setting, ledger)
    assert unit is not None
    assert data_bits(photons, sizes_of(shape), 32)[0] == pytest.approx(unit.bits, rel=1e-5)
    assert bits[0] > unit.bits
