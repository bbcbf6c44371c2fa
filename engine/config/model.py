"""The configuration of a model, which its checkpoint does not contain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from engine.config.backbones import BACKBONES
from engine.config.heads import FIVE_MIRRORED, ValueHead, check_heads, split_values
from engine.config.reader import ADDED, read_dataclass
from engine.errors import InvalidArgumentError

_Head = TypeVar("_Head")
_LEFT_OUT = "left out"  # in the metadata of a field

HEADS = ("class", "box", "landmark")
CONTEXTS = ("none", "plain", "shared", "deformable")
PYRAMIDS = ("top-down", "neighbours")
BODY_STRIDE = 32  # of the deepest features, which the pyramid doubles level by level
MAX_ANCHORS = 1 << 22  # of one image: what the decoder takes
MAX_CHANNELS = 4096  # of the pyramid
_LONGEST_NAME = 64
# Sizes, ratios and scales: far beyond what any model has, and no product of two overflows float32.
_LEAST, _MOST = 1e-6, 1e6
_IN_RANGE = f"above 0, {_LEAST:g} to {_MOST:g}"


@dataclass(frozen=True)
class PyramidLevel:
    """One level of the feature pyramid.

    Attributes:
        stride: pixels of the network's input per cell.
        anchor_sizes: square roots of the areas of the anchors in each cell, in pixels.
        aspect_ratios: height over width of the anchors. Each ratio is combined with all sizes. The heads' channels have
            the sizes of the first ratio first, then those of the second.
    """

    stride: int
    anchor_sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...] = (1.0,)

    @property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """Width and height of the anchors in each cell, in pixels."""
        sides = [(size, math.sqrt(ratio)) for ratio in self.aspect_ratios for size in self.anchor_sizes]
        return tuple((size / root, size * root) for size, root in sides)


def _added(default: Any) -> Any:
    """Return a field that files of older models lack, and that those of models with its default still leave out."""
    return field(default=default, metadata={ADDED: True, _LEFT_OUT: True})


@dataclass(frozen=True)
class RetinaFaceConfig:
    """The configuration of a model, beside the tensors of its checkpoint.

    Attributes:
        name: of the preset.
        backbone: one of BACKBONES.
        levels: the pyramid, finest first.
        fpn_channels: channels of the pyramid and of its context modules.
        negative_slope: of the leaky ReLUs in the pyramid and the context modules; 0 is ReLU.
        context: "plain" is one context module per level; "shared" is one for all levels; "deformable" is one per level
            with deformable 3x3 convolutions; "none" is without.
        pyramid: "top-down" adds the merged features of the coarser level to each level; "neighbours" adds the coarser
            level's lateral features only, as one public port does.
        cascade: whether additional heads refine the anchors before detection: see docs/development/architecture.md.
        input_size: (height, width) as published; the default for engines.
        variances: of centre and size in the box coding.
        mean: subtracted from each channel, in the order of `color_order`.
        std: divisor of each channel, in the order of `color_order`.
        color_order: "bgr" or "rgb": the order of the network's input channels.
        pad_value: grey levels around a letterboxed image, in the order of `color_order`.
        heads: kinds of heads, HEADS or HEADS without "landmark".
        body_slope: of the leaky ReLUs in a MobileNetV1 body; None is `negative_slope`. Other bodies have none.
        classes: names of the classes behind the background, which has no name.
        class_coding: "softmax": logits of the background and all classes; "sigmoid": one logit for each class.
        class_agnostic: whether faces of different classes suppress each other.
        mirrored_points: for each point, which one takes its place in a mirrored image; there are as many points.
        values: heads of plain numbers or of further points.
    """

    name: str
    backbone: str
    levels: tuple[PyramidLevel, ...]
    fpn_channels: int
    negative_slope: float
    context: str = "plain"
    pyramid: str = "top-down"
    cascade: bool = False
    input_size: tuple[int, int] = (640, 640)
    variances: tuple[float, float] = (0.1, 0.2)
    mean: tuple[float, float, float] = (104.0, 117.0, 123.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    color_order: str = "bgr"
    pad_value: tuple[int, int, int] = (104, 117, 123)
    heads: tuple[str, ...] = HEADS
    body_slope: float | None = field(default=None, metadata={ADDED: True})
    classes: tuple[str, ...] = _added(("face",))
    class_coding: str = _added("softmax")
    class_agnostic: bool = _added(False)
    mirrored_points: tuple[int, ...] = _added(FIVE_MIRRORED)
    values: tuple[ValueHead, ...] = _added(())

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for settings that no model can have."""
        _require(1 <= len(self.name) <= _LONGEST_NAME, "name", self.name, f"1 to {_LONGEST_NAME} characters")
        _require(self.backbone in BACKBONES, "backbone", self.backbone, " or ".join(BACKBONES))
        for level in self.levels:
            for name, values in (("sizes", level.anchor_sizes), ("aspect ratios", level.aspect_ratios)):
                _require(_in_range(values), "levels", values, f"anchor {name} {_IN_RANGE}")
            count = len(level.anchor_sizes) * len(level.aspect_ratios)
            _require(1 <= count <= 8, "levels", count, "1 to 8 anchors a cell: sizes times aspect ratios")
        strides = tuple(level.stride for level in self.levels)
        possible = BACKBONES[self.backbone].level_strides()
        _require(strides in possible, "levels", strides, f"strides {' or '.join(map(str, possible))}")
        channels_fit = 0 < self.fpn_channels <= MAX_CHANNELS and self.fpn_channels % 4 == 0
        _require(channels_fit, "fpn_channels", self.fpn_channels, f"4, 8, ..., {MAX_CHANNELS}")
        _require(0 <= self.negative_slope < 1, "negative_slope", self.negative_slope, "0 <= slope < 1")
        body_fits = self.body_slope is None or 0 <= self.body_slope < 1
        _require(body_fits, "body_slope", self.body_slope, "null or 0 <= slope < 1")
        _require(self.context in CONTEXTS, "context", self.context, " or ".join(CONTEXTS))
        _require(self.pyramid in PYRAMIDS, "pyramid", self.pyramid, " or ".join(PYRAMIDS))
        sides_fit = len(self.input_size) == 2 and all(s > 0 and s % BODY_STRIDE == 0 for s in self.input_size)
        _require(sides_fit, "input_size", self.input_size, f"two multiples of {BODY_STRIDE}")
        _require(_in_range(self.variances), "variances", self.variances, f"two numbers {_IN_RANGE}")
        _require(all(abs(m) <= _MOST for m in self.mean), "mean", self.mean, f"three numbers up to {_MOST:g}")
        _require(_in_range(self.std), "std", self.std, f"three numbers {_IN_RANGE}")
        _require(self.color_order in ("bgr", "rgb"), "color_order", self.color_order, "bgr or rgb")
        _require(all(0 <= p <= 255 for p in self.pad_value), "pad_value", self.pad_value, "grey levels 0 to 255")
        _require(self.heads in (HEADS, HEADS[:2]), "heads", self.heads, f"{HEADS} or {HEADS[:2]}")
        check_heads(self.classes, self.class_coding, self.mirrored_points, self.values, self.has_landmarks)
        agnostic_fits = not self.class_agnostic or len(self.classes) > 1
        _require(agnostic_fits, "class_agnostic", self.class_agnostic, "false, as there is one class")
        doubled = sorted({head.name for head in self.values} & set(self.head_names()))
        _require(not doubled, "values", doubled, "names that are not those of the network's outputs, NAME_STRIDE")
        try:
            self.check_input_size(*self.input_size)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"config: {error}") from None

    @property
    def num_points(self) -> int:
        """How many points a face has; 0 without a landmark head."""
        return len(self.mirrored_points) if self.has_landmarks else 0

    @property
    def num_classes(self) -> int:
        """How many classes there are, with the background."""
        return 1 + len(self.classes)

    @property
    def payload_size(self) -> int:
        """How many numbers a detection carries beside box, score and class: points, then values."""
        return 2 * self.num_points + sum(head.size for head in self.values)

    @property
    def has_published_heads(self) -> bool:
        """Whether the heads are those of RetinaFace as published: one class as softmax, five points or none."""
        return (self.num_classes, self.class_coding, self.values) == (2, "softmax", ()) and self.num_points in (0, 5)

    @property
    def has_landmarks(self) -> bool:
        """Whether there is a landmark head."""
        return "landmark" in self.heads

    @property
    def slopes(self) -> tuple[float, float]:
        """Negative slopes of the activations in the body, and behind it. Of a body without leaky ReLUs it is 0."""
        if not BACKBONES[self.backbone].leaky:
            return 0.0, self.negative_slope
        return self.negative_slope if self.body_slope is None else self.body_slope, self.negative_slope

    @property
    def activations(self) -> str:
        """The activations in words."""
        return activations(*self.slopes)

    @property
    def max_stride(self) -> int:
        """The stride of the coarsest level."""
        return max(level.stride for level in self.levels)

    def head_kinds(self) -> tuple[str, ...]:
        """Return the names of a level's heads without the stride, in the order of the network's outputs."""
        landmarks = ("landmark_deltas",) if self.has_landmarks else ()
        first_stage = ("anchor_deltas",) if self.cascade else ()
        return ("logits", "box_deltas", *landmarks, *first_stage, *(head.name for head in self.values))

    def head_values(self, kind: str) -> int:
        """Return how many numbers an anchor has in a kind of head, one of head_kinds()."""
        logits = self.num_classes - (self.class_coding == "sigmoid")
        published = {"logits": logits, "box_deltas": 4, "landmark_deltas": 2 * self.num_points, "anchor_deltas": 4}
        return {**published, **{head.name: head.size for head in self.values}}[kind]

    def head_names(self) -> list[str]:
        """Return the names of the network's outputs: logits_8, box_deltas_8, ..., logits_16, ..."""
        return [f"{kind}_{level.stride}" for level in self.levels for kind in self.head_kinds()]

    def head_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Return the shape of each output, without the batch, for an input of the given size."""
        return {
            f"{kind}_{level.stride}": (
                len(level.anchors) * self.head_values(kind),
                *self.map_size(level, height, width),
            )
            for level in self.levels
            for kind in self.head_kinds()
        }

    def decoder_heads(self, outputs: Sequence[_Head]) -> list[tuple[_Head | None, ...]]:
        """Group outputs, in the order of head_names, for engine.ops.decode: one tuple per level."""
        kinds = self.head_kinds()
        per_level = [outputs[i : i + len(kinds)] for i in range(0, len(outputs), len(kinds))]
        levels = [dict(zip(kinds, heads, strict=True)) for heads in per_level]
        values = [head.name for head in self.values]
        taken = [
            "logits",
            "box_deltas",
            "landmark_deltas",
            *["anchor_deltas"] * (self.cascade or bool(values)),
            *values,
        ]
        return [tuple(level.get(kind) for kind in taken) for level in levels]

    def decode_arguments(self) -> dict[str, Any]:
        """Return the arguments of engine.ops.decode that the model decides."""
        return {
            "strides": [level.stride for level in self.levels],
            "anchor_sizes": [level.anchors for level in self.levels],
            "variances": self.variances,
            "classes": self.num_classes,
            "sigmoid": self.class_coding == "sigmoid",
            "value_points": tuple(head.is_points for head in self.values),
        }

    def split_payload(self, payload: Any) -> tuple[Any, dict[str, Any]]:
        """Split what decoding carries, an array [..., payload_size] or None, into landmarks and the values by name."""
        if payload is None:
            return None, {}
        begin = 2 * self.num_points
        return payload[..., :begin] if self.has_landmarks else None, split_values(payload[..., begin:], self.values)

    def map_size(self, level: PyramidLevel, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a level for an input of the given size.

        A strided convolution rounds up: 15 cells of 32 pixels become 8 cells of 64.
        """
        return -(-height // level.stride), -(-width // level.stride)

    def num_anchors(self, height: int, width: int) -> int:
        """Count the anchors of one image of the given size."""
        return sum(math.prod(self.map_size(v, height, width)) * len(v.anchors) for v in self.levels)

    def check_input_size(self, height: int, width: int) -> None:
        """Check that the network and the decoder accept a size.

        32 is the stride of the deepest features, from which the pyramid makes the finer levels by doubling. A level of
        stride 64 is a strided convolution of them and rounds up.

        Raises:
            InvalidArgumentError: a side is not a positive multiple of 32, or there are more than MAX_ANCHORS pairs of
                an anchor and a class.
        """
        for name, side in (("height", height), ("width", width)):
            if side <= 0 or side % BODY_STRIDE:
                below = max(side // BODY_STRIDE, 1) * BODY_STRIDE
                raise InvalidArgumentError(
                    f"input {name} is {side}, expected a multiple of {BODY_STRIDE}, the stride of the deepest features "
                    f"of {self.name}: for example {below} or {below + BODY_STRIDE}"
                )
        candidates = self.num_anchors(height, width) * len(self.classes)
        if candidates > MAX_ANCHORS:
            kind = "anchors" if len(self.classes) == 1 else "pairs of an anchor and a class"
            raise InvalidArgumentError(
                f"input size is {height} x {width}, which has {candidates} {kind}, expected at most {MAX_ANCHORS}: "
                "choose a smaller size"
            )

    def is_trained_like(self, other: RetinaFaceConfig) -> bool:
        """Return whether it differs from another config at most in what does not matter to weights."""
        return replace(self, name=other.name, input_size=other.input_size, pad_value=other.pad_value) == other

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which older versions read if the model needs nothing newer."""
        older = {f.name for f in fields(self) if f.metadata.get(_LEFT_OUT) and getattr(self, f.name) == f.default}
        values = asdict(self) | {"values": tuple(head.to_dict() for head in self.values)}
        return {name: value for name, value in values.items() if name not in older}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RetinaFaceConfig:
        """Read what to_dict gave, also through JSON; InvalidArgumentError names the field that does not fit."""
        return read_dataclass(cls, values, "config")


def activations(body: float, behind: float) -> str:
    """Return negative slopes of a body and of what is behind it in words."""
    first, second = (f"leaky ReLU {slope:g}" if slope else "ReLU" for slope in (body, behind))
    return second if first == second else f"{first} in the body, {second} behind it"


def _in_range(values: Sequence[float]) -> bool:
    return all(_LEAST <= value <= _MOST for value in values)


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"config: {name} is {given!r:.200}, expected {expected}")
