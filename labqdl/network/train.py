"""Noise-aware training: a network learns with the light's noise, because it will be used with it.

After every optical layer a fresh unit normal, divided by F, is added to the outcomes, in units of weights of unit
RMS; after every step the weights are brought back to unit RMS (projected gradient), row by row or layer by layer.
The noise then cannot be outgrown by larger weights: what grows is the margin per photon.
Needs the extra ``train`` (JAX and optax), loaded when training starts.

`train` is seeded: on one machine and with one version of JAX the same plan gives the same numbers to the bit.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.facts import Activation, ActivationKind
from labqdl.network.augment import Augmentation, warp
from labqdl.network.evaluate import AccuracyCurve, accuracy_exact, accuracy_vs_f2
from labqdl.network.model import DenseLayer, Network
from labqdl.network.pipeline import (
    Blur,
    Centre,
    Deskew,
    Flatten,
    Normalise,
    Pipeline,
    Power,
    Scale,
    Standardise,
    Step,
)
from labqdl.network.splitting import held_out_indices
from labqdl.units import from_db

Floats = NDArray[np.float32]
STEP_NAMES = ("scale", "power", "deskew", "blur", "flatten", "centre", "standardise", "normalise")
_STEPS_WITH_NUMBER: dict[str, type[Power] | type[Blur]] = {"power": Power, "blur": Blur}
_PROBES = 16  # random vectors a step that estimate how unequal the spectrum of a layer is
LIGHTS = ("row", "layer", "free")


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that decides what a training gives, besides the data.

    Attributes
    ----------
    name, description:
        Of the model.
    hidden:
        Neurons of the hidden layers.
    bias:
        Biases in every layer; the scales of all but the last are then published.
    activation:
        Of the hidden layers; the last layer has none. For ReLU and leaky ReLU `threshold` is where training starts
        if `learn_threshold`.
    learn_threshold:
        Whether one public threshold for each hidden layer is learned.
    centred:
        Whether the client centres hidden vectors before the light.
    pipeline:
        Names of public steps in order (scale, power:EXPONENT, deskew, blur:PIXELS, flatten, centre, standardise,
        normalise); their arrays are taken from the training part of the data. None: for images scale, flatten,
        centre, normalise; for vectors standardise, normalise.
    f2_db:
        Signal-to-noise F^2 in dB: one number, a range (lowest, highest) from which each datum draws evenly in dB,
        or None for training without noise.
    layers_db:
        How the layers share the light: F^2 of each in dB against the others; None for the same in every layer.
        `f2_db` is the mean over all rows. A last layer of ten rows hardly counts in it, so light is well spent there.
    light:
        What has unit RMS after every step: each "row" (the same light in every row), each "layer" (rows share the
        layer's light as they learn to), or nothing ("free": ordinary training; the server scales the finished
        layers).
    isotropy:
        Weight of a penalty on unequal eigenvalues of the covariance of the rows of each hidden layer, C = W'W/rows:
        isotropy times tr(C^2)/columns, which is 1 for an isotropic layer. Training with noise drives the rows into
        few directions; a client who knows them may water-fill its attack (docs/physics.md, "Unequal weights"), so
        that equal light leaks more.
    epochs, batch, learning_rate:
        Adam with linear warm-up and cosine decay. With normalised light the rate is relative to weights of RMS 1.
    averaging:
        Decay of the exponential average of the weights over steps; 0 takes the last weights.
    label_smoothing:
        Share of the target probability that is spread over all classes.
    augmentation:
        Random warps of images, or None.
    validation:
        Share of the data that is set aside, never trained on, and gives the accuracies of the report.
    report_f2_db, report_draws:
        Points and noise draws of the report's table.
    seed:
        Of everything random.
    """

    name: str = "model"
    description: str = ""
    hidden: tuple[int, ...] = (784,)
    bias: bool = False
    activation: Activation = field(default_factory=lambda: Activation(ActivationKind.RELU))
    learn_threshold: bool = True
    centred: bool = True
    pipeline: tuple[str, ...] | None = None
    f2_db: float | tuple[float, float] | None = (-8.0, 11.0)
    layers_db: tuple[float, ...] | None = None
    light: str = "row"
    isotropy: float = 0.0
    epochs: int = 20
    batch: int = 256
    learning_rate: float = 0.1
    averaging: float = 0.999
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    validation: float = 0.1
    report_f2_db: tuple[float, ...] = (-10.0, -7.0, -5.0, -3.0, 0.0, 5.0, 10.0)
    report_draws: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        if any(neurons < 1 for neurons in self.hidden):
            raise InputError(f"found {self.hidden}", key="hidden", expected="positive numbers of neurons")
        for name in ("epochs", "batch", "report_draws"):
            if getattr(self, name) < 1:
                raise InputError(f"found {getattr(self, name)}", key=name, expected="at least 1")
        for name in ("averaging", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"found {getattr(self, name)!r}", key=name, expected="a number from 0 to below 1")
        if not 0 < self.validation < 1:
            raise InputError(f"found {self.validation!r}", key="validation", expected="a share between 0 and 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"found {self.learning_rate!r}", key="learning_rate", expected="a positive number")
        if not (math.isfinite(self.isotropy) and self.isotropy >= 0):
            raise InputError(f"found {self.isotropy!r}", key="isotropy", expected="a number that is not negative")
        if self.seed < 0:
            raise InputError(f"found {self.seed}", key="seed", expected="a number that is not negative")
        if self.light not in LIGHTS:
            raise InputError(f"found {self.light!r}", key="light", expected="one of " + ", ".join(LIGHTS))
        noise = self.noise_range
        if noise is not None and not (math.isfinite(noise[0]) and math.isfinite(noise[1]) and noise[0] <= noise[1]):
            raise InputError(f"found {self.f2_db!r}", key="f2_db", expected="finite dB, the lowest first")
        if self.layers_db is not None and not (
            len(self.layers_db) == len(self.hidden) + 1 and all(map(math.isfinite, self.layers_db))
        ):
            raise InputError(
                f"found {self.layers_db!r}", key="layers_db", expected=f"{len(self.hidden) + 1} finite numbers of dB"
            )
        for step in self.pipeline or ():
            _step_with_number(step)

    @property
    def noise_range(self) -> tuple[float, float] | None:
        """Lowest and highest F^2 in dB, or None."""
        if self.f2_db is None or isinstance(self.f2_db, tuple):
            return self.f2_db
        return (self.f2_db, self.f2_db)

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field, for the model's notes."""
        described = asdict(self)
        described["activation"]["kind"] = self.activation.kind.value
        if self.layers_db is None:
            del described["layers_db"]
        return described


def light_shares(rows: Sequence[int], layers_db: Sequence[float] | None) -> tuple[float, ...]:
    """Light of each layer in units of the mean over all rows, from ratios in dB (any zero); ones for None."""
    if layers_db is None:
        return (1.0,) * len(rows)
    ratios = [from_db(each) for each in layers_db]
    mean = sum(ratio * count for ratio, count in zip(ratios, rows, strict=True)) / sum(rows)
    return tuple(ratio / mean for ratio in ratios)


def _step_with_number(step: str) -> tuple[str, Step | None]:
    """Name of a step of a plan, and the step itself if a number behind a colon is all that it needs."""
    name, colon, number = step.partition(":")
    if name not in STEP_NAMES or bool(colon) != (name in _STEPS_WITH_NUMBER):
        raise InputError(
            f"unknown step {step!r}",
            key="pipeline",
            expected=", ".join(f"{word}:NUMBER" if word in _STEPS_WITH_NUMBER else word for word in STEP_NAMES),
        )
    if not colon:
        return name, None
    try:
        return name, _STEPS_WITH_NUMBER[name](float(number))
    except ValueError:
        raise InputError(f"found {step!r}", key="pipeline", expected=f"{name}: and a positive number") from None


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a training stands; handed to the progress callback after every step.

    `loss` is the mean loss of the steps since the last report of one (NaN before the first), `validation_accuracy`
    the fraction right without noise on the validation part at the end of the epoch before (NaN in the first).
    """

    step: int
    steps: int
    epoch: int
    loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came out of a training.

    Attributes
    ----------
    plan:
        What was asked for.
    trained_on, validated_on:
        Numbers of data.
    losses:
        Mean loss of each epoch.
    validation_accuracy:
        Fraction right without noise on the validation part after each epoch; the last is the finished network's.
    curve:
        Accuracy against F^2 of the finished network on the validation part.
    """

    plan: TrainingPlan
    trained_on: int
    validated_on: int
    losses: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    curve: AccuracyCurve


def train(
    plan: TrainingPlan,
    data: NDArray[Any],
    labels: NDArray[np.integer],
    on_progress: Callable[[TrainingProgress], None] | None = None,
    *,
    classes: tuple[str, ...] = (),
) -> tuple[Network, TrainingReport]:
    """Train a network.

    Parameters
    ----------
    data, labels:
        Raw data (data, *shape) and the index of the right output for each.
    on_progress:
        Called after every step.
    classes:
        Names of the outputs.

    Raises
    ------
    InputError
        Where JAX is not installed, for data and labels that do not fit, and if the loss becomes infinite or NaN.
    """
    jax, optax = _libraries()
    labels = _checked_labels(data, labels)
    outputs = max(int(labels.max()) + 1, len(classes), 2)
    held_out, used = held_out_indices(len(data), plan.validation, plan.seed)
    if len(used) == 0:
        raise InputError(f"{len(data)} data leave none to train on", expected="more data or a smaller validation share")
    batch = min(plan.batch, len(used))
    if plan.augmentation is not None:
        if data.ndim != 3:
            raise InputError(f"data of shape {data.shape} are no images", key="augmentation", expected="(n, h, w)")
        batch -= batch % plan.augmentation.group
        if batch == 0:
            raise InputError(f"batch is below the group of {plan.augmentation.group}", key="batch")

    # Steps that move pixels come first and once; warps act on their result; the rest follows in every step.
    early, late = _fit_pipeline(plan, data, used)
    images = data.astype(np.float32)
    for step in early:
        images = np.concatenate([step.apply(part) for part in np.array_split(images, -(-len(images) // 2048))])
    try:
        pipeline = Pipeline(tuple(data.shape[1:]), (*early, *late))
    except ValueError as error:
        raise InputError(str(error), key="pipeline") from None

    def prepared(rows: Floats) -> Floats:
        for step in late:
            rows = step.apply(rows)
        return rows

    fixed = None if plan.augmentation is not None else prepared(images)
    run = _Run(plan, jax, optax, pipeline.n_features, outputs, steps_per_epoch=max(1, len(used) // batch))
    generator = np.random.Generator(np.random.SFC64([plan.seed, 1]))
    noise = plan.noise_range
    losses: list[float] = []
    validated: list[float] = []
    recent = math.nan
    for epoch in range(plan.epochs):
        order = generator.permutation(used)
        total = 0.0
        for index in range(run.steps_per_epoch):
            rows = order[index * batch : (index + 1) * batch]
            if fixed is None:
                assert plan.augmentation is not None
                vectors = prepared(warp(images[rows], plan.augmentation, generator))
            else:
                vectors = fixed[rows]
            deviation = np.zeros(batch, dtype=np.float32)
            if noise is not None:
                deviation = (10 ** (-generator.uniform(*noise, size=batch) / 20)).astype(np.float32)
            loss = run.step(vectors, labels[rows], deviation)
            total += loss
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is no longer finite after {run.done} steps",
                    key="learning_rate",
                    expected="a smaller one",
                )
            recent = loss if math.isnan(recent) else 0.98 * recent + 0.02 * loss
            if on_progress is not None:
                last = validated[-1] if validated else math.nan
                on_progress(TrainingProgress(run.done, run.steps, epoch, recent, last))
        losses.append(total / run.steps_per_epoch)
        network = Network(
            name=plan.name,
            pipeline=pipeline,
            layers=run.layers(),
            description=plan.description,
            classes=classes,
            notes={"training": plan.to_json()},
        )
        validated.append(accuracy_exact(network, data[held_out], labels[held_out]))
    curve = accuracy_vs_f2(
        network,
        data[held_out],
        labels[held_out],
        plan.report_f2_db,
        plan.report_draws,
        np.random.Generator(np.random.SFC64([plan.seed, 2])),
    )
    report = TrainingReport(plan, len(used), len(held_out), tuple(losses), tuple(validated), curve)
    return network, report


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("jax"), importlib.import_module("optax")
    except ImportError as error:
        raise InputError(
            f"training needs JAX and optax, and '{error.name}' is not installed", hint="pip install 'labqdl[train]'"
        ) from None


def _checked_labels(data: NDArray[Any], labels: NDArray[np.integer]) -> NDArray[np.int32]:
    if data.ndim < 2 or len(data) < 2:
        raise InputError(f"data of shape {data.shape}", expected="at least two data, shape (data, ...)")
    if data.dtype.kind not in "biuf" or (data.dtype.kind == "f" and not np.isfinite(data).all()):
        raise InputError("the data are not finite real numbers")
    if labels.shape != (len(data),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(
            f"labels of type {labels.dtype} and shape {labels.shape}", expected=f"{len(data)} whole numbers from 0 on"
        )
    return labels.astype(np.int32)


def _fit_pipeline(
    plan: TrainingPlan, data: NDArray[Any], used: NDArray[np.integer]
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The plan's steps, fitted to the data in use: those that act on images, and those from 'flatten' on."""
    names = plan.pipeline
    if names is None:
        names = ("scale", "flatten", "centre", "normalise") if data.ndim > 2 else ("standardise", "normalise")
    early: list[Step] = []
    late: list[Step] = []
    current = data[used].astype(np.float32)
    for word in names:
        name, ready = _step_with_number(word)
        step: Step
        match name:
            case _ if ready is not None:
                step = ready
            case "scale":
                step = Scale(1 / 255 if data.dtype == np.uint8 else 1 / float(np.abs(current).max() or 1))
            case "deskew":
                step = Deskew()
            case "flatten":
                step = Flatten()
            case "centre":
                step = Centre(current.mean(axis=0, dtype=np.float64).astype(np.float32))
            case "standardise":
                deviation = current.std(axis=0, dtype=np.float64).astype(np.float32)
                # A feature that never varies carries nothing: it stays at zero instead of dividing by zero.
                deviation[deviation == 0] = 1
                step = Standardise(current.mean(axis=0, dtype=np.float64).astype(np.float32), deviation)
            case _:
                step = Normalise()
        try:
            step.output_shape(tuple(current.shape[1:]))
        except ValueError as error:
            raise InputError(f"step {word!r}: {error}", key="pipeline") from None
        (late if late or name == "flatten" else early).append(step)
        current = np.concatenate([step.apply(part) for part in np.array_split(current, -(-len(current) // 2048))])
    return tuple(early), tuple(late)


class _Run:
    """Parameters, optimiser and compiled step of one training."""

    def __init__(
        self, plan: TrainingPlan, jax: Any, optax: Any, features: int, outputs: int, *, steps_per_epoch: int
    ) -> None:
        self.plan = plan
        self.steps_per_epoch = steps_per_epoch
        self.steps = plan.epochs * steps_per_epoch
        self.done = 0
        self._jax = jax
        # Philox-based keys are several times faster than JAX's default on a CPU; noise needs no more.
        self._key = jax.random.key(plan.seed, impl="unsafe_rbg")
        widths = (features, *plan.hidden, outputs)
        self._light = light_shares(widths[1:], plan.layers_db)
        start = np.random.Generator(np.random.SFC64([plan.seed, 3]))
        # Logarithm of the inverse temperature of the softmax, and its slope over the logarithm of the noise.
        parameters: dict[str, Any] = {"temperature": np.array([-1.0, -0.5], np.float32)}
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            columns = before + int(plan.bias)
            # Free weights start small, as usual, so that what is learned outgrows the random start.
            size = before**-0.5 / math.sqrt(3) if plan.light == "free" else 1.0
            parameters[f"weights{index}"] = (size * start.standard_normal((after, columns))).astype(np.float32)
            if plan.bias and plan.light != "free" and index < len(plan.hidden):
                parameters[f"scale{index}"] = np.float32(math.log(before**-0.5))
        for index in range(len(plan.hidden)):
            parameters[f"threshold{index}"] = np.float32(plan.activation.threshold)
        self._parameters = jax.device_put(self._projected(parameters))
        self._average = self._parameters
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, plan.learning_rate, min(300, max(1, self.steps // 10)), max(2, self.steps), plan.learning_rate * 0.003
        )
        self._optimiser = optax.adam(schedule)
        self._state = self._optimiser.init(self._parameters)
        self._compiled = jax.jit(self._update)

    def step(self, vectors: Floats, labels: NDArray[np.int32], deviation: Floats) -> float:
        """One step of the optimiser on a batch; the loss before it."""
        decay = min(self.plan.averaging, (1 + self.done) / (10 + self.done)) if self.plan.averaging else 0.0
        key = self._jax.random.fold_in(self._key, self.done)
        self._parameters, self._average, self._state, loss = self._compiled(
            self._parameters, self._average, self._state, vectors, labels, deviation, key, np.float32(decay)
        )
        self.done += 1
        return float(loss)

    def layers(self) -> tuple[DenseLayer, ...]:
        """The averaged network."""
        plan = self.plan
        average = self._projected({name: np.asarray(value) for name, value in self._average.items()})
        layers = []
        count = len(plan.hidden) + 1
        for index in range(count):
            weights = np.asarray(average[f"weights{index}"])
            if f"scale{index}" in average:
                weights = weights * np.exp(average[f"scale{index}"])
            last = index == count - 1
            activation = Activation()
            if not last:
                threshold = float(average[f"threshold{index}"]) if plan.learn_threshold else plan.activation.threshold
                activation = Activation(plan.activation.kind, threshold, plan.activation.slope)
            layers.append(
                DenseLayer(
                    weights=weights[:, :-1] if plan.bias else weights,
                    bias=weights[:, -1] if plan.bias else None,
                    activation=activation,
                    # Later biases need the scale, and a threshold learned on free weights is in their units.
                    published_scale=(plan.bias and not last) or (plan.light == "free" and activation.threshold != 0),
                    centred=plan.centred and index > 0,
                    light=self._light[index],
                )
            )
        return tuple(layers)

    def _projected(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Weights brought back to unit RMS, row by row or layer by layer."""
        if self.plan.light == "free":
            return parameters
        axis = 1 if self.plan.light == "row" else None
        return {
            name: value / (value * value).mean(axis=axis, keepdims=True) ** 0.5 if name.startswith("weights") else value
            for name, value in parameters.items()
        }

    def _logits(self, parameters: dict[str, Any], vectors: Any, deviation: Any, key: Any) -> Any:
        """Outputs of the last layer; with normalised light per norm of its vector, times a learned temperature.

        Neither the norm nor the temperature, which depends on the noise, changes which output is the largest.
        """
        jnp, plan = self._jax.numpy, self.plan
        parameters = self._projected(parameters)
        count = len(plan.hidden) + 1
        outcomes = norms = vectors
        for index in range(count):
            weights = parameters[f"weights{index}"]
            scale = jnp.sqrt(jnp.mean(weights * weights)) if plan.light == "free" else 1.0
            factor = jnp.exp(parameters[f"scale{index}"]) if f"scale{index}" in parameters else 1.0
            if plan.centred and index > 0:
                vectors = vectors - vectors.mean(axis=1, keepdims=True)
            if plan.bias:
                vectors = jnp.concatenate([vectors, jnp.ones_like(vectors[:, :1])], axis=1)
            # The small number keeps the gradient of an all-zero vector finite.
            norms = jnp.sqrt((vectors * vectors).sum(axis=1, keepdims=True) + 1e-12)
            outcomes = (vectors / norms) @ weights.T
            if plan.noise_range is not None:
                noise = self._jax.random.normal(self._jax.random.fold_in(key, index), outcomes.shape)
                outcomes = outcomes + scale * self._light[index] ** -0.5 * deviation[:, None] * noise
            if index < count - 1:
                threshold = parameters[f"threshold{index}"] if plan.learn_threshold else plan.activation.threshold
                vectors = self._activate(outcomes * norms * factor - threshold)
        if plan.light == "free":
            return outcomes * norms
        inverse = parameters["temperature"][0]
        if plan.noise_range is not None:
            inverse = inverse + parameters["temperature"][1] * jnp.log(deviation)[:, None]
        return outcomes * jnp.exp(inverse)

    def _activate(self, shifted: Any) -> Any:
        jnp, activation = self._jax.numpy, self.plan.activation
        match activation.kind:
            case ActivationKind.RELU:
                return jnp.maximum(shifted, 0)
            case ActivationKind.LEAKY_RELU:
                return jnp.where(shifted > 0, shifted, activation.slope * shifted)
            case ActivationKind.SQUARE:
                return shifted * shifted
            case ActivationKind.IDENTITY:
                return shifted

    def _loss(self, parameters: dict[str, Any], vectors: Any, labels: Any, deviation: Any, key: Any) -> Any:
        jnp = self._jax.numpy
        log_p = self._jax.nn.log_softmax(self._logits(parameters, vectors, deviation, key))
        right = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
        smooth = self.plan.label_smoothing
        loss = -((1 - smooth) * right + smooth * log_p.mean(axis=1)).mean()
        if self.plan.isotropy:
            for index in range(len(self.plan.hidden)):
                loss = loss + self.plan.isotropy * self._spread(parameters[f"weights{index}"], key)
        return loss

    def _spread(self, weights: Any, key: Any) -> Any:
        """Unbiased estimate of tr(C^2)/columns with C = W'W/rows: the mean of |C v|^2/columns over random signs v."""
        jnp, random = self._jax.numpy, self._jax.random
        rows, columns = weights.shape
        signs = jnp.sign(random.normal(random.fold_in(key, 1000), (columns, _PROBES)))
        return (((weights.T @ (weights @ signs)) / rows) ** 2).mean()

    def _update(
        self,
        parameters: Any,
        average: Any,
        state: Any,
        vectors: Any,
        labels: Any,
        deviation: Any,
        key: Any,
        decay: Any,
    ) -> Any:
        loss, gradient = self._jax.value_and_grad(self._loss)(parameters, vectors, labels, deviation, key)
        change, state = self._optimiser.update(gradient, state, parameters)
        parameters = self._projected(self._jax.tree.map(lambda p, c: p + c, parameters, change))
        average = self._jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, parameters)
        return parameters, average, state, loss
