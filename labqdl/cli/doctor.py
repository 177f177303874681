"""`labqdl doctor`: what this installation has and whether it works."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json

EXTRAS = {
    "train": ("jax", "optax", "sklearn"),
    "report": ("matplotlib", "jinja2"),
    "export": ("h5py", "h5netcdf"),
    "onnx": ("onnx",),
}


@click.command("doctor")
@json_option
@click.pass_obj
def command(output: Output, as_json: bool) -> int:
    """Check this installation: versions, extras, shipped files, a writable folder, one tiny inference.

    Exit code 0 if everything that a run needs is there, else 1.
    """
    from labqdl.records import provenance

    report: dict[str, Any] = {"schema": "labqdl.doctor/1", "provenance": provenance.collect()}
    report["extras"] = {
        extra: {name: importlib.util.find_spec(name) is not None for name in names} for extra, names in EXTRAS.items()
    }
    checks = {"shipped files": _shipped_files, "run folder can be written": _writable, "tiny inference": _inference}
    report["checks"] = {name: _attempt(check) for name, check in checks.items()}
    healthy = all(outcome == "ok" for outcome in report["checks"].values())
    if as_json:
        print_json(report)
    elif not output.quiet:
        _print(output, report)
    return 0 if healthy else 1


def _attempt(check: Any) -> str:
    try:
        check()
    except Exception as error:  # a doctor reports whatever is wrong
        return f"{type(error).__name__}: {error}"
    return "ok"


def _shipped_files() -> None:
    from labqdl.config import load_link, shipped_links
    from labqdl.network import load_dataset, load_model, shipped_models

    for name in shipped_links():
        load_link(name)
    for entry in shipped_models():
        load_model(entry.name)
        load_dataset(entry.dataset)


def _writable() -> None:
    try:
        with tempfile.TemporaryDirectory(dir=Path.cwd()):
            pass
    except OSError as error:
        raise PermissionError(f"{Path.cwd()} cannot be written ({error.strerror}); give --out") from None


def _inference() -> None:
    from labqdl.api import run

    with tempfile.TemporaryDirectory() as folder:
        result = run(model="breast-cancer", images=2, link="paper", seed=1, folder=Path(folder) / "run")
    if result.images != 2:
        raise RuntimeError(f"2 images were asked for, {result.images} came back")


def _print(output: Output, report: dict[str, Any]) -> None:
    console = output.results
    for key, value in report["provenance"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {entry}" for name, entry in value.items())
        if value:
            console.print(f"{key.replace('_', ' ')}: {value}", markup=False)
    for extra, found in report["extras"].items():
        missing = [name for name, present in found.items() if not present]
        state = "installed" if not missing else f"not installed (pip install 'labqdl\\[{extra}]')"
        console.print(f"extra {extra}: {state}")
    for name, outcome in report["checks"].items():
        console.print(f"{name}: {outcome}")
