"""Gaussian states diagonalised directly: a route to entropies that uses no formula of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def form(modes: int) -> Matrix:
    """Symplectic form on (X1, P1, X2, P2, ...)."""
    return np.kron(np.eye(modes), np.array([[0.0, 1.0], [-1.0, 0.0]]))


def entropy(covariance: Matrix) -> float:
    """Von Neumann entropy of a Gaussian state, bits; vacuum has covariance 1."""
    modes = covariance.shape[0] // 2
    values = np.sort(np.abs(np.linalg.eigvals(1j * form(modes) @ covariance)))[::2]
    photons = np.maximum((values - 1) / 2, 0.0)
    photons = photons[photons > 1e-14]
    return float(np.sum((photons + 1) * np.log2(photons + 1) - photons * np.log2(photons)))


def purification(covariance: Matrix) -> Matrix:
    """A pure state of twice as many modes whose first half has this covariance."""
    size = covariance.shape[0]
    mirror = np.diag([1.0, -1.0] * (size // 2))
    turned = covariance @ form(size // 2)
    values, vectors = np.linalg.eig(np.eye(size) + np.linalg.inv(turned @ turned))
    root = (vectors * np.sqrt(np.maximum(values.real, 0.0))) @ np.linalg.inv(vectors)
    link = np.real(root @ covariance) @ mirror
    return np.block([[covariance, link], [link.T, mirror @ covariance @ mirror]])
