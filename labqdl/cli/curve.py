"""`labqdl curve`: how accurate a model is in weaker and weaker light."""

from __future__ import annotations

from pathlib import Path

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json


@click.command("curve")
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option("--labels", metavar="FILE", help="IDX file with the labels, where it is not found beside the data.")
@click.option("--held-out", is_flag=True, help="DATA are the training data: take the part that the training set aside.")
@click.option("--draws", type=int, help="Noise draws for each datum at each point. [default: 8, more for few]")
@click.option("--seed", type=int, default=1, help="Of the noise. [default: 1]")
@click.option("--out", metavar="FILE", help="File of the curve. [default: MODEL-curve.json here]")
@json_option
@click.pass_obj
def command(
    output: Output,
    model: str,
    data: str,
    labels: str | None,
    held_out: bool,
    draws: int | None,
    seed: int,
    out: str | None,
    as_json: bool,
) -> int:
    """Measure the accuracy of MODEL on DATA against the signal-to-noise ratio F², for `labqdl plan --curve FILE`.

    A planner chooses by this curve, so DATA should be neither what the model was trained on nor what it will be
    tested on: validation data, or with --held-out the part of the training data that 'labqdl train' set aside. The
    curve also says what extra light for the last layer is worth.

    \b
    Examples:
      labqdl curve mine.safetensors train-images-idx3-ubyte.gz --held-out
      labqdl curve breast-cancer breast-cancer-train --held-out --out breast-cancer.json
    """
    from labqdl.api.curves import curve_to_json, measure_curve, save_curve
    from labqdl.api.places import file_place

    name = Path(model).stem if Path(model).suffix else Path(model).name
    target = file_place(out or f"{name}-curve.json", "--out")
    with output.progress("measuring", 1, "points") as bar:
        curve = measure_curve(
            model,
            data,
            labels=labels,
            held_out=held_out,
            draws=draws,
            seed=seed,
            on_point=bar.update,
        )
    save_curve(curve, name, target)
    if as_json:
        print_json({**curve_to_json(curve, name), "file": str(target)})
    elif not output.quiet:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, title=f"Accuracy of {name} on {curve.measured_on}", title_justify="left")
        for heading in ("F²", "accuracy", "95 % interval"):
            table.add_column(heading, justify="right")
        for point in curve.f2_db.tolist():
            accuracy = float(curve.at(point))
            low, high = curve.interval(accuracy)
            table.add_row(f"{point:g} dB", f"{100 * accuracy:.2f} %", f"{100 * low:.2f} to {100 * high:.2f} %")
        output.results.print(table)
        output.results.print(f"saved {target}", markup=False)
    return 0
