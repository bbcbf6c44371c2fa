"""Only regular files of a bounded size are read, wherever a user names a file."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bench.analysis.results import read_results
from engine.config.presets import preset
from engine.errors import RetinaFaceError
from engine.evaluate.sweep.candidates import Candidates
from engine.evaluate.widerface.files import read_predictions
from engine.files import sha256_of_file
from engine.images import read_eighth, read_image
from engine.model.weights.load import load_model
from engine.pictures.labels import read_labels
from engine.sidecar import read_engine
from engine.untrusted.files import read_file
from tests.support.engines import build_stand_in


def test_a_regular_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"x", bytes(range(256)) * 9):
        path.write_bytes(content)
        assert read_file(path, len(content)) == content
        path.write_bytes(content + b"y")
        with pytest.raises(OSError, match=rf"it has {len(content) + 1:,} bytes, expected at most {len(content):,}"):
            read_file(path, len(content))
    (tmp_path / "link").symlink_to(path)
    assert read_file(tmp_path / "link", 1 << 20) == path.read_bytes()


def test_a_sparse_file_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1,099,511,627,776 bytes"):
        read_file(path, 1 << 30)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _endless(path: Path) -> None:
    path.symlink_to("/proc/self/maps")  # a regular file that has no size


def _vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


NOT_REGULAR: dict[str, tuple[Callable[[Path], None], str]] = {
    "FIFO": (_fifo, "it is a FIFO, expected a regular file"),
    "device": (_zeros, "it is a device, expected a regular file"),
    "folder": (Path.mkdir, "Is a directory"),
    "no size": (_endless, "it has no fixed size"),
    "vast": (_vast, "it has 1,099,511,627,776 bytes, expected at most"),
}


@pytest.fixture(params=NOT_REGULAR)
def odd(request: pytest.FixtureRequest) -> tuple[Callable[[Path], None], str]:
    """What makes a file that cannot be read to its end, and what is said of it."""
    return NOT_REGULAR[request.param]


def test_other_kinds_are_named_and_nothing_waits(odd: tuple[Callable[[Path], None], str], tmp_path: Path) -> None:
    make, said = odd
    make(tmp_path / "odd")
    with pytest.raises(OSError, match=said):
        read_file(tmp_path / "odd", 1 << 30)


def test_a_socket_cannot_be_opened() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:  # short paths only
        path = Path(folder, "s")
        listening.bind(str(path))
        with pytest.raises(OSError, match="No such device"):
            read_file(path, 100)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "picture": ("odd", read_image),
    "reduced picture": ("odd", read_eighth),
    "weights": ("odd", lambda path: load_model(preset("mobilenet0.25"), str(path))),
    "labels": ("odd", read_labels),
    "results": ("odd", read_results),
    "candidates": ("odd", Candidates.load),
    "engine": ("odd", lambda path: _plan(path)),
    "sidecar": ("x.engine.json", lambda path: _engine(path)),
}


def _plan(path: Path) -> None:
    """The plan is read last: its sidecar must be a good one."""
    build_stand_in(path.with_name("good.engine"))
    shutil.copy(path.with_name("good.engine.json"), path.with_name("odd.json"))
    shutil.copy(path.with_name("good.network.onnx"), path.with_name("odd.network.onnx"))
    read_engine(path)


def _engine(sidecar: Path) -> None:
    path = sidecar.with_name("x.engine")
    path.write_bytes(b"")
    read_engine(path)


@pytest.mark.parametrize("what", READERS)
def test_every_reader_refuses_them(odd: tuple[Callable[[Path], None], str], tmp_path: Path, what: str) -> None:
    make, said = odd
    name, read = READERS[what]
    make(tmp_path / name)
    with pytest.raises(RetinaFaceError, match=said):
        read(tmp_path / name)


def test_predictions_and_digests_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(OSError, match="it is a FIFO"):
        sha256_of_file(tmp_path / "a.txt")
    with pytest.raises(RetinaFaceError, match=r"lacks the predictions"):
        read_predictions(tmp_path, ["a"])
