"""What a party wants its own devices to do, and what they give back.

Intents and results belong to one party each: `SendRows`, `SetReceiver` and `Returned` to the server, `SetData` and
`Outcomes` to the client. Arrays in them are read-only, and `repr` shows shapes, never weights, data or choices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import MonitorReading, ResidualSample, ReturnedLight, RowStatistics, UseSums

Real = np.floating[Any]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array if it is read-only, else a read-only copy: later writes of its owner do not reach in."""
    if not array.flags.writeable:
        return array
    copy = array.copy()
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Addressed:
    """One layer of one block."""

    layer: int
    block: int

    def __post_init__(self) -> None:
        for name in ("layer", "block"):
            if type(getattr(self, name)) is not int:
                raise TypeError(f"{name} must be an int, got {type(getattr(self, name)).__name__}")

    def __repr__(self) -> str:
        parts = []
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                shown = f"<{value.dtype} {value.shape}>"
            elif isinstance(value, RowStatistics):
                shown = f"<statistics of {value.counted.size} rows>"
            elif isinstance(value, UseSums):
                shown = f"<sums over {value.images} uses of {value.sums.shape} weights>"
            elif isinstance(value, ResidualSample):
                shown = f"<residuals {value.residuals.shape}>"
            elif isinstance(value, MonitorReading):
                shown = f"<monitors over {value.photons.size} rows>"
            else:
                shown = repr(value)
            parts.append(f"{each.name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _freeze(self, name: str, dimensions: int, kind: type[np.generic]) -> None:
        array = getattr(self, name)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be an array, got {type(array).__name__}")
        if not np.issubdtype(array.dtype, kind):
            raise TypeError(f"{name} must be of kind {kind.__name__}, got {array.dtype}")
        if array.ndim != dimensions:
            raise ValueError(f"{name} must have {dimensions} dimensions, got shape {array.shape}")
        object.__setattr__(self, name, frozen(array))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SendRows(_Addressed):
    """Server: stream these rows once for each image of the block.

    `quadratures` is q in square roots of SNU at the server's output, interleaved (X1, P1, X2, P2, ...);
    (rows, n_weights). Rows that are longer than the client's interferometer are cut into tiles: (streamed_rows,
    2 tile_modes) of the frame's layer, tile by tile.
    """

    quadratures: NDArray[Real]
    images: int

    def __post_init__(self) -> None:
        _Addressed.__post_init__(self)
        self._freeze("quadratures", 2, np.floating)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SetReceiver(_Addressed):
    """Server: how to measure the returned light of this layer and block.

    Attributes
    ----------
    pattern:
        Quadrature to homodyne in each mode, True for P, for all rows and images of the block; (n_modes,).
    counted:
        Rows that are displaced by the honest expectation and counted instead; (rows,).
    expected_amplitude:
        sqrt(T eta_s) of the honest ledger: amplitude transmission of q to the homodyne receiver.
    use_sums:
        Whether the residuals of each weight are to be summed over the images of the block.
    sampled:
        Images of which every residual is to be kept, rising places in the block; (sampled,).
    """

    pattern: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    expected_amplitude: float
    use_sums: bool = False
    sampled: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        _Addressed.__post_init__(self)
        self._freeze("pattern", 1, np.bool_)
        self._freeze("counted", 1, np.bool_)
        self._freeze("sampled", 1, np.int64)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SetData(_Addressed):
    """Client: set the interferometer to these unit vectors, one an image; (images, n_weights).

    With tiles one for each tile of an image, (images, tiles * 2 tile_modes).
    """

    directions: NDArray[Real]

    def __post_init__(self) -> None:
        _Addressed.__post_init__(self)
        self._freeze("directions", 2, np.floating)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Outcomes(_Addressed):
    """To the client: homodyne outcomes in SNU as its receiver gives them, (images, rows), and its monitors' reading."""

    values: NDArray[Real]
    monitor: MonitorReading | None = None

    def __post_init__(self) -> None:
        _Addressed.__post_init__(self)
        self._freeze("values", 2, np.floating)
        if not isinstance(self.monitor, MonitorReading | None):
            raise TypeError(f"monitor must be a MonitorReading or None, got {type(self.monitor).__name__}")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Returned(_Addressed):
    """To the server: what its receivers measured, as far as `SetReceiver` asked for it."""

    statistics: RowStatistics
    use_sums: UseSums | None = None
    sample: ResidualSample | None = None

    def __post_init__(self) -> None:
        _Addressed.__post_init__(self)
        if not isinstance(self.statistics, RowStatistics):
            raise TypeError(f"statistics must be RowStatistics, got {type(self.statistics).__name__}")
        if not isinstance(self.use_sums, UseSums | None):
            raise TypeError(f"use_sums must be UseSums or None, got {type(self.use_sums).__name__}")
        if not isinstance(self.sample, ResidualSample | None):
            raise TypeError(f"sample must be a ResidualSample or None, got {type(self.sample).__name__}")

    @property
    def light(self) -> ReturnedLight:
        """All of it."""
        return ReturnedLight(self.statistics, self.use_sums, self.sample)
