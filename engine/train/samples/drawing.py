"""Draws samples, to be looked at: crops that show nothing and exchanged landmarks are seen at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.config.model import RetinaFaceConfig
from engine.faces.drawing import BOX_COLOUR, draw_box, draw_landmarks
from engine.train.samples.batch import Sample
from engine.types import Image

_IGNORED_COLOUR = (150, 150, 150)


def draw_samples(samples: Sequence[Sample], config: RetinaFaceConfig, columns: int = 4) -> Image:
    """Return samples of one size side by side, uint8 [H, W, 3] in BGR order.

    Boxes are green, those of ignored faces grey; landmarks have the colours that detections have.

    Args:
        samples: at least one.
        config: with which they were made.
        columns: samples in a row, of which the last may have fewer.
    """
    drawn = [_drawn(sample, config) for sample in samples]
    drawn += [np.zeros_like(drawn[0])] * (-len(drawn) % columns)
    rows = [np.concatenate(drawn[start : start + columns], 1) for start in range(0, len(drawn), columns)]
    return np.concatenate(rows)


def _drawn(sample: Sample, config: RetinaFaceConfig) -> Image:
    channels = sample.image.numpy() if config.color_order == "bgr" else sample.image.numpy()[::-1]
    image = np.ascontiguousarray(channels.transpose(1, 2, 0))
    faces = zip(sample.boxes.numpy(), sample.landmarks.numpy(), sample.ignored.numpy(), strict=True)
    for box, points, ignored in faces:
        draw_box(image, box, _IGNORED_COLOUR if ignored else BOX_COLOUR, 1)
        if not np.isnan(points).any():
            draw_landmarks(image, points, 1)
    return image
