"""Every format of labels gives the same faces; what is malformed is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.config.heads import ValueHead
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.train.labels import read_labels
from engine.train.labels.reading import read_faces

# What every file below says: a.png has two faces, of which the second is ignored where the format can say so; b.png has
# none.
BOXES: list[list[float]] = [[10, 12, 30.5, 44], [2, 3, 9, 11]]
POINTS: list[list[float]] = [[15, 20], [25, 21], [20, 27.5], [16, 35], [24, 36]]
WIDER = "event/a.png\n2\n10 12 20.5 32 0 0 0 0 0 0 \n2 3 7 8 2 1 0 1 0 0 \nb.png\n0\n0 0 0 0 0 0 0 0 0 0 \n"
_FLAGS = " ".join(f"{x} {y} 0.0" for x, y in POINTS)
RETINAFACE = f"# event/a.png\n10 12 20.5 32 {_FLAGS} 0.82\n2 3 7 8{' -1.0' * 15} 0.3\n# b.png\n"
JSON_LINES = "\n".join(
    map(
        json.dumps,
        [
            {"image": "event/a.png", "faces": [{"box": BOXES[0], "score": 1, "landmarks": POINTS}, {"box": BOXES[1]}]},
            {"image": "b.png", "faces": []},
        ],
    )
)
COCO: dict[str, Any] = {
    "info": {"year": 2024},
    "images": [{"id": 7, "file_name": "event/a.png"}, {"id": 2, "file_name": "b.png"}],
    "annotations": [
        {
            "image_id": 7, "category_id": 1, "bbox": [10, 12, 20.5, 32], "iscrowd": 0,
            "keypoints": [value for x, y in POINTS for value in (x, y, 2)],
        },
        {"image_id": 7, "category_id": 1, "bbox": [2, 3, 7, 8], "iscrowd": 1, "keypoints": [0] * 15},
    ],
    "categories": [{"id": 1, "name": "face"}],
}  # fmt: skip


def voc(name: str, *boxes: list[float], difficult: bool = False, kind: str = "face") -> str:
    """Pascal VOC's file of a picture; of several boxes the last one is difficult."""
    objects = [
        f"<object><name>{kind}</name><difficult>{int(difficult and box is boxes[-1])}</difficult><bndbox>"
        f"<ymin>{box[1]}</ymin><xmin>{box[0]}</xmin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for box in boxes
    ]
    return f"<annotation><folder>x</folder><filename>{name}</filename>{''.join(objects)}</annotation>"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with event/a.png and b.png, of 48 x 40 pixels."""
    folder = tmp_path / "pictures"
    (folder / "event").mkdir(parents=True)
    content = cv2.imencode(".png", np.full((48, 40, 3), 90, np.uint8))[1].tobytes()
    for name in ("event/a.png", "b.png"):
        (folder / name).write_bytes(content)
    return folder


def written(folder: Path, content: str) -> Path:
    """Write a file of labels; its name says nothing."""
    path = folder / "labels"
    path.write_text(content)
    return path


def voc_folder(folder: Path) -> Path:
    """A folder of Pascal VOC's files; one name lacks its suffix, the other is an old one of another system."""
    path = folder / "voc"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "a.xml").write_text(voc("a", *BOXES, difficult=True))
    (path / "b.xml").write_text(voc(r"C:\old\photo.jpg"))
    return path


