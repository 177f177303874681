"""`labqdl accounts`: what was spent on weights and data over all runs."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("accounts")
@click.argument("folder", required=False, default="runs/accounts", metavar="[FOLDER]")
@json_option
@click.pass_obj
def command(output: Output, folder: str, as_json: bool) -> int:
    """Show the accounts in FOLDER (default: runs/accounts): uses, bits so far and what is left of the budget.

    Runs with a cumulative budget, and runs with --accounts, charge their uses here before light flows: the server its
    weights, the client its data vectors. A run that would exceed its budget is refused (exit code 4) and names who
    spent it. Bits are asymptotic bounds, with engine and assumptions under each table. For weights they exceed the
    run's own figure for the same uses: charged before light flows, they hold all the noise on the sum of the uses that
    the cross-use test would let pass.

    \b
    Examples:
      labqdl accounts
      labqdl accounts lab/accounts --json
    """
    from labqdl.api import accounts

    output.show(accounts(folder), as_json)
    return 0
