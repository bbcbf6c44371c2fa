"""TRTRetinaFace: images in, faces out."""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from engine.augment import Augmentation, Scale, looks, make_augmentation, merge, to_image
from engine.errors import ClosedError, InvalidArgumentError
from engine.limits import EngineLimits
from engine.preprocess import Letterbox, check_image
from engine.runtime.cpu import network_metadata
from engine.runtime.device import open_session
from engine.runtime.queue import BatchQueue, Request
from engine.runtime.timing import Stages
from engine.sidecar import read_engine
from engine.types import DEFAULT_SCORE_THRESHOLD, Detections, Image

_log = logging.getLogger("engine")
_creating_queue = threading.Lock()


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
        self._path = files.path
        self.sidecar = files.sidecar
        self.config = files.sidecar.model_config()
        self._limits = EngineLimits.of(files)
        self.max_batch = self._limits.max_batch
        self.input_size = self._limits.input_size(input_size)
        self._letterbox = Letterbox(self.input_size, self.config, enlarge)
        self.score_threshold = max(DEFAULT_SCORE_THRESHOLD, float(self.sidecar.thresholds["score"]))
        self.score_threshold = self.check_threshold(score_threshold)
        self._session, reason = open_session(files, device, trust_embedded_plugins)
        self.device = self._session.device
        self._queue: BatchQueue | None = None
        self._closed = False
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
        threshold = self.check_threshold(score_threshold)
        augmentation = make_augmentation(scales, flip, voting)
        if not isinstance(images, (list, tuple)):
            return self._detect([check_image(images, "image")], threshold, augmentation)[0]
        if not images:
            raise InvalidArgumentError("images is an empty list, expected at least one image")
        checked = [check_image(image, f"images[{i}]") for i, image in enumerate(images)]
        return self._detect(checked, threshold, augmentation)

    def profile(
        self, images: Sequence[Image], *, score_threshold: float | None = None
    ) -> tuple[list[Detections], Stages]:
        """Detect like detect() in several images, and say how long each stage of the call took."""
        begin = time.perf_counter()
        found = self.detect(list(images), score_threshold=score_threshold)
        return found, {"network": time.perf_counter() - begin}

    def check_threshold(self, value: float | None) -> float:
        """Return the score threshold that a value means; None is the detector's own.

        Raises:
            InvalidArgumentError: the engine leaves out faces below it, or it is above 1.
        """
        return self._limits.check_threshold(self.score_threshold if value is None else value)

    def submit(self, image: Image, *, score_threshold: float | None = None) -> Request:
        """Queue an image, and return a future of its faces. It shares a batch with others that come soon after it.

        A BatchQueue of this detector and its clones does the same with settings of its own.

        Raises:
            InvalidArgumentError: not such an image as detect takes, or a threshold out of range.
            ClosedError: the detector is closed.
        """
        with _creating_queue:
            self._check_open()
            # A copy, which stays open until the queue has finished, and forms no cycle with it.
            queue = self._queue = self._queue or BatchQueue([copy.copy(self)])
        return queue.submit(image, score_threshold=score_threshold)

    def clone(self) -> TRTRetinaFace:
        """Return a detector that shares the weights, and can run while this one runs; each is closed by itself.

        Raises:
            DeviceError: the device has no room for it.
            ClosedError: the detector is closed.
        """
        self._check_open()
        other = copy.copy(self)
        other._session, other._queue = self._session.clone(), None
        return other

    def close(self) -> None:
        """Finish what was submitted and give the device's memory back. Closing twice is fine."""
        with _creating_queue:
            queue, closed, self._closed, self._queue = self._queue, self._closed, True, None
        if queue is not None:
            queue.close()
        if not closed:
            self._session.close()

    def __enter__(self) -> TRTRetinaFace:
        """Return the detector itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest input, (height, width), that holds an image of this size as it is.

        Raises:
            InvalidArgumentError: the engine takes no input that large; the message has the command that builds one.
        """
        return self._limits.size_that_holds(height, width)

    def _detect(self, images: list[Image], score_threshold: float, augmentation: Augmentation) -> list[Detections]:
        if augmentation.is_plain:
            return self._run(images, score_threshold, self._letterbox)
        return [self._detect_augmented(image, score_threshold, augmentation) for image in images]

    def _detect_augmented(self, image: Image, score_threshold: float, augmentation: Augmentation) -> Detections:
        found: list[Detections] = []
        for images in looks(image, augmentation, self.network_size):
            letterbox = self._letterbox
            if augmentation.scales is not None:
                letterbox = Letterbox(self.network_size(*images[0].shape[:2]), self.config, enlarge=False)
            found += to_image(self._run(images, score_threshold, letterbox), images[0], image)
        thresholds = self.sidecar.thresholds
        return merge(
            found,
            iou_threshold=thresholds["iou"],
            max_detections=thresholds["max_detections"],
            voting=augmentation.voting,
        )

    def _run(self, images: list[Image], score_threshold: float, letterbox: Letterbox) -> list[Detections]:
        self._check_open()
        parts = [images[begin : begin + self.max_batch] for begin in range(0, len(images), self.max_batch)]
        return [
            faces
            for part in parts
            for faces in letterbox.to_images(self._session.run(letterbox.batch(part)), part, score_threshold)
        ]

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the detector of {self._path} is closed: open it again")
