"""Whether a driver accounts for every command of its sheet."""

from __future__ import annotations

from labqdl.driver import Driver, commands_used
from labqdl.driver.coverage import command_key
from tests.sheet_examples import load


def check_commands(name: str, driver: type[Driver]) -> float:
    """Every command is used or left out with a reason, and nothing else is; gives the share that is used."""
    sheet = {command_key(command) for command in load(name).commands}
    used = {command_key(command) for command in commands_used(driver)}
    left_out = {command_key(command) for command in driver.left_out}
    unaccounted = {
        command
        for command in sheet - used
        if not any(command == one or command.startswith(one + ":") for one in left_out)
    }
    assert not unaccounted, f"neither used nor left out: {sorted(unaccounted)}"
    foreign = used - sheet - {command_key(command) for command in driver.base_commands}
    assert not foreign, f"not in the sheet: {sorted(foreign)}"
    assert not used & left_out, f"used and left out: {sorted(used & left_out)}"
    return len(used & sheet) / len(sheet)
