"""Writes an engine as a model repository of Triton."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.backend.plugin_library import plugin_library
from engine.protocol.tensors import MODEL_NAME
from engine.sidecar import EngineFiles, network_path, sidecar_path
from engine.triton.configs import (
    ENSEMBLE,
    LETTERBOX,
    PLAN,
    UNDO,
    detector_config,
    ensemble_config,
    letterbox_config,
    plan_config,
    undo_config,
)
from engine.writing import write_folder

ENGINE_NAME = f"{MODEL_NAME}.engine"
SIDECAR_NAME = f"{ENGINE_NAME}.json"
LIBRARY = f"{PLAN}/libretinaface_plugins.so"
START = "start"
_SINGLES_PROFILE = 2  # an engine for several images has a second profile, for single ones

_MODEL = '''\
"""Runs in Triton's Python backend, whose Python must have retinaface-trt installed."""

from engine.triton.models.{module} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
_START = """\
#!/bin/sh
# Starts NVIDIA's Triton with this model repository. Options are passed on to tritonserver; paths in them are relative
# to this folder. PYTHON names the Python that has retinaface-trt installed; Triton's Python backend runs it.
if ! python=$(command -v "${PYTHON:-python3}"); then
    echo "There is no ${PYTHON:-python3}: name a Python in PYTHON." >&2
    exit 1
fi
case $python in /*) ;; *) python=$PWD/$python ;; esac
# Python looks for packages in the current folder first, and a checkout has sources that are not compiled.
cd -- "$(dirname -- "$0")" || exit 1
exec "$python" -m engine.triton.start . "$@"
"""


def write_repository(files: EngineFiles, output: Path) -> list[str]:
    """Write a model repository with a script that starts the server: all of it or nothing.

    It has the model `retinaface`. For an engine of TensorRT it also has `retinaface_plan`, which Triton's TensorRT
    backend runs, and an ensemble around it. Triton has no backend for engines of TensorRT-RTX.

    Args:
        files: the engine.
        output: of the folder, which must be missing or empty.

    Returns:
        The names of the models.

    Raises:
        OutputError: the folder could not be written, or is not empty.
        BuildError: the engine needs the plugin library, and this installation has none.
    """
    contents = {START: _START.encode(), **_detector(files)}
    if files.sidecar.runtime.name == "tensorrt":
        contents.update(_around_the_plan(files))
    write_folder(output, contents, executable=(START,))
    return sorted({name.split("/")[0] for name in contents} - {START})


def _detector(files: EngineFiles) -> dict[str, bytes]:
    engine = Path(ENGINE_NAME)
    named = {
        engine: files.plan,
        sidecar_path(engine): files.sidecar.to_json().encode(),
        network_path(engine): files.network,
    }
    version = {path.name: content for path, content in named.items()}
    return _model(MODEL_NAME, detector_config(files.sidecar), {**version, "model.py": _python_model("detector")})


def _around_the_plan(files: EngineFiles) -> dict[str, bytes]:
    sidecar = files.sidecar
    about = {SIDECAR_NAME: sidecar.to_json().encode()}
    profiles = _SINGLES_PROFILE if sidecar.io.input.maximum[0] > 1 else 1
    return {
        **_model(PLAN, plan_config(sidecar, profiles), {"model.plan": files.plan}),
        LIBRARY: plugin_library().path.read_bytes(),
        **_model(LETTERBOX, letterbox_config(sidecar), {**about, "model.py": _python_model("letterbox")}),
        **_model(UNDO, undo_config(sidecar), {**about, "model.py": _python_model("undo")}),
        **_model(ENSEMBLE, ensemble_config(sidecar), {"README": b"An ensemble has no files of its own.\n"}),
    }


def _model(name: str, config: str, version: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{name}/config.pbtxt": config.encode(), **{f"{name}/1/{file}": data for file, data in version.items()}}


def _python_model(module: str) -> bytes:
    return _MODEL.format(module=module).encode()
