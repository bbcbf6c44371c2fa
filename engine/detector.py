"""TRTRetinaFace: images in, faces out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from engine.augment import Augmentation, Scale, looks, make_augmentation, merge, to_image
from engine.errors import InvalidArgumentError
from engine.preprocess import Letterbox, check_image
from engine.runtime.cpu import network_metadata
from engine.runtime.device import open_session
from engine.runtime.timing import Stages, Stopwatch, in_order
from engine.sidecar import read_engine
from engine.types import DEFAULT_SCORE_THRESHOLD, Detections, Image

_log = logging.getLogger("engine")


class TRTRetinaFace:
    """A face detector from a built engine.

        detector = TRTRetinaFace("retinaface_fp16.engine")
        faces = detector.detect(cv2.imread("photo.jpg"))

    Attributes:
        device: what it runs on: "cuda:N" or "cpu".
        runtime: name and version of what runs the network there.
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
        self._path = files.path
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
        self.device, self.runtime = self._session.device, self._session.runtime
        if reason is not None:
            _log.warning("No GPU is used (%s): running on the CPU with ONNX Runtime.", reason)

    @overload
    def detect(
        self,
        images: Image,
        *,
        score_threshold: float | None = None,
        scales: Sequence[Scale] | None = None,
        flip: bool = False,
        voting: bool = False,
    ) -> Detections: ...

    @overload
    def detect(
        self,
        images: Sequence[Image],
        *,
        score_threshold: float | None = None,
        scales: Sequence[Scale] | None = None,
        flip: bool = False,
        voting: bool = False,
    ) -> list[Detections]: ...

    def detect(
        self,
        images: Image | Sequence[Image],
        *,
        score_threshold: float | None = None,
        scales: Sequence[Scale] | None = None,
        flip: bool = False,
        voting: bool = False,
    ) -> Detections | list[Detections]:
        """Find the faces in one image or in several.

        Args:
            images: uint8 [H, W, 3] in BGR order, as cv2.imread returns, or a list of such, of any sizes.
            score_threshold: faces need a score above it; at least the threshold that the engine was built with.
            scales: look at each image at each of these instead of letterboxed to input_size, and merge the faces. A
                scale is the short side in pixels, or a pair of it and a limit of the long side, or "original". It
                needs an engine that was built for a range of sizes; what is smaller than the range is padded.
            flip: look at the mirror image too.
            voting: average the boxes that scales and flip give for one face; else the best one stands.

        Returns:
            Detections in pixels of the given image; a list of them for a list.

        Raises:
            InvalidArgumentError: not such an image, an empty list, a threshold out of range, or a scale that is
                impossible or too large for the engine.
            InferenceError: the engine failed.
        """
        threshold = self.score_threshold if score_threshold is None else self._checked_threshold(score_threshold)
        augmentation = make_augmentation(scales, flip, voting)
        found = self._detect(_checked_images(images), threshold, augmentation)
        return found if isinstance(images, (list, tuple)) else found[0]

    def profile(
        self, images: Image | Sequence[Image], *, score_threshold: float | None = None
    ) -> tuple[list[Detections], Stages]:
        """Detect as detect() does, and say how long each stage of the call took.

        Returns:
            The faces of each image, and seconds by stage; their sum is the time that the call took.

        Raises:
            InvalidArgumentError: as detect().
            InferenceError: the engine failed.
        """
        watch = Stopwatch()
        threshold = self.score_threshold if score_threshold is None else self._checked_threshold(score_threshold)
        faces = self._run(_checked_images(images), threshold, self._letterbox, watch)
        return faces, in_order(watch.stages)

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest input, (height, width), that holds an image of this size as it is.

        Raises:
            InvalidArgumentError: the engine takes no input that large; the message has the command that builds one.
        """
        multiple = self.config.input_multiple
        low, _, high = _sizes(self.sidecar.io["input"])
        needed = tuple(
            max(-(-side // multiple) * multiple, least) for side, least in zip((height, width), low, strict=True)
        )
        if needed[0] > high[0] or needed[1] > high[1]:
            self.config.check_input_size(*needed)
            largest = (max(needed[0], high[0]), max(needed[1], high[1]))
            raise InvalidArgumentError(
                f"an image of {height} x {width} pixels (height x width) needs an input of {needed[0]} x {needed[1]}, "
                f"the engine was built for {low} to {high}. Rebuild it for a range of sizes: "
                f"{self.sidecar.rebuild_command(self._path, maximum=largest)}"
            )
        return needed[0], needed[1]

    def _detect(self, images: list[Image], score_threshold: float, augmentation: Augmentation) -> list[Detections]:
        if augmentation.is_plain:
            return self._run(images, score_threshold, self._letterbox, Stopwatch())
        return [self._detect_augmented(image, score_threshold, augmentation) for image in images]

    def _detect_augmented(self, image: Image, score_threshold: float, augmentation: Augmentation) -> Detections:
        found: list[Detections] = []
        for images in looks(image, augmentation, self.network_size):
            letterbox = self._letterbox
            if augmentation.scales is not None:
                letterbox = Letterbox(self.network_size(*images[0].shape[:2]), self.config, enlarge=False)
            found += to_image(self._run(images, score_threshold, letterbox, Stopwatch()), images[0], image)
        thresholds = self.sidecar.thresholds
        return merge(
            found,
            iou_threshold=thresholds["iou"],
            max_detections=thresholds["max_detections"],
            voting=augmentation.voting,
        )

    def _run(
        self, images: list[Image], score_threshold: float, letterbox: Letterbox, watch: Stopwatch
    ) -> list[Detections]:
        found: list[Detections] = []
        for begin in range(0, len(images), self.max_batch):
            part = images[begin : begin + self.max_batch]
            found += letterbox.to_images(self._session.detect(part, letterbox, watch), part, score_threshold)
            watch.lap("undo letterbox")
        return found

    def _checked_threshold(self, value: float) -> float:
        built_with = float(self.sidecar.thresholds["score"])
        if not isinstance(value, (int, float)) or not built_with <= value <= 1.0:
            raise InvalidArgumentError(
                f"score_threshold is {value!r}, expected {built_with} to 1: the engine was built to leave out faces "
                f"below {built_with}; rebuild it with --score-threshold for lower ones"
            )
        return float(value)


def _checked_images(images: Image | Sequence[Image]) -> list[Image]:
    if not isinstance(images, (list, tuple)):
        return [check_image(images, "image")]
    if not images:
        raise InvalidArgumentError("images is an empty list, expected at least one image")
    return [check_image(image, f"images[{i}]") for i, image in enumerate(images)]


def _sizes(spec: dict[str, list[int]]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Smallest, best and largest (height, width) of an engine's input."""
    low, best, high = ((int(s[2]), int(s[3])) for s in (spec["minimum"], spec["optimum"], spec["maximum"]))
    return low, best, high


def _input_size(given: tuple[int, int] | None, spec: dict[str, list[int]]) -> tuple[int, int]:
    low, best, high = _sizes(spec)
    if given is None:
        return best
    if len(given) != 2:
        raise InvalidArgumentError(f"input_size is {given}, expected (height, width)")
    height, width = given
    if not (low[0] <= height <= high[0] and low[1] <= width <= high[1]):
        raise InvalidArgumentError(f"input_size is {given}, the engine was built for {low} to {high} (height, width)")
    return int(height), int(width)
