"""Fine-tune published weights on labelled photos, and measure the engines built from the result.

Usage: python examples/fine_tune_masks.py photos train.jsonl val.jsonl run

Written for a set of small photos of people with masks, 400 pixels wide, with labelled boxes and no landmarks. The
label files are JSON lines, as `retinaface-trt detect` prints them. First the heads and the pyramid learn, then all
layers. One in eight training photos is not trained on: these choose the best epoch, so that the validation photos only
judge. The same command goes on where it was stopped. docs/training.md has the result.

With `--config mobilenet0.25-masks` faces get classes, those of their "label" or "class", which are judged too. What
tells them apart has to be learned by all layers, in more steps: both stages train all, first with faces shown larger.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import main as retinaface_trt
from engine.config.files import find_config

SETTINGS = ["--size", "416", "--loss", "upstream", "--keep-landmarks", "--ignore-unlabelled", "0.5"]
SETTINGS += ["--judge-every", "5"]
# Of both stages: epochs, and settings.
ONE_CLASS = (
    (5, ["--freeze", "body", "--widest", "2", "--learning-rate", "0.005"]),
    (10, ["--widest", "2", "--learning-rate", "0.005"]),
)
CLASSES = (
    (40, ["--batch", "8", "--clip", "20", "--widest", "1.5", "--learning-rate", "0.012"]),
    (36, ["--batch", "8", "--clip", "20", "--widest", "2", "--learning-rate", "0.01", "--warm-up", "100"]),
)


def command(*arguments: object) -> None:
    """Run a command of `retinaface-trt`; exit if it fails."""
    words = [str(argument) for argument in arguments]
    print("$ retinaface-trt", *words, flush=True)
    status = retinaface_trt(words)
    if status:
        sys.exit(status)


def pick(photos: Path, lines: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """Write some lines of labels to a file, and copy their photos to a folder; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in lines:
        shutil.copy(photos / json.loads(line)["image"], folder)
    labels = folder.with_suffix(".jsonl")
    labels.write_text("\n".join(lines))
    return labels, folder


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Fine-tune on labelled photos, and measure the engines.")
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("train", type=Path, help="labels to learn from, JSON lines")
    parser.add_argument("val", type=Path, help="labels to judge with, JSON lines")
    parser.add_argument("run", type=Path, help="folder for all results")
    parser.add_argument(
        "--config", default="mobilenet0.25", help="what to train: a preset or a file (default %(default)s)"
    )
    parser.add_argument("--weights", default="mobilenet0.25-upstream", help="default %(default)s")
    parser.add_argument("--epochs", type=int, nargs=2, help="of both stages (default 5 10; with classes 40 36)")
    parser.add_argument("--precision", nargs="+", default=["fp16", "int8"], help="of engines (default fp16 int8)")
    arguments = parser.parse_args()
    run = arguments.run
    stages = CLASSES if len(find_config(arguments.config).classes) > 1 else ONE_CLASS
    epochs = arguments.epochs or [number for number, _ in stages]

    lines = arguments.train.read_text().splitlines()
    labels, learned = pick(arguments.photos, [line for i, line in enumerate(lines) if i % 8], run / "learned")
    held_labels, held_out = pick(arguments.photos, lines[::8], run / "held_out")
    val_labels, judged = pick(arguments.photos, arguments.val.read_text().splitlines(), run / "judged")

    sets = ["--labels", labels, "--images", learned, "--val-labels", held_labels, "--val-images", held_out]
    train = ["train", "--config", arguments.config, *sets, *SETTINGS, "--resume"]
    first, full = run / "first", run / "all"
    command(*train, *stages[0][1], "--weights", arguments.weights, "--epochs", epochs[0], "--output", first)
    command(*train, *stages[1][1], "--weights", first / "model.pth", "--epochs", epochs[1], "--output", full)

    trained = ["--config", full / "config.json", "--weights", full / "model.pth"]
    for name, model in (("before", ["--weights", arguments.weights]), ("after", trained)):
        engines = [run / f"{name}_{precision}.engine" for precision in ("fp32", *arguments.precision)]
        for engine, precision in zip(engines, ("fp32", *arguments.precision), strict=True):
            calibration = ["--calib-dir", learned] if precision == "int8" else []
            command("build", *model, "--precision", precision, *calibration, "--output", engine)
        compared = [word for engine in engines[1:] for word in ("--engine", engine)]
        pictures = ["--images", judged, "--labels", val_labels, "--html", run / f"{name}.html"]
        command("evaluate", "agreement", "--reference", engines[0], *compared, *pictures)


if __name__ == "__main__":
    main()
