"""TRTRetinaFace: images in, faces out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import overload

from engine.errors import InvalidArgumentError
from engine.faces import Detections, Selection, replaced
from engine.inputs import batches, check_color
from engine.inputs.batches import are_several
from engine.inputs.device_arrays import from_device_array, is_device_array
from engine.runtime.augment import Augmentation, Scales, detect_views, make_augmentation
from engine.runtime.device import open_session
from engine.runtime.forking import undisturbed
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.letterbox import Letterbox
from engine.runtime.limits import EngineLimits
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stages, Stopwatch, in_order
from engine.sidecar import EngineFiles, is_engine, read_engine
from engine.types import DEFAULT_SCORE_THRESHOLD, AnyImage, Color, DeviceDetections, DeviceImage, Image
from engine.video.streaming import StreamingDetector

_log = logging.getLogger("engine")


class TRTRetinaFace(StreamingDetector):
    """A face detector from a built engine.

        detector = TRTRetinaFace("mobilenet0.25")  # built once, then kept; or TRTRetinaFace("retinaface_fp16.engine")
        faces = detector.detect("photo.jpg")

    A detector can be pickled, for multiprocessing and the like: the other process opens the same engine's file, on the
    device that was asked for and with the same options. Queues and memory are not shared.

    Attributes:
        device: "cuda:N" or "cpu".
        runtime: name and version of the library that runs the network.
        config: settings of the model.
        input_size: (height, width) that images are letterboxed to.
        max_batch: images in one run; longer lists are split.
        triangles: int32 [F, 3] of meshes; None if the engine gives none. See Detections.
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
            config: for weights: the settings that they were trained with, a preset's name or the path of a JSON file
                that `retinaface-trt config` wrote; None if they are known.
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
        self.triangles = None if files.decoder is None else files.decoder.levels.topology.triangles
        self._limits = EngineLimits(files.path, files.sidecar)
        self.max_batch = self._limits.max_batch
        self.input_size = self._limits.input_size(input_size)
        # What a copy in another process is opened with: its working folder may be another.
        self._reopen = partial(
            type(self),
            os.path.abspath(files.path),
            device,
            input_size=self.input_size,
            enlarge=enlarge,
            threads=threads,
            trust_embedded_plugins=trust_embedded_plugins,
            cuda_graphs=cuda_graphs,
        )
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
    def detect(  # type: ignore[overload-overlap] # a str is a sequence of str, but is one path
        self,
        images: AnyImage,
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> Detections: ...

    @overload
    def detect(
        self,
        images: Sequence[AnyImage] | Iterator[AnyImage],
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> list[Detections]: ...

    def detect(
        self,
        images: AnyImage | Sequence[AnyImage] | Iterator[AnyImage],
        *,
        score_threshold: float | None = None,
        scales: Scales | None = None,
        flip: bool = False,
        voting: bool = False,
        merge_iou: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> Detections | list[Detections]:
        """Find the faces in one image or in several.

        Args:
            images: one image, or a list, a tuple or a generator of images of any sizes. An image is

                - a NumPy array, uint8 [H, W, 3], as cv2.imread returns; [H, W, 4], whose alpha channel is ignored; gray
                  [H, W] or [H, W, 1];
                - the path of a picture file (str, Path), or its content (bytes, bytearray, memoryview). Of an animated
                  picture the first frame is taken, with a warning;
                - an image of Pillow, of any mode, turned as its EXIF orientation says;
                - a tensor of PyTorch, uint8 [H, W, 3] or [3, H, W], also with 1 or 4 channels, or gray [H, W];
                - on a GPU, an array in its memory, [H, W, 3], of torch, CuPy, PyCUDA and others. It is read in place,
                  after the work that is queued on the stream of the array, or on the default stream if the array names
                  none. A tensor [3, H, W] is copied first.

                A list or generator is taken and converted max_batch images at a time.
            score_threshold: faces need a higher score; at least the threshold that the engine was built with.
            scales: detect at each of these scales instead of in the letterbox of input_size, and merge the faces. A
                scale is the short side in pixels, or a pair (short side, limit of the long side), or "original". The
                engine must be built for a range of sizes; images smaller than the range are padded.
            flip: also detect in the mirror image.
            voting: average the boxes of one face over scales and flip; else keep the best box.
            merge_iou: boxes of different scales and flips that overlap by more are one face; None is the IoU threshold
                of the engine.
            min_size: leave out faces whose box has a shorter side of so many pixels of the image, or fewer.
            max_faces: at most so many faces of an image, those with the best scores.
            color: order of the channels of arrays and tensors, "bgr" or "rgb". Others say it themselves.

        Returns:
            Detections in pixels of the given image; a list of them for a list, a tuple or a generator.

        Raises:
            InvalidArgumentError: an image is not as above (the message says which), there is none, an argument is out
                of range, or a scale is impossible or too large for the engine.
            InferenceError: the engine failed.
        """
        threshold = self.check_threshold(score_threshold)
        augmentation = make_augmentation(scales, flip, voting, merge_iou)
        selection, letterbox, watch = Selection(min_size, max_faces), self._letterbox_of(color), Stopwatch()
        found: list[Detections] = []
        for batch in batches(images, self.max_batch, color=color, on_gpu=self.device != "cpu"):
            if augmentation.is_plain:
                found += self._run(batch.images, threshold, letterbox, watch)
            else:
                found += self._detect_augmented(batch.images, threshold, augmentation, letterbox)
        chosen = list(map(selection.of, found))
        return chosen if are_several(images) else chosen[0]

    def profile(
        self,
        images: AnyImage | Sequence[AnyImage] | Iterator[AnyImage],
        *,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> tuple[list[Detections], Stages]:
        """Detect as detect() does, and time each stage of the call.

        Returns:
            The faces of each image, and seconds by stage, which add up to the time of the call. "decode" is the time to
            make arrays of files and the like; "queueing" is the wait for other threads' calls.

        Raises:
            InvalidArgumentError: as detect().
            InferenceError: the engine failed.
        """
        watch = Stopwatch()
        threshold = self.check_threshold(score_threshold)
        selection, letterbox = Selection(min_size, max_faces), self._letterbox_of(color)
        found: list[Detections] = []
        for batch in batches(images, self.max_batch, color=color, on_gpu=self.device != "cpu"):
            if batch.converted:
                watch.lap("decode")
            found += map(selection.of, self._run(batch.images, threshold, letterbox, watch))
        watch.lap("undo letterbox")
        return found, in_order(watch.stages)

    def detect_device(self, images: DeviceImage | Sequence[DeviceImage], *, stream: object = None) -> DeviceDetections:
        """Queue a detection on a CUDA stream, from and to GPU memory, without a copy and without synchronisation.

        Args:
            images: arrays in GPU memory, uint8 [H, W, 3] in BGR order, at most max_batch. Do not change them before the
                stream has run this call.
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
        given = list(images) if isinstance(images, list | tuple) else [images]
        if not all(map(is_device_array, given)) or not 1 <= len(given) <= self.max_batch:
            raise InvalidArgumentError(f"images has {len(given)} arrays, expected 1 to {self.max_batch} on the GPU")
        # Not copied: nobody would keep the copy until the stream has read it.
        checked = [from_device_array(image, f"images[{i}]", may_copy=False) for i, image in enumerate(given)]
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

    def _letterbox_of(self, color: Color) -> Letterbox:
        """Return the usual letterbox, of images whose channels are in this order."""
        return self._letterbox if check_color(color) == "bgr" else replace(self._letterbox, color=color)

    def _detect_augmented(
        self, images: list[Image], score_threshold: float, augmentation: Augmentation, usual: Letterbox
    ) -> list[Detections]:
        if any(map(is_device_array, images)):
            raise InvalidArgumentError("images are in GPU memory, scales and flip need NumPy arrays: copy them first")

        def run(views: list[Image], size: tuple[int, int] | None) -> list[Detections]:
            letterbox = usual if size is None else replace(usual, size=size, enlarge=False)
            parts = [views[begin : begin + self.max_batch] for begin in range(0, len(views), self.max_batch)]
            return [face for part in parts for face in self._run(part, score_threshold, letterbox, Stopwatch())]

        thresholds = self.sidecar.thresholds
        return [detect_views(image, augmentation, self.network_size, run, self.config, thresholds) for image in images]

    def _run(
        self, images: list[Image], score_threshold: float, letterbox: Letterbox, watch: Stopwatch
    ) -> list[Detections]:
        """Detect in images, at most max_batch."""
        self._check_open()
        with undisturbed():
            raw = self._session.detect(images, letterbox, watch)
            found = letterbox.to_images(raw, images, score_threshold)
        if self.triangles is not None:
            found = [replaced(faces, triangles=self.triangles) for faces in found]
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
