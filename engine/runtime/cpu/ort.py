"""Running networks with ONNX Runtime."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from engine.errors import EngineLoadError
from engine.runtime.cpu.ort_import import import_ort
from engine.runtime.cpu.protocol import CpuSettings
from engine.runtime.forking import keep_for_ever, renew_in_child
from engine.types import FloatArray

onnxruntime = import_ort()


class OnnxRuntime:
    """See CpuRuntime."""

    name = f"ONNX Runtime {onnxruntime.__version__}"
    channels_last = False

    def __init__(self, network: bytes, settings: CpuSettings, *, optimise: bool = True) -> None:
        """Load a network.

        Args:
            network: an ONNX file.
            settings: how to run it.
            optimise: whether to apply graph optimisations, which change roundings only.

        Raises:
            EngineLoadError: ONNX Runtime cannot load it.
        """
        self._settings = settings
        self._open = partial(_open, network, optimise)
        self._session = cache(self._open)
        self._session(settings.threads)
        renew_in_child(self)

    def start_anew(self) -> None:
        """See Renewable: opens sessions anew at the next run."""
        keep_for_ever(self._session)
        self._session = cache(self._open)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The (height, width) of a network with a fixed input size, else None."""
        height, width = self._session(self._settings.threads).get_inputs()[0].shape[2:]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def runner(self, *, alone: bool) -> OrtRunner:
        """See CpuRuntime.runner; a session serves any number of runners at once."""
        return OrtRunner(self._session(self._settings.threads if alone else 1), self._settings.heads)


def _open(network: bytes, optimise: bool, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads that spin while waiting would take the cores from other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    # Its fused 8-bit operators take float32 scales only; the networks have float16 ones.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise EngineLoadError(f"ONNX Runtime cannot load the network: {error}") from error


class OrtRunner:
    """See Runner."""

    def __init__(self, session: Any, heads: tuple[str, ...]) -> None:
        """Run on a session."""
        self._session, self._names = session, heads
        self._binding = session.io_binding()
        self._input: FloatArray = np.empty((1, 3, 0, 0), np.float32)
        self._heads: list[FloatArray] = []

    def input(self, height: int, width: int) -> FloatArray:
        """See Runner.input."""
        if self._input.shape[2:] != (height, width):
            self._input, self._heads = np.empty((1, 3, height, width), np.float32), []
        return self._input

    def run(self) -> list[FloatArray]:
        """See Runner.run."""
        name = self._session.get_inputs()[0].name
        if self._heads:
            self._session.run_with_iobinding(self._binding)
            return self._heads
        # The outputs of the first run at a size are the output buffers of later runs.
        self._heads = self._session.run(list(self._names), {name: self._input})
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._binding.bind_input(name, "cpu", 0, np.float32, self._input.shape, self._input.ctypes.data)
        for head_name, head in zip(self._names, self._heads, strict=True):
            self._binding.bind_output(head_name, "cpu", 0, np.float32, head.shape, head.ctypes.data)
        return self._heads
