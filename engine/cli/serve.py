"""`retinaface-trt serve`."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields

from engine.cli.arguments import add_device_options, require_packages
from engine.threads import check_threads
from engine.untrusted.limits import MAX_SERVED_PIXELS

SUMMARY = "answer pictures over HTTP"
_TOKEN = "RETINAFACE_TRT_TOKEN"
_MB = 1_000_000
_DETECTOR = ("device", "config", "precision", "score_threshold", "threads", "trust_embedded_plugins")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--engine", required=True, metavar="FILE|NAME",
        help="engine; or weights, by their name or file, whose engine is built at its first use")  # fmt: skip
    add_device_options(parser)
    add("--config", metavar="NAME|FILE", help="for a checkpoint: the settings it was trained with")
    add("--precision", help="for weights: fp16 (the default), fp32, tf32 or bf16")
    add("--score-threshold", type=float, metavar="X", help="faces need a higher score (default: the engine's)")
    add("--threads", type=int, metavar="N", help="CPU threads of a detector (default: all cores)")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all (default %(default)s)")
    add("--port", type=int, default=8000, help="to listen on (default %(default)s)")
    add("--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)")
    add("--replicas", type=int, default=1, metavar="N", help="detectors of a process, which share weights (default 1)")
    add("--max-delay-ms", type=float, default=0.0, metavar="MS",
        help="an image waits so long for others, beside the wait for a detector (default 0)")  # fmt: skip
    add("--max-waiting", type=int, default=256, metavar="N",
        help="images in progress in a process; further ones get status 503 (default %(default)s)")  # fmt: skip
    add("--max-body-mb", type=float, default=32.0, metavar="MB", help="of a request (default %(default)s)")
    add("--max-memory-mb", type=float, default=4096.0, metavar="MB",
        help="of bodies and of decoding, in a process (default %(default)s)")  # fmt: skip
    add("--max-megapixels", type=float, default=MAX_SERVED_PIXELS / 1e6, metavar="MP",
        help="of a picture (default %(default)s)")  # fmt: skip
    add("--max-images", type=int, default=16, metavar="N", help="of a request (default %(default)s)")
    add("--timeout", type=float, default=30.0, metavar="S", help="of a request (default %(default)s)")
    add("--drain", type=float, default=30.0, metavar="S",
        help="time to answer what was accepted, after SIGTERM (default %(default)s)")  # fmt: skip
    add("--allow-reload", action="store_true", help="let POST /admin/reload open the engine's files anew")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it. The token is read from RETINAFACE_TRT_TOKEN, as arguments are seen by all users."""
    require_packages("fastapi", "fastapi_offline", "uvicorn", "httptools", "prometheus_client", "python_multipart")
    from engine.serve.running import serve
    from engine.serve.settings import ServeSettings

    check_threads(arguments.threads)
    given = {
        **{field.name: getattr(arguments, field.name) for field in fields(ServeSettings) if field.name in arguments},
        "detector": tuple((name, getattr(arguments, name)) for name in _DETECTOR),
        "max_delay": arguments.max_delay_ms / 1000,
        "max_body_bytes": int(arguments.max_body_mb * _MB),
        "max_memory_bytes": int(arguments.max_memory_mb * _MB),
        "max_pixels": int(arguments.max_megapixels * 1e6),
        "token": os.environ.get(_TOKEN) or None,  # compose files set what is not given to ""
    }
    serve(ServeSettings(**given))
    return 0
