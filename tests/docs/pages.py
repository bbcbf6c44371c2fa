"""Fenced blocks, links and paths of Markdown pages, and checks of commands without running them.

A block runs as it stands, unless the line above it is `<!-- not run: REASON -->` with one of REASONS. Such a block is
checked instead: commands, options, extras, versions and files exist, and Python compiles.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from engine.serve.routes.detect import DetectQuery
from requirements import requirements

ROOT = Path(__file__).parents[2]
command_line = importlib.import_module("engine.cli.main")  # engine.cli has a function of that name
REASONS = (
    "installs from a package index",
    "needs a GPU",
    "needs weights and photos of your own",
    "needs WIDER FACE",
    "takes minutes",
    "needs Docker",
    "serves until it is ended",
)
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: sh, python or text.
        text: what lies between the fences.
        reason: why it is not run; None for a block that is.
    """

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    found = [Block(match["language"], match["text"], match["reason"]) for match in _BLOCK.finditer(text)]
    assert len(found) * 2 == text.count("```"), f"{page.name}: a fence that does not open or close a block"
    return found


def links(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target, _ in _LINK.findall(page.read_text()):
        yield (page.parent / target if target else page).resolve()


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block as lists of words, without comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [
        shlex.split(command, comments=True)
        for line in lines
        for command in line.split(" && ")
        if shlex.split(command, comments=True)
    ]


def check_command(words: Sequence[str]) -> None:
    """Check a command without running it: its options as its parser does, names of targets, extras and files."""
    match list(words):
        case ["python", "build_engine.py", *arguments]:
            _parse(command_line.build_main, arguments)
        case ["python", "serve_bench.py", *arguments]:
            _parse(command_line.bench_main, arguments)
        case ["retinaface-trt", *arguments]:
            _parse(command_line.main, arguments)
        case ["make", *arguments]:
            assert {argument for argument in arguments if "=" not in argument} <= make_targets()
        case ["scripts/bootstrap", _, extras]:
            requirements(ROOT / "pyproject.toml", extras.split(","))
        case ["pip", "install", *arguments]:
            for argument in arguments:
                _check_installed(argument)
        case ["curl", "--data-binary", "@photo.jpg", address]:
            _check_request(address)
        case ["python3", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"no rule checks this command: {shlex.join(words)}")


def _check_request(address: str) -> None:
    asked = urlsplit(f"http://{address}")
    assert asked.path == "/detect"
    DetectQuery.model_validate(dict(parse_qsl(asked.query)))


def make_targets() -> set[str]:
    """The targets of the Makefile that a user may name."""
    rules = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text().replace("\\\n", " "), re.M)
    return {name for names in rules for name in names.split()}


def _parse(entry: object, arguments: Sequence[str]) -> None:
    assert callable(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "run_command", lambda parsed, prog: 0)
        try:
            entry(arguments)
        except SystemExit as error:
            pytest.fail(f"{shlex.join(arguments)} is refused with exit code {error.code}")


def _check_installed(argument: str) -> None:
    if extras := re.search(r"\[(.+)\]", argument):
        requirements(ROOT / "pyproject.toml", extras[1].split(","))
    elif "==" in argument:
        assert argument in (ROOT / "constraints.txt").read_text().splitlines(), argument
    elif option := re.fullmatch(r"-Ccmake\.define\.(\w+)=\w+", argument):
        assert option[1] in (ROOT / "CMakeLists.txt").read_text(), argument
    elif not argument.startswith("-") and argument != ".":
        assert (ROOT / argument).is_file(), argument
