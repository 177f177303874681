"""The exact joint sampler: against closed forms, depth two against depth three, degenerate shapes, streams."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import ReturnedLight
from labqdl.optics import expectation
from labqdl.optics.client_law import ClientLaw
from labqdl.optics.gain_tap import TapLaw
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from labqdl.optics.sampler import Residuals, sample_outcomes, sample_residuals, sample_statistics
from tests.optics import direct
from tests.optics.cases import (
    LAWS,
    SIGMAS,
    KeyedStreams,
    compare_samples,
    compare_with_closed_form,
    row,
    unit_vectors,
)

Real = NDArray[np.float64]


def probes(x: Real, q: Real, pattern: NDArray[np.bool_]) -> Real:
    """Directions in the homodyned quadratures (d, n): a, b, q and mode 0; every covariance shows along them."""
    where = 2 * np.arange(pattern.size) + pattern
    found = np.stack((x[where], rotate_j(x)[where], q[where], np.eye(pattern.size)[0]))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1.0))


def draw_many(law: LinkLaw, q: Real, x: Real, pattern: NDArray[np.bool_], draws: int, seed: int) -> Residuals:
    """Depth three with one row repeated: rows are independent draws; as many counted as homodyned."""
    rows = np.tile(q, (2 * draws, 1))
    counted = np.arange(2 * draws) % 2 == 1
    return sample_residuals(law, rows, x[np.newaxis], pattern, counted, KeyedStreams(seed))


def check_residuals(sampled: LinkLaw, expected: LinkLaw, n_modes: int, draws: int = 20_000) -> None:
    """Depth three drawn from one law has the closed forms of another."""
    q, x = row(n_modes, 1), unit_vectors(1, n_modes, 2)[0]
    pattern = np.random.default_rng(3).random(n_modes) < 0.5
    found = draw_many(sampled, q, x, pattern, draws, seed=4)
    along = probes(x, q, pattern)
    if n_modes == 1:
        along = along[:1]  # one quadrature: all directions are the same
    where = 2 * np.arange(n_modes) + pattern
    x_b, p_b = float(x @ q), float(rotate_j(x) @ q)
    size = along.shape[0] + 1
    covariance = np.empty((size, size))
    covariance[0, 0] = expectation.outcome_variance(expected, x_b, p_b)
    covariance[0, 1:] = covariance[1:, 0] = along @ expectation.cross_covariance(expected, q, x)[where]
    full = expectation.residual_covariance(expected, q, x)[np.ix_(where, where)]
    covariance[1:, 1:] = along @ full @ along.T
    mean = np.concatenate(
        ([expectation.outcome_slope(expected) * x_b], along @ expectation.residual_mean(expected, q, x)[where])
    )
    samples = np.column_stack((found.outcomes[0, 0::2], found.residuals[0] @ along.T)).astype(np.float64)
    compare_with_closed_form(samples, mean, covariance)
    # Counted rows: outcomes follow the same law, and every slot has its mean.
    outcomes = found.outcomes[0, 1::2, np.newaxis].astype(np.float64)
    compare_with_closed_form(outcomes, mean[:1], covariance[:1, :1])
    slots = found.counts[0].astype(np.float64)
    weights = np.stack((np.ones(n_modes), x[0::2] ** 2 + x[1::2] ** 2, np.eye(n_modes)[0]))
    counts, means = slots @ weights.T, weights @ expectation.mean_counts(expected, q, x)
    error = SIGMAS * counts.std(axis=0) / math.sqrt(draws) + 1e-12
    assert np.all(np.abs(counts.mean(axis=0) - means) <= error)


@pytest.mark.parametrize("n_modes", [1, 8, 32])
@pytest.mark.parametrize("name", LAWS)
def test_every_residual_follows_the_closed_forms(name: str, n_modes: int) -> None:
    check_residuals(LAWS[name], LAWS[name], n_modes, draws=4_000 if n_modes == 32 else 10_000)


def tampered(law: LinkLaw, what: str) -> LinkLaw:
    """One figure wrong by 5 per cent; the server's expectation stays."""
    tap = law.client.tap
    if what in ("server_efficiency", "counter_efficiency", "forward"):
        return replace(law, **{what: 0.95 * getattr(law, what)})
    if what == "added noise":
        changed = replace(tap, d_x=1.05 * tap.d_x, d_p=1.05 * tap.d_p)
    elif what == "gain":
        changed = replace(tap, outcome_gain=1.05 * tap.outcome_gain)
    elif what == "net gain":
        changed = replace(tap, net_gain=1.05 * tap.net_gain)
    else:
        changed = replace(tap, covariance_x=0.95 * tap.covariance_x)
    return replace(law, client=replace(law.client, tap=changed))


