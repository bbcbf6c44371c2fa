"""Which other config weights may belong to, for the messages that refuse them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from engine.config.backbones import BACKBONES
from engine.config.files import presets_alike
from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS


class _Shaped(Protocol):
    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""


def advice(config: RetinaFaceConfig, body: float, behind: float) -> str:
    """Return what to do about weights that fit a config but for its slopes, in the body and behind it."""
    own_body = body if BACKBONES[config.backbone].leaky and body != behind else None
    names = presets_alike(config, negative_slope=behind, body_slope=own_body)
    settings = f"negative_slope {behind:g}" + (f" and body_slope {body:g}" if own_body is not None else "")
    own = f"a config file with {settings} (retinaface-trt config {config.name} > FILE.json)"
    return f"Use --config {' or '.join(names)}, or {own}" if names else f"Use {own}"


def presets_of(tensors: Mapping[str, _Shaped]) -> list[str]:
    """Return the presets whose models have exactly these tensors, by name and shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return [name for name, expected in _shapes().items() if expected == shapes]


@cache
def _shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the tensors of each preset's model, without counters, which have no axes."""
    import torch

    from engine.model.retinaface import RetinaFace

    found = {}
    for name, config in PRESETS.items():
        with torch.device("meta"):
            state = RetinaFace(config).state_dict()
        found[name] = {key: tuple(value.shape) for key, value in state.items() if value.ndim}
    return found
