"""Comparison of detectors over a folder, and its HTML page."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.evaluate.comparison import Comparison, PictureSet, compare
from engine.evaluate.report.drawing import CANDIDATE_COLOUR, REFERENCE_COLOUR, draw_difference
from engine.evaluate.report.table import rows
from engine.evaluate.report.write import html_report
from engine.faces import Detections
from engine.images import list_images
from engine.metrics.heads import HeadLabels
from engine.types import FloatArray, Image
from tests.support.faces import detections, face

pytest.importorskip("matplotlib", reason="the page has plots")


class Made:
    """Finds one face at the place encoded in the picture's first pixel, moved to the right by `shift`."""

    def __init__(self, shift: float, scores: float = 0.9) -> None:
        self.shift, self.scores, self.runtime = shift, scores, f"runtime {scores}"
        self.thresholds: list[float | None] = []

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        self.thresholds.append(score_threshold)
        x = float(images[0][0, 0, 0])
        return [detections([face(x + self.shift, 10, 40)], [self.scores])]


class Classed(Made):
    """The same face, of a class that follows from its place."""

    def __init__(self, shift: float, every: int) -> None:
        super().__init__(shift)
        self.every = every

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        (faces,) = super().detect(images, score_threshold=score_threshold)
        number = 1 + int(images[0][0, 0, 0]) // 10 % self.every
        return [Detections(faces.boxes, faces.scores, classes=[number], class_names=("mask", "none"))]


