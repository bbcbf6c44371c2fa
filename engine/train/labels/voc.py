"""Pascal VOC: a folder with an XML file for each picture.

Coordinates are taken as they stand. Pascal VOC's own are whole numbers that begin with 1 and include the last pixel;
the tools that write this format today give the corners of the box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from engine.errors import InvalidArgumentError
from engine.pictures.classes import ClassNumbers
from engine.train.labels.classes import classes_taken
from engine.train.labels.labelled import FaceList, Faces
from engine.untrusted.xml.tree import read_xml

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_Object = tuple[str, list[float], bool]  # class, box, whether it is difficult


def read_voc(
    folder: Path, pictures: Sequence[str], numbers_of: ClassNumbers, say: Callable[[str], None], points: int
) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name.

    The name is what the file says. If there is no such picture, it is the picture that is called like the XML file:
    tools leave the suffix out, or keep an old name.

    Args:
        folder: with files that end in .xml, also in subfolders.
        pictures: names of the pictures that there are.
        numbers_of: the model's classes, which the objects' names name.
        say: is told which classes are taken if the model has one; see classes_taken.
        points: how many landmarks a face of the model has; here none has them.

    Raises:
        InvalidArgumentError: there are no XML files, one is malformed, two are for one picture, or an object is none of
            the model's classes.
    """
    known = {PurePosixPath(name).name for name in pictures}
    stems = Counter(PurePosixPath(name).stem for name in pictures)
    by_stem = {stem: name for name in pictures if stems[stem := PurePosixPath(name).stem] == 1}
    objects: dict[str, list[_Object]] = {}
    for file in sorted(folder.rglob("*.xml")):
        try:
            given, found = _read(read_xml(file), numbers_of)
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"labels {file}: {error}") from error
        file_name = PurePosixPath(given.replace("\\", "/")).name
        name = file_name if file_name in known else by_stem.get(file.stem, file_name or file.name)
        if name in objects:
            raise InvalidArgumentError(f"labels {file}: {name} occurs twice")
        objects[name] = found
    if not objects:
        raise InvalidArgumentError(f"labels {folder} has no files that end in .xml")
    names = [kind for found in objects.values() for kind, _, _ in found]
    taken = set(names) if numbers_of.are_named else classes_taken(folder, names, say)
    return {name: _faces(found, taken, numbers_of, points) for name, found in objects.items()}


def _faces(objects: Sequence[_Object], taken: set[str], numbers_of: ClassNumbers, points: int) -> Faces:
    faces = FaceList(points)
    for kind, box, difficult in objects:
        if kind in taken:
            faces.add(box, ignored=difficult, number=numbers_of.number(kind))
    return faces.faces()


def _read(root: Element, numbers_of: ClassNumbers) -> tuple[str, list[_Object]]:
    if root.tag != "annotation":
        raise ValueError(f"its element is <{root.tag}>, expected <annotation>, as Pascal VOC has it")
    return root.findtext("filename", "").strip(), list(_objects(root, numbers_of))


def _objects(root: Element, numbers_of: ClassNumbers) -> Iterator[_Object]:
    for number, found in enumerate(root.iterfind("object"), 1):
        name, sides = found.findtext("name", "").strip(), [found.findtext(f"bndbox/{side}", "") for side in _SIDES]
        try:
            box = [float(side) for side in sides]
        except ValueError as error:
            raise ValueError(f"object {number} has no box of four numbers, {', '.join(_SIDES)} ({error})") from error
        FaceList().add(box, number=numbers_of.number(name or None))
        yield name, box, found.findtext("difficult", "0").strip() == "1"
