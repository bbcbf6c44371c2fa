"""The parts of examples/dense_faces.py whose mistakes no picture would show."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from engine.mesh.levels import make_levels
from tests.docs.conftest import ROOT
from tests.engine.mesh.meshes import mask

SIZE = 96


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dense_faces", ROOT / "examples" / "dense_faces.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dense_faces"] = module  # where dataclasses and named tuples look for it
    spec.loader.exec_module(module)
    return module


def test_faces_do_not_depend_on_the_signs_of_eigenvectors(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which libraries and numbers of threads choose differently."""
    levels = make_levels(mask(10, 8))
    expected = example.FaceMaker(levels, SIZE, seed=1).make(2)
    real = np.linalg.eigh

    def flipped(matrix: Any) -> Any:
        values, vectors = real(matrix)
        return values, vectors * np.where(np.arange(vectors.shape[1]) % 3, 1, -1)

    monkeypatch.setattr(np.linalg, "eigh", flipped)
    for one, other in zip(expected, example.FaceMaker(levels, SIZE, seed=1).make(2), strict=True):
        assert torch.equal(one, other)


def test_what_engines_are_built_from_has_the_networks_heads(example: ModuleType) -> None:
    """At the anchor that the network chooses; the others find nothing."""
    torch.manual_seed(3)
    levels = make_levels(mask(10, 8))
    network = example.DenseNetwork(levels, SIZE, "mobilenet0.25").eval()
    for parameter in network.score.parameters():
        torch.nn.init.normal_(parameter)
    sample = example.FaceMaker(levels, SIZE, seed=1).make(3)
    model = network.detector(sample)
    with torch.no_grad():
        scores, deltas, values = network(sample.pictures)
        mean = torch.tensor(model.config.mean)[:, None, None]
        outputs = dict(zip(model.config.head_names(), model(255 * sample.pictures.flip(1) - mean), strict=True))
    anchors = len(model.config.levels[0].anchors)

    def heads(kind: str) -> torch.Tensor:
        found: torch.Tensor = outputs[f"{kind}_8"].unflatten(1, (anchors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 2)
        return found

    logits = heads("logits")
    margins = logits[..., 1] - logits[..., 0]
    torch.testing.assert_close(margins[..., 1] - margins[..., 1].amax(1, True), scores - scores.amax(1, True))
    assert margins[..., 1].amax(1).median().item() == pytest.approx(4, abs=1e-3)
    assert (margins[..., 0] < -9).all()
    torch.testing.assert_close(heads("box_deltas")[..., 1, :], deltas)
    torch.testing.assert_close(heads("dense")[..., 1, :], values)
    for stride in (16, 32):
        logits = outputs[f"logits_{stride}"].unflatten(1, (anchors, 2))
        assert (logits[:, :, 1] - logits[:, :, 0] < -9).all()
