"""Error budget of a run beside what it measured, in the table, the picture and the plain values of a report."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.api.report_budget import budget_to_json, excess_budget
from labqdl.facts import CalibrationResult, CalibrationSet, Component, Ledger, Owner, Place, ReturnedLight
from labqdl.facts.operating_point import OperatingPoint, TapSetting
from labqdl.link import EmulatedLink
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import mean_square_residual
from labqdl.optics.law import LinkLaw
from labqdl.plans.levels import commissioning_frame
from labqdl.report.content import ExcessBudget, Missing
from labqdl.report.page import compose
from labqdl.report.pictures import draw
from labqdl.rng import Roots
from tests.report.test_page import EMPTY

MODES, MU, EFFICIENCY, NOISE = 8, 12.0, 0.8, 0.1
LEDGER = Ledger(
    "budget",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.6),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7, excess=0.05),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=EFFICIENCY, electronic_noise=NOISE),
    ),
)
POINT = OperatingPoint(MU, TapSetting.amplifier(2.0))
FRAME = commissioning_frame(LEDGER, POINT, MODES, 6)


def result(name: str, **values: tuple[float, float]) -> CalibrationResult:
    return CalibrationResult(
        name=name,
        owner=Owner.CHANNEL,
        values={key: value for key, (value, _) in values.items()},
        units=dict.fromkeys(values, ""),
        covariance=np.diag([deviation**2 for _, deviation in values.values()]),
        method="made up",
        version=1,
        taken=0.0,
        valid_for=1e9,
    )


KNOWN = CalibrationSet(
    [
        result("path.forward", transmissivity=(0.6, 0.01)),
        result("path.return", transmissivity=(0.7, 0.01)),
        result("client.tap", d=(1.0, 0.01), net_gain_re=(1.0, 0.001), net_gain_im=(0.0, 0.001)),
        result("server.lock", residual=(0.07, 0.01)),
        result("server.shot-noise", snu=(1e-4, 1e-7), noise=(NOISE, 0.001)),
        result("server.efficiency", efficiency=(EFFICIENCY, 0.01)),
    ]
)


def returned(block: int, *, vacuum: bool = True) -> ReturnedLight:
    roots = Roots.from_seed(11)
    link, generator = EmulatedLink(LEDGER, roots.world), np.random.default_rng([3, block])
    layer, images = FRAME.layers[0], len(FRAME.block_images(block))
    link.prepare(FRAME)
    x = generator.standard_normal((images, 2 * MODES))
    amplitude = math.sqrt(LEDGER.total * EFFICIENCY)
    server = link.server_port
    server.send_rows(0, block, math.sqrt(2 * MU) * generator.standard_normal((layer.rows, 2 * MODES)), images)
    server.set_receiver(0, block, generator.random(MODES) < 0.5, np.zeros(layer.rows, np.bool_), amplitude)
    link.client_port.set_data(0, block, x / np.linalg.norm(x, axis=1, keepdims=True))
    link.transmit(0, block)
    light = server.returned(0, block)
    if vacuum:
        return light
    return replace(light, statistics=replace(light.statistics, vacuum_squares=0.0, vacuum_slots=0))


def found(*, vacuum: bool = True) -> ExcessBudget:
    budget = excess_budget(FRAME, KNOWN, [(block, {0: returned(block, vacuum=vacuum)}) for block in range(6)])
    assert isinstance(budget, ExcessBudget)
    return budget


@pytest.mark.parametrize("vacuum", [True, False])
def test_the_measured_excess_is_that_of_the_light(vacuum: bool) -> None:
    """Six standard errors, with a fixed seed: 2e-9 for a right figure."""
    budget = found(vacuum=vacuum)
    law = LinkLaw.from_ledger(LEDGER, honest(LEDGER, POINT.tap))
    expected = (mean_square_residual(law, MODES, MU) - 1.0 - NOISE) / EFFICIENCY
    value, deviation = budget.measured
    assert deviation < 0.1 * expected
    assert abs(value - expected) < 6 * deviation
    assert budget.own_unit is vacuum
    assert budget.photons == pytest.approx(MU, rel=0.05)
    names = [one.cause for one in budget.causes]
    assert ("shot-noise unit" in names) is not vacuum
    assert budget.unexplained[0] == pytest.approx(value - budget.expected[0])
    assert budget.causes[0].excess == max(one.excess for one in budget.causes)


def test_table_and_picture_are_on_the_page() -> None:
    content = replace(EMPTY, budget=found())
    pictures = draw(content)
    (picture,) = (one for one in pictures if one.name == "budget")
    assert picture.png.startswith(b"\x89PNG")
    page = compose(content, pictures)
    section = page[page.index('<section id="budget">') : page.index('<section id="cost">')]
    for words in ("phase lock of the server", "server.lock", "expected", "measured", "unexplained", "<img"):
        assert words in section
    assert "standard deviations apart" in section
    assert '<section id="budget">' not in compose(EMPTY, ())
    assert "nothing yet" in compose(replace(EMPTY, budget=Missing("nothing yet")), ())


def test_plain_values() -> None:
    budget = found()
    document = budget_to_json(budget)
    assert document is not None
    assert document["measured"] == {"value": budget.measured[0], "deviation": budget.measured[1]}
    assert [one["cause"] for one in document["causes"]] == [one.cause for one in budget.causes]
    assert budget_to_json(Missing("no")) is None
    assert budget_to_json(None) is None


def test_what_was_not_measured_is_said() -> None:
    nothing = excess_budget(FRAME, KNOWN, [])
    assert isinstance(nothing, Missing)
    unknown = excess_budget(FRAME, CalibrationSet(), [(0, {0: returned(0)})])
    assert isinstance(unknown, Missing)
