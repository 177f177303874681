"""Closed-form least squares of complex amplitudes: in one quadrature, of unknown phase, or in two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


def amplitudes(real: bool, values: NDArray[Any], symbols: Complex, group: NDArray[np.int64], groups: int) -> Complex:
    """Least-squares c of values = c symbols, or Re(c symbols), for each group; NaN values count nothing."""
    good = np.isfinite(values)
    y, r = np.where(good, values, 0.0), np.where(good, symbols, 0.0)

    def total(terms: Real) -> Real:
        return np.bincount(group, terms, groups).astype(np.float64)

    if not real:
        product = y * np.conj(r)
        power = np.maximum(total(np.abs(r) ** 2), 1e-300)
        return np.asarray((total(product.real) + 1j * total(product.imag)) / power)
    u, w = r.real, -r.imag
    uu, ww, uw, yu, yw = total(u * u), total(w * w), total(u * w), total(y * u), total(y * w)
    # Ridge: a group of one phase only measures one quadrature of c, and gets 0 for the other.
    ridge = 1e-9 * (uu + ww) + 1e-300
    uu, ww = uu + ridge, ww + ridge
    det = np.maximum(uu * ww - uw**2, 1e-300)
    return np.asarray((ww * yu - uw * yw) / det + 1j * (uu * yw - uw * yu) / det)


def preamble_fit(real: bool, values: NDArray[Any], symbols: Complex, segments: int) -> tuple[complex, complex, float]:
    """Amplitude, offset and noise (standard deviation of one quadrature) of integrated preamble bins.

    With more than one segment the amplitude is the root mean square of the segments', with the middle one's phase.
    """
    good = np.isfinite(values)
    y, r = values[good], symbols[good]
    pieces = np.array_split(np.arange(y.size), segments)
    columns = 2 if real else 1
    design = np.zeros((y.size, 1 + columns * segments), np.float64 if real else np.complex128)
    design[:, 0] = 1.0
    for index, piece in enumerate(pieces):
        if real:
            design[piece, 1 + 2 * index], design[piece, 2 + 2 * index] = r[piece].real, -r[piece].imag
        else:
            design[piece, 1 + index] = r[piece]
    # Normal equations: few columns, nearly orthogonal. The ridge takes out a quadrature that no bin measures.
    normal = design.conj().T @ design
    ridge = 1e-9 * float(np.max(normal.diagonal().real, initial=1e-300))
    found = np.linalg.solve(normal + ridge * np.eye(len(normal)), design.conj().T @ y)
    freedom = max((y.size - len(normal)) * (1 if real else 2), 1)
    noise = math.sqrt(float(np.sum(np.abs(y - design @ found) ** 2)) / freedom)
    each = found[1::2] + 1j * found[2::2] if real else found[1:]
    middle = each[segments // 2]
    size = math.sqrt(float(np.mean(np.abs(each) ** 2)))
    amplitude = complex(middle) if segments == 1 else size * complex(middle) / max(abs(middle), 1e-300)
    return amplitude, complex(found[0]), noise
