"""Photos and a published checkpoint, most of them in a folder beside the project; tests skip if a file is missing."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.types import Image

_DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class LabelledPhoto:
    """A BGR image and the boxes of its faces, float64 [N, 4], x1 y1 x2 y2."""

    name: str
    image: Image
    boxes: NDArray[np.float64]


def upstream_checkpoint() -> Path:
    """Return the path of Pytorch_Retinaface's mobilenet0.25_Final.pth."""
    return _existing(_DATA / "weights" / "mobilenet0.25_Final.pth")


def widerface_ground_truth() -> Path:
    """Return the folder of WIDER FACE's .mat files."""
    return _existing(_DATA / "widerface" / "wider_face_val.mat").parent


def labelled_photos() -> list[LabelledPhoto]:
    """Return four photos with 18 labelled faces."""
    labels = ElementTree.parse(_existing(_DATA / "photos" / "training.xml"))
    photos = []
    for entry in labels.iter("image"):
        path = _DATA / "photos" / Path(entry.attrib["file"]).name
        if path.is_file():
            boxes = [[float(b.attrib[key]) for key in ("left", "top", "width", "height")] for b in entry.iter("box")]
            corners = np.array(boxes)
            corners[:, 2:] += corners[:, :2]
            photos.append(LabelledPhoto(path.name, read_image(path), corners))
    return photos


def labelled_landmarks() -> list[tuple[Image, NDArray[np.float64]]]:
    """Return those photos with the five landmarks of their faces, float64 [N, 5, 2], of 68 that dlib's model drew."""
    labels = ElementTree.parse(_existing(_DATA / "photos" / "training_with_face_landmarks.xml"))
    photos = []
    for entry in labels.iter("image"):
        image = read_image(_existing(_DATA / "photos" / Path(entry.attrib["file"]).name))
        drawn = [[[float(p.attrib["x"]), float(p.attrib["y"])] for p in box.iter("part")] for box in entry.iter("box")]
        # In iBUG's order: eyes, the nose's tip, the corners of the mouth.
        parts = [np.array(drawn)[:, these].mean(axis=1) for these in (range(36, 42), range(42, 48), [30], [48], [54])]
        photos.append((image, np.stack(parts, axis=1)))
    return photos


def astronaut() -> Image:
    """Return scikit-image's photo of an astronaut (public domain), BGR; its one face is at ASTRONAUT_FACE."""
    skimage_data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image")
    return read_image(Path(skimage_data.__file__).parent / "astronaut.png")


ASTRONAUT_FACE = np.array([178.0, 56.0, 271.0, 178.0])


def read_image(path: Path) -> Image:
    """Read a BGR image."""
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, np.uint8)


def mask_photos(split: str) -> list[Path]:
    """Return the paths of photos of people, split "train" or "val", in the order of the list."""
    lines = _existing(_DATA / "masks" / f"{split}.jsonl").read_text().splitlines()
    return [_DATA / "masks" / "images" / json.loads(line)["image"] for line in lines]


def _existing(path: Path) -> Path:
    if not path.is_file():
        pytest.skip(
            f"{path.name} is missing from {_DATA}" if _DATA.is_dir() else "there is no folder of photos and labels"
        )
    return path


def picture_files() -> list[bytes]:
    """Return files of different sizes and formats, with and without faces."""
    photo = astronaut()
    noise = np.random.default_rng(1).integers(0, 256, (70, 200, 3), np.uint8)
    images = [photo, photo[:300], photo[40:, 100:330], photo[::2, ::2], photo[:, ::-1], noise]
    suffixes = [".png", ".jpg", ".png", ".webp", ".bmp", ".png"]
    return [
        cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()
        for suffix, image in zip(suffixes, images, strict=True)
    ]