@pytest.mark.parametrize(
    "what",
    ["nothing", "server_efficiency", "counter_efficiency", "forward", "added noise", "gain", "net gain", "covariance"],
)
def test_an_error_of_five_per_cent_is_seen(what: str) -> None:
    law = LAWS["ideal amplifier"]
    if what == "nothing":
        check_residuals(law, law, 2, draws=120_000)
        return
    with pytest.raises(AssertionError):
        check_residuals(tampered(law, what), law, 2, draws=120_000)


# --- depth two against depth three -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What is asked of depth two beyond the sums."""

    use_sums: bool = False
    sampled: tuple[int, ...] | None = None
    offset: Real | None = None

    def arguments(self, rows: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.offset is not None:
            found["offset"] = np.tile(self.offset, (rows, 1))
        return found

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "use_sums": self.use_sums,
            "sampled": None if self.sampled is None else np.array(self.sampled, dtype=np.int64),
        }


PLAIN = Asked()


def features(y: NDArray[Any], light: ReturnedLight, along: Real) -> tuple[Real, Real]:
    """What is compared between depths: (homodyned rows, ...) and (counted rows, ...), with squares of the sums.

    Sums of uses and kept residuals are taken along the directions `along` (d, n).
    """
    statistics = light.statistics
    counted = statistics.counted
    names = ("sum_qr", "sum_rr", "sum_jr")
    sums = np.stack([getattr(statistics, name)[~counted] for name in names], axis=1)
    if light.use_sums is not None:
        sums = np.column_stack((sums, light.use_sums.sums[~counted].astype(np.float64) @ along.T))
    squares = (sums - sums.mean(axis=0)) ** 2
    kept = [] if light.sample is None else [residuals @ along.T for residuals in light.sample.residuals]
    homodyned = np.column_stack((y[:, ~counted].T, sums, squares, *kept))
    photons = statistics.photons[counted].astype(np.float64)
    return homodyned, np.column_stack((y[:, counted].T, y[:, counted].T ** 2, photons, photons**2))


def check_depths(
    two: LinkLaw, three: LinkLaw, q: Real, x: Real, pattern: NDArray[np.bool_], draws: int, asked: Asked = PLAIN
) -> None:
    rows = np.tile(q, (2 * draws, 1))
    counted = np.arange(2 * draws) % 2 == 1
    more = asked.arguments(2 * draws)
    y, light = sample_statistics(two, rows, x, pattern, counted, KeyedStreams(11), **asked.parts, **more)
    found = sample_residuals(three, rows, x, pattern, counted, KeyedStreams(12), **more)
    along = probes(x[0], q, pattern)
    first, second = features(y, light, along), features(found.outcomes, found.light(**asked.parts), along)
    compare_samples(first[0], second[0])
    compare_samples(first[1], second[1])


@pytest.mark.parametrize(("n_modes", "images"), [(1, 1), (1, 3), (2, 1), (3, 1), (4, 3)])
@pytest.mark.parametrize("name", LAWS)
def test_statistics_have_the_law_of_the_residuals(name: str, n_modes: int, images: int) -> None:
    law = LAWS[name]
    pattern = np.arange(n_modes) % 2 == 0
    check_depths(law, law, row(n_modes, 13), unit_vectors(images, n_modes, 14), pattern, draws=4_000)


