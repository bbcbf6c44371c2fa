"""Every preset as engines, and the paper's model on everything that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from engine import TRTRetinaFace, ops
from engine.backend.plugin_library import DECODE_PLUGIN, DEFORM_CONV_PLUGIN, NMS_PLUGIN, plugin_library
from engine.build.plan import PlanOptions, Toolchain, build_plan
from engine.config.detection import InputSize, Thresholds
from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS, preset
from engine.export.attach import attach_detection
from engine.model.deform_conv import DeformableConv
from engine.model.retinaface import RetinaFace
from engine.model.weights import load as weights
from engine.precision.cast import to_fp16
from engine.types import WeightsOrigin
from tests.support.backends import Backend
from tests.support.engines import build, rtx
from tests.support.family import random_images, settled_model
from tests.support.oracles.anchor_decode import anchor_decode
from tests.support.oracles.batched_nms import nms as nms_oracle
from tests.support.shared import exported

SIZE = InputSize.fixed(64, 96)
THRESHOLDS = Thresholds(score=0.5, top_k=300, max_detections=100)
Heads = list[NDArray[np.float32]]
Faces = list[NDArray[Any]]  # boxes, scores, landmarks


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    """In both precisions, for a small input; in float16 alone where another preset has all the layers."""
    backend, config = rtx(), preset(name)
    # The weights with which other tests export the same network.
    model = settled_model(name) if name in ("context", "full") else weights.load_model(config, "random")[0]
    network = exported(model, SIZE)
    wide = [] if name == "retinaface-resnet50-dense" or config.backbone == "resnet152" else [network]
    for typed in (*wide, to_fp16(network)):
        detector = attach_detection(typed, config, Thresholds())
        plan = build_plan(detector, Toolchain(backend, plugin_library(), ("portable",)), PlanOptions(SIZE, 2))
        assert plan.plugins[-2:] == (DECODE_PLUGIN, NMS_PLUGIN)
        assert len(plan.plugins) == 2 + (25 if config.context == "deformable" else 0)


@pytest.mark.parametrize("name", ["context", "full", "resnet18-lite", "retinaface-resnet50"])
def test_presets_run_on_the_cpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without landmarks, as a cascade, with a last map that is rounded up (96 = 1.5 * 64), and deformable."""
    model = settled_model(name)
    origin = WeightsOrigin("settled", None, None, "")
    monkeypatch.setattr("engine.build.pipeline.load_model", lambda *_: (model, origin))
    path = tmp_path / "faces.engine"
    report = build(path, config=name, precision="fp32", size=SIZE, thresholds=THRESHOLDS)
    assert (DEFORM_CONV_PLUGIN in report.sidecar.plugins.versions) == (model.config.context == "deformable")
    detector = TRTRetinaFace(path, "cpu")
    image = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    faces = detector.detect(image)
    assert len(faces.boxes) > 3
    batch = torch.from_numpy(detector._letterbox.batch([image]))
    with torch.no_grad():
        boxes, scores, *landmarks = faces_of([head.numpy() for head in model(batch)], model.config)
    np.testing.assert_allclose(faces.scores, scores, atol=1e-4)
    np.testing.assert_allclose(faces.boxes, boxes, atol=0.05, rtol=1e-4)
    assert (faces.landmarks is None) == (not model.config.has_landmarks)
    if faces.landmarks is not None:
        np.testing.assert_allclose(faces.landmarks.reshape(-1, 10), landmarks[0], atol=0.05, rtol=1e-4)


def faces_of(heads: Heads, config: RetinaFaceConfig) -> Faces:
    """The first image's faces, by the oracles."""
    levels = config.decoder_heads(heads)
    found = anchor_decode(
        levels,
        [level.stride for level in config.levels],
        [level.anchors for level in config.levels],
        config.variances,
        THRESHOLDS.score,
        THRESHOLDS.top_k,
    )[0]
    narrow = (found.boxes.astype(np.float32), found.scores.astype(np.float32))
    kept = nms_oracle(*narrow, len(found.scores), THRESHOLDS.iou, THRESHOLDS.max_detections).indices
    landmarks = [] if found.payload is None else [found.payload[kept]]
    return [found.boxes[kept], found.scores[kept], *landmarks]


@pytest.fixture(scope="module")
def paper() -> RetinaFace:
    """The paper's ResNet-50 model: deformable context, cascade."""
    return settled_model("retinaface-resnet50")


@pytest.fixture(scope="module")
def paper_network(paper: RetinaFace) -> onnx.ModelProto:
    """The same as an ONNX file."""
    return exported(paper, SIZE)


def with_operators(model: RetinaFace, backend: Backend) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    """Run the model with its deformable convolutions computed by engine.ops."""

    def convolve(module: DeformableConv, inputs: tuple[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        operands = (x, module.weight, module.offset(x))
        placed = [backend.put(np.ascontiguousarray(tensor.detach().numpy())) for tensor in operands]
        return torch.from_numpy(backend.get(ops.deform_conv(*placed, padding=1)).copy())

    def run(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        convolutions = [module for module in model.modules() if isinstance(module, DeformableConv)]
        hooks = [module.register_forward_hook(convolve) for module in convolutions]
        try:
            with torch.no_grad():
                outputs: tuple[torch.Tensor, ...] = model(images)
                return outputs
        finally:
            for hook in hooks:
                hook.remove()

    return run


def test_equal_faces_everywhere(paper: RetinaFace, paper_network: onnx.ModelProto, backend: Backend) -> None:
    """PyTorch, ONNX Runtime and the operators agree on network, decoding and suppression."""
    import onnxruntime

    config, images = paper.config, random_images(paper.config, 1, 3, 64, 96)
    with torch.no_grad():
        in_pytorch = faces_of([head.numpy() for head in paper(torch.from_numpy(images))], config)
    session = onnxruntime.InferenceSession(paper_network.SerializeToString(), providers=["CPUExecutionProvider"])
    in_onnx_runtime = faces_of(session.run(config.head_names(), {"images": images}), config)

    heads = [backend.put(head.numpy()) for head in with_operators(paper, backend)(torch.from_numpy(images))]
    candidates = ops.decode(
        config.decoder_heads(heads),
        strides=[level.stride for level in config.levels],
        anchor_sizes=[level.anchors for level in config.levels],
        variances=config.variances,
        score_threshold=THRESHOLDS.score,
        top_k=THRESHOLDS.top_k,
    )
    detected = ops.nms(*candidates, iou_threshold=THRESHOLDS.iou, max_detections=THRESHOLDS.max_detections)
    count = int(backend.get(detected.num_detections)[0])
    arrays = (detected.boxes, detected.scores, detected.payload)
    by_operators = [backend.get(array)[0, :count] for array in arrays]

    assert count > 10
    for others in (in_onnx_runtime, by_operators):
        for mine, theirs, tolerance in zip(in_pytorch, others, (0.05, 1e-4, 0.05), strict=True):
            # Seventy layers that sum in another order: 1e-5 of the heads, times anchors of up to 406 pixels.
            np.testing.assert_allclose(theirs, mine, atol=tolerance, rtol=1e-4)


def test_random_offsets_matter(paper: RetinaFace) -> None:
    """Without offsets the faces differ; else the tests above would show little."""
    still = settled_model("retinaface-resnet50")
    for module in still.modules():
        if isinstance(module, DeformableConv):
            torch.nn.init.zeros_(module.offset.weight)
    images = torch.from_numpy(random_images(preset("retinaface-resnet50"), 1, 3, 64, 96))
    with torch.no_grad():
        assert float((paper(images)[0] - still(images)[0]).abs().max()) > 0.1
