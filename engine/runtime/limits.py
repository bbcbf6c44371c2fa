"""What an engine was built for: its batches, its input sizes and its lowest score."""

from __future__ import annotations

from pathlib import Path

from engine.config.model import BODY_STRIDE
from engine.errors import InvalidArgumentError
from engine.sidecar.content import Sidecar


class EngineLimits:
    """The ranges in the sidecar of an engine, and the errors for values beyond them.

    Attributes:
        max_batch: images in one run.
    """

    def __init__(self, path: Path, sidecar: Sidecar) -> None:
        """Read the sidecar of the engine at a path."""
        self._path, self._sidecar, self._config = path, sidecar, sidecar.config
        self._size = sidecar.io.input.size
        self.max_batch = sidecar.io.input.maximum[0]

    def input_size(self, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return an input size, (height, width), that the engine takes; None is its optimum."""
        low, high = self._size.minimum, self._size.maximum
        if given is not None and len(given) != 2:
            raise InvalidArgumentError(f"input_size is {given}, expected (height, width)")
        height, width = self._size.optimum if given is None else given
        if not (low[0] <= height <= high[0] and low[1] <= width <= high[1]):
            raise InvalidArgumentError(
                f"input_size is {given}, the engine was built for {low} to {high} (height, width)"
            )
        self._config.check_input_size(int(height), int(width))
        return int(height), int(width)

    def size_that_holds(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest input size, (height, width), that holds an unscaled image of this size."""
        low, high = self._size.minimum, self._size.maximum
        needed = tuple(
            max(-(-side // BODY_STRIDE) * BODY_STRIDE, least) for side, least in zip((height, width), low, strict=True)
        )
        if needed[0] > high[0] or needed[1] > high[1]:
            self._config.check_input_size(*needed)
            largest = (max(needed[0], high[0]), max(needed[1], high[1]))
            raise InvalidArgumentError(
                f"an image of {height} x {width} pixels (height x width) needs an input of {needed[0]} x {needed[1]}, "
                f"the engine was built for {low} to {high}. Rebuild it for a range of sizes: "
                f"{self._sidecar.rebuild_command(self._path, maximum=largest)}"
            )
        return needed[0], needed[1]

    def check_threshold(self, value: float) -> float:
        """Return a score threshold that is not below that of the engine."""
        built_with = self._sidecar.thresholds.score
        if not isinstance(value, (int, float)) or not built_with <= value <= 1.0:
            raise InvalidArgumentError(
                f"score_threshold is {value!r}, expected {built_with} to 1: the engine was built to leave out faces "
                f"below {built_with}; rebuild it with --score-threshold for lower ones"
            )
        return float(value)
