"""How well a server can estimate the data: Fisher information per row and direction, by kind of measurement.

Numbers to compare with, not bounds on what leaks: those are in `data`. The client's tap adds the noise eta on both
quadratures of the mode u, which makes nbar = eta/2 thermal photons there. A parameter tilts u in one real direction
perpendicular to it, u -> u cos(theta) + v sin(theta), except where said otherwise. Derivations: docs/physics.md,
"Estimating the data".
"""

from __future__ import annotations

import math


def marginal_information(*, added_noise: float, component: float) -> float:
    """One quadrature of one mode by itself, about its component |u_j|: 2 eta^2 u^2/(1 + eta u^2)^2.

    The model of the authors' first code, with the square where that has a fourth power.
    """
    _check(added_noise=added_noise)
    return 2.0 * (added_noise * component / (1.0 + added_noise * component**2)) ** 2


def homodyne_information(added_noise: float) -> float:
    """Homodyning X of all modes, u real: eta^2/(1 + eta)."""
    _check(added_noise=added_noise)
    return added_noise**2 / (1.0 + added_noise)


def heterodyne_information(added_noise: float) -> float:
    """Heterodyning all modes, or homodyning them for a generic complex u: eta^2/(2 + eta)."""
    _check(added_noise=added_noise)
    return added_noise**2 / (2.0 + added_noise)


def quantum_information(photons: float) -> float:
    """Best of all measurements: 4 nbar, for any state of mode u with nbar photons beside vacuum.

    Tilts in different directions do not commute: measured together, the mean square error is twice what this allows.
    """
    _check(photons=photons)
    return 4.0 * photons


def masked_information(*, photons: float, mask: float) -> float:
    """The same when the client adds n_0 photons of noise to every mode: 4 nbar^2/(nbar + 2 n_0 + 2 n_0 (n_0 + nbar)).

    It helps only from n_0 of about nbar on, and the weights are charged with it.
    """
    _check(photons=photons, mask=mask)
    if photons == 0.0:
        return 0.0
    return 4.0 * photons**2 / (photons + 2.0 * mask + 2.0 * mask * (mask + photons))


def entangled_information(*, photons: float, probe_photons: float) -> float:
    """Two-mode squeezed probes of N_s photons a mode, one half kept by the server: 4 nbar (1 + 2 N_s).

    Without limit as the probes grow: a server that may send what it likes is bounded by attenuators only.
    """
    _check(photons=photons, probe_photons=probe_photons)
    return 4.0 * photons * (1.0 + 2.0 * probe_photons)


def passive_tap_information(*, mu: float, transmissivity: float) -> float:
    """A passive tap's missing light: 8 mu (1 - sqrt t)^2 for isotropic weights of mu photons per mode at the tap."""
    _check(mu=mu)
    if not 0.0 <= transmissivity <= 1.0:
        raise ValueError(f"transmissivity must lie in [0, 1], got {transmissivity!r}")
    return 8.0 * mu * (1.0 - math.sqrt(transmissivity)) ** 2


def estimation_bits(information: float, *, rows: int, parameters: int) -> float:
    """log2(1 + rows F/parameters)/2: bits about one of so many equal Gaussian parameters of unit total variance.

    What an unbiased Gaussian estimate with this information would tell. A figure for a measurement, no bound.
    """
    _check(information=information)
    if rows < 1 or parameters < 1:
        raise ValueError(f"rows and parameters must be at least 1, got {rows!r} and {parameters!r}")
    return 0.5 * math.log1p(rows * information / parameters) / math.log(2.0)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
