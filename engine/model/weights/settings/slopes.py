"""The slopes of the leaky ReLUs, judged by the statistics of the batch normalisations: no other tensor tells them.

Each normalisation holds the mean and the variance that its inputs had in training. They depend little on what the
pictures show, and much on the activations before it. So random pictures pass through the network with each plausible
slope, and the statistics of one fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from engine.config.backbones import BACKBONES
from engine.config.model import activations
from engine.errors import WeightsError
from engine.model.weights.settings.alike import advice

if TYPE_CHECKING:
    import torch

    from engine.config.model import RetinaFaceConfig
    from engine.model.retinaface import RetinaFace

_PLAUSIBLE = (0.0, 0.1)
# Another slope must fit so many times better. Of models with the statistics of photographs, those with a wrong slope
# had 1.6 to 4.5 in its part and those with the right one 0.2 to 0.8; untrained ones, whose statistics fit nothing, have
# about 1.
_BETTER = 1.3
_PICTURES, _SIDE = 2, 320
# Of pictures like photos: spread and mean of the grey levels, and how much colours differ from grey.
_CONTRAST, _BRIGHTNESS, _COLOUR = 65.0, 115.0, 0.4
_EPSILON = 1e-6
_BODY = "body."

Misfits = dict[str, float]


def refuse_other_slopes(model: RetinaFace, source: str) -> None:
    """Raise WeightsError if the statistics of a model's normalisations say that it was trained with other slopes.

    Args:
        model: with the weights of a checkpoint, in evaluation mode. A model without statistics passes: normalisations
            that were folded into convolutions have means of 0.
        source: of the checkpoint, for messages.
    """
    config, (given_body, given_behind) = model.config, model.config.slopes
    if not has_statistics(model):
        return
    body, by_body = given_body, 0.0
    if BACKBONES[config.backbone].leaky:
        body, by_body = _best(given_body, _BETTER, lambda slope: misfits(model, (slope, given_behind), of_body=True))
    enough = _BETTER if body == given_body else 1.0  # where one is wrong, the other is no evidence
    behind, by_behind = _best(given_behind, enough, lambda slope: misfits(model, (body, slope), of_body=False))
    if (body, behind) != config.slopes:
        raise WeightsError(
            f"{source} was trained with {activations(body, behind)}, but config {config.name!r} has "
            f"{config.activations}: the statistics of its batch normalisations fit the former "
            f"{max(by_body, by_behind):.1f} times better. {advice(config, body, behind)}"
        )


def has_statistics(model: RetinaFace) -> bool:
    """Return whether a model's normalisations have statistics, which tell its slopes."""
    return any(bool(norm.running_mean.any()) for norm in _norms(model).values())


def misfits(model: RetinaFace, slopes: tuple[float, float], of_body: bool) -> Misfits:
    """Return how far the inputs of batch normalisations are from their statistics.

    It is the median over the channels of the distance of the means, in standard deviations, plus that of the
    logarithm of the ratio of the variances.

    Args:
        model: in evaluation mode.
        slopes: in the body and behind it.
        of_body: whether to judge the body, or what is behind it. There the scale of the body's features would count
            more than the few activations, so every normalisation is by the statistics of the pictures.
    """
    import torch

    found: dict[str, list[float]] = {}
    norms = {name: norm for name, norm in _norms(model).items() if name.startswith(_BODY) or not of_body}

    def measure(name: str) -> Any:
        def hook(norm: torch.nn.BatchNorm2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
            moved = (mean - norm.running_mean).abs() / (norm.running_var + _EPSILON).sqrt()
            scaled = ((variance + _EPSILON) / (norm.running_var + _EPSILON)).log().abs()
            found.setdefault(name, []).append(float(moved.median() + scaled.median()))

        return hook

    with _slopes(model, slopes), ExitStack() as undo, torch.no_grad():
        for name, norm in norms.items():
            undo.callback(setattr, norm, "momentum", norm.momentum)
            undo.callback(norm.eval)
            if not of_body:
                norm.momentum = 0.0  # keeps its own statistics
                norm.train()
            if of_body or not name.startswith(_BODY):
                undo.callback(norm.register_forward_hook(measure(name)).remove)
        (model.body if of_body else model)(_pictures(model.config))
    return {name: sum(values) / len(values) for name, values in found.items()}


def _best(given: float, enough: float, measure: Callable[[float], Misfits]) -> tuple[float, float]:
    """Return the given slope, or another that fits enough times better; and how many times better that is."""
    fits = measure(given)
    ratios = {other: _ratio(fits, measure(other)) for other in _PLAUSIBLE if other != given}
    best = max(ratios, key=lambda slope: ratios[slope])
    return (best, ratios[best]) if ratios[best] > enough else (given, 0.0)


def _ratio(given: Misfits, other: Misfits) -> float:
    """Return how many times better another slope fits, where it changes anything."""
    changed = [name for name in given if abs(given[name] - other[name]) > _EPSILON]
    total = sum(other[name] for name in changed)
    return sum(given[name] for name in changed) / total if total > 0 else 0.0


def _norms(model: RetinaFace) -> dict[str, Any]:
    from torch import nn

    return {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


@contextmanager
def _slopes(model: RetinaFace, slopes: tuple[float, float]) -> Iterator[None]:
    """Give the leaky ReLUs of a model other slopes for a while."""
    from torch import nn

    leaky = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.LeakyReLU)]
    before = [module.negative_slope for _, module in leaky]
    try:
        for name, module in leaky:
            module.negative_slope = slopes[0] if name.startswith(_BODY) else slopes[1]
        yield
    finally:
        for (_, module), slope in zip(leaky, before, strict=True):
            module.negative_slope = slope


def _pictures(config: RetinaFaceConfig) -> torch.Tensor:
    """Return random pictures with the spectrum of photographs and nearly grey colours, normalised."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    pictures = torch.zeros(_PICTURES, 3, _SIDE, _SIDE)
    for cells in (2, 4, 8, 16, 32, 64, 128, 256):
        grey, colour = (torch.randn(_PICTURES, n, cells, cells, generator=generator) for n in (1, 3))
        pictures += functional.interpolate((grey + _COLOUR * colour) / cells**0.5, (_SIDE, _SIDE), mode="bilinear")
    spread, mean = torch.std_mean(pictures, (1, 2, 3), keepdim=True)
    levels = ((pictures - mean) / spread * _CONTRAST + _BRIGHTNESS).clamp(0, 255)
    shift, scale = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    return (levels - shift) / scale
