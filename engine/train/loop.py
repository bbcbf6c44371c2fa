"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.errors import TrainingError
from engine.model.retinaface import RetinaFace
from engine.train.averaging import Average
from engine.train.checkpoints import (
    Beginning,
    Checkpoint,
    EpochRecord,
    Position,
    Tensors,
    restore,
    restore_state,
    state_of,
)
from engine.train.distributed import Processes
from engine.train.folder import RunFolder
from engine.train.freezing import freeze, train_mode
from engine.train.judge import Judge, Judgement
from engine.train.optimiser import learning_rate, make_optimiser, set_learning_rate
from engine.train.quantised.network import QuantisedNetwork
from engine.train.samples import Batch, TrainingSet
from engine.train.samples.batch import Normaliser, on_device
from engine.train.samples.batches import Batches
from engine.train.settings import TrainSettings
from engine.train.targets.loss import MultiTaskLoss

# Each halves the scale of the loss, which begins at 2^16: if gradients overflow at 2^-14 too, they are not finite.
_MOST_SKIPPED = 30
_CHECKPOINT_EVERY_S = 600.0  # within an epoch, for whoever kills the process or loses power


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes:
        network: that is judged and saved.
        trained: the network, or a module around it with layers that serve training alone. It maps normalised images
            [N, 3, S, S] to what the loss takes.
        loss: of a batch.
        samples: what is learned from.
        settings: of the run.
        made_with: settings that the result depends on, by name, in plain values.
        began: what the run began with.
        workers: processes that read pictures, of each process; 0 reads them in this one.
        teacher: network that gives the landmarks of faces whose landmarks are not labelled; not trained.
        first: the weights that the run started from, if a run that goes on needs them.
    """

    network: RetinaFace | QuantisedNetwork
    trained: nn.Module
    loss: MultiTaskLoss
    samples: TrainingSet
    settings: TrainSettings
    made_with: dict[str, Any]
    began: Beginning
    workers: int = 0
    teacher: RetinaFace | None = None
    first: Tensors = field(default_factory=dict)


class Watcher(Protocol):
    """Whoever wants to know how far a run is; called in the first process only."""

    def on_step(self, step: int, steps: int, values: dict[str, float]) -> None:
        """Be told of a step, from 1, of all; the values are the loss's parts, learning_rate and gradient_norm."""
        ...

    def on_epoch(self, records: Sequence[EpochRecord], judgement: Judgement | None) -> None:
        """Be told of the epochs that are over, and what was found after the last one."""
        ...


