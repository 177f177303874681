"""What a measuring device lets the weights and the data leak on a lossless path, for comparing devices.

The server tests the mean noise, so the weights are charged with the device's noise on one mode spread evenly over n;
the data leak through the photons that it returns.
"""

from __future__ import annotations

import math

from labqdl.optics.measurements import Measurement
from labqdl.security.data import data_leakage, phase_sensitive_data_leakage
from labqdl.security.holevo import phase_sensitive_leakage, weight_leakage


def weight_bits(device: Measurement, *, mu: float, n_modes: int) -> float:
    """Bits per real weight at mu photons per mode and unit net gain; noise of each quadrature spread over n modes.

    Raises
    ------
    ValueError
        For a device whose net gain is not 1: then the missing light counts as well.
    """
    _require_unit_gain(device)
    if device.d_x == device.d_p:
        return weight_leakage(mu=mu, transmissivity=1.0, excess=device.d_x / n_modes) / 2.0
    bits = phase_sensitive_leakage(mu=mu, excess_x=device.d_x / n_modes, excess_p=device.d_p / n_modes)
    return bits / 2.0


def data_bits(device: Measurement, *, rows: int, n_modes: int) -> float:
    """Bits per real symbol of the data over so many rows, at unit net gain (ValueError otherwise)."""
    _require_unit_gain(device)
    if device.d_x == device.d_p:
        bits = data_leakage(photons_per_row=device.photons, rows=rows, n_modes=n_modes)
    else:
        bits = phase_sensitive_data_leakage(
            photons_x=device.d_x / 4.0, photons_p=device.d_p / 4.0, rows=rows, n_modes=n_modes
        )
    return bits / (2 * n_modes)


def passive_tap_row_bits(*, mu: float, transmissivity: float) -> float:
    """What a passive tap of one mode takes from a row, g((1-t) mu): exact, bits per row and not per weight."""
    if not 0.0 <= transmissivity <= 1.0:
        raise ValueError(f"transmissivity must lie in [0, 1], got {transmissivity!r}")
    return weight_leakage(mu=mu, transmissivity=transmissivity, excess=0.0)


def _require_unit_gain(device: Measurement) -> None:
    if not device.unit_gain:
        gains = f"{math.sqrt(device.gain_x * device.gain_p):.6g}"
        raise ValueError(f"{device.name}: a net gain of {gains} returns less light; the figures need unit gain")
