"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else there."
)


def point_options(command: Command) -> Command:
    """Options of the operating point."""
    for option in (
        click.option(
            "--tap-transmissivity",
            type=float,
            help="Power transmissivity of the tap: 1/G where not given, or t of the feed-forward tap.",
        ),
        click.option("--tap", metavar="BUILD", help="Build of the client's stage: amplifier or feed-forward."),
        click.option(
            "--amplifier-gain", type=float, metavar="G", help="Power gain of the client's amplifier, above 1."
        ),
        click.option("--mu", type=float, help="Mean photons per mode at the server's output."),
    ):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Options of a run; each wins over the experiment file."""
    for option in (
        json_option,
        click.option(
            "--accounts",
            metavar="FOLDER",
            help="Folder of the accounts over runs. [default: 'accounts' beside the run where a cumulative budget is "
            "set]",
        ),
        click.option("--out", metavar="FOLDER", help="Folder in which the run's folder is made. [default: runs]"),
        click.option(
            "--depth", metavar="DEPTH", help="What is drawn of the returned light: outcomes, statistics, residuals."
        ),
        click.option(
            "--tile",
            type=int,
            metavar="MODES",
            help="Modes that the client's interferometer takes at once; longer rows are cut into tiles.",
        ),
        click.option(
            "--cross-use/--no-cross-use",
            default=None,
            help="Test for noise that repeats in every use of a weight. [default: on]",
        ),
        click.option(
            "--residual-share",
            type=float,
            metavar="SHARE",
            help="Share of the data vectors of which the server keeps every residual. [default: 0.004]",
        ),
        click.option(
            "--gain-tolerance",
            type=float,
            metavar="SHARE",
            help="By how much the returned amplitude may be off the ledger's. [default: 0; station: by calibration]",
        ),
        click.option(
            "--phase-tolerance",
            type=float,
            metavar="RAD",
            help="By how much the returned phase may be off. [default: 0; station: by calibration]",
        ),
        click.option(
            "--noise-tolerance",
            type=float,
            metavar="SNU",
            help="By how much the returned variance may be off. [default: 0; station: by calibration]",
        ),
        click.option(
            "--seed", type=int, help="Seed of all random numbers (simulation only); system entropy by default."
        ),
        click.option(
            "--monitor-fraction",
            type=float,
            metavar="SHARE",
            help="Share of the arriving light for the client's power meter. [default: off, with a cheating server on]",
        ),
        click.option(
            "--check-vectors",
            type=int,
            metavar="N",
            help="Vectors a block with which the client checks that outcomes repeat. [default: 0, with a cheating "
            "server 4]",
        ),
        click.option(
            "--vacuum-slots", type=int, metavar="N", help="Vacuum slots per homodyned row. [default: 16 if measured]"
        ),
        click.option(
            "--shot-noise", metavar="SOURCE", help="The server's shot-noise unit: known (default), own, crossed."
        ),
        click.option("--channel", metavar="NAME[:X]", help="The fibre: honest, outside-tap[:fraction], lossless."),
        click.option(
            "--server",
            metavar="NAME[:X]",
            help="The server: honest, bright-probe[:energy], two-mode-squeezed[:photons], x-dependent[:energy].",
        ),
        click.option(
            "--client",
            metavar="NAME[:X]",
            help="The client: honest, intercept-resend, intercept-resend-mmse, cloner[:noise], substitution, "
            "estimate[:variance], over-amplification[:gain], passive-tap[:fraction], coherent[:variance], "
            "spiking[:noise].",
        ),
        click.option("--images", type=int, help="How many data vectors, from the first on; all by default."),
        click.option("--labels", metavar="FILE", help="IDX file with the labels, where the data's file has none."),
        click.option(
            "--data", metavar="NAME|FILE", help="Data set: mnist-test, digits, breast-cancer, or an IDX or npz file."
        ),
    ):
        command = option(command)
    command = click.option(
        "--last-layer-db", type=float, metavar="DB", help="Light of the last layer on top of its share. [default: 0]"
    )(command)
    command = point_options(command)
    for option in (
        click.option(
            "--max-seconds", type=float, metavar="S", help="Stop behind the block in which so much time is over."
        ),
        click.option(
            "--max-symbols", type=int, metavar="N", help="Stop before the block that would pass so many symbols."
        ),
        click.option("--block", type=int, metavar="IMAGES", help="Images a block of work. [default: 250; station: 10]"),
        click.option("--profile", metavar="NAME", help="With --station: bench, sim, or one that its file declares."),
        click.option("--station", metavar="NAME|FILE", help="Run on the instruments of a station: loop-32, or a file."),
        click.option(
            "--link",
            metavar="NAME|FILE",
            help="Light path: ideal, paper, metro-10km, lab-bench, a file, or station:NAME (its emulated twin).",
        ),
        click.option("--model", metavar="NAME|FILE", help="Model: see 'labqdl models', or a .safetensors file."),
    ):
        command = option(command)
    return command


def calibration_options(command: Command) -> Command:
    """What is calibrated before anything is sent, and where it is kept."""
    command = click.option(
        "--calibrations", metavar="FOLDER", help="Where calibrations are kept. [default: calibrations]"
    )(command)
    return click.option(
        "--calibration",
        metavar="MODE",
        help="Of a station: quick measures what is missing or stale, full everything, reuse nothing. [default: quick]",
    )(command)


def table_options(command: Command) -> Command:
    """Options of a run on a station: how it is opened and calibrated."""
    for option in (
        click.option(
            "--in-process",
            is_flag=True,
            help="Simulated instruments in this process instead of one of their own behind the wire protocols.",
        ),
        click.option("--arm", is_flag=True, help="Let real instruments make light or voltage come out."),
        click.option(
            "--uncertified",
            is_flag=True,
            help="Go on with a stale or failed calibration; every figure is marked.",
        ),
    ):
        command = option(command)
    return command
