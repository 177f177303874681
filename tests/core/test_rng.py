"""Named, keyed random streams: independence of order, secrecy of roots, fair and uniform numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from labqdl.rng import Root, Roots


def test_streams_depend_on_their_address_only() -> None:
    roots = Roots.from_seed(7)
    early = roots.world.generator("shot-noise", 1, 2).standard_normal(8)
    roots.world.generator("amplifier", 0, 0).standard_normal(100)
    assert np.array_equal(early, roots.world.generator("shot-noise", 1, 2).standard_normal(8))
    assert np.array_equal(early, Roots.from_seed(7).world.generator("shot-noise", 1, 2).standard_normal(8))


@given(st.integers(0, 2**70), st.text(max_size=8), st.lists(st.integers(0, 2**40), max_size=3))
def test_no_two_parties_share_a_stream(seed: int, purpose: str, key: list[int]) -> None:
    roots = Roots.from_seed(seed)
    drawn = [root.bits(purpose, *key, count=128).tobytes() for root in (roots.server, roots.client, roots.world)]
    assert len(set(drawn)) == 3


@given(st.text(max_size=6), st.text(max_size=6), st.integers(0, 300), st.integers(0, 300))
def test_addresses_are_unambiguous(first: str, second: str, a: int, b: int) -> None:
    root = Roots.from_seed(1).server
    same = (first, a) == (second, b)
    assert np.array_equal(root.uniforms(first, a, count=4), root.uniforms(second, b, count=4)) is same


def test_key_concatenation_does_not_collide() -> None:
    root = Roots.from_seed(1).server
    assert not np.array_equal(root.bits("a", 1, 2, count=64), root.bits("a", 12, count=64))
    assert not np.array_equal(root.bits("a", 1, count=64), root.bits("a", 1, 0, count=64))


def test_system_roots_differ_each_time() -> None:
    assert Roots.from_system().server.entropy != Roots.from_system().server.entropy


def test_entropy_is_not_shown() -> None:
    root = Roots.from_seed(5).server
    assert root.entropy.hex() not in repr(root)
    assert repr(root.entropy) not in repr(root)


def test_bits_are_fair_and_uniforms_uniform() -> None:
    # False-alarm rates: 5.5 sigma two-sided 4e-8; KS at p < 1e-7.
    root = Roots.from_seed(11).server
    count = 400_000
    ones = int(root.bits("quadratures", 3, 4, count=count).sum())
    assert abs(ones - count / 2) < 5.5 * (count / 4) ** 0.5
    numbers = root.uniforms("rows", 0, count=100_000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-7


def test_a_root_needs_its_full_entropy() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Root("server", b"short")


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Roots.from_seed(-1)


def test_no_party_has_the_entropy_of_another() -> None:
    roots = Roots.from_seed(7)
    assert len({roots.server.entropy, roots.client.entropy, roots.world.entropy}) == 3
