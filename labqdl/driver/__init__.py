"""The grammar that drivers are written in: one declaration for one row of the manual's command table."""

from labqdl.driver.base import Driver
from labqdl.driver.coverage import commands_used
from labqdl.driver.custom import Custom
from labqdl.driver.frame import Count, Flag, FrameInstrument, Pick, Register, Word
from labqdl.driver.scpi import ScpiInstrument
from labqdl.driver.text import (
    NOT_A_NUMBER,
    Action,
    Bool,
    Choice,
    Float,
    Integer,
    Listed,
    Ranged,
    Switched,
    Text,
    TextChannel,
    TextInstrument,
    TextQuantity,
    Uses,
    number_in,
    reasons,
)
from labqdl.driver.wire import CELSIUS, DBM, DEGREES, MICRO, MILLI, NANO, SI, Dbm, Optical, Scale, Wire

__all__ = [
    "CELSIUS",
    "DBM",
    "DEGREES",
    "MICRO",
    "MILLI",
    "NANO",
    "NOT_A_NUMBER",
    "SI",
    "Action",
    "Bool",
    "Choice",
    "Count",
    "Custom",
    "Dbm",
    "Driver",
    "Flag",
    "Float",
    "FrameInstrument",
    "Integer",
    "Listed",
    "Optical",
    "Pick",
    "Ranged",
    "Register",
    "Scale",
    "ScpiInstrument",
    "Switched",
    "Text",
    "TextChannel",
    "TextInstrument",
    "TextQuantity",
    "Uses",
    "Wire",
    "Word",
    "commands_used",
    "number_in",
    "reasons",
]
