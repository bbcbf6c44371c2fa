"""The plugin objects, called as TensorRT calls them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .cases import (
    DECODE,
    DECODE_ATTRIBUTES,
    DTYPES,
    NMS,
    NMS_ATTRIBUTES,
    REFUSED,
    Heads,
    changed,
    expected_detections,
    random_candidates,
)
from .device import prepare, run
from .driver import (
    BF16,
    DATA_TYPES,
    FLOAT,
    FORMATS,
    HALF,
    INT32,
    LINEAR,
    Array,
    FieldCollection,
    Library,
    Plugin,
    PluginError,
)


def assert_same_bits(actual: list[Array], expected: list[Array]) -> None:
    """Compare all outputs, dtypes and shapes included."""
    assert [(a.shape, a.dtype) for a in actual] == [(e.shape, e.dtype) for e in expected]
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a.view(np.int32), e.view(np.int32))


def test_creators(library: Library) -> None:
    both = [(name, version) for name in (DECODE, NMS) for version in "12"]
    assert sorted(library.creators) == sorted([("DeformConv", "1"), ("RetinaFaceDeformConv", "1"), *both])
    for name, attributes in ((DECODE, DECODE_ATTRIBUTES), (NMS, NMS_ATTRIBUTES)):
        creator = library.creators[name, "1"]
        assert library.call("creator_namespace", creator) == b""
        fields = FieldCollection.at(library.call("creator_fields", creator))
        assert sorted(f.name.decode() for f in fields) == sorted(attributes)


@pytest.mark.skipif(not shutil.which("nm"), reason="nm is not installed")
def test_nothing_else_is_exported(library: Library) -> None:
    command = ["nm", "--dynamic", "--defined-only", str(library.path)]
    symbols = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert sorted(line.split()[-1] for line in symbols.splitlines()) == ["getCreators", "setLoggerFinder"]


@pytest.mark.parametrize(("name", "attribute", "value", "message"), REFUSED)
def test_wrong_attributes_are_refused(
    any_library: Library, name: str, attribute: str, value: Any, message: str
) -> None:
    value = np.array([], np.int32) if value == [] else value
    with pytest.raises(PluginError) as error:
        any_library.create(name, changed(name, attribute, value))
    assert f"{name}: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("name", [DECODE, NMS])
def test_unknown_doubled_and_wide_attributes_are_refused(library: Library, name: str) -> None:
    attributes = changed(name, "has_landmarks", 1)
    with pytest.raises(PluginError, match="'nonsense' is not known"):
        library.create(name, {**attributes, "nonsense": 1})
    with pytest.raises(PluginError, match="'has_landmarks' is given twice"):
        library.create(name, [*attributes.items(), ("has_landmarks", 1)])
    with pytest.raises(PluginError, match="'has_landmarks': expected INT32, got INT64"):
        library.create(name, {**attributes, "has_landmarks": np.array([1], np.int64)})
    with pytest.raises(PluginError, match="field collection is null"):
        library.create_from(name, None, 0)


def test_defaults(library: Library) -> None:
    decode = library.create(DECODE, changed(DECODE, "has_landmarks", None))
    assert decode.fields()["has_landmarks"] == [1]
    nms = library.create(NMS, {"iou_threshold": 0.4, "max_detections": 20})
    assert (nms.fields()["voting"], nms.fields()["has_landmarks"]) == ([0], [1])


@pytest.mark.parametrize("name", [DECODE, NMS])
def test_serialised_attributes_survive(library: Library, name: str) -> None:
    attributes = {**changed(name, "has_landmarks", 0), **({"voting": 1} if name == NMS else {})}
    plugin = library.create(name, attributes)
    expected = {key: np.array(value, np.float32).reshape(-1).tolist() for key, value in attributes.items()}
    for copy in (plugin, plugin.clone(), plugin.attach(), plugin.recreate(), plugin.clone().recreate().attach()):
        assert copy.fields() == expected
        assert copy.num_outputs == 3


@pytest.mark.parametrize("landmarks", [True, False])
def test_a_copy_runs_on_as_many_inputs_as_the_original_was_configured_for(
    library: Library, rng: np.random.Generator, landmarks: bool
) -> None:
    """Enqueue does not get their number, and TensorRT need not tell it to each copy."""
    plugin = library.create(NMS, changed(NMS, "has_landmarks", int(landmarks)))
    inputs = random_candidates(rng, 2, 30, landmarks)
    expected = run(plugin, inputs)
    launch = prepare(plugin, inputs)
    for copy in (plugin, plugin.clone(), plugin.clone().attach()):
        launch.plugin = copy
        launch.enqueue()
        assert_same_bits(launch.outputs(), expected)


@pytest.mark.parametrize("landmarks", [True, False])
def test_decode_shapes_and_types(library: Library, landmarks: bool) -> None:
    plugin = library.create(DECODE, Heads(1, 64, 64, landmarks=landmarks, top_k=7).attributes)
    shapes = [(-1, channels, -1, -1) for _, channels, _, _ in Heads(1, 64, 64, landmarks=landmarks).shapes()]
    expected = [(-1, 7, 4), (-1, 7), (-1, 7, 10), (-1,)]
    types = [FLOAT, FLOAT, FLOAT, INT32]
    if not landmarks:
        del expected[2], types[2]
    assert plugin.output_shapes(shapes) == expected
    assert plugin.output_shapes([(5, *shape[1:]) for shape in shapes])[-1] == (5,)
    assert plugin.output_types([HALF] * len(shapes)) == types


@pytest.mark.parametrize("landmarks", [True, False])
def test_nms_shapes_and_types(library: Library, landmarks: bool) -> None:
    plugin = library.create(NMS, changed(NMS, "has_landmarks", int(landmarks)))
    inputs = [(-1, 30, 4), (-1, 30), (-1, 30, 10), (-1,)]
    expected = [(-1,), (-1, 20, 4), (-1, 20), (-1, 20, 10)]
    if not landmarks:
        del inputs[2], expected[3]
    assert plugin.output_shapes(inputs) == expected
    assert plugin.output_types([FLOAT] * (len(inputs) - 1) + [INT32]) == [INT32] + [FLOAT] * (len(expected) - 1)


def accepted(plugin: Plugin, num_inputs: int, before: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return all (type, format) that the plugin accepts for the tensor after `before`."""
    every = itertools.product(DATA_TYPES, FORMATS)
    return {one for one in every if plugin.supports(len(before), [*before, one], num_inputs)}


