"""Starts workers and watches them: what crashes, hangs or swells is a finding, and the next worker goes on behind it.

Memory is that which the processes have. Addresses are not limited: a sanitizer takes terabytes of them, and a reader
that asks for too much would get a MemoryError, which it could report as a damaged file.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.fuzz.outcome import Finding
from tests.fuzz.targets import TARGETS, environment_of
from tests.fuzz.worker import BROKEN, SWOLLEN, Job, Progress, Task, map_progress

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"

_FAST = Path("/dev/shm")  # for files that are written a thousand times a second
_POLL_SECONDS = 0.05
_START_SECONDS = 120
_MOST_DEATHS = 20
_HANG, _MEMORY = "hang", "memory"


class HarnessError(Exception):
    """The harness itself does not work."""


@dataclass(frozen=True)
class Limits:
    """What an input may take.

    Attributes:
        seconds: of time.
        memory_bytes: that the process may have at its peak.
    """

    seconds: float = 20
    memory_bytes: int = 3 << 30


@dataclass
class Tally:
    """What came of the inputs of one target.

    Attributes:
        target: name.
        tried: inputs, of which so many were accepted, refused, or findings.
        seconds: of one core.
        longest: seconds of the slowest input.
        peak_bytes: memory of the largest process.
        findings: the first of each kind and detail.
    """

    target: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    faulty: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    peak_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Tally | Progress) -> None:
        """Add what a worker has done, or what others have."""
        for name in ("tried", "accepted", "refused", "faulty", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("longest", "peak_bytes"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        if isinstance(other, Tally):
            for finding in other.findings:
                self.note(finding)

    def note(self, finding: Finding) -> None:
        """Add a finding unless one of its kind and detail is there."""
        if all((known.kind, known.detail) != (finding.kind, finding.detail) for known in self.findings):
            self.findings.append(finding)


class Watch:
    """Starts workers one after the other, as many at a time as there are threads that call it."""

    def __init__(self, limits: Limits | None = None, kept: Path = KEPT) -> None:
        """Watch for limits; the inputs of findings go to a folder."""
        self._limits, self._kept = limits or Limits(), kept
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all workers soon."""
        self._stopped.set()

    def fuzz(self, names: Sequence[str], seed: int, seconds: float, workers: int) -> list[Tally]:
        """Try inputs of several targets, each for its share of the time, with so many workers at a time.

        Raises:
            HarnessError: a target itself fails.
        """
        total = sum(TARGETS[name].share for name in names)

        def work(part: int) -> list[Tally]:
            # Each thread begins elsewhere: some targets need much memory.
            order = [*names[part * len(names) // workers :], *names[: part * len(names) // workers]]
            return [
                self.try_inputs(Task(name, seed, seconds * TARGETS[name].share / total, part, workers))
                for name in order
            ]

        tallies = {name: Tally(name) for name in names}
        with ThreadPoolExecutor(workers) as pool:
            try:
                for parts in pool.map(work, range(workers)):
                    for part in parts:
                        tallies[part.target].add(part)
            except BaseException:
                self.stop()
                raise
        return list(tallies.values())

    def try_inputs(self, task: Task) -> Tally:
        """Try the inputs of a task.

        Raises:
            HarnessError: the target itself fails.
        """
        tally = Tally(task.target)
        with tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None) as temporary:
            folder = Path(temporary)
            (folder / "files").mkdir()
            progress, findings = folder / "progress", folder / "findings"
            job = Job(
                task,
                self._limits.memory_bytes,
                progress=str(progress),
                findings=str(findings),
                folder=str(folder / "files"),
                kept=str(self._kept),
            )
            for _ in range(_MOST_DEATHS):
                progress.write_bytes(bytes(ctypes.sizeof(Progress)))
                findings.write_bytes(b"")
                death = self._run(job, tally, folder)
                if death is None:
                    break
                tally.note(death)
                most = task.most - (death.index - task.first) // task.step - 1
                rest = replace(task, first=death.index + task.step, most=most, seconds=task.seconds - tally.seconds)
                if most <= 0 or rest.seconds <= 0:
                    break
                job = replace(job, task=rest)
            for finding in tally.findings:
                self._run(replace(job, task=replace(task, first=finding.index), dry=True), tally, folder)
        return tally

    def _run(self, job: Job, tally: Tally, folder: Path) -> Finding | None:
        """Run one worker to its end; return what killed it."""
        progress = map_progress(job.progress)
        errors = folder / "errors"
        with errors.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker", json.dumps(asdict(job))],
                cwd=ROOT,
                env={**os.environ, **environment_of(job.task.target)},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        try:
            reason = self._watch(process, progress, tally)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if job.dry:
            return None
        said = errors.read_text(errors="replace")
        tally.add(progress)
        for line in Path(job.findings).read_text().splitlines():
            values = json.loads(line)
            if values["kind"] == BROKEN:
                raise HarnessError(f"target {job.task.target} fails:\n{values['report']}")
            tally.note(Finding(**values))
        if process.returncode == 0 or self._stopped.is_set():
            return None
        if not progress.started:
            raise HarnessError(
                f"target {job.task.target} ended with status {process.returncode} between inputs, after number "
                f"{progress.index}:\n{said}"
            )
        tally.tried += 1
        tally.faulty += 1
        if process.returncode == SWOLLEN:
            reason = _MEMORY
        kind, detail = (reason, self._words(reason)) if reason else ("crash", _status(process.returncode))
        return Finding(job.task.target, progress.index, kind, f"{detail}{_place(said)}", said)

    def _watch(self, process: subprocess.Popen[bytes], progress: Progress, tally: Tally) -> str | None:
        """Wait until a process ends or has to be ended; return the kind of finding of the latter."""
        begun = time.monotonic()
        while True:
            try:
                process.wait(_POLL_SECONDS)
                return None
            except subprocess.TimeoutExpired:
                pass
            resident = _resident_bytes(process.pid)
            tally.peak_bytes = max(tally.peak_bytes, resident)
            started = progress.started  # once, as it changes
            waiting = not progress.tried and not started
            reason = None
            if resident > self._limits.memory_bytes:
                reason = _MEMORY
            elif started and time.monotonic() - started > self._limits.seconds:
                reason = _HANG
            elif self._stopped.is_set() or (waiting and time.monotonic() - begun > _START_SECONDS):
                reason = "stopped"
            if reason:
                process.send_signal(signal.SIGABRT)  # faulthandler says where it was
                with suppress(subprocess.TimeoutExpired):
                    process.wait(2)
                return reason

    def _words(self, kind: str) -> str:
        """Return what a limit says."""
        if kind == _HANG:
            return f"takes more than {self._limits.seconds:g} s"
        return f"the process has had more than {self._limits.memory_bytes >> 20} MiB"


def _resident_bytes(pid: int) -> int:
    """Return the memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _status(code: int) -> str:
    return f"ended with {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _place(said: str) -> str:
    """Return where a process died, from what a sanitizer or faulthandler wrote."""
    if summary := re.search(r"^SUMMARY: (.+)$|runtime error: (.+)$", said, re.M):
        return f": {summary[1] or summary[2]}"
    if frame := re.search(r'File ".*/engine/(\S+)", line (\d+) in (\S+)', said):
        return f": {frame[1]}:{frame[2]} in {frame[3]}"
    return ""
