"""ONNX Runtime is imported with its telemetry off, by whoever is the first to import it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine

USES = {
    "doctor": "from engine.cli.installation import _package; _package('onnxruntime', '', '', True)",
    "calibration": "import numpy; from engine.precision.calibrate.ranges import *; entropy_range(numpy.ones(BINS), 1)",
    "the CPU's session": "import engine.runtime.cpu.ort",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", USES)
def test_telemetry_is_off(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    code = (
        f"import os, sys; {USES[name]}; assert 'onnxruntime' in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"


def test_nobody_imports_it_another_way() -> None:
    for file in Path(engine.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "onnxruntime" for name in names), file
