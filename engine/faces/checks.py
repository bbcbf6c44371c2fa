"""What users give for boxes, scores and landmarks, as arrays of the right type and shape."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.heads import MAX_CLASSES
from engine.errors import InvalidArgumentError
from engine.inputs import as_image
from engine.inputs.device_arrays import shape_of
from engine.text import represented
from engine.types import AnyImage, Color, FloatArray, Image, IntArray


def as_floats(values: Any, name: str, *shape: int) -> FloatArray:
    """Return values as a float32 array of a shape, where -1 is any extent.

    Raises:
        InvalidArgumentError: they are not numbers, of another shape, or not finite in float32.
    """
    expected = f"float32 [{', '.join('N' if extent < 0 else str(extent) for extent in shape)}]"
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "fiu":
            raise TypeError(f"an array of {given.dtype}")
        with np.errstate(over="ignore"):
            array = np.asarray(given, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"{name} is a {type(values).__name__}, expected {expected}: {error}") from None
    if array.shape[:1] == (0,) and shape[0] < 0:  # no faces, however an empty list was nested
        array = array.reshape(0, *shape[1:])
    if array.ndim != len(shape) or any(e not in (-1, n) for e, n in zip(shape, array.shape, strict=True)):
        raise InvalidArgumentError(f"{name} has shape {list(array.shape)}, expected {expected}")
    if not np.isfinite(array).all():
        raise InvalidArgumentError(f"{name} holds a value that is not finite (NaN, or too large for float32)")
    return array


def as_points(values: Any) -> FloatArray:
    """Return landmarks as float32 [N, L, 2], with any number L from 1; InvalidArgumentError if they are not.

    Landmarks of no faces that do not say how many they would be are five.
    """
    shape = _shape(values)
    count = shape[1] if len(shape) == 3 and shape[1] else 5
    return as_floats(values, "landmarks", -1, count, 2)


def as_classes(values: Any, names: tuple[str, ...]) -> IntArray:
    """Return numbers of classes as int32 [N].

    Raises:
        InvalidArgumentError: they are no whole numbers from 1, or there are names, but fewer than a number says.
    """
    numbers = as_floats(values, "classes", -1)
    most = len(names) or MAX_CLASSES - 1
    if (numbers != np.round(numbers)).any() or (numbers < 1).any() or (numbers > most).any():
        raise InvalidArgumentError(f"classes is {represented(values)}, expected whole numbers from 1 to {most}")
    return numbers.astype(np.int32)


def as_names(values: Any) -> tuple[str, ...]:
    """Return names of classes; InvalidArgumentError unless they are different strings."""
    names = tuple(values) if isinstance(values, list | tuple) else (None,)
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InvalidArgumentError(f"class_names is {represented(values)}, expected different names, or none")
    return names


def as_values(values: Any) -> dict[str, FloatArray]:
    """Return a model's values as float32 [N, D] by name; InvalidArgumentError if they are not."""
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidArgumentError(f"values is {represented(values)}, expected arrays [N, D] by name")
    return {
        name: as_floats(array, f"values[{name!r}]", -1, *(_shape(array)[-1:] or (0,))) for name, array in values.items()
    }


def as_meshes(vertices: Any, triangles: Any) -> tuple[FloatArray | None, IntArray | None]:
    """Return meshes as float32 [N, V, 3] and their triangles as int32 [F, 3]; None for None.

    Raises:
        InvalidArgumentError: vertices are of another shape, or not finite but for faces whose vertices are all NaN; or
            triangles are of another shape, name vertices that are not there, or there are no vertices.
    """
    if vertices is None:
        if triangles is not None:
            raise InvalidArgumentError("there are triangles, but no vertices")
        return None, None
    meshes = _of_vertices(vertices, "vertices")
    if triangles is None:
        return meshes, None
    numbers, count = as_floats(triangles, "triangles", -1, 3), meshes.shape[1]
    if (numbers != np.round(numbers)).any() or (numbers < 0).any() or (numbers >= count).any():
        raise InvalidArgumentError(f"triangles is {represented(triangles)}, expected numbers of vertices below {count}")
    return meshes, numbers.astype(np.int32)


