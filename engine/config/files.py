"""Configurations as JSON files, and by the names of presets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.untrusted.files import read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_CONFIG_BYTES

SUFFIX = ".json"


def find_config(given: str | os.PathLike[str] | RetinaFaceConfig) -> RetinaFaceConfig:
    """Return a configuration by the name of its preset or the path of its file; one that is given, unchanged.

    Raises:
        InvalidArgumentError: it is neither a preset nor a file of a configuration.
    """
    if isinstance(given, RetinaFaceConfig):
        return given
    text = os.fspath(given)
    if text in PRESETS:
        return PRESETS[text]
    if text.endswith(SUFFIX) or os.sep in text:
        return read_config(Path(text))
    raise InvalidArgumentError(
        f"unknown config {text!r}, expected the name of a JSON file (NAME{SUFFIX}) or one of: {', '.join(PRESETS)}"
    )


def read_config(path: Path) -> RetinaFaceConfig:
    """Read a file that `retinaface-trt config` wrote: a JSON object with every field of RetinaFaceConfig.

    Raises:
        InvalidArgumentError: it cannot be read, lacks a field, has another one, or has a value that no model can have;
            or it has the name of a preset, but other settings.
    """
    try:
        config = RetinaFaceConfig.from_dict(parse_json(read_file(path, MAX_CONFIG_BYTES)))
    except OSError as error:
        raise InvalidArgumentError(
            f"config {path} cannot be read: {error.strerror}. Write one with: retinaface-trt config NAME > {path.name}"
        ) from error
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"config {path}: {error}") from error
    if config != PRESETS.get(config.name, config):
        raise InvalidArgumentError(
            f"config {path} is called {config.name!r} like a preset, but has other settings: give it a name of its own"
        )
    return config


def presets_alike(config: RetinaFaceConfig, **settings: object) -> list[str]:
    """Return the names of presets with these settings whose tensors have the same names and shapes as a config's."""
    wanted = replace(config, **settings)  # type: ignore[arg-type]  # fields by name
    return [name for name, known in PRESETS.items() if _key(known) == _key(wanted)]


def presets_of_shapes(config: RetinaFaceConfig) -> list[str]:
    """Return the names of presets whose tensors have the same names and shapes as a config's."""
    return [name for name, known in PRESETS.items() if _shapes(known) == _shapes(config)]


def _key(config: RetinaFaceConfig) -> tuple[object, ...]:
    return (*_shapes(config), config.pyramid, config.slopes)


def _shapes(config: RetinaFaceConfig) -> tuple[object, ...]:
    """Return what the names and shapes of a config's tensors depend on."""
    anchors = [(level.stride, len(level.anchors)) for level in config.levels]
    heads = [(kind, config.head_values(kind)) for kind in config.head_kinds()]
    return config.backbone, anchors, config.fpn_channels, config.context, heads
