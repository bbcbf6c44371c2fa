"""The multi-task loss of RetinaFace, arXiv 1905.00641, and of its cascade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.functional import smooth_l1_loss

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.train.targets.anchors import anchors_of_maps, per_anchor
from engine.train.targets.classification import focal_loss, hard_negative_loss
from engine.train.targets.coding import encode_boxes, move_anchors
from engine.train.targets.matching import BACKGROUND, match
from engine.train.targets.network import first_stage_kinds
from engine.train.targets.regression import plain_loss, points_loss
from engine.train.targets.settings import LossSettings, Overlaps


class Faces(Protocol):
    """The labelled faces of a batch: of image i, boxes[i], landmarks[i], ignored[i], classes[i] and values[i]."""

    @property
    def boxes(self) -> Sequence[torch.Tensor]:
        """Float32 [M, 4] each, x1 y1 x2 y2 in pixels of the network's input."""

    @property
    def landmarks(self) -> Sequence[torch.Tensor]:
        """Float32 [M, L, 2] each, in pixels of the network's input; NaN where a face has none."""

    @property
    def ignored(self) -> Sequence[torch.Tensor]:
        """Bool [M] each: neither faces nor background."""

    @property
    def classes(self) -> Sequence[torch.Tensor]:
        """Int64 [M] each, the class of a face, from 1."""

    @property
    def values(self) -> Sequence[torch.Tensor]:
        """Float32 [M, D] each, of all heads of values, points in pixels as landmarks; NaN where a face has none."""


class Losses(NamedTuple):
    """The loss of a batch: scalars. The parts are not weighted yet, and without gradients.

    Attributes:
        total: what is minimised: the weighted sum of all parts.
        classes: of scores.
        boxes: of boxes.
        landmarks: of landmarks; 0 without such heads.
        first_classes: of a cascade's first stage, as the next two; 0 without one.
        first_boxes: see first_classes.
        first_landmarks: see first_classes.
        values: of values; 0 without such heads.
        positives: anchors of this batch that have a face, in the last stage.
    """

    total: torch.Tensor
    classes: torch.Tensor
    boxes: torch.Tensor
    landmarks: torch.Tensor
    first_classes: torch.Tensor
    first_boxes: torch.Tensor
    first_landmarks: torch.Tensor
    values: torch.Tensor
    positives: torch.Tensor


# Box deltas, logits, landmark deltas if there are any, and heads of values.
_Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, list[torch.Tensor]]


class _Stage(NamedTuple):
    """Sums over a batch, and what they are divided by: positives, and those of them that have landmarks, or values."""

    sums: torch.Tensor  # [3 + H]: classes, boxes, landmarks, each head of values
    counts: torch.Tensor  # [2 + H]


