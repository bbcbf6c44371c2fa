"""Anchors for the faces of training samples."""

from __future__ import annotations

import numpy as np

from engine.config.model import RetinaFaceConfig
from engine.progress import Status
from engine.train.anchors.estimate import estimate_anchors
from engine.train.samples import TrainingSet


def fitted_to(config: RetinaFaceConfig, samples: TrainingSet, status: Status) -> RetinaFaceConfig:
    """Return the config with anchors for the faces of the first epoch's samples."""
    boxes = []
    for index in range(len(samples)):
        status.update(f"Looking at the sizes of faces {index + 1}/{len(samples)}")
        sample = samples[index]
        boxes.append(sample.boxes[~sample.ignored].numpy())
    found, report = estimate_anchors(config, np.concatenate(boxes), (samples.size, samples.size))
    for line in report.lines():
        status.keep(line)
    return found
