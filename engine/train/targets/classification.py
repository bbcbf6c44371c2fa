"""The loss of "face or not": cross-entropy with hard negatives, or focal loss.

With two classes softmax is the sigmoid of the margin, the logit of face minus that of background, so both losses are
functions of margins.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import logsigmoid

from engine.model.retinaface import RetinaFace
from engine.train.targets.matching import BACKGROUND, IGNORED
from engine.train.targets.settings import LossSettings

FOCAL_PRIOR = 0.01
"""Score of every anchor at the start of a training with focal loss (arXiv 1708.02002, section 4.1)."""


def hard_negative_loss(margins: torch.Tensor, matches: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    """Return the sum of the cross-entropy over all positives and each image's hardest negatives.

    Args:
        margins: [N, A].
        matches: int64 [N, A], as match gives them.
        settings: whose negatives_per_positive counts.
    """
    positive = matches >= 0
    negative = hardest(margins.detach(), matches == BACKGROUND, _allowed(positive, settings))
    return -logsigmoid(margins[positive]).sum() - logsigmoid(-margins[negative]).sum()


def _allowed(positive: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    return (positive.sum(1).clamp(min=1) * settings.negatives_per_positive).long()


def hardest(margins: torch.Tensor, candidates: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the candidates with the largest margins, of equal ones the first, bool [N, A].

    The cross-entropy of a negative grows with its margin, so these are those of the largest loss. The order is total,
    since padding makes many margins equal, and the choice must not depend on the device or the rest of the batch.

    Args:
        margins: [N, A]; NaN counts as the largest, so that it reaches the loss.
        candidates: bool [N, A].
        counts: int64 [N], how many of each image; fewer where there are not so many.
    """
    most = min(int(counts.max()), margins.shape[1]) if len(counts) else 0
    if most == 0:
        return torch.zeros_like(candidates)
    values = torch.where(
        candidates, margins.nan_to_num(nan=torch.inf, neginf=torch.finfo(margins.dtype).min), -torch.inf
    )
    top = values.topk(most, sorted=True).values
    last = top.gather(1, (counts.clamp(min=1, max=most) - 1)[:, None])  # the least that is taken
    above, equal = candidates & (values > last), candidates & (values == last)
    left = counts.clamp(max=most)[:, None] - above.sum(1, keepdim=True)
    return (above | equal & (equal.cumsum(1) <= left)) & (counts > 0)[:, None]


def focal_loss(margins: torch.Tensor, matches: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    """Return the sum of the focal loss over all anchors that are not ignored (arXiv 1708.02002, equation 5).

    Args:
        margins: [N, A].
        matches: int64 [N, A], as match gives them.
        settings: alpha and gamma.
    """
    kept = matches != IGNORED
    positive = matches[kept] >= 0
    right = torch.where(positive, margins[kept], -margins[kept])  # margin of the right class
    weight = torch.where(positive, settings.alpha, 1 - settings.alpha)
    return -(weight * torch.sigmoid(-right) ** settings.gamma * logsigmoid(right)).sum()


@torch.no_grad()
def start_focal(network: RetinaFace) -> None:
    """Set the biases of class heads so that every score begins at about FOCAL_PRIOR.

    For heads with random weights only: at a score of .5 the first steps would be spent on many thousand background
    anchors. Trained heads are better left as they are. Biases of background become 0, those of face log(.01 / .99).
    """
    for level in range(len(network.config.levels)):
        bias = network.head("logits", level).conv1x1.bias
        assert bias is not None
        bias[0::2] = 0.0
        bias[1::2] = math.log(FOCAL_PRIOR / (1 - FOCAL_PRIOR))
