"""Models of the family with random weights that behave like trained ones, and the tests' own way to faces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.model.deform_conv import DeformableConv
from engine.model.resnet import BasicBlock, Bottleneck
from engine.model.retinaface import RetinaFace

SEED = 5
# Of the random heads, in units of what they are trained to: logits spread over both sides of the threshold, boxes some
# way off their anchors, taps moved by a part of a pixel.
LOGIT_SPREAD, DELTA_SPREAD, OFFSET_SPREAD = 1.0, 0.1, 0.3
# Of a residual block's branch beside its shortcut: at 1, layers that are not trained multiply every rounding.
BRANCH = 0.2


def settled_model(name: str, **changes: object) -> RetinaFace:
    """Make a preset's model whose activations neither vanish nor explode, and whose heads say something.

    PyTorch's own initialisation shrinks activations layer by layer; after 50 layers every anchor would have the same
    score. Batch normalisations take the statistics of one batch, heads and offsets are scaled to spreads as above.
    """
    return copy.deepcopy(_settled(replace(preset(name), **changes)))  # type: ignore[arg-type]


@cache
def _settled(config: RetinaFaceConfig) -> RetinaFace:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = RetinaFace(config)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all that pass: one context module sees every level
            if isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                last.weight.fill_(BRANCH)
            if isinstance(module, DeformableConv):
                nn.init.normal_(module.offset.weight)
        images = torch.from_numpy(random_images(config, 8, 3, 64, 96))
        model.train()(images)
        model.eval()
        for path, module in model.named_modules():
            spread = _spread(path)
            if isinstance(module, nn.Conv2d) and spread is not None:
                module.register_forward_hook(_scale_to(spread))
        model(images)
        for module in model.modules():
            module._forward_hooks.clear()
        return model


def _spread(path: str) -> float | None:
    if path.endswith(".offset"):
        return OFFSET_SPREAD
    if "Head" not in path:
        return None
    return LOGIT_SPREAD if path.startswith("ClassHead") else DELTA_SPREAD


def _scale_to(spread: float) -> Callable[..., torch.Tensor]:
    """Return a hook that scales a convolution so that its output spreads like that."""

    def hook(module: nn.Conv2d, _: object, output: torch.Tensor) -> torch.Tensor:
        factor = spread / output.std()
        module.weight *= factor
        if module.bias is not None:
            module.bias *= factor
        return output * factor

    return hook


def random_images(config: RetinaFaceConfig, *shape: int) -> NDArray[np.float32]:
    """A batch [N, 3, H, W] of noise, normalised as the model wants it."""
    levels = np.random.default_rng(SEED).uniform(0, 255, size=shape)
    mean, std = (np.array(values)[:, None, None] for values in (config.mean, config.std))
    normalised: NDArray[np.float64] = (levels - mean) / std
    return normalised.astype(np.float32)
