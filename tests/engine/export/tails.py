"""Decoding and suppression in standard operators behind given heads, and how their faces are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engine.config.detection import INPUT_NAME, INTEGER_OUTPUTS, OPSET, InputSize, Thresholds, output_shapes
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.export.standard import surround
from engine.runtime.cpu.session import detect
from engine.types import RawDetections

# Both exponentials are right to about one unit in the last place, 6e-8 of a score and of a box's sides. A few boxes
# here reach far beyond the picture.
SCORE, BOX_PX, BOX_RELATIVE = 5e-7, 1e-3, 1e-6
SIZE = InputSize.fixed(64, 96)
RANGE = InputSize((32, 32), (64, 96), (128, 128))
Heads = dict[str, NDArray[np.float32]]


def pass_through(config: RetinaFaceConfig, size: InputSize) -> onnx.ModelProto:
    """A network whose heads are given, instead of computed from the image."""
    fixed = size.minimum == size.maximum
    given, heads = [], []
    for name, (channels, *cells) in config.head_shapes(*size.optimum).items():
        shape = ["batch", channels, *(cells if fixed else (f"rows_{name}", f"columns_{name}"))]
        given.append(helper.make_tensor_value_info(f"given_{name}", TensorProto.FLOAT, shape))
        heads.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    sides = size.optimum if fixed else ("height", "width")
    images = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", 3, *sides])
    nodes = [helper.make_node("Identity", [f"given_{head.name}"], [head.name]) for head in heads]
    graph = helper.make_graph(nodes, "network", [images, *given], heads)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def random_heads(
    config: RetinaFaceConfig, rng: np.random.Generator, batch: int, *, size: tuple[int, int] = (64, 96), bias: float = 0
) -> Heads:
    """Draw heads; margins are 2 sqrt(2) wide around `bias`."""
    shapes = config.head_shapes(*size)
    heads = {name: rng.normal(0, 0.5, (batch, *shape)).astype(np.float32) for name, shape in shapes.items()}
    for name in heads:
        if name.startswith("logits"):
            heads[name] *= 4
            heads[name][:, 1::2] += bias
    return heads


def apart(heads: Heads) -> Heads:
    """Change heads so that boxes are a fraction of their anchors, and few overlap."""
    for name, head in heads.items():
        if name.startswith("box_deltas"):
            head[:, 2::4] = head[:, 3::4] = -15
    return heads


class Tail:
    """Decoding and suppression behind given heads."""

    def __init__(
        self, config: RetinaFaceConfig | str, method: str, thresholds: Thresholds, size: InputSize = SIZE
    ) -> None:
        """Make the file, of a config or a preset, and load it."""
        self.config = preset(config) if isinstance(config, str) else config
        self.thresholds, self._size = thresholds, size
        model = surround(pass_through(self.config, size), self.config, thresholds, size, method)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, heads: Heads) -> RawDetections:
        """Return the file's outputs, whose names, types and shapes are checked."""
        batch = len(next(iter(heads.values())))
        images = np.zeros((batch, 3, *self._size.optimum), np.float32)  # not read
        given: dict[str, Any] = {f"given_{name}": head for name, head in heads.items()}
        names = list(output_shapes(self.config, self.thresholds))
        assert [output.name for output in self._session.get_outputs()] == names
        outputs = dict(zip(names, self._session.run(names, {INPUT_NAME: images, **given}), strict=True))
        for output, shape in output_shapes(self.config, self.thresholds).items():
            assert outputs[output].shape == (batch, *shape)
            assert outputs[output].dtype == (np.int32 if output in INTEGER_OUTPUTS else np.float32)
        return RawDetections.of(outputs)

    def ours(self, heads: Heads) -> RawDetections:
        """Return what the operators give."""
        return detect([heads[name] for name in self.config.head_names()], self.config, self.thresholds)


def assert_same(given: RawDetections, wanted: RawDetections) -> None:
    """Check that the faces are the same; those of equal scores may be in another order."""
    assert np.array_equal(given.num_detections, wanted.num_detections)
    np.testing.assert_allclose(given.scores, wanted.scores, atol=SCORE, rtol=0)
    for image, count in enumerate(wanted.num_detections):
        near = np.abs(given.scores[image, :count, None] - wanted.scores[image, None, :count]) <= SCORE
        for ours, theirs in zip(_numbers(given), _numbers(wanted), strict=True):
            # Behind the faces all is zero.
            assert not ours[image, count:].any()
            one, other = ours[image, :count, None], theirs[image, None, :count]
            near &= np.isclose(one, other, rtol=BOX_RELATIVE, atol=BOX_PX).all(axis=2)
        assert near.any(axis=0).all()
        assert near.any(axis=1).all()


def _numbers(found: RawDetections) -> list[NDArray[np.float32]]:
    """Return all that a face has beside its score, each [N, M, numbers]."""
    classes = None if found.classes is None else found.classes[..., None].astype(np.float32)
    there = [found.boxes, found.landmarks, classes, *(found.values[name] for name in sorted(found.values))]
    return [array for array in there if array is not None]
