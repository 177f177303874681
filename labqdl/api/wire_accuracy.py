"""Accuracy of a model through a station at several F^2, against theory, image by image."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.api.bench import CalibratedBench, Table
from labqdl.api.blocks import finished_blocks, load_logits
from labqdl.api.experiment import STATION_MODEL, layers_light
from labqdl.api.running import run
from labqdl.errors import InputError
from labqdl.network import Network, default_dataset, load_dataset, load_model, predictions
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.records import RunFolder
from labqdl.station import Station
from labqdl.units import from_db

F2_DB = (-10.0, -7.0, -4.0, -1.0, 3.0)
"""Points: from almost nothing to almost all that the shipped model can do."""
DRAWS = 400
"""Noise draws of theory for each image."""
_BRIGHTEST = 1e9


@dataclass(frozen=True, slots=True)
class AccuracyPoint:
    """Accuracy at one F^2.

    Attributes
    ----------
    f2_db, mu:
        Signal-to-noise ratio of the first layer's outcomes by the ledger, dB; photons a mode for it.
    images:
        That came through.
    wire, theory:
        Share that the wire got right; mean probability of theory for these very images.
    z:
        Their difference in standard deviations; image by image the wire's answer is right with theory's probability.
    """

    f2_db: float
    mu: float
    images: int
    wire: float
    theory: float
    z: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def wire_accuracy(
    bench: CalibratedBench,
    images: int,
    *,
    model: str = STATION_MODEL,
    f2_db: Sequence[float] = F2_DB,
    seed: int = 1,
    on_point: Callable[[int, int], None] | None = None,
) -> tuple[AccuracyPoint, ...]:
    """Classify the first images of a model's own data at each F^2, and compare with theory.

    Runs are made in a folder that is thrown away; they are verified like any other, with the verdict left aside.

    Raises
    ------
    InputError
        For more images than there are.
    BenchStopped
        Where a part of the bench stands in the way.
    """
    network, source = load_model(model), default_dataset(model)
    assert source is not None
    data = load_dataset(source)
    if not 1 <= images <= len(data):
        raise InputError(f"{images} images", source="--accuracy", expected=f"1 to {len(data)}")
    data = data.first(images)
    assert data.labels is not None
    found = []
    for number, point in enumerate(f2_db):
        mu = _light_for(bench, from_db(point))
        logits = _through(bench, model, images, mu, seed + number)
        right = [predictions(value.astype(np.float32)) for value in logits.values()]
        chosen = np.concatenate([np.asarray(places) for places in logits])
        hits = np.concatenate(right) == data.labels[chosen]
        vectors = network.prepare(data.data, source=data.source)[chosen]
        chance = _chances(bench, network, vectors, data.labels[chosen], mu, seed)
        spread = math.sqrt(float(np.sum(chance * (1.0 - chance))) + float(np.sum(chance * (1.0 - chance))) / DRAWS)
        away = float(np.sum(hits) - np.sum(chance))
        z = away / max(spread, 1e-3)
        found.append(AccuracyPoint(point, mu, len(chosen), float(np.mean(hits)), float(np.mean(chance)), z))
        if on_point is not None:
            on_point(number + 1, len(f2_db))
    return tuple(found)


def _law(bench: CalibratedBench, mu: float) -> LinkLaw:
    path = bench.light_path(mu)
    assert path.point is not None
    return LinkLaw.from_ledger(path.ledger, honest(path.ledger, path.point.tap))


def _light_for(bench: CalibratedBench, ratio: float) -> float:
    """Photons a mode at which an outcome's signal-to-noise ratio is this."""
    law, low, high = _law(bench, 1.0), 1e-6, _BRIGHTEST
    if signal_to_noise(law, high) < ratio:
        raise InputError("the locks leave too much phase noise for such an F²", source="--accuracy")
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if signal_to_noise(law, middle) < ratio else (low, middle)
    return float(f"{high:.4g}")


def _through(
    bench: CalibratedBench, model: str, images: int, mu: float, seed: int
) -> dict[tuple[int, ...], NDArray[np.floating[Any]]]:
    """Network outputs of the images that came through, by their places."""

    def there(station: str, profile: str | None, /, *, arm: bool) -> AbstractContextManager[Station]:
        return nullcontext(bench.station)

    with tempfile.TemporaryDirectory(prefix="labqdl-accuracy-") as name:
        folder = Path(name) / "run"
        station = bench.station.file
        run(
            station=bench.source, profile=station.profile, model=model, images=images, mu=mu, seed=seed, folder=folder,
            table=Table(open=there, bench=bench),
        )  # fmt: skip
        with RunFolder.open(folder) as record:
            from labqdl.api.reading import recorded_frame

            frame = recorded_frame(record)
            complete = [block for block, whole in finished_blocks(record).items() if whole]
            return {tuple(frame.block_images(block)): load_logits(record, frame, block) for block in complete}


def _chances(
    bench: CalibratedBench,
    network: Network,
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    mu: float,
    seed: int,
) -> NDArray[np.float64]:
    """Probability for each image that it is classified right, each layer with the noise of its own light."""
    law, generator = _law(bench, mu), np.random.Generator(np.random.SFC64(seed))
    sigmas = [1.0 / math.sqrt(signal_to_noise(law, light)) for light in layers_light(network, mu, 0.0)]
    right = np.zeros(len(vectors))
    for _ in range(DRAWS):
        outcomes, norms = network.first_outcomes(vectors)
        for (layer, following), sigma in zip(pairwise(network.layers), sigmas, strict=False):
            noise = np.float32(sigma) * generator.standard_normal(outcomes.shape, dtype=np.float32)
            units, norms = following.directions(layer.finish(outcomes + noise, norms))
            outcomes = units @ following.unit_weights.T
        noise = np.float32(sigmas[-1]) * generator.standard_normal(outcomes.shape, dtype=np.float32)
        right += predictions(network.layers[-1].finish(outcomes + noise, norms)) == labels
    return right / DRAWS
