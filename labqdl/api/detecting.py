"""How soon each cheat is found: power of the server's tests against measured symbols, counted and by theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text
from scipy import stats
from threadpoolctl import threadpool_limits

from labqdl.api.bounding import f2_db, point_on, with_untrusted
from labqdl.api.results import Printable, describe_point
from labqdl.errors import InputError
from labqdl.facts import OperatingPoint
from labqdl.rng import Roots
from labqdl.security.attacks import ATTACKS, Attack, Scene, alternative, geometry, simulate

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

POWER_SCHEMA = "labqdl.power/1"
DEFAULT_TRIALS = 400
DEFAULT_WORK = 4e9
"""Residuals, or slots, that one point of a curve may cost before it is left to theory alone."""
_CURVE = tuple(2.0 ** (-k / 2) for k in range(6, -2, -1))
"""Symbols of a curve's points over those of the stated power: an eighth to twice."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One point of a curve: symbols, power by theory, and counted power with its Clopper-Pearson interval (95 %).

    `counted` and `interval` are None where the point would have cost too much to draw.
    """

    symbols: int
    theory: float
    counted: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class PowerRow:
    """One cheat.

    Attributes
    ----------
    title, option, test:
        What it does, how `labqdl run` emulates it, and the test whose power is stated.
    symbols:
        Symbols that the wanted power needs: residuals, counted mode slots, or weights that were summed over `uses`.
    rows:
        The same in rows of light.
    uses:
        Uses of each weight; 1 but for the test across uses.
    points:
        The curve; the one at `symbols` is `stated`.
    """

    title: str
    option: str
    test: str
    symbols: int
    rows: float
    uses: int
    points: tuple[PowerPoint, ...]

    @property
    def stated(self) -> PowerPoint:
        """The point at the symbols that the wanted power needs."""
        return min(self.points, key=lambda point: abs(math.log(point.symbols / self.symbols)))


@dataclass(frozen=True, slots=True)
class PowerResult(Printable):
    """A study of power: at which point, at which rates, and one row for each cheat."""

    operating_point: OperatingPoint
    link: str
    f2_db: float
    n_modes: int
    alpha: float
    wanted: float
    trials: int
    seed: int
    rows: tuple[PowerRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl power --json`; schema `labqdl.power/1`."""
        return {
            "schema": POWER_SCHEMA,
            "link": self.link,
            "operating_point": {**asdict(self.operating_point), "f2_db": self.f2_db},
            "n_modes": self.n_modes,
            "alpha": self.alpha,
            "wanted": self.wanted,
            "trials": self.trials,
            "seed": self.seed,
            "attacks": [
                {
                    **asdict(row),
                    "points": [
                        {**asdict(point), "interval": None if point.interval is None else list(point.interval)}
                        for point in row.points
                    ],
                }
                for row in self.rows
            ],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield Text(f"link {self.link}: {describe_point(self.operating_point, self.f2_db)}, {self.n_modes} modes a row")
        yield Text()
        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"Symbols that find a cheat with probability {self.wanted:g}",
            title_justify="left",
            caption=(
                f"One-sided tests at a false-alarm rate of {self.alpha:g} each. Symbols are residuals, counted mode "
                f"slots, or weights summed over their uses. Counted: share of {self.trials:,} sessions with so many "
                "symbols, drawn by the exact sampler and judged by the checks that judge a run, with its 95 % "
                "interval; '-' where drawing them would take too long."
            ),
            caption_justify="left",
        )
        table.add_column("cheat")
        table.add_column("option", no_wrap=True)
        table.add_column("test", no_wrap=True)
        for heading in ("symbols", "rows", "theory", "counted"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            point = row.stated
            counted = "-"
            if point.counted is not None and point.interval is not None:
                counted = f"{point.counted:.3f} ({point.interval[0]:.3f} to {point.interval[1]:.3f})"
            table.add_row(
                row.title,
                row.option,
                row.test,
                f"{row.symbols:,}" if row.symbols < 1e7 else f"{row.symbols:.3g}",
                f"{row.rows:,.1f}" if row.rows < 1e4 else f"{row.rows:.3g}",
                f"{point.theory:.3f}",
                counted,
            )
        yield table


def power(
    *,
    attacks: Sequence[str] = (),
    mu: float | None = None,
    amplifier_gain: float | None = None,
    tap: str | None = None,
    tap_transmissivity: float | None = None,
    link: str | Path | None = None,
    transmissivity: float | None = None,
    n_modes: int = 392,
    alpha: float = 1e-6,
    wanted: float = 0.99,
    trials: int = DEFAULT_TRIALS,
    curves: bool = True,
    work: float = DEFAULT_WORK,
    seed: int = 1,
    on_attack: Callable[[int, int], None] | None = None,
) -> PowerResult:
    """Power of the server's tests against the named cheats.

    Parameters
    ----------
    attacks:
        Words that the cheats' titles, options or tests must contain, any of them; all cheats by default.
    mu, amplifier_gain, tap, tap_transmissivity, link:
        The agreed point and light path; the link `paper` (mu = 4, G = 2, ideal parts) by default.
    transmissivity:
        Further untrusted power transmissivity, half of it (in dB) on each leg.
    n_modes:
        Complex modes of a row.
    alpha, wanted:
        One-sided false-alarm rate of each test, and the power whose symbols are stated.
    trials:
        Sessions that are drawn for each point; 0 for theory alone.
    curves:
        Draw every point of the curve, not only the stated one.
    work:
        Symbols times sessions beyond which a point is left to theory.
    on_attack:
        Told how many cheats are done, and of how many.

    Raises
    ------
    InputError
        For impossible values; names the option.
    """
    chosen, point = point_on(link or "paper", mu, amplifier_gain, tap, tap_transmissivity)
    for name, value, low, high in (("--alpha", alpha, 0.0, 0.5), ("--wanted", wanted, alpha, 1.0)):
        if not low < value < high:
            raise InputError(f"{value!r}", source=name, expected=f"a number above {low:g} and below {high:g}")
    for name, count, least in (("--modes", n_modes, 2), ("--trials", trials, 0), ("--seed", seed, 0)):
        if count < least:
            raise InputError(f"{count}", source=name, expected=f"{least} or more")
    if not work > 0:
        raise InputError(f"{work!r}", source="--work", expected="a number above 0")
    ledger = with_untrusted(chosen.ledger, transmissivity, None)
    scene = Scene(point.mu, point.tap, ledger, n_modes)
    selected = _selected(attacks)
    rows = []
    # One BLAS thread: the order of summation, and with it every bit, then depends on the shapes alone.
    with threadpool_limits(limits=1, user_api="blas"):
        for index, attack in enumerate(selected):
            rows.append(_row(attack, scene, alpha, wanted, trials, curves, work, seed))
            if on_attack is not None:
                on_attack(index + 1, len(selected))
    return PowerResult(
        operating_point=point,
        link=chosen.name,
        f2_db=f2_db(point, ledger),
        n_modes=n_modes,
        alpha=alpha,
        wanted=wanted,
        trials=trials,
        seed=seed,
        rows=tuple(row for row in rows if row is not None),
    )


def _selected(words: Sequence[str]) -> list[Attack]:
    found = [
        attack
        for attack in ATTACKS
        if not words or any(word in f"{attack.title} {attack.option} {attack.test}" for word in words)
    ]
    if not found:
        raise InputError(
            f"no cheat has {' or '.join(repr(word) for word in words)} in its name",
            source="--attack",
            expected="part of one of: " + "; ".join(dict.fromkeys(attack.title for attack in ATTACKS)),
        )
    return found


def _row(
    attack: Attack, scene: Scene, alpha: float, wanted: float, trials: int, curves: bool, work: float, seed: int
) -> PowerRow | None:
    """A cheat's row; None where it makes no difference that any number of symbols shows."""
    found = alternative(attack, scene)
    try:
        symbols = found.symbols_needed(alpha, wanted)
    except ValueError:
        return None
    points: list[PowerPoint] = []
    for share in _CURVE if curves else (1.0,):
        rows, modes = geometry(attack, scene, max(1, round(share * symbols)))
        size = rows * modes
        if points and points[-1].symbols == size:
            continue
        counted, interval = None, None
        if trials and size * attack.uses * trials <= work:
            # Every point has numbers of its own: cheats that shared them would all be lucky at once.
            own = Roots.from_seed(seed + 1000 * (1 + 100 * ATTACKS.index(attack) + len(points)))
            hits = simulate(attack, scene, size, alpha, trials, own.world)
            proportion = stats.binomtest(hits, trials).proportion_ci(_CONFIDENCE, method="exact")
            counted, interval = hits / trials, (float(proportion.low), float(proportion.high))
        points.append(PowerPoint(size, found.power(size, alpha), counted, interval))
    return PowerRow(
        title=attack.title,
        option=attack.option,
        test=str(attack.test),
        symbols=symbols,
        rows=symbols / scene.n_modes,
        uses=attack.uses,
        points=tuple(points),
    )
