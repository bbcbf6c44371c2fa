"""The loss of a quantised network on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from engine.faces import Detections
from engine.metrics.agreement import Agreement, agreement
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.options import Conversion
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import write_quantised
from engine.runtime.cpu.network_detector import NetworkDetector


class Measure:
    """Agreement of quantised networks with the float32 one, on the held-out images.

    Attributes:
        faces: how many the float32 network finds.
        runtime: name and version of the library that runs the networks.
    """

    def __init__(self, conversion: Conversion, images: CalibrationImages, graph: Graph, network: Simulation) -> None:
        """Run the float32 network.

        Args:
            conversion: the float32 network, and the thresholds of decoding and suppression.
            images: of which the held-out ones are used.
            graph: of `network`.
            network: fitted; every measurement changes its assignment.
        """
        self._conversion, self._images, self._graph, self._network = conversion, images, graph, network
        self.runtime = ""
        self._reference = self._detect(conversion.network)
        self.faces = agreement(self._reference, self._reference).faces

    def __call__(self, assignment: Assignment) -> Agreement:
        """Write the network as assigned, run it and compare its faces."""
        self._network.assignment = assignment
        return agreement(self._reference, self._detect(write_quantised(self._graph, self._network)))

    def _detect(self, network: onnx.ModelProto) -> Sequence[Detections]:
        conversion, images = self._conversion, self._images
        detector = NetworkDetector(network, conversion.config, conversion.size, thresholds=conversion.thresholds)
        self.runtime = detector.runtime
        return detector.detect(images.image(index) for index in images.held_out)
