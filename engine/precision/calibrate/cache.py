"""The calibration cache: what fitting found, for a second build from the same things."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import CalibrationError
from engine.files import write_together
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, scale_groups
from engine.precision.qdq.simulate import Simulation

_KEY = "key"


def save_fit(path: str | os.PathLike[str], key: Mapping[str, Any], graph: Graph, network: Simulation) -> None:
    """Write a fitted network's numbers and the key of what it was fitted to; NumPy arrays only.

    Raises:
        CalibrationError: the file cannot be written.
    """
    arrays: dict[str, Any] = {_KEY: np.array(json.dumps(key, sort_keys=True))}
    for name, convolution in graph.convolutions.items():
        arrays[f"exact/{name}"] = graph.weights[convolution.weight]
        arrays[f"exact_bias/{name}"] = graph.weights[convolution.bias]
        arrays[f"weight/{name}"] = network.weights[name].detach().numpy()
        arrays[f"bias/{name}"] = network.biases[name].detach().numpy()
    for (name, kind), step in network.steps.items():
        arrays[f"step/{kind}/{name}"] = step.numpy()
    for (name, kind), scale in network.scales.items():
        arrays[f"scale/{kind}/{name}"] = scale.detach().numpy()
    content = io.BytesIO()
    np.savez(content, **arrays)
    try:
        write_together({Path(path): content.getvalue()})
    except OSError as error:
        raise CalibrationError(f"the calibration cache {path} cannot be written: {error.strerror}") from error


def load_fit(
    path: str | os.PathLike[str], key: Mapping[str, Any], graph: Graph, assignments: Sequence[Assignment]
) -> tuple[Simulation, Simulation]:
    """Read a cache back: the network in floating point, as rescaled, and quantised.

    Args:
        path: of an existing cache.
        key: of what is being built.
        graph: of the network; its weights become the rescaled ones.
        assignments: that it was fitted for.

    Raises:
        CalibrationError: it is no such cache, or was made from something else; the message says what differs.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        made_from = dict(json.loads(str(arrays.pop(_KEY))))
    except Exception as error:  # NumPy and zipfile raise what they like on other files
        raise CalibrationError(f"{path} is not a calibration cache of this program: {error}") from error
    # Through JSON, as the stored one went.
    wanted = json.loads(json.dumps(key))
    differing = sorted(name for name in wanted.keys() | made_from.keys() if wanted.get(name) != made_from.get(name))
    if differing:
        first = differing[0]
        raise CalibrationError(
            f"calibration cache {path} was made from other {', '.join(differing)} ({first} is "
            f"{_short(made_from.get(first))}, this build has {_short(wanted.get(first))}): remove the file to "
            "calibrate anew, or name another with --calib-cache"
        )
    try:
        for name, convolution in graph.convolutions.items():
            graph.weights[convolution.weight] = arrays[f"exact/{name}"]
            graph.weights[convolution.bias] = arrays[f"exact_bias/{name}"]
        reference, network = Simulation(graph), Simulation(graph)
        for name in graph.convolutions:
            network.weights[name] = torch.from_numpy(arrays[f"weight/{name}"])
            network.biases[name] = torch.from_numpy(arrays[f"bias/{name}"])
        groups = scale_groups(graph)
        for assignment in assignments:
            for name, kind in assignment.items():
                network.steps[name, kind] = torch.from_numpy(arrays[f"step/{kind}/{name}"])
            for name, kind in points(graph, assignment):
                leader = groups.get(name, name)
                network.scales[leader, kind] = torch.from_numpy(arrays[f"scale/{kind}/{leader}"])
    except KeyError as error:
        raise CalibrationError(f"calibration cache {path} is incomplete: it lacks {error}. Remove it") from error
    return reference, network


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
