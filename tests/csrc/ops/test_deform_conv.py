"""engine.ops.deform_conv against a float64 oracle and ONNX Runtime, on the CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engine import ops
from engine.errors import InvalidArgumentError
from tests.csrc.ops.test_anchor_decode import BFloat16
from tests.support.backends import Backend
from tests.support.oracles.deform_conv import Geometry, deform_conv, sample
from tests.support.tolerances import DEFORM_CONV_ABSOLUTE, DEFORM_CONV_ROUNDINGS

# x, weight, offset, bias, mask
Tensors = list[NDArray[Any] | None]
# Spacing of the values in [1, 2).
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True)
class Case:
    """Shapes, options, and the size of the offsets."""

    id: str
    batch: int = 1
    channels: tuple[int, int] = (16, 16)  # in, out
    size: tuple[int, int] = (9, 11)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    bias: bool = True
    mask: bool = True
    spread: float = 1.0  # standard deviation of the offsets in pixels

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that deform_conv and its oracle share."""
        names = ("stride", "padding", "dilation", "groups", "offset_groups")
        return {name: getattr(self, name) for name in names}

    def random(self, rng: np.random.Generator) -> Tensors:
        """Return random tensors whose results are of order 1."""
        (inputs, outputs), (top, left, bottom, right) = self.channels, self.padding
        taps = self.kernel[0] * self.kernel[1]
        room = (self.size[0] + top + bottom, self.size[1] + left + right)
        out = tuple(
            (r - d * (k - 1) - 1) // s + 1
            for r, d, k, s in zip(room, self.dilation, self.kernel, self.stride, strict=True)
        )
        depth = inputs // self.groups
        tensors = [
            rng.normal(size=(self.batch, inputs, *self.size)),
            rng.normal(size=(outputs, depth, *self.kernel)) / np.sqrt(depth * taps),
            rng.normal(size=(self.batch, 2 * self.offset_groups * taps, *out)) * self.spread,
            rng.normal(size=outputs) if self.bias else None,
            rng.uniform(size=(self.batch, self.offset_groups * taps, *out)) if self.mask else None,
        ]
        return [None if t is None else t.astype(np.float32) for t in tensors]


# The kernels process 64 pixels, 64, 128 or 256 output channels, up to 64 input channels (32 in float32) and up to ten
# taps at a time. Several blocks share the input channels and taps of a small map.
CASES = [
    Case("plain"),
    Case("no bias, no mask", bias=False, mask=False),
    Case("no images", batch=0),
    Case("three images, ragged channels", batch=3, channels=(24, 70), size=(13, 7)),
    Case("one pixel", size=(1, 1)),
    Case("one row", size=(1, 90), channels=(32, 8)),
    Case("1x1 kernel", kernel=(1, 1), padding=(0, 0, 0, 0)),
    Case("7x7 kernel", kernel=(7, 7), padding=(3, 3, 3, 3), size=(8, 10), channels=(6, 5)),
    Case("1x7 kernel", kernel=(1, 7), padding=(0, 3, 0, 3), channels=(17, 9)),
    Case(
        "everything asymmetric", 2, (12, 8), (14, 10), (3, 2), (2, 1), (1, 0, 2, 3), (1, 2), groups=2, offset_groups=3
    ),
    Case("groups finer", 1, (8, 12), (15, 17), (5, 4), (1, 3), (0, 2, 1, 0), (2, 1), groups=4, offset_groups=2),
    Case("groups alike, whole steps", 2, (64, 64), (12, 12), groups=2, offset_groups=2),
    Case("offset groups, whole steps", channels=(64, 40), offset_groups=4, size=(20, 20)),
    Case("depthwise", channels=(8, 8), groups=8, offset_groups=8),
    Case("three channels", channels=(3, 7)),
    Case("two blocks of output channels", channels=(16, 300), size=(10, 10)),
    Case("taps far away", channels=(32, 24), size=(40, 30), spread=12.0),
    Case("hardly any tap inside", channels=(32, 24), size=(20, 30), spread=1e4),
    Case("wide dilation", dilation=(12, 12), padding=(12, 12, 12, 12), size=(30, 30)),
    Case("stride 3", channels=(32, 32), stride=(3, 3), size=(31, 29), spread=3.0),
    Case("an FPN level", batch=2, channels=(64, 64), size=(20, 20), mask=False),
    Case("groups of 40 output channels", channels=(24, 120), groups=3, size=(8, 8)),
    Case("128 output channels at once", channels=(8, 128), size=(40, 40)),
    Case("256 output channels at once", channels=(8, 256), size=(40, 40)),
    Case("blocks share the channels", channels=(256, 16), size=(5, 6)),
    Case("several passes of several channels", channels=(72, 8), kernel=(4, 3), size=(6, 7), padding=(2, 1, 1, 1)),
    Case("blocks share the taps", channels=(16, 16), kernel=(7, 7), size=(8, 8), padding=(3, 3, 3, 3)),
]


