"""The loss of classes: cross-entropy with hard negatives, or focal loss.

Both are functions of margins of what is right, the logits of its probabilities. With softmax an anchor has one: of its
class, or of the background. With sigmoid it has one for each class, which is there or not. With two classes softmax is
the sigmoid of the margin, the logit of face minus that of background.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import logsigmoid, one_hot

from engine.model.retinaface import RetinaFace
from engine.train.targets.matching import IGNORED
from engine.train.targets.settings import LossSettings

FOCAL_PRIOR = 0.01
"""Score of every anchor at the start of a training with focal loss (arXiv 1708.02002, section 4.1)."""

_BACKGROUND = 0


def right_margins(logits: torch.Tensor, classes: torch.Tensor, *, sigmoid: bool) -> torch.Tensor:
    """Return the logits of the probabilities of what is right.

    Args:
        logits: [..., C] of the background and the classes, or with sigmoid [..., C - 1] of the classes.
        classes: int64 [...], what is right: 0 for the background, or a class from 1.
        sigmoid: whether each class has a probability of its own.

    Returns:
        With softmax [..., 1]: l_c - log(sum over j != c of exp(l_j)). With sigmoid [..., C - 1]: the class's logit, and
        those of the others with the other sign.
    """
    if sigmoid:
        return torch.where(one_hot(classes, logits.shape[-1] + 1)[..., 1:] > 0, logits, -logits)
    right = one_hot(classes, logits.shape[-1]) > 0
    others = logits.masked_fill(right, -torch.inf).logsumexp(-1, keepdim=True)
    return logits.gather(-1, classes[..., None]) - others


def hard_negative_loss(
    logits: torch.Tensor, classes: torch.Tensor, settings: LossSettings, *, sigmoid: bool
) -> torch.Tensor:
    """Return the sum of the cross-entropy over all positives and each image's hardest negatives.

    Args:
        logits: [N, A, C], or with sigmoid [N, A, C - 1]; see right_margins.
        classes: int64 [N, A]: a face's class, from 1; 0 for the background, or IGNORED.
        settings: whose negatives_per_positive counts.
        sigmoid: see right_margins.
    """
    positive = classes > _BACKGROUND
    background = right_margins(logits, torch.zeros_like(classes), sigmoid=sigmoid)
    negative = hardest(_hardness(background.detach()), classes == _BACKGROUND, _allowed(positive, settings))
    faces = right_margins(logits[positive], classes[positive], sigmoid=sigmoid)
    return -logsigmoid(faces).sum() - logsigmoid(background[negative]).sum()


def _hardness(margins: torch.Tensor) -> torch.Tensor:
    """Return what grows with the loss of anchors, [N, A]; of a single margin itself, as the loss of low ones is 0."""
    return -margins[..., 0] if margins.shape[-1] == 1 else -logsigmoid(margins).sum(-1)


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


def focal_loss(logits: torch.Tensor, classes: torch.Tensor, settings: LossSettings, *, sigmoid: bool) -> torch.Tensor:
    """Return the sum of the focal loss over all anchors that are not ignored (arXiv 1708.02002, equation 5).

    Alpha weighs what there is: with softmax anchors with a face, with sigmoid each one's class.

    Args:
        logits: see hard_negative_loss.
        classes: see hard_negative_loss.
        settings: alpha and gamma.
        sigmoid: see right_margins.
    """
    kept = classes != IGNORED
    right = right_margins(logits[kept], classes[kept], sigmoid=sigmoid)
    there = one_hot(classes[kept], right.shape[-1] + 1)[..., 1:] > 0 if sigmoid else classes[kept, None] > _BACKGROUND
    weight = torch.where(there, settings.alpha, 1 - settings.alpha)
    return -(weight * torch.sigmoid(-right) ** settings.gamma * logsigmoid(right)).sum()


@torch.no_grad()
def start_focal(network: RetinaFace) -> None:
    """Set the biases of class heads so that the score of every anchor, of all classes together, begins at FOCAL_PRIOR.

    For heads with random weights only: at a score of .5 the first steps would be spent on many thousand background
    anchors. Trained heads are better left as they are. Biases of background become 0, those of faces log(.01 / .99) and
    with softmax less by the logarithm of the number of classes.
    """
    config = network.config
    sigmoid = config.class_coding == "sigmoid"
    shared = 0.0 if sigmoid else math.log(len(config.classes))
    for level in range(len(config.levels)):
        bias = network.head("logits", level).conv1x1.bias
        assert bias is not None
        rows = bias.view(-1, config.head_values("logits"))
        rows[:] = math.log(FOCAL_PRIOR / (1 - FOCAL_PRIOR)) - shared
        if not sigmoid:
            rows[:, 0] = 0.0
