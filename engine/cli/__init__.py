"""The command line: `retinaface-trt`, `python -m engine` and the scripts at the top of the repository."""

from engine.cli.main import bench_main, build_main, main

__all__ = ["bench_main", "build_main", "main"]
