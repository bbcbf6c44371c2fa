"""Calls of the operators: shapes, types, strides, values and options that fit, that nearly fit, and that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ops
from tests.fuzz.mutate.values import NUMBERS, TEXTS
from tests.fuzz.target import Files, Target

Array = NDArray[Any]
_TYPES = ("float32", "float64", "float16", "int32", "int64", "uint8", "bool", "complex64", ">f4", "O", "U3")
_FLOATS = (0.0, -0.0, 1e-45, 1e-38, 1.0, -1.0, 88.0, 104.0, 1e9, 1e30, 3e38, -3e38, np.inf, -np.inf, np.nan)
_ODD: tuple[Any, ...] = (None, True, "text", b"bytes", [], (), {}, [[]], object(), 1j, float, [None], ["a"], range(3),
    np.float32(1), np.int64(7), np.zeros(()), np.zeros(3), np.array(["a"]))  # fmt: skip


@dataclass
class Call:
    """A call of an operator.

    Attributes:
        name: of the function in engine.ops.
        arguments: by position.
        options: by name.
    """

    name: str
    arguments: list[Any]
    options: dict[str, Any] = field(default_factory=dict)


class Operators(Target[Call]):
    """The operators on the CPU."""

    def __init__(self, folder: Path) -> None:
        """Need no files."""

    def make(self, random: Random) -> Call:
        """Return a call that fits, as a rule with a few changes."""
        call = random.choice(_CALLS)(random)
        if random.random() < 0.75:
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                _change(call, random)
        return call

    def run(self, made: Call) -> None:
        """Call the operator."""
        getattr(ops, made.name)(*made.arguments, **made.options)

    def files(self, made: Call) -> Files:
        """Return the call in words."""
        words = [_words(v) for v in made.arguments] + [f"{k}={_words(v)}" for k, v in made.options.items()]
        return {"call.txt": f"{made.name}({', '.join(words)})\n".encode("utf-8", "backslashreplace")}


def _words(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} strides {value.strides} {value.tobytes()[:64]!r}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(_words, value))})"
    return repr(value)[:200]


def _change(call: Call, random: Random) -> None:
    """Change one argument."""
    if random.random() < 0.5 and call.options:
        name = random.choice(list(call.options))
        call.options[name] = _changed(call.options[name], random)
    else:
        at = random.randrange(len(call.arguments))
        call.arguments[at] = _changed(call.arguments[at], random)


def _changed(value: Any, random: Random) -> Any:
    if random.random() < 0.1:
        return random.choice((*_ODD, *NUMBERS, *TEXTS))
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return _changed_array(value, random)
    if isinstance(value, list | tuple) and len(value):
        values = list(value)
        at = random.randrange(len(values))
        kind = random.randrange(6)
        if kind == 0:
            del values[at]
        elif kind == 1:
            values.insert(at, values[at])
        else:
            values[at] = _changed(values[at], random)
        return type(value)(values)
    if isinstance(value, bool):
        return random.choice((not value, 0, 1, 2, None, "true"))
    if isinstance(value, int | float):
        return random.choice((value + 1, value - 1, -value, value * 2, [value], str(value), *NUMBERS))
    return random.choice((*_ODD, *NUMBERS))


def _changed_array(array: Array, random: Random) -> Any:
    """Change the type, the shape, the strides or some values of an array."""
    kind = random.randrange(8)
    if kind == 0:
        return _cast(array, random)
    if kind == 1 and array.ndim:
        sides = list(array.shape)
        sides[random.randrange(len(sides))] += random.choice((-1, 1, 2))
        return _array(random, tuple(max(0, side) for side in sides), array.dtype)
    if kind == 2:
        return random.choice((array[None], array.reshape(-1), array[..., None], array.T))
    if kind == 3 and array.ndim:
        return _strided(array, random)
    if kind == 4:
        return array.tolist()
    if array.size and array.dtype.kind in "fiu":
        changed = array.copy()
        values = _FLOATS if array.dtype.kind == "f" else (0, -1, 1, 5000, 2**31 - 1, -(2**31))
        for _ in range(random.choice((1, 2, array.size))):
            with np.errstate(all="ignore"):
                value = np.asarray(random.choice(values)).astype(array.dtype)
            changed.reshape(-1)[random.randrange(changed.size)] = value
        return changed
    return array


def _cast(array: Array, random: Random) -> Array:
    with np.errstate(all="ignore"):
        return array.astype(random.choice(_TYPES))


def _strided(array: Array, random: Random) -> Array:
    """Return the same values elsewhere: strided, backwards, read-only, not aligned, or one that is repeated."""
    kind = random.randrange(5)
    if kind == 0:
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if kind == 1:
        return array[..., ::-1]
    if kind == 2:
        fixed = array.copy()
        fixed.setflags(write=False)
        return fixed
    if kind == 3:
        raw = np.zeros(array.nbytes + 1, np.uint8)
        moved = raw[1:].view(array.dtype).reshape(array.shape) if array.dtype.itemsize else array
        moved[...] = array
        return moved
    return np.broadcast_to(array[..., :1], array.shape) if array.shape[-1:] != (0,) else array


def _array(random: Random, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an array of values that an operator may get."""
    generator = np.random.Generator(np.random.SFC64(random.getrandbits(32)))
    if np.dtype(dtype).kind == "f":
        return (generator.standard_normal(shape, np.float32) * random.choice((1, 1, 10, 1000))).astype(dtype)
    if np.dtype(dtype).kind in "iub":
        return generator.integers(0, 200, shape).astype(dtype)
    return np.zeros(shape, dtype)


