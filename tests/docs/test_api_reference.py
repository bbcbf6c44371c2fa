"""The reference of the public names is complete and is what their docstrings say."""

from __future__ import annotations

import inspect
import re

import pytest

import engine
from api_reference import MODULES, write_reference
from engine import Detections, TRTRetinaFace


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The page of each module."""
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder)
    return {name: (folder / f"{name.replace('.', '/')}.html").read_text() for name in MODULES}


@pytest.mark.parametrize("name", engine.__all__)
def test_every_public_name_has_an_entry_with_its_docstring(pages: dict[str, str], name: str) -> None:
    assert f'id="{name}"' in pages["engine"]
    summary = inspect.cleandoc(getattr(engine, name).__doc__).splitlines()[0]
    assert re.sub(r"\W+", "", summary) in re.sub(r"<[^>]*>|&\w+;|\W+", "", pages["engine"])


def test_methods_have_entries(pages: dict[str, str]) -> None:
    methods = [name for name, value in vars(TRTRetinaFace).items() if inspect.isfunction(value) and name[0] != "_"]
    assert "detect" in methods
    for name in methods:
        assert f'id="TRTRetinaFace.{name}"' in pages["engine"]


def test_inherited_methods_have_entries_with_their_docstrings(pages: dict[str, str]) -> None:
    for method in (TRTRetinaFace.detect_stream, TRTRetinaFace.submit, Detections.plot, Detections.save_crops):
        assert method.__doc__ is not None
        summary = method.__doc__.splitlines()[0]
        assert re.sub(r"\W+", "", summary) in re.sub(r"<[^>]*>|&\w+;|\W+", "", pages["engine"])
    for name in ("TRTRetinaFace.detect_stream", "TRTRetinaFace.submit", "Detections.plot", "Detections.save_crops"):
        assert f'id="{name}"' in pages["engine"]


def test_the_operators_have_a_page(pages: dict[str, str]) -> None:
    for name in ("letterbox", "decode", "nms", "unletterbox", "deform_conv"):
        assert f'id="{name}"' in pages["engine.ops"]
