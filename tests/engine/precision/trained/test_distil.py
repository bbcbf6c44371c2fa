"""Training on pictures without labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.config.formats import INT8
from engine.errors import CalibrationError
from engine.precision.calibrate.images import CalibrationImages, find_images
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.heads import squared_head_error
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.simulate import Simulation
from engine.precision.trained import distil, pictures
from engine.precision.trained.pictures import TrainingPictures
from engine.runtime.letterbox import Letterbox
from tests.support import graphs


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SIDE", 32)
    monkeypatch.setattr(distil, "_WARM_UP", 1)  # not longer than the training
    monkeypatch.setattr(distil, "_BIAS_RATE", 0.5)


@pytest.fixture
def graph() -> Graph:
    """The tiny detector; its heads have the strides that they are named by, and magnitudes like trained ones."""
    graph = Graph(graphs.tiny_detector(stem_stride=8), graphs.SIZE)
    for name in graph.outputs:
        graph.weights[f"{name}_weight"] *= np.float32(0.003)
    return graph


def _images(photos: Path) -> CalibrationImages:
    return find_images(photos, 6, Letterbox((96, 96), graphs.CONFIG, enlarge=False))


def _fitted(graph: Graph, photos: Path) -> Simulation:
    assignment = dict.fromkeys(quantisable(graph, INT8), INT8)
    return graphs.quantised(graph, assignment, _images(photos).batch(0))


def _train(graph: Graph, network: Simulation, photos: Path, steps: int) -> list[str]:
    said: list[str] = []
    training = TrainingPictures(graphs.CONFIG, Simulation(graph), _images(photos))
    distil.distil(graph, network, training, steps, said.append)
    return said


def test_training_brings_the_heads_nearer(graph: Graph, photos: Path) -> None:
    batch = torch.from_numpy(_images(photos).batch(1))  # held out
    network, errors = _fitted(graph, photos), list[float]()
    for name in graph.outputs:
        network.biases[name] = network.biases[name] + 0.2  # something to learn
    for steps in (30, 0):
        with torch.no_grad():
            wanted, given = Simulation(graph).run(batch), network.run(batch)
        errors.append(float(squared_head_error(graphs.CONFIG, wanted, given)))
        if steps:
            assert _train(graph, network, photos, steps)[-1].startswith("Training 30/30: difference of the heads ")
    assert errors[1] < 0.6 * errors[0]


def test_training_is_repeatable(graph: Graph, photos: Path) -> None:
    networks = [_fitted(graph, photos) for _ in range(2)]
    for network in networks:
        _train(graph, network, photos, 3)
    for name, weights in networks[0].weights.items():
        assert torch.equal(weights, networks[1].weights[name]), name
        assert torch.equal(networks[0].biases[name], networks[1].biases[name]), name


def test_pictures_without_faces_are_refused(graph: Graph, photos: Path) -> None:
    for stride in (8, 16, 32):
        graph.weights[f"logits_{stride}_weight"][:] = 0
        graph.weights[f"logits_{stride}_bias"][:] = [5, 0, 5, 0]
    with pytest.raises(CalibrationError, match=r"no face in the 3 images for fitting.*, or leave out --train-steps"):
        _train(graph, _fitted(graph, photos), photos, 1)


def test_crops_hold_a_face(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel of each picture is the face; no other has its colour."""
    faces = [(0, 0), (59, 89), (30, 40)]
    for i in range(4):
        image = np.full((60, 90, 3), 100, np.uint8)
        for y, x in faces:
            image[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 250
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    monkeypatch.setattr(pictures, "face_centres", lambda config, reference, batch: faces)
    images = find_images(tmp_path, 4, Letterbox((96, 96), graphs.CONFIG, enlarge=False))
    training = TrainingPictures(graphs.CONFIG, Simulation(Graph(graphs.tiny_detector(), graphs.SIZE)), images)
    batch = training.batch(50, rng)
    assert batch.shape == (50, 3, 32, 32)
    assert (batch.amax(dim=(1, 2, 3)) > 100).all()
    assert len({bytes(crop.numpy()) for crop in batch}) > 40
