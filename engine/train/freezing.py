"""Layers that are not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from torch import nn

    from engine.model.retinaface import RetinaFace

NONE, STEM, BODY, ALL_BUT_HEADS = "none", "stem", "body", "all-but-heads"
_HEAD = "Head"  # at the end of the names of the modules that are heads


def freeze(network: RetinaFace, what: str) -> list[nn.Module]:
    """Freeze layers: their parameters need no gradients.

    Args:
        network: the model.
        what: "none"; "stem", the body's layers before its first stage; "stage1", "stage2", ...: the stem and the stages
            up to that one; "body"; or "all-but-heads".

    Returns:
        The frozen modules. Statistics of batch normalisations change in training mode, whatever is trained: see
        `train_mode`.

    Raises:
        InvalidArgumentError: `what` is something else, or a stage that the body does not have.
    """
    frozen = _modules(network, what)
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def train_mode(model: nn.Module, frozen: list[nn.Module]) -> None:
    """Put a model into training mode, but for the frozen modules: their batch normalisations keep their statistics."""
    model.train()
    for module in frozen:
        module.eval()


def _modules(network: RetinaFace, what: str) -> list[nn.Module]:
    if what == NONE:
        return []
    if what == BODY:
        return [network.body]
    if what == ALL_BUT_HEADS:
        return [module for name, module in network.named_children() if not name.endswith(_HEAD)]
    parts = network.body.parts()
    stages = ["stem", *(f"stage{i}" for i in range(1, len(parts)))]
    if what not in stages:
        names = ", ".join([NONE, *stages, BODY, ALL_BUT_HEADS])
        raise InvalidArgumentError(f"cannot freeze {what!r:.80} of {network.config.name}, expected one of: {names}")
    return [module for part in parts[: stages.index(what) + 1] for module in part]
