"""Connections whose requests are bounded in time, number of headers and bytes, and whose callers read their answers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_HEAD_S = 10.0
_UNREAD_S = 30.0
_MOST_HEADERS = 128
_MOST_BYTES = 64 << 10  # of headers; and of what is no body behind them, such as the lengths of chunks
_REFUSAL = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(HttpToolsProtocol):
    """A connection that closes if the headers of a request do not come in time, or are too many.

    httptools collects a header, or one behind a body in chunks, as long as more of it comes: bytes are counted here.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _ended = False  # a request, within this read
    _head_bytes = 0  # of headers, but for those that came in the read that ended the request before
    _body_bytes = 0
    _rest_bytes = 0  # since the headers ended, with the body

    def connection_made(self, transport: Any) -> None:
        """Expect headers; let the system close the connection if its caller does not read for long."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_UNREAD_S * 1000))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._ended = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += 0 if self._ended else len(data)
            if self._head_bytes > _MOST_BYTES:
                self._refuse()
            elif self._is_idle():
                self._start_timer()
        else:
            self._rest_bytes += len(data)
            if self._rest_bytes > 2 * self._body_bytes + _MOST_BYTES + len(data):
                self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind a body say nothing here."""
        if self._in_head and len(self.headers) <= _MOST_HEADERS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request through, unless its headers are too many or too long."""
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > _MOST_HEADERS or size > _MOST_BYTES:
            self._refuse()
            raise ValueError("the headers are too long")
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count and pass on."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the headers of the next request."""
        self._in_head, self._ended, self._body_bytes, self._rest_bytes = True, True, 0, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that the request is malformed, unless it was refused already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _is_idle(self) -> bool:
        """Return whether no request is answered, and nothing limits the time until the next."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return not answering and self._timer is None and self.timeout_keep_alive_task is None

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(_HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()
