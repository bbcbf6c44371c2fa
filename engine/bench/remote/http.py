"""A server that takes picture files as the bodies of HTTP requests, such as `retinaface-trt serve`."""

from __future__ import annotations

import http.client
import math
import os
import re
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult

from engine.bench.remote.server import PATIENCE_S, PerThread, RemoteError, Reply, Totals
from engine.text import printable

TOKEN = "RETINAFACE_TRT_TOKEN"
_MOST_BYTES = 64 << 20  # of an answer
_MOST_TEXT = 200  # of an error
_TIMING = re.compile(r'([\w.-]{1,40});(?:dur=([\d.]{1,20})|desc="(\d{1,9})")')
_STAGES = {"undo-letterbox": "undo letterbox"}  # names that have no space in the header


class Connections:
    """Keep-alive connections to one server, one for each thread."""

    def __init__(self, address: SplitResult) -> None:
        """Remember the address; a thread connects with its first request."""
        self._address = address
        self._threads = PerThread(self._connect)
        token = os.environ.get(TOKEN)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Return the answer and its body."""
        connection, is_new = self._threads.get()
        everything = {**self._headers, **(headers or {})}
        try:
            return _exchange(connection, method, path, body, everything)
        except ConnectionError:
            if is_new:
                raise
        # The server may have closed an idle connection; a new one shows whether it still answers.
        return _exchange(connection, method, path, body, everything)

    def close(self, *, ended: bool = False) -> None:
        """See RemoteServer."""
        self._threads.close(ended=ended)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        return (
            http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=ssl.create_default_context())
            if self._address.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        )


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request and read the answer. What fails closes the connection, whose next answer would be this one."""
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        content = response.read(_MOST_BYTES)
        if response.length:  # bytes that have not come, or are too many
            raise http.client.IncompleteRead(content, response.length)
    except BaseException:
        connection.close()
        raise
    return response, content


class HttpServer:
    """Posts picture files to a path.

    Attributes:
        description: what it is, in words.
    """

    def __init__(self, connections: Connections, path: str, description: str) -> None:
        """Use these connections."""
        self._connections, self._path, self.description = connections, path, description

    def ask(self, content: bytes) -> Reply:
        """See RemoteServer."""
        headers = {"Content-Type": "application/octet-stream"}
        response, body = self._connections.request("POST", self._path, content, headers)
        if response.status != 200:
            raise RemoteError(response.status, printable(body[:_MOST_TEXT].decode(errors="replace")))
        return parse_server_timing(response.getheader("Server-Timing", ""))

    def totals(self) -> Totals | None:
        """Return None: the header Server-Timing has the stages of each request."""
        return None

    def close(self, *, ended: bool = False) -> None:
        """See RemoteServer."""
        self._connections.close(ended=ended)


def parse_server_timing(header: str) -> Reply:
    """Read the header Server-Timing (https://www.w3.org/TR/server-timing); what is malformed is left out."""
    stages, batch_size = {}, 0
    for name, milliseconds, description in _TIMING.findall(header):
        if milliseconds:
            try:
                seconds = float(milliseconds) / 1000
            except ValueError:
                continue
            if math.isfinite(seconds):
                stages[_STAGES.get(name, name)] = seconds
        elif name == "batch":
            batch_size = int(description)
    return Reply(stages, batch_size)
