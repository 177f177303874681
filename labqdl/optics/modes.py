"""Real weights and data as complex modes of light.

Two real numbers ride on one mode: entry 2j-1 on its X quadrature, entry 2j on its P quadrature. Real vectors of
length `n_weights` = 2 `n_modes` are interleaved (X_1, P_1, X_2, P_2, ...). Everything here keeps float32 as float32
and float64 as float64, and takes any number of leading batch axes where a shape says `...`.
See docs/physics.md, sections "Server encoding" and "Client unitary" (Sulimany et al., PRX 15, 041056).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError

RealArray: TypeAlias = NDArray[np.floating[Any]]
"""float32 or float64; checked when called."""
ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]
"""complex64 or complex128; checked when called."""

# Squared norms of float64 vectors outside of this range have lost digits to under- or overflow.
_SAFE_SQUARE_MIN = 1e-280
_SAFE_SQUARE_MAX = 1e280


def _real(array: RealArray, name: str) -> RealArray:
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one axis")
    return array


def pair(rows: RealArray) -> ComplexArray:
    """Complex modes of interleaved real vectors: u_j = x_{2j-1} + i x_{2j}.

    For amplitudes in quadrature units the coherent amplitude is half of the result, alpha_j = pair(q)_j / 2.

    Parameters
    ----------
    rows:
        Shape (..., n_weights), float32 or float64, n_weights even.

    Returns
    -------
    Shape (..., n_modes), complex64 or complex128. It shares its memory with `rows` where those are contiguous.

    Raises
    ------
    ValueError
        For an odd number of entries (see `pad_even`).
    """
    _real(rows, "rows")
    if rows.shape[-1] % 2:
        raise ValueError(f"pairing needs an even number of entries, got {rows.shape[-1]}")
    kind = np.complex64 if rows.dtype == np.float32 else np.complex128
    return np.ascontiguousarray(rows).view(kind)


def unpair(modes: ComplexArray) -> RealArray:
    """Interleaved real vectors of complex modes, the inverse of `pair`.

    Parameters
    ----------
    modes:
        Shape (..., n_modes), complex64 or complex128.

    Returns
    -------
    Shape (..., 2 n_modes), float32 or float64. It shares its memory with `modes` where those are contiguous.
    """
    if modes.dtype not in (np.dtype(np.complex64), np.dtype(np.complex128)):
        raise TypeError(f"modes must be complex64 or complex128, got {modes.dtype}")
    if modes.ndim == 0:
        raise ValueError("modes must have at least one axis")
    kind = np.float32 if modes.dtype == np.complex64 else np.float64
    return np.ascontiguousarray(modes).view(kind)


def pad_even(rows: RealArray) -> RealArray:
    """Append one zero to every vector of odd length, so that entries pair up.

    Parameters
    ----------
    rows:
        Shape (..., entries), float32 or float64.

    Returns
    -------
    Shape (..., entries + entries % 2); `rows` itself where nothing is missing.
    """
    _real(rows, "rows")
    if rows.shape[-1] % 2 == 0:
        return rows
    padded: RealArray = np.zeros((*rows.shape[:-1], rows.shape[-1] + 1), dtype=rows.dtype)
    padded[..., :-1] = rows
    return padded


def rotate_j(x: RealArray) -> RealArray:
    """The symplectic form applied to interleaved vectors: Jx = (-Im u_j, Re u_j), a phase of 90 degrees.

    X_b = x.xi and P_b = (Jx).xi are the quadratures of the addressed mode b = sum_j u_j* a_j; x.Jx = 0.

    Parameters
    ----------
    x:
        Shape (..., n_weights), n_weights even.

    Returns
    -------
    A new array of the same shape and dtype.
    """
    _real(x, "x")
    if x.shape[-1] % 2:
        raise ValueError(f"an interleaved vector has an even number of entries, got {x.shape[-1]}")
    rotated = np.empty_like(x)
    np.negative(x[..., 1::2], out=rotated[..., 0::2])
    rotated[..., 1::2] = x[..., 0::2]
    return rotated


def layer_amplitudes(weights: RealArray, bias: RealArray | None, mu: float) -> tuple[RealArray, float]:
    """Quadrature amplitudes of one layer's rows with mean photon number `mu` per pair of entries.

    q = sqrt(2 mu) W / r with r the root mean square of the layer, the bias column included, so that <q^2> = 2 mu
    over the layer's real entries. An odd row is then padded by one zero, which carries no light and is not counted.

    Parameters
    ----------
    weights:
        Shape (rows, n_features), float32 or float64.
    bias:
        Shape (rows,), of the same dtype, appended as one more column; None for a layer without.
    mu:
        Mean photons per mode at the server's output, > 0.

    Returns
    -------
    q of shape (rows, n_weights) in sqrt(SNU), and the scale r in units of the weights.

    Raises
    ------
    InputError
        For weights that are not finite, and for a layer of zeros, which has no scale.
    """
    _real(weights, "weights")
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(f"weights must have shape (rows, n_features), both at least 1, got {weights.shape}")
    if not (np.isfinite(mu) and mu > 0):
        raise ValueError(f"mu must be positive and finite, got {mu!r}")
    rows, features = weights.shape
    if bias is not None and (bias.shape != (rows,) or bias.dtype != weights.dtype):
        raise ValueError(f"bias must be {weights.dtype} of shape ({rows},), got {bias.dtype} {bias.shape}")
    entries = features + (bias is not None)
    q: RealArray = np.zeros((rows, entries + entries % 2), dtype=weights.dtype)
    q[:, :features] = weights
    if bias is not None:
        q[:, features] = bias
    largest = float(np.abs(q).max())
    if not np.isfinite(largest):
        raise InputError(
            "the layer holds a weight or bias that is not finite",
            expected="finite numbers",
            hint="The training that wrote the file may have diverged",
        )
    if largest == 0:
        raise InputError(
            "all weights of the layer are zero, so that it has no scale",
            expected="at least one weight or bias that is not zero",
        )
    # Dividing by the largest entry first keeps squares of tiny or huge weights inside of the float range.
    q /= largest
    relative = float(np.sqrt(np.sum(np.square(q, dtype=np.float64)) / (rows * entries)))
    q *= np.sqrt(2.0 * mu) / relative
    return q, relative * largest


def _norms(vectors: RealArray) -> NDArray[np.float64]:
    """Euclidean norms of (images, entries), safe against under- and overflow of squares; nan and inf pass through."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        norms: NDArray[np.float64] = np.sqrt(squares)
        # Squares of float32 cannot leave the float64 range, so that this only ever finds rows of float64 or zeros.
        unsafe = np.flatnonzero(~((squares > _SAFE_SQUARE_MIN) & (squares < _SAFE_SQUARE_MAX)))
        if unsafe.size:
            rows = vectors[unsafe].astype(np.float64)
            largest = np.abs(rows).max(axis=1, initial=0.0)
            scaled = rows / np.where(largest > 0, largest, 1.0)[:, None]
            norms[unsafe] = largest * np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    return norms


