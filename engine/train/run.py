"""A whole training run: labels and weights in, a folder out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config.files import find_config
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.progress import Status
from engine.train.anchors.estimate import estimate_anchors
from engine.train.checkpoints import Beginning, Checkpoint, Given, restore
from engine.train.distributed import Processes, joined
from engine.train.finding.finder import Finder
from engine.train.finding.unlabelled import ignore_unlabelled
from engine.train.folder import RunFolder, digest_of
from engine.train.judge import Judge
from engine.train.labels.labelled import LabelledPicture
from engine.train.labels.reading import read_labels
from engine.train.loop import Task, Training
from engine.train.report.watching import Shown
from engine.train.samples import TrainingSet, collate
from engine.train.samples.batch import Normaliser
from engine.train.settings import TrainSettings
from engine.train.start import check_one_start, check_same_labels, check_same_weights, starting_network
from engine.train.targets.loss import MultiTaskLoss
from engine.train.targets.network import TrainedNetwork
from engine.train.unfolding import unfold
from engine.writing.signals import signals_deferred

_UNFOLDED_WITH = 64  # samples
_BATCH = 8


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
    config = find_config(options.config)
    check_one_start(options.weights, options.backbone)
    if settings.keep_landmarks:
        _check_teacher(options, config)
    made_with = {"config": config.to_dict(), "fit anchors": options.fit_anchors, **settings.to_dict()}
    checkpoint = processes.of_first(lambda: _opened(folder, options, made_with))
    pictures = _read(options.training, "training")
    judged = [] if options.validation is None else _read(options.validation, "validation")
    training = Given(str(options.training.file), digest_of(pictures))
    validation = None if options.validation is None else Given(str(options.validation.file), digest_of(judged))
    if checkpoint is None:
        first, origin = starting_network(config, options.weights, options.backbone, settings.seed)
        weights = Given(origin.source, origin.sha256)
        began = Beginning(weights, bool(options.backbone), origin.note, training, validation, config)
    else:
        began = checkpoint.began
        check_same_labels(began.training, training, "training", options.folder)
        check_same_labels(began.validation, validation, "validation", options.folder)
        first = RetinaFace(config)
        if checkpoint.first:
            restore(first, checkpoint.first, "the first network")
    learned = pictures
    if settings.ignore_unlabelled:
        learned = _without_unlabelled(pictures, first, settings.ignore_unlabelled, processes, status)
    samples = TrainingSet(learned, config, settings.size, settings.seed, widest=settings.widest)
    if options.fit_anchors and checkpoint is None:
        began = replace(began, config=_with_anchors(config, samples, status))
    network = copy.deepcopy(first)
    network.config = began.config
    if checkpoint is None:
        unfold(network.eval(), _some_images(samples))
    task = Task(
        network,
        TrainedNetwork(network),
        MultiTaskLoss(began.config, focal=settings.focal, settings=settings.loss, positives_of_all=processes.mean),
        samples,
        settings,
        made_with,
        began,
        options.workers,
        first.requires_grad_(False) if settings.keep_landmarks else None,
        first.state_dict() if settings.keep_landmarks or settings.ignore_unlabelled else {},
    )
    judge = Judge(judged, began.config, processes) if judged else None
    run = Training(task, processes, folder, judge)
    if checkpoint is not None:
        run.resume(checkpoint)
    elif is_first:
        folder.write_start(made_with, began)
    status.keep(_described(began, pictures, judged))
    with signals_deferred() as received:
        with closing(Shown(task, folder, judge, status, run.done)) if is_first else nullcontext() as watcher:
            finished = run.run(watcher, lambda: bool(received))
        if not finished:
            status.keep(f"stopped; the same command with --resume goes on from {folder.last}")
    return Outcome(folder, finished, run.best)


def _opened(folder: RunFolder, options: TrainOptions, made_with: dict[str, Any]) -> Checkpoint | None:
    """Make the folder of a run that begins; return the checkpoint of one that goes on, if it is of the same run."""
    folder.begin(resume=options.resume)
    if not (options.resume and folder.last.exists()):
        return None
    checkpoint = Checkpoint.read(folder.last)
    checkpoint.check(made_with, folder.last)
    check_same_weights(checkpoint.began, options.weights, options.backbone, folder.path)
    return checkpoint


def _read(labels: Labels, what: str) -> list[LabelledPicture]:
    pictures = read_labels(labels.file, labels.pictures)
    if not sum(int((~picture.ignored).sum()) for picture in pictures):
        raise InvalidArgumentError(
            f"the {what} labels {labels.file} have {len(pictures)} pictures and no face in them: give some"
        )
    return pictures


def _without_unlabelled(
    pictures: list[LabelledPicture], network: RetinaFace, least: float, processes: Processes, status: Status
) -> list[LabelledPicture]:
    """Return pictures in which faces are ignored that the first weights find and no label has."""
    status.update(f"Looking for faces without a label in {len(pictures)} pictures")
    finder = Finder(network.config, processes)
    found = finder.find(network.eval().to(processes.device), [picture.path for picture in pictures])
    network.cpu()
    assert found is not None  # nobody asks it to stop
    full = ignore_unlabelled(pictures, found, least)
    added = sum(len(new.boxes) - len(old.boxes) for new, old in zip(full, pictures, strict=True))
    status.keep(f"{added} faces that the first weights find have no label and are ignored")
    return full


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


def _some_images(samples: TrainingSet) -> Iterator[torch.Tensor]:
    """Give batches of samples, spread over the pictures."""
    normalise = Normaliser(samples.config, torch.device("cpu"))
    step = max(1, len(samples) // _UNFOLDED_WITH)
    indices = range(0, len(samples), step)[:_UNFOLDED_WITH]
    for start in range(0, len(indices), _BATCH):
        yield normalise(collate([samples[i] for i in indices[start : start + _BATCH]]).images)


def _with_anchors(config: RetinaFaceConfig, samples: TrainingSet, status: Status) -> RetinaFaceConfig:
    """Return the config with anchors for the faces of the first epoch's samples."""
    boxes = []
    for index in range(len(samples)):
        status.update(f"Looking at the sizes of faces {index + 1}/{len(samples)}")
        sample = samples[index]
        boxes.append(sample.boxes[~sample.ignored].numpy())
    found, report = estimate_anchors(config, np.concatenate(boxes), (samples.size, samples.size))
    for line in report.lines():
        status.keep(line)
    return found


def _described(began: Beginning, pictures: Sequence[LabelledPicture], judged: Sequence[LabelledPicture]) -> str:
    faces, found = (sum(len(picture.boxes) for picture in some) for some in (pictures, judged))
    return (
        f"training {began.config.name} from {began.note}, on {len(pictures)} pictures with {faces} faces; judged on "
        f"{len(judged)} pictures with {found} faces"
    )
