"""Order, circles, and what is needed for what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl_calibration.graph import Graph
from tests.calibration.toys import Toy, ToyBench


def test_each_stands_behind_what_it_requires() -> None:
    graph = Graph([Toy("c", ("b", "a")), Toy("a"), Toy("d"), Toy("b", ("a",))])
    assert tuple(graph) == ("a", "b", "c", "d")
    assert graph.order(["c"]) == ("a", "b", "c")
    assert graph.dependents("a") == ("b", "c")
    assert graph.dependents("d") == ()


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=20))
def test_any_graph_without_circles_is_sorted(edges: list[list[int]]) -> None:
    names = [f"n{index}" for index in range(len(edges))]
    routines = [
        Toy(names[index], tuple({names[other % index] for other in others}) if index else ())
        for index, others in enumerate(edges)
    ]
    graph = Graph(reversed(routines))
    place = {name: index for index, name in enumerate(graph)}
    assert set(place) == set(names)
    assert all(place[other] < place[name] for name in names for other in graph[name].requires)


def test_circles_and_unknown_requirements_are_refused() -> None:
    with pytest.raises(ValueError, match="a -> b -> c -> a"):
        Graph([Toy("a", ("b",)), Toy("b", ("c",)), Toy("c", ("a",))])
    with pytest.raises(ValueError, match="'nothing', which is no routine"):
        Graph([Toy("a", ("nothing",))])
    with pytest.raises(ValueError, match="two routines"):
        Graph([Toy("a"), Toy("a")])
    with pytest.raises(InputError, match="Did you mean"):
        Graph([Toy("client.shot-noise")]).order(["client.shotnoise"])


def test_what_serves_a_run_brings_what_it_requires() -> None:
    graph = Graph([Toy("a", serves=()), Toy("b", ("a",)), Toy("c", serves=("commission",))])
    assert graph.needed_for("run") == ("a", "b")
    assert graph.needed_for("commission") == ("c",)


def test_what_does_not_apply_to_a_bench_is_not_required_there() -> None:
    graph = Graph([Toy("a", there=False), Toy("b", ("a",))]).applicable(ToyBench())
    assert tuple(graph) == ("b",)
    assert graph.requires("b") == ()
