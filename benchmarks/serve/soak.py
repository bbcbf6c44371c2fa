"""A soak of `retinaface-trt serve`: mixed sizes, hostile callers, a killed worker, a shutdown under load.

    python -m benchmarks.serve.soak --engine faces.engine --minutes 10 --output soak.json

First, requests of mixed sizes in a closed loop, whose rate is the capacity. Then an open loop at 90 % of it, one in
twenty requests being hostile, while a worker is killed. Then SIGTERM while requests are in progress. Every answer is
compared, bit for bit, with that of a detector alone. The exit code is 1 if anything was not as it should be. On Linux.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.serve.answers import PATH, Question, faces_of, questions
from benchmarks.serve.hostile import HOSTILE, Hostile
from benchmarks.serve.service import RunningService, running
from benchmarks.serve.watch import Watch
from engine import TRTRetinaFace

_HOSTILE = 0.05
_UTILISATION = 0.9
_KILL_AT = 0.2  # of the open loop's time
_KILL_S = 2.0  # in which connections of the killed worker break
_CALLERS = 64
_GROWTH = 1.05  # of memory that counts as flat
_DESCRIPTORS = 32  # more than at first, open connections of the moment among them
_TIMEOUT_S = 60.0


class Callers:
    """Ask questions and count the outcomes."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Call this address."""
        self.outcomes: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.killed_at = -np.inf
        self._address = address
        self._of_thread = threading.local()
        self._lock = threading.Lock()

    def ask(self, question: Question, intended: float | None = None) -> None:
        """Ask a question; `intended` is when its latency begins."""
        begin = time.monotonic() if intended is None else intended
        outcome = self._outcome(question)
        with self._lock:
            self.outcomes[outcome] += 1
            if outcome == "right":
                self.latencies.append(time.monotonic() - begin)

    def annoy(self, kind: Hostile, question: Question) -> None:
        """Send something hostile."""
        try:
            answer = kind.send(self._address, question.content)
            outcome = "right" if answer in kind.allowed else f"WRONG: {answer}"
        except OSError as error:
            outcome = self._broken(error)
        with self._lock:
            self.outcomes[f"{kind.name}: {outcome}"] += 1

    def _outcome(self, question: Question) -> str:
        body, headers = question.request()
        for _ in range(2):
            connection = getattr(self._of_thread, "connection", None)
            is_new = connection is None
            if connection is None:
                connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_S)
                self._of_thread.connection = connection
            try:
                connection.request("POST", PATH, body, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._of_thread.connection = None
                # An idle connection is closed by the service after some seconds; the request was not accepted.
                if isinstance(error, ConnectionError) and not is_new and not self._is_killing():
                    continue
                return self._broken(error)
            if response.status != 200:
                return "refused" if response.status == 503 else f"LOST: status {response.status} {answer[:80]!r}"
            return "right" if faces_of(response, answer) == question.expected else "WRONG"
        return "LOST: the connection broke twice"

    def _is_killing(self) -> bool:
        return bool(abs(time.monotonic() - self.killed_at) < _KILL_S)

    def _broken(self, error: Exception) -> str:
        return "broken by the kill" if self._is_killing() else f"LOST: {type(error).__name__} {error}"


def closed_loop(callers: Callers, asked: Sequence[Question], requests: int, concurrency: int) -> float:
    """Ask so many questions; return the rate in requests/s."""
    begin = time.monotonic()
    with ThreadPoolExecutor(concurrency) as threads:
        for done in [threads.submit(callers.ask, asked[i % len(asked)]) for i in range(requests)]:
            done.result()
    return requests / (time.monotonic() - begin)


def open_loop(callers: Callers, asked: Sequence[Question], rate: float, seconds: float, watch: Watch) -> None:
    """Send questions at times of a Poisson process, some of them hostile, and kill a worker once."""
    chance = random.Random(0)
    kinds = _in_turn(HOSTILE)
    begin = due = time.monotonic()
    kill = begin + _KILL_AT * seconds
    with ThreadPoolExecutor(_CALLERS) as good, ThreadPoolExecutor(_CALLERS) as bad:
        pending = []
        while due < begin + seconds:
            due += chance.expovariate(rate)
            time.sleep(max(due - time.monotonic(), 0))
            if due >= kill and len(watch.workers()) > 1:
                callers.killed_at, kill = time.monotonic(), np.inf
                watch.workers()[0].send_signal(signal.SIGKILL)
            question = chance.choice(asked)
            if chance.random() < _HOSTILE:
                pending.append(bad.submit(callers.annoy, next(kinds), question))
            else:
                pending.append(good.submit(callers.ask, question, due))
        for done in pending:
            done.result()


def shutdown(service: RunningService, callers: Callers, asked: Sequence[Question], concurrency: int) -> int:
    """Send SIGTERM while requests are in progress; return the exit status."""
    threads = [threading.Thread(target=callers.ask, args=(asked[i % len(asked)],)) for i in range(concurrency)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)  # all are sent, few are answered
    status = service.terminate()
    for thread in threads:
        thread.join()
    return status


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run all of it; return what was seen."""
    detector_options = ["--device", options.device, "--threads", str(options.threads)]
    with TRTRetinaFace(options.engine, options.device, threads=options.threads) as alone:
        asked = questions(alone, options.pictures, seed=0)
    with running(options.engine, detector_options, options.workers) as service:
        watch = Watch(psutil.Process(service.process.pid), service.address)
        try:
            first, loaded, last = (Callers(service.address) for _ in range(3))
            rate = closed_loop(first, asked, options.requests, options.concurrency)
            seconds, began = options.minutes * 60, watch.readings[-1].at if watch.readings else 0.0
            open_loop(loaded, asked, _UTILISATION * rate, seconds, watch)
            back = service.wait_for_workers(options.workers + (options.workers > 1))
        finally:
            watch.stop()
        status = shutdown(service, last, asked, options.concurrency)
    latencies = np.array(loaded.latencies) * 1000
    return {
        "capacity_per_s": round(rate, 1),
        "sent_per_s": round(_UTILISATION * rate, 1),
        "latency_ms": {f"p{q}": round(float(np.percentile(latencies, q)), 2) for q in (50, 90, 99)},
        "mixed sizes": dict(first.outcomes),
        "soak": dict(sorted(loaded.outcomes.items())),
        "shutdown": {**last.outcomes, "exit status": status},
        "killed worker is back": back,
        **watch.summary(began + (_KILL_AT + 0.1) * seconds),
    }


def faults(seen: dict[str, Any]) -> list[str]:
    """Return what was not as it should be."""
    found = [
        f"{part}: {count} x {outcome}"
        for part in ("mixed sizes", "soak", "shutdown")
        for outcome, count in seen[part].items()
        if "WRONG" in outcome or "LOST" in outcome
    ]
    (memory, memory_then), (descriptors, descriptors_then) = seen["memory_mib"], seen["descriptors"]
    checks = {
        "a killed worker did not come back": seen["killed worker is back"],
        f"exit status {seen['shutdown']['exit status']}": seen["shutdown"]["exit status"] == 0,
        f"memory went from {memory} to {memory_then} MiB": memory_then <= _GROWTH * memory,
        f"descriptors went from {descriptors} to {descriptors_then}": descriptors_then <= descriptors + _DESCRIPTORS,
        f"{seen['not_ready']} readings say that it is not ready": seen["not_ready"] == 0,
    }
    return found + [text for text, good in checks.items() if not good]


def _in_turn(kinds: Sequence[Hostile]) -> Iterator[Hostile]:
    while True:
        yield from kinds


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--engine", required=True)
    add("--device", default="cpu:onnxruntime")
    add("--threads", type=int, default=1, help="of each worker's detector (default 1)")
    add("--workers", type=int, default=2, help="at least 2 for one to be killed (default 2)")
    add("--minutes", type=float, default=10.0, help="of the open loop (default 10)")
    add("--requests", type=int, default=10_000, help="of the closed loop (default 10000)")
    add("--concurrency", type=int, default=16, help="of the closed loop (default 16)")
    add("--pictures", type=int, default=200, help="of different sizes (default 200)")
    add("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    seen = soak(options)
    seen["faults"] = faults(seen)
    for name, value in seen.items():
        if isinstance(value, dict):
            print(f"{name}:", *(f"    {value[key]:>8}  {key}" for key in value), sep="\n")
        elif name not in ("readings", "faults"):
            print(f"{name}: {value}")
    print("faults:", *(seen["faults"] or ["none"]), sep="\n    ")
    if options.output is not None:
        options.output.write_text(json.dumps(seen, indent=1) + "\n")
    return 1 if seen["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
