"""How the shipped models and those of docs/beating-the-paper.md were made: one seeded plan each, and what follows it.

With the extra ``train`` and the MNIST training files in a folder MNIST::

    python -m labqdl.network.recipes mnist-robust MNIST FOLDER

Models whose training data ship need no folder; `labqdl train DATA NAME --recipe NAME --shipped` does the same:

    labqdl train digits-train digits --recipe digits --shipped

Everything was chosen on the validation part of the training data. The test data enter once, at the end, for the
figures in the model's notes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labqdl.errors import InputError
from labqdl.facts import Activation, ActivationKind
from labqdl.network.augment import Augmentation
from labqdl.network.catalogue import SHIPPED_MODELS
from labqdl.network.datasets import SHIPPED, Dataset, load_dataset, load_idx, load_sklearn
from labqdl.network.evaluate import AccuracyCurve, accuracy_exact, accuracy_vs_f2
from labqdl.network.model import DenseLayer, Network
from labqdl.network.storage import network_from_bytes, save_network
from labqdl.network.train import TrainingPlan, TrainingProgress, TrainingReport, train

FIGURE_F2_DB = (-10.0, -8.0, -7.0, -5.0, -3.0, 0.0, 3.0, 5.0, 6.0, 10.0)
FIGURE_DRAWS = 10

_DIM: dict[str, Any] = {
    "pipeline": ("scale", "deskew", "blur:0.8", "power:0.7", "flatten", "centre", "normalise"),
    "activation": Activation(ActivationKind.RELU, threshold=4.0),
    "batch": 256,
    "learning_rate": 0.2,
    "averaging": 0.9995,
    "augmentation": Augmentation(shift=0.25, rotation=0.02, scale=0.02, slant=0.02, elastic=0.25),
}
PLANS: dict[str, TrainingPlan] = {
    "mnist-plain": TrainingPlan(
        name="mnist-plain",
        description="784-784-10, ReLU, no biases, trained without noise, like the network of PRX 15, 041056",
        learn_threshold=False,
        centred=False,
        pipeline=("scale", "flatten", "normalise"),
        f2_db=None,
        light="free",
        epochs=20,
        batch=64,
        learning_rate=2e-3,
        averaging=0.0,
    ),
    "mnist-robust": TrainingPlan(
        name="mnist-robust",
        description="784-784-10, ReLU with one public threshold, no biases, trained with the light's noise",
        activation=Activation(ActivationKind.RELU, threshold=4.0),
        pipeline=("scale", "deskew", "blur:0.8", "power:0.5", "flatten", "centre", "normalise"),
        f2_db=(-11.0, 11.0),
        light="row",
        isotropy=0.02,
        epochs=60,
        batch=256,
        learning_rate=0.1,
        averaging=0.9995,
        augmentation=Augmentation(shift=0.4, rotation=0.03, scale=0.035, slant=0.03, elastic=0.4),
    ),
    "mnist-faint": TrainingPlan(
        name="mnist-faint",
        description="784-784-10 for the least light in total: rows and layers share it as training found best",
        light="layer",
        layers_db=(0.0, 14.0),
        f2_db=(-19.0, -15.0),
        report_f2_db=(-20.0, -19.0, -18.0, -17.0, -16.0, -15.0, -14.0),
        epochs=80,
        **_DIM,
    ),
    "mnist-discreet": TrainingPlan(
        name="mnist-discreet",
        description="784-784-10 for the least leakage: the same light in both layers, shared by the rows of each",
        light="layer",
        f2_db=(-14.0, -10.0),
        report_f2_db=(-14.0, -13.0, -12.0, -11.0, -10.0, -9.0, -8.0),
        epochs=40,
        **_DIM,
    ),
    "digits": TrainingPlan(
        name="digits",
        description="64-32-10, ReLU with one public threshold, no biases, for digits of 8 x 8 pixels; noise-aware",
        hidden=(32,),
        activation=Activation(ActivationKind.RELU, threshold=1.0),
        pipeline=("flatten", "centre", "normalise"),
        f2_db=(-5.0, 12.0),
        light="layer",
        epochs=300,
        batch=128,
        learning_rate=0.05,
        averaging=0.995,
        label_smoothing=0.02,
        report_f2_db=(-5.0, 0.0, 3.0, 6.0, 10.0),
        report_draws=10,
    ),
    "breast-cancer": TrainingPlan(
        name="breast-cancer",
        description="30-32-2 with biases for the breast cancer Wisconsin (diagnostic) data; noise-aware",
        hidden=(32,),
        bias=True,
        learn_threshold=False,
        centred=False,
        pipeline=("standardise", "normalise"),
        f2_db=(-5.0, 15.0),
        light="layer",
        epochs=400,
        batch=64,
        learning_rate=0.01,
        averaging=0.99,
        label_smoothing=0.02,
    ),
}

FRONTIER: dict[str, TrainingPlan] = {
    "mnist-same-light": TrainingPlan(
        name="mnist-same-light",
        description="784-784-10 for the least light where every row and layer gets the same",
        light="row",
        f2_db=(-12.0, -8.0),
        report_f2_db=(-12.0, -11.0, -10.0, -9.0, -8.0, -7.0, -6.0),
        epochs=60,
        **_DIM,
    ),
}
"""Plans of the models of docs/beating-the-paper.md that do not ship."""


def build(
    name: str,
    mnist: str | Path,
    out: str | Path,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> tuple[Network, TrainingReport]:
    """Train a model by its recipe, measure it on the test data and write it to the folder `out`.

    Parameters
    ----------
    mnist:
        Folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, gzip-compressed or not; not used for models
        whose training data ship with labqdl.

    Raises
    ------
    InputError
        For an unknown name, missing data and a missing extra.
    """
    plans = PLANS | FRONTIER
    if name not in plans:
        raise InputError(f"there is no recipe '{name}'", expected="one of " + ", ".join(plans))
    own = f"{name}-train"
    training = SHIPPED[own]() if own in SHIPPED else _mnist_training(Path(mnist))
    assert training.labels is not None
    test = measured_on(name)
    network, report = train(plans[name], training.data, training.labels, on_progress, classes=test.classes)
    return ship(network, report.curve, test, Path(out) / network.name), report


def measured_on(name: str) -> Dataset:
    """The data on which the model of a recipe is measured at the end."""
    return load_dataset(SHIPPED_MODELS.get(name, "mnist-test"))


def ship(network: Network, validation: AccuracyCurve, test: Dataset, target: Path) -> Network:
    """Round a finished network to float16, measure it on the test data, write it with its notes.

    `target` is the path that both files share, without suffix.
    """
    # Figures belong to the numbers that ship, so they are taken after the rounding.
    files = save_network(network, target, dtype=np.float16)
    shipped = network_from_bytes(files[0].read_bytes(), files[1].read_bytes(), source=str(target))
    notes: dict[str, Any] = {
        **network.notes,
        "validation": {"data": validation.vectors, **_figures(validation)},
        "test": measure(shipped, test, _points(validation)),
        "light": [_light(layer) for layer in shipped.layers],
        "licence": "Apache-2.0; public means and deviations under the terms of the data: labqdl/data/LICENSES.md",
    }
    shipped = dataclasses.replace(shipped, notes=notes)
    save_network(shipped, target, dtype=np.float16)
    return shipped


def pack_digits(file: str | Path) -> None:
    """Write `labqdl/data/digits.npz` again from scikit-learn's copy of the data; needs the extra ``train``.

    Parameters
    ----------
    file:
        Archive to be written: `data` (1797, 8, 8) and `labels` as bytes, `test` true for the 360 digits of the
        stratified part for testing.
    """
    from sklearn.model_selection import train_test_split

    found = load_sklearn("digits")
    _, chosen = train_test_split(np.arange(len(found)), test_size=360, stratify=found.labels, random_state=20250)
    test = np.zeros(len(found), np.bool_)
    test[chosen] = True
    assert found.labels is not None
    np.savez_compressed(file, data=found.data.astype(np.uint8), labels=found.labels.astype(np.uint8), test=test)


def _points(validation: AccuracyCurve) -> tuple[float, ...]:
    """F^2 in dB for the test set: the usual points, or for a model of less light those where it was validated."""
    below = tuple(float(f2_db) for f2_db in validation.f2_db if f2_db < FIGURE_F2_DB[0])
    return (*below, -10.0, -5.0, 0.0, 5.0) if below else FIGURE_F2_DB


def measure(network: Network, test: Dataset, f2_db: Sequence[float] = FIGURE_F2_DB) -> dict[str, Any]:
    """Accuracy on a test set without noise and at some F^2 in dB, mean of ten draws."""
    assert test.labels is not None
    generator = np.random.Generator(np.random.SFC64(20250))
    curve = accuracy_vs_f2(network, test.data, test.labels, f2_db, FIGURE_DRAWS, generator)
    return {
        "data": test.name,
        "exact": round(accuracy_exact(network, test.data, test.labels), 5),
        **_figures(curve),
    }


def _figures(curve: AccuracyCurve) -> dict[str, Any]:
    return {
        "draws": curve.accuracy.shape[1],
        "f2_db": [float(point) for point in curve.f2_db],
        "accuracy": [round(float(value), 5) for value in curve.mean],
        "standard_error": [round(float(value), 5) for value in curve.standard_error],
    }


def _light(layer: DenseLayer) -> dict[str, Any]:
    """How evenly a layer's light is spread, in units of its mean: over rows, features and directions."""
    power = np.square(layer.unit_weights, dtype=np.float64)
    rows, columns = power.mean(axis=1), power.mean(axis=0)
    found: dict[str, Any] = {
        "share_of_light": "same mean photons per mode in every layer"
        if layer.light == 1.0
        else f"{layer.light:.4g} times the mean over all rows",
        "rows": [round(float(rows.min()), 4), round(float(rows.max()), 4)],
        "columns": [round(float(columns.min()), 4), round(float(columns.max()), 4)],
    }
    # The spectrum of fewer rows than columns says how few they are, not how the weights lie.
    if power.shape[0] >= power.shape[1]:
        directions = layer.spectrum()
        found["largest_eigenvalue"] = round(float(directions[0]), 3)
        found["mean_square_eigenvalue"] = round(float(np.mean(directions**2)), 4)
    return found


def _mnist_training(folder: Path) -> Dataset:
    found = []
    for stem in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        names = [folder / f"{stem}.gz", folder / stem]
        existing = [path for path in names if path.exists()]
        if not existing:
            raise InputError("there is no such file", source=names[0], expected="the MNIST training data")
        found.append(existing[0])
    return load_idx(found[0], found[1], name="mnist-train")


def main() -> None:
    """`python -m labqdl.network.recipes NAME MNIST OUT`: train a model by its recipe and write it to a folder."""
    if len(sys.argv) != 4:
        raise SystemExit(f"usage: python -m labqdl.network.recipes NAME MNIST OUT\nNAME: {', '.join(PLANS | FRONTIER)}")
    try:
        name, mnist, out = sys.argv[1:]
        _, report = build(name, mnist, out)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    for f2_db, accuracy in zip(report.curve.f2_db, report.curve.mean, strict=True):
        sys.stdout.write(f"F2 {f2_db:6.1f} dB: {100 * accuracy:.2f} % of the validation part\n")


if __name__ == "__main__":
    main()
