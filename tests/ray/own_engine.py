"""Builds the engine of a model with every kind of head and with meshes: python -m tests.ray.own_engine OUTPUT.

The environment of Ray has no PyTorch to make one with.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from engine.build.pipeline import BuildOptions, build_engine
from engine.config.detection import InputSize, Thresholds
from engine.config.heads import ValueHead
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.source import MeshOptions
from engine.mesh.levels import make_levels
from tests.engine.mesh.meshes import mask
from tests.support.family import settled_model


def main(output: Path) -> None:
    """Build it, of random weights."""
    model = settled_model(
        "mobilenet0.25",
        name="own",
        classes=("mask", "no mask"),
        mirrored_points=(1, 0, 2, 4, 3, 5, 6),
        values=(ValueHead("age", 1), ValueHead("height", 3), ValueHead("dense", 144)),
    )
    torch.manual_seed(2)
    decoder = MeshDecoder(make_levels(mask(8, 7), [18, 6]))
    torch.nn.init.normal_(decoder.last.weight, std=0.1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(model.state_dict(), folder / "own.pth")
        decoder.weights().save(folder / "dense.npz")
        options = BuildOptions(
            "fp32",
            config=model.config,
            weights=str(folder / "own.pth"),
            runtime="tensorrt-rtx",
            size=InputSize.fixed(96, 96),
            max_batch=4,
            thresholds=Thresholds(score=0.4, iou=0.3, max_detections=40),
            meshes=MeshOptions(folder / "dense.npz", 3, colours=True),
            output=output,
        )
        build_engine(options)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
