"""The plugin of deformable convolution, called as TensorRT calls it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.csrc.ops.test_deform_conv import CASES, EPSILON, Case, Tensors, expect, rounded
from tests.support.tolerances import DEFORM_CONV_ABSOLUTE, DEFORM_CONV_ROUNDINGS

from .cases import DTYPES
from .device import Memory
from .driver import BF16, DATA_TYPES, FLOAT, FORMATS, HALF, HWC8, LINEAR, Array, Library, Plugin, PluginError

NAME, STANDARD_NAME = "RetinaFaceDeformConv", "DeformConv"
TYPES = {"float32": FLOAT, "float16": HALF, "bfloat16": BF16}
PLAIN = Case("plain", batch=2, channels=(16, 24))


def attributes_of(case: Case) -> dict[str, Any]:
    """Return the attributes as the ONNX parser passes them."""
    return {
        "kernel_shape": list(case.kernel),
        "strides": list(case.stride),
        "pads": list(case.padding),
        "dilations": list(case.dilation),
        "group": case.groups,
        "offset_group": case.offset_groups,
    }


def to_hwc8(array: Array) -> Array:
    """Convert to channels last, padded to a multiple of 8 with NaN, which must not affect the result."""
    batch, channels, height, width = array.shape
    result = np.full((batch, height, width, -(-channels // 8) * 8), np.nan, array.dtype)
    result[..., :channels] = array.transpose(0, 2, 3, 1)
    return result


class Convolution:
    """A plugin ready to run, and its tensors on the device."""

    def __init__(
        self, plugin: Plugin, tensors: Tensors, dtype: str, hwc8: bool = False, largest: Tensors | None = None
    ) -> None:
        """Make the calls of building and loading an engine, up to the enqueue.

        The profile is from the tensors' shapes to those of `largest`, for which the workspace is.
        """
        self._given = [t.astype(DTYPES[dtype]) for t in tensors if t is not None]
        self.shapes = [t.shape for t in self._given]
        self.types = [TYPES[dtype]] * len(self._given)
        most = [t.shape for t in largest or tensors if t is not None]
        profile = list(zip(self.shapes, most, strict=True))
        plugin.configure(self.types, profile)
        self.plugin = plugin.clone().recreate().attach()
        self._hwc8 = hwc8
        if hwc8:
            self.plugin.formats = {0: HWC8, len(self._given): HWC8}
            self._given[0] = to_hwc8(self._given[0])
        assert self.plugin.output_types(self.types) == self.types[:1]
        self.plugin.shape_change(self.types, self.shapes)
        library = plugin.library
        self._inputs = [Memory(library, t.nbytes) for t in self._given]
        for memory, array in zip(self._inputs, self._given, strict=True):
            memory.write(array)
        (self._shape,) = self.plugin.output_shapes(self.shapes)
        self._stored = np.empty(self._shape, DTYPES[dtype])
        if hwc8:
            self._stored = to_hwc8(self._stored)
        self._output = Memory(library, self._stored.nbytes)
        self._workspace = Memory(library, plugin.workspace_bytes(self.types, profile))
        self.stream: int = library.call("stream")

    def enqueue(self) -> None:
        """Queue the plugin's work."""
        inputs, outputs = [memory.address for memory in self._inputs], [self._output.address]
        self.plugin.enqueue(self.types, self.shapes, inputs, outputs, self._workspace.address, self.stream)

    def output(self) -> Array:
        """Synchronise and return y in NCHW. Checks that guards and inputs are unchanged."""
        assert self.plugin.library.call("synchronise", self.stream) == 0
        for memory, array in zip(self._inputs, self._given, strict=True):
            assert memory.read().tobytes() == array.tobytes()
        self._workspace.read()
        stored = self._output.read().view(self._stored.dtype).reshape(self._stored.shape)
        if not self._hwc8:
            return stored
        channels = self._shape[1]
        assert not stored[..., channels:].view(np.uint16).any(), "the padding is not zero"
        return stored[..., :channels].transpose(0, 3, 1, 2)


def check(y: Array, tensors: Tensors, case: Case, dtype: str) -> None:
    """Compare with the oracle."""
    expected = expect(tensors, case.options())
    assert y.shape == expected.shape
    if y.size > 0:
        bound = DEFORM_CONV_ABSOLUTE
        if dtype != "float32":
            bound = DEFORM_CONV_ROUNDINGS * np.abs(expected).max() * EPSILON[dtype] / 2
        assert np.abs(y.astype(np.float64) - expected).max() <= bound


