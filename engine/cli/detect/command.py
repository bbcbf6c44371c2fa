"""The options of `detect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.arguments import add_device_options
from engine.types import DEFAULT_SCORE_THRESHOLD

SUMMARY = "find faces in pictures, videos and cameras"
_ENGINE = "mobilenet0.25"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a detection."""
    add = parser.add_argument
    add("--engine", default=_ENGINE, metavar="FILE|NAME",
        help="engine; or weights, by file or name: theirs is built once, and kept (default %(default)s)")  # fmt: skip
    add("--config", metavar="NAME|FILE", help="of weights: the model that they are of")
    add("--precision", help="of weights: fp16 (default), fp32, tf32 or bf16")
    add("--threads", type=int, metavar="N", help="largest number of CPU threads (default: all cores)")
    add_device_options(parser)
    faces = parser.add_argument_group("faces")
    add = faces.add_argument
    add("--score-threshold", type=float, metavar="S",
        help=f"show faces with a score above it (default {DEFAULT_SCORE_THRESHOLD})")  # fmt: skip
    add("--min-size", type=float, metavar="PX", help="leave out boxes with a shorter side of so many pixels or fewer")
    add("--max-faces", type=int, metavar="N", help="show at most so many faces of a picture, the best")
    output = parser.add_argument_group("output, beside a line of JSON on stdout for each picture or frame")
    add = output.add_argument
    add("--annotate", type=Path, metavar="DIR", help="write each picture with its faces marked to this folder, as PNG")
    add("--crops", type=Path, metavar="DIR", help="write the part of the picture around each face, as PNG")
    add("--align", type=Path, metavar="DIR", help="write each face, turned upright, in 112 x 112 pixels, as PNG")
    add("--meshes", action="store_true", help="put meshes into the JSON, if the engine gives some")
    add("--save-video", type=Path, metavar="FILE", help="write the one video that is given with its faces marked")
    parser.add_argument("--retries", type=int, metavar="N", default=0,
        help="open a broken camera or address again, up to so many times in a row (default %(default)s)")  # fmt: skip
    parser.add_argument("--recursive", action="store_true", help="look in the subfolders of folders, too")
    parser.add_argument("inputs", nargs="+", metavar="INPUT",
        help="picture, video, folder of these, pattern, camera:N, address (rtsp://...), or - for a list of "
        "these on standard input, one a line")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print the faces of each picture and frame; name what is unusable on stderr, and return 1 if anything is."""
    from engine.cli.detect.work import detect  # needs OpenCV

    return detect(arguments)
