"""What trials say, for users."""

from __future__ import annotations

import json
from collections.abc import Sequence

from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.plausibility.candidates import ASPECTS, changes
from engine.plausibility.trials import Trial, best
from engine.text import printable

_ROWS = 5
# Faces for each plausible one, and beyond that, which are too many.
_MOST_FACES, _FEW = 3, 10


def report(tried: Sequence[Trial], source: str, picture: str) -> list[str]:
    """Return a table of the best settings, and what is to be said about the chosen one.

    Args:
        tried: from trials.
        source: of the weights.
        picture: name of the picture.
    """
    head = f"Note: {printable(source)} with the settings that its shapes allow, on {printable(picture)}:"
    return ["\n".join([head, *_table(tried)]), _verdict(tried)]


def _table(tried: Sequence[Trial]) -> list[str]:
    chosen = tried[0]
    configs = [trial.config for trial in tried]
    varied = [aspect for aspect in ASPECTS if len({aspect.words(config) for config in configs}) > 1]
    shown = sorted(tried, key=lambda trial: -trial.judged.total)[:_ROWS]
    shown += [] if chosen in shown else [chosen]
    lines = ["  faces  plausible  sum    settings"]
    for trial in shown:
        words = "; ".join(aspect.words(trial.config) for aspect in varied)
        mark = " (chosen)" if trial is chosen else ""
        lines.append(
            f"  {trial.faces:5}  {trial.judged.plausible:9}  {trial.judged.total:5.2f}  {_name(trial.config)}{words}"
            f"{mark}"
        )
    return lines


def _verdict(tried: Sequence[Trial]) -> str:
    chosen, better = tried[0], best(tried)
    if better.beats(chosen):
        return (
            f"Warning: the faces are more plausible with other settings than those of config {chosen.config.name!r}: "
            f"their sum is {better.judged.total:.2f}, that of the config {chosen.judged.total:.2f}. "
            f"{_advice(chosen.config, better)}"
        )
    if chosen.judged.plausible == 0:
        return (
            "Warning: the weights find no plausible face with any of these settings. Give a photo with several faces "
            "with --check PHOTO; if none is found there, they belong to another config"
        )
    if chosen.faces > _MOST_FACES * chosen.judged.plausible + _FEW:
        return (
            f"Warning: only {chosen.judged.plausible} of {chosen.faces} faces are plausible: the weights seem to be "
            "those of another config"
        )
    return f"Note: no other setting is clearly better than those of config {chosen.config.name!r}"


def _name(config: RetinaFaceConfig) -> str:
    return f"{config.name}: " if config in PRESETS.values() else ""


def _advice(chosen: RetinaFaceConfig, better: Trial) -> str:
    config = better.config
    if config in PRESETS.values():
        return f"Use --config {config.name}"
    values = config.to_dict()
    settings = [
        f"the levels of config {_with_levels(config)}" if name == "levels" else f'"{name}": {json.dumps(values[name])}'
        for name in changes(chosen, config)
    ]
    return f"Use a config file (retinaface-trt config {chosen.name} > FILE.json) with {', '.join(settings)}"


def _with_levels(config: RetinaFaceConfig) -> str:
    return next(known.name for known in PRESETS.values() if known.levels == config.levels)
