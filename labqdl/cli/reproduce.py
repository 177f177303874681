"""`labqdl reproduce`: the paper's figures beside ours."""

from __future__ import annotations

from pathlib import Path

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json


@click.command("reproduce")
@click.option("--images", type=click.IntRange(0, 10_000), default=10_000, help="Test digits; 0: no accuracy curves.")
@click.option("--draws", type=click.IntRange(1), default=10, help="Draws of all noise at every point.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page (Markdown) here.")
@click.option("--figures", type=click.Path(path_type=Path), help="Write the figures as FIGURES-accuracy.svg and so on.")
@json_option
@click.pass_obj
def command(output: Output, images: int, draws: int, page: Path | None, figures: Path | None, as_json: bool) -> int:
    """Repeat what the protocol's authors published, with their formulas, beside the exact numbers.

    \b
    Examples:
      labqdl reproduce --images 0                        leakage only, at once
      labqdl reproduce --page reproduction.md --figures reproduction
    """
    from labqdl.api.places import file_place, write_text
    from labqdl.api.reproduction import MODELS, reproduce
    from labqdl.api.reproduction_page import markdown

    if page is not None:
        file_place(page, "--page")
    if figures is not None:
        from labqdl.api.reproduction_figures import check_figures, save_figures

        check_figures(figures)
    with output.progress("accuracy curves", len(MODELS), "networks") as bar:
        found = reproduce(images=images, draws=draws, on_model=bar.update)
    drawn: list[tuple[str, str]] = []
    if figures is not None:
        drawn = save_figures(found, figures, page)
    text = markdown(found, drawn)
    if page is not None:
        write_text(page, text)
    if as_json:
        print_json(found.to_json())
    elif page is None and not output.quiet:
        click.echo(text)
    elif page is not None:
        output.say(f"written: {', '.join([str(page), *(file for file, _ in drawn)])}")
    return 0
