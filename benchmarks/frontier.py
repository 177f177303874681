"""The least light and the least leakage for a given accuracy on MNIST, and the network that the paper's resembles.

``python -m benchmarks.frontier MODEL [MODEL ...] [--json FILE] [--page FILE]``

A MODEL is the name of a shipped model or the path of one that ``python -m labqdl.network.recipes NAME MNIST FOLDER``
wrote. The test digits are looked at here and nowhere before: recipes were chosen on a part of the training digits.
Writes docs/_data/frontier.json and, between its marks, the tables of docs/beating-the-paper.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from labqdl.facts import Component, Ledger, Owner, Place, TapKind
from labqdl.network import DenseLayer, Network, accuracy_exact, accuracy_vs_f2, load_dataset, load_model
from labqdl.planner.curves import MeasuredCurve
from labqdl.planner.question import Aim, Question, Subject
from labqdl.planner.search import Point, Search
from labqdl.planner.stage import Stage
from labqdl.security.channel import honest_channel
from labqdl.security.spectrum import Spectrum, layer_spectrum
from labqdl.units import from_db

Array = NDArray[np.float64]

TOP = Path(__file__).parent.parent
DATA = TOP / "docs" / "_data" / "frontier.json"
PAGE = TOP / "docs" / "beating-the-paper.md"
MARKS = ("<!-- frontier: begin -->", "<!-- frontier: end -->")
TARGETS = (0.96, 0.97)
DRAWS = 10
STEP = 0.5
"""dB between the points of a curve."""
LINKS = (("ideal", 0.0), ("0.1 dB of untrusted loss", 0.1), ("1 dB of untrusted loss", 1.0))
DATA_LIMIT = 0.001
"""Bits per feature on the ideal link: there the weights' bound hardly depends on it."""


def spectrum(layer: DenseLayer) -> Spectrum:
    """What a client that moves its noise between rows and directions can make of the layer's unequal light."""
    weights = layer.unit_weights.astype(np.float64)
    return layer_spectrum(np.pad(weights, ((0, 0), (0, weights.shape[1] % 2))))


def link(loss_db: float) -> Ledger:
    """A fibre of so much loss, half of it on either way, that belongs to the client as far as the bounds go."""
    if loss_db == 0.0:
        return Ledger("ideal", ())
    half = from_db(-loss_db / 2)
    return Ledger(
        f"{loss_db:g} dB",
        (
            Component("way out", Place.FORWARD, Owner.CLIENT, transmissivity=half),
            Component("way home", Place.RETURN, Owner.CLIENT, transmissivity=half),
        ),
    )


@dataclass(frozen=True)
class Leakage:
    """The best point of one model on one link.

    Attributes: `layers` bits per weight of each layer (water filling over its rows and directions; the worst of all
    spectra for a layer of too few rows to tell its own), `mean` the same averaged over all weights, `data` bits per
    feature.
    """

    stage: str
    tapped: float
    mu: float
    layers: tuple[float, ...]
    mean: float
    data: float

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stage", "tapped", "mu", "layers", "mean", "data")}


def best_leakage(
    network: Network, spectra: tuple[Spectrum, ...], f2_db: float, ledger: Ledger, limit: float
) -> Leakage:
    """Least leakage of the weights at this F^2 with at most `limit` bits per feature, over taps and their settings."""
    subject = Subject(network.name, network.frame_layers(1.0), spectra)
    limited = None if math.isinf(limit) else limit
    found: list[Point] = []
    for kind in TapKind:
        question = Question(
            subject, ledger, (Stage(kind),), f2_db=f2_db, bits_per_feature=limited, aim=Aim.WEIGHTS, last_layer_db=0.0
        )
        point = Search(question, question.stages[0]).best(from_db(f2_db))
        if point is not None and point.data <= limit * (1 + 1e-6):
            found.append(point)
    best = min(found, key=lambda point: point.weights)
    bits, weights = 0.0, 0
    each: list[float] = []
    for layer, values in zip(best.layers, spectra, strict=True):
        charged = honest_channel(mu=layer.mu, n_modes=layer.n_modes, setting=best.setting, ledger=best.ledger)
        leaked = values.leakage(mu=charged.mu, transmissivity=charged.transmissivity, excess=charged.excess)
        count = layer.rows * layer.n_features
        bits += count * 0.5 * leaked
        each.append(0.5 * leaked)
        weights += count
    return Leakage(best.stage.name, best.tapped, best.mu, tuple(each), bits / weights, best.data)


def crossing(curve: MeasuredCurve, accuracy: float) -> dict[str, float | None]:
    """F^2 in dB at which the curve reaches the accuracy, and where the ends of its 95 % interval do."""
    low, high = 0.5, accuracy
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if curve.interval(middle)[1] >= accuracy else (middle, high)
    return {
        "f2_db": curve.f2_for(accuracy),
        "low": curve.f2_for(high),
        "high": curve.f2_for(accuracy, assured=True),
    }


