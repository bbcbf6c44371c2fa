"""A process that tries the inputs of one target. tests.fuzz.watch starts it, and survives what happens to it.

The only argument is a Job as JSON. The first finding of each kind and detail becomes a line of JSON in a file. What the
process is doing lies in another one, which both processes map: it stays there when this one dies.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import resource
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.outcome import Finding, Refusal, judge
from tests.fuzz.target import Target
from tests.fuzz.targets import load

BROKEN = "broken"
"""Kind of a line about a fault of the target itself, not of the product."""
SWOLLEN = 75
"""Exit status after an input that took too much memory."""


@dataclass(frozen=True)
class Task:
    """Inputs to be tried: first, first + step, ...

    Attributes:
        target: its name.
        seed: of the run.
        seconds: for which inputs are tried; starting a process comes on top.
        first: number of the first input.
        step: from one input to the next.
        most: inputs, at most.
    """

    target: str
    seed: int
    seconds: float
    first: int = 0
    step: int = 1
    most: int = 1 << 40


@dataclass(frozen=True)
class Job:
    """What one worker does.

    Attributes:
        task: its inputs.
        memory_bytes: that it may have at its peak.
        progress: path of the file that holds a Progress.
        findings: path of the file for findings.
        folder: for the files that are read.
        kept: folder for the inputs of findings.
        dry: whether the first input is only made and kept.
    """

    task: Task
    memory_bytes: int
    progress: str
    findings: str
    folder: str
    kept: str
    dry: bool = False

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what json.dumps made of asdict."""
        values = json.loads(text)
        return cls(**{**values, "task": Task(**values["task"])})


class Progress(ctypes.Structure):
    """What a worker has done.

    Attributes:
        index: number of the input that is being tried; -1 before the first.
        started: when it began, by time.monotonic; 0 between inputs.
        tried: inputs.
        accepted: inputs.
        refused: inputs.
        faulty: inputs with findings.
        seconds: since the first input began.
        longest: the longest time of an input, in seconds.
        peak_bytes: the most memory that the process, or a process that it waited for, has had at once.
    """

    _fields_ = [
        ("index", ctypes.c_int64),
        ("started", ctypes.c_double),
        ("tried", ctypes.c_int64),
        ("accepted", ctypes.c_int64),
        ("refused", ctypes.c_int64),
        ("faulty", ctypes.c_int64),
        ("seconds", ctypes.c_double),
        ("longest", ctypes.c_double),
        ("peak_bytes", ctypes.c_int64),
    ]
    index: int
    started: float
    tried: int
    accepted: int
    refused: int
    faulty: int
    seconds: float
    longest: float
    peak_bytes: int


def map_progress(path: str) -> Progress:
    """Return what lies in a file; changes go to the file, and appear in other processes."""
    with open(path, "r+b") as file:
        return Progress.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Progress)))


def random_of(task: Task, index: int) -> Random:
    """Return the source of all chance of one input."""
    return Random(f"{task.seed} {task.target} {index}")


def main(job: Job) -> None:
    """Try inputs until the time is over."""
    target = load(job.task.target)(Path(job.folder))
    if job.dry:
        _keep(job, target)
    else:
        _try_all(job, target, map_progress(job.progress))


def _try_all(job: Job, target: Target[Any], progress: Progress) -> None:
    task, known = job.task, set[tuple[str, str]]()
    began = time.monotonic()
    for index in range(task.first, task.first + task.step * task.most, task.step):
        made = target.make(random_of(task, index))
        progress.index, progress.started = index, (before := time.monotonic())
        outcome = judge(target, made)
        now = time.monotonic()
        progress.peak_bytes = _peak_bytes()
        if progress.peak_bytes > job.memory_bytes:
            sys.exit(SWOLLEN)  # what a process has had once stays its peak
        progress.started = 0
        progress.tried += 1
        progress.seconds, progress.longest = now - began, max(progress.longest, now - before)
        if outcome is None:
            progress.accepted += 1
        elif isinstance(outcome, Refusal):
            progress.refused += 1
        else:
            progress.faulty += 1
            if outcome[:2] not in known:
                known.add(outcome[:2])
                _tell(job, asdict(Finding(task.target, index, *outcome)))
        if now - began > task.seconds:
            return


def _tell(job: Job, line: dict[str, Any]) -> None:
    with open(job.findings, "a") as file:
        file.write(json.dumps(line) + "\n")


def _keep(job: Job, target: Target[Any]) -> None:
    """Write the files of the first input."""
    task = job.task
    folder = Path(job.kept) / f"{task.target}-{task.seed}-{task.first}"
    for name, content in target.files(target.make(random_of(task, task.first))).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _peak_bytes() -> int:
    """Return the most memory that this process, or one that it waited for, has had."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024


if __name__ == "__main__":
    given = Job.from_json(sys.argv[1])
    try:
        main(given)
    except Exception:
        _tell(given, {"kind": BROKEN, "report": traceback.format_exc()})
        raise