def run(backend: Backend, tensors: Tensors, options: dict[str, Any], dtype: str = "float32") -> NDArray[Any]:
    """Convolve on the backend and return the result on the host, in its own type."""

    def put(array: NDArray[Any]) -> Any:
        return BFloat16(backend, array) if dtype == "bfloat16" else backend.put(array.astype(dtype))

    y = backend.get(ops.deform_conv(*[None if t is None else put(t) for t in tensors], **options))
    assert y.dtype == np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return y


def rounded(tensors: Tensors, dtype: str) -> Tensors:
    """Round to the nearest values of a 16-bit type; return them as float32."""
    to = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return [None if t is None else t.astype(to).astype(np.float32) for t in tensors]


def expect(tensors: Tensors, options: dict[str, Any]) -> NDArray[np.float64]:
    """Return the oracle's result."""
    x, weight, offset, bias, mask = tensors
    assert x is not None
    assert weight is not None
    assert offset is not None
    return deform_conv(x, weight, offset, bias, mask, Geometry(**options))


def test_oracle_worked_by_hand() -> None:
    """A point between pixels and zeros outside, a pixel, points outside, NaN, a corner."""
    image = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    y, x = np.array([-0.5, 1.0, 2.0, np.nan, 1.5]), np.array([0.25, 1.0, 0.0, 0.0, 1.5])
    np.testing.assert_array_equal(sample(image, y, x), [[0.625, 4.0, 0.0, 0.0, 1.0]])
    # One 1x2 kernel of stride 2. The second tap moves up by one pixel; the mask of the first is a half.
    result = deform_conv(
        image[None],
        np.array([[[[10.0, 100.0]]]]),
        np.array([0.0, 0.0, -1.0, 0.0]).reshape(1, 4, 1, 1),
        np.array([5.0]),
        np.array([0.5, 1.0]).reshape(1, 2, 1, 1),
        Geometry(stride=(2, 2), padding=(-1, 0, 0, 0)),
    )
    np.testing.assert_array_equal(result, [[[[10 * 0.5 * 3 + 100 * 2 + 5]]]])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_deform_conv_matches_the_oracle(backend: Backend, rng: np.random.Generator, case: Case) -> None:
    """In float32."""
    tensors = case.random(rng)
    y = run(backend, tensors, case.options())
    np.testing.assert_allclose(y, expect(tensors, case.options()), rtol=0, atol=DEFORM_CONV_ABSOLUTE, strict=False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_deform_conv_in_16_bits(cuda: Backend, rng: np.random.Generator, case: Case, dtype: str) -> None:
    """The error is at most twice the largest error of an exact result that is rounded once."""
    tensors = rounded(case.random(rng), dtype)
    expected = expect(tensors, case.options())
    y = run(cuda, tensors, case.options(), dtype).astype(np.float64)
    assert y.shape == expected.shape
    if y.size > 0:
        rounding = np.abs(expected).max() * EPSILON[dtype] / 2
        assert np.abs(y - expected).max() <= DEFORM_CONV_ROUNDINGS * rounding


def onnx_deform_conv(tensors: Tensors, case: Case) -> NDArray[np.float32]:
    """Return ONNX Runtime's result."""
    names = ("x", "weight", "offset", "bias", "mask")
    given = {name: t for name, t in zip(names, tensors, strict=True) if t is not None}
    attributes: dict[str, Any] = {
        "kernel_shape": case.kernel,
        "strides": case.stride,
        "pads": case.padding,
        "dilations": case.dilation,
        "group": case.groups,
        "offset_group": case.offset_groups,
    }
    node = helper.make_node("DeformConv", [name if name in given else "" for name in names], ["y"], **attributes)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, t.shape) for name, t in given.items()]
    graph = helper.make_graph([node], "graph", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, given)
    return np.asarray(y, np.float32)


