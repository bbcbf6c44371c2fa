"""The calibration cache: the scales and weights of a fit, for later builds from the same inputs."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import CalibrationError
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, scale_groups
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray
from engine.untrusted.archives import read_arrays
from engine.untrusted.json_text import parse_json
from engine.writing import write_file

_KEY = "key"
_LARGEST = float(np.finfo(np.float16).max)  # a network with quantised layers is float16 elsewhere


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
        write_file(Path(path), content.getvalue())
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
        CalibrationError: not a calibration cache, its key differs, or its arrays are not the network's; the message
            says where.
    """
    made_from, arrays = _read(path)
    _compare_keys(path, made_from, json.loads(json.dumps(key)))  # tuples become lists, as in the stored key
    stored = _Stored(path, arrays)
    try:
        for name, convolution in graph.convolutions.items():
            for kind, tensor in (("exact", convolution.weight), ("exact_bias", convolution.bias)):
                graph.weights[tensor] = stored.values(f"{kind}/{name}", graph.weights[tensor].shape)
        reference, network = Simulation(graph), Simulation(graph)
        for name in graph.convolutions:
            for kind, tensors in (("weight", network.weights), ("bias", network.biases)):
                tensors[name] = torch.from_numpy(stored.values(f"{kind}/{name}", tensors[name].shape))
        groups = scale_groups(graph)
        for assignment in assignments:
            for name, number_format in assignment.items():
                steps = (len(network.weights[name]), 1, 1, 1)
                network.steps[name, number_format] = stored.scales(f"step/{number_format}/{name}", steps)
            for name, number_format in points(graph, assignment):
                leader = groups.get(name, name)
                network.scales[leader, number_format] = stored.scales(f"scale/{number_format}/{leader}", ())
        network.assignment = network.fitted = assignments[0]
    except KeyError as error:
        raise CalibrationError(
            f"calibration cache {path} is incomplete, it lacks {error}: remove the file to calibrate again"
        ) from error
    return reference, network


def stored_key(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the key of a cache; CalibrationError if the file is none."""
    return _read(path)[0]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        arrays = read_arrays(Path(path))
        return dict(parse_json(str(arrays.pop(_KEY)))), arrays
    except Exception as error:  # NumPy and zipfile raise many kinds on other files
        raise CalibrationError(f"{path} is not a calibration cache of this program: {error}") from error


def _compare_keys(path: str | os.PathLike[str], made_from: dict[str, Any], wanted: dict[str, Any]) -> None:
    # A technique that a version does not have is off: caches written with a removed technique off stay valid.
    differing = sorted(n for n in wanted.keys() | made_from.keys() if wanted.get(n, False) != made_from.get(n, False))
    if differing:
        first = differing[0]
        raise CalibrationError(
            f"calibration cache {path} was made from other {', '.join(differing)} ({first} is "
            f"{_short(made_from.get(first))}, this build has {_short(wanted.get(first))}): remove the file to "
            "calibrate again, or name another file with --calib-cache"
        )


class _Stored:
    """The arrays of a cache, each compared with what the network has. KeyError for a name that is not there."""

    def __init__(self, path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._path, self._arrays = path, arrays

    def values(self, name: str, shape: Sequence[int]) -> FloatArray:
        values = self._arrays[name]
        if values.dtype != np.float32 or values.shape != tuple(shape):
            self._refuse(name, f"has dtype {values.dtype} and shape {values.shape}", f"float32 and {tuple(shape)}")
        if not np.isfinite(values).all():
            self._refuse(name, "holds NaN or infinity", "finite numbers")
        if (np.abs(values) > _LARGEST).any():
            self._refuse(name, "holds numbers that float16 has not", f"at most {_LARGEST:g}")
        return values

    def scales(self, name: str, shape: Sequence[int]) -> torch.Tensor:
        values = self.values(name, shape)
        if not (values > 0).all():
            self._refuse(name, "holds numbers that are not above 0", "scales")
        return torch.from_numpy(values)

    def _refuse(self, name: str, found: str, expected: str) -> NoReturn:
        raise CalibrationError(
            f"calibration cache {self._path} does not fit the network: {name} {found}, expected {expected}: remove the "
            "file to calibrate again"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
