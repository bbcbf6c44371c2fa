"""What every export with PyTorch's exporter needs: silence, and networks without its traces."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter's progress and its messages about optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def remove_traces(network: onnx.ModelProto) -> None:
    """Remove the exporter's metadata: stack traces, names of source files."""
    graph = network.graph
    del network.metadata_props[:], graph.metadata_props[:], network.functions[:], graph.value_info[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
