"""What runs a network on the CPU: OpenVINO where it is installed, else ONNX Runtime."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from engine.types import FloatArray

_log = logging.getLogger("engine")

CPU_RUNTIMES = ("openvino", "onnxruntime")
MAX_THREADS = 1024


@dataclass(frozen=True)
class CpuSettings:
    """How to run a network.

    Attributes:
        heads: names of its outputs, in the order that a runner gives them.
        precision: what its types say, one of engine.config.formats.PRECISIONS.
        threads: at most, of all runs together.
        size: (height, width) of the input to be fastest at; None is no size in particular.
        mean: of the normalisation of its input, from pixels of 0 to 255.
        std: likewise.
    """

    heads: tuple[str, ...]
    precision: str
    threads: int
    size: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Runner(Protocol):
    """A network with buffers of its own, which takes one image at a time."""

    def input(self, height: int, width: int) -> FloatArray:
        """Return the array to fill with a normalised image: [1, 3, H, W], or [1, H, W, 3] where channels come last.

        Raises:
            InferenceError: the network cannot run at this size.
        """

    def run(self) -> list[FloatArray]:
        """Run on what was filled in and return the heads, [1, C, h, w]: arrays that the next run writes again."""


class CpuRuntime(Protocol):
    """A loaded network.

    Attributes:
        name: of the library, with its version.
        channels_last: whether runners take [1, H, W, 3].
    """

    name: str
    channels_last: bool

    def runner(self, *, alone: bool) -> Runner:
        """Make a runner that uses all threads, or one of several that run beside each other on a thread each."""
