"""Every setting that must travel with a checkpoint, and the presets by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import InvalidArgumentError

BACKBONES = ("mobilenet0.25", "resnet50")
HEADS = ("class", "box", "landmark")
MAX_ANCHORS = 200_000  # of one image: what the decoder takes


@dataclass(frozen=True)
class PyramidLevel:
    """One level of the feature pyramid.

    Attributes:
        stride: pixels of the network's input per cell.
        anchor_sizes: sides of the square anchors in each cell, in pixels, in the order of the heads' channels.
    """

    stride: int
    anchor_sizes: tuple[float, ...]


@dataclass(frozen=True)
class RetinaFaceConfig:
    """What a checkpoint's tensors do not say about the model they belong to.

    Attributes:
        name: of the preset.
        backbone: one of BACKBONES.
        levels: the pyramid, finest first.
        fpn_channels: channels of the pyramid and of its context modules.
        negative_slope: of the leaky ReLUs in the pyramid, the context modules and a MobileNet body; 0 is ReLU.
        variances: of centre and size in the box coding.
        mean: subtracted from each channel, in the order of `color_order`.
        std: each channel is divided by it.
        color_order: "bgr" or "rgb": the order of the network's input channels.
        pad_value: grey levels around a letterboxed image, in the order of `color_order`.
        heads: which heads there are; "landmark" may be missing.
    """

    name: str
    backbone: str
    levels: tuple[PyramidLevel, ...]
    fpn_channels: int
    negative_slope: float
    variances: tuple[float, float] = (0.1, 0.2)
    mean: tuple[float, float, float] = (104.0, 117.0, 123.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    color_order: str = "bgr"
    pad_value: tuple[int, int, int] = (104, 117, 123)
    heads: tuple[str, ...] = HEADS

    def __post_init__(self) -> None:
        """Refuse settings that no model can have."""
        _require(self.backbone in BACKBONES, "backbone", self.backbone, " or ".join(BACKBONES))
        _require(1 <= len(self.levels) <= 8, "levels", len(self.levels), "1 to 8 pyramid levels")
        for level in self.levels:
            sizes = level.anchor_sizes
            _require(level.stride > 0, "levels", level.stride, "positive strides")
            _require(1 <= len(sizes) <= 8 and all(0 < s < math.inf for s in sizes), "levels", sizes, "1 to 8 sizes")
        _require(self.fpn_channels > 0 and self.fpn_channels % 4 == 0, "fpn_channels", self.fpn_channels, "4, 8, ...")
        _require(0 <= self.negative_slope < 1, "negative_slope", self.negative_slope, "0 <= slope < 1")
        _require(all(v > 0 for v in self.variances), "variances", self.variances, "two positive numbers")
        _require(all(s > 0 for s in self.std), "std", self.std, "three positive numbers")
        _require(self.color_order in ("bgr", "rgb"), "color_order", self.color_order, "bgr or rgb")
        _require(all(0 <= p <= 255 for p in self.pad_value), "pad_value", self.pad_value, "grey levels 0 to 255")
        _require(self.heads in (HEADS, HEADS[:2]), "heads", self.heads, f"{HEADS} or {HEADS[:2]}")

    @property
    def has_landmarks(self) -> bool:
        """Whether there is a landmark head."""
        return "landmark" in self.heads

    @property
    def max_stride(self) -> int:
        """The stride of the coarsest level: input sizes are multiples of it."""
        return max(level.stride for level in self.levels)

    def head_names(self) -> list[str]:
        """Names of the network's outputs: per level logits_S, box_deltas_S and, if any, landmark_deltas_S."""
        kinds = ("logits", "box_deltas", "landmark_deltas") if self.has_landmarks else ("logits", "box_deltas")
        return [f"{kind}_{level.stride}" for level in self.levels for kind in kinds]

    def num_anchors(self, height: int, width: int) -> int:
        """Count the anchors of one image of the given size."""
        return sum((height // v.stride) * (width // v.stride) * len(v.anchor_sizes) for v in self.levels)

    def check_input_size(self, height: int, width: int) -> None:
        """Raise InvalidArgumentError unless both sides are positive multiples of the largest stride.

        Nor may the image have more anchors than the decoder takes.
        """
        for name, side in (("height", height), ("width", width)):
            if side <= 0 or side % self.max_stride:
                below = max(side // self.max_stride, 1) * self.max_stride
                raise InvalidArgumentError(
                    f"input {name} is {side}, expected a multiple of {self.max_stride}, the largest stride of "
                    f"{self.name}: for example {below} or {below + self.max_stride}"
                )
        if self.num_anchors(height, width) > MAX_ANCHORS:
            raise InvalidArgumentError(
                f"input size is {height} x {width}, which has {self.num_anchors(height, width)} anchors, expected at "
                f"most {MAX_ANCHORS}: choose a smaller size"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RetinaFaceConfig:
        """Read what to_dict wrote; InvalidArgumentError names a key that is missing, unknown or of a wrong type."""
        known = set(cls.__dataclass_fields__)
        if set(values) != known:
            missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
            raise InvalidArgumentError(f"config has unknown keys {unknown} and lacks {missing}")
        try:
            levels = tuple(
                PyramidLevel(int(v["stride"]), tuple(float(s) for s in v["anchor_sizes"])) for v in values["levels"]
            )
            tuples = {k: tuple(v) for k, v in values.items() if isinstance(v, Sequence) and not isinstance(v, str)}
            return cls(**{**values, **tuples, "levels": levels})
        except InvalidArgumentError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"config cannot be read: {error!r}") from error


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"config: {name} is {given!r}, expected {expected}")


def _three_levels(*anchor_sizes: tuple[float, ...]) -> tuple[PyramidLevel, ...]:
    return tuple(PyramidLevel(stride, sizes) for stride, sizes in zip((8, 16, 32), anchor_sizes, strict=True))


# Settings of Pytorch_Retinaface's data/config.py, cfg_mnet and cfg_re50, and models/net.py (a slope of 0.1 where the
# pyramid has at most 64 channels, else 0).
_UPSTREAM_LEVELS = _three_levels((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))

PRESETS: dict[str, RetinaFaceConfig] = {
    config.name: config
    for config in (
        RetinaFaceConfig(
            name="mobilenet0.25",
            backbone="mobilenet0.25",
            levels=_UPSTREAM_LEVELS,
            fpn_channels=64,
            negative_slope=0.1,
        ),
        # A public look-alike: the same state_dict keys and shapes, but ReLU and smaller anchors.
        RetinaFaceConfig(
            name="mobilenet0.25-relu",
            backbone="mobilenet0.25",
            levels=_three_levels((10.0, 20.0), (32.0, 64.0), (128.0, 256.0)),
            fpn_channels=64,
            negative_slope=0.0,
        ),
        RetinaFaceConfig(
            name="resnet50",
            backbone="resnet50",
            levels=_UPSTREAM_LEVELS,
            fpn_channels=256,
            negative_slope=0.0,
        ),
    )
}


def preset(name: str) -> RetinaFaceConfig:
    """Return the preset called `name`; InvalidArgumentError lists the names there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidArgumentError(f"unknown config {name!r}, expected one of: {', '.join(PRESETS)}") from None
