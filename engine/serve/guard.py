"""What stands before every route: the token, limits on bodies and time, an id and a log entry for each request."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engine.serve.lifetime import lifespan
from engine.serve.memory import Holding, current
from engine.serve.refusals import Refusal, refusal_of
from engine.serve.service import Service
from engine.text import printable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("engine.serve")
# What needs no token, as browsers and probes send none.
_OPEN = re.compile(r"/|/page/[a-z.]+|/v2/health/(live|ready)|/docs|/openapi\.json|/static-offline-docs/[a-z.-]+")
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LINGER_S = 2.0
GONE = 499  # the status in logs and metrics of callers that did not wait for the answer


class Guard:
    """The ASGI application around the routes."""

    def __init__(self, app: App, service: Service) -> None:
        """Guard the routes of a service."""
        self._app, self._service = app, service
        self._settings, self._metrics = service.settings, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await lifespan(self._service, receive, send)
            return
        holding = Holding(self._service.budget)
        exchange = _Exchange(scope, receive, send, self._settings.max_body_bytes, holding)
        token, task = current.set(holding), asyncio.current_task()
        assert task is not None  # which runs this
        self._service.answering.add(task)
        try:
            self._check(scope, exchange)
            await exchange.run(self._app, self._settings.timeout)
        except asyncio.TimeoutError as error:
            await exchange.refuse(self._late(exchange, error))
        except asyncio.CancelledError:  # the time to drain is over
            await exchange.refuse(Refusal(503, "closing", "the service is closing: try again later", 1))
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Exception as error:
            log.exception("request %s failed", exchange.id)
            await exchange.refuse(refusal_of(error))
        finally:
            self._service.answering.discard(task)
            current.reset(token)
            holding.release()
            self._record(exchange)

    def _check(self, scope: Scope, exchange: _Exchange) -> None:
        """Refuse what needs no reading."""
        token = self._settings.token
        if token is not None and not _OPEN.fullmatch(scope["path"]):
            given = exchange.header(b"authorization")
            if not hmac.compare_digest(given, b"Bearer " + token.encode()):
                raise Refusal(401, "token", "expected the header Authorization: Bearer TOKEN with the service's token")
        length = exchange.header(b"content-length")
        if length.isdigit() and int(length) > self._settings.max_body_bytes:
            raise exchange.too_long()

    def _late(self, exchange: _Exchange, error: Exception) -> Refusal:
        if exchange.body_complete:
            return refusal_of(error)
        return Refusal(408, "slow", f"the body was not complete after {self._settings.timeout:g} s")

    def _record(self, exchange: _Exchange) -> None:
        route = getattr(exchange.scope.get("route"), "path", "none")
        seconds = time.perf_counter() - exchange.begin
        self._metrics.requests.labels(route, str(exchange.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if exchange.refused is not None:
            self._metrics.rejected.labels(exchange.refused).inc()
        client = exchange.scope.get("client") or ("",)
        entry = {
            "request": exchange.id,
            "client": client[0],
            "method": exchange.scope["method"],
            "path": printable(exchange.scope["path"], 200),
            "status": exchange.status,
            "ms": round(seconds * 1000, 2),
        }
        if exchange.refused is not None:
            entry["refused"] = exchange.refused
        log.info("answered", extra={"fields": entry})


class _Exchange:
    """A request and its answer.

    Attributes:
        id: the caller's X-Request-Id, or a new one.
        status: of the answer, as sent.
        refused: the reason, if it was.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int, holding: Holding) -> None:
        self.scope, self.begin, self._holding = scope, time.perf_counter(), holding
        self._receive, self._send, self._max_body_bytes = receive, send, max_body_bytes
        given = self.header(b"x-request-id")
        self.id = given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.id
        self.status = GONE
        self.refused: str | None = None
        # Without these headers there is no body.
        self.body_complete = not self.header(b"transfer-encoding") and self.header(b"content-length") in (b"", b"0")
        self._read = 0
        self._complete = asyncio.Event()

    def header(self, name: bytes) -> bytes:
        """Return the header's value; empty if there is none."""
        return next((value for key, value in self.scope["headers"] if key == name), b"")

    def too_long(self) -> Refusal:
        return Refusal(413, "body", f"the body is longer than {self._max_body_bytes:,} bytes")

    async def run(self, app: App, timeout: float) -> None:
        """Run the application until it has answered, or the caller has gone.

        Raises:
            TimeoutError: neither within so many seconds.
        """
        work = asyncio.ensure_future(app(self.scope, self.receive, self.send))
        watch = asyncio.ensure_future(self._gone())
        try:
            done, _ = await asyncio.wait({work, watch}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise asyncio.TimeoutError
            if work in done:
                work.result()
        finally:
            watch.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def receive(self) -> Message:
        """Pass a part of the body on, if the body is not too long."""
        if self._complete.is_set():  # _gone() listens
            await asyncio.Event().wait()
        message = await self._receive()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._read += size
            self._holding.add(size)
            if self._read > self._max_body_bytes:
                raise self.too_long()
            if not message.get("more_body", False):
                self.body_complete = True
                self._complete.set()
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.refused = self.scope["state"].get("refused")
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self.id.encode())]
            if not self.body_complete:
                message["headers"].append((b"connection", b"close"))  # what is left of the body is not read
        elif not self.body_complete and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._discard()
            message = {"type": message["type"], "body": b""}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, unless an answer has begun; then the connection closes."""
        if self.status != GONE:
            return
        self.scope["state"]["refused"] = refusal.reason
        body = json.dumps({"error": str(refusal), "request": self.id}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        if refusal.status == 401:
            headers["www-authenticate"] = "Bearer"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def _discard(self) -> None:
        """Read on for a while: a caller that is still sending when the connection closes does not see the answer."""
        end = time.perf_counter() + _LINGER_S
        while not self.body_complete and (left := end - time.perf_counter()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except asyncio.TimeoutError:
                return
            self.body_complete = message["type"] != "http.request" or not message.get("more_body", False)

    async def _gone(self) -> None:
        """Wait until the caller has gone."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
