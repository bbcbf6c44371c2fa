"""Examines an installation for `doctor`: packages, builders, devices, the plugin library."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.backend.driver import gpu_names
from engine.backend.plugin_library import plugin_library
from engine.backend.tensorrt import RUNTIMES, Backend, installed_backends
from engine.errors import RetinaFaceError
from engine.model.weights.fetch import read_known
from engine.model.weights.known import KNOWN_WEIGHTS
from engine.version import project_version


@dataclass(frozen=True)
class Finding:
    """One part of an installation.

    Attributes:
        name: of the part.
        ok: whether it is installed and works.
        state: its version, path or purpose, or why it does not work.
        remedy: what to do if it is not ok.
        required: whether no engine runs without it.
        needed: whether this machine has a use for it; false for CUDA's parts where there is no GPU.
    """

    name: str
    ok: bool
    state: str
    remedy: str = ""
    required: bool = False
    needed: bool = True


BUILD_PACKAGES = ("torch", "onnx", "onnxscript")
_PACKAGES = (
    ("cv2", "reads and marks pictures", "pip install opencv-python-headless", True),
    ("onnxruntime", "runs engines on the CPU, without OpenVINO", "pip install onnxruntime", True),
    ("openvino", "runs engines on the CPU, the faster way", "pip install openvino", False),
    ("torch", "reads checkpoints for building", "pip install torch", False),
    ("onnx", "writes networks for building", "pip install onnx", False),
    ("onnxscript", "exports networks for building", "pip install onnxscript", False),
    ("cupy", "memory and streams for running on a GPU", "pip install cupy-cuda13x", False),
)


def examine() -> list[Finding]:
    """Examine everything that building and running need."""
    gpus = gpu_names()
    findings = [
        Finding("retinaface-trt", True, project_version()),
        _native_module(),
        *(_package(*package) for package in _PACKAGES),
        *_builders(),
        _plugins(),
        _gpu(gpus),
        _cpu(),
        _weights(),
    ]
    # One builder is enough, and only TensorRT-RTX builds where there is no GPU.
    has_builder = any(finding.ok for finding in findings if finding.name in RUNTIMES)
    unneeded = (RUNTIMES if has_builder else ()) if gpus else ("GPU", "cupy", "tensorrt")
    return [replace(finding, needed=finding.ok or finding.name not in unneeded) for finding in findings]


def examine_engine(path: Path) -> list[Finding]:
    """Describe an engine, and check that its files belong together."""
    try:
        from engine.runtime.cpu.session import CpuSession
        from engine.sidecar import read_engine

        files = read_engine(path)
        sidecar, on_cpu = files.sidecar, CpuSession(files).runtime
    except (RetinaFaceError, ImportError) as error:
        return [Finding("engine", False, str(path), str(error), required=True)]
    rows = {
        "engine": str(path),
        "precision": sidecar.precision.mode,
        "built with": f"{sidecar.runtime.name} {sidecar.runtime.version} for {', '.join(sidecar.targets)}",
        "on the CPU": on_cpu,
        "weights": f"{sidecar.weights.source}: {sidecar.weights.note}",
        "input": f"{sidecar.io.input.minimum} to {sidecar.io.input.maximum}",
        "thresholds": ", ".join(f"{key} {value}" for key, value in asdict(sidecar.thresholds).items()),
        "config": ", ".join(f"{key} {value}" for key, value in sidecar.config.to_dict().items()),
    }
    return [Finding(name, True, state) for name, state in rows.items()]


def _native_module() -> Finding:
    try:
        from engine import ops
    except RetinaFaceError as error:
        return Finding("operators", False, "engine._native cannot be loaded", str(error), required=True)
    build = ops.build_info()
    kernels = f"CUDA {build['cuda_version']} kernels for {build['cuda_architectures']}"
    state = f"CPU{', ' + kernels if build['cuda_version'] else ' only'}, {ops.cuda_device_count()} CUDA devices"
    return Finding("operators", True, state, required=True)


def _package(name: str, purpose: str, remedy: str, required: bool) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, False, purpose, remedy, required)
    try:
        providers = _providers(name)  # before _version, which may import the package too
        return Finding(name, True, f"{_version(name)}, {purpose}{providers}", required=required)
    except (ImportError, OSError, AttributeError) as error:
        return Finding(name, False, f"does not import: {error}", f"reinstall it: {remedy}", required)


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:  # the distribution has another name: onnxruntime-gpu, cupy-cuda13x
        return str(getattr(importlib.import_module(module), "__version__", "of unknown version"))


def _providers(name: str) -> str:
    """Return ONNX Runtime's execution providers: onnxruntime-gpu overwrites onnxruntime's files."""
    if name != "onnxruntime":
        return ""
    from engine.runtime.cpu.ort_import import import_ort

    return f" ({', '.join(p.removesuffix('ExecutionProvider') for p in import_ort().get_available_providers())})"


def _builders() -> list[Finding]:
    return [
        Finding(runtime, True, f"{found.version}, builds engines")
        if isinstance(found, Backend)
        else Finding(runtime, False, "builds engines", found)
        for runtime, found in installed_backends().items()
    ]


def _plugins() -> Finding:
    try:
        library = plugin_library()
    except RetinaFaceError as error:
        return Finding("plugin library", False, "decoding and suppression inside engines", str(error))
    return Finding("plugin library", True, f"{library.path}, SHA-256 {library.sha256[:12]}")


def _gpu(names: list[str]) -> Finding:
    if names:
        return Finding("GPU", True, ", ".join(names))
    return Finding("GPU", False, "no NVIDIA driver with a GPU", "none is needed: engines build, and run on the CPU")


def _cpu() -> Finding:
    from engine.runtime.cpu.load import openvino_is_installed
    from engine.threads import available_threads

    library = "OpenVINO" if openvino_is_installed() else "ONNX Runtime"
    return Finding("CPU", True, f"{available_threads()} cores, engines run with {library}")


def _weights() -> Finding:
    default = KNOWN_WEIGHTS["mobilenet0.25"]
    try:
        read_known(default)
    except RetinaFaceError as error:
        return Finding("default weights", False, default.name, str(error))
    return Finding("default weights", True, f"{default.name}: {default.origin}")
