"""Run folders: write-ahead events, arrays and provenance that survive a kill at any moment."""

from __future__ import annotations

from labqdl.records import provenance
from labqdl.records.log import RecordedEvent, TornLine
from labqdl.records.run import SCHEMA_VERSION, RunFolder, SimulationView
from labqdl.records.store import Party, PartyStore, Store, StoreView

__all__ = [
    "SCHEMA_VERSION",
    "Party",
    "PartyStore",
    "RecordedEvent",
    "RunFolder",
    "SimulationView",
    "Store",
    "StoreView",
    "TornLine",
    "provenance",
]
