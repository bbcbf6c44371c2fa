"""What a run of the tests makes once, for all its tests and all of pytest-xdist's workers, which only read it.

Nothing outlives the run: what other sources made would lie about these. Imports PyTorch where it is used: the
operators' tests, which `make mutants` starts a hundred times, do without.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import onnx

    from engine.config.detection import InputSize
    from engine.model.retinaface import RetinaFace

_folders: list[Path] = []


def open_folder(factory: pytest.TempPathFactory) -> None:
    """Choose the run's folder: that of this process, or what it has in common with the other workers."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    _folders[:] = [folder]


def made_once(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` returns. It is called once in the run; who else wants that name waits for it."""
    (folder,) = _folders
    path = folder / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(make())
            Path(file.name).rename(path)
    return path.read_bytes()


def exported(model: RetinaFace, size: InputSize) -> onnx.ModelProto:
    """export_network(), which takes seconds, once for each network: its settings, weights and sizes."""
    import onnx

    from engine.export.network import export_network
    from engine.model.weights.load import tensors_digest

    identity = repr((model.config, tensors_digest(model.state_dict()), size))
    name = hashlib.sha256(identity.encode()).hexdigest()
    content = made_once(f"{name}.onnx", lambda: export_network(model, size).SerializeToString())
    network = onnx.ModelProto()
    network.ParseFromString(content)
    return network