@pytest.mark.parametrize("landmarks", [True, False])
def test_decode_formats(library: Library, landmarks: bool) -> None:
    plugin = library.create(DECODE, Heads(1, 64, 64, landmarks=landmarks).attributes)
    num_inputs = 9 if landmarks else 6
    assert accepted(plugin, num_inputs, []) == {(FLOAT, LINEAR), (HALF, LINEAR), (BF16, LINEAR)}
    for data_type in (FLOAT, HALF, BF16):
        tensors = [(data_type, LINEAR)]
        rest = [(data_type, LINEAR)] * (num_inputs - 1) + [(FLOAT, LINEAR)] * (plugin.num_outputs - 1)
        for only in [*rest, (INT32, LINEAR)]:
            assert accepted(plugin, num_inputs, tensors) == {only}
            tensors.append(only)


def test_a_cascade_has_another_head(library: Library) -> None:
    heads = Heads(2, 64, 64, cascade=True)
    plugin = library.create(DECODE, heads.attributes)
    shapes = list(heads.shapes())
    types = [FLOAT] * len(shapes)
    plugin.configure(types, [(s, s) for s in shapes])
    shapes[7] = (2, 10, 4, 4)
    with pytest.raises(PluginError, match=r"anchor_deltas of level 1: expected the shape \[2, 8, 4, 4\], got \[2, 10"):
        plugin.shape_change(types, shapes)
    with pytest.raises(PluginError, match=r"expected 12 inputs \(4 heads for each of the 3 levels"):
        plugin.output_shapes(shapes[:9])


@pytest.mark.parametrize("landmarks", [True, False])
def test_nms_formats(library: Library, landmarks: bool) -> None:
    plugin = library.create(NMS, changed(NMS, "has_landmarks", int(landmarks)))
    floats = [(FLOAT, LINEAR)] * (3 if landmarks else 2)
    tensors: list[tuple[int, int]] = []
    for only in [*floats, (INT32, LINEAR), (INT32, LINEAR), *floats]:
        assert accepted(plugin, len(floats) + 1, tensors) == {only}
        tensors.append(only)


