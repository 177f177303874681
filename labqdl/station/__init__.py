"""Opens and composes what a station file names; drivers come by entry point only."""

from labqdl.station.drivers import (
    Coverage,
    DriverEntry,
    coverage,
    driver_class,
    driver_names,
    driver_options,
    instrument_class,
    list_drivers,
)
from labqdl.station.station import Station, load_station
from labqdl.station.values import find_quantity, parse_value, plain_value, quantity_paths, value_text

__all__ = [
    "Coverage",
    "DriverEntry",
    "Station",
    "coverage",
    "driver_class",
    "driver_names",
    "driver_options",
    "find_quantity",
    "instrument_class",
    "list_drivers",
    "load_station",
    "parse_value",
    "plain_value",
    "quantity_paths",
    "value_text",
]
