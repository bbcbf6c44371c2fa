"""Requests that are wrong, too large or too slow: each gets an answer that says so, and the next one is fine."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from benchmarks.serve.hostile import bomb
from tests.integration.serve.service import Served, serving


@pytest.mark.parametrize(
    ("request_of", "status", "says"),
    [
        ({"content": b""}, 400, "empty"),
        ({"content": b"\xff\xd8\xff\xe0 no picture"}, 400, "not a picture"),
        ({"content": bomb()}, 413, "100,000,000 pixels"),
        ({"content": b"x" * 32_000_001}, 413, "32,000,000 bytes"),
        ({"content": b"x", "params": {"max_faces": "many"}}, 400, "max_faces"),
        ({"content": b"x", "params": {"unknown": "1"}}, 400, "unknown"),
        ({"content": b"x", "params": {"timeout": "nan"}}, 400, "timeout"),
        ({"content": b"x", "params": {"crops": "round"}}, 400, "crops"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "form"),
        ({"data": {"name": "value"}, "files": {}}, 400, "not a picture"),
        ({"files": [("file", (f"{i}.png", b"x")) for i in range(5)]}, 400, "Too many files"),
    ],
)
def test_bodies_that_are_wrong(request_of: dict[str, Any], status: int, says: str, client: httpx.Client) -> None:
    answer = client.post("/detect", **request_of)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]
    assert answer.json()["request"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (b"no JSON", {}, "no JSON"),
        (b"[]", {}, "no JSON object"),
        (b'{"inputs": []}', {}, "the inputs are none"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1], "data": [1]}]}', {}, "datatype is 'FP32'"),
        (b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [2, 2, 3], "data": [1]}]}', {}, "1 values"),
        (b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1], "data": [256]}]}', {}, "0 to 255"),
        (b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1], "data": [1]}]}', {}, "shape is [-1]"),
        (b'{"inputs": [{"name": "other", "datatype": "UINT8", "shape": [1], "data": [1]}]}', {}, "'other'"),
        (b"{}", {"inference-header-content-length": "9"}, "expected 0 to 2"),
        (b"{}", {"inference-header-content-length": "-1"}, "expected 0 to 2"),
        (b"[" * 100_000, {}, "no JSON"),
        (
            b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [0, 0, 0]}],'
            b' "parameters": {"timeout": "soon"}}',
            {},
            "microseconds",
        ),
        (b'{"inputs": [], "parameters": {"score_threshold": "x"}}', {}, "the inputs are none"),
    ],
)
def test_inferences_that_are_wrong(body: bytes, headers: dict[str, str], says: str, client: httpx.Client) -> None:
    answer = client.post("/v2/models/retinaface/infer", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]


def test_a_compressed_inference_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v2/models/retinaface/infer", content=b"", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_and_paths(method: str, client: httpx.Client) -> None:
    assert client.request(method, "/detect").status_code == 405
    assert client.request(method, "/detect/../../etc/passwd").status_code == 404
    assert client.request(method, "/admin/reload").status_code == 404


def test_a_caller_need_not_wait_longer_than_it_says(client: httpx.Client, pictures: list[bytes]) -> None:
    answer = client.post("/detect", params={"timeout": 0.0001}, content=pictures[0])
    assert answer.status_code == 504
    assert client.post("/detect", content=pictures[0]).status_code == 200


@contextmanager
def _connected(served: Served) -> Iterator[socket.socket]:
    url = httpx.URL(served.url)
    assert url.port is not None
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        yield connection


def test_headers_are_bounded(served: Served) -> None:
    for head in (b"A: b\r\n" * 10_000 + b"\r\n", b"A: " + b"b" * 100_000):
        with _connected(served) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n" + head)
            assert _ends(connection).startswith(b"HTTP/1.1 431 ")


def test_a_slow_body_ends(served: Served) -> None:
    with _connected(served) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        begin = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert 9 < time.monotonic() - begin < 15


def test_a_body_that_is_too_long_is_not_read(served: Served) -> None:
    with _connected(served) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    with _connected(served) as connection:  # whose length is not said
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(490):
            connection.sendall(part)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_answer_before_the_end_of_the_body_ends_the_connection(served: Served) -> None:
    """What is left of the body is not read, so it could be taken for a request."""
    with _connected(served) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        connection.sendall(b"x" * 90 + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer.read()
        assert _ends(connection) == b""


def test_the_memory_of_all_requests_is_bounded(fp32_engine: Path, pictures: list[bytes]) -> None:
    large = cv2.imencode(".png", np.zeros((1000, 2000, 3), np.uint8))[1].tobytes()
    with serving(fp32_engine, "--max-memory-mb", "5") as service, httpx.Client(base_url=service.url) as client:
        answer = client.post("/detect", content=large)
        assert answer.status_code == 413, answer.text
        assert "5 MB of memory" in answer.json()["error"]
        assert client.post("/detect", content=pictures[0]).status_code == 200

        def refused() -> bool:
            with _connected(service) as connection:
                connection.sendall(
                    b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 4000001\r\n\r\n" + bytes(4_000_000)
                )
                time.sleep(0.2)  # to be read
                answer = client.post("/detect", content=pictures[0])
            return answer.status_code == 503 and answer.headers["retry-after"] == "1"

        service.wait_for(refused)
        service.wait_for(lambda: client.post("/detect", content=pictures[0]).status_code == 200)


def test_names_of_files_may_be_anything(client: httpx.Client, pictures: list[bytes]) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xed\xa0\x80\x1b[2J.png"\r\n\r\n'
    body = head + pictures[0] + b"\r\n--b--\r\n"
    answer = client.post("/detect", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"][0]["name"].endswith("\\x1b[2J.png")


def test_callers_that_go_away_cost_nothing(served: Served, client: httpx.Client, pictures: list[bytes]) -> None:
    head = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(pictures[0])}\r\n\r\n".encode()
    for part in (head, head + pictures[0][:1000], head + pictures[0]):
        for _ in range(5):
            with _connected(served) as connection:
                connection.sendall(part)
    assert client.post("/detect", content=pictures[0]).status_code == 200
    served.wait_for(lambda: "retinaface_images_in_progress 0.0" in client.get("/metrics").text)
    assert not [entry for entry in served.log if "traceback" in entry or "Traceback" in entry["message"]]


def _ends(connection: socket.socket) -> bytes:
    """Return what comes until the connection closes."""
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(1000):
            found += part
    return found
