"""Named cheats as alternatives of the tests: what each does to the statistics, and how often it is found.

An `Attack` is a law of returned light beside the honest one. Its power has a closed form (`sample_size`), and can be
counted: light is drawn by the exact sampler and judged by the checks that judge a session. Derivations and the table
of symbols: docs/physics.md, "Adversaries".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import (
    Activation,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    Owner,
    Place,
    RowStatistics,
    TapSetting,
    TestResult,
    VerificationPlan,
)
from labqdl.optics import client_law
from labqdl.optics.expectation import mean_gain, mean_photons_per_row, mean_square_residual
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import Streams, sample_statistics
from labqdl.rng import Root
from labqdl.security.checks import count_check, cross_use_check, gain_check, noise_check
from labqdl.security.cross_use import UseAccumulator
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers
from labqdl.security.sample_size import Alternative, Test

_IMAGES = 4096
"""Images that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an attack takes place.

    Attributes
    ----------
    mu:
        Mean photons per mode at the server's output.
    tap:
        The agreed gain-and-tap stage.
    ledger:
        The agreed light path; all of its loss may be in the client's hands.
    n_modes:
        Complex modes of a row.
    """

    mu: float
    tap: TapSetting
    ledger: Ledger
    n_modes: int

    @property
    def honest(self) -> LinkLaw:
        """The agreed client in the agreed path."""
        return LinkLaw.from_ledger(self.ledger, client_law.honest(self.ledger, self.tap))

    def layer(self, rows: int = 1) -> HonestLayer:
        """The server's expectation of rows of isotropic weights and data."""
        frame = FrameDescription(
            "power",
            (LayerFrame(rows, 2 * self.n_modes, False, self.mu, None, Activation()),),
            1,
            1,
            self.tap,
            self.ledger,
            VerificationPlan(),
            Budgets(),
        )
        return honest_layers(frame, [LayerLight(alignment=1 / (2 * self.n_modes))])[0]


@dataclass(frozen=True, slots=True)
class Attack:
    """One cheat and the test that finds it first.

    Attributes
    ----------
    title:
        What it does, for tables.
    option:
        The option of `labqdl run` that emulates it.
    test:
        The test whose power is stated.
    build:
        Its law in a scene; a cheat who measures isotropically has replaced the path by a lossless one.
    uses:
        Uses of each weight that are summed, for the test across uses.
    offset:
        Variance of what is added to every use in the same way, for a scene; SNU at the client's output.
    """

    title: str
    option: str
    test: Test
    build: Callable[[Scene], LinkLaw]
    uses: int = 1
    offset: Callable[[Scene], float] = lambda scene: 0.0


def _everywhere(scene: Scene, client: client_law.ClientLaw) -> LinkLaw:
    return LinkLaw.from_ledger(scene.ledger, client).with_lossless_fibre()


def _in_place(scene: Scene, client: client_law.ClientLaw) -> LinkLaw:
    return LinkLaw.from_ledger(scene.ledger, client)


def _tapped(scene: Scene, fraction: float) -> LinkLaw:
    taps = (
        Component("outside tap on the way out", Place.FORWARD, Owner.CHANNEL, transmissivity=1 - fraction),
        Component("outside tap on the way back", Place.RETURN, Owner.CHANNEL, transmissivity=1 - fraction),
    )
    world = replace(scene.ledger, components=scene.ledger.components + taps)
    return LinkLaw.from_ledger(world, client_law.honest(world, scene.tap), expected=scene.ledger)


def intercept_resend(gain: str = "unit") -> Attack:
    """Heterodynes everything and sends what it read, or its best estimate."""

    def build(scene: Scene) -> LinkLaw:
        return _everywhere(scene, client_law.intercept_resend(gain, scene.mu))

    option = "intercept-resend" if gain == "unit" else "intercept-resend-mmse"
    return Attack(option.replace("-mmse", ", best estimate"), f"--client {option}", Test.NOISE, build)


def passive_tap(fraction: float) -> Attack:
    """Splits off a power fraction of all light."""
    return Attack(
        f"passive tap of {fraction:g}",
        f"--client passive-tap:{fraction:g}",
        Test.GAIN,
        lambda scene: _in_place(scene, client_law.passive_tap(fraction, scene.tap, scene.ledger)),
    )