FORMATS: dict[str, tuple[Callable[[Path], Path], bool, bool]] = {  # with landmarks, with ignored faces
    "json lines": (lambda folder: written(folder, JSON_LINES), True, False),
    "wider": (lambda folder: written(folder, WIDER), False, True),
    "wider without zeros": (lambda folder: written(folder, "b.png\n0\n" + WIDER.split("b.png")[0]), False, True),
    "retinaface": (lambda folder: written(folder, RETINAFACE), True, False),
    "coco": (lambda folder: written(folder, json.dumps(COCO)), True, True),
    "coco in lines": (lambda folder: written(folder, json.dumps(COCO, indent=1)), True, True),
    "voc": (voc_folder, False, True),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_recognised_and_agree(kind: str, tmp_path: Path, pictures: Path) -> None:
    make, has_landmarks, has_ignored = FORMATS[kind]
    said: list[str] = []
    labels = read_labels(make(tmp_path), pictures, said.append)
    assert not said
    assert [picture.path for picture in labels] == [pictures / "b.png", pictures / "event/a.png"]
    assert labels[0].boxes.shape == (0, 4)
    assert labels[0].landmarks.shape == (0, 5, 2)
    assert labels[1].boxes.tolist() == BOXES
    assert labels[1].boxes.dtype == labels[1].landmarks.dtype == np.float32
    if has_landmarks:
        assert labels[1].landmarks[0].tolist() == POINTS
    assert np.isnan(labels[1].landmarks[int(has_landmarks) :]).all()
    assert labels[1].ignored.tolist() == [False, has_ignored]


def test_what_detect_prints_is_read(tmp_path: Path, pictures: Path) -> None:
    faces = Detections(
        np.array(BOXES[:1], np.float32), np.array([0.9], np.float32), np.array([POINTS], np.float32), (48, 40)
    )
    line = json.dumps({"image": "/elsewhere/a.png", **faces.to_json()})
    (labels,) = read_labels(written(tmp_path, line), pictures, lambda _: None)
    assert labels.boxes.tolist() == BOXES[:1]
    assert labels.landmarks.tolist() == [POINTS]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("points", [1, 4, 68])
def test_a_model_of_other_points_reads_every_format(kind: str, points: int, tmp_path: Path, pictures: Path) -> None:
    """Those with five points have none for it; but JSON lines with other points than the model's are a mistake."""
    if kind == "json lines":
        with pytest.raises(InvalidArgumentError, match=rf"landmarks are 5 points, expected {points} points"):
            read_labels(written(tmp_path, JSON_LINES), pictures, lambda _: None, mirrored=range(points))
        return
    labels = read_labels(FORMATS[kind][0](tmp_path), pictures, lambda _: None, mirrored=range(points))
    assert labels[1].boxes.tolist() == BOXES
    assert [picture.landmarks.shape for picture in labels] == [(0, points, 2), (2, points, 2)]
    assert np.isnan(labels[1].landmarks).all()


@pytest.mark.parametrize("points", [1, 4, 68])
def test_json_has_any_number_of_points(rng: np.random.Generator, points: int, tmp_path: Path, pictures: Path) -> None:
    """The first point is right of the second one, which of five would be a mistake."""
    given = rng.integers(0, 40, (points, 2)).tolist()
    face = {"box": BOXES[0], "landmarks": given}
    lines = json.dumps({"image": "event/a.png", "faces": [face, {"box": BOXES[1]}]})
    keypoints = [value for x, y in given for value in (x, y, 2)]
    annotation = {**COCO["annotations"][0], "keypoints": keypoints}
    coco = json.dumps({**COCO, "annotations": [annotation, COCO["annotations"][1]]})
    for text in (lines, coco):
        labels = read_labels(written(tmp_path, text), pictures, lambda _: None, mirrored=range(points))
        assert labels[-1].landmarks[0].tolist() == given
        assert np.isnan(labels[-1].landmarks[1]).all()


HEADS = (ValueHead("age", 1), ValueHead("pose", 3))


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_without_plain_values_have_none(kind: str, tmp_path: Path, pictures: Path) -> None:
    path = FORMATS[kind][0](tmp_path)
    labels = read_labels(path, pictures, lambda _: None, values=HEADS)
    assert [np.asarray(picture.values).shape for picture in labels] == [(0, 4), (2, 4)]
    assert np.isnan(np.asarray(labels[1].values)).all()
    assert read_labels(path, pictures, lambda _: None)[1].values is None


def test_json_lines_have_plain_values(tmp_path: Path, pictures: Path) -> None:
    boxes = [*BOXES, [0, 0, 0, 0], [1, 1, 9, 9]]
    given: list[Any] = [{"pose": [1, 2, 3], "age": [30]}, {"pose": [4, 5, 6]}, {"age": [9]}, None]
    faces = [{"box": box, "values": values} for box, values in zip(boxes, given, strict=True)]
    path = written(tmp_path, json.dumps({"image": "event/a.png", "faces": faces}))
    (picture,) = read_labels(path, pictures, lambda _: None, values=HEADS)
    nothing = np.nan
    expected = [[30, 1, 2, 3], [nothing, 4, 5, 6], [nothing] * 4]  # one has no area
    np.testing.assert_array_equal(picture.values, expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1], "values is .*, expected lists of numbers by the names of heads"),
        ({"age": [1, 2]}, "values.age is not 1 numbers"),
        ({"age": 1}, "values.age is not 1 numbers"),
        ({"agee": [1]}, "values has 'agee', expected age, pose, as the model has"),
        ({"pose": [1, 2, None]}, "values.pose is not 3 numbers"),
    ],
)
def test_malformed_values_are_named(values: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"image": "a.png", "faces": [{"box": [1, 2, 3, 4], "values": values}]}))
    with pytest.raises(InvalidArgumentError, match=f"labels {path}, line 1: .*{said}"):
        read_faces(path, ["a.png"], lambda _: None, values=HEADS)


