"""The frame description: everything that both parties agree on before light flows, and its digest.

It holds public facts only: no weight, no datum, no secret choice. Both parties store the digest; a session whose
digests differ does not start.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from labqdl.facts.ledger import Ledger
from labqdl.facts.operating_point import TapSetting

_ROUNDING = 1e-9
"""Vectors by which a share of a block may miss a whole number for no other reason than its decimal digits."""


class ActivationKind(StrEnum):
    """Element-wise functions that the client applies to its outcomes."""

    IDENTITY = "identity"
    RELU = "relu"
    LEAKY_RELU = "leaky-relu"
    SQUARE = "square"


@dataclass(frozen=True, slots=True)
class Activation:
    """A public activation.

    `threshold` is subtracted before the function is applied (relu: max(z - threshold, 0)), in the units of the
    outcomes that the client forms; `slope` is the leaky ReLU's slope below the threshold.
    """

    kind: ActivationKind = ActivationKind.IDENTITY
    threshold: float = 0.0
    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class LayerFrame:
    """One layer's share of the frame.

    Attributes
    ----------
    rows:
        Neurons: rows of weights that are streamed for one data vector.
    n_features:
        Real entries of the data vector that meet this layer (without the bias's 1).
    bias:
        Whether a 1 is appended to the data and the bias column to the weights.
    mu:
        Mean photons per mode of this layer at the server's output.
    published_scale:
        RMS of the layer's weights if it must be known to continue (biases, square, output of a regression), else
        None: the client then works in units of unit-RMS weights and never learns the scale.
    activation:
        What the client does with the outcomes.
    centred:
        Whether the client subtracts from each data vector that vector's own mean before it appends the 1 and
        normalises. It needs no public number; what all features share would only use up the unit norm.
    tile:
        Modes that the client's interferometer takes at once; a row of more is cut into tiles of almost equal length,
        which are streamed one after the other. None: whole rows. Each tile is a row of its own to the light, so that
        the tap's noise comes once for each (docs/physics.md, "Tiles").
    """

    rows: int
    n_features: int
    bias: bool
    mu: float
    published_scale: float | None
    activation: Activation
    centred: bool = False
    tile: int | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise ValueError(f"a tile has at least one mode, got {self.tile}")
        if self.rows < 1 or self.n_features < 1:
            raise ValueError(f"a layer needs rows and features, got {self.rows} x {self.n_features}")
        if not (math.isfinite(self.mu) and self.mu > 0):
            raise ValueError(f"mu of a layer must be positive and finite, got {self.mu!r}")

    @property
    def n_weights(self) -> int:
        """Real entries of a row, with bias, padded to even."""
        entries = self.n_features + int(self.bias)
        return entries + entries % 2

    @property
    def n_modes(self) -> int:
        """Complex modes of a row."""
        return self.n_weights // 2

    @property
    def tiles(self) -> int:
        """Into how many tiles a row is cut; 1 for whole rows."""
        return 1 if self.tile is None else -(-self.n_modes // self.tile)

    @property
    def tile_modes(self) -> int:
        """Mode slots of a tile as it is streamed; tiles with one mode less end in vacuum."""
        return -(-self.n_modes // self.tiles)

    @property
    def least_modes(self) -> int:
        """Modes that carry weights in the shortest tile: what its noise is spread over."""
        return self.n_modes // self.tiles

    @property
    def streamed_rows(self) -> int:
        """Rows that are streamed for one data vector: every tile of every row, tile by tile."""
        return self.rows * self.tiles

    @property
    def streamed_slots(self) -> int:
        """Mode slots that are streamed for one data vector."""
        return self.streamed_rows * self.tile_modes


class ShotNoise(StrEnum):
    """Where the server's shot-noise unit comes from: what all variances of returned light are compared with."""

    KNOWN = "known"
    """Calibrated for good, and exact: what an emulation can have."""
    OWN = "own"
    """Measured in vacuum slots in which the server blocks its own input with a part that it owns."""
    CROSSED = "crossed"
    """Measured in vacuum slots that have crossed the client, who may fill them with noise."""


@dataclass(frozen=True, slots=True)
class VerificationPlan:
    """How the server will verify; agreed before light flows. The random choices themselves stay secret.

    Attributes
    ----------
    counting_fraction:
        Probability with which a row of a block is displaced and counted instead of homodyned.
    alpha:
        Overall false-alarm rate of the consistency verdict, split over all tests.
    delta:
        1 - confidence of the certificate, split over all estimates.
    shot_noise:
        Where the shot-noise unit comes from.
    cross_use:
        Whether the server sums each weight's residuals over its uses, for the test of noise that repeats.
    residual_share:
        Share of the vectors of each block of which the server keeps every residual, for the tests of directions;
        rounded up to whole vectors. Which ones is the server's secret choice.
    gain_tolerance, phase_tolerance:
        By how much the amplitude of the returned light (relative) and its phase (rad) may be off the ledger's without
        being anybody's fault, at any row of any shot: what a bench's calibration does not know and its drift may do
        meanwhile. A client may hide as much loss; the certificate counts that against it.
    noise_tolerance:
        The same of the variance of a returned quadrature, SNU at the server's detector.
    """

    counting_fraction: float = 0.25
    alpha: float = 1e-6
    delta: float = 1e-6
    shot_noise: ShotNoise = ShotNoise.KNOWN
    cross_use: bool = True
    residual_share: float = 0.004
    gain_tolerance: float = 0.0
    phase_tolerance: float = 0.0
    noise_tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.counting_fraction < 1:
            raise ValueError(f"counting_fraction must lie in [0, 1), got {self.counting_fraction!r}")
        if not 0 <= self.residual_share <= 1:
            raise ValueError(f"residual_share must lie between 0 and 1, got {self.residual_share!r}")
        for name in ("alpha", "delta"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(f"{name} must lie between 0 and 0.5, got {getattr(self, name)!r}")
        for name in ("gain_tolerance", "phase_tolerance", "noise_tolerance"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name} must lie in [0, 0.5), got {getattr(self, name)!r}")

    def sampled_vectors(self, vectors: int) -> int:
        """Of how many of a block's vectors every residual is kept."""
        return math.ceil(self.residual_share * vectors - _ROUNDING)


@dataclass(frozen=True, slots=True)
class Budgets:
    """What may leak at most; the certificate compares its upper bounds with these.

    The defaults are the paper's claims for one use: 0.1 bit per weight and 0.1 bit per data feature. Without a
    cumulative budget (None) the sum over uses is reported but not judged.
    """

    bits_per_weight: float = 0.1
    bits_per_feature: float = 0.1
    cumulative_bits_per_weight: float | None = None
    cumulative_bits_per_feature: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value!r}")


@dataclass(frozen=True, slots=True)
class FrameDescription:
    """What server and client agree on for one session.

    Attributes
    ----------
    session:
        Name of the session, unique to the run.
    layers:
        The layers in order of use.
    images:
        Data vectors of the session.
    block:
        Images per block of work; the last block may be smaller.
    tap:
        Setting of the client's gain-and-tap stage.
    ledger:
        The honest light path as both parties know it.
    plan, budgets:
        Verification plan and leakage budgets.
    pilots, vacuum_slots:
        Slots per homodyned row for phase reference and for vacuum, from which the server takes its shot-noise unit (0
        where the link keeps phase and unit itself, as the exact emulation can).
    check_vectors:
        Vectors that the client streams with every block beside its data, for checks of its own; 0, or 2 and more.
        They cost uses of the weights and of nobody's data; where they lie in a block is the client's secret.
    """

    session: str
    layers: tuple[LayerFrame, ...]
    images: int
    block: int
    tap: TapSetting
    ledger: Ledger
    plan: VerificationPlan
    budgets: Budgets
    pilots: int = 0
    vacuum_slots: int = 0
    check_vectors: int = 0

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a frame needs at least one layer")
        if self.check_vectors < 0 or self.check_vectors == 1:
            raise ValueError(f"check_vectors must be 0, or 2 and more to compare, got {self.check_vectors}")
        if self.vacuum_slots < 0 or (self.plan.shot_noise is not ShotNoise.KNOWN and not self.vacuum_slots):
            raise ValueError(f"shot noise that is {self.plan.shot_noise} needs vacuum_slots, got {self.vacuum_slots}")
        if self.images < 1 or self.block < 1:
            raise ValueError(f"images and block must be at least 1, got {self.images} and {self.block}")
        if len({layer.tile for layer in self.layers}) > 1:
            raise ValueError("all layers pass the same interferometer: they have the same tile")
        for index, (first, second) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if first.rows != second.n_features:
                raise ValueError(
                    f"layer {index} has {first.rows} rows but layer {index + 1} takes {second.n_features} features"
                )

    @property
    def n_blocks(self) -> int:
        """Number of blocks of work."""
        return -(-self.images // self.block)

    def block_images(self, block: int) -> range:
        """Indices of the images of one block."""
        if not 0 <= block < self.n_blocks:
            raise IndexError(f"block {block} of {self.n_blocks}")
        return range(block * self.block, min((block + 1) * self.block, self.images))

    def block_vectors(self, block: int) -> int:
        """Vectors that are streamed in one block: its images and the client's check vectors."""
        return len(self.block_images(block)) + self.check_vectors

    @property
    def symbols_per_image(self) -> int:
        """Mode slots that one image costs, one way."""
        return sum(layer.streamed_slots for layer in self.layers)

    @property
    def tile(self) -> int | None:
        """Modes that the client's interferometer takes at once, None where it takes whole rows."""
        return self.layers[0].tile

    def to_json(self) -> dict[str, Any]:
        """Plain object with every field; keys as the attributes are called. Whole rows have no key `tile`."""
        described = asdict(self)
        for layer in described["layers"]:
            if layer["tile"] is None:
                del layer["tile"]
        return described

    @property
    def digest(self) -> str:
        """BLAKE2b-256 of the canonical JSON, hexadecimal."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