@pytest.mark.parametrize(
    ("dtype", "hwc8"),
    [("float32", False), ("float16", False), ("float16", True), ("bfloat16", False), ("bfloat16", True)],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_matches_the_oracle(library: Library, rng: np.random.Generator, case: Case, dtype: str, hwc8: bool) -> None:
    tensors = case.random(rng)
    if dtype != "float32":
        tensors = rounded(tensors, dtype)
    convolution = Convolution(library.create(NAME, attributes_of(case)), tensors, dtype, hwc8)
    convolution.enqueue()
    check(convolution.output(), tensors, case, dtype)


@pytest.mark.parametrize("hwc8", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (12, 9)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_workspace_for_the_largest_shapes_serves_smaller_ones(
    library: Library, rng: np.random.Generator, batch: int, size: tuple[int, int], hwc8: bool
) -> None:
    """As in an engine with a profile: the small maps are split among blocks, the largest are not."""
    largest = Case("", batch=4, channels=(40, 24), size=(60, 60))
    case = replace(largest, batch=batch, size=size)
    tensors = rounded(case.random(rng), "float16")
    plugin = library.create(NAME, attributes_of(case))
    convolution = Convolution(plugin, tensors, "float16", hwc8, largest.random(rng))
    convolution.enqueue()
    check(convolution.output(), tensors, case, "float16")


def test_the_standard_s_name_is_the_same_plugin(library: Library, rng: np.random.Generator) -> None:
    tensors = PLAIN.random(rng)
    results = []
    for name in (NAME, STANDARD_NAME):
        convolution = Convolution(library.create(name, attributes_of(PLAIN)), tensors, "float32")
        convolution.enqueue()
        results.append(convolution.output())
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_bias_and_mask_may_be_missing(library: Library, rng: np.random.Generator, bias: bool, mask: bool) -> None:
    """Together or one alone: the number of dimensions distinguishes them."""
    case = Case("", bias=bias, mask=mask)
    tensors = case.random(rng)
    convolution = Convolution(library.create(NAME, attributes_of(case)), tensors, "float32")
    convolution.enqueue()
    check(convolution.output(), tensors, case, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_in_a_graph(library: Library, rng: np.random.Generator, dtype: str) -> None:
    tensors = rounded(PLAIN.random(rng), "float16")
    convolution = Convolution(library.create(NAME, attributes_of(PLAIN)), tensors, dtype)
    assert library.call("begin_capture", convolution.stream) == 0
    try:
        convolution.enqueue()
    finally:
        graph = library.call("end_capture", convolution.stream)
    assert graph, "the graph could not be captured"
    assert library.call("replay", graph, convolution.stream, 2) == 0
    check(convolution.output(), tensors, PLAIN, dtype)


def test_attributes_survive_and_have_defaults(library: Library) -> None:
    attributes = attributes_of(
        Case("", stride=(2, 1), padding=(1, 2, 3, 4), dilation=(3, 4), groups=2, offset_groups=4)
    )
    plugin = library.create(NAME, attributes)
    expected = {key: value if isinstance(value, list) else [value] for key, value in attributes.items()}
    for copy in (plugin, plugin.clone(), plugin.attach(), plugin.recreate()):
        assert copy.fields() == expected
    assert library.create(NAME, {}).fields() == {
        "strides": [1, 1],
        "pads": [0, 0, 0, 0],
        "dilations": [1, 1],
        "group": [1],
        "offset_group": [1],
    }


@pytest.mark.parametrize("hwc8", [False, True])
@pytest.mark.parametrize("type_", TYPES.values())
def test_formats(library: Library, type_: int, hwc8: bool) -> None:
    """All tensors have X's type. The output has X's format, the others are linear."""
    plugin = library.create(NAME, {})
    format_ = HWC8 if hwc8 else LINEAR
    every = list(itertools.product(DATA_TYPES, FORMATS))
    first = {t for t in every if plugin.supports(0, [t], 5)}
    assert first == {(FLOAT, LINEAR), (HALF, LINEAR), (BF16, LINEAR), (HALF, HWC8), (BF16, HWC8)}
    if (type_, format_) not in first:
        return
    tensors = [(type_, format_)]
    for position in range(1, 6):
        only = (type_, format_ if position == 5 else LINEAR)
        assert {t for t in every if plugin.supports(position, [*tensors, t], 5)} == {only}
        tensors.append(only)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("kernel_shape", [3], "'kernel_shape': expected 2 values, got 1"),
        ("kernel_shape", [3, 8], "'kernel_shape': expected 1 to 7, got 8"),
        ("strides", [0, 1], "'strides': expected 1 to 4096, got 0"),
        ("strides", [1.0, 1.0], "'strides': expected INT32, got FLOAT32"),
        ("pads", [1, 1], "'pads': expected 4 values, got 2"),
        ("pads", [0, 0, 0, -1], "'pads': expected 0 to 16777216, got -1"),
        ("dilations", [1, 0], "'dilations': expected 1 to 4096, got 0"),
        ("group", 0, "'group': expected 1 to 65535, got 0"),
        ("offset_group", -1, "'offset_group': expected 1 to 16777216, got -1"),
        ("deformable_group", 1, "'deformable_group' is not known"),
    ],
)
def test_wrong_attributes_are_refused(library: Library, attribute: str, value: Any, message: str) -> None:
    with pytest.raises(PluginError) as error:
        library.create(NAME, {**attributes_of(PLAIN), attribute: value})
    assert f"{NAME}: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("tensor", "shape", "message"),
    [
        (0, (2, 16, 9), "X: expected 4 dimensions, got 3"),
        (1, (24, 8, 3, 3), "W: expected the shape [24, 16, 3, 3], got [24, 8, 3, 3]"),
        (1, (24, 16, 3, 5), "'kernel_shape': expected [3, 5] as in W, got [3, 3]"),
        (2, (2, 18, 9, 9), "offset: expected the shape [2, 18, 9, 11], got [2, 18, 9, 9]"),
        (3, (16,), "B: expected the shape [24], got [16]"),
        (3, (24, 1), "input 3: expected B with 1 dimension or, as the last input, mask with 4; got 2 dimensions"),
        (4, (2, 9, 9, 9), "mask: expected the shape [2, 9, 9, 11], got [2, 9, 9, 9]"),
        (4, (24,), "input 4: expected B"),
    ],
)
def test_inconsistent_inputs_are_refused(
    library: Library, rng: np.random.Generator, tensor: int, shape: tuple[int, ...], message: str
) -> None:
    shapes = [t.shape for t in PLAIN.random(rng) if t is not None]
    shapes[tensor] = shape
    plugin = library.create(NAME, attributes_of(PLAIN))
    with pytest.raises(PluginError) as error:
        plugin.shape_change([FLOAT] * 5, shapes)
    assert message in str(error.value)
    with pytest.raises(PluginError) as error:
        plugin.configure([FLOAT] * 5, [(s, s) for s in shapes])
    assert message in str(error.value)
