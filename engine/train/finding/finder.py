"""Faces that a network finds, in float32 and with the project's own decoding and suppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.images import read_image
from engine.runtime.cpu.session import detect
from engine.runtime.letterbox import Letterbox
from engine.train.distributed import Processes


class Finder:
    """Finds faces with any network of a config, in pictures letterboxed to its input size and not enlarged."""

    def __init__(self, config: RetinaFaceConfig, processes: Processes) -> None:
        """Take the config of the networks, and the processes, of which each takes its share of the pictures."""
        self._config, self._processes = config, processes
        self._letterbox = Letterbox(config.input_size, config, enlarge=False)
        self._thresholds = Thresholds()

    def find(
        self, network: nn.Module, paths: Sequence[Path], stop: Callable[[], bool] = lambda: False
    ) -> list[Detections] | None:
        """Return the faces of each picture, in its pixels, on each process; None if `stop` came true on one of them.

        Args:
            network: in evaluation mode, on the processes' device.
            paths: of the pictures.
            stop: asked before each picture.

        Raises:
            InvalidArgumentError: a picture cannot be read.
        """
        own = []
        for path in paths[self._processes.rank :: self._processes.count]:
            if stop():
                break
            own.append(self._faces(network, path))
        if self._processes.total([float(stop())])[0]:
            return None
        return self._processes.gathered(own)

    @torch.no_grad()
    def _faces(self, network: nn.Module, path: Path) -> Detections:
        try:
            image = read_image(path)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{path} {error}") from error
        batch = torch.from_numpy(self._letterbox.batch([image])).to(self._processes.device)
        heads = [np.ascontiguousarray(head.float().cpu().numpy()) for head in network(batch)]
        raw = detect(heads, self._config, self._thresholds)
        return self._letterbox.to_images(raw, [image], 0.0)[0]
