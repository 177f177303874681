"""What a run costs in light and time: symbols, photons, energy and seconds, from the frame alone."""

from __future__ import annotations

from dataclasses import dataclass

from labqdl.facts import FrameDescription
from labqdl.units import photon_energy

WAVELENGTH = 1550e-9
"""Of the light, m: that of telecommunication, which the photons' energy is stated for."""
SYMBOL_RATE = 100e6
"""Usual symbol rate, symbols per second."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer, for one image.

    Attributes
    ----------
    layer:
        From 1.
    macs:
        Multiplications of a weight with a feature, the bias's included.
    symbols:
        Mode slots one way, with pilots and vacuum slots.
    photons:
        Mean photons at the server's output.
    """

    layer: int
    macs: int
    symbols: int
    photons: float

    @property
    def photons_per_mac(self) -> float:
        """Mean photons at the server's output for each multiplication."""
        return self.photons / self.macs


@dataclass(frozen=True, slots=True)
class Cost:
    """All layers, for one image and for the images whose light has flowed.

    Attributes
    ----------
    layers:
        Each for one image.
    images:
        Images whose light was sent.
    symbol_rate:
        Symbols per second.
    """

    layers: tuple[LayerCost, ...]
    images: int
    symbol_rate: float

    @property
    def macs(self) -> int:
        """Multiplications of one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def symbols(self) -> int:
        """Mode slots of one image, one way."""
        return sum(layer.symbols for layer in self.layers)

    @property
    def photons(self) -> float:
        """Mean photons of one image at the server's output."""
        return sum(layer.photons for layer in self.layers)

    @property
    def photons_per_mac(self) -> float:
        """Mean photons at the server's output for each multiplication."""
        return self.photons / self.macs

    @property
    def energy_per_mac(self) -> float:
        """Optical energy at the server's output for each multiplication, J."""
        return self.photons_per_mac * photon_energy(WAVELENGTH)

    @property
    def seconds(self) -> float:
        """Time of one image's symbols one way; delays of the path and of the electronics come on top."""
        return self.symbols / self.symbol_rate


def cost_of(frame: FrameDescription, images: int, symbol_rate: float = SYMBOL_RATE) -> Cost:
    """Cost of a frame.

    Parameters
    ----------
    frame:
        What both parties agreed on; `pilots` and `vacuum_slots` are added to each row.
    images:
        Images whose light was sent.
    symbol_rate:
        Symbols per second, above 0.
    """
    if not symbol_rate > 0:
        raise ValueError(f"symbol_rate must be positive, got {symbol_rate!r}")
    extra = frame.pilots + frame.vacuum_slots
    layers = tuple(
        LayerCost(
            layer=index,
            macs=layer.rows * (layer.n_features + int(layer.bias)),
            symbols=layer.streamed_rows * (layer.tile_modes + extra),
            # mu is the mean over pairs of real entries; the zero that pads an odd row carries no light.
            photons=layer.rows * (layer.n_features + int(layer.bias)) / 2 * layer.mu,
        )
        for index, layer in enumerate(frame.layers, start=1)
    )
    return Cost(layers, images, symbol_rate)
