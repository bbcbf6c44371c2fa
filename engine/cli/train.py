"""`retinaface-trt train`: fine-tunes a model on labelled pictures."""

from __future__ import annotations

import argparse
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.arguments import require_packages
from engine.config.formats import FP32, INT8
from engine.errors import InvalidArgumentError
from engine.progress import status_shown
from engine.text import printable
from engine.threads import limited_to
from engine.train.settings import TrainSettings, default_settings
from engine.train.targets.settings import PAPER, PUBLISHED_LOSSES

if TYPE_CHECKING:
    from engine.train.run import Labels, Outcome

SUMMARY = "fine-tune a model on labelled pictures"
_MAX_WORKERS = 256
_SETTINGS = {
    "size": "height and width of the training samples in pixels",
    "widest": "side of the largest square of a picture that a sample shows, in short sides of the picture; above 1 "
    "the sample is padded",
    "epochs": "passes over the pictures",
    "batch": "pictures of a step, of all processes together",
    "learning_rate": "the largest one",
    "momentum": "of SGD",
    "weight_decay": "of the convolutions' weights",
    "warm_up": "steps in which the learning rate grows",
    "schedule": "cosine, or steps: a tenth after .76 and after .88 of the epochs",
    "clip": "largest norm of the gradients; 0 clips nothing",
    "average": "decay of the moving average of the weights, which is judged and saved; 0 averages nothing",
    "freeze": "what is not trained: none, stem, stage1, stage2, ..., body, all-but-heads",
    "focal": "focal loss, in place of hard example mining",
    "keep_landmarks": "hold landmarks that are not labelled to those of the first weights",
    "ignore_unlabelled": "do not teach as background what the first weights find with at least this score and no label "
    "has; 0 teaches all",
    "judge_every": "epochs between two judgements with the validation labels",
    "seed": "of the order of the pictures and of their augmentation",
}
_FORMATS = "JSON lines as `detect` prints them, WIDER FACE's text, a folder of Pascal VOC's XML, or COCO's JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--labels", type=Path, required=True, metavar="FILE|DIR", help=f"faces to learn: {_FORMATS}")
    add("--images", type=Path, metavar="DIR", help="folder of their pictures (default: that of the labels)")
    add("--val-labels", type=Path, metavar="FILE|DIR", help="faces to judge with after each epoch")
    add(
        "--val-images",
        type=Path,
        metavar="DIR",
        help="folder of their pictures (default: --images, else that of the labels)",
    )
    add("--output", type=Path, required=True, metavar="DIR",
        help="folder of the run: weights, config, checkpoint, page with curves, TensorBoard's curves")  # fmt: skip
    add("--resume", action="store_true", help="go on with the run that the folder has; begin one if it has none")
    add("--config", default="mobilenet0.25", metavar="NAME|FILE", help="model (default %(default)s)")
    add(
        "--weights",
        metavar="FILE|NAME",
        help="weights to start from, or 'random' (default: those of the config's name)",
    )
    add(
        "--backbone-weights",
        metavar="FILE",
        help="start from a checkpoint of the backbone alone, such as torchvision's",
    )
    add("--precision", default=FP32.name,
        help="fp32, or int8: train the quantised network, usually from --weights that were trained before, for an INT8 "
        "engine (default %(default)s)")  # fmt: skip
    add("--anchors", choices=("keep", "auto"), default="keep",
        help="auto: give anchors the sizes of the labelled faces, and say what they reach (default keep)")  # fmt: skip
    _add_settings(parser.add_argument_group("settings"))
    add(
        "--loss",
        choices=PUBLISHED_LOSSES,
        default=PAPER,
        help="thresholds and weights of the loss: the paper's, or Pytorch_Retinaface's (default %(default)s)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add("--workers", type=int, default=0, metavar="N",
        help="processes that read pictures (default 0: this one reads them between the steps)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="largest number of CPU threads (default: all cores)")


def _add_settings(group: argparse._ArgumentGroup) -> None:
    defaults, int8 = TrainSettings(), default_settings(INT8.name)
    for name, meaning in _SETTINGS.items():
        default = getattr(defaults, name)
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            group.add_argument(option, action="store_true", help=meaning)
        else:
            other = getattr(int8, name)
            words = f"default {default}" if other == default else f"default {default}; int8: {other}"
            group.add_argument(option, type=type(default), help=f"{meaning} ({words})")


def run(arguments: argparse.Namespace) -> int:
    """Train, and say what to do with the result."""
    require_packages("torch", "tensorboard", "matplotlib", "scipy")
    if not 0 <= arguments.workers <= _MAX_WORKERS:
        raise InvalidArgumentError(f"--workers is {arguments.workers}, expected 0 to {_MAX_WORKERS}")

    import torch

    from engine.train.run import TrainOptions, run_training

    images = arguments.images
    validation = None
    if arguments.val_labels:
        validation = _labels(arguments.val_labels, arguments.val_images or images)
    options = TrainOptions(
        _labels(arguments.labels, images),
        arguments.output,
        validation,
        config=arguments.config,
        weights=arguments.weights,
        backbone=arguments.backbone_weights,
        settings=replace(
            default_settings(arguments.precision),
            **{name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None},
            loss=PUBLISHED_LOSSES[arguments.loss],
        ),
        precision=arguments.precision,
        fit_anchors=arguments.anchors == "auto",
        resume=arguments.resume,
        device=arguments.device,
        workers=arguments.workers,
    )
    with limited_to(arguments.threads) as threads, status_shown() as status:
        torch.set_num_threads(threads)
        outcome = run_training(options, status)
    return _report(outcome, arguments.precision)


def _labels(file: Path, images: Path | None) -> Labels:
    from engine.train.run import Labels

    return Labels(file, images or (file if file.is_dir() else file.parent))


def _report(outcome: Outcome, precision: str) -> int:
    folder = outcome.folder
    if not outcome.finished:
        return 128 + signal.SIGTERM  # another process of the run was told to stop
    if outcome.best is not None:
        print(printable(f"best average precision: {outcome.best:.4f}"))
    build = f"retinaface-trt build --config {folder.config} --weights {folder.model}"
    if precision == INT8.name:
        print(printable(f"trained network: {folder.int8}"))
        build += f" --precision {precision} --calib-cache {folder.int8}"
    else:
        print(printable(f"weights: {folder.model}"))
    print(printable(f"build with: {build}"))
    return 0
