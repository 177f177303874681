"""The root of the command line: global options, and errors turned into one clear line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from labqdl import __version__
from labqdl.cli.output import Output, discard_output, print_error
from labqdl.errors import InputError, LabqdlError

COMMANDS = (
    "demo", "run", "resume", "pause", "continue", "stop",
    "runs", "accounts", "report", "replay", "recover", "export", "compare",
    "bound", "plan", "power", "curve", "reproduce", "train", "models", "doctor",
    "init", "station", "calibrate", "levels",
    "instruments", "drivers", "get", "set", "watch", "sweep", "shell", "safe", "sim",
)  # fmt: skip

EXIT_CODES = (
    "Exit codes: 0 accept (or done), 1 not everything agrees or is whole (replay, recover, doctor), or the machine "
    "failed, 2 bad input, 3 abort, 4 undecided (or an interlock refused), 5 an instrument does not answer as it "
    "should, 70 unsafe, 130 interrupted."
)


class LazyGroup(click.Group):
    """Loads a command's module when it is asked for, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None lets click suggest what was meant."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"labqdl.cli.{cmd_name}").command
        if not any(parameter.name == "quiet" for parameter in command.params):
            command.params.extend(_verbosity())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a mistake in a setting that came as an option names that option."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            command = None if error.source is not None else self.get_command(ctx, ctx.invoked_subcommand or "")
            for parameter in () if command is None else command.params:
                if parameter.name == error.key:
                    raise error.at(parameter.opts[0]) from None
            raise
        except BrokenPipeError:  # what talks to instruments has errors of its own: this is a reader that went away
            discard_output()
            return 0


def _set(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        setattr(context.find_object(Output), str(parameter.name), True)


def _verbosity() -> list[click.Parameter]:
    """`-q` and `-v`, which every command takes as well as the root: people write them in either place."""
    return [
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set, help="Print no words."),
        click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set, help="Say more."),
    ]


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="labqdl")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and what --json asks for.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.pass_context
def cli(context: click.Context, quiet: bool, verbose: bool) -> None:
    """Quantum-secure deep learning on the bench.

    A server's neural network meets a client's private data in weak laser light: the client gets its prediction, the
    server gets evidence that the client was honest, and both get bounds on what leaked.

    Start with `labqdl demo`, then `labqdl run`.
    """
    context.obj = Output(quiet=quiet, verbose=verbose)


def _usage(error: click.ClickException) -> str:
    """A mistake in the words of a command, in one line, and where its options are told."""
    message = " ".join(error.format_message().split())
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end} '{error.ctx.command_path} --help' says what there is"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `labqdl` command; always ends in SystemExit with the documented code."""
    if sys.stdout is None:  # closed by whoever began this process: what is printed goes nowhere
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; a foreseen error prints one line and no traceback.

    With --json the line is an object: `error`, `exit_code`, and of a mistake in what was handed over `source`, `key`,
    `line`, `expected` and `hint`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words

    def failed(text: str, code: int, **more: Any) -> int:
        print_error(text, as_json={"exit_code": code, **more} if as_json else None)
        return code

    try:
        outcome: Any = cli.main(words, "labqdl", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return failed(_usage(error), error.exit_code)
    except InputError as error:
        place = ("source", "key", "line", "expected", "hint")
        return failed(str(error), error.exit_code, **{name: getattr(error, name) for name in place})
    except LabqdlError as error:
        return failed(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return failed("interrupted", 130)
    except OSError as error:  # the machine's trouble, not a bug: a full disk, a folder that may not be written
        failed(str(error), 1)
        if error.errno == errno.ENOSPC:
            discard_output()
        return 1
    return outcome if isinstance(outcome, int) else 0
