"""Where the compiled plugin library lies, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import BuildError
from engine.files import find_in_package, sha256_of_file

# Of every plugin in the library: kPluginVersion of plugins/base/plugin_base.h. It changes with a plugin's tensors and
# attributes; libraries of the same release and version, compiled anywhere, run each other's engines.
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
    """Return the plugin library that was built with this package.

    Raises:
        BuildError: it was not built.
    """
    path = find_in_package(_LIBRARY)
    if path is None:
        raise BuildError(
            f"{_LIBRARY} is no part of this installation, which was built with RETINAFACE_PLUGINS=OFF. Install "
            "retinaface-trt again without that setting"
        )
    return PluginLibrary(path, sha256_of_file(path))


def rtx_alias_path() -> Path | None:
    """Return the library that lends TensorRT-RTX the name its parser asks for, if it was built."""
    return find_in_package(_RTX_ALIAS)
