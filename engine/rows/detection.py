"""What is to be detected, in a form that is sent to other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.files import find_config
from engine.detector import TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.faces import Selection
from engine.rows.columns import FaceColumn, face_columns
from engine.sidecar import is_engine, read_engine
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
        meshes: whether tables of faces have meshes, and answers over HTTP that do not say it themselves, if the engine
            gives meshes.
    """

    engine: str | os.PathLike[str]
    device: str = "auto"
    score_threshold: float | None = None
    min_size: float | None = None
    max_faces: int | None = None
    threads: int | None = None
    meshes: bool = False

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
        """Return a detector; see TRTRetinaFace for errors."""
        return TRTRetinaFace(self.engine, self.device, score_threshold=self.score_threshold, threads=self.threads)

    def columns(self) -> tuple[FaceColumn, ...]:
        """Return the columns of its tables of faces, without opening a detector or building an engine of weights.

        Raises:
            EngineLoadError: see read_engine.
            InvalidArgumentError: there are no such weights, or it is not known what they were trained as.
        """
        if is_engine(self.engine):
            sidecar = read_engine(Path(self.engine)).sidecar
            return face_columns(sidecar.config, sidecar.meshes if self.meshes else None)
        from engine.store import options_of as build_of  # needs the packages of a build

        return face_columns(find_config(build_of(self.engine, None, None, None).config))


# The words of flags are those that `retinaface-trt serve` takes.
_TRUE, _FALSE = ("true", "yes", "on", "t", "y", "1"), ("false", "no", "off", "f", "n", "0")
_FLAGS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_OPTIONS: dict[str, tuple[Callable[[str], float], str]] = {
    "score_threshold": (float, "a number"),
    "min_size": (float, "a number"),
    "max_faces": (int, "a whole number"),
    "meshes": (lambda text: _FLAGS[text.lower()], "true or false"),
}


def options_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of one request, as numbers and flags, from their texts.

    Raises:
        InvalidArgumentError: there is no such option, or its text is not one of its kind.
    """
    options = {}
    for name, text in given.items():
        if name not in _OPTIONS:
            raise InvalidArgumentError(f"there is no option {represented(name)}, expected one of {', '.join(_OPTIONS)}")
        read, kind = _OPTIONS[name]
        try:
            options[name] = read(text)
        except (ValueError, KeyError):
            raise InvalidArgumentError(f"{name} is {represented(text)}, expected {kind}") from None
    return options
