"""The command line: `retinaface-trt`, `python -m engine` and the scripts at the top of the repository."""

from engine.cli.main import build_main, main

__all__ = ["build_main", "main"]
