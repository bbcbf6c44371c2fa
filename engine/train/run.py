"""A whole training run: labels and weights in, a folder out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.files import find_config
from engine.config.formats import FP32
from engine.config.heads import FIVE_MIRRORED
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.progress import Status
from engine.train.anchors.fitting import fitted_to
from engine.train.checkpoints import Beginning, Checkpoint, Given, restore
from engine.train.distributed import Processes, joined
from engine.train.finding.unlabelled import without_unlabelled
from engine.train.folder import RunFolder, digest_of
from engine.train.freezing import NONE
from engine.train.judge import Judge
from engine.train.labels.labelled import LabelledPicture
from engine.train.labels.reading import read_labels
from engine.train.loop import Task, Training
from engine.train.quantised.network import QuantisedNetwork
from engine.train.quantised.start import calibrated, check_precision, uncalibrated
from engine.train.report.watching import Shown
from engine.train.samples import TrainingSet
from engine.train.settings import TrainSettings
from engine.train.start import (
    INT8_PRECISION,
    KEEP_LANDMARKS,
    check_one_start,
    check_same_labels,
    check_same_weights,
    starting_network,
)
from engine.train.targets.loss import MultiTaskLoss
from engine.train.targets.network import TrainedNetwork
from engine.train.unfolding import some_images, unfold
from engine.writing.signals import signals_deferred


@dataclass(frozen=True)
class Labels:
    """Where labelled pictures are.

    Attributes:
        file: of the labels, or a folder of Pascal VOC's files.
        pictures: folder of the pictures.
    """

    file: Path
    pictures: Path


@dataclass(frozen=True)
class TrainOptions:
    """What to train.

    Attributes:
        training: what is learned from.
        folder: of the run, of which the first process alone needs to see it; made if it is missing.
        validation: what is judged after each epoch; None judges nothing.
        config: name of a preset, or path of a config's file.
        weights: to start from, see load_model. A run that goes on needs none, and refuses others than it began with.
        backbone: checkpoint of the body alone, in place of `weights`.
        settings: of the training.
        fit_anchors: whether anchors get the sizes of the labelled faces, see estimate_anchors.
        precision: "fp32"; or "int8", which trains the network with the rounding of INT8 in it.
        resume: whether to go on with the run that the folder has, if it has one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: processes that read pictures.
    """

    training: Labels
    folder: Path
    validation: Labels | None = None
    config: str | RetinaFaceConfig = "mobilenet0.25"
    weights: str | None = None
    backbone: str | None = None
    settings: TrainSettings = field(default_factory=TrainSettings)
    fit_anchors: bool = False
    precision: str = FP32.name
    resume: bool = False
    device: str = "auto"
    workers: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        folder: of the run.
        finished: whether it came to its end; a run that was stopped can be resumed.
        best: the best average precision on the validation labels, None without.
    """

    folder: RunFolder
    finished: bool
    best: float | None


def run_training(options: TrainOptions, status: Status) -> Outcome:
    """Train, or go on with a run.

    SIGINT and SIGTERM end the running step, then a checkpoint is written, and then the signal is what it was before.

    Args:
        options: what to train.
        status: where progress is shown.

    Raises:
        InvalidArgumentError: an option, or the folder's checkpoint, does not fit.
        WeightsError: the weights do not fit the config.
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OutputError: a file could not be written.
    """
    with joined(options.device) as processes:
        return _run(options, processes, status)