HEADS = [
    Heads(1, 64, 64),
    Heads(0, 64, 64),
    Heads(3, 104, 72, landmarks=False),
    Heads(3, 104, 72, dtype="float16"),
    Heads(2, 72, 136, dtype="bfloat16", score_threshold=0.1),
    Heads(2, 40, 24, strides=(8,), num_anchors=(3,), top_k=5000, score_threshold=0.0),
    Heads(1, 96, 160, (4, 8, 16, 32, 64), (1, 2, 3, 1, 2), dtype="float16", score_threshold=0.02, top_k=1000),
    Heads(2, 64, 96, strides=(16, 8), num_anchors=(8, 1), landmarks=False, dtype="float16", top_k=1),
    Heads(2, 64, 64, score_threshold=1.0),
    Heads(2, 64, 64, square=False),
    Heads(3, 104, 72, cascade=True, square=False),
    Heads(2, 64, 64, landmarks=False, cascade=True, dtype="float16"),
    Heads(1, 96, 160, (4, 8, 16, 32, 64), (3,) * 5, cascade=True, dtype="bfloat16", score_threshold=0.02, top_k=1000),
]


@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_decode_gives_what_the_cpu_gives(library: Library, heads: Heads, rng: np.random.Generator) -> None:
    inputs = heads.random(rng)
    assert_same_bits(run(library.create(DECODE, heads.attributes), inputs), heads.expected(inputs))


@pytest.mark.parametrize("landmarks", [True, False])
@pytest.mark.parametrize("voting", [0, 1])
@pytest.mark.parametrize(("batch", "slots"), [(1, 1), (0, 10), (3, 67), (2, 300)])
def test_nms_gives_what_the_cpu_gives(
    library: Library, landmarks: bool, voting: int, batch: int, slots: int, rng: np.random.Generator
) -> None:
    attributes = {**NMS_ATTRIBUTES, "voting": voting, "has_landmarks": int(landmarks)}
    inputs = random_candidates(rng, batch, slots, landmarks)
    assert_same_bits(run(library.create(NMS, attributes), inputs), expected_detections(inputs, attributes))


def test_nms_survives_counts_out_of_range(library: Library, rng: np.random.Generator) -> None:
    """When a builder times layers, their inputs are arbitrary memory."""
    inputs = random_candidates(rng, 3, 40, landmarks=True)
    inputs[-1][:] = [-(2**31), 41, 2**31 - 1]
    clamped = [*inputs[:-1], np.array([0, 40, 40], np.int32)]
    actual = run(library.create(NMS, NMS_ATTRIBUTES), inputs)
    assert_same_bits(actual, expected_detections(clamped, NMS_ATTRIBUTES))


@pytest.mark.parametrize("dtype", DTYPES)
def test_decode_in_a_workspace_for_larger_shapes(library: Library, dtype: str, rng: np.random.Generator) -> None:
    heads = Heads(2, 64, 96, dtype=dtype)
    inputs = heads.random(rng)
    actual = run(library.create(DECODE, heads.attributes), inputs, Heads(16, 640, 1280).shapes())
    assert_same_bits(actual, heads.expected(inputs))


def test_workspace_never_shrinks_with_shapes(library: Library, rng: np.random.Generator) -> None:
    """TensorRT queries the size for the largest shapes and uses that workspace for smaller ones."""
    decode = library.create(DECODE, Heads(1, 64, 64, top_k=1000).attributes)
    for _ in range(200):
        batch, height, width = (int(v) for v in rng.integers(1, (17, 1281, 1281)))
        fewer, lower, narrower = (int(v) for v in rng.integers(1, (batch + 1, height + 1, width + 1)))
        low = Heads(fewer, lower, narrower).shapes()
        high = Heads(batch, height, width).shapes()
        types = [HALF] * 9
        smaller, larger = (decode.workspace_bytes(types, [(s, s) for s in shapes]) for shapes in (low, high))
        assert smaller <= larger
        assert decode.workspace_bytes(types, list(zip(low, high, strict=True))) == larger

    nms = library.create(NMS, NMS_ATTRIBUTES)
    types = [FLOAT] * 3 + [INT32]
    sizes = []
    for batch in range(1, 17):
        shapes = [(batch, 1000, 4), (batch, 1000), (batch, 1000, 10), (batch,)]
        sizes.append(nms.workspace_bytes(types, [(s, s) for s in shapes]))
    assert sizes == sorted(sizes)


