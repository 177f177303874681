"""Networks as matrices, and what the optical layers do to them.

A layer turns a data vector v into outcomes, exactly as the secure protocol does (docs/physics.md, "Server encoding"):

1. the client may subtract the vector's own mean (`centred`);
2. with a bias a 1 is appended; the vector is divided by its norm |v|;
3. the light carries the weights in units of the layer's RMS r (bias column included), so an outcome is
   zhat = (W/r).v/|v| + xi/F with xi a unit normal and F^2 = 2 mu/DX2 the homodyne signal-to-noise;
4. the client multiplies by |v|, and by r where the layer publishes its scale;
5. the activation with its public threshold acts in these units.

A layer that does not publish its scale therefore works in units of unit-RMS weights; `forward_exact` uses the same
units, so that it is the limit of `noisy_forward` at large F^2. An all-zero vector has no direction: the protocol
sends a random one through the optics and discards the outcome (docs/physics.md), here its outcomes are 0.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.facts import Activation, LayerFrame
from labqdl.network.activations import apply_activation, centre
from labqdl.network.pipeline import Pipeline

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer: rows of weights, perhaps biases, and what the client does before and after the light.

    Attributes
    ----------
    weights:
        float32, shape (rows, features).
    bias:
        float32, shape (rows,), or None.
    activation:
        What the client does with the outcomes; the threshold is in the units of point 4 above.
    published_scale:
        Whether the server tells the client the RMS of the layer's weights. Needed as soon as a later layer has
        biases, or where the size of the network's output means something.
    centred:
        Whether the client subtracts the vector's own mean before the light.
    light:
        Photons per mode of this layer in units of the operating point's mu: how the layers share the light.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, weights that are all zero and light that is not
        positive.
    """

    weights: Floats
    bias: Floats | None = None
    activation: Activation = field(default_factory=Activation)
    published_scale: bool = False
    centred: bool = False
    light: float = 1.0

    def __post_init__(self) -> None:
        weights = np.ascontiguousarray(self.weights, dtype=np.float32)
        if weights.ndim != 2 or 0 in weights.shape:
            raise ValueError(f"weights must have the shape (rows, features), got {weights.shape}")
        object.__setattr__(self, "weights", weights)
        if self.bias is not None:
            bias = np.ascontiguousarray(self.bias, dtype=np.float32)
            if bias.shape != weights.shape[:1]:
                raise ValueError(f"bias must have the shape ({len(weights)},), got {bias.shape}")
            object.__setattr__(self, "bias", bias)
        for name, array in (("weights", weights), ("bias", self.bias)):
            if array is not None and not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite; entry {np.argwhere(~np.isfinite(array))[0].tolist()} is not")
        if not (math.isfinite(self.activation.threshold) and math.isfinite(self.activation.slope)):
            raise ValueError("threshold and slope of an activation must be finite")
        if not (math.isfinite(self.light) and self.light > 0):
            raise ValueError(f"the light of a layer must be positive and finite, got {self.light!r}")
        if self.scale == 0:
            raise ValueError("all weights are zero: the layer has no scale")

    @property
    def rows(self) -> int:
        """Neurons."""
        return int(self.weights.shape[0])

    @property
    def n_features(self) -> int:
        """Entries of a data vector, without the bias's 1."""
        return int(self.weights.shape[1])

    @cached_property
    def scale(self) -> float:
        """RMS r of all weights of the layer, the bias column included."""
        total = float(np.sum(np.square(self.weights, dtype=np.float64)))
        if self.bias is not None:
            total += float(np.sum(np.square(self.bias, dtype=np.float64)))
        return math.sqrt(total / (self.rows * (self.n_features + (self.bias is not None))))

    @cached_property
    def unit_weights(self) -> Floats:
        """W/r with the bias as last column: float32, shape (rows, features + 1 with a bias)."""
        weights = self.weights if self.bias is None else np.column_stack([self.weights, self.bias])
        return np.ascontiguousarray(weights / np.float32(self.scale))

    def spectrum(self) -> NDArray[np.float64]:
        """How unequal the directions of the rows are, to describe a network.

        Eigenvalues of the covariance W'W/rows of the layer's rows, largest first, averaged in pairs because a mode
        carries two weights: shape (n_modes,), mean 1. They majorise the eigenvalues of the covariance of the complex
        modes (Ky Fan); of as many rows as columns with independent entries the mean square is 2, not 1. Bounds take
        `labqdl.security.spectrum`: leakage does not always rise with how unequal a spectrum is.
        """
        weights = self.unit_weights.astype(np.float64)
        values = np.zeros(2 * ((weights.shape[1] + 1) // 2))
        singular = np.linalg.svd(weights, compute_uv=False)
        values[: len(singular)] = singular**2
        pairs: NDArray[np.float64] = values.reshape(-1, 2).mean(axis=1)
        pairs /= pairs.mean()
        return pairs

    @property
    def outcome_scale(self) -> float:
        """By what the client multiplies besides the vector's norm: r where it is published, else 1."""
        return self.scale if self.published_scale else 1.0

    def directions(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Points 1 and 2: unit vectors (vectors, features + bias) and norms (vectors,); all-zero vectors stay zero."""
        if self.centred:
            vectors = centre(vectors)
        if self.bias is not None:
            vectors = np.column_stack([vectors, np.ones(len(vectors), dtype=np.float32)])
        norms: Floats = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        divisors: Floats = np.where(norms > 0, norms, np.float32(1))
        return vectors / divisors[:, None], norms

    def finish(self, outcomes: Floats, norms: Floats) -> Floats:
        """Points 4 and 5: activations from outcomes (vectors, rows) and norms (vectors,)."""
        return apply_activation(self.activation, outcomes * (norms * np.float32(self.outcome_scale))[:, None])

    def frame(self, mu: float) -> LayerFrame:
        """What both parties agree on about this layer at `mu` photons per mode (server's output)."""
        return LayerFrame(
            rows=self.rows,
            n_features=self.n_features,
            bias=self.bias is not None,
            mu=mu,
            published_scale=self.scale if self.published_scale else None,
            activation=self.activation,
            centred=self.centred,
        )


@dataclass(frozen=True, eq=False)
class Network:
    """A stack of dense layers with its input pipeline.

    Attributes
    ----------
    name, description:
        What people call it, and what it is.
    pipeline:
        Public steps from raw data to the first layer's vectors.
    layers:
        In order of use.
    classes:
        Names of the outputs; empty if they have none.
    notes:
        Free public facts that travel with the model: how it was trained, how it was measured, licence.

    Raises
    ------
    ValueError
        Where layers do not fit each other or the pipeline, the names do not match the outputs, or a scale is kept
        back that a later layer's biases need.
    """

    name: str
    pipeline: Pipeline
    layers: tuple[DenseLayer, ...]
    description: str = ""
    classes: tuple[str, ...] = ()
    notes: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        features = self.pipeline.n_features
        for index, layer in enumerate(self.layers):
            if layer.n_features != features:
                where = "the pipeline gives" if index == 0 else f"layer {index - 1} gives"
                raise ValueError(f"layer {index} takes {layer.n_features} features, {where} {features}")
            features = layer.rows
            if layer.bias is not None:
                for before, earlier in enumerate(self.layers[:index]):
                    if not earlier.published_scale:
                        raise ValueError(f"layer {index} has biases, so layer {before} must publish its scale")
        if self.classes and len(self.classes) != features:
            raise ValueError(f"{len(self.classes)} class names for {features} outputs")

    def prepare(self, data: NDArray[np.generic], *, source: str | None = None) -> Floats:
        """Raw data through the pipeline: float32, shape (data, features of the first layer).

        Raises
        ------
        InputError
            For data of another shape, an empty data set, NaN and infinity; names `source`.
        """
        return self.pipeline.apply(data, source=source)

    def frame_layers(self, mu: float | tuple[float, ...], tile: int | None = None) -> tuple[LayerFrame, ...]:
        """The layers' share of a frame: photons per mode at the operating point, of which each layer gets its
        `light`, or a tuple with each layer's own; `tile` as in `LayerFrame`.
        """
        each = mu if isinstance(mu, tuple) else tuple(mu * layer.light for layer in self.layers)
        if len(each) != len(self.layers):
            raise ValueError(f"{len(each)} values of mu for {len(self.layers)} layers")
        return tuple(replace(layer.frame(value), tile=tile) for layer, value in zip(self.layers, each, strict=True))

    def forward_exact(self, vectors: Floats) -> Floats:
        """Outputs without noise of prepared vectors (vectors, features): shape (vectors, outputs)."""
        for layer in self.layers:
            units, norms = layer.directions(vectors)
            vectors = layer.finish(units @ layer.unit_weights.T, norms)
        return vectors

    def noisy_forward(self, vectors: Floats, f2: ArrayLike, generator: np.random.Generator) -> Floats:
        """Outputs with fresh noise of variance 1/F^2 after every optical layer.

        Parameters
        ----------
        vectors:
            Prepared vectors (vectors, features).
        f2:
            Signal-to-noise F^2 of one outcome for random data (a ratio, not dB): that of the operating point, of which
            each layer has its `light`, or an array with each layer's own.
        generator:
            Draws one unit normal for each row and vector.
        """
        return self.forward_from_first(self.first_outcomes(vectors), f2, generator)

    def first_outcomes(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Noiseless outcomes zhat (vectors, rows) of the first layer and norms: shared by many noise draws."""
        units, norms = self.layers[0].directions(vectors)
        return units @ self.layers[0].unit_weights.T, norms

    def forward_from_first(self, first: tuple[Floats, Floats], f2: ArrayLike, generator: np.random.Generator) -> Floats:
        """`noisy_forward` from what `first_outcomes` gave."""
        ratios = np.asarray(f2, dtype=np.float64)
        if ratios.ndim == 0:
            ratios = ratios * np.array([layer.light for layer in self.layers])
        elif ratios.shape != (len(self.layers),):
            raise ValueError(f"F^2 of shape {ratios.shape} for {len(self.layers)} layers")
        if not (ratios > 0).all():
            raise ValueError(f"F^2 must be positive, got {f2!r}")
        outcomes, norms = first
        for layer, following, ratio in zip(self.layers, (*self.layers[1:], None), ratios, strict=True):
            noisy: Floats = generator.standard_normal(outcomes.shape, dtype=np.float32)
            noisy *= np.float32(1 / math.sqrt(ratio))
            noisy += outcomes
            vectors = layer.finish(noisy, norms)
            if following is not None:
                units, norms = following.directions(vectors)
                outcomes = units @ following.unit_weights.T
        return vectors

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b-256 (hexadecimal) of all numbers and of everything in the description that acts on them."""
        digest = hashlib.blake2b(digest_size=32)

        def add(text: str, array: Floats | None = None) -> None:
            digest.update(f"{text};{None if array is None else array.shape};".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())

        add(f"{self.pipeline.input_shape} {self.pipeline.to_json()}")
        for name, array in sorted(self.pipeline.tensors().items()):
            add(name, array)
        for layer in self.layers:
            add(f"{layer.activation!r} {layer.published_scale} {layer.centred}", layer.weights)
            add("bias", layer.bias)
            if layer.light != 1.0:  # models from before layers had a share of their own keep their fingerprint
                add(f"light {layer.light!r}")
        return digest.hexdigest()


def predictions(outputs: Floats) -> NDArray[np.intp]:
    """Index of the largest output for each vector; one output alone decides by its sign (1 where positive)."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(np.intp)
    best: NDArray[np.intp] = np.argmax(outputs, axis=1)
    return best
