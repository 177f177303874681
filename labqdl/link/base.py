"""The light path that a protocol drives: what an emulation and a bench both are.

A link has two ports. The server's port takes rows to send and the setting of the server's receiver and gives back
what that receiver measured; the client's port takes the direction of the data and gives the client's outcomes.
Neither port shows anything of the other: a party's code is handed its own port and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import FrameDescription, MonitorReading, ReturnedLight

Real = np.floating[Any]


class ServerPort(ABC):
    """The server's end of the fibre."""

    @abstractmethod
    def send_rows(self, layer: int, block: int, quadratures: NDArray[Real], images: int) -> None:
        """Load the rows of a layer, to be streamed once for each image of the block.

        Parameters
        ----------
        quadratures:
            q in square roots of SNU at the server's output, interleaved X and P of each mode; (rows, n_weights).
            Where the layer is cut into tiles: (streamed_rows, 2 tile_modes), all rows of the first tile first.
        images:
            How often the rows are streamed.
        """

    @abstractmethod
    def set_receiver(
        self,
        layer: int,
        block: int,
        pattern: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        expected_amplitude: float,
        *,
        use_sums: bool = False,
        sampled: NDArray[np.int64] | None = None,
    ) -> None:
        """Set the server's receiver for one layer of one block.

        Parameters
        ----------
        pattern:
            Quadrature to homodyne in each mode, True for P; (n_modes,), with tiles (tile_modes,) for all of them.
        counted:
            Rows that are displaced and counted instead; (rows,), with tiles (streamed_rows,).
        expected_amplitude:
            Honest amplitude transmission of q to the receiver, which is subtracted or nulled.
        use_sums:
            Whether the residuals of each weight are to be summed over the images.
        sampled:
            Images of which every residual is to be kept, rising places in the block; none where None or empty.
        """

    @abstractmethod
    def returned(self, layer: int, block: int) -> ReturnedLight:
        """What the receiver measured, after `Link.transmit`; can be asked once."""


class ClientPort(ABC):
    """The client's end of the fibre."""

    @abstractmethod
    def set_data(self, layer: int, block: int, directions: NDArray[Real]) -> None:
        """Set the interferometer to unit vectors, one an image; (images, n_weights).

        Where the layer is cut into tiles: (images, tiles * 2 tile_modes), one unit vector for each tile, which all
        rows of that tile meet.
        """

    @abstractmethod
    def outcomes(self, layer: int, block: int) -> NDArray[Real]:
        """Homodyne outcomes in SNU as the receiver gives them, after `Link.transmit`; (images, streamed rows)."""

    @abstractmethod
    def monitor(self, layer: int, block: int) -> MonitorReading | None:
        """What the client's own monitors saw of that light, after `Link.transmit`; None where it has none."""


class Link(ABC):
    """Two ports and the light between them."""

    @property
    @abstractmethod
    def server_port(self) -> ServerPort:
        """The end that the server holds."""

    @property
    @abstractmethod
    def client_port(self) -> ClientPort:
        """The end that the client holds."""

    @property
    @abstractmethod
    def rows_sent(self) -> int:
        """Rows of light sent since this link was opened, each image of a block counted."""

    @abstractmethod
    def prepare(self, frame: FrameDescription) -> None:
        """Make ready for the agreed frame; no light flows yet."""

    @abstractmethod
    def transmit(self, layer: int, block: int) -> None:
        """Let the light of one layer of one block pass: out, through the client, and back."""

    @abstractmethod
    def close(self) -> None:
        """Leave the light path dark."""