class MultiTaskLoss(nn.Module):
    """The loss of a network's heads on labelled faces.

        total = classes + box_weight * boxes + landmark_weight * landmarks + values
                (in a cascade, of both stages; values of the second one)

    `classes` is the cross-entropy of positive anchors and of each image's hardest negative ones, or the focal loss of
    all anchors; `boxes` and `landmarks` are the smooth L1 distances (beta 1) of the codes of positive anchors, summed
    over an anchor's 4 and 2 L numbers, the latter times 5 / L, so that its weight means the same for any L. Each is
    divided by the number of positives in the batch, `landmarks` by the number of those whose face has all its
    landmarks, or whose landmarks another network teaches. `values` is the sum over the heads of values: of plain
    ones the mean smooth L1 distance of their numbers, as they are, divided by the number of positives whose face has
    any of a head's numbers; of points what `landmarks` is of landmarks, and with its weight in the total. A batch
    without positives has only negatives, and is divided by its number of images. `match` says which anchor is positive.

    In a cascade the first stage is compared with the anchors, the second one with the boxes that the first one gives:
    they decide who is positive and are what the codes refer to. No gradient goes through them.

    The loss is computed in float32 (float64 if the heads are), also inside autocast. A head that is NaN makes the loss
    NaN; landmarks that are NaN and boxes without area count for nothing.
    """

    def __init__(
        self,
        config: RetinaFaceConfig,
        *,
        focal: bool = False,
        settings: LossSettings | None = None,
        positives_of_all: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Prepare the loss.

        Args:
            config: of the network.
            focal: focal loss for the classes, instead of hard negatives.
            settings: thresholds and weights; by default those of the paper.
            positives_of_all: for training in several processes. It is called once for each batch, with this process's
                counts (a float vector), and returns their mean over all processes. Dividing by it makes the average of
                the processes' gradients, which distributed data parallel takes, the gradient of the whole batch.
        """
        super().__init__()
        self.config, self.focal, self.settings = config, focal, settings or LossSettings()
        self._positives_of_all = positives_of_all
        self._anchors: tuple[object, torch.Tensor] | None = None

    def forward(
        self, heads: Sequence[torch.Tensor], faces: Faces, taught: Sequence[torch.Tensor] | None = None
    ) -> Losses:
        """Return the loss of a batch.

        Args:
            heads: of TrainedNetwork: maps [N, C, rows, columns], in the order of config.head_names(); behind them, of a
                cascade, those of its first stage.
            faces: of the N images, such as a Batch; on any device.
            taught: heads of another network for the same images. Its landmark codes are learned where a face has no
                landmarks. Not for a cascade, where codes refer to boxes that the networks do not share.

        Raises:
            InvalidArgumentError: heads or faces do not fit the config or each other.
        """
        kinds = self._by_kind(heads)
        landmarks_taught = None if taught is None else self._by_kind(taught).get("landmark_deltas")
        anchors = self._anchors_like(heads)
        labels = _Labels(faces, len(heads[0]), anchors.device, self.config)
        s = self.settings
        stages = []
        if self.config.cascade:
            first: _Heads = kinds["anchor_deltas"], kinds["first_logits"], kinds.get("first_landmark_deltas"), []
            stages.append(self._stage(first, anchors, labels, s.first_overlaps))
            anchors = move_anchors(kinds["anchor_deltas"].detach(), anchors, self.config.variances)
        of_values = [kinds[head.name] for head in self.config.values]
        last = kinds["box_deltas"], kinds["logits"], kinds.get("landmark_deltas"), of_values
        overlaps = s.second_overlaps if self.config.cascade else s.overlaps
        stages.append(self._stage(last, anchors, labels, overlaps, landmarks_taught))
        return self._losses(stages, len(heads[0]))

    def _by_kind(self, heads: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the heads as [N, A, values] by their kind, in float32 at least: what follows then stays in it."""
        kinds, extra = self.config.head_kinds(), first_stage_kinds(self.config)
        levels = len(self.config.levels)
        if len(heads) != levels * (len(kinds) + len(extra)):
            raise InvalidArgumentError(
                f"the loss got {len(heads)} heads, expected {levels * (len(kinds) + len(extra))} of "
                f"{self.config.name}: what TrainedNetwork returns"
            )
        own, behind = heads[: levels * len(kinds)], heads[levels * len(kinds) :]
        found = {}
        for names, group, prefix in ((kinds, own, ""), (extra, behind, "first_")):
            for i, kind in enumerate(names):
                values = per_anchor(group[i :: len(names)], kind, self.config.head_values(kind))
                found[prefix + kind] = values.to(torch.promote_types(values.dtype, torch.float32))
        return found

    def _anchors_like(self, heads: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the anchors of heads, [A, 4] on their device, kept for the next batch of the same size."""
        logits = heads[: len(self.config.levels) * len(self.config.head_kinds()) : len(self.config.head_kinds())]
        sizes = [(int(head.shape[2]), int(head.shape[3])) for head in logits]
        key = (sizes, heads[0].device)
        if self._anchors is None or self._anchors[0] != key:
            self._anchors = key, anchors_of_maps(self.config, sizes).to(heads[0].device)
        return self._anchors[1]

    def _stage(
        self,
        heads: _Heads,
        anchors: torch.Tensor,
        labels: _Labels,
        overlaps: Overlaps,
        taught: torch.Tensor | None = None,
    ) -> _Stage:
        """Return the sums of one stage.

        Args:
            heads: [N, A, ...] each: box deltas, logits, landmark deltas or None, and those of values, which the first
                stage has not.
            anchors: [A, 4] of all images, or [N, A, 4] of each.
            labels: of the images.
            overlaps: of the stage.
            taught: landmark deltas of another network.
        """
        box_deltas, logits, landmark_deltas, of_values = heads
        anchors = anchors.expand(len(logits), -1, -1)
        matches = labels.match(anchors, overlaps, self.settings.least_iou)
        image, anchor = torch.nonzero(matches >= 0, as_tuple=True)
        face = labels.first[image] + matches[image, anchor]
        wanted = torch.where(matches == BACKGROUND, 0, matches)
        wanted[image, anchor] = labels.classes[face]
        is_sigmoid = self.config.class_coding == "sigmoid"
        classes = (focal_loss if self.focal else hard_negative_loss)(logits, wanted, self.settings, sigmoid=is_sigmoid)
        matched = anchors[image, anchor].to(box_deltas.dtype)
        codes = encode_boxes(labels.boxes[face].to(box_deltas.dtype), matched, self.config.variances)
        boxes = smooth_l1_loss(box_deltas[image, anchor], codes, reduction="sum")
        landmarks, with_landmarks = boxes.new_zeros(()), 0
        if landmark_deltas is not None:
            wanted_by = None if taught is None else taught[image, anchor]
            landmarks, with_landmarks = points_loss(
                landmark_deltas[image, anchor], labels.landmarks[face], matched, self.config.variances, wanted_by
            )
        sums, counts = [classes, boxes, landmarks], [len(face), with_landmarks]
        given = torch.split(labels.values[face], [head.size for head in self.config.values], 1)
        for head, numbers, maps in zip(self.config.values, given, of_values, strict=False):
            found = maps[image, anchor]
            distance, count = (
                points_loss(found, numbers.reshape(len(face), head.size // 2, 2), matched, self.config.variances)
                if head.is_points
                else plain_loss(found, numbers)
            )
            sums.append(distance)
            counts.append(count)
        left = len(given) - len(of_values)  # of the first stage
        return _Stage(
            torch.stack([*sums, *[boxes.new_zeros(())] * left]),
            boxes.new_tensor([*counts, *[0] * left], dtype=torch.float32),
        )

    def _losses(self, stages: list[_Stage], images: int) -> Losses:
        sums = torch.stack([stage.sums for stage in stages])
        own = torch.stack([stage.counts for stage in stages])
        counts = torch.cat([own.flatten(), own.new_tensor([images])])
        if self._positives_of_all is not None:
            counts = self._positives_of_all(counts)
        positives, *some = counts[:-1].reshape(own.shape).unbind(1)
        divisor = torch.where(positives > 0, positives, counts[-1])
        divisors = torch.stack([divisor, divisor, *(torch.where(count > 0, count, 1) for count in some)], 1)
        parts = sums / divisors.to(sums.dtype)
        weights = parts.new_ones(parts.shape[1])
        weights[1:3] = parts.new_tensor([self.settings.box_weight, self.settings.landmark_weight])
        weights[3:][[head.is_points for head in self.config.values]] = self.settings.landmark_weight
        shown = parts.detach()
        first = shown[0] if len(stages) > 1 else torch.zeros_like(shown[0])
        return Losses._make(((parts * weights).sum(), *shown[-1, :3], *first[:3], shown[-1, 3:].sum(), own[-1, 0]))


class _Labels:
    """The faces of a batch in one row; `first` is where each image's begin."""

    def __init__(self, faces: Faces, images: int, device: torch.device, config: RetinaFaceConfig) -> None:
        size = sum(head.size for head in config.values)
        lists = (faces.boxes, faces.landmarks, faces.ignored, faces.classes, faces.values)
        if any(len(values) != images for values in lists):
            raise InvalidArgumentError(
                f"the loss got heads of {images} images, but boxes of {len(faces.boxes)}, landmarks of "
                f"{len(faces.landmarks)}, ignored of {len(faces.ignored)}, classes of {len(faces.classes)} and values "
                f"of {len(faces.values)}, expected as many of each"
            )
        self._sizes = [len(boxes) for boxes in faces.boxes]
        for of_image in zip(*lists, strict=True):
            shapes = tuple(tuple(part.shape) for part in of_image)
            m, points = shapes[0][0], config.num_points or shapes[1][1]  # without such heads landmarks do not matter
            if shapes != ((m, 4), (m, points, 2), (m,), (m,), (m, size)):
                raise InvalidArgumentError(
                    f"the loss got boxes {shapes[0]}, landmarks {shapes[1]}, ignored {shapes[2]}, classes {shapes[3]} "
                    f"and values {shapes[4]} of an image, expected [M, 4], [M, {points}, 2], [M], [M] and [M, {size}]"
                )
        self.boxes = torch.cat(list(faces.boxes)).to(device)
        self.landmarks = torch.cat(list(faces.landmarks)).to(device)
        self.classes = torch.cat(list(faces.classes)).to(device)
        self.values = torch.cat(list(faces.values)).to(device)
        self._ignored = torch.cat(list(faces.ignored)).to(device)
        starts = torch.tensor([0, *self._sizes[:-1]]) if self._sizes else torch.zeros(0, dtype=torch.int64)
        self.first = starts.cumsum(0).to(device)

    def match(self, anchors: torch.Tensor, overlaps: Overlaps, least_iou: float) -> torch.Tensor:
        """Return int64 [N, A], each image's anchors [N, A, 4] matched with its faces."""
        parts = zip(anchors, torch.split(self.boxes, self._sizes), torch.split(self._ignored, self._sizes), strict=True)
        above, below = overlaps
        return torch.stack([match(a, b, above=above, below=below, ignored=i, least=least_iou) for a, b, i in parts])
