"""The input pipeline: public steps, as data, by which a client turns its raw data into vectors for the light.

A pipeline belongs to the model, like its weights: it is stored with it (`labqdl.network.storage`), and every array
in it is public. The client applies it; the server never sees what comes out.

The steps, and their fields in a model's JSON description:

* ``{"step": "scale", "factor": 0.0039}`` multiplies by a number;
* ``{"step": "power", "exponent": 0.5}`` raises non-negative data to a power (negative data counts as 0);
* ``{"step": "deskew"}`` centres an image on its centre of mass and takes out its slant;
* ``{"step": "blur", "deviation": 0.8}`` blurs an image with a Gaussian of so many pixels;
* ``{"step": "flatten"}`` makes one vector of an image;
* ``{"step": "centre", "mean": TENSOR}`` subtracts a public array of the data's shape;
* ``{"step": "standardise", "mean": TENSOR, "deviation": TENSOR}`` subtracts and divides, feature by feature;
* ``{"step": "normalise"}`` divides each vector by its norm, so that thresholds are in units of unit vectors (the
  optics normalises in any case and the client keeps the norm). An all-zero vector stays zero.

TENSOR names an array in the model's safetensors file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError

Floats = NDArray[np.float32]
Shape = tuple[int, ...]
_CHUNK = 256  # images a turn: memory does not grow with the data, and a turn stays in the cache


class Step(Protocol):
    """One public step."""

    name: ClassVar[str]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one datum after the step; raises ValueError where the step does not take `shape`."""

    def apply(self, data: Floats) -> Floats:
        """The step on data of shape (data, *shape)."""

    def to_json(self) -> dict[str, Any]:
        """Fields of the description except arrays."""

    def arrays(self) -> dict[str, Floats]:
        """The public arrays by field."""


class _Plain:
    """Step without arrays that keeps the shape."""

    name: ClassVar[str]

    def output_shape(self, shape: Shape) -> Shape:
        """The same shape."""
        return shape

    def to_json(self) -> dict[str, Any]:
        """The name alone."""
        return {"step": self.name}

    def arrays(self) -> dict[str, Floats]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class Scale(_Plain):
    """Multiply by a number."""

    name: ClassVar[str] = "scale"
    factor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor != 0):
            raise ValueError(f"factor must be finite and not zero, got {self.factor!r}")

    def apply(self, data: Floats) -> Floats:
        """Data times factor."""
        return data * np.float32(self.factor)

    def to_json(self) -> dict[str, Any]:
        """Name and factor."""
        return {"step": self.name, "factor": self.factor}


@dataclass(frozen=True, slots=True)
class Power(_Plain):
    """Raise non-negative data to a power; an exponent below 1 lifts faint strokes."""

    name: ClassVar[str] = "power"
    exponent: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exponent) and self.exponent > 0):
            raise ValueError(f"exponent must be positive and finite, got {self.exponent!r}")

    def apply(self, data: Floats) -> Floats:
        """Data to the power, what is negative counts as zero."""
        return np.maximum(data, np.float32(0)) ** np.float32(self.exponent)

    def to_json(self) -> dict[str, Any]:
        """Name and exponent."""
        return {"step": self.name, "exponent": self.exponent}


@dataclass(frozen=True, slots=True)
class Deskew(_Plain):
    """Move an image's centre of mass to its middle and shear its rows until its slant is gone.

    The slant is the regression of x on y under the image's intensity, cov(x, y)/var(y): first and second moments
    only. The image is sampled bilinearly and is zero outside of its frame. An all-zero image stays as it is.
    """

    name: ClassVar[str] = "deskew"

    def output_shape(self, shape: Shape) -> Shape:
        """The same shape, which must be that of an image."""
        if len(shape) != 2:
            raise ValueError(f"deskew takes images (height, width), got {shape}")
        return shape

    def apply(self, data: Floats) -> Floats:
        """Deskewed images, shape (images, height, width)."""
        images, height, width = data.shape
        rows = np.arange(height, dtype=np.float32)
        columns = np.arange(width, dtype=np.float32)
        light = np.maximum(data, np.float32(0))
        mass = np.maximum(light.sum(axis=(1, 2)), np.float32(1e-12))
        by_row, by_column = light.sum(axis=2), light.sum(axis=1)
        middle_y = (by_row @ rows) / mass
        middle_x = (by_column @ columns) / mass
        offset_y = rows - middle_y[:, None]
        variance = (by_row * offset_y**2).sum(axis=1) / mass
        # The mean x of every row, times the row's intensity, is all that the covariance needs.
        covariance = ((light @ columns - middle_x[:, None] * by_row) * offset_y).sum(axis=1) / mass
        slant = covariance / np.maximum(variance, np.float32(1e-6))

        centred_rows = rows - np.float32((height - 1) / 2)
        y = centred_rows + middle_y[:, None]
        x = (columns - np.float32((width - 1) / 2))[None, None, :] + (
            middle_x[:, None] + slant[:, None] * centred_rows
        )[:, :, None]
        # One empty pixel all around catches every sample outside of the frame.
        padded = np.zeros((images, height + 2, width + 2), dtype=np.float32)
        padded[:, 1:-1, 1:-1] = data
        y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
        top = np.minimum(y.astype(np.intp), height)
        left = np.minimum(x.astype(np.intp), width)
        part_y, part_x = (y - top)[:, :, None], x - left
        flat = padded.reshape(-1)
        corner = (np.arange(images)[:, None] * (height + 2) + top)[:, :, None] * (width + 2) + left
        upper = flat[corner] * (1 - part_x) + flat[corner + 1] * part_x
        corner += width + 2
        lower = flat[corner] * (1 - part_x) + flat[corner + 1] * part_x
        sampled = (upper * (1 - part_y) + lower * part_y).astype(np.float32)
        return np.where((mass > 1e-12)[:, None, None], sampled, data)


