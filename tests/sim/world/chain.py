"""Server's light, client's interferometer and tap, way back: rows of symbols through a world with ideal voltages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labqdl.facts.layout import FrameLayout
from labqdl_sim.world import Part, World
from labqdl_sim.world.interferometers import TimeBinTree, TimeBinTreeInverse
from labqdl_sim.world.receivers import ELECTRON, Homodyne
from labqdl_sim.world.taps import AmplifierTap, FeedForwardTap
from tests.sim.world.ideal import (
    BIN_RATE,
    Complex,
    Oscillator,
    Real,
    Source,
    delayed,
    directions,
    ideal_drives,
    modes,
    world,
)

POINTS = 2
BINS = 1 << 18
"""Bins of one block, at most."""


@dataclass(frozen=True, slots=True)
class Light:
    """What was sent and what came of it, one row a line.

    Attributes
    ----------
    sent, returned:
        Mode amplitudes at the client's input and output, square roots of photons; (rows, n_modes).
    u:
        The direction of each row; (rows, n_modes).
    outcome:
        The client's, as its receiver gives it (feed-forward: referred to the tap's input); (rows,).
    residual:
        Homodyned quadratures less the sent ones; (rows, n_modes).
    turned:
        Which ones are P; (rows, n_modes).
    """

    sent: Complex
    returned: Complex
    u: Complex
    outcome: Real
    residual: Real
    turned: NDArray[np.bool_]

    @property
    def signal(self) -> Complex:
        """X_b + i P_b at the client's input; (rows,)."""
        addressed: Complex = 2.0 * np.einsum("ij,ij->i", np.conj(self.u), self.sent)
        return addressed

    @property
    def along(self) -> tuple[Real, Real]:
        """a and b: what x and Jx are on the measured quadratures; (rows, n_modes) each."""
        return (
            np.where(self.turned, self.u.imag, self.u.real),
            np.where(self.turned, self.u.real, -self.u.imag),
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One honest or dishonest client.

    Attributes
    ----------
    kind, tap:
        "feed-forward" or "amplifier" and its parameters; for an amplifier, efficiency and noise are those of the
        receiver behind it. "none": the light goes from `before` to the server, there is no client.
    forward, back:
        Power transmissivities of what `before` and `behind` add: light is referred to the planes between them.
    last:
        Name of the part whose output goes to the server, where `kind` is "none" and it is not the one of `before`.
    before, behind:
        Parts in front of the interferometer and behind its inverse: what adds them to a world, and the name of the
        added part.
    """

    n_modes: int
    kind: str
    tap: Mapping[str, float]
    efficiency: float = 1.0
    noise: float = 0.0
    mu: float = 4.0
    tree: Mapping[str, float] | None = None
    before: Callable[[World], Part] | None = None
    behind: Callable[[World], Part] | None = None
    server_efficiency: float = 1.0
    server_noise: float = 0.0
    forward: float = 1.0
    back: float = 1.0
    last: str = ""


def client(setting: Setting, seed: int, u: Complex, layout: FrameLayout, symbols: Complex) -> World:
    """The world of one block."""
    made = world(POINTS, seed)
    source = made.add(Source, "source")
    source.symbols = symbols.ravel()
    if setting.kind == "none":
        assert setting.before is not None
        first = setting.before(made).name
        made.link("source", first)
        last = setting.last or first
        receiver(made, "server", setting.server_efficiency, setting.server_noise, last, "output")
        return made
    late = setting.n_modes / BIN_RATE
    given = {"n_modes": setting.n_modes, "bin_rate": BIN_RATE, **(setting.tree or {})}
    tree, back = made.add(TimeBinTree, "tree", given), made.add(TimeBinTreeInverse, "back", given)
    drives = ideal_drives(u, layout)
    for part, voltages in ((tree, drives), (back, delayed(drives, late))):
        for port, volts in voltages.items():
            part.connect_volts(port, volts)
    if setting.kind == "feed-forward":
        own = {"efficiency": setting.efficiency, "noise": setting.noise, "readout_bandwidth": 0.0}
        made.add(FeedForwardTap, "tap", {**own, **setting.tap})
    else:
        made.add(AmplifierTap, "tap", setting.tap)
        receiver(made, "client", setting.efficiency, setting.noise, "tap", "tap")
    into = "source"
    if setting.before is not None:
        into = setting.before(made).name
        made.link("source", into)
    made.link(into, "tree")
    made.link("tree", "tap", "carry")
    made.link("tap", "back", "output", "carry")
    made.link("tree", "back", "residual", "residual")
    last = "back"
    if setting.behind is not None:
        last = setting.behind(made).name
        made.link("back", last)
    receiver(made, "server", setting.server_efficiency, setting.server_noise, last, "output")
    return made


def receiver(made: World, name: str, efficiency: float, noise: float, source: str, port: str) -> None:
    """A balanced homodyne receiver with a local oscillator of its own; `noise` of its electronics in SNU."""
    oscillator = made.add(Oscillator, f"{name} lo")
    current = ELECTRON * math.sqrt(2.0 * efficiency * oscillator.flux * noise)
    given = {"efficiency": efficiency, "noise": current, "visibility": 1.0, "cmrr_db": math.inf, "bandwidth": 0.0}
    made.add(Homodyne, name, {**given, "swing": math.inf, "saturation": math.inf})
    made.link(source, name, port, "signal")
    made.link(oscillator.name, name, port_in="lo")


def homodyned(made: World, name: str, start: float, shape: tuple[int, int, int]) -> Real:
    """Quadratures of whole bins in shot-noise units, (rows, n_modes)."""
    part, flux = made.parts[name], Oscillator.flux
    volts = made.volts_of(name, "output")(made.grid(start, math.prod(shape)).instants)
    unit = part["transimpedance"] * ELECTRON * math.sqrt(part["efficiency"] * flux / made.step)
    integrated: Real = volts.reshape(shape).sum(axis=2) / (unit * math.sqrt(shape[2]))
    return integrated


def stream(setting: Setting, bins: int, seed: int, rows_a_direction: int = 64) -> Iterator[Light]:
    """Light of at least so many bins, block by block, with fresh directions and weights."""
    n = setting.n_modes
    blocks = -(-bins // BINS)
    images = max(-(-bins // (blocks * n * rows_a_direction)), 1)
    for block in range(blocks):
        generator = np.random.default_rng([seed, block])
        layout = FrameLayout(n, images, rows_a_direction, BIN_RATE, guard_rows=0, preamble_rows=1, pilot_every=0)
        u = directions(generator, images, n)
        shape = (images, rows_a_direction, n)
        data = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
        data *= math.sqrt(setting.mu / 2)
        made = client(setting, (seed << 20) + block, u, layout, layout.symbols(data, 0.0))
        yield measured(setting, made, layout, u, generator)


def measured(setting: Setting, made: World, layout: FrameLayout, u: Complex, generator: np.random.Generator) -> Light:
    """Outcomes and residuals of the data rows of one block."""
    n, rows = setting.n_modes, layout.data_rows.ravel()
    shape = (layout.total_rows, n, POINTS)
    sent = modes(made.light_of("source", "output")(made.grid(0.0, layout.bins * POINTS)), shape, made.step)[rows]
    sent *= math.sqrt(setting.forward)
    late = n / BIN_RATE
    if setting.kind == "feed-forward":
        instants = made.grid(late, layout.bins * POINTS).instants
        volts: Real = made.volts_of("tap", "meter_x")(instants).reshape(shape)[rows, -1]
        units = volts.sum(axis=1) * (math.sqrt(made.step / POINTS) / made.parts["tap"]["density"])
        outcome: Real = np.asarray(units) * math.sqrt(2.0 / (setting.efficiency * (1.0 - setting.tap["t"])))
    elif setting.kind == "amplifier":
        outcome = homodyned(made, "client", late, shape)[rows, -1]
    else:
        late, outcome = 0.0, np.zeros(rows.size)
    back = made.parts["server"].field("signal", made.grid(2 * late, layout.bins * POINTS))
    returned = modes(back, shape, made.step)[rows] / math.sqrt(setting.back)
    turned = generator.integers(0, 2, (layout.total_rows, n)).astype(np.bool_)
    oscillator = made.parts["server lo"]
    assert isinstance(oscillator, Oscillator)
    oscillator.start, oscillator.phases = 2 * late, np.where(turned.ravel(), np.pi / 2, 0.0)
    turned = turned[rows]
    expected = 2.0 * math.sqrt(setting.back * setting.server_efficiency) * np.where(turned, sent.imag, sent.real)
    residual = homodyned(made, "server", 2 * late, shape)[rows] - expected
    return Light(sent, returned, np.repeat(u, layout.rows, axis=0), outcome, residual, turned)
