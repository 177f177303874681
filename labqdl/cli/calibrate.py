"""`labqdl calibrate`: measure what a station's figures hang on, in order, and keep it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json
from labqdl.cli.table import arm_option, opened, simulated_hands

if TYPE_CHECKING:
    from labqdl.facts import CalibrationResult, CalibrationSet
    from labqdl.facts.calibration import CalibrationProblem
    from labqdl.station import Station
    from labqdl_calibration.graph import Graph
    from labqdl_calibration.routine import OperatorStep

SCHEMA = "labqdl.calibrate/1"


@click.command("calibrate")
@click.argument("station", metavar="STATION")
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@click.option("--list", "listed", is_flag=True, help="Show every calibration, its state and its values; open nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be measured, in order, and why; open nothing.")
@click.option("--quick", is_flag=True, help="Fewer points: less certain values in less time.")
@click.option("--again", is_flag=True, help="Measure what is fresh as well.")
@click.option("--by-hand", is_flag=True, help="Also what needs a person at the table, who is told what to do.")
@click.option(
    "--folder", default="calibrations", show_default=True, metavar="FOLDER", help="Where calibrations are kept."
)
@click.option("--no-plots", is_flag=True, help="Draw no pictures.")
@click.option("--profile", metavar="NAME", help="bench, sim (simulated instruments), or one that the file declares.")
@arm_option
@json_option
@click.pass_obj
def command(
    output: Output,
    station: str,
    names: tuple[str, ...],
    listed: bool,
    dry_run: bool,
    quick: bool,
    again: bool,
    by_hand: bool,
    folder: str,
    no_plots: bool,
    profile: str | None,
    arm: bool,
    as_json: bool,
) -> int:
    """Calibrate STATION: what is missing or stale, or the calibrations NAME with what they need.

    Each calibration is measured behind those that it requires. Values with their covariance, conditions, raw data and
    a picture are kept in FOLDER/STATION; a run reads them there, and refuses to begin with stale ones. At the end, on
    every way out, the light path is dark.

    Exit code 0 if everything asked for is fresh and passed its checks, else 1.

    \b
    Examples:
      labqdl calibrate loop-32 --list
      labqdl calibrate loop-32 --dry-run
      labqdl calibrate loop-32
      labqdl calibrate loop-32 client.shot-noise --again --json
    """
    from labqdl.station import load_station
    from labqdl_calibration.bench import CalibrationBench
    from labqdl_calibration.preparing import stale
    from labqdl_calibration.routines import all_routines
    from labqdl_calibration.store import CalibrationStore

    with ExitStack() as ends:
        if listed or dry_run:
            table = load_station(station, profile)
            ends.callback(table.close)
        else:
            table = ends.enter_context(opened(station, profile, arm=arm))
        bench = CalibrationBench(table)
        store = CalibrationStore(table.name, folder)
        damaged: list[Any] = []
        bench.calibrations = store.load(problems=damaged)
        for error in damaged:
            output.say(f"{error}; it is measured again")
        graph = all_routines().applicable(bench)
        wanted = graph.order(names or None)
        bad = stale(graph, bench.calibrations, bench, wanted)
        if listed:
            _show_list(output, graph, bench.calibrations, bad, bench.clock.wall(), as_json)
            return 0
        plan: list[str] = []
        for name in wanted:
            # What is computed with something that is measured again is stale then.
            anew = again or name in bad or name in names or any(other in plan for other in graph.requires(name))
            if anew and (by_hand or name in names or not graph[name].by_hand):
                plan.append(name)
        if dry_run:
            _show_plan(output, graph, plan, bad, as_json)
            return 0
        bench.quick = quick
        measured, failed = _measure(output, bench, graph, store, plan, pictures=not no_plots, as_json=as_json)
        # What needs a person and was not asked for does not stand against a good end.
        left = stale(graph, bench.calibrations, bench, wanted)
        open_problems = {**{n: p for n, p in left.items() if n in plan or not graph[n].by_hand}, **failed}
        if as_json:
            print_json(
                {
                    "schema": SCHEMA,
                    "station": table.name,
                    "measured": [bench.calibrations[name].to_json() for name in measured],
                    "problems": [_problem_json(one) for one in open_problems.values()],
                    "folder": str(store.path),
                }
            )
        elif not output.quiet:
            output.results.print(values_table(bench.calibrations[name] for name in measured))
            for problem in open_problems.values():
                output.results.print(f"{problem}", markup=False, soft_wrap=True, style="red")
            if measured:
                output.say(f"saved in {store.path}")
        return 1 if open_problems else 0


def _measure(
    output: Output, bench: Any, graph: Graph, store: Any, plan: list[str], *, pictures: bool, as_json: bool
) -> tuple[list[str], dict[str, CalibrationProblem]]:
    from labqdl.facts import CalibrationResult
    from labqdl_calibration.preparing import Runner
    from labqdl_calibration.routine import Step

    with output.progress("calibrating", max(len(plan), 1), "calibrations") as bar:

        def told(name: str, routine: Any, what: Any) -> None:
            done = plan.index(name)
            if isinstance(what, Step):
                bar.update(done, description=f"{name} {what.number}/{what.total} {what.words}".rstrip())
            elif isinstance(what, CalibrationResult):
                bar.update(done + 1)
                output.detail(f"{name}: {'; '.join(what.failures) or values_text(what)}")
            elif isinstance(what, Exception):
                bar.update(done + 1)
                output.detail(f"{name}: {what}")

        runner = Runner(bench, graph, store, operator_of(bench.station, ask=not as_json), told, pictures)
        try:
            return runner.measure_all(plan)
        finally:
            bench.dark()


def operator_of(table: Station, *, ask: bool) -> Any:
    """Who does operator steps: the simulated table itself, or the person at the terminal; None where nobody is."""
    hands: Any = simulated_hands(table)
    if hands is not None:
        return hands
    if not ask or sys.stdin is None or not sys.stdin.isatty():
        return None

    def person(step: OperatorStep) -> None:
        click.confirm(f"{step.words}. Done?", abort=True, err=True)

    return person


def values_text(result: CalibrationResult) -> str:
    """All values of a result in one line."""
    return ", ".join(f"{key} = {result.estimate(key)}" for key in result.values)


def values_table(results: Iterable[CalibrationResult]) -> Table:
    """Results, one value a line."""
    table = Table(box=None, pad_edge=False)
    for title in ("calibration", "value", "", "holds for"):
        table.add_column(title)
    from labqdl.facts.calibration import duration

    for result in results:
        first = True
        for key in result.values:
            table.add_row(
                result.name if first else "",
                key,
                str(result.estimate(key)),
                duration(result.valid_for) if first else "",
            )
            first = False
        for words in result.failures:
            table.add_row("", "[red]failed[/]", words, "")
        for words in result.remarks:
            table.add_row("", "[dim]note[/]", words, "")
    return table


def _problem_json(problem: CalibrationProblem) -> dict[str, str]:
    return {"name": problem.name, "kind": problem.kind.value, "words": problem.words}


def _show_list(
    output: Output,
    graph: Graph,
    known: CalibrationSet,
    bad: dict[str, CalibrationProblem],
    now: float,
    as_json: bool,
) -> None:
    from labqdl.facts.calibration import duration

    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "calibrations": [
                    {
                        "name": name,
                        "owner": graph[name].owner.value,
                        "title": graph[name].title,
                        "requires": list(graph.requires(name)),
                        "by_hand": graph[name].by_hand,
                        "problem": _problem_json(bad[name]) if name in bad else None,
                        "result": known[name].to_json() if name in known else None,
                    }
                    for name in graph
                ],
            }
        )
        return
    if output.quiet:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("calibration", "what", "state", "needs"):
        table.add_column(title)
    for name in graph:
        if name in bad:
            state = f"[yellow]{bad[name].words}[/]"
        elif name in known:
            state = f"{duration(known[name].age(now))} old, holds for {duration(known[name].valid_for)}"
        else:
            state = ""
        by_hand = " (by hand)" if graph[name].by_hand else ""
        table.add_row(name, graph[name].title + by_hand, state, ", ".join(graph.requires(name)))
    output.results.print(table)


def _show_plan(
    output: Output, graph: Graph, plan: list[str], bad: dict[str, CalibrationProblem], as_json: bool
) -> None:
    why: dict[str, str] = {}
    for name in plan:
        before = next((other for other in graph.requires(name) if other in plan), "")
        why[name] = bad[name].words if name in bad else f"is computed with {before}" if before else "was asked for"
    if as_json:
        print_json({"schema": SCHEMA, "plan": [{"name": name, "why": why[name]} for name in plan]})
        return
    if output.quiet:
        return
    if not plan:
        output.results.print("nothing: everything is fresh")
    for number, name in enumerate(plan, start=1):
        output.results.print(f"{number:3d} {name:<24} {why[name]}", markup=False, soft_wrap=True)