def as_colours(colours: Any, vertices: FloatArray | None) -> FloatArray | None:
    """Return the colours of vertices as float32 [N, V, 3]; None for None.

    Raises:
        InvalidArgumentError: they are of another shape than the vertices, not from 0 to 1, or NaN of other faces.
    """
    if colours is None:
        return None
    painted = _of_vertices(colours, "colours")
    if vertices is None or painted.shape != vertices.shape:
        expected = "vertices, too" if vertices is None else f"that of the vertices, {list(vertices.shape)}"
        raise InvalidArgumentError(f"colours has shape {list(painted.shape)}, expected {expected}")
    there = ~np.isnan(vertices).any((1, 2))
    if not ((painted[there] >= 0) & (painted[there] <= 1)).all() or not np.isnan(painted[~there]).all():
        raise InvalidArgumentError("colours has values out of range, expected 0 to 1, and NaN of faces without a mesh")
    return painted


def _of_vertices(values: Any, name: str) -> FloatArray:
    """Return values of vertices as float32 [N, V, 3], finite or, of faces without a mesh, all NaN."""
    shape, absent = _shape(values), slice(0)
    count = shape[1] if len(shape) == 3 else 0
    if count and (given := np.asarray(values)).dtype.kind == "f":
        absent = np.isnan(given).all((1, 2))
        values = np.where(absent[:, None, None], 0, given)
    of_vertices = as_floats(values, name, -1, count, 3).copy()
    of_vertices[absent] = np.nan
    return of_vertices


def _shape(values: Any) -> tuple[int, ...]:
    """Return the shape of numbers; none of rows of different lengths, which as_floats refuses."""
    try:
        return np.shape(values)
    except ValueError:
        return ()


def as_size(value: Any) -> tuple[int, int] | None:
    """Return an image's size, (height, width), or None; InvalidArgumentError if it is neither."""
    if value is None:
        return None
    try:
        height, width = map(operator.index, value)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"image_size is {represented(value)}, expected (height, width) in pixels, or None")
    return height, width


def as_rows(index: Any, count: int) -> NDArray[np.intp] | NDArray[np.bool_]:
    """Return an index of several faces: a boolean mask [N], or the numbers of faces.

    Raises:
        InvalidArgumentError: neither, or a mask of another length.
    """
    try:
        rows = np.asarray(index)
    except ValueError:
        rows = np.asarray(None)
    if rows.shape == (0,) and rows.dtype != np.bool_:  # of an empty list NumPy makes floats
        return np.zeros(0, np.intp)
    if rows.ndim == 1 and rows.dtype == np.bool_ and len(rows) == count:
        return rows
    if rows.ndim == 1 and rows.dtype.kind in "iu":
        return rows.astype(np.intp)
    found = f"an array of {rows.dtype} {list(rows.shape)}" if isinstance(index, np.ndarray) else f"{represented(index)}"
    raise InvalidArgumentError(
        f"the index is {found}, expected an integer, a slice, a boolean mask [{count}] or an array of integers"
    )


def check_pixels(value: Any, name: str) -> None:
    """Raise InvalidArgumentError unless a value is a length in pixels from 0."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise InvalidArgumentError(f"{name} is {represented(value)}, expected pixels from 0")


def check_count(value: Any, name: str) -> None:
    """Raise InvalidArgumentError unless a value is a whole number from 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(f"{name} is {represented(value)}, expected a whole number from 1")


def is_number(value: Any) -> bool:
    """Whether a value is a single real number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def image_of_faces(
    image: AnyImage,
    name: str,
    size: tuple[int, int] | None,
    color: Color = "bgr",
    to: Color = "bgr",
    *,
    on_gpu: bool = False,
) -> Image:
    """Return an image of any kind as as_image does; InvalidArgumentError unless it has the size of that of the faces.

    Args:
        image: see as_image.
        name: for messages.
        size: (height, width) of the image that the faces were found in; None is any.
        color: see as_image.
        to: see as_image.
        on_gpu: see as_image.
    """
    pixels = as_image(image, name, color=color, to=to, on_gpu=on_gpu)
    height, width = shape_of(pixels)[:2]
    if size is not None and (height, width) != size:
        raise InvalidArgumentError(
            f"{name} has {height} x {width} pixels (height x width), but the faces are of one of {size[0]} x "
            f"{size[1]}: give the image that they were found in"
        )
    return pixels
