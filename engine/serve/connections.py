"""Connections whose headers are bounded in time, number and bytes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_HEAD_S = 10.0
_MOST_HEADERS = 128
_MOST_BYTES = 64 << 10
_REFUSAL = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(HttpToolsProtocol):
    """A connection that closes if the headers of a request do not come in time, or are too many."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Expect headers."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Expect the rest of the headers of a request, which may be the second of its connection."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._timer is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Count the bytes."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes."""
        self._head_bytes += len(name) + len(value)
        if len(self.headers) < _MOST_HEADERS:
            super().on_header(name, value)
        else:
            self._head_bytes = _MOST_BYTES + 1

    def on_headers_complete(self) -> None:
        """Let the request through, unless its headers are too long."""
        self._stop_timer()
        if self._head_bytes > _MOST_BYTES:
            self._refuse()
            raise ValueError("the headers are too long")
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of headers that do not end are counted here."""
        super().data_received(data)
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_BYTES:
                self._refuse()

    def send_400_response(self, msg: str) -> None:
        """Say that the request is malformed, unless it was refused already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _expect_head(self) -> None:
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
