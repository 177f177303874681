"""`labqdl train`: a network that keeps its accuracy in weak light."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json
from labqdl.errors import InputError

if TYPE_CHECKING:
    from labqdl.network import Network
    from labqdl.network.train import TrainingPlan, TrainingReport


@click.command("train")
@click.argument("data", metavar="DATA")
@click.argument("model", metavar="MODEL")
@click.option("--labels", metavar="FILE", help="IDX file with the labels, where it is not found beside the data.")
@click.option(
    "--recipe",
    metavar="NAME",
    help="Start from a model's plan: mnist-plain, mnist-robust, mnist-faint, mnist-discreet, digits, breast-cancer, "
    "mnist-same-light.",
)
@click.option(
    "--shipped",
    is_flag=True,
    help="With --recipe: finish the model as those that ship, rounded to float16 and with figures on its test data.",
)
@click.option(
    "--hidden", type=int, multiple=True, help="Neurons of a hidden layer; once for each layer. [default: 784]"
)
@click.option("--bias/--no-bias", default=None, help="Biases in every layer; their scales are then published.")
@click.option(
    "--f2-db", metavar="LOW:HIGH", help="Signal-to-noise F² in dB: a number, a range, or 'none'. [default: -8:11]"
)
@click.option(
    "--light", metavar="SHARE", help="What gets the same light: each row, each layer, or free. [default: row]"
)
@click.option(
    "--pipeline", metavar="STEP,STEP,...", help="Public steps of the input pipeline, e.g. scale,flatten,centre."
)
@click.option("--epochs", type=int, help="Passes over the data. [default: 20]")
@click.option("--batch", type=int, help="Data of a step. [default: 256]")
@click.option("--learning-rate", type=float, help="Of Adam, relative to unit weights. [default: 0.1]")
@click.option("--isotropy", type=float, help="Penalty on unequal directions of the weights. [default: 0]")
@click.option("--validation", type=float, help="Share of the data that is set aside for the figures. [default: 0.1]")
@click.option("--seed", type=int, help="Of everything random. [default: 1]")
@json_option
@click.pass_obj
def command(
    output: Output,
    data: str,
    model: str,
    labels: str | None,
    recipe: str | None,
    shipped: bool,
    hidden: tuple[int, ...],
    bias: bool | None,
    f2_db: str | None,
    light: str | None,
    pipeline: str | None,
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    isotropy: float | None,
    validation: float | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Train a network on DATA with the noise of the light in it and save it as MODEL.safetensors and MODEL.json.

    DATA is an IDX file (gzip or not), an npz archive with arrays data and labels, or a set that comes with
    scikit-learn, written sklearn:digits. Part of it is set aside for validation. At the end comes a table of accuracy
    against F². Needs the extra: pip install 'labqdl[train]'.

    A model that ships is made again, to the byte with the same versions of JAX and numpy on a machine of the same
    kind, by training on its data with its recipe and --shipped.

    \b
    Examples:
      labqdl train sklearn:digits digits --hidden 64 --epochs 40
      labqdl train digits-train digits --recipe digits --shipped
      labqdl train train-images-idx3-ubyte.gz mine --recipe mnist-robust --epochs 5
    """
    from labqdl.api.places import model_place
    from labqdl.network import load_dataset, save_network
    from labqdl.network.train import TrainingProgress, train

    target = model_place(model)
    if shipped and recipe is None:
        raise InputError("the models that ship have recipes", source="--shipped", expected="--recipe NAME with it")
    plan = replace(
        _start(recipe),
        name=recipe if shipped and recipe is not None else target.name,
        **_given(
            hidden=hidden or None,
            bias=bias,
            light=light,
            pipeline=None if pipeline is None else tuple(pipeline.split(",")),
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            isotropy=isotropy,
            validation=validation,
            seed=seed,
        ),
    )
    if f2_db is not None:
        plan = replace(plan, f2_db=_noise(f2_db))
    dataset = load_dataset(data, labels=None if labels is None else Path(labels))
    if dataset.labels is None:
        raise InputError("has no labels to learn from", source=dataset.source, expected="labels (--labels FILE)")
    with output.progress("training", 1, "steps") as bar:

        def told(progress: TrainingProgress) -> None:
            bar.update(progress.step, progress.steps, f"epoch {progress.epoch}, loss {progress.loss:.3f}")

        network, report = train(plan, dataset.data, dataset.labels, told, classes=dataset.classes)
    files = _ship(network, report, target) if shipped else save_network(network, target)
    if as_json:
        print_json(
            {
                "schema": "labqdl.train/1",
                "model": [str(file) for file in files],
                "trained_on": report.trained_on,
                "validated_on": report.validated_on,
                "validation_accuracy": report.validation_accuracy[-1],
                "accuracy_vs_f2_db": [
                    {"f2_db": float(point), "accuracy": float(mean), "standard_error": float(error)}
                    for point, mean, error in zip(
                        report.curve.f2_db, report.curve.mean, report.curve.standard_error, strict=True
                    )
                ],
                "plan": report.plan.to_json(),
            }
        )
    elif not output.quiet:
        _print(output, files, report)
    return 0


def _start(recipe: str | None) -> TrainingPlan:
    from labqdl.network.train import TrainingPlan

    if recipe is None:
        return TrainingPlan()
    from labqdl.network.recipes import FRONTIER, PLANS

    plans = PLANS | FRONTIER
    if recipe not in plans:
        raise InputError(f"there is no recipe '{recipe}'", source="--recipe", expected="one of " + ", ".join(plans))
    return plans[recipe]


def _ship(network: Network, report: TrainingReport, target: Path) -> tuple[Path, Path]:
    """Finish a model as `labqdl.network.recipes.build` does; the two files that it wrote."""
    from labqdl.network.recipes import measured_on, ship

    ship(network, report.curve, measured_on(report.plan.name), target)
    return target.with_name(target.name + ".safetensors"), target.with_name(target.name + ".json")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _noise(text: str) -> float | tuple[float, float] | None:
    """F² in dB from 'none', a number or LOW:HIGH."""
    if text == "none":
        return None
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError(f"found '{text}'", source="--f2-db", expected="a number of dB, LOW:HIGH, or 'none'")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _print(output: Output, files: tuple[Path, Path], report: TrainingReport) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title="Accuracy on the validation part against F²", title_justify="left")
    for heading in ("F²", "accuracy", "standard error"):
        table.add_column(heading, justify="right")
    for point, mean, error in zip(report.curve.f2_db, report.curve.mean, report.curve.standard_error, strict=True):
        table.add_row(f"{point:g} dB", f"{100 * mean:.2f} %", f"{100 * error:.2f} %")
    table.add_row("no noise", f"{100 * report.validation_accuracy[-1]:.2f} %", "")
    output.results.print(table)
    output.results.print(f"trained on {report.trained_on:,}, validated on {report.validated_on:,}")
    output.results.print(f"saved {files[0]} and {files[1]}", markup=False)
