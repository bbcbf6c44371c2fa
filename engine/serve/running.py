"""Runs a service: a process that listens, and workers that answer."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from engine.errors import RetinaFaceError
from engine.serve.app import create_app
from engine.serve.connections import BoundedConnection
from engine.serve.lifetime import RELOAD
from engine.serve.metrics import SHARED
from engine.serve.settings import ServeSettings
from engine.sidecar import is_engine, read_engine
from engine.writing import folder_until_exit

_ALIVE_S = 10  # after which a worker that does not answer the process above is replaced
_LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "engine.serve.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"engine.serve": {"level": "INFO"}, "uvicorn.error": {"level": "INFO"}},
}


class _Supervisor(Multiprocess):
    """Starts the workers, and new ones for those that die."""

    failed = False

    def handle_usr1(self) -> None:
        """Pass the wish for a new engine on to the workers."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, RELOAD)

    def keep_subprocess_alive(self) -> None:
        """Also note whether the service ends because no worker can start."""
        asked = self.should_exit.is_set()
        super().keep_subprocess_alive()
        self.failed = self.should_exit.is_set() and not asked


def serve(settings: ServeSettings) -> None:
    """Answer requests until SIGINT or SIGTERM, and then those that were accepted.

    Raises:
        RetinaFaceError: the address cannot be listened on, or the engine cannot be opened, as the log says.
    """
    if is_engine(settings.engine):
        read_engine(Path(settings.engine))  # says what is wrong with it before any worker starts
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
        timeout_graceful_shutdown=int(settings.drain),
        timeout_worker_healthcheck=_ALIVE_S,
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
