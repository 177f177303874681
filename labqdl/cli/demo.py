"""`labqdl demo`: see the protocol at work in about a minute."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output


@click.command("demo")
@click.option("--images", type=int, help="Images of each run; all 10,000 test digits by default.")
@click.option("--seed", type=int, help="Seed of all random numbers; system entropy by default.")
@click.option("--out", default="runs", metavar="FOLDER", help="Folder in which the records are made. [default: runs]")
@json_option
@click.pass_obj
def command(output: Output, images: int | None, seed: int | None, out: str, as_json: bool) -> int:
    """Show secure inference on the real MNIST test digits: four recorded runs and one honest table.

    (a) the paper's network at the paper's point; (b) a noise-aware network where hardly anything leaks, which needs
    ideal parts; (c) the same on a realistic table-top link; (d) a cheating client, caught.

    Exit code 0 if the runs came to their verdicts, whatever these are.
    """
    from labqdl.api.demonstration import SCENES, demonstrate

    with output.progress("demonstrating", len(SCENES), "blocks") as bar:
        letters = [scene.letter for scene in SCENES]

        def told(letter: str, done: int, total: int) -> None:
            # One bar for all runs, so that the time left is that of the demonstration.
            bar.update(letters.index(letter) * total + done, len(SCENES) * total, f"run ({letter})")

        result = demonstrate(out=out, images=images, seed=seed, on_block=told)
    output.show(result, as_json)
    return 0
