"""Every driver that ships keeps the promises of its class, on the twin of its family."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from labqdl.testing.conformance import declared_problems, machine, set_everything
from tests.conformance.subjects import ADAPTERS, MAKERS, NAMES, driver_class, subject


def test_every_driver_is_here() -> None:
    assert {entry.name for entry in entry_points(group="labqdl.drivers")} == set(MAKERS) | ADAPTERS
    assert sorted(MAKERS) == NAMES, "a driver without twin"


@pytest.mark.parametrize("name", NAMES)
def test_declarations(name: str) -> None:
    assert declared_problems(driver_class(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_setting(name: str) -> None:
    assert set_everything(lambda: subject(name)) == []


def run(name: str, examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        machine(lambda: subject(name)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            print_blob=False,
            phases=(Phase.explicit, Phase.generate),  # to shrink a failure by hand, add Phase.shrink
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("name", NAMES)
def test_promises(name: str) -> None:
    run(name, 12, 20, derandomize=True)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_promises_at_length(name: str) -> None:
    run(name, 500, 50, derandomize=False)
