"""From an address to a server."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.parse import SplitResult, urlsplit

from engine.bench.remote.http import Connections, HttpServer
from engine.bench.remote.protocol import ProtocolServer
from engine.bench.remote.server import RemoteServer
from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.text import printable, represented

OURS = "retinaface-trt"
_MODEL = "retinaface"
_MODELS = "/v2/models/"
_EXPECTED = "http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT"


def connect(url: str) -> RemoteServer:
    """Find out what answers at an address.

    - grpc://HOST:PORT/MODEL, http://HOST:PORT/v2/models/MODEL: a model of the Open Inference Protocol.
    - http://HOST:PORT/PATH: whatever takes picture files as bodies, and answers 200.
    - http://HOST:PORT: our own service, asked at /detect; else the model `retinaface` of the Open Inference Protocol.

    Raises:
        InvalidArgumentError: it is no such address, or the server there has no such model.
        RetinaFaceError: nothing answers there.
    """
    address = _parse(url)
    path = address.path.rstrip("/")
    if address.scheme == "grpc":
        return ProtocolServer(address, path.strip("/") or _MODEL)
    if path.startswith(_MODELS):
        return ProtocolServer(address, path.removeprefix(_MODELS))
    connections = Connections(address)
    if path:
        whole = address.path + (f"?{address.query}" if address.query else "")
        return HttpServer(connections, whole, f"picture files to {represented(path)} over HTTP")
    metadata = _metadata(url, connections)
    if metadata.get("name") != OURS:
        connections.close()
        return ProtocolServer(address, _MODEL)
    return HttpServer(connections, "/detect", f"{OURS} serve {represented(metadata.get('version'))}, POST /detect")


def _parse(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        good = address.scheme in ("http", "https", "grpc") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:  # the port is no number
        good = False
    if not good:
        raise InvalidArgumentError(f"--url is {represented(url)}, expected {_EXPECTED}")
    if "@" in address.netloc:
        raise InvalidArgumentError("--url has a name or a password, which would be written to the results")
    return address


def _metadata(url: str, connections: Connections) -> dict[str, object]:
    """Return what the server says about itself; nothing if it does not speak the protocol."""
    try:
        _, body = connections.request("GET", "/v2")
    except (OSError, HTTPException) as error:
        connections.close()
        raise RetinaFaceError(
            f"nothing answers at {printable(url)}: {printable(str(error))}. Is it running?"
        ) from error
    try:
        metadata = json.loads(body)
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}
