"""Average precision, classes, points and values on labelled pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from engine.config.heads import split_values
from engine.config.model import RetinaFaceConfig
from engine.faces import Detections
from engine.metrics.average_precision import average_precision, average_precision_by_size
from engine.metrics.classes import ClassTable, class_table
from engine.metrics.heads import HeadErrors, HeadLabels, head_errors
from engine.train.distributed import Processes
from engine.train.finding.finder import Finder
from engine.train.labels.labelled import LabelledPicture


@dataclass(frozen=True)
class Judgement:
    """How good a network is.

    Attributes:
        average_precision: 0 to 1; None without a labelled face.
        by_size: the same for each of SIZE_BINS, in pixels of the pictures.
        faces: that were found in each picture, in its pixels.
        head_errors: of the points and values of the faces that are found at a score of .5.
        classes: of the faces that are found at a score of .5; None if the model has one class.
    """

    average_precision: float | None
    by_size: tuple[float | None, ...]
    faces: list[Detections]
    head_errors: HeadErrors
    classes: ClassTable | None = None


class Judge:
    """Judges networks on the same pictures, each letterboxed to the config's input size and not enlarged."""

    def __init__(self, pictures: Sequence[LabelledPicture], config: RetinaFaceConfig, processes: Processes) -> None:
        """Take the pictures, of which each process judges its share."""
        self.pictures, self._config = pictures, config
        self._finder = Finder(config, processes)

    def judge(self, network: nn.Module, stop: Callable[[], bool] = lambda: False) -> Judgement | None:
        """Return how good a network in evaluation mode is, on each process; None if `stop` came true on one of them.

        Raises:
            InvalidArgumentError: a picture cannot be read.
        """
        faces = self._finder.find(network, [picture.path for picture in self.pictures], stop)
        if faces is None:
            return None
        truth = [picture.boxes for picture in self.pictures]
        ignored = [picture.ignored for picture in self.pictures]
        ranges = average_precision_by_size(truth, faces, ignored=ignored)
        by_size = tuple(entry.average_precision for entry in ranges)
        classes = None
        if len(self._config.classes) > 1:
            labelled = [picture.classes for picture in self.pictures]
            classes = class_table(truth, labelled, faces, self._config.classes, ignored=ignored)
        errors = head_errors(truth, [self._heads_of(picture) for picture in self.pictures], faces, ignored=ignored)
        return Judgement(average_precision(truth, faces, ignored=ignored), by_size, faces, errors, classes)

    def _heads_of(self, picture: LabelledPicture) -> HeadLabels:
        values = {} if picture.values is None else split_values(picture.values, self._config.values)
        return HeadLabels(picture.landmarks if self._config.has_landmarks else None, values)
