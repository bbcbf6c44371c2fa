"""Every argument of every public operator with values that it cannot take: a result, or one clear error."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from engine import ops
from engine.errors import CudaError, InvalidArgumentError, NativeModuleError

Arguments = dict[str, Any]


class Raises:
    """Whatever is asked of it, it raises."""

    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        """Keep the exception."""
        self._error = error

    def _raise(self, *_: object, **__: object) -> Any:
        raise self._error("\x1b[2J\udcff")

    __index__ = __float__ = __bool__ = __iter__ = __len__ = __getitem__ = __repr__ = __str__ = _raise
    __dlpack__ = __dlpack_device__ = _raise
    __cuda_array_interface__ = property(_raise)


class Claims:
    """An array by its protocols, which give one value whatever is asked."""

    def __init__(self, answer: Any, device: Any = (1, 0)) -> None:
        """Keep the answers."""
        self._answer, self._device = answer, device

    def __dlpack__(self, **_: object) -> Any:
        """Answer."""
        return self._answer

    def __dlpack_device__(self) -> Any:
        """Answer."""
        return self._device


class Longer(list[Any]):
    """A list that says it is longer than it is."""

    def __len__(self) -> int:
        """Return too much."""
        return super().__len__() + 1


class Interface:
    """An array by __cuda_array_interface__."""

    def __init__(self, interface: Any) -> None:
        """Keep the dictionary."""
        self.__cuda_array_interface__ = interface


def circle() -> list[Any]:
    """Return a list that holds itself."""
    items: list[Any] = []
    items.append(items)
    return items


def bad_values() -> list[Any]:
    """Return values of every kind. Most are wrong for any argument; where one is right, the result is right too."""
    numbers = [0, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 2**64, 10**400, -(10**5000), 1.5, -0.0, 1e300, 1e-300, 1j]
    numbers += [float("nan"), float("inf"), -float("inf"), True, False]
    scalars = [np.float64("nan"), np.int64(2**40), np.uint8(200), np.bool_(True), np.complex64(1j), np.float16(2)]
    texts = ["", "x", "1", "float32\0", "\udcff\x1b[2J", b"1", bytearray(b"1")]
    sequences: list[Any] = [
        (),
        [],
        [[]],
        (1,),
        (1, 2),
        [1, 2, 3],
        (1, 2, 3, 4),
        [[1, 2], [3]],
        range(10**12),
        circle(),
        ["1"] * 3,
    ]
    sequences += [Longer([1]), Longer([1, 2]), (None, None), (1, None), ((1, 2), (3, 4)), np.array([1, 2])]
    arrays = [np.array(5), np.array(5.5), np.array([5]), np.array(True), np.array(1j), np.zeros(0), np.zeros((2, 2))]
    arrays += [np.zeros(3, object), np.array(["a"]), np.zeros(2, "M8[s]"), np.zeros(2, [("\udcff", "f4")])]
    arrays += [np.zeros((1, 3, 4, 4), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((2**31, 0), np.float32)]
    others = [None, {}, {1}, object(), int, len, ..., slice(1), memoryview(b"123"), iter([1]), Raises(), [Raises()]]
    claims = [Claims(answer) for answer in (None, 1, "x", object())]
    claims += [Claims(None, device) for device in (None, 1, (1,), ("a", "b"), (2**40, 0), (2, 0), (99, 0), Raises())]
    data = {"shape": (1,), "typestr": "<f4", "data": (0, False), "version": 3}
    interfaces: list[Any] = [None, {}, [], data]
    interfaces += [{**data, "data": value} for value in (None, 0, (), ("a", False), (-1, False), (2**64, False))]
    interfaces += [
        {**data, "typestr": value} for value in (None, 4, "", "<", "<f", "<fx", "<f" + "9" * 30, "\udcff" * 3)
    ]
    interfaces += [{**data, "shape": value} for value in (None, 1, "a", (-1,), (2**64,), (None,))]
    interfaces += [{**data, key: value} for key in ("strides", "stream") for value in (1.5, "a", (2**64,), -1)]
    return [*numbers, *scalars, *texts, *sequences, *arrays, *others, *claims, *map(Interface, interfaces)]


def spoiled_arrays(array: np.ndarray[Any, Any]) -> Iterator[Any]:
    """Yield arrays that differ from a good one in dtype, shape, strides, byte order, alignment, values or class."""
    for dtype in ("float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool", "complex64", "object"):
        yield array.astype(dtype)
    yield array.astype(array.dtype.newbyteorder())
    yield array[::-1]
    yield array[..., ::-1]
    yield array.T
    yield np.repeat(array, 2, axis=-1)[..., ::2]
    yield array[None]
    yield array[0] if len(array) else array
    yield array[:0]
    yield array[..., :0]
    yield np.concatenate([array, array])
    yield np.broadcast_to(array[:1], (2**20, *array.shape[1:]))
    yield np.broadcast_to(array.reshape(-1)[:1], array.shape)
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    yield moved
    if array.dtype.kind == "f":
        for value in (np.nan, np.inf, -np.inf, 3e38):
            yield np.full_like(array, value)
    if array.dtype == np.int32:
        for number in (-(2**31), -1, 2**31 - 1):
            yield np.full_like(array, number)
    fixed = array.copy()
    fixed.flags.writeable = False
    yield fixed
    yield array.tolist()
    yield memoryview(array)  # type: ignore[arg-type]
    yield np.ma.masked_array(array)
    yield array.copy().view(np.recarray)


def spoiled(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield bad values, and changes of a good one: of an array, or of one item of a sequence."""
    yield from bad_values()
    if isinstance(value, np.ndarray):
        yield from spoiled_arrays(value)
    elif isinstance(value, list | tuple) and depth < 3:
        yield value[:-1]
        yield type(value)([*value, *value[:1]])
        yield type(value)([*value] * 100)
        yield np.array([*value, None], object)[:-1]
        for index, item in enumerate(value):
            for other in spoiled(item, depth + 1):
                yield type(value)([*value[:index], other, *value[index + 1 :]])


