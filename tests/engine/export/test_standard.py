"""Decoding and suppression in standard operators, run by ONNX Runtime, against the operators that engines have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from engine.config.detection import INPUT_NAME, InputSize, Thresholds
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError
from engine.export.standard import surround
from engine.export.suppression import SUPPRESSIONS, check_suppression
from tests.engine.export.tails import BOX_PX, RANGE, SCORE, SIZE, Tail, apart, assert_same, pass_through, random_heads


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["mobilenet0.25", "context", "full", "resnet18-lite", "facedetector-resnet50"])
def test_faces_are_those_of_the_operators(name: str, batch: int, method: str) -> None:
    """With and without landmarks, three and five levels, a cascade, anchors that are no squares, one map rounded up."""
    rng = np.random.default_rng(batch)
    for thresholds in (
        Thresholds(),
        Thresholds(score=0.9, iou=0.2, top_k=100, max_detections=30),  # more candidates than slots, and than faces
        Thresholds(score=0.3, iou=0.7, top_k=60, max_detections=100),  # fewer slots than faces
    ):
        tail = Tail(name, method, thresholds)
        for bias in (0.0, -3.0):
            heads = random_heads(tail.config, rng, batch, bias=bias)
            ours = tail.ours(heads)
            assert ours.num_detections.min() > 3
            assert_same(tail.run(heads), ours)


@pytest.mark.parametrize("method", SUPPRESSIONS)
def test_no_face_and_faces_in_one_image_only(method: str) -> None:
    tail = Tail("full", method, Thresholds(score=0.5))
    heads = random_heads(tail.config, np.random.default_rng(0), 3)
    for name in heads:
        if name.startswith("logits"):
            heads[name][[0, 2], 1::2] -= 100
    assert list(tail.run(heads).num_detections > 0) == [False, True, False]
    assert_same(tail.run(heads), tail.ours(heads))
    heads = {name: head[[0, 2]] for name, head in heads.items()}
    found = tail.run(heads)
    assert not found.num_detections.any()
    assert found.landmarks is not None
    assert not any(values.any() for values in (found.boxes, found.scores, found.landmarks))


@pytest.mark.parametrize("method", SUPPRESSIONS)
def test_a_flood_fills_every_slot(method: str) -> None:
    """More candidates than TensorRT's TopK returns at once, and more faces than slots for them."""
    tail = Tail("mobilenet0.25", method, Thresholds(top_k=4100, max_detections=700), InputSize.fixed(320, 320))
    heads = random_heads(tail.config, np.random.default_rng(1), 2, size=(320, 320), bias=12)
    ours = tail.ours(apart(heads))
    assert list(ours.num_detections) == [700, 700]
    assert_same(tail.run(heads), ours)


