from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.network.pipeline import (
    Blur,
    Centre,
    Deskew,
    Flatten,
    Normalise,
    Pipeline,
    Power,
    Scale,
    Standardise,
    step_from_json,
)


def floats(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_steps_in_order() -> None:
    pipeline = Pipeline(
        (2, 2),
        (
            Scale(0.5),
            Power(2.0),
            Flatten(),
            Centre(floats(1, 1, 1, 1)),
            Standardise(floats(0, 0, 0, 0), floats(1, 2, 1, 1)),
        ),
    )
    assert pipeline.n_features == 4
    result = pipeline.apply(np.array([[[2, 4], [-6, 0]]]))
    np.testing.assert_allclose(result, [[0, 1.5, -1, -1]])
    assert result.dtype == np.float32


def test_normalise_makes_unit_vectors_and_leaves_zero_alone() -> None:
    result = Pipeline((3,), (Normalise(),)).apply(np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1e-12, 0.0, 0.0]]))
    np.testing.assert_allclose(result, [[0.6, 0.0, 0.8], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], atol=1e-6)


def test_large_data_is_handled_in_parts_like_small() -> None:
    data = np.random.default_rng(1).normal(size=(5000, 3)).astype(np.float32)
    pipeline = Pipeline((3,), (Normalise(),))
    np.testing.assert_array_equal(pipeline.apply(data)[4000:], pipeline.apply(data[4000:]))


def slanted(slant: float, shift: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A smooth slanted stroke, sampled exactly."""
    y, x = np.mgrid[:28, :28].astype(np.float64) - 13.5
    stroke = np.exp(-((x - slant * y - shift) ** 2) / 4 - y**2 / 30)
    return np.asarray(stroke[None], dtype=np.float32)


@pytest.mark.parametrize(("slant", "shift"), [(0.0, 0.0), (0.4, 0.0), (-0.3, 2.0), (0.0, -3.5)])
def test_deskew_straightens_and_centres(slant: float, shift: float) -> None:
    straight = Deskew().apply(slanted(slant, shift))[0]
    y, x = np.mgrid[:28, :28].astype(np.float64) - 13.5
    mass = straight.sum()
    middle_x, middle_y = (straight * x).sum() / mass, (straight * y).sum() / mass
    covariance = (straight * (x - middle_x) * (y - middle_y)).sum() / mass
    assert abs(middle_x) < 0.05
    assert abs(middle_y) < 0.05
    assert abs(covariance) < 0.1  # slant 0.4 starts at 0.4 var(y) = 6
    np.testing.assert_allclose(straight, slanted(0, 0)[0], atol=0.12)


def test_deskew_leaves_an_upright_centred_image_and_an_empty_one() -> None:
    upright = slanted(0, 0)
    np.testing.assert_allclose(Deskew().apply(upright), upright, atol=1e-4)
    assert not Deskew().apply(np.zeros((2, 5, 4), dtype=np.float32)).any()


def test_blur_is_the_sampled_gaussian_and_keeps_the_sum_inside() -> None:
    point = np.zeros((1, 15, 13), dtype=np.float32)
    point[0, 7, 6] = 1
    blurred = Blur(0.8).apply(point)[0]
    y, x = np.mgrid[:15, :13]
    expected = np.exp(-((y - 7.0) ** 2 + (x - 6.0) ** 2) / (2 * 0.8**2))
    np.testing.assert_allclose(blurred, expected / expected.sum(), atol=1e-6)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "steps", "message"),
    [
        ((2, 2), (), "end it with 'flatten'"),
        ((3,), (Centre(floats(1, 2)),), r"step 0 \(centre\): mean has shape \(2,\)"),
        ((3,), (Standardise(floats(1, 2, 3), floats(1, 1)),), "deviation has shape"),
        ((3,), (Deskew(),), "deskew takes images"),
        ((3,), (Blur(1.0),), "blur takes images"),
        ((), (), "positive entries"),
        ((0,), (), "positive entries"),
    ],
)
def test_steps_that_do_not_fit(shape: tuple[int, ...], steps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pipeline(shape, steps)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 3)), "data set is empty"),
        (np.array(1.0), "data set is empty"),
        (np.zeros((2, 4)), r"here: data of shape \(2, 4\) does not fit the model; expected \(data, 3\)"),
        (np.zeros((2, 3), dtype=complex), "no array of real numbers"),
        (np.array([[1.0, 2, 3], [1, np.nan, 3]]), "datum 1 is NaN"),
    ],
)
def test_bad_data(data: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pipeline((3,), ()).apply(data, source="here")


TENSORS = {"a": floats(1, 2), "b": floats(1, 0)}


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, r"key 'p\.step': unknown step None"),
        ({"step": "rotate"}, "unknown step 'rotate'"),
        ({"step": "scale"}, r"key 'p\.factor': step 'scale' lacks this field"),
        ({"step": "scale", "factor": "3"}, "found '3'; expected a number"),
        ({"step": "scale", "factor": True}, "expected a number"),
        ({"step": "scale", "factor": 0}, "factor must be finite and not zero"),
        ({"step": "scale", "factor": float("nan")}, "factor must be finite"),
        ({"step": "blur", "deviation": 0}, "deviation must be positive"),
        ({"step": "blur", "deviation": 1e9}, "at most 1000 pixels"),
        ({"step": "power", "exponent": -1.0}, "exponent must be positive"),
        ({"step": "flatten", "order": "C"}, r"key 'p\.order': step 'flatten' has no such field"),
        ({"step": "centre", "mean": "c"}, "no tensor 'c'"),
        ({"step": "centre", "mean": 1}, "no tensor 1"),
        ({"step": "standardise", "mean": "a", "deviation": "b"}, "deviation must be positive"),
    ],
)
def test_bad_descriptions(described: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        step_from_json(described, TENSORS, source="m.json", key="p")
    assert caught.value.source == "m.json"


@given(st.floats(1e-3, 1e3), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_description_round_trip(factor: float, features: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    mean = generator.normal(size=features).astype(np.float32)
    deviation = generator.uniform(0.5, 2, size=features).astype(np.float32)
    steps = (
        Blur(factor),
        Power(factor),
        Flatten(),
        Scale(factor),
        Centre(mean),
        Standardise(mean, deviation),
        Normalise(),
    )
    pipeline = Pipeline((features, 1), steps)
    again = Pipeline(
        (features, 1),
        tuple(
            step_from_json(entry, pipeline.tensors(), source="", key=str(index))
            for index, entry in enumerate(pipeline.to_json())
        ),
    )
    data = generator.normal(size=(4, features, 1))
    np.testing.assert_array_equal(again.apply(data), pipeline.apply(data))
