"""Moments of the sampler's draws, at all depths, against the brute-force propagation over all modes.

Every row is one independent replicate that sends the same q. A figure is a function of one replicate whose
expectation the brute force knows exactly; its deviation is given in standard errors. Fixed seeds; each deviation may
reach `LIMIT` = 6.8 standard errors (1e-11 two-sided), so that a whole run of some 36,000 figures raises a false alarm
with a probability below 1e-6.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import ReturnedLight, TapSetting
from labqdl.optics import client_law
from labqdl.optics.client_law import ClientLaw
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import Streams, sample_outcomes, sample_residuals, sample_statistics
from labqdl.rng import Roots
from tests.optics.bruteforce import (
    AmplifierBuild,
    Build,
    FeedForwardBuild,
    InterceptResend,
    Moments,
    PassiveTap,
    SymmetricCloner,
    VacuumSubstitution,
    generic_direction,
    interleaved,
    moments,
    monte_carlo,
)
from tests.optics.test_law_bruteforce import LEDGER, N_SP, SETTINGS, bench_of

Real = NDArray[np.float64]
SIZES = (1, 8, 32)
TAPS = ("balanced amplifier", "too little net gain", "feed-forward")
LIMIT = 6.8
IMAGES = 2
DARK, EXTINCTION = 0.02, 0.003


def streams(*key: int) -> Streams:
    world = Roots.from_seed(2024).world
    return lambda purpose: world.generator(purpose, *key)


def law_of(name: str) -> LinkLaw:
    law = LinkLaw.from_ledger(LEDGER, client_law.honest(LEDGER, SETTINGS[name][0]))
    return replace(law, dark_counts=DARK, extinction=EXTINCTION)


def score(values: Real, expected: float | Real) -> Real:
    """Deviation of means over the first axis from their expectations, in standard errors."""
    error = values.std(axis=0, ddof=1) / math.sqrt(values.shape[0])
    # A figure without any spread (no counts at all, say) must be exact.
    return np.asarray((values.mean(axis=0) - expected) / np.maximum(error, 1e-12))


class Block:
    """Inputs of one block and what the brute force expects of it."""

    def __init__(self, build: Build, n: int, rows: int) -> None:
        generator = np.random.default_rng(n)
        self.n, self.rows = n, rows
        self.bench = bench_of(build)
        self.u = [generic_direction(n, seed) for seed in range(IMAGES)]
        self.x = np.stack([interleaved(u) for u in self.u])
        self.q = generator.standard_normal(2 * n) * math.sqrt(8)
        self.all_q = np.asfortranarray(np.tile(self.q, (rows, 1)))
        self.pattern = generator.random(n) < 0.5
        self.chosen = 2 * np.arange(n) + self.pattern
        self.counted = np.arange(rows) % 2 == 1
        self.exact = [moments(self.bench, u) for u in self.u]
        total = self.bench.forward * self.bench.back
        self.expected = math.sqrt(total * self.bench.server_efficiency) * self.q
        self.displacement = math.sqrt(total * self.bench.counter_efficiency) * self.q
        sent = (self.q**2).reshape(n, 2).sum(axis=1) / 4
        self.background = DARK + EXTINCTION * self.bench.counter_efficiency * total * sent

    def residual_mean(self, exact: Moments) -> Real:
        return np.asarray((exact.homodyne_map @ self.q - self.expected)[self.chosen])

    def residual_covariance(self, exact: Moments) -> Real:
        return exact.covariance[1:, 1:][np.ix_(self.chosen, self.chosen)]

    def cross(self, exact: Moments) -> Real:
        return exact.covariance[0, 1:][self.chosen]

    def photons(self, exact: Moments) -> Real:
        return np.asarray(exact.photons(self.q, self.displacement) + self.background)


Figures = Iterator[tuple[str, Real]]


def outcome_figures(block: Block, y: Real) -> Figures:
    for image, exact in enumerate(block.exact):
        noise = y[image] - exact.outcome_map @ block.q
        yield "outcome mean", score(noise, 0.0)
        yield "outcome variance", score(noise**2, exact.covariance[0, 0])
    if IMAGES > 1:
        first, second = (y[i] - block.exact[i].outcome_map @ block.q for i in (0, 1))
        yield "outcomes of two images are independent", score(first * second, 0.0)


def depth_one(block: Block, law: LinkLaw) -> Figures:
    y = sample_outcomes(law, block.all_q, block.x, streams(1, block.n))
    yield from outcome_figures(block, np.asarray(y, dtype=np.float64))


def depth_two(
    block: Block, law: LinkLaw, *, use_sums: bool = False, sampled: NDArray[np.int64] | None = None
) -> Figures:
    drawn, returned = sample_statistics(
        law,
        block.all_q,
        block.x,
        block.pattern,
        block.counted,
        streams(2, block.n),
        use_sums=use_sums,
        sampled=sampled,
    )
    sums = returned.statistics
    y = np.asarray(drawn, dtype=np.float64)
    yield from outcome_figures(block, y)
    seen, counted = ~block.counted, block.counted
    q = block.q[block.chosen]
    means = [block.residual_mean(exact) for exact in block.exact]
    spreads = [block.residual_covariance(exact) for exact in block.exact]
    crosses = [block.cross(exact) for exact in block.exact]
    mean_qr = sum(float(q @ mean) for mean in means)
    mean_rr = sum(float(mean @ mean + np.trace(spread)) for mean, spread in zip(means, spreads, strict=True))
    qr, rr = sums.sum_qr[seen] - mean_qr, sums.sum_rr[seen] - mean_rr
    yield "sum q r", score(qr, 0.0)
    yield "sum r r", score(rr, 0.0)
    pairs = list(zip(means, spreads, strict=True))
    # (Jq) = (-P, X): on a measured X it is minus the sent P, on a measured P the sent X.
    j = np.where(block.pattern, 1.0, -1.0) * block.q[block.chosen ^ 1]
    jr = sums.sum_jr[seen] - sum(float(j @ mean) for mean in means)
    yield "sum j r", score(jr, 0.0)
    yield "variance of sum j r", score(jr**2, sum(float(j @ s @ j) for s in spreads))
    yield "sum q r with sum j r", score(qr * jr, sum(float(q @ s @ j) for s in spreads))
    yield "sum j r with sum r r", score(jr * rr, sum(float(2 * j @ s @ m) for m, s in zip(means, spreads, strict=True)))
    np.testing.assert_allclose(sums.sum_jj[seen], IMAGES * float(j @ j), rtol=1e-5)
    yield "variance of sum q r", score(qr**2, sum(float(q @ s @ q) for _, s in pairs))
    yield "variance of sum r r", score(rr**2, sum(float(2 * np.sum(s * s) + 4 * m @ s @ m) for m, s in pairs))
    yield "covariance of the sums", score(qr * rr, sum(float(2 * q @ s @ m) for m, s in pairs))
    mean_photons = sum(float(block.photons(exact).sum()) for exact in block.exact)
    photons = sums.photons[counted] - mean_photons
    yield "photons", score(photons, 0.0)
    # Gaussian light, Poisson counts: variance = mean + variance of the classical intensity.
    spread_photons = mean_photons
    for exact in block.exact:
        classical = exact.counted_covariance - np.eye(2 * block.n)
        mean = exact.counted_map @ block.q - block.displacement
        spread_photons += float(2 * np.sum(classical**2) + 4 * mean @ classical @ mean) / 16
    yield "variance of photons", score(photons**2, spread_photons)
    for image, exact in enumerate(block.exact):
        noise = y[image] - exact.outcome_map @ block.q
        cross, mean = crosses[image], means[image]
        yield "outcome with sum q r", score(noise[seen] * qr, float(q @ cross))
        yield "outcome with sum j r", score(noise[seen] * jr, float(j @ cross))
        yield "outcome with sum r r", score(noise[seen] * rr, float(2 * mean @ cross))
        yield "outcome squared with sum r r", score(noise[seen] ** 2 * rr, float(2 * cross @ cross))
        # The counter sees the same noise as a homodyne of both quadratures would, up to the receiver's efficiency.
        ratio = math.sqrt(block.bench.counter_efficiency / block.bench.server_efficiency)
        light = exact.covariance[0, 1:] * ratio
        amplitude = exact.counted_map @ block.q - block.displacement
        yield "outcome with photons", score(noise[counted] * photons, float(2 * amplitude @ light / 4))
        yield "outcome squared with photons", score(noise[counted] ** 2 * photons, float(2 * light @ light / 4))

    if returned.use_sums is not None:
        yield from figures_of_uses(block, y, returned, rr)
    if returned.sample is not None:
        assert sampled is not None
        np.testing.assert_array_equal(returned.sample.images, sampled)
        np.testing.assert_array_equal(returned.sample.rows, np.flatnonzero(seen))
        for place, image in enumerate(sampled):
            kept = np.asarray(returned.sample.residuals[place], dtype=np.float64)
            yield from figures_of_residuals(block, y, int(image), kept)
            residual = kept - block.residual_mean(block.exact[image])
            with_rr = 2 * spreads[image] @ means[image]
            yield "residuals of a sampled image with sum r r", score(residual * rr[:, None], with_rr)
            if returned.use_sums is not None:
                uses = np.asarray(returned.use_sums.sums[seen], dtype=np.float64)
                products = residual[:, :, None] * (uses - sum(means))[:, None]
                yield "residuals of a sampled image with use sums", score(products, spreads[image])


def figures_of_uses(block: Block, y: Real, returned: ReturnedLight, rr: Real) -> Figures:
    """Sums of uses against the brute force, with the outcomes, and with sum r r less its mean (homodyned rows,)."""
    assert returned.use_sums is not None
    seen, upper = ~block.counted, np.triu_indices(block.n)
    assert returned.use_sums.sums.dtype == np.float32
    assert returned.use_sums.images == IMAGES
    assert not returned.use_sums.sums[block.counted].any()
    sums = np.asarray(returned.use_sums.sums[seen], dtype=np.float64)
    # The other sums are those of the sums of uses, but for single precision.
    q = block.q[block.chosen]
    j = np.where(block.pattern, 1.0, -1.0) * block.q[block.chosen ^ 1]
    scale = 1e-5 * block.n * (1.0 + np.abs(sums).max())
    np.testing.assert_allclose(returned.statistics.sum_qr[seen], sums @ q, atol=scale * (1.0 + np.abs(q).max()))
    np.testing.assert_allclose(returned.statistics.sum_jr[seen], sums @ j, atol=scale * (1.0 + np.abs(j).max()))
    means = [block.residual_mean(exact) for exact in block.exact]
    spreads = [block.residual_covariance(exact) for exact in block.exact]
    uses = sums - sum(means)
    yield "use sums", score(uses, 0.0)
    yield "covariance of use sums", score(uses[:, upper[0]] * uses[:, upper[1]], np.asarray(sum(spreads))[upper])
    yield "squares of use sums", score((uses**2).sum(axis=1), float(sum(np.trace(s) for s in spreads)))
    with_rr = np.asarray(sum(2 * s @ m for s, m in zip(spreads, means, strict=True)))
    yield "use sums with sum r r", score(uses * rr[:, None], with_rr)
    yield (
        "squares of use sums with sum r r",
        score(uses**2 * rr[:, None], np.asarray(sum(2 * s**2 for s in spreads)).sum(axis=0)),
    )
    for image, exact in enumerate(block.exact):
        noise, cross = (y[image] - exact.outcome_map @ block.q)[seen], block.cross(exact)
        yield "outcome with use sums", score(noise[:, None] * uses, cross)
        yield "outcome with use sums along x", score(noise * (uses @ cross), float(cross @ cross))


def figures_of_residuals(block: Block, y: Real, image: int, residuals: Real) -> Figures:
    """Every residual of one image (homodyned rows, n) against the brute force."""
    exact, upper = block.exact[image], np.triu_indices(block.n)
    noise, cross = (y[image] - exact.outcome_map @ block.q)[~block.counted], block.cross(exact)
    residual = residuals - block.residual_mean(exact)
    yield "residual means", score(residual, 0.0)
    products = residual[:, upper[0]] * residual[:, upper[1]]
    yield "residual covariance", score(products, block.residual_covariance(exact)[upper])
    yield "outcome with residuals", score(noise[:, None] * residual, cross)
    yield "outcome with residuals along x", score(noise * (residual @ cross), float(cross @ cross))
    along = float(cross @ block.residual_covariance(exact) @ cross)
    yield "residuals along x", score((residual @ cross) ** 2, along)


def depth_three(block: Block, law: LinkLaw) -> Figures:
    drawn = sample_residuals(law, block.all_q, block.x, block.pattern, block.counted, streams(3, block.n))
    y = np.asarray(drawn.outcomes, dtype=np.float64)
    yield from outcome_figures(block, y)
    seen, counted = ~block.counted, block.counted
    for image, exact in enumerate(block.exact):
        noise = y[image] - exact.outcome_map @ block.q
        yield from figures_of_residuals(block, y, image, np.asarray(drawn.residuals[image], dtype=np.float64))
        counts = drawn.counts[image].astype(np.float64)
        yield "photons per mode", score(counts, block.photons(exact))
        yield "photons", score(counts.sum(axis=1), float(block.photons(exact).sum()))
        ratio = math.sqrt(block.bench.counter_efficiency / block.bench.server_efficiency)
        light = (exact.covariance[0, 1:] * ratio).reshape(block.n, 2)
        shared = noise[counted, None] ** 2 * (counts - block.photons(exact))
        yield "outcome squared with photons per mode", score(shared, (2 * light**2).sum(axis=1) / 4)
    if drawn.residuals.dtype == np.float32:
        return
    # The statistics of depth three are those of its own arrays.
    measured = block.q[block.chosen]
    residuals = np.asarray(drawn.residuals, dtype=np.float64)
    sums = drawn.statistics
    np.testing.assert_allclose(sums.sum_qr[seen], (residuals @ measured).sum(axis=0), atol=1e-9 * block.n)
    np.testing.assert_allclose(sums.sum_rr[seen], (residuals**2).sum(axis=(0, 2)), rtol=1e-12)
    turned = np.where(block.pattern, 1.0, -1.0) * block.q[block.chosen ^ 1]
    np.testing.assert_allclose(sums.sum_jr[seen], (residuals @ turned).sum(axis=0), atol=1e-9 * block.n)
    np.testing.assert_array_equal(sums.photons[counted], drawn.counts.sum(axis=(0, 2)))


DEPTHS: dict[str, Callable[[Block, LinkLaw], Figures]] = {
    "outcomes": depth_one,
    "statistics": depth_two,
    "use sums": functools.partial(depth_two, use_sums=True),
    "one image kept": functools.partial(depth_two, sampled=np.array([1])),
    "use sums, one image kept": functools.partial(depth_two, use_sums=True, sampled=np.array([0])),
    "use sums, all images kept": functools.partial(depth_two, use_sums=True, sampled=np.array([0, 1])),
    "residuals": depth_three,
}


@functools.cache
def block_of(name: str, n: int, rows: int) -> Block:
    return Block(SETTINGS[name][1], n, rows)


def worst(depth: str, block: Block, law: LinkLaw) -> tuple[float, str]:
    """Largest deviation of any figure, in standard errors, and its name."""
    return max((float(np.abs(z).max()), name) for name, z in DEPTHS[depth](block, law))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", TAPS)
def test_moments_of_the_sampler(name: str, n: int, depth: str) -> None:
    deviation, figure = worst(depth, block_of(name, n, 12_000), law_of(name))
    assert deviation < LIMIT, figure


@pytest.mark.parametrize("depth", DEPTHS)
def test_moments_in_single_precision(depth: str) -> None:
    block = Block(SETTINGS["too little net gain"][1], 8, 12_000)
    block.q = block.q.astype(np.float32).astype(np.float64)
    block.all_q = np.asfortranarray(np.tile(block.q, (block.rows, 1)).astype(np.float32))
    block.x = block.x.astype(np.float32)
    # The brute force follows the rounded directions; the sums of depth three are compared in double precision only.
    block.u = [np.asarray(x[0::2] + 1j * x[1::2], dtype=np.complex128) for x in block.x.astype(np.float64)]
    block.exact = [moments(block.bench, u / np.linalg.norm(u)) for u in block.u]
    total = block.bench.forward * block.bench.back
    block.expected = math.sqrt(total * block.bench.server_efficiency) * block.q
    block.displacement = math.sqrt(total * block.bench.counter_efficiency) * block.q
    deviation, figure = worst(depth, block, law_of("too little net gain"))
    assert deviation < LIMIT, figure


CHEATS: dict[str, tuple[ClientLaw, Build]] = {
    "intercept-resend, unit gain": (client_law.intercept_resend("unit"), InterceptResend(1.0)),
    "intercept-resend, MMSE": (client_law.intercept_resend("mmse", 4.0), InterceptResend(0.8)),
    "cloner": (client_law.cloner(), SymmetricCloner()),
    "substitution": (client_law.substitution("vacuum"), VacuumSubstitution()),
    "passive tap": (
        client_law.passive_tap(0.1, SETTINGS["feed-forward"][0], LEDGER),
        PassiveTap(0.1, FeedForwardBuild(0.7)),
    ),
}


@pytest.mark.parametrize("depth", [depth for depth in DEPTHS if depth != "outcomes"])
@pytest.mark.parametrize("name", CHEATS)
def test_moments_of_cheating_clients(name: str, depth: str) -> None:
    client, build = CHEATS[name]
    law = replace(LinkLaw.from_ledger(LEDGER, client), dark_counts=DARK, extinction=EXTINCTION)
    deviation, figure = worst(depth, Block(build, 8, 12_000), law)
    assert deviation < LIMIT, figure


# A strong tap on one mode shows the most of what the honest law is made of.
STRONG: dict[str, tuple[TapSetting, Build]] = {
    "strong amplifier": (TapSetting.amplifier(4.0, 0.3), AmplifierBuild(4.0, 0.3, N_SP)),
    "strong feed-forward": (TapSetting.feed_forward(0.1), FeedForwardBuild(0.1)),
}
STRONG_ROWS = 300_000


def tapped(factor: float, *names: str) -> Callable[[LinkLaw], LinkLaw]:
    def plant(law: LinkLaw) -> LinkLaw:
        changes = {name: getattr(law.client.tap, name) * factor for name in names}
        return replace(law, client=replace(law.client, tap=replace(law.client.tap, **changes)))

    return plant


def path(name: str) -> Callable[[LinkLaw], LinkLaw]:
    return lambda law: replace(law, **{name: getattr(law, name) * 0.95})


# More noise rather than less: less than a measurement must add is refused as no state of light.
OUTCOME: dict[str, Callable[[LinkLaw], LinkLaw]] = {
    "forward transmissivity": path("forward"),
    "outcome gain": tapped(0.95, "outcome_gain"),
    "outcome variance": tapped(1.05, "outcome_variance"),
}
RETURN: dict[str, Callable[[LinkLaw], LinkLaw]] = OUTCOME | {
    "return transmissivity": path("back"),
    "server efficiency": path("server_efficiency"),
    "counter efficiency": path("counter_efficiency"),
    "net gain": tapped(0.95, "net_gain"),
    "added noise": tapped(1.05, "d_x", "d_p"),
    "covariance": tapped(0.95, "covariance_x"),
}


@functools.cache
def strong(name: str) -> Block:
    return Block(STRONG[name][1], 1, STRONG_ROWS)


def strong_law(name: str) -> LinkLaw:
    law = LinkLaw.from_ledger(LEDGER, client_law.honest(LEDGER, STRONG[name][0]))
    return replace(law, dark_counts=DARK, extinction=EXTINCTION)


@pytest.mark.parametrize(
    ("depth", "planted"),
    [
        *(("outcomes", name) for name in OUTCOME),
        *((depth, name) for depth in ("statistics", "use sums", "residuals") for name in RETURN),
    ],
)
@pytest.mark.parametrize("name", STRONG)
def test_planted_errors_of_five_per_cent_are_caught(name: str, depth: str, planted: str) -> None:
    """Efficiency, gain, added noise and covariance, each wrong by 5 % in what is drawn."""
    assert worst(depth, strong(name), RETURN[planted](strong_law(name)))[0] > LIMIT


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", STRONG)
def test_without_a_planted_error_the_same_check_is_silent(name: str, depth: str) -> None:
    deviation, figure = worst(depth, strong(name), strong_law(name))
    assert deviation < LIMIT, figure


# --- phase noise -----------------------------------------------------------------------------------------------


def phase_figures(y: Real, residuals: Real, photons: Real, q: Real, j: Real) -> dict[str, Real]:
    """Per-replicate figures, compared between two Monte Carlo routes: y (rows,), residuals (rows, n), photons (rows,).

    Rows that are homodyned and rows that are counted are different replicates.
    """
    half = residuals.shape[0]
    seen, counted = y[:half], y[half:]
    return {
        "outcome": y,
        "outcome squared": y**2,
        "residuals": residuals,
        "residual squares": residuals**2,
        "sum q r": residuals @ q,
        "sum j r": residuals @ j,
        "sum r r": (residuals**2).sum(axis=1),
        "square of sum r r": (residuals**2).sum(axis=1) ** 2,
        "outcome with residuals": seen[:, None] * residuals,
        "outcome squared with sum r r": seen**2 * (residuals**2).sum(axis=1),
        "photons": photons,
        "outcome squared with photons": counted**2 * photons,
    }


def phase_deviation(depth: str, planted: float) -> float:
    """Largest difference between sampler and Wigner Monte Carlo in standard errors, phases scaled by `planted`."""
    n, rows, forward, receiver, back = 4, 60_000, 0.15, 0.1, 0.2
    block = block_of("too little net gain", n, 2 * rows)
    light = monte_carlo(block.bench, block.u[0], block.q, 2 * rows, np.random.default_rng(5), forward, back, receiver)
    measured = light.homodyned.reshape(2 * n, -1)[block.chosen].T - block.expected[block.chosen]
    moved = light.counted.reshape(2 * n, -1) - block.displacement[:, None]
    # Wigner samples: E[(X^2 + P^2)/4 - 1/2] is the photon number; products with outcomes commute likewise.
    number = (moved**2).sum(axis=0) / 4 - n / 2 + block.background.sum()
    q, j = block.q[block.chosen], np.where(block.pattern, 1.0, -1.0) * block.q[block.chosen ^ 1]
    wigner = phase_figures(light.outcome, measured[:rows], number[rows:], q, j)
    law = replace(
        law_of("too little net gain"),
        forward_phase_noise=planted * math.hypot(forward, receiver),
        total_phase_noise=planted * math.hypot(forward, back),
        common_phase_noise=planted * forward,
    )
    x = block.x[:1]
    counted = np.arange(2 * rows) >= rows
    if depth == "residuals":
        drawn = sample_residuals(law, block.all_q, x, block.pattern, counted, streams(4))
        y, photons = drawn.outcomes[0].astype(np.float64), drawn.counts[0].sum(axis=1).astype(np.float64)
        library = phase_figures(y, drawn.residuals[0].astype(np.float64), photons, q, j)
        keys = list(library)
    else:
        outcomes, returned = sample_statistics(law, block.all_q, x, block.pattern, counted, streams(4))
        sums = returned.statistics
        y, photons = outcomes[0].astype(np.float64), sums.photons[rows:].astype(np.float64)
        library = phase_figures(y, np.zeros((rows, n)), photons, q, j)
        rr = sums.sum_rr[:rows]
        library |= {
            "sum q r": sums.sum_qr[:rows],
            "sum j r": sums.sum_jr[:rows],
            "sum r r": rr,
            "square of sum r r": rr**2,
        }
        library["outcome squared with sum r r"] = y[:rows] ** 2 * rr
        keys = [key for key in library if "residual" not in key]

    def deviation(key: str) -> float:
        one, two = wigner[key], library[key]
        error = np.sqrt(one.var(axis=0) / one.shape[0] + two.var(axis=0) / two.shape[0])
        return float(np.max(np.abs(one.mean(axis=0) - two.mean(axis=0)) / error))

    return max(deviation(key) for key in keys)


@pytest.mark.parametrize("depth", ["statistics", "residuals"])
def test_phase_noise_agrees_with_wigner_samples(depth: str) -> None:
    assert phase_deviation(depth, 1.0) < LIMIT
    assert phase_deviation(depth, 1.1) > LIMIT
