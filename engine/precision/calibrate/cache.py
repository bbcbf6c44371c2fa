"""The calibration cache: the scales and weights of a fit, for later builds from the same inputs."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import CalibrationError, InvalidArgumentError
from engine.files import write_together
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, scale_groups
from engine.precision.qdq.simulate import Simulation
from engine.untrusted.archives import read_arrays

_KEY = "key"
_LARGEST = float(np.finfo(np.float16).max)  # networks with quantised layers are float16 elsewhere


def save_fit(path: str | os.PathLike[str], key: Mapping[str, Any], graph: Graph, network: Simulation) -> None:
    """Write the scales and weights of a fitted network and the key of the fit, as NumPy arrays.

    Raises:
        CalibrationError: the file cannot be written.
    """
    arrays: dict[str, Any] = {_KEY: np.array(json.dumps(key, sort_keys=True))}
    for name, convolution in graph.convolutions.items():
        arrays[f"exact/{name}"] = graph.weights[convolution.weight]
        arrays[f"exact_bias/{name}"] = graph.weights[convolution.bias]
        arrays[f"weight/{name}"] = network.weights[name].numpy()
        arrays[f"bias/{name}"] = network.biases[name].numpy()
    for (name, kind), step in network.steps.items():
        arrays[f"step/{kind}/{name}"] = step.numpy()
    for (name, kind), scale in network.scales.items():
        arrays[f"scale/{kind}/{name}"] = scale.numpy()
    content = io.BytesIO()
    np.savez(content, **arrays)
    try:
        write_together({Path(path): content.getvalue()})
    except OSError as error:
        raise CalibrationError(f"the calibration cache {path} cannot be written: {error.strerror}") from error


def load_fit(
    path: str | os.PathLike[str], key: Mapping[str, Any], graph: Graph, assignments: Sequence[Assignment]
) -> tuple[Simulation, Simulation]:
    """Read a cache.

    Args:
        path: of an existing cache.
        key: of this build.
        graph: of the network. Its weights are replaced by the equalised ones.
        assignments: that the network was fitted for; it is returned with the first one.

    Returns:
        The equalised network in floating point, and quantised.

    Raises:
        CalibrationError: not a calibration cache, its key differs, or an array is missing or none of a fit; the message
            says where.
    """
    try:
        arrays = read_arrays(Path(path))
        made_from = dict(json.loads(str(arrays.pop(_KEY))))
    except Exception as error:  # NumPy and zipfile raise many kinds on other files
        raise CalibrationError(f"{path} is not a calibration cache of this program: {error!s:.200}") from error
    wanted = json.loads(json.dumps(key))  # tuples become lists, as in the stored key
    # A technique that a version does not have is off: caches written with a removed technique off stay valid.
    differing = sorted(n for n in wanted.keys() | made_from.keys() if wanted.get(n, False) != made_from.get(n, False))
    if differing:
        first = differing[0]
        raise CalibrationError(
            f"calibration cache {path} was made from other {', '.join(differing)} ({first} is "
            f"{_short(made_from.get(first))}, this build has {_short(wanted.get(first))}): remove the file to "
            "calibrate again, or name another file with --calib-cache"
        )
    try:
        return _read_fit(arrays, graph, assignments)
    except InvalidArgumentError as error:
        raise CalibrationError(f"calibration cache {path} {error}: remove the file to calibrate again") from error


def _read_fit(
    arrays: Mapping[str, NDArray[Any]], graph: Graph, assignments: Sequence[Assignment]
) -> tuple[Simulation, Simulation]:
    """Take the arrays of a fit; InvalidArgumentError for one that is missing or cannot be of a fit."""
    shapes = {
        name: (graph.weights[c.weight].shape, graph.weights[c.bias].shape) for name, c in graph.convolutions.items()
    }
    for name, convolution in graph.convolutions.items():
        weight, bias = shapes[name]
        graph.weights[convolution.weight] = _array(arrays, f"exact/{name}", weight)
        graph.weights[convolution.bias] = _array(arrays, f"exact_bias/{name}", bias)
    reference, network = Simulation(graph), Simulation(graph)
    for name, (weight, bias) in shapes.items():
        network.weights[name] = torch.from_numpy(_array(arrays, f"weight/{name}", weight))
        network.biases[name] = torch.from_numpy(_array(arrays, f"bias/{name}", bias))
    groups = scale_groups(graph)
    for assignment in assignments:
        for name, kind in assignment.items():
            step = _array(arrays, f"step/{kind}/{name}", (shapes[name][0][0], 1, 1, 1), positive=True)
            network.steps[name, kind] = torch.from_numpy(step)
        for name, kind in points(graph, assignment):
            leader = groups.get(name, name)
            scale = _array(arrays, f"scale/{kind}/{leader}", (), positive=True)
            network.scales[leader, kind] = torch.from_numpy(scale)
    network.assignment = network.fitted = assignments[0]
    return reference, network


def _array(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], positive: bool = False
) -> NDArray[Any]:
    """Return an array of a fit, float32; InvalidArgumentError if it is missing or cannot be one."""
    if name not in arrays:
        raise InvalidArgumentError(f"is incomplete, it lacks {name!r}")
    array = arrays[name]
    if array.dtype != np.float32 or array.shape != shape:
        raise InvalidArgumentError(
            f"has {name!r} of type {array.dtype} and shape {array.shape!s:.80}, expected float32 and {shape}"
        )
    if not (np.abs(array) <= _LARGEST).all() or (positive and not (array > 0).all()):
        raise InvalidArgumentError(
            f"has {name!r} with values that are not finite, beyond float16, or scales that are not above 0"
        )
    return array


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
