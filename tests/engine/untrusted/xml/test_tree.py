"""XML from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_XML_BYTES, MAX_XML_DEPTH
from engine.untrusted.xml.tree import read_xml

_ENTITIES = "".join(f'<!ENTITY c{i} "{f"&c{i - 1};" * 10 if i else "ha"}">' for i in range(10))
LAUGHS = f"<!DOCTYPE a [{_ENTITIES}]><a>&c9;</a>"


def test_trees_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<?xml version="1.0"?><a><b>x&amp;é</b><c d="1">  <b/>2</c></a>', "utf-8")
    root = read_xml(path)
    assert root.tag == "a"
    assert root.findtext("b") == "x&é"
    assert [child.tag for child in root] == ["b", "c"]
    assert root[1].attrib == {"d": "1"}
    path.write_text('<?xml version="1.0" encoding="latin-1"?><a>é</a>', "latin-1")
    assert read_xml(path).text == "é"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (LAUGHS, "has a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "has a document type"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "has a document type"),
        ("<a>" * (MAX_XML_DEPTH + 1) + "</a>" * (MAX_XML_DEPTH + 1), "nests deeper than 32 levels"),
        ("<a>&b;</a>", "is not XML"),
        ("<a><b></a></b>", "is not XML"),
        ("<a/><a/>", "is not XML"),
        ("", "is not XML"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "is not XML"),
        ('<?xml version="1.0" encoding="base64"?><a/>', "is not XML"),
        ("<a>\0</a>", "is not XML"),
    ],
)
def test_what_is_dangerous_or_no_xml_is_refused(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(content)
    with pytest.raises(InvalidArgumentError, match=match):
        read_xml(path)


def test_the_deepest_and_the_largest(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a>" * MAX_XML_DEPTH + "</a>" * MAX_XML_DEPTH)
    assert read_xml(path).tag == "a"
    with path.open("wb") as file:
        file.truncate(MAX_XML_BYTES + 1)
    with pytest.raises(OSError, match="expected at most"):
        read_xml(path)
