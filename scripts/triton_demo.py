"""Starts Triton with a model repository, asks it for the faces in a photo by HTTP and by gRPC, and ends it.

`triton_demo.py REPOSITORY`, in an environment that scripts/bootstrap-triton made. The photo is scikit-image's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import skimage.data
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray

_PATIENCE_S = 120


def ask(protocol: ModuleType, address: str, photo: bytes) -> NDArray[np.float32]:
    """Return the boxes of the faces in a picture file."""
    picture = protocol.InferInput("encoded", [1, 1], "BYTES")
    picture.set_data_from_numpy(np.array([[photo]], np.object_))
    with protocol.InferenceServerClient(address) as client:
        answer = client.infer("retinaface", [picture], parameters={"max_faces": 10})
    return np.asarray(answer.as_numpy("boxes")[0], np.float32)


def main(repository: Path) -> int:
    """Run the demonstration."""
    photo = (Path(skimage.data.__file__).parent / "astronaut.png").read_bytes()
    ports = {name: _free_port() for name in ("http", "grpc", "metrics")}
    server = start(repository, [f"--{name}-port={port}" for name, port in ports.items()])
    try:
        wait_until_ready(server, f"127.0.0.1:{ports['http']}")
        for protocol, name in ((tritonclient.http, "http"), (tritonclient.grpc, "grpc")):
            boxes = ask(protocol, f"127.0.0.1:{ports[name]}", photo)
            print(f"{name}: {len(boxes)} face at {np.round(boxes[0]).astype(int).tolist()}")
    finally:
        server.terminate()
        status = server.wait(_PATIENCE_S)
    print(f"The server has ended with status {status}. To start it: PYTHON={sys.executable} {repository / 'start'}")
    return status


def start(repository: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Start the server, whose log goes to tritonserver.log beside the repository."""
    with open(repository.parent / "tritonserver.log", "wb") as log:
        command: list[Any] = [repository / "start", *options]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHON": sys.executable})


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Wait until the models are loaded.

    Raises:
        SystemExit: the server has ended, or it takes too long.
    """
    end = time.monotonic() + _PATIENCE_S
    with tritonclient.http.InferenceServerClient(address) as client:  # Triton waits for open connections when it ends
        while server.poll() is None and time.monotonic() < end:
            try:
                if client.is_server_ready():
                    return
            except OSError:
                time.sleep(0.2)
    raise SystemExit("The server does not answer; tritonserver.log says why.")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
