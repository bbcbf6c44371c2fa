"""The loss of a quantised network on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from engine.errors import EngineLoadError
from engine.faces import Detections
from engine.metrics.agreement import Agreement, agreement
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.options import Conversion
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import write_quantised
from engine.runtime.cpu.load import openvino_is_installed
from engine.runtime.cpu.network_detector import NetworkDetector


class Measure:
    """Agreement of quantised networks with the float32 one, on the held-out images.

    Attributes:
        faces: how many the float32 network finds.
        runtime: name and version of the library that runs the networks.
    """

    def __init__(
        self,
        conversion: Conversion,
        images: CalibrationImages,
        graph: Graph,
        network: Simulation,
        found: Sequence[Detections],
    ) -> None:
        """Prepare to measure.

        Args:
            conversion: the float32 network, and the thresholds of decoding and suppression.
            images: of which the held-out ones are used.
            graph: of `network`.
            network: fitted; every measurement changes its assignment.
            found: what the float32 network finds in each image.
        """
        self._conversion, self._images, self._graph, self._network = conversion, images, graph, network
        self.runtime = ""
        self._reference = [found[index] for index in images.held_out]
        self.faces = agreement(self._reference, self._reference).faces

    def __call__(self, assignment: Assignment) -> Agreement:
        """Write the network as assigned, run it and compare its faces."""
        self._network.assignment = assignment
        network = write_quantised(self._graph, self._network)
        detector = detector_of(self._conversion, network)
        self.runtime = detector.runtime
        return self._agreement(detector)

    def elsewhere(self, network: onnx.ModelProto) -> dict[str, Agreement]:
        """Compare the faces of a written network as the other CPU library runs it, by its name, if it can."""
        if not (self.faces and openvino_is_installed()):
            return {}
        try:
            detector = detector_of(self._conversion, network, self._conversion.precision)
        except EngineLoadError:
            return {}
        return {detector.runtime: self._agreement(detector)}

    def _agreement(self, detector: NetworkDetector) -> Agreement:
        images = self._images
        return agreement(self._reference, detector.detect(images.image(index) for index in images.held_out))


def detector_of(conversion: Conversion, network: onnx.ModelProto, openvino: str | None = None) -> NetworkDetector:
    """Return a detector with a network, and the settings of the engine that is built."""
    return NetworkDetector(
        network, conversion.config, conversion.size, thresholds=conversion.thresholds, openvino=openvino
    )
