from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.planner.encodings import MOST_SQUEEZING_DB, encodings
from labqdl.planner.plan import answer
from labqdl.planner.question import Aim, Judge, Question
from labqdl.planner.search import Point
from labqdl.security.squeezed import squeezed_leakage
from labqdl.units import from_db, to_db
from tests.planner.subjects import AMPLIFIER, IDEAL, ISOTROPIC, bench, untrusted


def question_on(ledger: object, judge: Judge = Judge.LARGEST) -> Question:
    return Question(ISOTROPIC, ledger, (AMPLIFIER,), f2_db=6.0, aim=Aim.WEIGHTS, judge=judge)  # type: ignore[arg-type]


def point_of(question: Question) -> Point:
    found = answer(question, explain=False).best
    assert found is not None
    return found.point


def test_values_of_the_physics_notes() -> None:
    """6.1 [6.1]: S = 4, N_X = 0.25, T = 0.9: coherent pairs, X alone, half the vacuum's variance, a tenth."""
    question = question_on(untrusted(-to_db(0.9)))
    point = point_of(question)
    point = replace(point, mu=2.5, layers=tuple(replace(layer, mu=2.5) for layer in point.layers))  # 2 mu = S(1 + N_X)
    found = encodings(question, point, 4.0, (10 * math.log10(2.0), 10.0))
    assert [round(entry.bits, 3) for entry in found[:4]] == [0.451, 0.525, 0.346, 0.132]
    assert [entry.modes_per_weight for entry in found[:4]] == [0.5, 1.0, 1.0, 1.0]


def test_the_plan_itself_leaks_what_its_light_leaks_to_loss_and_what_its_stage_adds() -> None:
    question = question_on(bench())
    point = point_of(question)
    pair = encodings(question, point, from_db(6.0), ())[0].bits
    assert pair < point.weights_isotropic < 1.2 * pair


def test_the_best_squeezing_is_the_best() -> None:
    question = question_on(untrusted(3.0))
    found = encodings(question, point_of(question), from_db(6.0), tuple(np.linspace(0.0, MOST_SQUEEZING_DB, 301)))
    best = found[-1]
    assert best.bits <= min(entry.bits for entry in found[1:]) * (1.0 + 1e-4)
    assert 0.0 < best.squeezing_db <= MOST_SQUEEZING_DB


def test_more_light_in_a_layer_is_judged_as_the_question_says() -> None:
    bright = [replace(layer, mu=layer.mu * share) for layer, share in zip(ISOTROPIC.layers, (1.0, 4.0), strict=True)]
    figures = {}
    for judge in Judge:
        question = question_on(untrusted(1.0), judge)
        point = point_of(question)
        point = replace(point, layers=tuple(replace(layer, mu=layer.mu * point.mu) for layer in bright))
        figures[judge] = encodings(question, point, from_db(6.0), ())[1].bits
    # the last layer at four times the signal: its figure alone, and the mean weighted by 784 and 10 rows
    question = question_on(untrusted(1.0))
    noise = 2.0 * point_of(question).mu / from_db(6.0)
    first, last = (
        squeezed_leakage(modulation=from_db(6.0) * share * noise, squeezed_variance=1.0, transmissivity=from_db(-1.0))
        for share in (1.0, 4.0)
    )
    assert figures[Judge.LARGEST] == pytest.approx(last, rel=1e-9)
    assert figures[Judge.MEAN] == pytest.approx((784 * first + 10 * last) / 794, rel=1e-9)


def test_nothing_leaks_to_no_loss() -> None:
    question = question_on(IDEAL)
    found = encodings(question, point_of(question), from_db(6.0), (3.0,))
    assert len(found) == 3
    assert all(entry.bits == 0.0 for entry in found)
