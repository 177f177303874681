"""`labqdl levels`: theory, emulation and wire of a station in one table."""

from __future__ import annotations

import click

from labqdl.cli.options import calibration_options, json_option, table_options
from labqdl.cli.output import Output
from labqdl.cli.run import opened_table


@click.command("levels")
@click.argument("station", metavar="STATION")
@click.option("--profile", metavar="NAME", help="bench, sim, or one that its file declares.")
@click.option("--symbols", type=float, metavar="N", help="Verification symbols of each level. [default: 200,000]")
@click.option("--mu", type=float, help="Mean photons per mode at the server's output. [default: the station's]")
@click.option("--seed", type=int, help="Of rows and directions; system entropy by default.")
@click.option(
    "--accuracy", type=int, default=0, metavar="IMAGES", help="Classify so many digits at each of five F² as well."
)
@click.option("--plot", metavar="FILE", help="Draw the deviations into this file (.png, .svg, .pdf).")
@calibration_options
@table_options
@json_option
@click.pass_obj
def command(
    output: Output,
    station: str,
    profile: str | None,
    symbols: float | None,
    mu: float | None,
    seed: int | None,
    accuracy: int,
    plot: str | None,
    calibration: str | None,
    calibrations: str | None,
    uncertified: bool,
    arm: bool,
    in_process: bool,
    as_json: bool,
) -> int:
    """Compare theory, symbol level and wire level of STATION, figure by figure.

    Known random rows and directions are sent through the calibrated instruments, and through their exact emulation.
    Theory and emulation follow from the ledger of the calibrations. This is a joined view for commissioning: it knows
    what each party of a session keeps from the other.

    \b
    Examples:
      labqdl levels loop-32
      labqdl levels loop-32 --symbols 1e6 --seed 1 --plot levels.png
      labqdl levels loop-32 --accuracy 100
      labqdl levels loopback-1 --json
    """
    from labqdl.api.levels import DEFAULT_SYMBOLS, levels
    from labqdl.api.places import file_place

    if plot is not None:
        from labqdl.plots import style

        style.require_matplotlib()
        file_place(plot, "--plot", endings=style.ENDINGS)
    with output.progress("sending", 1, "blocks") as bar:
        table = opened_table(output, bar, calibration, calibrations, uncertified, arm, in_process)
        result = levels(
            station,
            profile=profile,
            symbols=DEFAULT_SYMBOLS if symbols is None else int(symbols),
            mu=mu,
            seed=seed,
            accuracy=accuracy,
            table=table,
            on_block=bar.update,
        )
    if plot is not None:
        from labqdl.plots.levels import level_deviations

        style.save(level_deviations(result.to_json()), plot)
        output.say(f"written: {plot}")
    output.show(result, as_json)
    return 0
