"""Crops around the faces of the calibration images, at random scales, to train with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.config.model import BODY_STRIDE, RetinaFaceConfig
from engine.errors import CalibrationError
from engine.precision.calibrate.crops import cut, face_centres
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.qdq.simulate import Simulation
from engine.runtime.letterbox import Letterbox
from engine.types import FloatArray, Image

SIDE = 5 * BODY_STRIDE
# Factors of a crop's magnification, on a logarithmic scale. Faces of other sizes than the pictures' are met in use.
_SMALLEST, _LARGEST = 0.6, 1.6


@dataclass(frozen=True)
class _Picture:
    pixels: Image
    faces: list[tuple[int, int]]


class TrainingPictures:
    """The fitting images with a face, in memory, no larger than the network's input, and who knows the answers.

    Attributes:
        config: of the model.
        reference: the network in floating point.
    """

    def __init__(self, config: RetinaFaceConfig, reference: Simulation, images: CalibrationImages) -> None:
        """Read the images and find their faces with the float32 network.

        Raises:
            CalibrationError: it finds no face.
        """
        self.config, self.reference = config, reference
        self._letterbox = Letterbox((SIDE, SIDE), config, enlarge=False)
        self._pictures: list[_Picture] = []
        for index in images.fitting:
            pixels = images.image(index)
            faces = face_centres(config, reference, _as_input(pixels, config))
            if faces:
                self._pictures.append(_Picture(pixels, list(faces)))
        if not self._pictures:
            raise CalibrationError(
                f"the float32 network finds no face in the {len(images.fitting)} images for fitting, so there is "
                "nothing to train on: give photos with faces, or leave out --train-steps"
            )

    def batch(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return random crops, mirrored or not, float32 [count, 3, SIDE, SIDE], each with a face."""
        return torch.from_numpy(self._letterbox.batch([self._crop(rng) for _ in range(count)]))

    def _crop(self, rng: np.random.Generator) -> Image:
        picture = self._pictures[int(rng.integers(len(self._pictures)))]
        face = picture.faces[int(rng.integers(len(picture.faces)))]
        factor = math.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
        return cut(picture.pixels, face, (SIDE, SIDE), factor, rng)


def _as_input(image: Image, config: RetinaFaceConfig) -> FloatArray:
    """Return an image as a batch, padded below and on the right to multiples of the network's stride."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % BODY_STRIDE), (0, -width % BODY_STRIDE), (0, 0)))
    return Letterbox((padded.shape[0], padded.shape[1]), config, enlarge=False).batch([padded])
