"""Starting, reloading, dying and ending."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import TRTRetinaFace
from tests.integration.serve.service import Served, serving

_MODEL = "/v2/models/retinaface"


def _copy(engine: Path, folder: Path) -> Path:
    for path in engine.parent.glob(f"{engine.stem}.*"):
        shutil.copy(path, folder)
    return folder / engine.name


def _says(service: Served, headers: dict[str, str]) -> set[str]:
    """What the workers say of their engine; a new connection each time, so that all of them are asked."""
    answers = [httpx.get(f"{service.url}{_MODEL}", headers=headers) for _ in range(8)]
    return {answer.json()["parameters"]["description"].split(", ")[1] for answer in answers}


def test_workers_come_back_and_reload_without_losing_a_request(
    fp32_engine: Path, fp16_engine: Path, tmp_path: Path, pictures: list[bytes]
) -> None:
    engine = _copy(fp32_engine, tmp_path)
    options = ("--workers", "2", "--threads", "1", "--allow-reload")
    secret = {"authorization": "Bearer secret"}
    expected = [TRTRetinaFace(path, "cpu:onnxruntime").detect(pictures[0]).to_json() for path in (engine, fp16_engine)]
    assert expected[0] != expected[1]
    with serving(engine, *options, RETINAFACE_TRT_TOKEN="secret", MALLOC_MMAP_THRESHOLD_="7000000") as service:
        service.wait_for(lambda: len(service.workers()) == 2)
        for worker in service.workers():  # keep the memory of pictures, by glibc's variables; the operator's own win
            variables = Path(f"/proc/{worker}/environ").read_text().split("\0")
            assert {"MALLOC_TRIM_THRESHOLD_=67108864", "MALLOC_MMAP_THRESHOLD_=7000000"} <= {*variables}
        for path in ("/metrics", _MODEL, "/detect"):
            assert httpx.get(f"{service.url}{path}").status_code == 401
        assert httpx.get(service.url).status_code == 200

        os.kill(service.workers()[0], signal.SIGKILL)
        assert (
            httpx.post(f"{service.url}/detect", content=pictures[0], timeout=30, headers=secret).json() == expected[0]
        )
        service.wait_for(lambda: len(service.workers()) == 3)

        answers: list[dict[str, Any]] = []
        end = threading.Event()

        def call() -> None:
            with httpx.Client(base_url=service.url, timeout=60, headers=secret) as client:
                while not end.is_set():
                    answers.append(client.post("/detect", content=pictures[0]).json())

        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        _copy(fp16_engine, tmp_path)
        assert httpx.post(f"{service.url}/admin/reload", timeout=60, headers=secret).status_code == 202
        service.wait_for(lambda: _says(service, secret) == {"fp16"})
        end.set()
        for caller in callers:
            caller.join(60)
        assert [answer for answer in answers if answer not in expected] == []
        assert expected[0] in answers

        engine.with_name(f"{engine.name}.json").write_text("{")
        assert httpx.post(f"{service.url}/admin/reload", timeout=60, headers=secret).status_code == 500
        assert _says(service, secret) == {"fp16"}
        # Numbers of all workers, the dead one too.
        count = 'retinaface_requests_total{route="/detect",status="200"}'
        numbers = httpx.get(f"{service.url}/metrics", headers=secret).text
        assert float(numbers.partition(count)[2].split()[0]) >= len(answers)
        assert service.stop() == 0


def test_a_service_that_is_ended_answers_what_it_accepted(fp32_engine: Path, pictures: list[bytes]) -> None:
    with serving(fp32_engine, "--threads", "1") as service:
        answers: list[int] = []

        def call() -> None:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                answers.append(client.post("/detect", content=pictures[0]).status_code)

        callers = [threading.Thread(target=call) for _ in range(12)]
        for caller in callers:
            caller.start()
        numbers = f"{service.url}/metrics"
        service.wait_for(lambda: "retinaface_images_in_progress 0.0" not in httpx.get(numbers).text or len(answers) > 6)
        accepted = 12
        status = service.stop()
        for caller in callers:
            caller.join(60)
        assert status == 0
        assert answers == [200] * accepted
        assert not [entry for entry in service.log if "Traceback" in entry["message"]]


def test_what_is_not_answered_in_the_time_to_drain_is_refused(fp32_engine: Path) -> None:
    with serving(fp32_engine, "--drain", "1") as service:
        url = httpx.URL(service.url)
        assert url.port is not None
        with socket.create_connection((url.host, url.port), timeout=30) as connection:
            connection.sendall(
                b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
            )
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is accepted
            assert service.stop() == 0
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--engine", "missing.engine"), "missing.engine"),
        (("--port", "70000"), "port is 70000"),
        (("--workers", "0"), "workers is 0"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1:0"),
    ],
)
def test_what_cannot_start_says_why(options: tuple[str, str], says: str, fp32_engine: Path) -> None:
    command = [sys.executable, "-m", "engine", "serve", "--engine", str(fp32_engine), "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
