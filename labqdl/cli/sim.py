"""`labqdl sim`: simulated instruments on the wire protocols of the real ones."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_line
from labqdl.errors import InputError


@click.group("sim")
def command() -> None:
    """Simulated instruments that speak the wire protocols of the real ones."""


@command.command("serve")
@click.argument("station", metavar="STATION.toml", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON with all resources once all listen.")
@click.option(
    "--control", type=click.IntRange(0, 65535), metavar="PORT", help="Open the control port (0: any free one)."
)
@click.option(
    "--until-eof", is_flag=True, help="End as well when standard input ends, as that of a killed parent does."
)
@click.pass_obj
def serve_command(output: Output, station: str, as_json: bool, control: int | None, until_eof: bool) -> int:
    """Serve the simulated instruments of STATION.toml on the loopback interface until Ctrl-C.

    \b
    The file names instruments, each with a twin and routes:
      [bench]
      seed = 1
      clock = "real"
      [instruments.meter]
      twin = "thorlabs-pm100"
      routes = ["hislip", "socket:5025"]

    Routes: socket, hislip, zmq and rfc2217 (each with :PORT, without it any free one), pty (with :PATH for a stable
    name), serial (pty, or rfc2217 on Windows). Without routes an instrument stands where its model usually does.

    A station file that reaches one of them says 'simulated = true' beside its resource; without that it counts as
    real and emits only with --arm, since a tunnel to a laser has an address on this machine too.

    \b
    Examples:
      labqdl sim serve station.toml
      labqdl sim serve station.toml --json --control 0

    With --control, 'labqdl sim ctl PORT' sets faults, looks at the light and moves the clock while it runs.
    """
    from labqdl_sim.bench import Bench
    from labqdl_sim.serve import serve

    bench = Bench.from_file(station)
    with serve(bench, control=control) as served:
        summary = served.summary()
        if as_json:
            print_line(json.dumps(summary))
        elif not output.quiet:
            for instrument in summary["instruments"]:
                for resource in instrument["resources"]:
                    print_line(f"{instrument['name']}  {instrument['model']}  {resource}")
            if "control" in summary:
                print_line(f"control  127.0.0.1:{summary['control']}")
            click.echo(
                "in a station file, 'simulated = true' beside such a resource lets it emit without --arm", err=True
            )
            click.echo(f"seed {bench.seed}; Ctrl-C ends", err=True)
        _until_interrupted(until_eof=until_eof)
    return 0


_FIRST = {"advance": "seconds", "switch": "id", "remove": "id", "world": "part"}
"""What the first word without `=` means; of the other requests it is the target."""


@command.command("ctl", context_settings={"ignore_unknown_options": True})
@click.argument("port", type=click.IntRange(1, 65535), metavar="PORT")
@click.argument("request", metavar="REQUEST")
@click.argument("words", nargs=-1, metavar="[WHICH] [KEY=VALUE]...")
@json_option
@click.pass_obj
def ctl_command(output: Output, port: int, request: str, words: tuple[str, ...], as_json: bool) -> int:
    """Ask the control port of a running 'labqdl sim serve ... --control PORT' for something.

    \b
    list                           instruments, and the faults that are set
    fault WHICH effect=EFFECT ...  let something go wrong (late, silent, close, garble, stay-on, ...); tells its id
    switch ID on=false             a fault that is switched by hand
    remove ID, clear [WHICH]       a fault, all of an instrument, or all
    light WHICH, voltage WHICH     what leaves its outputs now
    shine WHICH power=1e-3         light into its inputs, W
    advance SECONDS                a manual clock
    world [PART] [set.FAULT=X]     parts of the optical world, and what happens to them

    Values are in SI and written as in JSON; text needs no quotes. '-' in place of the request sends the lines of
    standard input, each a JSON object, and prints a line of JSON for each.

    \b
    Examples:
      labqdl sim ctl 40001 list
      labqdl sim ctl 40001 fault laser effect=late value=2.0 nth=3
      labqdl sim ctl 40001 light laser --json
      labqdl sim ctl 40001 advance 3
    """
    if request == "-":
        with click.open_file("-") as lines:
            refused = sum(not _told(line) for line in _converse(port, lines))
        return 2 if refused else 0
    (line,) = _converse(port, [json.dumps(_request(request, words))])
    reply = json.loads(line)
    if not reply.pop("ok"):
        raise InputError(str(reply["error"]), source=request)
    if as_json:
        print_line(json.dumps(reply))
    elif not output.quiet:
        for text in _in_words(reply):
            print_line(text)
    return 0


def _request(do: str, words: tuple[str, ...]) -> dict[str, Any]:
    """The request as an object: `set.broken=1` is `{"set": {"broken": 1}}`."""
    told: dict[str, Any] = {"do": do}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            key, text = _FIRST.get(do, "target"), word
        place = told
        *tables, name = key.split(".")
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise InputError(f"{table} is a value and a table", source=word)
        if not name or name in place:
            raise InputError(f"{key!r} is there twice" if name else "no key", source=word, expected="KEY=VALUE")
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return told


def _converse(port: int, lines: Iterable[str]) -> Iterator[str]:
    """The replies to lines, each after its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30.0) as connection, connection.makefile("rb") as up:
            for line in lines:
                if line.strip():
                    connection.sendall(line.strip().encode() + b"\n")
                    reply = up.readline()
                    if not reply:
                        raise ConnectionError("it hung up")
                    yield reply.decode().rstrip("\n")
    except OSError as error:
        raise InputError(
            f"nobody answers on the control port {port}: {error.strerror or error}",
            expected="the port that 'labqdl sim serve STATION.toml --control 0' tells",
        ) from None


def _told(line: str) -> bool:
    print_line(line)
    return bool(json.loads(line)["ok"])


def _in_words(reply: dict[str, Any], place: str = "") -> Iterator[str]:
    """A reply for people: a line for each thing in it."""
    for key, value in reply.items():
        if isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
            yield from _in_words(value, f"{place}{key} ")
        elif isinstance(value, dict):
            yield f"{place}{key}  {', '.join(f'{name} {one}' for name, one in value.items())}"
        elif isinstance(value, list):
            for one in value:
                yield from _in_words({f"{place}{key.removesuffix('s')}": one})
        else:
            yield f"{place}{key}  {value}"


@command.command("list")
def list_command() -> int:
    """List the twins that ship."""
    from labqdl_sim.twin import registry

    for name in registry():
        print_line(name)
    return 0


def _until_interrupted(*, until_eof: bool = False) -> None:
    """Wait for Ctrl-C or SIGTERM; both end the command as an ordinary end, since it is how serving stops.

    until_eof: also for the end of standard input.
    """
    import signal

    over = threading.Event()
    if until_eof:

        def watch() -> None:
            while sys.stdin.buffer.read(1):
                pass
            over.set()

        threading.Thread(target=watch, name="standard input", daemon=True).start()
    for name in ("SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: over.set())
    try:
        while not over.wait(0.5):  # short waits, so that Ctrl-C is noticed on Windows too
            pass
    except KeyboardInterrupt:
        pass