class Training:
    """A run in one process: begins anew or at a checkpoint, and goes on until its end or until it is stopped."""

    def __init__(self, task: Task, processes: Processes, folder: RunFolder, judge: Judge | None) -> None:
        """Prepare everything.

        Raises:
            InvalidArgumentError: there are fewer pictures than a batch has, or a setting does not fit the model.
        """
        self._task, self._processes, self._folder, self._judge = task, processes, folder, judge
        settings, self._device = task.settings, processes.device
        self._batches = Batches(task.samples, settings.batch, settings.seed, task.workers, processes)
        self._trained = processes.synchronised(task.trained)
        self._teacher = None if task.teacher is None else task.teacher.to(self._device).eval()
        self._frozen = freeze(task.network, settings.freeze) if isinstance(task.network, RetinaFace) else []
        self._parallel = processes.parallel(self._trained)
        self._optimiser = make_optimiser(self._trained, settings)
        self._average = Average(task.network, settings.average)
        # Fake quantisation needs float32: scales and integers of 8 bits are exact in it.
        self._mixed = self._device.type == "cuda" and isinstance(task.network, RetinaFace)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._mixed)
        self._normalise = Normaliser(task.network.config, self._device)
        self.position = Position()
        self._skipped = 0
        self._written = time.monotonic()

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch."""
        return self._batches.per_epoch

    @property
    def done(self) -> int:
        """Number of steps that are done."""
        return self.position.epoch * self.steps_per_epoch + self.position.step

    @property
    def steps(self) -> int:
        """Number of steps of the run."""
        return self._task.settings.epochs * self.steps_per_epoch

    @property
    def best(self) -> float | None:
        """The best average precision of the epochs that are over, and of the beginning if they have to be better."""
        found = [self._task.began.average_precision, *(record.average_precision for record in self.position.records)]
        return max((value for value in found if value is not None), default=None)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on at a checkpoint; TrainingError if it is damaged."""
        self.position = checkpoint.position
        restore(self._trained, checkpoint.trained, "the model")
        restore(self._average.model, checkpoint.used, "the average")
        self._average.updates = checkpoint.updates
        restore_state(self._trained, self._optimiser, checkpoint.optimiser)
        if self._mixed:
            self._scaler.load_state_dict({**self._scaler.state_dict(), "scale": checkpoint.scale})

    def run(self, watcher: Watcher | None, stopped: Callable[[], bool]) -> bool:
        """Train.

        Args:
            watcher: see Watcher.
            stopped: whether to stop: asked before each step and each picture that is judged. If it says so in one of
                the processes, all of them end the step, and the first one writes a checkpoint.

        Returns:
            Whether the run is at its end.

        Raises:
            TrainingError: a loss or a gradient is not finite. The checkpoint is that of before.
            OutputError: a file could not be written. What it held before is unchanged.
        """
        while self.position.epoch < self._task.settings.epochs:
            if not self._epoch(watcher, stopped):
                self._write_checkpoint()
                return False
        return True

    def _epoch(self, watcher: Watcher | None, stopped: Callable[[], bool]) -> bool:
        """Go on with the epoch to its end; return whether that was reached."""
        train_mode(self._trained, self._frozen)
        for names, batch in self._batches.of(self.position.epoch, self.position.step):
            values, stop = self._step(names, batch, stopped())
            self.position.step += 1
            if watcher and not self._processes.rank:
                watcher.on_step(self.done, self.steps, values)
            if stop:
                return False
            if time.monotonic() - self._written > _CHECKPOINT_EVERY_S:
                self._write_checkpoint()
        used = self._used()
        judgement = None
        if self._judge is not None and self._is_judged():
            judgement = self._judge.judge(used.eval(), stopped)
            if judgement is None:
                return False
        self._close_epoch(judgement)
        if watcher and not self._processes.rank:
            watcher.on_epoch(self.position.records, judgement)
        return True

    def _step(self, names: list[str], batch: Batch, stop: bool) -> tuple[dict[str, float], bool]:
        """Learn from a batch; return what to show, and whether a process was told to stop."""
        settings, config = self._task.settings, self._task.network.config
        rate = learning_rate(settings, self.done, self.steps)
        set_learning_rate(self._optimiser, rate)
        self._optimiser.zero_grad(set_to_none=True)
        batch = on_device(batch, self._device)
        images = self._normalise(batch.images)
        with torch.autocast(self._device.type, torch.float16, enabled=self._mixed):
            heads = self._parallel(images)
        losses = self._task.loss(heads, batch, self._taught(images))
        shown = [name for name in losses._fields if _is_shown(name, config)]
        own = [float(getattr(losses, name).detach()) for name in shown]
        bad, stops, *sums = self._processes.total([float(not all(map(math.isfinite, own))), float(stop), *own])
        if bad:  # on all processes, which would wait for each other's gradients
            self._refuse(names, "the loss", dict(zip(shown, own, strict=True)))
        self._scaler.scale(losses.total).backward()
        self._scaler.unscale_(self._optimiser)
        norm = float(nn.utils.clip_grad_norm_(self._trained.parameters(), settings.clip or math.inf))
        self._check_norm(names, norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if settings.average:
            self._average.update(self._task.network)
        means = {name: value / self._processes.count for name, value in zip(shown, sums, strict=True)}
        for name, value in means.items():
            self.position.sums[name] = self.position.sums.get(name, 0.0) + value
        return {**means, "learning_rate": rate, "gradient_norm": norm}, bool(stops)

    def _check_norm(self, names: list[str], norm: float) -> None:
        """Refuse gradients that are not finite; in mixed precision, which leaves out such a step, many in a row."""
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped and not self._mixed:
            self._refuse(names, "the norm of the gradients", {"norm": norm})
        if self._skipped > _MOST_SKIPPED:
            what = f"in {self._skipped} steps in a row, which were left out, the norm of the gradients"
            self._refuse(names, what, {"norm": norm, "scale of the loss": self._scaler.get_scale()})

    @torch.no_grad()
    def _taught(self, images: torch.Tensor) -> Sequence[torch.Tensor] | None:
        if self._teacher is None:
            return None
        heads: Sequence[torch.Tensor] = self._teacher(images)
        return heads

    def _refuse(self, names: list[str], what: str, values: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise TrainingError(
            f"{what} is not finite in epoch {self.position.epoch + 1}, step {self.position.step + 1} ({shown}; with "
            f"several processes it may be another's). Pictures of the batch: {', '.join(names)}. The last checkpoint "
            "is unchanged. Look at their labels, or train with a lower --learning-rate"
        )

    def _is_judged(self) -> bool:
        epoch, settings = self.position.epoch + 1, self._task.settings
        return epoch % settings.judge_every == 0 or epoch == settings.epochs

    def _close_epoch(self, judgement: Judgement | None) -> None:
        """Record the epoch, and write the model, if it is the best one, and the checkpoint."""
        position, settings = self.position, self._task.settings
        value = None if judgement is None else judgement.average_precision
        is_best = self._judge is None or (value is not None and (self.best is None or value > self.best))
        record = EpochRecord(
            position.epoch + 1,
            learning_rate(settings, self.done - 1, self.steps),
            {name: value / self.steps_per_epoch for name, value in position.sums.items()},
            value,
            () if judgement is None else judgement.by_size,
            None if judgement is None else judgement.classes,
            None if judgement is None else judgement.head_errors,
        )
        self.position = Position(position.epoch + 1, 0, {}, (*position.records, record))
        if not self._processes.rank and is_best:
            self._folder.write_best(self._used())
        self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        if self._processes.rank:
            return
        Checkpoint(
            self._task.made_with,
            self._task.began,
            replace(self.position),
            self._used().state_dict(),
            self._average.updates,
            self._trained.state_dict(),
            state_of(self._trained, self._optimiser),
            self._scaler.get_scale() if self._mixed else 1.0,
            self._task.first,
        ).write(self._folder.last)
        self._written = time.monotonic()

    def _used(self) -> RetinaFace | QuantisedNetwork:
        """Return the network that is judged and saved."""
        return self._average.model if self._task.settings.average else self._task.network


def _is_shown(loss: str, config: RetinaFaceConfig) -> bool:
    """Return whether a model of this config has a part of the loss."""
    if loss.startswith("first_"):
        return config.cascade
    return bool(config.values) if loss == "values" else loss != "positives"
