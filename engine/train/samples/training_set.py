"""The training samples of labelled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.images import read_image
from engine.train.labels.labelled import LabelledPicture
from engine.train.samples.batch import Sample
from engine.train.samples.colours import distorted
from engine.train.samples.crops import random_square
from engine.train.samples.scene import Scene
from engine.types import Image

LEAST_SIZE = 6.0
"""Pixels of a sample: faces whose square root of the area is smaller are ignored. No anchor would suit them."""

_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)


class TrainingSet(Dataset[Sample]):
    """Samples of labelled pictures, one for each picture in every epoch.

    A sample depends on the seed, the epoch and the picture's index alone: it is the same in any process.
    Pictures are decoded every time. That is a tenth of the work for small photographs, and large ones would fill the
    memory.
    """

    def __init__(
        self,
        pictures: Sequence[LabelledPicture],
        config: RetinaFaceConfig,
        size: int,
        seed: int,
        augment: bool = True,
        widest: float = 1.0,
    ) -> None:
        """Make a set; the pictures are read when their samples are.

        Args:
            pictures: see engine.train.labels.read_labels.
            config: for the order of the channels and the colour of the padding.
            size: height and width of the samples, S.
            seed: of all that is random, 0 or more.
            augment: whether to crop, mirror, colour and scale at random. Else the whole picture is shown, made smaller
                if it is larger than S and padded as for detection.
            widest: side of the largest square that a sample shows, in short sides of the picture, from 1. Squares that
                are larger than the picture are padded.

        Raises:
            InvalidArgumentError: there are no pictures, the network does not accept the size, or the seed is negative.
        """
        if not len(pictures):
            raise InvalidArgumentError("there are no labelled pictures to make samples of, expected at least one")
        if seed < 0:
            raise InvalidArgumentError(f"seed is {seed}, expected 0 or more")
        config.check_input_size(size, size)
        self.pictures, self.config, self.size, self.seed, self.augment = pictures, config, size, seed, augment
        self.widest = widest
        heads = config.values
        self._are_places = np.repeat([head.is_points for head in heads], [head.size for head in heads]).astype(np.bool_)
        self._num_points = int(self._are_places.sum()) // 2  # of values
        self._pad_value = config.pad_value if config.color_order == "bgr" else config.pad_value[::-1]
        # Shared with the processes of a DataLoader, also with those that it keeps from one epoch to the next.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Make other samples of the same pictures; epochs begin with 0."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of a picture in this epoch.

        Raises:
            InvalidArgumentError: the picture cannot be read.
        """
        picture = self.pictures[index]
        values = picture.values
        if values is None:
            values = np.full((len(picture.boxes), len(self._are_places)), np.nan, np.float32)
        # Points of values change as landmarks do, so they are with them, behind them.
        points = values[:, self._are_places].reshape(len(values), self._num_points, 2)
        landmarks = np.concatenate([picture.landmarks, points], 1)
        scene = Scene(_read(picture), picture.boxes, landmarks, picture.ignored, picture.classes, values)
        if self.augment:
            scene = self._augmented(scene, np.random.default_rng([self.seed, int(self._epoch), index]))
        else:
            scene = scene.padded(max(*scene.image.shape[:2], self.size), self._pad_value)
            scene = scene.resized(self.size, cv2.INTER_AREA)
        return self._sample(scene.without_small(LEAST_SIZE))

    def _augmented(self, scene: Scene, rng: np.random.Generator) -> Scene:
        square = random_square(scene, self.size, LEAST_SIZE, rng, self.widest)
        inside = square is not None and scene.holds(*square)
        if square is not None and inside:
            scene = scene.cropped(*square)
        scene = replace(scene, image=distorted(scene.image, rng))
        if square is None:
            scene = scene.padded(max(scene.image.shape[:2]), self._pad_value)
        elif not inside:  # the padding keeps its colour
            scene = scene.cropped(*square, self._pad_value)
        scene = scene.resized(self.size, _INTERPOLATIONS[rng.integers(len(_INTERPOLATIONS))])
        # Nothing says what plain values are in a mirror.
        is_mirrored = rng.random() < 0.5 and all(head.is_points for head in self.config.values)
        places = self.config.mirrored_points if self.config.has_landmarks else ()
        count = scene.landmarks.shape[1]
        return scene.mirrored([*places, *range(count - self._num_points, count)]) if is_mirrored else scene

    def _sample(self, scene: Scene) -> Sample:
        landmarks, points = np.split(scene.landmarks, [scene.landmarks.shape[1] - self._num_points], 1)
        values = scene.values.copy()
        values[:, self._are_places] = points.reshape(len(points), 2 * self._num_points)
        image = scene.image if self.config.color_order == "bgr" else cv2.cvtColor(scene.image, cv2.COLOR_BGR2RGB)
        return Sample(
            torch.from_numpy(np.stack(cv2.split(image))),
            torch.from_numpy(scene.boxes),
            torch.from_numpy(landmarks),
            torch.from_numpy(scene.ignored),
            torch.from_numpy(scene.classes.astype(np.int64)),
            torch.from_numpy(values),
        )


def _read(picture: LabelledPicture) -> Image:
    try:
        return read_image(picture.path)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{picture.path} {error}") from error
