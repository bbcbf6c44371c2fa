"""The targets by name, each with its share of the time of a run."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.target import Target

_SANITIZED = Path(__file__).parents[3] / "build" / "sanitize-address"


@dataclass(frozen=True)
class Entry:
    """A target.

    Attributes:
        where: module of this package and class.
        about: what is mutated and who reads it, for the table.
        share: of the time, beside the shares of the others.
        sanitized: whether the operators are those of build/sanitize-address, with AddressSanitizer and
            UndefinedBehaviorSanitizer.
    """

    where: str
    about: str
    share: float
    sanitized: bool = False


TARGETS: dict[str, Entry] = {
    "texts": Entry("texts.Texts", "labels, predictions, results, settings of runs", 3),
    "configurations": Entry("texts.Configurations", "configurations of models", 2),
    "images": Entry("images.Images", "pictures in 14 formats: headers, chunks, segments, packed pixels", 12),
    "sidecars": Entry("engines.Sidecars", "values of sidecars, with mended digests", 14),
    "networks": Entry("engines.Networks", "nodes, weights and types of networks of all formats, digests mended", 20),
    "networks-openvino": Entry("engines.OpenVinoNetworks", "the same, run by OpenVINO", 20),
    "checkpoints": Entry("checkpoints.Checkpoints", "pickles and tensors in checkpoints; ONNX weights", 16),
    "caches": Entry("arrays.Caches", "arrays of calibration caches", 10),
    "candidates": Entry("arrays.StoredCandidates", "arrays of stored candidates", 3),
    "meshes": Entry("arrays.MeshDecoders", "arrays of the decoders of meshes", 3),
    "matlab": Entry("ground_truth.Matlab", "elements of .mat files, read in child processes", 10),
    "answers": Entry("ground_truth.Answers", "variables of the ground truth", 3),
    "operators": Entry("operators.Operators", "calls: shapes, types, strides, values, options", 4),
    "operators-sanitized": Entry("operators.Operators", "the same, with both sanitizers", 22, sanitized=True),
    "planted": Entry("planted.Planted", "faults made for the tests of the harness", 0),
}
PLANTED = "planted"
"""The target of the harness's own tests, which runs leave out."""


def load(name: str) -> Callable[[Path], Target[Any]]:
    """Return what makes a target, from the folder for its files."""
    module, _, kind = TARGETS[name].where.partition(".")
    made: Callable[[Path], Target[Any]] = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    return made


def available() -> list[str]:
    """Return the names of the targets that can run here; those with sanitizers need their library."""
    return [name for name, entry in TARGETS.items() if name != PLANTED and not (entry.sanitized and _library() is None)]


def environment_of(name: str) -> dict[str, str]:
    """Return the environment variables of a target's worker."""
    library = _library()
    # One thread for each library: several workers share the cores.
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if not TARGETS[name].sanitized or library is None:
        return {**alone, "CUDA_VISIBLE_DEVICES": ""}
    return {
        **alone,
        "CUDA_VISIBLE_DEVICES": "",
        "RETINAFACE_NATIVE": str(library),
        # Python itself is not compiled with it. It looks for C++'s exceptions when it starts.
        "LD_PRELOAD": f"{_runtime('libasan.so')} {_runtime('libstdc++.so.6')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory until it ends
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def _library() -> Path | None:
    return next(iter(sorted(_SANITIZED.glob("_native*.so"))), None)


@cache
def _runtime(library: str) -> str:
    """Return the path of a library of the compiler."""
    command = ["g++", f"-print-file-name={library}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
