"""The interface of the CPU runtimes, OpenVINO and ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.types import FloatArray


@dataclass(frozen=True)
class CpuSettings:
    """How to run a network.

    Attributes:
        heads: names of its outputs, in the order in which a runner returns them.
        precision: one of engine.config.formats.PRECISIONS.
        threads: at most, over all runs.
        size: (height, width) of the input to compile for; None is any size.
        mean: of the normalisation of its input, for pixels from 0 to 255.
        std: likewise.
    """

    heads: tuple[str, ...]
    precision: str
    threads: int
    size: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Runner(Protocol):
    """A network with its own buffers, which runs one image at a time."""

    def input(self, height: int, width: int) -> FloatArray:
        """Return the array to fill with a normalised image: [1, 3, H, W], or [1, H, W, 3] with `channels_last`.

        Raises:
            InferenceError: the network cannot run at this size.
        """

    def run(self) -> list[FloatArray]:
        """Run on the filled input and return the heads, [1, C, h, w]: arrays that the next run overwrites."""


class CpuRuntime(Protocol):
    """A loaded network.

    Attributes:
        name: of the library, with its version.
        channels_last: whether runners take [1, H, W, 3].
    """

    name: str
    channels_last: bool

    def runner(self, *, alone: bool) -> Runner:
        """Make a runner: `alone` it uses all threads, else one thread, beside other runners."""
