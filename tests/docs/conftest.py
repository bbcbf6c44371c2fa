"""An engine and a folder of pictures for the pages and the examples."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.support.data import astronaut
from tests.support.engines import build

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def reader_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small FP16 engine, as `build_engine.py --precision fp16` makes it."""
    path = tmp_path_factory.mktemp("reader") / "retinaface_fp16.engine"
    build(path, precision="fp16")
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the astronaut's photo, its mirror image, and a part of it without faces."""
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    folder.mkdir()
    image = astronaut()
    for name, picture in (("face", image), ("mirrored", image[:, ::-1]), ("without", image[300:, :150])):
        assert cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder
