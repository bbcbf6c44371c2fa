"""Version 2 of RetinaFaceDecode and RetinaFaceNMS: heads of any kind, as TensorRT calls plugins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine import ops
from tests.csrc.ops.test_heads import LEVELS, Case, random_candidates, random_heads

from .cases import DECODE, NMS
from .device import run
from .driver import FLOAT, HALF, INT32, Array, Library, PluginError
from .test_direct import accepted, assert_same_bits

CASES = {
    "published": Case(),
    "three classes": Case(classes=3),
    "sigmoid, one class, no payload": Case(sigmoid=True, points=0),
    "dense": Case(classes=3, points=68, values=(128, 7, 9), cascade=True),
    "values alone": Case(points=0, values=(2,)),
    "points": Case(values=(3, 18), value_points=(False, True), cascade=True),
}
VERSION = "2"


def attributes_of(case: Case) -> dict[str, Any]:
    """Return the attributes of RetinaFaceDecode."""
    sizes = [size if isinstance(size, tuple) else (size, size) for *_, sizes in LEVELS for size in sizes]
    return {
        "strides": [level[2] for level in LEVELS],
        "anchor_sizes": [float(width) for width, _ in sizes],
        "anchor_heights": [float(height) for _, height in sizes],
        "num_anchors": [len(level[3]) for level in LEVELS],
        "variances": [0.1, 0.2],
        "score_threshold": case.threshold,
        "top_k": case.top_k,
        "cascade": int(case.cascade),
        "num_classes": case.classes,
        "sigmoid": int(case.sigmoid),
        "num_points": case.points,
        "value_sizes": np.array(case.values, np.int32),
        "value_points": np.array(case.value_points, np.int32),
    }


def inputs_of(case: Case, heads: list[tuple[Any, ...]]) -> list[Array]:
    """Return the plugin's inputs: all heads, level by level."""
    return [head for level in heads for head in level if head is not None]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decode_gives_what_the_cpu_gives(library: Library, rng: np.random.Generator, case: Case, dtype: str) -> None:
    """To the last bit, after a clone and serialisation."""
    heads = [tuple(None if h is None else h.astype(dtype) for h in level) for level in random_heads(rng, case)]
    expected = [array for array in ops.decode(heads, **case.options()) if array is not None]
    plugin = library.create(DECODE, attributes_of(case), VERSION)
    assert_same_bits(run(plugin, inputs_of(case, heads)), expected)


@pytest.mark.parametrize(
    ("classes", "payload", "agnostic"),
    [(2, 0, 0), (2, 10, 0), *[(c, p, a) for c, p in ((4, 0), (4, 10), (3, 154)) for a in (0, 1)]],
)
def test_nms_gives_what_the_cpu_gives(
    library: Library, rng: np.random.Generator, classes: int, payload: int, agnostic: int
) -> None:
    """To the last bit; the plugin has no indices."""
    candidates = random_candidates(rng, classes, payload, (200, 0, 171))
    attributes = {"iou_threshold": 0.4, "max_detections": 70, "payload_size": payload, "has_classes": int(classes > 2)}
    found = ops.nms(*candidates, iou_threshold=0.4, max_detections=70, class_agnostic=bool(agnostic))
    expected = [array for array in (*found[:4], found.classes) if array is not None]
    plugin = library.create(NMS, {**attributes, "class_agnostic": agnostic}, VERSION)
    assert_same_bits(run(plugin, [array for array in candidates if array is not None]), expected)


def test_published_heads_give_the_same_bits_in_both_versions(library: Library, rng: np.random.Generator) -> None:
    """Engines that hold version 1 load, and find what version 2 finds."""
    case = Case()
    attributes = attributes_of(case)
    published = {name: attributes[name] for name in list(attributes)[:8]}
    inputs = inputs_of(case, random_heads(rng, case))
    first, second = (
        run(library.create(DECODE, given, version), inputs)
        for given, version in (({**published, "has_landmarks": 1}, "1"), (attributes, VERSION))
    )
    assert_same_bits(first, second)
    nms = {"iou_threshold": 0.4, "max_detections": 20}
    assert_same_bits(
        run(library.create(NMS, {**nms, "has_landmarks": 1}), first),
        run(library.create(NMS, {**nms, "payload_size": 10}, VERSION), first),
    )


