"""Shows a run as it goes on: a line on the terminal, TensorBoard's curves, the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from engine.metrics.average_precision import SIZE_BINS
from engine.progress import Status
from engine.train.checkpoints import EpochRecord
from engine.train.folder import RunFolder
from engine.train.judge import Judge, Judgement
from engine.train.loop import Task
from engine.train.report.board import Board
from engine.train.report.page import samples, training_page, validation
from engine.writing import write_file

_EVERY = 10  # steps between the points of the curves
_KEEP = 0.95  # of the values shown before, at each step


class Shown:
    """The watcher of a run."""

    def __init__(self, task: Task, folder: RunFolder, judge: Judge | None, status: Status, step: int) -> None:
        """Begin at a step."""
        self._task, self._folder, self._judge, self._status = task, folder, judge, status
        self._board = Board(folder.events, step)
        self._smooth: dict[str, float] = {}
        self._samples = samples(task.samples)
        self._found: list[str] = []
        self._last = time.monotonic()
        self._step = step

    def on_step(self, step: int, steps: int, values: dict[str, float]) -> None:
        """See Watcher."""
        now = time.monotonic()
        seconds, self._last, self._step = now - self._last, now, step
        shown = {**values, "seconds": seconds}
        self._smooth = {name: self._smoothed(name, value) for name, value in shown.items()}
        self._status.update(self._line(step, steps))
        if step % _EVERY == 0 or step == steps:
            rate = self._task.settings.batch / max(self._smooth["seconds"], 1e-9)
            self._board.add({f"training/{name}": v for name, v in values.items()} | {"pictures per second": rate}, step)

    def on_epoch(self, records: Sequence[EpochRecord], judgement: Judgement | None) -> None:
        """See Watcher."""
        record, epochs = records[-1], self._task.settings.epochs
        losses = ", ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
        precision = "" if record.average_precision is None else f"; average precision {record.average_precision:.4f}"
        accuracy = None if record.classes is None else record.classes.accuracy
        right = "" if accuracy is None else f"; classes right {accuracy:.4f}"
        errors = {} if record.head_errors is None else record.head_errors.known
        off = "".join(f"; error of {name} {error.mean:.4g}" for name, error in errors.items())
        self._status.keep(f"epoch {record.epoch}/{epochs}: {losses}{precision}{right}{off}")
        by_size = {f"{low:g}-{high:g}": v for (low, high), v in zip(SIZE_BINS, record.by_size, strict=False)}
        precisions = {"all faces": record.average_precision, **by_size}
        self._board.add({f"average precision/{name}": value for name, value in precisions.items()}, self._step)
        self._board.add({"classes right": accuracy}, self._step)
        self._board.add({f"error/{name}": error.mean for name, error in errors.items()}, self._step)
        self._board.flush()
        if judgement is not None and self._judge is not None:
            self._found = validation(self._judge.pictures, judgement.faces)
        settings = list(_in_rows(self._task.settings.to_dict()))
        title = f"Training of {self._task.network.config.name}"
        write_file(self._folder.page, training_page(title, records, settings, list(chain(self._samples, self._found))))
        self._last = time.monotonic()

    def close(self) -> None:
        """Write what is left."""
        self._board.close()

    def _smoothed(self, name: str, value: float) -> float:
        return _KEEP * self._smooth[name] + (1 - _KEEP) * value if name in self._smooth else value

    def _line(self, step: int, steps: int) -> str:
        values, per_epoch = self._smooth, steps // self._task.settings.epochs
        epoch, within = divmod(step - 1, per_epoch)
        parts = ", ".join(f"{n} {v:.3f}" for n, v in values.items() if n not in ("total", *_OTHERS))
        rate = self._task.settings.batch / max(values["seconds"], 1e-9)
        return (
            f"epoch {epoch + 1}/{self._task.settings.epochs}, step {within + 1}/{per_epoch}: loss "
            f"{values['total']:.3f} ({parts}), learning rate {values['learning_rate']:.2g}, {rate:.1f} pictures/s, "
            f"{in_words((steps - step) * values['seconds'])} left"
        )


_OTHERS = ("learning_rate", "gradient_norm", "seconds")


def in_words(seconds: float) -> str:
    """Return a duration such as "2 h 5 min", "5 min" or "40 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _in_rows(settings: Mapping[str, object], of: str = "") -> Iterator[tuple[str, str]]:
    """Give names and values of settings as words, those of the loss behind its name."""
    for name, value in settings.items():
        words = of + name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from _in_rows(value, f"{words}: ")
        elif isinstance(value, bool):
            yield words, "yes" if value else "no"
        else:
            yield words, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
