"""Which of an instrument's commands a driver uses; for the coverage table of `labqdl instruments list`."""

from __future__ import annotations

import re
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


def command_key(command: str) -> str:
    """A command without query mark, arguments, channel numbers, fields (`{n}`) and outer colons, in capitals.

    Both the commands of a sheet and the templates of a driver become the same key: `SOUR{n}:VOLT {}` and
    `SOUR1:VOLT?` are `SOUR:VOLT`, `v{n}={}` is `V`; registers such as `0x31` stay.
    """
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", command):
        return f"0x{int(command, 16):02X}"
    head = re.split(r"[ ?=]|: ", command.strip(), maxsplit=1)[0]
    nodes = (re.sub(r"\{\w*\}|\d+$", "", node) for node in head.split(":"))
    return ":".join(node for node in nodes if node).upper()