def test_values_are_plain_unless_told_otherwise(library: Library, rng: np.random.Generator) -> None:
    """Engines that were built before there was value_points load, and find what they found."""
    case = Case(values=(4, 6))
    inputs = inputs_of(case, random_heads(rng, case))
    attributes = attributes_of(case)
    before = {name: value for name, value in attributes.items() if name != "value_points"}
    plain = {**attributes, "value_points": [0, 0]}
    assert_same_bits(*(run(library.create(DECODE, given, VERSION), inputs) for given in (before, plain)))


def test_shapes_types_and_formats(library: Library) -> None:
    """Classes are the last of inputs and outputs."""
    case = CASES["dense"]
    decode = library.create(DECODE, attributes_of(case), VERSION)
    shapes = [head.shape for head in inputs_of(case, random_heads(np.random.default_rng(1), case))]
    k, payload = case.top_k, case.payload
    assert decode.output_shapes(shapes) == [(3, k, 4), (3, k), (3, k, payload), (3,), (3, k)]
    assert decode.output_types([HALF] * len(shapes)) == [FLOAT, FLOAT, FLOAT, INT32, INT32]
    nms = library.create(
        NMS,
        {"iou_threshold": 0.4, "max_detections": 20, "payload_size": payload, "has_classes": 1},
        VERSION,
    )
    assert nms.output_shapes([(3, k, 4), (3, k), (3, k, payload), (3,), (3, k)]) == [
        *((3,), (3, 20, 4), (3, 20)),
        *((3, 20, payload), (3, 20)),
    ]
    types = [FLOAT, FLOAT, FLOAT, INT32, INT32]
    assert nms.output_types(types) == [INT32, FLOAT, FLOAT, FLOAT, INT32]
    tensors: list[tuple[int, int]] = []
    for kind in [*types, INT32, FLOAT, FLOAT, FLOAT, INT32]:
        assert accepted(nms, 5, tensors) == {(kind, 0)}
        tensors.append((kind, 0))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("num_classes", None, "'num_classes' is missing"),
        ("num_classes", 1, "number of classes is 1, expected 2 to 256: class 0 is the background"),
        ("num_points", 129, "number of points is 129, expected 0 to 128"),
        ("sigmoid", 2, "'sigmoid': expected 0 or 1, got 2"),
        ("value_sizes", [1] * 9, "'value_sizes': expected at most 8 values, got 9"),
        ("value_sizes", [4, 0], "size of values 1 is 0, expected 1 to 1024"),
        ("value_points", [1], "'value_points': expected 3 values, as many as in 'value_sizes', or none, got 1"),
        ("value_points", [0, 2, 0], "'value_points': expected 0 or 1, got 2"),
        ("value_points", [0, 1, 0], "size of values 1 is 7, expected an even number: they are x and y of points"),
        ("value_sizes", [1000], "values of an anchor behind its box is 1256, expected 0 to 1024"),
        ("has_landmarks", 1, "'has_landmarks' is not known"),
    ],
)
def test_wrong_attributes_are_refused(library: Library, attribute: str, value: Any, message: str) -> None:
    """Each message names the attribute or quantity."""
    attributes = {**attributes_of(replace(CASES["dense"], points=128)), attribute: value}
    with pytest.raises(PluginError) as error:
        library.create(DECODE, {name: given for name, given in attributes.items() if given is not None}, VERSION)
    assert message in str(error.value)


def test_heads_that_do_not_fit_are_refused(library: Library) -> None:
    """The message names the head, its level and both shapes."""
    case = CASES["dense"]
    plugin = library.create(DECODE, attributes_of(case), VERSION)
    shapes = [head.shape for head in inputs_of(case, random_heads(np.random.default_rng(1), case))]
    types = [FLOAT] * len(shapes)
    for place, name in ((0, "logits of level 0"), (2, "landmark_deltas of level 0"), (12, "values 1 of level 1")):
        wrong = [*shapes[:place], (3, 5, *shapes[place][2:]), *shapes[place + 1 :]]
        with pytest.raises(PluginError, match=name):
            plugin.shape_change(types, wrong)
    with pytest.raises(PluginError, match=r"expected 14 inputs \(7 heads for each of the 2 levels"):
        plugin.shape_change(types[:-1], shapes[:-1])
    with pytest.raises(PluginError, match="class_agnostic is set, but there are no classes"):
        library.create(NMS, {"iou_threshold": 0.4, "max_detections": 20, "class_agnostic": 1}, VERSION)