@pytest.mark.parametrize("case", [c for c in CASES if c.batch > 0], ids=lambda case: case.id)
def test_deform_conv_matches_onnx_runtime(backend: Backend, rng: np.random.Generator, case: Case) -> None:
    """Another implementation of the standard operator."""
    tensors = case.random(rng)
    expected = onnx_deform_conv(tensors, case)
    y = run(backend, tensors, case.options())
    np.testing.assert_allclose(y, expected, rtol=0, atol=2 * DEFORM_CONV_ABSOLUTE)


@pytest.mark.parametrize("channels", [(32, 16), (6, 5)], ids=["whole steps", "ragged"])
def test_taps_at_positions_that_are_not_finite_count_as_outside(
    backend: Backend, rng: np.random.Generator, channels: tuple[int, int]
) -> None:
    """NaN, infinities and offsets beyond the range of int."""
    case = Case("", channels=channels, size=(20, 20))
    tensors = case.random(rng)
    offset = tensors[2]
    assert offset is not None
    bad = rng.random(offset.shape) < 0.2
    offset[bad] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**31, -(2.0**31)], size=int(bad.sum()))
    y = run(backend, tensors, case.options())
    np.testing.assert_allclose(y, expect(tensors, case.options()), rtol=0, atol=DEFORM_CONV_ABSOLUTE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_places_are_not_rounded_to_16_bits(cuda: Backend, dtype: str) -> None:
    """A quarter of a pixel right of every column: 600.25 has no exact value in either 16-bit type."""
    x = np.tile(np.array([0.0, 1.0], np.float32), (1, 16, 2, 400))
    weight = np.zeros((8, 16, 1, 1), np.float32)
    weight[:, 0] = 1
    offset = np.zeros((1, 2, 2, 800), np.float32)
    offset[:, 1] = 0.25
    y = run(cuda, [x, weight, offset, None, None], {}, dtype).astype(np.float32)
    expected = np.tile(np.array([0.25, 0.75], np.float32), (1, 8, 2, 400))
    expected[..., -1] = 0.75  # a quarter of the way from 1 to the zeros outside
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("channels", [(64, 16), (21, 5)], ids=["whole steps", "ragged"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_deform_conv_sums_in_float32(cuda: Backend, dtype: str, channels: tuple[int, int]) -> None:
    """4096, many quarters, -4096: a 16-bit sum would lose the quarters."""
    inputs, outputs = channels
    weight = np.zeros((outputs, inputs, 3, 3), np.float32)
    weight[:, 0, 0, 0], weight[:, 1:-1, 1, 1], weight[:, -1, 2, 2] = 4096, 0.25, -4096
    x, offset = np.ones((1, inputs, 10, 12), np.float32), np.zeros((1, 18, 8, 10), np.float32)
    y = run(cuda, [x, weight, offset, None, None], {}, dtype).astype(np.float32)
    assert (y == 0.25 * (inputs - 2)).all()


def image_of(tensors: Tensors, image: int) -> Tensors:
    """Return the tensors of one image."""
    return [t if t is None or i in (1, 3) else t[image : image + 1] for i, t in enumerate(tensors)]


def test_each_image_is_convolved_by_itself(backend: Backend, rng: np.random.Generator) -> None:
    """A batch gives what its images give one by one: on the CPU the same bits.

    On CUDA the number of blocks that share the channels of a small map depends on the batch, and so does the order of
    the sum.
    """
    case = Case("", batch=3, channels=(32, 64), size=(14, 18))
    tensors = case.random(rng)
    y = run(backend, tensors, case.options())
    bound = 0.0 if backend.name == "cpu" else 2 * DEFORM_CONV_ABSOLUTE
    for i in range(3):
        one = run(backend, image_of(tensors, i), case.options())[0]
        np.testing.assert_allclose(one, y[i], rtol=0, atol=bound)


@pytest.mark.parametrize("inputs", [32, 21])
def test_pixels_that_no_sample_needs_may_be_infinite_or_nan(
    backend: Backend, rng: np.random.Generator, inputs: int
) -> None:
    """Beside samples on whole pixels, where the mask is zero, where only taps outside the map would be."""
    case = Case("", channels=(inputs, 16), size=(12, 10), kernel=(1, 1), stride=(2, 2), padding=(0, 0, 0, 0))
    x, weight, offset, bias, mask = case.random(rng)
    assert x is not None
    assert offset is not None
    assert mask is not None
    offset[:] = 0  # reads the even rows and columns
    offset[..., 1, :] = rng.choice([-100.0, 1e9, np.nan])  # leaves out row 2
    mask[..., 3, 2] = 0
    unread = np.ones(case.size, bool)
    unread[::2, ::2] = False
    unread[2], unread[6, 4] = True, True
    clean = np.where(unread, 0, x)
    spoilt = np.where(unread, rng.choice([np.inf, -np.inf, np.nan], size=x.shape), x).astype(np.float32)
    expected = run(backend, [clean, weight, offset, bias, mask], case.options())
    np.testing.assert_array_equal(run(backend, [spoilt, weight, offset, bias, mask], case.options()), expected)
    np.testing.assert_allclose(
        expected, expect([clean, weight, offset, bias, mask], case.options()), rtol=0, atol=DEFORM_CONV_ABSOLUTE
    )


def test_one_number_means_both_sides(backend: Backend, rng: np.random.Generator) -> None:
    """One stride or dilation for both axes; one padding for all sides or two for opposite sides."""
    case = Case("", stride=(2, 2), padding=(2, 1, 2, 1), dilation=(2, 2))
    tensors = case.random(rng)
    expected = run(backend, tensors, case.options())
    np.testing.assert_array_equal(run(backend, tensors, {"stride": 2, "padding": (2, 1), "dilation": 2}), expected)
    case = Case("", padding=(1, 1, 1, 1))
    tensors = case.random(rng)
    np.testing.assert_array_equal(
        run(backend, tensors, {"padding": 1}), run(backend, tensors, {"padding": (1, 1, 1, 1)})
    )


def _replace(argument: int, change: Callable[[Any], Any]) -> Callable[[Tensors, dict[str, Any]], None]:
    def apply(tensors: Tensors, _: dict[str, Any]) -> None:
        tensors[argument] = change(tensors[argument])

    return apply


def _set(**options: Any) -> Callable[[Tensors, dict[str, Any]], None]:
    return lambda _, given: given.update(options)


BAD = [
    (_set(stride=0), r"stride_h is 0, expected 1 to 4096"),
    (_set(dilation=(1, -2)), r"dilation_w is -2, expected 1 to 4096"),
    (_set(padding=(0, -1)), r"pad_left is -1, expected 0 to 16777216"),
    (_set(padding=(1, 2, 3)), r"padding has 3 values, expected one, 2 or 4"),
    (_set(stride=(1, 2, 3)), r"stride has 3 values, expected one or 2"),
    (_set(groups=0), r"groups is 0, expected 1 to 65535"),
    (_set(groups=3), r"groups is 3, expected a divisor of in_channels, 16"),
    (_set(offset_groups=5), r"offset_groups is 5, expected a divisor of in_channels, 16"),
    (_set(dilation=9), r"the kernel does not fit into the input of 9 x 11 pixels and its padding"),
    (_set(padding=0), r"offset has shape \[1, 18, 9, 11\], expected \[1, 18, 7, 9\]"),
    (_set(offset_groups=2), r"offset has shape \[1, 18, 9, 11\], expected \[1, 36, 9, 11\]"),
    (_replace(0, lambda a: a[0]), r"x has shape \[16, 9, 11\], expected \[N, Ci, H, W\]"),
    (_replace(1, lambda a: a[:, :8].copy()), r"weight has shape \[16, 8, 3, 3\], expected \[16, 16, 3, 3\]"),
    (_replace(1, lambda a: np.zeros((16, 16, 3, 8), np.float32)), r"kernel_w is 8, expected 1 to 7"),
    (_replace(3, lambda a: a[:5].copy()), r"bias has shape \[5\], expected \[16\]"),
    (_replace(4, lambda a: a[:, 1:].copy()), r"mask has shape \[1, 8, 9, 11\], expected \[1, 9, 9, 11\]"),
    (_replace(4, lambda a: a.astype(np.float16)), r"mask has dtype float16, expected float32"),
    (_replace(0, lambda a: a.astype(np.int32)), r"x has dtype int32, expected float32"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[message for _, message in BAD])
def test_wrong_arguments_are_refused(
    backend: Backend, rng: np.random.Generator, spoil: Callable[[Tensors, dict[str, Any]], None], message: str
) -> None:
    """Each message names the argument, what was given and what is expected."""
    case = Case("")
    tensors, options = case.random(rng), case.options()
    spoil(tensors, options)
    placed = [None if t is None else backend.put(t) for t in tensors]
    with pytest.raises(InvalidArgumentError, match=message):
        ops.deform_conv(*placed, **options)
