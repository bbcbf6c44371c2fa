"""The pictures that are sent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.bench.load.workload import GENERATED_SIZES, from_folder, generated
from engine.errors import InvalidArgumentError
from engine.images import decode_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and two files that are not pictures."""
    for name, size in (("a.jpg", (30, 40)), ("b.png", (50, 20)), ("sub/c.jpg", (8, 8))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((*size, 3), 99, np.uint8))
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:20])
    (tmp_path / "empty.png").touch()
    return tmp_path


def test_unreadable_pictures_are_named_and_left_out(folder: Path) -> None:
    workload = from_folder(folder, None, seed=0)
    assert sorted((picture.name, picture.size) for picture in workload.pictures) == [
        ("a.jpg", (30, 40)),
        ("b.png", (50, 20)),
        ("sub/c.jpg", (8, 8)),
    ]
    assert [name for name, _ in workload.skipped] == ["broken.jpg", "empty.png"]
    assert all("is not a picture" in reason for _, reason in workload.skipped)
    assert all(picture.boxes is None for picture in workload.pictures)
    values = workload.to_dict()
    assert (values["pictures"], values["sizes"]) == (3, [[8, 8], [30, 40], [50, 20]])
    for picture in workload.pictures:
        assert decode_image(picture.content).nbytes == picture.decoded_bytes


def test_labels_belong_to_all_pictures_or_none(folder: Path) -> None:
    box = np.array([[1, 2, 5, 7]], np.float32)
    labels = {"a.jpg": box, "b.png": np.zeros((0, 4), np.float32), "c.jpg": box}
    workload = from_folder(folder, labels, seed=0)
    assert all(picture.boxes is not None for picture in workload.pictures)
    assert {picture.name: len(picture.boxes if picture.boxes is not None else ()) for picture in workload.pictures} == {
        "a.jpg": 1,
        "b.png": 0,
        "sub/c.jpg": 1,
    }
    del labels["b.png"]
    with pytest.raises(InvalidArgumentError, match=r"labels lack 1 of 3 pictures, the first is b\.png"):
        from_folder(folder, labels, seed=0)


def test_a_folder_without_readable_pictures_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a folder"):
        from_folder(folder / "nowhere", None, seed=0)
    for name in ("a.jpg", "b.png", "sub/c.jpg"):
        (folder / name).unlink()
    with pytest.raises(InvalidArgumentError, match="none of the 2 pictures"):
        from_folder(folder, None, seed=0)


def test_generated_pictures_have_all_sizes_and_known_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr("engine.bench.load.workload.GENERATED", 6)
    workload = generated(1, lambda: made.append(1))
    assert len(workload.pictures) == len(made) == 6
    assert {picture.size for picture in workload.pictures} == set(GENERATED_SIZES)
    assert [picture.size for picture in workload.pictures] != [*GENERATED_SIZES, GENERATED_SIZES[0]]  # mixed
    for picture in workload.pictures:
        assert decode_image(picture.content).shape == (*picture.size, 3)
    with_faces = "with pasted faces" in workload.source
    assert all(picture.boxes is not None for picture in workload.pictures)
    assert any(picture.boxes is not None and len(picture.boxes) for picture in workload.pictures) == with_faces
    monkeypatch.setattr("engine.bench.load.workload.GENERATED", 2)
    first, again = (b"".join(picture.content for picture in generated(3).pictures) for _ in range(2))
    assert first == again
    monkeypatch.setattr("engine.bench.load.workload._face", lambda: None)
    bare = generated(3)
    assert "without faces" in bare.source
    assert all(picture.boxes is not None and not len(picture.boxes) for picture in bare.pictures)
