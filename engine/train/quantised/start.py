"""Begins the training of a quantised network: calibrates the float32 one, or makes an empty one for a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.config.detection import InputSize
from engine.config.formats import INT8
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.export.network import export_network
from engine.model.retinaface import RetinaFace
from engine.precision.options import Conversion
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, quantisable, scale_groups
from engine.precision.qdq.rewrite import prepare, with_plain_names
from engine.precision.qdq.simulate import Simulation
from engine.precision.quantise import calibrate
from engine.precision.trained.stored import Calibrated

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("fp32", INT8.name)
_NOT_WITH_INT8 = "--precision int8 trains what was fine-tuned before"


def check_precision(precision: str, config: RetinaFaceConfig, refused: Sequence[str]) -> None:
    """Check what can be trained for a precision.

    Args:
        precision: one of PRECISIONS.
        config: of the model.
        refused: options that are given, but not for a quantised network.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision is {precision!r:.80}, expected {' or '.join(PRECISIONS)}")
    if precision == "fp32":
        return
    if refused:
        raise InvalidArgumentError(
            f"{_NOT_WITH_INT8}: leave out {' and '.join(refused)}, or first train with it in float32"
        )
    if config.cascade:
        raise InvalidArgumentError(
            f"{_NOT_WITH_INT8}, but no cascade such as {config.name}: the heads of its first stage are not in the "
            "network. `retinaface-trt build --precision int8 --train-steps 2000` trains it without labels"
        )


def calibrated(network: RetinaFace, pictures: Sequence[Path], on_stage: Callable[[str], None]) -> Calibrated:
    """Calibrate a network with the pictures that it will be trained on, as a build does without a budget.

    Raises:
        CalibrationError: fewer than four pictures, no face that the network finds, or values that are not finite.
    """
    config = network.config
    found = calibrate(Conversion(_exported(network), config, INT8.name, config.input_size, on_stage=on_stage), pictures)
    fitted = found.network
    wanted = _scales(found.graph, fitted.assignment)
    fitted.scales = {point: scale for point, scale in fitted.scales.items() if point in wanted}
    fitted.steps = {key: step for key, step in fitted.steps.items() if key in fitted.assignment.items()}
    return found


def uncalibrated(config: RetinaFaceConfig, kept: Sequence[dict[str, Any]]) -> Calibrated:
    """Return a network as `calibrated` does, with any values: a checkpoint has them."""
    graph = Graph(prepare(_exported(RetinaFace(config))), config.input_size)
    names = {str(layer.get("name")) for layer in kept}
    network = Simulation(graph)
    network.assignment = network.fitted = {n: INT8 for n in quantisable(graph, INT8) if n not in names}
    network.scales = {point: torch.ones(()) for point in _scales(graph, network.assignment)}
    network.steps = {key: torch.ones(len(network.weights[key[0]]), 1, 1, 1) for key in network.assignment.items()}
    return Calibrated(graph, network, tuple(kept), {name: torch.ones(len(w)) for name, w in network.weights.items()})


def _exported(network: RetinaFace) -> onnx.ModelProto:
    return with_plain_names(export_network(network.eval(), InputSize.fixed(*network.config.input_size)))


def _scales(graph: Graph, assignment: Assignment) -> set[Any]:
    """Return the points whose scales an assignment uses."""
    groups = scale_groups(graph)
    return {(groups.get(name, name), kind) for name, kind in points(graph, assignment)}
