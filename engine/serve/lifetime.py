"""A worker process from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engine.errors import RetinaFaceError
from engine.serve.metrics import forget_dead_processes
from engine.serve.service import Service

RELOAD = signal.SIGUSR1  # from the process above: open the engine's files anew

_LAST_WORDS_S = 1.0
_log = logging.getLogger("engine.serve")


async def lifespan(
    service: Service,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Open a service when the server starts, and close it when the server has answered its last request.

    This is ASGI's lifespan protocol, spoken here so that an engine that cannot be opened gives a line, no traceback.
    """
    await receive()
    forget_dead_processes()
    try:
        await service.start()
    except RetinaFaceError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    asyncio.get_running_loop().add_signal_handler(RELOAD, _reload_in_background, service)
    _end_with_parent()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if service.answering:  # requests that took too long, and are told so
        await asyncio.wait(service.answering, timeout=_LAST_WORDS_S)
    await service.close()
    await send({"type": "lifespan.shutdown.complete"})


async def reload_all(service: Service) -> None:
    """Open the engine's files anew in this worker, then let the others; RetinaFaceError if they cannot be used."""
    await service.reload()
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        os.kill(parent.pid, RELOAD)


_reloads: set[asyncio.Task[None]] = set()


def _reload_in_background(service: Service) -> None:
    task = asyncio.get_running_loop().create_task(_reload(service))
    _reloads.add(task)
    task.add_done_callback(_reloads.discard)


async def _reload(service: Service) -> None:
    try:
        await service.reload()
    except RetinaFaceError as error:
        _log.error("the engine could not be opened anew, the old one stays: %s", error)


def _end_with_parent() -> None:
    """End this process, as SIGTERM does, when the one above is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