@pytest.mark.parametrize(
    ("n_modes", "images", "asked"),
    [
        (1, 3, Asked(use_sums=True)),
        (4, 1, Asked(use_sums=True)),
        (4, 3, Asked(use_sums=True)),
        (5, 4, Asked(use_sums=True, sampled=(1,))),
        (4, 3, Asked(use_sums=False, sampled=(0, 2))),
        (4, 2, Asked(use_sums=True, sampled=(0, 1))),
        (4, 3, Asked(use_sums=True, offset=row(4, 27, mu=0.5))),
        (5, 4, Asked(use_sums=False, sampled=(3,), offset=row(5, 28, mu=0.5))),
    ],
    ids=["one mode", "one image", "sums", "sums, one kept", "two kept", "all kept", "offset", "offset, one kept"],
)
@pytest.mark.parametrize("name", LAWS)
def test_all_that_is_asked_has_the_law_of_the_residuals(name: str, n_modes: int, images: int, asked: Asked) -> None:
    law = LAWS[name]
    pattern = np.arange(n_modes) % 3 == 0
    check_depths(law, law, row(n_modes, 13), unit_vectors(images, n_modes, 14), pattern, 2_500, asked)


@pytest.mark.parametrize(
    ("what", "use_sums"),
    [
        ("nothing", True),
        *((what, False) for what in ("server_efficiency", "counter_efficiency", "net gain")),
        *((what, use_sums) for what in ("added noise", "covariance") for use_sums in (False, True)),
    ],
)
def test_depths_that_differ_by_five_per_cent_are_seen(what: str, use_sums: bool) -> None:
    law, x = LAWS["ideal amplifier"], np.array([[0.98, 0.1, 0.14, 0.1]])
    x /= np.linalg.norm(x)
    arguments = (4.0 * x[0], x, np.array([False, False]), 250_000, Asked(use_sums=use_sums))
    if what == "nothing":
        check_depths(law, law, *arguments)
        return
    with pytest.raises(AssertionError):
        check_depths(tampered(law, what), law, *arguments)


@pytest.mark.parametrize("what", ["nothing", "added noise", "net gain", "server_efficiency", "offset"])
def test_sums_of_uses_and_kept_residuals_alone_show_five_per_cent(what: str) -> None:
    """Against the closed forms, for data that are nearly the same in 5 images, one of which is kept."""
    law, n_modes, images, rows = LAWS["ideal amplifier"], 3, 5, 300_000
    x = np.eye(2 * n_modes)[1] + 0.1 * unit_vectors(images, n_modes, 30)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    q, offset, pattern = row(n_modes, 31, mu=0.5) + x[0], row(n_modes, 32, mu=0.5), np.array([True, False, True])
    drawn = law if what in ("nothing", "offset") else tampered(law, what)
    factor = 1.05 if what == "offset" else 1.0
    _, light = sample_statistics(
        drawn,
        np.tile(q, (rows, 1)),
        x,
        pattern,
        np.zeros(rows, dtype=np.bool_),
        KeyedStreams(33),
        use_sums=True,
        sampled=np.array([3]),
        offset=np.tile(factor * offset, (rows, 1)),
    )
    assert light.use_sums is not None
    assert light.sample is not None
    kept = light.sample.residuals[0].astype(np.float64)
    sums = light.use_sums.sums.astype(np.float64)
    where = 2 * np.arange(n_modes) + pattern

    def check_sums() -> None:
        mean = expectation.use_sum_mean(law, q, x, pattern, offset)
        compare_with_closed_form(sums, mean, expectation.use_sum_covariance(law, q, x, pattern))

    def check_kept() -> None:
        full = expectation.residual_covariance(law, q, x[3])[np.ix_(where, where)]
        compare_with_closed_form(kept, expectation.residual_mean(law, q, x[3], offset)[where], full)

    def check_rows() -> None:
        j = rotate_j(q)[where]
        along = np.stack((q[where], j))
        mean = along @ expectation.use_sum_mean(law, q, x, pattern, offset)
        spread = along @ expectation.use_sum_covariance(law, q, x, pattern) @ along.T
        found = np.stack((light.statistics.sum_qr, light.statistics.sum_jr), axis=1)
        compare_with_closed_form(found, mean, spread)

    for check in (check_sums, check_kept, check_rows):
        if what == "nothing":
            check()
        else:
            with pytest.raises(AssertionError):
                check()


