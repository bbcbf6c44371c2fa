"""XML from outside as a tree. Document types are refused: with them come entities that grow, and other files."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from engine.errors import InvalidArgumentError
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_XML_BYTES, MAX_XML_DEPTH


class _Builder(TreeBuilder):
    """A tree of bounded depth."""

    _depth = 0

    def start(self, tag: str, attributes: dict[str, str], /) -> Element:
        self._depth += 1
        if self._depth > MAX_XML_DEPTH:
            raise InvalidArgumentError(f"nests deeper than {MAX_XML_DEPTH} levels")
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def read_xml(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        InvalidArgumentError: it is no XML, has a document type, or nests too deep; the message does not contain the
            name of the file.
        OSError: see engine.untrusted.files.read_file.
    """
    content = read_file(path, MAX_XML_BYTES)
    parser, builder = expat.ParserCreate(), _Builder()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # what it says of encodings that Python does not know
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(f"is not XML ({error})") from error
    return builder.close()


def _refuse(*_: object) -> NoReturn:
    raise InvalidArgumentError("has a document type (<!DOCTYPE ...>), expected XML without one")
