"""Compiles the product's .cu files with the product's own flags; reads the resource usage that ptxas reports."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.kernels.document import ROOT
from benchmarks.kernels.occupancy import ARCHITECTURES

BUILD = ROOT / "build" / "compile-sweep"
_PARALLEL = 2


@dataclass(frozen=True)
class Compiled:
    """The resources of one kernel on one architecture; sizes in bytes."""

    source: str
    kernel: str
    architecture: int
    threads: int  # per block
    registers: int
    static_shared: int
    dynamic_shared: int  # requested by the launcher
    stack: int
    spills: int


def compile_all() -> list[Compiled]:
    """Compile every .cu file for every architecture; warnings are errors."""
    commands = _commands()
    jobs = [(source, architecture) for source in commands for architecture in ARCHITECTURES]
    shared = _dynamic_shared(next(iter(commands.values())))
    with ThreadPoolExecutor(_PARALLEL) as pool:
        lists = pool.map(lambda job: _compile(job[0], commands[job[0]], job[1], shared), jobs)
        return [compiled for found in lists for compiled in found]


def nvcc_version() -> str:
    """Return the compiler's version, such as 13.0.88."""
    nvcc = next(iter(_commands().values()))[0]
    found = re.search(r"V(\d[\d.]+)", _run([nvcc, "--version"]))
    assert found is not None
    return found[1]


@cache
def _commands() -> dict[Path, list[str]]:
    """Return CMake's compile command for each .cu file of the library, without its architecture and output."""
    options = ["-DRETINAFACE_WARNINGS_AS_ERRORS=ON", "-DCMAKE_CUDA_ARCHITECTURES=80-real"]
    _run(["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}", *options])
    commands = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = Path(entry["file"])
        if source.suffix == ".cu" and "rf_ops_cuda" in entry["output"]:
            words = [word for word in shlex.split(entry["command"]) if not word.startswith("--generate-code")]
            commands[source] = words[: words.index("-x")]
    return commands


def _compile(source: Path, command: list[str], architecture: int, shared: dict[str, int]) -> list[Compiled]:
    folder = BUILD / f"sm_{architecture}"
    folder.mkdir(exist_ok=True)
    what = ["-arch", f"sm_{architecture}", "--cubin", "-Xptxas", "-v,-Werror"]
    keep = ["--keep", "--keep-dir", str(folder), "-o", str(folder / f"{source.stem}.cubin")]
    report = _run([*command, *what, *keep, str(source)])
    threads = _launch_bounds((folder / f"{source.stem}.ptx").read_text())
    found = []
    for part in report.split("Compiling entry function '")[1:]:
        symbol = part.split("'")[0]
        kernel = readable(symbol)
        found.append(
            Compiled(
                source=source.name,
                kernel=kernel,
                architecture=architecture,
                threads=threads[symbol],
                registers=_number(r"Used (\d+) registers", part),
                static_shared=_number(r"(\d+) bytes smem", part),
                dynamic_shared=shared.get(kernel, 0),
                stack=_number(r"(\d+) bytes stack frame", part),
                spills=_number(r"(\d+) bytes spill stores", part) + _number(r"(\d+) bytes spill loads", part),
            )
        )
    return found


def _dynamic_shared(command: list[str]) -> dict[str, int]:
    """Return the dynamic shared memory of each kernel that has some, from the launchers' own planning code."""
    program = BUILD / "shared_memory"
    sources = [
        Path(__file__).with_name("shared_memory.cu"),
        ROOT / "csrc" / "ops" / "cuda" / "deform_conv" / "plan.cpp",
        ROOT / "csrc" / "ops" / "deform_conv.cpp",
    ]
    _run([*command, "-arch", "sm_80", "-o", str(program), *map(str, sources)])
    lines = _run([str(program)]).splitlines()
    return {name: int(size) for name, size in (line.split("\t") for line in lines)}


def _launch_bounds(ptx: str) -> dict[str, int]:
    """Return each kernel's threads per block: the launchers use exactly the launch bound."""
    return {name: int(threads) for name, threads in re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", ptx)}


def readable(symbol: str) -> str:
    name = _run(["c++filt", symbol]).strip()
    name = name.split("(retinaface::")[0].removeprefix("void ").split("(anonymous namespace)::")[-1]
    return name.replace("retinaface::", "").replace(" >", ">")


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr
