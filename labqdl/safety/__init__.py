"""Whatever dies, what emits light goes dark: the stack of safe states, the watchdog, the UNSAFE file, arming.

Software is no interlock. It reaches only what answers, and believes what it is told unless a meter confirms it.
"""

from __future__ import annotations

from labqdl.safety.arming import SCRIPT, UNARMED, Arming
from labqdl.safety.darkening import Outcome
from labqdl.safety.errors import Unsafe
from labqdl.safety.manual import make_all_safe, make_recorded_safe, unsafe_of
from labqdl.safety.paths import DarkCheck, LightPath
from labqdl.safety.reach import is_inside, may_be_simulated
from labqdl.safety.recipe import NotRemakeable, Recipe, recipe_of
from labqdl.safety.stack import SafeStack, process_guard, set_process_guard
from labqdl.safety.unsafe import Entry, UnsafeFile, state_folder

__all__ = [
    "SCRIPT",
    "UNARMED",
    "Arming",
    "DarkCheck",
    "Entry",
    "LightPath",
    "NotRemakeable",
    "Outcome",
    "Recipe",
    "SafeStack",
    "Unsafe",
    "UnsafeFile",
    "is_inside",
    "make_all_safe",
    "make_recorded_safe",
    "may_be_simulated",
    "process_guard",
    "recipe_of",
    "set_process_guard",
    "state_folder",
    "unsafe_of",
]
