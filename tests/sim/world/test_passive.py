"""Loss, division and interference without noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labqdl.errors import InputError
from labqdl_sim.world.kinds import kinds, part_class
from tests.sim.world.parts import Lamp, empty, exact, lamp, pulled


@pytest.mark.parametrize("kind", ["loss", "pad", "isolator"])
def test_loss_scales_the_amplitude_and_adds_nothing(kind: str) -> None:
    world = empty()
    exact(world, "laser", rin=1e-12, linewidth=1e6)
    exact(world, kind, "part", loss_db=13.0)
    world.link("laser", "part")
    np.testing.assert_allclose(
        pulled(world, "part", count=500).envelope, pulled(world, "laser", count=500).envelope * 10**-0.65, rtol=1e-14
    )


def test_an_isolator_lets_little_back() -> None:
    world = empty()
    lamp(world, 2.0)
    exact(world, "isolator", loss_db=0.5, isolation_db=40.0)
    world.link("lamp", "isolator", port_in="back_input")
    np.testing.assert_allclose(pulled(world, "isolator", "back_output").envelope, 0.02)
    assert pulled(world, "isolator").flux == 0.0


@pytest.mark.parametrize(("kind", "share"), [("splitter", 0.3), ("power-tap", 0.01)])
def test_a_splitter_divides_power(kind: str, share: float) -> None:
    world = empty()
    lamp(world, 5.0)
    exact(world, kind, "part", ratio=share, loss_db=0.2)
    world.link("lamp", "part")
    kept = 25.0 * 10**-0.02
    assert pulled(world, "part", "tap").flux == pytest.approx(share * kept, rel=1e-12)
    assert pulled(world, "part", "main").flux == pytest.approx((1 - share) * kept, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.5, 0.1])
def test_a_coupler_is_unitary(ratio: float) -> None:
    world = empty()
    exact(world, "coupler", ratio=ratio)
    for name in ("a", "b"):
        world.add(Lamp, f"lamp_{name}")
    matrix = np.zeros((2, 2), np.complex128)
    for column, name in enumerate("ab"):
        world.part("coupler").connect_light("a", None)
        world.part("coupler").connect_light("b", None)
        world.link(f"lamp_{name}", "coupler", port_in=name)
        matrix[:, column] = [pulled(world, "coupler", port).envelope[0] for port in "cd"]
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(2), atol=1e-14)
    assert abs(matrix[1, 0]) ** 2 == pytest.approx(ratio)
    world.link("lamp_a", "coupler", port_in="a")
    both = [pulled(world, "coupler", port).envelope[0] for port in "cd"]
    np.testing.assert_allclose(both, matrix.sum(axis=1), rtol=1e-12)


def test_an_interferometer_of_two_couplers_has_its_fringe() -> None:
    """Mach-Zehnder: power at the crossed output (1 + cos phi)/2."""
    world = empty()
    lamp(world)
    exact(world, "coupler", "first")
    exact(world, "fibre", "upper", length=1.0, phase=0.7)
    exact(world, "fibre", "lower", length=1.0, phase=0.0)
    exact(world, "coupler", "second")
    world.link("lamp", "first", port_in="a")
    for arm, port_out, port_in in (("upper", "c", "a"), ("lower", "d", "b")):
        world.link("first", arm, port_out)
        world.link(arm, "second", port_in=port_in)
    assert pulled(world, "second", "d").flux == pytest.approx((1 + math.cos(0.7)) / 2, rel=1e-12)
    assert pulled(world, "second", "c").flux == pytest.approx((1 - math.cos(0.7)) / 2, rel=1e-12)


def test_only_parallel_polarisation_interferes() -> None:
    world = empty()
    lamp(world)
    other = world.add(Lamp, "other")
    other.jones = np.array([math.cos(0.5), math.sin(0.5)], np.complex128)
    exact(world, "coupler")
    world.link("lamp", "coupler", port_in="a")
    world.link("other", "coupler", port_in="b")
    field = pulled(world, "coupler", "c")
    np.testing.assert_allclose(field.envelope, (1 + 1j * math.cos(0.5)) / math.sqrt(2))
    world.part("coupler").connect_light("a", None)
    np.testing.assert_allclose(pulled(world, "coupler", "c").jones, other.jones)


def test_a_blocked_part_is_dark_while_it_is_blocked() -> None:
    world = empty()
    lamp(world)
    pad = exact(world, "pad", loss_db=0.0)
    world.link("lamp", "pad")
    pad.strike("blocked", start=4 * world.step, stop=8 * world.step)
    pad.strike("excess_db", 10.0, start=12 * world.step)
    np.testing.assert_allclose(np.abs(pulled(world, "pad").envelope) ** 2, [1] * 4 + [0] * 4 + [1] * 4 + [0.1] * 4)


def test_kinds_are_found_by_name() -> None:
    for kind in ("laser", "splitter", "coupler", "iq-modulator", "phase-modulator", "fibre", "pbs", "edfa"):
        assert kind in kinds()
        assert part_class(kind).kind == kind
    with pytest.raises(InputError, match="Did you mean 'splitter'"):
        part_class("spliter")


def test_truth_is_drawn_around_the_data_sheet() -> None:
    """20 standard deviations of a spread over 400 seeds: mean and width within 5 standard errors."""
    spreads = []
    for seed in range(400):
        pad = empty(seed).add(part_class("pad"), "pad", {"loss_db": 20.0}, {"loss_db": 0.3})
        spreads.append((pad["loss_db"] - 20.0) / 0.3)
    assert abs(np.mean(spreads)) < 5.0 / math.sqrt(400)
    assert abs(np.std(spreads) - 1.0) < 5.0 / math.sqrt(800)
    assert empty(3).add(part_class("pad"), "pad")["loss_db"] == empty(3).add(part_class("pad"), "pad")["loss_db"]
