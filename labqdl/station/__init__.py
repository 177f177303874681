"""Opens and composes what a station file names; drivers come by entry point only."""

from labqdl.station.checking import StationCheck, check_station
from labqdl.station.drawing import draw_text
from labqdl.station.drivers import (
    ENOUGH,
    Coverage,
    DriverEntry,
    coverage,
    driver_class,
    driver_names,
    instrument_class,
    list_drivers,
)
from labqdl.station.files import template, template_of, write_new
from labqdl.station.finding import Diagnosis, Found, ask_identity, diagnose, drivers_for, find, station_text
from labqdl.station.opening import light_paths, open_station
from labqdl.station.picture import station_picture
from labqdl.station.station import Station, load_station
from labqdl.station.values import find_quantity, parse_value, plain_value, quantity_paths, set_quantity, value_text

__all__ = [
    "ENOUGH",
    "Coverage",
    "Diagnosis",
    "DriverEntry",
    "Found",
    "Station",
    "StationCheck",
    "ask_identity",
    "check_station",
    "coverage",
    "diagnose",
    "draw_text",
    "driver_class",
    "driver_names",
    "drivers_for",
    "find",
    "find_quantity",
    "instrument_class",
    "light_paths",
    "list_drivers",
    "load_station",
    "open_station",
    "parse_value",
    "plain_value",
    "quantity_paths",
    "set_quantity",
    "station_picture",
    "station_text",
    "template",
    "template_of",
    "value_text",
    "write_new",
]
