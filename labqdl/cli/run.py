"""`labqdl run`: one secure inference, recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from labqdl.cli.options import calibration_options, run_options, table_options
from labqdl.cli.output import Output
from labqdl.errors import InputError

if TYPE_CHECKING:
    from labqdl.api.bench import Table


@click.command("run")
@click.argument("experiment", required=False, metavar="[EXPERIMENT.toml]")
@run_options
@calibration_options
@table_options
@click.option(
    "--dry-run", is_flag=True, help="Check everything and print the plan; no light flows, nothing is written."
)
@click.pass_obj
def command(
    output: Output,
    /,
    experiment: str | None,
    as_json: bool,
    dry_run: bool,
    calibration: str | None,
    calibrations: str | None,
    uncertified: bool,
    arm: bool,
    in_process: bool,
    **settings: Any,
) -> int:
    """Classify data through the quantum-secure protocol, on an emulated link or on the instruments of a station.

    Without arguments the 10,000 MNIST test digits meet `mnist-robust` on the ideal link: the point where one use
    leaks below 0.01 bit per pixel and 0.03 bit per weight, which needs ideal parts. Everything is recorded in a run
    folder.

    With --station the light path is that of instruments, real or simulated, reached by their own protocols. What is
    missing or stale is calibrated first; a run with a stale calibration is refused, or marked. While it goes on,
    `labqdl pause RUN`, `continue RUN` and `stop RUN` reach it from another terminal.

    \b
    Examples:
      labqdl run
      labqdl run --images 100 --link lab-bench
      labqdl run --model mnist-plain --link paper
      labqdl run --client intercept-resend
      labqdl run --station loop-32 --images 10
      labqdl run --link station:loop-32
      labqdl run experiment.toml --mu 10 --json

    Exit code 0: the server accepts; 3: it aborts; 4: undecided; 2: bad input, or a stale calibration; 5: a part of
    the bench stands in the way; 130: interrupted or stopped.
    """
    from labqdl.api import print_dry_run, run

    if dry_run:
        print_dry_run(experiment, click.echo, **settings)
        return 0
    with output.progress("classifying", 1, "blocks") as bar:
        table = opened_table(output, bar, calibration, calibrations, uncertified, arm, in_process)
        result = run(experiment, on_block=bar.update, table=table, **settings)
    output.show(result, as_json)
    return result.exit_code


def opened_table(
    output: Output,
    bar: Any,
    calibration: str | None,
    folder: str | None,
    uncertified: bool,
    arm: bool,
    in_process: bool,
) -> Table:
    """How these options open and calibrate a station; words on the way go to `output`."""
    from labqdl.api.bench import MODES, Table
    from labqdl.cli.world import opened_by_wire, opened_in_process

    if calibration is not None and calibration not in MODES:
        raise InputError(f"found '{calibration}'", source="--calibration", expected=f"one of {', '.join(MODES)}")
    return Table(
        open=opened_in_process if in_process else opened_by_wire,
        arm=arm,
        calibration=calibration or MODES[0],
        folder=folder,
        uncertified=uncertified,
        told=lambda words: output.detail(f"calibrating {words}"),
    )