def _letterbox(random: Random) -> Call:
    count = random.choice((0, 1, 1, 2, 3))
    images: Any = [_array(random, (_side(random), _side(random), 3), np.uint8) for _ in range(count)]
    if count == 1 and random.random() < 0.3:
        images = images[0]
    size = (_side(random), _side(random))
    options: dict[str, Any] = {
        "mean": random.choice((0.0, 104.0, (104.0, 117.0, 123.0))),
        "std": random.choice((1.0, (58.0, 57.0, 57.5))),
        "swap_rb": random.random() < 0.5,
        "pad_value": random.choice((0, 127, (104, 117, 123))),
        "enlarge": random.random() < 0.5,
        "dtype": random.choice(("float32", "float32", "float16")),
        "channels_last": random.random() < 0.3,
        "threads": random.choice((0, 1, 2, 3)),
    }
    if random.random() < 0.3:
        shape = (count, *size, 3) if options["channels_last"] else (count, 3, *size)
        options["out"] = (_array(random, shape), _array(random, (count, 3)))
    return Call("letterbox", [images, size], options)


def _unletterbox(random: Random) -> Call:
    count, most = random.choice((0, 1, 2)), random.choice((0, 1, 3, 17))
    landmarks = _array(random, (count, most, random.choice((2, 10, 11, 196)))) if random.random() < 0.6 else None
    sizes = [(_side(random), _side(random)) for _ in range(count)]
    found = _array(random, (count,), np.int32) % (most + 1)
    arguments = [_array(random, (count, most, 4)), landmarks, found, sizes, (_side(random), _side(random))]
    return Call("unletterbox", arguments, {"enlarge": random.random() < 0.5})


def _align(random: Random) -> Call:
    count, faces = random.choice((1, 1, 2, 3)), random.choice((0, 1, 2, 5))
    images: Any = [_array(random, (_side(random), _side(random), 3), np.uint8) for _ in range(count)]
    indices: Any = _array(random, (faces,), np.int32) % count
    if count == 1 and random.random() < 0.5:
        images, indices = random.choice((images, images[0])), None
    size = (_side(random), _side(random))
    template = [(random.uniform(0, size[1]), random.uniform(0, size[0])) for _ in range(5)]
    options = {"template": template, "size": size, "threads": random.choice((0, 1, 2, 3))}
    landmarks = _array(random, (faces, 10)) * np.float32(random.choice((1, 20, 1e9, 1e-9)))
    return Call("align", [images, landmarks, indices], options)


