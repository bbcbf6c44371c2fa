"""What the commands print, when names and texts from outside are made to deceive."""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine.cli
from engine.cli import main
from engine.cli.terminal import as_markup, set_up_output, shown

EVIL = "\x1b[2J\u202e\n[red]\udcff"
SAFE = r"\x1b[2J\u202e\n[red]\udcff"
SOURCES = sorted(Path(engine.cli.__file__).parent.rglob("*.py"))


def test_errors_about_files_are_one_printable_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["detect", "--engine", f"{tmp_path}/{EVIL}.engine", "a.jpg"],
        ["detect", "--engine", "a.engine", "--annotate", f"/proc/{EVIL}", "a.jpg"],
        ["build", "--weights", f"{tmp_path}/{EVIL}.pth"],
        ["bench", "--engine", f"{tmp_path}/{EVIL}.engine", "--duration", "1"],
        ["evaluate", "agreement", "--reference", "a.engine", "--engine", "b.engine", "--images", f"{tmp_path}/{EVIL}"],
        ["evaluate", "thresholds", "--labels", f"{tmp_path}/{EVIL}", "--candidates", "a.npz"],
        ["evaluate", "widerface", "--ground-truth", f"{tmp_path}/{EVIL}", "--predictions", "b"],
    ):
        assert main(command) in (1, 2)
        lines = capsys.readouterr().err.removesuffix("\n").split("\n")
        assert lines[-1].startswith("retinaface-trt: error: "), command
        assert SAFE in lines[-1], command
        assert all(line.isprintable() for line in lines), command


def test_arguments_that_nobody_knows_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell makes options of file names that begin with a dash."""
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", f"-{EVIL}"])
    assert capsys.readouterr().err.endswith(f"error: unrecognized arguments: -{SAFE}\n")


def test_the_doctor_is_safe_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = f"{tmp_path}/{EVIL}.engine"
    main(["doctor", "--engine", path])
    printed = capsys.readouterr().out
    assert SAFE in printed
    assert all(line.isprintable() for line in printed.removesuffix("\n").split("\n"))
    main(["doctor", "--json", "--engine", path])
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)[-1]["state"] == path


def test_logs_are_one_line_an_entry_and_tracebacks_keep_theirs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    set_up_output(verbose=False)
    try:
        raise OSError(EVIL)
    except OSError:
        logging.getLogger("engine").exception("%s failed", EVIL)
    first, *traceback = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert first == f"ERROR: {SAFE} failed"
    assert len(traceback) >= 4
    assert all(line.isprintable() for line in traceback)


def test_markup_in_names_is_text() -> None:
    assert shown(EVIL).plain == SAFE
    assert as_markup("[red]\x1b") == r"\[red]\x1b"


def test_names_that_stdout_cannot_encode_are_escaped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "doctor", "--engine", str(tmp_path / "Füße.engine")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert rb"F\xfc\xdfe.engine" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_commands_print_only_through_the_terminal(path: Path) -> None:
    """And JSON: its strings are ASCII."""
    if path.name == "terminal.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module not in {"rich.text", "rich.markup"}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert ast.unparse(node.args[0]).startswith(("json.dumps(", "printable("))
