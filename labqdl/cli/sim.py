"""`labqdl sim`: simulated instruments on the wire protocols of the real ones."""

from __future__ import annotations

import json
import threading

import click

from labqdl.cli.output import Output, print_line


@click.group("sim")
def command() -> None:
    """Simulated instruments that speak the wire protocols of the real ones."""


@command.command("serve")
@click.argument("station", metavar="STATION.toml", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON with all resources once all listen.")
@click.option(
    "--control", type=click.IntRange(0, 65535), metavar="PORT", help="Open the control port (0: any free one)."
)
@click.pass_obj
def serve_command(output: Output, station: str, as_json: bool, control: int | None) -> int:
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
        _until_interrupted()
    return 0


@command.command("list")
def list_command() -> int:
    """List the twins that ship."""
    from labqdl_sim.twin import registry

    for name in registry():
        print_line(name)
    return 0


def _until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM; both end the command as an ordinary end, since it is how serving stops."""
    import signal

    over = threading.Event()
    for name in ("SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: over.set())
    try:
        while not over.wait(0.5):  # short waits, so that Ctrl-C is noticed on Windows too
            pass
    except KeyboardInterrupt:
        pass
