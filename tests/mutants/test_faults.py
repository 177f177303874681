"""The list of planted faults fits the sources, and the campaign tells a killed fault from a survivor."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest


def _campaign() -> ModuleType:
    path = Path(__file__).with_name("campaign.py")
    spec = importlib.util.spec_from_file_location("mutation_campaign", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


campaign = _campaign()
FAULTS = campaign.read_faults()
TOP = Path(__file__).resolve().parents[2]


@cache
def functions(file: str) -> frozenset[str]:
    """Names of all functions of a file of tests."""
    tree = ast.parse((TOP / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_there_are_many_in_every_room_and_their_names_are_unique() -> None:
    assert len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {"optics", "security", "protocol", "link", "planner"} <= {Path(fault.file).parts[1] for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_can_be_planted_and_names_a_test(fault: campaign.Fault) -> None:  # type: ignore[name-defined]
    text = (TOP / fault.file).read_text(encoding="utf-8")
    changed = fault.planted(text)
    assert changed != text
    ast.parse(changed)
    file, _, function = fault.test.partition("::")
    assert function.split("::")[-1].split("[")[0] in functions(file), fault.test


@pytest.mark.parametrize("name", ["mu for 2 mu in the Holevo bound", "sign of P"])
def test_small_part_of_the_campaign(name: str) -> None:
    (fault,) = [each for each in FAULTS if each.name == name]
    outcome = campaign.try_fault(fault)
    assert outcome.killed, outcome.words


def test_a_harmless_change_survives() -> None:
    harmless = campaign.Fault("none", "labqdl/units.py", '"""', '"""', "tests/core/test_units_clock_errors.py")
    text = (TOP / harmless.file).read_text(encoding="utf-8")
    first_line = text.splitlines()[0]
    harmless = campaign.Fault("none", harmless.file, first_line, first_line + " ", harmless.test)
    assert not campaign.try_fault(harmless).killed


def test_a_fault_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="stands 0 times"):
        campaign.Fault("none", "x.py", "no such text", "y", "z").planted("something else")
