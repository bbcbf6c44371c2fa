"""Samples: faces where their pixels are, the same in any process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from engine.config.heads import ValueHead
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.faces.drawing import BOX_COLOUR
from engine.train.labels import LabelledPicture
from engine.train.samples import Sample, TrainingSet, collate
from engine.train.samples.drawing import draw_samples
from engine.types import FloatArray, Image

SIZE = 64
CONFIG = replace(preset("mobilenet0.25"), pad_value=(10, 20, 30))
RGB = replace(CONFIG, color_order="rgb", pad_value=(30, 20, 10))
# Landmarks in a face, in its width and height: as in a mirror.
PARTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


def picture(path: Path, image: Image, *boxes: tuple[float, float, float, float]) -> LabelledPicture:
    """Write a picture; its faces have landmarks at PARTS."""
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    faces = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = faces[:, None, :2] + PARTS * (faces[:, None, 2:] - faces[:, None, :2])
    return LabelledPicture(path, faces, landmarks, np.zeros(len(faces), np.bool_), np.ones(len(faces), np.int32))


@pytest.fixture
def pictures(tmp_path: Path) -> list[LabelledPicture]:
    """Black pictures with a white face, of several shapes, and one of noise without faces."""
    found = []
    for index, (height, width) in enumerate([(90, 60), (50, 120), (70, 70)]):
        image = np.zeros((height, width, 3), np.uint8)
        image[10:34, 12:32] = 255
        found.append(picture(tmp_path / f"{index}.png", image, (12, 10, 32, 34)))
    noise = np.random.default_rng(2).integers(0, 256, (50, 80, 3)).astype(np.uint8)
    return [*found, picture(tmp_path / "none.png", noise)]


def bright(image: torch.Tensor) -> FloatArray:
    """The box around pixels that are bright after whatever distortion: white is above 110, black below 50."""
    rows, columns = np.nonzero(image.numpy().max(0) > 80)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)


def test_faces_are_where_their_pixels_are(pictures: list[LabelledPicture]) -> None:
    samples = TrainingSet(pictures[:3], CONFIG, SIZE, 1)
    sizes = set()
    for epoch in range(15):
        samples.set_epoch(epoch)
        for index in range(3):
            sample = samples[index]
            assert sample.image.shape == (3, SIZE, SIZE)
            assert sample.image.dtype == torch.uint8
            assert sample.image.is_contiguous()
            assert sample.ignored.tolist() == [False]
            # Within a pixel of the picture, which may be three of the sample.
            assert np.abs(bright(sample.image) - sample.boxes[0].numpy()).max() <= 3
            (box,), (points,) = sample.boxes, sample.landmarks
            assert torch.allclose((points - box[:2]) / (box[2:] - box[:2]), torch.from_numpy(PARTS), atol=1e-4)
            sizes.add(int(box[2] - box[0]))
    assert len(sizes) > 8


def test_values_that_are_points_stay_in_their_faces(pictures: list[LabelledPicture]) -> None:
    """Cropped, scaled and mirrored, where their order stays; but a model with plain values learns no mirror images."""
    heads = ValueHead("age", 2), ValueHead("ears", 4, "points")
    parts, mirrored = PARTS[:2], np.array([[0.7, 0.4], [0.3, 0.4]], np.float32)
    for values, sides in ((heads[1:], 2), (heads, 1)):
        config = replace(CONFIG, values=values)
        labelled = [
            replace(
                picture, values=np.array([[*[20, 30][: 2 * len(values) - 2], *picture.landmarks[0, :2].ravel()]], "f4")
            )
            for picture in pictures[:3]
        ]
        samples, found = TrainingSet(labelled, config, SIZE, 1), set()
        for epoch in range(6):
            samples.set_epoch(epoch)
            for sample in (samples[index] for index in range(3)):
                (box,), (numbers,), (points,) = sample.boxes, sample.values, sample.landmarks
                assert numbers[:-4].tolist() == [20, 30][: len(numbers) - 4]
                assert torch.allclose((points - box[:2]) / (box[2:] - box[:2]), torch.from_numpy(PARTS), atol=1e-4)
                inside = (numbers[-4:].reshape(2, 2) - box[:2]) / (box[2:] - box[:2])
                is_mirrored = bool(inside[0, 0] > 0.5)
                assert np.allclose(inside, mirrored if is_mirrored else parts, atol=1e-4)
                found.add(is_mirrored)
        assert len(found) == sides


def test_both_sides_are_learned(tmp_path: Path) -> None:
    """The left half of the picture is red: after mirroring it is the right one."""
    image = np.full((64, 64, 3), (40, 40, 200), np.uint8)
    image[:, 32:] = (200, 40, 40)
    samples = TrainingSet([picture(tmp_path / "a.png", image, (0, 0, 64, 64))], CONFIG, SIZE, 1)  # never cropped
    sides = []
    for epoch in range(40):
        samples.set_epoch(epoch)
        blue, _, red = samples[0].image[:, 32, 8].int()
        sides.append(bool(red > blue))
    assert 10 < sum(sides) < 30


def test_channels_are_in_the_order_of_the_config(pictures: list[LabelledPicture]) -> None:
    for augment in (False, True):
        one, other = (TrainingSet(pictures, config, SIZE, 3, augment)[3].image for config in (CONFIG, RGB))
        assert torch.equal(one, other.flip(0))
        assert not torch.equal(one, other)


@pytest.mark.parametrize("config", [CONFIG, RGB], ids=["bgr", "rgb"])
def test_what_lies_beyond_the_picture_has_the_colour_of_the_padding(config: RetinaFaceConfig, tmp_path: Path) -> None:
    """Whatever the distortion of the picture, which is white."""
    white = picture(tmp_path / "white.png", np.full((60, 90, 3), 255, np.uint8), (30, 20, 50, 40))
    samples = TrainingSet([white], config, SIZE, 1, widest=2.0)
    padded = 0
    for epoch in range(40):
        samples.set_epoch(epoch)
        padded += int((samples[0].image[:, 0, 0].numpy() == config.pad_value).all())
    assert 10 < padded < 40


def test_whole_pictures_without_augmentation(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    small = np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    faces = [picture(tmp_path / "small.png", small, (2, 3, 12, 13), (2, 3, 5, 13)), *pictures]
    samples = TrainingSet(faces, CONFIG, SIZE, 0, augment=False)
    sample = samples[0]
    image = sample.image.permute(1, 2, 0).numpy()
    assert np.array_equal(image[:20, :30], small)
    assert (image[20:] == CONFIG.pad_value).all()
    assert (image[:, 30:] == CONFIG.pad_value).all()
    assert sample.boxes.tolist() == [[2, 3, 12, 13], [2, 3, 5, 13]]
    assert sample.ignored.tolist() == [False, True]  # 5.5 pixels
    wide = samples[2]  # 50 x 120
    assert np.allclose(wide.boxes, np.array([[12, 10, 32, 34]]) * SIZE / 120)
    assert np.abs(bright(wide.image[:, :26]) - wide.boxes[0].numpy()).max() < 1
    assert (wide.image[:, 28:].permute(1, 2, 0).numpy() == CONFIG.pad_value).all()


def equal(one: Sample, other: Sample) -> bool:
    """Whether two samples have the same bits."""
    return all(map(torch.equal, one, other))


def test_samples_depend_on_seed_epoch_and_index_alone(pictures: list[LabelledPicture]) -> None:
    samples, again = TrainingSet(pictures, CONFIG, SIZE, 1), TrainingSet(pictures, CONFIG, SIZE, 1)
    first = [samples[i] for i in range(4)]
    assert all(equal(again[i], first[i]) for i in (2, 0, 3, 1, 1))
    again.set_epoch(1)
    assert not any(equal(again[i], first[i]) for i in range(4))
    again.set_epoch(0)
    assert equal(again[0], first[0])
    other = TrainingSet(pictures, CONFIG, SIZE, 2)
    assert not any(equal(other[i], first[i]) for i in range(4))
    same_picture = TrainingSet([pictures[0]] * 2, CONFIG, SIZE, 1)
    assert not equal(same_picture[0], same_picture[1])


def test_processes_make_the_same_samples(pictures: list[LabelledPicture]) -> None:
    """Also those that stay for the next epoch, which they must be told of."""
    here = TrainingSet(pictures, CONFIG, SIZE, 1)
    there = TrainingSet(pictures, CONFIG, SIZE, 1)
    loader = DataLoader(there, 2, num_workers=2, collate_fn=collate, persistent_workers=True)
    for epoch in (0, 3):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        batches = list(loader)
        expected = [here[i] for i in range(4)]
        assert torch.equal(torch.cat([batch.images for batch in batches]), torch.stack([s.image for s in expected]))
        for name in ("boxes", "landmarks", "ignored"):
            found = [tensor for batch in batches for tensor in getattr(batch, name)]
            assert all(map(torch.equal, found, (getattr(sample, name) for sample in expected)))
    empty = batches[1].boxes[1], batches[1].landmarks[1], batches[1].ignored[1]
    assert [tuple(tensor.shape) for tensor in empty] == [(0, 4), (0, 5, 2), (0,)]
    assert [tensor.dtype for tensor in empty] == [torch.float32, torch.float32, torch.bool]


def test_what_cannot_be_is_refused(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    with pytest.raises(InvalidArgumentError, match="no labelled pictures"):
        TrainingSet([], CONFIG, SIZE, 0)
    with pytest.raises(InvalidArgumentError, match="multiple of 32"):
        TrainingSet(pictures, CONFIG, 50, 0)
    with pytest.raises(InvalidArgumentError, match="seed is -1"):
        TrainingSet(pictures, CONFIG, SIZE, -1)
    samples = TrainingSet(pictures, CONFIG, SIZE, 0)
    pictures[0].path.unlink()
    with pytest.raises(InvalidArgumentError, match=r"0\.png cannot be read"):
        samples[0]


def test_samples_are_drawn(pictures: list[LabelledPicture]) -> None:
    for config in (CONFIG, RGB):
        samples = TrainingSet(pictures, config, SIZE, 0, augment=False)
        sample = samples[2]._replace(landmarks=torch.full((1, 5, 2), torch.nan))
        drawn = draw_samples([samples[0], sample, sample._replace(ignored=~sample.ignored)], config, 2)
        assert drawn.shape == (2 * SIZE, 2 * SIZE, 3)
        # A face of 12 to 34 x 10 to 32, of the first picture, of 90 pixels, and of the third one, of 70.
        left, middle = round(12 * SIZE / 90), round(20 * SIZE / 90)
        assert np.abs(drawn[middle, left] - np.array(BOX_COLOUR, int)).max() < 60  # a line with soft edges
        left, middle = round(12 * SIZE / 70), SIZE + round(20 * SIZE / 70)
        assert np.ptp(drawn[middle, left].astype(int)) == 0  # grey
        assert 100 < drawn[middle, left, 0] < 200
        assert not drawn[SIZE:, SIZE:].any()
