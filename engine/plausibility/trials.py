"""Tries weights with each setting that they may have been trained with on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine import ops
from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.model.weights.settings.slopes import has_statistics
from engine.plausibility.candidates import PIXELS, candidates, changes
from engine.plausibility.measure import Plausibility, plausibility
from engine.runtime.letterbox import Letterbox
from engine.types import DEFAULT_SCORE_THRESHOLD, FloatArray, Image

if TYPE_CHECKING:
    from engine.model.retinaface import RetinaFace

_MOST_CANDIDATES = 1000
# Another setting is better that has a sum larger by a tenth, and by half a face. On 50 photos alone, published weights
# with their own settings were beaten so 5 times, by up to 1.6; on the photos with the drawn picture, and on it, never.
_BETTER, _BETTER_BY = 1.1, 0.5
_SAME = 0.97


@dataclass(frozen=True)
class Trial:
    """What weights find with a setting.

    Attributes:
        config: the setting.
        faces: how many are found with a score above 0.5.
        judged: how plausible they are.
    """

    config: RetinaFaceConfig
    faces: int
    judged: Plausibility

    def __add__(self, other: Trial) -> Trial:
        """Return what the same setting finds on two pictures."""
        (first, total), (second, more) = self.judged, other.judged
        return Trial(self.config, self.faces + other.faces, Plausibility(first + second, total + more))

    def beats(self, other: Trial) -> bool:
        """Return whether it is clearly more plausible than another one."""
        own, its = self.judged.total, other.judged.total
        return own > its * _BETTER and own > its + _BETTER_BY


def trials(model: RetinaFace, picture: Image, size: tuple[int, int], most_faces: int | None = None) -> list[Trial]:
    """Try weights with each setting that their shapes allow; the settings of the model come first.

    Args:
        model: in evaluation mode.
        picture: uint8 [H, W, 3] in BGR order, with faces.
        size: (height, width) of the input that it is letterboxed to.
        most_faces: where more are found, none is plausible; None is any number.
    """
    settings = candidates(model.config, slopes_known=has_statistics(model))
    kinds: dict[tuple[object, ...], RetinaFaceConfig] = {}
    for config in settings:
        kinds.setdefault(PIXELS.of(config), config)
    batch = np.concatenate([Letterbox(size, config, enlarge=False).batch([picture]) for config in kinds.values()])
    rows = {pixels: slice(row, row + 1) for row, pixels in enumerate(kinds)}
    heads: dict[tuple[object, ...], list[FloatArray]] = {}
    found = []
    for config in settings:
        network = (config.slopes, config.pyramid)
        if network not in heads:
            heads[network] = _run(model, config, batch)
        trial = _trial(config, [head[rows[PIXELS.of(config)]] for head in heads[network]])
        too_many = most_faces is not None and trial.faces > most_faces
        found.append(replace(trial, judged=Plausibility(0, 0.0)) if too_many else trial)
    return found


def best(tried: Sequence[Trial]) -> Trial:
    """Return the most plausible of trials; of those with practically the same sum, the one nearest to the first."""
    most = max(trial.judged.total for trial in tried)
    return min(
        (trial for trial in tried if trial.judged.total >= most * _SAME),
        key=lambda trial: (len(changes(tried[0].config, trial.config)), -trial.judged.total),
    )


def _run(model: RetinaFace, config: RetinaFaceConfig, batch: FloatArray) -> list[FloatArray]:
    """Return the heads of the weights of a model in the network of a config."""
    import torch

    from engine.model.retinaface import RetinaFace

    with torch.device("meta"):
        network = RetinaFace(config)
    network.load_state_dict(model.state_dict(), assign=True)
    with torch.inference_mode():
        return [head.numpy() for head in network.eval()(torch.from_numpy(batch))]


def _trial(config: RetinaFaceConfig, heads: list[FloatArray]) -> Trial:
    found = ops.decode(
        config.decoder_heads(heads),
        strides=[level.stride for level in config.levels],
        anchor_sizes=[level.anchors for level in config.levels],
        variances=config.variances,
        score_threshold=DEFAULT_SCORE_THRESHOLD,
        top_k=_MOST_CANDIDATES,
    )
    suppression = Thresholds().nms_arguments() | {"max_detections": _MOST_CANDIDATES}
    return Trial(config, int(ops.nms(*found, **suppression).num_detections[0]), plausibility(found))
