"""Finding the compiled plugin library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import BuildError
from engine.files import find_in_package, sha256_of_file

DECODE_PLUGIN = "RetinaFaceDecode"
DEFORM_CONV_PLUGIN = "RetinaFaceDeformConv"
NMS_PLUGIN = "RetinaFaceNMS"
# What plugins/registry.cpp registers. A version changes with the tensors or attributes of a plugin. Any library that
# has an engine's versions runs it, wherever it was compiled.
PUBLISHED_HEADS, ANY_HEADS = "1", "2"
PLUGIN_VERSIONS = {
    DECODE_PLUGIN: (PUBLISHED_HEADS, ANY_HEADS),
    DEFORM_CONV_PLUGIN: ("1",),
    NMS_PLUGIN: (PUBLISHED_HEADS, ANY_HEADS),
}
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