def directions(
    data: RealArray, bias: bool, generator: np.random.Generator
) -> tuple[RealArray, RealArray, NDArray[np.bool_]]:
    """Unit vectors that the client sets on its interferometer, one a data vector.

    A 1 is appended for the bias *before* normalising, then odd vectors are padded by a zero. A vector of zeros has no
    direction: it gets a fresh, uniformly random one, so that the light shows nothing of it, and its outcome has to be
    discarded (norm 0, `empty` True). Skipping it would show the support of the data. Numbers are drawn from
    `generator` for empty vectors only.

    Parameters
    ----------
    data:
        Shape (images, n_features), float32 or float64.
    bias:
        Whether the layer has a bias.
    generator:
        The client's own stream.

    Returns
    -------
    x:
        Shape (images, n_weights), unit rows, dtype of `data`.
    norms:
        Shape (images,), norm of the vector with its bias entry, dtype of `data`; 0 where empty.
    empty:
        Shape (images,), True where the direction is random. Never with a bias.

    Raises
    ------
    InputError
        For data that are not finite, or whose norm does not fit the dtype; names the first such image.
    """
    _real(data, "data")
    if data.ndim != 2 or data.shape[1] == 0:
        raise ValueError(f"data must have shape (images, n_features) with n_features at least 1, got {data.shape}")
    images, features = data.shape
    entries = features + bias
    x: RealArray = np.zeros((images, entries + entries % 2), dtype=data.dtype)
    x[:, :features] = data
    if bias:
        x[:, features] = 1.0
    norms = _norms(x)
    bad = np.flatnonzero(~(norms <= np.finfo(data.dtype).max))
    if bad.size:
        raise InputError(
            f"data vector {bad[0]} holds a number that is not finite, or too large for {data.dtype}",
            expected="finite numbers of moderate size",
            hint="Scale the data in the input pipeline",
        )
    empty = norms == 0
    random_rows = np.flatnonzero(empty)
    if random_rows.size:
        normals = generator.standard_normal((random_rows.size, entries))
        x[random_rows, :entries] = normals / np.linalg.norm(normals, axis=1)[:, None]
    divisors = np.where(empty, 1.0, norms)[:, None]
    # The inverse of a subnormal norm overflows; such rows are rescaled before they are divided.
    tiny = np.flatnonzero(~empty & (norms < np.finfo(data.dtype).tiny * 4.0))
    if tiny.size:
        rows = x[tiny].astype(np.float64)
        rows /= np.abs(rows).max(axis=1)[:, None]
        x[tiny] = rows / np.linalg.norm(rows, axis=1)[:, None]
        divisors[tiny] = 1.0
    x /= divisors.astype(data.dtype)
    return x, norms.astype(data.dtype), empty
