"""The build backend: scikit-build-core, which also requires nvcc's packages from PyPI if the machine has no nvcc.

So an isolated build (pip install ., pip wheel .) makes the same wheel on every machine. scikit-build-core does the same
for CMake and Ninja.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from scikit_build_core import build
from scikit_build_core.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from requirements import requirements

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, "str | list[str]"] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return the requirements of a wheel build in addition to build-system.requires."""
    return build.get_requires_for_build_wheel(config_settings) + _nvcc(config_settings)


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Return the requirements of an editable build in addition to build-system.requires."""
    return build.get_requires_for_build_editable(config_settings) + _nvcc(config_settings)


def _nvcc(settings: Settings) -> list[str]:
    # For old versions of pip without --config-settings, scikit-build-core also reads "NAME=VALUE;NAME=VALUE" from here.
    defined = dict(item.partition("=")[::2] for item in os.environ.get("SKBUILD_CMAKE_DEFINE", "").split(";"))
    plugins = (settings or {}).get("cmake.define.RETINAFACE_PLUGINS", defined.get("RETINAFACE_PLUGINS", "ON"))
    if str(plugins).upper() in ("OFF", "0", "NO", "FALSE") or os.environ.get("CUDACXX") or _has_nvcc():
        return []
    return requirements(Path("pyproject.toml"), ["nvcc"])


def _has_nvcc() -> bool:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return False
    return "release 13" in subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