def _run(options: TrainOptions, processes: Processes, status: Status) -> Outcome:
    settings, folder, is_first = options.settings, RunFolder(options.folder), not processes.rank
    config = _checked_config(options)
    made_with = {
        "precision": options.precision,
        "config": config.to_dict(),
        "fit anchors": options.fit_anchors,
        **settings.to_dict(),
    }
    checkpoint = processes.of_first(lambda: _opened(folder, options, made_with))
    pictures = _read(options.training, "training", config)
    _check_taught(options, pictures, config)
    judged = [] if options.validation is None else _read(options.validation, "validation", config)
    first, began = _begin(options, config, checkpoint, (pictures, judged))
    learned = pictures
    if settings.ignore_unlabelled:
        learned = without_unlabelled(pictures, first, settings.ignore_unlabelled, processes, status)
    samples = TrainingSet(learned, config, settings.size, settings.seed, widest=settings.widest)
    if options.fit_anchors and checkpoint is None:
        began = replace(began, config=fitted_to(config, samples, status))
    first.config = began.config
    kept = None if checkpoint is None else began.kept
    network = _to_train(options.precision, first, kept, samples, processes, status)
    judge = Judge(judged, began.config, processes) if judged else None
    if isinstance(network, QuantisedNetwork) and checkpoint is None:
        began = replace(began, kept=network.kept)
        if judge is not None:
            began = replace(began, average_precision=_before(judge, (first, network), processes, status))
    task = Task(
        network,
        network if isinstance(network, QuantisedNetwork) else TrainedNetwork(network),
        MultiTaskLoss(began.config, focal=settings.focal, settings=settings.loss, positives_of_all=processes.mean),
        samples,
        settings,
        made_with,
        began,
        options.workers,
        first.requires_grad_(False) if settings.keep_landmarks else None,
        first.state_dict() if _needs_first(options) else {},
    )
    run = Training(task, processes, folder, judge)
    if checkpoint is not None:
        run.resume(checkpoint)
    elif is_first:
        folder.write_start(made_with, began)
        if isinstance(network, QuantisedNetwork):
            folder.write_model(first.state_dict())
            folder.write_best(network)
    status.keep(_described(began, pictures, judged))
    with signals_deferred() as received:
        with closing(Shown(task, folder, judge, status, run.done)) if is_first else nullcontext() as watcher:
            finished = run.run(watcher, lambda: bool(received))
        if not finished:
            status.keep(f"stopped; the same command with --resume goes on from {folder.last}")
    if finished and run.best is not None and run.best == began.average_precision:
        status.keep("no epoch was better than the calibrated network, which is kept: try a lower --learning-rate")
    return Outcome(folder, finished, run.best)


def _checked_config(options: TrainOptions) -> RetinaFaceConfig:
    """Return the config, if the options go together."""
    config = find_config(options.config)
    check_one_start(options.weights, options.backbone)
    refused = {
        "--anchors auto": options.fit_anchors,
        "--freeze": options.settings.freeze != NONE,
        "--backbone-weights": bool(options.backbone),
    }
    check_precision(options.precision, config, [option for option, is_given in refused.items() if is_given])
    if options.settings.keep_landmarks:
        _check_teacher(options, config)
    return config


def _check_taught(options: TrainOptions, pictures: Sequence[LabelledPicture], config: RetinaFaceConfig) -> None:
    """Raise InvalidArgumentError if no face of the training labels has what a head learns.

    The five points of faces may stay as they are, since published weights have them.
    """
    file, begin = options.training.file, 0
    are_learned = config.num_points and config.mirrored_points != FIVE_MIRRORED and not options.settings.keep_landmarks
    if are_learned and all(np.isnan(picture.landmarks).any((1, 2)).all() for picture in pictures):
        raise InvalidArgumentError(
            f"config {config.name} has {config.num_points} points, but no face of the labels {file} has them: give "
            "them in JSON lines or as COCO's keypoints, or keep those of the weights with --keep-landmarks"
        )
    for head in config.values:
        given = np.concatenate([picture.values for picture in pictures if picture.values is not None])
        if np.isnan(given[:, begin : begin + head.size]).all():
            raise InvalidArgumentError(
                f"config {config.name} has a head {head.name!r}, but no face of the labels {file} has values for it: "
                f'give them as "values": {{"{head.name}": [...]}} in JSON lines, or take a config without that head'
            )
        begin += head.size


def _needs_first(options: TrainOptions) -> bool:
    """Return whether a run that goes on needs the weights that it started from."""
    return options.settings.keep_landmarks or options.settings.ignore_unlabelled > 0


def _opened(folder: RunFolder, options: TrainOptions, made_with: dict[str, Any]) -> Checkpoint | None:
    """Make the folder of a run that begins; return the checkpoint of one that goes on, if it is of the same run."""
    folder.begin(resume=options.resume)
    if not (options.resume and folder.last.exists()):
        return None
    checkpoint = Checkpoint.read(folder.last)
    checkpoint.check(made_with, folder.last)
    check_same_weights(checkpoint.began, options.weights, options.backbone, folder.path)
    if options.precision != FP32.name:
        folder.check_int8()
    return checkpoint