def over_amplification(gain: float, test: Test = Test.NOISE) -> Attack:
    """Uses more gain than agreed; found by homodyne (`Test.NOISE`) or by counting (`Test.COUNT`)."""
    return Attack(
        f"over-amplification to {gain:g}",
        f"--client over-amplification:{gain:g}",
        test,
        lambda scene: _in_place(scene, client_law.over_amplification(scene.tap, gain, scene.ledger)),
    )


def cloner(noise: float) -> Attack:
    """Keeps an optimal Gaussian clone in place of the agreed stage; 1 is the symmetric one."""
    kind = "symmetric cloner" if noise == 1 else f"cloner of {noise:g} SNU"
    return Attack(
        kind, f"--client cloner:{noise:g}", Test.NOISE, lambda scene: _everywhere(scene, client_law.cloner(noise))
    )


def cloner_before(noise: float, test: Test = Test.NOISE) -> Attack:
    """Keeps an optimal Gaussian clone, made at the server's output, and passes the other one to the agreed stage."""

    def build(scene: Scene) -> LinkLaw:
        law = _in_place(scene, client_law.honest(scene.ledger, scene.tap))
        coupling = law.client.tap.outcome_gain
        noisy = replace(law.client, isotropic_noise=noise * law.forward, isotropic_coupling=coupling)
        return replace(law, client=noisy)

    return Attack(f"cloner of {noise:g} SNU before the stage", f"--client spiking:{noise:g}", test, build)


def substitution() -> Attack:
    """Keeps all light and returns vacuum."""
    return Attack(
        "substitution by vacuum",
        "--client substitution",
        Test.NOISE,
        lambda scene: _everywhere(scene, client_law.substitution()),
    )


def estimate(variance: float) -> Attack:
    """Keeps all light and returns an estimate, whose errors are independent from weight to weight."""
    return Attack(
        f"substitution, estimate off by {variance:g} SNU",
        f"--client estimate:{variance:g}",
        Test.NOISE,
        lambda scene: _everywhere(scene, client_law.substitution("estimate", variance)),
    )


def outside_tap(fraction: float) -> Attack:
    """An outsider splits off a power fraction on each leg."""
    return Attack(
        f"outside tap of {fraction:g}, both legs",
        f"--channel outside-tap:{fraction:g}",
        Test.GAIN,
        lambda scene: _tapped(scene, fraction),
    )


def coherent(uses: int) -> Attack:
    """One meter for so many uses of a weight, which adds as much noise to each as the agreed stage does on average."""

    def offset(scene: Scene) -> float:
        return scene.honest.client.tap.added_noise / scene.n_modes

    return Attack(
        f"coherent meter over {uses} uses",
        "--client coherent",
        Test.CROSS_USE,
        lambda scene: _in_place(scene, client_law.coherent_meter(offset(scene))),
        uses=uses,
        offset=offset,
    )


ATTACKS: tuple[Attack, ...] = (
    intercept_resend(),
    intercept_resend("mmse"),
    passive_tap(0.001),
    passive_tap(0.01),
    passive_tap(0.1),
    over_amplification(2.2),
    over_amplification(3),
    over_amplification(10),
    over_amplification(2.2, Test.COUNT),
    over_amplification(3, Test.COUNT),
    over_amplification(10, Test.COUNT),
    cloner(1),
    cloner_before(0.1),
    cloner_before(0.01),
    cloner_before(0.01, Test.COUNT),
    substitution(),
    estimate(0.25),
    estimate(0.02),
    outside_tap(0.001),
    outside_tap(0.01),
    coherent(10),
    coherent(100),
)
"""The cheats of the table in docs/physics.md, in its order."""


def alternative(attack: Attack, scene: Scene) -> Alternative:
    """What the attack makes of its test's statistic in a scene, averaged over isotropic weights and data."""
    return alternative_of(attack.test, attack.build(scene), scene, attack.uses * attack.offset(scene))


