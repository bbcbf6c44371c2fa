"""Finding the compiled plugin library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import BuildError
from engine.files import find_in_package, sha256_of_file

# kPluginVersion of plugins/base/plugin_base.h, for all plugins. It changes with the tensors or attributes of a plugin.
# Any library of the same release and plugin version runs the engine, wherever it was compiled.
PLUGIN_VERSION = "1"
_LIBRARY = "libretinaface_plugins.so"
_RTX_ALIAS = "rtx_alias/libtensorrt_rtx.so"


@dataclass(frozen=True)
class PluginLibrary:
    """The shared library that holds the plugins.

    Attributes:
        path: absolute.
        sha256: of its content.
    """

    path: Path
    sha256: str


def plugin_library() -> PluginLibrary:
    """Return the plugin library of this installation.

    Raises:
        BuildError: it was not built.
    """
    path = find_in_package(_LIBRARY)
    if path is None:
        raise BuildError(
            f"this installation has no {_LIBRARY}: it was built with RETINAFACE_PLUGINS=OFF. Install retinaface-trt "
            "again without that setting"
        )
    return PluginLibrary(path, sha256_of_file(path))


def rtx_alias_path() -> Path | None:
    """Return the empty library with the name that TensorRT-RTX's parser loads; None if it was not built."""
    return find_in_package(_RTX_ALIAS)
