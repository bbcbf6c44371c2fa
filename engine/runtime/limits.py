"""What an engine was built for: its batches, its input sizes and its lowest score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.sidecar import EngineFiles, Sidecar


@dataclass(frozen=True)
class EngineLimits:
    """The ranges in an engine's sidecar, and the messages for what lies beyond them."""

    path: Path
    sidecar: Sidecar
    config: RetinaFaceConfig

    @classmethod
    def of(cls, files: EngineFiles) -> EngineLimits:
        """Read them from an engine's files."""
        return cls(files.path, files.sidecar, files.sidecar.model_config())

    @property
    def max_batch(self) -> int:
        """Images in one run."""
        return int(self.sidecar.io["input"]["maximum"][0])

    def input_size(self, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return a size, (height, width), that the engine takes; None is its best one."""
        low, best, high = (self._size(kind) for kind in ("minimum", "optimum", "maximum"))
        if given is not None and len(given) != 2:
            raise InvalidArgumentError(f"input_size is {given}, expected (height, width)")
        height, width = best if given is None else given
        if not (low[0] <= height <= high[0] and low[1] <= width <= high[1]):
            raise InvalidArgumentError(
                f"input_size is {given}, the engine was built for {low} to {high} (height, width)"
            )
        self.config.check_input_size(int(height), int(width))
        return int(height), int(width)

    def size_that_holds(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest input, (height, width), that holds an image of this size as it is."""
        multiple = self.config.input_multiple
        low, high = self._size("minimum"), self._size("maximum")
        needed = tuple(
            max(-(-side // multiple) * multiple, least) for side, least in zip((height, width), low, strict=True)
        )
        if needed[0] > high[0] or needed[1] > high[1]:
            self.config.check_input_size(*needed)
            largest = (max(needed[0], high[0]), max(needed[1], high[1]))
            raise InvalidArgumentError(
                f"an image of {height} x {width} pixels (height x width) needs an input of {needed[0]} x {needed[1]}, "
                f"the engine was built for {low} to {high}. Rebuild it for a range of sizes: "
                f"{self.sidecar.rebuild_command(self.path, maximum=largest)}"
            )
        return needed[0], needed[1]

    def check_threshold(self, value: float) -> float:
        """Return a score threshold that the engine can serve."""
        built_with = float(self.sidecar.thresholds["score"])
        if not isinstance(value, (int, float)) or not built_with <= value <= 1.0:
            raise InvalidArgumentError(
                f"score_threshold is {value!r}, expected {built_with} to 1: the engine was built to leave out faces "
                f"below {built_with}; rebuild it with --score-threshold for lower ones"
            )
        return float(value)

    def _size(self, kind: str) -> tuple[int, int]:
        _, _, height, width = self.sidecar.io["input"][kind]
        return int(height), int(width)
