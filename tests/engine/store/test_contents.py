"""Listing and clearing the cache, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.build.pipeline import BuildOptions
from engine.cli.main import main
from engine.errors import InvalidArgumentError
from engine.store import kept_engine
from engine.store.contents import contents, remove

OPTIONS = BuildOptions("fp32", weights="random")
DOWNLOAD = f"{'0' * 16}-weights.pth"


@pytest.fixture
def full(builds: list[BuildOptions], cache: Path) -> Path:
    """A cache with an engine, a download, and files of others."""
    kept_engine(OPTIONS)
    (cache / DOWNLOAD).write_bytes(b"12345")
    os.utime(cache / DOWNLOAD, (0, 0))
    (cache / "notes.txt").touch()
    (cache / "engines" / "mine").mkdir()
    return cache


def test_engines_and_downloads_are_listed_the_last_used_first(full: Path) -> None:
    engine, download = contents()
    assert engine.path.parent == full / "engines"
    assert engine.size == sum(file.stat().st_size for file in engine.path.glob("files/*"))
    assert (download.name, download.size) == (DOWNLOAD, 5)


def test_using_an_engine_moves_it_to_the_front(full: Path) -> None:
    os.utime(full / DOWNLOAD)
    os.utime(contents()[1].path, (0, 0))
    kept_engine(OPTIONS)
    assert contents()[0].path.parent == full / "engines"


def test_clearing_removes_what_was_named_and_nothing_of_others(full: Path) -> None:
    assert [entry.name for entry in remove([DOWNLOAD])] == [DOWNLOAD]
    assert [entry.path.parent.name for entry in contents()] == ["engines"]
    remove()
    assert contents() == []
    assert (full / "notes.txt").exists()
    assert (full / "engines" / "mine").exists()


def test_what_is_not_kept_cannot_be_removed(full: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"has no 'notes\.txt'"):
        remove([DOWNLOAD, "notes.txt"])
    assert len(contents()) == 2


def test_the_command_lists_and_clears(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert DOWNLOAD in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert "2 kept" in capsys.readouterr().out
    assert main(["cache"]) == 0
    assert "0 kept, 0.0 MB" in capsys.readouterr().out


def test_names_without_clear_are_no_mistake_of_deleting(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", DOWNLOAD]) == 0
    assert "1 kept" in capsys.readouterr().out
    assert len(contents()) == 2