@pytest.mark.parametrize("name", ["honest amplifier", "intercept-resend", "turned, shaky", "vacuum"])
@pytest.mark.parametrize("counting", [False, True])
def test_offset_against_mode_by_mode_simulation(name: str, counting: bool) -> None:
    """Light that the client adds, 5 % more of which is seen; homodyned or counted, summed over two images."""
    law, n_modes, draws = LAWS[name], 3, 60_000
    q, offset, x = row(n_modes, 34), row(n_modes, 35, mu=4.0), unit_vectors(2, n_modes, 36)
    pattern = np.array([True, False, False])
    counted = np.full(draws, counting)
    parts = [direct.draw(law, q, data, draws, np.random.default_rng(37 + i), offset) for i, data in enumerate(x)]
    where = 2 * np.arange(n_modes) + pattern

    def of_sampler(factor: float) -> Real:
        y, light = sample_statistics(
            law,
            np.tile(q, (draws, 1)),
            x,
            pattern,
            counted,
            KeyedStreams(38),
            use_sums=True,
            offset=np.tile(factor * offset, (draws, 1)),
        )
        assert light.use_sums is not None
        if counting:
            return np.column_stack((y.T, light.statistics.photons))
        return np.column_stack((y.T, light.use_sums.sums, light.statistics.sum_rr, light.statistics.sum_jr))

    outcomes = np.stack([y for y, _, _ in parts], axis=1)
    if counting:
        expected = np.column_stack((outcomes, sum(photons.sum(axis=1) for _, _, photons in parts)))
    else:
        residuals = [every[:, where] for _, every, _ in parts]
        squares = sum((every**2).sum(axis=1) for every in residuals)
        sums = np.asarray(sum(residuals))
        expected = np.column_stack((outcomes, sums, squares, sums @ rotate_j(q)[where]))
    compare_samples(of_sampler(1.0), expected)
    with pytest.raises(AssertionError):
        compare_samples(of_sampler(1.05), expected)


def test_an_offset_is_added_to_every_image_and_to_nothing_else() -> None:
    q, x, pattern, counted = block()
    law, offset = LAWS["honest amplifier, shaky"], 0.7 * q[::-1]
    without = sample_residuals(law, q, x, pattern, counted, KeyedStreams(39))
    found = sample_residuals(law, q, x, pattern, counted, KeyedStreams(39), offset=offset)
    where = 2 * np.arange(pattern.size) + pattern
    added = math.sqrt(law.back * law.server_efficiency) * offset[~counted][:, where]
    np.testing.assert_allclose(found.residuals, without.residuals + added, atol=1e-12)
    np.testing.assert_array_equal(found.outcomes, without.outcomes)
    more = expectation.mean_counts(law, q[0], x[0], offset[0]) - expectation.mean_counts(law, q[0], x[0])
    _, _, counts = direct.draw(law, q[0], x[0], 40_000, np.random.default_rng(40), offset[0])
    _, _, fewer = direct.draw(law, q[0], x[0], 40_000, np.random.default_rng(41))
    error = np.hypot(counts.std(axis=0), fewer.std(axis=0)) / 200.0
    assert np.all(np.abs(counts.mean(axis=0) - fewer.mean(axis=0) - more) < 6 * error)


@pytest.mark.parametrize("name", ["intercept-resend", "cloner, shaky"])
@pytest.mark.parametrize("images", [2, 7])
def test_images_that_share_one_direction(name: str, images: int) -> None:
    """Nothing but the noise of single images is left along the direction of all data; a factor could fail there."""
    law, n_modes = LAWS[name], 6
    x = np.tile(unit_vectors(1, n_modes, 42), (images, 1))
    check_depths(law, law, row(n_modes, 43), x, np.arange(n_modes) % 2 == 0, 4_000, Asked(use_sums=True))


@pytest.mark.parametrize("name", ["honest amplifier", "intercept-resend", "turned, shaky", "vacuum"])
@pytest.mark.parametrize("case", ["only measured", "only unmeasured", "a and b parallel", "zero row", "q along x"])
@pytest.mark.parametrize("use_sums", [False, True])
def test_degenerate_directions(name: str, case: str, use_sums: bool) -> None:
    law, n_modes = LAWS[name], 3
    pattern = np.zeros(n_modes, dtype=np.bool_)
    x, q = np.zeros((2, 2 * n_modes)), row(n_modes, 15)
    if case == "only measured":
        x[:, 0] = 1.0  # b vanishes on the measured quadratures
    elif case == "only unmeasured":
        x[:, 1] = 1.0
    elif case == "a and b parallel":
        x[:, 0], x[:, 1] = 0.6, 0.8
    else:
        x = unit_vectors(2, n_modes, 16)
        q = np.zeros(2 * n_modes) if case == "zero row" else 3.0 * x[0]
    check_depths(law, law, q, x, pattern, 4_000, Asked(use_sums=use_sums))