def test_decode_in_a_graph(library: Library, rng: np.random.Generator) -> None:
    heads = Heads(2, 104, 72, dtype="float16")
    launch = prepare(library.create(DECODE, heads.attributes), heads.random(rng))
    graph = launch.capture(launch.enqueue)
    inputs = heads.random(rng)  # not those of the capture: a graph holds work, not results
    launch.set_inputs(inputs)
    assert_same_bits(launch.replay(graph, 3), heads.expected(inputs))


def test_nms_in_a_graph(library: Library, rng: np.random.Generator) -> None:
    launch = prepare(library.create(NMS, NMS_ATTRIBUTES), random_candidates(rng, 3, 150, landmarks=True))
    graph = launch.capture(launch.enqueue)
    inputs = random_candidates(rng, 3, 150, landmarks=True)
    launch.set_inputs(inputs)
    assert_same_bits(launch.replay(graph, 3), expected_detections(inputs, NMS_ATTRIBUTES))


def wrong_shapes() -> list[tuple[str, list[tuple[int, ...]], str]]:
    """Return (plugin, shapes of its inputs, text of the message)."""
    heads: list[tuple[int, ...]] = list(Heads(2, 64, 64).shapes())
    candidates: list[tuple[int, ...]] = [(2, 30, 4), (2, 30), (2, 30, 10), (2,)]

    def with_input(shapes: list[tuple[int, ...]], i: int, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [*shapes[:i], shape, *shapes[i + 1 :]]

    return [
        (DECODE, heads[:-1], "expected 9 inputs"),
        (DECODE, [*heads, heads[0]], "expected 9 inputs"),
        (DECODE, with_input(heads, 0, (2, 4, 64)), "logits of level 0"),
        (DECODE, with_input(heads, 3, (2, 6, 4, 4)), "logits of level 1: expected the shape [2, 4, 4, 4], got [2, 6"),
        (DECODE, with_input(heads, 4, (2, 8, 4, 5)), "box_deltas of level 1: expected the shape [2, 8, 4, 4], got"),
        (DECODE, with_input(heads, 8, (3, 20, 2, 2)), "landmark_deltas of level 2: expected the shape [2, 20, 2, 2]"),
        (DECODE, list(Heads(1, 10240, 10240).shapes()), "number of anchors per image is 4300800"),
        (NMS, candidates[:-1], "expected 4 inputs (boxes, scores, landmarks, count), got 3"),
        (NMS, with_input(candidates, 0, (2, 30, 5)), "boxes: expected the shape [2, 30, 4], got [2, 30, 5]"),
        (NMS, with_input(candidates, 1, (2, 29)), "scores: expected the shape [2, 30], got [2, 29]"),
        (NMS, with_input(candidates, 2, (2, 30)), "landmarks: expected the shape [2, 30, 10], got [2, 30]"),
        (NMS, with_input(candidates, 3, (3,)), "count: expected the shape [2], got [3]"),
        (NMS, [(1, 5001, 4), (1, 5001), (1, 5001, 10), (1,)], "number of candidates is 5001"),
    ]


@pytest.mark.parametrize(("name", "shapes", "message"), wrong_shapes())
def test_inconsistent_inputs_are_refused(
    library: Library, name: str, shapes: list[tuple[int, ...]], message: str
) -> None:
    plugin = library.create(name, DECODE_ATTRIBUTES if name == DECODE else NMS_ATTRIBUTES)
    types = [FLOAT] * len(shapes)
    calls: list[Callable[[], object]] = [
        lambda: plugin.configure(types, [(s, s) for s in shapes]),
        lambda: plugin.shape_change(types, shapes),
        lambda: plugin.enqueue(types, shapes, [0] * len(shapes), [0] * plugin.num_outputs, 0, 0),
    ]
    if "inputs" in message:
        calls = [lambda: plugin.output_shapes(shapes), lambda: plugin.output_types(types)]
    for call in calls:
        with pytest.raises(PluginError) as error:
            call()
        assert message in str(error.value)


def test_a_failing_launch_is_a_failing_enqueue(library: Library, rng: np.random.Generator) -> None:
    heads = Heads(1, 64, 64)
    launch = prepare(library.create(DECODE, heads.attributes), heads.random(rng))

    def spoil_and_enqueue() -> None:
        library.call("synchronise", launch.stream)  # not allowed during capture
        launch.enqueue()

    with pytest.raises(PluginError, match="the launch failed: cudaErrorStreamCapture"):
        launch.capture(spoil_and_enqueue)
