"""`labqdl models`: the models that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json

if TYPE_CHECKING:
    from labqdl.network import ModelEntry


@click.command("models")
@json_option
@click.pass_obj
def command(output: Output, as_json: bool) -> int:
    """List the models that ship with labqdl, with their accuracy against the signal-to-noise ratio F²."""
    from labqdl.network import shipped_models

    entries = shipped_models()
    if as_json:
        print_json(
            {
                "schema": "labqdl.models/1",
                "models": [
                    {"name": e.name, "description": e.description, "data": e.dataset, "notes": e.notes} for e in entries
                ],
            }
        )
        return 0
    if not output.quiet:
        for entry in entries:
            _print(output, entry)
    return 0


def _print(output: Output, entry: ModelEntry) -> None:
    """Name, description and the measured accuracy; `--json` has every note."""
    from rich import box
    from rich.table import Table

    console = output.results
    console.print(f"[bold]{entry.name}[/bold]: {entry.description}")
    measured = entry.notes.get("test")
    if not isinstance(measured, dict):
        return
    console.print(f"test accuracy on {entry.dataset}, mean of {measured['draws']} draws of the light's noise:")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("F²/dB")
    for point in (*measured["f2_db"], "no noise"):
        table.add_column(f"{point:g}" if isinstance(point, float) else str(point), justify="right")
    table.add_row("%", *(f"{100 * value:.1f}" for value in (*measured["accuracy"], measured["exact"])))
    console.print(table)
