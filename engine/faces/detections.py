"""The faces of one image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import FaceIndexError, InvalidArgumentError
from engine.faces import json_form
from engine.faces.checks import (
    as_classes,
    as_colours,
    as_floats,
    as_meshes,
    as_names,
    as_points,
    as_rows,
    as_size,
    as_values,
    check_count,
    check_pixels,
)
from engine.faces.face import Face, same_or_none, same_values
from engine.faces.pictured import PicturedFaces
from engine.faces.supervision_form import to_supervision
from engine.text import represented
from engine.types import FloatArray, IntArray

if TYPE_CHECKING:
    import supervision

Rows = Sequence[int] | Sequence[bool] | NDArray[np.integer[Any]] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False, init=False)
class Detections(PicturedFaces):
    """The faces of one image, best first unless they were sorted otherwise.

        for face in faces: ...                  # Face: box, score, landmarks, width, height, area
        faces[0], faces[:5], faces[faces.scores > 0.9], faces[[2, 0]]
        faces.larger_than(40).sort("center").max_faces(1)

    Every method that selects, sorts or cuts gives new Detections. Two are equal if all their values are.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the given image; they may reach beyond its edges.
        scores: float32 [N], in [0, 1]; a detector gives them in descending order.
        landmarks: float32 [N, L, 2], x y in pixels of the given image; five are left eye, right eye, nose, left and
            right corner of the mouth, where left is the left of the image. None if the model has no landmark heads.
        image_size: (height, width) of the image, None if it is not known.
        classes: int32 [N], from 1; None if the model has one class.
        values: float32 [N, D] of each of the model's heads of values, by name. Values that are points are x and y of
            one after the other, in pixels of the given image.
        class_names: of the classes from 1; empty if the model has one class, or if they are not known.
        vertices: float32 [N, V, 3], of each face's mesh: x and y in pixels of the given image, and depth behind the
            mesh's centre in the same unit. NaN of faces that have none: an engine decodes the best ones only. None if
            the engine gives no meshes.
        triangles: int32 [F, 3], numbers of vertices of all these meshes, counter-clockwise seen from outside; None if
            there are no meshes, or if they are not known.
        colours: float32 [N, V, 3], of these vertices: red, green, blue of the surface without light, 0 to 1. NaN of
            faces that have no mesh; None if the engine gives no colours.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None
    image_size: tuple[int, int] | None
    classes: IntArray | None
    values: Mapping[str, FloatArray]
    class_names: tuple[str, ...]
    vertices: FloatArray | None
    triangles: IntArray | None
    colours: FloatArray | None

    def __init__(
        self,
        boxes: ArrayLike,
        scores: ArrayLike,
        landmarks: ArrayLike | None = None,
        image_size: Sequence[int] | None = None,
        *,
        classes: ArrayLike | None = None,
        values: Mapping[str, ArrayLike] | None = None,
        class_names: Sequence[str] = (),
        vertices: ArrayLike | None = None,
        triangles: ArrayLike | None = None,
        colours: ArrayLike | None = None,
    ) -> None:
        """Take lists and arrays of any type of number for float32 arrays.

        Raises:
            InvalidArgumentError: shapes that are not as above or do not fit each other, or values that are not finite.
        """
        boxes, scores = as_floats(boxes, "boxes", -1, 4), as_floats(scores, "scores", -1)
        landmarks = None if landmarks is None else as_points(landmarks)
        names, own = as_names(class_names), as_values(values or {})
        numbers = None if classes is None else as_classes(classes, names)
        meshes, surface = as_meshes(vertices, triangles)
        given = {"boxes": boxes, "scores": scores, "landmarks": landmarks, "classes": numbers, "vertices": meshes}
        painted = as_colours(colours, meshes)
        counts = {name: len(array) for name, array in {**given, **own}.items() if array is not None}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise InvalidArgumentError(f"there are {found}: expected as many of each")
        _set(self, boxes, scores, landmarks, as_size(image_size), numbers, own, names, meshes, surface, painted)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Face]:
        """Yield every face."""
        return map(self._face, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Face: ...

    @overload
    def __getitem__(self, index: slice | Rows) -> Detections: ...

    def __getitem__(self, index: int | slice | Rows) -> Face | Detections:
        """Return one face, or those of a slice, of a boolean mask [N], or of an array of numbers, in that order.

        Raises:
            FaceIndexError: there is no such face.
            InvalidArgumentError: an index of another kind.
        """
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            if not -len(self) <= index < len(self):
                raise FaceIndexError(f"there is no face {represented(index)}: the image has {len(self)} faces")
            return self._face(int(index))
        if isinstance(index, slice):
            try:
                return self._take(np.arange(len(self))[index])
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError(f"the index is {represented(index)}: {error}") from None
        rows = as_rows(index, len(self))
        try:
            return self._take(rows)
        except IndexError:
            raise FaceIndexError(f"one of the faces {represented(index)} is not there: there are {len(self)}") from None

    def __eq__(self, other: object) -> bool:
        """Compare all values exactly, the image's size and the classes' names."""
        if not isinstance(other, Detections):
            return NotImplemented
        return (
            (self.image_size, self.class_names) == (other.image_size, other.class_names)
            and np.array_equal(self.boxes, other.boxes)
            and np.array_equal(self.scores, other.scores)
            and same_or_none(self.landmarks, other.landmarks)
            and same_or_none(self.classes, other.classes)
            and same_values(self.values, other.values)
            and same_or_none(self.vertices, other.vertices)
            and same_or_none(self.triangles, other.triangles)
            and same_or_none(self.colours, other.colours)
        )

    __hash__ = None  # type: ignore[assignment] # arrays can be changed

    def sort(self, by: Literal["score", "area", "center"] = "score") -> Detections:
        """Return the faces in another order; equal ones keep theirs.

        Args:
            by: "score" or "area" of the box, the highest first; or "center": the box whose centre is nearest to the
                image's comes first.

        Raises:
            InvalidArgumentError: another order; or the image's size, which "center" needs, is not known.
        """
        boxes = self.boxes.astype(np.float64)
        if by == "score":
            keys = -self.scores
        elif by == "area":
            keys = -np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        elif by == "center":
            height, width = self._known_size("sort by nearness to its centre")
            keys = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - (width, height)) / 2, axis=1)
        else:
            raise InvalidArgumentError(f"by is {represented(by)}, expected 'score', 'area' or 'center'")
        return self._take(np.argsort(keys, kind="stable"))

    def above(self, score_threshold: float) -> Detections:
        """Return the faces with a score above `score_threshold`."""
        return self._take(self.scores > score_threshold)

    def larger_than(self, pixels: float) -> Detections:
        """Return the faces whose box has a shorter side of more than so many pixels; see `min_size` of detect()."""
        check_pixels(pixels, "pixels")
        return self._take((self.boxes[:, 2:] - self.boxes[:, :2]).min(axis=1, initial=np.inf) > pixels)

    def max_faces(self, count: int) -> Detections:
        """Return the first faces, at most so many."""
        check_count(count, "count")
        return self._take(slice(count))

    def clip(self) -> Detections:
        """Return the faces with their boxes cut at the image's edges; landmarks stay where they are.

        Raises:
            InvalidArgumentError: the image's size is not known.
        """
        height, width = self._known_size("clip boxes to it")
        edges = np.array([width, height, width, height], np.float32)
        return replaced(self, boxes=np.clip(self.boxes, np.float32(0), edges))

    def to_json(self, *, meshes: bool = False) -> dict[str, Any]:
        """Return what JSON can hold: {"image_size": [height, width], "faces": [{"box", "score", "landmarks"}, ...]}.

        Pixels are rounded to 2 digits, scores to 5. "image_size" is left out if it is not known, "landmarks" if the
        model has none. Of a model with several classes there are "classes", their names, and of each face "class", its
        name, or its number where there are no names; of one with heads of values, of each face "values", lists by name.
        With `meshes` there are "vertices" of each face that has a mesh, [[x, y, depth], ...], their "colours", [[red,
        green, blue], ...], if there are any, and "triangles" of all meshes, if they are known.
        """
        return json_form.to_values(self, meshes=meshes)

    @classmethod
    def from_json(cls, values: Any) -> Detections:
        """Return the faces of what to_json() returned, or of a line that `retinaface-trt detect` printed.

        Args:
            values: of json.load or json.loads. Other keys are ignored.

        Raises:
            InvalidArgumentError: it is neither of these; the message names the entry.
        """
        return cls(**json_form.from_values(values))

    def to_supervision(self) -> supervision.Detections:
        """Return detections of the package supervision; landmarks, meshes and values are in `data`.

        A class_id is one less than in `classes`, since 0 is no background there, and 0 if there is one class.

        Raises:
            InvalidArgumentError: supervision is not installed.
        """
        return to_supervision(self)

    @property
    def has_mesh(self) -> NDArray[np.bool_]:
        """Whether each face has a mesh, [N]."""
        if self.vertices is None:
            return np.zeros(len(self), np.bool_)
        return np.asarray(~np.isnan(self.vertices).any((1, 2)))

    def _known_size(self, doing: str) -> tuple[int, int]:
        if self.image_size is None:
            raise InvalidArgumentError(
                f"the image's size is not known: cannot {doing}. Give image_size=(height, width)"
            )
        return self.image_size

    def _face(self, row: int) -> Face:
        number = None if self.classes is None else int(self.classes[row])
        return Face(
            self.boxes[row],
            float(self.scores[row]),
            None if self.landmarks is None else self.landmarks[row],
            number,
            self.class_names[number - 1] if number and self.class_names else None,
            {name: array[row] for name, array in self.values.items()},
            *(None if array is None or np.isnan(array[row]).any() else array[row] for array in self._meshes),
        )

    @property
    def _meshes(self) -> tuple[FloatArray | None, FloatArray | None]:
        return self.vertices, self.colours

    def _take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        return replaced(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            landmarks=None if self.landmarks is None else self.landmarks[rows],
            classes=None if self.classes is None else self.classes[rows],
            values={name: array[rows] for name, array in self.values.items()},
            vertices=None if self.vertices is None else self.vertices[rows],
            colours=None if self.colours is None else self.colours[rows],
        )


