"""The weights that a run starts from."""

from __future__ import annotations

import torch

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.model.weights.known import RANDOM_WEIGHTS
from engine.model.weights.load import load_backbone, load_model


def starting_network(
    config: RetinaFaceConfig, weights: str | None, backbone: str | None, seed: int
) -> tuple[RetinaFace, str]:
    """Make a network to train.

    Args:
        config: of the network.
        weights: of the whole network, see load_model. None is the published weights of the preset.
        backbone: checkpoint of the body alone, such as torchvision's; the other layers are random.
        seed: of random layers.

    Returns:
        The network on the CPU, and in words where its weights come from.

    Raises:
        InvalidArgumentError: both weights and backbone are given.
        WeightsError: a file does not fit.
    """
    if weights and backbone:
        raise InvalidArgumentError(
            "--weights and --backbone-weights are given: the first ones have a body too. Give one"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone:
            network, origin = load_backbone(config, backbone)
            return network, origin.note
        if weights == RANDOM_WEIGHTS:
            return RetinaFace(config), "random"
    network, origin = load_model(config, weights, to_train=True)
    return network, origin.note
