"""The exported dense branch: plain operators, the results of PyTorch, any number of faces."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch

from engine.config.detection import OPSET
from engine.export.dense import export_dense
from engine.mesh.dense.faces import DenseFaces
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
