"""What is to be detected, in a form that is sent to other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.detector import TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.faces import Selection
from engine.sidecar import is_engine
from engine.text import represented


@dataclass(frozen=True)
class Detection:
    """An engine, and the settings of a detector; each process opens its own.

    Attributes:
        engine: path of an engine, which every machine must see, or weights; see TRTRetinaFace.
        device: see TRTRetinaFace.
        score_threshold: faces need a higher score; None is the engine's.
        min_size, max_faces: see TRTRetinaFace.detect.
        threads: of the CPU, of each detector; None is all cores.
    """

    engine: str | os.PathLike[str]
    device: str = "auto"
    score_threshold: float | None = None
    min_size: float | None = None
    max_faces: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Make the path of an engine absolute: workers have other working folders.

        Raises:
            InvalidArgumentError: the selection is none; the detector checks the rest.
        """
        _ = self.selection
        if is_engine(self.engine):
            object.__setattr__(self, "engine", os.path.abspath(self.engine))

    @property
    def selection(self) -> Selection:
        """The faces that are wanted."""
        return Selection(self.min_size, self.max_faces)

    def open(self) -> TRTRetinaFace:
        """Return a detector.

        Raises:
            InvalidArgumentError: its model has what the tables of faces have no columns for.
            RetinaFaceError: see TRTRetinaFace.
        """
        detector = TRTRetinaFace(self.engine, self.device, score_threshold=self.score_threshold, threads=self.threads)
        if not detector.config.has_published_heads:
            raise InvalidArgumentError(
                f"the engine's model, {detector.config.name}, has other heads than one class and five landmarks, and "
                "tables of faces have no columns for them: use TRTRetinaFace"
            )
        return detector


_OPTIONS: dict[str, Callable[[str], float]] = {"score_threshold": float, "min_size": float, "max_faces": int}


def options_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of one request, as numbers, from their texts.

    Raises:
        InvalidArgumentError: there is no such option, or it is no number.
    """
    options = {}
    for name, text in given.items():
        if name not in _OPTIONS:
            raise InvalidArgumentError(f"there is no option {represented(name)}, expected one of {', '.join(_OPTIONS)}")
        try:
            options[name] = _OPTIONS[name](text)
        except ValueError:
            raise InvalidArgumentError(f"{name} is {represented(text)}, expected a number") from None
    return options
