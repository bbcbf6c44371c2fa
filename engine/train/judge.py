"""Average precision on labelled pictures, by the network in float32 and the project's own decoding and suppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.images import read_image
from engine.metrics.average_precision import average_precision, average_precision_by_size
from engine.runtime.cpu.session import detect
from engine.runtime.letterbox import Letterbox
from engine.train.distributed import Processes
from engine.train.labels.labelled import LabelledPicture


@dataclass(frozen=True)
class Judgement:
    """How good a network is.

    Attributes:
        average_precision: 0 to 1; None without a labelled face.
        by_size: the same for each of SIZE_BINS, in pixels of the pictures.
        faces: that were found in each picture, in its pixels.
    """

    average_precision: float | None
    by_size: tuple[float | None, ...]
    faces: list[Detections]


class Judge:
    """Judges networks on the same pictures, each letterboxed to the config's input size and not enlarged."""

    def __init__(self, pictures: Sequence[LabelledPicture], config: RetinaFaceConfig, processes: Processes) -> None:
        """Take the pictures, of which each process judges its share."""
        self.pictures, self._config, self._processes = pictures, config, processes
        self._letterbox = Letterbox(config.input_size, config, enlarge=False)
        self._thresholds = Thresholds()

    def judge(self, network: nn.Module, stop: Callable[[], bool] = lambda: False) -> Judgement | None:
        """Return how good a network in evaluation mode is, on each process; None if `stop` came true on one of them.

        Raises:
            InvalidArgumentError: a picture cannot be read.
        """
        own = []
        for picture in self.pictures[self._processes.rank :: self._processes.count]:
            if stop():
                break
            own.append(self._faces(network, picture))
        if self._processes.total([float(stop())])[0]:
            return None
        faces = self._processes.gathered(own)
        truth = [picture.boxes for picture in self.pictures]
        ignored = [picture.ignored for picture in self.pictures]
        ranges = average_precision_by_size(truth, faces, ignored=ignored)
        by_size = tuple(entry.average_precision for entry in ranges)
        return Judgement(average_precision(truth, faces, ignored=ignored), by_size, faces)

    @torch.no_grad()
    def _faces(self, network: nn.Module, picture: LabelledPicture) -> Detections:
        try:
            image = read_image(picture.path)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"validation picture {picture.path} {error}") from error
        batch = torch.from_numpy(self._letterbox.batch([image])).to(self._processes.device)
        heads = [np.ascontiguousarray(head.float().cpu().numpy()) for head in network(batch)]
        raw = detect(heads, self._config, self._thresholds)
        return self._letterbox.to_images(raw, [image], 0.0)[0]
