"""A calibrated network to train, without calibrating one."""

from __future__ import annotations

import numpy as np
import torch

from engine.config.formats import INT8
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable
from engine.precision.trained.stored import Calibrated
from tests.support import graphs

KEPT = ({"name": "pointwise", "kind": "fp16", "sensitivity": 0.1, "macs_share": 0.2},)


def calibrated(seed: int = 1, stem_stride: int = 2) -> Calibrated:
    """The tiny detector without one of its convolutions in INT8; its heads have magnitudes like trained ones."""
    graph = Graph(graphs.tiny_detector(stem_stride=stem_stride), graphs.SIZE)
    for name in graph.outputs:
        graph.weights[f"{name}_weight"] *= np.float32(0.003)
    assignment = {name: INT8 for name in quantisable(graph, INT8) if name != "pointwise"}
    network = graphs.quantised(graph, assignment, graphs.images(seed))
    return Calibrated(graph, network, KEPT, {name: torch.ones(len(w)) for name, w in network.weights.items()})
