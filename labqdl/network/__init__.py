"""Neural networks as matrices: models and their files, input pipelines, data sets, accuracy against noise, training.

Everything but training needs numpy and safetensors only; `labqdl.network.train` needs the extra ``train``.
"""

from __future__ import annotations

from labqdl.network.activations import apply_activation, centre
from labqdl.network.catalogue import ModelEntry, default_dataset, load_model, shipped_models
from labqdl.network.datasets import Dataset, load_dataset
from labqdl.network.evaluate import AccuracyCurve, accuracy_exact, accuracy_vs_f2
from labqdl.network.model import DenseLayer, Network, predictions
from labqdl.network.pipeline import Pipeline
from labqdl.network.storage import load_network, save_network

__all__ = [
    "AccuracyCurve",
    "Dataset",
    "DenseLayer",
    "ModelEntry",
    "Network",
    "Pipeline",
    "accuracy_exact",
    "accuracy_vs_f2",
    "apply_activation",
    "centre",
    "default_dataset",
    "load_dataset",
    "load_model",
    "load_network",
    "predictions",
    "save_network",
    "shipped_models",
]
