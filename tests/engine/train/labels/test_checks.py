"""Labels that do not fit their pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.train.labels import LabelledPicture, read_labels

HEIGHT, WIDTH = 37, 53  # no multiples of 8


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a.jpg and b.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        (folder / name).write_bytes(cv2.imencode(name[1:], picture)[1].tobytes())
    return folder


def read(
    pictures: Path, faces: Mapping[str, Sequence[Mapping[str, object]]]
) -> tuple[list[LabelledPicture], list[str]]:
    """Read labels in JSON lines, and what is said of them."""
    path = pictures.parent / "labels.jsonl"
    path.write_text("\n".join(json.dumps({"image": name, "faces": found}) for name, found in faces.items()))
    said: list[str] = []
    return read_labels(path, pictures, said.append), said


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
def test_boxes_are_clipped_left_out_and_counted(pictures: Path, name: str) -> None:
    boxes: dict[str, list[list[float]]] = {
        "as they are": [[0, 0, WIDTH, HEIGHT], [1, 2, 3, 4], [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT], [5, 5, 6, 6.5]],
        "clipped": [[-5, -6, 7, 8], [50, 30, WIDTH + 0.5, HEIGHT]],
        "empty": [[3, 3, 3, 9], [9, 9, 4, 12]],
        "outside": [[WIDTH, 0, WIDTH + 9, 9], [-9, -9, 0, 30]],
    }
    (labels,), said = read(pictures, {name: [{"box": box} for kind in boxes.values() for box in kind]})
    assert labels.boxes.tolist() == [*boxes["as they are"], [0, 0, 7, 8], [50, 30, WIDTH, HEIGHT]]
    assert len(labels.landmarks) == len(labels.ignored) == 6
    where = f"(such as in {pictures / name})"
    assert said[-1].split("of 10 boxes: ")[1].split("; ") == [
        f"2 have no area and are left out {where}",
        f"2 lie outside of their pictures and are left out {where}",
        f"2 reach out of their pictures and are clipped {where}",
    ]


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
def test_a_box_that_leaves_its_picture_a_little_is_clipped(pictures: Path, name: str) -> None:
    """By less than the sides of an eighth are rounded."""
    for box in ([9, 9, WIDTH + 0.5, 30], [9, 9, 30, HEIGHT + 0.5]):
        (labels,), said = read(pictures, {name: [{"box": box}]})
        assert labels.boxes.tolist() == [[9, 9, min(box[2], WIDTH), min(box[3], HEIGHT)]]
        assert "1 reach out" in said[-1]


def test_landmarks_stay_with_their_faces(pictures: Path) -> None:
    points = [[[x, y], [x + 9, y], [x + 5, y + 4], [x + 1, y + 8], [x + 8, y + 8]] for x, y in ((1, 2), (44, 5))]
    unlabelled = [[-1, -1], *points[0][1:]]
    (labels,), _ = read(
        pictures,
        {
            "a.jpg": [
                {"box": [9, 9, 9, 9], "landmarks": points[0]},
                {"box": [1, 1, 12, 12], "landmarks": points[0]},
                {"box": [2, 2, 12, 12], "landmarks": [[-1, -1]] * 5},
                {"box": [3, 2, 12, 12], "landmarks": unlabelled},
                {"box": [4, 2, 12, 12], "landmarks": None},
                {"box": [43, 1, 60, 12], "landmarks": points[1]},
            ]
        },
    )
    assert labels.boxes[:, 0].tolist() == [1, 2, 3, 4, 43]
    assert labels.landmarks[[0, 4]].tolist() == points
    assert np.isnan(labels.landmarks[1:4]).all()


def test_sets_that_cannot_be_meant_are_refused(pictures: Path) -> None:
    face = {"box": [1, 1, 9, 9]}
    with pytest.raises(InvalidArgumentError, match=r"labels\.jsonl have no faces in 2 pictures"):
        read(pictures, {"a.jpg": [], "b.png": []})
    with pytest.raises(InvalidArgumentError, match=r"name 2 pictures that are not in .*, such as c\.jpg: give"):
        read(pictures, {"d.jpg": [face], "a.jpg": [face], "c.jpg": []})
    with pytest.raises(InvalidArgumentError, match=r"3 boxes, of which only 1 have an area .*2 have no area"):
        read(pictures, {"a.jpg": [face, {"box": [30, 9, 5, 9]}], "b.png": [{"box": [20, 20, 9, 8]}]})
    exchanged = {"box": [1, 1, 9, 9], "landmarks": [[8, 2], [3, 2], [5, 5], [8, 8], [3, 8]]}
    with pytest.raises(InvalidArgumentError, match="in 1 of 1 faces the first eye is to the right"):
        read(pictures, {"a.jpg": [face, exchanged]})
    (pictures / "a.jpg").write_text("no picture")
    with pytest.raises(InvalidArgumentError, match=r"a\.jpg is not a picture"):
        read(pictures, {"a.jpg": [face]})


def test_pictures_without_labels_are_counted(pictures: Path) -> None:
    labels, said = read(pictures, {"elsewhere/b.png": [{"box": [1, 1, 9, 9]}]})
    assert [picture.path for picture in labels] == [pictures / "b.png"]
    assert said == [
        f"labels {pictures.parent}/labels.jsonl: 1 of 2 pictures have no label and are not used, such as a.jpg"
    ]
