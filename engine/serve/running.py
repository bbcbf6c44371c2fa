"""Runs a service: a process that listens, and workers that answer."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from engine.errors import RetinaFaceError
from engine.serve.app import create_app
from engine.serve.connections import BoundedConnection
from engine.serve.lifetime import RELOAD
from engine.serve.metrics import SHARED
from engine.serve.settings import ServeSettings
from engine.sidecar import is_engine, read_engine
from engine.writing import folder_until_exit

# Memory of pictures is kept for the next ones: glibc gives it back by default, and pages that come anew cost a
# millisecond a picture.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
_ANSWER_S = 1  # of a worker to the question whether it has started
_LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "engine.serve.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"engine.serve": {"level": "INFO"}, "uvicorn.error": {"level": "INFO"}},
}


_log = logging.getLogger("engine.serve")


class _Supervisor(Multiprocess):
    """Starts the workers, and new ones for those that die."""

    failed = False
    _untold: Sequence[Process] = ()  # workers that do not know of a new engine yet

    def handle_usr1(self) -> None:
        """Pass the wish for a new engine on to the workers."""
        self._untold = list(self.processes)
        self._tell()

    def _tell(self) -> None:
        """Tell those that have started: the signal would end one that has not, and may have read the old files."""
        later = []
        for process in self._untold:
            if not process.process.is_alive():
                continue
            if process.pid is None or not process.is_ready(_ANSWER_S):
                later.append(process)
                continue
            with suppress(ProcessLookupError):
                os.kill(process.pid, RELOAD)
        self._untold = later

    def keep_subprocess_alive(self) -> None:
        """Start a worker for each that has died; end the service if one could not start.

        A worker is never killed for being slow, as uvicorn does: it may take long to import everything on busy cores.
        """
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.process.is_alive():
                continue
            process.kill()  # closes its pipes
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
                return
            _log.error("worker %s died: another one starts", process.pid)
            self.processes[index] = Process(self.config, self.sockets)
            self.processes[index].start()
        self._tell()

    def terminate_all(self) -> None:
        """Listen no more, so that new callers go elsewhere, then let the workers answer what they have accepted."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve(settings: ServeSettings) -> None:
    """Answer requests until SIGINT or SIGTERM, and then those that were accepted.

    Raises:
        RetinaFaceError: the address cannot be listened on, or the engine cannot be opened, as the log says.
    """
    if is_engine(settings.engine):
        read_engine(Path(settings.engine))  # says what is wrong with it before any worker starts
    for name, value in _MEMORY.items():  # which workers read when they start
        os.environ.setdefault(name, value)
    if settings.workers > 1:
        os.environ[SHARED] = str(folder_until_exit())
    config = uvicorn.Config(
        partial(create_app, settings),
        factory=True,
        interface="asgi3",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=_LOGS,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=math.ceil(settings.drain),
    )
    try:
        listening = config.bind_socket()
    except SystemExit as error:  # uvicorn has logged why
        raise RetinaFaceError(
            f"cannot listen on {settings.host}:{settings.port}: another program does, or the address is none of "
            "this machine. Choose another with --host and --port"
        ) from error
    supervisor = _Supervisor(config, [listening])
    try:
        supervisor.run()
    finally:
        listening.close()
    if supervisor.failed:
        raise RetinaFaceError("the service could not start; the log above says why")
