"""`retinaface-trt config`: the settings of a model, for `--config FILE`."""

from __future__ import annotations

import argparse
import json

from engine.config.files import find_config
from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.text import printable

SUMMARY = "print a model's settings as JSON, to be changed and given with --config FILE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FILE", help="a preset, or a file to check (default: list the presets)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one model's settings, or a line about each preset."""
    if arguments.name is None:
        width = max(map(len, PRESETS))
        for name, config in PRESETS.items():
            print(printable(f"{name:{width}}  {_summary(config)}"))
    else:
        print(json.dumps(find_config(arguments.name).to_dict(), indent=2))
    return 0


def _summary(config: RetinaFaceConfig) -> str:
    strides = ", ".join(str(level.stride) for level in config.levels)
    parts = [f"{config.context} context"] * (config.context != "none") + ["landmarks"] * config.has_landmarks
    parts += ["cascade"] * config.cascade
    parts += [f"{len(config.classes)} classes"] * (len(config.classes) > 1)
    pixels = f"{config.color_order.upper()} - ({', '.join(f'{m:g}' for m in config.mean)})"
    return (
        f"{config.backbone}, strides {strides} with {config.fpn_channels} channels, {config.activations}; "
        f"{', '.join(parts)}; {pixels}"
    )
