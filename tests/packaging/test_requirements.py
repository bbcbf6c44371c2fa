"""Every requirement has a version in constraints.txt, and a build requires nvcc's package if there is no nvcc."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# Not locked: the right TensorRT depends on the driver of the GPU. Triton's environment has a file of its own.
NOT_LOCKED = {"tensorrt", "triton"}
# NumPy 1, which Triton's Python backend needs, has no wheels for later ones.
PYTHONS_OF_TRITON = ("3.10.0", "3.11.2", "3.12.0")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the folder scripts/ on Python's path, as for the build backend."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # build_backend imports requirements
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def requirements(scripts: None) -> ModuleType:
    """scripts/requirements.py."""
    return _load("requirements")


def _names(requirements: ModuleType) -> list[str]:
    with pytest.raises(SystemExit, match="There is no extra everything; there are: base, bench, build, ") as error:
        requirements.requirements(ROOT / "pyproject.toml", ["base", "everything"])
    return str(error.value).rstrip(".").partition("there are: ")[2].split(", ")


def _locked(file: str, python: str) -> dict[str, str]:
    """Return the versions of a file of constraints for a Python."""
    environment = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
    lines = (ROOT / file).read_text().splitlines()
    locked: dict[str, str] = {}
    for entry in (Requirement(line) for line in lines if not line.startswith("#")):
        if entry.marker is None or entry.marker.evaluate(environment):
            name = canonicalize_name(entry.name)
            assert name not in locked
            (pin,) = entry.specifier
            assert pin.operator == "=="
            locked[name] = pin.version
    return locked


@pytest.mark.parametrize("python", ["3.10.0", "3.11.2", "3.12.0", "3.13.0", "3.14.0"])
def test_every_requirement_is_locked_for_every_python(python: str, requirements: ModuleType) -> None:
    names = [name for name in _names(requirements) if name not in NOT_LOCKED]
    assert "base" in names
    locked = _locked("constraints.txt", python)
    for line in requirements.requirements(ROOT / "pyproject.toml", names):
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


@pytest.mark.parametrize("python", PYTHONS_OF_TRITON)
def test_what_triton_needs_is_locked_beside_an_old_numpy(python: str, requirements: ModuleType) -> None:
    locked = _locked("constraints-triton.txt", python)
    for line in requirements.requirements(ROOT / "pyproject.toml", ["base", "triton"]):
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


def test_an_isolated_build_asks_for_nvcc_where_there_is_none(
    requirements: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDACXX", raising=False)
    backend = _load("build_backend")
    for hook in (backend.get_requires_for_build_wheel, backend.get_requires_for_build_editable):
        assert "nvidia-cuda-nvcc==13.0.*" in hook()
        assert "nvidia-cuda-nvcc==13.0.*" in hook({"cmake.define.RETINAFACE_PLUGINS": "ON"})
        for off in ("OFF", "off", "0"):
            assert not [name for name in hook({"cmake.define.RETINAFACE_PLUGINS": off}) if "nvidia" in name]
    nvcc = tmp_path / "nvcc"
    for release, wanted in (("12.9", True), ("13.0", False)):
        nvcc.write_text(f"#!/bin/sh\necho Cuda compilation tools, release {release}, V{release}.1\n")
        nvcc.chmod(0o755)
        assert ("nvidia-cuda-nvcc==13.0.*" in backend.get_requires_for_build_wheel()) == wanted
    nvcc.unlink()
    monkeypatch.setenv(
        "SKBUILD_CMAKE_DEFINE", "A=B;RETINAFACE_PLUGINS=OFF"
    )  # for old versions of pip without --config-settings
    assert not [name for name in backend.get_requires_for_build_wheel() if "nvidia" in name]
    monkeypatch.delenv("SKBUILD_CMAKE_DEFINE")
    monkeypatch.setenv("CUDACXX", "/opt/cuda/bin/nvcc")
    assert not [name for name in backend.get_requires_for_build_wheel() if "nvidia" in name]