class Aged(Made):
    """The same face, with one point at its corner, and an age that follows from its place."""

    def __init__(self, shift: float, off: float) -> None:
        super().__init__(shift)
        self.off = off

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        (faces,) = super().detect(images, score_threshold=score_threshold)
        place = float(images[0][0, 0, 0])
        age = place + self.off * (place / 10) ** 2
        return [Detections(faces.boxes, faces.scores, faces.boxes[:, None, :2], values={"age": [[age]]})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of different sizes, one of them in a subfolder, and one unreadable file."""
    pictures = tmp_path / "<pictures>"
    (pictures / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "c&d.png", "e.png", "sub/f.png")):
        image = np.full((100 + i, 120 + 10 * i, 3), 10 * i, np.uint8)
        (pictures / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (pictures / "broken.jpg").write_bytes(b"no picture")
    return pictures


@pytest.fixture
def labels() -> dict[str, FloatArray]:
    names = ("a.png", "b.png", "broken.jpg", "c&d.png", "e.png", "f.png")
    places = {"a.png": 0, "b.png": 10, "c&d.png": 20, "e.png": 30, "f.png": 40}
    return {name: np.array([face(places.get(name, 0), 10, 40)], np.float32) for name in names}


def compared(folder: Path, labels: dict[str, FloatArray] | None = None, **options: object) -> Comparison:
    detectors = {"exact": Made(0), "<near>": Made(1), "far": Made(30, 0.8)}
    pictures = PictureSet(folder, list_images(folder), labels)
    return compare(detectors, pictures, floor=0.1, **options)  # type: ignore[arg-type]


def test_detectors_are_compared_over_the_pictures_that_can_be_read(folder: Path, labels: dict[str, FloatArray]) -> None:
    seen: list[str] = []
    comparison = compared(folder, labels=labels, on_image=seen.append)
    assert comparison.images == ["a.png", "b.png", "c&d.png", "e.png", "sub/f.png"]
    assert len(seen) == 6
    assert [(entry.image, "not a picture" in entry.reason) for entry in comparison.skipped] == [("broken.jpg", True)]
    near, far = comparison.engines
    assert (near.name, near.agreement.faces, near.agreement.matched) == ("<near>", 5, 5)
    assert near.agreement.iou is not None
    assert near.agreement.iou.mean == pytest.approx(39 / 41)
    assert near.agreement.landmark_error is not None
    assert near.agreement.landmark_error.mean == pytest.approx(1 / 40)
    assert (far.agreement.matched, far.agreement.at(0.5).lost, far.agreement.at(0.5).new) == (0, 5, 5)
    assert near.agreement.labels is not None
    assert far.agreement.labels is not None
    assert (near.agreement.labels.reference, near.agreement.labels.candidate, far.agreement.labels.candidate) == (
        1,
        1,
        0,
    )
    assert len(far.worst) == 5
    assert (near.measured_with, far.measured_with) == ("runtime 0.9", "runtime 0.9 and runtime 0.8")

    values = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert values["skipped"][0]["image"] == "broken.jpg"
    assert values["engines"][0]["agreement"]["iou"]["count"] == 5
    assert values["engines"][1]["worst"][0]["kind"] == "lost"


def test_classes_are_compared_with_those_of_labels(folder: Path, labels: dict[str, FloatArray]) -> None:
    """Labels are mask, none, mask, ... in the order of the pictures; one detector says mask always, one finds none."""
    numbers = {name: np.array([1 + labels[name][0, 0] // 10 % 2], np.int32) for name in labels}
    made = {"exact": Classed(0, 2), "masks": Classed(1, 1), "far": Classed(30, 2)}
    pictures = PictureSet(folder, list_images(folder), labels, numbers, ("mask", "none"))
    comparison = compare(made, pictures, floor=0.1)
    assert comparison.reference_classes is not None
    assert comparison.reference_classes.found == ((3, 0), (0, 2))
    table = dict(rows(comparison))
    assert table["classes right, of the labels found (reference 1.0000)"] == ["0.6000", "-"]
    assert table["mask (reference 3 as mask)"] == ["3 as mask", "3 missed"]
    assert table["none (reference 2 as none)"] == ["2 as mask", "2 missed"]
    written = json.loads(json.dumps(comparison.to_dict()))
    assert written["engines"][0]["classes"] == {
        "names": ["mask", "none"], "found": [[3, 0], [2, 0]], "missed": [0, 0], "accuracy": 0.6,
    }  # fmt: skip
    assert not [name for name, _ in rows(compared(folder, labels)) if "class" in name]
    assert "classes" not in compared(folder, labels).to_dict()


def test_points_and_values_are_compared_with_the_reference_and_with_labels(
    folder: Path, labels: dict[str, FloatArray]
) -> None:
    """Ages are 0, 10, ... 40; labels have the corner of each box but the last, and all ages but the first."""
    places = {name: float(boxes[0, 0]) for name, boxes in labels.items()}
    heads = {
        name: HeadLabels(
            np.full((1, 1, 2), np.nan if x == 40 else [x, 10], np.float32),
            {"age": np.array([[x if x else np.nan]], np.float32)},
        )
        for name, x in places.items()
    }
    made = {"exact": Aged(0, 0), "near": Aged(2, 1), "far": Aged(30, 0)}
    pictures = PictureSet(folder, list_images(folder), labels, heads=heads)
    comparison = compare(made, pictures, floor=0.1)
    table = dict(rows(comparison))
    assert table["age, difference: median / 95 % below"] == ["4 / 14.6", "-"]  # 0, 1, 4, 9, 16
    against = "against labels: mean / 95 % below (reference 0 / 0)"
    assert table[f"landmark error / size {against}"] == ["0.05 / 0.05", "-"]
    assert table[f"age, error {against}"] == ["7.5 / 14.95", "-"]  # 1, 4, 9, 16
    written = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert written["head_errors"]["values"]["age"]["count"] == 4
    near, far = written["engines"]
    assert near["agreement"]["values"]["age"]["maximum"] == pytest.approx(16)
    assert near["head_errors"]["landmarks"]["count"] == 4
    assert far["head_errors"] == {"landmarks": None, "values": {"age": None}}
    html = html_report(comparison, {})
    assert "age, difference: median / 95 % below" in Page(html).texts
    plain = compared(folder, labels)
    assert not [name for name, _ in rows(plain) if "difference:" in name or "against labels:" in name]
    assert "head_errors" not in json.dumps(plain.to_dict())


def test_thresholds_below_the_lowest_common_score_are_left_out(folder: Path) -> None:
    made = {"a": Made(0), "b": Made(0)}
    comparison = compare(made, PictureSet(folder, list_images(folder)), floor=0.4, score_threshold=0.6, num_worst=0)
    assert {value for one in made.values() for value in one.thresholds} == {0.4}
    assert [entry.threshold for entry in comparison.engines[0].agreement.presence] == [0.5, 0.6, 0.7, 0.9]


def test_the_table_names_every_measure_once_for_each_engine(folder: Path, labels: dict[str, FloatArray]) -> None:
    table = dict(rows(compared(folder, labels=labels)))
    assert table["matched, with any score"] == ["5", "0"]
    assert table["box IoU, 5 % below / least"] == ["0.9512 / 0.9512", "-"]
    assert table["lost at 0.5 (found with a lower score)"] == ["0 (0) of 5", "5 (0) of 5"]
    changed = ["1.0000: +0.0000 [+0.0000, +0.0000]", "0.0000: -1.0000 [-1.0000, -1.0000]"]
    assert table["AP against 5 labels (reference 1.0000): change [95 % interval]"] == changed
    assert table["AP, 32 to 64 pixels, 5 labels (reference 1.0000)"] == changed
    assert table["measured with"] == ["runtime 0.9", "runtime 0.9 and runtime 0.8"]


class Page(HTMLParser):
    """Collects the content of a page, and checks that its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_self_contained(folder: Path, labels: dict[str, FloatArray]) -> None:
    text = html_report(compared(folder, labels=labels, num_worst=3), {"exact": "the <reference>"})
    page = Page(text)
    pictures = []
    for link in page.links:
        assert link.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        pictures.append(cv2.imdecode(np.frombuffer(base64.b64decode(link.split(",")[1]), np.uint8), cv2.IMREAD_COLOR))
    assert all(picture is not None for picture in pictures)
    assert len(pictures) == 5 + 2 * 3  # plots, and the worst pictures of two engines
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    for expected in ("the <reference>", "<near>", "c&d.png: lost, differs by 1.0000", "broken.jpg"):
        assert expected in page.texts


def test_a_page_about_engines_that_do_not_differ_and_find_nothing(folder: Path) -> None:
    same = compare({"a": Made(0, 0.2), "b": Made(0, 0.2)}, PictureSet(folder, list_images(folder)), floor=0.1)
    assert same.engines[0].agreement.faces == 0
    assert "It does not differ." in Page(html_report(same, {})).texts


def coloured(drawing: Image, colour: tuple[int, int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    ys, xs = np.nonzero((np.abs(drawing.astype(int) - colour) < 12).all(axis=2))
    return ys, xs


@pytest.mark.parametrize("size", [20, 200])
def test_both_boxes_are_drawn_to_scale(size: int) -> None:
    image: Image = np.full((800, 800, 3), 128, np.uint8)
    image[300 : 300 + size, 300 : 300 + size] = 255
    reference, candidate = ([face(300 + d, 300, size)] for d in (0, size / 10))
    drawing = draw_difference(
        image,
        np.array(reference[0]),
        detections(reference, [0.9], landmarks=False),
        detections(candidate, [0.05], landmarks=False),
    )
    assert drawing.shape == (320, 320, 3)
    ys, xs = coloured(drawing, REFERENCE_COLOUR)
    # The crop is three faces wide: the face fills the middle third.
    assert (xs.min(), xs.max(), ys.max()) == pytest.approx((107, 213, 213), abs=2)
    white = np.nonzero((drawing > 250).all(axis=2))
    assert (white[1].min(), white[1].max()) == pytest.approx((107, 213), abs=3)
    assert not len(coloured(drawing, CANDIDATE_COLOUR)[0])  # its score is too low to be drawn
    drawing = draw_difference(
        image, np.array(reference[0]), detections([], []), detections(candidate, [0.7], landmarks=False)
    )
    xs = coloured(drawing, CANDIDATE_COLOUR)[1]
    assert (xs.min(), xs.max()) == pytest.approx((107 + 10.7, 213 + 10.7), abs=2)


def test_bad_input_is_named(folder: Path, labels: dict[str, FloatArray], tmp_path: Path) -> None:
    del labels["b.png"], labels["e.png"]
    with pytest.raises(InvalidArgumentError, match=r"labels lack 2 of 6 pictures, the first is b\.png"):
        compared(folder, labels=labels)
    for score in (0.05, 1.1, float("nan")):
        with pytest.raises(InvalidArgumentError, match="score threshold is"):
            compared(folder, score_threshold=score)
    with pytest.raises(InvalidArgumentError, match=r"none of the 1 pictures can be read: broken\.jpg is not a picture"):
        compare({"a": Made(0), "b": Made(0)}, PictureSet(folder, [folder / "broken.jpg"]), floor=0.1)
    with pytest.raises(InvalidArgumentError, match="none were given"):
        compare({"a": Made(0), "b": Made(0)}, PictureSet(folder, []), floor=0.1)