MAXIMUM_BLUR = 1e3
"""Pixels; the tabulated Gaussian grows with it, and no image is left behind far less."""


@dataclass(frozen=True, slots=True)
class Blur(_Plain):
    """Blur an image with a Gaussian: fine detail tells digits apart less than strokes, but takes part of the norm.

    Pixels outside of the frame count as zero.
    """

    name: ClassVar[str] = "blur"
    deviation: float

    def __post_init__(self) -> None:
        if not 0 < self.deviation <= MAXIMUM_BLUR:
            raise ValueError(f"deviation must be positive and at most {MAXIMUM_BLUR:g} pixels, got {self.deviation!r}")

    def output_shape(self, shape: Shape) -> Shape:
        """The same shape, which must be that of an image."""
        if len(shape) != 2:
            raise ValueError(f"blur takes images (height, width), got {shape}")
        return shape

    def apply(self, data: Floats) -> Floats:
        """Blurred images, shape (images, height, width)."""
        down, across = self._kernel(data.shape[1]), self._kernel(data.shape[2])
        blurred: Floats = np.matmul(np.matmul(down, data), across)
        return blurred

    def _kernel(self, size: int) -> Floats:
        """Symmetric matrix (size, size) of the Gaussian, sampled, of sum one on an unbounded line."""
        reach = np.arange(-size - math.ceil(8 * self.deviation), size + math.ceil(8 * self.deviation) + 1)
        total = float(np.exp(-0.5 * (reach / self.deviation) ** 2).sum())
        distance = np.subtract.outer(np.arange(size), np.arange(size)) / self.deviation
        kernel: Floats = (np.exp(-0.5 * distance**2) / total).astype(np.float32)
        return kernel

    def to_json(self) -> dict[str, Any]:
        """Name and deviation."""
        return {"step": self.name, "deviation": self.deviation}


@dataclass(frozen=True, slots=True)
class Flatten(_Plain):
    """Make one vector of a datum of any shape."""

    name: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """(number of entries,)."""
        return (math.prod(shape),)

    def apply(self, data: Floats) -> Floats:
        """Row-major vectors."""
        return data.reshape(len(data), -1)


def _same_shape(field_name: str, array: Floats, shape: Shape) -> Shape:
    if array.shape != shape:
        raise ValueError(f"{field_name} has shape {array.shape}, the data there has {shape}")
    return shape


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """Subtract a public mean, so that the part all data share does not use up the unit norm."""

    name: ClassVar[str] = "centre"
    mean: Floats

    def output_shape(self, shape: Shape) -> Shape:
        """The same shape, which must be the mean's."""
        return _same_shape("mean", self.mean, shape)

    def apply(self, data: Floats) -> Floats:
        """Data minus mean."""
        return data - self.mean

    def to_json(self) -> dict[str, Any]:
        """The name alone."""
        return {"step": self.name}

    def arrays(self) -> dict[str, Floats]:
        """The mean."""
        return {"mean": self.mean}


