"""How rows of light lie on the time axis of one shot: guard, preamble, pilot and data rows of time bins.

Public: both parties know it from the frame. What the symbols of data rows are only the server knows.

A shot is a train of rows of `n_modes` bins each, without gaps. The client's interferometer addresses the carry of a
row, which stands in the row's last bin; in preamble, pilot and guard rows it is set to let that bin pass unchanged, so
that client and server both see known light there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class RowKind(IntEnum):
    """What a row carries."""

    GUARD = 0
    """No light."""
    PREAMBLE = 1
    """Full-scale light with phases that resemble no shifted or turning copy of themselves: where the shot begins."""
    PILOT = 2
    """Full-scale light of alternating phase, 0 and 90 degrees: gain and phase while the shot lasts."""
    DATA = 3
    """A row of weights."""


def _zadoff_chu(length: int) -> NDArray[np.complex128]:
    """Unit phasors whose cyclic autocorrelation vanishes but at 0; the first is 1; (length,)."""
    k = np.arange(length)
    # Modulo a full turn in whole numbers: the phases of long sequences would lose digits.
    sequence: NDArray[np.complex128] = np.exp(-1j * np.pi * (k * (k + length % 2) % (2 * length)) / length)
    return sequence


def _alltop(length: int) -> NDArray[np.complex128]:
    """Unit phasors of cubic phase (Alltop 1980): no shift, at no frequency offset, resembles the sequence; (length,).

    Of a prime length p >= 5 the cyclic ambiguity is 1/sqrt(p) everywhere but at zero shift; other lengths are cut from
    the next prime. (A Zadoff-Chu sequence that turns slowly looks like a shifted one: a laser's wandering phase would
    move the beginning of a shot.)
    """
    prime = max(length, 5)
    while any(prime % divisor == 0 for divisor in range(2, math.isqrt(prime) + 1)):
        prime += 1
    k = np.arange(length)
    sequence: NDArray[np.complex128] = np.exp(2j * np.pi * (k * k % prime * k % prime) / prime)
    return sequence


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """The rows of one shot.

    Attributes
    ----------
    n_modes:
        Bins of a row; shorter rows of weights are padded with vacuum.
    images, rows:
        Data vectors of the shot, and rows that are streamed for each; data rows run over rows first.
    bin_rate:
        Bins a second, Hz.
    duty:
        Share of a bin during which its light is on, in (0, 1]; in the middle of the bin.
    guard_rows, preamble_rows:
        At the beginning; `guard_rows` also at the end.
    pilot_every:
        Data rows between two pilot rows (which come in pairs, 0 and 90 degrees); 0 for no pilots.
    """

    n_modes: int
    images: int
    rows: int
    bin_rate: float
    duty: float = 0.75
    guard_rows: int = 4
    preamble_rows: int = 31
    pilot_every: int = 16

    def __post_init__(self) -> None:
        for name in ("n_modes", "images", "rows", "preamble_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.guard_rows < 0 or self.pilot_every < 0:
            raise ValueError("guard_rows and pilot_every must not be negative")
        if not (math.isfinite(self.bin_rate) and self.bin_rate > 0 and 0 < self.duty <= 1):
            raise ValueError("bin_rate must be positive and duty lie in (0, 1]")

    @property
    def bin_time(self) -> float:
        """Seconds of a bin."""
        return 1.0 / self.bin_rate

    @property
    def kinds(self) -> NDArray[np.int8]:
        """`RowKind` of every row of the shot; (total_rows,)."""
        data = self.images * self.rows
        if self.pilot_every:
            groups = -(-data // self.pilot_every)
            body = np.full(data + 2 * (groups + 1), RowKind.DATA, np.int8)
            starts = np.minimum(np.arange(groups + 1) * self.pilot_every, data) + 2 * np.arange(groups + 1)
            body[np.concatenate([starts, starts + 1])] = RowKind.PILOT
        else:
            body = np.full(data, RowKind.DATA, np.int8)
        guard = np.full(self.guard_rows, RowKind.GUARD, np.int8)
        return np.concatenate([guard, np.full(self.preamble_rows, RowKind.PREAMBLE, np.int8), body, guard])

    @property
    def total_rows(self) -> int:
        """Rows of the shot."""
        return self.kinds.size

    @property
    def bins(self) -> int:
        """Bins of the shot."""
        return self.total_rows * self.n_modes

    @property
    def duration(self) -> float:
        """Seconds of the shot."""
        return self.bins * self.bin_time

    @property
    def data_rows(self) -> NDArray[np.int64]:
        """Place of each data row in the shot; (images, rows)."""
        return np.flatnonzero(self.kinds == RowKind.DATA).reshape(self.images, self.rows)

    @property
    def pilot_rows(self) -> NDArray[np.int64]:
        """Place of each pilot row, rising; even ones have phase 0, odd ones 90 degrees."""
        return np.flatnonzero(self.kinds == RowKind.PILOT)

    @property
    def preamble(self) -> NDArray[np.complex128]:
        """Unit phasors of the preamble's bins: a cubic phase over its rows, times a Zadoff-Chu sequence over each row.

        The latter ends with 1, so that the client, who sees the last bin of each row, meets the former; who sees all
        bins can tell each from its neighbours. (preamble_rows, n_modes)
        """
        return np.outer(_alltop(self.preamble_rows), _zadoff_chu(self.n_modes)[::-1])

    def symbols(self, data: NDArray[np.complex128], full_scale: float) -> NDArray[np.complex128]:
        """Amplitudes of all bins of the shot.

        Parameters
        ----------
        data:
            Amplitudes of the data rows in square roots of photons, (images, rows, n_modes).
        full_scale:
            Amplitude of preamble and pilots in the same unit.

        Returns
        -------
        (total_rows, n_modes)
        """
        if data.shape != (self.images, self.rows, self.n_modes):
            raise ValueError(f"data have shape {data.shape}, expected {(self.images, self.rows, self.n_modes)}")
        shot = np.zeros((self.total_rows, self.n_modes), np.complex128)
        kinds = self.kinds
        shot[kinds == RowKind.PREAMBLE] = full_scale * self.preamble
        pilots = self.pilot_rows
        shot[pilots] = full_scale * np.where(np.arange(pilots.size) % 2, 1j, 1.0)[:, None]
        shot[self.data_rows.ravel()] = data.reshape(-1, self.n_modes)
        return shot