def good_arguments() -> dict[str, tuple[Callable[..., Any], Arguments]]:
    """Every operator, with all of its arguments, small and valid."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return rng.random(shape, np.float32)

    count = np.array([2], np.int32)
    level = (floats(1, 2, 2, 3), floats(1, 4, 2, 3), floats(1, 10, 2, 3))
    output = np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3), np.float32)
    return {
        "letterbox": (
            ops.letterbox,
            {
                "images": [rng.integers(0, 256, (4, 6, 3), np.uint8)],
                "size": (8, 8),
                "mean": [1.0, 2.0, 3.0],
                "std": (1.0, 2.0, 3.0),
                "swap_rb": True,
                "pad_value": (0, 114, 255),
                "enlarge": False,
                "dtype": "float32",
                "out": output,
                "channels_last": False,
                "threads": 1,
                "stream": None,
            },
        ),
        "unletterbox": (
            ops.unletterbox,
            {
                "boxes": floats(1, 3, 4),
                "landmarks": floats(1, 3, 10),
                "count": count,
                "image_sizes": [(30, 40)],
                "size": (8, 8),
                "enlarge": True,
                "stream": None,
            },
        ),
        "decode": (
            ops.decode,
            {
                "heads": [(*level, None, floats(1, 2, 2, 3))],  # with one anchor's values, x and y of a point
                "strides": [8],
                "anchor_sizes": [[(16.0, 8.0)]],
                "variances": (0.1, 0.2),
                "score_threshold": 0.5,
                "top_k": 4,
                "classes": 2,
                "sigmoid": False,
                "value_points": [True],
                "stream": None,
            },
        ),
        "nms": (
            ops.nms,
            {
                "boxes": floats(1, 3, 4),
                "scores": floats(1, 3),
                "payload": floats(1, 3, 10),
                "count": count,
                "classes": np.ones((1, 3), np.int32),
                "iou_threshold": 0.4,
                "max_detections": 2,
                "voting": False,
                "class_agnostic": False,
                "stream": None,
            },
        ),
        "align": (
            ops.align,
            {
                "images": [rng.integers(0, 256, (4, 6, 3), np.uint8)],
                "landmarks": floats(2, 10),
                "image_indices": np.zeros(2, np.int32),
                "template": [(1.0, 2.0), (5.0, 2.0), (3.0, 4.0), (2.0, 6.0), (4.0, 6.0)],
                "size": (8, 7),
                "threads": 1,
                "stream": None,
            },
        ),
        "deform_conv": (
            ops.deform_conv,
            {
                "x": floats(1, 4, 5, 6),
                "weight": floats(2, 2, 3, 3),
                "offset": floats(1, 36, 3, 4),
                "bias": floats(2),
                "mask": floats(1, 18, 3, 4),
                "stride": (1, 1),
                "padding": (0, 0, 0, 0),
                "dilation": [1, 1],
                "groups": 2,
                "offset_groups": 2,
                "stream": None,
            },
        ),
        "to_device": (ops.to_device, {"array": floats(2, 3), "device": 0}),
    }


GOOD = good_arguments()
HAS_CUDA = ops.build_info()["cuda_architectures"] is not None
HERE = {name: case for name, case in GOOD.items() if name != "to_device" or HAS_CUDA}
CASES = [(name, argument) for name, (_, arguments) in HERE.items() for argument in arguments]
# What a refusal says; without CUDA device arrays are refused in their own words.
REASONS = ("expected", "cannot be read", "does not fit", *(["was built without CUDA"] if not HAS_CUDA else []))
# Messages about values that are of the right type name the quantity, which plugins check too.
QUANTITIES = {
    "size": ("output height", "output width", "out[0] has shape", "crop height", "crop width"),
    "channels_last": ("out[0] has shape",),
    "variances": ("centre variance", "size variance"),
    "anchor_sizes": ("an anchor size", "logits of level"),
    "strides": ("stride of level",),
    "stride": ("stride_h", "stride_w", "offset has shape"),
    "padding": ("pad_top", "pad_left", "pad_bottom", "pad_right", "offset has shape", "maps of"),
    "dilation": ("dilation_h", "dilation_w", "the kernel does not fit", "offset has shape"),
    "classes": ("number of classes", "logits of level"),
    "sigmoid": ("logits of level",),
    "value_points": ("size of values",),
    "groups": ("groups", "weight has shape"),
    "offset_groups": ("offset has shape",),
}


def outcome(call: Callable[..., Any], arguments: Arguments) -> str:
    """Call an operator; return the message of its refusal, or nothing for a result."""
    try:
        call(**arguments)
    except InvalidArgumentError as error:
        return str(error)
    except (CudaError, NativeModuleError):
        pass  # on a machine without a GPU
    return ""


def test_the_table_has_every_argument_of_every_operator() -> None:
    taking = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))} - {
        name for name in ops.__all__ if not inspect.signature(getattr(ops, name)).parameters
    }
    assert taking == GOOD.keys()
    for call, arguments in GOOD.values():
        assert list(inspect.signature(call).parameters) == list(arguments)


@pytest.mark.parametrize("name", HERE)
def test_the_good_arguments_are_good(name: str) -> None:
    call, arguments = GOOD[name]
    assert outcome(call, arguments) == ""


@pytest.mark.parametrize(("name", "argument"), CASES, ids=["-".join(case) for case in CASES])
@pytest.mark.filterwarnings("ignore:.*(complex|Complex).*")
def test_bad_values_end_in_a_result_or_a_clear_refusal(name: str, argument: str) -> None:
    call, arguments = GOOD[name]
    refused = 0
    for value in spoiled(arguments[argument]):
        message = outcome(call, {**arguments, argument: value})
        if not message:
            continue
        refused += 1
        assert "incompatible function arguments" not in message
        assert any(reason in message for reason in REASONS), message
        assert len(message) < 500, message
        if not isinstance(value, np.ndarray) and argument not in ("images", "heads"):
            assert any(quantity in message for quantity in (argument, *QUANTITIES.get(argument, ()))), message
    assert refused > 50 or argument == "stream"  # which is not read for arrays on the host


@pytest.mark.parametrize("name", HERE)
def test_random_arguments_together(name: str) -> None:
    """The first wrong one is refused, whatever the others are."""
    call, arguments = GOOD[name]
    rng = np.random.default_rng(1)
    values = bad_values()
    for _ in range(2000):
        changed = rng.choice(list(arguments), rng.integers(1, 4))
        outcome(call, {**arguments, **{argument: values[rng.integers(len(values))] for argument in changed}})


@pytest.mark.parametrize("name", HERE)
def test_unknown_and_missing_names_are_type_errors(name: str) -> None:
    """As Python itself says it."""
    call, arguments = GOOD[name]
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        call(**arguments, nothing=1)
    with pytest.raises(TypeError, match="missing 1 required"):
        call(**dict(itertools.islice(arguments.items(), 1, None)))


ALL_MESSAGES: list[tuple[str, str, Any, str]] = [
    ("nms", "max_detections", 2**31, "max_detections is 2147483648, expected an integer of at most 32 bits"),
    ("nms", "max_detections", "2", "max_detections is '2', expected an integer"),
    ("nms", "max_detections", True, "max_detections is True, expected an integer"),
    ("nms", "voting", 1, "voting is 1, expected True or False"),
    ("nms", "iou_threshold", None, "iou_threshold is None, expected a number"),
    ("nms", "boxes", [[1]], "boxes is a list, expected a NumPy array or a device array"),
    ("decode", "variances", (1,), "variances has 1 values, expected 2: of centres and of sizes"),
    ("decode", "strides", [8.0], r"strides\[0\] is 8.0, expected an integer"),
    ("decode", "strides", 8, "strides is 8, expected a sequence with the stride of each level"),
    ("decode", "heads", [None], r"heads\[0\] is None, expected a tuple: logits, box_deltas"),
    ("letterbox", "mean", 10**400, r"mean is 10{76}\.\.\., expected a number of at most 3.4e38, as float32 holds"),
    ("letterbox", "mean", 10**5000, "mean is a value of type int, expected a number of at most 3.4e38"),
    ("letterbox", "mean", (1, 1e300, 2), r"mean\[1\] is 1e\+300, expected a number of at most 3.4e38"),
    ("letterbox", "out", (1,), "out has 1 entries, expected 2: batch and transforms"),
    ("letterbox", "out", 1, "out is 1, expected two arrays: batch and transforms"),
    ("letterbox", "size", 640, "size is 640, expected a height and a width"),
    ("letterbox", "size", (8, 8.5), r"size\[1\] is 8.5, expected an integer"),
    ("letterbox", "dtype", "\x1b\udcff", r"dtype is '\\x1b\\udcff', expected 'float32' or 'float16'"),
    ("letterbox", "images", "a.jpg", "images is 'a.jpg', expected one image or a sequence of images"),
    ("letterbox", "images", range(10**12), r"images\[0\] is a int, expected a NumPy array"),
    ("letterbox", "images", [Raises()], r"images\[0\] cannot be read: RuntimeError: "),
    ("letterbox", "images", [Claims(None, 1)], r"images\[0\] cannot be read: its protocol \(DLPack, __cuda"),
    ("unletterbox", "image_sizes", [(1, 2, 3)], r"image_sizes\[0\] has 3 values, expected 2: height and width"),
    ("unletterbox", "image_sizes", [(1, None)], r"image_sizes\[0\]\[1\] is None, expected an integer"),
    ("unletterbox", "image_sizes", Longer(), r"image_sizes\[0\] cannot be read, expected a sequence of 1"),
    ("align", "template", [(1, 2)] * 4, "template has 4 points, expected 5"),
    ("align", "template", 1, "template is 1, expected five points x and y"),
    ("align", "template", [1] * 5, r"template\[0\] is 1, expected a point x and y"),
    ("align", "template", [(1, 2, 3)] * 5, r"template\[0\] has 3 values, expected 2: x and y"),
    ("align", "template", [(1, None)] * 5, r"template\[0\]\[1\] is None, expected a number"),
    ("align", "landmarks", [[1] * 10], "landmarks is a list, expected a NumPy array or a device array"),
    ("deform_conv", "padding", (1, 2, 3), "padding has 3 values, expected one, 2 or 4"),
    ("deform_conv", "stride", "12", "stride is '12', expected an integer"),
    ("to_device", "array", [1], "array is a list, expected a NumPy array"),
    ("to_device", "device", "cuda", "device is 'cuda', expected an integer"),
]
MESSAGES = [row for row in ALL_MESSAGES if row[0] in HERE]


@pytest.mark.parametrize(("name", "argument", "value", "message"), MESSAGES, ids=[row[-1][:40] for row in MESSAGES])
def test_messages_say_what_was_given_and_what_is_expected(name: str, argument: str, value: Any, message: str) -> None:
    call, arguments = GOOD[name]
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        call(**{**arguments, argument: value})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interrupts_are_no_wrong_arguments(error: type[BaseException]) -> None:
    call, arguments = GOOD["letterbox"]
    with pytest.raises(error):
        call(**{**arguments, "images": [Raises(error)]})
    if error is not MemoryError:
        with pytest.raises(error):
            call(**{**arguments, "threads": Raises(error)})
