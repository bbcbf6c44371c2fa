"""TensorRT-RTX's own features: just-in-time compilation with a cache of kernels, and CUDA graphs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from engine.text import printable
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_PLAN_BYTES
from engine.writing import write_file

_log = logging.getLogger("engine")


class RtxRuntime:
    """The runtime configuration of an engine, for all of its contexts.

    TensorRT-RTX compiles the kernels of an engine on its first use on a GPU, which takes seconds. The cache saves later
    processes that time. The runtime refuses a cache for another GPU, driver or version, which is then rebuilt.

    Attributes:
        config: an IRuntimeConfig, for create_execution_context.
    """

    def __init__(self, trt: Any, engine: Any, path: Path, *, cuda_graphs: bool) -> None:
        """Make the configuration, and load the cache file.

        Args:
            trt: the module tensorrt_rtx.
            engine: an ICudaEngine of it.
            path: the engine's file.
            cuda_graphs: whether the runtime captures CUDA graphs. It does so itself, as it replaces kernels when better
                ones are compiled.
        """
        self._path = path.with_name(f"{path.name}.runtime-cache")
        self._shown = printable(str(self._path))
        self.config = engine.create_runtime_config()
        strategies = trt.CudaGraphStrategy
        self.config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if cuda_graphs else strategies.DISABLED
        self._cache = self.config.create_runtime_cache()
        self._saved = self._read()
        if self._saved and not self._cache.deserialize(self._saved):
            _log.info("%s is of another GPU, driver or TensorRT-RTX: kernels are compiled again", self._shown)
        self.config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write the cache if it has changed. A failure only makes later processes slower to start."""
        memory = self._cache.serialize()
        content = b"" if memory is None else bytes(memory)
        if not content or content == self._saved:
            return
        try:
            write_file(self._path, content)
            self._saved = content
        except OSError as error:
            _log.info(
                "%s cannot be written (%s): kernels will be compiled again next time", self._shown, error.strerror
            )

    def _read(self) -> bytes:
        try:
            return read_file(self._path, MAX_PLAN_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            _log.info("%s cannot be read: %s", self._shown, error.strerror)
            return b""
