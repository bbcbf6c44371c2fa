"""What takes part in a run: engines in this process, and servers over the network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.arguments import describe
from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.bench.run import Contestant
    from engine.detector import TRTRetinaFace


def open_engine(arguments: argparse.Namespace, stack: ExitStack, path: Path) -> TRTRetinaFace:
    """Open an engine, which the stack closes."""
    from engine.detector import TRTRetinaFace

    detector = TRTRetinaFace(
        path,
        arguments.device,
        threads=arguments.threads,
        trust_embedded_plugins=arguments.trust_embedded_plugins,
        cuda_graphs=not arguments.no_cuda_graphs,
    )
    return stack.enter_context(detector)


def engine_contestants(
    arguments: argparse.Namespace,
    detectors: Mapping[str, TRTRetinaFace],
    paths: Mapping[str, Path],
    decode_threads: int,
) -> list[Contestant]:
    """Return the engines by their names, each behind a queue."""
    from engine.bench.analysis.points import Engine
    from engine.bench.run import Contestant, queue_client, serve

    options = {"max_delay": arguments.max_delay_ms / 1e3, "contexts": arguments.contexts}
    return [
        Contestant(
            Engine(name, str(paths[name]), detector.device, describe(detector)),
            detector.max_batch,
            partial(queue_client, partial(serve, detector, **options), decode_threads),
        )
        for name, detector in detectors.items()
    ]


def remote_contestants(urls: Sequence[str], stack: ExitStack) -> list[Contestant]:
    """Return the servers by their addresses; the stack closes the connections.

    Raises:
        RetinaFaceError: one of them does not answer, or a package to ask it is missing.
    """
    if not urls:
        return []
    from engine.bench.analysis.points import REMOTE, Engine
    from engine.bench.remote.client import remote_client
    from engine.bench.remote.connect import connect
    from engine.bench.run import Contestant

    if len(set(urls)) < len(urls):
        raise InvalidArgumentError("a --url is given twice: give another each time")
    contestants = []
    for url in urls:
        server = connect(url)
        stack.callback(server.close)
        engine = Engine(url, url, REMOTE, server.description)
        contestants.append(Contestant(engine, 0, partial(remote_client, server)))
    return contestants
