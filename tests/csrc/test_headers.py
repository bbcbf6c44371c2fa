"""Every header includes what it uses."""

from __future__ import annotations

import json
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.backends import ROOT

HEADERS = sorted(str(file.relative_to(ROOT)) for folder in ("csrc", "plugins") for file in (ROOT / folder).rglob("*.h"))
# A source that is compiled with the options of the headers below a folder; the first folder that fits counts.
LIKE = {
    "csrc/bindings": "csrc/bindings/module.cpp",
    "csrc/ops/cuda": "csrc/ops/cuda/deform_conv/plan.cpp",
    "csrc": "csrc/ops/deform_conv.cpp",
    "plugins": "plugins/registry.cpp",
}


@cache
def commands() -> dict[str, list[str]]:
    """How a build of this machine compiles each source, without the source and the object file."""
    for build in sorted(ROOT.glob("build/*/compile_commands.json")):
        entries = {
            str(Path(entry["file"]).relative_to(ROOT)): shlex.split(entry["command"])
            for entry in json.loads(build.read_text())
            if Path(entry["file"]).is_relative_to(ROOT)
        }
        if entries.keys() >= set(LIKE.values()):
            return {source: command[: command.index("-o")] for source, command in entries.items()}
    pytest.skip("no build folder with CUDA here tells how sources are compiled: make venv")


@pytest.mark.parametrize("header", HEADERS)
def test_compiles_alone(header: str) -> None:
    source = next(source for folder, source in LIKE.items() if header.startswith(folder))
    command = [*commands()[source], "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=f'#include "{ROOT / header}"\n', capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