def alternative_of(test: Test, law: LinkLaw, scene: Scene, repeated: float = 0.0) -> Alternative:
    """What light of this law makes of a test's statistic.

    repeated: variance that all uses together add to the sum over them, SNU at the client's output (CROSS_USE).
    """
    honest, n_modes = scene.honest, scene.n_modes
    if test is Test.COUNT:
        agreed, found = _counted(honest, scene), _counted(law, scene)
        return Alternative(
            test,
            found.addressed / agreed.addressed,
            n_modes=n_modes,
            photons=agreed.addressed,
            background=agreed.thermal,
            dark=agreed.steady,
            isotropic=found.thermal - agreed.thermal,
            stray=found.steady - agreed.steady,
        )
    variance = mean_square_residual(honest, n_modes, scene.mu)
    if test is Test.GAIN:
        shift = mean_gain(law, n_modes) - mean_gain(honest, n_modes)
        return Alternative(test, shift, variance=variance, light=2 * scene.mu)
    # Fresh noise of a single use, and what repeats, which every further use adds to.
    square = mean_square_residual(law, n_modes, scene.mu) + law.back * law.server_efficiency * repeated
    return Alternative(test, square / variance)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Mean counts: thermal on a row's addressed mode, and thermal and steady ones per slot.

    Steady are dark counts and what nulling leaves: imperfect extinction, phase noise, a wrong gain.
    """

    addressed: float
    thermal: float
    steady: float


def _counted(law: LinkLaw, scene: Scene) -> _Counted:
    addressed = law.counter_efficiency * (law.counter.spike_x + law.counter.spike_p) / 4
    thermal = law.counter_efficiency * law.counter.floor / 2
    steady = mean_photons_per_row(law, scene.n_modes, scene.mu) / scene.n_modes - thermal - addressed / scene.n_modes
    return _Counted(addressed, thermal, max(steady, 0.0))


def geometry(attack: Attack, scene: Scene, symbols: int) -> tuple[int, int]:
    """Rows and modes a row that make about so many symbols, with `n_modes` modes a row where there are many rows.

    Fewer than a row's symbols are a shorter row; counted rows are always whole.
    """
    if attack.test is Test.COUNT:
        return max(1, round(symbols / scene.n_modes)), scene.n_modes
    rows = max(1, math.ceil(symbols / scene.n_modes))
    return rows, max(1, round(symbols / rows))


def simulate(attack: Attack, scene: Scene, symbols: int, alpha: float, trials: int, root: Root) -> int:
    """How many of `trials` sessions of about so many symbols the attack's test finds, one-sided at alpha.

    Each trial is a row of random weights that meets as many random data vectors as make the symbols (`geometry`); for
    the gain test all rows have the same light, as many independent rows would have.
    The mean excess per mode of the agreed stage stays the scene's where a row is shorter or longer than agreed.
    Checks are two-sided, so a trial counts as found at p <= 2 alpha.
    """
    rows, n_modes = geometry(attack, scene, symbols)
    scale = n_modes / scene.n_modes
    law, layer = _scaled(attack.build(scene), scale), _scaled_layer(scene, n_modes, scale)
    if attack.test is Test.CROSS_USE:
        return _found_across_uses(attack, scene, law, (rows, n_modes), alpha, trials, root)
    generator = root.generator("weights")
    q = math.sqrt(2 * scene.mu) * generator.standard_normal((trials, 2 * n_modes), dtype=np.float32)
    counted = np.full(trials, attack.test is Test.COUNT)
    pattern = root.bits("pattern", count=n_modes)
    if attack.test is Test.GAIN:
        measured = q[:, 2 * np.arange(n_modes) + pattern]
        q *= math.sqrt(2 * scene.mu * n_modes) / np.linalg.norm(measured, axis=1, keepdims=True)
    parts = []
    for block, start in enumerate(range(0, rows, _IMAGES)):
        x = _directions(root, block, min(_IMAGES, rows - start), n_modes)
        _, light = sample_statistics(law, q, x, pattern, counted, _streams(root, block))
        parts.append(light.statistics)
    totals = _by_row(parts, np.sum(np.square(q, dtype=np.float64), axis=1))

    def check(part: Totals) -> TestResult:
        judge = {Test.GAIN: gain_check, Test.NOISE: noise_check, Test.COUNT: count_check}[attack.test]
        return judge([layer], [part], 2 * alpha)

    if attack.test is Test.GAIN:
        return sum(not check(part).passed for part in totals)
    # The p-value is monotone on either side of the honest mean, and the same function for all trials.
    values = [part.photons if attack.test is Test.COUNT else part.rr for part in totals]
    order = np.argsort(values)
    ranked = [totals[index] for index in order]
    middle = _first(len(ranked), lambda k: values[order[k]] > _honest_mean(attack.test, layer, ranked[k]))
    low = _first(middle, lambda k: check(ranked[k]).passed)
    high = middle + _first(len(ranked) - middle, lambda k: not check(ranked[middle + k]).passed)
    return low + len(ranked) - high


def _honest_mean(test: Test, layer: HonestLayer, part: Totals) -> float:
    law = layer.count(part, high=True) if test is Test.COUNT else layer.noise(part, high=True)
    return law.mean


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """First of `count` indices at which a condition holds that stays true from there on; `count` if none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _streams(root: Root, key: int) -> Streams:
    return lambda purpose: root.generator(purpose, key)


