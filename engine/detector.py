"""TRTRetinaFace: images in, faces out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from engine.errors import InvalidArgumentError
from engine.runtime.augment import Augmentation, Scales, make_augmentation, merge, to_image, views
from engine.runtime.device import open_session
from engine.runtime.forking import undisturbed
from engine.runtime.gpu.arrays import is_device_array
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.letterbox import Letterbox, check_images
from engine.runtime.limits import EngineLimits
from engine.runtime.serving import ServedDetector
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stages, Stopwatch, in_order
from engine.sidecar import EngineFiles, is_engine, read_engine
from engine.types import DEFAULT_SCORE_THRESHOLD, AnyImage, Detections, DeviceDetections, DeviceImage, Image

_log = logging.getLogger("engine")


class TRTRetinaFace(ServedDetector):
    """A face detector from a built engine.

        detector = TRTRetinaFace("mobilenet0.25")  # built once, then kept; or TRTRetinaFace("retinaface_fp16.engine")
        faces = detector.detect(cv2.imread("photo.jpg"))

    Attributes:
        device: "cuda:N" or "cpu".
        runtime: name and version of the library that runs the network.
        config: settings of the model.
        input_size: (height, width) that images are letterboxed to.
        max_batch: images in one run; longer lists are split.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str],
        device: str = "auto",
        *,
        config: str | os.PathLike[str] | None = None,
        precision: str | None = None,
        input_size: tuple[int, int] | None = None,
        score_threshold: float | None = None,
        enlarge: bool = False,
        threads: int | None = None,
        trust_embedded_plugins: bool = False,
        cuda_graphs: bool = True,
    ) -> None:
        """Load an engine with the files beside it, or build one from weights and keep it in the user's cache folder.

        Args:
            engine: path of NAME.engine; NAME.engine.json and NAME.network.onnx lie beside it. Or weights: the path of
                a checkpoint, the name of published weights, or of a config with default weights. Their engine is built
                with progress on stderr at its first use, and found in the cache folder later ($RETINAFACE_TRT_CACHE,
                else $XDG_CACHE_HOME/retinaface-trt, else ~/.cache/retinaface-trt).
            device: "cuda:N" runs the engine on that GPU. "cpu" runs the same network and operators on the CPU, with
                OpenVINO if it is installed and can run the network, else with ONNX Runtime; "cpu:openvino" and
                "cpu:onnxruntime" choose one. "auto" is the first GPU if it is usable, else the CPU, with a warning.
            config: for weights: the settings that they were trained with; None if they are known.
            precision: for weights: "fp16" (the default), "fp32", "tf32" or "bf16". The others need photos to calibrate
                with, and a build of their own.
            input_size: (height, width) to letterbox to, for an engine built for a range; None is its optimum. For
                weights: the size to build for; None is the config's.
            score_threshold: faces need a higher score; detect() can take another threshold. None is 0.5, or the
                threshold of the engine if that is higher.
            enlarge: enlarge images that are smaller than the input, which finds faces of a few pixels; else only pad
                them.
            threads: of the CPU, at most; None is all cores. Not used on a GPU.
            trust_embedded_plugins: load the plugin library inside an engine that was built with --embed-plugins. It is
                native code: set this for engines from a source that you trust.
            cuda_graphs: on a GPU, capture a CUDA graph per input shape on its second run; replay afterwards.

        Raises:
            EngineLoadError: a file is missing, damaged or of another build, or the engine does not fit the runtime.
            WeightsError: the weights cannot be loaded.
            BuildError: their engine could not be built.
            DeviceError: the requested GPU is not usable.
            InvalidArgumentError: an argument is out of range.
        """
        files = _open(engine, config, precision, input_size)
        self._path = files.path
        self.sidecar = files.sidecar
        self.config = files.sidecar.config
        self._limits = EngineLimits(files)
        self.max_batch = self._limits.max_batch
        self.input_size = self._limits.input_size(input_size)
        self._letterbox = Letterbox(self.input_size, self.config, enlarge)
        self.score_threshold = max(DEFAULT_SCORE_THRESHOLD, self.sidecar.thresholds.score)
        self.score_threshold = self.check_threshold(score_threshold)
        options = RuntimeOptions(self.input_size, threads, trust_embedded_plugins, cuda_graphs)
        with undisturbed():
            self._session, reason = open_session(files, device, options)
        self.device, self.runtime = self._session.device, self._session.runtime
        if reason is not None:
            _log.warning("No GPU is used (%s): running on the CPU with %s.", reason, self.runtime)

    @overload
    def detect(
        self,
        images: AnyImage,
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
    ) -> Detections: ...

    @overload
    def detect(
        self,
        images: Sequence[AnyImage],
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
    ) -> list[Detections]: ...

    def detect(
        self,
        images: AnyImage | Sequence[AnyImage],
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
    ) -> Detections | list[Detections]:
        """Find the faces in one image or in several.

        Args:
            images: one image, uint8 [H, W, 3] in BGR order, as cv2.imread returns, or a list of images of any sizes. A
                detector on a GPU also takes arrays in GPU memory, of torch, CuPy, PyCUDA and others. They are read in
                place, after the work that is queued on the stream of the array, or on the default stream if the array
                names none.
            score_threshold: faces need a higher score; at least the threshold that the engine was built with.
            scales: detect at each of these scales instead of in the letterbox of input_size, and merge the faces. A
                scale is the short side in pixels, or a pair (short side, limit of the long side), or "original". The
                engine must be built for a range of sizes; images smaller than the range are padded.
            flip: also detect in the mirror image.
            voting: average the boxes of one face over scales and flip; else keep the best box.
            merge_iou: boxes of different scales and flips that overlap by more are one face; None is the IoU threshold
                of the engine.

        Returns:
            Detections in pixels of the given image; a list of them for a list.

        Raises:
            InvalidArgumentError: an image is not as above, the list is empty, a threshold is out of range, or a scale
                is impossible or too large for the engine.
            InferenceError: the engine failed.
        """
        threshold = self.check_threshold(score_threshold)
        augmentation = make_augmentation(scales, flip, voting, merge_iou)
        found = self._detect(check_images(images, self.device != "cpu"), threshold, augmentation)
        return found if isinstance(images, (list, tuple)) else found[0]

    def profile(
        self, images: AnyImage | Sequence[AnyImage], *, score_threshold: float | None = None
    ) -> tuple[list[Detections], Stages]:
        """Detect as detect() does, and time each stage of the call.

        Returns:
            The faces of each image, and seconds by stage, which add up to the time of the call. "queueing" is the wait
            for other threads' calls.

        Raises:
            InvalidArgumentError: as detect().
            InferenceError: the engine failed.
        """
        watch = Stopwatch()
        threshold = self.check_threshold(score_threshold)
        faces = self._run(check_images(images, self.device != "cpu"), threshold, self._letterbox, watch)
        return faces, in_order(watch.stages)

    def detect_device(self, images: DeviceImage | Sequence[DeviceImage], *, stream: object = None) -> DeviceDetections:
        """Queue a detection on a CUDA stream, from and to GPU memory, without a copy and without synchronisation.

        Args:
            images: arrays in GPU memory as detect() takes them, at most max_batch. Do not change them before the stream
                has run this call.
            stream: a stream of torch, CuPy, PyCUDA or CUDA Python, which the results keep alive, or its handle; None is
                the stream of the first array, or the default stream if that array names none. Prefer an object: to free
                results for a mere handle waits for the device, unless it is that of the default stream.

        Returns:
            All faces above the threshold that the engine was built with, in arrays that are ready in stream order.

        Raises:
            InvalidArgumentError: the arrays are not as above or too many, the detector runs on the CPU, or the stream
                is being captured into a CUDA graph.
            InferenceError: the run could not be queued.
        """
        self._check_open()
        if not isinstance(self._session, TensorRTSession):
            raise InvalidArgumentError("detect_device is for detectors on a GPU; this one runs on the CPU: use detect")
        checked = check_images(images, on_gpu=True)
        if not all(is_device_array(image) for image in checked) or len(checked) > self.max_batch:
            raise InvalidArgumentError(f"images has {len(checked)} arrays, expected 1 to {self.max_batch} on the GPU")
        with undisturbed():
            return self._session.detect_device(checked, self._letterbox, stream)

    def check_threshold(self, value: float | None) -> float:
        """Return the score threshold to use for a given value; None is that of the detector.

        Raises:
            InvalidArgumentError: it is below that of the engine, or above 1.
        """
        return self._limits.check_threshold(self.score_threshold if value is None else value)

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest input size, (height, width), that holds an unscaled image of this size.

        Raises:
            InvalidArgumentError: the engine takes no such input; the message has the command that builds one.
        """
        return self._limits.size_that_holds(height, width)

    def _detect(self, images: list[Image], score_threshold: float, augmentation: Augmentation) -> list[Detections]:
        if augmentation.is_plain:
            return self._run(images, score_threshold, self._letterbox, Stopwatch())
        if any(is_device_array(image) for image in images):
            raise InvalidArgumentError("images are in GPU memory, scales and flip need NumPy arrays: copy them first")
        return [self._detect_augmented(image, score_threshold, augmentation) for image in images]

    def _detect_augmented(self, image: Image, score_threshold: float, augmentation: Augmentation) -> Detections:
        found: list[Detections] = []
        for images in views(image, augmentation, self.network_size):
            letterbox = self._letterbox
            if augmentation.scales is not None:
                letterbox = Letterbox(self.network_size(*images[0].shape[:2]), self.config, enlarge=False)
            found += to_image(self._run(images, score_threshold, letterbox, Stopwatch()), images[0], image)
        thresholds = self.sidecar.thresholds
        return merge(
            found,
            iou_threshold=thresholds.iou if augmentation.merge_iou is None else augmentation.merge_iou,
            max_detections=thresholds.max_detections,
            voting=augmentation.voting,
        )

    def _run(
        self, images: list[Image], score_threshold: float, letterbox: Letterbox, watch: Stopwatch
    ) -> list[Detections]:
        self._check_open()
        found: list[Detections] = []
        for begin in range(0, len(images), self.max_batch):
            part = images[begin : begin + self.max_batch]
            with undisturbed():
                raw = self._session.detect(part, letterbox, watch)
            found += letterbox.to_images(raw, part, score_threshold)
            watch.lap("undo letterbox")
        return found


def _open(
    source: str | os.PathLike[str],
    config: str | os.PathLike[str] | None,
    precision: str | None,
    input_size: tuple[int, int] | None,
) -> EngineFiles:
    if not is_engine(source):
        from engine.store import kept_engine, options_of  # needs the packages of a build

        return kept_engine(options_of(source, config, precision, input_size))
    given = {"config": config, "precision": precision}
    if chosen := [name for name, value in given.items() if value is not None]:
        raise InvalidArgumentError(
            f"{chosen[0]} is {given[chosen[0]]!r}, but the engine {os.fspath(source)} was built with its own: leave it "
            "out, or give weights instead of an engine"
        )
    return read_engine(Path(source))
