"""The build that makes an engine of weights."""

from __future__ import annotations

import os
from pathlib import Path

from engine.build.pipeline import BuildOptions
from engine.config.detection import InputSize
from engine.config.formats import QUANTISED_PRECISIONS
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.files import sha256_of_file
from engine.model.weights.known import KNOWN_WEIGHTS, RANDOM_WEIGHTS, known_by
from engine.sidecar.files import ENGINE_SUFFIX

DEFAULT_PRECISION = "fp16"


def options_of(
    source: str | os.PathLike[str],
    config: str | os.PathLike[str] | None,
    precision: str | None,
    input_size: tuple[int, int] | None,
) -> BuildOptions:
    """Return the build that makes an engine of weights.

    Args:
        source: path of a checkpoint, the name of published weights, or the name of a config with default weights.
        config: the settings that the weights were trained with: a preset's name, or the path of a JSON file; None for
            weights that are known.
        precision: of the engine; None is fp16.
        input_size: (height, width) of the network's input; None is the config's.

    Raises:
        InvalidArgumentError: there are no such weights, they need a config, or the precision needs calibration.
    """
    name = os.fspath(source)
    if precision in QUANTISED_PRECISIONS:
        raise InvalidArgumentError(
            f"precision is {precision!r}, which is calibrated with photos like yours: build that engine with "
            f"retinaface-trt build --precision {precision} --calib-dir PHOTOS, and open it by its path"
        )
    return BuildOptions(
        precision=precision or DEFAULT_PRECISION,
        config=os.fspath(config) if config is not None else _config_of(name),
        weights=name if Path(name).exists() or name in (*KNOWN_WEIGHTS, RANDOM_WEIGHTS) else None,
        size=None if input_size is None else InputSize.fixed(*input_size),
    )


def _config_of(name: str) -> str:
    """Return the config of weights that are known by their name or content, and the one that a name means itself."""
    if Path(name).is_file():
        known = known_by(sha256_of_file(Path(name)))
        if known is None:
            raise InvalidArgumentError(
                f"{name} is a checkpoint that is not known by its digest: say with config= what it was trained as, a "
                f"JSON file or one of {', '.join(PRESETS)}"
            )
        return known.config
    if name in KNOWN_WEIGHTS:
        return KNOWN_WEIGHTS[name].config
    if name in PRESETS:
        return name
    raise InvalidArgumentError(
        f"there is no file {name}, and it is not a name: give the path of an engine (NAME{ENGINE_SUFFIX}) or of a "
        f"checkpoint, or one of {', '.join(dict.fromkeys([*KNOWN_WEIGHTS, *PRESETS]))}"
    )
