"""Compares the ways to run a quantised network on the CPU; writes a table of docs/performance.md.

    python -m benchmarks.cpu.quantised --calibrate DIR --photos DIR [--document]

Quantises mobilenet0.25 with the pictures of --calibrate. Each way to run the result is compared with the float32
network on the pictures of --photos: accuracy and time. Set ONEDNN_MAX_CPU_ISA=AVX2 in the environment to measure what a
processor without VNNI does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.cpu.side_by_side import time_in_turn
from benchmarks.kernels import document
from engine.config.detection import InputSize, Thresholds
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.export.network import export_network
from engine.faces import Detections
from engine.images import list_images, read_image
from engine.metrics.agreement import agreement
from engine.model.weights.load import load_model
from engine.precision.convert import to_precision
from engine.precision.options import Conversion, QuantisationOptions
from engine.runtime.cpu.openvino import OpenVinoRuntime
from engine.runtime.cpu.ort import OnnxRuntime
from engine.runtime.cpu.protocol import CpuRuntime, CpuSettings, Runner
from engine.runtime.cpu.session import detect
from engine.runtime.letterbox import Letterbox
from engine.threads import check_threads
from engine.types import FloatArray, Image

DOCUMENT = document.ROOT / "docs" / "performance.md"
TABLE = "quantised on the CPU"
HEADER = [
    "", "time / fp32's", "RMS of the logits from fp32", "from the graph", "faces", "1 - box IoU", "landmark error",
    "score change", "lost, new",
]  # fmt: skip
MODES: dict[str, float | None] = {"INT8, default": None, "INT8, `--max-loss off`": float("inf")}
WRITTEN = "the graph as written: ONNX Runtime, no optimisation"
_TIMED_PHOTOS, _ROUNDS = 4, 15


def main(arguments: list[str] | None = None) -> int:
    """Quantise, compare, print the table."""
    options = _parse(arguments)
    config = preset("mobilenet0.25")
    model, _ = load_model(config, options.weights)
    exported = export_network(model, InputSize.fixed(*options.input_size))
    photos = [read_image(path) for path in list_images(options.photos)][: options.limit]
    float32 = exported.SerializeToString()
    rows: list[list[object]] = []
    for mode, max_loss in MODES.items():
        calibration = QuantisationOptions(options.calibrate, max_loss=max_loss)
        typed = to_precision(Conversion(exported, config, "int8", options.input_size, calibration))
        network = typed.on_cpu.SerializeToString()
        settings = CpuSettings(
            tuple(config.head_names()), "int8", check_threads(1), options.input_size, config.mean, config.std
        )
        fp32 = _Way(OpenVinoRuntime(float32, settings), config, options.input_size)
        ways = {name: _Way(load(network, settings), config, options.input_size) for name, load in WAYS.items()}
        for row in _judge(fp32, ways, photos):
            rows.append([f"{mode}: {row[0]}", *row[1:]])
            print(*rows[-1], sep="  ", flush=True)
    text = document.table(HEADER, rows)
    if options.document:
        document.write(TABLE, text, DOCUMENT)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--calibrate", type=Path, required=True, metavar="DIR", help="photos for calibration")
    add("--photos", type=Path, required=True, metavar="DIR", help="other photos, for the comparison")
    add("--limit", type=int, default=200, help="photos of --photos at most (default %(default)s)")
    add("--weights", help="weights of mobilenet0.25 (default: the published ones)")
    add("--input-size", type=int, nargs=2, default=(640, 640), metavar=("H", "W"), help="(default 640 640)")
    add("--document", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args(arguments)
    options.input_size = tuple(options.input_size)
    return options


def _as_read(network: bytes, settings: CpuSettings) -> CpuRuntime:
    """Return OpenVINO without the correction that the session makes after OpenVINO has read the file."""
    with patch("engine.runtime.cpu.openvino.fold_scales"):
        return OpenVinoRuntime(network, settings)


WAYS: dict[str, Callable[[bytes, CpuSettings], CpuRuntime]] = {
    WRITTEN: lambda network, settings: OnnxRuntime(network, settings, optimise=False),
    "ONNX Runtime": OnnxRuntime,
    "OpenVINO, as it reads the file": _as_read,
    "OpenVINO, 8-bit kernels": OpenVinoRuntime,
    "OpenVINO, quantised values in float32": lambda network, settings: OpenVinoRuntime(
        network, settings, kernels="float32"
    ),
}


class _Way:
    """A runtime with letterbox, decoding and NMS."""

    def __init__(self, runtime: CpuRuntime, config: RetinaFaceConfig, size: tuple[int, int]) -> None:
        self._last, self._config = runtime.channels_last, config
        self._letterbox = Letterbox(size, config, enlarge=False)
        self._runner: Runner = runtime.runner(alone=True)
        self._buffer = self._runner.input(*size)

    def run(self, image: Image) -> list[FloatArray]:
        """Run the network; the next run overwrites the heads that this one returns."""
        self._letterbox.fill(self._buffer, [image], channels_last=self._last, threads=1)
        return self._runner.run()

    def faces(self, image: Image, heads: list[FloatArray]) -> Detections:
        """Decode the heads of an image."""
        raw = detect(heads, self._config, Thresholds())
        return self._letterbox.to_images(raw, [image], 0.0)[0]

    def logits(self, heads: list[FloatArray]) -> FloatArray:
        """Return all class logits as one vector."""
        named = zip(self._config.head_names(), heads, strict=True)
        return np.concatenate([head.ravel() for name, head in named if name.startswith("logits")])


def _judge(fp32: _Way, ways: Mapping[str, _Way], photos: list[Image]) -> list[list[str]]:
    reference: list[Detections] = []
    found: dict[str, list[Detections]] = {name: [] for name in ways}
    squares = {name: np.zeros(2) for name in ways}
    count = 0
    for photo in photos:
        heads = fp32.run(photo)
        reference.append(fp32.faces(photo, heads))
        exact = fp32.logits(heads)
        written = np.zeros_like(exact)
        count += exact.size
        for name, way in ways.items():
            heads = way.run(photo)
            found[name].append(way.faces(photo, heads))
            logits = way.logits(heads)
            written = logits if name == WRITTEN else written
            squares[name] += [np.square(logits - other).sum() for other in (exact, written)]
    times = _times({"fp32": fp32, **ways}, photos[:_TIMED_PHOTOS])
    return [
        [
            name,
            times[name],
            *(f"{value:.3f}" for value in np.sqrt(squares[name] / count)),
            *_columns(agreement(reference, found[name])),
        ]
        for name in ways
    ]


def _columns(measured: Any) -> list[str]:
    present = measured.at(0.5)
    return [
        str(measured.faces),
        f"{1 - measured.iou.mean:.4f}",
        f"{measured.landmark_error.mean:.4f}",
        f"{measured.score_change.mean:.4f}",
        f"{present.lost}, {present.new}",
    ]


def _times(ways: Mapping[str, _Way], photos: list[Image]) -> dict[str, str]:
    def run_all(way: _Way) -> Callable[[], object]:
        return lambda: [way.run(photo) for photo in photos]

    seconds = time_in_turn({name: run_all(way) for name, way in ways.items()}, _ROUNDS)
    return {name: f"{np.median(seconds[name] / seconds['fp32']):.2f}" for name in ways}


if __name__ == "__main__":
    raise SystemExit(main())
