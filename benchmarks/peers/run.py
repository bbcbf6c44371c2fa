"""Runs all peers in worker processes and measures them in turns."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.faces import Detections

_WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Measured:
    """The measurements of one peer.

    Attributes:
        rounds: seconds for all pictures, an entry per round.
        stages: mean seconds for one picture, by stage, an entry per round.
        faces: faces of each picture.
        runtime: library that runs the network; None where the peer does not tell.
    """

    rounds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    faces: list[Detections] = field(default_factory=list)
    runtime: str | None = None


class Worker:
    """A peer in its own process and environment, bound to some of the cores."""

    def __init__(self, python: Path, job: dict[str, Any], cores: Sequence[int], log: Path) -> None:
        """Start the process and wait until it has loaded its network.

        Raises:
            RuntimeError: the process ended; the message is the last line of its log.
        """
        self._log = log
        threads = str(len(cores))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                # Some packages use all visible cores and have no setting for it.
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self.runtime: str | None = self._ask(job)["runtime"]

    def detect(self, index: int) -> dict[str, Any]:
        """Return the stages and the faces of one picture."""
        return self._ask(index)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, question: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else "the process ended without a message")
        return dict(json.loads(answer))


def measure(workers: dict[str, Worker], pictures: int, rounds: int) -> dict[str, Measured]:
    """Measure all workers: for each picture, each worker in turn, so that load on the machine affects all alike.

    The first round is a warm-up and is not counted.
    """
    measured = {name: Measured(runtime=worker.runtime) for name, worker in workers.items()}
    order = list(workers)
    for turn in range(rounds + 1):
        totals: dict[str, dict[str, float]] = {name: {} for name in workers}
        for index in range(pictures):
            order = order[1:] + order[:1]  # so that no worker always runs first
            for name in order:
                answer = workers[name].detect(index)
                for stage, seconds in answer["stages"].items():
                    totals[name][stage] = totals[name].get(stage, 0.0) + seconds
                if turn == 0:
                    measured[name].faces.append(_faces(answer))
        if turn == 0:
            continue
        for name, stages in totals.items():
            measured[name].rounds.append(sum(stages.values()))
            for stage, seconds in stages.items():
                measured[name].stages.setdefault(stage, []).append(seconds / pictures)
    return measured


def _faces(answer: dict[str, Any]) -> Detections:
    """Return a worker's faces, highest score first."""
    boxes = np.array(answer["boxes"], np.float32).reshape(-1, 4)
    scores = np.array(answer["scores"], np.float32)
    order = np.argsort(-scores, kind="stable")
    landmarks = None if answer["landmarks"] is None else np.array(answer["landmarks"], np.float32).reshape(-1, 5, 2)
    return Detections(boxes[order], scores[order], None if landmarks is None else landmarks[order])
