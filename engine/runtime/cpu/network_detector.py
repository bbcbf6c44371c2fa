"""Detecting with a typed network from which no engine has been built yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.inputs import as_image
from engine.runtime.cpu.session import CpuNetwork
from engine.runtime.letterbox import Letterbox
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stopwatch
from engine.types import Image

if TYPE_CHECKING:
    import onnx


class NetworkDetector:
    """Detects with an ONNX network (float32, cast, or with Q/DQ) on the CPU, as an engine built from it would.

    Letterbox, decoding and suppression are those of TRTRetinaFace; the network may differ in the last bits.

    Attributes:
        runtime: name and version of the library that runs the network.
    """

    def __init__(
        self,
        network: bytes | onnx.ModelProto,
        config: RetinaFaceConfig,
        input_size: tuple[int, int] = (640, 640),
        *,
        thresholds: Thresholds | None = None,
        enlarge: bool = False,
        openvino: str | None = None,
    ) -> None:
        """Load a network whose outputs are the raw heads.

        Args:
            network: an ONNX model or the bytes of one.
            config: settings of its model.
            input_size: (height, width) to letterbox to.
            thresholds: of decoding and suppression; None is the defaults of engines.
            enlarge: enlarge images that are smaller than the input.
            openvino: precision of the network, to run it with OpenVINO. None runs it with ONNX Runtime, which computes
                it as written, float16 sums included.

        Raises:
            InvalidArgumentError: the input size does not fit the model.
            EngineLoadError: the library cannot load the network.
        """
        config.check_input_size(*input_size)
        thresholds = thresholds or Thresholds()
        content = network if isinstance(network, bytes) else bytes(network.SerializeToString())
        self._letterbox = Letterbox(input_size, config, enlarge)
        options = RuntimeOptions(input_size=input_size)
        library = "openvino" if openvino else "onnxruntime"
        self._network = CpuNetwork(content, config, thresholds, openvino or "fp32", options, library)
        self.runtime = self._network.runtime
        self._floor = thresholds.score

    def detect(self, images: Iterable[Image], *, score_threshold: float | None = None) -> list[Detections]:
        """Return the faces of each image; images are taken one at a time.

        Args:
            images: uint8 [H, W, 3] in BGR order, of any sizes.
            score_threshold: faces need a higher score; None is the threshold of decoding.

        Raises:
            InvalidArgumentError: an image is not as above, or the threshold is out of range.
            InferenceError: the network failed.
        """
        threshold = self._floor if score_threshold is None else score_threshold
        if not self._floor <= threshold <= 1.0:
            raise InvalidArgumentError(f"score_threshold is {score_threshold!r}, expected {self._floor} to 1")
        found = []
        for index, image in enumerate(images):
            one = [as_image(image, f"images[{index}]")]
            found += self._letterbox.to_images(self._network.detect(one, self._letterbox, Stopwatch()), one, threshold)
        return found
