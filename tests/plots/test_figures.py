"""The figures draw the numbers that they are given; what people see of them is judged by people."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from labqdl import plots
from labqdl.facts import Bound, Component, Ledger, Owner, Place, Quantity, TestResult
from labqdl.plots import style


def bound(
    engine: str, bits: float, *, quantity: Quantity = Quantity.WEIGHTS, uses: int = 1, proven: bool = False
) -> Bound:
    confidence, samples = (0.999, 50) if proven else (None, 0)
    return Bound(quantity, engine, bits, None, uses, confidence, samples, ("assumed",), ("calibrated",))


def check(name: str, z: float, p_value: float) -> TestResult:
    return TestResult(name, 1.0, 1.0, "unit", z, p_value, 1e-6, 100)


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


# -- classification ---------------------------------------------------------------------------------------------------


def test_confusion_matrix_shows_every_count() -> None:
    counts = np.array([[50, 3, 0], [2, 60, 1], [0, 0, 41]])
    ax = plots.confusion_matrix(counts, ("cat", "dog", "cow"))
    places = {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in ax.texts}
    assert places == {(row, column): count for (row, column), count in np.ndenumerate(counts) if count}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "cow"]
    shown = ax.images[0].get_array()
    assert shown is not None
    assert np.allclose(shown[0, 2], 1)
    assert shown[0, 1][2] < shown[1, 0][2] < 1  # the commoner mistake is the darker orange


def test_confusion_matrices_of_any_size() -> None:
    style.render(plots.confusion_matrix(np.zeros((2, 2), np.int64)))
    ax = plots.confusion_matrix(np.eye(40, dtype=np.int64))
    assert not ax.texts
    assert len(ax.get_xticklabels()) <= 10
    with pytest.raises(ValueError, match="shape"):
        plots.confusion_matrix(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="2 names for 3 classes"):
        plots.confusion_matrix(np.eye(3, dtype=np.int64), ("a", "b"))


def test_accuracy_is_in_per_cent_with_its_bars() -> None:
    ax = plots.accuracy_curve([-3.0, 0.0], [0.9, 0.95], ([0.88, 0.94], [0.92, 0.96]), label="ours", target=0.96)
    ax = plots.accuracy_curve([-3.0, 0.0], [0.5, 0.6], label="theirs", index=1, line=False, ax=ax)
    containers: list[Any] = list(ax.containers)
    line, _, (bars,) = containers[0].lines
    assert list(line.get_ydata()) == pytest.approx([90.0, 95.0])
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [
        pytest.approx([88.0, 92.0]),
        pytest.approx([94.0, 96.0]),
    ]
    assert containers[1].lines[0].get_linestyle() == "None"
    assert texts(ax) == ["96 %"]
    path = plots.accuracy_path([10, 20], [0.5, 0.75], ([0.4, 0.6], [0.6, 0.9]))
    assert list(np.asarray(path.lines[0].get_ydata())) == [50.0, 75.0]


# -- outcomes ---------------------------------------------------------------------------------------------------------


def test_fit_is_the_least_squares_line_with_its_errors() -> None:
    generator = np.random.default_rng(4)
    x = generator.standard_normal((50, 40))
    y = 0.7 * x - 0.2 + 0.5 * generator.standard_normal(x.shape)
    fit = plots.fit_outcomes(x, y)
    expected = stats.linregress(x.ravel(), y.ravel())
    assert (fit.slope, fit.offset) == pytest.approx((expected.slope, expected.intercept), rel=1e-9)
    assert (fit.slope_error, fit.offset_error) == pytest.approx((expected.stderr, expected.intercept_stderr), rel=1e-6)
    residual = y - fit.slope * x - fit.offset
    assert fit.noise == pytest.approx(np.sum(residual**2) / (x.size - 2))
    assert fit.f2_db == pytest.approx(10 * math.log10(fit.slope**2 / fit.noise))


def test_error_of_f2_is_that_of_repeated_experiments() -> None:
    # 400 repetitions: the spread's own error is 3.5 %; five of these allow 18 %, a false alarm below 1e-6.
    generator = np.random.default_rng(5)
    x = generator.standard_normal(300)
    fits = [plots.fit_outcomes(x, x + 1.5 * generator.standard_normal(300)) for _ in range(400)]
    spread = float(np.std([fit.f2_db for fit in fits]))
    assert spread == pytest.approx(float(np.mean([fit.f2_db_error for fit in fits])), rel=0.18)


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0]), ([1.0] * 4, [1.0] * 4)])
def test_points_without_a_line(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match=r"points|same"):
        plots.fit_outcomes(np.array(x), np.array(y))


def test_density_counts_all_outcomes_but_the_outermost() -> None:
    generator = np.random.default_rng(6)
    x = generator.standard_normal(20000).astype(np.float32)
    ax = plots.outcomes(x, 2 * x)
    shown = ax.images[0].get_array()
    assert shown is not None
    assert 0.99 * x.size < float(np.ma.filled(shown, 0).sum()) <= x.size
    slope = np.ptp(np.asarray(ax.lines[1].get_ydata())) / np.ptp(np.asarray(ax.lines[1].get_xdata()))
    assert slope == pytest.approx(2.0, rel=1e-5)
    few = plots.outcomes(x[:10], x[:10])
    style.render(few)
    assert not few.images
    assert np.asarray(few.lines[0].get_xdata()) == pytest.approx(x[:10])


# -- evidence ---------------------------------------------------------------------------------------------------------


def test_residual_path_draws_statistic_expectation_and_band() -> None:
    symbols = np.array([1e6, 2e6, 3e6])
    ax = plots.residual_path(
        symbols, [1.1, 1.0, 1.05], expected=[1.0, 1.0, 1.0], band=([0.8, 0.9, 0.92], [1.2, 1.1, 1.08]), unit="SNU"
    )
    expected, measured = ax.lines
    assert list(np.asarray(measured.get_xdata())) == [1.0, 2.0, 3.0]
    assert ax.get_xlabel() == "measured symbols (million)"
    assert list(np.asarray(measured.get_ydata())) == [1.1, 1.0, 1.05]
    assert list(np.asarray(expected.get_ydata())) == [1.0, 1.0, 1.0]
    corners: Any = ax.collections[0].get_paths()[0].vertices
    assert {0.8, 1.2, 0.92, 1.08} <= {round(float(value), 6) for value in corners[:, 1]}


def test_small_statistics_are_scaled_in_the_label() -> None:
    ax = plots.residual_path([1.0, 2.0], [3e-6, 5e-6], label="count", unit="photons per slot (of one kind)")
    assert ax.get_ylabel() == "count (10⁻⁶ photons per slot)"
    assert list(np.asarray(ax.lines[0].get_ydata())) == pytest.approx([3.0, 5.0])


def test_a_single_look_has_a_band_as_well() -> None:
    ax = plots.residual_path([50.0], [2.0], expected=[1.0], band=([0.9], [1.1]))
    low, high = ax.get_ylim()
    assert low < 0.9
    assert high > 2.0
    assert len(ax.patches) == 1
    style.render(ax)


@pytest.mark.parametrize("values", [[0.3, -1.0, 2.0], [0.5, 400.0, 9e4], [0.1, -3e6, 3e5]])
def test_deviations_near_and_far_are_all_within_the_axes(values: list[float]) -> None:
    ax = plots.deviations([1.0, 2.0, 3.0], {"noise": values, "gain": [0.0, math.nan, 0.1]}, limit=5.0)
    style.render(ax)
    low, high = ax.get_ylim()
    assert low < min(values)
    assert high > max(values)
    assert 3 <= len([tick for tick in ax.get_yticks() if low <= tick <= high]) <= 12


def test_e_value_path_shows_the_threshold() -> None:
    for values in ([0.0, -0.5, 1.0], [0.0, 3.7e6]):
        ax = plots.e_value_path(np.arange(len(values)), values, threshold=6.3)
        style.render(ax)
        assert list(np.asarray(ax.lines[1].get_ydata())) == values
        low, high = ax.get_ylim()
        assert low < min(values)
        assert high > max(*values, 6.3)


def test_check_summary_has_a_row_for_every_test() -> None:
    tests = [check("gain", 0.5, 0.6), check("noise", 40.0, 0.0), check("count, layer 2", -1.0, 0.3)]
    ax = plots.check_summary(tests)
    style.render(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gain", "noise", "count, layer 2"]
    drawn = [float(np.asarray(line.get_xdata())[0]) for line in ax.lines[:3]]
    assert drawn == pytest.approx([stats.norm.isf(0.3), 40.0, -stats.norm.isf(0.15)])
    patches: Any = ax.patches
    limits = [patch.get_width() / 2 for patch in patches]
    assert limits == pytest.approx([stats.norm.isf(0.5e-6)] * 3)


@pytest.mark.parametrize("p_value", [1.0, 0.7, 1e-3, 1e-12, 1e-200])
def test_normal_deviate(p_value: float) -> None:
    expected = stats.norm.isf(p_value / 2)
    assert plots.normal_deviate(p_value, 3.0) == pytest.approx(expected, abs=1e-9, rel=1e-6)
    assert plots.normal_deviate(p_value, -3.0) == pytest.approx(-expected, abs=1e-9, rel=1e-6)
    assert plots.normal_deviate(0.0, -77.0) == -77.0


# -- leakage and ledger -----------------------------------------------------------------------------------------------


def test_leakage_has_a_dot_for_every_bound_and_a_line_for_every_budget() -> None:
    bounds = [
        bound("labqdl", 0.02),
        bound("labqdl", 0.03, proven=True),
        bound("labqdl", 4.0, uses=100),
        bound("theirs", 0.0),
        bound("labqdl", 0.9, quantity=Quantity.DATA),
    ]
    ax = plots.leakage(bounds, Quantity.WEIGHTS, budget=0.1, cumulative_budget=2.0, for_comparison=["theirs"])
    style.render(ax)
    dots = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    assert [float(np.asarray(dot.get_xdata())[0]) for dot in dots[:3]] == [0.02, 0.03, 4.0]
    assert [dot.get_marker() for dot in dots] == ["o", "o", "s", "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [True, False, True, True]
    assert dots[3].get_color() == style.GREY
    assert set(texts(ax)) == {"0.02", "0.03", "4", "0", "budget", "budget, all uses"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["labqdl", "theirs"]
    assert "per weight" in ax.get_xlabel()


def test_leakage_of_nothing() -> None:
    style.render(plots.leakage([bound("labqdl", 0.0)], Quantity.WEIGHTS))
    style.render(plots.leakage([], Quantity.DATA))
    left, right = style.panels(1, 2)
    plots.leakage([bound("labqdl", 0.1)], Quantity.WEIGHTS, key=False, ax=left)
    plots.leakage([bound("labqdl", 1e-7, quantity=Quantity.DATA)], Quantity.DATA, key=False, ax=right)
    plots.leakage_key(style.figure_of(left), [bound("labqdl", 0.1)])
    style.render(left)


PATH = Ledger(
    "path",
    (
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, trusted=True, transmissivity=0.5, extinction=1e-5),
        Component("fibre back", Place.RETURN, Owner.CHANNEL, transmissivity=10**-0.2),
        Component("fibre out", Place.FORWARD, Owner.CHANNEL, transmissivity=10**-0.1, phase_noise=0.01),
        Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.3),
        Component("detector", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=10**-0.05, electronic_noise=0.02),
    ),
)


def test_waterfall_follows_the_light() -> None:
    ax = plots.ledger_waterfall(PATH)
    style.render(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "fibre out",
        "amplifier",
        "detector",
        "fibre back",
        "counter",
    ]
    patches: Any = ax.patches
    bars = [patch for patch in patches if patch.get_height() == pytest.approx(0.62)]
    starts = [bar.get_x() for bar in bars]
    # The client's receiver branches off at the tap, the counter at the end; in dB.
    assert starts == pytest.approx([0.0, 1.0, 1.0, 1.0, 3.0])
    lengths = [bars[index].get_width() for index in (0, 2, 3, 4)]
    assert lengths == pytest.approx([1.0, 0.5, 2.0, -10 * math.log10(0.5)])
    words = texts(ax)
    assert "0.01 rad" in words[0]
    assert "1.3" in words[1]
    assert words[4].endswith("extinction −50 dB, trusted")
    legend = style.figure_of(ax).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["server: 0 dB", "channel: 3 dB", "client: 0 dB"]


def test_an_ideal_path_says_so() -> None:
    assert "ideal parts" in texts(plots.ledger_waterfall(Ledger("ideal")))[0]


# -- all of them ------------------------------------------------------------------------------------------------------

EXAMPLES: dict[str, Callable[[Any], Any]] = {
    "accuracy_curve": lambda ax: plots.accuracy_curve([0.0, 1.0], [0.5, 0.6], ax=ax),
    "accuracy_path": lambda ax: plots.accuracy_path([1, 2], [0.5, 0.6], ax=ax),
    "check_summary": lambda ax: plots.check_summary([check("gain", 0.0, 1.0)], ax=ax),
    "confusion_matrix": lambda ax: plots.confusion_matrix(np.eye(2, dtype=np.int64), ax=ax),
    "deviations": lambda ax: plots.deviations([1.0, 2.0], {"gain": [0.0, 1.0]}, ax=ax),
    "e_value_path": lambda ax: plots.e_value_path([0.0, 1.0], [0.0, 1.0], ax=ax),
    "leakage": lambda ax: plots.leakage([bound("labqdl", 0.1)], Quantity.WEIGHTS, ax=ax),
    "ledger_waterfall": lambda ax: plots.ledger_waterfall(PATH, ax=ax),
    "outcomes": lambda ax: plots.outcomes(np.arange(9.0), np.arange(9.0) + np.arange(9) % 2, ax=ax),
    "residual_path": lambda ax: plots.residual_path([1.0, 2.0], [1.0, 1.1], ax=ax),
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_figure_draws_into_the_axes_that_it_is_given(name: str) -> None:
    ax = style.axes()
    assert EXAMPLES[name](ax) is ax
    made = EXAMPLES[name](None)
    assert made is not ax
    assert style.figure_of(made) is not style.figure_of(ax)
    width = style.figure_of(made).get_size_inches()[0] * 25.4
    assert min(abs(width - style.COLUMN), abs(width - style.PAGE)) < 1e-6
    assert ax.get_xlabel() or name == "ledger_waterfall"


# -- power ------------------------------------------------------------------------------------------------------------


def test_power_curves_have_a_panel_for_each_test_and_theory_through_their_points() -> None:
    def attack(title: str, test: str, scale: int, drawn: bool) -> dict[str, Any]:
        theory = [0.05, 0.4, 0.9, 0.999]
        points = [
            {
                "symbols": scale * 2**k,
                "theory": theory[k],
                "counted": theory[k] if drawn else None,
                "interval": (0.9 * theory[k], 0.5 + 0.5 * theory[k]) if drawn else None,
            }
            for k in range(4)
        ]
        return {"title": title, "test": test, "points": points}

    figure = plots.power_curves(
        [attack("late", "noise", 1000, False), attack("soon", "noise", 10, True), attack("faint", "gain", 500, True)],
        wanted=0.9,
    )
    noise, gain = figure.axes
    assert [noise.get_title("left"), gain.get_title("left")] == ["noise test", "gain test"]
    key = noise.get_legend()
    assert key is not None
    assert [text.get_text() for text in key.get_texts()] == ["soon", "late (theory)"]  # from left to right
    curve = next(line for line in noise.lines if line.get_label() == "soon (theory)")
    place, power = np.asarray(curve.get_xdata(), float), np.asarray(curve.get_ydata(), float)
    assert (np.diff(power) > 0).all()
    assert np.interp(20.0, place, power) == pytest.approx(0.4, abs=0.01)
    style.render(figure)
