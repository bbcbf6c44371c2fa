"""Builds small engines for the tests, and exports their networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from engine.backend.tensorrt import Backend, load_backend
from engine.build import pipeline
from engine.build.pipeline import BuildOptions, BuildReport, build_engine
from engine.build.plan import Plan
from engine.config.detection import InputSize
from engine.config.presets import preset
from engine.errors import BuildError
from engine.model.weights.load import load_model
from engine.precision.cast import to_fp16
from tests.support.shared import exported


def rtx() -> Backend:
    """Return TensorRT-RTX; skip if it is not installed."""
    try:
        return load_backend("tensorrt-rtx")
    except BuildError as error:
        pytest.skip(str(error))


def small(output: Path, **options: object) -> BuildOptions:
    """Return the options of a small engine for TensorRT-RTX; skip if that is not installed."""
    if options.get("runtime") != "tensorrt":
        rtx()
    defaults = {"runtime": "tensorrt-rtx", "size": InputSize.fixed(320, 320), "max_batch": 4}
    return BuildOptions(output=output, **{**defaults, **options})  # type: ignore[arg-type]


def build(output: Path, **options: object) -> BuildReport:
    """Build a small engine; a network is exported only once in a test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "export_network", exported)
        return build_engine(small(output, **options))


def build_stand_in(output: Path, precision: str = "fp32", **options: object) -> BuildReport:
    """Build an engine without TensorRT, of random weights: its plan says nothing, for doubles that do not read it."""
    size, runtime = InputSize.fixed(320, 320), "tensorrt-rtx"
    given = BuildOptions(precision, weights="random", size=size, max_batch=4, runtime=runtime, output=output)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "export_network", exported)
        patch.setattr(pipeline, "load_backend", lambda runtime: Backend(runtime, None, "0"))
        patch.setattr(pipeline, "build_plan", lambda *_, **__: Plan(b"a stand-in", 0, ()))
        return build_engine(replace(given, **options))  # type: ignore[arg-type]


def network(precision: str, weights: str | None = None, size: InputSize | None = None) -> onnx.ModelProto:
    """Return mobilenet0.25 as ONNX, in fp32 or fp16; the default size is 320 x 320."""
    model, _ = load_model(preset("mobilenet0.25"), weights)
    full = exported(model, size or InputSize.fixed(320, 320))
    return to_fp16(full) if precision == "fp16" else full