def test_five_points_that_are_not_eyes_nose_and_mouth(tmp_path: Path, pictures: Path) -> None:
    """The first one may be right of the second; and the five of a text are others."""
    others, given = (4, 3, 2, 1, 0), [[40, 0], [30, 1], [20, 2], [10, 3], [0, 4]]
    path = written(tmp_path, json.dumps({"image": "event/a.png", "faces": [{"box": BOXES[0], "landmarks": given}]}))
    assert read_labels(path, pictures, lambda _: None, mirrored=others)[0].landmarks.tolist() == [given]
    with pytest.raises(InvalidArgumentError, match="the first eye is to the right of the second"):
        read_labels(path, pictures, lambda _: None)
    (picture,) = read_labels(written(tmp_path, RETINAFACE), pictures, lambda _: None, mirrored=others)[1:]
    assert np.isnan(picture.landmarks).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_without_landmarks_takes_labels_with_any(kind: str, tmp_path: Path, pictures: Path) -> None:
    said: list[str] = []
    labels = read_labels(FORMATS[kind][0](tmp_path), pictures, said.append, mirrored=())
    assert [picture.landmarks.shape for picture in labels] == [(0, 0, 2), (2, 0, 2)]
    assert not said


def test_keypoints_of_another_number_are_counted(tmp_path: Path, pictures: Path) -> None:
    said: list[str] = []
    path = written(tmp_path, json.dumps(COCO))
    read_labels(path, pictures, said.append, mirrored=(1, 0))
    assert said == [f"labels {path}: 2 annotations have 5 keypoints, which are passed over: the model has 2"]


