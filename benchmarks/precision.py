"""Quantises a network with each technique on and off, and writes the table of docs/precision.md.

    python -m benchmarks.precision --sources DIR --photos DIR [--weights FILE]        # rewrites the table

Calibration uses generated pictures only: faces cut from the photos of --sources, on drawn textures. The evaluation uses
the photos of --photos and pictures generated from them, that is, faces that calibration did not use. It compares Q/DQ
graphs with the float32 network in ONNX Runtime, on the CPU, and takes about 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from rich.console import Console

from benchmarks.kernels import document
from engine.config.detection import InputSize, Thresholds
from engine.config.formats import QUANTISED_PRECISIONS
from engine.config.presets import preset
from engine.export.network import export_network
from engine.images import list_images, read_image
from engine.metrics.agreement import Agreement, agreement
from engine.model.weights.load import load_model
from engine.pictures.compose import compose
from engine.pictures.faces import LabelledImage
from engine.precision.convert import to_precision
from engine.precision.options import Conversion, QuantisationOptions, Techniques, TypedNetwork
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.types import Image

DOCUMENT = document.ROOT / "docs" / "precision.md"
TABLE = "precision table"
HEADER = [
    "precision", "8-bit MACs", "faces", "box IoU mean (95 %)", "p5", "min", "score change mean, max", "lost", "new",
]  # fmt: skip
SIZE = (640, 640)
CALIBRATION_IMAGES = 100
JUDGED_IMAGES = 40
_OFF = float("inf")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: first cell of the row.
        precision: one of engine.config.formats.PRECISIONS.
        techniques: techniques of quantisation.
        max_loss: the loss budget; infinity disables it, None is the default.
        draw: seed of the calibration pictures.
        voting: whether NMS averages suppressed boxes into the one that suppresses them (float32 reference too).
    """

    name: str
    precision: str
    techniques: Techniques = field(default_factory=Techniques)
    max_loss: float | None = _OFF
    draw: int = 1
    voting: bool = False


_PLAIN = {"equalise": False, "round_weights": False}
ROWS = (
    Row("FP16", "fp16"),
    Row("BF16", "bf16"),
    Row("... without rounding of weights", "bf16", Techniques(round_weights=False)),
    Row("INT8, max ranges alone", "int8", Techniques(method="max", **_PLAIN)),
    Row("INT8, percentile alone", "int8", Techniques(method="percentile", **_PLAIN)),
    Row("INT8, MSE alone", "int8", Techniques(method="mse", **_PLAIN)),
    Row("INT8, entropy alone", "int8", Techniques(method="entropy", **_PLAIN)),
    Row("INT8, `--max-loss off`", "int8"),
    Row("... without equalisation", "int8", Techniques(equalise=False)),
    Row("... with max ranges instead of importance", "int8", Techniques(method="max")),
    Row("... without rounding of weights", "int8", Techniques(round_weights=False)),
    Row("INT8, default", "int8", max_loss=None),
    Row("... from other calibration pictures", "int8", max_loss=None, draw=2),
    Row("... and from others again", "int8", max_loss=None, draw=3),
    Row("INT8, `--max-loss off`, `--voting`", "int8", voting=True),
    Row("INT8, default, `--voting`", "int8", max_loss=None, voting=True),
    Row("... from other calibration pictures", "int8", max_loss=None, draw=2, voting=True),
    Row("... and from others again", "int8", max_loss=None, draw=3, voting=True),
    Row("FP8, `--max-loss off`", "fp8"),
    Row("FP8, default", "fp8", max_loss=None),
    Row("mixed (INT8, FP8, FP16), default", "mixed", max_loss=None),
)


def main(arguments: list[str] | None = None) -> int:
    """Quantise, evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True, help="photos with the faces for calibration pictures")
    parser.add_argument("--photos", type=Path, required=True, help="photos for the evaluation")
    parser.add_argument("--weights", help="weights of mobilenet0.25 (default: the published ones)")
    options = parser.parse_args(arguments)
    config = preset("mobilenet0.25")
    model, _ = load_model(config, options.weights)
    network = export_network(model, InputSize.fixed(*SIZE))
    detector = NetworkDetector(network, config, SIZE)
    photos = [read_image(path) for path in list_images(options.photos)]
    judged = [*photos, *_composed(_labelled(detector, photos), JUDGED_IMAGES, 7)]
    thresholds = {voting: Thresholds(voting=voting) for voting in (False, True)}
    reference = {
        voting: NetworkDetector(network, config, SIZE, thresholds=chosen).detect(judged)
        for voting, chosen in thresholds.items()
    }
    console = Console(stderr=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, console.status("Composing") as status:
        sources = _labelled(detector, [read_image(path) for path in list_images(options.sources)])
        for draw in {row.draw for row in ROWS}:
            (Path(folder) / str(draw)).mkdir()
            for i, picture in enumerate(_composed(sources, CALIBRATION_IMAGES, draw)):
                cv2.imwrite(str(Path(folder) / str(draw) / f"{i:03}.png"), picture)
        for row in ROWS:
            calibrated = QuantisationOptions(
                Path(folder) / str(row.draw), CALIBRATION_IMAGES, techniques=row.techniques, max_loss=row.max_loss
            )
            plain = QuantisationOptions(techniques=row.techniques)
            conversion = Conversion(
                network,
                config,
                row.precision,
                SIZE,
                calibrated if row.precision in QUANTISED_PRECISIONS else plain,
                thresholds=thresholds[row.voting],
                on_stage=lambda stage, name=row.name: status.update(f"{name}: {stage}"),  # type: ignore[misc]
            )
            typed = to_precision(conversion)
            found = NetworkDetector(typed.on_cpu, config, SIZE, thresholds=thresholds[row.voting]).detect(judged)
            rows.append([row.name, _share(typed), *_columns(agreement(reference[row.voting], found))])
            print(*rows[-1], sep="  ", flush=True)
    document.write(TABLE, document.table(HEADER, rows), DOCUMENT)
    return 0


def _labelled(detector: NetworkDetector, photos: list[Image]) -> list[LabelledImage]:
    """Return the photos with faces of a score above 0.8 in the float32 network, and those faces' boxes."""
    faces = detector.detect(photos, score_threshold=0.8)
    return [LabelledImage(image, found.boxes) for image, found in zip(photos, faces, strict=True) if len(found.boxes)]


def _composed(sources: list[LabelledImage], count: int, seed: int) -> Iterator[Image]:
    return (picture.image for picture in compose(sources, (), count, SIZE, seed))


def _share(typed: TypedNetwork) -> str:
    counted = typed.evidence.get("convolutions")
    return "" if counted is None else f"{counted['macs_share']:.1%}"


def _columns(measured: Agreement) -> list[str]:
    iou, change, present = measured.iou, measured.score_change, measured.at(0.5)
    assert iou is not None
    assert change is not None
    return [
        str(measured.faces),
        f"{iou.mean:.4f} ({iou.mean_low:.4f} to {iou.mean_high:.4f})",
        f"{iou.p5:.3f}",
        f"{iou.minimum:.3f}",
        f"{change.mean:.4f}, {change.maximum:.3f}",
        str(present.lost),
        str(present.new),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