def _directions(root: Root, block: int, images: int, n_modes: int) -> NDArray[np.float32]:
    x = root.generator("data", block).standard_normal((images, 2 * n_modes), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def _scaled(law: LinkLaw, scale: float) -> LinkLaw:
    """The law with the directed noise scaled, so that its mean over a row of another length is the same."""
    tap = law.client.tap
    root = math.sqrt(scale)
    tap = replace(
        tap,
        d_x=scale * tap.d_x,
        d_p=scale * tap.d_p,
        covariance_x=root * tap.covariance_x,
        covariance_p=root * tap.covariance_p,
    )
    return replace(law, client=replace(law.client, tap=tap))


def _scaled_layer(scene: Scene, n_modes: int, scale: float, rows: int = 1) -> HonestLayer:
    layer = replace(scene, n_modes=n_modes).layer(rows)
    names = ("spike_x", "spike_p", "photons_x", "photons_p")
    scaled: dict[str, Any] = {name: scale * getattr(layer, name) for name in names}
    return replace(layer, **scaled)


def _by_row(parts: list[RowStatistics], energy: NDArray[np.float64]) -> list[Totals]:
    """Sums of every row over the blocks."""

    def column(name: str) -> list[Any]:
        total: list[Any] = sum(getattr(part, name) for part in parts).tolist()
        return total

    images = sum(part.images for part in parts)
    columns = zip(
        parts[0].counted.tolist(),
        energy.tolist(),
        *(column(name) for name in ("sum_qq", "sum_qr", "sum_rr", "sum_jj", "expected_photons_signal")),
        *(column(name) for name in ("residuals", "photons", "slots")),
        strict=True,
    )
    return [
        Totals(
            qq=qq,
            qr=qr,
            rr=rr,
            jj=jj,
            energy=0.0 if counted else images * whole,
            signal=signal,
            residuals=residuals,
            homodyned=0 if counted else images,
            photons=photons,
            slots=slots,
            counted=images if counted else 0,
            images=images,
        )
        for counted, whole, qq, qr, rr, jj, signal, residuals, photons, slots in columns
    ]


def _found_across_uses(
    attack: Attack, scene: Scene, law: LinkLaw, shape: tuple[int, int], alpha: float, trials: int, root: Root
) -> int:
    """Trials whose sums over uses are found: each a block of rows that meets as many data vectors as there are uses."""
    rows, n_modes = shape
    layer = _scaled_layer(scene, n_modes, n_modes / scene.n_modes, rows)
    pattern, counted = root.bits("pattern", count=n_modes), np.zeros(rows, dtype=np.bool_)
    deviation = math.sqrt(attack.offset(scene))
    found = 0
    for trial in range(trials):
        generator = root.generator("weights", trial)
        q = math.sqrt(2 * scene.mu) * generator.standard_normal((rows, 2 * n_modes), dtype=np.float32)
        offset = np.float32(deviation) * generator.standard_normal((rows, 2 * n_modes), dtype=np.float32)
        x = _directions(root, trial, attack.uses, n_modes)
        _, light = sample_statistics(law, q, x, pattern, counted, _streams(root, trial), use_sums=True, offset=offset)
        assert light.use_sums is not None
        accumulator = UseAccumulator(rows, n_modes)
        accumulator.add(light.use_sums, pattern, counted)
        energy = np.sum(np.square(q, dtype=np.float64), axis=1)
        totals = Totals.from_rows(light.statistics, energy)
        found += not cross_use_check([layer], [totals], [accumulator.totals(energy)], 2 * alpha).passed
    return found