def _decode(random: Random) -> Call:
    count, landmarks, cascade = random.choice((0, 1, 1, 2)), random.random() < 0.6, random.random() < 0.3
    values = random.choice(((), (), (2,), (3, 4)))
    heads, sizes, strides = [], [], []
    for level in range(random.choice((1, 1, 2, 3))):
        anchors, height, width = random.choice((1, 2, 3, 8)), random.randint(1, 6), random.randint(1, 6)
        first = 4 if cascade else None
        kinds = [2, 4, 10 if landmarks else None, *([first] if cascade or values else []), *values]
        heads.append(
            tuple(None if kind is None else _array(random, (count, kind * anchors, height, width)) for kind in kinds)
        )
        sizes.append([random.choice((16.0, 32, (8.0, 20.0))) for _ in range(anchors)])
        strides.append(8 << level)
    options = {
        "strides": strides,
        "anchor_sizes": sizes,
        "variances": (0.1, 0.2),
        "score_threshold": random.choice((0.0, 0.02, 0.5, 1.0)),
        "top_k": random.choice((1, 7, 100, 5000)),
        "value_points": [size % 2 == 0 and random.random() < 0.5 for size in values],
    }
    return Call("decode", [heads], options)


def _nms(random: Random) -> Call:
    count, slots = random.choice((0, 1, 1, 2)), random.choice((1, 2, 9, 65, 200))
    corners = abs(_array(random, (count, slots, 2, 2))).cumsum(axis=2, dtype=np.float32)
    boxes = np.ascontiguousarray(corners.reshape(count, slots, 4))
    landmarks = _array(random, (count, slots, 10)) if random.random() < 0.6 else None
    valid = _array(random, (count,), np.int32) % (slots + 1)
    options = {
        "iou_threshold": random.choice((0.0, 0.4, 0.5, 1.0)),
        "max_detections": random.choice((1, 5, 200, 5000)),
        "voting": random.random() < 0.4,
    }
    return Call("nms", [boxes, _array(random, (count, slots)), landmarks, valid], options)


def _deform_conv(random: Random) -> Call:
    groups, offset_groups = random.choice((1, 1, 2, 3)), random.choice((1, 1, 2))
    inner, outer = groups * offset_groups * random.choice((1, 2, 5)), groups * random.choice((1, 2, 4, 9))
    kernel = random.choice(((1, 1), (3, 3), (3, 2), (7, 1)))
    stride, dilation = random.choice(((1, 1), (2, 1), (1, 3))), random.choice(((1, 1), (2, 1)))
    padding = random.choice(((0, 0), (1, 1), (1, 2, 3, 0)))
    sides = [d * (k - 1) + random.randint(1, 6) for d, k in zip(dilation, kernel, strict=True)]
    pads = padding * 2 if len(padding) == 2 else padding
    reach = ((sides[i] + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2))
    out, count, taps = tuple(reach), random.choice((0, 1, 2)), offset_groups * kernel[0] * kernel[1]
    arguments = [
        _array(random, (count, inner, *sides)),
        _array(random, (outer, inner // groups, *kernel)),
        _array(random, (count, 2 * taps, *out)),
        _array(random, (outer,)) if random.random() < 0.5 else None,
        _array(random, (count, taps, *out)) if random.random() < 0.5 else None,
    ]
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "offset_groups": offset_groups,
    }
    return Call("deform_conv", arguments, options)


def _side(random: Random) -> int:
    return random.choice((1, 2, 3, 8, 17, 31, 32, 33, 64, random.randint(1, 90)))


_CALLS: tuple[Callable[[Random], Call], ...] = (_letterbox, _unletterbox, _align, _decode, _nms, _deform_conv)
