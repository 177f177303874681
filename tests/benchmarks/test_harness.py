"""The harness of the benchmarks: turns, medians, targets, warnings. No test judges a speed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks.child import Clock, peak_memory
from benchmarks.harness import (
    Benchmark,
    Figure,
    Note,
    Options,
    Ratio,
    Result,
    Spread,
    Times,
    interleave,
    load_average,
    machine,
    not_installed,
    slope,
)


def times(*wall: float) -> Times:
    return Times(wall, wall)


def test_subject_and_peer_take_turns_and_swap_who_begins() -> None:
    order: list[str] = []
    cases = {name: lambda name=name: order.append(name) for name in ("subject", "peer")}
    measured = interleave(cases, 3)
    warm_up, turns = order[:2], order[2:]
    assert warm_up == ["subject", "peer"]
    assert turns == ["subject", "peer", "peer", "subject", "subject", "peer"]
    assert {name: len(found.wall) for name, found in measured.items()} == {"subject": 3, "peer": 3}


def test_repeats_below_one_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        interleave({}, 0)


def test_ratio_is_the_median_of_ratios_within_a_repeat() -> None:
    ratio = Ratio("case", "work", 1, times(2.0, 9.0, 3.0), times(1.0, 3.0, 3.0), target=2.0)
    assert (ratio.ratio.median, ratio.ratio.low, ratio.ratio.high) == (2.0, 1.0, 3.0)
    assert ratio.verdict == "met"
    assert Ratio("case", "work", 1, times(2.1), times(1.0), target=2.0).verdict == "MISSED"
    assert Ratio("case", "work", 1, times(2.1), times(1.0)).verdict == ""
    assert "ratio 2 (1..3)" in "\n".join(ratio.lines())


def test_time_of_one_of_many() -> None:
    assert times(10.0, 20.0).each(10) == times(1.0, 2.0)


def test_slope_of_a_power_law() -> None:
    assert slope([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]) == pytest.approx(2.0)


def test_scaled_images_come_in_whole_blocks() -> None:
    assert Options().images(10_000) == 10_000
    assert Options(scale=0.1).images(10_000) == 1024
    assert Options(scale=1e-6).images(10_000) == 64


def test_a_missing_peer_is_a_note_with_its_remedy() -> None:
    note = not_installed("PyTorch", "torch")
    assert list(note.lines()) == ["  PyTorch: not installed: pip install torch"]


def test_machine_names_its_kind_and_no_folder() -> None:
    described = json.dumps(machine())
    assert "processor" in described
    assert str(Path.home()) not in described
    assert str(Path(__file__).parents[2]) not in described


def test_clock_counts_inner_parts_once() -> None:
    clock = Clock()
    clock.seconds = {"outer": 0.0, "inner": 0.0}

    def spin(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    inner = clock.wrap("inner", lambda: spin(0.02))

    def body() -> None:
        inner()
        spin(0.002)

    began = time.perf_counter()
    clock.wrap("outer", body)()
    total = time.perf_counter() - began
    assert clock.seconds["inner"] >= 0.02
    assert clock.seconds["outer"] >= 0.002
    assert sum(clock.seconds.values()) <= total


def test_peak_memory_is_plausible() -> None:
    peak = peak_memory()
    assert peak is None or 1e6 < peak < 1e12


def some_results(options: Options) -> Iterator[Result]:
    yield Figure("figure", 2.0, "s", "note", target=1.0, low=1.0, high=3.0)
    yield Ratio("ratio", "work", 2, times(1.0), times(2.0), target=1.0)
    yield Note("note", f"{options.repeats} repeats")


@pytest.fixture
def only_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "benchmarks", lambda: {"this": Benchmark("this", "about", some_results)})


@pytest.mark.usefixtures("only_this")
def test_command_prints_and_saves(tmp_path: Path) -> None:
    target = tmp_path / "new" / "results.json"
    done = CliRunner().invoke(command.main, ["this", "--repeats", "2", "--json", str(target)])
    assert done.exit_code == 0, done.output
    assert "target missed: this: figure" in done.output
    assert "2 repeats are for debugging" in done.output
    document = json.loads(target.read_text(encoding="utf-8"))
    assert (document["schema"], document["version"], document["repeats"]) == ("labqdl.benchmarks", 1, 2)
    kinds = [result["kind"] for result in document["results"]["this"]]
    assert kinds == ["figure", "ratio", "note"]
    assert document["results"]["this"][1]["ratio"] == {"median": 0.5, "low": 0.5, "high": 0.5}


@pytest.mark.usefixtures("only_this")
def test_command_warns_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "machine", lambda: {**machine(), "load_average": 3.2})
    done = CliRunner().invoke(command.main, ["--json", str(tmp_path / "r.json")])
    assert "load average is 3.2" in done.output
    monkeypatch.setattr(command, "machine", lambda: {**machine(), "load_average": 0.1})
    done = CliRunner().invoke(command.main, ["--json", str(tmp_path / "r.json")])
    assert "warning" not in done.output


def test_unknown_benchmark_is_bad_input() -> None:
    done = CliRunner().invoke(command.main, ["nonsense"])
    assert done.exit_code == 2
    assert "there are: generators, pass" in done.output


def test_list_names_all() -> None:
    done = CliRunner().invoke(command.main, ["--list"])
    assert [line.split()[0] for line in done.output.splitlines()] == [
        "generators",
        "pass",
        "depths",
        "torch",
        "gaussian",
        "in-process",
        "hislip",
        "world",
        "dsp",
        "scaling",
        "memory",
        "run",
        "transport",
    ]


def test_load_average_is_a_number_where_there_is_one() -> None:
    load = load_average()
    assert load is None or load >= 0


def test_spread_reads_well() -> None:
    assert str(Spread.of([1.0, 2.0, 40.0])) == "2 (1..40)"
