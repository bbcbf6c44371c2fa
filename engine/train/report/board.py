"""Curves for TensorBoard, written by its own library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine.errors import OutputError


class Board:
    """Writes curves into a folder. What an interrupted run wrote behind a step is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        """Begin, or go on at a step."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with self._named():
            self._writer = SummaryWriter(str(folder), purge_step=step)

    def add(self, values: Mapping[str, float | None], step: int) -> None:
        """Add a point to curves, by their names; None is no point."""
        with self._named():
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Wait until the points are in the file."""
        with self._named():
            self._writer.flush()

    def close(self) -> None:
        """Write the rest."""
        with self._named():
            self._writer.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError.at(self._folder, error) from error
