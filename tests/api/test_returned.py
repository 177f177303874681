"""Arrays of returned light on disk: what is saved comes back, what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import open_run, run
from labqdl.api.blocks import load_light
from labqdl.api.returned import pack_sample, pack_use_sums, unpack_sample, unpack_use_sums
from labqdl.errors import RecordError
from labqdl.facts import ResidualSample, RowStatistics, UseSums
from labqdl.records.store import Store

COUNTED = np.array([False, True, False])


def statistics() -> RowStatistics:
    real, whole = np.zeros(3), np.zeros(3, dtype=np.int64)
    return RowStatistics(COUNTED, real, real, real, real, real, whole, whole, whole, real, 5)


def test_use_sums_come_back_without_the_counted_rows() -> None:
    sums = np.arange(12, dtype=np.float32).reshape(3, 4)
    sums[1] = 0
    packed = pack_use_sums(UseSums(sums, 5), statistics())
    assert packed.shape == (2, 4)
    found = unpack_use_sums(packed, statistics(), 4)
    assert found.images == 5
    assert np.array_equal(found.sums, sums)
    for wrong in (packed[:1], packed[:, :2], packed.astype(np.float64)):
        with pytest.raises(ValueError, match="expected sums over uses of shape"):
            unpack_use_sums(wrong, statistics(), 4)


def test_samples_come_back() -> None:
    residuals = np.random.default_rng(1).standard_normal((2, 2, 4)).astype(np.float32)
    packed = pack_sample(ResidualSample(np.array([1, 4]), np.array([0, 2]), residuals))
    found = unpack_sample(packed, statistics(), 4)
    assert np.array_equal(found.images, [1, 4])
    assert np.array_equal(found.rows, [0, 2])
    assert np.array_equal(found.residuals, residuals)
    for wrong, n_modes in ((packed, 3), (packed[:, np.newaxis], 4), (residuals, 4)):
        with pytest.raises(ValueError, match="expected a table of"):
            unpack_sample(wrong, statistics(), n_modes)


SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 4, "seed": 3}


def test_a_run_keeps_what_its_plan_asks_for(tmp_path: Path) -> None:
    run(folder=tmp_path / "all", residual_share=0.5, **SETTINGS)
    light = open_run(tmp_path / "all").light(0)[0]
    assert light.use_sums is not None
    assert light.sample is not None
    assert light.sample.images.size == 2
    run(folder=tmp_path / "none", cross_use=False, residual_share=0.0, **SETTINGS)
    bare = open_run(tmp_path / "none").light(0)[0]
    assert (bare.use_sums, bare.sample) == (None, None)
    assert not list((tmp_path / "none" / "server" / "blocks").glob("*-[us]*-[0-9].npy"))
    run(folder=tmp_path / "blind", depth="outcomes", **SETTINGS)
    blind = open_run(tmp_path / "blind").light(0)[0]
    assert (blind.use_sums, blind.sample) == (None, None)
    # Whatever is kept, the client's outcomes are the same.
    logits = [open_run(tmp_path / name).logits() for name in ("all", "none", "blind")]
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["use-sums-0", "sample-1"])
def test_an_array_of_another_run_is_named(tmp_path: Path, name: str) -> None:
    run(folder=tmp_path / "run", **SETTINGS)
    found = open_run(tmp_path / "run")
    store = Store(tmp_path / "run" / "server", lambda *_: None, lambda *_: None)
    store.save_array(f"blocks/000000-{name}", np.zeros((3, 3), dtype=np.float32), overwrite=True)
    with pytest.raises(RecordError, match=rf"000000-{name}\.npy: expected"):
        load_light(found.folder, found.frame, 0)
