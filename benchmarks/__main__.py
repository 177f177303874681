"""`python -m benchmarks [NAME ...] [--json FILE] [--repeats N]`: measure, print a table, save JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Before a peer is imported: threads of OpenMP that spin while they wait would take the cores from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import click

from benchmarks.harness import BUSY_LOAD, MIN_REPEATS, Benchmark, Options, load_average, machine

RESULTS = Path(__file__).parent / "results"
SCHEMA = "labqdl.benchmarks"
VERSION = 1


def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name, in the order in which they run."""
    from benchmarks import depths, dsp, end_to_end, passes, scaling, simulators, torch_peer, transport, twins, world

    every = (
        passes.GENERATOR,
        passes.PASS,
        depths.DEPTH,
        torch_peer.TORCH,
        simulators.GAUSSIAN,
        twins.IN_PROCESS,
        twins.HISLIP,
        world.WORLD,
        dsp.DSP,
        scaling.SCALING,
        end_to_end.MEMORY,
        end_to_end.RUN,
        transport.TRANSPORT,
    )
    return {benchmark.name: benchmark for benchmark in every}


def measure(chosen: Iterable[Benchmark], options: Options) -> dict[str, Any]:
    """Run the chosen benchmarks; prints as it goes, returns the JSON document."""
    before = machine()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "machine": before,
        "repeats": options.repeats,
        "scale": options.scale,
        "warnings": [],
        "results": {},
    }
    click.echo(
        f"{before['processor']}, {before['cores']} cores, Python {before['python']}, numpy "
        f"{before['packages']['numpy']}, {before['date']}; {options.repeats} interleaved repeats, median (min..max)"
    )
    load = before["load_average"]
    for warning in _warnings(options, load):
        document["warnings"].append(warning)
        click.echo(f"warning: {warning}", err=True)
    for benchmark in chosen:
        click.echo(f"\n{benchmark.name}: {benchmark.about}")
        results = document["results"][benchmark.name] = []
        for result in benchmark.measure(options):
            for line in result.lines():
                click.echo(line)
            results.append(result.to_json())
    document["load_average_at_end"] = load_average()
    return document


def _warnings(options: Options, load: float | None) -> Iterable[str]:
    if load is not None and load > BUSY_LOAD:
        yield (
            f"the load average is {load:.1f}: other programs are running, ratios are uncertain and times too long; "
            "measure again on a quiet machine"
        )
    if options.repeats < MIN_REPEATS:
        yield f"{options.repeats} repeats are for debugging; published figures need {MIN_REPEATS}"
    if options.scale != 1:
        yield f"workloads are scaled by {options.scale:g}; published figures need 1"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Where the JSON goes [results/]."
)
@click.option("--repeats", type=click.IntRange(min=1), default=MIN_REPEATS, show_default=True)
@click.option("--scale", type=click.FloatRange(min=0, min_open=True, max=1), default=1.0, show_default=True)
@click.option("--list", "only_list", is_flag=True, help="Print the names and stop.")
def main(names: tuple[str, ...], json_file: Path | None, repeats: int, scale: float, only_list: bool) -> None:
    """Measure labqdl against its peers: all benchmarks, or those that are named."""
    known = benchmarks()
    if only_list:
        for benchmark in known.values():
            click.echo(f"{benchmark.name:12} {benchmark.about}")
        return
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"unknown benchmark '{unknown[0]}'; there are: {', '.join(known)}")
    chosen = [known[name] for name in names] if names else list(known.values())
    document = measure(chosen, Options(repeats=repeats, scale=scale))
    path = json_file or RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    click.echo(f"\nresults: {click.format_filename(path)}")
    missed = [
        f"{name}: {result['case']}"
        for name, results in document["results"].items()
        for result in results
        if result.get("verdict") == "MISSED"
    ]
    for case in missed:
        click.echo(f"target missed: {case}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
