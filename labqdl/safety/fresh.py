"""Making an instrument safe with a driver object of its own, over a connection of its own."""

from __future__ import annotations

from labqdl.errors import LabqdlError
from labqdl.instruments import Instrument, SettingsChanged
from labqdl.safety.recipe import Recipe
from labqdl.transport import ConnectionLost, Transport, TransportTimeout


def open_for_safety(instrument: Instrument) -> None:
    """Open it; where only what the driver wants to learn fails, the bare connection will do."""
    try:
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
