"""The exported dense branch: plain operators, the results of PyTorch, any number of faces."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch

from engine.config.detection import OPSET
from engine.export.dense import export_dense, export_meshes
from engine.mesh.dense.faces import DenseFaces
from engine.mesh.dense.output import MeshOutput
from engine.mesh.dense.run import DenseDecoder
from engine.mesh.levels import make_levels
from tests.engine.mesh.meshes import mask


def test_the_exported_branch_is_pytorchs(rng: np.random.Generator) -> None:
    torch.manual_seed(1)
    faces = DenseFaces(make_levels(mask(9, 8), [20, 8]))
    torch.nn.init.normal_(faces.decoder.last.weight, std=0.1)
    network = export_dense(faces)
    assert [entry.version for entry in network.opset_import if not entry.domain] == [OPSET]
    assert {node.domain for node in network.graph.node} == {""}
    onnx.checker.check_model(network, full_check=True)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [entry.shape for entry in session.get_outputs()] == [["faces", 72, 3]] * 2
    for number in (0, 1, 2, 5):
        values = rng.normal(0, 0.5, (number, 144)).astype(np.float32)
        corners = rng.uniform(0, 50, (number, 2, 2)).astype(np.float32)
        boxes = np.concatenate([corners[:, 0], corners[:, 0] + corners[:, 1] + 10], axis=1)
        vertices, colours = session.run(None, {"values": values, "boxes": boxes})
        with torch.no_grad():
            expected = faces(torch.from_numpy(values), torch.from_numpy(boxes))
        assert vertices.shape == colours.shape == (number, 72, 3)
        # Pixels up to about 200, in float32.
        assert np.allclose(vertices, expected[0].numpy(), atol=1e-3, rtol=1e-5)
        assert np.allclose(colours, expected[1].numpy(), atol=1e-5)
        assert ((colours >= 0) & (colours <= 1)).all()


def test_places_without_a_face_are_zero(rng: np.random.Generator) -> None:
    """The end of a detector: the first three of four faces of an image, of which there may be fewer."""
    torch.manual_seed(1)
    weights = DenseFaces(make_levels(mask(9, 8), [20, 8])).decoder.weights()
    weights.tensors["last.weight"][:] = rng.normal(0, 0.1, weights.tensors["last.weight"].shape)
    graph = export_meshes(weights, MeshOutput("dense.npz", "0" * 64, 72, 3, colours=True))
    network = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    values = rng.normal(0, 0.5, (2, 4, 144)).astype(np.float32)
    boxes = np.tile(np.array([0, 5, 40, 50], np.float32), (2, 4, 1))
    boxes[0, 1:] = values[0, 1:] = 0
    named = dict(zip([entry.name for entry in session.get_inputs()], (values, boxes), strict=True))
    for given, name in zip(session.run(None, named), ("vertices", "colours"), strict=True):
        assert given.shape == (2, 3, 72, 3)
        assert not given[0, 1:].any()
        for image, face in ((0, 0), (1, 0), (1, 1), (1, 2)):
            expected = DenseDecoder(weights).decode(values[image, face][None], boxes[image, face][None])
            # Pixels up to about 50, in float32.
            assert np.allclose(given[image, face], getattr(expected, name)[0], atol=1e-3)
