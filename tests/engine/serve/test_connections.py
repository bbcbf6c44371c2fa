"""Connections of callers who send or read badly: they end, and others do not notice."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

import pytest
import uvicorn

from engine.serve import connections
from engine.serve.connections import BoundedConnection

_LONG = 64 << 20  # more than all buffers between two ends of a connection


async def _app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Read the body, and answer with its length and the number of headers; GET /long is a long answer."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/wait":
        await asyncio.sleep(1.0)
    body = bytes(_LONG) if scope["path"] == "/long" else f"{length} {len(scope['headers'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server with short times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_HEAD_S", 0.5)
        patch.setattr(connections, "_UNREAD_S", 1.0)
        # asyncio reads more at a time than uvloop.
        config = uvicorn.Config(
            _app, port=0, http=BoundedConnection, lifespan="off", log_config=None, ws="none", loop="asyncio"
        )
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def _connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def _ends(connection: socket.socket) -> bytes:
    """Return what comes until the connection closes."""
    found = bytearray()
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            found += part
    return bytes(found)


def _answer(connection: socket.socket) -> bytes:
    """Return the body of an answer."""
    answer = HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return answer.read()


_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("begin", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nA: b\r\n"])
def test_headers_that_do_not_end_in_time(begin: bytes, address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(begin)
        began = time.monotonic()
        assert _ends(connection) == b""
        assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize("after", [b"\r\n", b"\r\n\r\n", b"G"])
def test_an_answered_connection_is_not_kept_by_less_than_a_request(after: bytes, address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_GET)
        assert _answer(connection) == b"0 1"
        connection.sendall(after)
        began = time.monotonic()
        assert _ends(connection) == b""
        assert time.monotonic() - began < 4  # uvicorn's own limit is 5


def test_a_request_may_take_longer_than_the_headers_behind_it(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_GET.replace(b"/ ", b"/wait ", 1) + b"GET / HT")
        assert b"200 OK" in _ends(connection)


def test_an_answer_may_be_read_slowly(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_GET.replace(b"/ ", b"/long ", 1))
        found = 0
        for _ in range(20):  # twice as long as headers may take
            time.sleep(0.05)
            found += len(connection.recv(1 << 16))
        assert found + len(_ends(connection)) > _LONG


@pytest.mark.parametrize(("count", "status"), [(127, b"200"), (128, b"431"), (10_000, b"431")])
def test_headers_are_counted(count: int, status: bytes, address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_GET[:-2] + b"A: b\r\n" * count + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("parts", [1, 2, 50])
@pytest.mark.parametrize(("size", "status"), [(60_000, b"200"), (70_000, b"431")])
def test_bytes_of_headers_are_counted_once(size: int, status: bytes, parts: int, address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        content = _GET[:-2] + b"A: " + b"b" * size + b"\r\n\r\n"
        step = -(-len(content) // parts)
        for at in range(0, len(content), step):
            try:
                connection.sendall(content[at : at + step])
            except (ConnectionResetError, BrokenPipeError):
                break  # refused before the end
            time.sleep(0.002)
        assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)


def test_a_long_body_and_a_request_behind_it(address: tuple[str, int]) -> None:
    """The body's bytes are not taken for headers, wherever reads end."""
    body = bytes(200_000)
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + body
    with _connected(address) as connection:
        connection.sendall((first + _GET) * 3)
        found = b""
        while found.count(b"HTTP/1.1 200 OK") < 6 or not found.endswith(b"0 1"):
            part = connection.recv(10_000)
            assert part, found[-1000:]
            found += part
        assert found.count(b"200000 2") == 3
        connection.sendall(first + _GET[:10])  # one read has the end of a body and the begin of headers
        assert _answer(connection) == b"200000 2"
        connection.sendall(_GET[10:])
        assert _answer(connection) == b"0 1"


def test_chunks_may_be_small(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_POST + b"10\r\n0123456789abcdef\r\n" * 20_000 + b"0\r\n\r\n")
        assert _answer(connection) == b"320000 2"


def test_headers_behind_a_body_are_left_out(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_POST + b"1\r\nx\r\n0\r\nAuthorization: me\r\n\r\n")
        assert _answer(connection) == b"1 2"


def test_headers_behind_a_body_end(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_POST + b"1\r\nx\r\n0\r\nA: ")
        sent = 0
        with suppress(ConnectionResetError, BrokenPipeError):
            while sent < 2_000_000:
                sent += connection.send(b"b" * 10_000)
                time.sleep(0.002)
        assert sent < 2_000_000


def test_an_answer_that_is_not_read_is_given_up(address: tuple[str, int]) -> None:
    with _connected(address) as connection:
        connection.sendall(_GET.replace(b"/ ", b"/long ", 1))
        time.sleep(4)
        assert len(_ends(connection)) < _LONG
