"""Workers of all peers, asked in turn."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.types import Detections

_WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Measured:
    """What one peer gave.

    Attributes:
        rounds: seconds for all pictures, one entry a round.
        stages: seconds for one picture, by stage, one entry a round.
        faces: of each picture.
        runtime: that runs the network, where the peer is ours.
    """

    rounds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    faces: list[Detections] = field(default_factory=list)
    runtime: str | None = None


class Worker:
    """A peer that runs in a process and an environment of its own, on some of the cores."""

    def __init__(self, python: Path, job: dict[str, Any], cores: Sequence[int], log: Path) -> None:
        """Start it and wait until it has loaded its network.

        Raises:
            RuntimeError: it could not; the message is its last line.
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
                # Some packages take all cores they see, and have no setting for it.
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self.runtime: str | None = self._ask(job)["runtime"]

    def detect(self, index: int) -> dict[str, Any]:
        """Return the stages and the faces of one picture."""
        return self._ask(index)

    def close(self) -> None:
        """End it."""
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
            raise RuntimeError(lines[-1] if lines else "it ended without a word")
        return dict(json.loads(answer))


def measure(workers: dict[str, Worker], pictures: int, rounds: int) -> dict[str, Measured]:
    """Let each worker detect in each picture, one after the other, so that all see the same noise of the machine.

    The first round warms up and is not counted.
    """
    measured = {name: Measured(runtime=worker.runtime) for name, worker in workers.items()}
    order = list(workers)
    for turn in range(rounds + 1):
        totals: dict[str, dict[str, float]] = {name: {} for name in workers}
        for index in range(pictures):
            order = order[1:] + order[:1]  # nobody is always the first after another
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
    """What a worker found, best first."""
    boxes = np.array(answer["boxes"], np.float32).reshape(-1, 4)
    scores = np.array(answer["scores"], np.float32)
    order = np.argsort(-scores, kind="stable")
    landmarks = None if answer["landmarks"] is None else np.array(answer["landmarks"], np.float32).reshape(-1, 5, 2)
    return Detections(boxes[order], scores[order], None if landmarks is None else landmarks[order])
