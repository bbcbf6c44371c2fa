"""The compiled module without CUDA (RETINAFACE_PLUGINS=OFF): the CPU operators, and errors for the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("_native", sys.argv[1])
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
from engine import ops
from engine.errors import InvalidArgumentError, NativeModuleError
ops._native = native

assert not native.has_cuda() and native.cuda_device_count() == 0
assert native.build_info()["cuda_version"] is None
boxes, scores = np.array([[[0, 0, 4, 4], [0, 0, 4, 4]]], np.float32), np.ones((1, 2), np.float32)
result = ops.nms(boxes, scores, None, np.array([2], np.int32), iou_threshold=0.5, max_detections=2)
assert result.indices.tolist() == [[0, -1]]

class DeviceArray:
    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None):
        raise AssertionError

for call, error in (
    (lambda: ops.nms(DeviceArray(), scores, None, None, iou_threshold=0.5, max_detections=1), InvalidArgumentError),
    (lambda: ops.to_device(boxes), NativeModuleError),
):
    try:
        call()
    except error as refusal:
        assert "built without CUDA" in str(refusal), refusal
    else:
        raise AssertionError(error)
"""


@pytest.fixture(scope="module")
def cpu_only_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpu-only")
    configure = [
        "-DRETINAFACE_PLUGINS=OFF",
        "-DRETINAFACE_WARNINGS_AS_ERRORS=ON",
        # What takes longest. The operators themselves are always optimised.
        "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF",
        "-DCMAKE_BUILD_TYPE=None",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    for arguments in (
        ["-S", str(ROOT), "-B", str(folder), *configure],
        ["--build", str(folder), "--target", "_native", "-j2"],
    ):
        done = subprocess.run([_cmake(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (module,) = folder.glob("_native*.so")
    return module


def _cmake() -> str:
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else "cmake"


def test_the_cpu_operators_build_and_run_and_the_rest_says_why_not(cpu_only_module: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cpu_only_module)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
