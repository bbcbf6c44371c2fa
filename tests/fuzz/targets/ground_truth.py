"""WIDER FACE's ground truth: MATLAB files, and what the child process that reads them may answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import IO, Any

import numpy as np

from engine.evaluate.widerface import matlab_child
from engine.evaluate.widerface.files import read_ground_truth
from engine.evaluate.widerface.matlab import read_variables
from tests.fuzz.mutate.content import mutated
from tests.fuzz.mutate.matlab import mutated_matlab
from tests.fuzz.mutate.values import mutated_values, to_text
from tests.fuzz.target import Files, FileTarget
from tests.support.widerface_cases import random_truth, write_truth

_VARIABLES = {
    "wider_face_val": ("event_list", "file_list", "face_bbx_list"),
    "wider_easy_val": ("gt_list",),
    "wider_medium_val": ("gt_list",),
    "wider_hard_val": ("gt_list",),
}
_REAL_CHILDREN = 0.02  # share of the MATLAB files that a new process reads, as in the product: that takes 0.4 s


class Matlab(FileTarget):
    """MATLAB files. A fork of the worker, which has SciPy, reads most of them in place of a new process."""

    def __init__(self, folder: Path) -> None:
        """Write files of version 5, packed and not, and one of version 4."""
        super().__init__(folder)
        self._path = folder / "truth.mat"
        self.named = (str(self._path),)
        self._seeds = _seeds(folder)
        self._run = subprocess.run

    def make(self, random: Random) -> Files:
        """Return a changed file; the name of an empty one says who reads it."""
        reader = "process" if random.random() < _REAL_CHILDREN else "fork"
        return {"truth.mat": mutated_matlab(random.choice(self._seeds), random), reader: b""}

    def read(self, made: Files) -> None:
        """Read all variables."""
        _replace_run(_run_fork if "fork" in made else self._run)
        read_variables(self._path, ("event_list", "file_list", "face_bbx_list", "gt_list"))


class Answers(FileTarget):
    """Answers of the child process: right ones that are changed, for the code behind it."""

    def __init__(self, folder: Path) -> None:
        """Read the files of a ground truth as the child does."""
        super().__init__(folder)
        truth = random_truth(np.random.default_rng(5), 7)
        write_truth(folder, truth)
        self.named = tuple(str(folder / f"{name}.mat") for name in _VARIABLES)
        self._right = {name: _answer(folder / f"{name}.mat", names) for name, names in _VARIABLES.items()}
        self._answers: list[bytes] = []
        _replace_run(self._answer_next)

    def make(self, random: Random) -> Files:
        """Return the answers for the four files, one of them changed."""
        answers = {f"{name}.json": text for name, text in self._right.items()}
        name = random.choice(list(answers))
        if random.random() < 0.9:
            answers[name] = to_text(mutated_values(json.loads(answers[name]), random)).encode()
        else:
            answers[name] = mutated(answers[name], random)
        return answers

    def read(self, made: Files) -> None:
        """Read the ground truth."""
        self._answers = list(made.values())
        read_ground_truth(self.folder)

    def _answer_next(self, command: list[str], *, stdout: IO[bytes], **_: Any) -> subprocess.CompletedProcess[bytes]:
        stdout.write(self._answers.pop(0))
        return subprocess.CompletedProcess(command, 0)


def _replace_run(run: Any) -> None:
    """Replace subprocess.run, which nothing else in a worker needs."""
    subprocess.run = run


def _run_fork(command: list[str], *, input: bytes, stdout: IO[bytes], **_: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the child's program in a fork of this process."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.dup2(stdout.fileno(), 1)
            sys.stdin = io.TextIOWrapper(io.BytesIO(input))
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
            matlab_child.main(*command[2:])
            sys.stdout.flush()
            status = 0
        finally:
            os._exit(status)
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _seeds(folder: Path) -> list[bytes]:
    from scipy.io import savemat

    write_truth(folder / "truth", random_truth(np.random.default_rng(6), 5))
    contents = [(folder / "truth" / f"{name}.mat").read_bytes() for name in _VARIABLES]
    path = folder / "seed.mat"
    kinds = {"gt_list": np.arange(6.0).reshape(2, 3), "event_list": "text", "file_list": np.ones((1, 2)) * 1j}
    for options in ({}, {"do_compression": True}, {"format": "4"}):
        savemat(path, kinds, **options)
        contents.append(path.read_bytes())
    savemat(path, {"gt_list": {"a": 1.0, "b": "c"}, "file_list": np.eye(3) > 0})
    return [*contents, path.read_bytes()]


def _answer(path: Path, names: tuple[str, ...]) -> bytes:
    from scipy.io import loadmat

    found = loadmat(path, variable_names=names)
    return json.dumps({"variables": {name: matlab_child.encode(found[name]) for name in names}}).encode()
