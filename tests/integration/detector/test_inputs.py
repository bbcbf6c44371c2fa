"""Every kind of input, order and colour gives a real engine the faces of the same picture as a BGR array."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from engine import BatchQueue, Detections, EngineLoadError, InvalidArgumentError, TRTRetinaFace
from engine.types import Color, Image
from tests.support.data import astronaut


@pytest.fixture(scope="module")
def detector(fp32_engine: Path) -> TRTRetinaFace:
    # A low threshold, so that small differences of colour change what is found.
    return TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.02)


@pytest.fixture(scope="module")
def ranged_detector(fp16_engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(fp16_engine, "cpu", input_size=(352, 352))


@pytest.fixture(scope="module")
def picture() -> Image:
    """One face in several sizes. As wide as it is high the picture would not show axes that are exchanged."""
    face = astronaut()[:256, 96:352]
    canvas = np.full((300, 480, 3), 127, np.uint8)
    for side, top, left in ((256, 0, 0), (176, 0, 256), (120, 176, 256), (90, 180, 380)):
        canvas[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return canvas


def rgb(picture: Image) -> Image:
    return np.ascontiguousarray(picture[..., ::-1])


def png(picture: Image) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


ARRAYS: dict[str, Callable[[Image], Any]] = {
    "array": lambda picture: picture,
    "four channels": lambda picture: np.dstack([picture, picture[..., :1]]),
    "tensor [H, W, 3]": torch.from_numpy,
    "tensor [3, H, W]": lambda picture: torch.from_numpy(picture).permute(2, 0, 1).contiguous(),
}
OTHERS: dict[str, Callable[[Image], Any]] = {
    "bytes": png,
    "memoryview": lambda picture: memoryview(png(picture)),
    "Pillow": lambda picture: Pillow.fromarray(rgb(picture)),
    "Pillow with transparency": lambda picture: Pillow.fromarray(rgb(picture)).convert("RGBA"),
    "Pillow's file": lambda picture: Pillow.open(io.BytesIO(png(picture))),
}


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("kind", [*ARRAYS, *OTHERS])
def test_every_kind_finds_the_same(detector: TRTRetinaFace, picture: Image, kind: str, color: Color) -> None:
    """Of arrays the order of the channels is said; the others know their own."""
    arranged = rgb(picture) if kind in ARRAYS and color == "rgb" else picture
    given, expected = {**ARRAYS, **OTHERS}[kind](arranged), detector.detect(picture)
    assert len(expected) > 1
    assert expected.image_size == (300, 480)
    assert detector.detect(given, color=color) == expected
    assert detector.submit(given, color=color).result(60) == expected
    assert detector.profile(given, color=color)[0] == [expected]


def test_colour_matters(detector: TRTRetinaFace, picture: Image) -> None:
    assert detector.detect(rgb(picture)) != detector.detect(picture) != detector.detect(picture, color="rgb")


@pytest.mark.parametrize("options", [{"flip": True}, {"scales": [352, 500], "flip": True, "voting": True}], ids=str)
def test_colours_hold_at_several_scales(ranged_detector: TRTRetinaFace, picture: Image, options: Any) -> None:
    expected = ranged_detector.detect(picture, score_threshold=0.02, **options)
    assert expected.image_size == (300, 480)
    given: list[Any] = [rgb(picture), png(picture)]
    assert ranged_detector.detect(given, score_threshold=0.02, color="rgb", **options) == [expected, expected]


def test_gray_pictures(detector: TRTRetinaFace, picture: Image) -> None:
    gray = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    expected = detector.detect(np.repeat(gray[..., None], 3, 2))
    assert len(expected)
    for given in (gray, gray[..., None], torch.from_numpy(gray), Pillow.fromarray(gray), png(gray)):
        assert detector.detect(given) == expected


def test_paths_lists_and_generators_of_mixed_kinds(detector: TRTRetinaFace, picture: Image, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png(picture))
    small = np.ascontiguousarray(picture[:240, 100:330])
    mixed: list[Any] = [path, small, str(path), png(small), Pillow.fromarray(rgb(picture)), torch.from_numpy(small)]
    whole, part = detector.detect(picture), detector.detect(small)
    expected = [whole, part] * 3
    assert detector.detect(mixed) == expected
    assert detector.detect(tuple(mixed)) == expected
    assert detector.detect(image for image in mixed) == expected
    assert detector.detect(iter([picture])) == [whole]
    found, stages = detector.profile(image for image in mixed)
    assert found == expected
    assert next(iter(stages)) == "decode"
    assert "decode" not in detector.profile([picture, small])[1]


def test_a_generator_is_taken_max_batch_at_a_time(detector: TRTRetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, sizes = 0, []
    run = detector._session.detect

    def counted(images: Any, *arguments: Any) -> Any:
        nonlocal alive
        sizes.append((len(images), alive))
        alive = 0
        return run(images, *arguments)

    def pictures() -> Iterator[Image]:
        nonlocal alive
        for _ in range(2 * detector.max_batch + 1):
            alive += 1
            yield np.zeros((9, 9, 3), np.uint8)

    monkeypatch.setattr(detector._session, "detect", counted)
    assert len(detector.detect(pictures())) == 2 * detector.max_batch + 1
    assert sizes == [(detector.max_batch, detector.max_batch)] * 2 + [(1, 1)]


def test_a_bad_entry_is_named(detector: TRTRetinaFace, picture: Image) -> None:
    several = [picture] * 5 + ["nothing.jpg"]
    for given in (several, iter(several)):
        with pytest.raises(InvalidArgumentError, match=r"^images\[5\], the file nothing\.jpg, cannot be read"):
            detector.detect(given)


def test_size_and_number_of_faces_can_be_limited(detector: TRTRetinaFace, picture: Image) -> None:
    every = detector.detect(picture)
    sides = (every.boxes[:, 2:] - every.boxes[:, :2]).min(1)
    size = float(np.median(sides))
    large = [face for face, side in zip(every, sides, strict=True) if side > size]
    assert 1 < len(large) < len(every)
    assert list(detector.detect(picture, min_size=size)) == large
    assert list(detector.detect(picture, max_faces=2)) == list(every)[:2]
    best = detector.detect(picture, min_size=size, max_faces=1)
    assert list(best) == large[:1]
    limits: dict[str, Any] = {"min_size": size, "max_faces": 1}
    assert detector.detect([picture, picture], **limits) == [best, best]
    assert detector.profile(picture, **limits)[0] == [best]
    with BatchQueue([detector], max_delay=0.05) as queue:
        requests = [queue.submit(picture, **limits), queue.submit(picture, max_faces=2), queue.submit(picture)]
        assert [request.result(60) for request in requests] == [best, every[:2], every]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_faces": 0}, "max_faces is 0, expected a whole number from 1"),
        ({"max_faces": -1}, "max_faces is -1"),
        ({"max_faces": 2.0}, r"max_faces is 2\.0"),
        ({"min_size": -1}, "min_size is -1, expected pixels from 0"),
        ({"min_size": float("nan")}, "min_size is nan"),
        ({"min_size": "20"}, "min_size is '20'"),
        ({"color": "RGB"}, "color is 'RGB', expected 'bgr' or 'rgb'"),
        ({"color": None}, "color is None"),
    ],
)
def test_impossible_arguments_are_refused(
    detector: TRTRetinaFace, picture: Image, arguments: dict[str, Any], message: str
) -> None:
    for call in (detector.detect, detector.profile, detector.submit):
        with pytest.raises(InvalidArgumentError, match=message):
            call(picture, **arguments)


def test_results_of_a_real_picture_can_be_kept_and_shown(
    detector: TRTRetinaFace, picture: Image, tmp_path: Path
) -> None:
    faces = detector.detect(picture, score_threshold=0.5)
    assert Detections.from_json(faces.to_json()).to_json() == faces.to_json()
    assert faces.plot(png(picture)).shape == picture.shape
    crops = faces.save_crops(Pillow.fromarray(rgb(picture)), tmp_path, margin=0.5)
    assert len(crops) == len(faces) == 4
    assert [len(found) for found in detector.detect(crops, score_threshold=0.5)] == [1] * 4


@pytest.mark.parametrize("suffix", [".network.onnx", ".engine.json"])
def test_a_file_beside_the_engine_is_not_taken_for_it(fp32_engine: Path, suffix: str) -> None:
    """The message names the file that was meant."""
    beside = fp32_engine.with_name(f"faces{suffix}")
    assert beside.is_file()
    with pytest.raises(EngineLoadError, match=rf"lies beside an engine, expected the engine: {fp32_engine}$"):
        TRTRetinaFace(beside, "cpu")
