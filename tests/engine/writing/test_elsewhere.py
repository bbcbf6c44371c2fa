"""A file that a library writes appears whole, or not at all."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engine.errors import OutputError
from engine.writing import locked, written_elsewhere


def test_the_file_appears_at_the_end_with_its_suffix_until_then(tmp_path: Path) -> None:
    target = tmp_path / "video.mp4"
    target.write_text("old")
    with written_elsewhere(target) as part:
        assert part.suffix == ".mp4"
        assert part.parent == tmp_path
        assert part.name.startswith(".")
        part.write_text("new")
        assert target.read_text() == "old"
        with locked(tmp_path, patience_s=0):  # others may write to the folder meanwhile
            pass
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "video.mp4"
    target.write_text("old")

    def fail() -> None:
        with written_elsewhere(target) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_not_written_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*video\.mp4: No such file"),
        written_elsewhere(tmp_path / "video.mp4"),
    ):
        pass
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="there is a folder of that name"), written_elsewhere(tmp_path / "folder.mp4"):
        pytest.fail("there is no use in writing")


def test_signals_that_came_can_be_seen() -> None:
    from engine.writing.signals import signals_deferred

    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with signals_deferred() as received:
            signal.raise_signal(signal.SIGTERM)
            assert received == [signal.SIGTERM]
            assert not came
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
