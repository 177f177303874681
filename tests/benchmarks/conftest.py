from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _little_to_collect() -> Iterator[None]:
    """Benchmarks collect garbage before each repeat, and would look through all that other tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
