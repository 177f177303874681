"""The shipped builds and floors: complete, sourced, and read with clear words for mistakes."""

from __future__ import annotations

import pytest

from labqdl.config.builds import FLOORS, find_build, read_builds, shipped_builds
from labqdl.config.document import parse
from labqdl.errors import InputError
from labqdl.facts import TapKind


def test_every_figure_has_its_source() -> None:
    found = shipped_builds()
    assert {build.kind for build in found.builds} == set(TapKind)
    assert {floor.name for floor in found.floors} == set(FLOORS)
    sources = [*(build.source for build in found.builds), *(floor.source for floor in found.floors)]
    assert min(map(len, sources)) > 20


def test_quantities_are_read_with_their_units() -> None:
    edfa = find_build("edfa")
    assert edfa.least_gain == pytest.approx(10**0.07)
    assert edfa.transmissivity_before == pytest.approx(10**-0.075)
    assert find_build("feed-forward").least_split == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[build]]\nname = "x"\nkind = "mirror"\ndescription = "d"\nsource = "s"\n', "mirror"),
        ('[[build]]\nname = "x"\nkind = "amplifier"\ndescription = "d"\n', "source"),
        (
            '[[build]]\nname = "x"\nkind = "amplifier"\ndescription = "d"\nsource = "s"\nloss_before = "90 dB"\n',
            "transmissivity_before",
        ),
        ('[[floor]]\nname = "luck"\nvalue = 1.0\nwords = "w"\nsource = "s"\n', "luck"),
    ],
    ids=["kind", "source", "loss", "floor"],
)
def test_mistakes(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_builds(parse(text.encode(), source="here.toml"))


def test_unknown_build() -> None:
    with pytest.raises(InputError, match="edfa"):
        find_build("edfb")
