"""The batches of an epoch, of which each process gets its share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from engine.errors import InvalidArgumentError
from engine.train.distributed import Processes
from engine.train.samples.batch import Batch, collate
from engine.train.samples.training_set import TrainingSet


class Batches:
    """Gives the batches of any epoch from any step on; the same ones whatever was asked for before.

    Attributes:
        per_epoch: their number.
    """

    def __init__(self, samples: TrainingSet, batch: int, seed: int, workers: int, processes: Processes) -> None:
        """Divide the samples.

        Args:
            samples: to give.
            batch: samples of a step, of all processes together.
            seed: of their order.
            workers: processes that read pictures, of each process; 0 reads them in this one.
            processes: that share each batch.

        Raises:
            InvalidArgumentError: there are fewer samples than a batch has, or it cannot be divided equally.
        """
        self._samples, self._seed, self._workers = samples, seed, workers
        self._share, self._pinned = processes.share_of(batch), processes.device.type == "cuda"
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            samples, processes.count, processes.rank, seed=seed, drop_last=True
        )
        self.per_epoch = len(self._sampler) // self._share
        if not self.per_epoch:
            raise InvalidArgumentError(
                f"there are {len(samples)} pictures to train on, fewer than the batch of {batch}: choose a smaller "
                "batch"
            )

    def of(self, epoch: int, step: int) -> Iterator[tuple[list[str], Batch]]:
        """Give the batches of an epoch from a step on, with the names of their pictures."""
        self._samples.set_epoch(epoch)
        self._sampler.set_epoch(epoch)
        indices = list(self._sampler)[: self.per_epoch * self._share][step * self._share :]
        loader = DataLoader(
            self._samples,
            self._share,
            sampler=indices,
            collate_fn=collate,
            num_workers=self._workers,
            pin_memory=self._pinned,
            # Its own, so that nothing depends on how often PyTorch's global one was asked.
            generator=torch.Generator().manual_seed(self._seed),
        )
        for start, batch in zip(range(0, len(indices), self._share), loader, strict=True):
            pictures = [self._samples.pictures[i] for i in indices[start : start + self._share]]
            yield [str(picture.path) for picture in pictures], batch