@pytest.mark.parametrize("method", SUPPRESSIONS)
def test_equal_scores_are_ordered_by_anchor(method: str) -> None:
    """Scores of four values for more candidates than there are slots: every face in the slot of the operators'."""
    thresholds = Thresholds(top_k=4000, max_detections=4000)
    tail = Tail("mobilenet0.25", method, thresholds, InputSize.fixed(320, 320))
    rng = np.random.default_rng(2)
    heads = apart(random_heads(tail.config, rng, 2, size=(320, 320)))
    for name in heads:
        if name.startswith("logits"):
            heads[name] = rng.choice(np.arange(2, dtype=np.float32), heads[name].shape)
    ours, theirs = tail.ours(heads), tail.run(heads)
    assert ours.num_detections.min() > 3900
    assert len(np.unique(ours.scores[0])) == 4  # one is 0, behind the faces
    assert np.array_equal(theirs.num_detections, ours.num_detections)
    np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=BOX_PX)
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=SCORE)


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (128, 64)])
@pytest.mark.parametrize("top_k", [5, 100, 5000])
def test_one_file_takes_a_range_of_sizes(top_k: int, size: tuple[int, int], method: str) -> None:
    """Also where a small input has fewer anchors (42) than there are slots."""
    tail = Tail("mobilenet0.25", method, Thresholds(top_k=top_k), RANGE)
    heads = random_heads(tail.config, np.random.default_rng(3), 2, size=size, bias=4)
    assert_same(tail.run(heads), tail.ours(heads))


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize("name", ["context", "full"])
def test_values_that_are_not_finite(name: str, method: str) -> None:
    """Margins that are NaN or infinite are no candidates; boxes and landmarks that overflow are left out."""
    tail = Tail(name, method, Thresholds(top_k=200, max_detections=100))
    rng = np.random.default_rng(4)
    heads = random_heads(tail.config, rng, 3, bias=2)
    for head in heads.values():
        where = rng.random(head.shape) < 0.03
        head[where] = rng.choice(np.array([np.nan, np.inf, -np.inf, 3e38, 1e4], np.float32), where.sum())
    ours = tail.ours(heads)
    assert ours.num_detections.min() > 10
    assert_same(tail.run(heads), ours)


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize(("iou", "kept"), [(0.0, 1), (0.249, 1), (0.25, 2), (1.0, 3)])
def test_an_overlap_that_equals_the_threshold_is_allowed(iou: float, kept: int, method: str) -> None:
    """A box of 32 pixels, one of 16 inside it (IoU exactly 1/4; .265 if widths had a + 1), and the first once more."""
    tail = Tail("mobilenet0.25", method, Thresholds(score=0.5, iou=iou, max_detections=10))
    heads = {name: np.zeros((1, *shape), np.float32) for name, shape in tail.config.head_shapes(64, 96).items()}
    for name in heads:
        if name.startswith("logits"):
            heads[name][:, 1::2] = -50
    for anchor, column, score in ((1, 3, 9), (0, 3, 8), (1, 4, 7)):
        heads["logits_8"][0, 2 * anchor + 1, 4, column] = score
    heads["box_deltas_8"][0, 4, 4, 4] = -2.5  # a cell to the left: -2.5 x 0.1 x 32 pixels
    ours = tail.ours(heads)
    assert ours.num_detections[0] == kept
    assert_same(tail.run(heads), ours)


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_the_score_threshold_is_not_passed_by_what_equals_it(score: float, method: str) -> None:
    """With 0 every finite margin passes, down to scores that are 0; with 1 none."""
    tail = Tail("mobilenet0.25", method, Thresholds(score=score, iou=1.0))
    heads = random_heads(tail.config, np.random.default_rng(5), 2)
    for name in heads:
        if name.startswith("logits"):
            heads[name] = np.round(heads[name])  # many margins are 0, whose score is 0.5
            heads[name][:, 1] = -200
    ours = tail.ours(heads)
    count = ours.num_detections.max()
    anchors = tail.config.num_anchors(64, 96)
    assert {0.0: count == anchors, 0.5: 10 < count < anchors / 2, 1.0: count == 0}[score]
    assert_same(tail.run(heads), ours)


@pytest.mark.parametrize("name", PRESETS)
def test_normalisation_is_that_of_the_letterbox(name: str) -> None:
    """To the last bit: (level - mean) / std in float32."""
    config = preset(name)
    model = surround(pass_through(config, SIZE), config, Thresholds(), SIZE, "nms")
    model.graph.output.append(helper.make_tensor_value_info("normalised_images", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(6).integers(0, 256, (2, 3, 64, 96)).astype(np.float32)
    given = {f"given_{n}": np.zeros((2, *shape), np.float32) for n, shape in config.head_shapes(64, 96).items()}
    (normalised,) = session.run(["normalised_images"], {INPUT_NAME: images, **given})
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (config.mean, config.std))
    assert np.array_equal(normalised, (images - mean) / std)


def test_only_standard_operators() -> None:
    for method in SUPPRESSIONS:
        config = preset("full")
        model = surround(pass_through(config, SIZE), config, Thresholds(), SIZE, method)
        assert [opset.domain for opset in model.opset_import] == [""]
        assert {node.domain for node in model.graph.node} == {""}
        operators = {node.op_type for node in model.graph.node}
        assert ("NonMaxSuppression" in operators, "Loop" in operators) == (method == "nms", method == "loop")


def test_voting_and_unknown_methods_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"voting is on.*leave --voting out"):
        check_suppression("nms", replace(Thresholds(), voting=True))
    with pytest.raises(InvalidArgumentError, match="'soft', expected one of: nms, loop"):
        check_suppression("soft", Thresholds())
