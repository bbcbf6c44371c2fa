"""`retinaface-trt bench`: load on engines."""

from engine.cli.bench.command import SUMMARY, add_arguments, run

__all__ = ["SUMMARY", "add_arguments", "run"]
