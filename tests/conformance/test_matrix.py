"""Every driver when something goes wrong, in process and over sockets, pseudo terminals and ZeroMQ."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from tests.conformance.matrix import DIFFERENT, FAULTS, PROBES, cells, run_cell
from tests.conformance.subjects import NAMES

QUICK = ("reply lost", "FIN", "garbled", "reply twice", "another box")
"""Faults of the small part over the wire, where each costs real time."""


BY_NAME: dict[str, list[str]] = defaultdict(list)
for _name, _words in cells():
    BY_NAME[_name].append(_words)


def sample() -> list[tuple[str, str]]:
    """Some cells over the wire, the same ones each time."""
    found = [cell for cell in cells(wire=True) if cell[1] in QUICK]
    return sorted(random.Random(13).sample(found, 12))


def test_every_driver_has_a_probe() -> None:
    assert sorted(PROBES) == NAMES
    assert all(name in PROBES and words in FAULTS for name, words in DIFFERENT)


@pytest.mark.parametrize("name", NAMES)
def test_in_process(name: str) -> None:
    problems = [f"{words}: {problem}" for words in BY_NAME[name] for problem in run_cell(name, words).problems]
    assert problems == []


@pytest.mark.parametrize(("name", "words"), sample())
def test_some_over_the_wire(name: str, words: str) -> None:
    assert run_cell(name, words, wire=True).problems == []


@pytest.mark.soak
@pytest.mark.parametrize(("name", "words"), cells(wire=True))
def test_all_over_the_wire(name: str, words: str) -> None:
    assert run_cell(name, words, wire=True).problems == []
