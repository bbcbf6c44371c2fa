"""The installed version of this project."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def project_version() -> str:
    """Return the version of the installed distribution, "0+unknown" in a bare source tree."""
    try:
        return version("retinaface-trt")
    except PackageNotFoundError:
        return "0+unknown"
