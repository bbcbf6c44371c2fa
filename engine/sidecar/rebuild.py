"""The command that rebuilds an engine, also from a sidecar that cannot be used."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.config.detection import Thresholds
from engine.config.files import SUFFIX as CONFIG_SUFFIX
from engine.config.presets import PRESETS

# Options of build_engine.py that repeat one value of a sidecar.
_OPTIONS = {
    "--precision": "precision.mode",
    "--config": "config.name",
    "--weights": "weights.source",
    "--runtime": "runtime.name",
    **{f"--{v.metadata['option'].replace('_', '-')}": f"thresholds.{v.name}" for v in fields(Thresholds)},
    "--embed-plugins": "plugins.embedded",
    "--mesh-decoder": "meshes.decoder",
    "--max-meshes": "meshes.max_meshes",
    "--mesh-colours": "meshes.colours",
}
# Beyond these a value is none that a build wrote.
_LONGEST_WORD = 4096  # a path
_LONGEST_LIST = 32


def rebuild_command(values: Any, engine_path: Path, maximum: tuple[int, int] | None = None) -> str:
    """Return the command that rebuilds an engine. Options that the sidecar lacks, whatever it holds, are left out.

    Args:
        values: see Sidecar.to_values.
        engine_path: where the engine goes.
        maximum: (height, width) of the largest input; None is that of the sidecar.
    """
    options: list[Any] = []
    for option, name in _OPTIONS.items():
        value = _find(values, name)
        if option == "--config" and isinstance(value, str) and value not in PRESETS:
            value += CONFIG_SUFFIX  # where the user keeps it is not known
        if isinstance(value, bool):
            options += [option] if value else []
        elif isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_WORD:
            options += [option, value]
    shapes = [_find(values, f"io.input.{kind}") for kind in ("minimum", "optimum", "maximum")]
    if all(_is_list(shape, int) and len(shape) == 4 for shape in shapes):
        low, best, high = (shape[2:] for shape in shapes)
        high = list(maximum or high)
        options += ["--input-size", *best, "--max-batch", shapes[2][0]]
        options += [] if low == high else ["--min-input-size", *low, "--max-input-size", *high]
    targets = _find(values, "targets")
    if _is_list(targets, str) and _find(values, "runtime.name") == "tensorrt-rtx":
        options += [word for target in targets for word in ("--target", target)]
    return shlex.join(["python", "build_engine.py", *map(str, options), "--output", str(engine_path)])


def _is_list(value: Any, kind: type) -> bool:
    fits = isinstance(value, list) and len(value) <= _LONGEST_LIST
    return fits and all(type(item) is kind and len(str(item)) <= _LONGEST_WORD for item in value)


def _find(values: Any, name: str) -> Any:
    """Return the value with a dotted name; None where there is none."""
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