def test_only_five_keypoints_that_are_all_labelled_are_landmarks(tmp_path: Path) -> None:
    keypoints = {"people's": [5, 5, 2] * 17, "one hidden": [5, 5, 1] * 5, "one not labelled": [5, 5, 2] * 4 + [0, 0, 0]}
    faces = [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": k} for k in keypoints.values()]
    path = written(tmp_path, json.dumps({**COCO, "annotations": faces}))
    landmarks = read_faces(path, [], lambda _: None)["event/a.png"].landmarks
    assert np.isnan(landmarks).all((1, 2)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "is empty"),
        ("[1, 2]", "begins with"),
        ("<dataset/>", "begins with"),
        ("a.png\nb.png\n", "begins with"),
        ('{"image": "a.png", "faces": [{"box": [1, 2, 3, 4], "landmarks": [[1, 2]]}]}', "1 points, expected 5 points"),
        (
            '{"image": "a.png", "faces": [{"box": [1, 2, 3, 4], "landmarks": 3}]}',
            "line 1: .*landmarks are 3, expected 5",
        ),
        ('{"image": "a.png", "faces": [{"landmarks": null}]}', "line 1: expected"),
        ('{"image": "a.png", "faces": [{"box": [1, 2, 3]}]}', "line 1: .*a box is not 4 numbers"),
        ("a.png\n1\n1 2 3\n", "line 3: expected left, top"),
        ("a.png\n1\n1 2 3 x\n", "line 3: expected left, top"),
        ("a.png\n1\n1 2 3 nan\n", "line 3: expected left, top"),
        ("a.png\n1\n1 2 3 1e39\n", "line 3: expected left, top"),
        ("a.png\n2\n1 2 3 4\n", "ends before the 2 faces of a.png"),
        ("a.png\n0\n0 0 0 0\nb.png\n", "line 4: expected the number of faces in b.png"),
        ("a.png\n0\n0 0 0 0\nb.png\n-1\n", "line 5: expected the number of faces in b.png"),
        ("a.png\n0\na.png\n0\n", "line 3: a.png occurs twice"),
        ("# a.png\n1 2 3 4 5\n", "line 2: expected left, top.*5 numbers"),
        ("# a.png\n# a.png\n", "line 2: a.png occurs twice"),
        ("{}", "expected COCO's"),
        ('{"images": [3], "annotations": []}', "expected COCO's"),
        (json.dumps({**COCO, "categories": []}), "category_id 1, which is not in the file"),
        (json.dumps({**COCO, "images": COCO["images"][1:]}), "image_id 7, which is not in the file"),
        (json.dumps({**COCO, "images": COCO["images"] * 2}), "have one id"),
        (json.dumps({**COCO, "images": [*COCO["images"], {"id": 3, "file_name": "b.png"}]}), "one file_name"),
        (json.dumps({**COCO, "annotations": [{"image_id": 7, "category_id": 1}]}), "expected COCO's.*bbox"),
        (json.dumps({**COCO, "annotations": [{"image_id": [], "category_id": 1}]}), "expected COCO's"),
        (json.dumps({**COCO, "images": [{"id": 7, "file_name": 3}]}), "file_name 3 is no text"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, content: str, match: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InvalidArgumentError, match=f"labels {path}.*{match}"):
        read_faces(path, ["a.png"], lambda _: None)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("<annotation>", "is not XML"),
        ("<dataset/>", "expected <annotation>"),
        ("<annotation><object><name>face</name></object></annotation>", "object 1 has no box"),
        (voc("a.png", [1, 2, 3, float("inf")]), "no number of pixels"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + voc("&b;"), "document type"),
    ],
)
def test_malformed_xml_files_are_named(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(InvalidArgumentError, match=rf"labels {tmp_path}/a\.xml.*{match}"):
        read_faces(tmp_path, ["a.png"], lambda _: None)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="nowhere cannot be read"):
        read_faces(tmp_path / "nowhere", [], lambda _: None)
    (tmp_path / "binary").write_bytes(b"# a\xff\xfe\n")
    with pytest.raises(InvalidArgumentError, match="binary cannot be read"):
        read_faces(tmp_path / "binary", [], lambda _: None)
    with pytest.raises(InvalidArgumentError, match=r"no files that end in \.xml"):
        read_faces(tmp_path, [], lambda _: None)
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_text(voc("a.png"))
    with pytest.raises(InvalidArgumentError, match=r"b\.xml: a\.png occurs twice"):
        read_faces(tmp_path, ["a.png"], lambda _: None)


CLASSES = ("mask", "no mask", "face shield")


