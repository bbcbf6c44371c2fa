"""Small training runs: pictures of 64 pixels with a drawn face each, and the smallest network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.model.retinaface import RetinaFace
from engine.train.checkpoints import Beginning, Given
from engine.train.distributed import Processes
from engine.train.folder import RunFolder
from engine.train.judge import Judge
from engine.train.labels.labelled import LabelledPicture
from engine.train.loop import Task, Training
from engine.train.samples import TrainingSet
from engine.train.settings import TrainSettings
from engine.train.targets.loss import MultiTaskLoss
from engine.train.targets.network import TrainedNetwork

SIDE = 64
TINY: RetinaFaceConfig = replace(
    PRESETS["mobilenet0.25"], name="tiny", fpn_channels=8, context="none", input_size=(SIDE, SIDE)
)
ALONE = Processes(0, 1, torch.device("cpu"))
BEGAN = Beginning(Given("random", None), False, "random", Given("labels.jsonl", "0" * 64), None, TINY)
QUICK = TrainSettings(size=SIDE, epochs=2, batch=2, learning_rate=0.01, warm_up=1)


def drawn_pictures(folder: Path, count: int) -> list[LabelledPicture]:
    """Write pictures with a square each, which is labelled as a face with landmarks."""
    rng = np.random.default_rng(count)
    pictures = []
    for index in range(count):
        image = rng.integers(0, 90, (SIDE, SIDE, 3)).astype(np.uint8)
        x, y, side = (int(value) for value in (*rng.integers(4, 30, 2), rng.integers(18, 30)))
        cv2.rectangle(image, (x, y), (x + side, y + side), (90, 200, 240), -1)
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), image)
        box = np.array([x, y, x + side, y + side], np.float32)
        points = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.8], [0.65, 0.8]], np.float32)
        landmarks = box[:2] + points * side
        pictures.append(LabelledPicture(path, box[None], landmarks[None], np.zeros(1, np.bool_), np.ones(1, np.int32)))
    return pictures


def tiny_network() -> RetinaFace:
    """Return a network with the same random weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return RetinaFace(TINY)


def tiny_task(
    pictures: list[LabelledPicture],
    settings: TrainSettings = QUICK,
    *,
    augment: bool = True,
    processes: Processes = ALONE,
) -> Task:
    """Return a task for the smallest network."""
    network = tiny_network()
    samples = TrainingSet(pictures, TINY, SIDE, settings.seed, augment)
    loss = MultiTaskLoss(TINY, positives_of_all=processes.mean)
    return Task(network, TrainedNetwork(network), loss, samples, settings, settings.to_dict(), BEGAN)


def tiny_training(folder: Path, task: Task, *, judged: bool = False, processes: Processes = ALONE) -> Training:
    """Return a run that has not begun; it may be judged by what it learns."""
    run = RunFolder(folder)
    run.begin(resume=True)
    judge = Judge(task.samples.pictures, TINY, processes) if judged else None
    return Training(task, processes, run, judge)
