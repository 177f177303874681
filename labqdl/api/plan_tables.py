"""A plan on a terminal: the point, what leaks there, what it asks for, or what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labqdl.api.results import describe_point
from labqdl.api.tables import assumption_notes, leakage_table, percent
from labqdl.facts import OperatingPoint, TapKind
from labqdl.planner.question import Aim, Judge, Question
from labqdl.planner.search import Point
from labqdl.planner.verification import symbols_per_image
from labqdl.units import counted, to_db

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labqdl.api.planning import PlanResult

_MOST_COSTS = 6
_MOST_OBSTACLES = 6
_YEAR = 365.25 * 86400.0


def plan_summary(result: PlanResult) -> Iterator[RenderableType]:
    """A plan on one or two screens."""
    question = result.answer.question
    yield Text(f"link {result.link}, {target_words(question, result.model)}")
    yield Text()
    yield _verdict(result)
    yield Text()
    best = result.best
    if best is None:
        return
    yield _point(result, best.point)
    yield Text()
    if len(result.answer.alternatives) > 1:
        yield _alternatives(result)
    yield leakage_table(result.leakage)
    if result.answer.obstacles:
        return
    if result.costs:
        yield _costs(result)
    if result.demands:
        yield from _demands(result)
    if result.certifications:
        yield from _verification(result)
    if result.trade_off:
        yield _trade_off(result)
    if result.encodings:
        yield from _encodings(result)
    yield from assumption_notes(result.leakage)


def target_words(question: Question, model: str | None) -> str:
    """The question in a few words."""
    if question.accuracy is not None:
        assured = " at the lower end of the interval" if question.assured else ""
        words = f"{model} at {100 * question.accuracy:g} %{assured}"
    elif question.f2_db is not None:
        words = f"{question.subject.name} at F² = {question.f2_db:g} dB"
    else:
        words = f"{model} as accurate as the limits allow"
    limits = []
    if question.bits_per_weight is not None:
        limits.append(f"at most {question.bits_per_weight:g} bit per weight")
    if question.bits_per_feature is not None:
        limits.append(f"at most {question.bits_per_feature:g} bit per feature")
    if question.weight_uses > 1 and limits:
        limits.append(f"after {question.weight_uses:,} uses of the same weights")
    aim = {
        Aim.MARGIN: "with the widest margin",
        Aim.WEIGHTS: "with the least leakage of the weights",
        Aim.DATA: "with the least leakage of the data",
        Aim.ACCURACY: "",
    }[question.aim]
    return ", ".join(part for part in (words, *limits, aim) if part)


def stage_words(point: Point) -> str:
    """Tap and setting in a few words."""
    if point.setting.kind is TapKind.AMPLIFIER:
        words = f"amplifier, G = {point.setting.amplifier_gain:.6g}"
    else:
        words = f"feed-forward, t = {point.setting.tap_transmissivity:.6g}"
    return words if point.stage.build is None else f"{words} ({point.stage.name})"


def seconds_words(seconds: float) -> str:
    """A time with a unit that a person would take."""
    for unit, size in (("years", _YEAR), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("s", 1.0)):
        if seconds >= (2.0 if unit != "s" else 1.0) * size:
            return f"{seconds / size:,.3g} {unit}"
    for unit, size in (("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def _verdict(result: PlanResult) -> Text:
    if result.feasible:
        best = result.best
        assert best is not None
        words = f": {best.point.weights:.3g} bit per weight and {best.point.data:.3g} bit per feature leak at most"
        text = Text.assemble(("FEASIBLE", "bold blue"), words + _judged(result.answer.question))
        beyond = [demand.name for demand in result.demands if demand.reached is False]
        if beyond:
            limit = {"tap", "phase-noise", "untrusted-loss"} & set(beyond)
            words = "A limit of theory, not a bench: it asks" if limit else "It asks"
            text.append(
                f"\n{words} for more than benches are known to reach in {counted(len(beyond), 'respect')} (below)."
            )
        return text
    text = Text.assemble(("NOT FEASIBLE", "bold magenta"), ". What stands in the way:")
    shown = result.answer.obstacles[:_MOST_OBSTACLES]
    for obstacle in shown:
        text.append(f"\n  - {obstacle.words}")
    if len(result.answer.obstacles) > len(shown):
        text.append(f"\n  and {len(result.answer.obstacles) - len(shown)} more (--json has all)")
    reachable = result.answer.reachable
    if reachable is not None:
        text.append(f"\nWithin the limits this link allows F² = {reachable.f2_db:.2f} dB")
        curve = result.answer.question.subject.curve
        if curve is not None:
            text.append(f", where {result.model} reaches {100 * result.reachable_accuracy:.2f} %")
        text.append(f" ({stage_words(reachable.point)}, mu = {reachable.point.mu:.4g}).")
    if result.best is not None:
        point = result.best.point
        text.append(
            f"\nThe closest point leaks {point.weights:.3g} bit per weight and {point.data:.3g} bit per feature"
            f"{_judged(result.answer.question)}:"
        )
    return text


def _judged(question: Question) -> str:
    words = " (mean over all weights)" if question.judge is Judge.MEAN else ""
    return f"{words}, {question.weight_uses:,} uses together" if question.weight_uses > 1 else words


def _point(result: PlanResult, point: Point) -> Table:
    best = result.best
    assert best is not None
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("light and tap", describe_point(OperatingPoint(point.mu, point.setting), best.f2_db))
    for index, (layer, f2_db) in enumerate(zip(point.layers, result.layers_f2_db, strict=True)):
        grid.add_row(
            f"layer {index + 1}",
            f"{layer.rows:,} rows of {layer.n_modes:,} modes, mu = {layer.mu:.4g}, F² = {f2_db:.2f} dB, "
            f"{point.layer_weights[index]:.3g} bit per weight",
        )
    curve = result.answer.question.subject.curve
    if curve is not None:
        grid.add_row("accuracy", f"{percent(result.accuracy, result.accuracy_interval, 1)} on {curve.measured_on}")
    slots = symbols_per_image(point)
    seconds = seconds_words(slots / result.symbol_rate)
    grid.add_row("one inference", f"{slots:,} symbols each way, {seconds} at {result.symbol_rate / 1e6:g} MBd")
    if point.data > point.data_ideal * (1.0 + 1e-9):
        grid.add_row(
            "data at unit gain", f"{point.data_ideal:.3g} bit per feature; the rest is what the gain may be off"
        )
    return grid


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    for heading, right in columns:
        table.add_column(heading, justify="right" if right else "left")
    return table


def _alternatives(result: PlanResult) -> Table:
    table = _table(
        "The best of every tap", ("tap", False), ("mu", True), ("bit per weight", True), ("bit per feature", True),
        ("within limits", False),
    )  # fmt: skip
    for entry in result.answer.alternatives:
        point = entry.point
        table.add_row(
            stage_words(point),
            f"{point.mu:.4g}",
            f"{point.weights:.3g}",
            f"{point.data:.3g}",
            "yes" if entry.allowed else "no",
        )
    return table


def _costs(result: PlanResult) -> Table:
    table = _table(
        "What each part costs: the leakage if it were ideal",
        ("part", False),
        ("bit per weight", True),
        ("bit per feature", True),
    )
    best = result.best
    assert best is not None
    for cost in result.costs[:_MOST_COSTS]:
        table.add_row(Text(cost.part), f"{cost.weights:.3g}", f"{cost.data:.3g}")
    table.add_row(Text("(as they are)", style="dim"), f"{best.point.weights:.3g}", f"{best.point.data:.3g}")
    return table


def _demands(result: PlanResult) -> Iterator[RenderableType]:
    yield Text("What this point asks of a bench, beside what the link file says:")
    for demand in result.demands:
        mark = {True: "within reach", False: "OUT OF REACH", None: "to do"}[demand.reached]
        style = {True: "blue", False: "bold magenta", None: "dim"}[demand.reached]
        known = "" if demand.floor is None else f" (best known: {_known(demand.floor.name, demand.floor.value)})"
        yield Padding(Text.assemble((f"{mark:<13}", style), demand.words, known), (0, 0, 0, 2))
    yield Text()


def _known(name: str, value: float) -> str:
    if name == "extinction":
        return f"{to_db(value):.0f} dB"
    return {"phase-noise": f"{1e3 * value:g} mrad", "untrusted-loss": f"a connector of {value:g} dB"}.get(
        name, f"{value:g}"
    )


def _verification(result: PlanResult) -> Iterator[RenderableType]:
    budget, delta = result.certifications[0].budget, result.certifications[0].delta
    yield Text(f"Until the server's own measurements certify {budget:.3g} bit per weight at confidence 1 - {delta:g}:")
    for entry in result.certifications:
        how = "all rows homodyned"
        if entry.counting_fraction:
            how = f"{100 * entry.counting_fraction:g} % of the rows counted"
        if entry.symbols is None or entry.images is None:
            words = "no number of symbols does"
        else:
            time = seconds_words(entry.symbols / result.symbol_rate)
            words = f"{counted(entry.images, 'image')}, {entry.symbols:.3g} symbols, {time}"
        yield Padding(Text(f"{how}: {words}"), (0, 0, 0, 2))
    yield Text(f"Images until a test sees a cheat (99 %, its share of alpha = {result.plan.alpha:g}):")
    for seen in result.detections:
        if seen.images is None:
            words = "none of the tests; what it gains is in the bound"
        elif seen.images < 1.0:
            words = f"within the first one ({seen.test})"
        else:
            words = f"{math.ceil(seen.images):,} ({seen.test})"
        yield Padding(Text(f"{seen.cheat}: {words}"), (0, 0, 0, 2))
    yield Text()


def _encodings(result: PlanResult) -> Iterator[RenderableType]:
    table = _table(
        "The same signal in other light: what leaks to the loss of the link, bit per weight, one use",
        ("encoding", False),
        ("modes per weight", True),
        ("bit per weight", True),
    )
    for entry in result.encodings:
        table.add_row(entry.name, f"{entry.modes_per_weight:g}", f"{entry.bits:.3g}")
    yield table
    yield Text(
        "For comparison, no bound of a session (sessions send coherent light): pure loss, taken as known; all "
        "directions equally bright; neither the noise of the client's stage nor technical noise is counted."
    )
    yield Text()


def _trade_off(result: PlanResult) -> Table:
    table = _table(
        "The trade-off at this F²: weaker taps tell less about the data and more about the weights",
        ("tap", False),
        ("mu", True),
        ("bit per weight", True),
        ("bit per feature", True),
    )
    for point in result.trade_off[::2]:
        table.add_row(stage_words(point), f"{point.mu:.4g}", f"{point.weights:.3g}", f"{point.data:.3g}")
    return table
