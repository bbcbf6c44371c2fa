"""Labels in JSON lines, and folders of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.images import list_images, read_image
from engine.pictures.labels import boxes_of, label_line, read_labels
from engine.pictures.photos import Pictures, labelled_photos

GOOD = '{"image": "a.jpg", "faces": [{"box": [1, 2, 3, 4.5], "score": 0.9}]}'


def test_lines_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(f'{GOOD}\n\n{{"image": "b.jpg", "faces": []}}\n')
    labels = read_labels(path)
    assert labels["a.jpg"].tolist() == [[1, 2, 3, 4.5]]
    assert labels["b.jpg"].shape == (0, 4)
    path.write_text("\n".join(label_line(name, boxes) for name, boxes in labels.items()))
    again = read_labels(path)
    assert all(np.array_equal(again[name], labels[name]) for name in labels)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"image": "a"}',
        '{"image": 3, "faces": []}',
        '{"image": "a", "faces": 3}',
        '{"image": "a", "faces": {}}',
        '{"image": "a", "faces": ""}',
        '{"image": "a", "faces": [{"box": {}}]}',
        '{"image": "a", "faces": [{"box": [[1, 2], [3, 4]]}]}',
        '{"image": "a", "faces": [{"box": ["1", "2", "3", "4"]}]}',
        '{"image": "a", "faces": [{"box": [0, false, 3, true]}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3, 1e39]}]}',
        f'{{"image": "a", "faces": [{{"box": [1, 2, 3, 1{"0" * 400}]}}]}}',
        f'{{"image": "a", "faces": [{{"box": [1, 2, 3, 1{"0" * 5000}]}}]}}',
        '{"image": "a", "faces": [{}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3]}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3, 4, 5, 6, 7, 8]}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3, "x"]}]}',
        '{"image": "a", "faces": [{"box": [3, 2, 1, 4]}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3, NaN]}]}',
        '{"image": "a", "faces": [{"box": [1, 2, 3, 1e400]}]}',
        "[" * 100000,
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(InvalidArgumentError, match="line 2: expected"):
        read_labels(path)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_labels(path)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_labels(path)
    path.write_text("\n")
    with pytest.raises(InvalidArgumentError, match="has no lines"):
        read_labels(path)
    path.write_text(f"{GOOD}\n{GOOD}\n")
    with pytest.raises(InvalidArgumentError, match=r"line 2: a\.jpg occurs twice"):
        read_labels(path)


def test_labels_find_their_pictures() -> None:
    one, two = np.ones((1, 4), np.float32), np.zeros((2, 4), np.float32)
    labels = {"/elsewhere/a.jpg": one, "x/b.jpg": one, "y/b.jpg": two}
    found = boxes_of(labels, ["a.jpg", "y/b.jpg", "c.jpg"])
    assert found[0] is one
    assert found[1] is two
    assert found[2] is None
    with pytest.raises(InvalidArgumentError, match=r"x/b\.jpg and y/b\.jpg could both be z/b\.jpg"):
        boxes_of(labels, ["z/b.jpg"])
    # A label that names a picture belongs to that picture only.
    found = boxes_of(labels, ["y/b.jpg", "z/b.jpg"])
    assert found[0] is two
    assert found[1] is one
    assert boxes_of({"x/b.jpg": one}, ["x/b.jpg", "z/b.jpg"])[1] is None
    with pytest.raises(InvalidArgumentError, match=r"b\.jpg could be x/b\.jpg and z/b\.jpg"):
        boxes_of({"b.jpg": one}, ["x/b.jpg", "z/b.jpg"])


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert list(read_labels(path)) == ["a.jpg"]


def test_folders_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.png").mkdir()
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    for name in ("b.PNG", "sub/a.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (tmp_path / "text.txt").touch()
    (tmp_path / "a.jpg").write_text("no picture")
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["a.jpg", "b.PNG", "sub/a.png"]
    assert np.array_equal(read_image(tmp_path / "b.PNG"), picture)
    with pytest.raises(InvalidArgumentError, match="is not a picture"):
        read_image(tmp_path / "a.jpg")
    pictures = Pictures(tmp_path)
    assert len(pictures) == 3
    assert np.array_equal(pictures[1], picture)
    with pytest.raises(InvalidArgumentError, match=r"a\.jpg is not a picture"):
        pictures[0]

    said: list[str] = []
    labels = {"a.jpg": np.ones((1, 4), np.float32), "b.PNG": np.zeros((1, 4), np.float32)}
    (photo,) = labelled_photos(tmp_path, labels, said.append)
    assert np.array_equal(photo.image, picture)
    assert photo.boxes is labels["b.PNG"]
    assert len(said) == 1
    assert "a.jpg: is not a picture" in said[0]


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="has no pictures"):
        list_images(tmp_path)
    with pytest.raises(InvalidArgumentError, match="is not a folder"):
        list_images(tmp_path / "nowhere")
