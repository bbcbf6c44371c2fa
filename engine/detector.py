"""TRTRetinaFace: images in, faces out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from engine.errors import InvalidArgumentError
from engine.preprocess import Letterbox, check_image
from engine.runtime.cpu import network_metadata
from engine.runtime.device import open_session
from engine.sidecar import read_engine
from engine.types import DEFAULT_SCORE_THRESHOLD, Detections, Image

_log = logging.getLogger("engine")


class TRTRetinaFace:
    """A face detector from a built engine.

        detector = TRTRetinaFace("retinaface_fp16.engine")
        faces = detector.detect(cv2.imread("photo.jpg"))

    Attributes:
        device: what it runs on: "cuda:N" or "cpu".
        config: settings of the model.
        input_size: (height, width) that images are letterboxed to.
        max_batch: images in one run; longer lists are run in parts.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str],
        device: str = "auto",
        *,
        input_size: tuple[int, int] | None = None,
        score_threshold: float | None = None,
        enlarge: bool = False,
        trust_embedded_plugins: bool = False,
    ) -> None:
        """Load an engine with the files beside it.

        Args:
            engine: path of NAME.engine; NAME.engine.json and NAME.network.onnx lie beside it.
            device: "cuda:N" runs the engine on that GPU; "cpu" runs the same network and operators with ONNX Runtime;
                "auto" takes a GPU where one is usable, else the CPU, and says so once.
            input_size: (height, width) to letterbox to, for an engine built for a range; None is its optimum.
            score_threshold: faces need a score above it; detect() can take another one. None is 0.5, or the threshold
                that the engine was built with if that is higher.
            enlarge: magnify images that are smaller than the input, which finds faces of a few pixels; else they are
                padded only.
            trust_embedded_plugins: let the GPU runtime load the plugin library that an engine built with
                --embed-plugins carries. It is native code: say so for engines that you trust.

        Raises:
            EngineLoadError: a file is missing, damaged or of another build, or the engine does not fit the runtime.
            DeviceError: the GPU that was asked for is not usable.
            InvalidArgumentError: an argument is out of range.
        """
        files = read_engine(Path(engine), network_metadata)
        self.sidecar = files.sidecar
        self.config = files.sidecar.model_config()
        spec = files.sidecar.io["input"]
        self.max_batch = int(spec["maximum"][0])
        self.input_size = _input_size(input_size, spec)
        self.config.check_input_size(*self.input_size)
        self._letterbox = Letterbox(self.input_size, self.config, enlarge)
        default = max(DEFAULT_SCORE_THRESHOLD, float(self.sidecar.thresholds["score"]))
        self.score_threshold = self._checked_threshold(default if score_threshold is None else score_threshold)
        self._session, reason = open_session(files, device, trust_embedded_plugins)
        self.device = self._session.device
        if reason is not None:
            _log.warning("No GPU is used (%s): running on the CPU with ONNX Runtime.", reason)

    @overload
    def detect(self, images: Image, *, score_threshold: float | None = None) -> Detections: ...

    @overload
    def detect(self, images: Sequence[Image], *, score_threshold: float | None = None) -> list[Detections]: ...

    def detect(
        self, images: Image | Sequence[Image], *, score_threshold: float | None = None
    ) -> Detections | list[Detections]:
        """Find the faces in one image or in several.

        Args:
            images: uint8 [H, W, 3] in BGR order, as cv2.imread returns, or a list of such, of any sizes.
            score_threshold: faces need a score above it; at least the threshold that the engine was built with.

        Returns:
            Detections in pixels of the given image; a list of them for a list.

        Raises:
            InvalidArgumentError: not such an image, an empty list, or a threshold out of range.
            InferenceError: the engine failed.
        """
        threshold = self.score_threshold if score_threshold is None else self._checked_threshold(score_threshold)
        if not isinstance(images, (list, tuple)):
            return self._detect([check_image(images, "image")], threshold)[0]
        if not images:
            raise InvalidArgumentError("images is an empty list, expected at least one image")
        checked = [check_image(image, f"images[{i}]") for i, image in enumerate(images)]
        return [
            faces
            for begin in range(0, len(checked), self.max_batch)
            for faces in self._detect(checked[begin : begin + self.max_batch], threshold)
        ]

    def _detect(self, images: list[Image], score_threshold: float) -> list[Detections]:
        raw = self._session.run(self._letterbox.batch(images))
        return [self._letterbox.to_image(raw, i, image, score_threshold) for i, image in enumerate(images)]

    def _checked_threshold(self, value: float) -> float:
        built_with = float(self.sidecar.thresholds["score"])
        if not isinstance(value, (int, float)) or not built_with <= value <= 1.0:
            raise InvalidArgumentError(
                f"score_threshold is {value!r}, expected {built_with} to 1: the engine was built to leave out faces "
                f"below {built_with}; rebuild it with --score-threshold for lower ones"
            )
        return float(value)


def _input_size(given: tuple[int, int] | None, spec: dict[str, list[int]]) -> tuple[int, int]:
    low, best, high = ((int(s[2]), int(s[3])) for s in (spec["minimum"], spec["optimum"], spec["maximum"]))
    if given is None:
        return best
    if len(given) != 2:
        raise InvalidArgumentError(f"input_size is {given}, expected (height, width)")
    height, width = given
    if not (low[0] <= height <= high[0] and low[1] <= width <= high[1]):
        raise InvalidArgumentError(f"input_size is {given}, the engine was built for {low} to {high} (height, width)")
    return int(height), int(width)