def _begin(
    options: TrainOptions,
    config: RetinaFaceConfig,
    checkpoint: Checkpoint | None,
    labelled: tuple[list[LabelledPicture], list[LabelledPicture]],
) -> tuple[RetinaFace, Beginning]:
    """Return the network as it was at first, and what the run begins or began with.

    One that goes on has no values in the network, unless they are needed.
    """
    training = Given(str(options.training.file), digest_of(labelled[0]))
    validation = None if options.validation is None else Given(str(options.validation.file), digest_of(labelled[1]))
    if checkpoint is None:
        only = KEEP_LANDMARKS if options.settings.keep_landmarks else None
        if options.precision != FP32.name:
            only = INT8_PRECISION
        first, origin = starting_network(config, options.weights, options.backbone, options.settings.seed, only=only)
        weights = Given(origin.source, origin.sha256)
        return first, Beginning(weights, bool(options.backbone), origin.note, training, validation, config)
    check_same_labels(checkpoint.began.training, training, "training", options.folder)
    check_same_labels(checkpoint.began.validation, validation, "validation", options.folder)
    first = RetinaFace(config)
    if _needs_first(options):
        restore(first, checkpoint.first, "the first network")
    return first, checkpoint.began


def _to_train(
    precision: str,
    first: RetinaFace,
    kept: tuple[dict[str, Any], ...] | None,
    samples: TrainingSet,
    processes: Processes,
    status: Status,
) -> RetinaFace | QuantisedNetwork:
    """Return the network that is trained.

    Args:
        precision: of the run.
        first: the network that it starts from.
        kept: None for a run that begins. One that goes on began with these layers in a higher precision (see
            Beginning); the network has any values, and gets the checkpoint's.
        samples: to train on.
        processes: of the run.
        status: where progress is shown.
    """
    if precision == FP32.name:
        network = copy.deepcopy(first)
        if kept is None:
            unfold(network.eval(), some_images(samples))
        return network
    if kept is not None:
        return QuantisedNetwork(first.config, uncalibrated(first.config, kept))
    paths = [picture.path for picture in samples.pictures]
    return QuantisedNetwork(first.config, processes.of_first(lambda: calibrated(first, paths, status.update)))


def _read(labels: Labels, what: str, config: RetinaFaceConfig) -> list[LabelledPicture]:
    mirrored = config.mirrored_points if config.has_landmarks else ()
    pictures = read_labels(
        labels.file, labels.pictures, classes=config.classes, mirrored=mirrored, values=config.values
    )
    if not sum(int((~picture.ignored).sum()) for picture in pictures):
        raise InvalidArgumentError(
            f"the {what} labels {labels.file} have {len(pictures)} pictures and no face in them: give some"
        )
    return pictures


def _check_teacher(options: TrainOptions, config: RetinaFaceConfig) -> None:
    """Raise InvalidArgumentError if the first weights cannot teach their landmarks."""
    reasons = {
        "the model has no landmarks": not config.has_landmarks,
        "the codes of a cascade's landmarks refer to boxes that change": config.cascade,
        "those of other anchors mean other landmarks, so it does not go with --anchors auto": options.fit_anchors,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InvalidArgumentError(f"--keep-landmarks cannot be had: {reason}")


def _before(
    judge: Judge, networks: tuple[RetinaFace, QuantisedNetwork], processes: Processes, status: Status
) -> float | None:
    """Say what training for INT8 has to gain, and return the average precision of the calibrated network."""
    status.update("Judging the networks that training begins with")
    found = [judge.judge(network.to(processes.device).eval()) for network in networks]
    values = [None if judgement is None else judgement.average_precision for judgement in found]
    words = ["unknown" if value is None else f"{value:.4f}" for value in values]
    status.keep("average precision before training: {} in float32, {} in INT8 as calibrated".format(*words))
    return values[1]


def _described(began: Beginning, pictures: Sequence[LabelledPicture], judged: Sequence[LabelledPicture]) -> str:
    faces, found = (sum(len(picture.boxes) for picture in some) for some in (pictures, judged))
    return (
        f"training {began.config.name} from {began.note}, on {len(pictures)} pictures with {faces} faces; judged on "
        f"{len(judged)} pictures with {found} faces"
    )
