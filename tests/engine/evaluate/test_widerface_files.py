"""Reading and writing WIDER FACE's files, and errors in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import EvaluationError
from engine.evaluate.widerface.files import SUBSETS, GroundTruth, read_ground_truth, read_predictions, write_predictions
from engine.faces import Detections
from tests.support.widerface_cases import cells, random_truth, write_mat, write_truth

NAME = "0--Parade/0_Parade_1"


@pytest.fixture
def truth(rng: np.random.Generator, tmp_path: Path) -> GroundTruth:
    """Ground truth, also written to tmp_path."""
    made = random_truth(rng, images=10)
    write_truth(tmp_path, made)
    return made


def test_ground_truth_is_read_as_it_was_written(truth: GroundTruth, tmp_path: Path) -> None:
    read = read_ground_truth(tmp_path)
    assert sorted(read.names) == sorted(truth.names)
    for i, name in enumerate(read.names):
        original = truth.names.index(name)
        assert np.array_equal(read.boxes[i], truth.boxes[original])
        for subset in SUBSETS:
            assert read.subsets[subset][i].tolist() == truth.subsets[subset][original].tolist()


@pytest.mark.parametrize("name", ["wider_face_val", "wider_easy_val", "wider_medium_val", "wider_hard_val"])
def test_files_that_are_missing_damaged_or_others_are_named(truth: GroundTruth, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.mat"
    write_mat(path, {"something": np.zeros(3)})
    with pytest.raises(EvaluationError, match=f"{name}.mat lacks the variables (event_list|gt_list)"):
        read_ground_truth(tmp_path)
    path.write_bytes(b"not a MATLAB file" * 20)
    with pytest.raises(EvaluationError, match=f"{name}.mat cannot be read as a MATLAB file"):
        read_ground_truth(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(EvaluationError, match=f"{name}.mat cannot be read as a MATLAB file"):
        read_ground_truth(tmp_path)
    path.unlink()
    with pytest.raises(EvaluationError, match=f"{name}.mat is missing: the folder of the ground truth holds"):
        read_ground_truth(tmp_path)


@pytest.mark.parametrize("values", [np.zeros((3, 1)), np.zeros((0, 0)), np.array([["text"]])])
def test_variables_of_another_layout_are_refused(truth: GroundTruth, tmp_path: Path, values: Any) -> None:
    write_mat(tmp_path / "wider_easy_val.mat", {"gt_list": values})
    with pytest.raises(EvaluationError, match=r"wider_easy_val.mat (is not laid out as|lists \d+ images)"):
        read_ground_truth(tmp_path)
    write_mat(tmp_path / "wider_face_val.mat", {"event_list": values, "file_list": values, "face_bbx_list": values})
    with pytest.raises(
        EvaluationError, match=r"wider_face_val.mat (is not laid out as|names 0 images|names t/t twice)"
    ):
        read_ground_truth(tmp_path)


def test_subsets_must_fit_the_faces(truth: GroundTruth, rng: np.random.Generator, tmp_path: Path) -> None:
    other = random_truth(rng, images=10, most_faces=40)
    write_truth(tmp_path / "other", other)
    (tmp_path / "other" / "wider_hard_val.mat").replace(tmp_path / "wider_hard_val.mat")
    with pytest.raises(EvaluationError, match=r"wider_hard_val.mat has face number \d+ of .*, which has \d+"):
        read_ground_truth(tmp_path)


@pytest.mark.parametrize("number", [0, -3, 4, 1.5, np.nan, np.inf])
def test_a_wrong_index_of_a_face_is_named(tmp_path: Path, number: float) -> None:
    """The message has the wrong number, not the largest."""
    three = GroundTruth(("e/a",), (np.ones((3, 4)),), dict.fromkeys(SUBSETS, (np.ones(3, np.bool_),)))
    write_truth(tmp_path, three)
    write_mat(tmp_path / "wider_medium_val.mat", {"gt_list": cells([cells([np.array([[1], [number], [3]])])])})
    said = re.escape(f"wider_medium_val.mat has face number {number} of e/a, which has 3")
    with pytest.raises(EvaluationError, match=said):
        read_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.array([[1, 2, np.nan, 4]]), "has a box of e/a that is not finite or beyond"),
        (np.array([[1, 2, np.inf, 4]]), "has a box of e/a that is not finite or beyond"),
        (np.array([[1, 2, 1e200, 4]]), r"has a box of e/a that is not finite or beyond 1e\+09 pixels"),
        (np.ones((2, 4)) * (1 + 2j), r"has boxes of e/a of type complex128 and shape \[2, 4\], expected numbers"),
        (np.ones((4, 3)), r"has boxes of e/a of type \w+ and shape \[4, 3\], expected numbers \[N, 4\]"),
        (np.ones((2, 2, 4)), r"has boxes of e/a of type \w+ and shape \[2, 2, 4\]"),
        (np.array(["1234"]), r"has boxes of e/a of type <U4"),
    ],
)
def test_malformed_boxes_are_refused(tmp_path: Path, boxes: Any, message: str) -> None:
    _write_faces(tmp_path, "e", ["a"], [boxes])
    with pytest.raises(EvaluationError, match=f"wider_face_val.mat {message}"):
        read_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("event", "image"),
    [("e", ".."), ("..", "a"), (".", "a"), ("e", "../../a"), ("/etc", "a"), ("e", "a\\b"), (3.0, "a"), ("e", 7.0)],
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, event: Any, image: Any) -> None:
    _write_faces(tmp_path, event, [image], [np.ones((1, 4))])
    with pytest.raises(EvaluationError, match=r"wider_face_val.mat is not laid out as .* is not a valid name of an "):
        read_ground_truth(tmp_path)


def test_a_name_belongs_to_one_image(tmp_path: Path) -> None:
    _write_faces(tmp_path, "e", ["a", "b", "a"], [np.ones((1, 4))] * 3)
    with pytest.raises(EvaluationError, match=r"wider_face_val\.mat names e/a twice"):
        read_ground_truth(tmp_path)


def _write_faces(folder: Path, event: Any, images: list[Any], boxes: list[Any]) -> None:
    variables = {
        "event_list": cells([event]),
        "file_list": cells([cells(images)]),
        "face_bbx_list": cells([cells(boxes)]),
    }
    write_mat(folder / "wider_face_val.mat", variables)


def test_predictions_are_read_as_they_were_written(rng: np.random.Generator, tmp_path: Path) -> None:
    corners = rng.uniform(-5, 1000, (7, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 300, (7, 2))], 1).astype(np.float32)
    scores = np.sort(rng.random(7).astype(np.float32))[::-1]
    write_predictions(tmp_path, NAME, Detections(boxes, scores, None))
    write_predictions(tmp_path, "1--Other/nobody", Detections(boxes[:0], scores[:0], None))
    read, nobody = read_predictions(tmp_path, [NAME, "1--Other/nobody"])
    assert nobody.shape == (0, 5)
    assert np.abs(read[:, :2] - boxes[:, :2]).max() <= 0.0051
    assert np.abs(read[:, 2:4] - (boxes[:, 2:] - boxes[:, :2])).max() <= 0.0051
    assert np.abs(read[:, 4] - scores).max() <= 6e-7
    assert (tmp_path / "1--Other" / "nobody.txt").read_text() == "1--Other/nobody.jpg\n0\n"


@pytest.mark.parametrize(
    "text",
    [
        "0_Parade_1\n2\n1 2 3 4 0.9 \n5 6 7 8 0.5 \n",  # as Pytorch_Retinaface writes it
        "0--Parade/0_Parade_1.jpg\r\n2\r\n1 2 3 4 0.9\r\n5 6 7 8 5e-1\r\n",
        "0_Parade_1.jpg\n2\n1.0 2 3 4 0.9\n5 6 7 8 .5\n\n\n",
        "\ufeff0_Parade_1.jpg\n002\n1 2 3 4 0.9\n5 6 7 8 0.5",  # a byte order mark, leading zeros
    ],
)
def test_what_other_tools_write_is_read(tmp_path: Path, text: str) -> None:
    _write(tmp_path, text)
    (read,) = read_predictions(tmp_path, [NAME])
    assert read.tolist() == [[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0_Parade_1\n2\n1 2 3 4 0.9\n5 6 7 8\n", r"line 4: expected left, top, .*, got '5 6 7 8'"),
        ("0_Parade_1\n2\n1 2 3 4 0.9 1\n5 6 7 8\n", r"line 3: expected left, top, .*, got '1 2 3 4 0.9 1'"),
        ("0_Parade_1\n1\n1 2 x 4 0.9\n", r"line 3: .*, got '1 2 x 4 0.9'"),
        ("0_Parade_1\n2\n1 2 3 4 0.9\n1 2 3 4 nan\n", r"line 4: .*, got '1 2 3 4 nan'"),
        ("0_Parade_1\n1\n1 2 inf 4 0.9\n", r"line 3: .*, got '1 2 inf 4 0.9'"),
        ("0_Parade_1\n1\n1 2 1e308 4 0.9\n", r"line 3: .*, got '1 2 1e308 4 0.9'"),
        ("0_Parade_1\n1\n1 2 3 4 -1e308\n", r"line 3: .*, got '1 2 3 4 -1e308'"),
        (f"0_Parade_1\n1\n1 2 3 4 1{'0' * 5000}\n", r"line 3: .*, got '1 2 3 4 10+\.\.\.'$"),
        (f"0_Parade_1\n{'1' * 5000}\n1 2 3 4 0.9\n", r"line 2: 1{80} faces are announced, 1 lines follow$"),
        ("0_Parade_1\n\u0661\n1 2 3 4 0.9\n", "line 2: expected the number of faces"),
        ("0_Parade_1\n3\n1 2 3 4 0.9\n\n1 2 3 4 0.9\n", r"line 4: .*, got ''"),
        ("0_Parade_1\n3\n1 2 3 4 0.9\n", "line 2: 3 faces are announced, 1 lines follow"),
        ("0_Parade_1\nmany\n", "line 2: expected the number of faces, got 'many'"),
        ("0_Parade_1\n-1\n", "line 2: expected the number of faces, got '-1'"),
        ("0_Parade_1\n", "line 2: expected the number of faces, got ''"),
        ("0_Parade_2\n0\n", "line 1: expected the image's name, 0_Parade_1.jpg, got '0_Parade_2'"),
        ("", "line 1: expected the image's name"),
    ],
)
def test_malformed_predictions_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(EvaluationError, match=f"{re.escape(str(path))}, {message}"):
        read_predictions(tmp_path, [NAME])


def test_predictions_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match=r"0_Parade_1\.txt cannot be read"):
        read_predictions(tmp_path, [NAME])


def test_missing_predictions_are_counted(tmp_path: Path) -> None:
    _write(tmp_path, "0_Parade_1\n0\n")
    with pytest.raises(
        EvaluationError, match=r"lacks the predictions for 2 of 3 images, the first is 0--Parade/b\.txt"
    ):
        read_predictions(tmp_path, [NAME, "0--Parade/b", "0--Parade/c"])
    with pytest.raises(EvaluationError, match="nowhere is not a folder"):
        read_predictions(tmp_path / "nowhere", [NAME])


def _write(folder: Path, text: str) -> Path:
    path = folder / f"{NAME}.txt"
    path.parent.mkdir()
    path.write_text(text, newline="")
    return path