def measured(network: Network, draws: int = DRAWS) -> tuple[MeasuredCurve, float]:
    """The test digits, once: accuracy against F^2 (mean of `draws` draws) and without noise."""
    test = load_dataset("mnist-test")
    assert test.labels is not None
    training = network.notes.get("training")
    lowest, highest = -10.0, 10.0
    if isinstance(training, dict) and isinstance(training.get("f2_db"), list | tuple):
        lowest = float(training["f2_db"][0]) - 1.0
        highest = min(lowest + 14.0, 10.0)
    points = np.arange(lowest, highest + STEP / 2, STEP)
    generator = np.random.Generator(np.random.SFC64(20251))
    curve = accuracy_vs_f2(network, test.data, test.labels, points.tolist(), draws, generator)
    found = MeasuredCurve(
        points, np.zeros(1), curve.mean[None, :], curve.vectors, draws, "the 10,000 test digits of MNIST", ""
    )
    return found, accuracy_exact(network, test.data, test.labels)


def of_model(network: Network) -> dict[str, Any]:
    """Everything about one model."""
    curve, exact = measured(network)
    spectra = tuple(spectrum(layer) for layer in network.layers)
    powers = [np.mean(layer.unit_weights.astype(np.float64) ** 2, axis=1) for layer in network.layers]
    weights = sum(layer.rows * layer.n_features for layer in network.layers)
    found: dict[str, Any] = {
        "description": network.description,
        "fingerprint": network.fingerprint,
        "exact": exact,
        "f2_db": curve.f2_db.tolist(),
        "accuracy": np.round(curve.accuracy[0], 5).tolist(),
        "vectors": curve.vectors,
        "draws": curve.draws,
        "light_of_layers": [layer.light for layer in network.layers],
        "mean_light": sum(layer.light * layer.rows * layer.n_features for layer in network.layers) / weights,
        "mean_square_light_of_rows": [float(np.mean(power**2) / np.mean(power) ** 2) for power in powers],
        "weights": weights,
        "targets": {f"{target:g}": crossing(curve, target) for target in TARGETS},
        "leakage": [],
    }
    f2_db = found["targets"]["0.96"]["f2_db"]
    for title, loss_db in LINKS:
        # With loss the best tap is strong, and limits on the data cost much: without one.
        limit = DATA_LIMIT if loss_db == 0.0 else math.inf
        best = best_leakage(network, spectra, f2_db, link(loss_db), limit)
        found["leakage"].append({"link": title, "data_limit": None if math.isinf(limit) else limit, **best.to_json()})
    return found


def tables(document: dict[str, Any]) -> str:
    """The page's tables."""
    models: dict[str, Any] = document["models"]
    lines = [
        "| model | F² for 96 % (95 % interval) | F² for 97 % | light of the last layer | without noise |",
        "|---|---|---|---|---|",
    ]

    def decibels(target: dict[str, float | None]) -> str:
        if target["f2_db"] is None:
            return "not reached"
        ends = "..".join("?" if target[end] is None else f"{target[end]:.1f}" for end in ("low", "high"))
        return f"{target['f2_db']:.1f} dB ({ends})"

    for name, found in models.items():
        share = 10 * math.log10(found["light_of_layers"][-1] / found["light_of_layers"][0])
        lines.append(
            f"| `{name}` | {decibels(found['targets']['0.96'])} | {decibels(found['targets']['0.97'])} | "
            f"{'as the first' if share == 0 else f'{share:+.0f} dB'} | {100 * found['exact']:.2f} % |"
        )
    lines += [
        "",
        "| link | model | tap, tapped share | mu | I_w by layer | I_w, mean over weights | I_x |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, entry in enumerate(next(iter(models.values()))["leakage"]):
        where = entry["link"]
        if entry["data_limit"] is not None:
            where += f", I_x at most {entry['data_limit']:g}"
        for name, found in models.items():
            point = found["leakage"][index]
            lines.append(
                f"| {where} | `{name}` | {point['stage']}, {point['tapped']:.2g} | {point['mu']:.3g} | "
                f"{' / '.join(f'{bits:.4f}' for bits in point['layers'])} | {point['mean']:.4f} | {point['data']:.4f} |"
            )
    return "\n".join(lines)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL ...")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), default=DATA, show_default=False)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=PAGE, show_default=False)
def main(models: tuple[str, ...], json_file: Path, page: Path) -> None:
    """Measure MODELs, write the JSON and the tables of the page."""
    document: dict[str, Any] = {"schema": "labqdl.frontier", "version": 1, "models": {}}
    for model in models:
        network = load_model(model)
        click.echo(f"{network.name} ...", err=True)
        document["models"][network.name] = of_model(network)
    text = tables(document)
    click.echo(text)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if page.exists():
        before, rest = page.read_text(encoding="utf-8").split(MARKS[0], 1)
        after = rest.split(MARKS[1], 1)[1]
        page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.frontier")
