"""The settings that weights may have been trained with, as far as the shapes of their tensors tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from engine.config.files import presets_of_shapes
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.config.presets import PRESETS


@dataclass(frozen=True)
class Aspect:
    """What no shape tells.

    Attributes:
        fields: of RetinaFaceConfig, which change together.
        words: says what a config has.
    """

    fields: tuple[str, ...]
    words: Callable[[RetinaFaceConfig], str]

    def of(self, config: RetinaFaceConfig) -> tuple[Any, ...]:
        """Return the values of a config."""
        return tuple(getattr(config, name) for name in self.fields)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _pixels(config: RetinaFaceConfig) -> str:
    spread = "" if set(config.std) == {1.0} else f" / {_numbers(config.std)}"
    return f"{config.color_order.upper()} - {_numbers(config.mean)}{spread}"


def _anchors(levels: Sequence[PyramidLevel]) -> str:
    return f"{_numbers(levels[0].anchor_sizes)} to {_numbers(levels[-1].anchor_sizes)}"


ACTIVATIONS = Aspect(("negative_slope", "body_slope"), lambda config: config.activations)
PIXELS = Aspect(("mean", "std", "color_order", "pad_value"), _pixels)
ASPECTS = (
    ACTIVATIONS,
    Aspect(("pyramid",), lambda config: f"{config.pyramid} pyramid"),
    PIXELS,
    Aspect(("levels",), lambda config: f"anchors {_anchors(config.levels)}"),
    Aspect(("variances",), lambda config: f"variances {_numbers(config.variances)}"),
)


def candidates(config: RetinaFaceConfig, *, slopes_known: bool) -> list[RetinaFaceConfig]:
    """Return a config, and then all combinations of its settings with those of the presets that have equal tensors.

    Colours come in both orders. A combination has the name of the preset that it is, else that of the config.

    Args:
        config: that was chosen.
        slopes_known: whether something else has told the slopes of the activations.
    """
    alike = [config, *(PRESETS[name] for name in presets_of_shapes(config))]
    values = []
    for aspect in ASPECTS:
        givers = alike[:1] if aspect is ACTIVATIONS and slopes_known else alike
        if aspect is PIXELS:
            givers = [*givers, *map(_other_order, givers)]
        values.append(list(dict.fromkeys(map(aspect.of, givers))))
    names = [name for aspect in ASPECTS for name in aspect.fields]
    found = []
    for combination in product(*values):
        fields = dict(zip(names, (value for part in combination for value in part), strict=True))
        found.append(_named(replace(config, **fields)))
    return [config, *found[1:]]


def changes(config: RetinaFaceConfig, other: RetinaFaceConfig) -> list[str]:
    """Return the fields, of the aspects, in which two configs differ; the padding is none that matters to weights."""
    names = [name for aspect in ASPECTS for name in aspect.fields if name != "pad_value"]
    return [name for name in names if getattr(config, name) != getattr(other, name)]


def _other_order(config: RetinaFaceConfig) -> RetinaFaceConfig:
    """Return a config with the same numbers for the same colours, which come in the other order."""
    return replace(
        config,
        color_order="rgb" if config.color_order == "bgr" else "bgr",
        mean=config.mean[::-1],
        std=config.std[::-1],
        pad_value=config.pad_value[::-1],
    )


def _named(config: RetinaFaceConfig) -> RetinaFaceConfig:
    return next((known for known in PRESETS.values() if config.is_trained_like(known)), config)