@dataclass(frozen=True, slots=True, eq=False)
class Standardise:
    """Subtract a public mean and divide by a public deviation, feature by feature."""

    name: ClassVar[str] = "standardise"
    mean: Floats
    deviation: Floats

    def __post_init__(self) -> None:
        if not np.all(self.deviation > 0):
            raise ValueError("deviation must be positive in every feature")

    def output_shape(self, shape: Shape) -> Shape:
        """The same shape, which must be that of both arrays."""
        _same_shape("deviation", self.deviation, shape)
        return _same_shape("mean", self.mean, shape)

    def apply(self, data: Floats) -> Floats:
        """(data - mean)/deviation."""
        return (data - self.mean) / self.deviation

    def to_json(self) -> dict[str, Any]:
        """The name alone."""
        return {"step": self.name}

    def arrays(self) -> dict[str, Floats]:
        """Mean and deviation."""
        return {"mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True, slots=True)
class Normalise(_Plain):
    """Divide each datum by its norm; all-zero data stays zero."""

    name: ClassVar[str] = "normalise"

    def apply(self, data: Floats) -> Floats:
        """Data over norm, over all axes of a datum."""
        flat = data.reshape(len(data), -1)
        norms = np.sqrt(np.einsum("ij,ij->i", flat, flat, dtype=np.float64))
        norms[norms == 0] = 1.0
        divided: Floats = flat / norms[:, None].astype(np.float32)
        return divided.reshape(data.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Public steps in order, and the shape of one datum that goes in.

    Raises
    ------
    ValueError
        Where a step does not take what the step before it gives, or where no vector comes out.
    """

    input_shape: Shape
    steps: tuple[Step, ...] = ()
    _output_shape: Shape = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(f"the shape of a datum needs positive entries, got {self.input_shape}")
        shape = self.input_shape
        for index, step in enumerate(self.steps):
            try:
                shape = step.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"step {index} ({step.name}): {error}") from None
        if len(shape) != 1:
            raise ValueError(f"the pipeline ends with shape {shape}, not with a vector: end it with 'flatten'")
        object.__setattr__(self, "_output_shape", shape)

    @property
    def n_features(self) -> int:
        """Entries of a vector that comes out."""
        return self._output_shape[0]

    def apply(self, data: NDArray[Any], *, source: str | None = None) -> Floats:
        """Vectors for the first layer.

        Parameters
        ----------
        data:
            Real numbers of any numpy type, shape (data, *input_shape).
        source:
            Where the data came from, for the messages.

        Returns
        -------
        float32 array of shape (data, n_features).

        Raises
        ------
        InputError
            For data of another shape, for none at all, and for NaN or infinity.
        """
        data = np.asarray(data)
        wanted = "(data, " + ", ".join(map(str, self.input_shape)) + ")"
        if data.ndim == 0 or len(data) == 0:
            raise InputError("the data set is empty", source=source, expected=f"at least one datum, shape {wanted}")
        if data.shape[1:] != self.input_shape:
            raise InputError(f"data of shape {data.shape} does not fit the model", source=source, expected=wanted)
        if data.dtype.kind not in "biuf":
            raise InputError(f"data of type {data.dtype} is no array of real numbers", source=source)
        result = np.empty((len(data), self.n_features), dtype=np.float32)
        for start in range(0, len(data), _CHUNK):
            part = data[start : start + _CHUNK].astype(np.float32)
            for step in self.steps:
                part = step.apply(part)
            result[start : start + _CHUNK] = part
        finite = np.isfinite(result).all(axis=1)
        if not finite.all():
            raise InputError(
                f"datum {int(np.argmin(finite))} is NaN, infinite or too large",
                source=source,
                expected="finite numbers",
            )
        return result

    def to_json(self) -> list[dict[str, Any]]:
        """The steps as objects; arrays appear as the names of their tensors, see `tensors`."""
        described = []
        for index, step in enumerate(self.steps):
            fields = step.to_json()
            fields.update({name: _tensor_name(index, name) for name in step.arrays()})
            described.append(fields)
        return described

    def tensors(self) -> dict[str, Floats]:
        """Every public array under its tensor's name."""
        return {
            _tensor_name(index, name): array
            for index, step in enumerate(self.steps)
            for name, array in step.arrays().items()
        }


def _tensor_name(index: int, field_name: str) -> str:
    return f"pipeline.{index}.{field_name}"


_STEPS: Mapping[str, type] = {
    kind.name: kind for kind in (Scale, Power, Deskew, Blur, Flatten, Centre, Standardise, Normalise)
}
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "scale": ("factor",),
    "power": ("exponent",),
    "blur": ("deviation",),
}
_ARRAYS: Mapping[str, tuple[str, ...]] = {"centre": ("mean",), "standardise": ("mean", "deviation")}


def step_from_json(described: Mapping[str, Any], tensors: Mapping[str, Floats], *, source: str, key: str) -> Step:
    """A step from its description.

    Raises
    ------
    InputError
        For an unknown step, unknown or missing fields, wrong types, missing tensors; names source and key.
    """
    name = described.get("step")
    if not isinstance(name, str) or name not in _STEPS:
        raise InputError(
            f"unknown step {name!r}", source=source, key=f"{key}.step", expected="one of " + ", ".join(sorted(_STEPS))
        )
    numbers, arrays = _NUMBERS.get(name, ()), _ARRAYS.get(name, ())
    wanted = {"step", *numbers, *arrays}
    for unknown in sorted(set(described) - wanted):
        raise InputError(
            f"step '{name}' has no such field",
            source=source,
            key=f"{key}.{unknown}",
            expected=", ".join(sorted(wanted)),
        )
    values: dict[str, Any] = {}
    for field_name in (*numbers, *arrays):
        place = f"{key}.{field_name}"
        if field_name not in described:
            raise InputError(f"step '{name}' lacks this field", source=source, key=place)
        value = described[field_name]
        if field_name in numbers:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"found {value!r}", source=source, key=place, expected="a number")
            values[field_name] = float(value)
        elif not isinstance(value, str) or value not in tensors:
            raise InputError(f"no tensor {value!r} beside it", source=source, key=place, expected="a tensor's name")
        else:
            values[field_name] = tensors[value]
    try:
        step: Step = _STEPS[name](**values)
    except ValueError as error:
        raise InputError(str(error), source=source, key=key) from None
    return step
