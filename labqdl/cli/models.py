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
    console = output.results
    console.print(f"[bold]{entry.name}[/bold] (data: {entry.dataset})")
    console.print(f"  {entry.description}")
    for key, value in entry.notes.items():
        shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
        console.print(f"  [dim]{key.replace('_', ' ')}:[/dim] {shown}")
