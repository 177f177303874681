"""The page: words and numbers, escaping, and a report of almost nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labqdl.facts import (
    Activation,
    Bound,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    LeakageReport,
    Ledger,
    Owner,
    Place,
    Quantity,
    TapSetting,
    TestResult,
    VerificationPlan,
)
from labqdl.report.content import Accuracy, Content, Headline, Lamp, Leaks, Missing
from labqdl.report.cost import cost_of
from labqdl.report.page import Table, _leaks, _pair, _tests, compose, duration, number, with_error

LEDGER = Ledger("bench", (Component("a <fibre>", Place.FORWARD, Owner.CHANNEL, transmissivity=0.9, excess=1e-4),))
FRAME = FrameDescription(
    session="s",
    layers=(LayerFrame(3, 5, True, 4.0, None, Activation()), LayerFrame(2, 3, False, 2.0, None, Activation())),
    images=10,
    block=4,
    tap=TapSetting.amplifier(2.0),
    ledger=LEDGER,
    plan=VerificationPlan(),
    budgets=Budgets(cumulative_bits_per_weight=2.0),
    pilots=2,
)
EMPTY = Content(
    name="run & <name>",
    headline=Headline(Lamp.INCOMPLETE, "nothing yet", ""),
    notes=("a <b>note</b>",),
    run=(("model", "<script>alert(1)</script>"),),
    frame=FRAME,
    accuracy=Missing("no image came through all layers."),
    classification=Missing("no labels."),
    predicted=(),
    findings=(),
    outcomes=Missing("no outcomes."),
    evidence=Missing("nothing measured."),
    leaks=Missing("no result."),
    ledger=LEDGER,
    world=None,
    cost=cost_of(FRAME, 0),
)


def bound(
    engine: str, bits: float, *, uses: int = 1, proven: bool = False, quantity: Quantity = Quantity.WEIGHTS
) -> Bound:
    confidence, samples = (0.999, 1234) if proven else (None, 0)
    return Bound(quantity, engine, bits, None, uses, confidence, samples, ("one <assumption>",), ("today",))


def test_a_report_of_almost_nothing_says_what_is_missing() -> None:
    page = compose(EMPTY, ())
    for reason in (
        "no labels.",
        "no outcomes.",
        "nothing measured.",
        "no result.",
        "no image came through all layers.",
    ):
        assert reason in page
    assert '<div class="lamp incomplete"' in page
    assert "<img" not in page


def test_what_a_user_named_cannot_change_the_page() -> None:
    page = compose(EMPTY, ())
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "run &amp; &lt;name&gt;" in page
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert "a &lt;fibre&gt;" in page


@pytest.mark.parametrize("lamp", list(Lamp))
def test_every_lamp_has_colour_sign_and_word(lamp: Lamp) -> None:
    page = compose(replace(EMPTY, headline=Headline(lamp, "line", "words")), ())
    assert f".lamp.{lamp.value}" in page
    assert f"--{lamp.value}:" in page
    assert f'<div class="word">{lamp.value}</div>' in page


def test_an_accuracy_without_labels() -> None:
    page = compose(replace(EMPTY, accuracy=Accuracy(7, None, None), predicted=(("cat", 3), ("dog", 4))), ())
    assert "not known" in page
    assert "How often each class was predicted" in page
    assert '<td class="t">dog</td>' in page


def test_bounds_stand_beside_what_they_rest_on() -> None:
    report = LeakageReport(
        (
            bound("theirs", 5.0),
            bound("ours", 0.05),
            bound("ours", 0.2, proven=True),
            bound("ours", 3.0, uses=50),
            bound("ours", 0.01, quantity=Quantity.DATA),
        )
    )
    leaks = Leaks(report, FRAME.budgets, ("theirs",), None, True)
    table = _leaks(leaks)
    assert [row[:3] for row in table.rows] == [
        ("weights", "ours", "one use"),
        ("weights", "ours", "one use"),
        ("weights", "ours", "50 uses"),
        ("weights", "theirs", "one use"),
        ("data", "ours", "one use"),
    ]
    assert [row[-1] for row in table.rows] == ["within 0.1", "above 0.1", "above 2", "for comparison", "within 0.1"]
    assert table.emphasised == (1, 2)
    assert "confidence 1 − 0.001, 1,234 symbols" in table.rows[1][3]
    page = compose(replace(EMPTY, leaks=leaks), ())
    assert page.count("one &lt;assumption&gt;") == 3
    assert "calibration: today" in page


def test_failed_tests_stand_out() -> None:
    tests = [
        TestResult("gain", 1.0001, 1.0, "of it", 0.5, 0.6, 1e-8, 100),
        TestResult("noise", 2.0, 1.0, "SNU", 5000.0, 0.0, 1e-8, 100),
    ]
    table = _tests(tests)
    assert table.emphasised == (1,)
    assert table.rows[0][1:3] == ("1.00010", "1.00000")
    assert table.rows[1][-1] == "failed"
    assert table.rows[1][5].startswith("below")


def test_a_note_explains_tests_between_limits() -> None:
    findings = (
        TestResult("gain", 1.0001, 1.0, "of it", 0.5, 0.6, 1e-8, 100),
        TestResult("direction", 1.1, 1.12, "SNU per component", 0.0, 1.0, 1e-8, 100),
        TestResult("direction, layer 2", 1.1, 1.12, "SNU per component", 0.0, 1.0, 1e-8, 50),
        TestResult("spectral", 0.9, 1.0, "of the edge", 0.0, 1.0, 1e-8, 100),
    )
    page = compose(replace(EMPTY, findings=findings), ())
    assert "z = 0 and p = 1 (direction, spectral): " in page
    assert "known between limits only" in page
    assert "z = 0 and p = 1" not in compose(replace(EMPTY, findings=findings[:1]), ())


def test_every_table_has_a_column_kind_for_every_heading() -> None:
    table = Table(("a", "b"), (("1", "2"),), "tn")
    assert len(table.headings) == len(table.columns)
    for made in (_tests([]), _leaks(Leaks(LeakageReport(()), FRAME.budgets, (), None, True))):
        assert len(made.headings) == len(made.columns)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-1.5, "−1.5"),
        (1e-6, "10⁻⁶"),
        (2.5e-7, "2.5 × 10⁻⁷"),
        (-3e-9, "−3 × 10⁻⁹"),
        (0.25, "0.25"),
    ],
)
def test_numbers(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (1.00012, 0.00107, "1.0001 ± 0.0011"),
        (-7.6839, 0.0118, "−7.684 ± 0.012"),
        (3.0, 0.0, "3"),
        (12.0, 25.0, "12 ± 25"),
    ],
)
def test_numbers_with_errors(value: float, error: float, expected: str) -> None:
    assert with_error(value, error) == expected


def test_pairs_have_the_same_places() -> None:
    assert _pair(1.0224573, 1.0224358) == ("1.02246", "1.02244")
    assert _pair(0.0011505, 0.5) == ("0.001151", "0.500000")
    assert _pair(3.2e-6, 0.0) == ("3.2 × 10⁻⁶", "0")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8000.0, "2.22 h"), (31.1248, "31.1 s"), (0.00311, "3.11 ms"), (5.46e-6, "5.46 µs"), (2e-9, "2 ns")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_cost_counts_pilots_and_no_light_in_padding() -> None:
    cost = cost_of(FRAME, 4, symbol_rate=1e3)
    first, second = cost.layers
    # 5 weights and a bias are 3 modes, 3 weights are 2 modes; 2 pilots with each row.
    assert (first.symbols, second.symbols) == (3 * (3 + 2), 2 * (2 + 2))
    assert (first.macs, second.macs) == (18, 6)
    assert first.photons == pytest.approx(3 * 3 * 4.0)
    assert second.photons == pytest.approx(2 * 1.5 * 2.0)
    assert cost.seconds == pytest.approx(23e-3)
    with pytest.raises(ValueError, match="symbol_rate"):
        cost_of(FRAME, 4, symbol_rate=float("nan"))
