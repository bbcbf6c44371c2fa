"""Makes models with random weights whose activations are scaled like those of trained models."""

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
# Standard deviations of the outputs: logits on both sides of the threshold, boxes that differ from their anchors,
# offsets of a fraction of a pixel.
LOGIT_SPREAD, DELTA_SPREAD, OFFSET_SPREAD = 1.0, 0.1, 0.3
# Scale of a residual block's branch relative to its shortcut: at 1, untrained layers would amplify rounding errors.
BRANCH = 0.2


def settled_model(name: str, /, **changes: object) -> RetinaFace:
    """Make a preset's model whose activations neither vanish nor explode, and whose scores differ.

    With PyTorch's initialisation, activations shrink layer by layer; after 50 layers every anchor would have the same
    score. Here batch normalisation takes the statistics of one batch, and the outputs of heads and offsets are scaled
    to the standard deviations above.
    """
    return copy.deepcopy(_settled(replace(preset(name), **changes)))  # type: ignore[arg-type]


@cache
def _settled(config: RetinaFaceConfig) -> RetinaFace:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = RetinaFace(config)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all passes: one context module processes every level
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
    """Return a forward hook that scales a convolution so that its output has this standard deviation."""

    def hook(module: nn.Conv2d, _: object, output: torch.Tensor) -> torch.Tensor:
        factor = spread / output.std()
        module.weight *= factor
        if module.bias is not None:
            module.bias *= factor
        return output * factor

    return hook


def random_images(config: RetinaFaceConfig, *shape: int) -> NDArray[np.float32]:
    """Return a batch [N, 3, H, W] of noise, normalised as the model expects it."""
    levels = np.random.default_rng(SEED).uniform(0, 255, size=shape)
    mean, std = (np.array(values)[:, None, None] for values in (config.mean, config.std))
    normalised: NDArray[np.float64] = (levels - mean) / std
    return normalised.astype(np.float32)
