"""Writes the ONNX files beside it with PyTorch's two exporters. Not a test: run it by hand where PyTorch is.

    python tests/network/onnx_models/make.py

Needs torch, onnx and onnxscript, which labqdl itself does not need. The files that are here were written by
torch 2.13 with onnx 1.23 and onnxscript 0.7; NAME-outputs.npz holds what PyTorch answers to which inputs.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent


class Reshaped(nn.Module):  # type: ignore[misc]
    """Flattens in forward, as many examples do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first = nn.Linear(12, 6)
        self.last = nn.Linear(6, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = x.view(-1, 12) if self.how == "view" else x.reshape(x.size(0), -1)
        return self.last(torch.relu(self.first(x)))


class Attention(nn.Module):  # type: ignore[misc]
    """One head over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        scores = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5, dim=-1)
        return self.last((scores @ self.value(x)).mean(dim=1))


def models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Name: the module and the shape of one datum."""
    return {
        "mlp": (
            nn.Sequential(
                OrderedDict(
                    flatten=nn.Flatten(), fc1=nn.Linear(12, 7), relu=nn.ReLU(), drop=nn.Dropout(), fc2=nn.Linear(7, 3)
                )
            ),
            (3, 4),
        ),
        "no-bias": (nn.Sequential(nn.Linear(10, 6, bias=False), nn.ReLU(), nn.Linear(6, 4, bias=False)), (10,)),
        "leaky": (
            nn.Sequential(
                nn.Linear(8, 6), nn.LeakyReLU(0.2), nn.Identity(), nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 1)
            ),
            (8,),
        ),
        "view": (Reshaped("view"), (3, 4)),
        "reshape": (Reshaped("reshape"), (1, 3, 4)),
        "conv": (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3)),
            (1, 8, 8),
        ),
        "transposed-conv": (nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Flatten(), nn.Linear(75, 3)), (2, 4, 4)),
        "attention": (Attention(), (5, 8)),
        "softmax": (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(dim=1)), (6,)),
        "batch-norm": (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)), (6,)),
        "tanh": (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), (6,)),
    }


def export(name: str, module: nn.Module, shape: tuple[int, ...]) -> None:
    """Both exporters, each with a batch of any size; and the answers to a few inputs."""
    inputs = torch.randn(5, *shape)
    module.eval()
    with torch.no_grad():
        outputs = module(inputs)
    np.savez(HERE / f"{name}-outputs.npz", inputs=inputs.numpy(), outputs=outputs.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (inputs,),
            str(HERE / f"{name}-legacy.onnx"),
            dynamo=False,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
        )
        program = torch.onnx.export(module, (inputs,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},))
        # The newer exporter notes in every node where in which source file it came from: paths of this machine.
        for node in program.model.graph:
            node.metadata_props.clear()
        program.save(str(HERE / f"{name}-dynamo.onnx"), external_data=False)
        if name == "mlp":
            program.save(str(HERE / "external-dynamo.onnx"), external_data=True)
            torch.onnx.export(
                module,
                (inputs,),
                str(HERE / "unfolded-legacy.onnx"),
                dynamo=False,
                do_constant_folding=False,
                export_params=True,
                opset_version=11,
            )


def main() -> None:
    """Write all files."""
    torch.manual_seed(20260101)
    for name, (module, shape) in models().items():
        export(name, module, shape)


if __name__ == "__main__":
    main()
