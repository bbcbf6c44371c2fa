"""A network that was trained for a quantised precision, as a file in the form of a calibration cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.config.formats import QUANTISED_FORMATS
from engine.config.model import RetinaFaceConfig
from engine.config.reader import read_dataclass
from engine.errors import CalibrationError, InvalidArgumentError
from engine.precision.calibrate.cache import load_fit, save_fit, stored_key
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation

_TRAINED = "trained"


@dataclass(frozen=True)
class Calibrated:
    """A network to train.

    Attributes:
        graph: of the network.
        network: fitted, with the assignment to train for.
        kept: convolutions in a higher precision, as KeptLayer.to_dict gives them.
        ranges: [O], largest magnitude of each output channel of each convolution.
    """

    graph: Graph
    network: Simulation
    kept: tuple[dict[str, Any], ...]
    ranges: dict[str, Tensor]


@dataclass(frozen=True)
class Key:
    """What a trained network belongs to.

    Attributes:
        weights: digest of the file of the float32 weights.
        config: of the model.
        precision: "int8".
    """

    weights: str
    config: RetinaFaceConfig
    precision: str


def is_trained(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is that of a trained network; another one may be missing, damaged or a usual cache."""
    return Path(path).exists() and _TRAINED in stored_key(path)


def belongs_to(path: Path, weights_sha256: str) -> bool:
    """Return whether a file is that of a network trained from weights with this digest."""
    try:
        return is_trained(path) and stored_key(path).get("weights") == weights_sha256
    except CalibrationError:
        return False


def save_trained(path: Path, key: Key, graph: Graph, network: Simulation, kept: Sequence[dict[str, Any]]) -> None:
    """Write a trained network; the same digest of weights, config and precision are needed to read it.

    Args:
        path: of the file.
        key: what it belongs to.
        graph: of the network.
        network: trained, with its assignment.
        kept: convolutions in a higher precision, as KeptLayer.to_dict gives them.

    Raises:
        CalibrationError: the file cannot be written.
    """
    values = {"weights": key.weights, "config": key.config.to_dict(), "precision": key.precision}
    assigned = {name: kind.name for name, kind in network.assignment.items()}
    about = {**values, _TRAINED: {"assignment": assigned, "kept": list(kept)}}
    trained = Graph(graph.model, graph.size)
    for name, convolution in graph.convolutions.items():
        trained.weights[convolution.weight] = network.exact[name].numpy()
        trained.weights[convolution.bias] = network.biases[name].numpy()
    save_fit(path, about, trained, network)


def load_trained(path: str | os.PathLike[str], key: Key, graph: Graph) -> tuple[Simulation, list[dict[str, Any]]]:
    """Read what save_trained wrote.

    Args:
        path: of the file.
        key: of this build.
        graph: of the network, of any input size.

    Returns:
        The network with its assignment, and the convolutions in a higher precision as KeptLayer.to_dict gives them.

    Raises:
        CalibrationError: it belongs to others than `key`, is damaged, or does not fit the graph.
    """
    about = stored_key(path)
    try:
        config = read_dataclass(RetinaFaceConfig, about["config"], "config")
        made_for = Key(str(about["weights"]), config, str(about["precision"]))
        formats = {kind.name: kind for kind in QUANTISED_FORMATS}
        assignment = {str(name): formats[kind] for name, kind in about[_TRAINED]["assignment"].items()}
        kept = [dict(layer) for layer in about[_TRAINED]["kept"]]
    except (InvalidArgumentError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CalibrationError(f"{path} is no trained network of this program, or damaged: {error!s:.200}") from error
    differing = [name for name in ("weights", "config", "precision") if getattr(made_for, name) != getattr(key, name)]
    if differing:
        raise CalibrationError(
            f"{path} was trained for other {' and '.join(differing)} than this build's: give --weights, --config and "
            "--precision of the same run, which are in its folder"
        )
    if not assignment.keys() <= graph.convolutions.keys():
        raise CalibrationError(f"{path} does not fit the network: it has no convolution {_first(assignment, graph)}")
    return load_fit(path, about, graph, [assignment])[1], kept


def _first(assignment: dict[str, Any], graph: Graph) -> str:
    return next(name for name in assignment if name not in graph.convolutions)