@pytest.mark.parametrize("name", ["vacuum", "turned, shaky"])
def test_zero_row_of_one_mode(name: str) -> None:
    """One dimension and no Q: the mean's own direction is the only one."""
    law = LAWS[name]
    for pattern in (np.array([True]), np.array([False])):
        check_depths(law, law, np.zeros(2), np.array([[1.0, 0.0]]), pattern, draws=4_000)
        check_depths(law, law, row(1, 17), np.array([[1.0, 0.0]]), pattern, draws=4_000)


@pytest.mark.parametrize("use_sums", [False, True])
def test_statistics_of_a_large_block_have_their_means(use_sums: bool) -> None:
    """392 modes, as in use: mean and spread of the sums against closed forms, where no residual could show a slip."""
    law, n_modes, images, rows = LAWS["honest amplifier"], 392, 16, 400
    x, q = unit_vectors(images, n_modes, 18), np.tile(row(n_modes, 19), (rows, 1))
    pattern = np.random.default_rng(20).random(n_modes) < 0.5
    homodyned = np.zeros(rows, dtype=np.bool_)
    _, returned = sample_statistics(law, q, x, pattern, homodyned, KeyedStreams(21), use_sums=use_sums)
    statistics = returned.statistics
    where = 2 * np.arange(n_modes) + pattern
    light = law.homodyne
    a, b, sent = x[:, where], rotate_j(x)[:, where], q[0][where]
    extra = np.sum(light.spike_x * np.sum(a**2, axis=1) + light.spike_p * np.sum(b**2, axis=1))
    assert law.homodyne.mismatch() == 0.0
    mean = images * n_modes * light.floor + extra
    spread = math.sqrt(2.0 * images * n_modes) * light.floor
    assert abs(statistics.sum_rr.mean() - mean) < 5 * 1.01 * spread / math.sqrt(rows)
    variance = images * light.floor * sent @ sent
    variance += np.sum(light.spike_x * (a @ sent) ** 2 + light.spike_p * (b @ sent) ** 2)
    assert abs(statistics.sum_qr.mean()) < 5 * math.sqrt(variance / rows)
    assert abs(statistics.sum_qr.var() / variance - 1) < 5 * math.sqrt(2 / rows)
    assert abs(statistics.sum_rr.var() / spread**2 - 1) < 5 * math.sqrt(2 / rows)
    np.testing.assert_allclose(statistics.sum_qq, images * sent @ sent, rtol=1e-12)
    if returned.use_sums is not None:
        squares = np.sum(returned.use_sums.sums.astype(np.float64) ** 2, axis=1)
        assert abs(squares.mean() - mean) < 5 * 1.01 * math.sqrt(2.0 * n_modes) * images * light.floor / math.sqrt(rows)


def test_nulled_light_of_an_honest_row_is_thermal() -> None:
    """P(k) = n^k/(1+n)^(k+1) with n = (G-1)/G photons a row; 5 sigma in each of the first four probabilities."""
    law, rows = LAWS["ideal amplifier"], 100_000
    counted = np.ones(rows, dtype=np.bool_)
    q = np.tile(row(3, 22), (rows, 1))
    pattern = np.zeros(3, dtype=np.bool_)
    _, light = sample_statistics(law, q, unit_vectors(1, 3, 23), pattern, counted, KeyedStreams(24))
    for k in range(4):
        p = 0.5**k / 1.5 ** (k + 1)
        assert abs(np.mean(light.statistics.photons == k) - p) < 5 * math.sqrt(p * (1 - p) / rows)


# --- shapes, types, streams --------------------------------------------------------------------------------------


