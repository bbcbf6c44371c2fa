"""Detections: what they are made of, selecting, sorting, clipping, comparing; against plain lists of numbers."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Detections, Face, FaceIndexError, InvalidArgumentError
from engine.types import FloatArray

SIZE = (480, 640)
NAMES = ("mask", "no mask", "half")
VALUES: list[dict[str, int]] = [{}, {"age": 1}, {"age": 1, "dense": 144}]


@st.composite
def some_faces(draw: st.DrawFn, least: int = 0) -> Detections:
    """Boxes with a positive size that may leave the image; scores and sizes are often equal."""
    count = draw(st.integers(least, 9))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    corners, sides = rng.integers(-50, 600, (count, 2)), rng.integers(1, 9, (count, 2)) * 10
    points = draw(st.sampled_from([None, 5, 1, 68]))
    vertices = rng.uniform(0, 600, (count, 4, 3)).astype(np.float32) if draw(st.booleans()) else None
    if vertices is not None:
        vertices[draw(st.integers(0, count)) :] = np.nan
    coloured = vertices is not None and draw(st.booleans())
    several = draw(st.booleans())
    return Detections(
        np.hstack([corners, corners + sides]),
        rng.integers(50, 60, count) / 64,
        None if points is None else rng.uniform(0, 600, (count, points, 2)),
        draw(st.sampled_from([None, SIZE, (90, 70)])),
        classes=rng.integers(1, 4, count) if several else None,
        class_names=NAMES if several and draw(st.booleans()) else (),
        values={name: rng.normal(size=(count, size)) for name, size in draw(st.sampled_from(VALUES)).items()},
        vertices=vertices,
        triangles=None if vertices is None else [[0, 1, 2], [0, 2, 3]],
        colours=vertices / 600 if vertices is not None and coloured else None,
    )


def rows(faces: Detections) -> list[tuple[Any, ...]]:
    """Each face as plain numbers and words."""
    points = [None] * len(faces) if faces.landmarks is None else faces.landmarks.tolist()
    numbers = [None] * len(faces) if faces.classes is None else faces.classes.tolist()
    names = [faces.class_names[number - 1] if number and faces.class_names else None for number in numbers]
    values = [{name: array.tolist()[row] for name, array in faces.values.items()} for row in range(len(faces))]
    meshes = zip(*(_of_meshes(array, len(faces)) for array in (faces.vertices, faces.colours)), strict=True)
    return list(zip(faces.boxes.tolist(), faces.scores.tolist(), points, numbers, names, values, meshes, strict=True))


def _of_meshes(array: FloatArray | None, count: int) -> list[Any]:
    lists = [None] * count if array is None else array.tolist()
    return [None if mesh is None or np.isnan(mesh).any() else mesh for mesh in lists]


def with_size(faces: Detections, size: tuple[int, int]) -> Detections:
    names = ("classes", "values", "class_names", "vertices", "triangles", "colours")
    more = {name: getattr(faces, name) for name in names}
    return Detections(faces.boxes, faces.scores, faces.landmarks, size, **more)


def rows_of(faces: list[Face]) -> list[tuple[Any, ...]]:
    return [
        (
            face.box.tolist(),
            face.score,
            None if face.landmarks is None else face.landmarks.tolist(),
            face.class_id,
            face.class_name,
            {name: array.tolist() for name, array in face.values.items()},
            tuple(None if array is None else array.tolist() for array in (face.vertices, face.colours)),
        )
        for face in faces
    ]


@given(some_faces())
def test_iterating_gives_every_face(faces: Detections) -> None:
    listed = list(faces)
    assert rows_of(listed) == rows(faces)
    assert rows_of([faces[i] for i in range(len(faces))]) == rows(faces)
    assert rows_of([faces[-1 - i] for i in range(len(faces))]) == rows(faces)[::-1]
    assert listed == list(faces)
    for face, (x1, y1, x2, y2) in zip(listed, faces.boxes.tolist(), strict=True):
        assert (face.width, face.height, face.area) == (x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1))


@given(some_faces(), st.data())
def test_indices_of_several_select_as_lists_do(faces: Detections, data: st.DataObject) -> None:
    plain, count = rows(faces), len(faces)
    part = data.draw(st.slices(count))
    assert rows(faces[part]) == plain[part]
    mask = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    chosen = [row for row, keep in zip(plain, mask, strict=True) if keep]
    assert rows(faces[mask]) == rows(faces[np.array(mask, bool)]) == chosen
    numbers = data.draw(st.lists(st.integers(-count, count - 1), max_size=20)) if count else []
    assert rows(faces[numbers]) == rows(faces[np.array(numbers, np.int8)]) == [plain[i] for i in numbers]
    for selected in (faces[part], faces[mask], faces[numbers]):
        assert selected.image_size == faces.image_size
        assert (selected.landmarks is None) == (faces.landmarks is None)


@given(some_faces())
def test_sorting_is_that_of_lists_and_stable(faces: Detections) -> None:
    def area(row: tuple[Any, ...]) -> Any:
        return -(row[0][2] - row[0][0]) * (row[0][3] - row[0][1])

    def from_the_centre(row: tuple[Any, ...]) -> Any:
        (x1, y1, x2, y2), (height, width) = row[0], SIZE
        return (x1 + x2 - width) ** 2 + (y1 + y2 - height) ** 2

    assert rows(faces.sort()) == sorted(rows(faces), key=lambda row: -row[1])
    assert rows(faces.sort("area")) == sorted(rows(faces), key=area)
    placed = with_size(faces, SIZE)
    assert rows(placed.sort("center")) == sorted(rows(faces), key=from_the_centre)


@given(some_faces(), st.integers(0, 90), st.integers(1, 12))
def test_filters_are_those_of_lists(faces: Detections, pixels: int, count: int) -> None:
    plain = rows(faces)
    large = [row for row in plain if min(row[0][2] - row[0][0], row[0][3] - row[0][1]) > pixels]
    assert rows(faces.larger_than(pixels)) == large
    assert rows(faces.max_faces(count)) == plain[:count]
    assert rows(faces.above(55 / 64)) == [row for row in plain if row[1] > 55 / 64]


@given(some_faces())
def test_clipped_boxes_end_at_the_edges(faces: Detections) -> None:
    placed = with_size(faces, SIZE)
    expected = [
        [min(max(x, 0), 640) if i % 2 == 0 else min(max(x, 0), 480) for i, x in enumerate(box)]
        for box in faces.boxes.tolist()
    ]
    clipped = placed.clip()
    assert clipped.boxes.tolist() == expected
    assert clipped.boxes.dtype == np.float32
    assert clipped.clip() == clipped
    assert rows(clipped) == [(box, *row[1:]) for box, row in zip(expected, rows(faces), strict=True)]


@given(some_faces(least=1))
def test_equality_is_one_bool_and_sees_every_number(faces: Detections) -> None:
    assert (faces == copy.deepcopy(faces)) is True
    assert faces == pickle.loads(pickle.dumps(faces))
    assert faces != faces[:-1]
    assert faces != list(faces)
    assert faces != with_size(faces, (1, 1))
    for name in ("boxes", "scores", "landmarks", "classes"):
        other, face = copy.deepcopy(faces), copy.deepcopy(faces[0])
        array = getattr(other, name)
        if array is not None:
            array.flat[0] = array.flat[0] % 3 + 1 if name == "classes" else np.nextafter(array.flat[0], np.float32(1e9))
            assert (faces == other) is False
            assert face == faces[0] != other[0]
    for name in faces.values:
        other = copy.deepcopy(faces)
        other.values[name][0, -1] += 1
        assert faces != other
        assert faces[0] != other[0]
        assert faces[1:] == other[1:]
    if faces.vertices is not None and faces[0].vertices is not None:
        other = copy.deepcopy(faces)
        assert other.vertices is not None
        other.vertices[0, -1, -1] += 1
        assert faces != other
        assert faces[0] != other[0]
        assert faces[1:] == other[1:]
        assert faces != Detections(**{**vars(faces), "triangles": None})
    if faces.colours is not None and faces[0].colours is not None:
        other = copy.deepcopy(faces)
        assert other.colours is not None
        other.colours[0, -1, -1] /= 2
        assert faces != other
        assert faces[0] != other[0]
        assert faces[1:] == other[1:]
    for value in (faces, faces[0]):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)
    assert (faces[0] == 3) is False


def test_without_landmarks_is_not_equal_to_with() -> None:
    boxes, scores = [[0, 0, 1, 1]], [0.5]
    with_, without = Detections(boxes, scores, np.zeros((1, 5, 2))), Detections(boxes, scores)
    assert with_ != without
    assert with_[0] != without[0]


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 4))])
def test_lists_and_other_numbers_become_float32(empty: Any) -> None:
    faces = Detections([(1, 2, 3, 4)], [1], [[[0, 0]] * 5], image_size=[2, 3])
    assert faces.landmarks is not None
    assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
    assert faces.image_size == (2, 3)
    none = Detections(empty, [], [])
    assert none.landmarks is not None
    assert (none.boxes.shape, none.scores.shape, none.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
    assert list(none) == list(none.sort("area")) == list(none.larger_than(3)) == list(none[[]]) == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"boxes": [1, 2, 3, 4]}, r"boxes has shape \[4\], expected float32 \[N, 4\]"),
        ({"boxes": [[1, 2, 3]]}, r"boxes has shape \[1, 3\]"),
        ({"boxes": [[1, 2, 3, np.nan]]}, "boxes holds a value that is not finite"),
        ({"boxes": [[1, 2, 3, 1e39]]}, "boxes holds a value that is not finite"),
        ({"boxes": [["a", 2, 3, 4]]}, r"boxes is a list, expected float32 \[N, 4\]"),
        ({"boxes": [[1, 2], [3]]}, "boxes is a list"),
        ({"boxes": [[10**400, 0, 0, 0]]}, "boxes is a list"),
        ({"boxes": None}, "boxes is a NoneType"),
        ({"boxes": [[True, False, True, True]]}, "boxes is a list"),
        ({"scores": [[0.5]]}, r"scores has shape \[1, 1\], expected float32 \[N\]"),
        ({"scores": [0.5, 0.4]}, "there are 1 boxes, 2 scores: expected as many of each"),
        ({"scores": [np.inf]}, "scores holds"),
        ({"landmarks": np.zeros((1, 10))}, r"landmarks has shape \[1, 10\], expected float32 \[N, 5, 2\]"),
        ({"landmarks": np.zeros((2, 5, 2))}, "1 boxes, 1 scores, 2 landmarks"),
        ({"landmarks": np.full((1, 5, 2), np.nan)}, "landmarks holds"),
        ({"landmarks": np.zeros((1, 0, 2))}, r"landmarks has shape \[1, 0, 2\]"),
        ({"landmarks": [[[0, 0]], [[0, 0], [1, 1]]]}, "landmarks is a list"),
        ({"classes": [0]}, r"classes is \[0\], expected whole numbers from 1 to 255"),
        ({"classes": [1.5]}, r"classes is \[1.5\], expected whole"),
        ({"classes": [3], "class_names": ("a", "b")}, "expected whole numbers from 1 to 2"),
        ({"classes": [1, 1]}, "1 boxes, 1 scores, 2 classes"),
        ({"class_names": "face"}, "class_names is 'face', expected different names"),
        ({"class_names": ("a", "a")}, r"class_names is \('a', 'a'\), expected different names"),
        ({"class_names": (1,)}, r"class_names is \(1,\), expected different names"),
        ({"values": [1]}, r"values is \[1\], expected arrays \[N, D\] by name"),
        ({"values": {"age": [30]}}, r"values\['age'\] has shape \[1\]"),
        ({"values": {"age": [[30], [31, 32]]}}, r"values\['age'\] is a list"),
        ({"values": {"age": [[30], [31]]}}, "1 boxes, 1 scores, 2 age"),
        ({"values": {"age": [[np.nan]]}}, r"values\['age'\] holds a value that is not finite"),
        ({"vertices": np.zeros((1, 12))}, r"vertices has shape \[1, 12\], expected float32 \[N, 0, 3\]"),
        ({"vertices": np.zeros((2, 4, 3))}, "1 boxes, 1 scores, 2 vertices"),
        ({"vertices": [[[0, 0, np.nan], [0, 0, 0]]]}, "vertices holds a value that is not finite"),
        ({"vertices": [[[0, 0, np.inf], [0, 0, 0]]]}, "vertices holds"),
        ({"vertices": [[["a", 0, 0]]]}, "vertices is a list"),
        ({"triangles": [[0, 1, 2]]}, "there are triangles, but no vertices"),
        ({"vertices": np.zeros((1, 2, 3)), "triangles": [[0, 1, 2]]}, r"triangles is .* numbers of vertices below 2"),
        ({"vertices": np.zeros((1, 3, 3)), "triangles": [[0, 1, -1]]}, "triangles is"),
        ({"vertices": np.zeros((1, 3, 3)), "triangles": [[0, 1.5, 2]]}, "triangles is"),
        ({"vertices": np.zeros((1, 3, 3)), "triangles": [[0, 1]]}, "triangles has shape"),
        ({"colours": np.zeros((1, 3, 3))}, r"colours has shape \[1, 3, 3\], expected vertices, too"),
        (
            {"vertices": np.zeros((1, 3, 3)), "colours": np.zeros((1, 2, 3))},
            r"expected that of the vertices, \[1, 3, 3\]",
        ),
        ({"vertices": np.zeros((1, 1, 3)), "colours": [[[0, 0, 1.5]]]}, "colours has values out of range"),
        ({"vertices": np.zeros((1, 1, 3)), "colours": [[[0, -1, 0]]]}, "colours has values out of range"),
        ({"vertices": np.zeros((1, 1, 3)), "colours": np.full((1, 1, 3), np.nan)}, "NaN of faces without a mesh"),
        ({"vertices": np.full((1, 1, 3), np.nan), "colours": np.ones((1, 1, 3))}, "NaN of faces without a mesh"),
        ({"image_size": 640}, r"image_size is 640, expected \(height, width\)"),
        ({"image_size": (0, 5)}, r"image_size is \(0, 5\)"),
        ({"image_size": (4.5, 5)}, r"image_size is \(4\.5, 5\)"),
        ({"image_size": (1, 2, 3)}, r"image_size is \(1, 2, 3\)"),
    ],
)
def test_what_are_no_faces_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Detections(**{"boxes": [[0, 0, 1, 1]], "scores": [0.5], **parts})


FACES = Detections([[0, 0, 4, 4], [1, 1, 5, 7]], [0.9, 0.8])


@pytest.mark.parametrize("index", [2, -3, 10**9000, [0, 2], np.array([-3])], ids=["2", "-3", "huge", "list", "array"])
def test_faces_that_are_not_there_are_an_index_error(index: Any) -> None:
    with pytest.raises(FaceIndexError, match="2"):
        FACES[index]
    assert issubclass(FaceIndexError, IndexError)


@pytest.mark.parametrize(
    "index",
    [
        None, ..., True, np.bool_(True), 1.0, "0", (0, slice(1)), [0.5], [True], [True] * 3, [[0]],
        np.zeros((2, 2), int), np.zeros(0, bool), slice("a", None), slice(0, 1, 0), [[0], [1, 2]], {},
    ],
    ids=repr,
)  # fmt: skip
def test_other_indices_are_refused(index: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="the index is"):
        FACES[index]


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("sort", "size", "by is 'size', expected 'score', 'area' or 'center'"),
        ("sort", ["score"], "by is"),
        ("sort", "center", "the image's size is not known"),
        ("max_faces", 0, "count is 0, expected a whole number from 1"),
        ("max_faces", 1.0, "count is 1.0"),
        ("max_faces", True, "count is True"),
        ("larger_than", -1, "pixels is -1, expected pixels from 0"),
        ("larger_than", float("nan"), "pixels is nan"),
        ("larger_than", "5", "pixels is '5'"),
    ],
)
def test_bad_arguments_are_refused(name: str, argument: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        getattr(FACES, name)(argument)


def test_clipping_needs_the_size() -> None:
    with pytest.raises(InvalidArgumentError, match=r"size is not known: cannot clip.*image_size=\(height, width\)"):
        FACES.clip()


def test_selections_leave_the_original_as_it_is() -> None:
    before: list[NDArray[Any]] = [FACES.boxes.copy(), FACES.scores.copy()]
    FACES.sort("area").max_faces(1), FACES[::-1], FACES.larger_than(2)
    assert Detections(before[0], before[1]) == FACES
    assert not hasattr(FACES, "anything")
    with pytest.raises(AttributeError):
        FACES.scores = before[1]  # type: ignore[misc]