def unchecked(
    boxes: FloatArray,
    scores: FloatArray,
    landmarks: FloatArray | None,
    image_size: tuple[int, int] | None = None,
    classes: IntArray | None = None,
    values: Mapping[str, FloatArray] | None = None,
    class_names: tuple[str, ...] = (),
    vertices: FloatArray | None = None,
    triangles: IntArray | None = None,
    colours: FloatArray | None = None,
) -> Detections:
    """Return Detections of arrays that are known to be right, such as an engine's, in less time."""
    faces = object.__new__(Detections)
    _set(faces, boxes, scores, landmarks, image_size, classes, values or {}, class_names, vertices, triangles, colours)
    return faces


def replaced(faces: Detections, **changed: Any) -> Detections:
    """Return Detections with some attributes changed, to values that are known to be right."""
    return unchecked(**{**faces.__dict__, **changed})


def joined(found: Sequence[Detections]) -> Detections:
    """Return the faces that a model found in several views of an image as one list."""
    first = found[0]

    def all_of(name: str) -> Any:
        parts = [getattr(faces, name) for faces in found]
        return None if parts[0] is None else np.concatenate(parts)

    return replaced(
        first,
        **{name: all_of(name) for name in ("boxes", "scores", "landmarks", "classes", "vertices", "colours")},
        values={name: np.concatenate([faces.values[name] for faces in found]) for name in first.values},
    )


def _set(faces: Detections, *attributes: object) -> None:
    """Fill frozen Detections with their attributes, in their order."""
    names = Detections.__annotations__  # in the order of the class
    faces.__dict__.update(zip(names, attributes, strict=True))
