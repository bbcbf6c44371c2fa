"""`retinaface-trt detect`: pictures, folders, lists, videos and cameras in, JSON lines and pictures out."""

from engine.cli.detect.command import SUMMARY, add_arguments, run

__all__ = ["SUMMARY", "add_arguments", "run"]
