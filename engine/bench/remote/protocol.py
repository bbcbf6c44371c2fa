"""Servers of the Open Inference Protocol, such as Triton, over HTTP or gRPC."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult

import numpy as np

from engine.bench.remote.http import TOKEN
from engine.bench.remote.server import PATIENCE_S, PerThread, RemoteError, Reply, Totals
from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.text import printable, represented

_NANOSECONDS = 1e-9
# Triton's statistics of a model, and what a request does meanwhile.
_STAGES = {"queue": "queueing", "compute_input": "h2d", "compute_infer": "network", "compute_output": "d2h"}


class ProtocolServer:
    """A model that takes picture files as BYTES, through NVIDIA's tritonclient.

    Attributes:
        description: what it is, in words.
    """

    def __init__(self, address: SplitResult, model: str) -> None:
        """Ask the server for the model's inputs.

        Raises:
            InvalidArgumentError: it does not answer, does not have the model, or the model takes no picture files.
        """
        self._is_grpc = address.scheme == "grpc"
        self._address, self._model = address, model
        token = os.environ.get(TOKEN)
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._triton = _client_of(address.scheme)
        self._threads: PerThread[Any] = PerThread(self._open)
        self._shared = self._threads.get()[0] if self._is_grpc else None  # a channel of gRPC serves all threads
        try:
            server = self._call("get_server_metadata")
            metadata = self._call("get_model_metadata", model)
        except Exception as error:
            self.close()
            raise InvalidArgumentError(
                f"{address.geturl()} does not describe a model {represented(model)}: {printable(str(error))}. Expected "
                "a server of the Open Inference Protocol; name another model as http://HOST:PORT/v2/models/NAME"
            ) from error
        self._input, self._shape = _input_of(metadata, model)
        self.description = (
            f"model {represented(model)} of {represented(server['name'])} {represented(server['version'])}, "
            f"Open Inference Protocol over {'gRPC' if self._is_grpc else 'HTTP'}"
        )

    def ask(self, content: bytes) -> Reply:
        """See RemoteServer."""
        picture = self._triton.InferInput(self._input, self._shape, "BYTES")
        picture.set_data_from_numpy(np.array([content], np.object_).reshape(self._shape))
        try:
            self._call("infer", self._model, [picture])
        except self._triton.InferenceServerException as error:
            raise RemoteError(_status(error), printable(str(error.message()))) from error
        return Reply()

    def totals(self) -> Totals | None:
        """Return the model's statistics; None if the server has none, as they are an extension of Triton's."""
        try:
            answer = self._call("get_inference_statistics", self._model)
        except (self._triton.InferenceServerException, OSError):  # it may be gone: what was measured is kept
            return None
        counted = answer["model_stats"][0]["inference_stats"]
        seconds = {
            stage: int(counted.get(name, {}).get("ns", 0)) * _NANOSECONDS  # gRPC leaves out what is 0
            for name, stage in _STAGES.items()
        }
        return Totals(int(counted.get("success", {}).get("count", 0)), seconds)

    def close(self, *, ended: bool = False) -> None:
        """See RemoteServer."""
        self._threads.close(ended=ended)

    def _call(self, name: str, *arguments: Any) -> Any:
        client = self._shared or self._threads.get()[0]
        options: dict[str, Any] = {"headers": self._headers}
        if self._is_grpc and name != "infer":
            options["as_json"] = True
        if self._is_grpc:
            options["client_timeout"] = PATIENCE_S
        return getattr(client, name)(*arguments, **options)

    def _open(self) -> Any:
        options = {} if self._is_grpc else {"connection_timeout": PATIENCE_S, "network_timeout": PATIENCE_S}
        if self._address.scheme == "https":
            options["ssl"] = True
        return self._triton.InferenceServerClient(self._address.netloc, **options)


def _client_of(scheme: str) -> Any:
    """Return the module of tritonclient for a protocol."""
    kind = "grpc" if scheme == "grpc" else "http"
    try:
        return importlib.import_module(f"tritonclient.{kind}")
    except ImportError as error:
        raise RetinaFaceError(f"not installed: tritonclient. Run pip install 'tritonclient[{kind}]'") from error


def _input_of(metadata: Mapping[str, Any], model: str) -> tuple[str, list[int]]:
    """Return the name of the input for picture files, and the shape of a single one."""
    for tensor in metadata["inputs"]:
        if tensor["datatype"] == "BYTES":
            shape = [int(size) for size in tensor["shape"]]
            if all(size in (-1, 1) for size in shape):
                return tensor["name"], [1] * len(shape)
    given = ", ".join(f"{tensor['name']} {tensor['datatype']} {list(tensor['shape'])}" for tensor in metadata["inputs"])
    raise InvalidArgumentError(
        f"model {represented(model)} takes {printable(given)}, expected an input of picture files: BYTES [-1]"
    )


def _status(error: Any) -> int | str:
    """Return the number of HTTP, or the name of gRPC, as tritonclient has them in one text."""
    text = str(error.status()).removeprefix("StatusCode.")
    return int(text) if text.isdigit() else text