def with_classes(kind: str, folder: Path, *names: str) -> Path:
    """Labels of one picture whose faces have classes; a JSON line has them under either name."""
    boxes = [[10.0 * i, 0, 10.0 * i + 8, 8] for i in range(len(names))]
    if kind == "voc":
        (folder / "voc").mkdir()
        objects = "".join(voc("a.png", box, kind=name) for box, name in zip(boxes, names, strict=True))
        joined = objects.replace("</annotation><annotation><folder>x</folder><filename>a.png</filename>", "")
        (folder / "voc" / "a.xml").write_text(joined)
        return folder / "voc"
    if kind == "coco":
        categories = [{"id": i, "name": name} for i, name in enumerate(names)]
        annotations = [{"image_id": 7, "category_id": i, "bbox": [x, 0, 8, 8]} for i, (x, _, _, _) in enumerate(boxes)]
        return written(folder, json.dumps({**COCO, "annotations": annotations, "categories": categories}))
    faces = [{"box": box, kind: name, "label": name} for box, name in zip(boxes, names, strict=True)]
    return written(folder, json.dumps({"image": "event/a.png", "faces": faces}))


@pytest.mark.parametrize("kind", ["class", "label", "coco", "voc"])
def test_faces_have_the_class_of_their_name(kind: str, tmp_path: Path, pictures: Path) -> None:
    said: list[str] = []
    path = with_classes(kind, tmp_path, "no mask", "mask", "face shield")
    labels = {picture.path.name: picture for picture in read_labels(path, pictures, said.append, CLASSES)}
    assert labels["a.png"].classes.tolist() == [2, 1, 3]
    assert labels["a.png"].boxes[:, 0].tolist() == [0, 10, 20]
    assert labels["a.png"].classes.dtype == np.int32
    assert not any("taken as faces" in line for line in said)
    other = r"the class 'face shield' is not of the model, whose config has mask, no mask: change the labels, or give"
    with pytest.raises(InvalidArgumentError, match=other):
        read_labels(path, pictures, said.append, CLASSES[:2])
    assert all(set(found.classes) <= {1} for found in read_labels(path, pictures, said.append))


@pytest.mark.parametrize(
    "content",
    [
        WIDER,
        RETINAFACE,
        '{"image": "event/a.png", "faces": [{"box": [1, 2, 3, 4]}]}',
        '{"image": "event/a.png", "faces": [{"box": [1, 2, 3, 4], "class": null, "label": "mask"}]}',
    ],
)
def test_a_face_without_a_class_is_refused_by_a_model_with_several(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InvalidArgumentError, match=f"labels {path}.*a face has no class"):
        read_faces(path, ["a.png"], lambda _: None, CLASSES)


def test_classes_that_are_called_faces_are_taken_else_all(tmp_path: Path) -> None:
    said: list[str] = []
    names = [{"id": 1, "name": "Human Face"}, {"id": 2, "name": "hat"}, {"id": 3, "name": "never"}]
    annotations = [{"image_id": 7, "category_id": kind, "bbox": [kind, 0, 1, 1]} for kind in (2, 1)]
    path = written(tmp_path, json.dumps({**COCO, "annotations": annotations, "categories": names}))
    assert read_faces(path, [], said.append)["event/a.png"].boxes.tolist() == [[1, 0, 2, 1]]
    assert said == [f"labels {path}: these classes are taken as faces: Human Face; others are not: hat"]

    folder = tmp_path / "voc"
    folder.mkdir()
    (folder / "a.xml").write_text(voc("a.png", [0, 0, 1, 1], kind="with_mask"))
    (folder / "b.xml").write_text(voc("b.png", [0, 0, 2, 2], kind="without_mask"))
    faces = read_faces(folder, ["a.png", "b.png"], said.append)
    assert [found.boxes.tolist() for found in faces.values()] == [[[0, 0, 1, 1]], [[0, 0, 2, 2]]]
    assert said[1:] == [f"labels {folder}: these classes are taken as faces: with_mask, without_mask"]
