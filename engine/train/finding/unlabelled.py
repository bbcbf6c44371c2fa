"""Faces that labels lack, as the weights find them that a training starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.faces import Detections
from engine.metrics.matching import box_iou
from engine.model.retinaface import RetinaFace
from engine.precision.qdq.heads import margins
from engine.progress import Status
from engine.train.distributed import Processes
from engine.train.finding.finder import Finder
from engine.train.labels.labelled import LabelledPicture
from engine.types import FloatArray

_APART = 0.3
"""What overlaps each label by less is another face."""


def ignore_unlabelled(
    pictures: Sequence[LabelledPicture], found: Sequence[Detections], least: float
) -> list[LabelledPicture]:
    """Return pictures whose labels also have, to be ignored, the faces that were found where no label is.

    Args:
        pictures: and their labels, which stay as they are.
        found: in each picture.
        least: score from which a face is one.
    """
    return [_with_ignored(picture, faces, least) for picture, faces in zip(pictures, found, strict=True)]


def without_unlabelled(
    pictures: list[LabelledPicture], network: RetinaFace, least: float, processes: Processes, status: Status
) -> list[LabelledPicture]:
    """Return pictures in which faces are ignored that the first weights find and no label has."""
    status.update(f"Looking for faces without a label in {len(pictures)} pictures")
    finder = Finder(as_one_class(network.config), processes)
    faces = AnyClass(network).eval().to(processes.device)
    found = finder.find(faces, [picture.path for picture in pictures])
    network.cpu()
    assert found is not None  # nobody asks it to stop
    full = ignore_unlabelled(pictures, found, least)
    added = sum(len(new.boxes) - len(old.boxes) for new, old in zip(full, pictures, strict=True))
    status.keep(f"{added} faces that the first weights find have no label and are ignored")
    return full


def as_one_class(config: RetinaFaceConfig) -> RetinaFaceConfig:
    """Return a config whose class is the face, and whose other heads are those of `config`."""
    return replace(config, classes=("face",), class_coding="softmax", class_agnostic=False)


class AnyClass(nn.Module):
    """A network whose scores say whether there is a face, of whatever class: with the heads of as_one_class."""

    def __init__(self, network: RetinaFace) -> None:
        """Wrap a network, which is shared, not copied."""
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images to heads; the logit of the background is 0."""
        config = self.network.config
        kinds = config.head_kinds()
        heads = list(self.network(images))
        for i in range(kinds.index("logits"), len(heads), len(kinds)):
            face = margins(config, heads[i])
            heads[i] = torch.stack([torch.zeros_like(face), face], 2).flatten(1, 2)
        return tuple(heads)


def _with_ignored(picture: LabelledPicture, found: Detections, least: float) -> LabelledPicture:
    inside = found[found.scores >= least].clip()
    has_area = (inside.boxes[:, 2:] > inside.boxes[:, :2]).all(1)
    other = inside.boxes[(box_iou(inside.boxes, picture.boxes) < _APART).all(1) & has_area]
    return replace(
        picture,
        boxes=np.concatenate([picture.boxes, other]),
        landmarks=_extended(picture.landmarks, len(other)),
        ignored=np.concatenate([picture.ignored, np.ones(len(other), np.bool_)]),
        classes=np.concatenate([picture.classes, np.ones(len(other), np.int32)]),
        values=None if picture.values is None else _extended(picture.values, len(other)),
    )


def _extended(values: FloatArray, count: int) -> FloatArray:
    """Return rows of values, and so many more of faces that have none."""
    return np.concatenate([values, np.full((count, *values.shape[1:]), np.nan, np.float32)])
