"""Compiles a mutated copy of the CUDA sources into the libraries that the tests load, and runs the tests on them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.backends import EMULATOR_BUILD, EMULATOR_BUILD_VARIABLE, ROOT

SOURCES = ROOT / "csrc"
CUDA = SOURCES / "ops" / "cuda"
ARCHIVE = "librf_ops_cuda.a"
DRIVER = "librf_plugin_driver.so"
PLUGINS = "libretinaface_plugins.so"
# A mutant may hang; the slowest tests take a few seconds.
LIMIT_S = 400

TESTS_FAILED, NOTHING_RAN = 1, 5  # pytest's exit codes


class HarnessError(Exception):
    """The harness cannot judge a mutant: it does not fit the sources, or it does not compile."""


@dataclass(frozen=True)
class Mutant:
    """One way to break a kernel.

    Attributes:
        kernel: the broken kernel, for the report.
        unit: the translation unit to compile, without its ending.
        file: the file to change, in csrc.
        what: the mistake.
        old: the text to replace; occurs once in the file.
        new: its replacement.
    """

    kernel: str
    unit: str
    file: str
    what: str
    old: str
    new: str

    def changed(self) -> str:
        """Return the file's text with the mistake."""
        text = (SOURCES / self.file).read_text()
        count = text.count(self.old)
        if count != 1:
            raise HarnessError(
                f"{self}: its text occurs {count} times in {self.file}, expected once. "
                f"Update the catalogue in tests/csrc/mutants:\n{self.old}"
            )
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        """Return the mutant's name."""
        return f"{self.kernel}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """Whether the tests caught a mutant, and the line of their output that shows it."""

    mutant: Mutant
    caught: bool
    how: str
    seconds: float


class Harness:
    """Builds and judges mutants; objects that no mutant changes are linked once."""

    def __init__(self, folder: Path) -> None:
        """Link the unchanged objects. The emulator's build must be up to date."""
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._native = next(EMULATOR_BUILD.glob("_native*.so"), None)
        if self._native is None:
            raise HarnessError(f"{EMULATOR_BUILD} holds no _native module: run make test-kernels first")
        with (EMULATOR_BUILD / "compile_commands.json").open() as file:
            units = {Path(entry["file"]): shlex.split(entry["command"]) for entry in json.load(file)}
        self._commands = {path.stem: command for path, command in units.items() if CUDA in path.parents}
        self._objects = {path.stem: f"{path.name}.o" for path in units if CUDA in path.parents}
        # Link-time optimisation takes longer than compiling a kernel, so it runs once.
        self._bindings = folder / "bindings.o"
        command = self._link_command(self._native.name)
        objects = [word for word in command if word.endswith(".o")]
        relocatable = ["-r", "-flto=auto", "-flinker-output=nolto-rel"]
        _run([command[0], "-O1", "-fPIC", *relocatable, "-o", str(self._bindings), *objects])

    def _link_command(self, target: str) -> list[str]:
        listed = _run(["ninja", "-t", "commands", target]).splitlines()
        # CMake wraps the command: ": && c++ ... && strip ...".
        return next(shlex.split(part) for part in listed[-1].split("&&") if f" -o {target} " in part)

    def judge(self, mutant: Mutant, pytest_arguments: list[str]) -> Verdict:
        """Build a mutant and run the tests until one fails."""
        start = time.monotonic()
        folder = self._folder / str(abs(hash(mutant)))
        try:
            self._build(mutant, folder)
            environment = {**os.environ, EMULATOR_BUILD_VARIABLE: str(folder)}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *pytest_arguments]
            try:
                done = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
                )
            except subprocess.TimeoutExpired:
                return Verdict(mutant, True, f"hangs for {LIMIT_S} s", time.monotonic() - start)
            if done.returncode < 0:
                return Verdict(mutant, True, f"killed by signal {-done.returncode}", time.monotonic() - start)
            if done.returncode not in (0, TESTS_FAILED):
                raise HarnessError(f"{mutant}: pytest exits with {done.returncode}:\n{done.stdout}\n{done.stderr}")
            lines = done.stdout.splitlines()
            failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
            return Verdict(mutant, done.returncode != 0, (failed or lines)[-1], time.monotonic() - start)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _build(self, mutant: Mutant, folder: Path) -> None:
        changed = mutant.changed()
        shutil.copytree(SOURCES, folder / "csrc")
        (folder / "csrc" / mutant.file).write_text(changed)
        assert self._native is not None
        compiled = str(folder / f"{mutant.unit}.o")
        command = [word.replace(str(SOURCES), str(folder / "csrc")) for word in self._commands[mutant.unit]]
        command = [word for word in command if "Werror" not in word]  # a mutant may have unused variables
        command[command.index("-o") + 1] = compiled
        _run(command)

        objects = _run(["ar", "t", ARCHIVE]).split()
        paths = {path.name: str(path) for path in (EMULATOR_BUILD / "CMakeFiles" / "rf_ops_cuda.dir").rglob("*.o")}
        paths[self._objects[mutant.unit]] = compiled
        archive = str(folder / ARCHIVE)
        _run(["ar", "qcs", archive, *(paths[name] for name in objects)])
        for target in (self._native.name, DRIVER):
            command = [archive if word == ARCHIVE else word for word in self._link_command(target)]
            command[command.index("-o") + 1] = str(folder / target)
            if target == DRIVER:
                # Without a kernel the library fails every test, which would count as caught.
                command.append("-Wl,--no-undefined")
            else:
                first = next(i for i, word in enumerate(command) if word.endswith(".o"))
                kept = [word for word in command if not word.endswith(".o") and not word.startswith("-flto")]
                first -= sum(word.startswith("-flto") for word in command[:first])
                command = [*kept[:first], str(self._bindings), *kept[first:]]
            _run(command)
        (folder / PLUGINS).symlink_to(EMULATOR_BUILD / PLUGINS)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=EMULATOR_BUILD, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HarnessError(f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
