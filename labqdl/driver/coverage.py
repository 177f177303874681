"""Which of an instrument's commands a driver uses; for the coverage table of `labqdl instruments list`."""

from __future__ import annotations

import sys

from labqdl.driver.base import Driver
from labqdl.driver.text import Action
from labqdl.instruments import Channel, Quantity


def commands_used(driver: type[Driver]) -> frozenset[str]:
    """Commands as the declarations write them: of quantities, actions, marked methods, and of the driver's channels.

    Channels are the classes of the driver's module; what its base classes send (`base_commands`) counts.
    """
    found: set[str] = set(driver.base_commands)
    module = vars(sys.modules[driver.__module__]).values()
    channels = [one for one in module if isinstance(one, type) and issubclass(one, Channel)]
    for part in (driver, *(one for one in channels if one.__module__ == driver.__module__)):
        for member in (member for base in part.__mro__ for member in vars(base).values()):
            if isinstance(member, Quantity):
                found.update(member.commands())
            elif isinstance(member, Action):
                found.add(member.command)
            elif isinstance(getattr(member, "commands", None), tuple):
                found.update(member.commands)
    return frozenset(found)
