"""Engines for the tests: real ones, and sets of files around a plan that only a GPU would read."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from engine.build.flavour import Flavour, load_flavour
from engine.build.pipeline import BuildOptions, BuildReport, build_engine
from engine.config import preset
from engine.errors import BuildError
from engine.export.attach import Thresholds
from engine.export.network import InputSize, export_network
from engine.model.weights import load_model
from engine.precision.cast import to_fp16


def rtx() -> Flavour:
    """TensorRT-RTX, or skip."""
    try:
        return load_flavour("tensorrt-rtx")
    except BuildError as error:
        pytest.skip(str(error))


def build(output: Path, **options: object) -> BuildReport:
    """Build a small engine with TensorRT-RTX, or skip where that is not installed."""
    if options.get("runtime") != "tensorrt":
        rtx()
    defaults = {"runtime": "tensorrt-rtx", "size": InputSize.fixed(320, 320), "max_batch": 4}
    return build_engine(BuildOptions(output=output, **{**defaults, **options}))  # type: ignore[arg-type]


def network(precision: str, weights: str | None = None, size: InputSize | None = None) -> onnx.ModelProto:
    """Export mobilenet0.25."""
    model, _ = load_model(preset("mobilenet0.25"), weights)
    exported = export_network(model, size or InputSize.fixed(320, 320))
    return to_fp16(exported) if precision == "fp16" else exported


__all__ = ["Thresholds", "build", "network", "rtx"]
