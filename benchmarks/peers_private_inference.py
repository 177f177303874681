"""What else one could take for the private inference of a 784-784-10 network, measured in one run where it installs.

``python -m benchmarks.peers_private_inference --python spu=/path/to/python --python tenseal=... [--json FILE]``

Every peer runs in the interpreter that is named for it, since no two of them live in one environment; one without an
interpreter, or whose interpreter lacks it, is skipped with words, and nothing is quoted for it. All get the same
network, `mnist-plain` (784-784-10, ReLU, no biases), and the same first test digits, one image at a call, one thread
for each process. labqdl's own lines are the optical time of its frame, computed, and the time of its emulation,
measured. The peers do the work that labqdl leaves to light, so their security is computational or rests on a dealer;
the table says what each leaves in the clear.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.harness import blas_threads, machine
from benchmarks.passes import outcomes_pass, statistics_pass
from benchmarks.private_peers import PEERS, spu_bytes
from benchmarks.workload import BLOCK, digits
from labqdl.config import load_link
from labqdl.network import accuracy_vs_f2, load_dataset, load_model
from labqdl.optics.expectation import signal_to_noise
from labqdl.units import to_db

RESULTS = Path(__file__).parent / "results"
SCHEMA = "labqdl.private-inference"
BAUD = 100e6
PACKAGES = {"spu": "spu", "crypten": "crypten", "tenseal": "tenseal", "concrete": "concrete-ml"}
LEFT = {
    "spu": "dealer trusted not to collude; parties honest but curious",
    "crypten": "dealer trusted not to collude; parties honest but curious",
    "tenseal": "client sees the hidden values, as with light; server honest but curious",
    "concrete": "server honest but curious",
}
"""What each peer's privacy rests on."""


def of_peer(name: str, python: str | None, inputs: Path, images: int, timeout: float) -> dict[str, Any]:
    """One peer's figures, or {"skipped": why}."""
    if python is None:
        return {"skipped": f"no interpreter named; pip install {PACKAGES[name]} and --python {name}=PATH"}
    script = Path(__file__).with_name("private_peers.py")
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    try:
        # A group of its own, so that a peer that hangs leaves none of its parties behind (POSIX).
        started = subprocess.Popen(
            [python, str(script), name, str(inputs), str(images)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **single},
            start_new_session=True,
        )
    except OSError as error:
        return {"skipped": f"the interpreter does not start: {error.strerror}"}
    try:
        words, complaints = started.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(started.pid, signal.SIGKILL)
        started.kill()
        started.communicate()
        return {"skipped": f"not finished after {timeout:g} s"}
    lines = words.strip().splitlines()
    if started.returncode != 0 or not lines or not lines[-1].startswith("{"):
        last = complaints.strip().splitlines()
        return {"skipped": f"ended with code {started.returncode}: {last[-1] if last else 'no words'}"}
    answer: dict[str, Any] = json.loads(lines[-1])
    if "missing" in answer:
        return {"skipped": f"not installed there: {answer['missing']}"}
    if name == "spu" and (sent := spu_bytes(words + complaints)) is not None:
        answer["bytes"] = 2 * sent  # both parties
    return {**answer, "rests_on": LEFT[name]}


def of_light(images: int, repeats: int) -> dict[str, Any]:
    """labqdl: time of the light of one image from its frame, time of the emulation, accuracy at the operating point."""
    work, link = digits(), load_link("ideal")
    point = link.operating_point
    assert point is not None
    symbols = sum(frame.rows * frame.n_modes for frame in work.network.frame_layers(point.mu))
    f2_db = to_db(signal_to_noise(work.law, point.mu))
    test = load_dataset("mnist-test")
    assert test.labels is not None
    curve = accuracy_vs_f2(work.network, test.data, test.labels, [f2_db], 10, np.random.Generator(np.random.SFC64(1)))
    answer: dict[str, Any] = {
        "model": work.network.name,
        "f2_db": f2_db,
        "accuracy": float(curve.mean[0]),
        "symbols_each_way": symbols,
        "baud": BAUD,
        "optical_seconds": symbols / BAUD,
        "bytes": 0,
    }
    with blas_threads(1):
        for depth, make in (("outcomes", outcomes_pass), ("statistics", statistics_pass)):
            run = make(work, images, BLOCK, 1)
            run()
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                run()
                times.append((time.perf_counter() - started) / images)
            answer[f"{depth}_seconds"] = statistics.median(times)
    return answer


def lines_of(document: dict[str, Any]) -> list[str]:
    """The table of docs/benchmarks.md."""
    light = document["labqdl"]
    rows = [
        "| | ms an image (processor time) | right | bytes an image | privacy rests on |",
        "|---|---|---|---|---|",
        f"| labqdl, light at {light['baud'] / 1e6:g} MBd (computed) | {1e3 * light['optical_seconds']:.2f} | "
        f"{100 * light['accuracy']:.1f} % at F² = {light['f2_db']:.1f} dB | "
        f"{light['symbols_each_way']:,} symbols each way | quantum noise; bounds of this package |",
        f"| labqdl, emulation: outcomes | {1e3 * light['outcomes_seconds']:.3f} | as above | | nothing: a simulation |",
        f"| labqdl, emulation: outcomes and statistics | {1e3 * light['statistics_seconds']:.3f} | as above | | "
        "nothing: a simulation |",
    ]
    for name, found in document["peers"].items():
        title = PACKAGES[name]
        if "skipped" in found:
            rows.append(f"| {title} | not measured: {found['skipped']} | | | |")
            continue
        sent = f"{found['bytes'] / 1e6:.2f} MB" if "bytes" in found else "not told"
        rows.append(
            f"| {title} {found['version']}: {found['what']} | {1e3 * found['seconds']:,.0f} "
            f"({1e3 * found['cpu_seconds']:,.0f}) | "
            f"{found['right']} of {found['images']} ({found['agree']} as in the clear) | {sent} | {found['rests_on']} |"
        )
    return rows


@click.command()
@click.option("--python", "pythons", multiple=True, metavar="PEER=PATH", help="Interpreter that has the peer.")
@click.option("--images", type=click.IntRange(min=1, max=500), default=20, show_default=True, help="For each peer.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Seconds for each.")
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Of labqdl's emulation.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Where the JSON goes.")
def main(pythons: tuple[str, ...], images: int, timeout: float, repeats: int, json_file: Path | None) -> None:
    """Measure every peer that an interpreter is named for, and labqdl beside them."""
    chosen = dict(entry.split("=", 1) for entry in pythons if "=" in entry)
    if unknown := sorted(set(chosen) - set(PEERS)) or [entry for entry in pythons if "=" not in entry]:
        raise click.UsageError(f"--python {unknown[0]}: expected PEER=PATH with one of {', '.join(PEERS)}")
    network, test = load_model("mnist-plain"), load_dataset("mnist-test")
    assert test.labels is not None
    document: dict[str, Any] = {"schema": SCHEMA, "version": 1, "machine": machine()}
    document["labqdl"] = of_light(2560, repeats)
    document["peers"] = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        first, second = (layer.weights for layer in network.layers)
        vectors = network.prepare(test.data[:500])
        np.savez(inputs, vectors=vectors, labels=test.labels[:500], first=first, second=second)
        for name in PEERS:
            click.echo(f"{name} ...", err=True)
            document["peers"][name] = of_peer(name, chosen.get(name), inputs, images, timeout)
    for line in lines_of(document):
        click.echo(line)
    path = json_file or RESULTS / f"peers-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    click.echo(f"results: {click.format_filename(path)}")


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m benchmarks.peers_private_inference"))
