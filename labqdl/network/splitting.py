"""Which part of training data a training sets aside: the same for whoever asks again with the plan's seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out_indices(count: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices that are set aside and those that are trained on, each rising.

    Parameters
    ----------
    count:
        Data in all.
    share:
        Share that is set aside, at least one datum (`TrainingPlan.validation`).
    seed:
        Of the training (`TrainingPlan.seed`).
    """
    split = np.random.default_rng([seed, 0]).permutation(count)
    held = max(1, round(share * count))
    return np.sort(split[:held]), np.sort(split[held:])
