"""A server in threads of this process that answers picture files with known delays, over HTTP and gRPC."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as services


@dataclass
class Script:
    """What a server does.

    Attributes:
        name: that it gives itself.
        network_s: seconds that it works on a request, as it says.
        other_s: seconds that it takes beside that, which it does not say.
        timing: whether it says so, in each answer and in statistics.
        refuse: of so many requests, one is refused.
        bodies: of the requests, so far.
        connections: made so far.
    """

    name: str = "retinaface-trt"
    network_s: float = 0.004
    other_s: float = 0.0
    timing: bool = True
    refuse: int = 0
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, body: bytes) -> bool:
        """Take the time of a request; return whether it is answered."""
        with self.lock:
            self.bodies.append(body)
            refused = self.refuse > 0 and len(self.bodies) % self.refuse == 0
        time.sleep(self.network_s + self.other_s)
        return not refused

    @property
    def metadata(self) -> dict[str, Any]:
        """Of the model."""
        inputs = [
            {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
            {"name": "encoded", "datatype": "BYTES", "shape": [-1, 1]},
        ]
        return {"name": "retinaface", "versions": ["1"], "platform": "test", "inputs": inputs, "outputs": []}

    @property
    def statistics(self) -> dict[str, dict[str, int]]:
        """Of the model."""
        count = len(self.bodies)
        nanoseconds = {"queue": 0, "compute_input": 0, "compute_infer": self.network_s * 1e9, "compute_output": 0}
        stages = {name: {"count": count, "ns": int(count * each)} for name, each in nanoseconds.items()}
        return {"success": {"count": count, "ns": 1}, **stages}


@contextmanager
def http_server(script: Script) -> Iterator[str]:
    """Run a server of HTTP; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            script.connections += 1

        def do_GET(self) -> None:
            model = script.metadata
            answers = {
                "/v2": {"name": script.name, "version": "1", "extensions": []},
                "/v2/models/retinaface": model,
                "/v2/models/pixels": {**model, "inputs": model["inputs"][:1]},
                **({"/v2/models/retinaface/stats": {"model_stats": [{"inference_stats": script.statistics}]}}
                   if script.timing else {}),
            }  # fmt: skip
            found = answers.get(self.path)
            self._answer(404 if found is None else 200, json.dumps(found or {"error": "not there"}).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not script.work(body):
                self._answer(503, b'{"error": "too many"}')
            elif self.path.startswith("/v2"):
                self._answer(200, b'{"model_name": "retinaface", "outputs": []}')
            else:
                self._answer(200, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if script.timing:
                timing = f'network;dur={script.network_s * 1000}, undo-letterbox;dur=0, bad;dur=., batch;desc="3"'
                self.send_header("Server-Timing", timing)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_server(script: Script) -> Iterator[str]:
    """Run a server of gRPC; yields its address."""

    class Servicer(services.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            return messages.ServerMetadataResponse(name=script.name, version="1")

        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            inputs = [messages.ModelMetadataResponse.TensorMetadata(**each) for each in script.metadata["inputs"]]
            return messages.ModelMetadataResponse(name=request.name, inputs=inputs)

        def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
            counted = {name: messages.StatisticDuration(**values) for name, values in script.statistics.items()}
            statistics = messages.ModelStatistics(name=request.name, inference_stats=counted)
            return messages.ModelStatisticsResponse(model_stats=[statistics])

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            if not script.work(request.raw_input_contents[0]):
                context.abort(grpc.StatusCode.UNAVAILABLE, "too many")
            return messages.ModelInferResponse(model_name=request.model_name)

    server = grpc.server(ThreadPoolExecutor(4))
    services.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