def block(rows: int = 12, images: int = 5, n_modes: int = 6) -> tuple[Real, Real, NDArray[np.bool_], NDArray[np.bool_]]:
    generator = np.random.default_rng(25)
    q = 2.0 * generator.standard_normal((rows, 2 * n_modes))
    return q, unit_vectors(images, n_modes, 26), generator.random(n_modes) < 0.5, generator.random(rows) < 0.4


@pytest.mark.parametrize("name", LAWS)
def test_all_depths_give_the_same_outcomes(name: str) -> None:
    q, x, pattern, counted = block()
    law = LAWS[name]
    y = sample_outcomes(law, q, x, KeyedStreams(1))
    two, _ = sample_statistics(law, q, x, pattern, counted, KeyedStreams(1))
    for asked in (Asked(use_sums=True), Asked(sampled=(0, 3)), Asked(use_sums=True, sampled=(2,), offset=q[0])):
        more = asked.arguments(12)
        again, _ = sample_statistics(law, q, x, pattern, counted, KeyedStreams(1), **asked.parts, **more)
        np.testing.assert_allclose(again, y, rtol=1e-12, atol=1e-12)
    three = sample_residuals(law, q, x, pattern, ~counted, KeyedStreams(1))
    assert y.shape == (5, 12)
    np.testing.assert_allclose(two, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(three.outcomes, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["honest amplifier", "turned, shaky", "intercept-resend", "vacuum"])
def test_same_streams_same_bits_and_the_order_of_memory_does_not_matter(name: str) -> None:
    q, x, pattern, counted = block()
    law = LAWS[name]
    first = sample_residuals(law, q, x, pattern, counted, KeyedStreams(2))
    again = sample_residuals(law, q, x, pattern, counted, KeyedStreams(2))
    np.testing.assert_array_equal(first.outcomes, again.outcomes)
    np.testing.assert_array_equal(first.residuals, again.residuals)
    np.testing.assert_array_equal(first.counts, again.counts)
    other = sample_residuals(law, np.asfortranarray(q), x, pattern, counted, KeyedStreams(2))
    np.testing.assert_allclose(other.residuals, first.residuals, rtol=1e-10, atol=1e-10)
    y, light = sample_statistics(law, q, x, pattern, counted, KeyedStreams(2))
    turned, fortran = sample_statistics(law, np.asfortranarray(q), x, pattern, counted, KeyedStreams(2))
    statistics, same = light.statistics, fortran.statistics
    np.testing.assert_allclose(turned, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(same.sum_rr, statistics.sum_rr, rtol=1e-10)
    np.testing.assert_array_equal(same.photons, statistics.photons)
    elsewhere, _ = sample_statistics(law, q, x, pattern, counted, KeyedStreams(2, block=1))
    assert np.all(elsewhere != y)


def test_statistics_are_the_sums_of_the_residuals() -> None:
    q, x, pattern, counted = block()
    found = sample_residuals(LAWS["honest amplifier"], q, x, pattern, counted, KeyedStreams(3))
    where = 2 * np.arange(pattern.size) + pattern
    measured, statistics = q[~counted][:, where], found.statistics
    assert found.residuals.shape == (5, int((~counted).sum()), 6)
    assert found.counts.shape == (5, int(counted.sum()), 6)
    np.testing.assert_allclose(statistics.sum_rr[~counted], np.sum(found.residuals**2, axis=(0, 2)))
    np.testing.assert_allclose(statistics.sum_qr[~counted], np.sum(found.residuals * measured, axis=(0, 2)))
    np.testing.assert_allclose(statistics.sum_qq[~counted], 5 * np.sum(measured**2, axis=1))
    turned = np.stack([rotate_j(row) for row in q[~counted]])[:, where]
    np.testing.assert_allclose(statistics.sum_jr[~counted], np.sum(found.residuals * turned, axis=(0, 2)))
    np.testing.assert_allclose(statistics.sum_jj[~counted], 5 * np.sum(turned**2, axis=1))
    np.testing.assert_array_equal(statistics.photons[counted], found.counts.sum(axis=(0, 2)))
    np.testing.assert_allclose(statistics.expected_photons_signal[counted], 5 * np.sum(q[counted] ** 2, axis=1) / 4)
    np.testing.assert_array_equal(statistics.residuals, np.where(counted, 0, 30))
    np.testing.assert_array_equal(statistics.slots, np.where(counted, 30, 0))
    assert statistics.images == 5
    for sums in (statistics.sum_rr, statistics.sum_qr, statistics.sum_qq, statistics.sum_jj, statistics.sum_jr):
        assert np.all(sums[counted] == 0)
    assert np.all(statistics.photons[~counted] == 0)
    assert np.all(statistics.expected_photons_signal[~counted] == 0)


@pytest.mark.parametrize("all_counted", [True, False])
@pytest.mark.parametrize("name", ["honest amplifier", "turned, shaky"])
def test_blocks_without_one_kind_of_row(name: str, all_counted: bool) -> None:
    q, x, pattern, counted = block()
    counted[:] = all_counted
    statistics = sample_statistics(LAWS[name], q, x, pattern, counted, KeyedStreams(4))[1].statistics
    asked = Asked(use_sums=True, sampled=(1, 4))
    light = sample_statistics(LAWS[name], q, x, pattern, counted, KeyedStreams(4), **asked.parts)[1]
    assert light.use_sums is not None
    assert light.sample is not None
    assert np.all(light.use_sums.sums.any(axis=1) == ~counted)
    assert light.sample.residuals.shape == (2, 0 if all_counted else 12, 6)
    found = sample_residuals(LAWS[name], q, x, pattern, counted, KeyedStreams(4))
    assert np.all((statistics.sum_rr > 0) == ~counted)
    assert found.residuals.shape[1] == (0 if all_counted else 12)
    assert found.counts.shape[1] == (12 if all_counted else 0)


@pytest.mark.parametrize("name", ["honest amplifier", "turned, shaky", "tampered fibre"])
def test_single_precision(name: str) -> None:
    law, images = LAWS[name], 4
    q, x, pattern, counted = block(rows=600, images=images, n_modes=20)
    single = np.float32
    y, light = sample_statistics(law, q.astype(single), x.astype(single), pattern, counted, KeyedStreams(5))
    statistics = light.statistics
    found = sample_residuals(law, q.astype(single), x.astype(single), pattern, counted, KeyedStreams(5))
    assert y.dtype == found.residuals.dtype == single
    assert sample_outcomes(law, q.astype(single), x.astype(single), KeyedStreams(5)).dtype == single
    assert statistics.sum_rr.dtype == np.float64
    double = sample_residuals(law, q, x, pattern, counted, KeyedStreams(6)).statistics
    for other in (statistics, found.statistics):
        for field in ("sum_qr", "sum_rr", "sum_jr"):
            first, second = getattr(other, field)[~counted], getattr(double, field)[~counted]
            error = math.sqrt((first.var() + second.var()) / first.size)
            assert abs(first.mean() - second.mean()) < 5 * error
        np.testing.assert_allclose(other.sum_qq, double.sum_qq, rtol=1e-5)


@pytest.mark.parametrize("name", ["hidden cloner", "ideal amplifier"])
def test_small_spikes_survive_single_precision(name: str) -> None:
    """Homodyned span noise of G = 1 + 1e-6 must not drown in the rounding of float32 factors."""
    q, x, pattern, counted = block(rows=400, images=8)
    counted[:] = False
    arguments = (q.astype(np.float32), x.astype(np.float32), pattern, counted, KeyedStreams(7))
    law = LAWS[name]
    noises = []
    for spike in (2e-6, 0.0):
        tap = replace(law.client.tap, d_x=spike, d_p=spike, covariance_x=0.0)
        _, light = sample_statistics(replace(law, client=replace(law.client, tap=tap)), *arguments)
        noises.append(light.statistics.sum_rr)
    more, power = noises[0] - noises[1], law.back * law.server_efficiency
    if name == "hidden cloner":
        # Same normals in an orthonormal basis: 2e-6 times the squared components, 8 on average over 8 images.
        assert np.mean(more) == pytest.approx(2e-6 * 8 * power, rel=0.3)
    else:
        # The spike is a mean on top of white noise, whose product with it is what shows: 2 |M|.
        assert np.std(more) == pytest.approx(2 * math.sqrt(2e-6 * 8 * power), rel=0.3)


class Recording:
    """Streams that note what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.streams = KeyedStreams(8)

    def __call__(self, purpose: str, /) -> np.random.Generator:
        self.asked.append(purpose)
        return self.streams(purpose)


@pytest.mark.parametrize(
    ("name", "depth", "asked"),
    [
        ("honest amplifier", "outcomes", ["outcome"]),
        ("honest amplifier, shaky", "outcomes", ["outcome", "phase"]),
        ("honest amplifier", "statistics", ["outcome", "residual", "count"]),
        ("honest amplifier, shaky", "statistics", ["outcome", "phase", "residual", "count"]),
        ("honest amplifier, shaky", "sample", ["outcome", "phase", "residual", "sample", "count"]),
        ("intercept-resend", "sample", ["outcome", "residual", "sample", "count"]),
        ("honest amplifier, shaky", "residuals", ["outcome", "phase", "residual", "count"]),
    ],
)
def test_each_purpose_is_asked_for_once(name: str, depth: str, asked: list[str]) -> None:
    q, x, pattern, counted = block()
    streams, law = Recording(), LAWS[name]
    if depth == "outcomes":
        sample_outcomes(law, q, x, streams)
    elif depth == "residuals":
        sample_residuals(law, q, x, pattern, counted, streams)
    elif depth == "statistics":
        sample_statistics(law, q, x, pattern, counted, streams)
    else:
        sample_statistics(law, q, x, pattern, counted, streams, use_sums=True, sampled=np.array([1, 4]))
    assert streams.asked == asked


def test_phase_of_the_returned_light_alone_leaves_the_outcomes() -> None:
    q, x, pattern, counted = block()
    law = LAWS["honest amplifier"]
    drifting = replace(law, total_phase_noise=0.3)
    y, calm = sample_statistics(law, q, x, pattern, counted, KeyedStreams(9))
    same, shaken = sample_statistics(drifting, q, x, pattern, counted, KeyedStreams(9))
    np.testing.assert_allclose(same, y, rtol=1e-12, atol=1e-12)
    assert shaken.statistics.sum_rr[~counted].sum() > calm.statistics.sum_rr[~counted].sum()


def test_complex_net_gain_alone() -> None:
    """A stage that only turns the addressed mode: the residual's mean leaves along Jx, nothing else happens."""
    law = LinkLaw(ClientLaw("turn", TapLaw(1j, 0.0, 0.0, 1.0, 2.0, 0.0)))
    check_residuals(law, law, 4)


def refusals() -> list[tuple[type[Exception], str, dict[str, Any]]]:
    q, x, pattern, counted = block()
    return [
        (ValueError, "shapes", {"q": q[:, :4]}),
        (ValueError, "shapes", {"q": q[:, :5], "x": x[:, :5]}),
        (ValueError, "shapes", {"q": q[0]}),
        (TypeError, "float32", {"q": q.astype(np.float32)}),
        (TypeError, "float32", {"q": q.astype(np.int64), "x": x.astype(np.int64)}),
        (ValueError, "at least one", {"x": x[:0]}),
        (ValueError, "pattern", {"pattern": pattern[:3]}),
        (ValueError, "pattern", {"pattern": pattern.astype(np.int64)}),
        (ValueError, "counted", {"counted": counted[:3]}),
        (ValueError, "unit vector", {"x": 1.01 * x}),
        (ValueError, "rising places", {"sampled": np.array([3, 1])}),
        (ValueError, "rising places", {"sampled": np.array([1, 1])}),
        (ValueError, "rising places", {"sampled": np.array([5])}),
        (ValueError, "rising places", {"sampled": np.array([-1])}),
        (ValueError, "rising places", {"sampled": np.array([0.0])}),
        (ValueError, "rising places", {"sampled": np.array([[1]])}),
        (ValueError, "offset", {"offset": q[0]}),
        (ValueError, "offset", {"offset": q.astype(np.int64)}),
    ]


@pytest.mark.parametrize(("error", "words", "change"), refusals())
def test_refusals(error: type[Exception], words: str, change: dict[str, Any]) -> None:
    q, x, pattern, counted = block()
    arguments: dict[str, Any] = {"q": q, "x": x, "pattern": pattern, "counted": counted} | change
    with pytest.raises(error, match=words):
        sample_statistics(LAWS["ideal amplifier"], streams=KeyedStreams(1), **arguments)
