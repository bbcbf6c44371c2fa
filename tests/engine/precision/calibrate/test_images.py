"""Calibration images: found, checked, split and chosen."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import ops
from engine.errors import CalibrationError
from engine.images import read_image
from engine.precision.calibrate.images import find_images, resized
from engine.runtime.letterbox import Letterbox
from tests.support.graphs import CONFIG

BOX = Letterbox((96, 96), CONFIG, enlarge=False)


def test_pictures_of_a_folder(photos: Path) -> None:
    shown: list[tuple[int, int]] = []
    images = find_images(photos, 100, BOX, lambda n, t: shown.append((n, t)))
    assert [path.name for path in images.paths] == [f"photo{i}.png" for i in range(6)]
    assert images.skipped == ()
    assert images.digests == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in images.paths)
    assert shown == [(i + 1, 6) for i in range(6)]
    assert list(images.fitting) == [0, 2, 4]
    assert list(images.held_out) == [1, 3, 5]


def test_batches_are_letterboxed_one_by_one(photos: Path) -> None:
    images = find_images(photos, 100, BOX)
    batches = images.batches(images.held_out)
    for index in (1, 3, 5):
        batch = next(batches)
        picture = cv2.imread(str(photos / f"photo{index}.png"))
        assert picture is not None
        wanted = ops.letterbox(
            [np.asarray(picture, np.uint8)], (96, 96), mean=CONFIG.mean, std=CONFIG.std, swap_rb=False,
            pad_value=CONFIG.pad_value, enlarge=False,
        ).batch  # fmt: skip
        assert batch.dtype == np.float32
        np.testing.assert_array_equal(batch, wanted)


@pytest.mark.parametrize(("count", "chosen"), [(4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4]), (6, range(6)), (7, range(6))])
def test_the_choice_is_even(photos: Path, count: int, chosen: list[int]) -> None:
    images = find_images(photos, count, BOX)
    assert [path.name for path in images.paths] == [f"photo{i}.png" for i in chosen]


def test_subfolders_are_searched_and_other_files_ignored(photos: Path, tmp_path: Path) -> None:
    for i, name in enumerate(["z.PNG", "b/a.jpeg", "b/c/x.png", "y.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"photo{i}.png", tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    images = find_images(tmp_path, 10, BOX)
    assert [path.relative_to(tmp_path).as_posix() for path in images.paths] == [
        "b/a.jpeg",
        "b/c/x.png",
        "y.png",
        "z.PNG",
    ]
    assert images.skipped == ()


def test_unreadable_pictures_are_listed_and_skipped(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    (tmp_path / "photo1.png").write_bytes(b"no picture")
    (tmp_path / "photo4.png").write_bytes(b"")
    (tmp_path / "photo2b.png").write_bytes((photos / "photo2.png").read_bytes()[:40])
    images = find_images(tmp_path, 100, BOX)
    assert [path.name for path in images.skipped] == ["photo1.png", "photo2b.png", "photo4.png"]
    assert [path.name for path in images.paths] == [f"photo{i}.png" for i in (0, 2, 3, 5)]
    assert len(images.digests) == 4
    assert list(images.fitting) == [0, 2]


def test_too_few_readable_pictures(photos: Path, tmp_path: Path) -> None:
    for i in range(3):
        shutil.copy(photos / f"photo{i}.png", tmp_path)
    with pytest.raises(
        CalibrationError,
        match=r"has 3 pictures; 3 were chosen for calibration and 3 are readable, expected at least 4: give about 100",
    ):
        find_images(tmp_path, 100, BOX)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(
        CalibrationError,
        match=r"4 were chosen for calibration and 3 are readable \(1 more cannot be read: bad\.jpg \.\.\.\)",
    ):
        find_images(tmp_path, 100, BOX)


def test_a_folder_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"none is not a folder\. Give a folder of photos with --calib-dir"):
        find_images(tmp_path / "none", 10, BOX)
    with pytest.raises(CalibrationError, match="has no pictures: names that end in"):
        find_images(tmp_path, 10, BOX)


def test_files_are_decoded_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    decoded: list[str] = []

    def spy(path: Path) -> object:
        decoded.append(path.name)
        return read_image(path)

    monkeypatch.setattr("engine.images.read_image", spy)
    images = find_images(tmp_path, 100, BOX)
    for path in images.paths:
        path.unlink()
    assert len(list(images.batches([*images.fitting, *images.held_out, *images.fitting]))) == 9
    assert decoded == [f"photo{i}.png" for i in range(6)]


@pytest.mark.parametrize("enlarge", [False, True])
def test_a_resized_picture_is_letterboxed_like_the_picture(rng: np.random.Generator, enlarge: bool) -> None:
    for _ in range(60):
        height, width, tall, wide = (int(n) for n in rng.integers(1, [300, 300, 5, 5]))
        box = replace(BOX, size=(32 * tall, 32 * wide), enlarge=enlarge)
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        small = resized(picture, box)
        assert all(side <= most for side, most in zip(small.shape, box.size, strict=False))
        np.testing.assert_array_equal(box.batch([small]), box.batch([picture]))


def test_without_images_to_hold_out_all_are_fitted_to_and_measured_on(photos: Path) -> None:
    images = find_images(photos, 100, BOX)
    all_of_them = replace(images, pictures=(*images.pictures, images.pictures[0]), hold_out=None)
    assert all_of_them.fitting == list(range(7))
    assert all_of_them.held_out == list(range(6))
