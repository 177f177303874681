"""Making an instrument safe with a driver object of its own, over a connection of its own."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from labqdl.errors import LabqdlError
from labqdl.instruments import Instrument, SettingsChanged
from labqdl.safety.recipe import Recipe
from labqdl.transport import ConnectionLost, Transport, TransportTimeout


@runtime_checkable
class OpensBare(Protocol):
    """A driver that can be opened for its safe state alone."""

    def open_bare(self) -> None:
        """Connect and check the identity."""
        ...


def open_for_safety(instrument: Instrument) -> None:
    """Open it, without what the driver wants to learn: its safe state does not need that, and it takes time.

    Where even the identity cannot be understood, the bare connection will do.
    """
    try:
        if isinstance(instrument, OpensBare):
            instrument.open_bare()
            return
        instrument.open()
    except (ConnectionLost, TransportTimeout, SettingsChanged):
        raise
    except LabqdlError:
        transport = getattr(instrument, "transport", None)
        if not isinstance(transport, Transport):
            raise
        transport.open()


def make_safe_afresh(recipe: Recipe) -> None:
    """Make the driver, open a connection, make safe (confirmed), close.

    Raises
    ------
    LabqdlError
        Where any of that fails.
    """
    instrument = recipe.make()
    try:
        open_for_safety(instrument)
        instrument.safe_state()
    finally:
        instrument.close()
